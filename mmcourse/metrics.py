"""How right is a picture? Caption accuracy by the independent judge, with floor, ceiling and control (lesson 05).

Every share comes with its count and a 95 % interval. Accuracy counts what a caption states, and no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mmcourse import world
from mmcourse.checks import expect_shape
from mmcourse.data import CaptionSet
from mmcourse.judge import Judge

Draw = Callable[[list[str], torch.Generator], Tensor]

#: Attributes as a reader names them, and the label columns behind each.
ATTRIBUTES = {"count": (0,), "shape": (1, 4), "colour": (2, 5), "size": (3, 6), "layout": (7,)}


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share of n trials, after E. B. Wilson (1927). Raises ``ValueError`` for n < 1."""
    if n < 1:
        raise ValueError(f"wilson: expected at least one trial, got {n}.")
    z, p = 1.959964, hits / n
    centre, width = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - width) / (1 + z * z / n), (centre + width) / (1 + z * z / n)


def caption_accuracy(judge: Judge, pictures: Tensor, statements: Tensor) -> dict[str, float]:
    """Read pictures (B, 3, 32, 32) with the judge and compare them with statements (B, 8).

    Returns ``all`` (share of pictures on which everything stated is right), its interval ``low`` and ``high``, the
    count ``n``, and for each attribute the share right among those stated (absent where no caption states it).
    """
    n = expect_shape(pictures, "B 3 H H", name="pictures")["B"]
    if n != expect_shape(statements, "B 8", name="statements")["B"]:
        raise ValueError(f"caption_accuracy: expected one statement a picture, got {n} and {len(statements)}.")
    stated, right = world.matches(judge.read(pictures), statements)
    hits = int((stated == right).all(1).sum())
    low, high = wilson(hits, n)
    out: dict[str, float] = {"all": hits / n, "low": low, "high": high, "n": n}
    for name, columns in ATTRIBUTES.items():
        total = int(stated[:, columns].sum())
        if total:
            out[name] = int(right[:, columns].sum()) / total
    return out


def right_pictures(judge: Judge, pictures: Tensor, statements: Tensor) -> Tensor:
    """For each picture (B, 3, H, H), whether all that its statement (B, 8) says is right: (B,) bool."""
    stated, right = world.matches(judge.read(pictures), statements)
    return (stated == right).all(1)


def ceiling(judge: Judge, captions: CaptionSet, *, seed: int = 0) -> dict[str, float]:
    """The same measure on real drawings of the captions' scenes: what a perfect model would get."""
    g = torch.Generator().manual_seed(seed)
    return caption_accuracy(judge, world.draw(world.place(captions.labels, g)), captions.statements)


def chance(captions: CaptionSet, *, seed: int = 0) -> dict[str, float]:
    """The same measure for real scenes that belong to other captions: the share right by luck."""
    g = torch.Generator().manual_seed(seed + 7_000_003)  # never the stream that drew the captions' own scenes
    counts = tuple(sorted(set(captions.labels[:, 0].tolist())))
    labels = world.sample_labels(len(captions), g, objects=counts)
    stated, right = world.matches(labels, captions.statements)
    hits = int((stated == right).all(1).sum())
    low, high = wilson(hits, len(captions))
    return {"all": hits / len(captions), "low": low, "high": high, "n": len(captions)}


def diversity(pictures: Tensor) -> float:
    """Mean absolute difference between pictures (B, 3, H, W) drawn from one caption, over pairs; 0 is collapse."""
    n = expect_shape(pictures, "B C H W", name="pictures")["B"]
    if n < 2:
        raise ValueError("diversity: expected at least two pictures of the same caption.")
    flat = pictures.flatten(1)
    return float(torch.nn.functional.pdist(flat, p=1).mean() / flat.shape[1])


def openness(draw: Draw, judge: Judge, *, n: int = 48, seed: int = 0) -> dict[str, float]:
    """How evenly noise decides what captions leave open: entropy over its maximum, the mean over captions.

    Every third seen pair of colour and shape is asked for n times ("a red circle"), which leaves place and size open.
    0: each caption has one place (size) that never changes; 1: all are as frequent. Pictures that the judge reads as
    two things are left out.
    """
    pairs = [(c, s) for c in world.COLOURS for s in world.SHAPES if (c, s) not in world.HELD_OUT][::3]
    asked = [f"{'an' if c == 'orange' else 'a'} {c} {s}" for c, s in pairs for _ in range(n)]
    read = judge.read(draw(asked, torch.Generator().manual_seed(seed)))
    found: dict[str, list[float]] = {"place": [], "size": []}
    for rows in read.split(n):
        rows = rows[rows[:, 0] == 1]
        for name, column, kinds in (("place", 7, 5), ("size", 3, 2)):
            share = torch.bincount(rows[:, column], minlength=kinds)[:kinds] / max(1, len(rows))
            found[name].append(float(torch.special.entr(share).sum() / math.log(kinds)))
    return {name: sum(values) / len(values) for name, values in found.items()}


def measure_text2image(
    draw: Draw, judge: Judge, sets: dict[str, CaptionSet], *, seed: int = 0, blank: Draw | None = None
) -> dict[str, dict[str, dict[str, float]]]:
    """Caption accuracy of ``draw(captions, rng)`` on named caption sets, each beside its ceiling and chance.

    ``blank`` draws without the text (the no-text control) and is measured on the same captions.
    """
    table: dict[str, dict[str, dict[str, float]]] = {}
    for name, captions in sets.items():
        row = {}
        for kind, how in (("model", draw), ("no_text", blank)):
            if how is not None:
                pictures = how(captions.captions, torch.Generator().manual_seed(seed))
                row[kind] = caption_accuracy(judge, pictures, captions.statements)
        row["ceiling"], row["chance"] = ceiling(judge, captions, seed=seed), chance(captions, seed=seed)
        table[name] = row
    return table
