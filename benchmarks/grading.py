"""Our grader beside nbgrader's: python -m benchmarks.grading throughput|corpus

    python -m benchmarks.grading throughput [STUDENTS [ROUNDS_OF_OURS [ROUNDS_OF_NBGRADER]]]
    python -m benchmarks.grading corpus [NUMBER ...]

throughput: a class of 30 with a mixture of right, wrong and untouched answers, graded by both, in turn. A smaller class
is for trying it out and writes nothing.
corpus: the odd and hostile submissions of tests/corpus.py through both, side by side. With numbers of cases, those
alone, and nothing is written.

nbgrader has no sandbox, so hostile submissions reach it only in a box made here: bubblewrap, an ordinary user without a
network, the project read-only, a course folder in memory, limits on processes, memory, time and file size, and a clock
outside that ends it.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import itertools
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mmcourse import runtime
from mmcourse.course import exercise, release, sandbox
from mmcourse.course.submission import printable

NAME = "09_text2image"
CLASS = 30
SHARES = {"right": 0.55, "wrong": 0.35, "untouched": 0.10}  # of all answers of the class
MARKERS = re.compile(r"^ *### (?:BEGIN|END) SOLUTION\n", re.MULTILINE)

BOX_USER = 65533  # nobody else's: a limit on processes counts all that a user has
BOX_SECONDS = 150.0  # one submission; nbgrader's own limit is 30 s a cell
BOX_CLASS_SECONDS = 1500.0
QUIET = 120.0  # nbgrader has said nothing for so long: it hangs
BOX_MEMORY_MB = 3_500  # resident, of all that runs in the box; a process alone cannot have that much
BOX_LIMITS = {"nproc": 100, "as": 2_700_000_000, "cpu": 200, "fsize": 300_000_000, "nofile": 512, "core": 0}
BOX_FOLDERS = {"/course": 400_000_000, "/tmp": 100_000_000, "/dev/shm": 50_000_000}  # bytes in memory


# ---- a class


def make_class(folder: Path, students: int, name: str = NAME, seed: int = 0) -> dict[str, dict[str, str]]:
    """Write ``students`` notebooks into a folder; returns student -> item -> what kind of answer it got.

    A kind is "untouched", "right: WHICH" or "wrong: MISCONCEPTION". Answers are the reference, the other right answers
    and the known wrong ones that can be written in one cell.
    """
    assignment = exercise.load_assignment(name)
    known: dict[str, dict[str, dict[str, str]]] = {}
    for item in assignment.items:
        right = {"reference": MARKERS.sub("", assignment.references[item.id])}
        right |= {f.__name__: text for f in item.also_right if (text := as_cell(f, item.answer, assignment.setup))}
        wrong = {
            known_wrong.name: text
            for known_wrong in item.misconceptions
            if (text := as_cell(known_wrong.wrong, item.answer, assignment.setup))
        }
        known[item.id] = {"right": right, "wrong": wrong}
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place:
        release.release(name, Path(place))
        released = (Path(place) / f"{name}.ipynb").read_text(encoding="utf-8")
    draw, kinds = random.Random(seed), {}
    for number in range(students):
        book, row = json.loads(released), {}
        cells = {cell["id"]: cell for cell in book["cells"]}
        for item_id, answers in known.items():
            (kind,) = draw.choices(list(SHARES), list(SHARES.values()))
            row[item_id] = kind
            if kind in answers:
                which = draw.choice(list(answers[kind]))
                cells[item_id]["source"] = answers[kind][which].splitlines(keepends=True)
                row[item_id] = f"{kind}: {which}"
        kinds[f"student-{number:02d}"] = row
        (folder / f"student-{number:02d}.ipynb").write_text(json.dumps(book, indent=1) + "\n", encoding="utf-8")
    return kinds


def as_cell(function: Callable, name: str, setup: str) -> str | None:
    """A function of a checks file as a learner would write it: its own name, no annotations, its helpers above it.

    None where it needs what neither a notebook's setup nor the file's own functions give.
    """
    imports = [node for node in ast.walk(ast.parse(setup)) if isinstance(node, ast.Import | ast.ImportFrom)]
    given = {alias.asname or alias.name for node in imports for alias in node.names}
    parts: dict[str, str] = {}

    def add(one: Any, called: str) -> bool:
        if not isinstance(one, types.FunctionType) or one.__closure__ or one.__name__ == "<lambda>":
            return False
        tree = ast.parse(inspect.getsource(one)).body[0]
        assert isinstance(tree, ast.FunctionDef)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.returns = None
            if isinstance(node, ast.arg):
                node.annotation = None
        own, tree.name = tree.name, called
        wanted = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & set(one.__globals__)
        for helper in sorted(wanted - given - {own}):
            if helper not in parts and not add(one.__globals__[helper], helper):
                return False
        parts[called] = ast.unparse(tree)
        return True

    return "\n\n\n".join(parts.values()) + "\n" if add(function, name) else None


def honest_scores(kinds: dict[str, dict[str, str]], name: str = NAME) -> dict[str, float]:
    """What each student of ``make_class`` must get."""
    points = {item.id: item.points for item in exercise.load_assignment(name).items}
    return {s: sum(points[i] for i, kind in row.items() if kind.startswith("right")) for s, row in kinds.items()}


# ---- both graders on a class


def command_environment() -> dict[str, str]:
    """As a teacher's terminal has it; the environment's own programs come first."""
    here = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "JUPYTER_PREFER_ENV_PATH": "1"}
    left_out = ("NBGRADER_EXECUTION", "OMP_NUM_THREADS")
    return {key: value for key, value in os.environ.items() if key not in left_out} | here


def timed_run(words: Sequence[str], folder: Path, **more: str) -> float:
    """Seconds of a whole command, from its start to its end. Raises where it fails."""
    began = time.perf_counter()
    done = subprocess.run(words, cwd=folder, env=command_environment() | more, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(words)} ended with {done.returncode}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
        )
    return seconds


def run_ours(folder: Path, out: Path, name: str = NAME) -> dict[str, Any]:
    """``mmcourse grade`` on a class, cold; then once more, when nothing is left to grade but all pages are written."""
    words = [sys.executable, "-m", "mmcourse.course.cli", "grade", str(folder), "--assignment", name]
    words += ["--out", str(out), "--jobs", "2"]
    load = os.getloadavg()[0]
    seconds = timed_run(words, runtime.ROOT)
    again = timed_run(words, runtime.ROOT)
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((out / "results").glob("*.json"))]
    return {
        "seconds": round(seconds, 2),
        "again_seconds": round(again, 2),
        "submission_seconds": spread([r["seconds"] for r in results]),
        "load": round(load, 2),
        "scores": {r["student"]: sum(item["points"] for item in r["items"]) for r in results},
    }


def make_course(home: Path, solutions: Path, name: str) -> None:
    """An nbgrader course whose assignment is generated; ``solutions`` holds NAME.ipynb and NAME.checks.json."""
    (home / "source" / name).mkdir(parents=True)
    for suffix in (".ipynb", ".checks.json"):
        shutil.copy(solutions / f"{name}{suffix}", home / "source" / name)
    timed_run([sys.executable, "-m", "nbgrader", "generate_assignment", name, "--create"], home)


def run_nbgrader(folder: Path, home: Path, name: str = NAME) -> dict[str, Any]:
    """``nbgrader autograde`` on the same class. Generating the assignment and handing in are not part of its time."""
    make_course(home, runtime.ROOT / "exercises" / "solutions", name)
    for path in sorted(folder.glob("*.ipynb")):
        place = home / "submitted" / path.stem / name
        place.mkdir(parents=True)
        shutil.copy(path, place / f"{name}.ipynb")
    load = os.getloadavg()[0]
    seconds = timed_run([sys.executable, "-m", "nbgrader", "autograde", name], home)
    written = sorted(path.stat().st_mtime for path in home.glob(f"autograded/*/{name}/{name}.ipynb"))
    return {
        "seconds": round(seconds, 2),
        "submission_seconds": spread([later - one for one, later in itertools.pairwise(written)]),
        "load": round(load, 2),
        "scores": {s: sum(v["points"] or 0 for v in row.values()) for s, row in nbgrader_scores(home).items()},
    }


SCORES = """
SELECT submitted_assignment.student_id, base_cell.name, grade.auto_score, grade.needs_manual_grade FROM grade
JOIN base_cell ON grade.cell_id = base_cell.id JOIN submitted_notebook ON grade.notebook_id = submitted_notebook.id
JOIN submitted_assignment ON submitted_notebook.assignment_id = submitted_assignment.id
"""


def nbgrader_scores(home: Path) -> dict[str, dict[str, Any]]:
    """Student -> test cell -> points and whether they wait for a person, from nbgrader's database."""
    import sqlite3

    found: dict[str, dict[str, Any]] = {}
    with contextlib.closing(sqlite3.connect(f"file:{home / 'gradebook.db'}?mode=ro", uri=True)) as base:
        for student, cell, points, waits in base.execute(SCORES):
            found.setdefault(student, {})[cell] = {"points": points, "waits": bool(waits)}
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    low, middle, high = min(values), statistics.median(values), max(values)
    return {"median": round(middle, 2), "low": round(low, 2), "high": round(high, 2)}


