"""Your own pictures as a set, what a model trained on them ties together, and the card that tells of it (lesson 14)."""

from __future__ import annotations

import csv
import random
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmcourse import world
from mmcourse.checks import expect_range, expect_shape
from mmcourse.emojis import GENDERS, LANGUAGES, OCCUPATIONS, TONES, EmojiFontMissing, emoji_set
from mmcourse.folders import TABLE, CaptionedFolder

DRAWINGS = (270, 30)  # of the world, seen and held out, where there is no emoji font


@dataclass(frozen=True)
class OwnSet:
    """Pictures (N, 3, 32, 32) in [-1, 1] with their ``names``, a list of N by language; ``held_out`` bool (N,);
    ``same`` int64 (N,), equal for equal pictures; ``kind``: emojis, drawings or folder; ``about``, to be read."""

    pictures: Tensor
    names: dict[str, list[str]]
    held_out: Tensor
    same: Tensor
    kind: str
    about: str

    def __len__(self) -> int:
        return len(self.pictures)


def write_folder(place: str | Path, pictures: Tensor, rows: Sequence[Sequence[str]]) -> Path:
    """Write pictures (N, 3, H, W) in [-1, 1] as 0.png, 1.png, ... and ``captions.csv`` with rows of file, caption,
    language and split. The folder is made if absent. Raises ``ValueError`` on another shape or range."""
    from PIL import Image

    expect_shape(pictures, "N 3 H W", name="pictures")
    expect_range(pictures, -1, 1, name="pictures")
    place = Path(place)
    place.mkdir(parents=True, exist_ok=True)
    pixels = ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(place / f"{i}.png")
    with (place / TABLE).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "caption", "language", "split"), *rows])
    return place


def from_folder(folder: CaptionedFolder) -> OwnSet:
    """A loaded folder with one row a picture. Each picture needs a caption in each of the folder's languages; of
    several the first counts. Raises ``ValueError`` that names a picture without one."""
    first: dict[str, int] = {}
    said: dict[tuple[str, str], str] = {}
    for i, (file, language) in enumerate(zip(folder.files, folder.languages, strict=True)):
        first.setdefault(file, i)
        said.setdefault((file, language), folder.captions[i])
    languages = list(dict.fromkeys(folder.languages))
    missing = [(file, language) for file in first for language in languages if (file, language) not in said]
    if missing:
        raise ValueError(
            f"{missing[0][0]} has no caption in {missing[0][1]!r}, as others have ({len(missing)} such). Write one for "
            "each picture, or leave that language out of the table."
        )
    rows = list(first.values())
    return OwnSet(
        folder.pictures[rows],
        {language: [said[file, language] for file in first] for language in languages},
        torch.tensor([folder.splits[i] == "held_out" for i in rows]),
        torch.arange(len(rows)),
        "folder",
        f"{len(rows):,} pictures of a folder",
    )


def emojis_or_drawings(limit: int | None = None, *, seed: int = 0) -> OwnSet:
    """The emojis (see ``emoji_set``), or, where no font can draw them, a captioned folder of 300 of the world's
    drawings, written to a temporary place and loaded like any other."""
    try:
        found = emoji_set(32, limit=limit)
    except EmojiFontMissing as error:
        told = f"{error}\nIn the place of emojis this lesson takes drawings of the course's world."
        with tempfile.TemporaryDirectory() as place:
            drawn = from_folder(CaptionedFolder(write_folder(place, *_drawings(seed))))
        return OwnSet(drawn.pictures, drawn.names, drawn.held_out, drawn.same, "drawings", told)
    return OwnSet(found.pictures, found.names, found.held_out, found.same, "emojis", str(found.report))


def _drawings(seed: int) -> tuple[Tensor, list[tuple[str, str, str, str]]]:
    """Pictures of one thing each, no caption twice, and the rows of their table, English and Chinese."""
    g = torch.Generator().manual_seed(seed)
    parts = []
    for split, n in zip(("train", "held_out"), DRAWINGS, strict=True):
        labels = torch.unique(world.sample_labels(4000, g, objects=(1,), split=split), dim=0)
        parts.append(labels[torch.randperm(len(labels), generator=g)[:n]])
    labels = torch.cat(parts)
    rows = [
        (
            f"{i}.png",
            world.say(label, language, random.Random(0), plain=True),
            language,
            "train" if i < DRAWINGS[0] else "held_out",
        )
        for i, label in enumerate(labels.tolist())
        for language in LANGUAGES
    ]
    return world.draw(world.place(labels, g)), rows


def composed(found: OwnSet) -> tuple[list[str], list[str], Tensor]:
    """Names of rows and columns and the numbers (R, C) of pictures composed of both: firefighters by gender and tone,
    or drawn shapes by colour. Raises ``ValueError`` for a folder, whose names are not known to compose."""
    names = found.names.get("en", [])
    if found.kind == "emojis":
        rows = ["woman firefighter", "firefighter", "man firefighter"]
        columns = [f"{tone} skin tone" for tone in TONES]
        return rows, columns, torch.tensor([[names.index(f"{row}: {tone}") for tone in columns] for row in rows])
    if found.kind != "drawings":
        raise ValueError("composed: expected emojis or drawings; what a folder's names are made of is not known.")
    facts = [world.parse(name) for name in names]
    pairs: dict[tuple[int, int], int] = {}
    for i, fact in enumerate(facts):
        pairs.setdefault((fact.shape_a, fact.colour_a), i)
    whole = [s for s in range(len(world.SHAPES)) if all((s, c) in pairs for c in range(len(world.COLOURS)))][:3]
    table = torch.tensor([[pairs[s, c] for c in range(len(world.COLOURS))] for s in whole])
    return [world.SHAPES[s] for s in whole], list(world.COLOURS), table


