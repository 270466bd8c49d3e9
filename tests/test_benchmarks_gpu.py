"""The traces are read right, scaling counts right, and the script for a card loses nothing where a part fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from test_measured import assert_square
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks import gpu, scaling, trace, updates
from benchmarks.beside_peers import count
from mmcourse import layers
from mmcourse.course import measured
from mmcourse.losses import gradient_penalty_at

Tables = dict[str, dict[str, Any]]


def script(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, **more)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The tables of a run of the whole script in small, by part, and the names of all its files."""
    folder = tmp_path_factory.mktemp("gpu")
    out = script("--out", str(folder), "--device", "cpu", "--tiny", "--minutes", "4", timeout=280)
    assert out.returncode == 0, out.stdout[-2000:] + out.stderr[-2000:]
    tables = {p.stem.removesuffix("_tiny"): json.loads(p.read_text(encoding="utf-8")) for p in folder.glob("*.json")}
    tables["run"]["files"] = [p.name for p in folder.rglob("*")]
    return tables


# ---- traces


def on_cpu(name: str, start: float, dur: float, cat: str = "cpu_op", tid: int = 1) -> dict[str, Any]:
    return {"ph": "X", "cat": cat, "name": name, "pid": 1, "tid": tid, "ts": start, "dur": dur, "args": {}}


def named(name: str, start: float, dur: float) -> dict[str, Any]:
    return on_cpu(name, start, dur, "user_annotation")


CONV, DOUBLE = "ConvolutionBackward0", "ConvolutionBackwardBackward0"
ENGINE = "autograd::engine::evaluate_function: "
#: Two steps of 100 and 60 microseconds, 1000 apart. Each operator's own time and each gap are known.
BY_HAND = [
    named(trace.STEP, 0, 100),
    on_cpu("aten::clone", 2, 3),  # 2 to 5, before the drawing; a gap of 2 at the start
    named(updates.DRAWING, 5, 20),
    on_cpu("aten::randint", 6, 4),  # 6 to 10; a gap of 1, which is Python inside of the drawing
    on_cpu("aten::conv2d", 25, 20),  # 25 to 45; a gap of 15, the largest
    on_cpu("aten::mkldnn_convolution", 30, 10),
    on_cpu(ENGINE + CONV, 45, 15),  # 45 to 60
    on_cpu(CONV, 46, 13),
    on_cpu("aten::convolution_backward", 47, 10),
    on_cpu(ENGINE + DOUBLE, 60, 10),  # 60 to 70
    on_cpu("aten::_convolution_double_backward", 62, 8),
    on_cpu("aten::convolution_backward", 63, 5),
    named("Optimizer.step#Adam.step", 72, 12),
    on_cpu("aten::_foreach_mul_", 75, 6),  # 75 to 81; a gap of 5
    on_cpu("aten::_foreach_lerp_", 85, 5),  # a gap of 4; the average
    on_cpu("aten::add", 90, 10),
    named(trace.STEP, 1100, 60),
    on_cpu("aten::mul", 1100, 50),  # a gap of 10 at the end
    on_cpu("aten::somewhere_else", 500, 100),  # between the steps
    on_cpu("aten::other_thread", 0, 100, tid=2),
    {"ph": "i", "cat": "cpu_instant_event", "name": "[memory]", "ts": 3, "args": {"Device Type": 0, "Bytes": 9}},
]


def test_a_trace_made_by_hand_is_read_right() -> None:
    table = trace.read_trace(BY_HAND)
    assert table["steps"] == 2 and table["ms_a_step"] == 0.08
    ms = {kind: 2000 * row["ms_a_step"] for kind, row in table["kinds"].items()}  # of both steps, in microseconds
    assert ms == pytest.approx(
        {
            "convolution, forward": 20,
            "convolution, backward": 10,
            "convolution, double backward": 8,
            "the rest, backward": 7,  # 15 - 10 of one node, 10 - 8 of the other
            "the rest, forward": 60,
            "optimiser and average": 11,
            "copies in case the step fails": 3,
            "drawing": 4,
        }
    )
    idle = table["idle"]
    assert idle["share"] == pytest.approx((2 + 1 + 15 + 5 + 4 + 10) / 160, abs=1e-4) and idle["gaps_a_step"] == 3
    largest = {"us": 15.0, "before": "aten::randint in drawing", "after": "aten::conv2d"}
    assert idle["largest"] == largest
    assert sum(row["share"] for row in table["kinds"].values()) + idle["share"] == pytest.approx(1, abs=1e-3)
    assert table["top"][0] == {"name": "aten::mul", "calls_a_step": 0.5, "ms_a_step": 0.025, "share": 0.3125}
    own = {row["name"]: row["ms_a_step"] for row in table["top"]}
    assert own["aten::conv2d"] == own["aten::mkldnn_convolution"] == 0.005
    assert "aten::somewhere_else" not in own and "aten::other_thread" not in own


