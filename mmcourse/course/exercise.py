"""What an exercise asks, how an answer is probed, and which wrong answers are known.

One definition serves the notebook's ``check``, the grader, the tests and the book. An ``Item`` has a *probe*: a
function that calls the learner's answer on inputs drawn from a seed and returns plain values. Values are turned into
JSON by ``encode`` and judged by ``compare``, which trusts nothing but JSON's own types. Torch is imported by the
exercises only.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dis
import functools
import hashlib
import html
import inspect
import itertools
import json
import linecache
import math
import os
import random
import re
import sys
import textwrap
import time
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEPTH = 20  # lists and dicts within each other
NUMBERS = 20_000  # in one result
CHARACTERS = 1_000_000  # of JSON in one result
TEXT = 10_000  # characters of one string
INTEGER = 10**18
RESERVED = frozenset({"unknown", "float", "tensor", "dict"})  # keys by which an encoded value is told
FORMAT = 1  # of NAME.checks.json
NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
UNANSWERED = "Not answered yet."


@dataclass(frozen=True)
class Misconception:
    """A known wrong answer, and the sentence that helps whoever gave it."""

    name: str
    wrong: Callable[..., Any]
    sentence: str


@dataclass(frozen=True)
class Item:
    """One question. Its points are earned whole, by an answer that is right on every seed, or not at all.

    ``id`` is the grade_id of the answer cell; ``answer`` the function or class that this cell must define;
    ``probe(answer, seed)`` returns a dict of plain values, tensors and arrays; ``example`` is the key that is shown
    to the learner (the first by default); ``seconds`` is the limit of one item's probes when it is graded.
    """

    id: str
    title: str
    points: int
    answer: str
    probe: Callable[[Any, int], Mapping[str, Any]]
    misconceptions: tuple[Misconception, ...]
    also_right: tuple[Callable[..., Any], ...]
    example: str = ""
    rtol: float = 1e-4
    atol: float = 1e-5
    seconds: float = 5.0
    public_seeds: tuple[int, ...] = (1, 2)
    secret_probes: int = 3
    allow_nan: bool = False


@dataclass(frozen=True)
class Assignment:
    """An assignment as its author wrote it, solutions included. ``digest`` covers everything that decides a grade."""

    name: str
    title: str
    items: tuple[Item, ...]
    references: Mapping[str, str]
    setup: str
    digest: str

    def item(self, item_id: str) -> Item:
        """The item of this id. Raises ``ValueError`` that lists the ids."""
        for item in self.items:
            if item.id == item_id:
                return item
        raise ValueError(_unknown_id(item_id, [item.id for item in self.items]))


@dataclass(frozen=True)
class Difference:
    """Where two answers part. All four are short printable text."""

    path: str
    expected: str
    got: str
    why: str


@dataclass(frozen=True)
class Verdict:
    """What a list of answers is worth. ``seed_index`` is the first seed that went wrong, -1 where none did."""

    right: bool
    share: float
    misconception: str | None
    sentence: str
    difference: Difference | None
    seed_index: int


# ---- values -> JSON


class _TooLarge(Exception):
    pass


class _Room:
    """What is left of the numbers and characters that one result may hold."""

    def __init__(self) -> None:
        self.numbers, self.characters = NUMBERS, CHARACTERS

    def take(self, numbers: int, characters: int) -> None:
        if numbers > self.numbers or characters > self.characters:
            raise _TooLarge
        self.numbers -= numbers
        self.characters -= characters


def encode(value: Any) -> Any:
    """A value as JSON data, of bounded size. Never raises, and calls no method that the value's author wrote.

    None, bool, int (below 1e18), float, str (at most 10,000 characters), list, tuple (as list) and dict with str keys
    stand for themselves; a float that is not finite becomes ``{"float": "nan"}``; tensors, arrays and numpy's scalars
    become ``{"tensor": kind, "shape": [...], "values": [...]}`` with kind float, int, bool or complex (two numbers a
    value), and values that are not finite as ``"nan"``, ``"inf"``, ``"-inf"``. A dict with one of these keys of its
    own becomes ``{"dict": {...}}``. Everything else, subclasses included, becomes ``{"unknown": type name}``;
    what is deeper than 20, holds more than 20,000 numbers or gives over 1 MB becomes ``{"unknown": "too large"}``.
    """
    return _encode_whole(value, _Room())


def _encode_whole(value: Any, room: _Room) -> Any:
    try:
        return _encode(value, room, 0)
    except _TooLarge:
        return {"unknown": "too large"}
    except Exception:  # a list changed by another thread, a tensor of a kind that cannot be copied, no memory
        return {"unknown": _type_name(value)}


def _encode(value: Any, room: _Room, depth: int) -> Any:
    kind = type(value)
    if depth > DEPTH:
        raise _TooLarge
    if value is None or kind is bool:
        room.take(0, 7)
        return value
    if kind is int:
        room.take(1, 21)
        return value if abs(value) < INTEGER else _unknown("int of 1e18 or more", room)
    if kind is float:
        room.take(1, 27)
        return value if math.isfinite(value) else {"float": _float_word(value)}
    if kind is str:
        return _encode_text(value, room)
    if kind is list or kind is tuple:
        room.take(0, 4)
        return [_encode(inner, room, depth + 1) for inner in value]
    if kind is dict:
        return _encode_dict(value, room, depth)
    return _encode_array(value, kind, room)


def _encode_text(text: str, room: _Room) -> Any:
    if len(text) > TEXT:
        return _unknown(f"str of {len(text)} characters, more than {TEXT}", room)
    written = json.dumps(text)
    room.take(0, len(written) + 2)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return _unknown("str with a lone surrogate", room)
    return text


def _encode_dict(value: dict, room: _Room, depth: int) -> Any:
    room.take(0, 16)
    encoded = {}
    for key, inner in value.items():
        if type(key) is not str:
            return _unknown(f"dict with a key of type {_type_name(key)}", room)
        if not isinstance(_encode_text(key, room), str):
            return _unknown("dict with an odd key", room)
        encoded[key] = _encode(inner, room, depth + 1)
    return {"dict": encoded} if RESERVED & encoded.keys() else encoded


def _encode_array(value: Any, kind: type, room: _Room) -> Any:
    """A torch tensor, a numpy array or scalar, of exactly these types: a subclass may say anything about itself.

    Types are told by identity: a metaclass may say that its class equals any other.
    """
    torch, np = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and (kind is torch.Tensor or kind is torch.nn.Parameter):
        return _encode_tensor(value, torch, room)
    if np is not None and (kind is np.ndarray or any(kind is np.dtype(code).type for code in "?bBhHiIlLqQefdFD")):
        return _encode_ndarray(value, np, room)
    return _unknown(_type_name(value), room)


def _encode_tensor(value: Any, torch: Any, room: _Room) -> Any:
    x = torch.Tensor.detach(value)  # a new object, without attributes that somebody hung on the old one
    if x.layout is not torch.strided:
        return _unknown("tensor that is not dense", room)
    if x.device.type == "meta":
        return _unknown("meta tensor", room)
    if x.is_quantized or x.is_nested:
        return _unknown("quantized or nested tensor", room)
    shape = list(x.shape)
    _take_array(x.numel() * (2 if x.dtype.is_complex else 1), len(x.shape), room)  # before anything is copied
    x = x.cpu()
    if x.dtype.is_complex:
        kind, x = "complex", torch.view_as_real(x.to(torch.complex128).resolve_conj().contiguous())
    elif x.dtype.is_floating_point:
        kind, x = "float", x.to(torch.float64)
    else:
        kind = "bool" if x.dtype is torch.bool else "int"
    return _array(kind, shape, x.reshape(-1).tolist(), room)


def _encode_ndarray(value: Any, np: Any, room: _Room) -> Any:
    x = np.asarray(value)
    kind = {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}.get(x.dtype.kind)
    if kind is None:
        return _unknown(f"array of {x.dtype.kind!r} values", room)
    _take_array(x.size * (2 if kind == "complex" else 1), x.ndim, room)
    flat = x.reshape(-1)
    if kind == "complex":
        flat = np.stack([flat.real, flat.imag], axis=-1).reshape(-1)
    if kind in ("float", "complex"):
        flat = flat.astype(np.float64)
    return _array(kind, list(x.shape), flat.tolist(), room)


def _take_array(numbers: int, axes: int, room: _Room) -> None:
    if axes > DEPTH:
        raise _TooLarge
    room.take(numbers, 60 + 27 * numbers + 21 * axes)


def _array(kind: str, shape: list, values: list, room: _Room) -> Any:
    shape = [int(size) for size in shape]
    if kind == "int" and any(abs(value) >= INTEGER for value in values):
        return _unknown("ints of 1e18 or more", room)
    if any(size >= INTEGER for size in shape):
        raise _TooLarge
    if kind in ("float", "complex"):
        values = [value if math.isfinite(value) else _float_word(value) for value in values]
    return {"tensor": kind, "shape": shape, "values": values}


def _float_word(value: float) -> str:
    return "nan" if value != value else "inf" if value > 0 else "-inf"


def _unknown(what: str, room: _Room) -> dict[str, str]:
    room.take(0, len(what) + 20)
    return {"unknown": what}


_READ_NAME = type.__dict__["__name__"].__get__


def _type_name(value: Any) -> str:
    """The type's own name in ASCII, at most 60 characters; a metaclass or a ``__class__`` cannot change it."""
    return _ascii(_READ_NAME(type(value)), 60)


