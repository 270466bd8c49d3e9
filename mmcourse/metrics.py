"""How right is a picture? Caption accuracy by the independent judge, with floor, ceiling and control (lesson 05).

Repairs are measured in their holes: PSNR, seams, spread, and whether anything leaks (lessons 10 and 11). What is heard
is measured as what is read is (lesson 12).

Every share comes with its count and a 95 % interval. Accuracy counts what a caption states, and no more.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmcourse import hearing, inpainting, masks, pictures, sounds, world
from mmcourse.checks import expect_one_of, expect_shape
from mmcourse.classical import METHODS, repair
from mmcourse.data import CaptionSet, Encode
from mmcourse.judge import Judge
from mmcourse.masks import expect_mask

Draw = Callable[[list[str], torch.Generator], Tensor]

#: Attributes as a reader names them, and the label columns behind each.
ATTRIBUTES = {"count": (0,), "shape": (1, 4), "colour": (2, 5), "size": (3, 6), "layout": (7,)}


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share of n trials, after E. B. Wilson (1927). Raises ``ValueError`` for n < 1."""
    if n < 1:
        raise ValueError(f"wilson: expected at least one trial, got {n}.")
    z, p = 1.959964, hits / n
    centre, width = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (centre - width) / (1 + z * z / n)), min(1.0, (centre + width) / (1 + z * z / n))


def caption_accuracy(judge: Judge, pictures: Tensor, statements: Tensor) -> dict[str, float]:
    """Read pictures (B, 3, 32, 32) with the judge and compare them with statements (B, 8).

    Returns ``all`` (share of pictures on which everything stated is right), its interval ``low`` and ``high``, the
    count ``n``, and for each attribute the share right among those stated (absent where no caption states it).
    """
    n = expect_shape(pictures, "B 3 H H", name="pictures")["B"]
    if n != expect_shape(statements, "B 8", name="statements")["B"]:
        raise ValueError(f"caption_accuracy: expected one statement a picture, got {n} and {len(statements)}.")
    stated, right = world.matches(judge.read(pictures), statements)
    hits = int((stated == right).all(1).sum())
    low, high = wilson(hits, n)
    out: dict[str, float] = {"all": hits / n, "low": low, "high": high, "n": n}
    for name, columns in ATTRIBUTES.items():
        total = int(stated[:, columns].sum())
        if total:
            out[name] = int(right[:, columns].sum()) / total
    return out


def right_pictures(judge: Judge, pictures: Tensor, statements: Tensor) -> Tensor:
    """For each picture (B, 3, H, H), whether all that its statement (B, 8) says is right: (B,) bool."""
    stated, right = world.matches(judge.read(pictures), statements)
    return (stated == right).all(1)


def ceiling(judge: Judge, captions: CaptionSet, *, seed: int = 0) -> dict[str, float]:
    """The same measure on real drawings of the captions' scenes: what a perfect model would get."""
    g = torch.Generator().manual_seed(seed)
    return caption_accuracy(judge, world.draw(world.place(captions.labels, g)), captions.statements)


def chance(captions: CaptionSet, *, seed: int = 0) -> dict[str, float]:
    """The same measure for real scenes that belong to other captions: the share right by luck."""
    g = torch.Generator().manual_seed(seed + 7_000_003)  # never the stream that drew the captions' own scenes
    counts = tuple(sorted(set(captions.labels[:, 0].tolist())))
    labels = world.sample_labels(len(captions), g, objects=counts)
    stated, right = world.matches(labels, captions.statements)
    hits = int((stated == right).all(1).sum())
    low, high = wilson(hits, len(captions))
    return {"all": hits / len(captions), "low": low, "high": high, "n": len(captions)}


def diversity(pictures: Tensor) -> float:
    """Mean absolute difference between pictures (B, 3, H, W) drawn from one caption, over pairs; 0 is collapse."""
    n = expect_shape(pictures, "B C H W", name="pictures")["B"]
    if n < 2:
        raise ValueError("diversity: expected at least two pictures of the same caption.")
    flat = pictures.flatten(1)
    return float(torch.nn.functional.pdist(flat, p=1).mean() / flat.shape[1])


