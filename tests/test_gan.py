"""The image GAN: shapes, range, independence within a batch, what a seed sets, and that it learns."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from mmcourse import checkpoint, gan
from mmcourse.pictures import DIGITS, Labelled, digits
from mmcourse.train import TrainConfig, play

SMALL = gan.Recipe(width=4, d_width=4, config=TrainConfig(steps=6, batch=3, z=5))


def make(seed: int = 0) -> tuple[gan.Generator, gan.Discriminator]:
    G, D, _, _ = gan.prepare(digits(), SMALL, seed=seed)
    return G, D


def wake(net: nn.Module, rng: torch.Generator) -> nn.Module:
    """Give every weight a value, also those that start at zero."""
    for p in net.parameters():
        p.data = 0.3 * torch.randn(p.shape, generator=rng)
    return net


# ---- networks


@pytest.mark.parametrize(("width", "blocks"), [(2, 1), (3, 2)])
def test_shapes_of_both_networks(rng: torch.Generator, width: int, blocks: int) -> None:
    G = gan.Generator(z=7, width=width, blocks=blocks)
    D = gan.Discriminator(width=width, blocks=blocks, features=9)
    x = G(torch.randn(4, 7, generator=rng))
    assert x.shape == (4, 1, 32, 32)
    assert D.look(x).shape == (4, 9) and D(x).shape == (4, 1)
    assert torch.equal(D(x), D.score(D.look(x)))


def test_pixels_are_clipped_in_eval_mode_and_reach_g_beyond_it_in_training(rng: torch.Generator) -> None:
    G = wake(make()[0], rng)
    z = 4 * torch.randn(6, 5, generator=rng)
    free = G(z)
    assert free.min() < -1.1 and free.max() > 1.1
    assert torch.equal(G.eval()(z), free.clamp(-1, 1))
    below = free[free < -1].sum()  # black pixels still teach G; behind a tanh or a clip they would not
    (slope,) = torch.autograd.grad(below, G.head[0].weight)
    assert slope.abs().max() > 0.1


def test_a_picture_does_not_depend_on_its_neighbours(rng: torch.Generator) -> None:
    G, D = (wake(net, rng) for net in make())
    z = torch.randn(5, 5, generator=rng)
    x = G(z)
    torch.testing.assert_close(x[:2], G(z[:2]), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(D(x)[3:], D(x[3:]), rtol=1e-3, atol=1e-3)
    (slope,) = torch.autograd.grad(D(x)[0].sum(), x)
    assert slope[0].abs().max() > 0 and not slope[1:].any()
    assert not list(G.buffers()) and not list(D.buffers())


def test_fresh_blocks_change_nothing_and_woken_ones_do(rng: torch.Generator) -> None:
    G, _ = make()
    bare, z = copy.deepcopy(G), torch.randn(3, 5, generator=rng)
    bare.early, bare.late = nn.ModuleList(), nn.ModuleList()
    assert torch.equal(bare(z), G(z))
    wake(G.early, rng)
    assert not torch.allclose(bare(z), G(z), atol=1e-2)


def test_noise_of_another_size_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"(?s)z.*5.*4"):
        make()[0](torch.zeros(2, 4))


def test_a_generator_comes_back_from_its_checkpoint(tmp_path, rng: torch.Generator) -> None:
    G = wake(make()[0], rng).eval()
    path = checkpoint.save(G, tmp_path / "g", card={"what": "a test"})
    back, z = checkpoint.load(gan.Generator, path), torch.randn(3, 5, generator=rng)
    assert torch.equal(back(z), G(z)) and not back.training


# ---- runs


def test_the_seed_sets_the_weights_and_nothing_else_does() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again, other = make(3), make(3), make(4)
    assert torch.equal(torch.get_rng_state(), before)
    for net, same, changed in zip(first, again, other, strict=True):
        for (name, p), q, r in zip(net.named_parameters(), same.parameters(), changed.parameters(), strict=True):
            assert torch.equal(p, q)
            starts_alike = name.endswith(("bias", "two.weight", "affine.weight"))
            assert torch.equal(p, r) == starts_alike, name
    _, _, _, config = gan.prepare(digits(), SMALL, seed=3)
    assert config == replace(SMALL.config, seed=3)


def test_batches_are_real_pictures_of_the_set(rng: torch.Generator) -> None:
    data = digits()
    _, _, sample, config = gan.prepare(data, SMALL)
    batch = sample(rng, 0)
    assert batch.real.shape == (config.batch, 1, 32, 32) and batch.cond is None and batch.wrong is None
    shelf = data.pictures().flatten(1)
    for picture in batch.real.flatten(1):
        assert (shelf == picture).all(1).any()
    assert not torch.equal(sample(rng, 1).real, batch.real)


def test_draw_gives_the_same_pictures_whatever_the_batch(rng: torch.Generator) -> None:
    G = wake(make()[0], rng).eval()

    def seed() -> torch.Generator:
        return torch.Generator().manual_seed(9)

    whole, parts = gan.draw(G, 7, seed()), gan.draw(G, 7, seed(), batch=3)
    assert whole.shape == (7, 1, 32, 32) and not whole.requires_grad
    torch.testing.assert_close(whole, parts, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(whole, G(torch.randn(7, 5, generator=seed())).detach(), rtol=1e-3, atol=1e-3)
    assert whole.var(0).mean() > 1e-3  # seven pictures, not one


def test_profiles_differ_in_sizes_and_are_plain_data() -> None:
    assert set(gan.PROFILES) == {"quick", "cpu", "gpu"}
    quick, cpu, gpu = (gan.PROFILES[k] for k in ("quick", "cpu", "gpu"))
    assert quick.config.steps < cpu.config.steps < gpu.config.steps
    assert cpu.width < gpu.width and cpu.config.game == quick.config.game == gpu.config.game
    said = json.loads(json.dumps(gpu.describe()))
    assert said["width"] == gpu.width and said["config"]["steps"] == gpu.config.steps


@pytest.mark.parametrize("seed", [0, 1])
def test_a_short_run_finds_the_one_picture_there_is(seed: int) -> None:
    """All training pictures are alike: grey, with a white square. The fakes come near it."""
    pixels = torch.full((8, 1, 32, 32), 64, dtype=torch.uint8)
    pixels[:, :, 8:24, 8:24] = 224
    data = Labelled(pixels, torch.zeros(8, dtype=torch.int64), DIGITS, "squares")
    recipe = replace(SMALL, config=TrainConfig(steps=250, batch=8, z=5, lr=1e-2, gamma=0.3, ema=0.9))
    G, D, sample, config = gan.prepare(data, recipe, seed=seed)
    still = copy.deepcopy(G).eval()
    for step in play(G, D, sample, config):
        pass

    def error(net: nn.Module) -> float:
        return float((gan.draw(net, 20, torch.Generator().manual_seed(1)) - data.pictures(slice(1))).abs().mean())

    assert error(step.state.ema) < 0.45 * error(still)
