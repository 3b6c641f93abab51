"""Slips: what an edit of the right answer makes, what is refused, and several at once."""

import ast
import inspect
import math

import numpy as np
import pytest
import torch

from autograder.demo import made_up_class as demo
from autograder.grading.grade import _check_source
from autograder.handouts.leaks import find_leaks, secrets
from autograder.questions import homeworks
from autograder.questions.check import compile_exam, observe
from autograder.questions.slips import compose, slip_of
from course_lib import validate

HOMEWORKS = homeworks()

CHECKS = [check for checks in HOMEWORKS.values() for check in checks]
SLIPPED = [c for c in CHECKS if any(m.edits for m in c.misconceptions) and not c.measure]


def weigh(numbers, weights):
    """The sum of numbers times weights, or -1 if it is negative."""
    validate.shapes("T, T", numbers=numbers, weights=weights)
    total = torch.zeros(())
    # Each after the other.
    for number, weight in zip(numbers, weights, strict=True):
        product = number * weight
        total = total + product  # ()
    (lowest,) = torch.broadcast_tensors(torch.tensor(0.0))
    if total < lowest:
        return torch.tensor(-1.0)
    return total


NUMBERS = torch.tensor([1.0, 2.0, -3.0]), torch.tensor([2.0, 1.0, 0.5])  # 2 + 2 - 1.5


def slip(name="wrong", **edits):
    return slip_of(weigh, name, "You slipped.", see="00_x#C1", **edits)


@pytest.mark.parametrize(
    ("edits", "answer"),
    [
        ({"product": "number"}, 0.0),
        ({"total_1": "torch.tensor(5.0)"}, 7.5),
        ({"total_2": "product"}, -1.0),
        ({"total_2": "total - product"}, -1.0),
        ({"number": "zip(numbers[:1], weights, strict=False)"}, 2.0),
        ({"lowest": "torch.tensor(7.0)"}, -1.0),
        ({"answer": "-answer"}, -2.5),
        ({"answer": "numbers.sum()"}, 0.0),
        ({"answer_2": "answer + 1", "total_2": "product"}, -1.0),
        ({"answer_1": "answer + 1", "total_2": "product"}, 0.0),
        ({"before": "numbers = numbers.abs()\nweights = weights * 2"}, 11.0),
        ({"product": "if number < 0:\n    break\nproduct = number * weight"}, 4.0),
        ({"answer": "answer = answer.clone(); answer += 1"}, 3.5),
        ({"total_2": "pass"}, 0.0),
        ({"weight": "pass"}, 0.0),
        ({"product": "np.abs(float(number)) * math.sqrt(weight**2)"}, 5.5),
        ({"product": "sum(n * weight for n in [number])"}, 2.5),
    ],
)
def test_an_edit_takes_the_place_of_what_its_name_says(edits, answer):
    mistake = slip(**edits)
    assert mistake.function(*NUMBERS).item() == answer
    assert weigh(*NUMBERS).item() == 2.5
    again = {"validate": validate, "torch": torch, "np": np, "math": math}
    exec(mistake.source, again)
    assert again["weigh"](*NUMBERS).item() == answer


