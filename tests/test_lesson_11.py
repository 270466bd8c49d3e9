"""Lesson 11: the answers of its assignment against numpy, torch's own functions, closed forms and the library."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import nn
from torch.nn import functional as F

from mmcourse import inpainting, masks, metrics, world
from mmcourse.course import exercise as e
from mmcourse.losses import game
from mmcourse.train import TrainConfig
from mmcourse.world import OPEN


@functools.cache
def reference(item: str) -> Callable[..., Any]:
    whole = e.load_assignment("11_text_inpainting", ROOT)
    return e.reference(whole, whole.item(item))


# ---- build_input


def test_an_input_is_that_of_the_library_and_of_numpy(rng: torch.Generator) -> None:
    build = reference("build_input")
    for kind in ("box", "stroke", "half", "border"):
        x, mask = torch.randn(4, 3, 32, 32, generator=rng), masks.mixed(4, rng, kinds=(kind,))
        got = build(x, mask)
        assert torch.equal(got, inpainting.build_input(x, mask))
        want = np.where(mask.numpy() == 1, np.float32(0), x.numpy())
        assert np.array_equal(got.numpy(), np.concatenate([want, mask.numpy()], axis=1))


def test_nothing_under_the_mask_gets_in(rng: torch.Generator) -> None:
    """Whatever is written into the hole, the input stays the same, and no slope leads there."""
    build, mask = reference("build_input"), masks.boxes(2, rng, share=0.3)
    x = torch.randn(2, 3, 32, 32, generator=rng)
    for value in (math.nan, math.inf, -math.inf, 1e38):
        assert torch.equal(build(torch.where(mask > 0, value, x), mask), build(x, mask))
    (slope,) = torch.autograd.grad(build(x.requires_grad_(True), mask).sum(), x)
    assert torch.equal(slope, (1 - mask).expand_as(x))
    for wrong in (mask / 2, mask * 255, -mask):
        with pytest.raises(ValueError, match="0 and 1"):
            build(x, wrong)


def test_a_linear_reader_finds_the_hidden_colour_without_the_mask_and_not_with_it() -> None:
    g = torch.Generator().manual_seed(2)
    labels = world.sample_labels(600, g, objects=(1,))
    labels[:, 7] = world.LAYOUTS.index("centre")
    scenes = world.place(labels, g)
    x, mask = world.draw(scenes), inpainting.hide_thing(scenes, g)[0]
    leak = metrics.leak_probe(torch.cat([x, mask], 1), labels[:, 2])
    tight = metrics.leak_probe(reference("build_input")(x, mask), labels[:, 2])
    assert leak["right"] > leak["high"] and tight["right"] <= tight["high"]


# ---- hole_caption


def test_a_hole_caption_is_what_the_library_states(rng: torch.Generator) -> None:
    caption = reference("hole_caption")
    for split in ("train", "held_out"):
        scenes = world.sample_scenes(200, rng, split=split)
        _, which = inpainting.hide_thing(scenes, rng)
        got = caption(scenes.labels, which)
        assert got.dtype == torch.int64 and torch.equal(got, inpainting.thing(scenes.labels, which))


def test_a_hole_caption_is_true_of_a_scene_that_holds_the_thing_alone(rng: torch.Generator) -> None:
    """Said and parsed again it is the same statement, and a picture of the thing alone meets it wherever it stands."""
    caption = reference("hole_caption")
    labels = world.sample_labels(60, rng, objects=(2,))
    which = torch.randint(2, (60,), generator=rng)
    stated = caption(labels, which)
    said = [world.say(row, "en", random.Random(0), plain=True) for row in stated.tolist()]
    assert torch.equal(world.statements(said), stated)
    alone = torch.full_like(labels, OPEN)
    alone[:, 0] = 1
    alone[:, 1:4] = torch.stack([row[4:7] if b else row[1:4] for row, b in zip(labels, which, strict=True)])
    for layout in range(5):
        alone[:, 7] = layout
        assert world.satisfied(alone, stated).all()
    assert not world.satisfied(labels, stated).any()  # of the scene with two things it is not true: its count is 1


def test_a_scene_of_one_thing_has_no_second_one_to_be_stated(rng: torch.Generator) -> None:
    caption, labels = reference("hole_caption"), world.sample_labels(3, rng, objects=(1,))
    assert torch.equal(caption(labels, torch.zeros(3).long())[:, 4:], torch.full((3, 4), OPEN))
    with pytest.raises(ValueError, match="no thing B"):
        caption(labels, torch.tensor([0, 0, 1]))


# ---- drop_text


def test_text_is_dropped_as_the_library_drops_it(rng: torch.Generator) -> None:
    drop, text = reference("drop_text"), F.normalize(torch.randn(50, 64, generator=rng))
    for share in (0.0, 0.15, 0.5, 1.0):
        noise = torch.rand(50, 1, generator=torch.Generator().manual_seed(8))[:, 0]  # what the library draws
        want = inpainting.drop_text(text, share, torch.Generator().manual_seed(8))
        assert torch.equal(drop(text, share, noise), want)
    for share in (-0.01, 1.01, 15):
        with pytest.raises(ValueError, match="share"):
            drop(text, share, noise)


def test_whole_rows_fall_silent_at_the_share_that_was_asked_for(rng: torch.Generator) -> None:
    drop, text = reference("drop_text"), F.normalize(torch.randn(20_000, 3, generator=rng))
    out = drop(text, 0.3, torch.rand(20_000, generator=rng))
    silent = (out == 0).all(1)
    assert torch.equal((out == 0).any(1), silent) and torch.equal(out[~silent], text[~silent])
    assert silent.float().mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 20_000))
    assert torch.equal(out.norm(dim=1).round(decimals=4), (~silent).float())  # of length 1, or nothing


def test_torchs_dropout_is_something_else() -> None:
    """It drops single numbers and makes up for them by a factor."""
    text = torch.ones(1000, 8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = nn.Dropout(0.5)(text)
    assert set(theirs.unique().tolist()) == {0.0, 2.0} and (theirs == 0).any(1).float().mean() > 0.9
    ours = reference("drop_text")(text, 0.5, torch.linspace(0, 0.999, 1000))
    assert set(ours.unique().tolist()) == {0.0, 1.0} and set(ours.sum(1).tolist()) == {0.0, 8.0}


# ---- guided_d


def test_the_loss_is_that_of_the_library(rng: torch.Generator) -> None:
    """With a true D, whose pictures, surroundings and captions are those that the prompt names."""
    D = inpainting.Discriminator(cond=64, width=8, features=16)
    real, fake = torch.randn(4, 3, 32, 32, generator=rng), torch.randn(4, 3, 32, 32, generator=rng)
    mask, (text, wrong) = masks.boxes(4, rng), F.normalize(torch.randn(2, 4, 64, generator=rng), dim=2)
    batch, config = inpainting.Damaged(real, mask, text, wrong), TrainConfig(steps=1, batch=4)
    strange = torch.where(mask > 0, real, real.roll(1, 0))
    logits = D(real, mask, text), D(fake, mask, text), D(strange, mask, text), D(real, mask, wrong)
    assert config.game == "relativistic" and config.mismatch == 1
    want = inpainting.guided_d(D, batch, fake, config)
    assert torch.allclose(reference("guided_d")(*logits), want, rtol=1e-4)


def test_the_loss_is_three_of_torchs_cross_entropies_on_differences(rng: torch.Generator) -> None:
    loss = reference("guided_d")
    real, *fakes = 3 * torch.randn(4, 7, 1, generator=rng)
    bce = nn.BCEWithLogitsLoss()
    want = sum(bce(real - fake, torch.ones(7, 1)).item() for fake in fakes)
    assert loss(real, *fakes).item() == pytest.approx(want, rel=1e-5)
    assert want == pytest.approx(sum(game("relativistic").d(real, fake).item() for fake in fakes), rel=1e-5)
    assert loss(real + 5, *(fake + 5 for fake in fakes)).item() == pytest.approx(want, rel=1e-4)


def test_a_d_that_guesses_pays_three_times_log_two_and_each_kind_pulls_alike() -> None:
    loss = reference("guided_d")
    logits = [torch.zeros(5, 1, requires_grad=True) for _ in range(4)]
    value = loss(*logits)
    assert value.item() == pytest.approx(3 * math.log(2))
    slopes = [slope.sum().item() for slope in torch.autograd.grad(value, logits)]
    assert slopes == pytest.approx([-1.5, 0.5, 0.5, 0.5])
    far = torch.full((2, 1), 1e4)
    assert loss(far, -far, -far, -far).item() == 0 and loss(-far, far, far, far).item() == pytest.approx(6e4)


# ---- edit_success


class Reads:
    """A judge who reads labels where others read pictures."""

    def read(self, labels: torch.Tensor) -> torch.Tensor:
        return labels


def edited(labels: torch.Tensor, which: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """The scenes with what was asked for put in the hidden thing's place."""
    out = labels.clone()
    for i, b in enumerate(which.tolist()):
        for k in (1, 2, 3):
            if asked[i, k] != OPEN:
                out[i, k + 3 * b] = asked[i, k]
    return out


