"""Homework answer: steps from environments that act side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib import validate


def collect_steps(
    envs: Any,
    act: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]],
    observations: Tensor,
    ended: Tensor,
    steps: int,
) -> dict[str, Tensor]:
    """T = steps of N environments side by side, as they happened, and where they stand then.

    envs.step(env_actions as a NumPy array) -> observations (N, O), rewards (N,), terminated (N,),
    truncated (N,), a dict of no use here; NumPy arrays of any float type. The step after an end
    only resets: it ignores its action, pays 0, is no end, and shows the next episode's start.
    envs.step may write its observations into the same array each time.
    act: observations (N, O) -> actions (N,) or (N, D), env_actions, log_probs (N,), tensors without
    a graph. It draws at random: ask it once a step, for all N. envs.step gets its env_actions.
    observations: (N, O) where the environments stand. ended: (N,) bool, whose last step was an end.
    Returns a dict of tensors; those that are real are of observations' type, and act is given such:
    observations (T, N, O) that act was given, actions, log_probs (T, N) as act gave them;
    rewards (T, N), next_observations (T, N, O), terminated, truncated (T, N) bool, which followed;
    valid (T, N) bool, False where a step only resets (in those rows, all else may be anything);
    last_observations (N, O), last_ended (N,) bool, to go on from. [slide 63, note Algorithm 2]
    Raises ValueError if a shape is off, observations is empty or holds nan, or steps is below 1.
    """
    validate.shapes("N O, N", observations=observations, ended=ended)
    validate.positive(steps=steps)
    rows = []
    for _ in range(steps):
        actions, env_actions, log_probs = act(observations)
        shown, paid, over, cut, _ = envs.step(env_actions.numpy())
        rewards = torch.tensor(paid, dtype=observations.dtype)  # (N,)
        next_observations = torch.tensor(shown, dtype=observations.dtype)  # (N, O), a copy
        terminated = torch.tensor(over)  # (N,)
        truncated = torch.tensor(cut)  # (N,)
        valid = ~ended  # (N,), by what the step before was
        row = {
            "observations": observations,
            "actions": actions,
            "log_probs": log_probs,
            "rewards": rewards,
            "next_observations": next_observations,
            "terminated": terminated,
            "truncated": truncated,
            "valid": valid,
        }
        rows.append(row)
        observations = next_observations
        ended = terminated | truncated
    batch = {name: torch.stack([each[name] for each in rows]) for name in rows[0]}
    return {**batch, "last_observations": observations, "last_ended": ended}
