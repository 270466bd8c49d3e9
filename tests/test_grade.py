"""The grader on the forty cases, stopped and started again, and on classes that want more than their points."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import corpus
import psutil
import pytest
from conftest import ROOT

from mmcourse.course import cli, exercise, grade, sandbox, submission
from mmcourse.course.engine import Cell, Outcome
from mmcourse.course.sandbox import Limits

LIMITS = Limits(cell_seconds=2, total_seconds=40, memory_mb=600)
needs_sandbox = pytest.mark.skipif(sandbox.why_not() is not None, reason=f"no sandbox: {sandbox.why_not()}")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus.make_assignment(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def tiny(root: Path) -> exercise.Assignment:
    return exercise.load_assignment(corpus.ASSIGNMENT, root)


def run(class_folder: Path, out: Path, root: Path, **options: Any) -> grade.Summary:
    options = {"jobs": 1, "limits": LIMITS, "progress": False} | options
    return grade.grade(class_folder, corpus.ASSIGNMENT, out, root=root, **options)


def a_class(folder: Path, **books: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, book in books.items():
        (folder / f"{name}.ipynb").write_bytes(corpus.dumps(book))
    return folder


def results(out: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((out / "results").glob("*.json"))}


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


# ---- planning, against an engine that only pretends


class Pretender:
    """Runs nothing; ``ends`` says which cells end how. What ends the kernel leaves the rest not run."""

    def __init__(self, tiny: exercise.Assignment, ends: dict[str, str]) -> None:
        self.tiny, self.ends, self.runs = tiny, ends, []

    def __call__(self, cells: Sequence[Cell], nonce: str) -> list[Outcome]:
        self.runs.append([cell.id for cell in cells])
        assert all(nonce in cell.source for cell in cells if cell.id.startswith(("public", "secret")))
        gone, outcomes = False, []
        for cell in cells:
            status = "not run" if gone else self.ends.get(cell.id, "done")
            answers = ("[]",) if status == "done" and cell.id.startswith(("public", "secret")) else ()
            outcomes.append(Outcome(cell.id, status, answers=answers))
            gone = gone or status in ("died", "memory", "output", "timeout!")
        return outcomes

    def run(self) -> dict[str, grade.Ran]:
        handed_in = submission.extract(corpus.dumps(corpus.student_notebook(corpus.RIGHT)), self.tiny.items)
        seeds = {item.id: [5, 6, 7] for item in self.tiny.items}
        return grade.run_items(self.tiny, handed_in, seeds, self)


def test_all_is_run_once_where_nothing_ends(tiny: exercise.Assignment) -> None:
    engine = Pretender(tiny, {"answer-1": "error", "again-2": "timeout"})
    ran = engine.run()
    assert engine.runs == [
        ["setup", "answer-0", "public-0", "answer-1", "public-1", "answer-2", "public-2"]
        + ["again-0", "secret-0", "again-1", "secret-1", "again-2", "secret-2"]
    ]
    assert {name: r.status for name, r in ran.items()} == {"mean": "answered", "shift": "answered", "words": "timeout"}
    assert ran["mean"].public == [] and ran["mean"].secret == []


@pytest.mark.parametrize("cell", ["answer-1", "public-1", "again-1", "secret-1"])
@pytest.mark.parametrize("how", ["died", "memory", "output"])
def test_what_ends_the_kernel_costs_one_item(tiny: exercise.Assignment, cell: str, how: str) -> None:
    engine = Pretender(tiny, {cell: how})
    ran = engine.run()
    assert {name: r.status for name, r in ran.items()} == {"mean": "answered", "shift": how, "words": "answered"}
    assert len(engine.runs) == 2 and not [c for c in engine.runs[1] if c.endswith("-1")]


def test_each_guilty_item_is_left_out_in_turn(tiny: exercise.Assignment) -> None:
    engine = Pretender(tiny, {"secret-0": "died", "answer-2": "memory"})
    ran = engine.run()
    assert {name: r.status for name, r in ran.items()} == {"mean": "died", "shift": "answered", "words": "memory"}
    assert len(engine.runs) == 3


def test_a_kernel_that_ends_by_itself_is_nobodys_fault(tiny: exercise.Assignment) -> None:
    with pytest.raises(RuntimeError, match="no answer is at fault"):
        Pretender(tiny, {"setup": "died"}).run()


def test_no_secret_is_in_the_kernel_before_the_last_public_probe(tiny: exercise.Assignment) -> None:
    answers = {item.id: "pass" for item in tiny.items}
    seeds = {item.id: [777001, 777002] for item in tiny.items}
    cells, owners = grade.plan(tiny, tiny.items, answers, seeds, {"mean", "shift", "words"}, "n0nce")
    first_secret = next(i for i, cell in enumerate(cells) if "777001" in cell.source)
    last_shown = max(i for i, cell in enumerate(cells) if cell.id.startswith(("answer", "public")))
    assert last_shown < first_secret
    for cell in cells:
        assert "BEGIN SOLUTION" not in cell.source and "leftward" not in cell.source
        assert cell.id == "setup" or owners[cell.id][0] in answers


@pytest.mark.parametrize(
    "texts",
    [(), ("[]", "[]"), ("{}",), ("[",), ("[" * 100_000,), ("nul",), ("[" + "9" * 10_000 + "]",), ('{"a": [1]}',)],
)
def test_answers_that_are_no_list_are_none(texts: tuple[str, ...]) -> None:
    assert grade.parse_answers(texts) is None


@pytest.mark.parametrize(
    "got", [[], [1, 2], [{"ok": 3}] * 3, [{"ok": {"mean": {"tensor": []}}}] * 3, [None] * 3, [[[]]]]
)
def test_any_json_can_be_judged_and_earns_nothing(tiny: exercise.Assignment, got: list[Any]) -> None:
    for item in tiny.items:
        ran = grade.Ran(public=got, secret=got)
        entry = grade.judge(tiny, item, ran, [1001, 1002, 1003])
        assert entry["points"] == 0 and len(json.dumps(entry)) < 5_000


def test_the_warm_start_has_torch_where_the_assignment_has(tiny: exercise.Assignment) -> None:
    assert not [name for name in grade.preload(tiny) if "torch" in name] and "numpy.random" in grade.preload(tiny)
    assert grade.preload(replace(tiny, setup="import torch\n")) == sandbox.PRELOAD


def test_points_need_every_seed_public_and_secret(tiny: exercise.Assignment) -> None:
    item, seeds = tiny.item("mean"), [1001, 1002, 1003]
    public = exercise.expected_answers(tiny, item, item.public_seeds)
    hidden = exercise.expected_answers(tiny, item, seeds)
    assert grade.judge(tiny, item, grade.Ran(public=public, secret=hidden), seeds)["points"] == 2
    off = [*hidden[:2], {"ok": {"mean": 0.0}}]
    entry = grade.judge(tiny, item, grade.Ran(public=public, secret=off), seeds)
    assert (entry["points"], entry["sentence"]) == (0, grade.SECRET_HINT)
    assert grade.judge(tiny, item, grade.Ran(public=[*public[:1], off[2]], secret=hidden), seeds)["points"] == 0
    assert grade.judge(tiny, item, grade.Ran(public=public, secret=hidden[:2]), seeds)["points"] == 0
    assert grade.judge(tiny, item, grade.Ran(public=public, secret=[*hidden, hidden[0]]), seeds)["points"] == 0
    assert grade.judge(tiny, item, grade.Ran("timeout", public=public, secret=hidden), seeds)["points"] == 0
    assert grade.judge(tiny, item, None, seeds)["status"] == "missing"


def test_secret_seeds_follow_the_answers_and_the_secret(tiny: exercise.Assignment) -> None:
    one = submission.extract(corpus.dumps(corpus.student_notebook(corpus.RIGHT)), tiny.items)
    two = submission.extract(corpus.dumps(corpus.student_notebook(corpus.WRONG)), tiny.items)
    item, other = tiny.item("mean"), tiny.item("shift")
    seeds = grade.secret_seeds(b"s" * 32, tiny, item, one)
    assert seeds == grade.secret_seeds(b"s" * 32, tiny, item, one) and len(set(seeds)) == item.secret_probes
    assert all(1_000 <= seed < 2**31 for seed in seeds) and not set(seeds) & set(item.public_seeds)
    for changed in (
        grade.secret_seeds(b"t" * 32, tiny, item, one),
        grade.secret_seeds(b"s" * 32, tiny, item, two),
        grade.secret_seeds(b"s" * 32, tiny, other, one),
    ):
        assert not set(changed) & set(seeds)


# ---- the forty cases

CASES = corpus.cases()


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory, root: Path) -> tuple[Path, Path, grade.Summary]:
    """The whole corpus graded as one class, with a file beside it that no submission may touch or read."""
    base = tmp_path_factory.mktemp("forty")
    corpus.write_class(base / "class", CASES)
    before = {path: path.lstat().st_mtime_ns for path in sorted((base / "class").rglob("*"))}
    summary = run(base / "class", base / "out", root, jobs=2)
    assert {path: path.lstat().st_mtime_ns for path in sorted((base / "class").rglob("*"))} == before
    return base / "class", base / "out", summary


@needs_sandbox
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_case(case: corpus.Case, graded: tuple[Path, Path, grade.Summary], tiny: exercise.Assignment) -> None:
    folder, out, summary = graded
    (row,) = [row for row in summary.rows if row.file.split("/")[0] == submission.printable(case.file)]
    page = (out / "feedback" / f"{row.student}.html").read_text()
    assert (out / "results" / f"{row.student}.json").stat().st_size < 1_000_000
    if case.points is None:
        assert row.status == "unreadable" and case.says in row.reason and "not a zero" in page
        return
    assert row.status == "graded", row.reason
    for item, points in case.points.items():
        assert row.scores[item] <= points if case.at_most else row.scores[item] == points, row
    for item, states in case.states.items():
        assert row.states[item] in states.split("|"), row
    assert case.flagged is None or bool(row.flags) is case.flagged, row.flags
    assert case.says in page
    # nothing secret: no hidden seed, and nothing of a hidden question, in anything that is written
    if (folder / case.file).is_file():  # not a folder
        handed_in = submission.read(folder / case.file, tiny.items)
        secret = (out / ".secret").read_bytes()
        written = page + (out / "results" / f"{row.student}.json").read_text()
        for item in tiny.items:
            for seed in grade.secret_seeds(secret, tiny, item, handed_in):
                assert str(seed) not in written
                for word in _question_words(item, seed):
                    assert word not in written


def _question_words(item: exercise.Item, seed: int) -> list[str]:
    """Words of a hidden question that cannot be in a page by chance."""
    asked: list[Any] = []

    def answer(*arguments: Any) -> Any:
        asked.append(arguments)
        raise NotImplementedError

    exercise.run_probe(item.probe, answer, seed)
    if item.id == "words":
        return re.findall(r"w\d{7,}", asked[0][0])
    return [repr(asked[0][0])] if item.id == "shift" else [repr(asked[0][0])[:30]]


@needs_sandbox
def test_the_class_goes_on_and_leaves_nothing_behind(graded: tuple[Path, Path, grade.Summary]) -> None:
    _, out, summary = graded
    assert len(summary.rows) == len(CASES) and summary.unfinished == 0
    assert not [row for row in summary.rows if row.status == "failed"]
    assert not [p for p in children() if p.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in _line(p)]
    for place in (Path("/tmp/loaded"), Path("/tmp/answers.json"), Path("/tmp/full"), Path("/dev/shm/full")):
        assert not place.exists()
    assert not list(out.rglob("*.tmp")) and sum(p.stat().st_size for p in out.rglob("*") if p.is_file()) < 5_000_000
    with (out / "gradebook.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(CASES)
    names = {row["student"] for row in table}
    assert "'=cmd,\"x" in names and not [name for name in names if name.startswith(("=", "+", "-", "@"))]
    report = (out / "report.html").read_text()
    assert "<script>alert" not in report and "&lt;script&gt;alert(1)&lt;script&gt;" in report


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_there_are_forty_cases() -> None:
    assert {case.number for case in CASES} == set(range(1, 41))
    assert len({case.file for case in CASES}) == len(CASES)


# ---- resuming, twins, neighbours


@needs_sandbox
def test_twins_neighbours_changes_and_what_is_kept(tmp_path: Path, root: Path) -> None:
    good, bad = corpus.student_notebook(corpus.RIGHT), corpus.student_notebook(corpus.WRONG)
    out = tmp_path / "out"
    folder = a_class(tmp_path / "class", ann=good, bob=bad, bob2=bad, cy=good)
    summary = run(folder, out, root, jobs=2, format="moodle")
    assert {row.student: row.total for row in summary.rows} == {"ann": 10, "bob": 0, "bob2": 0, "cy": 10}
    assert (summary.graded_now, summary.kept) == (4, 0) and (out / "gradebook_moodle.csv").exists()
    found = results(out)
    assert found["bob"]["items"] == found["bob2"]["items"]
    named = {item["id"]: (item["misconception"], item["sentence"]) for item in found["bob"]["items"]}
    assert named["mean"] == ("signed", "Negative values must not cancel positive ones.")
    assert named["shift"][0] == "unmoved" and named["words"][0] == "case"
    book = (out / "gradebook.csv").read_bytes()

    again = run(folder, out, root)
    assert (again.graded_now, again.kept) == (0, 4) and (out / "gradebook.csv").read_bytes() == book
    assert results(out) == found

    a_class(folder, bob=good)
    changed = run(folder, out, root, only=["ann"])
    assert (changed.graded_now, changed.kept) == (0, 1) and results(out) == found
    (out / "results" / "ann.json").write_text('{"version": 1, "half')
    changed = run(folder, out, root)
    assert (changed.graded_now, changed.kept) == (2, 2)
    assert {row.student: row.total for row in changed.rows} == {"ann": 10, "bob": 10, "bob2": 0, "cy": 10}

    whens = {name: result["when"] for name, result in results(out).items()}
    time.sleep(1)
    anew = run(folder, out, root, only=["cy"], regrade=True)
    assert anew.graded_now == 1
    now = {name: result["when"] for name, result in results(out).items()}
    assert {name for name in now if now[name] != whens[name]} == {"cy"}


def test_a_result_is_kept_only_for_what_it_was_made_of(tmp_path: Path) -> None:
    job = grade.Job("tiny", "", "d" * 64, b"s" * 32)
    entry = submission.Entry("ann", "ann", "ann.ipynb", None, "")
    keys = {
        grade.result_key(job, entry, "1"),
        grade.result_key(job, entry, "2"),
        grade.result_key(replace(job, secret=b"t" * 32), entry, "1"),
        grade.result_key(replace(job, digest="e" * 64), entry, "1"),
        grade.result_key(replace(job, unsafe=True), entry, "1"),
        grade.result_key(job, replace(entry, shown="Ann"), "1"),
        grade.result_key(job, replace(entry, problem="a link"), "1"),
    }
    assert len(keys) == 7 and b"ssss" not in "".join(keys).encode()
    assert grade.result_key(replace(job, root="/elsewhere"), entry, "1") in keys


@needs_sandbox
def test_students_of_one_run_do_not_see_each_other(tmp_path: Path, root: Path) -> None:
    """One patches what it can reach, another leaves files; a third asks what is there. One worker grades them all."""
    patch = """
    import builtins, math, random, sys, os
    import mmcourse.course.exercise as e
    e.run_probe = lambda *a: {"ok": {}}
    random.Random = None
    builtins.sum = lambda *a: 0
    math.fsum = None
    os.environ["LEFT"] = "1"
    for place in ("/tmp/left", "left", "/dev/shm/left"):
        open(place, "w").write("x")
    """
    look = """
    import builtins, math, os, random
    assert "LEFT" not in os.environ and random.Random is not None and math.fsum([1]) == 1
    for place in ("/tmp/left", "left", "/dev/shm/left"):
        assert not os.path.exists(place)
    """
    look_book = corpus.with_answer("shift", textwrap.dedent(look) + corpus.RIGHT["shift"])
    folder = a_class(
        tmp_path / "class",
        a1=look_book,
        a2=corpus.with_answer("shift", textwrap.dedent(patch) + corpus.RIGHT["shift"]),
        a3=look_book,
        a4=corpus.student_notebook(corpus.RIGHT),
    )
    summary = run(folder, tmp_path / "out", root)
    totals = {row.student: row.total for row in summary.rows}
    assert totals["a1"] == totals["a3"] == totals["a4"] == 10 and totals["a2"] <= 10


SCRIPT = """
import sys
from pathlib import Path
from mmcourse.course import grade
from mmcourse.course.sandbox import Limits
if __name__ == "__main__":
    summary = grade.grade(Path(sys.argv[1]), "tiny", Path(sys.argv[2]), root=Path(sys.argv[3]), jobs=int(sys.argv[4]),
                          limits=Limits(cell_seconds=2, total_seconds=40, memory_mb=600), progress=False)
    print("\\n".join(summary.lines))
    sys.exit(130 if summary.interrupted else 0)