def test_gaps_between_the_same_neighbours_are_added_up() -> None:
    """Three short gaps of one kind outweigh the longest one."""
    parts = [named(trace.STEP, 0, 100), on_cpu("aten::a", 0, 10), on_cpu("aten::a", 14, 6), on_cpu("aten::a", 24, 6)]
    idle = trace.read_trace([*parts, on_cpu("aten::a", 34, 50), on_cpu("aten::b", 90, 10)])["idle"]
    assert idle["largest"] == {"us": 6.0, "before": "aten::a", "after": "aten::b"}
    together = {"share": 0.12, "times": 3, "median_us": 4.0, "before": "aten::a", "after": "aten::a"}
    assert idle["most_together"] == together


def kernel(name: str, start: float, dur: float, launch: int, stream: int = 7) -> dict[str, Any]:
    return {**on_cpu(name, start, dur, "kernel", tid=stream), "pid": 0, "args": {"correlation": launch}}


def launched(start: float, launch: int, tid: int = 1) -> dict[str, Any]:
    return {**on_cpu("cudaLaunchKernel", start, 1, "cuda_runtime", tid), "args": {"correlation": launch}}


def test_on_a_card_gaps_are_between_kernels_and_bear_their_operators_names() -> None:
    events = [
        named(trace.STEP, 0, 100),
        on_cpu("aten::conv2d", 0, 10),
        launched(1, 1),
        named(updates.DRAWING, 20, 10),
        on_cpu("aten::rand", 21, 5),
        launched(22, 2),
        on_cpu(ENGINE + CONV, 30, 10, tid=9),  # the backward pass has a thread of its own
        on_cpu("aten::convolution_backward", 31, 8, tid=9),
        launched(32, 3, tid=9),
        kernel("gemm_a", 50, 10, 1),
        kernel("fill", 60, 10, 2),
        kernel("gemm_b", 65, 10, 3, stream=8),  # overlaps the last one: 5 of its own
        kernel("gemm_c", 100, 5, 3),  # a gap of 25
    ]
    table = trace.read_trace(events, device="cuda")
    assert table["ms_a_step"] == 0.055  # 50 to 105
    ms = {kind: 1000 * row["ms_a_step"] for kind, row in table["kinds"].items()}
    assert ms == pytest.approx({"convolution, forward": 10, "drawing": 10, "convolution, backward": 10})
    after = "gemm_c in aten::convolution_backward"
    assert table["idle"]["largest"] == {
        "us": 25.0,
        "before": "gemm_b in aten::convolution_backward",
        "after": after,
    }
    assert table["idle"]["share"] == pytest.approx(25 / 55, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x64", "convolution, forward"),
        ("cutlass_tensorop_bf16_s16816dgrad_optimized_bf16_128x128_32x5_nhwc", "convolution, backward"),
        ("sm80_xmma_wgrad_implicit_gemm_indexed_bf16bf16_bf16f32_f32", "convolution, backward"),
        ("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_NNT", "matrix products, 1x1 convolutions among them"),
        ("triton_poi_fused_convolution_backward_leaky_relu_3", trace.UNTOLD),
    ],
)
def test_kernels_of_a_captured_graph_are_told_by_their_names(name: str, kind: str) -> None:
    events = [named(trace.STEP, 0, 10), launched(1, 1), kernel(name, 5, 5, 1)]
    assert list(trace.read_trace(events, device="cuda")["kinds"]) == [kind]


