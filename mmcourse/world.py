"""The captioned world: a scene is drawn, said and parsed, and its truth is known (lesson 00, lesson 08).

A scene holds one or two things, each with a shape, a colour and a size, and a layout: one thing stands in
the centre, left, right, top or bottom; two stand side by side ("beside") or one above the other
("stacked"). Thing A is the left or the upper one. What no caption mentions is nuisance: the background's
shade, jitter of place and size, a small rotation.

A batch of labels is an int64 tensor of 8 columns (``COLUMNS``); a *statement* is the same row with
``OPEN`` (-1) where a caption leaves something open.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from mmcourse.checks import expect_one_of, expect_shape
from mmcourse.text import EMPTY_PROMPT, is_chinese, split_words

SHAPES = ("circle", "square", "triangle", "cross", "ring", "star")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "black")
SIZES = ("small", "large")
LAYOUTS = ("centre", "left", "right", "top", "bottom", "beside", "stacked")
BESIDE, STACKED = LAYOUTS.index("beside"), LAYOUTS.index("stacked")
COLUMNS = ("count", "shape_a", "colour_a", "size_a", "shape_b", "colour_b", "size_b", "layout")
OPEN = -1
#: How many values each column of labels can take; ``count`` is stored as 1 or 2.
CLASSES = (2, len(SHAPES), len(COLOURS), len(SIZES), len(SHAPES), len(COLOURS), len(SIZES), len(LAYOUTS))

RGB = {
    "red": (0.84, 0.12, 0.14),
    "orange": (1.00, 0.52, 0.04),
    "yellow": (1.00, 0.92, 0.14),
    "green": (0.12, 0.58, 0.22),
    "cyan": (0.16, 0.80, 0.88),
    "blue": (0.12, 0.28, 0.84),
    "purple": (0.58, 0.16, 0.66),
    "black": (0.06, 0.06, 0.07),
}

#: Colour-shape pairs that no training ever shows; each shape and six colours occur once.
HELD_OUT = (
    ("yellow", "circle"),
    ("cyan", "square"),
    ("red", "triangle"),
    ("purple", "cross"),
    ("orange", "ring"),
    ("green", "star"),
)
_HELD_OUT_MASK = torch.zeros(len(COLOURS), len(SHAPES), dtype=torch.bool)
for _colour, _shape in HELD_OUT:
    _HELD_OUT_MASK[COLOURS.index(_colour), SHAPES.index(_shape)] = True
_PAIRS = {held_out: _HELD_OUT_MASK.eq(held_out).nonzero() for held_out in (False, True)}  # (P, 2) each
_PAINT = torch.tensor([RGB[c] for c in COLOURS])

# ---------------------------------------------------------------------------------------------- scenes


class Statement(NamedTuple):
    """What a caption states; ``OPEN`` (-1) where it leaves something open. Columns as in ``COLUMNS``."""

    count: int  # type: ignore[assignment]  # a tuple has a method of this name; the column is meant
    shape_a: int = OPEN
    colour_a: int = OPEN
    size_a: int = OPEN
    shape_b: int = OPEN
    colour_b: int = OPEN
    size_b: int = OPEN
    layout: int = OPEN

    def __str__(self) -> str:
        return say(self, "en", random.Random(0), plain=True)


@dataclass
class Scenes:
    """A batch of scenes: labels (B, 8) int64, centre (B, 2, 2) in [0, 1], radius (B, 2), angle (B, 2) in
    radians, background (B, 3) RGB in [0, 1]. Lengths are in picture widths; y points down."""

    labels: Tensor
    centre: Tensor
    radius: Tensor
    angle: Tensor
    background: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | Tensor | list[int]) -> Scenes:
        if isinstance(index, int):
            index = [index]
        return Scenes(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: str) -> Scenes:
        return Scenes(*(getattr(self, f.name).to(device) for f in fields(self)))


@functools.cache
def _on(table: Tensor, device: torch.device) -> Tensor:
    """A constant table on a device, carried there once: a step that is captured on a card must not carry anything."""
    return table.to(device)


@functools.cache
def _counts(objects: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(objects, device=device)


def _randint(high: int, shape: tuple[int, ...], g: torch.Generator) -> Tensor:
    return torch.randint(high, shape, generator=g, device=g.device)


def _rand(shape: tuple[int, ...], low: float, high: float, g: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=g, device=g.device)


def _draw_pairs(shape: tuple[int, ...], held_out: bool, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Colours and shapes, uniform over the pairs that are (not) held out."""
    allowed = _on(_PAIRS[held_out], g.device)  # (P, 2)
    chosen = allowed[_randint(len(allowed), shape, g)]
    return chosen[..., 0], chosen[..., 1]


