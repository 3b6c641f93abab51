"""How a class stands in one homework: run records joined with the gradebook's marks.

The gradebook has the last word on marks (a TA may have changed one by hand); the run record says
what was wrong. Pages, CSV and JSON are all made from what is gathered here.
"""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.grading import by_hand, late
from autograder.grading import record as records
from autograder.grading.beside import TIMESTAMP
from autograder.grading.by_hand import Given, Kept
from autograder.grading.placing import Placed, Submission, place
from autograder.grading.record import Record, by_import
from autograder.handouts.assignments import settings
from autograder.handouts.books import has_gradebook, open_gradebook
from autograder.student.exam import Verdict
from autograder.student.notebook_file import grade_id_of

NOT_GRADED, NOT_HANDED_IN = "not graded", "not handed in"
STATES = (*records.STATES, NOT_GRADED, NOT_HANDED_IN)


@dataclass(frozen=True)
class Question:
    """A column of the table: a check ("coded") or an answer in words ("written")."""

    name: str
    title: str
    kind: str
    max_points: float


@dataclass(frozen=True)
class Mark:
    """One student's mark on one question.

    score: None while there is none. waiting: a person must still grade it. by_hand: a person has
    set it. auto_score: what the gradebook has from the machine. comment: the grader's, or "".
    earlier: what a person gave for another answer to it, in an earlier hand-in.
    """

    question: Question
    score: float | None = None
    waiting: bool = False
    by_hand: bool = False
    auto_score: float | None = None
    comment: str = ""
    verdict: Verdict | None = None
    earlier: Given | None = None

    @property
    def outcome(self) -> str:
        """The verdict's outcome; for words "waiting", "marked", "unwritten" or ""."""
        if self.verdict is not None:
            return self.verdict.outcome
        if self.waiting:
            return "waiting"
        if self.score is None:
            return ""
        return "marked" if self.by_hand else "unwritten"  # the machine marks only what is untouched


