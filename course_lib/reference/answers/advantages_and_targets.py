"""Homework answer: what PPO's batch is trained on."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from course_lib import validate


def advantages_and_targets(
    critic: Callable[[Tensor], Tensor],
    gae: Callable[..., Tensor],
    batch: dict[str, Tensor],
    gamma: float,
    lam: float,
) -> tuple[Tensor, Tensor]:
    """Advantages of the M valid steps of a batch, and what the critic should say of their states.

    A = gae(rewards, V(observations), V(next_observations), terminated, truncated, gamma, lam)
    target = A + V(observations), both at the valid steps only, in the order of time (of one
    time, in the order of the environments), without a graph: V is a fixed number here.
    critic: observations (..., O) -> (..., 1), as an nn.Sequential gives it, left as it is.
    gae: as in homework 2, all arguments (T, N) but gamma and lam -> (T, N).
    batch: as `collect_steps` returns it. Where valid is False, the numbers in all other
    entries may be anything: they have no effect.
    gamma, lam: in [0, 1]. Returns advantages (M,) and targets (M,). [slide 70, note Algorithm 2]
    Raises ValueError if a shape is off, an entry holds nan, or gamma or lam is outside [0, 1].
    """
    validate.shapes(
        "T N O, T N O, T N, T N, T N, T N",
        observations=batch["observations"],
        next_observations=batch["next_observations"],
        rewards=batch["rewards"],
        terminated=batch["terminated"],
        truncated=batch["truncated"],
        valid=batch["valid"],
    )
    validate.fractions(gamma=gamma, lam=lam)
    rewards = batch["rewards"]  # (T, N)
    terminated = batch["terminated"]  # (T, N)
    truncated = batch["truncated"]  # (T, N)
    valid = batch["valid"]  # (T, N)
    values = critic(batch["observations"]).squeeze(-1).detach()  # (T, N)
    next_values = critic(batch["next_observations"]).squeeze(-1).detach()  # (T, N)
    advantages = gae(rewards, values, next_values, terminated, truncated, gamma, lam)
    targets = advantages + values  # (T, N)
    return advantages[valid], targets[valid]
