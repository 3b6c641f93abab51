"""What students handed in is read and repaired in a process of its own, under limits.

A file takes as much time and memory to read as its author likes. Nothing in it is run.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

from autograder.grading.record import Accident
from autograder.student.notebook_file import Unreadable

READ_SECONDS = 20.0  # of processor time, for one hand-in, if nothing else is said
READ_BYTES = 1 << 30  # of address space, beyond what reading takes anyway
PATIENCE = 10 * READ_SECONDS  # by the clock: then the machine is to blame
P = ParamSpec("P")
T = TypeVar("T")


class Readers:
    """Processes that read, as many as are asked at a time. Use as a context manager.

    seconds: of processor time that one hand-in may take.
    """

    def __init__(self, seconds: float = READ_SECONDS) -> None:
        self._seconds = seconds
        self._idle: SimpleQueue[_Reader] = SimpleQueue()

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._idle.get_nowait().end()

    def start(self, number: int, module: str) -> None:
        """Have so many ready, with the module imported whose functions they will be asked for."""
        for _ in range(number):
            self._idle.put(_Reader(self._seconds, module))

    def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a function of a module gives for arguments that can be pickled, or what it raises.

        Raises Unreadable if that takes more than a hand-in may, Accident if the process was ended
        by something else.
        """
        try:
            reader = self._idle.get_nowait()
        except Empty:
            reader = _Reader(self._seconds)
        try:
            answered, said = reader.ask((function, args, kwargs))
        except BaseException:
            reader.end()
            raise
        self._idle.put(reader)
        if answered:
            result: T = said
            return result
        if isinstance(said, MemoryError):
            raise _too_much("memory")
        raise said


class _Reader:
    def __init__(self, seconds: float, module: str = "") -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "autograder.grading.reading"]
        command += [str(theirs.fileno()), str(seconds), module]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        self._line = Connection(ours.detach())

    def ask(self, question: Any) -> tuple[bool, Any]:
        """Whether a function gave something, and what it gave or raised."""
        try:
            self._line.send(question)
            if not self._line.poll(PATIENCE):
                raise Accident(f"could not be read in {PATIENCE:g} s")
            answer: tuple[bool, Any] = self._line.recv()
            return answer
        except (EOFError, OSError):
            ended = self._process.wait()
            if ended == -signal.SIGXCPU:
                raise _too_much("time") from None
            raise Accident(f"could not be read: what reads it ended with status {ended}") from None

    def end(self) -> None:
        """Make an end of the process."""
        self._line.close()
        self._process.kill()
        self._process.wait()


def _too_much(what: str) -> Unreadable:
    return Unreadable(
        f"Your file takes too much {what} to read. Open it in Jupyter, clear all outputs "
        "(Kernel > Restart Kernel and Clear Outputs), save it and hand it in anew.",
        f"reading it takes too much {what}",
    )


def main() -> None:
    """Answer until the other side closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the grader's to handle
    line, seconds = Connection(int(sys.argv[1])), float(sys.argv[2])
    if module := sys.argv[3]:
        importlib.import_module(module)
    limited = False
    while True:
        try:
            function, args, kwargs = line.recv()
        except EOFError:
            return
        if not limited:
            with contextlib.suppress(OSError):  # beyond Linux it does not say what it has
                most = _address_space() + READ_BYTES
                resource.setrlimit(resource.RLIMIT_AS, (most, most))
            limited = True
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), hard))
        try:
            answer = True, function(*args, **kwargs)
        except Exception as error:
            answer = False, error.with_traceback(None)
        line.send(answer)
        del answer


def _address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main()
