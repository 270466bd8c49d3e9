"""``mmcourse train`` for captioned pictures: what is written and what its card says, on the world's own pictures."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcourse import captioned, checkpoint, emojis, world
from mmcourse.course import training, training_pairs
from mmcourse.finder import Finder
from mmcourse.inpainting import Inpainter
from mmcourse.text2image import Generator

REAL = emojis.emoji_set
TINY = captioned.Recipe(
    width=8,
    mapping=16,
    space=captioned.SpaceConfig(steps=6, batch=8, words=120, text_width=16),
    warm_up=5,
    warm_batch=8,
    config=captioned._run(3, batch=4, ema=0.9),
)


def drawings(n: int = 40) -> emojis.Emojis:
    """The world's pictures in the place of emojis: no font is needed."""
    g = torch.Generator().manual_seed(0)
    labels = torch.unique(world.sample_labels(5 * n, g, objects=(1,)), dim=0)[:n]
    names = {k: [world.say(r, k, random.Random(0), plain=True) for r in labels.tolist()] for k in ("en", "zh")}
    report = emojis.EmojiReport("none", "0", 32, n, n, {}, [], n // 8)
    held = torch.arange(n) % 8 == 0
    return emojis.Emojis(world.draw(world.place(labels, g)), names, names["en"], held, torch.arange(n), report)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emojis, "emoji_set", lambda *args, **more: drawings())
    monkeypatch.setitem(captioned.PROFILES, "quick", TINY)
    monkeypatch.setitem(training_pairs.FINDER_STEPS, "quick", 3)
    monkeypatch.setitem(training_pairs.HOLES, "quick", (3, 8))


def train(name: str, out: Path) -> dict[str, Any]:
    said: list[str] = []
    path = training.train(name, profile="quick", seed=1, out=out, command="mmcourse train x", say=said.append)
    assert path == out / f"{name}.safetensors" and len(said) > 2
    return dict(json.loads((out / f"{name}.json").read_text(encoding="utf-8")))


def test_all_four_are_trained_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finder = train("emoji_finder", tmp_path)
    assert finder["figures"]["mild"]["n"] == 40 and checkpoint.load(Finder, tmp_path / "emoji_finder")
    space = train("emoji_space", tmp_path)
    assert set(space["figures"]) == {"seen", "held_out"} and space["pictures"] == 40
    monkeypatch.setenv("MMCOURSE_CHECKPOINTS", str(tmp_path))  # its own finder measures it
    card = train("emoji", tmp_path)
    mine = checkpoint.verify(tmp_path / "emoji_space")
    assert card["space"] == mine, "the space beside it is taken, not the shipped one"
    assert card["recipe"] == json.loads(json.dumps(TINY.describe())) and card["steps"] == 3
    for split, n in (("seen", 35), ("held_out", 5)):
        for language in ("en", "zh"):
            row = card["figures"][split][language]
            assert {k: row[k]["n"] for k in ("model", "no_text", "untrained")} == dict.fromkeys(row, n)
            assert 0 <= row["model"]["near_copies"]["share"] <= 1
    assert checkpoint.load(Generator, tmp_path / "emoji").hparams["width"] == 8
    weights = checkpoint.verify(tmp_path / "emoji")
    training.measure_again(tmp_path, "emoji", say=lambda line: None)
    again = checkpoint.card(tmp_path / "emoji")
    assert again["figures"] == card["figures"] and "after_warm_up" in card and "after_warm_up" not in again
    assert checkpoint.verify(tmp_path / "emoji") == weights
    holes = train("emoji_inpainting", tmp_path)
    assert set(holes["figures"]["seen"]) == {"en", "zh", "nothing", "another", "another_found", "unfilled"}
    assert checkpoint.load(Inpainter, tmp_path / "emoji_inpainting").hparams["cond"] == 64


def test_a_run_repeats(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        train("emoji_space", tmp_path / folder)
        train("emoji", tmp_path / folder)
    for name in ("emoji_space", "emoji"):
        assert checkpoint.verify(tmp_path / "a" / name) == checkpoint.verify(tmp_path / "b" / name)


def test_a_missing_font_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmcourse.course import cli

    def missing(*args: object, **more: object) -> emojis.Emojis:
        raise emojis.EmojiFontMissing(f"There is no colour emoji font here. Run: {emojis.INSTALL}")

    monkeypatch.setattr(emojis, "emoji_set", missing)
    assert cli.main(["train", "emoji_space", "--profile", "quick", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert emojis.INSTALL in error and error.count("\n") == 1 and not list(tmp_path.glob("*.safetensors"))


def test_the_shipped_models_belong_together_and_are_as_good_as_was_asked() -> None:
    cards = {name: checkpoint.card(name) for name in ("emoji", "emoji_space", "emoji_finder", "emoji_inpainting")}
    digest = checkpoint.verify("emoji_space")
    assert cards["emoji"]["space"] == cards["emoji_inpainting"]["space"] == digest
    figures = cards["emoji"]["figures"]
    for language in ("en", "zh"):
        assert figures["seen"][language]["model"]["r1"] >= 0.6
        assert figures["held_out"][language]["model"]["r1"] >= 0.35
        assert figures["seen"][language]["no_text"]["r1"] < 0.01
    seen = [figures["seen"][language]["model"]["r1"] for language in ("en", "zh")]
    assert abs(seen[0] - seen[1]) <= 0.03
    sizes = [checkpoint.find(name).stat().st_size for name in ("emoji", "emoji_space")]
    assert sum(sizes) <= 12e6


def test_a_shipped_generator_draws_what_its_card_says() -> None:
    """Found again by the finder, among all emojis, on this machine: a small part of what the card's figures count."""
    found = emojis_of_this_machine()
    from mmcourse.retrieval import measure_pairs

    space, G = checkpoint.load(captioned.PairSpace, "emoji_space"), checkpoint.load(Generator, "emoji")
    painter = captioned.PairPainter(space, G)
    table = measure_pairs(
        painter.draw,
        painter.draw_blank,
        painter.draw_blank,
        checkpoint.load(Finder, "emoji_finder"),
        found.pictures,
        found.names,
        found.held_out,
        found.same,
        n=100,
    )
    assert table["seen"]["en"]["model"]["r1"] > 0.85 and table["held_out"]["en"]["model"]["r1"] > 0.5
    assert table["seen"]["en"]["no_text"]["r1"] < 0.05


def emojis_of_this_machine() -> emojis.Emojis:
    try:
        font = emojis.find_font()
    except emojis.EmojiFontMissing as error:
        pytest.skip(str(error))
    if "Noto" not in font.name:
        pytest.skip("the shipped models know Noto's emojis")
    return REAL(32)


def test_profiles_are_recipes() -> None:
    assert replace(captioned.PROFILES["gpu"], warm_up=1).describe()["warm_up"] == 1
