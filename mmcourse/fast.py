"""The game of ``train.play`` for a card: the same step, pure, compiled whole and captured (lesson 09).

    from mmcourse.fast import play
    for step in play(G, D, sample, config, extra=extra):
        ...

On a CPU this is ``train.play`` itself. On a CUDA card the step is written once more, as a function of tensors alone:
weights, moments, a batch, noise and six numbers go in, new weights and the losses come out. That function can be traced
into one graph, both gradients and the penalty's double gradient included, and compiled; eight steps in a row, of which
one has the penalty, are then captured as one CUDA graph, so that the processor starts one thing where it started
thousands. Convolutions run in bfloat16; logits, penalties, moments and averages stay in float32. A test holds this
step to the loop's, loss by loss. Where something cannot be compiled or captured, one line says so and the loop goes on.
"""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mmcourse import ranks, train
from mmcourse.checks import expect_one_of
from mmcourse.losses import game, gradient_penalty_at
from mmcourse.train import Batch, Diverged, Extra, Sample, State, Step, TrainConfig, hold_interrupts

HOW = ("auto", "loop", "eager", "compiled", "graphed", "captured")
LOSSES = ("d", "penalty", "g", "extra")
RUN = 8  # about as many steps are captured together


class Weights(NamedTuple):
    """All that a step changes: lists of tensors, one a parameter."""

    G: list[Tensor]
    D: list[Tensor]
    ema: list[Tensor]
    g_mean: list[Tensor]
    g_square: list[Tensor]
    d_mean: list[Tensor]
    d_square: list[Tensor]


Pure = Callable[[Weights, list[Tensor], Tensor], tuple[Weights, Tensor]]


class _Asked(nn.Module):
    """A discriminator of which ``functional_call`` can ask any method by name."""

    def __init__(self, D: nn.Module):
        super().__init__()
        self.D = D

    def forward(self, how: str, *args: Tensor | None) -> Tensor:
        out: Tensor = getattr(self.D, how)(*args)
        return out


def play(
    G: nn.Module,
    D: Any,
    sample: Sample,
    config: TrainConfig,
    *,
    state: State | None = None,
    extra: Extra | None = None,
    how: str = "auto",
    half: bool | None = None,
) -> Iterator[Step]:
    """``train.play`` with the same arguments and the same steps, faster on a CUDA card.

    ``how``: "eager" (the pure step as it stands), "compiled", "graphed" (captured as it stands), "captured" (compiled
    and captured) or "loop" (``train.play`` itself). "auto" is "captured" where one process plays on a card, and "loop"
    everywhere else. ``half`` runs convolutions in bfloat16, by default where the step is captured.

    Captured steps come eight at a time: ``step.number`` and ``step.losses`` are those of each, and ``step.state`` is up
    to seven steps further. ``extra`` gets its progress as a 0-dim tensor. ``D`` and ``sample`` must not change anything
    but the random source that they are given. Raises ``Diverged`` as ``train.play`` does, ``ValueError`` on another
    word, without a card, or where several processes play.
    """
    expect_one_of(how, HOW, name="how")
    device = next(G.parameters()).device
    if how == "auto":
        how = "captured" if device.type == "cuda" and ranks.world() == 1 else "loop"
    onto_card = how in ("graphed", "captured")
    if onto_card and device.type != "cuda":
        raise ValueError(f'how: "{how}" needs the networks on a CUDA card, they are on {device}; try "compiled".')
    if how != "loop" and ranks.world() > 1:
        raise ValueError(f'how: "{how}" is for one process, {ranks.world()} play here; take "loop".')
    state = state or State.start(G, D, config)
    half = onto_card if half is None else half
    engine = None
    for form in {"loop": (), "captured": ("captured", "graphed")}.get(how, (how,)):
        try:
            engine = _Engine(state, sample, extra, form, half)
            break
        except Exception as error:
            print(f"mmcourse.fast: the step could not be made {form} ({_first_line(error)}).")
    if engine is None:
        if how != "loop":
            print("mmcourse.fast: the readable loop goes on.")
        yield from train.play(G, D, sample, config, state=state, extra=extra)
        return
    while state.step < config.steps:
        began = time.perf_counter()
        first = state.step
        with hold_interrupts():
            found = engine.go()
        state.seconds += (time.perf_counter() - began) + engine.spent
        engine.spent = 0.0
        for k, row in enumerate(found):
            yield Step(first + k + 1, state.seconds, row, state)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')[:160]}"


# ------------------------------------------------------------------------------------------------------ the pure step


