"""A lesson runs in this very interpreter with its parameters, and every way to fail is told by lesson and cell."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mmcourse.course import execute as e

PARAMETERS = 'PROFILE = "auto"\nSEED = 7\nSTEPS = 1'
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def lesson(*code: str) -> nbformat.NotebookNode:
    """A notebook as the builder makes them: a title, a parameters cell, then the code cells ``c1``, ``c2``, ..."""
    tagged = new_code_cell(PARAMETERS, id="params", metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell("# Title", id="title"), tagged]
    cells += [new_code_cell(text, id=f"c{number}") for number, text in enumerate(code, start=1)]
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernelspec, "language_info": {"name": "python"}})


def save(nb: nbformat.NotebookNode, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, path)
    return path


def cell(nb: nbformat.NotebookNode, cell_id: str) -> nbformat.NotebookNode:
    return next(found for found in nb.cells if found.id == cell_id)


def printed(nb: nbformat.NotebookNode, cell_id: str) -> str:
    return "".join(out.text for out in cell(nb, cell_id).outputs if out.output_type == "stream")


def fails(nb: nbformat.NotebookNode, tmp_path: Path, **options) -> tuple[str, nbformat.NotebookNode]:
    """Run a lesson that fails: its message, and the half-executed notebook that was kept."""
    out = tmp_path / "out" / "run.ipynb"
    with pytest.raises(e.LessonError) as caught:
        e.execute_lesson(save(nb, tmp_path / "01_bad.ipynb"), out, progress=False, **options)
    assert not out.exists()
    assert sorted(path.name for path in out.parent.iterdir()) == ["run.failed.ipynb"]
    assert str(out.with_name("run.failed.ipynb")) in str(caught.value)
    return str(caught.value), nbformat.read(out.with_name("run.failed.ipynb"), as_version=4)


REPORT = """
import json, os, sys
print(json.dumps([PROFILE, SEED, STEPS, sys.executable, os.getcwd()]))
print(json.dumps([os.environ.get("MMCOURSE_UNDER_PAPERMILL"), os.environ.get("MPLBACKEND")]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One good run, in a place made to mislead: braces in its path, another python3 kernel, another backend."""
    folder = tmp_path_factory.mktemp("a {brace} and {0}")
    decoy = folder / "jupyter" / "kernels" / "python3"
    decoy.mkdir(parents=True)
    spec = {"argv": ["false", "{connection_file}"], "display_name": "decoy", "language": "python"}
    (decoy / "kernel.json").write_text(json.dumps(spec))
    source = save(lesson(REPORT, "import time; time.sleep(0.3)", "'ü'"), folder / "03_lo{ss}.ipynb")
    out = folder / "out" / "03_lo{ss}.ipynb"
    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
        patch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
        patch.setenv("MPLBACKEND", "agg")
        from jupyter_client.kernelspec import KernelSpecManager

        assert KernelSpecManager().get_kernel_spec("python3").display_name == "decoy"
        stderr = folder / "stderr.txt"
        with stderr.open("w") as stream, patch.context() as inner:
            inner.setattr(sys, "stderr", stream)
            returned = e.execute_lesson(source, out, seed=3, extra_parameters={"STEPS": 5})
    assert (returned, Path.cwd()) == (out, here)
    assert "MMCOURSE_UNDER_PAPERMILL" not in os.environ
    return {"nb": nbformat.read(out, as_version=4), "out": out, "source": source, "stderr": stderr.read_text()}


def test_the_parameters_the_interpreter_and_the_folder_are_the_wanted_ones(run):
    first, second = map(json.loads, printed(run["nb"], "c1").splitlines())
    assert first == ["quick", 3, 5, sys.executable, str(run["source"].parent)]
    assert second == ["1", "module://matplotlib_inline.backend_inline"]


def test_every_cell_ran_and_the_file_is_whole(run):
    nbformat.validate(run["nb"])
    code = [found for found in run["nb"].cells if found.cell_type == "code"]
    assert [found.execution_count for found in code] == [1, 2, 3, 4, 5]
    assert [path.name for path in run["out"].parent.iterdir()] == [run["out"].name]
    assert str(run["source"].parent) not in json.dumps(run["nb"].metadata)


def test_the_source_notebook_is_left_alone(run):
    assert nbformat.read(run["source"], as_version=4) == lesson(*(found.source for found in run["nb"].cells[3:]))


def test_cell_times_are_those_of_the_built_lessons_cells(run):
    times = e.cell_times(run["out"])
    assert [name for name, _ in times] == ["params", "c1", "c2", "c3"]
    seconds = dict(times)
    assert 0.3 <= seconds["c2"] < 30
    assert all(0 <= value < 30 for value in seconds.values())
    assert e.cell_times(run["nb"]) == times
    assert e.cell_times(lesson("never ran")) == []


def test_the_bar_counts_cells_and_names_the_lesson(run):
    assert "03_lo{ss}: 100%" in run["stderr"] and "6/6" in run["stderr"]


def test_an_error_names_lesson_cell_id_source_and_the_errors_last_lines(tmp_path):
    nb = lesson("x = 1", "\n# why\ny = {}\ny['missing'] + x", "print('never')")
    message, kept = fails(nb, tmp_path)
    assert message.startswith("01_bad, cell 4 (id c2), '# why':\n")
    assert "KeyError: 'missing'" in message and "y['missing'] + x" in message
    assert "\x1b" not in message and "[0;31m" not in message
    assert [cell(kept, name).execution_count for name in ("c1", "c2", "c3")] == [3, 4, None]
    assert cell(kept, "c2").outputs[0].ename == "KeyError"


def test_an_error_in_a_small_profile_leaves_an_older_result_and_the_next_success_clears_up(tmp_path):
    out = tmp_path / "run.ipynb"
    out.write_text("older")
    nb = lesson("assert PROFILE == 'cpu'")
    with pytest.raises(e.LessonError, match=r"^run, cell 3 \(id c1\)"):
        e.execute_lesson(nb, out, progress=False, cwd=tmp_path)
    assert out.read_text() == "older" and (tmp_path / "run.failed.ipynb").is_file()
    e.execute_lesson(nb, out, profile="cpu", progress=False, cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.ipynb"]
    assert nb == lesson("assert PROFILE == 'cpu'")


def test_a_dead_kernel_is_told_at_the_cell_that_killed_it(tmp_path):
    message, kept = fails(lesson("x = 1", "import os; os._exit(0)", "y = 2"), tmp_path)
    assert message.startswith("01_bad, cell 4 (id c2), 'import os; os._exit(0)':\nthe kernel died.")
    assert cell(kept, "c3").execution_count is None


def test_a_timeout_is_told_with_its_limit(tmp_path):
    message, kept = fails(lesson("x = 1", "while True: x += 1", "y = 2"), tmp_path, timeout=1)
    assert message.startswith("01_bad, cell 4 (id c2), 'while True: x += 1':\nthe cell took longer than 1 s.")
    assert cell(kept, "c3").execution_count is None


def test_an_exit_with_code_0_is_no_success(tmp_path):
    message, _ = fails(lesson("import sys; sys.exit(0)", "y = 2"), tmp_path)
    assert message.startswith("01_bad, cell 3 (id c1), 'import sys; sys.exit(0)':\nthe cell called exit(0)")


def test_cells_that_never_ran_are_a_failure_whatever_their_status_says():
    nb = lesson("x = 1")
    nb.metadata["papermill"] = {"exception": None}
    for found in nb.cells:
        found.metadata["papermill"] = {"status": "completed"}
    nb.cells[1].execution_count = 1
    assert "never ran" in e._problem_of(nb)
    nb.cells[2].metadata["tags"] = ["skip-execution"]
    assert e._problem_of(nb) is None
    nb.cells[2].metadata["tags"] = []
    nb.cells[2].source = "  \n"
    assert e._problem_of(nb) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"profile": "qiuck"}, "profile: expected one of auto, quick, cpu, gpu; got 'qiuck'. Did you mean 'quick'"),
        ({"extra_parameters": {"STEP": 1}}, "assigns STEP; it assigns PROFILE, SEED, STEPS"),
    ],
)
def test_an_unknown_profile_or_parameter_is_refused_before_anything_runs(tmp_path, options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        e.execute_lesson(lesson("x = 1"), tmp_path / "run.ipynb", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_without_a_parameters_cell_is_refused(tmp_path):
    nb = lesson("x = 1")
    nb.cells[1].metadata["tags"] = []
    with pytest.raises(ValueError, match="assigns PROFILE, SEED; it assigns nothing"):
        e.execute_lesson(nb, tmp_path / "run.ipynb")


def test_html_holds_pictures_and_styles_and_loads_nothing_that_blocks(tmp_path):
    nb = lesson("draw()")
    nb.cells[2].outputs = [new_output("display_data", data={"image/png": PIXEL, "text/plain": "<Figure>"})]
    (tmp_path / "dot.png").write_bytes(base64.b64decode(PIXEL))
    nb.cells[0].source = "# Title\n\n![dot](dot.png) and $x^2$ 红"
    page = e.to_html(save(nb, tmp_path / "run.ipynb"), tmp_path / "html" / "run.html")
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "html" / "run.html"
    assert text.count(f"data:image/png;base64,{PIXEL}") == 2
    assert "draw" in text and "红" in text and "<style" in text and "<title>run</title>" in text
    assert not re.findall(r'<link[^>]+href="?http|<img[^>]+src="?http', text)
    assert re.findall(r'<script[^>]+src="(?:https?:)?//([^/"]+)[^"]*"', text) == ["cdnjs.cloudflare.com"]  # MathJax
    assert "require.min.js" not in text


def test_html_of_a_notebook_with_widgets_still_loads_what_they_need(tmp_path):
    nb = lesson("slider")
    state = {"state": {}, "version_major": 2, "version_minor": 0}
    nb.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    assert "require.min.js" in e.to_html(nb, tmp_path / "run.html").read_text(encoding="utf-8")


def test_terminal_escapes_are_removed():
    coloured = "\x1b[0;31mKeyError\x1b[0m: \x1b[1;38;5;9m'a'\x1b[K \x1b]8;;http://x\x07link\x1b]8;;\x1b\\"
    assert e.strip_ansi(coloured) == "KeyError: 'a' link"


def test_a_lone_surrogate_in_an_output_does_not_lose_the_notebook(tmp_path):
    nb = lesson("odd")
    nb.cells[2].outputs = [new_output("stream", text="a\ud800b")]
    e._write_whole(tmp_path / "run.ipynb", nb)
    assert printed(nbformat.read(tmp_path / "run.ipynb", as_version=4), "c1") == "a?b"
    assert [path.name for path in tmp_path.iterdir()] == ["run.ipynb"]


def test_a_failing_rename_leaves_the_older_file_and_no_litter(tmp_path, monkeypatch):
    out = tmp_path / "run.ipynb"
    out.write_text("older")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        e._write_whole(out, lesson("x = 1"))
    assert out.read_text() == "older" and [path.name for path in tmp_path.iterdir()] == ["run.ipynb"]


def test_a_notebook_in_memory_without_ids_is_not_changed_by_reading_it():
    nb = lesson("x = 1")
    nb.nbformat_minor = 4
    for found in nb.cells:
        del found["id"]
    before = json.dumps(nb)
    assert e.cell_times(nb) == []
    assert json.dumps(nb) == before
