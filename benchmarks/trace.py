"""Where the time of an update goes: python -m benchmarks.trace [--device cpu|cuda] [--tiny]

Some steps of ``play`` are recorded by torch.profiler. The trace is read back: time by kind, the share of time in which
nothing runs, and the largest gap with the names of what ran before and after it. On a CPU "nothing runs" means that no
operator does, so it is Python. On a card the kernels are read, from the first one's start to the last one's end.
Recording slows a step down; the time without it stands beside. Writes results/trace_cpu.json (text to image in the
``cpu`` profile on one thread and on two), or on a card results/trace_gpu.json (``gpu`` profile).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.updates import DRAWING, heard, out_of_time, recipe_of, seconds, significant, spread, updates, wait
from mmcourse import runtime

Event = dict[str, Any]
Row = dict[str, Any]
STEP, BEFORE = "mmcourse: step", "mmcourse: before the drawing"
BACKWARD, DOUBLE, OPTIMISER = "evaluate_function: ", "ConvolutionBackwardBackward", "Optimizer."
#: What a kernel's name says of it where no operator does, as in a captured graph.
KERNELS = (
    ("convolution, backward", ("dgrad", "wgrad")),
    ("convolution, forward", ("fprop", "implicit_gemm", "convolve")),
    ("optimiser and average", ("multi_tensor", "foreach")),
    ("matrix products, 1x1 convolutions among them", ("gemm", "nvjet", "splitk")),
)
NEARLY = 1.2  # times as long: a recorded step and one that is not, where nothing else disturbs either
LONG = 100  # of a name in a table; those of kernels are longer
RUNTIME = ("cuda_runtime", "cuda_driver")
UNTOLD = "the rest of a captured graph"


class Span(NamedTuple):
    """Something that ran: start and end in microseconds, its name, and the names of what it ran inside of."""

    start: float
    end: float
    name: str
    inside: tuple[str, ...]


# ---------------------------------------------------------------------------------------------------------- recording


def record(step: Callable[[], Any], calls: int, *, device: str = "cpu", memory: bool = False) -> list[Event]:
    """The trace's events of some calls, each with the name of a step."""
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
    with profile(activities=kinds, profile_memory=memory) as recorded:
        for _ in range(calls):
            with record_function(STEP):
                step()
        wait(device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(path))
        return list(json.loads(path.read_text(encoding="utf-8"))["traceEvents"])


def peak_bytes(events: list[Event]) -> int:
    """The most bytes of CPU memory that lay at once, of those that were taken while memory was recorded."""
    taken = [e for e in events if e.get("name") == "[memory]" and e["args"]["Device Type"] == 0]
    now = most = 0
    for event in sorted(taken, key=_start):
        now += int(event["args"]["Bytes"])
        most = max(most, now)
    return most


# ------------------------------------------------------------------------------------------------------------ reading


def read_trace(events: list[Event], *, device: str = "cpu", top: int = 10) -> Row:
    """A table of a trace: ``kinds`` with their time and share, ``idle`` with its share and its largest gap, the ``top``
    operators by their own time. Shares are of the steps' whole time; those of the kinds and of ``idle`` add up to 1.

    Raises ``ValueError`` for a trace without a step, and on a card for one without a kernel.
    """
    whole = [e for e in events if e.get("ph") == "X" and "dur" in e]
    steps = _steps(whole)
    if not steps:
        raise ValueError(f"trace: expected steps named {STEP!r}, found none; record it with trace.record.")
    ran = list(_kernels(whole) if device == "cuda" else _operators(whole))
    if not ran:
        raise ValueError(f"trace: nothing ran on {device} in {len(steps)} steps; was the other device recorded?")
    windows = steps if device == "cpu" else [(min(s.start for s in ran), max(s.end for s in ran))]
    total, n = sum(end - start for start, end in windows), len(steps)
    gaps = [gap for window in windows for gap in _gaps(ran, window)]
    own = _own_times(ran) if device == "cpu" else _shared_out(ran)
    kinds: dict[str, float] = defaultdict(float)
    names: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for span, own_time in own:
        kinds[kind_of(span, device)] += own_time
        names[span.name[:LONG]][0] += 1
        names[span.name[:LONG]][1] += own_time
    idle = sum(end - start for start, end, _, _ in gaps)

    def row(time_: float) -> Row:
        return {"ms_a_step": round(time_ / n / 1000, 4), "share": round(time_ / total, 4)}

    found = sorted(names.items(), key=lambda item: -item[1][1])[:top]
    return {
        "steps": n,
        "ms_a_step": round(total / n / 1000, 4),
        "kinds": {kind: row(kinds[kind]) for kind in sorted(kinds, key=lambda k: -kinds[k])},
        "idle": {**row(idle), "gaps_a_step": round(len(gaps) / n, 1), **_largest(gaps, total)},
        "top": [{"name": name, "calls_a_step": round(calls / n, 1), **row(time_)} for name, (calls, time_) in found],
    }


