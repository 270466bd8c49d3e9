"""Answers become plain data whatever they are; only equal data are equal; wrong answers get their own sentence."""

from __future__ import annotations

import ast
import collections
import html.parser
import itertools
import json
import math
import os
import random
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT

from mmcourse.course import exercise as e

RULE = {"rtol": 1e-4, "atol": 1e-5}


def head(grade_id: str, **more: object) -> str:
    base = {"schema_version": 3, "grade_id": grade_id, "grade": False, "solution": False, "locked": True, "task": False}
    return f'id="{grade_id}" nbgrader={json.dumps(base | more)}'


SOURCE = f"""\
# %% [markdown] id="title"
# # Small things
# %% {head("setup")}
import torch
from mmcourse.course.exercise import checks

check = checks("small")
# %% [markdown] {head("roll-prompt")}
# ## Roll. 2 points.
# %% {head("roll", solution=True, locked=False)}
def roll(x):
    \"\"\"The first row goes to the end.\"\"\"
    ### BEGIN SOLUTION
    return torch.cat([x[1:], x[:1]])
    ### END SOLUTION
# %% {head("roll-check", grade=True, points=2, cell_type="code")}
check("roll")
"""

CHECKS = """\
import torch
from mmcourse.course.exercise import Item, Misconception


def probe(answer, seed: int) -> dict[str, torch.Tensor]:
    import torch

    x = torch.randn(5, generator=torch.Generator().manual_seed(seed))
    return {"size": len(answer(x)), "rolled": answer(x)}


def halved(x):
    raise ValueError(f"no <b>{x.numel()}</b>\\nat {x!r}")


ITEMS = [
    Item(
        "roll",
        "Roll it",
        2,
        "roll",
        probe,
        (
            Misconception("identity", lambda x: x, "Nothing has moved & <i>stayed</i>."),
            Misconception("nan", lambda x: x * float("nan"), "This is no number."),
            Misconception("raises", halved, "It needs no halves."),
        ),
        (lambda x: x.roll(-1), lambda x: torch.stack([*x[1:], x[0]])),
        example="rolled",
    )
]
"""


def write(root: Path, *, source: str = SOURCE, checks: str = CHECKS, name: str = "small") -> Path:
    for folder, text in (("source", source), ("checks", checks)):
        place = root / "exercises" / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.py").write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def small(tmp_path: Path) -> e.Assignment:
    return e.load_assignment("small", write(tmp_path))


# ---- encode: plain values


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(10**18) + 1, 1.5, -0.0, "text", "画", [], [1, [2.0, "x"], None], {}, {"a": {"b": [True]}}],
)
def test_plain_values_stand_for_themselves_also_after_json(value):
    assert json.loads(json.dumps(e.encode(value))) == value
    assert e.compare(e.encode(value), json.loads(json.dumps(e.encode(value))), rtol=0, atol=0) is None


def test_what_json_has_no_word_for_is_spelt_out():
    assert e.encode((1, (2,))) == [1, [2]]
    assert [e.encode(x) for x in (math.nan, math.inf, -math.inf)] == [{"float": w} for w in ("nan", "inf", "-inf")]
    assert e.encode({"unknown": 1}) == {"dict": {"unknown": 1}}
    assert e.encode({"tensor": "int", "shape": [1], "values": [1]}) != e.encode(torch.tensor([1]))


@pytest.mark.parametrize(
    ("value", "kind", "shape", "values"),
    [
        (torch.tensor([[1.5, 2.0]]), "float", [1, 2], [1.5, 2.0]),
        (torch.tensor([1, 2]), "int", [2], [1, 2]),
        (torch.tensor(True), "bool", [], [True]),
        (torch.tensor([1 + 2j]), "complex", [1], [1.0, 2.0]),
        (torch.tensor([1 + 2j]).conj(), "complex", [1], [1.0, -2.0]),
        (torch.tensor([1.0, math.nan, math.inf, -math.inf]), "float", [4], [1.0, "nan", "inf", "-inf"]),
        (torch.ones(2, dtype=torch.bfloat16), "float", [2], [1.0, 1.0]),
        (torch.ones(2, requires_grad=True) * 2, "float", [2], [2.0, 2.0]),
        (torch.nn.Parameter(torch.ones(1)), "float", [1], [1.0]),
        (torch.arange(6).view(2, 3).t(), "int", [3, 2], [0, 3, 1, 4, 2, 5]),
        (torch.zeros(0, 3), "float", [0, 3], []),
        (np.array([[1, 2]], dtype=np.uint8), "int", [1, 2], [1, 2]),
        (np.array([1.5], dtype=np.float32), "float", [1], [1.5]),
        (np.array([1 - 2j]), "complex", [1], [1.0, -2.0]),
        (np.float64(1.5), "float", [], [1.5]),
        (np.bool_(True), "bool", [], [True]),
    ],
)
def test_tensors_and_arrays_become_kind_shape_and_flat_values(value, kind, shape, values):
    encoded = e.encode(value)
    assert encoded == {"tensor": kind, "shape": shape, "values": values}
    assert all(type(a) is type(b) for a, b in zip(encoded["values"], values, strict=True))
    assert e.compare(encoded, json.loads(json.dumps(encoded)), rtol=0, atol=0, allow_nan=True) is None


# ---- encode: hostile values


CALLED: list[str] = []  # by whom a method was called that ought not to be


class Liar:
    """Says that it is a number, equal to everything."""

    __class__ = float  # type: ignore[assignment]

    def __eq__(self, other):
        CALLED.append("Liar")
        return True

    __hash__ = None

    def __float__(self):
        CALLED.append("Liar")
        return 1.0


class MetaLiar(type):
    __name__ = "float"  # type: ignore[assignment]

    def __eq__(cls, other):
        CALLED.append("MetaLiar")
        return True

    def __hash__(cls):
        CALLED.append("MetaLiar")
        return hash(np.float64)


class Disguised(metaclass=MetaLiar):
    def __array__(self, *_, **__):
        CALLED.append("Disguised")
        return np.ones(1)


class Int(int):
    def __abs__(self):
        CALLED.append("Int")
        return 1


