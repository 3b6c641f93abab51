"""Returns of our agents beside published ones, with learning curves.

    python benchmarks/results.py --json FILE [--only ROWS] [--again] [--long] [--docs docs]

Every file in benchmarks/settings is one row of the table: an algorithm, an environment, numbers.
Each is trained from several seeds on which nothing was tuned. What counts is the policy at the end
of training, in 100 fresh episodes a seed, once taking its most probable action (as most published
numbers do) and once drawing its actions as in training; never the best policy on the way.
Intervals are of the mean over the seeds. Rewards are the environment's own.

FILE is written after every run, and a run that is in it already with the same settings is not done
again: an interrupted table goes on where it stopped. --again first forgets the runs of the rows
that are asked for, and of no others. --long asks for the MuJoCo environments too, which need the
mujoco extra and half an hour on two cores. --docs writes docs/results.md and its figures from FILE.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from statistics import fmean, median
from typing import Any

if __name__ == "__main__":
    from machine import one_core

    one_core()

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from machine import facts, timed
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from course_lib.evaluation import evaluate
from course_lib.figures.style import blank_panel
from course_lib.reference.agents.learning_curves import mean_and_half_width, plot_learning_curves
from course_lib.reference.agents.ppo import train_ppo
from course_lib.reference.agents.reinforce import train_reinforce
from course_lib.reference.agents.settings import Settings, read_settings
from course_lib.reference.agents.trpo import train_trpo
from course_lib.seeding import new_generator
from course_lib.training import History

SETTINGS = Path(__file__).parent / "settings"
TRAIN = {"reinforce": train_reinforce, "trpo": train_trpo, "ppo": train_ppo}
NAMES = {"reinforce": "REINFORCE", "trpo": "TRPO", "ppo": "PPO"}
POINTS = 40  # of a learning curve
ENOUGH = 5  # seeds for a row to be called as good as a published number
FIRST_SEED = 600  # 0 to 19 were tuned on, a table of 300 to 304 was looked at meanwhile
# What matters, found by changing one thing: row -> name of the change -> what it sets.
DETAILS: dict[str, dict[str, dict[str, Any]]] = {
    "ppo-MountainCar-v0": {
        "observations as they come": {"scale_observations": False},
        "no entropy bonus": {"entropy_weight": 0.0},
    },
    "trpo-Pendulum-v1": {
        "25 environments for 128 steps each": {"envs": 25, "rollout_steps": 128},
    },
}


@dataclass(frozen=True)
class Published:
    """A number that others report: mean return, what stands behind its +-, steps of training.

    source: a key of SOURCES. spread: None where none is given.
    """

    algorithm: str
    mean: float
    spread: float | None
    steps: str
    source: str


ZOO_AT = "DLR-RM/rl-baselines3-zoo/blob/22e3ff2450fd92033f7f032915e1f64894a09584"
CLEANRL_AT = "vwxyzjn/cleanrl/blob/fe8d8a03c41a7ef5b523e2e354bd01c363e786bb"
TIANSHOU_AT = "thu-ml/tianshou/blob/f2402056b03acafeedf2518a5088db55add004ab"
# name, page, what the page's numbers are.
SOURCES = {
    "zoo": (
        "RL Baselines3 Zoo",
        f"https://github.com/{ZOO_AT}/benchmark.md",
        "one training run, most probable actions, 150,000 steps of evaluation, +- standard "
        "deviation over episodes; the page says that it is not a quantitative benchmark",
    ),
    "cleanrl": (
        "CleanRL",
        f"https://github.com/{CLEANRL_AT}/docs/rl-algorithms/ppo.md",
        "last training episodes, drawn actions, +- standard deviation over 3 seeds",
    ),
    "tianshou": (
        "Tianshou",
        f"https://github.com/{TIANSHOU_AT}/examples/mujoco/README.md",
        "best evaluation on the way, +- standard deviation over 10 seeds",
    ),
    "spinningup": (
        "Spinning Up",
        "https://spinningup.openai.com/en/latest/spinningup/bench.html",
        "training episodes, read off its figures in Tianshou's table",
    ),
}
# By environment, whatever its version: published numbers of Hopper-v3 stand beside Hopper-v5.
PUBLISHED = {
    "CartPole": [
        Published("ppo", 500.0, 0.0, "100k", "zoo"),
        Published("trpo", 500.0, 0.0, "100k", "zoo"),
        Published("ppo", 490.04, 6.12, "500k", "cleanrl"),
    ],
    "Acrobot": [
        Published("ppo", -73.506, 18.201, "1M", "zoo"),
        Published("trpo", -83.114, 18.648, "100k", "zoo"),
        Published("ppo", -86.36, 1.32, "500k", "cleanrl"),
    ],
    "MountainCar": [
        Published("ppo", -110.423, 19.473, "1M", "zoo"),
        Published("trpo", -107.278, 13.231, "100k", "zoo"),
        Published("ppo", -200.0, 0.0, "500k", "cleanrl"),
    ],
    "Pendulum": [
        Published("ppo", -172.225, 104.159, "100k", "zoo"),
        Published("trpo", -174.631, 127.577, "100k", "zoo"),
    ],
    "InvertedPendulum": [
        Published("ppo", 963.09, 22.20, "1M", "cleanrl"),
        Published("ppo", 1000.0, 0.0, "1M", "tianshou"),
        Published("trpo", 1000.0, 0.0, "1M", "tianshou"),
        Published("reinforce", 1000.0, 0.0, "10M", "tianshou"),
    ],
    "Hopper": [
        Published("ppo", 2410.435, 10.026, "1M", "zoo"),
        Published("trpo", 3618.386, 356.768, "1M", "zoo"),
        Published("ppo", 2382.86, 271.74, "1M", "cleanrl"),
        Published("ppo", 2609.3, 700.8, "1M", "tianshou"),
        Published("trpo", 2046.0, 1037.9, "1M", "tianshou"),
        Published("ppo", 1850.0, None, "3M", "spinningup"),
        Published("trpo", 1200.0, None, "3M", "spinningup"),
    ],
    "HalfCheetah": [
        Published("ppo", 5819.099, 663.530, "1M", "zoo"),
        Published("trpo", 1785.476, 68.672, "1M", "zoo"),
        Published("ppo", 1442.64, 46.03, "1M", "cleanrl"),
        Published("ppo", 5783.9, 1244.0, "1M", "tianshou"),
        Published("trpo", 4471.2, 804.9, "1M", "tianshou"),
        Published("ppo", 1670.0, None, "3M", "spinningup"),
        Published("trpo", 850.0, None, "3M", "spinningup"),
    ],
}


PAGE = """# Returns beside published ones

