"""The peers: published sizes, losses held to torch's, penalties to a closed form, tricks to the recipe as it ships."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import beside_peers, peers
from benchmarks.peers import AS_SHIPPED, DCGAN, DFGAN, ConditionalMLP, Tricks
from mmcourse import runtime, train
from mmcourse.layers import count_parameters
from mmcourse.pictures import Labelled, digits
from mmcourse.train import Batch

LEAN = Tricks(lean=True, adam="fused", channels_last=True)


@pytest.fixture(autouse=True)
def _global_randomness_as_before() -> Iterator[None]:
    """Peers draw their weights and dropout from torch's global state, as they ship."""
    with torch.random.fork_rng(devices=[]):
        yield


def captions(n: int = 4, cond: int = 64) -> train.Sample:
    def sample(rng: torch.Generator, step: int) -> Batch:
        real = torch.rand(n, 3, 32, 32, generator=rng) * 2 - 1
        return Batch(real, *(F.normalize(torch.randn(n, cond, generator=rng)) for _ in range(2)))

    return sample


# ---- sizes and shapes


def test_dcgan_has_the_published_layers() -> None:
    G, D = peers.DCGenerator(), peers.DCDiscriminator()
    convs = [
        [(m.in_channels, m.out_channels, m.stride[0]) for m in net.modules() if isinstance(m, nn.Conv2d)]
        for net in (G, D)
    ]
    assert convs[0] == [(128, 128, 1), (128, 64, 1), (64, 1, 1)]
    assert convs[1] == [(1, 16, 2), (16, 32, 2), (32, 64, 2), (64, 128, 2)]
    eps = [[m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)] for net in (G, D)]
    assert eps == [[1e-5, 0.8, 0.8], [0.8, 0.8, 0.8]]
    assert [m.p for m in D.modules() if isinstance(m, nn.Dropout2d)] == [0.25] * 4
    conv = G.layers[2].weight
    assert conv.std().item() == pytest.approx(0.02, rel=0.02) and conv.mean().item() == pytest.approx(0, abs=2e-4)
    by_hand = (100 + 1) * 8192 + 2 * 128 + (1152 + 1) * 128 + 2 * 128 + (1152 + 1) * 64 + 2 * 64 + 576 + 1
    assert count_parameters(G) == by_hand
    x = G(torch.randn(3, 100))
    assert x.shape == (3, 1, 32, 32) and x.abs().max() <= 1 and D(x).shape == (3, 1)


def test_df_gan_has_the_published_sizes() -> None:
    G, D = peers.DFGenerator(cond=256), peers.DFDiscriminator(cond=256)  # 256: the paper's sentence vector
    assert count_parameters(G) == pytest.approx(2.4e6, rel=0.03)
    assert count_parameters(D.stem) + count_parameters(D.blocks) == pytest.approx(1.5e6, rel=0.03)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for net in (G, D) for m in net.modules())
    sizes = [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in D.blocks.modules() if isinstance(m, nn.Conv2d)]
    assert sizes == [s for a, b in pairwise((32, 64, 128, 256)) for s in ((a, b, 4), (b, b, 3), (a, b, 1))]
    x = G(torch.randn(2, 100), torch.randn(2, 256))
    assert x.shape == (2, 3, 32, 32) and x.abs().max() <= 1
    assert D.look(x).shape == (2, 256, 4, 4) and D(x, torch.randn(2, 256)).shape == (2, 1)


def test_deep_fusion_starts_without_the_text_and_then_scales_and_shifts_channels(rng: torch.Generator) -> None:
    fusion, x = peers.Fusion(5, 7), torch.randn(4, 7, 3, 3, generator=rng)
    one, other = torch.randn(4, 5, generator=rng), torch.randn(4, 5, generator=rng)
    torch.testing.assert_close(fusion(x, one), F.leaky_relu(F.leaky_relu(x, 0.2), 0.2))
    affine = peers.Affine(5, 7)
    for p in affine.parameters():
        nn.init.normal_(p, generator=rng)
    at_zero, at_one = affine(torch.zeros_like(x), one), affine(torch.ones_like(x), one)
    torch.testing.assert_close(affine(x, one), at_zero + x * (at_one - at_zero))
    assert (at_zero == at_zero[:, :, :1, :1]).all() and not torch.equal(at_zero, affine(torch.zeros_like(x), other))


