"""Homework answers: the policy gradient estimated from one episode.

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
    (gradient,) = torch.autograd.grad(episode_return * log_probs.sum(), theta)
    return gradient


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
    (gradient,) = torch.autograd.grad((discounts * returns * log_probs).sum(), theta)
    return gradient


def baseline_loss(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Tensor:
    """Loss whose descent is ascent on J: - sum_t gamma^t (G_t - b_t) log pi(a_t | s_t).

    The baseline b_t = values[t] is a constant here: no gradient flows into values, even if they
    come with a graph.
    log_probs: (T,) log pi(a_t | s_t), with a graph. returns: (T,) the rewards-to-go.
    values: (T,). gamma: in [0, 1]. Returns a scalar. [slide 28 and note (6), with a baseline]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or gamma is outside [0, 1].
    """
    validate.shapes("T, T, T", log_probs=log_probs, returns=returns, values=values)
    validate.fractions(gamma=gamma)
    discounts = gamma ** torch.arange(len(returns), dtype=returns.dtype, device=returns.device)
    advantages = returns - values.detach()
    return -(discounts * advantages * log_probs).sum()
