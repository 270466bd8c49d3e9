"""The image GAN in the cpu profile over seeds: python -m benchmarks.gan_cpu [SEEDS]

Trains on MNIST and measures 10,000 pictures in the course's features: Frechet distance to the test part beside its
floor (as many training pictures) and the untrained generator, precision, recall, coverage, diversity. Seconds are those
of the training loop alone.
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

import torch

from mmcourse import gan, metrics, plots, runtime
from mmcourse.course.training import measure_grey
from mmcourse.pictures import Labelled, labelled
from mmcourse.train import play


def one_seed(data: Labelled, seed: int) -> dict[str, Any]:
    recipe = gan.PROFILES["cpu"]
    G, D, sample, config = gan.prepare(data, recipe, seed=seed)

    def measured(G: Any) -> dict[str, float]:
        drawn = gan.draw(G, 10000, runtime.generator(1000 + seed))
        return {**measure_grey(drawn, None), "diversity": metrics.diversity(drawn[:500])}

    untrained, curve = measured(G.eval()), []
    G.train()
    for step in play(G, D, sample, config):
        if step.number % (config.steps // 5) == 0:
            curve.append({"step": step.number, "seconds": round(step.seconds, 1), **measured(step.state.ema)})
            print(seed, curve[-1], flush=True)
    if seed == 0:
        sheet = gan.draw(step.state.ema, 80, runtime.generator(0))
        plots.grid(sheet, columns=16, path=runtime.ROOT / "out" / "gan_cpu.png")
    end = curve[-1]
    end["of_untrained"], end["of_floor"] = (
        end["frechet"] / untrained["frechet"],
        end["frechet"] / end["frechet_floor"],
    )
    end["diversity_of_real"] = end["diversity"] / metrics.diversity(data.pictures(slice(0, 500)))
    return {"seed": seed, "steps": config.steps, "untrained": untrained, "figures": end, "curve": curve}


def main(seeds: int) -> None:
    data = labelled("mnist", fall_back=False)
    rows = [one_seed(data, seed) for seed in range(seeds)]
    summary = {}
    for name in rows[0]["figures"]:
        values = [row["figures"][name] for row in rows]
        summary[name] = {"median": statistics.median(values), "low": min(values), "high": max(values)}
        print(name, summary[name])
    table = {
        "what": "an image GAN on MNIST, cpu profile, 10,000 pictures in the course's features",
        "command": f"python -m benchmarks.gan_cpu {seeds}",
        "recipe": gan.PROFILES["cpu"].describe(),
        "threads": torch.get_num_threads(),
        "summary": summary,
        "seeds": rows,
    }
    print("wrote", runtime.write_results("gan_cpu", table))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) == 2 else 3)
