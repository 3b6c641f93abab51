"""hw1: discounted rewards-to-go of one episode."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Misconception
from autograder.questions.tolerance import TOLERANCE
from autograder.student.wire import Arrays
from course_lib.reference.answers.returns_to_go import returns_to_go


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    rewards = torch.tensor(case["rewards"])
    returns = function(rewards, float(case["gamma"]))
    kept = np.array_equal(rewards.detach().numpy(), case["rewards"])
    return {"returns": returns, "rewards_unchanged": kept}


def public_cases() -> list[Case]:
    return [
        {"rewards": np.array([1.0, 0.0, 2.0]), "gamma": 0.5},
        {"rewards": np.array([1.0, -2.0, 0.5, 3.0, -1.0]), "gamma": 0.9},
        {"rewards": np.array([2.0, 1.0, -1.0, 4.0]), "gamma": 1.0},
        {"rewards": np.array([-0.7]), "gamma": 0.9},
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    lengths = [1, *rng.choice(np.arange(2, 15), size=4, replace=False)]
    gammas = [0.9, 0.0, 1.0, *rng.uniform(0.5, 0.99, size=2)]
    return [
        {"rewards": rng.normal(size=length), "gamma": float(gamma)}
        for length, gamma in zip(lengths, gammas, strict=True)
    ]


# What students write instead.


def ignores_gamma(rewards: Tensor, gamma: float) -> Tensor:
    return rewards.flip(0).cumsum(0).flip(0)


def sums_the_past(rewards: Tensor, gamma: float) -> Tensor:
    returns, total = [], torch.zeros(())
    for reward in rewards:
        total = reward + gamma * total
        returns.append(total)
    return torch.stack(returns)


def in_reverse_order(rewards: Tensor, gamma: float) -> Tensor:
    returns, total = [], torch.zeros(())
    for reward in rewards.flip(0):
        total = reward + gamma * total
        returns.append(total)
    return torch.stack(returns)


def _right(rewards: Tensor, gamma: float) -> Tensor:
    return in_reverse_order(rewards, gamma).flip(0)


def one_step_late(rewards: Tensor, gamma: float) -> Tensor:
    return torch.cat([_right(rewards, gamma)[1:], torch.zeros(1, dtype=rewards.dtype)])


def own_reward_left_out(rewards: Tensor, gamma: float) -> Tensor:
    return _right(rewards, gamma) - rewards


def leaves_entry_0_out(rewards: Tensor, gamma: float) -> Tensor:
    returns = _right(rewards, gamma)
    returns[0] = 0.0
    return returns


def normalises_over_n_less_one(rewards: Tensor, gamma: float) -> Tensor:
    off = _right(rewards, gamma) - _right(rewards, gamma).mean()
    spread = (off.square().sum() / (len(off) - 1)).sqrt()  # torch's std, less its warning
    return off / (spread + 1e-8)


def immediate_reward_only(rewards: Tensor, gamma: float) -> Tensor:
    return rewards.clone()


def looks_one_step_ahead(rewards: Tensor, gamma: float) -> Tensor:
    return rewards + gamma * torch.cat([rewards[1:], torch.zeros(1, dtype=rewards.dtype)])


def whole_return_on_every_step(rewards: Tensor, gamma: float) -> Tensor:
    return _right(rewards, gamma)[0].expand(len(rewards)).clone()


def discounts_from_the_start(rewards: Tensor, gamma: float) -> Tensor:
    discounts = gamma ** torch.arange(len(rewards), dtype=rewards.dtype)
    return (discounts * rewards).flip(0).cumsum(0).flip(0)


def discounts_the_first_reward(rewards: Tensor, gamma: float) -> Tensor:
    return gamma * _right(rewards, gamma)


def normalises(rewards: Tensor, gamma: float) -> Tensor:
    returns = _right(rewards, gamma)
    return (returns - returns.mean()) / (returns.std(correction=0) + 1e-8)


def changes_rewards(rewards: Tensor, gamma: float) -> Tensor:
    for t in reversed(range(len(rewards) - 1)):
        rewards[t] += gamma * rewards[t + 1]
    return rewards


def leaves_entry_0_as_the_reward(rewards: Tensor, gamma: float) -> Tensor:
    returns = _right(rewards, gamma)
    returns[0] = rewards[0]
    return returns


def last_reward_left_out(rewards: Tensor, gamma: float) -> Tensor:
    return _right(torch.cat([rewards[:-1], torch.zeros(1, dtype=rewards.dtype)]), gamma)


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


CHECK = Check(
    title="Rewards-to-go",
    reference=returns_to_go,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        Misconception(
            "changes its input",
            changes_rewards,
            "The returns are right, but the caller's rewards were overwritten on the way. "
            "Whoever uses them next (to compute R(tau), say) gets returns without knowing: "
            "write the result to a tensor of its own.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "ignores gamma",
            ignores_gamma,
            "All later rewards are added up at full weight, as if gamma were 1. "
            "How much should a reward count that comes two steps later?",
            "02_policy_gradient#C21",
        ),
        Misconception(
            "sums past rewards",
            sums_the_past,
            "At each step you sum the rewards up to that step, the past. An action cannot change "
            "what was paid before it: which rewards can it still influence?",
            "02_policy_gradient#C22",
        ),
        Misconception(
            "in reverse order",
            in_reverse_order,
            "The numbers are right and stand back to front: entry 0 holds the return of the last "
            "step. If you walk through time backwards, turn the result round at the end.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "off by one step",
            one_step_late,
            "Entry t holds the return from step t + 1 on, so the reward that action a_t itself "
            "earned is missing. Try an episode of one step: what should come out?",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "own reward left out",
            own_reward_left_out,
            "The reward of step t itself is missing from entry t. The sum starts at k = t, where "
            "the power of gamma is 0.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "leaves entry 0 out",
            leaves_entry_0_out,
            "Entry 0 is still zero and all others are right: where does your loop end? range(a, b) "
            "stops before it reaches b, also on the way down.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "immediate reward only",
            immediate_reward_only,
            "Each step gets its own reward and nothing that follows. An action is also to be "
            "credited with what it makes possible later.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "looks one step ahead only",
            looks_one_step_ahead,
            "Each step gets its own reward and the next one, and the rest of the episode is left "
            "out. What stands behind gamma in the recursion is a return, not a reward.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "return of step 0 on every step",
            whole_return_on_every_step,
            "Every step is given the return of the whole episode. That still leads to an unbiased "
            "gradient, but it carries the past along as noise; here each step counts only what "
            "comes from it on.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "discounts from the start of the episode",
            discounts_from_the_start,
            "The reward at time k is weighed with gamma^k, counted from the start of the episode. "
            "G_t counts time from step t on, so that its first reward has weight 1.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "discounts the first reward too",
            discounts_the_first_reward,
            "Everything is one factor of gamma too small: the step's own reward is discounted as "
            "well. Which power of gamma belongs to a reward that is paid at once?",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "normalises the returns",
            normalises,
            "The returns were shifted and scaled to mean 0 and spread 1. That is a later trick "
            "(a kind of baseline); here the plain discounted sums are asked for.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "normalises the returns by n - 1",
            normalises_over_n_less_one,
            "The returns were shifted and scaled to mean 0 and spread 1 (torch's std divides by "
            "n - 1, so a single step even gives nan). That is a later trick; here the plain "
            "discounted sums are asked for.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "entry 0 is the bare reward",
            leaves_entry_0_as_the_reward,
            "Entry 0 holds the first reward and nothing that follows, and all others are right: "
            "where does your loop end? range(a, b) stops before it reaches b, also on the way "
            "down.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "last reward left out",
            last_reward_left_out,
            "The last reward is in none of the sums, and the last entry is 0. Where does your loop "
            "begin, and what is G_t at the last step?",
            "02_policy_gradient#C23",
        ),
    ),
    accepted=(as_a_matrix, in_numpy, in_single_precision, of_python_floats),
    tolerance=TOLERANCE,
)
