"""Points are given by property: a known mistake loses the parts it breaks and no others."""

import functools
import inspect
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from autograder.project import HandoutError
from autograder.questions import homeworks
from autograder.questions.check import Check, Misconception, Property, compile_exam
from autograder.questions.proof import proven_exam
from autograder.student import check as notebook
from autograder.student import probe
from autograder.student.exam import Verdict, judge
from autograder.student.run import read_answers

CHECKS = {check.name: check for checks in homeworks().values() for check in checks}
by_check = pytest.mark.parametrize(
    "check",
    [
        pytest.param(c, id=name, marks=[pytest.mark.slow] if c.measure else [])
        for name, c in CHECKS.items()
    ],
)
SEEDS = (None, 3)  # the proof of a check has 0 and 1


@functools.cache
def exam_of(check, seed=0):
    """The exam of a seed, with what known mistakes answer worked out once."""
    exam = compile_exam(check, None if seed is None else np.random.default_rng(seed))
    return replace(exam, known_wrong=tuple(exam.known_wrong))


def lost(parts):
    return [part.name for part in parts if not part.points]


def sit(check, function, seed=0):
    return judged(exam_of(check, seed), function)


def judged(exam, function):
    cases = [{key: array.copy() for key, array in case.items()} for case in exam.cases]
    answers = read_answers(probe.answer(function, exam.check, exam.recipe, cases))
    return judge(exam, exam.measured(answers))


@by_check
def test_the_parts_make_up_the_question(check):
    exam = exam_of(check)
    assert len(exam.parts) >= 3
    assert sum(part.points for part in exam.parts) == pytest.approx(check.points)
    assert all(part.points == round(part.points, 2) >= 0.25 for part in exam.parts)
    assert sum(part.points for part in exam.earned(exam.expected)) == pytest.approx(check.points)


@by_check
def test_a_mistake_loses_the_same_parts_on_any_numbers(check):
    exams = [exam_of(check, seed) for seed in SEEDS]
    for answered in zip(*(exam.known_wrong for exam in exams), strict=True):
        first, *others = (
            lost(exam.earned(wrong.observations))
            for exam, wrong in zip(exams, answered, strict=True)
        )
        assert first
        assert others == [first] * len(others), answered[0].name


LOSES = {
    ("gae", "bootstraps through termination"): ["an end by termination", "both kinds of end"],
    ("gae", "changes its input"): ["leaves nothing behind"],
    ("clipped_surrogate", "no gradient"): ["the gradient"],
    ("clipped_surrogate", "no floor for negative advantages"): [
        "A < 0",
        "both signs",
        "the gradient",
    ],
    ("conjugate_gradient", "ignores the tolerance"): ["stops in time"],
    ("reinforce_2", "drops gamma^t"): ["gamma < 1"],
    ("baseline_loss", "baseline not detached"): ["no gradient into the values"],
    ("ppo_update", "keeps its graph"): ["leaves nothing behind"],
    ("gae", "lam ignored"): [
        "lam = 0",
        "lam between",
        "an end by termination",
        "an end by truncation",
        "both kinds of end",
    ],
    ("line_search", "accepts any KL"): [
        "shrinks until it is safe",
        "any shrink",
        "as many tries as asked for",
    ],
    ("line_search", "always halves"): ["any shrink"],
    ("line_search", "tries has no effect"): ["as many tries as asked for"],
    ("line_search", "compares the surrogate with zero"): [
        "shrinks until it is better",
        "any shrink",
        "theta if no step is good",
    ],
    ("baseline_loss", "one baseline for all steps"): [
        "gamma = 1",
        "the loss",
        "its gradient",
        "no gradient into the values",
    ],
}


@pytest.mark.parametrize(("name", "mistake"), LOSES, ids="-".join)
def test_what_a_mistake_breaks_is_what_one_would_expect(name, mistake):
    check = CHECKS[name]
    (found,) = (each for each in check.misconceptions if each.name == mistake)
    verdict = sit(check, found.function)
    assert (verdict.mistake, lost(verdict.parts)) == (mistake, LOSES[name, mistake])
    assert verdict.points == sum(part.points for part in verdict.parts) < verdict.max_points


