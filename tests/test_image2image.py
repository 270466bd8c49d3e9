"""Image to image: pairs, networks, measures and both loops against closed forms, other libraries and facts."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from skimage.color import rgb2gray
from sklearn.metrics import roc_auc_score

from mmcourse import checkpoint, image2image, pictures
from mmcourse.image2image import PatchDiscriminator, Recipe, UNet, prepare
from mmcourse.train import Batch, Diverged, TrainConfig, play

TINY = Recipe(width=4, config=TrainConfig(steps=3, batch=4, z=1, gamma=0.01))


def seeded(build, seed: int = 0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


# ---- pairs


def test_grey_is_a_weighted_mean_and_near_scikit_images(rng: torch.Generator) -> None:
    x = torch.rand(2, 3, 5, 4, generator=rng)
    got = image2image.grey(x)
    assert got.shape == (2, 1, 5, 4) and sum(image2image.LUMA) == pytest.approx(1)
    assert torch.allclose(got[0, 0, 1, 2], 0.299 * x[0, 0, 1, 2] + 0.587 * x[0, 1, 1, 2] + 0.114 * x[0, 2, 1, 2])
    other = rgb2gray(x.permute(0, 2, 3, 1).numpy())  # BT.709: green weighs more there
    assert np.abs(other - got[:, 0].numpy()).max() < 0.12


def test_slopes_of_a_plane_are_its_gradient_and_agree_with_numpy(rng: torch.Generator) -> None:
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    plane = (0.3 * x - 0.4 * y)[None, None]
    assert torch.allclose(image2image.slopes(plane)[:, :, 1:-1, 1:-1], torch.tensor(0.5))
    noise = torch.randn(1, 1, 6, 7, generator=rng)
    down, across = np.gradient(noise[0, 0].numpy())
    want = torch.tensor(np.hypot(down, across))[1:-1, 1:-1]
    assert torch.allclose(image2image.slopes(noise)[0, 0, 1:-1, 1:-1], want, atol=1e-6)


def test_an_outline_is_paper_where_it_is_flat_and_ink_at_a_step() -> None:
    x = torch.full((1, 3, 8, 8), 0.4)
    assert torch.equal(image2image.outline(x), torch.ones(1, 1, 8, 8))
    x[:, :, :, 4:] = -0.8
    drawn = image2image.outline(x)
    assert (drawn[..., 3:5] == -1).all() and (drawn[..., :3] == 1).all() and (drawn[..., 5:] == 1).all()
    assert torch.equal(drawn, image2image.outline(-x))  # which side is dark is lost
    x[:, :, :, 4:] = 0.4 - 0.48  # steepness .24 is half way from low to high
    assert image2image.outline(x)[0, 0, 0, 3].item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("low, high", [(-0.1, 0.2), (0.3, 0.3), (0.4, 0.1)])
def test_an_outline_wants_two_thresholds_in_order(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="0 <= low < high"):
        image2image.outline(torch.zeros(1, 3, 8, 8), low=low, high=high)


@pytest.mark.parametrize("source", image2image.SOURCES)
@pytest.mark.parametrize("task", image2image.TASKS)
def test_pairs_belong_together_and_come_from_their_generator(source: str, task: str) -> None:
    draw = lambda seed: image2image.pairs(5, torch.Generator().manual_seed(seed), source=source, task=task)  # noqa: E731
    one, again, other = draw(1), draw(1), draw(2)
    made = {"outline": image2image.outline, "grey": image2image.grey}[task](one.real)
    assert torch.equal(one.cond, made) and one.real.shape == (5, 3, 32, 32)
    assert torch.equal(one.real, again.real) and not torch.equal(one.real, other.real)
    assert one.real.abs().max() <= 1 and one.cond.abs().max() <= 1


def test_pairs_refuse_other_words(rng: torch.Generator) -> None:
    with pytest.raises(ValueError, match="source"):
        image2image.pairs(2, rng, source="wrold")
    with pytest.raises(ValueError, match="task"):
        image2image.pairs(2, rng, task="colour")


# ---- networks


@pytest.mark.parametrize("cond", [1, 3])
def test_a_unet_gives_a_picture_for_a_picture(cond: int, rng: torch.Generator) -> None:
    G = seeded(lambda: UNet(cond=cond, width=4))
    x = torch.rand(2, cond, 32, 32, generator=rng) * 2 - 1
    out = G(None, x)
    assert out.shape == (2, 3, 32, 32) and out.abs().max() <= 1
    assert torch.equal(out, G(torch.randn(2, 1, generator=rng), x))  # z is not looked at
    with pytest.raises(ValueError, match="cond"):
        G(None, x[:, :, :16])


def test_without_skips_the_top_of_the_way_down_is_not_heard(rng: torch.Generator) -> None:
    """Noise on the kept features changes the output with skips, and leaves it bit by bit without."""
    x = torch.rand(1, 1, 32, 32, generator=rng)
    for skips in (True, False):
        G = seeded(lambda skips=skips: UNet(width=4, skips=skips))
        seen: list[torch.Tensor] = []
        G.join_late.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        G(None, x)
        kept = seen[0][:, 4:]  # (1, 4, 16, 16): what the way down hands over
        assert bool(kept.any()) == skips


def test_a_near_unet_starts_as_its_input(rng: torch.Generator) -> None:
    G = seeded(lambda: UNet(width=4, near=True))
    x = torch.rand(2, 1, 32, 32, generator=rng) * 2 - 1
    assert torch.allclose(G(None, x), torch.tanh(1.2 * x).expand(-1, 3, -1, -1), atol=1e-6)
    assert (G(None, x) - x).abs().max() < 0.25


def test_a_network_comes_back_from_its_checkpoint(tmp_path, rng: torch.Generator) -> None:
    x = torch.rand(1, 1, 32, 32, generator=rng)
    for net in (seeded(lambda: UNet(width=4)), seeded(lambda: image2image.Translators(width=4, skips=False))):
        path = checkpoint.save(net, tmp_path / "net", card={})
        assert torch.equal(checkpoint.load(type(net), path)(None, x), net(None, x))
    assert "alone.stem.weight" in net.state_dict() and net.hparams["skips"] is False


@pytest.mark.parametrize("wide", [False, True])
def test_a_logit_sees_the_patch_that_was_computed(wide: bool, rng: torch.Generator) -> None:
    D = seeded(lambda: PatchDiscriminator(cond=0, width=4, wide=wide))
    torch.nn.init.normal_(D.early.two.weight, generator=rng)
    x = torch.randn(1, 3, 32, 32, generator=rng).requires_grad_(True)
    logits = D(x)
    assert logits.shape == (1, 1, 8, 8)
    sides = []
    for at in range(8):
        (slope,) = torch.autograd.grad(logits[0, 0, 4, at], x, retain_graph=True)
        sides.append(int(slope.abs().sum((0, 1, 2)).gt(0).sum()))
    computed = image2image.receptive_field(D.layers)
    assert computed == (32 if wide else 16)
    assert max(sides) <= computed and (wide or max(sides) == computed)


@pytest.mark.parametrize("layers", [[(0, 1)], [(3, 0)], [(3, 1), (2, -1)]])
def test_a_receptive_field_refuses_what_cannot_be(layers: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        image2image.receptive_field(layers)


def test_d_reads_the_input_and_the_picture(rng: torch.Generator) -> None:
    D = seeded(lambda: PatchDiscriminator(width=4))
    x, cond = torch.randn(2, 3, 32, 32, generator=rng), torch.randn(2, 1, 32, 32, generator=rng)
    there = D(x, cond)
    assert not torch.equal(there, D(x, cond.flip(0))) and not torch.equal(there, D(x.flip(0), cond))
    assert torch.equal(there, D.score(D.look(x), cond))
    both = image2image.pair_input(cond, x)
    assert torch.equal(both[:, :1], cond) and torch.equal(both[:, 1:], x)
    for bad in (cond[:1], cond[:, :, :16]):
        with pytest.raises(ValueError, match="picture"):
            image2image.pair_input(bad, x)


# ---- measures


def test_auc_is_scikit_learns_also_with_ties(rng: torch.Generator) -> None:
    high = (torch.randn(40, generator=rng) + 0.5).mul(3).round()
    low = torch.randn(25, generator=rng).mul(3).round()
    want = roc_auc_score([1] * 40 + [0] * 25, torch.cat([high, low]).numpy())
    assert image2image.auc(high, low) == pytest.approx(want)
    assert image2image.auc(low, high) == pytest.approx(1 - want)
    with pytest.raises(ValueError, match="both sides"):
        image2image.auc(high[:0], low)


def test_a_d_that_compares_has_an_auc_of_one_and_a_blind_one_of_a_half(rng: torch.Generator) -> None:
    test = image2image.pairs(40, rng)

    class Compares(torch.nn.Module):
        def __init__(self, sees: bool):
            super().__init__()
            self.sees, self.none = sees, torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
            return -(image2image.outline(x) - cond * self.sees).abs() + self.none

    assert image2image.mismatch_auc(Compares(True), test) == 1
    assert image2image.mismatch_auc(Compares(False), test) == 0.5


def test_measures_of_known_pictures() -> None:
    flat = torch.full((2, 3, 8, 8), 0.3)
    assert image2image.edge_energy(flat) == 0 and image2image.colourfulness(flat) == 0
    pure = torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert image2image.colourfulness(pure) == 2
    ramp = torch.linspace(0, 0.7, 8).expand(1, 3, 8, 8)
    assert image2image.edge_energy(ramp) == pytest.approx((6 * 0.1 + 2 * 0.05) / 8, abs=1e-6)


def test_measure_of_a_perfect_and_a_copying_translator() -> None:
    recipe = Recipe(task="grey", width=4)
    G = seeded(lambda: UNet(width=4, near=True))
    found = image2image.measure(G, recipe, n=20)
    assert found["truth"]["l1"] == 0 < found["copy"]["l1"] < found["mean picture"]["l1"]
    assert abs(found["model"]["l1"] - found["copy"]["l1"]) < 0.12 and found["copy"]["colours"] == 0
    again = image2image.measure(G, recipe, n=20)
    assert found == again and found != image2image.measure(G, recipe, n=20, seed=2)


# ---- training


def test_prepare_is_the_same_for_a_seed_and_leaves_global_randomness_alone() -> None:
    before = torch.get_rng_state()
    one, two, other = prepare(TINY, seed=3), prepare(TINY, seed=3), prepare(TINY, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    first, second, third = (made[0].stem.weight for made in (one, two, other))
    assert torch.equal(first, second) and not torch.equal(first, third)
    batch = one[2](torch.Generator().manual_seed(0), 0)
    assert torch.equal(batch.wrong, batch.cond.roll(1, 0)) and torch.equal(batch.cond, image2image.outline(batch.real))


def test_the_l1_term_is_torchs(rng: torch.Generator) -> None:
    fake, real = torch.rand(2, 3, 4, 4, generator=rng), torch.rand(2, 3, 4, 4, generator=rng)
    got = image2image.l1_term(3.0)(fake, Batch(real), 0.5)
    assert got.item() == pytest.approx(3 * torch.nn.L1Loss()(fake, real).item())


def test_play_runs_on_pairs_and_uses_the_mismatched_ones() -> None:
    runs = {}
    for mismatch in (0.0, 1.0):
        config = TrainConfig(steps=2, batch=4, z=1, gamma=0.0, mismatch=mismatch)
        G, D, sample, extra, _ = prepare(TINY)
        runs[mismatch] = [step.losses["d"] for step in play(G, D, sample, config, extra=extra)]
    assert runs[1.0][0] > runs[0.0][0] > 0


def test_l1_alone_learns_a_constant_picture() -> None:
    """Where every true picture is the same, L1 has a perfect answer, and a few steps come near it."""
    target = torch.tensor([0.5, -0.5, 0.0]).view(1, 3, 1, 1).expand(4, 3, 32, 32)
    sample = lambda rng, step: Batch(target, torch.ones(4, 1, 32, 32))  # noqa: E731
    G = prepare(TINY)[0]
    losses = [s.losses["l1"] for s in image2image.fit_l1(G, sample, TrainConfig(steps=80, batch=4, lr=5e-3))]
    assert losses[-1] < 0.25 * losses[0] and losses[0] > 0.3


def test_l1_alone_takes_the_same_step_as_torch() -> None:
    G, _, sample, _, _ = prepare(TINY)
    config = TrainConfig(steps=2, batch=4, seed=5)
    twin, rng = copy.deepcopy(G), torch.Generator().manual_seed(5)
    opt = torch.optim.Adam(twin.parameters(), betas=config.betas)
    for i, step in enumerate(image2image.fit_l1(G, sample, config)):
        batch = sample(rng, i)
        opt.param_groups[0]["lr"] = config.lr_at(i)
        opt.zero_grad()
        loss = torch.nn.functional.l1_loss(twin(None, batch.cond), batch.real)
        loss.backward()
        opt.step()
        assert step.losses["l1"] == pytest.approx(loss.item()) and step.number == i + 1
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(G.parameters(), twin.parameters(), strict=True))


def test_l1_alone_stops_where_it_is_not_finite() -> None:
    sample = lambda rng, step: Batch(torch.full((2, 3, 32, 32), math.nan), torch.ones(2, 1, 32, 32))  # noqa: E731
    with pytest.raises(Diverged):
        next(image2image.fit_l1(prepare(TINY)[0], sample, TrainConfig(steps=2)))


# ---- the cycle


def four(seed: int = 0) -> tuple[UNet, UNet, PatchDiscriminator, PatchDiscriminator]:
    def build():
        nets = [UNet(cond=3, width=4) for _ in range(2)]
        return (*nets, *(PatchDiscriminator(cond=0, width=4) for _ in range(2)))

    return seeded(build, seed)


def test_day_and_night_share_no_scene(rng: torch.Generator) -> None:
    day, night = image2image.day_and_night(6, rng)
    assert day.shape == night.shape == (6, 3, 32, 32)
    assert day[:, :, 0, 0].min() > 0.3 and night[:, :, 0, 0].max() < -0.3
    assert not any(torch.equal(a, -b) for a in day for b in night)


def test_the_cycle_trains_both_ways_and_is_the_same_for_a_seed() -> None:
    config = TrainConfig(steps=3, batch=2, gamma=0.01, reg_every=2)
    runs = []
    for _ in range(2):
        nets = four()
        before = [copy.deepcopy(net) for net in nets]
        runs.append(list(image2image.play_cycle(*nets, image2image.day_and_night, config)))
        for was, net in zip(before, nets, strict=True):
            moved = [not torch.equal(a, b) for a, b in zip(was.parameters(), net.parameters(), strict=True)]
            assert sum(moved) > len(moved) / 2
    assert [s.number for s in runs[0]] == [1, 2, 3]
    assert [s.losses for s in runs[0]] == [s.losses for s in runs[1]]


def test_a_heavy_cycle_makes_the_way_back_better() -> None:
    config = TrainConfig(steps=40, batch=4, gamma=0.01, lr=3e-3)
    ends = []
    for weight in (0.0, 30.0):
        nets = four(1)
        *_, last = image2image.play_cycle(*nets, image2image.day_and_night, config, weight=weight)
        ends.append(last.losses["cycle"])
    assert ends[1] < 0.7 * ends[0]


def test_the_cycle_stops_where_it_is_not_finite() -> None:
    bad = lambda n, g: (torch.full((n, 3, 32, 32), math.nan), torch.zeros(n, 3, 32, 32))  # noqa: E731
    with pytest.raises(Diverged):
        next(image2image.play_cycle(*four(), bad, TrainConfig(steps=1, batch=2)))


# ---- shipped


def test_the_shipped_generators_do_what_their_card_says() -> None:
    pair, card = checkpoint.load(image2image.Translators, "outline2picture"), checkpoint.card("outline2picture")
    assert checkpoint.find("outline2picture").stat().st_size < 2e6
    recipe = Recipe(**{k: v for k, v in card["recipe"].items() if k != "config"})
    found = image2image.measure(pair.game, recipe)
    for name in ("l1", "edges", "colours"):
        assert found["model"][name] == pytest.approx(card["figures"]["model"][name], rel=1e-3)
    alone = image2image.measure(pair.alone, recipe)["model"]
    assert found["model"]["l1"] < min(found["copy"]["l1"], found["mean picture"]["l1"])
    assert alone["colours"] < 0.6 * found["model"]["colours"] < found["truth"]["colours"]
    assert card["figures"]["auc"] > 0.8


def test_photographs_and_the_world_are_there(rng: torch.Generator) -> None:
    assert set(image2image.SOURCES) == {"world", "photographs"} and len(pictures.photographs()) == 6
