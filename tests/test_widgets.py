"""The widgets without a browser: what they draw, print, keep and say, live and plain."""

from __future__ import annotations

import base64
import io
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ipywidgets
import nbformat
import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image
from torch import Tensor

from mmcourse import plots, widgets


@dataclass
class FakeStep:
    number: int
    seconds: float
    losses: dict[str, float]
    state: int


def play(steps: int, start: int = 1) -> Iterator[FakeStep]:
    for i in range(start, steps + 1):
        yield FakeStep(i, 0.5 * i, {"d": 1 / i, "g": 2.0 + i, "penalty": float(i % 4 == 1), "extra": 0.0}, i)


def blank(state: int) -> Tensor:
    return torch.full((4, 3, 8, 8), -1 + 2 * (state % 100) / 100)


class Screen(list):
    """Stands in for IPython's display: keeps what was shown, and what was put in its place later."""

    def __call__(self, thing: Any, display_id: bool = False) -> Screen:
        self.append(thing)
        self.updates: list[Any] = []
        return self

    def update(self, thing: Any) -> None:
        self.updates.append(thing)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    shown = Screen()
    monkeypatch.setattr(widgets, "display", shown)
    return shown


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch, screen: Screen) -> Screen:
    """As in JupyterLab."""
    monkeypatch.setattr(widgets, "in_kernel", lambda: True)
    monkeypatch.delenv("MMCOURSE_UNDER_PAPERMILL", raising=False)
    return screen


@pytest.fixture
def papermill(monkeypatch: pytest.MonkeyPatch, screen: Screen) -> Screen:
    monkeypatch.setattr(widgets, "in_kernel", lambda: True)
    monkeypatch.setenv("MMCOURSE_UNDER_PAPERMILL", "1")
    return screen


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


# --------------------------------------------------------------------------------------------- where we are


