"""A hole is filled from its surroundings, or as a sentence asks (derived in lessons 10 and 11).

``mask`` (B, 1, H, W) is 1 in the hole. ``text`` (B, 64) is a caption's unit vector; a row of zeros says nothing, so
one network completes with and without a sentence. After Pathak et al. (context encoders), arXiv 1604.07379; Liu et al.
(partial convolution), arXiv 1804.07723; Yu et al. (gated convolution), arXiv 1806.03589; Reed et al. (matching-aware
discriminator), arXiv 1605.05396.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse import masks, pictures, ranks, world
from mmcourse.checks import expect_one_of, expect_shape
from mmcourse.data import LANGUAGES, CaptionPool, Encode
from mmcourse.layers import SLOPE, ModBlock, Trunk, Whiten, conv, linear, no_grad_copy, upsample_head
from mmcourse.losses import game, gradient_penalty_at
from mmcourse.masks import compose, hide
from mmcourse.train import State, Step, TrainConfig, expect_finite, move, update_ema, whole_step

SPACE = 64
STEMS = ("plain", "gated", "partial")

# ------------------------------------------------------------------------------------------- convolutions with holes


class GatedConv(nn.Module):
    r"""$\phi(W_f * x)\,\sigma(W_g * x)$: each output decides, pixel by pixel, how far it counts. (B, C, H, W) in.

    Yu et al., arXiv 1806.03589, equation 3; the feature's own activation is left to the next layer.
    """

    def __init__(self, channels_in: int, channels_out: int, size: int = 3):
        super().__init__()
        self.both = conv(channels_in, 2 * channels_out, size)

    def forward(self, x: Tensor) -> Tensor:
        feature, gate = self.both(x).chunk(2, dim=1)
        return feature * torch.sigmoid(gate + 1)  # the gates start nearly open


def partial_conv(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    r"""A convolution that sees known pixels alone, and what is known after it.

    $W^T(x \odot m)\,\frac{\mathrm{size}}{\sum m} + b$ where the window holds a known pixel, else 0; m is 1 where x is
    **known**, the mask here 1 in the hole. Returns features (B, K, H, W) and the new mask (B, 1, H, W): 1 where still
    no known pixel is in the window. Zero padding counts as unknown. Liu et al., arXiv 1804.07723, equations 1 and 2.
    """
    expect_shape(mask, f"{len(x)} 1 {x.shape[2]} {x.shape[3]}", name="mask")
    size, pad = weight.shape[2] * weight.shape[3], weight.shape[2] // 2
    known = 1 - mask
    seen = F.conv2d(known, weight.new_ones(1, 1, *weight.shape[2:]), padding=pad)  # (B, 1, H, W): known pixels
    out = F.conv2d(x * known, weight, padding=pad) * (size / seen.clamp(min=1)) + bias.view(1, -1, 1, 1)
    reached = (seen > 0).to(x)
    return out * reached, 1 - reached


class PartialConv(nn.Module):
    """``partial_conv`` with weights of its own: pictures and mask in, features and the smaller mask out."""

    def __init__(self, channels_in: int, channels_out: int, size: int = 3):
        super().__init__()
        inner = conv(channels_in, channels_out, size)
        assert inner.bias is not None
        self.weight, self.bias = inner.weight, inner.bias

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return partial_conv(x, mask, self.weight, self.bias)


class Stem(nn.Module):
    """Pictures (B, 3, H, W) and mask to features (B, width, H/2, W/2), by a kind of ``STEMS``.

    ``plain`` and ``gated`` read the picture with an empty hole and the mask as a fourth channel. ``partial`` walks into
    the hole with ``depth`` partial convolutions at full size, then reads the mask too.
    """

    def __init__(self, width: int, kind: str = "plain", *, depth: int = 3):
        super().__init__()
        self.kind = expect_one_of(kind, STEMS, name="stem")
        if kind == "partial":
            widths = [3, *([width // 4] * depth)]
            self.walk = nn.ModuleList(PartialConv(a, b) for a, b in itertools.pairwise(widths))
            self.read: nn.Module = conv(4 * (4 + width // 4), width)
        else:
            self.read = conv(16, width) if kind == "plain" else GatedConv(16, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        damaged = build_input(x, mask)  # (B, 4, H, W)
        if self.kind == "partial":
            h, left = damaged[:, :3], mask
            for layer in self.walk:
                h, left = layer(h, left)
                h = F.leaky_relu(h, SLOPE)
            damaged = torch.cat([damaged, h], dim=1)
        return self.read(F.pixel_unshuffle(damaged, 2))


# ---------------------------------------------------------------------------------------------------------- networks


def build_input(x: Tensor, mask: Tensor) -> Tensor:
    """What the network may see: the picture with an empty hole, and the mask as a fourth channel, (B, 4, H, W).

    Whatever lies under the mask, even NaN, is gone; ``compose`` is the other end of the same promise.
    """
    expect_shape(x, "B 3 H W", name="pictures")
    return torch.cat([hide(x, mask), mask.to(x)], dim=1)


class Inpainter(nn.Module):
    """Noise z (B, Z), pictures (B, 3, H, W) in [-1, 1], a mask (B, 1, H, W) and perhaps a text (B, 64) to whole
    pictures (B, 3, H, W): the known pixels bit for bit, the hole filled in. H and W are multiples of 8.

    A U-Net with skips at half and at a quarter of the size. Noise and text enter as one modulation of every block. A
    pixel of the fill is mixed of the known pixels' averages (``pull_push``) and of copied ones (``copy_known``), plus
    paint of its own. In eval mode the fill is clipped to [-1, 1].
    """

    def __init__(
        self,
        *,
        z: int = 8,
        cond: int = 0,
        width: int = 40,
        blocks: int = 1,
        mapping: int = 128,
        stem: str = "plain",
        keys: int = 8,
    ):
        super().__init__()
        self.hparams: dict[str, Any] = dict(
            z=z, cond=cond, width=width, blocks=blocks, mapping=mapping, stem=stem, keys=keys
        )

        def row(w: int) -> nn.ModuleList:
            return nn.ModuleList(ModBlock(w, mapping) for _ in range(blocks))

        self.whiten = Whiten(cond) if cond else None
        self.map = linear(z + cond + (1 if cond else 0), mapping)
        self.stem, self.early = Stem(width, stem), row(width)
        self.down, self.middle = conv(4 * width, 2 * width, 1), row(2 * width)
        self.lower, self.bottom = conv(8 * width, 2 * width, 1), row(2 * width)
        self.lift = nn.Sequential(conv(2 * width, 8 * width, 1), nn.PixelShuffle(2))
        self.join_middle, self.middle_up = conv(4 * width, 2 * width, 1), row(2 * width)
        self.up = nn.Sequential(conv(2 * width, 4 * width, 1), nn.PixelShuffle(2))
        self.join_late, self.late = conv(2 * width, width, 1), row(width)
        self.head = upsample_head(width, 4, gain=0.3)  # three colours of paint, and how far to copy
        self.ask, self.offer = upsample_head(width, keys, gain=0.3), conv(width, keys, 1, gain=0.3)

    def style(self, z: Tensor, text: Tensor | None) -> Tensor:
        """Noise and text as one vector (B, mapping) that modulates every block. No text is a row of zeros."""
        expect_shape(z, f"B {self.hparams['z']}", name="z")
        if self.whiten is None:
            if text is not None:
                raise ValueError("text: this inpainter was made without (cond=0); use one that reads sentences.")
            return F.leaky_relu(self.map(z), SLOPE)
        if text is None:
            text = z.new_zeros(len(z), self.hparams["cond"])
        expect_shape(text, f"{len(z)} {self.hparams['cond']}", name="text")
        told = (text != 0).any(1, keepdim=True).to(z)  # (B, 1)
        return F.leaky_relu(self.map(torch.cat([z, self.whiten(text) * told, told], dim=1)), SLOPE)

    def forward(self, z: Tensor, x: Tensor, mask: Tensor, text: Tensor | None = None) -> Tensor:
        if x.shape[-1] % 8 or x.shape[-2] % 8:
            raise ValueError(f"pictures: expected sides that are multiples of 8, got {tuple(x.shape[-2:])}.")
        w = self.style(z, text)
        a = _through(self.early, self.stem(x, mask), w)  # (B, width, H/2, W/2)
        b = _through(self.middle, self.down(F.pixel_unshuffle(a, 2)), w)  # (B, 2*width, H/4, W/4)
        h = _through(self.bottom, self.lower(F.pixel_unshuffle(b, 2)), w)  # (B, 2*width, H/8, W/8)
        h = self.lift(F.leaky_relu(h, SLOPE))
        h = _through(self.middle_up, self.join_middle(torch.cat([h, b], dim=1)), w)
        h = self.up(F.leaky_relu(h, SLOPE))
        h = _through(self.late, self.join_late(torch.cat([h, a], dim=1)), w)
        h = F.leaky_relu(h, SLOPE)
        paint, how = self.head(h).split([3, 1], dim=1)  # (B, 3, H, W) and (B, 1, H, W)
        copied = copy_known(self.ask(h), self.offer(h), x, mask)
        fill = torch.lerp(pull_push(x, mask), copied, torch.sigmoid(how)) + paint
        return compose(x, fill if self.training else fill.clamp(-1, 1), mask)


def pull_push(x: Tensor, mask: Tensor) -> Tensor:
    """Pictures (B, C, H, W) whose hole holds the averages of the known pixels nearby: where a fill starts from.

    Down: each 2x2 block becomes the mean of its known pixels, until one pixel or an odd side is left. Up: what is
    unknown takes the coarser level, bilinearly. Gortler et al., "The Lumigraph", 1996. Grey, 0, if nothing is known.
    """
    known = (1 - mask).to(x)
    return _pull_push(hide(x, mask), known)


def _pull_push(x: Tensor, known: Tensor) -> Tensor:
    if min(x.shape[-2:]) == 1 or x.shape[-1] % 2 or x.shape[-2] % 2:
        mean = (x * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1e-6)
        return torch.where(known > 0, x, mean)
    weight = F.avg_pool2d(known, 2)
    coarse = _pull_push(F.avg_pool2d(x * known, 2) / weight.clamp(min=1e-6), (weight > 0).to(x))
    return torch.where(known > 0, x, F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False))


def copy_known(ask: Tensor, offer: Tensor, x: Tensor, mask: Tensor) -> Tensor:
    """Each pixel asks, each known 2x2 block of the picture offers itself, and the pixel takes the blocks' colours by
    how well they answer: attention. ``ask`` (B, K, H, W), ``offer`` (B, K, H/2, W/2), pictures (B, 3, H, W), their
    mask; gives (B, 3, H, W), or grey, 0, where nothing is known. After Yu et al. (contextual attention), arXiv
    1801.07892.
    """
    share = F.avg_pool2d((1 - mask).to(x), 2)  # (B, 1, H/2, W/2): how much of a block is known
    colours = F.avg_pool2d(hide(x, mask), 2) / share.clamp(min=0.25)
    there = (share > 0).flatten(2)  # (B, 1, blocks)
    answers = ask.flatten(2).transpose(1, 2) @ offer.flatten(2) / math.sqrt(ask.shape[1])  # (B, pixels, blocks)
    answers = answers.masked_fill(~there & there.any(2, keepdim=True), -math.inf)
    return (torch.softmax(answers, dim=2) @ colours.flatten(2).transpose(1, 2)).transpose(1, 2).view_as(x)


def _through(blocks: nn.ModuleList, h: Tensor, w: Tensor) -> Tensor:
    for block in blocks:
        h = block(h, w)
    return h


class Discriminator(nn.Module):
    """Pictures (B, 3, 32, 32), masks (B, 1, 32, 32) and perhaps texts (B, 64) to logits (B, 1).

    It sees where the hole was. With ``cond`` a projection measures the fit to the text (arXiv 1802.05637); a row of
    zeros, no text, adds nothing.
    """

    def __init__(self, *, cond: int = 0, width: int = 32, blocks: int = 1, features: int = 128):
        super().__init__()
        self.hparams: dict[str, Any] = dict(cond=cond, width=width, blocks=blocks, features=features)
        self.trunk = Trunk(width=width, blocks=blocks, features=features, channels=4)
        self.alone = linear(features, 1)
        self.project = linear(features, cond, gain=math.sqrt(cond)) if cond else None

    @torch.no_grad()
    def start_from(self, tower: Any, x: Tensor, text: Tensor) -> None:
        """Begin with the eyes of a trained image tower, blind to the mask, and with the shared space as the measure of
        fit. ``x`` (B, 3, 32, 32) and its captions ``text`` (B, 64) set the fits' spread to 1. Every weight goes on
        learning. After Sauer et al. (Projected GANs), arXiv 2111.01007, where the eyes stay frozen."""
        eyes = {name: value.clone() for name, value in tower.trunk.state_dict().items()}
        stem = eyes["stem.weight"]  # (width, 12, 3, 3): the three colours' 2x2 pixels, then the mask's
        eyes["stem.weight"] = torch.cat([stem, stem.new_zeros(len(stem), 4, 3, 3)], dim=1)
        if self.project is None:
            raise ValueError("start_from: this discriminator reads no text (cond=0).")
        try:
            self.trunk.load_state_dict(eyes)
            self.project.load_state_dict(tower.out.state_dict())
        except RuntimeError as error:
            raise ValueError(f"start_from: the tower is not of this discriminator's size. {error}") from error
        self.alone.weight.zero_()
        spread = self(x, torch.zeros_like(x[:, :1]), text).std()
        for p in self.project.parameters():
            p.div_(spread)

    def look(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.trunk(torch.cat([x, mask], dim=1))  # (B, features)

    def score(self, features: Tensor, text: Tensor | None = None) -> Tensor:
        logits = self.alone(features)
        if self.project is not None and text is not None:
            logits = logits + (self.project(features) * text).sum(1, keepdim=True)
        return logits  # (B, 1)

    def forward(self, x: Tensor, mask: Tensor, text: Tensor | None = None) -> Tensor:
        return self.score(self.look(x, mask), text)


# -------------------------------------------------------------------------------------------------------- the losses


def hole_l1(fake: Tensor, real: Tensor, mask: Tensor, *, discount: float = 1.0, shared: bool = False) -> Tensor:
    r"""The mean absolute error over the hole's numbers alone: pictures (B, C, H, W), mask (B, 1, H, W).

    With a ``discount`` below 1 a hole pixel counts ``discount``$^d$, d its distance in pixels to what is known: near
    the edge there is one right answer, in the middle there may be many (Yu et al., arXiv 1801.07892, section 3.2). A
    batch without a hole has no error. ``shared``: this is one process's share of a batch, and its holes count as they
    would in the whole (see ``ranks``); every process must then call it.
    """
    weight = mask if discount == 1 else mask * edge_weights(mask, discount)
    total = weight.sum()
    if shared:
        ranks.average([total])
    return ((fake - real).abs() * weight).sum() / (total * real.shape[1]).clamp(min=1e-6)


def edge_weights(mask: Tensor, discount: float) -> Tensor:
    """``discount``$^d$ for each pixel of masks (B, 1, H, W), d its distance to the nearest known pixel, diagonal steps
    counted as one: 1 where known, ``discount`` at the hole's edge, less inside. Raises unless 0 < discount <= 1."""
    if not 0 < discount <= 1:
        raise ValueError(f"discount: expected more than 0 and at most 1, got {discount}.")
    weight = 1 - mask
    for _ in range(max(mask.shape[-2:])):
        weight = torch.maximum(weight, discount * F.max_pool2d(weight, 3, stride=1, padding=1))
    return weight


