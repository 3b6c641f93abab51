"""Homework answer: the objective that is climbed on a batch of an older policy."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def surrogate(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    """Importance-sampled surrogate: mean over the batch of ratio * A.

    ratio = pi(a | s) / pi_old(a | s), from log-probabilities. The old policy and the advantages are
    constants: no gradient flows into them, even if they come with a graph.
    log_probs: (B,) with a graph. old_log_probs, advantages: (B,).
    Returns a scalar, to be made large. [slide 57, note (7)]
    Raises ValueError if a shape is off, or a tensor is empty or holds nan.
    """
    validate.shapes(
        "B, B, B", log_probs=log_probs, old_log_probs=old_log_probs, advantages=advantages
    )
    old = old_log_probs.detach()
    weights = advantages.detach()
    ratio = torch.exp(log_probs - old)  # (B,)
    terms = ratio * weights  # (B,)
    return terms.mean()
