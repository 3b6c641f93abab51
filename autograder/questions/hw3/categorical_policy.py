"""hw3: log-probabilities and entropies of a softmax policy, with their gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.categorical_policy import categorical_policy


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    leaf = torch.tensor(case["logits"], requires_grad=True)
    logits, actions = leaf * 1.0, torch.tensor(case["actions"])

    def named(given: Any) -> dict[str, Any]:
        both = given if isinstance(given, tuple | list) else [given]  # one: the other is missing
        if len(both) > 2:
            raise TypeError(
                f"two tensors were to come back, log_probs and entropies, not {len(both)}"
            )
        return dict(zip(("log_probs", "entropies"), both, strict=False))

    def flat(given: Any) -> Any:
        return np.concatenate([frozen(each).reshape(-1) for each in named(given).values()])

    given = function(logits, actions)
    observed = {name: frozen(value) for name, value in named(given).items()}
    for name, value in named(given).items():
        gradient = torch.zeros_like(leaf)
        if isinstance(value, torch.Tensor) and value.requires_grad:
            (found,) = torch.autograd.grad(
                value.sum(), [leaf], retain_graph=True, allow_unused=True
            )
            gradient = gradient if found is None else found
        observed[f"gradient_of_{name}"] = frozen(gradient)
    kept = untouched(logits, case["logits"], graph=True) and untouched(actions, case["actions"])
    again = same_again(lambda: flat(function(logits, actions)), flat(given))
    return {**observed, "inputs_unchanged": kept, "second_call_agrees": again}


def public_cases() -> list[Case]:
    return [
        {"logits": np.array([[0.0, np.log(3)]]), "actions": np.array([1])},
        {
            "logits": np.array([[1.0, -0.5], [0.3, 0.8], [-1.2, 0.4]]),
            "actions": np.array([1, 0, 1]),
        },
        {
            "logits": np.array(
                [[0.5, -1.0, 1.5], [2.0, 0.0, -0.5], [-0.7, 0.2, 0.9], [1.1, 1.3, -1.6]]
            ),
            "actions": np.array([0, 0, 2, 1]),
        },
        {"logits": np.array([[0.4, -0.9, 1.2, 0.1]]), "actions": np.array([3])},
    ]


def _single_row(case: Arrays) -> bool:
    return len(case["logits"]) == 1


def _several_rows(case: Arrays) -> bool:
    return not _single_row(case)


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    states = [1, *(int(n) for n in rng.choice(np.arange(2, 9), size=3, replace=False))]
    for rows, choices in zip(states, rng.permutation([2, 3, 4, 5]), strict=True):
        logits = rng.uniform(-2, 2, size=(rows, int(choices)))
        actions = rng.integers(int(choices), size=rows)
        actions[0] = logits[0].argmin()  # not always the likeliest one
        cases.append({"logits": logits, "actions": actions})
    return cases


# Right by other means.


def by_distributions(logits: Tensor, actions: Tensor) -> Any:
    policy = torch.distributions.Categorical(logits=logits)
    return policy.log_prob(actions), policy.entropy()


def by_the_library(logits: Tensor, actions: Tensor) -> Any:
    probs = torch.nn.functional.softmax(logits, dim=1)
    log_probs = -torch.nn.functional.cross_entropy(logits, actions, reduction="none")
    return log_probs, -torch.sum(probs * torch.log(probs + 1e-8), dim=1)


def state_by_state(logits: Tensor, actions: Tensor) -> Any:
    log_probs, entropies = [], []
    for row, action in zip(logits, actions, strict=True):
        weights = torch.exp(row - row.max())
        probs = weights / weights.sum()
        log_probs.append(torch.log(probs[action]))
        entropies.append(sum(-p * torch.log(p) for p in probs))
    return torch.stack(log_probs), torch.stack(entropies)


def by_one_hot(logits: Tensor, actions: Tensor) -> Any:
    log_pi = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    taken = torch.nn.functional.one_hot(actions, logits.shape[1]).to(log_pi.dtype)
    entropies = -torch.einsum("ba,ba->b", log_pi.exp(), log_pi)
    return [torch.einsum("ba,ba->b", taken, log_pi), entropies]


def in_single_precision(logits: Tensor, actions: Tensor) -> Any:
    policy = torch.distributions.Categorical(probs=torch.softmax(logits.float(), dim=-1))
    return policy.log_prob(actions), policy.entropy()


# What students write instead.

slip = partial(slip_of, categorical_policy, see="04_reinforce#C70")

CHECK = Check(
    title="A policy with discrete actions",
    reference=categorical_policy,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "squeezed without a dimension",
            "With a single row the log-probabilities come out as one number instead of (1,). "
            "`squeeze()` takes away every axis of length 1, the batch's too: say which one.",
            log_probs="all_log_probs.gather(-1, actions.long()[:, None]).squeeze()",
        ),
        slip(
            "softmax before the softmax",
            "A softmax was applied to numbers that were probabilities already, so the policy is "
            "nearly uniform whatever the network says. Logits need one softmax: does what you call "
            "expect logits or probabilities?",
            before="logits = logits.softmax(dim=-1)",
        ),
        slip(
            "softmax along the batch",
            "The softmax runs down the columns, over the states. One row is one state, and its "
            "probabilities sum to 1 over the actions.",
            all_log_probs="torch.log_softmax(logits, dim=0)",
        ),
        slip(
            "one sum for the whole batch",
            "The probabilities of all rows together sum to 1. Each row is a distribution of its "
            "own: over which axis is the sum below the fraction?",
            all_log_probs="logits - logits.exp().sum().log()",
        ),
        slip(
            "no normaliser",
            "The logits are used as if they were log-probabilities. They are so only up to a "
            "constant of each row: do your probabilities sum to 1?",
            all_log_probs="logits",
        ),
        slip(
            "largest logit as the normaliser",
            "The largest logit of the row is subtracted and nothing else. That keeps exp from "
            "overflowing, but the logarithm of the sum is still to be subtracted.",
            all_log_probs="logits - logits.max(dim=-1, keepdim=True).values",
        ),
        slip(
            "sigmoid of each logit",
            "Each logit went through a sigmoid of its own, so the probabilities of a row do not "
            "sum to 1. The actions compete for the same probability.",
            all_log_probs="torch.sigmoid(logits).log()",
        ),
        slip(
            "log-probability of the likeliest action",
            "The log-probability is that of the likeliest action of each row. What counts is the "
            "action that was taken, or the agent never learns from trying something else.",
            log_probs="all_log_probs.max(dim=-1).values",
        ),
        slip(
            "log-probabilities of all actions",
            "The log-probabilities of all actions come back, (B, A). Of each row only that of the "
            "action taken is wanted, (B,).",
            log_probs="all_log_probs",
        ),
        slip(
            "every row with every action",
            "All rows were combined with all actions, (B, B) numbers. Row b goes with action b "
            "alone: indexing with `[:, actions]` picks whole columns.",
            log_probs="all_log_probs[:, actions.long()]",
        ),
        slip(
            "all actions looked up in the first row",
            "All log-probabilities are taken from the first row. `gather` looks into row b for row "
            "b of the index: an index (1, B) has one row.",
            log_probs="all_log_probs[0][actions.long()]",
        ),
        slip(
            "a column of log-probabilities",
            "The log-probabilities are right, but they stand in a column (B, 1). Times advantages "
            "(B,) that makes (B, B) without any error: take the last axis away.",
            log_probs="all_log_probs.gather(-1, actions.long()[:, None])",
        ),
        slip(
            "action's number as a weight",
            "The log-probabilities were multiplied by the number of the action. It says which "
            "entry of the row to take; action 0 would always give 0.",
            log_probs="(all_log_probs * actions[:, None]).sum(dim=-1)",
        ),
        slip(
            "probability instead of its logarithm",
            "The probabilities of the actions come back, not their logarithms. The gradient of a "
            "logarithm is the score; that of a probability is not.",
            see="02_policy_gradient#C16",
            log_probs="probs.gather(-1, actions.long()[:, None]).squeeze(-1)",
        ),
        slip(
            "logit of the action",
            "The logit of the action is returned as its log-probability. The logarithm of the sum "
            "over all actions is still to be subtracted.",
            log_probs="logits.gather(-1, actions.long()[:, None]).squeeze(-1)",
        ),
        slip(
            "log-probabilities with a minus",
            "The log-probabilities have the wrong sign (torch's cross-entropy is minus the "
            "log-probability, if you used it). The logarithm of a probability is never positive.",
            log_probs="-all_log_probs.gather(-1, actions.long()[:, None]).squeeze(-1)",
        ),
        slip(
            "mean of the log-probabilities",
            "The log-probabilities were averaged over the batch. Each row meets its own advantage "
            "later on, so all B of them are wanted.",
            answer="(answer[0].mean(), answer[1])",
        ),
        slip(
            "sum of the log-probabilities",
            "The log-probabilities were added up over the batch. Each row meets its own advantage "
            "later on, so all B of them are wanted.",
            answer="(answer[0].sum(), answer[1])",
        ),
        slip(
            "no gradients",
            "The numbers are right, but no gradient reaches the logits, so neither of the two can "
            "teach the network anything (look for no_grad, detach or item).",
            answer="(answer[0].detach(), answer[1].detach())",
        ),
        slip(
            "no gradient of the log-probabilities",
            "The log-probabilities are right, but no gradient flows from them into the logits. "
            "Those of the old policy are constants; the new ones are what is learned from.",
            see="07_ppo#C62",
            answer="(answer[0].detach(), answer[1])",
        ),
        slip(
            "no gradient of the entropies",
            "The entropies are right, but no gradient flows from the entropies: are they detached, "
            "or are the probabilities held constant? A bonus for entropy has to move the logits.",
            answer="(answer[0], answer[1].detach())",
        ),
        slip(
            "entropy with the wrong sign",
            "The entropies are negative. The logarithm of a probability is at most 0, and an "
            "entropy is never below 0: a bonus with this sign makes the policy sure of itself.",
            entropies="(probs * all_log_probs).sum(dim=-1)",
        ),
        slip(
            "entropy in bits",
            "The entropies are in bits: everything is 1 / ln 2 times too large. The logarithm is "
            "the natural one, as in the log-probabilities.",
            entropies="-(probs * all_log_probs).sum(dim=-1) / math.log(2)",
        ),
        slip(
            "entropy divided by its largest value",
            "The entropies were divided by log A, so that they lie between 0 and 1. Here the plain "
            "entropy is asked for.",
            entropies="-(probs * all_log_probs).sum(dim=-1) / math.log(logits.shape[-1])",
        ),
        slip(
            "mean of the entropies",
            "The entropies were averaged over the batch. That comes later, in the loss; here each "
            "state has its own.",
            answer="(answer[0], answer[1].mean())",
        ),
        slip(
            "sum of the entropies",
            "The entropies were added up over the batch. Here each state has its own.",
            answer="(answer[0], answer[1].sum())",
        ),
        slip(
            "entropy of the taken action alone",
            "The entropies hold the term of the taken action alone. An entropy is a sum over all "
            "actions, those not taken too.",
            entropies="-(probs * all_log_probs).gather(-1, actions.long()[:, None]).squeeze(-1)",
        ),
        slip(
            "minus the log-probability as entropy",
            "Minus the log-probability of the action taken stands for the entropy. Its mean over "
            "many actions would be the entropy; but all probabilities are at hand, and the "
            "gradient of a single one is another.",
            entropies="-log_probs",
        ),
        slip(
            "entropy as a mean over actions",
            "The entropies are too small by the number of actions: the mean over actions was "
            "taken. Each term has its weight already, the probability.",
            entropies="-(probs * all_log_probs).mean(dim=-1)",
        ),
        slip(
            "entropy without weights",
            "The entropies add up the log-probabilities of all actions alike. An entropy is an "
            "expectation: with which weights?",
            entropies="-all_log_probs.sum(dim=-1)",
        ),
        slip(
            "entropy with equal weights",
            "The entropies average the log-probabilities of all actions alike. An entropy is an "
            "expectation under the policy: with which weights?",
            entropies="-all_log_probs.mean(dim=-1)",
        ),
        slip(
            "entropy not summed",
            "The terms of the entropy come back one by one, (B, A). Their sum over the actions is "
            "the entropy of a state.",
            entropies="-probs * all_log_probs",
        ),
        slip(
            "entropy summed over the batch",
            "The terms of the entropy were added up over the states, (A,). Each row has its own "
            "entropy, the sum over its actions.",
            entropies="-(probs * all_log_probs).sum(dim=0)",
        ),
        slip(
            "logits in the entropy",
            "In the entropies the logits stand where log-probabilities belong. Add 1 to all "
            "logits: the policy is the same, and so is its entropy.",
            entropies="-(probs * logits).sum(dim=-1)",
        ),
        slip(
            "exponential of the entropy",
            "The entropies went through exp, which gives a number of actions (the perplexity). "
            "The entropy itself is asked for.",
            entropies="(-(probs * all_log_probs).sum(dim=-1)).exp()",
        ),
        slip(
            "entropy with squares",
            "These are 1 - sum of pi^2, another measure of how undecided a policy is. The entropy "
            "has a logarithm in it.",
            entropies="1 - (probs**2).sum(dim=-1)",
        ),
        slip(
            "the two in the wrong order",
            "The entropies come first and the log-probabilities second. It is the other way round: "
            "log_probs, entropies.",
            answer="answer[::-1]",
        ),
    ),
    parts=(
        Property("log-probabilities", 2, _several_rows, ("log_probs",)),
        Property("those of a single row", 1, _single_row, ("log_probs",), beside=True),
        Property("their gradient", 2, observations=("gradient_of_log_probs",)),
        Property("entropies", 2, observations=("entropies",)),
        Property("the entropies' gradient", 2, observations=("gradient_of_entropies",)),
    ),
    accepted=(by_distributions, by_the_library, state_by_state, by_one_hot, in_single_precision),
)
