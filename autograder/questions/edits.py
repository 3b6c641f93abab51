"""Edits of a function by its syntax tree: other code where it makes a quantity that has a name."""

from __future__ import annotations

import ast
import copy
import inspect
import linecache
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from autograder.questions.check import Edits, Function

# What the code of an edit may use beside the names in the function's file.
AT_HAND = "import math\n\nimport numpy as np\nimport torch\n"


@dataclass(frozen=True)
class Edit:
    """Other code for some statements, or for none and ahead. expression: the code, if it is one."""

    statements: tuple[ast.stmt, ...]
    code: list[ast.stmt]
    expression: ast.expr | None

    @property
    def changed(self) -> Iterable[ast.stmt]:
        """What no other edit may change: statements replace all that is in a statement."""
        return self.statements if self.expression else _within(self.statements)

    @property
    def follows(self) -> bool:
        """Whether it goes on from what is returned, as `-answer` does, whatever that is."""
        nodes = [node for statement in self.code for node in ast.walk(statement)]
        changed = [node.target for node in nodes if isinstance(node, ast.AugAssign)]
        read = [node for node in nodes if isinstance(getattr(node, "ctx", None), ast.Load)]
        uses = any(isinstance(n, ast.Name) and n.id == "answer" for n in (*changed, *read))
        return uses and any(isinstance(place, ast.Return) for place in self.statements)


@dataclass(frozen=True)
class _Parts:
    """A reference taken apart. body: all after the docstring and the `validate` calls."""

    lines: list[str]
    body: list[ast.stmt]
    places: dict[str, list[ast.stmt]]
    namespace: dict[str, Any]


@cache
def parsed(reference: Function, edits: Edits) -> list[Edit]:
    """Edits with their places. Raises ValueError for what is not there or does not parse."""
    found = []
    for name, text in edits:
        try:
            code = ast.parse(textwrap.dedent(text).strip()).body
        except SyntaxError as error:
            raise ValueError(f"{name}={text!r} does not parse ({error.msg})") from error
        if not code:
            raise ValueError(f"{name} is empty: say `pass` to leave its statement out")
        expression = code[0].value if len(code) == 1 and isinstance(code[0], ast.Expr) else None
        found.append(Edit(_find(reference, name), code, expression))
    if clash(found):
        raise ValueError(f"{' and '.join(name for name, _ in edits)} change the same place")
    return found


def is_validation(statement: ast.stmt) -> bool:
    """Whether a statement is a call such as `validate.shapes(...)`."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return False
    called = statement.value.func
    return (
        isinstance(called, ast.Attribute)
        and isinstance(called.value, ast.Name)
        and called.value.id == "validate"
    )


def clash(edits: Sequence[Edit]) -> bool:
    """Whether two edits change the same place, or one goes on from what another takes away.

    Those that go on from what is returned (`-answer`) follow the one that changes it, and each
    other in the order given.
    """
    changed = [place for edit in edits if not edit.follows for place in edit.changed]
    taken = {place for edit in edits for place in edit.changed if place not in edit.statements}
    return len(set(changed)) < len(changed) or any(
        place in taken for edit in edits if edit.follows for place in edit.statements
    )


def edited(reference: Function, name: str, edits: Sequence[Edit]) -> Function:
    """The function that the edits make, with a source that `inspect` finds."""
    parts = _taken_apart(reference)
    source = _source(parts, edits)
    where = f"<{reference.__name__}: {name}>"
    linecache.cache[where] = (len(source), None, source.splitlines(keepends=True), where)
    made: dict[str, Function] = {}
    exec(compile(source, where, "exec"), parts.namespace, made)
    return made[reference.__name__]


def _source(parts: _Parts, edits: Sequence[Edit]) -> str:
    """The reference's text; only statements in which something changes are written anew."""
    start = parts.body[0].lineno - 1
    text = ["\n".join(parts.lines[:start])]
    text += [_line(statement) for edit in edits if not edit.statements for statement in edit.code]
    changes: dict[ast.stmt, list[Edit]] = {}
    for edit in edits:
        for statement in edit.statements:
            changes.setdefault(statement, []).append(edit)
    for statement in parts.body:
        if changes.keys().isdisjoint(_within([statement])):
            text.append("\n".join(parts.lines[start : statement.end_lineno]))
        else:
            text += map(_line, _rewritten([statement], changes))
        start = statement.end_lineno or start
    return "\n".join(text) + "\n"


