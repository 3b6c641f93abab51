"""From a folder of submissions to marks: take in, examine side by side, file one by one."""

from __future__ import annotations

import contextlib
import copy
import difflib
import functools
import hashlib
import inspect
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import torch
from filelock import FileLock, Timeout
from nbformat import NotebookNode
from nbgrader.utils import is_locked
from sqlalchemy.exc import OperationalError

from autograder.grading.environment import environment, installed, programs_in
from autograder.grading.examiner import Examination, course_secret, examine, hidden_exams
from autograder.grading.gradebook import GradebookWriter
from autograder.grading.imports import imports_of, mended, stopped_imports
from autograder.grading.journal import Journal
from autograder.grading.placing import Submission, fingerprint, place
from autograder.grading.reading import Readers
from autograder.grading.record import ACCIDENT, Accident, Record, load, record_path, save
from autograder.grading.sandbox import Limits, Sandbox, SandboxError
from autograder.grading.submissions import Unreadable, take_in
from autograder.handouts.assignments import release_assignment
from autograder.handouts.books import why_not
from autograder.project import Progress, unseen
from autograder.project import replace as write
from autograder.questions import checks_of
from autograder.questions.check import Check
from autograder.student.exam import Failure, Verdict, judge
from autograder.student.modules import require_installed
from autograder.student.notebook_file import check_cells, left_out

TRIES = 3  # of a submission that met an accident, all but the first with nothing else beside it
if TYPE_CHECKING:  # its library is in an extra
    from autograder.grading.cluster import Cluster

CHECK = "check "  # how names of checks begin among what a mark depends on
HAND_IN = "hand-in"


@dataclass(frozen=True)
class Plan:
    """How a class is graded.

    root: the repository. course: the class folder. workers: submissions side by side. again: also
    those whose record is up to date. students: only these; all if there are none. now: who is being
    graded, and since when (time.monotonic), for whoever watches. new_cases: draw other hidden cases
    for these students than before, from now on.
    """

    root: Path
    course: Path
    homework: str
    workers: int = 2
    limits: Limits = field(default_factory=Limits)
    again: bool = False
    students: tuple[str, ...] = ()
    now: dict[str, float] = field(default_factory=dict)
    new_cases: bool = False


def grade(
    plan: Plan, sandbox: Sandbox, progress: Progress = unseen, cluster: Cluster | None = None
) -> list[Record]:
    """Grade the submissions of a homework; one record each, by student.

    Whatever a submission holds, it ends as a record, a row in the gradebook and an autograded
    notebook. What something else than the student's code ended is run again with nothing beside it;
    after TRIES accidents it is filed nowhere, and its record here says so. What an earlier run
    finished with the same file, checks and release is not done again, and where only some checks
    are others now, only those are asked. cluster: where notebooks run, but for those that are run
    again; in the sandbox, if there is none.
    Raises ValueError for a homework or folder that does not exist or that another run is grading,
    or if a module that students may use is not installed; OSError if the gradebook or a file cannot
    be written, SandboxError without a sandbox.
    """
    require_installed()
    torch.set_num_threads(1)  # tensors here are small, and notebooks use the other processors
    checks = checks_of(plan.homework, plan.root)
    placed = place(plan.course, plan.homework, [check.name for check in checks])
    if not placed.submissions:
        raise ValueError(
            f"Nobody handed in {plan.homework}: put notebooks at {plan.course}/submitted/"
            f"<student>/{plan.homework}/{plan.homework}.ipynb."
        )
    submissions = _chosen(plan, placed.submissions)
    (plan.course / ".course").mkdir(exist_ok=True)
    try:
        with FileLock(plan.course / ".course" / "grading.lock", timeout=0), Readers() as readers:
            return _grade_class(plan, sandbox, readers, checks, submissions, progress, cluster)
    except OperationalError as error:
        raise OSError(why_not(error)) from error
    except Timeout:
        raise ValueError(
            f"Another `course grade` is at work in {plan.course}, and two would overwrite each "
            "other's marks: wait until it ends."
        ) from None


