"""Lesson 10: the answers of its assignment against scipy, PIL, numpy, torch, closed forms and the library."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from scipy.signal import correlate2d
from scipy.spatial import cKDTree
from torch.nn import functional as F

from mmcourse import inpainting, masks
from mmcourse.course import exercise as e


@functools.cache
def reference(item: str) -> Callable[..., Any]:
    whole = e.load_assignment("10_inpainting", ROOT)
    return e.reference(whole, whole.item(item))


def some_mask(rng: torch.Generator, *shape: int) -> torch.Tensor:
    return (torch.rand(*shape, generator=rng) < 0.5).float()


# ---- free_form_mask


def test_a_stroke_is_what_a_tree_of_points_on_the_path_finds(rng: torch.Generator) -> None:
    """No pixel of the hole is farther from the path than one outside, by scipy's nearest neighbours."""
    stroke = reference("free_form_mask")
    for size, share in ((16, 0.2), (9, 0.41), (12, 0.07)):
        corners = torch.rand(4, 2, generator=rng)
        mask = stroke(corners, size, share)
        assert mask.shape == (1, 1, size, size) and set(mask.unique().tolist()) == {0.0, 1.0}
        assert mask.sum() == round(share * size * size)
        t = np.linspace(0, 1, 4001)[:, None]
        path = np.concatenate(
            [(1 - t) * a + t * b for a, b in zip(corners[:-1].numpy(), corners[1:].numpy(), strict=True)]
        )
        rows, columns = np.mgrid[:size, :size]
        distance, _ = cKDTree(path).query(np.stack([columns + 0.5, rows + 0.5], -1).reshape(-1, 2) / size)
        hole = mask.flatten().numpy() > 0
        assert distance[hole].max() <= distance[~hole].min() + 1e-4


def test_a_stroke_along_an_axis_is_a_bar_and_one_about_a_point_is_a_disc() -> None:
    stroke = reference("free_form_mask")
    bar = stroke(torch.tensor([[0.0, 0.375], [1.0, 0.375]]), 8, 0.25)  # x from edge to edge, y between two rows
    assert bar[0, 0].sum(1).tolist() == [0, 0, 8, 8, 0, 0, 0, 0]
    point = stroke(torch.full((3, 2), 0.5), 9, 21 / 81)  # three times the middle of the middle pixel
    rows, columns = torch.meshgrid(torch.arange(9) - 4, torch.arange(9) - 4, indexing="ij")
    assert torch.equal(point[0, 0], (rows**2 + columns**2 <= 5).float())


def test_a_stroke_is_one_of_the_librarys() -> None:
    stroke = reference("free_form_mask")
    for seed in range(5):
        corners = torch.rand(1, 5, 2, generator=torch.Generator().manual_seed(seed))[0]  # as the library draws them
        want = masks.strokes(1, torch.Generator().manual_seed(seed), size=20, share=0.3)
        assert torch.equal(stroke(corners.flip(1), 20, 0.3), want)  # there a corner is y and x


# ---- resize_mask


@pytest.mark.parametrize(("old", "new"), [((7, 9), (5, 6)), ((5, 3), (8, 7)), ((32, 32), (96, 96)), ((15, 9), (4, 2))])
def test_resizing_is_that_of_pil_and_of_torch(old: tuple[int, int], new: tuple[int, int], rng: torch.Generator) -> None:
    mask = some_mask(rng, 3, 1, *old)
    got = reference("resize_mask")(mask, new)
    assert torch.equal(got, F.interpolate(mask, size=new, mode="nearest-exact"))
    assert torch.equal(got, masks.resize(mask, new))
    for before, after in zip(mask[:, 0], got[:, 0], strict=True):
        picture = Image.fromarray((before.numpy() * 255).astype(np.uint8))
        by_pil = np.asarray(picture.resize((new[1], new[0]), Image.Resampling.NEAREST)) / 255
        assert np.array_equal(after.numpy(), by_pil)


