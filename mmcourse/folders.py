"""A folder of pictures with captions, read whole and checked before anything is trained (used in lesson 14).

Either ``captions.csv`` beside the pictures (columns ``file`` and ``caption``; ``language`` and ``split`` where wanted),
or one ``.txt`` beside each picture, with a caption a line. Whatever is wrong stands in one table, with what to do; what
is right is decoded at once, so that no epoch stops in its middle.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import hashlib
import io
import os
import re
import stat
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mmcourse.checks import expect_one_of
from mmcourse.text import is_chinese

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor

TABLE = "captions.csv"
COLUMNS = ("file", "caption")
SPLITS = ("train", "test", "held_out")
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")  # nothing that starts another program
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
UNREAD = (".heic", ".heif", ".avif", ".jxl", ".svg", ".psd", ".raw", ".cr2", ".nef", ".dng", ".eps", ".pdf", ".ico")
LARGEST_FILE = 100_000_000  # bytes of a picture
LARGEST_TEXT = 50_000_000  # bytes of captions.csv
LARGEST_NOTE = 100_000  # bytes of a picture's .txt
LARGEST_PICTURE = 64_000_000  # pixels
LONGEST = 500  # characters of a caption
MOST = 20_000  # rows: pictures with a caption each
SHOWN = 60  # rows of a table in text
SMALLER, AGAIN = "save it smaller; sides of 1,000 pixels are plenty", "copy or save it again, or delete it"
_SIGNATURES = (b"\x89PNG", b"\xff\xd8", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")
GROUND = (255, 255, 255)  # behind what is transparent


# -------------------------------------------------------------------------------------------------------------- report


@dataclass(frozen=True)
class Row:
    """One finding: the ``file`` (and line), the ``problem``, what ``to_do``; ``left_out`` says that something is not
    used because of it, and ``kind`` is the problem in a word or two, to count by."""

    file: str
    problem: str
    to_do: str
    kind: str
    left_out: bool = True


@dataclass
class Report:
    """All findings on a folder: its ``rows``, how many captioned pictures are ``usable``, how many files were ``seen``.

    ``str(report)`` is a table of the first rows; ``counts`` the number of findings by kind; ``wrong`` the rows for
    which something is left out (the others are notes).
    """

    folder: str
    rows: list[Row] = field(default_factory=list)
    usable: int = 0
    seen: int = 0

    @property
    def wrong(self) -> list[Row]:
        return [row for row in self.rows if row.left_out]

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(row.kind for row in self.rows))

    def add(self, file: str, kind: str, problem: str, to_do: str, *, left_out: bool = True) -> None:
        """Write down a finding."""
        self.rows.append(Row(_plain(file), _plain(problem), _plain(to_do), kind, left_out))

    def __str__(self) -> str:
        told = f"{_plain(self.folder)}: {self.seen:,} picture files seen, {self.usable:,} captioned pictures usable"
        if not self.rows:
            return f"{told}, nothing wrong."
        counted = ", ".join(f"{kind} {n:,}" for kind, n in self.counts.items())
        lines = [f"{told}, {len(self.wrong):,} findings that leave something out.", f"({counted})", ""]
        shown = sorted(self.rows, key=lambda row: not row.left_out)[:SHOWN]
        table = [("file", "problem", "what to do")]
        table += [(row.file, row.problem if row.left_out else f"note: {row.problem}", row.to_do) for row in shown]
        wide = [min(40, max(_width(line[0]) for line in table)), min(70, max(_width(line[1]) for line in table))]
        for file, problem, to_do in table:
            lines.append(f"{_fill(file, wide[0], end=False)}  {_fill(problem, wide[1])}  {to_do}")
        if len(self.rows) > len(shown):
            lines.append(f"and {len(self.rows) - len(shown):,} more; report.rows holds all")
        return "\n".join(lines)


class FolderUnusable(ValueError):
    """Nothing in a folder can be used, or, when strict, not all of it. The message is the table; see ``report``."""

    def __init__(self, report: Report, reason: str):
        self.report = report
        super().__init__(f"{reason}\n{report}")


def _plain(text: str) -> str:
    """Text that can be printed anywhere: what is not a printable character is written as its number."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _fill(text: str, width: int, *, end: bool = True) -> str:
    """Text cut to a width, at its end or at its beginning, and filled with spaces."""
    while _width(text) > width:
        text = text[:-4] + "..." if end else "..." + text[4:]
    return text + " " * (width - _width(text))


