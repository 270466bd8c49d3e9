"""Emojis in the cpu profile over seeds: python -m benchmarks.emoji_cpu [SEEDS]

At most 300 emojis, of which 30 are held-out compositions. Trains the space, warms G up by the distance to the truth and
plays the game, on one thread; then measures retrieval among the subset's pictures by the shipped finder, after the
warm-up and after the game, and once more with D left bare (no augmentation). Seconds are those of training alone.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from dataclasses import replace
from typing import Any

import torch

from mmcourse import captioned, runtime
from mmcourse.checkpoint import load, verify
from mmcourse.course.training_pairs import brief, emoji_figures, emojis_for, pairs_of
from mmcourse.finder import Finder
from mmcourse.train import play


def one_seed(found: Any, finder: Finder, seed: int) -> dict[str, Any]:
    recipe, pairs = captioned.PROFILES["cpu"], pairs_of(found)
    recipe = replace(recipe, space=replace(recipe.space, seed=seed))
    began = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        space = captioned.PairSpace(words=pairs.vocabulary(recipe.space.words).to_dict())
    for _ in captioned.align_pairs(space, pairs, recipe.space):
        pass
    space.eval()
    G, D, sample, extra, config = captioned.prepare(space, pairs, recipe, seed=seed)
    for _ in captioned.warm_up(G, sample, recipe, seed=seed):
        pass
    seconds = {"space and warm-up": round(time.perf_counter() - began, 1)}
    warm = copy.deepcopy(G)
    runs = {"after_warm_up": warm}
    bare = captioned.prepare(space, pairs, replace(recipe, changes=()), seed=seed)[1]
    for name, judge in (("game", D), ("game_bare", bare)):
        for step in play(copy.deepcopy(warm), judge, sample, config, extra=extra):
            pass
        seconds[name], runs[name] = round(step.seconds, 1), step.state.ema
    out: dict[str, Any] = {"seed": seed, "seconds": seconds}
    for name, network in runs.items():
        table = emoji_figures(network, space, finder, found, seed=seed)
        out[name] = table
        print(seed, name, brief(table), seconds, flush=True)
    return out


def main(seeds: int) -> None:
    torch.set_num_threads(1)
    found, finder = emojis_for("cpu"), load(Finder, "emoji_finder")
    rows = [one_seed(found, finder, seed) for seed in range(seeds)]
    summary: dict[str, Any] = {}
    for name in ("after_warm_up", "game", "game_bare"):
        for split in ("seen", "held_out"):
            for language in ("en", "zh"):
                for k in ("r1", "r5"):
                    values = [r[name][split][language]["model"][k] for r in rows]
                    spread = {"median": statistics.median(values), "low": min(values), "high": max(values)}
                    summary.setdefault(name, {}).setdefault(split, {}).setdefault(language, {})[k] = spread
    summary["seconds"] = {k: statistics.median(r["seconds"][k] for r in rows) for k in rows[0]["seconds"]}
    table = {
        "what": f"retrieval of {len(found)} emojis by what their names draw, cpu profile, among these {len(found)}",
        "command": f"python -m benchmarks.emoji_cpu {seeds}",
        "finder": verify("emoji_finder"),
        "pictures": len(found),
        "held_out": int(found.held_out.sum()),
        "summary": summary,
        "runs": rows,
    }
    runtime.write_results("emoji_cpu", table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
