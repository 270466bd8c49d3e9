"""Measures of repairs against scikit-image, closed forms and stand-ins that repair perfectly, or not at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from sklearn.linear_model import RidgeClassifier
from torch import Tensor, nn

from mmcourse import checkpoint, inpainting, masks, metrics, pictures, world
from mmcourse.classical import METHODS, repair
from mmcourse.judge import Judge
from mmcourse.masks import compose


class Stand(nn.Module):
    """A stand-in for an inpainter. ``measure_*`` hand it the whole picture, so that it can return the truth."""

    def __init__(self, how: str = "truth"):
        super().__init__()
        self.one, self.hparams, self.how = nn.Parameter(torch.zeros(1)), {"z": 2}, how

    def forward(self, z: Tensor, x: Tensor, mask: Tensor, text: Tensor | None = None) -> Tensor:
        if self.how == "truth":
            return x.clone()
        if self.how == "elsewhere":  # right in the hole, and off by a hair in one known pixel of each picture
            out = x.clone()
            first = (mask[:, 0].flatten(1) == 0).long().argmax(1)
            out.flatten(2)[torch.arange(len(x)), 0, first] += 1e-6
            return out
        if self.how == "noise":
            return compose(x, z[:, :1, None, None].expand_as(x).contiguous(), mask)
        return compose(x, torch.full_like(x, 0.7), mask)


@pytest.fixture
def damaged() -> tuple[Tensor, Tensor, Tensor]:
    """Fills (4, 3, 12, 10), the truth and masks."""
    g = torch.Generator().manual_seed(2)
    truth = torch.rand(4, 3, 12, 10, generator=g) * 2 - 1
    mask = (torch.rand(4, 1, 12, 10, generator=g) < torch.tensor([0.1, 0.3, 0.6, 0.9]).view(4, 1, 1, 1)).float()
    return compose(truth, torch.rand(4, 3, 12, 10, generator=g) * 2 - 1, mask), truth, mask


# ---- decibels


def test_psnr_is_scikit_images_on_the_holes_pixels(damaged: tuple[Tensor, Tensor, Tensor]) -> None:
    x, truth, mask = damaged
    hole = mask.expand_as(x) > 0
    want = [
        peak_signal_noise_ratio(t[h].double().numpy(), y[h].double().numpy(), data_range=2)
        for y, t, h in zip(x, truth, hole, strict=True)
    ]
    got = metrics.hole_psnr(x, truth, mask)
    assert got.shape == (4,) and got.tolist() == pytest.approx(want, abs=1e-4)
    pooled = peak_signal_noise_ratio(truth[hole].double().numpy(), x[hole].double().numpy(), data_range=2)
    assert metrics.pooled_psnr(x, truth, mask) == pytest.approx(pooled, abs=1e-4)
    elsewhere = torch.where(hole, x, -truth)
    assert torch.equal(metrics.hole_psnr(elsewhere, truth, mask), got), "known pixels play no part"


def test_psnr_in_closed_form() -> None:
    truth, mask = torch.zeros(3, 3, 8, 8), masks.borders(3, size=8, keep=4)
    x = truth + mask * torch.tensor([0.2, 2.0, 0.0]).view(3, 1, 1, 1)
    assert metrics.hole_psnr(x, truth, mask).tolist() == pytest.approx([20, 0, math.inf], abs=1e-4)
    assert metrics.pooled_psnr(x, truth, mask) == pytest.approx(-10 * math.log10(4.04 / 3 / 4), abs=1e-4)
    assert metrics.pooled_psnr(truth, truth, mask) == math.inf
    mask[0, :, 1:] = 0  # a smaller hole weighs less in the pool, and alike in the mean
    few, many = 8, 48
    pooled = -10 * math.log10((few * 0.04 + many * 4 + 0) / (few + 2 * many) / 4)
    assert metrics.pooled_psnr(x, truth, mask) == pytest.approx(pooled, abs=1e-4)


def test_what_has_no_hole_cannot_be_measured(damaged: tuple[Tensor, Tensor, Tensor]) -> None:
    x, truth, mask = damaged
    mask[2] = 0
    for measure in (metrics.hole_psnr, metrics.pooled_psnr):
        with pytest.raises(ValueError, match="a picture has no hole"):
            measure(x, truth, mask)
        with pytest.raises(ValueError, match="alone"):
            measure(x, truth, mask + 0.5)
        with pytest.raises(ValueError, match="mask: expected shape"):
            measure(x, truth, mask[:1])
    with pytest.raises(ValueError, match="a picture has no hole"):
        metrics.spread_in_hole(torch.stack([x, x]), mask)


# ---- seams


def test_seams_are_a_plain_loop(damaged: tuple[Tensor, Tensor, Tensor]) -> None:
    x, truth, mask = damaged

    def jumps(picture: Tensor) -> float:
        total = 0.0
        for b in range(4):
            for i in range(12):
                for j in range(10):
                    for a, c in ((i + 1, j), (i, j + 1)):
                        if a < 12 and c < 10 and mask[b, 0, i, j] != mask[b, 0, a, c]:
                            total += float((picture[b, :, i, j] - picture[b, :, a, c]).abs().sum())
        return total

    assert metrics.seam_ratio(x, truth, mask) == pytest.approx(jumps(x) / jumps(truth), rel=1e-5)


def test_seams_in_closed_form() -> None:
    """On a slope of .1 a pixel to the right, the left half is filled."""
    truth = (0.1 * torch.arange(8.0)).expand(1, 3, 8, 8)
    mask = (torch.arange(8) < 4).float().expand(1, 1, 8, 8)
    assert metrics.seam_ratio(truth, truth, mask) == 1
    for raised, want in ((0.0, 1), (0.1, 0), (0.2, 1), (-0.1, 2), (-0.9, 10)):
        assert metrics.seam_ratio(truth + raised * mask, truth, mask) == pytest.approx(want, abs=1e-4)
    inside = truth.clone()
    inside[..., :3] = 9.0  # a jump within the hole is no seam
    assert metrics.seam_ratio(inside, truth, mask) == pytest.approx(1, abs=1e-5)
    turned, over = (t.transpose(2, 3).contiguous() for t in (truth - 0.1 * mask, truth))
    assert metrics.seam_ratio(turned, over, mask.transpose(2, 3)) == pytest.approx(2, abs=1e-4)


def test_seams_refuse_what_has_no_edge_and_no_jump(damaged: tuple[Tensor, Tensor, Tensor]) -> None:
    x, truth, mask = damaged
    for none in (0 * mask, 0 * mask + 1):
        with pytest.raises(ValueError, match="no jump at the holes' edges"):
            metrics.seam_ratio(x, truth, none)
    with pytest.raises(ValueError, match="no jump"):
        metrics.seam_ratio(x, torch.full_like(x, 0.3), mask)
    with pytest.raises(ValueError, match="alone"):
        metrics.seam_ratio(x, truth, 0.5 * mask)


# ---- spread


def test_spread_is_the_mean_over_pairs_in_the_hole(
    damaged: tuple[Tensor, Tensor, Tensor], rng: torch.Generator
) -> None:
    _, truth, mask = damaged
    fills = torch.rand(4, 4, 3, 12, 10, generator=rng)
    got = metrics.spread_in_hole(fills, mask)
    assert got.shape == (4,)
    for b in range(4):
        hole = mask[b].expand(3, 12, 10) > 0
        apart = [(fills[i, b][hole] - fills[j, b][hole]).abs().mean().item() for i, j in combinations(range(4), 2)]
        assert got[b].item() == pytest.approx(np.mean(apart), rel=1e-4)
    same = torch.stack([truth, torch.where(mask > 0, truth, -truth)])  # they differ where known alone
    assert metrics.spread_in_hole(same, mask).tolist() == [0] * 4
    two = torch.stack([truth, truth + 0.25])
    assert metrics.spread_in_hole(two, mask).tolist() == pytest.approx([0.25] * 4)


def test_spread_wants_two_fills(damaged: tuple[Tensor, Tensor, Tensor]) -> None:
    x, _, mask = damaged
    for fills in (x[None], x):
        with pytest.raises(ValueError, match="at least two fills of each hole"):
            metrics.spread_in_hole(fills, mask)


# ---- things, leaks


class Reader:
    """A judge that has read what it is told."""

    def __init__(self, labels: Tensor):
        self.labels = labels

    def read(self, pictures: Tensor) -> Tensor:
        assert len(pictures) == len(self.labels)
        return self.labels


def test_a_thing_is_right_where_what_is_stated_is_read(rng: torch.Generator) -> None:
    labels = world.sample_labels(300, rng, objects=(2,))
    which = torch.randint(2, (300,), generator=rng)
    stated = inpainting.leave_open(inpainting.thing(labels, which), 0.3, rng)
    x, reader = torch.zeros(300, 3, 32, 32), Reader(labels)
    assert metrics.thing_right(reader, x, stated, which).all()
    other = inpainting.change_one(stated, rng)
    assert torch.equal(metrics.thing_right(reader, x, other, which), other[:, 1:4] == stated[:, 1:4])
    swapped = metrics.thing_right(reader, x, stated, 1 - which)
    want = (stated[:, 1:4] == world.OPEN) | (stated[:, 1:4] == inpainting.thing(labels, 1 - which)[:, 1:4])
    assert torch.equal(swapped, want) and not want.all()
    with pytest.raises(ValueError, match="statements: expected"):
        metrics.thing_right(reader, x, stated[:, :7], which)


def test_a_planted_leak_is_found_and_noise_is_not_taken_for_one(rng: torch.Generator) -> None:
    hidden = torch.randint(6, (1600,), generator=rng)
    noise = torch.randn(1600, 4, 8, 8, generator=rng)
    within = 0
    for _ in range(5):
        found = metrics.leak_probe(torch.randn(1600, 4, 8, 8, generator=rng), hidden)
        within += found["right"] <= found["high"]
    assert within >= 4  # a 95 % interval
    leaky = noise.clone()
    leaky[:, 2, 3, 5] += 3 * (hidden == 4)  # one pixel, brighter for one class
    found = metrics.leak_probe(leaky, hidden)
    assert found["right"] > found["high"]
    told = noise + 2 * torch.nn.functional.one_hot(hidden, 8).view(1600, 1, 1, 8)
    assert metrics.leak_probe(told, hidden)["right"] > 0.95


def test_a_leak_probe_is_scikit_learns_on_unseen_halves(rng: torch.Generator) -> None:
    hidden = torch.randint(3, (101,), generator=rng)
    inputs = torch.randn(101, 2, 5, generator=rng) + hidden.view(-1, 1, 1) * 0.5
    flat, answers = inputs.view(101, 10).numpy(), hidden.numpy()
    for strength in (0.1, 100.0):
        found = metrics.leak_probe(inputs, hidden, strength=strength)
        reader = RidgeClassifier(alpha=strength).fit(flat[:50], answers[:50])
        assert found["right"] == pytest.approx(reader.score(flat[50:], answers[50:]))
        most = int(np.bincount(answers[50:]).max())
        assert found["chance"] == most / 51 and found["high"] == metrics.wilson(most, 51)[1] > found["chance"]
    everywhere = torch.zeros(101, dtype=torch.long)
    everywhere[0] = 1
    assert metrics.leak_probe(inputs, everywhere)["chance"] == 1


def test_the_networks_input_leaks_no_fact_of_the_hidden_thing(rng: torch.Generator) -> None:
    """And the very same probe reads them off the whole picture."""
    scenes = world.sample_scenes(2000, rng, objects=(1,))
    x, (mask, which) = world.draw(scenes), inpainting.hide_thing(scenes, rng)
    hidden = inpainting.thing(scenes.labels, which)
    for column in (1, 2, 3):
        seen = metrics.leak_probe(inpainting.build_input(x, mask), hidden[:, column])
        assert seen["right"] <= seen["high"] + 0.02, column  # three questions, each with an interval of 95 %
        whole = metrics.leak_probe(inpainting.build_input(x, 0 * mask), hidden[:, column])
        assert whole["right"] > whole["high"] + 0.05, column


# ---- the tables


def test_holes_by_name(rng: torch.Generator) -> None:
    x, holes = metrics.holes_of("world", 40, rng)
    assert set(holes) == {"box", "stroke", "outpaint", "thing"} and x.shape == (40, 3, 32, 32)
    for name, mask in holes.items():
        masks.expect_mask(mask, x)
        if name in ("box", "stroke"):
            assert mask.mean().item() == pytest.approx(0.25, abs=0.01)
    assert torch.equal(holes["outpaint"], masks.borders(40, keep=16))
    was = torch.Generator().manual_seed(0)
    scenes = world.sample_scenes(40, was)
    assert torch.equal(x, world.draw(scenes)) and torch.equal(holes["thing"], inpainting.hide_thing(scenes, was)[0])
    x, holes = metrics.holes_of("photographs", 8, torch.Generator().manual_seed(3))
    assert set(holes) == {"box", "stroke", "outpaint"}
    assert torch.equal(x, pictures.tiles(8, torch.Generator().manual_seed(3), split="test")), "unseen in training"
    with pytest.raises(ValueError, match="source: expected one of world, photographs"):
        metrics.holes_of("photograph", 4, rng)


@pytest.mark.parametrize("source", ["world", "photographs"])
def test_a_perfect_repair_is_measured_as_one(source: str) -> None:
    table = metrics.measure_repair(Stand(), source, n=20)
    assert set(table) == {"box", "stroke", "outpaint"} | ({"thing"} if source == "world" else set())
    for row in table.values():
        assert row == {"psnr": math.inf, "psnr_each": 60.0, "seam": 1.0, "spread": 0.0, "known": 1.0, "n": 20}


def test_repairs_are_told_apart() -> None:
    flat, noisy = (metrics.measure_repair(Stand(how), n=40) for how in ("flat", "noise"))
    elsewhere = metrics.measure_repair(Stand("elsewhere"), n=40)
    for name in flat:
        assert flat[name]["spread"] == 0 < 0.5 < noisy[name]["spread"] and flat[name]["known"] == 1
        assert 60 > flat[name]["psnr"] > noisy[name]["psnr"] > -10 and noisy[name]["seam"] > flat[name]["seam"] > 0
        assert flat[name]["psnr_each"] != flat[name]["psnr"]
        assert elsewhere[name]["known"] == 0 and elsewhere[name]["psnr"] == math.inf
    assert flat == metrics.measure_repair(Stand("flat"), n=40) != metrics.measure_repair(Stand("flat"), n=40, seed=1)
    # the numbers, once by hand
    g = torch.Generator().manual_seed(90_000)
    x, holes = metrics.holes_of("world", 40, g)
    made = compose(x, torch.full_like(x, 0.7), holes["box"])
    assert flat["box"]["psnr"] == metrics.pooled_psnr(made, x, holes["box"])
    assert flat["box"]["psnr_each"] == pytest.approx(metrics.hole_psnr(made, x, holes["box"]).mean().item(), rel=1e-5)
    assert flat["box"]["seam"] == metrics.seam_ratio(made, x, holes["box"])


def test_the_classical_ways_stand_beside() -> None:
    table = metrics.measure_repair(Stand("flat"), n=4, classical=True)
    g = torch.Generator().manual_seed(90_000)
    x, holes = metrics.holes_of("world", 4, g)
    for name, row in table.items():
        for method in METHODS:
            made = repair(x, holes[name], method)
            assert row[f"{method} psnr"] == metrics.pooled_psnr(made, x, holes[name])
            assert row[f"{method} seam"] == metrics.seam_ratio(made, x, holes[name])
            assert f"{method} psnr_each" in row
        assert len(row) == 6 + 3 * len(METHODS)


SHARES = ("right", "whole", "swapped", "no_text", "truth", "shape", "colour", "size", "known", "low", "high")


def blank(captions: Sequence[str]) -> Tensor:
    return torch.zeros(len(captions), 64)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return checkpoint.load(Judge, "judge")


def test_a_perfect_guided_repair_reaches_the_ceiling(judge: Judge) -> None:
    """It returns the truth, whatever is said: all that is true of the picture is right, and a swapped fact is not."""
    table = metrics.measure_guided(Stand(), judge, blank, n=200)
    assert set(table) == {"seen", "held_out"}
    for row in table.values():
        assert set(row) == {*SHARES, "seam", "leak", "n"} and row["n"] == 200
        assert all(0 <= row[k] <= 1 for k in SHARES)
        assert row["right"] == row["whole"] == row["no_text"] == row["truth"] >= 0.98
        assert row["right"] <= min(row["shape"], row["colour"], row["size"])
        assert row["known"] == 1 and row["seam"] == 1 and row["swapped"] < 0.03
        assert (row["low"], row["high"]) == metrics.wilson(round(200 * row["right"]), 200)
        assert set(row["leak"]) == {"shape", "colour", "size"}
        for found in row["leak"].values():
            assert set(found) == {"right", "chance", "high"} and 0 <= found["right"] <= 1
            assert found["chance"] < found["high"] < 1


def test_a_repair_that_empties_the_hole_is_wrong_and_one_that_obeys_is_right(judge: Judge) -> None:
    """A stand-in that draws what its sentence says is right also where the sentence is not the truth."""

    class Obeys(Stand):
        """It paints a disc of the stated colour on the hole's middle: enough where circles of a colour are asked."""

        def forward(self, z: Tensor, x: Tensor, mask: Tensor, text: Tensor | None = None) -> Tensor:
            assert text is not None
            said = text[:, :8].long()  # the statement itself
            spoken = said[:, 0] > 0
            ys, xs = torch.meshgrid(*[(torch.arange(32) + 0.5) / 32] * 2, indexing="ij")
            centre = torch.stack([(mask[:, 0] * at).sum((1, 2)) / mask.sum((1, 2, 3)) for at in (xs, ys)], dim=1)
            ones = torch.where(spoken[:, None], said, torch.tensor([1, 0, 0, 0, -1, -1, -1, 0]))
            g = torch.Generator().manual_seed(0)
            scenes = world.place(ones.clamp(min=0).where(ones[:, :1] > 0, ones), g)
            scenes.centre[:, 0], scenes.angle[:] = centre, 0
            scenes.radius[:, 1] = 0
            scenes.background = torch.stack(
                [p[:, m[0] == 0].median(1).values / 2 + 0.5 for p, m in zip(x, mask, strict=True)]
            )
            return compose(x, torch.where(spoken[:, None, None, None], world.draw(scenes), 0 * x), mask)

    def say(captions: Sequence[str]) -> Tensor:
        said = world.statements(captions)
        return torch.cat([said, torch.zeros(len(said), 56)], dim=1)

    empty = metrics.measure_guided(Stand("flat"), judge, blank, n=150)["seen"]
    assert max(empty[k] for k in ("right", "whole", "swapped", "no_text")) < 0.2 < 0.97 < empty["truth"]
    assert empty["seam"] != 1
    table = metrics.measure_guided(Obeys(), judge, say, n=300)
    for row in table.values():
        assert row["right"] > 0.7 and row["swapped"] > 0.7 and row["no_text"] < 0.2, row
        assert row["right"] - row["truth"] <= 0


