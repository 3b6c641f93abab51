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
    parameters = [*policy.parameters(), *critic.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=config.learning_rate)

    def update(policy_loss: Tensor, value_loss: Tensor) -> Statistics:
        # The sum is safe: the baseline is a constant in policy_loss, so neither loss moves the
        # other's parameters.
        optimiser.zero_grad()
        (policy_loss + value_loss).backward()
        optimiser.step()
        return {"policy_loss": policy_loss.item(), "value_loss": value_loss.item()}

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
