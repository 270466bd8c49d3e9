"""The sick-GAN clinic: four runs that fail, the rules that tell them apart, and a bench to try cures on (lesson 02).

A run is judged by its ``ring.Log``. The rules look at the second half of the rows and take medians, because single
rows jump; no loss occurs in them. ``Clinic`` is live in JupyterLab; elsewhere it prints a few lines and shows one
still figure.
"""

from __future__ import annotations

import asyncio
import base64
import html
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ipywidgets
import torch
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mmcourse.losses import GAMES
from mmcourse.plots import COLOURS, DASHES, DPI, FAINT, INK, Sheet, _axes_style, _finish, _font, _words, png
from mmcourse.plots_ring import rings
from mmcourse.ring import MODES, PENALTIES, SICK, Duel, Log, Round, change, duel, look, ring
from mmcourse.widgets import _show, is_live

#: G and D at one pace. Each patient differs from a healthy run in its learning rates or in its game.
HEALTHY = Duel(steps=2500, lr_g=1e-3, lr_d=1e-3)
PATIENTS: dict[str, Duel] = {
    "wandering": SICK,
    "won": Duel(steps=2500, game="minimax", lr_g=1e-5, lr_d=2e-3),
    "stuck": Duel(steps=2500, lr_g=5e-5, lr_d=2e-3),
    "runaway": Duel(steps=2500, game="wasserstein", lr_g=1e-3, lr_d=1e-3),
}
#: One change each.
CURES: dict[str, dict[str, Any]] = {
    "wandering": {"lr_d": 1e-3},
    "won": {"lr_g": 2e-3},
    "stuck": {"lr_g": 2e-3},
    "runaway": {"penalty": "r1"},
}

# ---- reading a log