def test_a_mask_three_times_as_large_and_back_is_itself(rng: torch.Generator) -> None:
    resize, mask = reference("resize_mask"), some_mask(rng, 2, 1, 6, 5)
    large = resize(mask, (18, 15))
    assert torch.equal(large, torch.from_numpy(np.kron(mask.numpy(), np.ones((3, 3), dtype=np.float32))))
    assert torch.equal(resize(large, (6, 5)), mask)
    for wrong in (mask / 2, mask * 255, -mask):
        with pytest.raises(ValueError, match="0 and 1"):
            resize(wrong, (3, 3))


def test_a_vote_at_one_half_loses_lone_pixels_and_the_centre_does_not() -> None:
    """Why one half after bilinear is no cure: on a grid half as fine again, lone pixels lose more than half."""
    dots = torch.zeros(1, 1, 6, 6)
    dots[..., ::3, ::3] = 1
    voted = (F.interpolate(dots, size=(9, 9), mode="bilinear", align_corners=False) > 0.5).float()
    assert voted.mean() < dots.mean() / 2
    assert reference("resize_mask")(dots, (9, 9)).mean().item() == pytest.approx(dots.mean().item())


# ---- composite


def test_composing_is_numpys_choice_bit_for_bit(rng: torch.Generator) -> None:
    composite = reference("composite")
    known, fill = (1e3 * torch.randn(2, 3, 5, 4, generator=rng) for _ in range(2))
    mask = some_mask(rng, 2, 1, 5, 4)
    known[0, 0, 0, 0], known[1, 1, 2, 2] = -0.0, 1e-42  # a signed zero and a number below the smallest normal one
    want = np.where(mask.numpy() > 0, fill.numpy(), known.numpy())
    got = composite(known, fill, mask)
    assert np.array_equal(got.numpy().view(np.int32), want.view(np.int32))
    assert torch.equal(got, masks.compose(known, fill, mask))


def test_nothing_under_the_hole_gets_in_and_nothing_beyond_it_either(rng: torch.Generator) -> None:
    composite, mask = reference("composite"), some_mask(rng, 1, 1, 6, 6)
    x = torch.randn(1, 3, 6, 6, generator=rng)
    known, fill = torch.where(mask > 0, math.nan, x), torch.where(mask > 0, x, math.inf)
    assert torch.equal(composite(known, fill, mask), x)
    assert not torch.equal(mask * fill + (1 - mask) * known, x)
    for bad_fill, bad_mask in ((x[:, :1], mask), (x[..., :1], mask), (x, mask / 2), (x, mask * 255)):
        with pytest.raises(ValueError):
            composite(x, bad_fill, bad_mask)


# ---- partial_conv


def test_a_partial_convolution_by_scipy_and_by_the_library(rng: torch.Generator) -> None:
    conv = reference("partial_conv")
    for k in (3, 5):
        x, weight = torch.randn(2, 2, 7, 6, generator=rng), torch.randn(3, 2, k, k, generator=rng)
        bias, mask = torch.randn(3, generator=rng), torch.ones(2, 1, 7, 6)
        mask[0, 0, :2, :2], mask[1, 0, 6, 5] = some_mask(rng, 2, 2), 0.0
        out, left = conv(x, mask, weight, bias)
        theirs = inpainting.partial_conv(x, mask, weight, bias)
        assert torch.allclose(out, theirs[0], atol=1e-4) and torch.equal(left, theirs[1])
        known = 1 - mask.double().numpy()
        for b in range(2):
            count = correlate2d(known[b, 0], np.ones((k, k)), mode="same").round()
            for o in range(3):
                layers = zip(x[b].double().numpy() * known[b], weight[o].double().numpy(), strict=True)
                total = sum(correlate2d(layer, kernel, mode="same") for layer, kernel in layers)
                want = np.where(count > 0, total * k * k / np.maximum(count, 1) + bias[o].item(), 0)
                np.testing.assert_allclose(out[b, o].numpy(), want, atol=1e-4)
            np.testing.assert_array_equal(left[b, 0].numpy(), count == 0)


