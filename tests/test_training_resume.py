"""``mmcourse train``, stopped: every model goes on to the weights of a run that never was; all of them in one night."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import test_training_hearing as ears
import test_training_pairs as emoji
import test_training_repairs as repairs
import torch
from conftest import ROOT

from mmcourse import (
    captioned,
    cgan,
    checkpoint,
    emojis,
    encoders,
    gan,
    hearing,
    image2image,
    inpainting,
    judge,
    keep,
    metrics,
    pictures,
    retrieval,
    runtime,
    speech,
    text2image,
)
from mmcourse.course import cli, runs, training, training_all, training_pairs
from mmcourse.inpainting import Repairers
from mmcourse.keep import Kept
from mmcourse.train import State, TrainConfig

GAME = TrainConfig(steps=6, batch=4, z=8, gamma=0.1, ema=0.9, reg_every=2)
RECIPES: list[tuple[dict[str, Any], Any]] = [
    (gan.PROFILES, gan.Recipe(width=4, d_width=4, config=GAME)),
    (cgan.PROFILES, cgan.Recipe(width=4, d_width=4, config=GAME)),
    (image2image.PROFILES, image2image.Recipe(width=4, alone=5, config=GAME)),
    (encoders.PROFILES, encoders.SpaceConfig(steps=6, batch=6, warm_up=2)),
    (text2image.PROFILES, text2image.Recipe(width=8, mapping=8, captions=100, config=replace(GAME, z=16))),
    (inpainting.PROFILES, repairs.tiny("inpainting")),
    (inpainting.PHOTOGRAPHS, repairs.tiny("inpainting_photographs")),
    (inpainting.GUIDED, repairs.tiny("inpainting_text")),
    (hearing.PROFILES, ears.TINY),
    (hearing.SPEECH, ears.SMALL),
    (captioned.PROFILES, emoji.TINY),
    (training.STEPS["judge"], 5),
    (training.STEPS["features"], 5),
    (training_pairs.FINDER_STEPS, 4),
    (training_pairs.HOLES, (4, 8)),
]
STUBS: list[tuple[Any, str, Any]] = [
    (judge, "judge_report", {"train": 0.5}),
    (training, "measure_text2image", {"seen": {"model": {"all": 0.25}}}),
    (training, "measure_grey", {"frechet": 20.0, "accuracy": 0.5}),
    (training, "measure_inpainting_text", {"seen": {"right": 0.5}}),
    (training, "measure_ear", {"seen": {"sound": {"all": 0.5}}}),
    (training, "measure_spoken", {"drawn": 0.5, "n": 1}),
    (encoders, "space_report", {"held_out_picture_to_text": 0.5}),
    (image2image, "measure", {"model": {"l1": 0.5}}),
    (metrics, "measure_repair", {"box": {"psnr": 10.0}}),
    (training_pairs, "emoji_figures", {"held_out": {k: {"model": {"r1": 0.5, "r5": 1.0}} for k in ("en", "zh")}}),
    (training_pairs, "space_figures", {"held_out": {"en": {"r1": 0.5}}}),
    (training_pairs, "hole_figures", {}),
    (retrieval, "found_at", {"r1": 0.5}),
]  # fmt: skip


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny recipes, data that is always there, and figures that take no time: the weights are what is looked at."""
    for table, recipe in RECIPES:
        monkeypatch.setitem(table, "quick", recipe)
    for home, name, figures in STUBS:
        monkeypatch.setattr(home, name, lambda *args, figures=figures, **more: figures)
    monkeypatch.setattr(pictures, "labelled", lambda name, split="train", **more: pictures.digits(split))
    monkeypatch.setattr(speech, "spoken_digits", lambda split: ears.clips(20, seed=len(split)))
    monkeypatch.setattr(emojis, "emoji_set", lambda *args, **more: emoji.drawings())


def train(name: str, out: Path, **more: Any) -> tuple[Path, list[str]]:
    said: list[str] = []
    usual: dict[str, Any] = {"profile": "quick", "seed": 1, "say": said.append}
    return training.train(name, out=out, **{**usual, **more}), said


