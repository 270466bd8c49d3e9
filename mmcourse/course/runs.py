"""Plays out the runs of a training (lessons 04 to 14): lines on the way, states on the disk, a log for TensorBoard."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from mmcourse import ranks
from mmcourse.inpainting import Damaged
from mmcourse.keep import Kept
from mmcourse.train import State, Step

Report = Callable[[str], None]
EVERY = 60.0  # seconds between two saves
PATIENCE = 3.0  # seconds after which a second Ctrl-C is another one; torchrun passes the first one on once more
POINTS = 1000  # of a curve, at most


class Runs:
    """The runs of one training, one after the other: each has a file ``OUT/NAME.RUN.state.safetensors``, or without a
    name of its own ``OUT/NAME.state.safetensors``. They stay until the checkpoint is written (``forget``).

    ``about`` says what is trained, and a file of another training is refused. Without ``out`` nothing is kept. ``log``
    is a folder for TensorBoard. Of several processes the first alone prints, keeps and logs; all read what it kept.
    Raises ``ValueError`` where an unfinished run lies there and nobody asked to go on with it, or the other way round.
    """

    def __init__(
        self,
        name: str,
        *,
        out: Path | None = None,
        about: dict[str, Any] | None = None,
        resume: bool = False,
        log: Path | None = None,
        device: str = "cpu",
        say: Report = print,
    ):
        self.name, self.out, self.about, self.resume, self.log = name, out, about or {}, resume, log
        self.device, self.first = device, ranks.rank() == 0
        self.say: Report = say if self.first else lambda line: None
        left = self.left()
        if resume and not left:
            raise ValueError(f"{name}: there is no unfinished run in {out}; leave --resume out to begin one.")
        if left and not resume:
            raise ValueError(f"{left[0]}: an unfinished run lies there. Go on with --resume, or remove the file.")

    def left(self) -> list[Path]:
        """The files of an unfinished training that lie there."""
        return [] if self.out is None else unfinished(self.name, self.out)

    def play_out(
        self,
        run: Iterator[Any],
        state: State | Kept,
        total: int,
        *,
        part: str = "",
        label: str = "",
        sample: Callable[[torch.Generator, int], Any] | None = None,
    ) -> None:
        """Take all steps that are left of a run whose state this is; ``run`` yields a ``Step``, or (step, loss, ...).

        ``part`` names the run where there are several. With ``sample``, which gives its batches, the log shows what
        the averaged generator draws. Ctrl-C waits for the end of the step and keeps the state; so does SIGTERM.
        """
        path, label = self._path(part), label or self.name
        state.about = self.about
        if self.resume and path is not None and path.exists():
            state.load(path)
            self.say(f"{label}: goes on after step {state.step} of {total}")
        if isinstance(state, State):
            _begin_alike(state)
        log = Log(self.log / self.name / part, total, state.step) if self.log is not None and self.first else None
        ticks, stored, shown = marks(total, 20 if isinstance(state, State) else 10), time.monotonic(), marks(total, 10)
        try:
            with asked_to_stop() as asked:
                for number, losses in _timed(run, state):
                    if number in ticks:
                        values = ", ".join(f"{k} {v:.3f}" for k, v in losses.items())
                        self.say(f"{label}: step {number} of {total}, {values}, {state.seconds:.0f} s")
                    if log is not None:
                        log.add(number, losses, _rate(state, number), state.step, state.seconds)
                        if number in shown and sample is not None and isinstance(state, State):
                            log.show(number, drawn(state, sample))
                    if self._anybody(asked):
                        break
                    if time.monotonic() - stored > EVERY:
                        self._keep(state, path)
                        stored = time.monotonic()
                self._keep(state, path)
        finally:
            if log is not None:
                log.close()
        if asked:
            self.say(f"{label}: stopped after step {state.step} of {total}; go on with --resume")
            raise KeyboardInterrupt

    def over(self) -> bool:
        """All runs are played and the processes part. True for those that are not the first: they are done."""
        ranks.stop()
        return not self.first

    def forget(self) -> None:
        """Remove the states: the checkpoint is written."""
        for path in self.left() if self.first else []:
            path.unlink()

    def _path(self, part: str) -> Path | None:
        return None if self.out is None else self.out / ".".join(filter(None, [self.name, part, "state.safetensors"]))

    def _anybody(self, asked: list[int]) -> bool:
        """Whether this process or another was asked to stop: all stop after the same step."""
        if ranks.world() > 1:
            share = torch.tensor([float(bool(asked))], device=self.device)
            ranks.average([share])
            if share > 0 and not asked:
                asked.append(0)
        return bool(asked)

    def _keep(self, state: State | Kept, path: Path | None) -> None:
        if path is not None and self.first:
            state.save(path)


def unfinished(name: str, out: Path) -> list[Path]:
    """The states in a folder of an unfinished training of this model."""
    return sorted(p for p in out.glob(f"{name}.*") if p.name.endswith("state.safetensors"))


def marks(total: int, times: int) -> set[int]:
    """About ``times`` steps of a run, evenly spread, and the last."""
    return {max(1, round(total * (i + 1) / times)) for i in range(times)}


@contextlib.contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """A list that is empty until somebody asks this process to end, by Ctrl-C or SIGTERM. Who asks again, ``PATIENCE``
    later, is not kept waiting."""
    asked: list[int] = []
    since: list[float] = []

    def ask(number: int, frame: FrameType | None) -> None:
        since.append(time.monotonic())
        asked.append(number)
        if since[-1] - since[0] > PATIENCE:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    usual = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _timed(run: Iterator[Any], state: State | Kept) -> Iterator[tuple[int, dict[str, float]]]:
    """Number and losses of each step. The seconds of a ``Kept`` are counted here; a ``State`` counts its own."""
    while True:
        began = time.perf_counter()
        item = next(run, None)
        if item is None:
            return
        if isinstance(state, Kept):
            state.seconds += time.perf_counter() - began
        yield (item.number, item.losses) if isinstance(item, Step) else (item[0], {"loss": item[1]})


def _rate(state: State | Kept, number: int) -> float:
    """The learning rate of a step that was just made."""
    if isinstance(state, State):
        return state.config.lr_at(number - 1)
    return float(state.parts["opt"].param_groups[0]["lr"])


def _begin_alike(state: State) -> None:
    """Where several processes play, all begin with the same weights: cards may round the first ones differently."""
    weights = [w for net in (state.G, state.D, state.ema) for w in net.state_dict().values()]
    ranks.average([w for w in weights if w.is_floating_point()])


@torch.no_grad()
def drawn(state: State, sample: Callable[[torch.Generator, int], Any]) -> Tensor:
    """At most 16 pictures (B, C, H, W) in [0, 1] by the averaged generator, of the same noise and conditions each
    time."""
    device = next(state.ema.parameters()).device
    rng = torch.Generator(device).manual_seed(1)
    batch = sample(rng, 0)
    z = torch.randn(len(batch.real), state.config.z, generator=rng, device=device)
    told = (batch.real, batch.mask, batch.text) if isinstance(batch, Damaged) else (batch.cond,)
    return ((state.ema(z, *told)[:16] + 1) / 2).clamp(0, 1).cpu()


def expect_log() -> None:
    """Raise ``ValueError`` that says what to install, where no log can be written."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f'--log needs the package tensorboard ({error}). Install it with: pip install "mmcourse[log]"'
        ) from error


