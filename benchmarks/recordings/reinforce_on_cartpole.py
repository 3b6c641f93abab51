"""Record REINFORCE on CartPole-v1 for the lectures: step sizes, seeds, with and without baseline.

    python benchmarks/recordings/reinforce_on_cartpole.py [--workers 2] [--json FILE]

Writes course_lib/data/reinforce_on_cartpole.json and prints a table. Lectures cannot train these
agents themselves: the update rule is homework, and the runs take minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from course_lib.optimiser import Adam
from course_lib.policies import critic_for, policy_for
from course_lib.reference.agents.reinforce import padded_returns, policy_losses
from course_lib.rollout import collect_episodes, make_envs

TARGET = Path(__file__).parents[2] / "course_lib" / "data" / "reinforce_on_cartpole.json"
ENV, EPISODES, UPDATES, GAMMA, SEEDS = "CartPole-v1", 16, 100, 0.99, 6
CRITIC_LEARNING_RATE, CRITIC_EPOCHS = 2e-2, 10
LEARNING_RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
BASELINE_LEARNING_RATE = 0.01
ARMS = [("plain", rate) for rate in LEARNING_RATES] + [("baseline", BASELINE_LEARNING_RATE)]


def record(arm: str, learning_rate: float, seed: int) -> dict[str, list[float]]:
    """One run: numbers of each update, all of the policy that acted but kl, of the step after it.

    mean_return: of the update's episodes. entropy, kl: mean over their steps, in nats; kl is
    KL(before || after) of the update.
    """
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    envs = make_envs(ENV, EPISODES)
    policy = policy_for(envs, generator=generator)
    optimiser = Adam([policy], learning_rate)
    critic = critic_for(envs, generator=generator)
    critic_optimiser = Adam([critic], CRITIC_LEARNING_RATE)
    run: dict[str, list[float]] = {"mean_return": [], "entropy": [], "kl": []}
    for _ in range(UPDATES):
        rollout = collect_episodes(envs, policy, generator)
        observations = rollout.in_one_row(rollout.observations)  # (B, 4)
        advantages = returns = rollout.in_one_row(padded_returns(rollout, GAMMA))  # (B,)
        if arm == "baseline":
            with torch.no_grad():
                advantages = returns - critic(observations)
        with torch.no_grad():
            before = policy.distribution(observations)
        optimiser.minimise(policy_losses(policy, rollout, advantages, GAMMA))
        if arm == "baseline":
            for _ in range(CRITIC_EPOCHS):
                errors = critic(observations) - returns
                critic_optimiser.minimise((errors**2).mean())
        with torch.no_grad():
            run["mean_return"].append(round(statistics.mean(rollout.episode_returns), 2))
            run["entropy"].append(round(float(before.entropy().mean()), 4))
            run["kl"].append(round(float(policy.kl(before, observations).mean()), 5))
    envs.close()
    return run


def main() -> None:
    """Record every arm, write the file, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    parser.add_argument("--json", type=Path, default=TARGET, help="file to write")
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.workers) as pool:
        futures = {arm: [pool.submit(record, *arm, seed) for seed in range(SEEDS)] for arm in ARMS}
        arms: list[dict[str, Any]] = [
            {"arm": arm, "learning_rate": rate, "runs": [future.result() for future in runs]}
            for (arm, rate), runs in futures.items()
        ]
    settings = {
        "environment": ENV,
        "episodes_per_update": EPISODES,
        "updates": UPDATES,
        "gamma": GAMMA,
        "optimiser": "Adam",
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"settings": settings, "arms": arms}, separators=(",", ":"))
    arguments.json.write_text(text.replace('{"arm"', '\n{"arm"') + "\n", encoding="utf-8")
    print(f"{'arm':10}{'learning rate':>15}{'last 20 updates, mean return of each seed':>45}")
    for entry in arms:
        last = [statistics.mean(run["mean_return"][-20:]) for run in entry["runs"]]
        print(f"{entry['arm']:10}{entry['learning_rate']:15}   {[round(x) for x in last]}")
    print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()
