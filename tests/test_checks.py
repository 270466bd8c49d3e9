"""Errors say what was expected, what came and what to do."""

from __future__ import annotations

import pytest
import torch

from mmcourse.checks import expect_one_of, expect_range, expect_shape


def test_shapes_bind_letters() -> None:
    assert expect_shape(torch.zeros(2, 3, 8, 8), "B 3 H H") == {"B": 2, "H": 8}
    with pytest.raises(ValueError, match=r"pictures: expected shape \(B 3 H H\), got \(2, 3, 8, 9\): axis 3 .* H = 8"):
        expect_shape(torch.zeros(2, 3, 8, 9), "B 3 H H", name="pictures")
    with pytest.raises(ValueError, match="axis 1 must be 3"):
        expect_shape(torch.zeros(2, 1, 8, 8), "B 3 H W")
    with pytest.raises(ValueError, match=r"Add the batch axis"):
        expect_shape(torch.zeros(3, 8, 8), "B 3 H W")
    with pytest.raises(TypeError, match="list"):
        expect_shape([1], "B")  # type: ignore[arg-type]


def test_ranges() -> None:
    expect_range(torch.tensor([-1.0, 1.0]), -1, 1)
    with pytest.raises(ValueError, match=r"got \[0, 255\].*x / 127.5 - 1"):
        expect_range(torch.tensor([0.0, 255.0]), -1, 1, name="pictures")
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not finite"):
            expect_range(torch.tensor([0.0, bad]), -1, 1)
    with pytest.raises(ValueError, match="uint8"):
        expect_range(torch.zeros(3, dtype=torch.uint8), -1, 1)


def test_words() -> None:
    assert expect_one_of("a", ("a", "b"), name="x") == "a"
    with pytest.raises(ValueError, match=r"x: expected one of held_out, train; got 'heldout'. Did you mean 'held_out'"):
        expect_one_of("heldout", ("held_out", "train"), name="x")
