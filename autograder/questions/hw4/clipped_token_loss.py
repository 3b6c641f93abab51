"""hw4: the clipped surrogate of completions, as a mean over all tokens that are kept."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, same_again, untouched
from course_lib.reference.answers.clipped_token_loss import clipped_token_loss


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
        [-2.6, -2.2, -1.7, -2.9, -2.1],
    ]
)


def public_cases() -> list[Case]:
    return [
        _case([[1.5, 0.7]], [1.0], [[1, 1]], 0.2, 0.3, np.log([[0.4, 0.5]])),
        _case(
            [[0.6, 1.33, 1.5, 0.86], [0.5, 0.9, 4.2, 1.25]],
            [1.5, -0.8],
            np.ones((2, 4)),
            0.2,
            0.3,
            OLD[:2, :4],
        ),
        _case(  # all that is kept lies inside the clip
            [[0.4, 1.13, 0.87, 1.12, 2.2], [1.06, 0.9, 1.04, 1.12, 0.93], [1.9, 0.5, 1.09, 2, 1.6]],
            [1.2, -0.5, 2.0],
            [[0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 1, 0, 0]],
            0.15,
            0.25,
            OLD,
        ),
        _case(
            [[0.5, 1.4, 0.88, 2.1, 1.2], [1.6, 0.72, 1.05, 0.4, 1.2], [0.3, 1.5, 0.93, 1.4, 0.8]],
            [0.9, -1.6, 0.7],
            [[0, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 1, 0, 0]],
            0.1,
            0.3,
            OLD,
        ),
        _case(  # as many completions as tokens; of one nothing is kept
            [[1.3, 0.6, 1.2], [0.5, 1.8, 0.9], [4.5, 0.7, 1.45]],
            [1.4, 2.0, -0.6],
            [[1, 1, 1], [0, 0, 0], [1, 1, 0]],
            0.25,
            0.15,
            OLD[:, :3],
        ),
    ]


def _inside(case: Arrays) -> bool:
    ratios = np.exp(case["log_probs"] - case["old_log_probs"])[case["mask"]]
    return bool((abs(ratios - 1) < min(case["epsilon_low"], case["epsilon_high"])).all())


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for kind, steps in enumerate(rng.permutation(np.arange(5, 10))[:4]):
        batch, steps = int(rng.integers(3, 6)), int(steps)
        low, high = rng.permutation([rng.uniform(0.08, 0.16), rng.uniform(0.24, 0.35)]).tolist()
        shape = batch, steps
        starts = rng.integers(0, 2, size=batch)
        stops = np.concatenate([[2, steps], rng.integers(3, steps, size=batch - 2)])
        places = np.arange(steps)
        mask = (places >= starts[:, None]) & (places < rng.permutation(stops)[:, None])
        ratios = np.exp(rng.uniform(-0.9, 0.9, size=shape))
        if kind == 0:
            mask = np.ones(shape, dtype=bool)
        elif kind == 1:
            near = 1 + 0.9 * min(low, high) * rng.uniform(-1, 1, size=shape)
            ratios = np.where(mask, near, ratios)
        elif kind == 2:
            mask[rng.integers(batch)] = False
        signs = rng.permutation(np.where(np.arange(batch) % 2 == 0, 1.0, -1.0))
        advantages = signs * rng.uniform(0.4, 2.0, size=batch)
        if kind in (0, 3):  # with either sign, kept, on both sides of each edge, and far away
            for row in (int(signs.argmax()), int(signs.argmin())):
                mask[row, :5] = True
                edges = [1 - 1.1 * low, 1 - 0.9 * low, 1 + 0.9 * high, 1 + 1.1 * high, 5.0]
                ratios[row, :5] = rng.permutation(edges)
        old = -rng.uniform(1.7, 3, size=shape)
        cases.append(_case(ratios, advantages, mask, low, high, old))
    return cases


# Right by other means.


def with_a_float_mask(
    new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, low: float, high: float
) -> Tensor:
    ratio = torch.exp(new - old)
    first = -advantages.unsqueeze(1) * ratio
    second = -advantages.unsqueeze(1) * torch.clamp(ratio, 1 - low, 1 + high)
    kept = mask.float()
    return (torch.max(first, second) * kept).sum() / (kept.sum() + 1e-8)


def one_by_one(
    new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, low: float, high: float
) -> Any:
    total: Any = 0.0
    number = 0
    for b in range(len(new)):
        for t in range(new.shape[1]):
            if not mask[b, t]:
                continue
            ratio = new[b, t].exp() / old[b, t].exp()
            clipped = min(max(ratio.item(), 1 - low), 1 + high) * advantages[b]
            total = total - min(ratio * advantages[b], clipped)
            number += 1
    return total / number


def picked_out(
    new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, low: float, high: float
) -> Tensor:
    weights = advantages[:, None].expand_as(new)[mask].float()
    ratio = (new[mask].float() - old[mask].float()).exp()
    gain = torch.minimum(ratio * weights, ratio.clip(1 - low, 1 + high) * weights)
    return gain.mean().neg()


def by_sign(
    new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, low: float, high: float
) -> Tensor:
    ratio = torch.where(mask, new - old, torch.zeros_like(new)).exp()
    up = advantages.repeat(new.shape[1], 1).T
    best = torch.where(up >= 0, ratio.clamp(max=1 + high), ratio.clamp(min=1 - low))
    return -torch.einsum("bt,bt,bt->", best, up, mask.double()) / mask.count_nonzero()


def masked_log_ratios(
    new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, low: float, high: float
) -> Tensor:
    ratio = torch.exp((new - old) * mask)
    gain = torch.stack([ratio, ratio.clamp(1 - low, 1 + high)]) * advantages[None, :, None]
    return -(gain.amin(dim=0) * mask).sum() / mask.sum()


# What students write instead.

slip = partial(slip_of, clipped_token_loss, see="07_ppo#C63")

CHECK = Check(
    title="The clipped loss, token by token",
    reference=clipped_token_loss,
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
            "mean of each completion, then of the batch",
            "Each completion is averaged over its own tokens first, so that a token of a long one "
            "counts for less. Here every kept token of the batch has the same weight.",
            see="08_advantages#G4",
            gain="(kept_terms.sum(dim=1) / mask.sum(dim=1)).mean()",
        ),
        slip(
            "mean of each completion, empty ones as 0",
            "Each completion is averaged over its own tokens first, so that a token of a long one "
            "counts for less. Here every kept token of the batch has the same weight.",
            see="08_advantages#G4",
            gain="(kept_terms.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()",
        ),
        slip(
            "mean of each completion, empty ones left out",
            "Each completion is averaged over its own tokens first, so that a token of a long one "
            "counts for less. Here every kept token of the batch has the same weight.",
            see="08_advantages#G4",
            gain="(kept_terms.sum(dim=1) / mask.sum(dim=1))[mask.any(dim=1)].mean()",
        ),
        slip(
            "divided by all places",
            "The sum over the kept tokens is divided by the number of all places, padding too. "
            "Then the same texts give a smaller loss the more they are padded.",
            see="08_advantages#G4",
            gain="kept_terms.mean()",
        ),
        slip(
            "sum instead of mean",
            "The terms are added up. Asked for is their mean over the kept tokens.",
            gain="kept_terms.sum()",
        ),
        slip(
            "divided by the number of completions",
            "The sum over the kept tokens is divided by the number of completions. Asked for is "
            "the mean over the tokens.",
            see="08_advantages#G4",
            gain="kept_terms.sum() / len(advantages)",
        ),
        slip(
            "mask ignored",
            "The mask has no effect: prompts and padding count like what was said. Nobody chose "
            "those tokens.",
            see="08_advantages#G1",
            gain="terms.mean()",
        ),
        slip(
            "mask in the number only",
            "The sum goes over all places, and is divided by the number of those that are kept. "
            "What is not counted is not to be added either.",
            see="08_advantages#G1",
            kept_terms="terms",
        ),
        slip(
            "ratio 1 where nothing counts",
            "Outside the mask the ratio was set to 1, and then all places went into the mean. A "
            "ratio of 1 still adds its advantage: the terms have to go.",
            see="08_advantages#G1",
            log_ratios="torch.where(mask, log_probs - old_log_probs, 0.0)",
            gain="terms.mean()",
        ),
        slip(
            "ratio 1 where nothing counts, divided by the kept",
            "Outside the mask the ratio was set to 1, and these terms stayed in the sum. A ratio "
            "of 1 still adds its advantage: the terms have to go.",
            see="08_advantages#G1",
            log_ratios="torch.where(mask, log_probs - old_log_probs, 0.0)",
            kept_terms="terms",
        ),
        slip(
            "mask the wrong way round",
            "What is kept and what is left out are exchanged. Here True means that a token counts.",
            see="08_advantages#G1",
            before="""
                turned = ~mask
                mask = torch.where(turned.any(), turned, mask)
            """,
        ),
        slip(
            "epsilons exchanged",
            "The two epsilons are exchanged. epsilon_low bounds the ratio from below, epsilon_high "
            "from above.",
            clipped_ratios="torch.clamp(ratios, 1 - epsilon_high, 1 + epsilon_low)",
        ),
        slip(
            "epsilon_low on both sides",
            "epsilon_high has no effect: the clip is symmetric, with epsilon_low. A larger upper "
            "bound leaves room for rare words to become likelier.",
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
            "maximum instead of minimum",
            "The larger of the two terms is taken. The clip is a pessimist: of two estimates of "
            "the gain it believes the smaller (in the loss, with its sign turned round, the "
            "larger).",
            terms="torch.maximum(ratios * weights, clipped_ratios * weights)",
        ),
        slip(
            "clip without minimum",
            "Only the clipped ratio is used. Then a token that moved the wrong way gets no "
            "gradient to come back.",
            terms="clipped_ratios * weights",
        ),
        slip(
            "minimum before the advantage",
            "The smaller of the two ratios is taken, and then multiplied by the advantage. Where "
            "A < 0 the smaller ratio gives the larger term: multiply first.",
            terms="torch.minimum(ratios, clipped_ratios) * weights",
        ),
        slip(
            "no clip",
            "The epsilons have no effect: this is the plain surrogate, which rewards moving ever "
            "farther.",
            terms="ratios * weights",
        ),
        slip(
            "no floor for negative advantages",
            "The ratio is not clipped where A < 0. Work out both terms for A = -1 and ratio = 0.5 "
            "by hand: which one is smaller, and is there a gradient left?",
            terms="torch.where(weights > 0, ratios.clamp(max=1 + epsilon_high), ratios) * weights",
        ),
        slip(
            "clipped once more below",
            "For A < 0 the terms are held above 3 A (dual clip). Here a bad token that became far "
            "likelier counts in full.",
            terms="""
                terms = torch.minimum(ratios * weights, clipped_ratios * weights)
                terms = torch.where(weights < 0, torch.maximum(terms, 3 * weights), terms)
            """,
        ),
        slip(
            "logarithm of the ratio",
            "The difference of the log-probabilities is used as the ratio. It is the ratio's "
            "logarithm, and 0 where the policy has not changed.",
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
            "one ratio a completion",
            "All tokens of a completion share one ratio, the geometric mean of theirs. That is the "
            "next question; here each token has its own.",
            ratios="""
                logs = torch.where(mask, log_ratios, 0.0).sum(dim=1, keepdim=True)
                ratios = torch.exp(logs / mask.sum(dim=1, keepdim=True).clamp(min=1))
                ratios = ratios.expand_as(log_ratios)
            """,
        ),
        slip(
            "ratio of the whole completion",
            "All tokens of a completion share one ratio, the product of theirs. Here each token "
            "has its own.",
            ratios="""
                logs = torch.where(mask, log_ratios, 0.0).sum(dim=1, keepdim=True)
                ratios = torch.exp(logs).expand_as(log_ratios)
            """,
        ),
        slip(
            "log-probability instead of the ratio",
            "The terms are log-probability times advantage, as in REINFORCE. After the first step "
            "on a batch the ratio is what corrects for its age.",
            see="07_ppo#C62",
            terms="log_probs * weights",
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
            "normalises the advantages over the tokens",
            "The advantages of all kept tokens were shifted and scaled to mean 0 and spread 1 "
            "first. They come ready for use: what belongs together was compared in its group.",
            see="08_advantages#C72",
            weights="""
                weights = advantages[:, None].expand_as(log_probs)
                spread = weights[mask].std(correction=0) + 1e-8
                weights = (weights - weights[mask].mean()) / spread
            """,
        ),
    ),
    parts=(
        Property(
            "where all tokens count",
            cases=lambda case: case["mask"].all(),
            observations=("value",),
        ),
        Property(
            "the mean over kept tokens",
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
    accepted=(with_a_float_mask, one_by_one, picked_out, by_sign, masked_log_ratios),
)
