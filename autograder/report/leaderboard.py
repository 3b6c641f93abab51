"""The leaderboard: agents that were handed in, of students who gave themselves a name for it."""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nbformat import NotebookNode

from autograder.report.results import ClassResults

VARIABLE = "LEADERBOARD"
MAX_NAME = 30


@dataclass(frozen=True)
class Row:
    """An agent. mean_return: as grading found it. steps, seconds: of its training, as the student
    says; None where nothing usable was said.
    """

    student: str
    name: str
    mean_return: float
    steps: float | None
    seconds: float | None


def claims(cells: Iterable[NotebookNode]) -> Mapping[str, object]:
    """What a student says for the leaderboard: the last LEADERBOARD = {...}; nothing is run."""
    said: Mapping[str, object] = {}
    for cell in cells:
        if cell.get("cell_type") != "code" or VARIABLE not in cell.source:
            continue
        try:
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.Assign) and [*map(ast.unparse, node.targets)] == [VARIABLE]:
                    value = ast.literal_eval(node.value)
                    said = value if isinstance(value, dict) else {}
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            continue  # a cell with an error, or something that is not plain data
    return said


def leaderboard(
    group: ClassResults, said: Mapping[str, Mapping[str, object]]
) -> list[tuple[str, list[Row]]]:
    """For each question with agents its title and rows, the best return first, then fewest steps.

    said: what each student says (`claims`). Only those with a name are there, whose agents earned
    points: one that does not use its file is none. Who takes a name that
    is there already gets a number behind it, in the order of the class.
    """
    names = _names(group, said)
    boards = []
    for question in group.coded:
        rows = []
        for one in group.students:
            for mark in one.marks:
                verdict = mark.verdict
                if mark.question != question or one.student not in names or verdict is None:
                    continue
                if verdict.mean_return is None or not verdict.points:
                    continue
                cost = said[one.student].get(question.name)
                costs = cost if isinstance(cost, dict) else {}
                steps, seconds = (_number(costs.get(key)) for key in ("steps", "seconds"))
                name = names[one.student]
                rows.append(Row(one.student, name, verdict.mean_return, steps, seconds))
        if rows:
            boards.append((question.title, sorted(rows, key=_rank)))
    return boards


def _names(group: ClassResults, said: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """Names that students chose, by student."""
    chosen: dict[str, str] = {}
    taken: Counter[str] = Counter()
    for one in group.students:
        name = said.get(one.student, {}).get("name")
        if not isinstance(name, str) or not (name := " ".join(name.split())[:MAX_NAME]):
            continue
        taken[name.casefold()] += 1
        again = taken[name.casefold()]
        chosen[one.student] = name if again == 1 else f"{name} ({again})"
    return chosen


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < 1e12 and math.isfinite(value) else None


def _rank(row: Row) -> tuple[float, float, float, str]:
    steps, seconds = (math.inf if x is None else x for x in (row.steps, row.seconds))
    return -round(row.mean_return, 1), steps, seconds, row.name


def public(boards: Sequence[tuple[str, Sequence[Row]]]) -> list[tuple[str, list[Row]]]:
    """The same without who is who, for the page that a class may see."""
    return [
        (title, [Row("", r.name, r.mean_return, r.steps, r.seconds) for r in rows])
        for title, rows in boards
    ]
