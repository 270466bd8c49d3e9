"""Figures of measures: how a measure depends on N, which measure sees which damage, and which pictures lie too near to
the training set (lesson 05).

The style is that of ``plots``: a figure shows itself as the last line of a cell and writes a PNG when given a ``path``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from mmcourse.plots import (
    COLOURS,
    DASHES,
    FAINT,
    INK,
    Sheet,
    _axes_style,
    _chart,
    _finish,
    _font,
    _page,
    _words,
    _wrap,
)

SEEN, QUIET = "#F6C9A0", "#F1F1F1"  # the ground of a value outside and inside its usual range
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def against_size(
    lines: Mapping[str, Sequence[Sequence[float]]],
    sizes: Sequence[int],
    *,
    title: str | None = None,
    label: str = "Frechet distance",
    path: str | Path | None = None,
) -> Sheet:
    """A measure over the number of pictures, both axes logarithmic: the median of several rounds, and all of them.

    ``lines`` holds for each name one list of rounds a size, all above 0. Raises ``ValueError`` where a line has another
    number of sizes or an empty list, or a value is not above 0.
    """
    if not lines or not sizes:
        raise ValueError("lines: expected at least one line and one size, got none.")
    for name, rows in lines.items():
        if len(rows) != len(sizes) or not all(rows):
            raise ValueError(f"{name}: expected values for each of {len(sizes)} sizes, got {[len(r) for r in rows]}.")
        if not all(0 < v < math.inf for row in rows for v in row):
            raise ValueError(f"{name}: expected values above 0, for a logarithmic axis. Leave out N of 0 distance.")
    figure, ax = _chart(8, 4.2)
    for i, (name, rows) in enumerate(lines.items()):
        colour, shift = COLOURS[i % len(COLOURS)], 1 + 0.03 * (i - (len(lines) - 1) / 2)  # side by side
        at = [n * shift for n in sizes]
        ax.plot(at, [median(row) for row in rows], color=colour, lw=2, ls=DASHES[i % len(DASHES)], label=name)
        for x, row in zip(at, rows, strict=True):
            ax.plot([x] * len(row), row, ls="", marker=MARKERS[i % len(MARKERS)], ms=4.5, mfc="none", mec=colour)
    _axes_style(ax, title=title, x="pictures in each set", y=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
    ax.set_xticks([], minor=True)
    _level_ticks(ax, [v for rows in lines.values() for row in rows for v in row])
    box = ax.legend(frameon=False, prop=_font(9), handlelength=4)
    for text in box.get_texts():
        text.set(color=INK, parse_math=False)
    return _finish(figure, path)


def _level_ticks(ax: Axes, values: Sequence[float]) -> None:
    """Plain numbers, 1, 2 and 5 times a power of ten, along a logarithmic vertical axis."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    ticks = [m * 10.0**e for e in range(low, high + 1) for m in (1, 2, 5)]
    kept = [t for t in ticks if min(values) / 1.6 <= t <= max(values) * 1.6]
    ax.set_yticks(kept, [f"{t:g}" for t in kept])
    ax.set_yticks([], minor=True)


def usual_range(rounds: Sequence[float]) -> tuple[float, float]:
    """The range of several rounds of real pictures, made wider by its own width at both ends.

    Raises ``ValueError`` for fewer than two rounds.
    """
    if len(rounds) < 2:
        raise ValueError(f"rounds: expected at least two, got {len(rounds)}.")
    width = max(rounds) - min(rounds)
    return min(rounds) - width, max(rounds) + width


def sees(value: float, usual: tuple[float, float], *, higher_is_better: bool) -> bool:
    """Whether a value is worse than all that is usual for real pictures. NaN is not."""
    return value < usual[0] if higher_is_better else value > usual[1]


def table(
    rows: Mapping[str, Mapping[str, float]],
    usual: Mapping[str, tuple[float, float]],
    *,
    lower_is_better: Sequence[str] = (),
    rule_after: Sequence[str] = (),
    title: str | None = None,
    path: str | Path | None = None,
) -> Sheet:
    """Sets of pictures by measures, the numbers written in.

    ``usual`` gives the range of real pictures for each measure, and its columns. A value worse than that stands bold on
    an orange ground with an arrow that says in which direction it left; all others on grey. What a row lacks, or is
    NaN, is a dash. ``rule_after`` names rows under which a line is drawn. Raises ``ValueError`` on an empty table.
    """
    if not rows or not usual:
        raise ValueError("rows and usual: expected at least one set of pictures and one measure, got none.")
    left, across, high, gap = 196, min(110.0, 596 / len(usual)), 30, 3
    heads = [_wrap(name, across - 4, 9) for name in usual]
    top = (40 if title else 12) + max(map(len, heads)) * 17 + 20
    note = _wrap("orange, with an arrow: worse than sets of real pictures are; grey: not told from real", 780, 9)
    figure, ax = _page(800, top + len(rows) * (high + gap) + 10 + 18 * len(note))
    if title:
        ax.text(8, 8, title, va="top", **_words(11, bold=True))
    for c, (name, lines) in enumerate(zip(usual, heads, strict=True)):
        x = left + (c + 0.5) * across
        for i, line in enumerate(lines):
            ax.text(x, top - 22 - 17 * (len(lines) - 1 - i), line, ha="center", va="bottom", **_words(9, bold=True))
        word = "lower is better" if name in lower_is_better else "higher is better"
        ax.text(x, top - 5, word, ha="center", va="bottom", **_words(6.5, colour=FAINT))
    y = float(top)
    for row, values in rows.items():
        ax.text(left - 10, y + high / 2, row, ha="right", va="center", **_words(9))
        for c, (name, span) in enumerate(usual.items()):
            value = values.get(name, math.nan)
            _value(ax, value, span, name not in lower_is_better, left + c * across, y, across - gap, high)
        y += high + gap
        if row in rule_after:
            ax.plot([8, left + len(usual) * across], [y - gap / 2] * 2, color=INK, lw=1.2)
    for i, line in enumerate(note):
        ax.text(8, y + 6 + 18 * i, line, va="top", **_words(9, colour=FAINT))
    return _finish(figure, path)


