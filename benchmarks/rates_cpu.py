"""Which learning rate a wide network bears: python -m benchmarks.rates_cpu

The class-conditional GAN with the gpu profile's two blocks and half its width, the first steps of a long run at several
rates, one seed. Behind the rates of the gpu profiles, which no card has tried yet: ``results/rates_cpu.json``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from mmcourse import cgan, checkpoint, runtime
from mmcourse.features import FeatureNet, label_accuracy
from mmcourse.pictures import labelled
from mmcourse.train import play

WIDTH, BATCH, STEPS, LOOKS, N = 64, 32, 200, 8, 500
RATES = (1.5e-3, 6e-4, 3e-4)


def one_rate(lr: float, net: FeatureNet) -> dict[str, Any]:
    """Losses and label accuracy over the first steps at one rate."""
    data, asked = labelled("mnist", fall_back=False), torch.arange(N) % 10
    recipe = replace(cgan.PROFILES["gpu"], width=WIDTH, d_width=WIDTH)
    config = replace(recipe.config, batch=BATCH, lr=lr, ema=0.97, steps=2000)  # the rate of a long run's beginning
    G, D, sample, config = cgan.prepare(data, replace(recipe, config=config))
    curve, worst = [], 0.0
    for step in play(G, D, sample, config):
        worst = max(worst, step.losses["d"])
        if step.number % (STEPS // LOOKS) == 0:
            drawn = cgan.draw(step.state.ema, asked, runtime.generator(1))
            curve.append({"step": step.number, "accuracy": round(label_accuracy(net, drawn, asked), 4)})
            print(lr, curve[-1], flush=True)
        if step.number == STEPS:
            break
    return {"lr": lr, "largest_d": round(worst, 3), "curve": curve, "accuracy": curve[-1]["accuracy"]}


def main() -> None:
    net = checkpoint.load(FeatureNet, "features")
    rows = [one_rate(lr, net) for lr in RATES]
    table = {
        "what": f"a class-conditional GAN on MNIST, width {WIDTH}, two blocks: label accuracy after {STEPS} steps by "
        f"learning rate, n = {N}, one seed",
        "command": "python -m benchmarks.rates_cpu",
        "batch": BATCH,
        "rows": rows,
    }
    print("wrote", runtime.write_results("rates_cpu", table))


if __name__ == "__main__":
    main()
