"""The class-conditional GAN in the cpu profile: ours over seeds, three ways in, shuffled labels, and beside a peer.

python -m benchmarks.cgan_cpu ours|ways|shuffled|peer [--seeds N] [--steps N] [--seconds S] [--slice S] [--n N]

Each part trains on MNIST and merges its table into results/cgan_cpu.json. A run that any option has changed prints its
table and writes nothing. Seconds are those of training alone; the clock stands still while pictures are measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import ConditionalMLP
from mmcourse import cgan, checkpoint, plots, runtime
from mmcourse.course.training import measure_grey
from mmcourse.features import FeatureNet, label_accuracy
from mmcourse.layers import count_parameters
from mmcourse.pictures import Labelled, labelled
from mmcourse.train import play

EVERY = 10.0  # seconds of training between two looks
N = 2000  # pictures of each look
WAYS: dict[str, dict[str, Any]] = {
    "concatenation": {"into_g": "concat", "into_d": "concat"},
    "normalisation in G": {"into_g": "norm", "into_d": "concat"},
    "projection in D": {"into_g": "concat", "into_d": "project"},
}
PARTS = ("ours", "ways", "shuffled", "peer")
Row = dict[str, Any]


class Look:
    """The share of n pictures that the independent classifier reads as what was asked for, classes in turn."""

    def __init__(self, n: int, seed: int):
        self.net, self.seed, self.labels = checkpoint.load(FeatureNet, "features"), seed, torch.arange(n) % 10

    def __call__(self, draw: Callable[[Tensor, torch.Generator], Tensor]) -> float:
        pictures = draw(self.labels, runtime.generator(1000 + self.seed))
        return round(label_accuracy(self.net, pictures, self.labels), 4)


def at_the_end(draw: Callable[[Tensor, torch.Generator], Tensor], seed: int) -> Row:
    """10,000 pictures: accuracy, Frechet distance with its floor, precision, recall, coverage; each class's recall."""
    labels = torch.arange(10000) % 10
    pictures = draw(labels, runtime.generator(seed))
    right = checkpoint.load(FeatureNet, "features").read(pictures) == labels
    recall = {str(k): round(float(right[labels == k].float().mean()), 4) for k in range(10)}
    return {**measure_grey(pictures, labels, lambda line: None), "recall_of_classes": recall}


