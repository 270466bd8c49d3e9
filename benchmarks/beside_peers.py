"""Ours beside what a learner would run instead, in turns in one process: how fast, and how soon how good.

python -m benchmarks.beside_peers throughput|quality [--device cpu|cuda] [--threads N] [--rounds N] [--seconds S]
    [--seed N] [--kind NAME] [--tiny]

``throughput`` counts pictures a second at equal operations per picture: our networks are widened until a forward pass
of G and one of D cost at least what the peer's do. ``quality`` is measured over seconds of training, each at its own
sizes, compile time counted; the clock stands still while pictures are measured. The parts are merged into
results/beside_peers_cpu.json (or _cuda), by their number of threads. A run that another option has changed prints its
table and writes nothing.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.peers import AS_SHIPPED, DCGAN, DFGAN, ConditionalMLP, Peer, Tricks
from mmcourse import cgan, checkpoint, distances, fast, gan, metrics, plots, runtime, text2image, train
from mmcourse.course.training import measure_grey
from mmcourse.data import caption_set, vocabulary
from mmcourse.encoders import Space
from mmcourse.features import FeatureNet
from mmcourse.judge import Judge
from mmcourse.layers import count_parameters
from mmcourse.pictures import Labelled, digits, labelled

BATCH = {"cgan": 64, "dcgan": 64, "df-gan": 32}  # what each ships with
KINDS = {"throughput": tuple(BATCH), "quality": ("text", "digits")}
BATCH_CUDA = 256
PERIOD = 8  # our steps between two penalties: a turn is a whole number of them
LEAST, MOST = 0.97, 1.10  # our forward operations a picture over the peer's
IN_FLOAT32: tuple[dict[str, Any], ...] = (
    {"adam": "foreach"},
    {"adam": "fused"},
    {"channels_last": True},
    {"compiled": "default"},
    {"compiled": "reduce-overhead"},  # CUDA graphs; on CUDA only
    {"channels_last": True},
)
IN_BF16: tuple[dict[str, Any], ...] = (
    {"bf16": True},
    {"bf16": True, "channels_last": False},
    {"bf16": True, "compiled": ""},
    {"bf16": True, "channels_last": True},
)
SHADE = 0.9  # DF-GAN's real pictures; see there
IN_HALF = ("ours, bf16", "ours, fast")
SHIPPED, PLAIN, BEST = "peer, as shipped", "peer, at its best in float32", "peer, at its best"
Row = dict[str, Any]
Run = Callable[[float], tuple[int, float]]  # seconds asked for -> pictures trained on, seconds taken


def settle(device: str) -> None:
    """Wait until the device has done what it was told; before a clock is read."""
    if device == "cuda":
        torch.cuda.synchronize()


def spread(values: list[float], digits: int = 2) -> Row:
    """The median, the least and the most."""
    out = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {k: round(v, digits) for k, v in out.items()}


# ---- operations


@torch.no_grad()
def ceiling(device: str, dtype: torch.dtype = torch.float32, *, side: int | None = None, tries: int = 20) -> float:
    """Operations a second of a product of two square matrices, the best of some tries.

    The side is 8,192 on CUDA and 2,048 on a CPU unless it is given.
    """
    side = side or (8192 if device == "cuda" else 2048)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(tries):
        settle(device)
        began = time.perf_counter()
        a @ b
        settle(device)
        best = max(best, 2 * side**3 / (time.perf_counter() - began))
    return best


class Operations(TorchDispatchMode):
    """Adds up the operations of products and convolutions by torch's own formulas, two a multiplication with its
    addition. ``FlopCounterMode`` does so too, and stops at a gradient's gradient.

    Torch counts too many for the backward pass of grouped convolutions; there are none here.
    """

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **kwargs, out_val=out)
        return out


@torch.no_grad()
def convolution_ceiling(device: str, dtype: torch.dtype = torch.float32, *, tries: int = 20) -> float:
    """Operations a second of one convolution of 3x3 over 128 channels, 64 pictures of 16x16, the best of some tries.

    A CPU may reach more here than in a product of matrices: two libraries do the work.
    """
    x, w = torch.randn(64, 128, 16, 16, device=device, dtype=dtype), torch.randn(128, 128, 3, 3, device=device)
    x, w = x.to(memory_format=torch.channels_last), w.to(dtype)
    best = 0.0
    for _ in range(tries):
        settle(device)
        began = time.perf_counter()
        torch.conv2d(x, w, padding=1)
        settle(device)
        best = max(best, 2 * 9 * 128 * 128 * 256 * 64 / (time.perf_counter() - began))
    return best


def count(work: Callable[[], Any]) -> int:
    """Operations of ``work()``."""
    with Operations() as counter:
        work()
    return counter.total


@torch.no_grad()
def forward_ops(G: nn.Module, D: nn.Module, z: int, *conds: Tensor) -> tuple[int, int]:
    """Operations of one picture through G and of one through D, D(x, cond). ``conds`` are for one picture.

    Counted with two pictures and halved: batch normalisation needs two.
    """
    twice = [torch.cat([c, c]) for c in conds]
    device = next(G.parameters()).device
    noise = torch.randn(2, z, device=device)
    kept = []
    g = count(lambda: kept.append(G(noise, *twice)))
    return g // 2, count(lambda: D(kept[0], *twice)) // 2


def width_for(ops: Callable[[int], int], wanted: int) -> int:
    """The least width whose operations are at least 0.97 of those wanted, and at most 1.10 where a width gives that.

    Widths are multiples of 16, else of 8, 4, 2 and 1: processors like even ones. Raises ``ValueError`` where none of
    up to 1,024 is enough.
    """
    for unit in (16, 8, 4, 2, 1):
        width = next((w for w in range(unit, 1025, unit) if ops(w) >= LEAST * wanted), None)
        if width is None:
            raise ValueError(f"width_for: no width of up to 1,024 costs {wanted:,} operations.")
        if ops(width) <= MOST * wanted or unit == 1:
            return width
    raise AssertionError


# ---- contestants


@dataclass
class Pair:
    """A peer and ours made as costly: ``peer(tricks)`` and ``ours()``, which gives G, D, sample and config."""

    name: str
    batch: int
    peer: Callable[[Tricks], Peer]
    ours: Callable[[], tuple[nn.Module, nn.Module, train.Sample, train.TrainConfig]]
    forward: Row


def one_hot_row() -> Tensor:
    return torch.eye(10)[:1]


def grey_pair(name: str, data: Labelled, device: str, batch: int) -> Pair:
    """PyTorch-GAN's cgan with our class-conditional GAN, or its dcgan with our image GAN."""
    labels = name == "cgan"
    kind: Any = ConditionalMLP if labels else DCGAN
    chapter: Any = cgan if labels else gan
    theirs = kind(data)
    cond, label = ([one_hot_row()], [torch.zeros(1, dtype=torch.long)]) if labels else ([], [])
    g, d = forward_ops(theirs.G, theirs.D, 100, *label)

    @functools.cache
    def cost(width: int) -> tuple[int, int]:
        return forward_ops(chapter.Generator(width=width), chapter.Discriminator(width=width), 64, *cond)

    wide, d_wide = width_for(lambda w: cost(w)[0], g), width_for(lambda w: cost(w)[1], d)
    config = replace(chapter.PROFILES["cpu"].config, batch=batch, steps=10**6)
    recipe = replace(chapter.PROFILES["cpu"], width=wide, d_width=d_wide, config=config)
    forward = {"peer": {"G": g, "D": d}, "ours": {"G": cost(wide)[0], "D": cost(d_wide)[1]}}
    widths = {"G": wide, "D": d_wide}
    return Pair(
        name,
        batch,
        lambda tricks: kind(data, batch=batch, device=device, tricks=tricks),
        lambda: chapter.prepare(data, recipe, device=device),
        {**forward, "our_widths": widths},
    )


