"""A picture becomes another picture: paired translation with a U-Net and a patch discriminator, and translation
without pairs by a cycle (derived in lesson 07).

The input picture is the condition: ``cond`` (B, C, 32, 32). After Isola et al., "Image-to-image translation with
conditional adversarial networks" (pix2pix), arXiv 1611.07004, and Zhu et al. (CycleGAN), arXiv 1703.10593.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse import pictures, world
from mmcourse.checks import expect_one_of, expect_shape
from mmcourse.layers import SLOPE, ResBlock, conv, upsample_head
from mmcourse.losses import game, gradient_penalty_at
from mmcourse.train import Batch, Diverged, Extra, Sample, State, Step, TrainConfig, update_ema

SOURCES = ("world", "photographs")
TASKS = ("outline", "grey")
LUMA = (0.299, 0.587, 0.114)  # how bright red, green and blue are to the eye (ITU-R BT.601)

# ------------------------------------------------------------------------------------------------- pictures in pairs


def grey(x: Tensor) -> Tensor:
    """The brightness of pictures (B, 3, H, W) in [-1, 1]: (B, 1, H, W) in [-1, 1]. ITU-R BT.601's weights."""
    expect_shape(x, "B 3 H W", name="pictures")
    return (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def slopes(x: Tensor) -> Tensor:
    """How steep pictures (B, C, H, W) are at each pixel: the length of the gradient (B, C, H, W), in units a pixel.

    Central differences; the border repeats the outermost pixels.
    """
    expect_shape(x, "B C H W", name="pictures")
    wide = F.pad(x, (1, 1, 1, 1), mode="replicate")
    across = (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]) / 2
    down = (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]) / 2
    return (across.square() + down.square()).sqrt()


def outline(x: Tensor, *, low: float = 0.03, high: float = 0.45) -> Tensor:
    """Draw pictures (B, 3, H, W) in [-1, 1] as pencil lines on white paper: (B, 1, H, W), 1 paper and -1 full black.

    A pixel is as dark as the picture is steep there, the three colours' mean: paper below ``low``, black above
    ``high``, evenly darker between. What is lost is which colour lies on which side. Raises ``ValueError`` unless
    0 <= low < high.
    """
    expect_shape(x, "B 3 H W", name="pictures")
    if not 0 <= low < high:
        raise ValueError(f"outline: expected 0 <= low < high, got low {low} and high {high}.")
    steep = slopes(x).mean(1, keepdim=True)  # (B, 1, H, W)
    return 1 - 2 * ((steep - low) / (high - low)).clamp(0, 1)


class Pairs(NamedTuple):
    """Inputs (B, 1, 32, 32) and the pictures (B, 3, 32, 32) that belong to them, all in [-1, 1]."""

    cond: Tensor
    real: Tensor


def pairs(n: int, g: torch.Generator, *, source: str = "world", task: str = "outline", split: str = "train") -> Pairs:
    """n pictures of a source ("world", "photographs"), each with its outline or its grey version.

    World pictures are drawn afresh from g. Photographs are shrunk to a quarter and cut into tiles, from their left
    seven tenths for ``split="train"``, from the rest for "test". Raises ``ValueError`` on other words.
    """
    expect_one_of(source, SOURCES, name="source")
    expect_one_of(task, TASKS, name="task")
    if source == "world":
        real = world.draw(world.sample_scenes(n, g))
    else:
        here = torch.Generator().manual_seed(int(torch.randint(2**31, (1,), generator=g, device=g.device)))
        real = pictures.tiles(n, here, split=split, shrink=4).to(g.device)
    return Pairs(outline(real) if task == "outline" else grey(real), real)


# ---------------------------------------------------------------------------------------------------------- networks


