"""hw2: PPO's minibatch steps on one batch, with any smooth objective."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.ppo_update import ppo_update


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    names = ("theta", "states", "actions", "advantages", "minibatches")
    inputs: list[Any] = [torch.tensor(case[name]) for name in names]

    # Not PPO's objective: any smooth one will do, and this one tells apart what goes in.
    def objective(*given: Any) -> torch.Tensor:
        if len(given) != 3:
            raise TypeError(
                f"objective was given {len(given)} arguments: it takes log_probs, old_log_probs "
                "and advantages of one minibatch"
            )
        log_probs, old_log_probs, advantages = given
        moved = log_probs - old_log_probs
        terms = advantages * torch.sin(moved) - 0.4 * moved**2 + 0.2 * old_log_probs * log_probs
        return terms.double().mean()

    inputs += [objective, float(case["learning_rate"])]
    last = function(*inputs)
    graph = isinstance(last, torch.Tensor) and last.grad_fn is not None
    last = frozen(last)
    kept = all(untouched(x, case[name]) for name, x in zip(names, inputs, strict=False))
    again = same_again(lambda: function(*inputs), last)
    return {
        "theta": last,
        "without_a_graph": not graph,
        "inputs_unchanged": kept,
        "second_call_agrees": again,
    }


def public_cases() -> list[Case]:
    batch = {
        "states": np.array([0, 1, 0, 2, 1, 0]),
        "actions": np.array([1, 0, 0, 1, 1, 1]),
        "advantages": np.array([1.0, -0.5, 2.0, -1.5, 0.7, -0.3]),
    }
    theta = np.array([[0.4, -0.3, 0.5], [-0.6, 0.9, 0.0], [0.1, 0.2, -0.7], [0.3, -0.1, 0.6]])
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
            "minibatches": np.array([[5, 3, 4]]),
            "learning_rate": 0.8,
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
    for index in range(4):
        states, actions, size, parts = (int(n) for n in rng.integers([4, 3, 4, 3], [6, 6, 6, 5]))
        last = int(index > 1)  # whether the last state and the last action may occur
        epochs = [rng.permutation(size * parts).reshape(parts, size) for _ in range(2)]
        cases.append(
            {
                "theta": rng.uniform(-2, 2, size=(states, actions)),
                "states": rng.integers(states - 1 + last, size=size * parts),
                "actions": rng.integers(actions - 1 + last, size=size * parts),
                "advantages": 1.5 * rng.normal(size=size * parts),
                "minibatches": np.concatenate(epochs) if index else epochs[0][:1],
                "learning_rate": float(rng.uniform(0.4, 1.0)),
            }
        )
    return cases


# Right by other means.


def with_an_optimiser(*given: Any) -> Tensor:
    theta, states, actions, advantages, minibatches, objective, learning_rate = given
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


def in_place_on_a_copy(*given: Any) -> Any:
    theta, states, actions, advantages, minibatches, objective, learning_rate = given
    current = theta.clone().requires_grad_(True)
    old = torch.log(torch.softmax(theta, -1))[states, actions].detach()
    for k in range(minibatches.shape[0]):
        rows = minibatches[k].tolist()
        new = torch.log(torch.softmax(current, -1))[states, actions]
        objective(new[rows], old[rows], advantages[rows]).backward()
        with torch.no_grad():
            assert current.grad is not None
            current += learning_rate * current.grad
            current.grad = None
    return current.detach()


def in_single_precision(*given: Any) -> Tensor:
    theta, states, actions, advantages, *others = given
    return ppo_update(theta.float(), states, actions, advantages.float(), *others)


# What students write instead.

slip = partial(slip_of, ppo_update, see="07_ppo#C87")

CHECK = Check(
    title="PPO's update on one batch",
    reference=ppo_update,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "changes the caller's theta",
            "The steps are right, but they were written into the theta that came in: the caller "
            "loses the old policy. Work on a copy.",
            theta_2="theta.add_(learning_rate * gradient)",
        ),
        slip(
            "descends",
            "theta moves so that the objective falls. It is to be made large: ascend it, or "
            "descend its negative.",
            theta_2="theta - learning_rate * gradient",
        ),
        slip(
            "old policy refreshed on every minibatch",
            "The old log-probabilities are computed anew before each minibatch, so every step "
            "believes it starts at the old policy and nothing holds the sum of them. The old "
            "policy is the one that collected the batch.",
            see="07_ppo#C65",
            gain="objective(log_probs, log_probs.detach(), advantages[rows])",
        ),
        slip(
            "old policy is the current one, in the graph",
            "The old log-probabilities are computed from the current theta and differentiated "
            "along with the new ones. They are fixed numbers, known before the first step.",
            see="07_ppo#C65",
            gain="objective(log_probs, log_probs, advantages[rows])",
        ),
        slip(
            "advantages of other steps",
            "The log-probabilities are those of the minibatch, the advantages those of the first "
            "steps of the batch. All three arguments need the same rows.",
            gain="objective(log_probs, old_log_probs[rows], advantages[: len(rows)])",
        ),
        slip(
            "old log-probabilities of other steps",
            "The new log-probabilities are those of the minibatch, the old ones those of the first "
            "steps of the batch. All three arguments need the same rows.",
            gain="objective(log_probs, old_log_probs[: len(rows)], advantages[rows])",
        ),
        slip(
            "whole batch on every step",
            "Every step uses the whole batch. Row k of minibatches says which steps minibatch k is "
            "made of.",
            rows="[slice(None)] * len(minibatches)",
        ),
        slip(
            "first rows on every step",
            "Every step uses the first M steps of the batch: the length of the row is used, but "
            "not the indices in it.",
            rows="[slice(minibatches.shape[1])] * len(minibatches)",
        ),
        slip(
            "old and new swapped",
            "The objective gets the old log-probabilities in the place of the new ones. Its first "
            "argument is the policy that moves.",
            see="07_ppo#C62",
            gain="objective(old_log_probs[rows], log_probs, advantages[rows])",
        ),
        slip(
            "probabilities instead of logarithms",
            "The objective gets probabilities. It asks for log-probabilities, old and new.",
            see="07_ppo#C62",
            gain="objective(log_probs.exp(), old_log_probs[rows].exp(), advantages[rows])",
        ),
        slip(
            "normalises the advantages",
            "The advantages were shifted and scaled to mean 0 and spread 1 first. That is the "
            "caller's choice; here they are used as they come.",
            see="07_ppo#C68",
            before="advantages = (advantages - advantages.mean()) / "
            "(advantages.std(correction=0) + 1e-8)",
        ),
        slip(
            "every gradient at the old theta",
            "Each minibatch's gradient is taken at the theta that came in. A step starts from "
            "where the last one arrived; that is why the ratio moves away from 1.",
            see="07_ppo#C66",
            before="start = theta.detach()",
            leaf="start.clone().requires_grad_()",
        ),
        slip(
            "first minibatch only",
            "Only the first minibatch has an effect: does the return stand inside the loop?",
            see="07_ppo#C65",
            rows="minibatches[:1]",
        ),
        slip(
            "gradients pile up",
            "Every step adds the gradients of all earlier minibatches again. Is something carried "
            "over that should start at zero (a .grad that was not cleared)?",
            before="total = torch.zeros_like(theta)",
            theta_2="""
                total = total + gradient
                theta = theta + learning_rate * total
            """,
        ),
        slip(
            "returns where it started",
            "What comes back is the theta that came in. Is the result of the steps kept, and is it "
            "what is returned?",
            theta_2="theta",
        ),
        slip(
            "no learning rate",
            "The gradient is added at full length. The learning rate scales each step.",
            theta_2="theta + gradient",
        ),
        slip(
            "normalises the advantages by n - 1",
            "The advantages were shifted and scaled to mean 0 and spread 1 (torch's std divides by "
            "n - 1, so a single one even gives nan). That is the caller's choice; here they "
            "are used as they come.",
            see="07_ppo#C68",
            before="advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)",
        ),
        slip(
            "normalises the advantages of each minibatch",
            "The advantages of each minibatch were shifted and scaled to mean 0 and spread 1. Many "
            "programs do that, and it is a choice of its own; here they are used as they come.",
            see="07_ppo#C68",
            gain="""
                weights = advantages[rows]
                weights = (weights - weights.mean()) / (weights.std() + 1e-8)
                gain = objective(log_probs, old_log_probs[rows], weights)
            """,
        ),
        slip(
            "last minibatch only",
            "Only the last minibatch has an effect: does each step start from the theta that came "
            "in? It should start from where the last one arrived.",
            see="07_ppo#C65",
            rows="minibatches[-1:]",
        ),
        slip(
            "keeps its graph",
            "The numbers are right, but the answer still hangs on the graph of all steps, which "
            "grows with every batch. A gradient that is not differentiated again needs none.",
            gradient="torch.autograd.grad(gain, leaf, create_graph=True)[0]",
        ),
        slip(
            "old policy in the graph",
            "The old log-probabilities are those of the first theta, but gradients flow into them "
            "as well. They are fixed numbers: detach them.",
            see="07_ppo#C65",
            before="start = theta.detach()",
            gain="""
                first = start.clone().requires_grad_()
                old = torch.log_softmax(first, dim=-1)[states, actions]
                gain = objective(log_probs, old[rows], advantages[rows])
            """,
            gradient="sum(torch.autograd.grad(gain, [leaf, first]))",
        ),
        slip(
            "normalises the advantages of each minibatch by n",
            "The advantages of each minibatch were shifted and scaled to mean 0 and spread 1. Many "
            "programs do that, and it is a choice of its own; here they are used as they come.",
            see="07_ppo#C68",
            gain="""
                weights = advantages[rows]
                weights = (weights - weights.mean()) / (weights.std(correction=0) + 1e-8)
                gain = objective(log_probs, old_log_probs[rows], weights)
            """,
        ),
        slip(
            "one step for all minibatches",
            "One step is made on the mean over the minibatches. Each minibatch gets a step of its "
            "own, from where the last one arrived.",
            see="07_ppo#C66",
            before="start = theta.detach()",
            leaf="start.clone().requires_grad_()",
            theta_2="theta + learning_rate / len(minibatches) * gradient",
        ),
        slip(
            "slices in order",
            "The minibatches are slices of the batch in order. Row k of minibatches says which "
            "steps minibatch k is made of.",
            rows="(torch.arange(minibatches.numel()) % len(states)).view_as(minibatches)",
        ),
        slip(
            "learning rate decays",
            "The learning rate gets smaller from minibatch to minibatch. Here it stays as it is.",
            before="left = 1.0",
            theta_2="""
                theta = theta + left * learning_rate * gradient
                left -= 1 / len(minibatches)
            """,
        ),
        slip(
            "steps of Adam",
            "These are steps of Adam, which scales each entry by its own past. Asked for are plain "
            "steps: the learning rate times the gradient.",
            before="mean, square, k = 0.0, 0.0, 0",
            theta_2="""
                mean = 0.9 * mean + 0.1 * gradient
                square = 0.999 * square + 0.001 * gradient**2
                k += 1
                spread = (square / (1 - 0.999**k)).sqrt() + 1e-8
                theta = theta + learning_rate * mean / (1 - 0.9**k) / spread
            """,
        ),
        slip(
            "steps of Adam with a larger epsilon",
            "These are steps of Adam, which scales each entry by its own past. Asked for are plain "
            "steps: the learning rate times the gradient.",
            before="mean, square, k = 0.0, 0.0, 0",
            theta_2="""
                mean = 0.9 * mean + 0.1 * gradient
                square = 0.999 * square + 0.001 * gradient**2
                k += 1
                spread = (square / (1 - 0.999**k)).sqrt() + 1e-5
                theta = theta + learning_rate * mean / (1 - 0.9**k) / spread
            """,
        ),
        slip(
            "own objective instead of the given one",
            "The objective that came in has no effect: each step climbs the mean of ratio times "
            "advantage, without a clip. Call `objective` with the three arguments it asks for.",
            gain="(torch.exp(log_probs - old_log_probs[rows]) * advantages[rows]).mean()",
        ),
        slip(
            "log-probability instead of the given objective",
            "The objective that came in has no effect: each step climbs the mean of log pi "
            "times advantage. Call `objective` with the three arguments it asks for.",
            gain="(log_probs * advantages[rows]).mean()",
        ),
        slip(
            "gradient clipped to length 0.5",
            "Long gradients are cut to length 0.5, as PPO programs do. Asked for are plain steps: "
            "the learning rate times the gradient.",
            theta_2="""
                cut = (0.5 / (gradient.norm() + 1e-6)).clamp(max=1.0)
                theta = theta + learning_rate * cut * gradient
            """,
        ),
        slip(
            "columns as minibatches",
            "The columns of `minibatches` are used. Row k says which steps minibatch k is made of.",
            rows="minibatches.T",
        ),
        slip(
            "old policy one step behind",
            "The old log-probabilities are those before the last step. The old policy is the one "
            "that collected the batch, theta as it came in, for all minibatches.",
            see="07_ppo#C65",
            before="previous = theta.detach()",
            gain="""
                old = torch.log_softmax(previous, dim=-1)[states, actions]
                gain = objective(log_probs, old[rows], advantages[rows])
            """,
            theta_2="""
                previous = theta
                theta = theta + learning_rate * gradient
            """,
        ),
        slip(
            "softmax over the states",
            "The softmax runs down the columns, over the states. One row is one state, and its "
            "probabilities sum to 1 over the actions.",
            old_log_probs="torch.log_softmax(theta, dim=0)[states, actions]",
            log_probs="torch.log_softmax(leaf, dim=0)[states[rows], actions[rows]]",
        ),
        slip(
            "old policy in the graph of the first step",
            "The old log-probabilities come from the parameters that the first step "
            "differentiates, so that its gradient flows into both. They are fixed numbers: detach "
            "them.",
            see="07_ppo#C65",
            before="""
                first = theta.detach().clone().requires_grad_()
                old = torch.log_softmax(first, dim=-1)[states, actions]
                at_first = True
            """,
            gain="objective(log_probs, old[rows], advantages[rows])",
            gradient="""
                (gradient,) = torch.autograd.grad(gain, leaf, retain_graph=True)
                if at_first:
                    gradient = gradient + torch.autograd.grad(gain, first, retain_graph=True)[0]
                at_first = False
            """,
        ),
    ),
    parts=(
        Property("one minibatch", 3, cases=lambda case: len(case["minibatches"]) == 1),
        Property("several minibatches", 4, cases=lambda case: len(case["minibatches"]) > 1),
    ),
    accepted=(with_an_optimiser, in_place_on_a_copy, in_single_precision),
)
