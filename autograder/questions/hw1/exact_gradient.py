"""hw1: the exact gradient of a known world, by listing its trajectories."""

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
from course_lib.reference.answers.exact_gradient import exact_gradient


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    names = ("theta", "start", "transitions", "rewards")
    inputs = {name: torch.tensor(case[name]) for name in names}
    settings = float(case["gamma"]), int(case["horizon"])
    gradient = frozen(function(*inputs.values(), *settings))
    kept = all(untouched(x, case[name]) for name, x in inputs.items())
    again = same_again(lambda: function(*inputs.values(), *settings), gradient)
    return {"gradient": gradient, "inputs_unchanged": kept, "second_call_agrees": again}


def public_cases() -> list[Case]:
    wind = {
        "theta": np.array([[0.5, -0.3], [-0.8, 0.4], [1.1, 0.2]]),
        "start": np.array([0.5, 0.2, 0.3]),
        "transitions": np.array(
            [
                [[0.5, 0.3, 0.2], [0.1, 0.7, 0.2]],
                [[0.25, 0.15, 0.6], [0.3, 0.3, 0.4]],
                [[0.6, 0.2, 0.2], [0.15, 0.45, 0.4]],
            ]
        ),
        "rewards": np.array([[1.0, -0.5], [0.3, 2.0], [-1.0, 0.7]]),
    }
    two: Case = {
        "theta": np.array([[0.2, -0.4, 0.7], [0.9, 0.1, -0.5]]),
        "start": np.array([0.35, 0.65]),
        "transitions": np.array(
            [[[0.5, 0.5], [0.1, 0.9], [0.8, 0.2]], [[0.3, 0.7], [0.6, 0.4], [0.2, 0.8]]]
        ),
        "rewards": np.array([[1.0, -1.0, 0.5], [0.4, 2.0, -0.7]]),
    }
    ring: Case = {
        **wind,
        "start": np.array([0.0, 1.0, 0.0]),
        "transitions": np.eye(3)[[[1, 2], [2, 0], [0, 1]]],
    }
    by_hand: Case = {
        "theta": np.zeros((1, 2)),
        "start": np.ones(1),
        "transitions": np.ones((1, 2, 1)),
        "rewards": np.array([[0.0, 1.0]]),
    }
    return [
        {**by_hand, "gamma": 0.5, "horizon": 2},
        {**wind, "gamma": 0.9, "horizon": 1},
        {**ring, "gamma": 0.8, "horizon": 3},
        {**two, "gamma": 1.0, "horizon": 3},
        {**wind, "gamma": 0.7, "horizon": 2},
        {**two, "gamma": 0.9, "horizon": 4},
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for sure, states, actions, horizon, gamma in (
        (False, 3, 3, 1, None),
        (True, 3, 2, 4, None),
        (False, 2, 2, 4, 1.0),
        (False, 3, 2, 3, None),
        (False, 2, 3, 4, None),
        (False, 4, 2, 2, None),
    ):
        transitions = 0.1 + rng.exponential(size=(states, actions, states))
        start = 0.2 + rng.exponential(size=states)
        if sure:
            order = rng.permutation(states)
            transitions = np.eye(states)[np.array([np.roll(order, a) for a in range(actions)]).T]
            start = np.eye(states)[int(rng.integers(1, states))]
        cases.append(
            {
                "theta": rng.uniform(-1, 1, size=(states, actions)),
                "start": start / start.sum(),
                "transitions": transitions / transitions.sum(axis=2, keepdims=True),
                "rewards": rng.normal(size=(states, actions)),
                "gamma": gamma or float(rng.uniform(0.6, 0.95)),
                "horizon": horizon,
            }
        )
    return cases


def _is_sure(case: Arrays) -> bool:
    """Whether each action leads to one place."""
    return bool(np.isin(case["transitions"], (0.0, 1.0)).all())


# Right by other means.


def one_after_the_other(*given: Any) -> Any:
    theta, start, transitions, rewards, gamma, horizon = given
    pi = torch.softmax(theta, dim=1)
    gradient = torch.zeros_like(theta)

    def go_on(s: int, t: int, probability: float, paid: float, score: Tensor) -> None:
        if probability == 0.0:
            return
        for a in range(len(theta[s])):
            p = probability * pi[s, a].item()
            now = paid + gamma**t * rewards[s, a].item()
            new = score.clone()
            new[s] -= pi[s]
            new[s, a] += 1
            if t == horizon - 1:
                gradient.add_(p * now * new)
                continue
            for s2 in range(len(theta)):
                go_on(s2, t + 1, p * transitions[s, a, s2].item(), now, new)

    for s in range(len(theta)):
        go_on(s, 0, start[s].item(), 0.0, torch.zeros_like(theta))
    return gradient


def by_differentiating_the_sum(*given: Any) -> Any:
    theta, start, transitions, rewards, gamma, horizon = given
    leaf = theta.clone().requires_grad_()
    where, total = start, torch.zeros(())
    for t in range(horizon):
        both = where[:, None] * torch.softmax(leaf, dim=-1)  # how often s and a at step t
        total = total + gamma**t * (both * rewards).sum()
        where = torch.einsum("sa,sat->t", both, transitions)
    total.backward()
    return leaf.grad


def in_numpy(*given: Any) -> Any:
    theta, start, transitions, rewards = (x.numpy() for x in given[:4])
    gamma, horizon = given[4:]
    states, actions = theta.shape
    pi = np.exp(theta) / np.exp(theta).sum(1, keepdims=True)
    out = np.zeros_like(theta)
    for path in product(range(states), repeat=horizon):
        for taken in product(range(actions), repeat=horizon):
            p, r, score = start[path[0]], 0.0, np.zeros_like(theta)
            for t, (s, a) in enumerate(zip(path, taken, strict=True)):
                p *= pi[s, a]
                r += gamma**t * rewards[s, a]
                score[s] -= pi[s]
                score[s, a] += 1.0
                if t + 1 < horizon:
                    p *= transitions[s, a, path[t + 1]]
            out += p * r * score
    return out


def by_small_steps(*given: Any) -> Any:
    theta, start, transitions, rewards, gamma, horizon = given

    def expected_return(logits: Tensor) -> Tensor:
        pi = torch.softmax(logits, 1)
        values = torch.zeros_like(start)
        for _ in range(horizon):
            values = (pi * (rewards + gamma * transitions @ values)).sum(1)
        return start @ values

    gradient = torch.empty_like(theta)
    for s in range(theta.shape[0]):
        for a in range(theta.shape[1]):
            h = torch.zeros_like(theta)
            h[s, a] = 1e-5
            gradient[s, a] = (expected_return(theta + h) - expected_return(theta - h)) / 2e-5
    return gradient


# What students write instead.

slip = partial(slip_of, exact_gradient, see="03_rewards_to_go#C76")

CHECK = Check(
    title="The exact gradient, by listing",
    reference=exact_gradient,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "wrong sign",
            "This is minus the gradient, the direction in which J falls. A loss has a minus; the "
            "gradient of J points uphill.",
            see="02_policy_gradient#C17",
            answer="-answer",
        ),
        slip(
            "probabilities left out",
            "Every trajectory of the list counts once, however likely it is. A list is no sample: "
            "what weighs each of its rows in an expectation?",
            see="02_policy_gradient#C17",
            weights="paid.sum(dim=1)",
        ),
        slip(
            "mean over the list",
            "This is the mean over the list, in which every trajectory counts the same. Sampled "
            "trajectories come as often as they are likely, listed ones do not.",
            see="02_policy_gradient#C17",
            weights="paid.sum(dim=1) / len(paid)",
        ),
        slip(
            "divided by their number",
            "The sum is divided by how many trajectories there are. The probabilities are the "
            "weights already, and they sum to 1.",
            see="02_policy_gradient#C17",
            weights="probabilities * paid.sum(dim=1) / len(paid)",
        ),
        slip(
            "probabilities counted twice",
            "Each term has the probability of its trajectory twice: it weighs the gradient of "
            "P(tau), which holds it already. Either the sum of R grad P, or the sum of P R grad "
            "log P.",
            see="02_policy_gradient#C18",
            weights="probabilities**2 * paid.sum(dim=1)",
        ),
        slip(
            "no dynamics in the probabilities",
            "The moves of the world are left out of P(tau), so that impossible trajectories count "
            "like others. They drop out of the score, and not out of the probability.",
            see="02_policy_gradient#C19",
            moves="torch.ones_like(log_policy.detach())",
        ),
        slip(
            "no start in the probabilities",
            "The start distribution is left out: trajectories count the same wherever they begin. "
            "Some first states are likelier than others.",
            see="01_objective#C09",
            first="torch.ones_like(start)[states[:, 0]]",
        ),
        slip(
            "starts in state 0",
            "All trajectories begin in state 0. Where they begin is drawn from the start "
            "distribution, so each state may be the first.",
            see="01_objective#C09",
            first="(states[:, 0] == 0).to(theta.dtype)",
        ),
        slip(
            "policy left out of the probabilities",
            "P(tau) holds the world's factors and not those of the policy. What the policy seldom "
            "does should count little.",
            see="01_objective#C09",
            probabilities="first * moves.prod(dim=1)",
        ),
        slip(
            "ignores gamma",
            "The rewards are added up without discount. The reward of step t weighs gamma^t.",
            see="02_policy_gradient#C21",
            discounts="torch.ones(horizon, dtype=theta.dtype)",
        ),
        slip(
            "discounts the first reward too",
            "Everything is one factor of gamma too small: the first reward is discounted as well. "
            "Time starts at 0.",
            see="02_policy_gradient#C21",
            discounts="gamma ** torch.arange(1, horizon + 1, dtype=theta.dtype)",
        ),
        slip(
            "discounts twice",
            "The reward of step t weighs gamma^(2t): it was discounted twice. How many steps lie "
            "between it and the start?",
            see="02_policy_gradient#C21",
            paid="discounts**2 * rewards[states, actions]",
        ),
        slip(
            "discount runs backwards",
            "The last reward has weight 1 and the first the highest power of gamma. Which of them "
            "lies farthest from the start?",
            see="02_policy_gradient#C21",
            discounts="gamma ** torch.arange(horizon - 1, -1, -1, dtype=theta.dtype)",
        ),
        slip(
            "last reward only",
            "Only the reward of the last step counts. R(tau) is the discounted sum over all of "
            "them.",
            see="02_policy_gradient#C21",
            weights="probabilities * paid[:, -1]",
        ),
        slip(
            "one step too many",
            "The trajectories have one step more than asked for. horizon = 1 is a single decision: "
            "a state, an action, and no move.",
            before="horizon = horizon + 1",
        ),
        slip(
            "one step too few",
            "The last step is missing from returns and scores. There are `horizon` decisions, and "
            "each is paid: how far does range(horizon - 1) go?",
            weights="probabilities * paid[:, :-1].sum(dim=1)",
        ),
        slip(
            "each reward with its own action alone",
            "Both sums over time share one index: an action is credited with its own reward and "
            "nothing that follows. R(tau) multiplies every score.",
            see="02_policy_gradient#C21",
            gradient="torch.autograd.grad((probabilities[:, None] * paid * log_policy).sum(), "
            "theta)[0]",
        ),
        slip(
            "rewards-to-go without gamma^t",
            "Each score is weighed with the return from its step on, discounted back to that step. "
            "Then gamma^t is missing in front: J is measured from the start.",
            see="02_policy_gradient#C23",
            gradient="""
                to_go = paid.flip(1).cumsum(dim=1).flip(1) / discounts
                loss = (probabilities[:, None] * to_go * log_policy).sum()
                gradient = torch.autograd.grad(loss, theta)[0]
            """,
        ),
        slip(
            "first score only",
            "Only the first action's score is used. The score of a trajectory is the sum over all "
            "of its actions.",
            see="02_policy_gradient#C19",
            gradient="torch.autograd.grad((weights * log_policy[:, 0]).sum(), theta)[0]",
        ),
        slip(
            "last score only",
            "Only the last action's score is used: is it overwritten in the loop? The score of a "
            "trajectory is the sum over all of its actions.",
            see="02_policy_gradient#C19",
            gradient="torch.autograd.grad((weights * log_policy[:, -1]).sum(), theta)[0]",
        ),
        slip(
            "mean over the steps",
            "The scores are averaged over the steps. The score of a trajectory is their sum, "
            "however long it is.",
            see="02_policy_gradient#C19",
            gradient="torch.autograd.grad((weights * log_policy.mean(dim=1)).sum(), theta)[0]",
        ),
        slip(
            "gradient in the probabilities",
            "This is the derivative in the policy's probabilities, as if each could be moved "
            "alone. Asked for is the one in theta, the logits: the softmax lies between.",
            see="02_policy_gradient#C19",
            gradient="""
                policy = torch.softmax(theta.detach(), dim=-1).requires_grad_()
                total = (weights * policy[states, actions].log().sum(dim=1)).sum()
                gradient = torch.autograd.grad(total, policy)[0]
            """,
        ),
        slip(
            "action taken, and nothing expected",
            "The score holds 1 at the action taken, and nothing is subtracted for the others. The "
            "softmax makes an action likelier only at the expense of the rest of its row.",
            see="02_policy_gradient#C19",
            gradient="torch.autograd.grad((weights * theta[states, actions].sum(dim=1)).sum(), "
            "theta)[0]",
        ),
        slip(
            "softmax over the states",
            "The softmax runs down the columns, over the states. One row is one state, and its "
            "probabilities sum to 1 over the actions.",
            see="01_objective#C04",
            log_policy="torch.log_softmax(theta, dim=0)[states, actions]",
        ),
        slip(
            "moves read backwards",
            "The transitions are read from the state after to the state before. In [s, a, s2] the "
            "state that one leaves comes first.",
            see="01_objective#C09",
            moves="transitions[states[:, 1:], actions[:, :-1], states[:, :-1]]",
        ),
        slip(
            "moves with the next action",
            "Each move is looked up with the action of the step after it. What leads from s_t to "
            "s_{t+1} is a_t.",
            see="01_objective#C09",
            moves="transitions[states[:, :-1], actions[:, 1:], states[:, 1:]]",
        ),
        slip(
            "the return instead of its gradient",
            "This is J itself, one number. Asked for is how it changes with each entry of theta.",
            see="01_objective#C11",
            answer="weights.sum()",
        ),
        slip(
            "normalises the returns",
            "The returns were shifted and scaled to mean 0 and spread 1. That is a trick for "
            "samples; here the gradient of J itself is asked for.",
            weights="""
                totals = paid.sum(dim=1)
                weights = probabilities * (totals - totals.mean()) / (totals.std() + 1e-8)
            """,
        ),
    ),
    parts=(
        Property("one step", 2, cases=lambda case: case["horizon"] == 1),
        Property(
            "a world without chance", 2, cases=lambda case: case["horizon"] > 1 and _is_sure(case)
        ),
        Property(
            "gamma = 1",
            3,
            cases=lambda case: case["horizon"] > 1 and case["gamma"] == 1 and not _is_sure(case),
        ),
        Property(
            "gamma between",
            3,
            cases=lambda case: case["horizon"] > 1 and case["gamma"] < 1 and not _is_sure(case),
        ),
    ),
    accepted=(one_after_the_other, by_differentiating_the_sum, in_numpy, by_small_steps),
)