# ---- losses


def test_dcgans_loss_is_torchs_both_ways(rng: torch.Generator) -> None:
    logits = 3 * torch.randn(16, 1, generator=rng)
    for tricks in (AS_SHIPPED, LEAN):
        peer = DCGAN(digits(), tricks=tricks)
        for real in (True, False):
            wanted = nn.BCELoss()(nn.Sigmoid()(logits), torch.full((16, 1), float(real)))
            torch.testing.assert_close(peer.loss(logits, real), wanted)


def test_hinge_is_torchs_margin_loss(rng: torch.Generator) -> None:
    scores = 2 * torch.randn(50, generator=rng)
    for real, sign in ((True, 1.0), (False, -1.0)):
        wanted = F.hinge_embedding_loss(sign * scores, -torch.ones(50), margin=1.0)  # max(0, 1 - x)
        torch.testing.assert_close(peers.hinge(scores, real), wanted)


def test_magp_of_a_linear_d_is_its_closed_form(rng: torch.Generator) -> None:
    """D = w.x + v.e has the slope (w, v) everywhere, so the penalty is 2 (|w|^2 + |v|^2)^3."""
    w, v = (torch.randn(k, generator=rng, dtype=torch.double) / 4 for k in (12, 5))
    w.requires_grad_(True)
    x = torch.randn(6, 3, 2, 2, generator=rng, dtype=torch.double, requires_grad=True)
    cond = torch.randn(6, 5, generator=rng, dtype=torch.double, requires_grad=True)
    found = peers.magp((x.flatten(1) @ w + cond @ v)[:, None], x, cond)
    wanted = 2 * (w.square().sum() + v.square().sum()) ** 3
    torch.testing.assert_close(found, wanted)
    (slope,), (by_hand,) = torch.autograd.grad(found, w), torch.autograd.grad(wanted, w)
    torch.testing.assert_close(slope, by_hand)


def test_magp_has_a_slope_of_zero_where_d_is_flat() -> None:
    w = torch.zeros(12, requires_grad=True)
    x, cond = torch.randn(2, 3, 2, 2, requires_grad=True), torch.randn(2, 5, requires_grad=True)
    (slope,) = torch.autograd.grad(peers.magp(x.flatten(1) @ w + 0 * cond.sum(1), x, cond), w)
    assert torch.equal(slope, torch.zeros(12))


def test_df_gans_d_loss_weighs_real_fake_and_mismatched_as_published() -> None:
    peer = DFGAN(captions())
    twin, batch = DFGAN(captions()), captions()(torch.Generator().manual_seed(0), 0)
    told = peer.step()
    rng = torch.Generator().manual_seed(0)
    real, cond, wrong = captions()(rng, 0)
    assert torch.equal(real, batch.real)
    fake = twin.G(torch.randn(4, 100, generator=rng), cond)
    scores = {"real": twin.D(real, cond), "fake": twin.D(fake, cond), "mismatched": twin.D(real, wrong)}
    loss = F.relu(1 - scores["real"]) + 0.5 * F.relu(1 + scores["fake"]) + 0.5 * F.relu(1 + scores["mismatched"])
    assert told["d"] == pytest.approx(loss.mean().item(), rel=1e-5)


def test_shaded_pictures_come_back_at_full_range() -> None:
    """White becomes 0.9 for D, and where G says 0.45 it draws 0.5."""
    peer = DFGAN(lambda rng, step: Batch(torch.ones(4, 3, 32, 32), *torch.zeros(2, 4, 64)), shade=0.9)
    seen = []
    peer.D.look = lambda x: (seen.append(x.detach()), type(peer.D).look(peer.D, x))[1]
    peer.step()
    assert torch.allclose(seen[0], torch.full((4, 3, 32, 32), 0.9))
    nn.init.zeros_(peer.G.head.weight)
    nn.init.constant_(peer.G.head.bias, math.atanh(0.45))
    drawn = peer.draw(torch.zeros(2, 64), torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn, torch.full((2, 3, 32, 32), 0.5))


