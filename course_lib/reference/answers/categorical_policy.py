"""Homework answer: log-probabilities and entropies of a policy with discrete actions."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def categorical_policy(logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """How likely each action was, and how undecided the policy is, from a network's logits.

    log_probs_b = log pi(a_b | s_b), with pi(a | s_b) = exp(logits[b, a]) / sum_c exp(logits[b, c]);
    entropies_b = -sum_a pi(a | s_b) log pi(a | s_b), in nats.
    logits: (B, A), one row a state. actions: (B,) whole numbers, those that were taken.
    Returns log_probs (B,) and entropies (B,), both with a graph down to the logits. [slide 68; the
    entropy: Mnih et al. 2016, section 4]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or an action is no whole
    number from 0 to A - 1.
    """
    validate.shapes("B A, B", logits=logits, actions=actions)
    validate.indices(logits.shape[-1], actions=actions)
    all_log_probs = torch.log_softmax(logits, dim=-1)  # (B, A)
    probs = all_log_probs.exp()  # (B, A)
    log_probs = all_log_probs.gather(-1, actions.long()[:, None]).squeeze(-1)  # (B,)
    entropies = -(probs * all_log_probs).sum(dim=-1)  # (B,)
    return log_probs, entropies
