"""What a policy is worth in fresh episodes."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from course_lib.policies import Policy
from course_lib.rollout import collect_episodes, make_envs

SIDE_BY_SIDE = 128  # environments at most
LONGEST = 10_000  # steps of an episode in an environment without a time limit


class Greedy(Policy):
    """The most probable action of a policy, in place of a draw."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy
        self.observation_shape = policy.observation_shape
        self.action_shape = policy.action_shape
        self.actions = getattr(policy, "actions", None)

    @property
    def discrete(self) -> bool:
        """As the policy's."""
        return self.policy.discrete

    def forward(self, observations: Tensor) -> Distribution:
        """The policy's own distribution."""
        return self.policy(observations)

    def draw(self, observations: Tensor, generator: torch.Generator) -> Tensor:
        """argmax_a pi(a | s); nothing is drawn."""
        return self(observations).mode


def evaluate(
    policy: Policy,
    env_id: str,
    episodes: int,
    generator: torch.Generator,
    *,
    greedy: bool = False,
    **options: Any,
) -> float:
    """Mean undiscounted return of whole episodes, each from a fresh start, up to its time limit.

    Actions are drawn as in training, or with greedy the most probable ones. generator, on the
    policy's device, draws them and the environments' seed. options go to make_envs.
    Raises ValueError if episodes is below 1 or the policy does not fit the environment.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    actor = Greedy(policy) if greedy else policy
    returns: list[float] = []
    while len(returns) < episodes:
        envs = make_envs(
            env_id, min(episodes - len(returns), SIDE_BY_SIDE), generator.device, **options
        )
        limit = getattr(envs.spec, "max_episode_steps", None) or LONGEST
        rollout = collect_episodes(envs, actor, generator, limit, generator.device)
        returns += rollout.episode_returns
        envs.close()
    return fmean(returns)
