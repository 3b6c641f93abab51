"""What grading found out about one submission: the run record that reports and reruns read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from autograder.project import replace
from autograder.student.exam import Verdict

STATES = ("graded", "cells failed", "unreadable", "timed out", "out of memory", "killed")
ACCIDENT = "not graded: accident"  # of the grader's: such a record is shown, and never kept


class Accident(RuntimeError):
    """A run ended by something that the student's code alone did not do: it is to be run again.

    The message says what, to go on after "it" or the name of a student.
    """


@dataclass(frozen=True)
class Record:
    """One submission, graded.

    state: one of STATES, or ACCIDENT. The last three of STATES: the process had to be stopped or
    died on the way, even if the rest was graded afterwards. for_student, for_staff: a sentence
    each, or "".
    verdicts: one a check, in the homework's order. repairs: what was put back before running
    (locked cells, kernel name). notices: what a person should look at (tampering, escapes).
    failed_cells: numbers (from 1) of code cells that raised. stopped_at: imports that cells or
    functions stopped at, such as "import seaborn". seconds: from start to verdicts. made_from:
    hashes of all that a mark depends on, by name; what is equal need not be done again.
    """

    homework: str
    student: str
    state: str
    for_student: str = ""
    for_staff: str = ""
    verdicts: tuple[Verdict, ...] = ()
    repairs: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    failed_cells: tuple[int, ...] = ()
    stopped_at: tuple[str, ...] = ()
    seconds: float = 0.0
    made_from: dict[str, str] = field(default_factory=dict)

    @property
    def points(self) -> float:
        """Points of the checks, written answers not counted."""
        return sum(verdict.points for verdict in self.verdicts)

    @property
    def max_points(self) -> float:
        """The most that the checks can give."""
        return sum(verdict.max_points for verdict in self.verdicts)


def record_path(course: Path, homework: str, student: str) -> Path:
    """Where the record of one submission lies in the class folder."""
    return course / ".course" / "records" / homework / f"{student}.json"


def save(course: Path, record: Record) -> Path:
    """Write a record whole or not at all."""
    path = record_path(course, record.homework, record.student)
    replace(path, json.dumps(asdict(record), indent=1).encode())
    return path


def load(path: Path) -> Record:
    """Read a record back. Raises ValueError if the file is not one."""
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        data["verdicts"] = tuple(map(Verdict.from_json, data["verdicts"]))
        for name in ("repairs", "notices", "failed_cells", "stopped_at"):
            data[name] = tuple(data.get(name, ()))
        known = {field.name for field in fields(Record)}
        return Record(**{name: value for name, value in data.items() if name in known})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} is not a run record ({error}): grade it again") from None


def load_all(course: Path, homework: str) -> Iterator[Record]:
    """Every record of a homework, by student."""
    for path in sorted((course / ".course" / "records" / homework).glob("*.json")):
        yield load(path)


def by_import(records: Iterable[Record]) -> dict[str, list[str]]:
    """Students by the import that something of theirs stopped at, the most frequent first."""
    found: dict[str, list[str]] = {}
    for record in records:
        for words in record.stopped_at:
            found.setdefault(words, []).append(record.student)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))
