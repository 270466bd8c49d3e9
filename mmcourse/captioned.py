"""Pictures and captions of other people, or your own: a space, a game on little data (derived in lesson 14).

What lessons 08 and 09 derive is put together for captions that no grammar made. The words are pieces learned from the
captions; a true caption is one of the picture's own; a false one is another picture's. Each caption has one picture
here, so G may also be told that picture, and the game makes what it draws sharp.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse import masks
from mmcourse.augment import CHANGES, Augmented, augment
from mmcourse.checks import expect_range, expect_shape
from mmcourse.encoders import SPACE, ImageTower, TextTower
from mmcourse.inpainting import Damage, Damaged, drop_text
from mmcourse.keep import Kept
from mmcourse.layers import no_grad_copy
from mmcourse.subwords import Subwords
from mmcourse.text2image import Discriminator, Generator
from mmcourse.train import Batch, Extra, FitConfig, Sample, TrainConfig, host_rng

LENGTH = 64  # pieces that a caption may have


class Pairs:
    """Pictures (N, 3, 32, 32) in [-1, 1], each with at least one caption, and which of them training may see.

    ``captions[i]`` lists what picture i is called, in one language or several. ``held_out`` (N,) bool marks what no
    training sees. Raises ``ValueError`` where the three do not match, or a picture has no caption.
    """

    def __init__(self, pictures: Tensor, captions: Sequence[Sequence[str]], held_out: Tensor | None = None):
        n = expect_shape(pictures, "N 3 32 32", name="pictures")["N"]
        expect_range(pictures, -1, 1, name="pictures")
        self.pictures, self.captions = pictures, [list(c) for c in captions]
        self.held_out = torch.zeros(n, dtype=torch.bool) if held_out is None else held_out
        if not len(self.captions) == len(self.held_out) == n:
            raise ValueError(f"Pairs: got {n} pictures, {len(self.captions)} captions and {len(self.held_out)} marks.")
        bare = [i for i, c in enumerate(self.captions) if not c or not all(text.strip() for text in c)]
        if bare:
            raise ValueError(f"Pairs: every picture needs a caption; number {bare[0]} has none ({len(bare)} in all).")
        self.seen = (~self.held_out).nonzero()[:, 0]
        if len(self.seen) < 2:
            raise ValueError(f"Pairs: expected at least two pictures for training, got {len(self.seen)}.")

    def __len__(self) -> int:
        return len(self.captions)

    def vocabulary(self, size: int | None = None) -> Subwords:
        """Pieces learned from the captions that training may see."""
        return Subwords.learn([text for i in self.seen.tolist() for text in self.captions[i]], size)


class PairSpace(nn.Module):
    """A text tower that reads pieces, and an image tower: both to unit vectors (B, 64). ``words`` is what
    ``Subwords.to_dict`` gives; it travels in the checkpoint."""

    def __init__(self, *, words: dict[str, Any], text_width: int = 128, width: int = 32):
        super().__init__()
        self.hparams: dict[str, Any] = dict(words=words, text_width=text_width, width=width)
        self.subwords = Subwords.from_dict(words)
        self.text = TextTower(words=len(self.subwords), width=text_width, length=LENGTH)
        self.image = ImageTower(width=width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def read(self, captions: Sequence[str]) -> Tensor:
        """Captions to unit vectors (B, 64), with gradients."""
        ids = self.subwords.tokenize(captions, length=LENGTH)
        return self.text(ids[:, : int((ids > 0).sum(1).max())].to(self.log_scale.device))

    @torch.no_grad()
    def encode(self, captions: Sequence[str], *, chunk: int = 500) -> Tensor:
        """The same for many captions, in chunks, without gradients, and on the CPU."""
        return torch.cat([self.read(captions[i : i + chunk]).cpu() for i in range(0, len(captions), chunk)])


class SentenceSpace(nn.Module):
    """A ``PairSpace`` whose captions are read by a frozen, pretrained sentence encoder; a linear layer above it learns.

    For captions in free words, and where there are too few to learn words from. ``model`` names a model of the package
    sentence-transformers, ``size`` the numbers that it gives. It is an option, ``pip install 'mmcourse[sentences]'``,
    and nothing in the course needs it; the first use fetches the model. Vectors of known captions are kept.
    """

    def __init__(self, *, model: str = "paraphrase-multilingual-MiniLM-L12-v2", size: int = 384, width: int = 32):
        super().__init__()
        self.hparams: dict[str, Any] = dict(model=model, size=size, width=width)
        self.out = nn.Linear(size, SPACE)
        self.image = ImageTower(width=width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self._kept: dict[str, Tensor] = {}
        self._encoder: Any = None

    def read(self, captions: Sequence[str]) -> Tensor:
        """Captions to unit vectors (B, 64), with gradients to the layer above the encoder.

        Raises ``ValueError`` where the package is missing, or the model gives other than ``size`` numbers.
        """
        new = [text for text in dict.fromkeys(captions) if text not in self._kept]
        if new:
            found = torch.as_tensor(self._load().encode(new, convert_to_tensor=True)).detach().float().cpu()
            if found.shape != (len(new), self.hparams["size"]):
                raise ValueError(
                    f"SentenceSpace: expected {self.hparams['size']} numbers a caption of {self.hparams['model']}, got "
                    f"{tuple(found.shape)} for {len(new)}. Give that size."
                )
            self._kept |= dict(zip(new, found.clone(), strict=True))
        known = torch.stack([self._kept[text] for text in captions])
        return F.normalize(self.out(known.to(self.log_scale.device)), dim=1)

    def _load(self) -> Any:
        if self._encoder is None:
            try:
                from sentence_transformers import SentenceTransformer
            except ImportError as error:
                raise ValueError(
                    "SentenceSpace needs the package sentence-transformers, which is not installed. Install the extra: "
                    "pip install 'mmcourse[sentences]'. PairSpace needs nothing."
                ) from error
            self._encoder = SentenceTransformer(self.hparams["model"], device="cpu").eval()
        return self._encoder

    @torch.no_grad()
    def encode(self, captions: Sequence[str], *, chunk: int = 500) -> Tensor:
        """The same for many captions, in chunks and without gradients."""
        return torch.cat([self.read(captions[i : i + chunk]) for i in range(0, len(captions), chunk)])


@dataclass(frozen=True)
class SpaceConfig(FitConfig):
    """One run of ``align_pairs``."""

    steps: int = 1600
    batch: int = 96
    words: int = 3000
    text_width: int = 128


def align_pairs(
    space: PairSpace | SentenceSpace, pairs: Pairs, config: SpaceConfig, *, kept: Kept | None = None
) -> Iterator[tuple[int, float]]:
    """Train both towers by contrast; yields (step, loss). Pass ``kept`` to keep the run, or to go on with one.

    Each picture comes slightly moved and cut, with two of its captions (the same one twice where there is but one). All
    three shall find each other among those of the batch: picture and caption, and caption and caption, so that a name
    in another language becomes the same vector. Batches are drawn on the CPU and carried to the towers' device.
    """
    g, device = torch.Generator().manual_seed(config.seed), space.log_scale.device
    opt = torch.optim.AdamW(space.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay)
    for step in (kept or Kept()).steps(config.steps, space=space, opt=opt, g=g):
        opt.param_groups[0]["lr"] = config.lr_at(step)
        rows = pairs.seen[torch.randperm(len(pairs.seen), generator=g)[: config.batch]].tolist()
        said = [_two_of(pairs.captions[i], g) for i in rows]
        one, two = space.read([a for a, _ in said] + [b for _, b in said]).chunk(2)
        seen = space.image(augment(pairs.pictures[rows], g, changes=("shift",)).to(device))
        scale, true = space.log_scale.exp().clamp(max=50.0), torch.arange(len(rows), device=device)
        parts = [(seen, one), (seen, two), (one, two)]
        loss = sum(F.cross_entropy(s, true) for a, b in parts for s in (scale * a @ b.T, scale * b @ a.T)) / 6
        assert isinstance(loss, Tensor)
        opt.zero_grad()
        loss.backward()
        opt.step()
        yield step + 1, float(loss.detach())


def _two_of(captions: Sequence[str], g: torch.Generator) -> tuple[str, str]:
    order = torch.randperm(len(captions), generator=g)
    return captions[int(order[0])], captions[int(order[-1])]


# ---- holes


def hole_damage(space: PairSpace | SentenceSpace, pairs: Pairs, *, batch: int = 16, silent: float = 0.15) -> Damage:
    """Batches for ``inpainting.fit_hole``: pictures with a hole of any kind or a large square about the middle, and the
    vectors of their captions; a share ``silent`` of these is left out (zeros)."""
    vectors = [space.encode(pairs.captions[i]) for i in pairs.seen.tolist()]
    pictures = pairs.pictures[pairs.seen]

    def sample(rng: torch.Generator, step: int) -> Damaged:
        here, device = host_rng(rng), rng.device
        at = torch.randint(len(pictures), (batch,), generator=here)
        text = torch.stack([_one_of(vectors[int(i)], here) for i in at])
        middle = masks.around(0.5 + 0.15 * (torch.rand(batch, 2, generator=here) - 0.5))
        large = torch.rand(batch, 1, 1, 1, generator=here) < 0.5
        mask = torch.where(large, middle, masks.mixed(batch, here))
        return Damaged(pictures[at].to(device), mask.to(device), drop_text(text, silent, here).to(device))

    return sample


# ---- the game


@dataclass(frozen=True)
class Recipe:
    """Sizes and numbers of one run on captioned pictures; a profile is one of these.

    ``truth`` weighs the squared distance to the caption's own picture in G's loss; it falls linearly to ``truth_left``
    of itself over the run. ``changes`` are what D sees everything through; none leaves it bare.
    """

    width: int = 48
    mapping: int = 256
    truth: float = 20.0
    truth_left: float = 0.5
    changes: tuple[str, ...] = CHANGES
    space: SpaceConfig = field(default_factory=SpaceConfig)
    warm_up: int = 1500  # steps by the distance alone, before the game
    warm_batch: int = 48
    config: TrainConfig = field(
        default_factory=lambda: TrainConfig(steps=2000, batch=32, lr=1e-3, final_lr=0.05, gamma=0.3, ema=0.998)
    )

    def describe(self) -> dict[str, Any]:
        """As plain JSON values, for the card."""
        return dict(json.loads(json.dumps(asdict(self))))


def _run(steps: int, **more: Any) -> TrainConfig:
    return TrainConfig(steps=steps, **{"batch": 32, "lr": 1e-3, "final_lr": 0.05, "gamma": 0.3, "ema": 0.998, **more})


#: One entry a profile. ``cpu`` is for at most 300 pictures; ``gpu`` is the shipped model.
PROFILES = {
    "quick": Recipe(space=SpaceConfig(steps=60, batch=48, words=1000), warm_up=150, config=_run(20, ema=0.9)),
    "cpu": Recipe(space=SpaceConfig(steps=500, batch=64, words=1000), warm_up=900, config=_run(700, batch=16)),
    "gpu": Recipe(
        mapping=240,
        truth=60.0,
        truth_left=1.0,
        space=SpaceConfig(steps=4000, batch=96),
        warm_up=9000,
        config=_run(3000, batch=24, lr=5e-4, ema=0.999),
    ),
}


def to_truth(fake: Tensor, batch: Batch) -> Tensor:
    """The mean squared distance (a number) between what G drew and the captions' own pictures."""
    return F.mse_loss(fake, batch.real)