def sample_labels(n: int, g: torch.Generator, *, objects: Sequence[int] = (1, 2), split: str = "train") -> Tensor:
    """Labels (n, 8) of random scenes.

    ``objects`` gives the numbers of things to choose from, evenly. ``split``: "train" holds no held-out
    colour-shape pair; in "held_out" thing A, thing B or both are such a pair; "all" is uniform.
    Raises ``ValueError`` on other words or numbers.
    """
    expect_one_of(split, ("train", "held_out", "all"), name="split")
    if not objects or not set(objects) <= {1, 2}:
        raise ValueError(f"objects: expected some of (1, 2), got {tuple(objects)}.")
    counts = _counts(tuple(sorted(objects)), g.device)[_randint(len(objects), (n,), g)]
    two = counts == 2
    if split == "all":
        colour, shape = _randint(len(COLOURS), (n, 2), g), _randint(len(SHAPES), (n, 2), g)
    else:
        colour, shape = _draw_pairs((n, 2), False, g)
    if split == "held_out":
        rare_colour, rare_shape = _draw_pairs((n, 2), True, g)
        which = _randint(3, (n,), g)  # 0: A is rare, 1: B, 2: both; one thing alone is always the rare one
        rare = torch.stack([(which != 1) | ~two, which != 0], dim=1)
        colour, shape = torch.where(rare, rare_colour, colour), torch.where(rare, rare_shape, shape)
    size = _randint(len(SIZES), (n, 2), g)
    layout = torch.where(two, BESIDE + _randint(2, (n,), g), _randint(BESIDE, (n,), g))
    second = torch.stack([shape[:, 1], colour[:, 1], size[:, 1]], 1).masked_fill(~two[:, None], OPEN)
    return torch.cat([counts[:, None], shape[:, :1], colour[:, :1], size[:, :1], second, layout[:, None]], dim=1)


_PLACES = torch.tensor([[0.5, 0.5], [0.26, 0.5], [0.74, 0.5], [0.5, 0.26], [0.5, 0.74]])
_ALONG = torch.tensor([0.27, 0.73])


def place(labels: Tensor, g: torch.Generator) -> Scenes:
    """Give labels (B, 8) their nuisance: jitter, rotation, background. Returns the scenes.

    Radii are about .135 (small) and .185 (large) of the picture's width.
    """
    n = expect_shape(labels, "B 8", name="labels")["B"]
    layout, two = labels[:, 7], labels[:, 0] == 2
    spots = _on(_PLACES, g.device)
    single = spots[layout.clamp(max=4)] + _rand((n, 2), -0.035, 0.035, g)
    along = _on(_ALONG, g.device).expand(n, 2) + _rand((n, 2), -0.025, 0.025, g)
    across = 0.5 + _rand((n, 2), -0.10, 0.10, g)
    beside, stacked = torch.stack([along, across], -1), torch.stack([across, along], -1)  # (B, 2 things, xy)
    pairs = torch.where((layout == STACKED)[:, None, None], stacked, beside)
    centre = torch.where(two[:, None, None], pairs, single[:, None].expand(n, 2, 2))
    size = labels[:, 3:7:3].clamp(min=0)
    radius = (0.135 + 0.050 * size) * _rand((n, 2), 0.94, 1.06, g)
    radius = radius * torch.stack([torch.ones_like(two), two], 1)  # no second thing: radius 0
    angle = _rand((n, 2), -0.20, 0.20, g)
    background = _rand((n, 1), 0.72, 0.93, g) + _rand((n, 3), -0.02, 0.02, g)
    return Scenes(labels, centre, radius, angle, background)


def sample_scenes(n: int, g: torch.Generator, *, objects: Sequence[int] = (1, 2), split: str = "train") -> Scenes:
    """``place(sample_labels(...))``: n random scenes, ready to be drawn."""
    return place(sample_labels(n, g, objects=objects, split=split), g)


def imagine(statements: Tensor, g: torch.Generator, *, split: str = "train") -> Tensor:
    """Labels (B, 8) that satisfy statements (B, 8): what they leave open is drawn at random.

    With ``split="train"`` an open colour or shape never completes a held-out pair.
    """
    n = expect_shape(statements, "B 8", name="statements")["B"]
    out = statements.clone()
    fresh = torch.cat([sample_labels(n, g, objects=(k,), split="all")[None] for k in (1, 2)])  # (2, B, 8)
    fresh = fresh[statements[:, 0] - 1, torch.arange(n, device=out.device)]
    open_ = out == OPEN
    out = torch.where(open_, fresh, out)
    if split == "train":
        for shape, colour in ((1, 2), (4, 5)):
            for _ in range(8):  # an eighth or less is rejected each time
                bad = (out[:, shape] >= 0) & _on(_HELD_OUT_MASK, out.device)[out[:, colour], out[:, shape]]
                bad &= open_[:, shape] | open_[:, colour]
                new_shape, new_colour = _randint(len(SHAPES), (n,), g), _randint(len(COLOURS), (n,), g)
                out[:, shape] = torch.where(bad & open_[:, shape], new_shape, out[:, shape])
                out[:, colour] = torch.where(bad & open_[:, colour], new_colour, out[:, colour])
    return out


