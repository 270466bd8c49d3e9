"""``mmcourse train`` under torchrun: two processes write the one checkpoint that one process writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from test_training_resume import in_step, interrupt, tiny, train  # noqa: F401  (tiny: its recipes, for each test here)

from mmcourse import checkpoint, ranks, text2image
from mmcourse.course import cli, training

COMMAND = """
import sys
import pytest
sys.path.insert(0, {tests!r})
import test_training_resume as small
from mmcourse.course import cli
with pytest.MonkeyPatch.context() as patch:
    small.tiny.__wrapped__(patch)
    sys.exit(cli.main(sys.argv[1:]))
"""


def torchrun(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    script = folder / "command.py"
    script.write_text(COMMAND.format(tests=str(ROOT / "tests")))
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run([*start, *words], env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("name", "kind", "at"), [("text2image", text2image.Generator, 8)])
def test_a_run_that_one_process_began_is_ended_by_two_as_one_would(
    name: str, kind: Any, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = train(name, tmp_path / "whole")
    with monkeypatch.context() as cut:
        in_step(cut, at, interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(name, tmp_path / "two")
    words = ["train", name, "--profile", "quick", "--seed", "1", "--out", str(tmp_path / "two")]
    done = torchrun(tmp_path, *words, "--resume", "--tensorboard", str(tmp_path / "log"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("goes on after step") == done.stdout.count("wrote ") == 1, "one of them speaks"
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == [f"{name}.json", f"{name}.safetensors"]
    assert len(list((tmp_path / "log" / name).iterdir())) == 1, "and one writes a log"
    one, two = (checkpoint.load(kind, path).state_dict() for path in (whole, tmp_path / "two" / name))
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
