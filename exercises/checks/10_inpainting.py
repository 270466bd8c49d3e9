"""What is asked in exercises 10, how it is probed, and which wrong answers are known.

A probe calls an answer on inputs drawn from a seed and returns plain values. It imports what it needs inside its body
and holds no answer. The wrong functions are what learners write first; each has the sentence that helps.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcourse.course.exercise import Item, Misconception

# -------------------------------------------------------------------------------------------- free_form_mask


def probe_free_form_mask(answer: Any, seed: int) -> dict[str, Any]:
    """A path round three sides, a path with a sharp bend, and one whose first corner comes twice."""
    import torch

    g = torch.Generator().manual_seed(seed)
    paths = {
        "round three sides": ([[0.15, 0.2], [0.8, 0.14], [0.85, 0.83], [0.3, 0.8]], 8, 17.7),
        "a sharp bend": ([[0.2, 0.75], [0.6, 0.2], [0.72, 0.55]], 8, 9.3),
        "a corner twice": ([[0.3, 0.3], [0.3, 0.3], [0.45, 0.75]], 6, 7.4),
    }
    out = {}
    for name, (corners, size, pixels) in paths.items():
        path = torch.tensor(corners) + 0.1 * (torch.rand(len(corners), 2, generator=g) - 0.5)
        if name == "a corner twice":
            path[1] = path[0]
        got = answer(path.clone(), size, pixels / size**2)
        out[name] = torch.as_tensor(got).detach().clone()
    return out


def _grid(size: int) -> Tensor:
    """Centres of pixels, x and y, (size * size, 2)."""
    at = (torch.arange(size) + 0.5) / size
    return torch.stack([at.repeat(size), at.repeat_interleave(size)], 1)


def _distances(here: Tensor, corners: Tensor, ends: tuple[float, float] = (0.0, 1.0), small: float = 1e-9) -> Tensor:
    """From points (N, 2) to each line, (N, lines)."""
    a, b = corners[:-1], corners[1:]
    way, line = here[:, None] - a, b - a
    along = ((way * line).sum(-1) / line.square().sum(-1).clamp(min=small)).clamp(*ends)
    return (way - along[..., None] * line).norm(dim=-1)


def _nearest(distance: Tensor, size: int, count: int) -> Tensor:
    mask = torch.zeros(size * size)
    mask[distance.argsort()[:count]] = 1.0
    return mask.view(1, 1, size, size)


def _count(size: int, share: float) -> int:
    return round(share * size * size)


def stroke_infinite_lines(corners: Tensor, size: int, share: float) -> Tensor:
    distance = _distances(_grid(size), corners, (-1e9, 1e9)).amin(1)
    return _nearest(distance, size, _count(size, share))


def stroke_rays(corners: Tensor, size: int, share: float) -> Tensor:
    distance = _distances(_grid(size), corners, (0.0, 1e9)).amin(1)
    return _nearest(distance, size, _count(size, share))


def stroke_corners_only(corners: Tensor, size: int, share: float) -> Tensor:
    return _nearest(torch.cdist(_grid(size), corners).amin(1), size, _count(size, share))


def stroke_closed(corners: Tensor, size: int, share: float) -> Tensor:
    round_trip = torch.cat([corners, corners[:1]])
    return _nearest(_distances(_grid(size), round_trip).amin(1), size, _count(size, share))


def stroke_first_line(corners: Tensor, size: int, share: float) -> Tensor:
    return _nearest(_distances(_grid(size), corners[:2]).amin(1), size, _count(size, share))


def stroke_last_line(corners: Tensor, size: int, share: float) -> Tensor:
    return _nearest(_distances(_grid(size), corners[-2:]).amin(1), size, _count(size, share))


def stroke_farthest_line(corners: Tensor, size: int, share: float) -> Tensor:
    return _nearest(_distances(_grid(size), corners).amax(1), size, _count(size, share))


def stroke_mean_of_lines(corners: Tensor, size: int, share: float) -> Tensor:
    return _nearest(_distances(_grid(size), corners).mean(1), size, _count(size, share))


def stroke_share_of_each_line(corners: Tensor, size: int, share: float) -> Tensor:
    distance, count = _distances(_grid(size), corners), _count(size, share)
    return torch.stack([_nearest(one, size, count) for one in distance.unbind(1)]).amax(0)


def stroke_polarity(corners: Tensor, size: int, share: float) -> Tensor:
    return 1 - stroke_by_formula(corners, size, share)


def stroke_farthest_pixels(corners: Tensor, size: int, share: float) -> Tensor:
    return _nearest(-_distances(_grid(size), corners).amin(1), size, _count(size, share))


def stroke_share_of_a_side(corners: Tensor, size: int, share: float) -> Tensor:
    return _nearest(_distances(_grid(size), corners).amin(1), size, round(share * size))


def stroke_share_of_a_square(corners: Tensor, size: int, share: float) -> Tensor:
    return _nearest(_distances(_grid(size), corners).amin(1), size, round((share * size) ** 2))


def stroke_share_of_the_known(corners: Tensor, size: int, share: float) -> Tensor:
    count = round(share / (1 + share) * size * size)
    return _nearest(_distances(_grid(size), corners).amin(1), size, count)


def stroke_share_kept(corners: Tensor, size: int, share: float) -> Tensor:
    count = round((1 - share) * size * size)
    return _nearest(_distances(_grid(size), corners).amin(1), size, count)


def stroke_cuts_the_number(corners: Tensor, size: int, share: float) -> Tensor:
    return _nearest(_distances(_grid(size), corners).amin(1), size, int(share * size * size))


def stroke_rounds_up(corners: Tensor, size: int, share: float) -> Tensor:
    return _nearest(_distances(_grid(size), corners).amin(1), size, int(share * size * size) + 1)


def stroke_share_as_width(corners: Tensor, size: int, share: float) -> Tensor:
    return (_distances(_grid(size), corners).amin(1) < share / 2).float().view(1, 1, size, size)


def stroke_pixel_corners(corners: Tensor, size: int, share: float) -> Tensor:
    return _nearest(_distances(_grid(size) - 0.5 / size, corners).amin(1), size, _count(size, share))


def stroke_edge_to_edge(corners: Tensor, size: int, share: float) -> Tensor:
    here = (_grid(size) * size - 0.5) / (size - 1)
    return _nearest(_distances(here, corners).amin(1), size, _count(size, share))


def stroke_x_and_y(corners: Tensor, size: int, share: float) -> Tensor:
    return _nearest(_distances(_grid(size).flip(1), corners).amin(1), size, _count(size, share))


def stroke_zero_by_zero(corners: Tensor, size: int, share: float) -> Tensor:
    return _nearest(_distances(_grid(size), corners, small=0.0).amin(1), size, _count(size, share))


def stroke_walked(corners: Tensor, size: int, share: float) -> Tensor:
    """Pixel by pixel, line by line, in plain numbers."""
    places = []
    for row in range(size):
        for column in range(size):
            x, y, best = (column + 0.5) / size, (row + 0.5) / size, float("inf")
            for (ax, ay), (bx, by) in zip(corners.tolist(), corners.tolist()[1:], strict=False):
                length = (bx - ax) ** 2 + (by - ay) ** 2
                t = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length if length else 0.0
                t = min(1.0, max(0.0, t))
                best = min(best, (x - ax - t * (bx - ax)) ** 2 + (y - ay - t * (by - ay)) ** 2)
            places.append((best, row, column))
    mask = torch.zeros(1, 1, size, size)
    for _, row, column in sorted(places)[: round(share * size**2)]:
        mask[0, 0, row, column] = 1
    return mask


def stroke_by_formula(corners: Tensor, size: int, share: float) -> Tensor:
    """In double precision, by a count and the distance that it reaches."""
    distance = _distances(_grid(size).double(), corners.double()).amin(1)
    reach = distance.kthvalue(round(share * size * size)).values
    return (distance <= reach).float().reshape(1, 1, size, size)


FREE_FORM_MASK = Item(
    id="free_form_mask",
    title="A hole as a brush leaves it",
    points=3,
    answer="free_form_mask",
    probe=probe_free_form_mask,
    misconceptions=(
        Misconception(
            "infinite lines",
            stroke_infinite_lines,
            "You measure the distance to lines that go on for ever, so the hole runs on behind the corners. A line of "
            "the path begins at one corner and ends at the next. What does that say about t?",
        ),
        Misconception(
            "rays",
            stroke_rays,
            "Your lines begin at a corner and never end: t is kept from below, and not from above. Where on the line "
            "is its second corner?",
        ),
        Misconception(
            "corners only",
            stroke_corners_only,
            "You measure the distance to the corners. That gives a few round spots. Between two corners there is a "
            "line, and its points count too.",
        ),
        Misconception(
            "closed path",
            stroke_closed,
            "You draw a line from the last corner back to the first. K corners make K - 1 lines here, since the path "
            "is not closed.",
        ),
        Misconception(
            "first line only",
            stroke_first_line,
            "Only the first line has a hole around it. The path goes on from its second corner.",
        ),
        Misconception(
            "last line only",
            stroke_last_line,
            "Only the last line has a hole around it. In a loop over the lines, does each one overwrite the distances "
            "of those before it?",
        ),
        Misconception(
            "farthest line",
            stroke_farthest_line,
            "A pixel counts as near only where all lines are near: you take the largest of its distances. The path is "
            "as near as its nearest line.",
        ),
        Misconception(
            "mean over the lines",
            stroke_mean_of_lines,
            "You average the distances to all lines. A pixel on one line is then punished for being far from another. "
            "Which one of its distances is the distance to the path?",
        ),
        Misconception(
            "a share for each line",
            stroke_share_of_each_line,
            "Each line gets a full share of its own, so the hole grows with the number of lines. Bring the lines "
            "together first, and count once.",
        ),
        Misconception(
            "polarity",
            stroke_polarity,
            "Your stroke is 0 and its surroundings are 1. In this course 1 is the hole.",
        ),
        Misconception(
            "farthest pixels",
            stroke_farthest_pixels,
            "You take the pixels that lie farthest from the path. Which end of the sorted distances is needed, and "
            "does your function sort up or down?",
        ),
        Misconception(
            "share of one side",
            stroke_share_of_a_side,
            "Your share is that of one side, so the hole has only a few pixels. A picture has size times size of them.",
        ),
        Misconception(
            "share squared",
            stroke_share_of_a_square,
            "You take the share of the height and the share of the width. Together that is the square of the share; a "
            "half of each would leave a quarter of the picture.",
        ),
        Misconception(
            "share of the known",
            stroke_share_of_the_known,
            "Your share compares the hole with what is left. The prompt compares it with the whole picture.",
        ),
        Misconception(
            "share that is kept",
            stroke_share_kept,
            "The hole has as many pixels as should be left over. The share says how large the hole is, not what stays.",
        ),
        Misconception(
            "cuts the number",
            stroke_cuts_the_number,
            "The hole is sometimes one pixel too small: your number of pixels is cut down to a whole one. The prompt "
            "rounds it to the nearest.",
        ),
        Misconception(
            "rounds up",
            stroke_rounds_up,
            "The hole is sometimes one pixel too large: your number of pixels is rounded up. The prompt rounds it to "
            "the nearest.",
        ),
        Misconception(
            "share as a width",
            stroke_share_as_width,
            "You use the share as the width of the brush. A long path then makes a large hole. Here the number of "
            "pixels is given, and the width follows from it.",
        ),
        Misconception(
            "corners of pixels",
            stroke_pixel_corners,
            "You measure from the upper left corner of each pixel, so the stroke is moved by half a pixel. Where does "
            "the centre of pixel 0 lie?",
        ),
        Misconception(
            "edge to edge",
            stroke_edge_to_edge,
            "The centres of your first and last pixel lie on the picture's edges, as `linspace` puts them. Half of "
            "these pixels would then lie outside. The prompt says where the first centre is.",
        ),
        Misconception(
            "x and y exchanged",
            stroke_x_and_y,
            "Your stroke is mirrored at the diagonal. A corner is x and then y; a tensor's axes are rows first, and "
            "the row is the y.",
        ),
        Misconception(
            "zero by zero",
            stroke_zero_by_zero,
            "Two equal corners make a line of length 0, and you divide 0 by 0. One NaN in a minimum is enough to lose "
            "all distances. Keep the divisor above 0.",
        ),
    ),
    also_right=(stroke_walked, stroke_by_formula),
)

# ----------------------------------------------------------------------------------------------- resize_mask


def probe_resize_mask(answer: Any, seed: int) -> dict[str, Any]:
    """Smaller, larger, one side longer and the other shorter; and masks that are none."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, b, old, new in (
        ("smaller", 2, (7, 9), (5, 6)),
        ("larger", 1, (5, 3), (8, 7)),
        ("both", 1, (9, 5), (4, 8)),
    ):
        mask = (torch.rand(b, 1, *old, generator=g) < 0.5).float()
        out[name] = torch.as_tensor(answer(mask.clone(), new)).detach().clone()
    for name, value in (("a grey mask", 0.5), ("a mask of 0 and 255", 255.0), ("a mask with -1", -1.0)):
        mask = torch.zeros(1, 1, 3, 3)
        mask[0, 0, 1, 2] = value
        try:
            out[name] = f"it returned a tensor of {list(answer(mask, (5, 5)).shape)}"
        except Exception as error:
            kind = "ValueError" if isinstance(error, ValueError) else type(error).__name__
            out[name] = f"it raised {kind}"
    return out