def pure_step(
    G: nn.Module, D: nn.Module, config: TrainConfig, extra: Extra | None, *, penalty: bool, half: bool = False
) -> Pure:
    """The step of ``train.play`` as a function: ``step(weights, draws, numbers) -> (weights, losses)``.

    ``draws``: real (B, C, H, W), z (B, Z) and, where there are any, conditions and false conditions (B, K).
    ``numbers`` (6,) as ``numbers_at`` gives them; ``losses`` (4,) in the order of ``LOSSES``. Nothing is changed in
    place. ``penalty``: this is a step with R1 and R2.
    """
    names = [name for name, _ in G.named_parameters()]
    asked = _Asked(D)
    asked_names = [name for name, _ in asked.named_parameters()]
    rules, one = game(config.game), next(G.parameters())
    kind, full = one.device.type, one.dtype

    def low() -> Any:
        return torch.autocast(kind, torch.bfloat16, enabled=half, cache_enabled=False)

    def step(w: Weights, draws: list[Tensor], numbers: Tensor) -> tuple[Weights, Tensor]:
        lr, gamma, away, progress, fix_mean, fix_square = numbers.unbind()
        real, z = draws[:2]
        cond, wrong = [*draws[2:], None, None][:2]
        g_w = [p.detach().requires_grad_() for p in w.G]
        d_w = [p.detach().requires_grad_() for p in w.D]

        def ask(weights: Sequence[Tensor], method: str, *args: Tensor | None, low_too: bool = True) -> Tensor:
            with low() if low_too else contextlib.nullcontext():
                told = dict(zip(asked_names, weights, strict=True))
                return functional_call(asked, told, (method, *args)).to(full)

        def look(weights: Sequence[Tensor], x: Tensor, *, low_too: bool = True) -> Tensor:
            return ask(weights, "look", x, low_too=low_too)

        def score(weights: Sequence[Tensor], features: Tensor, c: Tensor | None, *, low_too: bool = True) -> Tensor:
            # a discriminator that looks at picture and condition together has its convolutions here
            return ask(weights, "score", features, c, low_too=low_too and features.dim() == 4)

        def adam(
            p: list[Tensor], slopes: Sequence[Tensor | None], mean: list[Tensor], square: list[Tensor]
        ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
            """Adam with bias correction (arXiv 1412.6980); a parameter without a slope stays as it is."""
            b1, b2 = config.betas
            out: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
            for value, slope, m, s in zip(p, slopes, mean, square, strict=True):
                if slope is not None:
                    m = torch.lerp(m, slope, 1 - b1)
                    s = s * b2 + (1 - b2) * slope * slope
                    value = value - lr / fix_mean * m / (s.sqrt() / fix_square + 1e-8)
                for kept, new in zip(out, (value, m, s), strict=True):
                    kept.append(new.detach())
            return out

        with torch.enable_grad():
            with low():
                fake = functional_call(G, dict(zip(names, g_w, strict=True)), (z, cond)).to(full)

            # D's move
            both = torch.cat([real, fake.detach()])
            seen, made = look(d_w, both).chunk(2)
            real_logits = score(d_w, seen, cond)
            loss_d = rules.d(real_logits, score(d_w, made, cond))
            if wrong is not None and config.mismatch:
                loss_d = loss_d + config.mismatch * rules.d(real_logits, score(d_w, seen, wrong))
            slope = torch.zeros((), device=real.device)
            if penalty:
                twice = None if cond is None else torch.cat([cond, cond])
                slope = gamma * gradient_penalty_at(
                    lambda x: score(d_w, look(d_w, x, low_too=False), twice, low_too=False), both
                )
            slopes = torch.autograd.grad(loss_d + slope, d_w, allow_unused=True)
            d_new, d_mean, d_square = adam(w.D, slopes, w.d_mean, w.d_square)

            # G's move, under the D that has just moved
            with torch.no_grad():
                real_logits = score(d_new, look(d_new, real), cond)
            loss_g = rules.g(real_logits, score(d_new, look(d_new, fake), cond))
            helped = torch.zeros((), device=real.device)
            if extra is not None:
                helped = extra(fake, Batch(real, cond, wrong), progress)
            slopes = torch.autograd.grad(loss_g + helped, g_w, allow_unused=True)
            g_new, g_mean, g_square = adam(w.G, slopes, w.g_mean, w.g_square)
        ema = [torch.lerp(a, b, away) for a, b in zip(w.ema, g_new, strict=True)]
        losses = torch.stack([loss_d.detach(), slope.detach(), loss_g.detach(), helped.detach()])
        return Weights(g_new, d_new, ema, g_mean, g_square, d_mean, d_square), losses

    return step


def numbers_at(config: TrainConfig, step: int) -> list[float]:
    """What a step needs beside tensors: the learning rate, the penalty's weight, 1 - the average's decay, the progress,
    and Adam's two corrections for step + 1 moves, the second one's root taken."""
    b1, b2 = config.betas
    return [
        config.lr_at(step),
        config.gamma_at(step) * config.reg_every,
        1 - config.ema_at(step),
        step / config.steps,
        1 - b1 ** (step + 1),
        math.sqrt(1 - b2 ** (step + 1)),
    ]


def weights_of(state: State) -> Weights:
    """A run's weights and moments as lists of tensors that share its memory. Moments that no step has made yet are
    zeros, and are put into the optimisers; others are laid out in memory as their weights are, which the loop's fused
    optimiser takes for granted."""
    lists = [[p.detach() for p in m.parameters()] for m in (state.G, state.D, state.ema)]
    for opt in (state.opt_g, state.opt_d):
        parameters = opt.param_groups[0]["params"]
        for p in parameters:
            slot = opt.state[p]
            if not slot:
                slot |= {"step": torch.tensor(float(state.step), dtype=torch.float32, device=p.device)}
                slot |= {name: torch.zeros_like(p) for name in ("exp_avg", "exp_avg_sq")}
            for name in ("exp_avg", "exp_avg_sq"):
                if slot[name].stride() != p.stride():
                    slot[name] = torch.empty_like(p).copy_(slot[name])
        lists += [[opt.state[p][name] for p in parameters] for name in ("exp_avg", "exp_avg_sq")]
    return Weights(*lists)


def trace(step: Pure, weights: Weights, draws: list[Tensor], numbers: Tensor) -> Pure:
    """A step as one flat graph of tensor operations, gradients included, for tensors of these shapes."""
    from torch.fx.experimental.proxy_tensor import make_fx

    graph = make_fx(step)(weights, draws, numbers)

    def traced(w: Weights, d: list[Tensor], n: Tensor) -> tuple[Weights, Tensor]:
        new, losses = graph(w, d, n)
        return Weights(*new), losses

    traced.graph = graph  # type: ignore[attr-defined]
    return traced


# --------------------------------------------------------------------------------------------------------- the engine


class _Engine:
    """A run's step in the form asked for. ``go()`` plays one step, or eight at once, and gives their losses."""

    def __init__(self, state: State, sample: Sample, extra: Extra | None, how: str, half: bool):
        began = time.perf_counter()
        self.state, self.sample, self.extra, self.config = state, sample, extra, state.config
        self.device, self.spent = next(state.G.parameters()).device, 0.0
        self.graph: Any = None  # of self.run steps
        self.draws: list[list[Tensor]] | None = None  # where batches are drawn outside the graph
        self.weights = weights_of(state)
        self.counts = [slot["step"] for opt in (state.opt_g, state.opt_d) for slot in opt.state.values()]
        every = self.config.reg_every
        self.run = every * max(1, RUN // every)
        kinds = {bool(self.config.gamma) and k % every == 0 for k in range(self.run)}
        self.steps = {p: pure_step(state.G, state.D, self.config, extra, penalty=p, half=half) for p in kinds}
        if how == "eager":
            return
        before, first = state.rng.get_state(), state.step
        with _quick_kernels():
            try:
                draws, numbers = self._draw(first), self._numbers([first])[0]
                if how in ("compiled", "captured"):
                    for kind, step in self.steps.items():
                        self.steps[kind] = _compiled(step, self.weights, draws, numbers)
            finally:
                state.rng.set_state(before)
            if how in ("graphed", "captured"):
                self._capture()
        self.spent = time.perf_counter() - began  # counts as training: it is waited for

    def go(self) -> list[dict[str, float]]:
        state = self.state
        first, before = state.step, state.rng.get_state()
        whole = self.graph is not None and first % self.config.reg_every == 0
        many = self.run if whole and first + self.run <= self.config.steps else 1
        rows = self._replay(first) if many > 1 else [self._single(first)]
        losses = [dict(zip(LOSSES, row, strict=True)) for row in rows]
        bad = next((k for k, row in enumerate(rows) if not all(map(math.isfinite, row))), None)
        if bad is not None:  # no weight has been touched
            state.rng.set_state(before)
            raise Diverged(first + bad + 1, losses[bad], kept=first)
        state.step += many
        torch._foreach_add_(self.counts, float(many))
        return losses

    def _draw(self, step: int | None) -> list[Tensor]:
        batch = ranks.share(self.sample(self.state.rng, step))  # type: ignore[arg-type]
        z = torch.randn(len(batch.real), self.config.z, generator=self.state.rng, device=batch.real.device)
        return [t for t in (batch.real, z, batch.cond, batch.wrong) if t is not None]

    def _numbers(self, steps: Sequence[int]) -> Tensor:
        kind = self.weights.G[0].dtype
        return torch.tensor([numbers_at(self.config, i) for i in steps], dtype=kind).to(self.device)  # (steps, 6)

    def _kind(self, step: int) -> bool:
        return bool(self.config.gamma) and step % self.config.reg_every == 0

    @torch.no_grad()
    def _single(self, i: int) -> list[float]:
        new, losses = self.steps[self._kind(i)](self.weights, self._draw(i), self._numbers([i])[0])
        row: list[float] = losses.tolist()
        if all(map(math.isfinite, row)):
            for old, fresh in zip(self.weights, new, strict=True):
                torch._foreach_copy_(old, fresh)
        return row

    # ---- eight steps as one CUDA graph

    @torch.no_grad()
    def _chain(self, draws: list[list[Tensor]] | None) -> tuple[Weights, Tensor]:
        """``run`` steps after one another, from the weights as they are: new weights and losses (run, 4)."""
        w, found = self.weights, []
        for k in range(self.run):
            here = self._draw(None) if draws is None else draws[k]
            w, losses = self.steps[self._kind(k)](w, here, self.numbers[k])
            found.append(losses)
        return w, torch.stack(found)

    def _capture(self) -> None:
        """Capture the draws too, if they can be; else the steps alone, on batches that are drawn before."""
        self.numbers = self._numbers(range(self.run))
        state, saved = self.state, self.state.rng.get_state()
        for inside in (True, False) if self._draws_without_waiting() else (False,):
            state.rng = torch.Generator(self.device)
            state.rng.set_state(saved)
            try:
                self._capture_once(inside)
                break
            except Exception as error:
                if not inside:
                    raise
                print(f"mmcourse.fast: batches are drawn outside the graph ({_first_line(error)}).")
                torch.cuda.synchronize()
        state.rng.set_state(saved)

    def _draws_without_waiting(self) -> bool:
        """Whether drawing a batch never makes the processor wait for the card, as nothing in a graph may."""
        mode = torch.cuda.get_sync_debug_mode()
        self._draw(0)  # constants are carried to the card once
        try:
            torch.cuda.set_sync_debug_mode("error")
            self._draw(None)
        except Exception as error:
            print(f"mmcourse.fast: batches are drawn outside the graph ({_first_line(error)}).")
            return False
        finally:
            torch.cuda.set_sync_debug_mode(mode)
        return True

    @torch.no_grad()
    def _capture_once(self, inside: bool) -> None:
        self.draws = None if inside else [self._draw(k) for k in range(self.run)]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # kernels are chosen and workspaces made here; what comes out is thrown away
                self._chain(self.draws)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        if inside:
            graph.register_generator_state(self.state.rng)
        with torch.cuda.graph(graph):
            self._run_whole()
        self.graph = graph

    @torch.no_grad()
    def _run_whole(self) -> None:
        """What is captured: the steps, and their outcome put in place unless a loss is not finite."""
        new, self.losses = self._chain(self.draws)
        good = self.losses.isfinite().all()
        for old, fresh in zip(self.weights, new, strict=True):
            torch._foreach_copy_(old, [torch.where(good, b, a) for a, b in zip(old, fresh, strict=True)])

    def _replay(self, first: int) -> list[list[float]]:
        self.numbers.copy_(self._numbers(range(first, first + self.run)))
        if self.draws is not None:
            for k, static in enumerate(self.draws):
                torch._foreach_copy_(static, self._draw(first + k))
        self.graph.replay()
        rows: list[list[float]] = self.losses.tolist()
        return rows


def _compiled(step: Pure, weights: Weights, draws: list[Tensor], numbers: Tensor) -> Pure:
    """A traced step, compiled whole for these shapes."""
    traced = trace(step, weights, draws, numbers)
    inner = torch.compile(traced.graph, fullgraph=True, dynamic=False)  # type: ignore[attr-defined]

    def compiled(w: Weights, d: list[Tensor], n: Tensor) -> tuple[Weights, Tensor]:
        new, losses = inner(w, d, n)
        return Weights(*new), losses

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled(weights, draws, numbers)
    return compiled


@contextlib.contextmanager
def _quick_kernels() -> Iterator[None]:
    """Let cuDNN try its kernels and float32 products use TF32, while a step is compiled and captured."""
    cudnn, products = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = cudnn
        torch.set_float32_matmul_precision(products)
