"""Two processes that share each batch learn what one process learns from the whole of it (gloo, on the CPU)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT

from mmcourse import ranks
from mmcourse.train import Batch

STEPS = 9  # the penalty falls due at the first and the ninth
PLAYED = """
import sys, torch
from dataclasses import replace
from mmcourse import checkpoint, inpainting, ranks, text2image
from mmcourse.data import vocabulary
from mmcourse.encoders import Space
from mmcourse.train import State, play

torch.set_num_threads(1)
device = ranks.start("cpu")
space = checkpoint.load(Space, "space")
short = dict(steps={steps}, batch=8)
recipe = replace(text2image.PROFILES["gpu"], captions=200, pairs=2, width=12)
recipe = replace(recipe, config=replace(recipe.config, **short))
G, D, sample, extra, config = text2image.prepare(space, recipe)
state = State.start(G, D, config)
losses = [step.losses for step in play(G, D, sample, config, extra=extra, state=state)]
recipe = replace(inpainting.GUIDED["quick"], captions=200, width=12)
recipe = replace(recipe, config=replace(recipe.config, **short), alone=replace(recipe.alone, **short))
encode = text2image.encoder(space, vocabulary())
G, D, sample, extra, config = inpainting.prepare(recipe, space=space, encode=encode)
losses += [step.losses for step in inpainting.fit_hole(G, sample, recipe.alone)]
losses += [step.losses for step in inpainting.play_repair(G, D, sample, config, extra=extra)]
played = {{"losses": losses, "ema": state.ema.state_dict(), "D": D.state_dict()}}
torch.save(played, f"{{sys.argv[1]}}.{{ranks.rank()}}")
ranks.stop()
"""


def run(folder: Path, processes: int) -> list[dict]:
    script = folder / "played.py"
    script.write_text(PLAYED.format(steps=STEPS))
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*start, str(script), str(folder / "out")], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"out.{i}", weights_only=True) for i in range(processes)]


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (one,), two = run(tmp_path / "one", 1), run(tmp_path / "two", 2)
    assert len(one["losses"]) == 3 * STEPS
    for other in two:
        for i, (a, b) in enumerate(zip(one["losses"], other["losses"], strict=True)):
            assert set(a) == set(b)
            for name in a:
                assert b[name] == pytest.approx(a[name], rel=2e-3, abs=2e-4), (i, name)
        for kind in ("ema", "D"):
            for name, value in one[kind].items():
                torch.testing.assert_close(other[kind][name], value, rtol=2e-3, atol=5e-4, msg=f"{kind} {name}")
    assert all(torch.equal(two[0]["D"][k], two[1]["D"][k]) for k in two[0]["D"]), "both hold the same weights"
    assert any(a["penalty"] > 0 for a in one["losses"] if "penalty" in a)


def test_alone_everything_stays_as_it_is() -> None:
    batch = Batch(torch.arange(6.0).view(3, 2))
    assert ranks.world() == 1 and ranks.rank() == 0 and ranks.start("cpu") == "cpu"
    assert ranks.share(batch) is batch and ranks.part(5, "pairs") == 5
    ranks.average([batch.real, None])
    assert torch.equal(batch.real, torch.arange(6.0).view(3, 2))
    ranks.stop()


def test_a_share_is_every_second_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "world", lambda: 2)
    monkeypatch.setattr(ranks, "rank", lambda: 1)
    real, cond = torch.arange(8.0).view(4, 2), torch.arange(4.0).view(4, 1)
    mine = ranks.share(Batch(real, cond))
    assert torch.equal(mine.real, real[[1, 3]]) and torch.equal(mine.cond, cond[[1, 3]]) and mine.wrong is None
    assert ranks.part(4, "pairs") == 2
    with pytest.raises(ValueError, match="a batch of 3 cannot be shared out evenly among 2 processes"):
        ranks.share(real[:3])
    with pytest.raises(ValueError, match="pairs: 3 cannot be shared out evenly among 2"):
        ranks.part(3, "pairs")


def test_more_processes_than_cards_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(device_count=lambda: 1))
    with pytest.raises(RuntimeError, match=r"process 2 on this machine, which has 1 CUDA card\(s\)"):
        ranks.start("cuda")
