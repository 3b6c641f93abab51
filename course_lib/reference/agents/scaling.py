"""Observations and rewards brought to a size that networks learn from.

What is measured here is measured between rollouts, by those who train; acting, scoring and
evaluating only read it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.policies import Scaler
from course_lib.rollout import Rollout


class Moments(nn.Module):
    """Mean and variance of all rows seen so far, each of `shape`; mean 0, variance 1 at first.

    mean = sum x / n, variance = sum (x - mean)^2 / n, joined batch by batch [Chan, Golub and
    LeVeque 1979]. Buffers in float64: they are saved with the module and never trained.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(shape, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Take in rows (B, *shape), all of the same weight.

        Raises ValueError if there is none, or they have another shape or are not finite.
        """
        if rows.shape[1:] != self.mean.shape or len(rows) == 0:
            wanted = ", ".join(["B", *map(str, self.mean.shape)])
            raise ValueError(f"rows must be ({wanted}), at least one, got {tuple(rows.shape)}")
        rows = rows.to(self.mean)
        if not bool(rows.isfinite().all()):
            raise ValueError("rows hold NaN or infinite numbers: look at what the environment gave")
        total = self.count + len(rows)
        gap = rows.mean(0) - self.mean
        squares = self.variance * self.count + rows.var(0, correction=0) * len(rows)
        self.variance.copy_((squares + gap**2 * self.count * len(rows) / total) / total)
        self.mean.add_(gap * len(rows) / total)
        self.count.copy_(total)


class ObservationScaler(Scaler):
    """(s - mean) / std, cut to [-10, 10], of whatever observations went into `moments`.

    It stands before the first layer of the policy and of the critic, one for both. So an
    observation is scaled by the same numbers when it is acted on, scored, evaluated, or valued as
    an episode's last; and the numbers change only when `moments.update` is called, which belongs
    after the update on a batch: before it, the log-probs of the batch would be another policy's.
    """

    def __init__(self, obs_dim: int) -> None:
        super().__init__()
        self.moments = Moments((obs_dim,))

    def forward(self, observations: Tensor) -> Tensor:
        """Scaled observations (..., obs_dim), in the type they came in."""
        mean, std = self._mean_and_std()
        return ((observations - mean.to(observations)) / std.to(observations)).clamp(-10, 10)

    def of_arrays(self) -> Callable[[np.ndarray], np.ndarray]:
        """The same in NumPy, for the numbers as they are now."""
        mean, std = (part.numpy().copy() for part in self._mean_and_std())

        def scale(observations: np.ndarray) -> np.ndarray:
            kind = observations.dtype
            return np.clip((observations - mean.astype(kind)) / std.astype(kind), -10, 10)

        return scale

    def _mean_and_std(self) -> tuple[Tensor, Tensor]:
        return self.moments.mean, (self.moments.variance + 1e-8).sqrt()


def scaler_for(env: Any, device: torch.device | str = "cpu") -> ObservationScaler:
    """Scaler for an environment's vector observations. Raises ValueError if it has others."""
    space = getattr(env, "single_observation_space", None) or env.observation_space
    if space.shape is None or len(space.shape) != 1:
        raise ValueError(
            f"observation space {space} is no vector and cannot be scaled: leave "
            "scale_observations False"
        )
    return ObservationScaler(space.shape[0]).to(device)


class RewardScaler(nn.Module):
    """r / std of the discounted returns so far; nothing is subtracted.

    The return up to step t is R_t = gamma R_{t-1} + r_t, begun anew in each episode. Dividing by
    its spread leaves the order of policies as it is. Subtracting a mean would not: where each step
    pays 1, long episodes would pay no more than short ones.
    """

    returns: Tensor

    def __init__(self, envs: int, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma
        self.moments = Moments()
        self.register_buffer("returns", torch.zeros(envs, dtype=torch.float64))

    @torch.no_grad()
    def scaled(self, rollout: Rollout) -> Rollout:
        """Take the rollout's rewards in, and give it back with all of them scaled alike.

        For rollouts that follow upon each other. The episodes' own returns stay as they were paid.
        """
        rewards = rollout.rewards.to(self.returns.dtype)
        kept = self.returns  # (N,), 0 where an episode begins
        returns = []
        for reward, valid in zip(rewards, rollout.valid.to(rewards), strict=True):
            returns.append(torch.add(reward, kept, alpha=self.gamma))
            kept = valid * returns[-1]  # 0 after the reset that follows each end
        self.returns.copy_(kept)
        self.moments.update(rollout.in_one_row(torch.stack(returns)))
        std = (self.moments.variance + 1e-8).sqrt().to(rollout.rewards)
        return replace(rollout, rewards=rollout.rewards / std)
