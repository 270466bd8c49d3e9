"""Lesson 01: the reference answers against torch's own losses, the library's loop, Bayes' rule and a minimiser."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import ROOT
from scipy import optimize, stats
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from mmcourse import losses, ring
from mmcourse.course import exercise as e

NAME = "01_game_2d"


@functools.cache
def answer(item_id: str) -> Callable[..., Any]:
    whole = e.load_assignment(NAME, ROOT)
    return e.reference(whole, whole.item(item_id))


# ---- losses


def test_d_loss_is_torchs_cross_entropy(rng: torch.Generator) -> None:
    real, fake = 40 * torch.randn(31, 1, generator=rng), 40 * torch.randn(17, 1, generator=rng)
    want = bce(real.double(), torch.ones(31, 1).double()) + bce(fake.double(), torch.zeros(17, 1).double())
    assert answer("d_loss")(real, fake).item() == pytest.approx(want.item(), rel=1e-6)
    torch.testing.assert_close(answer("d_loss")(real, fake), losses.bce_d(real, fake))
    nothing = torch.zeros(3, 1)
    assert answer("d_loss")(nothing, nothing).item() == pytest.approx(math.log(4), rel=1e-6)


def test_d_loss_pushes_real_up_and_fake_down(rng: torch.Generator) -> None:
    real, fake = (torch.randn(6, 1, generator=rng).requires_grad_() for _ in range(2))
    up, down = torch.autograd.grad(answer("d_loss")(real, fake), [real, fake])
    torch.testing.assert_close(up, (real.sigmoid() - 1) / 6)
    torch.testing.assert_close(down, fake.sigmoid() / 6)


def test_both_losses_of_g_are_torchs_and_the_librarys(rng: torch.Generator) -> None:
    real, fake = torch.full((4, 1), float("nan")), 40 * torch.randn(17, 1, generator=rng)
    g_loss = answer("g_loss")
    torch.testing.assert_close(g_loss(real, fake, False), bce(fake, torch.ones_like(fake)))
    torch.testing.assert_close(g_loss(real, fake, True), -bce(fake, torch.zeros_like(fake)))
    torch.testing.assert_close(g_loss(real, fake, False), losses.non_saturating_g(real, fake))
    torch.testing.assert_close(g_loss(real, fake, True), losses.minimax_g(real, fake))


@pytest.mark.parametrize("chance", [0.01, 0.2, 0.5, 0.9])
def test_the_ratio_of_the_pushes_is_one_less_the_chance_over_the_chance(chance: float) -> None:
    logit = torch.logit(torch.tensor([[chance]], dtype=torch.float64)).requires_grad_(True)
    g_loss = answer("g_loss")
    slopes = [torch.autograd.grad(g_loss(logit, logit, saturating), logit)[0].item() for saturating in (False, True)]
    assert slopes[0] < 0 and slopes[1] < 0  # both push the logit up
    assert slopes[0] / slopes[1] == pytest.approx((1 - chance) / chance)
    if chance == 0.01:
        assert slopes[0] / slopes[1] == pytest.approx(99)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_losses_refuse_logits_that_are_not_finite(bad: float) -> None:
    fine, broken = torch.zeros(3, 1), torch.tensor([[0.0], [bad], [1.0]])
    for call in (
        lambda: answer("d_loss")(fine, broken),
        lambda: answer("d_loss")(broken, fine),
        lambda: answer("g_loss")(fine, broken, True),
        lambda: answer("g_loss")(fine, broken, False),
    ):
        with pytest.raises(ValueError, match="not finite"):
            call()


# ---- steps


def players(settings: ring.Duel) -> tuple[nn.Module, nn.Module, torch.optim.Optimizer, torch.optim.Optimizer]:
    G, D = ring.networks(settings)
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), lr=5e-4, betas=(0.5, 0.999)) for n in (G, D))
    return G, D, opt_g, opt_d


def flat(net: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()]).clone()


def test_the_two_steps_make_the_librarys_rounds() -> None:
    settings = ring.Duel(steps=4, batch=32, seed=3)
    four = players(settings)
    g = torch.Generator().manual_seed(3)
    for now in ring.duel(settings):
        loss_d, fake = answer("d_step")(*four, ring.ring(32, g), torch.randn(32, 8, generator=g))
        ring.ring(32, g)
        loss_g, _ = answer("g_step")(*four, fake, torch.randn(32, 8, generator=g))
        assert now.losses["d"] == pytest.approx(loss_d, rel=1e-5)
        assert now.losses["g"] == pytest.approx(loss_g, rel=1e-5)
    torch.testing.assert_close(flat(four[0]), flat(now.G))
    torch.testing.assert_close(flat(four[1]), flat(now.D))


def test_each_step_moves_one_network_and_leaves_the_other_clean(rng: torch.Generator) -> None:
    G, D, opt_g, opt_d = players(ring.Duel())
    z, real = torch.randn(20, 8, generator=rng), ring.ring(30, rng)
    before = flat(G), flat(D)
    _, fake = answer("d_step")(G, D, opt_g, opt_d, real, z)
    torch.testing.assert_close(fake, G(z).detach())
    assert not fake.requires_grad and all(p.grad is None for p in G.parameters())
    assert torch.equal(flat(G), before[0]) and not torch.equal(flat(D), before[1])
    before = flat(G), flat(D)
    _, fooled = answer("g_step")(G, D, opt_g, opt_d, fake, z)
    assert torch.equal(flat(D), before[1]) and not torch.equal(flat(G), before[0])
    assert all(p.grad is None or not p.grad.any() for p in D.parameters())
    assert 0 <= fooled <= 1 and (20 * fooled) % 1 == pytest.approx(0, abs=1e-5)


def test_each_step_lowers_its_own_loss(rng: torch.Generator) -> None:
    G, D, *_ = players(ring.Duel())
    opt_g, opt_d = (torch.optim.SGD(n.parameters(), lr=0.01) for n in (G, D))
    z, real = torch.randn(200, 8, generator=rng), ring.ring(200, rng)
    first, fake = answer("d_step")(G, D, opt_g, opt_d, real, z)
    assert answer("d_loss")(D(real), D(fake)).item() < first
    first, _ = answer("g_step")(G, D, opt_g, opt_d, fake, z)
    assert losses.non_saturating_g(D(real), D(G(z))).item() < first


# ---- the best D


def test_the_best_d_is_bayes_rule() -> None:
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    p, q = stats.norm(1, 0.8).pdf(x.numpy()), stats.norm(-0.5, 1.5).pdf(x.numpy())
    log_p, log_q = torch.as_tensor(p).log(), torch.as_tensor(q).log()
    for share in (0.1, 0.5, 0.8):
        logits, chances = answer("optimal_d")(log_p, log_q, share)
        torch.testing.assert_close(
            chances, torch.as_tensor(share * p / (share * p + (1 - share) * q)), rtol=1e-5, atol=0
        )
        torch.testing.assert_close(torch.logit(chances), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("p", "q", "share"), [(0.3, 0.1, 0.5), (0.02, 0.4, 0.9), (1.5, 1.5, 0.25)])
def test_no_other_chance_costs_less(p: float, q: float, share: float) -> None:
    def cost(d: float) -> float:
        return -share * p * math.log(d) - (1 - share) * q * math.log(1 - d)

    least = optimize.minimize_scalar(cost, bounds=(1e-9, 1 - 1e-9), method="bounded", options={"xatol": 1e-10}).x
    log_p, log_q = torch.tensor([[p], [q]], dtype=torch.float64).log()
    assert answer("optimal_d")(log_p, log_q, share)[1].item() == pytest.approx(least, rel=1e-5)


def test_at_equal_shares_the_best_d_of_the_ring_pays_less_than_log_4_by_twice_the_divergence(
    rng: torch.Generator,
) -> None:
    """Against a wide blob, by sums over a grid: the loss of the best D is log 4 less twice the Jensen-Shannon."""
    ticks = torch.linspace(-8, 8, 801, dtype=torch.float64)
    cells = torch.cartesian_prod(ticks, ticks)
    log_p = ring.log_density(cells)
    log_q = -cells.square().sum(1) / (2 * 1.5**2) - math.log(2 * math.pi * 1.5**2)
    p, q = (log.exp() * 0.02**2 for log in (log_p, log_q))
    assert p.sum().item() == pytest.approx(1, abs=1e-6) and q.sum().item() == pytest.approx(1, abs=1e-5)
    middle = torch.logaddexp(log_p, log_q) - math.log(2)
    divergence = ((p * (log_p - middle)).sum() + (q * (log_q - middle)).sum()).item() / 2
    logits, chances = answer("optimal_d")(log_p, log_q, 0.5)
    softplus = nn.functional.softplus
    loss = (p * softplus(-logits)).sum().item() + (q * softplus(logits)).sum().item()
    assert loss == pytest.approx(math.log(4) - 2 * divergence, abs=1e-5)
    other = logits + 0.3 * torch.randn(logits.shape, generator=rng, dtype=torch.float64)
    assert (p * softplus(-other)).sum().item() + (q * softplus(other)).sum().item() > loss
    assert bool(torch.isfinite(logits).all()) and bool(((chances >= 0) & (chances <= 1)).all())
