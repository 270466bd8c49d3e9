"""An image GAN: noise becomes a grey picture of 32x32 pixels (derived in lesson 04)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse.checks import expect_shape
from mmcourse.layers import SLOPE, ModBlock, Trunk, conv, linear, upsample_head
from mmcourse.pictures import Labelled
from mmcourse.train import Batch, Sample, TrainConfig


class Generator(nn.Module):
    """Noise z (B, 64) to pictures (B, 1, 32, 32) in [-1, 1].

    A linear layer turns z into w (B, 128), and another turns w into a small picture with many channels. Residual blocks
    work at 8x8 and 16x16; pixel-shuffle turns channels into pixels. Every block hears the noise: w scales and shifts
    its channels (a ``ModBlock``; StyleGAN, arXiv 1812.04948, does so too).

    There is no normalisation (R3GAN, arXiv 2501.05441). There is no tanh at the end either: these pictures are black
    (-1) almost everywhere, and a tanh that has reached -1 lets no gradient through, so G can die there. Pixels are
    clipped to [-1, 1] in eval mode only; while training, D alone keeps them in range.
    """

    def __init__(self, *, z: int = 64, width: int = 32, blocks: int = 1, mapping: int = 128):
        super().__init__()
        self.hparams: dict[str, Any] = dict(z=z, width=width, blocks=blocks, mapping=mapping)
        self.map = linear(z, mapping)
        self.base = linear(mapping, 2 * width * 64)
        self.early = nn.ModuleList(ModBlock(2 * width, mapping) for _ in range(blocks))
        self.up = nn.Sequential(conv(2 * width, 4 * width, 1), nn.PixelShuffle(2))
        self.late = nn.ModuleList(ModBlock(width, mapping) for _ in range(blocks))
        self.head = upsample_head(width, channels=1, gain=0.3)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        expect_shape(z, f"B {self.hparams['z']}", name="z")
        w = F.leaky_relu(self.map(z), SLOPE)  # (B, mapping)
        h = self.base(w).view(len(z), -1, 8, 8)  # (B, 2*width, 8, 8)
        for block in self.early:
            h = block(h, w)
        h = self.up(F.leaky_relu(h, SLOPE))  # (B, width, 16, 16)
        for block in self.late:
            h = block(h, w)
        x = self.head(F.leaky_relu(h, SLOPE))  # (B, 1, 32, 32)
        return x if self.training else x.clamp(-1, 1)


class Discriminator(nn.Module):
    """Pictures (B, 1, 32, 32) to logits (B, 1). ``play`` calls ``look`` once and ``score`` on what it gives."""

    def __init__(self, *, width: int = 24, blocks: int = 1, features: int = 128):
        super().__init__()
        self.hparams: dict[str, Any] = dict(width=width, blocks=blocks, features=features)
        self.trunk = Trunk(width=width, blocks=blocks, features=features, channels=1)
        self.out = linear(features, 1)

    def look(self, x: Tensor) -> Tensor:
        return self.trunk(x)  # (B, features)

    def score(self, features: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.out(features)  # (B, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.look(x))


@dataclass(frozen=True)
class Recipe:
    """Sizes and numbers of one run; a profile is one of these."""

    width: int = 32
    d_width: int = 24
    blocks: int = 1
    config: TrainConfig = field(default_factory=lambda: TrainConfig(steps=5000, batch=16, z=64, gamma=1.0, ema=0.998))

    def describe(self) -> dict[str, Any]:
        """As plain JSON values, for the card."""
        return dict(json.loads(json.dumps(asdict(self))))


PROFILES = {
    "quick": Recipe(width=16, d_width=12, config=TrainConfig(steps=300, batch=16, z=64, gamma=1.0, ema=0.97)),
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
    """All that ``play`` needs: ``G, D, sample, config = prepare(data, recipe)``. The seed sets the first weights."""
    from dataclasses import replace

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        G = Generator(z=recipe.config.z, width=recipe.width, blocks=recipe.blocks).to(device)
        D = Discriminator(width=recipe.d_width, blocks=recipe.blocks).to(device)
    data = data.to(device)

    def sample(rng: torch.Generator, step: int) -> Batch:
        return Batch(data.draw(recipe.config.batch, rng)[0])

    return G, D, sample, replace(recipe.config, seed=seed)


@torch.no_grad()
def draw(G: Any, n: int, g: torch.Generator, *, batch: int = 500) -> Tensor:
    """n pictures (n, 1, 32, 32) of a generator, from noise of g, on the CPU."""
    z = torch.randn(n, G.hparams["z"], generator=g)
    device = next(G.parameters()).device
    return torch.cat([G(part.to(device)).cpu() for part in z.split(batch)])
