"""hw3: steps from environments that act side by side, on a tape of which every number is known."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.collect_steps import collect_steps


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    names = ("observations", "actions", "log_probs", "rewards", "next_observations")
    flags = ("terminated", "truncated", "valid")
    after = ("last_observations", "last_ended")
    steps, several = int(case["steps"]), case["weights"].ndim == 2
    observations, ended = torch.tensor(case["observations"]), torch.tensor(case["ended"])
    ends = case["terminated"] | case["truncated"]
    only_resets = np.concatenate([case["ended"][None], ends[:-1]])  # (T, N)

    # They play what is on the tape, whatever is done, and write down what they were given.
    class Environments:
        def __init__(self) -> None:
            self.num_envs = len(ended)
            self.stepped, self.resets = 0, 0
            self.given: list[Any] = []
            self.array = case["next_observations"][0].copy()

        def show(self, shown: Any) -> Any:
            if not case["one_array"]:
                return shown.copy()
            self.array[:] = shown  # the same array each time
            return self.array

        def reset(self, **_: Any) -> Any:
            self.resets += 1
            return self.show(case["starts"].astype(self.array.dtype)), {}

        def step(self, given: Any) -> Any:
            wanted = case["noise"].shape[1:]
            if not isinstance(given, np.ndarray):
                raise TypeError(
                    f"envs.step takes a NumPy array and was given a {type(given).__name__}"
                )
            if given.shape != wanted:
                raise ValueError(
                    f"envs.step takes shape {wanted} for {self.num_envs} environments and was "
                    f"given {given.shape}"
                )
            if given.dtype.kind not in ("f" if several else "iu"):
                kind = "floating-point" if several else "whole"
                raise TypeError(f"envs.step takes {kind} numbers here and was given {given.dtype}")
            ignored = only_resets[self.stepped] if self.stepped < steps else ended.numpy() & False
            self.given.append(np.where(ignored, 0.0, given.T).T)
            k = self.stepped % steps
            self.stepped += 1
            shown = self.show(case["next_observations"][k])
            flags_now = case["terminated"][k].copy(), case["truncated"][k].copy()
            return shown, case["rewards"][k].copy(), *flags_now, {}

    # Its draws are on the tape as well: whoever asks it twice a step gets other ones.
    class Act:
        def __init__(self) -> None:
            self.asked = 0

        def __call__(self, seen: Any) -> Any:
            if not isinstance(seen, torch.Tensor):
                raise TypeError(f"act takes a tensor and was given a {type(seen).__name__}")
            if seen.shape != observations.shape:
                raise ValueError(
                    "act takes the observations of all environments, "
                    f"{tuple(observations.shape)}, and was given shape {tuple(seen.shape)}"
                )
            if seen.dtype != observations.dtype:
                raise TypeError(
                    f"act takes {observations.dtype}, the type of the first observations, as a "
                    f"network takes its own and no other, and was given {seen.dtype}"
                )
            noise = torch.tensor(case["noise"][self.asked % steps])
            self.asked += 1
            scores = seen @ torch.tensor(case["weights"])
            if several:
                actions = scores + noise
                sent = actions.clamp(float(case["low"]), float(case["high"]))
                return actions, sent, -(noise**2).sum(-1) - 0.1 * scores[:, 0]
            actions = (4 * scores + noise).round().long() % int(case["choices"])
            return actions, actions + int(case["first"]), -1.0 - 0.5 * actions - 0.1 * scores

    def numbers(name: str, value: Any) -> Any:
        value = frozen(value).astype(float)
        if name not in ("valid", *after) and value.shape[:2] == only_resets.shape:
            value[only_resets] = 0.0  # what is no step may be anything
        return value

    def play() -> Any:
        envs = Environments()
        batch = function(envs, Act(), observations, ended, steps)
        envs.array[:] = 99.0  # as if somebody stepped on
        if not isinstance(batch, dict):
            raise TypeError(
                f"a dict of tensors is wanted, and it returned a {type(batch).__name__}"
            )
        there = [name for name in (*names, *flags, *after) if name in batch]
        for name in there:
            if not isinstance(batch[name], torch.Tensor):
                raise TypeError(
                    f"`{name}` should be a tensor and is a {type(batch[name]).__name__}"
                )
        seen = {name: numbers(name, batch[name]) for name in there}
        seen["given_to_envs"] = np.stack(envs.given) if envs.given else np.zeros((0, *ended.shape))
        seen["times_reset"] = float(envs.resets)
        if case["ended"].any():  # types are the same everywhere: some cases are enough
            for name in (*flags, "last_ended"):
                is_bool = name not in batch or batch[name].dtype == torch.bool
                seen[f"{name}_is_bool"] = float(is_bool)
            whole = "actions" not in batch or not batch["actions"].dtype.is_floating_point
            seen["actions_keep_their_type"] = float(several or whole)
        return seen

    seen = play()
    kept = untouched(observations, case["observations"]) and untouched(ended, case["ended"])

    def in_a_row(table: Any) -> Any:
        return np.concatenate([np.asarray(x, float).reshape(-1) for x in table.values()])

    again = same_again(lambda: in_a_row(play()), in_a_row(seen))
    return {**seen, "inputs_unchanged": kept, "second_call_agrees": again}


# What happens: a dict of ends, {(step, environment): which}, and all else around them.


def _flags(steps: int, ended: Any, ends: dict[tuple[int, int], str]) -> dict[str, Any]:
    """terminated, truncated (T, N), and where a step only resets: no end may stand there."""
    terminated, truncated = (np.zeros((steps, len(ended)), dtype=bool) for _ in range(2))
    for (t, n), which in ends.items():
        terminated[t, n], truncated[t, n] = which != "truncated", which != "terminated"
    resets = np.concatenate([ended[None], (terminated | truncated)[:-1]])
    assert not ((terminated | truncated) & resets).any()
    return {"terminated": terminated, "truncated": truncated, "resets": resets}


def _told(
    steps: int, ended: list[bool], ends: dict[tuple[int, int], str], several: int = 0
) -> Case:
    """A case to read: an observation is (10 n + episode, steps in it), a reward its last digit."""
    flags = _flags(steps, np.array(ended), ends)
    envs, resets = len(ended), flags.pop("resets")
    shown = np.zeros((steps + 1, envs, 2))
    shown[0] = [[10.0 * n, 4.0 if ended[n] else n] for n in range(envs)]
    for t in range(steps):
        shown[t + 1] = np.where(resets[t][:, None], shown[t] + [1, 0], shown[t] + [0, 1])
        shown[t + 1, resets[t], 1] = 0.0
    draws = (3 * np.arange(steps)[:, None] + 2 * np.arange(envs)) % 5
    act: Case = {"weights": np.array([0.25, 0.5]), "noise": draws, "choices": 4, "first": 10}
    if several:
        weights = np.array([[0.05, 0.1], [-0.2, 0.1]])[:, :several]
        noise = 0.3 * (draws[..., None] - 2.0 * np.arange(1, several + 1))
        act = {"weights": weights, "noise": noise, "low": -0.8, "high": 0.8}
    return {
        "observations": shown[0],
        "ended": np.array(ended),
        "steps": steps,
        "next_observations": shown[1:],
        "rewards": np.where(resets, 0.0, 1.0 + shown[:-1, :, 1] + 0.1 * np.arange(envs)),
        **flags,
        "starts": np.stack([10.0 * np.arange(envs) + 9, np.zeros(envs)], axis=1),
        **act,
        "one_array": False,
    }


def _single(case: Case) -> Case:
    """The same from environments in single precision."""
    return {**case, "next_observations": case["next_observations"].astype(np.float32)}


def public_cases() -> list[Case]:
    one_column = {(1, 0): "terminated", (3, 0): "truncated"}
    many = {**one_column, (2, 1): "truncated", (5, 2): "terminated", (5, 1): "truncated"}
    carried = {(1, 0): "truncated", (4, 0): "terminated", (2, 1): "terminated"}
    return [
        _told(3, [False, False], {}),
        _single(_told(5, [False, False], {(3, 0): "truncated", (1, 1): "terminated"})),
        _told(6, [False, False, False], many),
        _told(5, [False, True], carried, several=2),
        {**_told(4, [False, False, False], {(1, 1): "terminated"}), "one_array": True},
        _told(1, [False, True], {(0, 0): "truncated"}),
    ]


def _drawn(
    rng: np.random.Generator,
    steps: int,
    ended: tuple[int, ...],
    ends: dict[tuple[int, int], str],
    several: int = 0,
) -> Case:
    """A case of numbers without a plan, its environments in any order."""
    envs, size = len(ended), int(rng.integers(1, 5))
    order = rng.permutation(envs)
    flags = _flags(steps, np.array(ended, bool), ends)
    flags = {name: array[:, order] for name, array in flags.items()}
    shown = rng.integers(-8, 9, size=(steps + 2, envs, size)) / 2
    shown[1:] += shown[1:] == shown[:-1]  # an observation is never the one before it
    rewards = np.where(flags.pop("resets"), 0.0, rng.normal(size=(steps, envs)))
    if several:
        act: Case = {
            "weights": rng.uniform(0.2, 0.6, size=(size, several)),
            "noise": rng.normal(size=(steps, envs, several)),
            "low": -float(rng.uniform(0.3, 0.6)),
            "high": float(rng.uniform(0.3, 0.6)),
        }
    else:
        act = {
            "weights": rng.integers(1, 4, size=size) / 2,
            "noise": rng.integers(0, 20, size=(steps, envs)),
            "choices": int(rng.integers(3, 7)),
            "first": int(rng.integers(1, 6)),
        }
    return {
        "observations": shown[0],
        "ended": np.array(ended, bool)[order],
        "steps": steps,
        "next_observations": shown[1:-1],
        "rewards": rewards,
        **flags,
        "starts": shown[-1],
        **act,
        "one_array": False,
    }


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    kinds = ["terminated", "truncated"]
    a, b, c, d, e = (int(n) for n in rng.integers(7, 12, size=5))  # steps

    def early(steps: int) -> int:
        return int(rng.integers(1, steps - 4))  # with room for the reset and another end

    one, other = (str(kind) for kind in rng.permutation(kinds))
    at = early(d)
    both = {(at, 0): one, (at + 2, 0): other, (early(d), 1): other, (d - 1, 2): one}
    carried = {(early(e), 0): one, (early(e), 1): other, (e - 1, 2): other}
    return [
        _drawn(rng, int(rng.integers(4, 7)), (0, 0), {}),
        _drawn(rng, a, (0, 0), {(early(a), 0): "terminated"}),
        _single(_drawn(rng, b, (0, 0, 0), {(early(b), 0): "truncated"})),
        _drawn(rng, d, (0, 0, 0, 0), {**both, (early(d), 3): "both"}),
        _single(_drawn(rng, e, (1, 0, 1, 0), carried, several=int(rng.integers(1, 4)))),
        _drawn(rng, d + 1, (0, 1, 0), {(d, 0): one, (early(d), 1): other}),
        _drawn(rng, int(rng.integers(4, 7)), (0, 0, 0), {}, several=2),
        {**_drawn(rng, c, (0, 0, 0), {(early(c), 0): one}), "one_array": True},
        _drawn(rng, 1, (0, 1, 0), {(0, 0): other}),
    ]


# Right by other means.


def into_memory_of_its_own(envs: Any, act: Any, observations: Any, ended: Any, steps: int) -> Any:
    envs_side, size = observations.shape
    kept = observations.new_zeros(steps + 1, envs_side, size)
    rewards, log_probs = torch.zeros(2, steps, envs_side)
    terminated, truncated, valid = torch.zeros(3, steps, envs_side, dtype=torch.bool)
    actions = None
    kept[0] = observations
    for t in range(steps):
        taken, env_actions, log_probs[t] = act(kept[t])
        if actions is None:
            actions = torch.zeros(steps, *taken.shape, dtype=taken.dtype)
        actions[t] = taken
        shown, paid, over, cut, _ = envs.step(env_actions.cpu().numpy())
        kept[t + 1] = torch.as_tensor(shown)
        rewards[t], terminated[t], truncated[t] = map(torch.as_tensor, (paid, over, cut))
        valid[t] = torch.logical_not(terminated[t - 1] | truncated[t - 1] if t else ended)
    return {
        "observations": kept[:-1],
        "next_observations": kept[1:],
        "actions": actions,
        "log_probs": log_probs,
        "rewards": rewards,
        "terminated": terminated,
        "truncated": truncated,
        "valid": valid,
        "last_observations": kept[-1],
        "last_ended": terminated[-1] | truncated[-1],
    }


def lists_of_arrays(envs: Any, act: Any, observations: Any, ended: Any, steps: int) -> Any:
    kept: dict[str, list[Any]] = {}
    at, over_before = observations.numpy().copy(), ended.numpy()
    for _ in range(steps):
        actions, sent, log_probs = act(torch.from_numpy(at))
        shown, paid, over, cut, _ = envs.step(sent.numpy().copy())
        row = {
            "observations": at,
            "actions": actions.numpy(),
            "log_probs": log_probs.numpy(),
            "rewards": paid,
            "next_observations": np.array(shown, dtype=at.dtype),
            "terminated": over,
            "truncated": cut,
            "valid": np.logical_not(over_before),
        }
        for name, value in row.items():
            kept.setdefault(name, []).append(value)
        at, over_before = row["next_observations"], np.logical_or(over, cut)
    made = {name: torch.from_numpy(np.stack(column)) for name, column in kept.items()}
    after = torch.from_numpy(at), torch.from_numpy(over_before)
    return {**made, "last_observations": after[0], "last_ended": after[1]}


def nothing_where_it_only_resets(
    envs: Any, act: Any, observations: Any, ended: Any, steps: int
) -> dict[str, Tensor]:
    batch = collect_steps(envs, act, observations, ended, steps)
    for name in set(batch) - {"valid", "last_observations", "last_ended"}:
        batch[name][~batch["valid"]] = 0
    return {**batch, "steps": torch.tensor(steps)}


def one_column_at_a_time(envs: Any, act: Any, observations: Any, ended: Any, steps: int) -> Any:
    past: list[Any] = []
    with torch.no_grad():
        now = observations.clone()
        for _ in range(steps):
            actions, sent, log_probs = act(now)
            told = envs.step(sent.detach().numpy())
            after, paid = (torch.from_numpy(x.astype(np.float64)) for x in told[:2])
            past.append((now, actions, log_probs, paid, after, told[2].tolist(), told[3].tolist()))
            now = after.clone()
    names = ["observations", "actions", "log_probs", "rewards", "next_observations"]
    made = {name: torch.stack([row[i] for row in past]) for i, name in enumerate(names)}
    made |= {
        n: torch.tensor([r[i] for r in past]) for n, i in (("terminated", 5), ("truncated", 6))
    }
    made["valid"] = torch.ones_like(made["terminated"])
    for n in range(len(ended)):
        only_resets = bool(ended[n])
        for t in range(steps):
            made["valid"][t, n] = not only_resets
            only_resets = bool(made["terminated"][t, n] or made["truncated"][t, n])
    last = made["terminated"][-1] + made["truncated"][-1]
    return {**made, "last_observations": now, "last_ended": last}


# What students write instead.

slip = partial(slip_of, collect_steps, see="08_advantages#C72")


def _stored(**others: str) -> str:
    """A row with other things in it."""
    names = "observations, actions, log_probs, rewards, next_observations, terminated, truncated"
    row = {name: name for name in (*names.split(", "), "valid")} | others
    return "{" + ", ".join(f"{name!r}: {value}" for name, value in row.items()) + "}"


CHECK = Check(
    title="Steps from environments side by side",
    reference=collect_steps,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "changes its input",
            "What is returned is right, but the observations that came in were overwritten on the "
            "way. The caller may need them: write to memory of your own.",
            row=_stored(observations="observations.clone()", next_observations="next_observations"),
            observations="observations.copy_(next_observations)",
        ),
        slip(
            "trains on the step that only resets",
            "`valid` is True everywhere. After an end comes a step in which the environment "
            "ignored the action and only began anew: which row is that?",
            valid="torch.ones_like(ended)",
        ),
        slip(
            "the last step of an episode called invalid",
            "`valid` is False on the step that ends an episode. That one was played and paid as "
            "any other; it is the step after it that only resets.",
            valid="~(terminated | truncated)",
        ),
        slip(
            "the last step and the one after called invalid",
            "`valid` is False on two steps for each end. The step that ends an episode was played "
            "and paid; only the one after it is no step of anybody's.",
            valid="~(ended | terminated | truncated)",
        ),
        slip(
            "valid turned round",
            "`valid` is True where a step only resets, and False where something was learnt. Which "
            "way round does the word say it?",
            valid="ended",
        ),
        slip(
            "ended not carried in",
            "`ended` has no effect. Where an episode ended in the step before the first, the first "
            "step of this call only resets.",
            before="ended = torch.zeros_like(ended)",
        ),
        slip(
            "first row taken for a reset",
            "`valid` is False in the whole first row. Only those environments begin with a reset "
            "whose `ended` says so.",
            before="ended = torch.ones_like(ended)",
        ),
        slip(
            "last_ended forgotten",
            "`last_ended` is False throughout. An episode that ends in the last row is followed by "
            "a reset as well, and the next call has to know.",
            answer='{**batch, "last_observations": observations, '
            '"last_ended": torch.zeros_like(ended)}',
        ),
        slip(
            "last_ended as it came in",
            "`last_ended` is the `ended` that came in. The next call has to know who ended in the "
            "last row of this one.",
            before="came_in = ended",
            answer='{**batch, "last_observations": observations, "last_ended": came_in}',
        ),
        slip(
            "once ended, ended for good",
            "After its first end an environment is never valid again. It resets in one step, and "
            "then plays on.",
            ended="ended | terminated | truncated",
        ),
        slip(
            "a truncated episode is not followed by a reset",
            "Only termination counts as an end. A truncated episode is over as well, and the next "
            "step resets.",
            ended="terminated",
        ),
        slip(
            "a terminated episode is not followed by a reset",
            "Only truncation counts as an end. A terminated episode is over as well, and the next "
            "step resets.",
            ended="truncated",
        ),
        slip(
            "one done for both",
            "`terminated` and `truncated` are both True at every end. The environment says which "
            "one it was, and the critic will need to know: keep the two apart.",
            terminated="torch.tensor(over | cut)",
            truncated="torch.tensor(over | cut)",
        ),
        slip(
            "truncation told as termination",
            "`terminated` is True at truncated steps too, as the old `done` was. A time limit does "
            "not make the state worthless: keep the two apart.",
            terminated="torch.tensor(over | cut)",
        ),
        slip(
            "one done and no truncation",
            "Every end is told as `terminated`, and `truncated` is never True. A time limit does "
            "not make the state worthless: keep the two apart.",
            terminated="torch.tensor(over | cut)",
            truncated="""
                truncated = torch.zeros_like(terminated)
                over_or_cut = terminated
            """,
        ),
        slip(
            "terminated and truncated swapped",
            "`terminated` and `truncated` are exchanged. In which order does envs.step give them?",
            terminated="torch.tensor(cut)",
            truncated="torch.tensor(over)",
        ),
        slip(
            "flags one row late",
            "`terminated[t]` and `truncated[t]` say how step t - 1 ended. Some programs keep them "
            "so; here row t says what its own step was.",
            before="over_before, cut_before = ended & False, ended & False",
            row=_stored(terminated="over_before", truncated="cut_before"),
            ended="""
                ended = terminated | truncated
                over_before, cut_before = terminated, truncated
            """,
        ),
        slip(
            "resets the environments first",
            "The environments are reset at the start. They stand in the middle of their episodes: "
            "go on from `observations`.",
            before="""
                start, _ = envs.reset()
                observations = torch.tensor(start, dtype=observations.dtype)
                ended = torch.zeros_like(ended)
            """,
        ),
        slip(
            "resets the environments first, and goes on from observations",
            "The environments are reset at the start, though what they showed then is not used. "
            "They stand in the middle of their episodes: leave them there.",
            before="envs.reset()",
        ),
        slip(
            "resets all environments at an end",
            "Where one environment ends an episode, all are reset. The others are in the middle of "
            "theirs, and the one that ended resets itself in the next step.",
            observations="""
                observations = next_observations
                if bool((terminated | truncated).any()):
                    start, _ = envs.reset()
                    observations = torch.tensor(start, dtype=observations.dtype)
            """,
        ),
        slip(
            "resets by hand where an episode ended",
            "Environments are reset by hand where an episode ended, and the batch goes on from "
            "there. They reset themselves in the next step: nobody has to ask.",
            observations="""
                observations = next_observations
                if bool((terminated | truncated).any()):
                    start, _ = envs.reset(options={"reset_mask": over | cut})
                    start = torch.tensor(start, dtype=observations.dtype)
                    here = (terminated | truncated)[:, None]
                    observations = torch.where(here, start, next_observations)
            """,
        ),
        slip(
            "last_observations from before the last step",
            "`last_observations` is what `act` was given last. The next call goes on from where "
            "the last step led.",
            answer='{**batch, "last_observations": batch["observations"][-1], "last_ended": ended}',
        ),
        slip(
            "no next observation in the last row",
            "The last row of `next_observations` is zero, as if nothing had followed. The last "
            "step led somewhere too, and envs.step has shown it.",
            answer="""
                batch["next_observations"][-1] = 0.0
                answer = {**batch, "last_observations": observations, "last_ended": ended}
            """,
        ),
        slip(
            "acts on the observations of the step before",
            "From the second step on, `act` is given what it was given one step ago. What do the "
            "environments show now?",
            before="previous = observations",
            actions="act(previous)",
            observations="""
                previous = observations
                observations = next_observations
            """,
        ),
        slip(
            "acts on the first observations throughout",
            "`act` is given the first observations in every step. After a step the environments "
            "show something else.",
            observations="observations",
        ),
        slip(
            "observations stored after the step",
            "`observations` holds what the steps led to. Asked for is what `act` was given, before "
            "the step.",
            row=_stored(observations="next_observations"),
        ),
        slip(
            "next_observations from before the step",
            "`next_observations` holds what `act` was given. Asked for is what the step led to.",
            row=_stored(next_observations="observations"),
        ),
        slip(
            "start of the next episode as next observation",
            "Where an episode ends, `next_observations` shows the start of the next one. The step "
            "led to the last state of its own episode, and envs.step has shown it.",
            answer="""
                ends = batch["terminated"] | batch["truncated"]
                later = batch["next_observations"].roll(-1, 0)
                later[-1] = batch["next_observations"][-1]
                batch["next_observations"] = torch.where(
                    ends[..., None], later, batch["next_observations"]
                )
                answer = {**batch, "last_observations": observations, "last_ended": ended}
            """,
        ),
        slip(
            "no next observation at an end",
            "Where an episode ends, `next_observations` is zero. Where the step led is still "
            "known, and a truncated episode needs it.",
            row=_stored(next_observations="next_observations * ~(terminated | truncated)[:, None]"),
        ),
        slip(
            "no next observation at termination",
            "Where an episode terminates, `next_observations` is zero. Keep what the step led to; "
            "whether its value counts is decided later.",
            row=_stored(next_observations="next_observations * ~terminated[:, None]"),
        ),
        slip(
            "no copy of the observations",
            "What envs.step returns is kept without a copy. Some environments write into the same "
            "array each time, and then all rows show what came last.",
            next_observations="torch.as_tensor(shown, dtype=observations.dtype)",
        ),
        slip(
            "last observations not copied",
            "The rows are right, but `last_observations` shares its memory with an array that the "
            "environments write into again: it changes with their next step.",
            next_observations="torch.as_tensor(shown, dtype=observations.dtype)",
            row=_stored(
                observations="observations.clone()", next_observations="next_observations.clone()"
            ),
        ),
        slip(
            "copied after the array has changed",
            "Observations are copied when the next ones are already there. Where envs.step writes "
            "into the same array each time, what `act` was given is gone by then.",
            next_observations="torch.as_tensor(shown, dtype=observations.dtype)",
            row=_stored(
                observations="observations.clone()", next_observations="next_observations.clone()"
            ),
            answer='{**batch, "last_observations": observations.clone(), "last_ended": ended}',
        ),
        slip(
            "rewards one step late",
            "`rewards[t]` is what step t - 1 paid. Keep the reward in the row of the action it "
            "was paid for.",
            before="paid_before = torch.zeros_like(observations[:, 0])",
            row=_stored(rewards="paid_before"),
            observations="""
                observations = next_observations
                paid_before = rewards
            """,
        ),
        slip(
            "rewards added up",
            "`rewards` holds sums over all steps so far. Asked for is what each step paid by "
            "itself.",
            before="total = torch.zeros_like(observations[:, 0])",
            row=_stored(rewards="total"),
            rewards="""
                rewards = torch.tensor(paid, dtype=observations.dtype)
                total = total + rewards
            """,
        ),
        slip(
            "log_probs of other draws",
            "`act` is asked twice in each step, and draws anew: the log-probabilities are not "
            "those of the actions that were taken.",
            log_probs="(*act(observations)[:2], act(observations)[2])",
        ),
        slip(
            "env_actions of other draws",
            "`act` is asked twice in each step, and draws anew: what the environments do is not "
            "what stands in `actions`.",
            shown="envs.step(act(observations)[1].numpy())",
        ),
        slip(
            "log_probs one step late",
            "`log_probs[t]` belongs to the actions of step t - 1. Keep it in the row of its "
            "actions.",
            before="before = torch.zeros_like(observations[:, 0])",
            row=_stored(log_probs="before"),
            observations="""
                observations = next_observations
                before = log_probs
            """,
        ),
        slip(
            "env_actions in the batch",
            "`actions` holds what the environments were given. The log-probabilities are those of "
            "the actions as they were drawn, and PPO needs the two to fit.",
            see="07_ppo#C62",
            row=_stored(actions="env_actions"),
        ),
        slip(
            "actions to the environments",
            "The environments are given `actions`. They understand `env_actions`, which are made "
            "for them (clipped, or counted in their own way).",
            shown="envs.step(actions.numpy())",
        ),
        slip(
            "actions one step late",
            "The environments are given the actions of the step before. What `act` says is to be "
            "done now.",
            before="waiting = act(observations)[1]",
            shown="envs.step(waiting.numpy())",
            observations="""
                observations = next_observations
                waiting = env_actions
            """,
        ),
        slip(
            "environments first, time second",
            "The first axis runs over the environments. Asked for is time first: (T, N), and "
            "(T, N, O) for observations.",
            batch="{name: torch.stack([each[name] for each in rows], dim=1) for name in rows[0]}",
        ),
        slip(
            "time and environments in one axis",
            "All steps stand under one another, T N rows. Keep the two axes apart, (T, N): "
            "advantages run along time, for each environment by itself.",
            batch="{name: torch.cat([each[name] for each in rows]) for name in rows[0]}",
        ),
        slip(
            "stops at the first end",
            "The loop stops where an episode ends. The environment resets itself, and the others "
            "are still playing: take `steps` steps in any case.",
            ended="""
                ended = terminated | truncated
                if bool(ended.any()):
                    break
            """,
        ),
        slip(
            "resets not counted as steps",
            "The loop goes on until each environment has `steps` valid steps or more. Steps that "
            "only reset count as well: all environments take `steps` steps.",
            before="left = torch.full(ended.shape, steps)",
            __1="(k for k in range(3 * steps) if bool((left > 0).any()))",
            valid="""
                valid = ~ended
                left = left - valid.long()
            """,
        ),
        slip(
            "one step too few",
            "There is one step too few. `steps` says how often envs.step is called.",
            __1="range(max(steps - 1, 1))",
        ),
        slip(
            "one step too many",
            "There is one step too many. `steps` says how often envs.step is called.",
            __1="range(steps + 1)",
        ),
        slip(
            "flags as numbers",
            "`terminated`, `truncated`, `valid` and `last_ended` are numbers. They are yes or no: "
            "of type bool, a mask picks rows and ~ turns it round.",
            answer="""
                flags = "terminated", "truncated", "valid"
                numbers = {name: batch[name].to(observations.dtype) for name in flags}
                where = {"last_observations": observations, "last_ended": ended + 0.0}
                answer = {**batch, **numbers, **where}
            """,
        ),
        slip(
            "flags in the batch as numbers",
            "`terminated`, `truncated` and `valid` are numbers. They are yes or no: of type bool, "
            "a mask picks rows and ~ turns it round.",
            batch="{name: torch.stack([each[name] for each in rows]) + (0.0 if name in "
            "('terminated', 'truncated', 'valid') else 0) for name in rows[0]}",
        ),
        slip(
            "whole actions as floating-point numbers",
            "Whole actions came back as floating-point numbers. They pick columns of the logits "
            "later on: keep the type in which `act` gives them.",
            row=_stored(actions="actions.to(observations.dtype)"),
        ),
    ),
    parts=(
        Property(
            "what the environments are given",
            2,
            observations=("given_to_envs", "times_reset"),
        ),
        Property(
            "observations, actions and log_probs",
            3,
            cases=lambda case: not case["one_array"],
            observations=("observations", "actions", "log_probs"),
        ),
        Property(
            "what followed",
            3,
            cases=lambda case: not case["one_array"],
            observations=("rewards", "next_observations"),
        ),
        Property("terminated and truncated", 2, observations=("terminated", "truncated")),
        Property("valid", 3, cases=lambda case: not case["ended"].any(), observations=("valid",)),
        Property(
            "valid, after an end before the first step",
            2,
            cases=lambda case: case["ended"].any(),
            observations=("valid",),
        ),
        Property(
            "where they stand at the end",
            2,
            cases=lambda case: not case["one_array"],
            observations=("last_observations", "last_ended"),
        ),
        Property(
            "an array that is used again",
            cases=lambda case: case["one_array"],
            observations=(
                "observations",
                "actions",
                "log_probs",
                "rewards",
                "next_observations",
                "last_observations",
                "last_ended",
            ),
        ),
        Property(
            "types",
            beside=True,
            observations=(
                "terminated_is_bool",
                "truncated_is_bool",
                "valid_is_bool",
                "last_ended_is_bool",
                "actions_keep_their_type",
            ),
        ),
    ),
    accepted=(
        into_memory_of_its_own,
        lists_of_arrays,
        nothing_where_it_only_resets,
        one_column_at_a_time,
    ),
)
