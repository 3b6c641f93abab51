"""The imports of a hand-in: its imports cell, found or put back, and what its imports stopped."""

from __future__ import annotations

import ast
import contextlib
import copy
import re
from typing import TYPE_CHECKING

from nbformat import NotebookNode

from autograder.student.modules import stopped_at
from autograder.student.notebook_file import grade_id_of

if TYPE_CHECKING:  # reading a hand-in takes no torch
    from autograder.grading.examiner import Examination

MAGIC = re.compile(r"^[ \t]*[%!].*$", re.MULTILINE)  # lines for IPython, which are not Python


def imports_of(release: NotebookNode) -> NotebookNode | None:
    """The imports cell of a homework: its first code cell, if that is no question's and imports."""
    first = next((cell for cell in release.cells if cell.cell_type == "code"), None)
    if first is None or grade_id_of(first) or not names_brought(first.source):
        return None
    return first


def find_imports(
    notebook: NotebookNode, release: NotebookNode
) -> tuple[NotebookNode | None, tuple[str, ...]]:
    """The hand-in's imports cell, and a sentence if it was missing and was put on top, in place.

    It is the cell that brings most of the names that the homework's own brings, from wherever it
    has them, and more than half. None if the homework has no such cell.
    """
    original = imports_of(release)
    if original is None:
        return None, ()
    wanted = names_brought(original.source)
    coded = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shares = [len(wanted & names_brought(cell.source)) for cell in coded]
    most = max(shares, default=0)
    if 2 * most > len(wanted):
        return coded[shares.index(most)], ()
    cell = copy.deepcopy(original)
    cell.id = "imports"
    notebook.cells.insert(0, cell)
    return cell, ("The imports cell was missing; the homework's own was put on top.",)


def names_brought(source: str) -> set[str]:
    """Names that the top-level imports of a cell bring; of its lines alone, if it is not Python."""
    try:
        body = _statements(MAGIC.sub("", source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        body = []
        for line in source.splitlines():
            with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
                body += _statements(line)
    return {
        (alias.asname or alias.name).partition(".")[0]
        for node in body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def _statements(python: str) -> list[ast.stmt]:
    return ast.parse(python).body


def mended(examination: Examination, imports: int | None) -> tuple[str, ...]:
    """A sentence if the imports cell stopped."""
    if imports is None or imports not in examination.failed:
        return ()
    name, message = _errors(examination, imports)[0]
    what = stopped_at(name, message) or f"{name}: {message}".splitlines()[0][:200]
    return (
        f"The imports cell stopped ({what}): the homework's own was run as well, then each "
        "statement that was left, by itself.",
    )


def stopped_imports(examination: Examination) -> tuple[str, ...]:
    """The imports that cells and questions stopped at, in order."""
    errors = [error for cell in examination.failed for error in _errors(examination, cell)]
    for verdict in examination.verdicts:
        if match := re.search(r"\b(ImportError|ModuleNotFoundError): (.*)", verdict.sentence):
            errors.append((match.group(1), match.group(2)))
    found = [stopped_at(*error) for error in errors]
    return tuple(dict.fromkeys(words for words in found if words))


def _errors(examination: Examination, cell: int) -> list[tuple[str, str]]:
    """Name and message of each error in a cell's outputs."""
    return [
        (output["ename"], output["evalue"])
        for output in examination.outputs[cell]
        if output["output_type"] == "error"
    ]
