"""The examiner: has a notebook run in the sandbox, asks its functions, judges the answers.

Sits outside the student's process and trusts nothing that comes out of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autograder.grading.record import Accident
from autograder.grading.sandbox import Job, Limits, Sandbox
from autograder.grading.warm_parent import NOTHING, OUT_OF_MEMORY
from autograder.questions.check import Check, compile_exam
from autograder.questions.together import with_pairs
from autograder.student import wire
from autograder.student.check import public_exam
from autograder.student.exam import Answer, Exam, Failure, Verdict
from autograder.student.limits import BY_THE_CLOCK
from autograder.student.run import (
    SIGKILL_EXIT,
    Answers,
    Crash,
    Over,
    Place,
    better,
    how_it_ended,
    places_of,
    read_message,
    run_once,
    run_past_crashes,
)

SECRET_BYTES = 32
MAX_LINE = 24_000_000
MAX_OUTPUTS = 10_000_000  # characters of output that are kept of one notebook
STOPPED = "Stopped"  # the name of the error in a cell that took its process down
SILENT_SECONDS = 20.0  # longer than this no job is silent between two cells
SHORT = 0.05  # of a run without a processor that it had a right to: then its clock says nothing


def course_secret(course: Path) -> bytes:
    """The key of the hidden cases: made on first use, kept in the class folder, never shown.

    Made whole or not at all. Raises ValueError if the file holds no key.
    """
    path = course / ".course" / "secret"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".secret.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(SECRET_BYTES))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # another run's was there first
                os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    with contextlib.suppress(ValueError):
        key = bytes.fromhex(path.read_text().strip())
        if len(key) == SECRET_BYTES:
            return key
    raise ValueError(
        f"{path} holds no key of {SECRET_BYTES} bytes, so hidden cases could be foretold or would "
        "be others than before. Put it back from a copy, or remove it: then a new one is made, and "
        "every submission is graded anew."
    )


def hidden_exams(
    checks: Sequence[Check], secret: bytes, student: str, sitting: int = 0
) -> list[Exam]:
    """The exams of one student: public cases, then hidden ones that only the secret foretells.

    The same secret, homework, question, student and sitting give the same cases, hence the same
    mark. sitting: one more each time that staff have new cases drawn for somebody.
    """
    exams = (
        compile_exam(check, hidden_numbers(check, secret, student, sitting)) for check in checks
    )
    return [
        with_pairs(check, exam, public_exam(check.name))
        for check, exam in zip(checks, exams, strict=True)
    ]


def hidden_numbers(
    check: Check, secret: bytes, student: str, sitting: int = 0
) -> np.random.Generator:
    """What one student's hidden cases of a check are drawn from.

    Those that students are told beforehand stay what they were told at any sitting.
    """
    again = (str(sitting),) if sitting and not check.told else ()
    label = "\0".join((check.homework, check.name, student, *again)).encode()
    digest = hmac.new(secret, label, hashlib.sha256).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


@dataclass
class Examination:
    """What came of one notebook.

    verdicts: one an exam. remarks: on the functions for which check cell and end of the notebook
    give different points: a sentence where the check counts, one where the end does. outputs:
    nbformat outputs by cell. state: a word of record.STATES. deaths: a sentence for each time the
    process had to be stopped or went down. failed: cells that ended in an error.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    outputs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    state: str = "graded"
    deaths: list[str] = field(default_factory=list)
    seconds: float = 0.0
    failed: list[int] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)
    size: int = 0

    def keep(self, cell: int, outputs: list[dict[str, Any]]) -> None:
        """Keep a cell's outputs, if there is still room for them."""
        room = MAX_OUTPUTS - self.size + self.sizes.get(cell, 0)
        if _size(outputs) > room:
            text = "[not kept: the outputs of this notebook are too long]\n"
            note = {"output_type": "stream", "name": "stderr", "text": text}
            outputs = [note, *(o for o in outputs if o["output_type"] == "error")]
        if _size(outputs) > room:
            outputs = []
        self.size += _size(outputs) - self.sizes.get(cell, 0)
        self.sizes[cell] = _size(outputs)
        self.outputs[cell] = outputs


