"""Grade a folder of submissions: a gradebook, a feedback page a student, a report over the class.

A student's code runs in the sandbox alone. What comes out of it are plain answers to the probes; which of them are
right is decided here, where no student code runs. Results are kept one file a submission, so that a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import contextlib
import ctypes
import difflib
import hashlib
import hmac
import importlib.metadata
import json
import multiprocessing
import os
import platform
import re
import secrets
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcourse import __version__
from mmcourse.course import exercise, report, submission
from mmcourse.course.submission import Entry, Submission, Unreadable
from mmcourse.runtime import write_whole

if TYPE_CHECKING:
    from mmcourse.course.engine import Cell, Outcome
    from mmcourse.course.exercise import Assignment, Item
    from mmcourse.course.sandbox import Limits

VERSION = 1  # of a result; a result of another version is made anew
RECYCLE = 100  # submissions that a worker grades before a fresh one takes its place
TRIES = 2  # how often a submission is tried whose worker died
FINAL = ("timeout", "died", "memory", "output")  # a cell that ended so costs its item
SPARE_SECONDS = 60  # what a worker may take beyond its kernels' limits
SENTENCES = {
    "right": "Right.",
    "no answer": exercise.UNANSWERED,
    "missing": "The answer cell is not in the notebook that was handed in.",
    "timeout": "Your code did not finish in time. Is there a loop that never ends?",
    "died": "The kernel died while your code ran. Does it end the process, or crash it?",
    "memory": "Your code used more memory than is allowed.",
    "output": "Your code printed more than is allowed.",
    "no result": "Your code gave no result that can be read.",
}
NAME_HINT = "Only the answer cells are run, so what an answer needs must stand in its own cell."
SECRET_HINT = "It is right on the public examples and wrong on other inputs. Does it hold for every input?"
WRONG_HINT = "Compare what came with what was expected."


@dataclass(frozen=True)
class Job:
    """What a worker must know. ``secret`` decides the hidden seeds; workers, also remote ones, are trusted with it."""

    assignment: str
    root: str
    digest: str
    secret: bytes
    unsafe: bool = False
    limits: Limits | None = None


@dataclass
class Ran:
    """What came of one item's cells. status: answered, or one of ``FINAL``. Texts are from before any secret seed."""

    status: str = "answered"
    error: str = ""
    public: list[Any] | None = None
    secret: list[Any] | None = None
    forged: bool = False
    twice: bool = False


@dataclass
class Summary:
    """What a run did, for the terminal. stale: students who still have no result that fits what they handed in."""

    rows: list[report.Row] = field(default_factory=list)
    graded_now: int = 0
    kept: int = 0
    unfinished: int = 0
    interrupted: bool = False
    stale: set[str] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)


# ---- the whole run


def grade(
    submissions: Path,
    assignment: str,
    out: Path,
    *,
    jobs: int | None = None,
    seed_file: Path | None = None,
    only: Sequence[str] = (),
    regrade: bool = False,
    unsafe: bool = False,
    scheduler: str | None = None,
    format: str = "csv",
    root: Path | None = None,
    limits: Limits | None = None,
    progress: bool = True,
) -> Summary:
    """Grade every submission of a folder into ``out``: gradebook.csv, feedback/, report.html, results/.

    only:       names of students; the others keep the results they have.
    regrade:    make results anew that are there.
    unsafe:     without a sandbox; every page says so.
    scheduler:  address of a Dask scheduler; by default local processes, ``jobs`` of them.
    format:     ``csv`` alone, or besides it ``canvas``, ``moodle`` or ``gradescope``.

    Results that fit the file, the assignment and the secret are kept. After Ctrl-C the tables are written with what
    is there, and the summary says ``interrupted``. Raises ``ValueError`` for bad input, ``RuntimeError`` where no
    sandbox can be built or another grader is at work on ``out``.
    """
    if format not in report.FORMATS:
        raise ValueError(f"format: expected one of {', '.join(report.FORMATS)}, got {format!r}.")
    if out.resolve() == submissions.resolve():
        raise ValueError("out: expected another folder than the submissions'.")
    if scheduler is None and not unsafe:
        _expect_sandbox()
    _keep_folder_off_the_path()
    place = _trusted_place(root, submissions)
    loaded = exercise.load_assignment(assignment, place)
    entries = submission.find(submissions, assignment, leave_out=out)
    if not entries:
        raise ValueError(f"submissions: {str(submissions)!r} holds no file and no folder; expected one per student.")
    wanted = _pick(entries, only)
    (out / "results").mkdir(parents=True, exist_ok=True)
    with _locked(out):
        _sweep(out)
        secret = _secret(out, seed_file)
        job = Job(assignment, str(place), loaded.digest, secret, unsafe, limits)
        summary = Summary()
        kept = {entry.student for entry in wanted if _is_kept(job, entry, out)}
        todo = [entry for entry in wanted if regrade or entry.student not in kept]
        summary.kept = len(wanted) - len(todo)
        summary.stale = {entry.student for entry in todo} - kept
        try:
            _grade_all(job, todo, out, summary, jobs=jobs or _cores(), scheduler=scheduler, progress=progress)
        except KeyboardInterrupt:
            summary.interrupted = True
        _write_derived(loaded, job, entries, out, summary, format=format, scheduler=scheduler)
    return summary