def kind_of(span: Span, device: str = "cpu") -> str:
    """What kind of work a span is, by its name and by what it ran inside of."""
    names = (*span.inside, span.name)
    if device == "cuda" and not any("::" in name for name in span.inside):
        plain = "" if span.name.startswith("triton") else span.name.lower()  # such names list all that was fused
        return next((kind for kind, words in KERNELS if any(word in plain for word in words)), UNTOLD)
    if DRAWING in names:
        return "drawing"
    if any(name.startswith(OPTIMISER) or "_foreach_lerp_" in name for name in names):
        return "optimiser and average"
    way = "backward" if any(BACKWARD in name for name in names) else "forward"
    if any("conv" in name and name.startswith("aten::") for name in names):
        return "convolution, double backward" if any(DOUBLE in name for name in names) else f"convolution, {way}"
    return "copies in case the step fails" if BEFORE in names else f"the rest, {way}"


def _start(event: Event) -> float:
    return float(event["ts"])


def _end(event: Event) -> float:
    return float(event["ts"]) + float(event["dur"])


def _nested(events: list[Event]) -> Iterator[tuple[Event, tuple[str, ...]]]:
    """Each event of one thread with the names of those that it lies in, the outermost first."""
    open_: list[Event] = []
    for event in sorted(events, key=lambda e: (_start(e), -_end(e))):
        while open_ and _end(open_[-1]) <= _start(event):
            open_.pop()
        yield event, tuple(e["name"] for e in open_)
        open_.append(event)


def _threads(events: list[Event]) -> dict[Any, list[Event]]:
    """Operators and names given to stretches of code, by thread."""
    out: dict[Any, list[Event]] = defaultdict(list)
    for event in events:
        if event.get("cat") in ("cpu_op", "user_annotation", *RUNTIME):
            out[event["pid"], event["tid"]].append(event)
    return out


def _operators(events: list[Event]) -> Iterator[Span]:
    """The operators that ran inside of a step, in its thread."""
    before = _before(events)
    for thread in _threads(events).values():
        for event, inside in _nested(thread):
            if event["cat"] == "cpu_op" and STEP in inside:
                yield Span(_start(event), _end(event), event["name"], inside + before(event))


def _kernels(events: list[Event]) -> Iterator[Span]:
    """What ran on the card, with the operators that launched it where the trace tells."""
    before, launches = _before(events), {}
    for thread in _threads(events).values():
        for event, inside in _nested(thread):
            if event["cat"] in RUNTIME and "correlation" in event.get("args", {}):
                launches[event["args"]["correlation"]] = inside + (before(event) if STEP in inside else ())
    for event in events:
        if event.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset"):
            inside = launches.get(event.get("args", {}).get("correlation"), ())
            yield Span(_start(event), _end(event), event["name"], inside)


def _before(events: list[Event]) -> Callable[[Event], tuple[str, ...]]:
    """A name for what a step does before it draws: the copies with which ``train.whole_step`` could undo it."""
    drawn = sorted(_start(e) for e in events if e["name"] == DRAWING)
    first = {step: next((d for d in drawn if step[0] <= d < step[1]), step[0]) for step in _steps(events)}

    def name(event: Event) -> tuple[str, ...]:
        return (BEFORE,) if any(s <= _start(event) and _end(event) <= first[s, e] for s, e in first) else ()

    return name


def _steps(events: list[Event]) -> list[tuple[float, float]]:
    return sorted((_start(e), _end(e)) for e in events if e["name"] == STEP and e.get("cat") == "user_annotation")


def _gaps(ran: list[Span], window: tuple[float, float]) -> list[tuple[float, float, str, str]]:
    """Stretches of a window in which nothing ran, each with what ran before it and what ran after."""
    now, before, out = window[0], "the step's start", []
    for span in sorted(ran):
        if span.end <= window[0] or span.start >= window[1]:
            continue
        if span.start > now:
            out.append((now, span.start, before, told(span)))
        if span.end > now:
            now, before = span.end, told(span)
    if now < window[1]:
        out.append((now, window[1], before, "the step's end"))
    return out


def told(span: Span) -> str:
    """A span by its name and by the innermost name around it."""
    outer = [name.removeprefix("mmcourse: ") for name in span.inside if name not in (STEP, BEFORE)]
    return f"{span.name[:LONG]} in {outer[-1]}" if outer else span.name[:LONG]


