"""PPO on a gymnasium environment, from top to bottom. [slides 59 to 65, note Algorithm 2]"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from course_lib.optimiser import Adam
from course_lib.policies import Policy, critic_for, policy_for
from course_lib.reference.agents.scaling import RewardScaler, scaler_for
from course_lib.reference.answers.clipped_surrogate import clipped_surrogate
from course_lib.reference.answers.gae import gae
from course_lib.rollout import make_envs
from course_lib.seeding import check_device, check_generator
from course_lib.training import (
    Advantages,
    Batch,
    History,
    PPOConfig,
    Run,
    Statistics,
    Watch,
    decayed,
    normalise,
    train_on_steps,
)

Objective = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def train_ppo(
    env_id: str,
    config: PPOConfig,
    *,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    watch: Watch | None = None,
    objective: Objective = clipped_surrogate,
    prepare: Callable[[Tensor], Tensor] = normalise,
    advantages: Advantages = gae,
) -> tuple[Policy, History]:
    """Train a policy on env_id by PPO: epochs of minibatch ascent on the clipped surrogate.

    The old policy is the one that acted: its log-probs come with the batch and stay fixed through
    all epochs. generator draws everything and must be on device.
    watch is called with the run before the first update and after each.
    objective: what is climbed, called as clipped_surrogate is; prepare: advantages (B,) of a
    minibatch -> those it is given; advantages: called as gae is.
    Returns the policy and what training saw. Raises ValueError if no policy fits the environment.
    """
    check_generator(generator, check_device(device))
    envs = make_envs(env_id, config.envs, device)
    scaler = scaler_for(envs, device) if config.scale_observations else None
    policy = policy_for(envs, config.hidden, generator=generator, scaler=scaler)
    critic = critic_for(envs, config.hidden, generator=generator, scaler=scaler)
    optimiser = Adam([policy, critic], config.learning_rate)
    reward_scaler = None
    if config.scale_rewards:
        reward_scaler = RewardScaler(config.envs, config.gamma).to(device)
    parts = {
        "policy": policy,
        "critic": critic,
        "optimiser": optimiser,
        "rewards": reward_scaler,
        "envs": envs,
        "generator": generator,
    }
    run = Run(parts, watch)

    def update(batch: Batch) -> Statistics:
        optimiser.learning_rate = decayed(config.learning_rate, config, run.history)
        for _ in range(config.epochs):
            for part in batch.minibatches(config.minibatches, generator):
                loss, statistics = ppo_loss(policy, critic, part, config, objective, prepare)
                optimiser.minimise(loss, config.max_grad_norm)
        statistics |= distance(policy, part, config.epsilon)  # as the rest, of the last minibatch
        if scaler is not None:
            scaler.moments.update(batch.observations)  # from the next rollout on
        return {name: value.item() for name, value in statistics.items()}

    history = train_on_steps(
        envs,
        policy,
        critic,
        config,
        advantages=advantages,
        update=update,
        rescale=reward_scaler.scaled if reward_scaler else None,
        generator=generator,
        device=device,
        run=run,
    )
    envs.close()
    return policy, history


def ppo_loss(
    policy: Policy,
    critic: nn.Module,
    part: Batch,
    config: PPOConfig,
    objective: Objective = clipped_surrogate,
    prepare: Callable[[Tensor], Tensor] = normalise,
) -> tuple[Tensor, dict[str, Tensor]]:
    """-L_clip + value_weight * mean (V - returns)^2 - entropy_weight * mean entropy.

    Returns the loss, and what of it is reported: L_clip and the critic's error. [L_clip: slide 60;
    the sum: Schulman et al. 2017, equation (9)]
    """
    log_probs = policy.log_prob(part.observations, part.actions)
    gain = objective(log_probs, part.log_probs, prepare(part.advantages), config.epsilon)
    value_loss = functional.mse_loss(critic(part.observations), part.returns)
    loss = -gain + config.value_weight * value_loss
    if config.entropy_weight > 0:
        loss = loss - config.entropy_weight * policy.entropy(part.observations).mean()
    return loss, {"objective": gain.detach(), "value_loss": value_loss.detach()}


@torch.no_grad()
def distance(policy: Policy, part: Batch, epsilon: float) -> dict[str, Tensor]:
    """How far the policy is from the one that acted, on the steps of part.

    kl: KL(acted || policy), estimated by the mean of ratio - 1 - log ratio. share_outside_clip: of
    the steps whose ratio is further than epsilon from 1. [slides 56 and 60]
    """
    log_ratio = policy.log_prob(part.observations, part.actions) - part.log_probs
    ratio = log_ratio.exp()
    outside = (ratio - 1).abs() > epsilon
    return {
        "kl": (ratio - 1 - log_ratio).mean(),
        "share_outside_clip": outside.to(ratio.dtype).mean(),
    }
