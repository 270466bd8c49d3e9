"""Figures of losses: what each game charges for a logit and how hard it pushes, how steep a penalised D is, and how
much runs differ from seed to seed (lesson 03).

The style is that of ``plots``: a figure shows itself as the last line of a cell and writes a PNG when given a ``path``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from torch import Tensor, nn

from mmcourse.losses import Game, Loss
from mmcourse.plots import COLOURS, DASHES, DPI, FAINT, INK, Sheet, _axes_style, _finish, _font, _words
from mmcourse.ring import NEAR, SPREAD, centres, field_of

SURE = 3.0  # beyond this logit D is surer than 95 to 5


def loss_and_slope(loss: Loss, logits: Tensor, *, real: float = 0.0) -> tuple[Tensor, Tensor]:
    """A loss at each logit of a fake, one at a time, and its slope there; two tensors (N,).

    ``logits`` (N,) are the fakes', ``real`` is the one logit of the real picture beside each.
    """
    fake = logits.detach().clone().requires_grad_(True)
    values = torch.stack([loss(torch.tensor([real]).to(fake), one[None]) for one in fake])
    (slope,) = torch.autograd.grad(values.sum(), fake)
    return values.detach(), slope


def games(
    table: Mapping[str, Game],
    *,
    real: float = 2.0,
    reach: float = 6.0,
    title: str | None = None,
    path: str | Path | None = None,
) -> Sheet:
    """Four panels over a fake's logit from -reach to reach: D's and G's losses above, their slopes below.

    The real picture's logit is held at ``real``. Where two games have one curve, the first is drawn wide and pale
    beneath the other. Raises ``ValueError`` on an empty table and unless ``reach`` is above ``SURE``.
    """
    if not table:
        raise ValueError("table: expected at least one game, got none.")
    if not SURE < reach < math.inf:
        raise ValueError(f"reach: expected a logit above {SURE:g}, where D is sure; got {reach}.")
    x = torch.linspace(-reach, reach, 241)
    figure = Sheet(figsize=(8, 7.6), dpi=DPI, facecolor="white", layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey="row")
    for column, who in enumerate("dg"):
        curves = [loss_and_slope(getattr(game, who), x, real=real) for game in table.values()]
        for row, ax in enumerate(panels[:, column]):
            _ground(ax, reach=reach, high=(reach, 3.2)[row], real=real)
            for i, name in enumerate(table):
                below = any(torch.allclose(curves[i][row], other[row], atol=1e-4) for other in curves[i + 1 :])
                width, alpha = (5.0, 0.45) if below else (2.0, 1.0)  # two games with one curve: one lies on the other
                style = {"color": COLOURS[i % len(COLOURS)], "ls": DASHES[i % len(DASHES)], "label": name}
                ax.plot(x, curves[i][row], lw=width, alpha=alpha, **style)
            word = ("loss", "slope of the loss")[row]
            _axes_style(ax, x="D's logit on the fake" if row else "", y="" if column else word)
            ax.set_title(f"{('', 'slope of ')[row]}{who.upper()}'s loss", loc="left", pad=16, **_words(11, bold=True))
    handles, names = panels[0, 0].get_legend_handles_labels()
    box = figure.legend(
        handles, names, loc="outside lower center", ncols=3, frameon=False, prop=_font(9), handlelength=4
    )
    for line in box.get_lines():
        line.set(linewidth=2.0, alpha=1.0)
    for text in box.get_texts():
        text.set(color=INK, parse_math=False)
    if title:
        figure.suptitle(title, x=0.01, ha="left", **_words(11, bold=True))
    return _finish(figure, path)


def _ground(ax: Axes, *, reach: float, high: float, real: float) -> None:
    """Grey where D is sure, a dotted line where the real picture stands, and their names above."""
    ax.set(xlim=(-reach, reach), ylim=(-high, high))
    ax.axhline(0, color=FAINT, lw=1)
    middle = (SURE + reach) / 2
    for low, at, said in ((-reach, -middle, "D sure: fake"), (SURE, middle, "D sure: real")):
        ax.axvspan(low, low + reach - SURE, color="#EEEEEE", zorder=0)
        ax.text(at, 1.01 * high, said, ha="center", va="bottom", **_words(8, colour=FAINT))
    ax.axvline(real, color=FAINT, lw=1, ls=(0, (2, 2)))
    ax.text(real, 1.01 * high, "real", ha="center", va="bottom", **_words(8, colour=FAINT))


def steepness(
    rivals: Mapping[str, nn.Module],
    *,
    reach: float = 3.0,
    ends: tuple[float, float] = (0.03, 10.0),
    title: str | None = None,
    path: str | Path | None = None,
) -> Sheet:
    """How steep each D is over the plane: the length of its slope as colour, its logits as contour lines.

    Each D maps points (N, 2) to logits (N, 1). Colours go by the logarithm of the length, between the two ``ends``;
    what is flatter or steeper keeps the last colour. The eight Gaussians are drawn as small rings. Raises
    ``ValueError`` on no D at all, and unless 0 < ends[0] < ends[1].
    """
    if not rivals:
        raise ValueError("rivals: expected at least one D, got none.")
    if not 0 < ends[0] < ends[1] < math.inf:
        raise ValueError(f"ends: expected two lengths above 0, the smaller first; got {ends}.")
    n, across = 121, len(rivals)
    line = torch.linspace(-reach, reach, n)
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], dim=1)  # (n * n, 2)
    figure = Sheet(figsize=(8, 8 / max(3, across) + 0.75), dpi=DPI, facecolor="white", layout="constrained")
    panels = figure.subplots(1, across, squeeze=False)[0]
    for i, (ax, (name, D)) in enumerate(zip(panels, rivals.items(), strict=True)):
        logits, slope = field_of(D, points)
        steep = slope.norm(dim=1).view(n, n).numpy()
        image = ax.imshow(
            steep, origin="lower", extent=(-reach, reach) * 2, cmap="cividis", norm=LogNorm(*ends, clip=True)
        )
        heights = logits.view(n, n).numpy()
        ax.contour(x.numpy(), y.numpy(), heights, levels=9, colors="white", linewidths=0.7, linestyles="solid")
        for centre in centres().tolist():
            ax.add_patch(Circle((centre[0], centre[1]), NEAR * SPREAD, fill=False, ec=COLOURS[4], lw=1.4))
        ax.set_title(name, **_words(10 if across < 4 else 8.5, bold=True))
        ax.set(xticks=[-2, 0, 2], yticks=[-2, 0, 2] if i == 0 else [])
        ax.tick_params(colors=INK, labelsize=8)
    bar = figure.colorbar(image, ax=list(panels), pad=0.01, extend="both", shrink=0.85)
    bar.set_label("length of D's slope", **_words(9))
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.ax.yaxis.set_major_formatter("{x:g}")
    if title:
        figure.suptitle(title, x=0.01, ha="left", **_words(11, bold=True))
    return _finish(figure, path)


def by_seed(
    table: Mapping[str, Sequence[float]],
    *,
    notes: Mapping[str, str] | None = None,
    note_label: str = "",
    floor: float | None = None,
    ceiling: float | None = None,
    floor_label: str = "untrained",
    ceiling_label: str = "real",
    title: str | None = None,
    label: str = "share of good points",
    path: str | Path | None = None,
) -> Sheet:
    """One row a method, one dot a seed, an upright stroke at the median, a line from least to most; shares in [0, 1].

    ``notes`` are words at the right end of a row, under ``note_label``. ``floor`` and ``ceiling`` are labelled lines.
    Raises ``ValueError`` on an empty table or row, a value outside [0, 1], and a note for a row that is not there.
    """
    if not table or not all(len(row) for row in table.values()):
        raise ValueError("table: expected at least one row, and one value or more in each.")
    for name, row in table.items():
        if not all(0 <= value <= 1 for value in row):
            raise ValueError(f"{name}: expected shares in [0, 1], got {list(row)}.")
    unknown = set(notes or {}) - set(table)
    if unknown:
        raise ValueError(f"notes: there is no row {', '.join(sorted(unknown))}; the rows are {', '.join(table)}.")
    figure = Sheet(figsize=(8, 1.8 + 0.38 * len(table)), dpi=DPI, facecolor="white", layout="constrained")
    ax = figure.add_subplot()
    _axes_style(ax, title=title, x=label)
    ax.grid(axis="y", visible=False)
    for i, (name, row) in enumerate(table.items()):
        (reach,) = ax.plot([min(row), max(row)], [i, i], color=FAINT, lw=1.2, zorder=3)
        spread = np.linspace(-0.12, 0.12, len(row)) if len(row) > 1 else np.zeros(1)
        (dot,) = ax.plot(list(row), i + spread, ls="", marker="o", ms=6, mfc=COLOURS[0], mec="white", mew=0.8, zorder=4)
        (stroke,) = ax.plot([median(row)] * 2, [i - 0.3, i + 0.3], color=COLOURS[1], lw=2.4, zorder=5)
        if notes and name in notes:
            ax.text(1.02, i, notes[name], transform=ax.get_yaxis_transform(), va="center", **_words(9))
    if note_label:
        ax.text(1.02, -0.75, note_label, transform=ax.get_yaxis_transform(), va="center", **_words(8.5, colour=FAINT))
    back = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    for name, value, ha in ((floor_label, floor, "left"), (ceiling_label, ceiling, "right")):
        if value is not None:
            ax.axvline(value, color=INK, lw=1.3, ls=(0, (4, 3)), zorder=2)
            said = f" {name} {100 * value:.1f} % "
            ax.text(value, -0.75, said, ha=ha, va="center", bbox=back, **_words(8.5))
    ax.set(xlim=(-0.02, 1), ylim=(len(table) - 0.4, -1.1))
    ax.set_xticks(np.linspace(0, 1, 6), [f"{p} %" for p in range(0, 101, 20)])
    ax.set_yticks(range(len(table)), list(table))
    for text in ax.get_yticklabels():
        text.set(fontproperties=_font(9.5), color=INK, parse_math=False)
    upright = Line2D([], [], ls="", marker="|", ms=12, mew=2.4, color=stroke.get_color())
    signs = {"a seed": dot, "median of the seeds": upright, "from the least to the most": reach}
    box = figure.legend(
        list(signs.values()), list(signs), loc="outside lower center", ncols=3, frameon=False, prop=_font(9)
    )
    for text in box.get_texts():
        text.set(color=INK, parse_math=False)
    return _finish(figure, path)
