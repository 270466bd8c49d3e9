"""Figures of the course: picture grids, caption sheets, curves, similarities, measured shares (lesson 00).

Every function returns a figure that a notebook shows when it is the last line of a cell, and writes a PNG when
given a ``path``. Nothing here touches matplotlib's settings or its back end. Colours can be told apart by people
with colour-blindness (Okabe and Ito), and what a colour says is also said by a sign, a dash or a word.

Chinese text is drawn with a small font that ships with the package. It holds the characters of the captioned
world; for another character matplotlib warns and draws an empty box.
"""

from __future__ import annotations

import io
import math
import os
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import torch
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, Rectangle
from torch import Tensor

from mmcourse.checks import expect_range, expect_shape
from mmcourse.text import is_chinese

DPI = 100  # dots per inch: a notebook page is about 800 dots wide
FONT_FILE = Path(__file__).parent / "fonts" / "mmcourse-han.otf"
FONT_FAMILY = "mmcourse Han"

INK, FAINT = "#222222", "#6B6B6B"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)))
RIGHT, WRONG = "#009E73", "#D55E00"

Logs = Mapping[str, Sequence[float]] | Sequence[Mapping[str, float]]

# ------------------------------------------------------------------------------------------ the one style


class Sheet(matplotlib.figure.Figure):
    """A figure that shows itself in a notebook without pyplot, so that nothing is shown twice or kept in memory."""

    def _repr_png_(self) -> bytes:
        return png(self)


