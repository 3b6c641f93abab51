"""Training loops that take the parts of an algorithm as arguments, and each algorithm's numbers.

The loops own acting, masking and counting. Returns, advantages, losses and updates come from
outside, so a student's own function trains a real agent and a wrong one shows what it breaks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from course_lib import validate
from course_lib.mdp import check_discount
from course_lib.policies import Policy
from course_lib.rollout import Cursor, EnvironmentFailed, Rollout, collect, collect_episodes
from course_lib.seeding import check_device, check_generator

Statistics = dict[str, float]
Advantages = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float, float], Tensor]
Watch = Callable[["Run"], None]


@dataclass(frozen=True)
class ReinforceConfig:
    """Numbers of REINFORCE with a baseline; the defaults solve CartPole-v1."""

    envs: int = 96
    """Environments side by side, and so episodes in one update."""
    gamma: float = 0.995
    """Discount, of returns and, as gamma**t, of the score term."""
    learning_rate: float = 2.5e-2
    """Adam's step size for the policy."""
    critic_learning_rate: float = 6e-2
    """Adam's step size for the critic, whose values are the baseline."""
    critic_epochs: int = 1
    """Passes of the critic over one batch of episodes."""
    critic_batch: int = 1024
    """Steps, at most, in one of the critic's minibatches."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the tanh layers of policy and critic."""
    max_steps: int = 1000
    """Steps after which an episode is cut."""
    decay_to: float = 1.0
    """Share of the learning rates that is left at total_steps, falling linearly; 1 keeps them."""
    total_steps: int = 500_000
    """Environment steps after which training stops."""
    stop_return: float | None = None
    """Mean return of the last 100 training episodes at which training stops; None goes on."""

    def __post_init__(self) -> None:
        _check_config(self)


@dataclass(frozen=True)
class PPOConfig:
    """Numbers of PPO; the defaults solve CartPole-v1."""

    envs: int = 104
    """Environments side by side."""
    rollout_steps: int = 48
    """Steps in each environment between updates."""
    gamma: float = 0.995
    """Discount."""
    lam: float = 0.97
    """Mixing of n-step estimates in the advantages: 0 is one step, 1 the whole return."""
    epsilon: float = 0.2
    """Clip range of the ratio."""
    learning_rate: float = 2e-2
    """Adam's step size for policy and critic."""
    epochs: int = 2
    """Passes over one batch."""
    minibatches: int = 5
    """Parts a batch is split into in each pass."""
    value_weight: float = 0.5
    """Weight of the critic's squared error in the loss."""
    entropy_weight: float = 0.0
    """Weight of the entropy bonus in the loss."""
    max_grad_norm: float = 1.0
    """Length to which a longer gradient is cut."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the tanh layers of policy and critic."""
    scale_observations: bool = False
    """Whether the networks see observations of mean 0 and spread 1; for continuous control."""
    scale_rewards: bool = True
    """Whether rewards are divided by the spread of the discounted returns."""
    decay_to: float = 0.3
    """Share of the learning rates that is left at total_steps, falling linearly; 1 keeps them."""
    total_steps: int = 250_000
    """Environment steps after which training stops."""
    stop_return: float | None = None
    """Mean return of the last 100 training episodes at which training stops; None goes on."""

    def __post_init__(self) -> None:
        _check_config(self)


@dataclass(frozen=True)
class TRPOConfig:
    """Numbers of TRPO; the defaults learn CartPole-v1."""

    envs: int = 64
    """Environments side by side."""
    rollout_steps: int = 48
    """Steps in each environment between updates."""
    gamma: float = 0.98
    """Discount."""
    lam: float = 0.97
    """Mixing of n-step estimates in the advantages: 0 is one step, 1 the whole return."""
    delta: float = 0.03
    """Size of the trust region: mean KL from the old policy, in nats."""
    damping: float = 0.01
    """Added to the Fisher matrix's diagonal, which is singular without it."""
    cg_iterations: int = 6
    """Conjugate-gradient iterations for the natural direction."""
    fisher_every: int = 8
    """One in how many steps of a batch enters the Fisher matrix; the line search asks them all."""
    critic_learning_rate: float = 2e-2
    """Adam's step size for the critic."""
    critic_epochs: int = 2
    """Passes of the critic over one batch."""
    minibatches: int = 4
    """Parts a batch is split into in each pass of the critic."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the tanh layers of policy and critic."""
    scale_observations: bool = False
    """Whether the networks see observations of mean 0 and spread 1; for continuous control."""
    scale_rewards: bool = True
    """Whether rewards are divided by the spread of the discounted returns."""
    decay_to: float = 1.0
    """Share of the learning rates that is left at total_steps, falling linearly; 1 keeps them."""
    total_steps: int = 300_000
    """Environment steps after which training stops."""
    stop_return: float | None = None
    """Mean return of the last 100 training episodes at which training stops; None goes on."""

    def __post_init__(self) -> None:
        _check_config(self)


