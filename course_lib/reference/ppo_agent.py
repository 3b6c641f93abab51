"""PPO on a gymnasium environment, from top to bottom. [slides 59 to 65, note Algorithm 2]"""

from __future__ import annotations

import torch

from course_lib.policies import Policy, critic_for, policy_for
from course_lib.reference import clipped_surrogate, gae
from course_lib.rollout import make_envs
from course_lib.training import (
    Batch,
    History,
    PPOConfig,
    Statistics,
    normalise,
    train_on_steps,
)


def train_ppo(
    env_id: str,
    config: PPOConfig,
    *,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> tuple[Policy, History]:
    """Train a policy on env_id by PPO: epochs of minibatch ascent on the clipped surrogate.

    The old policy is the one that acted: its log-probs come with the rollout and stay fixed for the
    whole batch. generator draws everything and must be on device.
    Returns the policy and what training saw. Raises ValueError if no policy fits the environment.
    """
    envs = make_envs(env_id, config.envs)
    policy = policy_for(envs, config.hidden, generator=generator)
    critic = critic_for(envs, config.hidden, generator=generator)
    parameters = [*policy.parameters(), *critic.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=config.learning_rate)

    def step(part: Batch) -> Statistics:
        log_probs = policy.log_prob(part.observations, part.actions)
        objective = clipped_surrogate(
            log_probs, part.log_probs, normalise(part.advantages), config.epsilon
        )
        value_loss = ((critic(part.observations) - part.returns) ** 2).mean()
        loss = -objective + config.value_weight * value_loss
        if config.entropy_weight > 0:
            loss = loss - config.entropy_weight * policy.entropy(part.observations).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimiser.step()
        return {"objective": objective.item(), "value_loss": value_loss.item()}

    def update(batch: Batch) -> Statistics:
        for _ in range(config.epochs):
            for part in batch.minibatches(config.minibatches, generator):
                statistics = step(part)
        with torch.no_grad():
            log_probs = policy.log_prob(batch.observations, batch.actions)
        ratio = (log_probs - batch.log_probs).exp()
        clipped = ((ratio - 1).abs() > config.epsilon).float().mean().item()
        return {**statistics, "share_outside_clip": clipped}

    history = train_on_steps(
        envs,
        policy,
        critic,
        config,
        advantages=gae,
        update=update,
        generator=generator,
        device=device,
    )
    envs.close()
    return policy, history
