"""TRPO on a gymnasium environment, from top to bottom. [slides 55 to 58]"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from course_lib.optimiser import Adam
from course_lib.policies import Policy, critic_for, policy_for
from course_lib.reference.agents.scaling import RewardScaler, scaler_for
from course_lib.reference.answers.conjugate_gradient import conjugate_gradient
from course_lib.reference.answers.gae import gae
from course_lib.reference.answers.line_search import line_search
from course_lib.reference.answers.surrogate import surrogate
from course_lib.rollout import make_envs
from course_lib.seeding import check_device, check_generator
from course_lib.training import (
    Advantages,
    Batch,
    History,
    Run,
    Statistics,
    TRPOConfig,
    Watch,
    decayed,
    normalise,
    train_on_steps,
)


def train_trpo(
    env_id: str,
    config: TRPOConfig,
    *,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    watch: Watch | None = None,
    prepare: Callable[[Tensor], Tensor] = normalise,
    advantages: Advantages = gae,
) -> tuple[Policy, History]:
    """Train a policy on env_id by TRPO: natural-gradient steps inside a trust region of mean KL.

    generator draws everything and must be on device.
    watch is called with the run before the first update and after each.
    prepare: advantages (B,) of a batch -> those the surrogate is given; advantages: called as gae.
    Returns the policy and what training saw. Raises ValueError if no policy fits the environment.
    """
    check_generator(generator, check_device(device))
    envs = make_envs(env_id, config.envs, device)
    scaler = scaler_for(envs, device) if config.scale_observations else None
    policy = policy_for(envs, config.hidden, generator=generator, scaler=scaler)
    critic = critic_for(envs, config.hidden, generator=generator, scaler=scaler)
    optimiser = Adam([critic], config.critic_learning_rate)
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
        optimiser.learning_rate = decayed(config.critic_learning_rate, config, run.history)
        statistics = trust_region_step(policy, batch, config, prepare)
        for _ in range(config.critic_epochs):
            for part in batch.minibatches(config.minibatches, generator):
                value_loss = functional.mse_loss(critic(part.observations), part.returns)
                optimiser.minimise(value_loss)
        if scaler is not None:
            scaler.moments.update(batch.observations)  # from the next rollout on
        return {**statistics, "value_loss": value_loss.item()}

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


def trust_region_step(
    policy: Policy,
    batch: Batch,
    config: TRPOConfig,
    prepare: Callable[[Tensor], Tensor] = normalise,
) -> Statistics:
    """One step: x solves F x = g, the step is sqrt(2 delta / x^T F x) x, then a line search.

    g is the surrogate's gradient and F the mean KL's Hessian (damped, of one step in fisher_every),
    both at the old policy; the policy is changed in place. Reports the KL used and the surrogate's
    gain, both of all steps. [slide 58]
    """
    theta = parameters_to_vector(policy.parameters()).detach()
    advantages = prepare(batch.advantages)

    @cache  # by identity: one and the same candidate is asked for its KL and for its surrogate
    def policy_at(candidate: Tensor) -> Distribution:
        return distribution_at(policy, candidate, batch.observations)

    def objective(candidate: Tensor) -> Tensor:
        log_probs = policy_at(candidate).log_prob(batch.actions)
        return surrogate(log_probs, batch.log_probs, advantages)

    def mean_kl(candidate: Tensor) -> Tensor:
        return kl_divergence(policy_at(theta), policy_at(candidate)).mean()

    some = batch.observations[:: config.fisher_every]
    with torch.no_grad():
        old_at_some = distribution_at(policy, theta, some)

    def mean_kl_at_some(candidate: Tensor) -> Tensor:
        return kl_divergence(old_at_some, distribution_at(policy, candidate, some)).mean()

    fisher_times = fisher_products(mean_kl_at_some, theta, config.damping)
    leaf = theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(leaf), leaf)
    direction = conjugate_gradient(fisher_times, gradient, config.cg_iterations)
    curvature = (direction @ fisher_times(direction)).item()
    if curvature <= 0:  # a gradient of zero: there is nowhere to go
        return {"kl": 0.0, "gain": 0.0}
    step = math.sqrt(2 * config.delta / curvature) * direction
    with torch.no_grad():
        accepted = line_search(objective, mean_kl, theta, step, config.delta)
        gain = (objective(accepted) - objective(theta)).item()
        used = mean_kl(accepted).item()
    vector_to_parameters(accepted, policy.parameters())
    return {"kl": used, "gain": gain}


def fisher_products(
    mean_kl: Callable[[Tensor], Tensor], theta: Tensor, damping: float
) -> Callable[[Tensor], Tensor]:
    """v -> fisher_vector_product(mean_kl, theta, v, damping), for many v at one theta.

    The first of its two gradients does not depend on v, and is worked out once for all of them.
    """
    theta = theta.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(mean_kl(theta), theta, create_graph=True)

    def product(vector: Tensor) -> Tensor:
        (hessian_times,) = torch.autograd.grad(gradient, theta, vector, retain_graph=True)
        return hessian_times + damping * vector

    return product


def distribution_at(policy: Policy, theta: Tensor, observations: Tensor) -> Distribution:
    """The policy's distribution if its parameters were theta (P,), with a graph back to theta."""
    pieces = {}
    start = 0
    for name, parameter in policy.named_parameters():
        stop = start + parameter.numel()
        pieces[name] = theta[start:stop].view_as(parameter)
        start = stop
    return functional_call(policy, pieces, (observations,))
