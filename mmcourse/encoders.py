"""Towers into one space for text and pictures, and the contrastive loss that builds it (lesson 08)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse import world
from mmcourse.checks import expect_shape
from mmcourse.data import CaptionBatch
from mmcourse.keep import Kept
from mmcourse.layers import Trunk, linear
from mmcourse.losses import contrastive
from mmcourse.text import Vocabulary
from mmcourse.train import FitConfig

SPACE = 64  # numbers in the shared space; every modality of the course meets here


class TextTower(nn.Module):
    """Token ids (B, T), 0 = padding, to unit vectors (B, 64).

    Two recurrent networks (GRU, arXiv 1406.1078) read the words in order, one from the front and one from the back;
    each number of the result is the maximum over the real words. Padding comes last in both readings and is left out
    of the maximum, so it cannot change a sentence.
    """

    def __init__(self, *, words: int, width: int = 96, length: int = 24, space: int = SPACE):
        super().__init__()
        self.hparams: dict[str, Any] = dict(words=words, width=width, length=length, space=space)
        self.embed = nn.Embedding(words, width)
        self.forth = nn.GRU(width, width, batch_first=True)
        self.back = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(2 * width, space)

    def forward(self, ids: Tensor) -> Tensor:
        t = expect_shape(ids, "B T", name="ids")["T"]
        if t > self.hparams["length"]:
            raise ValueError(f"ids: expected at most {self.hparams['length']} words a text, got {t}.")
        keep = ids > 0  # (B, T)
        turned = (keep.sum(1, keepdim=True) - 1 - torch.arange(t, device=ids.device)).clamp(min=0)  # last word first
        forth, _ = self.forth(self.embed(ids))  # (B, T, width)
        back, _ = self.back(self.embed(ids.gather(1, turned)))
        both = torch.cat([forth, back], dim=2).masked_fill(~keep[..., None], -2.0)  # a GRU's numbers lie in (-1, 1)
        return F.normalize(self.out(both.amax(1)), dim=1)


class ImageTower(nn.Module):
    """Pictures (B, 3, 32, 32) in [-1, 1] to unit vectors (B, 64)."""

    def __init__(self, *, width: int = 32, blocks: int = 1, features: int = 128, space: int = SPACE):
        super().__init__()
        self.hparams: dict[str, Any] = dict(width=width, blocks=blocks, features=features, space=space)
        self.trunk = Trunk(width=width, blocks=blocks, features=features)
        self.out = linear(features, space)

    def forward(self, x: Tensor) -> Tensor:
        expect_shape(x, "B 3 32 32", name="pictures")
        return F.normalize(self.out(self.trunk(x)), dim=1)


class Space(nn.Module):
    """The two towers, the temperature of their similarity, and one linear reader for both: what lesson 08 trains."""

    def __init__(self, *, words: int, text_width: int = 96, width: int = 32, blocks: int = 1):
        super().__init__()
        self.hparams: dict[str, Any] = dict(words=words, text_width=text_width, width=width, blocks=blocks)
        self.text = TextTower(words=words, width=text_width)
        self.image = ImageTower(width=width, blocks=blocks)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.reader = nn.Linear(SPACE, sum(world.CLASSES))

    def read(self, vectors: Tensor) -> list[Tensor]:
        """Vectors (B, 64) of either tower to logits, one (B, classes) for each column of ``world.COLUMNS``."""
        return list(self.reader(vectors * math.sqrt(SPACE)).split(world.CLASSES, dim=1))

    def similarity(self, image: Tensor, text: Tensor) -> Tensor:
        """Unit vectors (B, 64) and (C, 64) to scaled cosine similarities (B, C)."""
        return image @ text.T * self.log_scale.exp().clamp(max=50.0)


def recall_at(similarity: Tensor, positive: Tensor, k: int = 1) -> float:
    """Share of rows whose k most similar columns hold a positive: (B, C) and (B, C) bool to [0, 1]."""
    top = similarity.topk(k, dim=1).indices
    return positive.gather(1, top).any(1).float().mean().item()


@dataclass(frozen=True)
class SpaceConfig(FitConfig):
    """One run of ``align``: ``reading`` weighs the reader, ``leave_out`` is the share of facts that captions leave
    open, ``width`` and ``text_width`` are the towers'."""

    steps: int = 800
    batch: int = 64
    lr: float = 1.5e-3
    leave_out: float = 0.1
    reading: float = 1.0
    width: int = 32
    text_width: int = 96

    @property
    def size(self) -> dict[str, int]:
        """What ``Space`` is made with, beside its number of words."""
        return {"width": self.width, "text_width": self.text_width}


