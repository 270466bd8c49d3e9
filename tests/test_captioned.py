"""Captioned pictures: pairs, the space, the game's parts, and retrieval, on the world's own pictures."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmcourse import captioned, checkpoint, retrieval, world
from mmcourse.augment import Augmented
from mmcourse.finder import Finder, disturb, finder_steps, lookalikes
from mmcourse.train import play

TINY = captioned.Recipe(
    width=8,
    mapping=16,
    space=captioned.SpaceConfig(steps=150, batch=24, words=120, text_width=32, lr=4e-3),
    warm_up=60,
    warm_batch=16,
    config=captioned._run(4, batch=6, ema=0.9),
)


def world_pairs(n: int = 60, seed: int = 0) -> captioned.Pairs:
    g = torch.Generator().manual_seed(seed)
    labels = torch.unique(world.sample_labels(4 * n, g, objects=(1,)), dim=0)
    labels = labels[torch.randperm(len(labels), generator=g)[:n]]
    captions = [
        [world.say(row, lang, random.Random(0), plain=True) for lang in ("en", "zh")] for row in labels.tolist()
    ]
    held = torch.arange(len(labels)) % 10 == 0
    return captioned.Pairs(world.draw(world.place(labels, g)), captions, held)


@pytest.fixture(scope="module")
def pairs() -> captioned.Pairs:
    return world_pairs()


@pytest.fixture(scope="module")
def space(pairs: captioned.Pairs) -> captioned.PairSpace:
    torch.manual_seed(0)
    made = captioned.PairSpace(words=pairs.vocabulary(TINY.space.words).to_dict(), text_width=32, width=16)
    losses = [loss for _, loss in captioned.align_pairs(made, pairs, TINY.space)]
    assert losses[-1] < 0.5 * losses[0]
    return made.eval()


# ---- pairs


def test_pairs_say_what_does_not_fit() -> None:
    x = torch.zeros(3, 3, 32, 32)
    for captions, held, words in (
        ([["a"], ["b"]], None, "3 pictures, 2 captions"),
        ([["a"], [], ["c"]], None, "every picture needs a caption; number 1 has none"),
        ([["a"], ["  "], ["c"]], None, "number 1 has none"),
        ([["a"], ["b"], ["c"]], torch.tensor([True, True, False]), "at least two pictures for training, got 1"),
    ):
        with pytest.raises(ValueError, match=words):
            captioned.Pairs(x, captions, held)
    with pytest.raises(ValueError, match="pictures"):
        captioned.Pairs(x + 3, [["a"]] * 3)


def test_the_vocabulary_is_learned_from_what_training_may_see(pairs: captioned.Pairs) -> None:
    marked = captioned.Pairs(
        pairs.pictures,
        [[*c, "zzz"] if h else c for c, h in zip(pairs.captions, pairs.held_out, strict=True)],
        pairs.held_out,
    )
    assert marked.vocabulary(200).to_dict() == pairs.vocabulary(200).to_dict()


# ---- the space


def test_names_in_both_languages_find_their_picture(pairs: captioned.Pairs, space: captioned.PairSpace) -> None:
    with torch.no_grad():
        shelf = space.image(pairs.pictures[pairs.seen])
    for language in range(2):
        vectors = space.encode([pairs.captions[i][language] for i in pairs.seen.tolist()])
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
        found = (vectors @ shelf.T).argmax(1) == torch.arange(len(shelf))
        assert found.float().mean() > 10 / len(shelf), "ten times chance, after seconds"


def test_a_space_keeps_its_words_in_its_checkpoint(space: captioned.PairSpace, tmp_path: Path) -> None:
    checkpoint.save(space, tmp_path / "mine", card={})
    again = checkpoint.load(captioned.PairSpace, tmp_path / "mine")
    asked = ["a small red circle", "一个大的蓝色的星形", "never seen: ☃"]
    assert torch.equal(again.encode(asked), space.encode(asked))


class FakeSentences(torch.nn.Module):
    """In the place of sentence-transformers' model: 12 numbers a text, from its letters."""

    calls: list[list[str]] = []

    def __init__(self, model: str, device: str):
        super().__init__()
        assert (model, device) == ("some-model", "cpu")

    def encode(self, texts: list[str], convert_to_tensor: bool) -> torch.Tensor:
        self.calls.append(list(texts))
        return torch.stack([torch.randn(12, generator=torch.Generator().manual_seed(sum(map(ord, t)))) for t in texts])