def test_a_slip_has_a_source_and_keeps_what_it_does_not_change():
    mistake = slip(product="number - weight")
    assert inspect.getsource(mistake.function) == mistake.source
    given, _, _ = inspect.getsource(weigh).partition("    # Each")
    assert mistake.source.startswith(given)
    assert "product = number - weight" in mistake.source
    assert "# Each" in slip(answer="-answer").source
    assert mistake.function.__module__ == weigh.__module__
    with pytest.raises(ValueError, match=r"numbers must be \(T,\)"):
        mistake.function(torch.ones(2, 2), torch.ones(2))


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        (
            {"products": "0"},
            r"weigh, slip 'wrong': there is no `products` to change: there are total_1, total_2, "
            "number, weight, product, lowest, answer_1, answer_2, answer, before",
        ),
        ({"total": "0"}, r"more than once: say total_1 \(`total = .*`\) or total_2 \(`total = "),
        ({"total_3": "0"}, "there is no `total_3`"),
        ({"product": "number *"}, r"product='number \*' does not parse"),
        ({"product": " "}, "product is empty: say `pass`"),
        ({"product": "numbr * weight"}, "it uses `numbr`, and there is no such name"),
        ({"product": "(lambda x: x * y)(1)"}, "it uses `y`"),
        ({"product": "answer"}, "it uses `answer`"),
        ({"product": "weigh(numbers, weights)"}, "it uses `weigh`"),
        ({"number": "[]", "weight": "[]"}, "number and weight change the same place"),
        ({"number": "pass", "product": "1"}, "change the same place"),
        ({"answer": "1", "answer_2": "1"}, "change the same place"),
        ({"lowest": "break"}, "'break' outside loop"),
        ({}, "it needs edits or a whole function"),
        ({"function": len, "product": "1"}, "it needs edits or a whole function"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(edits, words):
    with pytest.raises(ValueError, match=words):
        slip(**edits)


def test_a_mistake_may_be_a_whole_function():
    def other(numbers, weights):
        return numbers.sum()

    mistake = slip(function=other)
    assert mistake.function is other
    assert mistake.source.startswith("def other(")
    assert compose(weigh, [mistake, slip(answer="-answer")]) is None


@pytest.mark.parametrize("check", SLIPPED, ids=lambda check: check.name)
def test_a_mistake_as_a_notebook_cell_is_the_mistake(check):
    exam = compile_exam(check, np.random.default_rng(3))
    for mistake, wrong in zip(check.misconceptions, exam.known_wrong, strict=True):
        assert ast.parse(mistake.source).body[0].name == mistake.function.__name__
        cell = {}
        exec(demo.standalone(mistake.function, check.name), cell)
        assert alike(observe(check, cell[check.name], exam.cases), wrong.observations)
        assert not alike(wrong.observations, exam.expected), mistake.name


def alike(one, other):
    return all(
        np.array_equal(a[name], b[name], equal_nan=a[name].dtype.kind == "f")
        for a, b in zip(one, other, strict=True)
        for name in a
    )


# Several at once, each against both mistakes written by hand.


def clips_around_0_and_sums(new, old, advantages, epsilon):
    ratio = torch.exp(new - old)
    return torch.minimum(ratio * advantages, ratio.clamp(-epsilon, epsilon) * advantages).sum()


def misses_exp_and_the_sign(new, old, advantages, epsilon):
    ratio = new - old
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon)
    return -torch.minimum(ratio * advantages, clipped * advantages).mean()


def upside_down_and_always_clipped(new, old, advantages, epsilon):
    return (torch.exp(old - new).clamp(1 - epsilon, 1 + epsilon) * advantages).mean()


def normalises_with_epsilon_02_and_the_wrong_sign(new, old, advantages, epsilon):
    weights = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
    ratio = torch.exp(new - old)
    return -torch.minimum(ratio * weights, ratio.clamp(0.8, 1.2) * weights).mean()


def ignores_lam_and_values(rewards, values, next_values, terminated, truncated, gamma, lam):
    advantages, following = torch.zeros_like(rewards), torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + gamma * next_values[t] * ~terminated[t]
        following = delta + gamma * following * ~(terminated[t] | truncated[t])
        advantages[t] = following
    return advantages


def next_row_and_plus_values(rewards, values, next_values, terminated, truncated, gamma, lam):
    following = torch.zeros_like(rewards[0])
    returns = torch.zeros_like(rewards)
    for t in reversed(range(len(rewards))):
        successor = values[t + 1] if t + 1 < len(rewards) else next_values[t]
        delta = rewards[t] + gamma * successor * ~terminated[t] - values[t]
        following = delta + gamma * lam * following * ~(terminated[t] | truncated[t])
        returns[t] = following + values[t]
    return returns


def descends_once_on_probabilities(
    theta, states, actions, advantages, minibatches, objective, learning_rate
):
    rows, leaf = minibatches[0], theta.clone().requires_grad_()
    new = torch.softmax(leaf, dim=-1)[states[rows], actions[rows]]
    (gradient,) = torch.autograd.grad(objective(new, new.detach(), advantages[rows]), leaf)
    return theta - learning_rate * gradient


