"""Minutes of lessons by profile: python -m benchmarks.lessons quick cpu [LESSON ...], by default every lesson."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from mmcourse import runtime
from mmcourse.course.execute import cell_times, execute_lesson


def main(profiles: list[str], names: list[str]) -> None:
    lessons = [runtime.ROOT / "notebooks" / f"{name}.ipynb" for name in names]
    try:
        table: dict[str, Any] = runtime.results("lessons")["lessons"]
    except ValueError:
        table = {}
    here = runtime.machine()
    for lesson in lessons:
        for profile in profiles:
            began = time.perf_counter()
            executed = execute_lesson(
                lesson, Path("out") / "lessons" / f"{lesson.stem}.{profile}.ipynb", profile=profile
            )
            minutes = (time.perf_counter() - began) / 60
            slowest = max(cell_times(executed), key=lambda pair: pair[1])
            row = {"minutes": round(minutes, 2), "cpu": here["cpu"], "cores": here["cores"]}
            table.setdefault(lesson.stem, {})[profile] = row | (
                {"gpu": here["gpu"]} if profile == "gpu" and "gpu" in here else {}
            )
            print(
                f"{lesson.stem} {profile}: {minutes:.2f} min, slowest cell {slowest[0]} {slowest[1]:.0f} s", flush=True
            )
            runtime.write_results("lessons", {"what": "wall-clock minutes of executing a lesson", "lessons": table})


if __name__ == "__main__":
    every = sorted(path.stem for path in (runtime.ROOT / "notebooks").glob("*.ipynb"))
    chosen = [word for word in sys.argv[1:] if word in runtime.PROFILES]
    wanted = [word for word in sys.argv[1:] if word not in runtime.PROFILES]
    if not chosen or not set(wanted) <= set(every):
        sys.exit(f"usage: python -m benchmarks.lessons quick|cpu|gpu ... [{' | '.join(every)}]")
    main(chosen, wanted or every)
