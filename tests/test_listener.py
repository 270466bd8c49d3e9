"""The listener without a browser: what is heard, what is shown of it, the browser's messages, errors, papermill."""

from __future__ import annotations

import base64
import io
import math
import threading
import time
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mmcourse import audio, plots
from mmcourse import listener as module
from mmcourse.audio import LENGTH, RATE, AudioError
from mmcourse.listener import LARGEST, QUIET, TICKS, Listener, listener, loudness, mel_figure, unpack


def tone(hertz: float, *, loud: float = 0.5, seconds: float = LENGTH / RATE, rate: int = RATE) -> Tensor:
    at = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return (loud * torch.sin(2 * math.pi * hertz * at)).float()


class FakeModel:
    """Two pictures whose grey is each ear's loudest frequency; fails above 3 kHz."""

    def __init__(self) -> None:
        self.waves: list[Tensor] = []

    def __call__(self, wave: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        hertz = torch.fft.rfft(wave).abs().argmax(-1) * RATE / wave.shape[-1]
        if bool((hertz > 3000).any()):
            raise RuntimeError("out of memory")
        self.waves.append(wave)
        return (hertz / 2000 - 1)[:, None, None, None].expand(-1, 3, 8, 12)


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


def send(made: Listener, data: bytes | None = None, **content: Any) -> None:
    """What the browser does: one message for each sound, with its number."""
    number = made.widget.asked + 1
    made.widget.asked = number
    message = {"method": "custom", "content": {"n": number, **content}}
    made.widget._handle_msg({"content": {"data": message}, "buffers": [] if data is None else [memoryview(data)]})


def floats(*waves: Tensor) -> bytes:
    """Samples as the browser sends them: one channel after the other."""
    return b"".join(w.numpy().astype("<f4").tobytes() for w in waves)


def image(data: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


# ------------------------------------------------------------------------------------------------ what is heard


@pytest.mark.parametrize(("hertz", "loud"), [(440.0, 1.0), (1000.0, 0.1), (250.0, 0.5), (3111.0, 0.003)])
def test_the_loudness_of_a_tone_is_twenty_times_the_logarithm_of_its_amplitude(hertz: float, loud: float):
    wave = tone(hertz, loud=loud)[None]
    assert loudness(wave) == pytest.approx(20 * math.log10(loud), abs=0.1)
    assert loudness(torch.cat([torch.zeros_like(wave), wave])) == pytest.approx(loudness(wave), abs=1e-4)


def test_loudness_is_that_of_the_loudest_moment_and_knows_no_offset():
    wave = torch.zeros(1, LENGTH)
    wave[0, 4000:6000] = tone(500.0, loud=0.25)[:2000]
    assert loudness(wave) == pytest.approx(20 * math.log10(0.25), abs=0.1)
    assert loudness(wave + 0.3) == pytest.approx(loudness(wave), abs=0.01)
    assert loudness(torch.zeros(2, LENGTH)) == loudness(torch.full((1, 3), 0.9)) == audio.FLOOR


def test_a_recording_travels_as_floats_one_channel_after_the_other(rng: torch.Generator):
    waves = torch.rand(2, 5000, generator=rng) * 2 - 1
    assert torch.equal(unpack(floats(*waves), 2, 48000), waves)
    assert torch.equal(unpack(floats(*waves), 1, 48000), waves.reshape(1, -1))
    assert torch.equal(unpack(floats(torch.tensor([1.5, -3.0, 0.5])), 1, 8000), torch.tensor([[1.0, -1.0, 0.5]]))


@pytest.mark.parametrize(
    ("data", "channels", "rate", "said"),
    [
        (b"", 1, 48000, "got 0 bytes"),
        (bytes(6), 1, 48000, "samples of 4 bytes in 1 channels, got 6 bytes"),
        (bytes(12), 2, 48000, "samples of 4 bytes in 2 channels, got 12 bytes"),
        (bytes(12), 3, 48000, "expected 1 or 2 channels, got 3"),
        (bytes(12), None, 48000, "expected 1 or 2 channels, got None"),
        (bytes(12), True, 48000, "expected 1 or 2 channels, got True"),
        (bytes(12), 1, 0, "samples a second, got 0"),
        (bytes(12), 1, 48000.5, "samples a second, got 48000.5"),
        (bytes(4 * 12 * 3000), 1, 3000, "lasts longer than 10 s"),
        (floats(torch.tensor([0.0, math.nan])), 1, 48000, "not finite"),
        (floats(torch.tensor([math.inf])), 1, 48000, "not finite"),
    ],
)
def test_a_wrong_recording_is_explained(data: bytes, channels: Any, rate: Any, said: str, model: FakeModel):
    with pytest.raises(AudioError, match=said):
        unpack(data, channels, rate)
    made = listener(model)
    send(made, data, kind="recording", channels=channels, rate=rate)
    assert made.widget.failed and said in made.message and made.message.startswith("Not heard. ")
    assert made.widget.answered == 1 and not model.waves


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_hear_gives_the_model_what_audio_ready_makes(channels: int, rate: int, model: FakeModel):
    made = listener(model, channels=channels)
    wave = torch.stack([tone(620, seconds=2, rate=rate), tone(1430, seconds=2, rate=rate)])
    pictures = made.hear(wave, rate)
    assert torch.equal(model.waves[0], audio.ready(wave, rate, channels=channels))
    assert made.wave is not None and torch.equal(made.wave, model.waves[0]) and made.wave.shape == (channels, LENGTH)
    assert made.pictures is not None and torch.equal(pictures, made.pictures) and pictures.shape == (channels, 3, 8, 12)
    grey = [-1 + 620 / 2000, -1 + 1430 / 2000] if channels == 2 else None
    if grey:
        assert pictures[:, 0, 0, 0].tolist() == pytest.approx(grey, abs=0.01)
    assert made.hear(tone(300), RATE).shape == pictures.shape  # (N,) is a wave too


def test_the_model_cannot_change_what_was_heard():
    def vandal(wave: Tensor) -> Tensor:
        wave.zero_()
        return torch.zeros(1, 1, 4, 4)

    made = listener(vandal, sounds={"a": tone(440)})
    made.hear(tone(440))
    send(made, kind="ready", name="a")
    send(made, kind="ready", name="a")
    assert made.wave is not None and loudness(made.wave) > -7


@pytest.mark.parametrize(
    ("wave", "rate", "said"),
    [
        (torch.zeros(2, 3, 4), RATE, r"expected a wave, a tensor \(N,\) or \(C, N\).*got \(2, 3, 4\)"),
        (torch.zeros(0), RATE, "at least one sample"),
        ([0.0, 0.1], RATE, "got list"),
        (torch.ones(100, dtype=torch.int16), RATE, r"expected floats in \[-1, 1\], got torch.int16"),
        (torch.full((100,), 3.0), RATE, r"expected values in \[-1, 1\], got \[3, 3\]. Divide by the largest.$"),
        (torch.full((100,), math.nan), RATE, "not finite"),
        (torch.zeros(100), 0, "at 0 a second"),
        (torch.zeros(700 * 10), 10, "expected at most 600 s"),
    ],
)
def test_what_is_no_wave_is_refused_and_the_old_one_stays(wave: Any, rate: int, said: str, model: FakeModel):
    made = listener(model)
    made.hear(tone(440))
    kept = made.png, made.widget.sound, made.widget.pictures
    with pytest.raises(AudioError, match=said):
        made.hear(wave, rate)
    assert made.widget.failed and made.message.endswith("Shown is still the sound.")
    assert (made.png, made.widget.sound, made.widget.pictures) == kept and len(model.waves) == 1
    made.hear(tone(440))
    assert not made.widget.failed and made.error is None


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"seconds": 0.0}, ValueError, "seconds: expected 0.1 to 10, got 0.0"),
        ({"seconds": 11}, ValueError, "seconds"),
        ({"seconds": math.nan}, ValueError, "seconds"),
        ({"channels": 3}, ValueError, "channels: expected 1 or 2, got 3"),
        ({"sounds": {"": torch.zeros(10)}}, ValueError, "expected a name"),
        ({"sounds": {"loud": torch.full((10,), 2.0)}}, AudioError, r"sounds\['loud'\]: expected values"),
        ({"answer": "model"}, TypeError, "answer: expected a function"),
    ],
)
def test_wrong_arguments_raise(options: dict[str, Any], error: type[Exception], said: str, model: FakeModel):
    with pytest.raises(error, match=said):
        listener(**{"answer": model, **options})