def drop_text(text: Tensor, share: float, g: torch.Generator) -> Tensor:
    """Texts (B, K) of which each row becomes zeros with probability ``share``: whole rows, never single numbers."""
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected 0 to 1, got {share}.")
    keep = torch.rand(len(text), 1, generator=g, device=text.device) >= share
    return torch.where(keep, text, torch.zeros_like(text))


class Damaged(NamedTuple):
    """One batch: whole pictures (B, 3, H, W), masks (B, 1, H, W) and, for the guided model, texts (B, 64) that are true
    of what is hidden (zeros where nothing is said), texts that are false, and the whole picture's captions (B, 64)."""

    real: Tensor
    mask: Tensor
    text: Tensor | None = None
    wrong: Tensor | None = None
    whole: Tensor | None = None


Damage = Callable[[torch.Generator, int], Damaged]
Extra = Callable[[Tensor, Damaged, float], Tensor]


def play_repair(
    G: Inpainter, D: Discriminator, sample: Damage, config: TrainConfig, *, extra: Extra, state: State | None = None
) -> Iterator[Step]:
    """The game about holes; yields a ``Step`` after each step, as ``play`` does.

    D holds the real picture above three kinds of fakes: G's completion, the real hole in a stranger's surroundings, and
    the real picture with a false text (both times ``config.mismatch``; the last where there is a text). G plays against
    D and has ``extra(fake, batch, progress)`` on top. Raises ``Diverged`` before a weight is touched by a loss that
    is not finite.
    """
    state = state or State.start(G, D, config)
    while state.step < config.steps:
        began = time.perf_counter()
        with whole_step(state):
            losses = _one_step(state, sample, extra)
        state.seconds += time.perf_counter() - began
        yield Step(state.step, state.seconds, losses, state)


