"""The game in two dimensions: a ring of eight Gaussians, two small networks, one loop (lessons 01, 02 and 03).

    for round in duel(Duel(steps=2000)):
        ...                       # round.number, round.losses, round.G, round.D: your cell decides

Everything here can be seen: real points and fakes are dots in a plane, D is a height over it, and G's gradient is an
arrow at each dot. The loop is ``train.play`` without its care: no averaged generator, no condition, no resuming, and
with the knobs that make a GAN sick (two learning rates, D's moves for each of G's).
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmcourse.checks import expect_one_of, expect_shape
from mmcourse.losses import GAMES, game, r1, r2, wgan_gp
from mmcourse.runtime import write_whole

MODES = 8
RADIUS = 2.0
SPREAD = 0.1  # the standard deviation of each Gaussian
NEAR = 3.0  # a good sample lies within so many standard deviations of a centre
PENALTIES = ("none", "r1", "r1+r2", "wgan-gp")


def centres(modes: int = MODES, radius: float = RADIUS) -> Tensor:
    """The middles of the Gaussians, evenly on a circle: (modes, 2)."""
    angle = 2 * math.pi * torch.arange(modes) / modes
    return radius * torch.stack([angle.cos(), angle.sin()], dim=1)


def ring(n: int, g: torch.Generator, *, modes: int = MODES, radius: float = RADIUS, spread: float = SPREAD) -> Tensor:
    """n points (n, 2) from a ring of equally likely Gaussians (Metz et al., arXiv 1611.02163)."""
    which = torch.randint(modes, (n,), generator=g)
    return centres(modes, radius)[which] + spread * torch.randn(n, 2, generator=g)


def log_density(points: Tensor) -> Tensor:
    r"""The logarithm of the ring's density at points (N, 2): (N,).

    :math:`\log \frac18 \sum_k \mathcal N(x; c_k, \sigma^2 I)`, finite however far away a point lies.
    """
    expect_shape(points, "N 2", name="points")
    square = (points[:, None] - centres().to(points)).square().sum(2)  # (N, 8)
    return (-square / (2 * SPREAD**2)).logsumexp(1) - math.log(MODES * 2 * math.pi * SPREAD**2)


def nearest_mode(points: Tensor, *, near: float = NEAR) -> Tensor:
    """For each point (N, 2) the number of the Gaussian that it lies in, or -1 where it lies in none: (N,).

    A point lies in a Gaussian when its distance from the centre is at most ``near`` standard deviations.
    """
    expect_shape(points, "N 2", name="points")
    distance, which = torch.cdist(points, centres().to(points)).min(1)
    return torch.where(distance <= near * SPREAD, which, -1)


def modes_covered(points: Tensor, *, least: float = 0.01) -> int:
    """How many Gaussians hold at least the share ``least`` of the points (N, 2). 8 is all, 0 none."""
    which = nearest_mode(points)
    share = torch.bincount(which[which >= 0], minlength=MODES) / max(1, len(points))
    return int((share >= least).sum())


def good_share(points: Tensor) -> float:
    """The share of points (N, 2) that lie in any Gaussian: precision, blind to missing modes."""
    return float((nearest_mode(points) >= 0).float().mean())


def mlp(inputs: int, outputs: int, width: int = 128) -> nn.Sequential:
    """Three linear layers with leaky ReLUs between them: (B, inputs) to (B, outputs)."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, outputs),
    )


