"""Seconds to a mean of 475 over the last 100 training episodes on CartPole-v1, beside a peer's.

    python benchmarks/training.py [--seeds 5] [--first-seed 100] [--peer-seeds 5] [--json FILE]

One thread, the same networks for all (two tanh layers of 64), the configurations' defaults. Every
algorithm is trained for a moment before the clock starts, and nothing is evaluated on it: the mean
is of the episodes that training itself plays. The peer is Stable-Baselines3's PPO with rl-zoo's
settings; it needs the bench extra and most of the time, so it may be given fewer seeds, or none.
Ratios are of the medians of process time. A run that does not get there counts as endless.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    from machine import one_core

    one_core()

import torch
from machine import facts, timed
from rich.console import Console
from rich.table import Table

from course_lib.reference.agents.ppo import train_ppo
from course_lib.reference.agents.reinforce import train_reinforce
from course_lib.reference.agents.trpo import train_trpo
from course_lib.seeding import new_generator
from course_lib.training import PPOConfig, ReinforceConfig, TRPOConfig

ENV_ID, GOAL, EPISODES = "CartPole-v1", 475.0, 100
OURS = {
    "REINFORCE with baseline": (train_reinforce, ReinforceConfig(stop_return=GOAL)),
    "PPO": (train_ppo, PPOConfig(stop_return=GOAL)),
    "TRPO": (train_trpo, TRPOConfig(stop_return=GOAL)),
}
PEER = "Stable-Baselines3 PPO"


@dataclass(frozen=True)
class Run:
    """One training: seconds, environment steps taken, and whether it got there."""

    seed: int
    wall_s: float
    cpu_s: float
    steps: int
    reached: bool


def train_ours(train: Callable[..., Any], config: Any, seed: int) -> Run:
    """One of our agents."""
    with timed() as clock:
        _, history = train(ENV_ID, config, generator=new_generator(seed))
    reached = history.mean_return(EPISODES) >= GOAL
    return Run(seed, clock.wall, clock.cpu, history.steps, reached)


def train_peer(seed: int, total_steps: int) -> Run:
    """Stable-Baselines3's PPO with rl-zoo's settings for CartPole-v1."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    class StopWhenSolved(BaseCallback):
        solved = False

        def _on_step(self) -> bool:
            return not self.solved

        def _on_rollout_end(self) -> None:
            seen = self.model.ep_info_buffer or []
            returns = [episode["r"] for episode in seen]
            self.solved = len(returns) == EPISODES and statistics.fmean(returns) >= GOAL

    stop = StopWhenSolved()
    with timed() as clock:
        model = PPO(
            "MlpPolicy",
            make_vec_env(ENV_ID, n_envs=8, seed=seed),
            n_steps=32,
            batch_size=256,
            gae_lambda=0.8,
            gamma=0.98,
            n_epochs=20,
            ent_coef=0.0,
            learning_rate=lambda left: 0.001 * left,
            clip_range=lambda left: 0.2 * left,
            stats_window_size=EPISODES,
            seed=seed,
            device="cpu",
        )
        model.learn(total_steps, callback=stop)
    return Run(seed, clock.wall, clock.cpu, model.num_timesteps, stop.solved)


def median(runs: list[Run], name: str) -> float:
    """Median over the seeds, endless where a run did not get there."""
    return statistics.median(getattr(run, name) if run.reached else math.inf for run in runs)


def summary(runs: list[Run]) -> dict[str, Any]:
    """Medians and every run."""
    return {
        "solved": sum(run.reached for run in runs),
        "median_cpu_s": median(runs, "cpu_s"),
        "median_wall_s": median(runs, "wall_s"),
        "median_steps": median(runs, "steps"),
        "runs": [asdict(run) for run in runs],
    }


def measure(seeds: range, peer_seeds: range, peer_steps: int) -> dict[str, Any]:
    """All algorithms, seed by seed in turn, so that a busy minute hits them alike."""
    torch.set_num_threads(1)
    for train, config in OURS.values():
        train_ours(train, replace(config, total_steps=5000), 0)
    if peer_seeds:
        train_peer(0, 256)
    runs: dict[str, list[Run]] = {name: [] for name in OURS}
    if peer_seeds:
        runs[PEER] = []
    for seed in sorted({*seeds, *peer_seeds}):
        for name, (train, config) in OURS.items():
            if seed in seeds:
                runs[name].append(train_ours(train, config, seed))
        if seed in peer_seeds:
            runs[PEER].append(train_peer(seed, peer_steps))
        print(f"seed {seed} done", file=sys.stderr)
    results = {name: summary(each) for name, each in runs.items()}
    if peer_seeds:
        slow = results[PEER]["median_cpu_s"]
        for result in results.values():
            result["times_faster"] = slow / result["median_cpu_s"]
    return results


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=100, help="100 and up: none was tuned on")
    parser.add_argument("--peer-seeds", type=int, default=5, help="0 leaves the peer out")
    parser.add_argument("--peer-steps", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    peer_seeds = range(options.first_seed, options.first_seed + options.peer_seeds)
    before = facts()
    results = measure(seeds, peer_seeds, options.peer_steps)
    table = Table(title=f"{ENV_ID} to {GOAL:g}, one thread, medians", title_justify="left")
    table.add_column("algorithm")
    for name in ("solved", "process s", "wall s", "steps", "times faster"):
        table.add_column(name, justify="right")
    for name, result in results.items():
        table.add_row(
            name,
            f"{result['solved']} of {len(result['runs'])}",
            f"{result['median_cpu_s']:.2f}",
            f"{result['median_wall_s']:.2f}",
            f"{result['median_steps']:,.0f}",
            f"{result['times_faster']:.1f}" if "times_faster" in result else "",
        )
    Console().print(table)
    if options.json:
        report = {"env": ENV_ID, "goal": GOAL, "machine": before, "load_after": facts()["load"]}
        report["configs"] = {name: asdict(config) for name, (_, config) in OURS.items()}
        report["results"] = results
        options.json.write_text(json.dumps(report, indent=1))
        print(f"wrote {options.json}")


if __name__ == "__main__":
    main()
