"""What a figure was measured on, and how the clocks are read."""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

PACKAGES = ("torch", "numpy", "gymnasium", "stable-baselines3", "sb3-contrib")


def one_core() -> None:
    """One thread for everything, before the libraries that read these are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def facts() -> dict[str, Any]:
    """Processor, load and versions: what a reader needs to compare two runs."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": 1,
        "load": round(os.getloadavg()[0], 2),
        "packages": found,
    }


@dataclass
class Clock:
    """Seconds of the wall and of this process alone, which a busy machine disturbs less."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def timed() -> Iterator[Clock]:
    """Times of the block, readable after it; what earlier ones left behind is cleared before."""
    clock = Clock()
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    yield clock
    clock.wall, clock.cpu = time.perf_counter() - wall, time.process_time() - cpu


def best(function: Callable[[], Any], rounds: int) -> float:
    """Fewest process seconds of one call: what it costs when nothing else interferes."""
    seconds = []
    for _ in range(rounds):
        with timed() as clock:
            function()
        seconds.append(clock.cpu)
    return min(seconds)