# ---- where our time goes


def parts(folder: Path, name: str = NAME) -> dict[str, Any]:
    """One worker's work on a class in this process, taken apart. Call it in a fresh process: imports are part of it."""
    os.environ["OMP_NUM_THREADS"] = "1"  # as in a worker
    began = time.perf_counter()
    assignment = exercise.load_assignment(name)
    loaded = time.perf_counter()
    from mmcourse.course import engine, grade, submission

    job = grade.Job(name, str(exercise.course_root()), assignment.digest, b"s" * 32)
    entries = submission.find(folder, name)
    grader = grade.Grader(job)
    spent: defaultdict[str, float] = defaultdict(float)
    cells: defaultdict[str, float] = defaultdict(float)

    def watch(owner: Any, function: str, label: str) -> None:
        plain = getattr(owner, function)

        def watched(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                result = plain(*arguments, **options)
            finally:
                spent[label] += time.perf_counter() - start
            for outcome in result if label == "kernels" else ():
                cells[outcome.id.split("-")[0]] += outcome.seconds
            return result

        setattr(owner, function, watched)

    watch(engine, "execute", "kernels")
    watch(engine.SandboxClient, "papermill_execute_cells", "cells")
    watch(grade, "judge", "judging")
    start = time.perf_counter()
    with grader:
        warm, each = time.perf_counter() - start, []
        for entry in entries:
            start = time.perf_counter()
            grader.grade(entry)
            each.append(time.perf_counter() - start)
    n = len(entries)
    share = {
        "kernel start and end": spent["kernels"] - spent["cells"],
        "cells": spent["cells"],
        "expected answers, known wrong answers, comparison": spent["judging"],
        "reading and the rest": sum(each) - spent["kernels"] - spent["judging"],
    }
    names = {"setup": "setup", "answer": "answers", "public": "public probes", "again": "answers again"}
    names["secret"] = "secret probes"
    return {
        "submissions": n,
        "once": {"import torch, load the assignment": round(loaded - began, 2), "warm start": round(warm, 2)},
        "a_submission": {key: round(value / n, 3) for key, value in share.items()},
        "a_submissions_cells": {names.get(key, key): round(value / n, 3) for key, value in cells.items()},
        "submission_seconds": spread(each),
    }


def throughput(students: int, ours: int, theirs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="mmcourse-throughput-") as place:
        base = Path(place)
        kinds = make_class(base / "class", students)
        honest = honest_scores(kinds)
        rows: dict[str, list[dict[str, Any]]] = {"mmcourse": [], "nbgrader": []}
        for number in range(max(ours, theirs)):
            for grader, rounds in (("mmcourse", ours), ("nbgrader", theirs)):
                if number < rounds:
                    run = run_ours if grader == "mmcourse" else run_nbgrader
                    row = run(base / "class", base / f"{grader}-{number}")
                    row["scores_as_written"] = row.pop("scores") == honest
                    row["a_minute"] = round(60 * students / row["seconds"], 1)
                    rows[grader].append(row)
                    print(grader, row, flush=True)
        words = [sys.executable, "-m", "benchmarks.grading", "parts", str(base / "class")]
        alone = subprocess.run(words, cwd=runtime.ROOT, capture_output=True, text=True, check=True)
        where = json.loads(alone.stdout.splitlines()[-1])
    medians = {grader: statistics.median(r["seconds"] for r in found) for grader, found in rows.items()}
    ratios = [
        round(theirs_row["seconds"] / ours_row["seconds"], 2)
        for ours_row, theirs_row in zip(rows["mmcourse"], rows["nbgrader"], strict=False)
    ]
    again = statistics.median(r["again_seconds"] for r in rows["mmcourse"])
    a_submission, once = sum(where["a_submission"].values()), sum(where["once"].values())
    where["of_the_whole"] = {
        "what": "seconds of the command with 2 workers, as the sum of its parts",
        "command, assignment, pages": round(again, 2),
        "workers' start": round(once, 2),
        "submissions, two at a time": round(a_submission * students / 2, 2),
        "sum": round(again + once + a_submission * students / 2, 2),
        "measured": medians["mmcourse"],
    }
    answers = Counter(kind.split(":")[0] for row in kinds.values() for kind in row.values())
    table = {
        "what": f"seconds to grade {students} submissions of {NAME}: the whole command, cold start included",
        "command": f"python -m benchmarks.grading throughput {students} {ours} {theirs}",
        "nbgrader": version("nbgrader"),
        "answers": {**answers, "different": len({(i, k) for row in kinds.values() for i, k in row.items()})},
        "median_seconds": medians,
        "times_nbgraders_throughput": {
            "by_medians": round(medians["nbgrader"] / medians["mmcourse"], 2),
            "by_round": ratios,
        },
        "where_our_time_goes": where,
        "rounds": rows,
    }
    print(json.dumps({key: table[key] for key in list(table)[3:-1]}, indent=1))
    if students >= CLASS:
        print("wrote", runtime.write_results("grading_throughput", table))


def version(package: str) -> str:
    import importlib.metadata

    return importlib.metadata.version(package)


# ---- a box for nbgrader

CHECK_BOX = """
import ctypes, json, os, resource, socket
def can(do, *a):
    try:
        do(*a)
        return True
    except OSError:
        return False
home, project = HOME, PROJECT
seen = [os.path.join(project, name) for name in os.listdir(project)]
print(json.dumps({
    "user": os.getuid(),
    "network": can(socket.create_connection, ("192.0.2.1", 80), 2) or len(socket.if_nameindex()) > 1,
    "writes": [p for p in ("/", "/usr", "/etc", "/dev", home, *seen) if can(open, os.path.join(p, "probe"), "w")],
    "project": sorted(os.path.basename(p) for p in seen),
    "processes": sum(name.isdigit() for name in os.listdir("/proc")),
    "namespace": ctypes.CDLL(None).unshare(0x10000000) == 0,
    "limits": {n: resource.getrlimit(getattr(resource, "RLIMIT_" + n.upper()))[1] for n in NAMES},
    "room": {p: os.statvfs(p).f_blocks * os.statvfs(p).f_frsize for p in ROOMS},
}))
"""

GRADE_IN_BOX = """
import json, os, subprocess, sys, time
handed_in, name, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
log = os.dup(2)  # a file outside, so that a full disk inside does not end what is said
subprocess.run(["cp", "-a", handed_in + "/.", "/course"], stdout=log, stderr=log)
os.truncate(log, 0)
os.lseek(log, 0, 0)
began = time.monotonic()
run = subprocess.Popen([sys.executable, "-m", "nbgrader", "autograde", name], stdin=subprocess.DEVNULL, stdout=log,
                       stderr=log, cwd="/course")
code, grown, size = None, began, 0
while code is None and time.monotonic() < min(began + seconds, grown + QUIET):
    try:
        code = run.wait(0.5)
    except subprocess.TimeoutExpired:
        if os.fstat(log).st_size != size:
            grown, size = time.monotonic(), os.fstat(log).st_size
found = {"code": code, "seconds": round(time.monotonic() - began, 1)}
found["quiet"] = code is None and time.monotonic() >= grown + QUIET
found["left"] = sum(name.isdigit() for name in os.listdir("/proc")) - 2 if code is not None else 0
size = os.fstat(log).st_size
found["log"] = os.pread(log, 60000, max(0, size - 60000)).decode("utf-8", "replace")
try:
    import sqlite3
    base = sqlite3.connect("file:/course/gradebook.db?mode=ro", uri=True)
    found["scores"] = base.execute(SCORES).fetchall()
except Exception as error:
    found["scores"], found["lost"] = [], repr(error)
print(json.dumps(found))
"""


def box_command(folder: Path, words: Sequence[str]) -> list[str]:
    """The command line that runs ``words`` in the box. It sees the system, Python, this package and ``folder``."""
    names = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "USER": "student",
        "LOGNAME": "student",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    look = [*sandbox._tree(), "--ro-bind", str(folder), str(folder), "--ro-bind", str(folder / "passwd"), "/etc/passwd"]
    inner = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]
    inner += ["--hostname", "box", "--clearenv"]
    for name, value in names.items():
        inner += ["--setenv", name, value]
    rooms = {at: ["--perms", "1777", "--size", str(size), "--tmpfs", at] for at, size in BOX_FOLDERS.items()}
    inner += [*rooms["/tmp"], *rooms["/course"], *look, "--dev", "/dev", *rooms["/dev/shm"], "--proc", "/proc"]
    inner += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/course", "--"]
    inner += ["nice", "-n", "19", "prlimit", *(f"--{name}={most}" for name, most in BOX_LIMITS.items()), "--", *words]
    if os.geteuid() != 0:
        return inner
    # a process namespace of its own, so that the end of the outermost process is the end of all: the change of user
    # makes the inner bubblewrap forget whose child it was
    outer = [
        "bwrap",
        "--unshare-pid",
        "--die-with-parent",
        "--perms",
        "1777",
        "--dir",
        "/tmp",
        *look,
        "--dev-bind",
        "/dev",
        "/dev",
    ]
    outer += ["--bind", "/proc", "/proc", "--chdir", "/"]
    outer += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP", "--"]
    drop = ["setpriv", f"--reuid={BOX_USER}", f"--regid={BOX_USER}", "--clear-groups", "--no-new-privs"]
    return [*outer, *drop, "--bounding-set=-all", "--inh-caps=-all", *inner]


