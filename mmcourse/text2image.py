"""A sentence becomes a picture: a GAN conditioned on the shared space (derived in lesson 09)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse import ranks
from mmcourse.checks import expect_shape
from mmcourse.data import CaptionPool, Encode, vocabulary
from mmcourse.layers import ModBlock, Trunk, Whiten, conv, linear, no_grad_copy, upsample_head
from mmcourse.text import Vocabulary
from mmcourse.train import Batch, Extra, Sample, TrainConfig, falling

SPACE = 64
RESOLUTIONS = (32, 64)


def is_large(resolution: int) -> bool:
    """Whether pictures are of 64x64 pixels. Raises ``ValueError`` where these networks have no such size."""
    if resolution not in RESOLUTIONS:
        raise ValueError(f"resolution: expected one of {', '.join(map(str, RESOLUTIONS))} pixels, got {resolution}.")
    return resolution == 64


class Generator(nn.Module):
    """Noise z (B, 16) and a condition (B, 64) of the shared space to pictures (B, 3, 32, 32) in [-1, 1].

    The condition enters twice: beside z in the first layer, and as a modulation of every block. A ``resolution`` of 64
    takes one block more, at 32x32 and with half the channels.
    """

    def __init__(
        self,
        *,
        z: int = 16,
        cond: int = SPACE,
        width: int = 40,
        blocks: int = 1,
        mapping: int = 256,
        resolution: int = 32,
    ):
        super().__init__()
        large = is_large(resolution)
        self.hparams: dict[str, Any] = dict(
            z=z, cond=cond, width=width, blocks=blocks, mapping=mapping, resolution=resolution
        )
        self.whiten = Whiten(cond)
        self.map = linear(z + cond, mapping)
        self.base = linear(mapping, 2 * width * 64)
        self.early = nn.ModuleList(ModBlock(2 * width, mapping) for _ in range(blocks))
        self.up = nn.Sequential(conv(2 * width, 4 * width, 1), nn.PixelShuffle(2))
        self.late = nn.ModuleList(ModBlock(width, mapping) for _ in range(blocks))
        if large:
            self.finer = nn.Sequential(conv(width, 2 * width, 1), nn.PixelShuffle(2))
            self.fine = ModBlock(width // 2, mapping)
        self.head = upsample_head(width // 2 if large else width, gain=0.3)

    def forward(self, z: Tensor, cond: Tensor) -> Tensor:
        expect_shape(z, f"B {self.hparams['z']}", name="z")
        w = F.leaky_relu(self.map(torch.cat([z, self.whiten(cond)], dim=1)), 0.2)  # (B, mapping)
        h = self.base(w).view(len(w), -1, 8, 8)  # (B, 2*width, 8, 8)
        for block in self.early:
            h = block(h, w)
        h = self.up(F.leaky_relu(h, 0.2))  # (B, width, 16, 16)
        for block in self.late:
            h = block(h, w)
        if self.hparams["resolution"] == 64:
            h = self.fine(self.finer(F.leaky_relu(h, 0.2)), w)  # (B, width/2, 32, 32)
        return torch.tanh(self.head(F.leaky_relu(h, 0.2)))  # (B, 3, R, R)


class Discriminator(nn.Module):
    """Pictures (B, 3, 32, 32) and conditions (B, 64) to logits (B, 1).

    ``look`` reads the picture alone; ``score`` adds a projection, the inner product of the condition with the
    features mapped into the shared space (Miyato and Koyama, arXiv 1802.05637).
    """

    def __init__(
        self, *, cond: int = SPACE, width: int = 32, blocks: int = 1, features: int = 128, resolution: int = 32
    ):
        super().__init__()
        large = is_large(resolution)
        self.hparams: dict[str, Any] = dict(
            cond=cond, width=width, blocks=blocks, features=features, resolution=resolution
        )
        size: dict[str, int] = dict(width=width, blocks=blocks, features=features)
        self.trunk = Trunk(**size, detail=large)
        self.alone = linear(features, 1)
        self.project = linear(features, cond, gain=math.sqrt(cond))  # a unit vector's entries are small

    @torch.no_grad()
    def start_from(self, tower: Any, pictures: Tensor, cond: Tensor) -> None:
        """Take over a trained image tower: D begins with eyes that know shapes, and with the shared space as its
        measure of fit. Every weight then goes on learning.

        ``pictures`` (B, 3, R, R) and their captions' vectors ``cond`` (B, 64) set the scale: fits start with a
        spread of 1, and the part of the logit that ignores the caption starts at 0. After Sauer et al., "Projected
        GANs", arXiv 2111.01007, where such eyes stay frozen. Raises ``ValueError`` where the sizes differ.
        """
        try:
            fine = {k: v for k, v in self.trunk.state_dict().items() if k.startswith("detail.")}
            self.trunk.load_state_dict({**tower.trunk.state_dict(), **fine})
            self.project.load_state_dict(tower.out.state_dict())
        except RuntimeError as error:
            raise ValueError(f"start_from: the tower is not of this discriminator's size. {error}") from error
        self.alone.weight.zero_()
        spread = self.score(self.look(pictures), cond).std()
        for p in self.project.parameters():
            p.div_(spread)

    def look(self, x: Tensor) -> Tensor:
        return self.trunk(x)

    def score(self, features: Tensor, cond: Tensor) -> Tensor:
        fit = (self.project(features) * cond).sum(1, keepdim=True)
        return self.alone(features) + fit  # (B, 1)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        return self.score(self.look(x), cond)


def encoder(space: Any, words: Vocabulary, *, chunk: int = 500) -> Encode:
    """A function from captions to unit vectors (B, 64), with the text tower frozen."""

    @torch.no_grad()
    def encode(captions: Sequence[str]) -> Tensor:
        length = space.text.hparams["length"]
        parts = []
        for i in range(0, len(captions), chunk):
            ids = words.tokenize(captions[i : i + chunk], length=length)
            parts.append(space.text(ids[:, : int((ids > 0).sum(1).max())]))
        return torch.cat(parts)

    return encode


def small(x: Tensor) -> Tensor:
    """Pictures (B, 3, R, R) averaged down to 32x32, the size that the towers read."""
    return x if x.shape[-1] == 32 else F.avg_pool2d(x, x.shape[-1] // 32)


def similarity_help(
    image_tower: nn.Module, *, weight: float, until: float, pairs: int = 0, apart: float = 0.0, apart_until: float = 0.6
) -> Extra:
    """Further terms of G's loss, measured by a frozen image tower in the shared space.

    The first is minus the cosine similarity of picture and caption. Its weight falls linearly to zero at ``until``
    (share of the run): the frozen tower points the way early and can be deceived late. It also pulls all pictures of a
    caption to one; the second term resists. The batch's last ``pairs`` captions are its first ones again: two
    drawings of one caption shall lie as far apart as two real pictures of it, at least (after the mode-seeking term
    of Mao et al., arXiv 1903.05628, which has no such measure). Its weight falls from ``apart`` to zero likewise.
    """

    def extra(fake: Tensor, batch: Batch, progress: Any) -> Tensor:
        now = falling(weight, progress, until)
        keep_apart = falling(apart, progress, apart_until) if pairs else 0.0
        loss = fake.new_zeros(())
        if batch.cond is None or (isinstance(progress, float) and not now and not keep_apart):
            return loss
        made = image_tower(small(fake))  # (B, 64)
        loss = loss - now * (made * batch.cond).sum(1).mean()
        if pairs:
            here = ranks.part(pairs, "pairs")
            with torch.no_grad():
                seen = image_tower(small(batch.real))
                wanted = (seen[:here] - seen[-here:]).norm(dim=1)  # (pairs,)
            found = ((made[:here] - made[-here:]).square().sum(1) + 1e-6).sqrt()
            loss = loss + keep_apart * F.relu(wanted - found).mean()
        return loss

    return extra


def _run(steps: int, **more: Any) -> TrainConfig:
    usual = dict(batch=16, lr=1.5e-3, final_lr=0.05, gamma=0.1, calm=0.5, calm_until=0.5, ema=0.997)
    return TrainConfig(steps=steps, **{**usual, **more})


@dataclass(frozen=True)
class Recipe:
    """Sizes and numbers of one text-to-image run; a profile is one of these."""

    objects: tuple[int, ...] = (1,)
    resolution: int = 32
    width: int = 40
    blocks: int = 1
    mapping: int = 256
    captions: int = 20000
    leave_out: float = 0.15
    help: float = 1.5
    help_until: float = 0.3
    pairs: int = 0
    apart: float = 0.0
    loud: float = 2.0  # how strongly a fact of the condition varies, beside 1 for a number of z
    eyes: bool = True
    config: TrainConfig = field(default_factory=lambda: _run(1500))

    def describe(self) -> dict[str, Any]:
        """As plain JSON values, for the card."""
        return dict(json.loads(json.dumps(asdict(self))))


#: One entry a profile; "cpu_two" learns one and two things, and takes more than three times as many steps. "shipped"
#: does so for longer still, on a CPU. "gpu" draws 64x64 pixels with a larger network, in batches that fill a card.
PROFILES = {
    "quick": Recipe(
        captions=1000, help=3.0, help_until=2.0, config=_run(150, lr=1.5e-3, gamma=0.3, calm=1.0, ema=0.95)
    ),
    "cpu": Recipe(),
    "cpu_two": Recipe(objects=(1, 2), loud=1.4, config=_run(5000)),
    "shipped": Recipe(objects=(1, 2), captions=40000, pairs=4, apart=1.0, config=_run(12000, ema=0.999, final_lr=0.02)),
    "gpu": Recipe(
        objects=(1, 2),
        resolution=64,
        width=96,
        blocks=2,
        captions=40000,
        pairs=32,
        apart=1.0,
        config=_run(12000, batch=128, lr=6e-4, ema=0.999, final_lr=0.02),
    ),
}


def prepare(
    space: Any, recipe: Recipe, *, seed: int = 0, device: str = "cpu"
) -> tuple[Generator, Discriminator, Sample, Extra | None, TrainConfig]:
    """All that ``play`` needs: ``G, D, sample, extra, config = prepare(space, recipe)``.

    ``space`` is trained and stays as it is. ``seed`` sets the first weights, the captions and the run's noise.
    """
    encode = encoder(space, vocabulary())
    pool = CaptionPool(
        encode, recipe.captions, objects=recipe.objects, seed=seed, leave_out=recipe.leave_out, device=device
    )
    before = torch.random.get_rng_state()
    torch.manual_seed(seed)  # initial weights only; the global state is given back below
    size: dict[str, int] = dict(width=recipe.width, blocks=recipe.blocks, mapping=recipe.mapping)
    G = Generator(z=recipe.config.z, resolution=recipe.resolution, **size).to(device)
    eyes: dict[str, int] = {k: space.hparams[k] for k in ("blocks", "width")}
    D = Discriminator(resolution=recipe.resolution, **eyes).to(device)
    torch.random.set_rng_state(before)
    G.whiten.fit(pool.true[: len(pool.twins)], pool.twins, floor=0.003, gain=recipe.loud)
    tower = no_grad_copy(space.image).to(device)
    if recipe.eyes:
        pictures, true, _ = pool.batch(256, torch.Generator(device).manual_seed(seed), resolution=recipe.resolution)
        D.start_from(tower, pictures, true)
    extra = None
    if recipe.help or recipe.apart:
        extra = similarity_help(
            tower, weight=recipe.help, until=recipe.help_until, pairs=recipe.pairs, apart=recipe.apart
        )
    config = replace(recipe.config, seed=seed)

    def sample(rng: torch.Generator, step: int) -> Batch:
        return Batch(*pool.batch(config.batch, rng, pairs=recipe.pairs, resolution=recipe.resolution))

    return G, D, sample, extra, config


class Painter:
    """A trained text tower (on the CPU) and a generator (on any device): sentences in, pictures on the CPU out.

    painter = Painter(space, G)
    pictures = painter.draw(["a small red circle"], torch.Generator().manual_seed(3))
    """

    def __init__(self, space: Any, G: Any, *, chunk: int = 250):
        self.words = vocabulary()
        known, has = len(self.words), space.hparams["words"]
        if known != has:
            raise ValueError(f"Painter: this space reads {has} words, the vocabulary has {known}; they belong apart.")
        self.encode = encoder(space, self.words)
        self.G, self.chunk = G, chunk

    @torch.no_grad()
    def draw(self, captions: Sequence[str], rng: torch.Generator | None = None, *, z: Tensor | None = None) -> Tensor:
        """One picture a caption: (B, 3, R, R) in [-1, 1]. Give a random source, or the noise z (B, 16) itself.

        Raises ``UnknownWords`` for words the model never saw, ``ValueError`` for an empty caption.
        """
        cond = self.encode(captions)  # (B, 64)
        if z is None:
            z = torch.randn(len(cond), self.G.hparams["z"], generator=rng)
        return self._paint(z, cond)

    @torch.no_grad()
    def draw_blank(self, captions: Sequence[str], rng: torch.Generator | None = None) -> Tensor:
        """The no-text control: the same noise, but every caption's vector replaced by the vectors' mean over
        training captions, so that nothing of the text is left."""
        z = torch.randn(len(captions), self.G.hparams["z"], generator=rng)
        return self._paint(z, self.G.whiten.centre.cpu().expand(len(z), -1))

    def _paint(self, z: Tensor, cond: Tensor) -> Tensor:
        device = next(self.G.parameters()).device
        parts = zip(z.split(self.chunk), cond.split(self.chunk), strict=True)
        return torch.cat([self.G(a.to(device), b.to(device)).cpu() for a, b in parts])
