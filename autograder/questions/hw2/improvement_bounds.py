"""hw2: the lower bounds of CPI and of TRPO on the return of a mixture."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.mdp import TabularMDP
from course_lib.reference.answers.improvement_bounds import improvement_bounds


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    names = ("visitation", "old_policy", "target_policy", "advantages")
    tables = [torch.tensor(case[name]) for name in names]
    inputs = float(case["old_return"]), *tables, float(case["alpha"]), float(case["gamma"])
    bounds = frozen(function(*inputs))
    if bounds.shape != (3,) and np.isfinite(bounds).all():  # nan is told by itself
        raise ValueError(
            f"three numbers are wanted, (3,): CPI, TRPO, TRPO in KL, and {bounds.shape} came"
        )
    cpi, total_variation, kl = bounds if bounds.shape == (3,) else [bounds] * 3
    kept = all(untouched(x, case[name]) for name, x in zip(names, tables, strict=True))
    again = same_again(lambda: function(*inputs), bounds)
    return {
        "cpi": cpi,
        "total_variation": total_variation,
        "kl": kl,
        "inputs_unchanged": kept,
        "second_call_agrees": again,
    }


def public_cases() -> list[Case]:
    half = np.array([[0.5, 0.5], [0.5, 0.5]])
    four: Case = {
        "old_return": 2.3,
        "visitation": np.array([1.4, 0.7, 0.4]),
        "old_policy": np.array(
            [[0.4, 0.3, 0.2, 0.1], [0.25, 0.15, 0.2, 0.4], [0.1, 0.5, 0.2, 0.2]]
        ),
        "target_policy": np.array(
            [[0.1, 0.2, 0.3, 0.4], [0.45, 0.35, 0.1, 0.1], [0.2, 0.4, 0.3, 0.1]]
        ),
        "advantages": np.array(
            [[-0.5, 0.4, 0.1, 0.6], [-1.3, 0.5, 0.7, 0.275], [0.4, -0.3, 0.8, -0.25]]
        ),
        "alpha": 0.6,
        "gamma": 0.6,
    }
    return [
        {
            "old_return": 1.0,
            "visitation": np.array([1.5, 0.5]),
            "old_policy": half,
            "target_policy": np.array([[0.9, 0.1], [0.9, 0.1]]),
            "advantages": np.array([[1.0, -1.0], [-2.0, 2.0]]),
            "alpha": 0.5,
            "gamma": 0.5,
        },
        four,
        {**four, "alpha": 0.25, "advantages": -four["advantages"]},
        {**four, "alpha": 1.0},
        {**four, "gamma": 0.0, "visitation": np.array([0.5, 0.2, 0.3])},
        {**four, "gamma": 0.0, "visitation": np.array([0.1, 0.6, 0.3]), "alpha": 0.3},
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    """What is true of an old policy in worlds drawn at random."""
    cases: list[Case] = []
    for gamma, sign in ((0.0, 0), (0.0, 0), (0.5, 1), (0.5, -1), (0.6, 0)):
        case = _drawn(rng, gamma)
        # Until a gain, or a loss, is the largest, and no single action moves as much as all do.
        while (sign and _signs(case) != (sign, sign)) or not _many_move(case):
            case = _drawn(rng, gamma)
        cases.append(case)
    cases.append({**cases[-1], "alpha": 1.0})
    return cases


def _drawn(rng: np.random.Generator, gamma: float) -> Case:
    states = int(rng.integers(2, 6))
    actions = int(rng.integers(4, 7))
    old, target = (_rows(rng.uniform(0.2, 1.0, size=(states, actions))) for _ in range(2))
    world = TabularMDP(
        _rows(rng.uniform(0.1, 1.0, size=(states, actions, states))),
        torch.tensor(rng.normal(size=(states, actions)) + 0.5),
        gamma + float(rng.uniform(0.0, 0.1)) * (gamma > 0),
        _rows(rng.uniform(0.2, 1.0, size=states)),
        torch.zeros(states, dtype=torch.bool),
    )
    return {
        "old_return": float(world.expected_return(old)),
        "visitation": world.visitation(old).numpy(),
        "old_policy": old.numpy(),
        "target_policy": target.numpy(),
        "advantages": world.advantages(old).numpy(),
        "alpha": float(rng.uniform(0.4, 0.7)),
        "gamma": float(world.gamma),
    }


def _rows(weights: Any) -> Tensor:
    """Weights as probabilities that sum to 1 along the last axis."""
    return torch.tensor(weights / weights.sum(-1, keepdims=True))


def _signs(case: Case) -> tuple[float, float]:
    """Of the largest expected advantage of the target, and of the largest single advantage."""
    expected = (case["target_policy"] * case["advantages"]).sum(-1)
    single = case["advantages"].reshape(-1)
    both = [each[np.abs(each).argmax()] for each in (expected, single)]
    clear = [abs(each.max() + each.min()) > 0.1 for each in (expected, single)]
    signs = [float(np.sign(number)) * ok for number, ok in zip(both, clear, strict=True)]
    return signs[0], signs[1]


def _many_move(case: Case) -> bool:
    """Whether the total variation is clearly more than any single action's change."""
    changes = np.abs(case["old_policy"] - case["target_policy"])
    return bool(changes.sum(-1).max() / 2 > changes.max() + 0.02)


