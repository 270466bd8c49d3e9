"""Submissions as bytes from anybody: what is read, what is refused, and that nothing is followed or waited for."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import corpus
import pytest

from mmcourse.course import submission
from mmcourse.course.submission import Unreadable, extract, find, printable, safe_name


@dataclass(frozen=True)
class Ask:
    id: str
    answer: str
    points: int


ITEMS = (Ask("mean", "mean_size", 2), Ask("shift", "shift", 3), Ask("words", "count_words", 5))
RIGHT = corpus.dumps(corpus.student_notebook(corpus.RIGHT))


@pytest.mark.parametrize(
    "case", [c for c in corpus.cases() if isinstance(c.make, bytes)], ids=lambda case: case.key.replace("/", "_")
)
def test_every_file_of_the_corpus_is_read_or_refused_with_its_reason(case: corpus.Case) -> None:
    assert isinstance(case.make, bytes)
    if case.points is None:
        with pytest.raises(Unreadable, match=case.says):
            extract(case.make, ITEMS)
        return
    found = extract(case.make, ITEMS)
    assert set(found.answers) == {"mean", "shift", "words"} and found.missing == ()
    if case.flagged is False:
        assert found.flags == ()


def test_the_last_of_two_answer_cells_wins_and_is_flagged() -> None:
    case = next(c for c in corpus.cases() if c.label == "doubled")
    assert isinstance(case.make, bytes)
    found = extract(case.make, ITEMS)
    assert found.answers["shift"] == corpus.RIGHT["shift"]
    assert found.flags == ("shift: the answer cell is there 2 times; the last one counts",)


def test_an_untouched_answer_cell_gives_way_to_an_answer_elsewhere() -> None:
    book = corpus.student_notebook({k: v for k, v in corpus.RIGHT.items() if k != "shift"})
    extra = {"cell_type": "code", "id": "x1", "metadata": {}, "outputs": [], "execution_count": None}
    book["cells"].append({**extra, "source": corpus.RIGHT["shift"]})
    found = extract(corpus.dumps(book), ITEMS)
    assert found.answers["shift"] == corpus.RIGHT["shift"]
    assert "another cell" in found.flags[0]
    # an answer that is there is not replaced by a later try below it
    book = corpus.student_notebook(corpus.RIGHT)
    book["cells"].append({**extra, "source": corpus.WRONG["shift"]})
    assert extract(corpus.dumps(book), ITEMS).answers["shift"] == corpus.RIGHT["shift"]


def test_grade_id_comes_before_cell_id_comes_before_the_stub() -> None:
    book = corpus.student_notebook(corpus.RIGHT)
    extra = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    corpus.cell_of(book, "shift")["id"] = "renamed"
    book["cells"].append({**extra, "id": "shift", "source": corpus.WRONG["shift"]})
    assert extract(corpus.dumps(book), ITEMS).answers["shift"] == corpus.RIGHT["shift"]
    corpus.cell_of(book, "renamed")["metadata"] = {}
    assert extract(corpus.dumps(book), ITEMS).answers["shift"] == corpus.WRONG["shift"]
    book["cells"].pop()
    assert extract(corpus.dumps(book), ITEMS).answers["shift"] == corpus.RIGHT["shift"]


def test_a_missing_cell_is_missing_and_flagged() -> None:
    book = corpus.student_notebook(corpus.RIGHT)
    book["cells"] = [cell for cell in book["cells"] if not cell["id"].startswith("shift")]
    found = extract(corpus.dumps(book), ITEMS)
    assert found.missing == ("shift",) and "shift" not in found.answers
    assert found.flags == ("shift: the answer cell is missing",)


def test_twins_have_one_digest_and_metadata_does_not_matter() -> None:
    one = extract(RIGHT, ITEMS)
    other = corpus.student_notebook(corpus.RIGHT)
    other["metadata"]["note"] = "mine"
    two = extract(corpus.dumps(other), ITEMS)
    assert one.answers_digest == two.answers_digest and one.sha256 != two.sha256
    three = extract(corpus.dumps(corpus.with_answer("shift", corpus.WRONG["shift"])), ITEMS)
    assert three.answers_digest != one.answers_digest


@pytest.mark.parametrize(
    ("source", "flagged"),
    [
        ("from mmcourse.text import shift", True),
        ("from mmcourse.text import (\n    tokenize,\n    shift as s,\n)", True),
        ("from mmcourse.text import *", True),
        ("import mmcourse.text as t\nt.shift([], 1)", True),
        ("open('exercises/solutions/x.ipynb')", True),
        ("from mmcourse.text import tokenize", False),
        ("class A:\n    def shift(self): return self.shift()", False),
        ("import numpy as np\nnp.roll([1], 1)", False),
    ],
)
def test_the_librarys_own_solution_is_flagged(source: str, flagged: bool) -> None:
    found = extract(corpus.dumps(corpus.with_answer("shift", source + "\n" + corpus.RIGHT["shift"])), ITEMS)
    assert bool(found.flags) is flagged


@pytest.mark.parametrize(
    "cells",
    [
        [1, None, "x", [], {}],
        [{"cell_type": "code"}],
        [{"cell_type": "code", "source": 7, "metadata": {}}],
        [{"cell_type": "code", "source": [1, 2], "metadata": []}],
        [{"cell_type": 4, "source": "", "metadata": {"nbgrader": {"grade_id": ["shift"]}}}],
        {"0": {}},
        None,
    ],
)
def test_cells_that_are_no_cells(cells: object) -> None:
    with pytest.raises(Unreadable):
        extract(json.dumps({"nbformat": 4, "nbformat_minor": 5, "cells": cells}).encode(), ITEMS)


def test_odd_metadata_beside_a_good_answer_does_no_harm() -> None:
    book = corpus.student_notebook(corpus.RIGHT)
    for cell, odd in zip(
        book["cells"], ([], "x", {"nbgrader": 3}, {"tags": 5}, {"nbgrader": {"points": {}}}), strict=False
    ):
        cell["metadata"] = odd
    assert set(extract(corpus.dumps(book), ITEMS).answers) == {"mean", "shift", "words"}


@pytest.mark.parametrize(
    "text", ['"' + "\\" * 400_001, '"\\"' * 200_000, '["' * 400_000, "{" * 5_000_000, '"x' * 300_001]
)
def test_the_nesting_check_is_quick_on_any_text(text: str) -> None:
    began = time.perf_counter()
    with contextlib.suppress(Unreadable):
        submission.check_nesting(text)
    assert time.perf_counter() - began < 3


def test_a_cut_file_is_said_to_be_cut_before_the_parser_is_quoted() -> None:
    with pytest.raises(Unreadable, match=r"^the file is cut off or damaged \(not valid JSON: "):
        extract(RIGHT[:200], ITEMS)


def test_brackets_in_texts_do_not_count() -> None:
    submission.check_nesting(json.dumps({"a": "[" * 5_000 + '"\\' + "{" * 5_000, "b": [[[]]]}))
    with pytest.raises(Unreadable, match="parts"):
        submission.check_nesting("[" + "[]," * 500_000)


def test_format_3_with_odd_parts_is_refused_not_raised() -> None:
    for sheets in ([{"cells": [{"cell_type": "code"}]}], [7], 5, [{"cells": 3}]):
        with pytest.raises(Unreadable):
            extract(
                json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": sheets}).encode(), ITEMS
            )


# ---- finding


def test_files_links_pipes_and_folders(tmp_path: Path) -> None:
    folder, outside = tmp_path / "class", tmp_path / "outside"
    outside.mkdir()
    (outside / "hw.ipynb").write_bytes(RIGHT)
    folder.mkdir()
    (folder / "ada.ipynb").write_bytes(RIGHT)
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.ipynb").write_bytes(RIGHT)
    (folder / "submission_metadata.yml").write_text("x: 1")  # Gradescope's own
    (folder / "bob").symlink_to(outside)
    (folder / "cy.ipynb").symlink_to(folder / "ada.ipynb")
    os.mkfifo(folder / "dee.ipynb")
    (folder / "eve").mkdir()
    (folder / "graded").mkdir()
    began = time.perf_counter()
    found = {entry.student: entry for entry in find(folder, "tiny", leave_out=folder / "graded")}
    assert time.perf_counter() - began < 2
    assert sorted(found) == ["ada", "bob", "cy", "dee", "eve", "notes.txt"]
    assert found["ada"].path == folder.resolve() / "ada.ipynb" and found["ada"].problem == ""
    assert all(found[name].path is None for name in found if name != "ada")
    assert "link" in found["bob"].problem and "link" in found["cy"].problem and "pipe" in found["dee"].problem
    assert "no notebook" in found["eve"].problem and ".txt" in found["notes.txt"].problem


def test_two_notebooks_count_where_one_has_the_assignments_name(tmp_path: Path) -> None:
    for student, names in {"a": ["x"], "b": ["x", "y"], "c": ["x", "tiny"], "d": ["p/tiny", "q/tiny"]}.items():
        for name in names:
            path = tmp_path / student / f"{name}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(RIGHT)
    found = {entry.student: entry for entry in find(tmp_path, "tiny")}
    assert {name: bool(entry.path) for name, entry in found.items()} == {"a": True, "b": False, "c": True, "d": False}
    assert found["c"].file == "c/tiny.ipynb" and "2 notebooks (x.ipynb, y.ipynb)" in found["b"].problem


def test_reading_never_waits_and_is_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    began = time.perf_counter()
    with pytest.raises(Unreadable, match="plain file"):
        submission.read_bytes(tmp_path / "pipe")
    assert time.perf_counter() - began < 1
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(Unreadable, match="could not be opened"):
        submission.read_bytes(tmp_path / "link")
    with pytest.raises(Unreadable, match="plain file"):
        submission.read_bytes(Path("/dev/zero"))
    with (tmp_path / "large").open("wb") as file:
        file.truncate(submission.MAX_BYTES + 1)
    with pytest.raises(Unreadable, match="20,000,001 bytes"):
        submission.read_bytes(tmp_path / "large")


def test_names_are_safe_and_unique(tmp_path: Path) -> None:
    for text in (
        "../x",
        "/etc/passwd",
        "..",
        "",
        "hw{0}",
        "a\x00b",
        '=cmd,"x',
        "<script>",
        "\udc80",
        "a" * 500,
        "C:\\x",
    ):
        name = safe_name(text)
        assert name and len(name) <= 80 and not name.startswith(".")
        assert all(c.isalnum() or c in "._-" for c in name)
    assert safe_name("王小明") == "王小明" and safe_name("Zoë") == safe_name("Zoe\u0308")
    for name in ("ann.ipynb", "Ann.ipynb", "a n.ipynb", "a_n.ipynb", "ANN-2.ipynb"):
        (tmp_path / name).write_bytes(RIGHT)
    students = [entry.student for entry in find(tmp_path, "tiny")]
    assert len({name.casefold() for name in students}) == 5


def test_printable_keeps_words_and_drops_tricks() -> None:
    assert printable("Zoë 王") == "Zoë 王"
    shown = printable("a\x1b[31mb\u202ec\ud800\n" + "x" * 999)
    assert len(shown) <= 200 and not set("\x1b\u202e\ud800\n") & set(shown)


def test_not_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a folder"):
        find(tmp_path / "none", "tiny")