def holds_out(labels: Tensor) -> Tensor:
    """For labels or statements (B, 8): whether a thing is stated as a held-out colour-shape pair. (B,) bool."""
    mask = _on(_HELD_OUT_MASK, labels.device)
    found = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
    for shape, colour in ((1, 2), (4, 5)):
        stated = (labels[:, shape] >= 0) & (labels[:, colour] >= 0)
        found |= stated & mask[labels[:, colour].clamp(min=0), labels[:, shape].clamp(min=0)]
    return found


# --------------------------------------------------------------------------------------------- drawing

# One signed distance for all six shapes. A point in the shape's own frame (unit radius) is folded into half
# of one of the n equal wedges, where the outline is one or two straight lines: max(p.u - d, p.v - e). Round
# shapes are ||p| - m| - w. Columns: n, u_x, u_y, d, v_x, v_y, e, round, m, w.


def _wedge(n: int, tip: float, notch: float) -> list[float]:
    """The line from the tip (at angle 0) to the notch or edge middle (at angle pi/n)."""
    ax, ay = tip, 0.0
    bx, by = notch * math.cos(math.pi / n), notch * math.sin(math.pi / n)
    nx, ny = by - ay, ax - bx
    length = math.hypot(nx, ny)
    nx, ny = nx / length, ny / length
    return [n, nx, ny, nx * ax + ny * ay, nx, ny, nx * ax + ny * ay, 0, 0, 0]


_OUTLINES = torch.tensor(
    [
        [1, 0, 0, 0, 0, 0, 0, 1, 0.0, 1.0],  # circle
        _wedge(4, 1.22, 1.22 * math.cos(math.pi / 4)),  # square
        _wedge(3, 1.35, 1.35 * math.cos(math.pi / 3)),  # triangle
        [4, 1, 0, 1.08, 0, 1, 0.36, 0, 0, 0],  # cross
        [1, 0, 0, 0, 0, 0, 0, 1, 0.76, 0.27],  # ring
        _wedge(5, 1.30, 0.54),  # star
    ]
)
# a turn that makes each shape stand as people draw it: a square on its side, a triangle and a star point up
_UPRIGHT = torch.tensor([0.0, math.pi / 4, -math.pi / 2, 0.0, 0.0, -math.pi / 2])


def signed_distance(points: Tensor, shape: Tensor) -> Tensor:
    """Signed distance of points (..., 2), in units of a thing's radius, to the outline of shapes (...,) int.

    Negative inside. Exact along edges; beyond a corner it is the distance to the edge's line, which gives
    corners drawn sharp. Source: folding by symmetry, after I. Quilez, "2D distance functions".
    """
    table = _on(_OUTLINES, points.device)[shape]  # (..., 10)
    n, ux, uy, d, vx, vy, e, round_, m, w = table.unbind(-1)
    x, y = points.unbind(-1)
    r = torch.hypot(x, y)
    theta = torch.atan2(y, x)
    step = 2 * math.pi / n
    folded = (theta - step * torch.round(theta / step)).abs()  # angle in [0, pi/n]
    fx, fy = r * torch.cos(folded), r * torch.sin(folded)
    straight = torch.maximum(fx * ux + fy * uy - d, fx * vx + fy * vy - e)
    return torch.where(round_ > 0, (r - m).abs() - w, straight)