class Log:
    """The log of one run, for ``tensorboard --logdir FOLDER``: losses as means since the last point, learning rate,
    steps a second, pictures. A curve has at most about 1,000 points. What lies there of steps after ``begun`` is hidden
    from now on, so a run that goes on appends, and a new one takes an older one's place."""

    def __init__(self, folder: Path, total: int, begun: int = 0):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=begun + 1)
        self.every, self.total = math.ceil(total / POINTS), total
        self.sums: dict[str, float] = {}
        self.steps = 0
        self.since: tuple[int, float] | None = None

    def add(self, number: int, losses: dict[str, float], rate: float, played: int, seconds: float) -> None:
        """One step: its number from 1, its losses and its learning rate; and how many steps the run has played by now,
        and in how many seconds. The fast twin plays some steps at once and then tells of each."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.steps += 1
        if number % self.every and number != self.total:
            return
        for name, value in self.sums.items():
            self.writer.add_scalar(f"losses/{name}", value / self.steps, number)
        self.writer.add_scalar("learning rate", rate, number)
        self.sums, self.steps = {}, 0
        if self.since is not None and played > self.since[0]:  # the first point of a run also holds its start
            speed = (played - self.since[0]) / max(seconds - self.since[1], 1e-9)
            self.writer.add_scalar("steps a second", speed, number)
        self.since = (played, seconds)

    def show(self, number: int, pictures: Tensor) -> None:
        """Pictures (B, C, H, W) in [0, 1], as a grid."""
        self.writer.add_images("pictures", pictures, number)

    def close(self) -> None:
        self.writer.close()
