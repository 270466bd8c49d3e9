"""Submissions: find them in a folder, read them safely, take out the source of the answers.

Everything here treats a submission as bytes that somebody hostile may have written. Nothing of it is executed,
unpacked or followed.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

MAX_BYTES = 20_000_000
MAX_DEPTH = 100  # brackets within brackets; a notebook needs about ten
MAX_BRACKETS = 400_000  # lists and objects in a file; a long notebook has some thousands
MAX_SOURCE = 200_000  # characters of one answer
MAX_NAME = 80
GRADESCOPE = "submission_metadata.yml"  # beside the submissions of an export; no student's
FOLDER_DEPTH = 3  # student/assignment/notebook, and one to spare
MAX_FILES = 1_000  # looked at in one student's folder

HOSTILE_TAGS = ("skip-execution", "injected-parameters")
_STUB_ERROR = "NotImplementedError"
_ODD = {
    "input_transformer": r"input_transformers?_(?:cleanup|post)|input_splitter",
    "ast_transformer": r"ast_transformers",
    "the kernel itself": r"\.kernel\b|kernelapp|\bsession\.send\b|iopub|showtraceback|set_custom_exc",
    "builtins": r"\bbuiltins\b|__builtins__",
    "pickle": r"\bpickle\b|__reduce(?:_ex)?__|\bmarshal\b",
    "frames": r"_getframe|currentframe|f_back|f_locals|gc\.get_(?:objects|referrers)|inspect\.stack",
    "processes": r"\bos\.(?:fork|kill|_exit|exec\w*|system)\b|\bsubprocess\b|\bptrace\b",
    "the grader": r"mmcourse\.course|run_probe|application/vnd\.mmcourse",
}


class Unreadable(ValueError):
    """A submission that cannot be read. The message is the reason, as a teacher and a learner may see it."""


class Asked(Protocol):
    """What this module needs of an item: its id, the name that the answer defines, its points."""

    @property
    def id(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def points(self) -> int: ...


@dataclass(frozen=True)
class Entry:
    """One student's submission in the folder, found but not opened.

    student:  a name that is safe as a file name, unique in the class.
    shown:    the name as it was given, printable; show it escaped.
    file:     the file's path below the submissions folder, printable.
    path:     what to read, or None where ``problem`` says why there is nothing to read.
    """

    student: str
    shown: str
    file: str
    path: Path | None
    problem: str = ""


@dataclass(frozen=True)
class Submission:
    """The source of the answers, and what a person should look at.

    answers:  item id -> source of its answer cell; items without a cell are absent.
    missing:  ids of items for which there is no answer cell.
    flags:    sentences for a person; never a reason to take points away.
    sha256:   of the file's bytes.
    """

    answers: dict[str, str]
    missing: tuple[str, ...]
    flags: tuple[str, ...]
    sha256: str

    @property
    def answers_digest(self) -> str:
        """sha256 over the answers alone: the same answers get the same secret questions."""
        text = json.dumps(sorted(self.answers.items()))
        return hashlib.sha256(text.encode()).hexdigest()


# ---- finding


def find(folder: Path, assignment: str, *, leave_out: Path | None = None) -> list[Entry]:
    """Every submission of a folder: one per visible file, one per folder (a student's), sorted by name.

    Gradescope's own ``submission_metadata.yml`` is left out.
    A folder with several notebooks counts where exactly one of them has the assignment's name. Links, archives, pipes
    and devices are listed with their problem and never opened. ``leave_out`` is a folder that is not a student's.
    Raises ``ValueError`` where ``folder`` is not a folder.
    """
    if not folder.is_dir():
        raise ValueError(f"submissions: expected a folder with a file or a folder per student, got {str(folder)!r}.")
    root = folder.resolve()
    skip = leave_out.resolve() if leave_out is not None else None
    found: list[tuple[str, Path | None, str]] = []
    for entry in sorted(os.scandir(root), key=lambda e: os.fsencode(e.name)):
        path = Path(entry.path)
        if entry.name.startswith(".") or entry.name in ("__MACOSX", GRADESCOPE) or path == skip:
            continue
        if entry.is_symlink():
            found.append((entry.name, None, "it is a link, and links are not followed; hand in the file itself"))
        elif entry.is_dir(follow_symlinks=False):
            found.append((entry.name, *_in_folder(path, assignment)))
        else:
            found.append((entry.name, *_judge(path)))
    names: dict[str, int] = {}
    entries = []
    for name, chosen, problem in found:
        stem = name[: -len(".ipynb")] if name.lower().endswith(".ipynb") else name
        file = chosen.relative_to(root).as_posix() if chosen is not None else name
        student = _unused(safe_name(stem), names)
        entries.append(Entry(student, printable(stem), printable(file), chosen, problem))
    return entries


def _judge(path: Path) -> tuple[Path | None, str]:
    """Whether a path is a notebook's file, without opening it: (path, "") or (None, why not)."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return None, "it is a link, and links are not followed; hand in the file itself"
    if not stat.S_ISREG(mode):
        return None, "it is not a plain file (a pipe, a device or a socket)"
    suffix = path.suffix.lower()
    if suffix in (".zip", ".gz", ".tgz", ".tar", ".7z", ".rar", ".bz2", ".xz", ".zst"):
        return None, f"it is an archive ({suffix}), which is not unpacked; hand in the notebook itself (.ipynb)"
    if suffix != ".ipynb":
        return None, f"expected a notebook (.ipynb), got a file that ends with {printable(suffix) or 'nothing'!r}"
    return path, ""


def _in_folder(folder: Path, assignment: str) -> tuple[Path | None, str]:
    """The one notebook of a student's folder, or why there is none."""
    files, seen = [], 0
    for place, folders, names in os.walk(folder, followlinks=False):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX" and depth < FOLDER_DEPTH)
        files += [Path(place) / name for name in sorted(names) if not name.startswith(".")]
        seen += len(names)
        if seen > MAX_FILES:
            return None, f"the folder holds more than {MAX_FILES} files"
    notebooks = [p for p in files if p.suffix.lower() == ".ipynb"]
    named = [p for p in notebooks if p.stem == assignment]
    if len(notebooks) == 1:
        return _judge(notebooks[0])
    if len(named) == 1:
        return _judge(named[0])
    if notebooks:
        which = ", ".join(printable(p.name) for p in notebooks[:4])
        return None, f"the folder holds {len(notebooks)} notebooks ({which}); keep one, or name one {assignment}.ipynb"
    if len(files) == 1:
        return _judge(files[0])
    return None, "the folder holds no notebook (.ipynb)"


def safe_name(text: str) -> str:
    """A name that is safe as a file name on any system: letters, digits, ``.``, ``-`` and ``_``; never empty."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())
    text = "".join(c if c.isalnum() or c in "._-" else "_" for c in text)
    return text.strip("._")[:MAX_NAME].strip("._") or "unnamed"


def _unused(name: str, names: dict[str, int]) -> str:
    """The name, with a number behind it where a file system that ignores case would mix it with another."""
    candidate, number = name, 1
    while candidate.casefold() in names:
        number += 1
        candidate = f"{name}-{number}"
    names[candidate.casefold()] = 1
    return candidate


def printable(text: str, limit: int = 200) -> str:
    """The text without control characters, lone surrogates and signs that turn the writing direction; bounded."""
    text = text[: 4 * limit].encode("utf-8", "replace").decode()
    text = "".join("�" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


# ---- reading


def read_bytes(path: Path) -> bytes:
    """The bytes of a plain file of at most ``MAX_BYTES``. A link, a pipe or a device is never waited for."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise Unreadable(f"the file could not be opened ({error.strerror})") from None
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable("it is not a plain file (a pipe, a device or a socket)")
        if about.st_size > MAX_BYTES:
            raise Unreadable(f"the file has {about.st_size:,} bytes; at most {MAX_BYTES:,} are read. Clear the outputs")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Unreadable(f"the file has more than {MAX_BYTES:,} bytes. Clear the outputs")
    return data


def decode(data: bytes) -> str:
    """Bytes to text: UTF-8 with or without a mark, UTF-16 and UTF-32 with one, UTF-16 without one."""
    if data.startswith((b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!")):
        raise Unreadable("it is an archive, which is not unpacked; hand in the notebook itself")
    marks = [
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ]
    encoding = next((name for mark, name in marks if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and data[1:2] == b"\x00":
        encoding = "utf-16-le"
    elif encoding == "utf-8" and data[:1] == b"\x00":
        encoding = "utf-16-be"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(f"the file is not text in {encoding.upper()} (byte {error.start}). Save it again") from None


# a whole string, or one that never ends, or a bracket: each start is looked at once, so the time is linear
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def check_nesting(text: str, depth: int = MAX_DEPTH, brackets: int = MAX_BRACKETS) -> None:
    """Raise ``Unreadable`` where JSON text is nested too deep or holds too many parts, before anything parses it."""
    level = count = 0
    for match in _TOKEN.finditer(text):
        sign = match[0]
        if sign in "[{":
            level, count = level + 1, count + 1
            if level > depth:
                raise Unreadable(f"its JSON is nested deeper than {depth} levels")
            if count > brackets:
                raise Unreadable(f"its JSON has more than {brackets:,} parts")
        elif sign in "]}":
            level -= 1


def parse(data: bytes) -> list[dict[str, Any]]:
    """The cells of a notebook file as nbformat 4 dicts: ``cell_type``, ``source`` (str), ``metadata`` (dict), ``id``.

    Reads nbformat 3 and every minor version of 4. Cells that are not cells are dropped; outputs are dropped. Raises
    ``Unreadable`` with the reason otherwise.
    """
    if not data.strip():
        raise Unreadable("the file is empty")
    text = decode(data)
    if "\x00" in text:
        raise Unreadable("the file holds NUL characters; it is damaged")
    if re.search(r"^(?:<{7}|>{7}) ", text, re.MULTILINE):
        raise Unreadable("the file holds the marks of an unfinished merge (<<<<<<<)")
    check_nesting(text)
    try:
        book = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the file is cut off or damaged (not valid JSON: {printable(str(error), 120)})") from None
    if not isinstance(book, dict):
        raise Unreadable("the file is JSON, but not a notebook")
    version = book.get("nbformat")
    if type(version) is not int:
        raise Unreadable("the file does not say which notebook format it has (no nbformat)")
    if version == 3:
        book = _upgrade(book)
    elif version != 4:
        raise Unreadable(f"notebook format {printable(str(version), 20)}: only 3 and 4 are known")
    cells = book.get("cells")
    if not isinstance(cells, list):
        raise Unreadable("the notebook has no list of cells")
    return [cell for cell in map(_cell, cells) if cell is not None]


def _upgrade(book: dict[str, Any]) -> dict[str, Any]:
    """The cells of a notebook of format 3, which keeps them in worksheets and calls a code cell's source ``input``.

    nbformat's own upgrade wants a valid notebook, and this one may be anything.
    """
    sheets = book.get("worksheets")
    lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)] if isinstance(sheets, list) else []
    cells = [cell for cells in lists if isinstance(cells, list) for cell in cells if isinstance(cell, dict)]
    return {"cells": [{**cell, "source": cell.get("source", cell.get("input", ""))} for cell in cells]}


def _cell(cell: Any) -> dict[str, Any] | None:
    if not isinstance(cell, dict) or not isinstance(cell.get("cell_type"), str):
        return None
    source = cell.get("source", "")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        return None
    metadata = cell.get("metadata")
    return {
        "cell_type": cell["cell_type"],
        "source": source,
        "metadata": dict(metadata) if isinstance(metadata, dict) else {},
        "id": cell.get("id") if isinstance(cell.get("id"), str) else "",
    }


def read(path: Path, items: Sequence[Asked]) -> Submission:
    """Read a submission's file; ``extract`` says the rest."""
    return extract(read_bytes(path), items)


def extract(data: bytes, items: Sequence[Asked]) -> Submission:
    """The answers of a notebook's bytes, matched by grade id, then by cell id, then by the line that defines them.

    Raises ``Unreadable`` where the file is no notebook, or where not one answer cell of the assignment is in it.
    """
    cells = parse(data)
    flags: list[str] = _flags_of_cells(cells, items)
    answers: dict[str, str] = {}
    ids = {item.id for item in items}
    for item in items:
        found = _candidates(cells, item, ids)
        if not found:
            continue
        if len(found) > 1:
            flags.append(f"{item.id}: the answer cell is there {len(found)} times; the last one counts")
        source = found[-1]
        elsewhere = _defined_elsewhere(cells, item)
        if elsewhere and _is_stub(source):
            source = elsewhere[-1]
            flags.append(f"{item.id}: the answer cell is untouched; the answer was taken from another cell")
        if len(source) > MAX_SOURCE:
            raise Unreadable(f"the answer to {item.id} has more than {MAX_SOURCE:,} characters")
        if any("\ud800" <= c <= "\udfff" for c in source):
            raise Unreadable(f"the answer to {item.id} holds half a character (a lone surrogate), which is not text")
        answers[item.id] = source
        flags += [f"{item.id}: {word}" for word in _odd_words(source, item.answer)]
    if not answers:
        names = ", ".join(item.id for item in items)
        raise Unreadable(f"no answer cell of this assignment was found ({names}); is it the right notebook?")
    missing = tuple(item.id for item in items if item.id not in answers)
    flags += [f"{name}: the answer cell is missing" for name in missing]
    return Submission(answers, missing, tuple(flags), hashlib.sha256(data).hexdigest())


def _grade_id(cell: dict[str, Any]) -> str:
    ours = cell["metadata"].get("nbgrader")
    name = ours.get("grade_id") if isinstance(ours, dict) else None
    return name if isinstance(name, str) else ""


def _candidates(cells: Iterable[dict[str, Any]], item: Asked, ids: set[str]) -> list[str]:
    """The sources that may be the item's answer, from the surest kind of match that matches at all."""
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    for key in (_grade_id, lambda cell: cell["id"]):
        found = [cell["source"] for cell in code if key(cell) == item.id]
        if found:
            return found
    return [
        cell["source"]
        for cell in code
        if _defines(cell["source"], item.answer) and _grade_id(cell) not in ids and cell["id"] not in ids
    ]


def _defines(source: str, name: str) -> bool:
    return re.search(rf"^(?:async\s+def|def|class)\s+{re.escape(name)}\b", source, re.MULTILINE) is not None


def _defined_elsewhere(cells: Iterable[dict[str, Any]], item: Asked) -> list[str]:
    return [
        cell["source"]
        for cell in cells
        if cell["cell_type"] == "code"
        and item.id not in (_grade_id(cell), cell["id"])
        and _defines(cell["source"], item.answer)
        and not _is_stub(cell["source"])
    ]


def _is_stub(source: str) -> bool:
    return f'raise {_STUB_ERROR}("your answer")' in source


# ---- flags


def _flags_of_cells(cells: Iterable[dict[str, Any]], items: Sequence[Asked]) -> list[str]:
    flags = []
    points = {f"{item.id}-check": item.points for item in items}
    for cell in cells:
        tags = cell["metadata"].get("tags")
        for tag in HOSTILE_TAGS:
            if isinstance(tags, list) and tag in tags:
                flags.append(f"a cell is tagged {tag}; tags are ignored")
        name = _grade_id(cell) or cell["id"]
        if name not in points or cell["cell_type"] != "code":
            continue
        ours = cell["metadata"].get("nbgrader")
        if isinstance(ours, dict) and "points" in ours and ours["points"] != points[name]:
            flags.append(f"{name}: the points were edited; they are ignored")
        if not re.fullmatch(rf"\s*check\(\s*(['\"]){re.escape(name[: -len('-check')])}\1\s*\)\s*;?\s*", cell["source"]):
            flags.append(f"{name}: the check cell was edited; it is not used")
    return sorted(set(flags))


def _odd_words(source: str, answer: str) -> list[str]:
    """What in an answer's text a person should look at. It goes by the text alone: it misses some, and over-reports."""
    found = [f"the answer mentions {what}" for what, pattern in _ODD.items() if re.search(pattern, source)]
    if re.search(r"exercises[./\\]+(?:solutions|checks|source)", source):
        found.append("the answer mentions the solutions' folder")
    if _imports_solution(source, answer):
        found.append(f"the answer imports the library's own {answer}")
    return found


def _imports_solution(source: str, answer: str) -> bool:
    """Told from the text alone: nothing here parses what a student wrote as Python."""
    name = re.escape(answer)
    lists = re.findall(r"from\s+mmcourse[\w.]*\s+import\s+(\([^)]*\)|[^\n;]*)", source)
    return any(re.search(rf"\b{name}\b|\*", names) for names in lists) or bool(
        re.search(rf"\b(?!self\b|cls\b)\w+\s*\.\s*{name}\b", source)
    )
