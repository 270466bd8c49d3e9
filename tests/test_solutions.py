"""The solutions run under nbval, and every check in them is right."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

SOLUTIONS = sorted((ROOT / "exercises" / "solutions").glob("*.ipynb"))


def nbval(notebook: Path) -> subprocess.CompletedProcess[str]:
    """Run one notebook. With this variable a check that is not right raises; see ``exercise.checks``."""
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=120", "-p", "no:cacheprovider", "-q"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, notebook.name],
        cwd=notebook.parent,
        env={**os.environ, "NBGRADER_EXECUTION": "validate", "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_there_is_a_solution_for_every_assignment() -> None:
    sources = sorted(p.stem for p in (ROOT / "exercises" / "source").glob("*.py"))
    assert sources and [p.stem for p in SOLUTIONS] == sources


@pytest.mark.parametrize("solution", SOLUTIONS, ids=lambda p: p.stem)
def test_solution_runs_and_every_check_is_right(solution: Path, tmp_path: Path) -> None:
    for file in (solution, solution.with_suffix(".checks.json")):
        shutil.copy(file, tmp_path)
    done = nbval(tmp_path / solution.name)
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_wrong_solution_does_not_pass(tmp_path: Path) -> None:
    solution = ROOT / "exercises" / "solutions" / "09_text2image.ipynb"
    shutil.copy(solution.with_suffix(".checks.json"), tmp_path)
    text = solution.read_text(encoding="utf-8")
    wrong = text.replace("h * (1 + scale", "h * (scale")
    assert wrong != text
    (tmp_path / solution.name).write_text(wrong, encoding="utf-8")
    done = nbval(tmp_path / solution.name)
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout[-3000:]
