"""hw1: the gradient estimate of the note's equation (3) from one episode."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.reinforce_1 import reinforce_1


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    theta = torch.tensor(case["theta"])
    states, actions = torch.tensor(case["states"]), torch.tensor(case["actions"])
    rewards = torch.tensor(case["rewards"])
    inputs = theta, states, actions, rewards, float(case["gamma"])
    gradient = frozen(function(*inputs))
    kept = all(
        untouched(tensor, case[name]) for name, tensor in (("theta", theta), ("rewards", rewards))
    )
    again = same_again(lambda: function(*inputs), gradient)
    return {"gradient": gradient, "inputs_unchanged": kept, "second_call_agrees": again}


def public_cases() -> list[Case]:
    names = ("theta", "states", "actions", "rewards", "gamma")
    rows: list[Any] = [
        ([[0.0, 0.0], [0.0, 0.0]], [0, 1], [1, 0], [1.0, 2.0], 0.5),
        (
            [[0.4, -0.2, 0.1, 0.2], [-1.0, 0.5, 0.3, 0.7], [0.8, 0.0, -0.6, -0.1]],
            [0, 2, 0, 0, 1],
            [1, 0, 1, 2, 0],
            [0.5, -1.0, 2.0, 0.3, 1.5],
            0.9,
        ),
        (
            [[0.3, -0.3, 0.2], [1.2, 0.4, -0.7], [0.1, 0.6, 0.5], [-0.2, 0.0, 0.9]],
            [1, 1, 0],
            [1, 1, 1],
            [-1.0, 0.5, -2.0],
            1.0,
        ),
        ([[0.6, -0.4, 0.1], [0.2, 0.9, -0.5]], [0], [1], [-1.5], 0.8),
    ]
    return [dict(zip(names, map(np.array, row), strict=True)) for row in rows]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    lengths = [1, *rng.choice(np.arange(3, 13), size=4, replace=False)]
    gammas = None, 1.0, None, None, None
    lasts = 0, 0, 0, 1, 1  # whether the last state and the last action may occur
    for length, gamma, last in zip(lengths, gammas, lasts, strict=True):
        states, actions = (int(n) for n in rng.choice(np.arange(3, 7), size=2, replace=False))
        cases.append(
            {
                "theta": rng.uniform(-2, 2, size=(states, actions)),
                "states": rng.integers(states - 1 + last, size=length),
                "actions": rng.integers(actions - 1 + last, size=length),
                "rewards": rng.normal(size=length) if length > 1 else -rng.uniform(0.5, 2, size=1),
                "gamma": gamma or float(rng.uniform(0.6, 0.98)),
            }
        )
    return cases


# Right by other means.


def by_counting(*given: Any) -> Tensor:
    theta, states, actions, rewards, gamma = given
    policy = torch.softmax(theta, dim=-1)
    gradient = torch.zeros_like(theta)
    episode_return = sum(gamma**t * float(r) for t, r in enumerate(rewards))
    for s, a in zip(states.tolist(), actions.tolist(), strict=True):
        gradient[s] -= policy[s]
        gradient[s, a] += 1.0
    return episode_return * gradient


def by_backward(*given: Any) -> Any:
    theta, states, actions, rewards, gamma = given
    theta = theta.clone().requires_grad_()
    distribution = torch.distributions.Categorical(logits=theta[states])
    discounts = torch.tensor([gamma**t for t in range(len(rewards))])  # single precision
    loss = -(discounts * rewards).sum() * distribution.log_prob(actions).sum()
    loss.backward()
    return -theta.grad


def in_numpy(*given: Any) -> Any:
    logits, s, a, rewards = (x.numpy() for x in given[:4])
    policy = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    gradient = np.zeros_like(logits)
    np.add.at(gradient, (s, a), 1.0)
    np.subtract.at(gradient, s, policy[s])
    return float(rewards @ given[4] ** np.arange(len(s))) * gradient


def in_single_precision(*given: Any) -> Tensor:
    theta, states, actions, rewards, gamma = given
    return reinforce_1(theta.float(), states, actions, rewards.float(), gamma)


# What students write instead.

slip = partial(slip_of, reinforce_1, see="02_policy_gradient#C19")

CHECK = Check(
    title="Gradient from one episode (REINFORCE-1)",
    reference=reinforce_1,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "wrong sign",
            "This is the negative of the gradient, the direction in which J falls. A loss that an "
            "optimiser makes small has a minus; the estimate that is asked for here points uphill.",
            see="02_policy_gradient#C17",
            answer="-answer",
        ),
        slip(
            "ignores gamma",
            "R(tau) is summed without discounting. In R(tau) the reward of step t weighs gamma^t.",
            see="02_policy_gradient#C21",
            discounts="torch.ones_like(rewards)",
        ),
        slip(
            "rewards-to-go instead of the whole return",
            "You weigh each step with the rewards from it on: that is REINFORCE-2, right in the "
            "mean and the next question. Equation (3) weighs every step with the same R(tau).",
            see="02_policy_gradient#C21",
            episode_return="(discounts * rewards).flip(0).cumsum(0).flip(0)",
        ),
        slip(
            "immediate reward only",
            "Each score is weighed with its own step's reward alone. Then no action is credited "
            "with what it leads to; which weight does every step share in (3)?",
            see="02_policy_gradient#C21",
            episode_return="discounts * rewards",
        ),
        slip(
            "gamma^t on the score as well",
            "The discount is applied twice: inside R(tau), where it belongs, and again in front of "
            "each step's score. Look at (3): nothing but R(tau) stands in front of the sum.",
            see="02_policy_gradient#C20",
            episode_return="discounts * (discounts * rewards).sum()",
        ),
        slip(
            "pi instead of log pi",
            "You differentiate pi(a|s) itself. The episodes were already drawn with probability "
            "pi, so a sample mean needs the gradient of log pi: that is what the log-derivative "
            "trick is for.",
            see="02_policy_gradient#C18",
            log_probs="torch.softmax(theta, dim=-1)[states, actions]",
        ),
        slip(
            "mean over steps instead of sum",
            "A mean over the steps stands where a sum belongs, over the scores or in R(tau), which "
            "divides the gradient by the episode's length. Both are sums over the steps.",
            gradient="torch.autograd.grad((episode_return * log_probs).mean(), theta)[0]",
        ),
        slip(
            "softmax applied twice",
            "Probabilities went in where logits are expected, so the softmax was applied twice. "
            "theta already holds logits: one softmax turns them into the policy.",
            log_probs="torch.log_softmax(torch.softmax(theta, dim=-1), dim=-1)[states, actions]",
        ),
        slip(
            "softmax over the states",
            "The softmax runs down the columns, so that the probabilities of an action sum to 1 "
            "over the states. In which direction does a policy sum to 1?",
            log_probs="torch.log_softmax(theta, dim=0)[states, actions]",
        ),
        slip(
            "logit instead of log pi",
            "You differentiate the logit theta[s, a] of the action. log pi(a|s) also holds the "
            "softmax's normaliser, which pushes the other actions down.",
            see="02_policy_gradient#C16",
            log_probs="theta[states, actions]",
        ),
        slip(
            "scores another action than the one taken",
            "You score the action that the policy likes best, not the one that was taken in the "
            "episode. The return belongs to the actions that earned it.",
            before="actions = theta.argmax(dim=-1)[states]",
        ),
        slip(
            "repeated visits counted once",
            "A state that the episode visits twice is counted once. Adding with a list of indices "
            "writes each place only once, even where an index comes up again.",
            gradient="""
                policy = torch.softmax(theta.detach(), dim=-1)
                gradient = torch.zeros_like(policy)
                gradient[states] -= policy[states]
                gradient[states, actions] += 1.0
                gradient = episode_return * gradient
            """,
        ),
        slip(
            "later visits overwrite earlier ones",
            "Where the episode comes back to a state, the later visit replaces the earlier one. "
            "Every step adds its own term.",
            gradient="""
                policy = torch.softmax(theta.detach(), dim=-1)
                gradient = torch.zeros_like(policy)
                for state, action in zip(states, actions, strict=True):
                    gradient[state] = -policy[state]
                    gradient[state, action] += 1.0
                gradient = episode_return * gradient
            """,
        ),
        slip(
            "rewards-to-go without gamma^t",
            "You weigh each step with the rewards from it on, counted from that step: that is the "
            "next question, without its gamma^t. Equation (3) weighs every step with the same "
            "R(tau).",
            see="02_policy_gradient#C21",
            episode_return="(discounts * rewards).flip(0).cumsum(0).flip(0) / discounts",
        ),
        slip(
            "returns theta after a step",
            "This is theta plus the gradient, a step already taken. Asked for is the gradient "
            "alone; how far to go is decided by whoever holds the learning rate.",
            see="02_policy_gradient#C17",
            answer="theta + answer",
        ),
        slip(
            "only the entry of the action taken",
            "The entry of the action that was taken is right, but the others of its row are left "
            "at 0. Raising one logit lowers the probability of all other actions: the score of "
            "theta[s, b] is -pi(b|s) for them.",
            see="02_policy_gradient#C16",
            gradient="""
                scores = episode_return * (1.0 - torch.softmax(theta, dim=-1)[states, actions])
                gradient = torch.zeros_like(theta)
                gradient.index_put_((states, actions), scores, accumulate=True)
            """,
        ),
        slip(
            "gradients pile up in the caller's theta",
            "The first answer is right, and a second call with the same theta gives the sum of "
            "both: backward() adds to the .grad of the theta that came in. Work on a copy of it, "
            "or use torch.autograd.grad.",
            theta="theta.requires_grad_()",
            gradient="""
                (episode_return * log_probs).sum().backward()
                gradient = theta.grad
            """,
        ),
        slip(
            "recursion runs forwards",
            "R(tau) was added up with the last reward at full weight and the first at the highest "
            "power of gamma. The discount counts from the start: a recursion for it begins at the "
            "end.",
            see="02_policy_gradient#C21",
            episode_return="(discounts.flip(0) * rewards).sum()",
        ),
        slip(
            "gradients pile up between the steps",
            "The first step's score is counted T times, the next one's T - 1 times: backward() "
            "adds to .grad, and it was not cleared between the steps. Each score counts once.",
            episode_return="torch.arange(len(rewards), 0, -1) * (discounts * rewards).sum()",
        ),
        slip(
            "bonus for entropy",
            "A multiple of the policy's entropy was added, as actor-critic programs do. The "
            "formula has no such term.",
            any_size=True,
            gradient="""
                pi = torch.softmax(theta, dim=-1)[states]
                entropy = -(pi * pi.log()).sum()
                total = (episode_return * log_probs).sum() + 0.01 * entropy
                (gradient,) = torch.autograd.grad(total, theta)
            """,
        ),
        slip(
            "bonus for the mean entropy",
            "A multiple of the policy's entropy, a mean over the steps, was added, as actor-critic "
            "programs do. The formula has no such term.",
            any_size=True,
            gradient="""
                pi = torch.softmax(theta, dim=-1)[states]
                entropy = -(pi * pi.log()).sum(dim=-1).mean()
                total = (episode_return * log_probs).sum() + 0.01 * entropy
                (gradient,) = torch.autograd.grad(total, theta)
            """,
        ),
    ),
    parts=(
        Property(
            "an episode of one step", cases=lambda case: case["rewards"].size == 1, beside=True
        ),
        Property("gamma = 1", cases=lambda case: case["rewards"].size > 1 and case["gamma"] == 1),
        Property("gamma < 1", 3, cases=lambda case: case["rewards"].size > 1 and case["gamma"] < 1),
    ),
    accepted=(by_counting, by_backward, in_numpy, in_single_precision),
)
