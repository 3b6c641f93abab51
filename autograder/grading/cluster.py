"""A class on many machines: an existing Dask cluster runs the notebooks, this machine judges.

Only inputs and answers travel. What is right, known mistakes, the secret, hand-ins as they came,
records and gradebook stay with the client. A worker needs this project, installed as here, and a
sandbox; a worker that has neither is refused by name, and its work goes elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import distributed
from distributed.diagnostics.plugin import WorkerPlugin

from autograder.grading.examiner import Examination, conclude, gather
from autograder.grading.record import Accident
from autograder.grading.sandbox import Limits, Sandbox, SandboxError
from autograder.project import ROOT
from autograder.student.exam import Exam, judge
from autograder.student.modules import MODULES
from autograder.student.run import Answers

CONNECT_SECONDS = 20
LOOK_SECONDS = 5.0  # between two looks whether those who may do a task still live
AHEAD = 2  # submissions on their way for each thread of a worker
PLUGIN = "course-sandbox"


class Refused(RuntimeError):
    """A worker cannot do this work. args: its address, and why."""


def identity() -> dict[str, str]:
    """What has to be the same where notebooks run: our code, Python, what students may import."""
    digest = hashlib.sha256()
    for folder in ("autograder", "course_lib"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".json") and path.is_file():
                digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
                digest.update(path.read_bytes())
    found = {"this project": digest.hexdigest()[:16], "Python": platform.python_version()}
    for name in MODULES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


class _Here:
    """What this worker has: its identity, and a sandbox from the first notebook on."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.identity: dict[str, str] = {}
        self.sandbox: Sandbox | None = None
        self.opened = contextlib.ExitStack()

    def ready(self) -> Sandbox:
        """A sandbox that is warm. Raises SandboxError without one."""
        with self.lock:
            if self.sandbox is None:
                self.sandbox = self.opened.enter_context(Sandbox(ROOT))
            self.sandbox.wait()
            return self.sandbox

    def close(self) -> None:
        """Leave nothing behind."""
        with self.lock:
            self.opened.close()
            self.sandbox = None


_here = _Here()


class SandboxPlugin(WorkerPlugin):  # type: ignore[misc]
    """Takes the sandbox down with its worker."""

    name = PLUGIN

    def teardown(self, worker: Any) -> None:
        """Called when the worker ends."""
        _here.close()


@dataclass(frozen=True)
class Order:
    """What a worker is told of one notebook: see `gather`. Nothing in it says what is right."""

    cells: tuple[str | None, ...]
    questions: tuple[Exam, ...]
    limits: Limits
    files: Mapping[str, str]
    imports: tuple[int, str] | None
    checks: Mapping[int, str]
    identity: Mapping[str, str]


@dataclass
class Gathered:
    """What a worker gives back. said: what it did, in order, with the seconds."""

    examination: Examination
    answers: Answers
    worker: str
    said: list[tuple[str, str]] = field(default_factory=list)


def question_of(exam: Exam) -> Exam:
    """What has to be known to ask, without anything by which an answer is judged."""
    return replace(
        exam,
        expected=(),
        known_wrong=(),
        parts=(),
        pairs=(),
        try_pair=None,
        likely=None,
        measure="",
        elsewhere=(),
        beyond="",
    )


def run_here(order: Order) -> Gathered:
    """On a worker: run a notebook and ask its functions, all of them wherever they are asked."""
    address = str(distributed.get_worker().address)
    if not _here.identity:
        _here.identity = identity()
    if why := difference(order.identity, _here.identity):
        raise Refused(address, why)
    try:
        sandbox = _here.ready()
    except SandboxError as error:
        raise Refused(address, str(error)) from None
    said: list[tuple[str, str]] = []
    started = time.monotonic()

    def tell(what: str, words: str) -> None:
        said.append((what, f"{words} (at {time.monotonic() - started:.2f} s)"))

    examination, answers = gather(
        sandbox,
        order.cells,
        order.questions,
        order.limits,
        order.files,
        order.imports,
        order.checks,
        tell=tell,
        is_right=lambda exam, given: False,
    )
    return Gathered(examination, answers, address, said)


def difference(wanted: Mapping[str, str], found: Mapping[str, str]) -> str:
    """What is not the same, in a sentence; "" if all is."""
    others = [
        f"{name} is {found.get(name, 'missing')} there and {wanted.get(name, 'missing')} here"
        for name in sorted({*wanted, *found})
        if wanted.get(name) != found.get(name)
    ]
    return "; ".join(others)


