"""`course train`: one agent, one environment, one folder."""

from __future__ import annotations

import json
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from course_lib.reference.agents.launch import Trained

STOPPED = 130  # the exit status after Ctrl-C, which is typer's too
console = Console()
complain = Console(stderr=True)


class Explained(SystemExit):
    """The end of a command that has said why itself."""


def train_agent(
    algorithm: Annotated[
        str | None, typer.Argument(help="ppo, trpo or reinforce; --settings and --resume know it.")
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(help="A gymnasium environment's id, or tensor/CartPole-v1: on the device."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of everything; 0 unless given.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Environment steps in all: total_steps.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="TOML file: algorithm, env and settings.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="One setting; may be given again."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DETAIL",
            help="Leave out clip, epochs, gae, entropy, advantage-normalisation, bootstrapping or "
            "decay; may be given again.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="A new folder for everything; under build/runs unless given."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Go on with the run in this folder.")
    ] = None,
    video: Annotated[bool, typer.Option("--video", help="Film an episode at the end.")] = False,
    device: Annotated[str, typer.Option(help="cpu, or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Train an agent; write its checkpoint, tables, learning curve and TensorBoard events.

    Ctrl-C stops after the update that runs, and --resume goes on from there bit for bit.
    """
    from threadpoolctl import threadpool_limits

    from course_lib.reference.agents import launch
    from course_lib.reference.agents.run_folder import Stopped
    from course_lib.reference.agents.settings import configure
    from course_lib.rollout import EnvironmentFailed

    values = parse_changes(changes or [])
    if steps is not None:
        values["total_steps"] = steps
    threadpool_limits(1)  # networks of this size only lose by more
    options: dict[str, Any] = {"video": video, "bar": not as_json, "device": device}
    started = time.monotonic()
    try:
        if resume is not None:
            if any(each is not None for each in (algorithm, env, seed, settings, folder, without)):
                raise ValueError(
                    "a run that goes on has its algorithm, environment, seed, settings and folder: "
                    "beside --resume only --steps, --set, --video, --device and --json may stand"
                )
            trained = launch.resume_agent(resume, values, **options)
        else:
            algorithm, env, base = what_to_train(algorithm, env, settings)
            trained = launch.train_agent(
                algorithm,
                env,
                configure(algorithm, values, base),
                seed=seed or 0,
                without=without or (),
                folder=folder,
                **options,
            )
    except Stopped as stopped:
        complain.print(f"course: {stopped}", markup=False, highlight=False, soft_wrap=True)
        raise Explained(STOPPED) from None
    except (FloatingPointError, EnvironmentFailed) as error:
        complain.print(f"course: {error}", markup=False, highlight=False, soft_wrap=True)
        raise Explained(1) from None
    report(trained, time.monotonic() - started, as_json)


def what_to_train(
    algorithm: str | None, env: str | None, settings: Path | None
) -> tuple[str, str, Any]:
    """Algorithm, environment and the settings file's configuration (None without a file).

    Raises ValueError if one of them is missing, unknown, or in contradiction to the file.
    """
    from course_lib.reference.agents.settings import CONFIGS, read_settings

    base = None
    if settings is not None:
        read = read_settings(settings)
        if algorithm not in (None, read.algorithm):
            raise ValueError(f"{settings} is for {read.algorithm}, not for {algorithm}")
        algorithm, env, base = read.algorithm, env or read.env, read.config
    if algorithm is None or env is None:
        raise ValueError(
            "which algorithm, on which environment? As in: course train ppo --env CartPole-v1"
        )
    if algorithm not in CONFIGS:
        raise ValueError(f"there is no algorithm {algorithm!r}: choose from {', '.join(CONFIGS)}")
    return algorithm, env, base


def parse_changes(changes: list[str]) -> dict[str, Any]:
    """NAME=VALUE with VALUE as in TOML. Raises ValueError for anything else."""
    values: dict[str, Any] = {}
    for change in changes:
        name, sign, value = change.partition("=")
        try:
            if not sign or not name.isidentifier():
                raise tomllib.TOMLDecodeError
            values |= tomllib.loads(f"{name} = {value}")
        except tomllib.TOMLDecodeError:
            raise ValueError(
                f"--set {change} is not understood: write --set gamma=0.9, --set hidden=[64,64] or "
                "--set scale_rewards=true"
            ) from None
    return values


def report(trained: Trained, seconds: float, as_json: bool) -> None:
    """Say what came out, and where it lies."""
    history, folder = trained.history, trained.folder
    window = min(100, len(history.episode_returns))
    mean = history.mean_return(window) if window else None
    if as_json:
        about = trained.about
        found = {
            "algorithm": about.settings.algorithm,
            "env": about.settings.env,
            "seed": about.seed,
            "without": about.without,
            "steps": history.steps,
            "episodes": len(history.episode_returns),
            "mean_return": mean,
            "mean_of_episodes": window,
            "seconds": round(seconds, 2),
            "folder": str(folder),
            "files": sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()),
            "notes": trained.notes,
        }
        json.dump(found, sys.stdout, indent=1)
        print()
        return
    for note in trained.notes:
        complain.print(f"course: {note}", markup=False, highlight=False, soft_wrap=True)
    line = f"{trained.about.title()}: {history.steps:,} steps in {seconds:.1f} s"
    if mean is not None:
        line += f", mean return of the last {window} episodes {mean:.4g}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    for path in (*sorted(folder.iterdir()), trained.film):
        if path is not None and path.is_file():
            console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)
