"""One training run as the book's time machine shows it: python -m benchmarks.time_machine

The `cpu` profile's text to image with two things (lesson 09), seed 0, on one thread. At 60 moments, dense at the start:
what the averaged G draws for ten captions from the same noise, both losses since the last moment, and the caption
accuracy of 300 seen and 300 held-out captions, by the judge. Writes results/time_machine_cpu.json and the pictures,
one row a moment, to book/runs/time_machine_cpu.png. The first row is drawn before training.
"""

from __future__ import annotations

import io
import statistics
from typing import Any

import numpy as np
import torch
from PIL import Image

from mmcourse import metrics, plots, runtime
from mmcourse.checkpoint import load, verify
from mmcourse.data import caption_set
from mmcourse.encoders import Space
from mmcourse.judge import Judge
from mmcourse.text2image import PROFILES, Painter, prepare
from mmcourse.train import play

NAME, MOMENTS, N, SEED = "time_machine_cpu", 60, 300, 0
CAPTIONS = (
    "a small red circle",
    "a large blue star at the top",
    "a green square on the left",
    "a large black ring",
    "红色的十字",
    "a red square left of a blue circle",
    "a large yellow triangle above a purple ring",
    "蓝色的星形在绿色的正方形下面",
    "a yellow circle",  # held out: no training shows one
    "a large cyan square right of a small red star",  # held out: no cyan square
)


def moments(steps: int) -> list[int]:
    """Steps to look at, from 0 to the last; the distance between two grows with the square of their number."""
    return sorted({round(steps * (i / (MOMENTS - 1)) ** 2) for i in range(MOMENTS)})


def main() -> None:
    torch.set_num_threads(1)
    space, judge = load(Space, "space"), load(Judge, "judge")
    recipe = PROFILES["cpu_two"]
    G, D, sample, extra, config = prepare(space, recipe, seed=SEED)
    z = torch.randn(len(CAPTIONS), config.z, generator=runtime.generator(SEED))
    exams = {k: caption_set(N, split=s, seed=7) for k, s in {"seen": "train", "held_out": "held_out"}.items()}
    rows: list[torch.Tensor] = []
    told: list[dict[str, Any]] = []

    def look(step: int, model: Any, losses: dict[str, float], seconds: float) -> None:
        painter = Painter(space, model)
        rows.append(painter.draw(list(CAPTIONS), z=z))
        table: dict[str, Any] = {"step": step, "seconds": round(seconds, 1)}
        for split, exam in exams.items():
            pictures = painter.draw(exam.captions, runtime.generator(SEED + 1))
            table[split] = round(metrics.caption_accuracy(judge, pictures, exam.statements)["all"], 4)
        told.append({**table, **{k: round(v, 4) for k, v in losses.items()}})
        print(told[-1], flush=True)

    wanted = moments(config.steps)
    look(0, G, {}, 0.0)
    since: list[dict[str, float]] = []
    for step in play(G, D, sample, config, extra=extra):
        since.append(step.losses)
        if step.number in wanted:
            losses = {k: statistics.fmean(row[k] for row in since) for k in ("d", "g")}
            look(step.number, step.state.ema, losses, step.seconds)
            since = []
    frames = np.stack([plots.to_bytes(row) for row in rows])  # (moments, captions, 32, 32, 3)
    sheet = frames.transpose(0, 2, 1, 3, 4).reshape(32 * len(rows), 32 * len(CAPTIONS), 3)
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, format="png", optimize=True)
    runtime.write_whole(runtime.ROOT / "book" / "runs" / f"{NAME}.png", file.getvalue())
    runtime.write_results(
        NAME,
        {
            "what": f"one run of text to image, cpu profile, two things, seed {SEED}; n = {N} captions a split",
            "command": "python -m benchmarks.time_machine",
            "space": verify("space"),
            "judge": verify("judge"),
            "steps": config.steps,
            "batch": config.batch,
            "captions": list(CAPTIONS),
            "moments": told,
        },
    )


if __name__ == "__main__":
    main()
