"""hw1: the loss of REINFORCE for padded episodes and a network."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, same_again, untouched
from course_lib.reference.answers.reinforce_loss import reinforce_loss


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    weights = [torch.tensor(case[name], requires_grad=True) for name in ("inner", "outer")]

    def network(observations: Any) -> torch.Tensor:
        rows = torch.as_tensor(observations).double()
        return torch.tanh(rows @ weights[0]) @ weights[1]

    names = ("observations", "actions", "returns", "mask")
    inputs = {name: torch.tensor(case[name]) for name in names}
    gamma = float(case["gamma"])
    loss = function(network, *inputs.values(), gamma)
    gradients = [torch.zeros_like(each) for each in weights]
    if isinstance(loss, torch.Tensor) and loss.requires_grad and loss.numel() == 1:
        found = torch.autograd.grad(loss.sum(), weights, allow_unused=True)
        gradients = [z if g is None else g for z, g in zip(gradients, found, strict=True)]
    gradient = torch.cat([each.flatten() for each in gradients])
    kept = all(untouched(x, case[name]) for name, x in inputs.items())
    return {
        "loss": loss,
        "gradient": gradient,
        "direction_of_gradient": gradient / max(gradient.norm().item(), 1e-12),
        "inputs_unchanged": kept and all(each.grad is None for each in weights),
        "second_call_agrees": same_again(lambda: function(network, *inputs.values(), gamma), loss),
    }


def _case(rng: np.random.Generator, sizes: tuple[int, ...], lengths: Any, gamma: float) -> Case:
    """Numbers drawn for the given sizes, also where nothing happened any more.

    sizes: steps T, actions A, observations O, hidden units H. lengths: of the episodes.
    """
    steps, actions, seen, hidden = sizes
    shape = len(lengths), steps
    returns = rng.normal(size=shape) + np.where(rng.random(shape) < 0.5, -1, 1)
    return {
        "inner": 0.7 * rng.normal(size=(seen, hidden)),
        "outer": rng.uniform(-0.8, 0.8, size=(hidden, actions)),
        "observations": rng.normal(size=(*shape, seen)),
        "actions": rng.integers(actions, size=shape),
        "returns": returns,
        "mask": np.arange(steps) < np.array(lengths)[:, None],
        "gamma": gamma,
    }


def _rounded(case: Case) -> Case:
    """With one decimal, to be printed."""
    floats = ("inner", "outer", "observations", "returns")
    return {name: np.round(x, 1) if name in floats else x for name, x in case.items()}


def public_cases() -> list[Case]:
    by_hand = {
        "inner": np.zeros((1, 1)),
        "outer": np.zeros((1, 2)),  # every action has probability 1/2
        "observations": np.array([[[1.0], [2.0]], [[0.5], [0.0]]]),
        "actions": np.array([[0, 1], [1, 0]]),
        "returns": np.array([[3.0, 4.0], [1.0, 7.0]]),
        "mask": np.array([[True, True], [True, False]]),
        "gamma": 0.5,
    }
    rng = np.random.default_rng(7)
    return [
        by_hand,
        _rounded(_case(rng, (3, 2, 2, 2), [3, 3], 1.0)),
        _rounded(_case(rng, (4, 3, 2, 2), [4, 4, 4], 0.8)),
        _rounded(_case(rng, (5, 3, 2, 3), [2, 5, 3], 0.9)),
        _rounded(_case(rng, (4, 2, 3, 2), [4, 1, 2, 3], 1.0)),
        _rounded(_case(rng, (4, 3, 2, 2), [4], 0.7)),
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    return [
        _case(rng, (4, 3, 2, 4), [4, 4], 1.0),
        _case(rng, (3, 2, 4, 3), [3, 3, 3, 3], float(rng.uniform(0.6, 0.9))),
        _case(rng, (7, 3, 3, 4), [3, 7, 1, 5, 2], float(rng.uniform(0.6, 0.9))),
        _case(rng, (6, 4, 4, 3), [1, 6, 4], float(rng.uniform(0.7, 0.95))),
        _case(rng, (5, 3, 3, 3), [5], float(rng.uniform(0.6, 0.9))),
    ]


def _is_full(case: Arrays) -> bool:
    """Whether all episodes are as long as the table."""
    return bool(case["mask"].all())


# Right by other means.


def episode_by_episode(*given: Any) -> Any:
    network, observations, actions, returns, mask, gamma = given
    loss = 0.0
    for b in range(len(mask)):
        length = int(mask[b].sum())
        logits = network(observations[b, :length])
        for t in range(length):
            log_prob = logits[t, actions[b, t]] - torch.logsumexp(logits[t], dim=0)
            loss = loss - gamma**t * returns[b, t] * log_prob
    return loss / len(mask)


def by_a_distribution(*given: Any) -> Tensor:
    network, observations, actions, returns, mask, gamma = given
    log_probs = torch.distributions.Categorical(logits=network(observations)).log_prob(actions)
    discounts = torch.tensor([gamma**t for t in range(mask.shape[1])])  # single precision
    return -(torch.where(mask, log_probs, 0.0) * discounts * returns).sum(dim=-1).mean()


def as_a_classifier(*given: Any) -> Tensor:
    network, observations, actions, returns, mask, gamma = given
    logits = network(observations[mask])  # (steps that happened, A)
    losses = torch.nn.functional.cross_entropy(logits, actions[mask], reduction="none")
    when = torch.arange(mask.shape[1]).expand_as(mask)[mask]
    return (gamma**when * returns[mask]) @ losses / mask.shape[0]


def with_numpy_weights(*given: Any) -> Tensor:
    network, observations, actions, returns, mask, gamma = given
    weights = np.power(gamma, np.arange(mask.shape[1])) * returns.numpy() * mask.numpy()
    policy = torch.softmax(network(observations), dim=-1)
    chosen = (policy * torch.nn.functional.one_hot(actions, policy.shape[-1])).sum(dim=-1)
    return -(torch.as_tensor(weights) * torch.log(chosen + 1e-8)).sum() / len(weights)


def in_single_precision(*given: Any) -> Tensor:
    network, observations, actions, returns, mask, gamma = given

    def narrow(rows: Tensor) -> Tensor:
        return torch.as_tensor(network(rows)).float()

    return reinforce_loss(narrow, observations.float(), actions, returns.float(), mask, gamma)


# What students write instead.

slip = partial(slip_of, reinforce_loss, see="04_reinforce#C26")

CHECK = Check(
    title="Loss of REINFORCE for a network",
    reference=reinforce_loss,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "wrong sign",
            "The sign is wrong: an optimiser makes a loss small, and this one gets small as J "
            "falls. Which sign turns descent on the loss into ascent on J?",
            see="02_policy_gradient#C17",
            answer="-answer",
        ),
        slip(
            "padding counted",
            "The steps after the end of an episode count as well, and what stands there means "
            "nothing. What does `mask` say?",
            weights="discounts * returns",
        ),
        slip(
            "mask turned round",
            "Only the padding counts. mask is True where a step happened.",
            weights="discounts * returns * ~mask",
        ),
        slip(
            "last step of each episode masked",
            "The last step of every episode is left out. It happened, and mask is True there.",
            before="mask = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)",
        ),
        slip(
            "drops gamma^t",
            "The discount gamma^t in front of each term is missing. Much code leaves it out, but "
            "then descent no longer follows the gradient of the discounted J: this course keeps "
            "it.",
            see="02_policy_gradient#C23",
            discounts="torch.ones(mask.shape[1], dtype=returns.dtype)",
        ),
        slip(
            "gamma to the number of the episode",
            "The power of gamma grows with the number of the episode in the batch. Time is the "
            "second axis, and each episode begins at t = 0.",
            see="02_policy_gradient#C23",
            discounts="gamma ** torch.arange(len(mask), dtype=returns.dtype)[:, None]",
        ),
        slip(
            "discount counted from 1",
            "The whole loss is one factor of gamma too small: time starts at t = 0, so the first "
            "step is not discounted.",
            see="02_policy_gradient#C23",
            discounts="gamma ** torch.arange(1, mask.shape[1] + 1, dtype=returns.dtype)",
        ),
        slip(
            "gamma^t twice",
            "Each term has the factor gamma^t twice. The returns come in discounted back to their "
            "own step, and J is measured from the start: one factor brings them there.",
            see="02_policy_gradient#C23",
            weights="discounts**2 * returns * mask",
        ),
        slip(
            "mean over all steps",
            "The terms are averaged over all steps that happened, so that long episodes lose "
            "weight. The gradient of J is a sum over time, and a mean over episodes.",
            see="04_reinforce#C24",
            answer="-(weights * taken).sum() / mask.sum()",
        ),
        slip(
            "mean over the whole table",
            "The terms are averaged over the whole table, padding included: the loss depends on "
            "how long the longest episode is. Sum over time, mean over episodes.",
            see="04_reinforce#C24",
            answer="-(weights * taken).mean()",
        ),
        slip(
            "mean over the steps of each episode",
            "Each episode's terms are divided by its length. The gradient of J has a sum over "
            "time; a mean is taken over the episodes.",
            see="04_reinforce#C24",
            totals="(weights * taken).sum(dim=1) / mask.sum(dim=1)",
        ),
        slip(
            "sum over the episodes",
            "The episodes are added up, so twice as many make twice the step. An expectation is "
            "estimated by a mean.",
            see="04_reinforce#C24",
            answer="-totals.sum()",
        ),
        slip(
            "one number for each episode",
            "There is a loss for each episode. An optimiser needs one number: how is an "
            "expectation over episodes estimated?",
            see="04_reinforce#C24",
            answer="-totals",
        ),
        slip(
            "logits instead of log-probabilities",
            "The outputs of the network are used as if they were log-probabilities. They are "
            "logits: a softmax over the actions makes probabilities of them.",
            see="04_reinforce#C70",
            log_probs="network(observations)",
        ),
        slip(
            "pi instead of log pi",
            "The returns multiply pi(a|s) instead of log pi(a|s). The actions were drawn with "
            "probability pi already; the log-derivative trick needs the logarithm.",
            see="02_policy_gradient#C18",
            log_probs="torch.softmax(network(observations), dim=-1)",
        ),
        slip(
            "softmax over time",
            "The softmax runs over the steps. The probabilities of the actions sum to 1 at each "
            "step: which axis is that?",
            see="04_reinforce#C70",
            log_probs="torch.log_softmax(network(observations), dim=1)",
        ),
        slip(
            "softmax over the episodes",
            "The softmax runs over the episodes. The probabilities of the actions sum to 1 at "
            "each step: which axis is that?",
            see="04_reinforce#C70",
            log_probs="torch.log_softmax(network(observations), dim=0)",
        ),
        slip(
            "sigmoid instead of softmax",
            "Each logit goes through a sigmoid of its own. These do not sum to 1 over the actions.",
            see="04_reinforce#C70",
            log_probs="torch.nn.functional.logsigmoid(network(observations))",
        ),
        slip(
            "softmax applied twice",
            "The softmax is applied twice: probabilities were given where logits are expected "
            "(Categorical's first argument is probs; cross_entropy and logits= take logits).",
            see="04_reinforce#C70",
            log_probs="torch.log_softmax(torch.softmax(network(observations), dim=-1), dim=-1)",
        ),
        slip(
            "all actions instead of the one taken",
            "The log-probabilities of all actions are added up. Only the action that was taken "
            "gets the credit.",
            see="02_policy_gradient#C19",
            taken="log_probs.sum(dim=-1)",
        ),
        slip(
            "likeliest action instead of the one taken",
            "The log-probability of the likeliest action is used. The return belongs to the "
            "action that was taken.",
            see="02_policy_gradient#C19",
            taken="log_probs.max(dim=-1).values",
        ),
        slip(
            "return of step 0 on every step",
            "Every step is weighed with gamma^t times the return of the first one. Step t is "
            "weighed with its own, returns[:, t].",
            see="02_policy_gradient#C22",
            weights="discounts * returns[:, :1] * mask",
        ),
        slip(
            "whole return instead of the rewards-to-go",
            "Every step is weighed with the return of step 0: that is REINFORCE-1, right in the "
            "mean and noisier. Asked for are gamma^t and the step's own returns[:, t].",
            see="02_policy_gradient#C22",
            weights="returns[:, :1] * mask",
        ),
        slip(
            "sums multiplied",
            "The sum of an episode's weights multiplies the sum of its log-probabilities, so each "
            "step gets the weights of all. Multiply step by step, then add up.",
            see="02_policy_gradient#C21",
            totals="weights.sum(dim=1) * (taken * mask).sum(dim=1)",
        ),
        slip(
            "means multiplied",
            "The mean of the weights multiplies the mean of the log-probabilities (cross_entropy "
            "averages unless told reduction='none'). Each step has a weight of its own: multiply "
            "first.",
            see="02_policy_gradient#C21",
            answer="-weights.sum(dim=1).mean() * taken.mean()",
        ),
        slip(
            "no gradient",
            "The number is right, but no gradient reaches the network: it has lost its graph. "
            "Look for no_grad, detach, item, numpy or a new tensor made of old numbers.",
            see="02_policy_gradient#C17",
            answer="answer.detach()",
        ),
        slip(
            "normalises the returns",
            "The returns were shifted and scaled to mean 0 and spread 1 over the steps that "
            "happened, as much code for CartPole does. That changes the gradient; here the plain "
            "returns are asked for.",
            before="returns = (returns - returns[mask].mean()) / (returns[mask].std() + 1e-8)",
        ),
        slip(
            "normalises the returns by n",
            "The returns were shifted and scaled to mean 0 and spread 1 over the steps that "
            "happened, as much code for CartPole does. That changes the gradient; here the plain "
            "returns are asked for.",
            before="returns = (returns - returns[mask].mean()) "
            "/ (returns[mask].std(correction=0) + 1e-8)",
        ),
        slip(
            "normalises the whole table",
            "The returns were shifted and scaled to mean 0 and spread 1, padding and all. That "
            "changes the gradient; here the plain returns are asked for.",
            before="returns = (returns - returns.mean()) / (returns.std() + 1e-8)",
        ),
        slip(
            "subtracts the mean return",
            "The mean of the returns was subtracted. As a baseline that is a step of its own; "
            "here the returns themselves are asked for.",
            see="08_advantages#C72",
            before="returns = returns - returns[mask].mean()",
        ),
        slip(
            "bonus for entropy",
            "A multiple of the policy's entropy was subtracted from the loss, as actor-critic "
            "programs do. The formula has no such term.",
            any_size=True,
            answer="answer + 0.01 * ((log_probs.exp() * log_probs).sum(dim=-1) * mask).sum() "
            "/ mask.sum()",
        ),
    ),
    parts=(
        Property("a single episode", cases=lambda case: len(case["mask"]) == 1),
        Property(
            "episodes of one length, gamma = 1",
            cases=lambda case: _is_full(case) and case["gamma"] == 1,
        ),
        Property(
            "episodes of one length, gamma < 1",
            cases=lambda case: _is_full(case) and case["gamma"] < 1 and len(case["mask"]) > 1,
        ),
        Property("episodes of different lengths", 2, cases=lambda case: not _is_full(case)),
        Property("the loss", observations=("loss",)),
        Property("its gradient", observations=("gradient",)),
        Property("the gradient's direction", observations=("direction_of_gradient",)),
    ),
    accepted=(
        episode_by_episode,
        by_a_distribution,
        as_a_classifier,
        with_numpy_weights,
        in_single_precision,
    ),
)