def test_guided_figures_are_the_same_for_a_seed(judge: Judge) -> None:
    one, two, other = (metrics.measure_guided(Stand("noise"), judge, blank, n=60, seed=s) for s in (0, 0, 1))
    assert one == two != other
    assert metrics.measure_guided(Stand("elsewhere"), judge, blank, n=60)["seen"]["known"] == 0


def test_guided_figures_ask_what_they_say_they_ask(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told of which pictures: of the hidden thing, of all, of a changed thing, nothing; held out or seen."""
    told: list[Tensor] = []
    shown: list[tuple[Tensor, Tensor, Tensor | None]] = []
    probed: list[Tensor] = []

    class Notes(Stand):
        def forward(self, z: Tensor, x: Tensor, mask: Tensor, text: Tensor | None = None) -> Tensor:
            shown.append((x, mask, text))
            return x.clone()

    def encode(captions: Sequence[str]) -> Tensor:
        told.append(world.statements(captions))
        return torch.full((len(captions), 64), float(len(told)))

    usual = metrics.leak_probe
    monkeypatch.setattr(metrics, "leak_probe", lambda x, hidden: probed.append(x) or usual(x, hidden))
    metrics.measure_guided(Notes(), judge, encode, n=80)
    assert len(told) == len(probed) == 6 and len(shown) == 8
    for k, held_out in enumerate((False, True)):
        thing, whole, changed = told[3 * k : 3 * k + 3]
        x, mask, _ = shown[4 * k]
        assert [float(text[0, 0]) for *_, text in shown[4 * k : 4 * k + 4]] == [3 * k + 1, 3 * k + 2, 3 * k + 3, 0]
        assert world.holds_out(whole).all() if held_out else not world.holds_out(whole).any()
        assert world.satisfied(judge.read(x), whole).float().mean() > 0.97 and (whole[:, 1:4] >= 0).all()
        assert (thing[:, 0] == 1).all() and (thing[:, 1:4] >= 0).all() and (thing[:, 4:] == world.OPEN).all()
        assert ((thing != changed).sum(1) == 1).float().mean() > 0.95
        for seen in probed[3 * k : 3 * k + 3]:
            assert torch.equal(seen, inpainting.build_input(x, mask)), "the probe is shown what the network may see"
