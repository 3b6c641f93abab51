"""Homework answer: the clipped loss with one ratio a completion."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def sequence_level_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    epsilon_low: float,
    epsilon_high: float,
) -> Tensor:
    """GSPO's loss: minus the clipped surrogate of whole completions, as a mean over completions.

    L = -(1 / B) sum over b of min(s_b A_b, clip(s_b, 1 - epsilon_low, 1 + epsilon_high) A_b), with
    s_b = exp(mean over the kept tokens of b of log pi(token) - log pi_old(token)).
    log_probs: (B, T) with a graph. old_log_probs: (B, T) constants. advantages: (B,) constants.
    mask: (B, T) bool, the tokens that are kept, at least one in each row; elsewhere stands
    anything. epsilon_low, epsilon_high: in [0, 1].
    Returns a scalar, to be made small. [slide 60; Zheng et al. 2025, GSPO, section 4]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, a row keeps no token, or an
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
    validate.positive(kept_tokens_of_a_row=mask.sum(dim=1).min().item())
    kept_log_ratios = torch.where(mask, log_probs - old_log_probs, 0.0)  # (B, T)
    kept = mask.sum(dim=1)  # (B,)
    log_ratios = kept_log_ratios.sum(dim=1) / kept  # (B,)
    ratios = torch.exp(log_ratios)
    clipped_ratios = torch.clamp(ratios, 1 - epsilon_low, 1 + epsilon_high)
    terms = torch.minimum(ratios * advantages, clipped_ratios * advantages)  # (B,)
    gain = terms.mean()
    return -gain
