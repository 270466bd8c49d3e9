"""What machine this is: seed, device, profile, folders (lesson 00). Torch is imported only when needed."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PROFILES = ("quick", "cpu", "gpu")
ROOT = Path(__file__).resolve().parent.parent


def generator(seed: int, device: str = "cpu") -> torch.Generator:
    """A fresh random source. The course passes one around; nothing draws from torch's global state."""
    import torch

    return torch.Generator(device=device).manual_seed(int(seed))


def pick_device() -> str:
    """``"cuda"`` where torch sees a CUDA card that it can use, else ``"cpu"``."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    try:
        torch.zeros(1, device="cuda")
    except Exception:  # a card that this build of torch does not support
        return "cpu"
    return "cuda"


def pick_profile(profile: str = "auto") -> str:
    """Resolve ``"auto"``: ``gpu`` where CUDA works, else ``cpu``.

    ``MMCOURSE_PROFILE`` overrides ``auto``. Raises ``ValueError`` on an unknown name.
    """
    if profile == "auto":
        profile = os.environ.get("MMCOURSE_PROFILE", "auto")
    if profile == "auto":
        return "gpu" if pick_device() == "cuda" else "cpu"
    if profile not in PROFILES:
        raise ValueError(f"profile: expected auto, {', '.join(PROFILES)}; got {profile!r}.")
    return profile


def cache_dir() -> Path:
    """The folder for downloads: ``MMCOURSE_CACHE``, else the user's cache folder. Made if absent."""
    if os.environ.get("MMCOURSE_CACHE"):
        path = Path(os.environ["MMCOURSE_CACHE"])
    elif sys.platform == "darwin":
        path = Path.home() / "Library" / "Caches" / "mmcourse"
    elif sys.platform == "win32":
        path = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "mmcourse"
    else:
        path = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mmcourse"
    path.mkdir(parents=True, exist_ok=True)
    return path


def checkpoint_dir() -> Path:
    """Where the shipped models are: ``MMCOURSE_CHECKPOINTS``, the repository, or the installed package."""
    places = [Path(p) for p in (os.environ.get("MMCOURSE_CHECKPOINTS"),) if p]
    places += [ROOT / "checkpoints", Path(__file__).parent / "_checkpoints"]
    return next((p for p in places if p.is_dir()), places[-1])


def find_root() -> Path | None:
    """The repository's folder (the one with ``notebooks/source``), or None for an installed wheel."""
    for place in (Path.cwd(), *Path.cwd().parents, ROOT):
        if (place / "notebooks" / "source").is_dir() and (place / "pyproject.toml").is_file():
            return place
    return None


def cpu_name() -> str:
    """The processor's name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """Name the machine for a results file: processor, cores, device, versions."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, Any] = {
        "cpu": cpu_name(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if pick_device() == "cuda":
        found["gpu"] = torch.cuda.get_device_name(0)
        found["cuda"] = torch.version.cuda
    return found


def results(name: str) -> dict[str, Any]:
    """A measured table of ``results/NAME.json``; lessons quote their figures from these files.

    Raises ``ValueError`` that lists the tables there are, where there is none of that name.
    """
    import json

    for folder in (ROOT / "results", Path(__file__).parent / "_results"):
        if (folder / f"{name}.json").is_file():
            return dict(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
    known = sorted(p.stem for p in (ROOT / "results").glob("*.json"))
    raise ValueError(f"results: there is no table {name!r}; there are {', '.join(known) or 'none'}.")


def write_whole(path: Path, data: bytes) -> None:
    """Write under a temporary name in the same folder, flush to the disk, then rename: the file is there whole, or as
    it was. What cannot be written leaves no temporary file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_results(name: str, table: dict[str, Any]) -> Path:
    """Write ``results/NAME.json`` with the machine's name in it: to a temporary name first, then renamed."""
    import json

    path = ROOT / "results" / f"{name}.json"
    text = json.dumps({"machine": machine(), **table}, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, text.encode("utf-8"))
    return path
