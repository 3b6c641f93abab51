"""Acting in vector environments, and writing down what happened."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.policies import Policy, check_fits
from course_lib.seeding import check_device, check_generator, draw_seed
from course_lib.tensor_envs import PREFIX, TensorEnvs, make_tensor_envs

PATIENCE = 32
"""Steps on a device between two looks at whether all episodes are over: a look waits for it."""


@dataclass(frozen=True, eq=False)
class Rollout:
    """T steps of N environments side by side, as they happened.

    path (T + 1, N, ...): what the environments showed before each step and after the last one.
    actions (T, N, ...) as drawn, not clipped; rewards (T, N); terminated, truncated (T, N) bool,
    apart, since the first stops bootstrapping and the second does not.
    valid (T, N) bool: False where the environment ignored the action, or the step was past the
    episode asked for. Such a step is no experience: nothing may be trained on it.
    episode_returns, episode_lengths: undiscounted returns and lengths of the episodes that ended
    here, in the order in which they did; episode_ends: the row t in which each one ended.
    """

    path: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    valid: Tensor
    episode_returns: list[float]
    episode_lengths: list[int]
    episode_ends: list[int]

    @property
    def observations(self) -> Tensor:
        """What each action was chosen on, (T, N, ...); the first T rows of path, not a copy."""
        return self.path[:-1]

    @property
    def next_observations(self) -> Tensor:
        """What each valid step led to, also at the end of an episode; the last T rows of path."""
        return self.path[1:]

    def in_one_row(self, column: Tensor) -> Tensor:
        """Column (T, N, ...) of the rollout at its B valid steps, in the order of time (B, ...)."""
        return column.flatten(0, 1).index_select(0, self._valid_steps)

    @cached_property
    def _valid_steps(self) -> Tensor:
        return self.valid.flatten().nonzero().squeeze(1)


class EnvironmentFailed(RuntimeError):
    """An environment raised something, which is the cause; says what, where and when."""


@dataclass(frozen=True, eq=False)
class Cursor:
    """Where a rollout stopped, so that the next one goes on from there.

    observations (N, ...): what the environments show. ended (N,) bool: their episode is over, the
    next step resets them. returns (N,) float64, lengths (N,): of the episode so far.
    """

    observations: Tensor
    ended: Tensor
    returns: Tensor
    lengths: Tensor


def make_envs(env_id: str, envs: int, device: torch.device | str = "cpu", **options: Any) -> Any:
    """Vector environment of `envs` copies of a registered environment, with next-step autoreset.

    Those of course_lib.tensor_envs, tensor/CartPole-v1 and the like, are made of tensors on
    device; gymnasium's act on the host. options go to gymnasium.make_vec or make_tensor_envs.
    Raises ValueError if envs is below 1 or there is no such environment, or none any more.
    """
    if envs < 1:
        raise ValueError(f"envs must be at least 1, got {envs}")
    if env_id.startswith(PREFIX):
        return make_tensor_envs(env_id, envs, device, **options)
    import gymnasium

    try:
        return gymnasium.make_vec(env_id, num_envs=envs, **options)
    except (gymnasium.error.Error, ImportError) as error:  # the latter of "module:Name-v0"
        raise ValueError(f"environment {env_id} cannot be made: {error}") from error


def collect(
    envs: Any,
    policy: Policy,
    steps: int,
    generator: torch.Generator,
    cursor: Cursor | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Rollout, Cursor]:
    """Act for `steps` steps in every environment, from cursor on; None resets the environments.

    Gymnasium's vector environments reset on the step after an episode's end: that step ignores its
    action, pays 0 and shows the next episode's first observation. It is kept, with valid False, so
    that time runs through; and because the reset waits, the observation at an episode's end is the
    true last one, which is what a truncated episode bootstraps from.
    policy lives on device, the rollout too; the generator, on device, draws the actions and, for a
    reset, the environments' seed. Environments made of tensors are acted in without a copy to the
    host, all others through arrays.
    Raises ValueError if steps is below 1, the policy does not fit the environments, or the
    environments reset otherwise or lie on another device; FloatingPointError if the policy's
    parameters, what it acts on, or a Gaussian's action is NaN; EnvironmentFailed if they raise.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if cursor is None:
        cursor = _reset(envs, policy, generator, device)
    return _record(envs, policy, steps, generator, cursor, device, once=False)


