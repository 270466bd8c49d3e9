"""Is it the picture that was asked for? Retrieval, copies and ties of pictures with captions of their own (lesson 14).

Where no grammar says what a caption states, a drawn picture is right if the true one is the nearest of all real ones,
for a ``Finder`` that no loss has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mmcourse.checks import expect_shape
from mmcourse.distances import frechet, nearest
from mmcourse.finder import Finder, disturb
from mmcourse.metrics import wilson

MANY = 500  # pictures that a Frechet distance needs, half of them on each side
Draw = Callable[[Sequence[str], torch.Generator], Tensor]


def found_at(vectors: Tensor, shelf: Tensor, rows: Tensor, same: Tensor, *, k: int = 5) -> dict[str, float]:
    """How often drawn pictures find their true one: unit vectors (B, F) of what was drawn, (N, F) of all real pictures,
    and the true ones' numbers (B,).

    ``same`` (N,) numbers groups of real pictures that are equal, pixel for pixel; any of the group is right. Gives the
    shares ``r1`` and ``r5`` (for k = 5), the interval of the first, and ``n``.
    """
    n = expect_shape(vectors, f"B {shelf.shape[1]}", name="vectors")["B"]
    if len(rows) != n or len(same) != len(shelf):
        raise ValueError(
            f"found_at: got {n} vectors for {len(rows)} true pictures, {len(same)} groups of {len(shelf)}."
        )
    firsts = torch.unique(same, return_inverse=True)[1]  # (N,) groups from 0
    best = torch.full((n, int(firsts.max()) + 1), -2.0)
    best.scatter_reduce_(1, firsts.expand(n, -1), vectors @ shelf.T, "amax")  # each group by its nearest picture
    top = best.topk(min(k, best.shape[1]), dim=1).indices
    right = top == firsts[rows][:, None]
    hits = int(right[:, 0].sum())
    low, high = wilson(hits, n)
    return {"r1": hits / n, "low": low, "high": high, f"r{k}": int(right.any(1).sum()) / n, "n": n}


def copy_limit(finder: Finder, pictures: Tensor, *, seed: int = 0) -> float:
    """How far a picture (N, 3, 32, 32) lies from itself after a mild change, at most: 95 % lie nearer. What a generator
    draws within this distance of a training picture counts as a near-copy."""
    g = torch.Generator().manual_seed(seed)
    moved = finder.vectors(disturb(pictures, g, strength=0.3))
    return float((moved - finder.vectors(pictures)).norm(dim=1).quantile(0.95))


def near_copies(vectors: Tensor, train: Tensor, limit: float) -> dict[str, Any]:
    """The share of drawn pictures (B, F) within ``limit`` of one of the training pictures (M, F), and how many."""
    away, _ = nearest(vectors, train)
    hits = int((away <= limit).sum())
    low, high = wilson(hits, len(away))
    return {"share": hits / len(away), "low": low, "high": high, "n": len(away), "limit": limit}


def measure_pairs(
    draw: Draw,
    blank: Draw,
    untrained: Draw,
    finder: Finder,
    pictures: Tensor,
    names: dict[str, Sequence[str]],
    held_out: Tensor,
    same: Tensor,
    *,
    n: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures of a model on captioned pictures (N, 3, 32, 32), by split and language.

    ``draw(captions, g)`` is the model, ``blank`` the same without its text, ``untrained`` the same before training.
    ``ceiling`` is the true pictures themselves, mildly disturbed. ``names`` gives each picture's caption by language.
    Near-copies are counted among the held-out compositions too: there a training picture is always the wrong one.
    ``frechet`` lays the drawings of every second name beside the real pictures of the others, and ``frechet_floor`` the
    real pictures in their place, where a split has at least ``MANY``; the two halves share no name.
    """
    g = torch.Generator().manual_seed(seed)
    shelf = finder.vectors(pictures)
    seen = (~held_out).nonzero()[:, 0]
    splits = {"seen": seen[torch.randperm(len(seen), generator=g)[:n]], "held_out": held_out.nonzero()[:, 0]}
    limit = copy_limit(finder, pictures, seed=seed)
    table: dict[str, Any] = {"copy_limit": limit}
    for split, rows in splits.items():
        if not len(rows):
            continue
        true = finder.vectors(disturb(pictures[rows], torch.Generator().manual_seed(seed), strength=0.3))
        row: dict[str, Any] = {"ceiling": found_at(true, shelf, rows, same)}
        for language, captions in names.items():
            asked = [captions[i] for i in rows.tolist()]
            for kind, one in (("model", draw), ("no_text", blank), ("untrained", untrained)):
                drawn = one(asked, torch.Generator().manual_seed(seed + 1))
                vectors = finder.vectors(drawn)
                told: dict[str, Any] = dict(found_at(vectors, shelf, rows, same))
                if kind == "model":
                    told |= {"near_copies": near_copies(vectors, shelf[seen], limit)}
                    if len(rows) >= MANY:
                        told["frechet"] = frechet(vectors[::2], shelf[rows[1::2]])
                row.setdefault(language, {})[kind] = told
        if len(rows) >= MANY:
            row["frechet_floor"] = frechet(shelf[rows[::2]], shelf[rows[1::2]])
        table[split] = row
    return table