def in_step(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], None]) -> None:
    """Do something in the middle of a step: before the ``number``-th gradient of the whole training is taken."""
    taken: list[int] = []

    def watched(usual: Any) -> Any:
        def gradient(*args: Any, **more: Any) -> Any:
            taken.append(1)
            if len(taken) == number:
                act()
            return usual(*args, **more)

        return gradient

    monkeypatch.setattr(torch.Tensor, "backward", watched(torch.Tensor.backward))
    monkeypatch.setattr(torch.autograd, "grad", watched(torch.autograd.grad))


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


# name, the gradient before which it is stopped, the file that then lies there
CUTS = [
    ("judge", 3, "judge.state"),
    ("features", 3, "features.state"),
    ("gan", 6, "gan.state"),
    ("cgan", 7, "cgan.state"),
    ("outline2picture", 3, "outline2picture.alone.state"),
    ("outline2picture", 9, "outline2picture.state"),
    ("space", 4, "space.state"),
    ("text2image", 6, "text2image.state"),
    ("inpainting", 2, "inpainting.alone.state"),
    ("inpainting", 7, "inpainting.state"),
    ("inpainting_photographs", 6, "inpainting_photographs.state"),
    ("inpainting_text", 8, "inpainting_text.state"),
    ("hearing", 2, "hearing.state"),
    ("hearing_digits", 2, "hearing_digits.written.state"),
    ("hearing_digits", 6, "hearing_digits.state"),
    ("emoji_finder", 2, "emoji_finder.state"),
    ("emoji_space", 3, "emoji_space.state"),
    ("emoji", 3, "emoji.warm_up.state"),
    ("emoji", 8, "emoji.state"),
    ("emoji_inpainting", 2, "emoji_inpainting.state"),
]


def test_every_model_is_cut_at_least_once() -> None:
    assert {name for name, *_ in CUTS} == set(training.NAMES) == set(training_all.MAIN)


