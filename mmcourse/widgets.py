"""Things to touch in a notebook: a progress bar, a live training panel, a prompt box (lesson 00, lesson 09).

In JupyterLab they are live. Where nobody can touch anything, under papermill or in a terminal, the same calls
print a few plain lines and show one still figure, so that an executed notebook and the book have something to show.
"""

from __future__ import annotations

import base64
import html
import io
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, Protocol, TypeVar

import ipywidgets
import torch
from IPython import get_ipython
from IPython.display import display
from PIL import Image
from torch import Tensor
from tqdm.notebook import tqdm as notebook_tqdm
from tqdm.std import tqdm as terminal_tqdm

from mmcourse import plots
from mmcourse.checks import expect_shape
from mmcourse.runtime import generator

Item = TypeVar("Item")
LINES = 10  # how often a run prints, where nothing can be redrawn


def in_kernel() -> bool:
    """Whether this code runs in a Jupyter kernel, so that figures can be shown."""
    return getattr(get_ipython(), "kernel", None) is not None


def is_live() -> bool:
    """Whether somebody may be looking: in a kernel, and not under papermill (``MMCOURSE_UNDER_PAPERMILL=1``)."""
    return in_kernel() and os.environ.get("MMCOURSE_UNDER_PAPERMILL", "0") in ("", "0")


def _show(figure: plots.Sheet) -> None:
    if in_kernel():
        display(figure)


def _clock(seconds: float) -> str:
    """Seconds as people say them: 8 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


class _Milestones:
    """Says when a plain line is due: at every tenth of the run, or, without a total, at 1, 10, 100, ..."""

    def __init__(self, total: int | None, start: int = 0):
        self.total, self.start = total, start
        self.next = self._tenth_after(start) if total else 1

    def due(self, number: int) -> bool:
        if number < self.next:
            return False
        self.next = self._tenth_after(number) if self.total else 10 * self.next
        return True

    def _tenth_after(self, number: int) -> int:
        length = max(1, (self.total or 0) - self.start)
        tenths = (number - self.start) * LINES // length + 1
        return self.start + -(-tenths * length // LINES)  # rounded up


# ------------------------------------------------------------------------------------------------ progress


def progress(iterable: Iterable[Item], *, total: int | None = None, label: str = "") -> Iterator[Item]:
    """Go through ``iterable`` and show how far: a bar in JupyterLab and in a terminal, else about ten plain lines.

    ``total`` is the number of items, when ``len(iterable)`` does not tell it.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if is_live():
        return iter(notebook_tqdm(iterable, total=total, desc=label or None))
    if sys.stderr.isatty() and not in_kernel():
        return iter(terminal_tqdm(iterable, total=total, desc=label or None))
    return _plain_progress(iterable, total, label)


def _plain_progress(iterable: Iterable[Item], total: int | None, label: str) -> Iterator[Item]:
    marks, began, number = _Milestones(total), time.perf_counter(), 0
    head = f"{label}: " if label else ""
    for number, item in enumerate(iterable, 1):
        yield item
        if marks.due(number):
            seconds = time.perf_counter() - began
            if total:
                left = _clock(seconds / number * max(0, total - number))
                print(f"{head}{number} of {total}, {_clock(seconds)}, about {left} left", flush=True)
            else:
                print(f"{head}{number}, {_clock(seconds)}", flush=True)
    if total is None:
        print(f"{head}{number} in all, {_clock(time.perf_counter() - began)}", flush=True)


# ------------------------------------------------------------------------------------------------ training