def draw(scenes: Scenes, resolution: int = 32) -> Tensor:
    """Draw scenes as pictures (B, 3, R, R) in [-1, 1], anti-aliased over one pixel, on the scenes' device.

    Raises ``ValueError`` when the resolution is below 8.
    """
    if resolution < 8:
        raise ValueError(f"resolution: expected at least 8 pixels, got {resolution}.")
    device, n = scenes.labels.device, len(scenes)
    axis = (torch.arange(resolution, device=device, dtype=torch.float32) + 0.5) / resolution
    shape, colour = scenes.labels[:, 1:5:3].clamp(min=0), scenes.labels[:, 2:6:3].clamp(min=0)
    outline = _on(_OUTLINES, device)[shape]  # (B, 2, 10)
    n_fold, ux, uy, d, vx, vy, e, round_, m, w = outline[..., None, None, :].unbind(-1)  # each (B, 2, 1, 1)
    turn = (scenes.angle + _on(_UPRIGHT, device)[shape])[..., None, None]
    radius = scenes.radius.clamp(min=1e-6)[..., None, None]  # (B, 2, 1, 1)
    x = axis[None, None, None, :] - scenes.centre[:, :, 0, None, None]  # (B, 2, 1, R)
    y = axis[None, None, :, None] - scenes.centre[:, :, 1, None, None]  # (B, 2, R, 1)
    r = torch.sqrt(x * x + y * y)  # (B, 2, R, R)
    step = 2 * math.pi / n_fold
    # the same folding as signed_distance; p.u - d is |p| cos(angle of p - angle of u) - d
    folded = torch.atan2(y, x).sub_(turn)
    folded = folded.addcmul_(torch.round(folded / step), -step).abs_()
    one = torch.cos(folded - torch.atan2(uy, ux)).mul_(r).sub_(d * radius)
    two = folded.sub_(torch.atan2(vy, vx)).cos_().mul_(r).sub_(e * radius)
    straight = torch.maximum(one, two, out=one)
    distance = torch.where(round_ > 0, r.sub_(m * radius).abs_().sub_(w * radius), straight)
    there = (scenes.radius > 0)[..., None, None]
    cover = distance.mul_(-resolution).add_(0.5).clamp_(0, 1).mul_(there)  # (B, 2, R, R)
    paint = _on(_PAINT, device)[colour]  # (B, 2, 3)
    picture = scenes.background[:, :, None, None].expand(n, 3, resolution, resolution)
    for k in (1, 0):  # thing A is painted last; jitter keeps the two apart
        picture = torch.lerp(picture, paint[:, k, :, None, None], cover[:, k, None])
    return picture * 2 - 1


# ------------------------------------------------------------------------------------------------ truth


def matches(labels: Tensor, statements: Tensor) -> tuple[Tensor, Tensor]:
    """Compare labels (B, 8), true or read from a picture, with what captions state (B, 8).

    Returns ``stated`` and ``right``, both (B, 8) bool: which columns count, and which of them agree. A
    caption that leaves the layout of two things open ("a red circle and a blue star") may be met either way
    round; the better way counts.
    """
    expect_shape(labels, "B 8", name="labels")
    expect_shape(statements, "B 8", name="statements")
    swapped = torch.cat([statements[:, :1], statements[:, 4:7], statements[:, 1:4], statements[:, 7:]], dim=1)
    either = (statements[:, 0] == 2) & (statements[:, 7] == OPEN)
    right_way = (labels == statements) | (statements == OPEN)
    other_way = (labels == swapped) | (swapped == OPEN)
    use_other = either & (other_way.sum(1) > right_way.sum(1))
    stated = torch.where(use_other[:, None], swapped, statements) != OPEN
    right = torch.where(use_other[:, None], other_way, right_way)
    return stated, right & stated


def satisfied(labels: Tensor, statements: Tensor) -> Tensor:
    """Whether each scene (B, 8) is truly described by its statement (B, 8): (B,) bool."""
    stated, right = matches(labels, statements)
    return (right == stated).all(dim=1)


def satisfied_pairs(labels: Tensor, statements: Tensor) -> Tensor:
    """Every scene (B, 8) against every statement (C, 8): (B, C) bool. The multi-positive targets of lesson 08."""
    b, c = len(labels), len(statements)
    flat = satisfied(labels.repeat_interleave(c, 0), statements.repeat(b, 1))
    return flat.view(b, c)


def state(labels: Tensor, g: torch.Generator, *, leave_out: float = 0.15, require: str = "") -> Tensor:
    """Turn labels (B, 8) into statements: each optional part is left open with this probability.

    ``require="held_out"`` keeps the colour and the shape of things that are held-out pairs, so that the
    statement still holds the pair. At least one attribute of each thing is always stated. A statement whose
    relation is left open says "A and B".
    """
    out = labels.clone()
    two = labels[:, 0] == 2
    dropped = torch.rand(out.shape, generator=g, device=g.device) < leave_out
    # one thing's place is mentioned half the time
    dropped[:, 7] |= ~two & (torch.rand(len(out), generator=g, device=g.device) < 0.5)
    for a in (1, 4):
        keep_all = dropped[:, a : a + 3].all(dim=1)
        if require == "held_out":
            rare = (labels[:, a] >= 0) & _on(_HELD_OUT_MASK, out.device)[labels[:, a + 1], labels[:, a]]
            dropped[:, a : a + 2] &= ~rare[:, None]
        dropped[:, a : a + 3] &= ~keep_all[:, None]
    dropped[:, 0] = False
    return out.masked_fill(dropped, OPEN)