def in_box(folder: Path, words: Sequence[str], seconds: float) -> tuple[str, str]:
    """Run ``words`` in the box; returns how it ended ("done", "clock", "memory") and what it printed, at most 1 MB.

    Nothing of it runs when this returns.
    """
    (folder / "passwd").write_text(f"student:x:{BOX_USER}:{BOX_USER}::/tmp:/bin/sh\n")
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            box_command(folder, words),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=errors,
            env={"PATH": os.environ["PATH"]},
            start_new_session=True,
            cwd="/",
        )
        ended, until = "done", time.monotonic() + seconds
        try:
            while process.poll() is None and ended == "done":
                time.sleep(0.2)
                if time.monotonic() > until:
                    ended = "clock"
                elif memory_mb(process.pid) > BOX_MEMORY_MB:
                    ended = "memory"
        finally:
            left = family(process.pid)
            process.kill()  # the end of its first process is the end of all of them
            process.wait()
        if alive := still_there(left, 10):
            raise RuntimeError(f"the box did not hold: {alive} processes still run.")
        said.seek(0)
        text = said.read(1_000_000).decode("utf-8", "replace")
        errors.seek(0)
        problem = errors.read(1_000_000).decode("utf-8", "replace").strip()
        if ended == "done" and not text and problem.startswith(("bwrap:", "setpriv:", "prlimit:")):
            raise RuntimeError(f"the box did not start: {problem[-1000:]}")
        return ended, text