def test_a_pretrained_encoder_stays_frozen_and_its_layer_learns(
    pairs: captioned.Pairs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=FakeSentences))
    FakeSentences.calls.clear()
    torch.manual_seed(0)
    space = captioned.SentenceSpace(model="some-model", size=12, width=8)
    before = space.encode(["a small red circle", "b"])
    torch.testing.assert_close(before.norm(dim=1), torch.ones(2))
    assert torch.equal(space.encode(["b", "a small red circle"]), before.flip(0)) and len(FakeSentences.calls) == 1
    losses = [loss for _, loss in captioned.align_pairs(space, pairs, replace(TINY.space, steps=60))]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    asked = [text for call in FakeSentences.calls for text in call]
    assert len(asked) == len(set(asked)), "each caption is encoded once"
    G, _, _, _, _ = captioned.prepare(space, pairs, TINY)
    assert captioned.PairPainter(space, G).draw(["b"], torch.Generator().manual_seed(0)).shape == (1, 3, 32, 32)
    checkpoint.save(space, tmp_path / "mine", card={})
    again = checkpoint.load(captioned.SentenceSpace, tmp_path / "mine")
    assert torch.equal(again.encode(["b"]), space.encode(["b"]))
    with pytest.raises(ValueError, match="expected 7 numbers a caption of some-model"):
        captioned.SentenceSpace(model="some-model", size=7).encode(["b"])
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ValueError, match=r"pip install 'mmcourse\[sentences\]'"):
        captioned.SentenceSpace(model="some-model", size=12).encode(["b"])


# ---- the game


def test_parts_of_a_run_fit_and_repeat(pairs: captioned.Pairs, space: captioned.PairSpace) -> None:
    G, D, sample, extra, _ = captioned.prepare(space, pairs, TINY, seed=3)
    batch = sample(torch.Generator().manual_seed(0), 0)
    again = sample(torch.Generator().manual_seed(0), 0)
    assert batch.cond is not None and batch.wrong is not None and torch.equal(batch.cond, again.cond)
    known = space.encode([c for i in pairs.seen.tolist() for c in pairs.captions[i]])
    owner = torch.arange(len(pairs.seen)).repeat_interleave(2)
    for x, cond, wrong in zip(batch.real, batch.cond, batch.wrong, strict=True):
        true = owner[(known - cond).norm(dim=1).argmin()]
        false = owner[(known - wrong).norm(dim=1).argmin()]
        assert torch.equal(pairs.pictures[pairs.seen[true]], x) and true != false
    fake = batch.real + 0.1
    start, end = extra(fake, batch, 0.0), extra(fake, batch, 1.0)
    assert float(start) == pytest.approx(TINY.truth * 0.01, rel=1e-4)
    assert float(end) == pytest.approx(float(start) * TINY.truth_left, rel=1e-4)
    assert isinstance(D, Augmented)
    weights = [p.clone() for p in captioned.prepare(space, pairs, TINY, seed=3)[0].parameters()]
    assert all(torch.equal(a, b) for a, b in zip(weights, G.parameters(), strict=True))


def test_warm_up_nears_the_truth_and_the_game_goes_on(pairs: captioned.Pairs, space: captioned.PairSpace) -> None:
    G, D, sample, extra, config = captioned.prepare(space, pairs, TINY)
    losses = [loss for _, loss in captioned.warm_up(G, sample, TINY)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    for step in play(G, D, sample, config, extra=extra):
        assert all(v == v for v in step.losses.values())
    assert step.number == 4
    painter = captioned.PairPainter(space, step.state.ema)
    drawn = painter.draw(["a small red circle"] * 3, torch.Generator().manual_seed(0))
    assert drawn.shape == (3, 3, 32, 32) and drawn.abs().max() <= 1 and not torch.equal(drawn[0], drawn[1])
    blank = painter.draw_blank(["a", "b"], torch.Generator().manual_seed(0))
    assert torch.equal(blank, painter.draw_blank(["c", "d"], torch.Generator().manual_seed(0)))


def test_every_profile_can_be_described() -> None:
    for recipe in captioned.PROFILES.values():
        assert recipe.describe()["space"]["steps"] == recipe.space.steps
    assert replace(captioned.PROFILES["cpu"], width=4).width == 4


# ---- the finder and retrieval


def test_the_finder_learns_to_know_pictures_again(pairs: captioned.Pairs) -> None:
    x = pairs.pictures
    near = lookalikes(x, group=5)
    assert torch.equal(near[:, 0], torch.arange(len(x))) and near.shape == (len(x), 5)
    with pytest.raises(ValueError, match="at least 5 pictures, got 3"):
        lookalikes(x[:3], group=5)
    steps = list(finder_steps(x, steps=60, groups=4, width=16))
    net = steps[-1][2]
    g = torch.Generator().manual_seed(8)
    rows, same = torch.arange(len(x)), torch.arange(len(x))
    moved = net.vectors(disturb(x, g))
    found = retrieval.found_at(moved, net.vectors(x), rows, same)
    torch.manual_seed(1)
    fresh = Finder(width=16)
    before = retrieval.found_at(fresh.vectors(disturb(x, g)), fresh.vectors(x), rows, same)
    assert found["r1"] > before["r1"] and found["r1"] > 0.6
    assert torch.equal(disturb(x, g, strength=0.0), x)


def test_retrieval_counts_by_hand() -> None:
    shelf = torch.eye(6)
    drawn = torch.tensor([[1.0, 0, 0, 0, 0, 0], [0, 0.9, 1, 0, 0, 0], [0, 0, 0, 0, 0.8, 0.9]])
    rows = torch.tensor([0, 1, 4])
    alone = torch.arange(6)
    assert retrieval.found_at(drawn, shelf, rows, alone, k=2) == pytest.approx(
        {"r1": 1 / 3, "r2": 1.0, "n": 3, **dict(zip(("low", "high"), retrieval.wilson(1, 3), strict=True))}
    )
    equal = torch.tensor([0, 1, 2, 3, 4, 4])  # the last two show the same picture
    assert retrieval.found_at(drawn, shelf, rows, equal)["r1"] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="3 vectors for 2 true pictures"):
        retrieval.found_at(drawn, shelf, rows[:2], alone)


