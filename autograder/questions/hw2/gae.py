"""hw2: generalised advantage estimation over episodes that end and episodes that are cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Misconception
from autograder.questions.tolerance import TOLERANCE
from autograder.student.wire import Arrays
from course_lib.reference.answers.gae import gae


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    names = ("rewards", "values", "next_values", "terminated", "truncated")
    inputs = {name: torch.tensor(case[name]) for name in names}
    advantages = function(*inputs.values(), float(case["gamma"]), float(case["lam"]))
    kept = all(np.array_equal(x.detach(), case[name]) for name, x in inputs.items())
    return {"advantages": advantages, "inputs_unchanged": kept}


def public_cases() -> list[Case]:
    no = np.zeros((3, 1), dtype=bool)
    first = {
        "rewards": np.array([[1.0], [0.0], [2.0]]),
        "values": np.array([[0.5], [1.0], [1.5]]),
        "next_values": np.array([[1.0], [1.5], [2.0]]),
        "gamma": 0.9,
        "lam": 0.5,
    }
    many = {
        "rewards": np.array([[1.0, -0.5], [0.3, 2.0], [-1.0, 0.7], [0.4, 1.1], [2.0, -0.2]]),
        "values": np.array([[0.6, 1.2], [-0.3, 0.8], [1.4, 0.1], [0.9, -0.7], [0.2, 1.6]]),
        "next_values": np.array([[-0.3, 0.8], [1.8, 0.1], [0.9, -1.3], [2.2, 1.6], [0.5, 0.7]]),
        "terminated": np.array([[0, 0], [0, 0], [0, 1], [1, 0], [0, 0]], dtype=bool),
        "truncated": np.array([[0, 0], [1, 0], [0, 0], [1, 0], [0, 0]], dtype=bool),
        "gamma": 0.95,
        "lam": 0.8,
    }
    return [
        {**first, "terminated": no, "truncated": no},
        {**first, "terminated": np.array([[False], [True], [False]]), "truncated": no},
        {**first, "terminated": no, "truncated": np.array([[False], [True], [False]])},
        many,
        {**many, "lam": 0.0},
        {**many, "lam": 1.0, "gamma": 1.0},
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for steps in rng.choice(np.arange(4, 13), size=3, replace=False):
        shape = (int(steps), int(rng.integers(1, 5)))
        values = rng.normal(size=shape)
        terminated, truncated = rng.random(shape) < 0.2, rng.random(shape) < 0.2
        one, other = rng.choice(shape[0] - 1, size=2, replace=False)
        terminated[one, 0], truncated[one, 0] = True, False
        terminated[other, 0], truncated[other, 0] = False, True
        next_values = np.concatenate([values[1:], rng.normal(size=(1, shape[1]))])
        ended = terminated | truncated  # there the successor is not the next row's state
        next_values = np.where(ended, rng.normal(size=shape), next_values)
        cases.append(
            {
                "rewards": rng.normal(size=shape),
                "values": values,
                "next_values": next_values,
                "terminated": terminated,
                "truncated": truncated,
                "gamma": float(rng.uniform(0.8, 0.99)),
                "lam": float(rng.uniform(0.5, 0.97)),
            }
        )
    cases.append({**cases[0], "lam": 1.0})
    return cases


# What students write instead.


def _accumulate(deltas: Tensor, factor: Tensor) -> Tensor:
    """A_t = delta_t + factor_t A_{t+1}."""
    advantages, following = torch.zeros_like(deltas), torch.zeros_like(deltas[0])
    for t in reversed(range(len(deltas))):
        following = deltas[t] + factor[t] * following
        advantages[t] = following
    return advantages


def _keeps(flags: Tensor) -> Tensor:
    return (~flags).double()


def _deltas(
    rewards: Tensor, values: Tensor, next_values: Tensor, stops: Tensor, gamma: float
) -> Tensor:
    return rewards + gamma * _keeps(stops) * next_values - values


def bootstraps_through_termination(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = rewards + gamma * next_values - values
    return _accumulate(deltas, gamma * lam * _keeps(terminated | truncated))


def truncation_as_termination(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    ended = terminated | truncated
    deltas = _deltas(rewards, values, next_values, ended, gamma)
    return _accumulate(deltas, gamma * lam * _keeps(ended))


def leaks_across_episodes(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = _deltas(rewards, values, next_values, terminated, gamma)
    return _accumulate(deltas, gamma * lam * torch.ones_like(deltas))


def leaks_across_truncation(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = _deltas(rewards, values, next_values, terminated, gamma)
    return _accumulate(deltas, gamma * lam * _keeps(terminated))


def leaks_across_termination(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = _deltas(rewards, values, next_values, terminated, gamma)
    return _accumulate(deltas, gamma * lam * _keeps(truncated))


def ignores_endings(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = rewards + gamma * next_values - values
    return _accumulate(deltas, gamma * lam * torch.ones_like(deltas))


def next_row_as_successor(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    shifted = torch.cat([values[1:], next_values[-1:]])
    deltas = _deltas(rewards, values, shifted, terminated, gamma)
    return _accumulate(deltas, gamma * lam * _keeps(terminated | truncated))


def endings_one_step_late(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    later = torch.zeros_like(terminated[:1])
    stops = torch.cat([terminated[1:], later])
    ended = torch.cat([(terminated | truncated)[1:], later])
    deltas = _deltas(rewards, values, next_values, stops, gamma)
    return _accumulate(deltas, gamma * lam * _keeps(ended))


def ignores_lam(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = _deltas(rewards, values, next_values, terminated, gamma)
    return _accumulate(deltas, gamma * _keeps(terminated | truncated))


def td_errors_only(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    return _deltas(rewards, values, next_values, terminated, gamma)


def no_gamma_in_the_sum(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = _deltas(rewards, values, next_values, terminated, gamma)
    return _accumulate(deltas, lam * _keeps(terminated | truncated))


def no_gamma_in_delta(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = _deltas(rewards, values, next_values, terminated, 1.0)
    return _accumulate(deltas, gamma * lam * _keeps(terminated | truncated))


def returns_instead_of_advantages(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = _deltas(rewards, values, next_values, terminated, gamma)
    return _accumulate(deltas, gamma * lam * _keeps(terminated | truncated)) + values


def no_baseline(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = rewards + gamma * _keeps(terminated) * next_values
    return _accumulate(deltas, gamma * lam * _keeps(terminated | truncated))


def forward_in_time(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = _deltas(rewards, values, next_values, terminated, gamma)
    factor = gamma * lam * _keeps(terminated | truncated)
    return _accumulate(deltas.flip(0), factor.flip(0)).flip(0)


def one_long_row(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = _deltas(rewards, values, next_values, terminated, gamma)
    factor = gamma * lam * _keeps(terminated | truncated)
    flat = _accumulate(deltas.reshape(-1, 1), factor.reshape(-1, 1))
    return flat.reshape(deltas.shape)


def no_bootstrap_at_the_end(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    cut = torch.cat([next_values[:-1], torch.zeros_like(next_values[:1])])
    deltas = _deltas(rewards, values, cut, terminated, gamma)
    return _accumulate(deltas, gamma * lam * _keeps(terminated | truncated))


def normalises(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = _deltas(rewards, values, next_values, terminated, gamma)
    advantages = _accumulate(deltas, gamma * lam * _keeps(terminated | truncated))
    return (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)


def changes_its_input(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    next_values[terminated] = 0.0
    deltas = rewards + gamma * next_values - values
    return _accumulate(deltas, gamma * lam * _keeps(terminated | truncated))


def normalises_over_n_less_one(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = _deltas(rewards, values, next_values, terminated, gamma)
    advantages = _accumulate(deltas, gamma * lam * _keeps(terminated | truncated))
    off = advantages - advantages.mean()
    spread = (off.square().sum() / (off.numel() - 1)).sqrt()  # torch's std, less its warning
    return off / (spread + 1e-8)


def termination_and_truncation_swapped(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = _deltas(rewards, values, next_values, truncated, gamma)
    return _accumulate(deltas, gamma * lam * _keeps(terminated | truncated))


def next_row_and_nothing_after_the_last(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    shifted = torch.cat([values[1:], torch.zeros_like(values[:1])])
    deltas = _deltas(rewards, values, shifted, terminated, gamma)
    return _accumulate(deltas, gamma * lam * _keeps(terminated | truncated))


def sum_stops_one_step_late(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = _deltas(rewards, values, next_values, terminated, gamma)
    ended = torch.cat([(terminated | truncated)[1:], torch.zeros_like(terminated[:1])])
    return _accumulate(deltas, gamma * lam * _keeps(ended))


# Right by other means.


def one_environment_at_a_time(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    advantages = torch.zeros_like(rewards)
    for n in range(rewards.shape[1]):
        following = 0.0
        for t in range(rewards.shape[0] - 1, -1, -1):
            target = rewards[t, n].item()
            if not terminated[t, n]:
                target += gamma * next_values[t, n].item()
            if terminated[t, n] or truncated[t, n]:
                following = 0.0
            following = target - values[t, n].item() + gamma * lam * following
            advantages[t, n] = following
    return advantages


def in_numpy(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Any:
    r, v, w = rewards.numpy(), values.numpy(), next_values.numpy()
    done, cut = terminated.numpy(), truncated.numpy()
    out = r + gamma * np.where(done, 0.0, w) - v
    for t in range(len(out) - 2, -1, -1):
        out[t] += gamma * lam * (1 - np.maximum(done[t], cut[t])) * out[t + 1]
    return out


def as_a_double_sum(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    deltas = (rewards + gamma * (1 - terminated.float()) * next_values - values).float()
    ended = torch.logical_or(terminated, truncated).float()
    advantages = torch.zeros_like(deltas)
    for t in range(len(deltas)):
        weight = torch.ones_like(deltas[0])
        for k in range(t, len(deltas)):
            advantages[t] += weight * deltas[k]
            weight = weight * gamma * lam * (1 - ended[k])
    return advantages


CHECK = Check(
    homework="hw2",
    title="Generalised advantage estimation",
    points=4,
    reference=gae,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        Misconception(
            "changes its input",
            changes_its_input,
            "The advantages are right, but an array of the caller was overwritten on the way. The "
            "same values are needed again for the critic: write to memory of your own.",
            "08_advantages#C72",
        ),
        Misconception(
            "bootstraps through termination",
            bootstraps_through_termination,
            "After a terminated step the value of the next state is still added. The episode is "
            "over there: nothing more is paid, whatever the critic believes.",
            "08_advantages#C72",
        ),
        Misconception(
            "truncation treated as termination",
            truncation_as_termination,
            "Where an episode was cut by the time limit, the value of the next state is left out, "
            "as if the world had ended. The state goes on being worth something; only our record "
            "of it stops.",
            "08_advantages#C72",
        ),
        Misconception(
            "leaks across episodes",
            leaks_across_episodes,
            "The sum runs on over the end of an episode into the next one in the same column. "
            "Rewards of the next episode are no merit of this one: where has it to stop?",
            "08_advantages#C72",
        ),
        Misconception(
            "leaks across truncation",
            leaks_across_truncation,
            "The sum stops at terminated steps but runs over truncated ones into the next "
            "episode. A truncated step has a next value, but the row below it is another episode.",
            "08_advantages#C72",
        ),
        Misconception(
            "leaks across termination",
            leaks_across_termination,
            "The sum stops at truncated steps but runs over terminated ones into the next episode. "
            "Both kinds of end separate episodes.",
            "08_advantages#C72",
        ),
        Misconception(
            "ignores the ends of episodes",
            ignores_endings,
            "terminated and truncated have no effect: all steps are treated as one endless "
            "episode. Go through the two formulas and ask of each term whether it exists after an "
            "end.",
            "08_advantages#C72",
        ),
        Misconception(
            "next row instead of next_values",
            next_row_as_successor,
            "The value of the next state is taken from the row below. At the end of an episode "
            "that row is the start of another one; next_values holds the true successor.",
            "08_advantages#C72",
        ),
        Misconception(
            "ends read one step late",
            endings_one_step_late,
            "Step t is masked with the flags of step t + 1. Here terminated[t] says that step t "
            "itself was the last.",
            "08_advantages#C72",
        ),
        Misconception(
            "lam ignored",
            ignores_lam,
            "lam has no effect, as if it were 1. It decides how far ahead the TD errors are "
            "trusted.",
            "08_advantages#C72",
        ),
        Misconception(
            "TD errors only",
            td_errors_only,
            "These are the TD errors delta_t, what comes out for lam = 0. Those of later steps are "
            "still to be added, with weights that fall off.",
            "08_advantages#C72",
        ),
        Misconception(
            "no gamma in the sum",
            no_gamma_in_the_sum,
            "Later TD errors are weighed with lam alone. They lie in the future as well: with "
            "lam = 1 the result should be the discounted return minus the value.",
            "08_advantages#C72",
        ),
        Misconception(
            "no gamma in delta",
            no_gamma_in_delta,
            "The value of the next state is added without discount. It lies one step in the "
            "future.",
            "08_advantages#C72",
        ),
        Misconception(
            "returns instead of advantages",
            returns_instead_of_advantages,
            "These are advantages plus values, the targets that a critic is trained on. Asked for "
            "are the advantages alone.",
            "08_advantages#C72",
        ),
        Misconception(
            "value not subtracted",
            no_baseline,
            "V(s_t) is not subtracted. An advantage says how much better than expected it went: "
            "better than what?",
            "08_advantages#C72",
        ),
        Misconception(
            "forward in time",
            forward_in_time,
            "The sum runs from the first step to the last, so each step collects the TD errors of "
            "the past. An advantage looks ahead.",
            "08_advantages#C72",
        ),
        Misconception(
            "environments run into each other",
            one_long_row,
            "The (T, N) arrays were flattened, so a step is followed by another environment's "
            "step of the same time. Each column is a world of its own.",
            "08_advantages#C72",
        ),
        Misconception(
            "no bootstrap at the last row",
            no_bootstrap_at_the_end,
            "The last row gets no next value. That the batch ends there does not end the episode: "
            "unless it terminated, the next value counts.",
            "08_advantages#C72",
        ),
        Misconception(
            "normalises the advantages",
            normalises,
            "The advantages were shifted and scaled to mean 0 and spread 1. That is the caller's "
            "choice; here the plain estimates are asked for.",
            "08_advantages#C72",
        ),
        Misconception(
            "normalises the advantages by n - 1",
            normalises_over_n_less_one,
            "The advantages were shifted and scaled to mean 0 and spread 1 (torch's std divides by "
            "n - 1, so a single one even gives nan). That is the caller's choice; here the plain "
            "estimates are asked for.",
            "08_advantages#C72",
        ),
        Misconception(
            "terminated and truncated swapped",
            termination_and_truncation_swapped,
            "Where the world ended the next value is counted, and where only the recording stopped "
            "it is not: the two are swapped. After which of them is the next state worth nothing?",
            "08_advantages#C72",
        ),
        Misconception(
            "next row instead of next_values, and nothing after the last",
            next_row_and_nothing_after_the_last,
            "V(s_{t+1}) is read from the row below, with 0 under the last one. Where an episode "
            "ends that row is the start of another one, and after the last row the world goes on; "
            "next_values holds the true successor.",
            "08_advantages#C72",
        ),
        Misconception(
            "sum cut one step late",
            sum_stops_one_step_late,
            "The TD errors are right, but the sum is cut at the end that the row below has. "
            "ended[t] says that step t itself was the last: A_{t+1} is then of another episode.",
            "08_advantages#C72",
        ),
    ),
    accepted=(one_environment_at_a_time, in_numpy, as_a_double_sum),
    tolerance=TOLERANCE,
)
