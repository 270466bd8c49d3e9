"""Figures of sound: waves over time, and what was said, heard and drawn side by side (lesson 12).

The style is that of ``plots``: a figure shows itself as the last line of a cell and writes a PNG when given a ``path``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from torch import Tensor

from mmcourse.audio import FLOOR, HOP, RATE
from mmcourse.checks import expect_shape
from mmcourse.plots import (
    COLOURS,
    DPI,
    FAINT,
    Sheet,
    _axes_style,
    _cell,
    _finish,
    _head,
    _line_height,
    _page,
    _put,
    _words,
    _wrap,
    _write_lines,
    to_bytes,
)


def waves(
    named: Mapping[str, Tensor], *, rate: int = RATE, title: str | None = None, path: str | Path | None = None
) -> Sheet:
    """Waves (N,) or (C, N) in [-1, 1] over seconds, one panel a wave; a second channel is drawn below the first.

    Raises ``ValueError`` where there is nothing to draw.
    """
    if not named:
        raise ValueError("waves: expected at least one wave, got none.")
    figure = Sheet(
        figsize=(8, 0.6 + sum(1.4 if wave.dim() == 2 else 1.15 for wave in named.values())),
        dpi=DPI,
        facecolor="white",
        layout="constrained",
    )
    panels = figure.subplots(len(named), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (name, wave) in zip(panels, named.items(), strict=True):
        channels = wave[None] if wave.dim() == 1 else wave
        middles = [-2.2 * k for k in range(len(channels))]  # one below the other: none hides another
        for k, (channel, middle) in enumerate(zip(channels, middles, strict=True)):
            seconds = np.arange(channel.shape[-1]) / rate
            ax.plot(seconds, middle + channel.cpu().numpy(), lw=0.5, color=COLOURS[k])
        _axes_style(ax, title=name, x="seconds" if ax is panels[-1] else "")
        ax.set_ylim(middles[-1] - 1.1, 1.1)
        if len(channels) == 2:
            ax.set_yticks(middles, ["left ear", "right ear"])
    if title:
        figure.suptitle(title, x=0.01, ha="left", **_words(11, bold=True))
    return _finish(figure, path)


def heard_sheet(
    spectra: Tensor,
    pictures: Tensor,
    captions: Sequence[str],
    *,
    columns: Sequence[str] = (),
    title: str | None = None,
    scale: float = 2.0,
    text_width: int = 190,
    path: str | Path | None = None,
) -> Sheet:
    """One row a sound: what it says, what each ear hears, and pictures.

    ``spectra`` (R, channels, mels, frames) in dB, low bands at the bottom, black at ``audio.FLOOR``; ``pictures``
    (R, K, 3 or 1, H, W) in [-1, 1]; ``captions`` R texts; ``columns`` K names over the pictures. Raises ``ValueError``
    on shapes that do not fit each other.
    """
    sizes = expect_shape(spectra, "R C M T", name="spectra")
    rows = sizes["R"]
    if len(pictures) != rows or pictures.dim() != 5 or len(captions) != rows:
        raise ValueError(
            f"heard_sheet: expected pictures ({rows}, K, C, H, W) and {rows} captions, one a sound, got "
            f"{tuple(pictures.shape)} and {len(captions)}."
        )
    if columns and len(columns) != pictures.shape[1]:
        raise ValueError(f"columns: expected {pictures.shape[1]} names, one a picture of a row, got {len(columns)}.")
    images = to_bytes(pictures.flatten(0, 1))
    width, height = _cell(images.shape, scale)
    gap, size, long = 8, 9.0, 2 * height
    levels = ((spectra.flip(2).cpu() - FLOOR) / -FLOOR).clamp(0, 1).numpy()  # (R, C, mels, frames), high bands first
    inked = (255 * colormaps["magma"](levels)[..., :3]).astype(np.uint8)
    ears = ["left ear", "right ear"] if sizes["C"] == 2 else ["heard"]
    left, top = 8 + text_width + 30, gap + (24 if title else 0) + round(_line_height(size)) + 4
    figure, ax = _page(
        left + len(ears) * (long + gap) + pictures.shape[1] * (width + gap), top + rows * (height + gap) + 10
    )
    _head(ax, title)
    for k, name in enumerate(ears):
        ax.text(left + k * (long + gap) + long / 2, top - 5, name, ha="center", va="bottom", **_words(size))
    start = left + len(ears) * (long + gap)
    for k, name in enumerate(columns):
        ax.text(start + k * (width + gap) + width / 2, top - 5, name, ha="center", va="bottom", **_words(size))
    for r, caption in enumerate(captions):
        y, lines = top + r * (height + gap), _wrap(caption, text_width - 10, size)
        _write_lines(ax, lines, left - 40, y + (height - len(lines) * _line_height(size)) / 2, size, ha="right")
        for word, at, va in (("high", y, "top"), ("low", y + height, "bottom")):
            ax.text(left - 4, at, word, ha="right", va=va, **_words(7, colour=FAINT))
        for k in range(len(ears)):
            _put(ax, inked[r, k], left + k * (long + gap), y, long, height)
        for k in range(pictures.shape[1]):
            _put(ax, images[r * pictures.shape[1] + k], start + k * (width + gap), y, width, height)
    seconds = f"{(sizes['T'] - 1) * HOP / RATE:.1f} s"
    for k in range(len(ears)):
        for word, at, ha in (("0", 0, "left"), (seconds, long, "right")):
            place = left + k * (long + gap) + at, top + rows * (height + gap) - gap + 1
            ax.text(*place, word, ha=ha, va="top", **_words(7, colour=FAINT))
    return _finish(figure, path)