def trivial(check):
    """Answers that nobody worked for: constants, arguments, what they call."""
    for value in (0.0, 1.0, float("nan"), None, "right", True):
        yield lambda *given, value=value: value
    for place in range(len(inspect.signature(check.reference).parameters)):
        for change in (lambda x: x, lambda x: -x, lambda x: 0 * x, lambda x: x.detach().clone()):
            yield lambda *given, place=place, change=change: change(given[place])
        for other in range(place):
            yield lambda *given, place=place, other=other: given[place] + given[other]


@by_check
def test_an_answer_that_nobody_worked_for_earns_nothing(check):
    for function in trivial(check):
        assert sit(check, function).points == 0


def test_a_case_that_raises_costs_its_own_parts():
    def function(rewards, values, next_values, terminated, truncated, gamma, lam):
        if truncated.any():
            raise RuntimeError("not thought of")
        return CHECKS["gae"].reference(
            rewards, values, next_values, terminated, truncated, gamma, lam
        )

    verdict = sit(CHECKS["gae"], function)
    assert verdict.outcome == "raised"
    assert lost(verdict.parts) == ["an end by truncation", "both kinds of end"]
    assert "not thought of" in verdict.sentence
    assert verdict.points == 5
    assert verdict.credit == (
        "5 of 8 points. Right: lam = 0, lam = 1, lam between, an end by termination, leaves "
        "nothing behind. Not yet: an end by truncation, both kinds of end."
    )


def score_by_one_hot(theta, states, actions, rewards, gamma):
    total = (rewards * gamma ** torch.arange(len(rewards))).sum()
    left = torch.nn.functional.one_hot(actions).double() - torch.softmax(theta, -1)[states]
    return total * torch.zeros_like(theta).index_add(0, states, left)


def score_on_a_square(theta, states, actions, rewards, gamma):
    total = (rewards * gamma ** torch.arange(len(rewards))).sum()
    left = torch.eye(len(theta))[actions].double() - torch.softmax(theta, -1)[states]
    return total * torch.zeros_like(theta).index_add(0, states, left)


def two_episodes(theta, sample_episodes, estimate_gradient, learning_rate, iterations):
    for _ in range(iterations):
        first, second = sample_episodes(theta)[:2]
        mean = (estimate_gradient(theta, first) + estimate_gradient(theta, second)) / 2
        theta = theta + learning_rate * mean
    return theta


def first_square_kept(multiply, b, iterations, tolerance=1e-10):
    x, r, p, squared = torch.zeros_like(b), b.clone(), b.clone(), b @ b
    for _ in range(iterations):
        if r @ r <= tolerance:
            break
        product = multiply(p)
        step = (r @ r) / (p @ product)
        x, r = x + step * p, r - step * product
        p = r + (r @ r) / squared * p
    return x


def one_branch_to_write(surrogate, kl, theta, step, delta, shrink=0.5, tries=10):
    for i in range(tries):
        new = theta + shrink**i * step
        if kl(new) <= delta and surrogate(new) > surrogate(theta):
            return new
    raise NotImplementedError("line_search: your code here")


def endless_where_no_step_is_good(surrogate, kl, theta, step, delta, shrink=0.5, tries=10):
    while not (kl(theta + step) <= delta and surrogate(theta + step) > surrogate(theta)):
        step = shrink * step
    return theta + step


def never_comes_back(*_):
    while True:
        pass


def twice_at_most(surrogate, kl, theta, step, delta, shrink=0.5, tries=10):
    full = theta + step
    return full if surrogate(full) > surrogate(theta) else theta + shrink * step


def squeezed(surrogate, kl, theta, step, delta, shrink=0.5, tries=10):
    right = CHECKS["line_search"].reference
    return right(surrogate, kl, theta, step, delta, shrink, tries).squeeze()


