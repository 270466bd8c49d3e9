"""The mask painter in a real JupyterLab, driven by a headless Chromium: mouse, touch, keys, a sentence, errors."""

from __future__ import annotations

import base64
import io
import json
import os
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_widgets_browser import CHROMIUM, lab, notebook, open_and_run, page  # noqa: F401

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

CELL = """
import base64, json, os
from pathlib import Path
import torch
from mmcourse import inpainting, plots, world
from mmcourse.painter import MaskPainter, guided_fill
from mmcourse.runtime import generator

torch.manual_seed(0)
G = inpainting.Inpainter(cond=64, width=16, mapping=32)
with torch.no_grad():
    for p in G.parameters():  # as made, noise and text still change nothing
        p.add_(0.1 * torch.randn_like(p))

def encode(captions):
    if "unicorn" in captions[0]:
        raise ValueError(f"This model does not know {captions[0]!r}.")
    return torch.nn.functional.normalize(torch.randn(1, 64, generator=generator(len(captions[0]))))

picture = world.draw(world.sample_scenes(1, generator(3)))[0]
painter = MaskPainter(guided_fill(G, encode), picture, text=True)

def note(change=None):
    seen = {
        "mask": painter.mask[0].int().tolist(), "message": painter.message, "prompt": painter.prompt,
        "png": base64.b64encode(painter.png).decode(), "picture": plots.to_bytes(picture[None])[0].tolist(),
        "answered": painter.widget.answered,
    }
    Path("FILE.part").write_text(json.dumps(seen))
    os.replace("FILE.part", "FILE")

painter.widget.observe(note)
note()
painter.show()
"""
SLOW = 60_000


def upload(lab: str, name: str, text: str) -> None:  # noqa: F811
    """Put a notebook into the folder of the JupyterLab that runs."""
    address = lab.format(name=name).replace("/lab/tree/", "/api/contents/").replace("&reset", "")
    body = json.dumps({"type": "notebook", "content": json.loads(text)}).encode()
    request = urllib.request.Request(address, data=body, method="PUT", headers={"Content-Type": "application/json"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=20):
        pass


class Seen:
    """What Python knows: the newest note of the cell."""

    def __init__(self, file: Path):
        self.file = file

    def __call__(self) -> dict[str, Any]:
        return dict(json.loads(self.file.read_text()))

    def mask(self) -> np.ndarray:
        return np.array(self()["mask"])

    def wait(self, test: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if self.file.exists() and test(self()):
                return self()
            time.sleep(0.05)
        raise AssertionError(f"{what}; the last note: {self()['message']}, hole of {self.mask().sum()} pixels")

    def wait_for_mask(self, wanted: np.ndarray) -> None:
        self.wait(lambda seen: np.array_equal(seen["mask"], wanted), f"no mask of {wanted.sum()} pixels came")


def near(ends: tuple[tuple[float, float], tuple[float, float]], size: float) -> np.ndarray:
    """The 32 x 32 pixels whose centre lies within half the brush of a line, by many points on it."""
    a, b = np.array(ends[0]), np.array(ends[1])
    points = a + np.linspace(0, 1, 2001)[:, None] * (b - a)
    rows, columns = np.mgrid[:32, :32] + 0.5
    distance = np.hypot(columns[..., None] - points[:, 0], rows[..., None] - points[:, 1]).min(-1)
    return (distance <= size / 2 + 1e-4).astype(int)


def image(source: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))))


@pytest.fixture
def seen(page, lab: str, tmp_path: Path) -> Seen:  # type: ignore[no-untyped-def]  # noqa: F811
    file = tmp_path / "seen.json"
    upload(lab, "painter.ipynb", notebook(CELL.replace("FILE", str(file))))
    open_and_run(page, lab, "painter.ipynb")
    page.locator(".mmcourse-painter canvas").wait_for(timeout=SLOW)
    page.locator(".mmcourse-painter").scroll_into_view_if_needed()
    return Seen(file)


def at(page, x: float, y: float) -> tuple[float, float]:  # type: ignore[no-untyped-def]  # noqa: F811
    """Where a point of the picture, in its pixels, is in the window."""
    box = page.locator(".mmcourse-painter canvas").bounding_box()
    return box["x"] + x * box["width"] / 32, box["y"] + y * box["height"] / 32


def drag(page, start: tuple[float, float], end: tuple[float, float]) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    page.mouse.move(*at(page, *end), steps=7)
    page.mouse.up()


def keep_screenshot(page, folder: Path, name: str) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    page.screenshot(path=folder / f"{name}.png")
    if os.environ.get("MMCOURSE_SCREENSHOTS"):
        page.screenshot(path=Path(os.environ["MMCOURSE_SCREENSHOTS"]) / f"{name}.png")


