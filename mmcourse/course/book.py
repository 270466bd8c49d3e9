"""`mmcourse book`: lessons executed once, pages put together, models exported, and all of it rendered by jupyter-book.

Nothing is fetched: the runtime of the live pages and MathJax lie in ``book/vendor``. A lesson is executed again when
its own text changes, or a module, a table or a trained model that it uses; everything else comes from
``book/_build/executed``. The rendered book is ``book/_build/html``. Torch is imported only where a lesson or an
export has to run.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcourse.course import measured
from mmcourse.course.live import files_under, model_files, to_json, write_shipped
from mmcourse.runtime import ROOT, write_whole

if TYPE_CHECKING:
    from nbformat import NotebookNode

Say = Callable[[str], None]

PAGES = ("index", "how_to_use", "teachers", "glossary", "questions", "references")
LIVE = ("text_to_image", "inpainting", "sound_to_picture", "time_machine")
PACKAGES = ("torch", "torchvision", "numpy", "matplotlib", "scikit-learn")  # a new version may change a figure
ASSETS = "extra/assets"  # copied beside the pages as they are; jupyter-book would load each script of _static
RUN_SHOWN = "time_machine_cpu"
RUN = "from jupyter_book.cli.main import main; main()"
REPOSITORY = "MMCOURSE_REPOSITORY"
ADDRESS = re.compile(r"https://[\w.-]+/[\w.-]+/[\w.-]+")


class BookError(ValueError):
    """A book that cannot be made. The message says what was expected, what came and what to do."""


def make_book(root: Path, *, repository: str | None = None, profile: str = "quick", say: Say = print) -> Path:
    """Render the book of the repository at ``root``; returns the folder of the pages, ``book/_build/html``.

    ``repository`` is the address of the published repository, for the launch buttons; by default that of
    ``MMCOURSE_REPOSITORY``, and without one there are no buttons. Raises ``BookError`` where jupyter-book is missing,
    where a figure has no alternative text, and for every warning of the rendering; ``LessonError`` where a lesson
    fails. Then pages that were rendered before are left as they were.
    """
    if importlib.util.find_spec("jupyter_book") is None:
        raise BookError("the book needs jupyter-book 1, which is not installed. Run: pip install 'mmcourse[book]'")
    address = check_repository(repository if repository is not None else os.environ.get(REPOSITORY, ""))
    built = root / "book" / "_build"
    executed = execute_lessons(root, built / "executed", profile=profile, say=say)
    sources = closure(root, ["mmcourse.course.live", "mmcourse.export"])
    write_shipped(root, built / "models", sources=sources, say=say)
    stage = assemble(root, built / "stage", executed=executed, models=built / "models", repository=address)
    return render(stage, built, say=say)


def check_repository(address: str) -> str:
    """The address without a slash at its end; "" for none. Raises ``BookError`` for what is no address."""
    found = address.strip().removesuffix("/").removesuffix(".git")
    if found and not ADDRESS.fullmatch(found):
        raise BookError(
            f"{REPOSITORY}: expected a repository's address such as https://github.com/OWNER/NAME, got {address!r}."
        )
    return found


# ---- lessons, executed once


def execute_lessons(root: Path, cache: Path, *, profile: str = "quick", say: Say = print) -> dict[str, Path]:
    """Every lesson's executed notebook by its name, from ``cache`` where nothing that it shows has changed.

    Raises ``BookError`` where there are no lessons, and as ``execute_once`` does.
    """
    lessons = sorted((root / "notebooks").glob("*.ipynb"))
    if not lessons:
        raise BookError(f"expected lessons in {root / 'notebooks'}, found none. Run: mmcourse build")
    return {lesson.stem: execute_once(root, lesson, cache, profile=profile, say=say) for lesson in lessons}


def execute_once(root: Path, lesson: Path, cache: Path, *, profile: str = "quick", say: Say = print) -> Path:
    """One lesson's executed notebook: ``cache/NAME.KEY.ipynb``, made where it is not there; older ones are removed.

    Raises ``LessonError`` where it does not run to its end.
    """
    from mmcourse.course.execute import execute_lesson

    name = lesson.stem
    path = cache / f"{name}.{lesson_key(root, lesson, profile)}.ipynb"
    if not path.is_file():
        say(f"executing {name} ({profile})")
        execute_lesson(lesson, path, profile=profile, progress=False)
        for old in cache.glob(f"{name}.*.ipynb"):
            if old != path:
                old.unlink()
    return path


def lesson_key(root: Path, notebook: Path, profile: str) -> str:
    """A digest of all that can change what a lesson shows: its cells, the modules that it imports and those that they
    import, the tables and models that these name, the versions of the packages that draw, and whether real data is
    there."""
    nb = json.loads(notebook.read_bytes())
    text = "\n".join("".join(cell["source"]) for cell in nb["cells"])
    code = "\n".join("".join(cell["source"]) for cell in nb["cells"] if cell["cell_type"] == "code")
    modules = closure(root, _imported(re.sub(r"^[ \t]*[%!].*$", "", code, flags=re.MULTILINE)))
    said = text + "".join(path.read_text(encoding="utf-8") for path in modules)
    tables = [p for p in sorted((root / "results").glob("*.json")) if p.stem in said]
    cards = [p for p in sorted((root / "checkpoints").glob("*.json")) if re.search(rf"\b{p.stem}\b", said)]
    parts = [text, profile, platform.python_version(), str("MMCOURSE_DATA" in os.environ)]
    parts += [f"{package} {metadata.version(package)}" for package in PACKAGES]
    digest = hashlib.sha256("\n".join(parts).encode())
    for path in [*modules, *tables, *cards]:  # a card holds the digest of its weights
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def closure(root: Path, names: Iterable[str]) -> list[Path]:
    """The files of these modules of mmcourse and of all that they import, in order."""
    files: dict[Path, None] = {}
    wanted = sorted(names)
    while wanted:
        path = root.joinpath(*wanted.pop().split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file() and file not in files:
                files[file] = None
                wanted += sorted(_imported(file.read_text(encoding="utf-8")))
    return sorted(files)


def _imported(code: str) -> set[str]:
    """The names of mmcourse's modules that a piece of Python imports, also inside functions."""
    out: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            out |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in out if name.split(".")[0] == "mmcourse"}