@dataclass(frozen=True)
class Duel:
    """One run on the ring. ``penalty`` is one of ``PENALTIES``; ``gamma`` its weight (lambda for ``wgan-gp``).

    ``d_steps`` is D's moves for each of G's. Raises ``ValueError`` on an unknown game or penalty, or a number that
    makes no sense.
    """

    steps: int = 2000
    batch: int = 256
    lr_g: float = 5e-4
    lr_d: float = 5e-4
    betas: tuple[float, float] = (0.5, 0.999)
    game: str = "non_saturating"
    penalty: str = "none"
    gamma: float = 1.0
    d_steps: int = 1
    z: int = 8
    width: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        expect_one_of(self.game, tuple(GAMES), name="game")
        expect_one_of(self.penalty, PENALTIES, name="penalty")
        for name in ("steps", "batch", "d_steps", "z", "width"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}.")
        for name in ("lr_g", "lr_d", "gamma"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: expected a finite number of at least 0, got {value!r}.")
        if len(self.betas) != 2 or not all(isinstance(b, (int, float)) and 0 <= b < 1 for b in self.betas):
            raise ValueError(f"betas: expected two numbers from 0 to below 1, got {self.betas!r}.")


@dataclass(frozen=True)
class Round:
    """One finished round. ``number`` counts from 1; ``losses`` has d, g and penalty."""

    number: int
    losses: dict[str, float]
    G: nn.Module = field(repr=False)
    D: nn.Module = field(repr=False)
    duel: Duel = field(repr=False)

    @torch.no_grad()
    def points(self, n: int = 2000, seed: int = 1) -> Tensor:
        """n generated points (n, 2), from noise of their own."""
        return self.G(torch.randn(n, self.duel.z, generator=torch.Generator().manual_seed(seed)))

    def kept(self) -> Round:
        """The round with copies of G and D, which do not move when the run goes on."""
        return replace(self, G=copy.deepcopy(self.G), D=copy.deepcopy(self.D))


def networks(duel: Duel) -> tuple[nn.Sequential, nn.Sequential]:
    """G: (B, z) to points (B, 2), and D: points (B, 2) to logits (B, 1), with weights drawn from the duel's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(duel.seed)
        return mlp(duel.z, 2, duel.width), mlp(2, 1, duel.width)


def duel(settings: Duel) -> Iterator[Round]:
    """Play ``settings.steps`` rounds; yields a ``Round`` after each. Stops where a loss is no longer finite."""
    G, D = networks(settings)
    g = torch.Generator().manual_seed(settings.seed)
    opt_g = torch.optim.Adam(G.parameters(), lr=settings.lr_g, betas=settings.betas)
    opt_d = torch.optim.Adam(D.parameters(), lr=settings.lr_d, betas=settings.betas)
    rules = game(settings.game)
    for number in range(1, settings.steps + 1):
        for _ in range(settings.d_steps):
            real = ring(settings.batch, g)
            fake = G(torch.randn(settings.batch, settings.z, generator=g)).detach()
            loss_d, penalty = rules.d(D(real), D(fake)), penalty_of(settings, D, real, fake, g)
            opt_d.zero_grad()
            (loss_d + penalty).backward()
            opt_d.step()
        real = ring(settings.batch, g)
        loss_g = rules.g(D(real), D(G(torch.randn(settings.batch, settings.z, generator=g))))
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
        losses = {"d": loss_d.item(), "g": loss_g.item(), "penalty": penalty.item()}
        yield Round(number, losses, G, D, settings)
        if not all(map(math.isfinite, losses.values())):
            return


def penalty_of(settings: Duel, D: nn.Module, real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    """The gradient penalty that the settings ask for, a scalar."""
    if settings.penalty == "wgan-gp":
        return wgan_gp(D, real, fake, weight=settings.gamma, generator=g)
    total = torch.zeros(())
    if settings.penalty in ("r1", "r1+r2"):
        total = total + r1(D, real, settings.gamma)
    if settings.penalty == "r1+r2":
        total = total + r2(D, fake, settings.gamma)
    return total


# ---- runs as logs, so that somebody else can diagnose them


@dataclass(frozen=True)
class Log:
    """A run in numbers: its settings, and one row for each look (``step``, losses, what D says, modes, good).

    ``real_logit`` and ``fake_logit`` are D's means on fresh points; ``accuracy`` the share that D tells right, one
    half real and one half fake, at logit 0.
    """

    settings: dict[str, Any]
    rows: list[dict[str, float]]

    def column(self, name: str) -> list[float]:
        """One column by name. Raises ``ValueError`` that lists the names."""
        names = list(self.rows[0]) if self.rows else []
        if name not in names:
            raise ValueError(f"log: there is no column {name!r}; there are {', '.join(names) or 'none'}.")
        return [row[name] for row in self.rows]

    def save(self, path: str | Path) -> Path:
        """Write as JSON: to a temporary name first, then renamed."""
        path = Path(path)
        text = json.dumps({"mmcourse_run": 1, "settings": self.settings, "rows": self.rows}, indent=1)
        write_whole(path, (text + "\n").encode())
        return path

    @classmethod
    def load(cls, path: str | Path) -> Log:
        """Read what ``save`` wrote. Raises ``ValueError`` where there is no such file, or it is no log of a run."""
        path = Path(path)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ValueError(f"{path}: there is no such file; a run writes one with log.save(path).") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: not a readable log of a run ({error}).") from error
        if not isinstance(found, dict) or found.get("mmcourse_run") != 1:
            raise ValueError(f"{path}: not a log of a run; it was not written by Log.save.")
        try:
            return cls(dict(found["settings"]), [dict(row) for row in found["rows"]])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: a damaged log of a run ({type(error).__name__}).") from error


def look(now: Round, *, n: int = 2000, seed: int = 1) -> dict[str, float]:
    """One row of a log: what can be measured at this round."""
    g = torch.Generator().manual_seed(seed)
    fake, real = now.points(n, seed), ring(n, g)
    with torch.no_grad():
        on_real, on_fake = now.D(real), now.D(fake)
    told = ((on_real > 0).float().mean() + (on_fake < 0).float().mean()) / 2
    return {
        "step": now.number,
        **now.losses,
        "real_logit": on_real.mean().item(),
        "fake_logit": on_fake.mean().item(),
        "accuracy": told.item(),
        "modes": modes_covered(fake),
        "good": good_share(fake),
    }


def record(settings: Duel, *, every: int = 100) -> tuple[Log, Round]:
    """Play a whole run and look at it every so many rounds and at its end; gives its log and its last round.

    A run whose loss is no longer finite ends there, and that round is its log's last row.
    """
    if every < 1:
        raise ValueError(f"every: expected at least 1, got {every}.")
    rows: list[dict[str, float]] = []
    last = None
    for now in duel(settings):
        last = now
        if now.number % every == 0:
            rows.append(look(now))
    assert last is not None
    if not rows or rows[-1]["step"] != last.number:
        rows.append(look(last))
    return Log(asdict(settings), rows), last


def change(settings: Duel, changes: Mapping[str, Any]) -> Duel:
    """The same duel with some fields changed. Raises ``ValueError`` that lists the fields, on an unknown one."""
    known = [f.name for f in fields(Duel)]
    for name in changes:
        expect_one_of(name, known, name="setting")
    return replace(settings, **changes)


#: A run that collapses: G moves ten times faster than D (lesson 02 shows it, and what cures it).
SICK = Duel(steps=2500, lr_g=1e-3, lr_d=1e-4)


def field_of(D: nn.Module, points: Sequence[Sequence[float]] | Tensor) -> tuple[Tensor, Tensor]:
    """D's logits (N,) at points (N, 2), and their slopes (N, 2): the way that D would push each point."""
    x = torch.as_tensor(points).detach().clone().requires_grad_(True)
    expect_shape(x, "N 2", name="points")
    logits = D(x).squeeze(1)
    (slope,) = torch.autograd.grad(logits.sum(), x)
    return logits.detach(), slope
