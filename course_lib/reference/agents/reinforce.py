"""REINFORCE with a baseline on a gymnasium environment, from top to bottom. [slide 30]"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from course_lib.optimiser import Adam
from course_lib.policies import Policy, critic_for, policy_for
from course_lib.reference.answers.gae import gae
from course_lib.rollout import Rollout, collect_episodes, make_envs
from course_lib.seeding import check_device, check_generator
from course_lib.training import (
    History,
    ReinforceConfig,
    Run,
    Statistics,
    Watch,
    decayed,
    shuffled,
    train,
)

ROWS = 2048  # steps that go through a network at a time


def train_reinforce(
    env_id: str,
    config: ReinforceConfig,
    *,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    watch: Watch | None = None,
) -> tuple[Policy, History]:
    """Train a policy on env_id by REINFORCE with a learned baseline.

    theta <- theta + alpha mean over episodes of sum_t gamma^t (G_t - V(s_t)) grad log pi(a_t|s_t),
    with Adam's step in place of alpha. generator draws everything and must be on device.
    watch is called with the run before the first update and after each.
    Returns the policy and what training saw. Raises ValueError if no policy fits the environment.
    """
    check_generator(generator, check_device(device))
    envs = make_envs(env_id, config.envs, device)
    policy = policy_for(envs, config.hidden, generator=generator)
    critic = critic_for(envs, config.hidden, generator=generator)
    optimiser = Adam([policy], config.learning_rate)
    critic_optimiser = Adam([critic], config.critic_learning_rate)
    parts = {
        "policy": policy,
        "critic": critic,
        "optimiser": optimiser,
        "critic_optimiser": critic_optimiser,
        "generator": generator,
    }  # without the environments: every batch begins with a reset
    run = Run(parts, watch)

    def collect_next() -> Rollout:
        return collect_episodes(envs, policy, generator, config.max_steps, device)

    def update(rollout: Rollout) -> Statistics:
        optimiser.learning_rate = decayed(config.learning_rate, config, run.history)
        critic_optimiser.learning_rate = decayed(config.critic_learning_rate, config, run.history)
        observations = rollout.in_one_row(rollout.observations)  # (B, ...)
        returns = rollout.in_one_row(padded_returns(rollout, config.gamma))  # (B,)
        with torch.no_grad():
            values = torch.cat([critic(rows) for rows in observations.split(ROWS)])
        losses = policy_losses(policy, rollout, returns - values, config.gamma)
        length = optimiser.minimise(losses)
        for _ in range(config.critic_epochs):
            for rows in shuffled(len(returns), config.critic_batch, generator):
                predicted = critic(observations.index_select(0, rows))
                value_loss = functional.mse_loss(predicted, returns.index_select(0, rows))
                critic_optimiser.minimise(value_loss)
        return {"gradient_length": length, "value_loss": value_loss.item()}

    history = train(config, collect_next, update, run)
    envs.close()
    return policy, history


def padded_returns(rollout: Rollout, gamma: float) -> Tensor:
    """Rewards-to-go of all episodes at once, (T, N): G_t = r_t + gamma G_{t+1}, 0 past the end.

    That is a generalised advantage with lam = 1 and values of 0; what was paid past an episode's
    end is taken for 0. A time limit is the end here.
    """
    rewards = rollout.rewards.masked_fill(~rollout.valid, 0)
    nothing = torch.zeros_like(rewards)
    return gae(rewards, nothing, nothing, ~rollout.valid, ~rollout.valid, gamma, 1.0)


def policy_losses(
    policy: Policy, rollout: Rollout, advantages: Tensor, gamma: float
) -> Iterator[Tensor]:
    """Terms that add up to - mean over episodes of sum_t gamma^t A_t log pi(a_t | s_t).

    advantages (B,) of the valid steps, in the order of time. A term is of ROWS steps: what is
    computed for them then stays in the processor's cache, and memory does not grow with B.
    """
    steps, episodes = rollout.valid.shape
    times = torch.arange(steps, dtype=advantages.dtype, device=advantages.device)
    discounts = (gamma**times)[:, None].expand(steps, episodes)  # (T, N)
    weights = rollout.in_one_row(discounts / episodes) * advantages  # (B,)
    columns = rollout.in_one_row(rollout.observations), rollout.in_one_row(rollout.actions), weights
    parts = (column.split(ROWS) for column in columns)
    for observations, actions, some in zip(*parts, strict=True):
        yield -(some * policy.log_prob(observations, actions)).sum()