def _ascii(text: str, limit: int) -> str:
    return str.__str__(text)[:limit].encode("ascii", "backslashreplace").decode("ascii")[:limit]


# ---- running a probe


def run_probe(probe: Callable[[Any, int], Mapping[str, Any]], answer: Any, seed: int) -> dict[str, Any]:
    """Call a probe and encode what it gives: ``{"ok": {key: value}}``, or ``{"error": type name, "text": message}``.

    Everything that an answer raises is an error of its own, ``SystemExit`` too; only an interrupt goes through.
    The text is the message's first 500 characters.
    """
    try:
        result = probe(answer, seed)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return {"error": _type_name(error), "text": _message(error)}
    if type(result) is not dict or not all(type(key) is str for key in dict.keys(result)):
        return {"error": "TypeError", "text": "the probe gave no dict with text keys"}
    room = _Room()
    room.take(0, 100)
    ok: dict[str, Any] = {}
    for key, value in result.items():
        if len(key) > 100 or len(ok) >= 100:
            return {"error": "TypeError", "text": "the probe gave more than 100 values, or one with a long name"}
        ok[key] = _encode_whole(value, room)
    return {"ok": ok}


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:
        text = "(its message cannot be read)"
    return str.__str__(text)[:500].encode("utf-8", "backslashreplace").decode("utf-8")


# ---- comparing


@dataclass(frozen=True)
class _Rule:
    rtol: float
    atol: float
    allow_nan: bool


def compare(expected: Any, got: Any, *, rtol: float, atol: float, allow_nan: bool = False) -> Difference | None:
    """The first difference of two encoded values, or None where they are equal.

    ``got`` may be any JSON data: a wrong structure is a difference, never an error. Types must agree (1 is neither True
    nor 1.0); floats may differ by ``atol + rtol * |expected|``; ints, bools and texts must be the same. What could not
    be encoded equals nothing, and NaN equals NaN only with ``allow_nan``.
    """
    try:
        return _compare(expected, got, "", _Rule(rtol, atol, allow_nan))
    except Exception as error:  # such as too deep for Python
        return Difference("", show(expected), show(got), f"this answer cannot be read ({_type_name(error)})")


def _compare(expected: Any, got: Any, path: str, rule: _Rule) -> Difference | None:
    wanted, came = _kind(expected), _kind(got)

    def differ(why: str) -> Difference:
        return Difference(path, show(expected), show(got), why)

    if came == "malformed":
        return differ("this is no value that a probe gives")
    if came == "unknown":
        return differ(f"cannot be compared: {_words(str(got['unknown']), 80)}")
    if wanted != came:
        return differ(f"expected {_noun(expected)}, got {_noun(got)}{_cast(wanted, came)}")
    if wanted == "float":
        return _compare_floats(expected, got, path, rule)
    if wanted == "list":
        return _compare_lists(expected, got, path, rule)
    if wanted == "dict":
        return _compare_dicts(_inside(expected), _inside(got), path, rule)
    if wanted == "tensor":
        return _compare_tensors(expected, got, path, rule)
    if wanted in ("none", "bool", "int", "str") and expected == got:
        return None
    return differ(f"expected {show(expected, 120)}, got {show(got, 120)}")


def _compare_floats(expected: Any, got: Any, path: str, rule: _Rule) -> Difference | None:
    want, have = _to_float(expected), _to_float(got)
    if _close(want, have, rule):
        return None
    shown = (show(expected), show(got))
    if shown[0] == shown[1]:
        shown = (repr(want), repr(have))
    return Difference(path, *shown, _how_far(want, have))


def _how_far(want: float, have: float) -> str:
    if have != have:
        return "it is not a number (NaN)"
    if math.isfinite(want) and math.isfinite(have):
        return f"off by {abs(have - want):.3g}"
    return "it is infinite" if math.isfinite(want) else f"expected {want:.6g}, got {have:.6g}"


def _compare_lists(expected: list, got: list, path: str, rule: _Rule) -> Difference | None:
    if len(expected) != len(got):
        return Difference(path, show(expected), show(got), f"expected {len(expected)} entries, got {len(got)}")
    for index, (want, have) in enumerate(zip(expected, got, strict=True)):
        found = _compare(want, have, f"{path}[{index}]", rule)
        if found:
            return found
    return None


def _compare_dicts(expected: dict, got: dict, path: str, rule: _Rule) -> Difference | None:
    for key, want in expected.items():
        inner = f"{path}.{_words(key, 40)}" if path else _words(key, 40)
        if key not in got:
            return Difference(inner, show(want), "nothing", "this entry is missing")
        found = _compare(want, got[key], inner, rule)
        if found:
            return found
    for key in got:
        if key not in expected:
            return Difference(path, show(expected), show(got), f"there is an entry too many: {_words(key, 40)}")
    return None


