"""Spoken digits: the Free Spoken Digit Dataset as waves, split by take or by speaker (used in lesson 12).

3,000 clips at 8 kHz: six speakers say each digit 50 times. Jackson and others, version 1.0.10, CC BY-SA 4.0. The set is
looked for as ``fsdd.zip`` under ``MMCOURSE_DATA`` and in the cache, and downloaded once.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import io
import os
import re
import urllib.request
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from mmcourse import audio
from mmcourse.checks import expect_one_of
from mmcourse.runtime import cache_dir, write_whole

NAME = "The Free Spoken Digit Dataset"
FILE = "fsdd.zip"
URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
SPLITS = ("train", "test", "all")
TEST_TAKES = 5  # takes 0 to 4 of each digit and speaker are for testing, as the set's authors say
COUNT = 3000
DIGEST = "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f"  # of the clips: see digest
CLIP = re.compile(rf"(?:.*/)?recordings/(([0-9])_({'|'.join(SPEAKERS)})_([0-9]{{1,3}})\.wav)")
LARGEST_CLIP = 1_000_000  # bytes; the largest of the set has 36,568
LARGEST_FILE = 100_000_000  # bytes; the archive has about 16 million
TIMEOUT = 30  # seconds without an answer


class SpeechMissing(RuntimeError):
    """The spoken digits are neither on this machine nor to be had from the network, or what is there is damaged."""


@dataclass(frozen=True)
class Clips:
    """Spoken digits: ``waves`` float32 (N, 1, audio.LENGTH) in [-1, 1] at ``audio.RATE``, ``digits`` int64 (N,) 0 to 9,
    ``speakers`` int64 (N,) as numbers into ``names``, and ``index`` int64 (N,), the take, 0 to 49."""

    waves: Tensor
    digits: Tensor
    speakers: Tensor
    index: Tensor
    names: tuple[str, ...] = SPEAKERS

    def __len__(self) -> int:
        return len(self.digits)

    def pick(self, rows: Tensor | slice) -> Clips:
        """The clips of the rows named, by numbers, by a mask of bools (N,) or by a slice (which copies nothing)."""
        return replace(
            self,
            waves=self.waves[rows],
            digits=self.digits[rows],
            speakers=self.speakers[rows],
            index=self.index[rows],
        )

    def of_speaker(self, speaker: int | str) -> Clips:
        """One speaker's clips, by number or by name."""
        return self.pick(self.speakers == self._number(speaker))

    def without_speaker(self, speaker: int | str) -> Clips:
        """All clips but one speaker's, by number or by name."""
        return self.pick(self.speakers != self._number(speaker))

    def _number(self, speaker: int | str) -> int:
        if isinstance(speaker, str):
            return self.names.index(expect_one_of(speaker, self.names, name="speaker"))
        if not 0 <= speaker < len(self.names):
            raise ValueError(f"speaker: expected a number from 0 to {len(self.names) - 1} or a name, got {speaker}.")
        return int(speaker)


def spoken_digits(split: str = "train", *, offline: bool | None = None) -> Clips:
    """The set's 2,700 clips for training, 300 for testing, or all: those for training first, then those for testing.

    Within each part they are in the order of digit, speaker and take. A clip is ``audio.LENGTH`` long: a shorter one
    is filled with silence at its end, of a longer one the loudest stretch is kept. The tensors are shared between
    calls; do not write into them.

    ``offline`` forbids the network; by default the variable ``MMCOURSE_OFFLINE`` says so. Raises ``SpeechMissing``
    where the set cannot be had, or where what lies there is not the set.
    """
    expect_one_of(split, SPLITS, name="split")
    found = _decoded(_find(offline))
    train = int((found.index >= TEST_TAKES).sum())
    return found.pick({"train": slice(train), "test": slice(train, None), "all": slice(None)}[split])


def leave_out(clips: Clips, speaker: int | str) -> tuple[Clips, Clips]:
    """Split by speaker: all others' clips, to train on, and this one's, held out. No voice is in both.

    Raises ``ValueError`` where either would be empty.
    """
    train, held_out = clips.without_speaker(speaker), clips.of_speaker(speaker)
    if not len(train) or not len(held_out):
        raise ValueError(
            f"leave_out: {len(train)} clips would be left to train on and {len(held_out)} held out for speaker "
            f"{speaker!r}. Both need some: give clips of this speaker and of others."
        )
    return train, held_out