def examine(
    sandbox: Sandbox,
    cells: Sequence[str | None],
    exams: Sequence[Exam],
    limits: Limits,
    files: Mapping[str, str] | None = None,
    tests: Collection[int] = (),
    imports: tuple[int, str] | None = None,
    checks: Mapping[int, str] | None = None,
    alone: bool = False,
    tell: Callable[[str, str], None] = lambda what, words: None,
) -> Examination:
    """Run a notebook's code cells and examine its functions: at their checks and at the end.

    cells: sources, in order; None is not run. files: what lies beside the notebook, base64 by name.
    tests: cells with the homework's own checks; that they raise is what a verdict says better.
    imports: the imports cell, and the homework's own one, which runs if that stops. checks: cells
    ahead of which a function is taken as it stands there, with its name. alone: whether nothing
    else of this grader runs beside it; then a limit by the clock is the student's own doing.
    tell(what, words): called with what is being done, as in `Journal`.
    Raises Accident if something else than the student's code ended the run, or may have.
    """
    examination, answers = gather(
        sandbox, cells, exams, limits, files, imports, checks, alone, tell
    )
    return conclude(examination, answers, exams, tests, checks, tell)


def gather(
    sandbox: Sandbox,
    cells: Sequence[str | None],
    exams: Sequence[Exam],
    limits: Limits,
    files: Mapping[str, str] | None = None,
    imports: tuple[int, str] | None = None,
    checks: Mapping[int, str] | None = None,
    alone: bool = False,
    tell: Callable[[str, str], None] = lambda what, words: None,
    is_right: Callable[[Exam, list[Answer]], bool] | None = None,
) -> tuple[Examination, Answers]:
    """The first half of `examine`: what came of the cells, and the answers, not judged yet.

    is_right: as in `run_once`; who says that nothing is right gets all answers.
    """
    started = time.monotonic()
    deadline = started + limits.submission_seconds
    examination = Examination()
    answers: Answers = {}
    places = places_of(exams, checks or {})
    went_down: set[int] = set()

    def keep(cell: int, outputs: list[dict[str, Any]]) -> None:
        failed = next((o["ename"] for o in outputs if o["output_type"] == "error"), "")
        tell("ran", f"code cell {cell + 1} {f'stopped with {failed}' if failed else 'ran'}")
        if cell not in went_down:
            examination.keep(cell, outputs)

    def see(where: int | Place) -> None:
        if isinstance(where, int):
            begins = next(iter((cells[where] or "").strip().splitlines()), "")
            tell("cell", f"code cell {where + 1}: {begins}")
        else:
            tell("ask", f"{where.check} is asked {where.words}")

    def run(todo: Sequence[str | None], pending: Sequence[Place]) -> Crash | None:
        order: dict[str, Any] = {
            "cells": list(todo),
            "cell_seconds": limits.cell_seconds,
            "cells_seconds": limits.cells_seconds,
            "answer_seconds": limits.answer_seconds,
            "files": dict(files or {}),
        }
        if imports and todo[imports[0]] is None:  # it took the process down before
            order["cells"][imports[0]] = imports[1]
        elif imports:
            order["imports"] = imports
        begun = time.monotonic()
        with sandbox.job(limits) as job:
            line = _Line(job, deadline)
            tell("run", f"a run begins, {len(pending)} questions to ask")
            crash = run_once(
                line, order, exams, pending, keep, answers, SILENT_SECONDS, see, is_right
            )
            if crash is not None and crash.where is None and crash.after is None:
                raise Accident(f"{crash.words} before any of its cells ran")
            if not alone and (line.waited_out or clock_struck()):
                ended = job.end(0)
                if ended is None or ended["short"] > SHORT * (time.monotonic() - begun):
                    raise Accident("ran out of time while others had the processors")
            return crash

    def clock_struck() -> bool:
        said = [o.get("evalue", "") for outputs in examination.outputs.values() for o in outputs]
        said += [
            one.message for given in answers.values() for one in given if isinstance(one, Failure)
        ]
        return any(BY_THE_CLOCK in words for words in said)

    for crash in run_past_crashes(cells, places, answers, run):
        where, words = crash.where, crash.words
        tell("down", f"it {words}; the next run leaves that out")
        if isinstance(where, int):
            went_down.add(where)
            _note(examination, crash.state, f"code cell {where + 1} {words}")
            examination.keep(where, [_stopped(f"This cell {words}.")])
        else:
            _note(examination, crash.state, f"{where.check if where else 'the process'} {words}")
        if time.monotonic() >= deadline:
            _note(examination, "timed out", f"stopped after {limits.submission_seconds:g} s in all")
            break
    examination.seconds = time.monotonic() - started
    return examination, answers


