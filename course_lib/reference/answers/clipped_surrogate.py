"""Homework answer: PPO's clipped objective."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def clipped_surrogate(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, epsilon: float
) -> Tensor:
    """PPO's objective: mean of min(ratio * A, clip(ratio, 1 - epsilon, 1 + epsilon) * A).

    ratio = pi(a | s) / pi_old(a | s), from log-probabilities.
    log_probs: (B,) with a graph. old_log_probs, advantages: (B,) constants. epsilon: in [0, 1].
    Returns a scalar, to be made large. [slide 60, note 3.2]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or epsilon is outside
    [0, 1].
    """
    validate.shapes(
        "B, B, B", log_probs=log_probs, old_log_probs=old_log_probs, advantages=advantages
    )
    validate.fractions(epsilon=epsilon)
    ratio = torch.exp(log_probs - old_log_probs)  # (B,)
    clipped_ratio = torch.clamp(ratio, 1 - epsilon, 1 + epsilon)
    terms = torch.minimum(ratio * advantages, clipped_ratio * advantages)  # (B,)
    return terms.mean()
