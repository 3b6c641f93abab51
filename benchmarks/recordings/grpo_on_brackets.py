"""What GRPO's parts are worth to a small language model that learns to close brackets.

    python benchmarks/recordings/grpo_on_brackets.py [--seeds 6] [--json FILE]

The lectures read FILE from course_lib/data/grpo_on_brackets.json.

Each variant changes one thing and trains a model of 5,457 parameters from several seeds; what
counts is the reward on the way and the share of right answers to prompts never trained on. Lecture
8 shows the numbers, which are shipped as data because the clipped objective is homework. It took
half an hour on two cores that others used too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from course_lib import brackets
from course_lib.grpo import GRPOConfig, Objective, grpo, relative_advantages
from course_lib.reference.answers.clipped_surrogate import clipped_surrogate
from course_lib.reference.answers.surrogate import surrogate

ROOT = Path(__file__).resolve().parents[2]
DRAWS = 50
COURSE = GRPOConfig()


def without_clip(log_probs: Tensor, old: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
    """Importance-weighted surrogate; epsilon is not used."""
    return surrogate(log_probs, old, advantages)


def without_ratio(log_probs: Tensor, old: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
    """Plain policy gradient's objective, as if the batch were fresh at every step."""
    return (log_probs * advantages).mean()


def centred(rewards: Tensor) -> Tensor:
    """Advantages that are not divided by the group's spread."""
    return rewards - rewards.mean(1, keepdim=True)


def coin(text: str) -> float:
    """A reward that has nothing to do with brackets being right: the sum of characters is even."""
    return float(sum(map(ord, text)) % 2 == 0)


@dataclass(frozen=True)
class Variant:
    """GRPO with something changed; the defaults change nothing."""

    config: GRPOConfig = COURSE
    objective: Objective = clipped_surrogate
    advantages: Any = relative_advantages
    reward: Any = brackets.reward


def variants() -> dict[str, Variant]:
    """Name -> variant."""
    epochs = {k: GRPOConfig(epochs=k) for k in (1, 2, 4, 8)}
    return {
        "1 epoch": Variant(),
        **{f"{k} epochs": Variant(epochs[k]) for k in (2, 4, 8)},
        **{f"{k} epochs, no clip": Variant(epochs[k], without_clip) for k in (4, 8)},
        "4 epochs, no ratio": Variant(epochs[4], without_ratio),
        "not divided by the spread": Variant(advantages=centred),
        "KL weight 0.2": Variant(GRPOConfig(kl_weight=0.2)),
        "another reward": Variant(reward=coin),
    }


def train(variant: Variant, seed: int) -> dict[str, Any]:
    """Train from a seed: what was seen at each update, and how it answers in the end."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    generator = torch.Generator().manual_seed(seed)
    model = brackets.sloppy_model(generator)
    learn, test = brackets.prompts()
    tests = torch.Generator().manual_seed(1000 + seed)
    before = brackets.share_right(model, test, DRAWS, tests)
    spent: list[float] = []

    def watched(log_probs: Tensor, old: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
        """The variant's objective, and how many tokens no longer push when it is asked."""
        with torch.no_grad():
            ratio = (log_probs - old).exp()
            done = (advantages > 0) & (ratio > 1 + epsilon)
            done |= (advantages < 0) & (ratio < 1 - epsilon)
            spent.append(done.double().mean().item())
        return variant.objective(log_probs, old, advantages, epsilon)

    seen = list(
        grpo(
            model,
            brackets.WORDS,
            learn,
            variant.reward,
            watched,
            variant.config,
            generator=generator,
            advantages=variant.advantages,
        )
    )
    epochs = variant.config.epochs
    return {
        "reward": [round(update["reward"], 4) for update in seen],
        "kl": [round(update["kl"], 4) for update in seen],
        "spent": round(statistics.fmean(spent[epochs - 1 :: epochs]), 4),
        "before": round(before, 4),
        "after": round(brackets.share_right(model, test, DRAWS, tests), 4),
    }


def updates_to(curve: list[float], share: float) -> int:
    """Updates until the mean reward of five in a row reaches `share`; all if it never does."""
    for last in range(5, len(curve) + 1):
        if statistics.fmean(curve[last - 5 : last]) >= share:
            return last
    return len(curve)


def main() -> None:
    """Train everything, print the table, write the data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6, help="of each variant")
    parser.add_argument(
        "--json", type=Path, default=ROOT / "course_lib" / "data" / "grpo_on_brackets.json"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    jobs = [(name, v, seed) for name, v in variants().items() for seed in range(options.seeds)]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in variants()}
    with ProcessPoolExecutor(options.workers) as pool:
        runs = [pool.submit(train, variant, seed) for _, variant, seed in jobs]
        for (name, _, _), run in track(list(zip(jobs, runs, strict=True)), "training"):
            found[name].append(run.result())
    table = Table(title="Closing brackets: median of seeds", title_justify="left")
    for column in ("variant", "updates to 90 %", "right after", "worst seed", "KL", "spent"):
        table.add_column(column)
    for name, members in found.items():
        after = [run["after"] for run in members]
        table.add_row(
            name,
            f"{statistics.median(updates_to(run['reward'], 0.9) for run in members):g}",
            f"{statistics.median(after):.3f}",
            f"{min(after):.3f}",
            f"{statistics.median(run['kl'][-1] for run in members):.2f}",
            f"{statistics.median(run['spent'] for run in members):.3f}",
        )
    Console().print(table)
    result = {
        "command": "python benchmarks/recordings/grpo_on_brackets.py",
        "draws": DRAWS,
        "runs": found,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result) + "\n")
    print(f"wrote {options.json}")


if __name__ == "__main__":
    main()
