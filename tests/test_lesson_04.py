"""Lesson 04: the answers of its assignment and its own functions against torch, the library and closed forms."""

from __future__ import annotations

import copy
import functools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import nn
from torch.nn import functional as F

from mmcourse import gan, widgets
from mmcourse.course import exercise as e
from mmcourse.losses import r1, r2, relativistic_d
from mmcourse.train import Batch, TrainConfig, play, update_ema

SOURCE = (ROOT / "notebooks" / "source" / "04_image_gan.py").read_text(encoding="utf-8")


@functools.cache
def reference(item: str) -> Callable[..., Any]:
    whole = e.load_assignment("04_image_gan", ROOT)
    return e.reference(whole, whole.item(item))


@functools.cache
def of_the_lesson(name: str) -> Callable[..., Any]:
    """A function as the lesson's cell defines it."""
    (text,) = re.findall(rf"^def {name}\(.*?(?=^\S)", SOURCE + "\n#", re.DOTALL | re.MULTILINE)
    space: dict[str, Any] = {"torch": torch, "F": F}
    exec(text, space)
    return space[name]


def tiny(seed: int) -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return gan.Generator(z=3, width=2), gan.Discriminator(width=2, features=4)


def numbers(net: nn.Module) -> torch.Tensor:
    """All weights but D's last bias: in this game it has no slope but rounding, which Adam makes as large as any."""
    return torch.cat([p.detach().flatten() for name, p in net.named_parameters() if name != "out.bias"])


# ---- sizes


@pytest.mark.parametrize("transposed", [False, True])
def test_sizes_are_those_of_torchs_layers(transposed: bool) -> None:
    size, kind = reference("conv_out_size"), nn.ConvTranspose1d if transposed else nn.Conv1d
    nothing = 0
    for n in (1, 2, 7, 12):
        for k in (1, 2, 3, 5):
            for s in (1, 2, 3):
                for p in (0, 1, 2):
                    for d in (1, 2):
                        layer = kind(1, 1, k, stride=s, padding=p, dilation=d, device="meta")
                        try:
                            want = layer(torch.empty(1, 1, n, device="meta")).shape[2]
                        except RuntimeError:
                            want, nothing = 0, nothing + 1
                        if want >= 1:
                            assert size(n, k, s, p, d, transposed) == want
                        else:
                            with pytest.raises(ValueError, match="nothing is left"):
                                size(n, k, s, p, d, transposed)
                        if not transposed and want >= 1:
                            assert of_the_lesson("size_after")(n, k, s, p, d) == want
    assert nothing > 5


def test_a_convolution_and_its_transpose_undo_each_others_size() -> None:
    size = reference("conv_out_size")
    for n, k, s, p in ((8, 4, 2, 1), (16, 2, 2, 0), (9, 3, 2, 1), (10, 5, 3, 2)):
        larger = size(n, k, s, p, 1, True)
        assert larger > n and size(larger, k, s, p, 1, False) == n


# ---- pixels and channels


@pytest.mark.parametrize("r", [1, 2, 3])
def test_pixel_shuffle_is_torchs_and_the_way_back(rng: torch.Generator, r: int) -> None:
    x = torch.randn(2, 3 * r * r, 4, 5, generator=rng)
    got = reference("pixel_shuffle")(x, r)
    assert torch.equal(got, F.pixel_shuffle(x, r)) and torch.equal(F.pixel_unshuffle(got, r), x)


def test_the_lessons_unshuffle_is_undone_by_the_answer(rng: torch.Generator) -> None:
    x = torch.randn(2, 3, 6, 4, generator=rng)
    small = of_the_lesson("unshuffle")(x)
    assert small.shape == (2, 12, 3, 2) and torch.equal(reference("pixel_shuffle")(small, 2), x)


# ---- the average


