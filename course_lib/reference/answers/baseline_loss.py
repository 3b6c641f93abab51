"""Homework answer: a loss whose gradient is the policy gradient's, with a baseline."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def baseline_loss(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Tensor:
    """Loss whose descent is ascent on J: - sum_t gamma^t (G_t - b_t) log pi(a_t | s_t).

    The baseline b_t = values[t] is a constant here: no gradient flows into values, even if they
    come with a graph.
    log_probs: (T,) log pi(a_t | s_t), with a graph. returns: (T,) the rewards-to-go.
    values: (T,). gamma: in [0, 1]. Returns a scalar. [slide 28 and note (6), with a baseline]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or gamma is outside [0, 1].
    """
    validate.shapes("T, T, T", log_probs=log_probs, returns=returns, values=values)
    validate.fractions(gamma=gamma)
    discounts = gamma ** torch.arange(len(returns), dtype=returns.dtype, device=returns.device)
    baseline = values.detach()
    advantages = returns - baseline
    terms = discounts * advantages * log_probs  # (T,)
    return -terms.sum()