def openness(draw: Draw, judge: Judge, *, n: int = 48, seed: int = 0) -> dict[str, float]:
    """How evenly noise decides what captions leave open: entropy over its maximum, the mean over captions.

    Every third seen pair of colour and shape is asked for n times ("a red circle"), which leaves place and size open.
    0: each caption has one place (size) that never changes; 1: all are as frequent. Pictures that the judge reads as
    two things are left out.
    """
    pairs = [(c, s) for c in world.COLOURS for s in world.SHAPES if (c, s) not in world.HELD_OUT][::3]
    asked = [f"{'an' if c == 'orange' else 'a'} {c} {s}" for c, s in pairs for _ in range(n)]
    read = judge.read(draw(asked, torch.Generator().manual_seed(seed)))
    found: dict[str, list[float]] = {"place": [], "size": []}
    for rows in read.split(n):
        rows = rows[rows[:, 0] == 1]
        for name, column, kinds in (("place", 7, 5), ("size", 3, 2)):
            share = torch.bincount(rows[:, column], minlength=kinds)[:kinds] / max(1, len(rows))
            found[name].append(float(torch.special.entr(share).sum() / math.log(kinds)))
    return {name: sum(values) / len(values) for name, values in found.items()}


def measure_text2image(
    draw: Draw, judge: Judge, sets: dict[str, CaptionSet], *, seed: int = 0, blank: Draw | None = None
) -> dict[str, dict[str, dict[str, float]]]:
    """Caption accuracy of ``draw(captions, rng)`` on named caption sets, each beside its ceiling and chance.

    ``blank`` draws without the text (the no-text control) and is measured on the same captions.
    """
    table: dict[str, dict[str, dict[str, float]]] = {}
    for name, captions in sets.items():
        row = {}
        for kind, how in (("model", draw), ("no_text", blank)):
            if how is not None:
                pictures = how(captions.captions, torch.Generator().manual_seed(seed))
                row[kind] = caption_accuracy(judge, pictures, captions.statements)
        row["ceiling"], row["chance"] = ceiling(judge, captions, seed=seed), chance(captions, seed=seed)
        table[name] = row
    return table


# ------------------------------------------------------------------------------------------------------------- repairs


