"""A watermark in pixels that the holder of a key can find again, and how sure the finding is (derived in lesson 14).

A key makes a pattern of signs, one a pixel. It is added to the brightness so faintly that the eye passes over it; the
detector sums the picture's fine structure, each pixel with its sign. In an unmarked picture these signs are as
good as coin tosses, so the sum says how unlikely chance is. Spread spectrum after Cox, Kilian, Leighton and Shamoon,
"Secure Spread Spectrum Watermarking for Multimedia", IEEE Transactions on Image Processing 6(12), 1997,
doi:10.1109/83.650120; here it is spread over pixels, not over the large cosine coefficients of the whole picture.
"""

from __future__ import annotations

import hashlib
import io
from statistics import NormalDist

import torch
from torch import Tensor
from torch.nn import functional as F

from mmcourse.checks import expect_range, expect_shape

PSNR = 36.0  # dB that a marked picture keeps, at least


def pattern(key: str, height: int = 32, width: int = 32) -> Tensor:
    """The key's signs: float32 (H, W) of -1 and 1, the same on every machine.

    They are the bits of SHAKE-256 over the size and the key: who does not have the key cannot tell them from tosses of
    a coin. Raises ``ValueError`` for an empty key and sides below 1.
    """
    if not isinstance(key, str) or not key:
        raise ValueError(f"key: expected a text of at least one character, got {key!r}.")
    if min(height, width) < 1:
        raise ValueError(f"pattern: expected sides of at least 1 pixel, got {height} x {width}.")
    n = height * width
    drawn = hashlib.shake_256(f"{height}x{width}:{key}".encode()).digest(-(-n // 8))
    bits = torch.frombuffer(bytearray(drawn), dtype=torch.uint8)[:, None] >> torch.arange(8, dtype=torch.uint8) & 1
    return 2 * bits.flatten()[:n].float().view(height, width) - 1


def strength_for(psnr: float = PSNR) -> float:
    """The strength at which pictures in [-1, 1] keep a PSNR in dB: ``2 * 10 ** (-psnr / 20)``. Raises ``ValueError``
    unless it is above 0 dB."""
    if not psnr > 0:
        raise ValueError(f"psnr: expected more than 0 dB, got {psnr}.")
    return float(2 * 10 ** (-psnr / 20))


def mark(x: Tensor, key: str, *, strength: float | None = None) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1] with the key's pattern: each pixel brighter or darker by ``strength``, then kept
    inside [-1, 1]. So white can only become darker, and carries half of the mark; the PSNR is ``PSNR`` dB or more.

    All three colours get the same sign: JPEG keeps brightness at twice the resolution of colour.

    Raises ``ValueError`` on another shape or range and on a strength outside (0, 2].
    """
    sizes = _pictures(x)
    strength = strength_for() if strength is None else strength
    if not 0 < strength <= 2:
        raise ValueError(f"strength: expected more than 0 and at most 2 (the range is 2 wide), got {strength}.")
    return (x + strength * pattern(key, sizes["H"], sizes["W"]).to(x)).clamp(-1, 1)


def fine(x: Tensor) -> Tensor:
    """What the detector looks at: (B, 3, H, W) to (B, H, W). Each number less the mean of the 3x3 around it, with large
    differences limited softly, and then the mean of the colours. An edge is much stronger than any mark and would drown
    it."""
    rest = x - F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    rest = torch.where(rest.abs() < 1e-5, 0.0, rest)  # rounding; bytes differ by 9e-4 here, at least
    return (rest / (rest.abs() + strength_for() / 2)).mean(1)


def z_score(x: Tensor, key: str, *, reach: int = 0) -> Tensor:
    r"""How far the signs of the key agree with pictures (B, 3, H, W) in [-1, 1]: float (B,).

    $z = \sum_i p_i r_i / \sqrt{\sum_i r_i^2}$ with the signs p and the fine structure r. Over keys that have nothing to
    do with the picture its mean is 0 and its variance is 1, whatever the picture; about normal. A plain picture gives
    0. With ``reach`` above 0 the picture is also moved by up to so many pixels, to all (2 reach + 1)^2 places, and the
    highest z is given: see ``looks`` of ``false_alarm``.
    """
    sizes = _pictures(x)
    if not 0 <= reach < min(sizes["H"], sizes["W"]) / 2:
        raise ValueError(f"reach: expected 0 or more pixels, less than half of the side, got {reach}.")
    signs, rest = pattern(key, sizes["H"], sizes["W"]).to(x), fine(x)
    size = rest.flatten(1).norm(dim=1).clamp(min=1e-12)
    moves = [(a, b) for a in range(-reach, reach + 1) for b in range(-reach, reach + 1)]
    turned = torch.stack([signs.roll(move, (0, 1)).flatten() for move in moves])  # (looks, H*W)
    return (rest.flatten(1) @ turned.T).amax(1) / size


def false_alarm(z: float, *, looks: int = 1) -> float:
    """The chance that an unmarked picture reaches z at one of so many looks, for normal, independent z."""
    return float(1 - (1 - NormalDist().cdf(-z)) ** _looks(looks))


def threshold(rate: float, *, looks: int = 1) -> float:
    """The z that unmarked pictures reach at this rate: the inverse of ``false_alarm``. Raises ``ValueError`` for a rate
    outside (0, 1)."""
    if not 0 < rate < 1:
        raise ValueError(f"rate: expected a share between 0 and 1, got {rate}.")
    return float(-NormalDist().inv_cdf(1 - (1 - rate) ** (1 / _looks(looks))))


def jpeg(x: Tensor, quality: int) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1] after a JPEG file of this quality, 1 to 95 (colours at half resolution)."""
    import numpy as np
    from PIL import Image

    _pictures(x)
    if not 1 <= quality <= 95:
        raise ValueError(f"quality: expected 1 to 95, got {quality}.")
    out = []
    for picture in ((x.detach().cpu() + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(file)))
    return (torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).float() / 127.5 - 1).to(x)


def _pictures(x: Tensor) -> dict[str, int]:
    sizes = expect_shape(x, "B 3 H W", name="pictures")
    expect_range(x, -1, 1, name="pictures")
    return sizes


def _looks(looks: int) -> int:
    if looks < 1:
        raise ValueError(f"looks: expected at least 1, got {looks}.")
    return looks
