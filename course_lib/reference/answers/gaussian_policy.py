"""Homework answer: log-probabilities and entropies of a policy with continuous actions."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def gaussian_policy(means: Tensor, log_stds: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """How likely each action was, and how undecided the policy is, for independent Gaussians.

    log_probs_b = sum_i log N(actions[b, i]; means[b, i], std_i^2), with std_i = exp(log_stds[i]);
    entropies_b = sum_i (1/2 log(2 pi e) + log_stds[i]), in nats, the same in each row.
    means, actions: (B, D), one row a state, one column an action dimension. log_stds: (D,).
    Returns log_probs (B,) and entropies (B,), with a graph down to means and log_stds. [slide 69;
    the entropy: Cover and Thomas 2006, theorem 8.4.1]
    Raises ValueError if a shape is off, or a tensor is empty or holds nan.
    """
    validate.shapes("B D, D, B D", means=means, log_stds=log_stds, actions=actions)
    log_two_pi = torch.log(means.new_tensor(2 * torch.pi))
    stds = torch.exp(log_stds)  # (D,)
    scaled = (actions - means) / stds  # (B, D)
    log_densities = -0.5 * scaled**2 - log_stds - 0.5 * log_two_pi  # (B, D)
    log_probs = log_densities.sum(dim=-1)  # (B,)
    each_entropy = 0.5 + 0.5 * log_two_pi + log_stds  # (D,)
    entropies = each_entropy.sum().repeat(len(means))  # (B,)
    return log_probs, entropies
