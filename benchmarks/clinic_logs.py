"""Cures of a wandering GAN over eight seeds, and six logs to diagnose: python -m benchmarks.clinic_logs"""

from __future__ import annotations

from typing import Any

from mmcourse import runtime
from mmcourse.clinic import diagnose, usual
from mmcourse.ring import SICK, Duel, change, record

SEEDS, ROUNDS = 8, 2000
CHANGES: dict[str, dict[str, Any]] = {
    "nothing changed": {},
    "D ten times faster": {"lr_d": 1e-3},
    "G ten times slower": {"lr_g": 1e-4},
    "five steps of D": {"d_steps": 5},
    "R1": {"penalty": "r1"},
    "relativistic": {"game": "relativistic"},
    "relativistic, R1, R2": {"game": "relativistic", "penalty": "r1+r2"},
}
#: Settings and seeds that the lesson has not shown.
WARD: dict[str, Duel] = {
    "A": Duel(steps=ROUNDS, game="relativistic", penalty="r1+r2", gamma=0.3, seed=21),
    "B": Duel(steps=ROUNDS, lr_g=1e-4, lr_d=5e-3, seed=22),
    "C": Duel(steps=ROUNDS, lr_g=2e-3, lr_d=2e-4, seed=23),
    "D": Duel(steps=ROUNDS, game="wasserstein", lr_g=5e-4, lr_d=1e-3, seed=24),
    "E": Duel(steps=ROUNDS, game="minimax", lr_g=1e-5, lr_d=5e-3, seed=25),
    "F": Duel(steps=ROUNDS, lr_g=1e-5, lr_d=1e-5, seed=26),
}


def main() -> None:
    cures: dict[str, list[float]] = {}
    for name, changes in CHANGES.items():
        cures[name] = []
        for seed in range(SEEDS):
            log, _ = record(change(SICK, {"steps": ROUNDS, "seed": seed, **changes}), every=50)
            cures[name].append(usual(log, "modes"))
        print(f"{name:22}", cures[name], flush=True)
    ward = {}
    for name, settings in WARD.items():
        log, _ = record(settings, every=100)
        rows = [{k: round(v, 4) for k, v in row.items()} for row in log.rows]
        ward[name] = {"settings": log.settings, "rows": rows}
        print(name, diagnose(log), usual(log, "modes"), flush=True)
    what = f"modes covered by a wandering GAN after one change: the median over the second half of {ROUNDS} rounds"
    print("wrote", runtime.write_results("clinic_logs", {"what": what, "cures": cures, "ward": ward}))


if __name__ == "__main__":
    main()
