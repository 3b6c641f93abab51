"""Homework answer: discrete actions drawn with random numbers that are given."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def sample_actions(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Actions drawn from softmax(logits) by the inverse of the cumulative distribution.

    a_b = the first action a with pi(0 | s_b) + ... + pi(a | s_b) > u_b; where rounding leaves none,
    the last action. If u_b is uniform on [0, 1), then action a comes with probability pi(a | s_b).
    logits: (B, A), one row a state. uniforms: (B,) in [0, 1), one a row.
    Returns (B,) whole numbers from 0 to A - 1. [slide 68; Devroye 1986, chapter III.2]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or a number of uniforms is
    outside [0, 1).
    """
    validate.shapes("B A, B", logits=logits, uniforms=uniforms)
    validate.uniforms(uniforms=uniforms)
    probs = torch.softmax(logits, dim=-1)  # (B, A)
    cumulative = probs.cumsum(dim=-1)  # (B, A)
    passed = cumulative <= uniforms[:, None]  # (B, A), the actions that come before the one sought
    actions = passed.sum(dim=-1)  # (B,)
    return actions.clamp(max=logits.shape[-1] - 1)
