"""What PPO's knobs and details are worth on CartPole, and what many steps on one batch do.

    python benchmarks/recordings/ppo_on_cartpole.py [--seeds 10] [--json FILE]

The lectures read FILE from course_lib/data/ppo_on_cartpole.json.

Each variant changes one thing about an agent like the course's and trains for 50,000 environment
steps from several seeds; what counts is the mean return of 64 fresh episodes by the policy at the
end. Then three objectives climb on one batch of a half-trained agent, and what becomes of it is
measured after each pass. Lecture 7 shows the numbers, which are shipped as data because agents of
this kind are what its homework builds up to. About 25 minutes on two cores.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from course_lib.optimiser import Adam
from course_lib.policies import Policy, critic_for, policy_for
from course_lib.reference.agents.ablations import gae_to_the_limit
from course_lib.reference.answers.clipped_surrogate import clipped_surrogate
from course_lib.reference.answers.gae import gae
from course_lib.reference.answers.surrogate import surrogate
from course_lib.rollout import collect, collect_episodes, make_envs
from course_lib.training import (
    Batch,
    History,
    PPOConfig,
    Statistics,
    make_batch,
    normalise,
    train_on_steps,
)

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = "CartPole-v1"
STEPS = 50_000
EPISODES = 64
PASSES = 40
LOOKS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 20, 30, 40)  # passes after which the return is measured

# What every variant starts from. Written out, so that a recording stays what it says it is when the
# course's own numbers are tuned anew.
UNCHANGED = PPOConfig(
    envs=64,
    rollout_steps=32,
    gamma=0.98,
    lam=0.9,
    epsilon=0.2,
    learning_rate=5e-3,
    epochs=4,
    minibatches=4,
    value_weight=0.5,
    entropy_weight=0.0,
    max_grad_norm=0.5,
    hidden=(64, 64),
    scale_rewards=False,
    decay_to=1.0,
    total_steps=STEPS,
)

Objective = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def without_clip(log_probs: Tensor, old: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
    """Importance-weighted surrogate; epsilon is not used."""
    return surrogate(log_probs, old, advantages)


def without_ratio(log_probs: Tensor, old: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
    """Vanilla policy gradient's objective, as if the batch were fresh at every step."""
    return (log_probs * advantages).mean()


def as_it_is(advantages: Tensor) -> Tensor:
    """No normalisation."""
    return advantages


def keep_weights(policy: Policy, critic: nn.Module, generator: torch.Generator) -> None:
    """The course's first weights: orthogonal, the policy's last layer 100 times smaller."""


def default_weights(policy: Policy, critic: nn.Module, generator: torch.Generator) -> None:
    """PyTorch's first weights and biases: uniform in +-1 / sqrt(inputs)."""
    for layer in [*policy.modules(), *critic.modules()]:
        if isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


@torch.no_grad()
def decided_weights(policy: Policy, critic: nn.Module, generator: torch.Generator) -> None:
    """Last layer of the policy as large as the others: it starts with strong opinions."""
    [*_, last] = (layer for layer in policy.modules() if isinstance(layer, nn.Linear))
    last.weight.mul_(100)


@dataclass(frozen=True)
class Variant:
    """The course's PPO with something changed; the defaults change nothing."""

    config: PPOConfig = UNCHANGED
    objective: Objective = clipped_surrogate
    prepare: Callable[[Tensor], Tensor] = normalise
    advantages: Any = gae
    first_weights: Callable[[Policy, nn.Module, torch.Generator], None] = keep_weights
    adam_epsilon: float = 1e-8
    anneal: bool = False
    clip_values: bool = False


