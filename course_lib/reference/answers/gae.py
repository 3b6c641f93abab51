"""Homework answer: generalised advantage estimation."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def gae(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Generalised advantage estimates of T steps in N environments side by side.

    delta_t = r_t + gamma * (1 - terminated_t) * V(s_{t+1}) - V(s_t)
    A_t = delta_t + gamma * lam * (1 - ended_t) * A_{t+1}, ended_t = terminated_t or truncated_t,
    and nothing comes after the last step.
    rewards, values, next_values: (T, N); next_values[t] is the value of the state that step t
    really led to, also at the end of an episode. terminated, truncated: (T, N) bool.
    gamma, lam: in [0, 1]. Returns (T, N). [slide 70]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or gamma or lam is outside
    [0, 1].
    """
    validate.shapes(
        "T N, T N, T N, T N, T N",
        rewards=rewards,
        values=values,
        next_values=next_values,
        terminated=terminated,
        truncated=truncated,
    )
    validate.fractions(gamma=gamma, lam=lam)
    goes_on = 1.0 - terminated.to(values.dtype)  # (T, N), 0 where there is no next value
    same_episode = goes_on * (1.0 - truncated.to(values.dtype))  # (T, N), 0 where A_{t+1} is alien
    deltas = rewards + gamma * goes_on * next_values - values  # (T, N)
    decays = gamma * lam * same_episode  # (T, N)
    following = torch.zeros_like(deltas[0])  # (N,)
    advantages = []
    for delta, decay in zip(deltas.flip(0).unbind(), decays.flip(0).unbind(), strict=True):
        following = delta + decay * following
        advantages.append(following)
    return torch.stack(advantages[::-1])
