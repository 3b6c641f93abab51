"""Percent sources to notebooks, one way: what an instructor edits becomes what people open.

Homework sources name the answers instead of holding them (the shorthand of `homework_notebook`);
here they are expanded into nbgrader's own cells.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import re
import symtable
import textwrap
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.notebooknode import NotebookNode

from autograder.percent import HOMEWORK_KEYS, LECTURE_KEYS, TO_WRITE, Cell, read_cells
from autograder.project import HandoutError
from autograder.questions.check import Check, Function
from autograder.questions.edits import is_validation
from autograder.student.modules import in_words
from autograder.student.notebook_file import name_term

METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
ANSWER_IMPORT = "from autograder.student.check import check"


def lecture_notebook(path: Path) -> NotebookNode:
    """A lecture as a notebook without outputs. Every code cell must compile."""
    cells = read_cells(path, LECTURE_KEYS)
    for cell in cells:
        if cell.kind == "code":
            _python(cell)
    return _notebook((cell, cell.source, _plain(cell)) for cell in cells)


def homework_notebook(path: Path, checks: Sequence[Check]) -> NotebookNode:
    """A homework as nbgrader's source notebook, answers included. Private.

    Shorthand: `answer="f"` is replaced by the reference `f`, its body between nbgrader's solution
    marks; `check="f" points=3` by the locked test `check(f)` with these points; `program="f"` is
    replaced as an answer is, and nothing asks for it: what it makes is handed in.
    `[markdown] written="name" points=3` holds a model answer and a mark scheme. The mark scheme
    goes into a locked cell above the answer, where nbgrader gives it back to whoever grades. A
    line `{questions}` becomes the table of questions and points, `{modules}` in a line the modules
    that may be used. Every check must be asked, after its answer. Raises HandoutError if the source
    says otherwise.
    """
    homework = _Homework(checks)
    for cell in read_cells(path, HOMEWORK_KEYS):
        homework.add(cell)
    homework.require_all(path)
    table = _question_table(homework.questions)
    notebook = _notebook(
        (cell, _filled(text, table) if cell.kind == "markdown" else text, metadata)
        for cell, text, metadata in homework.expanded
    )
    if term := next((check.term for check in checks), ""):
        name_term(notebook, term)
    return notebook


class _Homework:
    """A homework on its way from a percent source to nbgrader's cells.

    expanded: cell of the source, text and metadata of each cell so far. known: names that the
    cells so far define.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self.checks = {check.name: check for check in checks}
        self.expanded: list[tuple[Cell, str, dict[str, Any]]] = []
        self.questions: list[tuple[str, float]] = []
        self.answered: dict[str, Cell] = {}
        self.asked: set[str] = set()
        self.grade_ids: dict[str, int] = {}
        self.known: set[str] = set(dir(builtins))

    def add(self, cell: Cell) -> None:
        """Expand a cell of the source."""
        kinds = [k for k in ("answer", "check", "program", "written") if k in cell.metadata]
        if len(kinds) > 1:
            raise cell.error(f"it is marked as {' and '.join(kinds)}: make it one of them")
        kind = kinds[0] if kinds else ""
        if "points" in cell.metadata and kind not in ("check", "written"):
            raise cell.error("points belong to the cells that are marked: check= and written=")
        if kind == "answer":
            self._add_answer(cell)
        elif kind == "check":
            self._add_check(cell)
        elif kind == "program":
            self._add_program(cell)
        elif kind == "written":
            self._add_written(cell)
        else:
            self._add_plain(cell)

    def require_all(self, path: Path) -> None:
        """Raise HandoutError unless every check is asked and every answer is tried."""
        for name, cell in self.answered.items():
            if name not in self.asked:
                raise cell.error(f'there is no cell check="{name}" after it: add one')
        if missing := [name for name in self.checks if name not in self.asked]:
            raise HandoutError(
                f"{path.name} does not ask for {', '.join(missing)}: add their cells"
            )

    def _add_answer(self, cell: Cell) -> None:
        check = _find(cell, self.checks)
        self._put_solution(cell, check.reference)
        self.answered[check.name] = cell

    def _add_program(self, cell: Cell) -> None:
        name = str(cell.metadata["program"])
        try:
            function = getattr(import_module(f"course_lib.reference.answers.{name}"), name)
        except (ImportError, AttributeError) as error:
            raise cell.error(
                f"there is no function {name} in course_lib/reference/answers/{name}.py ({error}): "
                "write it there"
            ) from error
        self._put_solution(cell, function)

    def _put_solution(self, cell: Cell, function: Function) -> None:
        _require_empty(cell)
        source = solution_source(function)
        _require_names(cell, source, self.known)
        self.known |= _assigned(_python(cell, source))
        self._put(cell, source, grade_id=f"answer_{function.__name__}", solution=True)

    def _add_check(self, cell: Cell) -> None:
        check = _find(cell, self.checks)
        if check.name not in self.answered:
            raise cell.error(f'there is no cell answer="{check.name}" above it: add one')
        if "check" not in self.known:
            raise cell.error(f"`{ANSWER_IMPORT}` is missing: put it into the first code cell")
        self.asked.add(check.name)
        self.questions.append((f"`{check.name}`", check.points))
        locked = {"grade": True, "locked": True, "points": check.points}
        self._put(cell, f"check({check.name})", grade_id=check.name, **locked)

    def _add_written(self, cell: Cell) -> None:
        name, points = _written(cell)
        model, scheme = _split_written(cell)
        self.questions.append((f"{name.replace('_', ' ').capitalize()} (in words)", points))
        unit = "point" if points == 1 else "points"
        rubric = f"*Marked by hand, {points:g} {unit}.*\n\n{scheme}"
        self._put(cell, rubric, grade_id=f"rubric_{name}", locked=True)
        manual = {"grade": True, "solution": True, "points": points}
        self._put(cell, model, grade_id=f"written_{name}", **manual)

    def _add_plain(self, cell: Cell) -> None:
        if re.search("(BEGIN|END) (SOLUTION|HIDDEN TESTS|MARK SCHEME)", cell.source):
            raise cell.error("solution marks belong to answer= and written= cells only")
        if cell.kind == "code":
            self.known |= _assigned(_python(cell))
        self.expanded.append((cell, cell.source, _plain(cell)))

    def _put(self, cell: Cell, source: str, **nbgrader: Any) -> None:
        """Put a cell of nbgrader's into the notebook."""
        grade_id = nbgrader["grade_id"]
        if grade_id in self.grade_ids:
            raise cell.error(
                f"the grade id {grade_id} is taken by cell {self.grade_ids[grade_id]}: rename one"
            )
        self.grade_ids[grade_id] = cell.number
        flags = {"grade": False, "locked": False, "solution": False, "task": False}
        metadata = {"nbgrader": flags | {"schema_version": 3} | nbgrader}
        self.expanded.append((cell, source, _plain(cell) | metadata))