def fit_hole(G: Inpainter, sample: Damage, config: TrainConfig, *, state: State | None = None) -> Iterator[Step]:
    """G alone, by the hole's L1 and nothing else: no discriminator, no game. A good place to start the game from.
    Yields a ``Step`` as ``play`` does."""
    state = state or State.start(G, nn.Linear(1, 1), config)  # a state needs some D; nobody asks this one
    while state.step < config.steps:
        began, i = time.perf_counter(), state.step
        with whole_step(state):
            state.opt_g.param_groups[0]["lr"] = config.lr_at(i)
            whole = sample(state.rng, i)
            z = ranks.share(torch.randn(len(whole.real), config.z, generator=state.rng, device=whole.real.device))
            batch = ranks.share(whole)
            loss = hole_l1(G(z, batch.real, batch.mask, batch.text), batch.real, batch.mask, shared=True)
            losses = expect_finite(i + 1, l1=loss)
            move(state.opt_g, G, loss)
            update_ema(state.ema, G, config.ema_at(i))
            state.step += 1
        state.seconds += time.perf_counter() - began
        yield Step(state.step, state.seconds, losses, state)


def guided_d(
    D: Discriminator, batch: Damaged, fake: Tensor, config: TrainConfig, *, stranger: Tensor | None = None
) -> Tensor:
    """D's loss without its penalty: real above fake, above a stranger's surroundings, above a false text. A picture's
    stranger is its neighbour in the batch, unless others are given (B, 3, H, W)."""
    rules = game(config.game)
    real, mask, text = batch.real, batch.mask, batch.text
    other = real.roll(1, 0) if stranger is None else stranger
    strange = compose(other, real, mask)  # this picture's hole, that picture's surroundings
    seen, made, odd = D.look(torch.cat([real, fake.detach(), strange]), mask.repeat(3, 1, 1, 1)).chunk(3)
    real_logits = D.score(seen, text)
    loss = rules.d(real_logits, D.score(made, text)) + config.mismatch * rules.d(real_logits, D.score(odd, text))
    if batch.wrong is not None:
        loss = loss + config.mismatch * rules.d(real_logits, D.score(seen, batch.wrong))
    return loss