# ------------------------------------------------------------------------------------------------------------- pictures


class _Bad(Exception):
    """A file that cannot be used: kind, problem, what to do."""


def _read(path: Path, root: Path, limit: int) -> bytes:
    """The bytes of a regular file inside the folder. Raises ``_Bad``."""
    try:
        real = path.resolve()
        if not real.is_relative_to(root):
            raise _Bad("outside", "is a link to a place outside the folder", "copy the picture itself into the folder")
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _Bad("no file", "is no regular file", "put a picture there, or delete it")
        if not found.st_size:
            raise _Bad("empty", "is empty (0 bytes)", AGAIN)
        if found.st_size > limit:
            told = f"has {found.st_size / 1e6:,.0f} MB, more than {limit / 1e6:g}"
            raise _Bad("too large", told, "save it smaller")
        return path.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        reason = getattr(error, "strerror", None) or "its links lead in a circle"
        raise _Bad("unreadable", f"cannot be opened ({reason})", "check the link or the file's permissions") from error


def square(image: Image.Image, size: int) -> Image.Image:
    """Any Pillow picture as RGB of size x size: turned as its EXIF says, transparency on white, the square in its
    middle cut out (so the shorter side is kept whole) and scaled to ``size``, averaging down or bicubic up.

    Grey of 16 bits is divided by 257, of 32 bits or floats stretched from its own darkest to its brightest where it
    does not lie in 0 to 255 (integers) or 0 to 1 (floats). Colour profiles are not applied.
    """
    from PIL import Image

    image = _rgb(_upright(image))
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    way = Image.Resampling.HAMMING if side > size else Image.Resampling.BICUBIC
    return image.resize((size, size), way)


def _upright(image: Image.Image) -> Image.Image:
    """A picture turned as its EXIF says; damaged EXIF turns nothing."""
    from PIL import ImageOps

    with contextlib.suppress(Exception):
        return ImageOps.exif_transpose(image)
    return image


def _rgb(image: Image.Image) -> Image.Image:
    import numpy as np
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":  # grey of more than 8 bits
        grey = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0, neginf=0)
        low, high = float(grey.min()), float(grey.max())
        if image.mode == "F":
            scaled = grey * 255 if low >= 0 and high <= 1 else (grey - low) * 255 / max(high - low, 1e-12)
        elif image.mode.startswith("I;16") or (255 < high <= 65535 and low >= 0):
            scaled = grey / 257
        else:
            scaled = grey if low >= 0 and high <= 255 else (grey - low) * 255 / max(high - low, 1e-12)
        return Image.fromarray(scaled.round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        drawn = image.convert("RGBA")
        ground = Image.new("RGBA", drawn.size, (*GROUND, 255))
        ground.alpha_composite(drawn)
        return ground.convert("RGB")
    return image.convert("RGB")


@dataclass(frozen=True)
class _Picture:
    pixels: Any  # numpy uint8 (S, S, 3)
    shape: tuple[int, int]  # width and height as they are shown
    digest: bytes  # of the whole decoded picture
    frames: int


def _decode(data: bytes, size: int) -> _Picture:
    """Decode a picture's bytes. Raises ``_Bad``, whatever the decoder raises."""
    import numpy as np
    from PIL import Image, ImageFile

    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, odd EXIF: told below, or of no weight
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > LARGEST_PICTURE:
                    raise _Bad(
                        "too large", f"has {width:,} x {height:,} pixels, more than {LARGEST_PICTURE:,}", SMALLER
                    )
                # a phone's JPEG may hold a second picture that is not meant to be seen
                frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1) or 1)
                image.seek(0)
                image.draft(None, (4 * size, 4 * size))  # a large JPEG is decoded smaller, which is much faster
                image.load()
                whole = hashlib.sha256(f"{image.mode} {image.size}".encode())
                whole.update(_rgb(image).tobytes() if image.mode in ("P", "PA") else image.tobytes())
                upright = _upright(image)
                turned = upright.size != image.size
                pixels = np.asarray(square(upright, size))
    except _Bad:
        raise
    except Image.DecompressionBombError as error:
        raise _Bad("too large", f"unpacks to more than {LARGEST_PICTURE:,} pixels", SMALLER) from error
    except Image.UnidentifiedImageError as error:
        if data.startswith(_SIGNATURES):
            raise _Bad("broken", "is broken: its header is damaged", AGAIN) from error
        known = "is no picture that is read here (PNG, JPEG, GIF, BMP, WebP, TIFF are)"
        raise _Bad("no picture", known, "save it as PNG or JPEG, or delete it") from error
    except Exception as error:  # decoders raise many kinds on broken files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:60]
        raise _Bad("broken", f"is broken or cut off ({reason})", AGAIN) from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
    shape = (height, width) if turned else (width, height)
    return _Picture(pixels, shape, whole.digest(), frames)


