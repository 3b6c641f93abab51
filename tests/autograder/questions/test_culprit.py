"""Runs are judged one by one, and no feedback says what a run suffers from."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from autograder.questions import checks_of
from autograder.questions.check import compile_exam
from autograder.questions.hw3.culprit import DRAWN, EXAMPLES, SHOWS
from course_lib.find_the_bug import SUSPECTS
from tests.autograder.questions.test_checks import sit

CHECK = next(check for check in checks_of("hw3") if check.name == "culprit")
RIGHT = CHECK.reference
SEEDS = (20, 21)


@functools.cache
def exam_of(seed):
    """The exam of a seed, with what every confusion answers worked out once."""
    exam = compile_exam(CHECK, np.random.default_rng(seed))
    return replace(exam, elsewhere=tuple(exam.elsewhere))


def told(exam, changed):
    """The verdict on a dictionary: the right one, with some of the own runs changed."""
    own = [int(case["run"]) for case in exam.cases[exam.public :]]
    answers = {run: RIGHT(run) for run in (*EXAMPLES, *own)}
    answers |= {own[place]: name for place, name in changed.items()}
    return sit(exam, lambda run: answers[run]), [answers[run] for run in own], own


@pytest.mark.parametrize("seed", SEEDS)
def test_each_run_earns_its_share(seed):
    exam = exam_of(seed)
    assert told(exam, {})[0].outcome == "right"
    for wrong in ((0,), (3,), (1, 2), (0, 1, 3), (0, 1, 2, 3)):
        verdict, _, _ = told(exam, dict.fromkeys(wrong, "wrong sign"))
        assert verdict.points == pytest.approx(CHECK.points * (1 - len(wrong) / 4))
        assert [bool(part.points) for part in verdict.parts] == [n not in wrong for n in range(4)]
        assert verdict.sentence.startswith("culprit is right on the examples and wrong on some")


@pytest.mark.parametrize("seed", SEEDS)
def test_one_confusion_is_named_by_what_was_said_and_not_by_what_is_right(seed):
    exam = exam_of(seed)
    _, own, _ = told(exam, {})
    for name in DRAWN:
        for place, right in enumerate(own):
            if name == right:
                continue
            verdict, _, _ = told(exam, {place: name})
            assert verdict.mistake == f"says {name!r} where it is not"
            assert verdict.sentence.endswith(SHOWS[name])
            assert verdict.points == CHECK.points * 3 / 4
            shown = f"{verdict.mistake} {verdict.sentence} {verdict.credit}"
            assert right == "nothing" or repr(right) not in shown
        everywhere, _, _ = told(exam, dict.fromkeys(range(4), name))
        assert everywhere.mistake == f"says {name!r} of all four"
        assert everywhere.points == (CHECK.points / 4 if name in own else 0)


def test_hints_name_no_other_suspect():
    for mistake in (*CHECK.misconceptions, *CHECK.elsewhere):
        assert mistake.hint.endswith((".", "?"))
        named = [name for name in SUSPECTS if repr(name) in mistake.hint]
        assert named == [name for name in SUSPECTS if repr(name) in mistake.name]


def test_a_name_that_is_none_costs_its_run_and_is_told():
    exam = exam_of(1)
    verdict, _, _ = told(exam, {2: "no clap"})
    assert (verdict.outcome, verdict.points) == ("raised", 6)
    assert verdict.sentence == (
        "culprit stopped with ValueError on numbers that are not in the notebook. "
        "A name that it gives is none of those in SUSPECTS."
    )


def test_a_run_that_is_left_out_costs_its_share():
    exam = exam_of(1)
    _, _, own = told(exam, {})
    answers = {run: RIGHT(run) for run in (*EXAMPLES, *own[:3])}
    verdict = sit(exam, lambda run: answers[run])
    assert verdict.points == 6
    assert "KeyError" in verdict.sentence


def test_practice_is_told_at_once():
    exam = compile_exam(CHECK)
    verdict = sit(exam, lambda run: "huge steps" if run == EXAMPLES[2] else RIGHT(run))
    assert verdict.points == 6
    assert "on example 3" in verdict.sentence
