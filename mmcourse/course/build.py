"""Build the lessons: text sources (jupytext py:percent) become notebooks without outputs, and are checked.

A source is a Python file whose cells start with ``# %%`` or ``# %% [markdown]``. The header may carry
``id="..."`` and ``tags=[...]``. A magic is written as a comment (``# %matplotlib inline``, ``# !ls``), so that
the source stays Python; every other comment stays a comment.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import statistics
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcourse.runtime import write_whole

if TYPE_CHECKING:
    from nbformat import NotebookNode

CURE = "run: mmcourse build"
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
PARAMETERS = ("PROFILE", "SEED")

# What an author may write in a cell's header besides its id, and what jupytext adds for itself.
AUTHOR_KEYS = ("deletable", "editable", "jupyter", "mystnb", "nbgrader", "slideshow", "tags")
JUPYTEXT_KEYS = ("cell_marker", "lines_to_end_of_cell_marker", "lines_to_next_cell", "region_name")


class BuildError(ValueError):
    """A source that cannot become a notebook. The message says what was expected, what came, what to do."""


@dataclass(frozen=True)
class Budget:
    """What a lesson may hold. A lesson with numbers of its own gives the reason."""

    cells: tuple[int, int] = (30, 45)
    words: tuple[int, int] = (1200, 2000)  # words of markdown, without fenced code and formulas
    median_lines: int = 8  # of the code cells; blank and comment-only lines do not count
    most_lines: int = 30
    objectives: tuple[int, int] = (3, 5)
    predictions: int = 2
    reason: str = ""


# Exceptions, by the number that a lesson's name starts with.
BUDGETS = {
    "00": Budget(
        cells=(12, 45), words=(500, 2000), reason="a tour of the machine and of the world; it derives nothing"
    ),
    "09": Budget(cells=(30, 56), words=(1200, 2000), reason="it also takes a published listing apart, fault by fault"),
}


# ---- source -> notebook


def build_notebook(source: Path, *, parameters: bool = True) -> NotebookNode:
    """Read one py:percent source and return its notebook (nbformat 4.5, no outputs, stable cell ids).

    A cell's id is the author's (``# %% id="..."``) or a hash of the cell's own kind and text, so an edit in one
    cell leaves the other ids alone. Cells with the very same text are numbered in order (``-2``, ``-3``); give them
    ids of their own where that order may change.
    With ``parameters`` exactly one code cell must be tagged ``parameters`` and assign ``PROFILE`` and ``SEED``;
    without it, there may be none.

    Raises ``BuildError`` for a file that is not Python or not readable, an unknown or malformed cell header, an
    invalid or repeated id, a syntax error in a code cell (magics are allowed), and for none or two parameters cells.
    """
    import nbformat

    cells = _read_cells(source)
    _give_ids(cells, source.name)
    for index, cell in enumerate(cells):
        _check_tags(cell, _place(source.name, index, cell))
        if cell.cell_type == "code":
            _check_syntax(cell, _place(source.name, index, cell))
    _check_parameters(cells, source.name, required=parameters)
    metadata = {"kernelspec": dict(KERNELSPEC), "language_info": {"name": "python"}}
    nb = nbformat.from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells})
    nbformat.validate(nb)
    return nb


def to_bytes(nb: NotebookNode) -> bytes:
    """The notebook as JSON, the same bytes each time: indent 1, sorted keys, UTF-8, a newline at the end."""
    import nbformat

    return (nbformat.writes(nb).rstrip("\n") + "\n").encode("utf-8")


def _read_cells(source: Path) -> list[NotebookNode]:
    """The source's cells as notebook cells, stripped of what jupytext adds. An author's id is already in place."""
    text = _read_text(source)
    import jupytext

    layout = {"extension": ".py", "format_name": "percent", "comment_magics": False}
    try:
        parsed = jupytext.reads(text, fmt=layout)
    except Exception as error:  # jupytext, yaml and nbformat each raise kinds of their own
        raise BuildError(
            f"{source.name}: expected jupytext py:percent with headers such as '# %% tags=[\"hide-input\"]', "
            f"but jupytext says: {error}"
        ) from error
    language = parsed.metadata.get("kernelspec", {}).get("language") or "python"
    if language != "python":
        raise BuildError(f"{source.name}: expected a Python source, got language {language!r} in its header.")
    return [_clean_cell(cell, _place(source.name, index)) for index, cell in enumerate(parsed.cells)]


def _read_text(source: Path) -> str:
    if source.suffix != ".py":
        raise BuildError(f"{source.name}: expected a Python source (.py), got {source.suffix or 'no suffix'!r}.")
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"{source.name}: cannot be read as UTF-8 text ({error}). Save it as UTF-8.") from error
    if not re.search(r"^# %%", text, re.MULTILINE):
        raise BuildError(f"{source.name}: expected cells that start with '# %%', found none. Is it a py:percent file?")
    return text


def _clean_cell(parsed: NotebookNode, place: str) -> NotebookNode:
    """A fresh cell with the parsed one's text and the author's metadata."""
    import nbformat

    metadata = {key: value for key, value in parsed.metadata.items() if key not in JUPYTEXT_KEYS}
    given = metadata.pop("id", "")
    for key, value in metadata.items():
        if key not in AUTHOR_KEYS:
            raise BuildError(
                f"{place}: cannot use {key}={value!r} of the cell's header. Expected '# %%' or '# %% [markdown]', "
                f"then key=value in JSON, with keys among id, {', '.join(AUTHOR_KEYS)}."
            )
    fields: dict[str, Any] = {"id": given, "cell_type": parsed.cell_type, "metadata": metadata, "source": parsed.source}
    if parsed.cell_type == "code":
        fields |= {"source": _uncomment_magics(parsed.source), "execution_count": None, "outputs": []}
    return nbformat.from_dict(fields)


def _uncomment_magics(code: str) -> str:
    """Turn ``# %name`` and ``# !command`` lines into magics.

    jupytext's own rule is wider: it would also turn the comment ``# copy the weights`` into a command.
    """
    return re.sub(r"^([ \t]*)# (?=%{1,2}[a-zA-Z]{2}|![a-zA-Z])", r"\1", code, flags=re.MULTILINE)


def _give_ids(cells: list[NotebookNode], name: str) -> None:
    """Check the ids that the author gave and fill in the others."""
    taken: set[str] = set()
    for index, cell in enumerate(cells):
        if cell.id == "":
            continue
        place = _place(name, index)
        if not isinstance(cell.id, str) or not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", cell.id):
            raise BuildError(
                f"{place}: expected an id of 1 to 64 letters, digits, - and _, in quotes; got {cell.id!r}."
            )
        if cell.id in taken:
            raise BuildError(f"{place}: expected an id of its own, got {cell.id!r}, which an earlier cell has.")
        taken.add(cell.id)
    for cell in cells:
        if cell.id == "":
            cell.id = _fresh_id(cell, taken)
            taken.add(cell.id)


def _fresh_id(cell: NotebookNode, taken: set[str]) -> str:
    """A hash of the cell's kind and text, and the number of its occurrence from the second on."""
    base = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
    occurrence, fresh = 1, base
    while fresh in taken:
        occurrence += 1
        fresh = f"{base}-{occurrence}"
    return fresh


def _check_tags(cell: NotebookNode, place: str) -> None:
    if "injected-parameters" in cell.metadata.get("tags", []):
        raise BuildError(f"{place}: the tag injected-parameters belongs to papermill; use parameters.")


def _check_syntax(cell: NotebookNode, place: str) -> None:
    """Compile a code cell as IPython would. Bodies of cell magics other than the timers and capture are not code."""
    from IPython.core.inputtransformer2 import TransformerManager

    body = re.sub(r"\A\s*%%(?:time|timeit|capture)\b[^\n]*\n", "pass\n", cell.source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = TransformerManager().transform_cell(body)
            compile(code, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise BuildError(f"{place}: syntax error in line {error.lineno}: {error.msg}: {line!r}.") from error
    except ValueError as error:  # a null byte
        raise BuildError(f"{place}: cannot be compiled: {error}.") from error


def _check_parameters(cells: list[NotebookNode], name: str, *, required: bool) -> None:
    tagged = _parameters_cells(cells)
    header = '# %% tags=["parameters"]'
    if len(tagged) > 1:
        places = " and ".join(_place(name, index, cells[index]) for index in tagged)
        raise BuildError(f"{name}: expected one cell tagged parameters, got {len(tagged)}: {places}. Keep the first.")
    if not tagged and required:
        raise BuildError(f"{name}: expected one code cell tagged parameters, found none. Start it with {header}.")
    for index in tagged:
        missing = [word for word in PARAMETERS if word not in _assigned(cells[index].source)]
        if required and missing:
            place = _place(name, index, cells[index])
            raise BuildError(f"{place}: expected the parameters cell to assign {' and '.join(missing)}.")


def _parameters_cells(cells: list[NotebookNode]) -> list[int]:
    """Indices of the code cells tagged ``parameters``."""
    return [
        index
        for index, cell in enumerate(cells)
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", [])
    ]


def _assigned(code: str) -> set[str]:
    """Names that a piece of plain Python assigns at its top level."""
    names: set[str] = set()
    for statement in ast.parse(code).body:
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets = [statement.target]
        else:
            continue
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _place(name: str, index: int, cell: NotebookNode | None = None) -> str:
    """Where a problem is: the lesson, the cell's number (from 1) and, once it has one, its id."""
    return f"{name}, cell {index + 1}" + (f" (id {cell.id})" if cell is not None else "")


# ---- folders


def build(root: Path) -> list[Path]:
    """Build every lesson of the repository at ``root``: ``notebooks/source/*.py`` to ``notebooks/*.ipynb``.

    Returns the notebooks that were written: those whose bytes changed. Raises ``BuildError`` as ``build_notebook``.
    """
    return build_folder(root / "notebooks" / "source", root / "notebooks")


def build_folder(source_dir: Path, target_dir: Path, *, parameters: bool = True) -> list[Path]:
    """Build every source of a folder into another, and return the notebooks whose bytes changed.

    All sources are read before the first file is written; each file appears whole or not at all. Nothing is
    removed: a notebook whose source is gone is left to ``check_folder``.
    Raises ``BuildError`` for a folder that is not there and as ``build_notebook`` does.
    """
    built = {
        target_dir / f"{source.stem}.ipynb": to_bytes(build_notebook(source, parameters=parameters))
        for source in _sources(source_dir)
    }
    changed = [target for target, data in built.items() if not _holds(target, data)]
    target_dir.mkdir(parents=True, exist_ok=True)
    for target in changed:
        write_whole(target, built[target])
    return changed


def check(root: Path) -> list[str]:
    """Hold every lesson at ``root`` to its source and to the lessons' anatomy. Returns one line for every problem.

    Problems are a source that does not build, a missing, stale or orphaned notebook, one that carries outputs, and
    what ``lint`` finds. An empty list means that all is well. Nothing is written.
    """
    source_dir = root / "notebooks" / "source"
    problems = check_folder(source_dir, root / "notebooks")
    for source in _sources(source_dir):
        try:
            nb = build_notebook(source)
        except BuildError:
            continue  # already told
        problems += lint(nb, source.stem)
    return problems


def check_folder(source_dir: Path, target_dir: Path, *, parameters: bool = True) -> list[str]:
    """Hold the notebooks of a folder to their sources; one line for every problem, with its cure.

    Raises ``BuildError`` for a source folder that is not there.
    """
    problems: list[str] = []
    sources = _sources(source_dir)
    for source in sources:
        try:
            data = to_bytes(build_notebook(source, parameters=parameters))
        except BuildError as error:
            problems.append(str(error))
        else:
            problems += _compare(target_dir / f"{source.stem}.ipynb", data)
    known = {source.stem for source in sources}
    for target in sorted(target_dir.glob("*.ipynb")):
        if target.stem not in known:
            wanted = f"{source_dir.name}/{target.stem}.py"
            problems.append(f"{target.name}: orphaned, there is no {wanted}. Delete it, or write {wanted} and {CURE}")
    return problems


def _compare(target: Path, data: bytes) -> list[str]:
    if not target.is_file():
        return [f"{target.name}: missing; {CURE}"]
    if _holds(target, data):
        return []
    if _carries_outputs(target):
        return [f"{target.name}: carries outputs or execution counts; {CURE}"]
    return [f"{target.name}: stale, it differs from what its source gives; {CURE}"]


def _carries_outputs(target: Path) -> bool:
    try:
        cells = json.loads(target.read_bytes())["cells"]
        return any(cell.get("outputs") or cell.get("execution_count") is not None for cell in cells)
    except (ValueError, TypeError, KeyError, AttributeError):
        return False  # no notebook at all


def _sources(source_dir: Path) -> list[Path]:
    if not source_dir.is_dir():
        raise BuildError(
            f"expected a folder of sources at {source_dir}, found none. Run this in a checkout of the course."
        )
    return sorted(source_dir.glob("*.py"))


def _holds(target: Path, data: bytes) -> bool:
    return target.is_file() and target.read_bytes() == data


# ---- the anatomy of a lesson

Finding = tuple[int, str]  # the cell's index, and what is wrong there


def lint(nb: NotebookNode, name: str) -> list[str]:
    """Hold a lesson to the house's anatomy and cell budget; one line for every problem.

    ``name`` is the lesson's, such as ``09_text2image``; ``BUDGETS`` holds the exceptions. Each line names the lesson,
    a cell's number (from 1) and its id; a problem of the whole lesson is told at the cell where a cure would start.
    """
    if not nb.cells:
        return [f"{name}, cell 0 (id none): expected a lesson, got a notebook without cells."]
    budget = BUDGETS.get(name[:2], Budget())
    findings = [
        *_opening(nb, budget),
        *_cell_sizes(nb, budget),
        *_word_count(nb, budget),
        *_predictions(nb, budget),
        *_ending(nb),
    ]
    return [f"{_place(name, index, nb.cells[index])}: {text}" for index, text in findings]


def _opening(nb: NotebookNode, budget: Budget) -> Iterator[Finding]:
    """A title, the objectives, a parameters cell."""
    first = nb.cells[0]
    if first.cell_type != "markdown" or not re.match(r"# \S", first.source):
        yield 0, "expected the lesson to start with a '# ' title."
    heading = "## What you will be able to do"
    index = _find_heading(nb, heading)
    if index is None:
        yield 0, f"expected an objectives list under '{heading}', found no such heading."
    else:
        least, most = budget.objectives
        bullets = len(re.findall(r"^(?:[-*+]|\d+[.)]) ", _section(nb.cells[index].source, heading), re.MULTILINE))
        if not least <= bullets <= most:
            yield index, f"expected {least} to {most} objectives as a list below the heading, got {bullets}."
    tagged = _parameters_cells(nb.cells)
    if len(tagged) != 1:
        where = tagged[1] if tagged else 0
        yield where, f"expected exactly one code cell tagged parameters, got {len(tagged)}."


def _cell_sizes(nb: NotebookNode, budget: Budget) -> Iterator[Finding]:
    """How many cells there are, and how long the code cells are."""
    least, most = budget.cells
    if not least <= len(nb.cells) <= most:
        yield len(nb.cells) - 1, f"expected {least} to {most} cells in the lesson, got {len(nb.cells)}."
    for index, cell in enumerate(nb.cells):
        if not cell.source.strip():
            yield index, "expected something in the cell, it is empty."
    lines = {index: code_lines(cell.source) for index, cell in enumerate(nb.cells) if cell.cell_type == "code"}
    if not lines:
        return
    for index, count in lines.items():
        if count > budget.most_lines:
            yield index, f"expected at most {budget.most_lines} lines in a code cell, got {count}. Split it."
    median = statistics.median(lines.values())
    if median > budget.median_lines:
        longest = max(lines, key=lines.__getitem__)
        text = f"expected a median of at most {budget.median_lines} lines in the code cells, got {median:g}."
        yield longest, f"{text} This cell is the longest, with {lines[longest]}."


def _word_count(nb: NotebookNode, budget: Budget) -> Iterator[Finding]:
    words = {index: count_words(cell.source) for index, cell in enumerate(nb.cells) if cell.cell_type == "markdown"}
    total, (least, most) = sum(words.values()), budget.words
    if not least <= total <= most:
        wordiest = max(words, key=words.__getitem__, default=0)
        text = f"expected {least:,} to {most:,} words of markdown in the lesson, got {total:,}."
        yield wordiest, f"{text} This cell has the most, with {words.get(wordiest, 0)}."


def _predictions(nb: NotebookNode, budget: Budget) -> Iterator[Finding]:
    """Cells that ask the reader to predict before running."""
    asks = sum(
        cell.cell_type == "markdown" and bool(re.search(r"(?:\A|\n[ \t]*\n)\*\*Predict\.\*\*", _unfenced(cell.source)))
        for cell in nb.cells
    )
    if asks < budget.predictions:
        text = f"expected at least {budget.predictions} markdown cells with a paragraph that starts '**Predict.**'"
        yield len(nb.cells) - 1, f"{text} in the lesson, got {asks}."


def _ending(nb: NotebookNode) -> Iterator[Finding]:
    """The last part: a measured claim, what it does not show, the exercises, in this order."""
    last = len(nb.cells) - 1
    headings = ("## What was shown", "## What this does not show", "## Exercises")
    places = [_find_heading(nb, heading) for heading in headings]
    for heading, place in zip(headings, places, strict=True):
        if place is None:
            yield last, f"expected the lesson to end with '{heading}' among its last headings, found no such heading."
    found = [place for place in places if place is not None]
    if found != sorted(found):
        yield found[0], f"expected the last headings in the order {', '.join(headings)}."
    if places[0] is not None and not _claim_is_asserted(nb, places[0]):
        text = "expected an assert that proves the claim in a code cell of the section before this heading or after it"
        yield places[0], f"{text}, found none."


def _claim_is_asserted(nb: NotebookNode, shown: int) -> bool:
    """Whether a code cell asserts, from the start of the section that leads up to ``What was shown`` to the end."""
    start = shown
    while start > 0 and not re.search(r"^## ", _prose(nb.cells[start - 1]), re.MULTILINE):
        start -= 1
    return any(
        cell.cell_type == "code" and re.search(r"^\s*assert\b", cell.source, re.MULTILINE) for cell in nb.cells[start:]
    )


def _find_heading(nb: NotebookNode, heading: str) -> int | None:
    """The index of the last markdown cell with this heading on a line of its own."""
    pattern = re.compile(rf"^{re.escape(heading)}[ \t]*$", re.MULTILINE)
    return next((i for i in reversed(range(len(nb.cells))) if pattern.search(_prose(nb.cells[i]))), None)


def _section(markdown: str, heading: str) -> str:
    """The text below a heading, up to the next heading of any level in the same cell."""
    below = _unfenced(markdown).split(heading, 1)[1]
    return re.split(r"^#+ ", below, maxsplit=1, flags=re.MULTILINE)[0]


def _prose(cell: NotebookNode) -> str:
    """A markdown cell's text without fenced code; nothing for other cells."""
    return _unfenced(cell.source) if cell.cell_type == "markdown" else ""


def _unfenced(markdown: str) -> str:
    fence = r"^[ \t]*(`{3,}|~{3,})[^\n]*\n.*?(?:^[ \t]*\1[`~]*[ \t]*$|\Z)"
    return re.sub(fence, "", markdown, flags=re.MULTILINE | re.DOTALL)


def code_lines(code: str) -> int:
    """How many lines of a code cell are neither blank nor only a comment."""
    lines = (line.strip() for line in code.splitlines())
    return sum(bool(line) and not line.startswith("#") for line in lines)


_FORMULA = re.compile(
    r"\$\$.*?\$\$"
    r"|\\begin\{(\w+\*?)\}.*?\\end\{\1\}"
    r"|\\\[.*?\\\]"
    r"|\\\(.*?\\\)"
    r"|(?<!\\)\$(?=\S)(?:[^$\n]|\n(?!\s*\n))+?(?<=\S)(?<!\\)\$(?!\d)",
    re.DOTALL,
)


def count_words(markdown: str) -> int:
    """Words that a reader reads: fenced code, formulas, HTML tags and link targets do not count, ``code`` is one."""
    text = _unfenced(markdown)
    text = re.sub(r"`[^`\n]+`", "code", text)
    text = _FORMULA.sub(" ", text)
    text = re.sub(r"<!--.*?-->|</?[a-zA-Z][^>]*>", " ", text, flags=re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return len(re.findall(r"\w+(?:['’.,\-]\w+)*", text))
