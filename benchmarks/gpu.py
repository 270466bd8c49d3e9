"""All that is to be measured on a card, in less than ten minutes: python -m benchmarks.gpu --out DIR [--minutes 9.5]

Parts run one after another, each for its share of the time that is left and in a process of its own, so that what fails
or hangs takes nothing else with it. Each writes DIR/NAME_gpu.json as soon as there is a row, and again after every
further one; an error's text stands in its table. ``--parts text,labels`` runs these alone, so that several calls can
share the work; ``checkpoints`` goes on where the last call was stopped. With ``--out results`` the book shows it all,
and pictures and models go to out/gpu; with another folder they lie beside the tables.

Nothing is fetched. MNIST is looked for where MMCOURSE_DATA says. ``--device cpu --tiny`` runs every part in small, on
no card, and writes DIR/NAME_tiny.json: a check of this script, and no measurement.
"""

from __future__ import annotations

import argparse
import functools
import gc
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import beside_peers, scaling, trace
from benchmarks.updates import heard, out_of_time, recipe_of, seconds, significant, spread, updates, wait
from mmcourse import cgan, checkpoint, fast, metrics, plots, runtime, text2image
from mmcourse.course import training, training_all
from mmcourse.course.runs import unfinished
from mmcourse.course.training import measure_grey
from mmcourse.data import CaptionSet, caption_set
from mmcourse.encoders import Space
from mmcourse.features import FeatureNet, label_accuracy
from mmcourse.judge import Judge
from mmcourse.pictures import digits, labelled
from mmcourse.train import Step

Row = dict[str, Any]
SIDE = 8192  # of the matrices whose product is the ceiling
#: Width of both networks and batch, in the order of what is to be known first.
SIZES = ((256, 1024), (384, 1024), (128, 1024), (256, 2048), (512, 512), (256, 512), (64, 1024), (128, 2048))
TARGETS = {"text": {"seen": 0.995, "held_out": 0.97}, "labels": {"accuracy": 0.993}}
LIMITS = {"text": 300, "labels": 120}  # seconds within which these are to be reached
#: Checkpoints in the order of their worth; all others follow.
WORTH = ("text2image", "cgan", "inpainting_text", "inpainting", "outline2picture", "gan", "hearing")
COMPILING_PAYS = 240.0  # seconds of a race from which on the step is compiled before it is captured
SPARE = 12.0  # seconds of a race's time that are kept for its last, longest look
GRACE = 8.0  # seconds in which a part that was told to end may write what it has


