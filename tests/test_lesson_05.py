"""Lesson 05: the answers of its assignment against scipy, scikit-learn, closed forms and the library."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from conftest import ROOT
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

from mmcourse import distances
from mmcourse.course import exercise as e


@functools.cache
def reference(item: str) -> Callable[..., Any]:
    whole = e.load_assignment("05_measuring", ROOT)
    return e.reference(whole, whole.item(item))


def cloud(n: int, size: int, g: torch.Generator) -> torch.Tensor:
    """Correlated features (n, size) with a mean of their own."""
    mix = torch.randn(size, size, generator=g, dtype=torch.float64)
    middle = torch.randn(size, generator=g, dtype=torch.float64)
    return torch.randn(n, size, generator=g, dtype=torch.float64) @ mix + middle


def with_covariance(n: int, cov: torch.Tensor, mean: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Vectors whose sample mean and sample covariance are exactly these."""
    x = torch.randn(n, len(cov), generator=g, dtype=torch.float64)
    x = x - x.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(x.T)), x.T, upper=False).T
    return white @ torch.linalg.cholesky(cov).T + mean


# ---- frechet


@pytest.mark.parametrize(("n", "m", "size"), [(40, 30, 6), (200, 90, 16)])
def test_the_frechet_distance_is_scipys_and_the_librarys(n: int, m: int, size: int, rng: torch.Generator) -> None:
    a, b = cloud(n, size, rng), cloud(m, size, rng)
    ca, cb = np.cov(a.numpy(), rowvar=False), np.cov(b.numpy(), rowvar=False)
    apart = a.numpy().mean(0) - b.numpy().mean(0)
    want = apart @ apart + np.trace(ca + cb - 2 * scipy.linalg.sqrtm(ca @ cb).real)
    got = reference("frechet")(a, b)
    assert got.dtype == torch.float64 and got.shape == ()
    assert got.item() == pytest.approx(want, rel=1e-6)
    assert got.item() == pytest.approx(distances.frechet(a, b), rel=1e-6)


def test_the_frechet_distance_of_two_gaussians_has_a_closed_form(rng: torch.Generator) -> None:
    """With covariances s^2 I and C it is |shift|^2 + F s^2 + tr C - 2 s tr C^(1/2); C turns 4, 9 by an angle."""
    turn = torch.tensor([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]], dtype=torch.float64)
    cov = turn @ torch.diag(torch.tensor([4.0, 9.0], dtype=torch.float64)) @ turn.T
    shift = torch.tensor([3.0, -1.0], dtype=torch.float64)
    a = with_covariance(50, 6.25 * torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), rng)
    b = with_covariance(70, cov, shift, rng)
    want = 10 + 2 * 6.25 + 13 - 2 * 2.5 * (2 + 3)
    assert reference("frechet")(a, b).item() == pytest.approx(want, abs=1e-4)
    assert distances.frechet(a, b) == pytest.approx(want, abs=1e-4)


def test_the_frechet_distance_with_fewer_vectors_than_features(rng: torch.Generator) -> None:
    a, b = cloud(7, 20, rng), cloud(9, 20, rng)
    assert reference("frechet")(a, b).item() == pytest.approx(distances.frechet(a, b), rel=1e-5)
    assert reference("frechet")(a, a.flip(0)).item() == pytest.approx(0, abs=1e-4)
    assert reference("frechet")(3 * a, 3 * b).item() == pytest.approx(9 * reference("frechet")(a, b).item(), rel=1e-5)


# ---- kid


def test_the_kernel_distance_is_scikit_learns_kernel_and_the_librarys(rng: torch.Generator) -> None:
    a, b = cloud(30, 5, rng), cloud(21, 5, rng)
    kernel = functools.partial(polynomial_kernel, degree=3, gamma=1 / 5, coef0=1)
    off = [kernel(x.numpy())[~np.eye(len(x), dtype=bool)].mean() for x in (a, b)]
    want = sum(off) - 2 * kernel(a.numpy(), b.numpy()).mean()
    assert reference("kid")(a, b).item() == pytest.approx(want, rel=1e-9)
    assert distances.kid(a, b) == pytest.approx(want, rel=1e-9)


def test_the_kernel_distance_of_one_source_is_zero_on_average(rng: torch.Generator) -> None:
    """Few vectors and many repetitions: the mean stays within three standard errors, the biased one does not."""
    kid, found, biased = reference("kid"), [], []
    for _ in range(1500):
        a, b = (torch.randn(6, 3, generator=rng, dtype=torch.float64) for _ in range(2))
        found.append(kid(a, b).item())
        ka, kb, kab = (((x @ y.T / 3 + 1) ** 3).mean().item() for x, y in ((a, a), (b, b), (a, b)))
        biased.append(ka + kb - 2 * kab)
    error = float(np.std(found)) / math.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error < np.mean(biased) / 3
    assert min(found) < 0


