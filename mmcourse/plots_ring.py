"""Figures of the plane: points on the ring, and D as a height with the arrows along which it pushes the fakes
(lessons 01 and 02).

The style is that of ``plots``: a figure shows itself as the last line of a cell and writes a PNG when given a ``path``.
Real is blue and fake is orange everywhere, and a dot's shape says it once more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.contour import ContourSet
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from torch import Tensor

from mmcourse.checks import expect_shape
from mmcourse.plots import COLOURS, DASHES, DPI, FAINT, INK, Sheet, _axes_style, _chart, _finish, _font, _words
from mmcourse.ring import NEAR, SPREAD, Round, centres, field_of

REACH = 3.0  # the panels show the square from -REACH to REACH
REAL, FAKE = COLOURS[0], COLOURS[1]
STRIDE = 0.36  # how long the arrow of a slope of 1 is
LIMIT = 3.0  # D's logits are coloured from -LIMIT to LIMIT
SIDES = LinearSegmentedColormap.from_list("sides", ["#E9A878", "#F6DAC6", "#FFFFFF", "#C9DEEE", "#7DB4D8"])


def rings(
    points: Mapping[str, Tensor],
    *,
    real: Tensor | None = None,
    columns: int = 4,
    title: str | None = None,
    path: str | Path | None = None,
) -> Sheet:
    """Clouds of points (N, 2) side by side, each under its name; the eight Gaussians as small rings.

    ``real`` (M, 2) is drawn faintly behind each cloud. A point outside of the shown square is moved to its edge and
    drawn as a cross, so that a run which has left the plane does not look empty. Signs at the foot say what a dot, a
    ring and, where there is one, a cross is. Raises ``ValueError`` on no cloud, a cloud of another shape or with values
    that are not finite, and ``columns`` below 1.
    """
    if not points:
        raise ValueError("points: expected at least one cloud, got none.")
    figure, panels, _ = _panels(list(points), columns=columns, title=title, foot=26)
    crosses = False
    for ax, (name, cloud) in zip(panels, points.items(), strict=True):
        if real is not None:
            crosses |= _scatter(ax, real, name="real", colour=REAL, size=3, alpha=0.18)
        for centre in centres().tolist():
            ax.add_patch(Circle((centre[0], centre[1]), NEAR * SPREAD, fill=False, ec=FAINT, lw=0.8, zorder=3))
        crosses |= _scatter(ax, cloud, name=name, colour=FAKE, size=4, alpha=0.55)
    mode = Line2D([], [], color=FAINT, marker="o", mfc="none", mew=0.8, ls="", ms=8)
    _signs(figure, real is not None, [(mode, f"{NEAR:g} standard deviations")], crosses)
    return _finish(figure, path)


def field(
    rounds: Mapping[str, Round],
    *,
    real: Tensor | None = None,
    arrows: int = 50,
    columns: int = 3,
    title: str | None = None,
    path: str | Path | None = None,
) -> Sheet:
    """D as a height over the plane for several rounds (``round.kept()``), each under its name, and what it does to G.

    Colour is D's logit: blue where D says real, orange where it says fake, the thick line where it cannot tell; one
    scale for all panels. Small dots are real points (M, 2). Large dots are ``arrows`` fakes, and the arrow at each is
    the way that raises its logit fastest, D's slope there. An arrow's length goes with the root of the slope, so that
    weak pushes can be seen as well, in one scale for all panels; slopes above 4 are drawn as 4. Raises ``ValueError``
    on no round, on ``arrows`` or ``columns`` below 1, and where D or G gives values that are not finite.
    """
    if not rounds:
        raise ValueError("rounds: expected at least one round, got none.")
    if arrows < 1:
        raise ValueError(f"arrows: expected at least 1, got {arrows}.")
    figure, panels, side = _panels(list(rounds), columns=columns, title=title, room=74, foot=32)
    ticks = torch.linspace(-REACH, REACH, 81)
    places = torch.cartesian_prod(ticks, ticks)  # (81 * 81, 2)
    levels = torch.linspace(-LIMIT, LIMIT, 13).tolist()
    filled, crosses = None, False
    for ax, (name, now) in zip(panels, rounds.items(), strict=True):
        height = field_of(now.D, places)[0].view(81, 81).T  # rows are y
        _expect_finite(height, name)
        x, y, z = ticks.numpy(), ticks.numpy(), height.numpy()
        filled = ax.contourf(x, y, z, levels=levels, cmap=SIDES, extend="both")
        if height.min() < 0 < height.max():
            ax.contour(x, y, z, levels=[0.0], colors=INK, linewidths=1.3)
        if real is not None:
            crosses |= _scatter(ax, real, name="real", colour=REAL, size=4, alpha=0.5)
        fake = now.points(arrows)
        push = field_of(now.D, fake)[1]  # (arrows, 2)
        steep = push.norm(dim=1, keepdim=True)
        push = push / steep.clamp(min=1e-9) * (STRIDE * steep.clamp(max=4).sqrt())
        inside = (fake.abs() <= REACH).all(1)
        start, way = fake[inside].numpy(), push[inside].numpy()
        size: dict[str, Any] = {
            "angles": "xy",
            "scale_units": "xy",
            "scale": 1,
            "width": 0.008,
            "headwidth": 4,
            "headlength": 5,
        }
        ax.quiver(*start.T, *way.T, color=INK, zorder=5, minlength=0, **size)
        crosses |= _scatter(ax, fake, name=name, colour=FAKE, size=16, alpha=1.0)
    assert filled is not None
    _bar(figure, filled, panels, side)
    more: list[tuple[Line2D, str]] = [
        (Line2D([], [], color=INK, marker=r"$\rightarrow$", ls="", ms=13), "D's push; longer: steeper"),
        (Line2D([], [], color=INK, lw=1.3), "D cannot tell (logit 0)"),
    ]
    _signs(figure, real is not None, more, crosses)
    return _finish(figure, path)


def lines(
    x: Tensor,
    ys: Mapping[str, Tensor],
    *,
    x_label: str,
    y_label: str,
    marks: Mapping[str, float] | None = None,
    title: str | None = None,
    path: str | Path | None = None,
) -> Sheet:
    """Functions of one number: each of ``ys`` (N,) over ``x`` (N,), named at its right end.

    ``marks`` draws upright lines at values of x, with their names at the top. Raises ``ValueError`` on no function and
    on one whose length is not that of x.
    """
    if not ys:
        raise ValueError("ys: expected at least one function, got none.")
    figure, ax = _chart(8, 3.4)
    for i, (name, y) in enumerate(ys.items()):
        if y.shape != x.shape:
            raise ValueError(f"{name}: expected shape {tuple(x.shape)} as x has, got {tuple(y.shape)}.")
        colour = COLOURS[i % len(COLOURS)]
        ax.plot(x.tolist(), y.tolist(), color=colour, lw=2, ls=DASHES[i % len(DASHES)])
        end = (1.01, float(y[-1]))
        ax.text(*end, name, transform=ax.get_yaxis_transform(), va="center", **_words(9.5, colour=colour))
    for name, at in (marks or {}).items():
        ax.axvline(at, color=FAINT, lw=1, ls=(0, (6, 3)), zorder=1)
        ax.text(at, 1.0, f" {name}", transform=ax.get_xaxis_transform(), va="top", **_words(9))
    _axes_style(ax, title=title, x=x_label, y=y_label)
    return _finish(figure, path)


def _bar(figure: Sheet, filled: ContourSet, panels: list[Axes], side: float) -> None:
    """The colour scale to the right of the first row."""
    width, height = figure.get_size_inches() * DPI
    last = max((ax.get_position() for ax in panels), key=lambda box: box.x1)
    place = figure.add_axes((last.x1 + 12 / width, panels[0].get_position().y0, 12 / width, side / height))
    bar = figure.colorbar(filled, cax=place, ticks=[-3, -2, -1, 0, 1, 2, 3])
    bar.set_label("D's logit: fake below 0, real above", **_words(8.5))
    bar.ax.tick_params(colors=INK, labelsize=8)


def _signs(figure: Sheet, real: bool, more: list[tuple[Line2D, str]], crosses: bool) -> None:
    """What each sign means, at the foot, and what a cross means where one was drawn."""

    def dot(colour: str, size: float, marker: str = "o") -> Line2D:
        return Line2D([], [], color=colour, marker=marker, ls="", ms=size)

    signs = [(dot(REAL, 3), "real")] if real else []
    signs += [(dot(FAKE, 5), "fake"), *more]
    if crosses:
        signs.append((dot(FAKE, 5, "x"), "outside, put at the edge"))
    legend = figure.legend(
        [sign for sign, _ in signs], [word for _, word in signs], loc="lower left", ncols=len(signs), frameon=False,
        prop=_font(8.5), bbox_to_anchor=(0.0, 0.0), handlelength=1.6, handletextpad=0.4, columnspacing=1.1,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set(color=INK, parse_math=False)


def _expect_finite(x: Tensor, name: str) -> None:
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"{name}: holds values that are not finite; the run has diverged. Show an earlier round.")


def _scatter(ax: Axes, points: Tensor, *, name: str, colour: str, size: float, alpha: float) -> bool:
    """Dots, and crosses at the edge for what lies outside. Returns whether there are crosses."""
    expect_shape(points, "N 2", name=name)
    _expect_finite(points, name)
    x = points.detach().float().cpu()
    outside = (x.abs() > REACH).any(1)
    edge = 0.985 * REACH
    for some, marker, s in ((x[~outside], "o", size), (x[outside].clamp(-edge, edge), "x", 20)):
        if len(some):
            width = 0.8 if marker == "x" else 0
            across, up = some.T.numpy()
            ax.scatter(across, up, s=s, c=colour, alpha=alpha, marker=marker, linewidths=width, zorder=4)
    return bool(outside.any())


def _panels(
    titles: list[str], *, columns: int, title: str | None, room: int = 0, foot: int = 0
) -> tuple[Sheet, list[Axes], float]:
    """Square panels on a page 800 dots wide, and their side; ``room`` dots stay free on the right, ``foot`` below."""
    if columns < 1:
        raise ValueError(f"columns: expected at least 1, got {columns}.")
    across = min(columns, len(titles))
    rows = math.ceil(len(titles) / across)
    gap, head, top, left = 12, 24, (34 if title else 8), 34
    side = min(440 if across == 1 else 300, (800 - room - left - across * gap) // across)
    width = left + across * (side + gap) + room
    height = top + rows * (head + side) + 26 + foot
    figure = Sheet(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    if title:
        figure.text(8 / width, 1 - 8 / height, title, va="top", **_words(11, bold=True))
    panels = []
    for i, name in enumerate(titles):
        row, column = divmod(i, across)
        x, y = left + column * (side + gap), top + row * (head + side) + head
        ax = figure.add_axes((x / width, 1 - (y + side) / height, side / width, side / height))
        ax.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
        ax.set_xticks([-2, 0, 2])
        ax.set_yticks([-2, 0, 2])
        ax.tick_params(colors=INK, labelsize=8, length=3)
        ax.tick_params(labelleft=column == 0, labelbottom=i + across >= len(titles))
        for spine in ax.spines.values():
            spine.set_color(FAINT)
        ax.set_title(name, pad=4, **_words(9.5))
        panels.append(ax)
    return figure, panels, side