def test_a_late_update_is_the_librarys_and_torchs() -> None:
    (model, _), (average, _) = tiny(1), tiny(2)
    same, third = copy.deepcopy(average), torch.optim.swa_utils.AveragedModel(
        average, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )  # fmt: skip
    third.n_averaged.fill_(1)  # else its first update is a copy
    reference("ema_update")(average, model, 0.9, 10_000)
    update_ema(same, model, 0.9)
    third.update_parameters(model)
    torch.testing.assert_close(numbers(average), numbers(same))
    torch.testing.assert_close(numbers(average), numbers(third.module))


def test_the_answer_follows_a_run_of_play_from_its_first_step(rng: torch.Generator) -> None:
    G, D = tiny(3)
    average, real = copy.deepcopy(G), torch.rand(4, 1, 32, 32, generator=rng)
    config = TrainConfig(steps=14, batch=4, z=3, lr=0.05, ema=0.4)
    for step in play(G, D, lambda g, i: Batch(real), config):
        reference("ema_update")(average, step.state.G, config.ema, step.number - 1)
        torch.testing.assert_close(numbers(average), numbers(step.state.ema))
    assert (numbers(average) - numbers(G)).abs().max() > 1e-3


def test_the_average_of_a_model_that_stands_still_comes_to_it_as_a_power() -> None:
    (model, _), (average, _) = tiny(4), tiny(5)
    start = numbers(average)
    for step in range(1000, 1005):
        reference("ema_update")(average, model, 0.8, step)
    share = 0.8**5
    torch.testing.assert_close(numbers(average), share * start + (1 - share) * numbers(model))


# ---- D's move


@pytest.fixture
def double() -> Iterator[None]:
    """Sixty-four bits: of a slope that is all rounding Adam makes a step like any other."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_d_moves_as_in_play(rng: torch.Generator, double: None) -> None:
    """Two steps, the first with a penalty: the loss and the weights of the library's loop."""
    G, D = tiny(6)
    ours = copy.deepcopy(D)
    config = TrainConfig(steps=9, batch=4, z=3, lr=0.01, gamma=0.7, reg_every=3)
    real = torch.rand(9, 4, 1, 32, 32, generator=rng)
    opt = torch.optim.Adam(ours.parameters(), betas=config.betas)
    before, source = copy.deepcopy(G), torch.Generator().manual_seed(config.seed)
    for step in play(G, D, lambda g, i: Batch(real[i]), config):
        i = step.number - 1
        opt.param_groups[0]["lr"] = config.lr_at(i)
        fake = before(torch.randn(4, 3, generator=source))
        loss = reference("d_step")(ours, opt, real[i], fake, i, config.gamma, config.reg_every)
        assert loss == pytest.approx(step.losses["d"] + step.losses["penalty"], rel=1e-4)
        assert (step.losses["penalty"] > 0) == (i % 3 == 0)
        torch.testing.assert_close(numbers(ours), numbers(D), rtol=1e-3, atol=1e-5)
        before = copy.deepcopy(step.state.G)
    assert all(p.grad is None for p in before.parameters())


def test_the_penalty_is_that_of_lesson_03_and_of_a_linear_d(rng: torch.Generator) -> None:
    """D = w.x: both slopes are w, so the penalty is gamma |w|^2 whatever the pictures are."""
    D = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
    w = torch.randn(1, 12, generator=rng)
    D[1].weight.data = w
    still = torch.optim.SGD(D.parameters(), lr=0.0)
    real, fake = torch.randn(2, 5, 3, 2, 2, generator=rng)
    plain = relativistic_d(D(real), D(fake)).item()
    step = functools.partial(reference("d_step"), D, still, real, fake)
    assert step(1, 0.6, 4) == pytest.approx(plain)
    assert step(8, 0.6, 4) == pytest.approx(plain + 4 * 0.6 * w.square().sum().item(), rel=1e-5)
    both = r1(D, real, 0.6) + r2(D, fake, 0.6)
    assert step(0, 0.6, 1) == pytest.approx(plain + both.item(), rel=1e-5)


