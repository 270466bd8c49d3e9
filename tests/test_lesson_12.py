"""Lesson 12: the answers of its assignment against scipy, numpy, torch, closed forms and the library."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from scipy import signal
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse import audio, hearing, losses, speech
from mmcourse.course import exercise as e


@functools.cache
def reference(item: str) -> Callable[..., Any]:
    whole = e.load_assignment("12_sound", ROOT)
    return e.reference(whole, whole.item(item))


def tone(hertz: float, n: int, phase: float = 0.0) -> Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(n, dtype=torch.float64) / audio.RATE + phase).float()


# ---- frame_hop


def test_frames_are_those_that_numpy_slides_over_the_wave(rng: torch.Generator) -> None:
    frames = reference("frame_hop")
    for n, n_fft, hop in ((1000, 64, 16), (1001, 64, 16), (50, 50, 7), (90, 8, 30), (40, 32, 41)):
        wave = torch.randn(3, n, generator=rng)
        padded = np.pad(wave.numpy(), ((0, 0), (n_fft // 2, n_fft // 2)))
        want = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=1)[:, ::hop]
        got = frames(wave, n_fft, hop)
        assert got.shape == (3, audio.frame_count(n, hop=hop), n_fft)
        assert np.array_equal(got.numpy(), want)


def test_a_click_lies_in_every_frame_that_reaches_it_and_at_its_place() -> None:
    """One sample of 1 at place p: frame t holds it at p - t * hop + n_fft / 2, if that is inside the frame."""
    frames = reference("frame_hop")
    n, n_fft, hop = 37, 10, 4
    found = frames(torch.eye(n), n_fft, hop)  # (n, T, n_fft): wave p clicks at sample p
    for p in range(n):
        for t in range(found.shape[1]):
            place = p - t * hop + n_fft // 2
            want = torch.zeros(n_fft)
            if 0 <= place < n_fft:
                want[place] = 1
            assert torch.equal(found[p, t], want)


def test_frames_overlap_so_that_hann_windows_add_up_to_the_wave(rng: torch.Generator) -> None:
    """With a hop of half a frame, windows sum to 1: laid back into place, the frames give the wave again."""
    wave, n_fft = torch.randn(2, 128, generator=rng), 16
    parts = reference("frame_hop")(wave, n_fft, n_fft // 2) * torch.hann_window(n_fft)
    back = torch.zeros(2, 128 + n_fft)
    for t in range(parts.shape[1]):
        back[:, 8 * t : 8 * t + n_fft] += parts[:, t]
    assert torch.allclose(back[:, 8:-8], wave, atol=1e-6)


# ---- log_mel


def test_frames_and_bands_together_are_the_librarys_log_mel(rng: torch.Generator) -> None:
    frames, mel = reference("frame_hop"), reference("log_mel")
    waves = torch.rand(4, audio.LENGTH, generator=rng) * 2 - 1
    waves[1] *= 1e-3
    waves[2, 3000:] = 0
    waves[3] = 0
    got = mel(frames(waves, audio.N_FFT, audio.HOP), audio.mel_filters(), audio.FLOOR)
    assert torch.allclose(got, audio.log_mel(waves), atol=1e-3)
    assert (got[3] == audio.FLOOR).all() and (got[2, :, -1] == audio.FLOOR).all() and (got[0] > -60).all()


def test_the_power_is_that_of_scipys_short_time_transform(rng: torch.Generator) -> None:
    """With an identity in the place of bands. Scipy scales a spectrum by the window's sum; half of a tone is in each
    of its two halves."""
    n_fft, hop = 32, 8
    wave = torch.randn(1, 320, generator=rng)
    got = reference("log_mel")(reference("frame_hop")(wave, n_fft, hop), torch.eye(n_fft // 2 + 1), -300.0)
    _, _, want = signal.stft(
        wave[0].numpy(), window="hann", nperseg=n_fft, noverlap=n_fft - hop, boundary="zeros", padded=False
    )
    decibels = 10 * np.log10((2 * np.abs(want)) ** 2)
    assert got.shape == (1, *decibels.shape)
    loud = decibels > -60
    assert np.abs(got[0].numpy() - decibels)[loud].max() < 0.01 and loud.mean() > 0.9


def test_a_full_scale_tone_has_0_decibels_and_a_tenth_of_it_20_less() -> None:
    """On the middle of a bin; half a tone's amplitude in each neighbour, a quarter of its power: 6.02 dB less."""
    mel, n = reference("log_mel"), audio.N_FFT
    hertz = 40 * audio.RATE / n
    for phase in (0.0, 0.7, 2.0):
        frames = torch.stack([a * tone(hertz, n, phase) for a in (1.0, 0.1, 0.001)])[None]
        got = mel(frames, torch.eye(n // 2 + 1), -80.0)[0]  # (bins, 3)
        assert torch.allclose(got[40], torch.tensor([0.0, -20.0, -60.0]), atol=1e-2)
        assert torch.allclose(got[[39, 41], 0], torch.full((2,), 10 * math.log10(0.25)), atol=1e-2)
        assert (got[:38] == -80).all() and (got[43:] == -80).all()


def test_a_band_of_two_bins_adds_their_powers_and_not_their_decibels() -> None:
    mel, n = reference("log_mel"), audio.N_FFT
    both = (tone(40 * audio.RATE / n, n) + tone(80 * audio.RATE / n, n)) / 2  # of power 1/4 each
    band = torch.zeros(1, n // 2 + 1)
    band[0, [40, 80]] = 1
    assert mel(both[None, None], band, -80.0).item() == pytest.approx(10 * math.log10(0.5), abs=1e-2)


def test_silence_lies_on_the_floor_and_a_clip_does_not_change_with_its_neighbours(rng: torch.Generator) -> None:
    mel, filters = reference("log_mel"), audio.mel_filters(10, n_fft=128)
    faint, loud = 1e-4 * torch.randn(1, 5, 128, generator=rng), torch.randn(1, 5, 128, generator=rng)
    for floor in (-40.0, -80.0, -120.0):
        assert torch.allclose(mel(0 * faint, filters, floor), torch.full((1, 10, 5), floor))
        alone, beside = mel(faint, filters, floor), mel(torch.cat([faint, loud]), filters, floor)[:1]
        assert torch.allclose(alone, beside, atol=1e-4) and (alone >= floor - 1e-4).all()


# ---- audio_encoder


def ear(rng: torch.Generator, m: int = 8, c: int = 16, k: int = 6, w: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(c, m, w, generator=rng), torch.randn(k, c, generator=rng)


def test_an_ear_gives_what_scipys_correlations_and_numpys_maximum_give(rng: torch.Generator) -> None:
    patterns, reading = ear(rng)
    spectra = audio.FLOOR + 60 * torch.rand(3, 8, 20, generator=rng)
    got = reference("audio_encoder")(spectra, patterns, reading)
    for clip, vector in zip(spectra.double().numpy(), got.numpy(), strict=True):
        fits = [signal.correlate(clip + 80, p, mode="full")[7] for p in patterns.double().numpy()]  # all bands meet
        want = reading.double().numpy() @ np.maximum(np.stack(fits), 0).max(1)
        assert np.allclose(vector, want / np.linalg.norm(want), atol=1e-5)


def test_an_ear_does_not_tell_when_it_was_or_how_long_the_silence(rng: torch.Generator) -> None:
    """Not even where the sound touches an end of the clip, and whatever other clips are in the batch."""
    encode, (patterns, reading) = reference("audio_encoder"), ear(rng)
    clip = torch.full((4, 8, 30), audio.FLOOR)
    clip[:, :, 3:12] += 50 * torch.rand(4, 8, 9, generator=rng)
    heard = encode(clip, patterns, reading)
    assert torch.allclose(encode(clip[:, :, 3:12], patterns, reading), heard, atol=1e-6)
    for by in (-3, -1, 5, 18):
        assert torch.allclose(encode(clip.roll(by, 2), patterns, reading), heard, atol=1e-6)
    longer = F.pad(clip, (7, 40), value=audio.FLOOR)
    assert torch.allclose(encode(longer, patterns, reading), heard, atol=1e-6)
    assert torch.allclose(encode(longer[:2], patterns, reading), heard[:2], atol=1e-6)
    louder = clip.clone()
    louder[:, :, 20:22] += 70
    assert not torch.allclose(encode(louder, patterns, reading), heard, atol=1e-2)  # it is not deaf either


def test_of_silence_nothing_is_heard_and_of_a_sound_a_unit_vector(rng: torch.Generator) -> None:
    encode, (patterns, reading) = reference("audio_encoder"), ear(rng)
    spectra = torch.full((2, 8, 9), audio.FLOOR)
    spectra[1, 2, 4] = -30
    got = encode(spectra, patterns, reading)
    assert torch.equal(got[0], torch.zeros(6)) and got[1].norm().item() == pytest.approx(1, abs=1e-6)
    for loudness in (
        -70.0,
        -10.0,
    ):  # one point of sound: every fit is its loudness times the pattern's best weight there
        spectra[1, 2, 4] = loudness
        want = F.normalize(reading @ patterns[:, 2].amax(1).clamp(min=0), dim=0)
        assert torch.allclose(encode(spectra, patterns, reading)[1], want, atol=1e-5)


def test_the_librarys_tower_takes_a_maximum_over_time_too(rng: torch.Generator) -> None:
    """Moved by two of its steps, with silence on both sides, a clip keeps its vector."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = hearing.AudioTower(channels=1, width=8, what=8, features=16).eval()
    spectra = torch.full((2, 1, audio.MELS, hearing.FRAMES), audio.FLOOR)
    spectra[..., 24:34] += 60 * torch.rand(2, 1, audio.MELS, 10, generator=rng)
    with torch.no_grad():
        assert torch.allclose(tower(spectra), tower(spectra.roll(4, 3)), atol=1e-5)


# ---- align


def test_the_loss_is_the_librarys_contrastive_loss(rng: torch.Generator) -> None:
    align = reference("align")
    for b in (5, 40):
        heard, pictures = 3 * torch.randn(2, b, 8, generator=rng)
        digits = torch.randint(10, (b,), generator=rng)
        heard.requires_grad_(True)
        cosine = F.cosine_similarity(pictures[:, None], heard[None], dim=2)
        want = losses.contrastive(10 * cosine, digits[:, None] == digits)
        got = align(heard, pictures, digits, 10.0)
        assert got.item() == pytest.approx(want.item(), rel=1e-5)
        slopes = [torch.autograd.grad(loss, heard, retain_graph=True)[0] for loss in (got, want)]
        assert torch.allclose(*slopes, atol=1e-5) and slopes[0].abs().max() > 1e-3


def test_without_duplicates_it_is_torchs_cross_entropy_both_ways(rng: torch.Generator) -> None:
    heard, pictures = torch.randn(2, 7, 5, generator=rng)
    logits = 6 * F.normalize(heard, dim=1) @ F.normalize(pictures, dim=1).T
    own = torch.arange(7)
    want = (nn.CrossEntropyLoss()(logits, own) + nn.CrossEntropyLoss()(logits.T, own)) / 2
    assert reference("align")(heard, pictures, own.flip(0), 6.0).item() == pytest.approx(want.item(), rel=1e-5)


def test_an_ear_that_hears_nothing_pays_for_the_share_of_its_partners() -> None:
    """All sounds alike: each picture of n_d partners has probability n_d / B. One digit alone costs nothing."""
    align, same = reference("align"), torch.ones(6, 4)
    digits = torch.tensor([1, 1, 1, 2, 2, 3])
    want = -(3 * math.log(3 / 6) + 2 * math.log(2 / 6) + math.log(1 / 6)) / 6
    assert align(same, same, digits, 9.0).item() == pytest.approx(want, rel=1e-5)
    assert align(same, same, 0 * digits, 9.0).item() == pytest.approx(0, abs=1e-6)


def test_the_ear_finds_frozen_pictures_and_they_stay_where_they_are(rng: torch.Generator) -> None:
    """Gradient descent on the sounds alone brings each to the pictures of its digit, duplicates included."""
    digits = torch.arange(12) % 4
    pictures = F.normalize(torch.eye(8)[digits] + 0.1 * torch.randn(12, 8, generator=rng), dim=1).requires_grad_(True)
    heard = torch.randn(12, 8, generator=rng).requires_grad_(True)
    for _ in range(100):
        (slope,) = torch.autograd.grad(reference("align")(heard, pictures, digits, 10.0), heard)
        heard = (heard - slope).detach().requires_grad_(True)
    nearest = (heard @ pictures.T).argmax(1)
    assert torch.equal(digits[nearest], digits)
    loss = reference("align")(heard, pictures, digits, 10.0)
    assert torch.autograd.grad(loss, pictures, allow_unused=True) == (None,)


# ---- close_gap


def test_the_gap_is_closed_as_the_library_closes_it(rng: torch.Generator) -> None:
    heard, sounds, text = (F.normalize(torch.randn(n, 64, generator=rng) + 1, dim=1) for n in (9, 50, 70))
    got = reference("close_gap")(heard, sounds, text)
    assert torch.allclose(got, hearing.corrected(heard, sounds.mean(0), text.mean(0)), atol=1e-6)
    want = heard.numpy() - np.mean(sounds.numpy(), axis=0) + np.mean(text.numpy(), axis=0)
    assert np.allclose(got.numpy(), want / np.linalg.norm(want, axis=1, keepdims=True), atol=1e-6)


def test_a_constant_shift_between_sounds_and_captions_is_undone(rng: torch.Generator) -> None:
    """Sounds that are captions plus one vector: the correction gives exactly the captions."""
    text = F.normalize(torch.randn(30, 8, generator=rng), dim=1)
    heard = text + torch.randn(8, generator=rng)
    assert torch.allclose(reference("close_gap")(heard, heard, text), text, atol=1e-5)


def test_a_sound_is_corrected_the_same_alone_and_in_a_batch(rng: torch.Generator) -> None:
    close = reference("close_gap")
    heard, sounds, text = (F.normalize(torch.randn(n, 8, generator=rng) + 1, dim=1) for n in (5, 20, 30))
    together = close(heard, sounds, text)
    for i in range(5):
        assert torch.allclose(close(heard[i : i + 1], sounds, text), together[i : i + 1], atol=1e-6)
    assert torch.allclose(close(heard, sounds, sounds), heard, atol=1e-6)  # where there is no gap, nothing moves


# ---- speaker_split


def clips_of(rng: torch.Generator, takes: int = 5) -> Tensor:
    """A table as large as the course's, if fewer takes: ten digits, six speakers."""
    clips = torch.cartesian_prod(torch.arange(10), torch.arange(6), torch.arange(takes))
    return clips[torch.randperm(len(clips), generator=rng)]


def test_the_split_is_the_librarys(rng: torch.Generator) -> None:
    split, clips = reference("speaker_split"), clips_of(rng)
    known = speech.Clips(torch.zeros(len(clips), 1, 1), clips[:, 0], clips[:, 1], clips[:, 2])
    labels, kept = torch.arange(200) % 10, torch.arange(200) >= 120
    for speaker in range(6):
        tables = split(clips, speaker, labels, kept, torch.rand(len(clips), generator=rng))
        for table, want in zip(tables, speech.leave_out(known, speaker), strict=True):
            rows = clips[table[:, 0]]
            assert torch.equal(rows, torch.stack([want.digits, want.speakers, want.index], 1))


def test_no_voice_and_no_picture_is_on_both_sides_and_every_pair_shows_one_digit(rng: torch.Generator) -> None:
    split, clips = reference("speaker_split"), clips_of(rng)
    labels = torch.randint(10, (150,), generator=rng)
    labels[:20] = torch.arange(10).repeat(2)
    kept = torch.arange(150) % 20 >= 10
    for speaker in range(6):
        train, test = split(clips, speaker, labels, kept, torch.rand(len(clips), generator=rng))
        assert set(clips[test[:, 0], 1].tolist()) == {speaker}
        assert set(clips[train[:, 0], 1].tolist()) == set(range(6)) - {speaker}
        assert not set(train[:, 1].tolist()) & set(test[:, 1].tolist())
        assert kept[test[:, 1]].all() and not kept[train[:, 1]].any()
        every = torch.cat([train, test])
        assert torch.equal(labels[every[:, 1]], clips[every[:, 0], 0])
        assert torch.equal(every[:, 0].sort().values, torch.arange(len(clips)))


def test_all_pictures_that_fit_are_alike_likely(rng: torch.Generator) -> None:
    """By Pearson's chi-square, at one in a hundred thousand."""
    n = 3000
    clips = torch.stack([torch.zeros(n).long(), torch.arange(n) % 2, torch.arange(n)], 1)
    labels, kept = torch.tensor([0, 1, 0, 0, 0, 0, 1, 0]), torch.tensor([True, True, True, True] + [False] * 4)
    tables = reference("speaker_split")(clips, 0, labels, kept, torch.rand(n, generator=rng))
    for table, fit in zip(tables, ([4, 5, 7], [0, 2, 3]), strict=True):
        seen = torch.bincount(table[:, 1], minlength=8)
        assert seen[fit].sum() == len(table) == n // 2
        assert ((seen[fit] - n / 6) ** 2 / (n / 6)).sum() < 23.03  # two degrees of freedom: -2 ln 1e-5


def test_what_cannot_be_split_or_paired_is_refused_as_in_the_library(rng: torch.Generator) -> None:
    split, clips = reference("speaker_split"), clips_of(rng, takes=1)
    labels, kept, noise = torch.arange(20) % 10, torch.arange(20) >= 10, torch.rand(60, generator=rng)
    assert len(split(clips, 5, labels, kept, noise)[1]) == 10
    known = speech.Clips(torch.zeros(60, 1, 1), clips[:, 0], clips[:, 1], clips[:, 2])
    one = clips[:, 1] == 2
    with pytest.raises(ValueError, match="without clips"):
        split(clips[one], 2, labels, kept, noise)
    with pytest.raises(ValueError, match="would be left"):
        speech.leave_out(known.pick(one), 2)
    with pytest.raises(ValueError, match="without clips"):
        split(clips, 6, labels, kept, noise)
    for of in (kept, ~kept):  # no 3 among the pictures of one side
        with pytest.raises(ValueError, match="shows a 3"):
            split(clips, 2, torch.where(of & (labels == 3), 4, labels), kept, noise)
    with pytest.raises(ValueError, match="no picture has the class"):
        speech.pair(clips[:, 0], labels[:3], rng)
