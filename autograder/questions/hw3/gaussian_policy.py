"""hw3: log-probabilities and entropies of a diagonal Gaussian, with their gradients."""

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
from course_lib.reference.answers.gaussian_policy import gaussian_policy


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    leaves = [torch.tensor(case[name], requires_grad=True) for name in ("means", "log_stds")]
    inputs = [leaf * 1.0 for leaf in leaves] + [torch.tensor(case["actions"])]

    def named(given: Any) -> dict[str, Any]:
        both = given if isinstance(given, tuple | list) else [given]  # one: the other is missing
        if len(both) > 2:
            raise TypeError(
                f"two tensors were to come back, log_probs and entropies, not {len(both)}"
            )
        return dict(zip(("log_probs", "entropies"), both, strict=False))

    def flat(given: Any) -> Any:
        return np.concatenate([frozen(each).reshape(-1) for each in named(given).values()])

    given = function(*inputs)
    observed = {name: frozen(value) for name, value in named(given).items()}
    for name, value in named(given).items():
        slopes: list[Any] = [None, None]
        if isinstance(value, torch.Tensor) and value.requires_grad:
            slopes = list(
                torch.autograd.grad(value.sum(), leaves, retain_graph=True, allow_unused=True)
            )
        for leaf, slope, of in zip(leaves, slopes, ("means", "log_stds"), strict=True):
            slope = torch.zeros_like(leaf) if slope is None else slope
            observed[f"{name}_by_{of}"] = frozen(slope)
    kept = all(
        untouched(x, case[name], graph=name != "actions")
        for name, x in zip(("means", "log_stds", "actions"), inputs, strict=True)
    )
    again = same_again(lambda: flat(function(*inputs)), flat(given))
    return {**observed, "inputs_unchanged": kept, "second_call_agrees": again}


def public_cases() -> list[Case]:
    return [
        {
            "means": np.array([[0.0, 1.0]]),
            "log_stds": np.log([2.0, 4.0]),
            "actions": np.array([[1.0, 3.0]]),
        },
        {
            "means": np.array([[0.5], [-1.0], [0.2]]),
            "log_stds": np.array([-0.7]),
            "actions": np.array([[0.9], [-1.6], [-0.3]]),
        },
        {
            "means": np.array([[0.3, -0.8], [1.2, 0.4], [-0.5, 0.1]]),
            "log_stds": np.array([0.5, -0.4]),
            "actions": np.array([[1.5, -1.1], [0.2, 0.9], [-0.9, -0.6]]),
        },
        {
            "means": np.array([[0.7, -0.2, 0.4], [-1.1, 0.6, 0.0], [0.2, 0.9, -0.7]]),
            "log_stds": np.array([-0.6, 0.3, -1.0]),
            "actions": np.array([[1.0, -1.4, 0.5], [-0.7, 1.3, -0.4], [-0.5, 0.2, -0.9]]),
        },
        {
            "means": np.array([[-0.4]]),
            "log_stds": np.array([0.6]),
            "actions": np.array([[1.7]]),
        },
    ]


def _dimensions(case: Arrays) -> int:
    return len(case["log_stds"])


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    first, second, third, fourth = (int(n) for n in rng.permutation(np.arange(2, 7))[:4])
    wide, wider = (int(n) for n in rng.choice(np.arange(2, 6), size=2, replace=False))
    for rows, columns in ((1, 1), (first, 1), (second, wide), (third, wider), (fourth, fourth)):
        log_stds = rng.uniform(0.3, 1.0, size=columns) * rng.choice([-1, 1], size=columns)
        scaled = rng.uniform(0.3, 1.8, size=(rows, columns))
        scaled *= rng.choice([-1, 1], size=(rows, columns))
        means = rng.uniform(-1.5, 1.5, size=(rows, columns))
        actions = means + np.exp(log_stds) * scaled
        cases.append({"means": means, "log_stds": log_stds, "actions": actions})
    return cases


# Right by other means.


def by_distributions(means: Tensor, log_stds: Tensor, actions: Tensor) -> Any:
    policy = Independent(Normal(means, log_stds.exp().expand_as(means)), 1)
    return policy.log_prob(actions), policy.entropy()


def summed_over_dimensions(means: Tensor, log_stds: Tensor, actions: Tensor) -> Any:
    policy = Normal(means, torch.ones_like(means) * torch.exp(log_stds) + 1e-8)
    return policy.log_prob(actions).sum(1), policy.entropy().sum(1)


