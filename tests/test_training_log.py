"""``mmcourse train --log``: the event files, read back with tensorboard's own reader, say what the run said."""

from __future__ import annotations

import builtins
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_training_repairs as repairs
import torch
from test_training_resume import in_step, interrupt, tiny, train  # noqa: F401  (tiny: its recipes, for each test here)
from torch import nn

from mmcourse import checkpoint, encoders, inpainting, text2image
from mmcourse.course import cli, runs
from mmcourse.keep import Kept
from mmcourse.train import Batch, State, TrainConfig, play

pytest.importorskip("tensorboard", reason="needs the extra log")


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    return events.Reload()


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(e.step, e.value) for e in read(folder).Scalars(tag)]


def next_second() -> None:
    """A file's name tells when it was begun, to the second, and files are read in this order."""
    time.sleep(1.01 - time.time() % 1)


def counting(total: int, kept: Kept) -> Iterator[tuple[int, float]]:
    """A run whose loss at a step is the step's number."""
    net = nn.Linear(1, 1)
    opt = torch.optim.AdamW(net.parameters(), lr=0.5)
    for step in kept.steps(total, net=net, opt=opt):
        opt.param_groups[0]["lr"] = 1 / (step + 1)
        yield step + 1, float(step + 1)


def test_a_logged_game_holds_every_loss_the_rate_and_ten_grids(tmp_path: Path) -> None:
    train("text2image", tmp_path / "out", log=tmp_path / "log")
    recipe = text2image.PROFILES["quick"]
    space = checkpoint.load(encoders.Space, "space")
    G, D, sample, extra, config = text2image.prepare(space, recipe, seed=1)
    steps = list(play(G, D, sample, config, extra=extra))
    events = read(tmp_path / "log" / "text2image")
    assert set(events.Tags()["scalars"]) == {
        *(f"losses/{name}" for name in steps[0].losses),
        "learning rate",
        "steps a second",
    }
    for name in steps[0].losses:
        found = curve(tmp_path / "log" / "text2image", f"losses/{name}")
        assert [n for n, _ in found] == [1, 2, 3, 4, 5, 6]
        assert [v for _, v in found] == pytest.approx([s.losses[name] for s in steps], rel=1e-6)
    rates = [v for _, v in curve(tmp_path / "log" / "text2image", "learning rate")]
    assert rates == pytest.approx([config.lr_at(i) for i in range(6)], rel=1e-6)
    assert all(v > 0 for _, v in curve(tmp_path / "log" / "text2image", "steps a second"))
    assert [e.step for e in events.Images("pictures")] == [1, 2, 3, 4, 5, 6]
    assert (events.Images("pictures")[0].width, events.Images("pictures")[0].height) >= (64, 32)


def test_a_log_changes_nothing_about_the_run(tmp_path: Path) -> None:
    for name in ("inpainting", "space"):
        with_log, _ = train(name, tmp_path / "a", log=tmp_path / "log")
        without, _ = train(name, tmp_path / "b")
        assert checkpoint.verify(with_log) == checkpoint.verify(without)
    assert [n for n, _ in curve(tmp_path / "log" / "inpainting" / "alone", "losses/l1")] == [1, 2, 3, 4]
    assert [n for n, _ in curve(tmp_path / "log" / "inpainting", "losses/g")] == [1, 2, 3]
    assert [n for n, _ in curve(tmp_path / "log" / "space", "losses/loss")] == [1, 2, 3, 4, 5, 6]


def test_a_long_run_is_thinned_to_means(tmp_path: Path) -> None:
    kept = Kept()
    runs.Runs("count", log=tmp_path, say=lambda line: None).play_out(counting(2503, kept), kept, 2503)
    found = curve(tmp_path / "count", "losses/loss")
    assert len(found) == 835 and found[0] == (3, 2.0) and found[1] == (6, 5.0) and found[-1] == (2503, 2503.0)
    assert curve(tmp_path / "count", "learning rate")[1] == (6, pytest.approx(1 / 6))


