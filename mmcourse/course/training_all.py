"""`mmcourse train all`: every model in the order in which they need each other; what lies there already is skipped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mmcourse.course import training

Report = Callable[[str], None]
#: What a summary shows of a model's figures: words, where the number stands, and how it is written.
MAIN: dict[str, tuple[str, str, str]] = {
    "judge": ("fresh drawings read all right", "train", "%"),
    "features": ("MNIST read right", "mnist.accuracy", "%"),
    "gan": ("Frechet distance", "frechet", ""),
    "cgan": ("read as asked", "accuracy", "%"),
    "outline2picture": ("L1 distance", "model.l1", ""),
    "space": ("held-out pictures to captions, recall@1", "held_out_picture_to_text", "%"),
    "text2image": ("all right, seen", "seen.model.all", "%"),
    "inpainting": ("a box, in the hole", "game.box.psnr", "dB"),
    "inpainting_photographs": ("a box, in the hole", "game.box.psnr", "dB"),
    "inpainting_text": ("hidden thing right, seen", "seen.right", "%"),
    "hearing": ("by sound, seen", "seen.sound.all", "%"),
    "hearing_digits": ("drawn right", "drawn", "%"),
    "emoji_finder": ("found again, R@1", "full.r1", "%"),
    "emoji_space": ("held out, English, R@1", "held_out.en.r1", "%"),
    "emoji": ("held out, English, R@1", "held_out.en.model.r1", "%"),
    "emoji_inpainting": ("held out, English, R@1", "held_out.en.r1", "%"),
}


class Row(NamedTuple):
    """What became of one model: its name, the seconds (None where nothing was trained), and a few words."""

    name: str
    seconds: float | None
    said: str


def train_all(*, profile: str, seed: int, out: Path, log: Path | None = None, say: Report = print) -> list[Row]:
    """Train every model of ``training.NAMES`` into ``out``; gives a row for each.

    A model whose card says that it is this one already (profile, seed, recipe, and the models that it starts from) is
    skipped; one that was begun goes on. So the same command goes on with a night that was cut short. Where its data or
    a font is missing a model is skipped too, and its row says so. Raises ``ValueError`` under torchrun, and
    whatever a training raises.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "train all: is run by one process. With torchrun start one model at a time, one of "
            f"{', '.join(training.SHARED)}."
        )
    from mmcourse.course.runs import unfinished
    from mmcourse.emojis import EmojiFontMissing
    from mmcourse.pictures import DataMissing
    from mmcourse.speech import SpeechMissing

    rows = []
    for name in training.NAMES:
        began = time.perf_counter()
        card = found(name, profile, seed, out)
        if card is not None:
            say(f"{name}: lies there already")
            rows.append(Row(name, None, f"{main_figure(name, card)} (was there)"))
            continue
        begun = bool(unfinished(name, out))
        try:
            path = training.train(name, profile=profile, seed=seed, out=out, resume=begun, log=log, say=say)
        except (DataMissing, SpeechMissing, EmojiFontMissing) as error:
            say(f"{name}: skipped. {error}")
            rows.append(Row(name, None, "MISSING its data, skipped"))
            continue
        rows.append(Row(name, time.perf_counter() - began, main_figure(name, _card(path))))
    return rows


def summary(rows: list[Row]) -> list[str]:
    """A table as lines: name, seconds, the main figure; the seconds in all."""
    lines = [f"{r.name:<23} {'-' if r.seconds is None else f'{r.seconds:.0f} s':>8}  {r.said}" for r in rows]
    total = sum(r.seconds or 0.0 for r in rows)
    return [*lines, f"{'in all':<23} {f'{total:.0f} s':>8}"]


def found(name: str, profile: str, seed: int, out: Path) -> dict[str, Any] | None:
    """The card of a checkpoint in ``out`` that this training would make again; None where there is none."""
    from mmcourse import checkpoint

    path = out / f"{name}.safetensors"
    try:
        checkpoint.verify(path)
        card = checkpoint.card(path)
    except checkpoint.CheckpointError:
        return None
    wanted = training.identity(name, profile, seed, out)
    return card if all(card.get(k) == v for k, v in wanted.items()) else None


def main_figure(name: str, card: dict[str, Any]) -> str:
    """The figure of a card by which a model is known, in words."""
    words, at, unit = MAIN[name]
    value: Any = card["figures"]
    for key in at.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, float | int):
        return f"{words}: not measured"
    return f"{words}: " + {"%": f"{100 * value:.1f} %", "dB": f"{value:.1f} dB", "": f"{value:.3f}"}[unit]


def _card(path: Path) -> dict[str, Any]:
    from mmcourse import checkpoint

    return checkpoint.card(path)
