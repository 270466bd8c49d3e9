"""Repair one picture file of any size: ``mmcourse inpaint``. Torch is imported on use.

The inpainters know 32x32 pixels, so a file is repaired tile by tile. A tile is a square of the picture, shrunk by area
to 32x32; its hole is filled, the fill is enlarged (bicubic) and goes into the hole alone. Every pixel outside the mask
keeps its bits, alpha too.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

SIDE = 32  # of a tile, in the network's pixels
HOLE = 16  # how thick a hole without text may be there
TOLD = 18  # how wide a hole with a text is there, as in training
RIM = SIDE // 8  # of a tile: seen, not filled, except at the picture's own edge
NEAR = 8  # holes at most twice as many picture pixels apart are filled together
LIMIT = 100_000_000  # pixels
FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "WEBP", "BMP", "GIF")
OUT = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG"}
ORIENTATION = 0x0112
#: What a TIFF file says of its own storage, beside what is EXIF.
STORAGE = {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320}
STORAGE |= {322, 323, 324, 325, 330, 332, 338, 339, 347, 512, 513, 514, 519, 520, 521, 529, 530, 531, 532}
STORAGE |= {700, 34377, 34675}

Array = NDArray[Any]
Fill = Callable[["Tensor", "Tensor"], "Tensor"]  # pictures (1, 3, 32, 32) and mask (1, 1, 32, 32) to whole pictures

# --------------------------------------------------------------------------------------------------- files in and out


@dataclass(frozen=True)
class Photo:
    """An upright picture: ``pixels`` (H, W, 1 or 3) of 8 or 16 bits, ``alpha`` (H, W) or None, and what else is kept.

    ``stored`` is the size (width, height) in the file, before EXIF turned it.
    """

    pixels: Array
    alpha: Array | None
    stored: tuple[int, int]
    exif: bytes = b""
    icc: bytes | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True)
class _File:
    """A picture, decoded and upright, and what its file tells of it."""

    image: Image.Image
    kind: str
    stored: tuple[int, int]
    exif: bytes
    icc: bytes | None
    notes: tuple[str, ...]


def _open(path: Path, name: str) -> _File:
    """Read a file of one picture. Every fault becomes one clear sentence."""
    from PIL import Image, ImageOps

    if not path.exists():
        raise ValueError(f"{name}: there is no file {str(path)!r}.")
    if not path.is_file():
        raise ValueError(f"{name}: {str(path)!r} is not a file.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures; the limit here is checked below
            Image.init()
            with Image.open(path, formats=[f for f in FORMATS if f in Image.OPEN]) as image:
                _expect_small(image.size, path, name)
                frames = int(getattr(image, "n_frames", 1))
                if frames > 1 and image.format != "MPO":  # a telephone's JPEG with a preview or a depth beside it
                    raise _Refused(
                        f"{name}: {str(path)!r} holds {frames} pictures (an animation or several pages); "
                        "expected a file of one picture. Save the one that you mean as PNG."
                    )
                if ";16" in repr(image.tile) and not image.mode.startswith("I"):
                    raise _Refused(
                        f"{name}: {str(path)!r} has 16 bits a colour, of which only 8 would be kept; "
                        "expected 8 bits a colour, or 16 bits of grey. Save it with 8 bits first."
                    )
                stored, kind = image.size, image.format or ""
                if kind == "TIFF":  # its reader tells the upright size at once
                    stored = (image.tag_v2[256], image.tag_v2[257])  # type: ignore[attr-defined]
                exif, notes = _exif(image)
                image.load()
                upright = ImageOps.exif_transpose(image)
                if frames > 1:
                    notes = [f"the file holds {frames} pictures; the first was repaired", *notes]
                return _File(upright, kind, stored, exif, image.info.get("icc_profile"), tuple(notes))
    except (_Refused, PermissionError):
        raise
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{name}: {str(path)!r} has more than {LIMIT // 10**6} megapixels; shrink it first."
        ) from error
    except Image.UnidentifiedImageError as error:
        raise ValueError(
            f"{name}: {str(path)!r} is not a picture that can be read here; expected PNG, JPEG, TIFF, WebP, BMP or GIF."
        ) from error
    except Exception as error:  # decoders fail in many ways
        raise ValueError(f"{name}: {str(path)!r} cannot be read; it is damaged or cut short ({error}).") from error


class _Refused(ValueError):
    """A picture that is whole, but not of a kind that can be repaired."""


def _expect_small(size: tuple[int, int], path: Path, name: str) -> None:
    if size[0] * size[1] > LIMIT:
        raise _Refused(
            f"{name}: {str(path)!r} has {size[0]}x{size[1]} = {size[0] * size[1] / 1e6:.0f} megapixels; "
            f"expected at most {LIMIT // 10**6}. Shrink it first."
        )


def read_photo(path: Path) -> Photo:
    """The picture upright, with its alpha, EXIF (the orientation and the small preview removed) and colour profile.

    Kept as they are: grey and RGB of 8 bits, both with or without alpha, and 16-bit grey. A palette becomes RGB or
    RGBA, black and white becomes grey. Anything else raises ``ValueError``.
    """
    file = _open(path, "picture")
    image, stored = file.image, file.stored
    mode, clear = image.mode, "transparency" in image.info
    if mode == "I" and file.kind == "PNG":  # 16-bit grey, as older readers give it
        mode = "I;16"
    if mode.startswith("I;16"):
        if clear:
            raise ValueError(
                f"picture: {str(path)!r} is 16-bit grey with a transparent level; save it with an alpha and 8 bits."
            )
        levels = np.asarray(image)
        photo = Photo(levels.astype(np.uint16)[..., None], None, stored)
    else:
        if mode in ("1", "L"):
            image = image.convert("LA" if clear else "L")
        elif mode in ("P", "PA", "RGB"):
            image = image.convert("RGBA" if clear or mode == "PA" else "RGB")
        elif mode not in ("LA", "RGBA"):
            raise ValueError(
                f"picture: {str(path)!r} has the colour mode {mode}; expected grey, RGB or a palette, with or without "
                "transparency, or 16-bit grey. Convert it to RGB first."
            )
        values = np.array(image).reshape(image.height, image.width, -1)
        has_alpha = image.mode in ("LA", "RGBA")
        colours = np.ascontiguousarray(values[..., :-1] if has_alpha else values)
        photo = Photo(colours, values[..., -1].copy() if has_alpha else None, stored)
    return replace(photo, exif=file.exif, icc=file.icc, notes=file.notes)


def _exif(image: Image.Image) -> tuple[bytes, list[str]]:
    """EXIF written anew: without orientation, without the preview, which would still show what was repaired."""
    from PIL import Image

    try:
        exif = Image.Exif()
        exif.load(image.getexif().tobytes())  # a copy: the picture is still to be turned by its own
        for tag in list(exif):
            if tag == ORIENTATION or (image.format == "TIFF" and tag in STORAGE):
                del exif[tag]
        return (exif.tobytes() if len(exif) else b""), []
    except Exception:  # a camera's faulty EXIF fails in many ways, and is no reason to refuse the picture
        return b"", ["its EXIF is damaged and was left out"]


def read_mask(path: Path, photo: Photo) -> Array:
    """The hole, a bool array (H, W) of the upright picture's size: True where the mask is white, 128 or more of 255.

    Colours count by their luma. A mask with transparency is laid over black first: what is transparent is no hole.
    """
    file = _open(path, "mask")
    size = file.image.size
    if size != photo.size:
        more = ""
        if photo.stored != photo.size and size == photo.stored:
            more = (
                " It would fit the picture as it is stored, before its EXIF orientation turns it: draw the mask on the "
                "picture as viewers show it."
            )
        raise ValueError(
            f"mask: expected the picture's size {photo.size[0]}x{photo.size[1]} (width x height, upright), "
            f"got {size[0]}x{size[1]}.{more}"
        )
    hole = _white(file, path)
    if not hole.any():
        raise ValueError(
            f"mask: {str(path)!r} marks no hole; expected white (128 or more of 255) where the picture is to be filled."
        )
    if hole.all():
        raise ValueError(
            f"mask: {str(path)!r} is all hole; there is nothing to go by. White is the hole, black is kept."
        )
    return hole


def _white(file: _File, path: Path) -> Array:
    from PIL import Image

    image = file.image
    if image.mode.startswith("I;16") or (image.mode == "I" and file.kind == "PNG"):
        return np.asarray(image).astype(np.int64) >= 128 * 256
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise ValueError(
            f"mask: {str(path)!r} has the colour mode {image.mode}; expected black and white, grey or RGB."
        )
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        over = Image.new("RGBA", image.size, "black")
        over.alpha_composite(image.convert("RGBA"))
        image = over.convert("RGB")
    elif image.mode in ("P", "1"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L")) >= 128


def check_out(out: Path, photo: Photo, *read: Path) -> str:
    """The format of the file to write. Raises ``ValueError`` where it cannot be, or would replace what is read."""
    kind = OUT.get(out.suffix.lower())
    if kind is None:
        raise ValueError(f"--out: expected a name that ends in {', '.join(OUT)}; got {str(out)!r}.")
    if not out.parent.is_dir():
        raise ValueError(f"--out: the folder {str(out.parent)!r} does not exist; make it first.")
    if out.is_dir():
        raise ValueError(f"--out: {str(out)!r} is a folder; expected a file's name.")
    for path in read:
        if out.resolve() == path.resolve() or (out.exists() and out.samefile(path)):
            raise ValueError(f"--out: {str(out)!r} is what is read; choose another name, so that nothing is lost.")
    if kind == "JPEG" and photo.alpha is not None:
        raise ValueError(
            "--out: the picture has transparency, which JPEG cannot hold; choose a name that ends in .png."
        )
    if kind == "JPEG" and photo.pixels.dtype != np.uint8:
        raise ValueError("--out: the picture has 16 bits, which JPEG cannot hold; choose a name that ends in .png.")
    return kind


def encode_photo(photo: Photo, kind: str) -> bytes:
    """The picture as a file's bytes, PNG, TIFF or JPEG, with its alpha, EXIF and colour profile."""
    from PIL import Image

    pixels = photo.pixels if photo.alpha is None else np.concatenate([photo.pixels, photo.alpha[..., None]], axis=2)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    more: dict[str, Any] = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    if photo.exif:
        more["exif"] = photo.exif
    if photo.icc:
        more["icc_profile"] = photo.icc
    file = io.BytesIO()
    try:
        image.save(file, kind, **more)
    except Exception as error:  # encoders fail in many ways
        raise ValueError(f"--out: the picture cannot be written as {kind} ({error}); choose another format.") from error
    return file.getvalue()