def _as_asked_here(gathered: Gathered, exams: Sequence[Exam]) -> Answers:
    """The answers that a run on this machine would have.

    A worker does not know what is right, so it asks at a check also where nobody would have asked:
    where the cell went through and the end is right.
    """
    by_name = {exam.check: exam for exam in exams}
    answers = {
        place: by_name[place.check].measured(given) for place, given in gathered.answers.items()
    }
    right = {
        place.check
        for place, given in answers.items()
        if place.cell is None and judge(by_name[place.check], given).outcome == "right"
    }
    failed = {
        cell
        for cell, outputs in gathered.examination.outputs.items()
        if any(output["output_type"] == "error" for output in outputs)
    }
    return {
        place: given
        for place, given in answers.items()
        if place.cell is None or place.cell in failed or place.check not in right
    }


class Cluster:
    """An existing Dask cluster, and who of its workers may grade. Use as a context manager.

    refused: why not, by the address of the worker. Raises OSError if nobody answers at the address
    or if it has no worker that can grade, saying why.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.refused: dict[str, str] = {}
        self.identity = identity()
        self._lock = threading.Lock()

    def __enter__(self) -> Cluster:
        try:
            self.client = distributed.Client(
                self.address, timeout=CONNECT_SECONDS, set_as_default=False
            )
        except (OSError, TimeoutError, ValueError) as error:
            raise OSError(
                f"Nobody answers at {self.address} ({error}): is a Dask scheduler at work there, "
                "and are the certificates for tls:// in Dask's configuration?"
            ) from None
        found = self.client.run(identity, on_error="return")
        for worker, its in found.items():
            if isinstance(its, BaseException):
                self.refused[worker] = f"this project is not there ({its})"
            elif why := difference(self.identity, its):
                self.refused[worker] = why
        if not self.workers():
            self.__exit__()
            whys = " ".join(f"{w}: {why}." for w, why in self.refused.items())
            raise OSError(
                f"No worker at {self.address} can grade. {whys or 'There is none at all.'} Install "
                "on each what is installed here, and start it from there."
            )
        self.client.register_plugin(SandboxPlugin())
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close(timeout=5)

    def workers(self) -> list[str]:
        """Addresses of those that live and are not refused."""
        return [one for one in self._all() if one not in self.refused]

    def _all(self) -> dict[str, int]:
        """Threads of each worker that lives, by address."""
        return dict(self.client.nthreads())

    def at_once(self) -> int:
        """How many submissions to have on their way."""
        return AHEAD * sum(n for name, n in self._all().items() if name not in self.refused)

    def examine(
        self,
        cells: Sequence[str | None],
        exams: Sequence[Exam],
        limits: Limits,
        files: Mapping[str, str],
        tests: Collection[int],
        imports: tuple[int, str] | None,
        checks: Mapping[int, str],
        tell: Callable[[str, str], None],
    ) -> Examination:
        """As `examiner.examine`, run on whichever worker is free and judged here.

        Raises Accident as that does, and if workers went down over it; SandboxError if nobody is
        left who could do it.
        """
        order = Order(
            tuple(cells),
            tuple(map(question_of, exams)),
            limits,
            dict(files),
            imports,
            dict(checks),
            self.identity,
        )
        gathered = self._elsewhere(order)
        tell("worker", f"it ran on {gathered.worker}")
        for what, words in gathered.said:
            tell(what, words)
        answers = _as_asked_here(gathered, exams)
        return conclude(gathered.examination, answers, exams, tests, checks, tell)

    def _elsewhere(self, order: Order) -> Gathered:
        """Have it done by one that can; by another if that one turns out not to."""
        while True:
            able = self.workers()
            if not able:
                whys = " ".join(f"{w}: {why}." for w, why in self.refused.items())
                raise SandboxError(f"No worker at {self.address} is left that can grade. {whys}")
            future = self.client.submit(run_here, order, workers=able, pure=False)
            try:
                gathered: Gathered | None = self._awaited(future, able, order.limits)
            except Refused as refused:
                with self._lock:
                    self.refused[refused.args[0]] = refused.args[1]
                continue
            except Accident:
                raise
            except distributed.KilledWorker as error:
                raise Accident(f"took its workers down ({error})") from None
            finally:
                future.cancel()
            if gathered is not None:
                return gathered

    def _awaited(self, future: Any, able: list[str], limits: Limits) -> Gathered | None:
        """What comes of it; None if all that may do it are gone: others have to be asked."""
        until = time.monotonic() + 2 * (AHEAD + 1) * limits.submission_seconds
        while time.monotonic() < until:
            try:
                gathered: Gathered = future.result(timeout=LOOK_SECONDS)
                return gathered
            except TimeoutError:
                if not set(able) & set(self._all()):
                    return None
            except (distributed.client.FutureCancelledError, OSError) as error:
                raise Accident(f"was lost on its way ({error})") from None
        raise Accident(f"did not come back from {self.address}")