class Float(float):
    def __float__(self):
        CALLED.append("Float")
        return 1.0


class Text(str):
    def __len__(self):
        CALLED.append("Text")
        return 1


class Keys(dict):
    def items(self):
        CALLED.append("Keys")
        return {"a": 1}.items()


class Rows(list):
    def __iter__(self):
        CALLED.append("Rows")
        return iter([1])


class Sly(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        CALLED.append("Sly")
        return super().__torch_function__(func, types, args, kwargs or {})


class SlyArray(np.ndarray):
    def reshape(self, *_, **__):
        CALLED.append("SlyArray")
        return np.ones(2)


def generator():
    CALLED.append("generator")
    yield 1


HOSTILE = [
    (Liar(), "Liar"),
    (Disguised(), "Disguised"),
    (Int(1), "Int"),
    (Float(1), "Float"),
    (Text("a"), "Text"),
    (Keys(a=1), "Keys"),
    (Rows([1]), "Rows"),
    (torch.ones(2).as_subclass(Sly), "Sly"),
    (np.ones(2).view(SlyArray), "SlyArray"),
    (collections.OrderedDict(a=1), "OrderedDict"),
    (generator(), "generator"),
    (b"bytes", "bytes"),
    ({1, 2}, "set"),
    (1j, "complex"),
    (lambda: 1, "function"),
    (float, "type"),
    (np.array([Liar()], dtype=object), "array of 'O' values"),
    (np.array(["text"]), "array of 'U' values"),
    (np.zeros(1, dtype=[("a", float)]), "array of 'V' values"),
    (np.datetime64("2020-01-01"), "datetime64"),
    (torch.ones(2, device="meta"), "meta tensor"),
    (torch.ones(10**12, device="meta"), "meta tensor"),
    (torch.eye(2).to_sparse(), "tensor that is not dense"),
    (10**18, "int of 1e18 or more"),
    (-(10**400), "int of 1e18 or more"),
    (torch.tensor([2**62]), "ints of 1e18 or more"),
    ("x" * 10_001, "str of 10001 characters, more than 10000"),
    ("\ud800", "str with a lone surrogate"),
    ({1: 2}, "dict with a key of type int"),
    ({Text("a"): 2}, "dict with a key of type Text"),
    ({"\udfff": 2}, "dict with an odd key"),
    (type("N" * 500, (), {})(), "N" * 60),
    (torch.ones(20_001), "too large"),
    (torch.ones(1).expand(10**12), "too large"),
    (np.broadcast_to(np.float32(1), (10**6, 10**6)), "too large"),
    (torch.ones([1] * 21), "too large"),
    ([0] * 20_001, "too large"),
    (["x" * 9_000] * 120, "too large"),
    (["画" * 9_000] * 20, "too large"),
    ([[]] * 300_000, "too large"),
    ([b""] * 40_000, "too large"),
]


@pytest.mark.parametrize("index", range(len(HOSTILE)), ids=[name[:20] for _, name in HOSTILE])
def test_everything_else_is_unknown_by_its_true_name_and_none_of_its_code_runs(index):
    value, name = HOSTILE[index]
    CALLED.clear()
    encoded = e.encode(value)
    assert CALLED == []
    assert encoded == {"unknown": name}
    assert e.compare(encoded, encoded, **RULE) is not None, "what is unknown equals nothing"


def test_depth_counts_and_a_list_within_itself_ends():
    deep: list = []
    for _ in range(20):
        deep = [deep]
    assert e.encode(deep) == deep
    assert e.encode([deep]) == {"unknown": "too large"}
    own: list = []
    own.append(own)
    pair: list = []
    pair += [pair, pair]
    mapping: dict = {}
    mapping["me"] = mapping
    abyss: list = []
    for _ in range(100_000):
        abyss = [abyss]
    for value in (own, pair, mapping, abyss):
        assert e.encode(value) == {"unknown": "too large"}
    while abyss:
        abyss = abyss[0]


def test_an_attribute_hung_on_a_tensor_is_not_asked():
    x = torch.ones(2)
    for name in ("detach", "tolist", "cpu", "to", "numel", "reshape"):
        setattr(x, name, lambda *_, **__: CALLED.append("tensor") or torch.zeros(2))
    CALLED.clear()
    assert e.encode(x) == {"tensor": "float", "shape": [2], "values": [1.0, 1.0]}


@pytest.mark.parametrize(
    "value",
    [
        [0.1234567890123456789e-300] * 20_000,
        torch.rand(20_000, dtype=torch.float64) * 1e-300,
        ["\x00" * 9_000] * 18,
        [math.nan] * 20_000,
        [{"unknown": 1}] * 20_000,
        {f"{i:0>50}": torch.zeros([1] * 20) for i in range(1_500)},
    ],
)
def test_no_result_is_over_a_megabyte(value):
    assert len(json.dumps(e.encode(value))) <= 1_000_000
    assert len(json.dumps(e.run_probe(lambda a, s: {"x": value, "y": value, "z": value}, None, 0))) <= 1_000_000


# ---- run_probe


def test_a_probe_gives_its_encoded_values_or_the_error_of_the_answer():
    assert e.run_probe(lambda answer, seed: {"x": answer(seed)}, lambda s: s + 1, 4) == {"ok": {"x": 5}}

    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    def raiser(error):
        def answer(_):
            raise error

        return answer

    def gives(error):
        return e.run_probe(lambda answer, seed: {"x": answer(seed)}, raiser(error), 0)

    assert gives(ValueError("a\nb")) == {"error": "ValueError", "text": "a\nb"}
    assert gives(SystemExit(0)) == {"error": "SystemExit", "text": "0"}
    assert gives(GeneratorExit())["error"] == "GeneratorExit"
    assert gives(Odd())["text"] == "(its message cannot be read)"
    assert len(gives(ValueError("x" * 10**6))["text"]) == 500
    assert gives(ValueError("\ud800"))["text"] == "\\ud800"
    assert gives(ValueError(Text("plain")))["text"] == "plain"
    with pytest.raises(KeyboardInterrupt):
        gives(KeyboardInterrupt())


def test_a_probe_that_gives_no_dict_of_texts_is_an_error_and_one_large_value_spoils_no_other():
    for wrong in (None, [1], Keys(a=1), {1: 2}):
        assert e.run_probe(lambda answer, seed, wrong=wrong: wrong, None, 0)["error"] == "TypeError"
    run = e.run_probe(lambda answer, seed: {"a": 1, "b": torch.ones(30_000), "c": 2}, None, 0)
    assert run == {"ok": {"a": 1, "b": {"unknown": "too large"}, "c": 2}}


# ---- compare

SOME = [None, True, False, 0, 1, 0.0, 1.0, "", "1", [], [1], {}, {"a": 1}]
SOME += [torch.tensor(1), torch.tensor(1.0), torch.tensor([1.0]), torch.tensor(True), torch.tensor(1 + 0j)]


def test_values_of_different_types_are_different():
    for i, one in enumerate(SOME):
        for j, other in enumerate(SOME):
            assert (e.compare(e.encode(one), e.encode(other), **RULE) is None) == (i == j), (one, other)


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        (1.0, 1.0 + 1.0e-4, True),
        (1.0, 1.0 + 1.2e-4, False),
        (0.0, 0.9e-5, True),
        (0.0, 1.1e-5, False),
        (-100.0, -100.009, True),
        (-100.0, -100.011, False),
        (math.inf, math.inf, True),
        (math.inf, -math.inf, False),
        (math.inf, 1e308, False),
        (1e308, math.inf, False),
        (math.nan, math.nan, False),
        (1.0, math.nan, False),
        (1e308, -1e308, False),
    ],
)
def test_floats_may_differ_by_the_tolerance_alone_and_tensors_as_their_values(expected, got, same):
    assert (e.compare(e.encode(expected), e.encode(got), **RULE) is None) == same
    tensors = [torch.tensor([0.5, x], dtype=torch.float64) for x in (expected, got)]
    assert (e.compare(*map(e.encode, tensors), **RULE) is None) == same


