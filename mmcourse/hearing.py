"""An ear for the shared space: sounds become the vectors that captions become, and every model answers (lesson 12).

The audio tower alone learns. The space, the generator and the inpainter stay as they are. Spoken digits enter a second,
smaller space, whose measure are handwritten ones.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse import sounds, world
from mmcourse.audio import FLOOR, LENGTH, MELS, frame_count, log_mel
from mmcourse.checks import expect_shape
from mmcourse.data import Encode
from mmcourse.keep import Kept
from mmcourse.layers import SLOPE, Trunk, conv, linear
from mmcourse.losses import contrastive
from mmcourse.speech import pair
from mmcourse.train import FitConfig, expect_finite

SPACE = 64
FRAMES = frame_count(LENGTH)
RANGE = 60.0  # dB below a clip's loudest band that still count


class AudioTower(nn.Module):
    """Mel spectrograms (B, channels, 40, 64) in dB to unit vectors (B, 64).

    Each clip's loudest band becomes 0 dB first, so that loudness tells nothing. A layer looks for small patterns; then
    every frame is read twice: *what* is there, the maximum over all bands, so that the same rhythm is the same at any
    pitch; and *where*, some maps that keep the band. Two layers along time follow, and the maximum over time, so that
    it hardly matters when something sounds. That is a text tower's reading with frames in the place of words.
    """

    def __init__(
        self,
        *,
        channels: int = 2,
        width: int = 24,
        what: int = 32,
        where: int = 3,
        features: int = 192,
        space: int = SPACE,
    ):
        super().__init__()
        self.hparams: dict[str, Any] = dict(
            channels=channels, width=width, what=what, where=where, features=features, space=space
        )
        self.stem = nn.Conv2d(channels, width, 5, stride=(2, 1), padding=2)
        self.what, self.where = conv(width, what, 1), conv(width, where, 1)
        self.near = nn.Conv1d(what + where * MELS // 2, features, 5, stride=2, padding=2)
        self.far = nn.Conv1d(features, features, 9, padding=4)
        self.out = linear(features, space)

    def forward(self, spectra: Tensor) -> Tensor:
        expect_shape(spectra, f"B {self.hparams['channels']} {MELS} {FRAMES}", name="spectra")
        loudest = spectra.amax((1, 2, 3), keepdim=True).clamp(min=FLOOR + RANGE / 3)
        x = ((spectra - loudest) / RANGE).clamp(min=-1) * 2 + 1  # in [-1, 1]
        h = F.leaky_relu(self.stem(x), SLOPE)  # (B, width, 20, 64)
        h = torch.cat([self.what(h).amax(2), self.where(h).flatten(1, 2)], dim=1)  # (B, what + 20*where, 64)
        h = self.far(F.leaky_relu(self.near(h), SLOPE))  # (B, features, 32)
        return F.normalize(self.out(h.amax(2)), dim=1)

    @torch.no_grad()
    def hear(self, waves: Tensor, *, batch: int = 250) -> Tensor:
        """Waves (B, channels, ``LENGTH``) in [-1, 1] to unit vectors (B, 64), without a gradient."""
        expect_shape(waves, f"B {self.hparams['channels']} {LENGTH}", name="waves")
        return torch.cat([self(log_mel(part)) for part in waves.split(batch)])


# -------------------------------------------------------------------------------------------------- the world's sounds


class SoundPool:
    """Statements with their sounds' spectrograms and their captions' vectors, made once; batches are drawn from it.

    ``spectra`` (n, 2, 40, 64) in dB, ``statements`` and the ``labels`` of a scene that each is true of, both (n, 8).
    ``text`` (n, 64) is what captions of the statement become, the unit mean over ``wordings`` of them.
    """

    def __init__(
        self,
        encode: Encode,
        n: int,
        *,
        seed: int = 0,
        leave_out: float = 0.15,
        split: str = "train",
        objects: tuple[int, ...] = (1, 2),
        wordings: int = 4,
    ):
        g, rng = torch.Generator().manual_seed(seed), random.Random(seed)
        self.labels = world.sample_labels(n, g, objects=objects, split=split)
        require = "held_out" if split == "held_out" else ""
        self.statements = world.state(self.labels, g, leave_out=leave_out, require=require)
        said = [encode(world.captions(self.statements, rng)) for _ in range(wordings)]
        self.text = F.normalize(torch.stack(said).mean(0), dim=1)
        self.spectra = torch.cat([log_mel(sounds.sound(part, g)) for part in self.statements.split(250)])

    def __len__(self) -> int:
        return len(self.labels)


def spectra(waves: Tensor, *, batch: int = 250) -> Tensor:
    """Waves (N, channels, ``LENGTH``) to mel spectrograms (N, channels, 40, 64) in dB, some at a time."""
    return torch.cat([log_mel(part) for part in waves.split(batch)])


def shaken(spectra: Tensor, g: torch.Generator, *, shift: int = 2) -> Tensor:
    """Spectrograms (B, C, mels, frames) moved in time by up to ``shift`` frames, all by the same. What leaves
    at one end, mostly silence, comes in at the other."""
    by = int(torch.randint(-shift, shift + 1, (1,), generator=g))
    return spectra.roll(by, 3)


Loss = Callable[[AudioTower, torch.Generator], Tensor]


def _hear(tower: nn.Module, spectra: Tensor) -> Tensor:
    """A tower's vectors on the CPU, where batches are drawn and losses are taken, wherever the tower is."""
    heard: Tensor = tower(spectra.to(next(tower.parameters()).device))
    return heard.cpu()


