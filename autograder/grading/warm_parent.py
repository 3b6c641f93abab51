"""The warm parent: has imported everything a student may use, and forks itself for each submission.

Runs inside the sandbox, knows nothing private. For every job it is handed two file descriptors: the
channel, over which the fork serves `student.probe`, and the leash: when its other end closes, by
the examiner's will or the examiner's death, the whole job is killed. Over the leash comes the last
word, how it ended; nothing of the student's ever holds it.

A job is three processes. The keeper stays among the warm parent's processes and holds the leash.
The init is process 1 of new user, process, mount, network and IPC namespaces; when it goes,
everything the student started goes, and the student's processes can neither look into it nor use
what it holds. The third runs the student's cells, without capabilities and under limits.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import importlib
import json
import mmap
import os
import pkgutil
import platform
import re
import resource
import select
import signal
import socket
import struct
import sys
import time
from typing import Any

from autograder.student import probe, wire
from autograder.student.modules import MODULES

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = (
    0x00020000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
CAPABILITY_VERSION_3 = 0x20080522
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 4, 22, 38, 2
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
KEYCTL, KEYCTL_JOIN_SESSION_KEYRING = {"x86_64": 250, "aarch64": 219}, 1
SCRATCH = "/tmp/work"
TICK = 0.1  # seconds between two looks at a job's memory and processor time
NOTHING, RUNNING, OUT_OF_MEMORY = range(3)  # how far a job came: see `Meter`


def main() -> None:
    """Warm up, say so, then serve jobs until the control socket closes."""
    control = socket.socket(fileno=int(sys.argv[1]))
    confined = sys.argv[2] == "confined"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are reaped by the kernel
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the grader's to handle
    warm_up()
    control.sendall(b"ready\n")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 65536, 2)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            keep(json.loads(message), descriptors[0], descriptors[1], confined)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def warm_up() -> None:
    """Import and use once whatever is slow the first time."""
    import gymnasium
    import torch

    import course_lib
    from autograder.student.check import public_exams

    public_exams()
    for name in MODULES:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(course_lib.__path__, "course_lib."):
        importlib.import_module(module.name)
    torch.set_num_threads(1)
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    torch.distributions.Categorical(logits=model(torch.ones(1, 2))).log_prob(
        torch.zeros(1)
    ).mean().backward()
    optimizer.step()
    gymnasium.make("CartPole-v1").reset(seed=0)
    probe.make_shell()
    probe.run_cell(
        probe.make_shell(),
        "import matplotlib.pyplot\nmatplotlib.pyplot.plot([0])\nmatplotlib.pyplot.show()\n"
        "del matplotlib\n1 + 1",
        0,
    )


class Meter:
    """What a job's init and keeper know of it together, in memory that they share.

    stage: NOTHING until the student's process is there with its limits, then RUNNING;
    OUT_OF_MEMORY if all its processes together took too much. short: seconds for which it would
    have run and got less than one processor, whoever had it.
    """

    def __init__(self) -> None:
        self.shared = mmap.mmap(-1, 16)

    @property
    def stage(self) -> int:
        """NOTHING, RUNNING or OUT_OF_MEMORY."""
        return int(struct.unpack_from("q", self.shared, 0)[0])

    @stage.setter
    def stage(self, value: int) -> None:
        struct.pack_into("q", self.shared, 0, value)

    @property
    def short(self) -> float:
        """Seconds without the processor that it would have used."""
        return float(struct.unpack_from("d", self.shared, 8)[0])

    @short.setter
    def short(self, value: float) -> None:
        struct.pack_into("d", self.shared, 8, value)


def keep(job: dict[str, Any], channel: int, leash: int, confined: bool) -> None:
    """Start the job, wait for its end or the leash's, and say on the leash how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    alive, end_of_life = os.pipe()
    meter = Meter()
    if confined:
        enter_namespaces()
    else:
        os.setsid()
    first = os.fork()
    if first == 0:
        os.close(alive)
        os.close(leash)
        try:
            init(job, channel, confined, meter)
        finally:
            os._exit(1)
    os.close(end_of_life)
    os.close(channel)  # the student's alone: its end is their end
    ready, _, _ = select.select([alive, leash], [], [])
    by_leash = alive not in ready
    # Whatever woke us up: if init has ended by itself this changes nothing, else it ends now.
    if not confined:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(first, signal.SIGKILL)
    os.kill(first, signal.SIGKILL)
    _, status = os.waitpid(first, 0)
    ended = {
        "leash": by_leash,
        "status": os.waitstatus_to_exitcode(status),
        "stage": meter.stage,
        "short": meter.short,
    }
    with contextlib.suppress(OSError):
        os.write(leash, wire.dumps(ended))