def test_nan_equals_nan_only_where_it_is_allowed():
    nan, tensor = e.encode(math.nan), e.encode(torch.tensor([math.nan]))
    for one in (nan, tensor):
        assert e.compare(one, one, **RULE) is not None
        assert e.compare(one, one, **RULE, allow_nan=True) is None
    assert e.compare(nan, 1.0, **RULE, allow_nan=True) is not None
    assert e.compare(1.0, nan, **RULE, allow_nan=True) is not None


def test_whole_numbers_and_truth_have_no_tolerance():
    a, b = torch.tensor([10**9, 5]), torch.tensor([10**9 + 1, 5])
    assert e.compare(e.encode(a), e.encode(b), rtol=1, atol=10) is not None
    assert e.compare(10**9, 10**9 + 1, rtol=1, atol=10) is not None


@pytest.mark.parametrize(
    ("expected", "got", "path", "why"),
    [
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "a[1].b", "expected 2, got 3"),
        (["a", "b"], ["a", "c"], "[1]", "expected 'b', got 'c'"),
        ([1, 2], [1], "", "expected 2 entries, got 1"),
        ({"a": 1}, {}, "a", "missing"),
        ({"a": 1}, {"a": 1, "b": 2}, "", "too many: b"),
        (1.0, 1, "", "expected a number (float), got a whole number (int)"),
        (1.0, torch.tensor(1.0), "", "use .item()"),
        (torch.ones(2, 3), torch.ones(3, 2), "", "expected shape (2, 3), got (3, 2)"),
        (torch.ones(2), torch.ones(2).int(), "", "expected float values, got int values"),
        (torch.zeros(2, 2), torch.tensor([[0.0, 0], [1, 0]]), "", "1 of 4 values differ, the first at (1, 0)"),
        (torch.zeros(2) + 0j, torch.tensor([0, 1j]), "", "1 of 2 values differ, the first at (1,)"),
        (torch.zeros(()), torch.ones(()), "", "1 of 1 values differ, the first: expected 0, got 1"),
        (1.0, generator(), "", "cannot be compared: generator"),
        (math.nan, math.nan, "", "it is not a number (NaN)"),
        (1.0, math.inf, "", "it is infinite"),
        (math.inf, 1.0, "", "expected inf, got 1"),
        (1.0, 1.5, "", "off by 0.5"),
    ],
)
def test_a_difference_says_where_and_why(expected, got, path, why):
    found = e.compare(e.encode(expected), e.encode(got), **RULE)
    assert found is not None and found.path == path and why in found.why


BENT = [
    {"tensor": "float", "shape": [2], "values": [1.0]},
    {"tensor": "float", "shape": [2], "values": [1.0, True]},
    {"tensor": "float", "shape": [2], "values": [1.0, 1]},
    {"tensor": "float", "shape": [2], "values": [1.0, "NaN"]},
    {"tensor": "float", "shape": [2], "values": [1.0, None]},
    {"tensor": "float", "shape": [2], "values": [1.0, [1.0]]},
    {"tensor": "float", "shape": [2], "values": {"0": 1.0, "1": 1.0}},
    {"tensor": "float", "shape": [2.0], "values": [1.0, 1.0]},
    {"tensor": "float", "shape": [True, 2], "values": [1.0, 1.0]},
    {"tensor": "float", "shape": [-1, -2], "values": [1.0, 1.0]},
    {"tensor": "float", "shape": 2, "values": [1.0, 1.0]},
    {"tensor": "float", "shape": [2], "values": "11"},
    {"tensor": "float", "shape": [10**300], "values": [1.0, 1.0]},
    {"tensor": "float", "shape": [10**17] * 20, "values": []},
    {"tensor": "float", "shape": [1] * 10_000, "values": [1.0]},
    {"tensor": ["float"], "shape": [2], "values": [1.0, 1.0]},
    {"tensor": "object", "shape": [2], "values": [1.0, 1.0]},
    {"tensor": "float", "shape": [2]},
    {"tensor": "float", "shape": [2], "values": [1.0, 1.0], "more": 1},
    {"tensor": "int", "shape": [2], "values": [1, 10**5000]},
    {"tensor": "int", "shape": [2], "values": [1.0, 1.0]},
    {"tensor": "int", "shape": [2], "values": [True, True]},
    {"tensor": "bool", "shape": [2], "values": [1, 1]},
    {"tensor": "complex", "shape": [2], "values": [1.0, 1.0]},
    {"float": 1.0},
    {"float": "1.0"},
    {"float": ["nan"]},
    {"float": "nan", "x": 1},
    {"unknown": 5},
    {"unknown": {"unknown": "x"}},
    {"dict": [1]},
    {"dict": {"a": 1}, "b": 2},
    {"ok": {"a": 1}},
    10**5000,
    [10**5000],
    "\ud800",
    "x" * 10**6,
    [[[[[]]]]] * 1000,
    {"\u202e": 1},
    {"a" * 10**6: 1},
    {str(i): i for i in range(50_000)},
    {1: 2},
]


