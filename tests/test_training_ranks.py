"""``mmcourse train`` under torchrun: two processes write the one checkpoint that one process writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from test_training_resume import tiny, train  # noqa: F401  (tiny: its recipes, for each test here)

from mmcourse import checkpoint, ranks, text2image
from mmcourse.course import cli, training

COMMAND = """
import os, sys
import pytest
sys.path.insert(0, {tests!r})
import test_training_resume as small
from mmcourse.course import cli
with pytest.MonkeyPatch.context() as patch:
    small.tiny.__wrapped__(patch)
    if os.environ["RANK"] == os.environ.get("ASKED"):
        small.in_step(patch, 8, small.interrupt)
    sys.exit(cli.main(sys.argv[1:]))
"""


def torchrun(folder: Path, *words: str, asked: str = "") -> subprocess.CompletedProcess[str]:
    """A command by two processes; ``asked`` is the one that is asked to stop, in the middle of its third step."""
    script = folder / "command.py"
    script.write_text(COMMAND.format(tests=str(ROOT / "tests")))
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "ASKED": asked}
    return subprocess.run([*start, *words], env=env, capture_output=True, text=True, timeout=120)


def test_two_processes_stop_together_go_on_and_end_as_one_would(tmp_path: Path) -> None:
    name = "text2image"
    whole, _ = train(name, tmp_path / "whole")
    words = ["train", name, "--profile", "quick", "--seed", "1", "--out", str(tmp_path / "two")]
    words += ["--tensorboard", str(tmp_path / "log")]
    cut = torchrun(tmp_path, *words, asked="1")  # the one that keeps nothing itself
    assert cut.returncode != 0
    assert cut.stdout.count(f"{name}: stopped after step 3 of 6; go on with --resume") == 1, cut.stderr[-3000:]
    assert [p.name for p in (tmp_path / "two").iterdir()] == [f"{name}.state.safetensors"]
    done = torchrun(tmp_path, *words, "--resume")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("goes on after step 3") == done.stdout.count("wrote ") == 1, "one of them speaks"
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == [f"{name}.json", f"{name}.safetensors"]
    assert len(list((tmp_path / "log" / name).iterdir())) == 2, "and one writes the log, in two parts"
    one, two = (checkpoint.load(text2image.Generator, path).state_dict() for path in (whole, tmp_path / "two" / name))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=2e-3, atol=5e-4, msg=key)
    a, b = (checkpoint.card(path) for path in (whole, tmp_path / "two" / name))
    assert a["steps"] == b["steps"] == 6 and a["recipe"] == b["recipe"]


def test_what_one_process_trains_is_refused_with_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ranks, "world", lambda: 2)
    monkeypatch.setattr(ranks, "stop", lambda: None)
    for name in sorted(set(training.NAMES) - set(training.SHARED)):
        assert cli.main(["train", name, "--profile", "quick", "--out", str(tmp_path)]) == 2
        assert f"{name} is trained by one process; start it without torchrun" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["train", "all", "--profile", "quick", "--out", str(tmp_path)]) == 2
    assert "train all: is run by one process" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
