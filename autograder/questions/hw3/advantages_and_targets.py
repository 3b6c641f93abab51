"""hw3: what is trained on in a batch, with a gae that is none, so that leaving it out shows."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.advantages_and_targets import advantages_and_targets


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    settings = ("weights", "bias", "gamma", "lam")
    names = [name for name in case if name not in settings]
    tensors = {name: torch.tensor(case[name]) for name in names}
    batch = dict(tensors)
    layer = torch.nn.Linear(case["weights"].shape[1], 1, dtype=torch.float64)
    critic = torch.nn.Sequential(layer)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(case["weights"]))
        layer.bias.copy_(torch.tensor(case["bias"]))

    # No estimate of anything: any function of these that stops at an end will do.
    def gae(
        rewards: Any,
        values: Any,
        next_values: Any,
        terminated: Any,
        truncated: Any,
        gamma: Any,
        lam: Any,
    ) -> Any:
        given = {
            "rewards": rewards,
            "values": values,
            "next_values": next_values,
            "terminated": terminated,
            "truncated": truncated,
        }
        given = {name: torch.as_tensor(x) for name, x in given.items()}
        shape = tuple(given["rewards"].shape)
        for name, x in given.items():
            if x.ndim != 2 or x.shape != shape:
                beside = "" if name == "rewards" else f" beside rewards of {shape}"
                raise ValueError(
                    "gae takes tensors (T, N), all of one shape, and was given "
                    f"{name} of shape {tuple(x.shape)}{beside}"
                )
        over, cut = given["terminated"].bool(), given["truncated"].bool()
        terms = (given["rewards"] + gamma * given["next_values"] * ~over).double()  # (T, N)
        terms = terms - torch.sin(0.3 * given["values"]) - 0.5 * given["values"]
        later = torch.arange(len(terms))[None] - torch.arange(len(terms))[:, None]  # (T, T)
        episode = (over | cut).long().cumsum(0) - (over | cut).long()  # (T, N)
        within = (later >= 0)[..., None] & (episode[None] == episode[:, None])  # (T, T, N)
        weights = (gamma * lam * 0.9) ** later.clamp(min=0)
        return (weights[..., None] * within * terms).sum(1)

    def play() -> Any:
        made = function(critic, gae, batch, float(case["gamma"]), float(case["lam"]))
        if not isinstance(made, (tuple, list)) or len(made) != 2:
            several = f" of {len(made)}" if isinstance(made, (tuple, list)) else ""
            raise TypeError(
                "advantages and targets are wanted, and it returned a "
                f"{type(made).__name__}{several}"
            )
        seen: dict[str, Any] = {}
        for name, one in zip(("advantages", "targets"), made, strict=True):
            slope = 0.0
            if isinstance(one, torch.Tensor) and one.requires_grad:
                parameters = [layer.weight, layer.bias]
                slopes = torch.autograd.grad(
                    one.sum(), parameters, retain_graph=True, allow_unused=True
                )
                slope = float(sum(x.abs().sum() for x in slopes if x is not None))
            seen[name] = frozen(one)
            seen[f"gradient_through_{name}"] = slope
        return seen

    seen = play()
    kept = batch.keys() == tensors.keys() and all(
        batch[name] is x and untouched(x, case[name]) for name, x in tensors.items()
    )
    critic_kept = (
        untouched(layer.weight, case["weights"], graph=True)
        and untouched(layer.bias, case["bias"], graph=True)
        and critic.training
    )

    def in_a_row(table: Any) -> Any:
        return np.concatenate([np.asarray(x, float).reshape(-1) for x in table.values()])

    again = same_again(lambda: in_a_row(play()), in_a_row(seen))
    return {
        "advantages": seen.pop("advantages"),
        "targets": seen.pop("targets"),
        **seen,
        "batch_unchanged": kept,
        "critic_unchanged": critic_kept,
        "second_call_agrees": again,
    }


# A batch: a dict of ends, {(step, environment): which}, and all else around them.


def _batch(rng: np.random.Generator, shape: tuple[int, int], digits: int, **given: Any) -> Case:
    """A case with the ends {(t, n): "terminated" or "truncated"} and the environments `ended`.

    Where a step only resets stand numbers that nobody may use. digits: behind the point.
    """
    steps, envs = shape
    size = int(rng.integers(1, 4))
    terminated, truncated = np.zeros(shape, bool), np.zeros(shape, bool)
    for (t, n), which in given.get("ends", {}).items():
        (terminated if which == "terminated" else truncated)[t, n] = True
    ends = terminated | truncated
    before = np.zeros((1, envs), bool)
    before[0, list(given.get("ended", ()))] = True
    resets = np.concatenate([before, ends[:-1]])
    assert not (ends & resets).any()
    shown = rng.normal(size=(steps + 1, envs, size)).round(digits)
    led_to = shown[1:].copy()
    lost = np.concatenate([resets[1:], np.zeros((1, envs), bool)])[..., None]
    led_to = np.where(lost, rng.normal(size=led_to.shape).round(digits), led_to)
    noise = 3 * rng.normal(size=shape).round(digits)
    return {
        "observations": np.where(resets[..., None], 3 * shown[:-1], shown[:-1]),
        "actions": rng.integers(0, 3, size=shape),
        "log_probs": -rng.uniform(0.2, 2.0, size=shape).round(digits),
        "rewards": np.where(resets, noise, rng.normal(size=shape).round(digits)),
        "next_observations": led_to,
        "terminated": terminated,
        "truncated": truncated,
        "valid": ~resets,
        "last_observations": led_to[-1],
        "last_ended": ends[-1],
        "weights": rng.uniform(0.5, 1.5, size=(1, size)).round(digits),
        "bias": rng.uniform(0.2, 0.8, size=1).round(digits),
        "gamma": float(rng.uniform(0.85, 0.98).__round__(max(digits, 2))),
        "lam": float(rng.uniform(0.5, 0.8).__round__(max(digits, 2))),
    }


def public_cases() -> list[Case]:
    rng = np.random.default_rng(3)
    column = {(1, 0): "truncated", (3, 0): "terminated", (6, 0): "truncated"}
    many = {**column, (2, 1): "terminated", (4, 1): "truncated", (3, 2): "truncated"}
    return [
        _batch(rng, (3, 2), 1),
        _batch(rng, (4, 1), 1),
        _batch(rng, (1, 2), 1),
        _batch(rng, (5, 2), 1, ends={(1, 0): "terminated", (4, 1): "terminated"}),
        _batch(rng, (5, 2), 1, ends={(2, 0): "truncated", (4, 1): "truncated"}),
        _batch(rng, (7, 3), 1, ends=many, ended=[1]),
    ]


def _ends(case: Arrays) -> set[str]:
    return {kind for kind in ("terminated", "truncated") if case[kind].any()}


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    steps = [int(n) for n in rng.permutation(np.arange(7, 13))]
    envs = [int(n) for n in rng.integers(2, 5, size=5)]

    def early(length: int) -> int:
        return int(rng.integers(1, length - 4))

    def of(kind: str, which: int) -> dict[tuple[int, int], str]:
        length, last = steps[which], envs[which] - 1
        return {(early(length), 0): kind, (early(length), 1): kind, (length - 1, last): kind}

    one, other = (str(kind) for kind in rng.permutation(["terminated", "truncated"]))
    at, length = early(steps[2]), steps[2]
    both = {(at, 0): one, (at + 2, 0): other, (early(length), 1): "truncated"}
    both |= {(early(length), 2): "terminated", (length - 1, 2): other}
    return [
        _batch(rng, (steps[3], envs[3]), 12),
        _batch(rng, (int(rng.integers(3, 7)), 1), 12),
        _batch(rng, (1, int(rng.integers(2, 6))), 12),
        _batch(rng, (steps[0], envs[0]), 12, ends=of("terminated", 0)),
        _batch(rng, (steps[1], envs[1]), 12, ends=of("truncated", 1)),
        _batch(rng, (length, 4), 12, ends=both, ended=[1, 3]),
        _batch(rng, (steps[4], envs[4] + 1), 12, ends=of("truncated", 4), ended=[0, 2]),
    ]


# Right by other means.


def all_states_at_once(critic: Any, gae: Any, batch: Any, gamma: float, lam: float) -> Any:
    steps, envs, size = batch["observations"].shape
    with torch.no_grad():
        values = critic(batch["observations"].reshape(-1, size)).view(steps, envs)
        next_values = critic(batch["next_observations"].reshape(-1, size)).reshape(steps, envs)
    ends = batch["terminated"], batch["truncated"]
    advantages = gae(batch["rewards"], values, next_values, *ends, gamma, lam)
    rows = batch["valid"].flatten().nonzero().squeeze(1)
    advantages, values = advantages.flatten()[rows], values.flatten()[rows]
    return advantages, advantages + values


def one_environment_at_a_time(critic: Any, gae: Any, batch: Any, gamma: float, lam: float) -> Any:
    names = "rewards", "terminated", "truncated"
    advantages = torch.zeros_like(batch["rewards"])
    values = critic(batch["observations"])[..., 0].detach()
    for n in range(values.shape[1]):
        rows = torch.arange(len(values))[batch["valid"][:, n]]
        rewards, over, cut = (batch[name][rows, n][:, None] for name in names)
        following = critic(batch["next_observations"][rows, n]).detach()  # (M, 1)
        column = gae(rewards, values[rows, n][:, None], following, over, cut, gamma, lam)
        advantages[rows, n] = column[:, 0]
    keep = batch["valid"]
    return [advantages[keep], (advantages + values)[keep]]


def cutting_at_resets_too(critic: Any, gae: Any, batch: Any, gamma: float, lam: float) -> Any:
    valid = batch["valid"]
    values = critic(batch["observations"]).squeeze(2).detach() * valid
    next_values = critic(batch["next_observations"]).squeeze(2).detach() * valid
    estimates = gae(
        rewards=batch["rewards"] * valid,
        values=values,
        next_values=next_values,
        terminated=batch["terminated"].double(),
        truncated=(batch["truncated"] | ~valid).double(),
        gamma=gamma,
        lam=lam,
    )
    return torch.masked_select(estimates, valid), torch.masked_select(estimates + values, valid)


def the_value_in_the_reward(critic: Any, gae: Any, batch: Any, gamma: float, lam: float) -> Any:
    """At a truncated step, as some libraries do: then every end is a terminated one."""
    values = critic(batch["observations"]).squeeze(-1).detach()
    next_values = critic(batch["next_observations"]).squeeze(-1).detach()
    rewards, over, cut = (batch[name] for name in ("rewards", "terminated", "truncated"))
    rewards = rewards + gamma * next_values * (cut & ~over)
    no = torch.zeros_like(cut)
    advantages = gae(rewards, values, next_values, over | cut, no, gamma, lam)
    return advantages[batch["valid"]], (advantages + values)[batch["valid"]]


def row_by_row(critic: Any, gae: Any, batch: Any, gamma: float, lam: float) -> Any:
    with torch.no_grad():
        now, then = (
            torch.stack([critic(row)[:, 0] for row in batch[name]])
            for name in ("observations", "next_observations")
        )
    made = gae(batch["rewards"], now, then, batch["terminated"], batch["truncated"], gamma, lam)
    advantages, targets = [], []
    for t in range(len(made)):
        for n in range(made.shape[1]):
            if batch["valid"][t, n]:
                advantages.append(made[t, n].item())
                targets.append((made[t, n] + now[t, n]).item())
    return np.array(advantages), torch.tensor(targets)


# What students write instead.

slip = partial(slip_of, advantages_and_targets, see="08_advantages#C72")
CALL = "gae(rewards, values, next_values, {}, {}, gamma, lam)"

CHECK = Check(
    title="Advantages and targets of a batch",
    reference=advantages_and_targets,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "changes the batch",
            "The numbers are right, but the batch was written into on the way. Others read it "
            "after you: change a copy.",
            before="batch['rewards'][~batch['valid']] = 0.0",
        ),
        slip(
            "freezes the critic",
            "The numbers are right, but the critic's parameters no longer ask for a gradient, and "
            "it is to be trained next. Leave it as it came.",
            before="""
                for parameter in critic.parameters():
                    parameter.requires_grad_(False)
            """,
        ),
        slip(
            "values in the graph",
            "The numbers are right, but gradients flow through them into the critic. Advantages "
            "and targets are fixed numbers while it is trained: what has to be cut off?",
            values='critic(batch["observations"]).squeeze(-1)',
            next_values='critic(batch["next_observations"]).squeeze(-1)',
        ),
        slip(
            "targets in the graph",
            "The numbers are right, but gradients flow through the targets into the critic, so "
            "that it chases a target that moves with it. A target is a fixed number.",
            targets='advantages + critic(batch["observations"]).squeeze(-1)',
        ),
        slip(
            "next values in the graph",
            "The numbers are right, but gradients flow through the values of the next states into "
            "the critic. While it is trained they are fixed numbers, as all others.",
            next_values='critic(batch["next_observations"]).squeeze(-1)',
        ),
        slip(
            "advantages as targets",
            "The targets are the advantages. The critic says how much is to come; an advantage "
            "says how much better than that it went.",
            targets="advantages",
        ),
        slip(
            "targets one step ahead",
            "The targets are the reward plus the discounted value of the next state. Asked for is "
            "the estimate that is in the advantage, put back on its baseline.",
            targets="rewards + gamma * next_values * ~terminated",
        ),
        slip(
            "targets on the next values",
            "The values of the next states are added to the advantages. Which value was taken off "
            "when the advantage was made?",
            targets="advantages + next_values",
        ),
        slip(
            "values subtracted in the targets",
            "The targets are advantages less values. In the advantage the value is already "
            "subtracted; what brings back the whole?",
            targets="advantages - values",
        ),
        slip(
            "targets with lam = 1",
            "The targets are made with lam = 1, from advantages of their own. Asked for are those "
            "that were just worked out, put back on V(s).",
            targets="gae(rewards, values, next_values, terminated, truncated, gamma, 1.0) + values",
        ),
        slip(
            "targets cut off at 0",
            "Targets below 0 came out as 0. Returns may be negative, and so may values.",
            targets="(advantages + values).clamp(min=0.0)",
        ),
        slip(
            "all steps, valid or not",
            "Steps that only reset are in the answer too. Nobody chose an action there: nothing "
            "can be learnt from them.",
            answer="advantages.flatten(), targets.flatten()",
        ),
        slip(
            "zeros where nothing is valid",
            "Steps that only reset stand in the answer as zeros. They would still count in every "
            "mean: only the M valid steps are asked for.",
            answer="(advantages * valid).flatten(), (targets * valid).flatten()",
        ),
        slip(
            "the steps that only reset",
            "The answer holds the steps that are not valid, and only those. Which way round is "
            "the mask?",
            answer="advantages[~valid], targets[~valid]",
        ),
        slip(
            "last steps of episodes left out",
            "The steps that end an episode are missing. They were played and paid like all "
            "others; it is the step after an end that does not count.",
            valid='batch["valid"] & ~(terminated | truncated)',
        ),
        slip(
            "truncated steps left out",
            "The truncated steps are missing. They were played and paid like all others, and the "
            "value of the next state tells what would have come.",
            valid='batch["valid"] & ~truncated',
        ),
        slip(
            "environment by environment",
            "The answer goes through one environment after the other. Asked for is the order of "
            "time, and the batch's other entries come in that order when the same mask is used.",
            answer="advantages.T[valid.T], targets.T[valid.T]",
        ),
        slip(
            "still (T, N)",
            "All steps came back as (T, N). Asked for are the valid ones alone, in one row.",
            answer="advantages, targets",
        ),
        slip(
            "next values from the row below",
            "The value of the next state is read from the row below (and from last_observations "
            "under the last one). Below an end stands a step that only resets, whose numbers mean "
            "nothing: next_observations holds where the step led.",
            next_values='torch.cat([values[1:], critic(batch["last_observations"]).detach().T])',
        ),
        slip(
            "next values from the row below, and nothing after the last",
            "The value of the next state is read from the row below, with 0 under the last one. "
            "Below an end stands a step that only resets, and after the last row the world goes "
            "on; next_observations holds where each step led.",
            next_values="torch.cat([values[1:], torch.zeros_like(values[:1])])",
        ),
        slip(
            "next values from the row above",
            "The value of the next state is read from the row above. Time runs downwards, and "
            "next_observations holds where each step led.",
            next_values="torch.cat([values[:1], values[:-1]])",
        ),
        slip(
            "no value after the last row",
            "After the last row nothing is expected. That the batch stops does not end an "
            "episode: unless it terminated, its next state is worth something.",
            next_values="""
                next_values = critic(batch["next_observations"]).squeeze(-1).detach()
                next_values = torch.cat([next_values[:-1], torch.zeros_like(next_values[:1])])
            """,
        ),
        slip(
            "values of the next observations",
            "The critic is asked about next_observations both times. What was expected before the "
            "step is its value of `observations`.",
            values='critic(batch["next_observations"]).squeeze(-1).detach()',
        ),
        slip(
            "next values of the same observations",
            "The critic is asked about `observations` both times. Where a step led stands in "
            "next_observations.",
            next_values="values",
        ),
        slip(
            "truncation told as termination",
            "At truncated steps the value of the next state does not count, as if they had "
            "terminated. Only the recording stopped there: keep the two apart.",
            advantages=CALL.format("terminated | truncated", "truncated"),
        ),
        slip(
            "termination told as truncation",
            "At terminated steps the value of the next state counts, as if they were truncated. "
            "Nothing is paid any more there: keep the two apart.",
            advantages=CALL.format("torch.zeros_like(terminated)", "terminated | truncated"),
        ),
        slip(
            "terminated and truncated swapped",
            "gae is given `truncated` in the place of `terminated`, and the other way round. In "
            "which order does it take them?",
            advantages=CALL.format("truncated", "terminated"),
        ),
        slip(
            "gae is told of no end",
            "gae is told of no end at all, so that its sum runs on over the resets. It needs "
            "`terminated` and `truncated` as they are in the batch.",
            advantages=CALL.format("torch.zeros_like(terminated)", "torch.zeros_like(terminated)"),
        ),
        slip(
            "gae is not told of truncation",
            "gae is told of terminated steps alone, so that its sum runs on from a truncated step "
            "into the reset. A truncated episode is over as well.",
            advantages=CALL.format("terminated", "torch.zeros_like(truncated)"),
        ),
        slip(
            "gae is not told of termination",
            "gae is told of truncated steps alone. After a terminated one nothing more is paid, "
            "and the next row is not its future.",
            advantages=CALL.format("torch.zeros_like(terminated)", "truncated"),
        ),
        slip(
            "cut at the reset instead of the end",
            "The steps that only reset are given to gae as truncated, instead of those that are. "
            "The sum then still runs from a truncated step into the reset: where has it to stop?",
            advantages=CALL.format("terminated", "~valid"),
        ),
        slip(
            "valid as truncated",
            "gae is given `valid` as its `truncated`, so that nearly every step counts as cut off. "
            "They say different things: which steps ended, and which ones were steps at all?",
            advantages=CALL.format("terminated", "valid"),
        ),
        slip(
            "ends one row late",
            "gae is told of each end one row below it. In this batch terminated[t] and "
            "truncated[t] say what step t itself was.",
            advantages=CALL.format(
                "torch.cat([torch.zeros_like(terminated[:1]), terminated[:-1]])",
                "torch.cat([torch.zeros_like(truncated[:1]), truncated[:-1]])",
            ),
        ),
        slip(
            "next values counted twice at truncation",
            "At truncated steps the value of the next state is in the reward already, and gae "
            "adds it once more. gae needs to be told what happened and no more.",
            rewards='batch["rewards"] + gamma * batch["truncated"] * '
            'critic(batch["next_observations"]).squeeze(-1).detach()',
        ),
        slip(
            "all valid steps in one column",
            "The valid steps were put under one another before gae saw them, so that a step is "
            "followed by one of another environment. gae takes (T, N); pick the valid ones after "
            "it.",
            advantages="""
                columns = rewards, values, next_values, terminated, truncated
                columns = [x[valid][:, None] for x in columns]
                advantages = gae(*columns, gamma, lam)[:, 0]
            """,
            targets="advantages + values[valid]",
            answer="advantages, targets",
        ),
        slip(
            "all environments in one column",
            "The environments were put under one another before gae saw them, so that the end of "
            "one is followed by the start of the next. gae takes (T, N).",
            advantages="""
                columns = rewards, values, next_values, terminated, truncated
                columns = [x.T.reshape(-1, 1) for x in columns]
                advantages = gae(*columns, gamma, lam).view(values.T.shape).T
            """,
        ),
        slip(
            "time and environments exchanged",
            "gae was given (N, T). Its first axis is time.",
            advantages="gae(rewards.T, values.T, next_values.T, terminated.T, truncated.T, "
            "gamma, lam).T",
        ),
        slip(
            "gamma and lam exchanged",
            "gae was given `lam` in the place of `gamma`, and the other way round. In which order "
            "does it take them?",
            advantages="gae(rewards, values, next_values, terminated, truncated, lam, gamma)",
        ),
        slip(
            "own gae instead of the given one",
            "The `gae` that came in has no effect: the answer is made by another one. Call the one "
            "you are given; the check brings its own, which is none that you know.",
            advantages="""
                goes_on = 1.0 - terminated.to(values.dtype)
                same_episode = goes_on * (1.0 - truncated.to(values.dtype))
                advantages = rewards + gamma * goes_on * next_values - values
                for t in reversed(range(len(values) - 1)):
                    advantages[t] += gamma * lam * same_episode[t] * advantages[t + 1]
            """,
        ),
        slip(
            "normalises the advantages",
            "The advantages were shifted and scaled to mean 0 and spread 1. That is done later, "
            "for each minibatch; here they are asked for as they are.",
            answer="""
                kept = advantages[valid]
                answer = (kept - kept.mean()) / (kept.std() + 1e-8), targets[valid]
            """,
        ),
        slip(
            "normalises the advantages by n",
            "The advantages were shifted and scaled to mean 0 and spread 1. That is done later, "
            "for each minibatch; here they are asked for as they are.",
            answer="""
                kept = advantages[valid]
                kept = (kept - kept.mean()) / (kept.std(correction=0) + 1e-8)
                answer = kept, targets[valid]
            """,
        ),
        slip(
            "normalises the advantages of all steps, valid or not",
            "The advantages were shifted and scaled to mean 0 and spread 1, those of steps that "
            "only reset among them. Here they are asked for as they are.",
            advantages="""
                raw = gae(rewards, values, next_values, terminated, truncated, gamma, lam)
                advantages = raw
            """,
            answer="((raw - raw.mean()) / (raw.std() + 1e-8))[valid], targets[valid]",
        ),
        slip(
            "targets from normalised advantages",
            "The advantages were shifted and scaled to mean 0 and spread 1, and the targets made "
            "from those. The critic would learn returns that nobody got.",
            answer="""
                kept = advantages[valid]
                kept = (kept - kept.mean()) / (kept.std() + 1e-8)
                answer = kept, kept + values[valid]
            """,
        ),
        slip(
            "targets broadcast to a square",
            "The targets are (M, M): a row of advantages and a column of values were added, each "
            "to each. The critic's last axis has length 1: where does it go?",
            answer="advantages[valid], advantages[valid] + values[valid][:, None]",
        ),
        slip(
            "targets as a column",
            "The targets are (M, 1), as the network gives its values. Asked for is (M,).",
            answer="advantages[valid], targets[valid][:, None]",
        ),
        slip(
            "targets first",
            "The targets came first. Asked for are advantages and targets, in this order.",
            answer="targets[valid], advantages[valid]",
        ),
    ),
    parts=(
        Property(
            "advantages without an end",
            cases=lambda case: not _ends(case),
            observations=("advantages",),
        ),
        Property(
            "an end by termination",
            cases=lambda case: _ends(case) == {"terminated"},
            observations=("advantages",),
        ),
        Property(
            "an end by truncation",
            cases=lambda case: _ends(case) == {"truncated"},
            observations=("advantages",),
        ),
        Property(
            "both kinds of end",
            cases=lambda case: len(_ends(case)) == 2,
            observations=("advantages",),
        ),
        Property("targets", 2, observations=("targets",)),
        Property(
            "no gradient into the critic",
            beside=True,
            observations=("gradient_through_advantages", "gradient_through_targets"),
        ),
    ),
    accepted=(
        all_states_at_once,
        one_environment_at_a_time,
        cutting_at_resets_too,
        the_value_in_the_reward,
        row_by_row,
    ),
)