def test_a_perfect_edit_succeeds_whatever_is_left_open(rng: torch.Generator) -> None:
    success = reference("edit_success")
    scenes = world.sample_scenes(300, rng)
    _, which = inpainting.hide_thing(scenes, rng)
    asked = inpainting.leave_open(inpainting.change_one(inpainting.thing(scenes.labels, which), rng), 0.4, rng)
    assert success(scenes.labels, edited(scenes.labels, which, asked), asked, which) == 1
    assert success(scenes.labels, scenes.labels, inpainting.thing(scenes.labels, which), which) == 1


def test_as_asked_is_what_the_library_measures_where_nothing_else_changed(rng: torch.Generator) -> None:
    success = reference("edit_success")
    scenes = world.sample_scenes(400, rng)
    labels, (_, which) = scenes.labels, inpainting.hide_thing(scenes, rng)
    stated = inpainting.thing(labels, which)
    asked = inpainting.leave_open(inpainting.change_one(stated, rng), 0.2, rng)
    heard = torch.where(torch.rand(400, 1, generator=rng) < 0.6, asked, inpainting.change_one(stated, rng))
    after = edited(labels, which, heard)
    want = metrics.thing_right(Reads(), after, asked, which).all(1).double().mean().item()
    assert success(labels, after, asked, which) == pytest.approx(want) and 0.5 < want < 0.95


