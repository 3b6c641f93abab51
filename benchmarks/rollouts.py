"""What acting costs: steps a second beside a bare NumPy policy.

    python benchmarks/rollouts.py [--rounds 5] [--json FILE]

One thread. The bare policy has the same layers (two of 64, tanh) and environments; its loop
draws actions by the inverse of the cumulative probabilities and keeps nothing, while ours writes a
rollout down. Both take turns, and the least process time of the rounds counts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    from machine import one_core

    one_core()

import numpy as np
import torch
from machine import best, facts
from rich.console import Console
from rich.table import Table

from course_lib.policies import policy_for
from course_lib.rollout import collect, make_envs
from course_lib.seeding import new_generator

ENV_ID = "CartPole-v1"


def bare_rollout(envs: Any, weights: list[tuple[np.ndarray, np.ndarray]], steps: int) -> None:
    """A NumPy policy and the environments, and nothing else."""
    rng = np.random.default_rng(0)
    observations, _ = envs.reset(seed=0)
    *hidden, (last_weight, last_bias) = weights
    for _ in range(steps):
        inputs = observations
        for weight, bias in hidden:
            inputs = np.tanh(inputs @ weight + bias)
        logits = inputs @ last_weight + last_bias
        logits -= logits.max(1, keepdims=True)
        cdf = np.exp(logits).cumsum(1)
        draws = rng.random(len(cdf)) * cdf[:, -1]
        actions = (draws[:, None] >= cdf[:, :-1]).sum(1)
        observations = envs.step(actions)[0]


def throughput(count: int, rounds: int) -> dict[str, float]:
    """Steps a second of both, taking turns."""
    steps = max(200, 20_000 // count)
    envs = make_envs(ENV_ID, count)
    generator = new_generator(0)
    policy = policy_for(envs, generator=generator)
    weights = [
        (layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy())
        for layer in policy.net.linear
    ]
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(rounds):
        seconds["bare"].append(best(lambda: bare_rollout(envs, weights, steps), 2))
        seconds["ours"].append(best(lambda: collect(envs, policy, steps, generator), 2))
    bare, ours = (count * steps / min(seconds[name]) for name in ("bare", "ours"))
    return {"envs": count, "bare_steps_per_s": bare, "ours_steps_per_s": ours, "share": ours / bare}


def print_rows(title: str, rows: list[dict[str, float]]) -> None:
    """A table of rows that have the same keys."""
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(f"{v:,.0f}" if abs(v) >= 10 else f"{v:.4g}" for v in row.values()))
    Console().print(table)


def main() -> None:
    """Measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {"env": ENV_ID, "machine": facts()}
    report["throughput"] = [throughput(count, options.rounds) for count in (8, 64, 512)]
    report["load_after"] = facts()["load"]
    print_rows(f"{ENV_ID}, steps a second", report["throughput"])
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
        print(f"wrote {options.json}")


if __name__ == "__main__":
    main()