@dataclass(frozen=True)
class StudentResult:
    """One student in one homework; record is None until `course grade` has seen the submission.

    penalty: points taken off for being late. late: what to say of when it was handed in, or "".
    times: what the penalty depends on: when it was handed in, the due date, the extension.
    """

    student: str
    full_name: str
    state: str
    marks: tuple[Mark, ...]
    record: Record | None = None
    penalty: float = 0.0
    late: str = ""
    times: dict[str, str] = field(default_factory=dict)

    @property
    def coded_points(self) -> float:
        """Points of the coded questions, hand-set marks included."""
        return sum(m.score or 0.0 for m in self.marks if m.question.kind == "coded")

    @property
    def score(self) -> float:
        """All points so far, written answers included, less the penalty for being late."""
        return max(0.0, round(sum(m.score or 0.0 for m in self.marks) - self.penalty, 6))

    @property
    def waiting(self) -> int:
        """How many answers wait for a person."""
        return sum(m.waiting for m in self.marks)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the staff should know, a sentence each, the gravest first."""
        found: list[str] = []
        if self.state == NOT_GRADED:
            found.append("Handed in and not graded yet: run `course grade`.")
        if self.record is not None:
            found += self.record.notices
            if self.record.for_staff:
                found.append(self.record.for_staff)
            elif self.record.failed_cells:
                found.append(f"{failed_cells(self.record)} stopped with an error.")
            found += self.record.repairs
        if self.late:
            found.append(self.late)
        for mark in self.marks:
            if mark.earlier is not None and mark.earlier.score is not None:
                found.append(
                    f"{mark.question.name}: {points(mark.earlier.score)} by hand are from an "
                    "earlier hand-in; the answer of this one waits for a person."
                )
            if mark.by_hand and (mark.score or 0.0) > mark.question.max_points:
                found.append(
                    f"{mark.question.name}: the mark by hand, {points(mark.score)}, is more than "
                    f"the {points(mark.question.max_points)} of the question."
                )
            if mark.question.kind != "coded" or mark.verdict is None:
                continue
            if mark.auto_score is not None and mark.auto_score != mark.verdict.points:
                found.append(
                    f"{mark.question.name}: the gradebook has {points(mark.auto_score)} and the "
                    f"run gave {points(mark.verdict.points)}: grade it again."
                )
        return tuple(found)

    @property
    def needs_a_look(self) -> bool:
        """Whether a person should look at it."""
        return self.state not in ("graded", NOT_HANDED_IN) or bool(self.remarks)

    @property
    def only_cells_failed(self) -> bool:
        """Whether a failed cell is all there is to say, and it has already cost what it costs."""
        return (
            self.record is not None
            and self.state == "cells failed"
            and not self.record.notices
            and not self.record.repairs
            and len(self.remarks) <= 1
        )


@dataclass(frozen=True)
class Mistake:
    """A known mistake, with how many of this class made it."""

    check: str
    name: str
    students: tuple[str, ...]
    hint: str
    see: str


@dataclass(frozen=True)
class ClassResults:
    """Every student of a class in one homework, by student.

    not_placed: what lies in the submitted folder and is nobody's hand-in.
    """

    course: Path
    homework: str
    questions: tuple[Question, ...]
    students: tuple[StudentResult, ...]
    not_placed: tuple[str, ...] = ()

    @property
    def coded(self) -> tuple[Question, ...]:
        """The questions that checks grade."""
        return tuple(q for q in self.questions if q.kind == "coded")

    @property
    def written(self) -> tuple[Question, ...]:
        """The questions that people grade."""
        return tuple(q for q in self.questions if q.kind == "written")

    @property
    def max_coded(self) -> float:
        """The most that the coded questions give."""
        return sum(q.max_points for q in self.coded)

    @property
    def max_score(self) -> float:
        """The most that the homework gives."""
        return sum(q.max_points for q in self.questions)

    @property
    def submissions(self) -> tuple[StudentResult, ...]:
        """Those who handed something in."""
        return tuple(s for s in self.students if s.state != NOT_HANDED_IN)

    @property
    def run(self) -> tuple[StudentResult, ...]:
        """Those whose notebook could be read: the ones that statistics speak of."""
        return tuple(s for s in self.students if s.record and s.state != "unreadable")

    @property
    def states(self) -> dict[str, int]:
        """How many are in each state, in the order of STATES, without zeros."""
        counts = Counter(s.state for s in self.students)
        return {state: counts[state] for state in STATES if counts[state]}

    @property
    def mean(self) -> float | None:
        """Mean of the coded points of those that ran."""
        return statistics.fmean(s.coded_points for s in self.run) if self.run else None

    @property
    def median(self) -> float | None:
        """Median of the coded points of those that ran."""
        return statistics.median(s.coded_points for s in self.run) if self.run else None

    def histogram(self) -> list[tuple[str, int]]:
        """Coded points of those that ran, in at most a dozen bins: (label, how many)."""
        top = int(self.max_coded)
        width = max(1, -(-top // 10))
        bins = [0] * (top // width + 1)
        for result in self.run:
            bins[min(int(result.coded_points) // width, len(bins) - 1)] += 1
        labels = []
        for index in range(len(bins)):
            low, high = index * width, min((index + 1) * width - 1, top)
            labels.append(str(low) if low == high else f"{low}-{high}")
        return list(zip(labels, bins, strict=True))

    def mistakes(self) -> list[Mistake]:
        """Known mistakes of this class, the most frequent first."""
        found: dict[tuple[str, str], list[tuple[str, Verdict]]] = {}
        for result in self.students:
            for mark in result.marks:
                if mark.verdict is not None and mark.verdict.mistake:
                    key = (mark.verdict.check, mark.verdict.mistake)
                    found.setdefault(key, []).append((result.student, mark.verdict))
        mistakes = [
            Mistake(check, name, tuple(s for s, _ in who), who[0][1].sentence, who[0][1].see)
            for (check, name), who in found.items()
        ]
        return sorted(mistakes, key=lambda m: (-len(m.students), m.check, m.name))

    def stopped_imports(self) -> dict[str, list[str]]:
        """Students by the import that something of theirs stopped at."""
        return by_import(one.record for one in self.students if one.record)

    def outcomes(self, question: Question) -> Counter[str]:
        """What came out of one question, over those that ran."""
        return Counter(
            mark.outcome for s in self.run for mark in s.marks if mark.question == question
        )

    def unrecognised(self) -> dict[str, int]:
        """Per check, how many wrong answers match no known mistake."""
        counts = {q.name: self.outcomes(q)["wrong"] for q in self.coded}
        return {name: count for name, count in counts.items() if count}


def points(value: float | None) -> str:
    """A number of points as people write it: 3, 2.5, or a dash for none."""
    return "\u2013" if value is None else f"{round(value, 2):g}"


def failed_cells(record: Record) -> str:
    """ "Code cell 3" or "Code cells 3, 5 and 9"."""
    numbers = [str(number) for number in record.failed_cells]
    shown = numbers[:8] + ([f"{len(numbers) - 8} more"] if len(numbers) > 8 else [])
    if len(shown) == 1:
        return f"Code cell {shown[0]}"
    return f"Code cells {', '.join(shown[:-1])} and {shown[-1]}"


def is_folder_name(name: str) -> bool:
    """Whether a student or homework can be one folder's name, and nothing more."""
    return bool(name) and name not in (".", "..") and not set(name) & set("/\\\0")