# ---- the recipes


def made(kind: Any, tricks: Tricks) -> Any:
    return DFGAN(captions(), tricks=tricks) if kind is DFGAN else kind(digits(), batch=6, tricks=tricks)


@pytest.mark.parametrize("kind", [ConditionalMLP, DCGAN, DFGAN])
def test_tricks_leave_the_recipe_as_it_is(kind: Any) -> None:
    """The same draws give the same first losses and the same moves of both networks; dropout is off, since D sees
    real and fake in another order."""
    runs = []
    for tricks in (AS_SHIPPED, LEAN):
        peer = made(kind, tricks)
        for m in peer.D.modules():
            if isinstance(m, nn.Dropout | nn.Dropout2d):
                m.p = 0.0
        runs.append(([peer.step() for _ in range(3)], peer))
    for shipped, fast in zip(runs[0][0], runs[1][0], strict=True):
        assert isinstance(shipped["d"], float) and isinstance(fast["d"], torch.Tensor)
        assert {k: float(v) for k, v in fast.items()} == pytest.approx(shipped, rel=1e-3, abs=1e-5)
    start = made(kind, AS_SHIPPED)
    for net in ("G", "D"):
        was, one, other = (
            torch.cat([p.flatten() for p in getattr(p_, net).parameters()]) for p_ in (start, runs[0][1], runs[1][1])
        )
        assert (one - was).norm() > 0
        assert (other - one).norm() < 0.05 * (one - was).norm()


@pytest.mark.parametrize("kind", [ConditionalMLP, DCGAN, DFGAN])
@pytest.mark.parametrize("tricks", [AS_SHIPPED, LEAN])
def test_every_weight_of_both_networks_moves_and_takes_gradients_again(kind: Any, tricks: Tricks) -> None:
    peer = made(kind, tricks)
    first = [p.detach().clone() for net in (peer.G, peer.D) for p in net.parameters()]
    for _ in range(4):
        peer.step()
    now = [(n, p) for net in (peer.G, peer.D) for n, p in net.named_parameters()]
    assert [n for was, (n, p) in zip(first, now, strict=True) if torch.equal(was, p)] == []
    assert all(p.requires_grad for _, p in now) and peer.steps == 4


def test_bf16_changes_losses_by_little() -> None:
    for kind in (DCGAN, DFGAN):
        one, other = (made(kind, tricks).step() for tricks in (AS_SHIPPED, Tricks(lean=True, bf16=True)))
        assert {k: float(v) for k, v in other.items()} == pytest.approx(one, rel=0.05, abs=0.02)


def test_a_dcgans_d_learns_to_tell_a_fixed_set_from_its_fakes() -> None:
    """White pictures, and a G that is held still: at the recipe's own rate D's loss falls from ln 2."""
    data = Labelled(torch.full((4, 1, 32, 32), 255, dtype=torch.uint8), torch.zeros(4).long(), ("white",), "white")
    peer = DCGAN(data, batch=8, tricks=LEAN)
    peer.opt_g.param_groups[0]["lr"] = 0.0
    losses = [float(peer.step()["d"]) for _ in range(60)]
    assert losses[0] == pytest.approx(0.693, abs=0.01) and losses[-1] < 0.45


