"""The book as files: rendered from executed lessons, offline, nothing leaked, every link and figure accounted for."""

from __future__ import annotations

import hashlib
import html.parser
import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from conftest import ROOT
from rendered_book import BUILT, EXECUTED, LESSONS, executed, rendered

from mmcourse import checkpoint, export
from mmcourse.course import book, cli, exercise, live, release

pytest.importorskip("jupyter_book", reason="jupyter-book is not installed")
ASSIGNMENTS = sorted(p.stem for p in (ROOT / "exercises").glob("*.ipynb"))
SOURCE = ROOT / "book"


@pytest.fixture(scope="module")
def pages() -> Path:
    return rendered()


def quiet(line: str) -> None:
    pass


# ---- what is there


def test_every_page_is_there_and_no_lesson_that_is_not_written(pages: Path) -> None:
    wanted = {f"{name}.html" for name in (*book.PAGES, "exercises", "solutions", "results", "search")}
    wanted |= {f"live/{name}.html" for name in book.LIVE} | {f"notebooks/{p.stem}.html" for p in LESSONS}
    wanted |= {f"{folder}/{name}.html" for folder in ("exercises", "exercises/solutions") for name in ASSIGNMENTS}
    found = {p.relative_to(pages).as_posix() for p in pages.rglob("*.html") if "_static" not in p.parts}
    assert found == wanted
    shown = (pages / "index.html").read_text(encoding="utf-8")
    written = {p.stem[:2] for p in LESSONS}
    assert not [n for n in range(15) if f"{n:02}" not in written and f"notebooks/{n:02}" in shown]


def test_pages_hold_what_the_lessons_printed_and_drew(pages: Path) -> None:
    for lesson in LESSONS:
        nb = nbformat.read(executed(lesson), as_version=4)
        text = (pages / "notebooks" / f"{lesson.stem}.html").read_text(encoding="utf-8")
        drawn = [o for c in nb.cells if c.cell_type == "code" for o in c.outputs if "image/png" in o.get("data", {})]
        article = text[text.index("<article") : text.index("</article")]
        assert article.count("_images/") >= len({book._digest(o) for o in drawn})
        assert "papermill" not in text and "injected-parameters" not in text
        assert "was run in the profile" in text and f"{lesson.stem}.ipynb" in text


def test_downloads_are_what_a_student_gets(pages: Path) -> None:
    files = {p.name: p for p in (pages / "_downloads").rglob("*") if p.is_file()}
    for lesson in LESSONS:
        assert nbformat.read(lesson, as_version=4).cells[0].cell_type == "markdown"
    for name in ASSIGNMENTS:
        assert files[f"{name}.checks.json"].read_bytes() == (ROOT / "exercises" / f"{name}.checks.json").read_bytes()
    both = Counter(p.name for p in (pages / "_downloads").rglob("*.ipynb"))
    names = {p.stem for p in LESSONS} | set(ASSIGNMENTS)
    assert {f"{n}.ipynb" for n in names} == set(both)
    for name in names:
        kept = {p.read_bytes() for p in (pages / "_downloads").rglob(f"{name}.ipynb")}
        places = [ROOT / folder / f"{name}.ipynb" for folder in ("notebooks", "exercises")]
        assert kept == {p.read_bytes() for p in places if p.is_file()}


# ---- nothing leaks


def secrets() -> dict[str, str]:
    """Every telling line of every solution, squeezed, and where it stands."""
    out: dict[str, str] = {}
    for name in ASSIGNMENTS:
        nb = release._source_notebook(name, ROOT)
        found = release._clear_solutions(nb, exercise.load_assignment(name, ROOT))
        out |= {release._squeezed(line): place for line, place in found.items()}
    return out


def student_files(pages: Path) -> list[Path]:
    """All text that a reader of student pages is served: pages, sources, downloads, the search index."""
    kinds = {".html", ".ipynb", ".md", ".json", ".js", ".txt", ".mjs", ".inv"}
    found = [p for p in pages.rglob("*") if p.is_file() and p.suffix in kinds]
    return [p for p in found if "solutions" not in p.relative_to(pages).parts and "assets/vendor" not in p.as_posix()]