def with_a_covariance(means: Tensor, log_stds: Tensor, actions: Tensor) -> Any:
    policy = MultivariateNormal(means, torch.diag(torch.exp(2 * log_stds)))
    return policy.log_prob(actions), policy.entropy()


def one_by_one(means: Tensor, log_stds: Tensor, actions: Tensor) -> Any:
    log_probs, entropies = [], []
    for mean, action in zip(means, actions, strict=True):
        log_prob = entropy = torch.zeros(())
        for m, log_std, a in zip(mean, log_stds, action, strict=True):
            std = log_std.exp()
            density = torch.exp(-((a - m) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi))
            log_prob = log_prob + density.log()
            entropy = entropy + 0.5 * torch.log(2 * math.pi * math.e * std**2)
        log_probs.append(log_prob)
        entropies.append(entropy)
    return torch.stack(log_probs), torch.stack(entropies)


def in_single_precision(means: Tensor, log_stds: Tensor, actions: Tensor) -> Any:
    variances = (2 * log_stds.float()).exp() + 1e-8
    squares = (actions.float() - means.float()) ** 2 / variances
    dimensions = means.shape[1]
    constant = dimensions * math.log(2 * math.pi)
    log_probs = -0.5 * (squares.sum(1) + variances.log().sum() + constant)
    entropy = 0.5 * (dimensions + constant + torch.log(variances).sum())
    return log_probs, entropy * torch.ones(len(means))


# What students write instead.

slip = partial(slip_of, gaussian_policy, see="04_reinforce#C71")

