"""A sentence becomes a picture: the parts, a short training, and the shipped model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from mmcourse import metrics, text2image, world
from mmcourse.checkpoint import card, load, verify
from mmcourse.course.shipped import load_painter
from mmcourse.data import CaptionPool, caption_set
from mmcourse.encoders import Space
from mmcourse.judge import Judge, disturb, judge_report
from mmcourse.layers import ModBlock, ResBlock, Whiten
from mmcourse.text import UnknownWords
from mmcourse.text2image import Discriminator, Generator, Painter, Recipe, prepare, similarity_help
from mmcourse.train import Batch, play


@pytest.fixture(scope="module")
def space() -> Space:
    return load(Space, "space")


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load(Judge, "judge")


def test_whitening_gives_unit_covariance(rng: torch.Generator) -> None:
    x = (
        torch.randn(5000, 4, generator=rng) @ torch.tensor([[3.0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0.5, 0], [0, 0, 1, 2]])
        + 5
    )
    layer = Whiten(4)
    torch.testing.assert_close(layer(x), x)
    layer.fit(x, floor=0.0)
    white = layer(x)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(4), atol=5e-3, rtol=0)
    assert white.mean(0).abs().max() < 1e-4
    with pytest.raises(ValueError, match="at least two"):
        layer.fit(x[:1])


def test_blocks_start_as_the_identity(rng: torch.Generator) -> None:
    x = torch.randn(2, 8, 4, 4, generator=rng)
    assert torch.equal(ResBlock(8)(x), x)
    block = ModBlock(8, 5)
    assert torch.equal(block(x, torch.randn(2, 5, generator=rng)), x)
    torch.nn.init.normal_(block.affine.weight)
    torch.nn.init.normal_(block.two.weight)
    a, b = block(x, torch.ones(2, 5)), block(x, -torch.ones(2, 5))
    assert (a - b).abs().max() > 0.01


def test_shapes_and_ranges(rng: torch.Generator) -> None:
    G, D = Generator(width=8, mapping=16), Discriminator(width=8, features=16)
    z, cond = torch.randn(3, 16, generator=rng), torch.randn(3, 64, generator=rng)
    x = G(z, cond)
    assert x.shape == (3, 3, 32, 32) and x.abs().max() <= 1
    assert D(x, cond).shape == (3, 1)
    torch.testing.assert_close(D(x, cond), D.score(D.look(x), cond))
    with pytest.raises(ValueError, match="expected shape"):
        G(torch.randn(3, 7), cond)


def test_whitening_weakens_what_is_only_wording(rng: torch.Generator) -> None:
    """Two signals of unlike strength and one direction of noise, said twice: the signals come out alike, noise weak."""
    meaning = torch.randn(4000, 3, generator=rng) * torch.tensor([3.0, 0.5, 0.0])

    def say() -> torch.Tensor:
        return meaning + torch.randn(4000, 3, generator=rng) * torch.tensor([0.05, 0.05, 0.3])

    once, twice, layer = say(), say(), Whiten(3)
    layer.fit(once, floor=0.0)
    torch.testing.assert_close(layer(once).std(0), torch.ones(3), atol=0.02, rtol=0)  # noise as loud as meaning
    layer.fit(once, twice, floor=0.0)
    spread = layer(once).std(0)
    assert (spread[:2] - 1).abs().max() < 0.05 and spread[2] < 0.05
    with pytest.raises(ValueError, match="twins"):
        layer.fit(once, twice[:10])


def test_the_pool_never_lies(space: Space) -> None:
    """Wrong captions are false of their picture, true ones true; no held-out pair occurs in either."""
    texts: list[str] = []

    def remember(captions: list[str]) -> torch.Tensor:
        texts.extend(captions)
        return torch.arange(len(texts) - len(captions), len(texts)).float()[:, None]  # a caption's number for a vector

    pool = CaptionPool(remember, 400, seed=1, leave_out=0.5)
    stated = world.statements(texts)
    assert not world.holds_out(stated).any() and not world.holds_out(pool.labels).any()
    g = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="pairs: expected 0 to 4"):
        pool.pick(8, g, pairs=5)
    for _ in range(20):
        labels, true, wrong = pool.pick(64, g)
        assert not world.holds_out(labels).any()
        assert world.satisfied(labels, stated[true[:, 0].long()]).all()
        assert not world.satisfied(labels, stated[wrong[:, 0].long()]).any()
        swapped = (wrong[:, 0] < 400).float().mean()
        assert 0.2 < swapped < 0.55  # about half are somebody else's caption


def test_a_discriminator_can_start_from_the_tower(space: Space) -> None:
    G, D, sample, _, config = prepare(space, Recipe(captions=400), seed=0)
    real, cond, wrong = sample(torch.Generator().manual_seed(1), 0)
    assert cond is not None and wrong is not None
    with torch.no_grad():
        fits, misfits = D(real, cond), D(real, wrong)
    assert 0.5 < fits.std() < 2 and (fits > misfits).float().mean() > 0.9
    assert not torch.equal(G.whiten.centre, torch.zeros(64)) and config.seed == 0
    _, scratch, *_ = prepare(space, Recipe(captions=400, eyes=False), seed=0)
    assert not torch.equal(scratch.trunk.stem.weight, D.trunk.stem.weight)
    with pytest.raises(ValueError, match="not of this discriminator's size"):
        Discriminator(width=8).start_from(space.image, real, cond)


def test_prepare_leaves_global_randomness_alone(space: Space) -> None:
    torch.manual_seed(5)
    here = torch.random.get_rng_state()
    one = prepare(space, Recipe(captions=300), seed=3)[0]
    assert torch.equal(here, torch.random.get_rng_state())
    torch.manual_seed(6)
    two = prepare(space, Recipe(captions=300), seed=3)[0]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_similarity_help_fades_and_points_at_the_caption(space: Space) -> None:
    help_ = similarity_help(space.image, weight=2.0, until=0.5)
    painter = Painter(space, Generator())
    real = world.draw(world.place(torch.tensor([[1, 0, 0, 1, -1, -1, -1, 0]]), torch.Generator().manual_seed(0)))
    right, other = (painter.encode([c]) for c in ("a large red circle in the centre", "a small blue star at the top"))
    assert help_(real, Batch(real, right), 0.0) < help_(real, Batch(real, other), 0.0) < 2.0
    whole, half = (help_(real, Batch(real, right), p) for p in (0.0, 0.25))
    torch.testing.assert_close(half, whole / 2)
    assert help_(real, Batch(real, right), 0.5) == 0


def test_a_short_training_learns(space: Space, judge: Judge) -> None:
    """The learning test for CI: after the quick run of 150 small steps colours must come right far above chance."""
    recipe = text2image.PROFILES["quick"]
    G, D, sample, extra, config = prepare(space, recipe, seed=0)
    asked = caption_set(200, objects=(1,), seed=5)
    draw = lambda model: Painter(space, model).draw(asked.captions, torch.Generator().manual_seed(1))  # noqa: E731
    before = metrics.caption_accuracy(judge, draw(G), asked.statements)
    *_, last = play(G, D, sample, config, extra=extra)
    after = metrics.caption_accuracy(judge, draw(last.state.ema), asked.statements)
    assert after["colour"] > max(0.35, before["colour"] + 0.15), (before, after)
    assert after["all"] > before["all"] + 0.05, (before, after)


@pytest.mark.slow
def test_the_cpu_profile_learns_what_the_readme_says(space: Space, judge: Judge) -> None:
    """The whole `cpu` run, some minutes; its lower bounds leave a margin for another machine's rounding."""
    G, D, sample, extra, config = prepare(space, text2image.PROFILES["cpu"], seed=7)
    *_, last = play(G, D, sample, config, extra=extra)
    for split, least in (("train", 0.90), ("held_out", 0.75)):
        asked = caption_set(500, objects=(1,), split=split, seed=41)
        painter = Painter(space, last.state.ema)
        pictures = painter.draw(asked.captions, torch.Generator().manual_seed(1))
        assert metrics.caption_accuracy(judge, pictures, asked.statements)["all"] >= least
        blank = painter.draw_blank(asked.captions, torch.Generator().manual_seed(1))
        assert metrics.caption_accuracy(judge, blank, asked.statements)["all"] <= 0.2


