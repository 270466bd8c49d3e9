"""Sound as numbers: waves, mel spectrograms in decibels, and WAV files of any kind (derived in lesson 12).

A wave is a float tensor (..., N) in [-1, 1] at ``RATE`` samples a second; stereo is (2, N), left first. A spectrogram
is in decibels beside a full-scale tone, which has 0 dB on the middle of a bin; ``FLOOR`` is silence.
"""

from __future__ import annotations

import functools
import io
import math
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mmcourse.checks import expect_range
from mmcourse.runtime import write_whole

RATE = 8000  # samples a second; the highest tone that fits is half of it
LENGTH = 10080  # samples of every clip that a network hears: 1.26 s, 64 frames
N_FFT = 512  # samples of a frame: 64 ms
HOP = 160  # samples from a frame to the next: 20 ms
MELS = 40  # bands of a mel spectrogram
LOW, HIGH = 60.0, 4000.0  # Hz, from the lowest band's lower edge to the highest band's upper edge
FLOOR = -80.0  # dB; what is fainter counts as silence
LONGEST = 600  # seconds of the longest file that is read
FASTEST = 768_000  # samples a second of the finest file that is read


class AudioError(ValueError):
    """What was given is no sound that can be used; the message says what it is and what to do."""


# ----------------------------------------------------------------------------------------------------------- pictures


def frame_count(n: int, *, hop: int = HOP) -> int:
    """Frames of a wave of n samples: one every ``hop`` samples, each centred on its sample, the first on sample 0.

    Raises ``ValueError`` where n or ``hop`` is below 1.
    """
    if n < 1 or hop < 1:
        raise ValueError(f"frame_count: expected n and hop of at least 1, got {n} and {hop}.")
    return 1 + n // hop


