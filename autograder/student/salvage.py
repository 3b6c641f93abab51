"""Going on in a cell that stopped at an import: what stands below it is not lost.

A module that only the student has, or a path of an older release, costs what needs it and no more.
"""

from __future__ import annotations

import ast
from typing import Any

IMPORT_ERRORS = ("ImportError", "ModuleNotFoundError")
MAX_STATEMENTS = 200
MAX_ERRORS = 20


def go_on(shell: Any, source: str, instead: str | None = None) -> list[dict[str, Any]]:
    """After `probe.make_shell()` ran a cell: run what is left of it. Its errors, as outputs.

    instead: for the imports cell, the homework's own one; it runs first, whatever stopped the cell.
    Any other cell goes on only if an import stopped it. Then each statement below is tried by
    itself; of those that fail, only imports are told, since the others stop for want of them.
    """
    first = shell.error
    if first is None:
        return []
    if instead is None and first["ename"] not in IMPORT_ERRORS:
        return [first]
    errors = [first]
    left = [] if instead is None else [instead]
    if not _out_of_time(first):
        left += statements_after(shell.transform_cell(source), shell.error_line)[:MAX_STATEMENTS]
    for piece in left:
        shell.error = None
        shell.run_cell(piece, store_history=False)
        error = shell.error
        if error is not None and _out_of_time(error):
            return [*errors, error]
        if error is not None and error["ename"] in IMPORT_ERRORS and len(errors) < MAX_ERRORS:
            errors.append(error)
    return errors


def _out_of_time(error: dict[str, Any]) -> bool:
    return bool(error["ename"] == "TimeLimit")


def statements_after(python: str, line: int) -> list[str]:
    """The top-level statements after the one at a line, each as far down as it stood."""
    try:
        body = ast.parse(python).body
    except (SyntaxError, ValueError, RecursionError):
        return []
    lines = [text.encode() for text in python.splitlines(keepends=True)]
    stopped = next((i for i, node in enumerate(body) if (node.end_lineno or 0) >= line), len(body))
    left = []
    for node in body[stopped + 1 :] if line else body:
        decorators = getattr(node, "decorator_list", [])
        start = decorators[0].lineno if decorators else node.lineno
        piece = lines[start - 1 : node.end_lineno]
        piece[-1] = piece[-1][: node.end_col_offset]
        piece[0] = piece[0][node.col_offset :]
        left.append("\n" * (start - 1) + b"".join(piece).decode())
    return left
