"""Lesson 14: the answers of its assignment against torch, numpy, scipy, scikit-learn, closed forms and the library."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from scipy import spatial, stats
from sklearn.metrics import top_k_accuracy_score
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse import augment, losses, retrieval, world
from mmcourse.course import exercise as e
from mmcourse.subwords import END, Subwords, split_runs


@functools.cache
def reference(item: str) -> Callable[..., Any]:
    whole = e.load_assignment("14_your_own_data", ROOT)
    return e.reference(whole, whole.item(item))


# ---- merge_once


def test_merges_one_after_another_are_those_that_the_library_learns(rng: torch.Generator) -> None:
    captions = world.captions(world.sample_labels(80, rng), random.Random(3))
    captions += ["aaaaaa aaa aaaa", "banana bananas ananas", "a"] * 2
    runs = Counter(run for caption in captions for run in split_runs(caption) if run.isascii() and run.isalpha())
    learned = Subwords.learn([run for run, times in runs.items() for _ in range(times)], size=140).merges
    assert len(learned) > 40
    words = {(*run[:-1], run[-1] + END): times for run, times in runs.items()}
    for want in learned:
        pair, words = reference("merge_once")(words)
        assert pair == want
    assert {"".join(word).removesuffix(END): times for word, times in words.items()} == runs


def test_the_first_merges_of_the_papers_words() -> None:
    """Sennrich, Haddow and Birch's listing: low 5, lower 2, newest 6, widest 3."""
    words = {(*word, "·"): times for word, times in (("low", 5), ("lower", 2), ("newest", 6), ("widest", 3))}
    found = []
    for _ in range(5):
        pair, words = reference("merge_once")(words)
        found.append(" ".join(pair))
    assert found == ["e s", "es t", "est ·", "l o", "lo w"]
    assert words[("n", "e", "w", "est·")] == 6 and words[("low", "e", "r", "·")] == 2


def test_a_merge_changes_no_spelling_and_takes_away_one_piece_a_place() -> None:
    r = random.Random(0)
    for _ in range(100):
        spelt = {"".join(r.choices("abc", k=r.randint(1, 7))): r.randint(1, 5) for _ in range(8)}
        words = {tuple(word): times for word, times in [*spelt.items(), ("ab", 1)]}
        (left, right), merged = reference("merge_once")(words)
        assert [("".join(w), n) for w, n in merged.items()] == [("".join(w), n) for w, n in words.items()]
        for before, after in zip(words, merged, strict=True):
            assert len(before) - len(after) == "".join(before).count(left + right)  # counted apart, from the left
            assert (left, right) not in itertools.pairwise(after)
        assert reference("merge_once")(dict(reversed(words.items())))[0] == (left, right)  # no order decides


# ---- augment_both


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 16, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)[:, 0]


@pytest.fixture
def D() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Small().double()


def coloured(x: Tensor, r: Tensor) -> Tensor:
    """The library's change of colour, of each picture with a seed made of its own numbers."""
    seeds = (r[:, 0].abs() * 1e6).long().tolist()
    return torch.cat(
        [augment.colour(x[i : i + 1], torch.Generator().manual_seed(seed)) for i, seed in enumerate(seeds)]
    )


def moved(x: Tensor, r: Tensor) -> Tensor:
    seeds = (r[:, 1].abs() * 1e6).long().tolist()
    return torch.cat(
        [augment.shift(x[i : i + 1], torch.Generator().manual_seed(seed), share=0.3) for i, seed in enumerate(seeds)]
    )


