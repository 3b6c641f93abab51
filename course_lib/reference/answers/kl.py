"""Homework answer: how far two policies are apart."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def kl(old_logits: Tensor, logits: Tensor) -> Tensor:
    """Mean over states of KL(pi_old || pi) = sum_a pi_old(a | s) log(pi_old(a | s) / pi(a | s)).

    old_logits, logits: (B, A), one row a visited state; pi = softmax(logits) along each row.
    Returns a scalar >= 0. [slide 56]
    Raises ValueError if a shape is off, or a tensor is empty or holds nan.
    """
    validate.shapes("B A, B A", old_logits=old_logits, logits=logits)
    old_log_probs = torch.log_softmax(old_logits, dim=-1)  # (B, A)
    log_probs = torch.log_softmax(logits, dim=-1)  # (B, A)
    terms = old_log_probs.exp() * (old_log_probs - log_probs)  # (B, A)
    return terms.sum(dim=-1).mean()
