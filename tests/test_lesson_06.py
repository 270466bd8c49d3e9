"""Lesson 06: its assignment's answers against torch, scikit-learn and closed forms, and the peer of its benchmark."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import ROOT
from sklearn.metrics import recall_score, roc_auc_score
from torch import nn
from torch.nn import functional as F

from benchmarks import cgan_cpu
from benchmarks.peers import ConditionalMLP, PeerDiscriminator, PeerGenerator
from mmcourse import cgan
from mmcourse.course import exercise as e
from mmcourse.layers import count_parameters
from mmcourse.pictures import digits


@functools.cache
def reference(item: str) -> Callable[..., Any]:
    return e.reference(e.load_assignment("06_class_gan", ROOT), e.load_assignment("06_class_gan", ROOT).item(item))


# ---- maps


def test_maps_are_the_librarys_and_beside_a_picture_they_are_a_linear_layer_of_the_label(rng: torch.Generator) -> None:
    labels = torch.randint(5, (6,), generator=rng)
    maps = reference("onehot_maps")(labels, 5, 4, 4)
    torch.testing.assert_close(maps, cgan.onehot_maps(cgan.one_hot(labels, 5), 4))
    x, layer = torch.randn(6, 1, 4, 4, generator=rng), nn.Conv2d(6, 3, 1)
    alone = F.conv2d(x, layer.weight[:, :1], layer.bias)
    of_class = layer.weight[:, 1:, 0, 0].T[labels][:, :, None, None]  # one number for each output channel, by class
    torch.testing.assert_close(layer(torch.cat([x, maps], dim=1)), alone + of_class)


def test_maps_can_be_read_back_at_any_pixel(rng: torch.Generator) -> None:
    labels = torch.randint(7, (9,), generator=rng)
    maps = reference("onehot_maps")(labels, 7, 2, 5)
    assert maps.dtype == torch.float32
    assert torch.equal(maps.argmax(1), labels[:, None, None].expand(9, 2, 5)) and (maps.sum(1) == 1).all()
    for odd in (-1, 7):
        with pytest.raises(ValueError, match="labels from 0 to 6"):
            reference("onehot_maps")(torch.tensor([0, odd]), 7, 2, 5)


# ---- conditional normalisation


def test_a_norm_is_torchs_and_the_librarys(rng: torch.Generator) -> None:
    x, cond = 2 - torch.randn(5, 6, 3, 4, generator=rng), torch.randn(5, 3, generator=rng)
    layer = cgan.CondNorm(6, 3)
    for p in layer.parameters():
        nn.init.normal_(p, std=0.5, generator=rng)
    got = reference("cond_norm")(x, cond, layer.affine.weight, layer.affine.bias, 1e-5)
    torch.testing.assert_close(got, layer(x, cond))
    for i in range(5):  # one picture at a time it is torch's group normalisation with one channel a group
        scale, shift = F.linear(cond[i], layer.affine.weight, layer.affine.bias).chunk(2)
        one = F.group_norm(x[i : i + 1], 6, weight=1 + scale, bias=shift, eps=1e-5)
        torch.testing.assert_close(got[i : i + 1], one)


def test_a_norm_forgets_brightness_and_contrast_and_a_flat_channel_becomes_its_shift(rng: torch.Generator) -> None:
    norm, x, cond = reference("cond_norm"), torch.randn(2, 3, 4, 4, generator=rng), torch.eye(2)
    weight, bias = torch.randn(6, 2, generator=rng), torch.randn(6, generator=rng)
    got = norm(x, cond, weight, bias, 1e-9)
    torch.testing.assert_close(norm(9 * x - 4, cond, weight, bias, 1e-9), got, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        norm(-x, cond, weight, bias, 1e-9) + got, 2 * shift_of(weight, bias), atol=1e-4, rtol=1e-4
    )
    flat = norm(torch.full_like(x, 3.0), cond, weight, bias, 1e-9)
    torch.testing.assert_close(flat, shift_of(weight, bias))


def shift_of(weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """What the second half of a linear layer gives for the two classes, for each pixel of 4 x 4: (2, 3, 4, 4)."""
    return (weight[3:].T + bias[3:])[:, :, None, None].expand(2, 3, 4, 4)


# ---- projection


def test_a_projection_is_the_librarys_score(rng: torch.Generator) -> None:
    torch.manual_seed(0)
    D = cgan.Discriminator(cond=4, width=8, features=16)
    features, labels = torch.randn(7, 16, generator=rng), torch.randint(4, (7,), generator=rng)
    got = reference("projection_logit")(features, labels, D.alone.weight[0], D.alone.bias[0], D.project.weight.T)
    torch.testing.assert_close(got, D.score(features, cgan.one_hot(labels, 4)))


def test_a_projection_holds_the_logarithm_of_the_ratio_of_two_classifiers(rng: torch.Generator) -> None:
    """The derivation of the lesson: V is the difference of the classifiers' rows, and the rest does not know y."""
    features, real, fake = (torch.randn(n, 6, generator=rng) for n in (20, 4, 4))
    ratio = F.log_softmax(features @ real.T, 1) - F.log_softmax(
        features @ fake.T, 1
    )  # (20, 4): log p(y|x) - log q(y|x)
    blind, none = torch.zeros(6), torch.zeros(())
    each = [reference("projection_logit")(features, torch.full((20,), k), blind, none, real - fake) for k in range(4)]
    rest = ratio - torch.cat(each, dim=1)
    torch.testing.assert_close(rest, rest[:, :1].expand(20, 4), atol=1e-5, rtol=1e-4)
    partition = (features @ fake.T).logsumexp(1) - (features @ real.T).logsumexp(1)
    torch.testing.assert_close(rest[:, 0], partition, atol=1e-5, rtol=1e-4)