def test_a_trace_without_steps_or_without_kernels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected steps named 'mmcourse: step', found none"):
        trace.read_trace([on_cpu("aten::add", 0, 1)])
    with pytest.raises(ValueError, match=r"nothing ran on cuda in 2 steps"):
        trace.read_trace(BY_HAND, device="cuda")


def test_a_recorded_trace_names_the_sleep_between_two_operators() -> None:
    a = torch.ones(200, 200)

    def step() -> None:
        torch.mm(a, a)
        time.sleep(0.03)
        torch.relu(a)

    table = trace.read_trace(trace.record(step, 2))
    largest = table["idle"]["largest"]
    assert 30_000 <= largest["us"] < 90_000 and (largest["before"], largest["after"]) == ("aten::mm", "aten::relu")
    assert table["idle"]["share"] > 0.5


def test_own_times_are_those_that_torch_adds_up(tmp_path: Path) -> None:
    net, x = layers.Trunk(width=8), torch.randn(4, 3, 32, 32)

    def step() -> None:
        slope = gradient_penalty_at(net, x)
        torch.autograd.grad(net(x).sum() + slope, list(net.parameters()), allow_unused=True)

    step()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(2):
            with record_function(trace.STEP):
                step()
    recorded.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    table = trace.read_trace(events)
    torchs = {e.key: e for e in recorded.key_averages()}
    for row in table["top"]:
        assert 2 * row["ms_a_step"] == pytest.approx(torchs[row["name"]].self_cpu_time_total / 1000, abs=0.002)
    whole = torchs[trace.STEP]
    assert 2 * table["ms_a_step"] == pytest.approx(whole.cpu_time_total / 1000, abs=0.002)
    assert 2 * table["idle"]["ms_a_step"] == pytest.approx(whole.self_cpu_time_total / 1000, abs=0.002)
    assert {"convolution, double backward", "convolution, backward", "convolution, forward"} <= set(table["kinds"])


def test_the_peak_is_what_lay_at_once() -> None:
    def step() -> None:
        one = torch.zeros(1_000_000)  # 4 MB
        two = one + 1  # 8 MB at once
        del one
        three = torch.zeros(500_000)  # 6 MB: 4 + 2
        del two, three

    assert trace.peak_bytes(trace.record(step, 2, memory=True)) == pytest.approx(8e6, rel=0.01)


# ---- scaling