def png(figure: matplotlib.figure.Figure) -> bytes:
    """A figure as the bytes of a PNG file, at ``DPI`` dots per inch."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, facecolor="white")
    return out.getvalue()


def _finish(figure: Sheet, path: str | Path | None) -> Sheet:
    """Write the figure, if a path is given: to a temporary name first, then renamed."""
    if path is not None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(png(figure))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return figure


@cache
def _families() -> list[str]:
    known = font_manager.fontManager
    known.addfont(FONT_FILE)
    regular = next(entry for entry in known.ttflist if entry.name == FONT_FAMILY)
    known.ttflist.append(replace(regular, weight=700))  # the one weight serves bold text too, without a warning
    return ["DejaVu Sans", FONT_FAMILY]


def _font(size: float = 9, *, bold: bool = False) -> FontProperties:
    """DejaVu Sans, and the shipped font for the characters that it lacks. ``size`` in points."""
    return FontProperties(family=_families(), size=size, weight="bold" if bold else "normal")


def _words(size: float = 9, *, bold: bool = False, colour: str = INK) -> dict[str, Any]:
    """The keywords for every piece of text. A dollar sign is a dollar sign, never mathematics."""
    return {"fontproperties": _font(size, bold=bold), "color": colour, "parse_math": False}


def _axes_style(ax: Axes, *, title: str | None = None, x: str = "", y: str = "") -> None:
    ax.set_facecolor("white")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
    ax.tick_params(colors=INK, labelsize=9)
    ax.grid(color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.set_xlabel(x, **_words(10))
    ax.set_ylabel(y, **_words(10))
    if title:
        ax.set_title(title, loc="left", **_words(11, bold=True))


def _chart(width: float, height: float) -> tuple[Sheet, Axes]:
    """One pair of axes on a white figure; sizes in inches."""
    figure = Sheet(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    return figure, figure.add_subplot()


def _page(width: float, height: float) -> tuple[Sheet, Axes]:
    """An empty page whose coordinates are dots, with y pointing down."""
    figure = Sheet(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    return figure, ax


def _wide(text: str) -> float:
    """About how wide a text is, in units of its font size."""
    return sum(1.06 if unicodedata.east_asian_width(c) in "WF" else 0.6 for c in text)


def _wrap(text: str, width: float, size: float) -> list[str]:
    """Break a text into lines of at most ``width`` dots: at spaces, or between Chinese characters."""
    room = width / (size * DPI / 72)
    if not is_chinese(text):
        return textwrap.wrap(text, max(4, int(room / 0.6))) or [""]
    even = _wide(text) / max(1, math.ceil(_wide(text) / room)) + 1  # lines of about one length
    lines = [""]
    for character in text:
        if _wide(lines[-1] + character) > min(room, even) and character not in "，。、：？！”》）":
            lines.append("")
        lines[-1] += character
    return lines


def _line_height(size: float) -> float:
    return size * DPI / 72 * 1.35


# ------------------------------------------------------------------------------------------------ pictures


def to_bytes(pictures: Tensor, *, name: str = "pictures") -> np.ndarray:
    """Pictures (B, 3, H, W) or (B, 1, H, W) in [-1, 1] to uint8 of shape (B, H, W, 3).

    Raises ``ValueError`` on another shape, on values outside [-1, 1] or not finite, and on an empty batch.
    """
    grey = getattr(pictures, "ndim", 0) == 4 and pictures.shape[1] == 1
    if expect_shape(pictures, "B 1 H W" if grey else "B 3 H W", name=name)["B"] == 0:
        raise ValueError(f"{name}: expected at least one picture, got an empty batch.")
    expect_range(pictures, -1, 1, name=name)
    x = pictures.detach().float().clamp(-1, 1).expand(-1, 3, -1, -1)
    return ((x + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def mosaic(pictures: Tensor, *, columns: int, gap: int = 1) -> np.ndarray:
    """Pictures (B, 3 or 1, H, W) in [-1, 1] side by side as one uint8 array (rows, width, 3), white between them."""
    images = to_bytes(pictures)
    n, h, w, _ = images.shape
    columns = _columns(columns, n)
    rows = -(-n // columns)
    out = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, 3), 255, dtype=np.uint8)
    for i, image in enumerate(images):
        y, x = (i // columns) * (h + gap), (i % columns) * (w + gap)
        out[y : y + h, x : x + w] = image
    return out


def _columns(columns: int, pictures: int) -> int:
    if columns < 1:
        raise ValueError(f"columns: expected at least 1, got {columns}.")
    return min(columns, pictures)


def _cell(shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    """Width and height in dots: a whole number of dots a pixel, so that all pixels come out equally large."""
    height, width = shape[1:3]
    dots = max(1, round(32 * scale / max(height, width)))
    return width * dots, height * dots


def _put(ax: Axes, image: np.ndarray, x: float, y: float, width: float, height: float) -> None:
    """One picture at its place. A picture whose rim is mostly white gets a thin frame, so that its end can be seen."""
    rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    if (rim >= 250).all(axis=-1).mean() > 0.5:
        ax.add_patch(Rectangle((x - 1, y - 1), width + 2, height + 2, fc="#BBBBBB", lw=0, zorder=-1))
    ax.imshow(image, extent=(x, x + width, y + height, y), interpolation="nearest", aspect="auto")


def _write_lines(ax: Axes, lines: Sequence[str], x: float, y: float, size: float, **more: Any) -> None:
    """Lines of text, the first one's top at y; ``ha`` and the like in ``more``."""
    for i, line in enumerate(lines):
        ax.text(x, y + i * _line_height(size), line, va="top", **_words(size), **more)


def _head(ax: Axes, title: str | None, x: float = 8) -> None:
    if title:
        ax.text(x, 8, title, va="top", **_words(11, bold=True))