Size = tuple[int, int]


def _black_and_white(mask: Tensor) -> None:
    if not bool(torch.isin(mask, torch.tensor([0.0, 1.0])).all()):
        raise ValueError("neither 0 nor 1")


def _bilinear(mask: Tensor, size: Size) -> Tensor:
    _black_and_white(mask)
    return F.interpolate(mask, size=size, mode="bilinear", align_corners=False)


def _area(mask: Tensor, size: Size) -> Tensor:
    _black_and_white(mask)
    return F.interpolate(mask, size=size, mode="area")


def resize_bilinear(mask: Tensor, size: Size) -> Tensor:
    return _bilinear(mask, size)


def resize_bilinear_half(mask: Tensor, size: Size) -> Tensor:
    return (_bilinear(mask, size) > 0.5).float()


def resize_bilinear_any(mask: Tensor, size: Size) -> Tensor:
    return (_bilinear(mask, size) > 0).float()


def resize_bilinear_all(mask: Tensor, size: Size) -> Tensor:
    return (_bilinear(mask, size) > 0.999).float()


def resize_aligned_corners(mask: Tensor, size: Size) -> Tensor:
    _black_and_white(mask)
    return F.interpolate(mask, size=size, mode="bilinear", align_corners=True)


def resize_bicubic(mask: Tensor, size: Size) -> Tensor:
    _black_and_white(mask)
    return F.interpolate(mask, size=size, mode="bicubic", align_corners=False)


def resize_area(mask: Tensor, size: Size) -> Tensor:
    return _area(mask, size)


def resize_area_half(mask: Tensor, size: Size) -> Tensor:
    return (_area(mask, size) > 0.5).float()


