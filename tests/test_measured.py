"""The results page tells what the tables tell, and says of the rest that it is not yet measured."""

from __future__ import annotations

import re
from typing import Any

from mmcourse.course import measured

CARD = {"gpu": "A Card", "gpu_memory_gb": 80, "driver": "570.1", "cuda": "13.2", "cudnn": 91000, "torch": "2.15.0"}
STEP = {
    "machine": CARD,
    "what": "one update",
    "product": 700.0,
    "rows": [
        {"how": "captured", "width": 256, "batch": 1024, "error": "OutOfMemoryError: no | room"},
        {
            "how": "captured",
            "width": 128,
            "batch": 512,
            "ms": {"median": 10.0, "low": 9.0, "high": 12.0},
            "pictures_a_second": {"median": 51200.0, "low": 50000.0, "high": 52000.0},
            "share": 0.41,
            "seconds_of_the_first_eight": 31.0,
        },
        {
            "how": "compiled",
            "said": "it could not",
            "width": 40,
            "batch": 16,
            "ms": {"median": 2.0, "low": 2.0, "high": 2.0},
            "pictures_a_second": {"median": 8000.0, "low": 8000.0, "high": 8000.0},
            "share": 0.05,
            "seconds_of_the_first_eight": 3.0,
        },
    ],
}
TARGETS = {"seen": 0.995, "held_out": 0.97}


def test_without_tables_everything_is_not_yet_measured() -> None:
    text = "\n".join(measured.page({}))
    assert text.count(measured.NOT_YET) == 3 + len(measured.PARTS)
    assert "has been measured on a GPU yet" in text
    for part in measured.PARTS:
        assert f"| `{part}` | " in text
    assert "`python -m benchmarks.gpu --out results --parts PART`" in text
    for name in ("scaling", "trace", "beside_peers"):
        assert f"`python -m benchmarks.{name}" in text


def line(tables: dict[str, Any], part: str) -> str:
    """What the page's table says of a part."""
    lines = [x for x in measured.card(tables) if x.startswith(f"| `{part}` |")]
    assert len(lines) == 1
    return lines[0].removesuffix(" |").split(" | ")[2]


def test_a_card_is_named_and_its_best_update_found() -> None:
    tables = {"step_gpu": STEP}
    text = "\n".join(measured.card(tables))
    assert "A Card: 80 GB, driver 570.1, CUDA 13.2, cuDNN 91000, torch 2.15.0." in text
    assert line(tables, "step") == "41.0 %, 51,200 pictures a second: captured, width 128, batch 512"
    assert "| captured | 128, 512 | 10 (9 to 12) | 51,200 | 41.0 % | 31 |" in text
    assert "| compiled* | 40, 16 |" in text and "\\* compiled, 40, 16: it could not" in text
    assert "failed: OutOfMemoryError: no \\| room" in text
    assert line(tables, "text") == measured.NOT_YET


def test_a_target_is_reached_or_it_is_not() -> None:
    curve = [{"seconds": 100.0, "seen": 0.9, "held_out": 0.9}, {"seconds": 143.2, "seen": 0.996, "held_out": 0.971}]
    table = {"machine": CARD, "targets": TARGETS, "curve": curve, "reached": {"seen": 143.2, "all": 143.2}}
    table["end"] = {"n": 10000, "seen": 0.9951, "held_out": 0.9702}
    told = "after 143 s, compiling included; in the end seen 99.5 %, held out 97.0 %"
    assert line({"text_gpu": table}, "text") == told
    table = {**table, "curve": curve[:1], "reached": {}}
    del table["end"]
    assert line({"text_gpu": table}, "text") == "not reached in 100 s; then seen 90.0 %, held out 90.0 %"


def test_a_part_that_failed_says_so_beside_what_it_had() -> None:
    failed = {"machine": CARD, "error": "DataMissing: MNIST is not here"}
    assert line({"labels_gpu": failed}, "labels") == f"{measured.NOT_YET} (DataMissing: MNIST is not here)"
    late = {**STEP, "error": "stopped when its time was over"}
    assert line({"step_gpu": late}, "step").startswith("41.0 %") and "its time was over" in line(
        {"step_gpu": late}, "step"
    )
    models = {"machine": CARD, "rows": [{"name": "gan", "figure": "distance: 3.0"}, {"name": "cgan", "error": "no"}]}
    assert line({"checkpoints_gpu": models}, "checkpoints") == "gan: distance: 3.0"
    assert line({"checkpoints_gpu": {**models, "rows": models["rows"][1:]}}, "checkpoints") == measured.NOT_YET