# ------------------------------------------------------------------------------------------------ what is shown


def test_the_page_gets_sound_spectrogram_and_pictures_of_one_sound(model: FakeModel):
    made = listener(model, sounds={"a tone": tone(700)})
    assert made.widget.names == ["a tone"] and made.widget.shown == 0
    send(made, kind="ready", name="a tone")
    sent, rate = audio.read_wav(made.widget.sound)
    assert rate == RATE and torch.allclose(sent, made.wave, atol=1e-4)
    assert Image.open(io.BytesIO(made.widget.spectrogram)).format == "PNG"
    wanted = plots.to_bytes(made.pictures)
    for shown, one in zip(made.widget.pictures, wanted, strict=True):
        np.testing.assert_array_equal(image(shown), one)
    assert made.widget.size == [8, 12]
    assert made.widget.words == [f"Picture {i} of 2, from “a tone”" for i in (1, 2)]
    assert np.asarray(Image.open(io.BytesIO(made.png))).shape == (8, 26, 3)
    assert made.message.startswith("Heard “a tone”: loudness −6 dB. 2 pictures in 0.0")
    assert made.widget.shown == 1 and made.widget.answered == 1
    made.hear(tone(500))
    assert made.widget.shown == 2


def test_grey_pictures_are_shown_too():
    made = listener(lambda wave: torch.zeros(1, 1, 4, 4))
    assert made.hear(tone(440)).shape == (1, 1, 4, 4)
    assert len(made.widget.pictures) == 1 and ". 1 picture in " in made.message


