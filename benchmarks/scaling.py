"""How time and memory of one text-to-image update grow: python -m benchmarks.scaling [--device cpu|cuda] [--tiny]

From the ``cpu`` recipe (on a card, the ``gpu`` recipe) one thing changes at a time: the batch, the width of all
networks, the resolution, the things in a scene. Beside whole updates (``train.play``) stand drawing alone and, for
resolutions that the generators do not have, the trunk of D alone with its gradient. All cases take turns in one
process; a time is the median over rounds, and ``to_base`` the median of a round's ratios. Operations are counted by
torch's formulas, a multiply and an add as two. Memory has two parts: ``held_mb``, what lies there between updates
(weights, average, Adam's moments), and ``peak_mb``, the most that eight updates take beside it: on a CPU the tensors of
a torch.profiler record, on a card torch.cuda.max_memory_allocated. On a CPU one thread works, and its time is the
processor's, so that what else the machine does counts little. Writes results/scaling_cpu.json or
results/scaling_gpu.json, and a figure under out/.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.beside_peers import count
from benchmarks.trace import peak_bytes, record
from benchmarks.updates import out_of_time, recipe_of, seconds, significant, spread, updates, wait
from mmcourse import runtime, world
from mmcourse.layers import Trunk
from mmcourse.text2image import RESOLUTIONS, Recipe

Row = dict[str, Any]
BATCHES, WIDTHS, SIDES, THINGS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0), (0.5, 1.0, 2.0, 4.0), (16, 32, 64, 128), (1, 2)
#: What is timed; what grows.
AXES = {
    "batch": "a whole update; pictures",
    "width": "a whole update, all networks so many times as wide; width",
    "things": "a whole update, so many things in each scene; things",
    "resolution": "a whole update, with the layers that larger pictures take; side",
    "trunk": "D's trunk alone, forward and backward, in patches of 2x2; side",
    "drawing, things": "drawing alone, the scenes given, 32x32; things",
    "drawing, resolution": "drawing alone, the scenes given, two things each; side",
}
#: What a case is compared with where that is not the whole update of the recipe: the case of its axis of this size.
ORIGIN = {"trunk": 32, "drawing, things": 1, "drawing, resolution": 32}


@dataclass
class Case:
    """One thing to time. ``call`` does ``times`` updates of a ``batch``; ``held`` bytes lie there between calls."""

    axis: str
    size: float
    batch: int
    call: Callable[[], Any]
    times: int = 1
    held: int = 0


def bytes_of(run: Any) -> int:
    """What a run keeps between updates: weights and buffers of G, D and the average, and Adam's moments."""
    state = next(run).state
    moments = [v for opt in (state.opt_g, state.opt_d) for slots in opt.state.values() for v in slots.values()]
    kept = [t for m in (state.G, state.D, state.ema) for t in m.state_dict().values()] + moments
    return sum(t.numel() * t.element_size() for t in kept if isinstance(t, torch.Tensor))


def whole(axis: str, size: float, recipe: Recipe, device: str, how: str, *, wide: float = 1.0) -> Case:
    """Eight updates, one of them with the penalty. The first one is played here, and seven to go with it."""
    run = updates(recipe, wide=wide, device=device, how=how)
    held = bytes_of(run)
    for _ in range(7):
        next(run)
    return Case(axis, size, recipe.config.batch, lambda: [next(run) for _ in range(8)], 8, held)


def trunk(side: int, batch: int, device: str) -> Case:
    """D's trunk on pictures of another size, with the gradient of its weights."""
    net = Trunk(resolution=side).to(device)
    x = torch.randn(batch, 3, side, side, generator=runtime.generator(0, device), device=device)
    parameters = list(net.parameters())
    held = sum(p.numel() * p.element_size() for p in parameters)
    call = lambda: torch.autograd.grad(net(x).sum(), parameters)  # noqa: E731
    return Case("trunk", side, batch, again(call, 4), 4, held)


def drawing(axis: str, things: int, side: int, batch: int, device: str) -> Case:
    """Pictures of scenes that are there."""
    scenes = world.sample_scenes(batch, runtime.generator(0, device), objects=(things,))
    size = things if axis == "drawing, things" else side
    return Case(axis, size, batch, again(lambda: world.draw(scenes, side), 200), 200)


def again(call: Callable[[], Any], times: int) -> Callable[[], None]:
    """A call so many times over."""

    def calls() -> None:
        for _ in range(times):
            call()

    return calls


def taken(call: Callable[[], Any], device: str) -> float:
    """Seconds of a call: by the clock on a card, of the processor on a CPU."""
    if device == "cuda":
        return seconds(call, device)
    began = time.process_time()
    call()
    return time.process_time() - began


def makers(device: str, how: str, *, tiny: bool = False) -> list[Callable[[], Case]]:
    """One maker a case; the base is the first. Cases that leave the recipe as it is come once an axis."""
    base = recipe_of(device, tiny=tiny)
    size, least = base.config.batch, max(2, 2 * base.pairs)
    factors, widths, things, sides = ((0.5,), (0.5,), (2,), SIDES[:2]) if tiny else (BATCHES, WIDTHS, THINGS, SIDES)
    batches = sorted({max(least, round(f * size)) for f in factors} - {size})

    def sized(n: int) -> Recipe:
        return replace(base, config=replace(base.config, batch=n))

    out: list[Callable[[], Case]] = [partial(whole, "base", 1, base, device, how)]
    out += [partial(whole, "batch", n, sized(n), device, how) for n in batches]
    out += [partial(whole, "width", f, base, device, how, wide=f) for f in widths if f != 1]
    out += [partial(whole, "things", n, replace(base, objects=(n,)), device, how) for n in things]
    others = [] if tiny else [s for s in RESOLUTIONS if s != base.resolution]
    out += [partial(whole, "resolution", s, replace(base, resolution=s), device, how) for s in others]
    out += [partial(trunk, s, size, device) for s in sides]
    out += [partial(drawing, "drawing, things", n, 32, size, device) for n in THINGS]
    return out + [partial(drawing, "drawing, resolution", 2, s, size, device) for s in sides]


