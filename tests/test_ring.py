"""The ring and its loop against closed forms, a mixture of torch's, and a loop written with torch's own losses."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.patches import Circle
from matplotlib.quiver import Quiver
from matplotlib.text import Text
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from mmcourse import plots_ring, ring
from mmcourse.ring import Duel, Round


def mixture() -> MixtureSameFamily:
    parts = Independent(Normal(ring.centres(), ring.SPREAD), 1)
    return MixtureSameFamily(Categorical(torch.ones(ring.MODES)), parts)


def linear(weight: list[float], bias: float) -> nn.Linear:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weight]))
        layer.bias.fill_(bias)
    return layer


# ---- the points


def test_centres_lie_evenly_on_the_circle() -> None:
    c = ring.centres()
    torch.testing.assert_close(c.norm(dim=1), torch.full((8,), 2.0))
    steps = (c - c.roll(1, 0)).norm(dim=1)
    torch.testing.assert_close(steps, torch.full((8,), 4 * math.sin(math.pi / 8)))
    torch.testing.assert_close(ring.centres(3, 5.0).sum(0), torch.zeros(2), atol=1e-5, rtol=0)


def test_points_come_from_the_mixture(rng: torch.Generator) -> None:
    x = ring.ring(40_000, rng)
    which = torch.cdist(x, ring.centres()).argmin(1)
    share = torch.bincount(which, minlength=8) / len(x)
    torch.testing.assert_close(share, torch.full((8,), 0.125), atol=0.006, rtol=0)
    off = x - ring.centres()[which]
    torch.testing.assert_close(off.std(0), torch.full((2,), 0.1), atol=0.002, rtol=0)
    torch.testing.assert_close(off.mean(0), torch.zeros(2), atol=0.002, rtol=0)
    assert torch.equal(ring.ring(5, torch.Generator().manual_seed(3)), ring.ring(5, torch.Generator().manual_seed(3)))


def test_the_density_is_the_mixtures_and_sums_to_one(rng: torch.Generator) -> None:
    x = 3 * torch.randn(500, 2, generator=rng)
    torch.testing.assert_close(ring.log_density(x), mixture().log_prob(x), rtol=1e-4, atol=1e-3)
    ticks = torch.linspace(-3, 3, 301)
    cells = torch.cartesian_prod(ticks, ticks)
    assert (ring.log_density(cells).exp().sum() * 0.02**2).item() == pytest.approx(1, abs=1e-3)
    assert torch.isfinite(ring.log_density(torch.tensor([[1e4, -1e4]]))).all()
    with pytest.raises(ValueError, match="points"):
        ring.log_density(torch.zeros(2))


def test_a_point_lies_in_a_mode_up_to_three_standard_deviations() -> None:
    c = ring.centres()[3]
    points = torch.stack([c, c + torch.tensor([0.299, 0.0]), c + torch.tensor([0.0, 0.301]), torch.zeros(2)])
    assert ring.nearest_mode(points).tolist() == [3, 3, -1, -1]
    assert ring.nearest_mode(points, near=3.1).tolist() == [3, 3, 3, -1]
    with pytest.raises(ValueError, match="points"):
        ring.nearest_mode(torch.zeros(4, 3))


def test_modes_and_good_share_count_what_they_say() -> None:
    c = ring.centres()
    points = torch.cat([c[0].repeat(97, 1), c[1:3], torch.zeros(1, 2)])  # 97 in one, one in each of two, one in none
    assert ring.modes_covered(points) == 3 and ring.modes_covered(points, least=0.02) == 1
    assert ring.good_share(points) == pytest.approx(0.99)
    lost = torch.full((5, 2), float("nan"))
    assert (ring.modes_covered(lost), ring.good_share(lost)) == (0, 0.0)


def test_a_turn_by_an_eighth_changes_no_measure(rng: torch.Generator) -> None:
    points = torch.cat([ring.ring(300, rng)[:200], 2 * torch.randn(200, 2, generator=rng)])
    a = math.pi / 4
    turn = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    turned = points @ turn.T
    assert ring.good_share(turned) == pytest.approx(ring.good_share(points), abs=0.003)
    assert ring.modes_covered(turned) == ring.modes_covered(points)
    inside = ring.nearest_mode(points) >= 0
    assert torch.equal((ring.nearest_mode(points)[inside] + 1) % 8, ring.nearest_mode(turned)[inside])


def test_real_points_are_the_ceiling(rng: torch.Generator) -> None:
    x = ring.ring(40_000, rng)
    assert ring.good_share(x) == pytest.approx(1 - math.exp(-4.5), abs=0.002)
    assert ring.modes_covered(x) == 8


# ---- the duel


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"game": "non-saturating"}, "non_saturating"),
        ({"penalty": "r3"}, "penalty"),
        ({"steps": 0}, "steps"),
        ({"batch": 2.5}, "batch"),
        ({"d_steps": True}, "d_steps"),
        ({"lr_g": -1e-3}, "lr_g"),
        ({"lr_d": float("nan")}, "lr_d"),
        ({"gamma": "1"}, "gamma"),
        ({"betas": (0.5, 1.0)}, "betas"),
    ],
)
def test_settings_that_make_no_sense_are_refused(bad: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Duel(**bad)


def test_networks_depend_on_the_seed_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (ring.networks(Duel(seed=s)) for s in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(first[0][0].weight, other[0][0].weight)
    G, D = ring.networks(Duel(z=5, width=7))
    assert G(torch.zeros(3, 5)).shape == (3, 2) and D(torch.zeros(3, 2)).shape == (3, 1)
    assert sum(p.numel() for p in D.parameters()) == 2 * 7 + 7 + 7 * 7 + 7 + 7 + 1


def test_a_duel_is_the_game_written_with_torchs_losses() -> None:
    settings = Duel(steps=3, batch=16, d_steps=2, lr_g=2e-3, lr_d=3e-3, seed=6)
    G, D = ring.networks(settings)
    opt_g, opt_d = (torch.optim.Adam(n.parameters(), lr=lr, betas=(0.5, 0.999)) for n, lr in ((G, 2e-3), (D, 3e-3)))
    g, one, zero = torch.Generator().manual_seed(6), torch.ones(16, 1), torch.zeros(16, 1)
    for now in ring.duel(settings):
        for _ in range(2):
            real = ring.ring(16, g)
            fake = G(torch.randn(16, 8, generator=g))
            loss_d = bce(D(real), one) + bce(D(fake.detach()), zero)
            D.zero_grad()
            loss_d.backward()
            opt_d.step()
        ring.ring(16, g)
        loss_g = bce(D(G(torch.randn(16, 8, generator=g))), one)
        G.zero_grad()
        loss_g.backward()
        opt_g.step()
        assert now.losses == pytest.approx({"d": loss_d.item(), "g": loss_g.item(), "penalty": 0.0}, rel=1e-5)
    assert now.number == 3
    theirs = [*now.G.parameters(), *now.D.parameters()]
    for ours, library in zip([*G.parameters(), *D.parameters()], theirs, strict=True):
        torch.testing.assert_close(ours, library)


def test_penalties_of_a_plane_are_its_slope(rng: torch.Generator) -> None:
    """For D = w.x: R1 is gamma/2 |w|^2 wherever it is taken, and the penalty of WGAN-GP (|w| - 1)^2."""
    D, real, fake = linear([3.0, 4.0], 1.0), torch.randn(6, 2, generator=rng), torch.randn(6, 2, generator=rng)
    want = {"none": 0.0, "r1": 0.3 / 2 * 25, "r1+r2": 0.3 * 25, "wgan-gp": 0.3 * (5 - 1) ** 2}
    for penalty, value in want.items():
        got = ring.penalty_of(Duel(penalty=penalty, gamma=0.3), D, real, fake, rng)
        assert got.item() == pytest.approx(value, rel=1e-5), penalty


@pytest.mark.parametrize("penalty", ["r1", "r1+r2", "wgan-gp"])
def test_a_penalty_changes_the_run(penalty: str) -> None:
    def last(**more: object) -> torch.Tensor:
        *_, now = ring.duel(Duel(steps=3, batch=16, gamma=5.0, **more))
        return now.D[0].weight

    assert not torch.allclose(last(), last(penalty=penalty))


def test_a_run_that_diverges_ends_there_and_is_in_its_log() -> None:
    broken = Duel(steps=50, batch=8, lr_d=1e30, lr_g=1e30)
    numbers = [now.number for now in ring.duel(broken)]
    assert 1 <= len(numbers) < 50 and numbers == list(range(1, len(numbers) + 1))
    log, last = ring.record(broken, every=40)
    assert [row["step"] for row in log.rows] == [last.number] == [len(numbers)]
    assert not all(map(math.isfinite, last.losses.values())) and log.rows[0]["modes"] == 0


def test_a_kept_round_does_not_move() -> None:
    run = ring.duel(Duel(steps=4, batch=16))
    first = next(run)
    kept, before = first.kept(), first.points(9)
    *_, last = run
    torch.testing.assert_close(kept.points(9), before, rtol=0, atol=0)
    assert not torch.equal(last.points(9), before) and not torch.equal(first.points(9), before)
    assert not torch.equal(kept.D[0].weight, last.D[0].weight) and kept.number == 1


def test_points_have_noise_of_their_own() -> None:
    now = next(ring.duel(Duel(steps=1, batch=8, z=3)))
    assert now.points(6).shape == (6, 2) and not now.points(6).requires_grad
    assert torch.equal(now.points(6), now.points(6)) and not torch.equal(now.points(6), now.points(6, seed=2))


# ---- logs


class Middle(nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(z), 2)


class Distance(nn.Module):
    """Above 0 outside of a radius: for radius 1 right about the ring and about the middle."""

    def __init__(self, radius: float):
        super().__init__()
        self.radius = radius

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.norm(dim=1, keepdim=True) - self.radius


def test_a_look_tells_what_d_says() -> None:
    losses = {"d": 1.0, "g": 2.0, "penalty": 0.0}
    row = ring.look(Round(7, losses, Middle(), Distance(1.0), Duel()), n=4000)
    assert (row["step"], row["g"], row["modes"], row["good"]) == (7, 2.0, 0, 0.0)
    assert (row["accuracy"], row["fake_logit"]) == (1.0, -1.0)
    assert row["real_logit"] == pytest.approx(1.0, abs=0.01)
    assert ring.look(Round(7, losses, Middle(), Distance(-1.0), Duel()))["accuracy"] == 0.5  # calls all real


def test_a_record_looks_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    log, last = ring.record(Duel(steps=5, batch=8), every=2)
    assert log.column("step") == [2, 4, 5] and last.number == 5
    assert ring.record(Duel(steps=4, batch=8), every=2)[0].column("step") == [2, 4]
    assert log.rows[-1] == ring.look(last) and log.settings["steps"] == 5
    with pytest.raises(ValueError, match="every"):
        ring.record(Duel(steps=1), every=0)
    with pytest.raises(ValueError, match="fake_logit"):
        log.column("loss")
    with pytest.raises(ValueError, match="none"):
        ring.Log({}, []).column("step")
    path = log.save(tmp_path / "run.json")
    back = ring.Log.load(path)
    assert back.rows == log.rows and Duel(**back.settings).lr_g == 5e-4


@pytest.mark.parametrize(
    "text", ["", "[1]", "{}", '{"mmcourse_run": 1}', '{"mmcourse_run": 1, "settings": {}, "rows": [3]}']
)
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    with pytest.raises(ValueError, match="no such file"):
        ring.Log.load(path)
    path.write_text(text)
    with pytest.raises(ValueError, match=r"run\.json"):
        ring.Log.load(path)


def test_a_log_is_json(tmp_path: Path) -> None:
    log, _ = ring.record(Duel(steps=1, batch=8))
    found = json.loads(log.save(tmp_path / "a.json").read_text())
    assert found["mmcourse_run"] == 1 and found["rows"][0]["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_change_is_one_field() -> None:
    cured = ring.change(ring.SICK, {"lr_d": 1e-3})
    assert cured.lr_d == 1e-3 and dataclasses.replace(cured, lr_d=ring.SICK.lr_d) == ring.SICK
    with pytest.raises(ValueError, match="lr_d"):
        ring.change(ring.SICK, {"lr": 1e-3})
    with pytest.raises(ValueError, match="lr_d"):
        ring.change(ring.SICK, {"lr_d": -1.0})


def test_the_field_of_a_plane_is_its_slope(rng: torch.Generator) -> None:
    x = torch.randn(5, 2, generator=rng)
    logits, slope = ring.field_of(linear([3.0, -4.0], 0.5), x)
    torch.testing.assert_close(logits, x @ torch.tensor([3.0, -4.0]) + 0.5)
    torch.testing.assert_close(slope, torch.tensor([3.0, -4.0]).expand(5, 2))
    assert not logits.requires_grad and not x.requires_grad
    assert ring.field_of(linear([1.0, 0.0], 0.0), [[2.0, 1.0]])[0].tolist() == [2.0]
    with pytest.raises(ValueError, match="points"):
        ring.field_of(linear([1.0, 0.0], 0.0), torch.zeros(3, 8))


# ---- figures


def words(figure: object) -> list[str]:
    return [t.get_text() for t in figure.findobj(Text) if t.get_text()]


def offsets(ax: object) -> list[np.ndarray]:
    return [np.asarray(c.get_offsets()) for c in ax.collections if isinstance(c, PathCollection)]


def test_rings_show_each_cloud_in_its_panel(rng: torch.Generator, tmp_path: Path) -> None:
    real = ring.ring(50, rng)
    clouds = {"one": torch.randn(20, 2, generator=rng) / 3, "two": torch.tensor([[5.0, 0.5], [0.0, 1.0]])}
    figure = plots_ring.rings(clouds, real=real, title="a title", path=tmp_path / "x.png")
    assert {"one", "two", "a title"} <= set(words(figure)) and len(figure.axes) == 2
    for ax in figure.axes:
        circles = [p for p in ax.patches if isinstance(p, Circle)]
        np.testing.assert_allclose([c.center for c in circles], ring.centres().numpy(), atol=1e-6)
        assert {round(c.radius, 6) for c in circles} == {0.3}
        np.testing.assert_allclose(offsets(ax)[0], real.numpy(), rtol=1e-6)
    np.testing.assert_allclose(offsets(figure.axes[0])[1], clouds["one"].numpy(), rtol=1e-6)
    inside, outside = offsets(figure.axes[1])[1:]
    assert inside.tolist() == [[0.0, 1.0]]
    np.testing.assert_allclose(outside, [[0.985 * plots_ring.REACH, 0.5]])  # moved to the edge
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_panels_keep_the_page_and_equal_axes(rng: torch.Generator) -> None:
    clouds = {str(i): torch.randn(3, 2, generator=rng) for i in range(5)}
    figure = plots_ring.rings(clouds, columns=4)
    assert figure.get_size_inches()[0] * 100 <= 800
    tops = sorted({round(ax.get_position().y0, 4) for ax in figure.axes})
    assert len(tops) == 2
    for ax in figure.axes:
        size = ax.get_position().size * figure.get_size_inches()
        assert size[0] == pytest.approx(size[1]) and ax.get_xlim() == ax.get_ylim()


def test_signs_at_the_foot_of_rings_are_those_that_were_drawn(rng: torch.Generator) -> None:
    near, far = torch.zeros(3, 2), torch.tensor([[5.0, 0.5]])
    for clouds, real, said in (
        ({"one": near}, None, ["fake", "3 standard deviations"]),
        ({"one": near}, near, ["real", "fake", "3 standard deviations"]),
        ({"one": near, "two": far}, near, ["real", "fake", "3 standard deviations", "outside, put at the edge"]),
        ({"one": near}, far, ["real", "fake", "3 standard deviations", "outside, put at the edge"]),
    ):
        figure = plots_ring.rings(clouds, real=real)
        (legend,) = figure.legends
        assert [t.get_text() for t in legend.get_texts()] == said
        figure.draw_without_rendering()
        box, lowest = legend.get_window_extent(), min(ax.get_tightbbox().y0 for ax in figure.axes)
        assert min(box.x0, box.y0) >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= lowest
        assert figure.bbox.x1 - max(ax.get_window_extent().x1 for ax in figure.axes) < 16  # no empty edge


def test_signs_of_the_field_name_a_cross_where_there_is_one() -> None:
    for columns, count in ((1, 1), (2, 2), (3, 6)):
        figure = plots_ring.field(
            {str(i): plane([1.0, 0.0], 0.0) for i in range(count)}, real=torch.tensor([[4.0, 0.0]]), columns=columns
        )
        (legend,) = figure.legends
        said = [t.get_text() for t in legend.get_texts()]
        assert said[:2] == ["real", "fake"] and said[-1] == "outside, put at the edge" and len(said) == 5
        figure.draw_without_rendering()
        assert columns == 1 or legend.get_window_extent().x1 <= figure.bbox.x1

    class Still(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return 0 * z[:, :2]

    inside = plots_ring.field({"a": Round(1, {}, Still(), linear([1.0, 0.0], 0.0), Duel(z=2))})
    assert "outside, put at the edge" not in words(inside)


def plane(weight: list[float], bias: float) -> Round:
    class Spread(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z[:, :2]

    return Round(1, {}, Spread(), linear(weight, bias), Duel(z=2))


def test_arrows_point_up_ds_slope() -> None:
    figure = plots_ring.field({"gentle": plane([0.6, 0.8], 0.0), "steep": plane([30.0, 40.0], 0.0)}, arrows=20)
    gentle, steep = figure.axes[:2]
    for ax, length in ((gentle, plots_ring.STRIDE), (steep, 2 * plots_ring.STRIDE)):  # the root of 1, and of 4 at most
        (arrows,) = [c for c in ax.collections if isinstance(c, Quiver)]
        np.testing.assert_allclose(np.hypot(arrows.U, arrows.V), length, rtol=1e-5)
        np.testing.assert_allclose(arrows.U / arrows.V, 0.75, rtol=1e-5)
        fakes = plane([1.0, 0.0], 0.0).points(20)
        inside = fakes[(fakes.abs() <= plots_ring.REACH).all(1)]
        np.testing.assert_allclose(arrows.get_offsets(), inside.numpy(), rtol=1e-5)
    assert "D's logit: fake below 0, real above" in words(figure) and "D cannot tell (logit 0)" in words(figure)


def test_one_colour_scale_and_the_line_where_d_cannot_tell() -> None:
    figure = plots_ring.field({"sure": plane([0.0, 0.0], 2.0), "unsure": plane([1.0, 0.0], -1.0)})
    sure, unsure = figure.axes[:2]
    fills = [next(c for c in ax.collections if getattr(c, "filled", False)) for ax in (sure, unsure)]
    assert fills[0].levels.tolist() == fills[1].levels.tolist() and max(fills[0].levels) == plots_ring.LIMIT
    lines = [c for c in unsure.collections if getattr(c, "filled", None) is False]
    (path,) = lines[0].get_paths()
    np.testing.assert_allclose(path.vertices[:, 0], 1.0, atol=1e-5)  # D = x - 1
    assert not [c for c in sure.collections if getattr(c, "filled", None) is False]


def test_lines_are_named_at_their_ends() -> None:
    x = torch.linspace(0, 1, 5)
    figure = plots_ring.lines(x, {"up": x, "down": 1 - x}, x_label="x", y_label="y", marks={"half": 0.5})
    assert {"up", "down", " half", "x", "y"} <= set(words(figure))
    drawn = [line.get_ydata() for line in figure.axes[0].lines[:2]]
    np.testing.assert_allclose(drawn, [x.numpy(), (1 - x).numpy()])
    assert list(figure.axes[0].lines[2].get_xdata()) == [0.5, 0.5]


def test_figures_refuse_what_they_cannot_draw() -> None:
    lost = torch.tensor([[float("inf"), 0.0]])
    for call, says in (
        (lambda: plots_ring.rings({}), "at least one cloud"),
        (lambda: plots_ring.rings({"a": torch.zeros(3)}), "a: expected 2 axes"),
        (lambda: plots_ring.rings({"a": lost}), "a: holds values that are not finite"),
        (lambda: plots_ring.rings({"a": torch.zeros(1, 2)}, real=lost), "real: holds"),
        (lambda: plots_ring.rings({"a": torch.zeros(1, 2)}, columns=0), "columns"),
        (lambda: plots_ring.field({}), "at least one round"),
        (lambda: plots_ring.field({"a": plane([1.0, 1.0], 0.0)}, arrows=0), "arrows"),
        (lambda: plots_ring.field({"a": plane([float("nan"), 1.0], 0.0)}), "a: holds"),
        (lambda: plots_ring.lines(torch.zeros(3), {}, x_label="", y_label=""), "at least one function"),
        (lambda: plots_ring.lines(torch.zeros(3), {"f": torch.zeros(4)}, x_label="", y_label=""), "f: expected"),
    ):
        with pytest.raises(ValueError, match=says):
            call()