def test_the_faster_of_ours_stands_beside_each_peer() -> None:
    def ours(best: float, shipped: float) -> dict[str, Any]:
        ratios = {"times the peer, at its best": best, "times the peer, as shipped": shipped}
        spread = {k: {"median": v, "least": v, "most": v} for k, v in ratios.items()}
        rate = {"images_a_second": {"median": 1.0, "least": 1.0, "most": 1.0}}
        return {**rate, "operations_an_image": 5_000_000, "share_of_ceiling": 0.1, **spread}

    rows = {"ours, readable": ours(1.0, 4.0), "ours, fast": ours(3.2, 11.0)}
    table = {"machine": CARD, "peers": {"df-gan": {"batch": 256, "rows": rows}}}
    assert line({"peers_gpu": table}, "peers") == "DF-GAN at its best 3.2 times, as shipped 11.0 times"
    parts = {"throughput, 1 thread": {**table, "machine": {"cpu": "A Processor", "threads": 1}}, "quality": {}}
    text = "\n".join(measured.page({"beside_peers_cpu": {"parts": parts}}))
    assert "### CPU: throughput, 1 thread" in text and "A Processor, 1 thread." in text
    assert "| **DF-GAN, batch 256** |" in text
    assert "| ours, readable | 1 (1 to 1) | 5 | 10.0 % | at its best 1; as shipped 4 |" in text
    assert "| ours, fast | 1 (1 to 1) | 5 | 10.0 % | at its best 3.2; as shipped 11 |" in text


def test_the_base_stands_among_the_sizes() -> None:
    def row(axis: str, size: float, ms: float) -> dict[str, Any]:
        memory = {"held_mb": 28.1, "peak_mb": 40.0, "mflop_a_picture": 385.6}
        spread = {"median": ms, "low": ms - 1, "high": ms + 1}
        return {"axis": axis, "size": size, "batch": 16, "ms": spread, "to_base": {"median": ms / 60}, **memory}

    table = {
        "machine": {"cpu": "A Processor", "threads": 2},
        "threads": 1,
        "what": "one update",
        "clock": "the processor's seconds",
        "memory": "tensors",
        "rounds": 7,
        "recipe": {"resolution": 32},
        "axes": {
            "batch": "a whole update; pictures in a batch",
            "things": "a whole update; things",
            "trunk": "D; side",
        },
        "left_out": ["number 3: out of memory"],
        "rows": [row("base", 1, 60.0), row("batch", 32, 90.0), row("batch", 8, 45.0), row("trunk", 16, 3.0)],
    }
    lines = measured.scaling(table)
    assert lines[0].startswith("A Processor, 1 thread. One update.")
    at = lines.index("| pictures in a batch | ms | times the base | M operations | MB | MB more |")
    assert [x.split(" | ")[0] for x in lines[at + 2 : at + 5]] == ["| 8", "| 16, the base", "| 32"]
    assert lines[at + 2] == "| 8 | 45 (44 to 46) | 0.75 | 386 | 28.1 | 40 |"
    assert not any("| things |" in x for x in lines) and any(x.startswith("| side |") for x in lines)
    assert lines[-1] == "\nLeft out: number 3: out of memory."
    assert_square("\n".join(lines))


def assert_square(text: str) -> None:
    """Every table of a page has as many cells in each row as in its head."""
    for block in re.findall(r"(?:^\|.*\n)+", text + "\n", re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}
        assert len(cells) == 1, block


def test_tables_are_square() -> None:
    assert_square("\n".join(measured.page({"step_gpu": STEP})))


def test_how_soon_how_good_is_told_for_ours_and_the_peer() -> None:
    reached = {"50%": {"ours": 12.4, "peer": 99.0}, "90%": {"ours": 24.1, "peer": None}}
    curves = {"ours": [{"seconds": 80.2, "seen": 0.986, "frechet": 30.9}]}
    text = {"seed": 0, "peers_best": 0.034, "seconds_to": reached, "curves": curves}
    digit = {
        "seed": 1,
        "peers_best": 125.4,
        "ours_at_peers_best": None,
        "peer_seconds_at_its_best": 230,
        "curves": curves,
    }
    part = {"machine": CARD, "seconds": 240.0, "slice": 12.0, "text": [text], "digits": [digit]}
    lines = measured.page({"beside_peers_cpu": {"parts": {"quality, 1 thread": part}}})
    assert "### CPU: quality, 1 thread" in lines
    assert "| seconds to 50% | 12 | 99 |" in lines and "| seconds to 90% | 24 | not within 240 s |" in lines
    assert any(line.endswith("seed 0: right at the end, at best | 98.6 % after 80 s | 3.4 % |") for line in lines)
    assert any(line.endswith("seed 1: Frechet distance at the end, at best | 31 after 80 s | 125 |") for line in lines)
    assert "| seconds to the peer's best | not within 240 s | 230 |" in lines
