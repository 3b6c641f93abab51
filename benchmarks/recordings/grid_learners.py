"""Record REINFORCE, TRPO and PPO on one grid for the lectures: their policies after each update.

    python benchmarks/recordings/grid_learners.py [--workers 2] [--json FILE]

All three are softmax tables, start from zero logits, and see as many episodes of a windy cliff an
update, with the same advantages: rewards-to-go minus the mean of the batch's in that state. Only
the step differs. Several step sizes each are tried from several seeds; the one with the best median
in the end is what lectures watch. Writes course_lib/data/grid_learners.json and prints a table.
Lectures cannot make it themselves, since the steps are homework. About a minute on two cores.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from course_lib.episodes import Episode, sample_episodes
from course_lib.mdp import TabularMDP, cliff_walk
from course_lib.policies import softmax_policy
from course_lib.reference.answers.clipped_surrogate import clipped_surrogate
from course_lib.reference.answers.conjugate_gradient import conjugate_gradient
from course_lib.reference.answers.fisher_vector_product import fisher_vector_product
from course_lib.reference.answers.kl import kl
from course_lib.reference.answers.line_search import line_search
from course_lib.reference.answers.ppo_update import ppo_update
from course_lib.reference.answers.reinforce_2 import reinforce_2
from course_lib.reference.answers.returns_to_go import returns_to_go
from course_lib.reference.answers.surrogate import surrogate
from course_lib.training import normalise

TARGET = Path(__file__).parents[2] / "course_lib" / "data" / "grid_learners.json"
WORLD = {"slip": 0.1, "rows": 4, "columns": 6, "step_reward": -0.2}
EPISODES, MAX_STEPS, UPDATES, SEEDS, SHOWN_SEED = 20, 100, 30, 10, 1
DAMPING, CG_ITERATIONS = 1e-3, 20
EPSILON, EPOCHS, MINIBATCHES = 0.2, 4, 4


@dataclass(frozen=True)
class Data:
    """What an update may use: episodes of the policy at theta, and advantages of all their steps.

    states, actions, advantages: (B,), the episodes one after the other.
    """

    episodes: list[Episode]
    states: Tensor
    actions: Tensor
    advantages: Tensor


Step = Callable[[Tensor, Data, float, float, torch.Generator], Tensor]


def collect(mdp: TabularMDP, theta: Tensor, generator: torch.Generator) -> Data:
    """EPISODES episodes, and rewards-to-go minus their mean in the same state of this batch."""
    episodes = sample_episodes(mdp, softmax_policy(theta), EPISODES, generator, MAX_STEPS)
    states = torch.cat([episode.states for episode in episodes])
    returns = torch.cat([returns_to_go(episode.rewards, mdp.gamma) for episode in episodes])
    visits = torch.bincount(states, minlength=mdp.states).clamp(min=1)
    baseline = torch.zeros(mdp.states, dtype=torch.float64).index_add(0, states, returns) / visits
    actions = torch.cat([episode.actions for episode in episodes])
    return Data(episodes, states, actions, returns - baseline[states])


def reinforce_step(
    theta: Tensor, data: Data, size: float, gamma: float, generator: torch.Generator
) -> Tensor:
    """theta + size * mean over episodes of sum_t gamma^t A_t grad log pi. [slide 30]"""
    parts = data.advantages.split([len(episode) for episode in data.episodes])
    gradients = [
        reinforce_2(theta, episode.states, episode.actions, part, gamma)
        for episode, part in zip(data.episodes, parts, strict=True)
    ]
    return theta + size * torch.stack(gradients).mean(0)


def trpo_step(
    theta: Tensor, data: Data, size: float, gamma: float, generator: torch.Generator
) -> Tensor:
    """The natural-gradient step to mean KL = size, and a line search. [slide 58]"""
    advantages = normalise(data.advantages)
    old_log_probs = theta.log_softmax(-1)[data.states, data.actions]

    def objective(flat: Tensor) -> Tensor:
        log_probs = flat.view_as(theta).log_softmax(-1)[data.states, data.actions]
        return surrogate(log_probs, old_log_probs, advantages)

    def mean_kl(flat: Tensor) -> Tensor:
        return kl(theta[data.states], flat.view_as(theta)[data.states])

    def fisher_times(vector: Tensor) -> Tensor:
        return fisher_vector_product(mean_kl, theta.flatten(), vector, DAMPING)

    leaf = theta.flatten().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(leaf), leaf)
    direction = conjugate_gradient(fisher_times, gradient, CG_ITERATIONS)
    curvature = float(direction @ fisher_times(direction))
    if curvature <= 0:  # a gradient of zero: there is nowhere to go
        return theta
    with torch.no_grad():
        step = math.sqrt(2 * size / curvature) * direction
        return line_search(objective, mean_kl, theta.flatten(), step, size).view_as(theta)


def ppo_step(
    theta: Tensor, data: Data, size: float, gamma: float, generator: torch.Generator
) -> Tensor:
    """EPOCHS passes of minibatch ascent on the clipped surrogate. [slide 63]"""
    count = len(data.states)
    rows = [
        torch.randperm(count, generator=generator)[: count // MINIBATCHES * MINIBATCHES]
        for _ in range(EPOCHS)
    ]
    minibatches = torch.stack(rows).view(EPOCHS * MINIBATCHES, -1)  # (K, M)
    return ppo_update(
        theta,
        data.states,
        data.actions,
        normalise(data.advantages),
        minibatches,
        lambda new, old, advantages: clipped_surrogate(new, old, advantages, EPSILON),
        size,
    )


ARMS: dict[str, tuple[Step, str, tuple[float, ...]]] = {
    "REINFORCE": (reinforce_step, "learning rate", (0.1, 0.3, 1.0, 3.0)),
    "TRPO": (trpo_step, "delta", (0.003, 0.01, 0.03, 0.1)),
    "PPO": (ppo_step, "learning rate", (1.0, 3.0, 10.0, 30.0)),
}


def record(name: str, size: float, seed: int, updates: int = UPDATES) -> Tensor:
    """Logits before the first and after each update, (updates + 1, S, A)."""
    torch.set_num_threads(1)
    step, _, _ = ARMS[name]
    mdp = cliff_walk(**WORLD)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    thetas = [torch.zeros(mdp.states, mdp.actions, dtype=torch.float64)]
    for _ in range(updates):
        data = collect(mdp, thetas[-1], generator)
        thetas.append(step(thetas[-1], data, size, mdp.gamma, generator))
    return torch.stack(thetas)


def returns_of(thetas: Tensor) -> list[float]:
    """Exact expected return of each policy, to three digits."""
    mdp = cliff_walk(**WORLD)  # type: ignore[arg-type]
    return [round(float(mdp.expected_return(softmax_policy(theta))), 3) for theta in thetas]


def main() -> None:
    """Record every arm, write the file, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    parser.add_argument("--json", type=Path, default=TARGET, help="file to write")
    arguments = parser.parse_args()
    jobs = [
        (name, size, seed)
        for name, (_, _, sizes) in ARMS.items()
        for size in sizes
        for seed in range(SEEDS)
    ]
    with ProcessPoolExecutor(arguments.workers) as pool:
        futures = {job: pool.submit(record, *job) for job in jobs}
        runs = {job: future.result() for job, future in track(futures.items(), "recording")}

    table = Table("method", "step", "size", "return after the last update, each seed")
    learners = {}
    for name, (_, parameter, sizes) in ARMS.items():
        ends = {
            size: [returns_of(runs[name, size, seed])[-1] for seed in range(SEEDS)]
            for size in sizes
        }
        chosen = max(sizes, key=lambda size: statistics.median(ends[size]))
        # Three digits of a logit are enough for every number that lectures compute from them.
        logits = (runs[name, chosen, SHOWN_SEED] * 1000).round().long().tolist()
        learners[name] = {
            "parameter": parameter,
            "size": chosen,
            "returns": [returns_of(runs[name, chosen, seed]) for seed in range(SEEDS)],
            "ends": {str(size): values for size, values in ends.items()},
            "milli_logits": logits,
        }
        for size, values in ends.items():
            mark = " (shown)" if size == chosen else ""
            table.add_row(name, parameter, f"{size:g}{mark}", " ".join(f"{x:.1f}" for x in values))
    settings = {
        "world": WORLD,
        "episodes_per_update": EPISODES,
        "updates": UPDATES,
        "seeds": SEEDS,
        "shown_seed": SHOWN_SEED,
        "epsilon": EPSILON,
        "epochs": EPOCHS,
    }
    text = json.dumps({"settings": settings, "learners": learners}, separators=(",", ":"))
    for name in learners:
        text = text.replace(f'"{name}"', f'\n"{name}"')
    arguments.json.write_text(text + "\n", encoding="utf-8")
    Console().print(table)
    print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()