def prepare(
    space: PairSpace | SentenceSpace, pairs: Pairs, recipe: Recipe, *, seed: int = 0, device: str = "cpu"
) -> tuple[Generator, Augmented, Sample, Extra, TrainConfig]:
    """All that ``play`` needs: ``G, D, sample, extra, config = prepare(space, pairs, recipe)``. ``space`` is trained
    and stays as it is. ``seed`` sets the first weights, the batches and the run's noise. Batches are drawn on the CPU
    and carried to the device."""
    rows = pairs.seen.tolist()
    first = space.encode([pairs.captions[i][0] for i in rows])  # (M, 64)
    vectors = [space.encode(pairs.captions[i]) for i in rows] if _many(pairs) else [v[None] for v in first]
    last = torch.stack([v[-1] for v in vectors])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        G = Generator(z=recipe.config.z, width=recipe.width, mapping=recipe.mapping)
        D = Discriminator(width=space.hparams["width"])
    both = torch.cat([first, last])
    G.whiten.fit(both, torch.cat([last, first]) if _many(pairs) else None, floor=0.003)
    pictures = pairs.pictures[pairs.seen]
    D.start_from(no_grad_copy(space.image).cpu(), pictures[:256], first[:256])
    G, D = G.to(device), D.to(device)
    config = replace(recipe.config, seed=seed)

    def sample(rng: torch.Generator, step: int) -> Batch:
        here, size = host_rng(rng), config.batch
        at = torch.randint(len(pictures), (2 * size,), generator=here)
        away = torch.where(at[:size] == at[size:], (at[size:] + 1) % len(pictures), at[size:])
        cond = torch.stack([_one_of(vectors[int(i)], here) for i in at[:size]])
        wrong = torch.stack([_one_of(vectors[int(i)], here) for i in away])
        return Batch(*(t.to(rng.device) for t in (pictures[at[:size]], cond, wrong)))

    def extra(fake: Tensor, batch: Batch, progress: float) -> Tensor:
        return recipe.truth * (1 - (1 - recipe.truth_left) * progress) * to_truth(fake, batch)

    return G, Augmented(D, seed=seed, changes=recipe.changes, device=device), sample, extra, config