# columns of a statement after exchanging both things, or only their shapes, their colours, their sizes
_EXCHANGES = (
    (0, 4, 5, 6, 1, 2, 3, 7),
    (0, 4, 2, 3, 1, 5, 6, 7),
    (0, 1, 5, 3, 4, 2, 6, 7),
    (0, 1, 2, 6, 4, 5, 3, 7),
)


def exchange(rows: Tensor, g: torch.Generator) -> Tensor:
    """Labels or statements (B, 8) of two things with the things exchanged, or only their shapes, colours or sizes,
    drawn evenly: the same words, said of the wrong thing. Rows of one thing stay as they are."""
    kind = _randint(len(_EXCHANGES), (len(rows),), g)
    return rows.gather(1, torch.tensor(_EXCHANGES, device=g.device)[kind]).where(rows[:, :1] == 2, rows)


def contradict(labels: Tensor, statements: Tensor, g: torch.Generator) -> Tensor:
    """Change each statement (B, 8) a little, so that it is no longer true of its scene (B, 8).

    These are hard negatives. One stated fact is changed; or, for half of the statements about two things, the things
    or one kind of their attributes are exchanged, so that the very same words are said of the wrong thing. Where that
    would still be true, or would bring in a held-out pair, the place or the relation is changed instead.
    """
    n = len(labels)
    sizes = torch.tensor([1, 6, 8, 2, 6, 8, 2, 1], device=g.device)
    noise = torch.rand(statements.shape, generator=g, device=g.device)
    noise = noise.masked_fill(statements == OPEN, -1)
    noise[:, 0] = -1
    column = noise.argmax(dim=1)
    rows = torch.arange(n, device=g.device)
    old = statements[rows, column]
    shift = 1 + (torch.rand(n, generator=g, device=g.device) * (sizes[column] - 1)).long()
    new = (old + shift) % sizes[column]
    # layout: another place for one thing; for two, half the time the other axis, half the time A and B change places
    two = statements[:, 0] == 2
    is_layout = column == 7
    other_place = (old + 1 + _randint(4, (n,), g)) % 5
    other_axis = BESIDE + STACKED - old
    new = torch.where(is_layout, torch.where(two, other_axis, other_place), new)
    out = statements.clone()
    out[rows, column] = new
    # with two things, half the negatives say the right words of the wrong thing
    said_of_wrong = two & (torch.rand(n, generator=g, device=g.device) < 0.5)
    out = torch.where(said_of_wrong[:, None], exchange(statements, g), out)
    # two equal things exchanged are still true, and a held-out pair must not be said, not even as a falsehood:
    # contradict the place instead
    useless = satisfied(labels, out) | (holds_out(out) & ~holds_out(statements))
    fallback = statements.clone()
    fallback[:, 7] = torch.where(two, torch.where(old >= 0, other_axis, BESIDE), other_place)
    fallback[:, 7] = torch.where(two & (labels[:, 7] == BESIDE), STACKED, fallback[:, 7])
    fallback[:, 7] = torch.where(two & (labels[:, 7] == STACKED), BESIDE, fallback[:, 7])
    fallback[:, 7] = torch.where(~two, (labels[:, 7] + 1) % 5, fallback[:, 7])
    return torch.where(useless[:, None], fallback, out)


# --------------------------------------------------------------------------------------------- language

_EN: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {
        "circle": ("circle", "disc"),
        "square": ("square",),
        "triangle": ("triangle",),
        "cross": ("cross", "plus"),
        "ring": ("ring",),
        "star": ("star",),
    },
    "colour": {c: (c,) for c in COLOURS} | {"purple": ("purple", "violet"), "cyan": ("cyan", "turquoise")},
    "size": {"small": ("small", "little", "tiny"), "large": ("large", "big")},
}
_ZH: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {
        "circle": ("圆形", "圆"),
        "square": ("正方形", "方块"),
        "triangle": ("三角形",),
        "cross": ("十字", "十字形"),
        "ring": ("圆环",),
        "star": ("星形", "星星"),
    },
    "colour": {
        "red": ("红色", "红"),
        "orange": ("橙色", "橙"),
        "yellow": ("黄色", "黄"),
        "green": ("绿色", "绿"),
        "cyan": ("青色", "青"),
        "blue": ("蓝色", "蓝"),
        "purple": ("紫色", "紫"),
        "black": ("黑色", "黑"),
    },
    "size": {"small": ("小", "小号"), "large": ("大", "大号")},
}
_ANY = {"en": ("shape", "thing", "object"), "zh": ("形状", "图形", "东西")}
_EN_SIDE = {  # where the first-named thing stands, seen from the second
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over", "on top of"),
    "below": ("below", "under", "beneath"),
}
_EN_SPOT = {
    "centre": ("in the centre", "in the center", "in the middle"),
    "left": ("on the left", "at the left"),
    "right": ("on the right", "at the right"),
    "top": ("at the top", "on top"),
    "bottom": ("at the bottom",),
}
_ZH_SIDE = {
    "left": ("左边", "左侧", "左面"),
    "right": ("右边", "右侧", "右面"),
    "above": ("上面", "上方", "上边"),
    "below": ("下面", "下方", "下边"),
}
_ZH_SPOT = {
    "centre": ("中间", "中央"),
    "left": _ZH_SIDE["left"],
    "right": _ZH_SIDE["right"],
    "top": (*_ZH_SIDE["above"], "顶部"),
    "bottom": (*_ZH_SIDE["below"], "底部"),
}
_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
_GLUE_EN = "a an one the of to on at in and is are that which there picture with it side".split()  # noqa: SIM905
_GLUE_ZH = ["一个", "一", "个", "的", "在", "和", "是", "有", "图", "画", "位于"]