def test_a_penalty_alone_makes_d_flatter(rng: torch.Generator) -> None:
    """With real equal to fake the game has no slope, and only the penalty moves D."""
    D = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 1))
    for p in D.parameters():
        p.data = torch.randn(p.shape, generator=rng)
    x, opt = torch.randn(6, 1, 2, 2, generator=rng), torch.optim.SGD(D.parameters(), lr=0.01)
    losses = [reference("d_step")(D, opt, x, x, i, 0.5, 1) for i in range(30)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.8 * losses[0]
    assert losses[-1] > math.log(2)


# ---- walks


def test_a_walk_is_the_librarys(rng: torch.Generator) -> None:
    a, b = torch.randn(2, 9, generator=rng)
    got = reference("interpolate_z")(a, b, 7)
    for row, t in zip(got, torch.linspace(0, 1, 7).tolist(), strict=True):
        torch.testing.assert_close(row, widgets.slerp(a[None], b[None], t)[0], rtol=1e-4, atol=1e-5)


def test_a_walk_keeps_its_length_and_its_pace(rng: torch.Generator) -> None:
    a, b = torch.randn(2, 9, generator=rng, dtype=torch.float64)
    b = b / b.norm() * a.norm()
    walk = reference("interpolate_z")(a, b, 12)
    assert torch.allclose(walk.norm(dim=1), a.norm()) and torch.allclose(walk[0], a) and torch.allclose(walk[-1], b)
    cosines = F.cosine_similarity(walk[1:], walk[:-1])
    assert cosines.max() - cosines.min() < 1e-6
    middle = reference("interpolate_z")(a, b, 3)[1]
    torch.testing.assert_close(middle / middle.norm(), (a + b) / (a + b).norm())
    corner = reference("interpolate_z")(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]), 4)
    t = torch.linspace(0, math.pi / 2, 4)
    torch.testing.assert_close(corner, 2 * torch.stack([t.cos(), t.sin()], 1), rtol=1e-5, atol=1e-6)


# ---- the spectrum and the step


@pytest.mark.parametrize(("down", "right", "ring"), [(3, 0, 3), (0, 7, 7), (6, 8, 10), (16, 16, 23)])
def test_one_wave_is_found_in_its_ring_and_nowhere_else(down: int, right: int, ring: int) -> None:
    place = torch.arange(32) / 32
    wave = torch.cos(2 * math.pi * (down * place[:, None] + right * place))[None, None]
    power = of_the_lesson("spectrum")(wave)
    assert power.shape == (24,) and power.argmax() == ring
    assert power[ring] > 1e6 * power[torch.arange(24) != ring].max()


def test_the_spectrum_of_white_noise_is_flat(rng: torch.Generator) -> None:
    power = of_the_lesson("spectrum")(torch.randn(400, 1, 32, 32, generator=rng))
    assert torch.allclose(power, torch.full((24,), 1024.0), rtol=0.25)  # Parseval: 1024 numbers of variance 1


def test_the_lessons_step_is_plays_with_and_without_a_penalty(rng: torch.Generator, double: None) -> None:
    G, D = tiny(7)
    twins = copy.deepcopy(G), copy.deepcopy(D)
    config = TrainConfig(steps=4, batch=5, z=3, lr=0.01, gamma=0.9, reg_every=2)
    real, source = torch.rand(4, 5, 1, 32, 32, generator=rng), torch.Generator().manual_seed(config.seed)
    opts = [torch.optim.Adam(m.parameters(), betas=config.betas) for m in twins]
    for step in play(G, D, lambda g, i: Batch(real[i]), config):
        i = step.number - 1
        for opt in opts:
            opt.param_groups[0]["lr"] = config.lr_at(i)
        weight = config.gamma_at(i) * config.reg_every if i % 2 == 0 else 0.0
        got = of_the_lesson("one_step")(*twins, *opts, real[i], torch.randn(5, 3, generator=source), weight)
        assert got == pytest.approx({k: step.losses[k] for k in got}, rel=1e-3, abs=1e-6)
    for mine, theirs in zip(twins, (G, D), strict=True):
        torch.testing.assert_close(numbers(mine), numbers(theirs), rtol=1e-3, atol=1e-4)