def text_pair(space: Any, device: str, batch: int, captions: int) -> Pair:
    """DF-GAN with our text to image, on the same batches. Ours goes without the help of the frozen image tower, which
    acts in the first part of a run only, and D starts with weights of its own, since it is of another width."""
    usual = text2image.PROFILES["cpu"]
    config = replace(usual.config, batch=batch, steps=10**6)
    recipe = replace(usual, captions=captions, eyes=False, help=0.0, config=config)
    theirs = DFGAN(lambda rng, step: train.Batch(torch.zeros(1)))
    cond = torch.zeros(1, text2image.SPACE)
    g, d = forward_ops(theirs.G, theirs.D, 100, cond)

    @functools.cache
    def cost(width: int) -> tuple[int, int]:
        G = text2image.Generator(width=width, mapping=recipe.mapping)
        return forward_ops(G, text2image.Discriminator(width=width), config.z, cond)

    wide, d_wide = width_for(lambda w: cost(w)[0], g), width_for(lambda w: cost(w)[1], d)

    def ours() -> tuple[nn.Module, nn.Module, train.Sample, train.TrainConfig]:
        G, _, sample, _, config = text2image.prepare(space, replace(recipe, width=wide), device=device)
        return G, text2image.Discriminator(width=d_wide).to(device), sample, config

    @functools.cache
    def batches(where: str) -> train.Sample:
        return text2image.prepare(space, recipe, device=where)[2]

    def peer(tricks: Tricks) -> Peer:
        return DFGAN(batches(device if tricks.lean else "cpu"), device=device, tricks=tricks)

    forward = {"peer": {"G": g, "D": d}, "ours": {"G": cost(wide)[0], "D": cost(d_wide)[1]}}
    return Pair("df-gan", batch, peer, ours, {**forward, "our_widths": {"G": wide, "D": d_wide}})