def _flatten(table: dict[str, dict[str, tuple[str, ...]]]) -> list[str]:
    return [w for group in table.values() for forms in group.values() for phrase in forms for w in phrase.split()]


#: Every word that the grammar can say or read, in both languages: the vocabulary of lesson 08.
WORDS = tuple(
    sorted(
        {
            *_flatten(_EN),
            *_flatten(_ZH),
            *(w for forms in _ANY.values() for w in forms),
            *(w for t in (_EN_SIDE, _EN_SPOT, _ZH_SIDE, _ZH_SPOT) for f in t.values() for p in f for w in p.split()),
            *_GLUE_EN,
            *_GLUE_ZH,
        }
    )
)
#: The longest caption of the grammar, in words.
MAX_WORDS = 24


def _article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _noun_en(shape: int, colour: int, size: int, rng: random.Random, plain: bool) -> str:
    pick = (lambda forms: forms[0]) if plain else rng.choice
    noun = pick(_EN["shape"][SHAPES[shape]]) if shape >= 0 else pick(_ANY["en"])
    adjectives = []
    if size >= 0:
        adjectives.append(pick(_EN["size"][SIZES[size]]))
    if colour >= 0:
        adjectives.append(pick(_EN["colour"][COLOURS[colour]]))
    if not plain and adjectives and rng.random() < 0.15:  # a circle that is small and red
        rng.shuffle(adjectives)
        return f"{_article(noun)} that is {' and '.join(adjectives)}"
    if not plain and len(adjectives) == 2 and rng.random() < 0.15:
        adjectives.reverse()
    return _article(" ".join([*adjectives, noun]))


def _noun_zh(shape: int, colour: int, size: int, rng: random.Random, plain: bool) -> str:
    pick = (lambda forms: forms[0]) if plain else rng.choice
    noun = pick(_ZH["shape"][SHAPES[shape]]) if shape >= 0 else pick(_ANY["zh"])
    parts = []
    if size >= 0:
        parts.append(pick(_ZH["size"][SIZES[size]]))
    if colour >= 0:
        parts.append(pick(_ZH["colour"][COLOURS[colour]]))
    if not plain and len(parts) == 2 and rng.random() < 0.2:
        parts.reverse()
    link = [p + ("的" if plain or rng.random() < 0.7 else "") for p in parts]
    one = "一个" if plain or rng.random() < 0.5 else ""
    return one + "".join(link) + noun


def say(statement: Statement | Sequence[int], language: str, rng: random.Random, *, plain: bool = False) -> str:
    """Say a statement as a caption in "en" or "zh"; synonyms and word order vary with ``rng``.

    ``plain=True`` gives the one standard wording. ``parse(say(s, ...))`` gives ``s`` back.
    """
    s = Statement(*(int(v) for v in statement))
    expect_one_of(language, ("en", "zh"), name="language")
    noun = _noun_en if language == "en" else _noun_zh
    a = noun(s.shape_a, s.colour_a, s.size_a, rng, plain)
    if s.count == 1:
        return _say_one(a, s.layout, language, rng, plain)
    b = noun(s.shape_b, s.colour_b, s.size_b, rng, plain)
    return _say_two(a, b, s.layout, language, rng, plain)


