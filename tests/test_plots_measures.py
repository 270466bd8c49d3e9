"""The figures of measures: what they refuse, what counts as seen, and that files appear whole."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmcourse import plots_measures as p
from mmcourse.plots import png


def test_a_value_is_seen_where_it_is_worse_than_real_pictures_are() -> None:
    low, high = p.usual_range([4.0, 5.0, 6.0])
    assert low <= 4 and high >= 6
    assert p.sees(high + 1, (low, high), higher_is_better=False) and not p.sees(
        low - 1, (low, high), higher_is_better=False
    )
    assert p.sees(low - 1, (low, high), higher_is_better=True) and not p.sees(
        high + 1, (low, high), higher_is_better=True
    )
    assert not p.sees(5.0, (low, high), higher_is_better=True)
    with pytest.raises(ValueError, match="at least two"):
        p.usual_range([4.0])


def test_lines_over_sizes(tmp_path: Path) -> None:
    rows = {"real": [[9.0, 8.0], [4.0, 5.0]], "noisy": [[12.0], [11.0]]}
    p.against_size(rows, [100, 200], title="t", path=tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").width == 800 and not list(tmp_path.glob("*.tmp"))
    for wrong, sizes in ((rows, [100]), ({"real": [[1.0], []]}, [1, 2]), ({"real": [[0.0]]}, [1]), ({}, [1])):
        with pytest.raises(ValueError, match="expected"):
            p.against_size(wrong, sizes)


def test_numbers_of_intervals_keep_clear_of_the_edge() -> None:
    figure = p.intervals({"lost by noise, same rows": (0.016, -0.029, 0.06), "blurred": (0.697, 0.666, 0.73)})
    said = figure.axes[0].texts
    assert said[0].get_text().strip() == "0.016  [-0.029, 0.060]"
    drawn = np.asarray(Image.open(io.BytesIO(png(figure))).convert("RGB"))[:, -8:]  # the last eight columns
    assert len(said) == 2 and (drawn == 255).all()


def test_audit_and_intervals_refuse_what_does_not_fit() -> None:
    one = torch.rand(5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        p.neighbours({"x": (one, one)}, ratio=1.5)
    with pytest.raises(ValueError, match="one length"):
        p.neighbours({"x": (one, one[:3])}, ratio=0.5)
    with pytest.raises(ValueError, match="at least one"):
        p.intervals({})
