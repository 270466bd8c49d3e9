"""Image to image in the cpu profile over seeds: python -m benchmarks.image2image_cpu [SEEDS [TASK ...]]

Tasks: world-outline, world-grey, photographs-grey, cycle (all, where none is named). Each paired task trains a U-Net by
L1 alone and another one by L1 and a patch discriminator, and measures both on test pairs beside copying the input, the
mean training picture, the untrained generator and the truth; and D's AUC on mismatched pairs. The cycle is measured
against the true translation, which no loss sees. Seconds are those of the training loops alone.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import replace
from typing import Any

import torch

from mmcourse import image2image, plots, runtime
from mmcourse.image2image import (
    PatchDiscriminator,
    Recipe,
    UNet,
    fit_l1,
    measure,
    pairs,
    play_cycle,
    prepare,
    translate,
)
from mmcourse.train import play

N = 1000
CYCLE = {"steps": 320, "width": 16}
RECIPES: dict[str, Recipe] = {
    "world-outline": image2image.PROFILES["cpu"],
    "world-grey": replace(image2image.PROFILES["cpu"], task="grey"),
    "photographs-grey": image2image.PHOTOGRAPHS["cpu"],
}
TASKS = [*RECIPES, "cycle"]
Row = dict[str, Any]


def paired(task: str, seed: int) -> Row:
    recipe = RECIPES[task]
    G, D, sample, extra, config = prepare(recipe, seed=seed)
    before = measure(G, recipe, n=N, seed=seed, D=D)
    for alone in fit_l1(prepare(recipe, seed=seed)[0], sample, replace(config, steps=recipe.alone)):
        pass
    for step in play(G, D, sample, config, extra=extra):
        pass
    found = measure(step.state.ema, recipe, n=N, seed=seed, D=D)
    by_l1 = measure(alone.state.ema, recipe, n=N, seed=seed)["model"]
    if seed == 0:
        test = pairs(10, runtime.generator(12), source=recipe.source, task=recipe.task, split="test")
        made = [translate(s.state.ema, test.cond) for s in (alone, step)]
        sheet = torch.stack([test.cond.expand(-1, 3, -1, -1), *made, test.real])
        names = [recipe.task, "L1 alone", "L1 and game", "truth"]
        plots.caption_sheet(sheet, names, text_width=110, path=runtime.ROOT / "out" / f"image2image_{task}.png")
    kinds = {"L1 alone": by_l1, "L1 and game": found["model"], "untrained": before["model"]}
    kinds |= {name: found[name] for name in ("copy", "mean picture", "truth")}
    row = {"seed": seed, "seconds": {"L1 alone": round(alone.seconds, 1), "L1 and game": round(step.seconds, 1)}}
    return {**row, "auc": found["auc"], "auc untrained": before["auc"], "figures": kinds}


def cycle(seed: int) -> Row:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        AB, BA = UNet(cond=3, width=CYCLE["width"]), UNet(cond=3, width=CYCLE["width"])
        DA, DB = (PatchDiscriminator(cond=0, width=CYCLE["width"]) for _ in range(2))
    day, _ = image2image.day_and_night(N, runtime.generator(1000 + seed))
    before = (translate(AB, day) + day).abs().mean().item()
    config = replace(image2image.PROFILES["cpu"].config, steps=CYCLE["steps"], seed=seed)
    for step in play_cycle(AB, BA, DA, DB, image2image.day_and_night, config):
        pass
    night = translate(AB, day)
    back = translate(BA, night)
    if seed == 0:
        sheet, names = torch.stack([x[:10] for x in (day, night, back, -day)]), ["day", "AB", "and back", "truth"]
        plots.caption_sheet(sheet, names, text_width=110, path=runtime.ROOT / "out" / "image2image_cycle.png")
    figures = {"untrained": before, "model": (night + day).abs().mean().item(), "copy": (2 * day).abs().mean().item()}
    return {
        "seed": seed,
        "seconds": round(step.seconds, 1),
        "to truth": figures,
        "back": (back - day).abs().mean().item(),
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def summary(task: str, rows: list[Row]) -> Row:
    if task == "cycle":
        names = list(rows[0]["to truth"])
        out = {f"to truth, {name}": spread([row["to truth"][name] for row in rows]) for name in names}
        return {**out, "back": spread([row["back"] for row in rows]), "seconds": spread([r["seconds"] for r in rows])}
    out = {name: spread([row[name] for row in rows]) for name in ("auc", "auc untrained")}
    for kind in rows[0]["figures"]:
        out[kind] = {}
        for name in ("l1", "edges", "colours"):
            out[kind][name] = spread([row["figures"][kind][name] for row in rows])
    for name in ("edges", "colours"):  # as a share of the truth's, so that 1 is right
        out[f"{name} over the truth's"] = {
            kind: spread([row["figures"][kind][name] / row["figures"]["truth"][name] for row in rows])
            for kind in ("L1 alone", "L1 and game")
        }
    out["seconds"] = {kind: spread([row["seconds"][kind] for row in rows]) for kind in rows[0]["seconds"]}
    return out


def main(seeds: int, tasks: list[str]) -> None:
    (runtime.ROOT / "out").mkdir(exist_ok=True)
    try:
        table = {k: v for k, v in runtime.results("image2image_cpu").items() if k != "machine"}
    except ValueError:
        table = {}
    table.setdefault("tasks", {})
    table |= {"what": f"image to image, cpu profile, n = {N} test pairs a task and seed", "cycle": CYCLE}
    table |= {"command": f"python -m benchmarks.image2image_cpu {seeds}", "threads": torch.get_num_threads()}
    table["recipes"] = {task: recipe.describe() for task, recipe in RECIPES.items()}
    for task in tasks:
        rows = []
        for seed in range(seeds):
            rows.append(cycle(seed) if task == "cycle" else paired(task, seed))
            print(task, rows[-1], flush=True)
        table["tasks"][task] = {"summary": summary(task, rows), "seeds": rows}
        print("wrote", runtime.write_results("image2image_cpu", table))


if __name__ == "__main__":
    chosen = sys.argv[2:] or TASKS
    if (sys.argv[1:] and not sys.argv[1].isdigit()) or not set(chosen) <= set(TASKS):
        sys.exit(f"usage: python -m benchmarks.image2image_cpu [SEEDS [{' | '.join(TASKS)} ...]]")
    main(int(sys.argv[1]) if sys.argv[1:] else 3, chosen)