def fit(tower: nn.Module, loss: Any, config: FitConfig, *, kept: Kept | None = None) -> Iterator[tuple[int, float]]:
    """The loop of this lesson: minimise ``loss(tower, rng)``; yields (step, loss) after every step. Pass ``kept``
    to keep the run, or to go on with one. Raises ``Diverged`` where the loss is not finite."""
    opt = torch.optim.AdamW(tower.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay)
    rng = torch.Generator().manual_seed(config.seed)
    tower.train()
    for step in (kept or Kept()).steps(config.steps, tower=tower, opt=opt, rng=rng):
        opt.param_groups[0]["lr"] = config.lr_at(step)
        value = loss(tower, rng)
        expect_finite(step + 1, loss=value)
        opt.zero_grad()
        value.backward()
        opt.step()
        yield step + 1, float(value.detach())
    tower.eval()


def align_loss(space: Any, pool: SoundPool, batch: int = 32) -> Loss:
    """Sounds against *pictures*: the contrastive loss of lesson 08, with the image tower frozen.

    Each sound of a batch is to lie nearer to a picture of its statement than to other statements' pictures. Text is
    never seen.
    """

    def loss(tower: AudioTower, rng: torch.Generator) -> Tensor:
        rows = torch.randint(len(pool), (batch,), generator=rng)
        labels = world.imagine(pool.statements[rows], rng)
        with torch.no_grad():
            image = space.image(world.draw(world.place(labels, rng)))
        heard = _hear(tower, shaken(pool.spectra[rows], rng))
        scale = space.log_scale.detach().exp().clamp(max=50.0)
        return contrastive(image @ heard.T * scale, world.satisfied_pairs(labels, pool.statements[rows]))

    return loss


def tune_loss(measures: Sequence[nn.Module], pool: SoundPool, batch: int = 32) -> Loss:
    """Sounds onto *captions*: the mean square of the difference between a sound's and a caption's vector, after the
    models' own ``whiten``, so that a difference counts as much as each model makes of it; the mean over the models."""

    def loss(tower: AudioTower, rng: torch.Generator) -> Tensor:
        rows = torch.randint(len(pool), (batch,), generator=rng)
        heard = _hear(tower, shaken(pool.spectra[rows], rng))
        text = pool.text[rows]
        return torch.stack([F.mse_loss(whiten(heard), whiten(text).detach()) for whiten in measures]).mean()

    return loss


def corrected(heard: Tensor, heard_mean: Tensor, text_mean: Tensor) -> Tensor:
    """Sounds' vectors (B, 64) with the gap between the modalities closed: their mean is taken off and the captions' put
    in its place, then to length 1. The gap: Liang et al., arXiv 2203.02053."""
    return F.normalize(heard - heard_mean + text_mean, dim=1)


def both(text: Tensor, heard: Tensor, nothing: Tensor) -> Tensor:
    """Vectors (B, 64) of a caption and of a sound that tell different facts of one scene, as one vector.

    Facts nearly add up in this space. What both say, that there is a thing at all, is counted once: ``nothing`` (B, 64)
    is the vector of a caption that tells no more than that.
    """
    return F.normalize(text + heard - nothing, dim=1)


