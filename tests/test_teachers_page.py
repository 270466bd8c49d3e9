"""The page for teachers says what the commands do: its command lines, flags, files, limits and worked example hold."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shlex
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest
from conftest import ROOT

from mmcourse.course import cli, doctor, exercise, grade, release, report, sandbox

PAGE = (ROOT / "book" / "teachers.md").read_text(encoding="utf-8")
NAME = "90_shares"  # the page's own example; it needs no torch, so its sandbox starts fast
RIGHT = "def share_above(scores, limit):\n    return sum(s > limit for s in scores) / len(scores)"
WRONG = "def share_above(scores, limit):\n    return sum(s >= limit for s in scores) / len(scores)"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def command_lines() -> list[str]:
    text = "\n".join(blocks("bash") + blocks("console")).replace("\\\n", " ")
    lines = [line.strip().removeprefix("$ ") for line in text.splitlines()]
    return [line for line in lines if line.startswith("mmcourse ")]


def parser_of(command: str) -> argparse.ArgumentParser:
    (commands,) = [a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return commands.choices[command]


def flags_of(command: str) -> set[str]:
    return {word for action in parser_of(command)._actions for word in action.option_strings} - {"-h", "--help"}


def rows_of_flags() -> dict[str, str]:
    """Flag -> its explanation, from the table of the page."""
    return dict(re.findall(r"^\| `(--[\w-]+)[^`]*` \| (.+) \|$", PAGE, re.MULTILINE))


# ---- command lines


@pytest.mark.parametrize("line", command_lines())
def test_a_command_line_of_the_page_is_valid(line: str) -> None:
    try:
        args = cli._parser().parse_args(shlex.split(line)[1:])
    except SystemExit as error:
        pytest.fail(f"the command line does not parse ({error.code}): {line}")
    for name in {getattr(args, "assignment", None), getattr(args, "name", None)} - {None, NAME}:
        assert (ROOT / "exercises" / "source" / f"{name}.py").is_file()


def test_the_page_shows_the_commands_that_a_teacher_needs() -> None:
    assert {shlex.split(line)[1] for line in command_lines()} == {"doctor", "release", "grade"}
    shown = {word for line in command_lines() for word in shlex.split(line) if word.startswith("--")}
    assert {"--only", "--regrade", "--seed-file", "--format", "--scheduler"} <= shown


def test_every_flag_of_grade_is_explained_and_no_other() -> None:
    assert rows_of_flags().keys() == flags_of("grade")
    for flag, says in rows_of_flags().items():
        assert flag in parser_of("grade").format_help()
        assert len(says.split()) >= 5, f"{flag} is hardly explained: {says!r}"


def test_every_flag_that_prose_names_belongs_to_a_command() -> None:
    outside = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`(--[\w-]+)", outside))
    assert named <= flags_of("grade") | flags_of("release")


def test_every_format_is_named_with_the_file_that_it_writes() -> None:
    assert set(report.FORMATS) == {"csv", "canvas", "moodle", "gradescope"}
    for word in ("canvas", "moodle"):
        assert f"--format {word}" in PAGE and f"graded/gradebook_{word}.csv" in PAGE
    assert "--format gradescope" in PAGE and "graded/gradescope/STUDENT/results.json" in PAGE


# ---- facts that the page quotes


def test_the_limits_are_those_of_the_sandbox() -> None:
    limits = sandbox.Limits()
    (seconds,) = [f.default for f in dataclasses.fields(exercise.Item) if f.name == "seconds"]
    said = " ".join(PAGE.split())
    assert f"may run for {limits.cell_seconds:g} seconds and the calls of its function for {seconds:g}." in said
    assert f"{limits.memory_mb} MB of memory, {limits.processes} processes and {limits.file_mb} MB of files" in said


def test_the_gradebooks_first_line_is_the_real_one() -> None:
    assignment = exercise.load_assignment("09_text2image", ROOT)
    head = report.gradebook(grade.heading_of(assignment, True), []).splitlines()[0]
    assert any(head == block.strip() for block in blocks("text"))


def test_doctors_line_is_the_real_one() -> None:
    line = doctor._program("bubblewrap", (), "grading untrusted submissions", "apt install bubblewrap")
    assert any(line == block.strip() for block in blocks("text"))
    source = (ROOT / "mmcourse" / "course" / "doctor.py").read_text(encoding="utf-8")
    assert '"grading untrusted submissions", "apt install bubblewrap"' in source


def test_the_hubs_link_opens_the_handed_out_notebook() -> None:
    (link,) = [block.strip() for block in blocks("text") if block.startswith("https://")]
    parts = urlsplit(link)
    asked = {key: values[0] for key, values in parse_qs(parts.query, strict_parsing=True).items()}
    folder = asked["repo"].rsplit("/", 1)[1]
    assert parts.path.endswith("/hub/user-redirect/git-pull")
    assert asked["urlpath"] == f"lab/tree/{folder}/09_text2image.ipynb"
    assert "example.org" in parts.netloc and "example.org" in asked["repo"]


def test_nbgraders_source_files_exist() -> None:
    (pattern,) = re.findall(r"cp ~/mmcourse/(exercises/solutions/\S+)", PAGE)
    names = {path.name for path in ROOT.glob(pattern)}
    assert names == {"09_text2image.ipynb", "09_text2image.checks.json"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("canvas", "foxdora_4711_98765_09_text2image.ipynb"),
        ("moodle", "Dora Fox_12345_assignsubmission_file/"),
    ],
)
def test_the_platforms_names_are_read(kind: str, name: str) -> None:
    assert f"`{name}`" in PAGE
    shown = name.removesuffix(".ipynb").removesuffix("/")
    heading = grade.heading_of(exercise.load_assignment("09_text2image", ROOT), True)
    row = report.Row(shown, shown, name, "graded")
    last = (report.canvas if kind == "canvas" else report.moodle)(heading, [row]).splitlines()[-1]
    assert last.startswith("foxdora,4711," if kind == "canvas" else "Participant 12345,Dora Fox,")


# ---- the worked example, as a new teacher would do it


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the teacher's own with the page's two files in it."""
    root = tmp_path_factory.mktemp("own")
    parts = re.findall(r"^`(exercises/\S+\.py)`[^`]*```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in parts] == [f"exercises/source/{NAME}.py", f"exercises/checks/{NAME}.py"]
    for name, text in parts:
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_the_example_is_sound(course: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(course)
    (snippet,) = [block for block in blocks("python") if "problems(" in block]
    exec(compile(snippet, "teachers.md", "exec"), {})
    assert capsys.readouterr().out.strip() == "[]"


def test_the_hand_out_holds_what_the_page_says(course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(course)
    assert cli.main(["release", NAME, "--out", str(tmp_path / "handout")]) == 0
    named = {path.replace("09_text2image", NAME) for path in re.findall(r"^- `handout/(\S+)`", PAGE, re.MULTILINE)}
    files = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "handout").iterdir()}
    assert files.keys() == named
    assert not any("sum(score > limit" in text for text in files.values())


def hand_in(handed_out: Path, folder: Path, answers: dict[str, str | None]) -> None:
    folder.mkdir()
    for student, source in answers.items():
        book = nbformat.read(handed_out, 4)
        for cell in book.cells:
            if cell.id == "share_above" and source:
                cell.source = source
            if student == "bare":
                cell.metadata.clear()
                del cell["id"]
        book.nbformat_minor = 4 if student == "bare" else book.nbformat_minor
        (folder / f"{student}.ipynb").write_text(json.dumps(book), encoding="utf-8")
    (folder / "broken.ipynb").write_text('{"cells": [', encoding="utf-8")


def test_a_small_real_run_writes_what_the_page_names(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    if sandbox.why_not():
        pytest.skip(f"no sandbox: {sandbox.why_not()}")
    monkeypatch.chdir(course)
    release.release(NAME, tmp_path / "handout", root=course)
    classes = {"ada": RIGHT, "bare": RIGHT, "chen": WRONG, "dora": None}
    hand_in(tmp_path / "handout" / f"{NAME}.ipynb", tmp_path / "submissions", classes)
    words = ["grade", str(tmp_path / "submissions"), "--assignment", NAME, "--out", str(tmp_path / "graded")]
    assert cli.main([*words, "--jobs", "1"]) == 0

    table = (tmp_path / "graded" / "gradebook.csv").read_text(encoding="utf-8").splitlines()[1:]
    scores = {line.split(",")[0]: line.split(",")[1:3] for line in table}
    assert scores == {
        "ada": ["graded", "2"],
        "bare": ["graded", "2"],
        "chen": ["graded", "0"],
        "dora": ["graded", "0"],
        "broken": ["unreadable", ""],
    }
    assert "Is 5 above 5?" in (tmp_path / "graded" / "feedback" / "chen.html").read_text(encoding="utf-8")
    assert "at least" in (tmp_path / "graded" / "report.html").read_text(encoding="utf-8")

    (tree,) = [block for block in blocks("text") if block.startswith("gradebook.csv ")]
    named = {line.split()[0].replace("STUDENT", student) for line in tree.splitlines() for student in scores}
    there = {p.relative_to(tmp_path / "graded").as_posix() for p in (tmp_path / "graded").rglob("*") if p.is_file()}
    assert there == named

    capsys.readouterr()
    for word in ("canvas", "moodle", "gradescope"):
        assert cli.main([*words, "--format", word]) == 0
    assert "(0 done now, 5 kept from before)" in capsys.readouterr().out
    added = {name.removeprefix("graded/") for name in re.findall(r"`(graded/[\w./]+)`", PAGE)}
    assert len(added) == 3
    assert all((tmp_path / "graded" / name.replace("STUDENT", "chen")).is_file() for name in added)
