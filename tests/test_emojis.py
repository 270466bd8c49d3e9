"""Emojis: names as people write them, what is held out, and pictures that are those the names say."""

from __future__ import annotations

import colorsys
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from PIL import Image

from mmcourse import emojis
from mmcourse.emojis import (
    COLOURS,
    LANGUAGES,
    OBJECTS,
    OCCUPATIONS,
    SMALL,
    TONES,
    EmojiFontMissing,
    Emojis,
    caption,
    compositions,
    emoji_set,
    held_out_codes,
)

FIREFIGHTER = "\U0001f469\U0001f3ff\u200d\U0001f692"  # woman, dark skin tone, joiner, fire engine


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this file's emojis are drawn, once; tests that draw skip without a font."""
    try:
        emojis.find_font()
        emojis._layout_or_tell()
    except EmojiFontMissing as error:
        pytest.skip(str(error))
    return tmp_path_factory.mktemp("emojis")


@pytest.fixture(scope="module")
def whole(cache: Path) -> Emojis:
    return emoji_set(32, cache=cache)


def picture(found: Emojis, name: str) -> torch.Tensor:
    """The picture (3, S, S) of an English name, in [0, 1]."""
    return (found.pictures[found.names["en"].index(name)] + 1) / 2


# ------------------------------------------------------------------------------------------------ names, without a font


@pytest.mark.parametrize(
    ("code", "en", "zh"),
    [
        (FIREFIGHTER, "woman firefighter: dark skin tone", "女消防员：较深肤色"),
        ("\U0001f9e1", "orange heart", "橙心"),
        ("\U0001f1f0\U0001f1ea", "flag: Kenya", "旗：肯尼亚"),
        ("\U0001f1e8\U0001f1ec", "flag: Congo-Brazzaville", "旗：刚果(布)"),
        ("\U0001f1e8\U0001f1ee", "flag: Côte d'Ivoire", "旗：科特迪瓦"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "flag: England", "旗：英格兰"),
        ("\U0001f3f3\ufe0f\u200d\U0001f308", "rainbow flag", "彩虹旗"),
        ("1\ufe0f\u20e3", "keycap: 1", "按键：1"),
        ("\U0001f51f", "keycap: 10", "按键：10"),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467", "family: man, woman, girl", "家庭：男人、女人、女孩"),
        (
            "\U0001f469\U0001f3ff\u200d\u2764\ufe0f\u200d\U0001f48b\u200d\U0001f468\U0001f3fb",
            "kiss: woman, man, dark skin tone, light skin tone",
            "亲吻：女人、男人、较深肤色、较浅肤色",
        ),
        ("\U0001f48b", "kiss mark", "唇印"),
        ("\U0001f618", "face blowing a kiss", "飞吻"),
        ("\U0001f468\U0001f3fd\u200d\U0001f9b0", "man: medium skin tone, red hair", "男人：中等肤色、红发"),
        ("\U0001f9d4\U0001f3fd\u200d\u2640\ufe0f", "woman: medium skin tone, beard", "有络腮胡子的女人：中等肤色"),
        ("\U0001f17e\ufe0f", "O button (blood type)", "O型血"),
    ],
)
def test_names_are_written_as_people_write_them(code: str, en: str, zh: str) -> None:
    assert (caption(code), caption(code, "zh")) == (en, zh)


def test_every_name_is_one_of_a_kind_and_keeps_the_words_of_its_source() -> None:
    table = emojis._package()
    for language in LANGUAGES:
        names = {code: caption(code, language) for code in emojis._known()}
        assert [n for n, k in Counter(names.values()).items() if k > 1] == []
        assert not any("_" in n or n != n.strip() or "  " in n or n.endswith(("：", ":")) for n in names.values())
        for code, name in names.items():
            letters = re.sub(r"\W", "", name.replace("flag: ", "").replace("旗：", ""))
            assert sorted(letters) == sorted(re.sub(r"[\W_]", "", table[code][language])), name


