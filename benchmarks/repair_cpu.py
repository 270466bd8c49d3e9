"""Repair in the cpu profile over seeds: python -m benchmarks.repair_cpu [SEEDS [TASK ...]]

Tasks: world, photographs, guided, stems, sizes (all, where none is named). ``world`` and ``photographs`` train by L1
alone and go on against a discriminator; both networks are measured in their holes beside the classical ways and the
untrained network. ``guided`` is the text-guided one, measured by the independent judge. ``stems`` trains a plain, a
gated and a partial first layer by L1 alone. ``sizes`` measures the shipped world model on holes of .05 to .6 of the
picture. Seconds are those of the training loops alone, on one thread.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import replace
from typing import Any

import torch

from mmcourse import checkpoint, inpainting, masks, metrics, runtime, world
from mmcourse.classical import METHODS, repair
from mmcourse.course.training import play_out_repair
from mmcourse.data import vocabulary
from mmcourse.encoders import Space
from mmcourse.inpainting import Repairers, fill, fit_hole, prepare
from mmcourse.judge import Judge
from mmcourse.text2image import encoder

N = 500
TASKS = ("world", "photographs", "guided", "stems", "sizes")
RECIPES = {
    "world": inpainting.PROFILES["cpu"],
    "photographs": inpainting.PHOTOGRAPHS["cpu"],
    "guided": inpainting.GUIDED["cpu"],
}
Row = dict[str, Any]


def train_one(task: str, seed: int) -> Row:
    recipe = RECIPES[task]
    more = {}
    if task == "guided":
        space = checkpoint.load(Space, "space")
        more = {"space": space, "encode": encoder(space, vocabulary())}
    parts = prepare(recipe, seed=seed, **more)
    parts[0].eval()
    if task == "guided":
        judge = checkpoint.load(Judge, "judge")
        untrained = metrics.measure_guided(parts[0], judge, more["encode"], n=N, seed=seed)
    else:
        untrained = metrics.measure_repair(parts[0], task_source(task), n=N, seed=seed)
    parts[0].train()
    began = time.process_time()  # what the processor spent, whoever else was waiting for it
    alone, game, _, seconds = play_out_repair(recipe, parts, f"{task}, seed {seed}", print)
    spent = time.process_time() - began
    row: Row = {"seed": seed, "seconds": round(seconds, 1), "cpu_seconds": round(spent, 1), "untrained": untrained}
    if task == "guided":
        return {**row, "model": metrics.measure_guided(game, judge, more["encode"], n=N, seed=seed)}
    game_row = metrics.measure_repair(game, task_source(task), n=N, seed=seed, classical=True)
    return {**row, "game": game_row, "alone": metrics.measure_repair(alone, task_source(task), n=N, seed=seed)}


def task_source(task: str) -> str:
    return "photographs" if task == "photographs" else "world"


def stems(seed: int) -> Row:
    row: Row = {"seed": seed}
    for stem in inpainting.STEMS:
        recipe = replace(RECIPES["world"], stem=stem)
        G, _, sample, _, _ = prepare(recipe, seed=seed)
        for step in fit_hole(G, sample, replace(recipe.alone, seed=seed, steps=600)):
            pass
        found = metrics.measure_repair(step.state.ema, n=N, seed=seed)
        row[stem] = {"seconds": round(step.seconds, 1), **{k: v["psnr"] for k, v in found.items()}}
    return row


def sizes() -> list[Row]:
    """PSNR, pooled, against the hole's share of the picture: the shipped networks beside the classical ways."""
    pair, rows = checkpoint.load(Repairers, "inpainting"), []
    for share in (0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6):
        g = runtime.generator(round(1000 * share))
        x = world.draw(world.sample_scenes(200, g))
        for kind, make in (("box", masks.boxes), ("stroke", masks.strokes)):
            mask = make(len(x), g, share=share)
            z = torch.randn(len(x), pair.hparams["z"], generator=g)
            made = {name: fill(getattr(pair, name), x, mask, z) for name in ("alone", "game")}
            made |= {method: repair(x, mask, method) for method in METHODS}
            found = {name: metrics.pooled_psnr(y, x, mask) for name, y in made.items()}
            rows.append({"share": share, "kind": kind, **found})
    return rows


def spread(rows: list[Any]) -> Any:
    """Median, low and high of every number in rows of one shape; what only names a row is left out."""
    if isinstance(rows[0], dict):
        return {key: spread([row[key] for row in rows]) for key in rows[0] if key not in ("seed", "speaker")}
    return {"median": statistics.median(rows), "low": min(rows), "high": max(rows)}


def main(seeds: int, tasks: list[str]) -> None:
    for task in tasks:
        name = f"repair_{task}_cpu"
        table: Row = {"what": f"repair, {task}, cpu profile, n = {N}", "threads": torch.get_num_threads()}
        table["command"] = f"python -m benchmarks.repair_cpu {seeds} {task}"
        if task == "sizes":
            table |= {"what": "PSNR in the hole against its share of the picture, 200 pictures", "rows": sizes()}
        else:
            if task in RECIPES:
                table["recipe"] = RECIPES[task].describe()
            rows = []
            for seed in range(seeds):
                rows.append(stems(seed) if task == "stems" else train_one(task, seed))
                print(task, rows[-1], flush=True)
                table |= {"summary": spread(rows), "seeds": rows}
                runtime.write_results(name, table)  # after each seed, so that a stop keeps the others
        print("wrote", runtime.write_results(name, table))


if __name__ == "__main__":
    chosen = sys.argv[2:] or list(TASKS)
    if (sys.argv[1:] and not sys.argv[1].isdigit()) or not set(chosen) <= set(TASKS):
        sys.exit(f"usage: python -m benchmarks.repair_cpu [SEEDS [{' | '.join(TASKS)} ...]]")
    main(int(sys.argv[1]) if sys.argv[1:] else 3, chosen)