def usual(log: Log, name: str) -> float:
    """The median of a column over the second half of its rows, the middle row included.

    Raises ``ValueError`` on an unknown column and on a log without rows.
    """
    column = log.column(name)
    return float(statistics.median(column[len(column) // 2 :]))


def logit_size(log: Log) -> float:
    """How far D's logits lie from 0: the median of (|real_logit| + |fake_logit|) / 2 over the second half."""
    pairs = list(zip(log.column("real_logit"), log.column("fake_logit"), strict=True))
    return float(statistics.median((abs(r) + abs(f)) / 2 for r, f in pairs[len(pairs) // 2 :]))


def diagnose(log: Log) -> str:
    """One of healthy, unfinished, won, stuck, runaway, wandering: the first rule that fits.

    At least 7 modes: healthy. At least 3: unfinished. D right on at least 98 %: it has won; on at least 80 %: G is
    stuck on a few modes. Logits of size 1 or more: they run away. Else G wanders. Modes, accuracy and sizes are
    medians over the second half of the rows. A value that is not a number fits no rule, so such a run is a runaway.
    Raises ``ValueError`` on a log without rows.
    """
    modes, accuracy, size = usual(log, "modes"), usual(log, "accuracy"), logit_size(log)
    if modes >= 7:
        return "healthy"
    if modes >= 3:
        return "unfinished"
    if accuracy >= 0.98:
        return "won"
    if accuracy >= 0.8:
        return "stuck"
    return "wandering" if size < 1 else "runaway"


# ---- logs side by side

BANDS: dict[str, tuple[str, ...]] = {
    "losses": ("d", "g"),
    "D's logits": ("real_logit", "fake_logit"),
    "D's accuracy": ("accuracy",),
    "modes": ("modes",),
    "good share": ("good",),
}
LABELS = {"real_logit": "D on real", "fake_logit": "D on fakes", "d": "of D", "g": "of G"}
LEVELS: tuple[tuple[str, Any], ...] = (("D that cannot tell", (0, (4, 3))), ("G, when D cannot tell", (0, (1, 2))))


def cannot_tell(game: str) -> tuple[float | None, float | None]:
    """D's and G's losses where D cannot tell real from fake: it gives all points the one logit that costs it least.

    For the classical games 2 ln 2 and, with the non-saturating loss, ln 2. None for G where such a D may choose among
    logits that cost G differently, as in the hinge and the Wasserstein game; two None for a name that is no game.
    """
    if game not in GAMES:
        return None, None
    logits = torch.linspace(-2, 2, 81, dtype=torch.float64)  # the least of every game lies on this grid
    d = torch.stack([GAMES[game].d(one, one) for one in logits])
    g = torch.stack([GAMES[game].g(one, one) for one in logits])[d <= d.min() + 1e-12]
    return float(d.min()), float(g[0]) if bool((g - g[0]).abs().max() < 1e-12) else None


def charts(
    logs: Mapping[str, Log],
    *,
    bands: Sequence[str] = tuple(BANDS),
    title: str | None = None,
    path: str | Path | None = None,
) -> Sheet:
    """The logs of several runs: a column for each run, a row for each of ``bands``, one scale a row.

    Where losses or logits go beyond 3, their scale is even between -1 and 1 and shrinks beyond, so that 0.7 and 30
    can both be read. A dashed level marks what a D that cannot tell would show: accuracy one half, and the loss that
    ``cannot_tell`` gives for the run's game; a dotted one marks G's loss there, where the game has one. At the foot
    the signs of each row. Raises ``ValueError`` on no log, no band, an unknown band, and a log without rows.
    """
    if not logs or not bands:
        raise ValueError(f"charts: expected at least one log and one band, got {len(logs)} and {len(bands)}.")
    for band in bands:
        if band not in BANDS:
            raise ValueError(f"bands: expected some of {', '.join(BANDS)}; got {band!r}.")
    across, down = len(logs), len(bands)
    left, head, top, gap, tall = 58, 20, (32 if title else 6), 10, 96 if down > 1 else 170
    wide = min(600, (800 - left - across * gap) // across)
    signs = {band: _signs_of(band, list(logs.values())) for band in bands}
    foot = sum(18 for row in signs.values() if row)
    width, height = left + across * (wide + gap), top + head + down * (tall + gap) + 42 + foot
    figure = Sheet(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    if title:
        figure.text(8 / width, 1 - 8 / height, title, va="top", **_words(11, bold=True))
    for row, band in enumerate(bands):
        panels: list[Axes] = []
        for column, (name, log) in enumerate(logs.items()):
            x, y = left + column * (wide + gap), top + head + row * (tall + gap)
            ax = figure.add_axes((x / width, 1 - (y + tall) / height, wide / width, tall / height))
            _band(ax, log, band)
            last = row == down - 1
            _axes_style(ax, x="round" if last else "", y=band if column == 0 else "")
            ax.tick_params(labelleft=column == 0, labelbottom=last, labelsize=8)
            ax.locator_params(axis="x", nbins=3 if across < 6 else 2)
            if row == 0:
                ax.set_title(name, pad=5, **_words(9.5, bold=True))
            panels.append(ax)
        _one_scale(panels, band)
    _signs(figure, signs)
    return _finish(figure, path)


def _band(ax: Axes, log: Log, band: str) -> None:
    steps = log.column("step")
    for i, name in enumerate(BANDS[band]):
        values = [v if math.isfinite(v) else math.nan for v in log.column(name)]
        ax.plot(steps, values, color=COLOURS[i], ls=DASHES[i], lw=1.6, marker="." if len(steps) == 1 else "")
    for (_, dash), level in zip(LEVELS, _levels(log, band), strict=True):
        if level is not None:
            ax.axhline(level, color=FAINT, lw=1.2, ls=dash, zorder=1)


def _levels(log: Log, band: str) -> tuple[float | None, float | None]:
    """Where a D that cannot tell would put the lines of a band: D's, and G's."""
    if band == "losses":
        return cannot_tell(str(log.settings.get("game")))
    return (0.5, None) if band == "D's accuracy" else (None, None)


def _one_scale(panels: Sequence[Axes], band: str) -> None:
    if band in ("D's accuracy", "good share"):
        low, high, ticks = 0.0, 1.04, [0.0, 0.5, 1.0]
    elif band == "modes":
        low, high, ticks = -0.3, MODES + 0.4, [0.0, 4.0, 8.0]
    else:
        ends = [float(end) for ax in panels for end in ax.dataLim.intervaly if math.isfinite(end)]
        low, high = min([0.0, *ends]), max([1.4, *ends])
        wide = max(-low, high) > 3
        low, high = low * 1.15, high * 1.15
        step = 0.5 if high - low < 2.5 else 1.0
        ticks = [-100.0, -10.0, -1.0, 0.0, 1.0, 10.0, 100.0] if wide else [step * k for k in range(-8, 9)]
        for ax in panels:
            if wide:
                ax.set_yscale("symlog", linthresh=1, linscale=1)
            ax.minorticks_off()
    for ax in panels:
        ax.set_ylim(low, high)
        ax.set_yticks([t for t in ticks if low <= t <= high])
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _signs_of(band: str, logs: Sequence[Log]) -> list[tuple[Line2D, str]]:
    """What the lines of a band mean; nothing for a band of a single line."""
    signs = []
    if len(BANDS[band]) > 1:
        for i, name in enumerate(BANDS[band]):
            signs.append((Line2D([], [], color=COLOURS[i], ls=DASHES[i], lw=1.6), LABELS[name]))
    for i, (word, dash) in enumerate(LEVELS):
        if any(_levels(log, band)[i] is not None for log in logs):
            signs.append((Line2D([], [], color=FAINT, lw=1.2, ls=dash), word))
    return signs


def _signs(figure: Sheet, rows: Mapping[str, Sequence[tuple[Line2D, str]]]) -> None:
    """At the foot a line for each band that has signs, after the band's name."""
    width, height = figure.get_size_inches() * DPI
    kept = {band: signs for band, signs in rows.items() if signs}
    for i, (band, signs) in enumerate(kept.items()):
        y = (18 * (len(kept) - 1 - i) + 12) / height
        figure.text(8 / width, y, f"{band}:", va="center", **_words(9, bold=True))
        legend = figure.legend(
            [s for s, _ in signs], [w for _, w in signs], loc="center left", ncols=len(signs), frameon=False,
            prop=_font(9), bbox_to_anchor=(116 / width, y), handlelength=2.6, columnspacing=1.6,
            borderpad=0, borderaxespad=0,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set(color=INK, parse_math=False)


# ---- the bench

RATES = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
AS_THEY_STAND = "as they stand"
GAMMAS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1000.0)


class Clinic:
    """Set the knobs of a duel, start it, and watch the ring while it plays.

        bench = Clinic(PATIENTS["wandering"])
        bench.show()

    Start plays the knobs as they stand, from fresh networks; turning a knob meanwhile counts from the next start.
    Stop ends the run and keeps what there is. The run goes on in small slices between which the kernel hears the
    buttons, so it can be stopped at any time; while another cell works, it pauses. Every control is reached with Tab
    and moved with the arrow keys.

    ``log`` holds a row for each look so far, ``last`` the newest ``Round`` (None before the first), ``settings`` the
    duel that is or was played, ``message`` what the bench says, and ``running`` whether a run is under way. Under
    papermill ``show`` plays the run to its end, prints a few lines and shows one figure.
    """

    def __init__(self, settings: Duel = HEALTHY, *, every: int = 50, slice_seconds: float = 0.15):
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"every: expected a whole number of rounds of at least 1, got {every!r}.")
        self.every, self.slice_seconds = every, slice_seconds
        self._base = self.settings = settings
        self.log, self.last = Log({}, []), None  # type: tuple[Log, Round | None]
        self.message, self.running = "", False
        self._rounds: Iterator[Round] = iter(())
        self._task: asyncio.Task[None] | None = None
        self._filling = False  # the knobs are being set from a duel
        self._still = False  # nobody watches: no picture for every look
        self._real = ring(800, torch.Generator().manual_seed(1))
        self._build()
        self.set_knobs(settings)
        self._say("Press Start.")

    # -- controls

    def _build(self) -> None:
        style, wide = {"description_width": "150px"}, ipywidgets.Layout(width="430px")

        def slider(words: str, options: Sequence[float], tip: str) -> ipywidgets.SelectionSlider:
            return ipywidgets.SelectionSlider(
                options=[(f"{v:g}", v) for v in options], description=words, tooltip=tip, style=style, layout=wide
            )

        def choice(words: str, options: Sequence[Any], tip: str) -> ipywidgets.Dropdown:
            return ipywidgets.Dropdown(options=options, description=words, tooltip=tip, style=style, layout=wide)

        ready = [AS_THEY_STAND, "healthy", *PATIENTS]
        self.patient = choice("Set the knobs to", ready, "Fill in the knobs of a patient of the lesson")
        self.lr_g = slider("Learning rate of G", RATES, "How far G moves in a round")
        self.lr_d = slider("Learning rate of D", RATES, "How far D moves in a step")
        self.d_steps = ipywidgets.IntSlider(
            value=1, min=1, max=10, description="D's steps a round", style=style, layout=wide,
            tooltip="D's moves in a round; G has one",
        )  # fmt: skip
        self.game = choice("Game", list(GAMES), "The two losses")
        self.penalty = choice("Penalty", list(PENALTIES), "What keeps D's slopes small")
        self.gamma = slider("Weight of the penalty", GAMMAS, "gamma of R1 and R2, lambda of WGAN-GP")
        self.seed = ipywidgets.BoundedIntText(
            value=0, min=0, max=9999, description="Seed", tooltip="Other networks, other noise", style=style,
            layout=ipywidgets.Layout(width="250px"),
        )  # fmt: skip
        self.start_button = ipywidgets.Button(
            description="Start", tooltip="Play these knobs from fresh networks", button_style="primary"
        )
        self.stop_button = ipywidgets.Button(description="Stop", tooltip="End the run and keep what there is")
        self.message_area, self.picture_area = ipywidgets.HTML(), ipywidgets.HTML()
        knobs = [self.patient, self.lr_g, self.lr_d, self.d_steps, self.game, self.penalty, self.gamma, self.seed]
        buttons = ipywidgets.HBox([self.start_button, self.stop_button])
        side = ipywidgets.VBox([*knobs, buttons, self.message_area], layout=ipywidgets.Layout(width="460px"))
        row = ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start")
        self.widget = ipywidgets.HBox([side, self.picture_area], layout=row)
        self.patient.observe(self._fill, "value")
        for knob in (self.lr_g, self.lr_d, self.d_steps, self.game, self.penalty, self.gamma):
            knob.observe(lambda event: self._turned(), "value")
        self.start_button.on_click(lambda button: self.start())
        self.stop_button.on_click(lambda button: self.stop())

    def _fill(self, event: Mapping[str, Any]) -> None:
        if event["new"] != AS_THEY_STAND:
            self.set_knobs(replace(PATIENTS.get(event["new"], HEALTHY), seed=self.seed.value))

    def _turned(self) -> None:
        """A weight without a penalty has no meaning; and knobs that were turned are no patient's any more."""
        self.gamma.disabled = self.penalty.value == "none"
        named = PATIENTS.get(self.patient.value, HEALTHY)
        if not self._filling and self.knobs != replace(named, seed=self.seed.value):
            self.patient.value = AS_THEY_STAND

    def set_knobs(self, settings: Duel) -> None:
        """Turn the knobs to a duel's settings; the number of rounds, the batch and the networks' sizes go along.

        A learning rate or a weight that is no stop of its slider becomes a stop. Raises ``ValueError`` where d_steps
        or the seed lies outside of its knob's range.
        """
        for name, knob in (("d_steps", self.d_steps), ("seed", self.seed)):
            value = getattr(settings, name)
            if not knob.min <= value <= knob.max:
                raise ValueError(f"{name}: expected {knob.min} to {knob.max}, the ends of its knob, got {value}.")
        self._filling = True
        for name, stops in (("lr_g", RATES), ("lr_d", RATES), ("gamma", GAMMAS)):
            value, knob = getattr(settings, name), getattr(self, name)
            knob.options = [(f"{v:g}", v) for v in sorted({*stops, value})]
            knob.value = value
        for name in ("d_steps", "game", "penalty", "seed"):
            getattr(self, name).value = getattr(settings, name)
        self._base, self._filling = settings, False
        self._turned()

    @property
    def knobs(self) -> Duel:
        """The duel that the knobs ask for now."""
        names = ("lr_g", "lr_d", "d_steps", "game", "penalty", "gamma", "seed")
        return change(self._base, {name: getattr(self, name).value for name in names})

    # -- the run

    def start(self) -> None:
        """Begin a run from fresh networks, with the knobs as they stand; a run under way is left.

        With an event loop, as in a kernel, it plays by itself; else ``tick`` or ``finish`` moves it.
        """
        self._begin()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._task = loop.create_task(self._play())

    def _begin(self) -> None:
        self._leave()
        self.settings = self.knobs
        self.log, self.last, self.running = Log(asdict(self.settings), []), None, True
        self._rounds = duel(self.settings)
        self._say(self._state())

    def stop(self) -> None:
        """End the run and keep what there is."""
        if not self.running:
            self._say("Nothing is running. Press Start.")
            return
        self._leave()
        self._look()
        self._say(f"Stopped. {self._state()}")

    def finish(self) -> None:
        """Play the run that was started to its end, here and now."""
        while self.tick():
            pass

    def tick(self) -> bool:
        """Play for ``slice_seconds``, or to the next look if that comes first. Returns whether the run goes on."""
        if not self.running:
            return False
        until = time.perf_counter() + self.slice_seconds
        try:
            for now in self._rounds:
                self.last = now
                if now.number % self.every == 0 or now.number == self.settings.steps:
                    self._look()
                    self._say(self._state())
                    break
                if time.perf_counter() >= until:
                    return True
            else:  # the duel ended by itself: a loss is no longer a number
                self._leave()
                self._say(f"The run has diverged. {self._state()}", alarm=True)
        except Exception as error:
            self._leave()
            self._say(f"The run failed with {type(error).__name__}: {error}", alarm=True)
            raise
        if self.running and self.last is not None and self.last.number >= self.settings.steps:
            self._leave()
            self._say(f"Finished. {self._state()} The rules of the lesson say: {diagnose(self.log)}.")
        return self.running

    async def _play(self) -> None:
        """Slices with a pause between them, in which the kernel hears the buttons."""
        mine = asyncio.current_task()
        while self._task is mine and self.tick():
            await asyncio.sleep(0.02)

    def _leave(self) -> None:
        self.running, self._task = False, None
        self._rounds = iter(())

    # -- what is shown

    def _look(self) -> None:
        """A new row of the log, and the ring drawn anew."""
        if self.last is None:
            return
        if not self.log.rows or self.log.rows[-1]["step"] != self.last.number:
            self.log.rows.append(look(self.last))
        if not self._still and self._finite():
            image = base64.b64encode(png(self.figure())).decode()
            words = html.escape(f"The ring. {self._state()}", quote=True)
            self.picture_area.value = f'<img alt="{words}" src="data:image/png;base64,{image}" style="max-width: none">'

    def _finite(self) -> bool:
        return self.last is not None and bool(torch.isfinite(self.last.points(800)).all())

    def figure(self) -> Sheet:
        """The ring as it is now. Raises ``ValueError`` before the first round, and where the run has diverged."""
        if self.last is None:
            raise ValueError("There is nothing to draw before the first round.")
        return rings({f"round {self.last.number:,}": self.last.points(800)}, real=self._real, columns=1)

    def _state(self) -> str:
        if not self.log.rows:
            return f"Round 0 of {self.settings.steps:,}."
        row = self.log.rows[-1]
        return (
            f"Round {row['step']:,} of {self.settings.steps:,}: {row['modes']} of {MODES} modes, "
            f"{100 * row['good']:.0f} % good samples, D right on {100 * row['accuracy']:.0f} %."
        )

    def _say(self, message: str, *, alarm: bool = False) -> None:
        self.message = message
        role = "alert" if alarm else "status"
        edge = "border-left: 4px solid #D55E00; " if alarm else ""
        self.message_area.value = (
            f'<div role="{role}" style="{edge}padding: 2px 8px; line-height: 1.4; min-height: 4.2em">'
            f"{html.escape(message)}</div>"
        )

    def show(self) -> None:
        """Show the bench; under papermill, where nobody can press Start, play the run and show how it ended."""
        if is_live():
            display(self.widget)
            return
        self._still = True
        self._begin()
        told = 0
        while self.tick():
            quarter = int(4 * self.log.rows[-1]["step"] / self.settings.steps) if self.log.rows else 0
            if quarter > told:
                told = quarter
                print(self._state(), flush=True)
        print(self.message, flush=True)
        if self._finite():
            _show(self.figure())