# Right by other means.


def with_loops(
    old_return: float,
    visitation: Tensor,
    old_policy: Tensor,
    target_policy: Tensor,
    advantages: Tensor,
    alpha: float,
    gamma: float,
) -> list[float]:
    promised, eps_mix, eps, tv, kl = old_return, 0.0, 0.0, 0.0, 0.0
    for s in range(len(visitation)):
        gain, row_tv, row_kl = 0.0, 0.0, 0.0
        for a in range(advantages.shape[1]):
            old, target = float(old_policy[s, a]), float(target_policy[s, a])
            new = (1 - alpha) * old + alpha * target
            promised += float(visitation[s]) * new * float(advantages[s, a])
            gain += target * float(advantages[s, a])
            eps = max(eps, abs(float(advantages[s, a])))
            row_tv += 0.5 * abs(old - new)
            row_kl += old * float(np.log(old / new))
        eps_mix, tv, kl = max(eps_mix, abs(gain)), max(tv, row_tv), max(kl, row_kl)
    c = gamma / (1 - gamma) ** 2
    penalties = (2 * eps_mix * c * alpha**2, 4 * eps * c * tv**2, 4 * eps * c * kl / 2)
    return [promised - penalty for penalty in penalties]


def in_numpy(*given: Any) -> Any:
    old_return = given[0]
    visits, old, target, adv = (x.numpy() for x in given[1:5])
    alpha, gamma = given[5:]
    new = old + alpha * (target - old)
    surrogate = old_return + np.einsum("s,sa,sa", visits, new, adv)
    c = 2 * gamma / (1 - gamma) ** 2
    cpi = c * np.abs((target * adv).sum(1)).max() * alpha**2
    eps = np.abs(adv).max()
    tv = 1 - np.minimum(old, new).sum(1).min()
    kl = (old * np.log(old / (new + 1e-8))).sum(1).max()
    return np.array([surrogate - cpi, surrogate - 2 * c * eps * tv**2, surrogate - c * eps * kl])


def with_torchs_own(
    old_return: float,
    visitation: Tensor,
    old_policy: Tensor,
    target_policy: Tensor,
    advantages: Tensor,
    alpha: float,
    gamma: float,
) -> tuple[Tensor, ...]:
    new = torch.lerp(old_policy, target_policy, alpha)
    promised = old_return + visitation @ (new * advantages).sum(1)
    old_at, new_at = (torch.distributions.Categorical(probs=p) for p in (old_policy, new))
    kl = torch.distributions.kl_divergence(old_at, new_at).max()
    tv = 0.5 * torch.cdist(old_policy, new, p=1).diagonal().max()
    big = torch.linalg.vector_norm(advantages, ord=float("inf"))
    expected = torch.linalg.vector_norm((target_policy * advantages).sum(1), ord=float("inf"))
    scale = 2 * gamma / (1 - gamma) ** 2
    penalties = scale * expected * alpha**2, 2 * scale * big * tv**2, scale * big * kl
    return tuple(promised - penalty for penalty in penalties)


