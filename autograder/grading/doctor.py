"""What protects this machine and the marks here, each tried with a small attack from inside."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autograder.grading.examiner import examine, machine_kills
from autograder.grading.record import Accident
from autograder.grading.sandbox import Limits, Sandbox, SandboxError
from autograder.grading.syscalls import compiled_filter
from autograder.student.modules import require_installed

LIMITS = Limits(cell_seconds=5.0, memory_bytes=512 << 20)
ROOM = 1 << 30  # bytes of memory for the grader and its warm parent


@dataclass(frozen=True)
class Finding:
    """One protection. holds: whether it does here. said: what was seen. advice: how to get it.

    needed: whether `course grade` refuses without it.
    """

    name: str
    holds: bool
    said: str
    advice: str = ""
    needed: bool = False


# Attacks: what they are for, a cell that says what came of it, and what it says where they fail.
ATTACKS = (
    (
        "no network",
        "import socket\ntry:\n    socket.create_connection(('192.0.2.1', 80), 1)\n"
        "    print('out')\nexcept OSError:\n    print('refused')",
        "refused",
        "it runs in a network of its own, which has no way out",
    ),
    (
        "no file of staff",
        "import os\nseen = [p for p in {private!r} if os.path.isdir(p) and os.listdir(p)]\n"
        "print(seen or 'refused')",
        "refused",
        "repository and class folder are not there from inside",
    ),
    (
        "read-only system",
        "try:\n    open('/usr/course-doctor', 'w')\n    print('written')\n"
        "except OSError:\n    print('refused')",
        "refused",
        "only its own temporary folder can be written",
    ),
    (
        "no other process",
        "import os\nprint('refused' if len([p for p in os.listdir('/proc') if p.isdigit()]) <= 2 "
        "else 'seen')",
        "refused",
        "it sees its own processes and no others",
    ),
    (
        "limit on processes",
        "import os, time\ncount = 0\ntry:\n    for _ in range(500):\n        if os.fork() == 0:\n"
        "            time.sleep(60)\n        count += 1\nexcept OSError:\n    pass\n"
        "print('refused' if count < 100 else count)",
        "refused",
        f"{LIMITS.processes} at a time",
    ),
    (
        "limit on disk",
        "try:\n    with open('/tmp/big', 'wb') as file:\n        for _ in range(300):\n"
        "            file.write(bytes(1 << 20))\n    print('written')\n"
        "except OSError:\n    print('refused')",
        "refused",
        f"{LIMITS.scratch_bytes >> 20} MB each, in memory",
    ),
    (
        "limit on memory of all its processes",
        "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n"
        "        held = bytearray(os.urandom(1 << 20)) * 300\n        time.sleep(60)\n"
        "time.sleep(8)\nprint('held')",
        "",
        "each process by the kernel, their sum ten times a second",
    ),
)
FILTERED = (
    "import ctypes\nlibc = ctypes.CDLL(None)\n"
    "print('refused' if libc.memfd_create(b'x', 0) < 0 and libc.setsid() < 0 else 'allowed')"
)


def examine_machine(
    root: Path, course: Path | None, workers: int, tell: Callable[[str], None] = lambda _: None
) -> Iterator[Finding]:
    """Look for what protects grading and try each. tell(words): called with what is being done."""
    yield Finding("Python", True, f"{sys.version.split()[0]} at {sys.executable}")
    try:
        require_installed()
        yield Finding("modules of students", True, "all installed", needed=True)
    except ValueError as error:
        yield Finding("modules of students", False, str(error), needed=True)
    tell("starting the sandbox")
    private = [course] if course is not None else []
    try:
        with Sandbox(root, private=private) as sandbox:
            sandbox.wait()
            yield Finding("sandbox", True, "bubblewrap with user namespaces", needed=True)
            yield from _attacked(sandbox, [root, *private], tell)
    except SandboxError as error:
        yield Finding("sandbox", False, str(error), needed=True)
    yield from _machine(workers)


def _attacked(
    sandbox: Sandbox, private: list[Path], tell: Callable[[str], None]
) -> Iterator[Finding]:
    """The attacks, each from a cell of its own."""
    hidden = [str(path.resolve()) for path in private]
    for name, cell, wanted, said in ATTACKS:
        tell(f"trying: {name}")
        came = _outcome(sandbox, cell.replace("{private!r}", repr(hidden)))
        holds = came == wanted if wanted else "more memory than it may have" in came
        words = said if holds else f"an attack from inside went through: {came}"
        yield Finding(name, holds, words, needed=True)
    tell("trying: filter of system calls")
    try:
        compiled_filter()
        holds = _outcome(sandbox, FILTERED) == "refused"
        yield Finding(
            "filter of system calls",
            holds,
            "what no homework needs is refused" if holds else "it is not in force",
        )
    except ImportError as error:
        yield Finding(
            "filter of system calls",
            False,
            f"libseccomp is missing ({error})",
            "install your system's libseccomp2 (libseccomp on Fedora) and `pip install pyseccomp`",
        )


def _outcome(sandbox: Sandbox, cell: str) -> str:
    """What a cell printed, or how it ended."""
    try:
        examination = examine(sandbox, [cell], [], LIMITS, alone=True)
    except Accident as error:
        return f"it {error}"
    if examination.deaths:
        return "; ".join(examination.deaths)
    return "".join(
        str(output.get("text", output.get("evalue", ""))) for output in examination.outputs[0]
    ).strip()


def _machine(workers: int) -> Iterator[Finding]:
    """What the machine brings: fair shares, counters, memory and disk."""
    group = Path("/proc/sys/kernel/sched_autogroup_enabled")
    fair = group.exists() and group.read_text().strip() == "1"
    yield Finding(
        "fair shares of the processors",
        fair,
        "a submission is one scheduling group, however many processes it has"
        if fair
        else "many processes are many shares",
        ""
        if fair
        else "`sysctl kernel.sched_autogroup_enabled=1`; without it, who was starved is "
        "run again alone",
    )
    waits = Path("/proc/self/schedstat").exists()
    yield Finding(
        "who was starved is seen",
        waits,
        "the kernel counts how long a process waits for a processor"
        if waits
        else "the kernel does not count how long a process waits (CONFIG_SCHED_INFO)",
        "" if waits else "grade with --workers 1 on a machine that does nothing else",
    )
    counts = machine_kills() >= 0
    yield Finding(
        "who was killed for want of memory is seen",
        counts,
        "the kernel counts (oom_kill in /proc/vmstat)" if counts else "the kernel does not count",
    )
    wanted = workers * Limits().memory_bytes + ROOM
    free = available_memory()
    yield Finding(
        "memory",
        free >= wanted,
        f"{free >> 20:,} MB free; {workers} side by side may take {wanted >> 20:,} MB",
        "" if free >= wanted else "grade with fewer --workers",
    )
    room, needed = shutil.disk_usage(tempfile.gettempdir()).free, 1 << 30
    yield Finding(
        "disk",
        room >= needed,
        f"{room >> 20:,} MB free in {tempfile.gettempdir()}",
        "" if room >= needed else "make room, or set TMPDIR",
    )


def available_memory() -> int:
    """Bytes of memory that this process may still get: the machine's, or its control group's."""
    found = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGESIZE")]
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            found = [int(line.split()[1]) << 10]
    group = Path("/sys/fs/cgroup")
    for limit, used in (
        (group / "memory.max", group / "memory.current"),
        (group / "memory/memory.limit_in_bytes", group / "memory/memory.usage_in_bytes"),
    ):
        most, now = ("".join(_lines(path)).strip() for path in (limit, used))
        if most.isdigit() and now.isdigit():
            found.append(max(0, int(most) - int(now)))
    return min(found)


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
