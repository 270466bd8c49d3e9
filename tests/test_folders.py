"""A folder of deliberately bad files: all of it told in one table, and what is good is used."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from mmcourse import folders
from mmcourse.folders import CaptionedFolder, FolderUnusable, check, square


def paint(colour: Any = (200, 30, 30), size: tuple[int, int] = (40, 40), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, colour)


def packed(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noisy(seed: int, size: tuple[int, int] = (40, 40)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header says that it has width x height pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def fill(folder: Path, files: dict[str, bytes | str | Image.Image]) -> Path:
    for name, what in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, Image.Image):
            what = packed(what)
        path.write_bytes(what.encode() if isinstance(what, str) else what)
    return folder


def kinds(folder: Path) -> dict[str, str]:
    """The kind of each finding by its file or line."""
    return {row.file: row.kind for row in check(folder).rows}


# --------------------------------------------------------------------------------------------------------- what is good


def test_a_table_is_read_with_languages_and_splits(tmp_path: Path, rng: torch.Generator) -> None:
    fill(
        tmp_path,
        {
            "a.png": noisy(1),
            "cats/b.jpg": packed(noisy(2), "JPEG"),
            "c.png": noisy(3),
            "captions.csv": "\ufeffFile, Caption ,language,split\na.png,  a  red\tthing ,,\na.png,红色的东西,,\n"
            'cats/b.jpg,"a cat, asleep",en-GB,test\nc.png,ein Hund,DE,held-out\n\n',
        },
    )
    found = CaptionedFolder(tmp_path, strict=True)
    assert found.report.rows == [] and "nothing wrong" in str(found.report) and found.report.usable == 4 == len(found)
    assert found.files == ["a.png", "a.png", "cats/b.jpg", "c.png"]
    assert found.captions == ["a red thing", "红色的东西", "a cat, asleep", "ein Hund"]
    assert found.languages == ["en", "zh", "en", "de"] and found.splits == ["train", "train", "test", "held_out"]
    assert found.pictures.shape == (4, 3, 32, 32) and torch.equal(found.pictures[0], found.pictures[1])
    assert -1 <= found.pictures.min() < -0.5 and 0.5 < found.pictures.max() <= 1
    x, captions = found.batch(50, rng)
    assert x.shape == (50, 3, 32, 32) and set(captions) == {"a red thing", "红色的东西"}, (
        "training sees its split alone"
    )
    assert torch.equal(x, found.batch(50, torch.Generator().manual_seed(0))[0])
    assert set(found.batch(90, rng, split="all")[1]) == set(found.captions)
    assert found.batch(3, rng, split="test")[1] == ["a cat, asleep"] * 3
    with pytest.raises(ValueError, match="batch: expected at least 1"):
        found.batch(0, rng)
    with pytest.raises(ValueError, match="Did you mean 'train'"):
        found.batch(1, rng, split="trian")


def test_one_text_beside_each_picture_is_read_line_by_line(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {
            "a.png": noisy(1),
            "a.txt": "\ufeffa red thing\r\n\r\n红色的东西\r\n",
            "deep/b.PNG": noisy(2),
            "deep/b.txt": "a cat",
            "README.txt": "about this folder",
            ".hidden.png": noisy(3),
            "Thumbs.db": b"x",
        },
    )
    found = CaptionedFolder(tmp_path, size=16, strict=True)
    assert found.captions == ["a red thing", "红色的东西", "a cat"] and found.languages == ["en", "zh", "en"]
    assert found.files == ["a.png", "a.png", "deep/b.PNG"] and found.pictures.shape == (3, 3, 16, 16)
    assert found.report.rows == []
    with pytest.raises(ValueError, match=r"split: expected one with pictures, got 'test'. This folder has train 3"):
        found.batch(1, torch.Generator(), split="test")


def two_halves(mode: str) -> Image.Image:
    """Dark on the left, bright on the right, 60 x 40."""
    image = Image.new("L", (60, 40), 51)
    image.paste(204, (30, 0, 60, 40))
    return image.convert(mode) if mode not in ("I;16", "F") else image


def test_every_mode_gives_the_same_picture(tmp_path: Path) -> None:
    grey = np.asarray(two_halves("L"))
    files = {
        "grey.png": packed(two_halves("L")),
        "rgb.bmp": packed(two_halves("RGB"), "BMP"),
        "palette.png": packed(two_halves("P")),
        "rgba.png": packed(two_halves("RGBA")),
        "la.png": packed(two_halves("LA")),
        "cmyk.tif": packed(two_halves("RGB").convert("CMYK"), "TIFF"),
        "cmyk.jpg": packed(two_halves("RGB").convert("CMYK"), "JPEG", quality=95),
        "sixteen.png": packed(Image.fromarray(grey.astype(np.uint16) * 257)),
        "sixteen.tif": packed(Image.fromarray(grey.astype(np.uint16) * 257), "TIFF"),
        "float.tif": packed(Image.fromarray((grey / 255).astype(np.float32)), "TIFF"),
        "whole.webp": packed(two_halves("RGB"), "WEBP", lossless=True),
        "moving.gif": packed(two_halves("L"), "GIF", save_all=True, append_images=[paint(0, (60, 40), "L")]),
        "moving.webp": packed(
            two_halves("RGB"), "WEBP", lossless=True, save_all=True, append_images=[paint((0, 0, 0), (60, 40))]
        ),
    }
    table = "file,caption\n" + "".join(f"{name},a step\n" for name in files)
    fill(tmp_path, {**files, "captions.csv": table})
    wanted = torch.full((32, 32), 51 / 127.5 - 1)
    wanted[:, 16:] = 204 / 127.5 - 1
    for name, data in files.items():
        pixels = torch.from_numpy(folders._decode(data, 32).pixels.copy()).float() / 127.5 - 1
        apart = (pixels - wanted[:, :, None]).abs()
        assert apart[:, [*range(14), *range(18, 32)]].max() < 0.05, name
    assert {row.kind for row in check(tmp_path).wrong} == {"duplicate"}, "equal pictures in other files"
    fill(tmp_path, {"captions.csv": "file,caption\nmoving.gif,a step\n"})
    assert [row.problem for row in check(tmp_path).rows if row.kind == "frames"] == ["has 2 frames; the first is used"]


def test_one_bit_and_transparent_pictures(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    clear.paste((255, 0, 0, 255), (0, 0, 40, 20))
    for image in (clear, clear.convert("LA"), clear.quantize()):
        x = np.asarray(square(image, 8))
        assert (x[6] == 255).all() and x[1, :, 1].max() < 80, "white where nothing is"
    marked = Image.new("P", (4, 4), 0)
    marked.putpalette([9, 9, 9, 0, 255, 0])
    data = packed(marked, "GIF", transparency=0)
    assert folders._decode(data, 4).pixels.min() == 255
    assert folders._decode(packed(paint(1, mode="1")), 8).pixels.min() == 255


def test_exif_turns_a_picture(tmp_path: Path) -> None:
    upright = Image.new("RGB", (40, 60), (255, 255, 255))
    upright.paste((255, 0, 0), (0, 0, 40, 30))  # red above
    lying = upright.transpose(Image.Transpose.ROTATE_90)  # as the camera wrote it; 6 turns it back by 270 degrees
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG"):
        found = folders._decode(packed(lying, kind, exif=exif.tobytes()), 8)
        assert found.shape == (40, 60)
        assert found.pixels[0, :, 1].max() < 60 and found.pixels[7, :, 1].min() > 200
    broken = packed(lying, "JPEG", exif=b"Exif\0\0II*\0garbage that no one can read")
    assert folders._decode(broken, 8).shape == (60, 40)


def test_the_square_in_the_middle_is_taken_and_averaged() -> None:
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80] = np.random.default_rng(0).integers(0, 256, (40, 40, 3))
    x = np.asarray(square(Image.fromarray(wide), 10)).astype(float)
    middle = wide[:, 40:80].reshape(10, 4, 10, 4, 3).mean((1, 3))
    assert np.abs(x - middle).mean() < 12 and x.min() > 20, "nothing of the sides, and no single pixel picked"
    tall = square(Image.fromarray(wide.transpose(1, 0, 2).copy()), 10)
    assert np.abs(np.asarray(tall).transpose(1, 0, 2) - x).max() <= 1, "but for rounding"
    assert square(paint(size=(1, 1)), 8).size == (8, 8)


# ---------------------------------------------------------------------------------------------------------- what is bad


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """Good and bad side by side; no finding may hide another."""
    outside = tmp_path / "outside"
    folder = tmp_path / "mine"
    fill(outside, {"secret.png": noisy(99), "captions.txt": "secret words"})
    photo = packed(noisy(5, (400, 300)), "JPEG")
    files: dict[str, bytes | str | Image.Image] = {
        "good.png": noisy(1),
        "tall.png": noisy(2, (50, 200)),
        "tiny.png": noisy(3, (9, 9)),
        "cut.jpg": photo[: len(photo) // 2],
        "cut.png": packed(noisy(4))[:900],
        "header.png": packed(noisy(6))[:20],
        "empty.png": b"",
        "page.jpg": "<html>404 not found</html>",
        "script.png": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        "bomb.png": bomb(60_000, 60_000),
        "vast.png": bomb(10_000, 9_000),
        "copy.png": noisy(1),
        "copy.bmp": packed(noisy(1), "BMP"),
        "lonely.png": noisy(7),
        "phone.heic": b"\0\0\0\x18ftypheic",
        "shape.svg": "<svg/>",
        "Mixed.PNG": noisy(8),
        "two.png": noisy(9),
        "notes.md": "not a picture, and none of its business",
    }
    names = [n for n in files if n not in ("lonely.png", "phone.heic", "shape.svg", "Mixed.PNG", "notes.md")]
    lines = [f"{name},a thing\n" for name in names]
    lines += [
        "gone.png,a thing\n",
        "mixed.png,other letters\n",
        "good.jpg,another ending\n",
        "../outside/secret.png,dots\n",
        f"{outside}/secret.png,absolute\n",
        "C:\\pictures\\secret.png,drive\n",
        "link.png,a link out\n",
        "inner.png,a link within\n",
        "loop.png,a link to itself\n",
        "linked/secret.png,behind a linked folder\n",
        "pipe.png,a pipe\n",
        "sub,a folder\n",
        "two.png,\n",
        "two.png,a thing\n",
        "two.png,second caption,,test\n",
        "two.png,third caption,,trian\n",
        "two.png,fourth caption,english!,\n",
        "two.png,red, green and blue,,\n",
        f"two.png,{'very ' * 101}long\n",
        ",a caption without a file\n",
        "nul\0.png,a sign that no name has\n",
        f"{'long' * 100}.png,a long name\n",
    ]
    fill(folder, {**files, "captions.csv": "file,caption,language,split\n" + "".join(lines)})
    (folder / "sub").mkdir()
    (folder / "link.png").symlink_to(outside / "secret.png")
    (folder / "inner.png").symlink_to(folder / "Mixed.PNG")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "linked").symlink_to(outside)
    os.mkfifo(folder / "pipe.png")
    return folder


def test_a_folder_of_bad_files_is_told_in_one_table(bad: Path) -> None:
    report = check(bad)
    told = {(row.file.removeprefix("captions.csv:").partition(" ")[2] or row.file, row.kind) for row in report.rows}
    wanted = {
        ("cut.jpg", "broken"),
        ("cut.png", "broken"),
        ("header.png", "broken"),
        ("empty.png", "empty"),
        ("page.jpg", "no picture"),
        ("script.png", "no picture"),
        ("bomb.png", "too large"),
        ("vast.png", "too large"),
        ("copy.png", "duplicate"),
        ("copy.bmp", "duplicate"),
        ("lonely.png", "no caption"),
        ("phone.heic", "no picture"),
        ("shape.svg", "no picture"),
        ("gone.png", "no picture"),
        ("mixed.png", "no picture"),
        ("good.jpg", "no picture"),
        ("../outside/secret.png", "outside"),
        ("C:\\pictures\\secret.png", "outside"),
        ("link.png", "outside"),
        ("loop.png", "unreadable"),
        ("linked/secret.png", "no file"),
        ("pipe.png", "no file"),
        ("sub", "no file"),
        ("two.png", "no caption"),
        ("two.png", "twice"),
        ("two.png", "split"),
        ("two.png", "language"),
        ("two.png", "too large"),
        ("tall.png", "long"),
        ("tiny.png", "small"),
        (".", "sizes"),
    }
    assert wanted <= told, wanted - told
    assert ("nul\\x00.png", "no picture") in told
    assert [row.problem for row in report.rows if row.kind == "columns"] == ["has 5 fields, the first line has 4"]
    assert sum(row.kind == "outside" for row in report.rows) == 4
    assert [row.kind for row in report.rows if "is meant" in row.to_do or "meant?" in row.to_do].count(
        "no picture"
    ) >= 2
    assert any("is Mixed.PNG meant?" in row.to_do for row in report.rows)
    text = str(report)
    assert "\0" not in text and len(text.splitlines()) <= folders.SHOWN + 6
    assert all(row.problem and row.to_do for row in report.rows)
    assert report.counts["duplicate"] == 2 and sum(report.counts.values()) == len(report.rows)
    assert not any(word in text for word in ("Traceback", "Error("))


def test_what_is_good_in_a_bad_folder_is_used(bad: Path) -> None:
    found = CaptionedFolder(bad)
    assert sorted(set(found.files)) == ["good.png", "inner.png", "tall.png", "tiny.png", "two.png"]
    assert [c for f, c in zip(found.files, found.captions, strict=True) if f == "two.png"] == [
        "a thing",
        "fourth caption",
    ]
    assert found.pictures.shape == (len(found), 3, 32, 32) and found.pictures.isfinite().all()
    assert found.report.usable == len(found) == 6
    assert str(found.report) == str(check(bad))
    with pytest.raises(FolderUnusable, match=r"(?s)strict=True.*bomb\.png.*what|strict=True") as caught:
        CaptionedFolder(bad, strict=True)
    assert caught.value.report.wrong and "duplicate" in str(caught.value)


def test_nothing_outside_of_the_folder_is_read(bad: Path, tmp_path: Path) -> None:
    (bad / "captions.csv").unlink()
    fill(bad, {"a.png": noisy(20), "b.png": noisy(21), "b.txt": "fine"})
    (bad / "a.txt").symlink_to(tmp_path / "outside" / "captions.txt")
    (bad / "link.txt").write_text("a caption of the outer picture")
    os.mkfifo(bad / "two.txt")
    found = CaptionedFolder(bad)
    assert found.files == ["b.png"] and found.captions == ["fine"]
    assert kinds(bad)["a.txt"] == "outside" == kinds(bad)["link.png"] and kinds(bad)["two.txt"] == "no file"
    table = tmp_path / "outside" / "captions.csv"
    table.write_text("file,caption\nb.png,secret\n")
    (bad / "captions.csv").symlink_to(table)
    with pytest.raises(FolderUnusable, match="outside the folder"):
        CaptionedFolder(bad)


TABLE = "file,caption\na.png,红色的猫，在左边\n"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (TABLE.encode("utf-16"), "is written in UTF-16"),
        (TABLE.encode("utf-16-le"), "is written in UTF-16"),
        (TABLE.encode("gbk"), r"is not UTF-8 \(line 2\); it looks like GBK"),
        ("file,caption\na.png,a café, a Bär\n".encode("cp1252"), "looks like Windows-1252"),
        (b"file;caption\na.png;a cat\n", "parted by ';', not by commas"),
        (b"file\tcaption\na.png\ta cat\n", "parted by tabs"),
        (b"name,text\na.png,a cat\n", "no column file and no column caption; its first line says name"),
        (b"a.png,a cat\n", "no column file and no column caption"),
        (b"file,caption,file\na.png,a cat,b.png\n", "has the column file twice"),
        (b"", "is empty"),
        (b"\n\n", "holds no first line"),
        (b'"file,caption\na.png,a cat\n', "cannot be read"),
        (b'file,caption\na.png,"never closed\n', "cannot be read from here on"),
        (b"file,caption\na.png," + b"x" * 200_000 + b"\n", "cannot be read from here on"),
        (b"file,caption\n", "a picture without|holds neither|Nothing"),
    ],
)
def test_a_table_in_a_wrong_form_is_told(tmp_path: Path, data: bytes, told: str) -> None:
    fill(tmp_path, {"a.png": noisy(1), "captions.csv": data})
    with pytest.raises(FolderUnusable, match=told) as caught:
        CaptionedFolder(tmp_path)
    assert caught.value.report.usable == 0


def test_texts_in_a_wrong_form_are_told(tmp_path: Path) -> None:
    files: dict[str, bytes | str | Image.Image] = {f"{name}.png": noisy(i) for i, name in enumerate("abcdefg")}
    fill(
        tmp_path,
        {
            **files,
            "a.txt": "红色的猫".encode("gbk"),
            "b.txt": "a cat".encode("utf-16"),
            "c.txt": b"",
            "d.txt": b" \n\n ",
            "e.txt": b"x" * 200_000,
            "f.txt": "a cat",
            "nobody.txt": "a dog",
        },
    )
    assert {file: kind for file, kind in kinds(tmp_path).items() if file != "."} == {
        "a.txt": "encoding",
        "b.txt": "encoding",
        "c.txt": "no caption",
        "d.txt": "no caption",
        "e.txt": "too large",
        "g.png": "no caption",
        "nobody.txt": "no picture",
    }
    assert CaptionedFolder(tmp_path).files == ["f.png"]


def test_columns_and_texts_that_are_not_read_are_notes(tmp_path: Path) -> None:
    fill(tmp_path, {"a.png": noisy(1), "a.txt": "a dog", "captions.csv": "file,caption,author\na.png,a cat,me\n"})
    found = CaptionedFolder(tmp_path, strict=True)
    assert found.captions == ["a cat"] and len(found.report.rows) == 2 and not found.report.wrong
    assert "author" in str(found.report) and "note: 1 .txt beside pictures" in str(found.report)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda p: p / "gone", "is not there"),
        (lambda p: fill(p, {"file.txt": "x"}) / "file.txt", "is no folder"),
        (lambda p: p, "is empty"),
        (lambda p: fill(p, {"a.png": noisy(1)}), "holds neither captions.csv nor a .txt beside a picture"),
    ],
)
def test_no_folder_and_an_empty_one_are_told(tmp_path: Path, make: Any, told: str) -> None:
    place = make(tmp_path)
    assert check(place).usable == 0
    with pytest.raises(FolderUnusable, match=told):
        CaptionedFolder(place)


def test_names_of_other_systems_are_found(tmp_path: Path) -> None:
    """Accents as a Mac writes them, backslashes as Windows does, and a name that is not UTF-8 at all."""
    fill(tmp_path, {"cafe\u0301.png": noisy(1), "猫/一.png": noisy(2)})
    fill(tmp_path, {"captions.csv": "file,caption\ncaf\u00e9.png,a cup\n.\\猫\\一.png,一只猫\n"})
    assert CaptionedFolder(tmp_path, strict=True).captions == ["a cup", "一只猫"]
    odd = os.fsencode(tmp_path) + b"/\xff\xfe\n.png"
    Path(os.fsdecode(odd)).write_bytes(packed(noisy(3)))
    report = check(tmp_path)
    assert report.counts == {"no caption": 1} and r"\udcff\udcfe\n.png" in str(report)
    str(report).encode()


def test_equal_pictures_never_stand_in_two_splits(tmp_path: Path) -> None:
    table = "file,caption,split\na.png,one,train\nb.png,two,test\na.png,three,held_out\n"
    fill(tmp_path, {"a.png": noisy(1), "b.png": noisy(1), "captions.csv": table})
    found = CaptionedFolder(tmp_path)
    assert found.captions == ["one"] and found.report.counts == {"split": 1, "duplicate": 1}


def test_limits_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MOST", 3)
    monkeypatch.setattr(folders, "SHOWN", 2)
    monkeypatch.setattr(folders, "LARGEST_FILE", 2000)
    files: dict[str, bytes | str | Image.Image] = {f"{i}.png": paint((i, 0, 0)) for i in range(6)}
    files["0.png"] = noisy(1)  # cannot be packed into 2,000 bytes
    fill(tmp_path, {**files, "captions.csv": "file,caption\n" + "".join(f"{i}.png,number {i}\n" for i in range(6))})
    found = CaptionedFolder(tmp_path)
    assert found.captions == ["number 1", "number 2"]
    assert {row.kind for row in found.report.wrong} == {"too large"} and len(found.report.wrong) == 2
    monkeypatch.setattr(folders, "SHOWN", 1)
    assert "and 1 more; report.rows holds all" in str(check(tmp_path))
    with pytest.raises(ValueError, match="size: expected 1 to 1024 pixels, got 0"):
        check(tmp_path, size=0)


def test_a_cut_off_picture_is_told_even_where_another_library_lets_it_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = packed(noisy(1, (300, 300)), "JPEG")
    fill(tmp_path, {"a.jpg": whole[: len(whole) // 2], "a.txt": "half a picture"})
    assert kinds(tmp_path) == {"a.jpg": "broken"} and ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_pictures_cut_at_any_byte_never_crash(tmp_path: Path) -> None:
    """Each format, cut off or with bytes turned over: decoded whole, or told."""
    rng = np.random.default_rng(0)
    image = noisy(1, (24, 20))
    sources = [packed(image, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")]
    sources.append(packed(image, "GIF", save_all=True, append_images=[noisy(2, (24, 20))]))
    outcomes = {"good": 0, "bad": 0}
    for data in sources:
        trials = [data[: int(n)] for n in rng.integers(0, len(data), 25)]
        for _ in range(25):
            turned = bytearray(data)
            for at in rng.integers(0, len(data), 8):
                turned[at] = int(rng.integers(0, 256))
            trials.append(bytes(turned))
        for trial in trials:
            try:
                assert folders._decode(trial, 8).pixels.shape == (8, 8, 3)
                outcomes["good"] += 1
            except folders._Bad as told:
                assert len(told.args) == 3
                outcomes["bad"] += 1
    assert min(outcomes.values()) > 50


def test_later_changes_on_the_disk_change_nothing(tmp_path: Path, rng: torch.Generator) -> None:
    fill(tmp_path, {"a.png": noisy(1), "captions.csv": "file,caption\na.png,a cat\n"})
    found = CaptionedFolder(tmp_path)
    before = found.pictures.clone()
    (tmp_path / "a.png").unlink()
    assert torch.equal(found.batch(1, rng)[0], before)