def test_paint_fill_undo_and_paint_by_keys(page, seen: Seen, tmp_path: Path):  # type: ignore[no-untyped-def]  # noqa: F811
    canvas, fills = page.locator(".mmcourse-painter canvas"), page.locator(".mmcourse-painter-fills img")
    status, alert = page.locator(".mmcourse-painter [role=status]"), page.locator(".mmcourse-painter [role=alert]")
    brush = page.get_by_label("Brush")
    assert status.inner_text() == "Paint a hole, then press Fill." and fills.count() == 0
    page.get_by_role("button", name="Fill", exact=True).click()
    alert.get_by_text("The hole is empty").wait_for()
    keep_screenshot(page, tmp_path, "painter-1-start")

    # a stroke with the mouse: the hole in Python is the one that was painted
    size = float(brush.input_value())
    first = near(((8.5, 10.5), (22.5, 17.5)), size)
    drag(page, (8.5, 10.5), (22.5, 17.5))
    seen.wait_for_mask(first)
    assert 40 < first.sum() < 400 and alert.inner_text() == ""

    # a fill: four pictures that differ, equal to Python's, with the known pixels as they were
    page.get_by_role("button", name="Fill", exact=True).click()
    status.get_by_text("4 fills without a sentence").wait_for()
    note = seen.wait(lambda note: note["answered"] == 2, "no fill came")
    shown = [image(fills.nth(i).get_attribute("src")) for i in range(4)]
    assert fills.nth(0).get_attribute("alt") == "Fill 1 of 4"
    mosaic, picture = image("," + note["png"]), np.array(note["picture"])
    for i, one in enumerate(shown):
        np.testing.assert_array_equal(one, mosaic[:, i * 34 : i * 34 + 32])
        np.testing.assert_array_equal(one[first == 0], picture[first == 0])
        assert (one[first == 1] != picture[first == 1]).any()
    assert len({one.tobytes() for one in shown}) == 4
    keep_screenshot(page, tmp_path, "painter-2-filled")

    # other noise: four other fills
    page.get_by_role("button", name="Other noise").click()
    status.get_by_text("noise 2").wait_for()
    others = [image(fills.nth(i).get_attribute("src")) for i in range(4)]
    assert len({one.tobytes() for one in shown + others}) == 8

    # a second stroke leaves the canvas and comes back: it is one stroke; undone by the keyboard
    drag(page, (25.5, 3.5), (40.5, 3.5))
    second = first | near(((25.5, 3.5), (40.5, 3.5)), size)
    seen.wait_for_mask(second)
    page.keyboard.press("Control+z")  # the canvas has the focus since it was painted on
    seen.wait_for_mask(first)
    status.get_by_text("undone").wait_for()
    page.keyboard.press("Backspace")
    seen.wait_for_mask(np.zeros((32, 32), int))
    page.keyboard.press("Backspace")
    status.get_by_text("nothing to undo").wait_for()

    # painting by keyboard alone: the brush to a corner, then a line; Space held paints on
    brush.focus()
    for _ in range(int(size) - 3):
        page.keyboard.press("ArrowLeft")
    assert brush.input_value() == "3"
    page.keyboard.press("Shift+Tab")
    assert canvas.evaluate("canvas => canvas === document.activeElement")
    for _ in range(12):
        page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("Shift+ArrowUp")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    dot = near(((4.5, 4.5), (4.5, 4.5)), 3)
    seen.wait_for_mask(dot)
    assert dot.sum() == 9 and "Brush at column 5, row 5" in page.locator(".mmcourse-painter-readout").inner_text()
    page.keyboard.down(" ")
    for _ in range(10):
        page.keyboard.press("ArrowDown")
    page.keyboard.up(" ")
    line = near(((4.5, 4.5), (4.5, 14.5)), 3)
    seen.wait_for_mask(line)
    page.keyboard.press("Enter")
    status.get_by_text(f"{line.sum()} pixels of hole").wait_for()
    keep_screenshot(page, tmp_path, "painter-3-keys")
    page.get_by_role("button", name="Clear").click()
    seen.wait_for_mask(np.zeros((32, 32), int))
    page.get_by_role("button", name="Undo").click()
    seen.wait_for_mask(line)
    assert page.locator(".jp-CodeCell").count() == 1


