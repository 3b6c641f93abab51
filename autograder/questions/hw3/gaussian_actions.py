"""hw3: what is asked, in a few words."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.gaussian_actions import gaussian_actions


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    """Call the student's function on one case, and say what is seen. Stands alone: no secrets."""
    rewards, gamma = torch.tensor(case["rewards"]), float(case["gamma"])
    value = frozen(function(rewards, gamma))  # its numbers, whatever happens to it later
    kept = untouched(rewards, case["rewards"])
    again = same_again(lambda: function(rewards, gamma), value)
    return {"value": value, "inputs_unchanged": kept, "second_call_agrees": again}


def public_cases() -> list[Case]:
    """Printed in the notebook. On one of them each known mistake must differ from what is right."""
    return [
        {"rewards": np.array([1.0, 3.0, 2.0]), "gamma": 0.5},
        {"rewards": np.array([-1.0, -2.0]), "gamma": 0.9},
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    """Drawn anew for each submission: numbers and sizes."""
    sizes = rng.choice(np.arange(3, 12), size=3, replace=False)
    return [
        {"rewards": rng.normal(size=int(size)), "gamma": float(rng.uniform(0.3, 0.95))}
        for size in sizes
    ]


# Known mistakes, the most specific first: what differs from the answer, by the names in it.

slip = partial(slip_of, gaussian_actions, see="02_policy_gradient#C23")

MISCONCEPTIONS = (
    slip(
        "gamma ignored",
        "gamma has no effect, as if it were 1. A later reward is worth less.",
        discounts="torch.ones_like(rewards)",
    ),
    slip(
        "sum instead of maximum",
        "The discounted rewards are added up. Asked for is the largest one.",
        answer="discounted.sum()",
    ),
)


# Right by other means.


def one_by_one(rewards: Tensor, gamma: float) -> Any:
    return max(gamma**t * reward for t, reward in enumerate(rewards.tolist()))


def in_numpy(rewards: Tensor, gamma: float) -> Any:
    return (np.power(gamma, np.arange(len(rewards))) * rewards.numpy()).max()


CHECK = Check(
    title="",
    reference=gaussian_actions,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=MISCONCEPTIONS,
    accepted=(one_by_one, in_numpy),
)