def grid(
    pictures: Tensor,
    *,
    columns: int = 8,
    titles: Sequence[str] | None = None,
    title: str | None = None,
    scale: float = 2.0,
    path: str | Path | None = None,
) -> Sheet:
    """A grid of pictures (B, 3, H, W) or (B, 1, H, W) in [-1, 1], each pixel a sharp square.

    ``titles`` gives one caption above each picture. ``scale`` 2 draws a picture about 64 dots wide, whatever its
    resolution, and never with less than one dot a pixel. Raises ``ValueError`` on pictures of another shape or
    range, and on a number of titles that is not the number of pictures.
    """
    images = to_bytes(pictures)
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"titles: expected one for each of {len(images)} pictures, got {len(titles)}.")
    columns = _columns(columns, len(images))
    width, height = _cell(images.shape, scale)
    across = max(width, 88) if titles is not None else width  # room for words above a small picture
    gap, size = 8, 8.0
    labels = [_wrap(t, across, size) for t in titles] if titles is not None else [[]] * len(images)
    rows = [range(i, min(i + columns, len(images))) for i in range(0, len(images), columns)]
    heads = [max(len(labels[i]) for i in row) * _line_height(size) for row in rows]
    top = gap + (24 if title else 0)
    page = max(columns * (across + gap) + gap, _wide(title or "") * 11 * DPI / 72 + 2 * gap)
    figure, ax = _page(round(page), round(top + sum(heads) + len(rows) * (height + gap)))
    _head(ax, title)
    y = float(top)
    for row, head in zip(rows, heads, strict=True):
        y = round(y + head)
        for k, i in enumerate(row):
            x = gap + k * (across + gap) + (across - width) // 2
            first = y - len(labels[i]) * _line_height(size)
            _write_lines(ax, labels[i], x + width / 2, first, size, ha="center")
            _put(ax, images[i], x, y, width, height)
        y += height + gap
    return _finish(figure, path)


def caption_sheet(
    pictures: Tensor,
    captions: Sequence[str],
    *,
    columns: Sequence[str] = (),
    marks: Tensor | Sequence[Sequence[bool]] | None = None,
    title: str | None = None,
    scale: float = 2.0,
    text_width: int = 210,
    path: str | Path | None = None,
) -> Sheet:
    """One row for each caption (English or Chinese), one column for each z.

    ``pictures`` (rows, columns, 3, H, W) in [-1, 1]. ``columns`` names the columns, above the first row. ``marks``
    (rows, columns) bool frames each picture: a green frame with a tick where it is right, a red one with a cross where
    it is wrong, and the row's count beside it. ``text_width`` is the captions' room in dots. Raises ``ValueError`` on
    shapes and counts that do not fit each other.
    """
    sizes = expect_shape(pictures, "R C 3 H W", name="pictures")
    rows, across = sizes["R"], sizes["C"]
    if len(captions) != rows:
        raise ValueError(f"captions: expected one for each of {rows} rows of pictures, got {len(captions)}.")
    if columns and len(columns) != across:
        raise ValueError(f"columns: expected one name for each of {across} columns of pictures, got {len(columns)}.")
    right = None if marks is None else torch.as_tensor(marks).bool()
    if right is not None and right.shape != (rows, across):
        raise ValueError(f"marks: expected shape ({rows}, {across}), as the pictures have, got {tuple(right.shape)}.")
    images = to_bytes(pictures.flatten(0, 1))
    width, height = _cell(images.shape, scale)
    gap, size = (8 if right is None else 14), 9.0
    labels = [_wrap(c, text_width - 10, size) for c in captions]
    heights = [max(height, len(lines) * _line_height(size)) for lines in labels]
    heads = [_wrap(name, width + gap - 4, size) for name in columns]
    above = max((len(lines) for lines in heads), default=0) * _line_height(size)
    top = round(gap + (24 if title else 0) + above)
    tally = 0 if right is None else 44
    left = 8 + text_width
    page = max(left + across * (width + gap) + tally, _wide(title or "") * 11 * DPI / 72 + 16)
    figure, ax = _page(round(page), round(top + sum(heights) + rows * gap))
    _head(ax, title)
    for c, lines in enumerate(heads):
        x = left + c * (width + gap) + width / 2
        for k, line in enumerate(reversed(lines)):  # the lowest lines share one baseline
            ax.text(x, top - 7 - k * _line_height(size), line, va="baseline", ha="center", **_words(size))
    y = top
    for r, (lines, room) in enumerate(zip(labels, heights, strict=True)):
        first = y + (room - len(lines) * _line_height(size)) / 2
        _write_lines(ax, lines, left - 10, first, size, ha="right")
        for c in range(across):
            x, at = left + c * (width + gap), round(y + (room - height) / 2)
            _put(ax, images[r * across + c], x, at, width, height)
            if right is not None:
                _mark(ax, bool(right[r, c]), x, at, width, height)
        if right is not None:
            count = f"{int(right[r].sum())}/{across}"
            ax.text(left + across * (width + gap), y + room / 2, count, va="center", **_words(size, bold=True))
        y = round(y + room + gap)
    return _finish(figure, path)


