"""play(): the one readable training loop of two networks, as a generator (lesson 01; conditions from lesson 06).

    for step in play(G, D, sample, TrainConfig(steps=1000)):
        ...                       # plot, print, save or break: your cell decides

There are no callbacks. Stopping the kernel, or leaving the loop, keeps usable networks: a step is either done or not,
and the averaged generator is ``step.state.ema``.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmcourse import keep, ranks
from mmcourse.losses import game, gradient_penalty_at


@dataclass(frozen=True)
class TrainConfig:
    """One run. ``gamma`` weighs R1 and R2; they are applied every ``reg_every`` steps, times ``reg_every``. Their
    weight starts at ``calm * gamma`` and goes to ``gamma`` over the first ``calm_until`` of the run: little of it lets
    both networks learn fast at first, more of it makes them settle later.

    ``mismatch`` weighs the matching-aware term (a real picture with a caption that is false of it); ``ema`` is
    the decay of the averaged generator; the learning rate falls by a cosine to ``final_lr`` of its start.
    """

    steps: int = 1500
    batch: int = 32
    z: int = 16
    lr: float = 1.5e-3
    final_lr: float = 0.1
    betas: tuple[float, float] = (0.0, 0.99)
    game: str = "relativistic"
    gamma: float = 0.3
    calm: float = 1.0
    calm_until: float = 0.3
    reg_every: int = 8
    mismatch: float = 1.0
    ema: float = 0.995
    seed: int = 0

    def lr_at(self, step: int) -> float:
        """The learning rate at a step: a short rise, then a cosine fall."""
        rise = min(1.0, (step + 1) / 50)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, self.steps))))
        return self.lr * rise * (self.final_lr + (1 - self.final_lr) * fall)

    def gamma_at(self, step: int) -> float:
        """The penalties' weight at a step: from ``calm * gamma`` to ``gamma``, evenly in the logarithm."""
        left = max(0.0, 1 - step / max(1.0, self.calm_until * self.steps))
        return self.gamma * self.calm**left

    def ema_at(self, step: int) -> float:
        """The averaged generator's decay at a step: short at first, so that it forgets its first weights."""
        return min(self.ema, (step + 1) / (step + 10))


@dataclass(frozen=True)
class FitConfig:
    """One run of a network without an opponent, as in lessons 08 and 12: AdamW with a linear warm-up, then a fall of
    the rate to zero as a square root."""

    steps: int = 1200
    batch: int = 32
    lr: float = 2e-3
    weight_decay: float = 1e-3
    warm_up: int = 50
    seed: int = 0

    def lr_at(self, step: int) -> float:
        """The learning rate at a step."""
        return self.lr * min(1.0, (step + 1) / self.warm_up) * (1 - step / self.steps) ** 0.5


class Batch(NamedTuple):
    """What one step plays with: real pictures (B, 3, H, W), their conditions (B, K) and false ones (B, K)."""

    real: Tensor
    cond: Tensor | None = None
    wrong: Tensor | None = None


Sample = Callable[[torch.Generator, int], Batch]
Extra = Callable[[Tensor, Batch, Any], Tensor]  # (fake, batch, progress): progress is a number, or a 0-dim tensor


def falling(weight: float, progress: Any, until: float) -> Any:
    """A weight that falls evenly to 0 at ``until`` (share of the run) and stays there. Progress is a number or a 0-dim
    tensor; so is what comes out."""
    left = 1 - progress / until
    return weight * (left.clamp(min=0) if isinstance(left, Tensor) else max(0.0, left))


class Diverged(RuntimeError):
    """A loss stopped being finite. ``step`` says when; the state is as it was after the last good step, or after step
    ``kept`` where several are played at once."""

    def __init__(self, step: int, losses: dict[str, float], *, kept: int | None = None):
        self.step, self.losses = step, losses
        shown = ", ".join(f"{k} = {v:.4g}" for k, v in losses.items())
        kept = step - 1 if kept is None else kept
        super().__init__(
            f"Step {step}: a loss is not finite ({shown}). The networks are as they were after step {kept}. "
            "Try a smaller learning rate or a larger gamma."
        )


def host_rng(rng: torch.Generator) -> torch.Generator:
    """A random source on the CPU: the one given, or, where that is a card's, a fresh one seeded by its next number."""
    if rng.device.type == "cpu":
        return rng
    return torch.Generator().manual_seed(int(torch.randint(2**31, (1,), generator=rng, device=rng.device)))


