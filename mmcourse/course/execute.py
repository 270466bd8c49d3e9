"""Execute a built lesson from its first cell to its last with papermill, and tell clearly where it failed."""

from __future__ import annotations

import copy
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcourse.checks import expect_one_of
from mmcourse.runtime import PROFILES, write_whole

if TYPE_CHECKING:
    from jupyter_client import AsyncKernelManager
    from nbformat import NotebookNode

KERNEL_ENV = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "MMCOURSE_UNDER_PAPERMILL": "1"}
START_TIMEOUT = 120  # seconds that a kernel may take to start on a busy machine
ERROR_LINES = 8  # how much of a traceback's end a message shows


class LessonError(RuntimeError):
    """A lesson that did not run to its end. The message names the lesson, the cell and the error."""


def execute_lesson(
    notebook: Path | NotebookNode,
    out: Path,
    *,
    profile: str = "quick",
    seed: int = 0,
    timeout: float = 600,
    progress: bool = True,
    cwd: Path | None = None,
    extra_parameters: dict[str, Any] | None = None,
) -> Path:
    """Run a built lesson with ``PROFILE`` and ``SEED`` injected and write the executed notebook to ``out``.

    notebook:  a path, or a notebook in memory (which is left as it is).
    timeout:   seconds that a single cell may take.
    progress:  show a bar that counts cells and names the lesson, on stderr.
    cwd:       the kernel's folder; by default the notebook's own, as in Jupyter, or the current one for a notebook
               in memory. This process stays where it is.
    extra_parameters:  more names to inject; each must be assigned in the lesson's parameters cell.

    The kernel is the interpreter that runs this function. Matplotlib draws inline, and the kernel's environment has
    ``MMCOURSE_UNDER_PAPERMILL=1``. ``out`` appears whole or not at all, with each cell's seconds (``cell_times``).

    Raises ``ValueError`` for an unknown profile or parameter, and ``LessonError`` where a cell raises, exits, takes
    too long or kills the kernel. Then ``out`` is left as it was, and what had run is kept beside it as
    ``<name>.failed.ipynb``; the next success removes that.
    """
    expect_one_of(profile, ("auto", *PROFILES), name="profile")
    built = _load(notebook)
    name = Path(notebook).stem if isinstance(notebook, (str, Path)) else out.stem
    folder = cwd or (Path(notebook).parent if isinstance(notebook, (str, Path)) else Path.cwd())
    ready = _with_parameters(built, {"PROFILE": profile, "SEED": seed, **(extra_parameters or {})}, name)

    failed = out.with_name(f"{out.stem}.failed.ipynb")
    problem = _run(ready, name, timeout=timeout, progress=progress, cwd=folder)
    if problem is not None:
        _write_whole(failed, ready)
        where = _where(name, _last_started(ready), ready, built)
        raise LessonError(f"{where}:\n{problem}\nWhat had run is kept in {failed}.")
    _write_whole(out, ready)
    failed.unlink(missing_ok=True)
    return out


def cell_times(executed: Path | NotebookNode) -> list[tuple[str, float]]:
    """The wall time of every code cell that ran, in the notebook's order: (cell id, seconds).

    The cell of injected parameters is left out, so that the ids are those of the built lesson.
    Raises ``KeyError`` for a notebook that was run by something other than papermill, which keeps no times.
    """
    return [
        (cell.id, float(cell.metadata["papermill"]["duration"]))
        for cell in _load(executed).cells
        if cell.cell_type == "code" and cell.execution_count is not None and not _is_injected(cell)
    ]


# The template leaves out require.js, which only widgets use: a page that waits for it offline stays blank meanwhile.
_TEMPLATE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js_requirejs %}{% if "widgets" in nb.metadata %}{{ super() }}{% endif %}{% endblock %}"""


def to_html(executed: Path | NotebookNode, out_html: Path) -> Path:
    """Write an executed notebook as one HTML file that can be read without a network.

    Styles and pictures are inside the file. Two things still come from the network and are missing without it:
    MathJax (formulas then show as TeX) and live widgets.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(raw_template=_TEMPLATE, embed_images=True)
    folder = Path(executed).parent if isinstance(executed, (str, Path)) else Path.cwd()
    resources = {"metadata": {"name": out_html.stem, "path": str(folder)}}
    body, _ = exporter.from_notebook_node(_load(executed), resources=resources)
    _replace(out_html, body)
    return out_html


# ---- running