def peer_run(peer: Peer, batch: int, device: str) -> Run:
    """Turns of a peer."""

    def run(seconds: float) -> tuple[int, float]:
        settle(device)
        began, first = time.perf_counter(), peer.steps
        while peer.steps == first or time.perf_counter() - began < seconds:
            peer.step()
        settle(device)
        return (peer.steps - first) * batch, time.perf_counter() - began

    return run


def our_run(steps: Iterator[train.Step], batch: int, device: str) -> Run:
    """Turns of a loop of ours: whole periods of its penalty."""
    number = 0

    def run(seconds: float) -> tuple[int, float]:
        nonlocal number
        settle(device)
        began, first = time.perf_counter(), number
        while number == first or (number - first) % PERIOD or time.perf_counter() - began < seconds:
            number = next(steps).number
        settle(device)
        return (number - first) * batch, time.perf_counter() - began

    return run


def work_elsewhere() -> float:
    """Seconds of processor time that all processes but this one have had, where the system tells it; else 0."""
    try:
        fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    except (OSError, ValueError):
        return 0.0
    busy = sum(fields[:3]) + sum(fields[5:8])  # user, nice, system; interrupts and what a host took
    return busy / os.sysconf("SC_CLK_TCK") - time.process_time()


def in_turns(
    runs: dict[str, Run], rounds: int, seconds: float, *, again: int = 5
) -> tuple[dict[str, list[float]], int]:
    """Pictures a second of each, one number a round; who begins changes from round to round.

    A turn in which other processes had more than the processors that this one leaves free, and a twentieth, is taken
    again after a pause, ``again`` times at most: threads that wait for each other lose far more than that twentieth.
    The second value is how many such turns are among the numbers.
    """
    out: dict[str, list[float]] = {name: [] for name in runs}
    names, disturbed = list(runs), 0
    free = max(0, (os.cpu_count() or 1) - torch.get_num_threads())
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            for left in range(again, -1, -1):
                before = work_elsewhere()
                pictures, spent = runs[name](seconds)
                quiet = work_elsewhere() - before < (free + 0.05) * spent + 0.02
                if quiet or not left:
                    break
                time.sleep(seconds)
            disturbed += not quiet
            out[name].append(pictures / spent)
    return out, disturbed


