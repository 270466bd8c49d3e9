"""A small mutator: one change at a time in a piece of Python, as learners and slips of the hand make them.

``mutants(source)`` gives each changed text once, with the smallest part that changed, before and after. Messages of
``raise``, annotations, defaults and docstrings are left alone: no probe is meant to see them.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mutant:
    what: str  # the smallest part that changed: "before  =>  after"
    source: str


OPERATORS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult,),
    ast.MatMult: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.Mod: (ast.FloorDiv, ast.Add),
    ast.FloorDiv: (ast.Div,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}

#: Operators whose operands may change places: exchanged, they say the same.
COMMUTES = (ast.Add, ast.Mult, ast.BitAnd, ast.BitOr, ast.BitXor)

#: Functions and methods that are taken for one another.
NEIGHBOURS = {
    "mean": ("sum",),
    "sum": ("mean",),
    "any": ("all",),
    "all": ("any",),
    "argmax": ("argmin",),
    "softplus": ("relu", "logsigmoid"),
    "exp": ("log",),
    "tanh": ("sigmoid",),
    "logsumexp": ("sum", "amax"),
    "zeros": ("ones",),
    "ones": ("zeros",),
    "softmax": ("log_softmax",),
}


def _with(node: ast.AST, **fields: Any) -> ast.AST:
    twin = copy.copy(node)
    for name, value in fields.items():
        setattr(twin, name, value)
    return twin


def _variants(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's place."""
    if isinstance(node, ast.BinOp):
        yield from (_with(node, op=op()) for op in OPERATORS.get(type(node.op), ()))
        yield node.left
        yield node.right
        if not isinstance(node.op, COMMUTES):
            yield _with(node, left=node.right, right=node.left)
    elif isinstance(node, ast.BoolOp):
        yield from (_with(node, op=op()) for op in OPERATORS[type(node.op)])
        yield from node.values
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Compare):
        for op in OPERATORS[type(node.ops[0])]:
            yield _with(node, ops=[op(), *node.ops[1:]])
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.Attribute):
        yield from (_with(node, attr=name) for name in NEIGHBOURS.get(node.attr, ()))
    elif isinstance(node, ast.Subscript):
        yield node.value
    elif isinstance(node, ast.Slice):
        for end in ("lower", "upper"):
            if getattr(node, end) is not None:
                yield _with(node, **{end: None})
    elif isinstance(node, (ast.Tuple, ast.List)):
        for i in range(len(node.elts) - 1):
            swapped = [*node.elts[:i], node.elts[i + 1], node.elts[i], *node.elts[i + 2 :]]
            yield _with(node, elts=swapped)
    elif isinstance(node, ast.comprehension):
        yield from (_with(node, ifs=node.ifs[:i] + node.ifs[i + 1 :]) for i in range(len(node.ifs)))
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, (ast.If, ast.While)):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
        yield _with(node, test=ast.Constant(True))
    if isinstance(node, ast.Return) and node.value is not None:
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.stmt) and not isinstance(node, ast.Pass):
        yield ast.Pass()
    if isinstance(node, ast.For) and node.orelse:
        yield _with(node, orelse=[])


def _constants(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, (int, float)):
        yield from (ast.Constant(value + 1), ast.Constant(value - 1))
    elif isinstance(value, str) and value:
        yield ast.Constant("-" + value)


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    if isinstance(node.func, ast.Attribute):  # x.m() without its .m(); modules and networks stay
        owner = node.func.value
        if not (isinstance(owner, ast.Name) and owner.id in ("F", "torch", "world", "G", "D")):
            yield owner
    if len(node.args) == 1 and not isinstance(node.args[0], ast.Starred):
        yield node.args[0]
    if len(node.args) >= 2:
        yield _with(node, args=[node.args[1], node.args[0], *node.args[2:]])
        yield node.args[0]
        yield from (_with(node, args=node.args[:i] + node.args[i + 1 :]) for i in range(1, len(node.args)))
    yield from (_with(node, keywords=node.keywords[:i] + node.keywords[i + 1 :]) for i in range(len(node.keywords)))


def _frozen(tree: ast.AST) -> set[int]:
    """Ids of nodes that stay: the outermost def itself, docstrings, annotations, defaults, messages."""
    still: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef):
            parts = [node.args, node.returns]
            if ast.get_docstring(node) is not None:
                parts.append(node.body[0])
        elif isinstance(node, ast.Raise):
            parts = [node.exc]
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        still |= {id(inner) for part in parts if part is not None for inner in ast.walk(part)}
    return still


def mutants(source: str) -> list[Mutant]:
    """Every text that differs from ``source``, a module of one def, by one change inside that def; each once."""
    tree = ast.parse(source)
    (outer,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    nodes, still = list(ast.walk(outer)), _frozen(outer) | {id(outer)}
    seen, found = {ast.unparse(tree)}, []
    for index, node in enumerate(nodes):
        if id(node) in still or isinstance(node, ast.JoinedStr):
            continue
        for variant in _variants(node):
            twin = copy.deepcopy(tree)
            (copied,) = [n for n in twin.body if isinstance(n, ast.FunctionDef)]
            twins = list(ast.walk(copied))
            _put(copied, twins[index], copy.deepcopy(variant))
            text = ast.unparse(ast.fix_missing_locations(twin))
            if text not in seen:
                seen.add(text)
                pair = (node, variant)
                if not isinstance(node, (ast.Call, ast.BinOp, ast.stmt)):  # a lone number says little: name its place
                    above = next(i for i, n in enumerate(nodes) if any(c is node for c in ast.iter_child_nodes(n)))
                    pair = (nodes[above], twins[above])
                found.append(Mutant(f"{_line(pair[0])}  =>  {_line(pair[1])}", text))
    return found


def _line(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()[0].strip()


def _put(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                setattr(parent, name, [new if inner is old else inner for inner in value])


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises ``TimeoutError`` inside the block when it takes longer; for the main thread."""

    def stop(signum: int, frame: Any) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