class UNet(nn.Module):
    """Input pictures (B, C, 32, 32) to pictures (B, 3, 32, 32) in [-1, 1].

    Down to 4x4, where one pixel knows the whole picture, and up again. At 16x16 and at 8x8 the way up is handed what
    the way down had there (Ronneberger et al., arXiv 1505.04597); ``skips=False`` hands it zeros. ``G(z, cond)`` takes
    noise because ``play`` hands it over, and does not look at it: one input gives one picture. ``near=True`` is for
    inputs that already look like the output: before any training G then gives its input back.
    """

    def __init__(self, *, cond: int = 1, width: int = 24, blocks: int = 1, skips: bool = True, near: bool = False):
        super().__init__()
        self.hparams: dict[str, Any] = dict(cond=cond, width=width, blocks=blocks, skips=skips, near=near)

        def row(w: int) -> nn.Sequential:
            return nn.Sequential(*(ResBlock(w) for _ in range(blocks)))

        self.stem, self.early = conv(4 * cond, width), row(width)
        self.down, self.middle = conv(4 * width, 2 * width, 1), row(2 * width)
        self.lower, self.bottom = conv(8 * width, 2 * width, 1), row(2 * width)
        self.lift = nn.Sequential(conv(2 * width, 8 * width, 1), nn.PixelShuffle(2))
        self.join_middle, self.middle_up = conv(4 * width, 2 * width, 1), row(2 * width)
        self.up = nn.Sequential(conv(2 * width, 4 * width, 1), nn.PixelShuffle(2))
        self.join_late, self.late = conv(2 * width, width, 1), row(width)
        self.head = upsample_head(width, gain=0.0 if near else 0.3)
        self.direct = nn.Conv2d(cond, 3, 1, bias=False)  # from the input's pixel to the picture's, at full resolution
        nn.init.constant_(self.direct.weight, 1.2 / cond if near else 0.0)

    def forward(self, z: Tensor | None, cond: Tensor) -> Tensor:
        expect_shape(cond, f"B {self.hparams['cond']} 32 32", name="cond")
        a = self.early(self.stem(F.pixel_unshuffle(cond, 2)))  # (B, width, 16, 16)
        b = self.middle(self.down(F.pixel_unshuffle(a, 2)))  # (B, 2*width, 8, 8)
        c = self.bottom(self.lower(F.pixel_unshuffle(b, 2)))  # (B, 2*width, 4, 4)
        if not self.hparams["skips"]:
            a, b = torch.zeros_like(a), torch.zeros_like(b)
        h = self.lift(F.leaky_relu(c, SLOPE))  # (B, 2*width, 8, 8)
        h = self.middle_up(self.join_middle(torch.cat([h, b], dim=1)))  # (B, 2*width, 8, 8)
        h = self.up(F.leaky_relu(h, SLOPE))  # (B, width, 16, 16)
        h = self.late(self.join_late(torch.cat([h, a], dim=1)))  # (B, width, 16, 16)
        return torch.tanh(self.head(F.leaky_relu(h, SLOPE)) + self.direct(cond))  # (B, 3, 32, 32)


def pair_input(cond: Tensor, x: Tensor) -> Tensor:
    """Input (B, C, H, W) and picture (B, K, H, W) on top of each other, the input first: (B, C + K, H, W).

    Raises ``ValueError`` where batch, height or width differ.
    """
    expect_shape(cond, "B C H W", name="cond")
    expect_shape(x, f"{len(cond)} K {cond.shape[2]} {cond.shape[3]}", name="picture")
    return torch.cat([cond, x], dim=1)


def receptive_field(layers: Sequence[tuple[int, int]]) -> int:
    """How many input pixels, along one side, an output of a stack of layers can depend on.

    ``layers`` are (kernel, stride) from the input to the output. Each layer adds kernel - 1 of its own input's steps,
    and such a step is the product of the strides before it. Araujo et al., "Computing receptive fields of
    convolutional neural networks", Distill 2019. Raises ``ValueError`` for a kernel or a stride below 1.
    """
    field, step = 1, 1
    for kernel, stride in layers:
        if kernel < 1 or stride < 1:
            raise ValueError(f"receptive_field: expected kernels and strides of at least 1, got ({kernel}, {stride}).")
        field += (kernel - 1) * step
        step *= stride
    return field


