"""The house's floors: a module imports only from lower floors; nothing that trains may see the judge."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

FLOORS = {
    0: ["checks", "runtime", "text", "ranks"],
    1: ["layers", "losses", "masks", "audio", "world", "subwords", "augment", "watermark", "keep"],
    2: ["data", "sounds", "speech", "pictures", "classical", "emojis", "folders", "train"],
    3: [
        "encoders",
        "ring",
        "gan",
        "cgan",
        "image2image",
        "text2image",
        "inpainting",
        "hearing",
        "judge",
        "features",
        "finder",
        "fast",
    ],
    4: ["metrics", "distances", "checkpoint", "plots", "captioned"],
    5: [
        "widgets",
        "plots_ring",
        "plots_losses",
        "plots_measures",
        "plots_sounds",
        "plots_pairs",
        "export",
        "retrieval",
        "own_data",
        "course.runs",
    ],
    6: [
        "clinic",
        "painter",
        "listener",
        "course.exercise",
        "course.build",
        "course.execute",
        "course.shipped",
        "course.doctor",
        "course.sandbox",
        "course.training_pairs",
    ],
    7: [
        "course.training",
        "course.demo",
        "course.release",
        "course.engine",
        "course.submission",
        "course.repair",
        "course.live",
        "course.measured",
    ],
    8: ["course.report", "course.book", "course.training_all"],
    9: ["course.grade"],
    10: ["course.cli"],
}
LESSONS = set(range(15))  # written or planned
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}
TRAINING = [
    "train",
    "data",
    "encoders",
    "text2image",
    "losses",
    "layers",
    "fast",
    "ring",
    "pictures",
    "gan",
    "cgan",
    "image2image",
    "inpainting",
    "masks",
    "classical",
    "audio",
    "sounds",
    "speech",
    "hearing",
    "emojis",
    "folders",
    "subwords",
    "augment",
    "captioned",
]


def modules() -> dict[str, Path]:
    package = ROOT / "mmcourse"
    found = {p.relative_to(package).with_suffix("").as_posix().replace("/", "."): p for p in package.rglob("*.py")}
    return {name: path for name, path in found.items() if not name.endswith("__init__")}


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, module) for everything of mmcourse that a file imports, also inside functions."""
    out = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            out += [
                (node.lineno, a.name.removeprefix("mmcourse.")) for a in node.names if a.name.startswith("mmcourse.")
            ]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mmcourse":
            base = (node.module or "").removeprefix("mmcourse").removeprefix(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".removeprefix(".")
                out.append((node.lineno, full if full in FLOOR else base))
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
    return [(line, name) for line, name in out if name]


def test_every_module_has_a_floor() -> None:
    assert sorted(set(modules()) - set(FLOOR)) == []


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_go_down(name: str) -> None:
    wrong = [
        f"{modules()[name]}:{line} imports {other} (floor {FLOOR.get(other)}) from floor {FLOOR[name]}"
        for line, other in imports(modules()[name])
        if FLOOR.get(other, 99) >= FLOOR[name]
    ]
    assert wrong == []


def test_the_test_sees_an_upward_import(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from mmcourse import judge\n    from mmcourse.course import cli\n")
    assert imports(bad) == [(2, "judge"), (3, "course.cli")]


@pytest.mark.parametrize("measure", ["judge", "features", "finder"])
def test_no_training_module_imports_what_measures(measure: str) -> None:
    seen = {name: [other for _, other in imports(path)] for name, path in modules().items()}

    def reach(name: str) -> set[str]:
        return set(seen.get(name, [])) | {deep for other in seen.get(name, []) for deep in reach(other)}

    assert [name for name in TRAINING if name in seen and measure in reach(name)] == []


def test_every_library_module_names_a_lesson_that_exists_or_is_planned() -> None:
    """Each docstring names its lesson, and names no lesson that the course does not have."""
    assert {int(p.name[:2]) for p in (ROOT / "notebooks" / "source").glob("*.py")} <= LESSONS
    for name, path in modules().items():
        if FLOOR[name] >= 6 or name in ("checks", "runtime"):
            continue
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        numbers = {int(n) for n in re.findall(r"lessons? (\d\d)", doc)}
        assert numbers, f"{name}: its docstring names no lesson"
        assert numbers <= LESSONS, f"{name}: names lessons that nobody writes: {numbers - LESSONS}"


@pytest.mark.parametrize(
    ("code", "limit"), [("import mmcourse", 0.05), ("from mmcourse.course import cli; cli._parser()", 0.5)]
)
def test_cheap_imports(code: str, limit: float) -> None:
    probe = f"import sys, time; t = time.perf_counter(); exec({code!r})"
    probe += "; print(time.perf_counter() - t, 'torch' in sys.modules)"
    best = 9.0
    for _ in range(3):
        seconds, torch_came = subprocess.run(
            [sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout.split()
        assert torch_came == "False"
        best = min(best, float(seconds))
    assert best < limit


def test_help_answers_at_once() -> None:
    best = 9.0
    for _ in range(3):
        began = time.perf_counter()
        out = subprocess.run(
            [sys.executable, "-m", "mmcourse.course.cli", "--help"], capture_output=True, text=True, cwd=ROOT
        )
        best = min(best, time.perf_counter() - began)
        assert out.returncode == 0 and "generate" in out.stdout
    assert best < 0.5