#: One entry a profile. "shipped" is the cpu run with more time.
PROFILES = {
    "quick": SpaceConfig(steps=160, batch=64),
    "cpu": SpaceConfig(steps=800),
    "shipped": SpaceConfig(steps=4200, batch=64),
    "gpu": SpaceConfig(steps=4200, batch=192, lr=1e-3, width=64, text_width=192),
}


def reading(logits: list[Tensor], facts: Tensor) -> Tensor:
    """Cross-entropy of the reader, over the columns of labels or statements (B, 8); what is open does not count.

    "A and B" leaves open which of the two is thing A; of such statements only the count is read.
    """
    unordered = (facts[:, 0] == 2) & (facts[:, 7] == world.OPEN)
    known = facts.clone()
    known[:, 1:] = known[:, 1:].masked_fill(unordered[:, None], world.OPEN)
    known[:, 0] -= 1  # one thing is class 0, two are class 1
    losses = [F.cross_entropy(x, known[:, i], ignore_index=world.OPEN, reduction="sum") for i, x in enumerate(logits)]
    return torch.stack(losses).sum() / (known != world.OPEN).sum()


def align(
    space: Space, sample: Callable[[], CaptionBatch], config: SpaceConfig, *, kept: Kept | None = None
) -> Iterator[tuple[int, float]]:
    """Train both towers; yields (step, contrastive loss) after every step.

    Contrast alone learns which words and things occur and hardly who has which: a bag of words. With ``reading`` above
    0 the same linear reader must find the facts in the vectors of both towers, which puts them into one order. Batches
    are carried to the towers' device. Pass ``kept`` to keep the run, or to go on with one.
    """
    device = next(space.parameters()).device
    opt = torch.optim.AdamW(space.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay)
    for step in (kept or Kept()).steps(config.steps, space=space, opt=opt):
        opt.param_groups[0]["lr"] = config.lr_at(step)
        batch = CaptionBatch(*(part.to(device) for part in sample()))
        n = len(batch.true)
        text, image = space.text(torch.cat([batch.true, batch.false])), space.image(batch.pictures)  # (2B, 64), (B, 64)
        logits = space.similarity(image, text)  # (B, 2B)
        loss = contrastive(logits[:, :n], batch.positive, logits[:, n:].diagonal()[:, None])
        total = loss
        if config.reading:
            read = reading(space.read(image), batch.labels) + reading(space.read(text[:n]), batch.statements)
            total = loss + config.reading * read
        opt.zero_grad()
        total.backward()
        opt.step()
        yield step + 1, float(loss.detach())


@torch.no_grad()
def space_report(space: Space, words: Vocabulary, *, n: int = 500, seed: int = 9) -> dict[str, float]:
    """Recall@1 over n distinct full captions that no training batch held, picture to caption and back.

    ``binding`` asks for word order: the caption, or the same caption with its two things exchanged.
    "seen" captions are made of seen colour-shape pairs, "held_out" ones hold at least one held-out pair. ``floor`` is
    1 / n, what guessing gets.
    """
    report: dict[str, float] = {"n": n, "floor": 1 / n}
    for name, split in (("seen", "train"), ("held_out", "held_out")):
        g = torch.Generator().manual_seed(seed)
        labels = torch.unique(world.sample_labels(6 * n, g, split=split), dim=0)
        labels = labels[torch.randperm(len(labels), generator=g)[:n]]
        ids = words.tokenize(world.captions(labels, random.Random(seed)))
        similarity = space.similarity(space.image(world.draw(world.place(labels, g))), space.text(ids))
        positive = world.satisfied_pairs(labels, labels)
        report[f"{name}_picture_to_text"] = recall_at(similarity, positive)
        report[f"{name}_text_to_picture"] = recall_at(similarity.T, positive.T)
        report[f"{name}_binding"] = _binding(space, words, n=n, split=split, seed=seed)
    return report


def _binding(space: Space, words: Vocabulary, *, n: int, split: str, seed: int) -> float:
    """Share of pictures of two things that lie nearer to their caption than to the one with the things exchanged: the
    same words in another order. Guessing gets one half."""
    g = torch.Generator().manual_seed(seed)
    labels = world.sample_labels(2 * n, g, objects=(2,), split=split)
    exchanged = labels[:, [0, 4, 5, 6, 1, 2, 3, 7]]
    keep = ~world.satisfied(labels, exchanged)
    labels, exchanged = labels[keep][:n], exchanged[keep][:n]
    image = space.image(world.draw(world.place(labels, g)))
    true, false = (space.text(words.tokenize(world.captions(x, random.Random(seed)))) for x in (labels, exchanged))
    return ((image * true).sum(1) > (image * false).sum(1)).float().mean().item()