# ---- pages, put together


def assemble(root: Path, stage: Path, *, executed: Mapping[str, Path], models: Path, repository: str = "") -> Path:
    """Write everything that jupyter-book reads into ``stage``. A file whose bytes are the same is not touched, so that
    only changed pages are rendered again; a file that no longer belongs there is removed. Returns ``stage``."""
    files: dict[str, bytes] = {}
    book = root / "book"
    for name in PAGES:
        files[f"{name}.md"] = (book / f"{name}.md").read_bytes()
    for name in LIVE:
        files[f"live/{name}.md"] = (book / "live" / f"{name}.md").read_bytes()
    alts: dict[str, str] = {}
    for name, path in executed.items():
        page, told = lesson_page(path, read_alts(book / "alt" / f"{name}.yml"), name)
        alts |= told
        files[f"notebooks/{name}.ipynb"] = page
        files[f"download/{name}.ipynb"] = (root / "notebooks" / f"{name}.ipynb").read_bytes()
    assignments = sorted(p.stem for p in (root / "exercises").glob("*.ipynb"))
    for name in assignments:
        files |= exercise_pages(root, name)
    files["exercises.md"] = exercises_page(root, assignments).encode()
    files["solutions.md"] = SOLUTIONS.encode()
    files["results.md"] = results_page(root).encode()
    files["_alts.json"] = to_json(alts)
    places = (("_static", "_static"), ("_ext", "_ext"), ("vendor", f"{ASSETS}/vendor"), ("live/src", f"{ASSETS}/live"))
    for folder, under in (*places, ("runs", f"{ASSETS}/runs")):
        files |= {
            f"{under}/{p.relative_to(book / folder).as_posix()}": p.read_bytes() for p in files_under(book / folder)
        }
    widgets = ("painter.js", "listener.js", "panel.css", "painter.css", "listener.css")
    files |= {f"{ASSETS}/live/{name}": (root / "mmcourse" / "static" / name).read_bytes() for name in widgets}
    files |= {f"{ASSETS}/models/{name}": data for name, data in model_files(models, book / "models").items()}
    files[f"{ASSETS}/runs/{RUN_SHOWN}.json"] = (root / "results" / f"{RUN_SHOWN}.json").read_bytes()
    files["_toc.yml"] = to_json(contents([*executed], assignments))
    files["_config.yml"] = to_json(configuration(book / "_config.yml", repository))
    _mirror(files, stage)
    return stage


