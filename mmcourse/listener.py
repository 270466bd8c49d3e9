"""Give a sound, ready made, from a file or from the microphone, and see what a model draws from it (lesson 12).

In JupyterLab the listener is live. Where nobody can make a sound, under papermill, the same calls show the spectrogram,
the player and the pictures of what was heard from Python.
"""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from IPython.display import Audio, display
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor

from mmcourse import audio, plots
from mmcourse.audio import AudioError
from mmcourse.checks import expect_range
from mmcourse.widgets import _clip, in_kernel, is_live

Answer = Callable[[Tensor], Tensor]
STATIC = Path(__file__).parent / "static"
LARGEST = 8 * 2**20  # bytes of a file; above 10 MiB a Jupyter server drops the line to its kernel
LONGEST = 10.0  # seconds of a recording
RATES = (3000, 384_000)  # samples a second that a browser may record at
QUIET = -50.0  # dB; a sound whose loudest moment is below is called almost silent
TICKS = (100, 250, 500, 1000, 2000, 3000)  # Hz

# ------------------------------------------------------------------------------------------------- what is heard


def loudness(wave: Tensor) -> float:
    """How loud a wave (C, N) in [-1, 1] is: the mean power of its loudest 64 ms, in the louder channel, in dB beside a
    full-scale tone, at least ``audio.FLOOR``. A constant offset, as some microphones have, counts for nothing."""
    wave = wave - wave.mean(-1, keepdim=True)
    wave = torch.nn.functional.pad(wave, (0, max(0, audio.N_FFT - wave.shape[-1])))
    frames = wave.unfold(-1, audio.N_FFT, audio.HOP)  # (C, frames, N_FFT)
    return float(audio.to_decibels(2 * frames.square().mean(-1).max()))


def unpack(data: bytes, channels: int, rate: int) -> Tensor:
    """A recording as the browser sends it, one channel after the other in 4-byte floats: the wave (channels, N),
    clipped to [-1, 1]. Raises ``AudioError`` on anything else."""
    if type(channels) is not int or channels not in (1, 2):
        raise AudioError(f"the recording: expected 1 or 2 channels, got {_clip(repr(channels), 40)}.")
    if type(rate) is not int or not RATES[0] <= rate <= RATES[1]:
        raise AudioError(
            f"the recording: expected {RATES[0]} to {RATES[1]} samples a second, got {_clip(repr(rate), 40)}."
        )
    if not data or len(data) % (4 * channels):
        raise AudioError(f"the recording: expected samples of 4 bytes in {channels} channels, got {len(data)} bytes.")
    if len(data) > 4 * channels * rate * (LONGEST + 1):
        raise AudioError(f"the recording: lasts longer than {LONGEST:g} s. Record less, or give a WAV file.")
    samples = np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(channels, -1)
    if not np.isfinite(samples).all():
        raise AudioError("the recording: holds values that are not finite numbers.")
    return torch.from_numpy(samples).clamp(-1, 1)


def _checked(wave: Tensor, rate: int, name: str) -> Tensor:
    """A wave (N,) or (C, N) as (C, N) floats. Raises ``AudioError`` where it is none."""
    if not isinstance(wave, Tensor) or wave.dim() not in (1, 2) or not wave.numel():
        got = tuple(wave.shape) if isinstance(wave, Tensor) else type(wave).__name__
        raise AudioError(f"{name}: expected a wave, a tensor (N,) or (C, N) with at least one sample, got {got}.")
    if not wave.is_floating_point():
        raise AudioError(
            f"{name}: expected floats in [-1, 1], got {wave.dtype}. Divide whole numbers by their largest."
        )
    if rate < 1 or wave.shape[-1] > audio.LONGEST * rate:
        raise AudioError(
            f"{name}: expected at most {audio.LONGEST} s, got {wave.shape[-1]} samples at {rate} a second."
        )
    try:
        expect_range(wave, -1, 1, name=name, cure="Divide by the largest.")
    except ValueError as error:
        raise AudioError(str(error)) from error
    wave = wave.detach().float().cpu().clamp(-1, 1)
    return wave[None] if wave.dim() == 1 else wave


# ------------------------------------------------------------------------------------------------ what is shown


def _bands() -> Tensor:
    """The middles of the mel bands in Hz: (MELS,)."""
    ends = audio.hertz_to_mel(torch.tensor([audio.LOW, audio.HIGH]))
    return audio.mel_to_hertz(torch.linspace(float(ends[0]), float(ends[1]), audio.MELS + 2)[1:-1])


