"""The watermark against closed forms: its signs, its price in PSNR, its false alarms, and what breaks it."""

from __future__ import annotations

import hashlib
import math
import re

import pytest
import torch
from scipy.stats import norm
from torch.nn import functional as F

from mmcourse import watermark as w


def pictures(n: int = 40, seed: int = 0) -> torch.Tensor:
    """Smooth random pictures with hard edges and a white border: (n, 3, 32, 32)."""
    g = torch.Generator().manual_seed(seed)
    soft = F.interpolate(torch.rand(n, 3, 6, 6, generator=g) * 2 - 1, 32, mode="bilinear", align_corners=False)
    soft[:, :, 10:20, 12:] = (torch.rand(n, 3, 1, 1, generator=g) * 2 - 1).expand(-1, -1, 10, 20)
    soft[:, :, :, :5] = 1
    return soft.clamp(-1, 1)


def psnr(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return 10 * torch.log10(4 / (a - b).square().mean((1, 2, 3)))


def test_the_signs_are_the_bits_of_the_hash() -> None:
    signs = w.pattern("a key", 5, 7)
    number = int.from_bytes(hashlib.shake_256(b"5x7:a key").digest(5), "little")
    assert signs.flatten().tolist() == [1.0 if number >> i & 1 else -1.0 for i in range(35)]


def test_keys_and_sizes_give_signs_that_have_nothing_in_common() -> None:
    a, b = w.pattern("one"), w.pattern("two")
    assert a.shape == (32, 32) and set(a.unique().tolist()) == {-1.0, 1.0}
    for x in (a, b, a * b, a * w.pattern("one", 32, 64)[:, :32]):
        assert abs(float(x.mean())) < 4 / 32  # four standard deviations of 1,024 tosses
    assert torch.equal(a, w.pattern("one"))


@pytest.mark.parametrize("decibel", [30.0, 36.0, 45.0])
def test_the_strength_costs_what_it_says(decibel: float) -> None:
    grey = torch.zeros(2, 3, 32, 32)
    assert psnr(w.mark(grey, "k", strength=w.strength_for(decibel)), grey).tolist() == pytest.approx([decibel] * 2)


def test_white_gets_half_of_the_mark_and_nothing_leaves_the_range() -> None:
    white = torch.ones(1, 3, 32, 32)
    marked = w.mark(white, "k")
    darker = (w.pattern("k") < 0).expand(1, 3, -1, -1)
    assert torch.equal(marked < 1, darker)
    assert torch.allclose(white[darker] - marked[darker], torch.tensor(2 * 10 ** (-36 / 20)))
    x = pictures()
    assert w.mark(x, "k").abs().max() <= 1 and psnr(w.mark(x, "k"), x).min() >= w.PSNR


@pytest.mark.parametrize("what", ["smooth", "noise", "one dot"])
def test_over_keys_z_has_mean_0_and_variance_1_whatever_the_picture(what: str) -> None:
    x = {"smooth": pictures(1), "noise": torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1}
    dot = torch.zeros(1, 3, 32, 32)
    dot[..., 9:12, 20] = 0.7
    n = 2000
    z = torch.cat([w.z_score({**x, "one dot": dot}[what], f"key {k}") for k in range(n)])
    assert abs(float(z.mean())) < 4 / math.sqrt(n)
    assert abs(float(z.var()) - 1) < 4 * math.sqrt(2 / n)


def test_z_is_the_correlation_with_the_fine_structure() -> None:
    x = pictures(3)
    rest = w.fine(x)
    assert rest.shape == (3, 32, 32)
    wanted = [(r * w.pattern("k")).sum() / r.square().sum().sqrt() for r in rest]
    assert torch.allclose(w.z_score(x, "k"), torch.stack(wanted), atol=1e-5)
    assert w.z_score(torch.full((1, 3, 32, 32), 0.3), "k").tolist() == [0.0]
    ramp = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)
    assert w.fine(ramp)[..., 1:-1].abs().max() < 1e-4  # a slope is no fine structure


def test_false_alarms_follow_the_normal_curve_and_the_looks() -> None:
    for z in (-1.0, 0.0, 2.5, 5.0):
        assert w.false_alarm(z) == pytest.approx(norm.sf(z), rel=1e-6)
        assert w.false_alarm(z, looks=9) == pytest.approx(1 - (1 - norm.sf(z)) ** 9, rel=1e-6)
    for rate in (0.2, 1e-3, 1e-6):
        assert w.threshold(rate) == pytest.approx(norm.isf(rate), rel=1e-6)
        assert w.false_alarm(w.threshold(rate, looks=25), looks=25) == pytest.approx(rate, rel=1e-6)
    assert w.threshold(1e-3, looks=9) > w.threshold(1e-3)