@pytest.mark.parametrize(("loud", "silent"), [(0.0, True), (0.002, True), (0.005, False)])
def test_what_is_almost_silent_is_called_so(loud: float, silent: bool, model: FakeModel):
    made = listener(model)
    made.hear(tone(440, loud=loud))
    assert ("almost silent" in made.message) is silent
    assert silent is (loud == 0 or 20 * math.log10(loud) < QUIET)


def test_a_longer_sound_says_that_it_was_cut(model: FakeModel):
    made = listener(model)
    made.hear(tone(440, seconds=3.4))
    assert "the loudest 1.26 s of 3.4 s" in made.message
    made.hear(tone(440, seconds=1.0))
    assert "the loudest" not in made.message


@pytest.mark.parametrize("hertz", TICKS)
def test_a_tone_lies_at_its_frequency_on_the_mel_axis(hertz: int):
    figure = mel_figure(tone(hertz, loud=1.0)[None])
    (ax,) = [a for a in figure.axes if a.images]
    level = np.asarray(ax.images[0].get_array())
    tick = next(
        t for t, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True) if label.get_text() == str(hertz)
    )
    weight = 10 ** (level.mean(1) / 10)
    assert (weight * np.arange(40)).sum() / weight.sum() == pytest.approx(tick, abs=0.5)
    assert ax.get_ylabel() == "Hz" and ax.get_xlabel() == "seconds"


def test_a_click_lies_at_its_second_on_the_time_axis():
    wave = torch.zeros(1, LENGTH)
    wave[0, 4800] = 1.0  # at 0.6 s
    (ax,) = [a for a in mel_figure(wave).axes if a.images]
    level, (left, right, _, _) = np.asarray(ax.images[0].get_array()), ax.images[0].get_extent()
    middles = left + (np.arange(64) + 0.5) * (right - left) / 64
    assert level.shape == (40, 64) and middles[level.sum(0).argmax()] == pytest.approx(0.6, abs=1e-6)