CHECK = Check(
    title="A policy with continuous actions",
    reference=gaussian_policy,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "not summed over the dimensions",
            "There is a number for each action dimension, (B, D), and not one for each action: the "
            "dimensions are independent. What becomes of their probabilities, and so of the "
            "logarithms and entropies?",
            log_probs="log_densities",
            entropies="each_entropy.repeat(len(means), 1)",
        ),
        slip(
            "log-probabilities not summed over the dimensions",
            "The log-probabilities are (B, D), one for each dimension. The dimensions are "
            "independent: the density of the whole action is a product, and its logarithm?",
            log_probs="log_densities",
        ),
        slip(
            "last axis squeezed instead of summed",
            "With one dimension the log-probabilities are (B,), with more they are (B, D). "
            "`squeeze` takes away an axis of length 1 and adds nothing up.",
            log_probs="log_densities.squeeze(-1)",
        ),
        slip(
            "mean over the dimensions",
            "Log-probabilities and entropies are means over the action dimensions. The density of "
            "independent dimensions is a product: what becomes of it in the logarithm?",
            log_probs="log_densities.mean(dim=-1)",
            entropies="each_entropy.mean().repeat(len(means))",
        ),
        slip(
            "log-probabilities as means over the dimensions",
            "The log-probabilities are means over the action dimensions. The density of "
            "independent dimensions is a product: what becomes of it in the logarithm?",
            log_probs="log_densities.mean(dim=-1)",
        ),
        slip(
            "product of the log-densities",
            "The logarithms of the dimensions are multiplied. It is the densities that are "
            "multiplied: what becomes of a product in the logarithm?",
            log_probs="log_densities.prod(dim=-1)",
        ),
        slip(
            "density instead of its logarithm",
            "The densities come back, not their logarithms. The gradient of a logarithm is the "
            "score; that of a density is not.",
            see="02_policy_gradient#C16",
            log_probs="log_densities.sum(dim=-1).exp()",
        ),
        slip(
            "summed over the batch",
            "The log-densities were added up over the batch instead of the action dimensions. "
            "Rows are states, columns are dimensions.",
            log_probs="log_densities.sum(dim=0)",
        ),
        slip(
            "one log-probability for the batch",
            "The log-probabilities of all rows were added up to one number. Each row meets its own "
            "advantage later on, so all B of them are wanted.",
            answer="(answer[0].sum(), answer[1])",
        ),
        slip(
            "mean of the log-probabilities",
            "The log-probabilities were averaged over the batch. Each row meets its own advantage "
            "later on, so all B of them are wanted.",
            answer="(answer[0].mean(), answer[1])",
        ),
        slip(
            "a column of log-probabilities",
            "The log-probabilities are right, but they stand in a column (B, 1). Times advantages "
            "(B,) that makes (B, B) without any error: sum the last axis away.",
            log_probs="log_densities.sum(dim=-1, keepdim=True)",
        ),
        slip(
            "log_stds as standard deviations",
            "The distance is divided by log_stds. The name says what they are: the logarithms of "
            "the standard deviations, so that any real number is allowed.",
            stds="log_stds",
        ),
        slip(
            "variance instead of the standard deviation",
            "The variance stands everywhere in the place of the standard deviation (torch's Normal "
            "takes the latter). Which of the two is exp(log_stds)?",
            before="log_stds = 2 * log_stds",
        ),
        slip(
            "standard deviation instead of the variance",
            "The standard deviation stands everywhere in the place of the variance. A covariance "
            "matrix, and the formula with one half of a logarithm, take the variance: which of the "
            "two is exp(log_stds)?",
            before="log_stds = 0.5 * log_stds",
        ),
        slip(
            "distance divided by the variance",
            "In the square the distance is divided by the variance. The distance in standard "
            "deviations is squared, once.",
            stds="torch.exp(2 * log_stds)",
        ),
        slip(
            "square divided by the standard deviation",
            "The squared distance is divided by the standard deviation, not by its square, the "
            "variance. Try in which unit each of them is measured.",
            stds="torch.exp(0.5 * log_stds)",
        ),
        slip(
            "softplus instead of exp",
            "The standard deviations are the softplus of log_stds. Some programs choose that; here "
            "log_stds holds logarithms.",
            before="log_stds = torch.nn.functional.softplus(log_stds).log()",
        ),
        slip(
            "no constant",
            "The constant -1/2 log(2 pi) is missing from the log-probabilities. Its gradient is "
            "zero and ratios do not see it, but without it the density does not integrate to 1.",
            log_densities="-0.5 * scaled**2 - log_stds",
        ),
        slip(
            "constant once for all dimensions",
            "The constant -1/2 log(2 pi) was subtracted once from the log-probability of an "
            "action. Each dimension brings its own.",
            log_probs="(-0.5 * scaled**2 - log_stds).sum(dim=-1) - 0.5 * log_two_pi",
        ),
        slip(
            "whole constant instead of half",
            "The constant in the log-probabilities is log(2 pi). A root of 2 pi is in the density: "
            "what does a root become in the logarithm?",
            log_densities="-0.5 * scaled**2 - log_stds - log_two_pi",
        ),
        slip(
            "log_stds missing",
            "The log-probabilities lack the term with log_stds alone. A wider Gaussian is lower; "
            "without that term the policy would always gain by being wider.",
            log_densities="-0.5 * scaled**2 - 0.5 * log_two_pi",
        ),
        slip(
            "log_stds added",
            "log_stds is added in the log-probabilities. A wider Gaussian is lower: which sign has "
            "its logarithm?",
            log_densities="-0.5 * scaled**2 + log_stds - 0.5 * log_two_pi",
        ),
        slip(
            "square without one half",
            "The square of the scaled distance counts in full. In the exponent of a Gaussian it is "
            "halved.",
            log_densities="-(scaled**2) - log_stds - 0.5 * log_two_pi",
        ),
        slip(
            "log-probability of the mean",
            "The log-probability is that of the mean, whatever was done. The action that was taken "
            "is the third argument.",
            scaled="torch.zeros_like(means)",
        ),
        slip(
            "corrected for a tanh",
            "The log-probabilities are corrected as for actions that went through tanh. Here "
            "nothing is bent: the density of an action is the Gaussian's.",
            log_densities="""
                log_densities = -0.5 * scaled**2 - log_stds - 0.5 * log_two_pi
                log_densities = log_densities - torch.log(1 - torch.tanh(actions) ** 2 + 1e-6)
            """,
        ),
        slip(
            "log-probabilities with a minus",
            "The log-probabilities have the wrong sign: this is the loss that one would make "
            "small. The farther an action is from the mean, the lower its log-probability.",
            answer="(-answer[0], answer[1])",
        ),
        slip(
            "no gradients",
            "The numbers are right, but no gradient reaches means and log_stds, so neither of the "
            "two can teach the policy anything (look for no_grad, detach or item).",
            answer="(answer[0].detach(), answer[1].detach())",
        ),
        slip(
            "no gradient of the log-probabilities",
            "The log-probabilities are right, but no gradient flows from them. Those of the old "
            "policy are constants; the new ones are what is learned from.",
            see="07_ppo#C62",
            answer="(answer[0].detach(), answer[1])",
        ),
        slip(
            "no gradient into log_stds",
            "No gradient reaches log_stds, as if the spread were a constant (look for detach, item "
            "or data). The policy has to learn how much to explore.",
            before="log_stds = log_stds.detach()",
        ),
        slip(
            "no gradient into the means",
            "No gradient reaches the means (look for detach, item or data). They are what the "
            "network gives, and what it learns by.",
            before="means = means.detach()",
        ),
        slip(
            "no gradient of the entropies",
            "The entropies are right, but no gradient flows from the entropies. A bonus for them "
            "has to move log_stds.",
            answer="(answer[0], answer[1].detach())",
        ),
        slip(
            "entropy of one dimension",
            "The entropies are means over the action dimensions. The entropies of independent "
            "dimensions add up.",
            entropies="each_entropy.mean().repeat(len(means))",
        ),
        slip(
            "entropy without log_stds",
            "The entropies ignore log_stds: they are those of a Gaussian of width 1. A wider one "
            "leaves more open.",
            each_entropy="0.5 + 0.5 * log_two_pi + torch.zeros_like(log_stds)",
        ),
        slip(
            "entropy without constants",
            "The entropies are sums of log_stds alone. A Gaussian of width 1 has an entropy as "
            "well, and it is not 0.",
            each_entropy="log_stds",
        ),
        slip(
            "entropy without one half",
            "The entropies lack the term 1/2 of each dimension: the logarithm is that of 2 pi e, "
            "not of 2 pi.",
            each_entropy="0.5 * log_two_pi + log_stds",
        ),
        slip(
            "entropy without 2 pi",
            "The entropies lack the term 1/2 log(2 pi) of each dimension. The logarithm is that of "
            "2 pi e, halved.",
            each_entropy="0.5 + log_stds",
        ),
        slip(
            "entropy's constants not halved",
            "The entropies have log(2 pi e) where half of it belongs. The variance is below that "
            "same half, which is how log_stds comes out whole.",
            each_entropy="1 + log_two_pi + log_stds",
        ),
        slip(
            "entropy's log_stds halved",
            "The entropies have half of log_stds: the standard deviation was put where the formula "
            "has the variance. One half of log std^2 is how much?",
            each_entropy="0.5 + 0.5 * log_two_pi + 0.5 * log_stds",
        ),
        slip(
            "entropy's constants once for all dimensions",
            "The constants of the entropy were added once. Each dimension brings its own.",
            entropies="(0.5 + 0.5 * log_two_pi + log_stds.sum()).repeat(len(means))",
        ),
        slip(
            "entropy with the wrong sign",
            "The entropies have the wrong sign. A wider Gaussian is less decided, and its entropy "
            "is larger.",
            each_entropy="-(0.5 + 0.5 * log_two_pi + log_stds)",
        ),
        slip(
            "entropy in bits",
            "The entropies are in bits: everything is 1 / ln 2 times too large. The logarithm is "
            "the natural one, as in the log-probabilities.",
            each_entropy="(0.5 + 0.5 * log_two_pi + log_stds) / math.log(2)",
        ),
        slip(
            "one entropy for the batch",
            "The entropies came out as a single number. It is the same in all rows, and wanted in "
            "each of them, (B,), as from the policy with discrete actions.",
            entropies="each_entropy.sum()",
        ),
        slip(
            "entropies of the dimensions",
            "The entropies came out as (D,), one for each dimension. Those of independent "
            "dimensions add up, and the sum is wanted once for each row, (B,).",
            entropies="each_entropy",
        ),
        slip(
            "entropies not summed over the dimensions",
            "The entropies are (B, D), one for each dimension. Those of independent dimensions add "
            "up.",
            entropies="each_entropy.repeat(len(means), 1)",
        ),
        slip(
            "minus the log-probability as entropy",
            "Minus the log-probability of the action taken stands for the entropy. Its mean over "
            "many actions would be the entropy, but a Gaussian's is known exactly: no action "
            "enters it.",
            entropies="-log_probs",
        ),
        slip(
            "the two in the wrong order",
            "The entropies come first and the log-probabilities second. It is the other way round: "
            "log_probs, entropies.",
            answer="answer[::-1]",
        ),
    ),
    parts=(
        Property("one dimension", 2, lambda case: _dimensions(case) == 1, ("log_probs",)),
        Property("several dimensions", 3, lambda case: _dimensions(case) > 1, ("log_probs",)),
        Property(
            "gradients of the log-probabilities",
            2,
            observations=("log_probs_by_means", "log_probs_by_log_stds"),
        ),
        Property("entropies", 2, observations=("entropies",)),
        Property(
            "gradients of the entropies",
            2,
            observations=("entropies_by_means", "entropies_by_log_stds"),
        ),
    ),
    accepted=(
        by_distributions,
        summed_over_dimensions,
        with_a_covariance,
        one_by_one,
        in_single_precision,
    ),
)
