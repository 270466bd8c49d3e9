"""The pure step is the loop's step: the same draws give the same losses, weights and moments."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmcourse import cgan, fast, gan, image2image, ranks, text2image, train
from mmcourse.checkpoint import load
from mmcourse.encoders import Space
from mmcourse.pictures import labelled
from mmcourse.train import Batch, Diverged, State, TrainConfig

STEPS = 19  # penalties at 1, 9 and 17; two runs of eight and three single steps


@pytest.fixture
def double() -> Iterator[None]:
    """Sixty-four bits, in which rounding cannot hide a difference."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def text_to_image(steps: int = STEPS) -> tuple[Any, ...]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        G, D = text2image.Generator(width=4, mapping=12), text2image.Discriminator(width=4, features=16)

    def sample(g: torch.Generator, step: int) -> Batch:
        draw = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
        return Batch(draw(4, 3, 32, 32).tanh(), draw(4, 64), draw(4, 64))

    def extra(fake: Tensor, batch: Batch, progress: Any) -> Tensor:
        return train.falling(2.0, progress, 0.5) * (fake - batch.real).abs().mean()

    return G, D, sample, extra, TrainConfig(steps=steps, batch=4, gamma=0.2, calm=0.5, ema=0.9)


def noise_alone(steps: int = STEPS) -> tuple[Any, ...]:
    G, D, sample, config = gan.prepare(labelled("digits"), gan.Recipe(width=4, d_width=4))
    config = replace(config, steps=steps, reg_every=4, betas=(0.5, 0.9), game="non_saturating", mismatch=0.0)
    own = lambda g, i: Batch(sample(g, i).real[:4].to(torch.get_default_dtype()))  # noqa: E731
    return G, D, own, None, config


def drawing_to_picture(steps: int = STEPS) -> tuple[Any, ...]:
    recipe = image2image.Recipe(width=4, config=TrainConfig(steps=steps, batch=3, z=1, gamma=0.01, reg_every=1))
    G, D, sample, extra, config = image2image.prepare(recipe)
    kind = torch.get_default_dtype()

    def own(g: torch.Generator, i: int) -> Batch:
        torch.set_default_dtype(torch.float32)  # the world is drawn in single precision
        batch = sample(g, i)
        torch.set_default_dtype(kind)
        return Batch(*(None if t is None else t.to(kind) for t in batch))

    return G, D, own, extra, config


GAMES = {"text to image": text_to_image, "noise alone": noise_alone, "drawing to picture": drawing_to_picture}


def played(parts: tuple[Any, ...], how: str, kind: torch.dtype = torch.float32, **more: Any) -> tuple[list, State]:
    G, D, sample, extra, config = parts
    state = State.start(G.to(kind), D.to(kind), config)
    steps = list(fast.play(G, D, sample, config, state=state, extra=extra, how=how, half=False, **more))
    assert [step.number for step in steps] == list(range(1, config.steps + 1)) and state.step == config.steps
    return [step.losses for step in steps], state