"""


def start(tmp_path: Path, folder: Path, out: Path, root: Path, jobs: int = 1) -> subprocess.Popen[str]:
    script = tmp_path / "run_grader.py"
    script.write_text(SCRIPT)
    words = [sys.executable, str(script), str(folder), str(out), str(root), str(jobs)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, cwd=ROOT, start_new_session=True, **pipes)  # type: ignore[call-overload, no-any-return]


def wait_for_results(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while len(list((out / "results").glob("*.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


@needs_sandbox
def test_killed_and_interrupted_runs_end_in_the_same_gradebook(tmp_path: Path, root: Path) -> None:
    books = [corpus.student_notebook(corpus.RIGHT if i % 3 else corpus.WRONG) for i in range(9)]
    folder = a_class(tmp_path / "class", **{f"s{i}": book for i, book in enumerate(books)})
    seed = tmp_path / "secret"
    seed.write_bytes(b"s" * 32)
    outs = [tmp_path / "whole", tmp_path / "cut"]
    for out in outs:
        out.mkdir()
        (out / ".secret").write_bytes(seed.read_bytes())
    assert run(folder, outs[0], root).graded_now == 9

    process = start(tmp_path, folder, outs[1], root)
    wait_for_results(outs[1], 1, process)
    (worker,) = [p for p in psutil.Process(process.pid).children() if "spawn_main" in _line(p)]
    worker.kill()  # it is replaced, and its submission is graded by the next one
    wait_for_results(outs[1], len(list((outs[1] / "results").glob("*.json"))) + 2, process)
    family = [process.pid, *(p.pid for p in psutil.Process(process.pid).children(recursive=True))]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 15
    while [pid for pid in family if _alive(pid)] and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in family if _alive(pid)], "the workers died with their parent"
    for path in (outs[1] / "results").glob("*.json"):
        json.loads(path.read_text())
    kept = len(list((outs[1] / "results").glob("*.json")))
    whens = {name: r["when"] for name, r in results(outs[1]).items()}

    process = start(tmp_path, folder, outs[1], root)
    wait_for_results(outs[1], kept + 2, process)
    os.kill(process.pid, signal.SIGINT)
    text, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "not graded yet" in text and "interrupted" in text, errors
    assert "still to be graded" in (outs[1] / "report.html").read_text()
    with (outs[1] / "gradebook.csv").open(newline="") as file:
        halfway = list(csv.DictReader(file))
    assert len(halfway) == 9 and {r["total"] for r in halfway if r["status"] == "not graded"} == {""}

    summary = run(folder, outs[1], root)
    assert 0 < summary.graded_now <= 9 - kept - 2 and summary.unfinished == 0
    assert (outs[1] / "gradebook.csv").read_bytes() == (outs[0] / "gradebook.csv").read_bytes()
    for name, result in results(outs[1]).items():
        assert whens.get(name, result["when"]) == result["when"], "graded twice"
        assert (outs[1] / "feedback" / f"{name}.html").read_bytes() == (
            outs[0] / "feedback" / f"{name}.html"
        ).read_bytes()
    assert not list(outs[1].rglob("*.tmp"))


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@needs_sandbox
def test_two_graders_on_one_folder_are_refused(tmp_path: Path, root: Path) -> None:
    folder = a_class(tmp_path / "class", a=corpus.with_answer("shift", corpus._LOOP))
    process = start(tmp_path, folder, tmp_path / "out", root)
    try:
        until = time.monotonic() + 60
        while not (tmp_path / "out" / ".secret").exists():
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.02)
        with pytest.raises(RuntimeError, match="another grader is at work"):
            run(folder, tmp_path / "out", root)
    finally:
        process.terminate()
        process.communicate(timeout=60)


# ---- what the grader refuses


def refuse(match: str, call: Callable[[], object], kind: type[Exception] = ValueError) -> None:
    with pytest.raises(kind, match=match):
        call()


def test_bad_input_is_refused_with_what_to_do(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = a_class(tmp_path / "class", ann=corpus.student_notebook()), tmp_path / "out"
    refuse("expected a folder", lambda: run(tmp_path / "none", out, root, unsafe=True))
    (tmp_path / "empty").mkdir()
    refuse("holds no file", lambda: run(tmp_path / "empty", out, root, unsafe=True))
    refuse("another folder", lambda: run(folder, folder, root, unsafe=True))
    refuse("near: ann", lambda: run(folder, out, root, unsafe=True, only=["anne"]))
    refuse("expected one of csv", lambda: run(folder, out, root, unsafe=True, format="pdf"))
    refuse("no such file", lambda: grade.grade(folder, "nothing", out, root=root, unsafe=True))
    (tmp_path / "short").write_bytes(b"short")
    refuse("5 bytes", lambda: run(folder, out, root, unsafe=True, seed_file=tmp_path / "short"))
    monkeypatch.setattr(sandbox, "why_not", lambda: "bubblewrap is not here. Install it.")
    refuse("Install it.*--unsafe-no-sandbox", lambda: run(folder, out, root), RuntimeError)
    assert not list(tmp_path.rglob("gradebook.csv"))


def test_checks_that_a_student_handed_in_are_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = corpus.make_assignment(tmp_path / "class" / "eve")
    checks = folder / "exercises" / "checks" / "tiny.py"
    checks.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + checks.read_text())
    inside = folder / "exercises" / "source"
    for place, handed_in in ((folder, Path("..")), (inside, tmp_path / "class"), (folder, folder.parents[1])):
        monkeypatch.chdir(place)
        refuse(
            r"read from .*eve.*Run this from elsewhere",
            lambda handed_in=handed_in: grade.grade(handed_in, "tiny", tmp_path / "out", unsafe=True, progress=False),
        )
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out").exists()


def test_a_module_in_the_current_folder_is_never_run(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    place = tmp_path / "downloads"
    place.mkdir()
    for name in ("multiprocessing", "json", "hmac"):
        (place / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit\n")
    monkeypatch.chdir(place)
    folder = a_class(tmp_path / "class")
    (folder / "ann.ipynb").write_bytes(b"")
    summary = run(folder, tmp_path / "out", root, unsafe=True)
    assert not (tmp_path / "ran").exists() and [row.status for row in summary.rows] == ["unreadable"]


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every submission gets a result at once, without any kernel."""

    def at_once(job: grade.Job, todo: Sequence[submission.Entry], jobs: int) -> Any:
        for entry in todo:
            result = grade._blank_result(job, entry, "unreadable", "not read", grade._sha256(entry))
            yield result | {"when": ""}

    monkeypatch.setattr(grade, "_in_processes", at_once)