def _chosen(plan: Plan, submissions: Sequence[Submission]) -> list[Submission]:
    """Those of the students that are wanted."""
    there = {submission.student for submission in submissions}
    if absent := sorted(set(plan.students) - there):
        like = difflib.get_close_matches(absent[0], there, 3)
        meant = f" Is {' or '.join(like)} meant?" if like else ""
        raise ValueError(f"{', '.join(absent)} did not hand in {plan.homework}.{meant}")
    return [s for s in submissions if not plan.students or s.student in plan.students]


@dataclass(frozen=True)
class _Work:
    """A plan with all that every submission is graded by.

    readers: what reads hand-ins. sittings: how often hidden cases were drawn anew, by student.
    packages: installed, by module. common: what all marks depend on, hashed.
    """

    plan: Plan
    sandbox: Sandbox
    cluster: Cluster | None
    checks: Sequence[Check]
    release: NotebookNode
    secret: bytes
    readers: Readers
    sittings: Mapping[str, int]
    packages: Mapping[str, list[str]]
    common: dict[str, str]


def _grade_class(
    plan: Plan,
    sandbox: Sandbox,
    readers: Readers,
    checks: Sequence[Check],
    submissions: Sequence[Submission],
    progress: Progress,
    cluster: Cluster | None,
) -> list[Record]:
    release_assignment(plan.course, plan.homework, checks, plan.root)
    release = nbformat.read(
        plan.course / "release" / plan.homework / f"{plan.homework}.ipynb", as_version=4
    )
    secret = course_secret(plan.course)
    common = _common(plan, checks, release, secret)
    sittings = _sittings(plan, [submission.student for submission in submissions])
    work = _Work(
        plan, sandbox, cluster, checks, release, secret, readers, sittings, installed(), common
    )
    made_from = {submission.student: _made_from(work, submission) for submission in submissions}
    before = {} if plan.again else _recorded(plan, submissions)
    finished = [
        record
        for student, record in before.items()
        if record.made_from == made_from[student]
        and (plan.course / "autograded" / student / plan.homework).is_dir()
    ]
    for done, record in enumerate(finished, start=1):
        progress(record.student, done, len(submissions))
    todo = [
        _Todo(submission, made_from[submission.student], before.get(submission.student))
        for submission in submissions
        if before.get(submission.student) not in finished
    ]
    records = finished
    if todo:
        readers.start(min(plan.workers, len(todo)), take_in.__module__)
        if cluster is None:
            sandbox.wait()
        records = records + _grade_all(work, todo, progress, len(finished))
    return sorted(records, key=lambda record: record.student)


@dataclass(frozen=True)
class _Todo:
    """A submission that is graded now. before: its record from an earlier run, if there is one."""

    submission: Submission
    made_from: dict[str, str]
    before: Record | None

    def stands(self) -> dict[str, Verdict]:
        """Verdicts of the earlier run that hold: of checks that are as they were, all else equal.

        Where that run left something to look at, everything is asked anew.
        """
        old, new = self.before, self.made_from
        if old is None or old.state not in ("graded", "cells failed"):
            return {}
        if old.notices or old.repairs or old.stopped_at:
            return {}
        changed = {
            name for name in {*old.made_from, *new} if old.made_from.get(name) != new.get(name)
        }
        if any(not name.startswith(CHECK) for name in changed):
            return {}
        return {v.check: v for v in old.verdicts if f"{CHECK}{v.check}" not in changed}


def _grade_all(
    work: _Work,
    todo: Sequence[_Todo],
    progress: Progress,
    done: int,
) -> list[Record]:
    records: list[Record] = []
    at_once = work.cluster.at_once() if work.cluster else work.plan.workers
    pool = ThreadPoolExecutor(max(1, at_once))
    with GradebookWriter(work.plan.root, work.plan.course, work.release) as writer:

        def keep(one: _Todo, notebook: NotebookNode, record: Record) -> None:
            record = _file(writer, one.submission, notebook, record, work.release)
            save(work.plan.course, record)
            count(record)

        def count(record: Record) -> None:
            records.append(record)
            progress(record.student, done + len(records), done + len(todo))

        again = []
        try:
            futures: list[Future[tuple[NotebookNode, Record]]] = [
                pool.submit(_graded, work, one) for one in todo
            ]
            for one, future in zip(todo, futures, strict=True):
                try:
                    keep(one, *future.result())
                except Accident:
                    again.append(one)
        finally:  # what still runs then (Ctrl-C) goes down with the sandbox
            pool.shutdown(wait=False, cancel_futures=True)
        for one in again:
            try:
                keep(one, *_tried_again(work, one))
            except Accident as error:
                count(_not_graded(one.submission, str(error)))
    return records


