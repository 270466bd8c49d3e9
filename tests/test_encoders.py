"""Towers and the contrastive loss."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmcourse import world
from mmcourse.checkpoint import card, load
from mmcourse.data import caption_batch, caption_set, vocabulary
from mmcourse.encoders import Space, SpaceConfig, align, contrastive, reading, recall_at, space_report


def test_contrastive_with_one_partner_is_torchs_cross_entropy(rng: torch.Generator) -> None:
    logits = torch.randn(7, 7, generator=rng) * 3
    own = torch.arange(7)
    expected = (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(contrastive(logits, torch.eye(7, dtype=torch.bool)), expected)


def test_contrastive_with_hard_negatives_adds_columns(rng: torch.Generator) -> None:
    logits, hard = torch.randn(5, 5, generator=rng), torch.randn(5, 2, generator=rng)
    own = torch.arange(5)
    expected = (cross_entropy(torch.cat([logits, hard], 1), own) + cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(contrastive(logits, torch.eye(5, dtype=torch.bool), hard), expected)


def test_several_positives_are_not_pushed_apart() -> None:
    positive = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    logits = torch.zeros(3, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(contrastive(logits, positive), logits)
    assert (slope[positive] < 0).all() and (slope[~positive] > 0).all()
    perfect = torch.where(positive, 40.0, -40.0)
    assert contrastive(perfect, positive) < 1e-6
    # with one partner each, a perfect table is still punished: the reason for several positives
    assert contrastive(perfect, torch.eye(3, dtype=torch.bool)) > 0.4


def test_a_row_without_partner_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one positive"):
        contrastive(torch.zeros(2, 2), torch.tensor([[True, True], [False, False]]))


def test_recall_at() -> None:
    similarity = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.7, 0.0], [0.3, 0.2, 0.1]])
    positive = torch.eye(3, dtype=torch.bool)
    assert [round(recall_at(similarity, positive, k), 3) for k in (1, 2, 3)] == [0.333, 0.667, 1.0]


def test_padding_does_not_move_a_sentence_and_order_does() -> None:
    torch.manual_seed(0)
    words = vocabulary()
    space = Space(words=len(words)).eval()
    texts = ["a red circle left of a blue square", "a blue square left of a red circle"]
    with torch.no_grad():
        short, long = (space.text(words.tokenize(texts, length=n)) for n in (9, 24))
        together = space.text(
            words.tokenize([*texts, "a large blue star that is small above a green thing"], length=24)
        )
    torch.testing.assert_close(short, long, atol=1e-5, rtol=0)
    torch.testing.assert_close(together[:2], long, atol=1e-5, rtol=0)
    torch.testing.assert_close(long.norm(dim=1), torch.ones(2))
    assert (long[0] - long[1]).norm() > 1e-3
    with pytest.raises(ValueError, match="at most 24"):
        space.text(torch.ones(1, 30, dtype=torch.int64))
    with pytest.raises(ValueError, match="expected shape"):
        space.image(torch.zeros(1, 3, 64, 64))


def test_batches_hold_no_held_out_pair_and_tell_the_truth() -> None:
    words, g = vocabulary(), torch.Generator().manual_seed(0)
    batch = caption_batch(48, g, random.Random(0), words, leave_out=0.5)
    assert batch.pictures.shape == (48, 3, 32, 32) and batch.true.shape == batch.false.shape and len(batch.true) == 48
    assert batch.positive.diagonal().all() and batch.positive.sum() > 48

    def read(ids: torch.Tensor) -> torch.Tensor:
        texts = []
        for row in ids.tolist():
            known = [words.words[i] for i in row if i]
            texts.append(("" if any(w[0] >= "一" for w in known) else " ").join(known))
        return world.statements(texts)

    assert torch.equal(read(batch.true), batch.statements)
    assert world.satisfied(batch.labels, batch.statements).all()
    assert not world.satisfied(batch.labels, read(batch.false)).any()
    assert not world.holds_out(read(batch.true)).any() and not world.holds_out(read(batch.false)).any()
    assert not world.holds_out(batch.labels).any()
    with pytest.raises(ValueError, match="at least 4"):
        caption_batch(3, g, random.Random(0), words)


def test_partners_differ_only_in_who_has_what() -> None:
    words, g = vocabulary(), torch.Generator().manual_seed(0)
    batch = caption_batch(60, g, random.Random(0), words)
    twos, partners = batch.labels[20:40], batch.labels[40:]
    same_bag = torch.stack(
        [(twos[:, [i, i + 3]].sort(1).values == partners[:, [i, i + 3]].sort(1).values).all(1) for i in (1, 2, 3)]
    ).all(0)
    assert same_bag.float().mean() > 0.6  # the rest would have held a held-out pair


def test_the_reader_is_cross_entropy_over_what_is_stated() -> None:
    facts = world.statements(["a red circle", "a red shape left of a blue square", "a ring and a star"])
    logits = [torch.zeros(3, n) for n in world.CLASSES]
    known = 3 + 4 + 1  # count, shape, colour; count, colour, shape, colour, layout; of "A and B" the count alone
    assert (facts[:2] >= 0).sum() + 1 == 3 + 5 + 1
    expected = (math.log(2) + math.log(6) + math.log(8)) + (math.log(2) + 2 * math.log(8) + math.log(6) + math.log(7))
    expected = (expected + math.log(2)) / (known + 1)
    assert reading(logits, facts).item() == pytest.approx(expected, rel=1e-5)
    sure = [torch.full((3, n), -30.0) for n in world.CLASSES]
    for i, x in enumerate(sure):
        for row in range(3):
            if facts[row, i] >= 0:
                x[row, facts[row, i] - int(i == 0)] = 30.0
    assert reading(sure, facts) < 1e-6


def test_align_learns_in_a_few_steps() -> None:
    words, g, rng = vocabulary(), torch.Generator().manual_seed(0), random.Random(0)
    torch.manual_seed(0)
    space = Space(words=len(words), text_width=64, width=16)
    config = SpaceConfig(steps=100, batch=32, warm_up=10)
    losses = [loss for _, loss in align(space, lambda: caption_batch(32, g, rng, words), config)]
    assert sum(losses[-10:]) / 10 < sum(losses[:5]) / 5 - 0.5
    report = space_report(space, words, n=100)
    assert report["seen_picture_to_text"] >= 5 * report["floor"]


def test_the_shipped_space_is_as_its_card_says() -> None:
    space, words = load(Space, "space"), vocabulary()
    report, written = space_report(space, words), card("space")["figures"]
    assert report["held_out_binding"] >= 0.95
    assert report["held_out_picture_to_text"] >= 0.7 and report["held_out_text_to_picture"] >= 0.7
    for key, value in report.items():
        assert value == pytest.approx(written[key], abs=0.01), key


def test_both_languages_meet() -> None:
    """A caption's translation is nearer to it than any caption with another meaning."""
    space, words = load(Space, "space"), vocabulary()
    asked = caption_set(200, seed=4, leave_out=0.0)
    texts = {k: [world.say(r, k, random.Random(1)) for r in asked.statements.tolist()] for k in ("en", "zh")}
    with torch.no_grad():
        en, zh = (space.text(words.tokenize(texts[k])) for k in ("en", "zh"))
    same = world.satisfied_pairs(asked.labels, asked.statements)
    assert recall_at(en @ zh.T, same) > 0.95
