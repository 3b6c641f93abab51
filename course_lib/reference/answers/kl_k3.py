"""Homework answer: the KL from the first model as a term of the loss, with the right slope."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def kl_k3(log_probs: Tensor, old_log_probs: Tensor, base_log_probs: Tensor, mask: Tensor) -> Tensor:
    """The KL divergence from the base model, estimated on tokens that the old policy drew.

    K = (1 / M) sum over kept tokens of ratio * (exp(d) - d - 1), with ratio = pi / pi_old,
    d = log pi_base - log pi, and M kept tokens. Given what stands before a token, the mean over
    pi_old of value and slope are those of KL(pi || pi_base).
    log_probs: (B, T) with a graph, which the ratio and d have both. old_log_probs, base_log_probs:
    (B, T) constants. mask: (B, T) bool, the tokens that are kept, at least one; elsewhere stands
    anything.
    Returns a scalar, to be made small. [slide 70; Schulman 2020, Approximating KL divergence, k3;
    DeepSeek-AI 2025, DeepSeek-V3.2, section 3.1]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or no token is kept.
    """
    validate.shapes(
        "B T, B T, B T, B T",
        log_probs=log_probs,
        old_log_probs=old_log_probs,
        base_log_probs=base_log_probs,
        mask=mask,
    )
    validate.positive(kept_tokens=mask.sum().item())
    ratios = torch.exp(log_probs - old_log_probs)  # (B, T)
    d = base_log_probs - log_probs  # (B, T)
    estimates = torch.exp(d) - d - 1
    terms = ratios * estimates
    kept_terms = torch.where(mask, terms, 0.0)
    return kept_terms.sum() / mask.sum()