def _tried_again(work: _Work, one: _Todo) -> tuple[NotebookNode, Record]:
    """A submission that met an accident, graded with nothing beside it; Accident if all fail."""
    for _ in range(TRIES - 2):
        with contextlib.suppress(Accident):
            return _graded(work, one, alone=True)
    return _graded(work, one, alone=True)


def _not_graded(submission: Submission, why: str) -> Record:
    """What is shown of a submission that met an accident each time."""
    words = f"It {why}, {TRIES} times; no mark of it is filed. Try it with --student."
    return Record(submission.homework, submission.student, ACCIDENT, for_staff=words)


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
    except OSError:
        raise
    except Exception as error:
        why = f"its notebook could not be filed ({type(error).__name__}: {str(error)[:200]})"
        writer.gradebook.db.rollback()
        writer.file(submission, _blank(release), verdicts)
        notice = f"The marks of the checks stand; read the written answers in its file: {why}."
        record = replace(record, notices=(*record.notices, notice))
    return record


def _graded(work: _Work, todo: _Todo, alone: bool = False) -> tuple[NotebookNode, Record]:
    """One submission, from its file to a notebook with outputs and a record, whatever it holds.

    alone: whether nothing else runs beside it. Raises Accident if it is not the student's doing
    that there is none.
    """
    submission, made_from = todo.submission, todo.made_from
    work.plan.now[submission.student] = time.monotonic()
    with Journal(work.plan.course, submission.homework, submission.student, alone) as journal:
        try:
            notebook, record = _run(work, submission, todo.stands(), alone, journal)
            return notebook, replace(record, made_from=made_from)
        except SandboxError:
            raise
        except Accident as error:
            journal.tell("accident", f"it {error}")
            raise
        except Unreadable as error:
            journal.tell("unreadable", error.for_staff)
            reason = error
        except Exception as error:  # not foreseen, so it is ours
            what = f"could not be graded ({type(error).__name__}: {str(error)[:200]})"
            journal.tell("accident", f"it {what}")
            raise Accident(what) from error
        finally:
            del work.plan.now[submission.student]
    lost = Failure("unreadable", reason.for_student)
    exams = hidden_exams(work.checks, work.secret, submission.student)
    return _blank(work.release), Record(
        homework=submission.homework,
        student=submission.student,
        state="unreadable",
        for_student=reason.for_student,
        for_staff=f"Not readable: {reason.for_staff}.",
        verdicts=tuple(judge(exam, [lost]) for exam in exams),
        made_from=made_from,
    )


