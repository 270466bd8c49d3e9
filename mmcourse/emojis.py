"""Emoji: about 3,900 small pictures with names in English and Chinese, drawn from an installed font (lesson 14).

The pictures are drawn by Pillow from a colour emoji font of this machine, once, and kept in the cache. The names are
those of Unicode's CLDR, out of the package ``emoji`` (BSD), written as people write them: "woman firefighter: dark skin
tone", "女消防员：较深肤色". Compositions of occupation, gender and tone and of colour and object are held out by rule.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmcourse.checks import expect_one_of
from mmcourse.runtime import cache_dir, write_whole

if TYPE_CHECKING:
    from PIL import Image, ImageFont

SIZES = (32, 64, 128)
SPLITS = ("all", "train", "held_out")
LANGUAGES = ("en", "zh")
SMALL = 300  # how many emojis the cpu profile learns: emoji_set(limit=SMALL)
DRAWING = 2  # raised when the way of drawing changes, so that older files in the cache are not read
FONT_SIZES = (109, 160, 128, 136, 96)  # bitmap fonts open at their own size only: 109 is Noto's, 160 Apple's
INSTALL = "sudo apt install fonts-noto-color-emoji libfribidi0"

_JOINER, _VARIANT = "\u200d", "\ufe0f"
#: What no font has: a code point of private use, the flags of a region QQ and of a subdivision xxx.
_NOTHING = ("\U0010fffd", "\U0001f1f6\U0001f1f6", "\U0001f3f4\U000e0078\U000e0078\U000e0078\U000e007f")


class EmojiFontMissing(RuntimeError):
    """There is no colour emoji font on this machine, or Pillow cannot draw from it. The message says what to do."""


# ------------------------------------------------------------------------------------------------------- compositions

TONES = {
    "light": "\U0001f3fb",
    "medium-light": "\U0001f3fc",
    "medium": "\U0001f3fd",
    "medium-dark": "\U0001f3fe",
    "dark": "\U0001f3ff",
}
GENDERS = {"person": "\U0001f9d1", "woman": "\U0001f469", "man": "\U0001f468"}
#: An occupation's sign: a tool that is joined to a person, or a person who takes a sign of gender.
OCCUPATIONS = {
    "firefighter": "\U0001f692",
    "astronaut": "\U0001f680",
    "cook": "\U0001f373",
    "farmer": "\U0001f33e",
    "police officer": "\U0001f46e",
    "construction worker": "\U0001f477",
    "artist": "\U0001f3a8",
    "health worker": "\u2695\ufe0f",
    "student": "\U0001f393",
    "pilot": "\u2708\ufe0f",
    "judge": "\u2696\ufe0f",
    "mechanic": "\U0001f527",
    "scientist": "\U0001f52c",
    "singer": "\U0001f3a4",
    "teacher": "\U0001f3eb",
    "technologist": "\U0001f4bb",
    "factory worker": "\U0001f3ed",
    "office worker": "\U0001f4bc",
    "detective": "\U0001f575",
    "guard": "\U0001f482",
}
_PEOPLE = ("police officer", "construction worker", "detective", "guard")
_SIGNS = {"person": "", "woman": "\u200d\u2640\ufe0f", "man": "\u200d\u2642\ufe0f"}
OBJECTS = ("heart", "circle", "square")
COLOURS = {  # as a heart, a circle and a square
    "red": ("\u2764\ufe0f", "\U0001f534", "\U0001f7e5"),
    "orange": ("\U0001f9e1", "\U0001f7e0", "\U0001f7e7"),
    "purple": ("\U0001f49c", "\U0001f7e3", "\U0001f7ea"),
    "blue": ("\U0001f499", "\U0001f535", "\U0001f7e6"),
    "brown": ("\U0001f90e", "\U0001f7e4", "\U0001f7eb"),
    "green": ("\U0001f49a", "\U0001f7e2", "\U0001f7e9"),
    "yellow": ("\U0001f49b", "\U0001f7e1", "\U0001f7e8"),
}


def occupation_code(occupation: str, gender: str, tone: str) -> str:
    """The code points of one person at work: ``occupation_code("firefighter", "woman", "dark")``."""
    sign = OCCUPATIONS[expect_one_of(occupation, tuple(OCCUPATIONS), name="occupation")]
    expect_one_of(gender, tuple(GENDERS), name="gender")
    skin = TONES[expect_one_of(tone, tuple(TONES), name="tone")]
    return sign + skin + _SIGNS[gender] if occupation in _PEOPLE else GENDERS[gender] + skin + _JOINER + sign


def compositions() -> dict[str, tuple[str, ...]]:
    """Each composed emoji's parts by its code: (colour, object) of 21, then (occupation, gender, tone) of 300."""
    parts: dict[str, tuple[str, ...]] = {}
    for colour, codes in COLOURS.items():
        parts |= {code: (colour, thing) for code, thing in zip(codes, OBJECTS, strict=True)}
    for occupation in OCCUPATIONS:
        for gender in GENDERS:
            parts |= {occupation_code(occupation, gender, tone): (occupation, gender, tone) for tone in TONES}
    return parts


