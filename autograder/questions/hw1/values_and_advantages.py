"""hw1: the values of a policy in a known world, and its advantages."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Array, Arrays, frozen, untouched
from course_lib.reference.answers.values_and_advantages import values_and_advantages


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    names = ("transitions", "rewards", "policy")
    inputs = {name: torch.tensor(case[name]) for name in names}
    gamma = float(case["gamma"])

    def both() -> list[Any]:
        pair = function(*inputs.values(), gamma)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            several = f" of {len(pair)}" if isinstance(pair, (tuple, list)) else ""
            raise TypeError(
                "two things are to be returned, `return values, advantages`: there came a "
                f"{type(pair).__name__}{several}"
            )
        return [frozen(each) for each in pair]

    values, advantages = both()
    kept = all(untouched(x, case[name]) for name, x in inputs.items())
    again = all(
        before.shape == after.shape and np.allclose(before, after, rtol=1e-6, equal_nan=True)
        for before, after in zip((values, advantages), both(), strict=True)
    )
    seen = {
        "values": values,
        "advantages": advantages,
        "inputs_unchanged": kept,
        "second_call_agrees": again,
    }
    transitions, rewards = case["transitions"], case["rewards"]
    if values.shape == rewards.shape[:1] and advantages.shape == rewards.shape:
        from_values = rewards + gamma * transitions @ values - values[:, None]
        seen["advantages_beyond_these_values"] = advantages - from_values  # whatever these are
    return seen


def public_cases() -> list[Case]:
    chain = {
        "transitions": np.eye(3)[[[0, 1], [0, 2], [2, 2]]],  # Left to the first, Right one on
        "rewards": np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 0.0]]),
        "policy": np.array([[0.0, 1.0], [0.5, 0.5], [0.5, 0.5]]),
        "gamma": 0.5,
    }
    ice = {
        "transitions": np.array(
            [
                [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]],
                [[0.7, 0.3, 0.0], [0.0, 0.4, 0.6]],
                [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]],
            ]
        ),
        "rewards": np.array([[-0.5, 0.2], [0.4, 2.0], [0.0, 0.0]]),
        "policy": np.array([[0.3, 0.7], [0.6, 0.4], [0.9, 0.1]]),
        "gamma": 0.9,
    }
    ring = {
        "transitions": np.eye(3)[[[1, 2, 0], [2, 0, 2], [0, 1, 1]]],
        "rewards": np.array([[1.0, -0.5, 0.3], [0.2, 2.0, -1.0], [0.7, 0.0, 1.5]]),
        "policy": np.array([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2], [0.1, 0.3, 0.6]]),
        "gamma": 0.8,
    }
    two: Case = {
        "transitions": np.array(
            [[[0.5, 0.5], [0.1, 0.9], [0.8, 0.2]], [[0.3, 0.7], [0.6, 0.4], [0.2, 0.8]]]
        ),
        "rewards": np.array([[1.0, -1.0, 0.5], [0.0, 2.0, -0.7]]),
        "policy": np.array([[0.2, 0.3, 0.5], [0.6, 0.1, 0.3]]),
        "gamma": 0.7,
    }
    return [chain, {**two, "gamma": 0.0}, ring, two, ice]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    sizes = ((True, 3, 3), (True, 4, 2), (False, 3, 4), (False, 5, 2))
    for surely, states, actions in sizes:
        if surely:  # each action leads to one place: all places, in different orders
            order = rng.permutation(states)
            next_states = np.array([np.roll(order, a) for a in range(actions)]).T
            transitions = np.eye(states)[next_states]
        else:
            transitions = 0.05 + rng.exponential(size=(states, actions, states))
        cases.append(
            {
                "transitions": transitions / transitions.sum(axis=2, keepdims=True),
                "rewards": rng.normal(size=(states, actions)),
                "policy": _policy(rng, states, actions),
                "gamma": float(rng.uniform(0.6, 0.9)),
            }
        )
    cases.append({**cases[2], "rewards": 2 * rng.normal(size=(3, 4)), "gamma": 0.0})
    return cases


def _policy(rng: np.random.Generator, states: int, actions: int) -> Array:
    weights = 0.3 + rng.exponential(size=(states, actions))
    return weights / weights.sum(axis=1, keepdims=True)


def _is_sure(case: Arrays) -> bool:
    """Whether each action leads to one place."""
    return bool(np.isin(case["transitions"], (0.0, 1.0)).all() and case["gamma"] > 0)


# Right by other means.


def sweep_by_sweep(*given: Any) -> Any:
    transitions, rewards, policy, gamma = given
    values = torch.zeros(len(rewards))
    while True:
        action_values = rewards + gamma * (transitions * values).sum(dim=-1)
        new = (policy * action_values).sum(dim=-1)
        if (new - values).abs().max() < 1e-7:
            return new, action_values - new.unsqueeze(1)
        values = new


def in_place_in_loops(*given: Any) -> Any:
    transitions, rewards, policy, gamma = given
    states, actions = rewards.shape
    values = [0.0] * states
    table = torch.zeros_like(rewards)
    for _ in range(300):
        for s in range(states):
            for a in range(actions):
                table[s, a] = rewards[s, a] + gamma * sum(
                    transitions[s, a, t].item() * values[t] for t in range(states)
                )
            values[s] = float(policy[s] @ table[s])
    return torch.tensor(values), table - torch.tensor(values)[:, None]


def in_numpy(*given: Any) -> Any:
    transitions, rewards, policy = (x.numpy() for x in given[:3])
    step = np.einsum("ij,ijk->ik", policy, transitions)
    values = np.linalg.inv(np.eye(len(step)) - given[3] * step) @ (policy * rewards).sum(-1)
    return [values, rewards + given[3] * transitions @ values - values.reshape(-1, 1)]


def by_action_values(*given: Any) -> Any:
    transitions, rewards, policy, gamma = given
    states, actions = rewards.shape
    pairs = torch.einsum("sat,tb->satb", transitions, policy).reshape(states * actions, -1)
    system = torch.eye(len(pairs)) - gamma * pairs.float()
    q = torch.linalg.solve(system.float(), rewards.float().reshape(-1, 1)).view(states, actions)
    v = (policy.float() * q).sum(1)
    return v, q - v.view(-1, 1)


# What students write instead.

slip = partial(slip_of, values_and_advantages, see="01_objective#C02")

CHECK = Check(
    title="Values and advantages",
    reference=values_and_advantages,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "action values instead of advantages",
            "The second thing that comes back is Q(s, a), what an action is worth. An advantage "
            "says how much better it is than what the policy does on average in that state.",
            advantages="action_values",
        ),
        slip(
            "values of the best policy",
            "These are the values of whoever takes the best action everywhere. The policy that "
            "came in takes each action with its own probability: which kind of average replaces "
            "the maximum?",
            see="01_objective#C03",
            values="""
                values = torch.zeros_like(policy_rewards)
                for _ in range(150):
                    values = (rewards + gamma * transitions @ values).max(dim=1).values
            """,
        ),
        slip(
            "plain mean over the actions",
            "Every action counts the same, as if the policy tossed a coin in each state. The "
            "values are those of the policy that came in.",
            see="01_objective#C03",
            before="policy = torch.full_like(policy, 1 / policy.shape[1])",
        ),
        slip(
            "policy's likeliest action only",
            "The values are those of a policy that always takes its likeliest action. The other "
            "actions are taken as well, and count with their probabilities.",
            see="01_objective#C03",
            before="policy = torch.eye(policy.shape[1], dtype=policy.dtype)[policy.argmax(dim=1)]",
        ),
        slip(
            "rewards averaged without the policy",
            "The reward of a state is a plain mean over its actions, while the moves follow the "
            "policy. Both are averages over what the policy does.",
            see="01_objective#C03",
            policy_rewards="rewards.mean(dim=1)",
        ),
        slip(
            "rewards of all actions added up",
            "The reward of a state is the sum over its actions, as if all of them were taken at "
            "once. Each counts with its probability under the policy.",
            see="01_objective#C03",
            policy_rewards="rewards.sum(dim=1)",
        ),
        slip(
            "policy counted twice in the rewards",
            "The rewards are weighed with the policy twice. Each action counts with its "
            "probability, once.",
            see="01_objective#C03",
            policy_rewards="(policy**2 * rewards).sum(dim=1)",
        ),
        slip(
            "softmax of the policy",
            "The policy went through a softmax, as if its entries were logits. They are "
            "probabilities, and sum to 1 as they come.",
            see="01_objective#C04",
            before="policy = torch.softmax(policy, dim=-1)",
        ),
        slip(
            "moves averaged without the policy",
            "Where the next step leads is a plain mean over the actions, while the rewards follow "
            "the policy. Both are averages over what the policy does.",
            see="01_objective#C03",
            policy_transitions="transitions.mean(dim=1)",
        ),
        slip(
            "moves read backwards",
            "The matrix of moves is transposed in the values: each state collects from those that "
            "lead to it. A value looks ahead, to where one goes from here.",
            policy_transitions="torch.einsum('sa,sat->ts', policy, transitions)",
        ),
        slip(
            "immediate reward only",
            "V(s) is the mean reward of the next step alone. What may come after it is worth "
            "something too, and it is the same V, one step later.",
            values="policy_rewards",
        ),
        slip(
            "looks one step ahead only",
            "V(s) holds the rewards of two steps and nothing after them: the Bellman equation was "
            "applied to the rewards and not to V. Solve it, or apply it until nothing changes.",
            values="policy_rewards + gamma * policy_transitions @ policy_rewards",
        ),
        slip(
            "stops after ten sweeps",
            "The Bellman equation was applied ten times, and V is still on its way. Go on until a "
            "sweep changes next to nothing, or solve the linear system.",
            values="""
                values = torch.zeros_like(policy_rewards)
                for _ in range(10):
                    values = policy_rewards + gamma * policy_transitions @ values
            """,
        ),
        slip(
            "first reward discounted",
            "Everything is one factor of gamma too small: the reward of the step at hand is "
            "discounted as well. Only what comes after it lies in the future.",
            before="rewards = gamma * rewards",
        ),
        slip(
            "no gamma in the advantages",
            "The values are right, but in Q the value of the next state is added without "
            "discount. It lies one step in the future.",
            action_values="rewards + next_values",
        ),
        slip(
            "value of the same state in Q",
            "Q(s, a) was made with V of the state that one is in. After the action one is "
            "elsewhere: which states, and with which probabilities?",
            action_values="rewards + gamma * values[:, None]",
        ),
        slip(
            "next state of the policy in Q",
            "In Q the next state is an average over what the policy does. Q(s, a) is about one "
            "action: the next state is the one that this action leads to.",
            next_values="(policy_transitions @ values)[:, None]",
        ),
        slip(
            "moves read backwards in Q",
            "In Q the table of moves is read from the state after to the state before. In "
            "[s, a, s2] the state that one leaves comes first.",
            next_values="torch.einsum('sat,s->ta', transitions, values)",
        ),
        slip(
            "plain mean of Q subtracted",
            "From Q its plain mean over the actions was subtracted. The average of Q under the "
            "policy is V, and that is what is subtracted.",
            see="01_objective#C03",
            advantages="action_values - action_values.mean(dim=1, keepdim=True)",
        ),
        slip(
            "best action subtracted",
            "From Q its largest entry was subtracted, so that no advantage is above 0. Better "
            "than what the policy does on average is what an advantage means.",
            see="01_objective#C03",
            advantages="action_values - action_values.max(dim=1, keepdim=True).values",
        ),
        slip(
            "advantages with the wrong sign",
            "These are V minus Q. An action that is better than the policy's average should come "
            "out above 0.",
            advantages="values[:, None] - action_values",
        ),
        slip(
            "advantages weighted by the policy",
            "Each advantage was multiplied by the probability of its action. How good an action "
            "is does not depend on how often it is taken.",
            advantages="policy * (action_values - values[:, None])",
        ),
        slip(
            "reward minus value",
            "The advantage is the reward minus V, and what comes after the action is left out. An "
            "action is worth its reward and, one step later, the state that it leads to.",
            action_values="rewards",
        ),
        slip(
            "advantages scaled",
            "The advantages were shifted and scaled to mean 0 and spread 1, as programs do with a "
            "batch of samples. Here nothing is sampled, and the plain differences are asked for.",
            answer="values, (advantages - advantages.mean()) / (advantages.std() + 1e-8)",
        ),
        slip(
            "advantages first",
            "The right tensors, in the wrong order. Return values first, advantages second.",
            answer="advantages, values",
        ),
    ),
    parts=(
        Property("gamma = 0", cases=lambda case: case["gamma"] == 0),
        Property("a world without chance", 2, cases=_is_sure),
        Property("the values", 3, observations=("values",)),
        Property(
            "advantages that go with the values",
            2,
            observations=("advantages_beyond_these_values",),
        ),
        Property("the advantages", observations=("advantages",)),
    ),
    accepted=(sweep_by_sweep, in_place_in_loops, in_numpy, by_action_values),
)
