"""Lesson 03: the answers of its assignment and its figures against torch, closed forms and finite differences."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from scipy.stats import wasserstein_distance
from torch.nn import functional as F

from mmcourse import losses, plots_losses, ring
from mmcourse.course import exercise as e
from mmcourse.plots import COLOURS, png


@functools.cache
def reference(item: str) -> Callable[..., Any]:
    return e.reference(e.load_assignment("03_losses", ROOT), e.load_assignment("03_losses", ROOT).item(item))


@pytest.fixture
def logits(rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    return 3 * torch.randn(40, 1, generator=rng), 3 * torch.randn(40, 1, generator=rng)


def linear(w: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: (x * w).flatten(1).sum(1)


# ---- the answers


@pytest.mark.parametrize("margin", [0.3, 1.0, 2.5])
def test_the_hinge_is_torchs_and_the_librarys(logits: tuple[torch.Tensor, torch.Tensor], margin: float) -> None:
    real, fake = logits
    got = reference("hinge_d")(real, fake[:17], margin)
    own = -torch.ones(())
    want = F.hinge_embedding_loss(real, own, margin) + F.hinge_embedding_loss(-fake[:17], own, margin)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(reference("hinge_d")(real, fake, 1.0), losses.hinge_d(real, fake))
    assert reference("hinge_d")(real.abs() + margin, -fake.abs() - margin, margin) == 0


def test_the_gap_of_a_shift_is_the_wasserstein_distance(rng: torch.Generator) -> None:
    """On a line, D(x) = x is the best critic of a cloud and the same cloud moved up."""
    fake = torch.randn(30, 1, generator=rng)
    real = fake[torch.randperm(30, generator=rng)] + 1.75
    loss_d, loss_g, gap = reference("critic_loss")(real, fake)
    distance = wasserstein_distance(real[:, 0].numpy(), fake[:, 0].numpy())
    assert gap == pytest.approx(distance, rel=1e-5) == pytest.approx(1.75, rel=1e-5)
    torch.testing.assert_close(loss_d, losses.GAMES["wasserstein"].d(real, fake))
    torch.testing.assert_close(loss_g, losses.GAMES["wasserstein"].g(real, fake))


def test_descent_on_a_critics_losses_moves_the_right_way() -> None:
    real, fake = torch.zeros(3, 1, requires_grad=True), torch.zeros(5, 1, requires_grad=True)
    loss_d, loss_g, _ = reference("critic_loss")(real, fake)
    up, down = torch.autograd.grad(loss_d, [real, fake])
    torch.testing.assert_close(up, torch.full((3, 1), -1 / 3))
    torch.testing.assert_close(down, torch.full((5, 1), 1 / 5))
    torch.testing.assert_close(torch.autograd.grad(loss_g, fake)[0], torch.full((5, 1), -1 / 5))


def test_a_blend_has_one_epsilon_a_sample_and_lies_between(rng: torch.Generator) -> None:
    got = reference("interpolate")(torch.ones(500, 3, 4, 4), torch.zeros(500, 3, 4, 4), rng).detach()
    flat = got.flatten(1)
    assert (flat == flat[:, :1]).all() and len(flat[:, 0].unique()) == 500
    assert flat.min() >= 0 and flat.max() <= 1 and flat.mean().item() == pytest.approx(0.5, abs=0.05)
    assert flat[:, 0].std().item() == pytest.approx(12**-0.5, abs=0.02)  # evenly, not bunched


def test_blends_and_penalty_together_are_the_librarys(rng: torch.Generator) -> None:
    real, fake = torch.randn(6, 3, 4, 4, generator=rng), torch.randn(6, 3, 4, 4, generator=rng)
    weights = torch.randn(48, 5, generator=rng)

    def D(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x.flatten(1) @ weights / 7).sum(1, keepdim=True)

    def fresh() -> torch.Generator:
        return torch.Generator().manual_seed(9)

    between = reference("interpolate")(real, fake, fresh())
    got = 10 * reference("gradient_penalty")(D, between)
    torch.testing.assert_close(got, losses.wgan_gp(D, real, fake, weight=10, generator=fresh()))
    torch.testing.assert_close(reference("r1")(D, real, fake, 0.7), losses.r1(D, real, 0.7))
    assert not torch.allclose(reference("r1")(D, real, fake, 0.7), losses.r2(D, fake, 0.7))


@pytest.mark.parametrize("shape", [(3, 4, 4), (2,), (1, 32, 32)])
def test_penalties_of_a_linear_d_have_a_closed_form(rng: torch.Generator, shape: tuple[int, ...]) -> None:
    w = torch.randn(shape, generator=rng, requires_grad=True)
    x = torch.randn(5, *shape, generator=rng)
    flat = reference("r1")(linear(w), x, -x, 0.6)
    torch.testing.assert_close(flat, 0.3 * w.pow(2).sum())
    torch.testing.assert_close(torch.autograd.grad(flat, w)[0], 0.6 * w)
    near = reference("gradient_penalty")(linear(w), x.clone().requires_grad_(True))
    torch.testing.assert_close(near, (w.norm() - 1) ** 2)
    torch.testing.assert_close(torch.autograd.grad(near, w)[0], 2 * (w.norm() - 1) * w / w.norm(), rtol=1e-4, atol=1e-6)


def test_penalties_slopes_agree_with_finite_differences(rng: torch.Generator) -> None:
    """torch's own check moves each weight a little and looks at the penalty."""
    x = torch.randn(4, 3, generator=rng, dtype=torch.float64)
    weights = torch.randn(3, 5, generator=rng, dtype=torch.float64, requires_grad=True)

    def d_of(w: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda batch: torch.tanh(batch @ w).sum(1)

    for penalty in (
        lambda w: reference("r1")(d_of(w), x, -x, 0.8),
        lambda w: reference("gradient_penalty")(d_of(w), x.clone().requires_grad_(True)),
        lambda w: losses.r2(d_of(w), x, 0.8),
    ):
        assert torch.autograd.gradcheck(penalty, (weights,))


def test_a_flat_d_has_a_penalty_of_1_and_finite_slopes() -> None:
    w = torch.zeros(4, requires_grad=True)
    penalty = reference("gradient_penalty")(linear(w), torch.ones(3, 4, requires_grad=True))
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    assert torch.isfinite(torch.autograd.grad(penalty, w)[0]).all()


def test_a_step_on_r1_alone_shrinks_a_linear_d(rng: torch.Generator) -> None:
    """The penalty's gradient reaches D: with step size h the weights become (1 - h gamma) of what they were."""
    D = torch.nn.Linear(6, 1)
    before = D.weight.detach().clone()
    step = torch.optim.SGD(D.parameters(), lr=0.25)
    reference("r1")(D, torch.randn(8, 6, generator=rng), torch.zeros(8, 6), 2.0).backward()
    step.step()
    torch.testing.assert_close(D.weight.detach(), 0.5 * before)


def test_relativistic_is_cross_entropy_of_the_differences(logits: tuple[torch.Tensor, torch.Tensor]) -> None:
    real, fake = logits
    loss_d, loss_g = reference("relativistic")(real, fake)
    one = torch.ones_like(real)
    torch.testing.assert_close(loss_d, F.binary_cross_entropy_with_logits(real - fake, one))
    torch.testing.assert_close(loss_g, F.binary_cross_entropy_with_logits(fake - real, one))
    torch.testing.assert_close(loss_d, losses.relativistic_d(real, fake))
    for loss, moved in zip((loss_d, loss_g), reference("relativistic")(real + 7, fake + 7), strict=True):
        torch.testing.assert_close(loss, moved)  # only differences count
    torch.testing.assert_close(loss_d, reference("relativistic")(fake, real)[1])  # the players change sides


@pytest.mark.parametrize("item", ["interpolate", "relativistic"])
def test_answers_refuse_unequal_shapes(item: str, rng: torch.Generator) -> None:
    more = (rng,) if item == "interpolate" else ()
    with pytest.raises(ValueError, match="expected"):
        reference(item)(torch.zeros(4), torch.zeros(4, 1), *more)


# ---- the ring


@pytest.mark.parametrize("changes", [{}, {"penalty": "r1"}], ids=["plain", "r1"])
def test_games_cover_the_ring_and_nothing_covers_it_untrained(changes: dict[str, Any]) -> None:
    duel = ring.Duel(steps=600, batch=128, seed=3, **changes)
    start = ring.networks(duel)[0](torch.randn(2000, duel.z, generator=torch.Generator().manual_seed(1))).detach()
    assert ring.modes_covered(start) <= 2
    _, last = ring.record(duel, every=600)
    assert ring.modes_covered(last.points()) >= 7


# ---- the figures


def pixels(figure: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png(figure))).convert("RGB"))


