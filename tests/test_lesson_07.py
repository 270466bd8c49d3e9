"""Lesson 07: the answers of its assignment against torch's own layers and losses, closed forms and the library."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import nn
from torch.nn import functional as F

from mmcourse import image2image
from mmcourse.course import exercise as e


@functools.cache
def reference(item: str) -> Callable[..., Any]:
    whole = e.load_assignment("07_image2image", ROOT)
    return e.reference(whole, whole.item(item))


# ---- receptive_field


def touched(layers: list[tuple[int, int]], at: int) -> torch.Tensor:
    """Which pixels of a row have a slope under output number ``at`` of a stack of torch's convolutions."""
    net = nn.Sequential(*(nn.Conv1d(1, 1, k, stride=s) for k, s in layers))
    for p in net.parameters():
        nn.init.ones_(p)
    x = torch.zeros(1, 1, 260, requires_grad=True)
    (slope,) = torch.autograd.grad(net(x)[0, 0, at], x)
    return slope.flatten().nonzero().flatten()


def test_a_patch_is_what_a_gradient_reaches() -> None:
    field, rng = reference("receptive_field"), random.Random(0)
    for _ in range(12):
        layers = [(rng.randint(2, 5), 1)] + [(rng.randint(2, 5), rng.randint(1, 2)) for _ in range(rng.randint(1, 3))]
        layers = [(max(k, s), s) for k, s in layers]  # a kernel below its stride leaves gaps
        first, second = touched(layers, 3), touched(layers, 4)
        width, step = field(layers)
        assert first.max() - first.min() + 1 == width
        assert second.min() - first.min() == step
        assert width == image2image.receptive_field(layers)


def test_the_patch_of_the_paper_is_seventy_pixels() -> None:
    """Isola et al., arXiv 1611.07004, appendix 6.1.2: C64-C128-C256-C512 sees 70 x 70, C64-C128 sees 16 x 16."""
    field = reference("receptive_field")
    assert field([(4, 2), (4, 2), (4, 2), (4, 1), (4, 1)]) == (70, 8)
    assert field([(4, 2), (4, 1), (4, 1)]) == (16, 2)
    assert field([(1, 1), (1, 1)]) == (1, 1) == field([])
    with pytest.raises(ValueError):
        field([(3, 0)])


# ---- unet_block


def test_a_unet_block_is_torchs_layers_in_a_row(rng: torch.Generator) -> None:
    block = reference("unet_block")
    conv = nn.Conv2d(5, 4, 3, padding=1)
    low, skip = torch.randn(2, 3, 4, 5, generator=rng), torch.randn(2, 2, 8, 10, generator=rng)
    large = nn.Upsample(scale_factor=2, mode="nearest")(nn.LeakyReLU(0.2)(low))
    want = conv(torch.cat([large, skip], 1))
    assert torch.allclose(block(low, skip, conv.weight, conv.bias), want, atol=1e-5)


def test_a_skip_brings_its_negative_numbers_unchanged(rng: torch.Generator) -> None:
    block = reference("unet_block")
    weight = torch.zeros(1, 2, 3, 3)
    weight[0, 1, 1, 1] = 1.0  # lets through the middle pixel of the skip, and nothing else
    skip = torch.randn(1, 1, 6, 4, generator=rng)
    out = block(torch.randn(1, 1, 3, 2, generator=rng), skip, weight, torch.zeros(1))
    assert torch.equal(out, skip) and (skip < 0).any()
    for wrong in (skip[:, :, 1:], skip[:, :, :, 1:], skip.repeat(1, 1, 2, 2)):
        with pytest.raises(ValueError, match="does not fit"):
            block(torch.zeros(1, 1, 3, 2), wrong, weight, torch.zeros(1))


# ---- pair_input


def test_pairs_are_those_of_the_library(rng: torch.Generator) -> None:
    pair = reference("pair_input")
    cond, real = torch.randn(4, 1, 3, 3, generator=rng), torch.randn(4, 3, 3, 3, generator=rng)
    fake = torch.randn(4, 3, 3, 3, generator=rng)
    right, made, wrong = pair(cond, real, fake).chunk(3)
    assert torch.equal(right, image2image.pair_input(cond, real))
    assert torch.equal(made, image2image.pair_input(cond, fake))
    assert torch.equal(wrong, image2image.pair_input(cond.roll(1, 0), real))


def test_a_batch_of_one_has_no_mismatch_and_ds_step_leaves_g_alone(rng: torch.Generator) -> None:
    pair = reference("pair_input")
    cond, real = torch.randn(1, 2, 2, 2, generator=rng), torch.randn(1, 3, 2, 2, generator=rng)
    G = nn.Conv2d(2, 3, 1)
    right, _, wrong = (out := pair(cond, real, G(cond))).chunk(3)
    assert torch.equal(right, wrong) and not out.requires_grad
    for parts in ((cond, real, real.repeat(2, 1, 1, 1)), (cond, real.repeat(2, 1, 1, 1), real)):
        with pytest.raises(ValueError):
            pair(*parts)