def _many(pairs: Pairs) -> bool:
    return all(len(c) > 1 for c in pairs.captions)


def _one_of(vectors: Tensor, rng: torch.Generator) -> Tensor:
    return vectors[int(torch.randint(len(vectors), (1,), generator=rng))]


def warm_up(
    G: Generator, sample: Sample, recipe: Recipe, *, seed: int = 0, kept: Kept | None = None
) -> Iterator[tuple[int, float]]:
    """Before the game: G learns each caption's picture by the squared distance alone; yields (step, loss). Pass
    ``kept`` to keep the run, or to go on with one."""
    device = next(G.parameters()).device
    g = torch.Generator().manual_seed(seed)
    fit = FitConfig(steps=recipe.warm_up, lr=2e-3, warm_up=100)
    opt = torch.optim.Adam(G.parameters(), lr=fit.lr, betas=(0.9, 0.99))
    for step in (kept or Kept()).steps(recipe.warm_up, G=G, opt=opt, g=g):
        opt.param_groups[0]["lr"] = fit.lr_at(step)
        drawn = sample(g, step)
        assert drawn.cond is not None
        batch = Batch(drawn.real.to(device), drawn.cond.to(device))
        z = torch.randn(len(batch.real), recipe.config.z, generator=g).to(device)
        loss = to_truth(G(z, batch.cond), batch)
        opt.zero_grad()
        loss.backward()
        opt.step()
        yield step + 1, float(loss.detach())