def _one_step(state: State, sample: Damage, extra: Extra) -> dict[str, float]:
    G, D, config, i = state.G, state.D, state.config, state.step
    for opt in (state.opt_d, state.opt_g):
        opt.param_groups[0]["lr"] = config.lr_at(i)
    whole = sample(state.rng, i)
    z = ranks.share(torch.randn(len(whole.real), config.z, generator=state.rng, device=whole.real.device))
    batch, stranger = ranks.share(whole), ranks.share(whole.real.roll(1, 0))
    real, mask, text = batch.real, batch.mask, batch.text
    fake = G(z, real, mask, text)

    loss_d = guided_d(D, batch, fake, config, stranger=stranger)
    penalty = torch.zeros((), device=real.device)
    if config.gamma and i % config.reg_every == 0:
        both, twice = torch.cat([real, fake.detach()]), mask.repeat(2, 1, 1, 1)
        told = None if text is None else text.repeat(2, 1)
        penalty = config.gamma_at(i) * config.reg_every * gradient_penalty_at(lambda x: D(x, twice, told), both)
    found = expect_finite(i + 1, d=loss_d, penalty=penalty)
    move(state.opt_d, D, loss_d + penalty)

    with torch.no_grad():
        real_logits = D(real, mask, text)
    loss_g = game(config.game).g(real_logits, D(fake, mask, text))
    helped = extra(fake, batch, i / config.steps)
    found |= expect_finite(i + 1, g=loss_g, extra=helped)
    move(state.opt_g, G, loss_g + helped)

    update_ema(state.ema, G, config.ema_at(i))
    state.step += 1
    return found


