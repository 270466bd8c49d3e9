"""``mmcourse train`` for the repairs: what is written, what its card says, and that the networks are the run's."""

from __future__ import annotations

import copy
import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcourse import checkpoint, inpainting, metrics
from mmcourse.course import cli, training
from mmcourse.inpainting import Inpainter, Recipe, Repairers
from mmcourse.train import TrainConfig

TINY = Recipe(
    width=8,
    mapping=8,
    captions=200,
    alone=TrainConfig(steps=4, batch=4, z=8, gamma=0.0, ema=0.9),
    config=TrainConfig(steps=3, batch=4, z=8, gamma=0.1, ema=0.9),
)
TABLES = {"inpainting": "PROFILES", "inpainting_photographs": "PHOTOGRAPHS", "inpainting_text": "GUIDED"}


def tiny(name: str) -> Recipe:
    source = "photographs" if name == "inpainting_photographs" else "world"
    return replace(TINY, source=source, guided=name == "inpainting_text", help=1.0 * (name == "inpainting_text"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Tiny recipes, and measures on few pictures; the calls of the measures are kept."""
    calls: dict[str, Any] = {"repair": [], "guided": []}
    for name, table in TABLES.items():
        monkeypatch.setitem(getattr(inpainting, table), "quick", tiny(name))

    def few(kind: str, usual: Any, n: int) -> Any:
        @functools.wraps(usual)
        def measure(*args: Any, **more: Any) -> Any:
            calls[kind].append((copy.deepcopy(args[0]), more, args[0].training))
            return usual(*args, **{**more, "n": n})

        return measure

    monkeypatch.setattr(metrics, "measure_repair", few("repair", metrics.measure_repair, 4))
    monkeypatch.setattr(metrics, "measure_guided", few("guided", metrics.measure_guided, 40))
    return calls


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize("name", ["inpainting", "inpainting_photographs"])
def test_two_repairers_are_trained_measured_and_written(
    name: str, quick: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", name, "--profile", "quick", "--seed", "3", "--out", str(tmp_path)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{name}.json", f"{name}.safetensors"]
    pair, card = checkpoint.load(Repairers, tmp_path / name), checkpoint.card(tmp_path / name)
    assert card["name"] == name and card["profile"] == "quick" and card["seed"] == 3
    assert card["command"].startswith(f"mmcourse train {name}") and card["steps"] == {"alone": 4, "game": 3}
    recipe = tiny(name)
    assert card["recipe"] == json.loads(json.dumps(recipe.describe()))
    assert "photograph" in card["data"] if recipe.source == "photographs" else "drawings" in card["data"]
    assert 0 < card["seconds"] <= card["seconds_in_all"] + 0.1
    # the figures: of both networks and of one that has not learnt, the classical ways beside the game
    kinds = {"box", "stroke", "outpaint"} | ({"thing"} if recipe.source == "world" else set())
    assert set(card["figures"]) == {"game", "alone", "untrained"}
    for rows in card["figures"].values():
        assert set(rows) == kinds and all(row["known"] == 1 for row in rows.values())
    assert "telea psnr" in card["figures"]["game"]["box"] and "telea psnr" not in card["figures"]["alone"]["box"]
    untrained, game, alone = quick["repair"]
    assert not any(training_mode for *_, training_mode in quick["repair"]), "measured as it is used"
    assert same(pair.game, game[0]) and same(pair.alone, alone[0])
    assert same(untrained[0], inpainting.prepare(recipe, seed=3)[0])
    assert all(more["seed"] == 3 for _, more, _ in quick["repair"])
    # and the networks: the averages of one run by L1 alone, and of the game that goes on from its weights
    G, D, sample, extra, config = inpainting.prepare(recipe, seed=3)
    *_, first = inpainting.fit_hole(G, sample, replace(recipe.alone, seed=3))
    assert same(pair.alone, first.state.ema)
    *_, last = inpainting.play_repair(G, D, sample, config, extra=extra)
    assert same(pair.game, last.state.ema) and not same(pair.game, pair.alone)
    said = capsys.readouterr().out
    for part in (f"{name}: step 4 of 4, l1", f"{name}: step 3 of 3, d", f"{name}, untrained: box", " dB", "wrote"):
        assert part in said, part


def test_a_guided_repairer_is_trained_measured_and_written(
    quick: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "inpainting_text"
    assert cli.main(["train", name, "--profile", "quick", "--seed", "2", "--out", str(tmp_path)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{name}.json", f"{name}.safetensors"]
    G, card = checkpoint.load(Inpainter, tmp_path / name), checkpoint.card(tmp_path / name)
    assert G.hparams["cond"] == 64 and card["space"] == checkpoint.verify("space")
    assert card["steps"] == {"alone": 4, "game": 3} and card["seed"] == 2
    assert card["recipe"] == json.loads(json.dumps(tiny(name).describe()))
    assert set(card["figures"]) == {"seen", "held_out"} and card["figures"]["seen"]["n"] == 40
    ((measured, more, training_mode),) = quick["guided"]
    assert same(G, measured) and more["seed"] == 3 and not training_mode, "tested on other scenes than it is begun with"
    said = capsys.readouterr().out
    for part in (f"{name}: step 4 of 4, l1", f"{name}: step 3 of 3, d", f"{name}, seen: right", f"{name}, held_out:"):
        assert part in said, part
    z, x, mask = torch.zeros(1, 8), torch.zeros(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    assert G.whiten is not None and not torch.equal(G.whiten.spread, torch.eye(64)), "the whitening is stored too"
    assert G(z, x, mask, torch.ones(1, 64)).shape == (1, 3, 32, 32)


def test_the_same_seed_trains_the_same_repairer(tmp_path: Path) -> None:
    found = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(found))
        path = training.train(
            "inpainting_text", profile="quick", seed=seed, out=tmp_path / folder, say=lambda line: None
        )
        found.append(checkpoint.verify(path))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_cpu_profile_trains_what_is_shipped(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = getattr(inpainting, TABLES[name])
    shipped = replace(tiny(name), alone=replace(TINY.alone, steps=1), config=replace(TINY.config, steps=2))
    monkeypatch.setitem(table, "shipped", shipped)
    monkeypatch.setitem(table, "cpu", None)
    path = training.train(name, profile="cpu", seed=0, out=tmp_path, say=lambda line: None)
    card = checkpoint.card(path)
    assert card["steps"] == {"alone": 1, "game": 2} and card["profile"] == "cpu"


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_run_that_diverges_writes_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sick = replace(tiny(name), config=replace(TINY.config, lr=1e30))
    monkeypatch.setitem(getattr(inpainting, TABLES[name]), "quick", sick)
    assert cli.main(["train", name, "--profile", "quick", "--out", str(tmp_path)]) == 2
    assert "a loss is not finite" in capsys.readouterr().err and list(tmp_path.iterdir()) == []
