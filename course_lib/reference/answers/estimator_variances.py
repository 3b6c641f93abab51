"""Homework answer: the exact variance of two estimates of the same gradient.

theta (S, A) holds the logits of a tabular softmax policy, pi(a | s) = softmax(theta[s])[a].
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def estimator_variances(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    rewards: Tensor,
    probabilities: Tensor,
    gamma: float,
) -> Tensor:
    """Total variance of the estimate from one episode, of REINFORCE-1 and of REINFORCE-2.

    E[ |g - E[g]|^2 ], the variances of all entries of g (S, A) added up, where g is
    R(tau) sum_t grad log pi(a_t | s_t), or sum_t gamma^t G_t grad log pi(a_t | s_t).
    theta: (S, A) logits of a tabular softmax policy. states, actions: (N, T) whole numbers, a row
    for each trajectory that is possible. rewards: (N, T). probabilities: (N,), which sum to 1.
    gamma: in [0, 1].
    Returns (2,): first that of REINFORCE-1, then that of REINFORCE-2. [note section 2.2]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or gamma is outside [0, 1].
    """
    validate.shapes(
        "S A, N T, N T, N T, N",
        theta=theta,
        states=states,
        actions=actions,
        rewards=rewards,
        probabilities=probabilities,
    )
    validate.fractions(gamma=gamma)
    policy = torch.softmax(theta.detach(), dim=-1)
    visited = torch.eye(len(policy), dtype=policy.dtype, device=policy.device)[states]  # (N, T, S)
    taken = torch.eye(policy.shape[1], dtype=policy.dtype, device=policy.device)[actions]
    scores = torch.einsum("nts,nta->ntsa", visited, taken - policy[states])
    discounts = gamma ** torch.arange(states.shape[1], dtype=policy.dtype, device=policy.device)
    paid = discounts * rewards  # (N, T)
    whole_return = paid.sum(dim=1, keepdim=True).expand_as(paid)  # (N, T): R(tau) on every step
    to_go = paid.flip(1).cumsum(dim=1).flip(1)  # (N, T): gamma^t G_t
    variances = []
    for weights in (whole_return, to_go):
        estimates = torch.einsum("nt,ntsa->nsa", weights, scores)
        mean = torch.einsum("n,nsa->sa", probabilities, estimates)
        off = estimates - mean
        squares = off.square().flatten(1).sum(dim=1)  # (N,)
        variance = probabilities @ squares
        variances.append(variance)
    return torch.stack(variances)