def our_ways(device: str) -> dict[str, Any]:
    """The readable loop as it is; on a card its fast twin, on a CPU convolutions in bf16, a trick that a peer has too:
    that is the twin's step as it stands."""
    if device == "cuda":
        return {"ours, readable": train.play, "ours, fast": fast.play}
    return {"ours, readable": train.play, "ours, bf16": functools.partial(fast.play, how="eager", half=True)}


def best_tricks(
    make: Callable[[Tricks], Peer],
    batch: int,
    device: str,
    seconds: float,
    ladder: Sequence[dict[str, Any]],
    start: Tricks = AS_SHIPPED,
    rounds: int = 3,
) -> tuple[Tricks, Peer, list[Row]]:
    """Try one trick after another on a peer and keep each that makes it faster, in turns with what it was.

    Gives what was kept, the peer with it, and a row for each trial. A trick that fails is told and not kept.
    """
    kept, peer, trials = start, make(start), []
    for trick in ladder:
        now = replace(kept, **trick)
        if now == kept or (now.compiled == "reduce-overhead" and device != "cuda"):
            continue
        row: Row = {"trick": trick}
        trials.append(row)
        try:
            began, other = time.perf_counter(), make(now)
            runs = {"was": peer_run(peer, batch, device), "now": peer_run(other, batch, device)}
            for run in (*runs.values(), *runs.values()):
                run(0)  # the second time with what the first has compiled
            row["warm_up_seconds"] = round(time.perf_counter() - began, 1)
            speed, _ = in_turns(runs, rounds, seconds)
        except Exception as error:  # whatever a compiler may raise: the peer goes on without
            row["failed"] = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            continue
        row["times"] = round(statistics.median(b / a for a, b in zip(speed["was"], speed["now"], strict=True)), 3)
        row["kept"] = row["times"] > 1
        if row["kept"]:
            kept, peer = now, other
        print(row, flush=True)
    return kept, peer, trials


def beside(
    pair: Pair,
    device: str,
    rounds: int,
    seconds: float,
    tops: dict[str, float],
    ladders: tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]] = (IN_FLOAT32, IN_BF16),
) -> Row:
    """One peer, as shipped and at its best, in turns with ours.

    Where bf16 makes the peer faster, its best in float32 stands beside.
    """
    lean = Tricks(lean=True)  # less work, so nothing to try
    plain, peer, trials = best_tricks(pair.peer, pair.batch, device, seconds / 2, ladders[0], lean)
    best, faster, more = best_tricks(pair.peer, pair.batch, device, seconds / 2, ladders[1], plain)
    tricks = {SHIPPED: AS_SHIPPED, **({PLAIN: plain} if best.bf16 else {}), BEST: best}
    runs = {SHIPPED: peer_run(pair.peer(AS_SHIPPED), pair.batch, device)}
    if best.bf16:
        runs[PLAIN] = peer_run(peer, pair.batch, device)
    runs[BEST] = peer_run(faster, pair.batch, device)
    for name, play in our_ways(device).items():
        runs[name] = our_run(play(*pair.ours()), pair.batch, device)
    for run in (*runs.values(), *runs.values()):
        run(0)
    speed, disturbed = in_turns(runs, rounds, seconds)

    ours = count_steps(our_run(train.play(*pair.ours()), pair.batch, device))
    rows: Row = {}
    for name, values in speed.items():
        ops = ours
        if name in tricks:
            ops = count_steps(peer_run(pair.peer(replace(tricks[name], compiled="")), pair.batch, device))
        F = sum(pair.forward["peer" if name in tricks else "ours"][net] for net in ("G", "D")) / 2
        rate, low = statistics.median(values) * ops, name in IN_HALF or (name in tricks and tricks[name].bf16)
        rows[name] = {
            "images_a_second": spread(values, 1),
            "operations_an_image": round(ops),
            "an_update_in_forward_passes": round(ops / F, 2),
            "operations_a_second": round(rate),
            "share_of_ceiling": round(rate / tops["bf16" if low else "float32"], 3),
        }
        if name not in tricks:
            for other in tricks:
                times = [a / b for a, b in zip(values, speed[other], strict=True)]
                rows[name][f"times the {other}"] = spread(times)
    peer_ops, our_ops = (sum(pair.forward[who][net] for net in ("G", "D")) for who in ("peer", "ours"))
    return {
        "batch": pair.batch,
        "forward_operations_a_picture": {**pair.forward, "ours_over_peers": round(our_ops / peer_ops, 3)},
        "tricks": best.describe(),
        "tricks_in_float32": plain.describe(),
        "trials": trials + more,
        "disturbed_turns": disturbed,
        "rows": rows,
    }