def update_ema(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average = decay * average + (1 - decay) * model, for parameters; buffers are copied."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
        for a, b in zip(average.buffers(), model.buffers(), strict=True):
            a.copy_(b)


@dataclass
class State:
    """All that a run needs to go on: both networks, the average, both optimisers, the random source, the step.

    ``about`` may say what run this is; a file of another is refused.
    """

    G: nn.Module
    D: Any  # a module with look(x) and score(features, cond)
    ema: nn.Module
    opt_g: torch.optim.Adam
    opt_d: torch.optim.Adam
    rng: torch.Generator
    config: TrainConfig
    step: int = 0
    seconds: float = 0.0
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def start(cls, G: nn.Module, D: nn.Module, config: TrainConfig) -> State:
        """A fresh state for step 0. Convolutions' weights are laid out with channels last, which small networks on a
        CPU, and wide ones on a card, go through faster; no number changes."""
        device = next(G.parameters()).device
        for net in (G, D):
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        ema = copy.deepcopy(G).eval()
        for p in ema.parameters():
            p.requires_grad_(False)
        opt = [torch.optim.Adam(m.parameters(), lr=config.lr, betas=config.betas, eps=1e-8, fused=True) for m in (G, D)]
        return cls(G, D, ema, opt[0], opt[1], torch.Generator(device).manual_seed(config.seed), config)

    def save(self, path: str | Path) -> Path:
        """Write the whole state as one safetensors file: to a temporary name first, then renamed."""
        header = {"step": self.step, "seconds": self.seconds, "config": asdict(self.config), "about": self.about}
        return keep.write(path, self._tensors(), header)

    def load(self, path: str | Path) -> State:
        """Read what ``save`` wrote into this state's networks. Raises ``ValueError`` if the file does not fit."""
        found, header = keep.read(path)
        if "config" not in header:
            raise ValueError(f"{path}: is the state of another kind of run; remove it to begin anew.")
        keep.expect_same(path, header["config"] | header.get("about", {}), asdict(self.config) | self.about)
        own = self._networks()
        for name, value in own.items():
            if name not in found or found[name].shape != value.shape:
                raise ValueError(f"{path}: does not fit these networks at {name!r}.")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(found[name])
        for key, opt in (("opt_g.", self.opt_g), ("opt_d.", self.opt_d)):
            keep.set_optimiser(opt, {k.removeprefix(key): v for k, v in found.items() if k.startswith(key)})
        for key, source in self._sources().items():
            source.set_state(found[key])
        self.step, self.seconds = int(header["step"]), float(header["seconds"])
        return self

    def _networks(self) -> dict[str, Tensor]:
        parts = {"G": self.G, "D": self.D, "ema": self.ema}
        return {f"{n}.{k}": v for n, m in parts.items() for k, v in m.state_dict().items()}

    def _sources(self) -> dict[str, torch.Generator]:
        """The random sources: the run's, and D's own where it has one (``augment.Augmented``)."""
        own = getattr(self.D, "rng", None)
        return {"rng": self.rng} | ({"rng_d": own} if isinstance(own, torch.Generator) else {})

    def _tensors(self) -> dict[str, Tensor]:
        out = self._networks()
        for key, opt in (("opt_g", self.opt_g), ("opt_d", self.opt_d)):
            out |= {f"{key}.{k}": v for k, v in keep.optimiser_tensors(opt).items()}
        return out | {key: source.get_state() for key, source in self._sources().items()}


@dataclass(frozen=True)
class Step:
    """One finished step. ``number`` counts from 1; ``seconds`` is training time, without your own cell's."""

    number: int
    seconds: float
    losses: dict[str, float]
    state: State = field(repr=False)


def play(
    G: nn.Module,
    D: Any,
    sample: Sample,
    config: TrainConfig,
    *,
    state: State | None = None,
    extra: Extra | None = None,
) -> Iterator[Step]:
    """Play the game for ``config.steps`` steps; yields a ``Step`` after each.

    ``sample(rng, step)`` gives a ``Batch``. ``G(z, cond)`` gives pictures; ``D.look(x)`` gives features and
    ``D.score(features, cond)`` logits. ``extra(fake, batch, progress)`` is added to G's loss; progress runs from 0
    to 1; ``mmcourse.fast``, which plays the same game on a card, gives it as a tensor. Pass ``state`` to go on with a
    run. Raises ``Diverged`` at the step where a loss stops being finite, before any weight is touched by it. Where
    ``torchrun`` has started several processes, each plays on its share of every batch (see ``ranks``).
    """
    state = state or State.start(G, D, config)
    while state.step < config.steps:
        began = time.perf_counter()
        with whole_step(state):
            losses = _one_step(state, sample, extra)
        state.seconds += time.perf_counter() - began
        yield Step(state.step, state.seconds, losses, state)


def _one_step(state: State, sample: Sample, extra: Extra | None) -> dict[str, float]:
    G, D, rng, config, i = state.G, state.D, state.rng, state.config, state.step
    rules = game(config.game)
    for opt in (state.opt_d, state.opt_g):
        opt.param_groups[0]["lr"] = config.lr_at(i)
    whole = sample(rng, i)
    z = ranks.share(torch.randn(len(whole.real), config.z, generator=rng, device=whole.real.device))
    batch = ranks.share(whole)  # all of it, unless several processes play
    real, cond = batch.real, batch.cond
    fake = G(z, cond)

    # D's move: real above fake, and a true caption above a false one
    seen, made = D.look(torch.cat([real, fake.detach()])).chunk(2)
    real_logits = D.score(seen, cond)
    loss_d = rules.d(real_logits, D.score(made, cond))
    if batch.wrong is not None and config.mismatch:
        loss_d = loss_d + config.mismatch * rules.d(real_logits, D.score(seen, batch.wrong))
    penalty = torch.zeros((), device=real.device)
    if config.gamma and i % config.reg_every == 0:
        both = torch.cat([real, fake.detach()])
        twice = None if cond is None else torch.cat([cond, cond])
        slope = gradient_penalty_at(lambda x: D.score(D.look(x), twice), both)  # the mean over real and fake
        penalty = config.gamma_at(i) * slope * config.reg_every  # gamma/2 (R1 + R2), for all steps until the next
    found = expect_finite(i + 1, d=loss_d, penalty=penalty)
    move(state.opt_d, D, loss_d + penalty)

    # G's move: fake above real, under the D that has just moved
    with torch.no_grad():
        real_logits = D.score(D.look(real), cond)
    loss_g = rules.g(real_logits, D.score(D.look(fake), cond))
    helped = torch.zeros((), device=real.device) if extra is None else extra(fake, batch, i / config.steps)
    found |= expect_finite(i + 1, g=loss_g, extra=helped)
    move(state.opt_g, G, loss_g + helped)

    update_ema(state.ema, G, config.ema_at(i))
    state.step += 1
    return found


@contextlib.contextmanager
def hold_interrupts() -> Iterator[None]:
    """Ctrl-C waits for the end of what is inside."""
    main = threading.current_thread() is threading.main_thread()
    waiting: list[tuple[Any, ...]] = []
    usual = signal.signal(signal.SIGINT, lambda *a: waiting.append(a)) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, usual)
    if waiting and callable(usual):
        usual(*waiting[0])