# ------------------------------------------------------------------------------------------------------------- captions


@dataclass(frozen=True)
class _Line:
    """A caption as it was written: where it stands, its picture's name, language and split ("" if not told)."""

    where: str
    file: str
    caption: str
    language: str
    split: str


def _text(data: bytes) -> str:
    """UTF-8, with or without a byte order mark. Raises ``_Bad`` that names the encoding it seems to be."""
    cure = 'save it as UTF-8 (in Excel: "CSV UTF-8")'
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or data[:200].count(0) > len(data[:200]) // 4:
        raise _Bad("encoding", "is written in UTF-16, not in UTF-8", cure)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        try:
            guess = "GBK" if is_chinese(data.decode("gb18030")) else "Windows-1252"
        except UnicodeDecodeError:
            guess = "Windows-1252"
        where = data[: error.start].count(b"\n") + 1
        raise _Bad("encoding", f"is not UTF-8 (line {where}); it looks like {guess}", cure) from error


def _table(path: Path, root: Path, report: Report) -> Iterator[_Line]:
    """The lines of captions.csv that have a file and a caption; what is wrong goes into the report."""
    try:
        text = _text(_read(path, root, LARGEST_TEXT))
    except _Bad as bad:
        kind, problem, to_do = bad.args
        report.add(TABLE, kind, problem, to_do)
        return
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(lines, [])]
    except csv.Error as error:
        report.add(f"{TABLE}:1", "columns", f"cannot be read ({error})", "begin with the line: file,caption")
        return
    if not _columns(header, text, report):
        return
    try:
        for values in lines:
            where = f"{TABLE}:{lines.line_num}"
            if not any(value.strip() for value in values):
                continue
            if len(values) > len(header):
                told = f"has {len(values)} fields, the first line has {len(header)}"
                report.add(where, "columns", told, 'put a caption that holds a comma between "quotes"')
                continue
            found = dict(zip(header, [value.strip() for value in values], strict=False))
            if not found.get("file"):
                report.add(where, "no file", "names no file", "write the picture's name, or delete the line")
                continue
            yield _Line(
                where, found["file"], found.get("caption", ""), found.get("language", ""), found.get("split", "")
            )
    except csv.Error as error:
        told = f"cannot be read from here on ({error})"
        report.add(f"{TABLE}:{lines.line_num}", "columns", told, 'close every quote; write " inside a caption as ""')


def _columns(header: list[str], text: str, report: Report) -> bool:
    """Whether the first line names the columns; what is wrong goes into the report."""
    if not any(header):
        report.add(TABLE, "columns", "holds no first line", "begin with the line: file,caption")
        return False
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        first = text.splitlines()[0] if text.splitlines() else ""
        other = next((mark for mark in (";", "\t", "|") if mark in first), None)
        if other:
            name = {"\t": "tabs"}.get(other, repr(other))
            report.add(TABLE, "columns", f"its columns are parted by {name}, not by commas", "save it with commas")
        else:
            got = ", ".join(name or "(empty)" for name in header)[:80]
            told = f"has no column {' and no column '.join(missing)}; its first line says {got}"
            report.add(TABLE, "columns", told, "begin with the line: file,caption")
        return False
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        report.add(TABLE, "columns", f"has the column {twice[0]} twice", "keep one of them")
        return False
    extra = [name for name in header if name and name not in (*COLUMNS, "language", "split")]
    if extra:
        told = f"has columns that are not read: {', '.join(extra)[:60]}"
        report.add(TABLE, "columns", told, "nothing, if that is meant", left_out=False)
    return True


