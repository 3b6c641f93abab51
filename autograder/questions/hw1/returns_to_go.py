"""hw1: discounted rewards-to-go of one episode."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.returns_to_go import returns_to_go


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    rewards = torch.tensor(case["rewards"])
    gamma = float(case["gamma"])
    returns = frozen(function(rewards, gamma))
    kept = untouched(rewards, case["rewards"])
    again = same_again(lambda: function(rewards, gamma), returns)
    return {"returns": returns, "rewards_unchanged": kept, "second_call_agrees": again}


def public_cases() -> list[Case]:
    return [
        {"rewards": np.array([1.0, 0.0, 2.0]), "gamma": 0.5},
        {"rewards": np.array([1.0, -2.0, 0.5, 3.0, -1.0]), "gamma": 0.9},
        {"rewards": np.array([2.0, 1.5, -1.0, 4.0]), "gamma": 1.0},
        {"rewards": np.array([0.5, -1.5, 3.0]), "gamma": 0.0},
        {"rewards": np.array([-0.7]), "gamma": 0.9},
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    lengths = [1, *rng.choice(np.arange(2, 15), size=4, replace=False)]
    gammas = [0.9, 0.0, 1.0, *rng.uniform(0.5, 0.99, size=2)]
    return [
        {"rewards": rng.normal(size=length), "gamma": float(gamma)}
        for length, gamma in zip(lengths, gammas, strict=True)
    ]


# Right by other means.


def as_a_matrix(rewards: Tensor, gamma: float) -> Tensor:
    steps = torch.arange(len(rewards))
    distance = steps[None, :] - steps[:, None]
    powers = gamma ** distance.clamp(min=0)
    return torch.triu(powers).to(rewards.dtype) @ rewards


def in_numpy(rewards: Tensor, gamma: float) -> Any:
    values = rewards.numpy().copy()
    for t in range(len(values) - 2, -1, -1):
        values[t] = values[t] + gamma * values[t + 1]
    return values


def in_single_precision(rewards: Tensor, gamma: float) -> Tensor:
    out = torch.zeros(len(rewards))
    for t in range(len(rewards)):
        for k in range(t, len(rewards)):
            out[t] += gamma ** (k - t) * rewards[k]
    return out


def of_python_floats(rewards: Tensor, gamma: float) -> Tensor:
    out: list[float] = []
    total = 0.0
    for reward in reversed(rewards.tolist()):
        total = reward + gamma * total
        out.insert(0, total)
    return torch.tensor(out)


# What students write instead.

slip = partial(slip_of, returns_to_go, see="02_policy_gradient#C23")

CHECK = Check(
    title="Rewards-to-go",
    reference=returns_to_go,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "changes its input",
            "The returns are right, but the caller's rewards were overwritten on the way. "
            "Whoever uses them next (to compute R(tau), say) gets returns without knowing: "
            "write the result to a tensor of its own.",
            answer="rewards.copy_(answer)",
        ),
        slip(
            "ignores gamma",
            "All later rewards are added up at full weight, as if gamma were 1. "
            "How much should a reward count that comes two steps later?",
            see="02_policy_gradient#C21",
            following_2="reward + following",
        ),
        slip(
            "sums past rewards",
            "At each step you sum the rewards up to that step, the past. An action cannot change "
            "what was paid before it: which rewards can it still influence?",
            see="02_policy_gradient#C22",
            reward="rewards",
            answer="torch.stack(returns)",
        ),
        slip(
            "in reverse order",
            "The numbers are right, but they stand back to front: entry 0 holds the return of the "
            "last step. If you walk through time backwards, turn the result round at the end.",
            answer="torch.stack(returns)",
        ),
        slip(
            "off by one step",
            "Entry t holds the return from step t + 1 on, so the reward that action a_t itself "
            "earned is missing. Try an episode of one step: what should come out?",
            answer="torch.cat([answer[1:], torch.zeros_like(answer[:1])])",
        ),
        slip(
            "own reward left out",
            "The reward of step t itself is missing from entry t. The sum starts at k = t, where "
            "the power of gamma is 0.",
            answer="answer - rewards",
        ),
        slip(
            "leaves entry 0 out",
            "Entry 0 is still zero, and all others are right: where does your loop end? range(a, "
            "b) stops before it reaches b, also on the way down.",
            answer="answer[0] = 0.0",
        ),
        slip(
            "immediate reward only",
            "Each step gets its own reward and nothing that follows. An action is also to be "
            "credited with what it makes possible later.",
            following_2="reward",
        ),
        slip(
            "looks one step ahead only",
            "Each step gets its own reward and the next one, and the rest of the episode is left "
            "out. What stands behind gamma in the recursion is a return, not a reward.",
            answer="rewards + gamma * torch.cat([rewards[1:], torch.zeros_like(rewards[:1])])",
        ),
        slip(
            "return of step 0 on every step",
            "Every step is given the return of the whole episode. That still leads to an unbiased "
            "gradient, but it carries the past along as noise; here each step counts only what "
            "comes from it on.",
            answer="answer[0].expand(len(rewards))",
        ),
        slip(
            "discounts from the start of the episode",
            "The reward at time k is weighed with gamma^k, counted from the start of the episode. "
            "G_t counts time from step t on, so that its first reward has weight 1.",
            before="rewards = gamma ** torch.arange(len(rewards), dtype=rewards.dtype) * rewards",
            following_2="reward + following",
        ),
        slip(
            "discounts the first reward too",
            "Everything is one factor of gamma too small: the step's own reward is discounted as "
            "well. Which power of gamma belongs to a reward that is paid at once?",
            answer="gamma * answer",
        ),
        slip(
            "normalises the returns",
            "The returns were shifted and scaled to mean 0 and spread 1. That is a later trick "
            "(a kind of baseline); here the plain discounted sums are asked for.",
            answer="(answer - answer.mean()) / (answer.std(correction=0) + 1e-8)",
        ),
        slip(
            "normalises the returns by n - 1",
            "The returns were shifted and scaled to mean 0 and spread 1 (torch's std divides by "
            "n - 1, so a single step even gives nan). That is a later trick; here the plain "
            "discounted sums are asked for.",
            answer="""
                off = answer - answer.mean()
                spread = (off.square().sum() / (len(off) - 1)).sqrt()  # std, less its warning
                answer = off / (spread + 1e-8)
            """,
        ),
        slip(
            "entry 0 is the bare reward",
            "Entry 0 holds the first reward and nothing that follows, and all others are right: "
            "where does your loop end? range(a, b) stops before it reaches b, also on the way "
            "down.",
            answer="answer[0] = rewards[0]",
        ),
        slip(
            "last reward left out",
            "The last reward is in none of the sums, and the last entry is 0. Where does your loop "
            "begin, and what is G_t at the last step?",
            before="rewards = torch.cat([rewards[:-1], torch.zeros_like(rewards[:1])])",
        ),
        slip(
            "last reward counted twice",
            "The running sum starts at the last reward and then adds it once more, so all entries "
            "hold too much. What is the sum of all that comes after the last step?",
            following_1="rewards[-1]",
        ),
        slip(
            "past rewards as well",
            "Each step collects the rewards before it too, discounted backwards. What is to go "
            "begins at the step itself: where is the sum cut below?",
            answer="""
                apart = torch.arange(len(rewards))[:, None] - torch.arange(len(rewards))
                answer = gamma ** apart.abs().to(rewards.dtype) @ rewards
            """,
        ),
        slip(
            "subtracts the mean of the returns",
            "The mean of the returns was subtracted. As a baseline that is a later step; here the "
            "returns themselves are asked for.",
            answer="answer - answer.mean()",
        ),
    ),
    parts=(
        Property(
            "an episode of one step", cases=lambda case: len(case["rewards"]) == 1, beside=True
        ),
        Property("gamma = 0", cases=lambda case: case["gamma"] == 0, beside=True),
        Property("gamma = 1", 2, cases=lambda case: case["gamma"] == 1),
        Property(
            "gamma between",
            3,
            cases=lambda case: len(case["rewards"]) > 1 and 0 < case["gamma"] < 1,
        ),
    ),
    accepted=(as_a_matrix, in_numpy, in_single_precision, of_python_floats),
)
