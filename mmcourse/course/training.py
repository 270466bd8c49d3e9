"""The trainings behind `mmcourse train`: one function a shipped model, with its card (lessons 08 and 09).

Each draws its data, trains with the loop of its chapter, measures with the judge and writes a checkpoint with a card
of what was done. Torch is imported when a training starts, not when the command line does.
"""

from __future__ import annotations

import random
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("judge", "space", "text2image")
Report = Callable[[str], None]


def train(
    name: str, *, profile: str, seed: int, out: Path, resume: bool = False, command: str = "", say: Report = print
) -> Path:
    """Train one model and write ``out/NAME.safetensors`` with its card. Returns the path.

    Raises ``ValueError`` on an unknown name, and whatever its training raises.
    """
    if name not in NAMES:
        raise ValueError(f"train: expected one of {', '.join(NAMES)}; got {name!r}.")
    if resume and name != "text2image":
        raise ValueError(
            f"train: only text2image keeps a state to resume from; {name} trains in minutes, start it anew."
        )
    run = {"judge": train_judge, "space": train_space, "text2image": train_text2image}[name]
    began = time.perf_counter()
    kwargs: dict[str, Any] = {"resume": resume} if name == "text2image" else {}
    module, card = run(profile, seed, out, say, **kwargs)
    from mmcourse import __version__, checkpoint, runtime

    card = {
        "name": name,
        **card,
        "command": command or shlex.join(["mmcourse", "train", name, "--profile", profile, "--seed", str(seed)]),
        "profile": profile,
        "seed": seed,
        "seconds_in_all": round(time.perf_counter() - began, 1),
        "machine": runtime.machine(),
        "mmcourse": __version__,
        "licence": "MIT",
    }
    path = checkpoint.save(module, out / name, card=card)
    say(f"wrote {path} and its card {path.with_suffix('.json').name}")
    return path


def _ticks(total: int, times: int = 10) -> set[int]:
    """The steps at which a run prints a line: about ``times`` of them, and the last."""
    return {max(1, round(total * (i + 1) / times)) for i in range(times)}


def train_judge(profile: str, seed: int, out: Path, say: Report) -> tuple[Any, dict[str, Any]]:
    """The judge that measures captions. It trains on fresh drawings without held-out pairs."""
    from mmcourse.judge import judge_report, judge_steps

    steps = {"quick": 60, "cpu": 6000, "gpu": 6000}[profile]
    ticks = _ticks(steps)
    seconds = _Clock()
    judge = None
    for step, loss, newest in judge_steps(steps=steps, seed=seed):
        judge = newest
        if step in ticks:
            say(f"judge: step {step} of {steps}, loss {loss:.4f}, {seconds} s")
    assert judge is not None
    figures = judge_report(judge, n=10000, seed=seed + 1)
    say(f"judge: all attributes right on {figures}")
    what = "reads layout, shapes, colours and sizes from a 32x32 picture of the world; no loss ever sees it"
    data = "fresh drawings of the world, slightly blurred and noisy, without held-out pairs"
    return judge.eval(), {"what": what, "data": data, "steps": steps, "seconds": seconds.now(), "figures": figures}


def train_space(profile: str, seed: int, out: Path, say: Report) -> tuple[Any, dict[str, Any]]:
    """The space that text and pictures share."""
    import torch

    from mmcourse.data import caption_batch, vocabulary
    from mmcourse.encoders import PROFILES, Space, align, space_report

    config, words = PROFILES[profile], vocabulary()
    torch.manual_seed(seed)  # initial weights only
    space = Space(words=len(words))
    g, rng = torch.Generator().manual_seed(seed), random.Random(seed)
    ticks, seconds = _ticks(config.steps), _Clock()
    batches = lambda: caption_batch(config.batch, g, rng, words, leave_out=config.leave_out)  # noqa: E731
    for step, loss in align(space, batches, config):
        if step in ticks:
            say(f"space: step {step} of {config.steps}, loss {loss:.3f}, {seconds} s")
    space.eval()
    taken = seconds.now()
    figures = space_report(space, words)
    say(f"space: {figures}")
    what = "a text tower and an image tower into 64 numbers; English and Chinese"
    data = "fresh drawings and captions of the world, without held-out pairs"
    return space, {"what": what, "data": data, "steps": config.steps, "seconds": taken, "figures": figures}