def test_no_solution_in_student_pages_sources_downloads_or_search(pages: Path) -> None:
    wanted = secrets()
    assert len(wanted) > 300
    own = {
        release._squeezed(line)
        for p in LESSONS
        for c in nbformat.read(p, as_version=4).cells
        for line in c.source.splitlines()
    }
    wanted = {line: place for line, place in wanted.items() if not any(line in said for said in own)}
    assert len(wanted) > 200, "most lines of the solutions stand in no lesson either"
    leaks = []
    for path in student_files(pages):
        text = path.read_text(encoding="utf-8", errors="replace")
        plain = release._squeezed(html_text(text) if path.suffix == ".html" else decoded(text))
        leaks += [f"{path.relative_to(pages)}: {line} of {place}" for line, place in wanted.items() if line in plain]
    assert leaks == []


def html_text(text: str) -> str:
    import html

    return html.unescape(re.sub(r"<[^>]+>", "", text))


def decoded(text: str) -> str:
    """JSON's strings as they read."""
    return text.replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")


def test_the_leak_test_sees_a_leak(pages: Path) -> None:
    solved = pages / "exercises" / "solutions" / f"{ASSIGNMENTS[0]}.html"
    plain = release._squeezed(html_text(solved.read_text(encoding="utf-8")))
    assert sum(line in plain for line, place in secrets().items() if ASSIGNMENTS[0] in place) > 5


def test_the_search_does_not_know_the_solutions(pages: Path) -> None:
    index = (pages / "searchindex.js").read_text(encoding="utf-8")
    table = json.loads(index[index.index("(") + 1 : index.rindex(")")])
    hidden = {i for i, name in enumerate(table["docnames"]) if "solutions" in name}
    assert len(hidden) in (0, 1 + len(ASSIGNMENTS))
    for kind in ("terms", "titleterms"):
        for term, where in table[kind].items():
            assert not hidden & set(where if isinstance(where, list) else [where]), (kind, term)


def test_no_secret_seed_no_reference_and_no_path_of_this_machine(pages: Path) -> None:
    for path in student_files(pages):
        text = path.read_text(encoding="utf-8", errors="replace")
        assert str(ROOT) not in text and str(Path.home()) + "/" not in text, path
        if path.suffix == ".json" and path.name.endswith("checks.json"):
            assert "references" not in json.loads(text) and "### BEGIN SOLUTION" not in text
        assert "BEGIN SOLUTION" not in text or path.name.startswith("teachers"), path


# ---- figures