def _mirror(files: Mapping[str, bytes], stage: Path) -> None:
    """Make ``stage`` hold these files alone. Where a page went, or something changed that is no page, what jupyter-book
    made in its last run is thrown away: it would render changed pages alone, and keep the others."""
    gone = [p for p in files_under(stage) if p.relative_to(stage).as_posix() not in files]
    changed = [name for name, data in files.items() if not _holds(stage / name, data)]
    if gone or any(not name.endswith((".md", ".ipynb")) for name in changed):
        shutil.rmtree(stage.parent / "work", ignore_errors=True)
    for name in changed:
        write_whole(stage / name, files[name])
    for path in gone:
        path.unlink()


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def contents(lessons: list[str], assignments: list[str]) -> dict[str, Any]:
    """The table of contents as jupyter-book reads it. Lessons that are not written are not in it."""

    def part(caption: str, *pages: str | dict[str, Any]) -> dict[str, Any]:
        return {"caption": caption, "chapters": [p if isinstance(p, dict) else {"file": p} for p in pages]}

    def below(page: str, folder: str) -> dict[str, Any]:
        return {"file": page, "sections": [{"file": f"{folder}/{name}"} for name in assignments]}

    return {
        "format": "jb-book",
        "root": "index",
        "parts": [
            part("Start", "how_to_use"),
            part("Pages that answer", *(f"live/{name}" for name in LIVE)),
            part("Lessons", *(f"notebooks/{name}" for name in lessons)),
            part("Exercises", below("exercises", "exercises"), below("solutions", "exercises/solutions")),
            part("Look up", "questions", "glossary", "results", "references", "teachers"),
        ],
    }


def configuration(path: Path, repository: str) -> dict[str, Any]:
    """The book's own configuration, with the launch buttons where there is a repository to launch from."""
    import yaml

    config = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    if repository:
        config["repository"] = {"url": repository, "branch": "main", "path_to_book": ""}
        config["launch_buttons"] = {
            "notebook_interface": "jupyterlab",
            "colab_url": "https://colab.research.google.com",
            "binderhub_url": "https://mybinder.org",
            "jupyterhub_url": os.environ.get("MMCOURSE_JUPYTERHUB", "").strip(),
        }
        config["launch_buttons"] = {key: value for key, value in config["launch_buttons"].items() if value}
        config["html"] = {**config.get("html", {}), "use_repository_button": True, "use_issues_button": True}
    return config


# ---- a lesson's page


def read_alts(path: Path) -> dict[str, list[str]]:
    """The alternative texts of a lesson's figures: a cell's id to its texts, in the order of its pictures."""
    import yaml

    if not path.is_file():
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise BookError(f"{path.name}: expected YAML, a cell's id to a text or a list of texts: {error}") from error
    return {str(key): [text] if isinstance(text, str) else list(text) for key, text in found.items()}


def lesson_page(executed: Path, alts: Mapping[str, list[str]], name: str) -> tuple[bytes, dict[str, str]]:
    """An executed lesson as the book shows it, and the alternative texts of its pictures by the pictures' SHA-256.

    What papermill and widgets left in it is taken out: the injected parameters, times, paths and states.
    Raises ``BookError`` that lists the figures without a text and the texts without a figure.
    """
    import nbformat

    nb = nbformat.read(executed, as_version=4)
    profile = nb.metadata.get("papermill", {}).get("parameters", {}).get("PROFILE", "quick")
    nb.metadata = nbformat.from_dict({k: v for k, v in nb.metadata.items() if k in ("kernelspec", "language_info")})
    nb.cells = [c for c in nb.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    told: dict[str, str] = {}
    missing, left = [], dict(alts)
    for cell in nb.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in ("tags", "mystnb")})
        if cell.cell_type != "code":
            continue
        cell.outputs = [_without_paths(o) for o in cell.outputs if _is_shown(o)]
        pictures = [_digest(o) for o in cell.outputs if "image/png" in o.get("data", {})]
        texts = left.pop(cell.id, [])
        if texts and not pictures:
            continue  # a figure of data that is not there
        if len(texts) != len(pictures):
            missing.append(f"cell {cell.id} shows {len(pictures)} pictures and has {len(texts)} texts")
        told |= dict(zip(pictures, (" ".join(t.split()) for t in texts), strict=False))
    missing += [f"cell {key} has a text and is not there" for key in left]
    if missing:
        raise BookError(
            f"{name}: every figure needs an alternative text in book/alt/{name}.yml, by its cell's id. "
            + "; ".join(missing)
            + f". The pictures are in {executed}."
        )
    nb.cells.insert(1, nbformat.v4.new_markdown_cell(_note(name, profile), id="how-it-was-run"))
    return (nbformat.writes(nb).rstrip("\n") + "\n").encode(), told


