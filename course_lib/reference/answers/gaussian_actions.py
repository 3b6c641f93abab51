"""Homework answer: continuous actions, as they are drawn and as an environment takes them."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def gaussian_actions(
    means: Tensor, log_stds: Tensor, noise: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Actions of a Gaussian policy: for the batch, for the environment, and how likely they were.

    actions = means + exp(log_stds) * noise; env_actions = actions, clipped into [low, high];
    log_probs_b = sum_i log N(actions[b, i]; means[b, i], exp(log_stds[i])^2): of what was drawn,
    not of what the clip left.
    means: (B, D). log_stds: (D,). noise: (B, D), standard normal. low, high: (D,), the bounds of
    each action dimension.
    Returns actions (B, D), env_actions (B, D) and log_probs (B,), all without a graph. [slide 69]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or low is above high.
    """
    validate.shapes(
        "B D, D, B D, D, D", means=means, log_stds=log_stds, noise=noise, low=low, high=high
    )
    validate.ordered(low=low, high=high)
    means = means.detach()  # the batch keeps numbers
    log_stds = log_stds.detach()
    stds = torch.exp(log_stds)  # (D,)
    actions = means + stds * noise  # (B, D)
    env_actions = torch.clamp(actions, low, high)  # (B, D)
    scaled = (actions - means) / stds  # (B, D)
    log_densities = -0.5 * (scaled**2 + torch.log(means.new_tensor(2 * torch.pi))) - log_stds
    log_probs = log_densities.sum(dim=-1)  # (B,)
    return actions, env_actions, log_probs
