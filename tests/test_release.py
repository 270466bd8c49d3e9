"""A hand-out holds no solution in any form, doubtful markers stop it, and built files follow their sources."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest

from mmcourse.course import build, exercise, release

SOLUTION = ["total = sum(numbers)", "return total / len(numbers)  # never of an empty list"]


def head(grade_id: str, **more: object) -> str:
    base = {"schema_version": 3, "grade_id": grade_id, "grade": False, "solution": False, "locked": True, "task": False}
    return f'id="{grade_id}" nbgrader={json.dumps(base | more)}'


SOURCE = f"""\
# %% [markdown] id="title"
# # Means
# %% {head("setup")}
import math

from mmcourse.course.exercise import checks

check = checks("means")
# %% [markdown] {head("mean-prompt")}
# ## The mean. 2 points.
# %% {head("mean", solution=True, locked=False)}
def mean(numbers: list[float]) -> float:
    \"\"\"The mean of some numbers.\"\"\"
    ### BEGIN SOLUTION
    {SOLUTION[0]}
    {SOLUTION[1]}
    ### END SOLUTION
# %% {head("mean-check", grade=True, points=2, cell_type="code")}
check("mean")
# %% [markdown] {head("Box-prompt")}
# ## A class. 1 point.
# %% {head("Box", solution=True, locked=False)}
class Box:
    \"\"\"Holds a number.\"\"\"

    def __init__(self, number: int) -> None:
        ### BEGIN SOLUTION
        self.number = number
        ### END SOLUTION

    def twice(self) -> int:
        if self.number:
            ### BEGIN SOLUTION
            doubled = 2 * self.number
            return doubled
            ### END SOLUTION
        return 0
# %% {head("Box-check", grade=True, points=1, cell_type="code")}
check("Box")
"""

CHECKS = """\
import statistics

from mmcourse.course.exercise import Item, Misconception


def probe_mean(answer, seed):
    import random

    draw = random.Random(seed)
    return {"mean": float(answer([draw.uniform(1, 9) for _ in range(7)]))}


def probe_box(answer, seed):
    return {"twice": answer(seed).twice()}


def box(factor):
    class Other:
        def __init__(self, number):
            self.n = number

        def twice(self):
            return self.n * factor

    return Other


