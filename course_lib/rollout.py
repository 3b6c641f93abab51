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

    observations (T, N, ...); actions (T, N, ...) as drawn, not clipped; rewards (T, N); log_probs
    (T, N) of those actions when they were drawn; terminated, truncated (T, N) bool, apart, since
    the first stops bootstrapping and the second does not.
    next_observations (T, N, ...): the state each step really led to, also at the end of an episode.
    valid (T, N) bool: False where the environment ignored the action, or the step was past the
    episode asked for. Such a step is no experience: nothing may be trained on it.
    episode_returns, episode_lengths: undiscounted returns and lengths of the episodes that ended
    here, in the order in which they did; episode_ends: the row t in which each one ended.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    log_probs: Tensor
    terminated: Tensor
    truncated: Tensor
    next_observations: Tensor
    valid: Tensor
    episode_returns: list[float]
    episode_lengths: list[int]
    episode_ends: list[int]


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
    environments reset otherwise.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if cursor is None:
        cursor = _reset(envs, policy, generator, device)
    rows: list[_Row] = []
    for _ in range(steps):
        row, cursor = _step(envs, policy, cursor, generator, device)
        rows.append(row)
    return _rollout(rows), cursor


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
    going = np.ones(envs.num_envs, dtype=bool)
    rows: list[_Row] = []
    while going.any() and len(rows) < max_steps:
        row, cursor = _step(envs, policy, cursor, generator, device)
        if len(rows) == max_steps - 1:
            row.truncated = row.truncated | (going & ~row.terminated)
        ended = row.terminated | row.truncated
        row.valid = going
        row.finished = [
            (int(n), float(cursor.returns[n]), int(cursor.lengths[n]))
            for n in np.flatnonzero(ended & going)
        ]
        going = going & ~ended
        rows.append(row)
    return _rollout(rows)


@dataclass(eq=False)
class _Row:
    """One step of every environment; what the environments gave stays in numpy until the end."""

    observations: Tensor
    actions: Tensor
    log_probs: Tensor
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    next_observations: np.ndarray
    valid: np.ndarray
    finished: list[tuple[int, float, int]]  # environment, return, length


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


def _step(
    envs: Any,
    policy: Policy,
    cursor: Cursor,
    generator: torch.Generator,
    device: torch.device | str,
) -> tuple[_Row, Cursor]:
    floating = next(policy.parameters()).dtype
    observations = torch.from_numpy(cursor.observations).to(device)
    if policy.observation_shape != ():
        observations = observations.to(floating)
    actions, log_probs = policy.sample(observations, generator)
    answer = envs.step(_for_environment(actions, envs.single_action_space))
    # Copies: an environment may write its next answer into the same arrays.
    next_observations, rewards, terminated, truncated = (np.array(part) for part in answer[:4])
    valid = ~cursor.ended
    ended = terminated | truncated
    returns = np.where(valid, cursor.returns + rewards, 0.0)
    lengths = np.where(valid, cursor.lengths + 1, 0)
    finished = [(int(n), float(returns[n]), int(lengths[n])) for n in np.flatnonzero(ended)]
    row = _Row(
        observations,
        actions,
        log_probs,
        rewards,
        terminated,
        truncated,
        next_observations,
        valid,
        finished,
    )
    return row, Cursor(next_observations, ended, returns, lengths)


def _for_environment(actions: Tensor, space: Any) -> np.ndarray:
    numbers = actions.cpu().numpy()
    if actions.is_floating_point():
        # The bounds are the environment's affair: the rollout keeps what the policy drew.
        return np.clip(numbers, space.low, space.high).astype(space.dtype)
    return numbers


def _rollout(rows: list[_Row]) -> Rollout:
    observations = torch.stack([row.observations for row in rows])  # (T, N, ...)
    log_probs = torch.stack([row.log_probs for row in rows])  # (T, N)

    def gather(name: str, like: Tensor) -> Tensor:
        arrays = np.stack([getattr(row, name) for row in rows])
        return torch.from_numpy(arrays).to(like.device, like.dtype)

    flags = torch.empty(0, dtype=torch.bool, device=log_probs.device)
    finished = [(t, *entry) for t, row in enumerate(rows) for entry in row.finished]
    return Rollout(
        observations=observations,
        actions=torch.stack([row.actions for row in rows]),
        rewards=gather("rewards", log_probs),
        log_probs=log_probs,
        terminated=gather("terminated", flags),
        truncated=gather("truncated", flags),
        next_observations=gather("next_observations", observations),
        valid=gather("valid", flags),
        episode_returns=[entry[2] for entry in finished],
        episode_lengths=[entry[3] for entry in finished],
        episode_ends=[entry[0] for entry in finished],
    )