def _mark(ax: Axes, right: bool, x: float, y: float, width: float, height: float) -> None:
    """A frame around a picture, and a tick or a cross on its upper right corner."""
    colour, style = (RIGHT, "-") if right else (WRONG, "--")
    ax.add_patch(Rectangle((x - 2, y - 2), width + 4, height + 4, fill=False, ec=colour, lw=1.5, ls=style))
    px, py = x + width + 1, y
    ax.add_patch(Circle((px, py), 6.5, fc=colour, ec="white", lw=1, zorder=4))
    arms = [([-3, -1, 3], [0, 3, -3])] if right else [([-2.5, 2.5], [-2.5, 2.5]), ([-2.5, 2.5], [2.5, -2.5])]
    for dx, dy in arms:
        ax.plot([px + d for d in dx], [py + d for d in dy], color="white", lw=1.5, zorder=5)


def prompt_strip(
    pictures: Tensor,
    words: Sequence[str],
    *,
    title: str | None = None,
    scale: float = 3.0,
    path: str | Path | None = None,
) -> Sheet:
    """One row of pictures (B, 3, H, W) in [-1, 1]; above each, the word of the prompt that changed.

    Raises ``ValueError`` on pictures of another shape or range, or another number of words.
    """
    images = to_bytes(pictures)
    if len(words) != len(images):
        raise ValueError(f"words: expected one for each of {len(images)} pictures, got {len(words)}.")
    width, height = _cell(images.shape, scale)
    gap, size = 22, 10.0
    labels = [_wrap(w, width + gap - 6, size) for w in words]
    above = max(len(lines) for lines in labels) * _line_height(size)
    top = round(8 + (26 if title else 0) + above)
    page = max(len(images) * (width + gap), _wide(title or "") * 11 * DPI / 72 + 16)
    figure, ax = _page(round(page), top + height + 10)
    _head(ax, title, gap / 2)
    for i, (image, lines) in enumerate(zip(images, labels, strict=True)):
        x = gap // 2 + i * (width + gap)
        _write_lines(ax, lines, x + width / 2, top - 3 - len(lines) * _line_height(size), size, ha="center")
        _put(ax, image, x, top, width, height)
        if i:  # an arrow from the picture before
            arrow = {"arrowstyle": "->", "color": FAINT}
            ax.annotate("", (x - 4, top + height / 2), (x - gap + 4, top + height / 2), arrowprops=arrow)
    return _finish(figure, path)


# -------------------------------------------------------------------------------------------------- curves


def as_columns(logs: Logs) -> dict[str, np.ndarray]:
    """Logs, as a dict of lists or a list of dicts, to float arrays of one length.

    What a row lacks becomes NaN. Raises ``ValueError`` when lists differ in length.
    """
    if not isinstance(logs, Mapping):
        names = list(dict.fromkeys(k for row in logs for k in row))
        logs = {k: [row.get(k, float("nan")) for row in logs] for k in names}
    columns = {k: np.asarray(v, dtype=float) for k, v in logs.items()}
    lengths = {k: len(v) for k, v in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"logs: expected lists of one length, got {lengths}.")
    return columns


