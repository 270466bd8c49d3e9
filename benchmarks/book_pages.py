"""The book's own figures: python -m benchmarks.book_pages

Seconds that `make book` takes cold (nothing executed, exported or rendered yet) and warm; the megabytes of each live
page's models and runtime; how soon after opening the first picture stands there, and how soon after a new sentence, a
fill or a sound; accuracy of what a page draws for 60 captions, read from its pixels by the judge. Chromium, headless,
from a static server on the same machine. Writes results/book_pages.json.
"""

from __future__ import annotations

import base64
import io
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from playwright.sync_api import sync_playwright
from rendered_book import served
from test_widgets_browser import CHROMIUM, FLAGS

from mmcourse import metrics, runtime
from mmcourse.checkpoint import load
from mmcourse.course import book
from mmcourse.data import caption_set
from mmcourse.judge import Judge

NEEDS = {
    "text_to_image": ("text", "text2image"),
    "inpainting": ("text", "inpainting_text"),
    "sound_to_picture": ("mel", "hearing", "text2image"),
}
READY = {
    "text_to_image": ".live-large canvas[data-ms]",
    "inpainting": "#live [data-ms]",
    "sound_to_picture": "#live [data-ms]",
    "time_machine": '#live[data-state="ready"]',
}
OPENINGS, CAPTIONS = 5, 60


def rendering(root: Path) -> dict[str, float]:
    import shutil

    shutil.rmtree(root / "book" / "_build", ignore_errors=True)
    seconds = {}
    for kind in ("cold", "warm"):
        began = time.perf_counter()
        book.make_book(root, repository="")
        seconds[kind] = round(time.perf_counter() - began, 1)
        print(f"{kind}: {seconds[kind]} s", flush=True)
    return seconds


def opening(browser: Any, address: str, name: str) -> list[float]:
    """Seconds from opening a page to its first picture, each time with an empty cache."""
    took = []
    for _ in range(OPENINGS):
        context = browser.new_context()
        page = context.new_page()
        began = time.perf_counter()
        page.goto(f"{address}/live/{name}.html")
        page.wait_for_selector(READY[name])
        took.append(time.perf_counter() - began)
        context.close()
    return took


def drawing(page: Any, address: str) -> dict[str, Any]:
    """Milliseconds from a new sentence to its picture, and what the judge reads in the picture's pixels."""
    page.goto(f"{address}/live/text_to_image.html")
    page.wait_for_selector(READY["text_to_image"])
    exam = caption_set(CAPTIONS, split="train", seed=31)
    pictures, times = [], []
    for caption in exam.captions:
        page.get_by_label("Sentence", exact=True).fill(caption)
        page.locator("form button").click()
        page.wait_for_function("c => document.querySelector('.live-large canvas').dataset.prompt === c", arg=caption)
        canvas = page.locator(".live-large canvas")
        times.append(float(canvas.get_attribute("data-ms")))
        data = canvas.evaluate("c => c.toDataURL('image/png').split(',')[1]")
        rgb = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).copy()
        pictures.append(torch.from_numpy(rgb).permute(2, 0, 1).float() / 127.5 - 1)
        page.wait_for_timeout(120)
    right = metrics.right_pictures(load(Judge, "judge"), torch.stack(pictures), exam.statements)
    return {"ms": spread(times), "right": float(right.float().mean()), "n": CAPTIONS}


def answering(page: Any, address: str, name: str, buttons: list[str]) -> dict[str, float]:
    page.goto(f"{address}/live/{name}.html")
    page.wait_for_selector(READY[name])
    times = []
    for label in buttons:
        page.evaluate("document.querySelector('#live [data-ms]').dataset.ms = ''")
        page.get_by_role("button", name=label, exact=True).click()
        page.wait_for_function("document.querySelector('#live [data-ms]').dataset.ms !== ''")
        times.append(float(page.locator("#live [data-ms]").get_attribute("data-ms")))
    return spread(times)


def spread(values: list[float]) -> dict[str, float]:
    return {k: round(float(f(values)), 3) for k, f in (("median", statistics.median), ("low", min), ("high", max))}


def main() -> None:
    root = runtime.ROOT
    table: dict[str, Any] = {"make_book_seconds": rendering(root)}
    pages = root / "book" / "_build" / "html"
    runtime_bytes = sum(p.stat().st_size for p in (pages / "assets" / "vendor").iterdir() if p.name.startswith("ort"))
    table["megabytes"] = {
        name: round((runtime_bytes + sum((pages / f"assets/models/{m}.onnx").stat().st_size for m in models)) / 1e6, 2)
        for name, models in NEEDS.items()
    }
    with served(pages) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        table["chromium"] = browser.version
        table["first_picture_seconds"] = {name: spread(opening(browser, address, name)) for name in READY}
        page = browser.new_page()
        table["new_sentence"] = drawing(page, address)
        table["four_fills_ms"] = answering(page, address, "inpainting", ["Other noise"] * 12)
        sounds = [f"Sound {i + 1}" for i in range(8)]
        table["six_pictures_of_a_sound_ms"] = answering(page, address, "sound_to_picture", sounds)
        browser.close()
    print(table)
    about = {"what": "the book: making it, and its live pages", "command": "python -m benchmarks.book_pages"}
    runtime.write_results("book_pages", {**about, **table})


if __name__ == "__main__":
    main()
