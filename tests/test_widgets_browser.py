"""The prompt box and the live panel in a real JupyterLab, driven by a headless Chromium."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright_sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

ROOT = Path(__file__).resolve().parent.parent
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BOX_CELL = """
import torch
from mmcourse import widgets, world
from mmcourse.runtime import generator

def generate(prompt, z):
    statements = world.statements([prompt] * len(z))
    g = generator(int(z.sum().item() * 1000) % 10000)
    return world.draw(world.place(world.imagine(statements, g), g))

box = widgets.PromptBox(generate, prompt="a small red circle")
box.show()
"""
PANEL_CELL = """
import math, time
from types import SimpleNamespace

STEPS = 300

def play(steps):
    for i in range(1, steps + 1):
        time.sleep(0.02)
        losses = {"d": 1 + math.exp(-i / 50), "g": 1 + math.sin(i / 20), "penalty": 0.3 * (i % 8 == 1), "extra": 0.0}
        yield SimpleNamespace(number=i, seconds=0.02 * i, losses=losses, state=i)

def samples(state):
    return world.draw(world.sample_scenes(16, generator(state)))

def measure(state):
    return {"share right": 1 - math.exp(-state / 150)}

panel = widgets.LivePanel(STEPS, samples=samples, measure=measure, title="demo")
for step in panel(play(STEPS)):
    pass
"""


def notebook(*cells: str) -> str:
    empty = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    made = [{**empty, "id": f"c{i}", "source": cell.strip()} for i, cell in enumerate(cells)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A JupyterLab of our own on a free port, with two notebooks; gives its address with the token."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "box.ipynb").write_text(notebook(BOX_CELL))
    (folder / "panel.ipynb").write_text(notebook(BOX_CELL, PANEL_CELL))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    token = secrets.token_hex(16)
    settings = folder / "settings"
    notices = settings / "lab" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    notices.parent.mkdir(parents=True)
    notices.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    env = os.environ | {
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "JUPYTER_CONFIG_DIR": str(settings / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(settings / "lab"), "JUPYTERLAB_WORKSPACES_DIR": str(settings / "workspaces"),
        "IPYTHONDIR": str(settings / "ipython"), "MMCOURSE_UNDER_PAPERMILL": "0",
    }  # fmt: skip
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}", "--ServerApp.port_retries=0"]
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/api?token={token}", server)
            yield f"http://127.0.0.1:{port}/lab/tree/{{name}}?token={token}&reset"
        finally:
            server.terminate()
            server.wait(20)


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + 40
    while time.monotonic() < until:
        assert server.poll() is None, "JupyterLab ended at once"
        try:
            with direct.open(address, timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError("JupyterLab did not answer within 40 seconds")


@pytest.fixture(scope="module")
def page(lab: str):  # type: ignore[no-untyped-def]
    with playwright_sync.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        shown = browser.new_page(viewport={"width": 1150, "height": 900})
        shown.set_default_timeout(30_000)
        yield shown
        browser.close()


def open_and_run(page, lab: str, name: str) -> None:  # type: ignore[no-untyped-def]
    page.goto(lab.format(name=name))
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def picture(page) -> str:  # type: ignore[no-untyped-def]
    return page.locator("img[alt^='4 pictures']").get_attribute("src")


def wait_until_changed(page, old: str) -> None:  # type: ignore[no-untyped-def]
    page.wait_for_function("old => document.querySelector(`img[alt^='4 pictures']`)?.src !== old", arg=old)


def snapshot(page, name: str) -> None:  # type: ignore[no-untyped-def]
    """Keep a screenshot where MMCOURSE_SCREENSHOTS names a folder."""
    if os.environ.get("MMCOURSE_SCREENSHOTS"):
        page.screenshot(path=Path(os.environ["MMCOURSE_SCREENSHOTS"]) / f"{name}.png")


def test_prompt_box_draws_while_no_cell_runs(page, lab):
    open_and_run(page, lab, "box.ipynb")
    page.locator("img[alt^='4 pictures']").wait_for()
    snapshot(page, "box-1-start")
    first = picture(page)

    field = page.get_by_label("Prompt")
    field.fill("a large blue star")
    field.press("Enter")
    wait_until_changed(page, first)
    page.get_by_role("status").get_by_text("a large blue star").wait_for()

    second = picture(page)
    page.get_by_role("button", name="红色的圆形").click()
    wait_until_changed(page, second)
    assert field.input_value() == "红色的圆形"
    snapshot(page, "box-2-chinese")

    third = picture(page)
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    wait_until_changed(page, third)
    fourth = picture(page)
    page.get_by_role("button", name="New noise").click()
    wait_until_changed(page, fourth)

    kept = picture(page)
    field.fill("<img src=x onerror=alert(1)> <b>circle</b> $x^2$")
    field.press("Enter")
    alert = page.get_by_role("alert").filter(has_text="Not drawn")
    alert.wait_for()
    snapshot(page, "box-3-error")
    assert alert.locator("img, b").count() == 0, "the prompt came back as HTML"
    assert "<b>circle</b>" in alert.inner_text()
    assert picture(page) == kept

    field.fill("")
    field.press("Enter")
    page.get_by_role("alert").get_by_text("The prompt is empty").wait_for()


def test_live_panel_redraws_in_place_and_ends(page, lab):
    open_and_run(page, lab, "panel.ipynb")
    figure = page.locator(".jp-CodeCell").nth(1).locator(".jp-OutputArea-output img")
    figure.first.wait_for()
    snapshot(page, "panel-1-running")
    early = figure.get_attribute("src")
    page.get_by_text("finished at step").wait_for()
    page.wait_for_timeout(500)  # the last picture may still take the place of the one before
    figure.first.evaluate("image => image.scrollIntoView()")
    snapshot(page, "panel-2-finished")
    assert figure.count() == 1, "the figure was added again and not redrawn in place"
    assert figure.get_attribute("src") != early
