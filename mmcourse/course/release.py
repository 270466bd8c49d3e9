"""From an author's assignment to what is handed out: the student's notebook, the public checks, the solutions.

A solution stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION``, each alone on a line, at any indentation.
In the student's version one ``raise NotImplementedError("your answer")`` takes its place. Nothing is written where a
marker is doubtful, or where a line of a solution stands anywhere else.
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcourse.course import build, exercise
from mmcourse.runtime import write_whole

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from mmcourse.course.exercise import Assignment

CURE = "run: mmcourse build"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = 'raise NotImplementedError("your answer")'
SHORT = 12  # a line of a solution that is not longer says nothing

# What somebody meant as a marker: any number of signs, any case, any spacing, also nbgrader's other markers.
_LOOKALIKE = re.compile(
    r"#[#\s]*(?:(?:begin|start|end)[\s_-]*(?:solution|hidden[\s_-]*test|mark[\s_-]*scheme|answer)"
    r"|solution[\s_-]*(?:begin|start|end))",
    re.IGNORECASE,
)


class ReleaseError(ValueError):
    """An assignment that cannot be handed out. The message names the cell, what is wrong there and the cure."""


@dataclass(frozen=True)
class Built:
    """One assignment, built: notebooks and public checks as the bytes of their files."""

    name: str
    student: bytes
    solution: bytes
    frozen: Mapping[str, Any]


def build_assignment(name: str, root: Path) -> Built:
    """Build an assignment from its sources below ``root``; writes nothing, runs the author's code.

    Raises ``ReleaseError`` for doubtful markers and for a solution that would leak, and ``ValueError`` as
    ``exercise.load_assignment``, ``exercise.freeze`` and ``build.build_notebook`` do.
    """
    assignment = exercise.load_assignment(name, root)
    nb = _source_notebook(name, root)
    solution = build.to_bytes(nb)
    secrets = _clear_solutions(nb, assignment)
    frozen = exercise.freeze(assignment)
    _refuse_leaks(f"{name}.ipynb", nb, secrets)
    _refuse_leaks(f"{name}.checks.json", frozen, secrets)
    return Built(name, build.to_bytes(nb), solution, frozen)


def release(name: str, out: Path, *, root: Path | None = None) -> list[Path]:
    """Write the hand-out of an assignment, ``NAME.ipynb`` and ``NAME.checks.json``, into ``out``; returns both paths.

    Built afresh from the sources. Raises as ``build_assignment``, and ``ReleaseError`` for an ``out`` that lies among
    the course's own exercises, where the solutions are.
    """
    root = root or exercise.course_root()
    if out.resolve().is_relative_to((root / "exercises").resolve()):
        raise ReleaseError(f"expected a folder of its own for the hand-out, got {out}, where the solutions live.")
    built = build_assignment(name, root)
    out.mkdir(parents=True, exist_ok=True)
    files = {out / f"{name}.ipynb": built.student, out / f"{name}.checks.json": checks_bytes(built.frozen)}
    for path, data in files.items():
        write_whole(path, data)
    return list(files)


def build_exercises(root: Path) -> list[Path]:
    """Build every assignment of a checkout; returns the files that were written: those whose content changed.

    Makes ``exercises/NAME.ipynb`` and ``NAME.checks.json`` for learners, and both with the solutions in
    ``exercises/solutions/``. Public checks that differ in floats' last digits alone, as those of another machine do,
    are left as they are. All sources are read before the first file is written. A root without exercises gives none.
    Raises as ``build_assignment``.
    """
    folder = root / "exercises"
    files: dict[Path, bytes] = {}
    for name in _names(root):
        built = build_assignment(name, root)
        files[folder / f"{name}.ipynb"] = built.student
        files[folder / "solutions" / f"{name}.ipynb"] = built.solution
        kept = folder / f"{name}.checks.json"
        data = kept.read_bytes() if _same_checks(kept, built.frozen) else checks_bytes(built.frozen)
        files[kept] = files[folder / "solutions" / kept.name] = data
    changed = [path for path, data in files.items() if not path.is_file() or path.read_bytes() != data]
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, files[path])
    return changed


def check_exercises(root: Path) -> list[str]:
    """Hold the built exercises to their sources; one line for every problem, with its cure. Writes nothing.

    Problems are a source that does not build, and a missing, stale or orphaned file. The floats of the public checks
    may differ in their last digits. A root without exercises has none.
    """
    folder = root / "exercises"
    problems: list[str] = []
    names = _names(root)
    for name in names:
        try:
            built = build_assignment(name, root)
        except ValueError as error:
            problems.append(str(error))
            continue
        for place, data in ((folder, built.student), (folder / "solutions", built.solution)):
            where = place.relative_to(root).as_posix()
            problems += _hold(f"{where}/{name}.ipynb", place / f"{name}.ipynb", data)
            path = place / f"{name}.checks.json"
            if not path.is_file():
                problems.append(f"{where}/{path.name}: missing; {CURE}")
            elif not _same_checks(path, built.frozen):
                problems.append(f"{where}/{path.name}: stale, it differs from what its source gives; {CURE}")
    for path in sorted([*folder.glob("*"), *folder.glob("solutions/*")]):
        stem = path.name.removesuffix(".checks.json").removesuffix(".ipynb")
        if path.name.endswith((".checks.json", ".ipynb")) and stem not in names:
            where = path.relative_to(root).as_posix()
            problems.append(f"{where}: orphaned, there is no exercises/source/{stem}.py. Delete it, or write that.")
    return problems


def _hold(where: str, path: Path, data: bytes) -> list[str]:
    if not path.is_file():
        return [f"{where}: missing; {CURE}"]
    if path.read_bytes() != data:
        return [f"{where}: stale, it differs from what its source gives; {CURE}"]
    return []


def _names(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / "exercises" / "source").glob("*.py"))


# ---- the public checks as a file


def checks_bytes(frozen: Mapping[str, Any]) -> bytes:
    """The public checks as JSON in ASCII, the same bytes each time, one line for each field of an item."""
    head = {key: value for key, value in frozen.items() if key != "items"}
    items = [
        "{\n" + ",\n".join(f"  {_json(key)}: {_json(value)}" for key, value in entry.items()) + "\n}"
        for entry in frozen["items"]
    ]
    return (_json(head)[:-1] + ', "items": [\n' + ",\n".join(items) + "\n]}\n").encode("ascii")


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _same_checks(path: Path, frozen: Mapping[str, Any]) -> bool:
    """Whether a file holds these public checks, up to the last digits of floats."""
    try:
        return _alike(json.loads(path.read_bytes()), json.loads(_json(dict(frozen))))
    except (OSError, ValueError, RecursionError):
        return False


def _alike(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return math.isclose(one, other, rel_tol=2e-5, abs_tol=1e-6)
    if isinstance(one, list):
        return len(one) == len(other) and all(_alike(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return list(one) == list(other) and all(_alike(one[key], other[key]) for key in one)
    return one == other


# ---- markers


def _source_notebook(name: str, root: Path) -> NotebookNode:
    """The assignment with its solutions; the id of a cell with nbgrader metadata is its grade_id."""
    nb = build.build_notebook(root / "exercises" / "source" / f"{name}.py", parameters=False)
    for cell in nb.cells:
        cell.id = cell.metadata.get("nbgrader", {}).get("grade_id", cell.id)
    ids = [cell.id for cell in nb.cells]
    for index, cell in enumerate(nb.cells):
        if cell.id in ids[:index]:
            raise ReleaseError(f"{_place(name, index, cell)}: expected an id that no other cell has.")
    return nb


def _clear_solutions(nb: NotebookNode, assignment: Assignment) -> dict[str, str]:
    """Turn the notebook into the student's, in place. Returns the lines that must not be seen, and where each stood."""
    secrets: dict[str, str] = {}
    answers = {item.id: item.answer for item in assignment.items}
    for index, cell in enumerate(nb.cells):
        place = _place(assignment.name, index, cell)
        nbgrader = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "code" and nbgrader.get("solution"):
            stub, cleared = clear_solution(cell.source, place)
            if answers.get(cell.id, "") not in _defined(stub, place):
                raise ReleaseError(
                    f"{place}: the stub does not define {answers.get(cell.id)}. Put the markers inside its body."
                )
            own = {line.strip() for line in stub.splitlines()}
            secrets |= {line: place for line in _telling(cleared) if line not in own}
            cell.source = stub
        else:
            _refuse_markers(cell.source, place)
        _lock(cell, nbgrader)
    return secrets


