"""What students are told of their hidden cases, where a question gives each of them their own."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from autograder.grading.examiner import course_secret, hidden_numbers
from autograder.handouts.assignments import settings
from autograder.handouts.books import has_gradebook, open_gradebook
from autograder.project import ROOT, replace
from autograder.questions.check import Check


def told(check: Check, secret: bytes, student: str) -> list[int]:
    """The numbers that a check gives a student to work on, in the order of the hidden cases."""
    cases = check.hidden_cases(hidden_numbers(check, secret, student))
    return [int(case[check.told]) for case in cases]


def write_draw(
    course: Path,
    homework: str,
    checks: Sequence[Check],
    names: Path | None = None,
    root: Path = ROOT,
) -> tuple[Path, int]:
    """Write a table of students and their numbers; returns where, and how many students.

    A column for each check that tells any, named as the argument is, in the plural. Students are
    those of the gradebook, of the folder submitted/ and of the file `names`, one a line.
    Raises ValueError if the homework tells nobody anything, or no student is known.
    """
    telling = [check for check in checks if check.told]
    if not telling:
        raise ValueError(f"{homework} has no question that gives students numbers of their own.")
    students = _students(course, names, root)
    if not students:
        raise ValueError(
            f"No student is known in {course}: neither its gradebook nor submitted/ has one. Give "
            "their names with --names FILE, one on each line, as they will be in submitted/."
        )
    secret = course_secret(course)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["student", *(f"{check.told}s" for check in telling)])
    for student in students:
        numbers = (told(check, secret, student) for check in telling)
        writer.writerow([student, *(" ".join(map(str, each)) for each in numbers)])
    path = course / "report" / f"{homework}-draw.csv"
    replace(path, text.getvalue().encode())
    return path, len(students)


def _students(course: Path, names: Path | None, root: Path) -> list[str]:
    """Everybody who is known, spelled as grading spells the names of folders."""
    found: set[str] = set()
    config = settings(root)
    if has_gradebook(course, config):
        with open_gradebook(course, config) as gradebook:
            found |= {student.id for student in gradebook.students}
    if (course / "submitted").is_dir():
        entries = (course / "submitted").iterdir()
        found |= {path.name for path in entries if path.is_dir() and path.name[0] != "."}
    if names is not None:
        found |= {line.strip() for line in names.read_text(encoding="utf-8-sig").splitlines()}
    return sorted({unicodedata.normalize("NFC", name) for name in found if name})