def from_the_line(
    old_return: float,
    visitation: Tensor,
    old_policy: Tensor,
    target_policy: Tensor,
    advantages: Tensor,
    alpha: float,
    gamma: float,
) -> Tensor:
    """The old policy earns no advantage against itself, so along the mixture all is linear."""
    old, target, adv = old_policy.float(), target_policy.float(), advantages.float()
    by_state = ((target - old) * adv).sum(1) + (old * adv).sum(1)
    own = (old * adv).sum(1)
    promised = old_return + (visitation.float() * ((1 - alpha) * own + alpha * by_state)).sum()
    tv = alpha * (target - old).clamp(min=0).sum(1).max()
    kl = (-old * torch.log((1 - alpha) + alpha * target / old)).sum(1).max()
    c = gamma / (1 - gamma) ** 2
    eps = adv.abs().max()
    penalties = [2 * c * by_state.abs().max() * alpha**2, 4 * c * eps * tv**2, 2 * c * eps * kl]
    return torch.stack([promised - penalty for penalty in penalties])


# What students write instead.

slip = partial(slip_of, improvement_bounds, see="06_trpo#C47")
CPI = "05_performance_difference#C43"

CHECK = Check(
    title="What a step is guaranteed",
    reference=improvement_bounds,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "changes its input",
            "The bounds are right, but a table of the caller was overwritten on the way. Write to "
            "memory of your own.",
            divergence="old_policy.mul_((old_policy / new_policy).log()).sum(dim=-1)",
        ),
        slip(
            "J(old) left out",
            "All three bounds are too low by J(old). They are bounds on the return of the new "
            "policy, not on what it gains.",
            see="05_performance_difference#C39",
            promised="(visitation * expected).sum()",
        ),
        slip(
            "visits normalised",
            "In L the visits were divided by their sum. They are sums over time, and L needs them "
            "as they come.",
            see="05_performance_difference#C39",
            promised="old_return + (visitation * expected).sum() / visitation.sum()",
        ),
        slip(
            "L of the target",
            "L is that of the whole target policy. The step goes only the share alpha of the way: "
            "which policy is L asked about?",
            see="05_performance_difference#C42",
            expected="(target_policy * advantages).sum(dim=-1)",
        ),
        slip(
            "the gain scaled by alpha twice",
            "The gain in L was multiplied by alpha although the mixture has it in it already.",
            see="05_performance_difference#C42",
            promised="old_return + alpha * (visitation * expected).sum()",
        ),
        slip(
            "alpha for the old policy",
            "The shares are exchanged: alpha is how much of the target comes in, and alpha = 0 "
            "should change nothing.",
            see="05_performance_difference#C42",
            new_policy="alpha * old_policy + (1 - alpha) * target_policy",
        ),
        slip(
            "distance to the whole target",
            "Total variation and KL were measured to the target. The step ends at the mixture, "
            "which is nearer.",
            see="06_trpo#C46",
            distance="(old_policy - target_policy).abs().sum(dim=-1) / 2",
            divergence="(old_policy * (old_policy / target_policy).log()).sum(dim=-1)",
        ),
        slip(
            "penalties added",
            "The penalties are added to L. What is guaranteed is less than what L promises.",
            answer="promised + torch.stack([mixture_penalty, variation_penalty, kl_penalty])",
        ),
        slip(
            "penalties alone",
            "These are the penalties. A bound is L less its penalty.",
            see="06_trpo#C52",
            answer="torch.stack([mixture_penalty, variation_penalty, kl_penalty])",
        ),
        slip(
            "one factor 1 / (1 - gamma)",
            "The horizon comes in once, as gamma / (1 - gamma). Leaving the known road may happen "
            "at any step, and what follows it is as long again: it is squared.",
            see=CPI,
            horizon="gamma / (1 - gamma)",
        ),
        slip(
            "no gamma above the fraction",
            "The gamma above the fraction is missing, so even with gamma = 0 there is a penalty. "
            "Where only the first step counts the states are the same, and L is exact.",
            see=CPI,
            horizon="1 / (1 - gamma) ** 2",
        ),
        slip(
            "fraction of 1 - gamma^2",
            "Below the fraction stands 1 - gamma^2. It is the square of 1 - gamma.",
            see=CPI,
            horizon="gamma / (1 - gamma**2)",
        ),
        slip(
            "epsilon of single actions in CPI",
            "In CPI's bound epsilon is the largest single advantage. There it is the largest "
            "advantage that the target policy has on average in a state, which may be far smaller.",
            see=CPI,
            mixture_epsilon="advantages.abs().max()",
        ),
        slip(
            "CPI's epsilon in TRPO",
            "TRPO's bounds use the target's expected advantage. The theorem is for any two "
            "policies and takes the largest single advantage.",
            epsilon="mixture_epsilon",
        ),
        slip(
            "the two epsilons exchanged",
            "The two epsilons are exchanged. One of the bounds averages the advantages over the "
            "target's actions first, the others do not: which?",
            mixture_epsilon="advantages.abs().max()",
            epsilon="target_gain.abs().max()",
        ),
        slip(
            "CPI's epsilon without absolute value",
            "In CPI's epsilon the absolute value is missing, so a state in which the target is "
            "much worse does not count. L may be wrong by a loss as well as by a gain.",
            see=CPI,
            mixture_epsilon="target_gain.max()",
        ),
        slip(
            "TRPO's epsilon without absolute value",
            "In TRPO's epsilon the absolute value is missing, so an action that is much worse does "
            "not count. L may be wrong by a loss as well as by a gain.",
            epsilon="advantages.max()",
        ),
        slip(
            "both epsilons without absolute value",
            "The absolute value is missing in both epsilons, so what is much worse does not count. "
            "L may be wrong by a loss as well as by a gain.",
            see=CPI,
            mixture_epsilon="target_gain.max()",
            epsilon="advantages.max()",
        ),
        slip(
            "absolute values before the mean",
            "In CPI's epsilon the absolute values were taken before the mean over actions. Gains "
            "and losses of one state cancel: first the mean, then its absolute value.",
            see=CPI,
            mixture_epsilon="(target_policy * advantages.abs()).sum(dim=-1).max()",
        ),
        slip(
            "CPI's epsilon of the mixture",
            "CPI's epsilon was taken from the mixture. It is that of the target; how little of it "
            "comes in is what alpha says, and it would count three times.",
            see=CPI,
            mixture_epsilon="expected.abs().max()",
        ),
        slip(
            "epsilon as a mean",
            "TRPO's epsilon is the mean of the absolute advantages. A guarantee has to hold in the "
            "worst state with the worst action.",
            epsilon="advantages.abs().mean()",
        ),
        slip(
            "4 in CPI",
            "CPI's penalty is twice too large: 4 is the constant for any two policies. A mixture's "
            "expected advantage is known to be alpha times that of the target, which saves a "
            "factor.",
            see=CPI,
            mixture_penalty="4 * mixture_epsilon * horizon * alpha**2",
        ),
        slip(
            "2 in TRPO",
            "The penalty in total variation has the constant of CPI. With single advantages for "
            "expected ones, the difference of two policies costs twice as much.",
            variation_penalty="2 * epsilon * horizon * variation**2",
        ),
        slip(
            "alpha not squared",
            "CPI's penalty grows with alpha itself. One alpha is for leaving the known road: what "
            "is the other for?",
            see="05_performance_difference#C44",
            mixture_penalty="2 * mixture_epsilon * horizon * alpha",
        ),
        slip(
            "total variation not squared",
            "The penalty grows with the total variation itself. It costs its square, or small "
            "steps would never be safe.",
            variation_penalty="4 * epsilon * horizon * variation",
        ),
        slip(
            "KL squared",
            "The KL was squared. It plays the part of a squared distance already.",
            see="06_trpo#C50",
            kl_penalty="2 * epsilon * horizon * largest_kl**2",
        ),
        slip(
            "the slides' constant for KL",
            "The penalty in KL is that of slide 53, which is twice too large. The squared total "
            "variation is at most half of the KL.",
            see="06_trpo#C49",
            kl_penalty="4 * epsilon * horizon * largest_kl",
        ),
        slip(
            "Pinsker upside down",
            "The penalty in KL is four times too large: the KL was doubled where it is to be "
            "halved. Which of squared total variation and KL is the larger one?",
            see="06_trpo#C49",
            kl_penalty="8 * epsilon * horizon * largest_kl",
        ),
        slip(
            "alpha for the total variation",
            "TRPO's bound was given alpha as its distance. That is a bound too, but the mixture is "
            "nearer: how much of the probability moves?",
            see="06_trpo#C46",
            variation="torch.tensor(alpha)",
        ),
        slip(
            "total variation not halved",
            "The total variation is twice too large, so its penalty is four times too large. What "
            "some actions gain is what others lose, and it is counted once.",
            see="06_trpo#C46",
            distance="(old_policy - new_policy).abs().sum(dim=-1)",
        ),
        slip(
            "largest change of one action",
            "For the total variation the largest change of a single action was taken. It is over "
            "sets of actions: add up the changes of a state, and halve.",
            see="06_trpo#C46",
            distance="(old_policy - new_policy).abs().amax(dim=-1)",
        ),
        slip(
            "mean over states",
            "Total variation and KL are averaged over the states. The theorem needs the worst "
            "state; the mean is what TRPO takes later, when it gives the guarantee up.",
            see="06_trpo#C54",
            variation="distance.mean()",
            largest_kl="divergence.mean()",
        ),
        slip(
            "mean over visited states",
            "Total variation and KL are averaged over the visits. The theorem needs the worst "
            "state; the mean is what TRPO takes later, when it gives the guarantee up.",
            see="06_trpo#C54",
            variation="(visitation * distance).sum() / visitation.sum()",
            largest_kl="(visitation * divergence).sum() / visitation.sum()",
        ),
        slip(
            "sum over states",
            "Total variation and KL are added up over the states. The theorem takes the largest "
            "one.",
            see="06_trpo#C46",
            variation="distance.sum()",
            largest_kl="divergence.sum()",
        ),
        slip(
            "mean over states of the KL",
            "The KL is averaged over the states. The theorem needs the worst state; the mean is "
            "what TRPO takes later, when it gives the guarantee up.",
            see="06_trpo#C54",
            largest_kl="divergence.mean()",
        ),
        slip(
            "KL the wrong way round",
            "This is KL(new || old). Where it stands for the squared total variation either way "
            "would do, but the one that is asked for weighs by the old policy.",
            see="06_trpo#C54",
            divergence="(new_policy * (new_policy / old_policy).log()).sum(dim=-1)",
        ),
        slip(
            "KL upside down",
            "The fraction in the logarithm is upside down, so the KL came out negative. Old over "
            "new, weighed by the old policy.",
            see="06_trpo#C49",
            divergence="(old_policy * (new_policy / old_policy).log()).sum(dim=-1)",
        ),
    ),
    parts=(
        Property("gamma = 0, where L is exact", 2, cases=lambda case: case["gamma"] == 0),
        Property("CPI", 2, cases=lambda case: case["gamma"] > 0, observations=("cpi",)),
        Property(
            "TRPO in total variation",
            2,
            cases=lambda case: case["gamma"] > 0,
            observations=("total_variation",),
        ),
        Property("TRPO in KL", 2, cases=lambda case: case["gamma"] > 0, observations=("kl",)),
    ),
    accepted=(with_loops, in_numpy, with_torchs_own, from_the_line),
)
