"""An exam is a question as a table of numbers; judging it is comparing tables.

The same exam and the same judge serve the student's notebook (public cases, shipped as JSON) and
the examiner (hidden cases, made for one submission and never leaving the grader).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from autograder.student import wire
from autograder.student.wire import Arrays


@dataclass(frozen=True)
class Close:
    """Two arrays agree: same shape and |observed - expected| <= atol + rtol |expected|.

    The defaults are wide enough for other algebra and for the usual guards (1e-8 below a fraction
    or in a logarithm), and below any mistake. Observations in single precision get `single_rtol`
    and an `atol` to match. nan equals nan, so that a known mistake may lead to it; what is right
    never does.
    """

    rtol: float = 2e-4
    atol: float = 2e-5
    single_rtol: float = 1e-3

    def agrees(self, expected: wire.Array, observed: wire.Array) -> bool:
        """Whether the observed array equals the expected one within the tolerance."""
        if expected.shape != observed.shape:
            return False
        if expected.dtype == bool or observed.dtype == bool:
            return expected.dtype == observed.dtype and bool(np.array_equal(expected, observed))
        rtol, atol = self.rtol, self.atol
        if observed.dtype == np.float32:
            rtol, atol = max(rtol, self.single_rtol), max(atol, 1e-2 * self.single_rtol)
        return bool(np.allclose(observed, expected, rtol=rtol, atol=atol, equal_nan=True))


@dataclass(frozen=True)
class KnownWrong:
    """A known mistake, as the observations that it leads to."""

    name: str
    hint: str
    see: str
    observations: tuple[Arrays, ...]


@dataclass(frozen=True)
class Exam:
    """One question in numbers: what is asked, what is right, and what known mistakes answer.

    check: the name of the check, and of the function that is asked for.
    recipe: source text of `recipe(function, case)`, which runs in the student's process.
    cases, expected: one entry a case; the first `public` of them stand in the handout.
    """

    check: str
    title: str
    points: int
    recipe: str
    cases: tuple[Arrays, ...]
    expected: tuple[Arrays, ...]
    known_wrong: Iterable[KnownWrong]
    tolerance: Close
    public: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for the handout."""
        return {
            "check": self.check,
            "title": self.title,
            "points": self.points,
            "recipe": self.recipe,
            "cases": [wire.encode(case) for case in self.cases],
            "expected": [wire.encode(table) for table in self.expected],
            "known_wrong": [
                {
                    "name": wrong.name,
                    "hint": wrong.hint,
                    "see": wrong.see,
                    "observations": [wire.encode(table) for table in wrong.observations],
                }
                for wrong in self.known_wrong
            ],
            "tolerance": asdict(self.tolerance),
            "public": self.public,
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> Exam:
        """The inverse of `to_json`."""
        return Exam(
            check=data["check"],
            title=data["title"],
            points=data["points"],
            recipe=data["recipe"],
            cases=_tables(data["cases"]),
            expected=_tables(data["expected"]),
            known_wrong=tuple(
                KnownWrong(w["name"], w["hint"], w["see"], _tables(w["observations"]))
                for w in data["known_wrong"]
            ),
            tolerance=Close(**data["tolerance"]),
            public=data["public"],
        )


def _tables(items: Sequence[Any]) -> tuple[Arrays, ...]:
    return tuple(wire.decode(item) for item in items)


@dataclass(frozen=True)
class Failure:
    """Instead of observations: why a case has none (`kind`), and the words that go with it.

    kind: "missing" (no such function), "unwritten" (still the stub), "part unwritten" (it came to
    the stub of another, `message`), "raised", "not numbers", "timed out", "ended" (the process
    died; what the function did, as in "gae ..."), "unreadable" (no notebook to look at). line: in
    the student's cell, if known.
    """

    kind: str
    message: str = ""
    line: int | None = None


Answer = Arrays | Failure


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    outcome: "right", "known mistake", "wrong", or a `Failure` kind. mistake: the name of the known
    mistake, else "". sentence: for the student. see: where in the lectures it is cleared up.
    """

    check: str
    title: str
    points: int
    max_points: int
    outcome: str
    mistake: str
    sentence: str
    see: str


def judge(exam: Exam, answers: Sequence[Answer]) -> Verdict:
    """Compare answers with the exam's tables. All or nothing.

    answers: one a case, or fewer, the last one a failure.
    """

    def verdict(outcome: str, sentence: str, mistake: str = "", see: str = "") -> Verdict:
        points = exam.points if outcome == "right" else 0
        return Verdict(exam.check, exam.title, points, exam.points, outcome, mistake, sentence, see)

    for answer in answers:
        if isinstance(answer, Failure):
            return verdict(answer.kind, _failure_sentence(exam.check, answer))
    if len(answers) != len(exam.cases):
        return verdict("ended", f"{exam.check} gave no complete answer.")
    tables: list[Arrays] = [answer for answer in answers if not isinstance(answer, Failure)]
    agreed = [agree(exam, want, got) for want, got in zip(exam.expected, tables, strict=True)]
    if all(agreed):
        return verdict("right", f"{exam.check} is right.")
    for wrong in exam.known_wrong:
        if all(agree(exam, w, got) for w, got in zip(wrong.observations, tables, strict=True)):
            return verdict("known mistake", wrong.hint, mistake=wrong.name, see=wrong.see)
    return verdict("wrong", _difference_sentence(exam, tables, agreed.index(False)))


def first_wrong(exam: Exam, answers: Sequence[Answer]) -> int | None:
    """The first case without an answer, or with one that differs; None if all agree."""
    for index, (want, answer) in enumerate(zip(exam.expected, answers, strict=False)):
        if isinstance(answer, Failure) or not agree(exam, want, answer):
            return index
    return None


def agree(exam: Exam, want: Arrays, got: Arrays) -> bool:
    """Whether the observations of one case are those that were wanted."""
    return want.keys() == got.keys() and all(
        exam.tolerance.agrees(want[name], got[name]) for name in want
    )


def _failure_sentence(name: str, failure: Failure) -> str:
    where = f" (line {failure.line} of its cell)" if failure.line else ""
    if failure.kind == "missing":
        return (
            f"There is no function named {name}: was it renamed, was its cell deleted, or did the "
            "cell stop before it?"
        )
    if failure.kind == "unreadable":
        return f"{name} could not be looked at, since the notebook could not be read."
    if failure.kind == "unwritten":
        return f"{name} is not written yet."
    if failure.kind == "part unwritten":
        return f"{name} called {failure.message}, which is not written yet."
    if failure.kind == "raised":
        return f"{name} stopped with {failure.message.rstrip('.')}{where}."
    if failure.kind == "not numbers":
        end = "" if failure.message.endswith((".", "?")) else "."
        return f"{name} was called and gave no usable answer: {failure.message}{end}"
    if failure.kind == "timed out":
        return f"{name} did not come back: {failure.message}."
    return f"{name} {failure.message}."


def _difference_sentence(exam: Exam, tables: Sequence[Arrays], index: int) -> str:
    """Say what is off without giving hidden numbers away."""
    name, want, got = exam.check, exam.expected[index], tables[index]
    where = f" on example {index + 1}" if index < exam.public else ""
    for key in want:
        if key in got and want[key].shape != got[key].shape:
            return (
                f"{name}: `{key}` has shape {got[key].shape}{where}, and {want[key].shape} was "
                "wanted."
            )
        if key in got and got[key].dtype.kind == "f" and not np.isfinite(got[key]).all():
            return f"{name}: `{key}` holds nan or inf{where}."
    keys = [key for key in want if key not in got or not exam.tolerance.agrees(want[key], got[key])]
    changed = [key for key in keys if key.endswith("_unchanged")]
    if changed and set(keys) <= {*changed, "second_call_agrees"}:
        return f"{name} changes an argument on the way{where}: work on a copy of it."
    if keys == ["second_call_agrees"]:
        return (
            f"{name} gives something else when it is called again with the same arguments{where}: "
            "what stays behind, in an argument, a .grad or a name outside it?"
        )
    if keys == ["without_a_graph"]:
        return f"{name} is right, but its answer still hangs on a graph{where}: detach it."
    for key in keys:
        if key in got and (want[key].dtype.kind, got[key].dtype.kind) == ("f", "i"):
            return (
                f"{name}: `{key}` holds whole numbers{where}: was it put into an integer tensor, "
                "which cuts fractions off?"
            )
    off = ", ".join(f"`{key}`" for key in keys)
    if index >= exam.public:
        return (
            f"{name} is right on the notebook's examples and wrong on others ({off}): "
            "does it lean on their length, sign or size?"
        )
    key = keys[0]
    if key not in got:
        return f"{name}: {off} is missing from the answer."
    others = off.removeprefix(f"`{key}`").removeprefix(", ")
    # As many digits as it takes to see the difference.
    pairs = ((show(want[key], digits), show(got[key], digits)) for digits in (4, 8, 17))
    wanted, came = next((p for p in pairs if p[0] != p[1]), (show(want[key]), show(got[key])))
    return (
        f"{name} differs on example {index + 1}: `{key}` should be {wanted} "
        f"and came out as {came}" + (f" (also off: {others})." if others else ".")
    )


def show(array: wire.Array, digits: int = 4, limit: int = 8) -> str:
    """An array in a few characters, for a sentence."""
    flat = array.reshape(-1)
    numbers = ", ".join(
        str(x.item()) if array.dtype.kind in "bi" else f"{x + 0.0:.{digits}g}"  # + 0.0: no -0
        for x in flat[:limit]
    )
    if array.ndim == 0:
        return numbers
    return f"[{numbers}{', ...' if flat.size > limit else ''}]"
