"""Homework answer: the loss of one minibatch of PPO, with a critic and a bonus for entropy."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from course_lib import validate


def ppo_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    values: Tensor,
    targets: Tensor,
    entropies: Tensor,
    objective: Callable[[Tensor, Tensor, Tensor], Tensor],
    value_weight: float,
    entropy_weight: float,
) -> Tensor:
    """What PPO makes small on a minibatch of M steps.

    -objective(log_probs, old_log_probs, normalised advantages)
    + value_weight * mean((V_i - target_i)^2) - entropy_weight * mean(H_i),
    the advantages of this minibatch shifted to mean 0 and divided by their standard deviation
    (with M - 1) plus 1e-8.
    log_probs, entropies: (M,), with a graph. values: (M, 1) as the network gives them, with a
    graph. old_log_probs, advantages, targets: (M,), constants: no gradient flows into them, even
    if they come with a graph. M is at least 2.
    objective: (log_probs (M,), old_log_probs (M,), advantages (M,)) -> scalar, to be made large.
    Returns a scalar. [slide 60; the sum: Schulman et al. 2017, eq. (9)]
    Raises ValueError if a shape is off, or a tensor holds nan or fewer than two numbers.
    """
    validate.shapes(
        "M, M, M, M 1, M, M",
        log_probs=log_probs,
        old_log_probs=old_log_probs,
        advantages=advantages,
        values=values,
        targets=targets,
        entropies=entropies,
    )
    validate.at_least(2, advantages=advantages)
    fixed = advantages.detach()
    normalised = (fixed - fixed.mean()) / (fixed.std() + 1e-8)
    old = old_log_probs.detach()
    gain = objective(log_probs, old, normalised)
    goals = targets.detach()
    errors = values.squeeze(-1) - goals  # (M,)
    value_loss = errors.square().mean()
    bonus = entropies.mean()
    return -gain + value_weight * value_loss - entropy_weight * bonus