def _notes(files: dict[str, Path], root: Path, report: Report) -> Iterator[_Line]:
    """The captions that stand in a .txt beside each picture, one a line."""
    notes = {name: path for name, path in files.items() if re.search(r"(?i)(?<!readme)(?<!licen[cs]e)\.txt$", name)}
    stems = {str(PurePosixPath(name).with_suffix("")): name for name in notes}
    used = set()
    for name in files:
        if not name.lower().endswith(SUFFIXES):
            continue
        note = stems.get(str(PurePosixPath(name).with_suffix("")))
        if note is None:
            continue  # told with all pictures that have no caption
        used.add(note)
        try:
            text = _text(_read(notes[note], root, LARGEST_NOTE))
        except _Bad as bad:
            kind, problem, to_do = bad.args
            report.add(note, "no caption" if kind == "empty" else kind, problem, to_do.replace("the picture", "it"))
            yield _Line(note, name, "\0", "", "")  # told; the picture has a note
            continue
        captions = [line.strip() for line in text.splitlines() if line.strip()]
        for caption in captions or [""]:
            yield _Line(note, name, caption, "", "")
    for note in sorted(set(notes) - used):
        stem = PurePosixPath(note).stem
        report.add(note, "no picture", f"a caption without a picture {stem}.png", "add the picture, or delete it")


# ----------------------------------------------------------------------------------------------------------- the folder


@dataclass
class _Found:
    """What can be used: for each row its file, picture, caption, language and split."""

    files: list[str] = field(default_factory=list)
    pixels: list[Any] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)


def _walk(root: Path, report: Report) -> dict[str, Path]:
    """All files under a folder by their names from it, in order; hidden ones and what systems leave behind are not."""

    def told(error: OSError) -> None:
        report.add(str(error.filename), "unreadable", f"cannot be opened ({error.strerror})", "check its permissions")

    found = {}
    for place, folders, names in os.walk(root, onerror=told):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        for name in names:
            if not name.startswith(".") and name.lower() not in ("thumbs.db", "desktop.ini"):
                path = Path(place) / name
                found[path.relative_to(root).as_posix()] = path
    return dict(sorted(found.items()))


class _Names:
    """The files of a folder, found by the names that a table writes."""

    def __init__(self, root: Path, files: dict[str, Path]):
        self.root, self.files = root, files
        self.plain = {unicodedata.normalize("NFC", name): name for name in files}  # a Mac parts accents from letters
        self.lower = {name.lower(): name for name in self.plain}
        self.stems = {str(PurePosixPath(name).with_suffix("")): name for name in self.lower if name.endswith(SUFFIXES)}
        self.tries = 50  # searches for names spelt alike: each takes a while in a large folder

    def find(self, name: str) -> str:
        """The name of a file as it lies in the folder. Raises ``_Bad``."""
        wanted = name.replace("\\", "/")
        if wanted.startswith(("/", "~")) or re.match(r"[A-Za-z]:", wanted):
            raise _Bad("outside", "is an absolute path", "write the path from the folder, such as cats/1.png")
        if ".." in wanted.split("/"):
            raise _Bad("outside", 'leads out of the folder with ".."', "copy the picture into the folder")
        wanted = unicodedata.normalize("NFC", "/".join(part for part in wanted.split("/") if part not in ("", ".")))
        if wanted in self.plain:
            return self.plain[wanted]
        with contextlib.suppress(OSError, ValueError):
            if (self.root / wanted).is_dir():
                raise _Bad("no file", "is a folder, not a picture", "name one picture a line")
            if (self.root / wanted).exists():  # a hidden file, or one behind a linked folder
                raise _Bad("no file", "is hidden or behind a link, and not read", "move it into the folder, undotted")
        near = self.near(wanted.lower())
        cure = f"is {near} meant?" if near else "add the picture, or delete the line"
        raise _Bad("no picture", "a caption whose picture is not in the folder", cure)

    def near(self, wanted: str) -> str | None:
        """A file with the same name in other letters or with another ending, or one spelt alike."""
        near = wanted if wanted in self.lower else self.stems.get(str(PurePosixPath(wanted).with_suffix("")))
        if near is None and self.tries > 0 and len(self.lower) <= 2000:
            self.tries -= 1
            near = next(iter(difflib.get_close_matches(wanted, self.lower, n=1, cutoff=0.75)), None)
        return self.lower[near] if near else None


