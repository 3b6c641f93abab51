"""Find answers in what is about to be handed out. A bundle in which one is found is not written.

Code is compared by its syntax tree with names, docstrings, annotations and shape checks taken away,
so that renaming hides nothing; every run of statements is looked at, not only whole functions.
"""

from __future__ import annotations

import ast
import copy
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from autograder.percent import HOMEWORK_KEYS, read_cells
from autograder.project import HandoutError
from autograder.questions.check import Check
from autograder.questions.edits import is_validation

PRIVATE_MODULES = ("course_lib.reference", "autograder.questions")
MARKS = re.compile("(BEGIN|END) (SOLUTION|HIDDEN TESTS|MARK SCHEME)")
NUMBERED = re.compile(r"\((Name|arg|FunctionDef) v\d+")
TEXT_STUB = "YOUR ANSWER HERE"
UNIX_MODULES = re.compile(
    "(fcntl|resource|pwd|grp|spwd|termios|tty|pty|posix|syslog|readline|curses|crypt|nis)$"
)
UNIX_CALLS = re.compile(
    r"os\.(fork|forkpty|get(e?[ug]id|groups|pgid)|set(e?[ug]id|groups|pgid|sid)|killpg|wait[34]"
    "|sched_.*affinity|openpty|unshare|mkfifo|chroot|chown|uname|nice|getloadavg)$"
)
# Of a syntax tree: the field with a name in it, and the fields that say nothing of what is done.
NAMED: dict[type, str] = {ast.Name: "id", ast.arg: "arg", ast.FunctionDef: "name"}
UNREAD = {"annotation", "returns", "decorator_list", "type_comment", "type_params", "ctx", "kind"}
# Smaller pieces than this many nodes are everybody's (`return x.mean()`).
SMALLEST, SMALLEST_LOOP = 12, 20


@dataclass(frozen=True)
class Secrets:
    """What must not be handed out.

    names: functions that students write, and the drawers of hidden cases.
    code: where each private piece of code stands, by its `normalised` statements.
    texts: sentences of model answers and mark schemes, by where they stand.
    """

    names: frozenset[str]
    code: dict[tuple[str, ...], str] = field(repr=False)
    texts: dict[str, str] = field(repr=False)

    @cached_property
    def outlines(self) -> frozenset[tuple[str, ...]]:
        """The code with all names blank: a quick first look."""
        return frozenset(tuple(NUMBERED.sub(r"(\1 ", s) for s in piece) for piece in self.code)

    @cached_property
    def lengths(self) -> list[int]:
        """How many statements the pieces of code have."""
        return sorted({len(piece) for piece in self.code})