def test_the_rate_of_false_alarms_is_the_one_in_theory() -> None:
    x, limit = pictures(60), w.threshold(0.01)
    z = torch.stack([w.z_score(x, f"key {k}") for k in range(200)])
    hits = int((z > limit).sum())
    assert hits / z.numel() == pytest.approx(0.01, abs=0.004)
    z = torch.stack([w.z_score(x, f"key {k}", reach=1) for k in range(200)])
    assert float((z > w.threshold(0.01, looks=9)).float().mean()) == pytest.approx(0.01, abs=0.004)


def test_a_marked_picture_is_found_by_its_own_key_alone_and_survives_bytes_and_noise() -> None:
    x = w.mark(pictures(), "mine")
    limit = w.threshold(1e-4)
    assert (w.z_score(x, "mine") > limit).all()
    assert (w.z_score(x, "yours") > limit).float().mean() <= 1 / 40
    stored = ((x + 1) * 127.5).round() / 127.5 - 1
    assert (w.z_score(stored, "mine") > limit).all()
    g = torch.Generator().manual_seed(2)
    noisy = (x + 0.05 * torch.randn(x.shape, generator=g)).clamp(-1, 1)
    assert (w.z_score(noisy, "mine") > limit).float().mean() > 0.9
    more, less = (w.z_score(w.mark(pictures(), "mine", strength=s), "mine").mean() for s in (0.05, 0.02))
    assert more > less


def test_a_shift_breaks_it_and_looking_around_finds_it_again() -> None:
    x = w.mark(pictures(), "k")
    for down, right in ((0, 1), (-1, 1), (1, 0)):
        moved = x.roll((down, right), (2, 3))
        assert (w.z_score(moved, "k") > w.threshold(1e-3)).float().mean() < 0.1
        assert (w.z_score(moved, "k", reach=1) > w.threshold(1e-3, looks=9)).all()
    assert torch.all(w.z_score(x, "k", reach=1) >= w.z_score(x, "k") - 1e-4)
    assert (w.z_score(x.roll(2, 3), "k", reach=1) > w.threshold(1e-3, looks=9)).float().mean() < 0.1


def test_jpeg_keeps_smooth_pictures_and_takes_the_mark_as_quality_falls() -> None:
    smooth = F.interpolate(pictures(8)[:, :, ::8, ::8], 32, mode="bilinear", align_corners=False)
    assert psnr(w.jpeg(smooth, 95), smooth).min() > 32
    x = w.mark(pictures(), "k")
    z = [float(w.z_score(w.jpeg(x, quality), "k").mean()) for quality in (95, 80, 40)]
    assert z[0] > z[1] > z[2]
    assert w.jpeg(x, 50).shape == x.shape and w.jpeg(x, 50).abs().max() <= 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: w.pattern(""), "key: expected a text of at least one character, got ''"),
        (lambda x: w.pattern(7), "key: expected a text of at least one character, got 7"),  # type: ignore[arg-type]
        (lambda x: w.pattern("k", 0, 4), "pattern: expected sides of at least 1 pixel, got 0 x 4"),
        (lambda x: w.strength_for(0), "psnr: expected more than 0 dB, got 0"),
        (lambda x: w.strength_for(math.nan), "psnr: expected more than 0 dB, got nan"),
        (lambda x: w.mark(x[0], "k"), "Add the batch axis"),
        (lambda x: w.mark(x[:, :1], "k"), "pictures: expected shape (B 3 H W)"),
        (lambda x: w.mark(x * 255, "k"), "pictures: expected values in [-1, 1]"),
        (lambda x: w.mark(x, "k", strength=0), "strength: expected more than 0 and at most 2"),
        (lambda x: w.mark(x, "k", strength=-0.1), "strength: expected more than 0 and at most 2"),
        (lambda x: w.z_score(x.byte(), "k"), "pictures: expected floats"),
        (lambda x: w.z_score(x, "k", reach=16), "reach: expected 0 or more pixels, less than half of the side, got 16"),
        (lambda x: w.z_score(x, "k", reach=-1), "reach: expected 0 or more pixels"),
        (lambda x: w.threshold(0), "rate: expected a share between 0 and 1, got 0"),
        (lambda x: w.threshold(0.1, looks=0), "looks: expected at least 1, got 0"),
        (lambda x: w.jpeg(x, 100), "quality: expected 1 to 95, got 100"),
    ],
)
def test_bad_inputs_get_clear_errors(call, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        call(torch.full((2, 3, 32, 32), 0.5))