def _run(
    work: _Work,
    submission: Submission,
    stands: Mapping[str, Verdict],
    alone: bool,
    journal: Journal,
) -> tuple[NotebookNode, Record]:
    """Read, repair, run and examine one submission.

    stands: verdicts not to be asked for again. alone: whether nothing else runs beside it.
    """
    asked = [check for check in work.checks if check.name not in stands]
    journal.tell("begin", f"{'alone' if alone else 'beside others'}, {len(asked)} questions")
    sitting = work.sittings.get(submission.student, 0)
    exams = hidden_exams(asked, work.secret, submission.student, sitting)
    names = [check.name for check in work.checks]
    files = [file for check in work.checks for file in check.files]
    intake = work.readers.read(take_in, submission, work.release, names, files)
    journal.tell("read", f"{submission.name}, {len(intake.files)} files beside it")
    for sentence in (*intake.repairs, *intake.notices, *intake.suspicions):
        journal.tell("noticed", sentence)
    cells = [cell for cell in intake.notebook.cells if cell.cell_type == "code"]
    original = imports_of(work.release)
    imports = intake.imports
    run: Callable[..., Examination] = functools.partial(examine, work.sandbox, alone=alone)
    if work.cluster is not None and not alone:
        run = work.cluster.examine
    examination = run(
        [None if left_out(cell.source) else cell.source for cell in cells],
        exams,
        work.plan.limits,
        files=intake.files,
        # One that fails is a verdict, not an accident: only the student's own cells count.
        tests={index for index, cell in enumerate(cells) if is_locked(cell)},
        imports=None if imports is None or original is None else (imports, original.source),
        checks=check_cells(cells, [check.name for check in asked]),
        tell=journal.tell,
    )
    journal.tell("end", f"{examination.state}, {examination.seconds:.1f} s")
    for index, cell in enumerate(cells):
        outputs = examination.outputs.get(index, [])
        cell.outputs = [nbformat.from_dict(output) for output in outputs]
        cell.execution_count = index + 1 if index in examination.outputs else None
    for_student, for_staff = _sentences(examination)
    verdicts = {**stands, **{verdict.check: verdict for verdict in examination.verdicts}}
    imports_mended = mended(examination, imports)
    if imports_mended:
        for_student += " What needs no more than the homework's own imports was graded as usual."
    return intake.notebook, Record(
        homework=submission.homework,
        student=submission.student,
        state=examination.state,
        for_student=for_student,
        for_staff=for_staff,
        verdicts=tuple(verdicts[check.name] for check in work.checks),
        repairs=(*imports_mended, *intake.repairs),
        notices=(*intake.notices, *examination.remarks, *intake.suspicions),
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


def _made_from(work: _Work, submission: Submission) -> dict[str, str]:
    """Everything a mark depends on, hashed, by a name that people read when a mark changes."""
    texts = [*programs_in(submission.folder), nbformat.writes(work.release)]
    packages = json.dumps(environment(texts, work.packages))
    found = {HAND_IN: fingerprint(submission), "packages": _hash(packages), **work.common}
    sitting = work.sittings.get(submission.student, 0)
    return {**found, "hidden cases": str(sitting)} if sitting else found


def _sittings(plan: Plan, students: Sequence[str]) -> dict[str, int]:
    """How often hidden cases were drawn anew, by student; once more for these if the plan says so.

    Raises ValueError if the file that holds it is damaged.
    """
    path = plan.course / ".course" / "sittings" / f"{plan.homework}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        sittings = {str(student): int(number) for student, number in found.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): put it back from a copy, or remove it; then everybody "
            "has the hidden cases of the first grading again."
        ) from None
    if plan.new_cases:
        sittings |= {student: sittings.get(student, 0) + 1 for student in students}
        write(path, json.dumps(sittings, indent=1, ensure_ascii=False).encode())
    return sittings


def _common(
    plan: Plan, checks: Sequence[Check], release: NotebookNode, secret: bytes
) -> dict[str, str]:
    """What the marks of all submissions depend on, hashed."""
    release = copy.deepcopy(release)
    for cell in release.cells:
        if cell.cell_type == "code" and "points" in cell.metadata.get("nbgrader", {}):
            del cell.metadata.nbgrader["points"]  # they belong to the check
    common = {
        "homework": nbformat.writes(release),
        "secret of the class": secret.hex(),
        "limits": json.dumps(asdict(plan.limits), sort_keys=True),
        **{f"{CHECK}{check.name}": _check_source(check) for check in checks},
    }
    return {name: _hash(text) for name, text in common.items()}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _check_source(check: Check) -> str:
    """The text of the check's file and of its reference's, which stand for what it does.

    Its known mistakes are in the one, and what they are edits of in the other.
    """
    modules = (inspect.getmodule(check.recipe), inspect.getmodule(check.reference))
    sources = [inspect.getsource(module) for module in modules if module is not None]
    return "".join([str(check.points), *sources])


def _recorded(plan: Plan, submissions: Sequence[Submission]) -> dict[str, Record]:
    """Records of an earlier run, by student."""
    found = {}
    for submission in submissions:
        path = record_path(plan.course, plan.homework, submission.student)
        with contextlib.suppress(OSError, ValueError):  # none yet, or one that is damaged
            found[submission.student] = load(path)
    return found
