"""The command line as a user meets it, bad input included."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image

from mmcourse.course import cli, sandbox, training


def test_generate_writes_a_picture_and_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompt = "a small red circle left of a large blue square"
    for name in ("a.png", "b.png"):
        assert cli.main(["generate", prompt, "--count", "8", "--seed", "3", "--out", str(tmp_path / name)]) == 0
    assert "8 pictures" in capsys.readouterr().out
    one, two = (Image.open(tmp_path / n).convert("RGB") for n in ("a.png", "b.png"))
    assert one.tobytes() == two.tobytes() and one.width > 8 * 32
    cli.main(["generate", prompt, "--count", "8", "--seed", "4", "--out", str(tmp_path / "c.png")])
    assert Image.open(tmp_path / "c.png").convert("RGB").tobytes() != one.tobytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a red elefant"], "'elefant'"),
        ([""], "looks like"),
        (["a red circle", "--out", "no/such/folder/grid.png"], "does not exist"),
        (["a red circle", "--out", "grid.xyz"], "expected a picture file"),
    ],
)
def test_generate_refuses_bad_input(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["generate", *words]) == 2
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", ["0", "-1", "257", "many"])
def test_generate_refuses_bad_counts(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["generate", "a red circle", "--count", count])
    assert stop.value.code == 2 and "from 1 to 256" in capsys.readouterr().err


def test_generate_notes_a_sentence_outside_the_grammar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["generate", "red", "--count", "1", "--out", str(tmp_path / "x.png")]) == 0
    assert "note: the words are known" in capsys.readouterr().err


def test_doctor_tells_and_notices_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in (
        "torch",
        "device",
        "emojis",
        "profile",
        "memory",
        "cache",
        "judge is intact",
        "space is intact",
        "text2image is intact",
    ):
        assert word in out, word
    monkeypatch.setattr(sandbox, "why_not", lambda: "user namespaces are forbidden.")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sys, "platform", "linux")
    assert cli.main(["doctor"]) == 0, "nothing that the lessons need"
    out = capsys.readouterr().out
    assert "nothing can be graded: user namespaces are forbidden." in out and "but grading cannot" in out
    monkeypatch.setattr(sandbox, "why_not", lambda: None)
    monkeypatch.setenv("MMCOURSE_EMOJI_FONT", str(tmp_path / "none.ttf"))
    assert cli.main(["doctor"]) == 0, "lesson 14 runs without a font"
    assert "none.ttf, where there is no file" in capsys.readouterr().out
    (tmp_path / "some.ttf").touch()
    monkeypatch.setenv("MMCOURSE_EMOJI_FONT", str(tmp_path / "some.ttf"))
    assert cli.main(["doctor"]) == 0
    assert f"drawn from {tmp_path / 'some.ttf'}" in capsys.readouterr().out
    assert cli.main(["doctor"]) == 0
    assert "you can grade" in capsys.readouterr().out
    for path in (ROOT / "checkpoints").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / "judge.safetensors"
    broken.write_bytes(broken.read_bytes()[:-9])
    (tmp_path / "space.safetensors").unlink()
    monkeypatch.setenv("MMCOURSE_CHECKPOINTS", str(tmp_path))
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "judge BAD" in out and "space BAD" in out and "text2image is intact" in out and "not well" in out


def test_a_generator_of_another_space_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (ROOT / "checkpoints").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    card = tmp_path / "text2image.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "space": "0" * 64}))
    monkeypatch.setenv("MMCOURSE_CHECKPOINTS", str(tmp_path))
    assert cli.main(["generate", "a red circle", "--out", str(tmp_path / "x.png")]) == 2
    assert "another space" in capsys.readouterr().err and not (tmp_path / "x.png").exists()


def test_train_text2image_writes_a_checkpoint_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mmcourse.checkpoint import card
    from mmcourse.course.shipped import load_painter

    assert cli.main(["train", "text2image", "--profile", "quick", "--out", str(tmp_path)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["text2image.json", "text2image.safetensors"]
    written = card(tmp_path / "text2image")
    assert written["profile"] == "quick" and written["steps"] > 0 and "mmcourse train text2image" in written["command"]
    assert load_painter(generator=str(tmp_path / "text2image")).draw(["a red circle"] * 2).shape == (2, 3, 32, 32)


def test_train_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "inpaintings", "--out", str(tmp_path)]) == 2
    assert "judge, features, gan, cgan, outline2picture, space, text2image" in capsys.readouterr().err
    assert cli.main(["train", "judge", "--resume", "--profile", "quick", "--out", str(tmp_path)]) == 2
    assert "judge: there is no unfinished run" in capsys.readouterr().err
    (tmp_path / "text2image.state.safetensors").write_bytes(b"half")
    assert cli.main(["train", "text2image", "--profile", "quick", "--out", str(tmp_path)]) == 2
    assert "--resume" in capsys.readouterr().err


def test_an_interrupted_training_is_kept_and_resumed_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmcourse import train as loop
    from mmcourse.checkpoint import verify

    assert cli.main(["train", "text2image", "--profile", "quick", "--out", str(tmp_path / "whole")]) == 0
    usual, calls = loop.update_ema, []

    def stop_once(*args: object) -> None:
        usual(*args)  # type: ignore[arg-type]
        calls.append(1)
        if len(calls) == 20:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop, "update_ema", stop_once)
    assert cli.main(["train", "text2image", "--profile", "quick", "--out", str(tmp_path / "cut")]) == 130
    assert [p.name for p in (tmp_path / "cut").iterdir()] == ["text2image.state.safetensors"]
    assert cli.main(["train", "text2image", "--profile", "quick", "--out", str(tmp_path / "cut"), "--resume"]) == 0
    assert verify(tmp_path / "cut" / "text2image") == verify(tmp_path / "whole" / "text2image")


def test_quick_trainings_of_the_others(tmp_path: Path) -> None:
    for name in ("judge", "space"):
        training.train(name, profile="quick", seed=0, out=tmp_path, say=lambda line: None)
        assert (tmp_path / f"{name}.json").is_file()


def test_build_check_passes_here() -> None:
    assert cli.main(["build", "--check"]) == 0


def test_the_installed_command_answers() -> None:
    out = subprocess.run([sys.executable, "-m", "mmcourse.course.cli", "--version"], capture_output=True, text=True)
    assert out.returncode == 0 and out.stdout.startswith("mmcourse 0.")
