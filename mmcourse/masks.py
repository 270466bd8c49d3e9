"""Where a picture is damaged: boxes, strokes, halves, borders, whole things (derived in lesson 10).

A mask is a float tensor (B, 1, H, W) of exactly 0 and 1; **1 is the hole**. Outpainting is a mask too: a border.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mmcourse.checks import expect_shape

KINDS = ("box", "stroke", "half", "border")


def expect_mask(mask: Tensor, like: Tensor | None = None) -> Tensor:
    """Check a mask (B, 1, H, W), perhaps against pictures (B, C, H, W), and give it back.

    Raises ``ValueError`` where the shape is another, or where a value is neither 0 nor 1.
    """
    pattern = "B 1 H W" if like is None else f"{like.shape[0]} 1 {like.shape[-2]} {like.shape[-1]}"
    expect_shape(mask, pattern, name="mask")
    if not bool(((mask == 0) | (mask == 1)).all()):
        low, high = float(mask.min()), float(mask.max())
        raise ValueError(
            f"mask: expected 0 (known) and 1 (hole) alone, got values in [{low:.3g}, {high:.3g}]. "
            "A mask is resized by nearest, and a grey one made black and white by (mask > 0.5).float()."
        )
    return mask


def _share_of(share: float) -> float:
    if not 0 < share < 1:
        raise ValueError(f"share: expected a hole of more than 0 and less than 1 of the picture, got {share}.")
    return share


def boxes(n: int, g: torch.Generator, *, size: int = 32, share: float = 0.25) -> Tensor:
    """n rectangles at random places (n, 1, size, size), each about ``share`` of the picture, at most twice as wide as
    high or twice as high as wide. Raises ``ValueError`` unless 0 < share < 1."""
    area = _share_of(share) * size * size
    ratio = torch.exp2(torch.rand(n, generator=g, device=g.device) - 0.5)  # of height and width, the root of it
    height = (area**0.5 * ratio).round().clamp(max(1, math.ceil(area / size)), size)
    width = (area / height).round().clamp(1, size)
    top, left = (
        (torch.rand(n, generator=g, device=g.device) * (size - length + 1)).floor() for length in (height, width)
    )
    at = torch.arange(size, device=g.device)
    rows = (at >= top[:, None]) & (at < (top + height)[:, None])  # (n, size)
    columns = (at >= left[:, None]) & (at < (left + width)[:, None])
    return (rows[:, None, :, None] & columns[:, None, None, :]).float()


def strokes(n: int, g: torch.Generator, *, size: int = 32, share: float = 0.25, turns: int = 4) -> Tensor:
    """n free-form strokes (n, 1, size, size): the pixels nearest to a random path of ``turns`` straight lines, as many
    as make ``share`` of the picture. After Yu et al. (gated convolution), arXiv 1806.03589, who draw with a brush."""
    corners = torch.rand(n, turns + 1, 2, generator=g, device=g.device)  # in picture widths
    a, b = corners[:, :-1, None, None], corners[:, 1:, None, None]  # (n, turns, 1, 1, 2)
    at = (torch.arange(size, device=g.device) + 0.5) / size
    here = torch.stack(torch.meshgrid(at, at, indexing="ij"), dim=-1)  # (size, size, 2)
    line = b - a
    along = ((here - a) * line).sum(-1) / line.square().sum(-1).clamp(min=1e-9)
    distance = (here - a - along.clamp(0, 1)[..., None] * line).norm(dim=-1).amin(1)  # (n, size, size)
    count = max(1, round(_share_of(share) * size * size))
    nearest = distance.flatten(1).topk(count, dim=1, largest=False).indices
    return torch.zeros(n, size * size, device=g.device).scatter_(1, nearest, 1.0).view(n, 1, size, size)


def halves(n: int, g: torch.Generator, *, size: int = 32) -> Tensor:
    """n masks of the left, right, upper or lower half (n, 1, size, size), drawn evenly."""
    first = (torch.arange(size, device=g.device) < size // 2).float()
    rows = torch.stack([first, 1 - first])  # (2, size)
    kinds = torch.cat([rows[:, None, :].expand(2, size, size), rows[:, :, None].expand(2, size, size)])  # (4, s, s)
    return kinds[torch.randint(4, (n,), generator=g, device=g.device)][:, None].clone()


def borders(n: int, *, size: int = 32, keep: int = 16, device: str | torch.device = "cpu") -> Tensor:
    """n masks (n, 1, size, size) that keep the ``keep`` x ``keep`` pixels in the middle and open all around them.

    Outpainting. Raises ``ValueError`` unless 0 < keep < size.
    """
    if not 0 < keep < size:
        raise ValueError(f"keep: expected more than 0 and less than {size} pixels, got {keep}.")
    mask, first = torch.ones(n, 1, size, size, device=device), (size - keep) // 2
    mask[:, :, first : first + keep, first : first + keep] = 0
    return mask


def around(centre: Tensor, *, half: float = 0.32, size: int = 32) -> Tensor:
    """Squares (B, 1, size, size) about points (B, 2), x and y in picture widths, ``half`` their half side.

    With the usual ``half`` a thing of the world, whose centre is given, is hidden whole, small or large. The hole's
    size tells nothing of the thing's.
    """
    expect_shape(centre, "B 2", name="centre")
    at = (torch.arange(size, device=centre.device) + 0.5) / size
    near = ((at - centre[:, :, None]).abs() <= half).float()  # (B, 2, size), x first
    return near[:, 1, :, None].mul(near[:, 0, None, :])[:, None]


def mixed(n: int, g: torch.Generator, *, size: int = 32, kinds: Sequence[str] = KINDS) -> Tensor:
    """n masks (n, 1, size, size) for training: of each kind equally many, with holes of a tenth to a half of the
    picture, in random order. Raises ``ValueError`` on an unknown kind."""
    if not kinds or not set(kinds) <= set(KINDS):
        raise ValueError(f"kinds: expected some of {', '.join(KINDS)}; got {tuple(kinds)}.")
    share = 0.1 + 0.4 * torch.rand((), generator=g, device=g.device).item()
    each = -(-n // len(kinds))
    parts = []
    for kind in kinds:
        if kind == "box":
            parts.append(boxes(each, g, size=size, share=share))
        elif kind == "stroke":
            parts.append(strokes(each, g, size=size, share=share))
        elif kind == "half":
            parts.append(halves(each, g, size=size))
        else:
            keep = int(torch.randint(size // 2, size - size // 8, (1,), generator=g, device=g.device))
            parts.append(borders(each, size=size, keep=keep, device=g.device))
    order = torch.randperm(each * len(kinds), generator=g, device=g.device)[:n]
    return torch.cat(parts)[order]


def resize(mask: Tensor, size: int | tuple[int, int]) -> Tensor:
    """A mask (B, 1, H, W) at another size, by nearest: it stays 0 and 1. Bilinear resizing would make half-holes."""
    return F.interpolate(expect_mask(mask), size=size, mode="nearest-exact")


def hide(x: Tensor, mask: Tensor, *, value: float = 0.0) -> Tensor:
    """Pictures (B, C, H, W) with ``value`` in the hole, whatever was there."""
    expect_mask(mask, x)
    return torch.where(mask > 0, x.new_tensor(value), x)


def compose(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    """The fill in the hole and the known pixels, bit for bit, elsewhere: all (B, C, H, W), the mask (B, 1, H, W).

    Raises ``ValueError`` where shapes differ or the mask is not of 0 and 1.
    """
    expect_mask(mask, known)
    expect_shape(fill, " ".join(map(str, known.shape)), name="fill")
    return torch.where(mask > 0, fill, known)
