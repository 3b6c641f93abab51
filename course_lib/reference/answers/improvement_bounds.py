"""Homework answer: what CPI and TRPO guarantee of a step, on tables."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def improvement_bounds(
    old_return: float,
    visitation: Tensor,
    old_policy: Tensor,
    target_policy: Tensor,
    advantages: Tensor,
    alpha: float,
    gamma: float,
) -> Tensor:
    """Three lower bounds on J(new), new = (1 - alpha) * old + alpha * target, from old quantities.

    All subtract a penalty from L = J(old) + sum_s rho_old(s) sum_a new(a | s) A_old(s, a):
    (1) CPI: 2 eps gamma / (1 - gamma)^2 * alpha^2, eps = max_s |sum_a target(a | s) A_old(s, a)|;
    (2) TRPO: 4 eps gamma / (1 - gamma)^2 * TV^2, eps = max_{s, a} |A_old(s, a)|,
    TV = max_s 1/2 sum_a |old(a | s) - new(a | s)|;
    (3) TRPO in KL: as (2) with KL / 2 for TV^2, KL = max_s sum_a old(a | s) log(old / new).
    old_return: J(old). visitation: (S,), of the old policy, not normalised. old_policy,
    target_policy: (S, A) probabilities > 0. advantages: (S, A), of the old policy.
    alpha: in [0, 1]. gamma: in [0, 1).
    Returns (3,), in this order. [slide 47, slide 51 and slide 53; the 1/2 is Pinsker's]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or alpha or gamma is off.
    """
    validate.shapes(
        "S, S A, S A, S A",
        visitation=visitation,
        old_policy=old_policy,
        target_policy=target_policy,
        advantages=advantages,
    )
    validate.fractions(alpha=alpha, gamma=gamma)
    validate.positive(one_minus_gamma=1 - gamma)
    new_policy = (1 - alpha) * old_policy + alpha * target_policy  # (S, A)
    expected = (new_policy * advantages).sum(dim=-1)  # (S,)
    promised = old_return + (visitation * expected).sum()
    horizon = gamma / (1 - gamma) ** 2

    target_gain = (target_policy * advantages).sum(dim=-1)  # (S,)
    mixture_epsilon = target_gain.abs().max()
    mixture_penalty = 2 * mixture_epsilon * horizon * alpha**2

    epsilon = advantages.abs().max()
    distance = (old_policy - new_policy).abs().sum(dim=-1) / 2  # (S,)
    variation = distance.max()
    variation_penalty = 4 * epsilon * horizon * variation**2

    divergence = (old_policy * (old_policy / new_policy).log()).sum(dim=-1)  # (S,)
    largest_kl = divergence.max()
    kl_penalty = 2 * epsilon * horizon * largest_kl
    return promised - torch.stack([mixture_penalty, variation_penalty, kl_penalty])
