"""What a step of our Adam costs beside torch's fused one.

    python benchmarks/optimiser.py [--rounds 20] [--json FILE]

One thread. Both take the gradient of the same loss on networks of the agents' size and step, with
the gradient's length measured, NaN refused and, for PPO, the gradient cut. They take turns, and the
median of the rounds' ratios counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    from machine import one_core

    one_core()

import torch
from machine import facts, timed
from rich.console import Console
from rich.table import Table
from torch import nn

from course_lib.optimiser import Adam

STEPS = 300
# What is learned with -> rows of a batch, hidden units, outputs, the gradient's largest length.
SIZES = {
    "REINFORCE, CartPole": (500, 32, 2, float("inf")),
    "PPO, CartPole": (64, 64, 2, 0.5),
    "PPO, wide": (256, 256, 6, 0.5),
}


def network(hidden: int, outputs: int) -> nn.Module:
    """Two hidden layers of tanh."""
    torch.manual_seed(0)
    layers = [nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(hidden, outputs))


def ours(net: nn.Module, max_norm: float) -> Callable[[torch.Tensor], float]:
    """A step as the agents take it."""
    optimiser = Adam([net], 3e-4)
    return lambda loss: optimiser.minimise(loss, max_norm)


def torchs(net: nn.Module, max_norm: float) -> Callable[[torch.Tensor], float]:
    """The same step with what torch offers."""
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-4, fused=True)

    def step(loss: torch.Tensor) -> float:
        optimiser.zero_grad()
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(net.parameters(), max_norm))
        if norm != norm:
            raise FloatingPointError("NaN in the gradient")
        optimiser.step()
        return norm

    return step


def compare(rows: int, hidden: int, outputs: int, max_norm: float, rounds: int) -> dict[str, float]:
    """Microseconds of a step, loss and gradient included, and how many times torch's takes."""
    inputs = torch.randn(rows, 4, generator=torch.Generator().manual_seed(1))
    spent: dict[str, list[float]] = {"ours": [], "torch's": []}
    nets = {name: network(hidden, outputs) for name in spent}
    steps = {"ours": ours(nets["ours"], max_norm), "torch's": torchs(nets["torch's"], max_norm)}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            with timed() as clock:
                for _ in range(STEPS):
                    step(nets[name](inputs).square().mean())
            spent[name].append(clock.cpu / STEPS * 1e6)
    ratios = [b / a for a, b in zip(spent["ours"][1:], spent["torch's"][1:], strict=True)]
    return {
        **{f"{name} (us)": round(statistics.median(spent[name][1:])) for name in spent},
        "torch's / ours": round(statistics.median(ratios), 2),
    }


def main() -> None:
    """Measure all sizes and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    asked = parser.parse_args()
    found: dict[str, Any] = {
        name: compare(*size, rounds=asked.rounds) for name, size in SIZES.items()
    }
    table = Table(title=f"a step of Adam, {STEPS} steps a round", title_justify="left")
    table.add_column("networks", no_wrap=True)
    for column in next(iter(found.values())):
        table.add_column(column, justify="right")
    for name, row in found.items():
        table.add_row(name, *(f"{value:,}" for value in row.values()))
    Console().print(table)
    if asked.json:
        asked.json.write_text(json.dumps({"machine": facts(), "steps": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
