"""From a folder of submissions to marks: take in, examine side by side, file one by one."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.utils import is_locked

from autograder.assignments import release_assignment
from autograder.check import Check
from autograder.checks import HOMEWORKS
from autograder.exam import Failure, judge
from autograder.examiner import Sitting, course_secret, examine, hidden_exams
from autograder.gradebook import GradebookWriter
from autograder.record import Record, load, record_path, save
from autograder.sandbox import Limits, Sandbox
from autograder.submissions import (
    Submission,
    Unreadable,
    find_submissions,
    fingerprint,
    suspicions,
    take_in,
)

Progress = Callable[[Record, int, int], None]


@dataclass(frozen=True)
class Plan:
    """How a class is graded.

    root: the repository. course: the class folder. workers: submissions side by side. again: also
    those whose record is up to date.
    """

    root: Path
    course: Path
    homework: str
    workers: int = 2
    limits: Limits = field(default_factory=Limits)
    again: bool = False


def grade(
    plan: Plan, sandbox: Sandbox, progress: Progress = lambda record, done, total: None
) -> list[Record]:
    """Grade every submission of a homework; one record each, by student.

    Whatever a submission holds, it ends as a record, a row in the gradebook and an autograded
    notebook. What an earlier run finished with the same file, checks and release is not done again.
    Raises ValueError for a homework or folder that does not exist, SandboxError without a sandbox.
    """
    if plan.homework not in HOMEWORKS:
        raise ValueError(f"There is no homework {plan.homework}; there are {', '.join(HOMEWORKS)}.")
    checks = HOMEWORKS[plan.homework]
    submissions = find_submissions(plan.course, plan.homework)
    if not submissions:
        raise ValueError(
            f"Nobody handed in {plan.homework}: put notebooks at {plan.course}/submitted/"
            f"<student>/{plan.homework}/{plan.homework}.ipynb."
        )
    release_assignment(plan.course, plan.homework, checks, plan.root)
    release = nbformat.read(
        plan.course / "release" / plan.homework / f"{plan.homework}.ipynb", as_version=4
    )
    prints = {s.student: _fingerprint(plan, s, checks, release) for s in submissions}
    finished = {} if plan.again else dict(_finished(plan, prints))
    todo = [submission for submission in submissions if submission.student not in finished]
    records = list(finished.values())
    for done, record in enumerate(records):
        progress(record, done + 1, len(submissions))
    if todo:
        sandbox.wait()
        records += _grade_all(plan, sandbox, todo, checks, release, prints, progress, len(records))
    return sorted(records, key=lambda record: record.student)


def _grade_all(
    plan: Plan,
    sandbox: Sandbox,
    todo: Sequence[Submission],
    checks: Sequence[Check],
    release: NotebookNode,
    prints: dict[str, str],
    progress: Progress,
    done: int,
) -> list[Record]:
    secret = course_secret(plan.course)
    records = []
    pool = ThreadPoolExecutor(plan.workers)
    try:
        futures: list[Future[tuple[NotebookNode, Record]]] = [
            pool.submit(_sit, plan, sandbox, submission, checks, release, secret)
            for submission in todo
        ]
        with GradebookWriter(plan.root, plan.course, release) as writer:
            for submission, future in zip(todo, futures, strict=True):
                notebook, found = future.result()
                record = replace(found, fingerprint=prints[submission.student])
                writer.file(submission, notebook, {v.check: v for v in record.verdicts})
                save(plan.course, record)
                records.append(record)
                progress(record, done + len(records), done + len(todo))
    finally:  # what still runs then (Ctrl-C) goes down with the sandbox
        pool.shutdown(wait=False, cancel_futures=True)
    return records


def _sit(
    plan: Plan,
    sandbox: Sandbox,
    submission: Submission,
    checks: Sequence[Check],
    release: NotebookNode,
    secret: bytes,
) -> tuple[NotebookNode, Record]:
    """One submission, from its file to a notebook with outputs and a record."""
    exams = hidden_exams(checks, secret, submission.student)
    try:
        intake = take_in(submission, release, [check.name for check in checks])
    except Unreadable as reason:
        lost = Failure("unreadable", reason.for_student)
        return _blank(release, reason), Record(
            homework=submission.homework,
            student=submission.student,
            state="unreadable",
            for_student=reason.for_student,
            for_staff=f"Not readable: {reason.for_staff}.",
            verdicts=tuple(judge(exam, [lost] * len(exam.cases)) for exam in exams),
        )
    cells = [cell for cell in intake.notebook.cells if cell.cell_type == "code"]
    sitting = examine(
        sandbox,
        [cell.source for cell in cells],
        exams,
        plan.limits,
        files=intake.files,
        tests={index for index, cell in enumerate(cells) if is_locked(cell)},
    )
    for index, cell in enumerate(cells):
        outputs = sitting.outputs.get(index, [])
        cell.outputs = [nbformat.from_dict(output) for output in outputs]
        cell.execution_count = index + 1 if index in sitting.outputs else None
    # A test cell that fails is a verdict, not an accident: only the student's own cells count.
    failed = [index for index in sitting.failed if not is_test(cells[index])]
    state = "graded" if sitting.state == "cells failed" and not failed else sitting.state
    for_student, for_staff = _sentences(sitting, failed)
    return intake.notebook, Record(
        homework=submission.homework,
        student=submission.student,
        state=state,
        for_student=for_student,
        for_staff=for_staff,
        verdicts=tuple(sitting.verdicts),
        repairs=intake.repairs,
        notices=(*intake.notices, *suspicions(intake.notebook)),
        failed_cells=tuple(index + 1 for index in failed),
        seconds=round(sitting.seconds, 3),
    )


def is_test(cell: NotebookNode) -> bool:
    """Whether a cell is one of the homework's locked tests."""
    return bool((cell.metadata.get("nbgrader") or {}).get("grade"))