@dataclass(frozen=True)
class Task:
    """What a part is given: its name, the device, where to write, and the moment of ``time.monotonic`` to end at."""

    name: str
    device: str
    out: Path
    until: float
    tiny: bool = False

    @property
    def file(self) -> Path:
        """Where its table is."""
        return self.out / f"{self.name}_{'tiny' if self.tiny else 'gpu'}.json"

    @property
    def beside(self) -> Path:
        """Where pictures and models go: beside the tables, but not among those of the repository."""
        return runtime.ROOT / "out" / "gpu" if self.out == runtime.ROOT / "results" else self.out

    def picture(self) -> Path:
        """Where its picture goes."""
        self.beside.mkdir(parents=True, exist_ok=True)
        return self.beside / self.file.with_suffix(".png").name

    def write(self, table: Row) -> None:
        """Write its table anew, with the machine's name."""
        table = {"machine": card(), "command": f"python -m benchmarks.gpu --out results --parts {self.name}", **table}
        runtime.write_whole(self.file, (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode())

    def read(self) -> Row:
        """Its table as it lies there; empty where there is none."""
        return dict(json.loads(self.file.read_text(encoding="utf-8"))) if self.file.is_file() else {}


@functools.cache
def card() -> Row:
    """The machine as every table names it; on one with a card its memory, driver and cuDNN too."""
    found = runtime.machine()
    if "gpu" in found:
        about = torch.cuda.get_device_properties(0)
        found |= {"cudnn": torch.backends.cudnn.version(), "capability": f"{about.major}.{about.minor}"}
        found |= {"gpu_memory_gb": round(about.total_memory / 1e9, 1), "processors": about.multi_processor_count}
        found |= asked_of_the_driver()
    return found


def asked_of_the_driver() -> Row:
    """What nvidia-smi tells of the first card; nothing where there is no such program."""
    names = ("driver_version", "power.limit", "clocks.max.sm", "clocks.max.memory")
    command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader", "--id=0"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(("driver", "power_limit", "clock", "memory_clock"), said.strip().split(", "), strict=False))


def first_line(error: BaseException) -> str:
    """An error as one line, and where it came from."""
    said = (str(error).strip().splitlines() or ["no words"])[0][:300]
    at = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {said}" + (f" ({Path(at[-1].filename).name}, line {at[-1].lineno})" if at else "")


# -------------------------------------------------------------------------------------------------------------- parts


def part_card(task: Task) -> None:
    """The machine, and versions."""
    task.write({"what": "the machine"})


def part_ceiling(task: Task) -> None:
    """The bfloat16 product that shares are of, and what convolutions as wide as ours reach alone."""
    side, tries = (128, 2) if task.tiny else (SIDE, 20)
    table: Row = {"what": "operations a second, in tera: products, and convolutions alone", "side": side}
    for name, kind in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        table[name] = round(beside_peers.ceiling(task.device, kind, side=side, tries=tries) / 1e12, 3)
        task.write(table)
    table["convolutions"] = []
    for width, batch in [(8, 2)] if task.tiny else SIZES:
        for channels, pixels in ((width, 16), (2 * width, 8)):
            if not out_of_time(task.until):
                table["convolutions"].append(convolution_alone(channels, pixels, batch, task.device))
                task.write(table)


def convolution_alone(channels: int, pixels: int, batch: int, device: str) -> Row:
    """A 3x3 convolution in bfloat16, channels last: tera-operations a second forward, and with both gradients."""
    x = torch.randn(batch, channels, pixels, pixels, device=device, dtype=torch.bfloat16)
    weight = torch.randn(channels, channels, 3, 3, device=device, dtype=torch.bfloat16)
    x, weight = (t.to(memory_format=torch.channels_last) for t in (x, weight))
    x.requires_grad_()
    weight.requires_grad_()
    one = 2 * batch * pixels**2 * channels**2 * 9

    def both() -> None:
        torch.autograd.grad(F.conv2d(x, weight, padding=1).sum(), (x, weight))

    row: Row = {"channels": channels, "pixels": pixels, "batch": batch}
    with cudnn_may_try():
        for name, call, work in (("forward", lambda: F.conv2d(x, weight, padding=1), one), ("both", both, 3 * one)):
            call()
            ten = min(seconds(lambda: [call() for _ in range(10)], device) for _ in range(3))  # noqa: B023
            row[name] = significant(10 * work / ten / 1e12)
    return row


def cudnn_may_try() -> Any:
    """Let cuDNN try its kernels and keep the fastest, as a captured step does."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=True)


def part_step(task: Task) -> None:
    """One text-to-image update: the four ways to play it at the recipe's size, and the fastest at other sizes."""
    base, on_card = recipe_of(task.device, tiny=task.tiny), task.device == "cuda"
    best = "captured" if on_card else "eager"
    product = beside_peers.ceiling(
        task.device, torch.bfloat16 if on_card else torch.float32, side=128 if task.tiny else SIDE
    )
    table: Row = {
        "what": "one text-to-image update, the penalty every eighth time, in a run's last fifth; share is of the "
        "measured product, and counts no operation but those of convolutions and products",
        "product": significant(product / 1e12),
        "recipe": base.describe(),
        "rows": [],
    }
    own = (base.width, base.config.batch)
    units = [("graphed", *SIZES[0]), ("loop", *own), ("graphed", *own), ("graphed", *SIZES[1]), ("captured", *SIZES[0])]
    units += [("captured", *own), *(("graphed", *size) for size in SIZES[2:])]  # what compiles takes longer
    units += [*(("captured", *size) for size in SIZES[1:]), ("eager", *own), ("compiled", *own)]
    for how, width, batch in [(best, *own), (best, 8, 4)] if task.tiny else units:
        if out_of_time(task.until):
            break
        row: Row = {"how": how, "width": width, "batch": batch}
        try:
            row |= one_size(how, width, batch, task, product)
        except Exception as error:
            row["error"] = first_line(error)
        table["rows"].append(row)
        task.write(table)
        print(row, flush=True)
        forget()


def one_size(how: str, width: int, batch: int, task: Task, product: float) -> Row:
    """Time, rate and share of the product of an update at one size, its compilation counted apart."""
    base = recipe_of(task.device, tiny=task.tiny)
    d_width = None if width == base.width else width
    few = replace(base, width=width, config=replace(base.config, batch=max(4, 2 * base.pairs)))
    counted = updates(few, d_width=d_width, device=task.device)
    work = beside_peers.count(lambda: [next(counted) for _ in range(8)]) / 8 / few.config.batch
    run = updates(replace(few, config=replace(base.config, batch=batch)), d_width=d_width, device=task.device, how=how)
    first, said = heard(lambda: seconds(lambda: [next(run) for _ in range(8)], task.device))
    if task.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = [seconds(lambda: [next(run) for _ in range(8)], task.device) / 8 for _ in range(2 if task.tiny else 10)]
    rate = spread([batch / t for t in times])
    row: Row = {"seconds_of_the_first_eight": significant(first), "ms": spread([1000 * t for t in times])}
    row |= {"pictures_a_second": rate, "mflop_a_picture": round(work / 1e6, 2)}
    row |= {"tera_a_second": significant(rate["median"] * work / 1e12)}
    row |= {"share": significant(rate["median"] * work / product)}
    if said:
        row["said"] = said
    if task.device == "cuda":
        row["peak_gb"] = significant(torch.cuda.max_memory_allocated() / 1e9)
    return row


def forget() -> None:
    """Give back what the last size took."""
    gc.collect()
    torch._dynamo.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def way(task: Task) -> str:
    """How a race is played: captured where there is time to compile, else captured as it stands; on a CPU the loop."""
    if task.device == "cpu":
        return "loop"
    return "captured" if left(task) > COMPILING_PAYS else "graphed"


def _begun(run: Iterator[Step]) -> tuple[Iterator[Step], Step]:
    return run, next(run)


def race(
    task: Task,
    start: Callable[[], Iterator[Step]],
    look: Callable[[Any], Row],
    sure: Callable[[Any], Row],
    table: Row,
    *,
    every: float,
) -> Any:
    """Train until the task's targets are reached or its time is over; gives the averaged generator.

    The clock starts before anything is prepared, so that compiling counts; it stands still while a look measures.
    ``table`` gets a curve; ``reached``, the seconds at which each target first held; and, once ``sure`` has measured on
    more pictures that all of them hold, those for "all". ``end`` is what ``sure`` measured last.
    """
    targets, began, looking, last = TARGETS[task.name], time.perf_counter(), 0.0, 0.0
    table |= {"targets": targets, "within_seconds": LIMITS[task.name], "curve": [], "reached": {}}
    (run, one), said = heard(lambda: _begun(start()))
    table |= {"seconds_until_the_first_step": round(time.perf_counter() - began, 1), **({"said": said} if said else {})}
    for step in itertools.chain([one], run):
        ema, last_step = step.state.ema, step.state.config.steps
        spent = time.perf_counter() - began - looking
        over = out_of_time(task.until - SPARE) or step.number == last_step or task.tiny
        if (step.number % 8 and step.number != last_step) or (spent - last < every and not over):
            continue
        before, last = time.perf_counter(), spent
        wait(task.device)
        row = {"seconds": round(spent, 1), "step": step.number, **look(ema)}
        for name in targets:
            if row[name] >= targets[name]:
                table["reached"].setdefault(name, row["seconds"])
        good = all(row[name] >= value for name, value in targets.items())
        if good or over:
            row["sure"] = table["end"] = sure(ema)
            if all(table["end"][name] >= value for name, value in targets.items()):
                table["reached"]["all"] = row["seconds"]
        looking += time.perf_counter() - before
        table["curve"].append(row)
        task.write(table)
        print(row, flush=True)
        if over or "all" in table["reached"]:
            break
    return ema


def part_text(task: Task) -> None:
    """Two things and their relation, in the gpu profile: seconds until captions are right."""
    space, judge = checkpoint.load(Space, "space"), checkpoint.load(Judge, "judge")
    recipe = recipe_of(task.device, tiny=True) if task.tiny else text2image.PROFILES["gpu"]
    few, many = (20, 40) if task.tiny else (2000, 10000)

    def exams(n: int, seed: int) -> dict[str, CaptionSet]:
        kinds = {"seen": "train", "held_out": "held_out"}
        return {name: caption_set(n, split=split, objects=(2,), seed=seed) for name, split in kinds.items()}

    def start() -> Iterator[Step]:
        G, D, sample, extra, config = text2image.prepare(space, recipe, device=task.device)
        return fast.play(G, D, sample, config, extra=extra, how=how)

    def measured(G: Any, sets: dict[str, CaptionSet]) -> Row:
        painter = text2image.Painter(space, G)
        drawn = {k: painter.draw(c.captions, runtime.generator(0)) for k, c in sets.items()}
        return {k: metrics.caption_accuracy(judge, drawn[k], c.statements)["all"] for k, c in sets.items()}

    short, long, how = exams(few, 1000), exams(many, 2000), way(task)
    what = "caption accuracy of two things, gpu profile, by the judge, over seconds of wall clock, looks taken out"
    table: Row = {"what": what, "n": few, "n_sure": many, "how": how, "recipe": recipe.describe()}
    every = 0.0 if task.tiny else 8.0
    ema = race(task, start, lambda G: measured(G, short), lambda G: measured(G, long), table, every=every)
    captions = short["held_out"].captions[:6]
    sheet = text2image.Painter(space, ema).draw([c for c in captions for _ in range(8)], runtime.generator(0))
    plots.caption_sheet(sheet.unflatten(0, (6, 8)), captions, path=task.picture())


def part_labels(task: Task) -> None:
    """The class-conditional GAN on MNIST, in the gpu profile: seconds until digits are read as asked."""
    data = digits() if task.tiny else labelled("mnist", fall_back=False)
    recipe = cgan.PROFILES["quick" if task.tiny else "gpu"]
    net, labels = checkpoint.load(FeatureNet, "features"), torch.arange(20 if task.tiny else 10000) % 10
    how = way(task)

    def start() -> Iterator[Step]:
        return fast.play(*cgan.prepare(data, recipe, device=task.device), how=how)

    def drawn(G: Any) -> Tensor:
        return cgan.draw(G, labels, runtime.generator(1000))

    what = "label accuracy of digits, gpu profile, by the independent classifier, over seconds of wall clock"
    table: Row = {"what": what, "data": data.title, "n": len(labels), "how": how, "recipe": recipe.describe()}

    def look(G: Any) -> Row:
        return {"accuracy": round(label_accuracy(net, drawn(G), labels), 4)}

    def sure(G: Any) -> Row:
        return look(G) if task.tiny else measure_grey(drawn(G), labels, lambda line: None)

    ema = race(task, start, look, sure, table, every=0.0 if task.tiny else 4.0)
    plots.grid(drawn(ema)[: 10 * (len(labels) // 100 or 1)], columns=10, path=task.picture())


def part_peers(task: Task) -> None:
    """Pictures a second beside what a learner would run instead, one peer after another, at equal operations."""
    table: Row = {"what": "pictures a second of ours and of its peers at equal operations, in turns", "peers": {}}
    for name in ("cgan",) if task.tiny else ("df-gan", "cgan", "dcgan"):
        if out_of_time(task.until):
            break
        rounds, pause = (1, 0.0) if task.tiny else (5, 1.0)
        found = beside_peers.throughput(task.device, rounds, task.tiny, seconds=pause, names=(name,))
        table |= {k: v for k, v in found.items() if k != "peers"}
        table["peers"] |= found["peers"]
        task.write(table)


def part_quality(task: Task) -> None:
    """Caption accuracy and Frechet distance over seconds, ours and the peers in turns."""
    each, slice_ = (0.5, 0.25) if task.tiny else (max(10.0, left(task) / 5), 5.0)
    what = "caption accuracy and Frechet distance over seconds of training, ours and the peers in turns"
    task.write({"what": what, **beside_peers.quality(task.device, each, task.tiny, slice_=slice_)})


def part_scaling(task: Task) -> None:
    """How time and memory grow."""
    table = scaling.measure(task.device, tiny=task.tiny, until=task.until - 0.3 * left(task), write=task.write)
    scaling.figure(table, task.picture())


def part_trace(task: Task) -> None:
    """Where an update's time goes."""
    trace.measure(task.device, tiny=task.tiny, until=task.until, write=task.write)


def part_checkpoints(task: Task) -> None:
    """The models of the course in the gpu profile, with cards, as far as the time allows."""
    folder, profile = task.beside / "checkpoints", "quick" if task.tiny else "gpu"
    names = ("outline2picture",) if task.tiny else (*WORTH, *(n for n in training.NAMES if n not in WORTH))
    table: Row = {"what": f"the models of the course in the {profile} profile", "rows": []}
    for name in names:
        if out_of_time(task.until):
            break
        row: Row = {"name": name}
        try:
            found = training_all.found(name, profile, 0, folder)
            if found is None:
                begun = bool(unfinished(name, folder))
                training.train(name, profile=profile, seed=0, out=folder, resume=begun)
                found = checkpoint.card(folder / f"{name}.safetensors")
            row |= {k: found[k] for k in ("seconds", "seconds_in_all") if k in found}
            row["figure"] = training_all.main_figure(name, found)
        except Exception as error:
            row["error"] = first_line(error)
        table["rows"].append(row)
        task.write(table)
        forget()


def left(task: Task) -> float:
    """Seconds that a task still has."""
    return task.until - time.monotonic()


#: Each part with its weight: it gets this share of the time that is left, of all weights from it on.
PARTS: dict[str, tuple[Callable[[Task], None], float]] = {
    "card": (part_card, 1),
    "ceiling": (part_ceiling, 3),
    "step": (part_step, 15),
    "text": (part_text, 24),
    "labels": (part_labels, 8),
    "peers": (part_peers, 24),
    "scaling": (part_scaling, 8),
    "trace": (part_trace, 6),
    "quality": (part_quality, 6),
    "checkpoints": (part_checkpoints, 5),
}


# ---------------------------------------------------------------------------------------------------------- processes


def run(parts: dict[str, tuple[Callable[[Task], None], float]], blank: Task, minutes: float) -> dict[str, Row]:
    """Run parts one after another; gives each one's seconds, and its error where there was one. ``blank`` is a task
    without name and time."""
    end, done = time.monotonic() + 60 * minutes - 2 * GRACE, {}
    with tempfile.TemporaryDirectory(prefix="mmcourse-kernels-") as kernels:
        for name in parts:
            weights = [weight for other, (_, weight) in parts.items() if other not in done]
            began = time.monotonic()
            until = began + max(0.0, end - began) * weights[0] / sum(weights)
            task = replace(blank, name=name, until=until)
            task.file.unlink(missing_ok=True)
            said = alone(parts[name][0], task, Path(kernels) / name) if left(task) > 0 else "no time was left for it"
            done[name] = {"seconds": round(time.monotonic() - began, 1), **({"error": said} if said else {})}
            if said:
                task.write({"what": name, **{k: v for k, v in task.read().items() if k != "machine"}, "error": said})
            print(f"{name}: {done[name]['seconds']} s" + (f"; {said}" if said else ""), flush=True)
    return done


def alone(part: Callable[[Task], None], task: Task, kernels: Path) -> str:
    """Run a part in a process of its own; gives what went wrong, or "". One that goes on after its time is told to
    end, and after ``GRACE`` seconds more it is ended."""
    kinds = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in kinds else "spawn")
    if "forkserver" in kinds:
        context.set_forkserver_preload(["benchmarks.beside_peers", "benchmarks.scaling"])  # imported once
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_in_child, args=(part, task, kernels, theirs))
    process.start()
    theirs.close()
    process.join(max(1.0, left(task)) + GRACE)
    late = process.is_alive()
    if late:
        process.terminate()
        process.join(GRACE)
    if process.is_alive():
        process.kill()
        process.join()
    try:
        said = str(ours.recv()) if ours.poll() else ""
    except EOFError:
        said = ""
    if late:
        return "stopped when its time was over; the rows are those that were there"
    return said or (f"its process ended with code {process.exitcode}" if process.exitcode else "")


def _in_child(part: Callable[[Task], None], task: Task, kernels: Path, to_parent: Any) -> None:
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(kernels)  # empty, so that compiling costs what it costs at first
    os.environ["MMCOURSE_OFFLINE"] = "1"
    try:
        part(task)
    except Exception as error:
        traceback.print_exc()
        to_parent.send(first_line(error))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--minutes", type=float, default=9.5, help="of all parts together")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="everything in small")
    given = parser.parse_args(arguments)
    asked = given.parts.split(",")
    unknown = [name for name in asked if name not in PARTS]
    if unknown:
        parser.error(f"--parts: expected some of {', '.join(PARTS)}; got {', '.join(unknown)}.")
    if not (given.tiny if given.device == "cpu" else runtime.pick_device() == "cuda"):
        print(
            "This measures a CUDA card, and there is none that torch can use here; --device cpu --tiny runs all of it "
            "in small.",
            file=sys.stderr,
        )
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    parts = {name: PARTS[name] for name in asked}
    blank = Task("", given.device, given.out.resolve(), 0.0, given.tiny)
    done = run(parts, blank, given.minutes)
    task = replace(blank, name="run")
    task.write(
        {"what": "seconds of each part", "minutes": given.minutes, "parts": {**task.read().get("parts", {}), **done}}
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