def test_the_judge_reads_drawings_and_is_robust(judge: Judge) -> None:
    report = judge_report(judge, n=3000, seed=123)
    assert report["train"] >= 0.995 and report["held_out"] >= 0.995
    assert report["train_disturbed"] >= 0.98 and report["held_out_disturbed"] >= 0.98
    scenes = world.sample_scenes(200, torch.Generator().manual_seed(3), split="all")
    large = judge.read(world.draw(scenes, 128))
    assert (large == scenes.labels).all(1).float().mean() >= 0.99
    with pytest.raises(ValueError, match="multiple of 32"):
        judge.read(torch.zeros(1, 3, 40, 40))
    noisy = disturb(world.draw(scenes), torch.Generator().manual_seed(0))
    assert noisy.shape == (200, 3, 32, 32) and noisy.abs().max() <= 1 and not torch.equal(noisy, world.draw(scenes))


def test_accuracy_is_a_count(judge: Judge) -> None:
    asked = caption_set(300, seed=11)
    real = world.draw(world.place(asked.labels, torch.Generator().manual_seed(0)))
    row = metrics.caption_accuracy(judge, real, asked.statements)
    assert row["all"] >= 0.99 and row["n"] == 300 and row["low"] < row["all"] <= row["high"] <= 1
    assert metrics.chance(asked, seed=11)["all"] < 0.1  # also with the very seed that drew the captions
    swapped = metrics.caption_accuracy(judge, real.roll(1, 0), asked.statements)
    luck = metrics.chance(asked)
    assert swapped["all"] < 0.1 and abs(swapped["all"] - luck["all"]) < 0.08
    half = torch.cat([real[:150], real[150:].roll(1, 0)])
    assert metrics.caption_accuracy(judge, half, asked.statements)["all"] == pytest.approx(0.5, abs=0.07)
    with pytest.raises(ValueError, match="one statement a picture"):
        metrics.caption_accuracy(judge, real[:3], asked.statements)