def _is_shown(output: NotebookNode) -> bool:
    """Not a widget's state, which would need scripts from elsewhere, and nothing that was said on stderr."""
    if output.output_type == "stream":
        return bool(output.name == "stdout")
    return not any(kind.startswith("application/vnd.jupyter.widget") for kind in output.get("data", {}))


def _without_paths(output: NotebookNode) -> NotebookNode:
    """The output without the names of this machine's folders."""
    import nbformat

    text = json.dumps(output)
    for path, short in ((ROOT, "."), (Path.home(), "~")):
        text = text.replace(json.dumps(str(path))[1:-1], short)
    return nbformat.from_dict(json.loads(text))


def _digest(output: NotebookNode) -> str:
    import base64

    return hashlib.sha256(base64.b64decode("".join(output.data["image/png"]))).hexdigest()


def _note(name: str, profile: str) -> str:
    return (
        f":::{{note}}\nWhat you see below was run in the profile `{profile}`, which trains for seconds. "
        f"{{download}}`Download the notebook <../download/{name}.ipynb>` to run it in the profile `cpu` or `gpu`; "
        "[how to use it](../how_to_use.md) says how.\n:::"
    )


# ---- exercises and solutions


def exercise_pages(root: Path, name: str) -> dict[str, bytes]:
    """The pages of one assignment: what a student gets, with its files to download, and the solution on its own."""
    import nbformat

    folder, files_at = root / "exercises", f"download/exercises/{name}"
    student = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    solved = nbformat.read(folder / "solutions" / f"{name}.ipynb", as_version=4)
    files = {
        f"{files_at}.ipynb": (folder / f"{name}.ipynb").read_bytes(),
        f"{files_at}.checks.json": (folder / f"{name}.checks.json").read_bytes(),
    }
    for nb in (student, solved):
        nb.metadata = nbformat.from_dict({"kernelspec": nb.metadata.get("kernelspec", {})})
        for cell in nb.cells:
            cell.metadata = nbformat.from_dict({})
    links = (
        f":::{{note}}\nTake both files into one folder: {{download}}`the notebook <../{files_at}.ipynb>` and "
        f"{{download}}`its checks <../{files_at}.checks.json>`. The checks say whether an answer is right. "
        f"The [solution](solutions/{name}.ipynb) is on a page of its own.\n:::"
    )
    student.cells.insert(1, nbformat.v4.new_markdown_cell(links, id="files"))
    first = solved.cells[0]
    title = first.source.splitlines()[0].removeprefix("# ").removeprefix("Exercises ")
    told = "One right answer to each item. The checks compare what it gives, not how it is written."
    first.source = f"# Solution {title}\n\n{told}"
    solved.metadata["nosearch"] = True
    solved.cells.append(nbformat.v4.new_markdown_cell(caught(root, name), id="caught"))
    for key, nb in ((f"exercises/{name}.ipynb", student), (f"exercises/solutions/{name}.ipynb", solved)):
        files[key] = (nbformat.writes(nb).rstrip("\n") + "\n").encode()
    return files


def caught(root: Path, name: str) -> str:
    """What an assignment's checks catch: each known wrong answer's sentence, by item."""
    frozen = json.loads((root / "exercises" / f"{name}.checks.json").read_text(encoding="utf-8"))
    lines = ["## What the checks catch", "", "An answer that equals one of these wrong ones is told so:", ""]
    for item in frozen["items"]:
        sentences = dict.fromkeys(m["sentence"] for m in item["misconceptions"])
        lines += [f"**{item['title']}** ({item['points']} points)", "", *(f"- {s}" for s in sentences), ""]
    return "\n".join(lines)