def held_out_codes() -> set[str]:
    """The 66 compositions that training never shows, by rule.

    Occupation number i loses, of its gender number j, the tone number (i + 2j) mod 5: three of its fifteen, with three
    different tones. So each occupation is seen with every gender, each in four tones; with every tone; and each pair of
    gender and tone is seen in sixteen other occupations. Colour number k after red loses its object number k - 1 mod 3:
    the orange heart, the purple circle, the blue square, the brown heart, the green circle, the yellow square.
    """
    tones = tuple(TONES)
    held = {
        occupation_code(occupation, gender, tones[(i + 2 * j) % len(tones)])
        for i, occupation in enumerate(OCCUPATIONS)
        for j, gender in enumerate(GENDERS)
    }
    return held | {codes[(k - 1) % len(OBJECTS)] for k, codes in enumerate(COLOURS.values()) if k}


# -------------------------------------------------------------------------------------------------------------- names

_TONE_EN = r"(?:medium-light|medium-dark|light|medium|dark) skin tone"
_FEATURE_EN = re.compile(rf" ({_TONE_EN}|red hair|curly hair|white hair|blond hair|bald|beard)(?= |$)")
_TONE_ZH = re.compile(r"较浅肤色|中等浅肤色|中等肤色|中等深肤色|较深肤色")
_PERSON_ZH = re.compile(r"男人|女人|男孩|女孩|成人")
_COUPLES = ("couple with heart", "family", "kiss")


def caption(code: str, language: str = "en") -> str:
    """An emoji's name as a person would write it, in ``"en"`` or ``"zh"``.

    The package writes underscores for spaces and drops CLDR's colons and commas; they are put back: a colon before what
    is said of a person, a keycap or a flag, commas between such parts ("kiss: woman, man, dark skin tone, light skin
    tone"; in Chinese "：" and "、"). Flags are "flag: Kenya" and "旗：肯尼亚". Raises ``ValueError`` on
    what is no emoji.
    """
    expect_one_of(language, LANGUAGES, name="language")
    found = _package().get(code)
    if found is None or language not in found:
        raise ValueError(f"emoji: expected one that the package emoji names in {language!r}, got {code!r}.")
    raw = str(found[language]).strip(":")
    return _english(code, raw) if language == "en" else _chinese(code, raw)


def _english(code: str, raw: str) -> str:
    name = raw.replace("_", " ").replace("’", "'")
    if _is_flag(code):
        return f"flag: {name}"
    if name.startswith("keycap "):
        return name.replace("keycap ", "keycap: ", 1)
    features = _FEATURE_EN.findall(name)
    base = _FEATURE_EN.sub("", name) if features else name
    for couple in _COUPLES:  # "kiss woman man", but not "kiss mark"
        people = base.removeprefix(couple).split()
        if base.startswith(couple) and set(people) <= {"man", "woman", "person", "boy", "girl", "adult", "child"}:
            base, features = couple, people + features
    return f"{base}: {', '.join(features)}" if features else base


