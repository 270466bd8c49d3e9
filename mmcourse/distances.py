"""How far are two sets of pictures apart? Frechet distance, KID, precision and recall, coverage, copies (lesson 05).

Every measure takes features, not pictures: (N, F) of a network that no loss has seen. Each is a few lines, and is
held against an outside implementation by a test. Distances are taken number by number in double precision: the usual
shortcut through an inner product finds two equal vectors a little apart.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mmcourse.checks import expect_shape


def _two_sets(a: Tensor, b: Tensor, least: int, names: tuple[str, str] = ("a", "b")) -> None:
    sizes = expect_shape(a, "N F", name=names[0])
    expect_shape(b, f"M {sizes['F']}", name=names[1])
    if min(len(a), len(b)) < least:
        raise ValueError(f"expected at least {least} feature vectors in each set, got {len(a)} and {len(b)}.")
    for name, x in zip(names, (a, b), strict=True):
        if x.is_complex() or not bool(torch.isfinite(x).all()):
            raise ValueError(
                f"{name}: expected real, finite features, got some that are not. Did a generator diverge? Look at "
                "x.isfinite().all(1) to find the pictures."
            )


def frechet(a: Tensor, b: Tensor) -> float:
    r"""$|\mu_a-\mu_b|^2 + \mathrm{tr}(C_a + C_b - 2(C_aC_b)^{1/2})$ of features (N, F) and (M, F), as Gaussians.

    The covariances divide by N - 1. The trace of the root is taken from eigenvalues of a symmetric product, so it
    never becomes complex. Heusel et al., arXiv 1706.08500. Zero for equal sets; for samples of one source it falls
    about as 1/N, so compare only values of the same N. Raises ``ValueError`` below two vectors a set.
    """
    _two_sets(a, b, 2)
    a, b = a.double(), b.double()
    cov_a, cov_b = (torch.cov(x.T).reshape(a.shape[1], a.shape[1]) for x in (a, b))  # (F, F), also for F = 1
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T  # the square root of cov_a
    inner = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * inner)


def kid(a: Tensor, b: Tensor) -> float:
    r"""The squared maximum mean discrepancy of features (N, F) and (M, F), unbiased: it may be below 0.

    The kernel is $(x\cdot y/F + 1)^3$; a vector is never compared with itself. Binkowski et al., arXiv 1801.01401.
    Published figures are often the mean over subsets of 1,000; this is one value over all pairs.
    """
    _two_sets(a, b, 2)
    a, b, size = a.double(), b.double(), a.shape[1]

    def own(x: Tensor) -> Tensor:
        k = (x @ x.T / size + 1) ** 3
        return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))

    return float(own(a) + own(b) - 2 * ((a @ b.T / size + 1) ** 3).mean())


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1]: fakes inside the real set, reals inside the fake set, reals with a fake in their own ball."""

    precision: float
    recall: float
    coverage: float


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """Distances (N, M), exactly 0 between equal vectors."""
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist")


def precision_recall(real: Tensor, fake: Tensor, *, k: int = 5) -> PrecisionRecall:
    """Precision and recall (Kynkaanniemi et al., arXiv 1904.06991) and coverage (Naeem et al., arXiv 2002.09797).

    Each vector of ``real`` (N, F) and ``fake`` (M, F) has a ball that reaches to its k-th nearest neighbour of its own
    set. Precision: the share of fakes in any real ball. Recall: the share of reals in any fake ball. Coverage: the
    share of real balls that hold a fake. Holds three tables of N x M numbers: made for some thousands of vectors.
    Raises ``ValueError`` for k below 1 and where a set has not more than k vectors.
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}.")
    _two_sets(real, fake, k + 1, ("real", "fake"))
    across = _apart(real, fake)  # (N, M)
    real_ball = _apart(real, real).kthvalue(k + 1, dim=1).values  # the nearest is the vector itself
    fake_ball = _apart(fake, fake).kthvalue(k + 1, dim=1).values
    inside = across <= real_ball[:, None]
    return PrecisionRecall(
        precision=float(inside.any(0).double().mean()),
        recall=float((across <= fake_ball[None]).any(1).double().mean()),
        coverage=float(inside.any(1).double().mean()),
    )


def nearest(queries: Tensor, shelf: Tensor) -> tuple[Tensor, Tensor]:
    """For each query (N, F): the distance to the nearest vector on the shelf (M, F), and its number; (N,) both.

    The distance of a copy is exactly 0.
    """
    _two_sets(queries, shelf, 1, ("queries", "shelf"))
    queries, shelf = (x if x.is_floating_point() else x.float() for x in (queries, shelf))
    which = torch.cat([torch.cdist(part, shelf).argmin(1) for part in queries.split(500)])
    return (queries - shelf[which]).norm(dim=1), which


class Audit(NamedTuple):
    """For each fake the number of its nearest training vector, and how much nearer that is than any held-out one."""

    which: Tensor
    ratio: Tensor


def audit(fake: Tensor, train: Tensor, held: Tensor) -> Audit:
    """Nearest-neighbour audit: ``which`` (N,) of ``train`` (M, F) is nearest to each ``fake`` (N, F), and ``ratio``.

    The ratio is the distance to the nearest training vector over that to the nearest of ``held``, real vectors (M, F)
    that no training saw: about 1 for a fresh picture, 0 for a copy. Raises ``ValueError`` unless both shelves have M
    vectors: on a longer shelf the nearest is nearer.
    """
    if len(train) != len(held):
        raise ValueError(
            f"audit: expected shelves of one length, got {len(train)} training and {len(held)} held-out vectors. "
            "Cut the longer one."
        )
    away, which = nearest(fake, train)
    return Audit(which, away / nearest(fake, held)[0].clamp(min=1e-12))


def bootstrap_ci(
    values: Tensor, g: torch.Generator, *, other: Tensor | None = None, rounds: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """An interval for the mean of ``values`` (N,), or for the difference of two means: ``values`` less ``other`` (M,).

    Each round draws N of the N values, with replacement, and takes their mean; the interval lies between the
    quantiles (1 - level) / 2 and (1 + level) / 2 of these means (Efron, 1979). Two sets are drawn independently. It
    is for means: a resampled set holds values twice, and a distance between sets would feel that. Raises
    ``ValueError`` below two values, and for a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a share between 0 and 1, got {level}.")
    if rounds < 1:
        raise ValueError(f"rounds: expected at least 1, got {rounds}.")

    def means(x: Tensor, name: str) -> Tensor:
        if (n := expect_shape(x, "N", name=name)["N"]) < 2:
            raise ValueError(f"{name}: expected at least two values, got {n}.")
        return x.double()[torch.randint(n, (rounds, n), generator=g)].mean(1)  # (rounds,)

    drawn = means(values, "values")
    if other is not None:
        drawn = drawn - means(other, "other")
    low, high = drawn.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)).tolist()
    return low, high