def enter_namespaces() -> None:
    """New namespaces and a new keyring; the same user id inside as outside."""
    user, group = os.getuid(), os.getgid()
    number = KEYCTL.get(platform.machine())
    if number is not None:  # neither the keys of whoever grades, nor a neighbour's
        ctypes.CDLL(None).syscall(number, KEYCTL_JOIN_SESSION_KEYRING, None)
    isolated = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET
    _call("unshare", CLONE_NEWUSER | isolated)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def start_loopback() -> None:
    """The new network has one interface, which reaches itself: switch it on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, name))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def init(job: dict[str, Any], channel: int, confined: bool, meter: Meter) -> None:
    """Process 1: private /proc and /tmp, then the student's process, whose end is everybody's."""
    os.setsid()  # also a scheduling group of its own, so that many processes are not many shares
    if confined:
        _call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)  # not for the student to trace or look into
        start_loopback()
        size = f"size={job['scratch_bytes']},mode=1777".encode()
        _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        _call("mount", b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)
        _call("mount", b"tmpfs", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV, size)
        _call("mount", b"tmpfs", b"/dev/shm", b"tmpfs", MS_NOSUID | MS_NODEV, size)
        terminals = b"newinstance,ptmxmode=0666,mode=620"
        _call("mount", b"devpts", b"/dev/pts", b"devpts", MS_NOSUID | MS_NOEXEC, terminals)
        with contextlib.suppress(OSError):  # no further namespaces: no way back to a capability
            _write("/proc/sys/user/max_user_namespaces", "0")
        drop_capabilities()
    child = os.fork()
    if child == 0:
        try:
            student(job, channel, confined, meter)
        finally:
            os._exit(70)
    os.close(channel)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    most = job["memory_bytes"] + resident("self")  # what the warm parent has is not the student's
    options = os.WNOHANG if confined else 0
    clock = ProcessorClock()
    while True:
        pid, status = os.waitpid(-1, options)  # also reaps what the student left behind
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
        if pid == 0:
            pids = [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]
            if takes_more_than(most, pids):
                meter.stage = OUT_OF_MEMORY
                os._exit(1)
            meter.short += clock.short(pids)
            signal.sigtimedwait([signal.SIGCHLD], TICK)


class ProcessorClock:
    """For how long a job's processes would have run and got less than one processor together."""

    def __init__(self) -> None:
        self.then, self.before = time.monotonic(), dict[str, tuple[int, int]]()

    def short(self, pids: list[str]) -> float:
        """Seconds of that since the last call: what one of them waited, all had no core's worth."""
        now, used = time.monotonic(), {pid: processor_time(pid) for pid in pids}
        old = {pid: self.before.get(pid, (0, 0)) for pid in pids}
        ran = sum(used[pid][0] - old[pid][0] for pid in pids) / 1e9
        waited = max((used[pid][1] - old[pid][1] for pid in pids), default=0) / 1e9
        passed, self.then, self.before = now - self.then, now, used
        return max(0.0, min(waited, passed - ran))


def processor_time(pid: str) -> tuple[int, int]:
    """Nanoseconds that a process ran and that it waited for a processor; nothing if it is gone."""
    try:
        with open(f"/proc/{pid}/schedstat") as file:
            ran, waited, *_ = file.read().split()
            return int(ran), int(waited)
    except (OSError, ValueError):
        return 0, 0


def takes_more_than(most: int, pids: list[str]) -> bool:
    """Whether these processes together have more than so many bytes in memory.

    What processes share is counted once (proportional set size); that is slow to read, so first it
    is seen whether they can have so much at all: forks have all that they share, but for files.
    """
    return sum(map(without_files, pids)) > most and sum(map(proportional, pids)) > most


def without_files(pid: str) -> int:
    """Bytes that a process has in memory, but for files read into it; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/status") as file:
            found = re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB$", file.read(), re.M)
    except OSError:
        return 0
    return sum(int(part) << 10 for part in found) if found else resident(pid)


def resident(pid: str) -> int:
    """Bytes that a process has in memory, shared ones in full; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0


def proportional(pid: str) -> int:
    """Bytes that a process has in memory, shared ones in part; in full if it lets nobody look."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("Pss:"))
    except PermissionError:
        return resident(pid)
    except (OSError, StopIteration):
        return 0


def student(job: dict[str, Any], channel: int, confined: bool, meter: Meter) -> None:
    """The student's process: limits, an empty scratch folder, nothing open but the channel."""
    if confined:
        _call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)  # its own /proc/self
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    reader, writer = os.fdopen(os.dup(channel), "rb"), os.fdopen(os.dup(channel), "wb")
    keep_open = {0, 1, 2, reader.fileno(), writer.fileno()}
    for descriptor in set(range(256)) - keep_open:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    with contextlib.suppress(OSError):  # if memory runs out, this goes first
        _write("/proc/self/oom_score_adj", "1000")
    scratch = SCRATCH if confined else job["scratch_folder"]
    os.makedirs(scratch, exist_ok=True)
    os.chdir(scratch)
    os.environ["HOME"] = scratch
    for name, limit in (
        ("RLIMIT_AS", virtual_memory() + job["memory_bytes"]),
        ("RLIMIT_CPU", job["cpu_seconds"]),
        ("RLIMIT_FSIZE", job["scratch_bytes"]),
        ("RLIMIT_NPROC", job["processes"]),
        ("RLIMIT_NOFILE", 256),
        ("RLIMIT_CORE", 0),
    ):
        if confined or name not in ("RLIMIT_NPROC",):
            resource.setrlimit(getattr(resource, name), (limit, limit))
    if confined and job["filter"]:
        refuse_system_calls(base64.b64decode(job["filter"]))
    meter.stage = RUNNING
    meter.shared.close()
    probe.serve(reader, writer)
    os._exit(0)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def refuse_system_calls(instructions: bytes) -> None:
    """From now on, for this process and all that it starts. instructions: of `syscalls`."""
    program = _Program(len(instructions) // 8, instructions)
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program))


def virtual_memory() -> int:
    """Address space in use, in bytes: what the warm parent has is not the student's to pay for."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 1 << 33


def drop_capabilities() -> None:
    """Give up every capability, also those that the new user namespace brought."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    _call("capset", header, (ctypes.c_uint32 * 6)())


def _call(name: str, *arguments: Any) -> None:
    """A system call of the C library. Raises OSError with its name."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