Config = ReinforceConfig | PPOConfig | TRPOConfig


@dataclass(frozen=True, eq=False)
class Batch:
    """B valid steps in one row: what an update may use.

    observations (B, ...), actions (B, ...), log_probs (B,) of the policy that acted, advantages
    (B,), returns (B,) targets for the critic.
    """

    observations: Tensor
    actions: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor

    def __len__(self) -> int:
        return len(self.advantages)

    def minibatches(self, count: int, generator: torch.Generator) -> Iterator[Batch]:
        """One pass in shuffled order, in count parts that differ by at most one step.

        Raises ValueError if there are fewer steps than parts.
        """
        if not 1 <= count <= len(self):
            raise ValueError(
                f"{count} minibatches of {len(self)} steps are wanted: choose 1 to {len(self)}"
            )
        order = torch.randperm(len(self), generator=generator, device=generator.device)
        columns = (
            getattr(self, f.name).index_select(0, order).tensor_split(count) for f in fields(self)
        )
        for parts in zip(*columns, strict=True):
            yield Batch(*parts)


@dataclass(frozen=True, eq=False)
class History:
    """What training saw, in order.

    episode_returns: undiscounted return of each training episode. episode_steps: environment steps
    taken by all environments when it ended. updates: the numbers each update reported.
    steps: environment steps in all, resets included.
    """

    episode_returns: list[float] = field(default_factory=list)
    episode_steps: list[int] = field(default_factory=list)
    updates: list[Statistics] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Environment steps taken so far, by all environments, resets included."""
        return int(self.updates[-1]["steps"]) if self.updates else 0

    def mean_return(self, count: int = 100) -> float:
        """Mean return of the last `count` training episodes, NaN while there are fewer."""
        return _mean_of_last(self.episode_returns, count)

    def curve(self, total_steps: int, points: int) -> list[float]:
        """Mean return of the episodes that ended in each of `points` equal spans of total_steps.

        Span k is (k, k + 1] * total_steps / points; NaN where no episode ended.
        """
        spans: list[list[float]] = [[] for _ in range(points)]
        for step, paid in zip(self.episode_steps, self.episode_returns, strict=True):
            if step <= total_steps:
                spans[(step - 1) * points // total_steps].append(paid)
        return [sum(each) / len(each) if each else float("nan") for each in spans]


@dataclass(eq=False)
class Run:
    """A training that goes on, with all that changes in it: put back, it goes on as if never left.

    parts: by name, what changes beside history and cursor: modules, optimisers, environments, the
    generator. watch: called with the run before the first update and after each; it may put the
    parts back as they were, and what it raises ends the training between two updates.
    history: what was seen. cursor: where acting stopped, None before the first step.
    """

    parts: Mapping[str, Any] = field(default_factory=dict)
    watch: Watch | None = None
    history: History = field(default_factory=History)
    cursor: Cursor | None = None


def train(
    config: Config,
    collect_next: Callable[[], Rollout],
    update: Callable[[Rollout], Statistics],
    run: Run | None = None,
) -> History:
    """Act, update, write down, until config.total_steps or config.stop_return is reached.

    run: what is watched, and the history that is gone on from.
    Raises FloatingPointError saying after which step which quantity was NaN or infinite, and
    EnvironmentFailed saying after which step an environment raised what.
    """
    run = run or Run()
    watch = run.watch or (lambda run: None)
    watch(run)
    while not is_over(config, run.history):
        before = run.history.steps
        doing = "rollout"
        try:
            rollout = collect_next()
            _check_rollout(rollout, before)
            doing = "update"
            # Where the goal is reached by now there is nothing left to learn.
            goes_on = not _reached(config, run.history.episode_returns + rollout.episode_returns)
            statistics = update(rollout) if goes_on else {}
            _check_statistics(statistics)
        except (FloatingPointError, EnvironmentFailed) as error:
            raise type(error)(f"{doing} after step {before}: {error}") from error
        _remember(run.history, rollout, statistics)
        watch(run)
    return run.history


def is_over(config: Config, history: History) -> bool:
    """Whether config.total_steps or config.stop_return is reached."""
    return history.steps >= config.total_steps or _reached(config, history.episode_returns)


def decayed(learning_rate: float, config: Config, history: History) -> float:
    """learning_rate * (1 - (1 - decay_to) * steps / total_steps), after history's steps."""
    return learning_rate * (1 - (1 - config.decay_to) * history.steps / config.total_steps)