def share_facts(labels: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Split what is true of scenes (B, 8) into two statements and what both tell, three times (B, 8).

    Of each thing's shape, colour and size one side tells one or two, the other the rest. One thing's place is told by
    either side; of two things both sides tell who stands where, or nobody would know whose fact is whose.
    """
    n = expect_shape(labels, "B 8", name="labels")["B"]
    first = torch.rand(n, 8, generator=g, device=labels.device) < 0.5
    for a in (1, 4):
        same = first[:, a : a + 3].all(1) | ~first[:, a : a + 3].any(1)
        odd = a + torch.randint(3, (n,), generator=g, device=labels.device)
        rows = torch.arange(n, device=labels.device)[same]
        first[rows, odd[same]] = ~first[rows, odd[same]]
    two = labels[:, 0] == 2
    shared = torch.zeros_like(first)
    shared[:, 0], shared[:, 7] = True, two
    open_ = torch.full_like(labels, world.OPEN)
    return tuple(torch.where(keep | shared, labels, open_) for keep in (first, ~first, shared))  # type: ignore[return-value]


@dataclass(frozen=True)
class Recipe:
    """Sizes and numbers of one ear; a profile is one of these. ``tune`` is the run onto captions."""

    sounds: int = 6000
    width: int = 24
    features: int = 192
    tune: FitConfig = field(default_factory=FitConfig)

    def describe(self) -> dict[str, Any]:
        """As plain JSON values, for the card."""
        return dict(json.loads(json.dumps(asdict(self))))


PROFILES = {
    "quick": Recipe(sounds=600, tune=FitConfig(steps=120)),
    "cpu": Recipe(),
    "shipped": Recipe(sounds=16000, tune=FitConfig(steps=6000)),
    "gpu": Recipe(sounds=40000, width=48, features=384, tune=FitConfig(steps=6000, batch=128, lr=1e-3)),
}


def prepare(
    encode: Encode, measures: Sequence[nn.Module], recipe: Recipe, *, seed: int = 0
) -> tuple[AudioTower, SoundPool, Loss, FitConfig]:
    """All that ``fit`` needs: ``tower, pool, loss, config = prepare(encode, [G.whiten], recipe)``. ``measures``
    are the ``whiten`` of the models that shall answer. The seed sets the first weights, the sounds and the batches."""
    pool = SoundPool(encode, recipe.sounds, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = AudioTower(width=recipe.width, features=recipe.features)
    return tower, pool, tune_loss(measures, pool, recipe.tune.batch), replace(recipe.tune, seed=seed)


# ------------------------------------------------------------------------------------------------------- spoken digits


class DigitSpace(nn.Module):
    """Handwritten and spoken digits in one space, and a linear reader that knows the written ones.

    ``picture`` and ``audio`` give unit vectors (B, 64). ``cond`` turns either into a condition (B, 10) of the
    class-conditional generator of lesson 06: how likely each digit is.
    """

    def __init__(self, *, width: int = 16, audio_width: int = 24, features: int = 192):
        super().__init__()
        self.hparams: dict[str, Any] = dict(width=width, audio_width=audio_width, features=features)
        self.trunk = Trunk(width=width, features=SPACE, channels=1)
        self.reader = nn.Linear(SPACE, 10)
        self.audio = AudioTower(channels=1, width=audio_width, features=features)

    def picture(self, x: Tensor) -> Tensor:
        expect_shape(x, "B 1 32 32", name="pictures")
        return F.normalize(self.trunk(x), dim=1)

    def cond(self, vectors: Tensor) -> Tensor:
        """Unit vectors (B, 64) to shares (B, 10) that sum to 1."""
        return torch.softmax(self.read(vectors), dim=1)

    def read(self, vectors: Tensor) -> Tensor:
        """Unit vectors (B, 64) to logits (B, 10). Their numbers are small, so they are enlarged first."""
        return self.reader(vectors * SPACE**0.5)

    @torch.no_grad()
    def speak(self, waves: Tensor) -> Tensor:
        """Waves (B, 1, ``LENGTH``) to conditions (B, 10) for the generator."""
        return self.cond(self.audio.hear(waves))


class Pairs(NamedTuple):
    """Clips' spectrograms (N, 1, 40, 64) in dB with their digits (N,), and handwriting (M, 1, 32, 32) with its own."""

    spectra: Tensor
    digits: Tensor
    pictures: Tensor
    labels: Tensor


def written_loss(data: Callable[[torch.Generator], tuple[Tensor, Tensor]]) -> Any:
    """The first half: pictures and a reader, by cross-entropy. ``data(rng)`` gives pictures and labels."""

    def loss(space: DigitSpace, rng: torch.Generator) -> Tensor:
        x, labels = data(rng)
        return F.cross_entropy(space.read(space.picture(x.to(space.reader.weight.device))).cpu(), labels)

    return loss


def spoken_loss(space: DigitSpace, pairs: Pairs, batch: int = 64, scale: float = 10.0) -> Loss:
    """The second half: clips against handwriting of the same digit, contrastively; pictures and reader are frozen.

    No clip is ever told its digit: a clip and a picture are a pair or none. Raises ``ValueError`` where a spoken digit
    has no picture.
    """
    with torch.no_grad():
        seen = torch.cat([space.picture(x) for x in pairs.pictures.split(500)])

    def loss(tower: AudioTower, rng: torch.Generator) -> Tensor:
        rows = torch.randint(len(pairs.digits), (batch,), generator=rng)
        digits = pairs.digits[rows]
        partners = pair(digits, pairs.labels, rng)
        heard = _hear(tower, disturb(pairs.spectra[rows], rng))
        return contrastive(seen[partners] @ heard.T * scale, digits[:, None] == digits[None])

    return loss


def disturb(spectra: Tensor, g: torch.Generator) -> Tensor:
    """Spectrograms of speech (B, 1, mels, frames) as other voices might say them: higher or lower by up to three bands,
    squeezed or stretched along the bands by up to an eighth, slower or faster by up to a quarter, sooner or later by up
    to six frames, with a stretch of bands and one of frames silenced and a little noise.
    The silencing: SpecAugment, Park et al., arXiv 1904.08779."""
    n, _, mels, frames = spectra.shape
    stretch = 1 + 0.25 * (2 * torch.rand(n, generator=g) - 1)
    up = (2 * torch.rand(n, generator=g) - 1) * 3 * 2 / mels
    late = (2 * torch.rand(n, generator=g) - 1) * 6 * 2 / frames
    squeeze = 1 + 0.12 * (2 * torch.rand(n, generator=g) - 1)
    zero = torch.zeros(n)
    turn = torch.stack([torch.stack([stretch, zero, late], 1), torch.stack([zero, squeeze, up], 1)], 1)  # (B, 2, 3)
    grid = F.affine_grid(turn, list(spectra.shape), align_corners=False)
    moved = F.grid_sample(spectra - FLOOR, grid, align_corners=False) + FLOOR  # from outside comes silence
    for axis, most in ((2, 6), (3, 10)):
        size = spectra.shape[axis]
        first = torch.randint(size, (n, 1), generator=g)
        long = torch.randint(0, most + 1, (n, 1), generator=g)
        at = torch.arange(size)
        gone = (at >= first) & (at < first + long)  # (B, size)
        moved = moved.masked_fill(gone[:, None, :, None] if axis == 2 else gone[:, None, None, :], FLOOR)
    return moved + 2 * torch.randn(moved.shape, generator=g)


@dataclass(frozen=True)
class SpeechRecipe:
    """One digit space: the run on handwriting, then the run on pairs of clips and handwriting."""

    width: int = 16
    audio_width: int = 24
    features: int = 192
    written: FitConfig = field(default_factory=lambda: FitConfig(steps=400, batch=64))
    spoken: FitConfig = field(default_factory=lambda: FitConfig(steps=1000, batch=64))

    def describe(self) -> dict[str, Any]:
        """As plain JSON values, for the card."""
        return dict(json.loads(json.dumps(asdict(self))))


SPEECH = {
    "quick": SpeechRecipe(written=FitConfig(steps=60, batch=64), spoken=FitConfig(steps=60, batch=64)),
    "cpu": SpeechRecipe(),
    "shipped": SpeechRecipe(written=FitConfig(steps=1500, batch=64), spoken=FitConfig(steps=5000, batch=64)),
    "gpu": SpeechRecipe(
        width=48,
        audio_width=48,
        features=384,
        written=FitConfig(steps=3000, batch=128),
        spoken=FitConfig(steps=8000, batch=128),
    ),
}
