"""What the commands on scaling, on traces and for a card share: updates of text to image in a run's last fifth."""

from __future__ import annotations

import contextlib
import io
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.profiler import record_function

from mmcourse.checkpoint import load
from mmcourse.encoders import Space
from mmcourse.text2image import PROFILES, Recipe, prepare
from mmcourse.train import State, Step, play

DRAWING = "mmcourse: drawing"
STEPS, FROM = 400_000, 320_000  # of a run: by then no further term helps G, as for most of a run


def recipe_of(device: str, *, tiny: bool = False) -> Recipe:
    """The profile that a device is measured in, with few captions: their number changes no update."""
    return replace(PROFILES["quick" if tiny else "gpu" if device == "cuda" else "cpu"], captions=500)


def space_of(width: int, blocks: int) -> Space:
    """The shipped space, or one with its text tower and an untrained image tower of another size."""
    shipped = load(Space, "space")
    if (width, blocks) == (shipped.hparams["width"], shipped.hparams["blocks"]):
        return shipped
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        space = Space(**{**shipped.hparams, "width": width, "blocks": blocks})
    space.text.load_state_dict(shipped.text.state_dict())
    return space.eval()


def updates(
    recipe: Recipe, *, wide: float = 1.0, d_width: int | None = None, device: str = "cpu", how: str = "loop"
) -> Iterator[Step]:
    """Endless updates of a recipe, both networks ``wide`` times as wide; every eighth one has the penalty.

    ``d_width`` is D's width where it is not that of the space's image tower. ``how`` is "loop" for ``train.play``, or
    one of the ways of ``fast.play``. The time of ``sample`` bears the name ``DRAWING`` in a trace.
    """
    shipped = load(Space, "space").hparams
    space = space_of(d_width or round(wide * shipped["width"]), shipped["blocks"])
    config = replace(recipe.config, steps=STEPS)
    recipe = replace(recipe, width=round(wide * recipe.width), config=config)
    G, D, sample, extra, config = prepare(space, recipe, device=device)
    state = State.start(G, D, config)
    state.step = FROM

    def draw(rng: torch.Generator, step: int) -> Any:
        with record_function(DRAWING):
            return sample(rng, step)

    if how == "loop":
        return play(G, D, draw, config, extra=extra, state=state)
    from mmcourse import fast

    return fast.play(G, D, draw, config, extra=extra, state=state, how=how)


def wait(device: str) -> None:
    """Until the card has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def heard(call: Callable[[], Any]) -> tuple[Any, str]:
    """What a call gives and what it prints; ``fast.play`` says so where it falls back to the loop. Printed after it."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        found = call()
    print(said.getvalue(), end="", flush=True)
    return found, said.getvalue().strip()


def seconds(call: Callable[[], Any], device: str = "cpu") -> float:
    """How long a call takes, the card's work included."""
    wait(device)
    began = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - began


def spread(values: list[float], digits: int = 3) -> dict[str, float]:
    """The median, the least and the most, to so many significant digits."""
    found = {"median": statistics.median(values), "low": min(values), "high": max(values)}
    return {name: significant(value, digits) for name, value in found.items()}


def significant(value: float, digits: int = 3) -> float:
    """A number to so many significant digits."""
    return round(value, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0.0


def out_of_time(until: float | None) -> bool:
    """Whether the moment ``until`` of ``time.monotonic`` has passed; None never does."""
    return until is not None and time.monotonic() >= until
