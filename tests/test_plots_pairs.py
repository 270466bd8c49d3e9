"""Figures of lesson 14 are drawn from what they are given, and refuse what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

from mmcourse import plots_pairs

PICTURES = torch.zeros(2, 3, 3, 16, 16)
HELD = torch.tensor([[False, True, False], [True, False, False]])


def test_each_held_out_picture_and_no_other_has_a_dashed_frame(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    figure = plots_pairs.compositions(PICTURES, ["a", "b"], ["x", "y", "z"], HELD, title="who", path=path)
    assert path.read_bytes().startswith(b"\x89PNG")
    ax = figure.axes[0]
    frames = [p.get_bbox() for p in ax.patches if isinstance(p, Rectangle) and p.get_linestyle() == "--"]
    assert len(frames) == 2
    assert frames[0].x0 > frames[1].x0 and frames[0].y0 < frames[1].y0  # row a, column y; row b, column x
    words = [text.get_text() for text in ax.texts]
    assert {"a", "b", "x", "y", "z", "who", "dashed: held out"} <= set(words)


@pytest.mark.parametrize(
    ("rows", "columns", "held"),
    [(["a"], ["x", "y", "z"], HELD), (["a", "b"], ["x", "y"], HELD), (["a", "b"], ["x", "y", "z"], HELD[:1])],
)
def test_names_and_marks_that_do_not_fit_are_refused(rows, columns, held) -> None:
    with pytest.raises(ValueError, match=r"compositions: expected names and marks for \(2, 3\) pictures"):
        plots_pairs.compositions(PICTURES, rows, columns, held)


def test_scores_show_each_set_as_a_density_beside_the_curve_and_the_limit(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    sets = {"unmarked": torch.randn(5000, generator=g), "marked": 9 + torch.randn(50, generator=g)}
    figure = plots_pairs.scores(sets, 3.09, path=tmp_path / "z.png")
    ax = figure.axes[0]
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["unmarked", "marked", "normal: no mark, in theory", "limit 3.09"]
    curve, limit = ax.lines
    assert np.trapezoid(curve.get_ydata(), curve.get_xdata()) == pytest.approx(1, abs=1e-3)
    assert list(limit.get_xdata()) == [3.09, 3.09]
    low, high = ax.get_xlim()
    assert low < min(z.min() for z in sets.values()) and high > sets["marked"].max()
    assert (tmp_path / "z.png").is_file()


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({}, "at least one set"),
        ({"a": torch.zeros(0)}, "a: expected"),
        ({"a": torch.tensor([float("nan")])}, "a: expected"),
    ],
)
def test_scores_refuse_what_cannot_be_drawn(sets, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plots_pairs.scores(sets, 3.0)
