"""The listener in a real JupyterLab, driven by a headless Chromium whose microphone hears a file.

One notebook is opened for all tests; each leaves the page as it found it.
"""

from __future__ import annotations

import base64
import io
import os
import wave as wave_files
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_painter_browser import Seen, upload
from test_widgets_browser import CHROMIUM, FLAGS, lab, notebook, open_and_run, playwright_sync  # noqa: F401

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

LEFT, RIGHT = 620.0, 1430.0  # Hz, in the two channels of the file that the microphone hears
RATE = 48_000
CELL = """
import json, os, time
from pathlib import Path
import torch
from mmcourse import audio
from mmcourse.listener import listener

heard = []

def loudest(wave):
    spectrum = torch.fft.rfft(wave * torch.hann_window(wave.shape[-1])).abs()
    return (spectrum.argmax(-1) * audio.RATE / wave.shape[-1]).tolist()

def answer(wave):
    hertz = loudest(wave)
    if max(hertz) > 3000:
        raise RuntimeError("too <b>high</b> for me")
    if Path("SLOW").exists():
        time.sleep(0.5)
    heard.append(hertz)
    grey = torch.tensor([2 * min(h / 4000, 1) - 1 for h in hertz])
    return grey[:, None, None, None].expand(-1, 3, 32, 32)

def tone(hertz):
    return 0.5 * torch.sin(2 * torch.pi * hertz * torch.arange(audio.LENGTH) / audio.RATE)

ears = listener(answer, sounds={"low tone": tone(200.0), "high tone": tone(2000.0), "shrill tone": tone(3500.0)})

def note(change=None):
    seen = {"message": ears.message, "heard": heard, "answered": ears.widget.answered}
    seen["wave"] = None if ears.wave is None else ears.wave.tolist()
    Path("FILE.part").write_text(json.dumps(seen))
    os.replace("FILE.part", "FILE")

ears.widget.observe(note, "answered")
note()
ears.show()
"""


def wav(path: Path, *hertz: float, seconds: float = 2.0, rate: int = RATE) -> Path:
    """A 16-bit WAV file with one pure tone a channel."""
    time = np.arange(int(seconds * rate)) / rate
    samples = np.stack([0.5 * np.sin(2 * np.pi * h * time) for h in hertz], axis=1)
    with wave_files.open(str(path), "wb") as file:
        file.setnchannels(len(hertz))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


class Notes(Seen):
    """What Python knows, noted after each sound."""

    def after(self, number: int) -> dict[str, Any]:
        return self.wait(lambda note: note["answered"] >= number, f"sound {number} was not answered")

    def mask(self) -> np.ndarray:
        return np.zeros(0)


@pytest.fixture(scope="module")
def opened(lab: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Notes]]:  # noqa: F811
    """The page with the listener, and what Python knows."""
    folder = tmp_path_factory.mktemp("listener")
    microphone = wav(folder / "microphone.wav", LEFT, RIGHT, seconds=20)
    flags = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}%noloop"]
    notes = Notes(folder / "seen.json")
    cell = CELL.replace("FILE", str(notes.file)).replace("SLOW", str(folder / "slow"))
    with playwright_sync.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        page = browser.new_page(viewport={"width": 1150, "height": 900})
        page.set_default_timeout(30_000)
        allow(page, "granted")
        upload(lab, "listener.ipynb", notebook(cell))
        open_and_run(page, lab, "listener.ipynb")
        page.locator(".mmcourse-listener button").first.wait_for(timeout=60_000)
        page.locator(".mmcourse-listener").scroll_into_view_if_needed()
        yield page, notes
        browser.close()


def allow(page: Any, setting: str) -> None:
    """Have the browser answer for its user when the page asks for the microphone."""
    target = page.context.new_cdp_session(page).send("Target.getTargetInfo")["targetInfo"]
    asked = {"permission": {"name": "microphone"}, "setting": setting, "browserContextId": target["browserContextId"]}
    page.context.browser.new_browser_cdp_session().send("Browser.setPermission", asked)


def keep_screenshot(page: Any, name: str) -> None:
    if os.environ.get("MMCOURSE_SCREENSHOTS"):
        page.locator(".mmcourse-listener").scroll_into_view_if_needed()
        page.screenshot(path=Path(os.environ["MMCOURSE_SCREENSHOTS"]) / f"{name}.png")


