"""What needs a CUDA card; skipped, with the reason, on a machine without one."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT

from benchmarks import trace
from benchmarks.updates import updates
from mmcourse import cgan, encoders, fast, gan, hearing, image2image, inpainting, metrics, text2image, world
from mmcourse.checkpoint import load
from mmcourse.data import caption_batch, caption_set, vocabulary
from mmcourse.encoders import Space
from mmcourse.features import feature_steps
from mmcourse.finder import finder_steps
from mmcourse.judge import Judge, judge_steps
from mmcourse.pictures import digits
from mmcourse.text2image import Painter, Recipe, encoder, prepare
from mmcourse.train import State, Step, TrainConfig, play

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")]


def test_the_world_draws_the_same_on_the_card() -> None:
    scenes = world.sample_scenes(64, torch.Generator().manual_seed(0))
    torch.testing.assert_close(world.draw(scenes.to("cuda")).cpu(), world.draw(scenes), atol=1e-4, rtol=0)
    on_card = world.sample_scenes(64, torch.Generator("cuda").manual_seed(0))
    assert world.draw(on_card).device.type == "cuda"


def test_a_short_training_on_the_card_learns() -> None:
    space, judge = load(Space, "space"), load(Judge, "judge")
    config = TrainConfig(steps=200, batch=32, gamma=0.05, ema=0.9)
    G, D, sample, extra, config = prepare(space, Recipe(captions=1000, config=config), device="cuda")
    *_, last = play(G, D, sample, config, extra=extra)
    asked = caption_set(200, objects=(1,), seed=5)
    pictures = Painter(space, last.state.ema).draw(asked.captions, torch.Generator().manual_seed(1))
    assert pictures.device.type == "cpu"
    assert metrics.caption_accuracy(judge, pictures, asked.statements)["colour"] > 0.5


# ---- the fast twin

#: Its rate is low: at the usual one a difference of rounding grows tenfold in ten steps.
SMALL = Recipe(captions=500, help=1.0, config=TrainConfig(steps=64, batch=16, lr=1e-4, gamma=0.1, ema=0.9))


def played(how: str, steps: int, **more: Any) -> tuple[list[dict[str, float]], State]:
    """The losses of some steps from the same weights and the same random source, and the state after them."""
    G, D, sample, extra, config = prepare(load(Space, "space"), SMALL, device="cuda")
    state = State.start(G, D, config)
    run = fast.play(G, D, sample, config, state=state, extra=extra, how=how, **more)
    return [next(run).losses for _ in range(steps)], state


@pytest.mark.parametrize("how", ["eager", "compiled", "graphed", "captured"])
def test_the_fast_step_is_the_loops_step(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same draws give the same losses, within what reduced products and another order of sums can change."""
    was, _ = played("loop", 16)
    now, state = played(how, 16, half=False)
    assert "mmcourse.fast" not in capsys.readouterr().out, "it fell back"
    assert state.step == 16
    for k, (a, b) in enumerate(zip(was, now, strict=True)):
        assert b == pytest.approx(a, rel=0.04, abs=0.01), f"step {k + 1}"


def test_a_captured_run_plays_eight_steps_at_once_and_learns() -> None:
    losses, state = played("captured", 1)
    assert state.step == 8 and len(losses) == 1
    before = [p.clone() for p in state.G.parameters()]
    losses, state = played("captured", 64)
    assert state.step == 64 and all(math.isfinite(v) for row in losses for v in row.values())
    assert all(float(slot["step"]) == 64 for slot in state.opt_g.state.values())
    assert any(not torch.equal(a, b) for a, b in zip(before, state.G.parameters(), strict=True))
    assert losses[0]["penalty"] > 0 and losses[8]["penalty"] > 0 and losses[1]["penalty"] == 0


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Whatever makes the processor wait for the card raises an error."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


def test_the_sync_test_sees_a_wait(no_waiting: None) -> None:
    x = torch.ones(3, device="cuda")
    with pytest.raises(RuntimeError, match="synchroniz"):
        x.sum().item()


@pytest.mark.parametrize("penalty", [False, True])
def test_inside_a_step_nothing_waits_for_the_card(penalty: bool) -> None:
    G, D, sample, extra, config = prepare(load(Space, "space"), SMALL, device="cuda")
    state = State.start(G, D, config)
    step = fast.pure_step(G, D, config, extra, penalty=penalty, half=True)
    weights, rng = fast.weights_of(state), state.rng
    numbers = torch.tensor(fast.numbers_at(config, 0), device="cuda")

    def once() -> torch.Tensor:
        batch = sample(rng, 0)
        z = torch.randn(16, config.z, generator=rng, device="cuda")
        assert batch.cond is not None and batch.wrong is not None
        return step(weights, [batch.real, z, batch.cond, batch.wrong], numbers)[1]

    once()  # libraries are loaded and tables carried over
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = once()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert bool(losses.isfinite().all())