def test_what_else_has_changed_fails_by_numpys_count(rng: torch.Generator) -> None:
    """Any of the five columns that are not the hidden thing's spoils the picture; the other three do not."""
    success = reference("edit_success")
    labels = world.sample_labels(80, rng, objects=(2,))
    which, asked = torch.arange(80) % 2, torch.full((80, 8), OPEN)
    asked[:, 0] = 1  # nothing is asked for, so only what else has changed can fail
    for column in range(8):
        after = labels.clone()
        changed = torch.rand(80, generator=rng) < 0.5
        after[changed, column] += 1
        thing = np.select([(column >= 1) & (column <= 3), (column >= 4) & (column <= 6)], [0, 1], default=2)
        spoiled = changed.numpy() & (which.numpy() != thing)
        assert success(labels, after, asked, which) == pytest.approx(1 - spoiled.mean())


def test_two_shares_do_not_tell_how_many_did_both() -> None:
    """Half are as asked and half left the rest alone: the success may be a half or nothing."""
    success = reference("edit_success")
    before = torch.tensor([[2, 0, 0, 0, 1, 1, 1, 5]] * 2)
    asked = torch.tensor([[1, 3, 3, 1, OPEN, OPEN, OPEN, OPEN]] * 2)
    done, moved = [2, 3, 3, 1, 1, 1, 1, 5], [2, 0, 0, 0, 1, 1, 1, 6]
    both = [2, 3, 3, 1, 1, 1, 1, 6]
    a = success(before, torch.tensor([done, moved]), asked, torch.zeros(2).long())
    b = success(before, torch.tensor([both, before[0].tolist()]), asked, torch.zeros(2).long())
    assert (a, b) == (0.5, 0.0)