def train(data: Labelled, recipe: cgan.Recipe, seed: int, n: int) -> Row:
    """One run with a look every few seconds of training, at its start and at its end."""
    G, D, sample, config = cgan.prepare(data, recipe, seed=seed)
    look, weights = Look(n, seed), count_parameters(G) + count_parameters(D)
    curve = [{"seconds": 0.0, "step": 0, "accuracy": look(lambda y, g: cgan.draw(G.eval(), y, g))}]
    G.train()
    for step in play(G, D, sample, config):
        if step.seconds - curve[-1]["seconds"] >= EVERY or step.number == config.steps:
            ema = step.state.ema
            accuracy = look(lambda y, g: cgan.draw(ema, y, g))  # noqa: B023
            curve.append({"seconds": round(step.seconds, 1), "step": step.number, "accuracy": accuracy})
            print(curve[-1], flush=True)
    end = at_the_end(lambda y, g: cgan.draw(step.state.ema, y, g), seed)
    if seed == 0 and not recipe.shuffle:
        sheet = cgan.draw(step.state.ema, torch.arange(100) // 10, runtime.generator(0))
        plots.grid(sheet, columns=10, path=runtime.ROOT / "out" / f"cgan_{recipe.into_g}_{recipe.into_d}.png")
    row = {"seed": seed, "steps": config.steps, "seconds": round(step.seconds, 1), "weights": weights}
    return {**row, "ms_a_step": round(1000 * step.seconds / config.steps, 1), "figures": end, "curve": curve}


def seconds_to(curve: list[Row], accuracy: float) -> float | None:
    """The first look at which an accuracy was reached, in seconds of training; None where it never was."""
    return next((row["seconds"] for row in curve if row["accuracy"] >= accuracy), None)


def spread(values: list[float]) -> Row:
    """The median, the least and the most."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def ours(data: Labelled, recipe: cgan.Recipe, given: argparse.Namespace) -> Row:
    """The cpu recipe over seeds."""
    rows = [train(data, recipe, seed, given.n) for seed in range(given.seeds)]
    over: Row = {"seconds": spread([row["seconds"] for row in rows])}
    for name in ("accuracy", "frechet", "precision", "recall", "coverage"):
        over[name] = spread([row["figures"][name] for row in rows])
    over["frechet_over_floor"] = spread([row["figures"]["frechet"] / row["figures"]["frechet_floor"] for row in rows])
    for share in (0.5, 0.9, 0.96):
        reached = [seconds_to(row["curve"], share) for row in rows]
        over[f"seconds_to_{share:.0%}"] = {"runs": reached, "reached_by": sum(s is not None for s in reached)}
    return {"over_seeds": over, "seeds": rows}


def ways(data: Labelled, recipe: cgan.Recipe, given: argparse.Namespace) -> Row:
    """Each way in, and the recipe's own, with the same steps and one seed."""
    own = f"the recipe: {recipe.into_g} in G, {recipe.into_d} in D"
    return {name: train(data, replace(recipe, **how), 0, given.n) for name, how in {**WAYS, own: {}}.items()}


def shuffled(data: Labelled, recipe: cgan.Recipe, given: argparse.Namespace) -> Row:
    """The cpu recipe on labels that mean nothing: its accuracy should be one in ten."""
    return train(data, replace(recipe, shuffle=True), 0, given.n)


def peer(data: Labelled, recipe: cgan.Recipe, given: argparse.Namespace) -> Row:
    """Ours and the peer in turns of a few seconds in one process, so that both meet the same noise.

    Ours stops at the end of its recipe; the peer goes on for the whole time. ``ours_seconds`` is our first look at or
    above the accuracy that the peer has at its end.
    """
    rows = []
    for seed in range(given.seeds):
        rival, look = ConditionalMLP(data, seed=seed), Look(given.n, seed)
        G, D, sample, config = cgan.prepare(data, recipe, seed=seed)
        steps, state, spent = play(G, D, sample, config), None, {"ours": 0.0, "peer": 0.0}
        curves: dict[str, list[Row]] = {"ours": [], "peer": []}
        while spent["peer"] < given.seconds:
            if state is None or state.step < config.steps:
                until = spent["ours"] + given.slice
                for step in steps:  # a generator: it goes on where it was left
                    state, spent["ours"] = step.state, step.seconds
                    if step.seconds >= until:
                        break
                assert state is not None
                ema = state.ema
                got = look(lambda y, g: cgan.draw(ema, y, g))  # noqa: B023
                curves["ours"].append({"seconds": round(spent["ours"], 1), "step": state.step, "accuracy": got})
            began = time.perf_counter()
            while time.perf_counter() - began < given.slice:
                rival.step()
            spent["peer"] += time.perf_counter() - began
            got = look(rival.draw)
            curves["peer"].append({"seconds": round(spent["peer"], 1), "step": rival.steps, "accuracy": got})
            print(seed, {name: curve[-1] for name, curve in curves.items()}, flush=True)
        assert state is not None
        level, ema = curves["peer"][-1]["accuracy"], state.ema
        reached = seconds_to(curves["ours"], level)
        end = {
            "ours": at_the_end(lambda y, g: cgan.draw(ema, y, g), seed),  # noqa: B023
            "peer": at_the_end(rival.draw, seed),
            "peer, running statistics": at_the_end(lambda y, g: rival.draw(y, g, as_shipped=False), seed),  # noqa: B023
        }
        row = {"seed": seed, "peer_accuracy": level, "peer_seconds": round(spent["peer"], 1), "ours_seconds": reached}
        row["peer_over_ours"] = None if reached is None else round(spent["peer"] / reached, 2)
        row["weights"] = {
            "ours": count_parameters(G) + count_parameters(D),
            "peer": count_parameters(rival.G) + count_parameters(rival.D),
        }
        if seed == 0:
            sheet = rival.draw(torch.arange(100) // 10, runtime.generator(0))
            plots.grid(sheet, columns=10, path=runtime.ROOT / "out" / "cgan_peer.png")
        rows.append({**row, "figures": end, "curves": curves})
    return {"slice": given.slice, "seconds": given.seconds, "seeds": rows}


def merge(part: str, table: Row) -> None:
    """Put one part into results/cgan_cpu.json and leave the others as they are."""
    try:
        parts = runtime.results("cgan_cpu")["parts"]
    except ValueError:
        parts = {}
    what = "a class-conditional GAN on MNIST, cpu profile; accuracy is the independent classifier's"
    print("wrote", runtime.write_results("cgan_cpu", {"what": what, "parts": {**parts, part: table}}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--seeds", type=int, default=3, help="of ours and peer")
    parser.add_argument("--steps", type=int, help="another number of steps")
    parser.add_argument("--seconds", type=float, default=300.0, help="of training the peer")
    parser.add_argument("--slice", type=float, default=5.0, help="seconds of each turn beside the peer")
    parser.add_argument("--n", type=int, default=N, help="pictures of each look")
    given = parser.parse_args()
    (runtime.ROOT / "out").mkdir(exist_ok=True)
    recipe, data = cgan.PROFILES["cpu"], labelled("mnist", fall_back=False)
    if given.steps is not None:
        recipe = replace(recipe, config=replace(recipe.config, steps=given.steps))
    part = {"ours": ours, "ways": ways, "shuffled": shuffled, "peer": peer}[given.part]
    table = part(data, recipe, given)
    usual = all(getattr(given, k) == parser.get_default(k) for k in ("seeds", "steps", "seconds", "slice", "n"))
    if usual:
        about = {"command": f"python -m benchmarks.cgan_cpu {given.part}", "recipe": recipe.describe(), "n": N}
        merge(given.part, {**about, "machine": runtime.machine(), **table})
    else:
        print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