def _compare_tensors(expected: dict, got: dict, path: str, rule: _Rule) -> Difference | None:
    def differ(why: str) -> Difference:
        return Difference(path, show(expected), show(got), why)

    if expected["tensor"] != got["tensor"]:
        return differ(f"expected {expected['tensor']} values, got {got['tensor']} values")
    if expected["shape"] != got["shape"]:
        return differ(f"expected shape {_shape(expected['shape'])}, got {_shape(got['shape'])}")
    pairs = list(zip(expected["values"], got["values"], strict=True))
    if expected["tensor"] in ("float", "complex"):
        wrong = [i for i, (want, have) in enumerate(pairs) if not _close(_to_float(want), _to_float(have), rule)]
    else:
        wrong = [i for i, (want, have) in enumerate(pairs) if want != have]
    if not wrong:
        return None
    each = 2 if expected["tensor"] == "complex" else 1
    count, first = len({index // each for index in wrong}), wrong[0] // each
    where = f" at {_shape(_unravel(first, expected['shape']))}" if expected["shape"] else ""
    want, have = (show(side) for side in pairs[wrong[0]])
    return differ(f"{count} of {len(pairs) // each} values differ, the first{where}: expected {want}, got {have}")


def _unravel(index: int, shape: Sequence[int]) -> list[int]:
    places: list[int] = []
    for size in reversed(shape):
        places.insert(0, index % size)
        index //= size
    return places


def _close(want: float, have: float, rule: _Rule) -> bool:
    if want != want or have != have:
        return rule.allow_nan and want != want and have != have
    if math.isinf(want) or math.isinf(have):
        return want == have
    return abs(want - have) <= rule.atol + rule.rtol * abs(want)


def _to_float(value: Any) -> float:
    if type(value) is dict:
        value = value["float"]
    return float(value)


_FLOAT_WORDS = ("nan", "inf", "-inf")


def _kind(value: Any) -> str:
    """What a piece of encoded data is. Looks at JSON's own types alone."""
    plain = {type(None): "none", bool: "bool", int: "int", float: "float", str: "str", list: "list"}.get(type(value))
    if plain:
        return plain
    if type(value) is not dict or not all(type(key) is str for key in value):
        return "malformed"
    marks = RESERVED & value.keys()
    if not marks:
        return "dict"
    if value.keys() == {"tensor", "shape", "values"}:
        return "tensor" if _is_tensor(value) else "malformed"
    if len(value) == 1:
        (mark,) = marks
        inner = value[mark]
        if mark == "unknown" and type(inner) is str:
            return "unknown"
        if mark == "float" and type(inner) is str and inner in _FLOAT_WORDS:
            return "float"
        if mark == "dict" and type(inner) is dict and all(type(key) is str for key in inner):
            return "dict"
    return "malformed"


def _inside(value: dict) -> dict:
    return value.get("dict", value)


def _is_tensor(value: dict) -> bool:
    kind, shape, values = value["tensor"], value["shape"], value["values"]
    if type(kind) is not str or kind not in ("float", "int", "bool", "complex"):
        return False
    if type(shape) is not list or type(values) is not list or len(shape) > DEPTH:
        return False
    if not all(type(size) is int and 0 <= size < INTEGER for size in shape):
        return False
    if len(values) != math.prod(shape) * (2 if kind == "complex" else 1):
        return False
    if kind == "bool":
        return all(type(v) is bool for v in values)
    if kind == "int":
        return all(type(v) is int and abs(v) < INTEGER for v in values)
    return all(type(v) is float or (type(v) is str and v in _FLOAT_WORDS) for v in values)


def _noun(value: Any) -> str:
    kind = _kind(value)
    if kind == "tensor":
        return f"a tensor of shape {_shape(value['shape'])}"
    return {
        "none": "None",
        "bool": "True or False",
        "int": "a whole number (int)",
        "float": "a number (float)",
        "str": "a text",
        "list": "a list",
        "dict": "a dict",
    }.get(kind, "something that cannot be compared")


def _cast(wanted: str, came: str) -> str:
    return ": use .item()" if came == "tensor" and wanted in ("float", "int", "bool") else ""


# ---- encoded values as short text


def show(value: Any, limit: int = 300) -> str:
    """An encoded value as one short line of printable text, also where the data are malformed."""
    pieces: list[str] = []
    used = 0
    try:
        for piece in _pieces(value, 0):
            pieces.append(piece)
            used += len(piece)
            if used > limit:
                break
    except Exception:
        pieces.append("?")
    text = "".join(pieces)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def lay_out(value: Any, limit: int = 500) -> str:
    """An encoded value as short text, with each entry of a list or dict, or each row of a tensor, on its own line.

    Lists of numbers stay on one line.
    """
    kind = _kind(value)
    if kind == "tensor" and len(value["shape"]) > 1:
        return show(value, limit).replace(": [", ":\n[", 1).replace("], [", "],\n [")
    inside = value if kind == "list" else list(_inside(value).values()) if kind == "dict" else []
    if len(inside) < 2 or all(_kind(inner) in ("none", "bool", "int", "float") for inner in inside):
        return show(value, limit)
    pairs = [("", inner) for inner in value] if kind == "list" else [(k, v) for k, v in _inside(value).items()]
    lines: list[str] = []
    for name, inner in pairs[:limit]:
        left = limit - sum(map(len, lines)) - 2 * len(lines)
        if left < 20:
            lines.append("...")
            break
        lines.append((repr(name[:60]) + ": " if kind == "dict" else "") + show(inner, left))
    opening, closing = "[]" if kind == "list" else "{}"
    return opening + ",\n ".join(lines) + closing


def _pieces(value: Any, depth: int) -> Iterator[str]:
    kind = _kind(value)
    if kind == "none" or kind == "bool":
        yield str(value)
    elif kind == "int":
        yield str(value) if value.bit_length() <= 64 else f"(a number of {value.bit_length()} bits)"
    elif kind == "float":
        yield f"{_to_float(value):.6g}" if type(value) is float else value["float"]
    elif kind == "str":
        yield repr(value[:200]) + ("..." if len(value) > 200 else "")
    elif kind == "unknown":
        yield f"({_words(value['unknown'], 80)})"
    elif kind == "malformed" or depth > DEPTH:
        yield "(not readable)"
    elif kind == "tensor":
        yield f"{value['tensor']} tensor {_shape(value['shape'])}"
        values = value["values"]
        if value["tensor"] == "complex":
            pairs = zip(values[::2], values[1::2], strict=True)
            values = [complex(_to_float(real), _to_float(imaginary)) for real, imaginary in pairs]
        if values:
            yield ": "
            yield from _nested(value["shape"], values, 0, len(values))
    elif kind == "list":
        yield "["
        for index, inner in enumerate(value):
            yield ", " if index else ""
            yield from _pieces(inner, depth + 1)
        yield "]"
    else:
        yield "{"
        for index, (key, inner) in enumerate(_inside(value).items()):
            yield (", " if index else "") + repr(key[:60]) + ": "
            yield from _pieces(inner, depth + 1)
        yield "}"


def _nested(shape: Sequence[int], values: list, start: int, stop: int) -> Iterator[str]:
    """A tensor's flat values with the brackets of its shape."""
    if not shape:
        value = values[start]
        yield f"{value:.4g}" if type(value) in (float, complex) else str(value)
        return
    step = (stop - start) // shape[0]
    yield "["
    for index in range(shape[0]):
        yield ", " if index else ""
        yield from _nested(shape[1:], values, start + index * step, start + (index + 1) * step)
    yield "]"


def _shape(sizes: Sequence[int]) -> str:
    inside = ", ".join(str(size) for size in sizes)
    return f"({inside},)" if len(sizes) == 1 else f"({inside})"


def _words(text: str, limit: int) -> str:
    """Text from elsewhere, on one line, without control characters, of bounded length."""
    cut = text[: limit + 1]
    clean = "".join(c if c.isprintable() else " " if c in "\n\r\t" else repr(c)[1:-1] for c in cut)
    return clean if len(clean) <= limit else clean[: max(0, limit - 3)] + "..."


# ---- the probe as text


def probe_source(item: Item) -> str:
    """The probe's source, dedented, without its signature's annotations; it runs in an empty namespace.

    Raises ``ValueError`` where the probe is no plain function or uses a name that its body does not define or import.
    """
    probe = item.probe
    place = f"the probe of item {item.id!r}"
    if not isinstance(probe, types.FunctionType) or probe.__name__ == "<lambda>":
        raise ValueError(f"{place}: expected a function made by def, got {_type_name(probe)}.")
    return _function_source(probe, place)


@functools.lru_cache(maxsize=256)
def _function_source(probe: types.FunctionType, place: str) -> str:
    try:
        linecache.checkcache(probe.__code__.co_filename)
        text = textwrap.dedent(inspect.getsource(probe))
        (tree,) = ast.parse(text).body
    except (OSError, TypeError, ValueError, SyntaxError) as error:
        raise ValueError(f"{place}: its source cannot be found ({error}). Write it as a def in the file.") from error
    if not isinstance(tree, ast.FunctionDef) or tree.decorator_list:
        raise ValueError(f"{place}: expected a plain def without decorators.")
    text = _without_annotations(tree, text)
    missing = sorted(_free_names(compile(text, "<probe>", "exec", dont_inherit=True)) - {tree.name})
    if missing:
        raise ValueError(
            f"{place}: uses {', '.join(missing)}, which its own text does not define. A probe travels alone: import "
            "and define what it needs inside its body."
        )
    return text


def _without_annotations(tree: ast.FunctionDef, text: str) -> str:
    lines = text.splitlines()
    first = tree.body[0]
    alone = not lines[first.lineno - 1].encode()[: first.col_offset].strip()
    arguments = tree.args
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    if not alone:
        tree.returns = None
        return ast.unparse(tree) + "\n"
    body = lines[first.lineno - 1 :]
    return "\n".join([f"def {tree.name}({ast.unparse(arguments)}):", *body]).rstrip() + "\n"


def _free_names(code: types.CodeType) -> set[str]:
    """Names that a piece of code looks up outside itself, builtins left out."""
    found: set[str] = set()
    stored: set[str] = set()
    codes = [code]
    while codes:
        one = codes.pop()
        codes += [constant for constant in one.co_consts if isinstance(constant, types.CodeType)]
        for step in dis.get_instructions(one):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
                found.add(step.argval)
            elif step.opname in ("STORE_NAME", "STORE_GLOBAL"):
                stored.add(step.argval)
    return {name for name in found - stored if not hasattr(builtins, name) and name not in ("__name__", "__module__")}


def load_probe(source: str) -> Callable[[Any, int], Mapping[str, Any]]:
    """The function that a probe's source defines, in a namespace of its own."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<probe>", "exec", dont_inherit=True), space)
    (made,) = [value for key, value in space.items() if isinstance(value, types.FunctionType)]
    return made


# ---- expected answers and the verdict


def expected_answers(assignment: Assignment, item: Item, seeds: Iterable[int]) -> list[dict[str, Any]]:
    """What the reference answers, a result of ``run_probe`` for every seed. Runs the author's code in this process.

    Raises ``ValueError`` where the reference cannot be run, defines no such name, or fails on a seed.
    """
    answer = reference(assignment, item)
    probe = load_probe(probe_source(item))
    answers = [run_probe(probe, answer, seed) for seed in seeds]
    for seed, run in zip(seeds, answers, strict=True):
        if "ok" not in run:
            what = f"{run['error']}: {run['text']}"
            raise ValueError(f"{assignment.name}, item {item.id!r}: the reference fails on seed {seed}: {what}")
    return answers


def reference(assignment: Assignment, item: Item) -> Any:
    """The reference answer itself, made in a fresh namespace after the setup."""
    space: dict[str, Any] = {"__name__": "__main__"}
    for what, text in (("setup", assignment.setup), (item.id, assignment.references[item.id])):
        try:
            exec(compile(text, f"<{assignment.name}: {what}>", "exec", dont_inherit=True), space)
        except Exception as error:
            raise ValueError(f"{assignment.name}: the cell {what!r} fails: {type(error).__name__}: {error}") from error
    if item.answer not in space:
        raise ValueError(f"{assignment.name}: the reference of item {item.id!r} does not define {item.answer}.")
    return space[item.answer]


def diagnose(assignment: Assignment | Mapping[str, Any], item: Item | str, seeds: Sequence[int], got: Any) -> Verdict:
    """Judge what an answer gave on these seeds, ``got`` being the results of ``run_probe``, from wherever they came.

    ``assignment`` is one that was loaded, whose reference and wrong answers are run here, or the data of ``freeze``,
    which know the public seeds alone. ``got`` may be any JSON data. Raises ``ValueError`` for an unknown item or seeds
    that the frozen data do not know.
    """
    item_id = item if isinstance(item, str) else item.id
    if isinstance(assignment, Assignment):
        known = assignment.item(item_id)
        rule, example = _Rule(known.rtol, known.atol, known.allow_nan), known.example
        expected = expected_answers(assignment, known, seeds)
        wrong = _run_misconceptions(known, seeds)
    else:
        entry = _frozen_item(assignment, item_id)
        if list(seeds) != list(entry["seeds"]):
            raise ValueError(f"item {item_id!r}: the public checks know the seeds {entry['seeds']}, got {list(seeds)}.")
        rule, example = _Rule(entry["rtol"], entry["atol"], entry["allow_nan"]), entry["example"]
        expected = entry["expected"]
        wrong = ((m["name"], m["sentence"], iter(m["answers"])) for m in entry["misconceptions"])
    return _judge(expected, got, rule, example, wrong)


_Wrong = Iterable[tuple[str, str, Iterator[dict[str, Any]]]]


def _run_misconceptions(item: Item, seeds: Sequence[int]) -> _Wrong:
    """Name, sentence and answers of each; an answer is computed when it is asked for."""
    probe = load_probe(probe_source(item))
    for known in item.misconceptions:
        run = functools.partial(run_probe, probe, known.wrong)
        yield known.name, known.sentence, map(run, seeds)


def _judge(expected: list, got: Any, rule: _Rule, example: str, wrong: _Wrong) -> Verdict:
    runs = got if type(got) is list else []
    padded = [runs[i] if i < len(runs) else None for i in range(len(expected))]
    found = [_compare_runs(want, have, rule, example) for want, have in zip(expected, padded, strict=True)]
    share = sum(one is None for one in found) / max(1, len(found))
    if share == 1 and len(runs) == len(expected):
        return Verdict(True, 1.0, None, "", None, -1)
    first = next((index for index, one in enumerate(found) if one), -1)
    if first < 0:
        odd = Difference("", f"{len(expected)} answers", f"{len(runs)} answers", "there are answers too many")
        return Verdict(False, 0.0, None, "", odd, 0)
    if all(_is_unanswered(run) for run in padded):
        return Verdict(False, share, None, UNANSWERED, found[first], first)
    kept = []
    for name, sentence, answers in wrong:
        answers, again = itertools.tee(answers)  # what was computed once is not computed again
        if all(_same_run(answer, have, rule) for answer, have in zip(answers, padded, strict=True)):
            return Verdict(False, share, name, sentence, found[first], first)
        kept.append((name, sentence, again))
    key = _differing_key(expected[first], padded[first], rule, example)
    near, sentence = _nearest(kept, padded, key, rule) if key is not None else (None, "")
    return Verdict(False, share, near, sentence, found[first], first)


def _nearest(wrong: Iterable, runs: list, key: str, rule: _Rule) -> tuple[str | None, str]:
    """Two slips at once equal no known answer as a whole. Of the known ones that give the value which is shown, on all
    seeds, this is the one that agrees at most keys; where two agree alike, none."""
    best: list[tuple[int, str, str]] = []
    for name, sentence, answers in wrong:
        pairs = []
        for known, got in zip(answers, runs, strict=True):
            if not _same_value(key, known, got, rule):
                break
            pairs.append((known, got))
        else:
            alike = sum(_same_value(other, known, got, rule) for known, got in pairs for other in known["ok"])
            best.append((alike, name, sentence))
    best.sort(key=lambda one: -one[0])
    if not best or (len(best) > 1 and best[1][0] == best[0][0]):
        return None, ""
    return best[0][1:]


def _run_kind(run: Any) -> str:
    if type(run) is dict:
        if run.keys() == {"ok"} and type(run["ok"]) is dict:
            return "ok"
        if run.keys() == {"error", "text"} and type(run["error"]) is str and type(run["text"]) is str:
            return "error"
    return "malformed"


def _is_unanswered(run: Any) -> bool:
    return _run_kind(run) == "error" and run["error"] == "NotImplementedError"


def _compare_runs(expected: dict, got: Any, rule: _Rule, example: str) -> Difference | None:
    """The difference of two results of ``run_probe``: at the example if it is there, else the first."""
    values = expected["ok"]
    shown = example if example in values else next(iter(values), "")
    wanted = show(values[shown]) if values else "nothing"
    kind = _run_kind(got)
    if kind == "error":
        return Difference(shown, wanted, _error_line(got), "it raises an error")
    if kind == "malformed":
        return Difference(shown, wanted, "nothing", "no answer came")
    for key in sorted(values, key=lambda key: key != shown):  # stable: the example, then the others in their order
        if key not in got["ok"]:
            return Difference(_words(key, 40), show(values[key]), "nothing", "no answer came")
        try:
            found = _compare(values[key], got["ok"][key], _words(key, 40), rule)
        except Exception as error:
            found = Difference(key, show(values[key]), "?", f"this answer cannot be read ({_type_name(error)})")
        if found:
            return found
    if len(got["ok"]) != len(values):
        return Difference(shown, wanted, show(got["ok"]), "there are values too many")
    return None


def _differing_key(expected: dict, got: Any, rule: _Rule, example: str) -> str | None:
    """The key of the value that ``_compare_runs`` shows, or None where no single value is shown."""
    if _run_kind(got) != "ok":
        return None
    for key in sorted(expected["ok"], key=lambda key: key != example):
        one = {"ok": {key: expected["ok"][key]}}
        if key in got["ok"] and _compare_runs(one, {"ok": {key: got["ok"][key]}}, rule, key):
            return str(key)
    return None


def _same_value(key: str, known: dict, got: Any, rule: _Rule) -> bool:
    """Whether an answer gives at one key what a known wrong one gives there."""
    if "ok" not in known or _run_kind(got) != "ok" or key not in known["ok"] or key not in got["ok"]:
        return False
    return _same_run({"ok": {key: known["ok"][key]}}, {"ok": {key: got["ok"][key]}}, rule)


def _same_run(known: dict, got: Any, rule: _Rule) -> bool:
    """Whether an answer is that of a known wrong one: equal values (NaN included), or the same error."""
    kind = _run_kind(got)
    if "ok" in known and kind == "ok":
        return _compare_runs(known, got, _Rule(rule.rtol, rule.atol, True), "") is None
    return "error" in known and kind == "error" and _error_line(known) == _error_line(got)


def _error_line(run: Mapping[str, Any]) -> str:
    """Type and first line of an error, without addresses of objects."""
    first = (str(run["text"]).strip().splitlines() or [""])[0]
    first = re.sub(r"0x[0-9a-fA-F]{6,}", "0x...", first[:400])
    return _words(f"{run['error']}: {first}" if first else str(run["error"]), 300)


def problems(assignment: Assignment, seeds: Sequence[int]) -> list[str]:
    """What is wrong with an assignment on these seeds, one line for each finding; runs the author's code here.

    A reference that fails or gives what cannot be compared, another right answer that is not taken for right, and a
    misconception that is taken for right or for another one. An empty list means that all is well.
    """
    return [line for item in assignment.items for line in _try_item(assignment, item, seeds)[2]]


_Runs = list[dict[str, Any]]


def _try_item(assignment: Assignment, item: Item, seeds: Sequence[int]) -> tuple[_Runs, dict[str, _Runs], list[str]]:
    """The reference's answers, those of each misconception by name, and what is wrong with them."""
    place = f"{assignment.name}, item {item.id!r}"
    rule = _Rule(item.rtol, item.atol, item.allow_nan)
    try:
        expected = expected_answers(assignment, item, seeds)
    except ValueError as error:
        return [], {}, [str(error)]
    for seed, run in zip(seeds, expected, strict=True):
        odd = _compare_runs(run, run, rule, item.example)
        if odd:
            return [], {}, [f"{place}, seed {seed}: the reference does not equal itself at {odd.path}: {odd.why}."]
    if item.example and any(item.example not in run["ok"] for run in expected):
        return [], {}, [f"{place}: expected the probe to give its example {item.example!r}, found no such key."]
    probe = load_probe(probe_source(item))
    wrong = {m.name: [run_probe(probe, m.wrong, seed) for seed in seeds] for m in item.misconceptions}

    def judge(got: _Runs) -> Verdict:
        return _judge(expected, got, rule, item.example, ((name, name, iter(runs)) for name, runs in wrong.items()))

    found = []
    for number, answer in enumerate(item.also_right, start=1):
        verdict = judge([run_probe(probe, answer, seed) for seed in seeds])
        if verdict.difference:
            odd, seed = verdict.difference, seeds[verdict.seed_index]
            found.append(
                f"{place}, seed {seed}: right answer {number} is not taken for right at {odd.path}: "
                f"expected {odd.expected}, got {odd.got} ({odd.why})."
            )
    for name, runs in wrong.items():
        verdict = judge(runs)
        if verdict.misconception != name:
            taken = "right" if verdict.right else repr(verdict.misconception or "unknown")
            found.append(f"{place}: the misconception {name!r} is taken for {taken}.")
    return expected, wrong, found


# ---- reading an assignment


@dataclass(frozen=True)
class _SourceCell:
    kind: str  # "code" or "markdown"
    text: str
    nbgrader: Mapping[str, Any]


def course_root() -> Path:
    """The checkout that holds the exercises: here or above, else the one that this package is installed from.

    Raises ``ValueError`` where there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "exercises" / "source").is_dir():
            return folder
    raise ValueError(
        f"expected a checkout of the course with exercises/source at {here} or above, found none. "
        "Run this inside a clone of the course."
    )


def load_assignment(name: str, root: Path | None = None) -> Assignment:
    """Read an assignment from ``exercises/source/NAME.py`` and ``exercises/checks/NAME.py`` below ``root``.

    Runs the checks file, which is the author's own. Raises ``ValueError`` with the cure for everything that is wrong.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"expected an assignment's name of letters, digits, - and _, got {name!r}.")
    folder = (root or course_root()) / "exercises"
    source, checks_file = folder / "source" / f"{name}.py", folder / "checks" / f"{name}.py"
    for path in (source, checks_file):
        if not path.is_file():
            have = ", ".join(sorted(p.stem for p in path.parent.glob("*.py"))) or "none"
            raise ValueError(f"expected the assignment {name!r} at {path}, found no such file. There are: {have}.")
    cells = _read_source(source)
    text = checks_file.read_text(encoding="utf-8")
    items = _load_items(checks_file, text)
    references = _match_cells(source.name, cells, items)
    setup = _author_setup(source.name, name, cells)
    decides = [FORMAT, name, setup, references, text, _package_version()]
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return Assignment(name, _title(source.name, cells), items, references, setup, digest)


def _package_version() -> str:
    from mmcourse import __version__

    return __version__


def _read_source(path: Path) -> list[_SourceCell]:
    import jupytext

    layout = {"extension": ".py", "format_name": "percent", "comment_magics": False}
    try:
        parsed = jupytext.reads(path.read_text(encoding="utf-8-sig"), fmt=layout)
    except Exception as error:  # jupytext, yaml and nbformat each raise kinds of their own
        raise ValueError(f"{path.name}: expected a jupytext py:percent file, but reading it says: {error}") from error
    cells = [_SourceCell(cell.cell_type, cell.source, cell.metadata.get("nbgrader") or {}) for cell in parsed.cells]
    seen: set[str] = set()
    for cell in cells:
        grade_id = cell.nbgrader.get("grade_id")
        if cell.nbgrader and (not isinstance(grade_id, str) or not NAME.fullmatch(grade_id)):
            raise ValueError(f"{path.name}: expected a grade_id of letters, digits, - and _, got {grade_id!r}.")
        if grade_id in seen:
            raise ValueError(f"{path.name}: the grade_id {grade_id!r} stands twice. Give each cell its own.")
        if grade_id:
            seen.add(grade_id)
    return cells


def _title(place: str, cells: Sequence[_SourceCell]) -> str:
    for cell in cells:
        found = re.search(r"^# (\S.*)$", cell.text, re.MULTILINE)
        if cell.kind == "markdown" and found:
            return found.group(1).strip()
    raise ValueError(f"{place}: expected a markdown cell with a '# ' title, found none.")


def _author_setup(place: str, name: str, cells: Sequence[_SourceCell]) -> str:
    """The setup cell without the lines that make ``check``: those are for the learner's notebook alone."""
    found = [cell for cell in cells if cell.nbgrader.get("grade_id") == "setup" and cell.kind == "code"]
    if not found:
        raise ValueError(f'{place}: expected a code cell with nbgrader={{"grade_id": "setup", ...}}, found none.')
    text = found[0].text
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"{place}: the setup cell has a syntax error in line {error.lineno}: {error.msg}.") from error
    lines, made = text.splitlines(), []
    for statement in tree.body:
        imported = isinstance(statement, ast.ImportFrom) and statement.module == "mmcourse.course.exercise"
        if imported or _makes_check(statement):
            made.append(ast.unparse(statement))
            lines[statement.lineno - 1 : statement.end_lineno] = [""] * (statement.end_lineno - statement.lineno + 1)  # type: ignore[operator]
    if f"check = checks({name!r})" not in made:
        raise ValueError(f'{place}: expected the line check = checks("{name}") in the setup cell, found none.')
    return "\n".join(line for line in lines if line.strip()) + "\n"


def _makes_check(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Call)
        and isinstance(statement.value.func, ast.Name)
        and statement.value.func.id == "checks"
    )