def words(figure: Any) -> list[str]:
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]


def test_slopes_of_losses_are_their_derivatives() -> None:
    x = torch.linspace(-5, 5, 11)
    value, slope = plots_losses.loss_and_slope(losses.non_saturating_g, x)
    torch.testing.assert_close(value, F.softplus(-x))
    torch.testing.assert_close(slope, -torch.sigmoid(-x))
    value, slope = plots_losses.loss_and_slope(losses.relativistic_d, x, real=2.0)
    torch.testing.assert_close(value, F.softplus(x - 2))
    torch.testing.assert_close(slope, torch.sigmoid(x - 2))


def test_the_figure_of_games_draws_every_loss_and_slope() -> None:
    figure = plots_losses.games(losses.GAMES, real=2.0, title="six")
    assert pixels(figure).shape[1] == 800 and "six" in words(figure)
    panels = np.array(figure.axes).reshape(2, 2)
    for column, who in enumerate("dg"):
        for row in range(2):
            drawn = {line.get_label(): line for line in panels[row, column].lines if line.get_label() in losses.GAMES}
            assert list(drawn) == list(losses.GAMES)
            for name, line in drawn.items():
                x = torch.as_tensor(np.asarray(line.get_xdata(), dtype=np.float32))
                want = plots_losses.loss_and_slope(getattr(losses.GAMES[name], who), x, real=2.0)[row]
                np.testing.assert_allclose(np.asarray(line.get_ydata()), want.numpy(), atol=1e-5)
    wide = {line.get_label() for line in panels[0, 1].lines if line.get_linewidth() > 4}
    assert wide == {"hinge"}  # the Wasserstein game has the same G
    with pytest.raises(ValueError, match="at least one game"):
        plots_losses.games({})
    with pytest.raises(ValueError, match="above 3"):
        plots_losses.games(losses.GAMES, reach=2.0)