@pytest.mark.parametrize("index", range(len(BENT)))
def test_bent_data_are_different_from_everything_and_break_nothing(index):
    got = BENT[index]
    wanted = [e.encode(x) for x in [*SOME, torch.ones(2), torch.ones(2).int(), torch.ones(2).bool(), math.nan]]
    for expected in wanted:
        found = e.compare(expected, got, **RULE, allow_nan=True)
        assert found is not None
        for text in (found.path, found.expected, found.got, found.why):
            assert text.isprintable() and len(text) <= 400


def test_a_tower_of_lists_is_a_difference(small):
    tower: object = 1
    for _ in range(50_000):
        tower = [tower]
    for expected in (1, [1], [[1]], {"a": 1}):
        assert e.compare(expected, tower, **RULE) is not None
    assert e.compare({"a": [[1]]}, {"a": tower}, **RULE) is not None
    assert not e.diagnose(small, "roll", [1], [{"ok": {"size": tower, "rolled": tower}}]).right
    while isinstance(tower, list):
        tower = tower[0]


def test_json_numbers_that_overflow_are_inf_and_not_more():
    assert e.compare({"float": "inf"}, json.loads("1e999"), **RULE) is None
    assert e.compare(1e308, json.loads("1e999"), **RULE) is not None
    assert e.compare({"float": "nan"}, json.loads("NaN"), **RULE) is not None


# ---- show


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (0.123456789, "0.123457"),
        ("a\nb", "'a\\nb'"),
        ([1, {"a": True}], "[1, {'a': True}]"),
        (torch.tensor([[1.0, 2.5], [3, 4]]), "float tensor (2, 2): [[1, 2.5], [3, 4]]"),
        (torch.tensor([1 + 2j]), "complex tensor (1,): [1+2j]"),
        (torch.zeros(0, 2), "float tensor (0, 2)"),
        (torch.tensor(3), "int tensor (): 3"),
        (b"", "(bytes)"),
        ({"unknown": 1}, "{'unknown': 1}"),
    ],
)
def test_a_value_is_shown_in_short(value, text):
    assert e.show(e.encode(value)) == text


def test_what_is_shown_is_bounded_and_printable():
    for value in (torch.rand(100, 100), "\x1b[31m\u202e" * 1000, ["<b>"] * 5000, {"k" * 5000: 1}):
        shown = e.show(e.encode(value))
        assert len(shown) <= 300 and shown.isprintable()
    assert e.show(torch.ones(2)) == "(not readable)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["a ring", "a star"], "['a ring',\n 'a star']"),
        ({"a": [1, 2], "tensor": "x"}, "{'a': [1, 2],\n 'tensor': 'x'}"),
        (torch.tensor([[1.0, 2.5], [3, 4]]), "float tensor (2, 2):\n[[1, 2.5],\n [3, 4]]"),
        ([1, 2], "[1, 2]"),
        (torch.tensor([1, 2]), "int tensor (2,): [1, 2]"),
        ("text], [", "'text], ['"),
    ],
)
def test_entries_and_rows_are_laid_out_one_a_line(value, text):
    assert e.lay_out(e.encode(value)) == text


def test_what_is_laid_out_is_bounded():
    for value in (torch.rand(100, 100), ["x" * 9000] * 100, {"k" * 5000: 1, "a": "b"}, [[1, 2]] * 1000):
        assert len(e.lay_out(e.encode(value))) <= 600
    assert e.lay_out(torch.ones(2)) == "(not readable)"


# ---- probe_source


def item(probe, **more) -> e.Item:
    return e.Item("x", "X", 1, "x", probe, (), (abs, abs), **more)


def test_the_probes_text_runs_in_an_empty_namespace(small):
    text = e.probe_source(small.items[0])
    assert text.startswith("def probe(answer, seed):\n    import torch\n")
    probe = e.load_probe(text)
    assert probe.__globals__.keys() == {"__name__", "__builtins__", "probe"}
    assert e.run_probe(probe, lambda x: x, 3) == e.run_probe(small.items[0].probe, lambda x: x, 3)


def test_a_probes_text_is_looked_up_once(monkeypatch):
    def probe(answer, seed):
        return {"x": answer(seed)}

    first = e.probe_source(item(probe))
    monkeypatch.setattr(e.inspect, "getsource", None)
    assert e.probe_source(item(probe)) == first


def test_a_nested_probe_is_dedented_and_keeps_its_comments_and_inner_functions():
    def probe(answer, seed: int, *, times: int = 2) -> dict[str, list[int]]:
        """What it gives."""

        # a word on why
        def again(n: int) -> int:
            return probe_depth(n - 1) if n else 0

        def probe_depth(n):
            return n

        return {"x": [answer(again(i)) for i in range(times)]}

    text = e.probe_source(item(probe))
    assert text.startswith("def probe(answer, seed, *, times=2):\n") and "# a word on why" in text
    assert e.run_probe(e.load_probe(text), lambda x: x, 0) == {"ok": {"x": [0, 0]}}


