"""The examiner: has a notebook run in the sandbox, asks its functions, judges the answers.

Sits outside the student's process and trusts nothing that comes out of it. When a cell or an answer
takes the process down, the notebook is run again without it, so that one fault costs one thing.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autograder import wire
from autograder.check import Check, compile_exam
from autograder.exam import Answer, Exam, Failure, Verdict, judge
from autograder.probe import MAX_PNG, WALL
from autograder.sandbox import Limits, Sandbox
from autograder.warm import OUT_OF_MEMORY_EXIT

MAX_LINE = 24_000_000
MAX_OUTPUTS = 10_000_000  # characters of output that are kept of one notebook
MAX_RUNS = 6
SIGXCPU_EXIT, SIGKILL_EXIT, SIGSEGV_EXIT, SIGABRT_EXIT = 152, 137, 139, 134


def course_secret(course: Path) -> bytes:
    """The key of the hidden cases: made on first use, kept in the class folder, never shown."""
    path = course / ".course" / "secret"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    return bytes.fromhex(path.read_text().strip())


def hidden_exams(checks: Sequence[Check], secret: bytes, student: str) -> list[Exam]:
    """The exams of one student: public cases, then hidden ones that only the secret foretells.

    The same secret, homework, question and student give the same cases, hence the same mark.
    """
    exams = []
    for check in checks:
        label = "\0".join((check.homework, check.name, student)).encode()
        digest = hmac.new(secret, label, hashlib.sha256).digest()
        exams.append(compile_exam(check, np.random.default_rng(int.from_bytes(digest, "big"))))
    return exams


@dataclass
class Sitting:
    """What came of one notebook.

    verdicts: one an exam. outputs: nbformat outputs by cell. state: a word of record.STATES.
    deaths: a sentence for each time the process had to be stopped or went down. failed: cells
    that ended in an error.
    """

    verdicts: list[Verdict] = field(default_factory=list)
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
    cells: Sequence[str],
    exams: Sequence[Exam],
    limits: Limits,
    files: Mapping[str, str] | None = None,
    tests: Collection[int] = (),
) -> Sitting:
    """Run a notebook's code cells and examine its functions.

    cells: sources, in order. files: what lies beside the notebook, base64 by name. tests: cells
    with the homework's own checks; that they raise is what a verdict says better.
    """
    started = time.monotonic()
    sitting = Sitting()
    answers: dict[str, list[Answer]] = {}
    todo: list[str | None] = list(cells)
    for _ in range(MAX_RUNS):
        pending = [exam for exam in exams if exam.check not in answers]
        left = limits.submission_seconds - (time.monotonic() - started)
        if left <= 0:
            _note(sitting, "timed out", f"stopped after {limits.submission_seconds:g} s in all")
            break
        with sandbox.job(limits) as channel:
            run = _Run(channel, limits, time.monotonic() + left)
            over = run.work(todo, pending, files or {}, sitting, answers)
        if over is None:
            break
        where, (state, what) = over
        if isinstance(where, int):
            _note(sitting, state, f"code cell {where + 1} {what}")
            sitting.keep(where, [_stopped(f"This cell {what}.")])
            todo[where] = None
        elif where:
            _note(sitting, state, f"{where} {what}")
            answers[where] = [Failure("timed out" if state == "timed out" else "ended", what)]
        else:
            _note(sitting, state, f"the process {what}")
    lost = Failure("ended", "its notebook went down before it could be asked")
    sitting.verdicts = [
        judge(exam, _padded(exam, answers.get(exam.check, [lost]))) for exam in exams
    ]
    sitting.failed = sorted(
        cell
        for cell, outputs in sitting.outputs.items()
        if cell not in tests and any(output["output_type"] == "error" for output in outputs)
    )
    if sitting.state == "graded" and sitting.failed:
        sitting.state = "cells failed"
    if sitting.state == "cells failed" and any(
        _is_memory_error(output) for cell in sitting.failed for output in sitting.outputs[cell]
    ):
        _note(sitting, "out of memory", "a cell asked for more memory than there is")
    sitting.seconds = time.monotonic() - started
    return sitting


class _Run:
    """One process that runs the notebook: speaks to the probe, never past a deadline."""

    def __init__(self, channel: socket.socket, limits: Limits, deadline: float) -> None:
        self.channel, self.limits, self.deadline = channel, limits, deadline
        self.buffer = bytearray()

    def work(
        self,
        todo: Sequence[str | None],
        exams: Sequence[Exam],
        files: Mapping[str, str],
        sitting: Sitting,
        answers: dict[str, list[Answer]],
    ) -> tuple[int | str, tuple[str, str]] | None:
        """None when everything was asked; else where the process ended, and how (state, words)."""
        limits = self.limits
        where: int | str = ""
        try:
            self.say(
                {
                    "cells": list(todo),
                    "cell_seconds": limits.cell_seconds,
                    "cells_seconds": limits.cells_seconds,
                    "answer_seconds": limits.answer_seconds,
                    "files": dict(files),
                }
            )
            patience = 20.0
            for _ in range(2 * len(todo) + 1):
                message = self.hear(patience)
                if "ready" in message:
                    break
                cell = message.get("cell")
                if type(cell) is not int or not 0 <= cell < len(todo):
                    raise wire.WireError("a cell that does not exist")
                where, patience = cell, WALL * limits.cell_seconds + 5
                if "outputs" in message:
                    sitting.keep(cell, clean_outputs(message["outputs"]))
                    where, patience = "", 20.0
            else:
                raise wire.WireError("more than there are cells")
            for exam in exams:
                where = exam.check
                self.say(
                    {
                        "check": exam.check,
                        "recipe": exam.recipe,
                        "cases": [wire.encode(case) for case in exam.cases],
                    }
                )
                message = self.hear(len(exam.cases) * WALL * limits.answer_seconds + 5)
                answers[exam.check] = _answers(message.get("answers"))
        except _Over as over:
            return where, over.args[0]
        except wire.WireError as error:
            return where, (
                "killed",
                f"wrote something unreadable to the grader ({str(error)[:200]})",
            )
        return None

    def say(self, message: Any) -> None:
        self.channel.settimeout(20)
        try:
            self.channel.sendall(wire.dumps(message))
        except TimeoutError:
            raise _Over(("timed out", "stopped listening")) from None
        except OSError:
            raise _Over(self._how_it_ended()) from None

    def hear(self, patience: float) -> dict[str, Any]:
        """The next message. Raises _Over when the process is gone or late."""
        until = min(time.monotonic() + patience, self.deadline)
        message = self._next(until)
        if "ended" in message:
            raise _Over(_words(message["ended"]))
        return message

    def _next(self, until: float) -> dict[str, Any]:
        searched = 0
        while (end := self.buffer.find(b"\n", searched)) < 0:
            searched = len(self.buffer)
            left = until - time.monotonic()
            if left <= 0:
                raise _Over(("timed out", "did not stop at its time limit"))
            self.channel.settimeout(left)
            try:
                data = self.channel.recv(1 << 20)
            except TimeoutError:
                continue
            except OSError:
                data = b""
            if not data:
                raise _Over(("killed", "ended without a word"))
            self.buffer += data
            if len(self.buffer) > MAX_LINE:
                raise wire.WireError("more than the limit")
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        message = wire.loads(line)
        if not isinstance(message, dict):
            raise wire.WireError("not a message")
        return message

    def _how_it_ended(self) -> tuple[str, str]:
        try:
            while True:
                message = self._next(time.monotonic() + 2)
                if "ended" in message:
                    return _words(message["ended"])
        except (_Over, wire.WireError):
            return "killed", "ended without a word"


class _Over(Exception):
    """The process is gone or given up; the argument is (state, words)."""


def _words(ended: Any) -> tuple[str, str]:
    """How a process ended, from the keeper's exit code, as a state and words."""
    code = ended.get("status") if isinstance(ended, dict) else None
    if code == SIGXCPU_EXIT:
        return "timed out", "did not stop at its time limit"
    if code == SIGKILL_EXIT:
        return "killed", "was killed, by itself or for want of memory"
    if code == OUT_OF_MEMORY_EXIT:
        return "out of memory", "took more memory than it may have, all its processes together"
    if code in (SIGSEGV_EXIT, SIGABRT_EXIT):
        return "killed", "crashed the Python interpreter"
    return "killed", f"ended the process (exit status {code if type(code) is int else 'unknown'})"