# ---- the swap test


def table_d(table: torch.Tensor) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A D whose logits are looked up: row of the picture's only number, column of the label."""
    return lambda x, y: table[x.flatten().long(), y][:, None]


def test_a_swap_test_of_one_picture_is_an_auc(rng: torch.Generator) -> None:
    """For one picture, own against wrong labels is the area under a curve with one true pair."""
    table = torch.randn(6, 5, generator=rng).round(decimals=1)
    table[2, 3] = table[2, 1]  # a tie
    shares = []
    for i in range(6):
        label = torch.tensor([i % 5 if i != 2 else 3])
        got = reference("swap_test")(table_d(table), torch.full((1, 1, 1, 1), float(i)), label, 5)
        assert got == pytest.approx(roc_auc_score((torch.arange(5) == label).numpy(), table[i].numpy()))
        shares.append(got)
    labels = torch.tensor([0, 1, 3, 3, 4, 0])
    whole = reference("swap_test")(table_d(table), torch.arange(6.0).view(6, 1, 1, 1), labels, 5)
    assert whole == pytest.approx(sum(shares) / 6)


def test_a_swap_test_does_not_care_how_real_a_picture_looks(rng: torch.Generator) -> None:
    table, pictures = torch.randn(40, 4, generator=rng), torch.arange(40.0).view(40, 1, 1, 1)
    labels = torch.randint(4, (40,), generator=rng)
    swap, lift = reference("swap_test"), 100 * torch.randn(40, 1, generator=rng)
    got = swap(table_d(table), pictures, labels, 4)
    assert 0.3 < got < 0.7
    assert swap(table_d(table + lift), pictures, labels, 4) == pytest.approx(got)
    assert swap(table_d(table.exp()), pictures, labels, 4) == pytest.approx(got)  # only the order counts
    assert swap(table_d(-table), pictures, labels, 4) == pytest.approx(1 - got)
    assert swap(table_d(lift.expand(40, 4)), pictures, labels, 4) == 0.5  # blind
    assert swap(table_d(cgan.one_hot(labels, 4) + lift), pictures, labels, 4) == 1


# ---- recall


