"""``mmcourse inpaint``: the right pixels change, all others keep their bits, and faults are told in one sentence."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torch import Tensor
from torch.nn import functional as F

from mmcourse import runtime
from mmcourse.course import cli, repair
from mmcourse.inpainting import Inpainter
from mmcourse.masks import compose

Array = Any


class Constant(torch.nn.Module):
    """A stand-in that fills every hole with one value, and remembers what it was shown."""

    def __init__(self, value: float = 1.0):
        super().__init__()
        self.value, self.hparams, self.seen = value, {"z": 8}, []

    def forward(self, z: Tensor, x: Tensor, mask: Tensor, text: Tensor | None = None) -> Tensor:
        assert x.shape == (1, 3, 32, 32) and mask.shape == (1, 1, 32, 32) and x.abs().max() <= 1
        assert set(mask.unique().tolist()) <= {0.0, 1.0}, "no half-holes"
        self.seen.append((x.clone(), mask.clone()))
        return compose(x, torch.full_like(x, self.value), mask)


def by(G: torch.nn.Module) -> repair.Fill:
    return lambda x, m: G(torch.zeros(1, 8), x, m)


class Everywhere(Constant):
    """The same, known pixels included: whoever trusts the network alone loses the picture."""

    def forward(self, z: Tensor, x: Tensor, mask: Tensor, text: Tensor | None = None) -> Tensor:
        super().forward(z, x, mask, text)
        return torch.full_like(x, self.value)


def small_inpainter(cond: int = 0) -> Inpainter:
    before = torch.random.get_rng_state()
    torch.manual_seed(0)
    G = Inpainter(width=8, mapping=8, keys=2, cond=cond).eval()
    with torch.no_grad():  # at its start the network ignores noise and text
        for p in G.parameters():
            p.add_(0.1 * torch.randn_like(p))
    torch.random.set_rng_state(before)
    return G


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def constant(monkeypatch: pytest.MonkeyPatch) -> Everywhere:
    G = Everywhere()
    monkeypatch.setattr(repair, "load_repairer", lambda: G)
    monkeypatch.setattr(repair, "load_told", lambda: (G, lambda captions: torch.ones(len(captions), 64)))
    return G


def picture(width: int, height: int, channels: int = 3, *, most: int = 200, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, most, (height, width, channels), dtype=np.uint8)


def box(width: int, height: int, *, at: tuple[int, int] = (2, 2), size: tuple[int, int] = (3, 4)) -> Array:
    hole = np.zeros((height, width), dtype=bool)
    hole[at[0] : at[0] + size[0], at[1] : at[1] + size[1]] = True
    return hole


def save_mask(hole: Array, path: str = "mask.png") -> None:
    Image.fromarray(hole.astype(np.uint8) * 255).save(path)


def inpaint(*words: str, name: str = "photo.png") -> int:
    return cli.main(["inpaint", name, "--mask", "mask.png", *words])


def expect_error(
    says: str, capsys: pytest.CaptureFixture[str], here: Path, *words: str, name: str = "photo.png"
) -> None:
    before = sorted(p.name for p in here.iterdir())
    assert inpaint(*words, name=name) == 2
    shown = capsys.readouterr()
    assert says in shown.err and "Traceback" not in shown.err and shown.out == "", shown.err
    assert shown.err.count("\n") == 1
    assert sorted(p.name for p in here.iterdir()) == before, "nothing half-written"


# ---------------------------------------------------------------------------------------------------------- geometry


def wild_hole(width: int, height: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    hole = np.zeros((height, width), dtype=np.uint8)
    for _ in range(4):
        a, b = (tuple(int(v) for v in rng.integers(0, (width, height))) for _ in range(2))
        cv2.line(hole, a, b, 1, int(rng.integers(1, 4)))
    hole[: max(1, height // 3), : max(1, width // 4)] = 1
    hole.flat[0], hole.flat[-1] = 1, 0
    return hole.astype(bool)


@pytest.mark.parametrize(
    ("width", "height"),
    [(2, 1), (1, 2), (1, 40), (3, 3), (9, 40), (31, 33), (32, 32), (64, 100), (333, 5), (257, 129), (700, 500)],
)
def test_the_hole_changes_and_nothing_else(width: int, height: int) -> None:
    photo = repair.Photo(picture(width, height), None, (width, height))
    hole = wild_hole(width, height, width + height)
    before = photo.pixels.copy()
    for G in (Everywhere(), small_inpainter()):
        for way in (repair.fill_holes, repair.fill_told):
            try:
                pixels = way(photo, hole, by(G))[0]
            except ValueError as error:  # strokes all over a narrow picture
                assert "so thin" in str(error) and way is repair.fill_told and min(width, height) < 10
                continue
            assert pixels.shape == before.shape and pixels.dtype == np.uint8
            assert np.array_equal(pixels[~hole], before[~hole])
            assert np.array_equal(photo.pixels, before), "the input is not written to"
            if isinstance(G, Everywhere):
                assert (pixels[hole] == 255).all(), "every pixel of the hole was filled"


def test_random_holes_and_frames_are_filled_whole() -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        width, height = (int(v) for v in rng.integers(2, 150, 2))
        hole = rng.random((height, width)) < rng.choice([0.02, 0.3, 0.9])
        if seed % 3 == 0:
            hole[:] = True  # outpainting, from a patch or from one pixel
            hole[height // 2 : height // 2 + seed + 1, width // 3 : width // 3 + 1] = False
        hole.flat[0], hole.flat[-1] = True, False
        photo, G = repair.Photo(picture(width, height), None, (width, height)), Everywhere()
        pixels, shares = repair.fill_holes(photo, hole, by(G))
        assert (pixels[hole] == 255).all() and np.array_equal(pixels[~hole], photo.pixels[~hole])
        assert all(0 < s <= 1 for s in shares), "never enlarged"
        assert all(mask.mean() < 1 for _, mask in G.seen), "every tile has known ground"


def test_a_small_box_sits_in_the_middle_of_one_tile_at_full_resolution() -> None:
    photo, G = repair.Photo(picture(200, 150), None, (200, 150)), Constant()
    hole = box(200, 150, at=(50, 70), size=(16, 12))
    _, shares = repair.fill_holes(photo, hole, by(G))
    assert shares == [1.0] and len(G.seen) == 1
    x, mask = G.seen[0]
    rows, columns = (np.flatnonzero(mask[0, 0].numpy().any(axis=a)) for a in (1, 0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (8, 23, 10, 21)
    shown = ((x[0].permute(1, 2, 0) + 1) * 127.5).round().numpy()
    wanted = np.where(hole[..., None], 128, photo.pixels)[42:74, 60:92]  # grey, 0, in the hole
    assert np.abs(shown - wanted).max() == 0, "the picture's own pixels at full resolution"


def test_a_thin_scratch_is_filled_at_full_resolution_on_known_ground() -> None:
    hole = np.zeros((500, 700), dtype=np.uint8)
    cv2.line(hole, (5, 5), (690, 480), 1, 3)
    photo, G = repair.Photo(picture(700, 500), None, (700, 500)), Constant()
    pixels, shares = repair.fill_holes(photo, hole > 0, by(G))
    assert shares == [1.0] and (pixels[hole > 0] == 255).all()
    assert 685 / 24 <= len(G.seen) < 70, "a tile fills its middle 24 pixels; its rim is only seen"
    assert all(mask.mean() < 0.3 for _, mask in G.seen)


def test_holes_have_scales_of_their_own_and_near_ones_are_one() -> None:
    hole = box(400, 300, at=(10, 10), size=(8, 8)) | box(400, 300, at=(10, 25), size=(8, 8))  # 7 pixels apart
    hole |= box(400, 300, at=(100, 200), size=(80, 64)) | box(400, 300, at=(200, 20), size=(3, 90))
    numbers, parts = repair.find_parts(hole)
    assert [p.side for p in parts] == [32, 32, 128]
    assert len(np.unique(numbers[hole])) == 3 and not numbers[~hole].any()
    photo, G = repair.Photo(picture(400, 300), None, (400, 300)), Everywhere()
    pixels, shares = repair.fill_holes(photo, hole, by(G))
    assert shares == [1, 1, 0.25] and (pixels[hole] == 255).all()


def test_a_scratch_into_a_blot_stays_at_full_resolution() -> None:
    hole = np.zeros((300, 400), dtype=np.uint8)
    cv2.line(hole, (5, 5), (390, 290), 1, 3)
    cv2.circle(hole, (200, 150), 60, 1, -1)
    numbers, parts = repair.find_parts(hole > 0)
    assert [p.side for p in parts] == [32, 32, 242]
    assert {numbers[7, 8], numbers[286, 384]} == {p.number for p in parts[:2]} and numbers[150, 200] == parts[2].number
    assert np.array_equal(numbers > 0, hole > 0)
    thick = numbers == parts[2].number
    assert thick[90:211, 140:261].sum() >= 0.99 * hole[90:211, 140:261].sum() and thick.sum() < 1.1 * np.pi * 60**2


def test_a_hole_at_the_edge_and_one_from_edge_to_edge() -> None:
    half = np.zeros((64, 300), dtype=bool)
    half[:32] = True  # known ground on one side
    assert [h.side for h in repair.find_parts(half)[1]] == [64]
    wide = np.zeros((10, 600), dtype=bool)
    wide[:, 100:500] = True  # 10 pixels high, but known ground is 400 pixels apart
    assert 400 <= repair.find_parts(wide)[1][0].side <= 800
    frame = np.ones((200, 300), dtype=bool)
    frame[40:160, 40:260] = False  # outpainting: known ground on one side
    assert 80 <= repair.find_parts(frame)[1][0].side <= 120


def test_a_tile_shrinks_by_area_and_grows_by_bicubic() -> None:
    values = picture(128, 96).astype(np.float32)
    everything = np.ones((96, 128), dtype=bool)
    small, share = repair.shrink(values, repair.Tile(0, 16, 96), everything)
    block = torch.from_numpy(values[:, 16:112]).permute(2, 0, 1)[None]
    wanted = F.interpolate(block, size=(32, 32), mode="area")[0].permute(1, 2, 0).numpy()
    assert np.allclose(small, wanted, atol=1e-3) and np.allclose(share, 1)
    for side in (5, 32, 45, 300):  # what is unknown weighs nothing, at any ratio
        weight = np.random.default_rng(side).random((96, 128)) < 0.7
        flat = np.where(weight[..., None], 70.0, 255.0)
        small, share = repair.shrink(flat, repair.Tile(-20, 3, side), weight)
        assert np.allclose(small[share > 0], 70, atol=1e-3) and share.max() <= 1 + 1e-5
    tiny = np.random.default_rng(0).random((32, 32, 3)).astype(np.float32)
    assert np.allclose(repair.enlarge(tiny, 32)(slice(0, 32), slice(0, 32)), tiny, atol=1e-6)
    wanted = F.interpolate(torch.from_numpy(tiny).permute(2, 0, 1)[None], 101, mode="bicubic", antialias=True)
    part = repair.enlarge(tiny, 101)(slice(7, 90), slice(0, 50))
    assert np.allclose(part, wanted[0].permute(1, 2, 0).numpy()[7:90, :50], atol=1e-5)


def test_a_smooth_picture_at_a_coarse_scale_stays_in_place() -> None:
    """A stand-in that knows the answer: were a tile shifted or turned, a ramp would show it."""
    rows, columns = np.mgrid[0:240, 0:320]
    ramp = np.stack([rows * 250 / 240, columns * 250 / 320, (rows + columns) / 3], axis=2)
    photo = repair.Photo(ramp.astype(np.uint8), None, (320, 240))
    hole = box(320, 240, at=(80, 110), size=(100, 90))

    def plane(x: Tensor, mask: Tensor) -> Tensor:
        """Known pixels lie on a plane; carry it on."""
        a, b = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
        basis = torch.stack([a.flatten(), b.flatten(), torch.ones(1024)], dim=1)
        known = mask.flatten() == 0
        fit = torch.linalg.lstsq(basis[known], x[0].flatten(1).T[known]).solution
        return (basis @ fit).T.view_as(x)

    for pixels in (repair.fill_holes(photo, hole, plane)[0], repair.fill_told(photo, hole, plane)[0]):
        assert np.abs(pixels.astype(float) - ramp)[hole].max() < 2


# -------------------------------------------------------------------------------------------------------------- files


def test_the_command_writes_the_default_name_and_says_the_scale(
    here: Path, constant: Everywhere, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "in").mkdir()
    Image.fromarray(picture(90, 60)).save("in/photo.png")
    hole = box(90, 60, size=(32, 40))
    save_mask(hole)
    assert inpaint(name="in/photo.png") == 0
    said = capsys.readouterr().out
    assert said == "wrote photo_repaired.png: the hole filled at 50 % of the picture's resolution, seed 0\n"
    got = np.asarray(Image.open("photo_repaired.png"))
    assert (got[hole] == 255).all() and np.array_equal(got[~hole], picture(90, 60)[~hole])


def test_seeds_and_counts(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(repair, "load_repairer", small_inpainter)
    Image.fromarray(picture(60, 50)).save("photo.png")
    save_mask(box(60, 50, size=(10, 10)))
    assert inpaint("--count", "3", "--seed", "5", "--out", "r.png") == 0
    assert "wrote r-1.png to r-3.png" in capsys.readouterr().out
    assert inpaint("--seed", "6", "--out", "again.png") == 0
    files = [Image.open(n).tobytes() for n in ("r-1.png", "r-2.png", "r-3.png", "again.png")]
    assert files[1] == files[3] and len(set(files)) == 3
    capsys.readouterr()
    for words in (["--count", "0"], ["--count", "65"], ["--seed", "-1"], ["--seed", "x"]):
        with pytest.raises(SystemExit) as stop:
            inpaint(*words)
        assert stop.value.code == 2 and "whole number" in capsys.readouterr().err


def with_palette(values: Array, **more: Any) -> tuple[Image.Image, dict[str, Any]]:
    return Image.fromarray(values).quantize(16), more


def mode_cases() -> dict[str, Callable[[], tuple[Image.Image, dict[str, Any]]]]:
    def of(mode: str, channels: int, **more: Any) -> Callable[[], tuple[Image.Image, dict[str, Any]]]:
        values = picture(50, 40, channels, most=256)
        return lambda: (Image.fromarray(values[..., 0] if channels == 1 else values, mode and None), more)

    def deep() -> tuple[Image.Image, dict[str, Any]]:
        return Image.fromarray(np.random.default_rng(0).integers(900, 60000, (40, 50), dtype=np.uint16)), {}

    return {
        "1": lambda: (Image.fromarray(picture(50, 40, 1, most=256)[..., 0]).convert("1"), {}),
        "L": of("L", 1),
        "L with a clear level": of("L", 1, transparency=7),
        "LA": of("LA", 2),
        "P": lambda: with_palette(picture(50, 40)),
        "P with a clear colour": lambda: with_palette(picture(50, 40), transparency=3),
        "P with alphas": lambda: with_palette(picture(50, 40), transparency=bytes(range(0, 160, 10))),
        "RGB": of("RGB", 3),
        "RGB with a clear colour": of("RGB", 3, transparency=(1, 2, 3)),
        "RGBA": of("RGBA", 4),
        "I;16": deep,
    }


KEPT = {
    "1": "L",
    "L": "L",
    "L with a clear level": "LA",
    "LA": "LA",
    "P": "RGB",
    "P with a clear colour": "RGBA",
    "P with alphas": "RGBA",
    "RGB": "RGB",
    "RGB with a clear colour": "RGBA",
    "RGBA": "RGBA",
    "I;16": "I;16",
}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("name", sorted(KEPT))
def test_every_mode_keeps_its_known_bits(name: str, suffix: str, here: Path, constant: Everywhere) -> None:
    image, more = mode_cases()[name]()
    image.save("photo.png", **more)
    hole = box(50, 40, size=(12, 20))
    save_mask(hole)
    assert inpaint("--out", "out" + suffix) == 0
    with Image.open("out" + suffix) as out:
        assert out.mode == KEPT[name]
        got = np.asarray(out)
    with Image.open("photo.png") as read:
        before = np.asarray(read if name == "I;16" else read.convert(KEPT[name]))
    assert np.array_equal(got[~hole], before[~hole])
    if name == "I;16":
        assert got.dtype == np.uint16 and (got[hole] == before[~hole].max()).all(), "the brightest known level"
        return
    got, before = (a.reshape(40, 50, -1) for a in (got, before))
    if KEPT[name].endswith("A"):
        assert np.array_equal(got[..., -1], before[..., -1]), "alpha, in the hole too"
        got = got[..., :-1]
    assert (got[hole] == 255).all()


def test_big_endian_sixteen_bits(here: Path, constant: Everywhere) -> None:
    values = np.random.default_rng(0).integers(1000, 4096, (20, 30), dtype=np.uint16)
    Image.frombytes("I;16B", (30, 20), values.astype(">u2").tobytes()).save("photo.tif")
    hole = box(30, 20)
    save_mask(hole)
    constant.value = 0.0
    assert inpaint(name="photo.tif") == 0
    got = np.asarray(Image.open("photo_repaired.png"))
    known = values[~hole].astype(float)
    assert np.array_equal(got[~hole], values[~hole])
    assert (np.abs(got[hole] - (known.min() + known.max()) / 2) <= 1).all(), "the middle of the levels in use"


def test_colours_under_full_transparency_are_not_seen() -> None:
    pixels = np.full((40, 60, 3), 80, dtype=np.uint8)
    alpha = np.full((40, 60), 255, dtype=np.uint8)
    pixels[:, 30:], alpha[:, 30:] = 255, 0
    photo, G = repair.Photo(pixels, alpha, (60, 40)), Constant()
    repair.fill_holes(photo, box(60, 40, at=(10, 25), size=(8, 5)), by(G))
    x, mask = G.seen[0]
    assert x[(mask == 0).expand_as(x)].unique().numpy() == pytest.approx([80 / 127.5 - 1])
    G.seen.clear()
    photo = repair.Photo(pixels, np.zeros_like(alpha), (60, 40))  # nothing visible: then the colours as they are
    repair.fill_holes(photo, box(60, 40), by(G))
    assert len(G.seen) == 1


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_picture_is_turned_upright_and_its_mask_fits_the_upright_one(
    turn: int, here: Path, constant: Everywhere, capsys: pytest.CaptureFixture[str]
) -> None:
    upright = Image.fromarray(picture(50, 30))
    T = Image.Transpose
    back = {2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE, 6: T.ROTATE_90}
    back |= {7: T.TRANSVERSE, 8: T.ROTATE_270}
    stored = upright.transpose(back[turn]) if turn > 1 else upright
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = turn, "A maker"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    hole = box(50, 30, at=(1, 30), size=(6, 9))
    save_mask(hole)
    for suffix in ("png", "tif"):
        stored.save(f"photo.{suffix}", exif=exif.tobytes())
        for name in ("out.png", "out.tif"):
            assert inpaint("--out", name, name=f"photo.{suffix}") == 0
            with Image.open(name) as out:
                got, kept = np.asarray(out), out.getexif()
                assert 0x0112 not in kept and kept[0x010F] == "A maker"
                assert kept.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
            assert got.shape == (30, 50, 3) and (got[hole] == 255).all()
            assert np.array_equal(got[~hole], picture(50, 30)[~hole])
    save_mask(np.asarray(Image.fromarray(hole).transpose(back[turn])) if turn > 1 else hole)
    capsys.readouterr()
    for suffix in ("png", "tif"):
        if turn > 4:
            says = "50x30 (width x height, upright), got 30x50. It would fit"
            expect_error(says, capsys, here, name=f"photo.{suffix}")


def test_the_preview_in_exif_goes_and_the_colour_profile_stays(here: Path, constant: Everywhere) -> None:
    entries = struct.pack(">H", 1) + struct.pack(">HHI4s", 0x0110, 2, 4, b"Cam\0") + struct.pack(">I", 26)
    preview = struct.pack(">H", 2) + struct.pack(">HHII", 0x0201, 4, 1, 60) + struct.pack(">HHII", 0x0202, 4, 1, 8)
    exif = b"Exif\0\0MM\0*" + struct.pack(">I", 8) + entries + preview + struct.pack(">I", 0) + b"\0" * 4 + b"PREVIEW!"
    assert exif[6 + 60 :] == b"PREVIEW!"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(picture(40, 40)).save("photo.jpg", exif=exif, icc_profile=profile)
    assert b"PREVIEW!" in Path("photo.jpg").read_bytes()
    save_mask(box(40, 40))
    for name in ("out.png", "out.tif", "out.jpg"):
        assert inpaint("--out", name, name="photo.jpg") == 0
        assert b"PREVIEW!" not in Path(name).read_bytes()
        with Image.open(name) as out:
            assert out.getexif()[0x0110] == "Cam" and out.info["icc_profile"] == profile


def test_a_tiff_does_not_hand_on_how_it_was_stored(here: Path, constant: Everywhere) -> None:
    Image.fromarray(picture(40, 40)).save("photo.tif", compression="tiff_lzw", description="a note")
    save_mask(box(40, 40))
    assert inpaint(name="photo.tif") == 0
    with Image.open("photo_repaired.png") as out:
        assert dict(out.getexif()) == {270: "a note"}


def test_damaged_exif_is_left_out_with_a_note(
    here: Path, constant: Everywhere, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(picture(40, 40)).save("photo.png")
    save_mask(box(40, 40))

    def broken(self: Any) -> Any:
        raise struct.error("bad")

    monkeypatch.setattr(repair, "ORIENTATION", property(broken))
    monkeypatch.setattr(Image.Exif, "__iter__", broken)
    assert inpaint() == 0
    assert "its EXIF is damaged" in capsys.readouterr().err


def test_jpeg_in_and_out(here: Path, constant: Everywhere, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(picture(64, 48)).save("photo.jpg")
    hole = box(64, 48, size=(12, 12))
    save_mask(hole)
    assert inpaint("--out", "out.jpg", name="photo.jpg") == 0
    assert "identical before JPEG compression only" in capsys.readouterr().out
    with Image.open("out.jpg") as out:
        assert out.format == "JPEG" and out.size == (64, 48) and np.asarray(out)[6, 6].min() > 240
    assert inpaint(name="photo.jpg") == 0
    assert "JPEG" not in capsys.readouterr().out
    before = np.asarray(Image.open("photo.jpg"))
    assert np.array_equal(np.asarray(Image.open("photo_repaired.png"))[~hole], before[~hole])
    Image.fromarray(picture(64, 48, 1)[..., 0]).save("photo.jpg")
    assert inpaint(name="photo.jpg") == 0 and Image.open("photo_repaired.png").mode == "L", "grey stays grey"


@pytest.mark.parametrize("suffix", ["webp", "bmp", "gif"])
def test_other_files_are_read(suffix: str, here: Path, constant: Everywhere) -> None:
    Image.fromarray(picture(40, 40)).save(f"photo.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    before = np.asarray(Image.open(f"photo.{suffix}").convert("RGB"))
    hole = box(40, 40)
    save_mask(hole)
    assert inpaint(name=f"photo.{suffix}") == 0
    assert np.array_equal(np.asarray(Image.open("photo_repaired.png"))[~hole], before[~hole])


def test_a_telephone_s_file_of_two_pictures(
    here: Path, constant: Everywhere, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (Image.fromarray(picture(40, 40, seed=s)) for s in (0, 1))
    first.save("photo.jpg", format="MPO", save_all=True, append_images=[second])
    before = np.asarray(Image.open("photo.jpg"))
    hole = box(40, 40)
    save_mask(hole)
    assert inpaint(name="photo.jpg") == 0
    assert "holds 2 pictures; the first was repaired" in capsys.readouterr().err
    assert np.array_equal(np.asarray(Image.open("photo_repaired.png"))[~hole], before[~hole])


# ------------------------------------------------------------------------------------------------------------- masks


def masks_of_all_kinds(hole: Array) -> dict[str, Image.Image]:
    white = hole.astype(np.uint8) * 255
    grey = np.where(hole, 128, 127).astype(np.uint8)  # just white, and just not
    noise = picture(*hole.shape[::-1], 3)
    clear = np.dstack([np.full_like(white, 255)] * 3 + [white])  # white paint on a transparent layer
    return {
        "1": Image.fromarray(hole),
        "L": Image.fromarray(white),
        "grey": Image.fromarray(grey),
        "RGB": Image.fromarray(np.dstack([grey] * 3)),
        "colours": Image.fromarray(np.where(hole[..., None], [0, 255, 0], [0, 0, 255]).astype(np.uint8)),  # by luma
        "P": Image.fromarray(np.dstack([white] * 3)).quantize(2),
        "LA": Image.fromarray(np.dstack([white, np.full_like(white, 255)])),
        "RGBA, opaque": Image.fromarray(np.dstack([white] * 3 + [np.full_like(white, 255)])),
        "RGBA, a painted layer": Image.fromarray(clear),
        "RGBA, half clear": Image.fromarray(
            np.dstack([np.full_like(white, 255)] * 3 + [np.where(hole, 129, 126)]).astype(np.uint8)
        ),
        "I;16": Image.fromarray(np.where(hole, 128 * 256, 128 * 256 - 1).astype(np.uint16)),
        "turned": Image.fromarray(white).transpose(Image.Transpose.ROTATE_90) if noise.size else Image.new("L", (1, 1)),
    }


@pytest.mark.parametrize("name", sorted(masks_of_all_kinds(box(50, 40))))
def test_masks_of_every_kind(name: str, here: Path, constant: Everywhere) -> None:
    hole = box(50, 40, at=(3, 20), size=(9, 14))
    exif = Image.Exif()
    if name == "turned":  # a mask with an orientation of its own
        exif[0x0112] = 6
    masks_of_all_kinds(hole)[name].save("mask.png", exif=exif)
    Image.fromarray(picture(50, 40)).save("photo.png")
    assert inpaint() == 0
    got = np.asarray(Image.open("photo_repaired.png"))
    assert (got[hole] == 255).all() and np.array_equal(got[~hole], picture(50, 40)[~hole])


def test_masks_that_cannot_be_meant(here: Path, constant: Everywhere, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(picture(50, 40)).save("photo.png")
    save_mask(np.zeros((40, 50), dtype=bool))
    expect_error("marks no hole; expected white", capsys, here)
    save_mask(np.ones((40, 50), dtype=bool))
    expect_error("is all hole; there is nothing to go by", capsys, here)
    Image.fromarray(np.dstack([np.zeros((40, 50), dtype=np.uint8)] * 3 + [box(50, 40).astype(np.uint8) * 255])).save(
        "mask.png"
    )
    expect_error("marks no hole", capsys, here)  # black paint on a transparent layer
    save_mask(box(50, 41))
    expect_error("expected the picture's size 50x40 (width x height, upright), got 50x41.", capsys, here)
    save_mask(box(40, 50))
    expect_error("got 40x50.\n", capsys, here)  # nothing was turned, so nothing would have fitted before
    Image.new("F", (50, 40)).save("mask.tif")
    Path("mask.tif").rename("mask.png")
    expect_error("mask: 'mask.png' has the colour mode F", capsys, here)
    for size in ((1, 1), (1, 1)):
        Image.new("RGB", size).save("photo.png")
        save_mask(np.ones((1, 1), dtype=bool))
        expect_error("is all hole", capsys, here)


# ------------------------------------------------------------------------------------------------------- bad files


def cut(path: str, share: float = 0.5) -> None:
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: int(len(data) * share)])


def test_files_that_cannot_be_read(here: Path, constant: Everywhere, capsys: pytest.CaptureFixture[str]) -> None:
    save_mask(box(50, 40))
    expect_error("picture: there is no file 'photo.png'", capsys, here)
    Image.fromarray(picture(50, 40)).save("photo.png")
    expect_error("picture: there is no file 'no.png'", capsys, here, name="no.png")
    (here / "folder.png").mkdir()
    expect_error("is not a file", capsys, here, name="folder.png")
    for name, text in (
        ("a.png", ""),
        ("b.png", "not a picture"),
        ("c.svg", "<svg/>"),
        ("d.eps", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    ):
        Path(name).write_text(text)
        expect_error("is not a picture that can be read here", capsys, here, name=name)
    for suffix in ("png", "jpg", "tif", "bmp", "gif", "webp"):
        Image.fromarray(picture(50, 40)).save(f"cut.{suffix}")
        cut(f"cut.{suffix}")
        expect_error("cut short", capsys, here, name=f"cut.{suffix}")
    cut("mask.png", 0.7)
    expect_error("mask: 'mask.png' cannot be read", capsys, here)
    Path("mask.png").unlink()
    expect_error("mask: there is no file 'mask.png'", capsys, here)


def test_kinds_that_are_refused(here: Path, constant: Everywhere, capsys: pytest.CaptureFixture[str]) -> None:
    save_mask(box(50, 40))
    pages = [Image.fromarray(picture(50, 40, seed=s)) for s in range(2)]
    pages[0].convert("CMYK").save("cmyk.jpg")
    expect_error("has the colour mode CMYK", capsys, here, name="cmyk.jpg")
    pages[0].convert("CMYK").save("cmyk.tif")
    expect_error("has the colour mode CMYK", capsys, here, name="cmyk.tif")
    pages[0].convert("LAB").save("lab.tif")
    expect_error("has the colour mode LAB", capsys, here, name="lab.tif")
    for mode in ("F", "I"):
        Image.new(mode, (50, 40)).save(f"{mode}.tif")
        expect_error(f"has the colour mode {mode};", capsys, here, name=f"{mode}.tif")
    for name in ("a.gif", "a.png", "a.tif", "a.webp"):
        pages[0].save(name, save_all=True, append_images=pages[1:])
        expect_error("holds 2 pictures", capsys, here, name=name)
    for channels in (3, 4):
        for name in ("deep.png", "deep.tif"):
            cv2.imwrite(name, np.full((40, 50, channels), 300, dtype=np.uint16))
            expect_error("16 bits a colour", capsys, here, name=name)
    Image.fromarray(np.full((40, 50), 300, dtype=np.uint16)).save("clear.png", transparency=300)
    expect_error("16-bit grey with a transparent level", capsys, here, name="clear.png")


def png_header(width: int, height: int) -> bytes:
    import zlib

    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + b"\0\0\0\0IDAT"


@pytest.mark.parametrize("size", [(10001, 10000), (60000, 60000)])  # the second is refused by Pillow itself
def test_huge_files_are_refused_unread(
    size: tuple[int, int], here: Path, constant: Everywhere, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photo.png").write_bytes(png_header(*size))
    save_mask(box(50, 40))
    expect_error("megapixels", capsys, here)
    Path("photo.png").replace("mask.png")
    Image.fromarray(picture(50, 40)).save("photo.png")
    expect_error("mask: 'mask.png' has", capsys, here)


def test_outputs_that_are_refused(
    here: Path, constant: Everywhere, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(picture(50, 40)).save("photo.png")
    Image.fromarray(picture(50, 40, 4)).save("alpha.png")
    Image.fromarray(picture(50, 40)[..., 0].astype(np.uint16) * 200).save("deep.png")
    save_mask(box(50, 40))
    for name in ("out.xyz", "out", "out.webp", "out.pdf"):
        expect_error("--out: expected a name that ends in .png", capsys, here, "--out", name)
    expect_error("does not exist; make it first", capsys, here, "--out", "no/such/out.png")
    (here / "f.png").mkdir()
    expect_error("is a folder", capsys, here, "--out", "f.png")
    Path("link.png").symlink_to("photo.png")
    Path("hard.png").hardlink_to("mask.png")
    for name in ("photo.png", "./photo.png", "f.png/../photo.png", "mask.png", "link.png", "hard.png"):
        expect_error("is what is read; choose another name", capsys, here, "--out", name)
    Image.fromarray(picture(50, 40)).save("two-2.png")
    expect_error("is what is read", capsys, here, "--out", "two.png", "--count", "2", name="two-2.png")
    expect_error("has transparency, which JPEG cannot hold", capsys, here, "--out", "out.jpg", name="alpha.png")
    expect_error("has 16 bits, which JPEG cannot hold", capsys, here, "--out", "out.jpeg", name="deep.png")
    expect_error("File name too long", capsys, here, "--out", "x" * 300 + ".png")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runtime.os, "fsync", full)
    Path("photo_repaired.png").write_bytes(b"from yesterday")
    expect_error("No space left on device", capsys, here)
    assert Path("photo_repaired.png").read_bytes() == b"from yesterday"


def test_what_the_encoder_refuses_is_told(here: Path, constant: Everywhere, capsys: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[270] = "x" * 70000  # more than a JPEG holds
    Image.fromarray(picture(50, 40)).save("photo.png", exif=exif)
    save_mask(box(50, 40))
    expect_error("cannot be written as JPEG", capsys, here, "--out", "out.jpg")


# --------------------------------------------------------------------------------------------------------- with a text


def test_a_told_hole_is_as_wide_in_its_tile_as_in_training() -> None:
    photo, G = repair.Photo(picture(700, 500), None, (700, 500)), Everywhere()
    for at, size in (((200, 300), (90, 180)), ((0, 0), (90, 90)), ((480, 690), (20, 10)), ((9, 9), (5, 5))):
        hole = box(700, 500, at=at, size=size)
        G.seen.clear()
        pixels, share = repair.fill_told(photo, hole, by(G))
        assert len(G.seen) == 1 and (pixels[hole] == 255).all()
        mask = G.seen[0][1][0, 0].numpy()
        widest = max(mask.any(axis=0).sum(), mask.any(axis=1).sum())
        assert 17 <= widest <= 19, (at, widest)
        assert share == pytest.approx(18 / max(size), rel=0.1)


def test_in_a_small_picture_the_reflected_hole_is_closed() -> None:
    photo, G = repair.Photo(np.full((40, 40, 3), 90, dtype=np.uint8), None, (40, 40)), Constant()
    hole = box(40, 40, at=(2, 2), size=(36, 36))
    pixels, _ = repair.fill_told(photo, hole, by(G))
    x, mask = G.seen[0]
    assert 17 <= mask[0, 0].any(0).sum() <= 19 and 17 <= mask[0, 0].any(1).sum() <= 19
    assert x[(mask == 0).expand_as(x)].unique().numpy() == pytest.approx([90 / 127.5 - 1], abs=1e-5)
    assert np.array_equal(pixels[~hole], photo.pixels[~hole])


def test_a_scratch_with_text_is_refused() -> None:
    hole = np.zeros((300, 400), dtype=np.uint8)
    cv2.line(hole, (5, 5), (390, 290), 1, 2)
    with pytest.raises(ValueError, match="so thin"):
        repair.fill_told(repair.Photo(picture(400, 300), None, (400, 300)), hole > 0, by(Constant()))


def test_the_command_with_text(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the shipped space and a small network of random weights."""
    from mmcourse import checkpoint
    from mmcourse.encoders import Space

    load, card = checkpoint.load, checkpoint.card
    monkeypatch.setattr(checkpoint, "load", lambda cls, name: load(cls, name) if cls is Space else small_inpainter(64))
    Image.fromarray(picture(120, 90)).save("photo.png")
    hole = box(120, 90, at=(20, 30), size=(40, 40))
    save_mask(hole)
    for text in ("a small red circle", "a large blue square"):
        assert inpaint("--text", text, "--out", text[2:7] + ".png") == 0
        said = capsys.readouterr()
        assert f"the hole filled with {text!r} at 45.1 % of the picture's resolution" in said.out and said.err == ""
        assert "knows only the course's world of plain shapes and colours" in said.out
    small, large = (np.asarray(Image.open(n + ".png")) for n in ("small", "large"))
    assert not np.array_equal(small[hole], large[hole]), "the words reach the network"
    assert np.array_equal(small[~hole], picture(120, 90)[~hole])
    assert inpaint("--text", "red", "--out", "r.png") == 0
    assert "note: the words are known but" in capsys.readouterr().err
    assert inpaint("--text", "a red circle left of a blue square", "--out", "r.png") == 0
    assert "trained with one thing" in capsys.readouterr().err
    expect_error("'elefant'", capsys, here, "--text", "a red elefant")
    expect_error("looks like", capsys, here, "--text", "")
    Image.fromarray(picture(120, 90)[..., 0]).save("photo.png")
    assert inpaint("--text", "a red circle") == 0
    assert "grey, and so is the fill" in capsys.readouterr().err
    monkeypatch.setattr(
        checkpoint, "card", lambda name: {"space": "another"} if name == "inpainting_text" else card(name)
    )
    expect_error("another space", capsys, here, "--text", "a red circle")


def test_the_shipped_repairers_fill_a_photograph(here: Path) -> None:
    from skimage import data

    photo = data.astronaut()[:200, 100:340]
    Image.fromarray(photo).save("photo.png")
    hole = np.zeros((200, 240), dtype=np.uint8)
    cv2.line(hole, (10, 10), (200, 180), 1, 3)
    hole[20:60, 190:230] = 1
    save_mask(hole > 0)
    assert inpaint() == 0
    got = np.asarray(Image.open("photo_repaired.png"))
    assert np.array_equal(got[hole == 0], photo[hole == 0])
    wrong = np.abs(got.astype(float) - photo)[hole > 0].mean()
    grey = np.abs(128.0 - photo)[hole > 0].mean()
    assert wrong < 0.5 * grey
    assert inpaint("--text", "a small red circle", "--out", "told.png") == 0


def test_help_tells_the_masks_convention(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["inpaint", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "128 or more of 255, is the hole" in said and "transparent is kept" in said


def test_bytes_are_a_whole_file() -> None:
    data = repair.encode_photo(repair.Photo(picture(5, 4), None, (5, 4)), "PNG")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), picture(5, 4))