def collect_episodes(
    envs: Any,
    policy: Policy,
    generator: torch.Generator,
    max_steps: int = 1000,
    device: torch.device | str = "cpu",
) -> Rollout:
    """One whole episode from each environment, from a reset on: N of them, whatever their lengths.

    So the longest has no better chance to be counted than the shortest. valid[:, n] is True for
    episode n and False after it. An episode that still runs after max_steps is marked truncated.
    Raises what collect does.
    """
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps}")
    cursor = _reset(envs, policy, generator, device)
    return _record(envs, policy, max_steps, generator, cursor, device, once=True)[0]


def _reset(
    envs: Any, policy: Policy, generator: torch.Generator, device: torch.device | str
) -> Cursor:
    mode = getattr(envs, "metadata", {}).get("autoreset_mode")
    if not hasattr(envs, "num_envs") or getattr(mode, "value", mode) != "NextStep":
        raise ValueError(
            f"envs must be a gymnasium vector environment with next-step autoreset, got "
            f"{type(envs).__name__} with autoreset mode {mode}: make it with make_envs, or pass "
            "autoreset_mode=AutoresetMode.NEXT_STEP"
        )
    check_fits(policy, envs)
    check_generator(generator, check_device(device))
    if isinstance(envs, TensorEnvs) and envs.device != check_device(device):
        raise ValueError(
            f"the environments are on {envs.device} and the rollout is wanted on {device}: make "
            "them with make_envs(env_id, envs, device)"
        )
    seed = draw_seed(generator)
    try:
        shown, _ = envs.reset(seed=seed)
    except Exception as error:
        raise EnvironmentFailed(f"at a reset {_what_broke(error)}") from error
    observations = shown if isinstance(shown, Tensor) else torch.from_numpy(np.array(shown))

    def zeros(kind: torch.dtype) -> Tensor:
        return torch.zeros(envs.num_envs, dtype=kind, device=observations.device)

    return Cursor(observations, zeros(torch.bool), zeros(torch.float64), zeros(torch.long))


def _record(
    envs: Any,
    policy: Policy,
    steps: int,
    generator: torch.Generator,
    cursor: Cursor,
    device: torch.device | str,
    once: bool,
) -> tuple[Rollout, Cursor]:
    """At most `steps` rows from cursor on; `once`: one episode an environment, cut at the limit."""
    floating = next(policy.parameters()).dtype
    home = envs.device if isinstance(envs, TensorEnvs) else torch.device("cpu")
    observations, ended, returns, lengths = (
        column.to(home)
        for column in (cursor.observations, cursor.ended, cursor.returns, cursor.lengths)
    )

    # A page of memory is taken when it is first written, so rows that are never reached are free.
    def room(rows: int, kind: torch.dtype, *shape: int) -> Tensor:
        return torch.empty((rows, envs.num_envs, *shape), dtype=kind, device=home)

    kind = observations.dtype if policy.observation_shape == () else floating
    path = room(steps + 1, kind, *policy.observation_shape)
    actions = room(steps, torch.long if policy.discrete else floating, *policy.action_shape)
    rewards = room(steps, floating)
    terminated, truncated = room(steps, torch.bool), room(steps, torch.bool)
    path[0] = observations

    # One loop for both: the same memory is seen as tensors or as arrays, as the environments do.
    act, see, patience = _acting(envs, policy, generator, steps)
    at, doing, paid, over, cut, finished = map(
        see, (path, actions, rewards, terminated, truncated, ended.clone())
    )
    _check_parameters(policy)
    t = 0
    try:
        with torch.no_grad():
            while t < steps and not (once and t % patience == 0 and finished.all()):
                doing[t], sent = act(at[t])
                try:
                    at[t + 1], paid[t], over[t], cut[t], _ = envs.step(sent)
                except Exception as error:
                    raise EnvironmentFailed(f"after {t} rows {_what_broke(error)}") from error
                if once:
                    finished |= over[t] | cut[t]
                t += 1
    except (FloatingPointError, EnvironmentFailed):
        _check_observations(path[: t + 1])  # that may be why
        raise
    _check_observations(path[:t])
    # (T, N): whether the episode was over before the step, which then is a reset or past the end.
    before = torch.cat([ended[None], terminated[: t - 1] | truncated[: t - 1]])
    if once:
        valid = before.cumsum(0) == 0
        if t == steps:
            truncated[-1] |= valid[-1] & ~terminated[-1]
        t = int(valid.any(1).sum())  # without the rows after the last episode's end
    else:
        valid = ~before
    actions, rewards = actions[:t], rewards[:t]
    terminated, truncated, valid = terminated[:t], truncated[:t], valid[:t]
    episodes, returns, lengths = _episodes(rewards, terminated, truncated, valid, returns, lengths)
    rollout = Rollout(
        path[: t + 1].to(device),
        actions.to(device),
        rewards.to(device),
        terminated.to(device),
        truncated.to(device),
        valid.to(device),
        *episodes,
    )
    ended = terminated[-1] | truncated[-1]
    return rollout, Cursor(path[t].clone(), ended, returns, lengths)


