"""hw2: the mean Kullback-Leibler divergence between two softmax policies."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, same_again, untouched
from course_lib.reference.answers.kl import kl


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    old_logits = torch.tensor(case["old_logits"])
    leaf = torch.tensor(case["logits"], requires_grad=True)
    logits = leaf * 1.0
    value = function(old_logits, logits)
    gradient = torch.zeros_like(leaf)
    if isinstance(value, torch.Tensor) and value.requires_grad and value.numel() == 1:
        (found,) = torch.autograd.grad(value.sum(), [leaf], allow_unused=True)
        gradient = gradient if found is None else found
    kept = untouched(old_logits, case["old_logits"]) and untouched(
        logits, case["logits"], graph=True
    )
    again = same_again(lambda: function(old_logits, logits), value)
    return {
        "value": value,
        "gradient": gradient,
        "inputs_unchanged": kept,
        "second_call_agrees": again,
    }


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
        old_logits, logits = rng.uniform(-2, 2, size=(2, *shape))
        cases.append({"old_logits": old_logits, "logits": logits})
    return cases


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


# What students write instead.

slip = partial(slip_of, kl, see="06_trpo#C54")

CHECK = Check(
    title="Mean KL divergence",
    reference=kl,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "the wrong way round",
            "This is KL(pi || pi_old); torch's kl_div takes its arguments in the opposite order, "
            "if you used that. The divergence is not symmetric: in TRPO's constraint the old "
            "policy, which drew the actions, does the weighing.",
            before="old_logits, logits = logits, old_logits",
        ),
        slip(
            "sum over states instead of mean",
            "The divergences of the states are added up, so a larger batch seems to be a larger "
            "step. The constraint is on the mean over the visited states.",
            answer="terms.sum()",
        ),
        slip(
            "mean over the actions too",
            "The mean runs over actions as well, which makes the result smaller by the number of "
            "actions. Over actions the definition has a sum; the mean is over states.",
            answer="terms.mean()",
        ),
        slip(
            "not weighted by the old policy",
            "The log-ratios are added up without weights. A divergence is an expectation: under "
            "which policy are the actions drawn?",
            terms="old_log_probs - log_probs",
        ),
        slip(
            "wrong sign",
            "The result is negative, and a KL divergence never is. Which of the two "
            "probabilities stands above in the logarithm?",
            answer="-answer",
        ),
        slip(
            "cross-entropy",
            "This is the cross-entropy. Its gradient is the same, but it is not zero when the two "
            "policies agree, so it cannot say how far apart they are: something is still to be "
            "subtracted.",
            terms="-old_log_probs.exp() * log_probs",
        ),
        slip(
            "softmax over the states",
            "The softmax runs down the columns, over the states. One row is one state, and its "
            "probabilities sum to 1 over the actions.",
            old_log_probs="torch.log_softmax(old_logits, dim=0)",
            log_probs="torch.log_softmax(logits, dim=0)",
        ),
        slip(
            "logits used as log-probabilities",
            "The difference is taken between logits. Logits are log-probabilities only up to a "
            "constant of each state: try adding 1 to all of `logits`, and see whether the answer "
            "stays the same.",
            terms="torch.softmax(old_logits, dim=-1) * (old_logits - logits)",
        ),
        slip(
            "softmax applied twice",
            "The softmax was applied to numbers that already were probabilities. One softmax turns "
            "the logits into the policy.",
            before="old_logits, logits = old_logits.softmax(dim=-1), logits.softmax(dim=-1)",
        ),
        slip(
            "symmetrised",
            "This is the mean of the two divergences, old to new and new to old. Only the one with "
            "the old policy in front is asked for.",
            terms="0.5 * (old_log_probs.exp() - log_probs.exp()) * (old_log_probs - log_probs)",
        ),
        slip(
            "approximated by a square",
            "Half the squared log-ratio agrees with the KL divergence only while the policies are "
            "close. With the whole distribution at hand, the exact sum costs no more.",
            terms="0.5 * old_log_probs.exp() * (old_log_probs - log_probs) ** 2",
        ),
        slip(
            "maximum over states instead of mean",
            "This is the largest divergence of any state, as the theory has it. The practical "
            "algorithm, and this question, take the mean.",
            answer="terms.sum(dim=-1).max()",
        ),
        slip(
            "no gradient",
            "The number is right, but it has lost its graph: its gradient with respect to the new "
            "logits is zero, and TRPO differentiates it twice.",
            see="06_trpo#C58",
            answer="answer.detach()",
        ),
        slip(
            "total variation",
            "This is the total variation distance, half the sum of absolute differences. The "
            "constraint is in KL, which has a smooth second derivative where the policies agree.",
            see="06_trpo#C49",
            terms="0.5 * (old_log_probs.exp() - log_probs.exp()).abs()",
        ),
        slip(
            "logarithm to base 2",
            "The divergence is measured in bits: everything is 1 / ln 2 times too large. The "
            "logarithm is the natural one.",
            answer="answer / math.log(2)",
        ),
        slip(
            "estimator for sampled actions",
            "r - 1 - log r is averaged over all actions alike. That estimates the divergence from "
            "actions that the old policy drew; here all actions are at hand, and each is weighted "
            "with its old probability.",
            terms="(log_probs - old_log_probs).exp() - 1 - (log_probs - old_log_probs)",
            answer="terms.mean()",
        ),
        slip(
            "one logarithm is missing",
            "The new policy's probability is subtracted where its logarithm belongs (torch's "
            "kl_div takes logarithms first, if you used that). The terms are log-ratios: a "
            "logarithm minus a logarithm.",
            terms="old_log_probs.exp() * (old_log_probs - log_probs.exp())",
        ),
        slip(
            "difference of the probabilities",
            "The old probabilities multiply a difference of probabilities. What they weigh is the "
            "log-ratio, log pi_old minus log pi.",
            terms="old_log_probs.exp() * (old_log_probs.exp() - log_probs.exp())",
        ),
        slip(
            "logarithms where probabilities belong",
            "The old policy's log-probabilities stand where its probabilities belong, and their "
            "logarithm does not exist (torch's kl_div needs log_target=True for that, if you used "
            "it).",
            terms="old_log_probs * (old_log_probs.log() - log_probs)",
        ),
    ),
    parts=(
        Property("the value", 2, observations=("value",)),
        Property("its gradient", observations=("gradient",)),
    ),
    accepted=(by_distributions, by_the_library, state_by_state, in_single_precision),
)