def _run(nb: NotebookNode, name: str, *, timeout: float, progress: bool, cwd: Path) -> str | None:
    """Execute a notebook in place. Returns None if every cell ran, else what went wrong at the last one started.

    papermill's engine is called without its outer function, which formats paths with ``str.format``, changes this
    process's folder and loses the half-executed notebook when it raises.
    """
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.engines import NBClientEngine

    try:
        NBClientEngine.execute_notebook(
            nb,
            "python3",
            progress_bar={"desc": name} if progress else False,
            autosave_cell_every=0,
            start_timeout=START_TIMEOUT,
            execution_timeout=max(1, math.ceil(timeout)),
            iopub_timeout=60,  # how long a finished cell's pictures may still be on their way
            resources={"metadata": {"path": str(cwd)}},
            kernel_manager_class=_kernel_manager_class(),
        )
    except CellTimeoutError:
        return f"the cell took longer than {timeout:g} s. Give it more time, or a smaller profile."
    except DeadKernelError:
        return "the kernel died. Was memory used up, or did the cell end the process?"
    except RuntimeError as error:
        return f"the kernel did not start or did not answer: {error}"
    return _problem_of(nb)


def _problem_of(nb: NotebookNode) -> str | None:
    """What went wrong in a run that returned. Cells' statuses are not trusted, execution counts are."""
    if nb.metadata.papermill.exception:
        return _error_text(nb.cells[_last_started(nb)])
    if any(cell.execution_count is None for cell in nb.cells if _must_run(cell)):
        return "the run ended after this cell, and cells below it never ran."
    return None


def _must_run(cell: NotebookNode) -> bool:
    skipped = "skip-execution" in cell.metadata.get("tags", [])
    return cell.cell_type == "code" and bool(cell.source.strip()) and not skipped


def _last_started(nb: NotebookNode) -> int:
    """The index of the last cell that was started, or -1 if the kernel never came up."""
    started = [i for i, cell in enumerate(nb.cells) if cell.metadata.get("papermill", {}).get("start_time")]
    return started[-1] if started else -1


def _error_text(cell: NotebookNode) -> str:
    """The last lines of a cell's error, without colours."""
    errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
    if not errors:
        return "the cell failed without an error message."
    if errors[-1].ename == "SystemExit":
        return f"the cell called exit({errors[-1].evalue}); a lesson must run to its end."
    text = "\n".join(errors[-1].traceback) or f"{errors[-1].ename}: {errors[-1].evalue}"
    lines = [line.rstrip() for line in strip_ansi(text).splitlines() if line.strip()]
    return "\n".join(lines[-ERROR_LINES:])


def strip_ansi(text: str) -> str:
    """The text without terminal colours and other escape sequences."""
    return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)", "", text)


def _where(name: str, index: int, executed: NotebookNode, built: NotebookNode) -> str:
    """Name a cell of the executed notebook by its number in the built one: papermill puts cells in between."""
    if index < 0:
        return f"{name}, before the first cell"
    cell = executed.cells[index]
    first_line = next((line.strip() for line in cell.source.splitlines() if line.strip()), "")
    numbers = {cell.id: number for number, cell in enumerate(built.cells, start=1)}
    if cell.id not in numbers:
        return f"{name}, the injected parameters"
    return f"{name}, cell {numbers[cell.id]} (id {cell.id}), {first_line!r}"


def _kernel_manager_class() -> type[AsyncKernelManager]:
    """A kernel manager whose only kernel is this very interpreter, whatever kernels are registered."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from traitlets import default

    class ThisInterpreter(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            spec = get_kernel_dict()  # its command starts with sys.executable
            assert spec["argv"][0] == sys.executable
            return KernelSpec(**spec, name=kernel_name, env=dict(KERNEL_ENV))

    class ThisInterpreterManager(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _only_this_interpreter(self) -> KernelSpecManager:
            return ThisInterpreter(parent=self)

    return ThisInterpreterManager


# ---- notebooks in and out


def _load(notebook: Path | NotebookNode) -> NotebookNode:
    """A copy of the notebook in nbformat 4.5, whose cells all have ids."""
    import nbformat

    is_path = isinstance(notebook, (str, Path))
    return nbformat.v4.upgrade(nbformat.read(notebook, as_version=4) if is_path else copy.deepcopy(notebook))


def _with_parameters(nb: NotebookNode, parameters: dict[str, Any], name: str) -> NotebookNode:
    """A copy of the notebook with the parameters injected below its parameters cell."""
    from papermill import inspect_notebook
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    known = inspect_notebook(nb)
    unknown = [word for word in parameters if word not in known]
    if unknown:
        raise ValueError(
            f"{name}: expected a cell tagged parameters that assigns {', '.join(unknown)}; it assigns "
            f"{', '.join(known) or 'nothing'}. Is this a built lesson, and is the name right?"
        )
    return parameterize_notebook(load_notebook_node(nb), parameters, kernel_name="python3", language="python")


def _is_injected(cell: NotebookNode) -> bool:
    return "injected-parameters" in cell.metadata.get("tags", [])


def _write_whole(path: Path, nb: NotebookNode) -> None:
    import nbformat

    _replace(path, nbformat.writes(nb).rstrip("\n") + "\n")


def _replace(path: Path, text: str) -> None:
    """``write_whole`` for text. A lone surrogate, which UTF-8 cannot hold, becomes a question mark."""
    write_whole(path, text.encode("utf-8", errors="replace"))
