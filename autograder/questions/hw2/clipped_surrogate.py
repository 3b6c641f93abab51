"""hw2: PPO's clipped objective, probed off-policy on both sides of the clip."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, same_again, untouched
from course_lib.reference.answers.clipped_surrogate import clipped_surrogate


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    leaf = torch.tensor(case["log_probs"], requires_grad=True)
    names = ("log_probs", "old_log_probs", "advantages")
    inputs = [leaf * 1.0, torch.tensor(case["old_log_probs"]), torch.tensor(case["advantages"])]
    value = function(*inputs, float(case["epsilon"]))
    gradient = torch.zeros_like(leaf)
    if isinstance(value, torch.Tensor) and value.requires_grad and value.numel() == 1:
        (found,) = torch.autograd.grad(value.sum(), [leaf], allow_unused=True)
        gradient = gradient if found is None else found
    kept = all(
        untouched(x, case[name], graph=name == "log_probs")
        for name, x in zip(names, inputs, strict=True)
    )
    again = same_again(lambda: function(*inputs, float(case["epsilon"])), value)
    return {
        "value": value,
        "gradient": gradient,
        "inputs_unchanged": kept,
        "second_call_agrees": again,
    }


def _case(ratios: Any, advantages: Any, epsilon: float, old: Any) -> Case:
    old = np.asarray(old, dtype=float)
    return {
        "log_probs": old + np.log(ratios),
        "old_log_probs": old,
        "advantages": np.asarray(advantages, dtype=float),
        "epsilon": epsilon,
    }


def public_cases() -> list[Case]:
    return [
        _case([1.5, 0.7], [1.0, 1.0], 0.2, np.log([0.4, 0.5])),
        _case(
            [0.5, 1.1, 1.6, 0.5, 0.9, 1.6],  # below, inside and above, for both signs
            [1.0, 2.0, 0.5, -1.5, -1.0, -0.7],
            0.2,
            [-1.0, -0.8, -1.5, -0.4, -0.9, -2.0],
        ),
        _case([0.89, 0.91, 1.09, 1.11], [-1.0, -2.0, 1.5, 0.8], 0.1, [-0.3, -1.2, -0.7, -0.5]),
        _case([4.5, 0.2, 1.0], [-1.0, 1.2, 0.6], 0.3, [-1.4, -0.6, -0.2]),
        _case([4.0, 12.0, 0.05], [-1.0, -0.5, -0.8], 0.2, [-2.0, -3.0, -0.5]),  # far apart
        _case([0.96, 1.03, 1.07], [1.8, -1.5, 0.5], 0.1, [-0.7, -1.1, -0.4]),  # all inside
        _case([1.32, 0.6, 1.05, 2.0], [1.9, 0.4, 1.2, 0.6], 0.3, [-1.0, -0.6, -0.3, -1.7]),
        _case([0.6, 1.45, 0.95, 0.8], [-1.8, -0.5, -1.1, -0.4], 0.15, [-1.0, -0.6, -0.3, -1.7]),
    ]


def _inside(case: Arrays) -> bool:
    ratios = np.exp(case["log_probs"] - case["old_log_probs"])
    return bool((abs(ratios - 1) < case["epsilon"]).all())


def _signs(case: Arrays) -> set[float]:
    return set(np.sign(case["advantages"]))


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    sizes = rng.permutation(np.arange(0, 9))
    for extra, sign in zip(sizes, (None, None, 1.0, -1.0), strict=False):
        epsilon = float(rng.uniform(0.08, 0.35))
        # Every region with either sign, some just inside or outside the edges.
        edges = epsilon * rng.uniform(0.93, 0.98, size=2), epsilon * rng.uniform(1.02, 1.07, size=2)
        ratios = np.concatenate(
            [
                rng.uniform(0.3, 0.98 - epsilon, size=2),
                rng.uniform(1 - 0.9 * epsilon, 1 + 0.9 * epsilon, size=2),
                rng.uniform(1.02 + epsilon, 2.0, size=2),
                1 - edges[0],
                1 + edges[1],
                rng.uniform(0.3, 2.0, size=extra),
                rng.uniform(4.0, 14.0, size=1),  # far away, and nothing holds it where A < 0
            ]
        )
        signs = np.where(np.arange(len(ratios)) % 2 == 0, 1.0, -1.0)
        signs[-1] = -1.0
        signs = signs if sign is None else np.full(len(ratios), sign)
        advantages = signs * rng.uniform(0.3, 2.0, size=len(ratios))
        order = rng.permutation(len(ratios))
        old = -rng.uniform(0.7, 3, size=len(ratios))
        cases.append(_case(ratios[order], advantages[order], epsilon, old))
    ratios = 1 + rng.uniform(0.02, 0.07, size=4) * [1, -1, 1, -1]
    advantages = rng.uniform(0.3, 2.0, size=4) * [1, -1, -1, 1]
    cases.append(_case(ratios, advantages, rng.uniform(0.08, 0.35), -rng.uniform(0.7, 3, size=4)))
    return cases


# Right by other means.


def by_sign(new: Tensor, old: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
    ratio = torch.exp(new - old)
    best = torch.where(advantages >= 0, ratio.clamp(max=1 + epsilon), ratio.clamp(min=1 - epsilon))
    return (best * advantages).mean()


def one_by_one(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, epsilon: float) -> Any:
    total: Any = 0.0
    for new, old, advantage in zip(log_probs, old_log_probs, advantages, strict=True):
        ratio = new.exp() / old.exp()
        clipped = min(max(ratio.item(), 1 - epsilon), 1 + epsilon) * advantage
        total = total + min(ratio * advantage, clipped)
    return total / len(log_probs)


def as_a_negated_loss(new: Tensor, old: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
    ratio = (new.float() - old.float()).exp()
    weights = -advantages.float()
    losses = torch.maximum(weights * ratio, weights * ratio.clip(1 - epsilon, 1 + epsilon))
    return -losses.mean()


# What students write instead.

slip = partial(slip_of, clipped_surrogate, see="07_ppo#C63")

CHECK = Check(
    title="PPO's clipped objective",
    reference=clipped_surrogate,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "maximum instead of minimum",
            "The larger of the two terms is taken. PPO is a pessimist: of the two estimates of "
            "how good the new policy is, it believes the smaller.",
            terms="torch.maximum(ratio * advantages, clipped_ratio * advantages)",
        ),
        slip(
            "clip without minimum",
            "Only the clipped ratio is used. Then a policy that has moved the wrong way (ratio too "
            "small for a good action, too large for a bad one) gets no gradient to come back.",
            terms="clipped_ratio * advantages",
        ),
        slip(
            "no clip",
            "epsilon has no effect: this is the plain surrogate, which rewards moving ever "
            "farther. What should happen once the ratio of a good action is above 1 + epsilon?",
            terms="ratio * advantages",
        ),
        slip(
            "clipped once more below",
            "For A < 0 the terms are held above 3 A (dual clip). That is a later addition; here a "
            "bad action that became far likelier counts in full.",
            terms="""
                terms = torch.minimum(ratio * advantages, clipped_ratio * advantages)
                terms = torch.where(advantages < 0, torch.maximum(terms, 3 * advantages), terms)
            """,
        ),
        slip(
            "clipped once more below at 2 A",
            "For A < 0 the terms are held above 2 A (dual clip). That is a later addition; here a "
            "bad action that became far likelier counts in full.",
            terms="""
                terms = torch.minimum(ratio * advantages, clipped_ratio * advantages)
                terms = torch.where(advantages < 0, torch.maximum(terms, 2 * advantages), terms)
            """,
        ),
        slip(
            "clipped once more below at 1.5 A",
            "For A < 0 the terms are held above 1.5 A (dual clip). That is a later addition; here "
            "a bad action that became far likelier counts in full.",
            terms="""
                terms = torch.minimum(ratio * advantages, clipped_ratio * advantages)
                terms = torch.where(advantages < 0, torch.maximum(terms, 1.5 * advantages), terms)
            """,
        ),
        slip(
            "no floor for negative advantages",
            "Your ratio is not clipped where A < 0. Work out min(ratio A, clip(ratio) A) for "
            "A = -1 and ratio = 0.5 by hand: which one is smaller, and is there a gradient left?",
            terms="torch.where(advantages > 0, ratio.clamp(max=1 + epsilon), ratio) * advantages",
        ),
        slip(
            "ratio is always 1",
            "The ratio is 1 whatever the policies are: the current policy stands above and below, "
            "so nothing is ever clipped. The lower one is the policy that collected the batch.",
            see="07_ppo#C62",
            ratio="torch.exp(log_probs - log_probs.detach())",
        ),
        slip(
            "exp is missing",
            "The difference of the log-probabilities is used as if it were the ratio. At the old "
            "policy it is 0, and the ratio is 1: what turns the one into the other?",
            see="07_ppo#C62",
            ratio="log_probs - old_log_probs",
        ),
        slip(
            "no gradient",
            "The number is right, but it has lost its graph, so its gradient is zero and nothing "
            "can be learned from it (look for no_grad, detach or item).",
            answer="answer.detach()",
        ),
        slip(
            "clips around 0 instead of 1",
            "The ratio is clipped to [-epsilon, epsilon]. Which ratio means that nothing has "
            "changed?",
            clipped_ratio="ratio.clamp(-epsilon, epsilon)",
        ),
        slip(
            "clips the log-ratio",
            "The clip is applied to the difference of the log-probabilities, which lets the ratio "
            "go up to exp(epsilon). The edges are 1 - epsilon and 1 + epsilon, on the ratio "
            "itself.",
            clipped_ratio="(log_probs - old_log_probs).clamp(-epsilon, epsilon).exp()",
        ),
        slip(
            "clips the product",
            "The product of ratio and advantage is clipped. It is the ratio that has to stay near "
            "1; advantages may have any size and sign.",
            ratio="torch.exp(log_probs - old_log_probs) * advantages",
            terms="torch.minimum(ratio, clipped_ratio)",
        ),
        slip(
            "sum instead of mean",
            "The terms are added up, so a minibatch twice as large takes a step twice as long. An "
            "expectation is estimated by a mean.",
            answer="terms.sum()",
        ),
        slip(
            "wrong sign",
            "The sign is that of a loss. Asked for is the objective itself, which is to be made "
            "large; whoever uses an optimiser turns it round there.",
            answer="-answer",
        ),
        slip(
            "minimum of the means",
            "The mean is taken first and the minimum of two numbers afterwards, so one sample's "
            "clip decides about all. The choice is made for each sample.",
            terms="torch.minimum((ratio * advantages).mean(), (clipped_ratio * advantages).mean())",
        ),
        slip(
            "minimum of the ratios",
            "The smaller ratio is chosen before multiplying with the advantage. For A < 0 the "
            "smaller ratio gives the larger product: compare the products.",
            terms="torch.minimum(ratio, clipped_ratio) * advantages",
        ),
        slip(
            "epsilon is always 0.2",
            "The clip is at 0.8 and 1.2 whatever epsilon says. Is the argument used?",
            clipped_ratio="ratio.clamp(0.8, 1.2)",
        ),
        slip(
            "ratio upside down",
            "The old probability stands above the new one. As a good action becomes more likely, "
            "this ratio falls: which way round does the objective rise?",
            see="07_ppo#C62",
            ratio="torch.exp(old_log_probs - log_probs)",
        ),
        slip(
            "clipped samples dropped",
            "Samples outside the clip count as zero. Two of the four cases outside keep their "
            "gradient, and the others keep their value.",
            terms="ratio * advantages * ((ratio > 1 - epsilon) & (ratio < 1 + epsilon))",
        ),
        slip(
            "normalises the advantages",
            "The advantages were shifted and scaled to mean 0 and spread 1. That is the caller's "
            "choice; here they are used as they come.",
            before="advantages = (advantages - advantages.mean()) / "
            "(advantages.std(correction=0) + 1e-8)",
        ),
        slip(
            "normalises the advantages by n - 1",
            "The advantages were shifted and scaled to mean 0 and spread 1 (torch's std divides by "
            "n - 1, so a single one even gives nan). That is the caller's choice; here they "
            "are used as they come.",
            before="advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)",
        ),
        slip(
            "quotient of the log-probabilities",
            "You divide one log-probability by the other. The quotient of two logarithms is not "
            "the logarithm of the quotient, and the ratio is of the probabilities.",
            see="06_trpo#C56",
            ratio="log_probs / old_log_probs",
        ),
        slip(
            "bounds of the clip swapped",
            "The larger bound was given as the smaller one; then torch's clamp sets everything to "
            "1 - epsilon. The lower bound comes first.",
            clipped_ratio="torch.clamp(ratio, 1 + epsilon, 1 - epsilon)",
        ),
        slip(
            "every ratio with every advantage",
            "Each ratio meets every advantage, (B, B) products in all: (B, 1) times (B,) makes "
            "that. Check the shapes: each advantage belongs to its own ratio.",
            terms="torch.minimum(ratio[:, None] * advantages, clipped_ratio[:, None] * advantages)",
        ),
        slip(
            "absolute value of the advantages",
            "The advantages count without their sign, so bad actions are made more likely as well. "
            "What should happen to an action that went worse than expected?",
            before="advantages = advantages.abs()",
        ),
        slip(
            "gradient through the clip",
            "The value is right, but the clipped ratio is given the gradient of the unclipped one, "
            "so that going too far is still rewarded. Beyond the limits the clip is flat.",
            clipped_ratio="""
                clipped_ratio = torch.clamp(ratio, 1 - epsilon, 1 + epsilon)
                clipped_ratio = ratio + (clipped_ratio - ratio).detach()
            """,
        ),
        slip(
            "clips between epsilon and 1 + epsilon",
            "The lower limit of the clip is epsilon. It lies as far below 1 as the upper one lies "
            "above: 1 - epsilon.",
            clipped_ratio="torch.clamp(ratio, min=epsilon, max=1 + epsilon)",
        ),
        slip(
            "bonus for entropy",
            "A multiple of the entropy (the mean of -log pi) was added, as PPO programs do. The "
            "clipped objective alone is asked for.",
            any_size=True,
            answer="answer - 0.01 * log_probs.mean()",
        ),
    ),
    parts=(
        Property("inside the clip", cases=lambda case: _inside(case), observations=("value",)),
        Property("A > 0", 2, cases=lambda case: _signs(case) == {1.0}, observations=("value",)),
        Property("A < 0", 2, cases=lambda case: _signs(case) == {-1.0}, observations=("value",)),
        Property("both signs", cases=lambda case: len(_signs(case)) == 2, observations=("value",)),
        Property("the gradient", observations=("gradient",)),
    ),
    accepted=(by_sign, one_by_one, as_a_negated_loss),
)