def _keep_folder_off_the_path() -> None:
    """A Python that is started from here on imports nothing from the folder that the teacher stands in."""
    os.environ["PYTHONSAFEPATH"] = "1"


def _trusted_place(root: Path | None, submissions: Path) -> Path:
    """Where the exercises are read from. Their checks run with the teacher's rights, so no student may bring them."""
    place, handed_in = (root or exercise.course_root()).resolve(), submissions.resolve()
    if place.is_relative_to(handed_in):
        raise ValueError(
            f"the exercises would be read from {str(place)!r}, which lies in the folder of submissions, and their "
            "checks would run with your rights. Run this from elsewhere, such as your clone of the course."
        )
    return place


def _expect_sandbox() -> None:
    from mmcourse.course.sandbox import why_not

    reason = why_not()
    if reason is not None:
        raise RuntimeError(
            f"no sandbox can be built here, so nothing was graded: {reason} To go on without one, on a machine that "
            "you can lose, add --unsafe-no-sandbox; every page will state it."
        )


def _pick(entries: Sequence[Entry], only: Sequence[str]) -> list[Entry]:
    if not only:
        return list(entries)
    names = {name for entry in entries for name in (entry.student, entry.shown)}
    for name in only:
        if name not in names:
            near = ", ".join(difflib.get_close_matches(name, names, n=3)) or "none is near"
            raise ValueError(f"only: no submission is named {name!r}; near: {near}.")
    return [entry for entry in entries if entry.student in only or entry.shown in only]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """One process owns the folder. The system takes the lock back however this process ends."""
    with (out / ".lock").open("a+b") as file:
        try:
            _lock(file.fileno())
        except OSError:
            raise RuntimeError(
                f"another grader is at work on {str(out)!r}; wait for it, or choose another --out."
            ) from None
        yield


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sweep(out: Path) -> None:
    """Remove temporary files that a killed run left."""
    for folder in (out, out / "results", out / "feedback"):
        for path in folder.glob(".*.tmp"):
            path.unlink()


def _secret(out: Path, seed_file: Path | None) -> bytes:
    """The secret that decides the hidden questions: the file's bytes, else 32 random ones kept in ``out/.secret``."""
    path = seed_file or out / ".secret"
    if seed_file is None and not path.exists():
        temporary = out / ".secret.tmp"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    secret = path.read_bytes()
    if not 16 <= len(secret) <= 1_000_000:
        raise ValueError(f"the secret in {str(path)!r} has {len(secret)} bytes; expected 16 to 1,000,000.")
    return secret


def write_text(path: Path, text: str) -> None:
    """``write_whole`` for text; a lone surrogate becomes a question mark."""
    write_whole(path, text.encode("utf-8", errors="replace"))


# ---- results on disk