@pytest.mark.parametrize(("name", "at", "file"), CUTS)
def test_an_interrupted_training_goes_on_to_the_same_weights(
    name: str, at: int, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in ("emoji", "emoji_inpainting"):
        train("emoji_space", tmp_path / "whole")
        train("emoji_space", tmp_path / "cut")
    whole, _ = train(name, tmp_path / "whole")
    with monkeypatch.context() as cut:
        in_step(cut, at, interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(name, tmp_path / "cut")
    left = [p.name for p in runs.unfinished(name, tmp_path / "cut")]
    assert f"{file}.safetensors" in left and not (tmp_path / "cut" / f"{name}.safetensors").exists()
    with pytest.raises(ValueError, match="an unfinished run lies there. Go on with --resume"):
        train(name, tmp_path / "cut")
    random.seed(9)
    torch.manual_seed(9)  # nothing may hang on what this process has drawn
    done, said = train(name, tmp_path / "cut", resume=True)
    assert checkpoint.verify(done) == checkpoint.verify(whole), said
    assert any("goes on after step" in line for line in said)
    assert runs.unfinished(name, tmp_path / "cut") == []
    one, other = (checkpoint.card(path) for path in (whole, done))
    assert one["steps"] == other["steps"] and one["recipe"] == other["recipe"]


@pytest.mark.parametrize(("name", "at"), [("space", 4), ("inpainting", 7), ("emoji", 4)])
def test_a_training_that_was_killed_goes_on_from_its_last_save(
    name: str, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is saved at the end, and the step is cut in two; what lies there is some steps old."""

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    for folder in ("whole", "cut"):
        train("emoji_space", tmp_path / folder)
    whole, _ = train(name, tmp_path / "whole")
    monkeypatch.setattr(runs, "EVERY", 0.0)
    with monkeypatch.context() as cut:
        in_step(cut, at, kill)
        with pytest.raises(Killed):
            train(name, tmp_path / "cut")
    assert runs.unfinished(name, tmp_path / "cut") != []
    done, _ = train(name, tmp_path / "cut", resume=True)
    assert checkpoint.verify(done) == checkpoint.verify(whole)


SCRIPT = """
import os, signal, sys
from pathlib import Path
from mmcourse import encoders
from mmcourse.course import runs, training
encoders.PROFILES["quick"] = encoders.SpaceConfig(steps=40, batch=6, warm_up=2)
runs.EVERY = 0.0
def say(line):
    if "step 20 of 40" in line and "killed" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
training.train("space", profile="quick", seed=1, out=Path(sys.argv[1]), resume="resume" in sys.argv, say=say)
"""


def test_kill_9(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoders.PROFILES, "quick", encoders.SpaceConfig(steps=40, batch=6, warm_up=2))
    whole, _ = train("space", tmp_path / "whole")
    shot = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "cut"), "killed"], cwd=ROOT, env=_one_thread())
    assert shot.returncode == -signal.SIGKILL
    assert Kept({}, g=torch.Generator()).load(tmp_path / "cut" / "space.state.safetensors").step == 19
    done, _ = train("space", tmp_path / "cut", resume=True)
    if torch.get_num_threads() == 1:
        assert checkpoint.verify(done) == checkpoint.verify(whole)
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == ["space.json", "space.safetensors"]


def _one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_asked_to_end_by_the_system_it_is_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as cut:
        in_step(cut, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt):
            train("space", tmp_path)
    assert Kept().load(tmp_path / "space.state.safetensors").step == 3, "the step was finished"
    assert signal.getsignal(signal.SIGTERM) is usual


def test_a_run_that_was_finished_but_not_measured_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **more: Any) -> Any:
        raise RuntimeError("no judge")

    for name, home, measure in (
        ("space", encoders, "space_report"),
        ("text2image", training, "measure_text2image"),
        ("judge", judge, "judge_report"),
    ):
        whole, _ = train(name, tmp_path / "whole")
        with monkeypatch.context() as broken:
            broken.setattr(home, measure, fails)
            with pytest.raises(RuntimeError, match="no judge"):
                train(name, tmp_path / "cut")
        with monkeypatch.context() as still:
            in_step(still, 1, lambda: pytest.fail("trained again"))
            done, _ = train(name, tmp_path / "cut", resume=True)
        assert checkpoint.verify(done) == checkpoint.verify(whole)


def test_another_runs_state_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, at in (("space", 3), ("text2image", 3)):
        with monkeypatch.context() as cut:
            in_step(cut, at, interrupt)
            with pytest.raises(KeyboardInterrupt):
                train(name, tmp_path)
    with pytest.raises(ValueError, match=r"another seed \(1, now 2\). Go on with the same, or remove the file"):
        train("space", tmp_path, seed=2, resume=True)
    with pytest.raises(ValueError, match="another profile"):
        train("space", tmp_path, profile="cpu", resume=True)
    with pytest.raises(ValueError, match=r"another .*seed \(1, now 2\)"):
        train("text2image", tmp_path, seed=2, resume=True)
    with monkeypatch.context() as longer:
        longer.setitem(encoders.PROFILES, "quick", encoders.SpaceConfig(steps=7, batch=6, warm_up=2))
        with pytest.raises(ValueError, match="another recipe"):
            train("space", tmp_path, resume=True)
    (tmp_path / "text2image.state.safetensors").rename(tmp_path / "gan.state.safetensors")
    with pytest.raises(ValueError, match=r"another .*name \(text2image, now gan\)"):
        train("gan", tmp_path, resume=True)
    (tmp_path / "space.state.safetensors").rename(tmp_path / "judge.state.safetensors")
    with pytest.raises(ValueError, match=r"name \(space, now judge\)"):
        train("judge", tmp_path, resume=True)
    with pytest.raises(ValueError, match="space: there is no unfinished run"):
        train("space", tmp_path, resume=True)
    (tmp_path / "cgan.state.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="not a readable training state"):
        train("cgan", tmp_path, resume=True)
    assert (tmp_path / "cgan.state.safetensors").read_bytes() == b"half"
    assert not list(tmp_path.glob("*.json"))


def test_a_state_on_another_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as cut:
        in_step(cut, 5, interrupt)
        with pytest.raises(KeyboardInterrupt):
            train("text2image", tmp_path)
    train("space", tmp_path)  # now another one lies beside it
    with pytest.raises(ValueError, match="another space"):
        train("text2image", tmp_path, resume=True)


# ---- the state itself


def test_kept_holds_networks_optimisers_and_both_kinds_of_random_source(tmp_path: Path) -> None:
    def start() -> tuple[torch.nn.Module, torch.optim.Optimizer, torch.Generator, random.Random]:
        torch.manual_seed(3)
        net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
        return net, torch.optim.AdamW(net.parameters(), lr=0.1), torch.Generator().manual_seed(1), random.Random(1)

    def loop(kept: Kept, net: Any, opt: Any, g: torch.Generator, rng: random.Random) -> Any:
        for step in kept.steps(9, net=net, opt=opt, g=g):
            x = torch.randn(4, 3, generator=g) * rng.gauss(1, 0.1)
            opt.zero_grad()
            net(x).square().sum().backward()
            opt.step()
            yield step

    whole = start()
    assert list(loop(Kept(rng=whole[3]), *whole)) == list(range(9))
    first = start()
    kept = Kept({"seed": 1}, rng=first[3])
    for step in loop(kept, *first):
        if step == 3:
            kept.save(tmp_path / "run.safetensors")
    again = start()
    rest = Kept({"seed": 1}, rng=again[3]).load(tmp_path / "run.safetensors")
    assert list(loop(rest, *again)) == [4, 5, 6, 7, 8]
    for a, b in zip(whole[0].state_dict().values(), again[0].state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert whole[3].getstate() == again[3].getstate() and torch.equal(whole[2].get_state(), again[2].get_state())
    assert not torch.equal(first[2].get_state(), start()[2].get_state())
    with pytest.raises(ValueError, match="another seed"):
        Kept({"seed": 2}).load(tmp_path / "run.safetensors")
    small = (torch.nn.Linear(2, 2), *start()[1:])
    unfit = Kept({"seed": 1}, rng=random.Random()).load(tmp_path / "run.safetensors")
    with pytest.raises(ValueError, match="does not fit this run at 'net'"):
        next(loop(unfit, *small))
    with pytest.raises(TypeError, match="odd is a str"):
        Kept(odd="what").save(tmp_path / "odd.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]


def test_moments_lie_in_memory_as_their_weights_do(tmp_path: Path) -> None:
    """A fused Adam would otherwise move each weight by another one's moments, and say nothing."""

    def start() -> tuple[torch.nn.Module, torch.optim.Adam]:
        torch.manual_seed(1)
        net = torch.nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
        return net, torch.optim.Adam(net.parameters(), lr=0.1, fused=True)

    def move(net: torch.nn.Module, opt: torch.optim.Adam, step: int) -> None:
        opt.zero_grad()
        x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        net(x.to(memory_format=torch.channels_last)).square().sum().backward()
        for p in net.parameters():
            assert p.grad is not None
            p.grad = torch.empty_like(p).copy_(p.grad)
        opt.step()

    net, opt = start()
    for step in range(3):
        move(net, opt, step)
    kept = Kept(net=net, opt=opt)
    kept.save(tmp_path / "a.safetensors")
    other, again = start()
    assert list(Kept().load(tmp_path / "a.safetensors").steps(0, net=other, opt=again)) == []
    move(net, opt, 3)
    move(other, again, 3)
    torch.testing.assert_close(net.weight, other.weight, rtol=0, atol=0)


def test_both_kinds_of_state_know_each_other_apart(tmp_path: Path) -> None:
    state = State.start(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1), GAME)
    state.save(tmp_path / "a.safetensors")
    Kept(g=torch.Generator()).save(tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="another kind"):
        Kept().load(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="another kind"):
        state.load(tmp_path / "b.safetensors")
    keep.write(tmp_path / "c.safetensors", {"x": torch.zeros(1)}, {})
    with pytest.raises(ValueError, match="another kind"):
        state.load(tmp_path / "c.safetensors")


def test_ds_own_random_source_is_kept(tmp_path: Path) -> None:
    """D of lesson 14 draws the changes through which it sees; they go on where they were."""
    D: Any = torch.nn.Linear(1, 1)
    D.rng = torch.Generator().manual_seed(5)
    state = State.start(torch.nn.Linear(1, 1), D, GAME)
    torch.rand(7, generator=D.rng)
    state.save(tmp_path / "a.safetensors")
    drawn = torch.rand(3, generator=D.rng)
    torch.rand(11, generator=D.rng)
    state.load(tmp_path / "a.safetensors")
    assert torch.equal(torch.rand(3, generator=D.rng), drawn)


# ---- all of them


def test_a_whole_night_stops_goes_on_and_skips_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "all", "--profile", "quick", "--seed", "1", "--out", str(tmp_path / "cut")]
    with monkeypatch.context() as cut:
        in_step(cut, 40, interrupt)  # in one of the first
        assert cli.main(command) == 130
    (begun,) = {name for name in training.NAMES if runs.unfinished(name, tmp_path / "cut")}
    finished = [name for name in training.NAMES if (tmp_path / "cut" / f"{name}.json").exists()]
    assert finished and finished == list(training.NAMES[: training.NAMES.index(begun)])
    capsys.readouterr()
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert f"{begun}: goes on after step" in said
    assert [name for name in training.NAMES if f"{name}: lies there already" in said] == finished
    assert "text2image: starts from" in said and str(tmp_path / "cut" / "space.safetensors") in said
    assert sorted(p.stem for p in (tmp_path / "cut").glob("*.safetensors")) == sorted(training.NAMES)
    cards = {name: checkpoint.card(tmp_path / "cut" / name) for name in training.NAMES}
    space = checkpoint.verify(tmp_path / "cut" / "space")
    assert cards["text2image"]["space"] == cards["inpainting_text"]["space"] == cards["hearing"]["space"] == space
    assert cards["hearing"]["generator"] == cards["text2image"]["digest"]
    assert cards["emoji"]["space"] == checkpoint.verify(tmp_path / "cut" / "emoji_space") != space
    lines = said.splitlines()[-len(training.NAMES) - 1 :]
    assert [line.split()[0] for line in lines[:-1]] == list(training.NAMES) and lines[-1].startswith("in all")
    assert "all right, seen: 25.0 %" in said and "(was there)" in lines[0] and "a box, in the hole: 10.0 dB" in said
    # the same command has nothing left to do, and each model is the one that its own command trains
    with monkeypatch.context() as still:
        in_step(still, 1, lambda: pytest.fail("trained again"))
        assert cli.main(command) == 0
    for name in ("judge", begun):
        alone, _ = train(name, tmp_path / "alone")
        assert checkpoint.verify(alone) == cards[name]["digest"]


def test_what_starts_from_a_model_that_changed_is_trained_again(tmp_path: Path) -> None:
    train("space", tmp_path)
    train("text2image", tmp_path)
    assert training_all.found("text2image", "quick", 1, tmp_path) is not None
    for name, profile, seed in (("space", "quick", 2), ("space", "cpu", 1), ("text2image", "cpu", 1)):
        assert training_all.found(name, profile, seed, tmp_path) is None
    train("space", tmp_path, seed=2)
    assert training_all.found("text2image", "quick", 1, tmp_path) is None
    path = tmp_path / "space.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    assert training_all.found("space", "quick", 2, tmp_path) is None, "damaged"


def test_what_lacks_its_data_is_named_and_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*args: Any, **more: Any) -> Any:
        raise pictures.DataMissing("MNIST is not on this machine")

    monkeypatch.setattr(pictures, "labelled", missing)
    monkeypatch.setattr(training, "NAMES", ("judge", "gan", "space"))
    assert cli.main(["train", "all", "--profile", "quick", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "gan: skipped. MNIST is not on this machine" in said
    assert sorted(p.stem for p in tmp_path.glob("*.safetensors")) == ["judge", "space"]
    assert any(line.startswith("gan ") and "MISSING" in line for line in said.splitlines())


def test_an_ear_needs_models_of_its_space(tmp_path: Path) -> None:
    train("space", tmp_path)
    with pytest.raises(ValueError, match="mmcourse train text2image --out"):
        train("hearing", tmp_path)
    train("text2image", tmp_path)
    with pytest.raises(ValueError, match="mmcourse train inpainting_text --out"):
        train("hearing", tmp_path)
    train("inpainting_text", tmp_path)
    path, said = train("hearing", tmp_path)
    assert said[:3] == [f"hearing: starts from {tmp_path / n}.safetensors" for n in training.NEEDS["hearing"]]
    assert checkpoint.card(path)["inpainter"] == checkpoint.verify(tmp_path / "inpainting_text")


def test_the_order_is_that_of_the_needs() -> None:
    for name, others in training.NEEDS.items():
        assert all(training.NAMES.index(other) < training.NAMES.index(name) for other in others)
    assert set(training.IN_CARD) >= {other for others in training.NEEDS.values() for other in others}


def test_two_u_nets_are_trained_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are the runs' averages: by L1 alone from the first weights, and the game, which starts from them too."""
    path, said = train("outline2picture", tmp_path)
    pair, card = checkpoint.load(image2image.Translators, path), checkpoint.card(path)
    recipe = image2image.PROFILES["quick"]
    assert card["steps"] == {"alone": 5, "game": 6} and card["recipe"] == json.loads(json.dumps(recipe.describe()))
    assert any("outline2picture, alone: step 5 of 5, l1" in x for x in said) and any(
        "game: step 6 of 6" in x for x in said
    )
    G, D, sample, extra, config = image2image.prepare(recipe, seed=1)
    *_, alone = image2image.fit_l1(G, sample, replace(config, steps=5))
    assert repairs.same(alone.state.ema, pair.alone)
    from mmcourse.train import play

    G, D, sample, extra, config = image2image.prepare(recipe, seed=1)
    *_, game = play(G, D, sample, config, extra=extra)
    assert repairs.same(game.state.ema, pair.game)


def test_both_repairers_of_a_resumed_run_are_the_whole_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = train("inpainting", tmp_path / "whole")
    with monkeypatch.context() as cut:
        in_step(cut, 6, interrupt)
        with pytest.raises(KeyboardInterrupt):
            train("inpainting", tmp_path / "cut")
    done, _ = train("inpainting", tmp_path / "cut", resume=True)
    a, b = (checkpoint.load(Repairers, path) for path in (whole, done))
    assert repairs.same(a.alone, b.alone) and repairs.same(a.game, b.game) and not repairs.same(a.alone, a.game)


def test_a_second_ctrl_c_is_not_kept_waiting_and_keeps_no_half_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        interrupt()
        interrupt()

    whole, _ = train("space", tmp_path / "whole")
    with monkeypatch.context() as cut:
        in_step(cut, 4, twice)
        with pytest.raises(KeyboardInterrupt):
            train("space", tmp_path / "soon")
    assert Kept({}).load(tmp_path / "soon" / "space.state.safetensors").step == 4, "both are one"
    monkeypatch.setattr(runs, "EVERY", 0.0)
    monkeypatch.setattr(runs, "PATIENCE", 0.0)
    with monkeypatch.context() as cut:
        in_step(cut, 4, twice)
        with pytest.raises(KeyboardInterrupt):
            train("space", tmp_path / "cut")
    assert Kept({}).load(tmp_path / "cut" / "space.state.safetensors").step == 3
    done, _ = train("space", tmp_path / "cut", resume=True)
    assert checkpoint.verify(done) == checkpoint.verify(whole)


def test_shipped_is_the_profile_in_which_each_shipped_model_was_trained() -> None:
    for name in training.NAMES:
        assert checkpoint.card(name)["profile"] == training.as_shipped(name, "shipped"), name
        assert training.as_shipped(name, "quick") == "quick"


def test_the_shipped_cards_say_enough_to_be_known_again() -> None:
    """So ``train all --profile shipped --out checkpoints`` would train none of them anew."""
    for name in training.NAMES:
        assert training_all.found(name, "shipped", 0, runtime.checkpoint_dir()), name