def test_the_trunk_is_counted_as_its_layers_are() -> None:
    """Multiplications and additions by hand; an update of the weights alone needs no gradient of the picture."""
    side, w = 32, 8
    places = (side // 2) ** 2
    stem, early = 2 * places * 12 * w * 9, 2 * 2 * places * w * w * 9
    down, late = 2 * places // 4 * 4 * w * 2 * w, 2 * 2 * places // 4 * 4 * w * w * 9
    last, out = 2 * places // 16 * 8 * w * 2 * w, 2 * 2 * w * places // 16 * 128
    once = stem + early + down + late + last + out
    net, x = layers.Trunk(width=w, resolution=side), torch.randn(3, 3, side, side)
    assert count(lambda: net(x)) == 3 * once
    assert count(lambda: torch.autograd.grad(net(x).sum(), list(net.parameters()))) == 3 * (3 * once - stem)


def test_the_results_page_shows_these_tables(everything: Tables) -> None:
    """The page reads the very tables that the script writes."""
    tables = {f"{name}_gpu": table for name, table in everything.items()}
    tables |= {f"{name}_cpu": everything[name] for name in ("scaling", "trace")}
    text = "\n".join(measured.page(tables))
    assert_square(text)
    assert text.count(measured.NOT_YET) == 1  # the peers on a CPU have a file of another kind
    gap = everything["trace"]["rows"][0]["recorded"]["idle"]["largest"]
    assert text.count(f"between `{gap['before']}` and `{gap['after']}`") >= 2
    assert f"{everything['scaling']['rows'][0]['ms']['median']:g} (" in text
    assert everything["checkpoints"]["rows"][0]["figure"] in text


def test_scaling_in_small(everything: Tables) -> None:
    """Operations of a picture do not depend on the batch; widths, batches and sides cost what they should."""
    rows = {(row["axis"], row["size"]): row for row in everything["scaling"]["rows"]}
    assert set(scaling.AXES) - {"resolution"} <= {axis for axis, _ in rows} and not everything["scaling"]["left_out"]
    base, half, thin = rows["base", 1], rows["batch", 8], rows["width", 0.5]
    assert half["mflop_a_picture"] == base["mflop_a_picture"] and half["held_mb"] == base["held_mb"]
    assert 0.4 < half["peak_mb"] / base["peak_mb"] < 0.8 and base["to_base"]["median"] == 1
    assert thin["mflop_a_picture"] < 0.35 * base["mflop_a_picture"] and thin["held_mb"] < base["held_mb"]
    assert rows["things", 2]["mflop_a_picture"] == base["mflop_a_picture"]
    small, usual = rows["trunk", 16], rows["trunk", 32]
    assert usual["mflop_a_picture"] == pytest.approx(4 * small["mflop_a_picture"], rel=1e-3)
    assert rows["drawing, resolution", 32]["mflop_a_picture"] == 0


def test_scaling_stops_when_its_time_is_over() -> None:
    table = scaling.measure(tiny=True, until=time.monotonic())
    assert [row["axis"] for row in table["rows"]] == ["base"] and "no time was left" in table["left_out"][0]


# ---- the script for a card


def writes_and_fails(task: gpu.Task) -> None:
    task.write({"what": "two rows", "rows": [1, 2]})
    raise ValueError("expected a card\nof another kind")


def hangs(task: gpu.Task) -> None:
    task.write({"what": "a row", "rows": [1]})
    time.sleep(60)


def dies(task: gpu.Task) -> None:
    os._exit(7)


def works(task: gpu.Task) -> None:
    task.write({"what": "one row", "left": gpu.left(task), "kernels": os.environ["TORCHINDUCTOR_CACHE_DIR"]})


def test_a_part_that_fails_hangs_or_dies_is_told_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "GRACE", 0.5)
    parts = {"fails": (writes_and_fails, 1), "dies": (dies, 1), "hangs": (hangs, 0.1), "works": (works, 8)}
    began = time.monotonic()
    done = gpu.run(parts, gpu.Task("", "cpu", tmp_path, 0.0, tiny=True), minutes=1)
    assert time.monotonic() - began < 50
    tables = {name: json.loads((tmp_path / f"{name}_tiny.json").read_text()) for name in parts}
    assert tables["fails"]["rows"] == [1, 2]
    assert tables["fails"]["error"].startswith("ValueError: expected a card (test_benchmarks_gpu.py, line ")
    assert tables["dies"]["error"] == "its process ended with code 7"
    assert tables["hangs"]["rows"] == [1] and "time was over" in tables["hangs"]["error"]
    assert "error" not in tables["works"] and 1 < tables["works"]["left"] < 60
    assert not Path(tables["works"]["kernels"]).exists()  # each part compiles anew, and what it compiled is gone
    assert {name: "error" in row for name, row in done.items()} == {
        "fails": True,
        "dies": True,
        "hangs": True,
        "works": False,
    }
    assert all(table["machine"]["torch"] == torch.__version__ for table in tables.values())
    assert not list(tmp_path.glob(".*"))


def test_for_what_no_time_is_left_nothing_is_started(tmp_path: Path) -> None:
    done = gpu.run({"works": (works, 1)}, gpu.Task("", "cpu", tmp_path, 0.0, tiny=True), minutes=0.1)
    assert done["works"]["error"] == "no time was left for it" and done["works"]["seconds"] < 1
    assert json.loads((tmp_path / "works_tiny.json").read_text())["error"] == "no time was left for it"


def test_pictures_and_models_are_not_put_among_the_tables(tmp_path: Path) -> None:
    assert gpu.Task("text", "cuda", ROOT / "results", 0.0).beside == ROOT / "out" / "gpu"
    assert gpu.Task("text", "cuda", tmp_path, 0.0).picture() == tmp_path / "text_gpu.png"


