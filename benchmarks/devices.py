"""Where environments made of tensors pay: steps a second of `collect` on the CPU and on a GPU.

    python benchmarks/devices.py [--largest 65536] [--rounds 3] [--json FILE]

The same policy (two layers of 64, tanh) acts in N = 8, 16, ... environments: in gymnasium's,
through arrays; in those of course_lib.tensor_envs on the CPU; and on CUDA, where there is one. The
CPU has one thread and is timed by process seconds, a GPU by the wall: the least of the rounds,
after a first off the clock. Under the table stands from which N on CUDA is faster than the better
of the CPU's two ways, at that N and every larger one measured; without CUDA it says so. Gymnasium's
Pendulum is one object an environment, as fast a step at 512 of them as at more: it is measured up
to there. It has no combination lock.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    from machine import one_core

    one_core()

import torch
from machine import facts
from rich.console import Console
from rich.table import Table

from course_lib.policies import policy_for
from course_lib.rollout import collect, make_envs
from course_lib.seeding import new_generator

ARRAYS, TENSORS, CUDA = "arrays", "tensors, CPU", "tensors, CUDA"
ENVS = {"CartPole-v1": 1_000_000, "Pendulum-v1": 512, "combination_lock": 0}
"""By name, how many environments of gymnasium are measured at most."""


def steps_a_second(way: str, name: str, count: int, rounds: int) -> float:
    """Environment steps a second of one way of acting in `count` environments."""
    device = "cuda" if way == CUDA else "cpu"
    envs = make_envs(name if way == ARRAYS else f"tensor/{name}", count, device)
    generator = new_generator(0, device)
    policy = policy_for(envs, generator=generator)
    steps = max(16, 8192 // count)
    _, cursor = collect(envs, policy, 16, generator, device=device)
    clock = time.perf_counter if way == CUDA else time.process_time
    seconds = []
    for _ in range(rounds):
        start = clock()
        _, cursor = collect(envs, policy, steps, generator, cursor, device)
        if way == CUDA:
            torch.cuda.synchronize()
        seconds.append(clock() - start)
    envs.close()
    return count * steps / min(seconds)


def measure(name: str, counts: list[int], rounds: int) -> list[dict[str, Any]]:
    """One row for each number of environments."""
    rows = []
    for count in counts:
        ways = [ARRAYS] * (count <= ENVS[name]) + [TENSORS]
        ways += [CUDA] * torch.cuda.is_available()
        row = {way: steps_a_second(way, name, count, rounds) for way in ways}
        rows.append({"envs": count, **row})
        print(f"{name}, {count} environments done", file=sys.stderr)
    return rows


def overtakes(rows: list[dict[str, Any]], faster: str, others: list[str]) -> int | None:
    """Least N from which on `faster` is faster than all others that were measured, if there is."""
    first = None
    for row in reversed(rows):
        if row[faster] <= max(row[other] for other in others if other in row):
            break
        first = row["envs"]
    return first


def verdict(name: str, rows: list[dict[str, Any]]) -> str:
    """Who overtakes whom, in a sentence."""
    if CUDA in rows[0]:
        first = overtakes(rows, CUDA, [ARRAYS, TENSORS])
        if first is None:
            return f"{name}: CUDA does not overtake the CPU up to N = {rows[-1]['envs']}."
        return f"{name}: CUDA overtakes the CPU at N = {first}."
    sentence = f"{name}: no CUDA device here, so nothing is said of one."
    compared = [row for row in rows if ARRAYS in row]
    if compared:
        first = overtakes(compared, TENSORS, [ARRAYS])
        at = f"at N = {first}" if first else f"at no N up to {compared[-1]['envs']}"
        sentence += f" On the CPU, tensors overtake arrays {at}."
    return sentence


def print_rows(name: str, rows: list[dict[str, Any]]) -> None:
    """A table of steps a second."""
    table = Table(title=f"{name}, steps/s", title_justify="left")
    ways = [way for way in (ARRAYS, TENSORS, CUDA) if any(way in row for row in rows)]
    for column in ("environments", *ways):
        table.add_column(column, justify="right")
    for row in rows:
        cells = (f"{row[way]:,.0f}" if way in row else "" for way in ways)
        table.add_row(f"{row['envs']:,}", *cells)
    Console().print(table)


def main() -> None:
    """Measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=65536)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts = [2**power for power in range(3, options.largest.bit_length())]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    report: dict[str, Any] = {"machine": {**facts(), "gpu": gpu}}
    for name in ENVS:
        rows = measure(name, counts, options.rounds)
        report[name] = {"rows": rows, "verdict": verdict(name, rows)}
    for name in ENVS:
        print_rows(name, report[name]["rows"])
        print(report[name]["verdict"])
    report["load_after"] = facts()["load"]
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
        print(f"wrote {options.json}")


if __name__ == "__main__":
    main()