def resize_area_any(mask: Tensor, size: Size) -> Tensor:
    return (_area(mask, size) > 0).float()


def resize_upper_left(mask: Tensor, size: Size) -> Tensor:
    _black_and_white(mask)
    return F.interpolate(mask, size=size, mode="nearest")


def resize_linspace(mask: Tensor, size: Size) -> Tensor:
    _black_and_white(mask)
    row, column = (
        torch.linspace(0, old - 1, new).round().long() for old, new in zip(mask.shape[2:], size, strict=True)
    )
    return mask[:, :, row][:, :, :, column]


def resize_width_first(mask: Tensor, size: Size) -> Tensor:
    _black_and_white(mask)
    return F.interpolate(mask, size=(size[1], size[0]), mode="nearest-exact")


def resize_cuts(mask: Tensor, size: Size) -> Tensor:
    _black_and_white(mask)
    out = torch.zeros(len(mask), 1, *size)
    part = mask[:, :, : size[0], : size[1]]
    out[:, :, : part.shape[2], : part.shape[3]] = part
    return out


def resize_polarity(mask: Tensor, size: Size) -> Tensor:
    return 1 - resize_by_torch(mask, size)


def resize_takes_grey(mask: Tensor, size: Size) -> Tensor:
    return F.interpolate(mask, size=size, mode="nearest-exact")


def resize_takes_0_to_1(mask: Tensor, size: Size) -> Tensor:
    if mask.min() < 0 or mask.max() > 1:
        raise ValueError("not in [0, 1]")
    return F.interpolate(mask, size=size, mode="nearest-exact")


def resize_by_torch(mask: Tensor, size: Size) -> Tensor:
    _black_and_white(mask)
    return F.interpolate(mask, size=size, mode="nearest-exact")


def resize_pixel_by_pixel(mask: Tensor, size: Size) -> Tensor:
    if set(mask.flatten().tolist()) - {0.0, 1.0}:
        raise ValueError("a value that no mask has")
    (old_height, old_width), (height, width) = mask.shape[2:], size
    out = torch.empty(len(mask), 1, height, width)
    for i in range(height):
        for j in range(width):  # centre (2i + 1) / 2, in whole numbers
            out[:, :, i, j] = mask[
                :, :, (2 * i + 1) * old_height // (2 * height), (2 * j + 1) * old_width // (2 * width)
            ]
    return out


RESIZE_MASK = Item(
    id="resize_mask",
    title="A mask at another size",
    points=2,
    answer="resize_mask",
    probe=probe_resize_mask,
    misconceptions=(
        Misconception(
            "bilinear",
            resize_bilinear,
            "Your mask holds values between 0 and 1, since bilinear resizing mixes neighbours. A pixel that is half a "
            "hole does not exist. Which way of resizing mixes nothing?",
        ),
        Misconception(
            "bilinear, then one half",
            resize_bilinear_half,
            "Black and white, and nearly right: you mix four neighbours and let them vote at 0.5. A fine line or a "
            "single pixel can lose such a vote against its neighbours. Take the one old pixel below the centre, "
            "without a vote.",
        ),
        Misconception(
            "bilinear, then any",
            resize_bilinear_any,
            "You mix neighbours, and whatever is not 0 becomes hole. The hole grows at each resizing and eats known "
            "pixels.",
        ),
        Misconception(
            "bilinear, then all",
            resize_bilinear_all,
            "You mix neighbours, and only what is still 1 stays hole. The hole shrinks at each resizing, and damaged "
            "pixels pass for known.",
        ),
        Misconception(
            "bilinear, corners aligned",
            resize_aligned_corners,
            "Your resizing mixes neighbours, so the mask is no longer 0 and 1, and with `align_corners` the centres of "
            "the outer pixels are laid upon each other. The grids should cover the same picture.",
        ),
        Misconception(
            "bicubic",
            resize_bicubic,
            "Bicubic resizing mixes sixteen neighbours, and it overshoots: your mask has values below 0 and above 1.",
        ),
        Misconception(
            "area",
            resize_area,
            "You average all old pixels that a new one covers. The result tells how much of it is hole, as a number "
            "between 0 and 1. A mask says yes or no.",
        ),
        Misconception(
            "area, then one half",
            resize_area_half,
            "You let all old pixels that a new one touches vote. The prompt asks one of them alone: that in which the "
            "new centre lies.",
        ),
        Misconception(
            "area, then any",
            resize_area_any,
            "A new pixel is hole for you as soon as it touches an old hole pixel. That is on the safe side, and the "
            "hole grows each time. The prompt asks the old pixel at the centre.",
        ),
        Misconception(
            "upper left corner",
            resize_upper_left,
            "Your new pixel takes the old pixel in which its upper left corner lies. Torch's mode `nearest` does so, "
            "and moves the hole by up to half a pixel. The prompt speaks of the centre.",
        ),
        Misconception(
            "first on first, last on last",
            resize_linspace,
            "You lay the first pixel's centre on the first one's and the last on the last. With pixels of different "
            "sizes the two grids then do not cover the same picture.",
        ),
        Misconception(
            "width first",
            resize_width_first,
            "Your mask lies on its side. The new size is the height and then the width, as in the shape of a tensor.",
        ),
        Misconception(
            "cuts",
            resize_cuts,
            "You cut a piece from the mask, or put zeros beside it. The whole picture should be there, with pixels of "
            "another size.",
        ),
        Misconception(
            "polarity",
            resize_polarity,
            "Hole and known have changed places. Resizing leaves 1 the hole.",
        ),
        Misconception(
            "takes a grey mask",
            resize_takes_grey,
            "The pixels are right, and a mask of half holes or of 0 and 255 passes as if it were one. The prompt names "
            "the error for it.",
        ),
        Misconception(
            "takes all between 0 and 1",
            resize_takes_0_to_1,
            "You refuse what lies outside 0 to 1 and let grey values through. A mask holds two values, not a range.",
        ),
    ),
    also_right=(resize_by_torch, resize_pixel_by_pixel),
)

# ------------------------------------------------------------------------------------------------- composite