def test_a_planted_copy_is_counted_and_a_fresh_picture_is_not(pairs: captioned.Pairs) -> None:
    torch.manual_seed(0)
    net = Finder(width=8)
    train = pairs.pictures[:20]
    limit = retrieval.copy_limit(net, train)
    shelf = net.vectors(train)
    copied = retrieval.near_copies(shelf[:5], shelf, limit)
    assert copied["share"] == 1 and copied["n"] == 5
    other = retrieval.near_copies(-shelf[:5], shelf, limit)
    assert other["share"] == 0


def test_frechet_halves_share_no_name(pairs: captioned.Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A painter that draws the very pictures gets the floor, and a blind one far more."""
    monkeypatch.setattr(retrieval, "MANY", 40)
    torch.manual_seed(0)
    net = Finder(width=8, features=8)
    names = {"en": [c[0] for c in pairs.captions]}
    book = {c: i for i, c in enumerate(names["en"])}

    def perfect(captions: list[str], g: torch.Generator) -> torch.Tensor:
        return pairs.pictures[[book[c] for c in captions]]

    def blind(captions: list[str], g: torch.Generator) -> torch.Tensor:
        return pairs.pictures[:1] + 0.01 * torch.randn(len(captions), 3, 32, 32, generator=g)

    rest = (net, pairs.pictures, names, pairs.held_out, torch.arange(len(pairs)))
    table, other = (retrieval.measure_pairs(one, blind, blind, *rest) for one in (perfect, blind))
    floor = table["seen"]["frechet_floor"]
    assert floor > 0 and table["seen"]["en"]["model"]["frechet"] == pytest.approx(floor)
    assert other["seen"]["en"]["model"]["frechet"] > 2 * floor and "frechet_floor" not in table["held_out"]


def test_a_perfect_and_a_blind_painter(pairs: captioned.Pairs) -> None:
    torch.manual_seed(0)
    net = Finder(width=8)
    names = {"en": [c[0] for c in pairs.captions], "zh": [c[1] for c in pairs.captions]}
    book = {c: i for i, both in enumerate(pairs.captions) for c in both}
    same = torch.arange(len(pairs))

    def perfect(captions: list[str], g: torch.Generator) -> torch.Tensor:
        return pairs.pictures[[book[c] for c in captions]]

    def blind(captions: list[str], g: torch.Generator) -> torch.Tensor:
        return pairs.pictures[:1].expand(len(captions), -1, -1, -1)

    table = retrieval.measure_pairs(perfect, blind, blind, net, pairs.pictures, names, pairs.held_out, same, n=30)
    for split, n in (("seen", 30), ("held_out", int(pairs.held_out.sum()))):
        for language in names:
            row = table[split][language]
            assert row["model"]["r1"] == 1 and row["model"]["n"] == n and row["no_text"]["r1"] <= 1 / n
        assert table[split]["en"]["model"]["near_copies"]["share"] == (
            1 if split == "seen" else pytest.approx(0, abs=0.9)
        )
