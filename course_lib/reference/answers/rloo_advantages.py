"""Homework answer: advantages against the mean of the others."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def rloo_advantages(rewards: Tensor, prompts: Tensor) -> Tensor:
    """Leave-one-out: each reward less the mean reward of the other completions of its prompt.

    A_i = R_i - mean of R_j over all j != i with prompts[j] = prompts[i]; 0 if there is no such j.
    rewards: (N,). prompts: (N,) whole numbers that say which prompt each completion answers: equal
    numbers are one prompt, in any order, and any number of times. Returns (N,).
    [slide 70; Ahmadian et al. 2024, Back to Basics]
    Raises ValueError if a shape is off, or a tensor is empty or holds nan.
    """
    validate.shapes("N, N", rewards=rewards, prompts=prompts)
    same = prompts[:, None] == prompts[None, :]  # (N, N)
    others = same & ~torch.eye(len(prompts), dtype=torch.bool)  # (N, N)
    counts = others.sum(dim=1)  # (N,)
    totals = others.to(rewards.dtype) @ rewards  # (N,)
    baselines = totals / counts.clamp(min=1)  # (N,)
    advantages = rewards - baselines
    return torch.where(counts > 0, advantages, 0.0)
