"""Homework answer: the policy gradient from one episode, with rewards-to-go.

theta (S, A) holds the logits of a tabular softmax policy, pi(a | s) = softmax(theta[s])[a].
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def reinforce_2(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    """REINFORCE-2 from one episode: sum_t gamma^t G_t grad log pi(a_t | s_t).

    The rewards-to-go G_t are given; the discount gamma^t in front of the score is kept.
    theta: (S, A) logits of a tabular softmax policy, left as it is.
    states, actions: (T,) whole numbers. returns: (T,) the rewards-to-go. gamma: in [0, 1].
    Returns (S, A), the gradient with respect to theta. [slide 28, note (6)]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or gamma is outside [0, 1].
    """
    validate.shapes("S A, T, T, T", theta=theta, states=states, actions=actions, returns=returns)
    validate.fractions(gamma=gamma)
    theta = theta.detach().requires_grad_()
    log_probs = torch.log_softmax(theta, dim=-1)[states, actions]  # (T,)
    discounts = gamma ** torch.arange(len(returns), dtype=theta.dtype, device=theta.device)
    weights = discounts * returns  # (T,)
    (gradient,) = torch.autograd.grad((weights * log_probs).sum(), theta)
    return gradient