def family(pid: int) -> list[Any]:
    """All descendants of a process."""
    import psutil

    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def memory_mb(pid: int) -> float:
    """Resident memory of all descendants of a process. What forks share is counted once, where it matters."""
    import psutil

    resident, shared_out = 0.0, 0.0
    members = family(pid)
    for one in members:
        with contextlib.suppress(psutil.Error):
            resident += one.memory_info().rss / 1e6
    if resident < BOX_MEMORY_MB:
        return resident
    for one in members:
        with contextlib.suppress(psutil.Error):
            shared_out += one.memory_full_info().pss / 1e6
    return shared_out


def still_there(processes: Sequence[Any], seconds: float) -> int:
    """How many of these processes still run after at most so many seconds. A zombie is not counted."""
    import psutil

    until = time.monotonic() + seconds
    while True:
        alive = 0
        for one in processes:
            with contextlib.suppress(psutil.Error):
                alive += one.is_running() and one.status() != psutil.STATUS_ZOMBIE
        if not alive or time.monotonic() > until:
            return alive
        time.sleep(0.1)


def try_box() -> dict[str, Any]:
    """What code in the box can reach, as it sees it. Raises ``RuntimeError`` where that is more than it should be."""
    project = str(runtime.ROOT)
    text = CHECK_BOX.replace("HOME", repr(str(Path.home()))).replace("PROJECT", repr(project))
    text = text.replace("NAMES", repr(list(BOX_LIMITS))).replace("ROOMS", repr(list(BOX_FOLDERS)))
    with box_folder() as folder:
        _, said = in_box(folder, [sys.executable, "-I", "-c", text], 60)
    found: dict[str, Any] = json.loads(said)
    wrong = [key for key in ("network", "writes", "namespace") if found[key]]
    wrong += [] if found["user"] != 0 and found["processes"] <= 3 else ["user or processes"]
    wrong += [] if found["limits"] == BOX_LIMITS else ["limits"]
    wrong += [name for name, size in found["room"].items() if size > 1.1 * BOX_FOLDERS[name]]
    wrong += [name for name in found["project"] if not name.startswith((".venv", "mmcourse"))]
    if wrong:
        raise RuntimeError(f"the box does not hold what it must ({', '.join(wrong)}): {found}")
    return found


