"""hw3: continuous actions as they are drawn, as the environment gets them, and how likely."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.gaussian_actions import gaussian_actions


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    names = ("means", "log_stds", "noise", "low", "high")
    inputs = [torch.tensor(case[name]) for name in names]
    inputs[:2] = [x.requires_grad_() * 1.0 for x in inputs[:2]]  # as a network gives them

    def named(given: Any) -> dict[str, Any]:
        three = given if isinstance(given, tuple | list) else [given]
        if len(three) not in (1, 3):
            raise TypeError(
                "three tensors were to come back, actions, env_actions and log_probs, not "
                f"{len(three)}"
            )
        return dict(zip(("actions", "env_actions", "log_probs"), three, strict=False))

    def flat(given: Any) -> Any:
        return np.concatenate([frozen(each).reshape(-1) for each in named(given).values()])

    given = named(function(*inputs))
    graph = any(isinstance(x, torch.Tensor) and x.requires_grad for x in given.values())
    observed = {name: frozen(value) for name, value in given.items()}
    kept = all(
        untouched(x, case[name], graph=name in ("means", "log_stds"))
        for name, x in zip(names, inputs, strict=True)
    )
    first = np.concatenate([each.reshape(-1) for each in observed.values()])
    again = same_again(lambda: flat(function(*inputs)), first)
    return {
        **observed,
        "without_a_graph": not graph,
        "inputs_unchanged": kept,
        "second_call_agrees": again,
    }


def public_cases() -> list[Case]:
    return [
        {
            "means": np.array([[1.5], [-0.5], [2.5]]),
            "log_stds": np.array([0.0]),
            "noise": np.array([[1.2], [-1.9], [-0.9]]),
            "low": np.array([-2.0]),
            "high": np.array([2.0]),
        },
        {
            "means": np.array([[0.3, -0.4], [-0.2, 0.5]]),
            "log_stds": np.array([-0.5, 0.4]),
            "noise": np.array([[0.8, -0.6], [-1.3, 0.5]]),
            "low": np.array([-4.0, -3.0]),
            "high": np.array([3.0, 5.0]),
        },
        {
            "means": np.array([[0.4, -1.6, 0.2], [-0.9, 0.7, 0.1], [0.6, 0.3, -0.8]]),
            "log_stds": np.array([0.3, -0.6, 0.5]),
            "noise": np.array([[1.1, 0.4, -1.5], [-0.8, 1.7, 0.9], [-0.3, -1.9, 1.4]]),
            "low": np.array([-1.0, -0.5, -2.0]),
            "high": np.array([1.5, 1.0, 0.8]),
        },
        {
            "means": np.array([[0.8], [-0.4]]),
            "log_stds": np.array([-0.8]),
            "noise": np.array([[-0.7], [1.6]]),
            "low": np.array([-1.5]),
            "high": np.array([2.5]),
        },
    ]


def _clipped(case: Arrays) -> bool:
    actions = case["means"] + np.exp(case["log_stds"]) * case["noise"]
    return bool(((actions < case["low"]) | (actions > case["high"])).any())


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    rows_of = (int(n) for n in rng.permutation(np.arange(4, 8)))
    wide, wider = (int(n) for n in rng.choice(np.arange(2, 6), size=2, replace=False))
    for rows, columns, clips in zip(rows_of, (1, wide, 1, wider), (1, 1, 0, 0), strict=True):
        shape = (rows, columns)
        log_stds = rng.uniform(0.3, 0.9, size=columns) * rng.choice([-1, 1], size=columns)
        means, noise = rng.uniform(-1, 1, size=shape), rng.uniform(-1.8, 1.8, size=shape)
        noise += 0.1 * np.sign(noise)
        actions = means + np.exp(log_stds) * noise
        if clips:
            low = rng.uniform(-1.7, -0.5, size=columns)
            high = rng.uniform(0.6, 1.9, size=columns)
            actions[0] = high + rng.uniform(0.3, 1.2, size=columns)
            actions[1] = low - rng.uniform(0.3, 1.2, size=columns)
            actions[2:4] = rng.uniform(0.8 * low, 0.8 * high, size=(2, columns))
            means[2] = high + rng.uniform(0.2, 0.8, size=columns)  # the noise brings it back
            means[3] = low - rng.uniform(0.2, 0.8, size=columns)
            noise = (actions - means) / np.exp(log_stds)
        else:
            low = np.minimum(actions, means).min(axis=0) - rng.uniform(0.1, 1.0, size=columns)
            high = np.maximum(actions, means).max(axis=0) + rng.uniform(0.1, 1.0, size=columns)
        cases.append(
            {"means": means, "log_stds": log_stds, "noise": noise, "low": low, "high": high}
        )
    return cases


# Right by other means.


def by_distributions(
    means: Tensor, log_stds: Tensor, noise: Tensor, low: Tensor, high: Tensor
) -> Any:
    with torch.no_grad():
        policy = Independent(Normal(means, log_stds.exp().expand_as(means)), 1)
        actions = policy.mean + policy.stddev * noise
        return actions, actions.clamp(low, high), policy.log_prob(actions)


def by_the_noise(means: Tensor, log_stds: Tensor, noise: Tensor, low: Tensor, high: Tensor) -> Any:
    actions = (means + log_stds.exp() * noise).detach()
    bounded = torch.max(torch.min(actions, high), low)
    log_probs = Normal(0.0, 1.0).log_prob(noise).sum(1) - log_stds.detach().sum()
    return actions, bounded, log_probs


def in_numpy(means: Tensor, log_stds: Tensor, noise: Tensor, low: Tensor, high: Tensor) -> Any:
    mean, log_std = means.detach().numpy(), log_stds.detach().numpy()
    std = np.exp(log_std) + 1e-8
    action = mean + std * noise.numpy()
    squares = ((action - mean) / std) ** 2
    log_prob = -0.5 * (squares + 2 * np.log(std) + np.log(2 * np.pi)).sum(axis=1)
    return action, np.clip(action, low.numpy(), high.numpy()), log_prob


def number_by_number(
    means: Tensor, log_stds: Tensor, noise: Tensor, low: Tensor, high: Tensor
) -> Any:
    actions, bounded = torch.zeros_like(means), torch.zeros_like(means)
    log_probs = torch.zeros(len(means))
    for b, row in enumerate(means.tolist()):
        for i, mean in enumerate(row):
            std = math.exp(log_stds[i].item())
            action = mean + std * noise[b, i].item()
            actions[b, i] = action
            bounded[b, i] = min(max(action, low[i].item()), high[i].item())
            density = math.exp(-0.5 * ((action - mean) / std) ** 2)
            log_probs[b] += math.log(density / (std * math.sqrt(2 * math.pi)))
    return actions.detach(), bounded.detach(), log_probs


def in_single_precision(
    means: Tensor, log_stds: Tensor, noise: Tensor, low: Tensor, high: Tensor
) -> Any:
    with torch.no_grad():
        mean, std = means.float(), log_stds.float().exp()
        policy = MultivariateNormal(mean, scale_tril=torch.diag(std))
        actions = mean + noise.float() @ torch.diag(std)
        return [actions, torch.clip(actions, low.float(), high.float()), policy.log_prob(actions)]


# What students write instead.

slip = partial(slip_of, gaussian_actions, see="04_reinforce#C71")

CHECK = Check(
    title="Drawing continuous actions",
    reference=gaussian_actions,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "clips before anything else",
            "The actions are clipped as soon as they are drawn, so the batch and the "
            "log-probabilities know only what the clip left. The Gaussian never drew that: which "
            "action does its density belong to?",
            actions="torch.clamp(means + stds * noise, low, high)",
        ),
        slip(
            "log-probability of the clipped action",
            "The log-probabilities are those of the clipped actions, and the batch holds others. "
            "Which of the two did the policy choose, and which one is what the world made of it?",
            scaled="(env_actions - means) / stds",
        ),
        slip(
            "clipped actions in the batch",
            "The actions of the batch are the clipped ones (clamp_ writes into the same memory, if "
            "you used it). PPO works out their log-probabilities once more, and compares them with "
            "those of the actions that were drawn.",
            answer="(answer[1], answer[1], answer[2])",
        ),
        slip(
            "not clipped",
            "The environment gets the actions as they were drawn. Some are outside [low, high]: "
            "many environments stop there, others go on with something else.",
            env_actions="actions",
        ),
        slip(
            "only the upper bound",
            "The environment's actions are held below high, but not above low.",
            env_actions="torch.minimum(actions, high)",
        ),
        slip(
            "only the lower bound",
            "The environment's actions are held above low, but not below high.",
            env_actions="torch.maximum(actions, low)",
        ),
        slip(
            "clips the mean",
            "The mean is clipped and the noise added after it, so what the environment gets may "
            "still be outside. And a mean may lie outside: the clip is for what is drawn.",
            means="torch.clamp(means.detach(), low, high)",
            env_actions="actions",
        ),
        slip(
            "clips the mean as well",
            "The mean is clipped before the noise is added. It is the drawn action that is "
            "clipped, for the environment alone; the policy stays as the network gives it.",
            means="torch.clamp(means.detach(), low, high)",
        ),
        slip(
            "clips between -high and high",
            "The lower bound is taken to be -high. That is so for Pendulum, and not everywhere: "
            "use low.",
            env_actions="torch.clamp(actions, -high, high)",
        ),
        slip(
            "clips between -1 and 1",
            "The clip is at -1 and 1, whatever the bounds are. low and high say what the "
            "environment takes.",
            env_actions="actions.clamp(-1, 1)",
        ),
        slip(
            "bounds of the first dimension",
            "All dimensions are clipped to the bounds of the first. Each has its own.",
            env_actions="torch.clamp(actions, low[0], high[0])",
        ),
        slip(
            "widest bounds for all dimensions",
            "All dimensions are clipped to the widest bounds, the lowest low and the highest high. "
            "Each has its own.",
            env_actions="torch.clamp(actions, low.min(), high.max())",
        ),
        slip(
            "bounds swapped",
            "The bounds were given the wrong way round, and torch's clamp then sets everything to "
            "low: the lower bound comes first.",
            env_actions="torch.clamp(actions, high, low)",
        ),
        slip(
            "tanh instead of a clip",
            "The environment gets tanh of the actions. That bends all of them, also those well "
            "inside the bounds, and ends at -1 and 1 whatever low and high are.",
            env_actions="torch.tanh(actions)",
        ),
        slip(
            "tanh, stretched to the bounds",
            "The environment gets tanh of the actions, stretched to [low, high]. Some methods do "
            "that; here an action inside the bounds reaches the environment as it is.",
            env_actions="low + 0.5 * (high - low) * (torch.tanh(actions) + 1)",
        ),
        slip(
            "tanh times the upper bound",
            "The environment gets tanh of the actions, times high. Some methods do that; here an "
            "action inside the bounds reaches the environment as it is.",
            env_actions="high * torch.tanh(actions)",
        ),
        slip(
            "stretched from [-1, 1] and clipped",
            "The actions were stretched as if they came from [-1, 1], then clipped. Here the "
            "policy speaks in the environment's units: an action inside the bounds stays as it is.",
            env_actions="low + 0.5 * (high - low) * (actions.clamp(-1, 1) + 1)",
        ),
        slip(
            "log_stds as standard deviations",
            "The noise is multiplied with log_stds. The name says what they are: the logarithms of "
            "the standard deviations.",
            actions="means + log_stds * noise",
        ),
        slip(
            "variance instead of the standard deviation",
            "The variance stands everywhere in the place of the standard deviation (torch's Normal "
            "takes the latter). Which of the two is exp(log_stds)?",
            log_stds="2 * log_stds.detach()",
        ),
        slip(
            "standard deviation instead of the variance",
            "The standard deviation stands everywhere in the place of the variance. A covariance "
            "matrix takes the variance: which of the two is exp(log_stds)?",
            log_stds="0.5 * log_stds.detach()",
        ),
        slip(
            "noise without its scale",
            "The noise is added as it comes, with standard deviation 1. exp(log_stds) says how "
            "wide each dimension spreads.",
            actions="means + noise",
        ),
        slip(
            "no noise",
            "The actions are the means. An agent that never tries another action learns nothing "
            "about it.",
            actions="means",
        ),
        slip(
            "noise subtracted",
            "The noise is subtracted. Its distribution is the same either way, but here it is "
            "added.",
            actions="means - stds * noise",
        ),
        slip(
            "log-probabilities not summed",
            "The log-probabilities are (B, D), one for each dimension. The dimensions are "
            "independent: the density of the whole action is a product, and its logarithm?",
            log_probs="log_densities",
        ),
        slip(
            "log-probabilities as means over the dimensions",
            "The log-probabilities are means over the action dimensions. The density of "
            "independent dimensions is a product: what becomes of it in the logarithm?",
            log_probs="log_densities.mean(dim=-1)",
        ),
        slip(
            "summed over the batch",
            "The log-densities were added up over the batch instead of the action dimensions. Rows "
            "are states, columns are dimensions.",
            log_probs="log_densities.sum(dim=0)",
        ),
        slip(
            "last axis squeezed instead of summed",
            "With one dimension the log-probabilities are (B,), with more they are (B, D). "
            "`squeeze` takes away an axis of length 1 and adds nothing up.",
            log_probs="log_densities.squeeze(-1)",
        ),
        slip(
            "a column of log-probabilities",
            "The log-probabilities are right, but they stand in a column (B, 1). The batch keeps "
            "one number a row, (B,).",
            log_probs="log_densities.sum(dim=-1, keepdim=True)",
        ),
        slip(
            "variance in the density",
            "The actions are drawn with the standard deviation, but in the log-probabilities the "
            "variance stands in its place (torch's Normal takes the former). It is one Gaussian.",
            scaled="(actions - means) / stds**2",
            log_densities="-0.5 * (scaled**2 + math.log(2 * math.pi)) - 2 * log_stds",
        ),
        slip(
            "log-density of the noise",
            "The log-probabilities are those of the noise, of width 1. Stretching it by the "
            "standard deviation makes its density lower: a term is missing.",
            log_densities="-0.5 * (scaled**2 + torch.log(means.new_tensor(2 * torch.pi)))",
        ),
        slip(
            "no constant",
            "The constant -1/2 log(2 pi) of each dimension is missing from the log-probabilities. "
            "Without it the density does not integrate to 1.",
            log_densities="-0.5 * scaled**2 - log_stds",
        ),
        slip(
            "density instead of its logarithm",
            "The densities come back, not their logarithms. PPO's ratio is made from a difference "
            "of logarithms.",
            see="07_ppo#C62",
            log_probs="log_densities.sum(dim=-1).exp()",
        ),
        slip(
            "log-probabilities with a minus",
            "The log-probabilities have the wrong sign. The farther an action is from the mean, "
            "the lower its log-probability.",
            answer="(answer[0], answer[1], -answer[2])",
        ),
        slip(
            "log-probability of the mean",
            "The log-probability is that of the mean, whatever was drawn. It depends on how far "
            "the noise carried the action.",
            scaled="torch.zeros_like(means)",
        ),
        slip(
            "corrected for a tanh",
            "The log-probabilities are corrected as for actions that went through tanh. Here "
            "nothing is bent: the density of the drawn action is the Gaussian's.",
            log_densities="""
                log_densities = -0.5 * (scaled**2 + math.log(2 * math.pi)) - log_stds
                log_densities = log_densities - torch.log(1 - torch.tanh(actions) ** 2 + 1e-6)
            """,
        ),
        slip(
            "keeps its graph",
            "The numbers are right, but they still hang on the network's graph, and with them the "
            "whole batch would. What is stored while the agent acts are numbers: detach them.",
            means="means",
            log_stds="log_stds",
        ),
        slip(
            "the first two in the wrong order",
            "The clipped actions come first and the drawn ones second. The batch gets the first, "
            "the environment the second: actions, env_actions, log_probs.",
            answer="(answer[1], answer[0], answer[2])",
        ),
    ),
    parts=(
        Property("the actions", 2, observations=("actions",)),
        Property("what the environment gets", 2, observations=("env_actions",)),
        Property(
            "log-probabilities inside the bounds",
            cases=lambda case: not _clipped(case),
            observations=("log_probs",),
        ),
        Property("log-probabilities of actions that are clipped", 2, _clipped, ("log_probs",)),
    ),
    accepted=(by_distributions, by_the_noise, in_numpy, number_by_number, in_single_precision),
)