class Tags(html.parser.HTMLParser):
    """All start tags of a page with their attributes, and the ids."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))


def tags(path: Path) -> list[tuple[str, dict[str, str]]]:
    return Tags(path.read_text(encoding="utf-8")).tags


def test_every_figure_of_a_lesson_has_a_text_of_its_own(pages: Path) -> None:
    for lesson in LESSONS:
        images = [
            a for tag, a in tags(pages / "notebooks" / f"{lesson.stem}.html") if tag == "img" and "_images" in a["src"]
        ]
        assert len(images) >= 4
        texts = [a.get("alt", "") for a in images]
        assert len(set(texts)) == len(texts)
        for text in texts:
            assert 60 < len(text) < 900 and "output_" not in text and ".png" not in text and "_images" not in text
            assert not re.match(r"(?i)(an? )?(image|figure|picture) (of|showing)", text)


def test_a_figure_without_a_text_is_named(tmp_path: Path) -> None:
    lesson = LESSONS[1]
    known = book.read_alts(SOURCE / "alt" / f"{lesson.stem}.yml")
    first = next(iter(known))
    with pytest.raises(
        book.BookError, match=rf"{lesson.stem}: every figure.*cell {first} shows 1 pictures and has 0 texts"
    ):
        book.lesson_page(executed(lesson), {k: v for k, v in known.items() if k != first}, lesson.stem)
    with pytest.raises(book.BookError, match="cell feedfeed has a text and is not there"):
        book.lesson_page(executed(lesson), {**known, "feedfeed": ["A curve."]}, lesson.stem)
    bad = tmp_path / "bad.yml"
    bad.write_text("a: [")
    with pytest.raises(book.BookError, match=r"bad\.yml: expected YAML"):
        book.read_alts(bad)
    assert book.read_alts(tmp_path / "none.yml") == {}


# ---- offline


def test_nothing_is_loaded_from_elsewhere(pages: Path) -> None:
    loads = {
        "script": "src",
        "img": "src",
        "iframe": "src",
        "audio": "src",
        "source": "src",
        "video": "src",
        "embed": "src",
    }
    for path in pages.rglob("*.html"):
        for tag, attributes in tags(path):
            url = attributes.get(loads.get(tag, ""), "")
            if tag == "link" and attributes.get("rel") in (
                "stylesheet",
                "preload",
                "icon",
                "shortcut icon",
                "modulepreload",
            ):
                url = attributes["href"]
            assert not urlsplit(url).netloc, (path, tag, url)
    for path in pages.rglob("*.css"):
        urls = re.findall(r"url\(\s*['\"]?([^'\")]+)", path.read_text(encoding="utf-8", errors="replace"))
        assert not [u for u in urls if urlsplit(u).netloc], path


def test_every_link_leads_somewhere(pages: Path) -> None:
    ids = {p: {a["id"] for _, a in tags(p) if "id" in a} for p in pages.rglob("*.html")}
    broken, outside = [], set()
    for path in ids:
        for tag, attributes in tags(path):
            url = (
                attributes.get("href" if tag in ("a", "link") else "src", "")
                if tag in ("a", "link", "img", "script")
                else ""
            )
            parts = urlsplit(url)
            if not url or parts.scheme in ("data", "mailto", "javascript"):
                continue
            if parts.netloc:
                outside.add(url)
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                broken.append(f"{path.relative_to(pages)}: {url}")
            elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in ids[target]:
                broken.append(f"{path.relative_to(pages)}: {url} has no such place")
    assert broken == []
    assert all(u.startswith("https://") for u in outside if "localhost" not in u), sorted(outside)
    assert sum("doi.org/10." in u for u in outside) > 25


def test_what_others_wrote_is_unchanged_and_licensed() -> None:
    told = dict(
        reversed(line.split("  "))
        for line in re.findall(r"^[0-9a-f]{64}  .*$", (SOURCE / "vendor" / "README.md").read_text(), re.MULTILINE)
    )
    files = {p.name: p for p in (SOURCE / "vendor").iterdir() if p.suffix != ".md" and not p.name.startswith("LICENSE")}
    assert set(told) == set(files)
    for name, path in files.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == told[name]
    for name in ("onnxruntime", "mathjax"):
        assert (SOURCE / "vendor" / f"LICENSE-{name}.txt").stat().st_size > 1000


def test_the_font_has_every_chinese_character_of_the_pages(pages: Path) -> None:
    from fontTools.ttLib import TTFont

    known = set(TTFont(SOURCE / "_static" / "mmcourse-book-han.otf").getBestCmap())
    for path in [*pages.rglob("*.html"), *(pages / "assets" / "models").glob("*.json")]:
        used = set(re.findall("[\u3401-\u9fef]", path.read_text(encoding="utf-8")))
        if path.name != "vectors.json":  # strange words, for tests
            assert {c for c in used if ord(c) not in known} == set(), path.name


# ---- live pages

NEEDS = {
    "text_to_image": ("text", "text2image"),
    "inpainting": ("text", "inpainting_text"),
    "sound_to_picture": ("mel", "hearing", "text2image"),
}


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_models_and_runtime_of_a_page_weigh_at_most_15_mb(name: str, pages: Path) -> None:
    code = (SOURCE / "live" / "src" / f"{name}.mjs").read_text(encoding="utf-8")
    assert re.search(r"NEEDED = \[(.*)\]", code)[1].replace('"', "").split(", ") == list(NEEDS[name])  # type: ignore[index]
    assets = pages / "assets"
    files = [assets / "models" / f"{model}.onnx" for model in NEEDS[name]]
    files += [p for p in (assets / "vendor").iterdir() if p.name.startswith("ort")]
    assert len(files) == len(NEEDS[name]) + 2 and sum(p.stat().st_size for p in files) <= 15e6


def test_the_pages_have_the_shipped_models(pages: Path) -> None:
    folder = pages / "assets" / "models"
    about = json.loads((folder / "models.json").read_text())["models"]
    assert set(about) == set(live.MODELS)
    for name, row in about.items():
        data = (folder / f"{name}.onnx").read_bytes()
        assert row == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "own": False}
        told = export.describe(folder / f"{name}.onnx")
        assert float(told["parity"]) <= 1e-3 and told["checkpoint"] == export.MODELS[name].checkpoint
        assert not told["checkpoint"] or told["digest"] == checkpoint.verify(told["checkpoint"])


def test_the_time_machine_shows_the_stored_run(pages: Path) -> None:
    from PIL import Image

    folder = pages / "assets" / "runs"
    run = json.loads((folder / "time_machine_cpu.json").read_text(encoding="utf-8"))
    assert run == json.loads((ROOT / "results" / "time_machine_cpu.json").read_text(encoding="utf-8"))
    size = Image.open(folder / "time_machine_cpu.png").size
    assert size == (32 * len(run["captions"]), 32 * len(run["moments"])) and len(run["moments"]) == 60
    steps = [m["step"] for m in run["moments"]]
    assert steps == sorted(set(steps)) and steps[0] == 0 and steps[-1] == run["steps"]
    assert run["space"] == checkpoint.verify("space") and run["moments"][-1]["seen"] > 0.9


# ---- a learner's own models


@pytest.fixture
def shelf(tmp_path: Path, pages: Path) -> Path:
    """A book's folder with pages rendered in it; its models are the shipped ones."""
    (tmp_path / "book").mkdir()
    shutil.copy(SOURCE / "_config.yml", tmp_path / "book")
    shutil.copytree(pages / "assets" / "models", tmp_path / "book" / "_build" / "html" / "assets" / "models")
    return tmp_path / "book"