def _sentences(sitting: Sitting, failed: Sequence[int]) -> tuple[str, str]:
    """What to tell the student and the staff about the run, "" if it went through."""
    if sitting.deaths:
        happened = "; ".join(sitting.deaths)
        return (
            f"While your notebook ran, {happened}. The rest was graded without it.",
            f"{sitting.state.capitalize()}: {happened}.",
        )
    if failed:
        count = len(failed)
        cells = ", ".join(str(cell + 1) for cell in failed)
        noun = "code cell" if count == 1 else "code cells"
        return (
            f"When your notebook ran from top to bottom, {noun} {cells} stopped with an error.",
            f"{noun.capitalize()} {cells} raised.",
        )
    return "", ""


def _blank(release: NotebookNode, reason: Unreadable) -> NotebookNode:
    """The release with a note on top, to stand for a submission that could not be read."""
    notebook: NotebookNode = copy.deepcopy(release)
    note = nbformat.v4.new_markdown_cell(
        "**This submission could not be read; below is the empty homework.**"
    )
    note.id = "unreadable"
    notebook.cells.insert(0, note)
    return notebook


def _fingerprint(
    plan: Plan, submission: Submission, checks: Sequence[Check], release: NotebookNode
) -> str:
    """Everything a mark depends on: the files, the checks, the release, the secret, the limits."""
    digest = hashlib.sha256(fingerprint(submission).encode())
    for check in checks:
        digest.update(_check_source(check).encode())
    digest.update(nbformat.writes(release).encode())
    digest.update(course_secret(plan.course))
    digest.update(json.dumps(asdict(plan.limits), sort_keys=True).encode())
    return digest.hexdigest()


def _check_source(check: Check) -> str:
    """The text of the check's file and of its reference's, which stand for what it does."""
    modules = (inspect.getmodule(check.recipe), inspect.getmodule(check.reference))
    return "".join(inspect.getsource(module) for module in modules if module is not None)


def _finished(plan: Plan, prints: dict[str, str]) -> Sequence[tuple[str, Record]]:
    """Records of an earlier run that still hold."""
    found = []
    for student, wanted in prints.items():
        path = record_path(plan.course, plan.homework, student)
        if not path.exists():
            continue
        try:
            record = load(path)
        except ValueError:
            continue
        if record.fingerprint == wanted:
            found.append((student, record))
    return found