def backwards_and_centred(rewards, gamma):
    returns, total = [], 0.0
    for reward in reversed(rewards.tolist()):
        total = reward + gamma * total
        returns.append(total)
    return torch.tensor(returns, dtype=rewards.dtype) - sum(returns) / len(returns)


def minus_the_mean_loss(log_probs, returns, values, gamma):
    weights = gamma ** torch.arange(len(returns)).double() * (returns - values.detach())
    return (weights * log_probs).mean()


def average_that_climbs_with_the_critic(log_probs, returns, values, gamma):
    weights = gamma ** torch.arange(len(returns)).double() * (returns - values.detach())
    return -(weights * log_probs).mean() + ((returns - values) ** 2).mean()


def errors_as_targets(rewards, values, next_values, terminated, truncated, gamma, lam):
    return rewards + gamma * next_values * ~terminated - values + values


def step_backwards(surrogate, kl, theta, step, delta, shrink=0.5, tries=10):
    for i in range(tries):
        new = theta + shrink**i * step
        if kl(new) <= delta and surrogate(new) > surrogate(theta):
            return new - theta
    return new - theta


@pytest.mark.parametrize(
    ("name", "mistakes", "by_hand"),
    [
        (
            "returns_to_go",
            ("in reverse order", "subtracts the mean of the returns"),
            backwards_and_centred,
        ),
        (
            "baseline_loss",
            ("wrong sign", "mean over steps instead of sum"),
            minus_the_mean_loss,
        ),
        (
            "baseline_loss",
            ("mean over steps instead of sum", "trains the critic too"),
            average_that_climbs_with_the_critic,
        ),
        ("gae", ("TD errors only", "returns instead of advantages"), errors_as_targets),
        ("line_search", ("last try if none is good", "returns the step"), step_backwards),
        (
            "clipped_surrogate",
            ("clips around 0 instead of 1", "sum instead of mean"),
            clips_around_0_and_sums,
        ),
        ("clipped_surrogate", ("exp is missing", "wrong sign"), misses_exp_and_the_sign),
        (
            "clipped_surrogate",
            ("ratio upside down", "clip without minimum"),
            upside_down_and_always_clipped,
        ),
        (
            "clipped_surrogate",
            ("normalises the advantages", "epsilon is always 0.2", "wrong sign"),
            normalises_with_epsilon_02_and_the_wrong_sign,
        ),
        ("gae", ("lam ignored", "value not subtracted"), ignores_lam_and_values),
        (
            "gae",
            ("next row instead of next_values", "returns instead of advantages"),
            next_row_and_plus_values,
        ),
        (
            "ppo_update",
            ("descends", "first minibatch only", "probabilities instead of logarithms"),
            descends_once_on_probabilities,
        ),
    ],
)
def test_slips_made_together_are_both_mistakes(name, mistakes, by_hand):
    check = next(check for check in CHECKS if check.name == name)
    known = {mistake.name: mistake for mistake in check.misconceptions}
    together = compose(check.reference, [known[mistake] for mistake in mistakes])
    assert together is not None
    assert together.name == " + ".join(mistakes)
    assert inspect.getsource(together.function) == together.source
    exam = compile_exam(check, np.random.default_rng(5))
    made = observe(check, together.function, exam.cases)
    for one, other in zip(made, observe(check, by_hand, exam.cases), strict=True):
        for what in one:
            np.testing.assert_allclose(one[what], other[what], rtol=1e-12, atol=1e-14)
    assert not alike(made, exam.expected)
    cell = {}
    exec(demo.standalone(together.function, name), cell)
    assert alike(observe(check, cell[name], exam.cases), made)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"product": "1"}, {"product": "1"}),
        ({"before": "numbers = -numbers"}, {"before": "numbers = -numbers"}),
        ({"product": "1"}, {"product": "2"}),
        ({"number": "[]"}, {"weight": "[]"}),
        ({"answer": "number"}, {"answer_2": "total"}),
        ({"product": "1"}, {"number": "pass"}),
        ({"product": "1", "answer": "-answer"}, {"answer": "total", "product": "2"}),
        ({"answer": "answer = total"}, {"answer": "-total"}),
    ],
)
def test_slips_of_the_same_place_are_refused(one, other):
    assert compose(weigh, [slip(**one), slip(**other)]) is None
    assert compose(weigh, [slip(**other), slip(**one)]) is None


