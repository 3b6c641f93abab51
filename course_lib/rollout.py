"""Acting, and writing down what happened: episodes of tabular MDPs, rollouts of environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.mdp import TabularMDP, check_policy
from course_lib.policies import Policy, check_fits
from course_lib.seeding import check_device, check_generator, draw_seed


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode of T steps: states (T,) long, actions (T,) long, rewards (T,) float64.

    The terminal state in which it ended is not among the states: nothing is decided there.
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor

    def __len__(self) -> int:
        return len(self.rewards)


def sample_episodes(
    mdp: TabularMDP,
    policy: Tensor,
    episodes: int,
    generator: torch.Generator,
    max_steps: int = 1000,
) -> list[Episode]:
    """Episodes drawn from P(tau), all at once.

    s_0 ~ start, a_t ~ pi(.|s_t), s_{t+1} ~ p(.|s_t, a_t) until the end.
    policy: (S, A) probabilities; no gradient flows through what is drawn. An episode ends on a
    terminal state or after max_steps. What comes out depends on the arguments and the generator's
    state alone. [slides 9 and 10]
    Raises ValueError if episodes or max_steps is below 1, or the generator is on another device.
    """
    if episodes < 1 or max_steps < 1:
        raise ValueError(
            f"episodes and max_steps must be at least 1, got {episodes} and {max_steps}"
        )
    check_policy(mdp, policy)
    check_generator(generator, mdp.device)
    start_cdf = _cumulative(mdp.start)
    policy_cdf = _cumulative(policy.detach())
    transition_cdf = _cumulative(mdp.transitions)

    def uniform(count: int) -> Tensor:
        return torch.rand(count, 1, dtype=torch.float64, generator=generator, device=mdp.device)

    state = (uniform(episodes) >= start_cdf).sum(1)  # (N,)
    who = torch.arange(episodes, device=mdp.device)  # the episodes that still go on
    steps: list[tuple[Tensor, Tensor, Tensor]] = []
    while len(who) > 0 and len(steps) < max_steps:
        action = (uniform(len(who)) >= policy_cdf[state]).sum(1)
        successor = (uniform(len(who)) >= transition_cdf[state, action]).sum(1)
        steps.append((who, state, action))
        going = ~mdp.terminal[successor]
        who, state = who[going], successor[going]

    owners = torch.cat([owner for owner, _, _ in steps])
    order = torch.sort(owners, stable=True).indices  # by episode, and within it by time
    states = torch.cat([state for _, state, _ in steps])[order]
    actions = torch.cat([action for _, _, action in steps])[order]
    rewards = mdp.rewards[states, actions]
    lengths = torch.bincount(owners, minlength=episodes).tolist()
    parts = zip(states.split(lengths), actions.split(lengths), rewards.split(lengths), strict=True)
    return [Episode(*part) for part in parts]


def _cumulative(probabilities: Tensor) -> Tensor:
    cdf = probabilities.cumsum(-1)
    # Exactly 1 from the last possible outcome on: a draw in [0, 1) never passes it.
    return cdf / cdf[..., -1:]


@dataclass(frozen=True, eq=False)
class Rollout:
    """T steps of N environments side by side, as they happened.

    path (T + 1, N, ...): what the environments showed before each step and after the last one.
    actions (T, N, ...) as drawn, not clipped; rewards (T, N); log_probs (T, N) of those actions
    when they were drawn; terminated, truncated (T, N) bool, apart, since the first stops
    bootstrapping and the second does not.
    valid (T, N) bool: False where the environment ignored the action, or the step was past the
    episode asked for. Such a step is no experience: nothing may be trained on it.
    episode_returns, episode_lengths: undiscounted returns and lengths of the episodes that ended
    here, in the order in which they did; episode_ends: the row t in which each one ended.
    """

    path: Tensor
    actions: Tensor
    rewards: Tensor
    log_probs: Tensor
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


@dataclass(frozen=True, eq=False)
class Cursor:
    """Where a rollout stopped, so that the next one goes on from there.

    observations (N, ...): what the environments show. ended (N,) bool: their episode is over, the
    next step resets them. returns, lengths (N,): of the episode so far.
    """

    observations: np.ndarray
    ended: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray


def make_envs(env_id: str, envs: int, **options: Any) -> Any:
    """Vector environment of `envs` copies of a registered environment, with next-step autoreset.

    options go to gymnasium.make_vec. Raises ValueError if envs is below 1.
    """
    import gymnasium

    if envs < 1:
        raise ValueError(f"envs must be at least 1, got {envs}")
    return gymnasium.make_vec(env_id, num_envs=envs, **options)


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
    reset, the environments' seed.
    Raises ValueError if steps is below 1, the policy does not fit the environments, or the
    environments reset otherwise; FloatingPointError if the policy acts on, or gives, NaN.
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
    Raises ValueError as collect does.
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
    observations, _ = envs.reset(seed=draw_seed(generator))
    count = envs.num_envs
    return Cursor(
        np.array(observations),
        np.zeros(count, dtype=bool),
        np.zeros(count),
        np.zeros(count, dtype=int),
    )


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
    space = envs.single_action_space
    count = envs.num_envs
    floating = _numpy_type(next(policy.parameters()).dtype)
    # A page of memory is taken when it is first written, so rows that are never reached are free.
    shape = policy.observation_shape
    kind = cursor.observations.dtype if shape == () else floating
    path = np.empty((steps + 1, count, *shape), kind)
    whole = policy.action_shape == ()
    actions = np.empty((steps, count, *policy.action_shape), np.int64 if whole else floating)
    log_probs, rewards = (np.empty((steps, count), floating) for _ in range(2))
    terminated, truncated, valid = (np.empty((steps, count), bool) for _ in range(3))

    path[0] = cursor.observations
    counts, returns, lengths = ~cursor.ended, cursor.returns.copy(), cursor.lengths.copy()
    resets = np.flatnonzero(cursor.ended)
    finished: list[tuple[float, int, int]] = []  # return, length, row
    t = 0
    with torch.no_grad():
        act = policy.actor(generator, steps)
        while t < steps and (not once or counts.any()):
            try:
                actions[t], log_probs[t] = act(path[t])
            except FloatingPointError:
                _check_observations(path[t], t)
                raise
            shown, paid, over, cut, _ = envs.step(_for_environment(actions[t], space))
            if once and t == steps - 1:
                cut = cut | (counts & ~over)
            path[t + 1], rewards[t], terminated[t], truncated[t] = shown, paid, over, cut
            valid[t] = counts
            returns += paid
            lengths += 1
            returns[resets], lengths[resets] = 0.0, 0
            ended = over | cut
            resets = np.flatnonzero(ended)
            for n in resets[counts[resets]]:
                finished.append((float(returns[n]), int(lengths[n]), t))
            counts = counts & ~ended if once else ~ended
            t += 1

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(device)

    rollout = Rollout(
        path=tensor(path[: t + 1]),
        actions=tensor(actions[:t]),
        rewards=tensor(rewards[:t]),
        log_probs=tensor(log_probs[:t]),
        terminated=tensor(terminated[:t]),
        truncated=tensor(truncated[:t]),
        valid=tensor(valid[:t]),
        episode_returns=[entry[0] for entry in finished],
        episode_lengths=[entry[1] for entry in finished],
        episode_ends=[entry[2] for entry in finished],
    )
    return rollout, Cursor(path[t].copy(), ~counts, returns, lengths)


def _check_observations(observations: np.ndarray, steps: int) -> None:
    """Raise FloatingPointError naming the environment whose observation is not finite."""
    for n, observation in enumerate(observations):
        if not np.isfinite(observation).all():
            raise FloatingPointError(
                f"the observation of environment {n} is {observation.tolist()}, {steps} rows on: "
                "look at what the environment gave"
            )


def _for_environment(actions: np.ndarray, space: Any) -> np.ndarray:
    if actions.dtype.kind == "f":
        # The bounds are the environment's affair: the rollout keeps what the policy drew.
        return np.clip(actions, space.low, space.high).astype(space.dtype)
    return actions


def _numpy_type(dtype: torch.dtype) -> np.dtype:
    return torch.empty(0, dtype=dtype).numpy().dtype
