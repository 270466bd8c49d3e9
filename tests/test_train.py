"""play(): it learns, it can be stopped, saved and resumed, and it says when it diverges."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmcourse.losses import GAMES
from mmcourse.train import Batch, Diverged, State, TrainConfig, move, play, update_ema


class Line(nn.Module):
    """G for numbers: z (B, 2) and a condition (B, 1) to (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 32), nn.LeakyReLU(0.2), nn.Linear(32, 2))

    def forward(self, z: Tensor, cond: Tensor) -> Tensor:
        return self.net(torch.cat([z, cond], 1))


class Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2))
        self.alone, self.project = nn.Linear(32, 1), nn.Linear(32, 1)

    def look(self, x: Tensor) -> Tensor:
        return self.net(x)

    def score(self, h: Tensor, cond: Tensor) -> Tensor:
        return self.alone(h) + self.project(h) * cond


def sample(rng: torch.Generator, step: int) -> Batch:
    """Two clouds; the condition, -1 or 1, says which."""
    cond = torch.randint(2, (64, 1), generator=rng) * 2.0 - 1
    real = torch.cat([2 * cond, -cond], 1) + 0.2 * torch.randn(64, 2, generator=rng)
    return Batch(real, cond, -cond)


def start(config: TrainConfig) -> tuple[Line, Critic]:
    torch.manual_seed(config.seed)
    return Line(), Critic()


SMALL = TrainConfig(steps=24, batch=64, z=2, reg_every=4, lr=2e-3)


def test_it_learns_a_conditional_toy() -> None:
    config = TrainConfig(steps=400, batch=64, z=2, lr=3e-3, gamma=0.1, ema=0.98)
    G, D = start(config)
    cond = torch.tensor([[1.0], [-1.0]]).repeat_interleave(200, 0)
    z = torch.randn(400, 2, generator=torch.Generator().manual_seed(9))
    truth = torch.cat([2 * cond, -cond], 1)
    before = (G(z, cond) - truth).norm(dim=1).mean().item()
    *_, last = play(G, D, sample, config)
    after = (last.state.ema(z, cond) - truth).norm(dim=1).mean().item()
    assert before > 1.5 and after < 0.6, (before, after)
    # the condition is obeyed: swapping it swaps the cloud
    assert (last.state.ema(z, -cond) - truth).norm(dim=1).mean() > 3


@pytest.mark.parametrize("game", sorted(GAMES))
def test_every_game_runs_and_moves_both_networks(game: str) -> None:
    config = TrainConfig(**{**SMALL.__dict__, "game": game})
    G, D = start(config)
    was = [p.clone() for p in [*G.parameters(), *D.parameters()] if p.dim() > 1]
    steps = list(play(G, D, sample, config))
    assert [s.number for s in steps] == list(range(1, 25))
    assert all(
        not torch.equal(a, b)
        for a, b in zip(was, [p for p in [*G.parameters(), *D.parameters()] if p.dim() > 1], strict=True)
    )
    assert steps[0].losses["penalty"] > 0 and steps[1].losses["penalty"] == 0 and steps[4].losses["penalty"] > 0


def test_same_seed_same_run_and_global_randomness_is_untouched() -> None:
    ends = []
    for _ in range(2):
        G, D = start(SMALL)
        torch.manual_seed(len(ends) + 50)
        here = torch.random.get_rng_state()
        *_, last = play(G, D, sample, SMALL)
        assert torch.equal(here, torch.random.get_rng_state())
        ends.append(last.state)
    assert all(torch.equal(a, b) for a, b in zip(ends[0].G.parameters(), ends[1].G.parameters(), strict=True))


@pytest.mark.parametrize("stop", [1, 9, 23])
def test_saved_and_resumed_is_bit_for_bit_the_unbroken_run(tmp_path: Path, stop: int) -> None:
    *_, whole = play(*start(SMALL), sample, SMALL)
    first = State.start(*start(SMALL), SMALL)
    for step in play(first.G, first.D, sample, SMALL, state=first):
        if step.number == stop:
            first.save(tmp_path / "run.safetensors")
            break
    other = TrainConfig(**{**SMALL.__dict__})
    torch.manual_seed(999)
    second = State.start(Line(), Critic(), other).load(tmp_path / "run.safetensors")
    assert second.step == stop
    *_, last = play(second.G, second.D, sample, SMALL, state=second)
    assert last.number == 24
    for name in ("G", "D", "ema"):
        a, b = (getattr(s, name).state_dict() for s in (whole.state, last.state))
        assert all(torch.equal(a[k], b[k]) for k in a), name


def test_a_state_that_does_not_fit_is_refused_whole(tmp_path: Path) -> None:
    state = State.start(*start(SMALL), SMALL)
    for _ in zip(range(3), play(state.G, state.D, sample, SMALL, state=state), strict=False):
        pass
    path = state.save(tmp_path / "run.safetensors")
    other = TrainConfig(**{**SMALL.__dict__, "lr": 1e-5})
    fresh = State.start(*start(SMALL), other)
    was = copy.deepcopy(fresh.G.state_dict())
    with pytest.raises(ValueError, match="another lr"):
        fresh.load(path)
    with pytest.raises(ValueError, match="no such file"):
        fresh.load(tmp_path / "none.safetensors")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="not a readable"):
        State.start(*start(SMALL), SMALL).load(path)
    assert all(torch.equal(was[k], v) for k, v in fresh.G.state_dict().items())
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]


