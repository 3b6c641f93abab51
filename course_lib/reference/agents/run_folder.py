"""One training run on disk: settings, checkpoint, tables, picture and TensorBoard's events.

settings.toml            what `course train --settings` reads
checkpoint.safetensors   everything that is needed to go on
updates.csv              a row for each update: environment steps, mean return, what it reported
episodes.csv             a row for each training episode: environment steps at its end, return
learning_curve.png       both in one picture
events.out.tfevents.*    for `tensorboard --logdir`
"""

from __future__ import annotations

import csv
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from course_lib.policies import Policy, policy_for
from course_lib.reference.agents.checkpoint import (
    load_checkpoint,
    load_part,
    read_about,
    save_checkpoint,
)
from course_lib.reference.agents.scaling import scaler_for
from course_lib.reference.agents.settings import Settings, configure, settings_text
from course_lib.rollout import make_envs
from course_lib.seeding import new_generator
from course_lib.training import History, Run, is_over

CHECKPOINT = "checkpoint.safetensors"
FIXED = ("envs", "hidden", "scale_observations", "scale_rewards")  # a checkpoint's shapes
SHARE = 0.05  # of the time that checkpoints may take


@dataclass(frozen=True)
class About:
    """What makes a run: settings, with nothing left out yet; the seed; details left out."""

    settings: Settings
    seed: int = 0
    without: tuple[str, ...] = ()

    def title(self) -> str:
        """In a line."""
        left_out = "".join(f", without {name}" for name in self.without)
        return f"{self.settings.algorithm} on {self.settings.env}, seed {self.seed}{left_out}"


class Stopped(KeyboardInterrupt):
    """Ctrl-C came and the run was saved; says how to go on."""


class Recorder:
    """What an agent calls as `watch`: puts a run back, saves it, writes it down, shows it.

    folder: exists. about: what the checkpoint says of the run. resume: go on from the checkpoint
    that is there. show: called with the history before the first update and after each.
    problem: why environments could not be saved, or "". saved_steps: where the checkpoint stands.
    """

    def __init__(
        self,
        folder: Path,
        about: About,
        resume: bool = False,
        show: Callable[[History], None] = lambda history: None,
    ) -> None:
        self.folder = folder
        self.about = about
        self.resume = resume
        self.show = show
        self.problem = ""
        self.stopping = False
        self.run: Run | None = None
        self.saved_steps = 0
        self._next_save = 0.0
        self._events: Any = None

    def __call__(self, run: Run) -> None:
        """Before the first update: put back. After each: save if it is time. Stop if asked to."""
        if self.run is None:
            self.run = run
            if self.resume:
                self.problem = load_checkpoint(self.folder / CHECKPOINT, run)
        else:
            self._write_event(run.history)
        self.show(run.history)
        over = is_over(self.about.settings.config, run.history)
        if over or self.stopping or time.monotonic() >= self._next_save:
            self.save()
        if self.stopping and not over:
            raise Stopped

    def save(self) -> None:
        """Write the checkpoint."""
        assert self.run is not None
        start = time.monotonic()
        self.problem = save_checkpoint(self.folder / CHECKPOINT, self.run, asdict(self.about))
        self.saved_steps = self.run.history.steps
        end = time.monotonic()
        if self.saved_steps > 0:  # the first one imports what it needs
            self._next_save = end + (end - start) * (1 / SHARE - 1)

    def write_down(self) -> None:
        """Write tables and picture of what was seen so far."""
        if self._events is not None:
            self._events.close()
        if self.run is not None:
            write_tables(self.folder, self.run.history)
            draw(self.folder, self.run.history, self.about.title())

    def _write_event(self, history: History) -> None:
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter

            # What a run wrote after its last checkpoint is taken back when it goes on from there.
            first = int(history.updates[-2]["steps"]) + 1 if len(history.updates) > 1 else 0
            self._events = SummaryWriter(str(self.folder), purge_step=first)
        for name, value in history.updates[-1].items():
            if name != "steps" and math.isfinite(value):
                self._events.add_scalar(name, value, history.steps)


@contextmanager
def stops_between_updates(recorder: Recorder) -> Iterator[None]:
    """Inside, Ctrl-C lets the update that runs come to its end; a second one does not wait."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: Any) -> None:
        recorder.stopping = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def new_folder(parent: Path, name: str) -> Path:
    """Make a folder that was not there: parent/name, or parent/name-2, and so on."""
    clean = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)
    number = 1
    while True:
        folder = parent / (clean if number == 1 else f"{clean}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1


def write_settings(folder: Path, about: About) -> None:
    """Write settings.toml, with what else makes the run in a comment."""
    text = f"# {about.title()}\n{settings_text(about.settings)}"
    (folder / "settings.toml").write_text(text, encoding="utf-8")


def read_run(folder: Path) -> About:
    """Which run the folder holds. Raises ValueError if there is none."""
    about = read_about(folder / CHECKPOINT)
    stored = about["settings"]
    values = {name: value for name, value in stored["config"].items() if value is not None}
    config = configure(stored["algorithm"], values)
    settings = Settings(stored["algorithm"], stored["env"], config)
    return About(settings, about["seed"], tuple(about["without"]))


def load_policy(folder: Path) -> Policy:
    """The policy of the run in a folder, as it was when it was last saved.

    Raises ValueError if there is none.
    """
    settings = read_run(folder).settings
    envs = make_envs(settings.env, 1)
    scaled = getattr(settings.config, "scale_observations", False)
    policy = policy_for(
        envs,
        settings.config.hidden,
        generator=new_generator(0),
        scaler=scaler_for(envs) if scaled else None,
    )
    envs.close()
    load_part(folder / CHECKPOINT, "policy", policy)
    return policy


def write_tables(folder: Path, history: History) -> None:
    """Write updates.csv and episodes.csv."""
    names = list(dict.fromkeys(name for update in history.updates for name in update))
    with (folder / "updates.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, names)
        rows.writeheader()
        rows.writerows(history.updates)
    with (folder / "episodes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["steps", "return"])
        writer.writerows(zip(history.episode_steps, history.episode_returns, strict=True))


def draw(folder: Path, history: History, title: str) -> None:
    """Write learning_curve.png."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from course_lib.reference.agents.run_figure import plot_run

    figure = Figure(figsize=(7.0, 4.0), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    plot_run(figure.add_subplot(), history).set_title(title)
    figure.savefig(folder / "learning_curve.png", dpi=130)
