"""hw1: the loss of REINFORCE with a baseline."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Misconception
from autograder.questions.tolerance import TOLERANCE
from autograder.student.wire import Arrays
from course_lib.reference.answers.baseline_loss import baseline_loss


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    log_probs = torch.tensor(case["log_probs"], requires_grad=True)
    values = torch.tensor(case["values"], requires_grad=True)
    returns = torch.tensor(case["returns"])
    # One operation away from the leaves, so that changing an input in place shows as a change.
    inputs = {"log_probs": log_probs * 1.0, "returns": returns, "values": values * 1.0}
    loss = function(*inputs.values(), float(case["gamma"]))
    gradients = [torch.zeros_like(log_probs), torch.zeros_like(values)]
    if isinstance(loss, torch.Tensor) and loss.requires_grad:
        found = torch.autograd.grad(loss.sum(), [log_probs, values], allow_unused=True)
        gradients = [z if g is None else g for z, g in zip(gradients, found, strict=True)]
    kept = all(np.array_equal(x.detach().numpy(), case[name]) for name, x in inputs.items())
    return {
        "loss": loss,
        "gradient_of_log_probs": gradients[0],
        "gradient_of_values": gradients[1],
        "inputs_unchanged": kept,
    }


def public_cases() -> list[Case]:
    return [
        {
            "log_probs": np.array([-0.5, -1.0]),
            "returns": np.array([3.0, 4.0]),
            "values": np.array([1.0, 2.0]),
            "gamma": 0.5,
        },
        {
            "log_probs": np.array([-0.2, -1.7, -0.9, -2.5]),
            "returns": np.array([2.0, -1.0, 0.5, 3.0]),
            "values": np.array([1.5, 0.3, -0.8, 1.0]),
            "gamma": 0.9,
        },
        {
            "log_probs": np.array([-0.6, -0.1, -1.2]),
            "returns": np.array([-1.0, -0.4, 2.2]),
            "values": np.array([0.0, -2.0, 0.7]),
            "gamma": 1.0,
        },
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    return [
        {
            "log_probs": -rng.exponential(size=length),
            "returns": 2 * rng.normal(size=length),
            "values": rng.normal(size=length),
            "gamma": float(rng.uniform(0.6, 0.98)),
        }
        for length in (1, *rng.choice(np.arange(2, 14), size=3, replace=False))
    ]


# What students write instead.


def _powers(gamma: float, length: int) -> Tensor:
    return gamma ** torch.arange(length, dtype=torch.float64)


def wrong_sign(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Tensor:
    return (_powers(gamma, len(returns)) * (returns - values.detach()) * log_probs).sum()


def baseline_not_detached(
    log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float
) -> Tensor:
    return -(_powers(gamma, len(returns)) * (returns - values) * log_probs).sum()


def drops_gamma_t(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Tensor:
    return -((returns - values.detach()) * log_probs).sum()


def adds_the_baseline(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Tensor:
    return -(_powers(gamma, len(returns)) * (returns + values.detach()) * log_probs).sum()


def no_baseline(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Tensor:
    return -(_powers(gamma, len(returns)) * returns * log_probs).sum()


def mean_instead_of_sum(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Tensor:
    return -(_powers(gamma, len(returns)) * (returns - values.detach()) * log_probs).mean()


def trains_the_critic_too(
    log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float
) -> Tensor:
    actor = -(_powers(gamma, len(returns)) * (returns - values.detach()) * log_probs).sum()
    return actor + ((returns - values) ** 2).mean()


def no_graph(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Tensor:
    with torch.no_grad():
        return -(_powers(gamma, len(returns)) * (returns - values) * log_probs).sum()


def probability_instead_of_log(
    log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float
) -> Tensor:
    advantages = returns - values.detach()
    return -(_powers(gamma, len(returns)) * advantages * log_probs.exp()).sum()


def normalises(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Tensor:
    advantages = returns - values.detach()
    advantages = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
    return -(_powers(gamma, len(returns)) * advantages * log_probs).sum()


def baseline_not_discounted(
    log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float
) -> Tensor:
    return -((_powers(gamma, len(returns)) * returns - values.detach()) * log_probs).sum()


def outer_product(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Tensor:
    weights = _powers(gamma, len(returns)) * (returns - values.detach())
    return -(weights[:, None] * log_probs[None, :]).sum()


def one_baseline_for_all(
    log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float
) -> Tensor:
    advantages = returns - values.detach().mean()
    return -(_powers(gamma, len(returns)) * advantages * log_probs).sum()


def normalises_over_n_less_one(
    log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float
) -> Tensor:
    off = returns - values.detach()
    off = off - off.mean()
    spread = (off.square().sum() / (len(off) - 1)).sqrt()  # torch's std, less its warning
    return -(_powers(gamma, len(returns)) * off / (spread + 1e-8) * log_probs).sum()


def detaches_the_log_probs(
    log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float
) -> Tensor:
    return -(_powers(gamma, len(returns)) * (returns - values) * log_probs.detach()).sum()


# Right by other means.


def step_by_step(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Any:
    loss: Any = 0.0
    for t in range(len(returns)):
        loss = loss - gamma**t * (returns[t].item() - values[t].item()) * log_probs[t]
    return loss


def as_a_dot_product(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Tensor:
    with torch.no_grad():
        weights = gamma ** torch.arange(len(returns)) * (values - returns)
    return log_probs @ weights


def with_numpy_weights(log_probs: Tensor, returns: Tensor, values: Tensor, gamma: float) -> Tensor:
    advantages = returns.numpy() - values.detach().numpy()
    weights = torch.as_tensor(np.power(gamma, np.arange(len(advantages))) * advantages)
    return torch.sum(-log_probs * weights)


CHECK = Check(
    title="Loss with a baseline",
    reference=baseline_loss,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        Misconception(
            "wrong sign",
            wrong_sign,
            "The sign is wrong: an optimiser makes a loss small, and this one gets small as J "
            "falls. Which sign turns descent on the loss into ascent on J?",
            "02_policy_gradient#C17",
        ),
        Misconception(
            "baseline not detached",
            baseline_not_detached,
            "The loss is right, but a gradient flows into the baseline as well, and would push the "
            "values wherever the loss falls. In this formula the baseline is a constant.",
            "08_advantages#C72",
        ),
        Misconception(
            "drops gamma^t",
            drops_gamma_t,
            "The discount gamma^t in front of each term is missing. Much code leaves it out, but "
            "then descent no longer follows the gradient of the discounted J: this course keeps "
            "it.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "adds the baseline",
            adds_the_baseline,
            "The baseline is added to the return. It should say how much better than expected an "
            "action turned out.",
            "08_advantages#C72",
        ),
        Misconception(
            "leaves the baseline out",
            no_baseline,
            "The values are not used: this is the loss without a baseline. It has the right mean, "
            "and the variance that the baseline is there to lower.",
            "08_advantages#C72",
        ),
        Misconception(
            "mean over steps instead of sum",
            mean_instead_of_sum,
            "The terms are averaged over the steps, so a long episode counts as little as a short "
            "one. The gradient of J has a sum over time.",
            "02_policy_gradient#C21",
        ),
        Misconception(
            "trains the critic too",
            trains_the_critic_too,
            "The squared error of the values is added to the loss. How the values are learned is "
            "another matter; this loss is for the policy alone.",
            "08_advantages#C72",
        ),
        Misconception(
            "no gradient",
            no_graph,
            "The number is right, but it has lost its graph, so no optimiser can learn from it. "
            "Only the baseline should be cut off from the graph, not log_probs "
            "(look for no_grad, detach, item or a new tensor made from old numbers).",
            "02_policy_gradient#C17",
        ),
        Misconception(
            "pi instead of log pi",
            probability_instead_of_log,
            "The advantages multiply pi(a|s) instead of log pi(a|s). The actions were drawn with "
            "probability pi already; the log-derivative trick needs the logarithm.",
            "02_policy_gradient#C18",
        ),
        Misconception(
            "normalises the advantages",
            normalises,
            "The advantages were shifted and scaled to mean 0 and spread 1. That helps some "
            "programs, but changes the gradient; here the plain difference is asked for.",
            "08_advantages#C72",
        ),
        Misconception(
            "baseline not discounted",
            baseline_not_discounted,
            "gamma^t multiplies the return but not the baseline. It is the weight of the whole "
            "term of step t: the baseline is subtracted first.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "every step with every advantage",
            outer_product,
            "Each log-probability is multiplied with every step's advantage, (T, T) products in "
            "all. Check the shapes: step t goes with step t only.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "one baseline for all steps",
            one_baseline_for_all,
            "The mean of the values is subtracted at every step. The baseline belongs to the "
            "state that the step was taken in: b_t is values[t].",
            "08_advantages#C72",
        ),
        Misconception(
            "normalises the advantages by n - 1",
            normalises_over_n_less_one,
            "The differences G - b were shifted and scaled to mean 0 and spread 1 (torch's std "
            "divides by n - 1, so a single step even gives nan). That is a later trick; here the "
            "plain differences are asked for.",
            "08_advantages#C72",
        ),
        Misconception(
            "log_probs detached instead of values",
            detaches_the_log_probs,
            "The number is right, but the graph was cut at the wrong place: the gradient flows "
            "into the baseline and none reaches log_probs. The policy is what this loss is for.",
            "02_policy_gradient#C17",
        ),
    ),
    accepted=(step_by_step, as_a_dot_product, with_numpy_weights),
    tolerance=TOLERANCE,
)
