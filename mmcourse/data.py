"""The world as batches: captions, statements and pictures for training and for tests (lessons 08 and 09)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mmcourse import world
from mmcourse.text import Vocabulary

LANGUAGES = ("en", "zh")
TWINS = 6000  # how many captions of a pool are said a second time, to learn what is only wording
Encode = Callable[[Sequence[str]], Tensor]


def vocabulary() -> Vocabulary:
    """Every word of the world's grammar, English and Chinese, with a number each."""
    return Vocabulary(world.WORDS)


@dataclass(frozen=True)
class CaptionSet:
    """Captions with what they state: ``captions`` list of B texts, ``statements`` (B, 8), ``labels`` (B, 8) of one
    scene that each is true of."""

    captions: list[str]
    statements: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.captions)


def caption_set(
    n: int,
    *,
    split: str = "train",
    objects: Sequence[int] = (1, 2),
    seed: int = 0,
    leave_out: float = 0.15,
    languages: Sequence[str] = LANGUAGES,
) -> CaptionSet:
    """n captions of random scenes, the same for the same seed.

    ``split="train"`` holds compositions that training has seen ("seen"); in ``"held_out"`` every caption states at
    least one colour-shape pair that no training ever shows.
    """
    g, rng = torch.Generator().manual_seed(seed), random.Random(seed)
    labels = world.sample_labels(n, g, objects=objects, split=split)
    stated = world.state(labels, g, leave_out=leave_out, require="held_out" if split == "held_out" else "")
    return CaptionSet(world.captions(stated, rng, languages=languages), stated, labels)


class CaptionPool:
    """Many captions with their embeddings, computed once; batches are drawn from it.

    ``encode`` maps captions to vectors (B, K) and is frozen, so embeddings never change during training. The scenes
    are imagined and drawn afresh for every batch, so that what a caption leaves open stays open. A ``wrong`` caption is
    false of its picture: half are another scene's caption where that is false here, the rest the true caption with
    one fact changed.
    """

    def __init__(
        self,
        encode: Encode,
        n: int = 20000,
        *,
        objects: Sequence[int] = (1, 2),
        seed: int = 0,
        leave_out: float = 0.15,
        languages: Sequence[str] = LANGUAGES,
        device: str = "cpu",
    ):
        g, rng = torch.Generator().manual_seed(seed), random.Random(seed)
        labels = world.sample_labels(n, g, objects=objects)
        stated = world.state(labels, g, leave_out=leave_out)
        changed = world.contradict(labels, stated, g)
        self.true = encode(world.captions(stated, rng, languages=languages)).to(device)  # (n, K)
        self.hard = encode(world.captions(changed, rng, languages=languages)).to(device)  # (n, K)
        again = stated[:TWINS]
        self.twins = encode(world.captions(again, rng, languages=languages)).to(device)  # the first ones in other words
        self.labels, self.statements, self.changed = labels.to(device), stated.to(device), changed.to(device)

    def pick(self, n: int, g: torch.Generator, *, pairs: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Labels (n, 8) of imagined scenes, true captions' vectors (n, K) and wrong captions' vectors (n, K).

        The last ``pairs`` captions are the first ones again, with other scenes. Raises ``ValueError`` where more than
        half of the batch would be twins.
        """
        if not 0 <= 2 * pairs <= n:
            raise ValueError(f"pairs: expected 0 to {n // 2} in a batch of {n}, got {pairs}.")
        rows = torch.randint(len(self.labels), (n,), generator=g, device=g.device)
        rows[n - pairs :] = rows[:pairs]
        labels = world.imagine(self.statements[rows], g)
        # a changed caption is false of its first scene, and in rare cases true of an imagined one
        fits = world.satisfied(labels, self.changed[rows])
        labels = torch.where(fits[:, None], self.labels[rows], labels)
        other = rows.roll(1)
        false = ~world.satisfied(labels, self.statements[other])
        swap = false & (torch.arange(n, device=g.device) % 2 == 0)
        return labels, self.true[rows], torch.where(swap[:, None], self.true[other], self.hard[rows])

    def batch(
        self, n: int, g: torch.Generator, *, pairs: int = 0, resolution: int = 32
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``pick`` with the scenes drawn: pictures (n, 3, R, R) in [-1, 1] in the place of labels."""
        labels, true, wrong = self.pick(n, g, pairs=pairs)
        return world.draw(world.place(labels, g), resolution), true, wrong


class CaptionBatch(NamedTuple):
    """One batch for the shared space: pictures (B, 3, 32, 32), ids of captions that are true (B, T) and of captions
    that are false by one fact (B, T), which caption is true of which picture (B, B) bool, the pictures' labels (B, 8)
    and what the true captions state (B, 8)."""

    pictures: Tensor
    true: Tensor
    false: Tensor
    positive: Tensor
    labels: Tensor
    statements: Tensor


def caption_batch(
    batch: int, g: torch.Generator, rng: random.Random, words: Vocabulary, *, leave_out: float = 0.1
) -> CaptionBatch:
    """Fresh drawings and captions. Every second scene of two things has a partner in the batch: the same things with
    their attributes exchanged, so that only who has which colour, shape or size tells the two apart.

    Raises ``ValueError`` for a batch below 4.
    """
    if batch < 4:
        raise ValueError(f"batch: expected at least 4 pictures, got {batch}.")
    pairs = batch // 3
    ones, twos = (world.sample_labels(n, g, objects=(k,)) for k, n in ((1, batch - 2 * pairs), (2, pairs)))
    partners, fresh = world.exchange(twos, g), world.sample_labels(pairs, g, objects=(2,))
    partners = torch.where(world.holds_out(partners)[:, None], fresh, partners)
    labels = torch.cat([ones, twos, partners])
    stated = world.state(labels, g, leave_out=leave_out)
    changed = world.contradict(labels, stated, g)
    ids = words.tokenize(world.captions(stated, rng) + world.captions(changed, rng))
    ids = ids[:, : int((ids > 0).sum(1).max())]
    pictures = world.draw(world.place(labels, g))
    return CaptionBatch(pictures, ids[:batch], ids[batch:], world.satisfied_pairs(labels, stated), labels, stated)