def test_sentences_errors_tab_order_and_touch(page, seen: Seen, tmp_path: Path):  # type: ignore[no-untyped-def]  # noqa: F811
    canvas, fills = page.locator(".mmcourse-painter canvas"), page.locator(".mmcourse-painter-fills img")
    status, alert = page.locator(".mmcourse-painter [role=status]"), page.locator(".mmcourse-painter [role=alert]")
    field, size = page.get_by_label("Sentence"), float(page.get_by_label("Brush").input_value())

    # a finger paints and does not scroll the notebook
    scrolled = "() => document.querySelector('.jp-WindowedPanel-outer, .jp-Notebook').scrollTop"
    before, touch = page.evaluate(scrolled), page.context.new_cdp_session(page)
    for kind, y in [("touchStart", 24.5), *[("touchMove", y) for y in (22.5, 18.5, 14.5, 10.5)], ("touchEnd", None)]:
        points = [] if y is None else [dict(zip("xy", at(page, 16.5, y), strict=True))]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    hole = near(((16.5, 24.5), (16.5, 10.5)), size)
    seen.wait_for_mask(hole)
    assert page.evaluate(scrolled) == before
    assert canvas.evaluate("canvas => getComputedStyle(canvas).touchAction") == "none"

    # a sentence, Enter: the text reaches the model; keys of JupyterLab (d d, a, x) are letters here
    field.fill("")
    field.type("add a red disc, x")
    field.press("Enter")
    status.get_by_text("4 fills for “add a red disc, x”").wait_for()
    assert fills.nth(3).get_attribute("alt") == "Fill 4 of 4 for: add a red disc, x"
    kept = [fills.nth(i).get_attribute("src") for i in range(4)]
    field.fill("")
    field.press("Enter")
    status.get_by_text("4 fills without a sentence").wait_for()
    silent = [fills.nth(i).get_attribute("src") for i in range(4)]
    assert kept != silent

    # an unknown word is explained as text; the fills, the hole and the sentence stay
    field.fill("a <b>unicorn</b>")
    field.press("Enter")
    alert.get_by_text("does not know").wait_for()
    assert alert.locator("b").count() == 0 and "<b>unicorn</b>" in alert.inner_text() and status.inner_text() == ""
    assert [fills.nth(i).get_attribute("src") for i in range(4)] == silent
    assert np.array_equal(seen.mask(), hole) and field.input_value() == "a <b>unicorn</b>"
    keep_screenshot(page, tmp_path, "painter-4-error")

    # all controls by Tab, in this order
    canvas.focus()
    order, focused = [], "() => document.activeElement.id.split('-').pop() || document.activeElement.innerText"
    for _ in range(6):
        page.keyboard.press("Tab")
        order.append(page.evaluate(focused))
    assert order == ["brush", "Undo", "Clear", "prompt", "Fill", "Other noise"]
    page.keyboard.press("d")
    page.keyboard.press("d")
    page.keyboard.press("Enter")  # on "Other noise"
    alert.get_by_text("does not know").wait_for()
    assert page.locator(".jp-CodeCell").count() == 1


def test_what_is_painted_while_a_cell_runs_is_not_lost(page, lab: str, tmp_path: Path):  # type: ignore[no-untyped-def]  # noqa: F811
    seen = Seen(tmp_path / "seen.json")
    begun, go = tmp_path / "begun", tmp_path / "go"  # the cell is busy until the test says so, however slow the machine
    busy = f"import time\nfrom pathlib import Path\nPath({str(begun)!r}).touch()\n"
    busy += f"while not Path({str(go)!r}).exists():\n    time.sleep(0.05)"
    upload(lab, "busy.ipynb", notebook(CELL.replace("FILE", str(seen.file)), busy))
    open_and_run(page, lab, "busy.ipynb")
    page.locator(".mmcourse-painter canvas").wait_for(timeout=SLOW)
    page.locator(".mmcourse-painter").scroll_into_view_if_needed()
    until = time.monotonic() + 60
    while not begun.exists():
        assert time.monotonic() < until, "the second cell never ran"
        page.wait_for_timeout(50)
    size, status = float(page.get_by_label("Brush").input_value()), page.locator(".mmcourse-painter [role=status]")

    lines = [((4.5, y), (27.5, y)) for y in (4.5, 12.5, 20.5, 28.5)]
    for line in lines:
        drag(page, *line)
    page.keyboard.press("Control+z")  # the last one
    page.keyboard.press("Enter")
    assert status.inner_text() == "Filling." and seen.mask().sum() == 0
    status.get_by_text("Where another cell runs, the painter waits").wait_for()
    go.touch()
    wanted = sum(near(line, size) for line in lines[:3])
    status.get_by_text(f"{wanted.sum()} pixels of hole, noise 1").wait_for()
    seen.wait_for_mask(wanted)
    for line in (lines[0], lines[0]):  # nor does a stroke that changes nothing become one
        drag(page, *line)
    page.get_by_role("button", name="Undo").click()
    seen.wait_for_mask(sum(near(line, size) for line in lines[:2]))
    keep_screenshot(page, tmp_path, "painter-5-busy")