@pytest.mark.usefixtures("pretended")
def test_what_belongs_to_no_submission_is_removed_and_nothing_else(tmp_path: Path, root: Path) -> None:
    book = corpus.student_notebook(corpus.RIGHT)
    folder, out = a_class(tmp_path / "class", ann=book, bob=book, cy=book), tmp_path / "out"
    run(folder, out, root, unsafe=True, format="gradescope")
    own = ["feedback/note.html", "results/note.json", "gradescope/bob/note", "gradescope/note/results.json"]
    for name in own:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text('{"student": "somebody else"}')
    bob = [out / name for name in ("feedback/bob.html", "results/bob.json", "gradescope/bob/results.json")]
    assert all(path.is_file() for path in bob)
    (folder / "bob.ipynb").unlink()
    run(folder, out, root, unsafe=True, only=["ann"], regrade=True)
    assert not [path for path in bob if path.exists()]
    for name in [*own, "feedback/cy.html", "results/cy.json", "gradescope/cy/results.json"]:
        assert (out / name).is_file(), name


@pytest.mark.usefixtures("pretended")
def test_no_table_is_out_of_date(tmp_path: Path, root: Path) -> None:
    book = corpus.student_notebook(corpus.RIGHT)
    folder, out = a_class(tmp_path / "class", ann=book, bob=book), tmp_path / "out"
    for name in ("canvas", "moodle", "gradescope"):
        run(folder, out, root, unsafe=True, format=name)
    tables = [out / "gradebook_canvas.csv", out / "gradebook_moodle.csv", out / "gradescope/ann/results.json"]
    assert all(path.is_file() for path in tables), "they still say what is so"
    a_class(folder, cy=book)
    (out / "gradescope/ann/results.json").write_text("{}")
    run(folder, out, root, unsafe=True, format="canvas")
    assert [path.is_file() for path in tables] == [True, False, False]
    assert "cy" in tables[0].read_text() and (out / "gradescope/bob/results.json").is_file()
    (folder / "cy.ipynb").unlink()
    run(folder, out, root, unsafe=True)
    assert not tables[0].exists()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("SyntaxError: expected ':' (2758782738.py, line 1)", "SyntaxError: expected ':' (line 1 of your cell)"),
        ("IndentationError: bad (<unknown>, line 12)", "IndentationError: bad (line 12 of your cell)"),
        ("ValueError: see (a.py, line 1)", "ValueError: see (a.py, line 1)"),
    ],
)
def test_a_syntax_error_names_the_line_and_no_made_up_file(said: str, shown: str) -> None:
    assert grade._shown_error(grade.Ran(error=said)) == shown


