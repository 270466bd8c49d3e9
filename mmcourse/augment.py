"""Changes of pictures through which a gradient passes, for games on little data (derived in lesson 14).

With a few hundred or thousand real pictures D learns them by heart, and what it tells G then is of no use. Here D sees
real and drawn pictures through random changes alone. G is judged through the same kind of change, so it learns the
pictures and not the changes, as long as no change hides which picture it was. Zhao et al., "Differentiable Augmentation
for Data-Efficient GAN Training", arXiv 2006.10738.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmcourse.checks import expect_shape

CHANGES = ("colour", "shift", "cut")


def _uniform(x: Tensor, g: torch.Generator, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(len(x), 1, 1, 1, generator=g, device=x.device)


def colour(x: Tensor, g: torch.Generator, *, strength: float = 1.0) -> Tensor:
    """Pictures (B, 3, H, W) with another brightness (up to .5 more or less), saturation (0 to 2 times) and contrast
    (.5 to 1.5 times), drawn for each; ``strength`` 0 changes nothing."""
    expect_shape(x, "B 3 H W", name="pictures")
    x = x + strength * _uniform(x, g, -0.5, 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (1 + strength * _uniform(x, g, -1, 1))
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (1 + strength * _uniform(x, g, -0.5, 0.5))


def shift(x: Tensor, g: torch.Generator, *, share: float = 0.125) -> Tensor:
    """Pictures (B, C, H, W) moved by up to ``share`` of their side, in whole pixels; what comes in is 0."""
    n, _, height, width = x.shape
    at = [
        torch.randint(-round(share * side), round(share * side) + 1, (n, 1), generator=g, device=x.device)
        for side in (height, width)
    ]
    rows, columns = (torch.arange(side, device=x.device)[None] - a for side, a in zip((height, width), at, strict=True))
    inside = (((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :])[:, None]
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    each = torch.arange(n, device=x.device)[:, None, None]
    moved = x.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return moved * inside


def cut(x: Tensor, g: torch.Generator, *, share: float = 0.5) -> Tensor:
    """Pictures (B, C, H, W) with a square of ``share`` of the side set to 0. Its place is drawn for each; it may lie
    partly outside."""
    n, _, height, width = x.shape
    centre = torch.rand(n, 2, 1, generator=g, device=x.device)
    far = [
        ((torch.arange(side, device=x.device) + 0.5) / side - centre[:, k]).abs() > share / 2
        for k, side in enumerate((height, width))
    ]
    return x * (far[0][:, :, None] | far[1][:, None, :])[:, None]


def augment(x: Tensor, g: torch.Generator, *, changes: tuple[str, ...] = CHANGES) -> Tensor:
    """Pictures (B, 3, H, W) after these changes, in the order colour, shift, cut.

    Each passes gradients to every pixel that is still seen. Raises ``ValueError`` on an unknown name.
    """
    unknown = [name for name in changes if name not in CHANGES]
    if unknown:
        raise ValueError(f"augment: expected some of {', '.join(CHANGES)}; got {', '.join(unknown)}.")
    for name, change in (("colour", colour), ("shift", shift), ("cut", cut)):
        if name in changes:
            x = change(x, g)
    return x


class Augmented(nn.Module):
    """A discriminator that sees everything through ``augment``: real pictures, drawn ones and those of a penalty."""

    def __init__(self, D: Any, *, seed: int = 0, changes: tuple[str, ...] = CHANGES, device: str = "cpu"):
        super().__init__()
        self.D, self.changes = D, changes
        self.rng = torch.Generator(device).manual_seed(seed)  # where the pictures are

    def look(self, x: Tensor) -> Tensor:
        return self.D.look(augment(x, self.rng, changes=self.changes))

    def score(self, features: Tensor, cond: Tensor) -> Tensor:
        return self.D.score(features, cond)