class PatchDiscriminator(nn.Module):
    """Pictures (B, 3, 32, 32) and their inputs (B, C, 32, 32) to 64 logits a picture, (B, 1, 8, 8).

    Each logit sees one patch of both. ``wide=False``: 16 of the 32 pixels; ``wide=True``: all 32. ``cond=0`` looks at
    the picture alone. Isola et al., arXiv 1611.07004, section 3.2.2 (PatchGAN).
    """

    def __init__(self, *, cond: int = 1, width: int = 24, wide: bool = False, channels: int = 3):
        super().__init__()
        self.hparams: dict[str, Any] = dict(cond=cond, width=width, wide=wide, channels=channels)
        size = 3 if wide else 1
        self.stem = conv(4 * (channels + cond), width)
        self.early = ResBlock(width)
        self.down = conv(4 * width, 2 * width, 1)
        self.late = conv(2 * width, 2 * width, size)
        self.last = conv(2 * width, 2 * width, size)
        self.out = conv(2 * width, 1, 1)

    @property
    def layers(self) -> list[tuple[int, int]]:
        """(kernel, stride) from the pixels to the logits; folding 2x2 pixels is a kernel of 2 with a stride of 2."""
        size = 3 if self.hparams["wide"] else 1
        return [(2, 2), (3, 1), (3, 1), (3, 1), (2, 2), (1, 1), (size, 1), (size, 1), (1, 1)]

    def look(self, x: Tensor) -> Tensor:
        return x

    def score(self, features: Tensor, cond: Tensor | None) -> Tensor:
        both = features if cond is None else pair_input(cond, features)  # (B, C + 3, 32, 32)
        h = self.early(self.stem(F.pixel_unshuffle(both, 2)))  # (B, width, 16, 16)
        h = self.down(F.pixel_unshuffle(F.leaky_relu(h, SLOPE), 2))  # (B, 2*width, 8, 8)
        h = self.late(F.leaky_relu(h, SLOPE))
        h = self.last(F.leaky_relu(h, SLOPE))
        return self.out(F.leaky_relu(h, SLOPE))  # (B, 1, 8, 8)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.score(self.look(x), cond)


# ---------------------------------------------------------------------------------------------------------- training


def l1_term(weight: float) -> Extra:
    r"""$\lambda E|x - \hat x|$ as a further term of G's loss, for ``play``. arXiv 1611.07004, equation 3."""

    def extra(fake: Tensor, batch: Batch, progress: float) -> Tensor:
        return weight * (fake - batch.real).abs().mean()

    return extra


def _run(steps: int, **more: Any) -> TrainConfig:
    # gamma is small, because the penalty takes the slope of a sum of 64 logits
    usual: dict[str, Any] = dict(batch=16, z=1, gamma=0.01, final_lr=0.05, ema=0.99)
    return TrainConfig(steps=steps, **{**usual, **more})


@dataclass(frozen=True)
class Recipe:
    """Sizes and numbers of one paired run; a profile is one of these. ``l1`` is the weight of the L1 term in G's loss,
    ``alone`` the number of steps of the run without a discriminator that stands beside it."""

    source: str = "world"
    task: str = "outline"
    width: int = 24
    blocks: int = 1
    skips: bool = True
    wide: bool = False
    l1: float = 3.0
    alone: int = 400
    config: TrainConfig = field(default_factory=lambda: _run(1200))

    def describe(self) -> dict[str, Any]:
        """As plain JSON values, for the card."""
        return dict(json.loads(json.dumps(asdict(self))))


#: Outlines of the world become pictures. "shipped" is the cpu recipe with more time.
PROFILES = {
    "quick": Recipe(alone=25, config=_run(100, gamma=0.005, ema=0.95)),
    "cpu": Recipe(),
    "shipped": Recipe(alone=800, config=_run(2400, final_lr=0.02, ema=0.995)),
    "gpu": Recipe(width=64, blocks=2, alone=2000, config=_run(6000, batch=64, lr=6e-4, final_lr=0.02, ema=0.998)),
}
#: Grey photographs become coloured ones.
PHOTOGRAPHS = {
    "quick": Recipe("photographs", "grey", l1=5.0, alone=20, config=_run(50, gamma=0.005, ema=0.9)),
    "cpu": Recipe("photographs", "grey", l1=5.0, alone=200, config=_run(500, gamma=0.005)),
    "gpu": Recipe(
        "photographs", "grey", width=64, l1=5.0, alone=1000, config=_run(4000, batch=64, lr=6e-4, gamma=0.005)
    ),
}


def prepare(
    recipe: Recipe, *, seed: int = 0, device: str = "cpu"
) -> tuple[UNet, PatchDiscriminator, Sample, Extra, TrainConfig]:
    """All that ``play`` needs: ``G, D, sample, extra, config = prepare(recipe)``. The seed sets the first weights.

    A wrong condition is another picture's input.
    """
    near = recipe.task == "grey"  # a grey picture already looks like the one with colours
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        G = UNet(width=recipe.width, blocks=recipe.blocks, skips=recipe.skips, near=near).to(device)
        D = PatchDiscriminator(width=recipe.width, wide=recipe.wide).to(device)

    def sample(rng: torch.Generator, step: int) -> Batch:
        cond, real = pairs(recipe.config.batch, rng, source=recipe.source, task=recipe.task)
        return Batch(real, cond, cond.roll(1, 0))

    return G, D, sample, l1_term(recipe.l1), replace(recipe.config, seed=seed)


