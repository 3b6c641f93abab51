"""hw3: discrete actions by the inverse of the cumulative distribution."""

from __future__ import annotations

from bisect import bisect_right
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Array, Arrays, frozen, same_again, untouched
from course_lib.reference.answers.sample_actions import sample_actions


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    below_one = np.minimum(case["uniforms"], 1 - 2.0**-53)  # 1 stands for the last number below it
    logits, uniforms = torch.tensor(case["logits"]), torch.tensor(below_one)
    actions = frozen(function(logits, uniforms))
    kept = untouched(logits, case["logits"]) and untouched(uniforms, below_one)
    again = same_again(lambda: function(logits, uniforms), actions)
    return {
        "actions": actions,
        "are_whole_numbers": int(actions.dtype.kind == "i" or not actions.size),
        "inputs_unchanged": kept,
        "second_call_agrees": again,
    }


def public_cases() -> list[Case]:
    return [
        {
            "logits": np.log([[0.2, 0.5, 0.3]] * 4),
            "uniforms": np.array([0.1, 0.35, 0.65, 0.8]),
        },
        {
            "logits": np.array(
                [[1.5, -0.9], [0.7, -0.4], [-0.6, 0.5], [-0.6, 0.5], [-1.1, -1.6], [1.2, 0.4]]
            ),
            "uniforms": np.array([0.8, 0.9, 0.1, 0.45, 0.5, 0.73]),
        },
        {
            "logits": np.array(
                [
                    [0.1, -0.6, 1.4, 0.5],
                    [-1.0, 0.9, -0.8, 0.2],
                    [1.6, -0.3, 0.4, -1.2],
                    [-0.5, -0.9, -1.3, 0.8],
                    [0.3, 1.1, -0.2, -0.7],
                ]
            ),
            "uniforms": np.array([0.21, 0.93, 0.72, 0.05, 0.85]),
        },
        {"logits": np.full((2, 10), -1.3), "uniforms": np.ones(2)},
        {"logits": np.array([[-0.8, 1.2, 0.4]]), "uniforms": np.array([0.9])},
        {"logits": np.array([[-1000.0, 0.3, -0.5], [0.6, -1000.0, 0.2]]), "uniforms": np.zeros(2)},
    ]


def _at_the_edge(case: Arrays) -> bool:
    """Whether u is 0, and an empty piece begins there, or so near 1 that rounding leaves none."""
    return bool(case["uniforms"].max() in (0, 1))


def _single_row(case: Arrays) -> bool:
    return len(case["logits"]) == 1


def _choices(case: Arrays) -> int:
    special = _at_the_edge(case) or _single_row(case)
    return 0 if special else int(case["logits"].shape[1])


def _inside(rng: np.random.Generator, logits: Array, actions: Array) -> Array:
    """Uniforms that lead to the actions, well away from where the next one begins."""
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rows = np.arange(len(logits))
    below = np.cumsum(probs, axis=1)[rows, actions] - probs[rows, actions]
    inside = rng.uniform(0.15, 0.85, size=len(rows))
    inside[0] = 0.85
    return below + inside * probs[rows, actions]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for choices in (2, *(int(n) for n in rng.choice(np.arange(3, 7), size=2, replace=False))):
        rows = int(rng.integers(5, 8)) * choices
        logits = rng.uniform(-2, 2, size=(rows, choices))
        actions = rng.permutation(np.arange(rows) % choices)  # the unlikely ones as often
        if choices == 2:  # nearly sure of action 0, which is then lost if the policy is flattened
            logits[0], actions[0] = rng.uniform([1.2, -2], [2, -1.2]), 0
        cases.append({"logits": logits, "uniforms": _inside(rng, logits, actions)})
    logits = rng.uniform(-2, 2, size=(1, int(rng.integers(3, 7))))
    cases.append({"logits": logits, "uniforms": _inside(rng, logits, np.array([-1]))})
    rows, choices = int(rng.integers(2, 5)), int(rng.choice([7, 10, 13, 14, 15]))
    cases.append(
        {
            "logits": np.full((rows, choices), rng.uniform(-1.5, -1.1)),
            "uniforms": np.ones(rows),
        }
    )
    logits = rng.uniform(-2, 2, size=(int(rng.integers(2, 5)), int(rng.integers(3, 6))))
    logits[:, 0] = -1000  # never drawn
    cases.append({"logits": logits, "uniforms": np.zeros(len(logits))})
    return cases


# Right by other means.