def parts(page: Any) -> tuple[Any, Any, Any]:
    inside = page.locator(".mmcourse-listener")
    return inside.get_by_role("status"), inside.get_by_role("alert"), inside.locator(".mmcourse-listener-pictures img")


def pixel(picture: Any) -> int:
    """The grey of a picture's first pixel, as the page shows it."""
    data = base64.b64decode(picture.get_attribute("src").split(",")[1])
    return int(np.asarray(Image.open(io.BytesIO(data)))[0, 0, 0])


def test_the_microphone_is_heard(opened: tuple[Any, Notes]):
    page, notes = opened
    status, alert, pictures = parts(page)
    keep_screenshot(page, "listener-1-start")
    number = notes()["answered"]
    page.get_by_role("button", name="Record 1.26 s").click()
    page.get_by_text("Recording.", exact=True).wait_for()
    assert page.locator("[aria-hidden=true]", has_text="Recording.").count(), "a voice would read it into the recording"
    keep_screenshot(page, "listener-2-recording")
    status.get_by_text("Heard the recording").wait_for()
    assert alert.inner_text() == "" and not page.get_by_text("Recording.", exact=True).is_visible()
    seen = notes.after(number + 1)
    left, right = seen["heard"][-1]
    assert left == pytest.approx(LEFT, rel=0.03) and right == pytest.approx(RIGHT, rel=0.03)

    # each block of samples came, once and in its place: all of the wave is one tone, here fitted by least squares
    wave, time = np.array(seen["wave"]), np.arange(10080) / 8000
    assert wave.shape == (2, 10080)
    for channel, hertz in zip(wave, (LEFT, RIGHT), strict=True):
        inner, at = channel[200:-200], 2 * np.pi * hertz * time[200:-200]  # the resampling fades the ends
        basis = np.stack([np.sin(at), np.cos(at)], axis=1)
        found = np.linalg.lstsq(basis, inner, rcond=None)[0]
        assert np.hypot(*found) == pytest.approx(0.5, rel=0.05)
        assert np.abs(inner - basis @ found).max() < 0.02

    # the pictures say the pitch; the player and the spectrogram are of this sound
    assert pictures.count() == 2 and pictures.nth(1).get_attribute("alt") == "Picture 2 of 2, from the recording"
    assert [pixel(pictures.nth(i)) for i in range(2)] == pytest.approx([255 * LEFT / 4000, 255 * RIGHT / 4000], abs=3)
    assert "loudness −6 dB. 2 pictures" in status.inner_text()
    page.wait_for_function("() => document.querySelector('.mmcourse-listener audio').duration > 0")
    player, mel = page.get_by_label("What was heard"), page.locator(".mmcourse-listener-mel")
    assert player.evaluate("audio => audio.duration") == pytest.approx(1.26, abs=0.01)
    assert "Mel spectrogram: loudest near" in mel.get_attribute("alt")
    assert mel.evaluate("image => image.complete && image.naturalWidth") > 300
    keep_screenshot(page, "listener-3-heard")


def test_files_are_taken_and_refusals_are_sentences(opened: tuple[Any, Notes], tmp_path: Path):
    page, notes = opened
    status, alert, pictures = parts(page)

    def choose(file: Path) -> None:
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="WAV file").click()
        chooser.value.set_files(file)

    number, good = notes()["answered"], wav(tmp_path / "whistle.wav", 880.0, rate=44_100)
    for again in (1, 2):  # the same file twice is heard twice
        choose(good)
        seen = notes.after(number + again)
        assert seen["heard"][-1] == pytest.approx([880.0, 880.0], rel=0.03)
    status.get_by_text("Heard “whistle.wav”, the loudest 1.26 s of 2.0 s: loudness −6 dB.").wait_for()
    shown = pictures.first.get_attribute("src")

    song = tmp_path / "song.wav"
    song.write_bytes(b"ID3" + bytes(100))
    choose(song)
    alert.get_by_text("“song.wav” is MP3, not a WAV file. Convert it to WAV first.").wait_for()
    assert "Shown is still “whistle.wav”." in alert.inner_text() and status.inner_text() == ""
    assert pictures.first.get_attribute("src") == shown
    keep_screenshot(page, "listener-4-refused")

    large = tmp_path / "large.wav"
    large.write_bytes(bytes(9 * 2**20))
    choose(large)
    alert.get_by_text("“large.wav” has 9 MiB; at most 8 are taken. Cut it first.").wait_for()
    assert page.evaluate("() => document.querySelectorAll('.jp-OutputArea-output[data-mime-type*=error]').length") == 0
    choose(good)  # the line to the kernel still stands, and the large file was never sent
    status.get_by_text("Heard “whistle.wav”").wait_for()
    assert notes.after(number + 4)["answered"] == number + 4 and alert.inner_text() == ""