def count_steps(run: Run) -> float:
    """Operations of whole updates, forward and backward, for each picture: one period of ours, one step of a peer."""
    pictures = 0

    def work() -> None:
        nonlocal pictures
        pictures = run(0)[0]

    return count(work) / pictures


def throughput(
    device: str = "cpu",
    rounds: int = 5,
    tiny: bool = False,
    *,
    seconds: float = 3.0,
    names: Sequence[str] = tuple(BATCH),
) -> Row:
    """Pictures a second of ours and of each peer, as shipped and at its best, at equal operations a picture."""
    torch._dynamo.config.recompile_limit = 64  # each trial compiles networks of its own
    data = digits() if tiny else labelled("mnist", fall_back=False)
    space = checkpoint.load(Space, "space")
    small: Row = {"side": 256, "tries": 2} if tiny else {}
    kinds = {"float32": torch.float32, "bf16": torch.bfloat16}
    reached = {
        "product": {name: ceiling(device, kind, **small) for name, kind in kinds.items()},
        "convolution": {
            name: convolution_ceiling(device, kind, tries=2 if tiny else 20) for name, kind in kinds.items()
        },
    }
    tops = {name: max(row[name] for row in reached.values()) for name in kinds}
    peers: Row = {}
    for name in names:
        batch = 4 if tiny else BATCH_CUDA if device == "cuda" else BATCH[name]
        captions = 200 if tiny else 4000
        pair = text_pair(space, device, batch, captions) if name == "df-gan" else grey_pair(name, data, device, batch)
        peers[name] = beside(pair, device, rounds, seconds, tops, *(((IN_FLOAT32[:3], IN_BF16[:1]),) if tiny else ()))
        print(name, json.dumps(peers[name]["rows"], indent=1), flush=True)
        torch._dynamo.reset()
    ceilings = {k: {name: round(top) for name, top in row.items()} for k, row in reached.items()}
    return {"rounds": rounds, "seconds_a_turn": seconds, "ceilings_operations_a_second": ceilings, "peers": peers}


# ---- quality over time


def turn_of_ours(steps: Iterator[train.Step], until: float, last: int, device: str) -> train.Step:
    """Go on until so many seconds of training are spent or the recipe is at its end; gives the last step."""
    for step in steps:
        if step.seconds >= until or step.number >= last:
            break
    settle(device)
    return step


def turn_of_peer(peer: Peer, seconds: float, device: str) -> float:
    """Go on for so many seconds, compile time among them; gives those that it took."""
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        peer.step()
        if device == "cuda" and peer.steps % 32 == 0:
            settle(device)  # lest hours of work queue up
    settle(device)
    return time.perf_counter() - began


