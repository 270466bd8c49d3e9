"""Repairs without learning, against OpenCV and scikit-image called by hand, and their refusals."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from skimage.restoration import inpaint_biharmonic

from mmcourse import classical, masks, world
from mmcourse.classical import METHODS, repair


@pytest.fixture
def damaged() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(5)
    x = world.draw(world.sample_scenes(3, g))
    return x, torch.cat([masks.boxes(1, g), masks.strokes(1, g), masks.borders(1, keep=24)])


@pytest.mark.parametrize("radius", [1, 3, 7])
@pytest.mark.parametrize(("method", "flag"), [("telea", cv2.INPAINT_TELEA), ("navier_stokes", cv2.INPAINT_NS)])
def test_opencvs_two_are_opencvs(method: str, flag: int, radius: int, damaged: tuple) -> None:
    x, mask = damaged
    got = repair(x, mask, method, radius=radius)
    for one, hole, made in zip(x, mask[:, 0], got, strict=True):
        page = np.rint((one.permute(1, 2, 0).double().numpy() + 1) * 127.5).astype(np.uint8)
        page[hole.numpy() > 0] = 77  # whatever lies there
        want = cv2.inpaint(page, hole.byte().numpy(), radius, flag)
        inside = hole.bool()
        assert torch.allclose(made[:, inside], torch.from_numpy(want).permute(2, 0, 1)[:, inside] / 127.5 - 1)


def test_the_biharmonic_surface_is_scikit_images(damaged: tuple) -> None:
    x, mask = damaged
    got = repair(x, mask, "biharmonic")
    for one, hole, made in zip(x, mask[:, 0], got, strict=True):
        page = one.permute(1, 2, 0).double().numpy()  # the surface is linear in the picture: the range plays no part
        want = inpaint_biharmonic(page, hole.numpy() > 0, channel_axis=-1).clip(-1, 1)
        inside = hole.bool()
        made_here, want_here = made[:, inside], torch.from_numpy(want).permute(2, 0, 1)[:, inside]
        assert torch.allclose(made_here, want_here.float(), atol=1e-4)


def test_copy_mean_is_the_mean_of_the_known(damaged: tuple) -> None:
    x, mask = damaged
    got = repair(x, mask, "copy_mean")
    for one, hole, made in zip(x, mask[:, 0].bool(), got, strict=True):
        for channel in range(3):
            want = one[channel][~hole].double().mean().item()
            assert made[channel][hole].numpy() == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_known_pixels_stay_bit_for_bit_and_the_hole_never_matters(method: str, damaged: tuple) -> None:
    x, mask = damaged
    known = mask.expand_as(x) == 0
    got = repair(x, mask, method)
    assert torch.equal(got[known], x[known]) and got.abs().max() <= 1 and got.shape == x.shape
    assert not torch.equal(got, x)
    other = torch.where(known, x, -x + 0.3)
    assert torch.equal(repair(other, mask, method), got)
    assert torch.equal(repair(x, 0 * mask, method), x)
    alone = torch.cat([repair(x[i : i + 1], mask[i : i + 1], method) for i in range(3)])
    assert torch.equal(alone, got)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_not_even_nan_in_the_hole_matters(method: str, damaged: tuple) -> None:
    x, mask = damaged
    assert torch.equal(repair(masks.hide(x, mask, value=math.nan), mask, method), repair(x, mask, method))


def test_what_each_can_do_on_known_pictures() -> None:
    """A flat picture is repaired by all; a slope by the biharmonic surface alone."""
    mask = 1 - masks.borders(1, keep=8)  # the hole is the middle 8x8
    flat = torch.full((1, 3, 32, 32), 0.4)
    for method in METHODS:
        assert (repair(flat, mask, method) - flat).abs().max() < 2 / 127.5, method  # 256 levels
    slope = torch.linspace(-0.9, 0.9, 32).expand(1, 3, 32, 32).contiguous()
    error = {m: float((repair(slope, mask, m) - slope).abs().max()) for m in METHODS}
    assert error["biharmonic"] < 1e-3 < error["copy_mean"]
    assert error["copy_mean"] == pytest.approx(0.9 * 7 / 31, abs=1e-4)


def test_repair_refuses() -> None:
    x, mask = torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match="method: expected one of telea, .*Did you mean 'telea'"):
        repair(x, mask, "tela")
    for bad in (x[0], x[:, :1]):
        with pytest.raises(ValueError, match="pictures: expected"):
            repair(bad, mask)
    with pytest.raises(ValueError, match="mask: expected shape"):
        repair(x, mask[:1])
    with pytest.raises(ValueError, match="alone"):
        repair(x, mask + 0.5)
    mask[1] = 1
    for method in METHODS:
        with pytest.raises(ValueError, match="a picture is all hole"):
            repair(x, mask, method)
    assert classical.METHODS == ("telea", "navier_stokes", "biharmonic", "copy_mean")
