"""hw2: generalised advantage estimation over episodes that end and episodes that are cut."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.gae import gae


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    names = ("rewards", "values", "next_values", "terminated", "truncated")
    inputs = {name: torch.tensor(case[name]) for name in names}
    settings = float(case["gamma"]), float(case["lam"])
    advantages = frozen(function(*inputs.values(), *settings))
    kept = all(untouched(x, case[name]) for name, x in inputs.items())
    again = same_again(lambda: function(*inputs.values(), *settings), advantages)
    return {"advantages": advantages, "inputs_unchanged": kept, "second_call_agrees": again}


def public_cases() -> list[Case]:
    no = np.zeros((3, 1), dtype=bool)
    first = {
        "rewards": np.array([[1.0], [0.0], [2.0]]),
        "values": np.array([[0.5], [1.0], [1.5]]),
        "next_values": np.array([[1.0], [1.5], [2.0]]),
        "gamma": 0.9,
        "lam": 0.5,
    }
    many: Case = {
        "rewards": np.array([[1.0, -0.5], [0.3, 2.0], [-1.0, 0.7], [0.4, 1.1], [2.0, -0.2]]),
        "values": np.array([[0.6, 1.2], [-0.3, 0.8], [1.4, 0.1], [0.9, -0.7], [0.2, 1.6]]),
        "next_values": np.array([[-0.3, 0.8], [1.8, 0.1], [0.9, -1.3], [2.2, 1.6], [0.5, 0.7]]),
        "terminated": np.array([[0, 0], [0, 0], [0, 1], [1, 0], [0, 0]], dtype=bool),
        "truncated": np.array([[0, 0], [1, 0], [0, 0], [1, 0], [0, 0]], dtype=bool),
        "gamma": 0.95,
        "lam": 0.8,
    }
    unended = {
        **many,
        "next_values": np.concatenate([many["values"][1:], [[0.5, 0.7]]]),
        "terminated": np.zeros((5, 2), dtype=bool),
        "truncated": np.zeros((5, 2), dtype=bool),
    }
    return [
        {**first, "terminated": no, "truncated": no},
        {name: x[:1] if np.ndim(x) else x for name, x in unended.items()},  # one step
        {**first, "terminated": np.array([[False], [True], [False]]), "truncated": no},
        {**first, "terminated": no, "truncated": np.array([[False], [True], [False]])},
        many,
        unended,
        {**many, "truncated": unended["truncated"]},
        {**many, "terminated": unended["terminated"]},
        {**many, "lam": 0.0},
        {**many, "lam": 1.0, "gamma": 1.0},
        {**many, "terminated": many["terminated"] | (np.arange(5) == 4)[:, None]},  # and the last
        {**unended, "lam": 0.0},
        {**unended, "lam": 1.0},
    ]


def _ends(case: Arrays) -> set[str]:
    return {kind for kind in ("terminated", "truncated") if case[kind].any()}


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    lengths = rng.permutation(np.arange(4, 13))
    for steps, terminates, truncates in zip(lengths, (0, 1, 0, 1), (0, 0, 1, 1), strict=False):
        shape = (int(steps), int(rng.integers(2, 5)))
        values = rng.normal(size=shape)
        terminated = (rng.random(shape) < 0.2) & bool(terminates)
        truncated = (rng.random(shape) < 0.2) & bool(truncates)
        one, other = rng.choice(shape[0] - 1, size=2, replace=False)
        if terminates:
            terminated[one, 0], truncated[one, 0] = True, False
        if truncates:
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
    cases.append({**cases[-1], "lam": 1.0})
    cases += [{**cases[0], "lam": 0.0}, {**cases[0], "lam": 1.0}]
    cases.append({name: x[:1] if np.ndim(x) else x for name, x in cases[0].items()})
    return cases


# Right by other means.


def one_environment_at_a_time(*given: Any) -> Tensor:
    rewards, values, next_values, terminated, truncated, gamma, lam = given
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


def in_numpy(*given: Any) -> Any:
    rewards, values, next_values, terminated, truncated = (x.numpy() for x in given[:5])
    gamma, lam = given[5:]
    out = rewards + gamma * np.where(terminated, 0.0, next_values) - values
    for t in range(len(out) - 2, -1, -1):
        out[t] += gamma * lam * (1 - np.maximum(terminated[t], truncated[t])) * out[t + 1]
    return out


def as_a_double_sum(*given: Any) -> Tensor:
    rewards, values, next_values, terminated, truncated, gamma, lam = given
    deltas = (rewards + gamma * (1 - terminated.float()) * next_values - values).float()
    ended = torch.logical_or(terminated, truncated).float()
    advantages = torch.zeros_like(deltas)
    for t in range(len(deltas)):
        weight = torch.ones_like(deltas[0])
        for k in range(t, len(deltas)):
            advantages[t] += weight * deltas[k]
            weight = weight * gamma * lam * (1 - ended[k])
    return advantages


# What students write instead.

slip = partial(slip_of, gae, see="08_advantages#C72")

CHECK = Check(
    title="Generalised advantage estimation",
    reference=gae,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "changes its input",
            "The advantages are right, but an array of the caller was overwritten on the way. The "
            "same values are needed again for the critic: write to memory of your own.",
            before="next_values[terminated] = 0.0",
        ),
        slip(
            "bootstraps through termination",
            "After a terminated step the value of the next state is still added. The episode is "
            "over there: nothing more is paid, whatever the critic believes.",
            deltas="rewards + gamma * next_values - values",
        ),
        slip(
            "truncation treated as termination",
            "Where an episode was cut by the time limit, the value of the next state is left out, "
            "as if the world had ended. The state goes on being worth something; only our record "
            "of it stops.",
            deltas="rewards + gamma * same_episode * next_values - values",
        ),
        slip(
            "leaks across episodes",
            "The sum runs on over the end of an episode into the next one in the same column. "
            "Rewards of the next episode are no merit of this one: where has it to stop?",
            same_episode="torch.ones_like(values)",
        ),
        slip(
            "leaks across truncation",
            "The sum stops at terminated steps but runs over truncated ones into the next "
            "episode. A truncated step has a next value, but the row below it is another episode.",
            same_episode="goes_on",
        ),
        slip(
            "leaks across termination",
            "The sum stops at truncated steps but runs over terminated ones into the next episode. "
            "Both kinds of end separate episodes.",
            same_episode="1.0 - truncated.to(values.dtype)",
        ),
        slip(
            "ignores the ends of episodes",
            "terminated and truncated have no effect: all steps are treated as one endless "
            "episode. Go through the two formulas and ask of each term whether it exists after an "
            "end.",
            goes_on="torch.ones_like(values)",
            same_episode="torch.ones_like(values)",
        ),
        slip(
            "next row instead of next_values",
            "The value of the next state is taken from the row below. At the end of an episode "
            "that row is the start of another one; next_values holds the true successor.",
            before="next_values = torch.cat([values[1:], next_values[-1:]])",
        ),
        slip(
            "ends read one step late",
            "Step t is masked with the flags of step t + 1. Here terminated[t] says that step t "
            "itself was the last.",
            before="""
                terminated = torch.cat([terminated[1:], torch.zeros_like(terminated[:1])])
                truncated = torch.cat([truncated[1:], torch.zeros_like(truncated[:1])])
            """,
        ),
        slip(
            "lam ignored",
            "lam has no effect, as if it were 1. It decides how far ahead the TD errors are "
            "trusted.",
            decays="gamma * same_episode",
        ),
        slip(
            "TD errors only",
            "These are the TD errors delta_t, what comes out for lam = 0. Those of later steps are "
            "still to be added, with weights that fall off.",
            answer="deltas",
        ),
        slip(
            "no gamma in the sum",
            "Later TD errors are weighed with lam alone. They lie in the future as well: with "
            "lam = 1 the result should be the discounted return minus the value.",
            decays="lam * same_episode",
        ),
        slip(
            "no gamma in delta",
            "The value of the next state is added without discount. It lies one step in the "
            "future.",
            deltas="rewards + goes_on * next_values - values",
        ),
        slip(
            "returns instead of advantages",
            "These are advantages plus values, the targets that a critic is trained on. Asked for "
            "are the advantages alone.",
            answer="answer + values",
        ),
        slip(
            "value not subtracted",
            "V(s_t) is not subtracted. An advantage says how much better than expected it went: "
            "better than what?",
            deltas="rewards + gamma * goes_on * next_values",
        ),
        slip(
            "forward in time",
            "The sum runs from the first step to the last, so each step collects the TD errors of "
            "the past. An advantage looks ahead.",
            delta="zip(deltas, decays, strict=True)",
            answer="torch.stack(advantages)",
        ),
        slip(
            "environments run into each other",
            "The (T, N) arrays were flattened, so a step is followed by another environment's "
            "step of the same time. Each column is a world of its own.",
            following_1="0.0",
            delta="zip(deltas.flatten().flip(0), decays.flatten().flip(0), strict=True)",
            answer="answer.view_as(deltas)",
        ),
        slip(
            "no bootstrap at the last row",
            "The last row gets no next value. That the batch ends there does not end the episode: "
            "unless it terminated, the next value counts.",
            before="next_values = torch.cat([next_values[:-1], torch.zeros_like(values[:1])])",
        ),
        slip(
            "normalises the advantages",
            "The advantages were shifted and scaled to mean 0 and spread 1. That is the caller's "
            "choice; here the plain estimates are asked for.",
            answer="(answer - answer.mean()) / (answer.std(correction=0) + 1e-8)",
        ),
        slip(
            "normalises the advantages by n - 1",
            "The advantages were shifted and scaled to mean 0 and spread 1 (torch's std divides by "
            "n - 1, so a single one even gives nan). That is the caller's choice; here the plain "
            "estimates are asked for.",
            answer="(answer - answer.mean()) / (answer.std() + 1e-8)",
        ),
        slip(
            "terminated and truncated swapped",
            "Where the world ended the next value is counted, and where only the recording stopped "
            "it is not: the two are swapped. After which of them is the next state worth nothing?",
            goes_on="1.0 - truncated.to(values.dtype)",
            same_episode="goes_on * (1.0 - terminated.to(values.dtype))",
        ),
        slip(
            "next row instead of next_values, and nothing after the last",
            "V(s_{t+1}) is read from the row below, with 0 under the last one. Where an episode "
            "ends that row is the start of another one, and after the last row the world goes on; "
            "next_values holds the true successor.",
            before="next_values = torch.cat([values[1:], torch.zeros_like(values[:1])])",
        ),
        slip(
            "sum cut one step late",
            "The TD errors are right, but the sum is cut at the end that the row below has. "
            "ended[t] says that step t itself was the last: A_{t+1} is then of another episode.",
            decays="gamma * lam * torch.cat([same_episode[1:], torch.ones_like(values[:1])])",
        ),
        slip(
            "the two flags are mixed up",
            "The next value is left out at truncated steps, and the sum is cut at terminated ones "
            "only. After termination there is no next value, and either kind of end cuts the sum.",
            deltas="rewards + gamma * (1.0 - truncated.to(values.dtype)) * next_values - values",
            same_episode="goes_on",
        ),
        slip(
            "mask on the whole difference",
            "The factors of the next value multiply V(s_t) as well, so that it is discounted, and "
            "left out at an end. It is subtracted as it is, always.",
            deltas="rewards + gamma * same_episode * (next_values - values)",
        ),
        slip(
            "zero at truncated steps",
            "At a truncated step the whole advantage is 0. Only what comes after it belongs to "
            "another episode: its own delta stays.",
            deltas="(rewards + gamma * goes_on * next_values - values) * "
            "(1.0 - (truncated & ~terminated).to(values.dtype))",
        ),
        slip(
            "last row left at zero",
            "The last row is 0, and the rows before it lack its part. It has a delta as well: "
            "where does your loop begin?",
            deltas="""
                deltas = rewards + gamma * goes_on * next_values - values
                deltas = torch.cat([deltas[:-1], torch.zeros_like(deltas[:1])])
            """,
        ),
        slip(
            "sum starts at the next value",
            "The sum starts with the last next value as if it were an advantage. Nothing comes "
            "after the last row: start at 0, since its delta already holds that value.",
            following_1="next_values[-1]",
        ),
        slip(
            "an end only where both flags are set",
            "The sum is cut only at steps that are terminated and truncated at once. Either flag "
            "alone ends the episode.",
            same_episode="1.0 - (terminated & truncated).to(values.dtype)",
        ),
        slip(
            "value added instead of subtracted",
            "V(s_t) is added. An advantage says how much better than expected it went: subtract "
            "what was expected.",
            deltas="rewards + gamma * goes_on * next_values + values",
        ),
        slip(
            "forward in time, cut where it should be",
            "The sum runs from the first step to the last, so each step collects the TD errors of "
            "its own past. An advantage looks ahead.",
            decays="gamma * lam * torch.cat([torch.ones_like(values[:1]), same_episode[:-1]])",
            delta="zip(deltas, decays, strict=True)",
            answer="torch.stack(advantages)",
        ),
        slip(
            "along the environments instead of along time",
            "The sum runs over the columns, from one environment to the next. Time is the first "
            "axis: each column is a world of its own.",
            following_1="0.0",
            delta="zip(deltas.flip(1).unbind(1), decays.flip(1).unbind(1), strict=True)",
            answer="torch.stack(advantages[::-1], dim=1)",
        ),
        slip(
            "zero at the last step of an episode",
            "Where an episode ends the whole advantage is 0. Only what comes after it is cut off: "
            "the step's own delta stays.",
            deltas="(rewards + gamma * goes_on * next_values - values) * same_episode",
        ),
        slip(
            "zero at terminated steps",
            "At a terminated step the whole advantage is 0. Only the next value is left out there: "
            "the reward was paid, and V(s_t) was expected.",
            deltas="(rewards + gamma * next_values - values) * goes_on",
        ),
        slip(
            "lam in delta",
            "lam multiplies the next value inside delta. It weighs the later deltas only: a TD "
            "error has gamma alone.",
            deltas="rewards + gamma * lam * goes_on * next_values - values",
        ),
    ),
    parts=(
        Property("lam = 0", cases=lambda case: not _ends(case) and case["lam"] == 0),
        Property("lam = 1", cases=lambda case: not _ends(case) and case["lam"] == 1),
        Property("lam between", cases=lambda case: not _ends(case) and 0 < case["lam"] < 1),
        Property("an end by termination", cases=lambda case: _ends(case) == {"terminated"}),
        Property("an end by truncation", cases=lambda case: _ends(case) == {"truncated"}),
        Property("both kinds of end", 2, cases=lambda case: len(_ends(case)) == 2),
    ),
    accepted=(one_environment_at_a_time, in_numpy, as_a_double_sum),
)
