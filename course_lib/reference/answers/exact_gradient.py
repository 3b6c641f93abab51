"""Homework answer: the exact policy gradient, by listing every trajectory of a few steps.

theta (S, A) holds the logits of a tabular softmax policy, pi(a | s) = softmax(theta[s])[a].
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def exact_gradient(
    theta: Tensor,
    start: Tensor,
    transitions: Tensor,
    rewards: Tensor,
    gamma: float,
    horizon: int,
) -> Tensor:
    """Gradient of the expected return of episodes of T = horizon steps, without any sampling.

    grad J = sum_tau P(tau) R(tau) sum_t grad log pi(a_t | s_t), over all trajectories
    s_0, a_0, ..., s_{T-1}, a_{T-1}, with R(tau) = sum_t gamma^t r(s_t, a_t).
    theta: (S, A) logits of a tabular softmax policy, left as it is. start: (S,), start[s] =
    p(s_0 = s). transitions: (S, A, S), [s, a, s2] = p(s2 | s, a). rewards: (S, A). gamma: in
    [0, 1]. horizon: at least 1.
    Returns (S, A), the gradient with respect to theta. [note (2)]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, gamma is outside [0, 1] or
    horizon is below 1.
    """
    validate.shapes(
        "S A, S, S A S, S A", theta=theta, start=start, transitions=transitions, rewards=rewards
    )
    validate.fractions(gamma=gamma)
    validate.positive(horizon=horizon)
    theta = theta.detach().requires_grad_()
    step = [torch.arange(size, device=theta.device) for size in theta.shape]  # a state, an action
    ways = torch.cartesian_prod(*(step * horizon))  # (N, 2 T): N trajectories, possible or not
    states, actions = ways[:, 0::2], ways[:, 1::2]  # (N, T) each
    log_policy = torch.log_softmax(theta, dim=-1)[states, actions]  # (N, T)
    first = start[states[:, 0]]  # (N,)
    moves = transitions[states[:, :-1], actions[:, :-1], states[:, 1:]]  # (N, T - 1)
    probabilities = first * moves.prod(dim=1) * log_policy.detach().exp().prod(dim=1)  # (N,)
    discounts = gamma ** torch.arange(horizon, dtype=theta.dtype, device=theta.device)
    paid = discounts * rewards[states, actions]  # (N, T)
    weights = probabilities * paid.sum(dim=1)  # (N,)
    (gradient,) = torch.autograd.grad((weights * log_policy.sum(dim=1)).sum(), theta)
    return gradient
