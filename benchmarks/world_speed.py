"""Pictures of 32x32 drawn a second, by batch size: python -m benchmarks.world_speed"""

from __future__ import annotations

import statistics
import time

import torch

from mmcourse import runtime, world


def rate(batch: int, *, rounds: int = 5, seconds: float = 0.6) -> list[float]:
    """Pictures a second in each round: scenes are sampled and drawn."""
    g, rates = runtime.generator(0), []
    world.draw(world.sample_scenes(batch, g))
    for _ in range(rounds):
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            world.draw(world.sample_scenes(batch, g))
            count += batch
        rates.append(count / (time.perf_counter() - began))
    return rates


def main() -> None:
    rows = {}
    for batch in (16, 32, 64, 128, 256):
        found = rate(batch)
        median = statistics.median(found)
        rows[str(batch)] = {"median": round(median), "low": round(min(found)), "high": round(max(found))}
        print(f"batch {batch:4}: {median:,.0f} pictures a second")
    table = {"what": "32x32 pictures sampled and drawn a second", "threads": torch.get_num_threads(), "by_batch": rows}
    print("wrote", runtime.write_results("world_speed", table))


if __name__ == "__main__":
    main()