def _value(
    ax: Axes, value: float, usual: tuple[float, float], up: bool, x: float, y: float, width: float, height: float
) -> None:
    seen = sees(value, usual, higher_is_better=up)
    ax.add_patch(Rectangle((x, y), width, height, fc=SEEN if seen else QUIET, ec="none"))
    said = "–" if math.isnan(value) else f"{value:.2f}" if abs(value) < 9.995 else f"{value:.0f}"
    said = said if not seen else f"{said} {'▼' if up else '▲'}"
    ax.text(x + width / 2, y + height / 2, said, ha="center", va="center", **_words(9, bold=seen))


def neighbours(
    sets: Mapping[str, tuple[Tensor, Tensor]],
    *,
    ratio: float = 0.5,
    title: str | None = None,
    path: str | Path | None = None,
) -> Sheet:
    """For each picture the distance to its nearest training picture (across) and nearest other real one (up).

    ``sets`` holds two tensors (N,) a name. The dashed line is where both are equal; left of the full line the training
    picture is nearer by the factor ``ratio``. Raises ``ValueError`` on tensors of two lengths and unless 0 < ratio < 1.
    """
    if not 0 < ratio < 1:
        raise ValueError(f"ratio: expected a number between 0 and 1, got {ratio}.")
    for name, (a, b) in sets.items():
        if a.shape != b.shape or a.ndim != 1 or not len(a):
            raise ValueError(f"{name}: expected two lists of one length, got {tuple(a.shape)} and {tuple(b.shape)}.")
    figure, ax = _chart(8, 4.4)
    for i, (name, (a, b)) in enumerate(sets.items()):
        ax.scatter(a, b, s=16, marker=MARKERS[i % len(MARKERS)], color=COLOURS[i % len(COLOURS)], alpha=0.6, label=name)
    ends = torch.cat([torch.cat(pair) for pair in sets.values()])
    reach = 1.05 * float(ends.max())
    ax.plot([0, reach], [0, reach], color=FAINT, lw=1.2, ls="--", label="equally near")
    ax.plot([0, ratio * reach], [0, reach], color=INK, lw=1.4, label="left of this line: flagged")
    ax.set(xlim=(0, reach), ylim=(0, reach))
    _axes_style(ax, title=title, x="distance to the nearest training picture", y="to the nearest other real one")
    box = ax.legend(frameon=False, prop=_font(8.5), loc="center left", bbox_to_anchor=(1.0, 0.5))
    for text in box.get_texts():
        text.set(color=INK, parse_math=False)
    return _finish(figure, path)


def intervals(
    rows: Mapping[str, tuple[float, float, float]],
    *,
    title: str | None = None,
    label: str = "share",
    path: str | Path | None = None,
) -> Sheet:
    """Values with their intervals, one row each: ``rows`` holds (value, low, high). The numbers stand beside them.

    Raises ``ValueError`` on an empty dict and where low is above high.
    """
    if not rows:
        raise ValueError("rows: expected at least one value, got none.")
    for name, (_, low, high) in rows.items():
        if not low <= high:
            raise ValueError(f"{name}: expected an interval (low, high), got ({low}, {high}).")
    figure, ax = _chart(8, 1.1 + 0.42 * len(rows))
    for i, (value, low, high) in enumerate(rows.values()):
        colour = COLOURS[i % len(COLOURS)]
        ax.plot([low, high], [i, i], color=colour, lw=3, solid_capstyle="butt")
        ax.plot([low, high], [i, i], ls="", marker="|", ms=11, mew=2, color=colour)
        ax.plot([value], [i], marker="o", ms=7, mfc="white", mec=colour, mew=2)
        said = f"{value:.3f}  [{low:.3f}, {high:.3f}]"
        ax.text(1.02, i, f"{said}  ", transform=ax.get_yaxis_transform(), va="center", **_words(8.5))
    _axes_style(ax, title=title, x=label)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_yticks(range(len(rows)), list(rows))
    for text in ax.get_yticklabels():
        text.set(fontproperties=_font(9), color=INK, parse_math=False)
    return _finish(figure, path)
