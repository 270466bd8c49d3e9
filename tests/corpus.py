"""Odd and hostile submissions as real files, each with its expected outcome, for a small assignment made here.

Forty cases, some of several files. ``write_class`` puts them into a folder as a class would hand them in; ``cases()``
says what each must come to. The assignment has three items without torch, so that a class is graded in about a minute.
"""

from __future__ import annotations

import json
import os
import re
import textwrap
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ASSIGNMENT = "tiny"
POINTS = {"mean": 2, "shift": 3, "words": 5}
ALL = dict(POINTS)

_SHORT = '''\
# %% [markdown]
# # Three small functions

# %% nbgrader=PROMPT:setup
import math

from mmcourse.course.exercise import checks

check = checks("tiny")

# %% [markdown] nbgrader=PROMPT:mean-prompt
# **Mean size.** 2 points, for an answer that is right on every seed.

# %% nbgrader=ANSWER:mean
def mean_size(values: list[float]) -> float:
    """The mean of the absolute values of a list that is not empty."""
    ### BEGIN SOLUTION
    return sum(abs(value) for value in values) / len(values)
    ### END SOLUTION

# %% nbgrader=CHECK2:mean-check
check("mean")

# %% [markdown] nbgrader=PROMPT:shift-prompt
# **Shift.** 3 points, for an answer that is right on every seed.

# %% nbgrader=ANSWER:shift
def shift(values: list[int], by: int) -> list[int]:
    """The list turned by ``by`` places to the right: the last ``by`` entries come first."""
    ### BEGIN SOLUTION
    turned = by % len(values)
    return values[len(values) - turned :] + values[: len(values) - turned]
    ### END SOLUTION

# %% nbgrader=CHECK3:shift-check
check("shift")

# %% [markdown] nbgrader=PROMPT:words-prompt
# **Words.** 5 points, for an answer that is right on every seed.

# %% nbgrader=ANSWER:words
def count_words(text: str) -> dict[str, int]:
    """How often each word is in a text; capital and small letters are the same."""
    ### BEGIN SOLUTION
    counts: dict[str, int] = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) + 1
    return counts
    ### END SOLUTION

# %% nbgrader=CHECK5:words-check
check("words")
'''

_KINDS = {
    "PROMPT": {"grade": False, "solution": False, "locked": True},
    "ANSWER": {"grade": False, "solution": True, "locked": False},
    "CHECK": {"grade": True, "solution": False, "locked": True},
}


def _in_full(match: re.Match[str]) -> str:
    """``nbgrader=CHECK2:mean-check`` as nbgrader's metadata."""
    kind, points, name = match.groups()
    meta = {"schema_version": 3, "grade_id": name, "task": False, **_KINDS[kind]}
    return f"nbgrader={json.dumps(meta | ({'points': int(points)} if points else {}))}"


SOURCE = re.sub(r"nbgrader=([A-Z]+)(\d?):([\w-]+)", _in_full, _SHORT)

CHECKS = """\
from collections import Counter
from statistics import fmean

from mmcourse.course.exercise import Item, Misconception


def probe_mean(answer, seed):
    import random

    drawn = random.Random(seed)
    values = [round(drawn.uniform(-9, 9), 2) for _ in range(5)] + [-1.5]
    return {"mean": float(answer(list(values)))}


def probe_shift(answer, seed):
    import random

    drawn = random.Random(seed)
    values = [drawn.randrange(100) for _ in range(7)]
    return {"shifted": answer(list(values), 2), "far": answer(list(values), 7 + drawn.randrange(1, 3))}


def probe_words(answer, seed):
    import random

    drawn = random.Random(seed)
    words = ["The", "the", "cat", "Cat", "on", "mat"] + [f"w{drawn.randrange(10**9)}"]
    drawn.shuffle(words)
    return {"counts": answer(" ".join(words))}


def signed(values):
    return sum(values) / len(values)


def sample(values):
    return sum(abs(value) for value in values) / (len(values) - 1)


def unmoved(values, by):
    return list(values)


def leftward(values, by):
    turned = by % len(values)
    return values[turned:] + values[:turned]


def case_matters(text):
    return dict(Counter(text.split()))


def mean_by_loop(values):
    total = 0.0
    for value in values:
        total += -value if value < 0 else value
    return total / len(values)


def mean_by_map(values):
    return fmean(map(abs, values))


def shift_by_index(values, by):
    return [values[(place - by) % len(values)] for place in range(len(values))]


def shift_by_pops(values, by):
    values = list(values)
    for _ in range(by):
        values.insert(0, values.pop())
    return values


def words_by_counter(text):
    return dict(Counter(text.lower().split()))


def words_by_set(text):
    words = text.lower().split()
    return {word: words.count(word) for word in set(words)}


ITEMS = [
    Item(
        "mean", "Mean size", 2, "mean_size", probe_mean,
        (
            Misconception("signed", signed, "Negative values must not cancel positive ones."),
            Misconception("sample", sample, "Divide by how many values there are."),
        ),
        (mean_by_loop, mean_by_map), seconds=2,
    ),
    Item(
        "shift", "Shift", 3, "shift", probe_shift,
        (
            Misconception("unmoved", unmoved, "Nothing has moved yet."),
            Misconception("leftward", leftward, "It turns the other way."),
        ),
        (shift_by_index, shift_by_pops), seconds=2,
    ),
    Item(
        "words", "Words", 5, "count_words", probe_words,
        (Misconception("case", case_matters, "Capital and small letters are the same word."),),
        (words_by_counter, words_by_set), seconds=2,
    ),
]
"""