def hole_psnr(x: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """The peak signal-to-noise ratio in dB over the hole's pixels alone, one a picture: (B,).

    Pictures (B, 3, H, W) in [-1, 1], so the peak is 2; the mask (B, 1, H, W) is 1 in the hole. Infinite where the fill
    is exact. The mean over pictures rewards holes that hide nothing; ``pooled_psnr`` weighs every pixel alike. Raises
    ``ValueError`` where a picture has no hole.
    """
    error = ((x - truth).square() * mask).sum((1, 2, 3)) / _hole_numbers(x, mask)
    return -10 * torch.log10(error / 4)


def pooled_psnr(x: Tensor, truth: Tensor, mask: Tensor) -> float:
    """The same with the mean squared error taken over all holes' pixels together, one number."""
    error = ((x - truth).square() * mask).sum() / _hole_numbers(x, mask).sum()
    return float(-10 * torch.log10(error / 4))


def _hole_numbers(x: Tensor, mask: Tensor) -> Tensor:
    numbers = expect_mask(mask, x).sum((1, 2, 3)) * x.shape[1]
    if not bool((numbers > 0).all()):
        raise ValueError("mask: a picture has no hole, so there is nothing to measure.")
    return numbers


def seam_ratio(x: Tensor, truth: Tensor, mask: Tensor) -> float:
    """How much larger the jumps across the holes' edges are than in the truth: 1 is right, more is a visible seam.

    The mean absolute difference of neighbours of which one is known and one filled, over all of them, divided by the
    same of the true pictures. Raises ``ValueError`` where no edge is there, or the truth has no jump there at all.
    """
    expect_mask(mask, x)
    jumps = []
    for picture in (x, truth):
        across = (picture[..., 1:] - picture[..., :-1]).abs() * (mask[..., 1:] != mask[..., :-1])
        down = (picture[..., 1:, :] - picture[..., :-1, :]).abs() * (mask[..., 1:, :] != mask[..., :-1, :])
        jumps.append(float(across.sum() + down.sum()))
    if not jumps[1]:
        raise ValueError("seam_ratio: the true pictures have no jump at the holes' edges to compare with.")
    return jumps[0] / jumps[1]


def spread_in_hole(fills: Tensor, mask: Tensor) -> Tensor:
    """How much fills of the same holes differ: fills (K, B, 3, H, W), masks (B, 1, H, W), K >= 2, to (B,).

    The mean absolute difference over pairs of fills, over the hole's numbers; 0 where z is ignored.
    """
    if fills.dim() != 5 or len(fills) < 2:
        raise ValueError(f"fills: expected at least two fills of each hole, (K, B, 3, H, W), got {tuple(fills.shape)}.")
    pairs = torch.combinations(torch.arange(len(fills)))
    apart = (fills[pairs[:, 0]] - fills[pairs[:, 1]]).abs() * mask  # (P, B, 3, H, W)
    return apart.sum((2, 3, 4)).mean(0) / _hole_numbers(fills[0], mask)


def thing_right(judge: Judge, pictures: Tensor, statements: Tensor, which: Tensor) -> Tensor:
    """Whether the judge reads thing A (``which`` = 0) or B (1) of each picture as its statement about one thing says:
    (B, 3) bool, for shape, colour and size; what is left open counts as right."""
    expect_shape(statements, "B 8", name="statements")
    read, rows = judge.read(pictures), torch.arange(len(pictures))
    stated = statements[:, 1:4]
    found = torch.stack([read[rows, 1 + 3 * which + k] for k in range(3)], dim=1)  # (B, 3)
    return (found == stated) | (stated == world.OPEN)


def leak_probe(inputs: Tensor, hidden: Tensor, *, strength: float = 100.0) -> dict[str, float]:
    """Can what is hidden be read off what a network is shown? A linear reader tries: inputs (B, ...) and the hidden
    class of each (B,).

    It learns on the first half and is asked about the second. Returns its share ``right``, that of the commonest class,
    ``chance``, and ``high``, the upper end of chance's 95 % interval. Above ``high`` something leaks.
    """
    from sklearn.linear_model import RidgeClassifier

    n = len(inputs) // 2
    flat = inputs.flatten(1).double().numpy()
    reader = RidgeClassifier(alpha=strength).fit(flat[:n], hidden[:n].numpy())
    right = float((reader.predict(flat[n:]) == hidden[n:].numpy()).mean())
    most = int(hidden[n:].bincount().max())
    return {"right": right, "chance": most / (len(hidden) - n), "high": wilson(most, len(hidden) - n)[1]}


def holes_of(source: str, n: int, g: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Pictures that no training saw (n, 3, 32, 32), and masks by name: boxes and strokes of a quarter of the picture,
    the centre 16x16 kept ("outpaint"), and, in the world, one thing hidden whole ("thing")."""
    expect_one_of(source, ("world", "photographs"), name="source")
    if source == "world":
        scenes = world.sample_scenes(n, g)
        x, more = world.draw(scenes), {"thing": inpainting.hide_thing(scenes, g)[0]}
    else:
        x, more = pictures.tiles(n, g, split="test"), {}
    holes = {"box": masks.boxes(n, g), "stroke": masks.strokes(n, g), "outpaint": masks.borders(n)}
    return x, {**holes, **more}


def measure_repair(
    G: inpainting.Inpainter, source: str = "world", *, n: int = 500, seed: int = 0, classical: bool = False
) -> dict[str, dict[str, float]]:
    """An inpainter on holes of each kind (``holes_of``): ``psnr`` pooled over all holes' pixels, ``psnr_each`` the
    mean over pictures (60 dB at most), the ``seam`` ratio, the ``spread`` of three fills, and ``known``, the share of
    pictures whose known pixels came back bit for bit. With ``classical`` also each classical way's figures."""
    g = torch.Generator().manual_seed(90_000 + seed)
    x, holes = holes_of(source, n, g)
    table: dict[str, dict[str, float]] = {}
    for name, mask in holes.items():
        fills = torch.stack(
            [inpainting.fill(G, x, mask, torch.randn(n, G.hparams["z"], generator=g)) for _ in range(3)]
        )
        kept = torch.where(mask > 0, x, fills[0]).eq(x).flatten(1).all(1)
        table[name] = {
            **_repair_row(fills[0], x, mask),
            "spread": float(spread_in_hole(fills, mask).mean()),
            "known": float(kept.float().mean()),
            "n": n,
        }
        for method in METHODS if classical else ():
            row = _repair_row(repair(x, mask, method), x, mask)
            table[name] |= {f"{method} {key}": value for key, value in row.items()}
    return table


def _repair_row(x: Tensor, truth: Tensor, mask: Tensor) -> dict[str, float]:
    return {
        "psnr": pooled_psnr(x, truth, mask),
        "psnr_each": float(hole_psnr(x, truth, mask).clamp(max=60).mean()),
        "seam": seam_ratio(x, truth, mask),
    }


def measure_guided(
    G: inpainting.Inpainter, judge: Judge, encode: Encode, *, n: int = 1000, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """A text-guided inpainter on one hidden thing a picture, by the independent judge: shares of pictures on which the
    thing's shape, colour and size are all right, for "seen" and "held_out" compositions.

    ``right``: the sentence tells the hidden thing ("a small red circle"). ``whole``: it tells the whole picture.
    ``swapped``: it tells a thing that differs by one fact, and that thing appears. ``no_text``: nothing is said.
    ``truth``: the judge on the real pictures. ``leak``: a linear reader of the network's input about each hidden fact.
    """
    table: dict[str, dict[str, Any]] = {}
    for name, split in (("seen", "train"), ("held_out", "held_out")):
        g, rng = torch.Generator().manual_seed(70_000 + seed), random.Random(seed)
        scenes = world.sample_scenes(n, g, split=split)
        x = world.draw(scenes)
        mask, which = inpainting.hide_thing(scenes, g)
        stated = inpainting.thing(scenes.labels, which)
        changed = inpainting.change_one(stated, g)
        z = torch.randn(n, G.hparams["z"], generator=g)
        row: dict[str, Any] = {}
        told = encode(world.captions(stated, rng))
        said = {
            "right": (told, stated),
            "whole": (encode(world.captions(scenes.labels, rng)), stated),
            "swapped": (encode(world.captions(changed, rng)), changed),
            "no_text": (torch.zeros_like(told), stated),
        }
        for kind, (text, wanted) in said.items():
            made = inpainting.fill(G, x, mask, z, text)
            found = thing_right(judge, made, wanted, which)
            row[kind] = float(found.all(1).float().mean())
            if kind == "right":
                row |= dict(zip(("shape", "colour", "size"), found.float().mean(0).tolist(), strict=True))
                row["seam"] = seam_ratio(made, x, mask)
                row["known"] = float(torch.where(mask > 0, x, made).eq(x).flatten(1).all(1).float().mean())
        row["low"], row["high"] = wilson(round(n * row["right"]), n)
        row["truth"] = float(thing_right(judge, x, stated, which).all(1).float().mean())
        inputs = inpainting.build_input(x, mask)
        row["leak"] = {k: leak_probe(inputs, stated[:, 1 + i]) for i, k in enumerate(("shape", "colour", "size"))}
        table[name] = {**row, "n": n}
    return table


# --------------------------------------------------------------------------------------------------------------- sound


@torch.no_grad()
def measure_hearing(
    tower: hearing.AudioTower, G: Any, judge: Judge, encode: Encode, *, n: int = 1000, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Pictures of the unchanged text-to-image generator, asked by sound: shares on which all that is stated is right,
    for "seen" and "held_out" compositions, n statements each with the same noise z throughout.

    ``text``: asked by a caption, what the sound is measured against. ``sound``: by the sound; with ``corrected`` the
    sounds' mean is replaced by the captions' first. ``silence`` and ``noise``: by a clip that tells nothing.
    ``chance``: real scenes of other statements. In ``parts`` facts are shared out between a caption and a sound
    (``hearing.share_facts``) and everything that is true of the scene is asked for: ``text`` and ``sound`` alone,
    ``both``; ``whole_text`` and ``whole_sound`` tell all, ``whole_both`` is the mean of these two vectors.
    """
    table: dict[str, dict[str, Any]] = {}
    for name, split in (("seen", "train"), ("held_out", "held_out")):
        g, rng = torch.Generator().manual_seed(50_000 + seed), random.Random(seed)
        labels = world.sample_labels(n, g, split=split)
        stated = world.state(labels, g, require="held_out" if split == "held_out" else "")
        z = torch.randn(n, G.hparams["z"], generator=g)

        def right(cond: Tensor, wanted: Tensor, z: Tensor = z) -> dict[str, float]:
            drawn = torch.cat([G(a, b) for a, b in zip(z.split(250), cond.split(250), strict=True)])
            return caption_accuracy(judge, drawn, wanted)

        captions = CaptionSet(world.captions(stated, rng), stated, labels)
        told, heard = encode(captions.captions), tower.hear(sounds.sound(stated, g))
        row: dict[str, Any] = {
            "text": right(told, stated),
            "sound": right(heard, stated),
            "corrected": right(hearing.corrected(heard, heard.mean(0), told.mean(0)), stated),
            "silence": right(tower.hear(sounds.silence(1)).expand(n, -1), stated),
            "noise": right(tower.hear(sounds.white_noise(n, g)), stated),
            "chance": chance(captions, seed=seed),
        }
        one, other, shared = hearing.share_facts(labels, g)
        said, sounded = encode(world.captions(one, rng)), tower.hear(sounds.sound(other, g))
        whole, all_heard = encode(world.captions(labels, rng)), tower.hear(sounds.sound(labels, g))
        row["parts"] = {
            "text": right(said, labels),
            "sound": right(sounded, labels),
            "both": right(hearing.both(said, sounded, encode(world.captions(shared, rng))), labels),
            "whole_text": right(whole, labels),
            "whole_sound": right(all_heard, labels),
            "whole_both": right(torch.nn.functional.normalize(whole + all_heard, dim=1), labels),
        }
        table[name] = row
    return table


@torch.no_grad()
def measure_heard_holes(
    tower: hearing.AudioTower,
    G: inpainting.Inpainter,
    judge: Judge,
    encode: Encode,
    *,
    n: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """The unchanged text-guided inpainter, asked by the sound of the hidden thing: shares of holes whose thing has all
    three attributes right, by ``text``, by ``sound``, and by ``silence``; ``known``, the share of pictures whose known
    pixels stayed as they were, in the worst of the three."""
    table: dict[str, dict[str, float]] = {}
    for name, split in (("seen", "train"), ("held_out", "held_out")):
        g, rng = torch.Generator().manual_seed(60_000 + seed), random.Random(seed)
        scenes = world.sample_scenes(n, g, split=split)
        x = world.draw(scenes)
        mask, which = inpainting.hide_thing(scenes, g)
        stated = inpainting.thing(scenes.labels, which)
        z = torch.randn(n, G.hparams["z"], generator=g)
        asked = {
            "text": encode(world.captions(stated, rng)),
            "sound": tower.hear(sounds.sound(stated, g)),
            "silence": tower.hear(sounds.silence(1)).expand(n, -1),
        }
        row: dict[str, float] = {"n": n, "known": 1.0}
        for kind, cond in asked.items():
            made = inpainting.fill(G, x, mask, z, cond)
            row[kind] = float(thing_right(judge, made, stated, which).all(1).float().mean())
            kept = torch.where(mask > 0, x, made).eq(x).flatten(1).all(1)
            row["known"] = min(row["known"], float(kept.float().mean()))
        table[name] = row
    return table