def no_graph(log_probs, old_log_probs, advantages):
    return CHECKS["surrogate"].reference(log_probs, old_log_probs, advantages).item()


def not_summed(log_probs, returns, values, gamma):
    return -(gamma ** torch.arange(len(returns))) * (returns - values.detach()) * log_probs


def right_with_more_than_one_step(rewards, gamma):
    assert len(rewards) > 1
    return CHECKS["returns_to_go"].reference(rewards, gamma)


def divided_by_powers_of_gamma(rewards, gamma):
    discounts = gamma ** torch.arange(len(rewards)).double()
    return (discounts * rewards).flip(0).cumsum(0).flip(0) / discounts


def first_step_only(theta, states, actions, returns, gamma):
    right = CHECKS["reinforce_2"].reference
    return right(theta, states[:1], actions[:1], returns[:1], gamma)


def its_own_defaults(surrogate, kl, theta, step, delta, shrink=0.5, tries=10):
    return CHECKS["line_search"].reference(surrogate, kl, theta, step, delta)


HALF_DONE = {
    ("returns_to_go", right_with_more_than_one_step): 5.25,
    ("returns_to_go", divided_by_powers_of_gamma): 5.25,
    ("reinforce_2", first_step_only): 0,
    ("line_search", its_own_defaults): 4,
    ("reinforce_1", score_by_one_hot): 0,
    ("reinforce_1", score_on_a_square): 0,
    ("reinforce", two_episodes): 0,
    ("conjugate_gradient", first_square_kept): 0,
    ("line_search", one_branch_to_write): 4,
    ("line_search", twice_at_most): 0,
    ("line_search", squeezed): 5,
    ("surrogate", no_graph): 2,
    ("baseline_loss", not_summed): 0,
}


@pytest.mark.parametrize(
    ("name", "function"), HALF_DONE, ids=lambda each: getattr(each, "__name__", each)
)
def test_half_of_an_answer_has_one_mark(name, function):
    """In the notebook and under any secret: what it earns is not luck.

    Points come from the parts, so under most secrets nobody asks for the mistake's name.
    """
    check, wanted = CHECKS[name], HALF_DONE[name, function]
    assert sit(check, function).points == sit(check, function, None).points == wanted
    for seed in range(20, 40):
        nameless = replace(compile_exam(check, np.random.default_rng(seed)), known_wrong=())
        assert judged(nameless, function).points == wanted


def test_a_loop_that_never_ends_costs_the_cases_in_which_it_is(monkeypatch):
    monkeypatch.setattr(probe, "LATER_SECONDS", 0.2)
    check = CHECKS["line_search"]
    exam = exam_of(check)
    given = probe.answer(endless_where_no_step_is_good, check.name, exam.recipe, exam.cases, 0.4)
    verdict = judge(exam, read_answers(given))
    assert verdict.outcome == "timed out"
    assert "did not come back on example 5: the time limit of 0.4 s was reached" in verdict.sentence
    assert lost(verdict.parts) == ["as many tries as asked for", "theta if no step is good"]
    given = probe.answer(never_comes_back, check.name, exam.recipe, exam.cases, 0.2)
    assert len(given) == 1


def test_a_branch_that_is_not_written_is_told_with_its_example():
    said = sit(CHECKS["line_search"], one_branch_to_write).sentence
    assert said == "line_search came to a branch that is not written yet on example 5."


@by_check
def test_more_than_was_asked_for_earns_nothing(check):
    exam = exam_of(check)
    assert not judge(exam, [*exam.expected, exam.expected[0]]).points
    forged = [{**table, "points": np.array(100.0)} for table in exam.expected]
    assert not judge(exam, forged).points


def test_a_verdict_is_read_back_with_its_parts():
    verdict = sit(CHECKS["gae"], lambda *given: CHECKS["gae"].reference(*given[:6], 1.0))
    assert Verdict.from_json(asdict(verdict)) == verdict


