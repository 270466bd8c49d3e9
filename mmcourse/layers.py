"""Building blocks: residual blocks without normalisation, modulation by a condition (lesson 09)."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2  # of every leaky ReLU
Module = TypeVar("Module", bound=nn.Module)


def conv(channels_in: int, channels_out: int, size: int = 3, *, gain: float = 1.0) -> nn.Conv2d:
    """A "same" convolution with He initialisation times ``gain``; ``gain=0`` starts at zero."""
    layer = nn.Conv2d(channels_in, channels_out, size, padding=size // 2)
    _he(layer.weight, channels_in * size * size, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def linear(features_in: int, features_out: int, *, gain: float = 1.0) -> nn.Linear:
    """A fully connected layer with He initialisation times ``gain``."""
    layer = nn.Linear(features_in, features_out)
    _he(layer.weight, features_in, gain)
    nn.init.zeros_(layer.bias)
    return layer


def _he(weight: Tensor, fan_in: int, gain: float) -> None:
    if gain == 0:
        nn.init.zeros_(weight)
    else:
        nn.init.normal_(weight, std=gain * math.sqrt(2 / (1 + SLOPE**2) / fan_in))


class ResBlock(nn.Module):
    """x + conv(act(conv(act(x)))): (B, C, H, W) to the same shape.

    There is no normalisation. The last convolution starts at zero, so the block starts as the identity
    (R3GAN, arXiv 2501.05441, after Fixup).
    """

    def __init__(self, width: int):
        super().__init__()
        self.one, self.two = conv(width, width), conv(width, width, gain=0)

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(F.leaky_relu(x, SLOPE))
        return x + self.two(F.leaky_relu(h, SLOPE))


class ModBlock(nn.Module):
    """A residual block whose inside is scaled and shifted, channel by channel, by a condition (B, K).

    The scale and the shift are affine functions of the condition; both start at zero effect (FiLM,
    arXiv 1709.07871).
    """

    def __init__(self, width: int, cond: int):
        super().__init__()
        self.one, self.two = conv(width, width), conv(width, width, gain=0)
        self.affine = linear(cond, 2 * width, gain=0)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        scale, shift = self.affine(cond)[:, :, None, None].chunk(2, dim=1)  # (B, C, 1, 1) each
        h = self.one(F.leaky_relu(x, SLOPE)) * (1 + scale) + shift
        return x + self.two(F.leaky_relu(h, SLOPE))


class Trunk(nn.Module):
    """Pictures (B, channels, 32, 32) to features (B, features).

    A pixel-unshuffle turns 2x2 pixels into channels, so that convolutions run at 16x16 and 8x8, where a
    CPU spends them best. Twins of this trunk are the discriminator, the image tower and the judge; each has
    weights of its own. With ``detail`` pictures are twice as large: they are averaged down, and a second stem adds what
    averaging took away.
    """

    def __init__(
        self,
        *,
        width: int = 32,
        blocks: int = 1,
        features: int = 128,
        channels: int = 3,
        resolution: int = 32,
        detail: bool = False,
    ):
        super().__init__()
        if resolution % 8:
            raise ValueError(f"resolution: expected a multiple of 8, got {resolution}.")
        self.stem = conv(4 * channels, width)
        self.detail = None
        if detail:
            self.detail = nn.Sequential(conv(4 * channels, width), nn.LeakyReLU(SLOPE), nn.PixelUnshuffle(2))
            self.detail.append(conv(4 * width, width, 1))
        self.early = nn.ModuleList(ResBlock(width) for _ in range(blocks))
        self.down = conv(4 * width, 2 * width, 1)
        self.late = nn.ModuleList(ResBlock(2 * width) for _ in range(blocks))
        self.last = conv(8 * width, 2 * width, 1)
        self.out = linear(2 * width * (resolution // 8) ** 2, features)

    def forward(self, x: Tensor) -> Tensor:
        fine = 0.0
        if self.detail is not None:
            whole, x = x, F.avg_pool2d(x, 2)
            lost = whole - x.repeat_interleave(2, 2).repeat_interleave(2, 3)  # (B, channels, 64, 64)
            fine = self.detail(F.pixel_unshuffle(lost, 2))
        h = self.stem(F.pixel_unshuffle(x, 2)) + fine  # (B, width, 16, 16)
        for block in self.early:
            h = block(h)
        h = self.down(F.pixel_unshuffle(h, 2))  # (B, 2*width, 8, 8)
        for block in self.late:
            h = block(h)
        h = self.last(F.pixel_unshuffle(h, 2))  # (B, 2*width, 4, 4)
        return F.leaky_relu(self.out(F.leaky_relu(h, SLOPE).flatten(1)), SLOPE)  # (B, features)


class Whiten(nn.Module):
    """Vectors (B, K) to vectors (B, K) in which all that a caption says varies at the same strength.

    Embeddings of captions differ a lot in some directions and little in others. ``fit`` stores the mean and the
    inverse square root of the covariance (ZCA whitening; Kessy et al., arXiv 1512.00809), so that a network meets
    shape, colour and size alike. Weak directions hold mostly the choice of words; whitening alone would make that
    loud. With ``twins``, the same statements in other words, each direction is weakened by how badly one wording
    predicts it in the other (the correlations of a canonical correlation analysis). Before ``fit`` it is the identity.
    """

    def __init__(self, size: int):
        super().__init__()
        self.centre: Tensor
        self.spread: Tensor
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("spread", torch.eye(size))

    @torch.no_grad()
    def fit(self, vectors: Tensor, twins: Tensor | None = None, *, floor: float = 1e-3, gain: float = 1.0) -> None:
        """Learn from vectors (N, K), N >= 2, and perhaps their twins (N, K). Directions weaker than ``floor`` times
        the strongest stay weak; the others come out with a standard deviation of ``gain``. Raises ``ValueError``
        where the two do not match."""
        if len(vectors) < 2:
            raise ValueError(f"Whiten.fit: expected at least two vectors, got {len(vectors)}.")
        if twins is not None and twins.shape != vectors.shape:
            raise ValueError(f"Whiten.fit: expected twins of shape {tuple(vectors.shape)}, got {tuple(twins.shape)}.")
        centred = (vectors - vectors.mean(0)).double()
        values, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
        scale = (values.clamp(min=0) + floor * values.max()).rsqrt()
        spread = (directions * scale) @ directions.T
        if twins is not None:
            shared = centred.T @ (twins - vectors.mean(0)).double() / len(centred)
            agreement = spread @ (shared + shared.T) / 2 @ spread  # eigenvalues: 1 said alike in all words, 0 noise
            spread = spread @ agreement @ agreement
        self.centre.copy_(vectors.mean(0))
        self.spread.copy_(gain * spread)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.centre) @ self.spread


def upsample_head(width: int, channels: int = 3, factor: int = 2, *, gain: float = 1.0) -> nn.Sequential:
    """A pixel-shuffle head: (B, width, H, W) to (B, channels, factor*H, factor*W)."""
    return nn.Sequential(conv(width, channels * factor**2, gain=gain), nn.PixelShuffle(factor))


def count_parameters(module: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def no_grad_copy(module: Module) -> Module:
    """A frozen deep copy, in eval mode."""
    twin = copy.deepcopy(module).eval()
    for p in twin.parameters():
        p.requires_grad_(False)
    return twin
