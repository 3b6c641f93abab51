"""hw4: the KL divergence from the first model, taken off what a completion is paid."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.rewards_with_kl import rewards_with_kl


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    leaf = torch.tensor(case["log_probs"], requires_grad=True)
    names = ("rewards", "log_probs", "base_log_probs", "mask")
    inputs = [leaf * 1.0 if n == "log_probs" else torch.tensor(case[n]) for n in names]
    beta = float(case["beta"])
    paid = function(*inputs, beta)
    gradient = torch.zeros_like(leaf)
    if isinstance(paid, torch.Tensor) and paid.requires_grad:
        (found,) = torch.autograd.grad(paid.sum(), [leaf], allow_unused=True, retain_graph=True)
        gradient = gradient if found is None else found
    seen = frozen(paid)
    kept = all(
        untouched(x, case[name], graph=name == "log_probs")
        for name, x in zip(names, inputs, strict=True)
    )
    return {
        "paid": seen,
        "gradient": gradient,
        "inputs_unchanged": kept,
        "second_call_agrees": same_again(lambda: function(*inputs, beta), seen),
    }


def _case(rewards: Any, probs: Any, base: Any, mask: Any, beta: float) -> Case:
    return {
        "rewards": np.asarray(rewards, dtype=float),
        "log_probs": np.log(probs),
        "base_log_probs": np.log(base),
        "mask": np.asarray(mask, dtype=bool),
        "beta": beta,
    }


PROBS = np.array([[0.5, 0.3, 0.6, 0.2], [0.8, 0.25, 0.4, 0.7], [0.35, 0.9, 0.15, 0.55]])
BASE = np.array([[0.2, 0.6, 0.3, 0.5], [0.4, 0.75, 0.8, 0.3], [0.7, 0.3, 0.45, 0.2]])


def public_cases() -> list[Case]:
    return [
        _case([1.0], [[0.6, 0.4]], [[0.3, 0.1]], [[1, 1]], 0.1),
        _case([1.0, -0.5], PROBS[:2], BASE[:2], np.ones((2, 4)), 0.3),
        _case([0.5, 2.0, -1.0], PROBS, BASE, [[0, 1, 1, 0], [1, 1, 1, 1], [0, 1, 0, 0]], 0.2),
        _case(  # as many completions as tokens
            [0.0, 1.0, 1.5], BASE[:, 1:], PROBS[:, 1:], [[1, 1, 0], [0, 1, 1], [1, 0, 0]], 0.5
        ),
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for kind, steps in enumerate(rng.permutation(np.arange(3, 8))[:4]):
        batch, steps = int(rng.integers(3, 7)), int(steps)
        shape = batch, steps
        probs, base = (rng.uniform(0.1, 0.9, size=shape) for _ in range(2))
        lengths = np.concatenate([[1, 2], rng.integers(1, steps + 1, size=batch - 2)])
        starts = rng.integers(0, steps - lengths + 1)
        places = np.arange(steps)
        mask = (places >= starts[:, None]) & (places < (starts + lengths)[:, None])
        if kind == 0:
            mask = np.ones(shape, dtype=bool)
        rewards = rng.permutation(np.concatenate([[-1.0], rng.normal(size=batch - 1)]))
        cases.append(_case(rewards, probs, base, mask, float(rng.uniform(0.1, 0.8))))
    return cases


# Right by other means.


def with_a_float_mask(
    rewards: Tensor, new: Tensor, base: Tensor, mask: Tensor, beta: float
) -> Tensor:
    with torch.no_grad():
        return rewards - beta * ((new - base) * mask.float()).sum(-1)


def one_by_one(rewards: Tensor, new: Tensor, base: Tensor, mask: Tensor, beta: float) -> Any:
    paid = rewards.tolist()
    for b in range(len(paid)):
        for t in range(mask.shape[1]):
            if mask[b, t]:
                paid[b] -= beta * float(torch.log(new[b, t].detach().exp() / base[b, t].exp()))
    return paid


def in_numpy(rewards: Tensor, new: Tensor, base: Tensor, mask: Tensor, beta: float) -> Any:
    gaps = (base - new.detach()).numpy().astype(np.float32)
    return rewards.numpy() + beta * np.where(mask.numpy(), gaps, 0).sum(axis=1)


def of_whole_completions(
    rewards: Tensor, new: Tensor, base: Tensor, mask: Tensor, beta: float
) -> Tensor:
    ours, theirs = (torch.einsum("bt,bt->b", x.data, mask.to(x.dtype)) for x in (new, base))
    return rewards.clone().sub_(beta * (ours - theirs))


# What students write instead.

slip = partial(slip_of, rewards_with_kl, see="08_advantages#G5")

CHECK = Check(
    title="The KL in the reward",
    reference=rewards_with_kl,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "gradient flows through the reward",
            "The numbers are right, but the answer still hangs on the graph of the "
            "log-probabilities. A reward is a number that the world pays: detach it, or the slope "
            "of the penalty is added to the policy gradient.",
            log_ratios="log_probs - base_log_probs",
        ),
        slip(
            "penalty added",
            "The penalty is added, or the two models are exchanged. A token that the policy says "
            "more often than the base model is to cost something.",
            paid="rewards + beta * penalties",
        ),
        slip(
            "mean over the tokens",
            "The log ratios of a completion are averaged. Asked for is their sum, the log ratio of "
            "the whole completion, whose mean is the KL of the two models.",
            penalties="kept_log_ratios.sum(dim=1) / mask.sum(dim=1)",
        ),
        slip(
            "mean over all places",
            "The log ratios of a completion are divided by the number of places. Asked for is "
            "their sum, the log ratio of the whole completion.",
            penalties="kept_log_ratios.mean(dim=1)",
        ),
        slip(
            "mask ignored",
            "The mask has no effect: prompts and padding are paid for like what was said. Nobody "
            "chose those tokens.",
            see="08_advantages#G1",
            kept_log_ratios="log_ratios",
        ),
        slip(
            "k3 instead of the log ratio",
            "The penalty is k3, ratio - 1 - log ratio. Its mean for one token is the same, but in "
            "the reward it teaches something else: take the plain log ratio.",
            kept_log_ratios="torch.where(mask, torch.exp(-log_ratios) + log_ratios - 1, 0.0)",
        ),
        slip(
            "half the square",
            "The penalty is half the square of the log ratio, k2. Asked for is the log ratio "
            "itself, which may be negative for a single completion.",
            kept_log_ratios="torch.where(mask, 0.5 * log_ratios**2, 0.0)",
        ),
        slip(
            "absolute log ratio",
            "The penalty is the absolute value of each log ratio. A token that the base model says "
            "more often has a negative one, and gives something back.",
            kept_log_ratios="torch.where(mask, log_ratios.abs(), 0.0)",
        ),
        slip(
            "no negative log ratios",
            "Negative log ratios of tokens are set to 0. They belong into the sum: only with them "
            "is its mean the KL.",
            kept_log_ratios="torch.where(mask, log_ratios, 0.0).clamp(min=0.0)",
        ),
        slip(
            "no negative penalty",
            "Negative penalties of completions are set to 0. They belong into it: only with them "
            "is the mean penalty the KL.",
            penalties="kept_log_ratios.sum(dim=1).clamp(min=0.0)",
        ),
        slip(
            "beta ignored",
            "beta has no effect, as if it were 1. It says how much the distance costs.",
            paid="rewards - penalties",
        ),
        slip(
            "no penalty",
            "The rewards come back as they were. What does it cost to be far from the base model?",
            paid="rewards + 0.0 * penalties",
        ),
        slip(
            "one penalty for the whole batch",
            "Every completion pays for all of the batch. Each pays for its own tokens.",
            penalties="kept_log_ratios.sum()",
        ),
        slip(
            "mean penalty of the batch",
            "Every completion pays the mean penalty of the batch. The same for all, that is no "
            "reason to prefer one: each pays for its own tokens.",
            penalties="kept_log_ratios.sum(dim=1).mean()",
        ),
        slip(
            "sum over the batch instead of the tokens",
            "The log ratios were added up down the batch. Row b holds the tokens of completion b: "
            "which axis is to go?",
            penalties="""
                columns = kept_log_ratios.sum(dim=0)
                penalties = torch.nn.functional.pad(columns, (0, len(rewards)))[: len(rewards)]
            """,
        ),
        slip(
            "ratio instead of its logarithm",
            "The penalty is made of the ratios themselves. Asked for are their logarithms: those "
            "of a completion add up, and agreement costs nothing.",
            kept_log_ratios="torch.where(mask, torch.exp(log_ratios), 0.0)",
        ),
        slip(
            "ratio less 1",
            "The penalty is made of the ratios, less 1. Asked for are their logarithms, which are "
            "that only nearly.",
            kept_log_ratios="torch.where(mask, torch.exp(log_ratios) - 1, 0.0)",
        ),
        slip(
            "difference of the probabilities",
            "The penalty is made of the differences of the probabilities. Asked for are those of "
            "their logarithms.",
            log_ratios="torch.exp(log_probs.detach()) - torch.exp(base_log_probs)",
        ),
        slip(
            "weighed by the policy's probability",
            "Each log ratio is multiplied by the token's probability. The tokens were drawn: a "
            "likely one is there more often already.",
            kept_log_ratios="torch.where(mask, log_ratios * torch.exp(log_probs.detach()), 0.0)",
        ),
        slip(
            "penalty as a factor",
            "The reward is multiplied by 1 less the penalty. A text that earned nothing would pay "
            "nothing: take the penalty off.",
            paid="rewards * (1 - beta * penalties)",
        ),
        slip(
            "base model left out",
            "The penalty is made of the policy's own log-probabilities: that pays for chance, like "
            "a bonus for entropy. What is the policy to be compared with?",
            log_ratios="log_probs.detach() + 0.0 * base_log_probs",
        ),
        slip(
            "a reward for each token",
            "The answer has a number for each token. Here a completion is paid once, as a whole: "
            "(B,).",
            paid="rewards[:, None] - beta * kept_log_ratios",
        ),
        slip(
            "a reward for each token, paid at the last",
            "The answer has a number for each token, with the reward at the last one. That is how "
            "PPO with a critic does it; here a completion is paid once, as a whole: (B,).",
            paid="""
                last = mask.shape[1] - 1 - mask.flip(1).int().argmax(dim=1)
                paid = -beta * kept_log_ratios
                paid[torch.arange(len(rewards)), last] += rewards
            """,
        ),
        slip(
            "mask the wrong way round",
            "What is kept and what is left out are exchanged. Here True means that a token counts.",
            see="08_advantages#G1",
            kept_log_ratios="torch.where(mask, 0.0, log_ratios)",
        ),
        slip(
            "normalises the rewards",
            "The rewards were shifted and scaled to mean 0 and spread 1 afterwards. That is for "
            "the advantages; here the plain rewards are asked for.",
            see="08_advantages#C72",
            answer="(answer - answer.mean()) / (answer.std(correction=0) + 1e-8)",
        ),
    ),
    parts=(
        Property(
            "where all tokens count",
            cases=lambda case: case["mask"].all(),
            observations=("paid",),
        ),
        Property(
            "with prompt and padding",
            cases=lambda case: not case["mask"].all(),
            observations=("paid",),
        ),
        Property("no gradient into the log-probabilities", observations=("gradient",), beside=True),
    ),
    accepted=(with_a_float_mask, one_by_one, in_numpy, of_whole_completions),
)