def test_live_only_in_a_kernel_and_not_under_papermill(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MMCOURSE_UNDER_PAPERMILL", raising=False)
    assert not widgets.in_kernel() and not widgets.is_live()
    shell = InteractiveShell()
    monkeypatch.setattr(widgets, "get_ipython", lambda: shell)
    assert not widgets.is_live()  # IPython in a terminal has no kernel
    shell.kernel = object()  # type: ignore[attr-defined]
    assert widgets.is_live()
    monkeypatch.setenv("MMCOURSE_UNDER_PAPERMILL", "1")
    assert widgets.in_kernel() and not widgets.is_live()


# ------------------------------------------------------------------------------------------------- progress


@pytest.mark.parametrize("n", [1, 3, 10, 11, 99, 1234])
def test_plain_progress_is_ten_lines_at_most_and_ends_with_the_end(
    n: int, papermill: Screen, capsys: pytest.CaptureFixture[str]
):
    assert list(widgets.progress(range(n), label="drawing")) == list(range(n))
    said = lines(capsys)
    assert len(said) == min(n, 10)
    counts = [int(re.match(r"drawing: (\d+) of (\d+), .* left$", line)[1]) for line in said]
    assert counts == sorted({-(-n * tenths // 10) for tenths in range(1, 11)})


def test_plain_progress_spaces_its_lines_evenly(papermill: Screen, capsys: pytest.CaptureFixture[str]):
    list(widgets.progress(iter(range(50)), total=50))
    assert [int(line.split()[0]) for line in lines(capsys)] == list(range(5, 51, 5))


def test_plain_progress_without_a_total(papermill: Screen, capsys: pytest.CaptureFixture[str]):
    assert len(list(widgets.progress(iter(range(5000))))) == 5000
    assert [line.split()[0].rstrip(",") for line in lines(capsys)] == ["1", "10", "100", "1000", "5000"]
    assert list(widgets.progress([])) == []


def test_progress_is_plain_where_output_goes_to_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    list(widgets.progress(range(20)))
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 10 and captured.err == ""


def test_progress_is_a_bar_when_live(live: Screen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    bars: list[dict[str, Any]] = []

    def bar(iterable: Any, **more: Any) -> Any:
        bars.append(more)
        return iterable

    monkeypatch.setattr(widgets, "notebook_tqdm", bar)
    assert list(widgets.progress(range(3), label="drawing")) == [0, 1, 2]
    assert bars == [{"total": 3, "desc": "drawing"}] and lines(capsys) == []


def test_progress_passes_errors_on(papermill: Screen):
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("x")

    with pytest.raises(KeyError):
        list(widgets.progress(broken(), total=5))


# ---------------------------------------------------------------------------------------------------- panel


@pytest.mark.parametrize("steps", [4, 10, 137, 1000])
def test_the_plain_panel_prints_ten_lines_and_one_figure(
    steps: int, papermill: Screen, capsys: pytest.CaptureFixture[str]
):
    panel = widgets.LivePanel(steps, samples=blank, measure=lambda s: {"share": s / steps}, title="a run")
    assert [s.number for s in panel(play(steps))] == list(range(1, steps + 1))
    said = lines(capsys)
    assert len(said) == min(steps, 10)
    assert said[-1].startswith(f"step {steps} of {steps}, ") and "share 1" in said[-1] and "d " in said[-1]
    assert papermill == [panel.figure]


def test_the_panel_keeps_every_loss(papermill: Screen):
    panel = widgets.LivePanel(50, every=20, measure=lambda s: {"share": s / 100})
    for _ in panel(play(50)):
        pass
    assert panel.logs["step"] == list(range(1, 51))
    assert panel.logs["seconds"] == [0.5 * i for i in range(1, 51)]
    assert panel.logs["d"] == [1 / i for i in range(1, 51)]
    assert panel.measured == [{"step": s, "share": s / 100} for s in (20, 40, 50)]


def test_the_figure_shows_the_last_samples_and_the_losses_in_play(papermill: Screen):
    panel = widgets.LivePanel(50, samples=blank)
    for _ in panel(play(50)):
        pass
    assert panel.figure is not None
    shown = {line.get_label() for axes in panel.figure.axes for line in axes.lines}
    assert {"d", "g", "penalty"} <= shown and "extra" not in shown  # always 0
    pictures = [im.get_array() for axes in panel.figure.axes for im in axes.images]
    assert len(pictures) == 4
    np.testing.assert_array_equal(pictures[0], plots.to_bytes(blank(50))[0])


def test_nan_inf_and_changing_losses_are_kept_and_drawn(papermill: Screen, capsys: pytest.CaptureFixture[str]):
    def odd() -> Iterator[FakeStep]:
        yield FakeStep(1, 0.1, {"d": 1.0}, 1)
        yield FakeStep(2, 0.2, {"d": math.nan, "new": 3.0}, 2)
        yield FakeStep(3, 0.3, {"new": math.inf}, 3)

    panel = widgets.LivePanel(3)
    list(panel(odd()))
    np.testing.assert_array_equal(panel.logs["d"], [1.0, math.nan, math.nan])
    np.testing.assert_array_equal(panel.logs["new"], [math.nan, 3.0, math.inf])
    assert "d nan" in lines(capsys)[1] and panel.figure is not None


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_error_in_the_run_goes_on_after_the_figure(
    error: type[BaseException], papermill: Screen, capsys: pytest.CaptureFixture[str]
):
    def stopped() -> Iterator[FakeStep]:
        yield from play(7)
        raise error("stop")

    panel = widgets.LivePanel(100, samples=blank)
    with pytest.raises(error, match="stop"):
        for _ in panel(stopped()):
            pass
    assert len(panel.logs["d"]) == 7 and papermill == [panel.figure]
    assert lines(capsys)[-1].startswith("stopped at step 7 of 100")


def test_a_failing_sampler_does_not_hide_why_a_run_failed(papermill: Screen):
    def broken(state: int) -> Tensor:
        raise ValueError("no samples")

    def diverged() -> Iterator[FakeStep]:
        yield from play(3)
        raise RuntimeError("diverged")

    panel = widgets.LivePanel(5, samples=broken)
    with pytest.raises(RuntimeError, match="diverged"):
        list(panel(diverged()))
    assert len(papermill) == 1 and panel.samples is broken
    with pytest.raises(ValueError, match="no samples"):
        list(widgets.LivePanel(3, samples=broken)(play(3)))


def test_leaving_the_loop_shows_the_figure_and_ends_the_run(papermill: Screen, capsys: pytest.CaptureFixture[str]):
    ended = []

    def run() -> Iterator[FakeStep]:
        try:
            yield from play(100)
        finally:
            ended.append(True)

    panel = widgets.LivePanel(100)
    for step in panel(run()):
        if step.number == 30:
            break
    assert ended and len(panel.logs["d"]) == 30 and papermill == [panel.figure]
    said = lines(capsys)
    assert said[-1].startswith("stopped at step 30") and len(said) == 4


def test_an_interrupt_between_two_logs_leaves_them_even(papermill: Screen):
    panel = widgets.LivePanel(10)

    def run() -> Iterator[FakeStep]:
        yield from play(3)
        panel.logs["step"].append(4.0)  # as if the interrupt had come right after the first of them
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(panel(run()))
    assert {len(v) for v in panel.logs.values()} == {3} and len(papermill) == 1


def test_going_on_keeps_the_curves_and_a_fresh_run_starts_them_anew(papermill: Screen):
    panel = widgets.LivePanel(20)
    list(panel(play(8)))
    list(panel(play(20, start=9)))
    assert panel.logs["step"] == list(range(1, 21))
    list(panel(play(5)))
    assert panel.logs["step"] == [1, 2, 3, 4, 5]


def test_nothing_breaks_before_the_first_step(papermill: Screen, live: Screen, capsys: pytest.CaptureFixture[str]):
    panel = widgets.LivePanel(5)
    assert list(panel(iter([]))) == [] and panel.figure is None
    with pytest.raises(ValueError, match="before the first step"):
        panel.draw()
    with pytest.raises(ValueError, match="total"):
        widgets.LivePanel(0)


def test_samples_and_measures_run_without_gradients(papermill: Screen):
    weight = torch.nn.Parameter(torch.zeros(()))
    tracked = []

    def samples(state: int) -> Tensor:
        tracked.append((blank(state) * weight).requires_grad)
        return blank(state)

    def measure(state: int) -> dict[str, float]:
        tracked.append((weight * 1).requires_grad)
        return {"w": 0.0}

    for _ in widgets.LivePanel(3, samples=samples, measure=measure)(play(3)):
        tracked.append(not torch.is_grad_enabled())  # the loop's own body keeps its gradients
    assert tracked and not any(tracked)


class Clock:
    """A clock that training, drawing and looking move by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_the_live_panel_redraws_in_place_and_draws_under_a_tenth_of_the_time(
    live: Screen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    clock = Clock()
    monkeypatch.setattr(widgets, "time", clock)
    panel, times = widgets.LivePanel(1000), []

    def slow_draw(note: str = "") -> plots.Sheet:
        times.append(clock.now)
        clock.now += 0.5
        panel.figure = plots.Sheet()
        return panel.figure

    monkeypatch.setattr(panel, "draw", slow_draw)
    for _ in panel(play(1000)):
        clock.now += 0.1
    assert len(live) == 2 and isinstance(live[0], ipywidgets.HBox)  # a bar, and one figure
    assert len(live.updates) == len(times) - 1 and live.updates[-1] is panel.figure
    assert 12 <= len(times) <= 24, "about a hundred seconds, with five of every fifty for drawing"
    assert np.diff(times).min() >= 2.0 or times[-1] == pytest.approx(clock.now - 0.5)
    assert panel.drawing_seconds <= 0.1 * clock.now + 0.5
    bar, text = live[0].children
    assert bar.value == 1000 and bar.bar_style == "success"
    assert text.value.startswith("finished at step 1000 of 1000") and lines(capsys) == []


def test_cheap_drawings_still_keep_the_pause(live: Screen, monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(widgets, "time", clock)
    panel, times = widgets.LivePanel(100, pause=3.0), []

    def draw(note: str = "") -> plots.Sheet:
        times.append(clock.now)
        return plots.Sheet()

    monkeypatch.setattr(panel, "draw", draw)
    for _ in panel(play(100)):
        clock.now += 0.5
    assert times == [3.0 * k for k in range(1, 17)] + [50.0]


def test_the_live_panel_says_how_long_it_takes(live: Screen, monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(widgets, "time", clock)
    panel = widgets.LivePanel(200)
    stream = panel(play(200))
    for step in stream:
        clock.now += 1.0
        if step.number == 51:
            break
    text = live[0].children[1].value
    assert text == "step 51 of 200 · 50 s · about 2 min 26 s left"
    stream.close()
    assert "stopped at step 51 of 200" in live[0].children[1].value and live[0].children[0].bar_style == "warning"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7500, "2 h 5 min")]
)
def test_clock(seconds: float, said: str):
    assert widgets._clock(seconds) == said


# ------------------------------------------------------------------------------------------------ prompt box


class FakeModel:
    """Grey pictures that tell their prompt's length and noise; knows only a few words."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Tensor]] = []

    def __call__(self, prompt: str, z: Tensor) -> Tensor:
        if not prompt.strip():
            raise ValueError("The prompt is empty.")
        if "unicorn" in prompt or "<" in prompt:
            raise ValueError(f"This model does not know {prompt!r}.")
        if prompt == "crash":
            raise RuntimeError("out of memory")
        self.calls.append((prompt, z.clone()))
        assert not torch.is_grad_enabled()
        grey = torch.tanh(z.mean(1) + len(prompt) / 50)
        return grey[:, None, None, None].expand(-1, 3, 8, 8)


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


def image_in(box: widgets.PromptBox) -> np.ndarray:
    data = re.search(r'src="data:image/png;base64,([^"]+)"', box.picture_area.value)
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))


def test_the_box_draws_its_first_prompt(model: FakeModel):
    box = widgets.PromptBox(model, prompt="a red circle", z=5, count=3)
    assert [p for p, _ in model.calls] == ["a red circle"] and model.calls[0][1].shape == (3, 5)
    assert box.pictures is not None and box.message == "3 pictures of “a red circle”"
    image = image_in(box)
    assert image.shape == (8, 3 * 8 + 2 * 2, 3)
    for i, picture in enumerate(plots.to_bytes(box.pictures)):
        np.testing.assert_array_equal(image[:, i * 10 : i * 10 + 8], picture)
    assert "image-rendering: pixelated" in box.picture_area.value
    assert 'width="504" height="144"' in box.picture_area.value  # eighteen times


def test_typing_an_example_and_the_slider_each_change_the_picture(model: FakeModel):
    box = widgets.PromptBox(model, prompt="a red circle")
    seen = [box.png]
    box.text.value = "a large blue star"
    seen.append(box.png)
    box.example_buttons[3].click()
    assert box.text.value == "红色的圆形" and model.calls[-1][0] == "红色的圆形"
    seen.append(box.png)
    box.slider.value = 0.5
    seen.append(box.png)
    box.noise_button.click()
    seen.append(box.png)
    assert len(set(seen)) == len(seen)
    calls = len(model.calls)
    box.draw_button.click()
    assert len(model.calls) == calls + 1 and box.png == seen[-1]  # the same prompt and noise: the same picture


def test_the_slider_walks_from_one_noise_to_another_and_keeps_the_prompt(model: FakeModel):
    box = widgets.PromptBox(model, prompt="a red circle", z=16, count=4)
    walk = []
    for t in (0.0, 0.02, 0.5, 0.98, 1.0):
        box.slider.value = t
        walk.append(box.noise)
    assert torch.allclose(walk[0], model.calls[0][1]) and not torch.allclose(walk[0], walk[-1], atol=0.1)
    assert (walk[1] - walk[0]).norm() < 0.1 * (walk[-1] - walk[0]).norm()
    lengths = torch.stack([w.norm(dim=1) for w in walk])
    assert lengths.min() > 0.8 * min(lengths[0].min(), lengths[-1].min())  # a chord would be shorter in its middle
    assert {p for p, _ in model.calls} == {"a red circle"}


def test_the_seed_fixes_the_noise(model: FakeModel):
    same = [widgets.PromptBox(model, seed=3).png for _ in range(2)]
    assert same[0] == same[1] != widgets.PromptBox(model, seed=4).png


@pytest.mark.parametrize("prompt", ["", "   ", "a unicorn"])
def test_a_wrong_prompt_is_explained_and_the_pictures_stay(prompt: str, model: FakeModel):
    box = widgets.PromptBox(model, prompt="a red circle")
    kept = box.png, box.picture_area.value
    assert box.submit(prompt) is False
    assert box.message.startswith("Not drawn. ") and "The pictures still show “a red circle”." in box.message
    assert ("empty" if not prompt.strip() else "does not know 'a unicorn'") in box.message
    assert 'role="alert"' in box.message_area.value
    assert (box.png, box.picture_area.value) == kept
    assert box.submit("a blue star") is True and box.png != kept[0]
    assert 'role="status"' in box.message_area.value


def test_what_was_typed_never_becomes_html(model: FakeModel):
    nasty = '<img src=x onerror="alert(1)"> & <b>'
    box = widgets.PromptBox(model, prompt=nasty)
    assert box.submit(nasty) is False and "<img src=x" in box.message
    assert "<img" not in box.message_area.value and "&lt;img" in box.message_area.value
    harmless = widgets.PromptBox(lambda p, z: torch.zeros(len(z), 3, 8, 8), prompt=nasty, count=1)
    assert "<img" not in harmless.message_area.value and "&lt;img" in harmless.message_area.value
    assert harmless.picture_area.value.count("<") == 1 and 'onerror="' not in harmless.picture_area.value


def test_a_crash_is_shown_and_raised(model: FakeModel):
    box = widgets.PromptBox(model, prompt="a red circle")
    with pytest.raises(RuntimeError, match="out of memory"):
        box.submit("crash")
    assert "RuntimeError: out of memory" in box.message


def test_pictures_of_the_wrong_kind_are_explained():
    box = widgets.PromptBox(lambda prompt, z: torch.full((len(z), 3, 8, 8), 200.0))
    assert "expected values in [-1, 1]" in box.message and box.pictures is None and box.picture_area.value == ""
    with pytest.raises(ValueError, match="count"):
        widgets.PromptBox(lambda prompt, z: z, count=0)


def test_every_control_has_words(model: FakeModel):
    box = widgets.PromptBox(model)
    for control in (box.text, box.slider, box.draw_button, box.noise_button, *box.example_buttons):
        assert control.description and control.tooltip
    assert 'alt="4 pictures drawn for: a small red circle"' in box.picture_area.value


def test_show_gives_the_box_when_live_and_a_still_picture_under_papermill(
    model: FakeModel, live: Screen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    box = widgets.PromptBox(model, prompt="a red circle")
    box.show()
    assert live.pop() is box.widget
    monkeypatch.setenv("MMCOURSE_UNDER_PAPERMILL", "1")
    box.show()
    still = live.pop()
    assert isinstance(still, plots.Sheet) and still.axes[0].texts[0].get_text() == "a red circle"
    np.testing.assert_array_equal(still.axes[0].images[2].get_array(), plots.to_bytes(box.pictures)[2])
    widgets.PromptBox(model, prompt="a unicorn").show()
    assert live == [] and "does not know" in lines(capsys)[0]


def test_slerp_keeps_to_the_circle():
    a, b = torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    for t in (0.0, 0.25, 0.5, 1.0):
        angle = t * math.pi / 2
        expected = torch.tensor([[math.cos(angle), math.sin(angle)], [2.0, 0.0]])  # the second pair is one vector
        assert torch.allclose(widgets.slerp(a, b, t), expected, atol=1e-6)
    opposite = widgets.slerp(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]]), 0.25)
    assert torch.allclose(opposite, torch.tensor([[0.5, 0.0]]), atol=1e-6)


# --------------------------------------------------------------------------------------------- a real kernel


def test_an_executed_notebook_holds_few_lines_and_still_pictures(monkeypatch: pytest.MonkeyPatch):
    from nbclient import NotebookClient

    cell = """
import torch
from types import SimpleNamespace as Step
from mmcourse import widgets
for _ in widgets.progress(range(2000), label="warm up"):
    pass
panel = widgets.LivePanel(500, samples=lambda state: torch.zeros(4, 3, 8, 8))
for step in panel(Step(number=i, seconds=i / 10, losses={"d": 1 / i}, state=i) for i in range(1, 501)):
    pass
widgets.PromptBox(lambda prompt, z: torch.zeros(len(z), 3, 8, 8)).show()
"""
    monkeypatch.setenv("MMCOURSE_UNDER_PAPERMILL", "1")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    text = "".join(o.text for o in outputs if o.output_type == "stream")
    assert len(text.splitlines()) == 20
    assert [sorted(o.data) for o in outputs if o.output_type == "display_data"] == [["image/png", "text/plain"]] * 2