def test_an_example_has_each_entry_on_its_own_line(tiny: exercise.Assignment) -> None:
    item = tiny.item("words")
    got = [{"ok": {"counts": {"a": {"b": 1}, "c": {}}}}] * 2
    example = grade.judge(tiny, item, grade.Ran(public=got, secret=got), [1001])["example"]
    assert example["got"] == "{'a': {'b': 1},\n 'c': {}}"


def test_the_secret_is_private_and_made_once(tmp_path: Path) -> None:
    first = grade._secret(tmp_path, None)
    assert len(first) == 32 and grade._secret(tmp_path, None) == first
    assert (tmp_path / ".secret").stat().st_mode & 0o777 == 0o600
    (tmp_path / "other").mkdir()
    assert grade._secret(tmp_path / "other", None) != first


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    grade.write_text(path, "first")

    def fail(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        grade.write_text(path, "second, cut off")
    assert path.read_text() == "first"


def test_a_cluster_needs_its_package(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = a_class(tmp_path / "class", ann=corpus.student_notebook())
    monkeypatch.setitem(sys.modules, "distributed", None)
    refuse(r"mmcourse\[cluster\]", lambda: run(folder, tmp_path / "out", root, scheduler="tcp://127.0.0.1:1"))


@needs_sandbox
def test_a_cluster_gives_the_same_gradebook(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    monkeypatch.chdir(root)  # where this machine's workers find the exercises
    good, bad = corpus.student_notebook(corpus.RIGHT), corpus.student_notebook(corpus.WRONG)
    folder = a_class(tmp_path / "class", ann=good, bob=bad, cy=good)
    (folder / "dee.ipynb").write_bytes(b"")
    (tmp_path / "secret").write_bytes(b"s" * 32)
    options = {"seed_file": tmp_path / "secret"}
    run(folder, tmp_path / "here", root, **options)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        summary = run(folder, tmp_path / "there", root, scheduler=cluster.scheduler_address, **options)
    assert summary.graded_now == 4
    books = [(tmp_path / name / "gradebook.csv").read_bytes() for name in ("here", "there")]
    assert books[0] == books[1] and b"unreadable" in books[0]


# ---- the command


@needs_sandbox
def test_the_commands_hand_out_and_grade_a_class(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    assert cli.main(["release", "tiny", "--out", str(tmp_path / "handout")]) == 0
    assert sorted(p.name for p in (tmp_path / "handout").iterdir()) == ["tiny.checks.json", "tiny.ipynb"]
    book = json.loads((tmp_path / "handout" / "tiny.ipynb").read_text())
    folder, out = a_class(tmp_path / "class", bob=book), tmp_path / "out"
    for cell in book["cells"]:
        cell["source"] = corpus.RIGHT.get(cell["id"], cell["source"])
    a_class(folder, ann=book)
    words = ["grade", str(folder), "--assignment", "tiny", "--out", str(out), "--jobs", "1", "--format", "gradescope"]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "2 graded" in said and "mean (2 points): 1 of 2 right" in said and "report.html" in said
    for name, scores in (("ann", [2, 3, 5]), ("bob", [0, 0, 0])):
        body = json.loads((out / "gradescope" / name / "results.json").read_text())
        assert [test["score"] for test in body["tests"]] == scores
    assert results(out)["ann"]["flags"] == results(out)["bob"]["flags"] == []
    assert {item["status"] for item in results(out)["bob"]["items"]} == {"no answer"}
    assert cli.main([*words, "--only", "nobody"]) == 2
    assert "no submission is named 'nobody'" in capsys.readouterr().err


def test_without_a_sandbox_every_page_says_so(tmp_path: Path, root: Path) -> None:
    folder = a_class(tmp_path / "class", ann=corpus.student_notebook(corpus.RIGHT))
    (folder / "bob.ipynb").write_bytes(b"")
    summary = run(folder, tmp_path / "out", root, unsafe=True)
    assert {row.student: row.status for row in summary.rows} == {"ann": "graded", "bob": "unreadable"}
    assert summary.rows[0].total == 10 and summary.lines[0].startswith("WARNING")
    for page in (tmp_path / "out").rglob("*.html"):
        assert "without a sandbox" in page.read_text(), page
    assert (tmp_path / "out" / "gradebook.csv").read_text().count("NONE") == 2


# ---- a large class


@needs_sandbox
@pytest.mark.slow
def test_a_thousand_submissions_and_three_kills(tmp_path: Path) -> None:
    """Bounded memory in the parent, and an identical gradebook."""
    from benchmarks import large_class

    table = large_class.measure(1000, tmp_path)
    assert table["same_gradebook"] and table["results"] == [1000, 1000] and table["rows"] == 1000
    assert table["kills"] == 3
    assert table["parent_highest_mb"] < 1000


@needs_sandbox
@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "exercises" / "09_text2image.ipynb").exists(), reason="the exercises are not built")
def test_a_real_assignment(tmp_path: Path) -> None:
    folder = tmp_path / "class"
    folder.mkdir()
    shutil.copy(ROOT / "exercises" / "09_text2image.ipynb", folder / "untouched.ipynb")
    shutil.copy(ROOT / "exercises" / "solutions" / "09_text2image.ipynb", folder / "solved.ipynb")
    summary = grade.grade(folder, "09_text2image", tmp_path / "out", jobs=1, progress=False, root=ROOT)
    totals = {row.student: row.total for row in summary.rows}
    assert totals["untouched"] == 0 and totals["solved"] == sum(summary.rows[0].scores.values()) > 0