def pair(clip_digits: Tensor, picture_labels: Tensor, g: torch.Generator) -> Tensor:
    """For each clip (N,) the row of a picture of the same class, all (M,) of that class alike likely: int64 (N,).

    Split clips and pictures first and pair within each part: of pairs that are split afterwards, one clip or picture
    can be on both sides. Raises ``ValueError`` where a clip's class has no picture.
    """
    for name, labels in (("clip_digits", clip_digits), ("picture_labels", picture_labels)):
        if labels.dim() != 1 or labels.is_floating_point() or bool((labels < 0).any()):
            raise ValueError(f"{name}: expected classes (N,), whole and at least 0, got {_told(labels)}.")
    size = 1 + max(int(labels.max()) if len(labels) else 0 for labels in (clip_digits, picture_labels))
    of_class = torch.bincount(picture_labels, minlength=size)
    none = clip_digits[of_class[clip_digits.long()] == 0].unique().tolist()
    if none:
        raise ValueError(f"pair: no picture has the class {', '.join(map(str, none))}. Give pictures of every class.")
    order, first = picture_labels.argsort(stable=True), of_class.cumsum(0) - of_class
    drawn = torch.randint(2**62, clip_digits.shape, generator=g, device=g.device).to(clip_digits.device)
    return order[first[clip_digits.long()] + drawn % of_class[clip_digits.long()]]


def _told(labels: Tensor) -> str:
    return f"{labels.dtype} {tuple(labels.shape)}" + (f" with {labels.min()}" if labels.numel() else "")


# ------------------------------------------------------------------------------------------------------------ the file


def digest(recordings: dict[str, bytes]) -> str:
    """What the clips are, whatever archive they lie in: sha256 over the sorted lines "name sha256-of-its-bytes"."""
    lines = sorted(f"{name} {hashlib.sha256(data).hexdigest()}\n" for name, data in recordings.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _find(offline: bool | None) -> Path:
    """Where the archive lies; fetched into the cache where it lies nowhere."""
    given = os.environ.get("MMCOURSE_DATA")
    if given and (Path(given) / FILE).is_file():
        return Path(given) / FILE
    kept = cache_dir() / FILE
    if kept.is_file():
        return kept
    offline = os.environ.get("MMCOURSE_OFFLINE", "0") not in ("", "0") if offline is None else offline
    by_hand = f"Fetch {URL} by hand and put it as {FILE} into {kept.parent} or the folder that MMCOURSE_DATA names."
    if offline:
        raise SpeechMissing(f"{NAME} is not on this machine, and it was not to be fetched. {by_hand}")
    print(f"{NAME} is fetched once, into {kept.parent}.")
    try:
        data = _fetch()
        recordings(io.BytesIO(data), name=URL, cure=f"Try again. {by_hand}")  # nothing else goes into the cache
        write_whole(kept, data)
    except (OSError, http.client.HTTPException) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(":.")
        raise SpeechMissing(f"{NAME} is not on this machine and could not be fetched ({reason}). {by_hand}") from error
    return kept


def _fetch() -> bytes:
    found = io.BytesIO()
    with urllib.request.urlopen(URL, timeout=TIMEOUT) as stream:
        while part := stream.read(2**20):
            found.write(part)
            print(f"\r{found.tell() / 1e6:.1f} MB", end="", flush=True)
            if found.tell() > LARGEST_FILE:
                raise OSError(f"more than {LARGEST_FILE / 1e6:.0f} MB came, which is not the set")
    print()
    return found.getvalue()


def recordings(source: Path | io.BytesIO, *, name: str, cure: str) -> dict[str, bytes]:
    """The clips' bytes by their names, out of an archive in which they lie in a folder ``recordings``.

    Raises ``SpeechMissing``, with the archive's name and the cure, where they are not exactly the set's.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            members = {match[1]: info for info in archive.infolist() if (match := CLIP.fullmatch(info.filename))}
            large = [clip for clip, info in members.items() if info.file_size > LARGEST_CLIP]
            if len(members) != COUNT or large:
                told = f"{large[0]} of more than {LARGEST_CLIP:,} bytes" if large else f"{len(members)} clips"
                raise SpeechMissing(f"{name}: expected {COUNT} spoken digits in recordings/, got {told}. {cure}")
            found = {clip: archive.read(info) for clip, info in members.items()}
    except SpeechMissing:
        raise
    except Exception as error:  # the reader raises many kinds on broken files
        raise SpeechMissing(f"{name}: is no archive that can be read ({error}). {cure}") from error
    if (got := digest(found)) != DIGEST:
        raise SpeechMissing(
            f"{name}: its clips are not those of version 1.0.10: expected the digest {DIGEST}, got {got}. {cure}"
        )
    return found


@functools.cache
def _decoded(path: Path) -> Clips:
    """All clips of an archive, checked; those for testing last."""
    rows = []
    for clip, data in recordings(path, name=str(path), cure="Delete it and try again.").items():
        digit, speaker, take = clip.removesuffix(".wav").split("_")
        wave = audio.ready(*audio.read_wav(data), channels=1)
        rows.append((int(take) < TEST_TAKES, int(digit), SPEAKERS.index(speaker), int(take), wave))
    rows.sort(key=lambda row: row[:4])
    _, digits, speakers, takes, waves = zip(*rows, strict=True)
    return Clips(torch.stack(waves), torch.tensor(digits), torch.tensor(speakers), torch.tensor(takes))