def assert_same(one: tuple[list, State], other: tuple[list, State], within: float) -> None:
    for i, (a, b) in enumerate(zip(one[0], other[0], strict=True)):
        for name in ("d", "penalty", "g", "extra"):
            assert b[name] == pytest.approx(a[name], rel=within, abs=within), (i, name)
    a, b = (state._tensors() for _, state in (one, other))
    assert set(a) == set(b)
    for name in a:
        torch.testing.assert_close(b[name], a[name], rtol=within, atol=within, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("game", GAMES)
def test_the_pure_step_is_the_loops(game: str, double: None) -> None:
    one = played(GAMES[game](), "loop", torch.float64)
    assert sum(row["penalty"] > 0 for row in one[0]) >= 3, "some steps have a penalty"
    first = [p.detach().clone() for p in GAMES[game]()[0].to(torch.float64).parameters()]
    assert any((a - b).abs().max() > 1e-3 for a, b in zip(first, one[1].G.parameters(), strict=True)), "it moves"
    assert_same(one, played(GAMES[game](), "eager", torch.float64), 1e-9)


def test_the_real_recipe_in_single_precision() -> None:
    """The recipe of the shipped model: real captions, twins, the frozen tower's help."""
    space, out = load(Space, "space"), []
    recipe = replace(text2image.PROFILES["gpu"], captions=100, pairs=2, width=8)
    recipe = replace(recipe, config=replace(recipe.config, steps=9, batch=8))
    for how in ("loop", "eager"):
        G, D, sample, extra, config = text2image.prepare(space, recipe)
        out.append(played((G, D, sample, extra, config), how)[0])
    assert out[0][0]["extra"] != 0
    for i, (a, b) in enumerate(zip(*out, strict=True)):
        for name in a:
            assert b[name] == pytest.approx(a[name], rel=1e-3 if i == 0 else 3e-2, abs=1e-4), (i, name)


class InsteadOfAGraph:
    """On a CPU there is no CUDA graph: what would be captured is run."""

    def __init__(self, engine: Any):
        self.replay = engine._run_whole


@pytest.fixture
def as_if_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    make = fast._Engine.__init__

    def engine(self: Any, state: Any, sample: Any, extra: Any, how: str, half: bool) -> None:
        make(self, state, sample, extra, how, half)
        self.numbers, self.graph = self._numbers(range(self.run)), InsteadOfAGraph(self)

    monkeypatch.setattr(fast._Engine, "__init__", engine)


@pytest.mark.parametrize("game", GAMES)
def test_eight_steps_at_once_are_eight_steps(game: str, double: None, as_if_captured: None) -> None:
    one = played(GAMES[game](), "loop", torch.float64)  # the loop has no engine
    assert_same(one, played(GAMES[game](), "eager", torch.float64), 1e-9)


def test_steps_come_one_by_one_and_the_state_is_ahead(as_if_captured: None) -> None:
    G, D, sample, extra, config = text_to_image(18)
    seen = [(s.number, s.state.step) for s in fast.play(G, D, sample, config, extra=extra, how="eager")]
    assert seen == [*((k, 8) for k in range(1, 9)), *((k, 16) for k in range(9, 17)), (17, 17), (18, 18)]


def test_a_run_that_was_stopped_goes_on_in_the_other_form(tmp_path: Any, double: None) -> None:
    whole = played(text_to_image(12), "loop", torch.float64)
    for before, after in (("loop", "eager"), ("eager", "loop")):
        G, D, sample, extra, config = text_to_image(12)
        state = State.start(G.double(), D.double(), config)
        for step in fast.play(G, D, sample, config, state=state, extra=extra, how=before):
            if step.number == 5:
                break
        state.save(tmp_path / before)
        G, D, sample, extra, config = text_to_image(12)
        state = State.start(G.double(), D.double(), config).load(tmp_path / before)
        losses = [s.losses for s in fast.play(G, D, sample, config, state=state, extra=extra, how=after)]
        assert_same((whole[0][5:], whole[1]), (losses, state), 1e-9)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_loss_that_is_not_finite_touches_nothing(ahead: bool, request: pytest.FixtureRequest) -> None:
    if ahead:
        request.getfixturevalue("as_if_captured")
    G, D, sample, extra, config = text_to_image()
    poisoned: list[int] = []

    def broken(g: torch.Generator, step: int | None) -> Batch:
        batch = sample(g, step)
        poisoned.append(1)
        return Batch(batch.real * math.nan, batch.cond, batch.wrong) if len(poisoned) == 11 else batch

    state = State.start(G, D, config)
    run = fast.play(G, D, broken, config, state=state, extra=extra, how="eager")
    kept = None
    with pytest.raises(Diverged, match=f"Step 11: .*as they were after step {8 if ahead else 10}") as error:
        for _ in run:
            kept = {k: v.clone() for k, v in state._tensors().items()}
    assert error.value.step == 11 and state.step == (8 if ahead else 10)
    assert kept is not None and all(torch.equal(kept[k], v) for k, v in state._tensors().items())


@pytest.mark.parametrize("penalty", [False, True])
def test_the_whole_step_is_one_graph_of_tensor_operations(penalty: bool, double: None) -> None:
    G, D, sample, extra, config = text_to_image()
    state = State.start(G.double(), D.double(), config)
    engine = fast._Engine(state, sample, extra, "eager", False)
    step = fast.pure_step(G, D, config, extra, penalty=penalty)
    numbers = engine._numbers([0])[0]
    traced = fast.trace(step, engine.weights, engine._draw(0), numbers)
    for i in (0, 3):  # other draws and numbers than those it was traced with
        draws, numbers = engine._draw(i), engine._numbers([i])[0]
        (want, losses), (got, other) = step(engine.weights, draws, numbers), traced(engine.weights, draws, numbers)
        torch.testing.assert_close(other, losses)
        for a, b in zip(want, got, strict=True):
            torch.testing.assert_close(b, a)
    names = {str(node.target) for node in traced.graph.graph.nodes if node.op == "call_function"}
    assert "aten.convolution_backward.default" in names and all(
        n.startswith(("aten", "_operator", "<built")) for n in names
    )


def test_it_compiles_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the making of machine code, which takes minutes on a CPU (see the slow test)."""
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: compile_(*a, **{**k, "backend": "aot_eager"}))
    said: list[Any] = []
    monkeypatch.setattr("builtins.print", lambda *a: said.append(a))
    parts = played(text_to_image(10), "loop"), played(text_to_image(10), "compiled")
    assert said == [], "nothing fell back"
    assert_same(*parts, 3e-3)


def test_the_real_recipe_is_one_graph_too() -> None:
    """With the frozen tower in it, twins, and 64x64 pixels."""
    recipe = replace(text2image.PROFILES["gpu"], captions=60, pairs=2, width=4)
    recipe = replace(recipe, config=replace(recipe.config, batch=4))
    G, D, sample, extra, config = text2image.prepare(load(Space, "space"), recipe)
    engine = fast._Engine(State.start(G, D, config), sample, extra, "eager", True)
    for kind, step in engine.steps.items():
        draws, numbers = engine._draw(0), engine._numbers([5])[0]
        traced = fast.trace(step, engine.weights, draws, numbers)
        draws = engine._draw(1)
        (want, losses), (got, other) = step(engine.weights, draws, numbers), traced(engine.weights, draws, numbers)
        torch.testing.assert_close(other, losses, rtol=1e-3, atol=1e-3)
        for a, b in zip(want.G + want.D, got.G + got.D, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-4)
        assert losses[3] != 0 and bool(losses[1]) == kind


def test_moments_are_laid_out_as_their_weights() -> None:
    G, D, sample, extra, config = text_to_image(2)
    state = State.start(G, D, config)
    list(fast.play(G, D, sample, config, state=state, extra=extra, how="loop"))
    before = {k: v.clone() for k, v in state._tensors().items()}
    G.to(memory_format=torch.channels_last)
    weights = fast.weights_of(state)
    for kind in (weights.g_mean, weights.g_square):
        assert [m.stride() for m in kind] == [p.stride() for p in weights.G]
    assert all(torch.equal(v, before[k]) for k, v in state._tensors().items())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs g++")
def test_it_compiles_to_machine_code(capsys: pytest.CaptureFixture[str]) -> None:
    parts = played(text_to_image(10), "loop"), played(text_to_image(10), "compiled")
    assert capsys.readouterr().out == ""
    assert_same(*parts, 3e-3)


def test_low_precision_is_for_convolutions_alone() -> None:
    G, D, sample, extra, config = text_to_image()
    engine = fast._Engine(State.start(G, D, config), sample, extra, "eager", False)
    draws, numbers = engine._draw(0), engine._numbers([0])[0]
    kinds: dict[bool, list[torch.dtype]] = {}
    for penalty in (False, True):
        step = fast.pure_step(G, D, config, extra, penalty=penalty, half=True)
        traced = fast.trace(step, engine.weights, draws, numbers)
        calls = [n for n in traced.graph.graph.nodes if str(n.target) == "aten.convolution.default"]
        kinds[penalty] = [n.meta["tensor_meta"].dtype for n in calls]
        new, losses = traced(engine.weights, draws, numbers)
        assert losses.dtype == torch.float32 and all(t.dtype == torch.float32 for part in new for t in part)
        exact = fast.pure_step(G, D, config, extra, penalty=penalty)(engine.weights, draws, numbers)[1]
        torch.testing.assert_close(losses[:2], exact[:2], rtol=0.02, atol=0.02)
        assert not torch.equal(losses, exact)
    assert set(kinds[False]) == {torch.bfloat16}
    assert torch.float32 in kinds[True], "the penalty stays in float32"


def test_what_cannot_be_traced_falls_back_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def reads(fake: Tensor, batch: Batch, progress: Any) -> Tensor:
        return float(progress) * fake.mean()  # a graph of tensors cannot hold a number that it has yet to compute

    G, D, sample, _, config = text_to_image(9)
    want = played((G, D, sample, reads, config), "loop")
    G, D, sample, _, config = text_to_image(9)
    capsys.readouterr()
    got = played((G, D, sample, reads, config), "compiled")
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and "could not be made compiled" in said[0] and "the readable loop goes on" in said[1]
    assert_same(want, got, 0)


def test_without_a_card_it_is_the_loop() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    assert_same(played(text_to_image(5), "loop"), played(text_to_image(5), "auto"), 0)


def test_other_words_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    G, D, sample, _, config = text_to_image()
    with pytest.raises(ValueError, match="how: expected one of auto, loop, eager"):
        next(fast.play(G, D, sample, config, how="quick"))
    with pytest.raises(ValueError, match='"captured" needs the networks on a CUDA card, they are on cpu'):
        next(fast.play(G, D, sample, config, how="captured"))
    monkeypatch.setattr(ranks, "world", lambda: 2)
    with pytest.raises(ValueError, match='"eager" is for one process, 2 play here'):
        next(fast.play(G, D, sample, config, how="eager"))


class NoWaiting(TorchDispatchMode):
    """Refuses what would make a card wait for the processor, or carry something to it, inside a captured step."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "randperm", "lift_fresh", "unique", "bincount")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).split(".")[1]
        assert name not in self.FORBIDDEN, f"{func} waits for the card"
        if name.startswith("index"):
            rows = [i for i in (args[1] if isinstance(args[1], list | tuple) else []) if isinstance(i, Tensor)]
            assert all(i.dtype != torch.bool for i in rows), f"{func} by a mask waits for the card"
        return func(*args, **(kwargs or {}))


def test_the_guard_sees_what_waits() -> None:
    x = torch.arange(4.0)
    for waits in (lambda: x[x > 1], lambda: float(x[0]), lambda: torch.randperm(3), lambda: torch.tensor([1.0])):
        with pytest.raises(AssertionError, match="waits for the card"), NoWaiting():
            waits()


@pytest.mark.parametrize("chapter", ["text2image", "gan", "cgan"])
def test_drawing_a_batch_and_a_step_never_wait(chapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # torch's one_hot checks its labels on a CPU, and leaves that to the scatter on a card, where it does not wait
    monkeypatch.setattr(cgan, "one_hot", lambda y, n: torch.zeros(len(y), n).scatter(1, y[:, None], 1.0))
    if chapter == "text2image":
        recipe = replace(text2image.PROFILES["gpu"], captions=60, width=4, pairs=2)
        recipe = replace(recipe, config=replace(recipe.config, batch=8))
        G, D, sample, extra, config = text2image.prepare(load(Space, "space"), recipe)
    else:
        module: Any = {"gan": gan, "cgan": cgan}[chapter]
        recipe = replace(module.PROFILES["quick"], width=4, d_width=4)
        (G, D, sample, config), extra = module.prepare(labelled("digits"), recipe), None
    assert isinstance(G, nn.Module)
    engine = fast._Engine(State.start(G, D, config), sample, extra, "eager", True)
    numbers = engine._numbers([0])[0]
    engine._draw(None)  # constants are carried to the device once
    with NoWaiting(), torch.no_grad():
        draws = engine._draw(None)
        for step in engine.steps.values():
            step(engine.weights, draws, numbers)


class StandInGraph:
    """Where there is no card: keeps nothing of what runs while it is "captured", and runs it when it is replayed."""

    made: list[StandInGraph] = []

    def __init__(self) -> None:
        self.random: list[torch.Generator] = []
        self.made.append(self)

    def register_generator_state(self, rng: torch.Generator) -> None:
        self.random.append(rng)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type[StandInGraph]:
    run_whole = fast._Engine._run_whole

    def captured_or_not(self: Any) -> None:
        graph = StandInGraph.made[-1]
        if hasattr(graph, "replay"):
            return run_whole(self)
        graph.replay = self._run_whole  # type: ignore[attr-defined]
        self.losses = torch.full((self.run, 4), math.nan)  # nothing has run yet
        return None

    modes = ["default"]
    side = SimpleNamespace(wait_stream=lambda other: None)
    for name, value in {
        "CUDAGraph": StandInGraph,
        "graph": lambda graph: contextlib.nullcontext(),
        "Stream": lambda: side,
        "stream": lambda stream: contextlib.nullcontext(),
        "current_stream": lambda: side,
        "synchronize": lambda: None,
        "get_sync_debug_mode": lambda: modes[-1],
        "set_sync_debug_mode": modes.append,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(fast._Engine, "_run_whole", captured_or_not)
    monkeypatch.setattr(StandInGraph, "made", [])
    return StandInGraph


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("game", GAMES)
def test_what_is_captured_is_the_game(
    game: str, inside: bool, stand_in: type[StandInGraph], double: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of the capturing but the card: warming up, registering, batches within the graph or drawn before it."""
    want, end = played(GAMES[game](), "loop", torch.float64)
    G, D, sample, extra, config = GAMES[game]()
    state = State.start(G.double(), D.double(), config)

    def picky(g: torch.Generator, step: int | None) -> Batch:
        if step is None and not inside:
            raise RuntimeError("called a synchronizing CUDA operation")
        return sample(g, step)

    engine = fast._Engine(state, picky, extra, "graphed", False)
    said = capsys.readouterr().out
    assert ("drawn outside the graph (RuntimeError: called a synchronizing" in said) == (not inside)
    assert len(stand_in.made) == 1 and stand_in.made[0].random == ([state.rng] if inside else [])
    got = []
    while state.step < config.steps:
        got += engine.go()
    assert_same((want, end), (got, state), 1e-9)


def test_a_capture_that_fails_inside_is_tried_without_the_batches(
    stand_in: type[StandInGraph], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(self: StandInGraph, rng: torch.Generator) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(StandInGraph, "register_generator_state", refuses)
    G, D, sample, extra, config = text_to_image()
    engine = fast._Engine(State.start(G, D, config), sample, extra, "graphed", False)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "outside the graph (RuntimeError: operation not permitted when stream" in said
    assert engine.draws is not None and len(engine.go()) == 8
