"""What each detail of an algorithm is worth: trained with all of them, and without one at a time.

    python benchmarks/ablations.py [--seeds 10] [--docs FOLDER] [--settings FILE]

Without --settings: PPO on CartPole-v1 for 50,000 steps and on Pendulum-v1 for 80,000, with numbers
under which the details are there to be left out. Two things are measured for each seed: the mean of
the learning curve (how fast it learns) and of 100 fresh episodes by the policy at the end, actions
drawn as in training (where it arrives). What counts is the difference, seed by seed, between
without and with: its mean and the 95 % interval of that mean (Student's t). A detail matters if one
of the two intervals does not hold 0. One interval in twenty misses 0 by chance alone, so look at
the size too, and run more seeds where it is close. --docs writes all of it down, with a figure for
each environment: a panel a detail, with bands.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

if __name__ == "__main__":
    from machine import one_core

    one_core()

import torch
from machine import facts
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from course_lib.evaluation import evaluate
from course_lib.reference.agents.ablations import ABLATIONS, without
from course_lib.reference.agents.launch import AGENTS
from course_lib.reference.agents.learning_curves import mean_and_half_width, plot_learning_curves
from course_lib.reference.agents.settings import Settings, read_settings
from course_lib.seeding import new_generator
from course_lib.training import PPOConfig

# Written out, so that a table stays what it says when the course's own numbers are tuned anew.
CARTPOLE = Settings(
    "ppo",
    "CartPole-v1",
    PPOConfig(
        envs=32,
        rollout_steps=64,
        gamma=0.98,
        lam=0.9,
        epsilon=0.2,
        learning_rate=5e-3,
        epochs=6,
        minibatches=8,
        value_weight=0.5,
        entropy_weight=0.01,
        max_grad_norm=0.5,
        scale_rewards=False,
        decay_to=0.1,
        total_steps=50_000,
    ),
)
PENDULUM = Settings(
    "ppo",
    "Pendulum-v1",
    PPOConfig(
        envs=16,
        rollout_steps=128,
        gamma=0.9,
        lam=0.95,
        epsilon=0.2,
        learning_rate=3e-3,
        epochs=8,
        minibatches=8,
        value_weight=0.5,
        entropy_weight=0.0,
        max_grad_norm=0.5,
        scale_rewards=True,
        decay_to=0.1,
        total_steps=80_000,
    ),
)
COMMAND = "python benchmarks/ablations.py --docs docs"
UNCHANGED = "with everything"
EPISODES, POINTS = 100, 25
MEASURES = {"training": "training", "final": "at end"}

Study = tuple[Settings, dict[str, list[Any]]]  # runs by the detail that they left out


def one_run(settings: Settings, detail: str, seed: int) -> dict[str, Any]:
    """Train once without the detail (or with everything) and measure."""
    torch.set_num_threads(1)
    details = [] if detail == UNCHANGED else [detail]
    config, parts = without(settings.algorithm, details, settings.config)
    policy, history = AGENTS[settings.algorithm](
        settings.env, config, generator=new_generator(seed), **parts
    )
    fresh = new_generator(1_000_000 + seed)  # no environment of training had this seed
    curve = history.curve(config.total_steps, POINTS)
    return {
        "seed": seed,
        "training": fmean(value for value in curve if not math.isnan(value)),
        "final": evaluate(policy, settings.env, EPISODES, fresh),
        "curve": [round(value, 2) for value in curve],
    }


def in_use(settings: Settings) -> list[str]:
    """The details that these settings use, and that can therefore be left out."""
    found = []
    for name in ABLATIONS[settings.algorithm]:
        try:
            without(settings.algorithm, [name], settings.config)
        except ValueError:
            continue
        found.append(name)
    return found


def measure(settings: Settings, seeds: Iterable[int], workers: int) -> dict[str, list[Any]]:
    """Runs by detail, each list in the order of the seeds."""
    names = [UNCHANGED, *in_use(settings)]
    jobs = [(name, seed) for seed in seeds for name in names]
    runs: dict[str, list[Any]] = {name: [] for name in names}
    with ProcessPoolExecutor(workers) as pool, Progress() as progress:
        task = progress.add_task("training", total=len(jobs))
        doing = {pool.submit(one_run, settings, name, seed): name for name, seed in jobs}
        for done in as_completed(doing):
            runs[doing[done]].append(done.result())
            progress.advance(task)
    return {name: sorted(each, key=lambda run: run["seed"]) for name, each in runs.items()}


def summary(runs: dict[str, list[Any]]) -> dict[str, Any]:
    """For each detail and measure: the mean, the difference that it makes, and its half width."""
    rows: dict[str, Any] = {}
    for name, each in runs.items():
        row: dict[str, Any] = {}
        for measure in MEASURES:
            pairs = zip(each, runs[UNCHANGED], strict=True)
            differences = [mine[measure] - whole[measure] for mine, whole in pairs]
            difference, half = mean_and_half_width(differences)
            mean, mean_half = mean_and_half_width([run[measure] for run in each])
            row[measure] = {
                "mean": mean,
                "mean_half_width": mean_half,
                "difference": difference,
                "half_width": half,
                "apart": bool(abs(difference) > half),
            }
        row["matters"] = any(row[measure]["apart"] for measure in MEASURES)
        rows[name] = row
    return rows


def cells(name: str, row: dict[str, Any]) -> list[str]:
    """A row of the table as text."""
    texts = [name]
    for measure in MEASURES:
        numbers = row[measure]
        change = f"{numbers['difference']:+.0f} +- {numbers['half_width']:.0f}"
        texts += [f"{numbers['mean']:.0f}", "" if name == UNCHANGED else change]
    return [*texts, "" if name == UNCHANGED else "yes" if row["matters"] else "unseen"]


def title(settings: Settings, runs: dict[str, list[Any]]) -> str:
    """What was trained, for how long and how often."""
    steps, seeds = settings.config.total_steps, len(runs[UNCHANGED])
    return f"{settings.algorithm.upper()} on {settings.env}, {steps:,} steps, {seeds} seeds"


def screen(settings: Settings, runs: dict[str, list[Any]]) -> Table:
    """The table for a terminal."""
    table = Table(
        title=title(settings, runs),
        title_justify="left",
        caption="mean of the learning curve, and of fresh episodes at the end; difference to the "
        "first row, seed by seed, and its 95 % interval",
        caption_justify="left",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    table.add_column("without", no_wrap=True)
    for label in MEASURES.values():
        table.add_column(label, justify="right", no_wrap=True)
        table.add_column("difference", justify="right", no_wrap=True)
    table.add_column("matters", no_wrap=True)
    for name, row in summary(runs).items():
        table.add_row(*cells(name, row))
    return table


def page(studies: list[Study]) -> str:
    """The tables in Markdown, with what each row left out and how to run it."""
    lines = [
        "# What each detail is worth",
        "",
        f"Made by `{COMMAND}`. *training*: mean return over the learning curve; *at end*: of "
        f"{EPISODES} fresh episodes, actions drawn. *difference*: without the detail minus with "
        "everything, seed by seed, and the 95 % interval of its mean (Student's t). A detail "
        "matters if one of the two intervals does not hold 0; *unseen* is not *useless*: these "
        "seeds on this task cannot tell. One interval in twenty misses 0 by chance.",
    ]
    for settings, runs in studies:
        head = ["without", *(each for name in MEASURES.values() for each in (name, "difference"))]
        lines += ["", f"## {title(settings, runs)}", "", " | ".join(["", *head, "matters", ""])]
        lines += [" | ".join(["", "---", *["---:"] * (2 * len(MEASURES)), "---", ""])]
        rows = summary(runs).items()
        lines += [" | ".join(["", *cells(name, row), ""]) for name, row in rows]
        lines += ["", f"![Learning curves on {settings.env}]({picture(settings)})"]
    lines += ["", "## What was left out", ""]
    found = {(settings.algorithm, name) for settings, runs in studies for name in runs}
    for algorithm, details in ABLATIONS.items():
        lines += [
            f"- `course train {algorithm} --without {name}`: {detail.says}."
            for name, detail in details.items()
            if (algorithm, name) in found
        ]
    lines += [
        "",
        "The command takes the course's own settings; those of the tables are in "
        "[ablations.json](ablations.json). Where there is nothing to leave out it says so: the "
        "course's own pay for no entropy, `--set entropy_weight=0.01` does.",
    ]
    return "\n".join(line.strip() for line in lines) + "\n"


def picture(settings: Settings) -> str:
    """Name of the figure's file."""
    return f"ablations-{settings.env}.png"


