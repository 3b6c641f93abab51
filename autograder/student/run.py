"""A notebook run and its functions asked, from the other side of the probe.

What takes the process down costs itself alone: the notebook is run again without it. Nothing that
comes from the process is trusted. Grading uses this over a sandbox, `course check` over pipes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from autograder.student import wire
from autograder.student.exam import Answer, Exam, Failure, Verdict, judge
from autograder.student.limits import WALL
from autograder.student.probe import MAX_PNG

MAX_PARTS = 500_000  # commas and brackets in one message
MAX_RUNS = 6
SIGXCPU_EXIT, SIGKILL_EXIT, SIGSEGV_EXIT, SIGABRT_EXIT = 152, 137, 139, 134
NOT_ASKED = Failure("ended", "could not be asked: its notebook went down before")
NOT_THERE = ("missing", "unwritten")  # outcomes of a function that was written further down
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


class Place(NamedTuple):
    """Where a question is asked: as things stand ahead of a code cell, or at the end (None)."""

    check: str
    cell: int | None = None

    @property
    def words(self) -> str:
        """Where that is, for people."""
        return "at the end" if self.cell is None else f"at its check, code cell {self.cell + 1}"


Answers = dict[Place, list[Answer]]


@dataclass(frozen=True)
class Crash:
    """Where a run went down and how: at a code cell, at a question, or between them (None).

    after: the last code cell that had run, if it went down between two.
    """

    where: int | Place | None
    state: str
    words: str
    after: int | None = None


Run = Callable[[Sequence[str | None], Sequence[Place]], Crash | None]
Keep = Callable[[int, list[dict[str, Any]]], None]


def places_of(exams: Sequence[Exam], checks: Mapping[int, str]) -> list[Place]:
    """Where each exam is asked, in the order of asking. checks: code cells with what they check."""
    at_checks = [Place(check, cell) for cell, check in sorted(checks.items())]
    return [*(Place(exam.check) for exam in exams), *at_checks]


def run_past_crashes(
    cells: Sequence[str | None], places: Sequence[Place], answers: Answers, run: Run
) -> Iterator[Crash]:
    """Run a notebook until every question has its answers, each time without what went wrong.

    run(cells, places): one run, of the cells that are not None and of what was not asked yet; fills
    `answers`. Yields what went wrong, at most MAX_RUNS times. What goes down between two cells is
    run again as it is, in case that was an accident of ours; if it goes down there once more, the
    cell above has left it so.
    """
    todo, before = list(cells), set[int]()
    for _ in range(MAX_RUNS):
        crash = run(todo, [place for place in places if place not in answers])
        if crash is None:
            return
        if crash.where is None and crash.after is not None:
            if crash.after not in before:
                before.add(crash.after)
                continue
            crash = replace(crash, where=crash.after)
        if isinstance(crash.where, int):
            todo[crash.where] = None
        elif crash.where:
            answers[crash.where] = [_failure(crash.state, crash.words)]
        yield crash


def run_once(
    channel: Channel,
    order: Mapping[str, Any],
    exams: Sequence[Exam],
    places: Sequence[Place],
    keep: Keep,
    answers: Answers,
    start_seconds: float,
    see: Callable[[int | Place], None] = lambda _: None,
    is_right: Callable[[Exam, list[Answer]], bool] | None = None,
) -> Crash | None:
    """Have the cells run and the questions asked in one process; None if all of it was done.

    order: as in `probe.serve`. keep(cell, outputs): called after each cell. answers: get those of
    each place that could be kept; what is right at the end is not asked for at a check that went
    through. start_seconds: how long the process may be silent when no cell runs. see(where): called
    before each cell and question. is_right(exam, answers): how it is known that what came at the
    end is right; by judging it if nothing else is said.
    """
    is_right = is_right or (lambda exam, given: judge(exam, given).outcome == "right")
    cells, by_name, failed = order["cells"], {exam.check: exam for exam in exams}, set()
    where: int | Place | None = None
    after: int | None = None
    try:
        channel.say({**order, "keep": [place.cell for place in places if place.cell is not None]})
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
                outputs = clean_outputs(message["outputs"])
                keep(cell, outputs)
                if any(output["output_type"] == "error" for output in outputs):
                    failed.add(cell)
                where, after, patience = None, cell, start_seconds
            else:
                see(cell)
        else:
            raise wire.WireError("more than there are cells")
        kept = message.get("kept")
        for place in places:
            exam = by_name[place.check]
            if place.cell is not None:
                if not isinstance(kept, list) or place.cell not in kept:
                    continue
                at_end = answers.get(Place(place.check), [NOT_ASKED])
                if place.cell not in failed and is_right(exam, at_end):
                    continue
            where = place
            see(place)
            cases = [wire.encode(case) for case in exam.cases]
            question = {"check": exam.check, "recipe": exam.recipe, "cases": cases}
            channel.say({**question, "cell": place.cell})
            message = channel.hear(len(cases) * WALL * order["answer_seconds"] + SLACK)
            answers[place] = exam.measured(_answers(place, message))
    except Over as over:
        return Crash(where, over.state, over.words, after if where is None else None)
    except wire.WireError as error:
        return Crash(where, "killed", _unreadable(error), after if where is None else None)
    return None


def _answers(place: Place, message: dict[str, Any]) -> list[Answer]:
    """The answers in a message. What a fork made of it costs the fork; at the end, WireError."""
    if place.cell is None:
        return read_answers(message.get("answers"))
    if "down" in message:
        code = message["down"]
        over = how_it_ended(code if type(code) is int else None)
        return [_failure(over.state, over.words)]
    try:
        return read_answers(message.get("answers"))
    except wire.WireError as error:
        return [_failure("killed", _unreadable(error))]


def _failure(state: str, words: str) -> Failure:
    late = state == "timed out"
    return Failure("timed out", f"it {words}") if late else Failure("ended", words)


def _unreadable(error: wire.WireError) -> str:
    return f"wrote something unreadable to the grader ({str(error)[:200]})"


def better(exam: Exam, places: Sequence[Place], answers: Answers) -> tuple[Verdict, bool, str]:
    """The best of an exam's verdicts, whether it is that of the end of the notebook, and a remark
    if another place would have given fewer points.

    At equal points the first place has the word, if there was a function to speak of. That one was
    written below its check is no remark.
    """
    asked = [place for place in places if place.check == exam.check and place in answers]
    asked.sort(key=lambda place: place.cell is None)
    found = {place: judge(exam, answers[place]) for place in asked}
    if not found:
        return judge(exam, [NOT_ASKED]), True, ""

    def rank(place: Place) -> tuple[float, bool]:
        return found[place].points, found[place].outcome not in (*NOT_THERE, "ended")

    best = max(asked, key=rank)
    worse = [place for place in asked if found[place].points < found[best].points]
    worse = [p for p in worse if p.cell is None or found[p].outcome not in NOT_THERE]
    remark = ""
    if worse:
        remark = (
            f"{exam.check} counts as it stood {best.words}. As it stood {worse[-1].words}: "
            f"{found[worse[-1]].sentence}"
        )
    return found[best], best.cell is None, remark


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
    """The message in a line. Raises WireError if it is none, or of so many parts that reading it
    would take the reader's memory.
    """
    if sum(map(line.count, b",[{")) > MAX_PARTS:
        raise wire.WireError("more parts than the limit")
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
        if kind not in (
            "missing",
            "unwritten",
            "part unwritten",
            "raised",
            "not numbers",
            "timed out",
        ):
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
