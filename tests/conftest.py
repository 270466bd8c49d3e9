"""Shared fixtures. Tests give torch one thread each, since they run side by side."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data; tests that need it skip where it is absent."""
    folder = os.environ.get("MMCOURSE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("MMCOURSE_DATA names no folder of real data")
    return Path(folder)