def test_what_is_no_emoji_is_refused() -> None:
    with pytest.raises(ValueError, match="emoji: expected one that the package"):
        caption("x")
    with pytest.raises(ValueError, match="language: expected one of en, zh"):
        caption(FIREFIGHTER, "fr")
    with pytest.raises(ValueError, match="Did you mean 'firefighter'"):
        emojis.occupation_code("firefigter", "woman", "dark")


# --------------------------------------------------------------------------------------------- held out, without a font


def test_codes_of_compositions_are_those_of_their_names() -> None:
    table = {code: caption(code) for code in emojis._known()}
    assert len(compositions()) == 321
    for code, parts in compositions().items():
        if len(parts) == 2:
            assert table[code] == " ".join(parts)
        else:
            occupation, gender, tone = parts
            who = occupation if gender == "person" else f"{gender} {occupation}"
            assert table[code] == f"{who}: {tone} skin tone"


def test_66_compositions_are_held_out_and_each_part_is_seen_elsewhere() -> None:
    parts, held = compositions(), held_out_codes()
    assert len(held) == 66 and held <= parts.keys() and held == held_out_codes()
    assert {caption(c) for c in held if len(parts[c]) == 2} == {
        "orange heart",
        "purple circle",
        "blue square",
        "brown heart",
        "green circle",
        "yellow square",
    }
    assert {caption(c) for c in held if parts[c][0] in ("firefighter", "astronaut")} == {
        "firefighter: light skin tone",
        "woman firefighter: medium skin tone",
        "man firefighter: dark skin tone",
        "astronaut: medium-light skin tone",
        "woman astronaut: medium-dark skin tone",
        "man astronaut: light skin tone",
    }
    seen = [parts[c] for c in parts.keys() - held]
    for i in (0, 1):
        colours = [p for p in seen if len(p) == 2]
        assert min(Counter(p[i] for p in colours).values()) >= 2
        assert {p[i] for p in colours} == set((COLOURS, OBJECTS)[i])
    work = [p for p in seen if len(p) == 3]
    for occupation in OCCUPATIONS:
        mine = [p for p in work if p[0] == occupation]
        assert len(mine) == 12 and set(Counter(p[1] for p in mine).values()) == {4}
        assert {p[2] for p in mine} == set(TONES) and min(Counter(p[2] for p in mine).values()) >= 2
    assert set(Counter(p[1:] for p in work).values()) == {16}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_part_and_word_of_a_held_out_name_occurs_in_seen_names(language: str) -> None:
    held = held_out_codes()
    seen_names = [caption(c, language) for c in emojis._known() if c not in held]
    seen_parts = {part for name in seen_names for part in re.split("[：、]|: |, ", name)}
    words = {w for name in seen_names for w in re.findall(r"[a-z-]+|[㐀-鿿]", name.lower())}
    for code in held:
        name = caption(code, language)
        assert set(re.findall(r"[a-z-]+|[㐀-鿿]", name.lower())) <= words, name
        if len(compositions()[code]) == 3:  # "woman firefighter" and "dark skin tone" both, with others
            assert set(re.split("[：、]|: |, ", name)) <= seen_parts, name


def test_the_small_subset_holds_whole_compositions() -> None:
    """By the names alone: as if a font drew all."""
    codes = emojis._known()
    rows = emojis._subset(codes, SMALL)
    assert len(rows) == SMALL == len(set(rows)) and rows == sorted(rows) == emojis._subset(codes, SMALL)
    taken, parts, held = [codes[i] for i in rows], compositions(), held_out_codes()
    work = [parts[c] for c in taken if len(parts.get(c, ())) == 3]
    assert set(Counter(p[0] for p in work).values()) == {15} and len(work) == 120
    assert sum(len(parts.get(c, ())) == 2 for c in taken) == 21
    assert sum(c in held for c in taken) == 6 + 3 * 8
    for language in LANGUAGES:
        seen = {p for c in taken if c not in held for p in re.split("[：、]|: |, ", caption(c, language))}
        mine = [caption(c, language) for c in taken if c in held and len(parts[c]) == 3]
        assert all(set(re.split("[：、]|: |, ", name)) <= seen for name in mine)
    assert emojis._subset(codes, None) == list(range(len(codes))) == emojis._subset(codes, 10**6)
    for limit in (1, 7, 42, 1000, 3000, len(codes) - 1):
        assert len(set(emojis._subset(codes, limit))) == limit