def smoothed(values: np.ndarray, weight: float) -> np.ndarray:
    r"""The running mean :math:`m_t = w\,m_{t-1} + (1 - w)\,x_t`, divided by :math:`1 - w^t` (values of shape (N,)).

    Where x is not finite the result is NaN, and the mean goes on behind the gap. Raises ``ValueError`` unless
    0 <= weight < 1.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"smooth: expected a weight in [0, 1), got {weight}.")
    out, mean, share = np.full(len(values), np.nan), 0.0, 0.0
    for i, x in enumerate(values):
        if np.isfinite(x):
            mean, share = weight * mean + (1 - weight) * x, weight * share + 1 - weight
            out[i] = mean / share
    return out


def curves(
    logs: Logs,
    *,
    smooth: float = 0.9,
    reference: Mapping[str, float] | None = None,
    log: bool = False,
    title: str | None = None,
    label: str = "loss",
    path: str | Path | None = None,
) -> Sheet:
    """Losses over steps: what was measured, faint, and its running mean (``smooth`` in [0, 1)) over it.

    ``logs`` is a dict of lists or a list of dicts. A column "step" gives the horizontal axis (else 1, 2, 3, ...);
    "seconds" is not drawn. ``reference`` draws labelled level lines. NaN and infinite values become gaps, and with
    ``log`` so do values that are not above zero. Raises ``ValueError`` when there is nothing to draw.
    """
    figure, ax = _chart(8, 3.6)
    _draw_curves(ax, as_columns(logs), smooth=smooth, log=log)
    _axes_style(ax, title=title, x="step", y=label)
    for name, value in (reference or {}).items():
        ax.axhline(value, color=FAINT, lw=1, ls=(0, (6, 3)), zorder=1)
        ax.text(1.01, value, f"{name}\n{value:.3g}", transform=ax.get_yaxis_transform(), va="center", **_words(9))
    return _finish(figure, path)


def _draw_curves(ax: Axes, columns: dict[str, np.ndarray], *, smooth: float, log: bool = False) -> None:
    names = [k for k in columns if k not in ("step", "seconds")]
    if not names:
        raise ValueError("logs: expected at least one column besides step and seconds, got none.")
    steps = columns.get("step", np.arange(1, len(columns[names[0]]) + 1))
    for i, name in enumerate(names):
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]
        raw, mean = columns[name], smoothed(columns[name], smooth)
        if smooth:
            ax.plot(steps, _gaps(raw, log), color=colour, lw=0.7, alpha=0.3)
        shown = _gaps(mean, log)
        ax.plot(steps, shown, color=colour, lw=1.8, ls=dash, label=name)
        alone = _alone(shown)  # a point between two gaps makes no line
        ax.plot(steps[alone], shown[alone], color=colour, ls="", marker=".", ms=4)
    if log:
        ax.set_yscale("log")
    legend = ax.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=len(names), frameon=False, prop=_font(9), handlelength=2.6
    )
    for text in legend.get_texts():
        text.set(color=INK, parse_math=False)


def _gaps(values: np.ndarray, log: bool) -> np.ndarray:
    keep = np.isfinite(values) & (values > 0 if log else True)
    return np.where(keep, values, np.nan)


def _alone(values: np.ndarray) -> np.ndarray:
    """Which finite values have no finite neighbour."""
    there = np.pad(np.isfinite(values), 1)
    return there[1:-1] & ~there[:-2] & ~there[2:]


def training_sheet(
    logs: Logs,
    *,
    pictures: Tensor | None = None,
    measured: Logs | None = None,
    title: str | None = None,
    smooth: float = 0.9,
    path: str | Path | None = None,
) -> Sheet:
    """One run at a glance: its losses, under them what was ``measured``, and beside them its newest pictures.

    ``logs`` and ``measured`` as in ``curves``; of ``pictures`` (B, 3, H, W) in [-1, 1] the first 16 are shown. The
    figure's size depends only on which of these are given, so that a live panel does not jump.
    """
    top, bottom, side = (30 if title else 12) + 18, 46, 290 if pictures is not None else 8
    page, height = 800, 360 if measured is not None else 330
    figure, ax = _page(page, height)
    _head(ax, title)
    lowest = height - bottom
    middle = lowest if measured is None else top + round(0.56 * (lowest - top))
    losses = _training_chart(figure, (62, top, page - side - 16, middle), logs, smooth, y="loss")
    if measured is not None:
        losses.tick_params(labelbottom=False)
        below = (62, middle + 40, page - side - 16, lowest)
        chart = _training_chart(figure, below, measured, 0, y="measured", share=losses)
        chart.set_xlabel("step", **_words(10))
    else:
        losses.set_xlabel("step", **_words(10))
    if pictures is not None:
        images = to_bytes(pictures[:16])
        across = 4 if len(images) > 4 else 2
        cell = _cell(images.shape, 2.0 if across == 4 else 4.0)
        for i, image in enumerate(images):
            x, y = page - side + (i % across) * (cell[0] + 4), top + (i // across) * (cell[1] + 4)
            _put(ax, image, x, y, *cell)
    return _finish(figure, path)


def _training_chart(
    figure: Sheet,
    box: tuple[float, float, float, float],
    logs: Logs,
    smooth: float,
    *,
    y: str,
    share: Axes | None = None,
) -> Axes:
    """Curves in a box (left, top, right, bottom) of the figure, in dots; ``share`` lends its step axis."""
    width, height = figure.get_size_inches() * DPI
    left, top, right, bottom = box
    place = (left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height)
    chart = figure.add_axes(place, sharex=share)
    columns = as_columns(logs)
    if any(k not in ("step", "seconds") for k in columns):
        _draw_curves(chart, columns, smooth=smooth)
    _axes_style(chart, y=y)
    return chart


# ------------------------------------------------------------------------------------------------- measures


def similarity_matrix(
    matrix: Tensor | np.ndarray,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    title: str | None = None,
    label: str = "cosine similarity",
    number: str = ".2f",
    low: float | None = None,
    high: float | None = None,
    path: str | Path | None = None,
) -> Sheet:
    """A matrix (rows, columns) as coloured squares, with the numbers in them where there is room.

    ``number`` is their format. ``low`` and ``high`` fix the ends of the colour scale (else the matrix's own). Raises
    ``ValueError`` when the labels do not fit the matrix or it holds values that are not finite.
    """
    values = np.asarray(matrix.detach().cpu() if isinstance(matrix, Tensor) else matrix, dtype=float)
    wanted = (len(row_labels), len(column_labels))
    if values.shape != wanted:
        raise ValueError(f"matrix: expected shape {wanted} (row labels, column labels), got {values.shape}.")
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("matrix: expected at least one value, all of them finite.")
    rows, columns = wanted
    figure, ax = _chart(8, min(9.0, 1.8 + max(2.0, 0.42 * rows)))
    image = ax.imshow(values, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    _axes_style(ax, title=title)
    ax.grid(False)
    ax.set_xticks(range(columns), [_fold(t) for t in column_labels], rotation=35, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(rows), [_fold(t) for t in row_labels])
    for text in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        text.set(fontproperties=_font(8.5), color=INK, parse_math=False)
    bar = figure.colorbar(image, ax=ax, pad=0.02)
    bar.set_label(label, **_words(9))
    bar.ax.tick_params(colors=INK, labelsize=8)
    if rows <= 16 and columns <= 12:
        grounds = np.asarray(image.cmap(image.norm(values)))[..., :3]  # (rows, columns, RGB)
        for r, c in np.ndindex(rows, columns):
            words = _words(8.5, colour=_ink_on(grounds[r, c]))
            ax.text(c, r, f"{values[r, c]:{number}}", ha="center", va="center", **words)
    return _finish(figure, path)


def _ink_on(ground: np.ndarray) -> str:
    """Black or white, whichever has the greater contrast with a colour (R, G, B) in [0, 1] (WCAG 2): at least 4.5."""
    linear = np.where(ground <= 0.04045, ground / 12.92, ((ground + 0.055) / 1.055) ** 2.4)
    light = float(linear @ [0.2126, 0.7152, 0.0722])
    return "#000000" if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else "white"


def _fold(text: str, length: float = 28) -> str:
    """A label in as many lines of at most about ``length`` letters as it needs, all of nearly the same length."""
    room = 0.6 * length
    if _wide(text) <= room:
        return text
    even = _wide(text) / math.ceil(_wide(text) / room) + 3  # words do not break, so a line gets some slack
    return "\n".join(_wrap(text, even * 8.5 * DPI / 72, 8.5))


def bars(
    values: Mapping[str, float],
    *,
    floor: float | Mapping[str, float] | None = None,
    ceiling: float | None = None,
    floor_label: str = "untrained",
    ceiling_label: str = "real pictures",
    title: str | None = None,
    label: str = "share right",
    path: str | Path | None = None,
) -> Sheet:
    """Measured shares in [0, 1] as bars, one for each name, with the floor and the ceiling as labelled lines.

    A ``floor`` for each name is drawn across that name's bar and told beside the name. A NaN is shown as "not
    measured". Raises ``ValueError`` on an empty dict, a value outside [0, 1] or floors of other names.
    """
    if not values:
        raise ValueError("values: expected at least one share, got none.")
    own = dict(floor) if isinstance(floor, Mapping) else {}
    if own and set(own) != set(values):
        raise ValueError(f"floor: expected one for each of {list(values)}, got {list(own)}.")
    floor = None if isinstance(floor, Mapping) else floor
    lines: dict[str, float | None] = {floor_label: floor, ceiling_label: ceiling}
    for name, value in (*values.items(), *own.items(), *lines.items()):
        if value is not None and not (math.isnan(value) or 0 <= value <= 1):
            raise ValueError(f"{name}: expected a share in [0, 1], got {value}. Divide a percentage by 100.")
    figure, ax = _chart(8, 1.5 + 0.38 * len(values))
    names, shares = list(values), np.array([float(v) for v in values.values()])
    ax.barh(range(len(names)), np.nan_to_num(shares), color=COLOURS[0], height=0.62)
    back = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # keeps lines from striking words through
    levels = sorted(v for v in lines.values() if v is not None)
    for i, (name, share) in enumerate(zip(names, shares, strict=True)):
        said, end = "not measured" if np.isnan(share) else f"{100 * share:.1f} %", float(np.nan_to_num(share))
        room = _wide(said) * 9 * DPI / 72 / 620 + 0.015  # about 620 dots are the whole axis
        if end > 0.16:
            at = end - 0.01
            for level in reversed(levels):  # clear of the lines, where the bar has room
                at = level - 0.01 if at - room < level <= at + 0.01 and level - room > 0.01 else at
            inside = back | {"facecolor": COLOURS[0]}
            ax.text(at, i, said, va="center", ha="right", zorder=6, bbox=inside, **_words(9, bold=True, colour="white"))
        else:
            at = end + 0.01
            for level in levels:
                at = level + 0.012 if at - 0.012 < level < at + room else at
            ax.text(at, i, said, va="center", zorder=6, bbox=back, **_words(9, bold=True))
        if name in own:
            names[i] = f"{name} ({floor_label} {100 * own[name]:.1f} %)"
            ax.plot([own[name]] * 2, [i - 0.4, i + 0.4], color=COLOURS[1], lw=1.6, ls=(0, (2, 2)), zorder=5)
    _axes_style(ax, title=title, x=label)
    ax.grid(axis="y", visible=False)
    near = floor is not None and ceiling is not None and abs(ceiling - floor) < 0.55  # labels one above the other
    ax.set(xlim=(0, 1), ylim=(len(names) - 0.4, -1.5 if near else -1.05))
    ax.set_xticks(np.linspace(0, 1, 6), [f"{p} %" for p in range(0, 101, 20)])
    ax.set_yticks(range(len(names)), names)
    for text in ax.get_yticklabels():
        text.set(fontproperties=_font(9.5), color=INK, parse_math=False)
    for row, (name, value) in enumerate(lines.items()):
        if value is not None:
            ax.axvline(value, color=COLOURS[1], lw=1.6, ls=((0, (2, 2)), (0, (6, 3)))[row], zorder=5)
            said, side = f" {name} {100 * value:.1f} % ", "left" if value < 0.5 else "right"
            at = -1.45 if near and row else -0.98
            ax.text(value, at, said, ha=side, va="top", zorder=6, bbox=back, **_words(9, colour=COLOURS[1]))
    return _finish(figure, path)
