"""The feature network: what it refuses, that it learns, and that the shipped one reads digits it never saw."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmcourse import checkpoint
from mmcourse.features import FeatureNet, disturb, feature_steps, label_accuracy
from mmcourse.pictures import digits, labelled


def test_shapes_and_what_is_refused() -> None:
    net = FeatureNet(classes=7, width=8, features=12)
    x = torch.zeros(3, 1, 32, 32)
    assert net(x).shape == (3, 7) and net.features(x).shape == (3, 12) and net.read(x).shape == (3,)
    assert net.num_features == 12
    for wrong in (torch.zeros(3, 3, 32, 32), torch.zeros(3, 1, 28, 28), torch.zeros(1, 32, 32)):
        with pytest.raises(ValueError, match="pictures: expected"):
            net(wrong)
        with pytest.raises(ValueError, match="pictures: expected"):
            net.features(wrong)


def test_features_do_not_depend_on_the_batch() -> None:
    net, x = checkpoint.load(FeatureNet, "features"), digits("test").pictures(slice(0, 60))
    assert torch.allclose(net.features(x, batch=7), net.features(x), atol=1e-5)
    assert torch.allclose(net.features(x)[:5], net.features(x[:5]), atol=1e-5)


def test_disturb_moves_by_at_most_two_pixels(rng: torch.Generator) -> None:
    x = -torch.ones(300, 1, 32, 32)
    x[:, :, 10:20, 12:22] = 1.0
    y = disturb(x, rng)
    assert y.shape == x.shape and y.abs().max() <= 1
    rows = torch.arange(32.0)
    bright = (y > 0).float()
    centre = (bright.sum((1, 3)) * rows).sum(1) / bright.sum((1, 2, 3))
    assert 12.0 < centre.min() < 13.0 and 16.0 < centre.max() < 17.0  # 14.5, moved by two at most
    assert (bright.sum((1, 2, 3)) - 100).abs().max() < 12  # no noise is strong enough to turn a pixel


def test_training_learns_and_is_the_same_for_a_seed() -> None:
    held_out = digits("test")
    runs = []
    for _ in range(2):
        for _step, _loss, net in feature_steps([digits()], steps=200, seed=3, width=8):
            pass
        runs.append(net.eval())
    found = label_accuracy(runs[0], held_out.pictures(), held_out.labels)
    start = next(feature_steps([digits()], steps=200, seed=3, width=8))[2]
    assert found > 0.6 > 0.3 > label_accuracy(start, held_out.pictures(), held_out.labels)
    assert torch.equal(runs[0].out.weight, runs[1].out.weight)


def test_the_shipped_network_reads_digits_it_never_saw(data_dir: Path) -> None:
    net = checkpoint.load(FeatureNet, "features")
    written = checkpoint.card("features")["figures"]
    for name in ("digits", "mnist"):
        held_out = labelled(name, "test", fall_back=False)
        found = label_accuracy(net, held_out.pictures(), held_out.labels)
        assert found == pytest.approx(written[name]["accuracy"], abs=0.002) and found > 0.98
        labels = held_out.labels.roll(1)
        assert label_accuracy(net, held_out.pictures(), labels) < 0.2


def test_the_shipped_network_reads_scikit_learns_digits() -> None:
    held_out = digits("test")
    net = checkpoint.load(FeatureNet, "features")
    assert label_accuracy(net, held_out.pictures(), held_out.labels) > 0.98