def _line(statement: ast.stmt) -> str:
    return textwrap.indent(ast.unparse(statement), "    ")


def _rewritten(
    statements: Iterable[ast.stmt], changes: Mapping[ast.stmt, Sequence[Edit]]
) -> Iterator[ast.stmt]:
    """Copies of statements, with the edits made in them and in those inside them."""
    for statement in statements:
        new = copy.copy(statement)
        for block in ("body", "orelse"):
            if inside := getattr(statement, block, None):
                setattr(new, block, list(_rewritten(inside, changes)))
        yield from _replaced(new, changes[statement]) if statement in changes else [new]


def _replaced(new: Any, edits: Sequence[Edit]) -> list[ast.stmt]:
    """A statement's copy with the edits made in it, or what stands there instead."""
    if isinstance(new, ast.Return):
        return _returned(new, sorted(edits, key=lambda edit: edit.follows))
    (edit,) = edits
    if edit.expression is None:
        return edit.code
    if isinstance(new, ast.For):
        new.iter = edit.expression
    else:
        new.value = edit.expression
        if isinstance(new, ast.Assign) and len(_targets(new)) == 1:
            new.targets = _targets(new)  # `(x,) = ...`: the expression is x itself
    return [new]


def _returned(new: ast.Return, edits: Iterable[Edit]) -> list[ast.stmt]:
    """What stands instead of a `return`: each edit has at hand, as `answer`, what came of the last.

    The first of them may do without.
    """
    made, code = new.value, list[ast.stmt]()
    for edit in edits:
        if edit.follows and made is not None:
            code.append(ast.Assign([ast.Name("answer")], made, lineno=0))
        code += [] if edit.expression else edit.code
        made = edit.expression or ast.Name("answer")
    return [*code, ast.Return(made)]


def _within(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements and those inside them, in the order of the text."""
    for statement in statements:
        yield statement
        for block in ("body", "orelse"):
            yield from _within(getattr(statement, block, ()))


def _targets(statement: ast.stmt) -> list[ast.expr]:
    """What a statement gives a value to; `answer` if it returns one."""
    if isinstance(statement, ast.Return):
        return [ast.Name("answer")]
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.For):
        return []
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
    return target.elts if isinstance(target, ast.Tuple) else [target]


@cache
def _taken_apart(reference: Function) -> _Parts:
    source = textwrap.dedent(inspect.getsource(reference)).rstrip()
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.FunctionDef)
    body = definition.body[1:] if ast.get_docstring(definition) else definition.body
    while is_validation(body[0]):
        body = body[1:]
    places: dict[str, list[ast.stmt]] = {}
    for statement in _within(body):
        for target in _targets(statement):
            places.setdefault(ast.unparse(target), []).append(statement)
    namespace: dict[str, Any] = {}
    exec(AT_HAND, namespace)
    return _Parts(source.split("\n"), body, places, namespace | reference.__globals__)


def _find(reference: Function, name: str) -> tuple[ast.stmt, ...]:
    """Where the quantity of this name is made. Raises ValueError naming what there is."""
    places = _taken_apart(reference).places
    if name in ("answer", "before"):
        return tuple(places["answer"]) if name == "answer" else ()
    single = {
        f"{each}_{number}" if len(found) > 1 else each: statement
        for each, found in places.items()
        for number, statement in enumerate(found, start=1)
    }
    if name in single:
        return (single[name],)
    if name in places:
        which = " or ".join(
            f"{name}_{number} (`{ast.unparse(statement).splitlines()[0]}`)"
            for number, statement in enumerate(places[name], start=1)
        )
        raise ValueError(f"`{name}` is assigned more than once: say {which}")
    names = ", ".join(dict.fromkeys([*single, "answer", "before"]))
    raise ValueError(f"there is no `{name}` to change: there are {names}")