@contextlib.contextmanager
def box_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mmcourse-box-") as place:
        yield Path(place)


# ---- the corpus


def load_corpus() -> Any:
    """tests/corpus.py."""
    sys.path.insert(0, str(runtime.ROOT / "tests"))
    import corpus

    return corpus


def student_of(case: Any) -> str:
    """The folder's name under which nbgrader gets a case: the file's own name without its ending."""
    return case.file.removesuffix(".ipynb").removesuffix(".zip")


def hand_in(case: Any, base: Path, home: Path, right: bytes) -> None:
    """Put a case where nbgrader looks for it: submitted/STUDENT/tiny/tiny.ipynb, as a teacher would collect it."""
    name = "tiny"
    place = home / "submitted" / student_of(case) / name
    place.mkdir(parents=True)
    if isinstance(case.make, bytes):
        (place / f"{name}.ipynb").write_bytes(case.make)
        return
    desk = base / "desk"
    desk.mkdir(exist_ok=True)
    (desk / "01-right.ipynb").write_bytes(right)  # what a link points to
    made = desk / case.file
    case.make(made)
    if made.is_dir() and not made.is_symlink():
        place.rmdir()
        made.rename(place)
    else:
        made.rename(place / (f"{name}.ipynb" if made.suffix == ".ipynb" else made.name))