class _StepLike(Protocol):
    """What the panel needs of a step of ``train.play``."""

    @property
    def number(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def losses(self) -> dict[str, float]: ...
    @property
    def state(self) -> Any: ...


AnyStep = TypeVar("AnyStep", bound=_StepLike)


class LivePanel:
    """Watch a training run: ``for step in panel(play(...)): ...``

    In JupyterLab: a bar with the seconds and the time left, and one figure with the loss curves, the measures and
    the newest samples, redrawn in place every two seconds or more rarely, so that drawing takes under a tenth of the
    run. The last figure stays in the saved notebook. Elsewhere: about ten lines, and the figure once, at the end.

    ``total``: the run's number of steps. ``samples(state)`` gives pictures (B, 3, H, W) in [-1, 1], of which 16 are
    shown. ``measure(state)`` gives numbers by name; it is called after every ``every`` steps (default: ten times a
    run), the same steps on each machine, and its time is yours. Both run without gradients and must draw no random
    numbers from ``state.rng``, or looking would change the run.

    To stop, press the kernel's stop button (the black square): the panel keeps and shows what it has, the interrupt
    goes on to your cell, and ``panel(play(..., state=state))`` goes on with the same curves. The panel has no stop
    button of its own, because a busy kernel does not hear a widget's click.

    ``logs`` holds one value a step for each loss, and "step" and "seconds"; ``measured`` one row a measurement;
    ``figure`` the last figure drawn (None before).
    """

    def __init__(
        self,
        total: int,
        *,
        every: int | None = None,
        samples: Callable[[Any], Tensor] | None = None,
        measure: Callable[[Any], dict[str, float]] | None = None,
        title: str = "",
        pause: float = 2.0,
    ):
        if total < 1:
            raise ValueError(f"total: expected at least one step, got {total}.")
        self.total, self.every = total, every or max(1, total // LINES)
        self.samples, self.measure, self.title, self.pause = samples, measure, title, pause
        self.logs: dict[str, list[float]] = {"step": [], "seconds": []}
        self.measured: list[dict[str, float]] = []
        self.figure: plots.Sheet | None = None
        self.drawing_seconds = 0.0
        self._last: Any = None

    def __call__(self, steps: Iterable[AnyStep]) -> Iterator[AnyStep]:
        """Pass the steps on, one by one, and show the run meanwhile."""
        view: _LiveView | _PlainView = _LiveView(self) if is_live() else _PlainView(self)
        ended = "stopped"
        try:
            for step in steps:
                self._take(step)
                view.update()
                yield step
            ended = "finished"
        finally:  # also when the cell breaks out of its loop, or the kernel is interrupted
            self._even_out()
            view.close(ended)

    def _even_out(self) -> None:
        """Cut all logs to one length: an interrupt may have come between two of them."""
        rows = min(len(column) for column in self.logs.values())
        for column in self.logs.values():
            del column[rows:]

    def _take(self, step: _StepLike) -> None:
        if self._last is not None and step.number <= self._last.number:  # another run, from its start
            self.logs, self.measured = {"step": [], "seconds": []}, []
        rows = len(self.logs["step"])
        for name, value in {"step": step.number, "seconds": step.seconds, **step.losses}.items():
            self.logs.setdefault(name, [math.nan] * rows).append(float(value))
        for column in self.logs.values():  # a loss that this step does not have
            column.extend([math.nan] * (rows + 1 - len(column)))
        self._last = step
        if self.measure is not None and (step.number % self.every == 0 or step.number == self.total):
            with torch.no_grad():
                values = self.measure(step.state)
            self.measured.append({"step": float(step.number), **{k: float(v) for k, v in values.items()}})

    def draw(self, note: str = "") -> plots.Sheet:
        """Draw the run so far: losses, measures and fresh samples. Raises ``ValueError`` before the first step."""
        if self._last is None:
            raise ValueError("There is nothing to draw before the first step.")
        pictures = None
        if self.samples is not None:
            with torch.no_grad():
                pictures = self.samples(self._last.state)
        used = {k: v for k, v in self.logs.items() if k == "step" or any(v)}  # a loss that is always 0 is not in play
        measured = (self.measured or [{"step": math.nan}]) if self.measure is not None else None
        done = f"step {self._last.number} of {self.total}"
        title = " · ".join(w for w in (self.title, done, f"{_clock(self._last.seconds)} of training", note) if w)
        self.figure = plots.training_sheet(used, pictures=pictures, measured=measured, title=title)
        return self.figure

    def line(self) -> str:
        """The newest step in one line of text."""
        values = self._last.losses | (self._newest_measures() if self.measured else {})
        said = ", ".join(f"{k} {v:.3g}" for k, v in values.items())
        return f"step {self._last.number} of {self.total}, {_clock(self._last.seconds)}: {said}"

    def _newest_measures(self) -> dict[str, float]:
        return {k: v for k, v in self.measured[-1].items() if k != "step"}


class _PlainView:
    """About ten lines, and the figure at the end."""

    def __init__(self, panel: LivePanel):
        self.panel = panel
        self.marks: _Milestones | None = None

    def update(self) -> None:
        number = self.panel._last.number
        self.marks = self.marks or _Milestones(self.panel.total, number - 1)
        if self.marks.due(number):
            print(self.panel.line(), flush=True)

    def close(self, ended: str) -> None:
        if self.marks is None:
            print(f"{ended} before the first step", flush=True)
            return
        if ended == "stopped":
            print(f"stopped at {self.panel.line()}", flush=True)
        _show(_last_figure(self.panel, ended))


class _LiveView:
    """A bar, and a figure that is redrawn in place."""

    def __init__(self, panel: LivePanel):
        self.panel, self.seen = panel, 0
        self.began = self.drawn = self.told = time.perf_counter()
        self.spent = self.cost = 0.0
        self.bar = ipywidgets.IntProgress(max=panel.total, description="Training", layout={"width": "320px"})
        self.text = ipywidgets.Label("starting")
        display(ipywidgets.HBox([self.bar, self.text]))
        self.picture: Any = None

    def update(self) -> None:
        self.seen += 1
        now = time.perf_counter()
        if now - self.told > 0.25:
            self.tell(now)
        if now - self.drawn >= self.panel.pause and self.spent + self.cost <= 0.1 * (now - self.began):
            self.redraw(self.panel.draw)

    def tell(self, now: float) -> None:
        number, total = self.panel._last.number, self.panel.total
        left = (now - self.began) / self.seen * max(0, total - number)
        self.bar.value = number
        self.text.value = f"step {number} of {total} · {_clock(now - self.began)} · about {_clock(left)} left"
        self.told = now

    def redraw(self, draw: Callable[[], plots.Sheet]) -> None:
        began = time.perf_counter()
        figure = draw()
        if self.picture is None:
            self.picture = display(figure, display_id=True)
        else:
            self.picture.update(figure)
        self.drawn = time.perf_counter()
        self.cost = self.drawn - began
        self.spent += self.cost
        self.panel.drawing_seconds += self.cost

    def close(self, ended: str) -> None:
        self.bar.bar_style = "success" if ended == "finished" else "warning"
        if self.seen == 0:
            self.text.value = f"{ended} before the first step"
            return
        number = self.panel._last.number
        self.bar.value = number
        self.text.value = f"{ended} at step {number} of {self.panel.total} · {_clock(time.perf_counter() - self.began)}"
        self.redraw(lambda: _last_figure(self.panel, ended))


def _last_figure(panel: LivePanel, ended: str) -> plots.Sheet:
    """The last figure. When a run has failed, a failing sampler must not hide why: then the curves alone are drawn."""
    note = "" if ended == "finished" else ended
    try:
        return panel.draw(note)
    except Exception:
        if ended == "finished":
            raise
        samples, panel.samples = panel.samples, None
        try:
            return panel.draw(note)
        finally:
            panel.samples = samples


# ------------------------------------------------------------------------------------------------- prompts

EXAMPLES = (
    "a small red circle",
    "a large blue star at the top",
    "a green ring left of a black square",
    "红色的圆形",
    "一个大的紫色的星形在左边",
)


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    r"""Walk from noise a to noise b (both (B, Z)) on the great circle, not on the chord (Shoemake, 1985).

    .. math:: \frac{\sin((1-t)\,\theta)}{\sin\theta}\,a + \frac{\sin(t\,\theta)}{\sin\theta}\,b

    with theta the angle between the two. Gaussian noise keeps its length that way; a straight line would pass
    through vectors shorter than any that the generator has seen. ``t`` in [0, 1].
    """
    expect_shape(b, "B Z", name="b")
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=1).clamp(-1, 1)[:, None]
    theta = torch.acos(cosine)
    circle = (torch.sin((1 - t) * theta) * a + torch.sin(t * theta) * b) / torch.sin(theta).clamp(min=1e-6)
    return torch.where(theta.sin() < 1e-3, torch.lerp(a, b, t), circle)  # (nearly) on one line: there is no circle


class PromptBox:
    """Type a sentence, see pictures.

    ``generate(prompt, z)`` takes a sentence and noise (count, z) and gives pictures (count, 3, H, W) in [-1, 1]. What
    it raises as ``ValueError`` (an empty prompt, unknown words) is shown to the reader as text.

        box = PromptBox(generate, prompt="a small red circle")
        box.show()

    Enter or Draw draws; an example draws itself; the slider walks from one noise to another, by ``slerp``; "New
    noise" draws two new ends. ``seed`` fixes them. ``pictures`` holds the newest pictures (None before the first),
    ``png`` the same as a PNG file's bytes, one dot a pixel, and ``message`` what the box says.
    """

    def __init__(
        self,
        generate: Callable[[str, Tensor], Tensor],
        *,
        prompt: str = EXAMPLES[0],
        examples: Sequence[str] = EXAMPLES,
        z: int = 16,
        count: int = 4,
        seed: int = 0,
    ):
        if z < 1 or count < 1:
            raise ValueError(f"z and count: expected at least 1, got z = {z} and count = {count}.")
        self.generate, self.z, self.count = generate, z, count
        self.pictures: Tensor | None = None
        self.png, self.message = b"", ""
        self._rng = generator(seed)
        self._ends = self._two_ends()
        self._drawn: str | None = None
        self._fresh = False
        self._build(prompt, examples)
        self.submit(prompt)

    def _build(self, prompt: str, examples: Sequence[str]) -> None:
        style = {"description_width": "60px"}
        wide = ipywidgets.Layout(width="420px")
        self.text = ipywidgets.Text(
            value=prompt, description="Prompt", continuous_update=False, style=style, layout=wide,
            placeholder="a small red circle", tooltip="Type a sentence in English or Chinese and press Enter",
        )  # fmt: skip
        self.draw_button = ipywidgets.Button(description="Draw", tooltip="Draw the prompt", button_style="primary")
        fit = ipywidgets.Layout(width="auto")
        self.example_buttons = [ipywidgets.Button(description=e, tooltip=f"Draw: {e}", layout=fit) for e in examples]
        self.slider = ipywidgets.FloatSlider(
            value=0.0, min=0.0, max=1.0, step=0.02, description="Noise", readout_format=".2f", style=style, layout=wide,
            tooltip="Walk from one noise (0) to another (1); the prompt stays",
        )  # fmt: skip
        self.noise_button = ipywidgets.Button(description="New noise", tooltip="Draw two new noises to walk between")
        self.picture_area = ipywidgets.HTML()
        self.message_area = ipywidgets.HTML()
        row = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        self.widget = ipywidgets.VBox(
            [
                ipywidgets.HBox([self.text, self.draw_button], layout=row),
                ipywidgets.HBox([ipywidgets.Label("Try"), *self.example_buttons], layout=row),
                ipywidgets.HBox([self.slider, self.noise_button], layout=row),
                self.message_area,
                self.picture_area,
            ]
        )
        self.text.observe(lambda change: self._redraw(), "value")
        self.slider.observe(lambda change: self._redraw(), "value")
        self.draw_button.on_click(lambda button: self.submit(self.text.value))
        self.noise_button.on_click(lambda button: self.new_noise())
        for button in self.example_buttons:
            button.on_click(lambda button: self.submit(button.description))

    def _two_ends(self) -> tuple[Tensor, Tensor]:
        a, b = torch.randn(2, self.count, self.z, generator=self._rng)
        return a, b

    @property
    def noise(self) -> Tensor:
        """The noise (count, z) at the slider's place."""
        return slerp(*self._ends, self.slider.value)

    def submit(self, prompt: str) -> bool:
        """Draw a prompt. Returns whether it was drawn; where not, ``message`` says why and the old pictures stay.

        An error other than ``ValueError`` is shown too, and raised.
        """
        if self.text.value != prompt:
            self.text.value = prompt  # which draws it
        else:
            self._redraw()
        return self._fresh

    def new_noise(self) -> bool:
        """Draw two new ends for the slider, and the prompt with them. Returns whether it was drawn."""
        self._ends = self._two_ends()
        self._redraw()
        return self._fresh

    def _redraw(self) -> None:
        prompt, self._fresh = self.text.value, False
        try:
            with torch.no_grad():
                pictures = self.generate(prompt, self.noise)
            image = plots.mosaic(pictures, columns=self.count, gap=2)
        except ValueError as error:
            self._complain(str(error))
            return
        except Exception as error:
            self._complain(f"The model failed with {type(error).__name__}: {error}")
            raise
        out = io.BytesIO()
        Image.fromarray(image).save(out, format="png")
        self.pictures, self.png, self._drawn = pictures, out.getvalue(), prompt
        self._picture(image.shape[1], image.shape[0], pictures.shape[-1])
        self._say(f"{self._counted()} of “{_clip(prompt)}”")
        self._fresh = True

    def _picture(self, width: int, height: int, pixels: int) -> None:
        """Show the PNG enlarged by the browser, each pixel a sharp square, with words for those who cannot see it."""
        times = max(1, round(144 / pixels))
        data = base64.b64encode(self.png).decode()
        words = html.escape(f"{self._counted()} drawn for: {_clip(self._drawn or '')}", quote=True)
        self.picture_area.value = (
            f'<img alt="{words}" src="data:image/png;base64,{data}" width="{width * times}" height="{height * times}" '
            'style="image-rendering: pixelated; max-width: none">'
        )

    def _counted(self) -> str:
        return "1 picture" if self.count == 1 else f"{self.count} pictures"

    def _say(self, message: str) -> None:
        self.message = message
        self.message_area.value = f'<div role="status">{html.escape(message)}</div>'

    def _complain(self, message: str) -> None:
        kept = f" The pictures still show “{_clip(self._drawn)}”." if self._drawn else ""
        self.message = f"Not drawn. {_clip(message, 600)}{kept}"
        style = "border-left: 4px solid #D55E00; padding: 2px 8px; line-height: 1.4; max-width: 640px"
        self.message_area.value = f'<div role="alert" style="{style}">{html.escape(self.message)}</div>'

    def show(self) -> None:
        """Show the box; under papermill, where nobody can type, a still picture of the prompt instead."""
        if is_live():
            display(self.widget)
        elif self.pictures is not None:
            _show(plots.grid(self.pictures, columns=self.count, title=self._drawn, scale=3.0))
        else:
            print(self.message)


def _clip(text: str, length: int = 120) -> str:
    """A text on one line, at most this long."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
