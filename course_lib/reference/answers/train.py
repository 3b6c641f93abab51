"""Homework answer: the loop of PPO, from the pieces of homework 3 and two of homework 2."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import validate
from course_lib.agents import finished_returns
from course_lib.policies import tanh_network
from course_lib.reference.answers.advantages_and_targets import advantages_and_targets
from course_lib.reference.answers.categorical_policy import categorical_policy
from course_lib.reference.answers.clipped_surrogate import clipped_surrogate
from course_lib.reference.answers.collect_steps import collect_steps
from course_lib.reference.answers.gae import gae
from course_lib.reference.answers.gaussian_actions import gaussian_actions
from course_lib.reference.answers.gaussian_policy import gaussian_policy
from course_lib.reference.answers.ppo_epochs import ppo_epochs
from course_lib.reference.answers.ppo_loss import ppo_loss
from course_lib.reference.answers.sample_actions import sample_actions
from course_lib.rollout import make_envs


def train(
    env_id: str, seed: int, settings: dict[str, Any]
) -> tuple[dict[str, Tensor], list[float]]:
    """Train an agent on CartPole-v1 or Pendulum-v1 by PPO.

    Each update collects settings["steps"] steps in settings["envs"] environments, multiplies their
    rewards by settings["reward_scale"], and makes settings["epochs"] passes over them with Adam,
    each in settings["minibatches"] parts, of which the last may be smaller. The learning rate falls
    linearly from settings["learning_rate"] to settings["decay_to"] times that. seed: of all that is
    drawn.
    Returns the weights of the policy, to be saved, and a curve: after each update the mean return
    (of the rewards as they were paid) of the last 100 episodes, nan as long as none has ended.
    [slide 63, note Algorithm 2]
    Raises ValueError if the learning rate is not a finite number above 0.
    """
    validate.positive(learning_rate=settings["learning_rate"])
    generator = torch.Generator().manual_seed(seed)
    envs = make_envs(env_id, settings["envs"])
    discrete = env_id == "CartPole-v1"
    inputs, outputs = envs.single_observation_space.shape[0], 2 if discrete else 1
    policy = tanh_network([inputs, 32, 32, outputs], settings["last_gain"], generator)
    critic = tanh_network([inputs, 32, 32, 1], 1.0, generator)
    log_stds = nn.Parameter(torch.zeros(outputs))
    parameters = [*policy.parameters(), *critic.parameters(), *([] if discrete else [log_stds])]
    optimiser = torch.optim.Adam(parameters, settings["learning_rate"])

    def act(observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            out = policy(observations)
            if not discrete:
                noise = torch.randn(out.shape, generator=generator)
                low, high = -2.0 * torch.ones(outputs), 2.0 * torch.ones(outputs)
                return gaussian_actions(out, log_stds, noise, low, high)
            actions = sample_actions(out, torch.rand(len(out), generator=generator))
            return actions, actions, categorical_policy(out, actions)[0]

    def log_probs_and_entropies(observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        if discrete:
            return categorical_policy(policy(observations), actions)
        return gaussian_policy(policy(observations), log_stds, actions)

    def objective(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
        return clipped_surrogate(log_probs, old_log_probs, advantages, 0.2)

    def learn(
        seen: Tensor, actions: Tensor, old: Tensor, advantages: Tensor, targets: Tensor
    ) -> None:
        """All passes over one batch of M steps."""

        def loss_on(rows: Tensor) -> Tensor:
            log_probs, entropies = log_probs_and_entropies(seen[rows], actions[rows])
            return ppo_loss(
                log_probs,
                old[rows],
                advantages[rows],
                critic(seen[rows]),
                targets[rows],
                entropies,
                objective,
                settings["value_weight"],
                settings["entropy_weight"],
            )

        passes = range(settings["epochs"])
        orders = torch.stack([torch.randperm(len(seen), generator=generator) for _ in passes])
        size = math.ceil(len(seen) / settings["minibatches"])
        ppo_epochs(loss_on, optimiser, orders, size, settings["max_norm"])

    first, _ = envs.reset(seed=seed)
    observations = torch.as_tensor(first, dtype=torch.get_default_dtype())  # (N, O)
    ended = torch.zeros(settings["envs"], dtype=torch.bool)
    so_far, returns, curve = torch.zeros(settings["envs"]), [], []
    for update in range(settings["updates"]):
        left = 1 - (1 - settings["decay_to"]) * update / settings["updates"]
        optimiser.param_groups[0]["lr"] = settings["learning_rate"] * left
        batch = collect_steps(envs, act, observations, ended, settings["steps"])
        observations, ended = batch["last_observations"], batch["last_ended"]
        over = batch["terminated"] | batch["truncated"]
        returns += finished_returns(batch["rewards"], over, so_far)
        batch["rewards"] = settings["reward_scale"] * batch["rewards"]
        estimates = advantages_and_targets(
            critic, gae, batch, settings["gamma"], settings["lam"]
        )  # (M,), (M,)
        valid = batch["valid"]  # (T, N), M of them True
        seen, actions, old = (batch[n][valid] for n in ("observations", "actions", "log_probs"))
        learn(seen, actions, old, *estimates)
        last = returns[-100:]
        curve.append(sum(last) / len(last) if last else float("nan"))
    envs.close()
    weights = {f"net.{name}": tensor for name, tensor in policy.state_dict().items()}
    return weights | {"log_std": log_stds.detach()}, curve