def nbgrader_in_box(cases: Sequence[Any], course: Path, seconds: float) -> dict[str, Any]:
    """``nbgrader autograde`` on a class of these cases, in the box. Returns how it ended, its log and its scores."""
    right = next(case.make for case in load_corpus().cases() if case.key == "01-right")
    with box_folder() as folder:
        shutil.copytree(course, folder / "home")
        for case in cases:
            hand_in(case, folder, folder / "home", right)
        words = [sys.executable, "-I", "-c", GRADE_IN_BOX.replace("SCORES", repr(SCORES)).replace("QUIET", str(QUIET))]
        ended, said = in_box(folder, [*words, str(folder / "home"), "tiny", str(seconds)], seconds + 30)
    found: dict[str, Any] = {"ended": ended, "code": None, "seconds": seconds, "log": "", "scores": []}
    with contextlib.suppress(ValueError, IndexError):
        found |= json.loads(said.splitlines()[-1])
    scores: dict[str, dict[str, Any]] = {}
    for student, cell, points, waits in found["scores"]:
        scores.setdefault(student, {})[cell.removesuffix("-check")] = None if waits and points is None else points
    return found | {"scores": scores}


def cause(log: str) -> str:
    """The error of the last traceback in nbgrader's log, or its last error, in one line."""
    raised = re.findall(
        r"^ *((?:\w+\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Invalid|Timeout)\w*\b.*)$", log, re.MULTILINE
    )
    told = re.findall(r"\| (?:ERROR|CRITICAL)\] *(.*)$", log, re.MULTILINE)
    for line in [*reversed(raised), *told]:
        if "NbGraderException" not in line and line.strip():
            return printable(line, 140)
    return printable((log.strip().splitlines() or ["nothing was said"])[-1], 140)


def verdict(honest: int | None, got: float | None, *, at_most: bool = False) -> str:
    """What a score means. ``honest`` None: the file cannot be read, and that must be said."""
    if got is None:
        return "as it should be" if honest is None else "not graded"
    if honest is None:
        return "above" if got > 0 else "a zero for a file that cannot be read"
    if got > honest:
        return "above"
    return "as it should be" if got == honest or at_most else "below"