class PairPainter:
    """A trained space and generator: captions in, pictures (B, 3, 32, 32) in [-1, 1] out."""

    def __init__(self, space: PairSpace | SentenceSpace, G: Any):
        self.space, self.G = space, G

    @torch.no_grad()
    def draw(self, captions: Sequence[str], rng: torch.Generator | None = None, *, z: Tensor | None = None) -> Tensor:
        """One picture a caption, from a random source or from the noise z (B, 16) itself."""
        cond = self.space.encode(captions)
        if z is None:
            z = torch.randn(len(cond), self.G.hparams["z"], generator=rng)
        return self._paint(z, cond)

    @torch.no_grad()
    def draw_blank(self, captions: Sequence[str], rng: torch.Generator | None = None) -> Tensor:
        """The no-text control: the same noise, but every caption's vector replaced by the mean of all."""
        z = torch.randn(len(captions), self.G.hparams["z"], generator=rng)
        return self._paint(z, self.G.whiten.centre.cpu().expand(len(z), -1))

    def _paint(self, z: Tensor, cond: Tensor) -> Tensor:
        device = next(self.G.parameters()).device
        parts = zip(z.split(250), cond.split(250), strict=True)
        return torch.cat([self.G(a.to(device), b.to(device)).cpu() for a, b in parts])
