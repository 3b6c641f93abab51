"""hw1: the exact variances of REINFORCE-1 and REINFORCE-2 in a small world."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.estimator_variances import estimator_variances


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    names = ("theta", "states", "actions", "rewards", "probabilities")
    inputs = {name: torch.tensor(case[name]) for name in names}
    gamma = float(case["gamma"])

    def both() -> Any:
        pair = function(*inputs.values(), gamma)
        if isinstance(pair, (tuple, list)) and len(pair) == 2:
            first, second = (frozen(each) for each in pair)
            return np.stack([first, second]) if first.shape == second.shape == () else pair
        return frozen(pair)

    variances = both()
    kept = all(untouched(x, case[name]) for name, x in inputs.items())
    again = same_again(both, variances)
    if np.shape(variances) != (2,):
        raise TypeError(
            "two numbers are to be returned, REINFORCE-1 first: there came something of shape "
            f"{np.shape(variances)}"
        )
    return {
        "of_reinforce_1": variances[0],
        "of_reinforce_2": variances[1],
        "inputs_unchanged": kept,
        "second_call_agrees": again,
    }


def _listed(
    theta: Any, start: Any, transitions: Any, rewards: Any, gamma: float, steps: int
) -> Case:
    """Every trajectory of a small world, with its probability under the softmax of theta."""
    theta, start, transitions, rewards = map(np.array, (theta, start, transitions, rewards))
    states, actions = theta.shape
    policy = np.exp(theta) / np.exp(theta).sum(axis=1, keepdims=True)
    rows = list(
        product(product(range(states), repeat=steps), product(range(actions), repeat=steps))
    )
    places, taken = (np.array(each) for each in zip(*rows, strict=True))
    moves = transitions[places[:, :-1], taken[:, :-1], places[:, 1:]]
    chances = start[places[:, 0]] * moves.prod(axis=1) * policy[places, taken].prod(axis=1)
    there = chances > 0
    return {
        "theta": theta,
        "states": places[there],
        "actions": taken[there],
        "rewards": rewards[places, taken][there],
        "probabilities": chances[there],
        "gamma": gamma,
    }


def public_cases() -> list[Case]:
    one = [[0.0, 0.0]], [1.0], [[[1.0], [1.0]]], [[0.0, 1.0]]
    theta = [[0.5, -0.3], [-0.8, 0.4]]
    wind = [[[0.7, 0.3], [0.1, 0.9]], [[0.4, 0.6], [0.55, 0.45]]]
    pay = [[1.0, -0.5], [0.3, 2.0]]
    three = [[0.2, -0.4, 0.7]], [1.0], [[[1.0], [1.0], [1.0]]], [[1.0, -1.5, 0.4]]
    return [
        _listed(*one, 0.5, 2),
        _listed(theta, [0.35, 0.65], wind, pay, 0.9, 1),
        _listed(theta, [1.0, 0.0], wind, pay, 1.0, 2),
        _listed(theta, [0.35, 0.65], wind, pay, 0.8, 2),
        _listed(*three, 0.6, 3),
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for states, actions, steps, gamma in (
        (3, 2, 1, None),
        (2, 2, 3, 1.0),
        (2, 2, 3, None),
        (2, 3, 2, None),
        (1, 3, 3, None),
    ):
        transitions = 0.1 + rng.exponential(size=(states, actions, states))
        start = 0.2 + rng.exponential(size=states)
        signs = np.where(np.arange(states * actions) % 2, -1, 1).reshape(states, actions)
        cases.append(
            _listed(
                rng.uniform(-1, 1, size=(states, actions)),
                start / start.sum(),
                transitions / transitions.sum(axis=2, keepdims=True),
                signs * rng.uniform(0.5, 2, size=(states, actions)),
                gamma or float(rng.uniform(0.5, 0.85)),
                steps,
            )
        )
    return cases


# Right by other means.


def row_by_row(*given: Any) -> Any:
    theta, states, actions, rewards, probabilities, gamma = given
    pi = torch.softmax(theta, dim=1)
    answers = []
    for to_go in (False, True):
        mean, square = torch.zeros_like(theta), 0.0
        for s, a, r, p in zip(states, actions, rewards, probabilities, strict=True):
            g = torch.zeros_like(theta)
            for t in range(len(r)):
                first = t if to_go else 0
                weight = sum(gamma**k * r[k].item() for k in range(first, len(r)))
                g[s[t]] -= weight * pi[s[t]]
                g[s[t], a[t]] += weight
            mean = mean + p * g
            square = square + p * (g**2).sum()
        answers.append(square - (mean**2).sum())
    return answers[0], answers[1]


def by_autograd(*given: Any) -> Tensor:
    theta, states, actions, rewards, probabilities, gamma = given

    def log_probs(logits: Tensor) -> Tensor:
        return torch.log_softmax(logits, dim=-1)[states, actions]

    scores = torch.autograd.functional.jacobian(log_probs, theta).flatten(2)  # (N, T, S A)
    discounts = torch.tensor([gamma**t for t in range(states.shape[1])], dtype=theta.dtype)
    paid = rewards * discounts
    later = torch.ones(len(discounts), len(discounts), dtype=theta.dtype).triu()
    whole = paid.sum(1)[:, None] * scores.sum(1)
    part = torch.einsum("nk,tk,ntx->nx", paid, later, scores)
    answers = []
    for g in (whole, part):
        off = g - probabilities @ g
        answers.append(torch.trace(off.T @ (probabilities[:, None] * off)))
    return torch.stack(answers)


def in_numpy(*given: Any) -> Any:
    theta, s, a, r, p = (x.numpy() for x in given[:5])
    pi = np.exp(theta) / np.exp(theta).sum(-1, keepdims=True)
    n, steps = s.shape
    weights = given[5] ** np.arange(steps)
    g1, g2 = np.zeros((n, *theta.shape)), np.zeros((n, *theta.shape))
    for i in range(n):
        for t in range(steps):
            score = np.zeros_like(theta)
            score[s[i, t]] = -pi[s[i, t]]
            score[s[i, t], a[i, t]] += 1
            g1[i] += (weights * r[i]).sum() * score
            g2[i] += (weights * r[i])[t:].sum() * score
    return np.array(
        [(p * ((g - np.einsum("n,nsa->sa", p, g)) ** 2).sum((1, 2))).sum() for g in (g1, g2)]
    )


def in_single_precision(*given: Any) -> Tensor:
    theta, states, actions, rewards, probabilities, gamma = given
    return estimator_variances(
        theta.float(), states, actions, rewards.float(), probabilities.float(), gamma
    )


# What students write instead.

slip = partial(slip_of, estimator_variances, see="02_policy_gradient#C23")

CHECK = Check(
    title="Variances of the two estimators",
    reference=estimator_variances,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "mean not subtracted",
            "These are the mean squared lengths of the estimates. Variance is measured from the "
            "mean, which is the gradient and not zero.",
            off="estimates",
        ),
        slip(
            "probabilities left out",
            "Every row counts the same, in the mean and in the variance. The rows are a list and "
            "no sample: each has a probability.",
            see="02_policy_gradient#C17",
            mean="estimates.mean(dim=0)",
            variance="squares.mean()",
        ),
        slip(
            "rows as a sample, divided by n - 1",
            "The rows are treated as a sample, in which each counts the same and the sum is "
            "divided by n - 1 (torch's var does that). They are a list: each has a probability.",
            see="02_policy_gradient#C17",
            mean="estimates.mean(dim=0)",
            variance="squares.sum() / (len(squares) - 1)",
        ),
        slip(
            "rows weighed as a sample",
            "The probabilities are used, and then the variance is made larger as for a sample "
            "(torch.cov does so unless correction=0). The list is complete: nothing is estimated.",
            see="02_policy_gradient#C17",
            variance="probabilities @ squares / (1 - probabilities @ probabilities)",
        ),
        slip(
            "mean without probabilities",
            "The mean that is subtracted is a plain mean over the rows. It is an expectation too: "
            "weigh each row with its probability.",
            see="02_policy_gradient#C17",
            mean="estimates.mean(dim=0)",
        ),
        slip(
            "squares without probabilities",
            "The squared distances from the mean are averaged over the rows, each counting the "
            "same. That average is an expectation too.",
            see="02_policy_gradient#C17",
            variance="squares.mean()",
        ),
        slip(
            "mean over the entries",
            "The variances of the entries of the gradient are averaged. The total variance is "
            "their sum.",
            squares="off.square().flatten(1).mean(dim=1)",
        ),
        slip(
            "standard deviation",
            "These are the square roots, standard deviations. Asked for are variances.",
            variance="(probabilities @ squares).sqrt()",
        ),
        slip(
            "largest variance of an entry",
            "This is the variance of the entry that varies most. The total variance adds up all "
            "of them.",
            variance="(probabilities @ off.square().flatten(1)).max()",
        ),
        slip(
            "variance of the length",
            "This is the variance of the length of the estimate. An estimate may keep its length "
            "and still point anywhere: take the squared distance from the mean.",
            squares="""
                lengths = estimates.flatten(1).norm(dim=1)
                squares = (lengths - probabilities @ lengths).square()
            """,
        ),
        slip(
            "the two swapped",
            "The right numbers, in the wrong order. REINFORCE-1 comes first.",
            answer="answer.flip(0)",
        ),
        slip(
            "step by step",
            "The variance of each step's term was taken alone, and these were added up. The terms "
            "of one episode go up and down together: add them up first, the estimate is their sum.",
            estimates="torch.einsum('nt,ntsa->ntsa', weights, scores)",
            mean="torch.einsum('n,ntsa->tsa', probabilities, estimates)",
        ),
        slip(
            "rewards-to-go without gamma^t",
            "In REINFORCE-2 the factor gamma^t in front of each score is missing. G_t is "
            "discounted back to step t, and J is measured from the start.",
            to_go="paid.flip(1).cumsum(dim=1).flip(1) / discounts",
        ),
        slip(
            "gamma^t twice in REINFORCE-2",
            "In REINFORCE-2 each term is discounted twice. Either G_t counts from step t and has "
            "gamma^t in front, or the rewards carry their own gamma^k.",
            to_go="discounts * paid.flip(1).cumsum(dim=1).flip(1)",
        ),
        slip(
            "gamma^t in front of the whole return",
            "In REINFORCE-1 each score has a factor gamma^t. R(tau) is counted from the start "
            "already, and the same for every step.",
            see="02_policy_gradient#C20",
            whole_return="discounts * paid.sum(dim=1, keepdim=True)",
        ),
        slip(
            "ignores gamma",
            "The rewards are added up without discount. In both estimates the reward of step t "
            "weighs gamma^t.",
            discounts="torch.ones(states.shape[1], dtype=policy.dtype)",
        ),
        slip(
            "past instead of future",
            "In REINFORCE-2 each step is credited with the rewards up to it. An action cannot "
            "change what was paid before it.",
            see="02_policy_gradient#C22",
            to_go="paid.cumsum(dim=1)",
        ),
        slip(
            "own reward left out",
            "In REINFORCE-2 the step's own reward is missing: its sum starts a step late. What an "
            "action earns at once is its own merit.",
            to_go="paid.flip(1).cumsum(dim=1).flip(1) - paid",
        ),
        slip(
            "own reward only",
            "In REINFORCE-2 each step is credited with its own reward and nothing that follows. "
            "G_t goes on to the end of the episode.",
            see="02_policy_gradient#C21",
            to_go="paid",
        ),
        slip(
            "both with the whole return",
            "Both numbers are the variance of REINFORCE-1. REINFORCE-2 weighs the score of step t "
            "with what is paid from that step on.",
            to_go="whole_return",
        ),
        slip(
            "mean over the steps",
            "The terms of an episode are averaged over its steps. Both estimates are sums over "
            "time.",
            see="02_policy_gradient#C19",
            estimates="torch.einsum('nt,ntsa->nsa', weights, scores) / states.shape[1]",
        ),
        slip(
            "action taken, and nothing expected",
            "The scores hold 1 at the action taken, and nothing is subtracted for the others. The "
            "score of a softmax is what was taken minus what was expected.",
            see="02_policy_gradient#C19",
            scores="torch.einsum('nts,nta->ntsa', visited, taken)",
        ),
        slip(
            "divided by the number of rows",
            "The variance is divided by how many rows there are, as for a mean of so many "
            "episodes. Asked for is the variance of the estimate from one.",
            see="02_policy_gradient#C17",
            variance="probabilities @ squares / len(squares)",
        ),
        slip(
            "softmax over the states",
            "The softmax runs down the columns, over the states. One row is one state, and its "
            "probabilities sum to 1 over the actions.",
            see="01_objective#C04",
            policy="torch.softmax(theta.detach(), dim=0)",
        ),
    ),
    parts=(
        Property("one step", cases=lambda case: case["states"].shape[1] == 1),
        Property(
            "gamma = 1", 2, cases=lambda case: case["states"].shape[1] > 1 and case["gamma"] == 1
        ),
        Property("REINFORCE-1", 2, observations=("of_reinforce_1",)),
        Property("REINFORCE-2", 2, observations=("of_reinforce_2",)),
    ),
    accepted=(row_by_row, by_autograd, in_numpy, in_single_precision),
)
