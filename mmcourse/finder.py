"""Finds a picture among thousands: the encoder that measures lesson 14. No loss of a generator ever sees it.

It learned to know each picture again after shifts, zooms, noise and blur, beside the pictures that look most like it,
and never saw a caption. ``tests/test_floors.py`` fails if a training module imports it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse.checks import expect_shape
from mmcourse.keep import Kept
from mmcourse.layers import Trunk, linear

GROUP = 8  # pictures that look alike, beside each other in a batch
POOLED = 8  # the side to which pictures are shrunk to find those that look alike


class Finder(nn.Module):
    """Pictures (B, 3, 32, 32) in [-1, 1] to unit vectors (B, 128): near for the same picture, changed a little."""

    def __init__(self, *, width: int = 32, features: int = 128):
        super().__init__()
        self.hparams: dict[str, Any] = dict(width=width, features=features)
        self.trunk = Trunk(width=width, features=features)
        self.out = linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        expect_shape(x, "B 3 32 32", name="pictures")
        return F.normalize(self.out(self.trunk(x)), dim=1)

    @torch.no_grad()
    def vectors(self, x: Tensor, *, chunk: int = 500) -> Tensor:
        """The same for many pictures, in chunks and without gradients."""
        return torch.cat([self(part) for part in x.split(chunk)])


def disturb(x: Tensor, g: torch.Generator, *, strength: float = 1.0) -> Tensor:
    """Pictures (B, 3, H, W) moved by up to two pixels, zoomed by up to a tenth, a little blurred and noisy, each by
    another draw; what comes in from outside repeats the edge."""
    n = len(x)

    def drawn(*shape: int) -> Tensor:
        return strength * (2 * torch.rand(n, *shape, generator=g) - 1)

    zoom = 1 + 0.1 * drawn(1, 1)
    turn = torch.eye(2).expand(n, 2, 2) * zoom
    grid = F.affine_grid(torch.cat([turn, drawn(2, 1) * 2 * 2 / x.shape[-1]], 2), list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    soft = F.avg_pool2d(F.pad(moved, (1, 1, 1, 1), mode="replicate"), 3, 1)
    mixed = torch.lerp(moved, soft, strength * torch.rand(n, 1, 1, 1, generator=g))
    noise = 0.15 * strength * torch.rand(n, 1, 1, 1, generator=g) * torch.randn(x.shape, generator=g)
    return (mixed + 0.1 * drawn(3, 1, 1) + noise).clamp(-1, 1)


def lookalikes(x: Tensor, *, group: int = GROUP) -> Tensor:
    """The numbers (N, group) of the pictures that lie nearest to each one, itself first, by pixels at 8x8.

    Raises ``ValueError`` for fewer than ``group`` pictures.
    """
    if len(x) < group:
        raise ValueError(f"lookalikes: expected at least {group} pictures, got {len(x)}.")
    flat = F.adaptive_avg_pool2d(x, POOLED).flatten(1)
    return torch.cat([torch.cdist(part, flat).topk(group, largest=False).indices for part in flat.split(500)])


def finder_steps(
    pictures: Tensor,
    *,
    steps: int = 3000,
    groups: int = 16,
    lr: float = 2e-3,
    seed: int = 0,
    width: int = 32,
    device: str = "cpu",
    kept: Kept | None = None,
) -> Iterator[tuple[int, float, Finder]]:
    """Train on pictures (N, 3, 32, 32); yields (step, loss, network). Batches are drawn on the CPU, the same on
    every ``device``. Pass ``kept`` to keep the run, or to go on with one.

    A batch holds ``groups`` groups of pictures that look alike; two changed views of each shall find each other among
    all of the batch (the contrastive loss of SimCLR, Chen et al., arXiv 2002.05709, with a fixed temperature of .1).
    """
    g = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Finder(width=width).to(device)
    near = lookalikes(pictures)
    opt = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-3)
    for step in (kept or Kept()).steps(steps, net=net, opt=opt, g=g):
        for one in opt.param_groups:
            one["lr"] = lr * min(1.0, (step + 1) / 50) * math.sqrt(1 - step / steps)
        rows = torch.unique(near[torch.randint(len(pictures), (groups,), generator=g)])
        views = torch.cat([disturb(pictures[rows], g), disturb(pictures[rows], g)])
        a, b = net(views.to(device)).chunk(2)
        logits, true = a @ b.T / 0.1, torch.arange(len(rows), device=device)
        loss = (F.cross_entropy(logits, true) + F.cross_entropy(logits.T, true)) / 2
        opt.zero_grad()
        loss.backward()
        opt.step()
        yield step + 1, float(loss.detach()), net
    net.eval()