# ---- pix2pix_loss


def test_pix2pix_is_torchs_cross_entropy_and_l1(rng: torch.Generator) -> None:
    loss = reference("pix2pix_loss")
    on_real, on_fake = (3 * torch.randn(2, 1, 4, 4, generator=rng) for _ in range(2))
    fake, real = (torch.rand(2, 3, 8, 8, generator=rng) * 2 - 1 for _ in range(2))
    bce, ones = nn.BCEWithLogitsLoss(), torch.ones(2, 1, 4, 4)
    loss_d, loss_g = loss(on_real, on_fake, fake, real, 100.0)
    assert torch.allclose(loss_d, (bce(on_real, ones) + bce(on_fake, 0 * ones)) / 2, atol=1e-6)
    assert torch.allclose(loss_g, bce(on_fake, ones) + 100 * nn.L1Loss()(fake, real), rtol=1e-5)


def test_a_d_that_guesses_pays_log_two_and_a_far_logit_stays_finite() -> None:
    loss, nothing = reference("pix2pix_loss"), torch.zeros(1, 3, 2, 2)
    zeros = torch.zeros(1, 1, 2, 2)
    loss_d, loss_g = loss(zeros, zeros, nothing, nothing, 5.0)
    assert loss_d.item() == pytest.approx(torch.tensor(2.0).log().item()) == loss_g.item()
    loss_d, loss_g = loss(zeros + 1e4, zeros - 1e4, nothing, nothing, 5.0)
    assert loss_d.item() == 0 and loss_g.item() == pytest.approx(1e4)
    without, half_off = (loss(zeros, zeros, nothing + off, nothing, 5.0)[1].item() for off in (0.0, 0.5))
    assert half_off == pytest.approx(without + 2.5)


# ---- cycle_loss


def test_a_cycle_of_inverses_costs_nothing_and_of_others_what_the_library_says(rng: torch.Generator) -> None:
    loss = reference("cycle_loss")
    a, b = torch.rand(3, 3, 4, 4, generator=rng), torch.rand(2, 3, 4, 4, generator=rng)
    assert loss(lambda x: 2 * x + 1, lambda x: (x - 1) / 2, a, b, 10.0).item() == pytest.approx(0, abs=1e-5)
    assert loss(lambda x: x, lambda x: x, a, b, 10.0).item() == 0
    AB, BA = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
    want = 7 * image2image.cycle_loss(a, BA(AB(a)), b, AB(BA(b)))
    assert torch.allclose(loss(AB, BA, a, b, 7.0), want)


def test_a_cycle_counts_both_sides(rng: torch.Generator) -> None:
    """A pile that holds one picture only can be forgotten from one side and not from the other."""
    loss, a = reference("cycle_loss"), torch.rand(4, 1, 2, 2, generator=rng)
    b = torch.zeros(5, 1, 2, 2)
    forget, rest = (lambda x: 0 * x), (lambda x: x)
    assert loss(forget, rest, a, b, 1.0).item() == pytest.approx(a.mean().item())
    assert loss(rest, forget, b, a, 1.0).item() == pytest.approx(a.mean().item())


# ---- what the lesson says


def test_l1_is_lowest_at_the_median_and_the_square_at_the_mean() -> None:
    truth, answers = torch.tensor([0.0, 0.1, 1.0]), torch.linspace(0, 1, 1001)
    absolute = (answers[:, None] - truth).abs().mean(1)
    squared = (answers[:, None] - truth).square().mean(1)
    assert answers[absolute.argmin()].item() == pytest.approx(truth.median().item(), abs=1e-3)
    assert answers[squared.argmin()].item() == pytest.approx(truth.mean().item(), abs=1e-3)


def test_the_lesson_holds_no_number_of_a_run_in_its_prose() -> None:
    text = (ROOT / "notebooks" / "source" / "07_image2image.py").read_text(encoding="utf-8")
    prose = "\n".join(re.findall(r"^# .*$", text, re.MULTILINE))
    assert not re.findall(r"\d+\s?%", prose) and "07_image2image.ipynb" in prose


def test_orange_and_cyan_are_one_grey() -> None:
    from mmcourse import world

    grey = {c: image2image.grey(torch.tensor(world.RGB[c]).view(1, 3, 1, 1)).item() for c in world.COLOURS}
    assert abs(grey["orange"] - grey["cyan"]) < 0.01 and abs(grey["red"] - grey["purple"]) < 0.01
    assert F.l1_loss(torch.tensor(grey["yellow"]), torch.tensor(grey["black"])).item() > 0.5