def test_the_notebook_says_what_was_right_and_gives_its_points(capsys):
    def kl(old_logits, logits):
        return CHECKS["kl"].reference(old_logits, logits).detach()

    assert notebook.check(kl) == 3
    said = capsys.readouterr().out
    assert "lost its graph" in said
    assert "3 of 4 points. Right: the value, leaves nothing behind. Not yet: its gradient." in said


def test_a_warning_on_the_way_is_no_error_of_the_cell(capsys):
    """nbgrader gives no point for a cell that writes to stderr."""

    def kl(old_logits, logits):
        print("on the way", file=sys.stderr)
        return CHECKS["kl"].reference(old_logits, logits)

    assert notebook.check(kl) is None
    assert not capsys.readouterr().err


def recipe(function, case):
    import torch

    return {"y": function(torch.tensor(case["x"])), "kept_unchanged": True}


def _mistake(name, function):
    return Misconception(name, function, "Look again.", "02_policy_gradient#C14")


def _double(x):
    return 2 * x


GOOD = Check(
    title="Twice",
    reference=_double,
    recipe=recipe,
    public_cases=lambda: [{"x": np.array([1.0])}, {"x": np.array([4.0, -3.0, 2.0])}],
    hidden_cases=lambda rng: [{"x": rng.normal(size=1) + 9}, {"x": rng.normal(size=4) + 9}],
    misconceptions=(
        _mistake("reversed", lambda x: 2 * x.flip(0)),
        _mistake("not doubled", lambda x: x),
    ),
    parts=(
        Property("one number", cases=lambda case: case["x"].size == 1),
        Property("several", 2, cases=lambda case: case["x"].size > 1),
    ),
    homework="hw9",
    points=4,
)
BROKEN = {
    "y of case 1 belongs to no part: add one": {"parts": GOOD.parts[1:]},
    "no public case shows the part 'long': add one": {
        "parts": (*GOOD.parts, Property("long", cases=lambda case: case["x"].size > 3)),
    },
    "no hidden case shows the part 'three': add one": {
        "parts": (*GOOD.parts, Property("three", cases=lambda case: case["x"].size == 3)),
    },
    "no known mistake loses the part 'one number': add one": {
        "misconceptions": GOOD.misconceptions[:1],
    },
    "the mistake 'far only' loses other parts on hidden cases than on public ones": {
        "misconceptions": (
            *GOOD.misconceptions,
            _mistake("far only", lambda x: 2 * x + (x > 3.5) * (1 + 0 * x)),
        ),
    },
}


def test_a_check_with_parts_is_proven():
    parts = proven_exam(GOOD).parts
    assert [(part.name, part.points, part.beside) for part in parts] == [
        ("one number", 1, False),
        ("several", 2, False),
        ("leaves nothing behind", 1, True),
    ]


@pytest.mark.parametrize("message", BROKEN)
def test_parts_that_prove_nothing_are_refused(message):
    with pytest.raises(HandoutError, match=r"hw9/_double\.py") as caught:
        proven_exam(replace(GOOD, **BROKEN[message]))
    assert message in str(caught.value)


def test_points_that_do_not_divide_add_up_all_the_same():
    for points in (1, 2, 3, 5, 7):
        exam = compile_exam(replace(CHECKS["gae"], points=points))
        worth = [part.points for part in exam.parts]
        assert round(sum(worth), 2) == points
        assert worth == [round(each, 2) for each in worth]


def test_a_flag_without_words_is_refused():
    def recipe(function, case):
        import torch

        return {"y": function(torch.tensor(case["x"])), "accepted": True}

    with pytest.raises(HandoutError, match="True or False of 'accepted', and there are no words"):
        proven_exam(replace(GOOD, recipe=recipe))


def test_an_interruption_stops_the_asking():
    calls = []

    def gae(*given):
        calls.append(given)
        raise KeyboardInterrupt

    sit(CHECKS["gae"], gae)
    assert len(calls) == 1
