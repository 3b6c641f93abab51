"""hw2: PPO's minibatch steps on one batch, with any smooth objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Misconception
from autograder.questions.tolerance import TOLERANCE
from autograder.student.wire import Arrays
from course_lib.reference.answers.ppo_update import ppo_update


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    names = ("theta", "states", "actions", "advantages", "minibatches")
    inputs = [torch.tensor(case[name]) for name in names]

    # Not PPO's objective: any smooth one will do, and this one tells apart what goes in.
    def objective(log_probs: Any, old_log_probs: Any, advantages: Any) -> torch.Tensor:
        moved = log_probs - old_log_probs
        terms = advantages * torch.sin(moved) - 0.4 * moved**2 + 0.2 * old_log_probs * log_probs
        return terms.double().mean()

    last = function(*inputs, objective, float(case["learning_rate"]))
    kept = all(
        np.array_equal(x.detach(), case[name]) for name, x in zip(names, inputs, strict=True)
    )
    return {"theta": last, "inputs_unchanged": kept}


def public_cases() -> list[Case]:
    batch = {
        "states": np.array([0, 1, 0, 2, 1, 0]),
        "actions": np.array([1, 0, 0, 1, 1, 1]),
        "advantages": np.array([1.0, -0.5, 2.0, -1.5, 0.7, -0.3]),
    }
    theta = np.array([[0.4, -0.3], [-0.6, 0.9], [0.1, 0.2]])
    return [
        {
            "theta": np.zeros((3, 2)),
            **batch,
            "minibatches": np.array([[4, 2, 5]]),
            "learning_rate": 0.5,
        },
        {
            "theta": theta,
            **batch,
            "minibatches": np.array([[3, 0], [5, 1], [2, 4], [1, 2], [4, 3], [0, 5]]),
            "learning_rate": 0.8,
        },
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for _ in range(3):
        states, actions, size, parts = (int(n) for n in rng.integers([2, 2, 2, 2], [5, 5, 5, 4]))
        epochs = [rng.permutation(size * parts).reshape(parts, size) for _ in range(2)]
        cases.append(
            {
                "theta": rng.normal(size=(states, actions)),
                "states": rng.integers(states, size=size * parts),
                "actions": rng.integers(actions, size=size * parts),
                "advantages": 1.5 * rng.normal(size=size * parts),
                "minibatches": np.concatenate(epochs),
                "learning_rate": float(rng.uniform(0.4, 1.0)),
            }
        )
    return cases


# What students write instead.

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]


def _log_probs(theta: Tensor, states: Tensor, actions: Tensor) -> Tensor:
    return torch.log_softmax(theta, dim=-1)[states, actions]


def _slope(theta: Tensor, gain: Callable[[Tensor], Tensor]) -> Tensor:
    theta = theta.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(gain(theta), theta)
    return gradient


def descends(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    return ppo_update(theta, states, actions, advantages, minibatches, objective, -learning_rate)


def old_policy_refreshed(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    for rows in minibatches:
        theta = ppo_update(theta, states, actions, advantages, rows[None], objective, learning_rate)
    return theta


def old_policy_in_the_graph(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    for rows in minibatches:
        gradient = _slope(
            theta,
            lambda point, rows=rows: objective(  # type: ignore[misc]
                _log_probs(point, states, actions)[rows],
                _log_probs(point, states, actions)[rows],
                advantages[rows],
            ),
        )
        theta = theta + learning_rate * gradient
    return theta


def _with_rows(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
    pick: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
) -> Tensor:
    """PPO's steps where `pick(new, old, advantages, rows)` says what the objective gets."""
    old = _log_probs(theta, states, actions)
    for rows in minibatches:
        gradient = _slope(
            theta,
            lambda point, rows=rows: objective(  # type: ignore[misc]
                *pick(_log_probs(point, states, actions), old, advantages, rows)
            ),
        )
        theta = theta + learning_rate * gradient
    return theta


