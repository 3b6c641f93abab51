"""Learning curves of PPO agents with one known mistake each, for the homework's "find the bug".

    python benchmarks/recordings/find_the_bug.py [--seeds 5] [--json FILE] [--answer FILE]

Students read FILE from course_lib/data/find_the_bug.json: runs by number, without their mistakes.
Which run carries which goes into the answer, course_lib/reference/answers/culprit.py, alone. The
script writes both, and says how many runs a simple reader of the curves tells right: one who has
seen all others and names what the nearest carries. About three minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from course_lib.find_the_bug import PANELS
from course_lib.optimiser import Adam
from course_lib.policies import critic_for, policy_for
from course_lib.reference.agents.ablations import unclipped
from course_lib.reference.agents.ppo import Objective, distance, ppo_loss
from course_lib.reference.answers.clipped_surrogate import clipped_surrogate
from course_lib.reference.answers.gae import gae
from course_lib.rollout import make_envs
from course_lib.training import (
    Advantages,
    Batch,
    History,
    PPOConfig,
    Statistics,
    normalise,
    train_on_steps,
)

ROOT = Path(__file__).resolve().parents[2]
ANSWER = ROOT / "course_lib" / "reference" / "answers" / "culprit.py"
ENVIRONMENT = "tensor/CartPole-v1"
SHUFFLE = 8_617_240_395  # of the numbers, so that neither they nor their order tell anything
FIRST_SEED = 7_000
WORKED = ("wrong sign", "too much entropy")  # by hand in the homework: one run of each is enough
BESIDE = 3  # healthy runs without a number, that are drawn beside all others
TOLD_RIGHT = 0.9  # share of runs below which the mistakes are not told apart by their curves
LEAST = {"kl": 1e-5, "value_error": 1e-6}  # what is less looks like this on a logarithmic axis

# Written out, so that a recording stays what it says when the course's own numbers are tuned anew.
UNCHANGED = PPOConfig(
    envs=64,
    rollout_steps=32,
    gamma=0.98,
    lam=0.95,
    epsilon=0.2,
    learning_rate=3e-3,
    epochs=6,
    minibatches=4,
    value_weight=0.5,
    entropy_weight=0.01,
    max_grad_norm=0.5,
    hidden=(32, 32),
    scale_rewards=False,
    decay_to=1.0,
    total_steps=61_440,
)


def past_the_end(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Advantages that count the value of the next state after termination, too."""
    never = torch.zeros_like(terminated)
    return gae(rewards, values, next_values, never, terminated | truncated, gamma, lam)


def turned_round(advantages: Tensor) -> Tensor:
    """Normalised, with the wrong sign."""
    return -normalise(advantages)


@dataclass(frozen=True)
class Kind:
    """An agent with a mistake; the defaults make none.

    fresh_log_probs: those of the old policy are worked out anew for each minibatch.
    advantages_as_targets: the critic learns advantages. alien_advantages: each step has another's.
    """

    config: PPOConfig = UNCHANGED
    objective: Objective = clipped_surrogate
    prepare: Callable[[Tensor], Tensor] = normalise
    advantages: Advantages = gae
    fresh_log_probs: bool = False
    advantages_as_targets: bool = False
    alien_advantages: bool = False


def kinds() -> dict[str, Kind]:
    """What is wrong with an agent, by its name."""

    def knob(**values: Any) -> Kind:
        return Kind(replace(UNCHANGED, **values))

    return {
        "nothing": Kind(),
        "no clip": Kind(objective=unclipped),
        "fresh log-probs": Kind(fresh_log_probs=True),
        "past the end": Kind(advantages=past_the_end),
        "wrong sign": Kind(prepare=turned_round),
        "idle critic": knob(value_weight=0.0),
        "wrong targets": Kind(advantages_as_targets=True),
        "huge steps": knob(learning_rate=10 * UNCHANGED.learning_rate),
        "too much entropy": knob(entropy_weight=100 * UNCHANGED.entropy_weight),
        "short sight": knob(gamma=0.5),
        "mixed-up rows": Kind(alien_advantages=True),
    }


def train(kind: Kind, seed: int) -> dict[str, list[float]]:
    """The curves of one run, a number for each update."""
    torch.set_num_threads(1)
    generator, config = torch.Generator().manual_seed(seed), kind.config
    envs = make_envs(ENVIRONMENT, config.envs)
    policy = policy_for(envs, config.hidden, generator=generator)
    critic = critic_for(envs, config.hidden, generator=generator)
    optimiser = Adam([policy, critic], config.learning_rate)

    def update(batch: Batch) -> Statistics:
        values = batch.returns - batch.advantages
        if kind.advantages_as_targets:
            batch = replace(batch, returns=batch.advantages)
        with torch.no_grad():
            entropy = policy.entropy(batch.observations).mean().item()
        seen: list[dict[str, float]] = []
        for epoch in range(config.epochs):
            for part in batch.minibatches(config.minibatches, generator):
                if kind.fresh_log_probs:
                    with torch.no_grad():
                        now = policy.log_prob(part.observations, part.actions)
                    part = replace(part, log_probs=now)
                if epoch == config.epochs - 1:
                    far = distance(policy, part, config.epsilon)
                    seen.append({name: value.item() for name, value in far.items()})
                if kind.alien_advantages:
                    part = replace(part, advantages=part.advantages.roll(1))
                loss, _ = ppo_loss(policy, critic, part, config, kind.objective, kind.prepare)
                optimiser.minimise(loss, config.max_grad_norm)
        return {
            "kl": fmean(one["kl"] for one in seen),
            "clip_share": fmean(one["share_outside_clip"] for one in seen),
            "entropy": entropy,
            "value_error": (batch.returns - values).square().mean().item(),
        }

    history = train_on_steps(
        envs,
        policy,
        critic,
        config,
        advantages=kind.advantages,
        update=update,
        generator=generator,
    )
    envs.close()
    return curves(history)