def variants() -> dict[str, dict[str, Variant]]:
    """Group -> name -> variant."""

    def knob(**values: Any) -> Variant:
        return Variant(replace(UNCHANGED, **values))

    return {
        "baseline": {"as it is": Variant()},
        "epochs": {str(k): knob(epochs=k) for k in (1, 2, 3, 10, 30)},
        "knobs": {
            **{f"learning_rate {x:g}": knob(learning_rate=x) for x in (5e-4, 1.5e-3, 1.5e-2, 5e-2)},
            **{f"epsilon {x:g}": knob(epsilon=x) for x in (0.05, 0.1, 0.4, 0.8)},
            **{f"gamma {x:g}": knob(gamma=x) for x in (0.9, 0.95, 0.995)},
            **{f"lam {x:g}": knob(lam=x) for x in (0.0, 0.5, 0.98, 1.0)},
            **{f"minibatches {x}": knob(minibatches=x) for x in (1, 2, 16)},
            **{f"rollout_steps {x}": knob(rollout_steps=x) for x in (8, 16, 128)},
            **{f"entropy_weight {x:g}": knob(entropy_weight=x) for x in (0.01, 0.1)},
            **{f"value_weight {x:g}": knob(value_weight=x) for x in (0.05, 5.0)},
        },
        "details": {
            "no clip": Variant(objective=without_clip),
            "no ratio": Variant(objective=without_ratio),
            "advantages not normalised": Variant(prepare=as_it_is),
            "gradient not cut": knob(max_grad_norm=1e9),
            "default first weights": Variant(first_weights=default_weights),
            "large last layer": Variant(first_weights=decided_weights),
            "Adam's epsilon 1e-5": Variant(adam_epsilon=1e-5),
            "learning rate annealed": Variant(anneal=True),
            "values clipped": Variant(clip_values=True),
            "entropy bonus 0.01": knob(entropy_weight=0.01),
            "whole returns for GAE": knob(lam=1.0),
            "one minibatch": knob(minibatches=1),
            "4 environments": knob(envs=4, rollout_steps=512),
            "time limit as an end": Variant(advantages=gae_to_the_limit),
        },
    }


def value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float | None) -> Tensor:
    """Mean squared error; with clip, the worse of it and that of values kept within clip of old."""
    errors = (values - returns) ** 2
    if clip is None:
        return errors.mean()
    kept = old + (values - old).clamp(-clip, clip)
    return torch.maximum(errors, (kept - returns) ** 2).mean()


def train_variant(variant: Variant, seed: int) -> tuple[Policy, nn.Module, History]:
    """Train from a seed; returns the policy, its critic and what was seen."""
    generator, config = torch.Generator().manual_seed(seed), variant.config
    envs = make_envs(ENVIRONMENT, config.envs)
    policy = policy_for(envs, config.hidden, generator=generator)
    critic = critic_for(envs, config.hidden, generator=generator)
    variant.first_weights(policy, critic, generator)
    optimiser = Adam([policy, critic], config.learning_rate, variant.adam_epsilon)
    total = math.ceil(config.total_steps / (config.envs * config.rollout_steps))
    done = 0

    def update(batch: Batch) -> Statistics:
        nonlocal done
        if variant.anneal:
            optimiser.learning_rate = config.learning_rate * (1 - done / total)
        done += 1
        with torch.no_grad():
            before = critic(batch.observations)
        clip = config.epsilon if variant.clip_values else None
        columns = replace(batch, returns=torch.stack([batch.returns, before], -1))
        for _ in range(config.epochs):
            for part in columns.minibatches(config.minibatches, generator):
                log_probs = policy.log_prob(part.observations, part.actions)
                gain = variant.objective(
                    log_probs, part.log_probs, variant.prepare(part.advantages), config.epsilon
                )
                values = critic(part.observations)
                error = value_loss(values, part.returns[:, 1], part.returns[:, 0], clip)
                loss = config.value_weight * error - gain
                if config.entropy_weight > 0:
                    entropy = policy.entropy(part.observations).mean()
                    loss = loss - config.entropy_weight * entropy
                optimiser.minimise(loss, config.max_grad_norm)
        return {}

    history = train_on_steps(
        envs,
        policy,
        critic,
        config,
        advantages=variant.advantages,
        update=update,
        generator=generator,
    )
    envs.close()
    return policy, critic, history


def fresh_return(policy: Policy, seed: int) -> float:
    """Mean undiscounted return of fresh episodes, actions drawn as in training."""
    envs = make_envs(ENVIRONMENT, EPISODES)
    rollout = collect_episodes(envs, policy, torch.Generator().manual_seed(10_000 + seed))
    envs.close()
    return statistics.fmean(rollout.episode_returns)


def final_return(variant: Variant, seed: int) -> tuple[float, list[float]]:
    """Return of the policy that a seed ends with, and the training episodes' mean on the way."""
    torch.set_num_threads(1)
    policy, _, history = train_variant(variant, seed)
    curve = [round(update["mean_return"], 1) for update in history.updates]
    return round(fresh_return(policy, seed), 1), [x for x in curve if not math.isnan(x)]