def curves(
    play: Any,
    ours: tuple[Any, ...],
    extra: Any,
    peer: Peer,
    look_ours: Callable[[Any], Row],
    look_peer: Callable[[], Row],
    device: str,
    seconds: float,
    slice_: float,
) -> Row:
    """Ours and a peer in turns; ours stops at the end of its recipe, the peer goes on for the whole time."""
    G, D, sample, config = ours
    steps = play(G, D, sample, config, extra=extra)
    out: Row = {"ours": [], "peer": []}
    spent, step = {"ours": 0.0, "peer": 0.0}, None
    while spent["peer"] < seconds:
        if step is None or step.number < config.steps:
            began, before = time.perf_counter(), 0.0 if step is None else step.seconds
            step = turn_of_ours(steps, before + slice_, config.steps, device)
            spent["ours"] += time.perf_counter() - began  # by the wall clock, so that nothing is left out
            row = {"seconds": round(spent["ours"], 1), "step": step.number, **look_ours(step.state.ema)}
            out["ours"].append(row)
            print("ours", row, flush=True)
        spent["peer"] += turn_of_peer(peer, slice_, device)
        row = {"seconds": round(spent["peer"], 1), "step": peer.steps, **look_peer()}
        out["peer"].append(row)
        print("peer", row, flush=True)
    assert step is not None
    out["ema"] = step.state.ema
    return out


def seconds_to(curve: list[Row], name: str, level: float, *, least: bool = False) -> float | None:
    """The first look at or above a level (with ``least`` at or below it), in seconds; None where it never came."""
    return next((r["seconds"] for r in curve if (r[name] <= level if least else r[name] >= level)), None)


def profile_for(device: str, n: int) -> str:
    """Few pictures a look mean a tiny run."""
    return "quick" if n < 200 else "gpu" if device == "cuda" else "cpu"


def text_quality(space: Any, device: str, seconds: float, slice_: float, seed: int, n: int, tricks: Tricks) -> Row:
    """Text to image of one thing: our recipe and DF-GAN on batches of the same kind and size, read by the judge.

    Ours is helped by the space's image tower, which belongs to its recipe: D starts from it, and it points G the way at
    first. DF-GAN gets the space's vectors. ``at_the_limits``: the share of a picture's numbers that are -1 or 1; a G
    that draws nothing else is dead.
    """
    # the peer draws 32x32
    recipe = replace(text2image.PROFILES[profile_for(device, n)], objects=(1,), resolution=32)
    judge, kinds = checkpoint.load(Judge, "judge"), {"seen": "train", "held_out": "held_out"}
    sets = {k: caption_set(n, split=s, objects=(1,), seed=1000 + seed) for k, s in kinds.items()}

    encode = text2image.encoder(space, vocabulary())
    G, D, sample, extra, config = text2image.prepare(space, recipe, seed=seed, device=device)
    theirs = text2image.prepare(space, recipe, seed=seed, device=device)[2]
    peer = DFGAN(theirs, seed=seed, shade=SHADE, device=device, tricks=tricks)

    def ours_draw(net: Any, captions: list[str], seed: int) -> Tensor:
        return text2image.Painter(space, net).draw(captions, runtime.generator(seed))

    def peer_draw(captions: list[str], seed: int) -> Tensor:
        return peer.draw(encode(captions), runtime.generator(seed))

    def look(draw: Callable[[list[str], int], Tensor]) -> Row:
        found = {k: draw(c.captions, seed) for k, c in sets.items()}
        row = {k: metrics.caption_accuracy(judge, found[k], c.statements)["all"] for k, c in sets.items()}
        return {**row, "at_the_limits": round(float((found["seen"].abs() > 0.999).float().mean()), 4)}

    out = curves(
        fast.play if device == "cuda" else train.play,
        (G, D, sample, config),
        extra,
        peer,
        lambda ema: look(functools.partial(ours_draw, ema)),
        lambda: look(peer_draw),
        device,
        seconds,
        slice_,
    )
    ema = out.pop("ema")
    captions = sets["seen"].captions[:6]
    for name, draw in (("ours", functools.partial(ours_draw, ema)), ("peer", peer_draw)):
        sheet = draw([c for c in captions for _ in range(8)], 0).view(6, 8, 3, 32, 32)
        plots.caption_sheet(sheet, captions, path=runtime.ROOT / "out" / f"beside_text_{name}_{seed}.png")
    levels = {f"{level:.0%}": {w: seconds_to(out[w], "seen", level) for w in out} for level in (0.1, 0.5, 0.9, 0.97)}
    end = {who: {k: out[who][-1][k] for k in ("seconds", "step", "seen", "held_out")} for who in out}
    best = max(r["seen"] for r in out["peer"])
    soon = seconds_to(out["ours"], "seen", best)
    weights = {"ours": count_parameters(G) + count_parameters(D), "peer": count_parameters(peer.G)}
    weights["peer"] += count_parameters(peer.D)
    row: Row = {"seed": seed, "end": end, "peers_best": best, "ours_at_peers_best": soon, "seconds_to": levels}
    return {
        **row,
        "weights": weights,
        "batch": config.batch,
        "shade": SHADE,
        "tricks": tricks.describe(),
        "curves": out,
    }