def notebook_path(course: Path, step: str, student: str, homework: str) -> Path | None:
    """The notebook of a submission in one of nbgrader's folders, if it is a plain file there.

    None for what is missing, is reached through a symbolic link, or has no possible path.
    """
    if not is_folder_name(student):
        return None
    path = course
    for part in (step, student, homework, f"{homework}.ipynb"):
        path = path / part
        if path.is_symlink():
            return None
    return path if path.is_file() else None


@dataclass
class _Books:
    """What the gradebook knows of one homework."""

    cells: list[tuple[str, str, float]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    grades: dict[tuple[str, str], Any] = field(default_factory=dict)
    comments: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    penalties: dict[str, float] = field(default_factory=dict)
    due: Any = None
    times: dict[str, Any] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)


def _read_gradebook(course: Path, homework: str) -> _Books:
    books = _Books()
    config = settings()
    if not has_gradebook(course, config):
        return books
    from nbgrader import api

    with open_gradebook(course, config) as gradebook:
        for student in gradebook.students:
            full = " ".join(part for part in (student.first_name, student.last_name) if part)
            books.names[student.id] = full
        try:
            assignment = gradebook.find_assignment(homework)
        except api.MissingEntry:
            return books
        for notebook in assignment.notebooks:
            for cell in notebook.grade_cells:
                books.cells.append((cell.name, cell.cell_type, cell.max_score))
            for cell in notebook.task_cells:
                books.cells.append((cell.name, "markdown", cell.max_score))

        def rows(table: Any, *columns: Any) -> Any:
            query = gradebook.db.query(api.SubmittedAssignment.student_id, api.BaseCell.name)
            query = query.add_columns(*columns).select_from(table)
            query = query.join(
                api.SubmittedNotebook, table.notebook_id == api.SubmittedNotebook.id
            ).join(
                api.SubmittedAssignment,
                api.SubmittedNotebook.assignment_id == api.SubmittedAssignment.id,
            )
            query = query.join(api.BaseCell, table.cell_id == api.BaseCell.id)
            return query.filter(api.SubmittedAssignment.assignment_id == assignment.id)

        grade = api.Grade
        for row in rows(
            grade, grade.auto_score, grade.manual_score, grade.needs_manual_grade, grade.score
        ):
            books.grades[row[0], row[1]] = row[2:]
        for row in rows(api.Comment, api.Comment.manual_comment, api.Comment.auto_comment):
            books.comments[row[0], row[1]] = (row[2] or "", row[3] or "")
        books.due = assignment.duedate
        rows_late = gradebook.db.query(
            api.SubmittedAssignment.student_id,
            api.SubmittedNotebook.late_submission_penalty,
            api.SubmittedAssignment.timestamp,
            api.SubmittedAssignment.extension,
        ).select_from(api.SubmittedNotebook)
        rows_late = rows_late.join(
            api.SubmittedAssignment,
            api.SubmittedNotebook.assignment_id == api.SubmittedAssignment.id,
        ).filter(api.SubmittedAssignment.assignment_id == assignment.id)
        for student, penalty, at, longer in rows_late:
            books.penalties[student] = books.penalties.get(student, 0.0) + (penalty or 0.0)
            books.times[student], books.extensions[student] = at, longer
    return books


def _questions(
    course: Path, homework: str, books: _Books, found: dict[str, Record]
) -> tuple[Question, ...]:
    """Every question, in the order of the release notebook, or else checks before words."""
    kinds = {name: "coded" if kind == "code" else "written" for name, kind, _ in books.cells}
    most = {name: float(top) for name, _, top in books.cells}
    titles: dict[str, str] = {}
    for record in found.values():
        for verdict in record.verdicts:
            kinds.setdefault(verdict.check, "coded")
            most.setdefault(verdict.check, float(verdict.max_points))
            titles.setdefault(verdict.check, verdict.title)
    cells = _released(course, homework)
    places = {grade_id_of(cell): number for number, cell in enumerate(cells)}
    order = {name: i for i, name in enumerate(titles)}

    def key(name: str) -> tuple[int, bool, int, str]:
        return (
            places.get(name, len(places)),
            kinds[name] == "written",
            order.get(name, len(order)),
            name,
        )

    return tuple(
        Question(name, titles.get(name, _plain_title(name)), kinds[name], most[name])
        for name in sorted(kinds, key=key)
    )


