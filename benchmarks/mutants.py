"""Small departures from a function, one at a time: what a slip of the pen makes of it."""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.LtE: ast.Lt,
    ast.Lt: ast.LtE,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
OTHER_CALL = {
    "minimum": "maximum",
    "mean": "sum",
    "sum": "mean",
    "exp": "log",
    "zeros_like": "ones_like",
}
LEFT_OUT = ("detach", "clone", "flip", "exp")  # calls that may be forgotten: x.detach() -> x


@dataclass(frozen=True)
class Mutant:
    """A function that departs from another in one place. what: the statement as it is now."""

    what: str
    function: Callable[..., Any]


def mutants(function: Callable[..., Any]) -> Iterator[Mutant]:
    """All departures from a function: signs, operators, comparisons, constants, dropped factors and
    terms, swapped arguments, other reductions, a forgotten detach, clone or flip.

    Docstring and calls of `validate` stay as they are.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    places = [node for node in ast.walk(tree) if isinstance(node, ast.expr)]
    body = tree.body[0]
    assert isinstance(body, ast.FunctionDef)
    spared = {id(node) for part in _spared(body) for node in ast.walk(part)}
    spared |= {id(node) for node in ast.walk(body.args)}
    seen: set[str] = set()
    for number, place in enumerate(places):
        if id(place) in spared:
            continue
        for other in _departures(place):
            changed = copy.deepcopy(tree)
            target = [node for node in ast.walk(changed) if isinstance(node, ast.expr)][number]
            _Put(target, other).visit(changed)
            text = ast.unparse(ast.fix_missing_locations(changed))
            if text in seen or text == ast.unparse(tree):
                continue
            seen.add(text)
            names = dict(function.__globals__)
            exec(compile("from __future__ import annotations\n" + text, "<mutant>", "exec"), names)
            what = _line(changed, place.lineno)
            yield Mutant(what, names[function.__name__])


class _Put(ast.NodeTransformer):
    """Puts one expression where another stands."""

    def __init__(self, target: ast.expr, other: ast.expr) -> None:
        self.target, self.other = target, other

    def generic_visit(self, node: ast.AST) -> ast.AST:
        return self.other if node is self.target else super().generic_visit(node)

    def visit(self, node: ast.AST) -> Any:
        return self.generic_visit(node)


def _line(tree: ast.AST, number: int) -> str:
    """The innermost statement that covers a line, on one; of a compound one, its head."""
    covering = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= number <= (node.end_lineno or 0)
    ]
    whole = ast.unparse(max(covering, key=lambda node: node.lineno))
    return " ".join(whole.partition(":\n")[0].split()) + (":" if ":\n" in whole else "")


def _spared(function: ast.FunctionDef) -> Iterator[ast.AST]:
    for statement in function.body:
        if isinstance(statement, ast.Expr):
            text = ast.unparse(statement)
            if isinstance(statement.value, ast.Constant) or text.startswith("validate."):
                yield statement
    yield from function.decorator_list
    if function.returns:
        yield function.returns


def _departures(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp):
        if other := OPERATORS.get(type(node.op)):
            yield ast.BinOp(node.left, other(), node.right)
        yield node.left
        yield node.right
        if isinstance(node.op, ast.Sub | ast.Div | ast.Pow):
            yield ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        if near := COMPARISONS.get(type(node.ops[0])):
            yield ast.Compare(node.left, [near()], node.comparators)
        yield ast.UnaryOp(ast.Not(), node)
    elif isinstance(node, ast.BoolOp):
        flipped: ast.boolop = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield ast.BoolOp(flipped, node.values)
        yield from node.values
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)
    elif isinstance(node, ast.Slice):
        return
    elif isinstance(node, ast.Call):
        yield from _other_calls(node)


def _other_calls(node: ast.Call) -> Iterator[ast.expr]:
    called = node.func
    if isinstance(called, ast.Attribute):
        if called.attr in OTHER_CALL:
            other = ast.Attribute(called.value, OTHER_CALL[called.attr], ast.Load())
            yield ast.Call(other, node.args, node.keywords)
        if called.attr in LEFT_OUT and ast.unparse(called.value) != "torch":
            yield called.value
        if called.attr in LEFT_OUT and ast.unparse(called.value) == "torch" and node.args:
            yield node.args[0]
    for at in range(len(node.args) - 1):
        swapped = list(node.args)
        swapped[at], swapped[at + 1] = swapped[at + 1], swapped[at]
        yield ast.Call(called, swapped, node.keywords)