def _chinese(code: str, raw: str) -> str:
    if _is_flag(code):
        return "旗：" + re.sub(r"_(.+)", r"(\1)", raw)  # 刚果_布 is 刚果(布)
    base, _, rest = raw.partition("_")
    parts = []
    while rest:  # 女人男人较深肤色 has no commas; hair, a keycap's sign and tones stand alone
        match = _TONE_ZH.match(rest) or _PERSON_ZH.match(rest)
        end = match.end() if match else next((m.start() for m in _TONE_ZH.finditer(rest)), len(rest))
        parts.append(rest[:end].strip("_"))
        rest = rest[end:].strip("_")
    return f"{base}：{'、'.join(parts)}" if parts else base


def _is_flag(code: str) -> bool:
    return all("\U0001f1e6" <= c <= "\U0001f1ff" for c in code) or "\U000e007f" in code


def _package() -> dict[str, dict[str, Any]]:
    """The package's table, with the Chinese names loaded."""
    import emoji

    emoji.config.load_language("zh")
    return emoji.EMOJI_DATA


def _known() -> list[str]:
    """All emojis in Unicode's fully qualified form, in the order of their code points."""
    import emoji

    wanted = emoji.STATUS["fully_qualified"]
    return sorted(code for code, entry in _package().items() if entry["status"] == wanted)


# --------------------------------------------------------------------------------------------------------------- font


def find_font() -> Path:
    """The colour emoji font: the file that ``MMCOURSE_EMOJI_FONT`` names, else the system's own at its known places.

    Raises ``EmojiFontMissing`` with the line that installs one.
    """
    given = os.environ.get("MMCOURSE_EMOJI_FONT")
    if given:
        if Path(given).is_file():
            return Path(given)
        raise EmojiFontMissing(f"MMCOURSE_EMOJI_FONT names {given}, where there is no file. Correct it or unset it.")
    for place in _places():
        if place.is_file():
            return place
    raise EmojiFontMissing(f"There is no colour emoji font on this machine. {_cure()}")


def _places() -> list[Path]:
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts/Apple Color Emoji.ttc")]
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts" / "seguiemj.ttf"]
    folders = ("truetype/noto", "noto", "google-noto-emoji", "google-noto-color-emoji-fonts", "noto-emoji", "truetype")
    places = [Path("/usr/share/fonts") / folder / "NotoColorEmoji.ttf" for folder in folders]
    home = Path.home()
    own = [home / ".local" / "share" / "fonts", home / ".fonts", Path("/usr/local/share/fonts")]
    return places + [folder / "NotoColorEmoji.ttf" for folder in own]


def _cure() -> str:
    other = "set MMCOURSE_EMOJI_FONT to the file of one, such as NotoColorEmoji.ttf."
    if sys.platform in ("darwin", "win32"):
        return f"To draw emojis, {other}"
    return f"On Debian and Ubuntu run: {INSTALL}. Or {other}"


def _layout_or_tell() -> None:
    from PIL import features

    if features.check("raqm"):
        return
    cures = {
        "darwin": "Run: brew install fribidi",
        "win32": "Put a fribidi.dll where Python finds it (https://pillow.readthedocs.io, Installation)",
    }
    cure = cures.get(sys.platform, "On Debian and Ubuntu run: sudo apt install libfribidi0")
    raise EmojiFontMissing(
        "Emojis of several code points, such as a woman firefighter, need Pillow's text layout (libraqm), and it does "
        f"not load here: Pillow's wheels bring it, but it wants the library FriBiDi. {cure}. Then start Python again."
    )


def _open(font: Path) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    reason = ""
    for size in FONT_SIZES:
        try:
            opened = ImageFont.truetype(str(font), size, layout_engine=ImageFont.Layout.RAQM)
        except OSError as error:  # no font, or a bitmap font without this size
            reason = str(error)
            continue
        if _coloured(_native(opened, "\U0001f600")):
            return opened
        reason = "it draws a grinning face without colours; Pillow reads bitmaps (CBDT, sbix) and COLR version 0"
        break
    raise EmojiFontMissing(f"{font} is no colour emoji font that Pillow can draw from ({reason}). {_cure()}")


def _coloured(drawn: Image.Image | None) -> bool:
    if drawn is None:
        return False
    saturation: Any = drawn.convert("RGB").convert("HSV").getchannel("S").getextrema()
    return bool(saturation[1] > 100)


# ------------------------------------------------------------------------------------------------------------ drawing


