"""Homework answer: the loss of REINFORCE for a batch of episodes and a network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib import validate


def reinforce_loss(
    network: Callable[[Tensor], Tensor],
    observations: Tensor,
    actions: Tensor,
    returns: Tensor,
    mask: Tensor,
    gamma: float,
) -> Tensor:
    """Loss whose descent is REINFORCE on B episodes, padded to T steps.

    - (1 / B) sum_b sum_t gamma^t G_{b,t} log pi(a_{b,t} | s_{b,t}), over the steps that happened.
    network: observations (B, T, O), or (..., O) -> logits (..., A) of the policy, with a graph.
    observations: (B, T, O). actions: (B, T) whole numbers. returns: (B, T), the rewards-to-go.
    mask: (B, T) bool, True where the step happened; elsewhere the others hold anything.
    gamma: in [0, 1]. Returns a scalar. [slide 68, note (6) and Algorithm 1]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or gamma is outside [0, 1].
    """
    validate.shapes(
        "B T O, B T, B T, B T",
        observations=observations,
        actions=actions,
        returns=returns,
        mask=mask,
    )
    validate.fractions(gamma=gamma)
    log_probs = torch.log_softmax(network(observations), dim=-1)  # (B, T, A)
    taken = log_probs.gather(-1, actions[..., None]).squeeze(-1)  # (B, T)
    discounts = gamma ** torch.arange(mask.shape[1], dtype=returns.dtype, device=returns.device)
    weights = discounts * returns * mask  # (B, T), 0 in the padding
    totals = (weights * taken).sum(dim=1)  # (B,)
    return -totals.mean()
