"""Whose mark changed since the last report, from what to what, and why; every list is kept."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autograder.grading import late
from autograder.grading.grade import CHECK, HAND_IN
from autograder.handouts.assignments import settings
from autograder.project import replace
from autograder.report.results import ClassResults, Mark, StudentResult

PENALTY = "late"  # stands where a question's name does


@dataclass(frozen=True)
class Change:
    """One mark that is another now. before, after: points, None where there were none. why: words.

    question: its name, or PENALTY for what is taken off for being late.
    """

    student: str
    question: str
    before: float | None
    after: float | None
    why: str


def note(group: ClassResults) -> list[Change]:
    """What changed since this was called last, in the whole class; it is kept under .course/.

    The first time there is nothing to compare with, and nothing has changed.
    """
    now = {one.student: _state(one) for one in group.students if one.record is not None}
    path = group.course / ".course" / "marks" / f"{group.homework}.json"
    before: dict[str, Any] = _read(path)
    policy = late.policy(settings())
    changes = [
        change
        for student, state in now.items()
        if student in before.get("students", {})
        for change in _changes(
            student, before["students"][student], state, policy != before["policy"]
        )
    ]
    if changes:
        _append(changes_path(group.course, group.homework), changes)
    replace(path, json.dumps({"policy": policy, "students": now}, indent=1).encode())
    return changes


def changes_path(course: Path, homework: str) -> Path:
    """Where every change is kept, a line of JSON each, with the time when it was seen."""
    return course / "report" / f"{homework}-changes.jsonl"


def _state(one: StudentResult) -> dict[str, Any]:
    assert one.record is not None
    return {
        "made_from": one.record.made_from,
        "times": one.times,
        "penalty": one.penalty,
        "marks": {mark.question.name: _mark(mark, one) for mark in one.marks},
    }


def _mark(mark: Mark, one: StudentResult) -> dict[str, Any]:
    return {
        "score": mark.score,
        "by_hand": mark.by_hand,
        "earlier": mark.earlier is not None,
        "unread": one.state == "unreadable",
    }


def _changes(
    student: str, before: Mapping[str, Any], now: Mapping[str, Any], policy: bool
) -> list[Change]:
    found = []
    for question, mark in now["marks"].items():
        old = before["marks"].get(question)
        if old is not None and old["score"] != mark["score"]:
            why = _why(question, old, mark, before["made_from"], now["made_from"])
            found.append(Change(student, question, old["score"], mark["score"], why))
    if before["penalty"] != now["penalty"]:
        moved = [name for name, value in now["times"].items() if before["times"][name] != value]
        moved += ["the late policy"] if policy else []
        why = " and ".join(moved) + " changed" if moved else "the points it is taken from changed"
        found.append(Change(student, PENALTY, 0.0 - before["penalty"], 0.0 - now["penalty"], why))
    return found


def _why(
    question: str,
    old: Mapping[str, Any],
    mark: Mapping[str, Any],
    made_from: Mapping[str, str],
    made_now: Mapping[str, str],
) -> str:
    """Why a mark is another, from what it depends on and what of that is another."""
    if mark["by_hand"]:
        other = old["by_hand"] and made_from.get(HAND_IN) != made_now.get(HAND_IN)
        return "its mark by hand is back" if old["earlier"] or other else "marked by hand"
    if mark["unread"] and not old["unread"]:
        return "the file cannot be read"
    if old["by_hand"]:
        was = "was for another answer" if mark["earlier"] else "was taken back"
        return f"its mark by hand {was}"
    if not made_from:
        return "graded by an earlier version before"
    names = {name for name in {*made_from, *made_now} if made_from.get(name) != made_now.get(name)}
    *others, last = sorted(
        f"the {name}"
        for name in names
        if not name.startswith(CHECK) or name == f"{CHECK}{question}"
    ) or ["something outside `course grade`"]
    return f"{', '.join(others)} and {last} changed" if others else f"{last} changed"


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _append(path: Path, changes: Sequence[Change]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seen = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    with path.open("a", encoding="utf-8") as file:
        for change in changes:
            file.write(json.dumps({"seen": seen, **asdict(change)}, ensure_ascii=False) + "\n")
