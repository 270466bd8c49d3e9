"""Inpainting: convolutions with holes, the network's two promises, both losses, captions of holes, the game."""

from __future__ import annotations

import copy
import json
import math
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_cdt
from torch import Tensor, nn
from torch.nn import functional as F

from mmcourse import checkpoint, inpainting, masks, pictures, world
from mmcourse.encoders import Space
from mmcourse.inpainting import Damaged, Discriminator, GuidedDamage, HoleCaptions, Inpainter, Recipe, Stem
from mmcourse.losses import GAMES, r1, r2
from mmcourse.train import Diverged, State, TrainConfig

LAST = world.OPEN


def seeded(build: Any, seed: int = 0, *, shake: float = 0.0) -> Any:
    """A network with weights of a seed; shaken, since some layers start at zero and would hide what they do."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build()
        with torch.no_grad():
            for p in net.parameters():
                p.add_(shake * torch.randn_like(p))
    return net


def small(shake: float = 0.1, **more: Any) -> Inpainter:
    return seeded(lambda: Inpainter(**{"width": 8, "mapping": 8, "keys": 2, **more}), shake=shake)


def bits(x: Tensor) -> Tensor:
    return x.contiguous().view(torch.int32)


def some_masks(n: int, g: torch.Generator, *size: int, share: float = 0.5) -> Tensor:
    return (torch.rand(n, 1, *size, generator=g) < share).float()


# ---- convolutions with holes


def test_a_gated_convolution_is_its_formula(rng: torch.Generator) -> None:
    layer = seeded(lambda: inpainting.GatedConv(3, 5), shake=0.2)
    x = torch.randn(2, 3, 6, 7, generator=rng)
    feature = F.conv2d(x, layer.both.weight[:5], layer.both.bias[:5], padding=1)
    gate = F.conv2d(x, layer.both.weight[5:], layer.both.bias[5:], padding=1)
    assert torch.allclose(layer(x), feature / (1 + torch.exp(-gate - 1)), atol=1e-5)
    # no features, no output; a gate held shut lets nothing through
    with torch.no_grad():
        layer.both.weight[5:], layer.both.bias[5:] = 0.0, -50.0
    assert layer(x).abs().max() < 1e-6


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_partial_convolution_is_a_plain_loop(size: int, rng: torch.Generator) -> None:
    """Equations 1 and 2 of the paper, one window after the other; padding is not known."""
    x, mask = torch.randn(2, 2, 7, 6, generator=rng), some_masks(2, rng, 7, 6, share=0.8)
    weight, bias = torch.randn(3, 2, size, size, generator=rng), torch.randn(3, generator=rng)
    got, left = inpainting.partial_conv(x, mask, weight, bias)
    assert got.shape == (2, 3, 7, 6) and left.shape == (2, 1, 7, 6)
    reach, empty = size // 2, 0
    for b, row, column in product(range(2), range(7), range(6)):
        total, seen = [0.0] * 3, 0
        for i, j in product(range(-reach, reach + 1), repeat=2):
            y, z = row + i, column + j
            if not (0 <= y < 7 and 0 <= z < 6) or mask[b, 0, y, z] == 1:
                continue
            seen += 1
            for k in range(3):
                total[k] += float((weight[k, :, i + reach, j + reach] * x[b, :, y, z]).sum())
        want = [t * size * size / seen + float(bias[k]) if seen else 0.0 for k, t in enumerate(total)]
        assert got[b, :, row, column].tolist() == pytest.approx(want, abs=1e-4)
        assert left[b, 0, row, column] == (seen == 0)
        empty += seen == 0
    assert size == 5 or empty > 0, "a window without a known pixel occurs"


def test_without_a_hole_it_is_torchs_convolution_but_for_the_border(rng: torch.Generator) -> None:
    """At an edge 6 of 9 pixels are known, in a corner 4: the sum is raised by 9/6 and by 9/4, the bias is not."""
    x, weight = torch.randn(2, 3, 8, 9, generator=rng), torch.randn(4, 3, 3, 3, generator=rng)
    bias = torch.randn(4, generator=rng)
    got, left = inpainting.partial_conv(x, torch.zeros(2, 1, 8, 9), weight, bias)
    raised = torch.full((8, 9), 9 / 6)
    raised[1:-1, 1:-1] = 1
    raised[[0, 0, -1, -1], [0, -1, 0, -1]] = 9 / 4
    want = F.conv2d(x, weight, padding=1) * raised + bias.view(1, 4, 1, 1)
    assert torch.allclose(got, want, atol=1e-4) and left.sum() == 0
    assert torch.allclose(got[..., 1:-1, 1:-1], F.conv2d(x, weight, bias, padding=1)[..., 1:-1, 1:-1], atol=1e-4)


def test_partial_convolutions_walk_into_the_hole_a_ring_a_layer() -> None:
    layer = seeded(lambda: inpainting.PartialConv(1, 1), shake=0.5)
    h, mask = torch.ones(1, 1, 12, 12), torch.zeros(1, 1, 12, 12)
    mask[..., 2:10, 2:10] = 1
    for ring in (3, 4, 5):
        h, mask = layer(h, mask)
        want = torch.zeros(12, 12)
        want[ring : 12 - ring, ring : 12 - ring] = 1
        assert torch.equal(mask[0, 0], want)
        assert (h[mask == 1] == 0).all() and (h[mask == 0] != 0).all()
    with pytest.raises(ValueError, match="mask: expected shape"):
        layer(h, mask[..., :6])


@pytest.mark.parametrize("kind", inpainting.STEMS)
def test_a_stem_reads_the_picture_and_the_mask_and_nothing_under_it(kind: str, rng: torch.Generator) -> None:
    stem = seeded(lambda: Stem(8, kind), shake=0.1)
    x, mask = torch.randn(2, 3, 16, 24, generator=rng), some_masks(2, rng, 16, 24)
    seen = stem(x, mask)
    assert seen.shape == (2, 8, 8, 12)
    assert torch.equal(bits(seen), bits(stem(masks.hide(x, mask, value=math.nan), mask)))
    assert not torch.allclose(seen, stem(x + 0.1, mask)) and not torch.allclose(
        seen, stem(masks.hide(x, mask), 0 * mask)
    )


def test_the_kinds_of_stems_differ_by_what_they_say() -> None:
    reads = {kind: seeded(lambda kind=kind: Stem(8, kind, depth=2)) for kind in inpainting.STEMS}
    assert isinstance(reads["gated"].read, inpainting.GatedConv) and isinstance(reads["plain"].read, nn.Conv2d)
    assert [len(list(stem.modules())) for stem in reads.values()] == [2, 3, 5]
    assert len(reads["partial"].walk) == 2 and reads["partial"].read.weight.shape[1] == 4 * (4 + 2)
    with pytest.raises(ValueError, match="stem: expected one of plain, gated, partial"):
        Stem(8, "parted")


def test_the_partial_stem_reads_the_picture_and_its_walk(rng: torch.Generator) -> None:
    """Written out: leaky partial convolutions, each with the mask the one before left, then one convolution."""
    stem = seeded(lambda: Stem(8, "partial"), shake=0.1)
    x, mask = torch.randn(1, 3, 16, 16, generator=rng), torch.zeros(1, 1, 16, 16)
    mask[..., 2:14, 2:14] = 1
    h, left = masks.hide(x, mask), mask
    for layer in stem.walk:
        h, left = inpainting.partial_conv(h, left, layer.weight, layer.bias)
        h = torch.where(h > 0, h, 0.2 * h)
    assert 0 < left.sum() < mask.sum()
    both = torch.cat([inpainting.build_input(x, mask), h], dim=1)
    assert torch.allclose(stem(x, mask), stem.read(F.pixel_unshuffle(both, 2)), atol=1e-6)


# ---- what the network may see, and the parts of a fill


def test_the_input_is_the_picture_with_an_empty_hole_and_the_mask(rng: torch.Generator) -> None:
    x, mask = torch.randn(2, 3, 8, 8, generator=rng), some_masks(2, rng, 8, 8)
    got = inpainting.build_input(x, mask)
    assert torch.equal(got[:, 3:], mask) and torch.equal(got[:, :3], x * (1 - mask))
    assert torch.equal(bits(got), bits(inpainting.build_input(masks.hide(x, mask, value=math.inf), mask)))
    with pytest.raises(ValueError, match="pictures: expected"):
        inpainting.build_input(x[:, :1], mask)
    with pytest.raises(ValueError, match="mask"):
        inpainting.build_input(x, mask * 0.5)


def by_hand(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Pull and push of one channel (H, W), pixel by pixel."""
    height, width = x.shape
    if height % 2 or width % 2 or min(height, width) == 1:
        mean = x[known].mean() if known.any() else 0.0
        return np.where(known, x, mean)
    coarse, there = np.zeros((height // 2, width // 2)), np.zeros((height // 2, width // 2), bool)
    for i, j in product(range(height // 2), range(width // 2)):
        block = known[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        if block.any():
            coarse[i, j], there[i, j] = x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2][block].mean(), True
    coarse, out = by_hand(coarse, there), x.copy()
    for i, j in product(range(height), range(width)):
        if not known[i, j]:
            total = 0.0
            for a, one in ((i // 2, 0.75), (i // 2 + 2 * (i % 2) - 1, 0.25)):
                for b, two in ((j // 2, 0.75), (j // 2 + 2 * (j % 2) - 1, 0.25)):
                    total += one * two * coarse[np.clip(a, 0, height // 2 - 1), np.clip(b, 0, width // 2 - 1)]
            out[i, j] = total
    return out


@pytest.mark.parametrize("size", [(8, 8), (12, 20), (16, 2), (5, 6)])
def test_pull_push_is_a_plain_loop(size: tuple[int, int], rng: torch.Generator) -> None:
    x, mask = torch.randn(2, 2, *size, generator=rng), some_masks(2, rng, *size, share=0.8)
    got = inpainting.pull_push(x, mask)
    for b, c in product(range(2), repeat=2):
        want = by_hand(x[b, c].double().numpy(), mask[b, 0].numpy() == 0)
        assert np.abs(got[b, c].numpy() - want).max() < 1e-5


def test_pull_push_on_known_pictures(rng: torch.Generator) -> None:
    mask = 1 - masks.borders(1, keep=12)
    flat = torch.full((1, 3, 32, 32), 0.6)
    assert torch.allclose(inpainting.pull_push(masks.hide(flat, mask, value=math.nan), mask), flat, atol=1e-6)
    slope = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32).contiguous()
    got = inpainting.pull_push(slope, mask)
    assert torch.allclose(got, -got.flip(3), atol=1e-6) and torch.allclose(got, got.flip(2), atol=1e-6)
    assert (got[..., 1:] - got[..., :-1] >= -1e-6).all() and (got - slope).abs().max() < 0.25
    noise = torch.randn(2, 3, 40, 24, generator=rng)
    holes = some_masks(2, rng, 40, 24, share=0.9)
    filled, known = inpainting.pull_push(noise, holes), holes.expand_as(noise) == 0
    assert torch.equal(filled[known], noise[known])
    assert filled.amax((2, 3)).le(noise.masked_fill(~known, -9).amax((2, 3)) + 1e-5).all(), "averages lie between"
    assert torch.equal(inpainting.pull_push(noise, torch.ones_like(holes)), torch.zeros_like(noise))


def test_copying_takes_the_colours_of_the_block_that_answers(rng: torch.Generator) -> None:
    """One-hot questions and offers: pixel p asks for block perm(p), and gets its known pixels' mean."""
    x, mask = torch.randn(1, 3, 6, 8, generator=rng), some_masks(1, rng, 6, 8, share=0.4)
    mask[..., :2, :2] = 1  # a block of which nothing is known
    wanted = 1 + torch.randint(11, (48,), generator=rng)
    offer = torch.eye(12).view(1, 12, 3, 4)
    ask = 500 * torch.eye(12)[wanted].T.reshape(1, 12, 6, 8)
    got = inpainting.copy_known(ask, offer, masks.hide(x, mask, value=math.nan), mask)
    for p, block in enumerate(wanted.tolist()):
        i, j = 2 * (block // 4), 2 * (block % 4)
        here = mask[0, 0, i : i + 2, j : j + 2] == 0
        if here.any():
            want = x[0, :, i : i + 2, j : j + 2][:, here].mean(1)
            assert torch.allclose(got[0, :, p // 8, p % 8], want, atol=1e-5)
    assert len(set(wanted.tolist())) > 8


def test_copying_is_attention_over_known_blocks_alone(rng: torch.Generator) -> None:
    x, mask = torch.randn(2, 3, 8, 8, generator=rng), torch.zeros(2, 1, 8, 8)
    mask[:, :, :4] = 1
    mask[1] = 1  # of the second picture nothing is known
    ask, offer = torch.randn(2, 5, 8, 8, generator=rng), torch.randn(2, 5, 4, 4, generator=rng)
    got = inpainting.copy_known(ask, offer, x, mask)
    colours = F.avg_pool2d(x[:1], 2).flatten(2)[0, :, 8:]  # (3, the 8 known blocks)
    for i, j in product(range(8), repeat=2):
        answers = torch.stack([ask[0, :, i, j] @ offer[0].flatten(1)[:, k] for k in range(8, 16)]) / 5**0.5
        share = answers.exp() / answers.exp().sum()
        assert torch.allclose(got[0, :, i, j], colours @ share, atol=1e-5)
    assert torch.equal(got[1], torch.zeros(3, 8, 8))


# ---- the network


@pytest.mark.parametrize("size", [(32, 32), (40, 64)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("stem", inpainting.STEMS)
def test_known_pixels_keep_their_bits_and_hidden_ones_never_matter(
    stem: str, training: bool, size: tuple[int, int], rng: torch.Generator
) -> None:
    G = small(stem=stem).train(training)
    x, z = 3 * torch.randn(2, 3, *size, generator=rng), torch.randn(2, 8, generator=rng)
    mask = some_masks(2, rng, *size)
    x[:, :, :3, :3] = -0.0
    hole = mask.expand_as(x) > 0
    with torch.no_grad():
        out = G(z, x, mask)
        assert out.shape == x.shape and out.isfinite().all()
        assert torch.equal(bits(out)[~hole], bits(x)[~hole]) and not torch.equal(out[hole], x[hole])
        for under in (math.nan, math.inf, -0.0, 1e30, torch.randn(x.shape, generator=rng)):
            other = torch.where(hole, torch.as_tensor(under), x)
            assert torch.equal(bits(G(z, other, mask)), bits(out))
        assert not torch.equal(G(z, torch.where(hole, x, -x), mask)[hole], out[hole]), "known pixels do matter"


def test_a_fill_is_clipped_in_use_and_free_in_training(rng: torch.Generator) -> None:
    G = small(shake=0.4)
    x, mask, z = torch.rand(2, 3, 32, 32, generator=rng), some_masks(2, rng, 32, 32), torch.randn(2, 8, generator=rng)
    free, clipped = G(z, x, mask), G.eval()(z, x, mask)
    assert free.abs().max() > 1.05
    assert torch.equal(clipped, torch.where(mask > 0, free.clamp(-1, 1), x))


def test_a_new_networks_fill_is_near_the_averages(rng: torch.Generator) -> None:
    """Mixed of pull_push and copied colours, plus little paint: never far out of the known pixels' range."""
    G = seeded(lambda: Inpainter(width=16))
    x, mask = torch.full((2, 3, 32, 32), 0.5), masks.boxes(2, rng)
    assert (G(torch.randn(2, 8, generator=rng), x, mask) - 0.5).abs().mean() < 0.3
    # without paint, what is left is the mixture itself
    with torch.no_grad():
        for p in G.head.parameters():
            p.zero_()
    noise = torch.randn(2, 3, 32, 32, generator=rng)
    seen: list[Tensor] = []
    G.ask.register_forward_hook(lambda *args: seen.append(args[2]))
    G.offer.register_forward_hook(lambda *args: seen.append(args[2]))
    out = G(torch.randn(2, 8, generator=rng), noise, mask)
    averages, copied = inpainting.pull_push(noise, mask), inpainting.copy_known(*seen, noise, mask)
    assert torch.allclose(out, torch.where(mask > 0, 0.5 * (averages + copied), noise), atol=1e-5)
    for bias, alone in ((-40.0, averages), (40.0, copied)):  # the fourth number of the head says how far to copy
        with torch.no_grad():
            G.head[0].bias[12:] = bias
        out = G(torch.randn(2, 8, generator=rng), noise, mask)
        assert torch.allclose(out, torch.where(mask > 0, alone, noise), atol=1e-4)
    with torch.no_grad():
        G.head[0].bias[:] = torch.tensor([0.3, 0.0, -0.2, -40.0]).repeat_interleave(4)
    painted = averages + torch.tensor([0.3, 0.0, -0.2]).view(1, 3, 1, 1)
    assert torch.allclose(G(torch.zeros(2, 8), noise, mask), torch.where(mask > 0, painted, noise), atol=1e-5)


def test_noise_and_text_are_heard_in_the_hole(rng: torch.Generator) -> None:
    G = small(cond=64)
    x, mask, z = torch.rand(2, 3, 32, 32, generator=rng), masks.boxes(2, rng), torch.randn(2, 8, generator=rng)
    text = F.normalize(torch.randn(2, 64, generator=rng), dim=1)
    out = G(z, x, mask, text)
    for other in (G(-z, x, mask, text), G(z, x, mask, -text), G(z, x, mask)):
        assert (other - out)[mask.expand_as(x) > 0].abs().max() > 1e-4


def test_no_text_is_a_row_of_zeros_whatever_the_whitening(rng: torch.Generator) -> None:
    G = small(cond=64)
    G.whiten.fit(torch.randn(200, 64, generator=rng) + 2)
    x, mask, z = torch.rand(3, 3, 32, 32, generator=rng), masks.boxes(3, rng), torch.randn(3, 8, generator=rng)
    silent = G(z, x, mask)
    assert torch.equal(silent, G(z, x, mask, torch.zeros(3, 64)))
    mixed = torch.randn(3, 64, generator=rng)
    mixed[1], mixed[2, 3:] = 0, 0  # the third has noughts in it, and says something still
    got = G(z, x, mask, mixed)
    assert torch.allclose(got[1], silent[1], atol=1e-5) and not torch.allclose(got[0], silent[0], atol=1e-5)
    style = F.leaky_relu(G.map(torch.cat([z, torch.zeros(3, 65)], dim=1)), 0.2)
    assert torch.allclose(G.style(z, None), style)
    told = torch.cat([z, G.whiten(mixed), torch.ones(3, 1)], dim=1)[[0, 2]]
    assert torch.allclose(G.style(z, mixed)[[0, 2]], F.leaky_relu(G.map(told), 0.2), atol=1e-5)


def test_the_network_refuses(rng: torch.Generator) -> None:
    G, deaf = small(cond=64), small()
    x, mask, z = torch.zeros(2, 3, 32, 32), torch.zeros(2, 1, 32, 32), torch.zeros(2, 8)
    for net in (G, deaf):
        with pytest.raises(ValueError, match="z: expected"):
            net(z[:, :5], x, mask)
        for odd in ((36, 32), (32, 36)):
            with pytest.raises(ValueError, match="multiples of 8, got"):
                net(z, torch.zeros(2, 3, *odd), torch.zeros(2, 1, *odd))
        with pytest.raises(ValueError, match="mask"):
            net(z, x, mask + 0.5)
    with pytest.raises(ValueError, match="made without"):
        deaf(z, x, mask, torch.zeros(2, 64))
    for text in (torch.zeros(2, 60), torch.zeros(1, 64)):
        with pytest.raises(ValueError, match="text: expected shape"):
            G(z, x, mask, text)


def test_networks_come_back_from_their_checkpoints(tmp_path, rng: torch.Generator) -> None:
    x, mask, z = torch.rand(1, 3, 32, 32, generator=rng), masks.boxes(1, rng), torch.randn(1, 8, generator=rng)
    size = dict(width=8, mapping=8, keys=2)
    pair = seeded(lambda: inpainting.Repairers(**size, stem="gated"), shake=0.1).eval()
    back = checkpoint.load(inpainting.Repairers, checkpoint.save(pair, tmp_path / "pair", card={}))
    assert torch.equal(back(z, x, mask), pair.game(z, x, mask)) and back.hparams["stem"] == "gated"
    assert torch.equal(back.alone(z, x, mask), pair.alone(z, x, mask))
    assert not torch.equal(pair.alone(z, x, mask), pair.game(z, x, mask))
    D = seeded(lambda: Discriminator(cond=64, width=8, features=16))
    text = torch.randn(1, 64, generator=rng)
    same = checkpoint.load(Discriminator, checkpoint.save(D, tmp_path / "D", card={}))
    assert torch.equal(same(x, mask, text), D(x, mask, text))


# ---- the discriminator


def test_d_sees_picture_mask_and_text(rng: torch.Generator) -> None:
    D = seeded(lambda: Discriminator(cond=64, width=8, features=16))
    x, mask, text = torch.randn(2, 3, 32, 32, generator=rng), masks.boxes(2, rng), torch.randn(2, 64, generator=rng)
    there = D(x, mask, text)
    assert there.shape == (2, 1)
    for other in (D(x.flip(0), mask, text), D(x, mask.flip(0), text), D(x, mask, text.flip(0))):
        assert not torch.allclose(there, other)
    features = D.look(x, mask)
    want = D.alone(features) + (D.project(features) * text).sum(1, keepdim=True)
    assert torch.allclose(there, want) and torch.equal(there, D.score(features, text))
    assert torch.equal(D(x, mask), D.alone(features)) and torch.equal(D(x, mask, 0 * text), D(x, mask))
    deaf = seeded(lambda: Discriminator(width=8, features=16))
    assert deaf.project is None and torch.equal(deaf(x, mask, text), deaf(x, mask))


def test_d_starts_with_a_towers_eyes(rng: torch.Generator) -> None:
    """Then the fit is the tower's, to a scale; the mask is not seen, and spreads are 1."""
    tower = checkpoint.load(Space, "space").image
    D = seeded(lambda: Discriminator(cond=64))
    x = world.draw(world.sample_scenes(40, rng))
    text = F.normalize(torch.randn(40, 64, generator=rng), dim=1)
    before = copy.deepcopy(tower.state_dict())
    D.start_from(tower, x, text)
    mask = torch.cat([masks.boxes(20, rng), masks.borders(20)])
    got = D(x, mask, text)
    assert torch.equal(got, D(x, 0 * mask, text)) and got.std().item() == pytest.approx(1, abs=1e-4)
    assert torch.allclose(D(x, mask), D.alone.bias.expand(40, 1)), "what ignores the text starts at its bias"
    plain = (tower.out(tower.trunk(x)) * text).sum(1, keepdim=True)
    assert torch.allclose(got, plain / plain.std(), atol=1e-3)
    assert all(torch.equal(v, before[k]) for k, v in tower.state_dict().items()), "the tower itself is not touched"
    with pytest.raises(ValueError, match="reads no text"):
        Discriminator().start_from(tower, x, text)
    for other in (dict(width=16), dict(features=64)):
        with pytest.raises(ValueError, match="not of this discriminator's size"):
            Discriminator(cond=64, **other).start_from(tower, x, text)


# ---- the losses


def test_the_holes_l1_is_torchs_on_the_holes_pixels(rng: torch.Generator) -> None:
    fake, real = torch.randn(3, 3, 8, 8, generator=rng), torch.randn(3, 3, 8, 8, generator=rng)
    mask = some_masks(3, rng, 8, 8, share=0.3)
    hole = mask.expand_as(fake) > 0
    assert inpainting.hole_l1(fake, real, mask).item() == pytest.approx(F.l1_loss(fake[hole], real[hole]).item())
    weight = inpainting.edge_weights(mask, 0.7).expand_as(fake)[hole].double()
    want = np.average((fake - real).abs()[hole].double().numpy(), weights=weight.numpy())
    assert inpainting.hole_l1(fake, real, mask, discount=0.7).item() == pytest.approx(want, rel=1e-5)
    for discount in (1.0, 0.5):
        assert inpainting.hole_l1(fake, real, 0 * mask, discount=discount) == 0
    fake.requires_grad_(True)
    (slope,) = torch.autograd.grad(inpainting.hole_l1(fake, real, mask), fake)
    assert (slope[~hole] == 0).all() and torch.allclose(slope[hole].abs(), 1 / hole.sum())


@pytest.mark.parametrize("discount", [0.9, 0.5])
@pytest.mark.parametrize("kind", ["mixed", "thing", "wide", "far"])
def test_edge_weights_are_powers_of_the_distance(kind: str, discount: float, rng: torch.Generator) -> None:
    mask = {
        "mixed": lambda: masks.mixed(80, rng),
        "thing": lambda: inpainting.hide_thing(world.sample_scenes(80, rng), rng)[0],
        "wide": lambda: some_masks(3, rng, 16, 40, share=0.97),
        "far": lambda: (torch.arange(32) >= 6).float().expand(1, 1, 32, 32),
    }[kind]()
    got = inpainting.edge_weights(mask, discount)
    for m, w in zip(mask[:, 0], got[:, 0], strict=True):
        distance = distance_transform_cdt(m.numpy(), metric="chessboard")
        assert w.numpy() == pytest.approx(discount ** distance.astype(float), rel=1e-4)


def test_edge_weights_and_their_discount() -> None:
    mask = 1 - masks.borders(1, size=9, keep=5)
    row = inpainting.edge_weights(mask, 0.5)[0, 0, 4]
    assert row.tolist() == [1, 1, 0.5, 0.25, 0.125, 0.25, 0.5, 1, 1]
    assert torch.equal(inpainting.edge_weights(mask, 1.0), torch.ones_like(mask))
    for discount in (0.0, -0.5, 1.01, math.nan):
        with pytest.raises(ValueError, match="discount: expected more than 0 and at most 1"):
            inpainting.edge_weights(mask, discount)


def test_texts_are_dropped_by_whole_rows(rng: torch.Generator) -> None:
    text = torch.randn(4000, 7, generator=rng)
    kept = inpainting.drop_text(text, 0.3, rng)
    silent = (kept == 0).all(1)
    assert torch.equal(kept[~silent], text[~silent]) and abs(silent.float().mean() - 0.3) < 0.03
    assert torch.equal(inpainting.drop_text(text, 0.0, rng), text) and not inpainting.drop_text(text, 1.0, rng).any()
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="share: expected 0 to 1"):
            inpainting.drop_text(text, share, rng)


@pytest.mark.parametrize("name", sorted(GAMES))
def test_ds_loss_is_its_terms_written_out(name: str, rng: torch.Generator) -> None:
    """Real above fake; above this hole in a stranger's picture; above a false text. The last two by ``mismatch``."""
    D = seeded(lambda: Discriminator(cond=64, width=8, features=16))
    real, fake = torch.randn(4, 3, 32, 32, generator=rng), torch.randn(4, 3, 32, 32, generator=rng)
    mask, d = masks.mixed(4, rng), GAMES[name].d
    text, wrong = torch.randn(4, 64, generator=rng), torch.randn(4, 64, generator=rng)
    odd = torch.stack([torch.where(mask[i] > 0, real[i], real[i - 1]) for i in range(4)])
    right = D(real, mask, text)
    game, strange, false = d(right, D(fake, mask, text)), d(right, D(odd, mask, text)), d(right, D(real, mask, wrong))
    for weight in (0.0, 0.4, 1.0):
        config = TrainConfig(game=name, mismatch=weight)
        got = inpainting.guided_d(D, Damaged(real, mask, text, wrong), fake, config)
        assert got.item() == pytest.approx((game + weight * (strange + false)).item(), rel=1e-4, abs=1e-5)
        silent = inpainting.guided_d(D, Damaged(real, mask, text), fake, config)
        assert silent.item() == pytest.approx((game + weight * strange).item(), rel=1e-4, abs=1e-5)
    assert strange != false != game
    fake.requires_grad_(True)
    loss = inpainting.guided_d(D, Damaged(real, mask, text, wrong), fake, TrainConfig(game=name))
    assert torch.autograd.grad(loss, fake, allow_unused=True) == (None,), "D's loss never moves G"


# ---- captions of holes


def stated_ones(n: int, g: torch.Generator, *, share: float = 0.3) -> Tensor:
    """Statements (n, 8) about one thing of the training scenes, some facts left open."""
    scenes = world.sample_labels(n, g)
    which = (torch.rand(n, generator=g) < 0.5).long() * (scenes[:, 0] == 2)
    return inpainting.leave_open(inpainting.thing(scenes, which), share, g)


class Recorder:
    """An encoder that writes captions down: a caption's vector holds its number, from 1 on."""

    def __init__(self) -> None:
        self.captions: list[str] = [""]

    def __call__(self, captions: Sequence[str]) -> Tensor:
        out = torch.zeros(len(captions), 64)
        out[:, 0] = torch.arange(len(captions)) + float(len(self.captions))
        out[:, 1] = 1
        self.captions += list(captions)
        return out

    def told(self, vectors: Tensor) -> Tensor:
        """The statements (B, 8) behind vectors, by the world's own parser; rows of ``OPEN`` for no text."""
        said = [self.captions[int(i)] for i in vectors[:, 0]]
        return torch.stack([world.statements([s])[0] if s else torch.full((8,), LAST) for s in said])


def test_of_a_scene_one_thing(rng: torch.Generator) -> None:
    labels = world.sample_labels(50, rng, objects=(2,))
    which = torch.arange(50) % 2
    for row, first, got in zip(labels.tolist(), which.tolist(), inpainting.thing(labels, which).tolist(), strict=True):
        facts = row[4:7] if first else row[1:4]
        assert got == [1, *facts, LAST, LAST, LAST, LAST]
    with pytest.raises(ValueError, match="labels: expected"):
        inpainting.thing(labels[:, :7], which)


def test_facts_are_left_open_each_for_itself_and_never_all(rng: torch.Generator) -> None:
    whole = inpainting.thing(world.sample_labels(6000, rng), torch.zeros(6000, dtype=torch.long))
    was = whole.clone()
    for share in (0.15, 0.5):
        got = inpainting.leave_open(whole, share, rng)
        open_ = got[:, 1:4] == LAST
        assert torch.equal(got[:, [0, 4, 5, 6, 7]], whole[:, [0, 4, 5, 6, 7]]) and not open_.all(1).any()
        assert torch.equal(got[:, 1:4][~open_], whole[:, 1:4][~open_])
        # where all three fall away, none does: share - share**3
        assert open_.float().mean(0).numpy() == pytest.approx(share - share**3, abs=0.025)
    assert torch.equal(inpainting.leave_open(whole, 0.0, rng), whole) and torch.equal(was, whole)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_one_stated_fact_is_changed_and_never_to_a_held_out_pair(share: float, rng: torch.Generator) -> None:
    stated = stated_ones(6000, rng, share=share)
    was = stated.clone()
    got = inpainting.change_one(stated, rng)
    differs = got != stated
    assert torch.equal(was, stated) and (differs.sum(1) == 1).all() and not world.holds_out(got).any()
    assert not (differs & (stated == LAST)).any(), "what is left open stays open"
    for column in (1, 2, 3):
        new = got[differs[:, column], column]
        classes = world.CLASSES[column]
        assert set(new.tolist()) == set(range(classes)), "to every other value"
        assert torch.bincount(new, minlength=classes).min() > 0.5 * len(new) / classes
    changed = differs[(stated[:, 1:4] != LAST).all(1)][:, 1:4].float().mean(0)
    assert changed.min() > 0.29 and changed.max() < 0.38


def test_a_held_out_statement_is_changed_to_a_seen_one(rng: torch.Generator) -> None:
    labels = world.sample_labels(3000, rng, objects=(1,), split="held_out")
    stated = inpainting.thing(labels, torch.zeros(3000, dtype=torch.long))
    assert world.holds_out(stated).all()
    got = inpainting.change_one(stated, rng)
    same = (got == stated).all(1)
    assert not world.holds_out(got[~same]).any() and ((got != stated).sum(1) <= 1).all()
    assert same.float().mean() < 0.01, "in rare cases no change serves"
    assert torch.equal(got[~same, 3], stated[~same, 3]), "another size would leave the pair as it is"


def test_captions_of_holes_state_what_is_asked_and_no_more(rng: torch.Generator) -> None:
    encode = Recorder()
    holes = HoleCaptions(encode, seed=1, wordings=5)
    stated = stated_ones(3000, rng)
    assert torch.equal(encode.told(holes.pick(stated, rng)), stated)
    everything = world.statements(encode.captions[1:])
    assert not world.holds_out(everything).any() and (everything[:, 1:4] != LAST).any(1).all()
    assert (everything[:, 0] == 1).all() and (everything[:, 4:] == LAST).all()
    combinations = {tuple(row) for row in everything.tolist()}
    # all combinations but nothing, and the six pairs with each of the sizes, open included
    assert len(combinations) == 7 * 9 * 3 - 1 - 6 * 3 and len(everything) == 5 * len(combinations)
    one = stated[:1].expand(400, -1)
    assert len(set(holes.pick(one, rng)[:, 0].tolist())) == 5, "in every wording"
    assert any(ord(c) > 0x4E00 for c in "".join(encode.captions)), "in Chinese too"
    english = Recorder()
    HoleCaptions(english, wordings=1, languages=("en",))
    assert all(c.isascii() for c in english.captions)


def test_captions_of_holes_are_silent_on_held_out_pairs_and_on_nothing(rng: torch.Generator) -> None:
    holes = HoleCaptions(Recorder(), wordings=2)
    labels = world.sample_labels(50, rng, objects=(1,), split="held_out")
    assert not holes.pick(inpainting.thing(labels, torch.zeros(50, dtype=torch.long)), rng).any()
    assert not holes.pick(torch.tensor([[1, *[LAST] * 7]]), rng).any()


def test_captions_of_holes_are_the_same_for_a_seed() -> None:
    said = []
    for seed in (3, 3, 4):
        encode = Recorder()
        HoleCaptions(encode, seed=seed, wordings=2)
        said.append(encode.captions)
    assert said[0] == said[1] != said[2]


# ---- damaged pictures


def noted(monkeypatch: pytest.MonkeyPatch) -> list[world.Scenes]:
    """The scenes that are placed from now on."""
    scenes, usual = [], world.place
    monkeypatch.setattr(world, "place", lambda *args: scenes.append(usual(*args)) or scenes[-1])
    return scenes


def guided(silent: float = 0.25, whole: float = 0.7, leave_out: float = 0.3) -> tuple[Recorder, GuidedDamage]:
    encode = Recorder()
    config = TrainConfig(steps=4, batch=200, z=8)
    return encode, GuidedDamage(
        encode, Recipe(guided=True, captions=600, silent=silent, whole=whole, leave_out=leave_out, config=config)
    )


def test_guided_batches_say_what_is_true_and_what_is_false(
    monkeypatch: pytest.MonkeyPatch, rng: torch.Generator
) -> None:
    encode, sample = guided()
    scenes = noted(monkeypatch)
    counts = dict(silent=0, thing=0, whole=0, hidden=0)
    for step in range(6):
        batch = sample(rng, step)
        labels = scenes[-1].labels
        assert torch.equal(batch.real, world.draw(scenes[-1])) and not world.holds_out(labels).any()
        assert masks.expect_mask(batch.mask, batch.real) is batch.mask
        text, wrong = encode.told(batch.text), encode.told(batch.wrong)
        assert world.satisfied(labels, encode.told(batch.whole)).all(), "the picture's own caption, always there"
        silent = ~batch.text.any(1)
        assert torch.equal(silent, ~batch.wrong.any(1)), "no text has no false text"
        of_picture = (batch.text == batch.whole).all(1) & ~silent
        of_thing = ~of_picture & ~silent
        assert world.satisfied(labels[of_picture], text[of_picture]).all()
        assert not world.satisfied(labels[of_picture], wrong[of_picture]).any()
        # about the hidden thing: text is true of A or of B, the false one differs by exactly one fact
        t, w = text[of_thing], wrong[of_thing]
        assert (t[:, 0] == 1).all() and (t[:, 4:] == LAST).all() and ((t != w).sum(1) == 1).all()
        fits = []
        for k in (0, 1):
            facts = labels[of_thing][:, 1 + 3 * k : 4 + 3 * k]
            there = labels[of_thing][:, 0] > k
            fits.append(there & ((facts == t[:, 1:4]) | (t[:, 1:4] == LAST)).all(1))
        assert (fits[0] | fits[1]).all()
        for name, rows in (("silent", silent), ("thing", of_thing), ("whole", of_picture)):
            counts[name] += int(rows.sum())
        size = batch.mask.sum((1, 2, 3))
        assert (size[of_thing] <= 21 * 21).all(), "a caption of the thing alone comes with a hole about the thing"
        for i in of_thing.nonzero()[:, 0].tolist():
            near = [scenes[-1].centre[i, k] for k in (0, 1) if fits[k][of_thing[: i + 1].sum() - 1]]
            holes = [masks.around(c[None])[0] for c in near]
            assert any((h - batch.mask[i]).abs().sum() <= 2 * 2 * 19 for h in holes), "the hole is about that thing"
    n = sum(counts[k] for k in ("silent", "thing", "whole"))
    assert n == 1200 and abs(counts["silent"] / n - 0.25) < 0.05
    assert abs(counts["thing"] / n - 0.75 * 0.7 / 2) < 0.05


def test_guided_batches_at_the_ends(rng: torch.Generator) -> None:
    loud = guided(silent=0.0)[1](rng, 0)
    assert loud.text.any(1).all() and loud.wrong.any(1).all() and not torch.equal(loud.text, loud.wrong)
    silent = guided(silent=1.0)[1](rng, 0)
    assert not silent.text.any() and not silent.wrong.any() and silent.whole.any(1).all()
    never = guided(silent=0.0, whole=0.0)[1](rng, 0)
    assert torch.equal(never.text, never.whole), "where no thing is hidden whole, the picture is told"
    sample = guided()[1]
    one, again, other = (sample(torch.Generator().manual_seed(k), 0) for k in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True)) and not torch.equal(one.real, other.real)


def test_damaged_scenes_hide_a_thing_as_often_as_the_recipe_says(
    monkeypatch: pytest.MonkeyPatch, rng: torch.Generator
) -> None:
    scenes = noted(monkeypatch)
    config = TrainConfig(steps=2, batch=400)
    for whole in (0.0, 0.4, 1.0):
        batch = inpainting.world_damage(Recipe(whole=whole, kinds=("half",), config=config))(rng, 0)
        assert torch.equal(batch.real, world.draw(scenes[-1])) and batch.text is batch.wrong is batch.whole is None
        half = batch.mask.sum((1, 2, 3)) == 512
        assert half.float().mean().item() == pytest.approx(1 - whole, abs=0.08)
        assert (batch.mask[~half].sum((1, 2, 3)) <= 21 * 21).all()


def test_damaged_photographs_are_tiles_of_their_part(rng: torch.Generator) -> None:
    recipe = Recipe("photographs", config=TrainConfig(steps=2, batch=6), kinds=("half", "border"))
    for split in pictures.SPLITS:
        sample = inpainting.photograph_damage(recipe, split=split)
        for step, shrink in enumerate((2, 4, 2)):
            was = torch.Generator().manual_seed(9)
            batch = sample(torch.Generator().manual_seed(9), step)
            here = torch.Generator().manual_seed(int(torch.randint(2**31, (1,), generator=was)))
            assert torch.equal(batch.real, pictures.tiles(6, here, split=split, shrink=shrink))
            assert batch.mask.shape == (6, 1, 32, 32) and batch.text is None
            assert torch.equal(batch.mask, masks.mixed(6, was, kinds=("half", "border")))


# ---- preparing


TINY = Recipe(
    width=8,
    mapping=8,
    alone=TrainConfig(steps=3, batch=4, z=8, gamma=0.0),
    config=TrainConfig(steps=6, batch=4, z=8, gamma=0.1, calm=0.5, reg_every=2, lr=2e-3),
)


def start(config: TrainConfig = TINY.config, *, cond: int = 0, seed: int = 0) -> tuple[Inpainter, Discriminator]:
    G = seeded(lambda: Inpainter(width=8, mapping=8, keys=2, cond=cond), seed)
    return G, seeded(lambda: Discriminator(width=8, features=16, cond=cond), seed + 1)


def test_prepare_is_the_same_for_a_seed_and_leaves_global_randomness_alone() -> None:
    before = torch.get_rng_state()
    one, two, other = (inpainting.prepare(TINY, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    for k in (0, 1):
        a, b, c = (torch.cat([p.flatten() for p in made[k].parameters()]) for made in (one, two, other))
        assert torch.equal(a, b) and not torch.equal(a, c)
    assert one[4] == replace(TINY.config, seed=3) and one[0].hparams["cond"] == one[1].hparams["cond"] == 0
    assert one[0].hparams["z"] == 8 and one[0].hparams["width"] == 8 and one[0].hparams["stem"] == "plain"
    drawn = [made[2](torch.Generator().manual_seed(0), 0) for made in (one, two)]
    assert torch.equal(drawn[0].real, drawn[1].real) and len(drawn[0].real) == 4
    photographs = inpainting.prepare(replace(TINY, source="photographs", stem="partial"))
    assert photographs[2](torch.Generator().manual_seed(0), 0).real.shape == (4, 3, 32, 32)
    assert photographs[0].hparams["stem"] == "partial"


def test_prepare_refuses() -> None:
    with pytest.raises(ValueError, match="source: expected one of world, photographs"):
        inpainting.prepare(replace(TINY, source="worlds"))
    space = checkpoint.load(Space, "space")
    for missing in (dict(), dict(space=space), dict(encode=Recorder())):
        with pytest.raises(ValueError, match="give the trained space and encode"):
            inpainting.prepare(replace(TINY, guided=True), **missing)


def test_a_guided_run_is_prepared_with_whitened_texts_and_trained_eyes() -> None:
    from mmcourse.data import vocabulary
    from mmcourse.text2image import encoder

    space = checkpoint.load(Space, "space")
    recipe = replace(TINY, guided=True, captions=300, help=1.5, loud=2.0)
    before, was = torch.get_rng_state(), copy.deepcopy(space.state_dict())
    G, D, sample, extra, _ = inpainting.prepare(recipe, space=space, encode=encoder(space, vocabulary()))
    assert torch.equal(before, torch.get_rng_state()) and G.hparams["cond"] == D.hparams["cond"] == 64
    assert all(torch.equal(v, was[k]) for k, v in space.state_dict().items())
    loud = G.whiten(sample.holes.table.flatten(0, 1)[sample.holes.table.flatten(0, 1).any(1)])
    assert loud.std() > 3 * sample.holes.table.std() and abs(loud.mean()) < 0.3
    x = torch.zeros(2, 3, 32, 32)
    assert torch.equal(D.look(x, torch.zeros(2, 1, 32, 32)), space.image.trunk(x))
    batch = sample(torch.Generator().manual_seed(0), 0)
    helped = extra(batch.real, batch, 0.0)
    fit = (space.image(batch.real) * batch.whole).sum(1).mean()
    assert helped.item() == pytest.approx(-1.5 * fit.item(), abs=1e-5), "real pictures have no L1, and fit their text"
    plain = inpainting.prepare(replace(recipe, help=0.0), space=space, encode=encoder(space, vocabulary()))[3]
    assert plain(batch.real, batch, 0.0) == 0


def test_the_likeness_falls_as_the_recipe_says(rng: torch.Generator) -> None:
    class Tower(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)).repeat(1, 22)[:, :64]

    real, fake = torch.rand(3, 3, 32, 32, generator=rng), torch.rand(3, 3, 32, 32, generator=rng)
    whole = torch.rand(3, 64, generator=rng)
    batch = Damaged(real, masks.boxes(3, rng), whole=whole)
    recipe = Recipe(l1=10, discount=0.8, help=3.0, help_until=0.5)
    l1 = inpainting.hole_l1(fake, real, batch.mask, discount=0.8).item()
    fit = (Tower()(fake) * whole).sum(1).mean().item()
    for progress, near in ((0, 3), (0.25, 1.5), (0.5, 0), (1, 0)):
        got = inpainting.terms(recipe, Tower())(fake, batch, progress)
        assert got.item() == pytest.approx(10 * l1 - near * fit, rel=1e-4)
        for other in (
            inpainting.terms(recipe)(fake, batch, progress),
            inpainting.terms(recipe, Tower())(fake, batch._replace(whole=None), progress),
        ):
            assert other.item() == pytest.approx(10 * l1, rel=1e-4)


@pytest.mark.parametrize("table", ["PROFILES", "PHOTOGRAPHS", "GUIDED"])
def test_every_profile_has_its_recipe(table: str) -> None:
    recipes = getattr(inpainting, table)
    assert set(recipes) == {"quick", "cpu", "shipped", "gpu"}
    for recipe in recipes.values():
        assert json.loads(json.dumps(recipe.describe())) == recipe.describe()
        assert recipe.guided == (table == "GUIDED") and recipe.alone.gamma == 0
        assert recipe.source == ("photographs" if table == "PHOTOGRAPHS" else "world")
        assert recipe.alone.z == recipe.config.z == 8


# ---- the game


def even(config: TrainConfig = TINY.config, *, cond: int = 0) -> Any:
    """Damaged scenes; with ``cond`` texts that are noise."""

    def sample(rng: torch.Generator, step: int) -> Damaged:
        batch = inpainting.world_damage(replace(TINY, config=config))(rng, step)
        if not cond:
            return batch
        text = torch.randn(2, len(batch.real), cond, generator=rng)
        return batch._replace(text=text[0], wrong=text[1])

    return sample


EXTRA = inpainting.terms(replace(TINY, l1=2.0))


def everything_of(state: State) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in state._tensors().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def play(state: State, sample: Any, extra: Any = EXTRA) -> Iterator[Any]:
    return inpainting.play_repair(state.G, state.D, sample, state.config, extra=extra, state=state)


@pytest.mark.parametrize("cond", [0, 64])
def test_one_step_is_what_is_written(cond: int) -> None:
    """D moves by its loss and both penalties, G by the game under the moved D and by the extra term; then the mean."""
    config = replace(TINY.config, seed=5)
    state = State.start(*start(cond=cond), config)
    twin = copy.deepcopy((state.G, state.D))
    step = next(play(state, even(cond=cond)))
    G, D = twin
    rng = torch.Generator().manual_seed(5)
    batch = even(cond=cond)(rng, 0)
    real, mask, text, _wrong, _ = batch
    fake = G(torch.randn(4, 8, generator=rng), real, mask, text)
    loss = inpainting.guided_d(D, batch, fake, config)
    assert step.losses["d"] == pytest.approx(loss.item(), rel=1e-5)
    judge = lambda x: D(x, mask, text)  # noqa: E731
    gamma = config.gamma_at(0)
    assert gamma == pytest.approx(0.05)
    penalty = config.reg_every * (r1(judge, real, gamma) + r2(judge, fake.detach(), gamma))
    assert step.losses["penalty"] == pytest.approx(penalty.item(), rel=1e-4)
    opts = [torch.optim.Adam(m.parameters(), lr=config.lr_at(0), betas=config.betas, eps=1e-8) for m in (D, G)]
    (loss + penalty).backward(inputs=list(D.parameters()))
    opts[0].step()
    game = -F.logsigmoid(judge(fake) - judge(real)).mean()
    helped = EXTRA(fake, batch, 0.0)
    assert (step.losses["g"], step.losses["extra"]) == pytest.approx((game.item(), helped.item()), rel=1e-4)
    (game + helped).backward(inputs=list(G.parameters()))
    opts[1].step()
    for mine, theirs in ((D, state.D), (G, state.G)):
        for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert torch.allclose(a, b, atol=2e-5)
    before = start(cond=cond)[0]
    for was, now, mean in zip(before.parameters(), state.G.parameters(), state.ema.parameters(), strict=True):
        assert torch.allclose(mean, 0.1 * was + 0.9 * now, atol=1e-6)
    assert step.number == state.step == 1


def test_a_run_is_the_same_for_a_seed_and_leaves_global_randomness_alone() -> None:
    ends = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(ends) + 50)
        here = torch.get_rng_state()
        config = replace(TINY.config, seed=seed)
        G, D = start()
        steps = list(inpainting.play_repair(G, D, even(), config, extra=EXTRA))
        assert torch.equal(here, torch.get_rng_state())
        assert [s.number for s in steps] == [1, 2, 3, 4, 5, 6]
        assert [s.losses["penalty"] > 0 for s in steps] == [True, False] * 3
        assert all(b.seconds > a.seconds >= 0 for a, b in pairwise(steps))
        ends.append(everything_of(steps[-1].state))
    assert same(ends[0], ends[1]) and not same(ends[0], ends[2])
    first = everything_of(State.start(*start(), TINY.config))
    moved = [not torch.equal(ends[0][k], v) for k, v in first.items() if k.startswith(("G.", "D.")) and v.dim() > 1]
    assert sum(moved) > 0.9 * len(moved)


def test_the_learning_rate_falls_as_the_config_says() -> None:
    for make in (play, lambda s, sample: inpainting.fit_hole(s.G, sample, s.config, state=s)):
        state = State.start(*start(), replace(TINY.config, steps=3))
        for step in make(state, even()):
            rates = [o.param_groups[0]["lr"] for o in (state.opt_g,) + ((state.opt_d,) if make is play else ())]
            assert rates == pytest.approx([state.config.lr_at(step.number - 1)] * len(rates))


def test_progress_reaches_the_extra_term_and_a_false_text_reaches_d() -> None:
    seen: list[float] = []

    def extra(fake: Tensor, batch: Damaged, progress: float) -> Tensor:
        seen.append(progress)
        return EXTRA(fake, batch, progress)

    list(play(State.start(*start(), TINY.config), even(), extra))
    assert seen == pytest.approx([i / 6 for i in range(6)])
    drop = lambda rng, step: even(cond=64)(rng, step)._replace(wrong=None)  # noqa: E731
    with_, without = (next(play(State.start(*start(cond=64), TINY.config), s)) for s in (even(cond=64), drop))
    assert with_.losses["d"] > without.losses["d"] + 0.1


@pytest.mark.parametrize("at", [0, 3])
@pytest.mark.parametrize("where", ["pictures", "extra"])
def test_divergence_leaves_everything_as_it_was(where: str, at: int) -> None:
    """A poisoned picture is met in D's move, a poisoned extra term after D has moved. Both leave not a bit changed."""
    state = State.start(*start(), TINY.config)

    def sample(rng: torch.Generator, step: int) -> Damaged:
        batch = even()(rng, step)
        return batch._replace(real=batch.real * math.nan) if where == "pictures" and step == at else batch

    def extra(fake: Tensor, batch: Damaged, progress: float) -> Tensor:
        sick = where == "extra" and progress * 6 > at - 0.5
        return EXTRA(fake, batch, progress) + (math.inf if sick else 0.0)

    good = everything_of(state)
    with pytest.raises(Diverged, match=f"Step {at + 1}: a loss is not finite.*after step {at}") as caught:
        for _ in play(state, sample, extra):
            good = everything_of(state)
    assert caught.value.step == at + 1 and state.step == at
    assert same(good, everything_of(state))
    assert any(k.startswith("opt_d.") for k in good) == (at > 0)
    *_, last = play(state, even())
    *_, whole = play(State.start(*start(), TINY.config), even())
    assert same(everything_of(last.state), everything_of(whole.state)), "and the run goes on as if nothing had been"


def test_ctrl_c_waits_for_the_end_of_the_step_and_the_run_goes_on() -> None:
    state = State.start(*start(), TINY.config)

    def struck(rng: torch.Generator, step: int) -> Damaged:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)  # in the middle of step 3
        return even()(rng, step)

    with pytest.raises(KeyboardInterrupt):
        for _ in play(state, struck):
            pass
    assert state.step == 3 and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    *_, whole = play(State.start(*start(), TINY.config), even())
    *_, last = play(state, even())
    assert same(everything_of(whole.state), everything_of(last.state))


def test_an_interrupted_step_is_undone() -> None:
    state = State.start(*start(), TINY.config)

    def interrupted(fake: Tensor, batch: Damaged, progress: float) -> Tensor:
        if progress > 0.3:
            raise KeyboardInterrupt  # D has moved already
        return EXTRA(fake, batch, progress)

    good = everything_of(state)
    with pytest.raises(KeyboardInterrupt):
        for _ in play(state, even(), interrupted):
            good = everything_of(state)
    assert state.step == 2 and same(good, everything_of(state))


def test_a_saved_run_goes_on_to_the_same_weights(tmp_path) -> None:
    state = State.start(*start(), TINY.config)
    for step in play(state, even()):
        if step.number == 3:
            break
    state.save(tmp_path / "run.safetensors")
    again = State.start(*start(seed=7), TINY.config).load(tmp_path / "run.safetensors")
    *_, last = play(again, even())
    *_, whole = play(State.start(*start(), TINY.config), even())
    assert same(everything_of(last.state), everything_of(whole.state))


# ---- by L1 alone


def test_l1_alone_takes_the_same_steps_as_torch() -> None:
    config = replace(TINY.alone, seed=5)
    G = start()[0]
    twin, rng = copy.deepcopy(G), torch.Generator().manual_seed(5)
    opt = torch.optim.Adam(twin.parameters(), betas=config.betas, eps=1e-8)
    for i, step in enumerate(inpainting.fit_hole(G, even(), config)):
        batch = even()(rng, i)
        opt.param_groups[0]["lr"] = config.lr_at(i)
        opt.zero_grad()
        made = twin(torch.randn(4, 8, generator=rng), batch.real, batch.mask)
        hole = batch.mask.expand_as(made) > 0
        loss = F.l1_loss(made[hole], batch.real[hole])
        loss.backward()
        opt.step()
        assert step.losses == {"l1": pytest.approx(loss.item(), rel=1e-4)} and step.number == i + 1
    assert step.number == 3
    assert all(torch.allclose(a, b, atol=2e-5) for a, b in zip(G.parameters(), twin.parameters(), strict=True))


def test_l1_alone_fills_better_after_a_few_steps() -> None:
    config = TrainConfig(steps=60, batch=8, z=8, lr=4e-3, final_lr=0.3, betas=(0.9, 0.99), gamma=0.0, ema=0.9)
    G = seeded(lambda: Inpainter(width=16, mapping=8, keys=2))
    test = inpainting.world_damage(replace(TINY, config=replace(config, batch=64)))(torch.Generator().manual_seed(9), 0)
    error = lambda net: inpainting.hole_l1(  # noqa: E731
        inpainting.fill(net.eval(), test.real, test.mask, torch.zeros(64, 8)), test.real, test.mask
    ).item()
    before, untouched = error(G), copy.deepcopy(G)
    G.train()
    *_, last = inpainting.fit_hole(G, even(config), config)
    after, average = error(G), error(last.state.ema)
    assert max(after, average) < 0.75 * before, (before, after, average)
    assert error(untouched) == before


def test_l1_alone_hears_the_text() -> None:
    G = start(cond=64)[0]
    calls: list[tuple[Any, ...]] = []
    G.register_forward_pre_hook(lambda net, args: calls.append(args))
    list(inpainting.fit_hole(G, even(cond=64), replace(TINY.alone, steps=2)))
    batch = even(cond=64)(torch.Generator().manual_seed(TINY.alone.seed), 0)
    assert len(calls) == 2 and torch.equal(calls[0][3], batch.text) and torch.equal(calls[0][2], batch.mask)


def test_l1_alone_stops_where_it_is_not_finite_and_goes_on_from_a_state() -> None:
    G = start()[0]
    state = State.start(G, nn.Linear(1, 1), TINY.alone)
    bad = lambda rng, step: (  # noqa: E731
        Damaged(torch.full((4, 3, 32, 32), math.nan), torch.ones(4, 1, 32, 32)) if step == 2 else even()(rng, step)
    )
    good = everything_of(state)
    with pytest.raises(Diverged, match="Step 3"):
        for _ in inpainting.fit_hole(G, bad, TINY.alone, state=state):
            good = everything_of(state)
    assert state.step == 2
    left = everything_of(state)
    assert same({k: v for k, v in good.items() if k != "rng"}, {k: v for k, v in left.items() if k != "rng"})


# ---- using


def test_filling_in_parts_is_filling_at_once(rng: torch.Generator) -> None:
    G = small(cond=64).eval()
    x, mask, z = torch.rand(7, 3, 32, 32, generator=rng), masks.mixed(7, rng), torch.randn(7, 8, generator=rng)
    text = torch.randn(7, 64, generator=rng)
    for told in (None, text):
        parts = inpainting.fill(G, x, mask, z, told, chunk=3)
        assert parts.shape == x.shape and not parts.requires_grad
        assert torch.allclose(parts, G(z, x, mask, told), atol=1e-4)
    assert not torch.allclose(inpainting.fill(G, x, mask, z, text), inpainting.fill(G, x, mask, z))


class Painter(nn.Module):
    """A stand-in: the hole's columns tell how far they are from the known ones, and what it was shown is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.hparams, self.seen = nn.Parameter(torch.zeros(1)), {"z": 3}, []

    def forward(self, z: Tensor, x: Tensor, mask: Tensor, text: Tensor | None = None) -> Tensor:
        self.seen.append((z.clone(), x.clone(), mask.clone(), text))
        steps = torch.cumsum(mask.flip(3), 3).flip(3) / 100  # .01 beside the known, .16 at the edge
        return torch.where(mask > 0, x[..., 16:17] + steps, x)


def test_a_widened_picture_holds_the_picture_and_goes_on_from_its_edges(rng: torch.Generator) -> None:
    x, G = torch.randn(2, 3, 32, 32, generator=rng), Painter()
    wide = inpainting.widen(G, x, torch.Generator().manual_seed(1), times=1)
    assert wide.shape == (2, 3, 32, 64) and torch.equal(bits(wide[..., 16:48]), bits(x))
    away = torch.arange(1, 17) / 100
    assert torch.allclose(wide[..., :16], x[..., :1] + away.flip(0))
    assert torch.allclose(wide[..., 48:], x[..., -1:] + away)
    (_, left, mask, _), (_, right, _, _) = G.seen
    assert (mask[..., :16] == 1).all() and (mask[..., 16:] == 0).all()
    assert torch.equal(left[..., 16:], x[..., :16]) and torch.equal(right[..., 16:], x.flip(3)[..., :16])
    assert torch.equal(x, torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))


def test_a_picture_widened_again_goes_on_from_what_was_filled(rng: torch.Generator) -> None:
    x, G, text = torch.randn(2, 3, 32, 32, generator=rng), Painter(), torch.randn(2, 64, generator=rng)
    wide = inpainting.widen(G, x, torch.Generator().manual_seed(1), times=3, text=text)
    assert wide.shape == (2, 3, 32, 128) and torch.equal(bits(wide[..., 48:80]), bits(x))
    assert torch.allclose(wide[..., :1], x[..., :1] + 0.48, atol=1e-5)
    assert torch.allclose(wide[..., -1:], x[..., -1:] + 0.48, atol=1e-5)
    assert len(G.seen) == 6 and all(torch.equal(told, text) for *_, told in G.seen)
    noises = [z for z, *_ in G.seen]
    assert noises[0].shape == (2, 3) and all(not torch.equal(a, b) for a, b in pairwise(noises))
    G.seen.clear()
    inpainting.widen(G, x, torch.Generator().manual_seed(1))
    assert torch.equal(G.seen[0][0], noises[0]), "the noise comes from the generator"


def test_widening_with_a_network_and_its_refusals(rng: torch.Generator) -> None:
    G, x = small().eval(), torch.rand(1, 3, 32, 32, generator=rng)
    wide = [inpainting.widen(G, x, torch.Generator().manual_seed(k), times=2) for k in (1, 1, 2)]
    assert torch.equal(wide[0], wide[1]) and not torch.equal(wide[0], wide[2])
    assert wide[0].shape == (1, 3, 32, 96) and torch.equal(bits(wide[0][..., 32:64]), bits(x))
    for times in (0, -1):
        with pytest.raises(ValueError, match=f"times: expected at least 1, got {times}"):
            inpainting.widen(G, x, rng, times=times)
    with pytest.raises(ValueError, match="pictures: expected shape"):
        inpainting.widen(G, torch.zeros(1, 3, 32, 64), rng)


# ---- shipped


def test_the_shipped_inpainters_keep_both_promises(rng: torch.Generator) -> None:
    scenes = world.sample_scenes(4, rng)
    x, (mask, _), z = world.draw(scenes), inpainting.hide_thing(scenes, rng), torch.randn(4, 8, generator=rng)
    for name in ("inpainting", "inpainting_photographs", "inpainting_text"):
        kind = inpainting.Inpainter if name == "inpainting_text" else inpainting.Repairers
        net, hole = checkpoint.load(kind, name).eval(), mask.expand_as(x) > 0
        out = net(z, x, mask)
        assert torch.equal(bits(out)[~hole], bits(x)[~hole]) and out.abs().max() <= 1
        assert torch.equal(bits(out), bits(net(z, masks.hide(x, mask, value=math.nan), mask)))
        assert checkpoint.card(name)["name"] == name