def test_a_trace_of_the_card_is_read() -> None:
    run = updates(SMALL, device="cuda")
    for _ in range(8):
        next(run)
    table = trace.read_trace(trace.record(lambda: next(run), 8, device="cuda"), device="cuda")
    assert 0 < table["idle"]["share"] < 1 and table["idle"]["largest"]["us"] > 0
    assert sum(row["share"] for row in table["kinds"].values()) + table["idle"]["share"] == pytest.approx(1, abs=0.01)
    assert {"convolution, forward", "convolution, backward", "drawing"} <= set(table["kinds"])


# ---- every chapter in its gpu profile


def text() -> Iterator[Step]:
    parts = text2image.prepare(load(Space, "space"), replace(text2image.PROFILES["gpu"], captions=500), device="cuda")
    G, D, sample, extra, config = parts
    return play(G, D, sample, config, extra=extra)


def pairs(recipe: image2image.Recipe) -> Iterator[Step]:
    G, D, sample, extra, config = image2image.prepare(recipe, device="cuda")
    return play(G, D, sample, config, extra=extra)


def repair(recipe: inpainting.Recipe, *, alone: bool = False) -> Iterator[Step]:
    space = load(Space, "space")
    few = replace(recipe, captions=500) if recipe.guided else recipe
    G, D, sample, extra, config = inpainting.prepare(
        few, space=space, encode=encoder(space, vocabulary()), device="cuda"
    )
    if alone:
        return inpainting.fit_hole(G, sample, recipe.alone)
    return inpainting.play_repair(G, D, sample, config, extra=extra)


RUNS = {
    "gan": lambda: play(*gan.prepare(digits(), gan.PROFILES["gpu"], device="cuda")),
    "cgan": lambda: play(*cgan.prepare(digits(), cgan.PROFILES["gpu"], device="cuda")),
    "text2image": text,
    "image2image": lambda: pairs(image2image.PROFILES["gpu"]),
    "image2image, photographs": lambda: pairs(image2image.PHOTOGRAPHS["gpu"]),
    "inpainting": lambda: repair(inpainting.PROFILES["gpu"]),
    "inpainting, alone": lambda: repair(inpainting.PROFILES["gpu"], alone=True),
    "inpainting, photographs": lambda: repair(inpainting.PHOTOGRAPHS["gpu"]),
    "inpainting, guided": lambda: repair(inpainting.GUIDED["gpu"]),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_chapters_gpu_profile_takes_steps_on_the_card(name: str) -> None:
    run = RUNS[name]()
    for _ in range(9):  # two of them with the penalty
        step = next(run)
        assert all(math.isfinite(v) for v in step.losses.values())
    assert step.number == 9 and next(step.state.G.parameters()).device.type == "cuda"


def space_alone() -> Iterator[tuple[Any, ...]]:
    g, rng, words = torch.Generator().manual_seed(0), random.Random(0), vocabulary()
    config = encoders.PROFILES["gpu"]
    space = Space(words=len(words), **encoders.PROFILES["gpu"].size).to("cuda")
    return encoders.align(space, lambda: caption_batch(config.batch, g, rng, words), config)


def ear_alone() -> Iterator[tuple[Any, ...]]:
    encode, G = encoder(load(Space, "space"), vocabulary()), load(text2image.Generator, "text2image")
    recipe = replace(hearing.PROFILES["gpu"], sounds=200)
    tower, _, loss, config = hearing.prepare(encode, [G.whiten], recipe)
    return hearing.fit(tower.to("cuda"), loss, config)


ALONE: dict[str, Callable[[], Iterator[tuple[Any, ...]]]] = {
    "judge": lambda: judge_steps(steps=9, device="cuda"),
    "features": lambda: feature_steps([digits()], steps=9, device="cuda"),
    "finder": lambda: finder_steps(torch.rand(64, 3, 32, 32) * 2 - 1, steps=9, device="cuda"),
    "space": space_alone,
    "ear": ear_alone,
}


@pytest.mark.parametrize("name", ALONE)
def test_a_network_without_an_opponent_takes_steps_on_the_card(name: str) -> None:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run = ALONE[name]()
    losses = [next(run)[1] for _ in range(3)]
    assert all(math.isfinite(v) for v in losses) and torch.cuda.max_memory_allocated() > before


# ---- the script that measures a card


def test_the_script_for_a_card_runs_every_part_in_small(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(tmp_path), "--tiny", "--minutes", "9"]
    out = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert out.returncode == 0, out.stderr[-2000:]
    tables = {p.stem.removesuffix("_tiny"): json.loads(p.read_text(encoding="utf-8")) for p in tmp_path.glob("*.json")}
    assert {name: table["error"] for name, table in tables.items() if "error" in table} == {}
    assert all(table["machine"]["gpu"] for table in tables.values())
    assert all("error" not in row and "said" not in row for row in tables["step"]["rows"])
