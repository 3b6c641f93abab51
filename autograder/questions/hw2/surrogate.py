"""hw2: the importance-sampled surrogate."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, same_again, untouched
from course_lib.reference.answers.surrogate import surrogate

NAMES = ("log_probs", "old_log_probs", "advantages")


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    names = ("log_probs", "old_log_probs", "advantages")
    leaves = [torch.tensor(case[name], requires_grad=True) for name in names]
    inputs = [leaf * 1.0 for leaf in leaves]
    value = function(*inputs)
    gradients = [torch.zeros_like(leaf) for leaf in leaves]
    if isinstance(value, torch.Tensor) and value.requires_grad and value.numel() == 1:
        found = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
        gradients = [z if g is None else g for z, g in zip(gradients, found, strict=True)]
    seen = {f"gradient_of_{name}": g for name, g in zip(names, gradients, strict=True)}
    kept = all(untouched(x, case[name], graph=True) for name, x in zip(names, inputs, strict=True))
    again = same_again(lambda: function(*inputs), value)
    return {"value": value, **seen, "inputs_unchanged": kept, "second_call_agrees": again}


def public_cases() -> list[Case]:
    return [
        {
            "log_probs": np.log([0.7, 0.25]),
            "old_log_probs": np.log([0.5, 0.5]),
            "advantages": np.array([1.0, -2.0]),
        },
        {
            "log_probs": np.log([0.3, 0.9, 0.05, 0.4, 0.7]),
            "old_log_probs": np.log([0.5, 0.6, 0.1, 0.35, 0.2]),
            "advantages": np.array([1.5, -0.5, 2.0, -1.0, 0.3]),
        },
        {
            "log_probs": np.array([0.8, -1.1, -0.4]),
            "old_log_probs": np.array([0.2, -0.6, -0.9]),
            "advantages": np.array([-1.0, 2.5, 0.4]),
        },
        {  # far apart: the ratios are 12 and 0.05
            "log_probs": np.log([0.72, 0.045]),
            "old_log_probs": np.log([0.06, 0.9]),
            "advantages": np.array([0.5, -0.8]),
        },
        {
            "log_probs": np.array([-0.9]),
            "old_log_probs": np.array([-1.3]),
            "advantages": np.array([1.4]),
        },
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for size in (1, *rng.choice(np.arange(2, 16), size=3, replace=False)):
        old = -rng.uniform(0.1, 3, size=size)
        moves = rng.uniform(-0.8, 0.8, size=size)
        moves[size // 2 :][:1] *= 3.0  # one further away
        cases.append(
            {
                "log_probs": old + moves,
                "old_log_probs": old,
                "advantages": 1.5 * rng.normal(size=size),
            }
        )
    return cases


# Right by other means.


def as_a_quotient(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    ratio = log_probs.exp() / old_log_probs.detach().exp()
    return torch.dot(ratio, advantages.detach()) / len(advantages)


def step_by_step(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Any:
    total: Any = 0.0
    for new, old, advantage in zip(log_probs, old_log_probs, advantages, strict=True):
        total = total + torch.exp(new - old.item()) * advantage.item()
    return total / len(log_probs)


def in_single_precision(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    with torch.no_grad():
        old, weights = old_log_probs.float(), advantages.float()
    return torch.mean(torch.exp(log_probs.float() - old) * weights)


# What students write instead.

slip = partial(slip_of, surrogate, see="06_trpo#C56")

CHECK = Check(
    title="The surrogate",
    reference=surrogate,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "nothing is held constant",
            "The value is right, but gradients flow into the old policy and into the advantages. "
            "Both were fixed when the batch was collected: only log_probs may move.",
            old="old_log_probs",
            weights="advantages",
        ),
        slip(
            "old policy is not held constant",
            "The value is right, but a gradient flows into old_log_probs as well. The old policy "
            "is the one that collected the batch and stays as it was; were both computed from the "
            "same theta, the two gradients would cancel.",
            old="old_log_probs",
        ),
        slip(
            "advantages are not held constant",
            "The value is right, but a gradient flows into the advantages. They are weights here: "
            "what happens to a critic that is pushed to make them larger?",
            weights="advantages",
        ),
        slip(
            "ratio is always 1",
            "The ratio is 1 whatever the policies are: the current policy stands above and below. "
            "The lower one is the policy that collected the batch.",
            see="07_ppo#C62",
            ratio="torch.exp(log_probs - log_probs.detach())",
        ),
        slip(
            "exp is missing",
            "The advantages multiply the difference of the log-probabilities. The weight is a "
            "ratio of probabilities: what turns the one into the other?",
            see="07_ppo#C62",
            ratio="log_probs - old",
        ),
        slip(
            "no gradient",
            "The number is right, but it has lost its graph, so its gradient is zero and nothing "
            "can be learned from it. Only the old policy and the advantages are cut off.",
            see="07_ppo#C62",
            answer="answer.detach()",
        ),
        slip(
            "sum instead of mean",
            "The terms are added up, so a batch twice as large takes a step twice as long. An "
            "expectation is estimated by a mean.",
            see="06_trpo#C55",
            answer="terms.sum()",
        ),
        slip(
            "wrong sign",
            "The sign is that of a loss. Asked for is the objective itself, which is to be made "
            "large; whoever uses an optimiser turns it round there.",
            answer="-answer",
        ),
        slip(
            "ratio upside down",
            "The old probability stands above the new one. The batch was drawn from the old "
            "policy and is to speak for the new one: which of the two has to cancel?",
            ratio="torch.exp(old - log_probs)",
        ),
        slip(
            "no importance weight",
            "This is the plain policy gradient's objective, log-probability times advantage. It "
            "has the right gradient at the old policy only; the ratio keeps it right for the "
            "actions as the policy moves away.",
            ratio="log_probs",
        ),
        slip(
            "quotient of logarithms",
            "You divide one log-probability by the other. The quotient of two logarithms is not "
            "the logarithm of the quotient, and the ratio is of the probabilities.",
            see="07_ppo#C62",
            ratio="log_probs / old",
        ),
        slip(
            "divided by nothing",
            "The weight is the new policy's probability alone. Actions that the old policy liked "
            "came up more often in the batch: what evens that out?",
            ratio="torch.exp(log_probs)",
        ),
        slip(
            "every ratio with every advantage",
            "Each ratio meets every advantage: either (B, 1) times (B,) made (B, B) products, or "
            "the two were averaged apart. Each advantage belongs to its own ratio alone.",
            answer="ratio.mean() * weights.mean()",
        ),
        slip(
            "normalises the advantages",
            "The advantages were shifted and scaled to mean 0 and spread 1. That is the caller's "
            "choice; here they are used as they come.",
            before="advantages = (advantages - advantages.mean()) / "
            "(advantages.std(correction=0) + 1e-8)",
        ),
        slip(
            "clipped already",
            "This is PPO's clipped objective, a later question. TRPO's surrogate leaves the ratio "
            "as it is and keeps the step small by the KL constraint.",
            terms="torch.minimum(ratio * weights, ratio.clamp(0.8, 1.2) * weights)",
        ),
        slip(
            "normalises the advantages by n - 1",
            "The advantages were shifted and scaled to mean 0 and spread 1 (torch's std divides by "
            "n - 1, so a single one even gives nan). That is the caller's choice; here they "
            "are used as they come.",
            before="""
                off = advantages - advantages.mean()
                variance = off.square().sum() / (len(off) - 1)  # torch's std would warn of 0/0
                advantages = off / (variance.sqrt() + 1e-8)
            """,
        ),
        slip(
            "new policy held constant instead of the old",
            "The value is right, but the graph was cut at the wrong place: gradients flow into the "
            "old policy and the advantages, and none reaches log_probs. Which of the two policies "
            "is to move?",
            old="old_log_probs",
            weights="advantages",
            ratio="torch.exp(log_probs.detach() - old)",
        ),
        slip(
            "absolute value of the advantages",
            "The advantages count without their sign, so bad actions are made more likely as well. "
            "What should happen to an action that went worse than expected?",
            before="advantages = advantages.abs()",
        ),
        slip(
            "every ratio with every advantage, added up",
            "Each ratio meets every advantage, (B, B) products in all, and they are added up. "
            "Check the shapes, and take the mean: each advantage belongs to its own ratio.",
            answer="ratio.sum() * weights.sum()",
        ),
        slip(
            "ratio detached, times log pi",
            "The gradient is right, but the value is not the surrogate's: the ratio was detached "
            "and multiplies log pi. It is the ratio itself that moves.",
            terms="ratio.detach() * log_probs * weights",
        ),
        slip(
            "clipped ratio",
            "The ratio is clipped, as in PPO, a later question. TRPO's surrogate leaves it as it "
            "is and keeps the step small by the KL constraint.",
            ratio="torch.exp(log_probs - old).clamp(0.8, 1.2)",
        ),
        slip(
            "weights that sum to 1",
            "The ratios were divided by their sum (a softmax of the differences does that too). "
            "The estimate is a plain mean: the sum over the batch, divided by its size.",
            answer="terms.sum() / ratio.sum()",
        ),
        slip(
            "1 subtracted from the ratio",
            "The ratio minus 1 multiplies the advantages. The gradient is the same, but the value "
            "is not that of the surrogate.",
            ratio="torch.exp(log_probs - old) - 1",
        ),
    ),
    parts=(
        Property("the value", observations=("value",)),
        Property("its gradient", observations=("gradient_of_log_probs",)),
        Property(
            "no gradient into what is fixed",
            observations=tuple(f"gradient_of_{name}" for name in NAMES),
        ),
    ),
    accepted=(as_a_quotient, step_by_step, in_single_precision),
)