# ----------------------------------------------------------------------------------------------------------------- ties


@dataclass(frozen=True)
class Crowd:
    """Real pictures (M, 3, 32, 32) by which drawings are read: ``traits`` (M, K) of 0 and 1 in ``columns``, ``trained``
    (M,) bool, and ``asked``: captions by group that leave some of the traits open."""

    pictures: Tensor
    columns: list[str]
    traits: Tensor
    trained: Tensor
    asked: dict[str, list[str]]


def crowd_of(found: OwnSet) -> Crowd:
    """Emojis: all people at work that the font draws, by tone and gender, and occupations without them. Drawings: by
    colour, and shapes without one. Raises ``ValueError`` for a folder, whose traits nobody has told."""
    if found.kind == "drawings":
        facts = [world.parse(name) for name in found.names["en"]]
        traits = F.one_hot(torch.tensor([fact.colour_a for fact in facts]), len(world.COLOURS)).float()
        asked = {
            "a (shape)": [f"a {s}" for s in world.SHAPES],
            "a large (shape)": [f"a large {s}" for s in world.SHAPES],
        }
        return Crowd(found.pictures, list(world.COLOURS), traits, ~found.held_out, asked)
    if found.kind != "emojis":
        raise ValueError("crowd_of: expected emojis or drawings. For a folder write down the traits of its pictures.")
    everyone = emoji_set(32)
    known = {name for name, held in zip(found.names["en"], found.held_out.tolist(), strict=True) if not held}
    rows, marks, jobs = [], [], []
    columns = ["yellow", *TONES, *GENDERS]
    for i, name in enumerate(everyone.names["en"]):
        match = re.fullmatch(r"(?:(woman|man) )?(.+?)(?:: (.+) skin tone)?", name)
        if match and match[2] in OCCUPATIONS:
            rows.append(i)
            marks.append([c in (match[3] or "yellow", match[1] or "person") for c in columns])
            if name in known:
                jobs.append(match[2])
    some = sorted(set(jobs))
    forms = ("{}", "woman {}", "man {}", "{}: skin tone")
    asked = {form.format("(job)"): [form.format(job) for job in some] for form in forms}
    trained = torch.tensor([everyone.names["en"][i] in known for i in rows])
    return Crowd(everyone.pictures[rows], columns, torch.tensor(marks).float(), trained, asked)


# ----------------------------------------------------------------------------------------------------------------- card


def model_card(
    title: str,
    about: Mapping[str, str],
    table: Mapping[str, Any],
    copies: Mapping[str, Mapping[str, float]],
    ties: Mapping[str, Mapping[str, float]],
) -> str:
    """A model card in Markdown (Mitchell et al., "Model Cards for Model Reporting", arXiv 1810.03993).

    ``about`` gives paragraphs by their heading, of which Data, Licence, Limits and Not for must be there; ``table`` is
    what ``retrieval.measure_pairs`` measured, ``copies`` rows of ``retrieval.near_copies``, ``ties`` shares of traits.
    Raises ``ValueError`` that names a heading without text.
    """
    missing = [name for name in ("Data", "Licence", "Limits", "Not for") if not about.get(name, "").strip()]
    if missing:
        raise ValueError(
            f"model_card: expected a text for each of Data, Licence, Limits, Not for; {missing[0]} has none."
        )
    first = {name: text for name, text in about.items() if name not in ("Limits", "Not for")}
    lines = [f"### {title}", ""] + [line for name, text in first.items() for line in (f"**{name}.** {text}", "")]
    lines += [
        "| asked for | language | R@1 [95 %] | R@5 | without text | untrained | true pictures |",
        "|" + "---|" * 7,
    ]
    for split in ("seen", "held_out"):
        for language, row in table.get(split, {}).items():
            if isinstance(row, Mapping) and "model" in row:
                floors = f"{_share(row['no_text'])} | {_share(row['untrained'])} | {_share(table[split]['ceiling'])}"
                cells = f"{_interval(row['model'], 'r1')} | {row['model']['r5']:.1%} | {floors}"
                lines.append(f"| {split.replace('_', ' ')} | {language} | {cells} |")
    lines += ["", "**Near-copies of training pictures.**", ""]
    lines += [f"- {name}: {_interval(row, 'share')} of {row['n']:,}" for name, row in copies.items()]
    lines += ["", "**What comes unasked.**", ""]
    for name, shares in ties.items():
        lines.append(f"- {name}: " + ", ".join(f"{trait} {share:.0%}" for trait, share in shares.items()))
    lines += ["", f"**Limits.** {about['Limits']}", "", f"**Not for.** {about['Not for']}"]
    return "\n".join(lines) + "\n"


def _share(row: Mapping[str, float]) -> str:
    return f"{row['r1']:.1%}"


def _interval(row: Mapping[str, float], key: str) -> str:
    return f"{row[key]:.1%} [{max(0.0, row['low']):.1%}, {min(1.0, row['high']):.1%}]"