def nbgraders_row(case: Any, found: dict[str, Any], honest: int | None) -> dict[str, Any]:
    """One case's half of a row."""
    items = found["scores"].get(student_of(case), {})
    known = [points for points in items.values() if points is not None]
    points = sum(known) if known and found["code"] == 0 else None
    meaning = verdict(honest, points, at_most=case.at_most)
    if found["code"] == 0 and not items:
        happened = f"not graded: {cause(found['log'])}"
    elif found["code"] == 0:
        waits = [name for name, value in items.items() if value is None]
        happened = "graded" + (f"; waits for a person: {', '.join(waits)}" if waits else "")
        meaning = meaning if known else "waits for a person"
    elif found["ended"] == "memory":
        happened = f"ended from outside: more than {BOX_MEMORY_MB} MB in use"
        meaning = "ended from outside"
    elif found["code"] is None:
        happened = f"did not end: killed after {found['seconds']:.0f} s"
        meaning = "ended from outside"
    else:
        happened = f"failed: {cause(found['log'])}"
    if found.get("lost"):
        happened += f"; its gradebook cannot be read: {printable(found['lost'], 80)}"
    if found.get("left"):
        happened += f"; {found['left']} processes left running"
    row = {"points": points, "items": items, "happened": happened, "seconds": found["seconds"]}
    return row | {"verdict": meaning}


def ours_by_case(cases: Sequence[Any], root: Path, base: Path) -> dict[str, dict[str, Any]]:
    """Our grader on the same cases as one class: case -> its half of a row."""
    from mmcourse.course import grade
    from mmcourse.course.sandbox import Limits

    load_corpus().write_class(base / "class", list(cases))
    limits = Limits(cell_seconds=2, total_seconds=40, memory_mb=600)
    began = time.perf_counter()
    summary = grade.grade(base / "class", "tiny", base / "out", root=root, jobs=2, limits=limits, progress=False)
    print(f"ours: {len(summary.rows)} submissions in {time.perf_counter() - began:.0f} s", flush=True)
    rows = {row.file.split("/")[0]: row for row in summary.rows}
    found = {}
    for case in cases:
        row = rows[printable(case.file)]
        points = row.total if row.status == "graded" else None
        honest = None if case.points is None else sum(case.points.values())
        found[case.key] = {
            "points": points,
            "status": row.states if row.status == "graded" else f"{row.status}: {row.reason}",
            "flagged": bool(row.flags),
            "verdict": verdict(honest, points, at_most=case.at_most),
        }
    return found


def describe(case: Any) -> str:
    """What a case is. Where a number has several files, the file's label tells them apart."""
    several = sum(other.number == case.number for other in load_corpus().cases()) > 1
    return WHAT[case.number] + (f" ({case.label})" if several else "")


NOTES = [
    "Verdicts are about points alone. What code could read, change or leave behind on the grader's machine is not in "
    "them: nbgrader ran in a box with limits made for this table, and has none of its own.",
    "nbgrader runs the notebook's own check cells, whose questions are public: case 2 gets its points by that.",
    "An answer that prints 200 MB and is right loses its points here by a rule of ours.",
]
WHAT = {
    1: "right answers",
    2: "knows the public questions by heart",
    3: "untouched",
    4: "a syntax error in one answer",
    5: "warnings on stderr",
    6: "tag skip-execution on all cells, one answer",
    7: "tag raises-exception on all cells",
    8: "a cell tagged injected-parameters",
    9: "removes asserts from the code that runs later",
    10: "an object equal to everything",
    11: "records the code or the questions",
    12: "replaces json.dumps and open",
    13: "replaces torch.allclose and its like",
    14: "switches tracebacks off",
    15: "sys.exit(0)",
    16: "os._exit(0)",
    17: "an endless loop",
    18: "a loop that ignores the interrupt",
    19: "a fork bomb",
    20: "a memory bomb",
    21: "fills every disk it finds",
    22: "prints 200 MB",
    23: "calls the network",
    24: "reads other files and the gradebook",
    25: "deletes everything it can",
    26: "forges a file of answers",
    27: "a malicious pickle as answer",
    28: "forged kernel messages",
    29: "an edited test cell, points set to 100",
    30: "test cells deleted",
    31: "a doubled answer cell",
    32: "test cells turned to markdown",
    33: "metadata lost",
    34: "an older or newer notebook format",
    35: "no notebook's format",
    36: "a damaged file",
    37: "an odd encoding",
    38: "a file that breaks readers",
    39: "an odd name, or no plain file",
    40: "HTML and formulas where others look",
}