def probe_composite(answer: Any, seed: int) -> dict[str, Any]:
    """An ordinary batch; pictures that hold NaN and infinity; the slope at the fill; what cannot be composed."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, b, h, w in (("ordinary", 2, 3, 4), ("with NaN and infinity", 1, 4, 4)):
        known, fill = torch.randn(b, 3, h, w, generator=g), torch.randn(b, 3, h, w, generator=g)
        mask = (torch.rand(b, 1, h, w, generator=g) < 0.5).float()
        mask[:, :, 0, 1:3], mask[:, :, 1, 0], mask[:, :, 2, :2] = 1.0, 0.0, torch.tensor([0.0, 1.0])
        known[:, 1, 1, 0] = 3.0 + torch.rand(b, generator=g)
        if name != "ordinary":
            known[:, :, 0, 1], known[:, 0, 2, 1] = float("nan"), float("-inf")
            fill[:, :, 1, 0], fill[:, 2, 2, 0] = float("inf"), float("nan")
            known[:, 2, 1, 0] = float("inf")
        fill.requires_grad_(True)
        given = known.clone()
        got = answer(given, fill * 1, mask.clone())
        out[name] = torch.as_tensor(got).detach().clone()
        same = torch.equal(given.nan_to_num(7.0), known.nan_to_num(7.0))
        out[f"{name}, known afterwards"] = "unchanged" if same else "changed"
        if name == "ordinary":
            slope = None
            if torch.is_tensor(got) and got.requires_grad:
                (slope,) = torch.autograd.grad(got.sum(), fill, allow_unused=True)
            out["slope at the fill"] = "no slope" if slope is None else slope.clone()
    x = torch.randn(2, 3, 3, 3, generator=g)
    cases = {
        "a fill of one colour": (x[:, :1], 1.0),
        "one fill for two": (x[:1], 1.0),
        "a grey mask": (x, 0.5),
        "a mask of 0 and 255": (x, 255.0),
        "a mask with -1": (x, -1.0),
    }
    for name, (fill, value) in cases.items():
        mask = torch.zeros(2, 1, 3, 3)
        mask[0, 0, 1, 1] = value
        try:
            out[name] = f"it returned a tensor of {list(answer(x.clone(), fill.clone(), mask).shape)}"
        except Exception as error:
            kind = "ValueError" if isinstance(error, ValueError) else type(error).__name__
            out[name] = f"it raised {kind}"
    return out


def _composable(known: Tensor, fill: Tensor, mask: Tensor) -> None:
    if list(known.shape) != list(fill.shape):
        raise ValueError("a fill of another shape")
    _black_and_white(mask)


def composite_polarity(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    return torch.where(mask > 0, known, fill)


def composite_adds_up(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    return mask * fill + (1 - mask) * known


def composite_adds_a_difference(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    return known + mask * (fill - known)


def composite_adds_up_the_other_way(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    return mask * known + (1 - mask) * fill


def composite_cleans_first(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    return mask * fill.nan_to_num() + (1 - mask) * known.nan_to_num()


def composite_cleans_last(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    return composite_adds_up(known, fill, mask).nan_to_num()


def composite_hides_first(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    return known.masked_fill(mask > 0, 0.0) + mask * fill


def composite_whole_fill(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    return fill


def composite_nothing(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    return known


def composite_fill_alone(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    return torch.where(mask > 0, fill, torch.zeros_like(known))


def composite_clips(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    return torch.where(mask > 0, fill, known).clamp(-1, 1)


def composite_clips_the_fill(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    return torch.where(mask > 0, fill.clamp(-1, 1), known)


def composite_soft_edge(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    soft = F.avg_pool2d(mask, 3, stride=1, padding=1)
    return torch.where(mask > 0, fill, torch.where(soft > 0, soft * fill + (1 - soft) * known, known))


def composite_overwrites(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    hole = (mask > 0).expand_as(known)
    known[hole] = fill[hole]
    return known


def composite_detached(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    return torch.where(mask > 0, fill.detach(), known)


def composite_first_channel(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    return torch.cat([torch.where(mask > 0, fill[:, :1], known[:, :1]), known[:, 1:]], 1)


def composite_first_mask(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    return torch.where(mask[:1] > 0, fill, known)


def composite_takes_any_shape(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _black_and_white(mask)
    return torch.where(mask > 0, fill, known)


def composite_takes_any_mask(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    if fill.shape != known.shape:
        raise ValueError("a fill of another shape")
    return torch.where(mask > 0, fill, known)


def composite_takes_everything(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask > 0, fill, known)


def composite_takes_0_to_1(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    if fill.shape != known.shape or mask.min() < 0 or mask.max() > 1:
        raise ValueError("not in [0, 1]")
    return torch.where(mask > 0, fill, known)


def composite_by_places(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    _composable(known, fill, mask)
    hole, out = mask.bool().expand_as(known), known.clone()
    out[hole] = fill[hole]
    return out


def composite_by_known(known: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    if fill.size() != known.size():
        raise ValueError("not the same size")
    if bool(((mask != 0) & (mask != 1)).any()):
        raise ValueError("no mask")
    return torch.stack([known.where(m < 0.5, f) for known, f, m in zip(known, fill, mask, strict=True)])


COMPOSITE = Item(
    id="composite",
    title="The fill goes in, nothing else changes",
    points=2,
    answer="composite",
    probe=probe_composite,
    misconceptions=(
        Misconception(
            "polarity",
            composite_polarity,
            "You keep what lies in the hole and replace what is known. In this course 1 is the hole. Which of the two "
            "pictures is to be seen where the mask is 1?",
        ),
        Misconception(
            "adds up",
            composite_adds_up,
            "You add two products. For ordinary numbers that is right, but 0 times NaN is NaN, and so is 0 times "
            "infinity: what lies under the hole gets in, and known pixels are lost. Choose instead of adding.",
        ),
        Misconception(
            "adds a difference",
            composite_adds_a_difference,
            "You add the difference to the known picture. It is rounded, so the fill is not exactly the fill, and one "
            "NaN under the hole stays NaN. Choose instead of calculating.",
        ),
        Misconception(
            "adds up the other way",
            composite_adds_up_the_other_way,
            "The fill stands where the picture is known and the damage stays in the hole: 1 is the hole here. And a "
            "product with 0 does not take away NaN.",
        ),
        Misconception(
            "cleans first",
            composite_cleans_first,
            "You replace NaN and infinity by numbers, then add two products. The hole is right; a known pixel that is "
            "infinite is changed. Known pixels are not to be mended, only copied.",
        ),
        Misconception(
            "cleans last",
            composite_cleans_last,
            "You add two products and then replace NaN by 0. By then the fill under it is lost, and 0 is what you get. "
            "How do you take the fill without a calculation?",
        ),
        Misconception(
            "hides first",
            composite_hides_first,
            "You empty the hole by choosing, which is half of it. The fill still comes in by a product, and where it "
            "is infinite or NaN outside the hole, it destroys known pixels.",
        ),
        Misconception(
            "whole fill",
            composite_whole_fill,
            "You return the network's whole picture. It has changed the known pixels as well. Only the hole is to be "
            "filled.",
        ),
        Misconception(
            "nothing filled",
            composite_nothing,
            "You return the damaged picture. The fill never gets into the hole.",
        ),
        Misconception(
            "fill alone",
            composite_fill_alone,
            "The hole is filled and everything else is 0. What should stand there?",
        ),
        Misconception(
            "clips",
            composite_clips,
            "You clip the whole result to [-1, 1]. A known pixel that lies outside is changed by that. Known pixels "
            "come out as they went in.",
        ),
        Misconception(
            "clips the fill",
            composite_clips_the_fill,
            "You clip the fill to [-1, 1]. Nobody asked for that here, and where it clips, no gradient passes.",
        ),
        Misconception(
            "a soft edge",
            composite_soft_edge,
            "You blend fill and picture along the edge. A seam is hidden in this way, and known pixels are changed. "
            "The edge of a mask is sharp.",
        ),
        Misconception(
            "overwrites the picture",
            composite_overwrites,
            "The result is right, and the picture that you were given is now overwritten. Whoever compares it with the "
            "result afterwards compares the result with itself. Work on a copy.",
        ),
        Misconception(
            "cut off",
            composite_detached,
            "The numbers are right, and no gradient reaches the fill. The network that made it could learn nothing.",
        ),
        Misconception(
            "first channel only",
            composite_first_channel,
            "Only the first channel is filled. The mask has one channel and holds for all channels of the picture.",
        ),
        Misconception(
            "one mask for all",
            composite_first_mask,
            "Each picture gets the hole of the first one. Every picture of the batch has a mask of its own.",
        ),
        Misconception(
            "any shape",
            composite_takes_any_shape,
            "The numbers are right where the shapes agree. A fill of one channel, or one fill for all pictures, is "
            "stretched by broadcasting without a word. Compare the shapes first.",
        ),
        Misconception(
            "any mask",
            composite_takes_any_mask,
            "The numbers are right, and a mask with values other than 0 and 1 passes. It may be a grey one from a "
            "resizing. The prompt names the error for it.",
        ),
        Misconception(
            "no check at all",
            composite_takes_everything,
            "The numbers are right for a good fill and a good mask. The prompt also says for which ones an error is "
            "raised: there are two kinds.",
        ),
        Misconception(
            "takes all between 0 and 1",
            composite_takes_0_to_1,
            "You refuse a mask outside 0 to 1 and let a grey one through. A mask holds two values, not a range.",
        ),
    ),
    also_right=(composite_by_places, composite_by_known),
    rtol=0.0,
    atol=0.0,
)

# ---------------------------------------------------------------------------------------------- partial_conv


def probe_partial_conv(answer: Any, seed: int) -> dict[str, Any]:
    """Two pictures with a kernel of 3, one with a kernel of 5; each has windows that see nothing known."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, b, c, k, size, h, w in (("kernel 3", 2, 2, 2, 3, 5, 6), ("kernel 5", 1, 3, 1, 5, 4, 7)):
        x, weight = torch.randn(b, c, h, w, generator=g), torch.randn(k, c, size, size, generator=g)
        bias = 1 + torch.rand(k, generator=g)
        mask = torch.zeros(b, 1, h, w)
        if size == 3:
            for one in mask[:, 0]:
                top, left = (int(torch.randint(n, (1,), generator=g)) for n in (3, 4))
                one[top : top + 3, left : left + 3] = 1
            mask[1, 0, -1, :4] = 1
        else:
            mask[..., :6] = 1
            mask[0, 0, int(torch.randint(4, (1,), generator=g)), 5] = 0
        features, left = answer(x.clone(), mask.clone(), weight, bias)
        out[f"{name}, mask"] = torch.as_tensor(left).detach().clone()
        out[f"{name}, features"] = torch.as_tensor(features).detach().clone()
    return out