def test_wilson_interval_against_known_values() -> None:
    assert metrics.wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert metrics.wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    with pytest.raises(ValueError):
        metrics.wilson(0, 0)


def test_openness_tells_one_place_from_all_places(rng: torch.Generator) -> None:
    judge = load(Judge, "judge")

    def drawn(fixed: bool) -> Callable[[list[str], torch.Generator], torch.Tensor]:
        def draw(captions: list[str], g: torch.Generator) -> torch.Tensor:
            labels = world.imagine(world.statements(captions), g)
            if fixed:
                labels[:, 7], labels[:, 3] = 2, 0
            return world.draw(world.place(labels, g))

        return draw

    free, stuck = metrics.openness(drawn(False), judge), metrics.openness(drawn(True), judge)
    assert min(free.values()) > 0.93 and max(stuck.values()) == 0.0


def test_help_keeps_two_drawings_of_one_caption_apart(space: Space) -> None:
    """The second term is 0 where the pair differs as real pictures do, and its slope drives an equal pair apart."""
    pool = CaptionPool(Painter(space, Generator()).encode, 300, objects=(1,), seed=0, leave_out=0.5)
    real, cond, wrong = pool.batch(16, torch.Generator().manual_seed(2), pairs=4)
    torch.testing.assert_close(cond[:4], cond[-4:])
    assert not torch.equal(real[:4], real[-4:])
    batch = Batch(real, cond, wrong)
    extra = similarity_help(space.image, weight=0.0, until=0.3, pairs=4, apart=1.0)
    assert extra(real, batch, 0.1).item() == pytest.approx(0.0, abs=2e-3)
    same = real.clone()
    same[-4:] = same[:4] + 0.01 * torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    same.requires_grad_(True)
    loss = extra(same, batch, 0.1)
    assert loss > 0.1
    (slope,) = torch.autograd.grad(loss, same)
    assert slope[:4].abs().max() > 0 and slope[4:12].abs().max() == 0
    assert extra(same, batch, 0.9).item() == 0.0
    with torch.no_grad():
        assert extra(same - 0.5 * slope / slope.norm(), batch, 0.1) < loss


def test_diversity() -> None:
    x = torch.zeros(3, 3, 4, 4)
    assert metrics.diversity(x) == 0
    x[1] = 1.0
    assert metrics.diversity(x) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="at least two"):
        metrics.diversity(x[:1])


def test_the_shipped_model_draws_what_sentences_say(judge: Judge) -> None:
    painter = load_painter()
    sets = {k: caption_set(400, split=s, seed=31) for k, s in {"seen": "train", "held_out": "held_out"}.items()}
    table = metrics.measure_text2image(painter.draw, judge, sets, blank=painter.draw_blank)
    written = card("text2image")["figures"]
    for name, row in table.items():
        assert abs(row["model"]["all"] - written[name]["model"]["all"]) < 0.04, name
        assert row["no_text"]["all"] <= row["chance"]["all"] + 0.10
        assert row["ceiling"]["all"] >= 0.99
    assert table["seen"]["model"]["all"] >= 0.965 and table["held_out"]["model"]["all"] >= 0.90


