"""Homework answer: discounted rewards-to-go."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def returns_to_go(rewards: Tensor, gamma: float) -> Tensor:
    """Discounted return from each step on: G_t = r_t + gamma * G_{t+1}, and nothing after the end.

    rewards: (T,) of one episode, in order. gamma: in [0, 1].
    Returns (T,). [slide 28, note (6)]
    Raises ValueError if rewards is not (T,), is empty or holds nan, or gamma is outside [0, 1].
    """
    validate.shapes("T", rewards=rewards)
    validate.fractions(gamma=gamma)
    returns = []
    following = torch.zeros_like(rewards[0])
    for reward in rewards.flip(0):
        following = reward + gamma * following
        returns.append(following)
    return torch.stack(returns).flip(0)