def test_speed_is_told_where_several_steps_are_played_at_once(tmp_path: Path) -> None:
    """Eight steps in two seconds, and each is told of afterwards: four steps a second, and no spike."""
    log = runs.Log(tmp_path, 32)
    for number in range(1, 33):
        played = -(-number // 8) * 8
        log.add(number, {"g": 1.0}, 0.1, played, played / 4)
    log.close()
    assert [v for _, v in curve(tmp_path, "steps a second")] == [4.0, 4.0, 4.0]


def test_a_resumed_run_appends_and_what_was_after_its_save_is_hidden(tmp_path: Path) -> None:
    quiet: Any = lambda line: None  # noqa: E731
    kept = Kept()
    run = runs.Runs("count", out=tmp_path, log=tmp_path / "log", say=quiet)
    part = counting(20, kept)

    def cut() -> Iterator[tuple[int, float]]:
        for number, loss in part:
            if number == 7:
                kept.save(tmp_path / "count.state.safetensors")
            if number == 12:
                raise RuntimeError("killed")  # steps 8 to 11 are in the log and in no state
            yield number, loss

    with pytest.raises(RuntimeError, match="killed"):
        run.play_out(cut(), kept, 20)
    assert [n for n, _ in curve(tmp_path / "log" / "count", "losses/loss")] == list(range(1, 12))
    again = Kept()
    next_second()

    def other() -> Iterator[tuple[int, float]]:
        for number, loss in counting(20, again):
            yield number, -loss

    run = runs.Runs("count", out=tmp_path, log=tmp_path / "log", say=quiet, resume=True)
    run.play_out(other(), again, 20)
    found = curve(tmp_path / "log" / "count", "losses/loss")
    assert sorted(found) == [(n, n if n <= 7 else -n) for n in range(1, 21)]
    run.forget()
    next_second()
    fresh = Kept()
    runs.Runs("count", out=tmp_path, log=tmp_path / "log", say=quiet).play_out(counting(5, fresh), fresh, 5)
    assert curve(tmp_path / "log" / "count", "losses/loss") == [(n, n) for n in range(1, 6)], "in the old one's place"


def test_an_interrupted_training_appends_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train("text2image", tmp_path / "whole", log=tmp_path / "log" / "whole")
    with monkeypatch.context() as cut:
        in_step(cut, 7, interrupt)
        with pytest.raises(KeyboardInterrupt):
            train("text2image", tmp_path / "cut", log=tmp_path / "log" / "cut")
    next_second()
    train("text2image", tmp_path / "cut", log=tmp_path / "log" / "cut", resume=True)
    whole, both = (curve(tmp_path / "log" / k / "text2image", "losses/g") for k in ("whole", "cut"))
    assert whole == both and len(whole) == 6


def test_without_the_package_nothing_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = builtins.__import__

    def absent(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("tensorboard"):
            raise ImportError(f"No module named {name!r}")
        return usual(name, *args, **more)

    for name in [n for n in sys.modules if n.startswith(("tensorboard", "torch.utils.tensorboard"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", absent)
    in_step(monkeypatch, 1, lambda: pytest.fail("trained"))
    command = ["train", "space", "--profile", "quick", "--out", str(tmp_path / "out"), "--log", str(tmp_path / "log")]
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert 'pip install "mmcourse[log]"' in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert cli.main(["train", "all", *command[2:]]) == 2 and list(tmp_path.iterdir()) == []


def test_what_is_shown_is_the_averages_of_the_same_noise(rng: torch.Generator) -> None:
    class Ask(nn.Module):
        """Draws its noise' first number and what it is told."""

        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(1))

        def forward(self, z: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
            return self.gain * torch.tanh(z[:, :1] + cond).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)

    state = State.start(Ask(), nn.Linear(1, 1), TrainConfig(z=2))

    def sample(g: torch.Generator, step: int) -> Batch:
        return Batch(torch.zeros(20, 3, 8, 8), torch.randn(20, 1, generator=g))

    one, two = runs.drawn(state, sample), runs.drawn(state, sample)
    assert one.shape == (16, 3, 8, 8) and torch.equal(one, two) and 0 <= one.min() < 0.2 < 0.8 < one.max() <= 1
    with torch.no_grad():
        state.ema.gain.zero_()
    assert torch.equal(runs.drawn(state, sample), torch.full((16, 3, 8, 8), 0.5))
    G, D, damage, _, config = inpainting.prepare(repairs.tiny("inpainting"))
    shown = runs.drawn(State.start(G, D, config), damage)
    assert shown.shape == (4, 3, 32, 32)
