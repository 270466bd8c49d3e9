"""Photographs: each one lies in a wheel, and no training tile touches a test tile."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from mmcourse import pictures

OFFLINE = """
import socket, sys
def no(*a, **k): raise OSError("no network here")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = no
sys.modules["pooch"] = None  # importing it fails, as where it is not installed
from mmcourse import pictures
print({name: tuple(p.shape) for name, p in pictures.photographs().items()})
"""


def test_every_photograph_loads_without_network_pooch_or_cache(tmp_path) -> None:
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], capture_output=True, text=True, cwd=ROOT, env={**home, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-600:]
    found = eval(done.stdout)
    assert sorted(found) == sorted(pictures.PHOTOGRAPHS) and len(found) == 6
    assert all(shape[0] == 3 and min(shape[1:]) >= 300 for shape in found.values())


def test_photographs_are_coloured_bytes_and_all_different() -> None:
    found = pictures.photographs()
    for image in found.values():
        assert image.dtype == torch.uint8 and image.float().std() > 20
        assert (image[0].float() - image[2].float()).abs().mean() > 2  # not grey
    means = torch.stack([image.float().mean((1, 2)) for image in found.values()])
    assert torch.cdist(means, means).add(1000 * torch.eye(6)).min() > 3


@pytest.fixture
def coordinates(monkeypatch: pytest.MonkeyPatch):
    """Photographs whose pixels hold their own column (red) and row (green), so that a tile tells where it was."""
    y, x = torch.meshgrid(torch.arange(120), torch.arange(200), indexing="ij")
    page = torch.stack([x, y, 0 * x]).to(torch.uint8)
    monkeypatch.setattr(pictures, "photographs", lambda: {"a": page, "b": page})
    pictures._pages.cache_clear()
    yield
    pictures._pages.cache_clear()


def test_test_tiles_come_from_the_right_part_and_training_tiles_do_not(coordinates) -> None:
    places = {}
    for split in pictures.SPLITS:
        found = pictures.tiles(200, torch.Generator().manual_seed(1), split=split, side=16)
        assert found.shape == (200, 3, 16, 16)
        places[split] = (found[:, 0] + 1) * 127.5
        rows = (found[:, 1] + 1) * 127.5
        assert rows.min() < 20 and rows.max() > 100  # all heights
    assert places["train"].max() < 140 <= places["test"].min()
    assert places["train"].min() < 8 and places["test"].max() > 192  # and all of each part


def test_half_of_the_tiles_are_mirrored_and_pixels_are_means_of_four(coordinates) -> None:
    found = (pictures.tiles(300, torch.Generator().manual_seed(2), side=16) + 1) * 127.5
    rising = (found[:, 0, 0, 1] > found[:, 0, 0, 0]).float().mean()
    assert 0.4 < rising < 0.6
    k = (found[:, 0] - 0.5) / 2  # the mean of columns 2k and 2k + 1 is 2k + .5
    assert torch.allclose(k, k.round(), atol=1e-3)
    assert torch.allclose((found[:, 0, 0, 1] - found[:, 0, 0, 0]).abs(), torch.tensor(2.0), atol=1e-3)


def test_tiles_are_those_of_their_generator() -> None:
    one, again, other = (pictures.tiles(4, torch.Generator().manual_seed(s), split="test") for s in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other) and one.abs().max() <= 1


def test_tiles_that_cannot_be_are_refused(rng: torch.Generator) -> None:
    with pytest.raises(ValueError, match="side of at most"):
        pictures.tiles(2, rng, split="test", side=80)
    with pytest.raises(ValueError, match="split"):
        pictures.tiles(2, rng, split="validation")
    for bad in ({"n": 0}, {"n": 2, "side": 0}, {"n": 2, "shrink": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            pictures.tiles(g=rng, **bad)