def row_by_row(logits: Tensor, uniforms: Tensor) -> Any:
    actions = []
    for row, u in zip(torch.softmax(logits, dim=1).tolist(), uniforms.tolist(), strict=True):
        action, total = 0, row[0]
        while total <= u and action < len(row) - 1:
            action += 1
            total += row[action]
        actions.append(action)
    return torch.tensor(actions)


def by_searching(logits: Tensor, uniforms: Tensor) -> Tensor:
    cumulative = torch.cumsum(torch.distributions.Categorical(logits=logits).probs, dim=-1)
    found = torch.searchsorted(cumulative, uniforms.unsqueeze(-1), right=True).squeeze(-1)
    return torch.clamp(found, max=logits.size(-1) - 1)


def in_numpy(logits: Tensor, uniforms: Tensor) -> Any:
    weights = np.exp(logits.numpy())
    cumulative = (weights / weights.sum(axis=1, keepdims=True)).cumsum(axis=1)
    cumulative[:, -1] = 1.0
    return (cumulative > uniforms.numpy()[:, None]).argmax(axis=1)


def by_bisection(logits: Tensor, uniforms: Tensor) -> Any:
    cumulative = torch.log_softmax(logits, -1).exp().cumsum(-1)
    pairs = zip(cumulative.tolist(), uniforms.tolist(), strict=True)
    return [min(bisect_right(row, u), len(row) - 1) for row, u in pairs]


def in_single_precision(logits: Tensor, uniforms: Tensor) -> Tensor:
    cumulative = torch.softmax(logits.float(), dim=-1).cumsum(-1) / (1 + 1e-8)
    return (cumulative[:, :-1] <= uniforms.float().view(-1, 1)).sum(1)


# What students write instead.

slip = partial(slip_of, sample_actions, see="04_reinforce#C70")