def curves(history: History) -> dict[str, list[float]]:
    """What the panels show."""
    columns = {name: [update[name] for update in history.updates] for name in PANELS[1:]}
    columns = {"return": mean_returns(history), **columns}
    return {name: [rounded(value) for value in column] for name, column in columns.items()}


def mean_returns(history: History) -> list[float]:
    """Mean of the episodes that ended since the update before, or as it was if none did."""
    returns: list[float] = []
    ended = list(zip(history.episode_steps, history.episode_returns, strict=True))
    before = 0.0
    for update in history.updates:
        here = [paid for step, paid in ended if before < step <= update["steps"]]
        returns.append(fmean(here) if here else returns[-1] if returns else math.nan)
        before = update["steps"]
    return returns


def rounded(value: float) -> float:
    """Three digits are more than an eye sees; what is as good as nothing is nothing."""
    return float(f"{value:.3g}") if abs(value) > 1e-7 else 0.0


def features(run: Mapping[str, Sequence[float]]) -> Any:
    """What a simple reader sees of a run: the mean of each sixth of each panel."""
    seen = []
    for name, column in run.items():
        values = np.asarray(column, dtype=float)
        if name in LEAST:
            values = np.log10(np.maximum(values, LEAST[name])) / 2
        elif name == "return":
            values = values / 200
        else:
            values = values * 3
        seen += [part.mean() for part in np.array_split(values, 6)]
    return np.array(seen)


def told(runs: Sequence[Mapping[str, Sequence[float]]], labels: Sequence[str]) -> list[str]:
    """What a simple reader calls each run: as the nearest of all others is called."""
    seen = np.stack([features(run) for run in runs])
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    return [labels[nearest] for nearest in apart.argmin(1)]


def numbering(seeds: int) -> list[tuple[str, int]]:
    """Kind and seed of run 1, run 2, and so on: shuffled."""
    order = [
        (name, FIRST_SEED + 100 * row + k)
        for row, name in enumerate(kinds())
        for k in range(1 if name in WORKED else seeds)
    ]
    random.Random(SHUFFLE).shuffle(order)
    return order


def table(order: Sequence[tuple[str, int]]) -> str:
    """Which runs carry what, as the lines of a dictionary."""
    lines = []
    for name in kinds():
        numbers = [number for number, (each, _) in enumerate(order, start=1) if each == name]
        inside = ", ".join(map(str, numbers)) + ("," if len(numbers) == 1 else "")
        lines.append(f'        "{name}": ({inside}),')
    return "\n".join(lines)


def main() -> None:
    """Train everything, write the curves and the table, say whether they can be told apart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="runs of each mistake")
    parser.add_argument(
        "--json", type=Path, default=ROOT / "course_lib" / "data" / "find_the_bug.json"
    )
    parser.add_argument("--answer", type=Path, default=ANSWER, help="file to put the table into")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    order, known = numbering(options.seeds), kinds()
    beside = [("nothing", FIRST_SEED - 1 - k) for k in range(BESIDE)]
    with ProcessPoolExecutor(options.workers) as pool:
        jobs = [pool.submit(train, known[name], seed) for name, seed in [*order, *beside]]
        runs = [job.result() for job in track(jobs, "training")]
    labels = [name for name, _ in order]
    wrong = [
        f"  run {number}: {label}, taken for {said}"
        for number, (label, said) in enumerate(
            zip(labels, told(runs[: len(order)], labels), strict=True), start=1
        )
        if label != said and label not in WORKED
    ]
    judged = sum(label not in WORKED for label in labels)
    print(f"a simple reader tells {judged - len(wrong)} of {judged} runs right", *wrong, sep="\n")
    if len(wrong) > (1 - TOLD_RIGHT) * judged:
        raise SystemExit("too few: make the mistakes larger, or drop some; nothing was written")
    width = UNCHANGED.envs * UNCHANGED.rollout_steps
    data = {
        "command": "python benchmarks/recordings/find_the_bug.py",
        "environment": "CartPole-v1",
        "steps": [width * (k + 1) for k in range(len(runs[0]["return"]))],
        "runs": {str(number): run for number, run in enumerate(runs[: len(order)], start=1)},
        "healthy": runs[len(order) :],
    }
    options.json.write_text(json.dumps(data) + "\n")
    old = options.answer.read_text(encoding="utf-8")
    new = re.sub(r"(    runs = \{\n).*?(\n    \}\n)", rf"\1{table(order)}\2", old, flags=re.DOTALL)
    options.answer.write_text(new, encoding="utf-8")
    print(f"wrote {options.json} and the table in {options.answer}")


if __name__ == "__main__":
    main()