def test_a_race_ends_when_more_pictures_confirm_it_and_looks_take_no_time(tmp_path: Path) -> None:
    task = gpu.Task("labels", "cpu", tmp_path, time.monotonic() + 60)
    config = types.SimpleNamespace(steps=80)

    def start() -> Iterator[Any]:
        for k in range(1, 81):
            yield types.SimpleNamespace(number=k, state=types.SimpleNamespace(ema=k, config=config))

    def look(step: int) -> dict[str, Any]:
        time.sleep(0.3)
        return {"accuracy": {8: 0.5, 16: 0.994, 24: 0.993, 32: 0.9}[step]}

    def sure(step: int) -> dict[str, Any]:
        return {"accuracy": {16: 0.99, 24: 0.9931}[step]}

    table: dict[str, Any] = {"what": "digits"}
    assert gpu.race(task, start, look, sure, table, every=0.0) == 24
    assert [(row["step"], row["accuracy"], "sure" in row) for row in table["curve"]] == [
        (8, 0.5, False),
        (16, 0.994, True),
        (24, 0.993, True),
    ]
    assert table["end"] == {"accuracy": 0.9931} and set(table["reached"]) == {"accuracy", "all"}
    assert table["reached"]["all"] < 0.3 and task.read()["reached"] == table["reached"]


def test_a_race_that_reaches_nothing_is_measured_at_its_end(tmp_path: Path) -> None:
    task = gpu.Task("labels", "cpu", tmp_path, time.monotonic() + 60)
    state = types.SimpleNamespace(ema=0, config=types.SimpleNamespace(steps=10))
    table: dict[str, Any] = {"what": "digits"}
    steps = lambda: (types.SimpleNamespace(number=k, state=state) for k in range(1, 11))  # noqa: E731
    gpu.race(task, steps, lambda ema: {"accuracy": 0.1}, lambda ema: {"accuracy": 0.2}, table, every=0.0)
    assert [row["step"] for row in table["curve"]] == [8, 10]
    assert table["end"] == {"accuracy": 0.2} and table["reached"] == {}


def test_without_a_card_one_sentence_says_so(tmp_path: Path) -> None:
    for arguments in ([], ["--device", "cpu"]):
        out = script("--out", str(tmp_path / "none"), *arguments)
        assert out.returncode == 2 and out.stdout == ""
        assert out.stderr.count("\n") == 1 and "there is none that torch can use here" in out.stderr
    assert not (tmp_path / "none").exists()
    out = script("--out", str(tmp_path), "--parts", "step,stairs")
    assert out.returncode == 2 and "got stairs" in out.stderr and "checkpoints" in out.stderr


def test_everything_in_small(everything: Tables) -> None:
    tables = everything
    assert set(tables) == {*gpu.PARTS, "run"}
    for name, table in tables.items():
        assert "error" not in table, (name, table["error"])
        assert table["machine"]["cores"] and table["what"] and name in table["command"]
    assert set(tables["run"]["parts"]) == set(gpu.PARTS)
    assert tables["ceiling"]["bfloat16"] > 0 and tables["ceiling"]["convolutions"][0]["both"] > 0
    for row in tables["step"]["rows"]:
        told = row["tera_a_second"] / tables["step"]["product"]
        assert "error" not in row and row["share"] == pytest.approx(told, rel=0.02)
        rate = row["pictures_a_second"]["median"] * row["mflop_a_picture"] / 1e6
        assert row["tera_a_second"] == pytest.approx(rate, rel=0.02)
    for name in ("text", "labels"):
        table = tables[name]
        assert table["curve"][-1]["step"] == 8 and set(table["targets"]) <= set(table["curve"][0])
        assert 0 < table["seconds_until_the_first_step"] <= table["curve"][0]["seconds"] and table["reached"] == {}
        assert f"{name}_tiny.png" in tables["run"]["files"]
    assert "cgan" in tables["peers"]["peers"] and tables["quality"]["text"]
    assert tables["scaling"]["rows"] and tables["trace"]["rows"][0]["recorded"]["idle"]["largest"]
    models = tables["checkpoints"]["rows"]
    assert models and all("error" not in row and row["figure"] for row in models)
    assert f"{models[0]['name']}.json" in tables["run"]["files"]
