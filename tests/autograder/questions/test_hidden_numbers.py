"""What is said of hidden cases holds none of their numbers, whatever the student's process sent."""

from dataclasses import replace

import numpy as np
import pytest

from autograder.questions import homeworks
from autograder.questions.check import compile_exam
from autograder.student.exam import OWN_ERRORS, Failure, judge
from autograder.student.run import read_answers

CHECKS = {check.name: check for checks in homeworks().values() for check in checks}
CANARY = "0.7318251"
KINDS = ("raised", "not numbers", "timed out", "part unwritten", "unwritten", "no such kind")


def said(exam, **failure):
    """The sentence where all public cases are right and each hidden one fails like this."""
    [sent] = read_answers([{"failure": failure}])
    hidden = len(exam.cases) - exam.public
    return judge(exam, [*exam.expected[: exam.public], *[sent] * hidden])


@pytest.fixture(scope="module")
def exam():
    return compile_exam(CHECKS["returns_to_go"], np.random.default_rng(0))


@pytest.mark.parametrize("message", [CANARY, f"ValueError: {CANARY}", f"x{CANARY}: a: b", ""])
@pytest.mark.parametrize("kind", KINDS)
def test_no_word_of_a_failure_comes_out(exam, kind, message):
    verdict = said(exam, kind=kind, message=message, line=3)
    assert CANARY not in verdict.sentence
    assert "numbers that are not in the notebook" in verdict.sentence
    assert verdict.sentence.rstrip()[-1] in ".?"


def test_the_kind_of_error_and_the_line_do(exam):
    verdict = said(exam, kind="raised", message=f"IndexError: at {CANARY}", line=3)
    assert verdict.sentence == (
        "returns_to_go stopped with IndexError on numbers that are not in the notebook "
        "(line 3 of its cell)."
    )


def test_on_the_notebooks_own_examples_all_of_it_does(exam):
    first = Failure("raised", f"IndexError: at {CANARY}", 3)
    assert CANARY in judge(exam, [first, *exam.expected[1:]]).sentence


def test_neither_a_shape_nor_a_value_comes_out(exam):
    right, last = list(exam.expected[:-1]), exam.expected[-1]
    name, array = next((n, a) for n, a in last.items() if a.dtype.kind == "f")
    for other in (np.zeros(7_318_251), array + float(CANARY), array * np.nan):
        sentence = judge(exam, [*right, {**last, name: other}]).sentence
        assert not any(digit in sentence for digit in "0123456789"), sentence


def test_a_lost_file_is_told_all_the_same():
    exam = compile_exam(CHECKS["cartpole_agent"], np.random.default_rng(0))
    assert exam.public == 0
    for part, words in OWN_ERRORS.items():
        failure = Failure("raised", f"ValueError: {part} {CANARY}")
        sentence = judge(replace(exam, known_wrong=()), [failure]).sentence
        assert sentence == f"cartpole_agent stopped with ValueError. {words}"