def fit_l1(G: nn.Module, sample: Sample, config: TrainConfig, *, state: State | None = None) -> Iterator[Step]:
    """G alone, by L1 and nothing else: no discriminator, no game. Yields a step as ``play`` does."""
    state = state or State.start(G, nn.Linear(1, 1), config)  # a state needs some D; nobody asks this one
    while state.step < config.steps:
        began = time.perf_counter()
        batch = sample(state.rng, state.step)
        loss = (G(None, batch.cond) - batch.real).abs().mean()
        if not torch.isfinite(loss):
            raise Diverged(state.step + 1, {"l1": float(loss.detach())})
        state.opt_g.param_groups[0]["lr"] = config.lr_at(state.step)
        state.opt_g.zero_grad(set_to_none=True)
        loss.backward()
        state.opt_g.step()
        update_ema(state.ema, G, min(config.ema, (state.step + 1) / (state.step + 10)))
        state.step += 1
        state.seconds += time.perf_counter() - began
        yield Step(state.step, state.seconds, {"l1": float(loss.detach())}, state)


@torch.no_grad()
def translate(G: nn.Module, cond: Tensor, *, chunk: int = 250) -> Tensor:
    """The pictures (B, 3, 32, 32) that G makes of inputs (B, C, 32, 32), on the CPU."""
    device = next(G.parameters()).device
    return torch.cat([G(None, part.to(device)).cpu() for part in cond.split(chunk)])


# --------------------------------------------------------------------------------------------------------- measuring


def edge_energy(x: Tensor) -> float:
    """The mean gradient length of pictures (B, C, H, W): low where they are blurred or pale."""
    return slopes(x).mean().item()


def colourfulness(x: Tensor) -> float:
    """The mean distance between the strongest and the weakest of the three colours, over all pixels of pictures
    (B, 3, H, W) in [-1, 1]: 0 for grey ones, at most 2."""
    expect_shape(x, "B 3 H W", name="pictures")
    return (x.amax(1) - x.amin(1)).mean().item()


def auc(high: Tensor, low: Tensor) -> float:
    """How often one of ``high`` (N,) lies above one of ``low`` (M,), over all N*M pairs; a tie counts one half.

    The area under the ROC curve, by ranks (Mann and Whitney, 1947). Raises ``ValueError`` on an empty side.
    """
    if not len(high) or not len(low):
        raise ValueError(f"auc: expected values on both sides, got {len(high)} and {len(low)}.")
    above, equal = high[:, None] > low[None], high[:, None] == low[None]  # (N, M)
    return (above.double() + equal.double() / 2).mean().item()


@torch.no_grad()
def mismatch_auc(D: nn.Module, test: Pairs) -> float:
    """How well D tells a picture with its own input from the same picture with its neighbour's: an AUC, .5 by chance.

    A picture's score is the mean of its patches' logits.
    """
    device = next(D.parameters()).device
    real, cond = test.real.to(device), test.cond.to(device)
    own, other = (D(real, c).flatten(1).mean(1) for c in (cond, cond.roll(1, 0)))  # (B,) each
    return auc(own.cpu(), other.cpu())


# ----------------------------------------------------------------------------------------------------- without pairs


