"""The ear held to closed forms, to loops by hand, and to stand-ins whose answers are known."""

from __future__ import annotations

import copy
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse import audio, hearing, inpainting, metrics, sounds, world
from mmcourse.audio import FLOOR, LENGTH, MELS
from mmcourse.hearing import FRAMES, AudioTower, DigitSpace, SoundPool
from mmcourse.layers import Whiten
from mmcourse.masks import compose
from mmcourse.train import Diverged, FitConfig

OFFSETS = np.cumsum([0, *world.CLASSES])  # where each column's block begins in a vector of ones and noughts


def told(statements: Tensor) -> Tensor:
    """Statements (B, 8) as vectors (B, 64): a one for each fact that is stated. Facts add up exactly."""
    out = torch.zeros(len(statements), 64)
    for k, size in enumerate(world.CLASSES):
        value = statements[:, k] - int(k == 0)
        stated = F.one_hot(value.clamp(min=0), size).float() * (value >= 0)[:, None]
        out[:, OFFSETS[k] : OFFSETS[k] + size] = stated
    return out


def untold(vectors: Tensor) -> Tensor:
    """The other way, at any length of the vectors: statements (B, 8); where no count is told, a small red circle."""
    most, rows = vectors[:, : OFFSETS[-1]].amax(1, keepdim=True).clamp(min=1e-6), []
    for k, size in enumerate(world.CLASSES):
        block = vectors[:, OFFSETS[k] : OFFSETS[k] + size]
        rows.append(torch.where(block.amax(1) > 0.3 * most[:, 0], block.argmax(1) + (k == 0), world.OPEN))
    found = torch.stack(rows, dim=1)
    return torch.where(found[:, :1] > 0, found, torch.tensor([1, 0, 0, 0, -1, -1, -1, 0]))


def encode(captions: Sequence[str]) -> Tensor:
    return told(world.statements(captions))


@pytest.fixture(scope="module")
def tower() -> AudioTower:
    torch.manual_seed(0)
    return AudioTower(width=8, what=8, features=32).eval()


@pytest.fixture(scope="module")
def clips() -> Tensor:
    """Spectrograms (16, 2, 40, 64) of statements."""
    g = torch.Generator().manual_seed(1)
    return audio.log_mel(sounds.sound(world.sample_labels(16, g), g))