def test_the_steepness_of_a_plane_is_the_length_of_its_slope() -> None:
    D = torch.nn.Linear(2, 1)
    D.weight.data = torch.tensor([[0.6, -0.8]])
    steeper = torch.nn.Linear(2, 1)
    steeper.weight.data = torch.tensor([[3.0, 0.0]])
    figure = plots_losses.steepness({"slope 1": D, "slope 3": steeper})
    shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    np.testing.assert_allclose(shown[0], 1.0, atol=1e-5)
    np.testing.assert_allclose(shown[1], 3.0, atol=1e-5)
    assert {"slope 1", "slope 3"} <= set(words(figure))
    with pytest.raises(ValueError, match="at least one D"):
        plots_losses.steepness({})
    with pytest.raises(ValueError, match="the smaller first"):
        plots_losses.steepness({"slope 1": D}, ends=(2.0, 1.0))


def test_the_steepness_is_drawn_where_it_is() -> None:
    """A D that is steep on the right only; the picture's first axis is y."""

    class Ramp(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(x[:, :1]) + 0 * x[:, 1:]

    figure = plots_losses.steepness({"ramp": Ramp()})
    image = figure.axes[0].images[0].get_array()
    assert image[:, :50].max() == 0 and image[:, 70:].min() == 1


def test_runs_by_seed_are_dots_with_their_median() -> None:
    table = {"a": [0.2, 0.5, 0.3], "b": [0.9]}
    figure = plots_losses.by_seed(table, notes={"a": "8 8 7"}, note_label="modes", floor=0.01, ceiling=0.98)
    lines = figure.axes[0].lines
    dots = [sorted(np.asarray(line.get_xdata()).tolist()) for line in lines if line.get_marker() == "o"]
    assert dots == [[0.2, 0.3, 0.5], [0.9]]
    strokes = [float(line.get_xdata()[0]) for line in lines if line.get_color() == COLOURS[1]]
    assert strokes == [0.3, 0.9]
    assert {"8 8 7", "modes", " untrained 1.0 % ", " real 98.0 % ", "a", "b"} <= set(words(figure))
    (legend,) = figure.legends
    signs = {t.get_text(): sign for t, sign in zip(legend.get_texts(), legend.legend_handles, strict=True)}
    assert [sign.get_marker() for sign in signs.values()] == ["o", "|", "None"]
    assert list(signs) == ["a seed", "median of the seeds", "from the least to the most"]
    assert signs["median of the seeds"].get_color() == COLOURS[1]


@pytest.mark.parametrize(
    ("table", "notes", "said"),
    [({}, {}, "at least one row"), ({"a": []}, {}, "one value or more"), ({"a": [1.2]}, {}, r"a: .*\[0, 1\]"),
     ({"a": [float("nan")]}, {}, r"a: .*\[0, 1\]"), ({"a": [0.5]}, {"b": "8"}, "no row b; the rows are a")],
)  # fmt: skip
def test_runs_by_seed_refuse_what_they_cannot_draw(table: dict, notes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plots_losses.by_seed(table, notes=notes)
