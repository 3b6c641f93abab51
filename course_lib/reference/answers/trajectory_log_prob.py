"""Homework answer: the log-probability of a trajectory, as a function of theta.

theta (S, A) holds the logits of a tabular softmax policy, pi(a | s) = softmax(theta[s])[a].
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def trajectory_log_prob(
    theta: Tensor, states: Tensor, actions: Tensor, start: Tensor, transitions: Tensor
) -> Tensor:
    """Logarithm of the probability of the trajectory s_0, a_0, ..., s_{T-1}, a_{T-1}, s_T.

    log p(s_0) + sum_t ( log pi(a_t | s_t) + log p(s_{t+1} | s_t, a_t) ), t = 0 ... T - 1.
    theta: (S, A) logits of a tabular softmax policy, perhaps with a graph: gradients flow into it.
    states: (T + 1,) whole numbers, the last one where it got to. actions: (T,) whole numbers.
    start: (S,), start[s] = p(s_0 = s). transitions: (S, A, S), [s, a, s2] = p(s2 | s, a).
    Returns a scalar. [slide 10, slide 20]
    Raises ValueError if a shape is off, or a tensor is empty or holds nan.
    """
    validate.shapes(
        "S A, T, T, S, S A S",
        theta=theta,
        actions=actions,
        all_states_but_the_last=states[:-1],
        start=start,
        transitions=transitions,
    )
    first = start[states[0]]
    log_policy = torch.log_softmax(theta, dim=-1)[states[:-1], actions]  # (T,)
    moves = transitions[states[:-1], actions, states[1:]]  # (T,)
    return first.log() + log_policy.sum() + moves.log().sum()
