"""Masks against brute force, Pillow and facts: shares, places, what a hole hides, and bits that stay."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import cKDTree
from torch import Tensor

from mmcourse import inpainting, masks, world

SPECIAL = (math.nan, math.inf, -math.inf, -0.0, 0.0, 1e-45, 7.0)


def bits(x: Tensor) -> Tensor:
    """The bits of float32 numbers: NaN equals itself and -0 differs from 0."""
    return x.contiguous().view(torch.int32)


def strange(*shape: int) -> Tensor:
    """Numbers of all kinds, NaN, infinities and minus nought among them."""
    return torch.tensor(SPECIAL).repeat(math.prod(shape) // len(SPECIAL) + 1)[: math.prod(shape)].view(shape)


def is_rectangle(mask: Tensor) -> bool:
    rows, columns = mask.any(1), mask.any(0)
    return bool((mask == (rows[:, None] & columns[None, :])).all())


# ---- checks


def test_a_mask_is_given_back_and_a_wrong_one_is_refused_with_help(rng: torch.Generator) -> None:
    x, good = torch.zeros(2, 3, 4, 6), torch.ones(2, 1, 4, 6)
    assert masks.expect_mask(good) is good and masks.expect_mask(good, x) is good
    for bad in (torch.ones(2, 4, 6), torch.ones(2, 3, 4, 6)):
        with pytest.raises(ValueError, match="mask: expected"):
            masks.expect_mask(bad)
    for bad in (good[:1], good[..., :5], good[:, :, :3]):
        masks.expect_mask(bad)
        with pytest.raises(ValueError, match="mask: expected shape"):
            masks.expect_mask(bad, x)
    grey = good.clone()
    grey[1, 0, 3, 5] = 0.5
    with pytest.raises(ValueError, match=r"0 \(known\) and 1 \(hole\) alone, got values in \[0.5, 1\].*nearest"):
        masks.expect_mask(grey)
    for value in (math.nan, -1.0, 255.0):
        with pytest.raises(ValueError, match="alone"):
            masks.expect_mask(torch.where(grey < 1, torch.tensor(value), good))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, math.nan])
def test_a_share_lies_between_nothing_and_all(share: float, rng: torch.Generator) -> None:
    for kind in (masks.boxes, masks.strokes):
        with pytest.raises(ValueError, match="more than 0 and less than 1"):
            kind(2, rng, share=share)


def test_every_kind_comes_from_its_generator_and_from_nothing_else() -> None:
    for kind in (masks.boxes, masks.strokes, masks.halves, masks.mixed):
        before = torch.get_rng_state()
        one, again, other = (kind(12, torch.Generator().manual_seed(k)) for k in (1, 1, 2))
        assert torch.equal(before, torch.get_rng_state())
        assert torch.equal(one, again) and not torch.equal(one, other)
        assert masks.expect_mask(one).shape == (12, 1, 32, 32) and one.dtype == torch.float32


# ---- boxes


@pytest.mark.parametrize(
    ("share", "size"),
    [
        (0.05, 32),
        (0.1, 64),
        (0.25, 32),
        (0.5, 32),
        (0.8, 32),
    ],
)
def test_a_box_is_a_rectangle_of_about_its_share(share: float, size: int, rng: torch.Generator) -> None:
    drawn = masks.boxes(2000, rng, size=size, share=share)[:, 0] > 0
    assert all(is_rectangle(m) for m in drawn[:200])
    height, width = drawn.any(2).sum(1), drawn.any(1).sum(1)
    assert torch.equal(drawn.sum((1, 2)), height * width)
    # a side is a whole number of pixels: half a pixel of each side is what an area may be off
    assert ((height * width - share * size**2).abs() <= 0.5 * (height + width) + 0.25).all()
    assert ((height - 0.5) <= 2 * (width + 0.5)).all() and ((width - 0.5) <= 2 * (height + 0.5)).all()
    assert (height > width).float().mean() > 0.3 and (height < width).float().mean() > 0.3
    widest = min(1.6, 1 / share - 0.1)  # a large box cannot be twice as wide as high: the picture ends
    assert (height / width).max() > widest and (width / height).max() > widest


def test_boxes_lie_anywhere_edges_and_corners_included(rng: torch.Generator) -> None:
    drawn = masks.boxes(3000, rng, size=16, share=0.2)[:, 0]
    touched = torch.stack([drawn[:, 0].amax(1), drawn[:, -1].amax(1), drawn[..., 0].amax(1), drawn[..., -1].amax(1)])
    assert touched.mean(1).min() > 0.05 and (touched.mean(1).max() - touched.mean(1).min()) < 0.05
    seen = drawn.mean(0)
    assert seen.min() > 0 and torch.allclose(seen, seen.flip(0), atol=0.05) and torch.allclose(seen, seen.T, atol=0.06)


# ---- strokes


@pytest.mark.parametrize(("share", "turns"), [(0.05, 1), (0.25, 4), (0.6, 2)])
def test_a_stroke_is_the_pixels_nearest_to_its_path(share: float, turns: int) -> None:
    """The path is walked in 4,000 small steps a line, and each pixel asks for the nearest."""
    size = 24
    drawn = masks.strokes(6, torch.Generator().manual_seed(3), size=size, share=share, turns=turns)
    corners = torch.rand(6, turns + 1, 2, generator=torch.Generator().manual_seed(3)).double().numpy()
    centres = (np.stack(np.mgrid[:size, :size], -1).reshape(-1, 2) + 0.5) / size
    for mask, path in zip(drawn[:, 0].flatten(1) > 0, corners, strict=True):
        part = np.linspace(0, 1, 4000)[:, None]
        walked = np.concatenate([a + part * (b - a) for a, b in itertools.pairwise(path)])
        distance, hole = cKDTree(walked).query(centres)[0], mask.numpy()
        assert hole.sum() == round(share * size**2)
        assert distance[hole].max() <= distance[~hole].min() + 1e-3


def test_even_the_smallest_stroke_is_a_pixel(rng: torch.Generator) -> None:
    assert masks.strokes(3, rng, size=8, share=1e-4).sum((1, 2, 3)).tolist() == [1, 1, 1]


# ---- halves and borders


def test_halves_are_the_four_halves_evenly(rng: torch.Generator) -> None:
    drawn = masks.halves(2000, rng, size=6)
    wanted = torch.zeros(4, 1, 6, 6)
    wanted[0, :, :, :3] = wanted[1, :, :, 3:] = wanted[2, :, :3] = wanted[3, :, 3:] = 1
    counts = [int((drawn == w).flatten(1).all(1).sum()) for w in wanted]
    assert sum(counts) == 2000 and min(counts) > 420 and max(counts) < 580
    drawn[0] = 7  # each mask has numbers of its own
    assert drawn[1:].max() == 1


@pytest.mark.parametrize(("size", "keep", "first"), [(32, 16, 8), (8, 7, 0), (9, 2, 3), (2, 1, 0)])
def test_a_border_keeps_the_middle(size: int, keep: int, first: int) -> None:
    drawn = masks.borders(2, size=size, keep=keep)
    assert drawn.shape == (2, 1, size, size) and masks.expect_mask(drawn) is drawn
    assert (drawn[:, :, first : first + keep, first : first + keep] == 0).all()
    assert drawn.sum().item() == 2 * (size**2 - keep**2)


@pytest.mark.parametrize("keep", [0, 32, -1, 40])
def test_a_border_keeps_something_and_opens_something(keep: int) -> None:
    with pytest.raises(ValueError, match="more than 0 and less than 32 pixels"):
        masks.borders(2, keep=keep)


# ---- things


def test_a_square_about_a_point_is_its_pixels_within_reach() -> None:
    points = torch.tensor([[0.5, 0.5], [0.1, 0.8], [0.95, 0.02]])
    drawn = masks.around(points, half=0.23, size=20)
    for mask, (x, y) in zip(drawn[:, 0], points.tolist(), strict=True):
        for row in range(20):
            for column in range(20):
                far = max(abs((row + 0.5) / 20 - y), abs((column + 0.5) / 20 - x))
                assert mask[row, column] == (far <= 0.23), (row, column)
    with pytest.raises(ValueError, match="centre: expected"):
        masks.around(torch.zeros(2, 3))


def everything(shape: str, n: int, g: torch.Generator) -> world.Scenes:
    """n scenes in which one or two things of this shape stand in every size, layout and jitter."""
    labels = world.sample_labels(n, g, split="all")
    two, here = labels[:, 0] == 2, world.SHAPES.index(shape)
    labels[:, 1] = here
    labels[two, 4] = here
    return world.place(labels, g)


def poking_out(scenes: world.Scenes, mask: Tensor, which: Tensor) -> Tensor:
    """In which scenes a pixel outside the hole changes where the hidden thing is taken away: (B,) bool."""
    without = copy.deepcopy(scenes)
    without.radius[torch.arange(len(scenes)), which] = 0
    differs = (world.draw(scenes) != world.draw(without)).any(1, keepdim=True)  # (B, 1, 32, 32)
    assert differs.flatten(1).any(1).all(), "the thing was there"
    return (differs & (mask == 0)).flatten(1).any(1)


@pytest.mark.parametrize("shape", world.SHAPES)
def test_a_thing_is_hidden_whole(shape: str, rng: torch.Generator) -> None:
    """Drawn with and without the thing, no scene differs by one bit outside the hole."""
    for _ in range(2):
        scenes = everything(shape, 2500, rng)
        mask, which = inpainting.hide_thing(scenes, rng)
        assert poking_out(scenes, mask, which).sum() == 0


def test_a_smaller_square_would_leave_tips(rng: torch.Generator) -> None:
    """The half side is no larger than it must be: with .29 the tip of a large triangle or star shows here and there."""
    left = []
    for shape in ("triangle", "star"):
        scenes = everything(shape, 5000, rng)
        which = ((torch.rand(5000, generator=rng) < 0.5) & (scenes.labels[:, 0] == 2)).long()
        centre = scenes.centre[torch.arange(5000), which] + 0.02 * (2 * torch.rand(5000, 2, generator=rng) - 1)
        left.append(int(poking_out(scenes, masks.around(centre, half=0.29), which).sum()))
    assert min(left) > 0


def test_the_holes_size_and_place_tell_nothing_of_the_thing(rng: torch.Generator) -> None:
    """A hole of the same place is the same, whatever stands in it; jitter moves it by up to its number."""
    scenes = world.sample_scenes(500, rng)
    other = copy.deepcopy(scenes)
    other.labels[:, 1:4] = torch.tensor([5, 0, 1])
    other.radius[:, 0] *= 1.3
    one, two = (inpainting.hide_thing(s, torch.Generator().manual_seed(4)) for s in (scenes, other))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])
    mask, which = inpainting.hide_thing(scenes, rng, jitter=0.0)
    centre = scenes.centre[torch.arange(500), which]
    assert torch.equal(mask, masks.around(centre))
    twos = scenes.labels[:, 0] == 2
    assert (which[~twos] == 0).all() and 0.4 < which[twos].float().mean() < 0.6
    moved = inpainting.hide_thing(scenes, torch.Generator().manual_seed(4), jitter=0.1)[0]
    assert (moved != one[0]).flatten(1).any(1).float().mean() > 0.8
    ys, xs = torch.meshgrid(*[(torch.arange(32) + 0.5) / 32] * 2, indexing="ij")
    inner = (centre[:, 0].sub(0.5).abs() < 0.1) & (centre[:, 1].sub(0.5).abs() < 0.1)  # not cut off by the edge
    drawn, which = inpainting.hide_thing(scenes, torch.Generator().manual_seed(4))
    middle = torch.stack([(drawn[:, 0] * at).sum((1, 2)) / drawn.sum((1, 2, 3)) for at in (xs, ys)], 1)
    off = (middle - scenes.centre[torch.arange(500), which]).abs()[inner & (which == 0) & ~twos]
    assert len(off) > 20 and off.max() <= 0.02 + 0.5 / 32 + 1e-4


# ---- mixtures


def test_a_mixture_holds_each_kind_equally_often_and_in_random_order() -> None:
    first = set()
    for seed in range(40):
        drawn = masks.mixed(40, torch.Generator().manual_seed(seed))[:, 0] > 0
        ring = torch.stack([m[0].all() & m[-1].all() & m[:, 0].all() & m[:, -1].all() & ~m[16, 16] for m in drawn])
        half = drawn.sum((1, 2)) == 512
        half &= torch.tensor([is_rectangle(m) and bool(m.all(0).any() or m.all(1).any()) for m in drawn])
        box = torch.tensor([is_rectangle(m) for m in drawn]) & ~half
        counts = [int(k.sum()) for k in (ring, half, box, ~ring & ~half & ~box)]
        assert counts == [10, 10, 10, 10], (seed, counts)
        share = drawn.float().mean((1, 2))
        assert share[box].max() < 0.54 and share[box].min() > 0.08
        stroke = share[~ring & ~half & ~box]
        assert stroke.min() == stroke.max() and 0.099 < stroke[0] < 0.501
        kept = (1 - share[ring]).mul(1024).sqrt().round()
        assert kept.min() >= 16 and kept.max() < 28
        first.add(int(torch.stack([ring, half, box, ~ring & ~half & ~box])[:, 0].long().argmax()))
    assert first == {0, 1, 2, 3}


def test_a_mixture_of_some_kinds(rng: torch.Generator) -> None:
    halves = masks.mixed(7, rng, kinds=("half",))
    assert halves.shape == (7, 1, 32, 32) and halves.mean((1, 2, 3)).tolist() == [0.5] * 7
    small = masks.mixed(9, rng, size=16, kinds=("border", "box"))
    assert small.shape == (9, 1, 16, 16)
    for kinds in ((), ("box", "blot"), ("bxo",)):
        with pytest.raises(ValueError, match="expected some of box, stroke, half, border; got"):
            masks.mixed(4, rng, kinds=kinds)


# ---- resizing, hiding, composing


@pytest.mark.parametrize("size", [(64, 64), (16, 16), (20, 48), (7, 5), (32, 32)])
def test_a_resized_mask_is_pillows_nearest(size: tuple[int, int], rng: torch.Generator) -> None:
    mask = (torch.rand(2, 1, 32, 32, generator=rng) < 0.4).float()
    got = masks.resize(mask, size)
    assert got.shape == (2, 1, *size) and set(got.unique().tolist()) == {0.0, 1.0}
    for one, want in zip(got[:, 0], mask[:, 0], strict=True):
        page = np.asarray(Image.fromarray((255 * want).byte().numpy()).resize(size[::-1], Image.Resampling.NEAREST))
        clear = [[(2 * i + 1) * 32 % (2 * n) > 0 or 32 % n == 0 for i in range(n)] for n in size]  # no two are nearest
        sure = np.outer(*clear)
        assert np.array_equal(page[sure], (255 * one).byte().numpy()[sure]) and sure.mean() > 0.5
    assert torch.equal(masks.resize(mask, 64), masks.resize(mask, (64, 64)))


def test_only_a_mask_is_resized() -> None:
    with pytest.raises(ValueError, match="alone"):
        masks.resize(torch.full((1, 1, 4, 4), 0.5), 8)


def test_hiding_leaves_nothing_of_what_was_there_and_every_bit_elsewhere(rng: torch.Generator) -> None:
    x, mask = strange(3, 3, 8, 10), (torch.rand(3, 1, 8, 10, generator=rng) < 0.5).float()
    for value in (0.0, 0.25, -1.0):
        got = masks.hide(x, mask, value=value)
        hole = mask.expand_as(x) > 0
        assert (got[hole] == value).all() and torch.equal(bits(got)[~hole], bits(x)[~hole])
    assert torch.equal(bits(masks.hide(x, mask)), bits(masks.hide(x, mask, value=0.0)))
    assert x.isnan().any(), "the picture itself is not touched"
    with pytest.raises(ValueError, match="mask"):
        masks.hide(x, mask[:2])


def test_composing_keeps_every_bit_of_both(rng: torch.Generator) -> None:
    known, fill = strange(2, 3, 9, 7), strange(2, 3, 9, 7).flip(3).flip(0)
    mask = (torch.rand(2, 1, 9, 7, generator=rng) < 0.5).float()
    got, hole = bits(masks.compose(known, fill, mask)), mask.expand_as(known) > 0
    assert torch.equal(got[hole], bits(fill)[hole]) and torch.equal(got[~hole], bits(known)[~hole])
    assert not torch.equal(bits(known)[hole], bits(fill)[hole])
    # the two ends: no hole, and all hole
    assert torch.equal(bits(masks.compose(known, fill, 0 * mask)), bits(known))
    assert torch.equal(bits(masks.compose(known, fill, 0 * mask + 1)), bits(fill))


def test_composing_refuses_what_does_not_fit() -> None:
    x, mask = torch.zeros(2, 3, 4, 4), torch.ones(2, 1, 4, 4)
    for fill in (x[:1], x[:, :1], x[..., :1]):  # each of them would be broadcast
        with pytest.raises(ValueError, match="fill: expected shape"):
            masks.compose(x, fill, mask)
    with pytest.raises(ValueError, match="mask: expected shape"):
        masks.compose(x, x, mask[:1])
    with pytest.raises(ValueError, match="alone"):
        masks.compose(x, x, 0.5 * mask)