def _acting(
    envs: Any, policy: Policy, generator: torch.Generator, steps: int
) -> tuple[Callable[[Any], tuple[Any, Any]], Callable[[Tensor], Any], int]:
    """How one acts in environments made of tensors, and in all others, which are made of arrays.

    act: observations -> actions, and the actions as the environments take them. see: a tensor as
    the environments do. patience: rows between two looks at what is over.
    """
    if isinstance(envs, TensorEnvs):

        def act(observations: Tensor) -> tuple[Tensor, Tensor]:
            actions = policy.draw(observations, generator)
            return actions, actions

        return act, lambda column: column, PATIENCE

    draw = policy.actor(generator, steps, envs.num_envs)
    space = envs.single_action_space

    def act_on_arrays(observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        actions = draw(observations)
        return actions, _for_environment(actions, space)

    return act_on_arrays, lambda column: column.numpy(), 1


def _episodes(
    rewards: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    valid: Tensor,
    returns: Tensor,
    lengths: Tensor,
) -> tuple[tuple[list[float], list[int], list[int]], Tensor, Tensor]:
    """Returns, lengths and last rows of the episodes that ended, in the order in which they did.

    And returns and lengths (N,) of those that go on; before the first row they were as given. All
    else is (T, N).
    """
    ended = (terminated | truncated) & valid
    # Rows counted from 1: the last end before each row, 0 where the episode began before row 1.
    numbers = torch.arange(1, len(ended) + 1, device=ended.device)[:, None]
    first = torch.zeros_like(ended[:1], dtype=torch.long)
    last_end = torch.cat([first, (ended * numbers).cummax(0).values])  # (T + 1, N)

    def of_episode(amounts: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
        """Sum over the episode so far at each row (T, N), and after the last one (N,)."""
        totals = torch.cat([first.to(amounts), (amounts * valid).cumsum(0) + carried])
        before = totals.gather(0, last_end)
        return totals[1:] - before[:-1], totals[-1] - before[-1]

    all_returns, returns = of_episode(rewards.double(), returns)
    all_lengths, lengths = of_episode(valid.long(), lengths)
    rows = torch.nonzero(ended)[:, 0]
    episodes = all_returns[ended].tolist(), all_lengths[ended].tolist(), rows.tolist()
    return episodes, returns, lengths


def _what_broke(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"the environment raised {said} ({place.filename}, line {place.lineno})"


def _check_parameters(policy: Policy) -> None:
    """Raise FloatingPointError if the policy holds NaN: nothing it does would mean anything."""
    if bool(torch.stack([each.isnan().any() for each in policy.parameters()]).any()):
        raise FloatingPointError(
            "the policy's parameters hold NaN: the last update was too large, or its loss was NaN"
        )


def _check_observations(path: Tensor) -> None:
    """Raise FloatingPointError naming the first observation of path (T, N, ...) not finite."""
    if bool(path.sum().isfinite()):
        return
    broken = ~path.isfinite().reshape(*path.shape[:2], -1).all(-1)
    for t, n in torch.nonzero(broken)[:1].tolist():
        raise FloatingPointError(
            f"the observation of environment {n} is {path[t, n].tolist()}, {t} rows on: look at "
            "what the environment gave"
        )


def _for_environment(actions: np.ndarray, space: Any) -> np.ndarray:
    if actions.dtype.kind == "f":
        # The bounds are the environment's affair: the rollout keeps what the policy drew.
        return np.clip(actions, space.low, space.high).astype(space.dtype)
    return actions
