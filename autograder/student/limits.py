"""How long a student's code may run and what torch is set to when a function is asked.

The same in `check(f)`, in `course check` and in grading.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

CELL_SECONDS = 10.0  # of one cell, in processor time
CELLS_SECONDS = 60.0  # of all cells together
ANSWER_SECONDS = 5.0  # of one call of a function that is asked
WALL = 5  # a block that waits instead of computing may take this many times longer: under a minute
BY_THE_CLOCK = "by the clock"  # what tells that limit from the one in processor time


class TimeLimit(BaseException):
    """A cell or an answer took too long. Not an Exception, so `except Exception` lets it pass."""


@contextlib.contextmanager
def time_limit(seconds: float, note: str = "", last_resort: bool = True) -> Iterator[None]:
    """Raise TimeLimit in the block after `seconds` of processor time, or WALL times that by clock.

    Processor time, so that a busy machine does not change a mark. A block that shrugs it off is
    told again every second; two seconds later, as the last resort, the kernel ends the process.
    Inside another limit, what is left of that stands if it is shorter. Where there is no interval
    timer (Windows) or the block runs in a thread there is no limit.
    """
    main_thread = threading.current_thread() is threading.main_thread()
    if not seconds or not hasattr(signal, "setitimer") or not main_thread:
        yield
        return

    def stop(number: int, *_: Any) -> None:
        if number == signal.SIGALRM:
            raise TimeLimit(f"the time limit of {WALL * seconds:.3g} s {BY_THE_CLOCK} was reached")
        raise TimeLimit(f"the time limit of {seconds:.3g} s was reached{note}")

    timers = (
        (signal.ITIMER_PROF, signal.SIGPROF, seconds, time.process_time),
        (signal.ITIMER_REAL, signal.SIGALRM, WALL * seconds, time.monotonic),
    )
    if last_resort:
        _end_process_after(seconds + 2)
    before = []
    for timer, number, length, clock in timers:
        left, again = signal.setitimer(timer, 0)
        if 0 < left <= length:
            signal.setitimer(timer, left, again)
            continue
        before.append((timer, number, signal.signal(number, stop), left, clock, clock()))
        signal.setitimer(timer, length, 1.0)
    try:
        yield
    finally:
        for timer, *_ in before:
            signal.setitimer(timer, 0)
        for timer, number, handler, left, clock, started in before:
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
            if left:
                signal.setitimer(timer, max(left - clock() + started, 1e-3), 1.0)
        if last_resort:
            _end_process_after(None)


def _end_process_after(seconds: float | None) -> None:
    """Have the kernel end this process once it has used so much more processor time, or not."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = hard
    if seconds is not None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        soft = int(usage.ru_utime + usage.ru_stime + seconds) + 1
        soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


@contextlib.contextmanager
def usual_settings() -> Iterator[None]:
    """Torch's settings in the block as they are after its import; afterwards as they were.

    But for the number of threads, and the default dtype: homework sets it for all its answers.
    """
    import torch

    device = torch.get_default_device()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autograd.set_detect_anomaly(False))
        if device.type != "cpu":
            torch.set_default_device(None)
            stack.callback(torch.set_default_device, device)
        if deterministic:  # only then: the call imports a compiler
            torch.use_deterministic_algorithms(False)
            stack.callback(torch.use_deterministic_algorithms, True, warn_only=warn_only)
        yield
