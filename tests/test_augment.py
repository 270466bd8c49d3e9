"""Differentiable augmentation: ranges, gradients by finite differences, what each change leaves alone."""

from __future__ import annotations

import pytest
import torch

from mmcourse import augment


def pictures(n: int = 6, seed: int = 0) -> torch.Tensor:
    return 2 * torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) - 1


def g(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_strength_of_0_changes_nothing() -> None:
    x = pictures()
    torch.testing.assert_close(augment.colour(x, g(), strength=0.0), x, atol=1e-6, rtol=0)
    assert torch.equal(augment.shift(x, g(), share=0.0), x)
    assert torch.equal(augment.cut(x, g(), share=0.0), x)
    assert torch.equal(augment.augment(x, g(), changes=()), x)


def test_shift_moves_whole_pixels_and_brings_zeros() -> None:
    x = pictures(40)
    moved, seen = augment.shift(x, g()), set()
    for before, after in zip(x, moved, strict=True):
        found = [
            (dy, dx)
            for dy in range(-4, 5)
            for dx in range(-4, 5)
            if torch.equal(
                after[:, max(0, dy) : 32 + min(0, dy), max(0, dx) : 32 + min(0, dx)],
                before[:, max(0, -dy) : 32 + min(0, -dy), max(0, -dx) : 32 + min(0, -dx)],
            )
        ]
        assert len(found) == 1
        dy, dx = found[0]
        outside = torch.ones(32, 32, dtype=torch.bool)
        outside[max(0, dy) : 32 + min(0, dy), max(0, dx) : 32 + min(0, dx)] = False
        assert not after[:, outside].any()
        seen.add((dy, dx))
    assert len(seen) > 20 and max(abs(v) for pair in seen for v in pair) == 4


def test_cut_hides_one_square_and_no_more() -> None:
    x = pictures(60) + 5
    hidden = (augment.cut(x, g()) == 0).all(1)
    assert torch.equal(augment.cut(x, g())[(~hidden)[:, None].expand_as(x)], x[(~hidden)[:, None].expand_as(x)])
    areas = hidden.flatten(1).sum(1)
    assert 16 <= int(areas.max()) <= 17**2 and int(areas.min()) >= 49 and len(areas.unique()) > 10
    for one in hidden:
        rows, columns = one.any(1).nonzero()[:, 0], one.any(0).nonzero()[:, 0]
        assert int(one.sum()) == len(rows) * len(columns), "a rectangle"


def test_colour_moves_all_pixels_of_a_picture_alike() -> None:
    x = pictures()
    x[:, :, :2, :2] = x[:, :, 5:7, 5:7]  # two equal places stay equal
    y = augment.colour(x, g())
    assert torch.equal(y[:, :, :2, :2], y[:, :, 5:7, 5:7]) and (y - x).abs().mean() > 0.1
    grey = x.mean(1, keepdim=True).expand_as(x).contiguous()
    still = augment.colour(grey, g())
    torch.testing.assert_close(still, still.mean(1, keepdim=True).expand_as(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", augment.CHANGES)
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    x = pictures(2).double()[:, :, :8, :8].contiguous().requires_grad_(True)

    def change(y: torch.Tensor) -> torch.Tensor:
        return augment.augment(y, g(3), changes=(name,))

    assert torch.autograd.gradcheck(change, (x,))
    assert torch.autograd.gradgradcheck(change, (x,)), "a penalty differentiates twice"


def test_the_same_source_gives_the_same_changes_and_each_call_others() -> None:
    x, source = pictures(), g(7)
    first, second = augment.augment(x, source), augment.augment(x, source)
    assert not torch.equal(first, second) and torch.equal(first, augment.augment(x, g(7)))
    assert len({float((a - b).abs().mean()) for a, b in zip(first, x, strict=True)}) == len(x)


def test_a_discriminator_sees_everything_changed() -> None:
    class Eye(torch.nn.Module):
        def look(self, x: torch.Tensor) -> torch.Tensor:
            self.seen = x
            return x.flatten(1)

        def score(self, features: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
            return features.sum(1, keepdim=True) + cond

    eye, x = Eye(), pictures()
    D = augment.Augmented(eye, seed=2)
    features = D.look(x)
    assert torch.equal(eye.seen, augment.augment(x, g(2))) and torch.equal(features, eye.seen.flatten(1))
    assert torch.equal(D.score(features, torch.ones(6, 1)), features.sum(1, keepdim=True) + 1)


def test_an_unknown_change_is_named() -> None:
    with pytest.raises(ValueError, match="expected some of colour, shift, cut; got flip"):
        augment.augment(pictures(), g(), changes=("flip",))
    with pytest.raises(ValueError, match="pictures"):
        augment.augment(torch.zeros(2, 1, 8, 8), g())
