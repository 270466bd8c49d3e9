"""Every lesson runs in the quick profile, and the demo does its job."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from rendered_book import LESSONS, executed


@pytest.mark.lesson
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda p: p.stem)
def test_lesson_runs(lesson: Path) -> None:
    """It runs, or ran already with these very cells, modules, tables and models: the book shows the same run."""
    import nbformat

    nb = nbformat.read(executed(lesson), as_version=4)
    pictures = [o for c in nb.cells if c.cell_type == "code" for o in c.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) >= 4, "a lesson without figures"
    text = json.dumps(nb)
    assert "Traceback" not in text and "Warning" not in text


@pytest.mark.lesson
def test_demo(tmp_path: Path) -> None:
    from PIL import Image

    from mmcourse.course.demo import run_demo

    lines: list[str] = []
    last = run_demo(tmp_path / "demo", lesson=False, say=lines.append)
    pattern = (
        r"demo: all attributes right on (\d+\.\d) % of 500 seen and (\d+\.\d) % of 500 held-out captions; see .*/demo/"
    )
    found = re.fullmatch(pattern, last)
    assert found, last
    table = json.loads((tmp_path / "demo" / "accuracy.json").read_text())
    assert float(found[1]) == pytest.approx(100 * table["seen"]["model"]["all"], abs=0.05)
    assert float(found[2]) == pytest.approx(100 * table["held_out"]["model"]["all"], abs=0.05)
    assert Image.open(tmp_path / "demo" / "sheet.png").width > 400
    assert Image.open(tmp_path / "demo" / "emoji.png").width > 400
    assert not list((tmp_path / "demo").glob("*.tmp"))
