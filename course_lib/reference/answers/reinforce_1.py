"""Homework answer: the policy gradient from one episode, with the return of the whole episode.

theta (S, A) holds the logits of a tabular softmax policy, pi(a | s) = softmax(theta[s])[a].
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def reinforce_1(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    """REINFORCE-1 from one episode: R(tau) * sum_t grad log pi(a_t | s_t).

    R(tau) = sum_t gamma^t r_t is the return of the whole episode, counted from its first step.
    theta: (S, A) logits of a tabular softmax policy, left as it is.
    states, actions: (T,) whole numbers. rewards: (T,). gamma: in [0, 1].
    Returns (S, A), the gradient with respect to theta. [slide 25, note (3)]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or gamma is outside [0, 1].
    """
    validate.shapes("S A, T, T, T", theta=theta, states=states, actions=actions, rewards=rewards)
    validate.fractions(gamma=gamma)
    theta = theta.detach().requires_grad_()
    log_probs = torch.log_softmax(theta, dim=-1)[states, actions]  # (T,)
    discounts = gamma ** torch.arange(len(rewards), dtype=theta.dtype, device=theta.device)
    episode_return = (discounts * rewards).sum()
    (gradient,) = torch.autograd.grad((episode_return * log_probs).sum(), theta)
    return gradient
