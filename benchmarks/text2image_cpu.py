"""Text to image in the cpu profile over seeds: python -m benchmarks.text2image_cpu one|two|large [SEEDS]

``large`` is ``one`` with pictures of 64x64 pixels, as the gpu profile draws them.

Trains on the shipped space, measures caption accuracy with the judge on 1,000 seen and 1,000 held-out captions, beside
the untrained floor, the no-text control, chance and the ceiling. Seconds are those of the training loop alone.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import replace
from typing import Any

import torch

from mmcourse import metrics, plots, runtime
from mmcourse.checkpoint import load, verify
from mmcourse.data import caption_set
from mmcourse.encoders import Space
from mmcourse.judge import Judge
from mmcourse.text2image import PROFILES, Painter, prepare
from mmcourse.train import play

N = 1000
RECIPES = {"one": PROFILES["cpu"], "two": PROFILES["cpu_two"], "large": replace(PROFILES["cpu"], resolution=64)}
#: What is measured; the run with two things learns single ones as well.
THINGS = {"one": (1,), "two": (2,), "large": (1,)}


def one_seed(space: Space, judge: Judge, which: str, seed: int) -> dict[str, Any]:
    recipe, picture = RECIPES[which], f"text2image_{which}_cpu.png"
    kinds = {"seen": "train", "held_out": "held_out"}
    sets = {k: caption_set(N, split=s, objects=THINGS[which], seed=1000 + seed) for k, s in kinds.items()}
    G, D, sample, extra, config = prepare(space, recipe, seed=seed)
    untrained = metrics.measure_text2image(Painter(space, G).draw, judge, sets, seed=seed)
    curve = []
    for step in play(G, D, sample, config, extra=extra):
        if step.number % (config.steps // 6) == 0:
            painter = Painter(space, step.state.ema)
            found = metrics.measure_text2image(painter.draw, judge, sets, seed=seed)
            row = {k: v["model"]["all"] for k, v in found.items()}
            curve.append({"step": step.number, "seconds": round(step.seconds, 1), **row})
            print(seed, curve[-1], flush=True)
    painter = Painter(space, step.state.ema)
    table = metrics.measure_text2image(painter.draw, judge, sets, seed=seed, blank=painter.draw_blank)
    for name, row in table.items():
        row["untrained"] = untrained[name]["model"]
    if seed == 0:
        captions = sets["held_out"].captions[:6]
        asked = [c for c in captions for _ in range(8)]
        sheet = painter.draw(asked, runtime.generator(seed)).unflatten(0, (6, 8))
        stated = sets["held_out"].statements[:6].repeat_interleave(8, 0)
        right = metrics.right_pictures(judge, sheet.flatten(0, 1), stated)
        plots.caption_sheet(sheet, captions, marks=right.view(6, 8), path=runtime.ROOT / "out" / picture)
    chosen = metrics.openness(painter.draw, judge, seed=seed) if 1 in recipe.objects else {}
    row = {"seed": seed, "seconds": round(step.seconds, 1), "steps": config.steps, "curve": curve}
    return {**row, "openness": chosen, "figures": table}


def spread(rows: list[dict[str, Any]], split: str, kind: str, name: str) -> dict[str, float]:
    values = [r["figures"][split][kind][name] for r in rows if name in r["figures"][split][kind]]
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def main(which: str, seeds: int) -> None:
    (runtime.ROOT / "out").mkdir(exist_ok=True)
    space, judge = load(Space, "space"), load(Judge, "judge")
    rows = [one_seed(space, judge, which, seed) for seed in range(seeds)]
    summary: dict[str, Any] = {"seconds": statistics.median(r["seconds"] for r in rows)}
    for name in rows[0]["openness"]:
        summary.setdefault("openness", {})[name] = statistics.median(r["openness"][name] for r in rows)
    for split in ("seen", "held_out"):
        names = [k for k in rows[0]["figures"][split]["model"] if k not in ("n", "low", "high")]
        summary[split] = {"model": {n: spread(rows, split, "model", n) for n in names}}
        for kind in ("untrained", "no_text", "chance", "ceiling"):
            summary[split][kind] = spread(rows, split, kind, "all")
        shown = summary[split]["model"]["all"]
        print(f"{split}: all right, median {shown['median']:.3f}, {shown['low']:.3f} to {shown['high']:.3f}")
    table = {
        "what": f"caption accuracy on {'two things' if which == 'two' else 'one thing'}, {RECIPES[which].resolution} "
        f"pixels a side, cpu profile, n = {N} captions a split and seed",
        "command": f"python -m benchmarks.text2image_cpu {which} {seeds}",
        "space": verify("space"),
        "recipe": RECIPES[which].describe(),
        "threads": torch.get_num_threads(),
        "summary": summary,
        "seeds": rows,
    }
    print("wrote", runtime.write_results(f"text2image_{which}_cpu", table))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in RECIPES:
        sys.exit("usage: python -m benchmarks.text2image_cpu one|two|large [SEEDS]")
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 3)