def secrets(root: Path, checks: Iterable[Check]) -> Secrets:
    """Gather the private code and texts of a project; `checks` are those of all homeworks."""
    code: dict[tuple[str, ...], str] = {}
    names: set[str] = set()
    for path in sorted(root.glob("course_lib/reference/**/*.py")):
        _gather(
            code, ast.parse(path.read_text(encoding="utf-8")), path.relative_to(root).as_posix()
        )
    for path in sorted(root.glob("autograder/questions/**/*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        _gather(code, tree, path.relative_to(root).as_posix())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and "hidden" in node.name:
                names.add(node.name)
    for check in checks:
        names.add(check.name)
        for mistake in check.misconceptions:  # what a slip makes stands in no file
            _gather(code, ast.parse(mistake.source), f"the mistake {mistake.name!r}")
    texts: dict[str, str] = {}
    for path in sorted(root.glob("notebooks/src/homework/*.py")):
        for cell in read_cells(path, HOMEWORK_KEYS):
            if "written" in cell.metadata:
                where = f"the answer to {cell.metadata['written']}"
                texts |= {line: where for line in _sentences(cell.source)}
    return Secrets(frozenset(names), code, texts)


def find_leaks(files: Mapping[str, bytes], private: Secrets) -> list[str]:
    """A sentence for each thing in a bundle's files that must not be there; [] if there is none."""
    found: list[str] = []
    for name, content in sorted(files.items()):
        text = content.decode("utf-8", errors="replace")
        if MARKS.search(text):
            found.append(f"{name} holds solution or mark-scheme marks")
        for line in _sentences(_plain_text(name, text)):
            if line in private.texts:
                found.append(f"{name} holds a line of {private.texts[line]}: {line[:60]}")
        for where, python in _programs(name, text):
            found += [f"{where} {leak}" for leak in _code_leaks(python, private, files)]
        if name.endswith(".ipynb"):
            found += [f"{name} {leak}" for leak in _unfinished(text)]
    return found


def inlined(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Statements in which a name that is given a value once and used once is that value."""
    return list(_stages(statements))[-1]


def _stages(statements: Sequence[ast.stmt]) -> Iterator[list[ast.stmt]]:
    """The statements as they are, with the first such name replaced, the first two, and so on.

    Each is worked on for the next: read it before going on.
    """
    block = [s for s in statements if not _is_guard(s)]
    uses = _uses(block)
    if any(_used_once(statement, uses) for statement in block):  # to copy costs most of it all
        block = copy.deepcopy(block)
    yield block
    for statement in list(block):
        if isinstance(statement, ast.Assign) and (name := _used_once(statement, uses)):
            block.remove(statement)
            block = [_Put(name, statement.value).visit(s) for s in block]
            uses = _uses(block)
            yield block


def _uses(statements: Sequence[ast.stmt]) -> Counter[str]:
    """How often each name stands in some statements."""
    nodes = (node for statement in statements for node in ast.walk(statement))
    return Counter(node.id for node in nodes if isinstance(node, ast.Name))


def _used_once(statement: ast.stmt, uses: Mapping[str, int]) -> str:
    """The name that a statement gives a value to, if it stands here and in one other place."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return ""
    name = statement.targets[0]
    return name.id if isinstance(name, ast.Name) and uses[name.id] == 2 else ""


class _Put(ast.NodeTransformer):
    """Puts a value where its name stands."""

    def __init__(self, name: str, value: ast.expr) -> None:
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.value if node.id == self.name else node


def normalised(statements: Sequence[ast.stmt]) -> tuple[str, ...]:
    """A run of statements as it looks without names: equal for two spellings of one thing."""
    kept = [s for s in statements if not _is_guard(s)]
    names: dict[str, str] = {}
    return tuple(_shape(s, names) for s in [*kept[:-1], *map(_result, kept[-1:])])


def _shape(node: Any, names: dict[str, str] | None) -> str:
    """A syntax tree as text: names numbered by first appearance (blank if `names` is None)."""
    if isinstance(node, list):
        return "[" + ",".join(_shape(n, names) for n in node if not _is_guard(n)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        return _shape(ast.Assign([node.target], node.value), names)
    name = getattr(node, NAMED[type(node)], "") if type(node) in NAMED else ""
    parts = [type(node).__name__]
    if name:
        parts.append("" if names is None else names.setdefault(name, f"v{len(names)}"))
    for field_name, value in ast.iter_fields(node):
        if field_name not in UNREAD and field_name != NAMED.get(type(node)):
            parts.append(_shape(value, names))
    return "(" + " ".join(parts) + ")"


def _is_guard(statement: object) -> bool:
    """Docstrings, shape checks, asserts and `if ...: raise`: what may be added or left out."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return True
    if isinstance(statement, ast.If) and not statement.orelse:
        return all(isinstance(inner, ast.Raise) for inner in statement.body)
    if isinstance(statement, ast.Expr) and is_validation(statement):
        return True
    return isinstance(statement, ast.Assert | ast.Pass)


def _result(statement: ast.stmt) -> ast.stmt:
    """`return x`, `y = x` and `x` end a computation alike."""
    if isinstance(statement, ast.Return) and statement.value is not None:
        return ast.Expr(statement.value)
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        return ast.Expr(statement.value)
    return statement


def _size(tree: ast.AST) -> int:
    return sum(not isinstance(node, ast.expr_context) for node in ast.walk(tree))


def _gather(code: dict[tuple[str, ...], str], tree: ast.AST, where: str) -> None:
    """The body of every private function and lambda, and every loop and table of an answer."""
    is_answer = where.startswith("course_lib/")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name != "recipe":
            body, label = node.body, f"{node.name} of {where}"
        elif isinstance(node, ast.Lambda):
            body, label = [ast.Expr(node.body)], f"a lambda of {where}"
        elif isinstance(node, ast.For | ast.While) and is_answer and _size(node) >= SMALLEST_LOOP:
            body, label = [node], f"a loop of {where}"
        elif isinstance(node, ast.Dict) and is_answer and _size(node) >= SMALLEST_LOOP:
            body, label = [ast.Expr(node)], f"a table of {where}"
        else:
            continue
        kept = [s for s in body if not _is_guard(s)]
        if sum(_size(s) for s in kept) >= SMALLEST:
            for stage in _stages(kept):  # written out, in one line, and between the two
                code.setdefault(normalised(stage), label)


def _programs(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Every piece of Python in a file: modules, notebook cells, recipes."""
    if name.endswith(".py"):
        yield name, text
    elif name.endswith(".ipynb"):
        for number, cell in enumerate(nbformat.reads(text, as_version=4).cells, start=1):
            if cell.cell_type == "code":
                yield f"{name}, cell {number}", TransformerManager().transform_cell(cell.source)
    elif name.endswith(".json"):
        recipe = json.loads(text)
        if isinstance(recipe, dict) and isinstance(recipe.get("recipe"), str):
            yield f"{name}, recipe", recipe["recipe"]


def _plain_text(name: str, text: str) -> str:
    if name.endswith(".ipynb"):
        return "\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells)
    return text


def _sentences(text: str) -> Iterator[str]:
    """Lines that say something, with their white space and marks of emphasis taken away."""
    for line in text.splitlines():
        plain = " ".join(line.strip(" #*->").split())
        if len(re.findall("[A-Za-z]{2,}", plain)) >= 5 and not MARKS.search(plain):
            yield plain


def _blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        for part in ("body", "orelse", "finalbody"):
            block = getattr(node, part, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                yield block
        if isinstance(node, ast.Lambda):
            yield [ast.Expr(node.body)]


def _code_leaks(python: str, private: Secrets, files: Mapping[str, bytes]) -> Iterator[str]:
    try:
        tree = ast.parse(python)
    except SyntaxError as error:
        yield f"cannot be read as Python (line {error.lineno}), so nothing vouches for it"
        return
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in private.names and not is_stub(node):
            yield f"defines {node.name}, which students are to write or not to see"
    for block in _blocks(tree):
        kept, short = [s for s in block if not _is_guard(s)], inlined(block)
        runs = [kept, short] if len(short) < len(kept) else [kept]
        yield from dict.fromkeys(leak for run in runs for leak in _private_runs(run, private))
    yield from _import_leaks(tree, files)


def _private_runs(kept: Sequence[ast.stmt], private: Secrets) -> Iterator[str]:
    """The private code that stands somewhere in a run of statements."""
    inner = [_shape(s, None) for s in kept]
    last = [_shape(_result(s), None) for s in kept]
    for length in private.lengths:
        for start in range(len(kept) - length + 1):
            stop = start + length
            if (*inner[start : stop - 1], last[stop - 1]) in private.outlines:
                label = private.code.get(normalised(kept[start:stop]))
                if label is not None:
                    yield f"holds {label} (line {kept[start].lineno})"


def is_stub(function: ast.FunctionDef) -> bool:
    """Whether a function does nothing but check its input and raise NotImplementedError."""
    kept = [s for s in function.body if not _is_guard(s)]
    if len(kept) != 1 or not isinstance(kept[0], ast.Raise):
        return False
    wanted = f"NotImplementedError('{function.name}: your code here')"
    return kept[0].exc is not None and ast.unparse(kept[0].exc) == wanted


def _import_leaks(tree: ast.AST, files: Mapping[str, bytes]) -> Iterator[str]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    guarded = {id(inner) for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        wanted: list[str] = []
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield f"imports relatively (line {node.lineno}): write the whole name"
                continue
            assert node.module is not None
            wanted = [node.module]
            if node.module in ("autograder", "course_lib"):
                wanted = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value.startswith(PRIVATE_MODULES):
                yield f"names {node.value!r} (line {node.lineno})"
        elif isinstance(node, ast.Attribute) and UNIX_CALLS.match(ast.unparse(node)):
            yield f"uses os.{node.attr} (line {node.lineno}), which Windows has not"
        for module in wanted:
            line = getattr(node, "lineno", 0)
            package = module.partition(".")[0]
            if UNIX_MODULES.match(package) and id(node) not in guarded:
                yield f"imports {module} (line {line}), which Windows has not"
            elif package in ("autograder", "course_lib") and not _is_in(module, files):
                yield f"imports {module} (line {line}), which is not in the bundle"


def _is_in(module: str, files: Mapping[str, bytes]) -> bool:
    """Whether a module, or a name that its package gives, is among the files."""
    path = module.replace(".", "/")
    package, _, name = path.rpartition("/")
    init = files.get(f"{package}/__init__.py", b"").decode()
    given = re.search(rf"\b{name}\b", init) and not module.startswith(PRIVATE_MODULES)
    return f"{path}.py" in files or f"{path}/__init__.py" in files or bool(given)


def _unfinished(text: str) -> Iterator[str]:
    """Answers left in cells that students are to fill, and outputs left anywhere."""
    for number, cell in enumerate(nbformat.reads(text, as_version=4).cells, start=1):
        if cell.get("outputs") or cell.get("execution_count"):
            yield f"has outputs in cell {number}"
        if not cell.metadata.get("nbgrader", {}).get("solution"):
            continue
        if cell.cell_type != "code":
            if cell.source != TEXT_STUB:
                yield f"has an answer in cell {number}, where {TEXT_STUB!r} should stand"
            continue
        body = ast.parse(cell.source).body
        if len(body) != 1 or not isinstance(body[0], ast.FunctionDef) or not is_stub(body[0]):
            yield f"has no stub in cell {number}"


def require_no_leaks(files: Mapping[str, bytes], private: Secrets) -> None:
    """Raise HandoutError if anything is found."""
    if found := find_leaks(files, private):
        raise HandoutError("the bundle would give something away:\n  " + "\n  ".join(found))
