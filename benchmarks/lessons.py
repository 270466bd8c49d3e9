"""Minutes of every lesson by profile: python -m benchmarks.lessons quick cpu"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from mmcourse import runtime
from mmcourse.course.execute import cell_times, execute_lesson


def main(profiles: list[str]) -> None:
    try:
        table: dict[str, Any] = runtime.results("lessons")["lessons"]
    except ValueError:
        table = {}
    here = runtime.machine()
    for lesson in sorted((runtime.ROOT / "notebooks").glob("*.ipynb")):
        for profile in profiles:
            blank = {"minutes": 0.0, "cpu": here["cpu"], "cores": here["cores"]}
            table.setdefault(lesson.stem, {}).setdefault(profile, blank)
    runtime.write_results("lessons", {"what": "wall-clock minutes of executing a lesson", "lessons": table})
    for lesson in sorted((runtime.ROOT / "notebooks").glob("*.ipynb")):
        for profile in profiles:
            began = time.perf_counter()
            executed = execute_lesson(
                lesson, Path("out") / "lessons" / f"{lesson.stem}.{profile}.ipynb", profile=profile
            )
            minutes = (time.perf_counter() - began) / 60
            slowest = max(cell_times(executed), key=lambda pair: pair[1])
            row = {"minutes": round(minutes, 2), "cpu": here["cpu"], "cores": here["cores"]}
            table[lesson.stem][profile] = row | ({"gpu": here["gpu"]} if profile == "gpu" and "gpu" in here else {})
            print(
                f"{lesson.stem} {profile}: {minutes:.2f} min, slowest cell {slowest[0]} {slowest[1]:.0f} s", flush=True
            )
            runtime.write_results("lessons", {"what": "wall-clock minutes of executing a lesson", "lessons": table})


if __name__ == "__main__":
    if not sys.argv[1:] or not set(sys.argv[1:]) <= set(runtime.PROFILES):
        sys.exit("usage: python -m benchmarks.lessons quick|cpu|gpu ...")
    main(sys.argv[1:])
