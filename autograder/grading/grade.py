"""From a folder of submissions to marks: take in, examine side by side, file one by one."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import nbformat
from filelock import FileLock, Timeout
from nbformat import NotebookNode
from nbgrader.utils import is_locked
from sqlalchemy.exc import OperationalError

from autograder.grading.environment import environment, installed, programs_in
from autograder.grading.examiner import Examination, course_secret, examine, hidden_exams
from autograder.grading.gradebook import GradebookWriter
from autograder.grading.imports import imports_of, mended, stopped_imports
from autograder.grading.record import Record, load, record_path, save
from autograder.grading.sandbox import Limits, Sandbox, SandboxError
from autograder.grading.submissions import (
    Submission,
    Unreadable,
    find_submissions,
    fingerprint,
    suspicions,
    take_in,
)
from autograder.handouts.assignments import release_assignment
from autograder.project import Progress, unseen
from autograder.questions import checks_of
from autograder.questions.check import Check
from autograder.student.exam import Failure, judge
from autograder.student.modules import require_installed
from autograder.student.notebook_file import check_cells


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


def grade(plan: Plan, sandbox: Sandbox, progress: Progress = unseen) -> list[Record]:
    """Grade every submission of a homework; one record each, by student.

    Whatever a submission holds, it ends as a record, a row in the gradebook and an autograded
    notebook. What an earlier run finished with the same file, checks and release is not done again.
    Raises ValueError for a homework or folder that does not exist or that another run is grading,
    or if a module that students may use is not installed; OSError if the gradebook or a file cannot
    be written, SandboxError without a sandbox.
    """
    require_installed()
    checks = checks_of(plan.homework, plan.root)
    submissions = find_submissions(plan.course, plan.homework)
    if not submissions:
        raise ValueError(
            f"Nobody handed in {plan.homework}: put notebooks at {plan.course}/submitted/"
            f"<student>/{plan.homework}/{plan.homework}.ipynb."
        )
    (plan.course / ".course").mkdir(exist_ok=True)
    try:
        with FileLock(plan.course / ".course" / "grading.lock", timeout=0):
            return _grade_class(plan, sandbox, checks, submissions, progress)
    except OperationalError as error:
        raise OSError(
            f"The gradebook cannot be written ({error.orig}): is it in use elsewhere, or the disk "
            "full? What is graded stays; the same command goes on from here."
        ) from error
    except Timeout:
        raise ValueError(
            f"Another `course grade` is at work in {plan.course}, and two would overwrite each "
            "other's marks: wait until it ends."
        ) from None


@dataclass(frozen=True)
class _Work:
    """A plan with all that every submission is graded by. packages: installed, by module."""

    plan: Plan
    sandbox: Sandbox
    checks: Sequence[Check]
    release: NotebookNode
    secret: bytes
    packages: Mapping[str, list[str]]


def _grade_class(
    plan: Plan,
    sandbox: Sandbox,
    checks: Sequence[Check],
    submissions: Sequence[Submission],
    progress: Progress,
) -> list[Record]:
    release_assignment(plan.course, plan.homework, checks, plan.root)
    release = nbformat.read(
        plan.course / "release" / plan.homework / f"{plan.homework}.ipynb", as_version=4
    )
    work = _Work(plan, sandbox, checks, release, course_secret(plan.course), installed())
    prints = {submission.student: _fingerprint(work, submission) for submission in submissions}
    records = [] if plan.again else _finished(plan, prints)
    finished = {record.student for record in records}
    todo = [submission for submission in submissions if submission.student not in finished]
    for done, record in enumerate(records):
        progress(record.student, done + 1, len(submissions))
    if todo:
        sandbox.wait()
        records += _grade_all(work, todo, prints, progress, len(records))
    return sorted(records, key=lambda record: record.student)


def _grade_all(
    work: _Work,
    todo: Sequence[Submission],
    prints: dict[str, str],
    progress: Progress,
    done: int,
) -> list[Record]:
    records = []
    pool = ThreadPoolExecutor(work.plan.workers)
    try:
        futures: list[Future[tuple[NotebookNode, Record]]] = [
            pool.submit(_graded, work, submission, prints[submission.student])
            for submission in todo
        ]
        with GradebookWriter(work.plan.root, work.plan.course, work.release) as writer:
            for submission, future in zip(todo, futures, strict=True):
                notebook, record = future.result()
                record = _file(writer, submission, notebook, record, work.release)
                save(work.plan.course, record)
                records.append(record)
                progress(record.student, done + len(records), done + len(todo))
    finally:  # what still runs then (Ctrl-C) goes down with the sandbox
        pool.shutdown(wait=False, cancel_futures=True)
    return records


def _file(
    writer: GradebookWriter,
    submission: Submission,
    notebook: NotebookNode,
    record: Record,
    release: NotebookNode,
) -> Record:
    """File a submission; its marks alone if there is something about its notebook.

    A full disk or a locked gradebook is nobody's notebook, and raises.
    """
    verdicts = {verdict.check: verdict for verdict in record.verdicts}
    try:
        writer.file(submission, notebook, verdicts)
    except (OSError, OperationalError):
        raise
    except Exception as error:
        why = f"its notebook could not be filed ({type(error).__name__}: {str(error)[:200]})"
        writer.gradebook.db.rollback()
        writer.file(submission, _blank(release), verdicts)
        notice = f"The marks of the checks stand; read the written answers in its file: {why}."
        record = replace(record, notices=(*record.notices, notice))
    return record


def _graded(work: _Work, submission: Submission, fingerprint: str) -> tuple[NotebookNode, Record]:
    """One submission, from its file to a notebook with outputs and a record, whatever it holds."""
    try:
        notebook, record = _run(work, submission)
        return notebook, replace(record, fingerprint=fingerprint)
    except SandboxError:
        raise
    except Unreadable as error:
        reason = error
    except Exception as error:  # not foreseen: a row with a reason, the others go on
        reason = Unreadable(
            "Your notebook could not be graded by machine. Your teachers have been told.",
            f"grading it failed with {type(error).__name__}: {str(error)[:200]}",
        )
        fingerprint = ""  # and the next run tries again
    lost = Failure("unreadable", reason.for_student)
    exams = hidden_exams(work.checks, work.secret, submission.student)
    return _blank(work.release), Record(
        homework=submission.homework,
        student=submission.student,
        state="unreadable",
        for_student=reason.for_student,
        for_staff=f"Not readable: {reason.for_staff}.",
        verdicts=tuple(judge(exam, [lost]) for exam in exams),
        fingerprint=fingerprint,
    )


def _run(work: _Work, submission: Submission) -> tuple[NotebookNode, Record]:
    """Read, repair, run and examine one submission."""
    exams = hidden_exams(work.checks, work.secret, submission.student)
    intake = take_in(submission, work.release, [check.name for check in work.checks])
    cells = [cell for cell in intake.notebook.cells if cell.cell_type == "code"]
    original = imports_of(work.release)
    imports = next((k for k, cell in enumerate(cells) if cell is intake.imports), None)
    examination = examine(
        work.sandbox,
        [cell.source for cell in cells],
        exams,
        work.plan.limits,
        files=intake.files,
        # One that fails is a verdict, not an accident: only the student's own cells count.
        tests={index for index, cell in enumerate(cells) if is_locked(cell)},
        imports=None if imports is None or original is None else (imports, original.source),
        checks=check_cells(cells, [check.name for check in work.checks]),
    )
    for index, cell in enumerate(cells):
        outputs = examination.outputs.get(index, [])
        cell.outputs = [nbformat.from_dict(output) for output in outputs]
        cell.execution_count = index + 1 if index in examination.outputs else None
    for_student, for_staff = _sentences(examination)
    imports_mended = mended(examination, imports)
    if imports_mended:
        for_student += " What needs no more than the homework's own imports was graded as usual."
    return intake.notebook, Record(
        homework=submission.homework,
        student=submission.student,
        state=examination.state,
        for_student=for_student,
        for_staff=for_staff,
        verdicts=tuple(examination.verdicts),
        repairs=(*imports_mended, *intake.repairs),
        notices=(*intake.notices, *examination.remarks, *suspicions(intake.notebook)),
        failed_cells=tuple(index + 1 for index in examination.failed),
        stopped_at=stopped_imports(examination),
        seconds=round(examination.seconds, 3),
    )


def _sentences(examination: Examination) -> tuple[str, str]:
    """What to tell the student and the staff about the run, "" if it went through."""
    if examination.deaths:
        happened = "; ".join(examination.deaths)
        return (
            f"While your notebook ran, {happened}. The rest was graded without it.",
            f"{examination.state.capitalize()}: {happened}.",
        )
    if examination.failed:
        cells = ", ".join(str(cell + 1) for cell in examination.failed)
        noun = "code cell" if len(examination.failed) == 1 else "code cells"
        return (
            f"When your notebook ran from top to bottom, {noun} {cells} stopped with an error.",
            f"{noun.capitalize()} {cells} raised.",
        )
    return "", ""


def _blank(release: NotebookNode) -> NotebookNode:
    """The release with a note on top, to stand for a submission that could not be read."""
    notebook: NotebookNode = copy.deepcopy(release)
    note = nbformat.v4.new_markdown_cell(
        "**This submission could not be read; below is the empty homework.**"
    )
    note.id = "unreadable"
    notebook.cells.insert(0, note)
    return notebook


def _fingerprint(work: _Work, submission: Submission) -> str:
    """Everything a mark depends on.

    The files, the packages that they import, the checks, the release, the secret, the limits.
    """
    digest = hashlib.sha256(fingerprint(submission).encode())
    texts = [*programs_in(submission.folder), nbformat.writes(work.release)]
    digest.update(json.dumps(environment(texts, work.packages)).encode())
    for check in work.checks:
        digest.update(_check_source(check).encode())
    digest.update(nbformat.writes(work.release).encode())
    digest.update(work.secret)
    digest.update(json.dumps(asdict(work.plan.limits), sort_keys=True).encode())
    return digest.hexdigest()


def _check_source(check: Check) -> str:
    """The text of the check's file and of its reference's, which stand for what it does.

    Its known mistakes are in the one, and what they are edits of in the other.
    """
    modules = (inspect.getmodule(check.recipe), inspect.getmodule(check.reference))
    return "".join(inspect.getsource(module) for module in modules if module is not None)


def _finished(plan: Plan, prints: dict[str, str]) -> list[Record]:
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
            found.append(record)
    return found