def test_an_even_picture_stays_even_whatever_the_hole(rng: torch.Generator) -> None:
    """With a kernel that sums to 1, the partial convolution of one colour is that colour; an ordinary one's is not."""
    conv, mask = reference("partial_conv"), some_mask(rng, 1, 1, 8, 8)
    x, mean = torch.full((1, 1, 8, 8), 0.6), torch.full((1, 1, 3, 3), 1 / 9)
    out, left = conv(torch.where(mask > 0, 1e4, x), mask, mean, torch.zeros(1))
    assert torch.allclose(out, 0.6 * (1 - left), atol=1e-5)
    assert not torch.allclose(F.conv2d(x * (1 - mask), mean, padding=1), x, atol=0.1)
    x, weight, bias = torch.randn(1, 2, 8, 8, generator=rng), torch.randn(4, 2, 3, 3, generator=rng), torch.ones(4)
    whole, none = conv(x, torch.zeros(1, 1, 8, 8), weight, bias)
    assert torch.allclose(whole[..., 1:-1, 1:-1], F.conv2d(x, weight, bias), atol=1e-5) and not none.any()


def test_a_hole_closes_by_a_ring_a_layer() -> None:
    """A square of 16 pixels is gone after 8 layers of kernel 3, or 4 of kernel 5; one at the rim takes longer."""
    conv = reference("partial_conv")

    def layers(mask: torch.Tensor, k: int) -> int:
        count = 0
        while mask.any():
            _, mask = conv(torch.zeros_like(mask), mask, torch.ones(1, 1, k, k), torch.zeros(1))
            count += 1
        return count

    middle, half = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    middle[..., 8:24, 8:24], half[..., :16] = 1, 1
    assert [layers(middle, 3), layers(middle, 5), layers(half, 3)] == [8, 4, 16]


# ---- hole_l1


def test_the_error_is_numpys_mean_over_the_picked_numbers(rng: torch.Generator) -> None:
    l1, mask = reference("hole_l1"), some_mask(rng, 3, 1, 5, 4)
    fake, real = torch.randn(3, 3, 5, 4, generator=rng), torch.randn(3, 3, 5, 4, generator=rng)
    hole = np.broadcast_to(mask.numpy() > 0, fake.shape)
    want = np.abs(fake.numpy()[hole] - real.numpy()[hole]).mean()
    assert l1(fake, real, mask).item() == pytest.approx(want, rel=1e-5)
    assert torch.allclose(l1(fake, real, mask), inpainting.hole_l1(fake, real, mask))
    assert torch.allclose(l1(fake, real, torch.ones(3, 1, 5, 4)), F.l1_loss(fake, real))


def test_the_error_does_not_know_how_large_the_hole_is_and_without_a_hole_it_is_nothing() -> None:
    l1, real = reference("hole_l1"), torch.zeros(2, 3, 8, 8)
    fake = (real + 0.3).requires_grad_(True)
    for size in (1, 3, 8):
        mask = torch.zeros(2, 1, 8, 8)
        mask[..., :size, :size] = 1
        assert l1(fake, real, mask).item() == pytest.approx(0.3)
    loss = l1(fake, real, torch.zeros(2, 1, 8, 8))
    (slope,) = torch.autograd.grad(loss, fake)
    assert loss.item() == 0 and not slope.any()


# ---- outpaint_mask


def test_a_border_is_what_numpy_pads_and_what_the_library_has() -> None:
    border = reference("outpaint_mask")
    for size, keep in ((32, 16), (9, 4), (8, 3), (7, 6)):
        assert torch.equal(border(size, size, keep, keep), masks.borders(1, size=size, keep=keep))
    for height, width, keep_height, keep_width in ((6, 9, 3, 4), (5, 8, 5, 1), (4, 7, 1, 7), (3, 3, 3, 3)):
        down, right = height - keep_height, width - keep_width
        margins = ((down // 2, down - down // 2), (right // 2, right - right // 2))
        want = np.pad(np.zeros((keep_height, keep_width)), margins, constant_values=1)
        np.testing.assert_array_equal(border(height, width, keep_height, keep_width)[0, 0].numpy(), want)


def test_a_border_lies_even_and_refuses_what_cannot_be() -> None:
    border = reference("outpaint_mask")
    even = border(10, 8, 4, 2)
    assert torch.equal(even, even.flip(2)) and torch.equal(even, even.flip(3)) and (1 - even).sum() == 8
    for window in ((0, 2), (2, 0), (-1, 2), (5, 2), (2, 6)):
        with pytest.raises(ValueError, match="window"):
            border(4, 5, *window)
