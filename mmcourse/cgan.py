"""A class-conditional GAN: a label and noise become a grey picture; three ways to let the label in (lesson 06)."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse.checks import expect_one_of, expect_shape
from mmcourse.layers import SLOPE, ModBlock, ResBlock, Trunk, conv, linear, upsample_head
from mmcourse.pictures import Labelled
from mmcourse.train import Batch, Sample, TrainConfig

INTO_G = ("concat", "norm", "modulate")
INTO_D = ("concat", "project")


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels int64 (B,) to float (B, classes): 1 at the label, 0 elsewhere. This is ``cond`` in this lesson."""
    return F.one_hot(labels, classes).float()


def onehot_maps(cond: Tensor, side: int) -> Tensor:
    """A condition (B, K) as K constant maps, so that every pixel carries it: (B, K, side, side)."""
    return cond[:, :, None, None].expand(-1, -1, side, side)


class CondNorm(nn.Module):
    """Conditional normalisation: each channel of each picture to mean 0 and spread 1, then scaled and shifted by a
    condition (B, K). Scale and shift start without effect. Dumoulin et al., arXiv 1610.07629."""

    def __init__(self, width: int, cond: int):
        super().__init__()
        self.affine = linear(cond, 2 * width, gain=0)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        scale, shift = self.affine(cond)[:, :, None, None].chunk(2, dim=1)  # (B, C, 1, 1) each
        return F.instance_norm(x) * (1 + scale) + shift


class NormBlock(nn.Module):
    """A residual block with conditional normalisation in front of each convolution: (B, C, H, W) to the same."""

    def __init__(self, width: int, cond: int):
        super().__init__()
        self.norm_one, self.norm_two = CondNorm(width, cond), CondNorm(width, cond)
        self.one, self.two = conv(width, width), conv(width, width, gain=0)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        h = self.one(F.leaky_relu(self.norm_one(x, cond), SLOPE))
        return x + self.two(F.leaky_relu(self.norm_two(h, cond), SLOPE))


class PlainBlock(ResBlock):
    """A residual block that is handed the condition and does not look at it."""

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return super().forward(x)


class Generator(nn.Module):
    """Noise z (B, 64) and a condition (B, K) to pictures (B, 1, 32, 32) in [-1, 1].

    ``how``: "concat" lays the condition beside z and lets no other layer see it; "norm" and "modulate" also let it
    scale and shift every block's channels, with and without normalising them first. Pixels are clipped to [-1, 1] in
    eval mode only (see lesson 04 for why there is no tanh).
    """

    def __init__(self, *, z: int = 64, cond: int = 10, width: int = 32, blocks: int = 1, how: str = "modulate"):
        super().__init__()
        expect_one_of(how, INTO_G, name="how")
        self.hparams: dict[str, Any] = dict(z=z, cond=cond, width=width, blocks=blocks, how=how)
        kind = {"concat": lambda w, k: PlainBlock(w), "norm": NormBlock, "modulate": ModBlock}[how]
        self.base = linear(z + cond, 2 * width * 64)
        self.early = nn.ModuleList(kind(2 * width, cond) for _ in range(blocks))
        self.up = nn.Sequential(conv(2 * width, 4 * width, 1), nn.PixelShuffle(2))
        self.late = nn.ModuleList(kind(width, cond) for _ in range(blocks))
        self.head = upsample_head(width, channels=1, gain=0.3)

    def forward(self, z: Tensor, cond: Tensor) -> Tensor:
        n = expect_shape(z, f"B {self.hparams['z']}", name="z")["B"]
        expect_shape(cond, f"{n} {self.hparams['cond']}", name="cond")
        both = torch.cat([z, math.sqrt(self.hparams["cond"]) * cond], dim=1)  # a class is as loud as a number of z
        h = self.base(both).view(n, -1, 8, 8)  # (B, 2*width, 8, 8)
        for block in self.early:
            h = block(h, cond)
        h = self.up(F.leaky_relu(h, SLOPE))  # (B, width, 16, 16)
        for block in self.late:
            h = block(h, cond)
        x = self.head(F.leaky_relu(h, SLOPE))  # (B, 1, 32, 32)
        return x if self.training else x.clamp(-1, 1)