def game(rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    real, fake = (2 * torch.rand(2, 5, 3, 4, 4, generator=rng) - 1).double()
    return real, fake.requires_grad_(True), torch.randn(3, 5, 2, generator=rng).double()


def test_without_a_change_it_is_the_librarys_game_and_torchs_cross_entropy(D: nn.Module, rng: torch.Generator) -> None:
    real, fake, noise = game(rng)
    loss_d, loss_g = reference("augment_both")(D, real, fake, lambda x, r: x, noise)
    d_loss, g_loss = losses.game("non_saturating")
    assert torch.allclose(loss_d, d_loss(D(real), D(fake))) and torch.allclose(loss_g, g_loss(D(real), D(fake)))
    judge, ones = nn.BCEWithLogitsLoss(), torch.ones(5).double()
    assert torch.allclose(loss_d, judge(D(real), ones) + judge(D(fake), 0 * ones))
    assert torch.allclose(loss_g, judge(D(fake), ones))


@pytest.mark.parametrize("change", [coloured, moved])
def test_the_losses_are_those_of_changed_pictures_and_their_slopes_are_differences(
    change: Callable[[Tensor, Tensor], Tensor], D: nn.Module, rng: torch.Generator
) -> None:
    real, fake, noise = game(rng)
    both = reference("augment_both")
    loss_d, loss_g = both(D, real, fake, change, noise)
    plain = both(D, change(real, noise[0]), change(fake, noise[1]), lambda x, r: x, noise)[0]
    assert torch.allclose(loss_d, plain)
    (slope,) = torch.autograd.grad(loss_g, fake, retain_graph=True)
    assert torch.autograd.grad(loss_d, fake, allow_unused=True) == (None,)
    way = torch.randn(fake.shape, generator=rng).double()
    with torch.no_grad():
        there, back = (both(D, real, fake + step * way, change, noise)[1] for step in (1e-5, -1e-5))
    assert (slope * way).sum().item() == pytest.approx((there - back).item() / 2e-5, rel=1e-5)
    assert slope.abs().sum() > 1e-3


def test_a_change_that_hides_the_picture_tells_g_nothing(D: nn.Module, rng: torch.Generator) -> None:
    real, fake, noise = game(rng)
    loss_d, loss_g = reference("augment_both")(D, real, fake, lambda x, r: 0 * x, noise)
    logit = D(torch.zeros(1, 3, 4, 4).double())
    assert torch.allclose(loss_d, F.softplus(logit) + F.softplus(-logit))
    assert torch.equal(torch.autograd.grad(loss_g, fake)[0], torch.zeros_like(fake))


# ---- found_within


def shelves(rng: torch.Generator, b: int = 60, n: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    shelf = torch.randn(n, 8, generator=rng).double()
    rows = torch.randint(n, (b,), generator=rng)
    return shelf[rows] + 1.5 * torch.randn(b, 8, generator=rng).double(), shelf, rows


def test_the_share_is_the_librarys(rng: torch.Generator) -> None:
    drawn, shelf, rows = shelves(rng)
    twice = torch.cat([shelf[:30], shelf[:10]])  # ten pictures under two names
    for real, same in (
        (shelf, torch.arange(40)),
        (twice, torch.arange(40) % 30),
        (shelf, 7 * torch.randint(9, (40,), generator=rng)),
    ):
        unit, on_shelf = F.normalize(drawn, dim=1), F.normalize(real, dim=1)
        want = retrieval.found_at(unit.float(), on_shelf.float(), rows, same, k=5)
        for k, name in ((1, "r1"), (5, "r5")):
            got = reference("found_within")(3 * drawn, real, rows, same, k).double().mean()
            assert got.item() == pytest.approx(want[name], abs=1e-9)
            assert 0.1 < want[name] < 1


def test_where_all_pictures_differ_it_is_scikit_learns_top_k(rng: torch.Generator) -> None:
    drawn, shelf, rows = shelves(rng)
    cosine = 1 - spatial.distance.cdist(drawn.numpy(), shelf.numpy(), metric="cosine")
    for k in (1, 2, 5, 20, 50):
        got = reference("found_within")(drawn, shelf, rows, torch.arange(40) + 100, k)
        if k < 40:
            want = top_k_accuracy_score(rows.numpy(), cosine, k=k, labels=np.arange(40))
            assert got.double().mean().item() == pytest.approx(want)
        else:
            assert got.all()


def test_another_copy_of_a_picture_takes_no_place(rng: torch.Generator) -> None:
    """A shelf on which pictures lie once, and one on which they lie one to five times, in any order and length."""
    drawn, shelf, rows = shelves(rng)
    more = torch.cat([torch.arange(40), torch.randint(40, (70,), generator=rng)])
    more = more[torch.randperm(110, generator=rng)]
    many = shelf[more] * (0.1 + torch.rand(110, 1, generator=rng).double())
    at = torch.stack([(more == row).nonzero()[0, 0] for row in rows])
    for k in (1, 4):
        want = reference("found_within")(drawn, shelf, rows, torch.arange(40), k)
        assert torch.equal(reference("found_within")(drawn, many, at, more - 11, k), want)
        assert 0 < want.sum() < 60


# ---- near_copies


def test_the_limit_is_numpys_quantile_and_the_nearest_scipys(rng: torch.Generator) -> None:
    train = torch.randn(50, 6, generator=rng).double()
    changed = train + 0.6 * torch.randn(50, 6, generator=rng).double()
    drawn = torch.randn(80, 6, generator=rng).double()
    tree = spatial.cKDTree(train.numpy())
    for level in (0.0, 0.33, 0.95, 1.0):
        limit, near = reference("near_copies")(drawn, train, changed, level)
        moved_by = np.linalg.norm(changed.numpy() - train.numpy(), axis=1)
        assert limit.item() == pytest.approx(np.quantile(moved_by, level))
        assert np.array_equal(near.numpy(), tree.query(drawn.numpy())[0] <= limit.item())
        want = retrieval.near_copies(drawn, train, float(limit))
        assert near.double().mean().item() == pytest.approx(want["share"])


def test_planted_copies_are_found_and_pictures_from_elsewhere_are_not(rng: torch.Generator) -> None:
    train = torch.randn(400, 32, generator=rng).double()
    changed = train + 0.1 * torch.randn(400, 32, generator=rng).double()
    again = train + 0.1 * torch.randn(400, 32, generator=rng).double()
    fresh = torch.randn(300, 32, generator=rng).double()
    copies = train[torch.randint(400, (50,), generator=rng)]
    _, near = reference("near_copies")(torch.cat([again, fresh, copies]), train, changed, 0.95)
    assert near[:400].double().mean().item() == pytest.approx(0.95, abs=0.05)
    assert not near[400:700].any() and near[700:].all()
    nothing, near = reference("near_copies")(torch.cat([fresh, copies]), train, train, 0.5)
    assert nothing == 0 and not near[:300].any() and near[300:].all()  # the limit belongs to it


# ---- detect


def test_over_all_patterns_z_has_mean_0_and_spread_1_whatever_the_picture(rng: torch.Generator) -> None:
    """All 4,096 patterns of twelve signs."""
    pictures = torch.rand(2, 3, 3, 4, generator=rng).double() * torch.tensor([1.0, 0.01])[:, None, None, None] + 0.5
    z = torch.stack(
        [
            reference("detect")(pictures, torch.tensor(signs).double().reshape(3, 4), 0.1)[0]
            for signs in itertools.product((1, -1), repeat=12)
        ]
    )
    assert z.mean(0).abs().max() < 1e-9 and (z.square().mean(0) - 1).abs().max() < 1e-9


def test_the_false_positive_rate_is_the_one_that_was_asked_for(rng: torch.Generator) -> None:
    """20,000 keys on one drawn scene without a mark, within four standard errors; the threshold is scipy's."""
    x = world.draw(world.sample_scenes(1, rng), 16).double()
    n = 20_000
    for rate in (0.2, 0.01):
        keys = 2.0 * torch.randint(2, (n, 16, 16), generator=rng).double() - 1
        threshold = reference("detect")(x, keys[0], rate)[1]
        assert threshold == pytest.approx(stats.norm.isf(rate))
        one = reference("detect")(x, keys[1], rate)[0].item()
        rest = x[0].mean(0) - x.mean()
        z = (keys * rest).sum((1, 2)) / rest.norm()
        assert z[1].item() == pytest.approx(one)
        assert (z > threshold).double().mean().item() == pytest.approx(rate, abs=4 * math.sqrt(rate / n))


def test_a_mark_adds_what_it_should_and_light_and_contrast_change_nothing(rng: torch.Generator) -> None:
    detect = reference("detect")
    pattern = 2.0 * torch.randint(2, (16, 16), generator=rng).double() - 1
    x = world.draw(world.sample_scenes(12, rng), 16).double()
    z, threshold = detect(x, pattern, 1e-4)
    assert torch.allclose(detect(0.3 * x + 0.4, pattern, 1e-4)[0], z)
    assert torch.allclose(detect(-x, pattern, 1e-4)[0], -z) and torch.allclose(detect(x, -pattern, 1e-4)[0], -z)
    marked = x + 0.15 * pattern
    spread = [(p.mean(1) - p.mean((1, 2, 3))[:, None, None]).flatten(1).norm(dim=1) for p in (x, marked)]
    want = (z * spread[0] + 0.15 * pattern.numel() * (1 - pattern.mean() ** 2)) / spread[1]
    assert torch.allclose(detect(marked, pattern, 1e-4)[0], want)
    assert (want > threshold).all() and not (z > threshold).any()
    other = 2.0 * torch.randint(2, (16, 16), generator=rng).double() - 1
    assert not (detect(marked, other, 1e-4)[0] > threshold).any()  # another key finds nothing