Pair = tuple[Tensor, Tensor]


def _parts(x: Tensor, mask: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, int]:
    """The sum over known pixels, their number in each window, and the pixels in a window."""
    k = weight.shape[-1]
    seen = F.conv2d(1 - mask, torch.ones(1, 1, k, k), padding=k // 2)
    return F.conv2d(x * (1 - mask), weight, padding=k // 2), seen, k * k


def _finish(scaled: Tensor, seen: Tensor, bias: Tensor) -> Pair:
    return torch.where(seen > 0, scaled + bias.view(-1, 1, 1), torch.zeros(())), (seen == 0).float()


def partial_divides_by_the_hole(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    total, seen, n = _parts(x, mask, weight)
    hole = F.conv2d(mask, torch.ones(1, 1, *weight.shape[2:]), padding=weight.shape[-1] // 2)
    return _finish(total * n / hole.clamp(min=1), seen, bias)


def partial_unscaled(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    total, seen, _ = _parts(x, mask, weight)
    return _finish(total, seen, bias)


def partial_without_n(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    total, seen, _ = _parts(x, mask, weight)
    return _finish(total / seen.clamp(min=1), seen, bias)


def partial_upside_down(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    total, seen, n = _parts(x, mask, weight)
    return _finish(total * seen / n, seen, bias)


def partial_counts_channels(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    total, seen, n = _parts(x, mask, weight)
    return _finish(total * n * x.shape[1] / seen.clamp(min=1), seen, bias)


def partial_one_count(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    total, seen, _ = _parts(x, mask, weight)
    known = (1 - mask).mean((1, 2, 3), keepdim=True)
    return _finish(total / known, seen, bias)


def partial_scales_all(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    total, seen, n = _parts(x, mask, weight)
    out = (total + bias.view(-1, 1, 1)) * n / seen.clamp(min=1)
    return out * (seen > 0), (seen == 0).float()


def partial_without_bias(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    return partial_right(x, mask, weight, torch.zeros_like(bias))


def partial_bias_everywhere(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    total, seen, n = _parts(x, mask, weight)
    return total * n / seen.clamp(min=1) + bias.view(-1, 1, 1), (seen == 0).float()


def partial_zero_by_zero(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    total, seen, n = _parts(x, mask, weight)
    return (total * (n / seen) + bias.view(-1, 1, 1)) * (seen > 0), (seen == 0).float()


def partial_mask_stays(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    return partial_right(x, mask, weight, bias)[0], mask


def partial_nothing_left(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    return partial_right(x, mask, weight, bias)[0], torch.zeros_like(mask)


def partial_hole_grows(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    out, _ = partial_right(x, mask, weight, bias)
    k = weight.shape[-1]
    return out, F.max_pool2d(mask, k, stride=1, padding=k // 2)


def partial_needs_all(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    out, _ = partial_right(x, mask, weight, bias)
    _, seen, n = _parts(x, mask, weight)
    return out, (seen < n).float()


def partial_returns_known(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    out, left = partial_right(x, mask, weight, bias)
    return out, 1 - left


def partial_returns_counts(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    _, seen, n = _parts(x, mask, weight)
    return partial_right(x, mask, weight, bias)[0], 1 - seen / n


def partial_polarity(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    out, left = partial_right(x, 1 - mask, weight, bias)
    return out, 1 - left


def partial_polarity_in(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    return partial_right(x, 1 - mask, weight, bias)


def partial_leaks(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    _, seen, n = _parts(x, mask, weight)
    total = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    return _finish(total * n / seen.clamp(min=1), seen, bias)


def partial_ordinary(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    _, left = partial_right(x, mask, weight, bias)
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2), left


def partial_padding_known(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    total, _, n = _parts(x, mask, weight)
    pad = weight.shape[-1] // 2
    seen = F.conv2d(F.pad(1 - mask, (pad, pad, pad, pad), value=1.0), torch.ones(1, 1, *weight.shape[2:]))
    return _finish(total * n / seen.clamp(min=1), seen, bias)


def partial_padding_left_out(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    total, seen, _ = _parts(x, mask, weight)
    _, window, _ = _parts(x, torch.zeros_like(mask), weight)
    return _finish(total * window / seen.clamp(min=1), seen, bias)


def partial_right(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    total, seen, n = _parts(x, mask, weight)
    return _finish(total * n / seen.clamp(min=1), seen, bias)


def partial_by_windows(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Pair:
    """Each window laid out as a column, in double precision."""
    k, (h, w) = weight.shape[-1], x.shape[2:]
    known = 1 - mask.double()
    look = torch.nn.Unfold(k, padding=k // 2)
    columns = look(torch.where(mask > 0, 0.0, x.double()))  # (B, C * k * k, H * W)
    share = look(known).mean(1, keepdim=True)  # (B, 1, H * W)
    out = weight.double().flatten(1) @ columns / share.clamp(min=1e-3) + bias.double()[:, None]
    reached = (share > 0).double()
    return (out * reached).view(len(x), -1, h, w), (1 - reached).view(len(x), 1, h, w)


PARTIAL_CONV = Item(
    id="partial_conv",
    title="A convolution that skips the hole",
    points=3,
    answer="partial_conv",
    probe=probe_partial_conv,
    example="kernel 3, mask",
    misconceptions=(
        Misconception(
            "divides by the hole",
            partial_divides_by_the_hole,
            "You divide by the number of hole pixels. The mask that comes in is 1 in the hole, and the formula counts "
            "what is known.",
        ),
        Misconception(
            "not scaled",
            partial_unscaled,
            "Your sum is not scaled. A window with three known pixels of nine then gives a third of what it should, as "
            "if the hole were grey.",
        ),
        Misconception(
            "a mean",
            partial_without_n,
            "You divide by the number of known pixels and forget the n above the line. Without a hole the result "
            "should, away from the rim, be that of an ordinary convolution.",
        ),
        Misconception(
            "upside down",
            partial_upside_down,
            "Your fraction stands on its head: windows with few known pixels are made fainter still. They have to be "
            "scaled up.",
        ),
        Misconception(
            "counts the channels",
            partial_counts_channels,
            "Your n counts the channels, and the known pixels are counted once for all of them. Both counts have to be "
            "of the same thing. Without a hole the factor is 1.",
        ),
        Misconception(
            "one count for the picture",
            partial_one_count,
            "You use one factor for the whole picture. Each window has its own number of known pixels.",
        ),
        Misconception(
            "bias scaled too",
            partial_scales_all,
            "The bias is scaled with the sum. It has nothing to do with how many pixels are known, so it comes after "
            "the fraction.",
        ),
        Misconception(
            "no bias",
            partial_without_bias,
            "The bias is missing in your result. It is added after the fraction, wherever something is known.",
        ),
        Misconception(
            "bias in empty windows",
            partial_bias_everywhere,
            "Where a window holds nothing known, your output is the bias. The prompt has 0 there.",
        ),
        Misconception(
            "zero by zero",
            partial_zero_by_zero,
            "Where a window holds nothing known you divide by 0, and multiplying by 0 afterwards leaves NaN. Keep the "
            "divisor at 1 or more.",
        ),
        Misconception(
            "mask not updated",
            partial_mask_stays,
            "The features are right, and the mask comes out as it went in. The next layer would skip pixels that are "
            "known by now, and the hole would never close.",
        ),
        Misconception(
            "nothing left",
            partial_nothing_left,
            "The features are right, and your new mask says that nothing is missing any more. Some windows saw no "
            "known pixel at all.",
        ),
        Misconception(
            "the hole grows",
            partial_hole_grows,
            "The features are right, and your hole grows: one missing pixel in a window is enough for you. A pixel is "
            "in the hole only if nothing in its window is known.",
        ),
        Misconception(
            "needs a full window",
            partial_needs_all,
            "The features are right, and your new mask is 0 only where the whole window was known; even the rim of the "
            "picture becomes a hole, as its windows reach into the padding. One known pixel is enough.",
        ),
        Misconception(
            "returns what is known",
            partial_returns_known,
            "The features are right, and your new mask is 1 where it is known. The next layer expects 1 in the hole, "
            "as this one did.",
        ),
        Misconception(
            "returns a share",
            partial_returns_counts,
            "The features are right, and your new mask tells how much of a window was missing. A mask holds 0 and 1 "
            "alone.",
        ),
        Misconception(
            "polarity",
            partial_polarity,
            "You read the mask as 1 where it is known and return it so too. Many papers have it that way. Here 1 is "
            "the hole, so the convolution has looked at the damage alone.",
        ),
        Misconception(
            "polarity of the first mask",
            partial_polarity_in,
            "You multiply by the mask as it comes in, which is 1 in the hole. So the convolution sees the damage and "
            "skips what is known. What is m in the formula?",
        ),
        Misconception(
            "the hole leaks",
            partial_leaks,
            "What x holds in the hole gets into your sum. Set it to 0 before the convolution; counting alone does not "
            "take it out.",
        ),
        Misconception(
            "ordinary convolution",
            partial_ordinary,
            "The mask is updated, and the features are those of an ordinary convolution: the hole is seen, and nothing "
            "is scaled.",
        ),
        Misconception(
            "padding counts as known",
            partial_padding_known,
            "At the rim your padding counts as known, so a window there is scaled too little. The prompt says what "
            "padding is.",
        ),
        Misconception(
            "padding counts for nothing",
            partial_padding_left_out,
            "At the rim your n is smaller, since you leave the padding out of it. In the prompt n is the number of "
            "pixels in a window, and padding counts as unknown.",
        ),
    ),
    also_right=(partial_right, partial_by_windows),
    atol=1e-4,
)

# --------------------------------------------------------------------------------------------------- hole_l1


def probe_hole_l1(answer: Any, seed: int) -> dict[str, Any]:
    """Holes of different sizes, a hole of one pixel in a grey picture, and no hole at all; the error and its slopes."""
    import torch

    g = torch.Generator().manual_seed(seed)
    out: dict[str, Any] = {}
    for name, b, c, h, w in (("two holes", 2, 3, 3, 4), ("one grey pixel", 1, 1, 3, 3), ("no hole", 2, 3, 2, 2)):
        fake, real = torch.randn(b, c, h, w, generator=g), torch.randn(b, c, h, w, generator=g)
        mask = torch.zeros(b, 1, h, w)
        if name == "two holes":
            row = int(torch.randint(2, (1,), generator=g))
            mask[0, 0, row, 1] = mask[1, 0, 1:, 1:] = 1
        elif name == "one grey pixel":
            mask[0, 0, 1, int(torch.randint(3, (1,), generator=g))] = 1
        fake.requires_grad_(True)
        loss = answer(fake * 1, real.clone(), mask.clone())
        out[f"{name}, error"] = float(loss.detach() if torch.is_tensor(loss) else loss)
        if not (torch.is_tensor(loss) and loss.requires_grad):
            out[f"{name}, slopes"] = "the error carries no gradient"
            continue
        (slopes,) = torch.autograd.grad(loss.sum(), fake, allow_unused=True)
        out[f"{name}, slopes"] = "no slope" if slopes is None else slopes.clone()
    return out


def _numbers(x: Tensor, mask: Tensor) -> Tensor:
    return mask.expand_as(x).sum().clamp(min=1.0)


def l1_whole_picture(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return F.l1_loss(fake, real)


def l1_masked_then_mean(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return (mask * (fake - real)).abs().mean()


def l1_without_channels(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return (mask * (fake - real).abs()).sum() / mask.sum().clamp(min=1)


def l1_squared(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return (mask * (fake - real).square()).sum() / _numbers(fake, mask)


def l1_root_of_squares(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    mean = (mask * (fake - real).square()).sum() / _numbers(fake, mask)
    return mean.clamp(min=1e-12).sqrt() * (mask.sum() > 0)


def l1_sum(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return (mask * (fake - real).abs()).sum()


def l1_sum_over_pictures(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return (mask * (fake - real).abs()).sum() / len(fake)


def l1_known_part(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return ((1 - mask) * (fake - real).abs()).sum() / _numbers(fake, 1 - mask)


def l1_known_and_hole(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return l1_known_part(fake, real, mask) + l1_right(fake, real, mask)


def l1_signed(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return (mask * (fake - real)).sum() / _numbers(fake, mask)


def l1_late_absolute(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return ((mask * (fake - real)).sum() / _numbers(fake, mask)).abs()


def l1_each_picture(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    error = (mask * (fake - real).abs()).sum((1, 2, 3))
    return (error / (real.shape[1] * mask.sum((1, 2, 3))).clamp(min=1)).mean()


def l1_zero_by_zero(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return (mask * (fake - real).abs()).sum() / (real.shape[1] * mask.sum())


def l1_bare_zero(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return l1_right(fake, real, mask) if mask.any() else torch.zeros(())


def l1_plus_one(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return (mask * (fake - real).abs()).sum() / (real.shape[1] * mask.sum() + 1)


def l1_no_gradient(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return l1_right(fake.detach(), real, mask)


def l1_blind_to_truth(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return (mask * fake.abs()).sum() / _numbers(fake, mask)


def l1_right(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    return (mask * (fake - real).abs()).sum() / _numbers(fake, mask)


def l1_by_choice(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    hole = (mask > 0.5).expand_as(real)
    if not hole.any():
        return 0.0 * fake.sum()
    return F.l1_loss(fake[hole].double(), real[hole].double())


def l1_pixel_by_pixel(fake: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """Sums of single pictures, and the count once at the end."""
    total, count = 0 * fake.sum(), 0
    for made, true, hole in zip(fake, real, mask, strict=True):
        total = total + torch.where(hole > 0, torch.maximum(made - true, true - made), 0.0).sum()
        count += int(hole.sum()) * len(true)
    return total / max(count, 1)


HOLE_L1 = Item(
    id="hole_l1",
    title="The error in the hole",
    points=2,
    answer="hole_l1",
    probe=probe_hole_l1,
    misconceptions=(
        Misconception(
            "the whole picture",
            l1_whole_picture,
            "You measure the whole picture and do not use the mask. Pixels that were known count as well, so the error "
            "depends on how small the hole is.",
        ),
        Misconception(
            "mean over the whole picture",
            l1_masked_then_mean,
            "You set the error outside to 0 and then average over the whole picture: the sum is right, the count is "
            "not. With half the hole the same mistakes would look half as bad. How many numbers lie in the hole?",
        ),
        Misconception(
            "channels not counted",
            l1_without_channels,
            "Your error is too large by the number of channels. The mask has one channel, and a hole pixel of the "
            "picture has several numbers.",
        ),
        Misconception(
            "squared",
            l1_squared,
            "You square the differences. L1 is the mean absolute difference. Lesson 07 showed what a square does to a "
            "guess: it becomes the mean.",
        ),
        Misconception(
            "root of squares",
            l1_root_of_squares,
            "You take the root of the mean square. It has the right unit, and large errors count more. Asked is the "
            "mean of the absolute differences.",
        ),
        Misconception(
            "a sum",
            l1_sum,
            "You add up the errors and divide by nothing, so a large hole has a large error, however good the fill. "
            "Asked is a mean.",
        ),
        Misconception(
            "a sum in each picture",
            l1_sum_over_pictures,
            "You add up the errors and divide by the number of pictures. A large hole then counts more than a small "
            "one. Divide by the numbers in the holes.",
        ),
        Misconception(
            "the known part",
            l1_known_part,
            "You measure outside the hole. In this course 1 is the hole. After `composite` your error would always be "
            "0.",
        ),
        Misconception(
            "both parts",
            l1_known_and_hole,
            "You add the error of the known part. Known pixels are right by construction; asked is the hole alone.",
        ),
        Misconception(
            "no absolute value",
            l1_signed,
            "Too bright here and too dark there cancel in your error, and it can fall below 0. What is missing before "
            "the sum?",
        ),
        Misconception(
            "absolute value too late",
            l1_late_absolute,
            "You take the absolute value of the sum. By then errors of both signs have cancelled. Take it number by "
            "number.",
        ),
        Misconception(
            "a mean for each picture",
            l1_each_picture,
            "You average in each picture and then over the pictures. A number in a small hole then weighs more than "
            "one in a large hole. The prompt counts the numbers of the whole batch alike.",
        ),
        Misconception(
            "zero by zero",
            l1_zero_by_zero,
            "Without a hole you divide 0 by 0. One such batch, and all weights are NaN. What should the divisor be at "
            "least?",
        ),
        Misconception(
            "a bare zero",
            l1_bare_zero,
            "The error of a batch without a hole is a fresh 0 of yours, made without the fake picture. Asking it for a "
            "gradient stops the training with an error. Let the 0 come from the calculation.",
        ),
        Misconception(
            "one too many",
            l1_plus_one,
            "Your divisor is larger by one, to keep it from being 0. In a small hole that shows. Let it be at least 1 "
            "instead.",
        ),
        Misconception(
            "no gradient",
            l1_no_gradient,
            "The number is right, and no gradient reaches the fake picture. Nothing can be learned from it.",
        ),
        Misconception(
            "blind to the truth",
            l1_blind_to_truth,
            "In the hole you compare the fill with 0: it is best when grey. Is the true picture left out, or was its "
            "hole emptied before? The true picture has no hole.",
        ),
    ),
    also_right=(l1_by_choice, l1_pixel_by_pixel),
    rtol=1e-4,
    atol=1e-6,
)

# --------------------------------------------------------------------------------------------- outpaint_mask


def probe_outpaint_mask(answer: Any, seed: int) -> dict[str, Any]:
    """Odd windows and even ones, a window as high or as wide as the canvas, and windows that cannot be."""
    import random

    import torch

    rng = random.Random(seed)
    even, odd = (6, 8), (5, 7, 9)
    sizes = {
        "odd window, even canvas": (rng.choice(even), rng.choice(odd[1:]), rng.choice((1, 3)), rng.choice((2, 4))),
        "even window, odd canvas": (rng.choice(odd), rng.choice(even), 2, rng.choice((1, 3, 5))),
        "as high as the canvas": (rng.choice((3, 4)), rng.choice((7, 8, 9)), 0, rng.choice((2, 3))),
        "as wide as the canvas": (rng.choice((6, 7)), rng.choice((2, 3, 4)), rng.choice((2, 3)), 0),
    }
    out: dict[str, Any] = {}
    for name, (height, width, keep_height, keep_width) in sizes.items():
        got = answer(height, width, keep_height or height, keep_width or width)
        out[name] = torch.as_tensor(got).detach().clone()
    for name, window in (("no row", (0, 2)), ("no column", (2, 0)), ("too high", (5, 3)), ("too wide", (3, 6))):
        try:
            out[name] = f"it returned a tensor of {list(answer(4, 5, *window).shape)}"
        except Exception as error:
            kind = "ValueError" if isinstance(error, ValueError) else type(error).__name__
            out[name] = f"it raised {kind}"
    return out


def _window(height: int, width: int, rows: slice, columns: slice) -> Tensor:
    mask = torch.ones(1, 1, height, width)
    mask[:, :, rows, columns] = 0
    return mask


def _possible(height: int, width: int, keep_height: int, keep_width: int) -> None:
    if min(keep_height, keep_width) < 1 or keep_height > height or keep_width > width:
        raise ValueError("no such window")


def outpaint_polarity(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    return 1 - outpaint_by_padding(height, width, keep_height, keep_width)


def outpaint_extra_before(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    _possible(height, width, keep_height, keep_width)
    top, left = (height - keep_height + 1) // 2, (width - keep_width + 1) // 2
    return _window(height, width, slice(top, top + keep_height), slice(left, left + keep_width))


def outpaint_halves_each(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    _possible(height, width, keep_height, keep_width)
    top, left = height // 2 - keep_height // 2, width // 2 - keep_width // 2
    return _window(height, width, slice(top, top + keep_height), slice(left, left + keep_width))


def outpaint_half_each_side(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    _possible(height, width, keep_height, keep_width)
    y, x = height // 2, width // 2
    up, aside = keep_height // 2, keep_width // 2
    return _window(height, width, slice(max(0, y - up), y + up), slice(max(0, x - aside), x + aside))


def outpaint_margins(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    _possible(height, width, keep_height, keep_width)
    top, left = (height - keep_height) // 2, (width - keep_width) // 2
    return _window(height, width, slice(top, height - top), slice(left, width - left))


def outpaint_inclusive(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    _possible(height, width, keep_height, keep_width)
    top, left = (height - keep_height) // 2, (width - keep_width) // 2
    return _window(height, width, slice(top, top + keep_height + 1), slice(left, left + keep_width + 1))


def outpaint_ends_at_keep(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    _possible(height, width, keep_height, keep_width)
    top, left = (height - keep_height) // 2, (width - keep_width) // 2
    return _window(height, width, slice(top, keep_height), slice(left, keep_width))


def outpaint_corner(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    _possible(height, width, keep_height, keep_width)
    return _window(height, width, slice(0, keep_height), slice(0, keep_width))


def outpaint_last_corner(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    _possible(height, width, keep_height, keep_width)
    return _window(height, width, slice(height - keep_height, None), slice(width - keep_width, None))


def outpaint_starts_in_the_middle(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    _possible(height, width, keep_height, keep_width)
    top, left = height // 2, width // 2
    return _window(height, width, slice(top, top + keep_height), slice(left, left + keep_width))


def outpaint_width_first(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    return outpaint_by_padding(height, width, keep_height, keep_width).transpose(2, 3)


def outpaint_cross(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    _possible(height, width, keep_height, keep_width)
    top, left = (height - keep_height) // 2, (width - keep_width) // 2
    rows = _window(height, width, slice(top, top + keep_height), slice(None))
    return rows * _window(height, width, slice(None), slice(left, left + keep_width))


def outpaint_rows_only(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    _possible(height, width, keep_height, keep_width)
    top = (height - keep_height) // 2
    return _window(height, width, slice(top, top + keep_height), slice(None))


def outpaint_columns_only(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    _possible(height, width, keep_height, keep_width)
    left = (width - keep_width) // 2
    return _window(height, width, slice(None), slice(left, left + keep_width))


def outpaint_keep_as_border(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    _possible(height, width, keep_height, keep_width)
    return _window(height, width, slice(keep_height, height - keep_height), slice(keep_width, width - keep_width))


def outpaint_minus_nothing(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    """Keeps the window by cutting off a border at the end: [top:-top], which is empty where top is 0."""
    _possible(height, width, keep_height, keep_width)
    top, left = (height - keep_height) // 2, (width - keep_width) // 2
    below, right = height - keep_height - top, width - keep_width - left
    return _window(height, width, slice(top, -below), slice(left, -right))


def outpaint_refuses_a_full_side(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    if not (0 < keep_height < height and 0 < keep_width < width):
        raise ValueError("no border left")
    return outpaint_by_padding(height, width, keep_height, keep_width)


def outpaint_takes_everything(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    top, left = (height - keep_height) // 2, (width - keep_width) // 2
    return _window(height, width, slice(top, top + keep_height), slice(left, left + keep_width))


def outpaint_takes_an_empty_window(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    if keep_height > height or keep_width > width:
        raise ValueError("too large a window")
    return outpaint_takes_everything(height, width, keep_height, keep_width)


def outpaint_takes_too_large_a_window(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    if keep_height < 1 or keep_width < 1:
        raise ValueError("no pixel is kept")
    return outpaint_takes_everything(height, width, keep_height, keep_width)


def outpaint_by_padding(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    _possible(height, width, keep_height, keep_width)
    spare, beside = height - keep_height, width - keep_width
    border = (beside // 2, beside - beside // 2, spare // 2, spare - spare // 2)  # left, right, above, below
    return F.pad(torch.zeros(1, 1, keep_height, keep_width), border, value=1.0)


def outpaint_by_comparing(height: int, width: int, keep_height: int, keep_width: int) -> Tensor:
    if keep_height not in range(1, height + 1) or keep_width not in range(1, width + 1):
        raise ValueError("the window does not fit")

    def outside(length: int, keep: int) -> Tensor:
        at, first = torch.arange(length), int((length - keep) / 2)
        return (at < first) | (at >= first + keep)

    return (outside(height, keep_height)[:, None] | outside(width, keep_width)).float()[None, None]


OUTPAINT_MASK = Item(
    id="outpaint_mask",
    title="The hole around a picture",
    points=2,
    answer="outpaint_mask",
    probe=probe_outpaint_mask,
    misconceptions=(
        Misconception(
            "polarity",
            outpaint_polarity,
            "Your hole lies in the middle and the border is known. Outpainting invents the border. In this course 1 is "
            "the hole.",
        ),
        Misconception(
            "the extra row above",
            outpaint_extra_before,
            "Where the rows left over are an odd number, your window lies one too low, or one too far right. Which "
            "side gets the extra one?",
        ),
        Misconception(
            "halves each length",
            outpaint_halves_each,
            "You halve the canvas and the window, each with a loss of its own: 6 // 2 - 3 // 2 is 2, and (6 - 3) // 2 "
            "is 1. Halve what is left over.",
        ),
        Misconception(
            "half to each side",
            outpaint_half_each_side,
            "You keep half of the window on each side of the middle. Of an odd window that loses a row or a column: "
            "3 // 2 and 3 // 2 make 2.",
        ),
        Misconception(
            "equal margins",
            outpaint_margins,
            "Your margins are equal on both sides, and where that cannot be, the window grows by one. Its size is "
            "given; one margin has to be larger.",
        ),
        Misconception(
            "one too many",
            outpaint_inclusive,
            "Your window has a row or a column too many. A slice ends before its second number.",
        ),
        Misconception(
            "ends at the length",
            outpaint_ends_at_keep,
            "Your slice begins at the right place and ends at the length of the window, as if it had begun at 0. "
            "Where does the window end?",
        ),
        Misconception(
            "keeps the corner",
            outpaint_corner,
            "Your window lies in the upper left corner. It should lie in the middle.",
        ),
        Misconception(
            "keeps the last corner",
            outpaint_last_corner,
            "Your window lies in the lower right corner: all that is left over is above it and beside it. Only half of "
            "that should be.",
        ),
        Misconception(
            "begins in the middle",
            outpaint_starts_in_the_middle,
            "Your window begins in the middle of the canvas. Its own middle should lie there.",
        ),
        Misconception(
            "width first",
            outpaint_width_first,
            "Your mask lies on its side. Rows come first, so the height does.",
        ),
        Misconception(
            "a cross",
            outpaint_cross,
            "You keep whole rows and whole columns, which makes a cross. A pixel is known where its row and its column "
            "both are in the window.",
        ),
        Misconception(
            "rows only",
            outpaint_rows_only,
            "You keep whole rows, from edge to edge. The window has a width too.",
        ),
        Misconception(
            "columns only",
            outpaint_columns_only,
            "You keep whole columns, from top to bottom. The window has a height too.",
        ),
        Misconception(
            "the window as a border",
            outpaint_keep_as_border,
            "You take the size of the window for the width of the border. The border is what is left over, divided "
            "between two sides.",
        ),
        Misconception(
            "minus zero",
            outpaint_minus_nothing,
            "Where nothing is left over, your slice ends at -0, which is 0, and keeps nothing. Count the end from the "
            "beginning.",
        ),
        Misconception(
            "refuses a full side",
            outpaint_refuses_a_full_side,
            "You refuse a window that is as high or as wide as the canvas. It is allowed: a picture can be widened to "
            "the sides alone.",
        ),
        Misconception(
            "takes everything",
            outpaint_takes_everything,
            "The pixels are right where the window fits. One without a pixel or larger than the canvas gives a mask "
            "too. The prompt names the error for it.",
        ),
        Misconception(
            "takes an empty window",
            outpaint_takes_an_empty_window,
            "You refuse a window that is too large, and not one without a pixel. A canvas where nothing is known is no "
            "outpainting.",
        ),
        Misconception(
            "takes too large a window",
            outpaint_takes_too_large_a_window,
            "You refuse a window without a pixel, and not one that is larger than the canvas. Its beginning is then a "
            "number below 0.",
        ),
    ),
    also_right=(outpaint_by_padding, outpaint_by_comparing),
)

ITEMS: list[Item] = [FREE_FORM_MASK, RESIZE_MASK, COMPOSITE, PARTIAL_CONV, HOLE_L1, OUTPAINT_MASK]