def test_divergence_names_the_step_and_keeps_the_last_good_state() -> None:
    def poisoned(rng: torch.Generator, step: int) -> Batch:
        batch = sample(rng, step)
        return batch if step < 6 else batch._replace(real=batch.real * float("nan"))

    state = State.start(*start(SMALL), SMALL)
    good = None
    with pytest.raises(Diverged, match="Step 7: a loss is not finite.*after step 6") as caught:
        for step in play(state.G, state.D, poisoned, SMALL, state=state):
            good = copy.deepcopy((step.state.G.state_dict(), step.state.D.state_dict(), step.state.ema.state_dict()))
    assert caught.value.step == 7 and state.step == 6 and good is not None
    for kept, module in zip(good, (state.G, state.D, state.ema), strict=True):
        assert all(torch.equal(kept[k], v) and torch.isfinite(v).all() for k, v in module.state_dict().items())


def test_divergence_in_gs_move_keeps_the_last_good_state_of_both() -> None:
    state = State.start(*start(SMALL), SMALL)

    def sick(fake: Tensor, batch: Batch, progress: float) -> Tensor:
        return fake.sum() * (float("inf") if progress >= 5 / 24 else 0.0)

    good = None
    with pytest.raises(Diverged):
        for step in play(state.G, state.D, sample, SMALL, state=state, extra=sick):
            good = copy.deepcopy((step.state.G.state_dict(), step.state.D.state_dict()))
    assert good is not None and state.step == 5
    for kept, module in zip(good, (state.G, state.D), strict=True):
        assert all(torch.equal(kept[k], v) for k, v in module.state_dict().items())


def test_an_interrupted_run_leaves_usable_networks_and_can_go_on() -> None:
    *_, whole = play(*start(SMALL), sample, SMALL)
    state = State.start(*start(SMALL), SMALL)

    calls = 0

    def interrupted(rng: torch.Generator, step: int) -> Batch:
        nonlocal calls
        calls += 1
        if calls == 11:
            raise KeyboardInterrupt
        return sample(rng, step)

    with pytest.raises(KeyboardInterrupt):
        for _ in play(state.G, state.D, interrupted, SMALL, state=state):
            pass
    assert state.step == 10 and all(torch.isfinite(p).all() for p in state.ema.parameters())
    *_, last = play(state.G, state.D, sample, SMALL, state=state)
    assert all(torch.equal(a, b) for a, b in zip(whole.state.G.parameters(), last.state.G.parameters(), strict=True))


def test_ctrl_c_waits_for_the_end_of_the_step(tmp_path: Path) -> None:
    import os
    import signal

    state = State.start(*start(SMALL), SMALL)

    def struck(rng: torch.Generator, step: int) -> Batch:
        if step == 7:
            os.kill(os.getpid(), signal.SIGINT)  # in the middle of step 8
        return sample(rng, step)

    with pytest.raises(KeyboardInterrupt):
        for _ in play(state.G, state.D, struck, SMALL, state=state):
            pass
    assert state.step == 8 and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    *_, whole = play(*start(SMALL), sample, SMALL)
    *_, last = play(state.G, state.D, sample, SMALL, state=state)
    assert all(torch.equal(a, b) for a, b in zip(whole.state.D.parameters(), last.state.D.parameters(), strict=True))


def test_ema_is_the_written_formula() -> None:
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    expected = 0.9 * a.weight.detach() + 0.1 * b.weight.detach()
    update_ema(a, b, 0.9)
    torch.testing.assert_close(a.weight, expected)


def test_the_penalty_is_half_gamma_times_both_slopes() -> None:
    from mmcourse.losses import r1, r2

    config = TrainConfig(**{**SMALL.__dict__, "gamma": 0.5, "calm": 8.0, "calm_until": 0.5})
    state = State.start(*start(config), config)
    twin = copy.deepcopy(state)
    twin.rng = torch.Generator().manual_seed(config.seed)
    step = next(play(state.G, state.D, sample, config, state=state))
    batch = sample(twin.rng, 0)
    fake = twin.G(torch.randn(64, 2, generator=twin.rng), batch.cond).detach()
    D = lambda x: twin.D.score(twin.D.look(x), batch.cond)  # noqa: E731
    expected = config.reg_every * (r1(D, batch.real, 4.0) + r2(D, fake, 4.0))
    assert step.losses["penalty"] == pytest.approx(expected.item(), rel=1e-4)
    assert config.gamma_at(0) == pytest.approx(4.0) and config.gamma_at(12) == config.gamma_at(23) == 0.5


def test_config_schedules() -> None:
    config = TrainConfig(steps=1000, lr=1e-3, final_lr=0.1)
    assert config.lr_at(0) < 1e-4 and config.lr_at(60) == pytest.approx(1e-3, rel=0.02)
    assert config.lr_at(1000) == pytest.approx(1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_slope_that_lies_otherwise_in_memory_moves_the_right_weights(layout: torch.memory_format) -> None:
    """Convolutions give such slopes, and the fused optimiser pairs numbers by their place in memory."""
    slope = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(0))

    class Lies(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, weight: torch.Tensor) -> torch.Tensor:
            return weight.sum()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return grad * slope.contiguous(memory_format=layout)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(5, 4, 3, 3))

    net = Net()
    opt = State.start(net, Net(), TrainConfig(lr=0.1)).opt_g
    move(opt, net, Lies.apply(net.weight))
    torch.testing.assert_close(net.weight.detach(), -0.1 * slope.sign(), rtol=1e-4, atol=1e-4)
