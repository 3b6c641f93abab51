"""hw2: the importance-sampled surrogate."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Misconception
from autograder.questions.tolerance import TOLERANCE
from autograder.student.wire import Arrays
from course_lib.reference.answers.surrogate import surrogate


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    names = ("log_probs", "old_log_probs", "advantages")
    leaves = [torch.tensor(case[name], requires_grad=True) for name in names]
    inputs = [leaf * 1.0 for leaf in leaves]
    value = function(*inputs)
    gradients = [torch.zeros_like(leaf) for leaf in leaves]
    if isinstance(value, torch.Tensor) and value.requires_grad:
        found = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
        gradients = [z if g is None else g for z, g in zip(gradients, found, strict=True)]
    seen = {f"gradient_of_{name}": g for name, g in zip(names, gradients, strict=True)}
    kept = all(
        np.array_equal(x.detach().numpy(), case[name])
        for name, x in zip(names, inputs, strict=True)
    )
    return {"value": value, **seen, "inputs_unchanged": kept}


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
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for size in (1, *rng.choice(np.arange(2, 16), size=3, replace=False)):
        old = -rng.exponential(size=size) - 0.1
        cases.append(
            {
                "log_probs": old + 0.5 * rng.normal(size=size),
                "old_log_probs": old,
                "advantages": 1.5 * rng.normal(size=size),
            }
        )
    return cases


# What students write instead.


def old_policy_not_detached(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return (torch.exp(log_probs - old_log_probs) * advantages.detach()).mean()


def advantages_not_detached(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return (torch.exp(log_probs - old_log_probs.detach()) * advantages).mean()


def nothing_detached(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return (torch.exp(log_probs - old_log_probs) * advantages).mean()


def ratio_is_one(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return (torch.exp(log_probs - log_probs.detach()) * advantages.detach()).mean()


def no_exp(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return ((log_probs - old_log_probs.detach()) * advantages.detach()).mean()


def no_exp_nothing_detached(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return ((log_probs - old_log_probs) * advantages).mean()


def no_gradient(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    with torch.no_grad():
        return (torch.exp(log_probs - old_log_probs) * advantages).mean()


def sum_instead_of_mean(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return (torch.exp(log_probs - old_log_probs.detach()) * advantages.detach()).sum()


def wrong_sign(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return -(torch.exp(log_probs - old_log_probs.detach()) * advantages.detach()).mean()


def upside_down(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return (torch.exp(old_log_probs.detach() - log_probs) * advantages.detach()).mean()


def no_ratio(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return (log_probs * advantages.detach()).mean()


def quotient_of_logs(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return (log_probs / old_log_probs.detach() * advantages.detach()).mean()


def new_probability_only(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return (torch.exp(log_probs) * advantages.detach()).mean()


def product_of_means(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return torch.exp(log_probs - old_log_probs.detach()).mean() * advantages.detach().mean()


def normalises(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    advantages = advantages.detach()
    advantages = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
    return (torch.exp(log_probs - old_log_probs.detach()) * advantages).mean()


def already_clipped(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    ratio, advantages = torch.exp(log_probs - old_log_probs.detach()), advantages.detach()
    return torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).mean()


def normalises_over_n_less_one(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor
) -> Tensor:
    off = advantages.detach() - advantages.detach().mean()
    spread = (off.square().sum() / (off.numel() - 1)).sqrt()  # torch's std, less its warning
    ratio = torch.exp(log_probs - old_log_probs.detach())
    return (ratio * off / (spread + 1e-8)).mean()


def old_policy_learns(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    return (torch.exp(log_probs.detach() - old_log_probs) * advantages).mean()


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


CHECK = Check(
    title="The surrogate",
    reference=surrogate,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        Misconception(
            "nothing is held constant",
            nothing_detached,
            "The value is right, but gradients flow into the old policy and into the advantages. "
            "Both were fixed when the batch was collected: only log_probs may move.",
            "06_trpo#C56",
        ),
        Misconception(
            "old policy is not held constant",
            old_policy_not_detached,
            "The value is right, but a gradient flows into old_log_probs as well. The old policy "
            "is the one that collected the batch and stays as it was; were both computed from the "
            "same theta, the two gradients would cancel.",
            "06_trpo#C56",
        ),
        Misconception(
            "advantages are not held constant",
            advantages_not_detached,
            "The value is right, but a gradient flows into the advantages. They are weights here: "
            "what happens to a critic that is pushed to make them larger?",
            "06_trpo#C56",
        ),
        Misconception(
            "ratio is always 1",
            ratio_is_one,
            "The ratio is 1 whatever the policies are: the current policy stands above and below. "
            "The lower one is the policy that collected the batch.",
            "07_ppo#C62",
        ),
        Misconception(
            "exp is missing",
            no_exp,
            "The advantages multiply the difference of the log-probabilities. The weight is a "
            "ratio of probabilities: what turns the one into the other?",
            "07_ppo#C62",
        ),
        Misconception(
            "exp is missing and nothing is held constant",
            no_exp_nothing_detached,
            "The advantages multiply the difference of the log-probabilities; the weight is a "
            "quotient of probabilities. And gradients flow into the old policy and the advantages, "
            "which are numbers from the batch.",
            "07_ppo#C62",
        ),
        Misconception(
            "no gradient",
            no_gradient,
            "The number is right, but it has lost its graph, so its gradient is zero and nothing "
            "can be learned from it. Only the old policy and the advantages are cut off.",
            "07_ppo#C62",
        ),
        Misconception(
            "sum instead of mean",
            sum_instead_of_mean,
            "The terms are added up, so a batch twice as large takes a step twice as long. An "
            "expectation is estimated by a mean.",
            "06_trpo#C55",
        ),
        Misconception(
            "wrong sign",
            wrong_sign,
            "The sign is that of a loss. Asked for is the objective itself, which is to be made "
            "large; whoever uses an optimiser turns it round there.",
            "06_trpo#C56",
        ),
        Misconception(
            "ratio upside down",
            upside_down,
            "The old probability stands above the new one. The batch was drawn from the old "
            "policy and is to speak for the new one: which of the two has to cancel?",
            "06_trpo#C56",
        ),
        Misconception(
            "no importance weight",
            no_ratio,
            "This is the plain policy gradient's objective, log-probability times advantage. It "
            "has the right gradient at the old policy only; the ratio keeps it right for the "
            "actions as the policy moves away.",
            "06_trpo#C56",
        ),
        Misconception(
            "quotient of logarithms",
            quotient_of_logs,
            "You divide one log-probability by the other. The quotient of two logarithms is not "
            "the logarithm of the quotient, and the ratio is of the probabilities.",
            "07_ppo#C62",
        ),
        Misconception(
            "divided by nothing",
            new_probability_only,
            "The weight is the new policy's probability alone. Actions that the old policy liked "
            "came up more often in the batch: what evens that out?",
            "06_trpo#C56",
        ),
        Misconception(
            "product of means",
            product_of_means,
            "Ratios and advantages are averaged apart and then multiplied. Each advantage belongs "
            "to its own ratio: multiply first.",
            "06_trpo#C56",
        ),
        Misconception(
            "normalises the advantages",
            normalises,
            "The advantages were shifted and scaled to mean 0 and spread 1. That is the caller's "
            "choice; here they are used as they come.",
            "06_trpo#C56",
        ),
        Misconception(
            "clipped already",
            already_clipped,
            "This is PPO's clipped objective, a later question. TRPO's surrogate leaves the ratio "
            "as it is and keeps the step small by the KL constraint.",
            "06_trpo#C56",
        ),
        Misconception(
            "normalises the advantages by n - 1",
            normalises_over_n_less_one,
            "The advantages were shifted and scaled to mean 0 and spread 1 (torch's std divides by "
            "n - 1, so a single one even gives nan). That is the caller's choice; here they "
            "are used as they come.",
            "06_trpo#C56",
        ),
        Misconception(
            "new policy held constant instead of the old",
            old_policy_learns,
            "The value is right, but the graph was cut at the wrong place: gradients flow into the "
            "old policy and the advantages, and none reaches log_probs. Which of the two policies "
            "is to move?",
            "06_trpo#C56",
        ),
    ),
    accepted=(as_a_quotient, step_by_step, in_single_precision),
    tolerance=TOLERANCE,
)