def test_a_probe_that_leans_on_its_file_is_refused_by_name():
    def probe(answer, seed):
        return {"x": textwrap.dedent(str(torch.ones(answer(seed))))}

    with pytest.raises(ValueError, match="uses textwrap, torch, which its own text does not define"):
        e.probe_source(item(probe))

    def hinted(answer, seed: int):
        def inner(x: Path) -> int:
            return answer(x)

        return {"x": inner(seed)}

    with pytest.raises(ValueError, match="uses Path, which"):
        e.probe_source(item(hinted))
    for wrong in (lambda answer, seed: {"x": 1}, len, Liar):
        with pytest.raises(ValueError, match="expected a function made by def"):
            e.probe_source(item(wrong))
    made: dict = {}
    exec("def probe(answer, seed):\n    return {}\n", made)
    with pytest.raises(ValueError, match="source cannot be found"):
        e.probe_source(item(made["probe"]))


# ---- load_assignment


def test_an_assignment_is_read(small):
    assert (small.name, small.title, [i.id for i in small.items]) == ("small", "Small things", ["roll"])
    assert small.setup == "import torch\n"
    assert "return torch.cat([x[1:], x[:1]])" in small.references["roll"]
    assert re.fullmatch(r"[0-9a-f]{64}", small.digest)
    assert e.problems(small, range(1, 31)) == []
    with pytest.raises(ValueError, match="expected one of roll; got 'rol'"):
        small.item("rol")


def test_the_digest_follows_what_decides_a_grade_and_nothing_else(tmp_path):
    def digest(source=SOURCE, checks=CHECKS):
        return e.load_assignment("small", write(tmp_path, source=source, checks=checks)).digest

    first = digest()
    assert digest() == first
    assert digest(source=SOURCE.replace("# # Small things", "# # Other words")) == first
    assert digest(source=SOURCE.replace("x[1:], x[:1]", "x[1:], x[0:1]")) != first
    assert digest(source=SOURCE.replace("import torch\n", "import torch, math\n", 1)) != first
    assert digest(checks=CHECKS.replace("randn(5", "randn(6")) != first


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"points": 2', '"points": 3', "expected 2 points as the item has, got 3"),
        ('check("roll")', 'check("rol")', 'expected check("roll") alone'),
        ('check = checks("small")', 'check = checks("large")', 'check = checks("small")'),
        ('"grade_id": "setup"', '"grade_id": "start"', "grade_id"),
        ('"grade_id": "roll-prompt"', '"grade_id": "rolled"', "'roll-prompt', found none"),
        ('"grade_id": "roll"', '"grade_id": "rolls"', "'rolls' belongs to no item"),
        ('"grade_id": "roll"', '"grade_id": "roll-check"', "stands twice"),
        ('"grade_id": "roll"', '"grade_id": "a b"', "letters, digits"),
        ('"solution": true', '"solution": false', "solution true"),
        ("def roll", "def rolled", "define roll by def or class"),
        ("def roll(x):", "def roll(x:", "syntax error"),
        ("# # Small", "# Small", "'# ' title"),
        ('"grade": true', '"grade": false', "grade and locked true"),
    ],
)
def test_what_is_wrong_in_a_source_is_named(tmp_path, old, new, words):
    assert old in SOURCE
    with pytest.raises(ValueError) as caught:
        e.load_assignment("small", write(tmp_path, source=SOURCE.replace(old, new)))
    assert words in str(caught.value) and "small" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ITEMS = [", "OTHER = [", "expected ITEMS"),
        ("import torch\n", "import torch, no_such_thing\n", "No module named 'no_such_thing'"),
        ('"roll",\n        "Roll', '"ro ll",\n        "Roll', "an id of letters"),
        ("        2,\n", "        True,\n", "points that are a whole number"),
        ('"This is no number."', '" "', "a sentence for every misconception"),
        ('"nan", lambda', '"identity", lambda', "names of their own"),
        (", lambda x: torch.stack([*x[1:], x[0]])", ",", "at least two other right answers"),
        ('example="rolled"', "public_seeds=()", "public_seeds"),
        ('example="rolled"', 'rtol=float("nan")', "rtol in [0, 1)"),
        ('example="rolled"', "seconds=0", "seconds above 0"),
        ('return {"size": len(answer(x))', 'return {"size": halved(x)', "uses halved"),
    ],
)
def test_what_is_wrong_in_a_checks_file_is_named(tmp_path, old, new, words):
    assert old in CHECKS
    with pytest.raises(ValueError) as caught:
        e.load_assignment("small", write(tmp_path, checks=CHECKS.replace(old, new, 1)))
    assert words in str(caught.value)
    assert "checks/small.py" in str(caught.value) or "the probe of item 'roll'" in str(caught.value)


def test_a_missing_assignment_lists_those_that_are_there(tmp_path):
    write(tmp_path)
    with pytest.raises(ValueError, match=r"found no such file\. There are: small\."):
        e.load_assignment("smal", tmp_path)
    with pytest.raises(ValueError, match="letters, digits"):
        e.load_assignment("../small", tmp_path)


def test_where_no_course_is_the_cure_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(e, "__file__", str(tmp_path / "lib" / "mmcourse" / "course" / "exercise.py"))
    with pytest.raises(ValueError, match=r"found none\. Run this inside a clone of the course\."):
        e.course_root()


def test_two_items_of_one_id_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'roll' stands twice"):
        e.load_assignment("small", write(tmp_path, checks=CHECKS + "\nITEMS = ITEMS * 2\n"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("lambda x: x, ", "lambda x: x.roll(-1), ", "'identity' is taken for right"),
        ('lambda x: x * float("nan")', "lambda x: x.clone()", "'nan' is taken for 'identity'"),
        ("lambda x: x.roll(-1)", "lambda x: x.roll(-1) + 1e-3", "right answer 1 is not taken for right at rolled"),
        ("lambda x: x.roll(-1)", "lambda x: x.rol(-1)", "right answer 1 is not taken for right"),
        ('"rolled": answer(x)}', '"rolled": {1}}', "the reference does not equal itself at rolled"),
        ('example="rolled"', 'example="rol"', "expected the probe to give its example 'rol'"),
    ],
)
def test_an_item_that_does_not_hold_is_named_and_not_frozen(tmp_path, old, new, words):
    assert old in CHECKS
    assignment = e.load_assignment("small", write(tmp_path, checks=CHECKS.replace(old, new, 1)))
    assert any(words in line and "'roll'" in line for line in e.problems(assignment, [1, 2]))
    with pytest.raises(ValueError, match=re.escape(words)):
        e.freeze(assignment)


