"""What size costs, and importing: growth of time and memory with environments and steps.

    python benchmarks/footprint.py [--doublings 4] [--rounds 3] [--imports 15] [--json FILE]

Growth: one rollout and one update of each agent on Pendulum-v1 made of tensors (episodes of equal
length, so that twice the size is twice the steps), from 1024 environments times 12 steps on, either
doubled; its episodes last 200 steps. Each size has a fresh process: process seconds, the least of
the rounds, one thread; and the peak of resident memory over what the process held after a small
training. The exponent k is fitted to cost = c * size^k: 1 is linear, and less where a fixed cost is
shared by more. On a busy machine and from 512 x 32 on, PPO and TRPO had 0.86 to 0.95 in time and
0.93 to 0.95 in memory.
Import: user and system seconds of fresh processes, the three statements in turn, medians. On the
same machine what training needs was within the noise of `import torch`, from -2.5 % to +0.9 %: it
loads nothing that torch has not loaded.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
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

from course_lib.reference.agents.ppo import train_ppo
from course_lib.reference.agents.reinforce import train_reinforce
from course_lib.reference.agents.trpo import train_trpo
from course_lib.seeding import new_generator
from course_lib.training import PPOConfig, ReinforceConfig, TRPOConfig

ENV_ID = "tensor/Pendulum-v1"
AGENTS: dict[str, tuple[Any, Any, str]] = {
    "REINFORCE": (train_reinforce, ReinforceConfig(), "max_steps"),
    "PPO": (train_ppo, PPOConfig(), "rollout_steps"),
    "TRPO": (train_trpo, TRPOConfig(), "rollout_steps"),
}
ENVIRONMENTS, STEPS = 1024, 12
TRAINING = "course_lib.policies, course_lib.rollout, course_lib.training, course_lib.optimiser"
STATEMENTS = {
    "import torch": "import torch",
    "import torch, course_lib": "import torch, course_lib",
    "and what training needs": f"import torch, {TRAINING}, course_lib.reference.agents.scaling",
}


def peak_bytes() -> int:
    """Most resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kB on Linux


def one_size(agent: str, envs: int, steps: int, rounds: int) -> dict[str, float]:
    """Seconds and bytes of one rollout and update. To be called in a fresh process."""
    torch.set_num_threads(1)
    train, config, steps_name = AGENTS[agent]

    def update(count: int, length: int) -> None:
        # REINFORCE's episodes last as long as they may, here: nothing else ends them.
        sized = replace(config, envs=count, total_steps=1, **{steps_name: length})
        train(ENV_ID, sized, generator=new_generator(0))

    update(8, 16)
    before = peak_bytes()
    seconds = best(lambda: update(envs, steps), rounds)
    return {"envs": envs, "steps": steps, "seconds": seconds, "bytes": peak_bytes() - before}


def growth(agent: str, doublings: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Two rows for an agent: sizes, costs and exponents against environments and against steps."""
    for axis in ("envs", "steps"):
        points = []
        for doubling in range(doublings + 1):
            factor = 2**doubling
            envs = ENVIRONMENTS * (factor if axis == "envs" else 1)
            steps = STEPS * (factor if axis == "steps" else 1)
            command = [sys.executable, __file__, "--size", agent, str(envs), str(steps)]
            command += ["--rounds", str(rounds)]
            points.append(json.loads(subprocess.check_output(command, text=True)))
            print(f"{agent}, {envs} x {steps} done", file=sys.stderr)
        yield {
            "agent": agent,
            "against": axis,
            "points": points,
            "time_exponent": exponent(points, "seconds"),
            "memory_exponent": exponent(points, "bytes"),
        }


def exponent(points: list[dict[str, float]], cost: str) -> float:
    """Slope of log cost against log size, by least squares."""
    sizes = [math.log(point["envs"] * point["steps"]) for point in points]
    return float(np.polyfit(sizes, [math.log(point[cost]) for point in points], 1)[0])


def import_seconds(rounds: int) -> dict[str, float]:
    """Median user and system seconds of fresh processes that run one statement, in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(rounds):
        for name, statement in STATEMENTS.items():
            child = os.posix_spawn(sys.executable, [sys.executable, "-c", statement], os.environ)
            _, status, usage = os.wait4(child, 0)
            if status != 0:
                raise SystemExit(f"{statement} failed")
            seconds[name].append(usage.ru_utime + usage.ru_stime)
    return {name: statistics.median(each) for name, each in seconds.items()}


def print_growth(rows: list[dict[str, Any]]) -> None:
    """From the first size to the last, and the exponents."""
    title = f"One rollout and update on {ENV_ID}, from {ENVIRONMENTS} x {STEPS} on"
    table = Table(title=title, title_justify="left")
    for name in ("agent", "doubled"):
        table.add_column(name)
    for name in ("times", "seconds", "exponent", "peak MB", "exponent"):
        table.add_column(name, justify="right")
    for row in rows:
        first, last = row["points"][0], row["points"][-1]
        table.add_row(
            row["agent"],
            row["against"],
            str(len(row["points"]) - 1),
            f"{first['seconds']:.2f} to {last['seconds']:.2f}",
            f"{row['time_exponent']:.2f}",
            f"{first['bytes'] / 1e6:.0f} to {last['bytes'] / 1e6:.0f}",
            f"{row['memory_exponent']:.2f}",
        )
    Console().print(table)


def print_imports(seconds: dict[str, float]) -> None:
    """Seconds, and what they are more than torch alone."""
    table = Table(title="Import, user and system seconds", title_justify="left")
    table.add_column("statement")
    table.add_column("seconds", justify="right")
    table.add_column("more than torch", justify="right")
    alone = seconds["import torch"]
    for name, each in seconds.items():
        table.add_row(name, f"{each:.3f}", f"{each / alone - 1:+.1%}")
    Console().print(table)


def main() -> None:
    """Measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--doublings", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--imports", type=int, default=15)
    parser.add_argument("--size", nargs=3, metavar=("AGENT", "ENVS", "STEPS"), help="one alone")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.size:
        agent, envs, steps = options.size
        print(json.dumps(one_size(agent, int(envs), int(steps), options.rounds)))
        return
    report: dict[str, Any] = {"machine": facts()}
    report["import"] = import_seconds(options.imports)
    print_imports(report["import"])
    report["growth"] = [
        row for agent in AGENTS for row in growth(agent, options.doublings, options.rounds)
    ]
    report["load_after"] = facts()["load"]
    print_growth(report["growth"])
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
        print(f"wrote {options.json}")


if __name__ == "__main__":
    main()