Made by `python benchmarks/results.py --json docs/results.json --docs docs`, which keeps the runs
that are in [results.json](results.json) and does those that are not. `--again` runs the classic
rows anew; `--long` adds the MuJoCo rows, which take half an hour. Each row is one file of
[benchmarks/settings](../benchmarks/settings); `course train --settings FILE` trains one agent.

{table}

- Ours: the policy at the end of training, never the best on the way, in {episodes} fresh episodes a
  seed; the mean over seeds and its 95 % interval (Student's t). *greedy* takes the most probable
  action, *sampled* draws as in training. Settings were chosen on seeds 0 to 19, some of them
  because an earlier table of seeds 300 to 304 missed the published number; reported are seeds from
  {first_seed} on, which were fixed before any of them was run. Rewards are the environment's own:
  none is shaped. Bold: the mean is at least the best that any of the three algorithms has among the
  published numbers of that environment. A row with fewer than 5 seeds is unfinished: the same
  command goes on with it.
- Published: the same algorithm's numbers with the steps they took, from environments of whatever
  version the source used (Hopper-v3 beside Hopper-v5). What they mean differs:
{sources}
- MuJoCo, the environments ending in -v5: hardly tuned, and trained for fewer steps than the
  published agents, as many as fit two cores.
- MountainCar by REINFORCE: an episode cut at 200 steps pays -200 whatever was done in it, so while
  no episode gets there all returns are equal and there is nothing to learn from.
- Curves: mean return of the training episodes that ended in each fortieth of the steps; where none
  did, that of the fortieth before.
- steps: of the environment, in training. cpu s: median process seconds of one training, measured
  on {machine}.

## What makes MountainCar solvable

Every step pays -1 until the car is on the hill, and a policy that has not learned does not get
there within 200 steps. The settings scale observations and rewards, give a bonus for entropy,
bootstrap where the time limit cuts an episode, and take eight passes over each batch. The same
settings and seeds with one thing changed; where intervals overlap, five seeds tell no difference:

{mountain_car}

## What keeps TRPO steady on Pendulum

The environments begin together and every episode takes 200 steps. The settings act for 200 steps in
each of 16 environments, so each batch holds every part of one. Of shorter rollouts some hold no
swing-up, only poles that stand: their advantages are mostly noise, normalised to the size of any
others, and the trust region's step on them is as large as on any. Batches of the same size:

{pendulum}

Five seeds do not tell the two apart. Of seeds 0 to 11, on which the settings were chosen
(`--only 'trpo-Pendulum-v1*' --first-seed 0 --seeds 12`), the worst came to -168 with whole episodes
and to -468 with the shorter rollouts.

{pictures}
"""


def curve(history: History, total_steps: int) -> list[float | None]:
    """Mean return of the training episodes that ended in each of POINTS equal spans of steps."""
    returns = np.array(history.episode_returns)
    spans = np.array(history.episode_steps) * POINTS // (total_steps + 1)
    means = []
    for span in range(POINTS):
        inside = returns[spans == span]
        means.append(round(float(inside.mean()), 2) if len(inside) else None)
    return means


def one_run(settings: Settings, seed: int, episodes: int) -> dict[str, Any]:
    """Train once and evaluate what training ended with."""
    torch.set_num_threads(1)
    with timed() as clock:
        policy, history = TRAIN[settings.algorithm](
            settings.env, settings.config, generator=new_generator(seed)
        )

    def fresh(greedy: bool) -> float:
        generator = new_generator(1_000_000 + seed)  # the same starts for both
        return evaluate(policy, settings.env, episodes, generator, greedy=greedy)

    return {
        "seed": seed,
        "greedy": fresh(True),
        "sampled": fresh(False),
        "steps": history.steps,
        "cpu_s": round(clock.cpu, 2),
        "curve": curve(history, settings.config.total_steps),
    }


def rows() -> dict[str, Settings]:
    """Every settings file by its name, in the table's order: by environment, then algorithm."""
    found = {path.stem: read_settings(path) for path in SETTINGS.glob("*.toml")}
    environments, algorithms = list(PUBLISHED), list(TRAIN)

    def place(name: str) -> tuple[int, int]:
        kind = found[name].env.rsplit("-", 1)[0]
        return environments.index(kind), algorithms.index(found[name].algorithm)

    return {name: found[name] for name in sorted(found, key=place)}


def details() -> dict[str, Settings]:
    """The settings that DETAILS lists, by the names of their rows in FILE."""
    every = rows()
    return {
        f"{row}, {name}": replace(every[row], config=replace(every[row].config, **changes))
        for row, changed in DETAILS.items()
        for name, changes in changed.items()
    }


def is_long(settings: Settings) -> bool:
    """Whether it is one of the optional long runs: a MuJoCo environment."""
    import gymnasium

    return "mujoco" in str(gymnasium.spec(settings.env).entry_point)


def as_json(settings: Settings) -> dict[str, Any]:
    """Settings as they stand in FILE, every default written out."""
    return json.loads(json.dumps(asdict(settings)))


def same(stored: dict[str, Any], settings: Settings) -> bool:
    """Whether stored settings are these; a setting that is younger than they are is passed over."""
    now = as_json(settings)
    named = {key: value for key, value in now["config"].items() if key in stored["config"]}
    return stored == now | {"config": named}


def save(report: dict[str, Any], file: Path | None) -> None:
    """Write FILE, if one is wanted."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(report, indent=1) + "\n")


def forget(file: Path, names: Iterable[str]) -> None:
    """Take the rows of these names out of FILE, where there is one."""
    if file.exists():
        report = json.loads(file.read_text())
        for name in names:
            report["rows"].pop(name, None)
        save(report, file)


def measure(
    wanted: dict[str, Settings], seeds: range, episodes: int, workers: int, file: Path | None
) -> dict[str, Any]:
    """All runs that are wanted and not in FILE yet; FILE is written before and after each."""
    report: dict[str, Any] = {"rows": {}}
    if file is not None and file.exists():
        report = json.loads(file.read_text())
    if report.get("episodes") != episodes:
        report = {"rows": {}}
    report |= {"machine": facts(), "episodes": episodes}
    kept = report["rows"]
    for name, settings in wanted.items():
        if name not in kept or not same(kept[name]["settings"], settings):
            kept[name] = {"settings": as_json(settings), "runs": []}
    # Seed by seed, so that an interrupted table has something in every row.
    jobs = [
        (name, seed)
        for seed in seeds
        for name in wanted
        if seed not in [run["seed"] for run in kept[name]["runs"]]
    ]
    save(report, file)
    with ProcessPoolExecutor(workers) as pool, Progress() as progress:
        task = progress.add_task("training", total=len(jobs))
        doing = {pool.submit(one_run, wanted[n], seed, episodes): n for n, seed in jobs}
        for done in as_completed(doing):
            runs = kept[doing[done]]["runs"]
            runs.append(done.result())
            runs.sort(key=lambda run: run["seed"])
            save(report, file)
            progress.advance(task)
    return report


def number(mean: float, spread: float | None) -> str:
    """Mean and spread as they are printed: whole numbers above 1000, one decimal below."""
    digits = 0 if abs(mean) >= 1000 else 1
    if spread is None or math.isnan(spread):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} +- {spread:.{digits}f}"


def published_for(settings: Settings) -> list[Published]:
    """What others report for this algorithm on this environment."""
    kind = settings.env.rsplit("-", 1)[0]
    return [entry for entry in PUBLISHED[kind] if entry.algorithm == settings.algorithm]


def best_published(env: str) -> Published:
    """The best number that any of the three algorithms has in PUBLISHED."""
    return max(PUBLISHED[env.rsplit("-", 1)[0]], key=lambda entry: entry.mean)


def intervals(runs: list[dict[str, Any]]) -> tuple[str, str]:
    """The two ways of acting, greedy and sampled: mean over seeds and its 95 % interval."""
    greedy, sampled = (
        number(*mean_and_half_width([run[key] for run in runs])) for key in ("greedy", "sampled")
    )
    return greedy, sampled


def screen(report: dict[str, Any], every: dict[str, Settings]) -> Table:
    """The table for a terminal: a row a settings file, with the best published number."""
    table = Table(title="Mean return, 95 % interval over seeds", title_justify="left", box=SIMPLE)

    table.add_column("settings")
    for column in ("greedy", "sampled", "published"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, settings in every.items():
        runs = report["rows"].get(name, {}).get("runs", [])
        best = max(published_for(settings), key=lambda entry: entry.mean, default=None)
        others = f"{number(best.mean, None)} {best.source}" if best else "none"
        if runs:
            table.add_row(name, *intervals(runs), others)
        else:
            table.add_row(name, "not run", "not run", others)
    return table


COLUMNS = ("environment", "algorithm", "steps", "cpu s", "seeds", "greedy", "worst seed", "sampled")


def lines(report: dict[str, Any], every: dict[str, Settings]) -> Iterator[tuple[str, ...]]:
    """The page's table, row by row; a row without runs says so."""
    yield (*COLUMNS, "published")
    yield ("---", "---", *["---:"] * (len(COLUMNS) - 2), "---")
    for name, settings in every.items():
        runs = report["rows"].get(name, {}).get("runs", [])
        others = "; ".join(
            f"{number(entry.mean, entry.spread)} ({SOURCES[entry.source][0]}, {entry.steps})"
            for entry in published_for(settings)
        )
        link = f"[{NAMES[settings.algorithm]}](../benchmarks/settings/{name}.toml)"
        head = (settings.env, link, f"{settings.config.total_steps:,}")
        if not runs:
            yield (*head, "", "0", "not run", "", "not run", others or "none")
            continue
        seconds = f"{median(run['cpu_s'] for run in runs):.0f}"
        greedy, sampled = intervals(runs)
        worst = number(min(run["greedy"] for run in runs), None)
        mean = fmean(run["greedy"] for run in runs)
        if len(runs) >= ENOUGH and mean >= best_published(settings.env).mean:
            greedy = f"**{greedy}**"
        yield (*head, seconds, str(len(runs)), greedy, worst, sampled, others or "none")


def detail_lines(report: dict[str, Any], row: str) -> Iterator[tuple[str, ...]]:
    """The page's small table of what each detail of a row is worth."""
    yield ("changed", "greedy", "worst seed", "sampled")
    yield ("---", "---:", "---:", "---:")
    names = {row: "nothing"} | {f"{row}, {what}": what for what in DETAILS[row]}
    for name, what in names.items():
        runs = report["rows"].get(name, {}).get("runs", [])
        greedy, sampled = intervals(runs) if runs else ("not run", "not run")
        worst = number(min(run["greedy"] for run in runs), None) if runs else ""
        yield (what, greedy, worst, sampled)


def carried(means: list[float | None]) -> list[float]:
    """A curve without holes: where no episode ended, what the last ones paid; NaN before them."""
    known = [math.nan]
    for mean in means:
        known.append(known[-1] if mean is None else mean)
    return known[1:]


def draw(report: dict[str, Any], every: dict[str, Settings], env: str, target: Path) -> bool:
    """The learning curves of one environment as a PNG; False if nothing was run on it."""
    curves = {}
    for name, settings in every.items():
        runs = report["rows"].get(name, {}).get("runs", [])
        if settings.env == env and runs:
            width = settings.config.total_steps / POINTS
            middles = [(span + 0.5) * width for span in range(POINTS)]
            table = [carried(run["curve"]) for run in runs]
            curves[NAMES[settings.algorithm]] = (middles, table)
    if not curves:
        return False
    best = best_published(env)
    label = f"{SOURCES[best.source][0]}, {NAMES[best.algorithm]}: {number(best.mean, None)}"
    figure, ax = blank_panel()
    plot_learning_curves(ax, curves, {label: best.mean})
    ax.set_title(env)
    figure.savefig(target, dpi=130)
    plt.close(figure)
    return True


def markdown(table: Iterator[tuple[str, ...]]) -> str:
    """Rows of cells as a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def write_page(report: dict[str, Any], every: dict[str, Settings], folder: Path) -> None:
    """results.md in folder, and results-ENV.png beside it, from what the report holds."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for env in dict.fromkeys(settings.env for settings in every.values()):
        name = f"results-{env}.png"
        if draw(report, every, env, folder / name):
            pictures.append(f"![Learning curves on {env}]({name})")
    machine = report["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    page = PAGE.format(
        episodes=report["episodes"],
        first_seed=FIRST_SEED,
        table=markdown(lines(report, every)),
        mountain_car=markdown(detail_lines(report, "ppo-MountainCar-v0")),
        pendulum=markdown(detail_lines(report, "trpo-Pendulum-v1")),
        pictures="\n\n".join(pictures),
        sources="\n".join(f"  - [{name}]({url}): {what}." for name, url, what in SOURCES.values()),
        machine=f"{machine['cores']} cores ({machine['machine']}), one thread a run, Python "
        f"{machine['python']}, {packages}",
    )
    (folder / "results.md").write_text(page)


def main() -> None:
    """Train, evaluate, print the table, write FILE and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="read and written: runs in it are not done again")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help="0 to 19 were tuned on")
    parser.add_argument("--episodes", type=int, default=100, help="fresh ones, of each seed")
    parser.add_argument("--only", default="*", help="rows whose name fits, as in 'ppo-*'")
    parser.add_argument("--long", action="store_true", help="MuJoCo too")
    parser.add_argument("--again", action="store_true", help="also the runs that are in --json")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--docs", type=Path, help="folder for results.md and its figures")
    options = parser.parse_args()
    if options.again and not options.json:
        parser.error("--again needs --json FILE: there is nothing to do again")
    every = rows()
    wanted = {
        name: settings
        for name, settings in (every | details()).items()
        if fnmatch(name, options.only) and (options.long or not is_long(settings))
    }
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    if options.again:
        forget(options.json, wanted)
    report = measure(wanted, seeds, options.episodes, options.workers, options.json)
    Console().print(screen(report, every | details()))
    if options.json:
        print(f"wrote {options.json}")
    if options.docs:
        write_page(report, every, options.docs)
        print(f"wrote {options.docs / 'results.md'} and its figures")


if __name__ == "__main__":
    main()