def test_a_reference_that_fails_is_told(tmp_path):
    source = SOURCE.replace("torch.cat([x[1:], x[:1]])", "missing(x)")
    assignment = e.load_assignment("small", write(tmp_path, source=source))
    with pytest.raises(ValueError, match="the reference fails on seed 5: NameError"):
        e.expected_answers(assignment, assignment.items[0], [5])


# ---- diagnose


def runs(assignment: e.Assignment, answer, seeds) -> list[dict]:
    probe = e.load_probe(e.probe_source(assignment.items[0]))
    return json.loads(json.dumps([e.run_probe(probe, answer, seed) for seed in seeds]))


def rol(x):
    raise ValueError(f"no <b>{x.numel()}</b>\nsome other text")


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda x: x.roll(-1), "right"),
        (lambda x: x.clone(), "identity"),
        (lambda x: x / 0 - x / 0, "nan"),
        (rol, "raises"),
        (lambda x: x.roll(1), None),
        (lambda x: generator(), None),
        (lambda x: x.rol(1), None),
    ],
)
def test_a_known_wrong_answer_is_named_with_its_sentence(small, answer, name, frozen):
    held = json.loads(json.dumps(e.freeze(small))) if frozen else small
    verdict = e.diagnose(held, small.items[0], [1, 2], runs(small, answer, [1, 2]))
    assert verdict.right == (name == "right")
    sentences = {m.name: m.sentence for m in small.items[0].misconceptions}
    assert verdict.misconception == (name if name in sentences else None)
    assert verdict.sentence == sentences.get(name or "", "")
    assert (verdict.difference is None) == verdict.right
    assert verdict.seed_index == (-1 if verdict.right else 0)
    assert verdict.share == float(verdict.right)


def test_points_are_whole_one_wrong_seed_loses_them(small):
    seeds = [1, 2, 3, 4]
    got = runs(small, lambda x: x.roll(-1), seeds)
    got[2] = runs(small, lambda x: x, [3])[0]
    verdict = e.diagnose(small, "roll", seeds, got)
    assert (verdict.right, verdict.share, verdict.seed_index, verdict.misconception) == (False, 0.75, 2, None)
    assert verdict.difference.path == "rolled", "the example comes first"


def test_an_untouched_stub_is_not_answered(small):
    def stub(x):
        raise NotImplementedError("your answer")

    verdict = e.diagnose(small, "roll", [1, 2], runs(small, stub, [1, 2]))
    assert (verdict.right, verdict.sentence) == (False, e.UNANSWERED)


@pytest.mark.parametrize(
    "bend",
    [
        lambda good: None,
        lambda good: [],
        lambda good: good[:1],
        lambda good: good * 2,
        lambda good: {"0": good},
        lambda good: "text",
        lambda good: [None, None],
        lambda good: [good, good],
        lambda good: [{**one, "error": "x"} for one in good],
        lambda good: [{"ok": [one["ok"]]} for one in good],
        lambda good: [{"ok": {**one["ok"], "extra": 1}} for one in good],
        lambda good: [{"ok": {"rolled": one["ok"]["rolled"]}} for one in good],
        lambda good: [{"ok": {"dict": one["ok"]}} for one in good],
        lambda good: [{"error": 1, "text": 2}] * 2,
        lambda good: [{"error": "x" * 10**6, "text": "\x00" * 10**6}] * 2,
    ],
)
def test_bent_results_earn_nothing(small, bend):
    good = runs(small, lambda x: x.roll(-1), [1, 2])
    assert e.diagnose(small, "roll", [1, 2], good).right
    verdict = e.diagnose(small, "roll", [1, 2], bend(good))
    assert not verdict.right and verdict.misconception is None
    assert all(len(text) <= 400 and text.isprintable() for text in vars(verdict.difference).values())


def test_frozen_checks_know_their_own_seeds_alone(small):
    with pytest.raises(ValueError, match=r"know the seeds \[1, 2\], got \[3\]"):
        e.diagnose(e.freeze(small), "roll", [3], [])
    with pytest.raises(ValueError, match="expected one of roll"):
        e.diagnose(e.freeze(small), "rol", [1, 2], [])


# ---- freeze and Check


def test_frozen_checks_are_json_of_rounded_numbers_without_any_answers_source(small):
    frozen = e.freeze(small)
    text = json.dumps(frozen, allow_nan=False)
    assert frozen == json.loads(text) and e.freeze(small) == frozen
    for secret in ("torch.cat", "roll(-1)", "stack", "lambda", "halved"):
        assert secret not in text
    for number in frozen["items"][0]["expected"][0]["ok"]["rolled"]["values"]:
        assert number == float(f"{number:.6g}")


def test_an_exact_item_keeps_every_digit(tmp_path):
    checks = CHECKS.replace('example="rolled"', "rtol=0, atol=0")
    frozen = e.freeze(e.load_assignment("small", write(tmp_path, checks=checks)))
    x = torch.randn(5, generator=torch.Generator().manual_seed(1)).roll(-1).tolist()
    assert frozen["items"][0]["expected"][0]["ok"]["rolled"]["values"] == x