def _filled(text: str, questions: str) -> str:
    return text.replace("{questions}", questions).replace("{modules}", in_words())


def _question_table(questions: Sequence[tuple[str, float]]) -> str:
    """Questions and points in Markdown, numbered in order, with their sum."""
    rows = [f"| {n}. {name} | {points:g} |" for n, (name, points) in enumerate(questions, start=1)]
    total = f"| together | {sum(points for _, points in questions):g} |"
    return "\n".join(["| question | points |", "|---|---|", *rows, total])


def solution_source(function: Function) -> str:
    """A reference function as an nbgrader solution cell.

    Signature, docstring and the `validate` lines at the top are given; the rest stands between the
    solution marks. The line after them is what is left for students once the marks are cleared, so
    that an unwritten answer says its own name; in the source nothing reaches it.
    """
    source = textwrap.dedent(inspect.getsource(function)).rstrip("\n")
    lines = source.split("\n")
    definition = ast.parse(source).body[0]
    name = function.__name__
    if not isinstance(definition, ast.FunctionDef) or ast.get_docstring(definition) is None:
        raise HandoutError(f"reference {name} must be a function with a docstring: write one")
    if TO_WRITE in source:
        raise HandoutError(f"reference {name} still says {TO_WRITE}: put your own words there")
    given = 1
    while given < len(definition.body) and is_validation(definition.body[given]):
        given += 1
    if given == len(definition.body):
        raise HandoutError(f"reference {name} has no body: write the answer")
    if not _always_leaves(definition.body):
        raise HandoutError(f"reference {name} can reach its end: finish it with a return")
    last = definition.body[given - 1].end_lineno
    assert last is not None
    indent = " " * definition.body[given].col_offset
    return "\n".join(
        [
            *lines[:last],
            f"{indent}### BEGIN SOLUTION",
            *lines[last:],
            f"{indent}### END SOLUTION",
            f'{indent}raise NotImplementedError("{name}: your code here")',
        ]
    )


def notebook_bytes(notebook: NotebookNode) -> bytes:
    """A notebook as the bytes of its file: the same on any machine."""
    text: str = nbformat.writes(notebook, version=4)
    return (text.rstrip("\n") + "\n").encode()


def _always_leaves(body: Sequence[ast.stmt]) -> bool:
    last = body[-1]
    if isinstance(last, ast.If):
        return bool(last.orelse) and _always_leaves(last.body) and _always_leaves(last.orelse)
    if isinstance(last, ast.With):
        return _always_leaves(last.body)
    return isinstance(last, ast.Return | ast.Raise)


def _find(cell: Cell, by_name: dict[str, Check]) -> Check:
    name = cell.metadata.get("answer", cell.metadata.get("check"))
    _require_empty(cell)
    if name not in by_name:
        raise cell.error(f"there is no check {name!r} in this homework: use {', '.join(by_name)}")
    return by_name[name]