@pytest.mark.parametrize(
    ("one", "other", "answer"),
    [
        ({"answer": "-answer"}, {"answer": "product"}, 1.5),
        ({"answer": "-answer"}, {"answer_2": "product"}, 1.5),
        ({"answer": "-answer"}, {"answer": "answer = product"}, 1.5),
        ({"answer": "answer = answer.clone(); answer += 1"}, {"answer": "product"}, -0.5),
        ({"answer": "answer += 1"}, {"answer": "half = product / 2\nanswer = half"}, 0.25),
        ({"product": "number", "answer": "-answer"}, {"answer": "weight"}, -0.5),
        ({"product": "number", "answer_1": "answer + 3"}, {"answer": "product"}, -3.0),
    ],
)
def test_what_goes_on_from_the_answer_follows_what_returns_another_one(one, other, answer):
    for two in ([slip("one", **one), slip("other", **other)], [slip(**other), slip(**one)]):
        made = compose(weigh, two)
        assert made.function(*NUMBERS) == answer
        again = {"validate": validate, "torch": torch, "np": np, "math": math}
        exec(made.source, again)
        assert again["weigh"](*NUMBERS) == answer


def test_what_goes_on_from_the_answer_does_so_in_the_order_of_the_slips():
    first = slip("first", answer="answer + 1")
    second = slip("second", answer="answer = answer.clone(); answer *= 2")
    third = slip("third", answer="weights[0] - number")
    assert compose(weigh, [first, second]).function(*NUMBERS).item() == 7.0
    assert compose(weigh, [second, first]).function(*NUMBERS).item() == 6.0
    assert compose(weigh, [first, second, third]).function(*NUMBERS).item() == 12.0


def test_nothing_goes_on_from_a_return_that_is_taken_away():
    def first_above(numbers, level):
        for number in numbers:
            if number > level:
                return number
        return level

    def slip(**edits):
        return slip_of(first_above, str(edits), "You slipped.", see="00_x#C1", **edits)

    for edits in ({"answer": "-answer"}, {"answer_1": "-answer"}):
        assert compose(first_above, [slip(**edits), slip(number="pass")]) is None
    assert compose(first_above, [slip(answer_2="-answer"), slip(number="pass")])


def test_lines_ahead_add_up_and_order_is_that_of_the_slips():
    first = slip("first", before="numbers = numbers + 1")
    second = slip("second", before="numbers = numbers * 2")
    assert compose(weigh, [first, second]).function(*NUMBERS).item() == 12.0
    assert compose(weigh, [second, first]).function(*NUMBERS).item() == 8.5


# A slip's function stands in no file.


@pytest.mark.parametrize("check", SLIPPED, ids=lambda check: check.name)
def test_a_mark_depends_on_the_text_of_the_slips_and_of_what_they_edit(check):
    text = _check_source(check)
    assert inspect.getsource(check.reference) in text
    assert all(f'"{mistake.name}"' in text for mistake in check.misconceptions)


# What one question's slip makes is the other's code, and the search names it once.
ALSO = {
    ("reinforce_1", "immediate reward only"): "reinforce_2",
    ("reinforce_2", "sums the returns again"): "reinforce_1",
    ("reinforce_2", "sums the returns again without gamma^t"): "reinforce_1",
}


def test_what_a_slip_makes_is_found_in_a_bundle(root):
    private = secrets(root, CHECKS)
    for check in SLIPPED:
        for mistake in check.misconceptions:
            tree = ast.parse(mistake.source.replace("advantages", "merits"))
            tree.body[0].name = "innocent"
            planted = {"course_lib/innocent.py": ast.unparse(tree).encode()}
            owner = ALSO.get((check.name, mistake.name), check.name)
            assert any(
                leak.startswith(f"course_lib/innocent.py holds {owner} of ")
                for leak in find_leaks(planted, private)
            ), mistake.name
