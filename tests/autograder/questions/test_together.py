"""Two and three known mistakes at once: named in the notebook and in grading, and nothing else."""

import functools
import itertools
import json
import re
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autograder.questions import homeworks
from autograder.questions.check import compile_exam, observe, observe_once
from autograder.questions.slips import compose
from autograder.questions.together import with_pairs
from autograder.student import probe
from autograder.student.check import public_exams
from autograder.student.diagnosis import MAX_TRIALS, hints
from autograder.student.exam import KnownWrong, judge
from autograder.student.pairs import Pair, is_bland, matching, packed, pair_of, unpacked
from autograder.student.run import read_answers
from course_lib.reference.answers.gae import gae as right_gae

CHECKS = {check.name: check for checks in homeworks().values() for check in checks}
PUBLIC = {exam.check: exam for exams in public_exams().values() for exam in exams}
by_name = pytest.mark.parametrize("name", [c.name for c in CHECKS.values() if not c.measure])


@functools.cache
def graded(name, seed=4):
    """The exam as in grading, with what known mistakes answer worked out once."""
    check = CHECKS[name]
    exam = compile_exam(check, np.random.default_rng(seed))
    exam = with_pairs(check, exam, PUBLIC[name])
    return replace(exam, known_wrong=tuple(exam.known_wrong))


def sit(exam, function):
    cases = [{key: array.copy() for key, array in case.items()} for case in exam.cases]
    return judge(exam, read_answers(probe.answer(function, exam.check, exam.recipe, cases)))


# Written by hand, as students write them.


def undiscounted_loss(log_probs, returns, values, gamma):
    return -(log_probs * (returns - values)).sum()


def objective_as_a_loss(log_probs, old_log_probs, advantages):
    return -(torch.exp(log_probs - old_log_probs) * advantages).mean()


def one_endless_episode(rewards, values, next_values, terminated, truncated, gamma, lam):
    following = torch.cat([values[1:], torch.zeros_like(values[:1])])
    advantages = rewards + gamma * following - values
    for t in reversed(range(len(rewards) - 1)):
        advantages[t] += gamma * lam * advantages[t + 1]
    return advantages


def a_plain_loss(theta, states, actions, rewards, gamma):
    theta = theta.clone().requires_grad_()
    scores = torch.distributions.Categorical(logits=theta[states]).log_prob(actions)
    (-(scores * rewards.sum()).mean()).backward()
    return theta.grad


def summed_clip_loss(log_probs, old_log_probs, advantages, epsilon):
    ratio = (log_probs - old_log_probs).exp()
    off = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    return -torch.min(ratio * off, ratio.clip(1 - epsilon, 1 + epsilon) * off).sum()


def adam_on_an_old_policy_of_its_own(
    theta, states, actions, advantages, minibatches, objective, learning_rate
):
    mean, square = torch.zeros_like(theta), torch.zeros_like(theta)
    for k, rows in enumerate(minibatches, start=1):
        theta = theta.detach().requires_grad_()
        new = torch.log_softmax(theta, dim=-1)[states[rows], actions[rows]]
        (slope,) = torch.autograd.grad(objective(new, new.detach(), advantages[rows]), theta)
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        spread = (square / (1 - 0.999**k)).sqrt() + 1e-8
        theta = theta + learning_rate * mean / (1 - 0.9**k) / spread
    return theta.detach()


BY_HAND = {
    ("ppo_update", adam_on_an_old_policy_of_its_own): (
        "old policy refreshed on every minibatch + steps of Adam"
    ),
    ("baseline_loss", undiscounted_loss): "baseline not detached + drops gamma^t",
    ("surrogate", objective_as_a_loss): "nothing is held constant + wrong sign",
    ("gae", one_endless_episode): (
        "ignores the ends of episodes + next row instead of next_values, and nothing after the last"
    ),
    ("reinforce_1", a_plain_loss): "wrong sign + ignores gamma + mean over steps instead of sum",
    ("clipped_surrogate", summed_clip_loss): (
        "sum instead of mean + wrong sign + normalises the advantages by n - 1"
    ),
}


@pytest.mark.parametrize(("name", "function"), BY_HAND)
def test_two_or_three_mistakes_are_named_alike_in_the_notebook_and_in_grading(name, function):
    mistake = BY_HAND[name, function]
    verdicts = [sit(exam, function) for exam in (PUBLIC[name], graded(name))]
    for verdict in verdicts:
        assert (verdict.outcome, verdict.mistake) == ("known mistake", mistake)
        assert verdict.points == (2.66 if name == "baseline_loss" else 0)  # gamma = 1, no trace
    assert verdicts[0].sentence == verdicts[1].sentence
    told = verdicts[0].sentence.partition(". ")[0]
    assert re.fullmatch(r"(Two|Three) mistakes at once, each told .* without the others?", told)
    for known in CHECKS[name].misconceptions:
        if known.name in mistake.split(" + "):
            assert known.hint[-40:] in verdicts[0].sentence


