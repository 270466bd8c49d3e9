"""Labelled pictures: digits at once, MNIST where it lies, and what happens where it cannot be had."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mmcourse import pictures
from mmcourse.pictures import DataMissing, digits, labelled


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that an earlier test found is remembered."""
    pictures._say_once.cache_clear()
    pictures._from_torchvision.cache_clear()
    yield
    pictures._from_torchvision.cache_clear()


def write_idx(folder: Path, train: int, test: int, *, packed: bool = True) -> None:
    """A tiny set in the original files: pictures of one grey each, whose label is grey // 10."""
    folder.mkdir(parents=True)
    for part, n in (("train", train), ("t10k", test)):
        greys = [(7 * i) % 100 for i in range(n)]
        images = struct.pack(">IIII", 0x0803, n, 28, 28) + b"".join(bytes([v]) * 784 for v in greys)
        labels = struct.pack(">II", 0x0801, n) + bytes(v // 10 for v in greys)
        for name, data in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(data))
            else:
                (folder / name).write_bytes(data)


def test_digits_are_there_offline_and_split() -> None:
    train, test = digits("train"), digits("test")
    assert len(train) + len(test) == 1797 and len(test) == 360
    assert train.pixels.shape == (1437, 1, 32, 32) and train.pixels.dtype == torch.uint8
    assert set(train.labels.tolist()) == set(range(10)) == set(test.labels.tolist())
    x = train.pictures()
    assert x.min() == -1 and 0.9 < x.max() <= 1
    from sklearn.datasets import load_digits

    found = load_digits()
    assert test.labels.tolist() == found.target[::5].tolist()
    small = torch.nn.functional.avg_pool2d((test.pictures() + 1) / 2, 4)[:, 0]
    assert (small - torch.from_numpy(found.images[::5]) / 16).abs().mean() < 0.05  # enlarged, and still themselves


def test_draw_gives_pictures_with_their_labels(rng: torch.Generator) -> None:
    x, labels = digits().draw(50, rng)
    again, _ = digits().draw(50, torch.Generator().manual_seed(0))
    assert x.shape == (50, 1, 32, 32) and torch.equal(x, again)
    whole = digits()
    for picture, label in zip(x[:5], labels[:5], strict=True):
        same = (whole.pictures() == picture).flatten(1).all(1).nonzero().flatten()
        assert label in whole.labels[same]
    assert len(whole.first(7)) == 7 and whole.to("cpu").title == whole.title


def test_bad_names_are_refused() -> None:
    with pytest.raises(ValueError, match="Did you mean 'fashion_mnist'"):
        labelled("fashion-mnist")
    with pytest.raises(ValueError, match="split: expected one of train, test"):
        labelled("digits", "validation")


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_packed_files_are_found_and_unpacked_into_the_cache(
    name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    write_idx(data / folder / "raw", 30, 12)
    monkeypatch.setenv("MMCOURSE_DATA", str(data))
    monkeypatch.setenv("MMCOURSE_CACHE", str(cache))
    before = sorted(p.name for p in data.rglob("*"))
    train, test = labelled(name, offline=True), labelled(name, "test", offline=True)
    assert (len(train), len(test)) == (30, 12) and train.title == folder
    assert train.pixels.shape == (30, 1, 32, 32)
    assert (train.pixels[:, :, 16, 16].flatten() // 10).tolist() == train.labels.tolist()
    assert train.pixels[:, :, :2].max() == 0 == train.pixels[:, :, :, 30:].max()  # a black border of two
    assert sorted(p.name for p in data.rglob("*")) == before  # the data folder may be read-only
    assert not list(cache.rglob("*.tmp"))
    assert len(train.classes) == 10 and (train.classes[0] == "0") == (name == "mnist")


def test_unpacked_files_are_read_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "data" / "MNIST" / "raw", 20, 10, packed=False)
    monkeypatch.setenv("MMCOURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MMCOURSE_CACHE", str(tmp_path / "cache"))
    assert len(labelled("mnist", offline=True)) == 20
    assert not (tmp_path / "cache" / "MNIST").exists()


def test_without_the_set_the_digits_come_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MMCOURSE_DATA", raising=False)
    monkeypatch.setenv("MMCOURSE_CACHE", str(tmp_path))
    monkeypatch.setenv("MMCOURSE_OFFLINE", "1")
    found = labelled("fashion_mnist", "test")
    assert len(found) == 360 and found.title == "scikit-learn's digits (no FashionMNIST here)"
    said = capsys.readouterr().out
    assert "FashionMNIST is not on this machine" in said
    assert said.count("compared with another data set") == 1 and "FashionMNIST/raw under the folder" in said
    labelled("fashion_mnist")
    said = capsys.readouterr().out
    assert "FashionMNIST is not on this machine" in said and "another data set" not in said  # the advice comes once
    with pytest.raises(DataMissing, match="FashionMNIST is not on this machine"):
        labelled("fashion_mnist", fall_back=False)
    assert digits("test").title == "scikit-learn's digits"  # the plain set keeps its name


def test_a_download_that_fails_is_told_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchvision import datasets

    def no_network(self: object) -> None:
        raise OSError("no route to host")

    monkeypatch.delenv("MMCOURSE_DATA", raising=False)
    monkeypatch.setenv("MMCOURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(datasets.MNIST, "download", no_network)
    found = labelled("mnist", offline=False)
    assert "no MNIST here" in found.title
    assert "could not be fetched (no route to host)" in capsys.readouterr().out


def test_mnist_is_the_published_one(data_dir: Path) -> None:
    train, test = labelled("mnist", fall_back=False), labelled("mnist", "test", fall_back=False)
    assert (len(train), len(test)) == (60000, 10000)
    assert torch.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert train.pixels.float().mean() / 255 == pytest.approx(0.1307 * (28 / 32) ** 2, abs=1e-4)