def pushes(ratio: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
    """Which samples still have a gradient."""
    spent = (advantages > 0) & (ratio > 1 + epsilon) | (advantages < 0) & (ratio < 1 - epsilon)
    return ~spent


def one_batch(seed: int) -> dict[str, dict[str, list[float]]]:
    """Three objectives on one batch of an agent that has trained for 20,000 steps."""
    torch.set_num_threads(1)
    config = replace(UNCHANGED, total_steps=20_000)
    policy, critic, _ = train_variant(Variant(config), seed)
    generator = torch.Generator().manual_seed(seed)
    envs = make_envs(ENVIRONMENT, config.envs)
    rollout, _ = collect(envs, policy, config.rollout_steps, generator)
    envs.close()
    batch = make_batch(rollout, policy, critic, gae, config)
    batch = replace(batch, advantages=normalise(batch.advantages))
    found = {}
    for name, objective in {
        "vanilla": without_ratio,
        "importance-weighted": without_clip,
        "clipped": clipped_surrogate,
    }.items():
        mine = copy.deepcopy(policy)
        optimiser = Adam([mine], config.learning_rate)
        rows: list[list[float]] = []
        returns: list[float] = []
        order = torch.Generator().manual_seed(seed)
        for number in range(PASSES + 1):
            with torch.no_grad():
                log_probs = mine.log_prob(batch.observations, batch.actions)
                ratio = (log_probs - batch.log_probs).exp()
                moving = pushes(ratio, batch.advantages, config.epsilon)
                kl = (ratio - 1 - ratio.log()).mean()
                outside = ((ratio - 1).abs() > config.epsilon).float().mean()
            row = [1 - moving.float().mean().item(), outside.item(), kl.item()]
            row += [ratio.min().item(), ratio.max().item()]
            rows.append([float(f"{x:.4g}") for x in row])
            if number in LOOKS:
                returns.append(round(fresh_return(mine, seed), 1))
            if number == PASSES:
                break
            for part in batch.minibatches(config.minibatches, order):
                scores = mine.log_prob(part.observations, part.actions)
                gain = objective(scores, part.log_probs, part.advantages, config.epsilon)
                optimiser.minimise(-gain, config.max_grad_norm)
        names = ("zero_gradient", "outside", "kl", "smallest", "largest")
        columns = zip(names, zip(*rows, strict=True), strict=True)
        found[name] = {key: list(column) for key, column in columns} | {"return": returns}
    return found


def main() -> None:
    """Train everything, print the table, write the data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seeds", type=int, default=10, help="of each variant; the baseline: twice"
    )
    parser.add_argument(
        "--json", type=Path, default=ROOT / "course_lib" / "data" / "ppo_on_cartpole.json"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    groups = variants()
    jobs = [
        (group, name, variant, seed)
        for group, members in groups.items()
        for name, variant in members.items()
        for seed in range(options.seeds * (2 if group == "baseline" else 1))
    ]
    result: dict[str, Any] = {
        "command": "python benchmarks/recordings/ppo_on_cartpole.py",
        "environment": ENVIRONMENT,
        "steps": STEPS,
        "episodes": EPISODES,
        "looks": LOOKS,
        **{group: {name: [] for name in members} for group, members in groups.items()},
        "curves": [],
    }
    with ProcessPoolExecutor(options.workers) as pool:
        batches = [pool.submit(one_batch, seed) for seed in range(options.seeds)]
        runs = [pool.submit(final_return, variant, seed) for *_, variant, seed in jobs]
        result["one_batch"] = [run.result() for run in track(batches, "one batch")]
        for (group, name, _, _), run in track(list(zip(jobs, runs, strict=True)), "training"):
            final, curve = run.result()
            result[group][name].append(final)
            if group == "baseline":
                result["curves"].append(curve)
    table = Table(title=f"{ENVIRONMENT}: return after {STEPS:,} steps", title_justify="left")
    for column in ("group", "variant", "mean", "standard error", "seeds"):
        table.add_column(column)
    for group, members in groups.items():
        for name in members:
            finals = result[group][name]
            error = statistics.stdev(finals) / math.sqrt(len(finals)) if len(finals) > 1 else 0.0
            mean = statistics.fmean(finals)
            table.add_row(group, name, f"{mean:.0f}", f"{error:.0f}", str(len(finals)))
    Console().print(table)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result) + "\n")
    print(f"wrote {options.json}")


if __name__ == "__main__":
    main()