# ---------------------------------------------------------------------------------------------------- damaged pictures


def thing(labels: Tensor, which: Tensor) -> Tensor:
    """Of scenes (B, 8) one thing each, which (B,) = 0 for A and 1 for B, as the statement (B, 8) that there is such a
    thing: its shape, colour and size, its place left open."""
    expect_shape(labels, "B 8", name="labels")
    out = torch.full_like(labels, world.OPEN)
    out[:, 0] = 1
    rows = torch.arange(len(labels), device=labels.device)
    for k in range(3):
        out[:, 1 + k] = labels[rows, 1 + 3 * which + k]
    return out


def hide_thing(scenes: world.Scenes, g: torch.Generator, *, jitter: float = 0.02) -> tuple[Tensor, Tensor]:
    """Masks (B, 1, 32, 32) that hide one thing of each scene whole, and which (B,): 0 for A, 1 for B.

    The square has one size, about a point near the thing's centre, so that neither tells shape, colour or size.
    """
    n, device = len(scenes), scenes.labels.device
    second = torch.rand(n, generator=g, device=device) < 0.5
    which = (second & (scenes.labels[:, 0] == 2)).long()
    centre = scenes.centre[torch.arange(n, device=device), which]  # (B, 2)
    nudge = jitter * (2 * torch.rand(n, 2, generator=g, device=device) - 1)
    return masks.around(centre + nudge), which


class HoleCaptions:
    """The vectors of captions of one thing ("a small red circle"), all of them encoded once, each in several wordings.

    ``pick(statements, g)`` gives vectors (B, 64) of captions that state shape, colour and size, some of it left open.
    """

    def __init__(
        self,
        encode: Encode,
        *,
        seed: int = 0,
        wordings: int = 8,
        languages: Sequence[str] = LANGUAGES,
        device: str = "cpu",
    ):
        self.sizes = (len(world.SHAPES) + 1, len(world.COLOURS) + 1, len(world.SIZES) + 1)  # the last one: left open
        a, b, c = torch.meshgrid(*(torch.arange(k) for k in self.sizes), indexing="ij")
        rows = torch.full((a.numel(), 8), world.OPEN)
        rows[:, 0] = 1
        for k, values in enumerate((a, b, c)):
            rows[:, 1 + k] = torch.where(values == self.sizes[k] - 1, world.OPEN, values).flatten()
        said = ~world.holds_out(rows) & (rows[:, 1:4] != world.OPEN).any(1)  # never a held-out pair, never nothing
        rng = random.Random(seed)
        self.table = torch.zeros(len(rows), wordings, SPACE)
        for k in range(wordings):
            self.table[said, k] = encode(world.captions(rows[said], rng, languages=languages)).cpu()
        self.table = self.table.to(device)

    def pick(self, statements: Tensor, g: torch.Generator) -> Tensor:
        last = torch.tensor(self.sizes, device=statements.device) - 1
        at = torch.where(statements[:, 1:4] == world.OPEN, last, statements[:, 1:4])
        row = (at[:, 0] * self.sizes[1] + at[:, 1]) * self.sizes[2] + at[:, 2]
        wording = torch.randint(self.table.shape[1], (len(row),), generator=g, device=row.device)
        return self.table[row, wording]


