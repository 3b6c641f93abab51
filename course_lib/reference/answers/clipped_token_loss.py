"""Homework answer: the clipped loss of a batch of completions, token by token."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def clipped_token_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    epsilon_low: float,
    epsilon_high: float,
) -> Tensor:
    """DAPO's loss: minus the clipped surrogate, as a mean over all kept tokens of the batch.

    L = -(1 / M) sum over kept (b, t) of min(ratio A_b, clip(ratio, 1 - epsilon_low,
    1 + epsilon_high) A_b), with ratio = pi(token) / pi_old(token) at (b, t), and M kept tokens.
    log_probs: (B, T) with a graph. old_log_probs: (B, T) constants. advantages: (B,) constants, one
    a completion. mask: (B, T) bool, the tokens that are kept: at least one of the batch; a row may
    have none, and elsewhere stands anything. epsilon_low, epsilon_high: in [0, 1].
    Returns a scalar, to be made small. [slide 60; Yu et al. 2025, DAPO, sections 3.1 and 3.3]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, no token is kept, or an
    epsilon is outside [0, 1].
    """
    validate.shapes(
        "B T, B T, B, B T",
        log_probs=log_probs,
        old_log_probs=old_log_probs,
        advantages=advantages,
        mask=mask,
    )
    validate.fractions(epsilon_low=epsilon_low, epsilon_high=epsilon_high)
    validate.positive(kept_tokens=mask.sum().item())
    log_ratios = log_probs - old_log_probs  # (B, T)
    ratios = torch.exp(log_ratios)
    weights = advantages[:, None]  # (B, 1)
    clipped_ratios = torch.clamp(ratios, 1 - epsilon_low, 1 + epsilon_high)
    terms = torch.minimum(ratios * weights, clipped_ratios * weights)  # (B, T)
    kept_terms = torch.where(mask, terms, 0.0)
    gain = kept_terms.sum() / mask.sum()
    return -gain