def _native(font: ImageFont.FreeTypeFont, code: str) -> Image.Image | None:
    """One emoji at the font's own size as RGBA, cut to what is drawn; None where nothing is."""
    from PIL import Image, ImageDraw

    side = 2 * int(font.size)
    canvas = Image.new("RGBA", (2 * side, 2 * side), (255, 255, 255, 0))
    ImageDraw.Draw(canvas).text((side // 2, side // 2), code, font=font, embedded_color=True)
    box = canvas.getchannel("A").getbbox()
    return canvas.crop(box) if box else None


def _square(drawn: Image.Image, cell: int, size: int) -> Image.Image:
    """A drawn emoji in the middle of a white square, scaled down by averaging; a larger one than the cell whole."""
    from PIL import Image

    side = max(cell, *drawn.size)
    ground = Image.new("RGBA", (side, side), (255, 255, 255, 255))
    ground.alpha_composite(drawn, ((side - drawn.width) // 2, (side - drawn.height) // 2))
    return ground.convert("RGB").resize((size, size), Image.Resampling.HAMMING)


@dataclass(frozen=True)
class _Drawn:
    """What a font gave: ``codes`` with their ``pixels`` uint8 (N, 3, S, S), and what was left out, by reason."""

    codes: list[str]
    pixels: Tensor
    left_out: dict[str, list[str]]


WIDE = "drawn as several glyphs side by side"
BOX = "drawn as the font's sign for what it lacks"
EMPTY = "nothing is drawn"
PART = "drawn as its first part alone"
NAMELESS = "without a name in each language"


def _draw(font: ImageFont.FreeTypeFont, size: int) -> _Drawn:
    """Draw every known emoji. A sequence that the font has no glyph for is left out under its reason.

    Text layout draws such a sequence part by part: its advance is that of several glyphs. A single unknown code point
    is the font's ``.notdef``: a box, or nothing. An unknown flag is a sign of its own, such as a question mark on a
    flag, or a black flag whose remaining code points are invisible. The signs are found by drawing ``_NOTHING``.
    """
    import numpy as np

    single = font.getlength("\U0001f600")
    signs = [_native(font, code) for code in _NOTHING if font.getlength(code) <= 1.5 * single]
    signs = [sign for sign in signs if not _same(sign, _native(font, "\U0001f3f4"))]  # the black flag is an emoji
    table, codes, pictures = _package(), [], []
    left_out: dict[str, list[str]] = {reason: [] for reason in (WIDE, BOX, EMPTY, PART, NAMELESS)}
    for code in _known():
        if not set(LANGUAGES) <= table[code].keys():
            left_out[NAMELESS].append(code)
        elif font.getlength(code) > 1.5 * single:
            left_out[WIDE].append(code)
        elif (drawn := _native(font, code)) is None:
            left_out[EMPTY].append(code)
        elif any(_same(drawn, sign) for sign in signs):
            left_out[BOX].append(code)
        elif "\U000e007f" in code and _same(drawn, _native(font, code[0])):
            left_out[PART].append(code)
        else:
            codes.append(code)
            pictures.append(np.asarray(_square(drawn, round(single), size)))
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()  # (N, 3, S, S)
    return _Drawn(codes, pixels, {reason: found for reason, found in left_out.items() if found})


def _same(a: Image.Image | None, b: Image.Image | None) -> bool:
    return a is not None and b is not None and a.size == b.size and a.tobytes() == b.tobytes()


# -------------------------------------------------------------------------------------------------------------- cache


def _drawn(size: int, cache: Path | None) -> tuple[_Drawn, Path]:
    """All drawn emojis at a size with their font's path: from the cache, else drawn and put there."""
    import PIL

    font = find_font()
    digest = hashlib.sha256(font.read_bytes()).hexdigest()
    key = {
        "font": digest,
        "emoji": importlib.metadata.version("emoji"),
        "pillow": PIL.__version__,
        "size": size,
        "drawing": DRAWING,
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    path = (cache_dir() if cache is None else Path(cache)) / f"emojis-{size}-{name}.safetensors"
    kept = _load(path, key, size)
    if kept is not None:
        return kept, font
    _layout_or_tell()
    opened = _open(font)
    print(f"The emojis are drawn once, from {font.name}, into {path.parent}.")
    made = _draw(opened, size)
    try:
        _save(path, key, made)
    except OSError as error:
        print(f"The drawn emojis could not be kept ({error}); they are drawn again next time.")
    return made, font


def _save(path: Path, key: dict[str, Any], made: _Drawn) -> None:
    from safetensors.torch import save

    told = {"key": key, "codes": made.codes, "left_out": made.left_out}
    mine = path.with_name(f"{path.stem}-{os.getpid()}{path.suffix}")  # two processes may draw at once
    write_whole(mine, save({"pixels": made.pixels}, metadata={"emojis": json.dumps(told)}))
    mine.replace(path)


def _load(path: Path, key: dict[str, Any], size: int) -> _Drawn | None:
    """What is kept in the cache, or None: a file that is absent, damaged or another's is drawn again."""
    from safetensors import safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            told = json.loads(file.metadata()["emojis"])
            pixels = file.get_tensor("pixels")
        codes, left_out = told["codes"], told["left_out"]
        good = told["key"] == key and pixels.dtype == torch.uint8 and pixels.shape == (len(codes), 3, size, size)
    except Exception:  # a damaged file fails in many ways
        return None
    return _Drawn(list(codes), pixels, dict(left_out)) if good else None


# ---------------------------------------------------------------------------------------------------------------- set


@dataclass(frozen=True)
class EmojiReport:
    """What the whole set holds, whichever part was asked for. ``str(report)`` is a readable table.

    ``known`` emojis in Unicode's list, ``drawn`` of them; ``left_out`` codes by reason; ``duplicates``, groups of codes
    whose pictures are equal pixel for pixel at this size; ``held_out`` compositions in all.
    """

    font: str
    package: str
    size: int
    known: int
    drawn: int
    left_out: dict[str, list[str]]
    duplicates: list[list[str]]
    held_out: int

    def __str__(self) -> str:
        lines = [
            f"{self.drawn:,} of {self.known:,} emojis drawn at {self.size}x{self.size}, from {self.font}",
            f"names: emoji {self.package}",
        ]
        for reason, codes in self.left_out.items():
            some = codes[:3] if reason == NAMELESS else [caption(code) for code in codes[:3]]
            more = "; ..." if len(codes) > len(some) else ""
            lines.append(f"{len(codes):6,} left out: {reason} ({'; '.join(some)}{more})")
        again = sum(len(group) - 1 for group in self.duplicates)
        lines.append(f"{again:6,} show a picture that an earlier name shows too, in {len(self.duplicates)} groups")
        lines += [f"       {' = '.join(caption(c) for c in group)}" for group in self.duplicates]
        lines.append(f"{self.held_out:6,} held out")
        return "\n".join(lines)


@dataclass(frozen=True)
class Emojis:
    """Emojis with their names: ``pictures`` float32 (N, 3, S, S) in [-1, 1] on white; ``names``, a list of N by
    language; ``codes``, N strings of code points; ``held_out`` bool (N,); ``same`` int64 (N,), in which rows with equal
    numbers show equal pictures; and the ``report`` on the whole set."""

    pictures: Tensor
    names: dict[str, list[str]]
    codes: list[str]
    held_out: Tensor
    same: Tensor
    report: EmojiReport

    def __len__(self) -> int:
        return len(self.codes)

    def pick(self, rows: Tensor | Sequence[int]) -> Emojis:
        """The emojis of the rows named, by numbers or by a mask of bools (N,)."""
        at = torch.as_tensor(rows)
        at = at.nonzero().flatten() if at.dtype == torch.bool else at.long()
        picked = at.tolist()
        return replace(
            self,
            pictures=self.pictures[at],
            names={language: [names[i] for i in picked] for language, names in self.names.items()},
            codes=[self.codes[i] for i in picked],
            held_out=self.held_out[at],
            same=self.same[at],
        )

    def batch(self, n: int, g: torch.Generator) -> tuple[Tensor, list[str]]:
        """n random pictures (n, 3, S, S), each with its name in a random language."""
        if n < 1 or not len(self):
            raise ValueError(f"batch: expected at least 1 of at least 1 emoji, got {n} of {len(self)}.")
        rows = torch.randint(len(self), (n,), generator=g, device=g.device).tolist()
        tongues = torch.randint(len(LANGUAGES), (n,), generator=g, device=g.device).tolist()
        return self.pictures[rows], [self.names[LANGUAGES[t]][i] for i, t in zip(rows, tongues, strict=True)]


def emoji_set(
    size: int = 32, *, split: str = "all", limit: int | None = None, cache: str | Path | None = None
) -> Emojis:
    """The emojis at 32, 64 or 128 pixels, in the order of their code points.

    ``split="train"`` leaves the held-out compositions (see ``held_out_codes``) away, ``"held_out"`` gives them alone; a
    name whose picture equals a held-out one pixel for pixel is held out with it. ``limit`` takes at most so many, the
    same ones each time, before they are split: compositions fill at most half of it, the 21 of colour and object first,
    then whole occupations in the order of ``OCCUPATIONS``; the rest are emojis of one code point, evenly spread over
    Unicode's order, and after them all others, spread as well. ``limit=SMALL`` is what the cpu profile learns.

    Pictures are drawn once and kept as bytes under ``cache`` (``runtime.cache_dir()`` by default). At 128 pixels the
    whole set takes 0.75 GB as floats. Raises ``ValueError`` on a wrong size, split or limit and ``EmojiFontMissing``,
    with what to do, where emojis cannot be drawn.
    """
    if size not in SIZES:
        raise ValueError(f"size: expected one of {', '.join(map(str, SIZES))} pixels, got {size!r}.")
    expect_one_of(split, SPLITS, name="split")
    if limit is not None and limit < 1:
        raise ValueError(f"limit: expected at least 1 emoji, or None for all, got {limit}.")
    made, font = _drawn(size, None if cache is None else Path(cache))
    same = _equal(made.pixels)
    by_rule = held_out_codes()
    held = torch.tensor([code in by_rule for code in made.codes])
    held = torch.isin(same, same[held])
    rows = torch.tensor(_subset(made.codes, limit))
    keep = {"all": torch.ones_like(held), "train": ~held, "held_out": held}[split]
    rows = rows[keep[rows]]
    codes = [made.codes[i] for i in rows.tolist()]
    return Emojis(
        made.pixels[rows].float() / 127.5 - 1,
        {language: [caption(code, language) for code in codes] for language in LANGUAGES},
        codes,
        held[rows],
        same[rows],
        EmojiReport(
            font.name,
            importlib.metadata.version("emoji"),
            size,
            len(made.codes) + sum(map(len, made.left_out.values())),
            len(made.codes),
            made.left_out,
            _groups(made.codes, same),
            int(held.sum()),
        ),
    )


def _equal(pixels: Tensor) -> Tensor:
    """For each picture (N, 3, S, S) the row of the first one that equals it: int64 (N,)."""
    first: dict[bytes, int] = {}
    return torch.tensor([first.setdefault(x.numpy().tobytes(), i) for i, x in enumerate(pixels)])


def _groups(codes: list[str], same: Tensor) -> list[list[str]]:
    groups: dict[int, list[str]] = {}
    for code, number in zip(codes, same.tolist(), strict=True):
        groups.setdefault(number, []).append(code)
    return [group for group in groups.values() if len(group) > 1]


def _subset(codes: Sequence[str], limit: int | None) -> list[int]:
    """The rows that ``emoji_set`` takes for a limit, in order."""
    if limit is None or limit >= len(codes):
        return list(range(len(codes)))
    blocks: dict[str, list[int]] = {}
    parts = compositions()
    for i, code in enumerate(codes):
        if code in parts:
            blocks.setdefault("colours" if len(parts[code]) == 2 else parts[code][0], []).append(i)
    taken: list[int] = []
    for name in ("colours", *OCCUPATIONS):
        block = blocks.get(name, [])
        if len(taken) + len(block) > limit // 2:
            break
        taken += block
    simple = [i for i, code in enumerate(codes) if len(code.replace(_VARIANT, "")) == 1 and code not in parts]
    taken += _spread(simple, limit - len(taken))
    others = sorted(set(range(len(codes))) - set(taken))
    return sorted(taken + _spread(others, limit - len(taken)))


def _spread(rows: Sequence[int], n: int) -> list[int]:
    """At most n of the rows, at even steps."""
    return list(rows) if n >= len(rows) else [rows[i * len(rows) // n] for i in range(n)]