def leave_open(statements: Tensor, share: float, g: torch.Generator) -> Tensor:
    """Statements about one thing (B, 8) with shape, colour and size each left open with this probability, never all."""
    drop = torch.rand(len(statements), 3, generator=g, device=statements.device) < share
    drop &= ~drop.all(1, keepdim=True)
    out = statements.clone()
    out[:, 1:4] = out[:, 1:4].masked_fill(drop, world.OPEN)
    return out


def change_one(statements: Tensor, g: torch.Generator) -> Tensor:
    """Statements about one thing (B, 8), one stated fact each changed; none becomes a held-out pair.

    Where the change would make one, another fact is tried; in the rare case that none serves, nothing is changed.
    """
    sizes = torch.tensor(world.CLASSES[1:4], device=statements.device)
    out, done = statements.clone(), torch.zeros(len(statements), dtype=torch.bool, device=statements.device)
    rows = torch.arange(len(statements), device=statements.device)
    for _ in range(6):
        noise = torch.rand(len(statements), 3, generator=g, device=statements.device)
        column = noise.masked_fill(statements[:, 1:4] == world.OPEN, -1).argmax(1)
        shift = 1 + (torch.rand(len(statements), generator=g, device=statements.device) * (sizes[column] - 1)).long()
        tried = statements.clone()
        tried[rows, 1 + column] = (statements[rows, 1 + column] + shift) % sizes[column]
        good = ~done & ~world.holds_out(tried)
        out[good], done = tried[good], done | good
    return out


# ---------------------------------------------------------------------------------------------------------- training


def _run(steps: int, **more: Any) -> TrainConfig:
    usual: dict[str, Any] = dict(batch=16, z=8, lr=7e-4, final_lr=0.05, gamma=0.5, calm=0.5, calm_until=0.5, ema=0.995)
    return TrainConfig(steps=steps, **{**usual, **more})


def _alone(steps: int, **more: Any) -> TrainConfig:
    """A run without a discriminator: momentum, and no penalty."""
    usual: dict[str, Any] = dict(batch=16, z=8, lr=2e-3, final_lr=0.05, betas=(0.9, 0.99), gamma=0.0, ema=0.99)
    return TrainConfig(steps=steps, **{**usual, **more})


@dataclass(frozen=True)
class Recipe:
    """Sizes and numbers of one run; a profile is one of these.

    ``alone`` is the run by L1 alone, ``config`` the game that goes on from it. ``l1`` weighs the hole's L1 in the game,
    with its ``discount``. ``whole`` is the share of masks that hide a whole thing; the others are boxes, strokes,
    halves and borders. ``silent`` is the share of texts left out.
    """

    source: str = "world"
    guided: bool = False
    width: int = 40
    blocks: int = 1
    mapping: int = 128
    stem: str = "plain"
    l1: float = 15.0
    discount: float = 0.85
    whole: float = 0.25
    silent: float = 0.15
    leave_out: float = 0.15
    help: float = 0.0
    help_until: float = 0.3
    loud: float = 2.0
    captions: int = 10000
    kinds: tuple[str, ...] = masks.KINDS
    alone: TrainConfig = field(default_factory=lambda: _alone(1200))
    config: TrainConfig = field(default_factory=lambda: _run(1600))

    def describe(self) -> dict[str, Any]:
        """As plain JSON values, for the card."""
        return dict(json.loads(json.dumps(asdict(self))))


def _guided(alone: TrainConfig, config: TrainConfig, **more: Any) -> Recipe:
    usual: dict[str, Any] = dict(whole=0.8, l1=8.0, discount=0.65, help=1.5)
    return Recipe(guided=True, alone=alone, config=config, **{**usual, **more})


def terms(recipe: Recipe, tower: nn.Module | None = None) -> Extra:
    """What G minimises beside the game: the hole's L1, and with a frozen image tower the likeness of the completed
    picture to its whole caption, early in the run (its weight falls to 0 at ``help_until``)."""

    def extra(fake: Tensor, batch: Damaged, progress: float) -> Tensor:
        loss = recipe.l1 * hole_l1(fake, batch.real, batch.mask, discount=recipe.discount, shared=True)
        now = recipe.help * max(0.0, 1 - progress / recipe.help_until)
        if tower is not None and batch.whole is not None and now:
            loss = loss - now * (tower(fake) * batch.whole).sum(1).mean()
        return loss

    return extra


