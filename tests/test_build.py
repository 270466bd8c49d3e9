"""Sources become the same notebooks every time, stale files are named, and each rule of a lesson's anatomy bites."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from mmcourse.course import build as b

NAME = "05_measuring"
FILLER = " ".join(["word"] * 65)


def lesson(*, sections: int = 9) -> list[str]:
    """The cells of a small lesson that obeys every rule, each as py:percent text."""
    cells = [
        "# %% [markdown]\n# # Text to image\n#\n# ## What you will be able to do\n#\n# - draw\n# - measure\n# - doubt",
        '# %% tags=["parameters"]\nPROFILE = "auto"\nSEED = 0',
    ]
    for number in range(sections):
        cells += [
            f"# %% [markdown]\n# ## Question {number}\n#\n# {FILLER}\n#\n# **Predict.** What comes?",
            f"# %%\nx{number} = {number}\nprint(x{number})",
            f"# %% [markdown]\n# Seen {number}. {FILLER}",
        ]
    return cells + [
        "# %% [markdown]\n# ## The claim",
        "# %%\nassert x0 == 0",
        "# %% [markdown]\n# ## What was shown",
        "# %% [markdown]\n# ## What this does not show",
        "# %% [markdown]\n# ## Exercises",
    ]


def write(folder: Path, cells: list[str], name: str = NAME) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{name}.py"
    source.write_text("\n\n".join(cells) + "\n", encoding="utf-8")
    return source


def make(tmp_path: Path, cells: list[str]) -> nbformat.NotebookNode:
    return b.build_notebook(write(tmp_path / "made", cells))


def course(tmp_path: Path, cells: list[str] | None = None) -> tuple[Path, Path, Path]:
    """A course of one lesson, built: its root, its source, its notebook."""
    source = write(tmp_path / "notebooks" / "source", cells or lesson())
    b.build(tmp_path)
    return tmp_path, source, tmp_path / "notebooks" / f"{NAME}.ipynb"


# ---- build_notebook


def test_a_lesson_becomes_a_valid_notebook_without_outputs_and_without_traces_of_jupytext(tmp_path):
    nb = make(tmp_path, lesson())
    nbformat.validate(nb)
    assert (nb.nbformat, nb.nbformat_minor) == (4, 5)
    assert nb.metadata == {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    assert len(nb.cells) == len(lesson())
    assert nb.cells[0].source.startswith("# Text to image\n\n## What")
    assert nb.cells[1].source == 'PROFILE = "auto"\nSEED = 0'
    assert nb.cells[1].metadata == {"tags": ["parameters"]}
    assert all(cell.metadata == {} for cell in nb.cells if cell is not nb.cells[1])
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_the_bytes_are_those_of_every_other_run_and_process(tmp_path):
    source = write(tmp_path, [*lesson(), "# %% [markdown]\n# 画一个红色的圆"])
    first = b.to_bytes(b.build_notebook(source))
    script = (
        "import sys, pathlib; from mmcourse.course.build import *;"
        "sys.stdout.buffer.write(to_bytes(build_notebook(pathlib.Path(sys.argv[1]))))"
    )
    second = subprocess.run([sys.executable, "-c", script, str(source)], capture_output=True, check=True).stdout
    assert first == second
    assert first.endswith(b"}\n") and not first.endswith(b"\n\n")
    assert first.startswith(b'{\n "cells": [\n  {\n   "cell_type"')
    assert "画一个红色的圆".encode() in first
    assert NAME.encode() not in first and str(tmp_path).encode() not in first


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path):
    plain = write(tmp_path / "a", lesson())
    other = tmp_path / "b" / plain.name
    other.parent.mkdir()
    other.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes().replace(b"\n", b"\r\n"))
    assert b.to_bytes(b.build_notebook(plain)) == b.to_bytes(b.build_notebook(other))


def test_editing_one_cell_changes_only_its_own_id(tmp_path):
    before = [cell.id for cell in make(tmp_path, lesson()).cells]
    for edited in range(2, len(before)):
        cells = lesson()
        cells[edited] += "\n# one more line"
        after = [cell.id for cell in make(tmp_path, cells).cells]
        assert [i for i, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]] == [edited]


def test_inserting_moving_and_tagging_keep_every_id(tmp_path):
    before = [cell.id for cell in make(tmp_path, lesson()).cells]
    cells = lesson()
    cells.insert(5, "# %%\nnew = 1")
    cells[-1] = cells[-1].replace("[markdown]", '[markdown] tags=["last"]')
    after = [cell.id for cell in make(tmp_path, cells).cells]
    assert after[:5] + after[6:] == before
    swapped = lesson()
    swapped[3], swapped[6] = swapped[6], swapped[3]
    assert sorted(cell.id for cell in make(tmp_path, swapped).cells) == sorted(before)


def test_twin_cells_get_ids_of_their_own_and_a_code_cell_is_no_twin_of_a_markdown_cell(tmp_path):
    cells = [*lesson(), "# %%\n7", "# %%\n7", "# %%\n7", "# %% [markdown]\n# 7"]
    ids = [cell.id for cell in make(tmp_path, cells).cells]
    assert len(set(ids)) == len(ids)
    assert ids[-3:-1] == [f"{ids[-4]}-2", f"{ids[-4]}-3"]
    assert not ids[-1].startswith(ids[-4])
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", cell_id) for cell_id in ids)


def test_an_authors_id_is_kept_and_survives_an_edit_of_its_own_cell(tmp_path):
    cells = [*lesson(), '# %% id="the-figure" tags=["hide-input"]\ny = 1']
    cell = make(tmp_path, cells).cells[-1]
    assert (cell.id, cell.metadata) == ("the-figure", {"tags": ["hide-input"]})
    cells[-1] = cells[-1].replace("y = 1", "y = 2")
    assert make(tmp_path, cells).cells[-1].id == "the-figure"


def test_a_hash_gives_way_to_an_author_who_took_it(tmp_path):
    hashed = make(tmp_path, [*lesson(), "# %%\n7"]).cells[-1].id
    ids = [cell.id for cell in make(tmp_path, [*lesson(), "# %%\n7", f'# %% id="{hashed}"\n8']).cells]
    assert ids[-2:] == [f"{hashed}-2", hashed]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ('id="a b"', ["letters, digits", "'a b'", "cell 35"]),
        ("id=5", ["letters, digits", "5", "cell 35"]),
        (f'id="{"x" * 65}"', ["1 to 64", "cell 35"]),
        ('id="twin"', ["an earlier cell has", "'twin'", "cell 36"]),
        ('tag=["x"]', ["tag=['x']", "nbgrader", "cell 35"]),
        ('tags=["x"', ["incorrectly_encoded_metadata", "cell 35"]),
        ("[markdow]", ["[markdow]", "[markdown]", "cell 35"]),
        ('tags="x"', ["'x' is not of type 'array'"]),
        ("tags=[5]", ["expected jupytext py:percent", "tags="]),
        ('tags=["injected-parameters"]', ["belongs to papermill", "cell 35"]),
    ],
)
def test_a_bad_cell_header_is_named(tmp_path, header, words):
    cells = [*lesson(), f"# %% {header}\n1", f"# %% {header}\n2"]
    with pytest.raises(b.BuildError) as caught:
        make(tmp_path, cells)
    for word in [f"{NAME}.py", *words]:
        assert word in str(caught.value)


def test_nbgrader_metadata_of_an_exercise_are_kept(tmp_path):
    cells = [*lesson(), '# %% nbgrader={"grade": true, "points": 2}\n1']
    assert make(tmp_path, cells).cells[-1].metadata == {"nbgrader": {"grade": True, "points": 2}}


def test_magics_written_as_comments_are_magics_and_every_other_comment_stays(tmp_path):
    code = "# %matplotlib inline\nif True:\n    # !ls\n    # copy the weights\n    x = 7\n# cat\n# %d is a format"
    built = make(tmp_path, [*lesson(), f"# %%\n{code}", "# %%\n# %%time\ny = 8"]).cells
    wanted = code.replace("# %matplotlib", "%matplotlib").replace("# !ls", "!ls")
    assert built[-2].source == wanted
    assert built[-1].source == "%%time\ny = 8"


@pytest.mark.parametrize(
    ("code", "line"),
    [("x = (1,\ny = 2", 1), ("return 5", 1), ("# %matplotlib inline\nx = = 1", 2), ("# %%time\nx =", 2)],
)
def test_a_syntax_error_is_told_with_lesson_cell_and_line(tmp_path, code, line):
    pattern = rf"{NAME}\.py, cell 35 \(id [0-9a-f]{{12}}\): syntax error in line {line}: "
    with pytest.raises(b.BuildError, match=pattern):
        make(tmp_path, [*lesson(), f"# %%\n{code}"])


def test_code_that_only_ipython_understands_builds(tmp_path):
    code = "# %timeit 1 + 1\nnames = !ls\nlen?\nawait thing()"
    assert make(tmp_path, [*lesson(), f"# %%\n{code}", "# %%\n# %%bash\n# if [ 1 ]; then echo; fi"])


def test_not_one_parameters_cell_is_an_error(tmp_path):
    cells = lesson()
    none = [cell.replace(' tags=["parameters"]', "") for cell in cells]
    with pytest.raises(b.BuildError, match=f"{NAME}.py: expected one code cell tagged parameters, found none"):
        make(tmp_path, none)
    with pytest.raises(b.BuildError, match=r"got 2: .*cell 2 \(id .*cell 3 \(id "):
        make(tmp_path, [*cells[:2], cells[1] + "\nMORE = 1", *cells[2:]])
    with pytest.raises(b.BuildError, match="found none"):  # a markdown cell does not count
        make(tmp_path, [*none, '# %% [markdown] tags=["parameters"]\n# PROFILE = 1'])


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        ('PROFILE = "auto"', "SEED"),
        ("SEED = 0\nPROFILE: str", "PROFILE"),
        ("if True:\n    SEED = 0\nPROFILE = 1", "SEED"),
    ],
)
def test_the_parameters_cell_must_assign_both_names(tmp_path, body, missing):
    cells = lesson()
    cells[1] = f'# %% tags=["parameters"]\n{body}'
    with pytest.raises(b.BuildError, match=rf"cell 2 \(id .*assign {missing}\."):
        make(tmp_path, cells)
    assert b.build_notebook(write(tmp_path, cells), parameters=False)


def test_annotated_parameters_count(tmp_path):
    cells = lesson()
    cells[1] = '# %% tags=["parameters"]\nPROFILE: str = "auto"\nSEED: int = 0'
    assert make(tmp_path, cells).cells[1].source.startswith("PROFILE: str")


def test_an_exercise_may_have_no_parameters_cell_but_never_two(tmp_path):
    none = [cell.replace(' tags=["parameters"]', "") for cell in lesson()]
    assert b.build_notebook(write(tmp_path, none), parameters=False)
    with pytest.raises(b.BuildError, match="got 2"):
        b.build_notebook(write(tmp_path, [*lesson(), lesson()[1]]), parameters=False)


def test_sources_that_are_no_python_text_are_refused_by_name(tmp_path):
    (tmp_path / "a.R").write_text("# %%\nx <- 1")
    (tmp_path / "b.py").write_bytes(b"# %%\nx = '\xff'")
    (tmp_path / "c.py").write_text("x = 1\n")
    header = "# ---\n# jupyter:\n#   kernelspec:\n#     display_name: R\n#     language: R\n#     name: ir\n# ---\n"
    (tmp_path / "d.py").write_text(header + "# %%\n1\n")
    wanted = {
        "a.R": "got '.R'",
        "b.py": "UTF-8",
        "c.py": "found none",
        "d.py": "language 'R'",
        "e.py": "cannot be read",
    }
    for name, words in wanted.items():
        with pytest.raises(b.BuildError, match=words) as caught:
            b.build_notebook(tmp_path / name)
        assert str(caught.value).startswith(name)


# ---- build and check


def test_building_twice_writes_once_and_the_result_is_clean(tmp_path):
    write(tmp_path / "notebooks" / "source", lesson())
    target = tmp_path / "notebooks" / f"{NAME}.ipynb"
    assert b.build(tmp_path) == [target]
    before = (target.read_bytes(), target.stat().st_mtime_ns)
    assert b.build(tmp_path) == []
    assert (target.read_bytes(), target.stat().st_mtime_ns) == before
    assert b.check(tmp_path) == []
    assert sorted(path.name for path in target.parent.iterdir()) == [f"{NAME}.ipynb", "source"]


def test_build_touches_nothing_that_it_did_not_build(tmp_path):
    root, source, target = course(tmp_path)
    mine = target.with_name("mine.ipynb")
    mine.write_text("{}")
    source.unlink()
    assert b.build(root) == []
    assert mine.read_text() == "{}" and target.is_file()


def test_one_broken_source_stops_the_build_before_anything_is_written(tmp_path):
    root, source, target = course(tmp_path)
    before = target.read_bytes()
    write(source.parent, [*lesson(), "# %%\nnew = 1"])
    write(source.parent, [*lesson(), "# %%\nnew ="], name="99_broken")
    with pytest.raises(b.BuildError, match=r"99_broken\.py"):
        b.build(root)
    assert target.read_bytes() == before


def test_a_failing_rename_leaves_the_old_notebook_and_no_litter(tmp_path, monkeypatch):
    root, source, target = course(tmp_path)
    before = target.read_bytes()
    write(source.parent, [*lesson(), "# %%\nnew = 1"])

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        b.build(root)
    assert target.read_bytes() == before
    assert sorted(path.name for path in target.parent.iterdir()) == [f"{NAME}.ipynb", "source"]


def test_check_names_a_missing_a_stale_and_an_orphaned_notebook_with_the_cure(tmp_path):
    root, source, target = course(tmp_path)
    target.with_name("old.ipynb").write_text("{}")
    write(source.parent, lesson(), name="10_inpainting")
    cells = lesson()
    cells[3] = cells[3].replace("print", "repr")
    write(source.parent, cells)
    stale, missing, orphaned = b.check(root)
    assert stale.startswith(f"{NAME}.ipynb: stale") and stale.endswith("run: mmcourse build")
    assert missing.startswith("10_inpainting.ipynb: missing") and missing.endswith("run: mmcourse build")
    assert orphaned.startswith("old.ipynb: orphaned") and orphaned.endswith("run: mmcourse build")
    b.build(root)
    assert b.check(root) == [orphaned]


def test_check_names_a_notebook_that_carries_outputs(tmp_path):
    root, _, target = course(tmp_path)
    clean = target.read_text()
    nb = json.loads(clean)
    nb["cells"][1]["execution_count"] = 1
    target.write_text(json.dumps(nb))
    assert b.check(root) == [f"{NAME}.ipynb: carries outputs or execution counts; run: mmcourse build"]
    nb = json.loads(clean)
    nb["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "hello"}]
    target.write_text(json.dumps(nb))
    assert b.check(root) == [f"{NAME}.ipynb: carries outputs or execution counts; run: mmcourse build"]
    target.write_text("no notebook at all")
    assert "stale" in b.check(root)[0]


def test_check_goes_on_past_a_source_that_does_not_build(tmp_path):
    root, source, target = course(tmp_path)
    write(source.parent, [*lesson(), "# %%\nx ="], name="01_broken")
    target.unlink()
    broken, missing = b.check(root)
    assert "01_broken.py, cell 35 (id " in broken and "syntax error" in broken
    assert missing.startswith(f"{NAME}.ipynb: missing")


def test_check_reports_lint_findings(tmp_path):
    root, _, _ = course(tmp_path, lesson()[:-1])
    (line,) = b.check(root)
    assert line.startswith(f"{NAME}, cell 33 (id ") and "## Exercises" in line


def test_a_folder_without_sources_is_an_error(tmp_path):
    for call in (b.build, b.check):
        with pytest.raises(b.BuildError, match="folder of sources"):
            call(tmp_path)


# ---- lint


def findings(tmp_path: Path, cells: list[str], name: str = NAME) -> list[str]:
    return b.lint(make(tmp_path, cells), name)


def only(tmp_path: Path, cells: list[str], cell_number: int, *words: str) -> None:
    """The lesson has exactly one problem: at this cell, named with its id, in these words."""
    nb = make(tmp_path, cells)
    lines = b.lint(nb, NAME)
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{NAME}, cell {cell_number} (id {nb.cells[cell_number - 1].id}): ")
    for word in words:
        assert word in lines[0]


def test_a_proper_lesson_has_no_findings(tmp_path):
    assert findings(tmp_path, lesson()) == []


def test_lint_wants_a_title_first(tmp_path):
    cells = lesson()
    only(tmp_path, [cells[0].replace("# # Text", "# ## Text"), *cells[1:]], 1, "'# ' title")
    only(tmp_path, ["# %%\nimport os", *cells], 1, "'# ' title")


def test_lint_wants_three_to_five_objectives(tmp_path):
    cells = lesson()
    for count, fine in [(2, False), (3, True), (5, True), (6, False)]:
        bullets = "".join(f"\n# - goal {i}" for i in range(count))
        cells[0] = (
            f"# %% [markdown]\n# # T\n#\n# ## What you will be able to do\n#{bullets}\n#\n# ## Before\n# - not one"
        )
        if fine:
            assert findings(tmp_path, cells) == []
        else:
            only(tmp_path, cells, 1, "3 to 5 objectives", f"got {count}")
    cells[0] = "# %% [markdown]\n# # T"
    only(tmp_path, cells, 1, "What you will be able to do", "no such heading")


def test_lint_wants_one_parameters_cell(tmp_path):
    nb = make(tmp_path, lesson())
    nb.cells[1].metadata.tags = []
    assert ["exactly one code cell tagged parameters, got 0" in line for line in b.lint(nb, NAME)] == [True]
    nb.cells[1].metadata.tags = nb.cells[3].metadata.tags = ["parameters"]
    (line,) = b.lint(nb, NAME)
    assert f"cell 4 (id {nb.cells[3].id})" in line and "got 2" in line


def test_lint_wants_30_to_45_cells(tmp_path):
    extra = [f"# %%\ny{i} = 1" for i in range(12)]
    assert findings(tmp_path, lesson() + extra[:11]) == []
    only(tmp_path, lesson() + extra, 46, "30 to 45 cells", "got 46")
    cells = lesson()
    short = cells[:2] + [f"# %% [markdown]\n# {FILLER * 8}"] * 2 + cells[2:11] + cells[-5:]
    only(tmp_path, short, 18, "30 to 45 cells", "got 18")


def test_lint_wants_short_code_cells(tmp_path):
    cells = lesson()
    body = "\n".join(f"a{i} = {i}  # why" for i in range(30))
    assert findings(tmp_path, [*cells, f"# %%\n# only a comment\n\n{body}\n    \n# the end"]) == []
    only(tmp_path, [*cells, f"# %%\n{body}\nb = 1"], 35, "at most 30 lines", "got 31")


def test_lint_wants_a_median_of_eight_lines(tmp_path):
    def with_lines(count: int) -> list[str]:
        body = "\n".join(f"x{i} = {i}" for i in range(count))
        return [re.sub(r"^# %%\n(?!assert)(.*\n.*)$", rf"# %%\n\1\n{body}", cell) for cell in lesson()]

    assert findings(tmp_path, with_lines(6)) == []
    only(tmp_path, with_lines(7), 4, "median of at most 8", "got 9")


def test_lint_counts_the_words(tmp_path):
    nb = make(tmp_path, lesson())
    words = sum(b.count_words(cell.source) for cell in nb.cells if cell.cell_type == "markdown")
    assert 1200 < words < 1300
    cells = lesson()
    cells[-1] += f"\n# {'word ' * (2000 - words)}"
    assert findings(tmp_path, cells) == []
    cells[-1] += "word"
    only(tmp_path, cells, 34, "1,200 to 2,000 words", "got 2,001")
    cells = lesson()
    cells[2] = cells[2].replace(FILLER, "")
    only(tmp_path, cells, 6, "1,200 to 2,000 words", f"got {words - 65:,}")


@pytest.mark.parametrize(
    ("markdown", "words"),
    [
        ("one two-part **three** doesn't count 1,200 times", 7),
        ("before\n\n```python\nx = not counted\n```\n\nafter", 2),
        ("a\n~~~\nno\n~~~\nb\n```\nunclosed to the end", 2),
        ("loss $L = a + b$ and $$\nx = y\n$$ and \\(c d\\) and \\[e f\\] end", 5),
        ("\\begin{align}a &= b\\end{align} seen", 1),
        ("costs $5 and $6 here", 5),
        ("a $ b\n\nc $ d", 4),
        ("call `play(G, D, steps=3)` now", 3),
        ("see [the book](https://example.org/a/b) and ![a cat](cat.png)", 6),
        ("<b>bold</b> <!-- hidden words --> x < y", 3),
        ("", 0),
    ],
)
def test_words_are_counted_as_a_reader_reads_them(markdown, words):
    assert b.count_words(markdown) == words


def test_lint_wants_two_predictions(tmp_path):
    cells = [cell.replace("**Predict.**", "Guess.") for cell in lesson()]
    only(tmp_path, [*cells[:2], lesson()[2], *cells[3:]], 34, "at least 2", "Predict", "got 1")
    not_a_start = [cell.replace("Guess.", "Now **Predict.**") for cell in cells]
    only(tmp_path, not_a_start, 34, "got 0")
    in_code = [cell.replace("Guess.", "```\n#\n# **Predict.**\n# ```\n#") for cell in cells]
    only(tmp_path, in_code, 34, "got 0")
    assert findings(tmp_path, [*cells[:-1], lesson()[2], "# %% [markdown]\n# **Predict.** So?", cells[-1]]) == []


@pytest.mark.parametrize("gone", ["## What was shown", "## What this does not show", "## Exercises"])
def test_lint_wants_the_three_last_headings(tmp_path, gone):
    cells = [cell.replace(f"# {gone}", "# Something") for cell in lesson()]
    only(tmp_path, cells, 34, gone)


def test_lint_wants_the_last_headings_in_order(tmp_path):
    cells = lesson()
    cells[-1], cells[-2] = cells[-2], cells[-1]
    only(tmp_path, cells, 32, "in the order")


def test_a_heading_inside_a_fence_is_no_heading(tmp_path):
    cells = lesson()
    cells[-1] = "# %% [markdown]\n# ```\n# ## Exercises\n# ```\n# text"
    only(tmp_path, cells, 34, "## Exercises")


def test_lint_wants_the_claim_asserted_in_the_last_part(tmp_path):
    cells = lesson()
    cells[3] += "\nassert x0 == 0"  # the derivation's own assert, far above
    without = [cell.replace("# %%\nassert x0 == 0", "# %%\nprint(x0)  # assert") for cell in cells]
    only(tmp_path, without, 32, "assert", "found none")
    after = [*without[:-2], "# %%\nif True:\n    assert x0 == 0", *without[-2:]]
    assert findings(tmp_path, after) == []


def test_lint_names_an_empty_cell_and_an_empty_notebook(tmp_path):
    only(tmp_path, [*lesson()[:5], "# %%", *lesson()[5:]], 6, "empty")
    (line,) = b.lint(nbformat.v4.new_notebook(), NAME)
    assert line.startswith(f"{NAME}, cell 0 ")


def test_only_the_lessons_in_the_table_are_excepted_and_each_has_a_reason(tmp_path):
    cells = lesson(sections=5)  # 22 cells, some 700 words
    assert len(findings(tmp_path, cells)) == 2
    assert findings(tmp_path, cells, name="00_start_here") == []
    assert all(budget.reason for budget in b.BUDGETS.values())


def test_importing_needs_no_torch_and_no_notebook_library():
    script = (
        "import sys, mmcourse.course.build, mmcourse.course.execute;"
        "print([m for m in ('torch', 'nbformat', 'jupytext', 'papermill', 'nbconvert', 'IPython') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
