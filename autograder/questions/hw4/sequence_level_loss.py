"""hw4: the clipped surrogate with one ratio a completion."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, same_again, untouched
from course_lib.reference.answers.sequence_level_loss import sequence_level_loss


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    leaf = torch.tensor(case["log_probs"], requires_grad=True)
    names = ("log_probs", "old_log_probs", "advantages", "mask")
    inputs = [leaf * 1.0, *(torch.tensor(case[name]) for name in names[1:])]
    settings = float(case["epsilon_low"]), float(case["epsilon_high"])
    value = function(*inputs, *settings)
    gradient = torch.zeros_like(leaf)
    if isinstance(value, torch.Tensor) and value.requires_grad and value.numel() == 1:
        (found,) = torch.autograd.grad(value.sum(), [leaf], allow_unused=True)
        gradient = gradient if found is None else found
    kept = all(
        untouched(x, case[name], graph=name == "log_probs")
        for name, x in zip(names, inputs, strict=True)
    )
    again = same_again(lambda: function(*inputs, *settings), value)
    return {
        "value": value,
        "gradient": gradient,
        "inputs_unchanged": kept,
        "second_call_agrees": again,
    }


def _case(ratios: Any, advantages: Any, mask: Any, low: float, high: float, old: Any) -> Case:
    old = np.asarray(old, dtype=float)
    return {
        "log_probs": old + np.log(ratios),
        "old_log_probs": old,
        "advantages": np.asarray(advantages, dtype=float),
        "mask": np.asarray(mask, dtype=bool),
        "epsilon_low": low,
        "epsilon_high": high,
    }


OLD = np.array(
    [
        [-2.5, -2.1, -3.2, -1.9, -2.4],
        [-1.8, -2.7, -2.3, -3.0, -2.0],
        [-2.6, -2.2, -2.8, -2.9, -2.1],
        [-1.9, -3.1, -2.0, -2.3, -2.7],
    ]
)


def public_cases() -> list[Case]:
    return [
        _case(
            [[1.8, 1.25], [0.5, 0.98]],
            [1.0, 1.0],
            np.ones((2, 2)),
            0.2,
            0.3,
            np.log([[0.4, 0.5]] * 2),
        ),
        _case(  # on both sides of the edges, for both signs
            [[1.6, 1.008], [1.5, 1.16], [0.9, 0.64], [0.6, 0.9], [3.8, 4.6], [1.4, 1.0]],
            [1.5, 0.7, -0.8, 0.9, -0.6, -1.1],
            np.ones((6, 2)),
            0.2,
            0.3,
            np.resize(OLD, (6, 2)),
        ),
        _case(  # inside the clip
            [[0.4, 1.5, 0.8, 1.02, 2.2], [1.3, 0.7, 1.4, 0.9, 0.86], [1.9, 0.5, 1.09, 2, 1.6]],
            [1.2, -0.5, 2.0],
            [[0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 1, 0, 0]],
            0.15,
            0.25,
            OLD[:3],
        ),
        _case(
            [
                [0.5, 1.4, 1.1, 1.6, 1.8],
                [1.6, 0.3, 0.7, 0.4, 0.5],
                [0.3, 0.4, 0.9, 0.7, 2.0],
                [0.6, 1.9, 1.5, 4.0, 1.2],
            ],
            [0.9, -1.6, 0.7, -0.4],
            [[0, 1, 1, 1, 1], [0, 1, 1, 0, 0], [1, 1, 1, 1, 0], [0, 1, 1, 1, 1]],
            0.1,
            0.3,
            OLD,
        ),
        _case(  # as many completions as tokens
            [[1.3, 1.9, 0.9], [0.9, 0.4, 1.7], [5.5, 4.0, 3.2]],
            [1.4, 2.0, -0.6],
            [[1, 1, 1], [0, 1, 0], [1, 1, 1]],
            0.25,
            0.15,
            OLD[:3, :3],
        ),
    ]


def _sequence_ratios(case: Arrays) -> Any:
    logs = np.where(case["mask"], case["log_probs"] - case["old_log_probs"], 0.0)
    return np.exp(logs.sum(1) / case["mask"].sum(1))


def _inside(case: Arrays) -> bool:
    bound = min(case["epsilon_low"], case["epsilon_high"])
    return bool((abs(_sequence_ratios(case) - 1) < bound).all())


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for kind, steps in enumerate(rng.permutation(np.arange(4, 9))[:4]):
        steps = int(steps)
        low, high = rng.permutation([rng.uniform(0.08, 0.16), rng.uniform(0.24, 0.35)]).tolist()
        edges = [1 - 1.1 * low, 1 - 0.9 * low, 1 + 0.9 * high, 1 + 1.1 * high, 0.5, 2.0, 1.0, 4.5]
        wanted = np.array(edges * 2)  # each with either sign, on both sides of each edge
        signs = np.repeat([1.0, -1.0], len(edges))
        if kind == 1:
            wanted = 1 + 0.9 * min(low, high) * rng.uniform(-1, 1, size=int(rng.integers(5, 8)))
            signs = np.where(np.arange(len(wanted)) % 2 == 0, 1.0, -1.0)
        batch = len(wanted)
        lengths = rng.permutation(np.concatenate([[1, steps], rng.integers(2, steps, batch - 2)]))
        starts = rng.integers(0, steps - lengths + 1)
        places = np.arange(steps)
        mask = (places >= starts[:, None]) & (places < (starts + lengths)[:, None])
        if kind == 0:
            mask = np.ones((batch, steps), dtype=bool)
        logs = rng.uniform(-0.6, 0.6, size=(batch, steps))  # anything where nothing counts
        mean = np.where(mask, logs, 0.0).sum(1) / mask.sum(1)
        logs = np.where(mask, logs - mean[:, None] + np.log(wanted)[:, None], 2 * logs)
        order = rng.permutation(batch)
        advantages = signs * rng.uniform(0.4, 2.0, size=batch)
        old = -rng.uniform(2.3, 3.2, size=(batch, steps))
        cases.append(
            _case(np.exp(logs)[order], advantages[order], mask[order], low, high, old[order])
        )
    return cases


# Right by other means.


def with_a_float_mask(
    new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, low: float, high: float
) -> Tensor:
    kept = mask.float()
    log_ratio = ((new - old) * kept).sum(-1) / (kept.sum(-1) + 1e-8)
    ratio = log_ratio.exp()
    first, second = -advantages * ratio, -advantages * ratio.clamp(1 - low, 1 + high)
    return torch.max(first, second).mean()


def one_by_one(
    new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, low: float, high: float
) -> Any:
    losses = []
    for b in range(len(new)):
        ratio: Any = 1.0
        for t in range(new.shape[1]):
            if mask[b, t]:
                ratio = ratio * new[b, t].exp() / old[b, t].exp()
        ratio = ratio ** (1 / int(mask[b].sum()))
        clipped = min(max(ratio.item(), 1 - low), 1 + high)
        losses.append(-min(ratio * advantages[b], clipped * advantages[b]))
    return sum(losses) / len(losses)


def by_tokens_that_share_a_ratio(
    new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, low: float, high: float
) -> Tensor:
    """GSPO-token: the same value and the same gradient, with a weight for each token."""
    kept = mask.sum(1, keepdim=True)
    shared = (((new - old) * mask).sum(1, keepdim=True) / kept).exp().detach()
    ratio = shared * (new - new.detach()).exp()
    weights = advantages[:, None]
    gain = torch.minimum(ratio * weights, ratio.clamp(1 - low, 1 + high) * weights)
    return -((gain * mask).sum(1) / kept[:, 0]).mean()


def in_single_precision(
    new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, low: float, high: float
) -> Tensor:
    logs = [(n[m] - o[m]).float().mean() for n, o, m in zip(new, old, mask, strict=True)]
    ratio = torch.stack(logs).exp()
    up = advantages.float()
    best = torch.where(up >= 0, ratio.clamp(max=1 + high), ratio.clamp(min=1 - low))
    return -(best * up).mean()


# What students write instead.

slip = partial(slip_of, sequence_level_loss, see="07_ppo#C63")

CHECK = Check(
    title="The clipped loss, completion by completion",
    reference=sequence_level_loss,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "to be made large",
            "This is the objective, which is to be made large. A loss is made small: what has to "
            "be turned round?",
            answer="gain",
        ),
        slip(
            "ratio of the whole completion",
            "The log ratios of a completion are added up. That is its true ratio, but it grows and "
            "shrinks with every token, and nearly all long completions are clipped: take the mean.",
            log_ratios="kept_log_ratios.sum(dim=1)",
        ),
        slip(
            "mean over all places",
            "The log ratios are divided by the number of all places, padding too. Then the ratio "
            "depends on how long the other completions of the batch are.",
            see="08_advantages#G4",
            kept="mask.shape[1]",
        ),
        slip(
            "mask ignored",
            "The mask has no effect: prompts and padding count like what was said. Nobody chose "
            "those tokens.",
            see="08_advantages#G1",
            kept_log_ratios="log_probs - old_log_probs",
            kept="mask.shape[1]",
        ),
        slip(
            "mask in the number only",
            "The log ratios of all places are added up, and divided by the number of those that "
            "are kept. What is not counted is not to be added either.",
            see="08_advantages#G1",
            kept_log_ratios="log_probs - old_log_probs",
        ),
        slip(
            "mean length of the batch",
            "Each completion is divided by the mean number of kept tokens. Each has a number of "
            "its own.",
            see="08_advantages#G4",
            kept="mask.sum() / len(mask)",
        ),
        slip(
            "mean of the ratios",
            "The mean over the tokens is taken of the ratios. Take it of their logarithms, and the "
            "exponential afterwards: that is a power of the true ratio of the completion.",
            ratios="torch.where(mask, torch.exp(kept_log_ratios), 0.0).sum(dim=1) / kept",
        ),
        slip(
            "a ratio for each token",
            "Each token has a ratio and a clip of its own, and all kept tokens of the batch are "
            "averaged: that is the question before. Here a completion is clipped as a whole.",
            gain="""
                each = torch.exp(kept_log_ratios)
                up = advantages[:, None]
                cut = torch.clamp(each, 1 - epsilon_low, 1 + epsilon_high)
                terms = torch.where(mask, torch.minimum(each * up, cut * up), 0.0)
                gain = terms.sum() / mask.sum()
            """,
        ),
        slip(
            "a ratio for each token, mean of each completion",
            "Each token has a ratio and a clip of its own, averaged over its completion: that is "
            "GRPO's loss. Here a completion is clipped as a whole.",
            gain="""
                each = torch.exp(kept_log_ratios)
                up = advantages[:, None]
                cut = torch.clamp(each, 1 - epsilon_low, 1 + epsilon_high)
                terms = torch.where(mask, torch.minimum(each * up, cut * up), 0.0)
                gain = (terms.sum(dim=1) / kept).mean()
            """,
        ),
        slip(
            "one ratio for the whole batch",
            "The log ratios of all kept tokens of the batch make one ratio. Each completion has "
            "its own.",
            log_ratios="(kept_log_ratios.sum() / kept.sum()).expand_as(advantages)",
        ),
        slip(
            "divided by length once more",
            "Each term is divided by the number of kept tokens. The length is in the ratio "
            "already; the mean goes over completions.",
            see="08_advantages#G4",
            gain="(terms / kept).mean()",
        ),
        slip(
            "weighed by length",
            "A completion counts as often as it has tokens. Here the mean goes over completions.",
            see="08_advantages#G4",
            gain="(terms * kept).sum() / kept.sum()",
        ),
        slip(
            "divided by the number of tokens",
            "The sum over the completions is divided by the number of kept tokens. Here the mean "
            "goes over completions.",
            see="08_advantages#G4",
            gain="terms.sum() / kept.sum()",
        ),
        slip(
            "sum instead of mean",
            "The terms of the completions are added up. Asked for is their mean.",
            gain="terms.sum()",
        ),
        slip(
            "epsilons exchanged",
            "The two epsilons are exchanged. epsilon_low bounds the ratio from below, epsilon_high "
            "from above.",
            clipped_ratios="torch.clamp(ratios, 1 - epsilon_high, 1 + epsilon_low)",
        ),
        slip(
            "epsilon_low on both sides",
            "epsilon_high has no effect: the clip is symmetric, with epsilon_low. The upper bound "
            "has a number of its own.",
            clipped_ratios="torch.clamp(ratios, 1 - epsilon_low, 1 + epsilon_low)",
        ),
        slip(
            "epsilon_high on both sides",
            "epsilon_low has no effect: the clip is symmetric, with epsilon_high. The lower bound "
            "has a number of its own.",
            clipped_ratios="torch.clamp(ratios, 1 - epsilon_high, 1 + epsilon_high)",
        ),
        slip(
            "clipped to the epsilons themselves",
            "The ratio is clipped to the range from epsilon_low to epsilon_high. Where the policy "
            "has not changed the ratio is 1: the range lies around that.",
            clipped_ratios="torch.clamp(ratios, epsilon_low, epsilon_high)",
        ),
        slip(
            "logarithm of the ratio clipped",
            "The logarithm of the ratio is clipped to the range from -epsilon_low to epsilon_high. "
            "That is nearly the same while they are small; asked for is a clip of the ratio.",
            clipped_ratios="torch.exp(torch.clamp(log_ratios, -epsilon_low, epsilon_high))",
        ),
        slip(
            "tokens clipped, then their mean",
            "The ratio of each token is clipped before the mean is taken. Here the ratio of the "
            "completion is clipped, once.",
            clipped_ratios="""
                cut = torch.clamp(torch.exp(kept_log_ratios), 1 - epsilon_low, 1 + epsilon_high)
                clipped_ratios = torch.exp(torch.where(mask, cut.log(), 0.0).sum(dim=1) / kept)
            """,
        ),
        slip(
            "maximum instead of minimum",
            "The larger of the two terms is taken. The clip is a pessimist: of two estimates of "
            "the gain it believes the smaller (in the loss, with its sign turned round, the "
            "larger).",
            terms="torch.maximum(ratios * advantages, clipped_ratios * advantages)",
        ),
        slip(
            "clip without minimum",
            "Only the clipped ratio is used. Then a completion that moved the wrong way gets no "
            "gradient to come back.",
            terms="clipped_ratios * advantages",
        ),
        slip(
            "minimum before the advantage",
            "The smaller of the two ratios is taken, and then multiplied by the advantage. Where "
            "A < 0 the smaller ratio gives the larger term: multiply first.",
            terms="torch.minimum(ratios, clipped_ratios) * advantages",
        ),
        slip(
            "no clip",
            "The epsilons have no effect: this is the plain surrogate, which rewards moving ever "
            "farther.",
            terms="ratios * advantages",
        ),
        slip(
            "no floor for negative advantages",
            "The ratio is not clipped where A < 0. Work out both terms for A = -1 and ratio = 0.5 "
            "by hand: which one is smaller, and is there a gradient left?",
            terms="torch.where(advantages > 0, ratios.clamp(max=1 + epsilon_high), ratios) "
            "* advantages",
        ),
        slip(
            "clipped once more below",
            "For A < 0 the terms are held above 3 A (dual clip). Here a bad completion that became "
            "far likelier counts in full.",
            terms="""
                terms = torch.minimum(ratios * advantages, clipped_ratios * advantages)
                terms = torch.where(advantages < 0, torch.maximum(terms, 3 * advantages), terms)
            """,
        ),
        slip(
            "logarithm of the ratio",
            "The mean of the log ratios is used as the ratio. It is the ratio's logarithm, and 0 "
            "where the policy has not changed.",
            see="07_ppo#C62",
            ratios="log_ratios",
        ),
        slip(
            "ratio upside down",
            "The ratio is that of the old to the new probability. Which of the two is to become "
            "large where A > 0?",
            see="07_ppo#C62",
            ratios="torch.exp(-log_ratios)",
        ),
        slip(
            "no gradient",
            "The value is right, but no gradient reaches the log-probabilities: was something "
            "detached, taken as a plain number, or worked out under no_grad?",
            answer="-gain.detach()",
        ),
        slip(
            "normalises the advantages",
            "The advantages were shifted and scaled to mean 0 and spread 1 first. They come ready "
            "for use: what belongs together was compared in its group.",
            see="08_advantages#C72",
            before="advantages = (advantages - advantages.mean()) / "
            "(advantages.std(correction=0) + 1e-8)",
        ),
        slip(
            "normalises the advantages by n - 1",
            "The advantages were shifted and scaled to mean 0 and spread 1 first. They come ready "
            "for use: what belongs together was compared in its group.",
            see="08_advantages#C72",
            before="advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)",
        ),
    ),
    parts=(
        Property(
            "where all tokens count",
            cases=lambda case: case["mask"].all(),
            observations=("value",),
        ),
        Property(
            "the ratio of a completion",
            2,
            cases=lambda case: _inside(case) and not case["mask"].all(),
            observations=("value",),
        ),
        Property(
            "mask and clip together",
            cases=lambda case: not _inside(case) and not case["mask"].all(),
            observations=("value",),
        ),
        Property("the gradient", observations=("gradient",)),
    ),
    accepted=(with_a_float_mask, one_by_one, by_tokens_that_share_a_ratio, in_single_precision),
)