def same(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


# ---- the tower


def test_a_tower_gives_unit_vectors_that_tell_clips_apart(tower: AudioTower, clips: Tensor) -> None:
    v = tower(clips)
    assert v.shape == (16, 64) and torch.allclose(v.norm(dim=1), torch.ones(16), atol=1e-5)
    assert (v[:, None] - v[None]).norm(dim=2)[~torch.eye(16, dtype=torch.bool)].min() > 1e-3
    assert torch.allclose(tower(clips[5:6]), v[5:6], atol=1e-5), "a clip's vector does not depend on its neighbours"
    one = AudioTower(channels=1, width=8, what=4, where=2, features=16, space=5)
    assert one(clips[:, :1]).shape == (16, 5)
    again = AudioTower(**one.hparams)
    again.load_state_dict(one.state_dict())
    assert torch.equal(again(clips[:, :1]), one(clips[:, :1])) and same(again, one)


def test_loudness_tells_nothing(tower: AudioTower) -> None:
    """Any number of dB more or less is the same vector; so are waves of other loudness, 60 dB deep and no deeper."""
    g = torch.Generator().manual_seed(2)
    spectra = -60 * torch.rand(4, 2, MELS, FRAMES, generator=g)
    v = tower(spectra)
    for gain in (-20, -7.5, 3, 12):
        assert torch.allclose(tower(spectra + gain), v, atol=1e-4)
    deep = torch.where(spectra < -50, spectra - spectra.amax((1, 2, 3), keepdim=True) - 60, spectra)
    deeper = torch.where(spectra < -50, deep - 30, deep)
    assert torch.allclose(tower(deep), tower(deeper), atol=1e-5), "60 dB below the loudest nothing counts"
    assert not torch.allclose(tower(torch.where(spectra < -50, spectra + 10, spectra)), v, atol=1e-3)
    waves = sounds.sound(world.sample_labels(8, g), g, noise=0)
    waves = 0.9 * waves / waves.abs().amax((1, 2), keepdim=True)
    assert torch.allclose(tower.hear(waves), tower.hear(0.4 * waves), atol=1e-3)


def test_one_ear_louder_than_the_other_is_heard(tower: AudioTower, clips: Tensor) -> None:
    """The loudest band is that of both ears together, or left and right would sound alike."""
    quieter = clips.clone()
    quieter[:, 0] -= 15
    assert (tower(quieter) - tower(clips)).norm(dim=1).min() > 1e-3
    assert (tower(clips.flip(1)) - tower(clips)).norm(dim=1).max() > 1e-2


def test_what_is_near_silence_is_not_made_loud(tower: AudioTower) -> None:
    """20 dB above the floor a clip's loudest band is full scale; below that it stays what it is beside that."""
    g = torch.Generator().manual_seed(3)
    faint = FLOOR + 15 * torch.rand(2, 2, MELS, FRAMES, generator=g)
    faint[:, 0, 3, 5] = FLOOR + 18
    marked = faint.clone()
    marked[:, 0, 20, 30] = FLOOR + 20  # one band at the limit sets the scale, at which it already is
    seen: list[Tensor] = []
    hook = tower.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    tower(faint), tower(marked), tower(faint + 60)
    hook.remove()
    want = 2 * (faint - (FLOOR + 20)) / 60 + 1
    assert torch.allclose(seen[0], want, atol=1e-5)
    assert torch.allclose(seen[1][:, 1], want[:, 1], atol=1e-5)
    assert seen[2].amax((1, 2, 3)).tolist() == pytest.approx([1, 1]) and all(x.abs().max() <= 1 for x in seen)


def test_silence_is_a_finite_unit_vector(tower: AudioTower) -> None:
    v = tower.hear(sounds.silence(3))
    assert torch.isfinite(v).all() and torch.allclose(v.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(v[0], v[1], atol=1e-6)
    spectra = torch.full((2, 2, MELS, FRAMES), FLOOR, requires_grad=True)
    tower(spectra)[0, 0].backward()
    assert spectra.grad is not None and torch.isfinite(spectra.grad).all()
    tower.zero_grad()


def pattern(band: int, frame: int) -> Tensor:
    """A spectrogram (1, 2, 40, 64) of one small thing on a quiet ground."""
    g = torch.Generator().manual_seed(4)
    out = torch.full((1, 2, MELS, FRAMES), FLOOR)
    out[..., band : band + 6, frame : frame + 8] = -40 * torch.rand(1, 2, 6, 8, generator=g)
    return out


def test_when_something_sounds_does_not_matter(tower: AudioTower) -> None:
    """By whole steps of two frames, exactly, while it lies in the interior; but backwards is something else."""
    v = tower(pattern(16, 26))
    for frame in (24, 28, 30, 32):
        assert torch.allclose(tower(pattern(16, frame)), v, atol=1e-5), frame
    assert (tower(pattern(16, 26).flip(3)) - v).norm() > 1e-2, "played backwards"


def test_the_same_rhythm_is_the_same_at_any_pitch_for_what_and_another_for_where(tower: AudioTower) -> None:
    deaf = copy.deepcopy(tower)
    nn.init.zeros_(deaf.where.weight)
    v, w = deaf(pattern(16, 26)), tower(pattern(16, 26))
    for band in (8, 14, 18, 26):
        assert torch.allclose(deaf(pattern(band, 26)), v, atol=1e-5), band
        assert (tower(pattern(band, 26)) - w).norm() > 1e-2, band
    twice = torch.maximum(pattern(8, 26), pattern(26, 26))
    assert torch.allclose(deaf(twice), v, atol=1e-5), "the maximum: two that sound at once are one"
    only = copy.deepcopy(tower)
    nn.init.zeros_(only.what.weight)
    assert (only(pattern(18, 26)) - only(pattern(16, 26))).norm() > 1e-2


def test_a_gradient_reaches_every_number(clips: Tensor) -> None:
    torch.manual_seed(1)
    tower = AudioTower(width=8, what=8, features=32)
    tower(clips).square().mul(torch.arange(64.0)).sum().backward()
    for name, p in tower.named_parameters():
        assert p.grad is not None and torch.isfinite(p.grad).all(), name
        assert (p.grad.flatten(1) if p.dim() > 1 else p.grad[:, None]).abs().sum(1).gt(0).float().mean() > 0.9, name


def test_hearing_is_the_towers_reading_of_the_mel_spectrogram(tower: AudioTower) -> None:
    g = torch.Generator().manual_seed(5)
    waves = sounds.sound(world.sample_labels(7, g), g)
    v = tower.hear(waves)
    assert torch.allclose(v, tower(audio.log_mel(waves)), atol=1e-5) and not v.requires_grad
    assert torch.allclose(tower.hear(waves, batch=3), v, atol=1e-5)
    assert torch.equal(hearing.spectra(waves, batch=2), audio.log_mel(waves))


def test_other_shapes_are_refused(tower: AudioTower) -> None:
    bad: tuple[int, ...]
    for bad in ((2, 1, MELS, FRAMES), (2, 2, MELS, 63), (2, 2, 41, FRAMES), (2, MELS, FRAMES)):
        with pytest.raises(ValueError, match="spectra: expected"):
            tower(torch.zeros(bad))
    for bad in ((2, 1, LENGTH), (2, 2, LENGTH - 1), (2, LENGTH)):
        with pytest.raises(ValueError, match="waves: expected"):
            tower.hear(torch.zeros(bad))


# ---- the pool


def pool(n: int = 60, **more: Any) -> SoundPool:
    return SoundPool(encode, n, **more)


def test_a_pool_holds_sounds_of_its_statements_and_their_captions() -> None:
    said: list[tuple[list[str], Tensor]] = []
    g = torch.Generator().manual_seed(9)

    def noisy(captions: Sequence[str]) -> Tensor:
        said.append((list(captions), F.normalize(encode(captions) + 0.2 * torch.randn(len(captions), 64, generator=g))))
        return said[-1][1]

    p = SoundPool(noisy, 300, seed=3, wordings=3)
    assert len(p) == 300 and p.labels.shape == p.statements.shape == (300, 8)
    assert p.spectra.shape == (300, 2, MELS, FRAMES) and p.text.shape == (300, 64)
    assert world.satisfied(p.labels, p.statements).all() and (p.statements == world.OPEN).any(0)[1:].all()
    # captions: three wordings of the statement
    true = said
    assert len(true) == 3 and true[0][0] != true[1][0] != true[2][0]
    assert all(torch.equal(world.statements(captions), p.statements) for captions, _ in true)
    mean = np.mean([v.numpy() for _, v in true], axis=0)
    assert p.text.numpy() == pytest.approx(mean / np.linalg.norm(mean, axis=1, keepdims=True), abs=1e-6)
    # sounds: the number of notes, and the louder ear of one thing
    loud = p.spectra.amax((1, 2))  # (300, 64)
    notes = 1 + (loud[:, 33:].amax(1) > loud[:, :30].amax(1) - 14).long()
    assert torch.equal(notes, p.statements[:, 0]), "one note or two"
    apart = p.spectra[:, 0].amax((1, 2)) - p.spectra[:, 1].amax((1, 2))
    for name, sign in (("left", 1), ("right", -1)):
        rows = (p.statements[:, 0] == 1) & (p.statements[:, 7] == world.LAYOUTS.index(name))
        assert rows.any() and (sign * apart[rows] > 12).all(), name
    unsaid = (p.statements[:, 0] == 1) & (p.statements[:, 7] == world.OPEN)
    assert (p.labels[unsaid, 7] == 1).any() and (apart[unsaid].abs() < 9).all(), "what is open is open in the sound"
    centre = (p.statements[:, 0] == 1) & (p.statements[:, 7] == 0)
    assert (apart[centre].abs() < 3).all()


def test_a_training_pool_states_no_held_out_pair_and_a_held_out_one_always_does() -> None:
    assert not world.holds_out(pool(400).labels).any()
    assert world.holds_out(pool(200, split="held_out", leave_out=0.6).statements).all()
    assert (pool(50, objects=(2,)).statements[:, 0] == 2).all()
    full = pool(50, leave_out=0.0, objects=(2,))
    assert torch.equal(full.statements, full.labels)


def test_a_pool_is_the_same_for_a_seed_and_leaves_torchs_own_alone() -> None:
    before = torch.get_rng_state()
    one, again, other = pool(seed=1), pool(seed=1), pool(seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    for name in ("labels", "statements", "spectra", "text"):
        assert torch.equal(getattr(one, name), getattr(again, name)), name
        assert not torch.equal(getattr(one, name), getattr(other, name)), name


def test_shaken_is_a_move_in_time_of_all_alike() -> None:
    spectra = torch.zeros(3, 2, MELS, FRAMES)
    spectra[..., 30] = torch.arange(1.0, 4)[:, None, None]
    g, seen = torch.Generator().manual_seed(0), Counter[int]()
    for _ in range(200):
        moved = hearing.shaken(spectra, g, shift=2)
        at = int(moved[0, 0, 0].argmax())
        assert torch.equal(moved[..., at], spectra[..., 30]) and moved.sum() == spectra.sum()
        seen[at - 30] += 1
    assert set(seen) == {-2, -1, 0, 1, 2} and min(seen.values()) > 20
    assert torch.equal(hearing.shaken(spectra, g, shift=0), spectra)
    assert set(range(-4, 5)) == {int(hearing.shaken(spectra, g, shift=4)[0, 0, 0].argmax()) - 30 for _ in range(99)}


# ---- the loop


@pytest.mark.parametrize("config", [FitConfig(), FitConfig(steps=7, lr=0.5, warm_up=3), FitConfig(warm_up=1)])
def test_the_rate_in_closed_form(config: FitConfig) -> None:
    for step in range(config.steps):
        warm = min(1, (step + 1) / config.warm_up)
        assert config.lr_at(step) == pytest.approx(config.lr * warm * math.sqrt(1 - step / config.steps))
    rates = [config.lr_at(step) for step in range(config.steps)]
    top = int(np.argmax(rates))
    assert top == config.warm_up - 1 and np.all(np.diff(rates[top:]) < 0) and config.lr_at(config.steps) == 0


def test_fit_is_adamw_at_these_rates() -> None:
    """The same by hand, with torch's optimiser at a rate set before each step."""
    config = FitConfig(steps=9, lr=0.02, warm_up=4, weight_decay=0.3, seed=5)
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    other = copy.deepcopy(net).eval()

    def loss(module: nn.Module, rng: torch.Generator) -> Tensor:
        x = torch.randn(4, 3, generator=rng)
        return (module(x) - x.sum(1, keepdim=True)).square().mean()

    modes, got = [], []
    net.eval()
    for step, value in hearing.fit(net, loss, config):
        modes.append(net.training)
        got.append((step, value))
    assert modes == [True] * 9 and not net.training, "it ends as it is used"
    opt = torch.optim.AdamW(other.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=0.3)
    rng = torch.Generator().manual_seed(5)
    for k in range(9):
        opt.param_groups[0]["lr"] = 0.02 * min(1, (k + 1) / 4) * math.sqrt(1 - k / 9)
        opt.zero_grad()
        worth = loss(other, rng)
        worth.backward()
        opt.step()
        assert got[k] == (k + 1, pytest.approx(float(worth.detach()), rel=1e-5))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_an_ear_learns_a_tiny_pool() -> None:
    """Sounds of 24 statements become their captions' vectors, from as good as at right angles."""
    p = pool(24)
    torch.manual_seed(0)
    tower = AudioTower(width=8, what=12, features=48)
    config = FitConfig(steps=60, batch=16, warm_up=5, lr=3e-3)
    values = [value for _, value in hearing.fit(tower, hearing.tune_loss([nn.Identity()], p, 16), config)]
    assert len(values) == 60 and np.mean(values[-5:]) < 0.35 * np.mean(values[:3])
    near = F.cosine_similarity(tower(p.spectra), p.text).mean()
    assert near > 0.7


def test_the_seed_orders_the_batches_and_sets_the_first_weights() -> None:
    recipe = hearing.Recipe(sounds=20, width=4, features=8, tune=FitConfig(steps=2, batch=4, seed=77))
    found = []
    for seed in (0, 0, 1):
        before = torch.get_rng_state()
        tower, p, loss, config = hearing.prepare(encode, [nn.Identity()], recipe, seed=seed)
        assert torch.equal(torch.get_rng_state(), before) and config == replace(recipe.tune, seed=seed)
        assert tower.hparams["width"] == 4 and tower.hparams["features"] == 8 and len(p) == 20
        first = copy.deepcopy(tower)
        found.append((first, p.spectra, [v for _, v in hearing.fit(tower, loss, config)]))
    (a, x, u), (b, y, v), (c, z, w) = found
    assert same(a, b) and not same(a, c) and torch.equal(x, y) and not torch.equal(x, z) and u == v != w


# ---- the losses


class Fixed(nn.Module):
    """A tower that gives each clip the vector that its first number names."""

    def __init__(self, vectors: Tensor):
        super().__init__()
        self.vectors = nn.Parameter(vectors)

    def forward(self, spectra: Tensor) -> Tensor:
        return F.normalize(self.vectors[spectra.amax((1, 2, 3)).long()], dim=1)


def numbered(n: int) -> Tensor:
    """n spectrograms, each full of its own number: no move in time changes that."""
    return torch.arange(float(n)).view(n, 1, 1, 1).expand(n, 2, MELS, FRAMES)


@pytest.mark.parametrize("log_scale", [math.log(7.0), math.log(200.0)])
def test_sounds_against_pictures_is_the_contrastive_loss_by_hand(log_scale: float, rng: torch.Generator) -> None:
    p: Any = Rows(pool(40, leave_out=0.4).statements, numbered(40))
    torch.manual_seed(0)
    look = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, 64))
    space = SimpleNamespace(
        image=lambda x: F.normalize(look(x), dim=1), log_scale=nn.Parameter(torch.tensor(log_scale))
    )
    tower: Any = Fixed(torch.randn(40, 64, generator=rng))
    value = hearing.align_loss(space, p, 12)(tower, torch.Generator().manual_seed(8))
    value.backward()
    assert tower.vectors.grad is not None and tower.vectors.grad.abs().sum() > 0
    assert space.log_scale.grad is None and all(q.grad is None for q in look.parameters()), "the space stays as it is"
    g = torch.Generator().manual_seed(8)
    rows = torch.randint(40, (12,), generator=g)
    labels = world.imagine(p.statements[rows], g)
    image = space.image(world.draw(world.place(labels, g))).detach().double().numpy()
    heard = F.normalize(tower.vectors[rows], dim=1).detach().double().numpy()
    logits = image @ heard.T * min(math.exp(log_scale), 50)
    fits = [[bool(world.satisfied(a[None], b[None])) for b in p.statements[rows]] for a in labels]
    pairs = np.array(fits)
    assert pairs.diagonal().all() and pairs.sum() > 12, "some sounds are true of several pictures"
    kept = np.where(pairs, logits, -np.inf)
    want = np.mean([np.mean(logsumexp(logits, k) - logsumexp(kept, k)) for k in (0, 1)])
    assert value.item() == pytest.approx(want, rel=1e-4)


class Rows:
    """A pool with no text."""

    def __init__(self, statements: Tensor, spectra: Tensor, text: Tensor | None = None):
        self.statements, self.spectra = statements, spectra
        if text is not None:
            self.text = text

    def __len__(self) -> int:
        return len(self.spectra)


def test_sounds_onto_captions_in_closed_form(rng: torch.Generator) -> None:
    text = F.normalize(torch.randn(30, 64, generator=rng), dim=1)
    whiten = Whiten(64)
    whiten.fit(text + 0.3 * torch.randn(30, 64, generator=rng))
    tower: Any = Fixed(torch.randn(30, 64, generator=rng))
    p: Any = Rows(torch.zeros(30, 8), numbered(30), text.requires_grad_())
    value = hearing.tune_loss([whiten], p, 20)(tower, torch.Generator().manual_seed(1))
    value.backward()
    rows = torch.randint(30, (20,), generator=torch.Generator().manual_seed(1))
    heard = F.normalize(tower.vectors[rows], dim=1)
    apart = ((heard - text[rows]).detach().double() @ whiten.spread.double()).numpy()
    assert value.item() == pytest.approx((apart**2).mean(), rel=1e-4)
    assert tower.vectors.grad is not None and text.grad is None
    moved = tower.vectors.grad.abs().sum(1) > 0
    assert set(moved.nonzero()[:, 0].tolist()) == set(rows.tolist())
    perfect: Any = Fixed(text.detach().clone())
    assert hearing.tune_loss([whiten], p, 20)(perfect, rng).item() == pytest.approx(0, abs=1e-9)


# ---- vectors


def test_the_gap_is_closed_the_means_coincide_before_the_length_is_set(rng: torch.Generator) -> None:
    heard, text = torch.randn(50, 64, generator=rng) + 2, torch.randn(40, 64, generator=rng) - 1
    got = hearing.corrected(heard, heard.mean(0), text.mean(0))
    moved = heard.double().numpy() - heard.mean(0).double().numpy() + text.mean(0).double().numpy()
    assert moved.mean(0) == pytest.approx(text.mean(0).double().numpy(), abs=1e-5)
    assert got.numpy() == pytest.approx(moved / np.linalg.norm(moved, axis=1, keepdims=True), abs=1e-5)
    shifted = heard + torch.randn(64, generator=rng)
    assert torch.allclose(hearing.corrected(shifted, shifted.mean(0), text.mean(0)), got, atol=1e-5), "any gap"
    unit = F.normalize(heard, dim=1)
    assert torch.allclose(hearing.corrected(unit, unit.mean(0), unit.mean(0)), unit, atol=1e-6), "no gap, no change"


def test_both_adds_facts_up_and_counts_what_is_shared_once(rng: torch.Generator) -> None:
    labels = world.sample_labels(200, rng)
    one, other, shared = hearing.share_facts(labels, rng)
    got = hearing.both(told(one), told(other), told(shared))
    assert torch.allclose(got, F.normalize(told(labels), dim=1), atol=1e-6)
    assert torch.equal(untold(got), labels)


def test_facts_are_shared_out_to_one_side_each(rng: torch.Generator) -> None:
    labels = world.sample_labels(5000, rng, split="all")
    kept = labels.clone()
    one, other, shared = hearing.share_facts(labels, rng)
    assert torch.equal(labels, kept)
    two = labels[:, 0] == 2
    sides = torch.stack([one != world.OPEN, other != world.OPEN])
    for side in (one, other, shared):
        assert torch.equal(side[side != world.OPEN], labels[side != world.OPEN]), "nothing is told that is not true"
        assert (side[:, 0] == labels[:, 0]).all()
    assert (shared[:, 1:7] == world.OPEN).all() and torch.equal(
        shared[:, 7], torch.where(two, labels[:, 7], world.OPEN)
    )
    # one thing's facts, and its place: by exactly one side
    count = sides.sum(0)
    assert (count[:, 1:4] == 1).all() and (count[two, 4:7] == 1).all() and (count[~two, 4:7] == 0).all()
    assert (count[~two, 7] == 1).all() and (count[two, 7] == 2).all()
    for columns, rows in ((slice(1, 4), two | True), (slice(4, 7), two)):
        mine = sides[0][rows][:, columns]
        assert set(mine.sum(1).tolist()) == {1, 2}
        # six ways to share three facts out as one and two, each as likely: chi square with five degrees of freedom
        ways = torch.bincount((mine * torch.tensor([1, 2, 4])).sum(1), minlength=8)[1:7].double()
        assert ((ways - ways.mean()).square() / ways.mean()).sum() < 20.5  # 1 in 1,000
        assert (mine.sum(1) == 1).float().mean() == pytest.approx(0.5, abs=0.03), "both sides alike often"
    assert sides[0][~two, 7].float().mean() == pytest.approx(0.5, abs=0.04)
    a, b = sides[0][two, 1:4].sum(1).double(), sides[0][two, 4:7].sum(1).double()
    assert abs(np.corrcoef(a.numpy(), b.numpy())[0, 1]) < 0.06, "each thing on its own"


def test_shared_facts_come_from_the_generator(rng: torch.Generator) -> None:
    labels = world.sample_labels(50, rng)
    first, again, other = (hearing.share_facts(labels, torch.Generator().manual_seed(k))[0] for k in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    with pytest.raises(ValueError, match="labels: expected"):
        hearing.share_facts(labels[:, :7], rng)


# ---- recipes


@pytest.mark.parametrize("name", sorted(hearing.PROFILES))
def test_a_recipe_goes_to_json_and_back(name: str) -> None:
    recipe = hearing.PROFILES[name]
    plain: dict[str, Any] = json.loads(json.dumps(recipe.describe()))
    assert plain == recipe.describe()
    assert hearing.Recipe(**{**plain, "tune": FitConfig(**plain["tune"])}) == recipe


@pytest.mark.parametrize("name", sorted(hearing.SPEECH))
def test_a_speech_recipe_goes_to_json_and_back(name: str) -> None:
    recipe = hearing.SPEECH[name]
    plain: dict[str, Any] = json.loads(json.dumps(recipe.describe()))
    assert plain == recipe.describe()
    again: dict[str, Any] = {k: FitConfig(**v) if isinstance(v, dict) else v for k, v in plain.items()}
    assert hearing.SpeechRecipe(**again) == recipe


def test_every_profile_of_the_course_has_a_recipe() -> None:
    assert set(hearing.PROFILES) == set(hearing.SPEECH) == {"quick", "cpu", "shipped", "gpu"}
    for table in (hearing.PROFILES, hearing.SPEECH):
        for recipe in table.values():
            runs = [v for v in vars(recipe).values() if isinstance(v, FitConfig)]
            assert runs and all(run.warm_up < run.steps for run in runs)


# ---- spoken digits


@pytest.fixture(scope="module")
def digit_space() -> DigitSpace:
    torch.manual_seed(2)
    return DigitSpace(width=4, audio_width=4, features=16)


def test_a_digit_space_gives_unit_vectors_and_shares(digit_space: DigitSpace, rng: torch.Generator) -> None:
    v = digit_space.picture(torch.rand(6, 1, 32, 32, generator=rng) * 2 - 1)
    w = digit_space.audio(FLOOR * torch.rand(6, 1, MELS, FRAMES, generator=rng))
    for x in (v, w):
        assert x.shape == (6, 64) and torch.allclose(x.norm(dim=1), torch.ones(6), atol=1e-5)
        shares = digit_space.cond(x)
        assert shares.shape == (6, 10) and (shares > 0).all() and torch.allclose(shares.sum(1), torch.ones(6))
        logits = 8 * x @ digit_space.reader.weight.T + digit_space.reader.bias
        assert torch.allclose(digit_space.read(x), logits, atol=1e-5)
        assert torch.allclose(shares, logits.exp() / logits.exp().sum(1, keepdim=True), atol=1e-6)
    waves = torch.rand(5, 1, LENGTH, generator=rng) - 0.5
    spoken = digit_space.speak(waves)
    assert torch.allclose(spoken, digit_space.cond(digit_space.audio(audio.log_mel(waves))), atol=1e-6)
    assert not spoken.requires_grad
    again = DigitSpace(**digit_space.hparams)
    again.load_state_dict(digit_space.state_dict())
    assert same(again, digit_space)
    with pytest.raises(ValueError, match="pictures: expected"):
        digit_space.picture(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match="waves: expected"):
        digit_space.speak(torch.zeros(2, 2, LENGTH))


def test_the_first_half_is_cross_entropy_and_leaves_the_ear_alone(
    digit_space: DigitSpace, rng: torch.Generator
) -> None:
    x, labels = torch.rand(20, 1, 32, 32, generator=rng) * 2 - 1, torch.arange(20) % 10
    seen: list[torch.Generator] = []
    loss = hearing.written_loss(lambda g: (seen.append(g) or x, labels))(digit_space, rng)  # type: ignore[func-returns-value]
    assert seen == [rng]
    logits = digit_space.read(digit_space.picture(x)).detach().double().numpy()
    assert loss.item() == pytest.approx(-log_softmax(logits, 1)[np.arange(20), labels].mean(), rel=1e-5)
    digit_space.zero_grad()
    loss.backward()
    assert all(p.grad is None for p in digit_space.audio.parameters())
    assert all(p.grad is not None for p in [*digit_space.trunk.parameters(), *digit_space.reader.parameters()])
    digit_space.zero_grad()


def test_speech_is_paired_with_handwriting_of_the_same_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Towers that know every digit: the loss is then a matter of counting partners."""
    monkeypatch.setattr(hearing, "disturb", lambda spectra, g: spectra)
    g = torch.Generator().manual_seed(0)
    digits, labels = torch.randint(10, (50,), generator=g), torch.randint(10, (70,), generator=g)
    asked: list[int] = []

    def picture(x: Tensor) -> Tensor:
        asked.append(len(x))
        return F.one_hot(x[:, 0, 0, 0].long(), 64).float()

    pairs = hearing.Pairs(
        digits.float().view(50, 1, 1, 1).expand(50, 1, MELS, FRAMES),
        digits,
        labels.float().view(70, 1, 1, 1).expand(70, 1, 32, 32),
        labels,
    )
    tower: Any = Fixed(torch.eye(64)[:10])
    space: Any = SimpleNamespace(picture=picture)
    loss = hearing.spoken_loss(space, pairs, batch=24, scale=3.0)
    for seed in range(5):
        value = loss(tower, torch.Generator().manual_seed(seed))
        drawn = digits[torch.randint(50, (24,), generator=torch.Generator().manual_seed(seed))]
        partners = (drawn[:, None] == drawn[None]).sum(1).double()
        want = torch.log((partners * math.exp(3) + 24 - partners) / (partners * math.exp(3))).mean()
        assert value.item() == pytest.approx(want.item(), rel=1e-4)
    assert asked == [70], "pictures are looked at once, and their side learns nothing"


def test_clips_are_disturbed_and_partners_change(monkeypatch: pytest.MonkeyPatch, digit_space: DigitSpace) -> None:
    g = torch.Generator().manual_seed(0)
    pairs = hearing.Pairs(
        FLOOR * torch.rand(20, 1, MELS, FRAMES, generator=g),
        torch.arange(20) % 10,
        torch.rand(600, 1, 32, 32, generator=g) * 2 - 1,
        torch.arange(600) % 10,
    )
    heard: list[Tensor] = []
    usual = hearing.disturb
    monkeypatch.setattr(hearing, "disturb", lambda x, g: heard.append(usual(x, g)) or heard[-1])  # type: ignore[func-returns-value]
    loss = hearing.spoken_loss(digit_space, pairs, batch=16, scale=10.0)
    digit_space.zero_grad()
    value = loss(digit_space.audio, torch.Generator().manual_seed(1))
    value.backward()
    assert [x.shape for x in heard] == [(16, 1, MELS, FRAMES)]
    assert all(p.grad is None for p in [*digit_space.trunk.parameters(), *digit_space.reader.parameters()])
    assert all(p.grad is not None for p in digit_space.audio.parameters())
    digit_space.zero_grad()
    monkeypatch.setattr(hearing, "disturb", lambda x, g: pairs.spectra[:16])
    values = {round(loss(digit_space.audio, torch.Generator().manual_seed(k)).item(), 5) for k in range(6)}
    assert len(values) == 6
    assert value.item() == loss_of(loss, digit_space, heard[0], monkeypatch)


def loss_of(loss: Any, space: DigitSpace, heard: Tensor, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(hearing, "disturb", lambda x, g: heard)
    return loss(space.audio, torch.Generator().manual_seed(1)).item()


def tone(band: int, frame: int, *, wide: int = 3, n: int = 2000) -> Tensor:
    """n spectrograms with one loud blot in silence."""
    out = torch.full((n, 1, MELS, FRAMES), FLOOR)
    out[:, :, band - wide : band + wide + 1, frame - wide : frame + wide + 1] = 0
    return out


def middles(spectra: Tensor) -> tuple[Tensor, Tensor]:
    """The blot's middle band and middle frame, where it is whole enough to have one."""
    loud = (spectra[:, 0] - FLOOR).where(spectra[:, 0] > FLOOR + 15, torch.tensor(0.0))
    whole = loud.sum((1, 2)) > 0.8 * 49 * -FLOOR
    loud = loud[whole]
    total = loud.sum((1, 2))
    bands = (loud.sum(2) * torch.arange(MELS)).sum(1) / total
    frames = (loud.sum(1) * torch.arange(FRAMES)).sum(1) / total
    return bands, frames


def test_disturbed_speech_is_moved_both_ways_in_pitch_and_time(rng: torch.Generator) -> None:
    moved = hearing.disturb(tone(19, 31), rng)
    assert moved.shape == (2000, 1, MELS, FRAMES)
    bands, frames = middles(moved)
    assert len(bands) > 1000
    up, late = bands - 19, frames - 31
    for off, most in ((up, 3), (late, 6)):
        low, high = np.quantile(off.numpy(), (0.02, 0.98))
        assert -1.3 * most < low < -0.8 * most and 0.8 * most < high < 1.3 * most and off.mean().abs() < 0.1 * most
    assert abs(np.corrcoef(up, late)[0, 1]) < 0.1, "each on its own"
    again, other = (hearing.disturb(tone(19, 31, n=5), torch.Generator().manual_seed(k)) for k in (1, 2))
    assert torch.equal(again, hearing.disturb(tone(19, 31, n=5), torch.Generator().manual_seed(1)))
    assert not torch.equal(again, other)


def test_a_voice_is_moved_by_three_bands_and_squeezed_by_an_eighth_at_most(rng: torch.Generator) -> None:
    bands, _ = middles(hearing.disturb(tone(32, 31), rng))
    off = (bands - 32).abs()
    assert np.quantile(off.numpy(), 0.98) < 3.3 + 0.14 * (32 - 19.5) and off.max() > 3


def test_disturbed_speech_is_slower_or_faster_by_up_to_a_quarter(rng: torch.Generator) -> None:
    clips = torch.full((2000, 1, MELS, FRAMES), FLOOR)
    clips[..., 24:26] = clips[..., 38:40] = 0.0  # 14 frames apart, in all bands
    moved = hearing.disturb(clips, rng)[:, 0].amax(1)  # (n, 64): loudest band of each frame
    speeds = []
    for line in moved:
        loud = (line - FLOOR - 10).clamp(min=0)
        at = loud > 0.45 * loud.max()
        rises = torch.nonzero(at[1:] & ~at[:-1])[:, 0]
        if len(rises) == 2:
            half = int(rises.sum()) // 2 + 1
            parts = slice(half), slice(half, None)
            first, second = ((loud[s] * torch.arange(FRAMES)[s]).sum() / loud[s].sum() for s in parts)
            speeds.append(14 / float(second - first))
    assert len(speeds) > 1000
    assert 0.72 < np.quantile(speeds, 0.005) < 0.79 and 1.21 < np.quantile(speeds, 0.995) < 1.30
    assert np.mean(speeds) == pytest.approx(1, abs=0.04)


def test_disturbed_silence_stays_silence_but_for_a_little_noise(rng: torch.Generator) -> None:
    quiet = torch.full((200, 1, MELS, FRAMES), FLOOR)
    moved = hearing.disturb(quiet, rng)
    assert moved.mean().item() == pytest.approx(FLOOR, abs=0.01) and moved.std().item() == pytest.approx(2, abs=0.02)
    assert quiet.eq(FLOOR).all(), "what is given stays"


def test_stretches_of_bands_and_of_frames_are_silenced(rng: torch.Generator) -> None:
    """In the middle, which no move leaves empty: at most six bands and ten frames, each in one piece."""
    moved = hearing.disturb(torch.zeros(3000, 1, MELS, FRAMES), rng)[:, 0, 8:-8, 14:-14] < FLOOR / 2
    for axis, most in ((2, 6), (1, 10)):
        gone = moved.float().mean(axis) > 0.99
        sizes = gone.sum(1)
        assert sizes.max() == most and (sizes == 0).any()
        pieces = (gone[:, 1:] & ~gone[:, :-1]).sum(1) + gone[:, 0]
        assert (pieces <= 1).all()
        assert (gone.float().mean(0) > 0.03).all(), "anywhere"
    bands, frames = moved.float().mean(2) > 0.99, moved.float().mean(1) > 0.99
    assert torch.equal(moved, bands[:, :, None] | frames[:, None, :]), "whole bands and whole frames, nothing else"


# ---- measures


class Ear:
    """A tower that hears a statement which was laid into the wave, and nothing in any other wave. The ``gap`` is what
    all its vectors have, and captions' have not, in numbers that tell nothing."""

    def __init__(self, *, gap: float = 0.0) -> None:
        self.heard: list[Tensor] = []
        self.gap = gap * (torch.arange(64) >= int(OFFSETS[-1]))

    def hear(self, waves: Tensor) -> Tensor:
        self.heard.append(waves)
        spoken = waves[:, 0, 8] == 0.5
        return told(torch.round(10 * waves[:, 0, :8]).long().where(spoken[:, None], -1)) + self.gap


class Brush(nn.Module):
    """A generator that paints exactly what it is told, a statement's numbers as a picture's first eight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.hparams = nn.Parameter(torch.zeros(1)), {"z": 3}
        self.calls: list[tuple[Tensor, Tensor]] = []

    def forward(self, z: Tensor, cond: Tensor) -> Tensor:
        self.calls.append((z, cond))
        out = torch.zeros(len(z), 3, 32, 32)
        open_ = untold(cond)
        out[:, 0, 0, :8] = world.imagine(open_, torch.Generator().manual_seed(len(self.calls)), split="all").float()
        return out


class Reads:
    def read(self, pictures: Tensor) -> Tensor:
        return pictures[:, 0, 0, :8].long()


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sounds that are their statements."""

    def sound(statements: Tensor, g: torch.Generator) -> Tensor:
        out = torch.zeros(len(statements), 2, LENGTH)
        out[:, 0, :8], out[:, 0, 8] = statements / 10, 0.5
        return out

    monkeypatch.setattr(sounds, "sound", sound)


KINDS = ("text", "sound", "corrected", "silence", "noise", "chance")


@pytest.mark.usefixtures("spoken")
def test_who_paints_what_it_hears_gets_all_right_and_silence_none() -> None:
    ear, brush = Ear(), Brush()
    table = metrics.measure_hearing(ear, brush, Reads(), encode, n=400)  # type: ignore[arg-type]
    assert set(table) == {"seen", "held_out"}
    for row in table.values():
        assert set(row) == {*KINDS, "parts"}
        for kind in ("text", "sound", "corrected"):
            assert row[kind]["all"] == 1 and row[kind]["n"] == 400, kind
            assert row[kind]["low"] < 1 and all(row[kind][k] == 1 for k in metrics.ATTRIBUTES)
        parts = row["parts"]
        assert set(parts) == {"text", "sound", "both", "whole_text", "whole_sound", "whole_both"}
        for kind in ("both", "whole_text", "whole_sound", "whole_both"):
            assert parts[kind]["all"] == 1, kind
        for kind in ("text", "sound"):  # half of what is true is told; the rest is guessed
            assert parts[kind]["all"] < 0.15 and parts[kind]["count"] == 1 > parts[kind]["colour"] > 0.5, kind
        assert row["silence"]["all"] == row["noise"]["all"] < 0.1
        assert row["silence"]["count"] == pytest.approx(0.5, abs=0.1)
    assert table["held_out"]["silence"]["all"] == 0, "a small red circle is no held-out pair"


@pytest.mark.usefixtures("spoken")
def test_what_is_asked_of_which_network() -> None:
    ear, brush, said = Ear(gap=0.5), Brush(), list[Tensor]()

    def listens(captions: Sequence[str]) -> Tensor:
        said.append(world.statements(captions))
        return encode(captions)

    table = metrics.measure_hearing(ear, brush, Reads(), listens, n=300)  # type: ignore[arg-type]
    assert len(said) == 8 and len(ear.heard) == 10
    for k, held_out in enumerate((False, True)):
        stated, one, whole, shared = said[4 * k : 4 * k + 4]
        heard = ear.heard[5 * k : 5 * k + 5]
        assert world.holds_out(stated).all() if held_out else not world.holds_out(stated).any()
        assert not heard[1].any() and len(heard[1]) == 1, "silence"
        assert len(heard[2]) == 300 and heard[2].std() == pytest.approx(0.1, rel=0.02), "noise"
        other = torch.round(10 * heard[3][:, 0, :8]).long()
        assert torch.equal(torch.round(10 * heard[0][:, 0, :8]).long(), stated), "sound and caption tell the same"
        assert torch.equal(torch.where(one != world.OPEN, one, other), whole), "and here each the other's rest"
        assert ((one != world.OPEN) & (other != world.OPEN) & (shared == world.OPEN)).sum() == 0
        assert world.satisfied(whole, stated).all(), "of the same scenes"
        calls = brush.calls[22 * k : 22 * k + 22]  # eleven kinds, each in parts of 250
        assert all(torch.equal(z, calls[i % 2][0]) for i, (z, _) in enumerate(calls)), "the same noise throughout"
        asked = [torch.cat([cond for _, cond in calls[2 * i : 2 * i + 2]]) for i in range(11)]
        text, sound, corrected, silent, _, text_alone, sound_alone, _, whole_text, whole_sound, _ = asked
        assert torch.equal(text, told(stated)) and torch.equal(sound, told(stated) + ear.gap)
        assert torch.allclose(corrected, F.normalize(told(stated), dim=1), atol=1e-5), "the gap is closed"
        assert torch.equal(silent, silent[:1].expand(300, -1)), "silence is one condition"
        assert torch.equal(text_alone, told(one)) and torch.equal(sound_alone, told(other) + ear.gap)
        assert torch.equal(whole_text, told(whole)) and torch.equal(whole_sound, told(whole) + ear.gap)
        # chance: how often another scene is truly described
        fits = world.satisfied_pairs(whole, stated)[~torch.eye(300, dtype=torch.bool)].float().mean().item()
        row = table["held_out" if held_out else "seen"]["chance"]
        assert row["n"] == 300 and row["low"] - 0.005 <= fits <= row["high"] + 0.005
    assert len(brush.calls) == 44


@pytest.mark.usefixtures("spoken")
def test_hearing_figures_are_the_same_for_a_seed_and_ask_for_no_gradient() -> None:
    brush = Brush()
    first = metrics.measure_hearing(Ear(), brush, Reads(), encode, n=40)  # type: ignore[arg-type]
    again = metrics.measure_hearing(Ear(), Brush(), Reads(), encode, n=40)  # type: ignore[arg-type]
    other = metrics.measure_hearing(Ear(), Brush(), Reads(), encode, n=40, seed=1)  # type: ignore[arg-type]
    assert first == again != other and not any(cond.requires_grad for _, cond in brush.calls)


class Filler(nn.Module):
    """An inpainter that fills each hole with what it is told, and the judge that reads it there."""

    def __init__(self, *, careless_of: str = "") -> None:
        super().__init__()
        self.one, self.hparams, self.careless = nn.Parameter(torch.zeros(1)), {"z": 2}, careless_of
        self.said = torch.zeros(0)
        self.calls: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def forward(self, z: Tensor, x: Tensor, mask: Tensor, text: Tensor) -> Tensor:
        self.said = untold(text)
        self.calls.append((z, x, mask, text))
        careless = self.careless == "all" or (self.careless == "told" and bool(text.any()))
        return compose(x, torch.full_like(x, 0.2), mask) + 0.5 * careless

    def read(self, pictures: Tensor) -> Tensor:
        assert len(pictures) == len(self.said)
        return torch.cat([self.said[:, :4], self.said[:, 1:4], self.said[:, 7:]], dim=1)


@pytest.mark.usefixtures("spoken")
def test_who_fills_a_hole_with_what_it_hears_gets_all_right() -> None:
    filler = Filler()
    table = metrics.measure_heard_holes(Ear(), filler, filler, encode, n=200)  # type: ignore[arg-type]
    assert set(table) == {"seen", "held_out"}
    for k, (name, row) in enumerate(table.items()):
        assert row["text"] == row["sound"] == row["known"] == 1 and row["n"] == 200
        told_, heard, silent = filler.calls[3 * k : 3 * k + 3]
        for a, b, c in zip(told_[:3], heard[:3], silent[:3], strict=True):
            assert torch.equal(a, b) and torch.equal(b, c), "the same noise, pictures and holes"
        assert torch.equal(silent[3], silent[3][:1].expand(200, -1))
        stated = untold(told_[3])
        assert (stated[:, 0] == 1).all() and (stated[:, 1:4] >= 0).all() and (stated[:, 4:] == world.OPEN).all()
        circles = (stated[:, 1:4] == 0).all(1).float().mean()
        assert row["silence"] == pytest.approx(float(circles)), name
        g = torch.Generator().manual_seed(60_000)
        if name == "seen":
            scenes = world.sample_scenes(200, g)
            mask, which = inpainting.hide_thing(scenes, g)
            assert torch.equal(stated, inpainting.thing(scenes.labels, which)), "the hidden thing"
            assert torch.equal(told_[1], world.draw(scenes)) and torch.equal(told_[2], mask)
    careless = Filler(careless_of="all")
    spoilt = metrics.measure_heard_holes(Ear(), careless, careless, encode, n=40)  # type: ignore[arg-type]
    assert all(row["known"] == 0 for row in spoilt.values())


@pytest.mark.usefixtures("spoken")
def test_known_pixels_are_watched_in_every_kind_of_fill() -> None:
    filler = Filler(careless_of="told")
    table = metrics.measure_heard_holes(Ear(), filler, filler, encode, n=20)  # type: ignore[arg-type]
    assert all(row["known"] < 1 for row in table.values())


def test_a_digit_without_a_picture_is_told(rng: torch.Generator) -> None:
    pairs = hearing.Pairs(
        torch.zeros(2, 1, MELS, FRAMES), torch.tensor([8, 8]), torch.zeros(1, 1, 32, 32), torch.tensor([3])
    )
    space = hearing.DigitSpace()
    with pytest.raises(ValueError, match="no picture has the class 8"):
        hearing.spoken_loss(space, pairs)(space.audio, rng)


def test_a_run_that_diverges_stops_at_once() -> None:
    tower = torch.nn.Linear(1, 1)
    with pytest.raises(Diverged, match="Step 1"):
        next(hearing.fit(tower, lambda net, g: net.weight.sum() * float("nan"), FitConfig(steps=3)))