def test_english_and_chinese_draw_alike(judge: Judge) -> None:
    painter = load_painter()
    shares = {}
    for language in ("en", "zh"):
        asked = caption_set(400, seed=8, languages=(language,))
        pictures = painter.draw(asked.captions, torch.Generator().manual_seed(0))
        shares[language] = metrics.caption_accuracy(judge, pictures, asked.statements)["all"]
    assert abs(shares["en"] - shares["zh"]) < 0.05


def test_noise_varies_what_the_caption_leaves_open() -> None:
    painter = load_painter()
    pictures = painter.draw(["a large red circle"] * 16, torch.Generator().manual_seed(0))
    assert metrics.diversity(pictures) > 0.02
    again = painter.draw(["a large red circle"] * 16, torch.Generator().manual_seed(0))
    assert torch.equal(pictures, again)
    written = card("text2image")["figures"]["openness"]
    for name, found in metrics.openness(painter.draw, load(Judge, "judge"), seed=3).items():
        assert found == pytest.approx(written[name], abs=0.08) and found > 0.4, name


def test_bad_prompts_are_refused_with_help() -> None:
    painter = load_painter()
    with pytest.raises(UnknownWords, match="'elefant'"):
        painter.draw(["a red elefant"], torch.Generator())
    with pytest.raises(ValueError, match="looks like"):
        painter.draw([""], torch.Generator())


def test_the_generator_belongs_to_the_shipped_space() -> None:
    assert card("text2image")["space"] == verify("space")
    assert set(text2image.PROFILES) >= {"quick", "cpu", "gpu"}


@pytest.mark.parametrize("seen", [32, 64])
def test_pictures_of_another_size_come_out_and_are_looked_at(seen: int, rng: torch.Generator) -> None:
    G, D = Generator(width=8, resolution=seen), Discriminator(width=8, resolution=seen)
    made = G(torch.randn(2, 16, generator=rng), torch.randn(2, 64, generator=rng))
    assert made.shape == (2, 3, seen, seen) and D(made, torch.zeros(2, 64)).shape == (2, 1)
    assert Generator(**G.hparams).load_state_dict(G.state_dict())


def test_eyes_for_large_pictures_see_what_the_tower_sees_and_detail_beside(space: Space, rng: torch.Generator) -> None:
    D = Discriminator(width=space.hparams["width"], blocks=space.hparams["blocks"], resolution=64)
    large = world.draw(world.sample_scenes(8, rng), 64)
    D.start_from(space.image, large, F.normalize(torch.randn(8, 64, generator=rng), dim=1))
    coarse = F.avg_pool2d(large, 2)
    smooth = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)  # a large picture without any detail
    torch.testing.assert_close(D.look(smooth), space.image.trunk(coarse), rtol=1e-4, atol=1e-4)
    grain = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(32, 32)  # what averaging takes away whole
    torch.testing.assert_close(F.avg_pool2d(smooth + 0.2 * grain, 2), coarse)
    assert (D.look(smooth + 0.2 * grain) - D.look(smooth)).abs().mean() > 0.01, "D must see grain"


def test_the_large_recipe_draws_trains_and_is_judged(space: Space, judge: Judge) -> None:
    recipe = replace(text2image.PROFILES["gpu"], captions=100, width=8, pairs=2)
    recipe = replace(recipe, config=replace(recipe.config, steps=2, batch=8))
    G, D, sample, extra, config = prepare(space, recipe)
    assert sample(torch.Generator().manual_seed(0), 0).real.shape == (8, 3, 64, 64)
    *_, last = play(G, D, sample, config, extra=extra)
    assert last.losses["extra"] != 0
    pictures = Painter(space, last.state.ema).draw(["a small red circle"], torch.Generator().manual_seed(1))
    assert pictures.shape == (1, 3, 64, 64) and judge.read(pictures).shape == (1, 8)


@pytest.mark.parametrize("network", [Generator, Discriminator])
def test_a_size_that_the_networks_have_not_is_refused(network: Any) -> None:
    with pytest.raises(ValueError, match="resolution: expected one of 32, 64 pixels, got 48"):
        network(resolution=48)


def test_the_shipped_models_card_says_how_it_was_trained() -> None:
    told = card("text2image")
    assert told["recipe"] == text2image.PROFILES["shipped"].describe() and told["profile"] == "shipped"
    assert "--profile shipped" in told["command"]
