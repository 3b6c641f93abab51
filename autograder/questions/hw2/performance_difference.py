"""hw2: the performance difference lemma, evaluated on tables."""

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
from course_lib.reference.answers.performance_difference import performance_difference


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    names = ("visitation", "policy", "advantages")
    inputs = [torch.tensor(case[name]) for name in names]
    difference = frozen(function(*inputs))
    kept = all(untouched(x, case[name]) for name, x in zip(names, inputs, strict=True))
    again = same_again(lambda: function(*inputs), difference)
    return {"difference": difference, "inputs_unchanged": kept, "second_call_agrees": again}


def public_cases() -> list[Case]:
    tables = {
        "policy": np.array([[0.7, 0.3], [0.2, 0.8], [0.45, 0.55]]),
        "advantages": np.array([[0.4, -1.2], [-0.5, 1.5], [0.9, -0.3]]),
    }
    return [
        {
            "visitation": np.array([4.0, 1.0]),
            "policy": np.array([[0.25, 0.75], [0.5, 0.5]]),
            "advantages": np.array([[-1.0, 1.0], [2.0, -3.0]]),
        },
        {
            "visitation": np.array([5.0]),
            "policy": np.array([[0.2, 0.3, 0.5]]),
            "advantages": np.array([[1.5, -0.5, 0.8]]),
        },
        {"visitation": np.array([3.1, 2.6, 0.9]), **tables},
        {"visitation": np.array([0.5, 0.2, 0.3]), **tables},
        {
            "visitation": np.array([0.3, 0.7]),
            "policy": np.array([[0.1, 0.6, 0.3], [0.5, 0.3, 0.2]]),
            "advantages": np.array([[-1.1, 0.6, -0.4], [-0.2, -0.9, 1.3]]),
        },
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    """True visits of a new policy and true advantages of an old one, in worlds drawn at random."""
    cases: list[Case] = []
    sizes = [1, *(int(size) for size in rng.permutation(np.arange(2, 7))[:4])]
    for gamma, states in zip((0.5, 0.0, 0.0, 0.6, 0.7), sizes, strict=True):
        actions = int(rng.integers(2, 6))
        terms = np.zeros(states)
        # Until a gain comes out; of several states, with losses in it.
        while terms.sum() < 0.1 or terms.max() < 0.02 or (states > 1 and terms.min() > -0.02):
            old, new = (_rows(rng.uniform(0.2, 1.0, size=(states, actions))) for _ in range(2))
            world = TabularMDP(
                _rows(rng.uniform(0.1, 1.0, size=(states, actions, states))),
                torch.tensor(2 * rng.normal(size=(states, actions))),
                gamma + float(rng.uniform(0.0, 0.2)) * (gamma > 0),
                _rows(rng.uniform(0.2, 1.0, size=states)),
                torch.zeros(states, dtype=torch.bool),
            )
            visitation, advantages = world.visitation(new), world.advantages(old)
            terms = (visitation * (new * advantages).sum(-1)).numpy()
        tables = {"visitation": visitation, "policy": new, "advantages": advantages}
        cases.append({name: table.numpy() for name, table in tables.items()})
    return cases


def _rows(weights: Any) -> Tensor:
    """Weights as probabilities that sum to 1 along the last axis."""
    return torch.tensor(weights / weights.sum(-1, keepdims=True))


def _shows(case: Arrays) -> str:
    """What a case is for."""
    if len(case["visitation"]) == 1:
        return "one state"
    one_step = abs(case["visitation"].sum() - 1) < 1e-9  # as where only the first step counts
    return "sum to 1" if one_step else "sum to more"


# Right by other means.


def with_two_loops(visitation: Tensor, policy: Tensor, advantages: Tensor) -> float:
    total = 0.0
    for s in range(policy.shape[0]):
        expected = 0.0
        for a in range(policy.shape[1]):
            expected += policy[s, a].item() * advantages[s, a].item()
        total += visitation[s].item() * expected
    return total


def in_one_line(visitation: Tensor, policy: Tensor, advantages: Tensor) -> Tensor:
    return torch.einsum("s,sa,sa->", visitation, policy, advantages)


def as_an_occupancy(visitation: Tensor, policy: Tensor, advantages: Tensor) -> Any:
    occupancy = visitation.numpy()[:, None] * policy.numpy()
    return np.sum(occupancy * advantages.numpy())


def as_a_trace(visitation: Tensor, policy: Tensor, advantages: Tensor) -> Tensor:
    return visitation @ torch.diagonal(policy @ advantages.T)


def in_single_precision(visitation: Tensor, policy: Tensor, advantages: Tensor) -> Tensor:
    expected = (policy.float() * advantages.float()).sum(1, keepdim=True)
    return (visitation.float()[:, None] * expected).sum()


# What students write instead.

slip = partial(slip_of, performance_difference, see="05_performance_difference#C34")

CHECK = Check(
    title="Performance difference",
    reference=performance_difference,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "changes its input",
            "The difference is right, but a table of the caller was overwritten on the way. Write "
            "the products to memory of your own.",
            weighed="advantages.mul_(policy)",
        ),
        slip(
            "normalises the visits",
            "The visits were divided by their sum, which makes a mean over states of a sum over "
            "time. A good choice in every step of a long life is worth more than in one step: "
            "what do the visits of the lemma sum to?",
            see="03_rewards_to_go#C36",
            terms="visitation / visitation.sum() * expected",
        ),
        slip(
            "mean over states",
            "The terms of the states are averaged. The visits already say how much each state "
            "counts; what is left to do is to add up.",
            answer="terms.mean()",
        ),
        slip(
            "mean over actions",
            "Over the actions a mean is taken. The policy's probabilities are the weights already, "
            "and they sum to 1.",
            see="05_performance_difference#C35",
            expected="weighed.mean(dim=-1)",
        ),
        slip(
            "visits left out",
            "Every state counts the same. A state in which the new policy does better is worth "
            "something as often as that policy comes there.",
            see="05_performance_difference#C37",
            terms="expected",
        ),
        slip(
            "policy left out",
            "The advantages of a state are added up with equal weights, so the new policy plays no "
            "part in what is done there. How likely is each action under it?",
            see="05_performance_difference#C35",
            weighed="advantages",
        ),
        slip(
            "equal chances for all actions",
            "The advantages of a state are averaged as if all actions were equally likely. How "
            "likely is each under the new policy?",
            see="05_performance_difference#C35",
            weighed="advantages / advantages.shape[-1]",
        ),
        slip(
            "largest advantage",
            "In each state the largest advantage is taken: that is what a greedy policy would "
            "gain. The new policy is the one that came in, and it draws its actions.",
            see="05_performance_difference#C38",
            expected="advantages.amax(dim=-1)",
        ),
        slip(
            "likeliest action only",
            "In each state only the likeliest action counts, at full weight. The policy draws its "
            "actions, so each advantage counts as often as it is drawn.",
            see="05_performance_difference#C35",
            expected="advantages.gather(-1, policy.argmax(-1, keepdim=True)).squeeze(-1)",
        ),
        slip(
            "largest product only",
            "In each state the largest of the products is kept. An expectation adds all of them "
            "up, the negative ones too.",
            see="05_performance_difference#C35",
            expected="weighed.amax(dim=-1)",
        ),
        slip(
            "softmax of probabilities",
            "A softmax was applied to the policy. What came in are probabilities already, not "
            "logits: its rows sum to 1.",
            see="04_reinforce#C70",
            weighed="policy.softmax(dim=-1) * advantages",
        ),
        slip(
            "logarithms of probabilities",
            "The logarithm of the policy stands where the probability belongs. Logarithms come in "
            "when something is differentiated; this is a plain expectation.",
            see="05_performance_difference#C35",
            weighed="policy.log() * advantages",
        ),
        slip(
            "old minus new",
            "The sign is turned round: this is what the old policy is better by. Is a step towards "
            "positive advantages a gain or a loss?",
            answer="-answer",
        ),
        slip(
            "every state with every other",
            "The visits of each state meet the expected advantages of all states: (S, 1) times "
            "(S,) broadcasts to (S, S). Look at the shape before the sum.",
            terms="visitation[:, None] * expected",
        ),
        slip(
            "one term a state",
            "What comes back is a term for each state. They are to be added up to one number.",
            see="05_performance_difference#C37",
            answer="terms",
        ),
        slip(
            "first state only",
            "Only the term of the first state comes back, as if the new policy never left it. "
            "Where else does it come?",
            answer="terms[0]",
        ),
        slip(
            "only what improves",
            "Negative terms are left out. What gets worse in one state is taken off what gets "
            "better in another.",
            see="05_performance_difference#C37",
            terms="(visitation * expected).clamp(min=0.0)",
        ),
        slip(
            "positive advantages only",
            "Negative advantages are left out. An action that is worse than the old mean costs as "
            "often as it is drawn.",
            see="05_performance_difference#C35",
            weighed="policy * advantages.clamp(min=0.0)",
        ),
        slip(
            "without signs",
            "The advantages lost their signs. An action that is worse than the old mean costs "
            "something.",
            see="05_performance_difference#C35",
            weighed="policy * advantages.abs()",
        ),
        slip(
            "advantages less their mean",
            "The mean of each state's advantages is taken off first. They are relative already, "
            "to what the old policy does on average; leave them as they come.",
            see="05_performance_difference#C35",
            weighed="policy * (advantages - advantages.mean(dim=-1, keepdim=True))",
        ),
        slip(
            "visits squared",
            "The visits come in twice. They weigh each state once.",
            see="03_rewards_to_go#C36",
            terms="visitation**2 * expected",
        ),
    ),
    parts=(
        Property("a world of one state", 1, cases=lambda case: _shows(case) == "one state"),
        Property("visits that sum to 1", 2, cases=lambda case: _shows(case) == "sum to 1"),
        Property("visits that sum to more", 2, cases=lambda case: _shows(case) == "sum to more"),
    ),
    accepted=(
        with_two_loops,
        in_one_line,
        as_an_occupancy,
        as_a_trace,
        in_single_precision,
    ),
)
