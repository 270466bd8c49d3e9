"""`mmcourse demo`: sheets of prompts and emojis, caption accuracy on fresh captions, and a lesson executed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

PROMPTS = (
    "a small red circle",
    "a large blue star at the top",
    "一个大的绿色的三角形",
    "a green square left of a large purple ring",
    "红色的十字在黄色的正方形上面",
    "a yellow circle below a black triangle",  # a held-out composition: no training shows a yellow circle
)
EMOJI = (
    "rainbow",
    "octopus",
    "woman firefighter: dark skin tone",
    "红色圆",
    "man cook: medium-light skin tone",  # held out: no training shows this man, tone and occupation together
    "woman astronaut: medium-dark skin tone",  # held out too
)
SHEET_SEED, MEASURE_SEED, N = 3, 2026, 500


def run_demo(out: Path, *, lesson: bool = True, say: Callable[[str], None] = print) -> str:
    """Write the sheet, the measured figures and the executed lesson under ``out``; returns the closing line.

    Raises ``CheckpointError`` where a shipped model is missing or altered, ``LessonError`` where the lesson fails.
    """
    import torch

    from mmcourse import metrics, plots
    from mmcourse.checkpoint import load
    from mmcourse.course.shipped import load_painter
    from mmcourse.data import caption_set
    from mmcourse.judge import Judge

    out.mkdir(parents=True, exist_ok=True)
    painter, judge = load_painter(), load(Judge, "judge")

    began, columns = time.perf_counter(), 6
    asked = [p for p in PROMPTS for _ in range(columns)]
    pictures = painter.draw(asked, torch.Generator().manual_seed(SHEET_SEED))
    from mmcourse import world

    right = metrics.right_pictures(judge, pictures, world.statements(asked)).view(len(PROMPTS), columns)
    sheet = pictures.view(len(PROMPTS), columns, *pictures.shape[1:])
    plots.caption_sheet(sheet, list(PROMPTS), marks=right, path=out / "sheet.png")
    say(f"drew {len(asked)} pictures for {len(PROMPTS)} prompts: {out / 'sheet.png'}")

    sets = {
        "seen": caption_set(N, split="train", seed=MEASURE_SEED),
        "held_out": caption_set(N, split="held_out", seed=MEASURE_SEED),
    }
    table = metrics.measure_text2image(painter.draw, judge, sets, seed=MEASURE_SEED, blank=painter.draw_blank)
    temporary = out / "accuracy.json.tmp"
    temporary.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    temporary.replace(out / "accuracy.json")
    for name, row in table.items():
        parts = [f"{kind} {100 * row[kind]['all']:.1f} %" for kind in ("model", "no_text", "ceiling", "chance")]
        say(f"{name.replace('_', '-')} captions: {', '.join(parts)}")
    say(f"measured {2 * N} captions with the independent judge in {time.perf_counter() - began:.1f} s")

    _draw_emoji(out, columns, say)
    if lesson:
        _run_lesson(out, say)
    seen, held = (100 * table[k]["model"]["all"] for k in ("seen", "held_out"))
    where = f"{out.as_posix().rstrip('/')}/"
    return (
        f"demo: all attributes right on {seen:.1f} % of {N} seen and {held:.1f} % of {N} held-out captions; see {where}"
    )


def _draw_emoji(out: Path, columns: int, say: Callable[[str], None]) -> None:
    """A sheet of emojis from their names; no font is needed to draw them."""
    import torch

    from mmcourse import plots
    from mmcourse.captioned import PairPainter, PairSpace
    from mmcourse.checkpoint import load
    from mmcourse.text2image import Generator

    painter = PairPainter(load(PairSpace, "emoji_space"), load(Generator, "emoji"))
    asked = [name for name in EMOJI for _ in range(columns)]
    drawn = painter.draw(asked, torch.Generator().manual_seed(SHEET_SEED)).clamp(-1, 1)
    plots.caption_sheet(drawn.view(len(EMOJI), columns, *drawn.shape[1:]), list(EMOJI), path=out / "emoji.png")
    say(f"drew emojis for {len(EMOJI)} names, two of them never seen: {out / 'emoji.png'}")


def _run_lesson(out: Path, say: Callable[[str], None]) -> None:
    from mmcourse.course.execute import execute_lesson, to_html
    from mmcourse.runtime import find_root

    root = find_root()
    if root is None:
        say("the lesson was not run: the notebooks come with the repository, and this is an installed package alone")
        return
    executed = execute_lesson(root / "notebooks" / "09_text2image.ipynb", out / "09_text2image.ipynb", profile="quick")
    page = to_html(executed, out / "09_text2image.html")
    say(f"executed the lesson: {executed} and {page}")