def test_two_ears_have_two_panels_unless_they_hear_the_same():
    def titles(wave: Tensor) -> list[str]:
        return [ax.get_title(loc="left") for ax in mel_figure(wave).axes if ax.images]

    a, b = tone(440), tone(900)
    assert titles(torch.stack([a, b])) == ["left ear", "right ear"]
    assert titles(torch.stack([a, a])) == ["both ears"]
    assert titles(a[None]) == [""]


def test_the_spectrogram_is_described_in_words(model: FakeModel):
    made, wave = listener(model), torch.zeros(LENGTH)
    wave[4000:6400] = tone(1000)[:2400]
    made.hear(wave)
    said = made.widget.description
    hertz, at = float(said.split("near ")[1].split()[0]), float(said.split("at ")[1].removesuffix(" s."))
    assert hertz == pytest.approx(1000, rel=0.06) and 0.5 <= at <= 0.8
    made.hear(torch.zeros(LENGTH))
    assert made.widget.description == "Mel spectrogram: silence."


# ---------------------------------------------------------------------------------------------------- the browser


def test_a_recording_is_heard_at_its_rate_in_its_ears(model: FakeModel):
    made = listener(model)
    waves = tone(620, rate=44100), tone(1430, rate=44100)
    send(made, floats(*waves), kind="recording", channels=2, rate=44100)
    assert torch.equal(model.waves[0], audio.ready(torch.stack(waves), 44100))
    assert made.pictures is not None
    assert made.pictures[:, 0, 0, 0].tolist() == pytest.approx([620 / 2000 - 1, 1430 / 2000 - 1], abs=0.01)
    assert made.message.startswith("Heard the recording: loudness −6 dB")


def test_a_file_is_heard(model: FakeModel, tmp_path: Path):
    made, wave = listener(model), tone(880, rate=22050)
    send(made, audio.wav_bytes(wave, 22050), kind="file", name="my whistle.wav")
    assert torch.allclose(model.waves[0], audio.ready(wave.expand(2, -1), 22050), atol=1e-3)
    assert made.message.startswith("Heard “my whistle.wav”: loudness −6 dB")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"ID3" + bytes(50), "“voice.wav” is MP3, not a WAV file. Convert it to WAV first."),
        (b"", "“voice.wav” is empty."),
        (b"RIFF" + bytes(50), "“voice.wav” is a WAV file that cannot be decoded"),
        (bytes(LARGEST + 1), "“voice.wav” has 8.0 MiB; at most 8 are taken. Cut it first."),
    ],
)
def test_a_file_that_is_no_sound_is_explained(
    data: bytes, said: str, model: FakeModel, monkeypatch: pytest.MonkeyPatch
):
    made, reads = listener(model), []
    read = audio.read_wav
    monkeypatch.setattr(audio, "read_wav", lambda source: (reads.append(len(source)), read(source))[1])
    send(made, data, kind="file", name="voice.wav")
    assert made.widget.failed and said in made.message and made.widget.answered == 1
    assert len(reads) == (len(data) <= LARGEST), "a file that is too large was decoded"


@pytest.mark.parametrize(
    "content", [{}, {"kind": "ready", "name": "none"}, {"kind": "ready", "name": []}, {"kind": "steal"}, {"kind": 7}]
)
def test_messages_that_make_no_sense_are_refused_in_words(content: dict[str, Any], model: FakeModel):
    made = listener(model, sounds={"a": tone(440)})
    send(made, **content)
    assert made.widget.failed and made.message.startswith("Not heard. ") and not model.waves
    assert made.widget.answered == 1


