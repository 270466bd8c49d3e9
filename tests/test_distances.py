"""Distances between sets of features, held against scipy, torchmetrics, closed forms and brute force."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import torch

from mmcourse import distances


def cloud(n: int, mean: float, spread: float, seed: int, size: int = 6) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=g)
    return mean + spread * torch.randn(n, size, generator=g) @ mixing


def exact(mean: list[float], spreads: list[float]) -> torch.Tensor:
    """Points whose mean and covariance are just these: two on each axis."""
    size = len(spreads)
    scale = ((2 * size - 1) / 2) ** 0.5  # two points an axis, a covariance that divides by N - 1
    axes = torch.diag(torch.tensor(spreads, dtype=torch.float64)) * scale
    return torch.tensor(mean, dtype=torch.float64) + torch.cat([axes, -axes])


def test_frechet_of_gaussians_has_its_closed_form() -> None:
    a, b = exact([0, 0, 0], [1, 2, 0.5]), exact([3, 0, -4], [2, 2, 0.1])
    assert torch.allclose(torch.cov(b.T), torch.diag(torch.tensor([4.0, 4.0, 0.01], dtype=torch.float64)))
    wanted = 9 + 16 + (1 - 2) ** 2 + 0 + (0.5 - 0.1) ** 2
    assert distances.frechet(a, b) == pytest.approx(wanted, abs=1e-9)
    assert distances.frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_is_scipys() -> None:
    a, b = cloud(300, 0.0, 1.0, 1), cloud(200, 0.5, 1.4, 2)
    x, y = np.cov(a.double().numpy().T), np.cov(b.double().numpy().T)
    root = scipy.linalg.sqrtm(x @ y).real
    wanted = float(((a.double().mean(0) - b.double().mean(0)) ** 2).sum()) + np.trace(x + y - 2 * root)
    assert distances.frechet(a, b) == pytest.approx(wanted, rel=1e-8)
    assert distances.frechet(b, a) == pytest.approx(wanted, rel=1e-8)


def test_frechet_stays_real_where_features_never_vary() -> None:
    """Fewer vectors than features: the covariances have no inverse."""
    a, b = cloud(5, 0.0, 1.0, 1, size=20), cloud(7, 1.0, 1.0, 2, size=20)
    a[:, 3] = b[:, 3] = 1.0
    assert 0 < distances.frechet(a, b) < float("inf")


def test_kid_is_the_double_sum() -> None:
    a, b = cloud(9, 0.0, 1.0, 3, size=4).double(), cloud(7, 0.4, 1.0, 4, size=4).double()

    def k(x: torch.Tensor, y: torch.Tensor) -> float:
        return (float(x @ y) / 4 + 1) ** 3

    own = [
        sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1)) for x, n in ((a, 9), (b, 7))
    ]
    across = sum(k(x, y) for x in a for y in b) / 63
    assert distances.kid(a, b) == pytest.approx(sum(own) - 2 * across, rel=1e-10)


def test_kid_of_one_source_is_zero_on_average_and_below_zero_at_times() -> None:
    found = [distances.kid(torch.randn(40, 4, generator=g), torch.randn(40, 4, generator=g)) for g in generators(40)]
    assert min(found) < 0 < max(found)
    assert abs(sum(found) / 40) < 3 * torch.tensor(found).std() / 40**0.5
    assert distances.kid(cloud(40, 0, 1, 1, 4), cloud(40, 2, 1, 1, 4)) > max(found)


def generators(n: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(n)]


@pytest.mark.filterwarnings("ignore:Metric")
def test_torchmetrics_agrees() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    class Rows(torch.nn.Module):
        """Takes the first pixels of a picture for its features."""

        num_features = 6

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, :6].float()

    pictures = [torch.rand(60, 3, 4, 4, generator=g) for g in generators(2)]
    pictures[1] = pictures[1] ** 2
    fid = FrechetInceptionDistance(feature=Rows(), normalize=True, input_img_size=(3, 4, 4))
    kid = KernelInceptionDistance(feature=Rows(), subsets=1, subset_size=60, normalize=True)
    for real, x in zip((True, False), pictures, strict=True):
        fid.update(x, real=real)
        kid.update(x, real=real)
    a, b = (x.flatten(1)[:, :6] for x in pictures)
    assert distances.frechet(a, b) == pytest.approx(float(fid.compute()), rel=1e-4)
    assert distances.kid(a, b) == pytest.approx(float(kid.compute()[0]), rel=1e-3)


def test_precision_and_recall_tell_poor_from_narrow() -> None:
    g = torch.Generator().manual_seed(0)
    real = torch.randn(400, 2, generator=g)
    narrow, wide = 0.2 * torch.randn(400, 2, generator=g), 5 * torch.randn(400, 2, generator=g)
    same = distances.precision_recall(real, torch.randn(400, 2, generator=g))
    tight, loose = distances.precision_recall(real, narrow), distances.precision_recall(real, wide)
    assert min(same) > 0.85
    assert tight.precision > 0.95 and tight.recall < 0.4 and tight.coverage < 0.4
    assert loose.precision < 0.4 and loose.recall > 0.9


def test_precision_and_recall_are_what_a_loop_says() -> None:
    real, fake = cloud(30, 0, 1, 1, 3), cloud(25, 0.6, 1, 1, 3)

    def balls(x: torch.Tensor) -> list[float]:
        return [sorted(float((a - b).norm()) for b in x)[2] for a in x]  # itself, the first, the second

    reach, spread = balls(real), balls(fake)
    inside = [[float((r - f).norm()) <= ball for f in fake] for r, ball in zip(real, reach, strict=True)]
    precision = sum(any(row[j] for row in inside) for j in range(25)) / 25
    coverage = sum(map(any, inside)) / 30
    recall = sum(any(float((r - f).norm()) <= s for f, s in zip(fake, spread, strict=True)) for r in real) / 30
    found = distances.precision_recall(real, fake, k=2)
    assert found == pytest.approx((precision, recall, coverage), abs=1e-6)
    assert precision != recall


def test_planted_copies_are_found() -> None:
    shelf, queries = torch.rand(700, 5, generator=generators(1)[0]), torch.rand(600, 5, generator=generators(2)[1])
    queries[[3, 511]] = shelf[[650, 8]]
    distance, which = distances.nearest(queries, shelf)
    assert (distance < 1e-5).nonzero().flatten().tolist() == [3, 511] and which[[3, 511]].tolist() == [650, 8]
    assert distance[0] == pytest.approx((queries[0] - shelf).norm(dim=1).min().item(), rel=1e-4)


@pytest.mark.parametrize("measure", [distances.frechet, distances.kid, distances.precision_recall])
def test_what_cannot_be_measured_is_refused(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(ValueError, match="axis 1 must be 4"):
        measure(torch.zeros(9, 4), torch.zeros(9, 5))
    with pytest.raises(ValueError, match="at least"):
        measure(torch.zeros(1, 4), torch.zeros(9, 4))
    with pytest.raises(ValueError, match="2 axes"):
        measure(torch.zeros(9, 1, 4, 4), torch.zeros(9, 1, 4, 4))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_one_feature_is_enough_for_frechet() -> None:
    a, b = torch.tensor([[-1.0], [0.0], [1.0]]), torch.tensor([[1.0], [3.0], [5.0]])  # spreads 1 and 2
    assert distances.frechet(a, b) == pytest.approx(3**2 + (2 - 1) ** 2, abs=1e-9)


def test_a_copy_is_at_distance_zero_exactly() -> None:
    shelf = 100 + torch.randn(400, 64, generator=seeded(0))
    away, which = distances.nearest(shelf[50:80], shelf)
    assert which.tolist() == list(range(50, 80)) and not away.any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("measure", [distances.frechet, distances.kid, distances.precision_recall, distances.nearest])
def test_features_that_are_not_finite_are_refused(measure: Callable[..., object], bad: float) -> None:
    x = torch.randn(9, 4, generator=seeded(0))
    y = x.clone()
    y[3, 1] = bad
    with pytest.raises(ValueError, match="finite"):
        measure(x, y)
    with pytest.raises(ValueError, match="finite"):
        measure(y, x)


@pytest.mark.parametrize("k", [0, -1])
def test_a_ball_needs_a_neighbour(k: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        distances.precision_recall(torch.zeros(9, 2), torch.zeros(9, 2), k=k)


def test_the_audit_finds_copies_and_is_fair_to_fresh_vectors() -> None:
    train, held, fake = torch.randn(3, 600, 8, generator=seeded(1)).unbind()
    fake[[4, 77]] = train[[500, 9]]
    which, ratio = distances.audit(fake, train, held)
    assert which[[4, 77]].tolist() == [500, 9] and ratio.argsort()[:2].sort().values.tolist() == [4, 77]
    assert not ratio[[4, 77]].any()
    fresh = torch.ones(600, dtype=torch.bool)
    fresh[[4, 77]] = False
    assert (ratio[fresh] < 1).double().mean() == pytest.approx(0.5, abs=0.08)
    i = 20
    wanted = (fake[i] - train).norm(dim=1).min() / (fake[i] - held).norm(dim=1).min()
    assert ratio[i] == pytest.approx(float(wanted), rel=1e-4)
    with pytest.raises(ValueError, match="one length"):
        distances.audit(fake, train, held[:500])


def test_the_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    values = torch.randn(400, generator=seeded(2)).double() + 3
    low, high = distances.bootstrap_ci(values, seeded(3), rounds=4000)
    half = 1.96 * float(values.std()) / 20
    assert (low, high) == pytest.approx((float(values.mean()) - half, float(values.mean()) + half), abs=0.01)
    narrow = distances.bootstrap_ci(values, seeded(3), rounds=4000, level=0.5)
    assert (narrow[1] - narrow[0]) / (high - low) == pytest.approx(0.6745 / 1.96, abs=0.03)


def test_two_sets_are_drawn_independently() -> None:
    """Drawn with the same rows, the difference of a set with itself would not vary at all."""
    values = torch.randn(300, generator=seeded(2))
    low, high = distances.bootstrap_ci(values, seeded(3), other=values, rounds=4000)
    half = 1.96 * float(values.std()) * (2 / 300) ** 0.5
    assert (low, high) == pytest.approx((-half, half), abs=0.02)


def test_about_95_intervals_of_100_hold_the_truth() -> None:
    g, hits = seeded(4), 0
    for _ in range(300):
        low, high = distances.bootstrap_ci((torch.rand(60, generator=g) < 0.4).double(), g, rounds=300)
        hits += low <= 0.4 <= high
    assert 0.90 <= hits / 300 <= 0.985


def test_bad_intervals_are_refused() -> None:
    x, g = torch.rand(9), seeded(0)
    for changed, words in (({"level": 1.0}, "level"), ({"level": 95}, "level"), ({"rounds": 0}, "rounds")):
        with pytest.raises(ValueError, match=words):
            distances.bootstrap_ci(x, g, **changed)
    with pytest.raises(ValueError, match="two values"):
        distances.bootstrap_ci(x[:1], g)
    with pytest.raises(ValueError, match="1 axes"):
        distances.bootstrap_ci(x[None], g)
