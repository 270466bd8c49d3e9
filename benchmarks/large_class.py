"""A class of 1,000, graded once in peace and once with three kills: python -m benchmarks.large_class [STUDENTS]

Both runs use the same secret. The second is killed with SIGKILL at three points and started again each time. The table
holds whether both gradebooks are the same bytes, and the highest resident memory of the parent process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.grading import load_corpus
from mmcourse import runtime


def make_class(folder: Path, students: int) -> None:
    """Small notebooks of three items, every mixture of right and wrong, no two files alike; one prints without end."""
    corpus = load_corpus()
    folder.mkdir(parents=True)
    for i in range(students):
        answers = {k: (corpus.RIGHT if (i >> b) & 1 else corpus.WRONG)[k] for b, k in enumerate(corpus.POINTS)}
        answers["mean"] += f"\n# {i}"
        (folder / f"s{i:04d}.ipynb").write_bytes(corpus.dumps(corpus.student_notebook(answers)))
    flood = corpus.with_answer("shift", corpus._FLOOD)
    (folder / f"s{students // 2:04d}.ipynb").write_bytes(corpus.dumps(flood))


def run_until(words: list[str], folder: Path, results: Path, stop: int | None) -> tuple[float, bool]:
    """Run a command, and kill it as soon as there are ``stop`` results. Returns the parent's highest resident memory
    in bytes, and whether it was killed. Raises ``RuntimeError`` where the command fails by itself."""
    environment = {**os.environ, "PYTHONPATH": str(runtime.ROOT), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=said, stderr=said, start_new_session=True)
        parent, highest = psutil.Process(process.pid), 0.0
        while process.poll() is None:
            try:
                highest = max(highest, parent.memory_info().rss)
            except psutil.Error:
                break
            if stop is not None and len(list(results.glob("*.json"))) >= stop:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                return highest, True
            time.sleep(0.1)
        if process.wait() != 0:
            said.seek(0)
            raise RuntimeError(f"{' '.join(words)}: exit {process.returncode}: {said.read()[-2000:]}")
    return highest, False


def measure(students: int, base: Path) -> dict[str, Any]:
    """Grade one class twice below ``base``; see the module's docstring."""
    corpus = load_corpus()
    root = corpus.make_assignment(base / "course")
    make_class(base / "class", students)
    (base / "secret").write_bytes(b"s" * 32)
    stops: dict[str, list[int | None]] = {
        "whole": [None],
        "killed": [students * 15 // 100, students * 40 // 100, students * 80 // 100, None],
    }
    peaks, kills, seconds = [], 0, {}
    for name, points in stops.items():
        out, began = base / name, time.perf_counter()
        words = [sys.executable, "-m", "mmcourse.course.cli", "grade", str(base / "class")]
        words += ["--assignment", corpus.ASSIGNMENT, "--out", str(out), "--jobs", "2"]
        words += ["--seed-file", str(base / "secret")]
        for stop in points:
            peak, killed = run_until(words, root, out / "results", stop)
            peaks.append(peak)
            kills += killed
        seconds[name] = round(time.perf_counter() - began, 1)
    books = [(base / name / "gradebook.csv").read_bytes() for name in stops]
    found = [len(list((base / name / "results").glob("*.json"))) for name in stops]
    return {
        "students": students,
        "kills": kills,
        "results": found,
        "same_gradebook": books[0] == books[1],
        "rows": books[0].count(b"\n") - 1,
        "parent_highest_mb": round(max(peaks) / 1e6, 1),
        "seconds": seconds,
    }


def main(students: int) -> None:
    with tempfile.TemporaryDirectory(prefix="mmcourse-class-") as base:
        table = measure(students, Path(base))
    print(json.dumps(table, indent=1))
    command = f"python -m benchmarks.large_class {students}"
    what = "one class graded in peace, and once more with three kills and three restarts"
    print("wrote", runtime.write_results("grading_large_class", {"what": what, "command": command, **table}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 1000)