def _language(told: str, caption: str, where: str, report: Report) -> str:
    guess = "zh" if is_chinese(caption) else "en"
    if not told:
        return guess
    if re.fullmatch(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*", told):
        return re.split("[-_]", told)[0].lower()
    report.add(
        where, "language", f"the language {told[:20]!r} is no code", f"write en or zh; read as {guess}", left_out=False
    )
    return guess


def _collect(folder: str | Path, size: int) -> tuple[_Found, Report]:
    """Read a folder whole: what can be used, and the report on all of it."""
    if size < 1 or size > 1024:
        raise ValueError(f"size: expected 1 to 1024 pixels, got {size}.")
    found, report = _Found(), Report(str(folder))
    root = Path(folder)
    if not root.is_dir():
        told = "is no folder" if root.exists() else "is not there"
        report.add(str(folder), "no folder", told, "give the path of a folder of pictures")
        return found, report
    root = root.resolve()
    files = _walk(root, report)
    pictures = [name for name in files if name.lower().endswith(SUFFIXES)]
    report.seen = len(pictures)
    for name in files:
        if name.lower().endswith(UNREAD):
            kind = PurePosixPath(name).suffix.lower()
            report.add(name, "no picture", f"{kind} is not read here", "save it as PNG or JPEG, or delete it")
    if TABLE in files:
        lines = list(_table(files[TABLE], root, report))
        beside = sum(f"{PurePosixPath(name).with_suffix('')}.txt" in files for name in pictures)
        if beside:
            told = f"{beside:,} .txt beside pictures are not read, since there is {TABLE}"
            report.add(TABLE, "columns", told, "nothing, if that is meant", left_out=False)
    else:
        lines = list(_notes(files, root, report))
        if not lines and not any(row.left_out for row in report.rows):
            told = f"holds neither {TABLE} nor a .txt beside a picture" if files else "is empty"
            report.add(".", "no caption", told, f"write {TABLE} with the line: file,caption")
    if len(lines) > MOST:
        told = f"{len(lines):,} captions, of which the first {MOST:,} are read"
        report.add(TABLE if TABLE in files else ".", "too large", told, "take a smaller folder")
    _take(lines[:MOST], root, files, size, found, report)
    named = {unicodedata.normalize("NFC", line.file.replace("\\", "/").removeprefix("./")) for line in lines}
    if lines:
        for name in pictures:
            if unicodedata.normalize("NFC", name) not in named:
                add = f"a line to {TABLE}" if TABLE in files else f"{PurePosixPath(name).stem}.txt beside it"
                report.add(name, "no caption", "a picture without a caption", f"add {add}, or delete it")
    report.usable = len(found.files)
    return found, report


def _take(lines: Sequence[_Line], root: Path, files: dict[str, Path], size: int, found: _Found, report: Report) -> None:
    """Decode each picture once and take its captions; what is wrong goes into the report."""
    names = _Names(root, files)
    decoded: dict[str, _Picture | None] = {}
    owner: dict[bytes, str] = {}
    split_of: dict[str, str] = {}
    taken: set[tuple[str, str]] = set()
    for line in lines:
        if line.caption == "\0":
            continue
        told = line.where if line.where == line.file or line.where.endswith(".txt") else f"{line.where} {line.file}"
        try:
            name = names.find(line.file)
            caption, split = _caption(line)
            if split_of.get(name, split) != split:
                raise _Bad("split", f"stands in {split_of[name]} before, here in {split}", "give a picture one split")
            if (name, caption) in taken:
                raise _Bad("twice", "the same picture with the same caption again", "delete the line")
        except _Bad as bad:
            kind, problem, to_do = bad.args
            report.add(told, kind, problem, to_do)
            continue
        if name not in decoded:
            decoded[name] = _picture(name, root, files, size, owner, report)
        picture = decoded[name]
        if picture is None:
            continue
        split_of[name] = split
        taken.add((name, caption))
        found.files.append(name)
        found.pixels.append(picture.pixels)
        found.captions.append(caption)
        found.languages.append(_language(line.language, caption, told, report))
        found.splits.append(split)
    _sizes({name: p.shape for name, p in decoded.items() if p is not None}, size, report)


def _caption(line: _Line) -> tuple[str, str]:
    """A line's caption, with single spaces, and its split. Raises ``_Bad``."""
    caption = " ".join("".join(c if c.isprintable() or c.isspace() else " " for c in line.caption).split())
    if not caption:
        raise _Bad("no caption", "its caption is empty", "write what the picture shows, or delete it")
    if len(caption) > LONGEST:
        raise _Bad("too large", f"its caption has {len(caption):,} characters, more than {LONGEST}", "shorten it")
    split = line.split.lower().replace("-", "_").replace(" ", "_") or "train"
    if split not in SPLITS:
        raise _Bad("split", f"has the split {line.split[:20]!r}", f"write one of {', '.join(SPLITS)}, or nothing")
    return caption, split


def _picture(
    name: str, root: Path, files: dict[str, Path], size: int, owner: dict[bytes, str], report: Report
) -> _Picture | None:
    """One picture, or None with a row in the report."""
    try:
        picture = _decode(_read(files[name], root, LARGEST_FILE), size)
        first = owner.setdefault(picture.digest, name)
        if first != name:
            raise _Bad(
                "duplicate", f"shows the same picture as {first}", "delete one; a file may have several captions"
            )
    except _Bad as bad:
        kind, problem, to_do = bad.args
        report.add(name, kind, problem, to_do)
        return None
    if picture.frames > 1:
        report.add(name, "frames", f"has {picture.frames} frames; the first is used", "nothing", left_out=False)
    width, height = picture.shape
    if max(width, height) > 3 * min(width, height):
        told = f"is {width}x{height}: only the square in its middle is used"
        report.add(name, "long", told, "cut it yourself, if that is not what counts", left_out=False)
    if min(width, height) < size:
        told = f"is {width}x{height}, smaller than {size}: it is enlarged, and blurred"
        report.add(name, "small", told, f"take a larger one, or a size of at most {min(width, height)}", left_out=False)
    return picture


def _sizes(shapes: dict[str, tuple[int, int]], size: int, report: Report) -> None:
    if len(set(shapes.values())) < 2:
        return
    low, high = (way(shapes.values(), key=lambda s: (s[0] * s[1], s)) for way in (min, max))
    told = f"sizes differ, from {low[0]}x{low[1]} to {high[0]}x{high[1]}"
    report.add(".", "sizes", told, f"nothing: the middle square of each becomes {size}x{size}", left_out=False)


def check(folder: str | Path, size: int = 32) -> Report:
    """Look through a folder and report all that is wrong with it. Nothing that lies in the folder makes this raise."""
    return _collect(folder, size)[1]


class CaptionedFolder:
    """Pictures of a folder with their captions, all of them decoded: N rows of one picture and one caption.

    ``pictures`` float32 (N, 3, S, S) in [-1, 1] (see ``square`` for how they are made); ``captions``; ``languages``,
    the column's, else "zh" for a caption with a Chinese character and "en" for any other; ``splits``, the column's,
    else "train"; ``files``, the names from the folder. A picture with several captions stands in several rows.
    ``report`` is what ``check`` gives.

    Of equal pictures under several names the first is kept, so that none is in two splits. Raises ``FolderUnusable``,
    whose message is the report's table, where no row is left or, when ``strict``, where anything was left out.
    """

    def __init__(self, folder: str | Path, size: int = 32, strict: bool = False):
        import numpy as np
        import torch

        found, self.report = _collect(folder, size)
        if not found.files:
            raise FolderUnusable(self.report, "Nothing in this folder can be used.")
        if strict and self.report.wrong:
            raise FolderUnusable(self.report, "Not all of this folder can be used, and strict=True asks for that.")
        pixels = torch.from_numpy(np.stack(found.pixels)).permute(0, 3, 1, 2)  # (N, 3, S, S)
        self.pictures: Tensor = pixels.contiguous().float() / 127.5 - 1
        self.files, self.captions = found.files, found.captions
        self.languages, self.splits = found.languages, found.splits

    def __len__(self) -> int:
        return len(self.files)

    def batch(self, n: int, g: torch.Generator, *, split: str = "train") -> tuple[Tensor, list[str]]:
        """n random rows of a split, as pictures (n, 3, S, S) with their captions; ``split="all"`` draws from all.

        Raises ``ValueError`` where the split has no row.
        """
        import torch

        expect_one_of(split, (*SPLITS, "all"), name="split")
        if n < 1:
            raise ValueError(f"batch: expected at least 1 picture, got {n}.")
        rows = [i for i, s in enumerate(self.splits) if split in (s, "all")]
        if not rows:
            told = ", ".join(f"{name} {count}" for name, count in Counter(self.splits).items())
            raise ValueError(f"split: expected one with pictures, got {split!r}. This folder has {told}.")
        drawn = torch.randint(len(rows), (n,), generator=g, device=g.device).tolist()
        picked = [rows[i] for i in drawn]
        return self.pictures[picked], [self.captions[i] for i in picked]
