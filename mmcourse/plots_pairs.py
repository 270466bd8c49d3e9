"""Figures of lesson 14: which compositions are held out, and how sure a watermark's detector is.

The style is that of ``plots``: a figure shows itself as the last line of a cell and writes a PNG when given a ``path``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from torch import Tensor

from mmcourse.checks import expect_shape
from mmcourse.plots import (
    COLOURS,
    FAINT,
    INK,
    Sheet,
    _axes_style,
    _cell,
    _chart,
    _finish,
    _font,
    _head,
    _line_height,
    _page,
    _put,
    _words,
    _wrap,
    _write_lines,
    to_bytes,
)


def compositions(
    pictures: Tensor,
    rows: Sequence[str],
    columns: Sequence[str],
    held_out: Tensor,
    *,
    title: str | None = None,
    scale: float = 2.0,
    path: str | Path | None = None,
) -> Sheet:
    """Pictures (R, C, 3, H, W) in [-1, 1] by two parts of their names; a dashed frame says that training never sees it.

    ``held_out`` (R, C) bool. Raises ``ValueError`` on shapes and counts that do not fit each other.
    """
    sizes = expect_shape(pictures, "R C 3 H W", name="pictures")
    wanted = sizes["R"], sizes["C"]
    if (len(rows), len(columns)) != wanted or tuple(held_out.shape) != wanted:
        got = f"{len(rows)} rows, {len(columns)} columns and marks {tuple(held_out.shape)}"
        raise ValueError(f"compositions: expected names and marks for {wanted} pictures, got {got}.")
    images = to_bytes(pictures.flatten(0, 1))
    width, height = _cell(images.shape, scale)
    gap, size, left = 22, 9.0, 150
    heads = [_wrap(name, width + gap - 6, size) for name in columns]
    top = round(16 + (24 if title else 0) + max(len(lines) for lines in heads) * _line_height(size))
    foot = round(_line_height(size)) + 8
    page = left + sizes["C"] * (width + gap)
    figure, ax = _page(max(page, 420), top + sizes["R"] * (height + gap) + foot)
    _head(ax, title)
    for c, lines in enumerate(heads):
        x = left + c * (width + gap) + width / 2
        _write_lines(ax, lines, x, top - 8 - len(lines) * _line_height(size), size, ha="center")
    for r, name in enumerate(rows):
        y = top + r * (height + gap)
        said = _wrap(name, left - 24, size)
        _write_lines(ax, said, left - 14, y + (height - len(said) * _line_height(size)) / 2, size, ha="right")
        for c in range(sizes["C"]):
            x = left + c * (width + gap)
            _put(ax, images[r * sizes["C"] + c], x, y, width, height)
            if held_out[r, c]:
                frame = Rectangle((x - 5, y - 5), width + 10, height + 10, fill=False, ec=COLOURS[1], lw=2, ls="--")
                ax.add_patch(frame)
    ax.text(left, top + sizes["R"] * (height + gap) - 4, "dashed: held out", va="top", **_words(size, colour=INK))
    return _finish(figure, path)


def scores(
    sets: Mapping[str, Tensor],
    limit: float,
    *,
    label: str = "z",
    path: str | Path | None = None,
) -> Sheet:
    """How the z scores (N,) of each set lie, with the standard normal curve and the detector's limit.

    Raises ``ValueError`` without a set, and on one that is empty or not finite.
    """
    if not sets:
        raise ValueError("scores: expected at least one set of z scores, got none.")
    values = {name: np.asarray(z.detach().cpu(), dtype=float).ravel() for name, z in sets.items()}
    for name, z in values.items():
        if not z.size or not np.isfinite(z).all():
            raise ValueError(f"{name}: expected at least one z score, all of them finite.")
    figure, ax = _chart(8, 3.4)
    low, high = min(-4.0, *(z.min() for z in values.values())), max(limit + 1, *(z.max() for z in values.values()))
    bins = np.linspace(low, high, 81)
    for k, (name, z) in enumerate(values.items()):
        style: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "label": name, "density": True, "bins": bins}
        ax.hist(z, histtype="stepfilled", alpha=0.25, **{**style, "label": None})
        ax.hist(z, histtype="step", lw=1.6, ls=("-", "--", ":")[k % 3], **style)
    at = np.linspace(-4, 4, 200)
    ax.plot(at, np.exp(-(at**2) / 2) / np.sqrt(2 * np.pi), color=FAINT, lw=1.2, label="normal: no mark, in theory")
    ax.axvline(limit, color=INK, lw=1.4, ls=(0, (6, 3)), label=f"limit {limit:.2f}")
    _axes_style(ax, x=label, y="density")
    box = ax.legend(frameon=False, prop=_font(8.5), loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    for text in box.get_texts():
        text.set(color=INK, parse_math=False)
    return _finish(figure, path)