def advantages_not_picked(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    return _with_rows(
        theta,
        states,
        actions,
        advantages,
        minibatches,
        objective,
        learning_rate,
        lambda new, old, weights, rows: (new[rows], old[rows], weights[: len(rows)]),
    )


def old_log_probs_not_picked(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    return _with_rows(
        theta,
        states,
        actions,
        advantages,
        minibatches,
        objective,
        learning_rate,
        lambda new, old, weights, rows: (new[rows], old[: len(rows)], weights[rows]),
    )


def whole_batch_every_step(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    return _with_rows(
        theta,
        states,
        actions,
        advantages,
        minibatches,
        objective,
        learning_rate,
        lambda new, old, weights, rows: (new, old, weights),
    )


def first_rows_every_step(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    size = minibatches.shape[1]
    return _with_rows(
        theta,
        states,
        actions,
        advantages,
        minibatches,
        objective,
        learning_rate,
        lambda *tables: tuple(table[:size] for table in tables[:3]),
    )


def swaps_old_and_new(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    return _with_rows(
        theta,
        states,
        actions,
        advantages,
        minibatches,
        objective,
        learning_rate,
        lambda new, old, weights, rows: (old[rows], new[rows], weights[rows]),
    )


def probabilities_instead_of_logs(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    return _with_rows(
        theta,
        states,
        actions,
        advantages,
        minibatches,
        objective,
        learning_rate,
        lambda new, old, weights, rows: (new[rows].exp(), old[rows].exp(), weights[rows]),
    )


def normalises(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    advantages = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
    return ppo_update(theta, states, actions, advantages, minibatches, objective, learning_rate)


def gradients_at_the_old_theta(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    last = theta
    for rows in minibatches:
        step = ppo_update(theta, states, actions, advantages, rows[None], objective, learning_rate)
        last = last + (step - theta)
    return last


def first_minibatch_only(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    return ppo_update(theta, states, actions, advantages, minibatches[:1], objective, learning_rate)


def gradients_pile_up(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    old, total = _log_probs(theta, states, actions), torch.zeros_like(theta)
    for rows in minibatches:
        total = total + _slope(
            theta,
            lambda point, rows=rows: objective(  # type: ignore[misc]
                _log_probs(point, states, actions)[rows], old[rows], advantages[rows]
            ),
        )
        theta = theta + learning_rate * total
    return theta


def changes_theta(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    theta += (
        ppo_update(theta, states, actions, advantages, minibatches, objective, learning_rate)
        - theta
    )
    return theta


def returns_where_it_started(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    return theta.clone()


def no_learning_rate(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    return ppo_update(theta, states, actions, advantages, minibatches, objective, 1.0)


def normalises_over_n_less_one(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    off = advantages - advantages.mean()
    spread = (off.square().sum() / (off.numel() - 1)).sqrt()  # torch's std, less its warning
    return ppo_update(
        theta, states, actions, off / (spread + 1e-8), minibatches, objective, learning_rate
    )


def normalises_each_minibatch(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    def normalised(some: Tensor) -> Tensor:
        off = some - some.mean()
        spread = (off.square().sum() / (len(off) - 1)).sqrt()  # torch's std, less its warning
        return off / (spread + 1e-8)

    return _with_rows(
        theta,
        states,
        actions,
        advantages,
        minibatches,
        objective,
        learning_rate,
        lambda new, old, weights, rows: (new[rows], old[rows], normalised(weights[rows])),
    )


def every_minibatch_from_the_start(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    return ppo_update(
        theta, states, actions, advantages, minibatches[-1:], objective, learning_rate
    )


# Right by other means.


def with_an_optimiser(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    parameter = torch.nn.Parameter(theta.clone())
    optimiser = torch.optim.SGD([parameter], lr=learning_rate)
    with torch.no_grad():
        old = torch.distributions.Categorical(logits=parameter[states]).log_prob(actions)
    for rows in minibatches:
        policy = torch.distributions.Categorical(logits=parameter[states[rows]])
        loss = -objective(policy.log_prob(actions[rows]), old[rows], advantages[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return parameter


def in_place_on_a_copy(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    current = theta.clone().requires_grad_(True)
    old = torch.log(torch.softmax(theta, -1))[states, actions].detach()
    for k in range(minibatches.shape[0]):
        rows = minibatches[k].tolist()
        objective(
            torch.log(torch.softmax(current, -1))[states, actions][rows],
            old[rows],
            advantages[rows],
        ).backward()
        with torch.no_grad():
            assert current.grad is not None
            current += learning_rate * current.grad
            current.grad = None
    return current.detach()


def in_single_precision(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Objective,
    learning_rate: float,
) -> Tensor:
    return ppo_update(
        theta.float(), states, actions, advantages.float(), minibatches, objective, learning_rate
    )


CHECK = Check(
    homework="hw2",
    title="PPO's update on one batch",
    points=4,
    reference=ppo_update,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        Misconception(
            "changes the caller's theta",
            changes_theta,
            "The steps are right, but they were written into the theta that came in: the caller "
            "loses the old policy. Work on a copy.",
            "07_ppo#C87",
        ),
        Misconception(
            "descends",
            descends,
            "theta moves so that the objective falls. It is to be made large: ascend it, or "
            "descend its negative.",
            "07_ppo#C87",
        ),
        Misconception(
            "old policy refreshed on every minibatch",
            old_policy_refreshed,
            "The old log-probabilities are computed anew before each minibatch, so every step "
            "believes it starts at the old policy and nothing holds the sum of them. The old "
            "policy is the one that collected the batch.",
            "07_ppo#C65",
        ),
        Misconception(
            "old policy is the current one, in the graph",
            old_policy_in_the_graph,
            "The old log-probabilities are computed from the current theta and differentiated "
            "along with the new ones. They are fixed numbers, known before the first step.",
            "07_ppo#C65",
        ),
        Misconception(
            "advantages of other steps",
            advantages_not_picked,
            "The log-probabilities are those of the minibatch, the advantages those of the first "
            "steps of the batch. All three arguments need the same rows.",
            "07_ppo#C87",
        ),
        Misconception(
            "old log-probabilities of other steps",
            old_log_probs_not_picked,
            "The new log-probabilities are those of the minibatch, the old ones those of the first "
            "steps of the batch. All three arguments need the same rows.",
            "07_ppo#C87",
        ),
        Misconception(
            "whole batch on every step",
            whole_batch_every_step,
            "Every step uses the whole batch. Row k of minibatches says which steps minibatch k is "
            "made of.",
            "07_ppo#C87",
        ),
        Misconception(
            "first rows on every step",
            first_rows_every_step,
            "Every step uses the first M steps of the batch: the length of the row is used, but "
            "not the indices in it.",
            "07_ppo#C87",
        ),
        Misconception(
            "old and new swapped",
            swaps_old_and_new,
            "The objective gets the old log-probabilities in the place of the new ones. Its first "
            "argument is the policy that moves.",
            "07_ppo#C62",
        ),
        Misconception(
            "probabilities instead of logarithms",
            probabilities_instead_of_logs,
            "The objective gets probabilities. It asks for log-probabilities, old and new.",
            "07_ppo#C62",
        ),
        Misconception(
            "normalises the advantages",
            normalises,
            "The advantages were shifted and scaled to mean 0 and spread 1 first. That is the "
            "caller's choice; here they are used as they come.",
            "07_ppo#C68",
        ),
        Misconception(
            "every gradient at the old theta",
            gradients_at_the_old_theta,
            "Each minibatch's gradient is taken at the theta that came in. A step starts from "
            "where the last one arrived; that is why the ratio moves away from 1.",
            "07_ppo#C66",
        ),
        Misconception(
            "first minibatch only",
            first_minibatch_only,
            "Only the first minibatch has an effect: does the return stand inside the loop?",
            "07_ppo#C65",
        ),
        Misconception(
            "gradients pile up",
            gradients_pile_up,
            "Every step adds the gradients of all earlier minibatches again. Is something carried "
            "over that should start at zero (a .grad that was not cleared)?",
            "07_ppo#C87",
        ),
        Misconception(
            "returns where it started",
            returns_where_it_started,
            "What comes back is the theta that came in. Is the result of the steps kept, and is it "
            "what is returned?",
            "07_ppo#C87",
        ),
        Misconception(
            "no learning rate",
            no_learning_rate,
            "The gradient is added at full length. The learning rate scales each step.",
            "07_ppo#C87",
        ),
        Misconception(
            "normalises the advantages by n - 1",
            normalises_over_n_less_one,
            "The advantages were shifted and scaled to mean 0 and spread 1 (torch's std divides by "
            "n - 1, so a single one even gives nan). That is the caller's choice; here they "
            "are used as they come.",
            "07_ppo#C68",
        ),
        Misconception(
            "normalises the advantages of each minibatch",
            normalises_each_minibatch,
            "The advantages of each minibatch were shifted and scaled to mean 0 and spread 1. Many "
            "programs do that, and it is a choice of its own; here they are used as they come.",
            "07_ppo#C68",
        ),
        Misconception(
            "last minibatch only",
            every_minibatch_from_the_start,
            "Only the last minibatch has an effect: does each step start from the theta that came "
            "in? It should start from where the last one arrived.",
            "07_ppo#C65",
        ),
    ),
    accepted=(with_an_optimiser, in_place_on_a_copy, in_single_precision),
    tolerance=TOLERANCE,
)