def test_recall_is_scikit_learns(rng: torch.Generator) -> None:
    asked = torch.randint(5, (80,), generator=rng)
    read = torch.where(torch.rand(80, generator=rng) < 0.6, asked, torch.randint(6, (80,), generator=rng))
    recall, mean = reference("per_class_recall")(read, asked, 6)
    with pytest.warns(UserWarning, match="ill-defined"):
        theirs = recall_score(asked.numpy(), read.numpy(), labels=range(6), average=None)
    torch.testing.assert_close(recall[:5], torch.from_numpy(theirs).float()[:5])
    assert recall[5].isnan() and mean == pytest.approx(theirs[:5].mean())


def test_recall_of_equal_classes_is_accuracy_and_copies_change_nothing(rng: torch.Generator) -> None:
    asked, read = torch.arange(60) % 6, torch.randint(6, (60,), generator=rng)
    recall, mean = reference("per_class_recall")(read, asked, 6)
    assert mean == pytest.approx((read == asked).float().mean().item())
    again, same = reference("per_class_recall")(read.repeat(3), asked.repeat(3), 6)
    assert torch.equal(recall, again) and same == pytest.approx(mean)


# ---- the peer


def test_the_peer_has_the_published_sizes() -> None:
    G, D = PeerGenerator(), PeerDiscriminator()
    linear = [(m.in_features, m.out_features) for m in G.modules() if isinstance(m, nn.Linear)]
    assert linear == [(110, 128), (128, 256), (256, 512), (512, 1024), (1024, 1024)]
    assert [(m.num_features, m.eps) for m in G.modules() if isinstance(m, nn.BatchNorm1d)] == [
        (256, 0.8),
        (512, 0.8),
        (1024, 0.8),
    ]
    assert [m.p for m in D.modules() if isinstance(m, nn.Dropout)] == [0.4, 0.4]
    assert count_parameters(D) == 100 + 1034 * 512 + 512 + 2 * (512 * 512 + 512) + 513
    x = G(torch.randn(4, 100), torch.arange(4))
    assert x.shape == (4, 1, 32, 32) and x.abs().max() <= 1 and D(x, torch.arange(4)).shape == (4, 1)


def test_the_peer_plays_by_its_rules_and_its_seed_repeats() -> None:
    before = torch.get_rng_state()
    try:
        runs = []
        for _ in range(2):
            peer = ConditionalMLP(digits(), seed=3, batch=16)
            first = [p.detach().clone() for m in (peer.G, peer.D) for p in m.parameters()]
            losses = [peer.step() for _ in range(3)]
            moved = [
                not torch.equal(p, q) for p, q in zip(first, (*peer.G.parameters(), *peer.D.parameters()), strict=True)
            ]
            assert peer.steps == 3 and all(moved)
            runs.append((losses, peer.draw(torch.arange(10), torch.Generator().manual_seed(1))))
        assert runs[0][0] == runs[1][0] and torch.equal(runs[0][1], runs[1][1])
        assert runs[0][0][0]["d"] == pytest.approx(0.5, abs=0.2)  # scores near 0: (1 + 0) / 2
        assert runs[0][0][0]["g"] == pytest.approx(1.0, abs=0.3)
        state = {k: v.clone() for k, v in peer.G.state_dict().items()}
        own = peer.draw(torch.arange(10), torch.Generator().manual_seed(1), as_shipped=False)
        assert not torch.equal(own, runs[1][1])  # running statistics are others than the batch's
        assert all(torch.equal(v, peer.G.state_dict()[k]) for k, v in state.items())  # drawing changes nothing
    finally:
        torch.set_rng_state(before)


def test_a_level_is_reached_at_the_first_look_that_has_it() -> None:
    curve = [{"seconds": s, "accuracy": a} for s, a in ((0.0, 0.1), (10.0, 0.6), (20.0, 0.5), (30.0, 0.9))]
    assert cgan_cpu.seconds_to(curve, 0.6) == 10.0 and cgan_cpu.seconds_to(curve, 0.61) == 30.0
    assert cgan_cpu.seconds_to(curve, 0.95) is None
    assert cgan_cpu.spread([3.0, 1.0, 2.0]) == {"median": 2.0, "least": 1.0, "most": 3.0}
