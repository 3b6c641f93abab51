"""hw4: the KL divergence from the first model in the loss, with a slope that is right."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, same_again, untouched
from course_lib.reference.answers.kl_k3 import kl_k3


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    leaf = torch.tensor(case["log_probs"], requires_grad=True)
    names = ("log_probs", "old_log_probs", "base_log_probs", "mask")
    inputs = [leaf * 1.0, *(torch.tensor(case[name]) for name in names[1:])]
    value = function(*inputs)
    gradient = torch.zeros_like(leaf)
    if isinstance(value, torch.Tensor) and value.requires_grad and value.numel() == 1:
        (found,) = torch.autograd.grad(value.sum(), [leaf], allow_unused=True)
        gradient = gradient if found is None else found
    kept = all(
        untouched(x, case[name], graph=name == "log_probs")
        for name, x in zip(names, inputs, strict=True)
    )
    return {
        "value": value,
        "gradient": gradient,
        "inputs_unchanged": kept,
        "second_call_agrees": same_again(lambda: function(*inputs), value),
    }


def _case(probs: Any, old: Any, base: Any, mask: Any) -> Case:
    return {
        "log_probs": np.log(probs),
        "old_log_probs": np.log(old),
        "base_log_probs": np.log(base),
        "mask": np.asarray(mask, dtype=bool),
    }


PROBS = np.array([[0.5, 0.3, 0.6, 0.2], [0.8, 0.25, 0.4, 0.7], [0.35, 0.9, 0.15, 0.55]])
BASE = np.array([[0.2, 0.6, 0.3, 0.5], [0.4, 0.75, 0.8, 0.3], [0.7, 0.3, 0.45, 0.2]])
OLD = np.array([[0.7, 0.2, 0.35, 0.45], [0.5, 0.4, 0.6, 0.45], [0.6, 0.55, 0.3, 0.8]])
SOME = np.array([[0, 1, 1, 0], [1, 1, 1, 1], [0, 1, 0, 0]])


def public_cases() -> list[Case]:
    return [
        _case([[0.5, 0.2]], [[0.5, 0.2]], [[0.25, 0.4]], [[1, 1]]),
        _case([[0.5, 0.2]], [[0.25, 0.4]], [[0.25, 0.4]], [[1, 1]]),
        _case(PROBS, PROBS, BASE, SOME),
        _case(PROBS[:2], OLD[:2], BASE[:2], np.ones((2, 4))),
        _case(PROBS, OLD, BASE, SOME),
        _case(BASE[:, :3], OLD[:, :3], PROBS[:, :3], [[1, 1, 0], [0, 0, 0], [1, 1, 1]]),
    ]


def _first_step(case: Arrays) -> bool:
    return np.array_equal(case["log_probs"], case["old_log_probs"])


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for kind, steps in enumerate(rng.permutation(np.arange(3, 8))[:4]):
        batch, steps = int(rng.integers(3, 6)), int(steps)
        shape = batch, steps
        probs, old, base = (rng.uniform(0.1, 0.9, size=shape) for _ in range(3))
        mask = rng.random(shape) < 0.6
        mask[0], mask[1, 0], mask[1, 1:], mask[2] = True, True, False, kind == 2
        if kind == 0:
            mask[2, -1] = True
        elif kind == 3:
            mask = np.ones(shape, dtype=bool)
            mask[-1, int(rng.integers(1, steps)) :] = False
        cases.append(_case(probs, probs if kind == 0 else old, base, mask))
    return cases


# Right by other means.


def with_a_float_mask(new: Tensor, old: Tensor, base: Tensor, mask: Tensor) -> Tensor:
    log_ratio = base - new
    estimate = torch.exp(new - old) * (torch.exp(log_ratio) - 1 - log_ratio)
    return (estimate * mask.float()).sum() / (mask.float().sum() + 1e-8)


def one_by_one(new: Tensor, old: Tensor, base: Tensor, mask: Tensor) -> Any:
    terms = []
    for b, t in mask.nonzero().tolist():
        x = base[b, t].exp() / new[b, t].exp()
        terms.append(new[b, t].exp() / old[b, t].exp() * (x - 1 - torch.log(x)))
    return sum(terms) / len(terms)


def multiplied_out(new: Tensor, old: Tensor, base: Tensor, mask: Tensor) -> Tensor:
    new, old, base = new[mask], old[mask], base[mask]
    ratio = (new - old).exp()
    return ((base - old).exp() - ratio + ratio * (new - base)).mean()


def in_single_precision(new: Tensor, old: Tensor, base: Tensor, mask: Tensor) -> Tensor:
    new, old, base = new.float(), old.float(), base.float()
    gap = base - new
    weight = torch.exp(new - old) * mask
    return torch.einsum("bt,bt->", weight, torch.expm1(gap) - gap) / mask.sum()


# What students write instead.

slip = partial(slip_of, kl_k3, see="08_advantages#G5")

CHECK = Check(
    title="The KL in the loss",
    reference=kl_k3,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "no ratio to the old policy",
            "The estimates are averaged as they are, without the ratio to the policy that drew the "
            "tokens. Even where that ratio is 1 it has a slope, and without it the mean slope is "
            "that of another divergence.",
            terms="estimates",
        ),
        slip(
            "ratio without a gradient",
            "The value is right, but the ratio was detached: it is to be differentiated as well. "
            "What does the mean over the old policy's tokens depend on?",
            ratios="torch.exp(log_probs - old_log_probs).detach()",
        ),
        slip(
            "estimate without a gradient",
            "The value is right, but only the ratio is differentiated, and the estimate was "
            "detached. log_probs stands in both.",
            terms="ratios * estimates.detach()",
        ),
        slip(
            "d the wrong way round",
            "d is log pi - log pi_base here. With this sign the mean over pi is not the "
            "divergence: the ratio that averages to 1 over pi has pi below.",
            d="log_probs - base_log_probs",
        ),
        slip(
            "plain log ratio",
            "The estimate is the log ratio, k1, which can be negative. Its mean is right too; here "
            "k3 is asked for, which varies less near the base model.",
            estimates="-d",
        ),
        slip(
            "half the square",
            "The estimate is half the square of the log ratio, k2. Its mean is the divergence only "
            "nearly, close to the base model.",
            estimates="0.5 * d**2",
        ),
        slip(
            "absolute log ratio",
            "The estimate is the absolute value of the log ratio. It is not negative, but its mean "
            "is no divergence: what is added to the log ratio must average to 0.",
            estimates="d.abs()",
        ),
        slip(
            "without the -1",
            "The estimate lacks the -1: where both models agree it has to be 0.",
            estimates="torch.exp(d) - d",
        ),
        slip(
            "without the -d",
            "The estimate lacks the log ratio: exp(d) - 1 averages to 0, whatever the models are.",
            estimates="torch.exp(d) - 1",
        ),
        slip(
            "sign of d in the estimate",
            "The estimate has exp(d) + d - 1. It should not be negative: look at the sign of d.",
            estimates="torch.exp(d) + d - 1",
        ),
        slip(
            "the other divergence",
            "The estimate is d exp(d) - exp(d) + 1: that averages to KL(pi_base || pi). Asked for "
            "is the one in which tokens of pi count.",
            estimates="d * torch.exp(d) - torch.exp(d) + 1",
        ),
        slip(
            "d against the old policy",
            "d compares the old policy with the current one. The KL is that from the base model, "
            "as it was before all training.",
            d="old_log_probs - log_probs",
        ),
        slip(
            "d from the old policy",
            "d compares the old policy with the base model: it is a constant. The policy that "
            "moves is the one that is to stay near.",
            d="base_log_probs - old_log_probs",
        ),
        slip(
            "weighed by the policy's probability",
            "Each log ratio is multiplied by the token's probability. The tokens were drawn: a "
            "likely one is there more often already.",
            terms="-d * torch.exp(log_probs)",
        ),
        slip(
            "weighed by the base model's probability",
            "Each log ratio is multiplied by the base model's probability, as torch's kl_div has "
            "it. That is for sums over all words; here the tokens were drawn by the old policy.",
            terms="d * torch.exp(base_log_probs)",
        ),
        slip(
            "ratio to the base model",
            "The ratio is that of the current policy to the base model. It corrects for who drew "
            "the tokens, and that was the old policy.",
            ratios="torch.exp(log_probs - base_log_probs)",
        ),
        slip(
            "old and base exchanged",
            "The old policy and the base model are exchanged. The old one drew the tokens, the "
            "base model is what the policy is held to.",
            ratios="torch.exp(log_probs - base_log_probs)",
            d="old_log_probs - log_probs",
        ),
        slip(
            "ratio upside down",
            "The ratio is that of the old to the current policy. To speak for the current policy, "
            "tokens that it says more often have to count for more.",
            see="07_ppo#C62",
            ratios="torch.exp(old_log_probs - log_probs)",
        ),
        slip(
            "logarithm of the ratio",
            "The difference of the log-probabilities is used as the ratio. It is the ratio's "
            "logarithm, and 0 where the policy has not changed.",
            see="07_ppo#C62",
            ratios="log_probs - old_log_probs",
        ),
        slip(
            "ratio clipped",
            "The ratio is clipped to 0.8 to 1.2. Here it is used as it is: what is clipped has no "
            "slope.",
            ratios="torch.exp(log_probs - old_log_probs).clamp(0.8, 1.2)",
        ),
        slip(
            "mask ignored",
            "The mask has no effect: prompts and padding count like what was said. Nobody chose "
            "those tokens.",
            see="08_advantages#G1",
            answer="terms.mean()",
        ),
        slip(
            "mask in the number only",
            "The sum goes over all places, and is divided by the number of those that are kept. "
            "What is not counted is not to be added either.",
            see="08_advantages#G1",
            kept_terms="terms",
        ),
        slip(
            "divided by all places",
            "The sum over the kept tokens is divided by the number of all places, padding too. "
            "Asked for is the mean over the kept ones.",
            see="08_advantages#G4",
            answer="kept_terms.mean()",
        ),
        slip(
            "sum instead of mean",
            "The terms are added up. Asked for is their mean over the kept tokens.",
            answer="kept_terms.sum()",
        ),
        slip(
            "divided by the number of completions",
            "The sum over the kept tokens is divided by the number of completions. Asked for is "
            "the mean over the tokens.",
            see="08_advantages#G4",
            answer="kept_terms.sum() / len(mask)",
        ),
        slip(
            "mean of each completion, then of the batch",
            "Each completion is averaged over its own tokens first. Here every kept token of the "
            "batch has the same weight.",
            see="08_advantages#G4",
            answer="(kept_terms.sum(dim=1) / mask.sum(dim=1)).mean()",
        ),
        slip(
            "mean of each completion, empty ones as 0",
            "Each completion is averaged over its own tokens first. Here every kept token of the "
            "batch has the same weight.",
            see="08_advantages#G4",
            answer="(kept_terms.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()",
        ),
        slip(
            "sign turned round",
            "The sign is turned round: a loss with this would drive the policy away from the base "
            "model. A divergence is not negative.",
            answer="-answer",
        ),
        slip(
            "no gradient",
            "The value is right, but no gradient reaches the log-probabilities: was something "
            "detached, taken as a plain number, or worked out under no_grad?",
            answer="answer.detach()",
        ),
    ),
    parts=(
        Property("where the ratio is 1", cases=_first_step, observations=("value",)),
        Property(
            "after some steps",
            2,
            cases=lambda case: not _first_step(case),
            observations=("value",),
        ),
        Property("the gradient", 2, observations=("gradient",)),
    ),
    accepted=(with_a_float_mask, one_by_one, multiplied_out, in_single_precision),
)