@contextlib.contextmanager
def whole_step(state: State) -> Iterator[None]:
    """A step that fails gives D, its optimiser and the random source back as they were; Ctrl-C waits for its end."""
    with hold_interrupts():
        rng, weights = state.rng.get_state(), [p.detach().clone() for p in state.D.parameters()]
        moments = copy.deepcopy(state.opt_d.state_dict()["state"])
        try:
            yield
        except BaseException:
            state.rng.set_state(rng)
            with torch.no_grad():
                for p, was in zip(state.D.parameters(), weights, strict=True):
                    p.copy_(was)
            state.opt_d.load_state_dict({"state": moments, "param_groups": state.opt_d.state_dict()["param_groups"]})
            raise


def expect_finite(step: int, **losses: Tensor) -> dict[str, float]:
    """The losses by name as numbers. Raises ``Diverged`` where one of them is not finite."""
    found = torch.stack([v.detach() for v in losses.values()])
    ranks.average([found])
    values = dict(zip(losses, found.tolist(), strict=True))
    if not all(math.isfinite(v) for v in values.values()):
        raise Diverged(step, values)
    return values


def move(opt: torch.optim.Adam, model: nn.Module, loss: Tensor) -> None:
    """One step of an optimiser down the loss, for the model's parameters alone."""
    parameters = list(model.parameters())
    slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
    ranks.average(slopes)
    for p, slope in zip(parameters, slopes, strict=True):
        # the fused kernel pairs weights with slopes by their place in memory, and a convolution may lay its slope out
        # otherwise than its weight
        p.grad = slope if slope is None or slope.stride() == p.stride() else torch.empty_like(p).copy_(slope)
    opt.step()
    opt.zero_grad(set_to_none=True)


def describe(config: Any) -> dict[str, Any]:
    """A config as plain JSON values, for cards and results files."""
    return dict(json.loads(json.dumps(asdict(config))))
