"""Real pictures with labels: scikit-learn's digits, MNIST, Fashion-MNIST; photographs as tiles (lessons 04 to 07).

Digits are there at once, inside scikit-learn's wheel. MNIST and Fashion-MNIST are looked for under ``MMCOURSE_DATA``
and in the cache, and downloaded once. Where that cannot be, ``labelled`` gives the digits and a note that says so.
"""

from __future__ import annotations

import functools
import gzip
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmcourse.checks import expect_one_of
from mmcourse.runtime import cache_dir, write_whole

SETS = ("digits", "mnist", "fashion_mnist")
SPLITS = ("train", "test")
SIDE = 32
DIGITS = tuple("0123456789")
CLOTHES = ("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}  # as torchvision names them


class DataMissing(RuntimeError):
    """A set of pictures that is neither on this machine nor to be had from the network."""


@dataclass(frozen=True)
class Labelled:
    """Grey pictures with one label each: ``pixels`` uint8 (N, 1, 32, 32), ``labels`` int64 (N,), the ``classes``'
    names, and in ``title`` what the pictures are, for a figure."""

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    title: str

    def __len__(self) -> int:
        return len(self.labels)

    def pictures(self, rows: Tensor | slice = slice(None), device: str | torch.device = "cpu") -> Tensor:
        """Pictures (B, 1, 32, 32) in [-1, 1], those of the rows named."""
        return self.pixels[rows].to(device).float() / 127.5 - 1

    def draw(self, n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        """n random pictures (n, 1, 32, 32) in [-1, 1] with their labels (n,), on the generator's device."""
        rows = torch.randint(len(self.labels), (n,), generator=g, device=g.device)
        if self.pixels.device == g.device:
            return self.pictures(rows), self.labels[rows]
        rows = rows.to(self.pixels.device)
        return self.pictures(rows, g.device), self.labels[rows].to(g.device)

    def to(self, device: str | torch.device) -> Labelled:
        """The same set on a device, so that batches need not be carried over."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def first(self, n: int) -> Labelled:
        """The first n pictures."""
        return replace(self, pixels=self.pixels[:n], labels=self.labels[:n])


def labelled(name: str, split: str = "train", *, offline: bool | None = None, fall_back: bool = True) -> Labelled:
    """A set of ``SETS`` by name: ``labelled("mnist", "test")``.

    MNIST and Fashion-MNIST come from ``MMCOURSE_DATA``, else from the cache, else from the network (with a progress
    bar; torchvision checks the files). ``offline`` forbids the network; by default the variable ``MMCOURSE_OFFLINE``
    says so. Where a set cannot be had: the digits, with a line printed and a ``title`` that say so, or, without
    ``fall_back``, ``DataMissing``.
    """
    expect_one_of(name, SETS, name="set")
    expect_one_of(split, SPLITS, name="split")
    if name == "digits":
        return digits(split)
    try:
        return _from_torchvision(name, split, offline)
    except DataMissing as error:
        if not fall_back:
            raise
        print(f"{error} The lesson goes on with scikit-learn's digits.")
        _say_once(
            f"A shipped model that has learned {FOLDERS[name]} is then compared with another data set, and the "
            f"distances below say so. To have {FOLDERS[name]}, run once with a network, or put its four files into "
            f"{FOLDERS[name]}/raw under the folder that MMCOURSE_DATA names."
        )
        found = digits(split)
        return replace(found, title=f"{found.title} (no {FOLDERS[name]} here)")


@functools.cache
def _say_once(text: str) -> None:
    print(text)


@functools.cache
def digits(split: str = "train") -> Labelled:
    """scikit-learn's 1,797 handwritten digits, 8x8 with 17 greys, enlarged to 32x32: every fifth is for testing.

    From the UCI set "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, CC BY 4.0).
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    small = torch.from_numpy(found.images).float()[:, None] / 16  # (N, 1, 8, 8) in [0, 1]
    large = F.interpolate(small, size=SIDE, mode="bicubic", align_corners=False).clamp(0, 1)
    test = torch.arange(len(small)) % 5 == 0
    keep = test if split == "test" else ~test
    pixels = (255 * large).round().to(torch.uint8)[keep]
    return Labelled(pixels, torch.from_numpy(found.target).long()[keep], DIGITS, "scikit-learn's digits")


@functools.cache
def _from_torchvision(name: str, split: str, offline: bool | None) -> Labelled:
    from torchvision import datasets

    folder, train = FOLDERS[name], split == "train"
    kind = getattr(datasets, folder)
    given = os.environ.get("MMCOURSE_DATA")
    if given:
        _unpack(Path(given) / folder / "raw", cache_dir() / folder / "raw")
    for root in (given, cache_dir()):
        if root:
            try:
                return _padded(kind(root, train=train, download=False), name)
            except RuntimeError:  # torchvision: not found
                continue
    offline = os.environ.get("MMCOURSE_OFFLINE", "0") not in ("", "0") if offline is None else offline
    if offline:
        raise DataMissing(f"{folder} is not on this machine, and it was not to be fetched.")
    try:
        print(f"{folder} is fetched once, into {cache_dir()}.")
        return _padded(kind(cache_dir(), train=train, download=True), name)
    except (RuntimeError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(":.")
        raise DataMissing(f"{folder} is not on this machine and could not be fetched ({reason}).") from error


def _padded(found: Any, name: str) -> Labelled:
    pixels = F.pad(found.data[:, None], (2, 2, 2, 2))  # (N, 1, 28, 28) to (N, 1, 32, 32)
    return Labelled(pixels, found.targets.long(), DIGITS if name == "mnist" else CLOTHES, FOLDERS[name])


def _unpack(packed: Path, raw: Path) -> None:
    """Unzip a set's original files into the cache, where they are not yet there; torchvision reads them there."""
    for file in packed.glob("*-ubyte.gz"):
        target = raw / file.stem
        if not target.exists() and not (packed / file.stem).exists():
            with gzip.open(file) as stream:
                write_whole(target, stream.read())


# ---- photographs

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "china", "flower")
TRAIN_PART = 0.7  # of each photograph's width: training tiles come from the left, test tiles from the right


@functools.cache
def photographs() -> dict[str, Tensor]:
    """Photographs that ship inside the wheels of scikit-image and scikit-learn, by name: (3, H, W) uint8.

    astronaut (NASA, public domain), chelsea (Stefan van der Walt, CC0), coffee (Rachel Michetti, CC0), rocket (SpaceX,
    public domain); china (danielbuechele, CC BY 2.0) and flower (vultilion, CC BY 2.0). Nothing is downloaded.
    """
    from skimage import data as skimage_data
    from sklearn.datasets import load_sample_image

    found = {}
    for name in PHOTOGRAPHS:
        image = load_sample_image(f"{name}.jpg") if name in ("china", "flower") else getattr(skimage_data, name)()
        found[name] = torch.tensor(image).permute(2, 0, 1).contiguous()
    return found


@functools.cache
def _pages(split: str, shrink: int) -> list[Tensor]:
    """A split's part of each photograph, averaged down by ``shrink``: (3, H, W) each, in [-1, 1]."""
    pages = []
    for image in photographs().values():
        cut = int(image.shape[2] * TRAIN_PART)
        part = image[:, :, :cut] if split == "train" else image[:, :, cut:]
        pages.append(F.avg_pool2d(part.float()[None], shrink)[0] / 127.5 - 1)
    return pages


def tiles(n: int, g: torch.Generator, *, split: str = "train", side: int = SIDE, shrink: int = 2) -> Tensor:
    """n square cuts of the photographs (n, 3, side, side) in [-1, 1], half of them mirrored.

    A photograph is first averaged down by ``shrink``. Tiles of ``split="test"`` come from the right three tenths of
    each photograph, which no training tile touches, so that both hold sky and ground. Raises ``ValueError`` where a
    tile does not fit into that.
    """
    expect_one_of(split, SPLITS, name="split")
    if n < 1 or side < 1 or shrink < 1:
        raise ValueError(f"tiles: expected n, side and shrink of at least 1, got {n}, {side} and {shrink}.")
    pages = _pages(split, shrink)
    smallest = min(min(page.shape[1:]) for page in pages)
    if side > smallest:
        raise ValueError(f"tiles: expected a side of at most {smallest} pixels when shrunk by {shrink}, got {side}.")
    which = torch.randint(len(pages), (n,), generator=g).tolist()
    places, flips = torch.rand(n, 2, generator=g).tolist(), (torch.rand(n, generator=g) < 0.5).tolist()
    out = []
    for page, (down, right), flip in zip((pages[i] for i in which), places, flips, strict=True):
        y, x = int(down * (page.shape[1] - side + 1)), int(right * (page.shape[2] - side + 1))
        tile = page[:, y : y + side, x : x + side]
        out.append(tile.flip(2) if flip else tile)
    return torch.stack(out)