def conclude(
    examination: Examination,
    answers: Answers,
    exams: Sequence[Exam],
    tests: Collection[int] = (),
    checks: Mapping[int, str] | None = None,
    tell: Callable[[str, str], None] = lambda what, words: None,
) -> Examination:
    """The second half of `examine`: judge the answers."""
    places = places_of(exams, checks or {})
    remarks: dict[bool, dict[str, str]] = {}  # by whether the end counts or the check
    for exam in exams:
        verdict, at_the_end, remark = better(exam, places, answers)
        found = f"{verdict.points:g} of {verdict.max_points:g}, {verdict.outcome}"
        tell("verdict", f"{exam.check}: {found}. {verdict.sentence}")
        examination.verdicts.append(verdict)
        if remark:
            remarks.setdefault(at_the_end, {})[exam.check] = remark
    for alike in remarks.values():
        first, *others = alike
        more = f" So it is with {', '.join(others)}." if others else ""
        examination.remarks.append(alike[first] + more)
    examination.failed = sorted(
        cell
        for cell, outputs in examination.outputs.items()
        if cell not in tests and any(output["output_type"] == "error" for output in outputs)
    )
    if examination.state == "graded" and examination.failed:
        examination.state = "cells failed"
    if examination.state == "cells failed" and any(
        _is_memory_error(output)
        for cell in examination.failed
        for output in examination.outputs[cell]
    ):
        _note(examination, "out of memory", "a cell asked for more memory than there is")
    return examination


class _Line:
    """The line to a job in the sandbox: messages of bounded length, and none past a deadline."""

    def __init__(self, job: Job, deadline: float) -> None:
        self.job, self.channel, self.deadline = job, job.channel, deadline
        self.buffer = bytearray()
        self.waited_out = False  # the clock ran out over what it was to say
        self.killed_before = machine_kills()

    def say(self, message: Any) -> None:
        left = self.deadline - time.monotonic()
        self.channel.settimeout(max(0.1, min(SILENT_SECONDS, left)))
        try:
            self.channel.sendall(wire.dumps(message))
        except TimeoutError:
            raise Over("timed out", "stopped listening") from None
        except OSError:
            raise self._how_it_ended() from None

    def hear(self, patience: float) -> dict[str, Any]:
        until = min(time.monotonic() + patience, self.deadline)
        searched = 0
        while (end := self.buffer.find(b"\n", searched)) < 0:
            searched = len(self.buffer)
            left = until - time.monotonic()
            if left <= 0:
                self.waited_out = True
                raise Over("timed out", "did not stop at its time limit")
            self.channel.settimeout(left)
            try:
                data = self.channel.recv(1 << 20)
            except TimeoutError:
                continue
            except OSError:
                data = b""
            if not data:
                raise self._how_it_ended()
            self.buffer += data
            if len(self.buffer) > MAX_LINE:
                raise wire.WireError("more than the limit")
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return read_message(line)

    def _how_it_ended(self) -> Over:
        """What the student's process did to end its line. Raises Accident if it was not that."""
        ended = self.job.end()
        if ended is None:
            raise Accident("ended without a word of the process that watches over it")
        if ended["stage"] == NOTHING:
            raise Accident("could not be started")
        if ended["stage"] == OUT_OF_MEMORY:
            words = "took more memory than it may have, all its processes together"
            return Over("out of memory", words)
        if ended["leash"]:  # it lives, and was made to end
            return Over("killed", "closed its line to the grader")
        status = ended["status"]
        # A signal ends the job's own process 1 only from outside, as the machine's memory running
        # out does; that ends a student's process too.
        if status < 0 or (status == SIGKILL_EXIT and machine_kills() != self.killed_before):
            raise Accident("was ended from outside, or for want of memory that others used")
        return how_it_ended(status)


def machine_kills() -> int:
    """How many processes this machine has ended for want of memory; -1 if it does not say."""
    try:
        counts = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
        return int(counts["oom_kill"])
    except (OSError, KeyError, ValueError):
        return -1


def _size(outputs: Any) -> int:
    """Characters in outputs, all strings in them counted."""
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    return sum(map(_size, outputs)) if isinstance(outputs, list) else len(outputs)


def _is_memory_error(output: dict[str, Any]) -> bool:
    return output.get("ename") == "MemoryError" or "can't allocate memory" in output.get(
        "evalue", ""
    )


def _stopped(text: str) -> dict[str, Any]:
    return {"output_type": "error", "ename": STOPPED, "evalue": text, "traceback": [text]}


def _note(examination: Examination, state: str, words: str) -> None:
    """Keep the first state that is worse than failed cells; keep every sentence."""
    if examination.state in ("graded", "cells failed"):
        examination.state = state
    examination.deaths.append(words)
