"""Sound against scipy, plain loops and closed forms; WAV files of every kind, and what is no WAV file."""

from __future__ import annotations

import io
import math
import random
import struct
import wave as stdwave
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann
from torch import Tensor

from mmcourse import audio
from mmcourse.audio import AudioError


def tone(hertz: float, n: int, rate: int = audio.RATE, *, loud: float = 1.0) -> Tensor:
    """A sine wave (n,)."""
    return loud * torch.sin(2 * math.pi * hertz * torch.arange(n, dtype=torch.float64) / rate).float()


def peak_hertz(wave: Tensor, rate: int = audio.RATE) -> tuple[float, float]:
    """The loudest tone of a wave (N,), in Hz, and its amplitude."""
    window = np.hanning(len(wave))
    found = np.abs(np.fft.rfft(wave.double().numpy() * window)) * 2 / window.sum()
    return float(found.argmax() * rate / len(wave)), float(found.max())


# ---- spectrograms


@pytest.mark.parametrize(("n_fft", "hop", "n"), [(512, 160, 10080), (256, 64, 1000), (64, 64, 63), (128, 200, 777)])
def test_power_is_scipys_short_time_fourier_transform(n_fft: int, hop: int, n: int, rng: torch.Generator) -> None:
    wave = torch.rand(n, generator=rng, dtype=torch.float64) * 2 - 1
    window = hann(n_fft, sym=False)
    frames = audio.frame_count(n, hop=hop)
    want = ShortTimeFFT(window, hop, fs=audio.RATE, scale_to=None).stft(wave.numpy(), p0=0, p1=frames)
    want = np.abs(want) ** 2 * (2 / window.sum()) ** 2
    got = audio.power(wave, n_fft=n_fft, hop=hop)
    assert got.shape == (n_fft // 2 + 1, frames) and got.dtype == torch.float64
    assert np.allclose(got.numpy(), want, rtol=1e-9, atol=1e-15)
    assert torch.allclose(audio.power(wave.float(), n_fft=n_fft, hop=hop).double(), got, rtol=1e-3, atol=1e-9)


def test_each_wave_of_a_batch_has_its_own_spectrogram(rng: torch.Generator) -> None:
    waves = torch.rand(3, 2, 900, generator=rng) * 2 - 1
    for make in (audio.power, audio.log_mel):
        got = make(waves)
        assert got.shape[:2] == (3, 2)
        for i in range(3):
            for j in range(2):
                assert torch.allclose(got[i, j], make(waves[i, j]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bin_", [4, 32, 100, 200])
def test_a_full_scale_tone_on_a_bin_is_0_decibels_and_its_neighbours_a_quarter(bin_: int) -> None:
    """Hann's transform is 1 in the middle, a half beside it and 0 farther on: 0, -6.02 and -inf dB."""
    loud = audio.power(tone(bin_ * audio.RATE / audio.N_FFT, 8000).double())[:, 5:-5]
    assert torch.allclose(audio.to_decibels(loud[bin_]), torch.zeros(()).double(), atol=1e-4)
    for side in (bin_ - 1, bin_ + 1):
        assert torch.allclose(loud[side], torch.full_like(loud[side], 0.25), atol=1e-5)
    away = torch.cat([loud[: bin_ - 1], loud[bin_ + 2 :]])
    assert away.max() < 1e-8


def test_twice_the_amplitude_is_6_decibels_more_and_silence_is_the_floor(rng: torch.Generator) -> None:
    wave = (torch.rand(4000, generator=rng) * 2 - 1) * 0.4
    more = audio.log_mel(2 * wave) - audio.log_mel(wave)
    assert torch.allclose(more, torch.tensor(20 * math.log10(2)), atol=1e-3)
    assert (audio.log_mel(torch.zeros(2, 1000)) == audio.FLOOR).all()
    assert (audio.log_mel(1e-7 * wave) == audio.FLOOR).all()


def test_decibels_are_ten_times_the_logarithm() -> None:
    loud = torch.tensor([0.0, 1e-30, 1e-9, 1e-8, 1e-4, 0.1, 1.0, 10.0], dtype=torch.float64)
    want = torch.tensor([-80.0, -80.0, -80.0, -80.0, -40.0, -10.0, 0.0, 10.0], dtype=torch.float64)
    assert torch.allclose(audio.to_decibels(loud), want)
    assert audio.FLOOR == -80 and audio.to_decibels(torch.zeros(3)).isfinite().all()


@pytest.mark.parametrize("at", [0, 1000, 1600, 4999])
def test_a_click_is_heard_in_the_frames_that_reach_it_and_evenly_over_all_tones(at: int) -> None:
    """One sample of 1: its power in a frame is the squared window there, the same in every bin."""
    wave = torch.zeros(5000)
    wave[at] = 1
    loud = audio.power(wave)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    for frame in range(loud.shape[1]):
        place = at - frame * 160 + 256
        want = (2 / 256 * window[place]) ** 2 if 0 <= place < 512 else 0.0
        assert np.allclose(loud[:, frame].numpy(), want, rtol=1e-3, atol=1e-11), frame


@pytest.mark.parametrize("hop", [1, 3, 64, 160, 161, 600])
def test_frame_count_is_the_number_of_frames_that_come_out(hop: int) -> None:
    for n in [1, 2, 3, 63, 64, 65, 159, 160, 161, 255, 256, 257, 319, 320, 511, 512, 513, 600, 1201]:
        want = sum(1 for centre in range(n + 1) if centre % hop == 0)
        assert audio.frame_count(n, hop=hop) == want == audio.power(torch.ones(n), hop=hop).shape[-1], n
        assert audio.power(torch.ones(n), n_fft=64, hop=hop).shape[-1] == want
    assert audio.frame_count(audio.LENGTH) == 64 == audio.log_mel(torch.zeros(1, audio.LENGTH)).shape[-1]


def test_an_empty_wave_and_no_hop_are_refused() -> None:
    for n, hop in ((0, 160), (-1, 160), (100, 0)):
        with pytest.raises(ValueError, match="expected n and hop of at least 1"):
            audio.frame_count(n, hop=hop)
    with pytest.raises(ValueError, match=r"wave: expected at least one sample, .* got \(2, 0\)"):
        audio.power(torch.zeros(2, 0))


def test_a_number_is_no_wave_and_is_told_so() -> None:
    with pytest.raises(ValueError, match="wave: expected at least one sample"):
        audio.power(torch.tensor(0.5))


def test_frames_of_an_odd_length_are_as_many() -> None:
    assert audio.power(torch.ones(320), n_fft=511, hop=160).shape[-1] == audio.frame_count(320, hop=160)


# ---- the mel scale


def test_the_mel_scale_has_its_known_values_and_a_way_back() -> None:
    assert audio.hertz_to_mel(torch.tensor(1000.0)).item() == pytest.approx(1000, abs=0.1)
    assert audio.hertz_to_mel(torch.tensor(700.0)).item() == pytest.approx(2595 * math.log10(2))
    assert audio.hertz_to_mel(torch.tensor(0.0)) == 0
    hertz = torch.linspace(0, 20000, 500, dtype=torch.float64)
    assert torch.allclose(audio.mel_to_hertz(audio.hertz_to_mel(hertz)), hertz, atol=1e-8)
    assert (audio.hertz_to_mel(hertz).diff() > 0).all() and (audio.hertz_to_mel(hertz).diff().diff() < 0).all()


def looped_filters(mels: int, n_fft: int, rate: int, low: float, high: float) -> np.ndarray:
    """The triangles one number at a time; the mel scale by the natural logarithm, 1127 ln(1 + f / 700)."""
    bottom, top = (2595 / math.log(10) * math.log(1 + f / 700) for f in (low, high))
    edges = [
        700 * (math.exp((bottom + (top - bottom) * k / (mels + 1)) * math.log(10) / 2595) - 1) for k in range(mels + 2)
    ]
    out = np.zeros((mels, n_fft // 2 + 1))
    for band in range(mels):
        left, middle, right = edges[band : band + 3]
        for i in range(n_fft // 2 + 1):
            hertz = i * rate / n_fft
            if left < hertz <= middle:
                out[band, i] = (hertz - left) / (middle - left)
            elif middle < hertz < right:
                out[band, i] = (right - hertz) / (right - middle)
    return out


@pytest.mark.parametrize(
    ("mels", "n_fft", "rate", "low", "high"),
    [
        (40, 512, 8000, 60.0, 4000.0),
        (20, 256, 8000, 0.0, 4000.0),
        (64, 2048, 16000, 100.0, 7000.0),
        (1, 64, 8000, 0, 4000),
    ],
)
def test_mel_filters_are_the_looped_triangles(mels: int, n_fft: int, rate: int, low: float, high: float) -> None:
    got = audio.mel_filters(mels, n_fft=n_fft, rate=rate, low=low, high=high)
    assert got.shape == (mels, n_fft // 2 + 1) and got.dtype == torch.float32
    assert np.allclose(got.numpy(), looped_filters(mels, n_fft, rate, low, high), atol=1e-6)


def test_triangles_peak_at_1_and_neighbours_sum_to_1_between_the_outer_middles() -> None:
    fine = audio.mel_filters(40, n_fft=80000)  # a bin each 0.1 Hz
    ends = [1127.0104 * math.log(1 + f / 700) for f in (60, 4000)]
    middles = [700 * (math.exp((ends[0] + (ends[1] - ends[0]) * k / 41) / 1127.0104) - 1) for k in range(1, 41)]
    assert np.allclose(fine.argmax(1).numpy() / 10, middles, atol=0.1)
    assert fine.max() <= 1 and fine.amax(1).min() > 0.998
    inside = slice(math.ceil(10 * middles[0]), math.floor(10 * middles[-1]))
    assert torch.allclose(fine[:, inside].sum(0), torch.ones(()), atol=1e-5)
    assert fine[:, : 600 + 1].max() < 1e-9 and fine[:, 40000].max() < 1e-9  # nothing at the edges
    coarse = audio.mel_filters()
    bins = torch.arange(257) * 8000 / 512
    between = (bins >= middles[0]) & (bins <= middles[-1])
    assert torch.allclose(coarse[:, between].sum(0), torch.ones(()), atol=1e-5)


def test_bands_too_many_or_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="80 bands are too many for bins of 62.5 Hz.*fewer bands or for longer frames"):
        audio.mel_filters(80, n_fft=128)
    with pytest.raises(ValueError, match="too many"):
        audio.log_mel(torch.zeros(100), mels=200)
    for wrong in ({"low": 4000.0, "high": 100.0}, {"high": 4001.0}, {"low": -1.0}, {"low": 60.0, "high": 60.0}):
        with pytest.raises(ValueError, match="expected 0 <= low < high <= 4000.0 Hz"):
            audio.mel_filters(**wrong)
    with pytest.raises(ValueError, match="mels >= 1"):
        audio.mel_filters(0)


def test_log_mel_is_filters_times_power_and_a_higher_tone_is_in_a_higher_band(rng: torch.Generator) -> None:
    wave = torch.rand(3000, generator=rng) * 2 - 1
    loud = looped_filters(40, 512, 8000, 60, 4000) @ audio.power(wave.double()).numpy()
    assert np.allclose(audio.log_mel(wave).numpy(), 10 * np.log10(np.maximum(loud, 1e-8)), atol=1e-3)
    bands = [int(audio.log_mel(tone(hertz, 4000))[:, 10].argmax()) for hertz in (150, 440, 1000, 2000, 3500)]
    mel_band = [
        (2595 * math.log10(1 + f / 700) - 92.0) / ((2146.1 - 92.0) / 41) - 1 for f in (150, 440, 1000, 2000, 3500)
    ]
    assert all(abs(found - want) <= 1 for found, want in zip(bands, mel_band, strict=True)), (bands, mel_band)
    assert bands == sorted(set(bands))


# ---- waves


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000, 4000])
def test_440_hertz_stay_440_hertz_at_any_rate(rate: int) -> None:
    got = audio.resample(tone(440, 2 * rate, rate, loud=0.7)[None], rate)
    assert got.shape == (1, 16000) and got.dtype == torch.float32
    hertz, loud = peak_hertz(got[0, 2000:14000])
    assert hertz == pytest.approx(440, abs=1) and loud == pytest.approx(0.7, rel=0.01)
    middle = slice(2000, 14000)  # no shift in time either
    assert (got[0, middle] - tone(440, 16000, loud=0.7)[middle]).abs().max() < 0.01


@pytest.mark.parametrize("hertz", [5000, 6000, 7500])
def test_a_tone_too_high_is_removed_and_not_folded_down(hertz: int) -> None:
    high = tone(hertz, 32000, 16000)
    got = audio.resample(high, 16000)[2000:14000]
    assert got.abs().max() < 0.01
    naive_hertz, naive = peak_hertz(high[::2])  # every second sample alone: the false low tone
    assert naive_hertz == pytest.approx(8000 - hertz, abs=1) and naive > 0.5
    both = audio.resample(high + tone(440, 32000, 16000), 16000)[2000:14000]
    assert peak_hertz(both)[0] == pytest.approx(440, abs=1)


def test_resampling_upward_brings_no_new_tone_and_the_same_rate_nothing() -> None:
    got = audio.resample(tone(1000, 8000), 8000, 44100)
    assert len(got) == 44100 and peak_hertz(got[5000:40000], 44100)[0] == pytest.approx(1000, abs=2)
    spectrum = np.abs(np.fft.rfft(got[5000:40000].numpy() * np.hanning(35000)))
    above = np.arange(len(spectrum)) * 44100 / 35000 > 4500
    assert spectrum[above].max() < 0.01 * spectrum.max()
    wave = tone(300, 50)
    assert torch.equal(audio.resample(wave, 8000), wave)
    for rates in ((0, 8000), (8000, 0), (-5, 8000)):
        with pytest.raises(ValueError, match="rates of at least 1 a second"):
            audio.resample(wave, *rates)


def test_a_rate_that_no_sound_has_is_refused_before_a_filter_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header can say 2,147,483,647 samples a second; scipy's filter would have 20 times as many taps."""

    def spy(wave: np.ndarray, up: int, down: int, axis: int) -> np.ndarray:
        if max(up, down) > 10_000_000:
            raise MemoryError(f"a filter of {20 * max(up, down) + 1} taps")
        return wave

    monkeypatch.setattr("scipy.signal.resample_poly", spy)
    with pytest.raises(ValueError, match="samples a second"):
        audio.ready(*audio.read_wav(riff(fmt(1, 1, 2**31 - 1, 16), chunk(b"data", bytes(800)))))


def test_channels_are_the_mean_the_same_twice_or_the_first_two() -> None:
    six = torch.arange(24.0).view(6, 4)
    assert torch.equal(audio.to_channels(six, 1), torch.tensor([[10.0, 11.0, 12.0, 13.0]]))
    assert torch.equal(audio.to_channels(six, 2), six[:2])
    two = audio.to_channels(six[3:4], 2)
    assert torch.equal(two, six[[3, 3]])
    two[0, 0] = -1  # each has numbers of its own
    assert two[1, 0] == 12 == six[3, 0]
    assert torch.equal(audio.to_channels(six[:1], 1), six[:1])
    for wave, channels in ((six, 3), (six, 0), (six[0], 1), (six[:0], 1), (six[None], 2)):
        with pytest.raises(ValueError, match="expected a wave .C, N. and 1 or 2 channels"):
            audio.to_channels(wave, channels)


@pytest.mark.parametrize(("n", "length"), [(50, 20), (21, 20), (300, 1), (64, 63)])
def test_of_a_longer_wave_the_loudest_stretch_is_kept_the_same_in_both_channels(n: int, length: int) -> None:
    for seed in range(20):
        wave = torch.randn(2, n, generator=torch.Generator().manual_seed(seed))
        wave[1] *= 3
        want = max(range(n - length + 1), key=lambda i: float(wave[:, i : i + length].double().square().sum()))
        got = audio.fit_length(wave, length)
        assert torch.equal(got, wave[:, want : want + length]), seed
        got.zero_()
        assert wave.abs().min() > 0  # the wave itself is not touched


def test_the_loudest_stretch_may_lie_at_either_end_and_silence_has_one() -> None:
    wave = torch.zeros(1, 30)
    for at in (0, 29, 13):
        lit = wave.clone()
        lit[0, at] = 0.5
        assert audio.fit_length(lit, 10).max() == 0.5
    assert audio.fit_length(lit[0], 10).shape == (10,)
    assert torch.equal(audio.fit_length(wave, 10), torch.zeros(1, 10))


def test_a_shorter_wave_is_filled_with_silence_at_its_end() -> None:
    wave = tone(440, 100)[None] + 0.1
    got = audio.fit_length(wave)
    assert got.shape == (1, audio.LENGTH) and torch.equal(got[:, :100], wave) and got[:, 100:].abs().max() == 0
    assert torch.equal(audio.fit_length(wave, 100), wave)


@pytest.mark.parametrize(
    ("channels", "rate", "n"), [(1, 44100, 100_000), (2, 16000, 900), (6, 8000, 10080), (1, 96000, 7)]
)
@pytest.mark.parametrize("wanted", [1, 2])
def test_any_wave_is_made_ready(channels: int, rate: int, n: int, wanted: int) -> None:
    wave = tone(440, n, rate, loud=0.5).expand(channels, -1)
    got = audio.ready(wave, rate, channels=wanted)
    assert got.shape == (wanted, audio.LENGTH) and got.dtype == torch.float32 and got.abs().max() <= 1
    if n >= 900:
        heard = got[0, : min(audio.LENGTH, n * 8000 // rate)]
        assert peak_hertz(heard)[0] == pytest.approx(440, abs=20)
        assert heard[100:-100].abs().max() == pytest.approx(0.5, abs=0.02)
    assert audio.ready(wave, rate, channels=wanted, length=77).shape == (wanted, 77)


def test_what_overshoots_after_the_filter_is_clipped() -> None:
    square = tone(300, 20000, 16000).sign()[None]
    assert audio.resample(square, 16000).abs().max() > 1.05  # the filter rings at each jump
    got = audio.ready(square, 16000)
    assert got.max() == 1 and got.min() == -1


# ---- WAV files


def samples(channels: int, n: int = 200) -> np.ndarray:
    """A wave (n, channels) in [-1, 1], both ends of the range among it, each channel another one."""
    found = np.random.default_rng(channels).uniform(-1, 1, (n, channels))
    found[0], found[1], found[2] = -1.0, 1.0, 0.0
    return found


def by_wave_module(wave: np.ndarray, bits: int, rate: int) -> tuple[bytes, np.ndarray]:
    """Written by the standard library; with it, what each sample stands for."""
    full = 2 ** (bits - 1)
    whole = np.clip(np.round(wave * full), -full, full - 1).astype(np.int64)
    stored = whole + 128 if bits == 8 else whole
    raw = b"".join(int(v).to_bytes(bits // 8, "little", signed=bits > 8) for v in stored.reshape(-1))
    out = io.BytesIO()
    with stdwave.open(out, "wb") as file:
        file.setnchannels(wave.shape[1])
        file.setsampwidth(bits // 8)
        file.setframerate(rate)
        file.writeframes(raw)
    return out.getvalue(), whole / full


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 96000])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_integers_of_every_width_are_read(bits: int, channels: int, rate: int) -> None:
    data, want = by_wave_module(samples(channels), bits, rate)
    got, found_rate = audio.read_wav(data)
    assert found_rate == rate and isinstance(found_rate, int)
    assert got.shape == (channels, 200) and got.dtype == torch.float32 and got.is_contiguous()
    assert np.array_equal(got.numpy(), want.T.astype(np.float32))
    assert got.min() == -1 and got.max() <= 1 and (got[:, 2] == 0).all()


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8, np.int16, np.int32, np.int64])
def test_what_scipy_writes_is_read(kind: type, channels: int, tmp_path: Path) -> None:
    wave = samples(channels)
    if issubclass(kind, np.floating):
        stored, step = wave.astype(kind), 1e-7
    else:
        half = 2.0 ** (8 * np.dtype(kind).itemsize - 1)
        top = np.nextafter(half, 0) if half > 2**53 else half - 1
        stored, step = np.clip(np.round(wave * half), -half, top), max(1 / half, 2**-24)
        stored = (stored + 128 if kind is np.uint8 else stored).astype(kind)
    wavfile.write(tmp_path / "a.wav", 22050, stored[:, 0] if channels == 1 else stored)
    for source in (tmp_path / "a.wav", str(tmp_path / "a.wav"), (tmp_path / "a.wav").read_bytes()):
        got, rate = audio.read_wav(source)
        assert rate == 22050 and got.shape == (channels, 200) and got.dtype == torch.float32
        assert np.abs(got.numpy() - wave.T).max() <= step


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def fmt(tag: int, channels: int, rate: int, bits: int, more: bytes = b"") -> bytes:
    align = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits) + more)


WANT = np.array([[0, -32768], [16384, 8192], [-8192, 32767], [1, -1]], dtype="<i2")  # (N, C)


@pytest.mark.parametrize("title", [b"INFOINAM\x05\0\0\0Hello", b"INFOINAM\x04\0\0\0Name", b""])
def test_titles_and_unknown_chunks_are_passed_over(title: bytes) -> None:
    form, data = fmt(1, 2, 8000, 16), chunk(b"data", WANT.tobytes())
    extra, strange = chunk(b"LIST", title), chunk(b"abcd", b"12345")
    for parts in ((form, extra, data), (form, data, extra), (strange, form, data), (extra, form, strange, data, extra)):
        got, rate = audio.read_wav(riff(*parts))
        assert rate == 8000 and np.array_equal(got.numpy(), WANT.T / 32768)


@pytest.mark.parametrize(("tag", "bits"), [(1, 16), (3, 32)])
def test_the_extensible_format_is_read(tag: int, bits: int) -> None:
    guid = struct.pack("<I", tag) + b"\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    form = fmt(0xFFFE, 2, 48000, bits, struct.pack("<HHI", 22, bits, 3) + guid)
    stored = WANT if tag == 1 else (WANT / 32768).astype("<f4")
    got, rate = audio.read_wav(riff(form, chunk(b"data", stored.tobytes())))
    assert rate == 48000 and np.array_equal(got.numpy(), WANT.T / 32768)


def test_big_endian_files_are_read() -> None:
    body = b"WAVEfmt " + struct.pack(">IHHIIHH", 16, 1, 2, 8000, 32000, 4, 16)
    body += b"data" + struct.pack(">I", WANT.nbytes) + WANT.astype(">i2").tobytes()
    got, rate = audio.read_wav(b"RIFX" + struct.pack(">I", len(body)) + body)
    assert rate == 8000 and np.array_equal(got.numpy(), WANT.T / 32768)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floats_beyond_full_scale_are_clipped(kind: type) -> None:
    out = io.BytesIO()
    wavfile.write(out, 8000, np.array([0.5, 1.5, -7.0, 3e38, -1.0], dtype=kind))
    assert audio.read_wav(out.getvalue())[0].tolist() == [[0.5, 1.0, -1.0, 1.0, -1.0]]


@pytest.mark.parametrize("channels", [0, 1, 2, 6])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_what_is_written_is_read_back_and_by_somebody_else_too(channels: int, rate: int, tmp_path: Path) -> None:
    wave = torch.from_numpy(samples(max(channels, 1)).T.copy()).float()
    given = wave[0] if channels == 0 else wave
    path = audio.write_wav(str(tmp_path / "a.wav"), given, rate)
    got, found = audio.read_wav(path)
    assert found == rate and got.shape == wave.shape and (got - wave).abs().max() <= 1.5 / 32768
    with stdwave.open(str(path)) as file:
        assert (file.getsampwidth(), file.getframerate(), file.getnchannels()) == (2, rate, len(wave))
        raw = np.frombuffer(file.readframes(200), "<i2").reshape(200, -1)
    assert np.array_equal(raw.T / 32768, got.numpy())
    assert path.read_bytes() == audio.wav_bytes(given, rate)


def test_the_round_trip_is_within_one_step_and_the_second_one_changes_nothing() -> None:
    wave = torch.from_numpy(samples(2).T.copy()).float()
    once = audio.read_wav(audio.wav_bytes(wave))[0]
    assert (once - wave).abs().max() <= 1 / 32768 + 1e-7
    assert torch.equal(audio.read_wav(audio.wav_bytes(once))[0], once)


def test_only_a_wave_in_range_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for wrong in (torch.zeros(0), torch.zeros(2, 0), torch.zeros(1, 2, 3), torch.tensor(0.5)):
        with pytest.raises(ValueError, match="wave: expected .N,. or .C, N. with at least one sample"):
            audio.write_wav(path, wrong)
    for values in ([0.0, 1.5], [-2.0, 0.0], [math.nan, 0.0], [math.inf, 0.0]):
        with pytest.raises(ValueError, match="wave: .*expected"):
            audio.write_wav(path, torch.tensor(values))
    with pytest.raises(ValueError, match="expected floats"):
        audio.write_wav(path, torch.tensor([1, 2]))
    assert not list(tmp_path.iterdir())


def test_the_cure_for_a_wave_out_of_range_speaks_of_waves() -> None:
    with pytest.raises(ValueError) as caught:
        audio.wav_bytes(torch.tensor([0.0, 1.5]))
    assert "Pictures" not in str(caught.value)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_file_is_written_whole_or_not_at_all(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    old = audio.write_wav(tmp_path / "old.wav", tone(440, 50)).read_bytes()
    monkeypatch.setattr(*(("os.fsync", full) if step == "fsync" else (Path, "replace", full)))
    for name in ("new.wav", "old.wav"):
        with pytest.raises(OSError, match="No space"):
            audio.write_wav(tmp_path / name, tone(880, 5000))
    assert [p.name for p in tmp_path.iterdir()] == ["old.wav"]
    assert (tmp_path / "old.wav").read_bytes() == old


# ---- what is no WAV file

GOOD = audio.wav_bytes(tone(440, 500))


def floats(*values: float) -> bytes:
    return riff(fmt(3, 1, 8000, 32), chunk(b"data", np.array(values, "<f4").tobytes()))


REFUSED = {
    "nothing": (b"", "is empty"),
    "a text": (b"hello, this is no sound at all", "not a WAV file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(50), "is a PNG picture, not a WAV file"),
    "a photograph": (b"\xff\xd8\xff\xe0" + bytes(50), "is a JPEG picture, not a WAV file"),
    "mp3 with titles": (b"ID3\x04" + bytes(50), "is MP3, not a WAV file"),
    "mp3": (b"\xff\xfb\x90\x64" + bytes(50), "is MP3, not a WAV file"),
    "ogg": (b"OggS\x00\x02" + bytes(50), "is Ogg, not a WAV file"),
    "flac": (b"fLaC\x00\x00" + bytes(50), "is FLAC, not a WAV file"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(50), "is WebM, not a WAV file"),
    "aiff": (b"FORM\x00\x00\x00\x00AIFF" + bytes(50), "is AIFF, not a WAV file"),
    "mp4": (b"\x00\x00\x00\x20ftypM4A " + bytes(50), "is MP4 audio, not a WAV file"),
    "zip": (b"PK\x03\x04" + bytes(50), "is a ZIP archive, not a WAV file"),
    "four letters": (b"RIFF", "cannot be decoded"),
    "a picture in RIFF": (b"RIFF\x20\x00\x00\x00WEBPVP8 " + bytes(50), "cannot be decoded"),
    "a header alone": (GOOD[:44], "is cut off"),
    "half a header": (GOOD[:30], "cannot be decoded"),
    "no samples": (riff(fmt(1, 1, 8000, 16), chunk(b"data", b"")), "holds no sound|cannot be decoded"),
    "no data": (riff(fmt(1, 1, 8000, 16)), "cannot be decoded"),
    "no format": (riff(chunk(b"data", bytes(8))), "cannot be decoded"),
    "cut in a sample": (GOOD[:501], "cannot be decoded"),
    "mu-law": (riff(fmt(7, 1, 8000, 8), chunk(b"data", bytes(8))), "cannot be decoded"),
    "no channels": (riff(fmt(1, 0, 8000, 16), chunk(b"data", bytes(8))), "cannot be decoded"),
    "no rate": (riff(fmt(1, 1, 0, 16), chunk(b"data", bytes(8))), "holds no sound .*0 samples a second"),
    "not a number": (floats(0.1, math.nan), "holds values that are not finite"),
    "infinity": (floats(0.1, math.inf), "holds values that are not finite"),
    "601 seconds": (by_wave_module(samples(1, 601), 16, 1)[0], "lasts 601 s; at most 600 s are read. Cut it first"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_sound_is_refused_by_its_name(kind: str, tmp_path: Path) -> None:
    data, told = REFUSED[kind]
    path = tmp_path / "mine.wav"
    path.write_bytes(data)
    for source, name in ((path, str(path)), (str(path), str(path)), (data, "the sound")):
        with pytest.raises(AudioError, match=told) as caught:
            audio.read_wav(source)
        assert str(caught.value).startswith(f"{name}: ")


def test_a_missing_file_and_a_folder_are_refused_by_their_names(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"no\.wav: cannot be read .No such file"):
        audio.read_wav(tmp_path / "no.wav")
    with pytest.raises(AudioError, match="cannot be read .Is a directory") as caught:
        audio.read_wav(tmp_path)
    assert str(tmp_path) in str(caught.value) and isinstance(caught.value, ValueError)


def test_an_impossible_path_is_refused() -> None:
    with pytest.raises(AudioError):
        audio.read_wav("a\0b.wav")


def test_every_refusal_says_what_to_do() -> None:
    mute = []
    for kind, (data, _) in REFUSED.items():
        with pytest.raises(AudioError) as caught:
            audio.read_wav(data)
        if len(str(caught.value).split(". ")) < 2:
            mute.append(kind)
    assert mute == []


def test_600_seconds_are_still_read() -> None:
    got, rate = audio.read_wav(by_wave_module(samples(1, 600), 16, 1)[0])
    assert got.shape == (1, 600) and rate == 1


def test_a_file_that_ends_before_its_header_says_is_refused() -> None:
    with pytest.raises(AudioError):
        audio.read_wav(GOOD[:500])


@pytest.mark.parametrize("seed", range(4))
def test_bytes_cut_out_changed_or_added_raise_nothing_but_an_audio_error(seed: int) -> None:
    draw = random.Random(seed)
    goods = [by_wave_module(samples(c, 40), bits, 8000)[0] for c in (1, 2) for bits in (8, 16, 24, 32)]
    goods += [
        floats(*np.linspace(-1, 1, 30)),
        riff(fmt(1, 2, 8000, 16), chunk(b"LIST", b"abc"), chunk(b"data", bytes(80))),
    ]
    read = 0
    for _ in range(1500):
        data = bytearray(draw.choice(goods))
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(data) if draw.random() < 0.5 else 48)  # half of the wounds in the header
            how, many = draw.randrange(4), draw.choice([1, 1, 2, 4, 30])
            if how == 0:
                del data[at : at + many]
            elif how == 1:
                data[at : at + many] = draw.randbytes(many)
            elif how == 2:
                data[at:at] = draw.randbytes(many)
            else:
                del data[at:]
            data = data or bytearray(b"R")
        try:
            got, rate = audio.read_wav(bytes(data))
        except AudioError as error:
            assert str(error).startswith("the sound: ")
        else:
            read += 1
            assert got.dim() == 2 and got.numel() and got.dtype == torch.float32 and rate >= 1
            assert got.abs().max() <= 1  # so none is NaN
    assert 100 < read < 1400  # both kinds were met


def test_a_file_cut_anywhere_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.wav"
    for end in range(0, len(GOOD), 7):
        path.write_bytes(GOOD[:end])
        try:
            got, _ = audio.read_wav(path)
        except AudioError as error:
            assert "mine.wav: " in str(error)
        else:
            assert end > 44 and torch.equal(got, audio.read_wav(GOOD)[0][:, : got.shape[1]])