def clear_solution(source: str, place: str = "cell") -> tuple[str, str]:
    """An answer cell's source with each solution replaced by the stub, and the text that was taken out.

    Raises ``ReleaseError`` that starts with ``place`` for markers that are missing, unclosed, nested, stray, misspelt
    or inside a string, and for an empty solution.
    """
    stub: list[str] = []
    cleared: list[str] = []
    opened = 0  # the line of the BEGIN that waits for its END, from 1
    for number, line in enumerate(source.splitlines(), start=1):
        word = line.strip()
        if word not in (BEGIN, END):
            _refuse_markers(line, place, number)
            (cleared if opened else stub).append(line)
        elif word == BEGIN:
            if opened:
                raise ReleaseError(f"{place}, line {number}: {BEGIN} inside the solution that line {opened} begins.")
            opened = number
            stub.append(line[: len(line) - len(line.lstrip())] + STUB)
        else:
            if not opened:
                raise ReleaseError(f"{place}, line {number}: {END} without a {BEGIN} before it.")
            if not any(code.strip() for code in source.splitlines()[opened : number - 1]):
                raise ReleaseError(f"{place}, line {number}: there is no solution between the markers.")
            opened = 0
    if opened:
        raise ReleaseError(f"{place}, line {opened}: {BEGIN} without an {END} after it.")
    markers = [line.strip() for line in source.splitlines() if line.strip() in (BEGIN, END)]
    if not markers:
        raise ReleaseError(f"{place}: expected the solution between {BEGIN!r} and {END!r}, found no marker.")
    if [text for text in _comments(source, place) if text in (BEGIN, END)] != markers:
        raise ReleaseError(f"{place}: a marker stands inside a string. Markers are comments on lines of their own.")
    return "\n".join(stub), "\n".join(cleared)


