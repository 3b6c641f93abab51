"""Homework answer: GRPO's advantages."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def group_advantages(rewards: Tensor) -> Tensor:
    """Each reward less its group's mean, over its group's standard deviation.

    A_gk = (R_gk - mean_g) / (std_g + 1e-6), std_g with K - 1 below the sum of squares. Where all
    rewards of a group are equal its advantages are 0.
    rewards: (G, K), a row for each prompt, K >= 2 completions of it. Returns (G, K).
    [slide 70; Shao et al. 2024, DeepSeekMath, section 4.1.2]
    Raises ValueError if rewards is not (G, K), is empty or holds nan, or K is 1.
    """
    validate.shapes("G K", rewards=rewards)
    validate.positive(other_completions=rewards.shape[1] - 1)
    means = rewards.mean(dim=1, keepdim=True)  # (G, 1)
    centred = rewards - means  # (G, K)
    spreads = torch.sqrt(centred.square().sum(dim=1, keepdim=True) / (rewards.shape[1] - 1))
    scales = spreads + 1e-6  # (G, 1)
    return centred / scales