def train_on_episodes(
    envs: Any,
    policy: Policy,
    critic: torch.nn.Module,
    config: ReinforceConfig,
    *,
    returns: Callable[[Tensor, float], Tensor],
    loss: Callable[[Tensor, Tensor, Tensor, float], Tensor],
    update: Callable[[Tensor, Tensor, Tensor], Statistics],
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    run: Run | None = None,
) -> History:
    """Loop of REINFORCE: whole episodes, one update for each batch of them. [slide 30]

    A student's own functions train an agent here: its parts read one episode at a time, as the
    lectures write them. An agent in a hurry works on all episodes at once, in `train`.
    returns: (rewards (T,), gamma) -> (T,), called on each episode alone.
    loss: (log_probs (T,), returns (T,), values (T,), gamma) -> scalar of one episode.
    update: (the mean loss over episodes, observations (B, ...) and returns (B,) of all their steps)
    -> numbers to remember; it moves the policy and fits the critic.
    policy and critic are moved to device and trained in place; generator must be on device.
    run: what is watched and gone on from, as in `train`.
    A time limit is the end here: the objective is the return up to it, and nothing bootstraps.
    Raises ValueError for bad input, before the first step.
    """
    _check_device(policy, critic, generator, device)

    def collect_next() -> Rollout:
        return collect_episodes(envs, policy, generator, config.max_steps, device)

    def update_from(rollout: Rollout) -> Statistics:
        # Episode by episode: (N, T) first, then the valid steps in one row (B, ...).
        valid = rollout.valid.T
        lengths = valid.sum(1).tolist()
        observations = rollout.observations.transpose(0, 1)[valid]
        log_probs = policy.log_prob(observations, rollout.actions.transpose(0, 1)[valid])
        columns = (rollout.rewards.T[valid], log_probs, critic(observations))
        losses, targets = [], []
        for rewards, scores, values in zip(*(c.split(lengths) for c in columns), strict=True):
            targets.append(returns(rewards, config.gamma))
            _check_same("returns", targets[-1], rewards)
            losses.append(loss(scores, targets[-1], values, config.gamma))
        return update(torch.stack(losses).mean(), observations, torch.cat(targets))

    return train(config, collect_next, update_from, run)


def train_on_steps(
    envs: Any,
    policy: Policy,
    critic: torch.nn.Module,
    config: PPOConfig | TRPOConfig,
    *,
    advantages: Advantages,
    update: Callable[[Batch], Statistics],
    generator: torch.Generator,
    rescale: Callable[[Rollout], Rollout] | None = None,
    device: torch.device | str = "cpu",
    run: Run | None = None,
) -> History:
    """Loop of PPO and TRPO: a fixed number of steps, advantages from a critic, one update.

    A student's own functions train an agent here, as the reference's do.
    advantages: (rewards, values, next_values, terminated, truncated, gamma, lam) -> (T, N), all
    (T, N); next_values are those of the states really reached.
    update: a Batch of the valid steps -> numbers to remember; it trains policy and critic.
    rescale: a rollout -> the rollout to learn from, with other rewards; history keeps those paid.
    policy and critic are moved to device and trained in place; generator must be on device.
    run: what is watched and gone on from, as in `train`.
    Raises ValueError for bad input, before the first step. [slides 58 and 63]
    """
    _check_device(policy, critic, generator, device)
    run = run or Run()

    def collect_next() -> Rollout:
        steps = config.rollout_steps
        rollout, run.cursor = collect(envs, policy, steps, generator, run.cursor, device)
        return rollout

    def update_from(rollout: Rollout) -> Statistics:
        if rescale is not None:
            rollout = rescale(rollout)
        return update(make_batch(rollout, policy, critic, advantages, config))

    return train(config, collect_next, update_from, run)


@torch.no_grad()
def make_batch(
    rollout: Rollout,
    policy: Policy,
    critic: torch.nn.Module,
    advantages: Advantages,
    config: PPOConfig | TRPOConfig,
) -> Batch:
    """The rollout's valid steps with their advantages, and returns = advantages + values.

    policy: the one that acted, before its update; its log-probs are those of the batch.
    Raises ValueError if advantages is not shaped like the rewards, FloatingPointError if values,
    advantages or log-probs are not finite.
    """
    path_values = critic(rollout.path)  # (T + 1, N)
    if not bool(path_values.isfinite().all()):
        raise FloatingPointError("the critic's values hold NaN: try a smaller learning rate")
    values = path_values[:-1]
    estimates = advantages(
        rollout.rewards,
        values,
        path_values[1:],  # of the states really reached, also at an episode's end
        rollout.terminated,
        rollout.truncated,
        config.gamma,
        config.lam,
    )
    _check_same("advantages", estimates, rollout.rewards)
    row = rollout.in_one_row
    observations, actions = row(rollout.observations), row(rollout.actions)
    log_probs = policy.log_prob(observations, actions)
    if not bool(log_probs.isfinite().all()):
        raise FloatingPointError("the policy's log-probs hold NaN: try a smaller learning rate")
    return Batch(observations, actions, log_probs, row(estimates), row(estimates + values))


