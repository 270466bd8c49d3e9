"""A folder as a set, the stand-in where no font is, what is composed, what is tied, and the card."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmcourse import emojis, own_data, world
from mmcourse.emojis import EmojiFontMissing, find_font
from mmcourse.folders import CaptionedFolder, check

ROWS = [("0.png", "red", "en", "train"), ("0.png", "红", "zh", "train"), ("1.png", "blue", "en", "held_out")]
ROWS += [("1.png", "蓝", "zh", "held_out"), ("0.png", "scarlet", "en", "train")]


@pytest.fixture
def two(tmp_path: Path) -> Path:
    g = torch.Generator().manual_seed(0)
    return own_data.write_folder(tmp_path / "new" / "two", torch.rand(2, 3, 32, 32, generator=g) * 2 - 1, ROWS)


@pytest.fixture
def no_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCOURSE_EMOJI_FONT", "/nowhere/none.ttf")


@pytest.fixture(scope="module")
def small() -> own_data.OwnSet:
    try:
        find_font()
    except EmojiFontMissing as error:
        pytest.skip(str(error))
    return own_data.emojis_or_drawings(emojis.SMALL)


def test_what_is_written_is_read_back_to_half_a_grey_level(tmp_path: Path) -> None:
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    rows = [(f"{i}.png", f"picture {i}, the same", "en", "train") for i in range(3)]
    place = own_data.write_folder(tmp_path, x, rows)
    assert not check(place).rows
    back = CaptionedFolder(place, strict=True)
    assert (back.pictures - x).abs().max() <= 0.5 / 127.5 + 1e-6
    assert back.captions == [row[1] for row in rows]


def test_a_folder_becomes_one_row_a_picture_with_its_first_caption_by_language(two: Path) -> None:
    folder = CaptionedFolder(two)
    found = own_data.from_folder(folder)
    assert found.names == {"en": ["red", "blue"], "zh": ["红", "蓝"]}
    assert found.held_out.tolist() == [False, True] and found.same.tolist() == [0, 1] and len(found) == 2
    assert torch.equal(found.pictures, folder.pictures[[0, 2]])
    assert found.kind == "folder"


def test_a_picture_without_a_caption_in_a_language_is_named(two: Path) -> None:
    table = two / "captions.csv"
    table.write_text(
        table.read_text(encoding="utf-8").replace("1.png,蓝,zh,held_out\n", "").replace("1.png,蓝,zh,held_out\r\n", ""),
        encoding="utf-8",
    )
    with pytest.raises(ValueError, match=r"1\.png has no caption in 'zh', as others have \(1 such\)"):
        own_data.from_folder(CaptionedFolder(two))


def test_bad_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="values in"):
        own_data.write_folder(tmp_path, torch.full((1, 3, 8, 8), 2.0), [])
    with pytest.raises(ValueError, match="Add the batch axis"):
        own_data.write_folder(tmp_path, torch.zeros(3, 8, 8), [])


@pytest.mark.usefixtures("no_font")
def test_without_a_font_the_worlds_drawings_take_the_place() -> None:
    found = own_data.emojis_or_drawings(50)
    assert (
        found.kind == "drawings"
        and "/nowhere/none.ttf" in found.about
        and "drawings of the course's world" in found.about
    )
    assert len(found) == 300 and int(found.held_out.sum()) == 30
    for language in ("en", "zh"):
        assert len(set(found.names[language])) == 300
    facts = world.statements(found.names["en"])
    assert torch.equal(facts, world.statements(found.names["zh"]))
    assert torch.equal(world.holds_out(facts), found.held_out)
    again, other = own_data.emojis_or_drawings(), own_data.emojis_or_drawings(seed=1)
    assert again.names == found.names and torch.equal(again.pictures, found.pictures)
    assert other.names != found.names


@pytest.mark.usefixtures("no_font")
def test_drawings_compose_and_are_read_by_colour() -> None:
    found = own_data.emojis_or_drawings()
    rows, columns, at = own_data.composed(found)
    assert at.shape == (len(rows), len(columns)) and len(rows) >= 1
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            assert {row, column} <= set(found.names["en"][at[r, c]].split())
    crowd = own_data.crowd_of(found)
    assert crowd.columns == list(world.COLOURS) and torch.equal(crowd.trained, ~found.held_out)
    for traits, name in zip(crowd.traits, found.names["en"], strict=True):
        assert [crowd.columns[i] for i in traits.nonzero()[:, 0]] == [c for c in world.COLOURS if c in name.split()]
    assert all(not set(text.split()) & set(world.COLOURS) for said in crowd.asked.values() for text in said)


def test_emojis_compose_by_gender_and_tone(small: own_data.OwnSet) -> None:
    rows, columns, at = own_data.composed(small)
    assert (rows[1], columns[0]) == ("firefighter", "light skin tone")
    assert at.shape == (3, 5) and small.names["en"][at[0, 4]] == "woman firefighter: dark skin tone"
    assert int(small.held_out[at].sum()) == 3  # one tone of each gender
    assert small.held_out[at].sum(1).tolist() == [1, 1, 1]


def test_people_are_read_by_tone_and_gender(small: own_data.OwnSet) -> None:
    crowd = own_data.crowd_of(small)
    assert len(crowd.pictures) == len(crowd.traits) == 20 * 3 * 6  # occupations, genders, tones and none
    assert crowd.columns == [
        "yellow",
        "light",
        "medium-light",
        "medium",
        "medium-dark",
        "dark",
        "person",
        "woman",
        "man",
    ]
    assert crowd.traits[:, :6].sum(1).unique().tolist() == [1.0] and crowd.traits[:, 6:].sum(1).unique().tolist() == [
        1.0
    ]
    assert crowd.traits.sum(0).tolist() == [60.0] * 6 + [120.0] * 3
    seen = [n for n, held in zip(small.names["en"], small.held_out.tolist(), strict=True) if not held]
    assert int(crowd.trained.sum()) == sum("skin tone" in n for n in seen) + sum(
        n in ("police officer", "construction worker", "detective", "guard") for n in seen
    )
    assert set(crowd.asked) == {"(job)", "woman (job)", "man (job)", "(job): skin tone"}
    assert "firefighter" in crowd.asked["(job)"] and "woman firefighter" in crowd.asked["woman (job)"]


def test_a_folder_of_ones_own_is_told_that_its_names_are_not_known(two: Path) -> None:
    found = own_data.from_folder(CaptionedFolder(two))
    with pytest.raises(ValueError, match="composed: expected emojis or drawings"):
        own_data.composed(found)
    with pytest.raises(ValueError, match="For a folder write down the traits"):
        own_data.crowd_of(found)


ABOUT = {"What": "A net.", "Data": "Ten pictures.", "Licence": "MIT.", "Limits": "Many.", "Not for": "Harm."}


def share(r1: float, r5: float = 0.0) -> dict[str, float]:
    return {"r1": r1, "low": r1 - 0.1, "high": r1 + 0.1, "r5": r5, "n": 40}


def test_the_card_holds_each_measured_figure_once_and_in_its_place() -> None:
    row = {"model": share(0.613, 0.871), "no_text": share(0.011), "untrained": share(0.022)}
    table = {"copy_limit": 0.2, "seen": {"ceiling": share(0.993), "en": row, "frechet_floor": 1.0}}
    copies = {"drawn": {"share": 0.0, "low": -1e-18, "high": 0.055, "n": 1066}}
    text = own_data.model_card("A title", ABOUT, table, copies, {"bare": {"yellow": 0.75, "dark": 0.25}})
    assert text.startswith("### A title\n\n**What.** A net.\n\n**Data.** Ten pictures.\n\n**Licence.** MIT.\n")
    assert "\n| seen | en | 61.3% [51.3%, 71.3%] | 87.1% | 1.1% | 2.2% | 99.3% |\n" in text
    assert "\n- drawn: 0.0% [0.0%, 5.5%] of 1,066\n" in text
    assert "\n- bare: yellow 75%, dark 25%\n" in text
    assert text.endswith("\n**Limits.** Many.\n\n**Not for.** Harm.\n")
    header, rule = text.splitlines()[8:10]
    assert header.count("|") == rule.count("|") == 8


@pytest.mark.parametrize("name", ["Data", "Licence", "Limits", "Not for"])
def test_a_card_that_is_silent_on_what_must_be_told_is_not_written(name: str) -> None:
    with pytest.raises(ValueError, match=f"; {name} has none"):
        own_data.model_card("t", {**ABOUT, name: " "}, {}, {}, {})