CHECK = Check(
    title="Drawing discrete actions",
    reference=sample_actions,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "drawn where the sum equals u",
            "Where u is 0, an action of probability 0 is drawn if it comes first: its sum is 0 and "
            "not above u. Generators do give a 0: the sum has to be larger than u, not as large.",
            passed="cumulative < uniforms[:, None]",
        ),
        slip(
            "no action left by rounding",
            "Where u is just below 1, the action that comes out does not exist: it is A, and the "
            "last one is A - 1. Rounding may leave all cumulative probabilities at or below u; "
            "the last action is meant then.",
            answer="actions",
        ),
        slip(
            "first action left by rounding",
            "Where u is just below 1, the first action comes out: an argmax over nothing but False "
            "gives 0. Rounding may leave all cumulative probabilities at or below u; the last "
            "action is meant then.",
            answer="(~passed).int().argmax(dim=-1)",
        ),
        slip(
            "no action appended by rounding",
            "Where u is just below 1, no action comes out at all. Rounding may leave all "
            "cumulative probabilities at or below u; the last action is meant then.",
            answer="actions[actions < logits.shape[-1]]",
        ),
        slip(
            "squeezed without a dimension",
            "With a single row the action comes out as one number instead of (1,). `squeeze()` "
            "takes away every axis of length 1, the batch's too: say which one.",
            answer="answer.squeeze()",
        ),
        slip(
            "not whole numbers",
            "The actions are right, but they are floating point numbers. An action is an index: "
            "whoever looks up its log-probability needs whole numbers.",
            answer="answer.to(logits.dtype)",
        ),
        slip(
            "likeliest action",
            "The likeliest action of each row comes out, whatever u is. An agent that never tries "
            "another one learns nothing about it.",
            answer="logits.argmax(dim=-1)",
        ),
        slip(
            "logits instead of probabilities",
            "The logits were added up as if they were probabilities. Softmax makes probabilities "
            "of them first.",
            probs="logits",
        ),
        slip(
            "exp without normaliser",
            "The exponentials of the logits were added up without dividing by their sum. The last "
            "cumulative probability has to be 1.",
            probs="logits.exp()",
        ),
        slip(
            "one sum for the whole batch",
            "The probabilities of all rows together sum to 1. Each row is a distribution of its "
            "own: over which axis is the sum below the fraction?",
            probs="logits.exp() / logits.exp().sum()",
        ),
        slip(
            "softmax before the softmax",
            "A softmax was applied to numbers that were probabilities already, so all actions are "
            "drawn nearly alike. Logits need one softmax.",
            probs="logits.softmax(dim=-1).softmax(dim=-1)",
        ),
        slip(
            "sigmoid of each logit",
            "Each logit went through a sigmoid of its own, so the probabilities of a row do not "
            "sum to 1. The actions compete for the same probability.",
            probs="torch.sigmoid(logits)",
        ),
        slip(
            "softmax along the batch",
            "The softmax runs down the columns, over the states. One row is one state, and its "
            "probabilities sum to 1 over the actions.",
            probs="torch.softmax(logits, dim=0)",
        ),
        slip(
            "added up along the batch",
            "The probabilities were added up down the columns, over the states. What is cumulated "
            "are the actions of one row.",
            cumulative="probs.cumsum(dim=0)",
        ),
        slip(
            "first probability above u",
            "u is compared with the probability of each action by itself. An action owns a piece "
            "of [0, 1) as long as its probability; where that piece begins, those before it say.",
            answer="(probs > uniforms[:, None]).int().argmax(dim=-1)",
        ),
        slip(
            "probabilities below u are counted",
            "u is compared with the probability of each action by itself. An action owns a piece "
            "of [0, 1) as long as its probability; where that piece begins, those before it say.",
            cumulative="probs",
        ),
        slip(
            "one too small",
            "Each action is one too small. This is the last one whose cumulative probability is "
            "not above u; the first one above it is wanted.",
            answer="answer - 1",
        ),
        slip(
            "one too small, but not below 0",
            "The actions are one too small, but for 0. This is the last one whose cumulative "
            "probability is not above u; the first one above it is wanted.",
            answer="(answer - 1).clamp(min=0)",
        ),
        slip(
            "one too large",
            "The actions are one too large. Does your cumulative sum include the action itself, "
            "and do you count from 0?",
            cumulative="probs.cumsum(dim=-1) - probs",
        ),
        slip(
            "numbered from 1",
            "The actions are numbered from 1. Environments and tensors count from 0.",
            answer="answer + 1",
        ),
        slip(
            "always the last action",
            "The last action comes out, whatever u is. Is it the last whose cumulative probability "
            "is above u, not the first, or are logarithms added up?",
            answer="torch.full_like(actions, logits.shape[-1] - 1)",
        ),
        slip(
            "counts the actions above u",
            "What comes out is how many actions have a cumulative probability above u. Which of "
            "them comes first?",
            passed="cumulative > uniforms[:, None]",
        ),
        slip(
            "actions in order of probability",
            "The probabilities were sorted first, so what comes out is a rank and not an action. "
            "The actions keep the order of the logits.",
            probs="torch.softmax(logits, dim=-1).sort(dim=-1, descending=True).values",
        ),
        slip(
            "all actions alike",
            "u times A, cut to a whole number, gives each action the same chance. The policy says "
            "how long the piece of each action is.",
            answer="(uniforms * logits.shape[-1]).long()",
        ),
        slip(
            "one uniform for all rows",
            "All rows use the first number of uniforms. Each row has a number of its own, or all "
            "environments would explore in step.",
            passed="cumulative <= uniforms[0]",
        ),
        slip(
            "from the other end",
            "u was turned round to 1 - u, or the sum starts at the last action. The chances are "
            "the same, but here action 0 comes first: it owns the piece from 0 on.",
            before="uniforms = 1 - uniforms",
        ),
        slip(
            "first action or not",
            "Only actions 0 and 1 ever come out: u is compared with the probability of action 0 "
            "alone. With more than two actions there are more edges.",
            answer="(uniforms > probs[:, 0]).long()",
        ),
        slip(
            "one-hot",
            "The actions come back as rows of zeros with a single one, (B, A). Wanted is the place "
            "of that one, (B,).",
            answer="torch.nn.functional.one_hot(answer, logits.shape[-1])",
        ),
        slip(
            "a column of actions",
            "The actions are right, but they stand in a column (B, 1). One number a row is wanted, "
            "(B,).",
            answer="answer[:, None]",
        ),
        slip(
            "probabilities of the actions",
            "What comes out are the probabilities of the actions. Wanted are the actions "
            "themselves, whole numbers.",
            answer="probs.gather(-1, answer[:, None]).squeeze(-1)",
        ),
    ),
    parts=(
        Property("two actions", 2, lambda case: _choices(case) == 2, ("actions",)),
        Property("several actions", 2, lambda case: _choices(case) > 2, ("actions",)),
        Property("a single row", 1, _single_row, ("actions",), beside=True),
        Property("u of 0 and just below 1", 1, _at_the_edge, ("actions",), beside=True),
        Property("whole numbers", observations=("are_whole_numbers",), beside=True),
    ),
    accepted=(row_by_row, by_searching, in_numpy, by_bisection, in_single_precision),
)