def test_drawing_repeats_and_changes_nothing() -> None:
    peer = DCGAN(digits(), batch=6)
    peer.step()
    before = {k: v.clone() for k, v in peer.G.state_dict().items()}
    one, two, own = (peer.draw(5, torch.Generator().manual_seed(1), as_shipped=how) for how in (True, True, False))
    assert one.shape == (5, 1, 32, 32) and torch.equal(one, two) and not torch.equal(one, own)
    assert all(torch.equal(v, peer.G.state_dict()[k]) for k, v in before.items())
    text = DFGAN(captions())
    cond = torch.randn(5, 64)
    a, b = (text.draw(cond, torch.Generator().manual_seed(1), batch=n) for n in (5, 2))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_bad_input_says_what_was_expected() -> None:
    with pytest.raises(ValueError, match="adam: expected one of as shipped, foreach, fused; got 'quick'"):
        Tricks(adam="quick")
    with pytest.raises(ValueError, match="compiled: expected one of"):
        Tricks(compiled="fast")
    with pytest.raises(ValueError, match=r"shade: expected a number above 0 and up to 1, got 1.5"):
        DFGAN(captions(), shade=1.5)
    with pytest.raises(ValueError, match="expected batches with true and wrong conditions"):
        DFGAN(lambda rng, step: Batch(torch.zeros(2, 3, 32, 32))).step()


# ---- the comparison


def test_operations_are_those_of_the_layers_by_hand() -> None:
    g, d = beside_peers.forward_ops(peers.DCGenerator(), peers.DCDiscriminator(), 100)
    assert g == 2 * (100 * 8192 + 128 * 128 * 9 * 256 + 128 * 64 * 9 * 1024 + 64 * 9 * 1024)
    assert d == 2 * (9 * 16 * 256 + 16 * 32 * 9 * 64 + 32 * 64 * 9 * 16 + 64 * 128 * 9 * 4 + 512)


def test_a_width_is_the_least_that_is_costly_enough() -> None:
    assert beside_peers.width_for(lambda w: w * w, 32 * 32) == 32
    assert beside_peers.width_for(lambda w: w * w, 33 * 33) == 34  # 48 and 40 cost too much, and 32 too little
    for wanted in (7, 100, 1234, 99999):
        w = beside_peers.width_for(lambda w: w * w, wanted)
        assert w * w >= 0.97 * wanted
    with pytest.raises(ValueError, match="no width of up to 1,024 costs"):
        beside_peers.width_for(lambda w: w, 5000)


@pytest.mark.parametrize("name", ["cgan", "dcgan"])
def test_ours_are_as_costly_as_the_peer(name: str) -> None:
    forward = beside_peers.grey_pair(name, digits(), "cpu", 4).forward
    for net in ("G", "D"):
        assert 0.97 <= forward["ours"][net] / forward["peer"][net] <= 1.25
    total = {who: sum(forward[who].values()) for who in ("ours", "peer")}
    assert 0.97 <= total["ours"] / total["peer"] <= 1.10


def test_turns_are_counted_in_pictures_and_whole_periods() -> None:
    class Steps:
        steps = 0

        def step(self) -> None:
            self.steps += 1

    run = beside_peers.peer_run(Steps(), 5, "cpu")  # type: ignore[arg-type]
    assert run(0)[0] == 5 and run(0)[0] == 5
    ours = beside_peers.our_run((train.Step(i, 0.0, {}, None) for i in range(1, 100)), 5, "cpu")  # type: ignore[arg-type]
    assert [ours(0)[0] for _ in range(3)] == [40, 40, 40]
    seen: list[str] = []

    def noted(name: str) -> Any:
        return lambda seconds: (seen.append(name), (10, 2.0))[1]

    speed, disturbed = beside_peers.in_turns({"a": noted("a"), "b": noted("b")}, 2, 1.0, again=0)
    assert speed == {"a": [5.0, 5.0], "b": [5.0, 5.0]} and disturbed in range(5)
    assert seen == ["a", "b", "b", "a"]


def test_a_trick_that_fails_or_does_not_help_is_told_and_not_kept() -> None:
    def make(tricks: Tricks) -> Any:
        if tricks.channels_last:
            raise RuntimeError("no such format\nand a long story")

        class Quick:
            steps = 0

            def step(self) -> None:
                self.steps += 1
                torch.zeros(30_000 if tricks.lean and tricks.adam == "as shipped" else 3_000_000).cos_()

        return Quick()

    ladder = ({"lean": True}, {"channels_last": True}, {"adam": "fused"})
    kept, peer, (lean, failed, fused) = beside_peers.best_tricks(make, 4, "cpu", 0.02, ladder)
    assert kept == Tricks(lean=True) and peer.steps > 0
    assert lean["kept"] and lean["times"] > 2 and failed["failed"] == "no such format"
    assert not fused["kept"] and fused["times"] < 1