def side_by_side(cases: Sequence[Any], *, whole_class: bool = True, say: Callable = print) -> dict[str, Any]:
    """The cases through both graders. Hostile ones reach nbgrader in the box alone, one at a time."""
    held = try_box()
    corpus = load_corpus()
    with tempfile.TemporaryDirectory(prefix="mmcourse-corpus-") as place:
        base = Path(place)
        root = corpus.make_assignment(base / "course")
        release.build_exercises(root)
        make_course(base / "nbgrader", root / "exercises" / "solutions", "tiny")
        ours = ours_by_case(cases, root, base)
        rows = []
        for case in cases:
            honest = None if case.points is None else sum(case.points.values())
            found = nbgrader_in_box([case], base / "nbgrader", BOX_SECONDS)
            theirs = nbgraders_row(case, found, honest)
            expected = "reported as unreadable" if honest is None else f"{'at most ' * case.at_most}{honest}"
            row = {"case": case.number, "what": describe(case), "expected": expected}
            rows.append(row | {"ours": ours[case.key], "nbgrader": theirs})
            say(f"{case.number:2} {row['what']:36.36} {expected:>22}   ours {points_of(ours[case.key]):>4}   "
                f"nbgrader {points_of(theirs):>4}  {theirs['verdict']}: {theirs['happened']}")  # fmt: skip
        table: dict[str, Any] = {
            "notes": NOTES,
            "what": f"{len(cases)} odd and hostile submissions, worth 10 points each, through both graders",
            "box": held,
            "verdicts": {
                grader: dict(Counter(row[grader]["verdict"] for row in rows)) for grader in ("ours", "nbgrader")
            },
        }
        if whole_class:
            table["nbgrader_on_the_whole_class"] = whole(cases, base / "nbgrader")
            say(table["nbgrader_on_the_whole_class"])
    return table | {"cases": rows}


def points_of(half: dict[str, Any]) -> str:
    return "none" if half["points"] is None else f"{half['points']:g}"


def whole(cases: Sequence[Any], course: Path) -> dict[str, Any]:
    """nbgrader on all of them as one class: how far it comes."""
    found = nbgrader_in_box(cases, course, BOX_CLASS_SECONDS)
    begun = re.findall(r"Creating/updating student with ID '(.*)':", found["log"])
    graded = [s for s, items in found["scores"].items() if any(points is not None for points in items.values())]
    return {
        "submissions": len(cases),
        "seconds": found["seconds"],
        "ended": "by itself" if found["code"] is not None else "hangs" if found.get("quiet") else found["ended"],
        "exit": found["code"],
        "graded": len(graded),
        "last_begun": printable(begun[-1], 60) if begun else "",
        "said": cause(found["log"]),
        **({"gradebook": printable(found["lost"], 100)} if found.get("lost") else {}),
    }


def corpus_table(numbers: Sequence[int]) -> None:
    cases = [case for case in load_corpus().cases() if not numbers or case.number in numbers]
    began = time.perf_counter()
    table = side_by_side(cases, whole_class=not numbers)
    print(table["verdicts"], f"{(time.perf_counter() - began) / 60:.1f} min")
    if not numbers:
        told = {"what": table.pop("what"), "command": "python -m benchmarks.grading corpus"}
        print("wrote", runtime.write_results("grading_corpus", told | {"nbgrader": version("nbgrader")} | table))


if __name__ == "__main__":
    which, rest = (sys.argv[1] if sys.argv[1:] else ""), sys.argv[2:]
    if which == "throughput" and all(word.isdigit() for word in rest) and len(rest) <= 3:
        throughput(*(int(word) for word in [*rest, *[str(CLASS), "2", "2"][len(rest) :]]))
    elif which == "corpus" and all(word.isdigit() for word in rest):
        corpus_table([int(word) for word in rest])
    elif which == "parts" and len(rest) == 1:
        print(json.dumps(parts(Path(rest[0]))))
    else:
        sys.exit("usage: python -m benchmarks.grading throughput [STUDENTS [OURS [NBGRADER]]] | corpus [NUMBER ...]")