def result_key(job: Job, entry: Entry, sha256: str) -> str:
    """What a result depends on: the file, the assignment, the secret, the sandbox. A change of any makes it anew."""
    print_of_secret = hashlib.sha256(b"fingerprint" + job.secret).hexdigest()
    parts = [
        VERSION,
        sha256,
        job.assignment,
        job.digest,
        print_of_secret,
        job.unsafe,
        entry.shown,
        entry.file,
        entry.problem,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _is_kept(job: Job, entry: Entry, out: Path) -> bool:
    found = _load_result(out, entry.student)
    return found is not None and found.get("key") == result_key(job, entry, _sha256(entry))


def _sha256(entry: Entry) -> str:
    """Of the file's bytes; empty where there is no file to read, which the result's key says in another way."""
    if entry.path is None:
        return ""
    try:
        return hashlib.sha256(submission.read_bytes(entry.path)).hexdigest()
    except Unreadable as error:
        return str(error)


def _load_result(out: Path, student: str) -> dict[str, Any] | None:
    try:
        result = json.loads((out / "results" / f"{student}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get("version") == VERSION else None


def _grade_all(
    job: Job,
    todo: Sequence[Entry],
    out: Path,
    summary: Summary,
    *,
    jobs: int,
    scheduler: str | None,
    progress: bool,
) -> None:
    """Grade and write each result as it comes. Only this process writes."""
    from tqdm import tqdm

    stream = _on_cluster(job, todo, scheduler) if scheduler else _in_processes(job, todo, jobs)
    with (
        contextlib.closing(stream) as results,
        tqdm(total=len(todo), desc="grading", unit="submission", disable=not progress or not todo) as bar,
    ):
        for result in results:
            write_text(out / "results" / f"{result['student']}.json", json.dumps(result, indent=1) + "\n")
            summary.graded_now += 1
            summary.stale.discard(result["student"])
            bar.update()


def _blank_result(job: Job, entry: Entry, status: str, reason: str, sha256: str = "") -> dict[str, Any]:
    """A result without scores. That of a failed grader has no key, so that the next run tries again."""
    return {
        "version": VERSION,
        "key": "" if status == "failed" else result_key(job, entry, sha256),
        "student": entry.student,
        "shown": entry.shown,
        "file": entry.file,
        "status": status,
        "reason": reason,
        "sha256": sha256,
        "flags": [],
        "items": [],
        "sandbox": not job.unsafe,
        "seconds": 0.0,
        "when": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


# ---- one submission


class Grader:
    """Grades one submission after another in one warm sandbox. A context manager; one a process."""

    def __init__(self, job: Job) -> None:
        from mmcourse.course.sandbox import Limits

        self.job = job
        self.assignment = exercise.load_assignment(job.assignment, Path(job.root) if job.root else None)
        if self.assignment.digest != job.digest:
            raise ValueError(
                f"{job.assignment}: this worker has another version of the assignment or of mmcourse than the grader. "
                "Install the same checkout on both."
            )
        self.limits = job.limits or Limits()
        self._stack = contextlib.ExitStack()
        self._sandbox: Any = None

    def __enter__(self) -> Grader:
        from mmcourse.course.sandbox import Sandbox

        if not self.job.unsafe:
            _expect_sandbox()
        warm = Sandbox(self.limits, unsafe=self.job.unsafe, preload=preload(self.assignment))
        self._sandbox = self._stack.enter_context(warm)
        return self

    def __exit__(self, *about: object) -> None:
        self._stack.close()

    def grade(self, entry: Entry, data: bytes | None = None) -> dict[str, Any]:
        """The result of one submission. ``data``: the file's bytes, where they came from elsewhere."""
        from mmcourse.course.engine import execute

        began = time.monotonic()
        try:
            if data is None:
                data = _read(entry)
            handed_in = submission.extract(data, self.assignment.items)
        except Unreadable as error:
            sha256 = hashlib.sha256(data).hexdigest() if data is not None else str(error) if entry.path else ""
            return _blank_result(self.job, entry, "unreadable", str(error), sha256)
        seeds = {
            item.id: secret_seeds(self.job.secret, self.assignment, item, handed_in) for item in self.assignment.items
        }
        ran = run_items(
            self.assignment,
            handed_in,
            seeds,
            lambda cells, nonce: execute(cells, self._sandbox, nonce=nonce),
            answer_seconds=self.limits.cell_seconds,
        )
        result = _blank_result(self.job, entry, "graded", "", handed_in.sha256)
        result["flags"] = [*handed_in.flags, *_flags_of(ran)]
        result["items"] = [
            judge(self.assignment, item, ran.get(item.id), seeds[item.id]) for item in self.assignment.items
        ]
        result["seconds"] = round(time.monotonic() - began, 3)
        return result


def preload(assignment: Assignment) -> tuple[str, ...]:
    """What a warm start imports. One for an assignment that never speaks of torch is up in a fraction of the time."""
    from mmcourse.course.sandbox import PRELOAD

    texts = [assignment.setup, *assignment.references.values(), *map(exercise.probe_source, assignment.items)]
    torch = any("torch" in text for text in texts)
    return tuple(name for name in PRELOAD if torch or name.split(".")[0] != "torch")


def _read(entry: Entry) -> bytes:
    if entry.path is None:
        raise Unreadable(entry.problem)
    return submission.read_bytes(entry.path)


def secret_seeds(secret: bytes, assignment: Assignment, item: Item, handed_in: Submission) -> list[int]:
    """The hidden seeds of one item for these answers: the same answers always get the same ones. 1,000 to 2^31."""
    seeds = []
    for k in range(item.secret_probes):
        message = json.dumps([assignment.digest, item.id, handed_in.answers_digest, k]).encode()
        number = int.from_bytes(hmac.new(secret, message, hashlib.sha256).digest()[:8], "big")
        seeds.append(1_000 + number % (2**31 - 1_000))
    return seeds


# ---- running the cells


def run_items(
    assignment: Assignment,
    handed_in: Submission,
    seeds: Mapping[str, Sequence[int]],
    run: Callable[[list[Cell], str], list[Outcome]],
    *,
    answer_seconds: float = 10,
) -> dict[str, Ran]:
    """Run the answers and their probes until every item has its outcome; an item that ends the kernel is left out of
    the next run. Returns item id -> ``Ran`` for every item that has an answer.

    Raises ``RuntimeError`` where the kernel ends without any item being at fault.
    """
    items = [item for item in assignment.items if item.id in handed_in.answers]
    done: dict[str, Ran] = {}
    out: set[str] = set()
    while True:
        live = [item for item in items if item.id not in out]
        open_items = [item for item in live if item.id not in done]
        if not open_items:
            return done
        nonce, asked = secrets.token_hex(16), {item.id for item in open_items}
        cells, owners = plan(assignment, live, handed_in.answers, seeds, asked, nonce, answer_seconds)
        outcomes = {outcome.id: outcome for outcome in run(cells, nonce)}
        came = _collect(live, owners, outcomes)
        stopped = any(outcome.status == "not run" for outcome in outcomes.values()) or len(outcomes) < len(cells)
        guilty = {name for name, ran in came.items() if ran.status in FINAL}
        for item in open_items:
            if item.id in guilty or not stopped:
                done[item.id] = came[item.id]
        if not stopped:
            return done
        if not guilty - out:
            raise RuntimeError(f"the kernel ended, and no answer is at fault: {_what_ended(outcomes)}")
        out |= guilty


def plan(
    assignment: Assignment,
    live: Sequence[Item],
    answers: Mapping[str, str],
    seeds: Mapping[str, Sequence[int]],
    asked: set[str],
    nonce: str,
    answer_seconds: float = 10,
) -> tuple[list[Cell], dict[str, tuple[str, str]]]:
    """The cells to run, and cell id -> (item id, part).

    First every answer and its public probe, and only then every answer again with its secret probe. What pages show is
    taken from the first part, when no secret seed has been in the kernel. An answer is run again before its secret
    probe so that it is judged as in the learner's notebook, where its check stands right below it.
    """
    from mmcourse.course.engine import Cell

    cells = [Cell("setup", assignment.setup, 60.0)]
    owners = {}
    places = {item.id: place for place, item in enumerate(assignment.items)}
    for answer, probe in (("answer", "public"), ("again", "secret")):
        for item in live:
            place = places[item.id]
            if answer == "again" and item.id not in asked:
                continue
            cells.append(Cell(f"{answer}-{place}", answers[item.id], answer_seconds))
            owners[cells[-1].id] = (item.id, answer)
            if item.id in asked:
                which = item.public_seeds if probe == "public" else seeds[item.id]
                cells.append(Cell(f"{probe}-{place}", probe_cell(item, which, nonce), item.seconds))
                owners[cells[-1].id] = (item.id, probe)
    return cells, owners


def probe_cell(item: Item, seeds: Sequence[int], nonce: str) -> str:
    """The text of a cell that calls the answer with these seeds and shows what it gave, and knows nothing else.

    Where an earlier probe of the item was stopped it does nothing: the item is lost, and its time need not pass twice.
    """
    from mmcourse.course.engine import ANSWERS

    return f"""
def _():
    import json
    from IPython.display import publish_display_data
    from mmcourse.course.exercise import load_probe, run_probe
    probe, space = load_probe({exercise.probe_source(item)!r}), globals()
    stopped = space.setdefault("_mmcourse_stopped", set())
    if {item.id!r} in stopped:
        return
    stopped.add({item.id!r})
    if {item.answer!r} in space:
        got = [run_probe(probe, space[{item.answer!r}], seed) for seed in {list(seeds)!r}]
    else:
        got = [{{"error": "NameError", "text": "name {item.answer!r} is not defined"}}] * {len(seeds)}
    stopped.discard({item.id!r})
    publish_display_data({{{ANSWERS!r}: json.dumps(got)}}, metadata={{"nonce": {nonce!r}}})
_()
""".strip()


def _collect(
    live: Sequence[Item], owners: Mapping[str, tuple[str, str]], outcomes: Mapping[str, Outcome]
) -> dict[str, Ran]:
    came = {item.id: Ran() for item in live}
    for cell_id, (item_id, part) in owners.items():
        outcome, ran = outcomes.get(cell_id), came[item_id]
        if outcome is None:
            continue
        ran.forged = ran.forged or outcome.forged or (part in ("answer", "again") and bool(outcome.answers))
        if outcome.status in FINAL and ran.status not in FINAL:
            ran.status = outcome.status
        if part == "answer" and outcome.status == "error":
            ran.error = outcome.error
        if part in ("public", "secret"):
            ran.twice = ran.twice or len(outcome.answers) > 1
            setattr(ran, part, parse_answers(outcome.answers))
    return came


def parse_answers(texts: Sequence[str]) -> list[Any] | None:
    """The list that a probe's cell showed. Exactly one is expected; it is JSON that anybody may have written."""
    if len(texts) != 1:
        return None
    try:
        submission.check_nesting(texts[0], depth=40)
        got = json.loads(texts[0])
    except (ValueError, RecursionError):
        return None
    return got if isinstance(got, list) else None


def _what_ended(outcomes: Mapping[str, Outcome]) -> str:
    ended = [o for o in outcomes.values() if o.status not in ("done", "not run")]
    return "; ".join(f"{o.id}: {o.status} {o.error}".strip() for o in ended[-3:]) or "no cell was run"


def _flags_of(ran: Mapping[str, Ran]) -> list[str]:
    flags = [f"{name}: it showed answers of its own making; they were ignored" for name, r in ran.items() if r.forged]
    return flags + [f"{name}: its probe gave more than one list of answers" for name, r in ran.items() if r.twice]


# ---- judging


def judge(assignment: Assignment, item: Item, ran: Ran | None, seeds: Sequence[int]) -> dict[str, Any]:
    """One item of a result: points, status, sentence, and what may be shown of the public example."""
    entry: dict[str, Any] = {
        "id": item.id,
        "title": item.title,
        "points": 0,
        "out_of": item.points,
        "status": "missing",
        "sentence": SENTENCES["missing"],
        "misconception": None,
        "example": None,
        "error": "",
    }
    if ran is None:
        return entry
    public = _judge_public(assignment, item, ran.public)
    entry["example"] = _example(assignment, item, ran.public, public)
    entry["error"] = _shown_error(ran)
    if ran.status in FINAL:
        return entry | {"status": ran.status, "sentence": SENTENCES[ran.status]}
    if public.sentence == exercise.UNANSWERED and not public.right:
        return entry | {"status": "no answer", "sentence": SENTENCES["no answer"], "example": None, "error": ""}
    if ran.public is None or ran.secret is None:
        return entry | {"status": "no result", "sentence": SENTENCES["no result"]}
    hidden = exercise.diagnose(assignment, item, list(seeds), ran.secret)
    if public.right and hidden.right:
        # what an answer raised or showed beside a right result helps nobody
        return entry | {"points": item.points, "status": "right", "sentence": SENTENCES["right"], "error": ""}
    named = hidden if hidden.misconception else public
    entry |= {"status": "wrong", "misconception": named.misconception, "sentence": named.sentence or WRONG_HINT}
    if named.misconception is None and public.right:
        entry["sentence"] = SECRET_HINT
    elif entry["error"] and named.misconception is None:
        nameless = entry["error"].startswith("NameError")
        entry |= {"status": "error", "sentence": "Your code raises an error." + (f" {NAME_HINT}" if nameless else "")}
    return entry


_KNOWN: dict[tuple[str, str, str], Any] = {}  # what the public seeds gave: most of a class gives the same answers


def _judge_public(assignment: Assignment, item: Item, got: list[Any] | None) -> exercise.Verdict:
    key = (assignment.digest, item.id, hashlib.sha256(json.dumps(got).encode()).hexdigest())
    if key not in _KNOWN:
        if len(_KNOWN) > 2_000:
            _KNOWN.clear()
        _KNOWN[key] = exercise.diagnose(assignment, item, list(item.public_seeds), got)
    return _KNOWN[key]


def _public_answers(assignment: Assignment, item: Item) -> list[dict[str, Any]]:
    key = (assignment.digest, item.id, "expected")
    if key not in _KNOWN:
        _KNOWN[key] = exercise.expected_answers(assignment, item, item.public_seeds)
    return _KNOWN[key]


def _example(
    assignment: Assignment, item: Item, got: list[Any] | None, verdict: exercise.Verdict
) -> dict[str, str] | None:
    """What came and what was expected on the public seed that went wrong, or on the first."""
    if not got:
        return None
    index = max(0, verdict.seed_index)
    expected = _public_answers(assignment, item)[index]["ok"]
    key = item.example if item.example in expected else next(iter(expected), "")
    difference = verdict.difference
    if difference is not None:
        top = re.split(r"[.\[]", difference.path, maxsplit=1)[0]
        key = top if top in expected else key
    run = got[index] if index < len(got) else None
    values = run.get("ok") if isinstance(run, dict) else None
    here = values[key] if isinstance(values, dict) and key in values else None
    came = exercise.lay_out(here) if here is not None else (difference.got if difference else "nothing")
    where = f"{difference.path}: " if difference and difference.path not in ("", key) else ""
    why = where + difference.why if difference else ""
    return {"name": key, "got": came, "expected": exercise.lay_out(expected.get(key)), "why": why}


def _shown_error(ran: Ran) -> str:
    """The error of the answer's own code, from the part of the run that no secret was in; bounded."""
    text = ran.error
    for run in ran.public or []:
        if (
            not text
            and isinstance(run, dict)
            and isinstance(run.get("error"), str)
            and isinstance(run.get("text"), str)
        ):
            text = f"{run['error']}: {run['text']}"
    if text.startswith(("SyntaxError", "IndentationError", "TabError")):
        text = re.sub(r"\((?:[^()\s]+\.py|<[^<>]*>), line (\d+)\)", r"(line \1 of your cell)", text)
    return "\n".join(submission.printable(line, 200) for line in text.strip().splitlines()[:6])


# ---- workers on this machine


def _in_processes(job: Job, todo: Sequence[Entry], jobs: int) -> Generator[dict[str, Any], None, None]:
    """Results in the order in which they are ready. A worker that dies or hangs is replaced, its submission tried
    again; what fails twice is reported as failed, without a score."""
    queue = deque((entry, 1) for entry in todo)
    workers: list[_Worker] = []
    try:
        while queue or any(worker.entry for worker in workers):
            workers = [worker for worker in workers if not worker.spent()]
            while len(workers) < min(jobs, len(queue) + sum(worker.entry is not None for worker in workers)):
                workers.append(_Worker(job))
            for worker in workers:
                if worker.ready and worker.entry is None and queue and worker.count < RECYCLE:
                    worker.give(*queue.popleft())
            for worker in _wait_for(workers):
                answer = worker.take()
                if answer is None:
                    continue
                kind, value = answer
                entry, tries = worker.entry, worker.tries
                worker.entry = None
                if kind == "result":
                    yield value
                elif kind == "broken" or entry is None:
                    raise RuntimeError(value)
                elif tries < TRIES:
                    queue.append((entry, tries + 1))
                else:
                    yield _blank_result(job, entry, "failed", f"the grader could not grade it: {value}")
    finally:
        for worker in workers:
            worker.end()


def _wait_for(workers: Sequence[_Worker]) -> list[_Worker]:
    """The workers that have something to say, after at most a second."""
    ready = set(
        wait([worker.pipe for worker in workers] + [worker.process.sentinel for worker in workers], timeout=1.0)
    )
    late = [worker for worker in workers if worker.late()]
    return late + [w for w in workers if w not in late and (w.pipe in ready or w.process.sentinel in ready)]


class _Worker:
    """A process with a sandbox of its own, which grades one submission at a time."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, job, os.getpid()), name="mmcourse-grader")
        self.process.start()
        theirs.close()
        self.limit = _outer_limit(job)
        self.ready, self.closed, self.count, self.tries = False, False, 0, 0
        self.entry: Entry | None = None
        self.began = time.monotonic()

    def give(self, entry: Entry, tries: int) -> None:
        self.entry, self.tries, self.began = entry, tries, time.monotonic()
        self.count += 1
        with contextlib.suppress(OSError):  # it is dead; ``take`` will find that out
            self.pipe.send(entry)

    def late(self) -> bool:
        return (self.entry is not None or not self.ready) and time.monotonic() - self.began > self.limit

    def take(self) -> tuple[str, Any] | None:
        """("result", result), ("error", why), ("broken", why), or None where there is nothing to do."""
        if self.late():
            self.end(patience=0)
            return "error", f"it took longer than {self.limit:.0f} s"
        try:
            if self.pipe.poll():
                kind, value = self.pipe.recv()
                if kind == "ready":
                    self.ready = True
                    return None
                return kind, value
        except (EOFError, OSError):
            pass
        if self.process.is_alive():
            return None
        self.end()
        code = self.process.exitcode
        return (
            ("error", f"its worker ended with status {code}")
            if self.entry
            else (None if self.ready else ("broken", f"a grading worker did not start (exit status {code})."))
        )

    def spent(self) -> bool:
        """Whether it is closed, or has graded enough and is idle; then it is ended."""
        if not self.closed and self.entry is None and self.count >= RECYCLE:
            self.end()
        return self.closed

    def end(self, patience: float = 10) -> None:
        """Ask it to end, so that it takes its sandbox down; after ``patience`` seconds it is killed."""
        if self.closed:
            return
        self.closed = True
        self.pipe.close()
        if self.process.is_alive() and patience:
            self.process.terminate()
            self.process.join(patience)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


def _outer_limit(job: Job) -> float:
    """Seconds that a worker may take for one submission: its kernels end long before, unless something is wrong."""
    from mmcourse.course.sandbox import Limits

    return (job.limits or Limits()).total_seconds * 6 + SPARE_SECONDS


def _work(pipe: Connection, job: Job, parent: int) -> None:
    """A worker's life. It ends when its pipe closes, when it is asked to, or with its parent."""
    os.environ["OMP_NUM_THREADS"] = "1"  # workers run side by side; torch is not imported yet
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C in the terminal is for the parent alone
    _die_with(parent)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    try:
        with Grader(job) as grader:
            pipe.send(("ready", None))
            while True:
                try:
                    entry = pipe.recv()
                except (EOFError, OSError):
                    return
                pipe.send(_try(grader, entry))
    except BrokenPipeError:
        return
    except Exception as error:
        with contextlib.suppress(OSError):
            pipe.send(("broken", f"{type(error).__name__}: {error}"))


def _try(grader: Grader, entry: Entry, data: bytes | None = None) -> tuple[str, Any]:
    try:
        return "result", grader.grade(entry, data)
    except Exception as error:
        return "error", f"{type(error).__name__}: {error}"


def _die_with(parent: int) -> None:
    """Where the system can (Linux), this process is killed when its parent ends in whatever way."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


# ---- workers of a cluster


def _on_cluster(job: Job, todo: Sequence[Entry], address: str) -> Generator[dict[str, Any], None, None]:
    """The same work on a Dask cluster. Its workers need this package and the exercises; files travel with the task."""
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise ValueError(
            "--scheduler needs the package distributed, which is not installed: pip install 'mmcourse[cluster]'."
        ) from None
    try:
        client = Client(address, timeout=20)
    except (OSError, ValueError) as error:
        raise ValueError(f"--scheduler: no Dask scheduler answered at {address!r}: {error}") from error
    job = Job(job.assignment, "", job.digest, job.secret, job.unsafe, job.limits)
    queue: deque[Entry] = deque(todo)
    entries: dict[Any, Entry] = {}
    with client:
        room = 2 * max(1, sum(client.nthreads().values()))  # files under way at a time
        running = as_completed()

        def send() -> Iterator[dict[str, Any]]:
            """Fill up to ``room``; what cannot even be read has its result at once."""
            while queue and len(entries) < room:
                entry = queue.popleft()
                try:
                    data = _read(entry)
                except Unreadable as error:
                    yield _blank_result(job, entry, "unreadable", str(error), str(error) if entry.path else "")
                    continue
                future = client.submit(_remote, job, _without_path(entry), data, pure=False, retries=1)
                entries[future.key] = entry
                running.add(future)

        yield from send()
        for future in running:
            entry = entries.pop(future.key)
            try:
                kind, value = future.result()
            except Exception as error:  # whatever a cluster may say, the class goes on
                kind, value = "error", f"{type(error).__name__}: {error}"
            future.release()
            if kind == "broken":
                raise RuntimeError(value)
            yield (
                value
                if kind == "result"
                else _blank_result(job, entry, "failed", f"the grader could not grade it: {str(value)[:500]}")
            )
            yield from send()


def _without_path(entry: Entry) -> Entry:
    return Entry(entry.student, entry.shown, entry.file, None, entry.problem)


_REMOTE: dict[Any, Any] = {}


def _remote(job: Job, entry: Entry, data: bytes) -> tuple[str, Any]:
    """What a cluster's worker runs. One sandbox a process, kept warm; one submission at a time."""
    import atexit
    import threading

    with _REMOTE.setdefault("lock", threading.Lock()):
        key = (job.assignment, job.digest, job.unsafe, job.limits)
        grader = _REMOTE.get(key)
        if grader is None or grader.job.secret != job.secret:
            if grader is not None:
                grader.__exit__()
            try:
                grader = Grader(job).__enter__()
            except Exception as error:
                return "broken", f"a cluster's worker on {platform.node()} cannot grade: {error}"
            atexit.register(grader.__exit__)
            _REMOTE[key] = grader
        return _try(grader, entry, data)


# ---- what is derived from the results


def heading_of(assignment: Assignment, sandbox: bool) -> report.Heading:
    """The assignment as pages show it."""
    items = tuple(
        (item.id, item.title, item.points, {known.name: known.sentence for known in item.misconceptions})
        for item in assignment.items
    )
    return report.Heading(assignment.name, assignment.title, items, sandbox)


def _write_derived(
    assignment: Assignment,
    job: Job,
    entries: Sequence[Entry],
    out: Path,
    summary: Summary,
    *,
    format: str,
    scheduler: str | None,
) -> None:
    """Write the tables and pages anew from the results on disk, one result in memory at a time."""
    heading = heading_of(assignment, not job.unsafe)
    (out / "feedback").mkdir(exist_ok=True)
    _remove_leftovers(out, {entry.student for entry in entries})
    rows = []
    for entry in entries:
        result = _load_result(out, entry.student)
        stale = entry.student in summary.stale
        if result is None or stale or (result["key"] and result["key"] != result_key(job, entry, result["sha256"])):
            rows.append(report.Row(entry.student, entry.shown, entry.file, "not graded", "not graded yet"))
            (out / "feedback" / f"{entry.student}.html").unlink(missing_ok=True)
            _remove_gradescope(out, entry.student)
            continue
        rows.append(report.row_of(result))
        write_text(out / "feedback" / f"{entry.student}.html", report.feedback(heading, result))
        path, text = out / "gradescope" / entry.student / "results.json", report.gradescope(heading, result)
        if format == "gradescope":
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
        elif _is_stale(path, text):
            _remove_gradescope(out, entry.student)
    write_text(out / "gradebook.csv", report.gradebook(heading, rows))
    for other, table in (("canvas", report.canvas), ("moodle", report.moodle)):
        path, text = out / f"gradebook_{other}.csv", table(heading, rows)
        if format == other:
            write_text(path, text)
        elif _is_stale(path, text):
            path.unlink()
    summary.rows = rows
    summary.unfinished = sum(row.status == "not graded" for row in rows)
    about = _about(job, scheduler)
    write_text(out / "report.html", report.report(heading, rows, about, unfinished=summary.unfinished))
    summary.lines = _say(heading, summary, out, format)


def _remove_leftovers(out: Path, students: set[str]) -> None:
    """Remove what an earlier run wrote for students who are gone.

    A student who is gone is known by a result of ours under that name; nothing else in the folder is touched.
    """
    for path in sorted((out / "results").glob("*.json")):
        if path.stem not in students and _is_ours(path):
            _remove_gradescope(out, path.stem)
            (out / "feedback" / f"{path.stem}.html").unlink(missing_ok=True)
            path.unlink()


def _is_stale(path: Path, text: str) -> bool:
    """Whether a table of an earlier run, which was not asked for now, is there and says something else."""
    return path.is_file() and path.read_bytes() != text.encode("utf-8", errors="replace")


def _is_ours(path: Path) -> bool:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(result, dict) and result.get("student") == path.stem and {"version", "key"} <= result.keys()


def _remove_gradescope(out: Path, student: str) -> None:
    (out / "gradescope" / student / "results.json").unlink(missing_ok=True)
    for folder in (out / "gradescope" / student, out / "gradescope"):
        with contextlib.suppress(OSError):  # it is not there, or holds something else
            folder.rmdir()


def _about(job: Job, scheduler: str | None) -> dict[str, str]:
    return {
        "graded": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "assignment": f"{job.assignment} ({job.digest[:12]})",
        "sandbox": "none" if job.unsafe else "bubblewrap",
        "workers": f"Dask at {scheduler}" if scheduler else "local processes",
        "mmcourse": __version__,
        "Python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "papermill")},
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _say(heading: report.Heading, summary: Summary, out: Path, format: str) -> list[str]:
    """The plain summary for the terminal."""
    rows, count = summary.rows, Counter(row.status for row in summary.rows)
    graded = [row for row in rows if row.status == "graded"]
    lines = [] if heading.sandbox else [f"WARNING: {report.UNSAFE}"]
    lines.append(
        f"{len(rows)} submissions: {count['graded']} graded, {count['unreadable']} not readable, "
        f"{count['failed']} failed, {count['not graded']} not graded yet "
        f"({summary.graded_now} done now, {summary.kept} kept from before)"
    )
    if graded:
        mean = sum(row.total for row in graded) / len(graded)
        lines.append(f"mean score {report.number(mean)} of {heading.out_of}")
    for name, _, points, _ in heading.items if graded else ():
        solved = sum(row.states.get(name) == "right" for row in graded)
        usual = Counter(row.misconceptions[name] for row in graded if name in row.misconceptions).most_common(1)
        note = f"; most usual wrong answer: {usual[0][0]} ({usual[0][1]})" if usual else ""
        lines.append(f"  {name} ({points} points): {solved} of {len(graded)} right{note}")
    lines += [f"not readable: {row.student}: {row.reason}" for row in rows if row.status in ("unreadable", "failed")][
        :20
    ]
    flagged = sum(bool(row.flags) for row in rows)
    if flagged:
        lines.append(f"{flagged} flagged for a person to look at; report.html says what was seen")
    table = {"csv": "gradebook.csv", "gradescope": "gradescope/"}.get(format, f"gradebook_{format}.csv")
    lines.append(f"see {out / 'report.html'}, {out / table}, {out / 'feedback'}")
    if summary.interrupted:
        lines.append("interrupted; run the same command again to go on")
    return lines
