"""A check that proves nothing, or something wrong, is refused, and the message says what to do."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autograder.project import HandoutError
from autograder.questions import homeworks
from autograder.questions.check import Check, Misconception
from autograder.questions.proof import proven_exam

ALL = [check for checks in homeworks().values() for check in checks if not check.measure]


def double(x):
    return 2 * x


def recipe(function, case):
    import torch

    return {"y": function(torch.tensor(case["x"]))}


def mistake(name, function):
    return Misconception(name, function, "Look again.", "02_policy_gradient#C14")


GOOD = Check(
    title="Twice",
    reference=double,
    recipe=recipe,
    public_cases=lambda: [{"x": np.array([1.0, 2.0])}, {"x": np.array([0.0, -3.0, 2.0])}],
    hidden_cases=lambda rng: [{"x": rng.normal(size=3)}, {"x": rng.normal(size=4)}],
    misconceptions=(mistake("not doubled", lambda x: x), mistake("squared", lambda x: x**2)),
    accepted=(lambda x: x + x,),
    homework="hw9",
    points=2,
)


def stops(x):
    raise ZeroDivisionError("no")


BROKEN = {
    "it has no title": {"title": ""},
    "it knows no mistake": {"misconceptions": ()},
    "the reference or a case stops with ZeroDivisionError: no": {"reference": stops},
    "double answers nan or inf": {
        "hidden_cases": lambda rng: [{"x": rng.normal(size=2) / 0}],
    },
    "the accepted answer square is not right by this check": {"accepted": (torch.square,)},
    "nothing is drawn in hidden case 2: draw its numbers from rng": {
        "hidden_cases": lambda rng: [{"x": rng.normal(size=3)}, {"x": np.ones(2)}],
    },
    "a known mistake stops with ZeroDivisionError": {"misconceptions": (mistake("x", stops),)},
    "no public case tells the mistake 'clamped' from the right answer": {
        "misconceptions": (mistake("clamped", lambda x: 2 * x.clamp(max=5)),),
    },
    "no public case tells the mistake 'second' from the mistake 'first'": {
        "misconceptions": (mistake("first", lambda x: x), mistake("second", lambda x: x * 1.0)),
    },
}


def test_a_good_check_gives_its_public_exam():
    exam = proven_exam(GOOD)
    assert len(exam.cases) == exam.public == 2
    assert [wrong.name for wrong in exam.known_wrong] == ["not doubled", "squared"]


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("message", BROKEN)
def test_what_a_check_does_not_prove_is_said_with_its_file(message):
    with pytest.raises(HandoutError) as caught:
        proven_exam(replace(GOOD, **BROKEN[message]))
    name = "stops" if "reference" in BROKEN[message] else "double"
    assert str(caught.value).startswith(f"autograder/questions/hw9/{name}.py: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.name)
def test_a_mistake_that_is_the_right_answer_would_be_seen_in_every_question(check):
    planted = mistake("none at all", check.reference)
    with pytest.raises(HandoutError, match="tells the mistake 'none at all' from the right answer"):
        proven_exam(replace(check, misconceptions=(planted,)))