ITEMS = [
    Item("mean", "The mean", 2, "mean", probe_mean,
         (Misconception("median", statistics.median, "One large number moves it."),),
         (statistics.fmean, lambda x: sum(v / len(x) for v in x))),
    Item("Box", "A box", 1, "Box", probe_box, (Misconception("once", box(1), "Twice."),), (box(2), box(2))),
]
"""


def course(root: Path, *, source: str = SOURCE, checks: str = CHECKS, name: str = "means") -> Path:
    for folder, text in (("source", source), ("checks", checks)):
        place = root / "exercises" / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.py").write_text(text, encoding="utf-8")
    return root


def notebook(path: Path) -> nbformat.NotebookNode:
    nb = nbformat.read(path, as_version=4)
    nbformat.validate(nb)
    return nb


# ---- the student's version


def test_solutions_at_any_indentation_give_way_to_one_line(tmp_path):
    release.build_exercises(course(tmp_path))
    nb = notebook(tmp_path / "exercises" / "means.ipynb")
    cells = {cell.id: cell for cell in nb.cells}
    assert cells["mean"].source == (
        "def mean(numbers: list[float]) -> float:\n"
        '    """The mean of some numbers."""\n'
        '    raise NotImplementedError("your answer")'
    )
    assert '        raise NotImplementedError("your answer")\n\n    def twice' in cells["Box"].source
    assert '            raise NotImplementedError("your answer")\n        return 0' in cells["Box"].source
    assert cells["Box"].source.count("NotImplementedError") == 2


def test_cells_keep_nbgraders_metadata_their_ids_are_the_grade_ids_and_nothing_was_run(tmp_path):
    release.build_exercises(course(tmp_path))
    for name in ("means.ipynb", "solutions/means.ipynb"):
        nb = notebook(tmp_path / "exercises" / name)
        for cell in nb.cells[1:]:
            assert cell.metadata.nbgrader.schema_version == 3
            assert cell.id == cell.metadata.nbgrader.grade_id
        code = [cell for cell in nb.cells if cell.cell_type == "code"]
        assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    student = {cell.id: cell.metadata for cell in notebook(tmp_path / "exercises" / "means.ipynb").cells}
    assert student["mean-check"].nbgrader.points == 2
    assert (student["mean-check"].editable, student["mean-check"].deletable) == (False, False)
    assert "editable" not in student["mean"] and student["mean"].deletable is False


def test_no_line_of_a_solution_is_in_any_byte_of_the_hand_out(tmp_path):
    out = tmp_path / "hand out"
    files = release.release("means", out, root=course(tmp_path / "course"))
    assert sorted(files) == sorted(out.iterdir()) == [out / "means.checks.json", out / "means.ipynb"]
    everything = b"".join(path.read_bytes() for path in files).decode()
    for words in ("sum(numbers)", "total", "never of an empty", "doubled", "SOLUTION", "fmean", "statistics"):
        assert words not in everything
    assert str(tmp_path) not in everything


def test_the_solutions_keep_their_markers_and_pass_their_checks(tmp_path):
    release.build_exercises(course(tmp_path))
    place = tmp_path / "exercises" / "solutions"
    assert (place / "means.checks.json").read_bytes() == (place.parent / "means.checks.json").read_bytes()
    cells = [cell for cell in notebook(place / "means.ipynb").cells if cell.cell_type == "code"]
    space: dict = {"__name__": "__main__"}
    space["checks"] = lambda name: exercise.checks(name, place)
    for cell in cells:
        text = cell.source.replace("from mmcourse.course.exercise import checks", "")
        if cell.id.endswith("-check"):
            assert eval(text, space).right
        else:
            exec(text, space)
    assert release.BEGIN in cells[1].source


def test_a_hand_out_works_alone_where_it_lies(tmp_path, monkeypatch):
    out = tmp_path / "alone"
    release.release("means", out, root=course(tmp_path / "course"))
    shutil.rmtree(tmp_path / "course")
    monkeypatch.chdir(out)
    space: dict = {"__name__": "__main__"}
    results = []
    for cell in notebook(out / "means.ipynb").cells:
        if cell.id.endswith("-check"):
            results.append(eval(cell.source, space))
        elif cell.cell_type == "code":
            exec(cell.source, space)
    assert [result.state for result in results] == ["unanswered", "unanswered"]
    space["mean"] = lambda numbers: sorted(numbers)[3]
    assert "One large number moves it." in repr(eval('check("mean")', space))
    space["mean"] = lambda numbers: sum(numbers) / 7
    assert eval('check("mean")', space).right


# ---- refusals


def refused(tmp_path: Path, source: str, *words: str, checks: str = CHECKS) -> None:
    """Neither released nor built; the message names the file, the cell and what is wrong; nothing is written."""
    root = course(tmp_path, source=source, checks=checks)
    for call in (lambda: release.release("means", tmp_path / "out", root=root), lambda: release.build_exercises(root)):
        with pytest.raises(release.ReleaseError) as caught:
            call()
        for word in ("means.py, cell ", *words):
            assert word in str(caught.value), str(caught.value)
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in (root / "exercises").iterdir()) == ["checks", "source"]
    (line,) = release.check_exercises(root)
    assert words[0] in line


BEGIN, END = "    ### BEGIN SOLUTION\n", "    ### END SOLUTION\n"
BODY = "".join(f"    {line}\n" for line in SOLUTION)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (f"{BODY}{END}", BODY, "line 3: ### BEGIN SOLUTION without an ### END SOLUTION"),
        (f"{BEGIN}{BODY}", BODY, "line 5: ### END SOLUTION without a ### BEGIN SOLUTION"),
        (f"{BEGIN}{BODY}{END}", BODY, "found no marker"),
        (BODY, f"{BODY}{BEGIN}{BODY}", "line 6: ### BEGIN SOLUTION inside the solution that line 3 begins"),
        (END, f"{END}{END}", "line 7: ### END SOLUTION without"),
        (f"{BEGIN}{BODY}{END}", f"{END}{BODY}{BEGIN}", "line 3: ### END SOLUTION without"),
        (BODY, "", "no solution between"),
        (BODY, "    \n", "no solution between"),
        (BEGIN, f"{BEGIN}    ### BEGIN HIDDEN TESTS\n", "'### BEGIN HIDDEN TEST' looks like a marker"),
    ],
)
def test_markers_that_are_not_one_clean_pair_are_refused(tmp_path, old, new, words):
    assert old in SOURCE
    refused(tmp_path, SOURCE.replace(old, new, 1), words, "(id mean)")


@pytest.mark.parametrize(
    "marker",
    [
        "###BEGIN SOLUTION",
        "# BEGIN SOLUTION",
        "## BEGIN SOLUTION",
        "#### BEGIN SOLUTION",
        "### begin solution",
        "### Begin Solution",
        "###  BEGIN SOLUTION",
        "### BEGIN  SOLUTION",
        "### BEGINSOLUTION",
        "### BEGIN_SOLUTION",
        "### BEGIN SOLUTION:",
        "### BEGIN SOLUTIONS",
        "# # BEGIN SOLUTION",
        "x = 1  ### BEGIN SOLUTION",
        "### SOLUTION BEGIN",
        "### BEGIN MARK SCHEME",
    ],
)
def test_what_looks_like_a_marker_is_refused(tmp_path, marker):
    refused(tmp_path, SOURCE.replace(BEGIN, f"    {marker}\n", 1), "looks like a marker", "(id mean), line 3")
    refused(tmp_path, SOURCE.replace(BEGIN, f"{BEGIN}    {marker}\n", 1), "looks like a marker", "(id mean), line 4")


@pytest.mark.parametrize(
    ("old", "new", "cell"),
    [
        ("import math\n", "import math\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n", "setup"),
        ("# ## The mean. 2 points.", "# ### BEGIN SOLUTION\n# secret\n# ### END SOLUTION", "mean-prompt"),
        ("import math\n", "import math\n### BEGIN HIDDEN TESTS\n", "setup"),
    ],
)
def test_markers_outside_an_answer_cell_are_refused(tmp_path, old, new, cell):
    refused(tmp_path, SOURCE.replace(old, new), "looks like a marker", f"(id {cell})")


def test_markers_in_a_string_are_refused(tmp_path):
    inside = f'    text = """\n{BEGIN}    x\n{END}    """\n'
    refused(tmp_path, SOURCE.replace(BEGIN, inside + BEGIN, 1), "inside a string", "(id mean)")


def test_a_stub_that_lost_its_name_or_is_no_python_is_refused(tmp_path):
    whole = SOURCE.replace("def mean(numbers", "### BEGIN SOLUTION\ndef mean(numbers").replace(BEGIN, "", 1)
    whole = whole.replace(END, "### END SOLUTION\n", 1)
    refused(tmp_path, whole, "does not define mean", "(id mean)")
    broken = SOURCE.replace(f"{BEGIN}{BODY}", f"    try:\n{BEGIN}{BODY}    except ValueError:\n        pass\n", 1)
    broken = broken.replace(BODY, "".join(f"    {line}\n" for line in BODY.splitlines()))
    refused(tmp_path, broken, "the cell is no Python", "(id mean)")


LEAK = SOLUTION[0]
BARE = "return total / len(numbers)"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("# ## The mean. 2 points.", f"# ## The mean. Write `{LEAK}`.", LEAK),
        ("# ## The mean. 2 points.", f"# ## The mean.\n#\n#     {LEAK.replace(' ', '  ')}", LEAK),
        ("# ## A class. 1 point.", f"# ## A class. {BARE}", BARE),
        ("import math\n", f"import math\n# {LEAK}\n", LEAK),
        ('id="title"', f'id="title" slideshow={{"note": {{"deep": ["{LEAK}"]}}}}', LEAK),
        ('id="title"', f'id="title" slideshow={{"{LEAK}": 1}}', LEAK),
        ('id="title"', f'id="title" tags=["{LEAK}"]', LEAK),
    ],
)
def test_a_line_of_a_solution_anywhere_in_the_notebook_is_refused(tmp_path, old, new, line):
    assert old in SOURCE
    refused(tmp_path, SOURCE.replace(old, new), repr(line), "(id mean)", "means.ipynb")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("One large number moves it.", f"Try {BARE}!", BARE),
        ('"The mean", 2', f'"{LEAK}", 2', LEAK),
        ("    import random\n\n", f"    import random\n\n    # {LEAK}\n", LEAK),
        ('"median", statistics', f'"{LEAK}", statistics', LEAK),
    ],
)
def test_a_line_of_a_solution_in_the_public_checks_is_refused(tmp_path, old, new, line):
    assert old in CHECKS
    refused(tmp_path, SOURCE, repr(line), "(id mean)", "means.checks.json", checks=CHECKS.replace(old, new))


def test_a_line_that_the_stub_itself_shows_is_no_leak(tmp_path):
    source = SOURCE.replace('"""The mean of some numbers."""', f'"""The mean:\n\n    {LEAK}\n    """', 1)
    assert release.build_exercises(course(tmp_path, source=source))


def test_a_cell_id_that_another_cell_has_is_refused(tmp_path):
    source = SOURCE.replace('id="title"', 'id="mean"').replace('id="mean" nbgrader', "nbgrader")
    refused(tmp_path, source, "an id that no other cell has")


def test_a_hand_out_among_the_solutions_is_refused(tmp_path):
    root = course(tmp_path)
    for out in (root / "exercises", root / "exercises" / "solutions", root / "exercises" / "x" / ".." / "solutions"):
        with pytest.raises(release.ReleaseError, match="folder of its own"):
            release.release("means", out, root=root)


# ---- build and check


def everything(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_building_again_writes_nothing_and_elsewhere_the_same_bytes(tmp_path):
    first, second = course(tmp_path / "a"), course(tmp_path / "b")
    assert [p.relative_to(first / "exercises").as_posix() for p in release.build_exercises(first)] == [
        "means.ipynb",
        "solutions/means.ipynb",
        "means.checks.json",
        "solutions/means.checks.json",
    ]
    assert release.build_exercises(first) == [] and release.check_exercises(first) == []
    script = "import sys, pathlib; from mmcourse.course.release import *; build_exercises(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", script, str(second)], check=True, env={**os.environ, "PYTHONHASHSEED": "5"})
    assert everything(first) == everything(second)


def test_a_root_without_exercises_is_left_alone(tmp_path):
    assert release.build_exercises(tmp_path) == [] and release.check_exercises(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_another_machine_s_last_digits_are_neither_stale_nor_written_again(tmp_path):
    root = course(tmp_path)
    release.build_exercises(root)
    for path in (root / "exercises" / "means.checks.json", root / "exercises" / "solutions" / "means.checks.json"):
        data = json.loads(path.read_text())
        data["items"][0]["expected"][0]["ok"]["mean"] *= 1 + 9e-6
        path.write_bytes(release.checks_bytes(data))
    before = everything(root)
    assert release.check_exercises(root) == [] and release.build_exercises(root) == []
    assert everything(root) == before


def first_answer(data: dict) -> dict:
    return data["items"][0]["expected"][0]["ok"]


@pytest.mark.parametrize(
    "bend",
    [
        lambda data: first_answer(data).update(mean=first_answer(data)["mean"] * 1.001),
        lambda data: data["items"][0].update(points=3),
        lambda data: data["items"][0].update(points=2.0),
        lambda data: data["items"][0].update(seeds=[1, 3]),
        lambda data: data["items"][1]["misconceptions"][0].update(sentence="Thrice."),
        lambda data: data["items"].pop(),
        lambda data: data.update(format=0),
        lambda data: data.clear(),
    ],
)
def test_stale_public_checks_are_named_and_built_again(tmp_path, bend):
    root = course(tmp_path)
    release.build_exercises(root)
    clean = everything(root)
    path = root / "exercises" / "means.checks.json"
    data = json.loads(path.read_text())
    bend(data)
    path.write_text(json.dumps(data))
    (line,) = release.check_exercises(root)
    assert line.startswith("exercises/means.checks.json: stale") and line.endswith("run: mmcourse build")
    assert release.build_exercises(root) == [path] and everything(root) == clean


def test_stale_missing_damaged_and_orphaned_files_are_named(tmp_path):
    root = course(tmp_path)
    release.build_exercises(root)
    folder = root / "exercises"
    (folder / "means.ipynb").unlink()
    (folder / "solutions" / "means.ipynb").write_text("{}")
    (folder / "means.checks.json").write_bytes(b"\xff")
    (folder / "solutions" / "means.checks.json").unlink()
    (folder / "old.ipynb").write_text("{}")
    (folder / "solutions" / "old.checks.json").write_text("{}")
    assert [line.split(";")[0].split(", ")[0] for line in release.check_exercises(root)] == [
        "exercises/means.ipynb: missing",
        "exercises/means.checks.json: stale",
        "exercises/solutions/means.ipynb: stale",
        "exercises/solutions/means.checks.json: missing",
        "exercises/old.ipynb: orphaned",
        "exercises/solutions/old.checks.json: orphaned",
    ]


def test_one_broken_assignment_stops_the_build_before_anything_is_written_and_check_goes_on(tmp_path):
    root = course(tmp_path)
    course(root, name="other", source=SOURCE.replace("means", "other").replace(END, "", 1))
    with pytest.raises(release.ReleaseError, match=r"other\.py"):
        release.build_exercises(root)
    assert not (root / "exercises" / "means.ipynb").exists()
    lines = release.check_exercises(root)
    assert len(lines) == 5 and sum("missing" in line for line in lines) == 4
    with pytest.raises(ValueError, match="There are: means, other"):
        release.release("third", tmp_path / "out", root=root)


def test_the_edit_of_a_solution_makes_only_the_solutions_stale(tmp_path):
    root = course(tmp_path)
    release.build_exercises(root)
    course(root, source=SOURCE.replace("doubled = 2 * self.number", "doubled = self.number + self.number"))
    (line,) = release.check_exercises(root)
    assert line.startswith("exercises/solutions/means.ipynb: stale")


# ---- nbgrader

needs_nbgrader = pytest.mark.skipif(find_spec("nbgrader") is None, reason="nbgrader is not installed")


@needs_nbgrader
def test_nbgraders_preprocessors_accept_both_versions_and_clear_the_source_as_we_do(tmp_path):
    """nbgrader empties an answer cell without markers: its source is our solution, never the student's version."""
    from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ClearSolutions, ComputeChecksums, LockCells

    release.build_exercises(course(tmp_path))
    ours = notebook(tmp_path / "exercises" / "means.ipynb")
    for name in ("means.ipynb", "solutions/means.ipynb"):
        nb, resources = notebook(tmp_path / "exercises" / name), {}
        for kind in (CheckCellMetadata, LockCells, ClearSolutions, ClearOutput, ComputeChecksums, CheckCellMetadata):
            if kind is ClearSolutions and name == "means.ipynb":
                continue
            pre = kind()
            pre.enabled = True
            if kind is ClearSolutions:
                pre.code_stub = {"python": release.STUB}
            nb, resources = pre(nb, resources)
        nbformat.validate(nb)
        assert {cell.id: cell.source for cell in nb.cells} == {cell.id: cell.source for cell in ours.cells}
        for cell, other in zip(nb.cells, ours.cells, strict=True):
            added = cell.metadata.get("nbgrader", {})
            assert bool(added.pop("checksum", "")) == (cell.id != "title")
            assert added.pop("cell_type", cell.cell_type) == cell.cell_type
            other.metadata.get("nbgrader", {}).pop("cell_type", None)
            assert cell.metadata == other.metadata


