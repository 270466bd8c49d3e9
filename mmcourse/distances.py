"""How far are two sets of pictures apart? Frechet distance, KID, precision and recall, coverage (lesson 05).

Every measure takes features, not pictures: (N, F) of a network that no loss has seen. Each is a few lines, and is
held against an outside implementation by a test.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mmcourse.checks import expect_shape


def _two_sets(a: Tensor, b: Tensor, least: int) -> None:
    sizes = expect_shape(a, "N F", name="a")
    expect_shape(b, f"M {sizes['F']}", name="b")
    if min(len(a), len(b)) < least:
        raise ValueError(f"expected at least {least} feature vectors in each set, got {len(a)} and {len(b)}.")


def frechet(a: Tensor, b: Tensor) -> float:
    r"""$|\mu_a-\mu_b|^2 + \mathrm{tr}(C_a + C_b - 2(C_aC_b)^{1/2})$ of features (N, F) and (M, F), as Gaussians.

    The covariances divide by N - 1. The trace of the root is taken from eigenvalues of a symmetric product, so it
    never becomes complex. Heusel et al., arXiv 1706.08500. Zero for equal sets; falls with N for samples of one source.
    """
    _two_sets(a, b, 2)
    a, b = a.double(), b.double()
    values, vectors = torch.linalg.eigh(torch.cov(a.T))
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T  # the square root of C_a
    inner = torch.linalg.eigvalsh(root @ torch.cov(b.T) @ root).clamp(min=0).sqrt().sum()
    trace = a.var(0).sum() + b.var(0).sum() - 2 * inner
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + trace)


def kid(a: Tensor, b: Tensor) -> float:
    r"""The squared maximum mean discrepancy of features (N, F) and (M, F), unbiased: it may be below 0.

    The kernel is $(x\cdot y/F + 1)^3$; a vector is never compared with itself. Binkowski et al., arXiv 1801.01401.
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


def precision_recall(real: Tensor, fake: Tensor, *, k: int = 5) -> PrecisionRecall:
    """Precision and recall (Kynkaanniemi et al., arXiv 1904.06991) and coverage (Naeem et al., arXiv 2002.09797).

    Each vector of ``real`` (N, F) and ``fake`` (M, F) has a ball that reaches to its k-th nearest neighbour of its own
    set. Precision: the share of fakes in any real ball. Recall: the share of reals in any fake ball. Coverage: the
    share of real balls that hold a fake. Raises ``ValueError`` where a set has not more than k vectors.
    """
    _two_sets(real, fake, k + 1)
    across = torch.cdist(real, fake)  # (N, M)
    real_ball = torch.cdist(real, real).kthvalue(k + 1, dim=1).values  # the nearest is the vector itself
    fake_ball = torch.cdist(fake, fake).kthvalue(k + 1, dim=1).values
    inside = across <= real_ball[:, None]
    return PrecisionRecall(
        precision=float(inside.any(0).float().mean()),
        recall=float((across <= fake_ball[None]).any(1).float().mean()),
        coverage=float(inside.any(1).float().mean()),
    )


def nearest(queries: Tensor, shelf: Tensor) -> tuple[Tensor, Tensor]:
    """For each query (N, F): the distance to the nearest vector on the shelf (M, F), and its number; (N,) both."""
    _two_sets(queries, shelf, 1)
    found = [torch.cdist(part, shelf).min(1) for part in queries.split(500)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])