# ---- precision and recall


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_are_those_of_scikit_learns_neighbours(k: int, rng: torch.Generator) -> None:
    real, fake = cloud(60, 4, rng), cloud(45, 4, rng)

    def covered(centres: torch.Tensor, points: torch.Tensor) -> float:
        reach = NearestNeighbors(n_neighbors=k).fit(centres.numpy()).kneighbors()[0][:, -1]  # leaves each itself out
        apart = np.linalg.norm(points.numpy()[:, None] - centres.numpy()[None], axis=2)
        return float((apart <= reach).any(1).mean())

    precision, recall = reference("precision_recall")(real, fake, k)
    assert precision.item() == pytest.approx(covered(real, fake)) and recall.item() == pytest.approx(
        covered(fake, real)
    )
    library = distances.precision_recall(real, fake, k=k)
    assert (precision.item(), recall.item()) == pytest.approx((library.precision, library.recall))


def test_one_good_place_is_precise_and_recalls_little(rng: torch.Generator) -> None:
    real = torch.randn(200, 2, generator=rng, dtype=torch.float64)
    one_place = 0.05 * torch.randn(200, 2, generator=rng, dtype=torch.float64)
    precision, recall = reference("precision_recall")(real, one_place, 3)
    assert precision.item() > 0.95 and recall.item() < 0.1
    precision, recall = reference("precision_recall")(one_place, real, 3)
    assert precision.item() < 0.1 and recall.item() > 0.95


# ---- the nearest training picture


def test_planted_copies_are_found(rng: torch.Generator) -> None:
    train = torch.rand(80, 1, 8, 8, generator=rng, dtype=torch.float64)
    fake = torch.rand(20, 1, 8, 8, generator=rng, dtype=torch.float64)
    originals = torch.randperm(80, generator=rng)[:5]
    fake[3:8] = train[originals]
    index, distance = reference("nearest_train")(fake, train)
    assert torch.equal(index[3:8], originals) and distance[3:8].max() < 1e-6
    rest = torch.cat([distance[:3], distance[8:]])
    assert rest.min() > 1
    found = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(train.flatten(1).numpy())
    apart, number = found.kneighbors(fake.flatten(1).numpy())
    assert np.array_equal(index.numpy(), number[:, 0])
    np.testing.assert_allclose(distance.numpy(), apart[:, 0], atol=1e-6)
    library, numbers = distances.nearest(fake.flatten(1), train.flatten(1))
    torch.testing.assert_close(distance, library, atol=1e-6, rtol=1e-6)
    assert torch.equal(index, numbers)


def test_the_distance_of_two_pictures_has_a_closed_form() -> None:
    """A picture of 1s and one of -1s with H W pixels lie 2 sqrt(H W) apart."""
    white, grey = torch.ones(1, 1, 3, 12, dtype=torch.float64), torch.zeros(1, 1, 3, 12, dtype=torch.float64)
    index, distance = reference("nearest_train")(white, -white)
    assert (index.item(), distance.item()) == (0, pytest.approx(12))
    index, distance = reference("nearest_train")(white, torch.cat([-white, grey]))
    assert (index.item(), distance.item()) == (1, pytest.approx(6))


# ---- the bootstrap


def test_the_interval_is_that_of_scipy(rng: torch.Generator) -> None:
    """Other draws, many rounds: the ends agree to a small part of the width."""
    values = torch.randn(60, generator=rng, dtype=torch.float64).exp()
    low, high = reference("bootstrap_ci")(values, 6000, 0.9, rng)
    there = scipy.stats.bootstrap(
        (values.numpy(),), np.mean, n_resamples=6000, confidence_level=0.9, method="percentile", random_state=1
    ).confidence_interval
    width = there.high - there.low
    assert abs(low.item() - there.low) < 0.06 * width and abs(high.item() - there.high) < 0.06 * width


def test_the_interval_of_two_values_is_known(rng: torch.Generator) -> None:
    """Means of two draws from {0, 1} are 0, 1/2, 1 with chances 1/4, 1/2, 1/4: the ends follow from the level."""
    ends = functools.partial(reference("bootstrap_ci"), torch.tensor([0.0, 1.0], dtype=torch.float64), 4000)
    assert [end.item() for end in ends(0.4, rng)] == [0.5, 0.5]
    assert [end.item() for end in ends(0.6, rng)] == [0.0, 1.0]


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says(rng: torch.Generator) -> None:
    held = 0
    for _ in range(300):
        values = torch.randn(50, generator=rng, dtype=torch.float64) + 3
        low, high = reference("bootstrap_ci")(values, 300, 0.8, rng)
        held += int(low.item() <= 3 <= high.item())
    assert 0.72 < held / 300 < 0.86