def _refuse_markers(text: str, place: str, number: int = 0) -> None:
    found = _LOOKALIKE.search(text)
    if not found:
        return
    number = number or text[: found.start()].count("\n") + 1
    meant = found.group().split("\n")[0].strip()
    raise ReleaseError(
        f"{place}, line {number}: {meant!r} looks like a marker. In an answer cell write {BEGIN!r} and {END!r}, each "
        "alone on its line; elsewhere there is none, and hidden tests are not used."
    )


def _comments(source: str, place: str) -> list[str]:
    try:
        tokens = tokenize.generate_tokens(io.StringIO(source + "\n").readline)
        return [token.string.rstrip() for token in tokens if token.type == tokenize.COMMENT]
    except (tokenize.TokenError, SyntaxError) as error:
        raise ReleaseError(f"{place}: expected plain Python in an answer cell, but: {error}.") from error


def _defined(stub: str, place: str) -> list[str]:
    try:
        body = ast.parse(stub).body
    except SyntaxError as error:
        raise ReleaseError(
            f"{place}: without its solution the cell is no Python (line {error.lineno}: {error.msg}). Let the markers "
            "enclose whole statements, indented as these are."
        ) from error
    return [statement.name for statement in body if isinstance(statement, (ast.FunctionDef, ast.ClassDef))]


def _lock(cell: NotebookNode, nbgrader: Mapping[str, Any]) -> None:
    """Keep learners from deleting graded cells and from editing those that are not theirs, as nbgrader does."""
    if nbgrader.get("solution") or nbgrader.get("grade") or nbgrader.get("locked"):
        cell.metadata["deletable"] = False
    if nbgrader.get("grade") or nbgrader.get("locked"):
        cell.metadata["editable"] = False


# ---- leaks


def _telling(solution: str) -> Iterator[str]:
    """The lines of a solution that would give it away: stripped, longer than 12, also without a comment at the end."""
    for line in solution.splitlines():
        bare = re.sub(r"\s+#[^'\"]*$", "", line).strip()
        yield from (text for text in dict.fromkeys((line.strip(), bare)) if len(text) > SHORT)


def _refuse_leaks(file: str, data: Any, secrets: Mapping[str, str]) -> None:
    """Look for the lines of every solution in all text that a file holds, keys and metadata included."""
    wanted = {_squeezed(line): (line, place) for line, place in secrets.items()}
    for where, text in _texts(data, ""):
        squeezed = _squeezed(text)
        for needle, (line, place) in wanted.items():
            if needle in squeezed:
                raise ReleaseError(
                    f"{place}: the line {line!r} of its solution stands in {file} at {where}. Write one of them "
                    "differently, or take it out."
                )


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _texts(data: Any, where: str) -> Iterator[tuple[str, str]]:
    """Every text within JSON-like data, keys included, and the path to it (cells and items by their id)."""
    if isinstance(data, str):
        yield where or "the top", data
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield f"{where}, a key", str(key)
            yield from _texts(value, f"{where}/{key}")
    elif isinstance(data, list):
        for index, value in enumerate(data):
            name = value.get("id", index) if isinstance(value, Mapping) else index
            yield from _texts(value, f"{where}/{name}")


def _place(name: str, index: int, cell: NotebookNode) -> str:
    return f"{name}.py, cell {index + 1} (id {cell.id})"
