"""hw1: the loss of REINFORCE with a baseline."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, same_again, untouched
from course_lib.reference.answers.baseline_loss import baseline_loss


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    log_probs = torch.tensor(case["log_probs"], requires_grad=True)
    values = torch.tensor(case["values"], requires_grad=True)
    returns = torch.tensor(case["returns"])
    # One operation away from the leaves, so that changing an input in place shows as a change.
    inputs = {"log_probs": log_probs * 1.0, "returns": returns, "values": values * 1.0}
    loss = function(*inputs.values(), float(case["gamma"]))
    gradients = [torch.zeros_like(log_probs), torch.zeros_like(values)]
    if isinstance(loss, torch.Tensor) and loss.requires_grad and loss.numel() == 1:
        found = torch.autograd.grad(loss.sum(), [log_probs, values], allow_unused=True)
        gradients = [z if g is None else g for z, g in zip(gradients, found, strict=True)]
    kept = all(untouched(x, case[name], name != "returns") for name, x in inputs.items())
    return {
        "loss": loss,
        "gradient_of_log_probs": gradients[0],
        "gradient_of_values": gradients[1],
        "inputs_unchanged": kept,
        "second_call_agrees": same_again(
            lambda: function(*inputs.values(), float(case["gamma"])), loss
        ),
    }


def public_cases() -> list[Case]:
    names = ("log_probs", "returns", "values", "gamma")
    rows: list[Any] = [
        ([-0.5, -1.0], [3.0, 4.0], [1.0, 2.0], 0.5),
        ([-0.2, -1.7, -0.9, -2.5], [2.0, -1.0, 0.5, 3.0], [1.5, 0.3, -0.8, 1.0], 0.9),
        ([-0.6, -0.1, -1.2], [-1.0, -0.4, 2.2], [0.0, -2.0, 0.7], 1.0),
        ([-0.8], [1.6], [0.9], 0.7),
        ([-0.4, -1.1, -0.7], [1.2, -0.5, 2.0], [0.6, 0.6, 0.6], 0.8),
    ]
    return [dict(zip(names, map(np.array, row), strict=True)) for row in rows]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = [
        {
            "log_probs": -rng.uniform(0.05, 3, size=length),
            "returns": 2 * rng.normal(size=length),
            "values": rng.normal(size=length),
            "gamma": gamma or float(rng.uniform(0.6, 0.98)),
        }
        for length, gamma in zip(
            [1, *rng.choice(np.arange(2, 14), size=5, replace=False)],
            [None, None, None, None, 1.0, None],
            strict=True,
        )
    ]
    cases[-1]["values"] = np.full_like(cases[-1]["values"], rng.uniform(0.4, 1.5))
    return cases


def _is_constant(case: Arrays) -> bool:
    values = case["values"]
    return len(values) > 1 and bool((values == values[0]).all())


# Right by other means.


def step_by_step(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Any:
    loss: Any = 0.0
    for t in range(len(returns)):
        loss = loss - gamma**t * (returns[t].item() - values[t].item()) * log_probs[t]
    return loss


def as_a_dot_product(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Tensor:
    with torch.no_grad():
        weights = gamma ** torch.arange(len(returns)) * (values - returns)
    return log_probs @ weights


def with_numpy_weights(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Tensor:
    advantages = returns.numpy() - values.detach().numpy()
    weights = torch.as_tensor(np.power(gamma, np.arange(len(advantages))) * advantages)
    return torch.sum(-log_probs * weights)


# What students write instead.

slip = partial(slip_of, baseline_loss, see="08_advantages#C72")

CHECK = Check(
    title="Loss with a baseline",
    reference=baseline_loss,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "wrong sign",
            "The sign is wrong: an optimiser makes a loss small, and this one gets small as J "
            "falls. Which sign turns descent on the loss into ascent on J?",
            see="02_policy_gradient#C17",
            answer="-answer",
        ),
        slip(
            "baseline not detached",
            "The loss is right, but a gradient flows into the baseline as well, and would push the "
            "values wherever the loss falls. In this formula the baseline is a constant.",
            baseline="values",
        ),
        slip(
            "drops gamma^t",
            "The discount gamma^t in front of each term is missing. Much code leaves it out, but "
            "then descent no longer follows the gradient of the discounted J: this course keeps "
            "it.",
            see="02_policy_gradient#C23",
            discounts="torch.ones_like(returns)",
        ),
        slip(
            "adds the baseline",
            "The baseline is added to the return. It should say how much better than expected an "
            "action turned out.",
            advantages="returns + baseline",
        ),
        slip(
            "leaves the baseline out",
            "The values are not used: this is the loss without a baseline. It has the right mean, "
            "and the variance that the baseline is there to lower.",
            advantages="returns",
        ),
        slip(
            "mean over steps instead of sum",
            "The terms are averaged over the steps, so a long episode counts as little as a short "
            "one. The gradient of J has a sum over time.",
            see="02_policy_gradient#C21",
            answer="-terms.mean()",
        ),
        slip(
            "trains the critic too",
            "The squared error of the values is added to the loss. How the values are learned is "
            "another matter; this loss is for the policy alone.",
            any_size=True,
            answer="answer + ((returns - values) ** 2).mean()",
        ),
        slip(
            "no gradient",
            "The number is right, but it has lost its graph, so no optimiser can learn from it. "
            "Only the baseline should be cut off from the graph, not log_probs "
            "(look for no_grad, detach, item or a new tensor made from old numbers).",
            see="02_policy_gradient#C17",
            answer="answer.detach()",
        ),
        slip(
            "pi instead of log pi",
            "The advantages multiply pi(a|s) instead of log pi(a|s). The actions were drawn with "
            "probability pi already; the log-derivative trick needs the logarithm.",
            see="02_policy_gradient#C18",
            before="log_probs = log_probs.exp()",
        ),
        slip(
            "normalises the advantages",
            "The advantages were shifted and scaled to mean 0 and spread 1. That helps some "
            "programs, but changes the gradient; here the plain difference is asked for.",
            advantages="""
                off = returns - baseline
                advantages = (off - off.mean()) / (off.std(correction=0) + 1e-8)
            """,
        ),
        slip(
            "baseline not discounted",
            "gamma^t multiplies the return but not the baseline. It is the weight of the whole "
            "term of step t: the baseline is subtracted first.",
            see="02_policy_gradient#C23",
            terms="(discounts * returns - baseline) * log_probs",
        ),
        slip(
            "every step with every advantage",
            "Each log-probability is multiplied with every step's advantage, (T, T) products in "
            "all: either the shapes broadcast, or both were summed before they were multiplied. "
            "Step t goes with step t only.",
            see="02_policy_gradient#C23",
            terms="(discounts * advantages)[:, None] * log_probs",
        ),
        slip(
            "one baseline for all steps",
            "The mean of the values is subtracted at every step. The baseline belongs to the "
            "state that the step was taken in: b_t is values[t].",
            baseline="values.detach().mean()",
        ),
        slip(
            "normalises the advantages by n - 1",
            "The differences G - b were shifted and scaled to mean 0 and spread 1 (torch's std "
            "divides by n - 1, so a single step even gives nan). That is a later trick; here the "
            "plain differences are asked for.",
            advantages="""
                off = returns - baseline
                off = off - off.mean()
                spread = (off.square().sum() / (len(off) - 1)).sqrt()  # std, less its warning
                advantages = off / (spread + 1e-8)
            """,
        ),
        slip(
            "log_probs detached instead of values",
            "The number is right, but the graph was cut at the wrong place: the gradient flows "
            "into the baseline and none reaches log_probs. The policy is what this loss is for.",
            see="02_policy_gradient#C17",
            before="log_probs = log_probs.detach()",
            baseline="values",
        ),
        slip(
            "trains the critic too, by the smooth loss",
            "The smooth L1 loss of the values is added to the loss. How the values are learned is "
            "another matter; this loss is for the policy alone.",
            answer="answer + torch.nn.functional.smooth_l1_loss(values, returns, reduction='sum')",
        ),
        slip(
            "normalised returns instead of the baseline",
            "The returns were shifted and scaled to mean 0 and spread 1, and the values are not "
            "used. The baseline that is asked for is values[t], and nothing is scaled.",
            advantages="""
                off = returns - returns.mean()
                spread = (off.square().sum() / (len(off) - 1)).sqrt()  # std, less its warning
                advantages = off / (spread + 1e-8)
            """,
        ),
        slip(
            "absolute value of the advantages",
            "The differences G - b count without their sign, so actions that went worse than "
            "expected are made more likely as well. What should happen to them?",
            advantages="(returns - baseline).abs()",
        ),
        slip(
            "only the baseline is discounted",
            "gamma^t multiplies the baseline but not the return. It is the weight of the whole "
            "term of step t: the baseline is subtracted first.",
            see="02_policy_gradient#C23",
            terms="(returns - discounts * baseline) * log_probs",
        ),
        slip(
            "discount counted from 1",
            "The whole loss is one factor of gamma too small: time starts at t = 0, so the first "
            "step is not discounted.",
            see="02_policy_gradient#C23",
            terms="gamma * discounts * advantages * log_probs",
        ),
        slip(
            "discount runs backwards",
            "The last step has weight 1 and the first the highest power of gamma. Which step of "
            "the episode lies farthest from the start, where J is measured?",
            see="02_policy_gradient#C23",
            terms="discounts.flip(0) * advantages * log_probs",
        ),
        slip(
            "one gamma for every step",
            "Each step is multiplied by gamma itself, the same for all. The weight of step t is a "
            "power of gamma that grows with t.",
            see="02_policy_gradient#C23",
            terms="gamma * advantages * log_probs",
        ),
        slip(
            "trains the critic too, by half the squares",
            "Half the squared error of the values is added to the loss. How the values are learned "
            "is another matter; this loss is for the policy alone.",
            answer="answer + 0.5 * (returns - values).square().sum()",
        ),
        slip(
            "trains the critic too, by the sum of squares",
            "The squared error of the values is added to the loss. How the values are learned is "
            "another matter; this loss is for the policy alone.",
            any_size=True,
            answer="answer + (returns - values).square().sum()",
        ),
        slip(
            "trains the critic too, by half the mean square",
            "Half the squared error of the values is added to the loss. How the values are learned "
            "is another matter; this loss is for the policy alone.",
            answer="answer + 0.5 * (returns - values).square().mean()",
        ),
        slip(
            "baseline outside the product",
            "The baseline is subtracted from the return times log pi. It belongs to the return: "
            "subtract first, then multiply.",
            terms="discounts * (returns * log_probs - baseline)",
        ),
        slip(
            "bonus for entropy",
            "A multiple of the entropy (the sum of -pi log pi) was subtracted from the loss, as "
            "actor-critic programs do. The formula has no such term.",
            any_size=True,
            answer="answer + 0.01 * (log_probs.exp() * log_probs).sum()",
        ),
        slip(
            "bonus for entropy by -log pi",
            "A multiple of the mean of -log pi was subtracted from the loss, an estimate of the "
            "entropy, as actor-critic programs do. The formula has no such term.",
            any_size=True,
            answer="answer + 0.01 * log_probs.mean()",
        ),
        slip(
            "divided by the spread of the advantages",
            "The differences G - b were divided by their standard deviation. That is a later "
            "trick; here the plain differences are asked for.",
            advantages="""
                off = returns - baseline
                advantages = off / (off.std(correction=0) + 1e-8)
            """,
        ),
    ),
    parts=(
        Property(
            "gamma = 1",
            cases=lambda case: case["gamma"] == 1,
            observations=("loss", "gradient_of_log_probs"),
        ),
        Property(
            "a constant baseline",
            cases=_is_constant,
            observations=("loss", "gradient_of_log_probs"),
        ),
        Property("the loss", observations=("loss",)),
        Property("its gradient", observations=("gradient_of_log_probs",)),
        Property(
            "no gradient into the values",
            observations=("gradient_of_log_probs", "gradient_of_values"),
        ),
    ),
    accepted=(step_by_step, as_a_dot_product, with_numpy_weights),
)