def _place(hertz: float) -> float:
    """Where a frequency lies among the mel bands: k on the middle of band k, which may be between two."""
    low, high, mel = audio.hertz_to_mel(torch.tensor([audio.LOW, audio.HIGH, hertz], dtype=torch.float64)).tolist()
    return (mel - low) / (high - low) * (audio.MELS + 1) - 1


def mel_figure(wave: Tensor) -> plots.Sheet:
    """The mel spectrogram of a wave (C, N), one panel an ear, and a single one where both ears hear the same.

    Seconds to the right, Hz on the mel scale upwards, dB beside a full-scale tone as colour.
    """
    levels = audio.log_mel(wave).cpu()
    names = ["left ear", "right ear"] if len(levels) == 2 else [""] * len(levels)
    if len(levels) == 2 and torch.equal(levels[0], levels[1]):
        levels, names = levels[:1], ["both ears"]
    figure = plots.Sheet(figsize=(1.4 + 2.6 * len(levels), 2.6), dpi=plots.DPI, facecolor="white", layout="constrained")
    panels = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    half, step = 0.5 * audio.HOP / audio.RATE, audio.HOP / audio.RATE
    extent = (-half, (levels.shape[-1] - 1) * step + half, -0.5, audio.MELS - 0.5)
    for ax, level, name in zip(panels, levels, names, strict=True):
        shown = ax.imshow(
            level.numpy(), origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=audio.FLOOR, vmax=0,
            interpolation="nearest",
        )  # fmt: skip
        plots._axes_style(ax, title=name, x="seconds", y="Hz" if ax is panels[0] else "")
        ax.grid(False)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5]))
        ax.set_yticks([_place(hertz) for hertz in TICKS], [str(hertz) for hertz in TICKS])
    bar = figure.colorbar(shown, ax=list(panels), pad=0.02)
    bar.ax.tick_params(colors=plots.INK, labelsize=9)
    bar.set_label("dB", **plots._words(10))
    return figure


def _describe(wave: Tensor) -> str:
    """The spectrogram in words, for those who cannot see it."""
    levels = audio.log_mel(wave).amax(0)  # (MELS, frames)
    band, frame = divmod(int(levels.argmax()), levels.shape[1])
    if float(levels.max()) <= audio.FLOOR:
        return "Mel spectrogram: silence."
    hertz, at = float(_bands()[band]), frame * audio.HOP / audio.RATE
    return f"Mel spectrogram: loudest near {round(hertz, -1):.0f} Hz, at {at:.1f} s."


def _decibels(value: Any) -> str:
    return f"{'−' if value <= -0.5 else ''}{abs(round(float(value)))} dB"


