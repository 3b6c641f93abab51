"""Record one episode of an agent before, amid and after training, for lectures to show.

    python benchmarks/recordings/agents_to_watch.py [--json FILE]

REINFORCE on CartPole-v1 and PPO on Pendulum-v1: the same seed, stopped at several moments, then
one episode each from the same start. Writes course_lib/data/agents_to_watch.json and prints a
table. Lectures draw the states themselves, so that nobody needs a renderer. About two minutes.
"""

from __future__ import annotations

import argparse
import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from course_lib.policies import Policy
from course_lib.reference.agents.ppo import train_ppo
from course_lib.reference.agents.reinforce import train_reinforce
from course_lib.training import PPOConfig, ReinforceConfig, Run

TARGET = Path(__file__).parents[2] / "course_lib" / "data" / "agents_to_watch.json"
SEEDS = {"CartPole-v1": 0, "Pendulum-v1": 1}  # of training
START = 3  # of the episodes that are shown: the pendulum hangs
# Written out, so that a recording stays what it says when the course's own numbers are tuned anew.
CARTPOLE = ReinforceConfig(
    envs=32,
    gamma=0.999,
    learning_rate=1.5e-2,
    critic_learning_rate=3e-2,
    critic_epochs=2,
    critic_batch=512,
    hidden=(64, 64),
    max_steps=1000,
    decay_to=1.0,
)
PENDULUM = PPOConfig(
    envs=16,
    rollout_steps=128,
    gamma=0.9,
    lam=0.95,
    epsilon=0.2,
    learning_rate=1e-3,
    epochs=10,
    minibatches=16,
    value_weight=0.5,
    entropy_weight=0.0,
    max_grad_norm=0.5,
    hidden=(64, 64),
    scale_observations=True,
    scale_rewards=True,
    decay_to=1.0,
)
# environment: moments of training: name -> fewest environment steps
MOMENTS = {
    "CartPole-v1": {"before": 0, "halfway": 40_000, "after": 150_000},
    "Pendulum-v1": {"before": 0, "halfway": 24_000, "after": 150_000},
}


def train_and_keep(env_id: str) -> dict[str, tuple[Policy, int]]:
    """name of the moment -> the policy then, and after how many environment steps."""
    moments, kept = MOMENTS[env_id], {}

    def keep(run: Run) -> None:
        for name, steps in moments.items():
            if name not in kept and run.history.steps >= steps:
                kept[name] = copy.deepcopy(run.parts["policy"]), run.history.steps

    generator = torch.Generator().manual_seed(SEEDS[env_id])
    last = max(moments.values())
    if env_id == "CartPole-v1":
        train_reinforce(
            env_id, replace(CARTPOLE, total_steps=last), generator=generator, watch=keep
        )
    else:
        train_ppo(env_id, replace(PENDULUM, total_steps=last), generator=generator, watch=keep)
    return kept


@torch.no_grad()
def episode(env_id: str, policy: Policy) -> dict[str, list[Any]]:
    """One episode from the environment's start number START, actions drawn by the policy.

    observations: T + 1 rows. actions, as the environment was given them, and rewards: T each.
    """
    env = gymnasium.make(env_id)
    generator = torch.Generator().manual_seed(START)
    observation, _ = env.reset(seed=START)
    seen, actions, rewards = [observation.tolist()], [], []
    over = False
    while not over:
        drawn, _ = policy.sample(torch.as_tensor(observation, dtype=torch.float32)[None], generator)
        action = drawn[0].numpy()
        if isinstance(env.action_space, gymnasium.spaces.Box):
            action = np.clip(action, env.action_space.low, env.action_space.high)
        observation, reward, terminated, truncated, _ = env.step(action)
        over = terminated or truncated
        seen.append(observation.tolist())
        actions.append(np.ravel(action).tolist())
        rewards.append(float(reward))
    env.close()
    return {"observations": _rounded(seen), "actions": _rounded(actions), "rewards": rewards}


def main() -> None:
    """Train, record, write the file, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=TARGET, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("environment", "moment", "after steps", "length", "return")
    recording: dict[str, Any] = {}
    for env_id in track(MOMENTS, "training"):
        recording[env_id] = {}
        for name, (policy, steps) in train_and_keep(env_id).items():
            shown = episode(env_id, policy)
            total = round(sum(shown.pop("rewards")), 1)
            recording[env_id][name] = {"training_steps": steps, "return": total, **shown}
            table.add_row(env_id, name, f"{steps:,}", f"{len(shown['actions'])}", f"{total}")
    text = json.dumps({"start_seed": START, "agents": recording}, separators=(",", ":"))
    for name in ("before", "halfway", "after"):
        text = text.replace(f'"{name}"', f'\n"{name}"')
    arguments.json.write_text(text + "\n", encoding="utf-8")
    Console().print(table)
    print(f"wrote {arguments.json}")


def _rounded(rows: list[Any]) -> list[Any]:
    """Three digits are finer than any picture."""
    return np.round(np.array(rows, dtype=float), 3).tolist()  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