def _say_one(a: str, layout: int, language: str, rng: random.Random, plain: bool) -> str:
    if layout == OPEN:
        if plain or rng.random() < 0.7:
            return a
        return rng.choice(["a picture of ", "there is "]) + a if language == "en" else "有" + a
    spots = (_EN_SPOT if language == "en" else _ZH_SPOT)[LAYOUTS[layout]]
    spot = spots[0] if plain else rng.choice(spots)
    first = not plain and rng.random() < 0.25
    if language == "en":
        return f"{spot} there is {a}" if first else f"{a} {spot}"
    return f"{spot}有{a}" if first else f"{a}在{spot}"


def _say_two(a: str, b: str, layout: int, language: str, rng: random.Random, plain: bool) -> str:
    if layout == OPEN:
        return f"{a} and {b}" if language == "en" else f"{a}和{b}"
    sides = ("left", "right") if layout == BESIDE else ("above", "below")
    side = sides[0]
    if not plain and rng.random() < 0.5:
        a, b, side = b, a, sides[1]  # name the other thing first
    form = 0.0 if plain else rng.random()
    if language == "en":
        if form < 0.75:
            phrases = _EN_SIDE[side]
            return f"{a} {phrases[0] if plain else rng.choice(phrases)} {b}"
        if form < 0.9 or layout == STACKED:
            return f"{_EN_SIDE[side][1]} {b} is {a}"
        return f"on the {side} {a} and on the {_OPPOSITE[side]} {b}"
    word = _ZH_SIDE[side][0] if plain else rng.choice(_ZH_SIDE[side])
    if form < 0.6:
        return f"{a}在{b}{'的' if plain or rng.random() < 0.5 else ''}{word}"
    if form < 0.8:
        return f"{b}的{word}是{a}"
    return f"{word}是{a}，{rng.choice(_ZH_SIDE[_OPPOSITE[side]])}是{b}"


class CaptionError(ValueError):
    """A caption that the grammar cannot read; the message says where and what a caption looks like."""


_HELP = 'Captions look like "a small red circle", "a star at the top" or "a red ring left of a blue square".'


def _meanings(
    table: dict[str, dict[str, tuple[str, ...]]], names: dict[str, tuple[str, ...]]
) -> dict[str, tuple[str, int]]:
    return {
        w: (kind, names[kind].index(n)) for kind, group in table.items() for n, forms in group.items() for w in forms
    }


_NAMES = {"shape": SHAPES, "colour": COLOURS, "size": SIZES}
_MEANING = _meanings(_EN, _NAMES) | _meanings(_ZH, _NAMES) | {w: ("any", 0) for f in _ANY.values() for w in f}


