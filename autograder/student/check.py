"""`check(function)`, as the check cells of a homework call it: one function, the public examples.

The examples lie beside this file as plain numbers. Grading asks the same questions on other numbers
too.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from importlib import resources
from typing import Any

from autograder.student import probe, wire
from autograder.student.exam import Exam, Verdict, judge, telling_case
from autograder.student.run import read_answers

MAX_CALL = 1000  # characters of an example that is shown


class CheckFailed(AssertionError):
    """What a check found wrong, in a sentence. Notebooks show it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def check(function: Callable[..., Any]) -> None:
    """Try a homework function on the public examples and print a line if it is right.

    Raises CheckFailed with a sentence on what is wrong, and where the lectures clear it up.
    """
    name = getattr(function, "__name__", "")
    exams = {exam.check: exam for homework in public_exams().values() for exam in homework}
    if isinstance(function, str) or not callable(function):
        raise CheckFailed(
            f"check() was given a {type(function).__name__}: give it the function itself, without "
            "calling it, such as check(returns_to_go)."
        )
    if name not in exams:
        raise CheckFailed(
            f"No question asks for a function named {name or repr(function)!s}. There are: "
            f"{', '.join(exams)}."
        )
    exam = exams[name]
    answers = read_answers(probe.answer(function, name, exam.recipe, _cases(exam)))
    verdict = judge(exam, answers)
    if verdict.outcome in ("wrong", "raised", "not numbers"):
        raise CheckFailed(explain(verdict) + _example(exam, function, telling_case(exam, answers)))
    if verdict.outcome != "right":
        raise CheckFailed(explain(verdict))
    examples = "1 example" if len(exam.cases) == 1 else f"{len(exam.cases)} examples"
    print(f"{name}: right on {examples}")


def explain(verdict: Verdict) -> str:
    """A verdict's sentence, and where the lectures clear it up."""
    if not verdict.see:
        return verdict.sentence
    lecture, _, section = verdict.see.partition("#")
    return f"{verdict.sentence}\nSee lecture {lecture}, section {section}."


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


def _cases(exam: Exam) -> list[wire.Arrays]:
    return [{name: array.copy() for name, array in case.items()} for case in exam.cases]
