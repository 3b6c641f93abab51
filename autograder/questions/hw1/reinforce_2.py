"""hw1: the gradient estimate of the note's equation (6) from one episode."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.reinforce_2 import reinforce_2


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    theta = torch.tensor(case["theta"])
    states, actions = torch.tensor(case["states"]), torch.tensor(case["actions"])
    returns = torch.tensor(case["returns"])
    inputs = theta, states, actions, returns, float(case["gamma"])
    gradient = frozen(function(*inputs))
    kept = all(
        untouched(tensor, case[name]) for name, tensor in (("theta", theta), ("returns", returns))
    )
    again = same_again(lambda: function(*inputs), gradient)
    return {"gradient": gradient, "inputs_unchanged": kept, "second_call_agrees": again}


def public_cases() -> list[Case]:
    names = ("theta", "states", "actions", "returns", "gamma")
    rows: list[Any] = [
        ([[0.0, 0.0], [0.0, 0.0]], [0, 1], [1, 0], [3.0, 4.0], 0.5),
        (
            [[0.4, -0.2, 0.1, 0.2], [-1.0, 0.5, 0.3, 0.7], [0.8, 0.0, -0.6, -0.1]],
            [0, 2, 0, 0, 1],
            [1, 0, 1, 2, 0],
            [2.0, -1.5, 0.7, 3.0, 1.2],
            0.9,
        ),
        ([[0.3, -0.3], [1.2, 0.4], [0.1, 0.6]], [1, 1, 0], [1, 1, 1], [-1.0, 0.5, -2.0], 0.7),
        ([[0.6, -0.4, 0.1], [0.2, 0.9, -0.5]], [0], [1], [-1.5], 0.8),
        (
            [[0.1, 0.7, 0.4], [-0.5, 0.2, -0.3], [0.6, 0.0, 0.8], [-0.2, 0.3, 0.9]],
            [0, 1, 0],
            [0, 1, 1],
            [1.5, -0.8, 2.0],
            1.0,
        ),
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
                "returns": 2 * rng.normal(size=length)
                if length > 1
                else -rng.uniform(1, 4, size=1),
                "gamma": gamma or float(rng.uniform(0.6, 0.98)),
            }
        )
    return cases


# Right by other means.


def step_by_step(*given: Any) -> Tensor:
    theta, states, actions, returns, gamma = given
    total = torch.zeros_like(theta)
    for t in range(len(returns)):
        leaf = theta.clone().requires_grad_()
        torch.log(torch.softmax(leaf[states[t]], dim=0)[actions[t]]).backward()
        total += gamma**t * returns[t] * leaf.grad
    return total


def in_numpy(*given: Any) -> Any:
    logits, s, a, returns = (x.numpy() for x in given[:4])
    weights = given[4] ** np.arange(len(s)) * returns
    policy = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    one_hot = np.eye(logits.shape[1])[a]
    gradient = np.zeros_like(logits)
    np.add.at(gradient, s, weights[:, None] * (one_hot - policy[s]))
    return gradient


def with_cross_entropy(*given: Any) -> Any:
    theta, states, actions, returns, gamma = given
    theta = theta.clone().requires_grad_()
    discounts = gamma ** torch.arange(len(returns))  # single precision
    loss = torch.nn.functional.cross_entropy(theta[states], actions, reduction="none")
    (loss * discounts * returns).sum().backward()
    return -theta.grad


# What students write instead.

slip = partial(slip_of, reinforce_2, see="02_policy_gradient#C23")

CHECK = Check(
    title="Gradient with rewards-to-go (REINFORCE-2)",
    reference=reinforce_2,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "drops gamma^t",
            "The discount gamma^t in front of the score is missing. Much code leaves it out, but "
            "then late steps count too much, and the sum is no longer the gradient of the "
            "discounted J: this course keeps it.",
            discounts="torch.ones_like(returns)",
        ),
        slip(
            "wrong sign",
            "This is the negative of the gradient, the direction in which J falls. A loss that an "
            "optimiser makes small has a minus; the estimate that is asked for here points uphill.",
            see="02_policy_gradient#C17",
            answer="-answer",
        ),
        slip(
            "return of step 0 on every step",
            "Every step is weighed with returns[0], the return of the whole episode: that is "
            "REINFORCE-1 again. Here each step is weighed with what comes from it on.",
            weights="returns[0].expand(len(returns))",
        ),
        slip(
            "discount counted from 1",
            "The whole gradient is one factor of gamma too small: time starts at t = 0, so the "
            "first step is not discounted.",
            weights="gamma * discounts * returns",
        ),
        slip(
            "discount runs backwards",
            "The last step has weight 1 and the first the highest power of gamma. Which step of "
            "the episode lies farthest from the start, where J is measured?",
            weights="discounts.flip(0) * returns",
        ),
        slip(
            "one gamma for every step",
            "Each step is multiplied by gamma itself, the same for all. The weight of step t is a "
            "power of gamma that grows with t.",
            weights="gamma * returns",
        ),
        slip(
            "sums the returns again",
            "The returns-to-go that came in were treated as rewards and summed once more. "
            "returns[t] already holds everything from step t on.",
            weights="(discounts * returns).flip(0).cumsum(0).flip(0)",
        ),
        slip(
            "off by one step",
            "Step t is weighed with the return of step t + 1, so the reward of the action itself "
            "is lost. Try an episode of one step: what should come out?",
            before="returns = torch.cat([returns[1:], torch.zeros_like(returns[:1])])",
        ),
        slip(
            "mean over steps instead of sum",
            "The terms are averaged over the steps, which divides the gradient by the episode's "
            "length: long episodes would count less. Equation (6) has a sum over time.",
            see="02_policy_gradient#C21",
            gradient="torch.autograd.grad((weights * log_probs).mean(), theta)[0]",
        ),
        slip(
            "pi instead of log pi",
            "You differentiate pi(a|s) itself. The episodes were already drawn with probability "
            "pi, so a sample mean needs the gradient of log pi.",
            see="02_policy_gradient#C18",
            log_probs="torch.softmax(theta, dim=-1)[states, actions]",
        ),
        slip(
            "softmax applied twice",
            "Probabilities went in where logits are expected, so the softmax was applied twice. "
            "theta already holds logits: one softmax turns them into the policy.",
            see="02_policy_gradient#C19",
            log_probs="torch.log_softmax(torch.softmax(theta, dim=-1), dim=-1)[states, actions]",
        ),
        slip(
            "scores another action than the one taken",
            "You score the action that the policy likes best, not the one that was taken in the "
            "episode. The return belongs to the actions that earned it.",
            see="02_policy_gradient#C19",
            before="actions = theta.argmax(dim=-1)[states]",
        ),
        slip(
            "later visits overwrite earlier ones",
            "Where the episode comes back to a state, the later visit replaces the earlier one. "
            "Every step adds its own term.",
            see="02_policy_gradient#C21",
            gradient="""
                policy = torch.softmax(theta.detach(), dim=-1)
                gradient = torch.zeros_like(policy)
                for state, action, weight in zip(states, actions, weights, strict=True):
                    score = -policy[state]
                    score[action] += 1.0
                    gradient[state] = weight * score
            """,
        ),
        slip(
            "every score with every return",
            "Each score is multiplied with every step's return, (T, T) products in all: either "
            "the shapes broadcast, or both were summed before they were multiplied. Step t goes "
            "with step t only.",
            log_probs="torch.log_softmax(theta, dim=-1)[states, actions, None]",
        ),
        slip(
            "only the entry of the action taken",
            "The entry of the action that was taken is right, but the others of its row are left "
            "at 0. Raising one logit lowers the probability of all other actions: the score of "
            "theta[s, b] is -pi(b|s) for them.",
            see="02_policy_gradient#C16",
            gradient="""
                scores = weights * (1.0 - torch.softmax(theta, dim=-1)[states, actions])
                gradient = torch.zeros_like(theta)
                gradient.index_put_((states, actions), scores, accumulate=True)
            """,
        ),
        slip(
            "softmax over the states",
            "The softmax runs down the columns, so that the probabilities of an action sum to 1 "
            "over the states. In which direction does a policy sum to 1?",
            see="02_policy_gradient#C19",
            log_probs="torch.log_softmax(theta, dim=0)[states, actions]",
        ),
        slip(
            "normalises the returns",
            "The returns were shifted and scaled to mean 0 and spread 1 (a single step even gives "
            "nan). That is a later trick, and it changes the gradient; equation (6) takes them as "
            "they are.",
            before="""
                off = returns - returns.mean()
                spread = (off.square().sum() / (len(off) - 1)).sqrt()  # std, less its warning
                returns = off / (spread + 1e-8)
            """,
        ),
        slip(
            "changes the caller's returns",
            "The gradient is right, but the discount was multiplied into the caller's returns: "
            "whoever uses them next gets other numbers. Write the product to a tensor of its own.",
            weights="returns.mul_(discounts)",
        ),
        slip(
            "gradients pile up in the caller's theta",
            "The first answer is right, and a second call with the same theta gives the sum of "
            "both: backward() adds to the .grad of the theta that came in. Work on a copy of it, "
            "or use torch.autograd.grad.",
            theta="theta.requires_grad_()",
            gradient="""
                (weights * log_probs).sum().backward()
                gradient = theta.grad
            """,
        ),
        slip(
            "gradients pile up between the steps",
            "The first step's term is counted T times, the next one's T - 1 times: backward() "
            "adds to .grad, and it was not cleared between the steps. Each term counts once.",
            see="02_policy_gradient#C21",
            weights="torch.arange(len(returns), 0, -1) * discounts * returns",
        ),
        slip(
            "absolute value of the returns",
            "The returns count without their sign, so actions that led to losses are made more "
            "likely as well. What should happen to them?",
            before="returns = returns.abs()",
        ),
        slip(
            "sums the returns again without gamma^t",
            "The returns-to-go that came in were treated as rewards and discounted and summed once "
            "more, and the gamma^t in front of the score is missing. returns[t] already holds "
            "everything from step t on.",
            weights="(discounts * returns).flip(0).cumsum(0).flip(0) / discounts",
        ),
        slip(
            "discounted return of step 0 on every step",
            "Every score has the return of the whole episode, as in REINFORCE-1, with gamma^t in "
            "front. Step t goes with returns[t], what came after it.",
            weights="discounts * returns[0]",
        ),
        slip(
            "subtracts the mean of the returns",
            "The mean of the returns was subtracted first. As a baseline that is the next "
            "question; here the returns are used as they come.",
            weights="discounts * (returns - returns.mean())",
        ),
        slip(
            "discounted twice",
            "The weight is gamma^(2t). The returns hold the discount from their own step on, and "
            "one gamma^t, from the start of the episode, is all that is added.",
            weights="discounts**2 * returns",
        ),
        slip(
            "logit instead of log pi",
            "Only the entries of the actions taken are moved: the logit was differentiated, not "
            "log pi. Does a softmax stand between theta and the probabilities?",
            log_probs="theta[states, actions]",
        ),
        slip(
            "bonus for entropy",
            "A multiple of the policy's entropy was added, as actor-critic programs do. The "
            "formula has no such term.",
            any_size=True,
            gradient="""
                pi = torch.softmax(theta, dim=-1)[states]
                entropy = -(pi * pi.log()).sum()
                total = (weights * log_probs).sum() + 0.01 * entropy
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
                total = (weights * log_probs).sum() + 0.01 * entropy
                (gradient,) = torch.autograd.grad(total, theta)
            """,
        ),
    ),
    parts=(
        Property(
            "an episode of one step", cases=lambda case: case["returns"].size == 1, beside=True
        ),
        Property("gamma = 1", cases=lambda case: case["returns"].size > 1 and case["gamma"] == 1),
        Property("gamma < 1", 3, cases=lambda case: case["returns"].size > 1 and case["gamma"] < 1),
    ),
    accepted=(step_by_step, in_numpy, with_cross_entropy),
)