@by_name
def test_beside_another_mistake_nothing_is_said_to_be_right(name):
    wrong = PUBLIC[name].known_wrong
    for pair in PUBLIC[name].pairs:
        both = [wrong[pair.first], wrong[pair.second]]
        told = hints(both)
        assert not re.search(r"\b(is|are) (all )?right\b", told), told
        for number, each in enumerate(both, start=1):
            assert f"({number}) " in told
            assert each.hint[-30:] in told
    lone = KnownWrong("one", "The loss is right, but a gradient is lost. Where?", "", ())
    assert hints([lone]) == lone.hint
    assert hints([lone, lone, lone]) == (
        "Three mistakes at once, each told as it would be without the others. "
        "(1) A gradient is lost. Where? (2) A gradient is lost. Where? (3) A gradient is lost. "
        "Where?"
    )


@by_name
def test_pairs_that_were_composed_are_named_as_themselves(name):
    """Some of them: in grading exactly so, or as a pair that answers alike on all cases."""
    check, exam = CHECKS[name], graded(name)
    for pair in PUBLIC[name].pairs[::20]:
        made = exam.try_pair(pair.first, pair.second)
        if made is None:  # it stops on a hidden case
            continue
        verdict = judge(exam, made)
        assert verdict.outcome != "right"
        named = [m for m in check.misconceptions if m.name in verdict.mistake.split(" + ")]
        if len(named) == 2:
            again = observe(check, compose(check.reference, named).function, exam.cases)
            assert exam.alike(exam.unchanged(again), exam.unchanged(made))


@by_name
def test_a_pair_is_spared_the_second_call_and_answers_the_same(name):
    check, exam = CHECKS[name], graded(name)
    both = list(check.misconceptions[-2:])
    for function in (check.reference, *(mistake.function for mistake in both)):
        once, twice = (each(check, function, exam.cases) for each in (observe_once, observe))
        for one, two in zip(exam.unchanged(once), exam.unchanged(twice), strict=True):
            assert one.keys() == two.keys()
            for key in one:
                np.testing.assert_array_equal(one[key], two[key])


@by_name
def test_a_fingerprint_fits_neither_what_is_right_nor_a_single_mistake(name):
    exam = PUBLIC[name]
    tables = [exam.expected, *(wrong.observations for wrong in exam.known_wrong)]
    for table in tables:
        calm = exam.unchanged(table)
        fitting = matching(exam.pairs, calm, exam.tolerance.rtol, exam.tolerance.atol)
        assert not list(fitting)


@by_name
def test_answers_of_nothing_are_given_no_name(name):
    exam = PUBLIC[name]
    for number in (0.0, 1.0, np.nan):
        tables = [
            {key: a if a.dtype == bool else np.full_like(a, number) for key, a in table.items()}
            for table in exam.expected
        ]
        assert is_bland(tables)
        verdict = judge(exam, tables)
        assert verdict.outcome == "wrong"
        assert verdict.mistake == ""


def test_chance_answers_are_given_no_name():
    rng = np.random.default_rng(0)
    for exam in PUBLIC.values():
        for _ in range(20):
            tables = [
                {
                    key: a if a.dtype == bool else a + rng.normal(size=a.shape)
                    for key, a in table.items()
                }
                for table in exam.expected
            ]
            assert judge(exam, tables).mistake == ""


def test_an_error_within_the_tolerance_changes_no_fingerprint():
    exam = PUBLIC["gae"]
    (pair,) = exam.pairs[5:6]
    check = CHECKS["gae"]
    both = [check.misconceptions[pair.first], check.misconceptions[pair.second]]
    made = observe(check, compose(check.reference, both).function, exam.cases)
    rng = np.random.default_rng(1)
    near = [
        {
            key: a if a.dtype == bool else a * (1 + 1e-6 * rng.normal(size=a.shape))
            for key, a in t.items()
        }
        for t in exam.unchanged(made)
    ]
    assert pair in matching(exam.pairs, near, exam.tolerance.rtol, exam.tolerance.atol)
    far = [{key: a if a.dtype == bool else a * 1.01 for key, a in table.items()} for table in near]
    assert pair not in matching(exam.pairs, far, exam.tolerance.rtol, exam.tolerance.atol)


def test_a_fingerprint_knows_shapes_and_takes_nan():
    one = pair_of(0, 1, [{"y": np.array([[1.0, 2.0], [3.0, 4.0]])}])
    other = pair_of(0, 1, [{"y": np.array([1.0, 2.0, 3.0, 4.0])}])
    lost = pair_of(0, 1, [{"y": np.array([[1.0, 2.0], [3.0, np.nan]])}])
    assert len({(p.length, p.one, p.other) for p in (one, other, lost)}) == 3
    assert all(np.isfinite([lost.one, lost.other]))


def test_grading_believes_no_fingerprint():
    """A pair whose fingerprint fits and which answers otherwise on other cases is not named."""
    name, function = "surrogate", objective_as_a_loss
    pairs = tuple(replace(pair, first=2, second=3) for pair in PUBLIC[name].pairs)
    exam = replace(graded(name), pairs=pairs)
    hidden = replace(exam, known_wrong=tuple(exam.known_wrong)[:6])
    assert " + " not in sit(hidden, function).mistake