def world_damage(recipe: Recipe) -> Damage:
    """Fresh scenes of the world with holes: ``whole`` of them hide a thing, the rest are of the recipe's kinds."""

    def sample(rng: torch.Generator, step: int) -> Damaged:
        scenes = world.sample_scenes(recipe.config.batch, rng)
        return Damaged(world.draw(scenes), _masks(recipe, scenes, rng)[0])

    return sample


def _masks(recipe: Recipe, scenes: world.Scenes, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Masks (B, 1, 32, 32), which thing is meant (B,), and whether it is hidden whole (B,) bool."""
    n = len(scenes)
    over, which = hide_thing(scenes, rng)
    hidden = torch.rand(n, generator=rng, device=rng.device) < recipe.whole
    free = masks.mixed(n, rng, kinds=recipe.kinds)
    return torch.where(hidden[:, None, None, None], over, free), which, hidden


def photograph_damage(recipe: Recipe, *, split: str = "train") -> Damage:
    """Tiles of photographs with holes of the recipe's kinds."""

    def sample(rng: torch.Generator, step: int) -> Damaged:
        here = torch.Generator().manual_seed(int(torch.randint(2**31, (1,), generator=rng, device=rng.device)))
        shrink = 2 + 2 * (step % 2)
        real = pictures.tiles(recipe.config.batch, here, split=split, shrink=shrink).to(rng.device)
        return Damaged(real, masks.mixed(len(real), rng, kinds=recipe.kinds))

    return sample


class GuidedDamage:
    """Fresh scenes with holes, and sentences about them; ``sample(rng, step)`` gives a ``Damaged`` batch.

    Half of the sentences tell the hidden thing alone ("a small red circle"), half the whole picture ("a small red
    circle left of a blue star"); where the hole hides no thing whole, always the latter. ``silent`` of them are left
    out.
    """

    def __init__(self, encode: Encode, recipe: Recipe, *, seed: int = 0, device: str = "cpu"):
        self.recipe = recipe
        self.pool = CaptionPool(encode, recipe.captions, seed=seed, leave_out=recipe.leave_out, device=device)
        self.holes = HoleCaptions(encode, seed=seed, device=device)

    def __call__(self, rng: torch.Generator, step: int) -> Damaged:
        recipe = self.recipe
        labels, true, false = self.pool.pick(recipe.config.batch, rng)
        scenes = world.place(labels, rng)
        mask, which, hidden = _masks(recipe, scenes, rng)
        stated = leave_open(thing(labels, which), recipe.leave_out, rng)
        alone = hidden & (torch.rand(len(labels), generator=rng, device=rng.device) < 0.5)
        text = torch.where(alone[:, None], self.holes.pick(stated, rng), true)
        wrong = torch.where(alone[:, None], self.holes.pick(change_one(stated, rng), rng), false)
        text = drop_text(text, recipe.silent, rng)
        wrong = torch.where((text != 0).any(1, keepdim=True), wrong, text)
        return Damaged(world.draw(scenes), mask, text, wrong, true)


def prepare(
    recipe: Recipe, *, space: Any = None, encode: Encode | None = None, seed: int = 0, device: str = "cpu"
) -> tuple[Inpainter, Discriminator, Damage, Extra, TrainConfig]:
    """All that ``play_repair`` needs: ``G, D, sample, extra, config = prepare(recipe)``.

    A guided recipe needs the trained ``space`` and ``encode``, captions to vectors. The seed sets the first weights,
    the captions and the run's noise. Raises ``ValueError`` where a guided recipe comes without them.
    """
    expect_one_of(recipe.source, ("world", "photographs"), name="source")
    if recipe.guided and (space is None or encode is None):
        raise ValueError("prepare: a guided recipe reads sentences; give the trained space and encode.")
    cond, config = (SPACE if recipe.guided else 0), replace(recipe.config, seed=seed)
    size: dict[str, Any] = dict(width=recipe.width, blocks=recipe.blocks, mapping=recipe.mapping, stem=recipe.stem)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        G = Inpainter(z=config.z, cond=cond, **size).to(device)
        D = Discriminator(cond=cond).to(device)
    if not recipe.guided:
        damage = world_damage if recipe.source == "world" else photograph_damage
        return G, D, damage(recipe), terms(recipe), config
    assert encode is not None and G.whiten is not None
    sample = GuidedDamage(encode, recipe, seed=seed, device=device)
    pool = sample.pool
    alone = sample.holes.table[sample.holes.table.ne(0).any(-1).all(1)]  # (statements, wordings, 64)
    n = len(pool.twins)
    repeat = alone[:, :2].repeat(-(-n // len(alone)), 1, 1)[:n]
    vectors, twins = torch.cat([pool.true[:n], repeat[:, 0]]), torch.cat([pool.twins, repeat[:, 1]])
    G.whiten.fit(vectors, twins, floor=0.003, gain=recipe.loud)
    tower = no_grad_copy(space.image).to(device)
    x, text, _ = pool.batch(256, torch.Generator(device).manual_seed(seed))
    D.start_from(tower, x, text)
    return G, D, sample, terms(recipe, tower if recipe.help else None), config


#: Completion of the world's pictures (lesson 10). "shipped" is the cpu recipe with more time.
PROFILES = {
    "quick": Recipe(alone=_alone(60, ema=0.9), config=_run(40, ema=0.9)),
    "cpu": Recipe(),
    "shipped": Recipe(
        alone=_alone(7000, lr=1e-3, ema=0.998, final_lr=0.02), config=_run(6000, ema=0.998, final_lr=0.02)
    ),
    "gpu": Recipe(
        width=64,
        blocks=2,
        alone=_alone(3000, batch=128, lr=1e-3, ema=0.998, final_lr=0.02),
        config=_run(6000, batch=128, lr=4e-4, ema=0.998, final_lr=0.02),
    ),
}
#: Completion of photographs (lesson 10).
PHOTOGRAPHS = {
    "quick": Recipe("photographs", alone=_alone(40, lr=1e-3, ema=0.9), config=_run(20, ema=0.9)),
    "cpu": Recipe("photographs", alone=_alone(1500, lr=1e-3), config=_run(400)),
    "shipped": Recipe("photographs", alone=_alone(4500, lr=1e-3, ema=0.998, final_lr=0.02), config=_run(900)),
    "gpu": Recipe(
        "photographs", width=64, blocks=2, alone=_alone(3000, batch=128, lr=1e-3), config=_run(4000, batch=128, lr=4e-4)
    ),
}
#: Completion of the world's pictures as a sentence asks (lesson 11).
GUIDED = {
    "quick": _guided(_alone(40, ema=0.9), _run(60, lr=1.5e-3, gamma=0.1, ema=0.9), captions=1000),
    "cpu": _guided(_alone(300, lr=1e-3, final_lr=0.5), _run(2300, lr=1e-3, gamma=0.1)),
    "shipped": _guided(
        _alone(600, lr=1e-3, final_lr=0.5), _run(9000, lr=1.5e-3, gamma=0.1, ema=0.999, final_lr=0.02), captions=40000
    ),
    "gpu": _guided(
        _alone(500, batch=128, lr=1e-3),
        _run(6000, batch=128, lr=8e-4, gamma=0.1, ema=0.999, final_lr=0.02),
        captions=40000,
        width=64,
        blocks=2,
    ),
}


# ------------------------------------------------------------------------------------------------------------- using


@torch.no_grad()
def fill(G: Inpainter, x: Tensor, mask: Tensor, z: Tensor, text: Tensor | None = None, *, chunk: int = 250) -> Tensor:
    """Completed pictures (B, 3, H, W) on the CPU, in parts of ``chunk``; the arguments as in ``Inpainter``."""
    device, out = next(G.parameters()).device, []
    for i in range(0, len(x), chunk):
        part = slice(i, i + chunk)
        told = None if text is None else text[part].to(device)
        out.append(G(z[part].to(device), x[part].to(device), mask[part].to(device), told).cpu())
    return torch.cat(out)


@torch.no_grad()
def widen(G: Inpainter, x: Tensor, g: torch.Generator, *, times: int = 1, text: Tensor | None = None) -> Tensor:
    """Pictures (B, 3, 32, 32) made wider by outpainting, 16 columns on the left and on the right, ``times`` over:
    (B, 3, 32, 32 + 32*times). Each time the outer 16 columns are what is known. Raises ``ValueError`` for times < 1."""
    expect_shape(x, "B 3 32 32", name="pictures")
    if times < 1:
        raise ValueError(f"times: expected at least 1, got {times}.")
    wide = x
    for _ in range(times):
        for turned in (False, True):  # to the left, then, mirrored, to the right
            now = wide.flip(3) if turned else wide
            empty = torch.zeros_like(now[..., :16])
            window = torch.cat([empty, now[..., :16]], dim=3)  # (B, 3, 32, 32)
            mask = torch.zeros_like(window[:, :1])
            mask[..., :16] = 1
            z = torch.randn(len(x), G.hparams["z"], generator=g)
            now = torch.cat([fill(G, window, mask, z, text)[..., :16], now], dim=3)
            wide = now.flip(3) if turned else now
    return wide


class Repairers(nn.Module):
    """Two inpainters of one size in one checkpoint: ``alone`` was trained by L1, ``game`` went on against D."""

    def __init__(self, **hparams: Any):
        super().__init__()
        self.alone, self.game = Inpainter(**hparams), Inpainter(**hparams)
        self.hparams: dict[str, Any] = self.game.hparams

    def forward(self, z: Tensor, x: Tensor, mask: Tensor, text: Tensor | None = None) -> Tensor:
        return self.game(z, x, mask, text)