def own_generator(folder: Path, space: str) -> Path:
    import torch

    from mmcourse.text2image import Generator

    torch.manual_seed(7)
    checkpoint.save(Generator(width=8, mapping=16), folder / "text2image", card={"space": space})
    return folder


def test_an_own_model_stands_in_the_pages_at_once_and_in_later_books(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = own_generator(tmp_path / "mine", checkpoint.verify("space"))
    assert cli.main(["export", "text2image", "--checkpoints", str(mine), "--into", str(shelf)]) == 0
    assert capsys.readouterr().out.count("wrote ") == 2
    source, shown = shelf / "models" / "text2image.onnx", shelf / "_build" / "html" / "assets" / "models"
    assert source.read_bytes() == (shown / "text2image.onnx").read_bytes()
    assert export.describe(source)["digest"] == checkpoint.verify(mine / "text2image")
    about = json.loads((shown / "models.json").read_text())["models"]
    assert {k for k, v in about.items() if v["own"]} == {"text2image"}
    assert about["text2image"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    later = live.model_files(BUILT / "models", shelf / "models")
    assert later["text2image.onnx"] == source.read_bytes() and json.loads(later["models.json"])["models"] == about
    # rendered pages alone, and all that a folder has
    assert cli.main(["export", "all", "--checkpoints", str(mine), "--into", str(shelf / "_build" / "html")]) == 0
    assert capsys.readouterr().out.count("wrote ") == 1


def test_a_model_of_another_space_is_refused_and_nothing_changes(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = own_generator(tmp_path / "mine", "0" * 64)
    before = {p: p.read_bytes() for p in shelf.rglob("*") if p.is_file()}
    assert cli.main(["export", "text2image", "--checkpoints", str(mine), "--into", str(shelf)]) == 2
    assert re.search(
        "text2image would then belong to another space than text .*Nothing was changed", capsys.readouterr().err
    )
    assert {p: p.read_bytes() for p in shelf.rglob("*") if p.is_file()} == before


def test_wrong_folders_and_names_get_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def says(*words: str) -> str:
        assert cli.main(["export", *words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "expected a folder of the book" in says("text", "--into", str(tmp_path))
    assert "the pages run text, text2image" in says("inpainting", "--into", str(SOURCE))
    assert "--checkpoints: expected a folder" in says(
        "text", "--checkpoints", str(tmp_path / "no"), "--out", str(tmp_path)
    )
    assert "expected checkpoints among space" in says("all", "--checkpoints", str(tmp_path), "--out", str(tmp_path))


# ---- executed once, rendered once


def test_a_second_rendering_executes_nothing_and_takes_less_than_a_minute(pages: Path) -> None:
    said: list[str] = []
    before = {p: p.stat().st_mtime_ns for p in EXECUTED.glob("*.ipynb")}
    began = time.perf_counter()
    assert book.make_book(ROOT, repository="", say=said.append) == pages
    assert time.perf_counter() - began < 60 and said == ["rendering"]
    assert {p: p.stat().st_mtime_ns for p in EXECUTED.glob("*.ipynb")} == before


def test_a_changed_lesson_alone_gets_another_key(tmp_path: Path) -> None:
    copy = tmp_path / "course"
    for folder in ("notebooks", "results", "mmcourse"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "source"))
    (copy / "checkpoints").mkdir()
    for card in (ROOT / "checkpoints").glob("*.json"):
        shutil.copy(card, copy / "checkpoints")

    def keys(profile: str = "quick") -> dict[str, str]:
        return {p.stem: book.lesson_key(copy, p, profile) for p in sorted((copy / "notebooks").glob("*.ipynb"))}

    def changed(before: dict[str, str]) -> list[str]:
        return [name[:2] for name, key in keys().items() if before[name] != key]

    first = keys()
    assert first == {p.stem: book.lesson_key(ROOT, p, "quick") for p in LESSONS}
    assert not set(first.values()) & set(keys("cpu").values())
    lesson = copy / "notebooks" / "05_measuring.ipynb"
    lesson.write_text(lesson.read_text().replace("What would a perfect generator get?", "What would the best one get?"))
    assert changed(first) == ["05"]
    second = keys()
    for path, lessons in {
        "mmcourse/listener.py": ["12"],
        "mmcourse/clinic.py": ["02"],
        "checkpoints/hearing_digits.json": ["12"],
    }.items():
        file = copy / path
        kept = file.read_text(encoding="utf-8")
        file.write_text(kept + "\n", encoding="utf-8")
        assert changed(second) == lessons, path
        file.write_text(kept, encoding="utf-8")
    assert keys() == second
    losses = copy / "mmcourse" / "losses.py"
    losses.write_text(losses.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert set(changed(second)) >= {"03", "04", "09"}


def test_only_what_changed_is_written_again(tmp_path: Path) -> None:
    stage = tmp_path / "b" / "stage"
    book._mirror({"a.md": b"1", "_config.yml": b"x"}, stage)
    trees = tmp_path / "b" / "work"
    trees.mkdir()
    before = (stage / "a.md").stat().st_mtime_ns
    book._mirror({"a.md": b"1", "_config.yml": b"x", "b.md": b"2"}, stage)
    assert (stage / "a.md").stat().st_mtime_ns == before and trees.is_dir()
    book._mirror({"a.md": b"1", "_config.yml": b"x"}, stage)
    assert not trees.is_dir(), "a page that went must not be left behind"
    trees.mkdir()
    book._mirror({"a.md": b"1", "_config.yml": b"y"}, stage)
    assert sorted(p.name for p in stage.iterdir()) == ["_config.yml", "a.md"] and not trees.is_dir()


# ---- launch buttons


def test_launch_buttons_of_a_published_repository(pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCOURSE_JUPYTERHUB", "https://hub.example.org")
    lessons = {p.stem: executed(p) for p in LESSONS}
    stage = tmp_path / "out" / "stage"
    book.assemble(
        ROOT, stage, executed=lessons, models=BUILT / "models", repository="https://github.com/someone/mmcourse"
    )
    out = book.render(stage, tmp_path / "out", say=quiet)
    name = LESSONS[1].stem
    urls = [a.get("href", "") for _, a in tags(out / "notebooks" / f"{name}.html")]
    path = f"notebooks/{name}.ipynb"
    assert f"https://colab.research.google.com/github/someone/mmcourse/blob/main/{path}" in urls
    assert any(u.startswith("https://mybinder.org/v2/gh/someone/mmcourse/main") and path in unquote(u) for u in urls)
    hub = next(u for u in urls if u.startswith("https://hub.example.org"))
    assert path in unquote(hub) and "git-pull" in hub and "someone/mmcourse" in unquote(hub)
    assert (ROOT / path).is_file(), "the button opens a file of the repository"
    assert any(
        "exercises/01" in unquote(a.get("href", "")) and "colab" in a.get("href", "")
        for _, a in tags(out / "exercises" / "01_game_2d.html")
    )
    plain = [a.get("href", "") for _, a in tags(pages / "notebooks" / f"{name}.html")]
    assert not [u for u in plain if "colab" in u or "mybinder" in u]


def test_a_repositorys_address_is_checked() -> None:
    assert book.check_repository("https://github.com/a/b.git") == book.check_repository(" https://github.com/a/b/ ")
    assert book.check_repository("") == ""
    for bad in ("github.com/a/b", "git@github.com:a/b", "https://github.com/a", "http://x/y/z", "https://a/b/c d"):
        with pytest.raises(book.BookError, match="MMCOURSE_REPOSITORY: expected a repository's address"):
            book.check_repository(bad)


def test_binder_installs_the_course() -> None:
    lines = (ROOT / "binder" / "requirements.txt").read_text().splitlines()
    assert "-e ." in lines and "-c ../constraints.txt" in lines
    assert re.fullmatch(r"python-3\.1[1-9]", (ROOT / "binder" / "runtime.txt").read_text().strip())


# ---- what goes wrong


def test_a_warning_is_an_error_and_named(tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    stage.mkdir()
    (stage / "_config.yml").write_text(json.dumps({"title": "x", "execute": {"execute_notebooks": "off"}}))
    (stage / "_toc.yml").write_text(json.dumps({"format": "jb-book", "root": "index"}))
    (stage / "index.md").write_text("# A page\n\n[gone](nowhere.md)\n")
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "index.html").write_text("as it was")
    with pytest.raises(book.BookError, match=r"(?s)was not rendered.*index\.md.*nowhere"):
        book.render(stage, tmp_path, say=quiet)
    assert (tmp_path / "html" / "index.html").read_text() == "as it was"


def test_an_absent_jupyter_book_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["book"]) == 2
    assert "pip install 'mmcourse[book]'" in capsys.readouterr().err


def test_a_folder_without_lessons(tmp_path: Path) -> None:
    with pytest.raises(book.BookError, match="found none. Run: mmcourse build"):
        book.execute_lessons(tmp_path, tmp_path / "cache")


def test_importing_the_module_imports_no_torch() -> None:
    code = "import sys, mmcourse.course.book; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


# ---- results


def test_the_results_page_reads_every_table(pages: Path) -> None:
    text = html_text((pages / "results.html").read_text(encoding="utf-8"))
    for path in (ROOT / "results").glob("*.json"):
        assert f"results/{path.name}" in text
    for card in (ROOT / "checkpoints").glob("*.json"):
        assert card.stem in text
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    row = next(line for line in readme.splitlines() if line.startswith("| text to image, two things"))
    assert row.split("|")[2].strip() in text
    assert "not yet measured" in text


def test_what_each_exercise_catches_is_listed(pages: Path) -> None:
    for name in ASSIGNMENTS:
        frozen = json.loads((ROOT / "exercises" / f"{name}.checks.json").read_text(encoding="utf-8"))
        sentences = [m["sentence"] for item in frozen["items"] for m in item["misconceptions"]]
        source = book.caught(ROOT, name)
        assert len(sentences) >= 6 and all(s in source for s in sentences)
