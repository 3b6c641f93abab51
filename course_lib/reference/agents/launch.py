"""Train an agent by its name, in a folder of its own, and go on with a run that was stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from course_lib.policies import Policy, policy_for
from course_lib.reference.agents.ablations import without as left_out
from course_lib.reference.agents.film import record_video
from course_lib.reference.agents.ppo import train_ppo
from course_lib.reference.agents.reinforce import train_reinforce
from course_lib.reference.agents.run_folder import (
    FIXED,
    About,
    Recorder,
    Stopped,
    new_folder,
    read_run,
    stops_between_updates,
    write_settings,
)
from course_lib.reference.agents.scaling import scaler_for
from course_lib.reference.agents.settings import CONFIGS, Settings, configure
from course_lib.reference.agents.trpo import train_trpo
from course_lib.rollout import EnvironmentFailed, make_envs
from course_lib.seeding import check_device, new_generator
from course_lib.training import Config, History

AGENTS: dict[str, Callable[..., tuple[Policy, History]]] = {
    "ppo": train_ppo,
    "trpo": train_trpo,
    "reinforce": train_reinforce,
}
RUNS = Path("build") / "runs"


@dataclass(frozen=True)
class Trained:
    """What came of a run. notes: sentences that somebody who runs it should read."""

    about: About
    policy: Policy
    history: History
    folder: Path
    film: Path | None = None
    notes: tuple[str, ...] = ()


def train_agent(
    algorithm: str,
    env_id: str,
    config: Config | None = None,
    *,
    seed: int = 0,
    without: Sequence[str] = (),
    folder: Path | None = None,
    video: bool = False,
    bar: bool = True,
    device: str = "cpu",
) -> Trained:
    """Train algorithm ("ppo", "trpo" or "reinforce") on env_id: `course train` as a Python call.

    config: None takes the algorithm's defaults. without: details to leave out, see
    `course_lib.reference.agents.ablations`. folder: new, or empty; None makes one under build/runs.
    bar: shows steps, return, KL, clip fraction and time left.
    Raises ValueError for a wrong call, FloatingPointError at NaN, EnvironmentFailed where the
    environment raises, and Stopped at Ctrl-C; after the last three the folder holds the last good
    checkpoint.
    """
    if algorithm not in AGENTS:
        raise ValueError(f"there is no algorithm {algorithm!r}: choose from {', '.join(AGENTS)}")
    settings = Settings(algorithm, env_id, config or CONFIGS[algorithm]())
    if not isinstance(settings.config, CONFIGS[algorithm]):
        raise ValueError(
            f"{algorithm} takes a {CONFIGS[algorithm].__name__}, got a "
            f"{type(settings.config).__name__}"
        )
    about = About(settings, seed, tuple(without))
    check_packages()
    check_device(device)
    check_run(about)  # before there is a folder
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already: resume it, or name a new folder")
    try:
        if folder is None:
            left = (f"without-{each}" for each in without)
            folder = new_folder(RUNS, "-".join([algorithm, env_id, str(seed), *left]))
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{folder or RUNS} cannot be made: {error.strerror}") from error
    return _train(about, folder, False, video, bar, device)


def resume_agent(
    folder: Path,
    changes: Mapping[str, Any] | None = None,
    *,
    video: bool = False,
    bar: bool = True,
    device: str = "cpu",
) -> Trained:
    """Go on with the run in a folder from its checkpoint, as if it had never been left.

    changes: settings to go on with instead, such as more total_steps; then it is another run from
    here on. Raises as train_agent does, and ValueError for a setting that cannot change any more.
    """
    check_packages()
    about = read_run(folder)
    changes = dict(changes or {})
    fixed = [name for name in changes if name in FIXED]
    if fixed:
        raise ValueError(
            f"{', '.join(fixed)} cannot change in a run that goes on: start a new one with it"
        )
    config = configure(about.settings.algorithm, changes, about.settings.config)
    about = replace(about, settings=replace(about.settings, config=config))
    return _train(about, folder, True, video, bar, device)


def check_run(about: About) -> None:
    """Raise ValueError if a detail is unknown, or no policy fits the environment."""
    settings = about.settings
    left_out(settings.algorithm, about.without, settings.config)
    envs = make_envs(settings.env, 1)
    policy_for(envs, settings.config.hidden, generator=new_generator(0))
    if getattr(settings.config, "scale_observations", False):
        scaler_for(envs)
    envs.close()


def check_packages() -> None:
    """Raise ValueError if a package that run folders need is not there."""
    missing = [name for name in ("safetensors", "tensorboard") if find_spec(name) is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must be installed: pip install -e '.[train]'")


def _train(
    about: About, folder: Path, resume: bool, video: bool, bar: bool, device: str
) -> Trained:
    algorithm, env_id = about.settings.algorithm, about.settings.env
    config, parts = left_out(algorithm, about.without, about.settings.config)
    generator = new_generator(about.seed, device)
    write_settings(folder, about)
    film: Path | None = None
    with progress_bar(about, bar) as show:
        recorder = Recorder(folder, about, resume, show)
        try:
            try:
                with stops_between_updates(recorder):
                    policy, history = AGENTS[algorithm](
                        env_id, config, generator=generator, device=device, watch=recorder, **parts
                    )
            finally:
                recorder.write_down()
            if video:
                seeded = new_generator(about.seed, device)
                film = record_video(policy, env_id, folder / "video", seeded)
        except (FloatingPointError, EnvironmentFailed) as error:
            raise type(error)(
                f"{error}. The last good checkpoint is of step {recorder.saved_steps}, in {folder}"
            ) from error
        except KeyboardInterrupt:  # while it trains, or while tables, picture and film are made
            on = "" if generator.device.type == "cpu" else f" --device {device}"
            raise Stopped(
                f"stopped at step {recorder.saved_steps}: course train --resume {folder}{on}"
            ) from None
    notes = []
    if recorder.problem:
        notes.append(
            f"{env_id} cannot be saved: {recorder.problem}. A resumed run begins new episodes, and "
            "is not bit for bit the one that was not stopped"
        )
    return Trained(about, policy, history, folder, film, tuple(notes))


@contextmanager
def progress_bar(about: About, visible: bool) -> Iterator[Callable[[History], None]]:
    """A bar on stderr: steps, mean return, KL, share outside the clip, time left."""
    if not visible:
        yield lambda history: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
    ]
    total = about.settings.config.total_steps
    with Progress(*columns, console=Console(stderr=True), expand=True) as progress:
        task = progress.add_task(about.settings.algorithm, total=total, numbers="")

        def show(history: History) -> None:
            progress.update(task, completed=min(history.steps, total), numbers=in_short(history))

        yield show


def in_short(history: History) -> str:
    """The last update in a few words: mean return, KL, share of steps outside the clip."""
    last = history.updates[-1] if history.updates else {}
    window = min(100, len(history.episode_returns))
    parts = [f"return {history.mean_return(window):.4g}"] if window else []
    if math.isfinite(last.get("kl", math.nan)):
        parts.append(f"KL {last['kl']:.2g}")
    if "share_outside_clip" in last:
        parts.append(f"clipped {last['share_outside_clip']:.0%}")
    return "  ".join(parts)