def power(wave: Tensor, *, n_fft: int = N_FFT, hop: int = HOP) -> Tensor:
    """The power spectrogram of waves (..., N): (..., n_fft // 2 + 1, frames), at least 0.

    Each frame is weighted by a Hann window and centred on its sample; outside the wave all is silent. A full-scale tone
    on the middle of a bin has power 1 there. Raises ``ValueError`` for an empty wave.
    """
    if wave.dim() < 1 or wave.shape[-1] < 1 or not wave.is_floating_point():
        raise ValueError(
            f"wave: expected at least one sample, floats (..., N), got {tuple(wave.shape)} of {wave.dtype}."
        )
    n = wave.shape[-1]
    window = torch.hann_window(n_fft, device=wave.device, dtype=wave.dtype)
    flat = F.pad(wave.reshape(-1, n), (n_fft // 2, n_fft - n_fft // 2))
    found = torch.stft(flat, n_fft, hop, window=window, center=False, return_complex=True)  # (B, bins, frames)
    found = found[..., : frame_count(n, hop=hop)]
    loud = found.abs().square() * (2 / window.sum()) ** 2
    return loud.view(*wave.shape[:-1], *loud.shape[-2:])


def hertz_to_mel(hertz: Tensor) -> Tensor:
    """The mel scale of pitch: equal steps sound equally far apart. 2595 log10(1 + f / 700), after O'Shaughnessy."""
    return 2595 * torch.log10(1 + hertz / 700)


def mel_to_hertz(mel: Tensor) -> Tensor:
    """The other way: mel to Hz."""
    return 700 * (10 ** (mel / 2595) - 1)


def mel_filters(
    mels: int = MELS, *, n_fft: int = N_FFT, rate: int = RATE, low: float = LOW, high: float = HIGH
) -> Tensor:
    """Triangles (mels, n_fft // 2 + 1) that sum a spectrum's bins into bands, equally wide in mel, each with peak 1 at
    its middle and 0 at its neighbours' middles.

    Raises ``ValueError`` where the edges are out of order or above half the rate, or where a band is so narrow that no
    bin falls into it.
    """
    return _mel_filters(mels, n_fft, rate, low, high).clone()


@functools.cache
def _mel_filters(mels: int, n_fft: int, rate: int, low: float, high: float) -> Tensor:
    if mels < 1 or not 0 <= low < high <= rate / 2:
        raise ValueError(
            f"mel_filters: expected 0 <= low < high <= {rate / 2} Hz and mels >= 1, got {low}, {high}, {mels}."
        )
    ends = hertz_to_mel(torch.tensor([low, high], dtype=torch.float64))
    edges = mel_to_hertz(torch.linspace(float(ends[0]), float(ends[1]), mels + 2, dtype=torch.float64))  # (mels + 2,)
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * rate / n_fft
    below, middle, above = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    filters = torch.minimum((bins - below) / (middle - below), (above - bins) / (above - middle)).clamp(min=0)
    if not bool((filters.sum(1) > 0).all()):
        raise ValueError(
            f"mel_filters: {mels} bands are too many for bins of {rate / n_fft:.1f} Hz; the lowest are empty. "
            "Ask for fewer bands or for longer frames."
        )
    return filters.float()


def to_decibels(loud: Tensor) -> Tensor:
    """Power (>= 0) to decibels, 10 log10, at least ``FLOOR``: power 0 has no logarithm."""
    return 10 * torch.log10(loud.clamp(min=10 ** (FLOOR / 10)))


def log_mel(wave: Tensor, *, mels: int = MELS, n_fft: int = N_FFT, hop: int = HOP) -> Tensor:
    """Waves (..., N) to mel spectrograms (..., mels, frames) in dB, at least ``FLOOR``, low bands first."""
    filters = mel_filters(mels, n_fft=n_fft).to(wave)
    return to_decibels(filters @ power(wave, n_fft=n_fft, hop=hop))


# -------------------------------------------------------------------------------------------------------------- waves


def resample(wave: Tensor, rate: int, to: int = RATE) -> Tensor:
    """Waves (..., N) at ``rate`` to the rate ``to``, by a polyphase filter that lets no false low tone through."""
    from scipy.signal import resample_poly

    if rate < 1 or to < 1:
        raise ValueError(f"resample: expected rates of at least 1 a second, got {rate} and {to}.")
    if rate == to:
        return wave
    common = math.gcd(rate, to)
    found = resample_poly(wave.double().numpy(), to // common, rate // common, axis=-1)
    return torch.from_numpy(np.ascontiguousarray(found)).to(wave.dtype)


def to_channels(wave: Tensor, channels: int) -> Tensor:
    """Waves (C, N) with one channel (the mean of all) or two (the same twice, or the first two): (channels, N)."""
    if channels not in (1, 2) or wave.dim() != 2 or not len(wave):
        raise ValueError(
            f"to_channels: expected a wave (C, N) and 1 or 2 channels, got {tuple(wave.shape)}, {channels}."
        )
    if channels == 1:
        return wave.mean(0, keepdim=True)
    return wave[:2] if len(wave) >= 2 else wave.expand(2, -1).clone()


def fit_length(wave: Tensor, length: int = LENGTH) -> Tensor:
    """One clip (..., N) cut or filled with silence to ``length`` samples. Of a longer one the loudest stretch is kept,
    the same in all its channels."""
    n = wave.shape[-1]
    if n <= length:
        return F.pad(wave, (0, length - n))
    loud = wave.square().reshape(-1, n).sum(0).double().cumsum(0)
    first = int((loud[length - 1 :] - F.pad(loud, (1, 0))[: n - length + 1]).argmax())
    return wave[..., first : first + length].clone()


def ready(wave: Tensor, rate: int, *, channels: int = 2, length: int = LENGTH) -> Tensor:
    """Any wave (C, N) at any rate as a network hears it: ``RATE``, ``channels`` and ``length``: (channels, length).

    What is louder than full scale after the filter is clipped to [-1, 1].
    """
    return fit_length(resample(to_channels(wave, channels), rate), length).clamp(-1, 1)


# -------------------------------------------------------------------------------------------------------------- files


def read_wav(source: str | Path | bytes) -> tuple[Tensor, int]:
    """A WAV file, by its path or its bytes: the wave (channels, N) float32 in [-1, 1], and its rate.

    Integers of 8 to 64 bits and floats are read, any rate, any number of channels. Raises ``AudioError`` for what is
    not such a file, is empty, holds values that are not finite, or lasts longer than ``LONGEST`` seconds.
    """
    from scipy.io import wavfile

    name = "the sound" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise AudioError(f"{name}: cannot be read ({why}). Give the path of a WAV file.") from error
    if not data:
        raise AudioError(f"{name}: is empty. Record or export it again.")
    if data[:4] not in (b"RIFF", b"RIFX", b"RF64"):
        raise AudioError(f"{name}: is {_kind(data)}, not a WAV file. Convert it to WAV first.")
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")  # mostly of chunks that hold titles and dates
            rate, found = wavfile.read(io.BytesIO(data))
    except Exception as error:  # the reader raises many kinds on broken files
        raise AudioError(f"{name}: is a WAV file that cannot be decoded ({error}). Export it again.") from error
    if any("EOF" in str(w.message) for w in said):
        raise AudioError(f"{name}: is cut off, its end is missing. Copy or export it again.")
    wave = np.atleast_2d(found.T)
    if wave.size == 0 or not 1 <= rate <= FASTEST:
        raise AudioError(
            f"{name}: holds no sound at 1 to {FASTEST} samples a second, but {wave.shape[-1]} samples at {rate}. "
            "Export it again."
        )
    if wave.shape[1] > LONGEST * rate:
        raise AudioError(f"{name}: lasts {wave.shape[1] / rate:.0f} s; at most {LONGEST} s are read. Cut it first.")
    scaled = _scaled(wave)
    if not np.isfinite(scaled).all():
        raise AudioError(f"{name}: holds values that are not finite numbers. Export it again.")
    return torch.from_numpy(np.ascontiguousarray(scaled)), int(rate)


def _scaled(wave: np.ndarray) -> np.ndarray:
    """Samples as the file holds them to float32 in [-1, 1]. 24 bits come left-justified in 32."""
    if wave.dtype == np.uint8:  # 8 bits are unsigned, with silence at 128
        return ((wave.astype(np.float32) - 128) / 128).astype(np.float32)
    if np.issubdtype(wave.dtype, np.integer):
        return (wave / -float(np.iinfo(wave.dtype).min)).astype(np.float32)
    wave = np.where(np.isfinite(wave), wave.clip(-1, 1), np.nan)  # what is not finite is refused
    return wave.astype(np.float32)


def _kind(data: bytes) -> str:
    starts = {
        b"ID3": "MP3",
        b"fLaC": "FLAC",
        b"OggS": "Ogg",
        b"\x1aE\xdf\xa3": "WebM",
        b"FORM": "AIFF",
        b"\x89PNG": "a PNG picture",
        b"\xff\xd8": "a JPEG picture",
        b"PK": "a ZIP archive",
    }
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        return "MP3"
    found = next((kind for start, kind in starts.items() if data.startswith(start)), None)
    return found or ("MP4 audio" if data[4:8] == b"ftyp" else "something else")


def wav_bytes(wave: Tensor, rate: int = RATE) -> bytes:
    """A wave (N,) or (C, N) in [-1, 1] as a WAV file of 16 bits. Raises ``ValueError`` beyond that range."""
    from scipy.io import wavfile

    if not wave.is_floating_point():
        raise ValueError(f"wave: expected floats in [-1, 1], got {wave.dtype}. Divide integers by their largest value.")
    if wave.dim() not in (1, 2) or not wave.numel():
        raise ValueError(f"wave: expected (N,) or (C, N) with at least one sample, got {tuple(wave.shape)}.")
    expect_range(wave, -1, 1, name="wave", cure="Divide by the largest.")
    out = io.BytesIO()
    samples = (wave.detach().cpu().double() * 32768).round().clamp(-32768, 32767).to(torch.int16)
    wavfile.write(out, rate, samples.numpy().T)
    return out.getvalue()


def write_wav(path: str | Path, wave: Tensor, rate: int = RATE) -> Path:
    """``wav_bytes`` into a file: whole, or not at all."""
    write_whole(Path(path), wav_bytes(wave, rate))
    return Path(path)
