"""Homework answer: the values of a policy in a small known world, and its advantages."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def values_and_advantages(
    transitions: Tensor, rewards: Tensor, policy: Tensor, gamma: float
) -> tuple[Tensor, Tensor]:
    """Values and advantages of a policy in a world that is known.

    V(s) = sum_a pi(a | s) Q(s, a), Q(s, a) = r(s, a) + gamma * sum_s2 p(s2 | s, a) V(s2), and
    A(s, a) = Q(s, a) - V(s).
    transitions: (S, A, S), transitions[s, a, s2] = p(s2 | s, a). rewards: (S, A). policy: (S, A),
    policy[s, a] = pi(a | s). gamma: at least 0 and below 1.
    Returns the pair (values (S,), advantages (S, A)). [slide 5]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or gamma is outside [0, 1).
    """
    validate.shapes("S A S, S A, S A", transitions=transitions, rewards=rewards, policy=policy)
    validate.fractions(gamma=gamma)
    validate.positive(one_minus_gamma=1 - gamma)
    policy_transitions = torch.einsum("sa,sat->st", policy, transitions)  # (S, S): one step
    policy_rewards = (policy * rewards).sum(dim=1)  # (S,)
    one = torch.eye(len(rewards), dtype=rewards.dtype, device=rewards.device)
    values = torch.linalg.solve(one - gamma * policy_transitions, policy_rewards)  # (S,)
    next_values = transitions @ values  # (S, A): the mean of V where the action leads
    action_values = rewards + gamma * next_values  # (S, A)
    advantages = action_values - values[:, None]  # (S, A)
    return values, advantages