# ------------------------------------------------------------------------------------------- drawing, without this font


def test_a_drawing_is_centred_whole_and_laid_on_white() -> None:
    wide = Image.new("RGBA", (300, 60), (255, 0, 0, 255))
    x = torch.tensor(list(emojis._square(wide, 136, 32).tobytes())).view(32, 32, 3).float()
    red = x[:, :, 1] < 128
    assert red.any(0).all(), "as wide as the square, and not cut"
    rows = red.any(1).nonzero().flatten()
    assert rows.tolist() == list(range(13, 19)) and x[0].min() == 255
    veil = Image.new("RGBA", (64, 64), (0, 0, 0, 128))
    grey = emojis._square(veil, 64, 32).getpixel((16, 16))
    assert grey == (127, 127, 127)
    stripes = Image.new("RGBA", (128, 128), (255, 255, 255, 255))
    for column in range(0, 128, 2):
        stripes.paste((0, 0, 0, 255), (column, 0, column + 1, 128))
    assert set(emojis._square(stripes, 128, 32).tobytes()) <= set(range(118, 138)), "averaged, not picked"
    dot = Image.new("RGBA", (20, 10), (0, 0, 255, 255))
    y = torch.tensor(list(emojis._square(dot, 136, 32).tobytes())).view(32, 32, 3).float()
    weight = 255 - y[:, :, 0]
    places = torch.arange(32) + 0.5
    assert (weight.sum(0) * places).sum() / weight.sum() == pytest.approx(16, abs=0.1)
    assert (weight.sum(1) * places).sum() / weight.sum() == pytest.approx(16, abs=0.2)


def test_without_a_font_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MMCOURSE_EMOJI_FONT", raising=False)
    monkeypatch.setattr(emojis, "_places", lambda: [tmp_path / "none.ttf"])
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(EmojiFontMissing, match="sudo apt install fonts-noto-color-emoji"):
        emoji_set(cache=tmp_path)
    monkeypatch.setenv("MMCOURSE_EMOJI_FONT", str(tmp_path / "gone.ttf"))
    with pytest.raises(EmojiFontMissing, match=r"names .*gone\.ttf, where there is no file"):
        emoji_set(cache=tmp_path)


