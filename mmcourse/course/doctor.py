"""`mmcourse doctor`: what this machine can do, and what to do about what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from mmcourse import runtime

SHIPPED = ("judge", "space", "text2image", "inpainting", "inpainting_photographs", "inpainting_text")


def report(no_sandbox: str | None) -> tuple[list[str], bool]:
    """Lines to print, and whether everything that the lessons need is there.

    no_sandbox:  why no sandbox can be built here, as ``sandbox.why_not`` says; None where it can.

    A missing option (a browser, bubblewrap, a GPU) is told with its cure and does not count as ill.
    """
    lines = [f"python      {platform.python_version()} ({sys.executable})"]
    healthy = True
    try:
        import torch
    except ImportError as error:
        return [*lines, f"torch       MISSING ({error}). Run: make install"], False
    lines.append(f"torch       {torch.__version__}, {torch.get_num_threads()} threads on {runtime.cpu_name()}")
    try:
        import torchvision

        lines.append(f"torchvision {torchvision.__version__}")
    except Exception as error:  # an unequal pair of builds fails in many ways
        healthy = False
        lines.append(f"torchvision BROKEN ({error}). torch and torchvision do not belong together. Run: make install")
    lines.append(_device())
    lines.append(f"profile     auto means {runtime.pick_profile('auto')} here; set MMCOURSE_PROFILE to choose another")
    lines.append(_memory())
    lines.append(_emojis())
    lines.append(f"cache       {runtime.cache_dir()} ({_free(runtime.cache_dir())} free)")
    for name in SHIPPED:
        text, good = _checkpoint(name)
        healthy &= good
        lines.append(text)
    if sys.platform.startswith("linux"):
        lines.append(_program("bubblewrap", ("bwrap",), "grading untrusted submissions", "apt install bubblewrap"))
        if no_sandbox is None:
            lines.append("sandbox     works; you can grade")
        elif shutil.which("bwrap"):
            lines.append(f"sandbox     cannot be built, so nothing can be graded: {no_sandbox}")
    else:
        lines.append("bubblewrap  not for this system; untrusted submissions can be graded on Linux only")
    browsers = ("chromium", "chromium-browser", "google-chrome")
    lines.append(_program("chromium", browsers, "the browser tests (not the course)", "apt install chromium"))
    well = "well: the lessons can run" + (", but grading cannot" if no_sandbox is not None else "")
    lines.append(well if healthy else "not well: see the lines in capitals above")
    return lines, healthy


def _device() -> str:
    import torch

    if runtime.pick_device() == "cuda":
        free, total = torch.cuda.mem_get_info()
        return f"device      {torch.cuda.get_device_name(0)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    if torch.cuda.is_available():
        return "device      cpu: a CUDA card is seen, but this build of torch cannot use it; update torch or its driver"
    return "device      cpu: no CUDA card that torch can use; the lessons run smaller, within minutes"


def _emojis() -> str:
    from mmcourse import emojis

    try:
        return f"emojis      drawn from {emojis.find_font()}; lesson 14 uses them"
    except emojis.EmojiFontMissing as error:
        return f"emojis      {error} Without it lesson 14 takes pictures of the world."


def _memory() -> str:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (ValueError, OSError, AttributeError):
        return "memory      unknown on this system; 4 GiB are enough for every cpu lesson"
    note = "" if total >= 4 else "; less than the 4 GiB that the lessons want: close other programs"
    return f"memory      {total:.1f} GiB{note}"


def _free(folder: Path) -> str:
    return f"{shutil.disk_usage(folder).free / 2**30:.0f} GiB"


def _checkpoint(name: str) -> tuple[str, bool]:
    from mmcourse import checkpoint

    try:
        digest = checkpoint.verify(name)
    except checkpoint.CheckpointError as error:
        return f"checkpoint  {name} BAD: {error}", False
    size = checkpoint.find(name).stat().st_size / 1e6
    return f"checkpoint  {name} is intact ({size:.1f} MB, {digest[:12]})", True


def _program(label: str, names: tuple[str, ...], use: str, cure: str) -> str:
    found = next((shutil.which(n) for n in names if shutil.which(n)), None)
    if found:
        return f"{label:<11} {found}"
    return f"{label:<11} not found; wanted for {use}. On Debian or Ubuntu: {cure}"
