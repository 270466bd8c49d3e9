"""ruff, mypy and the notebooks' check are part of the tests."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.parametrize(
    "words",
    [["ruff", "check", "."], ["ruff", "format", "--check", "mmcourse", "tests", "scripts", "benchmarks"], ["mypy"]],
)
def test_clean(words: list[str]) -> None:
    out = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 0, out.stdout[-3000:] + out.stderr[-1000:]


def test_the_readme_quotes_what_was_measured() -> None:
    out = subprocess.run(
        [sys.executable, "scripts/readme_figures.py", "--check"], capture_output=True, text=True, cwd=ROOT
    )
    assert out.returncode == 0, out.stdout + out.stderr


def test_no_large_files_and_no_outputs_are_committed() -> None:
    names = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if names.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / n for n in names.stdout.splitlines() if (ROOT / n).is_file()]
    assert [p.name for p in files if p.stat().st_size > 12_000_000] == []
