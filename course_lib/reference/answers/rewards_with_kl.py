"""Homework answer: rewards from which the distance to the base model is taken off."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def rewards_with_kl(
    rewards: Tensor, log_probs: Tensor, base_log_probs: Tensor, mask: Tensor, beta: float
) -> Tensor:
    """What each completion is paid, less beta times its log-probability ratio to the base model.

    R'_b = R_b - beta * sum over the kept tokens of b of (log pi(token) - log pi_base(token)).
    rewards: (B,). log_probs: (B, T), of the policy that drew the tokens, maybe with a graph.
    base_log_probs: (B, T). mask: (B, T) bool, the tokens that are kept; elsewhere stands anything.
    beta: in [0, 1]. Returns (B,), a constant: without a graph.
    [slide 70; Ouyang et al. 2022, InstructGPT, (2)]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or beta is outside [0, 1].
    """
    validate.shapes(
        "B, B T, B T, B T",
        rewards=rewards,
        log_probs=log_probs,
        base_log_probs=base_log_probs,
        mask=mask,
    )
    validate.fractions(beta=beta)
    log_ratios = log_probs.detach() - base_log_probs  # (B, T)
    kept_log_ratios = torch.where(mask, log_ratios, 0.0)
    penalties = kept_log_ratios.sum(dim=1)  # (B,)
    paid = rewards - beta * penalties  # (B,)
    return paid