def test_what_the_model_raises_is_said_to_the_browser_and_raised_in_python(model: FakeModel):
    made = listener(model, sounds={"low": tone(440), "shrill": tone(3500)})
    send(made, kind="ready", name="low")
    kept = made.png, made.widget.sound, made.widget.spectrogram
    send(made, kind="ready", name="shrill")
    assert made.message == "Not heard. The model failed with RuntimeError: out of memory. Shown is still “low”."
    assert made.widget.failed and isinstance(made.error, RuntimeError) and made.widget.answered == 2
    assert (made.png, made.widget.sound, made.widget.spectrogram) == kept
    with pytest.raises(RuntimeError, match="out of memory"):
        made.hear(tone(3500))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (torch.zeros(3, 8, 8), "expected 4 axes"),
        (torch.full((1, 3, 8, 8), 7.0), "expected values in [-1, 1]"),
        (torch.zeros(0, 3, 8, 8), "empty batch"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_picture_is_explained(answer: Any, said: str):
    made = listener(lambda wave: answer, sounds={"a": tone(440)})
    send(made, kind="ready", name="a")
    assert made.message.startswith("Not heard. What the model gave cannot be shown.") and said in made.message
    with pytest.raises((TypeError, ValueError)):
        made.hear(tone(440))


def test_an_interrupt_is_said_and_goes_on(model: FakeModel):
    def interrupted(wave: Tensor) -> Tensor:
        raise KeyboardInterrupt

    made = listener(interrupted, sounds={"a": tone(440)})
    made.widget.asked = 1
    with pytest.raises(KeyboardInterrupt):
        made._receive(made.widget, {"n": 1, "kind": "ready", "name": "a"}, [])
    assert made.message == "Not heard. The model failed with KeyboardInterrupt." and made.widget.answered == 1


def test_sounds_from_two_threads_are_heard_one_after_the_other():
    inside, most, order = 0, 0, []

    def answer(wave: Tensor) -> Tensor:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.05)
        order.append(loudness(wave))
        inside -= 1
        return torch.zeros(1, 1, 2, 2)

    made = listener(answer)
    threads = [threading.Thread(target=made.hear, args=(tone(440, loud=k / 4),)) for k in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and len(order) == 3 and made.widget.shown == 3


def test_the_page_and_python_agree_on_names_and_limits():
    code = (module.STATIC / "listener.js").read_text(encoding="utf-8")
    traits = [name for name in module._Page.class_trait_names(sync=True) if name in module._Page.class_own_traits()]
    for name in traits:
        if not name.startswith("_"):
            assert f'"{name}"' in code or f"change:{name}" in code, f"{name} is shared and not used"
    assert "https://" not in code and "fetch(" not in code and "XMLHttpRequest" not in code and "WebSocket" not in code


# ------------------------------------------------------------------------------------------------------ papermill

CELL = """
import torch
from mmcourse.listener import listener
wave = 0.5 * torch.sin(torch.arange(10080) * 0.5)
ears = listener(lambda wave: torch.zeros(2, 3, 8, 8), sounds={"a tone": wave})
ears.show()
"""


def test_under_papermill_a_still_figure_a_player_and_the_pictures_are_shown(monkeypatch: pytest.MonkeyPatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("MMCOURSE_UNDER_PAPERMILL", "1")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(book, timeout=60, kernel_name="python3").execute()
    data = [output.get("data", {}) for output in book.cells[0].outputs]
    assert sum("image/png" in d for d in data) == 2 and sum("<audio" in d.get("text/html", "") for d in data) == 1
    assert not any("application/vnd.jupyter.widget-view+json" in d for d in data)
    said = "".join(output.get("text", "") for output in book.cells[0].outputs)
    assert said.startswith("Heard “a tone”: loudness −6 dB. 2 pictures in ")


def test_without_a_kernel_show_prints(model: FakeModel, capsys: pytest.CaptureFixture[str]):
    listener(model).show()
    assert capsys.readouterr().out == "Record a sound or take a WAV file.\n"
    listener(model, sounds={"a": tone(440)}).show()
    assert capsys.readouterr().out.startswith("Heard “a”: loudness −6 dB")