def _png(image: np.ndarray) -> bytes:
    """An image (H, W, 3) of bytes as a PNG file's bytes."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, format="png")
    return out.getvalue()


class _Page(anywidget.AnyWidget):
    """What the browser shows, and what it shares with Python. ``static/listener.js`` draws it.

    Sounds come as messages of their own, not as shared state: none is merged with the next, and none is kept.
    """

    _esm = (STATIC / "listener.js").read_text(encoding="utf-8")
    _css = "".join((STATIC / f"{name}.css").read_text(encoding="utf-8") for name in ("panel", "listener"))

    names = traitlets.List(traitlets.Unicode()).tag(sync=True)  # of the ready sounds
    seconds = traitlets.Float().tag(sync=True)  # of a recording
    largest = traitlets.Int(LARGEST).tag(sync=True)  # bytes of a file
    asked = traitlets.Int(0).tag(sync=True)  # how many sounds the browser has sent; the browser sets it
    answered = traitlets.Int(0).tag(sync=True)  # the number of the sound that was dealt with last
    sound = traitlets.Bytes().tag(sync=True)  # what was heard, as a WAV file
    spectrogram = traitlets.Bytes().tag(sync=True)  # a PNG file
    description = traitlets.Unicode().tag(sync=True)  # the spectrogram in words
    size = traitlets.List(traitlets.Int()).tag(sync=True)  # height and width of each picture
    pictures = traitlets.List(traitlets.Unicode()).tag(sync=True)  # PNG files in base64
    words = traitlets.List(traitlets.Unicode()).tag(sync=True)  # what each one shows
    shown = traitlets.Int(0).tag(sync=True)  # how often there was something new to show
    message = traitlets.Unicode().tag(sync=True)
    failed = traitlets.Bool(False).tag(sync=True)


class Listener:
    """Give a sound, see the pictures. ``listener`` makes one and says what its arguments are.

    ``wave`` (channels, ``audio.LENGTH``) is what was heard last, ``pictures`` (K, 3 or 1, H, W) what the model drew
    from it (both None before the first), ``png`` the pictures side by side as a PNG file's bytes, ``message`` what the
    listener says, and ``error`` what stopped the last sound, or None. Sound, spectrogram and pictures belong together:
    after an error all three are still those of the sound before, and the message says so.

    Sounds are heard one after the other, in the order in which they came; while a cell runs they wait for its end.
    """

    def __init__(self, answer: Answer, sounds: Mapping[str, Tensor], seconds: float, channels: int):
        if not callable(answer):
            raise TypeError(f"answer: expected a function from a wave to pictures, got {type(answer).__name__}.")
        if not 0.1 <= seconds <= LONGEST:
            raise ValueError(f"seconds: expected 0.1 to {LONGEST:g}, got {seconds}.")
        if channels not in (1, 2):
            raise ValueError(f"channels: expected 1 or 2, got {channels}.")
        if not all(isinstance(name, str) and name.strip() for name in sounds):
            raise ValueError(f"sounds: expected a name for each sound, got {list(sounds)}.")
        self.sounds = {name: _checked(wave, audio.RATE, f"sounds[{name!r}]") for name, wave in sounds.items()}
        self.answer, self.seconds, self.channels = answer, float(seconds), channels
        self.wave: Tensor | None = None
        self.pictures: Tensor | None = None
        self.png = b""
        self.error: BaseException | None = None
        self._heard = ""  # the name of what is shown
        self._one_by_one = threading.RLock()
        ways = "Record a sound or take a WAV file." if not sounds else "Take a ready sound, record one, or take a file."
        self.widget = _Page(names=list(self.sounds), seconds=self.seconds, message=ways)
        self.widget.on_msg(self._receive)

    @property
    def message(self) -> str:
        """What the listener says."""
        return str(self.widget.message)

    # ------------------------------------------------------------------------------------------------- hearing

    def hear(self, wave: Tensor, rate: int = audio.RATE) -> Tensor:
        """Hear a wave (N,) or (C, N) in [-1, 1] at ``rate`` samples a second: the pictures (K, 3 or 1, H, W).

        Raises ``AudioError`` for what is no such wave, ``ValueError`` or ``TypeError`` where the model gives no
        pictures, and whatever the model raises; ``message`` says it too.
        """
        return self._hear("the sound", wave, rate)

    def _hear(self, name: str, wave: Tensor, rate: int) -> Tensor:
        with self._one_by_one:
            try:
                wave = _checked(wave, rate, name)
                ready = audio.ready(wave, rate, channels=self.channels)
            except AudioError as error:
                self._complain(str(error), error)
                raise
            began = time.perf_counter()
            try:
                with torch.no_grad():
                    pictures = self.answer(ready.clone())
            except BaseException as error:
                text = f": {error}" if str(error) else ""
                self._complain(f"The model failed with {type(error).__name__}{text}", error)
                raise
            took = time.perf_counter() - began
            try:
                images = plots.to_bytes(pictures, name="pictures")
            except (TypeError, ValueError) as error:
                self._complain(f"What the model gave cannot be shown. {error}", error)
                raise
            self.wave, self.pictures, self._heard, self.error = ready, pictures.detach().cpu(), name, None
            self.png = _png(plots.mosaic(self.pictures, columns=len(images), gap=2))
            self._publish(images, self._report(wave.shape[-1] / rate, took))
            return self.pictures

    def _publish(self, images: np.ndarray, message: str) -> None:
        assert self.wave is not None
        count = len(images)
        with self.widget.hold_sync():
            self.widget.sound = audio.wav_bytes(self.wave)
            self.widget.spectrogram, self.widget.description = plots.png(mel_figure(self.wave)), _describe(self.wave)
            self.widget.size = list(images.shape[1:3])
            self.widget.words = [f"Picture {i} of {count}, from {self._heard}" for i in range(1, count + 1)]
            self.widget.pictures = [base64.b64encode(_png(image)).decode() for image in images]
            self.widget.shown += 1
            self.widget.failed, self.widget.message = False, message

    def _report(self, seconds: float, took: float) -> str:
        assert self.wave is not None and self.pictures is not None
        loud, whole = loudness(self.wave), audio.LENGTH / audio.RATE
        said = f"loudness {_decibels(loud)}" if loud >= QUIET else f"almost silent, {_decibels(loud)}"
        cut = f", the loudest {whole:g} s of {seconds:.1f} s" if seconds > whole + 0.05 else ""
        drawn = "1 picture" if len(self.pictures) == 1 else f"{len(self.pictures)} pictures"
        return f"Heard {self._heard}{cut}: {said}. {drawn} in {took:.2f} s."

    def _complain(self, why: str, error: BaseException | None) -> None:
        self.error = error
        kept = f" Shown is still {self._heard}." if self._heard else ""
        why = why if why.endswith((".", "!", "?")) else why + "."
        with self.widget.hold_sync():
            self.widget.failed, self.widget.message = True, f"Not heard. {_clip(why, 600)}{kept}"

    # --------------------------------------------------------------------------------------------- the browser

    def _receive(self, widget: Any, content: Any, buffers: Sequence[Any]) -> None:
        """The browser gives a sound. What goes wrong is said there, and raised to nobody."""
        number = content.get("n") if isinstance(content, dict) else None
        with self._one_by_one:
            try:
                self._hear(*self._unpack(content, buffers))
            except Exception as error:
                if error is not self.error:  # not yet told
                    self._complain(str(error), error)
            finally:
                self.widget.answered = number if type(number) is int else self.widget.asked

    def _unpack(self, content: Any, buffers: Sequence[Any]) -> tuple[str, Tensor, int]:
        """What the browser sends as a name, a wave and its rate. Raises ``AudioError``."""
        kind = content.get("kind") if isinstance(content, dict) else None
        data = bytes(buffers[0]) if buffers else b""
        if kind == "ready" and content.get("name") in self.sounds:
            return f"“{_clip(content['name'], 60)}”", self.sounds[content["name"]], audio.RATE
        if kind == "recording":
            rate = content.get("rate")
            return "the recording", unpack(data, content.get("channels"), rate), rate
        if kind != "file":
            raise AudioError("The page sent what is neither a ready sound nor a file nor a recording.")
        name = f"“{_clip(str(content.get('name')), 60)}”"
        if len(data) > LARGEST:
            raise AudioError(
                f"{name} has {len(data) / 2**20:.1f} MiB; at most {LARGEST // 2**20} are taken. Cut it first."
            )
        try:
            wave, rate = audio.read_wav(data)
        except AudioError as error:
            raise AudioError(f"{name} {str(error).removeprefix('the sound: ')}") from error
        return name, wave, rate

    # ------------------------------------------------------------------------------------------------- showing

    def show(self) -> None:
        """Show the listener. Under papermill, where nobody can make a sound, show what was heard last instead: the
        spectrogram, a player and the pictures. Where nothing was, the first ready sound is heard."""
        if is_live():
            display(self.widget)
            return
        if self.wave is None and self.sounds:
            name, wave = next(iter(self.sounds.items()))
            self._hear(f"“{_clip(name, 60)}”", wave, audio.RATE)
        if in_kernel() and self.wave is not None and self.pictures is not None:
            display(mel_figure(self.wave), Audio(data=audio.wav_bytes(self.wave)), plots.grid(self.pictures))
        print(self.message)

    def _ipython_display_(self) -> None:
        self.show()


def listener(
    answer: Answer, *, sounds: Mapping[str, Tensor] | None = None, seconds: float = 1.26, channels: int = 2
) -> Listener:
    """A page that takes a sound and shows what a model draws from it.

    ``answer(wave)`` takes a wave (channels, ``audio.LENGTH``) in [-1, 1] at ``audio.RATE`` samples a second and gives
    pictures (K, 3 or 1, H, W) in [-1, 1]. What it raises is shown as a sentence. ``sounds`` are ready sounds by name,
    waves (N,) or (C, N) at ``audio.RATE``; ``seconds`` is how long a recording lasts, at most ``LONGEST``.

        ears = listener(answer, sounds={"a tone": wave})
        ears.show()
        pictures = ears.hear(wave, rate)  # the same from Python

    Sounds go from the browser to the kernel and to nobody else. Raises ``TypeError`` or ``ValueError`` on arguments
    out of range, and ``AudioError``, which is a ``ValueError``, on a ready sound that is no wave.
    """
    return Listener(answer, dict(sounds or {}), seconds, channels)