# ------------------------------------------------------------------------------------------------------------- tiles


@dataclass(frozen=True)
class Tile:
    """A square of the picture, ``side`` pixels wide; parts beyond the picture's edges are reflected."""

    top: int
    left: int
    side: int

    @classmethod
    def about(cls, row: float, column: float, side: int, shape: tuple[int, ...]) -> Tile:
        """The tile whose centre is nearest to a point, inside the picture where the picture is large enough."""

        def start(centre: float, length: int) -> int:
            if length < side:
                return -((side - length) // 2)
            return min(max(round(centre - side / 2), 0), length - side)

        return cls(start(row, shape[0]), start(column, shape[1]), side)

    def inside(self, shape: tuple[int, ...], rim: int = 0) -> tuple[slice, slice]:
        """Rows and columns of the picture that lie in the tile, without a rim except at the picture's own edge."""

        def part(start: int, length: int) -> slice:
            low = start if start <= 0 else start + rim
            high = start + self.side if start + self.side >= length else start + self.side - rim
            return slice(max(low, 0), min(high, length))

        return part(self.top, shape[0]), part(self.left, shape[1])


def _reflect(start: int, side: int, length: int) -> Array:
    at = np.arange(start, start + side) % (2 * length)
    return np.where(at < length, at, 2 * length - 1 - at)


def _area(side: int) -> Array:
    """(32, side): row i holds how much of each of ``side`` pixels lies in the i-th 32nd part, in shares of 1."""
    edges = np.arange(SIDE + 1) * side / SIDE
    at = np.arange(side)
    overlap = np.minimum(edges[1:, None], at + 1) - np.maximum(edges[:-1, None], at)
    return (overlap.clip(min=0) * SIDE / side).astype(np.float32)


def shrink(values: Array, tile: Tile, *weights: Array) -> tuple[Array, Array]:
    """A tile by area: the mean (32, 32, C) of the values (H, W, C) where all ``weights`` (H, W) are True, and the share
    (32, 32) of each pixel that they cover. Where that is 0 the mean is 0."""
    rows = _reflect(tile.top, tile.side, values.shape[0])
    columns = _reflect(tile.left, tile.side, values.shape[1])
    area, channels = _area(tile.side), values.shape[2]
    total = np.zeros((SIDE, tile.side, channels + 1), dtype=np.float32)
    for i in range(0, tile.side, 256):  # a band at a time: a tile can be as large as the picture
        band = np.ix_(rows[i : i + 256], columns)
        known = np.logical_and.reduce([weight[band] for weight in weights])[..., None].astype(np.float32)
        both = np.concatenate([values[band] * known, known], axis=2)
        total += (area[:, i : i + 256] @ both.reshape(len(both), -1)).reshape(total.shape)
    small = np.einsum("js,isc->ijc", area, total)
    share = small[..., -1]
    return small[..., :-1] / np.maximum(share, 1e-6)[..., None], share


def enlarge(fill: Array, side: int) -> Callable[[slice, slice], Array]:
    """A small picture (32, 32, C) at ``side`` pixels, bicubic: a function from two slices to that part of it."""
    import torch
    from torch.nn import functional as F

    eye = torch.eye(SIDE)[None, None]
    matrix = F.interpolate(eye, size=(side, SIDE), mode="bicubic", antialias=True)[0, 0].numpy()
    return lambda rows, columns: np.einsum(
        "rjc,kj->rkc", np.einsum("ri,ijc->rjc", matrix[rows], fill), matrix[columns], optimize=True
    )


@dataclass
class Canvas:
    """A picture in repair: ``pixels`` (H, W, C), what of them is known or filled, and what may be looked at."""

    pixels: Array
    known: Array
    visible: Array | None
    low: float
    high: float

    @classmethod
    def of(cls, photo: Photo, hole: Array) -> Canvas:
        low, high = 0.0, 255.0
        if photo.pixels.dtype != np.uint8:  # 16 bits are often not used in full: the known levels set the range
            known = photo.pixels[~hole]
            low, high = float(known.min()), max(float(known.max()), float(known.min()) + 1)
        # colours under full transparency mean nothing, so the network does not see them
        visible = None if photo.alpha is None else photo.alpha > 0
        return cls(photo.pixels.copy(), ~hole, visible, low, high)

    def look(self, tile: Tile) -> tuple[Array, Array] | None:
        """A tile as pictures (32, 32, 3) in [-1, 1] and mask (32, 32); None where too little of it is known."""
        sums: tuple[Array, Array] | None = None
        if self.visible is not None:
            sums = shrink(self.pixels, tile, self.known, self.visible)
        if sums is None or sums[1].max() <= 0:
            sums = shrink(self.pixels, tile, self.known)
        mean, share = sums
        known = share >= 0.5
        if known.mean() < 1 / 16:
            if tile.side < 2 * max(self.known.shape):
                return None
            known = share > 0
        x = (mean - self.low) / (self.high - self.low) * 2 - 1
        x = np.broadcast_to(x, (SIDE, SIDE, 3)) * known[..., None]
        return x.clip(-1, 1).astype(np.float32), (~known).astype(np.float32)

    def put(self, fake: Array, tile: Tile, where: Array, at: tuple[slice, slice]) -> None:
        """Write a filled tile (32, 32, 3) where ``where``, a part of the picture at ``at``, is True."""
        if self.pixels.shape[2] == 1:
            fake = fake.mean(axis=2, keepdims=True)
        part = enlarge((fake + 1) / 2 * (self.high - self.low) + self.low, tile.side)
        rows, columns = at
        most = np.iinfo(self.pixels.dtype).max
        for i in range(rows.start, rows.stop, 256):
            j = min(i + 256, rows.stop)
            inside = where[i - rows.start : j - rows.start]
            if inside.any():
                there = slice(columns.start - tile.left, columns.stop - tile.left)
                values = part(slice(i - tile.top, j - tile.top), there)
                self.pixels[i:j, columns][inside] = np.rint(values[inside]).clip(0, most)
        self.known[rows, columns] |= where


def _ask(fill: Fill, x: Array, mask: Array) -> Array:
    import torch

    with torch.no_grad():
        out = fill(torch.from_numpy(x).permute(2, 0, 1)[None].contiguous(), torch.from_numpy(mask)[None, None])
    return out[0].permute(1, 2, 0).numpy()


# ------------------------------------------------------------------------------------------------- holes without text


@dataclass(frozen=True)
class Part:
    """A piece of the mask that is filled at one scale: number, bounding box and the side of its tiles in pixels."""

    number: int
    box: tuple[slice, slice]
    side: int


def find_parts(hole: Array) -> tuple[Array, list[Part]]:
    """A number for each pixel (H, W), 0 outside the hole, and the parts of the mask, those of the finest tiles first.

    A part is a connected piece, with others near it. A piece that is thin here and thick there, such as a scratch that
    runs into a blot, becomes several. A part's thickness is the largest distance from a known pixel to what lies as far
    beyond, be it known or the picture's edge, or the part's height or width where that is less. Its tile is twice as
    wide as that, and at least 32 pixels.
    """
    import cv2

    rows, columns = (np.flatnonzero(hole.any(axis=a)) for a in (1, 0))
    box = tuple(
        slice(max(int(at[0]) - 1, 0), min(int(at[-1]) + 2, n))
        for at, n in zip((rows, columns), hole.shape, strict=True)
    )
    numbers = np.zeros(hole.shape, dtype=np.int32)
    left, within = hole[box], numbers[box]
    depth = cv2.distanceTransform(left.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    edge = [
        np.minimum(np.arange(n), np.arange(n)[::-1])[b].astype(np.float32) for n, b in zip(hole.shape, box, strict=True)
    ]
    depth += np.minimum(depth, np.minimum(edge[0][:, None], edge[1]))  # the thickness about each pixel
    squares = _steps(np.pad(left, 1))[1:-1, 1:-1]  # 1 + half of the largest square about each pixel; outside is known
    found: list[Part] = []
    thick = HOLE
    while left.any():
        core = squares > thick // 2  # where a square of more than this thickness has its middle
        zone = left & (_steps(~core) <= thick) if core.any() else np.zeros_like(left)
        thin = left & ~zone
        if thin.any():
            found += _label(thin, depth, within, len(found), box, hole.shape)
        left, thick = zone, 2 * thick
    return numbers, sorted(found, key=lambda part: part.side)


def _steps(mask: Array) -> Array:
    """How many steps, diagonal ones allowed, each True pixel (H, W) is from the nearest False one; 0 where False."""
    import cv2

    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_C, 3)


def _label(
    hole: Array, depth: Array, numbers: Array, before: int, origin: tuple[slice, ...], shape: tuple[int, ...]
) -> list[Part]:
    """Number what is connected or near, counting on from ``before``, and choose each part's tile.

    The arrays are the part ``origin`` of a picture of this shape.
    """
    from scipy import ndimage

    near = ndimage.maximum_filter(hole, size=2 * NEAR + 1, mode="constant")
    labels, count = ndimage.label(near, structure=np.ones((3, 3)))
    labels[~hole] = 0
    which, deepest = labels[hole], np.zeros(count + 1, dtype=np.float32)
    numbers[hole] = which + before
    np.maximum.at(deepest, which, depth[hole])
    parts = []
    for k, box in enumerate(ndimage.find_objects(labels), start=1):
        whole = (
            slice(box[0].start + origin[0].start, box[0].stop + origin[0].start),
            slice(box[1].start + origin[1].start, box[1].stop + origin[1].start),
        )
        thick = math.ceil(deepest[k])
        for extent, length in zip(whole, shape, strict=True):
            if extent.stop - extent.start < length:  # from edge to edge there is no known ground in this direction
                thick = min(thick, extent.stop - extent.start)
        parts.append(Part(before + k, whole, max(SIDE, -(-thick * SIDE // HOLE))))
    return parts


def fill_holes(photo: Photo, hole: Array, fill: Fill) -> tuple[Array, list[float]]:
    """The repaired pixels (H, W, C), and for each part of the mask at which share of the resolution."""
    canvas = Canvas.of(photo, hole)
    numbers, parts = find_parts(hole)
    return canvas.pixels, [_fill_one(canvas, numbers, one, fill) for one in parts]


def _fill_one(canvas: Canvas, numbers: Array, one: Part, fill: Fill) -> float:
    coarsest = one.side
    for row, column in _seeds(numbers, one):
        step = max(1, one.side // SIDE)
        cell = (slice(row, row + step), slice(column, column + step))
        left = ~canvas.known[cell] & (numbers[cell] == one.number)
        if not left.any():
            continue
        first = np.argwhere(left)[0]
        point = (row + int(first[0]), column + int(first[1]))
        side = one.side
        while True:
            tile = _place(canvas, numbers, one, point, side)
            seen = canvas.look(tile)
            if seen is not None:
                break
            side *= 2  # nothing known in sight
        coarsest = max(coarsest, side)
        at = tile.inside(canvas.known.shape, rim=side * RIM // SIDE)
        where = ~canvas.known[at] & (numbers[at] == one.number)
        canvas.put(_ask(fill, *seen), tile, where, at)
    return SIDE / coarsest


def _seeds(numbers: Array, one: Part) -> Array:
    """Where to look for what is missing, (n, 2): corners of small cells, those nearest to known ground first."""
    step = max(1, one.side // SIDE)
    here = numbers[one.box] == one.number
    pad = [(0, -n % step) for n in here.shape]
    cells = np.pad(here, pad).reshape(-(-here.shape[0] // step), step, -1, step).any(axis=(1, 3))
    # beyond the box lies known ground, or the picture's edge
    around = [(int(b.start > 0), int(b.stop < n)) for b, n in zip(one.box, numbers.shape, strict=True)]
    depth = _steps(np.pad(cells, around))[around[0][0] :, around[1][0] :][: cells.shape[0], : cells.shape[1]]
    order = np.argsort(depth[cells], kind="stable")
    return np.argwhere(cells)[order] * step + [b.start for b in one.box]


def _place(canvas: Canvas, numbers: Array, one: Part, point: tuple[int, int], side: int) -> Tile:
    """A tile that fills ``point`` and is centred on what is missing about it, as far as that fits in."""
    reach = side / 2 - side * RIM / SIDE - 1
    centre = [float(v) for v in point]
    for _ in range(4):
        box = tuple(
            slice(max(int(c - reach), 0), min(int(c + reach) + 1, n))
            for c, n in zip(centre, numbers.shape, strict=True)
        )
        there = ~canvas.known[box] & (numbers[box] == one.number)
        for axis in range(2):
            found = np.flatnonzero(there.any(axis=1 - axis))
            if len(found):
                middle = box[axis].start + (found[0] + found[-1] + 1) / 2
                centre[axis] = min(max(middle, point[axis] - reach), point[axis] + reach)
    return Tile.about(centre[0], centre[1], side, numbers.shape)


# ---------------------------------------------------------------------------------------------------- a hole with text


def fill_told(photo: Photo, hole: Array, fill: Fill) -> tuple[Array, float]:
    """The pixels with the whole mask filled at once, in a square in which it is 18 of 32 pixels wide; and the share of
    the picture's resolution at which that was done (more than 1 for a hole of less than 18 pixels).

    Raises ``ValueError`` where the hole is too thin to be seen at that resolution.
    """
    canvas = Canvas.of(photo, hole)
    rows, columns = (np.flatnonzero(hole.any(axis=a)) for a in (1, 0))
    width = int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1
    side = max(width + 1, round(width * SIDE / TOLD))
    while True:
        tile = Tile.about((rows[0] + rows[-1] + 1) / 2, (columns[0] + columns[-1] + 1) / 2, side, hole.shape)
        seen = canvas.look(tile)
        if seen is not None:
            break
        side *= 2
    x, mask = seen
    if not mask.any():
        raise ValueError(
            "--text: the mask's parts are so thin for the width that they span that nothing can be drawn in them; "
            "expected a patch of white. To fill scratches leave --text out."
        )
    at = tile.inside(hole.shape)
    canvas.put(_ask(fill, *_close_beyond(x, mask, tile, hole.shape)), tile, hole[at], at)
    return canvas.pixels, SIDE / side


def _close_beyond(x: Array, mask: Array, tile: Tile, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """A reflected hole is no hole: beyond the picture's edges it becomes the known pixels' averages."""
    import torch

    from mmcourse.inpainting import pull_push

    middle = (np.arange(SIDE) + 0.5) * tile.side / SIDE
    inside = [(middle + a >= 0) & (middle + a < n) for a, n in zip((tile.top, tile.left), shape, strict=True)]
    within = inside[0][:, None] & inside[1][None, :]
    if within.all() or not (mask > 0)[~within].any():
        return x, mask
    smooth = pull_push(torch.from_numpy(x).permute(2, 0, 1)[None], torch.from_numpy(mask)[None, None])
    averages = smooth[0].permute(1, 2, 0).numpy()
    return np.where((~within & (mask > 0))[..., None], averages, x), mask * within


# -------------------------------------------------------------------------------------------------------- the command


def load_repairer() -> Any:
    """The inpainter of photographs, as it came out of the game against a discriminator."""
    from mmcourse import checkpoint
    from mmcourse.inpainting import Repairers

    return checkpoint.load(Repairers, "inpainting_photographs").game


def load_told() -> tuple[Any, Any]:
    """The inpainter that reads sentences, and the function from captions to vectors (B, 64) that it was trained with.

    Raises ``CheckpointError`` where a file is missing or damaged, or where the two do not belong together.
    """
    from mmcourse import checkpoint
    from mmcourse.data import vocabulary
    from mmcourse.encoders import Space
    from mmcourse.inpainting import Inpainter
    from mmcourse.text2image import encoder

    G, space = checkpoint.load(Inpainter, "inpainting_text"), checkpoint.load(Space, "space")
    wanted, have = checkpoint.card("inpainting_text").get("space"), checkpoint.verify("space")
    if wanted != have:
        raise checkpoint.CheckpointError(
            f"inpainting_text was trained on another space than space (digest {str(wanted)[:12]}, not {have[:12]}). "
            "Train it again with `mmcourse train inpainting_text`, or fetch both from one release."
        )
    return G, encoder(space, vocabulary())


def run(
    picture: Path, mask: Path, *, text: str | None = None, seed: int = 0, out: Path | None = None, count: int = 1
) -> tuple[str, list[str]]:
    """Repair a picture file and write the repaired one, or ``count`` of them; returns the line to print and notes.

    Everything that can be wrong with the files is checked before a network is loaded, and all pictures are made before
    one is written. Raises ``ValueError``.
    """
    import torch

    from mmcourse.runtime import write_whole

    photo = read_photo(picture)
    hole = read_mask(mask, photo)
    out = Path(f"{picture.stem}_repaired.png") if out is None else out
    names = [out] if count == 1 else [out.with_name(f"{out.stem}-{k}{out.suffix}") for k in range(1, count + 1)]
    kinds = [check_out(name, photo, picture, mask) for name in names]
    notes, told = list(photo.notes), None
    if text is None:
        G = load_repairer()
    else:
        G, encode = load_told()
        told = encode([text])
        notes += _about(text, photo)
    files, shares, parts = [], [1.0], 0
    for k in range(count):
        z = torch.randn(1, G.hparams["z"], generator=torch.Generator().manual_seed(seed + k))

        def fill(x: Tensor, m: Tensor, z: Tensor = z) -> Tensor:
            return G(z, x, m) if told is None else G(z, x, m, told)

        if told is None:
            pixels, shares = fill_holes(photo, hole, fill)
            parts = len(shares)
        else:
            pixels, share = fill_told(photo, hole, fill)
            shares = [share]
        files.append(encode_photo(replace(photo, pixels=pixels), kinds[0]))
    for name, data in zip(names, files, strict=True):
        write_whole(name, data)
    named = str(names[0]) if count == 1 else f"{names[0]} to {names[-1].name}"
    seeds = f"seed {seed}" if count == 1 else f"seeds {seed} to {seed + count - 1}"
    what = f"the hole filled with {text!r}"
    if told is None:
        what = "the hole filled" if parts == 1 else f"the hole filled in {parts} parts"
    line = f"wrote {named}: {what} at {_percent(shares)} of the picture's resolution, {seeds}"
    if told is not None:
        line += "; this model knows only the course's world of plain shapes and colours"
    line += "; known pixels are identical before JPEG compression only" if kinds[0] == "JPEG" else ""
    return line, notes


def _percent(shares: list[float]) -> str:
    low, high = (f"{100 * s:.3g} %" for s in (min(shares), max(shares)))
    return low if low == high else f"{low} to {high}"


def _about(text: str, photo: Photo) -> list[str]:
    from mmcourse import world

    notes = []
    try:
        if world.parse(text).count == 2:
            notes.append("the sentence tells of two things; this model was trained with one thing in the hole")
    except world.CaptionError as error:
        notes.append(f"the words are known but the sentence is not of the world's grammar. {error}")
    if photo.pixels.shape[2] == 1:
        notes.append("the picture is grey, and so is the fill")
    return notes