class _Reader:
    """A hand-written descent over a caption's words."""

    def __init__(self, text: str):
        self.text, self.words, self.at = text, split_words(text, _WORD_SET), 0
        self.chinese = is_chinese(text)
        if not self.words:
            raise CaptionError(EMPTY_PROMPT)
        for word in self.words:
            if word not in _WORD_SET:
                raise CaptionError(f"The grammar does not know {word!r} in {text!r}. {_HELP}")

    def fail(self, why: str) -> CaptionError:
        where = " ".join(self.words[self.at :]) or "the end"
        return CaptionError(f"Cannot read {self.text!r} at {where!r}: {why}. {_HELP}")

    def eat(self, *phrases: str) -> str | None:
        """Take the longest of these phrases that comes next."""
        for phrase in sorted(phrases, key=lambda p: -len(p.split())):
            parts = phrase.split()
            if self.words[self.at : self.at + len(parts)] == parts:
                self.at += len(parts)
                return phrase
        return None

    def one_of(self, table: Mapping[str, tuple[str, ...]]) -> str | None:
        found = self.eat(*(p for forms in table.values() for p in forms))
        return next((k for k, forms in table.items() if found in forms), None) if found else None

    def done(self) -> bool:
        return self.at >= len(self.words)

    def thing(self) -> dict[str, int]:
        """One noun phrase: article, adjectives, noun, and "that is ..."."""
        got: dict[str, int] = {}
        while self.eat("a", "an", "one", "the", "一个", "一", "个"):
            pass
        noun = False
        while not self.done() and not noun:
            self.eat("的")
            kind, value = _MEANING.get("" if self.done() else self.words[self.at], (None, 0))
            if kind is None:
                break
            self.at += 1
            noun = kind in ("shape", "any")
            if kind != "any":
                self._set(got, str(kind), value)
        if not noun:
            raise self.fail("expected a thing, such as 'red circle' or 'shape'")
        if self.eat("that is", "which is"):
            while True:
                kind, value = _MEANING.get("" if self.done() else self.words[self.at], (None, 0))
                if kind not in ("colour", "size"):
                    raise self.fail("expected a colour or a size after 'that is'")
                self.at += 1
                self._set(got, str(kind), value)
                following = self.words[self.at + 1] if self.at + 1 < len(self.words) else ""
                if not (_MEANING.get(following, ("", 0))[0] in ("colour", "size") and self.eat("and")):
                    break
        return got

    def _set(self, got: dict[str, int], kind: str, value: int) -> None:
        if got.get(kind, value) != value:
            raise self.fail(f"one thing cannot have two {kind}s")
        got[kind] = value

    def read(self) -> Statement:
        result = self.chinese_caption() if self.chinese else self.english_caption()
        if not self.done():
            raise self.fail("did not expect more words here")
        return result

    def english_caption(self) -> Statement:
        self.eat("a picture of", "picture of")
        self.eat("there is", "there are")
        side = self.one_of(_EN_SIDE)
        if side:  # to the left of B is A
            b = self.thing()
            self.eat("there is", "is")
            return _two(self.thing(), side, b)
        spot = self.one_of(_EN_SPOT)
        if spot:
            self.eat("there is", "is")
            a = self.thing()
            self.eat("and")
            if self.done():
                return _one(a, spot)
            other = self.one_of(_EN_SPOT)  # on the left A and on the right B
            sides = {"top": "above", "bottom": "below"}
            side, other = sides.get(spot, spot), sides.get(other or "", other or "")
            if _OPPOSITE.get(side) != other:
                raise self.fail("expected the opposite side")
            self.eat("there is", "is")
            return _two(a, side, self.thing())
        a = self.thing()
        if self.done():
            return _one(a, None)
        if self.eat("and", "with"):
            return _two(a, None, self.thing())
        self.eat("is")
        side = self.one_of(_EN_SIDE)
        if side and not self.done():
            return _two(a, side, self.thing())
        spot = self.one_of(_EN_SPOT)
        if not spot:
            raise self.fail("expected a place or a relation, such as 'at the top' or 'left of'")
        return _one(a, spot)

    def chinese_caption(self) -> Statement:
        self.eat("有")
        side = self.one_of(_ZH_SPOT)
        if side:
            self.eat("是", "有")
            a = self.thing()
            if self.done():
                return _one(a, side)
            other = self.one_of(_ZH_SPOT)
            sides = {"top": "above", "bottom": "below"}
            side, other = sides.get(side, side), sides.get(other or "", other or "")
            if _OPPOSITE.get(side) != other:
                raise self.fail("expected the opposite side")
            self.eat("是", "有")
            return _two(a, side, self.thing())
        a = self.thing()
        if self.done():
            return _one(a, None)
        if self.eat("和"):
            return _two(a, None, self.thing())
        self.eat("的")
        side = self.one_of(_ZH_SIDE)
        if side:  # B 的左边是 A
            if not self.eat("是", "有"):
                raise self.fail("expected 是")
            return _two(self.thing(), side, a)
        if not self.eat("在", "位于"):
            raise self.fail("expected 在, 和 or the end")
        spot = self.one_of(_ZH_SPOT)
        if spot:
            return _one(a, spot)
        b = self.thing()
        self.eat("的")
        side = self.one_of(_ZH_SIDE)
        if not side:
            raise self.fail("expected a side, such as 左边")
        return _two(a, side, b)


_WORD_SET = frozenset(WORDS)


def _one(a: dict[str, int], spot: str | None) -> Statement:
    layout = LAYOUTS.index(spot) if spot else OPEN
    return Statement(1, a.get("shape", OPEN), a.get("colour", OPEN), a.get("size", OPEN), layout=layout)


def _two(a: dict[str, int], side: str | None, b: dict[str, int]) -> Statement:
    """A stands on this side of B; the left or upper one becomes thing A of the statement."""
    if side in ("right", "below"):
        a, b = b, a
    layout = OPEN if side is None else BESIDE if side in ("left", "right") else STACKED
    row = [x.get(k, OPEN) for x in (a, b) for k in ("shape", "colour", "size")]
    return Statement(*[2, *row, layout])


def parse(caption: str) -> Statement:
    """What a caption of the grammar states. ``parse(say(s, language, rng)) == s``.

    Raises ``CaptionError`` (a ``ValueError``) that names the word or the place where reading stopped.
    """
    return _Reader(caption).read()


def statements(captions: Sequence[str]) -> Tensor:
    """``parse`` for a list of captions: int64 (B, 8)."""
    return torch.tensor([list(parse(c)) for c in captions], dtype=torch.int64).view(-1, 8)


def captions(statements: Tensor, rng: random.Random, *, languages: Sequence[str] = ("en", "zh")) -> list[str]:
    """One caption for each statement (B, 8), in a language drawn at random from ``languages``."""
    return [say(row, rng.choice(list(languages)), rng) for row in statements.tolist()]