def test_sounds_that_come_while_one_is_answered_are_heard_in_order(opened: tuple[Any, Notes], tmp_path: Path):
    page, notes = opened
    status, alert, _ = parts(page)
    slow = notes.file.parent / "slow"
    slow.touch()
    try:
        before = notes()
        for name in ("low tone", "high tone", "low tone"):
            page.get_by_role("button", name=name).click()
        status.get_by_text("Listening to 3 sounds, one after the other.").wait_for()
        large = tmp_path / "large.wav"
        large.write_bytes(bytes(9 * 2**20))
        page.locator(".mmcourse-listener input").set_input_files(large)
        alert.get_by_text("“large.wav” has 9 MiB").wait_for()
        seen = notes.after(before["answered"] + 3)
    finally:
        slow.unlink()
    heard = [left for left, _ in seen["heard"][len(before["heard"]) :]]
    assert heard == pytest.approx([200, 2000, 200], rel=0.03)
    status.get_by_text("Heard “low tone”").wait_for()
    assert "“large.wav” has 9 MiB" in alert.inner_text(), "an answer wiped away why the file was refused"


def test_what_the_model_raises_is_a_sentence(opened: tuple[Any, Notes]):
    page, _ = opened
    status, alert, _ = parts(page)
    page.get_by_role("button", name="low tone").click()
    status.get_by_text("Heard “low tone”").wait_for()
    page.get_by_role("button", name="shrill tone").click()
    alert.get_by_text("The model failed with RuntimeError: too <b>high</b> for me.").wait_for()
    assert alert.locator("b").count() == 0 and status.inner_text() == ""
    assert page.get_by_text("Traceback").count() == 0 and page.locator(".jp-CodeCell").count() == 1
    page.get_by_role("button", name="low tone").click()
    status.get_by_text("Heard “low tone”").wait_for()
    assert alert.inner_text() == ""


def test_without_a_microphone_the_button_says_why(opened: tuple[Any, Notes]):
    page, notes = opened
    status, alert, _ = parts(page)
    record, number = page.get_by_role("button", name="Record"), notes()["answered"]
    allow(page, "denied")
    try:
        record.click()
        alert.get_by_text("The microphone was refused. Allow it for this page").wait_for()
        assert "The file button works without a microphone." in alert.inner_text()
        assert status.inner_text() == notes()["message"], "the page no longer says what it shows"
        keep_screenshot(page, "listener-5-denied")
    finally:
        allow(page, "granted")
    with_no_device = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError') }"
    page.evaluate(f"() => {{ {with_no_device} }}")
    record.click()
    alert.get_by_text("No microphone was found.").wait_for()
    page.evaluate("() => { delete navigator.mediaDevices.getUserMedia }")
    page.evaluate("() => Object.defineProperty(window, 'isSecureContext', { value: false, configurable: true })")
    record.click()
    alert.get_by_text("Recording needs a page from localhost or over https, and this one is neither.").wait_for()
    page.evaluate("() => { delete window.isSecureContext }")
    assert notes()["answered"] == number, "something was sent to the kernel"
    page.get_by_role("button", name="high tone").click()
    status.get_by_text("Heard “high tone”").wait_for()


def test_everything_is_reached_by_keys(opened: tuple[Any, Notes]):
    page, notes = opened
    number = notes()["answered"]
    page.get_by_role("button", name="low tone").focus()
    order = []
    for _ in range(5):
        order.append(page.evaluate("() => document.activeElement.innerText || document.activeElement.ariaLabel"))
        page.keyboard.press("Tab")
    assert order == ["low tone", "high tone", "shrill tone", "Record 1.26 s", "WAV file …"]
    page.get_by_role("button", name="low tone").focus()
    page.keyboard.press("d")
    page.keyboard.press("d")  # in JupyterLab: delete the cell
    page.keyboard.press("Enter")
    notes.after(number + 1)
    assert page.locator(".jp-CodeCell").count() == 1