@needs_nbgrader
@pytest.mark.slow
def test_nbgraders_commands_release_and_grade_our_assignment(tmp_path):
    """The source goes through generate_assignment; three submissions are graded: solved, untouched, half."""
    release.build_exercises(course(tmp_path / "course"))
    built = tmp_path / "course" / "exercises"
    home = tmp_path / "nbgrader"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    environment.pop("NBGRADER_EXECUTION", None)

    def nbgrader(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *words], cwd=home, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    shutil.copytree(built / "solutions", home / "source" / "means")
    nbgrader("generate_assignment", "means", "--create")
    assert "SOLUTION" not in (home / "release" / "means" / "means.ipynb").read_text()
    half = build.to_bytes(notebook(built / "solutions" / "means.ipynb")).replace(b"doubled = 2 *", b"doubled = 3 *")
    for student, data in (
        ("solved", (built / "solutions" / "means.ipynb").read_bytes()),
        ("untouched", (built / "means.ipynb").read_bytes()),
        ("half", half),
    ):
        place = home / "submitted" / student / "means"
        shutil.copytree(home / "release" / "means", place)
        (place / "means.ipynb").write_bytes(data)
    nbgrader("autograde", "means")
    nbgrader("export", "--to", "grades.csv")
    rows = [line.split(",") for line in (home / "grades.csv").read_text().splitlines()]
    student, score = rows[0].index("student_id"), rows[0].index("score")
    assert {row[student]: float(row[score]) for row in rows[1:]} == {"solved": 3.0, "untouched": 0.0, "half": 2.0}
    said = nbgrader("validate", str(home / "source" / "means" / "means.ipynb"))
    assert "Success" in said
    said = nbgrader("validate", str(built / "means.ipynb"))
    assert "failed" in said
