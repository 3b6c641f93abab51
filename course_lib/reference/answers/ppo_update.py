"""Homework answer: how PPO moves theta on one batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib import validate


def ppo_update(
    theta: Tensor,
    states: Tensor,
    actions: Tensor,
    advantages: Tensor,
    minibatches: Tensor,
    objective: Callable[[Tensor, Tensor, Tensor], Tensor],
    learning_rate: float,
) -> Tensor:
    """PPO's steps on one batch: for each row of indices, one ascent step on the objective.

    The old log-probabilities are those of theta as it came in, computed once before any step.
    theta: (S, A) logits of a tabular softmax policy, left as it is.
    states, actions: (B,) whole numbers. advantages: (B,). minibatches: (K, M) whole numbers, row k
    the steps of the batch that minibatch k uses.
    objective: (log_probs (M,), old_log_probs (M,), advantages (M,)) -> scalar, to be made large.
    Returns the last theta (S, A), without a graph. [slide 63, note Algorithm 2]
    Raises ValueError if a shape is off, or a tensor is empty or holds nan.
    """
    validate.shapes(
        "S A, B, B, B, K M",
        theta=theta,
        states=states,
        actions=actions,
        advantages=advantages,
        minibatches=minibatches,
    )
    theta = theta.detach()
    old_log_probs = torch.log_softmax(theta, dim=-1)[states, actions]  # (B,)
    for rows in minibatches:  # (M,)
        leaf = theta.clone().requires_grad_()
        log_probs = torch.log_softmax(leaf, dim=-1)[states[rows], actions[rows]]  # (M,)
        gain = objective(log_probs, old_log_probs[rows], advantages[rows])
        (gradient,) = torch.autograd.grad(gain, leaf)
        theta = theta + learning_rate * gradient
    return theta