def test_a_font_without_colours_and_a_file_that_is_none_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import matplotlib

    monkeypatch.setattr(emojis, "_layout_or_tell", lambda: None)
    plain = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    monkeypatch.setenv("MMCOURSE_EMOJI_FONT", str(plain))
    with pytest.raises(EmojiFontMissing, match=r"DejaVuSans.ttf is no colour emoji font .*without colours"):
        emoji_set(cache=tmp_path)
    (tmp_path / "text.ttf").write_text("no font")
    monkeypatch.setenv("MMCOURSE_EMOJI_FONT", str(tmp_path / "text.ttf"))
    with pytest.raises(EmojiFontMissing, match=r"text.ttf is no colour emoji font"):
        emoji_set(cache=tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize(("system", "cure"), [("linux", "libfribidi0"), ("darwin", "brew install"), ("win32", "dll")])
def test_without_text_layout_the_cure_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str, cure: str
) -> None:
    (tmp_path / "any.ttf").write_bytes(b"a font")
    monkeypatch.setenv("MMCOURSE_EMOJI_FONT", str(tmp_path / "any.ttf"))
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    monkeypatch.setattr("sys.platform", system)
    with pytest.raises(EmojiFontMissing, match=rf"libraqm.*{cure}"):
        emoji_set(cache=tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size": 48}, "size: expected one of 32, 64, 128"),
        ({"split": "test"}, "split: expected one of all, train, held_out"),
        ({"limit": 0}, "limit: expected at least 1"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        emoji_set(**options)


def test_the_clean_machine_installs_the_font() -> None:
    text = (ROOT / ".ci" / "run").read_text()
    assert "fonts-noto-color-emoji" in text and "libfribidi0" in text
    assert set(emojis.INSTALL.split()[3:]) == {"fonts-noto-color-emoji", "libfribidi0"}


# ------------------------------------------------------------------------------------------------------ with the font


def test_the_set_is_whole_and_counted(whole: Emojis) -> None:
    report = whole.report
    assert whole.pictures.shape == (len(whole), 3, 32, 32) and whole.pictures.dtype == torch.float32
    assert whole.pictures.min() == -1 and whole.pictures.max() == 1
    assert report.known == len(emojis._known()) and report.drawn == len(whole) == len(set(whole.codes))
    left = [code for codes in report.left_out.values() for code in codes]
    assert sorted(left + whole.codes) == emojis._known()
    assert len(whole) > 3000 and report.held_out == int(whole.held_out.sum()) == 66
    again = sum(len(group) - 1 for group in report.duplicates)
    assert again == len(whole) - len(whole.same.unique())
    told = str(report)
    assert f"{len(whole):,} of {report.known:,} emojis drawn" in told and "66 held out" in told
    for reason, codes in report.left_out.items():
        assert f"{len(codes):,} left out: {reason}" in told


def test_no_picture_is_empty_or_touches_all_of_its_border(whole: Emojis, cache: Path) -> None:
    ink = (whole.pictures < 0.9).any(1)  # (N, 32, 32)
    assert ink.flatten(1).any(1).all()
    spans = [ink.any(axis).float() for axis in (1, 2)]  # by column, by row
    for span in spans:
        first, last = span.argmax(1), 31 - span.flip(1).argmax(1)
        off = (first - (31 - last)).abs()
        assert (off <= 2).float().mean() > 0.97 and off.max() <= 10  # steam, shadows and snow are pale
    large = emoji_set(128, cache=cache, limit=SMALL)
    assert large.pictures.shape == (SMALL, 3, 128, 128)
    ring = torch.ones(128, 128, dtype=torch.bool)
    ring[1:-1, 1:-1] = False
    assert (large.pictures[:, :, ring] > 0.9).float().mean() > 0.98


def hue_of(x: torch.Tensor) -> tuple[float, float, float]:
    """Hue in degrees, saturation and value of what is drawn on white, by the median of each channel."""
    drawn = x[:, (x < 0.9).any(0)]
    red, green, blue = drawn.median(1).values.tolist()
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    return 360 * hue, saturation, value


def test_pictures_have_the_colours_and_shapes_of_their_names(whole: Emojis) -> None:
    """An outside truth: hues as the names say, and how much of its box a square, a circle and a heart fill."""
    hues = {"red": (340, 20), "orange": (20, 42), "yellow": (40, 60), "green": (80, 160), "blue": (190, 235)}
    for colour, (low, high) in hues.items():
        for thing in OBJECTS:
            hue, saturation, _ = hue_of(picture(whole, f"{colour} {thing}"))
            assert low <= hue <= high if low < high else hue >= low or hue <= high, (colour, thing, hue)
            assert saturation > 0.4
    for colour in COLOURS:
        share = {}
        for thing in OBJECTS:
            ink = (picture(whole, f"{colour} {thing}") < 0.9).any(0)
            box = ink.any(0).sum() * ink.any(1).sum()
            share[thing] = float(ink.sum() / box)
        assert share["square"] > 0.93 and abs(share["circle"] - torch.pi / 4) < 0.07 and 0.6 < share["heart"] < 0.76


def test_tones_grow_darker_in_order(whole: Emojis) -> None:
    for name in ("thumbs up", "ear", "flexed biceps", "baby", "man firefighter"):
        light = [float(picture(whole, f"{name}: {tone} skin tone").mean()) for tone in TONES]
        assert light == sorted(light, reverse=True) and len(set(light)) == 5, name


def test_flags_and_families_are_single_pictures(whole: Emojis) -> None:
    japan = picture(whole, "flag: Japan")
    assert japan[:, 16, 16].tolist() == pytest.approx([0.75, 0.05, 0.15], abs=0.2), "a red disc in the middle"
    france = picture(whole, "flag: France")[:, 16]
    assert france[2, 5] > france[0, 5] and france[0, 26] > france[2, 26] and france[:, 16].min() > 0.7
    assert (picture(whole, "flag: England") - picture(whole, "black flag")).abs().mean() > 0.1
    names = set(whole.names["en"])
    assert {
        "family: man, woman, girl, boy",
        "keycap: 1",
        "people holding hands: light skin tone, dark skin tone",
    } <= names


def test_what_is_drawn_is_what_the_font_has_single_glyphs_for(whole: Emojis) -> None:
    """Shaping done again in a plain way: the font's ligatures, read with fontTools, longest first."""
    from fontTools.ttLib import TTFont

    font = TTFont(emojis.find_font(), lazy=True, fontNumber=0)
    if "GSUB" not in font or font["name"].getDebugName(1) != "Noto Color Emoji":
        pytest.skip("only Noto's ligatures are read here")
    cmap, tables = font.getBestCmap(), []
    for lookup in font["GSUB"].table.LookupList.Lookup:
        rules = {}
        for part in lookup.SubTable:
            for first, ligatures in getattr(part, "ligatures", {}).items():
                rules |= {(first, *ligature.Component): ligature.LigGlyph for ligature in ligatures}
        tables.append(rules)

    def single(code: str) -> bool:
        glyphs = [cmap.get(ord(c)) for c in code if c != "\ufe0f"]
        for rules in tables:
            out, i = [], 0
            while i < len(glyphs):
                n = next((n for n in range(len(glyphs) - i, 1, -1) if tuple(glyphs[i : i + n]) in rules), 1)
                out.append(rules[tuple(glyphs[i : i + n])] if n > 1 else glyphs[i])
                i += n
            glyphs = out
        return len(glyphs) == 1 and glyphs[0] is not None

    assert {code for code in emojis._known() if single(code)} == set(whole.codes)


def test_sequences_without_a_glyph_are_left_out_with_their_reasons(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonsense = "\U0001f469\u200d\U0001f965"  # a woman coconut
    unnamed, nowhere = "\U0001f600", "\U0001f1fd\U0001f1ff"  # the region XZ
    told = {code: {"en": ":x:", "zh": ":x:"} for code in (FIREFIGHTER, nonsense, "\U0010ffff", nowhere)}
    monkeypatch.setattr(emojis, "_known", lambda: [*told, unnamed])
    monkeypatch.setattr(emojis, "_package", lambda: told | {unnamed: {"en": ":x:"}})
    made = emojis._draw(emojis._open(emojis.find_font()), 32)
    assert made.codes == [FIREFIGHTER] and made.pixels.shape == (1, 3, 32, 32)
    assert made.left_out[emojis.WIDE][0] == nonsense and made.left_out[emojis.NAMELESS] == [unnamed]
    others = [c for reason, codes in made.left_out.items() if reason != emojis.NAMELESS for c in codes]
    assert set(others) == {nonsense, "\U0010ffff", nowhere}


def test_splits_part_the_set_and_no_training_picture_is_held_out(whole: Emojis, cache: Path) -> None:
    train, held = emoji_set(cache=cache, split="train"), emoji_set(cache=cache, split="held_out")
    assert sorted(train.codes + held.codes) == whole.codes and held_out_codes() <= set(held.codes)
    assert not train.held_out.any() and held.held_out.all()
    assert not set(train.same.tolist()) & set(held.same.tolist())
    small = [emoji_set(cache=cache, split=split, limit=SMALL) for split in emojis.SPLITS]
    assert [len(s) for s in small] == [300, 270, 30]
    assert set(small[1].codes) | set(small[2].codes) == set(small[0].codes) <= set(whole.codes)
    assert not set(small[1].same.tolist()) & set(small[2].same.tolist())


def test_a_name_that_shows_a_held_out_picture_is_held_out_too(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    red, scarf = "\u2764\ufe0f", "\U0001f9e3"
    pixels = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    pixels[0] = 200
    orange = "\U0001f9e1"
    made = emojis._Drawn([red, orange, scarf], pixels, {})  # the scarf looks like the orange heart
    monkeypatch.setattr(emojis, "_drawn", lambda size, cache: (made, Path("font.ttf")))
    found = emoji_set()
    assert found.held_out.tolist() == [False, True, True] and found.same.tolist() == [0, 1, 1]
    assert found.report.duplicates == [[orange, scarf]]
    assert emoji_set(split="train").codes == [red]


def test_rows_are_picked_and_batches_drawn_with_their_names(whole: Emojis, rng: torch.Generator) -> None:
    some = whole.pick([5, 2, 9])
    assert some.codes == [whole.codes[i] for i in (5, 2, 9)] and torch.equal(some.pictures[1], whole.pictures[2])
    assert some.names["zh"][2] == whole.names["zh"][9] == caption(whole.codes[9], "zh")
    assert len(whole.pick(whole.held_out)) == 66
    x, names = whole.batch(64, rng)
    again, same_names = whole.batch(64, torch.Generator().manual_seed(0))
    assert x.shape == (64, 3, 32, 32) and torch.equal(x, again) and names == same_names
    assert not torch.equal(x, whole.batch(64, rng)[0])
    for row, name in zip(x, names, strict=True):
        language = "en" if name in whole.names["en"] else "zh"
        assert torch.equal(row, whole.pictures[whole.names[language].index(name)])
    assert 15 < sum(name in whole.names["zh"] for name in names) < 49
    with pytest.raises(ValueError, match="batch: expected at least 1"):
        whole.batch(0, rng)


def test_what_was_drawn_is_kept_and_a_damaged_file_is_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Emojis, capsys: pytest.CaptureFixture[str]
) -> None:
    real, drawn = emojis._draw, []

    def draw(font: Any, size: int) -> emojis._Drawn:
        drawn.append(size)
        return made if len(drawn) > 1 else real(font, size)

    some = emojis._known()[:40]
    monkeypatch.setattr(emojis, "_known", lambda: some)
    monkeypatch.setattr(emojis, "_draw", draw)
    first = emoji_set(cache=tmp_path)
    made = emojis._Drawn(first.codes, ((first.pictures + 1) * 127.5).round().to(torch.uint8), first.report.left_out)
    files = list(tmp_path.iterdir())
    assert drawn == [32] and [f.suffix for f in files] == [".safetensors"]
    again = emoji_set(cache=tmp_path)
    assert drawn == [32] and torch.equal(first.pictures, again.pictures) and again.report == first.report
    for damage in (files[0].read_bytes()[:-100], b"", b"not a safetensors file", files[0].read_bytes()[:50]):
        files[0].write_bytes(damage)
        assert torch.equal(emoji_set(cache=tmp_path).pictures, first.pictures)
    assert drawn == [32] * 5 and len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(emojis, "DRAWING", emojis.DRAWING + 1)  # drawn in a new way: the old file is not read
    emoji_set(cache=tmp_path)
    assert drawn == [32] * 6 and len(list(tmp_path.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = emojis._known()[:10]
    monkeypatch.setattr(emojis, "_known", lambda: some)
    (tmp_path / "file").write_text("in the way")
    assert len(emoji_set(cache=tmp_path / "file")) == 10
    assert "could not be kept" in capsys.readouterr().out
