"""hw4: rewards against the mean of the other answers to the same prompt."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.rloo_advantages import rloo_advantages


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    inputs = [torch.tensor(case[name]) for name in ("rewards", "prompts")]
    advantages = frozen(function(*inputs))
    kept = all(untouched(x, case[n]) for n, x in zip(("rewards", "prompts"), inputs, strict=True))
    again = same_again(lambda: function(*inputs), advantages)
    return {"advantages": advantages, "inputs_unchanged": kept, "second_call_agrees": again}


def public_cases() -> list[Case]:
    return [
        {"rewards": np.array([1.0, 0.0, 4.0]), "prompts": np.array([7, 7, 7])},
        {
            "rewards": np.array([1.0, 0.5, -2.0, 3.0, 0.0, 1.5]),
            "prompts": np.array([0, 0, 0, 1, 1, 1]),
        },
        {
            "rewards": np.array([2.0, -1.0, 0.5, 4.0, 3.0, -0.5, 1.0]),
            "prompts": np.array([5, 2, 5, 2, 9, 2, 9]),
        },
        {
            "rewards": np.array([3.0, 1.0, -1.5, 2.0, 0.5, 2.5]),
            "prompts": np.array([4, 1, 4, 6, 4, 1]),
        },
        {"rewards": np.array([0.5, -1.0, 2.0, 2.5, 1.0]), "prompts": np.array([3, 3, 3, 3, 3])},
    ]


def _counts(case: Arrays) -> Any:
    return np.unique(case["prompts"], return_counts=True)[1]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for kind in range(4):
        names = rng.choice(np.arange(20), size=4, replace=False)
        sizes = rng.permutation([2, 3, 4, int(rng.integers(3, 6))])
        if kind == 0:
            names, sizes = names[:1], np.array([rng.integers(4, 8)])
        elif kind == 1:
            sizes[0] = 1
        twice = names == names[sizes.argmax()]  # stands first and last, so not side by side
        between = rng.permutation(np.repeat(names, sizes - 2 * twice))
        prompts = np.concatenate([names[twice], between, names[twice]])
        cases.append({"rewards": 2 * rng.normal(size=len(prompts)) + 1, "prompts": prompts})
    return cases


# Right by other means.


def one_by_one(rewards: Tensor, prompts: Tensor) -> list[float]:
    advantages = []
    for i in range(len(rewards)):
        others = [rewards[j] for j in range(len(rewards)) if j != i and prompts[j] == prompts[i]]
        advantages.append(float(rewards[i] - sum(others) / len(others)) if others else 0.0)
    return advantages


def by_counting(rewards: Tensor, prompts: Tensor) -> Tensor:
    _, groups = torch.unique(prompts, return_inverse=True)
    sizes = torch.bincount(groups)[groups]
    totals = torch.zeros(int(groups.max()) + 1, dtype=rewards.dtype)
    totals = totals.index_add(0, groups, rewards)[groups]
    return torch.where(sizes > 1, rewards - (totals - rewards) / (sizes - 1).clamp(min=1), 0.0)


def from_the_mean_of_all(rewards: Tensor, prompts: Tensor) -> Tensor:
    advantages = torch.zeros_like(rewards)
    for prompt in prompts.unique():
        here = prompts == prompt
        size = int(here.sum())
        if size > 1:
            advantages[here] = size / (size - 1) * (rewards[here] - rewards[here].mean())
    return advantages


def in_numpy(rewards: Tensor, prompts: Tensor) -> Any:
    r, p = rewards.numpy().astype(np.float32), prompts.numpy()
    together = (p[:, None] == p).astype(np.float32)
    np.fill_diagonal(together, 0.0)
    count = together.sum(-1)
    return (r - together @ r / np.maximum(count, 1)) * (count > 0)


# What students write instead.

slip = partial(slip_of, rloo_advantages, see="08_advantages#G2")

CHECK = Check(
    title="Leave one out",
    reference=rloo_advantages,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "changes its input",
            "The advantages are right, but the rewards of the caller were overwritten on the way. "
            "They are reported later: write to memory of your own.",
            before="rewards -= rewards.mean()",
        ),
        slip(
            "own reward in the mean",
            "The mean has the answer's own reward in it. That shortens each advantage, and the "
            "less an answer is like the others, the more it hides: leave it out.",
            baselines="same.to(rewards.dtype) @ rewards / same.sum(dim=1)",
            answer="advantages",
        ),
        slip(
            "own reward in the sum, not in the number",
            "The sum has the answer's own reward in it, and is divided by the number of the "
            "others. Leave it out of both.",
            totals="same.to(rewards.dtype) @ rewards",
        ),
        slip(
            "own reward in the number, not in the sum",
            "The rewards of the others are added up and divided by the number of all. Count only "
            "what is in the sum.",
            baselines="totals / (counts + 1)",
        ),
        slip(
            "all others of the batch",
            "The mean goes over all other answers of the batch. An answer to another prompt says "
            "nothing about how hard this one is.",
            same="torch.ones(len(prompts), len(prompts), dtype=torch.bool)",
        ),
        slip(
            "mean of the batch",
            "The mean of all rewards of the batch is taken off, with the answer's own in it. "
            "Compare with the other answers to the same prompt.",
            baselines="rewards.mean()",
            answer="advantages",
        ),
        slip(
            "mean of the batch, but 0 alone",
            "The mean of all rewards of the batch is taken off. Compare with the other answers to "
            "the same prompt.",
            baselines="rewards.mean()",
        ),
        slip(
            "answers to other prompts",
            "The mean goes over the answers to other prompts. Asked for are the other answers to "
            "the same one.",
            others="~same",
        ),
        slip(
            "only neighbours are one prompt",
            "A prompt whose answers are not side by side is taken for several. Equal numbers are "
            "one prompt, wherever they stand.",
            before="""
                runs = torch.cat([torch.zeros(1), (prompts[1:] != prompts[:-1]).double()])
                prompts = runs.cumsum(0)
            """,
        ),
        slip(
            "alone it keeps its reward",
            "An answer with no other to its prompt keeps its whole reward. There is nothing to "
            "compare it with: it is to teach nothing.",
            answer="advantages",
        ),
        slip(
            "alone it is 0/0",
            "An answer with no other to its prompt gives nan (0/0), and one nan spoils all weights "
            "of the model. There is nothing to compare it with: it is to teach nothing.",
            baselines="totals / counts",
            answer="advantages",
        ),
        slip(
            "alone it is compared with the batch",
            "An answer with no other to its prompt is compared with the whole batch. Another "
            "prompt may be far easier: it is to teach nothing.",
            answer="torch.where(counts > 0, advantages, rewards - rewards.mean())",
        ),
        slip(
            "sign turned round",
            "The signs are turned round: the better answers get negative advantages.",
            answer="-answer",
        ),
        slip(
            "the baseline itself",
            "What comes back is the mean of the others. Asked for is by how much the answer's own "
            "reward lies above it.",
            answer="torch.where(counts > 0, baselines, 0.0)",
        ),
        slip(
            "sum of the others",
            "The sum of the other rewards is taken off. Asked for is their mean.",
            baselines="totals",
        ),
        slip(
            "best of the others",
            "The best of the other rewards is taken off. That is no mean: where one answer is very "
            "good, all others are blamed for it.",
            baselines="torch.where(others, rewards[None, :], -math.inf).max(dim=1).values",
        ),
        slip(
            "only those before it",
            "Each answer is compared with those that stand before it. Those behind it count as "
            "well: they were drawn at the same time.",
            others="(same & ~torch.eye(len(prompts), dtype=torch.bool)).tril()",
        ),
        slip(
            "in the order of the prompts",
            "The numbers are right, but they come back sorted by prompt. Advantage i belongs to "
            "completion i.",
            answer="answer[torch.argsort(prompts, stable=True)]",
        ),
        slip(
            "divided by the spread",
            "The advantages were divided by the spread of the prompt's rewards. That is the "
            "question before; here the plain difference is asked for.",
            see="08_advantages#G3",
            answer="""
                means = same.to(rewards.dtype) @ rewards / same.sum(dim=1)
                squares = same.to(rewards.dtype) @ rewards**2 / same.sum(dim=1) - means**2
                spreads = (squares * (counts + 1) / counts.clamp(min=1)).clamp(min=0.0).sqrt()
                return answer / (spreads + 1e-6)
            """,
        ),
        slip(
            "normalised over the batch",
            "The advantages were shifted and scaled to mean 0 and spread 1 over the batch. Here "
            "the plain differences are asked for.",
            see="08_advantages#C72",
            answer="(answer - answer.mean()) / (answer.std() + 1e-6)",
        ),
        slip(
            "longer once more",
            "The difference to the mean of the others was made longer by n / (n - 1) once more. "
            "That factor leads to it from the mean of all.",
            answer="answer * (counts + 1) / counts.clamp(min=1)",
        ),
        slip(
            "positive advantages only",
            "What is below the mean of the others is set to 0. A policy learns from what went "
            "worse than usual, too.",
            answer="answer.clamp(min=0.0)",
        ),
    ),
    parts=(
        Property("one prompt", cases=lambda case: len(_counts(case)) == 1),
        Property(
            "several prompts",
            2,
            cases=lambda case: len(_counts(case)) > 1 and _counts(case).min() > 1,
        ),
        Property("an answer without others", cases=lambda case: _counts(case).min() == 1),
    ),
    accepted=(one_by_one, by_counting, from_the_mean_of_all, in_numpy),
)