def grey_quality(data: Labelled, device: str, seconds: float, slice_: float, seed: int, n: int, tricks: Tricks) -> Row:
    """Digits from noise: our recipe and DCGAN, each with its own batch, by the Frechet distance of n pictures to the
    test part (MNIST) in the course's features."""
    recipe = gan.PROFILES[profile_for(device, n)]
    net = checkpoint.load(FeatureNet, "features")
    real = net.features(labelled("mnist", "test", fall_back=False).pictures() if n >= 200 else data.pictures())

    def look(pictures: Tensor) -> Row:
        return {"frechet": round(distances.frechet(real, net.features(pictures)), 2)}

    ours = gan.prepare(data, recipe, seed=seed, device=device)
    peer = DCGAN(data, seed=seed, device=device, tricks=tricks)

    def noise() -> torch.Generator:
        return runtime.generator(1000 + seed)

    out = curves(
        train.play,
        ours,
        None,
        peer,
        lambda ema: look(gan.draw(ema, n, noise())),
        lambda: look(peer.draw(n, noise())),
        device,
        seconds,
        slice_,
    )
    ema, folder = out.pop("ema"), runtime.ROOT / "out"
    plots.grid(gan.draw(ema, 80, runtime.generator(0)), columns=16, path=folder / f"beside_digits_ours_{seed}.png")
    plots.grid(peer.draw(80, runtime.generator(0)), columns=16, path=folder / f"beside_digits_peer_{seed}.png")
    best = min(r["frechet"] for r in out["peer"])
    row: Row = {"seed": seed, "peers_best": best, "n": n}
    row["ours_at_peers_best"] = seconds_to(out["ours"], "frechet", best, least=True)
    row["peer_seconds_at_its_best"] = next(r["seconds"] for r in out["peer"] if r["frechet"] == best)
    if n >= 200:
        drawn = {
            "ours": gan.draw(ema, 10000, noise()),
            "peer": peer.draw(10000, noise()),
            "peer, running statistics": peer.draw(10000, noise(), as_shipped=False),
        }
        row["figures"] = {who: measure_grey(pictures, None, lambda line: None) for who, pictures in drawn.items()}
    row["weights"] = {
        "ours": count_parameters(ours[0]) + count_parameters(ours[1]),
        "peer": count_parameters(peer.G) + count_parameters(peer.D),
    }
    return {**row, "tricks": tricks.describe(), "curves": out}


def quality(
    device: str = "cpu",
    seconds: float = 240.0,
    tiny: bool = False,
    *,
    slice_: float = 12.0,
    seed: int = 0,
    tricks: dict[str, Tricks] | None = None,
    kinds: Sequence[str] = ("text", "digits"),
) -> Row:
    """Caption accuracy and Frechet distance over seconds of training, ours and the peers in turns.

    ``tricks`` are the peers' by name; without them those that the throughput part has kept.
    """
    torch._dynamo.config.recompile_limit = 64
    (runtime.ROOT / "out").mkdir(exist_ok=True)
    data = digits() if tiny else labelled("mnist", fall_back=False)
    space, n = checkpoint.load(Space, "space"), 50 if tiny else 500
    text, grey = ((tricks or {}).get(name) or kept_tricks(name, device) for name in ("df-gan", "dcgan"))
    out: Row = {"seconds": seconds, "slice": slice_}
    if "text" in kinds:
        out["text"] = [text_quality(space, device, seconds, slice_, seed, n, text)]
    if "digits" in kinds:
        out["digits"] = [grey_quality(data, device, seconds, slice_, seed, n if tiny else 4 * n, grey)]
    return out