def test_a_level_is_reached_from_below_and_from_above() -> None:
    curve = [{"seconds": s, "a": a} for s, a in ((1.0, 5.0), (2.0, 3.0), (3.0, 9.0))]
    assert beside_peers.seconds_to(curve, "a", 6) == 3.0 and beside_peers.seconds_to(curve, "a", 10) is None
    assert beside_peers.seconds_to(curve, "a", 4, least=True) == 2.0


def test_parts_of_the_results_file_leave_each_other_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "ROOT", tmp_path)
    tricks = replace(LEAN, bf16=True, compiled="default")
    assert beside_peers.kept_tricks("dcgan", "cpu") == LEAN  # there is no file yet
    beside_peers.merge("throughput", "cpu", {"peers": {"dcgan": {"tricks": tricks.describe()}}})
    beside_peers.merge("quality", "cpu", {"text": [{"seed": 1, "a": 1}]})
    beside_peers.merge("quality", "cpu", {"digits": [{"seed": 0}]})
    beside_peers.merge("quality", "cpu", {"text": [{"seed": 0}]})
    beside_peers.merge("quality", "cpu", {"text": [{"seed": 1, "a": 2}]})
    beside_peers.merge("throughput", "cpu", {"peers": {"cgan": {}}})
    parts = runtime.results("beside_peers_cpu")["parts"]
    assert list(parts["throughput, 1 thread"]["peers"]) == ["dcgan", "cgan"]
    assert parts["quality, 1 thread"] == {"text": [{"seed": 0}, {"seed": 1, "a": 2}], "digits": [{"seed": 0}]}
    assert beside_peers.kept_tricks("dcgan", "cpu") == replace(tricks, compiled="")


def test_the_ceiling_is_a_rate_of_this_machine() -> None:
    assert 1e8 < beside_peers.ceiling("cpu", side=128, tries=2) < 1e14


def test_a_tiny_comparison_holds_together() -> None:
    table = beside_peers.throughput("cpu", 1, True, seconds=0, names=("cgan",))
    found = table["peers"]["cgan"]
    rows = found["rows"]
    assert {"peer, as shipped", "peer, at its best", "ours, readable"} <= set(rows)
    for name, row in rows.items():
        rate, ops = row["images_a_second"]["median"], row["operations_an_image"]
        assert row["operations_a_second"] == pytest.approx(rate * ops, rel=0.01)
        if name.startswith("ours"):
            theirs = rows["peer, as shipped"]["images_a_second"]["median"]
            assert row["times the peer, as shipped"]["median"] == pytest.approx(rate / theirs, abs=0.02)
    G, D = (found["forward_operations_a_picture"]["peer"][net] for net in ("G", "D"))
    # as shipped: G forward and back (3G), D forward on three batches and back with all gradients (9D), less what the
    # first layers need not pass on
    assert rows["peer, as shipped"]["operations_an_image"] == pytest.approx(3 * G + 9 * D, rel=0.15)
    assert rows["peer, at its best"]["operations_an_image"] < rows["peer, as shipped"]["operations_an_image"]


def test_tiny_curves_count_the_seconds_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCOURSE_CHECKPOINTS", str(runtime.checkpoint_dir()))
    monkeypatch.setattr(runtime, "ROOT", tmp_path)
    (tmp_path / "out").mkdir()
    row = beside_peers.grey_quality(digits(), "cpu", 0.6, 0.3, 0, 50, LEAN)
    for curve in row["curves"].values():
        seconds, steps = ([r[k] for r in curve] for k in ("seconds", "step"))
        assert seconds == sorted(seconds) and steps == sorted(set(steps)) and seconds[0] >= 0.3
        assert all(math.isfinite(r["frechet"]) and r["frechet"] > 0 for r in curve)
    assert row["peers_best"] == min(r["frechet"] for r in row["curves"]["peer"])
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
