"""The class-conditional GAN: each way in against a closed form, and what each network can and cannot see."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from sklearn.preprocessing import OneHotEncoder
from torch.nn import functional as F

from mmcourse import cgan
from mmcourse.layers import ModBlock, ResBlock
from mmcourse.pictures import Labelled, digits
from mmcourse.train import TrainConfig, play

SMALL = cgan.Recipe(width=8, d_width=8, config=TrainConfig(steps=3, batch=6, z=5))


@pytest.fixture
def cond(rng: torch.Generator) -> torch.Tensor:
    return cgan.one_hot(torch.randint(4, (6,), generator=rng), 4)


def generator(how: str, **more: int) -> cgan.Generator:
    """A small generator whose blocks do something: their last convolutions no longer start at zero."""
    torch.manual_seed(0)
    G = cgan.Generator(z=5, cond=4, width=8, how=how, **more)
    with torch.no_grad():
        for name, p in G.named_parameters():
            if ".two." in name or "affine" in name:
                p.normal_(std=0.3)
    return G.eval()


# ---- labels


def test_one_hot_is_scikit_learns(rng: torch.Generator) -> None:
    labels = torch.randint(7, (50,), generator=rng)
    theirs = OneHotEncoder(categories=[range(7)], sparse_output=False).fit_transform(labels[:, None].numpy())
    got = cgan.one_hot(labels, 7)
    assert got.dtype == torch.float32 and got.shape == (50, 7)
    torch.testing.assert_close(got, torch.from_numpy(theirs).float())


def test_every_pixel_of_the_maps_carries_its_own_label(cond: torch.Tensor) -> None:
    maps = cgan.onehot_maps(cond, 3)
    assert maps.shape == (6, 4, 3, 3)
    for i in range(3):
        for j in range(3):
            assert torch.equal(maps[:, :, i, j], cond)
    torch.testing.assert_close(F.interpolate(cond[:, :, None, None], size=3, mode="nearest"), maps)
    assert not torch.equal(cond.repeat(1, 9).view(6, 4, 3, 3), maps)  # what repeat and reshape would give


# ---- conditional normalisation


def test_a_fresh_norm_is_torchs_instance_norm(rng: torch.Generator, cond: torch.Tensor) -> None:
    x = 3 + 2 * torch.randn(6, 5, 4, 4, generator=rng)
    got = cgan.CondNorm(5, 4)(x, cond)
    torch.testing.assert_close(got, torch.nn.InstanceNorm2d(5)(x))
    torch.testing.assert_close(got.mean((2, 3)), torch.zeros(6, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(got.var((2, 3), correction=0), torch.ones(6, 5), atol=1e-4, rtol=0)


def test_a_norm_gives_each_channel_the_mean_and_spread_of_its_class(rng: torch.Generator, cond: torch.Tensor) -> None:
    layer, x = cgan.CondNorm(5, 4), 7 - 3 * torch.randn(6, 5, 8, 8, generator=rng)
    torch.nn.init.normal_(layer.affine.weight, std=0.3, generator=rng)
    torch.nn.init.normal_(layer.affine.bias, std=0.3, generator=rng)
    got = layer(x, cond)
    wanted = F.linear(cond, layer.affine.weight, layer.affine.bias)
    torch.testing.assert_close(got.mean((2, 3)), wanted[:, 5:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(got.std((2, 3), correction=0), (1 + wanted[:, :5]).abs(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(layer(5 * x + 2, cond), got, atol=1e-4, rtol=1e-4)  # what came in is forgotten


def test_a_picture_does_not_depend_on_its_neighbours(rng: torch.Generator, cond: torch.Tensor) -> None:
    layer, x = cgan.CondNorm(5, 4), torch.randn(6, 5, 4, 4, generator=rng)
    torch.nn.init.normal_(layer.affine.weight, generator=rng)
    torch.testing.assert_close(layer(x, cond)[2:3], layer(x[2:3], cond[2:3]))


def test_a_norm_block_starts_as_nothing(rng: torch.Generator, cond: torch.Tensor) -> None:
    x = torch.randn(6, 5, 4, 4, generator=rng)
    block = cgan.NormBlock(5, 4)
    assert torch.equal(block(x, cond), x)
    torch.nn.init.normal_(block.two.weight, generator=rng)
    assert not torch.equal(block(x, cond), x)


# ---- G


@pytest.mark.parametrize("how", cgan.INTO_G)
def test_g_draws_what_the_label_says_and_the_noise_leaves_open(how: str, rng: torch.Generator) -> None:
    G, z = generator(how), torch.randn(4, 5, generator=rng)
    one, other = (cgan.one_hot(torch.full((4,), k), 4) for k in (1, 2))
    x = G(z, one)
    assert x.shape == (4, 1, 32, 32) and x.abs().max() <= 1
    assert not torch.equal(G(z, other), x) and not torch.equal(G(z.flip(0), one), x)
    torch.testing.assert_close(G(z[1:2], one[1:2]), x[1:2], atol=1e-5, rtol=1e-4)  # alone as in a batch


def test_only_eval_mode_clips(rng: torch.Generator) -> None:
    G, z = generator("concat").train(), 40 * torch.randn(4, 5, generator=rng)
    cond = cgan.one_hot(torch.arange(4), 4)
    raw = G(z, cond)
    assert raw.abs().max() > 1
    torch.testing.assert_close(G.eval()(z, cond), raw.clamp(-1, 1))


def test_concatenation_adds_one_vector_a_class_and_touches_no_block(rng: torch.Generator) -> None:
    G, z = generator("concat"), torch.randn(4, 5, generator=rng)
    cond = cgan.one_hot(torch.arange(4), 4)
    without = F.linear(z, G.base.weight[:, :5], G.base.bias) + 2 * G.base.weight[:, 5:].T  # the root of 4 classes
    seen: list[torch.Tensor] = []
    G.base.register_forward_hook(lambda module, given, out: seen.append(out))
    G(z, cond)
    torch.testing.assert_close(seen[0], without)
    with torch.no_grad():
        G.base.weight[:, 5:] = 0
    torch.testing.assert_close(G(z, cond), G(z, cond.flip(0)))  # no other layer sees the label


@pytest.mark.parametrize(
    ("how", "kind"), [("concat", cgan.PlainBlock), ("norm", cgan.NormBlock), ("modulate", ModBlock)]
)
def test_blocks_are_of_the_kind_that_was_asked_for(how: str, kind: type, rng: torch.Generator) -> None:
    G = generator(how, blocks=2)
    assert [type(block) for block in (*G.early, *G.late)] == [kind] * 4
    if how != "concat":  # the label reaches the picture through the blocks alone
        with torch.no_grad():
            G.base.weight[:, 5:] = 0
        z, cond = torch.randn(4, 5, generator=rng), cgan.one_hot(torch.arange(4), 4)
        assert not torch.allclose(G(z, cond), G(z, cond.flip(0)), atol=1e-4)


def test_a_plain_block_is_a_residual_block(rng: torch.Generator) -> None:
    plain, usual = cgan.PlainBlock(5), ResBlock(5)
    usual.load_state_dict(plain.state_dict())
    x = torch.randn(2, 5, 4, 4, generator=rng)
    assert torch.equal(plain(x, torch.ones(2, 4)), usual(x)) and torch.equal(plain(x), usual(x))


# ---- D


@pytest.mark.parametrize("how", cgan.INTO_D)
def test_d_gives_one_logit_a_picture_and_reads_the_label(how: str, rng: torch.Generator) -> None:
    torch.manual_seed(0)
    D, x = cgan.Discriminator(cond=4, width=8, features=16, how=how), torch.randn(4, 1, 32, 32, generator=rng)
    cond = cgan.one_hot(torch.arange(4), 4)
    logits = D(x, cond)
    assert logits.shape == (4, 1)
    torch.testing.assert_close(D.score(D.look(x), cond), logits)
    assert (D(x, cond.roll(1, 0)) - logits).abs().min() > 1e-4
    torch.testing.assert_close(D(x.flip(0), cond.flip(0)), logits.flip(0), atol=1e-5, rtol=1e-4)


def test_a_projection_is_the_formula_of_the_paper(rng: torch.Generator) -> None:
    torch.manual_seed(0)
    D, x = cgan.Discriminator(cond=4, width=8, features=16), torch.randn(5, 1, 32, 32, generator=rng)
    labels = torch.tensor([3, 0, 1, 1, 2])
    f, rows = D.trunk(x), D.project.weight.T  # (B, 16) and a row for each class (4, 16)
    wanted = F.bilinear(f, rows[labels], torch.eye(16)[None]) + F.linear(f, D.alone.weight, D.alone.bias)
    torch.testing.assert_close(D(x, cgan.one_hot(labels, 4)), wanted, atol=1e-5, rtol=1e-4)
    mixed = (cgan.one_hot(labels, 4) + cgan.one_hot(labels.flip(0), 4)) / 2  # linear in the condition
    both = (D(x, cgan.one_hot(labels, 4)) + D(x, cgan.one_hot(labels.flip(0), 4))) / 2
    torch.testing.assert_close(D(x, mixed), both, atol=1e-5, rtol=1e-4)


def test_a_projection_looks_once_and_concatenation_each_time(rng: torch.Generator) -> None:
    x, conds = torch.randn(3, 1, 32, 32, generator=rng), [cgan.one_hot(torch.full((3,), k), 4) for k in range(4)]
    for how, times in (("project", 1), ("concat", 4)):
        D, calls = cgan.Discriminator(cond=4, width=8, features=16, how=how), []
        D.trunk.register_forward_hook(lambda *a, calls=calls: calls.append(1))
        seen = D.look(x)
        for cond in conds:
            D.score(seen, cond)
        assert len(calls) == times


def test_d_that_concatenates_sees_the_label_at_every_pixel(rng: torch.Generator) -> None:
    torch.manual_seed(0)
    D, x = cgan.Discriminator(cond=4, width=8, features=16, how="concat"), torch.randn(2, 1, 32, 32, generator=rng)
    cond = cgan.one_hot(torch.tensor([1, 3]), 4)
    both = torch.cat([x, cond[:, :, None, None] * torch.ones(2, 4, 32, 32)], dim=1)
    torch.testing.assert_close(D(x, cond), D.alone(D.trunk(both)))


# ---- bad input


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="how: expected one of concat, norm, modulate; got 'modulated'"):
        cgan.Generator(how="modulated")
    with pytest.raises(ValueError, match="how: expected one of concat, project"):
        cgan.Discriminator(how="norm")
    G = cgan.Generator(z=5, cond=4, width=8)
    with pytest.raises(ValueError, match="z: expected shape"):
        G(torch.zeros(2, 6), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="cond: expected shape"):
        G(torch.zeros(2, 5), torch.zeros(3, 4))  # another batch
    with pytest.raises(ValueError, match="cond: expected 2 axes"):
        G(torch.zeros(2, 5), torch.tensor([1, 2]))  # labels where a condition is asked for


# ---- prepare and draw


def test_wrong_conditions_are_wrong_and_every_other_class_comes_up() -> None:
    data = digits()
    _, _, sample, config = cgan.prepare(data, replace(SMALL, config=replace(SMALL.config, batch=2000)))
    batch = sample(torch.Generator().manual_seed(1), 0)
    own, wrong = batch.cond.argmax(1), batch.wrong.argmax(1)
    assert batch.real.shape == (2000, 1, 32, 32) and config.seed == 0
    assert (batch.cond.sum(1) == 1).all() and (batch.wrong.sum(1) == 1).all() and (own != wrong).all()
    moves = torch.bincount((wrong - own) % 10, minlength=10)
    assert moves[0] == 0 and moves[1:].min() > 150  # 222 of each on average


@pytest.mark.parametrize("shuffle", [False, True])
def test_labels_are_those_of_the_pictures_unless_they_are_shuffled(shuffle: bool) -> None:
    pixels = (
        torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 1, 32, 32) * 25
    )  # the grey tells the class
    data = Labelled(pixels, torch.arange(10), tuple("0123456789"), "greys")
    recipe = replace(SMALL, shuffle=shuffle, config=replace(SMALL.config, batch=1000))
    batch = cgan.prepare(data, recipe)[2](torch.Generator().manual_seed(2), 0)
    really = ((batch.real[:, 0, 0, 0] + 1) * 127.5 / 25).round().long()
    right = (batch.cond.argmax(1) == really).float().mean().item()
    assert right == pytest.approx(0.1, abs=0.03) if shuffle else right == 1


def test_the_seed_sets_the_weights_and_leaves_global_randomness_alone() -> None:
    data, before = digits(), torch.get_rng_state()
    (a, da, *_), (b, db, *_), (c, *_) = (cgan.prepare(data, SMALL, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for one, other in ((a, b), (da, db)):
        for p, q in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(p, q)
    assert not torch.equal(a.base.weight, c.base.weight)
    assert cgan.prepare(data, SMALL, seed=2)[3].seed == 2


@pytest.mark.parametrize("into_g", cgan.INTO_G)
@pytest.mark.parametrize("into_d", cgan.INTO_D)
def test_every_pairing_plays_and_all_weights_learn(into_g: str, into_d: str) -> None:
    G, D, sample, config = cgan.prepare(digits(), replace(SMALL, into_g=into_g, into_d=into_d))
    first = copy.deepcopy((G, D))
    for step in play(G, D, sample, config):
        pass
    assert step.number == 3
    for was, now in zip(first, (G, D), strict=True):
        still = [n for (n, p), q in zip(was.named_parameters(), now.parameters(), strict=True) if torch.equal(p, q)]
        assert still == []


def test_drawing_is_the_same_for_every_batch_size_and_belongs_to_its_labels() -> None:
    G = generator("modulate")
    labels = torch.tensor([0, 3, 1, 1, 2])
    x = cgan.draw(G, labels, torch.Generator().manual_seed(4))
    torch.testing.assert_close(cgan.draw(G, labels, torch.Generator().manual_seed(4), batch=2), x, atol=1e-5, rtol=1e-4)
    z = torch.randn(5, 5, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(G(z, cgan.one_hot(labels, 4)), x, atol=1e-5, rtol=1e-4)
    assert not x.requires_grad


def test_a_recipe_describes_itself_as_json() -> None:
    said = cgan.PROFILES["cpu"].describe()
    assert (
        said["into_d"] == cgan.PROFILES["cpu"].into_d and said["config"]["steps"] == cgan.PROFILES["cpu"].config.steps
    )
    assert isinstance(said["config"]["betas"], list)


@pytest.mark.parametrize("how", cgan.INTO_D)
@pytest.mark.parametrize("shuffle", [False, True])
def test_d_learns_to_read_labels_unless_they_mean_nothing(how: str, shuffle: bool) -> None:
    """Three plain pictures: left, right and upper half white. Forty steps are enough for D to know each one's label."""
    pixels = torch.zeros(3, 1, 32, 32, dtype=torch.uint8)
    pixels[0, :, :, :16], pixels[1, :, :, 16:], pixels[2, :, :16] = 255, 255, 255
    data = Labelled(pixels, torch.arange(3), ("left", "right", "upper"), "halves")
    short = TrainConfig(steps=40, batch=12, z=5, lr=3e-3, gamma=0.3)
    G, D, sample, config = cgan.prepare(data, replace(SMALL, into_d=how, shuffle=shuffle, config=short))
    for _ in play(G, D, sample, config):
        pass
    conds = [cgan.one_hot(torch.full((3,), k), 3) for k in range(3)]
    with torch.no_grad():
        logits = torch.cat([D(data.pictures(), cond) for cond in conds], dim=1)  # (3, 3): picture, label
    above = (logits.diagonal()[:, None] - logits)[~torch.eye(3, dtype=torch.bool)]
    assert above.abs().max() < 1.5 if shuffle else above.min() > 2