def test_few_pairs_are_tried():
    tried = []
    exam = graded("gae")

    def try_pair(first, second):
        tried.append((first, second))
        return None

    pairs = tuple(itertools.chain.from_iterable(itertools.repeat(exam.pairs, 30)))
    assert not sit(replace(exam, pairs=pairs, try_pair=try_pair), one_endless_episode).mistake
    assert 0 < len(tried) <= MAX_TRIALS


def test_without_what_was_handed_out_one_mistake_is_still_named():
    check = replace(CHECKS["gae"], misconceptions=CHECKS["gae"].misconceptions[:3])
    exam = with_pairs(check, compile_exam(check), PUBLIC["gae"])
    assert tuple(exam.pairs) == ()
    verdict = sit(exam, check.misconceptions[1].function)
    assert verdict.mistake == check.misconceptions[1].name


def test_what_is_handed_out_is_made_of_numbers_alone(root):
    for path in sorted(Path(root, "autograder/student/public").glob("*.json")):
        size = 0
        for exam in json.loads(path.read_text()):
            pairs = unpacked(exam["pairs"])
            check = CHECKS[exam["check"]]
            slips = [mistake for mistake in check.misconceptions if mistake.edits]
            assert pairs or len(slips) < 2 or check.measure  # whole functions are not composed
            assert all(type(number) in (int, float) for pair in pairs for number in astuple(pair))
            assert packed(pairs) == exam["pairs"]
            size += len(exam["pairs"])
        assert size < 90_000, path.name


def test_packing_keeps_a_pair_to_seven_digits():
    pairs = (Pair(0, 254, 65_000, -123_456.0, 0.0), Pair(7, 8, 9, 1.23456e-7, 6.54321e9))
    for pair, again in zip(pairs, unpacked(packed(pairs)), strict=True):
        assert astuple(again)[:3] == astuple(pair)[:3]
        assert astuple(again)[3:] == pytest.approx(astuple(pair)[3:], rel=1e-7)
    assert unpacked(packed(())) == ()


# A guard around a mistake, and a changed argument beside one.


def standardised_if_it_can_be(rewards, gamma):
    returns = CHECKS["returns_to_go"].reference(rewards, gamma)
    if len(returns) > 1:
        returns = (returns - returns.mean()) / returns.std()
    return returns


def test_a_guard_for_one_step_does_not_hide_a_mistake():
    for exam in (PUBLIC["returns_to_go"], graded("returns_to_go")):
        assert sit(exam, standardised_if_it_can_be).mistake == "normalises the returns by n - 1"


def test_a_guard_explains_no_other_number():
    def guarded_by_another_number(rewards, gamma):
        return standardised_if_it_can_be(rewards, gamma) + (3.0 if len(rewards) == 1 else 0.0)

    for exam in (PUBLIC["returns_to_go"], graded("returns_to_go")):
        assert sit(exam, guarded_by_another_number).mistake == ""


def test_a_changed_argument_is_said_beside_a_mistake():
    def gae(rewards, values, next_values, terminated, truncated, gamma, lam):
        ends = torch.zeros_like(terminated)
        advantages = right_gae(rewards, values, next_values, ends, ends, gamma, lam)
        rewards += 1
        return advantages

    verdict = sit(graded("gae"), gae)
    assert verdict.mistake == "ignores the ends of episodes"
    assert verdict.sentence.endswith("It also changes one of its arguments: work on a copy of it.")


def a_bonus_for_entropy(factor):
    def reinforce_2(theta, states, actions, returns, gamma):
        theta = theta.clone().requires_grad_()
        policy = torch.distributions.Categorical(logits=theta[states])
        weights = gamma ** torch.arange(len(returns)).double() * returns
        total = (weights * policy.log_prob(actions)).sum() + factor * policy.entropy().mean()
        return torch.autograd.grad(total, theta)[0]

    return reinforce_2


@pytest.mark.parametrize("factor", [0.003, 0.01, 0.5, 7.0])
def test_what_is_added_has_one_name_whatever_its_factor(factor):
    for exam in (PUBLIC["reinforce_2"], graded("reinforce_2")):
        assert sit(exam, a_bonus_for_entropy(factor)).mistake == "bonus for the mean entropy"
        assert sit(exam, a_bonus_for_entropy(-factor)).mistake == ""


def test_a_factor_that_differs_between_cases_has_no_name():
    def reinforce_2(theta, states, actions, returns, gamma):
        return a_bonus_for_entropy(0.1 * gamma)(theta, states, actions, returns, gamma)

    for exam in (PUBLIC["reinforce_2"], graded("reinforce_2")):
        assert sit(exam, reinforce_2).mistake == ""


@by_name
def test_a_known_mistake_is_found_by_what_it_answers_in_public(name):
    """In grading the others are not even asked: the list of all of them is not looked at."""
    check, exam = CHECKS[name], graded(name)
    lazy = replace(exam, known_wrong=None)
    for mistake in check.misconceptions:
        verdict = judge(lazy, observe(check, mistake.function, exam.cases))
        assert verdict.mistake == mistake.name