def _answers(data: Any) -> list[Answer]:
    """Answers as they came, made safe. Raises WireError if they are not answers."""
    if not isinstance(data, list) or len(data) > 100:
        raise wire.WireError("expected a list of answers")
    answers: list[Answer] = []
    for item in data:
        if not isinstance(item, dict):
            raise wire.WireError("expected an answer")
        if "observations" in item:
            answers.append(wire.decode(item["observations"]))
            continue
        failure = item.get("failure")
        if not isinstance(failure, dict):
            raise wire.WireError("expected observations or a failure")
        line = failure.get("line")
        line = line if type(line) is int and 0 < line < 1_000_000 else None
        kind = str(failure.get("kind"))
        if kind not in ("missing", "unwritten", "raised", "not numbers", "timed out"):
            kind = "raised"
        answers.append(Failure(kind, _text(failure.get("message"), 300), line))
    return answers


def _padded(exam: Exam, answers: list[Answer]) -> list[Answer]:
    """A failure stops the probe early; the judge wants an answer a case."""
    if answers and isinstance(answers[-1], Failure):
        return answers + [answers[-1]] * (len(exam.cases) - len(answers))
    return answers


def clean_outputs(outputs: Any) -> list[dict[str, Any]]:
    """Outputs in nbformat's form, text and PNG only, whatever the process sent."""
    if not isinstance(outputs, list):
        raise wire.WireError("expected outputs")
    cleaned: list[dict[str, Any]] = []
    for output in outputs[:100]:
        if not isinstance(output, dict):
            raise wire.WireError("expected an output")
        kind = output.get("output_type")
        if kind == "stream":
            name = "stderr" if output.get("name") == "stderr" else "stdout"
            cleaned.append({"output_type": kind, "name": name, "text": _text(output.get("text"))})
        elif kind == "error":
            lines = output.get("traceback")
            cleaned.append(
                {
                    "output_type": kind,
                    "ename": _text(output.get("ename"), 100),
                    "evalue": _text(output.get("evalue"), 2000),
                    "traceback": [_text(line, 2000) for line in lines[:50]]
                    if isinstance(lines, list)
                    else [],
                }
            )
        elif kind == "display_data" and isinstance(output.get("data"), dict):
            data = output["data"]
            kept = {"text/plain": _text(data.get("text/plain"))}
            png = data.get("image/png")
            if isinstance(png, str) and png.startswith("iVBORw0KGgo") and len(png) <= MAX_PNG:
                kept["image/png"] = re.sub(r"[^A-Za-z0-9+/=]", "", png)
            cleaned.append({"output_type": kind, "data": kept, "metadata": {}})
    return cleaned


def _text(value: Any, limit: int = 21_000) -> str:
    return wire.plain(value[:limit]) if isinstance(value, str) else ""


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
    return {"output_type": "error", "ename": "Stopped", "evalue": text, "traceback": [text]}


def _note(sitting: Sitting, state: str, words: str) -> None:
    """Keep the first state that is worse than failed cells; keep every sentence."""
    if sitting.state in ("graded", "cells failed"):
        sitting.state = state
    sitting.deaths.append(words)
