"""The table of games against torch's own losses and closed forms."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import logsigmoid, mse_loss

from mmcourse import losses


@pytest.fixture
def logits(rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(64, 1, generator=rng) * 3, torch.randn(64, 1, generator=rng) * 3


def test_bce_games_are_torchs(logits: tuple[torch.Tensor, torch.Tensor]) -> None:
    real, fake = logits
    expected = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
    for name in ("minimax", "non_saturating"):
        torch.testing.assert_close(losses.GAMES[name].d(real, fake), expected)
    torch.testing.assert_close(losses.GAMES["non_saturating"].g(real, fake), bce(fake, torch.ones_like(fake)))
    torch.testing.assert_close(losses.GAMES["minimax"].g(real, fake), logsigmoid(-fake).mean())


def test_other_games_are_what_their_papers_say(logits: tuple[torch.Tensor, torch.Tensor]) -> None:
    real, fake = logits
    G = losses.GAMES
    torch.testing.assert_close(
        G["hinge"].d(real, fake), (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
    )
    square = 0.5 * mse_loss(real, torch.ones_like(real)) + 0.5 * mse_loss(fake, torch.zeros_like(fake))
    torch.testing.assert_close(G["least_squares"].d(real, fake), square)
    torch.testing.assert_close(G["least_squares"].g(real, fake), 0.5 * mse_loss(fake, torch.ones_like(fake)))
    torch.testing.assert_close(G["wasserstein"].d(real, fake), fake.mean() - real.mean())
    torch.testing.assert_close(G["relativistic"].d(real, fake), -logsigmoid(real - fake).mean())
    torch.testing.assert_close(G["relativistic"].g(real, fake), -logsigmoid(fake - real).mean())


@pytest.mark.parametrize("name", sorted(losses.GAMES))
def test_a_descent_step_moves_the_right_way(name: str) -> None:
    """D must want real up and fake down; G must want fake up. A sign error in any loss fails here."""
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    up, down = torch.autograd.grad(losses.GAMES[name].d(real, fake), [real, fake])
    assert (up < 0).all() and (down >= 0).all() and (name == "least_squares" or (down > 0).all())
    (g,) = torch.autograd.grad(losses.GAMES[name].g(real, fake), fake)
    assert (g < 0).all()


@pytest.mark.parametrize("name", sorted(losses.GAMES))
def test_losses_stay_finite_for_huge_logits(name: str) -> None:
    for size in (1e4, -1e4):
        real, fake = torch.tensor([size], requires_grad=True), torch.tensor([-size], requires_grad=True)
        for loss in losses.GAMES[name]:
            value = loss(real, fake)
            grads = torch.autograd.grad(value, [real, fake], allow_unused=True)
            assert torch.isfinite(value) and all(torch.isfinite(g).all() for g in grads if g is not None)


def test_saturation_ratio() -> None:
    """At D(fake) = .01 the non-saturating gradient is 99 times the saturating one."""
    fake = torch.logit(torch.tensor([0.01])).requires_grad_(True)
    strong, weak = (
        torch.autograd.grad(losses.GAMES[n].g(fake, fake), fake)[0].abs() for n in ("non_saturating", "minimax")
    )
    assert (strong / weak).item() == pytest.approx(99, rel=1e-4)


def test_r1_of_a_linear_discriminator(rng: torch.Generator) -> None:
    w = torch.randn(3, 4, 4, generator=rng, requires_grad=True)

    def D(x: torch.Tensor) -> torch.Tensor:
        return (x * w).sum((1, 2, 3))

    for n in (1, 5):
        x = torch.randn(n, 3, 4, 4, generator=rng)
        torch.testing.assert_close(losses.r1(D, x, gamma=0.7), 0.35 * w.pow(2).sum())
        torch.testing.assert_close(losses.r2(D, x, gamma=0.7), 0.35 * w.pow(2).sum())
    (slope,) = torch.autograd.grad(losses.r1(D, x, gamma=2.0), w)
    torch.testing.assert_close(slope, 2 * w)  # the penalty's gradient reaches D


def test_wgan_gp_of_a_linear_discriminator(rng: torch.Generator) -> None:
    w = torch.randn(3, 4, 4, generator=rng)
    real, fake = torch.randn(6, 3, 4, 4, generator=rng), torch.randn(6, 3, 4, 4, generator=rng)
    got = losses.wgan_gp(lambda x: (x * w).sum((1, 2, 3)), real, fake, weight=10, generator=rng)
    torch.testing.assert_close(got, 10 * (w.norm() - 1) ** 2)
    with pytest.raises(ValueError, match="one shape"):
        losses.wgan_gp(lambda x: x.sum(), real, fake[:3])


def test_wgan_gp_draws_one_epsilon_a_sample(rng: torch.Generator) -> None:
    """Between a picture of zeros and one of ones, every pixel of a sample must have one and the same value."""
    seen = []

    def D(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.detach().clone())
        return x.sum((1, 2, 3))

    losses.wgan_gp(D, torch.zeros(8, 1, 4, 4), torch.ones(8, 1, 4, 4), generator=rng)
    flat = seen[0].flatten(1)
    assert (flat == flat[:, :1]).all() and len(flat[:, 0].unique()) == 8


def test_unknown_game_is_named() -> None:
    with pytest.raises(ValueError, match="relativistic.*'wgan'"):
        losses.game("wgan")