class Discriminator(nn.Module):
    """Pictures (B, 1, 32, 32) and conditions (B, K) to logits (B, 1).

    ``how``: "concat" hands the condition in as constant maps beside the pixels, so that the whole picture is looked at
    anew for another condition; "project" looks once and adds the inner product of the condition's vector with the
    picture's features (Miyato and Koyama, arXiv 1802.05637).
    """

    def __init__(self, *, cond: int = 10, width: int = 24, blocks: int = 1, features: int = 128, how: str = "project"):
        super().__init__()
        expect_one_of(how, INTO_D, name="how")
        self.hparams: dict[str, Any] = dict(cond=cond, width=width, blocks=blocks, features=features, how=how)
        channels = 1 if how == "project" else 1 + cond
        self.trunk = Trunk(width=width, blocks=blocks, features=features, channels=channels)
        self.alone = linear(features, 1)
        self.project = nn.Linear(cond, features, bias=False) if how == "project" else None
        if self.project is not None:
            nn.init.normal_(self.project.weight, std=features**-0.5)

    def look(self, x: Tensor) -> Tensor:
        return self.trunk(x) if self.project is not None else x

    def score(self, features: Tensor, cond: Tensor) -> Tensor:
        if self.project is None:  # the features are still the picture
            return self.alone(self.trunk(torch.cat([features, onehot_maps(cond, features.shape[-1])], dim=1)))
        return self.alone(features) + (self.project(cond) * features).sum(1, keepdim=True)  # (B, 1)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        return self.score(self.look(x), cond)


@dataclass(frozen=True)
class Recipe:
    """Sizes and numbers of one run; a profile is one of these. ``shuffle`` trains on labels that mean nothing."""

    width: int = 32
    d_width: int = 24
    blocks: int = 1
    into_g: str = "modulate"
    into_d: str = "project"
    shuffle: bool = False
    config: TrainConfig = field(default_factory=lambda: TrainConfig(steps=2000, batch=32, z=64, gamma=1.0, ema=0.998))

    def describe(self) -> dict[str, Any]:
        """As plain JSON values, for the card."""
        return dict(json.loads(json.dumps(asdict(self))))


PROFILES = {
    "quick": Recipe(
        width=16, d_width=16, config=TrainConfig(steps=200, batch=32, z=64, lr=2.5e-3, gamma=1.0, ema=0.95)
    ),
    "cpu": Recipe(),
    "gpu": Recipe(
        width=128,
        d_width=128,
        blocks=2,
        config=TrainConfig(steps=12000, batch=256, z=64, lr=4e-4, gamma=1.0, ema=0.999),
    ),
}


def prepare(
    data: Labelled, recipe: Recipe, *, seed: int = 0, device: str = "cpu"
) -> tuple[Generator, Discriminator, Sample, TrainConfig]:
    """All that ``play`` needs: ``G, D, sample, config = prepare(data, recipe)``. The seed sets the first weights.

    A wrong condition is another class, drawn evenly from those that the picture does not have.
    """
    classes, size = len(data.classes), recipe.config.batch
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        G = Generator(z=recipe.config.z, cond=classes, width=recipe.width, blocks=recipe.blocks, how=recipe.into_g)
        D = Discriminator(cond=classes, width=recipe.d_width, blocks=recipe.blocks, how=recipe.into_d)
    G, D, data = G.to(device), D.to(device), data.to(device)

    def sample(rng: torch.Generator, step: int) -> Batch:
        real, labels = data.draw(size, rng)
        if recipe.shuffle:
            labels = torch.randint(classes, (size,), generator=rng, device=rng.device)
        other = (labels + torch.randint(1, classes, (size,), generator=rng, device=rng.device)) % classes
        return Batch(real, one_hot(labels, classes), one_hot(other, classes))

    return G, D, sample, replace(recipe.config, seed=seed)


@torch.no_grad()
def draw(G: Any, labels: Tensor, g: torch.Generator, *, batch: int = 500) -> Tensor:
    """One picture (B, 1, 32, 32) a label (B,), from noise of g, on the CPU."""
    z = torch.randn(len(labels), G.hparams["z"], generator=g)
    device, cond = next(G.parameters()).device, one_hot(labels.cpu(), G.hparams["cond"])
    parts = zip(z.split(batch), cond.split(batch), strict=True)
    return torch.cat([G(a.to(device), b.to(device)).cpu() for a, b in parts])