def _largest(gaps: list[tuple[float, float, str, str]], total: float) -> Row:
    """The longest gap, and the two neighbours whose gaps take the most time together."""
    if not gaps:
        return {}
    pairs = defaultdict(list)
    for start, end, before, after in gaps:
        pairs[before, after].append(end - start)
    start, end, before, after = max(gaps, key=lambda g: g[1] - g[0])
    (one, other), times = max(pairs.items(), key=lambda item: sum(item[1]))
    most: Row = {"times": len(times), "median_us": round(statistics.median(times), 1), "before": one, "after": other}
    return {
        "largest": {"us": round(end - start, 1), "before": before, "after": after},
        "most_together": {"share": round(sum(times) / total, 4), **most},
    }


def _own_times(ran: list[Span]) -> list[tuple[Span, float]]:
    """Each span with the time that none of the spans inside of it ran. Spans either nest or follow one another."""
    spans, open_ = sorted(ran, key=lambda s: (s.start, -s.end)), list[int]()
    own = [span.end - span.start for span in spans]
    for k, span in enumerate(spans):
        while open_ and spans[open_[-1]].end <= span.start:
            open_.pop()
        if open_:
            own[open_[-1]] -= span.end - span.start
        open_.append(k)
    return list(zip(spans, own, strict=True))


def _shared_out(ran: list[Span]) -> list[tuple[Span, float]]:
    """Each kernel with its time; where several streams run at once, a moment counts for the one that began first."""
    out, now = [], float("-inf")
    for span in sorted(ran):
        out.append((span, max(0.0, span.end - max(span.start, now))))
        now = max(now, span.end)
    return out


# ---------------------------------------------------------------------------------------------------------- measuring


def trace_of(how: str, device: str, *, tiny: bool = False) -> Row:
    """One way of playing: its time a step as it is, and of several recordings the table of the one that was fastest.

    What else a machine does makes a step longer, never shorter. So both are measured in turns, six times at least and
    thirty at most, until their fastest are nearly alike; of the times that are not recorded the five least are kept.
    """
    run = updates(recipe_of(device, tiny=tiny), device=device, how=how)
    eight = lambda: [next(run) for _ in range(8)]  # noqa: E731
    first, said = heard(lambda: seconds(eight, device))
    plain: list[float] = []
    found: list[Row] = []
    for turn in range(1 if tiny else 30):
        plain.append(1000 * seconds(eight, device) / 8)
        found.append(read_trace(record(lambda: next(run), 8 if tiny else 16, device=device), device=device))
        best = min(found, key=lambda table: table["ms_a_step"])
        if turn >= 5 and 1 / NEARLY < best["ms_a_step"] / min(plain) < NEARLY:
            break
    row = {"how": how, **({"said": said} if said else {}), "seconds_of_the_first_eight": significant(first)}
    return {**row, "ms_a_step_unrecorded": spread(sorted(plain)[:5]), "recordings": len(found), "recorded": best}


def measure(
    device: str = "cpu",
    *,
    tiny: bool = False,
    until: float | None = None,
    write: Callable[[Row], Any] = lambda table: None,
) -> Row:
    """The whole table; ``write`` gets it anew after each row. On a CPU the loop on one thread and on two, on a card
    the loop and a captured graph, not compiled and compiled."""
    threads = torch.get_num_threads()
    ways = (
        [("loop", n) for n in ((1,) if tiny else (1, 2))]
        if device == "cpu"
        else [(how, threads) for how in ("loop", "captured")]
    )
    table: Row = {
        "what": "where the time of an update of text to image goes in the last fifth of a run, read from a trace",
        "command": f"python -m benchmarks.trace --device {device}{' --tiny' if tiny else ''}",
        "recipe": recipe_of(device, tiny=tiny).describe(),
        "rows": [],
    }
    for how, count in ways[:1] if tiny else ways:
        if out_of_time(until):
            break
        torch.set_num_threads(count)
        try:
            table["rows"].append({"threads": count, **trace_of(how, device, tiny=tiny)})
        finally:
            torch.set_num_threads(threads)
        write(table)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--tiny", action="store_true", help="a few steps of the quick profile; writes nothing")
    given = parser.parse_args()
    if given.tiny:
        print(json.dumps(measure(given.device, tiny=True), indent=1))
        return
    name = f"trace_{'gpu' if given.device == 'cuda' else 'cpu'}"
    measure(given.device, write=lambda table: print("wrote", runtime.write_results(name, table)))


if __name__ == "__main__":
    main()