RIGHT = {
    "mean": "def mean_size(values):\n    return sum(map(abs, values)) / len(values)",
    "shift": "def shift(values, by):\n    by %= len(values)\n    return values[-by:] + values[:-by] if by else values",
    "words": "def count_words(text):\n    words = text.lower().split()\n    return {w: words.count(w) for w in words}",
}
WRONG = {
    "mean": "def mean_size(values):\n    return sum(values) / len(values)",
    "shift": "def shift(values, by):\n    return values",
    "words": "def count_words(text):\n    words = text.split()\n    return {word: words.count(word) for word in words}",
}


def make_assignment(root: Path) -> Path:
    """Write the small assignment's source and checks below ``root``; returns ``root``."""
    for folder, text in (("source", SOURCE), ("checks", CHECKS)):
        place = root / "exercises" / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{ASSIGNMENT}.py").write_text(text, encoding="utf-8")
    return root


# ---- notebooks


def student_notebook(answers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The student version with these answers put in; without one, the stub is left."""
    cells = []
    for block in re.split(r"^# %%", SOURCE, flags=re.MULTILINE)[1:]:
        head, _, body = block.partition("\n")
        found = re.search(r"nbgrader=(\{.*\})", head)
        meta = json.loads(found[1]) if found else None
        kind = "markdown" if "[markdown]" in head else "code"
        text = body.strip("\n")
        if kind == "markdown":
            text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
        text = re.sub(
            r"^( *)### BEGIN SOLUTION.*?### END SOLUTION",
            r'\1raise NotImplementedError("your answer")',
            text,
            flags=re.MULTILINE | re.DOTALL,
        )
        name = meta["grade_id"] if meta else "title"
        if meta and meta["grade"]:
            meta["cell_type"] = "code"
        cell = {"cell_type": kind, "id": name, "metadata": {"nbgrader": meta} if meta else {}, "source": text}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
            cell["source"] = (answers or {}).get(name, text)
        cells.append(cell)
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}


def cell_of(book: dict[str, Any], name: str) -> dict[str, Any]:
    return next(cell for cell in book["cells"] if cell["id"] == name)


def with_answer(item: str, source: str, **others: str) -> dict[str, Any]:
    """Everything right but one item."""
    return student_notebook(RIGHT | {item: textwrap.dedent(source).strip("\n")} | others)


def dumps(book: dict[str, Any]) -> bytes:
    return (json.dumps(book, indent=1) + "\n").encode()


# ---- cases


@dataclass(frozen=True)
class Case:
    """One file or folder of the class.

    number:   of the list of forty.
    label:    with the number, the file's name and so the student's.
    make:     bytes of the notebook, or a function that puts what it wants at a path.
    points:   what each item must earn; None where the file cannot be read.
    states:   item -> the status it must have, or several that are right; items not named may have any.
    flagged:  whether a person must be told; None where either is right.
    at_most:  the points are a ceiling.
    says:     must be in the feedback page or the reason.
    name:     the name in the submissions folder, where it is not the usual one.
    """

    number: int
    label: str
    make: bytes | Callable[[Path], None]
    points: dict[str, int] | None
    states: dict[str, str] = field(default_factory=dict)
    flagged: bool | None = False
    at_most: bool = False
    says: str = ""
    name: str = ""

    @property
    def key(self) -> str:
        return f"{self.number:02d}-{self.label}"

    @property
    def file(self) -> str:
        return self.name or f"{self.key}.ipynb"


def _without(*items: str) -> dict[str, int]:
    return {name: 0 if name in items else points for name, points in POINTS.items()}


def _memorised() -> str:
    """An answer to ``mean`` that knows the public questions alone."""
    space: dict[str, Any] = {}
    exec(
        CHECKS.partition("def signed")[0].replace("from mmcourse.course.exercise import Item, Misconception", ""), space
    )
    known: dict[tuple[float, ...], float] = {}

    def record(values: list[float]) -> float:
        known[tuple(values)] = sum(map(abs, values)) / len(values)
        return 0.0

    for seed in (1, 2):
        space["probe_mean"](record, seed)
    return f"KNOWN = {known!r}\ndef mean_size(values):\n    return KNOWN.get(tuple(values), 1.0)"


def _tagged(tag: str, answers: Mapping[str, str]) -> bytes:
    book = student_notebook(answers)
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cell["metadata"]["tags"] = [tag]
    return dumps(book)


def _injected() -> bytes:
    book = student_notebook(RIGHT)
    book["cells"].insert(
        1,
        {
            "cell_type": "code",
            "id": "mine",
            "metadata": {"tags": ["injected-parameters"]},
            "source": "SEED = 0\nimport random\nrandom.seed(0)\nrandom.Random = lambda seed: random",
            "outputs": [],
            "execution_count": None,
        },
    )
    return dumps(book)


def _edited(change: Callable[[dict[str, Any]], object], answers: Mapping[str, str] = RIGHT) -> bytes:
    book = student_notebook(answers)
    change(book)
    return dumps(book)


def _points_to_100(book: dict[str, Any]) -> None:
    cell = cell_of(book, "words-check")
    cell["metadata"]["nbgrader"]["points"] = 100
    cell["source"] = "pass  # everything is fine"


def _drop_checks(book: dict[str, Any]) -> None:
    book["cells"] = [cell for cell in book["cells"] if not cell["id"].endswith("-check")]


def _double(book: dict[str, Any]) -> None:
    first = cell_of(book, "shift")
    place = book["cells"].index(first)
    book["cells"].insert(place, {**first, "source": WRONG["shift"]})


def _checks_to_markdown(book: dict[str, Any]) -> None:
    for cell in book["cells"]:
        if cell["id"].endswith("-check"):
            cell.pop("outputs")
            cell.pop("execution_count")
            cell["cell_type"] = "markdown"


def _lose_metadata(book: dict[str, Any]) -> None:
    book["nbformat_minor"] = 4
    for cell in book["cells"]:
        cell["metadata"] = {}
        del cell["id"]


def _lose_everything(book: dict[str, Any]) -> None:
    _lose_metadata(book)
    for cell in book["cells"]:
        cell["source"] = cell["source"].replace("def ", "def my_")


def _format_3() -> bytes:
    import nbformat

    return nbformat.writes(nbformat.convert(nbformat.from_dict(student_notebook(RIGHT)), 3), version=3).encode()


def _minor_99(book: dict[str, Any]) -> None:
    book["nbformat_minor"] = 99
    book["news"] = {"of": "the future"}


def _no_ids(book: dict[str, Any]) -> None:
    book["nbformat_minor"] = 4
    for cell in book["cells"]:
        del cell["id"]


def _bare(book: dict[str, Any]) -> None:
    book["metadata"] = {}


def _no_format(book: dict[str, Any]) -> None:
    del book["nbformat"]


def _surrogate() -> bytes:
    return dumps(with_answer("shift", RIGHT["shift"] + "\nodd = 'XX'")).replace(b"XX", b"\\ud800")


def _put(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def _link(path: Path) -> None:
    path.symlink_to(path.parent / "01-right.ipynb")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("hw.ipynb", b"\x00" * 30_000_000)


def _two(path: Path) -> None:
    path.mkdir()
    for name in ("a.ipynb", "b.ipynb"):
        (path / name).write_bytes(dumps(student_notebook(RIGHT)))


def _two_one_named(path: Path) -> None:
    (path / "deeper").mkdir(parents=True)
    (path / "scratch.ipynb").write_bytes(dumps(student_notebook()))
    (path / "deeper" / f"{ASSIGNMENT}.ipynb").write_bytes(dumps(student_notebook(RIGHT)))
    (path / ".ipynb_checkpoints").mkdir()
    (path / ".ipynb_checkpoints" / f"{ASSIGNMENT}.ipynb").write_bytes(dumps(student_notebook()))


def _folder_with_link(path: Path) -> None:
    path.mkdir()
    (path / "hw.ipynb").symlink_to("/etc/passwd")


def _scripts() -> bytes:
    book = with_answer("shift", "def shift(values, by):\n    return '<script>alert(1)</script>'")
    book["cells"][0]["source"] = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    cell_of(book, "mean-check")["outputs"] = [
        {"output_type": "display_data", "data": {"text/html": "<script>alert(1)</script>"}, "metadata": {}}
    ]
    cell_of(book, "words")["source"] = "raise ValueError('<script>alert(1)</script>')"
    return dumps(book)


# each answer below is written at module level, so that what it does happens when its cell runs
_AST = """
import ast
class Drop(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass()
get_ipython().ast_transformers.append(Drop())
"""
_EQUAL = """
class Equal:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __len__(self): return 7
    def __iter__(self): return iter(range(7))
    def __float__(self): return 1.0
    @property
    def __class__(self): return list
def shift(values, by):
    return Equal()
"""
_RECORDER = """
SEEN = []
def record(lines):
    SEEN.append(list(lines))
    return lines
get_ipython().input_transformers_cleanup.append(record)
def shift(values, by):
    raise ValueError(repr(SEEN)[:5000] + repr(values))
"""
_LEAK = {
    "shift": "ASKED = []\n" + RIGHT["shift"].replace("    by %=", "    ASKED.append(values)\n    by %=", 1),
    "words": "raise ValueError(repr(ASKED))",
}
_DUMPS = """
import builtins, json
json.dumps = lambda *a, **k: '[{"ok": {"mean": 4.2}}, {"ok": {"mean": 4.2}}, {"ok": {"mean": 4.2}}]'
def no(*a, **k): raise OSError("closed")
builtins.open = no
"""
_CLOSE = """
import math, sys, types
import numpy
torch = sys.modules.setdefault("torch", types.ModuleType("torch"))
torch.allclose = torch.equal = numpy.allclose = lambda *a, **k: True
math.isclose = lambda *a, **k: True
def shift(values, by):
    return [0] * len(values)
"""
_QUIET = """
get_ipython().showtraceback = lambda *a, **k: None
get_ipython().set_custom_exc((BaseException,), lambda *a, **k: None)
def shift(values, by):
    raise KeyError("nothing to see")
"""
_LOOP = """
def shift(values, by):
    while True:
        pass
"""
_STUBBORN = """
import signal
def shift(values, by):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
"""
_FORKS = """
import os
def shift(values, by):
    while True:
        try:
            os.fork()
        except OSError:
            pass
"""
_MEMORY = """
def shift(values, by):
    kept = []
    while True:
        kept.append(bytearray(50_000_000))
"""
_DISK = """
block = b"x" * 1_000_000
for place in ("/dev/shm/full", "/tmp/full", "full"):
    try:
        with open(place, "wb") as file:
            for _ in range(2_000):
                file.write(block)
    except OSError as error:
        problem = error
raise problem
"""
_FLOOD = """
import sys
for _ in range(200):
    sys.stdout.write("x" * 1_000_000 + chr(10))
"""
_NETWORK = """
import socket
def shift(values, by):
    socket.create_connection(("192.0.2.1", 80), timeout=2)
    return values
"""
_SPY = """
import glob, os
def shift(values, by):
    found = []
    home = os.path.expanduser("~")
    for place in ("/root", "/home", "/work", "/srv", "/var", home, "..", "/student", "/tmp", "/proc/1"):
        for inner in glob.glob(place + "/**/*", recursive=True)[:2000]:
            if inner.endswith((".secret", "gradebook.csv", ".ipynb", "environ")):
                try:
                    found.append(open(inner, "rb").read()[:200])
                except OSError:
                    pass
    return [repr(found)]
"""
_DELETE = """
import os, shutil
for place in ("/tmp", "/student", "/dev/shm", "/root", "/home", "/work", os.getcwd(), "/"):
    shutil.rmtree(place, ignore_errors=True)
"""
_FORGE = """
import json, os
from IPython.display import publish_display_data
text = json.dumps([{"ok": {"shifted": [1], "far": [1]}}] * 3)
for place in ("answers.json", "/tmp/answers.json"):
    with open(place, "w") as file:
        file.write(text)
os.symlink("/etc/passwd", "link")
os.mkfifo("pipe")
publish_display_data({ANSWERS: text}, metadata={"nonce": "0" * 32})
publish_display_data({ANSWERS: text}, metadata={})
with open("large", "wb") as file:
    file.truncate(1_000_000_000)
"""
_PICKLE = """
import os, pickle
class Boom:
    def __reduce__(self):
        return (os.system, ("touch /tmp/loaded; touch loaded",))
with open("answers.pkl", "wb") as file:
    pickle.dump(Boom(), file)
def shift(values, by):
    return Boom()
"""
_MESSAGES = """
kernel = get_ipython().kernel
for kind, content in (
    ("display_data", {"data": {ANSWERS: "[]"}, "metadata": {"nonce": ""}, "transient": {}}),
    ("execute_result", {"data": {ANSWERS: "[]"}, "metadata": {}, "execution_count": 1}),
    ("status", {"execution_state": "idle"}),
    ("error", {"ename": "X", "evalue": "x", "traceback": []}),
    ("stream", {"name": "stdout", "text": "forged"}),
):
    kernel.session.send(kernel.iopub_socket, kind, content, parent=kernel.get_parent("shell"))
"""


def _deep() -> bytes:
    return b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def _answers_type() -> str:
    from mmcourse.course.engine import ANSWERS

    return f"ANSWERS = {ANSWERS!r}\n"


def cases() -> list[Case]:
    """All of them, in their order. Needs the engine, whose message type the forged answers use."""
    right, wrong_words = dumps(student_notebook(RIGHT)), RIGHT | {"words": WRONG["words"]}
    forge = _answers_type() + _FORGE
    messages = _answers_type() + _MESSAGES
    utf16 = right.decode().encode("utf-16")
    merged = right.replace(b'\n "nbformat"', b'\n<<<<<<< HEAD\n "nbformat"')

    def one(source: str, **others: str) -> bytes:
        return dumps(with_answer("shift", source, **others))

    return [
        Case(1, "right", right, ALL, dict.fromkeys(POINTS, "right")),
        Case(2, "memorised", dumps(with_answer("mean", _memorised())), _without("mean"), {"mean": "wrong"}),
        Case(3, "untouched", dumps(student_notebook()), _without(*POINTS), dict.fromkeys(POINTS, "no answer")),
        Case(4, "syntax-error", one("def shift(values, by:\n    return"), _without("shift"), {"shift": "error"}),
        Case(
            5,
            "warnings",
            one("import sys, warnings\nwarnings.warn('w')\nprint('e', file=sys.stderr)\n" + RIGHT["shift"]),
            ALL,
        ),
        Case(
            6,
            "skip-execution",
            _tagged("skip-execution", {"mean": RIGHT["mean"]}),
            _without("shift", "words"),
            flagged=True,
        ),
        Case(7, "raises-exception", _tagged("raises-exception", wrong_words), _without("words")),
        Case(8, "injected-parameters", _injected(), ALL, flagged=True),
        Case(9, "no-asserts", one(_AST + RIGHT["shift"], words=WRONG["words"]), _without("words"), flagged=None),
        Case(10, "equal-to-all", one(_EQUAL), _without("shift"), {"shift": "wrong"}),
        Case(11, "recorder", one(_RECORDER), _without("shift"), flagged=True),
        Case(11, "leak", dumps(student_notebook(RIGHT | _LEAK)), _without("words"), {"words": "error"}),
        Case(
            12,
            "json-dumps",
            dumps(with_answer("mean", _DUMPS + WRONG["mean"])),
            _without("mean"),
            at_most=True,
            flagged=None,
        ),
        Case(13, "allclose", one(_CLOSE), _without("shift")),
        Case(14, "showtraceback", one(_QUIET), _without("shift"), flagged=None),
        Case(15, "sys-exit", one(RIGHT["shift"] + "\nimport sys\nsys.exit(0)"), ALL),
        Case(
            16, "os-exit", one("import os\nos._exit(0)"), _without("shift"), {"shift": "died"}, None, says="kernel died"
        ),
        Case(17, "endless", one(_LOOP), _without("shift"), {"shift": "timeout"}, says="in time"),
        Case(18, "stubborn", one(_STUBBORN), _without("shift"), {"shift": "timeout"}, None),
        Case(19, "fork-bomb", one(_FORKS), _without("shift"), flagged=None),
        Case(20, "memory-bomb", one(_MEMORY), _without("shift"), {"shift": "memory|timeout"}),
        Case(21, "full-disk", one(_DISK), _without("shift")),
        Case(22, "flood", one(_FLOOD + RIGHT["shift"]), _without("shift"), {"shift": "output|memory|timeout"}),
        Case(23, "network", one(_NETWORK), _without("shift")),
        Case(24, "spy", one(_SPY), _without("shift"), flagged=None),
        Case(25, "delete", one(_DELETE + RIGHT["shift"]), ALL, flagged=None, at_most=True),
        Case(26, "forged-file", one(forge), _without("shift"), flagged=True),
        Case(27, "pickle", one(_PICKLE), _without("shift"), flagged=True),
        Case(28, "forged-messages", one(messages + RIGHT["shift"]), ALL, flagged=True, at_most=True),
        Case(29, "points-100", _edited(_points_to_100, wrong_words), _without("words"), flagged=True),
        Case(30, "no-checks", _edited(_drop_checks), ALL),
        Case(31, "doubled", _edited(_double), ALL, flagged=True),
        Case(32, "markdown-checks", _edited(_checks_to_markdown), ALL),
        Case(33, "no-metadata", _edited(_lose_metadata), ALL),
        Case(33, "no-stub", _edited(_lose_everything), None, says="no answer cell"),
        Case(34, "format-3", _format_3(), ALL),
        Case(34, "format-4-99", _edited(_minor_99), ALL),
        Case(34, "no-ids", _edited(_no_ids), ALL),
        Case(34, "no-kernelspec", _edited(_bare), ALL),
        Case(35, "format-5", _edited(lambda book: book.update(nbformat=5)), None, says="format 5"),
        Case(35, "no-format", _edited(_no_format), None, says="no nbformat"),
        Case(35, "list", dumps([student_notebook(RIGHT)]), None, says="not a notebook"),  # type: ignore[arg-type]
        Case(36, "truncated", right[: len(right) // 2], None, says="cut off"),
        Case(36, "empty", _put(b""), None, says="empty"),
        Case(36, "merge", merged, None, says="merge"),
        Case(37, "bom", b"\xef\xbb\xbf" + right, ALL),
        Case(37, "utf-16", utf16, ALL),
        Case(37, "latin-1", right.replace(b"Three", "Dr\xe9i".encode("latin-1")), None, says="not text"),
        Case(38, "deep", _deep(), None, says="deeper"),
        Case(38, "nul", right.replace(b"Three", b"Th\x00ee"), None, says="NUL"),
        Case(38, "surrogate", _surrogate(), None, says="surrogate"),
        Case(39, "braces", right, ALL, name="39-hw{0}.ipynb"),
        Case(39, "dots", right, ALL, name="..39-x%2e%2e.ipynb".lstrip(".")),
        Case(39, "bytes", right, ALL, name="39-\udcff\u202e.ipynb"),
        Case(39, "link", _link, None, says="link"),
        Case(39, "pipe", _pipe, None, says="pipe"),
        Case(39, "zip-bomb", _zip, None, says="archive", name="39-zip-bomb.zip"),
        Case(39, "two", _two, None, says="2 notebooks", name="39-two"),
        Case(39, "two-one-named", _two_one_named, ALL, name="39-two-one-named"),
        Case(39, "link-inside", _folder_with_link, None, says="link", name="39-link-inside"),
        Case(40, "scripts", _scripts(), _without("shift", "words")),
        Case(40, "formula", right, ALL, name='=cmd,"x.ipynb'),
        Case(40, "angle", right, ALL, name="<script>alert(1)<script>.ipynb"),
    ]


def write_class(folder: Path, chosen: list[Case] | None = None) -> list[Case]:
    """Write the submissions of these cases (all by default) into a folder; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = chosen if chosen is not None else cases()
    for case in chosen:
        path = folder / case.file
        if callable(case.make):
            case.make(path)
        else:
            path.write_bytes(case.make)
    return chosen