class Inert(html.parser.HTMLParser):
    """Collects the tags of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert {name for name, _ in attrs} <= {"style"}


def say(check: e.Check, answer=None, item_id: str = "roll") -> e.Result:
    space = {"check": check, "roll": answer} if answer else {"check": check}
    return eval(f"check({item_id!r})", space)


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (lambda x: x.roll(-1), "right", ["roll: right", "right on 2 of 2 sets of inputs"]),
        (None, "unanswered", ["not answered yet", "roll is not defined"]),
        (lambda x: x, "wrong", ["Nothing has moved & <i>stayed</i>.", "your answer (rolled)", "expected (rolled)"]),
        (lambda x: x.roll(1), "wrong", ["values differ", "right on 0 of 2 sets of inputs, shown: the first"]),
        (lambda x: x.rol(1), "wrong", ["AttributeError: 'Tensor' object has no attribute 'rol'"]),
        (lambda x: ["<script>alert(1)</script>" * 300] * 5, "wrong", ["<script>", "..."]),
        (5, "wrong", ["TypeError: 'int' object is not callable"]),
        (Liar(), "wrong", ["TypeError"]),
    ],
    ids=["right", "nothing", "known", "wrong", "raises", "script", "number", "liar"],
)
def test_a_check_says_what_is_so_with_the_threshold_and_escaped(small, answer, state, words):
    result = say(e.Check(e.freeze(small)), answer)
    assert (result.state, result.right) == (state, state == "right")
    for word in [*words, "2 points, for an answer that is right on every set of inputs", "one part in 10,000"]:
        assert word in repr(result)
    assert "seed" not in repr(result)
    page = result._repr_html_()
    assert Inert(page).tags == {"div"} and "border-left" in page and "color:inherit" in page
    assert len(page) < 5_000 and all(line.isprintable() for line in repr(result).splitlines())


def test_the_stub_is_not_answered_and_an_unknown_id_lists_the_ids(small):
    check = e.Check(e.freeze(small))

    def stub(x):
        raise NotImplementedError("your answer")

    assert say(check, stub).state == "unanswered"
    assert say(check, None, "<b>").state == "unknown" and "roll" in repr(say(check, None, "<b>"))
    assert "&lt;b&gt;" in say(check, None, "<b>")._repr_html_()
    assert "2 points" in repr(check.about("roll")) and "roll" in repr(check.about("x"))
    assert "roll" in repr(check)


def in_a_cell(source: str) -> dict:
    """What a notebook's cell defines; its lines can be looked up as those of a cell."""
    import linecache

    name = f"<cell {hash(source)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    space: dict = {}
    exec(compile(source, name, "exec"), space)
    return space


class Raising(ValueError):
    """An error that cannot be looked at."""

    def __getattribute__(self, name):
        raise SystemExit

    def __str__(self):
        raise SystemExit


def test_an_error_is_shown_with_its_line_of_the_cell(small):
    check = e.Check(e.freeze(small))
    function = in_a_cell("def roll(x):\n    a, b = x\n    return a\n")["roll"]
    helped = in_a_cell("import torch\ndef roll(x):\n    return torch.cat([\n        x, 5])\n")["roll"]
    source = "class roll:\n    def __init__(self, x):\n        self.x = x.no\n"
    for answer, where in (
        (function, "line 2 of its cell: a, b = x"),
        (helped, "line 3 of its cell: return torch.cat(["),
        (in_a_cell(source)["roll"], "line 3 of its cell: self.x = x.no"),
        (lambda: 1, "not in a line of its own"),
        (lambda x: None, "not in a line of its own"),
        (5, "it cannot be told"),
    ):
        assert where in repr(say(check, answer)), where
    assert "where" not in repr(say(check, lambda x: x))
    turns = itertools.count()

    def twice(x):
        return x.roll(-1) if next(turns) > 1 else 1 / 0

    assert "a second time" in repr(say(check, twice))


def test_an_error_that_cannot_be_looked_at_stops_no_check(small):
    def roll(x):
        raise Raising

    assert say(e.Check(e.freeze(small)), roll).state == "wrong"


def test_the_tolerance_is_told_where_a_number_can_be_off(small):
    frozen = e.freeze(small)
    (entry,) = frozen["items"]
    assert "numbers may differ by one part in 10,000" in repr(e.Check(frozen).about("roll"))
    entry["rtol"] = 1e-3
    assert "one part in 1,000" in repr(e.Check(frozen).about("roll"))
    for whole in ("a text", [1, "x"], {"tensor": "int", "shape": [1], "values": [1]}):
        entry["expected"] = [{"ok": {"rolled": whole}}] * 2
        assert "numbers may differ" not in repr(e.Check(frozen).about("roll")), whole
    for number in (0.5, {"a": [1, {"float": "inf"}]}):
        entry["expected"] = [{"ok": {"rolled": number}}] * 2
        assert "numbers may differ" in repr(e.Check(frozen).about("roll")), number


def test_lines_of_a_value_stand_below_each_other():
    shown = repr(e.Result("head", "wrong", (("your answer", "[1,\n 2]"), ("why", "x"))))
    assert shown.splitlines() == ["head", "  your answer  [1,", "                2]", "  why          x"]


def test_a_check_leaves_random_states_as_they_were(small):
    def noisy(x):
        torch.manual_seed(0), random.seed(0), np.random.seed(0)  # noqa: NPY002
        return x.roll(-1) + torch.rand(1) * 0

    def draw():
        return torch.rand(1).item(), random.random(), np.random.rand()  # noqa: NPY002

    torch.manual_seed(7), random.seed(7), np.random.seed(7)  # noqa: NPY002
    wanted = draw()
    torch.manual_seed(7), random.seed(7), np.random.seed(7)  # noqa: NPY002
    assert say(e.Check(e.freeze(small)), noisy).right
    assert draw() == wanted


def test_under_nbgrader_a_wrong_answer_fails_its_cell(small, monkeypatch):
    check = e.Check(e.freeze(small))
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert say(check, lambda x: x.roll(-1)).right
    for answer in (None, lambda x: x):
        with pytest.raises(AssertionError, match="roll: not"):
            say(check, answer)


def test_a_slow_answer_is_told_that_the_grader_will_not_wait(tmp_path):
    import time

    checks = CHECKS.replace('example="rolled"', "seconds=0.01")
    check = e.Check(e.freeze(e.load_assignment("small", write(tmp_path, checks=checks))))

    def slow(x):
        time.sleep(0.02)
        return x.roll(-1)

    assert "the grader stops after 0.01 s" in repr(say(check, slow))


