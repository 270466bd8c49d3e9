"""A sentence becomes a picture: a GAN conditioned on the shared space (derived in lesson 09)."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse import world
from mmcourse.checks import expect_shape
from mmcourse.layers import ModBlock, Trunk, conv, linear, upsample_head
from mmcourse.text import Vocabulary
from mmcourse.train import Batch

SPACE = 64


class Generator(nn.Module):
    """Noise z (B, 16) and a condition (B, 64) of the shared space to pictures (B, 3, 32, 32) in [-1, 1].

    The condition enters twice: beside z in the first layer, and as a modulation of every block.
    """

    def __init__(self, *, z: int = 16, cond: int = SPACE, width: int = 40, blocks: int = 1, mapping: int = 128):
        super().__init__()
        self.hparams = dict(z=z, cond=cond, width=width, blocks=blocks, mapping=mapping)
        self.register_buffer("centre", torch.zeros(cond))
        self.register_buffer("spread", torch.eye(cond))
        self.map = linear(z + cond, mapping)
        self.base = linear(mapping, 2 * width * 64)
        self.early = nn.ModuleList(ModBlock(2 * width, mapping) for _ in range(blocks))
        self.up = nn.Sequential(conv(2 * width, 4 * width, 1), nn.PixelShuffle(2))
        self.late = nn.ModuleList(ModBlock(width, mapping) for _ in range(blocks))
        self.head = upsample_head(width, gain=0.3)

    def whiten(self, embeddings: Tensor) -> None:
        """Store the mean and the inverse square root of the covariance of embeddings (N, 64), so that every
        direction in which captions differ reaches G at the same strength."""
        centred = (embeddings - embeddings.mean(0)).double()
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
        floor = values.max() * 1e-3
        self.centre.copy_(embeddings.mean(0))
        self.spread.copy_(((vectors / (values + floor).sqrt()) @ vectors.T).float())

    def forward(self, z: Tensor, cond: Tensor) -> Tensor:
        expect_shape(z, f"B {self.hparams['z']}", name="z")
        cond = (cond - self.centre) @ self.spread
        w = F.leaky_relu(self.map(torch.cat([z, cond], dim=1)), 0.2)  # (B, mapping)
        h = self.base(w).view(len(w), -1, 8, 8)  # (B, 2*width, 8, 8)
        for block in self.early:
            h = block(h, w)
        h = self.up(F.leaky_relu(h, 0.2))  # (B, width, 16, 16)
        for block in self.late:
            h = block(h, w)
        return torch.tanh(self.head(F.leaky_relu(h, 0.2)))  # (B, 3, 32, 32)


class Discriminator(nn.Module):
    """Pictures (B, 3, 32, 32) and conditions (B, 64) to logits (B, 1).

    ``look`` reads the picture alone; ``score`` adds a projection, the inner product of the condition with the
    features mapped into the shared space (Miyato and Koyama, arXiv 1802.05637).
    """

    def __init__(self, *, cond: int = SPACE, width: int = 32, blocks: int = 1, features: int = 128):
        super().__init__()
        self.hparams = dict(cond=cond, width=width, blocks=blocks, features=features)
        self.trunk = Trunk(width=width, blocks=blocks, features=features)
        self.alone = linear(features, 1)
        self.project = linear(features, cond)

    def look(self, x: Tensor) -> Tensor:
        return self.trunk(x)

    def score(self, features: Tensor, cond: Tensor) -> Tensor:
        fit = (self.project(features) * cond).sum(1, keepdim=True)
        return self.alone(features) + fit  # (B, 1)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        return self.score(self.look(x), cond)


class CaptionPool:
    """Many scenes' labels, statements and caption embeddings, computed once; batches are drawn from it.

    The text tower is frozen, so an embedding never changes during training. Pictures are drawn afresh for
    every batch. ``wrong`` captions are false of the picture: half are another scene's caption, half the true
    caption with one fact changed.
    """

    def __init__(
        self, encode, n: int = 20000, *, objects: Sequence[int] = (1, 2), seed: int = 0, leave_out: float = 0.15,
        languages: Sequence[str] = ("en", "zh"), device: str = "cpu",
    ):  # type: ignore[no-untyped-def]
        g, rng = torch.Generator().manual_seed(seed), random.Random(seed)
        self.labels = world.sample_labels(n, g, objects=objects)
        stated = world.state(self.labels, g, leave_out=leave_out)
        hard = world.contradict(self.labels, stated, g)
        self.statements = stated.to(device)
        self.true = encode(world.captions(stated, rng, languages=languages)).to(device)
        self.hard = encode(world.captions(hard, rng, languages=languages)).to(device)
        self.labels = self.labels.to(device)

    def batch(self, n: int, g: torch.Generator) -> Batch:
        rows = torch.randint(len(self.labels), (n,), generator=g, device=g.device)
        labels, cond = self.labels[rows], self.true[rows]
        other = rows.roll(1)
        false = ~world.satisfied(labels, self.statements[other])
        swap = false & (torch.arange(n, device=g.device) % 2 == 0)
        wrong = torch.where(swap[:, None], self.true[other], self.hard[rows])
        return Batch(world.draw(world.place(labels, g)), cond, wrong)


def encoder(space: nn.Module, vocabulary: Vocabulary, *, chunk: int = 500):  # type: ignore[no-untyped-def]
    """A function from captions to unit vectors (B, 64), with the text tower frozen."""

    @torch.no_grad()
    def encode(captions: Sequence[str]) -> Tensor:
        length = space.text.hparams["length"]
        parts = []
        for i in range(0, len(captions), chunk):
            ids = vocabulary.tokenize(captions[i : i + chunk], length=length)
            parts.append(space.text(ids[:, : int((ids > 0).sum(1).max())]))
        return torch.cat(parts)

    return encode


def similarity_help(image_tower: nn.Module, *, weight: float, until: float):  # type: ignore[no-untyped-def]
    """A further term of G's loss: minus the cosine similarity of picture and caption in the shared space.

    The weight falls linearly to zero at ``until`` (share of the run): the frozen tower points the way early
    and can be deceived late.
    """

    def extra(fake: Tensor, batch: Batch, progress: float) -> Tensor:
        now = weight * max(0.0, 1 - progress / until)
        if now == 0 or batch.cond is None:
            return fake.new_zeros(())
        return -now * (image_tower(fake) * batch.cond).sum(1).mean()

    return extra


__all__ = ["CaptionPool", "Discriminator", "Generator", "encoder", "math", "similarity_help"]