def most_bytes(case: Case, device: str) -> int:
    """The most that a call takes beside what lay there before it."""
    if device == "cpu":
        return peak_bytes(record(case.call, 1, memory=True))
    wait(device)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    case.call()
    wait(device)
    return int(torch.cuda.max_memory_allocated() - before)


def row_of(case: Case, base: Case, times: list[float], base_times: list[float], device: str) -> Row:
    """A case's figures: times are those of one update or one drawing of a batch."""
    ms = [1000 * t / case.times for t in times]
    ratios = [a / case.times / (b / base.times) for a, b in zip(times, base_times, strict=True)]
    found = count(case.call) / case.times
    middle = statistics.median(ms)
    row = {"axis": case.axis, "size": case.size, "batch": case.batch, "ms": spread(ms)}
    row |= {"to_base": spread(ratios), "pictures_a_second": significant(1000 * case.batch / middle)}
    row |= {"mflop_a_picture": round(found / case.batch / 1e6, 2), "gflop_a_second": significant(found / middle / 1e6)}
    held, peak = case.held / 1e6, most_bytes(case, device) / 1e6
    return row | {"held_mb": significant(held), "peak_mb": significant(peak)}


def measure(
    device: str = "cpu",
    *,
    tiny: bool = False,
    how: str = "loop",
    rounds: int = 7,
    until: float | None = None,
    write: Callable[[Row], Any] = lambda table: None,
) -> Row:
    """The whole table, on one thread of a CPU, from cases that take turns. A case that does not fit the memory, or for
    which no time was left before ``until``, stands in ``left_out``. ``write`` gets the table anew after each row."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if device == "cpu" else threads)
    try:
        return _measure(device, tiny, how, rounds, until, write)
    finally:
        torch.set_num_threads(threads)


def _measure(device: str, tiny: bool, how: str, rounds: int, until: float | None, write: Callable[[Row], Any]) -> Row:
    cases: list[Case] = []
    left_out: list[str] = []
    for make in makers(device, how, tiny=tiny):
        try:
            cases.append(make())
            cases[-1].call()
        except torch.OutOfMemoryError:
            left_out.append(f"number {len(cases) + len(left_out)}: out of memory")
            torch.cuda.empty_cache()
        if out_of_time(until):
            left_out.append("the cases after these: no time was left")
            break
    times: list[list[float]] = [[] for _ in cases]
    for _ in range(1 if tiny else rounds):
        for case, found in zip(cases, times, strict=True):
            found.append(taken(case.call, device))
        if out_of_time(until):
            break
    recipe = recipe_of(device, tiny=tiny)
    table: Row = {
        "what": "time and memory of one text-to-image update as one thing grows at a time, in the last fifth of a run; "
        "the base is the file's recipe. Generators draw 32x32 and 64x64; other sizes are D's trunk's and drawing's",
        "command": f"python -m benchmarks.scaling --device {device}{' --tiny' if tiny else ''}",
        "memory": "tensors of a torch.profiler record" if device == "cpu" else "torch.cuda.max_memory_allocated",
        "how": how,
        "threads": torch.get_num_threads(),
        "clock": "the processor's seconds" if device == "cpu" else "seconds",
        "rounds": len(times[0]),
        "recipe": recipe.describe(),
        "axes": AXES,
        "left_out": left_out,
        "rows": [],
    }
    for case, found in zip(cases, times, strict=True):
        own = ORIGIN.get(case.axis)
        base = next((k for k, other in enumerate(cases) if (other.axis, other.size) == (case.axis, own)), 0)
        table["rows"].append(row_of(case, cases[base], found, times[base], device))
        write(table)
    return table


def figure(table: Row, path: Path) -> None:
    """Time, memory and operations beside the smallest case of an axis, all logarithmic."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    base = table["rows"][0]
    own = {"batch": base["batch"], "width": 1}
    fig, panels = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for panel, axis in zip(panels.flat, ("batch", "width", "trunk", "drawing, resolution"), strict=True):
        rows = [row for row in table["rows"] if row["axis"] == axis]
        rows += [{**base, "size": own[axis]}] if axis in own else []
        rows = sorted(rows, key=lambda row: row["size"])
        for name, values in (
            ("time", [row["ms"]["median"] for row in rows]),
            ("memory", [row["held_mb"] + row["peak_mb"] for row in rows]),
            ("operations", [row["mflop_a_picture"] * row["batch"] for row in rows]),
        ):
            if values and values[0]:
                panel.plot([row["size"] for row in rows], [v / values[0] for v in values], marker="o", label=name)
        title, unit = AXES[axis].split("; ")
        panel.set(xscale="log", yscale="log", title=title, xlabel=unit)
        panel.set_xticks([row["size"] for row in rows], [f"{row['size']:g}" for row in rows])
        panel.minorticks_off()
        panel.legend()
    path.parent.mkdir(exist_ok=True)
    fig.savefig(path, dpi=80)
    plt.close(fig)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--tiny", action="store_true", help="few cases of the quick profile; prints, writes nothing")
    given = parser.parse_args()
    table = measure(given.device, tiny=given.tiny)
    if given.tiny:
        print(json.dumps(table, indent=1))
        return
    name = f"scaling_{'gpu' if given.device == 'cuda' else 'cpu'}"
    figure(table, runtime.ROOT / "out" / f"{name}.png")
    print("wrote", runtime.write_results(name, table))


if __name__ == "__main__":
    main()