def _require_empty(cell: Cell) -> None:
    """What the build writes is a code cell without code of its own."""
    if cell.kind != "code":
        raise cell.error("answers and checks are code cells: leave out [markdown]")
    if any(line.strip() and not line.startswith("#") for line in cell.source.splitlines()):
        raise cell.error("the build writes this cell: leave it empty but for a comment")


def _written(cell: Cell) -> tuple[str, float]:
    name, points = cell.metadata["written"], cell.metadata.get("points")
    if cell.kind != "markdown":
        raise cell.error(f'write [markdown] before written="{name}"')
    if not isinstance(points, int | float) or isinstance(points, bool) or points <= 0:
        raise cell.error(f"points must be a number above 0, got {points!r}: add points=3")
    return str(name), points


def _split_written(cell: Cell) -> tuple[str, str]:
    """The model answer between solution marks, and the mark scheme between its own."""
    model: list[str] = []
    scheme: list[str] = []
    inside, schemes = False, 0
    for line in cell.source.splitlines():
        if "BEGIN MARK SCHEME" in line:
            inside, schemes = True, schemes + 1
        elif "END MARK SCHEME" in line:
            inside = False
        elif inside:
            scheme.append(line)
        elif "BEGIN SOLUTION" not in line and "END SOLUTION" not in line:
            model.append(line)
    scheme_text, model_text = "\n".join(scheme).strip("\n"), "\n".join(model).strip("\n")
    if schemes != 1 or inside or not scheme_text:
        raise cell.error(
            "it needs one mark scheme between the lines === BEGIN MARK SCHEME === and "
            "=== END MARK SCHEME ==="
        )
    if not model_text:
        raise cell.error("it has no model answer: write one beside the mark scheme")
    return (
        f"### BEGIN SOLUTION\n{model_text}\n### END SOLUTION",
        f"=== BEGIN MARK SCHEME ===\n{scheme_text}\n=== END MARK SCHEME ===",
    )


def _python(cell: Cell, source: str | None = None) -> str:
    """The cell as plain Python, magics expanded. Raises HandoutError if it does not compile."""
    text: str = TransformerManager().transform_cell(cell.source if source is None else source)
    try:
        compile(text, cell.file, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        raise cell.error(f"line {error.lineno} does not compile: {error.msg}") from None
    return text


def _assigned(python: str) -> set[str]:
    """Names that running a cell defines."""
    try:
        symbols = symtable.symtable(python, "cell", "exec").get_symbols()
    except SyntaxError:  # a top-level await
        return set()
    return {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}


def _require_names(cell: Cell, source: str, known: set[str]) -> None:
    """Whatever an answer names must have been imported or defined by a cell above it."""
    top = symtable.symtable(source, "cell", "exec")
    needed = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    tables = list(top.get_children())
    while tables:
        table = tables.pop()
        needed |= {s.get_name() for s in table.get_symbols() if s.is_global()}
        tables += table.get_children()
    if missing := sorted(needed - known - _assigned(source)):
        name = cell.metadata.get("answer") or cell.metadata["program"]
        raise cell.error(
            f"{name} uses {', '.join(missing)}, which no cell above imports: "
            "add the import to the first code cell"
        )


def _plain(cell: Cell) -> dict[str, Any]:
    return {"tags": cell.metadata["tags"]} if "tags" in cell.metadata else {}


def _notebook(expanded: Iterable[tuple[Cell, str, dict[str, Any]]]) -> NotebookNode:
    nodes: list[NotebookNode] = []
    taken: set[str] = set()
    for cell, source, metadata in expanded:
        text = source.rstrip("\n")
        new = getattr(nbformat.v4, f"new_{cell.kind}_cell")
        cell_id = _cell_id(cell, text, metadata, taken)
        nodes.append(new(source=text, metadata=metadata, id=cell_id))
    notebook = nbformat.v4.new_notebook(metadata=METADATA, cells=nodes)
    notebook.nbformat_minor = 5
    nbformat.validate(notebook)
    return notebook


def _cell_id(cell: Cell, text: str, metadata: dict[str, Any], taken: set[str]) -> str:
    """From the grade id, the author or the text: nothing that differs between two builds."""
    if "nbgrader" in metadata:
        wanted = re.sub("[^A-Za-z0-9_-]", "-", metadata["nbgrader"]["grade_id"])[:64]
    elif "id" in cell.metadata:
        wanted = str(cell.metadata["id"])
        if not re.fullmatch("[A-Za-z0-9_-]{1,64}", wanted) or wanted in taken:
            raise cell.error(f"id {wanted!r} is taken or has other signs than letters, digits, -_")
    else:
        wanted = hashlib.sha256(f"{cell.kind}\n{text}".encode()).hexdigest()[:12]
    cell_id, occurrence = wanted, 1
    while cell_id in taken:
        occurrence += 1
        cell_id = f"{wanted[:58]}-{occurrence}"
    taken.add(cell_id)
    return cell_id
