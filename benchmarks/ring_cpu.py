"""The ring over eight seeds: every game at equal learning rates, a sick run and its cures.

python -m benchmarks.ring_cpu [--rounds N] [--seeds N]; writes results/ring.json in a full run only.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from dataclasses import asdict, replace
from typing import Any

import torch

from mmcourse import runtime
from mmcourse.ring import SICK, Duel, change, duel, good_share, modes_covered

SEEDS = 8
LOOKS = 8  # how often a run is looked at, the last time at its end
POINTS = 4000

#: Games at equal learning rates, 2,000 rounds; then one run that collapses, and each of its cures by one change.
RUNS: dict[str, Duel] = {
    "non-saturating": Duel(),
    "minimax": Duel(game="minimax"),
    "non-saturating, r1": Duel(penalty="r1"),
    "relativistic, r1+r2": Duel(game="relativistic", penalty="r1+r2"),
    "wasserstein, wgan-gp": Duel(game="wasserstein", penalty="wgan-gp"),
    "wasserstein, wgan-gp 10, d_steps 5": Duel(game="wasserstein", penalty="wgan-gp", gamma=10.0, d_steps=5),
    "sick": SICK,
    "sick, cured by lr_d 1e-3": change(SICK, {"lr_d": 1e-3}),
    "sick, cured by r1": change(SICK, {"penalty": "r1"}),
    "sick, cured by relativistic, r1+r2": change(SICK, {"game": "relativistic", "penalty": "r1+r2"}),
}


def one(settings: Duel) -> dict[str, Any]:
    """Modes and good share over one run and at its end. The clock stands still while it is looked at."""
    at = sorted({max(1, settings.steps * i // LOOKS) for i in range(1, LOOKS + 1)})
    looks: list[dict[str, float]] = []
    playing, began, finished = 0.0, time.perf_counter(), 0
    for now in duel(settings):
        finished = now.number
        if now.number in at:
            playing += time.perf_counter() - began
            points = now.points(POINTS)
            share = round(good_share(points), 4)
            looks.append({"round": now.number, "modes": modes_covered(points), "good": share})
            began = time.perf_counter()
    playing += time.perf_counter() - began
    row: dict[str, Any] = {"seed": settings.seed, "seconds": round(playing, 1), "rounds": finished}
    if finished < settings.steps or not looks:  # a loss was no longer finite
        return row | {"modes": 0, "good": 0.0, "fewest_modes": 0, "looks": looks}
    later = [look["modes"] for look in looks[len(looks) // 2 :]]
    return row | {"modes": later[-1], "good": looks[-1]["good"], "fewest_modes": min(later), "looks": looks}


def spread(values: list[float]) -> dict[str, float]:
    """The median, the least and the most."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Over the seeds: the end of the runs, how many end with at least seven modes, and the runs look by look."""
    out: dict[str, Any] = {k: spread([row[k] for row in rows]) for k in ("modes", "good", "fewest_modes", "seconds")}
    out["seeds_with_7_modes"] = sum(row["modes"] >= 7 for row in rows)
    out["over_the_run"] = []
    for same in zip(*(row["looks"] for row in rows), strict=False):  # a run that has diverged has fewer looks
        at = {k: spread([look[k] for look in same]) for k in ("modes", "good")}
        out["over_the_run"].append({"round": same[0]["round"], **at})
    return out


def measure(rounds: int | None = None, seeds: int = SEEDS) -> dict[str, Any]:
    """The whole table; ``rounds`` shortens every run."""
    table: dict[str, Any] = {}
    for name, settings in RUNS.items():
        if rounds is not None:
            settings = replace(settings, steps=rounds)
        rows = []
        for seed in range(seeds):
            rows.append(one(replace(settings, seed=seed)))
            print(name, {k: v for k, v in rows[-1].items() if k != "looks"}, flush=True)
        kept = {k: v for k, v in asdict(settings).items() if k != "seed"}
        table[name] = {"settings": kept, "over_seeds": summary(rows), "seeds": rows}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, help="shorten every run to so many rounds; writes nothing")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="fewer seeds; writes nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs = measure(given.rounds, given.seeds)
    for name, entry in runs.items():
        over = entry["over_seeds"]
        said = {k: "{median:.3g} ({least:.3g} to {most:.3g})".format(**over[k]) for k in ("modes", "good")}
        whole = f"7 modes in {over['seeds_with_7_modes']} of {len(entry['seeds'])} seeds"
        print(f"{name:36} modes {said['modes']:12} good share {said['good']:24} {whole}")
    if given.rounds is None and given.seeds == SEEDS:
        what = f"modes covered of 8 and good share over {SEEDS} seeds; fewest_modes: over the second half of a run"
        real = {"modes": 8, "good": round(1 - math.exp(-4.5), 4)}
        table = {"what": what, "points": POINTS, "real": real, "runs": runs}
        print("wrote", runtime.write_results("ring", table))


if __name__ == "__main__":
    main()