def _plain_title(name: str) -> str:
    return name.removeprefix("written_").replace("_", " ")


def _mark(
    question: Question, student: str, books: _Books, record: Record | None, kept: Kept
) -> Mark:
    verdicts = record.verdicts if record is not None else ()
    verdict = next((v for v in verdicts if v.check == question.name), None)
    grade = books.grades.get((student, question.name))
    if grade is None:
        return Mark(question, score=float(verdict.points) if verdict else None, verdict=verdict)
    auto, manual, asks, score = grade
    is_by_hand = manual is not None  # then it counts, also where nbgrader asks for another look
    earlier = None if is_by_hand else kept.earlier
    unread = record is not None and record.state == "unreadable"  # there is no answer to read
    if question.kind == "coded":
        # The machine's comment is the verdict's sentence over again.
        comment, _ = books.comments.get((student, f"answer_{question.name}"), ("", ""))
        known = auto is not None or is_by_hand
        value = float(score) if known else float(verdict.points) if verdict else None
        waiting = bool(asks) and earlier is not None
    else:
        by_person, by_machine = books.comments.get((student, question.name), ("", ""))
        comment = by_person if unread or is_by_hand else by_person or by_machine
        waiting = bool(asks) and not is_by_hand
        value = None if waiting or (unread and not is_by_hand) else float(score)
    waiting = waiting and not unread
    return Mark(question, value, waiting, is_by_hand, auto, comment, verdict, earlier)


def handed_in(course: Path, homework: str) -> Placed:
    """Where each submission lies; nothing if there is no folder for them."""
    _require_name(homework)
    if not (course / "submitted").is_dir():
        return Placed()
    names = [grade_id_of(cell) for cell in _released(course, homework)]
    answers = [name for name in names if name.startswith("answer_")]
    return place(course, homework, [name.removeprefix("answer_") for name in answers])


def _require_name(homework: str) -> None:
    if not is_folder_name(homework):
        raise ValueError(f"a homework is one name such as hw1, got {homework!r}")


def _released(course: Path, homework: str) -> list[NotebookNode]:
    """The cells that students got; none if nothing is released."""
    path = course / "release" / homework / f"{homework}.ipynb"
    return list(nbformat.read(path, as_version=4).cells) if path.is_file() else []


def _late(submission: Submission | None, student: str, books: _Books) -> str:
    """What staff should know of when something was handed in."""
    if submission is None:
        return ""
    found = late.handed_in(submission.timestamp)
    if found.remark or found.at or books.due is None or student not in books.times:
        return found.remark
    if books.times[student]:
        return (
            f"{TIMESTAMP} is missing: the time that the gradebook has from before was taken, "
            f"{books.times[student]} UTC."
        )
    return late.unread("is missing")


def _times(student: str, books: _Books) -> dict[str, str]:
    return {
        late.TIME: str(books.times.get(student) or ""),
        late.DUE: str(books.due or ""),
        late.EXTENSION: str(books.extensions.get(student) or ""),
    }


def class_results(course: Path, homework: str, placed: Placed | None = None) -> ClassResults:
    """Gather a class from its folder: records, gradebook, and who handed in.

    placed: where their submissions lie, looked up if it is not given. Raises ValueError if
    `homework` is no folder's name or a run record cannot be read.
    """
    _require_name(homework)
    found = {record.student: record for record in records.load_all(course, homework)}
    books = _read_gradebook(course, homework)
    questions = _questions(course, homework, books, found)
    placed = handed_in(course, homework) if placed is None else placed
    submissions = {one.student: one for one in placed.submissions}
    students = []
    for student in sorted({*found, *books.names, *submissions}):
        record = found.get(student)
        kept = by_hand.load(course, homework, student) if is_folder_name(student) else {}
        state = (
            record.state
            if record is not None
            else NOT_GRADED
            if student in submissions
            else NOT_HANDED_IN
        )
        students.append(
            StudentResult(
                student=student,
                full_name=books.names.get(student, ""),
                state=state,
                marks=tuple(
                    _mark(q, student, books, record, kept.get(q.name, Kept())) for q in questions
                ),
                record=record,
                penalty=books.penalties.get(student, 0.0),
                late=_late(submissions.get(student), student, books),
                times=_times(student, books),
            )
        )
    return ClassResults(course, homework, questions, tuple(students), placed.lost)
