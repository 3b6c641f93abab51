"""hw2: the mean Kullback-Leibler divergence between two softmax policies."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Misconception
from autograder.questions.tolerance import TOLERANCE
from autograder.student.wire import Arrays
from course_lib.reference.answers.kl import kl


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    old_logits = torch.tensor(case["old_logits"])
    leaf = torch.tensor(case["logits"], requires_grad=True)
    logits = leaf * 1.0
    value = function(old_logits, logits)
    gradient = torch.zeros_like(leaf)
    if isinstance(value, torch.Tensor) and value.requires_grad:
        (found,) = torch.autograd.grad(value.sum(), [leaf], allow_unused=True)
        gradient = gradient if found is None else found
    kept = np.array_equal(old_logits, case["old_logits"]) and np.array_equal(
        logits.detach(), case["logits"]
    )
    return {"value": value, "gradient": gradient, "inputs_unchanged": kept}


def public_cases() -> list[Case]:
    return [
        {"old_logits": np.log([[0.5, 0.5]]), "logits": np.log([[0.8, 0.2]])},
        {
            "old_logits": np.array([[0.2, -0.5, 1.0], [1.5, 0.0, -1.0], [0.3, 0.3, 0.9]]),
            "logits": np.array([[-0.4, 0.6, 0.8], [0.5, 0.7, -0.2], [1.3, -0.8, 0.1]]),
        },
        {
            "old_logits": np.array([[1.0, -1.0], [0.4, 0.9]]),
            "logits": np.array([[1.0, -1.0], [2.0, -0.3]]),
        },
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for states in rng.choice(np.arange(1, 8), size=3, replace=False):
        shape = (int(states), int(rng.integers(2, 6)))
        cases.append({"old_logits": rng.normal(size=shape), "logits": rng.normal(size=shape)})
    return cases


# What students write instead.


def _logs(old_logits: Tensor, logits: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
    return torch.log_softmax(old_logits, dim), torch.log_softmax(logits, dim)


def wrong_way_round(old_logits: Tensor, logits: Tensor) -> Tensor:
    old, new = _logs(old_logits, logits)
    return (new.exp() * (new - old)).sum(-1).mean()


def sum_over_states(old_logits: Tensor, logits: Tensor) -> Tensor:
    old, new = _logs(old_logits, logits)
    return (old.exp() * (old - new)).sum()


def mean_over_actions_too(old_logits: Tensor, logits: Tensor) -> Tensor:
    old, new = _logs(old_logits, logits)
    return (old.exp() * (old - new)).mean()


def not_weighted(old_logits: Tensor, logits: Tensor) -> Tensor:
    old, new = _logs(old_logits, logits)
    return (old - new).sum(-1).mean()


def wrong_sign(old_logits: Tensor, logits: Tensor) -> Tensor:
    old, new = _logs(old_logits, logits)
    return (old.exp() * (new - old)).sum(-1).mean()


def cross_entropy(old_logits: Tensor, logits: Tensor) -> Tensor:
    old, new = _logs(old_logits, logits)
    return -(old.exp() * new).sum(-1).mean()


def softmax_over_states(old_logits: Tensor, logits: Tensor) -> Tensor:
    old, new = _logs(old_logits, logits, dim=0)
    return (old.exp() * (old - new)).sum(-1).mean()


def logits_as_log_probs(old_logits: Tensor, logits: Tensor) -> Tensor:
    return (torch.softmax(old_logits, -1) * (old_logits - logits)).sum(-1).mean()


def logits_as_probabilities(old_logits: Tensor, logits: Tensor) -> Tensor:
    old, new = _logs(torch.softmax(old_logits, -1), torch.softmax(logits, -1))
    return (old.exp() * (old - new)).sum(-1).mean()


def symmetrised(old_logits: Tensor, logits: Tensor) -> Tensor:
    old, new = _logs(old_logits, logits)
    return 0.5 * ((old.exp() - new.exp()) * (old - new)).sum(-1).mean()


def squared_log_ratio(old_logits: Tensor, logits: Tensor) -> Tensor:
    old, new = _logs(old_logits, logits)
    return 0.5 * (old.exp() * (old - new) ** 2).sum(-1).mean()


def largest_state(old_logits: Tensor, logits: Tensor) -> Tensor:
    old, new = _logs(old_logits, logits)
    return (old.exp() * (old - new)).sum(-1).max()


def no_gradient(old_logits: Tensor, logits: Tensor) -> Tensor:
    old, new = _logs(old_logits, logits.detach())
    return (old.exp() * (old - new)).sum(-1).mean()


def total_variation(old_logits: Tensor, logits: Tensor) -> Tensor:
    old, new = _logs(old_logits, logits)
    return 0.5 * (old.exp() - new.exp()).abs().sum(-1).mean()


# Right by other means.


def by_distributions(old_logits: Tensor, logits: Tensor) -> Tensor:
    from torch.distributions import Categorical, kl_divergence

    return kl_divergence(Categorical(logits=old_logits), Categorical(logits=logits)).mean()


def by_the_library(old_logits: Tensor, logits: Tensor) -> Tensor:
    return torch.nn.functional.kl_div(
        torch.log_softmax(logits, -1), torch.softmax(old_logits, -1), reduction="batchmean"
    )


def state_by_state(old_logits: Tensor, logits: Tensor) -> Any:
    total: Any = 0.0
    for old_row, row in zip(old_logits, logits, strict=True):
        old, new = torch.softmax(old_row, 0), torch.softmax(row, 0)
        for a in range(len(old)):
            total = total + old[a] * torch.log(old[a] / new[a])
    return total / len(logits)


def in_single_precision(old_logits: Tensor, logits: Tensor) -> Tensor:
    return by_distributions(old_logits.float(), logits.float())


CHECK = Check(
    title="Mean KL divergence",
    reference=kl,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        Misconception(
            "the wrong way round",
            wrong_way_round,
            "This is KL(pi || pi_old); torch's kl_div takes its arguments in the opposite order, "
            "if you used that. The divergence is not symmetric: in TRPO's constraint the old "
            "policy, which drew the actions, does the weighing.",
            "06_trpo#C54",
        ),
        Misconception(
            "sum over states instead of mean",
            sum_over_states,
            "The divergences of the states are added up, so a larger batch seems to be a larger "
            "step. The constraint is on the mean over the visited states.",
            "06_trpo#C54",
        ),
        Misconception(
            "mean over the actions too",
            mean_over_actions_too,
            "The mean runs over actions as well, which makes the result smaller by the number of "
            "actions. Over actions the definition has a sum; the mean is over states.",
            "06_trpo#C54",
        ),
        Misconception(
            "not weighted by the old policy",
            not_weighted,
            "The log-ratios are added up without weights. A divergence is an expectation: under "
            "which policy are the actions drawn?",
            "06_trpo#C54",
        ),
        Misconception(
            "wrong sign",
            wrong_sign,
            "The result is negative, and a KL divergence never is. Which of the two "
            "probabilities stands above in the logarithm?",
            "06_trpo#C54",
        ),
        Misconception(
            "cross-entropy",
            cross_entropy,
            "This is the cross-entropy. Its gradient is the same, but it is not zero when the two "
            "policies agree, so it cannot say how far apart they are: something is still to be "
            "subtracted.",
            "06_trpo#C54",
        ),
        Misconception(
            "softmax over the states",
            softmax_over_states,
            "The softmax runs down the columns, over the states. One row is one state, and its "
            "probabilities sum to 1 over the actions.",
            "06_trpo#C54",
        ),
        Misconception(
            "logits used as log-probabilities",
            logits_as_log_probs,
            "The difference is taken between logits. Logits are log-probabilities only up to a "
            "constant of each state: try adding 1 to all of `logits`, and see whether the answer "
            "stays the same.",
            "06_trpo#C54",
        ),
        Misconception(
            "softmax applied twice",
            logits_as_probabilities,
            "The softmax was applied to numbers that already were probabilities. One softmax turns "
            "the logits into the policy.",
            "06_trpo#C54",
        ),
        Misconception(
            "symmetrised",
            symmetrised,
            "This is the mean of the two divergences, old to new and new to old. Only the one with "
            "the old policy in front is asked for.",
            "06_trpo#C54",
        ),
        Misconception(
            "approximated by a square",
            squared_log_ratio,
            "Half the squared log-ratio agrees with the KL divergence only while the policies are "
            "close. With the whole distribution at hand, the exact sum costs no more.",
            "06_trpo#C54",
        ),
        Misconception(
            "maximum over states instead of mean",
            largest_state,
            "This is the largest divergence of any state, as the theory has it. The practical "
            "algorithm, and this question, take the mean.",
            "06_trpo#C54",
        ),
        Misconception(
            "no gradient",
            no_gradient,
            "The number is right, but it has lost its graph: its gradient with respect to the new "
            "logits is zero, and TRPO differentiates it twice.",
            "06_trpo#C58",
        ),
        Misconception(
            "total variation",
            total_variation,
            "This is the total variation distance, half the sum of absolute differences. The "
            "constraint is in KL, which has a smooth second derivative where the policies agree.",
            "06_trpo#C49",
        ),
    ),
    accepted=(by_distributions, by_the_library, state_by_state, in_single_precision),
    tolerance=TOLERANCE,
)