def shuffled(length: int, size: int, generator: torch.Generator) -> Sequence[Tensor]:
    """The whole numbers below length in shuffled order, in parts of at most size.

    Their sizes differ by one at most: no part is so small that its gradient is mostly noise.
    """
    order = torch.randperm(length, generator=generator, device=generator.device)
    return order.tensor_split(math.ceil(length / size))


def normalise(advantages: Tensor) -> Tensor:
    """Advantages of a batch (B,), shifted to mean 0 and scaled to standard deviation 1.

    Raises ValueError if there are fewer than two.
    """
    if advantages.ndim != 1 or len(advantages) < 2:
        raise ValueError(
            f"advantages must be (B,) with B at least 2, got {tuple(advantages.shape)}: one number "
            "has no spread, collect more steps"
        )
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def _mean_of_last(returns: list[float], count: int = 100) -> float:
    recent = returns[-count:]
    return sum(recent) / count if len(recent) == count else float("nan")


def _reached(config: Config, returns: list[float]) -> bool:
    """Whether the goal is reached by episodes with these returns."""
    return config.stop_return is not None and _mean_of_last(returns) >= config.stop_return


def _remember(history: History, rollout: Rollout, statistics: Statistics) -> None:
    before = history.steps
    count = rollout.rewards.shape[1]
    history.episode_returns.extend(rollout.episode_returns)
    history.episode_steps.extend(before + (t + 1) * count for t in rollout.episode_ends)
    steps = float(before + rollout.rewards.numel())
    history.updates.append({"steps": steps, "mean_return": history.mean_return(), **statistics})


def _check_device(
    policy: Policy, critic: torch.nn.Module, generator: torch.Generator, device: torch.device | str
) -> None:
    check_generator(generator, check_device(device))
    policy.to(device)
    critic.to(device)


def _check_rollout(rollout: Rollout, before: int) -> None:
    """Raise FloatingPointError if a reward or an observation of a valid step is not finite."""
    columns = {"reward": rollout.rewards, "observation": rollout.next_observations}
    for name, column in columns.items():
        if bool(column.sum().isfinite()):
            continue
        broken = ~column.isfinite().flatten(2).all(-1) if column.ndim > 2 else ~column.isfinite()
        where = torch.nonzero(broken & rollout.valid)
        if len(where) > 0:
            t, n = where[0].tolist()
            step = before + (t + 1) * rollout.rewards.shape[1]
            raise FloatingPointError(
                f"the {name} of environment {n} at step {step} is {column[t, n].tolist()}: look at "
                "what the environment gave"
            )


def _check_statistics(statistics: Statistics) -> None:
    for name, value in statistics.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"{name} is {value}: try a smaller learning rate")


def _check_same(name: str, tensor: Any, like: Tensor) -> None:
    if not isinstance(tensor, Tensor) or tensor.shape != like.shape:
        got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise ValueError(
            f"{name} must give a tensor shaped like the rewards {tuple(like.shape)}, got {got}: "
            "look at the function that was passed in"
        )
    if not bool(tensor.isfinite().all()):
        raise FloatingPointError(
            f"{name} gave NaN or infinite numbers: look at the function that was passed in, or at "
            "a critic that diverged"
        )


def _check_config(config: Any) -> None:
    """Each field against what its name means, once, when the config is made."""
    for name, value in vars(config).items():
        if name == "gamma":
            check_discount(value)
        elif name in ("lam", "epsilon", "decay_to"):
            validate.fractions(**{name: value})
        elif name in ("learning_rate", "critic_learning_rate", "delta", "max_grad_norm"):
            validate.positive(**{name: value})
        elif name in ("damping", "value_weight", "entropy_weight"):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be a finite number, 0 or above, got {value}")
        elif name == "hidden":
            if any(not isinstance(width, int) or width < 1 for width in value):
                raise ValueError(f"hidden must be widths of at least 1, got {value}: try (64, 64)")
        elif isinstance(value, bool) or name.startswith("scale_"):
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be True or False, got {value}")
        elif name == "stop_return":
            if value is not None and not math.isfinite(value):
                raise ValueError(f"stop_return must be a finite number, or None, got {value}")
        elif not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value}")