def test_checks_are_found_beside_the_notebook_and_a_missing_file_says_where_it_looked(small, tmp_path, monkeypatch):
    place = tmp_path / "hand out"
    place.mkdir()
    (place / "small.checks.json").write_text(json.dumps(e.freeze(small)))
    assert e.checks("small", place).ids == ["roll"]
    monkeypatch.chdir(place)
    assert e.checks("small").ids == ["roll"]
    with pytest.raises(FileNotFoundError) as caught:
        e.checks("other")
    assert str(place) in str(caught.value) and "other.checks.json" in str(caught.value)
    with pytest.raises(ValueError, match="letters, digits"):
        e.checks("../small")
    for damaged in ("", "[]", "{}", '{"format": 1, "items": [1]}', "\ud800".encode("utf-16", "surrogatepass")):
        data = damaged if isinstance(damaged, bytes) else damaged.encode()
        (place / "bad.checks.json").write_bytes(data)
        with pytest.raises(ValueError, match=r"bad\.checks\.json is damaged"):
            e.checks("bad")
    (place / "bad.checks.json").write_text('{"format": 99, "items": []}')
    with pytest.raises(ValueError, match="expected format 1, got 99"):
        e.checks("bad")


def test_a_hand_out_checks_without_the_course_s_sources_in_a_fresh_process(small, tmp_path):
    place = tmp_path / "handout"
    place.mkdir()
    (place / "small.checks.json").write_text(json.dumps(e.freeze(small)))
    script = (
        "import sys, mmcourse.course.exercise as e; assert 'torch' not in sys.modules\n"
        "check = e.checks('small')\n"
        "def roll(x): return x.roll(-1)\n"
        "print(check('roll').right, 'jupytext' in sys.modules)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=place, capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["True", "False"]


# ---- the course's own exercises, as a learner reads them


def test_an_error_that_is_asked_for_reads_as_one():
    assignment = e.load_assignment("08_shared_space", ROOT)
    item = assignment.item("tokenize")
    (run,) = e.expected_answers(assignment, item, [1])
    failing = eval("check('tokenize')", {"check": e.Check(e.freeze(assignment)), "tokenize": lambda *_: 1 / 0})
    assert dict(failing.rows)["expected (rows of 8)"].count("\n") == 5
    assert run["ok"]["four words for three places"] == "it raised ValueError"
    cuts = next(known.wrong for known in item.misconceptions if known.name == "cuts in silence")
    found = e.compare(run, e.run_probe(item.probe, cuts, 1), **RULE)
    assert found is not None and found.why.startswith("expected 'it raised ValueError', got 'it returned [[")


@pytest.mark.parametrize("path", sorted((ROOT / "exercises" / "source").glob("*.py")), ids=lambda path: path.stem)
def test_docstrings_fit_a_notebooks_cell(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            assert not [line for line in (ast.get_docstring(node) or "").splitlines() if len(line) > 85]


# ---- two slips at once


EXPECTED = [{"ok": {"shown": s, "refused": "it raised ValueError", "more": 7}} for s in (1.0, 2.0)]
KNOWN = {
    "minus": [{"ok": {"shown": -s, "refused": "it raised ValueError", "more": 7}} for s in (1.0, 2.0)],
    "minus, and more": [{"ok": {"shown": -s, "refused": "it raised ValueError", "more": 8}} for s in (1.0, 2.0)],
    "one": [{"ok": {"shown": -1.0, "refused": "it raised ValueError", "more": 7}}] * 2,
}


def told(got: list, known: dict) -> str | None:
    wrong = ((name, f"of {name}", iter(runs)) for name, runs in known.items())
    verdict = e._judge(EXPECTED, got, e._Rule(1e-6, 1e-6, False), "shown", wrong)
    assert (
        not verdict.right
        and verdict.share == 0
        and verdict.sentence == (f"of {verdict.misconception}" if verdict.misconception else "")
    )
    return verdict.misconception


@pytest.mark.parametrize(
    ("shown", "refused", "more", "known", "name"),
    [
        ((-1.0, -2.0), "it raised ValueError", 7, ("minus, and more", "minus", "one"), "minus"),  # equal as a whole
        ((-1.0, -2.0), "it returned 3", 7, ("minus, and more", "minus", "one"), "minus"),  # a second slip
        ((-1.0, -2.0), "it returned 3", 8, ("minus", "minus, and more", "one"), "minus, and more"),  # the nearest
        ((-1.0, -2.0), "it returned 3", 9, ("minus", "minus, and more", "one"), None),  # two are as near
        ((-1.0, -1.0), "it returned 3", 9, ("minus", "one"), "one"),  # on both seeds, not on one
        ((-1.0, -3.0), "it returned 3", 7, ("minus", "one"), None),
        ((1.0, 2.0), "it returned 3", 7, ("minus", "one"), None),  # what is shown is the refusal
    ],
)
def test_of_two_slips_the_one_that_is_shown_is_told(shown, refused, more, known, name):
    got = [{"ok": {"shown": s, "refused": refused, "more": more}} for s in shown]
    assert told(got, {k: KNOWN[k] for k in known}) == name


@pytest.mark.parametrize(
    "got", [[None] * 2, [{"error": "KeyError", "text": ""}] * 2, [{"ok": {}}] * 2, [{"ok": []}] * 2]
)
def test_where_no_value_is_shown_no_slip_is_told(got):
    assert told(got, KNOWN) is None


@pytest.mark.parametrize("frozen", [False, True])
def test_the_first_slip_is_told_to_an_answer_that_refuses_nothing_too(frozen):
    """The answers of a learner who has one thing the wrong way round and has not come to the errors yet."""
    whole = e.load_assignment("10_inpainting", ROOT)
    item = whole.item("composite")
    probe, seeds = e.load_probe(e.probe_source(item)), list(item.public_seeds)
    got = [e.run_probe(probe, lambda known, fill, mask: torch.where(mask > 0, known, fill), seed) for seed in seeds]
    verdict = e.diagnose(e.freeze(whole) if frozen else whole, "composite", seeds, json.loads(json.dumps(got)))
    assert verdict.misconception == "polarity" and "1 is the hole" in verdict.sentence