def day_and_night(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two sets that share no picture: n scenes by day, and n *other* scenes as negatives, (n, 3, 32, 32) each.

    By day the ground is light; in a negative it is dark, and each colour is its opposite. One thing a scene.
    """
    day, night = (world.draw(world.sample_scenes(n, g, objects=(1,))) for _ in range(2))
    return day, -night


class CycleStep(NamedTuple):
    """One finished step of ``play_cycle``: its number, from 1, the training seconds so far, and the losses."""

    number: int
    seconds: float
    losses: dict[str, float]


def play_cycle(
    AB: UNet,
    BA: UNet,
    DA: PatchDiscriminator,
    DB: PatchDiscriminator,
    sample: Callable[[int, torch.Generator], tuple[Tensor, Tensor]],
    config: TrainConfig,
    *,
    weight: float = 10.0,
) -> Iterator[CycleStep]:
    r"""Two generators and two discriminators, no pairs. Yields a ``CycleStep`` after each step.

    ``sample(n, g)`` gives n pictures of A and n of B that have nothing to do with each other. Both generators play
    ``config.game`` against the discriminator of their target, and share
    $\lambda(E|BA(AB(a)) - a| + E|AB(BA(b)) - b|)$ with ``weight`` for $\lambda$ (Zhu et al., arXiv 1703.10593,
    equation 2). R1 and R2 as in ``play``. Raises ``Diverged`` where a loss stops being finite.
    """
    rules, rng, seconds = game(config.game), torch.Generator().manual_seed(config.seed), 0.0
    makers, critics = [*AB.parameters(), *BA.parameters()], [*DA.parameters(), *DB.parameters()]
    opts = [torch.optim.Adam(p, lr=config.lr, betas=config.betas, foreach=True) for p in (critics, makers)]
    for i in range(config.steps):
        began = time.perf_counter()
        for opt in opts:
            opt.param_groups[0]["lr"] = config.lr_at(i)
        a, b = sample(config.batch, rng)
        as_b, as_a = AB(None, a), BA(None, b)

        loss_d = rules.d(DA(a), DA(as_a.detach())) + rules.d(DB(b), DB(as_b.detach()))
        if config.gamma and i % config.reg_every == 0:
            slope = sum(
                gradient_penalty_at(D, torch.cat(two).detach()) for D, two in ((DA, (a, as_a)), (DB, (b, as_b)))
            )
            loss_d = loss_d + config.gamma_at(i) * config.reg_every * slope
        _descend(opts[0], critics, loss_d, i + 1)

        loss_g = rules.g(DA(a).detach(), DA(as_a)) + rules.g(DB(b).detach(), DB(as_b))
        loss_c = cycle_loss(a, BA(None, as_b), b, AB(None, as_a))
        _descend(opts[1], makers, loss_g + weight * loss_c, i + 1)

        seconds += time.perf_counter() - began
        losses = {"d": loss_d, "g": loss_g, "cycle": loss_c}
        yield CycleStep(i + 1, seconds, {name: float(value.detach()) for name, value in losses.items()})


def cycle_loss(a: Tensor, a_back: Tensor, b: Tensor, b_back: Tensor) -> Tensor:
    r"""$E|a - BA(AB(a))| + E|b - AB(BA(b))|$: both ways round, each mean over all numbers. arXiv 1703.10593, eq. 2."""
    return (a - a_back).abs().mean() + (b - b_back).abs().mean()


def _descend(opt: torch.optim.Optimizer, parameters: list[nn.Parameter], loss: Tensor, step: int) -> None:
    if not torch.isfinite(loss):
        raise Diverged(step, {"loss": float(loss.detach())})
    for p, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        p.grad = slope
    opt.step()


# ----------------------------------------------------------------------------------------------------------- shipped


def measure(G: nn.Module, recipe: Recipe, *, n: int = 500, seed: int = 1, D: nn.Module | None = None) -> dict[str, Any]:
    """A generator on n test pairs that no training saw, beside copying the input, the mean training picture and the
    truth; with D also its AUC on mismatched pairs."""
    g = torch.Generator().manual_seed(10_000 + seed)
    test = pairs(n, g, source=recipe.source, task=recipe.task, split="test")
    mean = pairs(n, g, source=recipe.source, task=recipe.task).real.mean(0, keepdim=True)
    shown = {
        "model": translate(G, test.cond),
        "copy": test.cond.expand(-1, 3, -1, -1),
        "mean picture": mean.expand(n, -1, -1, -1),
        "truth": test.real,
    }
    figures: dict[str, Any] = {
        name: {
            "l1": (x - test.real).abs().mean().item(),
            "edges": edge_energy(x),
            "colours": colourfulness(x),
        }
        for name, x in shown.items()
    }
    if D is not None:
        figures["auc"] = mismatch_auc(D, test)
    return {**figures, "n": n}


class Translators(nn.Module):
    """Two U-Nets of one size in one checkpoint: ``alone`` was trained by L1, ``game`` by L1 and a discriminator."""

    def __init__(self, **hparams: Any):
        super().__init__()
        self.alone, self.game = UNet(**hparams), UNet(**hparams)
        self.hparams: dict[str, Any] = self.game.hparams

    def forward(self, z: Tensor | None, cond: Tensor) -> Tensor:
        return self.game(z, cond)