def train_text2image(
    profile: str, seed: int, out: Path, say: Report, *, resume: bool = False
) -> tuple[Any, dict[str, Any]]:
    """The generator that draws what a sentence says, on the shipped space."""

    from mmcourse import checkpoint
    from mmcourse.encoders import Space
    from mmcourse.runtime import pick_device
    from mmcourse.text2image import PROFILES, prepare
    from mmcourse.train import State, play

    recipe = PROFILES[profile]
    space = checkpoint.load(Space, "space")
    G, D, sample, extra, config = prepare(space, recipe, seed=seed, device=pick_device() if profile == "gpu" else "cpu")
    state = State.start(G, D, config)
    saved = out / "text2image.state.safetensors"
    if resume:
        state.load(saved)
        say(f"text2image: goes on after step {state.step} of {config.steps}")
    elif saved.exists():
        raise ValueError(f"{saved}: an unfinished run lies there. Go on with --resume, or remove the file.")
    ticks, stored = _ticks(config.steps, 20), time.monotonic()
    try:
        for step in play(G, D, sample, config, state=state, extra=extra):
            if step.number in ticks:
                shown = ", ".join(f"{k} {v:.2f}" for k, v in step.losses.items())
                say(f"text2image: step {step.number} of {config.steps}, {shown}, {step.seconds:.0f} s")
            if time.monotonic() - stored > 60:
                state.save(saved)
                stored = time.monotonic()
    except KeyboardInterrupt:
        state.save(saved)
        say(f"text2image: stopped after step {state.step}; go on with --resume")
        raise
    figures = measure_text2image(space, state.ema, recipe.objects, seed, say)
    saved.unlink(missing_ok=True)
    card = {
        "what": "a generator of 32x32 pictures from a caption's 64 numbers",
        "data": "the world's drawings and captions, without held-out pairs",
        "space": checkpoint.verify("space"),
        "recipe": recipe.describe(),
        "steps": state.step,
        "seconds": round(state.seconds, 1),
        "figures": figures,
    }
    return state.ema, card


def measure_text2image(space: Any, G: Any, objects: tuple[int, ...], seed: int, say: Report) -> dict[str, Any]:
    """Caption accuracy on 2,000 seen and 2,000 held-out captions, beside control, ceiling and chance."""
    from mmcourse import checkpoint, metrics
    from mmcourse.data import caption_set
    from mmcourse.judge import Judge
    from mmcourse.text2image import Painter

    painter, judge = Painter(space, G), checkpoint.load(Judge, "judge")
    kinds = {"seen": "train", "held_out": "held_out"}
    sets = {k: caption_set(2000, split=s, objects=objects, seed=seed + 1) for k, s in kinds.items()}
    figures = metrics.measure_text2image(painter.draw, judge, sets, seed=seed + 1, blank=painter.draw_blank)
    for name, row in figures.items():
        say(f"text2image: all attributes right on {100 * row['model']['all']:.1f} % of {name} captions")
    chosen = metrics.openness(painter.draw, judge, seed=seed + 1)
    say("text2image: entropy of what captions leave open: " + ", ".join(f"{k} {v:.2f}" for k, v in chosen.items()))
    return {**figures, "openness": chosen}


def measure_again(folder: Path, say: Report = print) -> Path:
    """Measure a text-to-image checkpoint anew and write its card's figures; the weights stay as they are.

    Raises ``CheckpointError`` where the checkpoint is missing or damaged, or belongs to another space.
    """
    from mmcourse import checkpoint
    from mmcourse.encoders import Space
    from mmcourse.text2image import Generator

    path = folder / "text2image.safetensors"
    card = checkpoint.card(path)
    if card["space"] != checkpoint.verify("space"):
        raise checkpoint.CheckpointError(f"{path}: was trained on another space than the shipped one.")
    G = checkpoint.load(Generator, path)
    objects = tuple(card["recipe"]["objects"])
    figures = measure_text2image(checkpoint.load(Space, "space"), G, objects, card["seed"], say)
    return checkpoint.save(G, path, card={**card, "figures": figures})


class _Clock:
    def __init__(self) -> None:
        self.began = time.perf_counter()

    def now(self) -> float:
        return round(time.perf_counter() - self.began, 1)

    def __str__(self) -> str:
        return f"{self.now():.0f}"
