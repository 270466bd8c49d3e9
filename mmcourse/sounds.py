"""The world's own sounds: what a scene's statement sounds like, made on the spot (lesson 12).

Each thing is one note. Its **rhythm** tells the shape: one long stroke for a circle, two strokes for a cross, three for
a triangle, four for a square, five for a star, and for a ring one that swells and fades. Its **pitch** tells the
colour, its **timbre** the size: small is a pure tone, large a full one. Where it stands is told by the ear that hears
it (left, right), or by a click (top) or a thud (bottom) at its start; in the centre there is neither. Two things are
two notes, one after the other, in any order: of two beside each other A sounds on the left and B on the right, of two
stacked A has the click and B the thud.

What a statement leaves open is heard as open: a breath for the shape, a siren for the colour, a hollow tone for the
size, a note that wanders between the ears for the place; of two such things A sounds first, as it is named first. What
no statement tells is nuisance: loudness, a slightly wrong pitch, the moment of each note, a little noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmcourse import world
from mmcourse.audio import LENGTH, RATE
from mmcourse.checks import expect_shape

#: Hz, one a colour: a minor third apart, over two octaves less one step.
PITCHES = tuple(round(262 * 2 ** (k / 4), 1) for k in range(len(world.COLOURS)))
SECONDS = 0.46  # of every note
#: Strokes of a note, one number a shape of ``world.SHAPES``; the ring's one swells and fades.
STROKES = (1, 4, 3, 2, 1, 5)
# how strong the partials are (once, twice, three times, four times the pitch): small, large, and where the size is open
_PARTIALS = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.8, 0.8, 0.7, 0.6], [1.0, 0.0, 0.9, 0.0]])
_TOP = RATE / 2 * 0.95  # a partial above this is left out: it would come back as a false low tone
_NEAR, _FAR = 1.0, 0.12  # loudness in the ear on the thing's side and in the other


def _pair(statements: Tensor) -> tuple[Tensor, Tensor]:
    """Statements (B, 8) as shape, colour and size of both things (B, 2, 3) and both places (B, 2).

    A place is an index of ``world.LAYOUTS`` below ``BESIDE``, or ``OPEN``.
    """
    facts = torch.stack([statements[:, 1:4], statements[:, 4:7]], dim=1)  # (B, 2, 3)
    layout = statements[:, 7]
    left, right, top, bottom = (world.LAYOUTS.index(k) for k in ("left", "right", "top", "bottom"))
    a = torch.where(layout == world.BESIDE, left, torch.where(layout == world.STACKED, top, layout))
    b = torch.where(layout == world.BESIDE, right, torch.where(layout == world.STACKED, bottom, layout))
    return facts, torch.stack([a, b], dim=1)


def _uniform(shape: tuple[int, ...], low: float, high: float, g: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=g, device=g.device)


def sound(statements: Tensor, g: torch.Generator, *, noise: float = 1.0) -> Tensor:
    """Statements or labels (B, 8) as sounds: stereo waves (B, 2, ``LENGTH``) in [-1, 1], on the generator's device.

    ``noise`` scales the background noise; 0 leaves it out. Raises ``ValueError`` for another shape, for values out
    of range, or for a layout that does not fit the count.
    """
    n = expect_shape(statements, "B 8", name="statements")["B"]
    if statements.is_floating_point():
        raise ValueError(f"statements: expected integers, got {statements.dtype}.")
    high = torch.tensor(world.CLASSES, device=statements.device)
    high[0] = 3
    low = torch.tensor([1] + 7 * [world.OPEN], device=statements.device)
    if not bool(((statements >= low) & (statements < high)).all()):
        raise ValueError("statements: expected rows of world.COLUMNS, count 1 or 2 and -1 for what is open.")
    two = statements[:, 0] == 2
    layout = statements[:, 7]
    fits = torch.where(two, layout >= world.BESIDE, layout < world.BESIDE) | (layout == world.OPEN)
    if not bool(fits.all()):
        raise ValueError("statements: expected one thing in a spot, or two beside or above each other, not a mixture.")
    facts, places = _pair(statements)
    turned = two & (statements[:, 7] != world.OPEN)  # "A and B" names A first; where places tell, B may come first
    turned &= torch.rand(n, generator=g, device=g.device) < 0.5
    early, late = _uniform((n,), 0.02, 0.10, g), _uniform((n,), 0.66, 0.74, g)
    starts = torch.stack([torch.where(turned, late, early), torch.where(turned, early, late)], dim=1)
    at = torch.arange(LENGTH, device=g.device) / RATE
    time = at - starts[..., None]  # (B, 2, N): seconds since each note's start
    heard = _note(facts, time, g)
    heard = heard + _marks(places, time)
    heard = heard * torch.stack([torch.ones_like(two), two], 1)[..., None]  # no second thing, no second note
    gains = _ears(places, time)  # (B, 2 things, 2 ears, N or 1)
    wave = (heard[:, :, None] * gains).sum(1)  # (B, 2 ears, N)
    wave = 0.45 * wave / wave.abs().amax((1, 2), keepdim=True).clamp(min=1e-3)
    wave = wave * 10 ** (_uniform((n, 1, 1), -12, 6, g) / 20)
    hiss = 10 ** (_uniform((n, 1, 1), -65, -42, g) / 20) * noise
    return (wave + hiss * torch.randn(wave.shape, generator=g, device=g.device)).clamp(-1, 1)


def _note(facts: Tensor, time: Tensor, g: torch.Generator) -> Tensor:
    """The tone of each thing: facts (B, 2, 3) and seconds since its start (B, 2, N) to (B, 2, N)."""
    shape, colour, size = facts.unbind(-1)
    wrong = 2 ** (_uniform(tuple(shape.shape), -0.3, 0.3, g) / 12)
    pitch = torch.tensor(PITCHES, device=g.device)[colour.clamp(min=0)] * wrong
    # an open colour wanders over all pitches, up and down
    open_ = colour == world.OPEN
    phase = 2 * math.pi * pitch[..., None] * time
    if bool(open_.any()):
        swing = (math.log(PITCHES[-1] / PITCHES[0]) / 2) * torch.sin(2 * math.pi * 5 * time[open_])
        siren = math.sqrt(PITCHES[0] * PITCHES[-1]) * torch.cumsum(torch.exp(swing), dim=-1) / RATE
        phase[open_] = 2 * math.pi * siren
    highest = torch.where(open_, torch.full_like(pitch, PITCHES[-1]), pitch)
    strengths = _PARTIALS.to(g.device)[size]  # (B, 2, 4); open, -1, is the last row
    tone = torch.zeros_like(time)
    for k in range(4):
        strength = strengths[..., k] * (highest * (k + 1) < _TOP)
        tone += strength[..., None] * torch.sin(phase * (k + 1))
    open_ = shape == world.OPEN  # the tone becomes noise around the pitch
    if bool(open_.any()):
        tone[open_] *= 1.5 * _breath(tone[open_].shape, g)
    return tone * _rhythm(shape, time)


def _rhythm(shape: Tensor, time: Tensor) -> Tensor:
    """How loud each note is, from 0 to 1: shapes (B, 2), seconds since its start (B, 2, N), to (B, 2, N)."""
    strokes = torch.tensor([*STROKES, 1], device=time.device)[shape][..., None]  # open, -1, is the last
    one = SECONDS / strokes  # seconds from a stroke to the next
    since = time - one * torch.floor(time / one).clamp(min=torch.zeros_like(one), max=strokes - 1)
    sounding = torch.where(strokes > 1, 0.6 * one, one)
    steady = _envelope(since, sounding)
    swell = torch.sin(math.pi * (time / SECONDS).clamp(0, 1)) ** 4
    return torch.where((shape == world.SHAPES.index("ring"))[..., None], swell, steady)


def _breath(shape: torch.Size, g: torch.Generator) -> Tensor:
    """Noise below some 150 Hz: multiplied with a tone it becomes noise about the tone."""
    rough = torch.randn(*shape[:-1], shape[-1] // 40 + 2, generator=g, device=g.device)
    return torch.nn.functional.interpolate(rough[None], size=shape[-1], mode="linear", align_corners=False)[0]


def _envelope(time: Tensor, seconds: Tensor) -> Tensor:
    """1 from 0 to ``seconds``, with flanks of 10 ms, so that nothing clicks."""
    return (time / 0.01).clamp(0, 1) * ((seconds - time) / 0.01).clamp(0, 1)


def _marks(places: Tensor, time: Tensor) -> Tensor:
    """A click at 3,300 Hz for the top, a thud at 110 Hz for the bottom: places (B, 2), time (B, 2, N), to (B, 2, N)."""
    out = torch.zeros_like(time)
    for name, hertz in (("top", 3300.0), ("bottom", 110.0)):
        here = places == world.LAYOUTS.index(name)
        out += here[..., None] * torch.sin(2 * math.pi * hertz * time) * _envelope(time, torch.full_like(time, 0.09))
    return out


def _ears(places: Tensor, time: Tensor) -> Tensor:
    """How loud each thing is in the left and in the right ear: (B, 2 things, 2 ears, N)."""
    middle = torch.full_like(time, math.sqrt(0.5))
    wander = 0.5 + 0.5 * torch.sin(2 * math.pi * 5 * time)  # an open place
    left, right = (world.LAYOUTS.index(k) for k in ("left", "right"))
    ears = []
    for near, far, swing in ((left, right, wander), (right, left, 1 - wander)):
        loud = torch.where((places == near)[..., None], torch.full_like(time, _NEAR), middle)
        loud = torch.where((places == far)[..., None], torch.full_like(time, _FAR), loud)
        ears.append(torch.where((places == world.OPEN)[..., None], _FAR + (_NEAR - _FAR) * swing, loud))
    return torch.stack(ears, dim=2)


def silence(n: int) -> Tensor:
    """n clips of nothing: (n, 2, ``LENGTH``)."""
    return torch.zeros(n, 2, LENGTH)


def white_noise(n: int, g: torch.Generator, *, loud: float = 0.1) -> Tensor:
    """n clips of noise that tells nothing (n, 2, ``LENGTH``), ``loud`` its standard deviation."""
    return (loud * torch.randn(n, 2, LENGTH, generator=g)).clamp(-1, 1)