def _load_items(path: Path, text: str) -> tuple[Item, ...]:
    """Run a checks file and hold its ``ITEMS`` to the rules."""
    linecache.checkcache(str(path))
    module = types.ModuleType(f"mmcourse_checks_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and inspect look a class's module up
    try:
        exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        raise ValueError(f"checks/{path.name}: running it fails: {type(error).__name__}: {error}") from error
    items = getattr(module, "ITEMS", None)
    if not isinstance(items, (list, tuple)) or not items or not all(isinstance(item, Item) for item in items):
        raise ValueError(f"checks/{path.name}: expected ITEMS, a list of Item, got {type(items).__name__}.")
    for index, item in enumerate(items):
        _check_item(f"checks/{path.name}, item {item.id!r}", item)
        if item.id in [other.id for other in items[:index]]:
            raise ValueError(f"checks/{path.name}: the item {item.id!r} stands twice. Give each an id of its own.")
    return tuple(items)


def _check_item(place: str, item: Item) -> None:
    names = [known.name for known in item.misconceptions]
    rules = [
        (isinstance(item.id, str) and bool(NAME.fullmatch(item.id)), "an id of letters, digits, - and _"),
        (item.id != "setup" and not item.id.endswith(("-prompt", "-check")), "an id that no other cell has"),
        (type(item.points) is int and item.points > 0, "points that are a whole number above 0"),
        (item.answer.isidentifier(), "answer to be the name that the cell defines"),
        (len(set(names)) == len(names), "misconceptions with names of their own"),
        (all(known.sentence.strip() for known in item.misconceptions), "a sentence for every misconception"),
        (
            len({known.sentence for known in item.misconceptions}) == len(names),
            "misconceptions with their own sentence",
        ),
        (all(callable(known.wrong) for known in item.misconceptions), "every misconception to be callable"),
        (len(item.also_right) >= 2, "at least two other right answers in also_right"),
        (all(callable(answer) for answer in item.also_right), "every other right answer to be callable"),
        (0 <= item.rtol < 1 and 0 <= item.atol < math.inf, "rtol in [0, 1) and atol of at least 0"),
        (0 < item.seconds < math.inf, "seconds above 0"),
        (type(item.secret_probes) is int and item.secret_probes > 0, "secret_probes of at least 1"),
        (bool(item.public_seeds) and all(type(seed) is int for seed in item.public_seeds), "public_seeds, ints"),
    ]
    for holds, wanted in rules:
        if not holds:
            raise ValueError(f"{place}: expected {wanted}.")
    probe_source(item)


def _match_cells(place: str, cells: Sequence[_SourceCell], items: Sequence[Item]) -> dict[str, str]:
    """The reference of every item; holds prompt, answer and check cells to the items, both ways."""
    by_id = {cell.nbgrader["grade_id"]: cell for cell in cells if cell.nbgrader}
    known = {"setup"} | {item.id + tail for item in items for tail in ("-prompt", "", "-check")}
    for grade_id, cell in by_id.items():
        if grade_id not in known and (cell.nbgrader.get("grade") or cell.nbgrader.get("solution")):
            raise ValueError(f"{place}: the cell {grade_id!r} belongs to no item. Add the Item, or take it out.")
    references = {}
    for item in items:
        parts = {tail: by_id.get(item.id + tail) for tail in ("-prompt", "", "-check")}
        for tail, part in parts.items():
            if part is None or part.kind != ("markdown" if tail == "-prompt" else "code"):
                kind = "markdown" if tail == "-prompt" else "code"
                raise ValueError(f"{place}: expected a {kind} cell with the grade_id {item.id + tail!r}, found none.")
        answer, check_cell = parts[""], parts["-check"]
        assert answer is not None and check_cell is not None
        if not answer.nbgrader.get("solution") or answer.nbgrader.get("grade"):
            raise ValueError(f"{place}, cell {item.id!r}: expected nbgrader with solution true and grade false.")
        _check_check_cell(f"{place}, cell {item.id + '-check'!r}", check_cell, item)
        _check_reference(f"{place}, cell {item.id!r}", answer.text, item)
        references[item.id] = answer.text
    return references


def _check_check_cell(place: str, cell: _SourceCell, item: Item) -> None:
    if not cell.nbgrader.get("grade") or cell.nbgrader.get("solution") or not cell.nbgrader.get("locked"):
        raise ValueError(f"{place}: expected nbgrader with grade and locked true, solution false.")
    if cell.nbgrader.get("points") != item.points:
        raise ValueError(f"{place}: expected {item.points} points as the item has, got {cell.nbgrader.get('points')}.")
    if cell.text.strip() != f'check("{item.id}")':
        raise ValueError(f'{place}: expected check("{item.id}") alone, got {cell.text.strip()[:60]!r}.')


def _check_reference(place: str, text: str, item: Item) -> None:
    try:
        body = ast.parse(text).body
    except SyntaxError as error:
        raise ValueError(f"{place}: syntax error in line {error.lineno}: {error.msg}.") from error
    if item.answer not in [s.name for s in body if isinstance(s, (ast.FunctionDef, ast.ClassDef))]:
        raise ValueError(f"{place}: expected the cell to define {item.answer} by def or class.")


# ---- the public checks as data


def freeze(assignment: Assignment) -> dict[str, Any]:
    """The public checks as JSON data: what a learner's notebook needs, and no source of any answer, right or wrong.

    Floats are rounded to 6 significant digits (all digits where the item's tolerance asks for more), so that another
    machine gives the same data. Raises ``ValueError`` for what ``problems`` finds on the public seeds.
    """
    items = []
    for item in assignment.items:
        expected, wrong, found = _try_item(assignment, item, item.public_seeds)
        if found:
            raise ValueError("\n".join(found))
        digits = 6 if item.rtol >= 1e-5 else 17
        entry = {
            "id": item.id,
            "title": item.title,
            "points": item.points,
            "answer": item.answer,
            "probe": probe_source(item),
            "example": item.example,
            "seeds": list(item.public_seeds),
            "rtol": item.rtol,
            "atol": item.atol,
            "allow_nan": item.allow_nan,
            "seconds": item.seconds,
            "expected": _rounded(expected, digits),
            "misconceptions": [
                {"name": m.name, "sentence": m.sentence, "answers": _rounded(wrong[m.name], digits)}
                for m in item.misconceptions
            ],
        }
        items.append(entry)
    return {"format": FORMAT, "name": assignment.name, "title": assignment.title, "items": items}


def _rounded(value: Any, digits: int) -> Any:
    if type(value) is float and math.isfinite(value):
        return float(f"{value:.{digits - 1}e}")
    if type(value) is list:
        return [_rounded(inner, digits) for inner in value]
    if type(value) is dict:
        return {key: _rounded(inner, digits) for key, inner in value.items()}
    return value


def _frozen_item(frozen: Mapping[str, Any], item_id: str) -> Mapping[str, Any]:
    for entry in frozen["items"]:
        if entry["id"] == item_id:
            return entry
    raise ValueError(_unknown_id(item_id, [entry["id"] for entry in frozen["items"]]))


def _unknown_id(item_id: Any, ids: Iterable[str]) -> str:
    return f"expected one of {', '.join(ids)}; got {_words(str(item_id), 60)!r}."


# ---- what a notebook calls


def checks(name: str, folder: Path | None = None) -> Check:
    """The public checks of an assignment, for its notebook: ``check = checks("09_text2image")``, ``check("item")``.

    Reads ``NAME.checks.json`` from ``folder``, else from beside the notebook, ``exercises/`` there, or the course's own
    checkout. Raises ``FileNotFoundError`` that says where it looked, ``ValueError`` for a damaged file.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"expected an assignment's name of letters, digits, - and _, got {name!r}.")
    checkout = Path(__file__).resolve().parents[2] / "exercises"
    if folder is not None:
        places = [Path(folder)]
    else:
        places = [Path.cwd(), Path.cwd() / "exercises", *([checkout] if (checkout / "source").is_dir() else [])]
    for place in places:
        path = place / f"{name}.checks.json"
        if path.is_file():
            return Check(_read_frozen(path))
    looked = ", ".join(str(place) for place in places)
    raise FileNotFoundError(
        f"expected {name}.checks.json, which came with the notebook; looked in {looked}. Put it beside the notebook."
    )


def _read_frozen(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        known, ids = data["format"], [entry["id"] for entry in data["items"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path.name} is damaged ({type(error).__name__}). Get it again, with the notebook."
        ) from error
    if known != FORMAT or not ids:
        raise ValueError(
            f"{path.name}: expected format {FORMAT}, got {known!r}. Use the mmcourse release it came with."
        )
    return data


class Check:
    """The public checks of one assignment. Call it with an item's id; ``about(id)`` says what is asked for."""

    def __init__(self, frozen: Mapping[str, Any]) -> None:
        self.frozen = frozen
        self.ids = [entry["id"] for entry in frozen["items"]]

    def __repr__(self) -> str:
        return f"checks of {self.frozen['name']}: {', '.join(self.ids)}"

    def __call__(self, item_id: str) -> Result:
        """Check the answer that the caller's notebook has defined, on the public seeds.

        Returns a ``Result`` to be displayed, and raises for no mistake in an answer; under nbgrader, whose tests are
        cells that fail, an answer that is not right raises ``AssertionError``.
        """
        result = self._judge(item_id, sys._getframe(1).f_globals)
        if os.environ.get("NBGRADER_EXECUTION") and not result.right:
            raise AssertionError(repr(result))
        return result

    def about(self, item_id: str) -> Result:
        """What an item asks for: the name to define, its points, and what earns them."""
        if item_id not in self.ids:
            return self._unknown(item_id)
        entry = _frozen_item(self.frozen, item_id)
        rows = [("define", entry["answer"]), ("earned by", _threshold(entry))]
        return Result(f"{item_id}: {entry['title']}", "neutral", tuple(rows))

    def _unknown(self, item_id: Any) -> Result:
        rows = (("there are", ", ".join(self.ids)),)
        return Result(f"there is no exercise {_words(str(item_id), 60)!r}", "unknown", rows)

    def _judge(self, item_id: str, space: Mapping[str, Any]) -> Result:
        if item_id not in self.ids:
            return self._unknown(item_id)
        entry = _frozen_item(self.frozen, item_id)
        threshold = ("earned by", _threshold(entry))
        if entry["answer"] not in space:
            why = f"{entry['answer']} is not defined. Run the cell above, then this one."
            return Result(f"{item_id}: not answered yet", "unanswered", (("why", why), threshold))
        probe = load_probe(entry["probe"])
        began = time.perf_counter()
        with _kept_randomness():
            got = [run_probe(probe, space[entry["answer"]], seed) for seed in entry["seeds"]]
        seconds = time.perf_counter() - began
        verdict = diagnose(self.frozen, item_id, entry["seeds"], got)
        rows = _verdict_rows(entry, verdict, got)
        if not verdict.right and _run_kind(got[verdict.seed_index]) == "error":
            with _kept_randomness():
                where = _where(probe, space[entry["answer"]], entry["seeds"][verdict.seed_index])
            rows.insert(-1, ("where", where))
        rows.append(threshold)
        if seconds > entry["seconds"]:
            rows.append(("slow", f"it took {seconds:.1f} s; the grader stops after {entry['seconds']:g} s"))
        if verdict.right:
            return Result(f"{item_id}: right", "right", tuple(rows))
        if verdict.sentence == UNANSWERED:
            why = f"{entry['answer']} still raises NotImplementedError."
            return Result(f"{item_id}: not answered yet", "unanswered", (("why", why), threshold))
        return Result(f"{item_id}: not yet right", "wrong", tuple(rows))


@dataclass(frozen=True, repr=False)
class Result:
    """What a check says: a headline and rows of label and text. Prints plainly, and as a box in a notebook."""

    headline: str
    state: str  # right, wrong, unanswered, unknown, neutral
    rows: tuple[tuple[str, str], ...]

    @property
    def right(self) -> bool:
        """Whether the answer passed the public checks."""
        return self.state == "right"

    def __repr__(self) -> str:
        width = max(len(label) for label, _ in self.rows)
        rows = ((label, text.replace("\n", "\n" + " " * (width + 4))) for label, text in self.rows)
        return "\n".join([self.headline, *(f"  {label:<{width}}  {text}" for label, text in rows)])

    def _repr_html_(self) -> str:
        colour = {"right": "#2e9d4f", "wrong": "#d9772b"}.get(self.state, "#8a8f98")
        cells = "".join(
            f'<div style="opacity:0.75">{html.escape(label)}</div>'
            f'<div style="white-space:pre-wrap;overflow-wrap:anywhere">{html.escape(text)}</div>'
            for label, text in self.rows
        )
        return (
            f'<div style="border-left:4px solid {colour};padding:0.3em 0.9em;margin:0.3em 0;color:inherit">'
            f'<div style="font-weight:bold;margin-bottom:0.2em">{html.escape(self.headline)}</div>'
            '<div style="display:grid;grid-template-columns:max-content minmax(0,1fr);gap:0.15em 1em">'
            f"{cells}</div></div>"
        )


def _threshold(entry: Mapping[str, Any]) -> str:
    points = f"{entry['points']} point{'s' if entry['points'] != 1 else ''}"
    count = len(entry["seeds"])
    says = f"{points}, for an answer that is right on every set of inputs ({count} here; the grader draws others)"
    if not entry["rtol"] or not any(map(_has_float, entry["expected"])):
        return says
    return f"{says}; numbers may differ by one part in {round(1 / entry['rtol']):,}"


def _has_float(value: Any) -> bool:
    """Whether there is a number in encoded data that may differ by the tolerance."""
    if type(value) is dict:
        if _kind(value) == "tensor":
            return value["tensor"] in ("float", "complex")
        return _kind(value) == "float" or any(map(_has_float, value.values()))
    return type(value) is float or (type(value) is list and any(map(_has_float, value)))


def _where(probe: Callable[[Any, int], Mapping[str, Any]], answer: Any, seed: int) -> str:
    """The last line of an answer's own cell that an error went through. Calls the probe again; never raises."""
    try:
        try:
            probe(answer, seed)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            frames = [(f.f_code.co_filename, line) for f, line in traceback.walk_tb(error.__traceback__)]
        else:
            return "nowhere, when it was called a second time; does it depend on anything but its inputs?"
        file = _code_file(answer)
        lines = [line for name, line in frames if name == file]
        if not lines:
            return "not in a line of its own; look at the arguments that it takes and at what it returns"
        text = _words(linecache.getline(file, lines[-1]).strip(), 120)
        return f"line {lines[-1]} of its cell" + (f": {text}" if text else "")
    except KeyboardInterrupt:
        raise
    except BaseException:
        return "it cannot be told"


def _code_file(answer: Any) -> str:
    """The file name that the code of a function, or of a class's methods, was compiled with."""
    if isinstance(answer, type):
        answer = next(value for value in vars(answer).values() if isinstance(value, types.FunctionType))
    return str(answer.__code__.co_filename)


def _verdict_rows(entry: Mapping[str, Any], verdict: Verdict, got: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What came, what was expected, why it differs, and the sentence that helps."""
    count = len(entry["seeds"])
    if verdict.right or verdict.difference is None:
        return [("checked", f"right on {count} of {count} sets of inputs")]
    found, index = verdict.difference, verdict.seed_index
    values, came = entry["expected"][index]["ok"], got[index].get("ok", {})
    tops = [key for key in values if re.fullmatch(re.escape(_words(key, 40)) + r"([.\[].*)?", found.path, re.DOTALL)]
    key = tops[0] if tops else ""
    mine = lay_out(came[key]) if key in came else found.got
    theirs = lay_out(values[key]) if key else found.expected
    name = f" ({_words(key, 40)})" if key else ""
    where = f"{found.path}: " if found.path != key else ""
    rows = [("hint", verdict.sentence)] if verdict.sentence else []
    rows += [(f"your answer{name}", mine), (f"expected{name}", theirs), ("difference", where + found.why)]
    right = round(verdict.share * count)
    shown = {0: "the first", 1: "the second"}.get(index, f"number {index + 1}")
    return [*rows, ("checked", f"right on {right} of {count} sets of inputs, shown: {shown}")]


@contextlib.contextmanager
def _kept_randomness() -> Iterator[None]:
    """Leaves the global random states of Python, numpy and torch as they were: a check draws nothing from them."""
    torch, np = sys.modules.get("torch"), sys.modules.get("numpy")
    states = (random.getstate(), torch and torch.get_rng_state(), np and np.random.get_state())
    try:
        yield
    finally:
        random.setstate(states[0])
        if torch:
            torch.set_rng_state(states[1])
        if np:
            np.random.set_state(states[2])
