"""hw4: rewards relative to those of the same prompt, in units of their spread."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.exam import Close
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.group_advantages import group_advantages


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    rewards = torch.tensor(case["rewards"])
    advantages = frozen(function(rewards))
    kept = untouched(rewards, case["rewards"])
    again = same_again(lambda: function(rewards), advantages)
    return {"advantages": advantages, "inputs_unchanged": kept, "second_call_agrees": again}


def public_cases() -> list[Case]:
    return [
        {"rewards": np.array([[0.0, 0.0, 3.0, 3.0]])},
        {"rewards": np.array([[2.0, 5.0, -1.0], [0.5, 1.0, 4.5], [9.0, 2.0, 3.0]])},
        {"rewards": np.array([[4.0, 1.0, 0.0, 2.5, 8.0], [1.0, 1.5, 0.5, 2.0, 1.0]])},
        {"rewards": np.array([[1.0, 0.0, 0.0, 1.0], [2.0, 2.0, 2.0, 2.0], [0.0, 4.0, 0.0, 0.0]])},
        {"rewards": np.array([[1.0, 2.0, 0.5, 1.5, 0.0, 1.0]])},
    ]


def _equals(case: Arrays) -> bool:
    return bool((np.ptp(case["rewards"], axis=1) == 0).any())


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for kind, size in enumerate(rng.permutation(np.arange(3, 9))[:4]):
        groups, size = (1 if kind == 0 else int(rng.integers(3, 6))), int(size)
        rewards = rng.normal(2.0, 3.0, size=(groups, size))
        rewards[:, 0] = rewards[:, 1] + rng.uniform(2, 5, size=groups)  # none without spread
        narrow = rewards[0] - rewards[0].mean()  # a spread below 1 beside those above
        rewards[0] = 1 + rng.uniform(0.4, 0.8) * narrow / narrow.std()
        if kind == 3:
            rewards[rng.integers(1, groups)] = 0.5 * rng.integers(1, 9)  # halves: an exact mean
        cases.append({"rewards": rewards})
    return cases


# Right by other means. What stands beside the spread against 0/0 may be smaller, or 1e-4.


def with_mean_and_std(rewards: Tensor) -> Tensor:
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-6)


def group_by_group(rewards: Tensor) -> Tensor:
    rows = []
    for group in rewards:
        n = len(group)
        mean = sum(group) / n
        variance = sum((r - mean) ** 2 for r in group) / (n - 1)
        rows.append([float((r - mean) / (variance**0.5 + 1e-8)) for r in group])
    return torch.tensor(rows)


def in_numpy(rewards: Tensor) -> Any:
    r = rewards.numpy().astype(np.float32)
    return (r - r.mean(axis=-1)[:, None]) / (r.std(axis=-1, ddof=1)[:, None] + 1e-4)


def flat_and_repeated(rewards: Tensor) -> Tensor:
    size = rewards.shape[1]
    flat = rewards.flatten()
    means = rewards.mean(dim=1).repeat_interleave(size)
    spreads = rewards.var(dim=1).sqrt().repeat_interleave(size)
    safe = torch.where(spreads == 0, torch.ones_like(spreads), spreads)
    return ((flat - means) / safe).view(-1, size)


# What students write instead.

slip = partial(slip_of, group_advantages, see="08_advantages#G3")

CHECK = Check(
    title="GRPO's advantages",
    reference=group_advantages,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "changes its input",
            "The advantages are right, but the rewards of the caller were overwritten on the way. "
            "They are reported later: write to memory of your own.",
            before="rewards -= rewards.mean(dim=1, keepdim=True)",
        ),
        slip(
            "spread with n below",
            "The sum of squares is divided by K where K - 1 is asked for. Both are in use; in "
            "small groups they differ by much.",
            spreads="centred.square().mean(dim=1, keepdim=True).sqrt()",
        ),
        slip(
            "not divided by the spread",
            "The mean is taken off, but nothing is divided by the spread. A variant does it like "
            "this, for good reasons; here GRPO's form is asked for.",
            answer="centred",
        ),
        slip(
            "divided by the variance",
            "The rewards are divided by their variance. Think of units: an advantage has none.",
            scales="spreads**2 + 1e-6",
        ),
        slip(
            "no guard against 0/0",
            "A group whose rewards are all equal gives nan, and one nan spoils all weights of the "
            "model. What should such a group teach?",
            scales="spreads",
        ),
        slip(
            "mean of the whole batch",
            "The mean that is taken off is that of the whole batch. Prompts differ in how hard "
            "they are, so each group has a mean of its own.",
            see="08_advantages#G2",
            means="rewards.mean()",
        ),
        slip(
            "spread of the whole batch",
            "The spread is that of the whole batch. Each group is measured by its own.",
            spreads="rewards.std()",
        ),
        slip(
            "spread of the whole batch around the groups' means",
            "The spread is one number for the whole batch. Each group is measured by its own.",
            spreads="centred.std()",
        ),
        slip(
            "whole batch as one group",
            "Mean and spread are those of the whole batch, as if it were one group. Only answers "
            "to the same prompt can be compared.",
            see="08_advantages#G2",
            means="rewards.mean()",
            spreads="rewards.std()",
        ),
        slip(
            "columns as groups",
            "Mean and spread run down the columns. A row is a group: which axis goes over the "
            "answers to one prompt?",
            means="rewards.mean(dim=0, keepdim=True)",
            spreads="(centred.square().sum(dim=0, keepdim=True) / (len(rewards) - 1)).sqrt()",
        ),
        slip(
            "mean not taken off",
            "The rewards are divided by the spread, but the mean is not taken off. Without it an "
            "answer that is worse than the others is still encouraged.",
            see="08_advantages#G2",
            answer="rewards / scales",
        ),
        slip(
            "sign turned round",
            "The signs are turned round: the better answers get negative advantages.",
            answer="-answer",
        ),
        slip(
            "mean of the others",
            "The reward is compared with the mean of the others in its group. That is the next "
            "question; here its own reward is in the mean.",
            see="08_advantages#G2",
            answer="answer * rewards.shape[1] / (rewards.shape[1] - 1)",
        ),
        slip(
            "error of the mean",
            "The spread is divided by the root of K, which makes it the standard error of the "
            "mean. Asked for is the spread of single rewards.",
            scales="spreads / math.sqrt(rewards.shape[1]) + 1e-6",
        ),
        slip(
            "mean absolute deviation",
            "The rewards are divided by the mean of their absolute deviations. A standard "
            "deviation squares them first.",
            spreads="centred.abs().mean(dim=1, keepdim=True)",
        ),
        slip(
            "divided by the range",
            "The rewards are divided by the distance from the smallest to the largest. Asked for "
            "is the standard deviation.",
            spreads="rewards.amax(dim=1, keepdim=True) - rewards.amin(dim=1, keepdim=True)",
        ),
        slip(
            "scaled to 0 and 1",
            "Each group was stretched so that its worst answer has 0 and its best 1. Then nothing "
            "is ever discouraged: where is the mean?",
            answer="""
                lowest = rewards.amin(dim=1, keepdim=True)
                return (rewards - lowest) / (rewards.amax(dim=1, keepdim=True) - lowest + 1e-6)
            """,
        ),
        slip(
            "root mean square of the rewards",
            "The rewards are divided by their root mean square, from which the mean has not been "
            "taken off. A spread does not change when all rewards are raised by 1.",
            spreads="rewards.square().mean(dim=1, keepdim=True).sqrt()",
        ),
        slip(
            "median taken off",
            "The median of the group is taken off. Asked for is the mean, and the mean is what "
            "makes the advantages of a group sum to 0.",
            answer="(rewards - rewards.median(dim=1, keepdim=True).values) / scales",
        ),
        slip(
            "a group of equals keeps its rewards",
            "Where all rewards of a group are equal, the rewards themselves come back. There is no "
            "better and no worse in such a group.",
            answer="torch.where(spreads == 0, rewards, answer)",
        ),
        slip(
            "spread never below 1",
            "A spread below 1 is taken for 1. The guard is for groups of equal rewards and is to "
            "be far smaller than any spread that means something.",
            scales="spreads.clamp(min=1.0)",
        ),
        slip(
            "1 added to the spread",
            "1 is added to the spread. The guard is for groups of equal rewards and is to be far "
            "smaller than any spread that means something.",
            scales="spreads + 1.0",
        ),
        slip(
            "normalised over the batch as well",
            "The advantages were shifted and scaled once more, over the whole batch. Asked for is "
            "what stands in each group.",
            see="08_advantages#C72",
            answer="(answer - answer.mean()) / (answer.std() + 1e-6)",
        ),
        slip(
            "signs only",
            "Each answer gets 1 or -1, for better or worse than the mean. How much better it was "
            "counts as well.",
            answer="centred.sign()",
        ),
        slip(
            "softmax of the rewards",
            "Each group went through a softmax: all weights are positive, so that bad answers are "
            "encouraged too. Take the mean off, then divide by the spread.",
            answer="torch.softmax(rewards, dim=1)",
        ),
        slip(
            "positive advantages only",
            "What is below the mean is set to 0. A policy learns from what went worse than usual, "
            "too.",
            answer="answer.clamp(min=0.0)",
        ),
    ),
    parts=(
        Property("one group", cases=lambda case: len(case["rewards"]) == 1),
        Property(
            "several groups", cases=lambda case: len(case["rewards"]) > 1 and not _equals(case)
        ),
        Property("a group of equal rewards", cases=_equals),
    ),
    tolerance=Close(rtol=4e-4),
    accepted=(with_mean_and_std, group_by_group, in_numpy, flat_and_repeated),
)