def exercises_page(root: Path, assignments: list[str]) -> str:
    """The list of all assignments, with what each is about, its points and its files."""
    lines = [
        "# Exercises",
        "",
        "Each lesson from 01 on has one assignment: functions to write, each with a check that you can call as often "
        "as you like. A check says whether your answer is right. Where it is one of the known wrong answers, it says "
        "what to think about.",
        "",
        "Take the notebook and its checks into one folder. The checks need the library, and no network.",
        "",
        "| assignment | items | points | notebook | checks |",
        "|---|---|---|---|---|",
    ]
    for name in assignments:
        frozen = json.loads((root / "exercises" / f"{name}.checks.json").read_text(encoding="utf-8"))
        points = sum(item["points"] for item in frozen["items"])
        files = "download/exercises"
        lines.append(
            f"| [{name.replace('_', ' ')}](exercises/{name}.ipynb) | {len(frozen['items'])} | {points:g} | "
            f"{{download}}`{name}.ipynb <{files}/{name}.ipynb>` | "
            f"{{download}}`{name}.checks.json <{files}/{name}.checks.json>` |"
        )
    return "\n".join([*lines, "", "The solutions are on [pages of their own](solutions.md).", ""])


SOLUTIONS = """---
nosearch: true
---

# Solutions

One page for each assignment: an answer to every item, and what the checks catch. Other answers are right as well; the
checks compare what a function gives, not how it is written.

Write your own first, and read here when the check says that it is right, or when you have been stuck for half an hour.
The search of this book does not look into these pages.
"""


# ---- results


def results_page(root: Path) -> str:
    """Tables of what was measured, read from results/, from the cards of the shipped models and nowhere else."""
    figures = _script(root, "readme_figures")
    tables = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted((root / "results").glob("*.json"))}
    cards = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted((root / "checkpoints").glob("*.json"))}
    out = [
        "# Results",
        "",
        "Every figure here is read from a file under `results/`, which a committed command wrote, or from the card of "
        "a shipped model.",
        "",
        "## What was measured",
        "",
        figures.block().split("\n", 2)[2].rsplit("\n", 2)[0],
        "",
        "## Minutes that a lesson takes",
        "",
        "From opening to the last cell, on a machine with two cores that did other work as well. `gpu`: not yet "
        "measured.",
        "",
        "| lesson | `quick` | `cpu` |",
        "|---|---|---|",
    ]
    for name, rows in sorted(tables["lessons"]["lessons"].items()):
        times = [f"{rows[p]['minutes']:.1f}" if p in rows else "not yet measured" for p in ("quick", "cpu")]
        out.append(f"| [{name.replace('_', ' ')}](notebooks/{name}.ipynb) | {times[0]} | {times[1]} |")
    out += ["", *measured.page(tables)]
    out += ["", "## Shipped models", "", "| model | MB | made by |", "|---|---|---|"]
    for name, card in cards.items():
        size = (root / "checkpoints" / f"{name}.safetensors").stat().st_size / 1e6
        out.append(f"| {name} | {size:.1f} | `{card.get('command', '')}` |")
    out += ["", "## Files", "", "| file | machine | torch |", "|---|---|---|"]
    for name, table in tables.items():
        machine = table.get("machine", {})
        cores = f", {machine['cores']} cores" if "cores" in machine else ""
        out.append(f"| `results/{name}.json` | {machine.get('cpu', '')}{cores} | {machine.get('torch', '')} |")
    return "\n".join([*out, ""])


def _script(root: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"mmcourse_script_{name}", root / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- rendering


def render(stage: Path, built: Path, *, say: Say = print) -> Path:
    """Run jupyter-book on ``stage``, warnings as errors, in ``built/work``; then put the pages into ``built/html`` and
    return that folder. Raises ``BookError`` with the warnings where there is one; then ``html`` is left as it was."""
    say("rendering")
    command = [sys.executable, "-c", RUN, "build", str(stage), "--path-output", str(built / "work")]
    ran = subprocess.run([*command, "-W", "-n", "--keep-going", "-q"], capture_output=True, text=True)
    if ran.returncode:
        lines = [line for line in (ran.stdout + ran.stderr).splitlines() if re.search("WARNING|ERROR|rror:", line)]
        raise BookError(
            "the book was not rendered:\n" + "\n".join(lines[:30] or (ran.stdout + ran.stderr).splitlines()[-20:])
        )
    pages, fresh, html = built / "work" / "_build" / "html", built / "html.new", built / "html"
    shutil.rmtree(fresh, ignore_errors=True)
    templates = shutil.ignore_patterns("*macros.html", ".buildinfo", "objects.inv")
    shutil.copytree(pages, fresh, ignore=templates)
    shutil.rmtree(html, ignore_errors=True)
    fresh.rename(html)
    return html
