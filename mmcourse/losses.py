"""A table of adversarial games on logits, and gradient penalties (derived in lesson 03; used from lesson 01).

The contrastive loss that builds a shared space stands beside them (derived in lesson 08).

Every game is two functions with one signature, ``d(real, fake)`` and ``g(real, fake)``: discriminator logits
(B,) or (B, 1) go in, a scalar to be minimised comes out. Log-probabilities are written with ``softplus``,
since log(sigmoid(x)) = -softplus(-x) stays finite for every x.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

Loss = Callable[[Tensor, Tensor], Tensor]


class Game(NamedTuple):
    """A discriminator's and a generator's loss."""

    d: Loss
    g: Loss


def bce_d(real: Tensor, fake: Tensor) -> Tensor:
    r"""$E[-\log\sigma(D(x))] + E[-\log(1-\sigma(D(\hat x)))]$. Goodfellow et al., arXiv 1406.2661."""
    return softplus(-real).mean() + softplus(fake).mean()


def minimax_g(real: Tensor, fake: Tensor) -> Tensor:
    r"""$E[\log(1-\sigma(D(\hat x)))]$: the saturating loss of arXiv 1406.2661, equation 1."""
    return -softplus(fake).mean()


def non_saturating_g(real: Tensor, fake: Tensor) -> Tensor:
    r"""$E[-\log\sigma(D(\hat x))]$. arXiv 1406.2661, section 3."""
    return softplus(-fake).mean()


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    r"""$E[\max(0, 1-D(x))] + E[\max(0, 1+D(\hat x))]$. Lim and Ye, arXiv 1705.02894."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def critic_g(real: Tensor, fake: Tensor) -> Tensor:
    r"""$-E[D(\hat x)]$: the generator of the hinge and of the Wasserstein game."""
    return -fake.mean()


def least_squares_d(real: Tensor, fake: Tensor) -> Tensor:
    r"""$\frac12 E[(D(x)-1)^2] + \frac12 E[D(\hat x)^2]$. Mao et al., arXiv 1611.04076."""
    return 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean()


def least_squares_g(real: Tensor, fake: Tensor) -> Tensor:
    r"""$\frac12 E[(D(\hat x)-1)^2]$. arXiv 1611.04076."""
    return 0.5 * ((fake - 1) ** 2).mean()


def wasserstein_d(real: Tensor, fake: Tensor) -> Tensor:
    r"""$E[D(\hat x)] - E[D(x)]$. Arjovsky et al., arXiv 1701.07875; to be used with ``wgan_gp``."""
    return fake.mean() - real.mean()


def relativistic_d(real: Tensor, fake: Tensor) -> Tensor:
    r"""$E[\mathrm{softplus}(D(\hat x)-D(x))]$, pair by pair.

    Jolicoeur-Martineau, arXiv 1807.00734; Huang et al., arXiv 2501.05441.
    """
    return softplus(fake - real).mean()


def relativistic_g(real: Tensor, fake: Tensor) -> Tensor:
    r"""$E[\mathrm{softplus}(D(x)-D(\hat x))]$, pair by pair: the sign of ``relativistic_d`` turned."""
    return softplus(real - fake).mean()


GAMES: dict[str, Game] = {
    "minimax": Game(bce_d, minimax_g),
    "non_saturating": Game(bce_d, non_saturating_g),
    "hinge": Game(hinge_d, critic_g),
    "least_squares": Game(least_squares_d, least_squares_g),
    "wasserstein": Game(wasserstein_d, critic_g),
    "relativistic": Game(relativistic_d, relativistic_g),
}


def game(name: str) -> Game:
    """Look a game up. Raises ``ValueError`` that lists the names."""
    if name not in GAMES:
        raise ValueError(f"game: expected one of {', '.join(GAMES)}; got {name!r}.")
    return GAMES[name]


def gradient_penalty_at(D: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    r"""$E\|\nabla_x D(x)\|^2$ over a batch, the norm taken over all of a sample's numbers; keeps its graph.

    R1 is gamma/2 times this on real pictures, R2 on fake ones (Mescheder et al., arXiv 1801.04406).
    """
    x = x.detach().requires_grad_(True)
    (grad,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return grad.pow(2).flatten(1).sum(1).mean()


def r1(D: Callable[[Tensor], Tensor], real: Tensor, gamma: float = 1.0) -> Tensor:
    r"""$\frac\gamma2 E\|\nabla_x D(x)\|^2$ on real pictures. arXiv 1801.04406, equation 9."""
    return gamma / 2 * gradient_penalty_at(D, real)


def r2(D: Callable[[Tensor], Tensor], fake: Tensor, gamma: float = 1.0) -> Tensor:
    r"""$\frac\gamma2 E\|\nabla_x D(\hat x)\|^2$ on generated pictures. arXiv 1801.04406."""
    return gamma / 2 * gradient_penalty_at(D, fake)


def wgan_gp(
    D: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    weight: float = 10.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""$\lambda E[(\|\nabla D(\tilde x)\|-1)^2]$ between each real and fake picture, one epsilon a sample.

    Gulrajani et al., arXiv 1704.00028. ``real`` and ``fake`` must have one shape; ``generator`` draws epsilon.
    Raises ``ValueError`` on unequal shapes.
    """
    if real.shape != fake.shape:
        raise ValueError(
            f"wgan_gp: expected real and fake of one shape, got {tuple(real.shape)} and {tuple(fake.shape)}."
        )
    shape = (len(real),) + (1,) * (real.dim() - 1)
    epsilon = torch.rand(shape, generator=generator, device=real.device)
    between = torch.lerp(fake.detach(), real.detach(), epsilon).requires_grad_(True)
    (grad,) = torch.autograd.grad(D(between).sum(), between, create_graph=True)
    norm = (grad.pow(2).flatten(1).sum(1) + 1e-12).sqrt()
    return weight * ((norm - 1) ** 2).mean()


def contrastive(logits: Tensor, positive: Tensor, hard: Tensor | None = None) -> Tensor:
    r"""Symmetric InfoNCE with several positives a row.

    ``logits`` (B, B): picture i against caption j. ``positive`` (B, B) bool: caption j is true of picture i
    (its diagonal is True). ``hard`` (B, H): logits of captions that are known to be false of picture i.
    For each row, $-\log \sum_{j \in P_i} e^{l_{ij}} / \sum_j e^{l_{ij}}$, the same for columns, and the mean of
    both. Sources: van den Oord et al., arXiv 1807.03748; Radford et al., arXiv 2103.00020; several positives
    after Khosla et al., arXiv 2004.11362. Raises ``ValueError`` where a row has no positive.
    """
    if not bool(positive.any(1).all()) or not bool(positive.any(0).all()):
        raise ValueError("contrastive: every picture and every caption needs at least one positive partner.")
    hidden = logits.masked_fill(~positive, float("-inf"))
    rows = logits if hard is None else torch.cat([logits, hard], dim=1)  # (B, B + H)
    image_to_text = (rows.logsumexp(1) - hidden.logsumexp(1)).mean()
    text_to_image = (logits.logsumexp(0) - hidden.logsumexp(0)).mean()
    return (image_to_text + text_to_image) / 2