def kept_tricks(name: str, device: str) -> Tricks:
    """Those that the throughput part found best, with as many threads where that was measured; else safe ones.

    On a CPU nothing is compiled: it takes longer than it wins back within some minutes, and it would count.
    """
    try:
        parts = runtime.results(f"beside_peers_{device}")["parts"]
        keys = [part_name("throughput", device), *(key for key in parts if key.startswith("throughput"))]
        found = next(parts[key] for key in keys if key in parts)["peers"][name]["tricks"]
    except (ValueError, KeyError, StopIteration):
        return Tricks(lean=True, adam="fused", channels_last=True, bf16=device == "cuda")
    return replace(Tricks(**found), **({"compiled": ""} if device == "cpu" else {}))


# ---- the command


def part_name(part: str, device: str) -> str:
    """A part's name in the results file."""
    n = torch.get_num_threads()
    return part if device == "cuda" else f"{part}, {n} thread{'s' if n > 1 else ''}"


def merge(part: str, device: str, table: Row) -> None:
    """Put one part into the results file and leave the others as they are, and other peers and seeds in it."""
    name, part = f"beside_peers_{device}", part_name(part, device)
    try:
        parts = runtime.results(name)["parts"]
    except ValueError:
        parts = {}
    before = parts.get(part, {})
    if "peers" in table:
        table["peers"] = {**before.get("peers", {}), **table["peers"]}
    for kind in ("text", "digits"):
        rows = [*before.get(kind, []), *table.get(kind, [])]
        if rows:
            table[kind] = sorted({row["seed"]: row for row in rows}.values(), key=lambda row: row["seed"])
    what = "ours beside PyTorch-GAN's cgan and dcgan and DF-GAN, in turns in one process"
    print("wrote", runtime.write_results(name, {"what": what, "parts": {**parts, part: table}}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=tuple(KINDS))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="of torch, on a CPU; its own number else")
    parser.add_argument("--rounds", type=int, default=5, help="of throughput")
    parser.add_argument("--seconds", type=float, default=240.0, help="of training the peer, in quality")
    parser.add_argument("--seed", type=int, default=0, help="of quality; each seed adds its rows")
    parser.add_argument("--kind", help=f"one of {', '.join(sum(KINDS.values(), ()))}; all of the part without it")
    parser.add_argument(
        "--tiny", action="store_true", help="seconds, on scikit-learn's digits; prints and writes nothing"
    )
    given = parser.parse_args()
    if given.kind and given.kind not in KINDS[given.part]:
        parser.error(f"--kind: {given.part} has {', '.join(KINDS[given.part])}; got {given.kind!r}.")
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    usual = not given.tiny and all(getattr(given, k) == parser.get_default(k) for k in ("rounds", "seconds"))
    command = f"python -m benchmarks.beside_peers {given.part} --device {given.device}"
    command += f" --threads {torch.get_num_threads()}" if given.device == "cpu" else ""
    for kind in (given.kind,) if given.kind else KINDS[given.part]:  # each written as soon as it is there
        if given.part == "throughput":
            rounds, seconds = (1, 0.0) if given.tiny else (given.rounds, 3.0)
            table = throughput(given.device, rounds, given.tiny, seconds=seconds, names=(kind,))
        else:
            seconds, slice_ = (1.0, 0.5) if given.tiny else (given.seconds, 12.0)
            table = quality(given.device, seconds, given.tiny, slice_=slice_, seed=given.seed, kinds=(kind,))
        if usual:
            merge(given.part, given.device, {"command": command, "machine": runtime.machine(), **table})
        else:
            print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