def draw(settings: Settings, runs: dict[str, list[Any]], target: Path) -> None:
    """A panel a detail: learning curves with and without it, mean and 95 % interval over seeds."""
    names = [name for name in runs if name != UNCHANGED]
    across = 2
    down = math.ceil(len(names) / across)
    figure = Figure(figsize=(5.2 * across, 3.1 * down), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, squeeze=False, sharey=True)
    width = settings.config.total_steps / POINTS
    middles = [(k + 0.5) * width for k in range(POINTS)]
    for ax, name in zip(panels.flat, names, strict=False):
        curves = {
            label: (middles, [run["curve"] for run in runs[key]])
            for label, key in ((UNCHANGED, UNCHANGED), (f"without {name}", name))
        }
        plot_learning_curves(ax, curves).set_ylabel("")
    figure.supylabel("return of training episodes (band: 95 % interval of the mean over seeds)")
    for ax in panels.flat[len(names) :]:
        ax.set_visible(False)
    figure.savefig(target, dpi=110)


def main() -> None:
    """Measure, print the tables, write pages, figures and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=500)
    parser.add_argument("--settings", type=Path, help="other settings with everything")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--docs", type=Path, help="folder for ablations.md, .json and figures")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds must be at least 2: one seed has no interval")
    chosen = [read_settings(options.settings)] if options.settings else [CARTPOLE, PENDULUM]
    machine = facts()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    studies: list[Study] = []
    for each in chosen:
        settings = replace(each, config=replace(each.config, stop_return=None))
        runs = measure(settings, seeds, options.workers)
        Console().print(screen(settings, runs))
        studies.append((settings, runs))
    if options.docs:
        options.docs.mkdir(parents=True, exist_ok=True)
        for settings, runs in studies:
            draw(settings, runs, options.docs / picture(settings))
        report = {
            settings.env: {"settings": asdict(settings), "rows": summary(runs), "runs": runs}
            for settings, runs in studies
        }
        text = json.dumps({"machine": machine, **report}, indent=1)
        (options.docs / "ablations.json").write_text(text + "\n")
        (options.docs / "ablations.md").write_text(page(studies))
        print(f"wrote {options.docs / 'ablations.md'}, its figures and ablations.json")


if __name__ == "__main__":
    main()
