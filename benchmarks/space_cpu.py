"""The shared space in the cpu profile over three seeds: python -m benchmarks.space_cpu"""

from __future__ import annotations

import random
import statistics
import time

import torch

from mmcourse import runtime
from mmcourse.data import caption_batch, vocabulary
from mmcourse.encoders import PROFILES, Space, align, space_report


def one(seed: int) -> dict[str, float]:
    config, words = PROFILES["cpu"], vocabulary()
    torch.manual_seed(seed)
    space = Space(words=len(words))
    g, rng = runtime.generator(seed), random.Random(seed)
    began = time.perf_counter()
    for _ in align(space, lambda: caption_batch(config.batch, g, rng, words, leave_out=config.leave_out), config):
        pass
    row: dict[str, float] = {"seconds": round(time.perf_counter() - began, 1), "steps": config.steps}
    for n in (100, 500):
        report = space_report(space.eval(), words, n=n)
        row |= {f"{k}_of_{n}": round(v, 4) for k, v in report.items() if k not in ("n", "floor")}
    return row


def main() -> None:
    rows = []
    for seed in range(3):
        rows.append(one(seed))
        print(seed, rows[-1], flush=True)
    medians = {k: statistics.median(r[k] for r in rows) for k in rows[0]}
    table = {"what": "recall@1 over n distinct captions, cpu profile", "median": medians, "seeds": rows}
    print("wrote", runtime.write_results("space_cpu", table))


if __name__ == "__main__":
    main()
