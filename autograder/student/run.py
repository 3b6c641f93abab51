"""A notebook run and its functions asked, from the other side of the probe.

What takes the process down costs itself alone: the notebook is run again without it. Nothing that
comes from the process is trusted. Grading uses this over a sandbox, `course check` over pipes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from autograder.student import wire
from autograder.student.exam import Answer, Exam, Failure
from autograder.student.probe import MAX_PNG, WALL

MAX_RUNS = 6
SIGXCPU_EXIT, SIGKILL_EXIT, SIGSEGV_EXIT, SIGABRT_EXIT = 152, 137, 139, 134
NOT_ASKED = Failure("ended", "could not be asked: its notebook went down before")
SLACK = 5.0  # seconds of patience beyond the time limits that the probe keeps by itself


class Over(Exception):
    """The process is gone or given up.

    state: "timed out", "out of memory" or "killed". words: what it did, as in "it ...".
    """

    def __init__(self, state: str, words: str) -> None:
        super().__init__(words)
        self.state, self.words = state, words


class Channel(Protocol):
    """A line to a process in which `probe.serve` runs. Both methods raise Over."""

    def say(self, message: Any) -> None:
        """Send a message."""

    def hear(self, patience: float) -> dict[str, Any]:
        """The next message, if it comes within so many seconds. May raise wire.WireError."""


@dataclass(frozen=True)
class Crash:
    """Where a run went down and how: at a code cell, at a check, or between them ("")."""

    where: int | str
    state: str
    words: str


Run = Callable[[Sequence[str | None], Sequence[Exam]], Crash | None]
Keep = Callable[[int, list[dict[str, Any]]], None]


def run_past_crashes(
    cells: Sequence[str | None], exams: Sequence[Exam], answers: dict[str, list[Answer]], run: Run
) -> Iterator[Crash]:
    """Run a notebook until every exam has its answers, each time without what went wrong before.

    run(cells, exams): one run, of the cells that are not None and of what was not asked yet; fills
    `answers`. Yields what went wrong, at most MAX_RUNS times.
    """
    todo = list(cells)
    for _ in range(MAX_RUNS):
        crash = run(todo, [exam for exam in exams if exam.check not in answers])
        if crash is None:
            return
        if isinstance(crash.where, int):
            todo[crash.where] = None
        elif crash.where:
            late = crash.state == "timed out"
            answers[crash.where] = [
                Failure("timed out", f"it {crash.words}") if late else Failure("ended", crash.words)
            ]
        yield crash


def run_once(
    channel: Channel,
    order: Mapping[str, Any],
    exams: Sequence[Exam],
    keep: Keep,
    answers: dict[str, list[Answer]],
    start_seconds: float,
) -> Crash | None:
    """Have the cells run and the exams asked in one process; None if all of it was done.

    order: as in `probe.serve`. keep(cell, outputs): called after each cell. answers: get those of
    each exam. start_seconds: how long the process may be silent when no cell runs.
    """
    cells = order["cells"]
    where: int | str = ""
    try:
        channel.say(order)
        patience = start_seconds
        for _ in range(2 * len(cells) + 1):
            message = channel.hear(patience)
            if "ready" in message:
                break
            cell = message.get("cell")
            if type(cell) is not int or not 0 <= cell < len(cells):
                raise wire.WireError("a cell that does not exist")
            where, patience = cell, WALL * order["cell_seconds"] + SLACK
            if "outputs" in message:
                keep(cell, clean_outputs(message["outputs"]))
                where, patience = "", start_seconds
        else:
            raise wire.WireError("more than there are cells")
        for exam in exams:
            where = exam.check
            cases = [wire.encode(case) for case in exam.cases]
            channel.say({"check": exam.check, "recipe": exam.recipe, "cases": cases})
            message = channel.hear(len(cases) * WALL * order["answer_seconds"] + SLACK)
            answers[exam.check] = read_answers(message.get("answers"))
    except Over as over:
        return Crash(where, over.state, over.words)
    except wire.WireError as error:
        words = f"wrote something unreadable to the grader ({str(error)[:200]})"
        return Crash(where, "killed", words)
    return None


def how_it_ended(code: int | None) -> Over:
    """How a process ended, from its exit status as a shell gives it (128 + n for a signal)."""
    if code == SIGXCPU_EXIT:
        return Over("timed out", "did not stop at its time limit")
    if code == SIGKILL_EXIT:
        return Over("killed", "was killed, by itself or for want of memory")
    if code in (SIGSEGV_EXIT, SIGABRT_EXIT):
        return Over("killed", "crashed the Python interpreter")
    status = "unknown" if code is None else code
    return Over("killed", f"ended the whole process (exit status {status})")


def read_message(line: bytes) -> dict[str, Any]:
    """The message in a line. Raises WireError if it is none."""
    message = wire.loads(line)
    if not isinstance(message, dict):
        raise wire.WireError("not a message")
    return message


def read_answers(data: Any) -> list[Answer]:
    """Answers as the probe gives them, made safe. Raises WireError if they are not answers."""
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
