"""`check(function)`, as the check cells of a homework call it: one function, the public examples.

The examples lie beside this file as plain numbers. Grading asks the same questions on other numbers
too, of whatever the question's name stands for.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import sys
from collections.abc import Callable, Collection, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from autograder.student import probe, wire
from autograder.student.exam import Exam, Verdict, judge, telling_case
from autograder.student.limits import ANSWER_SECONDS
from autograder.student.run import read_answers

if TYPE_CHECKING:
    from torch import Tensor

MAX_CALL = 1000  # characters of an example that is shown


class CheckFailed(AssertionError):
    """What a check found wrong, in a sentence. Notebooks show it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def check(function: Callable[..., Any]) -> float | None:
    """Try a homework function on the public examples.

    Right: prints a line and returns nothing, which nbgrader takes for all points. Right in part:
    prints what is wrong and where the lectures clear it up, and returns the points of what is
    right, which nbgrader takes for the mark. Else raises CheckFailed with the same words.
    """
    exams = {exam.check: exam for homework in public_exams().values() for exam in homework}
    if isinstance(function, str) or not callable(function):
        raise CheckFailed(
            f"check() was given a {type(function).__name__}: give it the function itself, without "
            "calling it, such as check(returns_to_go)."
        )
    caller = sys._getframe(1)
    exam = exams[_question(function, exams, {**caller.f_globals, **caller.f_locals})]
    name, seconds = exam.check, ANSWER_SECONDS
    with contextlib.redirect_stderr(sys.stdout):  # nbgrader takes a warning for an error
        given = probe.answer(function, name, exam.recipe, _cases(exam), seconds, last_resort=False)
    answers = exam.measured(read_answers(given))
    verdict = judge(exam, answers)
    if verdict.outcome == "right":
        examples = "1 example" if len(exam.cases) == 1 else f"{len(exam.cases)} examples"
        earned = verdict.mean_return
        told = "" if earned is None else f", mean return {earned:.1f}"
        print(f"{name}: right on {examples}{told}")
        return None
    words = explain(verdict)
    if verdict.outcome in ("wrong", "raised", "not numbers"):
        words += _example(exam, function, telling_case(exam, answers))
    if not verdict.points:
        raise CheckFailed(words)
    print(words)
    return verdict.points


def in_doubles(numbers: Any) -> Tensor:
    """Numbers of any type as a float64 tensor of their own, without a graph."""
    import torch  # only notebooks need it here

    return torch.tensor(wire.frozen(numbers), dtype=torch.float64)


def _question(
    function: Callable[..., Any], names: Collection[str], variables: Mapping[str, Any]
) -> str:
    """The question that a function answers: the name it is bound to, else the one it was given.

    Lambdas, partials and scripted functions have none of their own. Raises CheckFailed.
    """
    own = str(getattr(function, "__name__", ""))
    bound = [name for name in names if variables.get(name) is function]
    if own in names and (own in bound or not bound):
        return own
    if len(bound) == 1:
        return bound[0]
    if bound or not own.isidentifier():
        raise CheckFailed(
            f"check() cannot tell which question this {own.strip('<>') or type(function).__name__} "
            "answers: give it that question's name and no other, as in returns_to_go = ..., and "
            "call check(returns_to_go)."
        )
    raise CheckFailed(
        f"No question asks for a function named {own}. There are: {', '.join(names)}."
    )


def explain(verdict: Verdict) -> str:
    """A verdict's sentence, where the lectures clear it up, and what was right all the same."""
    lines = [f"{verdict.sentence} {verdict.played}".strip()]
    if verdict.see:
        lecture, _, section = verdict.see.partition("#")
        lines.append(f"See lecture {lecture}, section {section}.")
    return "\n".join([*lines, *([verdict.credit] if verdict.credit else [])])


def _example(exam: Exam, function: Callable[..., Any], index: int | None) -> str:
    """The call of an example, to be copied into a cell; "" if it is long or cannot be written."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ""
    if index is None or not any(name in exam.cases[index] for name in names):
        return ""
    given = [_literal(exam.cases[index].get(name)) for name in names]
    call = f"{exam.check}({', '.join(given)})"
    if len(call) > MAX_CALL:
        return ""
    cut = ", where ... stands for functions of the check" if "..." in given else ""
    return f"\nExample {index + 1} is this call{cut}:\n    {call}"


def _literal(array: wire.Array | None) -> str:
    if array is None:
        return "..."
    return repr(array.item()) if array.ndim == 0 else f"torch.tensor({array.tolist()})"


@functools.cache
def public_exams() -> dict[str, list[Exam]]:
    """The exams that ship with this package, by homework."""
    folder = resources.files("autograder.student") / "public"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".json")), key=lambda f: f.name
    )
    return {
        file.name.removesuffix(".json"): [
            Exam.from_json(exam) for exam in json.loads(file.read_text(encoding="utf-8"))
        ]
        for file in files
    }


def public_exam(name: str) -> Exam | None:
    """The exam of one question that ships with this package, if it does."""
    return next((e for each in public_exams().values() for e in each if e.check == name), None)


def _cases(exam: Exam) -> list[wire.Arrays]:
    return [{name: array.copy() for name, array in case.items()} for case in exam.cases]
