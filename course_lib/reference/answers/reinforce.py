"""Homework answer: how REINFORCE moves theta."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from course_lib import validate


def reinforce(
    theta: Tensor,
    sample_episodes: Callable[[Tensor], Sequence[Any]],
    estimate_gradient: Callable[[Tensor, Any], Tensor],
    learning_rate: float,
    iterations: int,
) -> Tensor:
    """REINFORCE: theta <- theta + learning_rate * mean over episodes of the estimated gradient.

    In each iteration the episodes are sampled anew from the policy of the current theta.
    theta: (S, A), left as it is. sample_episodes: theta -> list of episodes.
    estimate_gradient: (theta, episode) -> (S, A).
    Returns the last theta (S, A). [slide 30, note Algorithm 1]
    Raises ValueError if theta is not (S, A), is empty or holds nan.
    """
    validate.shapes("S A", theta=theta)
    theta = theta.detach().clone()
    for _ in range(iterations):
        episodes = sample_episodes(theta)
        gradients = [estimate_gradient(theta, episode) for episode in episodes]
        gradient = torch.stack(gradients).mean(dim=0)  # (S, A)
        theta = theta + learning_rate * gradient
    return theta
