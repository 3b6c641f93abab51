"""hw1: the log-probability of a trajectory, and its gradient."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, same_again, untouched
from course_lib.reference.answers.trajectory_log_prob import trajectory_log_prob


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    theta = torch.tensor(case["theta"], requires_grad=True)
    names = ("states", "actions", "start", "transitions")
    # One operation away from the leaf, so that changing it in place shows as a change.
    inputs = {"theta": theta * 1.0, **{name: torch.tensor(case[name]) for name in names}}
    log_prob = function(*inputs.values())
    gradient = torch.zeros_like(theta)
    if isinstance(log_prob, torch.Tensor) and log_prob.requires_grad and log_prob.numel() == 1:
        (found,) = torch.autograd.grad(log_prob.sum(), [theta], allow_unused=True)
        gradient = gradient if found is None else found
    return {
        "log_prob": log_prob,
        "gradient": gradient,
        "inputs_unchanged": all(
            untouched(x, case[name], name == "theta") for name, x in inputs.items()
        ),
        "second_call_agrees": same_again(lambda: function(*inputs.values()), log_prob),
    }


NAMES = ("theta", "states", "actions", "start", "transitions")


def public_cases() -> list[Case]:
    wind = np.array(
        [
            [[0.5, 0.3, 0.2], [0.1, 0.7, 0.2]],
            [[0.25, 0.15, 0.6], [0.3, 0.3, 0.4]],
            [[0.6, 0.2, 0.2], [0.15, 0.45, 0.4]],
        ]
    )
    theta = np.array([[0.5, -0.3], [-0.8, 0.4], [1.1, 0.2]])
    begin = np.array([0.5, 0.2, 0.3])
    ring = np.eye(3)[[[1, 2], [2, 0], [0, 1]]]  # one on, or two
    rows: list[Any] = [
        (
            np.zeros((2, 2)),
            [0, 1, 1],
            [1, 0],
            [0.5, 0.5],
            [[[0.6, 0.4], [0.2, 0.8]], [[0.5, 0.5], [0.3, 0.7]]],
        ),
        (theta, [2, 0], [1], begin, wind),
        (theta, [0, 2, 1, 1, 2, 0, 0, 2], [1, 0, 0, 1, 0, 1, 1], begin, wind),
        (
            [[-0.2, 0.7], [-0.5, 0.6], [0.4, 0.1]],
            [0, 1, 0, 1, 2, 1, 2, 1],
            [0, 1, 0, 0, 1, 0, 1],
            [1.0, 0.0, 0.0],
            ring,
        ),
    ]
    return [dict(zip(NAMES, map(np.array, row), strict=True)) for row in rows]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for sure, steps, states, actions in (
        (False, 1, 4, 3),
        (False, 9, 3, 2),
        (False, 13, 4, 3),
        (True, 7, 3, 2),
        (True, 6, 5, 3),
    ):
        theta = rng.uniform(-1, 1, size=(states, actions))
        transitions = 0.2 + rng.exponential(size=(states, actions, states))
        start = 0.2 + rng.exponential(size=states)
        if sure:  # round in a ring: one place on, or two, or three
            leads_to = np.add.outer(np.arange(states), np.arange(actions) + 1) % states
            transitions = np.eye(states)[leads_to]
        path = np.zeros(steps + 1, dtype=int)
        while path[0] in (path[1], path[-1]):  # else the wrong state would look like the right one
            path, taken = rng.integers(states, size=steps + 1), rng.integers(actions, size=steps)
            taken[0] = theta[path[0]].argmin()  # not the likeliest
            if sure:
                for t in range(steps):
                    path[t + 1] = leads_to[path[t], taken[t]]
            elif steps > 1:
                path[-2:], taken[-1] = path[:2], taken[0]  # a pair is met twice
        if sure:
            start = np.eye(states)[path[0]]
        cases.append(
            {
                "theta": theta,
                "states": path,
                "actions": taken,
                "start": start / start.sum(),
                "transitions": transitions / transitions.sum(axis=2, keepdims=True),
            }
        )
    return cases


def _is_sure(case: Arrays) -> bool:
    """Whether each action leads to one place."""
    return bool(np.isin(case["transitions"], (0.0, 1.0)).all())


# Right by other means.


def step_by_step(*given: Any) -> Any:
    theta, states, actions, start, transitions = given
    total = torch.log(start[states[0]])
    for t in range(len(actions)):
        s, a = states[t], actions[t]
        total = total + theta[s, a] - torch.logsumexp(theta[s], dim=0)
        total = total + torch.log(transitions[s, a, states[t + 1]])
    return total


def by_a_distribution(*given: Any) -> Tensor:
    theta, states, actions, start, transitions = given
    before, after = states[:-1], states[1:]
    ours = torch.distributions.Categorical(logits=theta[before]).log_prob(actions)
    world = torch.distributions.Categorical(probs=transitions[before, actions]).log_prob(after)
    return torch.distributions.Categorical(probs=start).log_prob(states[0]) + (ours + world).sum()


def with_a_guard(*given: Any) -> Tensor:
    theta, states, actions, start, transitions = given
    policy = torch.softmax(theta, dim=1)
    chosen = policy[states[:-1]].gather(1, actions[:, None])[:, 0]
    moved = transitions[states[:-1], actions, states[1:]]
    return torch.log(torch.cat([chosen, moved, start[states[:1]]]) + 1e-8).sum()


def log_of_the_product(*given: Any) -> Tensor:
    theta, states, actions, start, transitions = given
    policy = theta.exp() / theta.exp().sum(1, keepdim=True)
    probability = start[states[0]]
    for s, a, after in zip(states.tolist(), actions.tolist(), states.tolist()[1:], strict=False):
        probability = probability * policy[s, a] * transitions[s, a, after]
    return probability.log()


def in_single_precision(*given: Any) -> Tensor:
    theta, states, actions, start, transitions = given
    return trajectory_log_prob(theta.float(), states, actions, start.float(), transitions.float())


# What students write instead.

slip = partial(slip_of, trajectory_log_prob, see="01_objective#C09")

CHECK = Check(
    title="Log-probability of a trajectory",
    reference=trajectory_log_prob,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "no dynamics",
            "The moves of the world are left out. They do drop out of the gradient, but the "
            "probability itself holds a factor for each of them.",
            moves="torch.ones_like(start[states[1:]])",
        ),
        slip(
            "no start",
            "The probability of the first state is left out: the trajectory has to begin "
            "somewhere, and where it does is drawn as well.",
            first="torch.ones_like(start[0])",
        ),
        slip(
            "policy only",
            "These are the log-probabilities of the actions, added up: enough for the gradient, "
            "but the probability of the trajectory has factors of the world too.",
            first="torch.ones_like(start[0])",
            moves="torch.ones_like(start[states[1:]])",
        ),
        slip(
            "last move left out",
            "The last transition is missing: T actions make T moves, and the last one leads to the "
            "last of the states.",
            see="03_rewards_to_go#C75",
            moves="transitions[states[:-1], actions, states[1:]][:-1]",
        ),
        slip(
            "probability instead of its logarithm",
            "This is the probability itself. Asked for is its logarithm, which stays a number one "
            "can work with when the episode is long.",
            answer="answer.exp()",
        ),
        slip(
            "wrong sign",
            "This is minus the log-probability, as it stands in losses. A probability below 1 has "
            "a logarithm below 0.",
            answer="-answer",
        ),
        slip(
            "no gradient",
            "The number is right, but it has lost its graph: no gradient flows into theta. Look "
            "for detach, no_grad, item, numpy or a new tensor made of old numbers.",
            see="02_policy_gradient#C19",
            answer="answer.detach()",
        ),
        slip(
            "mean over the steps",
            "The policy's terms are averaged over the steps. A product of probabilities turns into "
            "a sum of logarithms, however long it is.",
            see="02_policy_gradient#C19",
            answer="first.log() + log_policy.mean() + moves.log().sum()",
        ),
        slip(
            "mean over the steps, of both",
            "The terms of the steps are averaged. A product of probabilities turns into a sum of "
            "logarithms, however long it is.",
            see="02_policy_gradient#C19",
            answer="first.log() + log_policy.mean() + moves.log().mean()",
        ),
        slip(
            "softmax over the states",
            "The softmax runs down the columns, over the states. One row is one state, and its "
            "probabilities sum to 1 over the actions.",
            see="01_objective#C04",
            log_policy="torch.log_softmax(theta, dim=0)[states[:-1], actions]",
        ),
        slip(
            "logits instead of log-probabilities",
            "The entries of theta were added as they stand. They are logits: what makes of them "
            "probabilities that sum to 1?",
            see="01_objective#C04",
            log_policy="theta[states[:-1], actions]",
        ),
        slip(
            "probabilities of the actions, without a logarithm",
            "The probabilities of the actions were added up, without a logarithm. The logarithm "
            "of a product is a sum of logarithms.",
            see="02_policy_gradient#C19",
            log_policy="torch.softmax(theta, dim=-1)[states[:-1], actions]",
        ),
        slip(
            "logarithm of a sum",
            "The probabilities of the actions were added up before the logarithm was taken. They "
            "are multiplied: what does the logarithm make of that?",
            see="02_policy_gradient#C19",
            log_policy="torch.softmax(theta, dim=-1)[states[:-1], actions].sum().log()",
        ),
        slip(
            "actions in the next state",
            "Each action is looked up in the row of the state that it led to. a_t is chosen in "
            "s_t.",
            log_policy="torch.log_softmax(theta, dim=-1)[states[1:], actions]",
        ),
        slip(
            "likeliest actions",
            "The probability of the likeliest action stands where that of the action taken "
            "belongs. What happened is in `actions`.",
            see="02_policy_gradient#C19",
            log_policy="torch.log_softmax(theta, dim=-1).max(dim=-1).values[states[:-1]]",
        ),
        slip(
            "first action only",
            "Only the first action is counted, and each step has one. Is a total overwritten in "
            "the loop, or does the return stand inside it?",
            see="02_policy_gradient#C19",
            log_policy="torch.log_softmax(theta, dim=-1)[states[:1], actions[:1]]",
        ),
        slip(
            "last action left out",
            "The policy's term of the last step is missing. It is decided in the last state but "
            "one, and there are T actions.",
            see="02_policy_gradient#C19",
            log_policy="torch.log_softmax(theta, dim=-1)[states[:-1], actions][:-1]",
        ),
        slip(
            "what is met twice counts once",
            "A state and action that the trajectory meets twice count once. Each time is a factor "
            "of its own.",
            see="02_policy_gradient#C19",
            log_policy="torch.log_softmax(theta, dim=-1)"
            "[tuple(torch.unique(torch.stack([states[:-1], actions]), dim=1))]",
        ),
        slip(
            "moves read backwards",
            "The moves are read from the state after to the state before. In [s, a, s2] the "
            "state that one leaves comes first.",
            moves="transitions[states[1:], actions, states[:-1]] + 1e-12",
        ),
        slip(
            "world's factors without a logarithm",
            "The probabilities of the start and of the moves were added as they are. The logarithm "
            "of a product is a sum of logarithms, the world's factors included.",
            answer="first + log_policy.sum() + moves.sum()",
        ),
        slip(
            "moves without a logarithm",
            "The probabilities of the moves were added as they are. The logarithm of a product is "
            "a sum of logarithms, the world's factors included.",
            answer="first.log() + log_policy.sum() + moves.sum()",
        ),
        slip(
            "moves averaged over the policy",
            "The world's factor is an average over the actions, so theta gets into it a second "
            "time. The action is known here: it is the one that was taken.",
            moves="torch.einsum('sa,sat->st', torch.softmax(theta, dim=-1), transitions)"
            "[states[:-1], states[1:]]",
        ),
        slip(
            "logarithm to the base 10",
            "This is the logarithm to the base 10. The course takes the natural one, the only one "
            "whose derivative is 1 / x.",
            see="02_policy_gradient#C16",
            answer="answer / math.log(10)",
        ),
        slip(
            "start counted at every step",
            "The start distribution is asked about every state. Only s_0 is drawn from it; the "
            "later ones are drawn from the transitions.",
            answer="answer + (start[states[1:-1]] + 1e-12).log().sum()",
        ),
        slip(
            "end instead of start",
            "The start distribution is asked about the last state. The first one is drawn from "
            "it, states[0].",
            first="start[states[-1]] + 1e-12",
        ),
    ),
    parts=(
        Property("one step", cases=lambda case: len(case["actions"]) == 1),
        Property("a world without chance", 2, cases=_is_sure),
        Property("the log-probability", 2, observations=("log_prob",)),
        Property("its gradient", 2, observations=("gradient",)),
    ),
    accepted=(
        step_by_step,
        by_a_distribution,
        with_a_guard,
        log_of_the_product,
        in_single_precision,
    ),
)
