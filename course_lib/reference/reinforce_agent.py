"""REINFORCE with a baseline on a gymnasium environment, from top to bottom. [slide 30]"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.policies import Policy, critic_for, policy_for
from course_lib.reference import baseline_loss, returns_to_go
from course_lib.rollout import make_envs
from course_lib.training import History, ReinforceConfig, Statistics, train_on_episodes


def train_reinforce(
    env_id: str,
    config: ReinforceConfig,
    *,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> tuple[Policy, History]:
    """Train a policy on env_id by REINFORCE with a learned baseline.

    theta <- theta + alpha mean over episodes of sum_t gamma^t (G_t - V(s_t)) grad log pi(a_t|s_t),
    with Adam's step in place of alpha. generator draws everything and must be on device.
    Returns the policy and what training saw. Raises ValueError if no policy fits the environment.
    """
    envs = make_envs(env_id, config.envs)
    policy = policy_for(envs, config.hidden, generator=generator)
    critic = critic_for(envs, config.hidden, generator=generator)
    optimiser = torch.optim.Adam(policy.parameters(), lr=config.learning_rate)
    critic_optimiser = torch.optim.Adam(critic.parameters(), lr=config.critic_learning_rate)

    def update(loss: Tensor, observations: Tensor, returns: Tensor) -> Statistics:
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for _ in range(config.critic_epochs):
            value_loss = ((critic(observations) - returns) ** 2).mean()
            critic_optimiser.zero_grad()
            value_loss.backward()
            critic_optimiser.step()
        return {"loss": loss.item(), "value_loss": value_loss.item()}

    history = train_on_episodes(
        envs,
        policy,
        critic,
        config,
        returns=returns_to_go,
        loss=baseline_loss,
        update=update,
        generator=generator,
        device=device,
    )
    envs.close()
    return policy, history
