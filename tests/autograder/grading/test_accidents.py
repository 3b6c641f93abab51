"""What something else than the student's code ended takes no point: it is run again, or not filed.

And what a student's code does to look like such an accident is the student's all the same.
"""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from test_examiner import EXAMS, LIMITS, RIGHT
from typer.testing import CliRunner

from autograder import cli
from autograder.grading import examiner
from autograder.grading import grade as grading
from autograder.grading.examiner import course_secret, examine
from autograder.grading.grade import TRIES, Plan, grade
from autograder.grading.record import ACCIDENT, Accident, load_all
from autograder.grading.sandbox import Limits, Sandbox
from autograder.grading.warm_parent import ProcessorClock
from autograder.handouts import books
from autograder.handouts.assignments import release_assignment, settings

# The sandbox's own accidents.


@pytest.fixture
def own(root):
    with Sandbox(root) as sandbox:
        sandbox.wait()
        yield sandbox


def test_a_killed_warm_parent_is_an_accident_and_the_next_run_finds_another(own):
    def parents(pid):
        while pid > 1:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            yield pid

    def kill():
        time.sleep(1)
        for process in sorted(map(int, filter(str.isdigit, os.listdir("/proc")))):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
                python = words[0].endswith((b"python", b"python3"))
                if python and own._process.pid in parents(process):
                    os.kill(process, signal.SIGKILL)  # the first is all the others' parent
                    return

    threading.Thread(target=kill).start()
    with pytest.raises(Accident, match="without a word"):
        examine(own, ["import time\ntime.sleep(5)", RIGHT], EXAMS, Limits())
    assert examine(own, [RIGHT], EXAMS, Limits()).verdicts[0].points == 2


def test_a_job_that_cannot_be_started_is_an_accident(own):
    with pytest.raises(Accident):  # an init that cannot mount its folder
        examine(own, [RIGHT], EXAMS, Limits(scratch_bytes=-1))


def test_for_want_of_memory_the_machine_may_kill_anybody(sandbox, monkeypatch):
    kills = iter(range(100))
    monkeypatch.setattr(examiner, "machine_kills", lambda: next(kills))
    cells = ["import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", RIGHT]
    with pytest.raises(Accident, match="memory that others used"):
        examine(sandbox, cells, EXAMS, LIMITS)
    monkeypatch.setattr(examiner, "machine_kills", lambda: 7)
    examination = examine(sandbox, cells, EXAMS, LIMITS)
    assert examination.deaths == ["code cell 1 was killed, by itself or for want of memory"]
    assert examination.verdicts[0].points == 2


def test_a_clock_that_runs_while_others_have_the_processors_says_nothing(sandbox):
    """The cell needs a fifth of its limit; by the clock it is over, with all cores taken."""
    cores = sorted(os.sched_getaffinity(0))
    burn = "import os\nos.sched_setaffinity(0, {%d})\nwhile True: pass"
    work = (
        f"import os, time\nos.sched_setaffinity(0, {{{cores[0]}}})\n"
        "while time.process_time() < 0.4: pass"
    )
    limits = Limits(cell_seconds=0.5, answer_seconds=1.0)
    others = [
        subprocess.Popen([sys.executable, "-c", burn % cores[0]], start_new_session=True)
        for _ in range(24)
    ]
    try:
        with pytest.raises(Accident, match="while others had the processors"):
            examine(sandbox, [work, RIGHT], EXAMS, limits)
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert examine(sandbox, [work, RIGHT], EXAMS, limits).state == "graded"


def test_who_sleeps_had_a_processor(sandbox):
    limits = Limits(cell_seconds=0.3, answer_seconds=1.0)
    examination = examine(sandbox, ["import time\ntime.sleep(60)", RIGHT], EXAMS, limits)
    assert "by the clock" in examination.outputs[0][0]["evalue"]
    assert examination.verdicts[0].points == 2


def test_the_processor_clock_counts_what_was_waited_for_and_not_what_was_slept():
    core = min(os.sched_getaffinity(0))
    burn = f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    sleep = "import time\ntime.sleep(60)"
    processes = [subprocess.Popen([sys.executable, "-c", text]) for text in (burn, burn, sleep)]
    try:
        time.sleep(0.5)
        one, both, asleep = ProcessorClock(), ProcessorClock(), ProcessorClock()
        first, second, third = (str(process.pid) for process in processes)
        clocks = ((one, [first]), (both, [first, second]), (asleep, [third]))
        for clock, pids in clocks:
            clock.short(pids)
        time.sleep(2)
        short = [clock.short(pids) for clock, pids in clocks]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert short[0] > 0.4  # it would have had two seconds, and shared them
    assert short[1] < short[0]  # together they had that processor, but for what others took
    assert short[2] < 0.1


# What looks like one and is none.

IS_SOCKET = """
import os, socket, stat, time
def is_socket(n):
    try:
        return stat.S_ISSOCK(os.fstat(n).st_mode)
    except OSError:
        return False
line = next(socket.socket(fileno=os.dup(n)) for n in range(3, 16) if is_socket(n))
"""


def test_messages_that_never_end_do(sandbox):
    """It says that it is ready, listens to nothing more and says something every half second."""
    forge = (
        IS_SOCKET
        + """
line.sendall(b'{"ready":true,"kept":[]}\\n')
line.shutdown(socket.SHUT_RD)
while True:
    line.sendall(b'{"cell":0}\\n')
    time.sleep(0.5)
"""
    )
    started = time.monotonic()
    limits = Limits(cell_seconds=1.0, answer_seconds=1.0, submission_seconds=20.0)
    examination = examine(sandbox, [forge, RIGHT], EXAMS, limits)
    assert time.monotonic() - started < 40
    assert examination.state != "graded"
    assert examination.verdicts[0].points in (0, 2)


def test_who_closes_the_line_is_told_so_and_is_no_accident(sandbox):
    shut = IS_SOCKET + "line.shutdown(socket.SHUT_RDWR)\ntime.sleep(30)"
    examination = examine(sandbox, [shut, RIGHT], EXAMS, LIMITS)
    assert examination.deaths == ["code cell 1 closed its line to the grader"]
    assert examination.verdicts[0].points == 2


def test_nobody_speaks_in_the_keepers_name(sandbox):
    """Neither a forged last word nor an exit status that means something inside makes one."""
    for last in ("os._exit(70)", "os._exit(71)", "os._exit(72)"):
        forge = IS_SOCKET + (
            'line.sendall(b\'{"leash":false,"status":0,"stage":0,"short":99}\\n\')\n' + last
        )
        examination = examine(sandbox, [forge, RIGHT], EXAMS, LIMITS)
        assert examination.verdicts[0].points == 2
        assert examination.state == "killed"


@pytest.mark.parametrize(
    "call",
    [
        "memfd_create(b'x', 0)",
        "shmget(7, 4096, 0o1600)",
        "msgget(7, 0o1600)",
        "setsid()",
        "unshare(0x10000000)",
        "ptrace(0, 0, 0, 0)",
        "mount(b'none', b'/tmp', b'tmpfs', 0, 0)",
        "syscall(425, 8, b'0' * 200)",  # io_uring_setup
        "syscall(323, 0)",  # userfaultfd
        "syscall(250, 0, 0, 0, 0, 0)",  # keyctl
        "syscall(56, 0x10000011, 0, 0, 0, 0)",  # clone with a new user namespace
        "socket(40, 1, 0)",  # to the host of a virtual machine
        "socket(38, 5, 0)",  # into the kernel's ciphers
        # Whatever would govern the process that watches over the job, also with other upper bits.
        "prlimit(1, 0, b'0' * 16, 0)",
        "syscall(302, ctypes.c_long(0x7_0000_0001), 0, b'0' * 16, 0)",
        "sched_setscheduler(1, 5, b'0' * 16)",
        "sched_setaffinity(1, 8, b'1' * 8)",
        "setpriority(0, 1, 19)",
        "setpriority(1, 0, 19)",
        "setpriority(2, 0, 19)",
        "syscall(251, 1, 1, 0)",  # ioprio_set
    ],
)
def test_what_nobody_needs_is_refused(sandbox, call):
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("numbers of system calls as on x86-64")
    cell = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"print(libc.{call}, ctypes.get_errno())"
    )
    examination = examine(sandbox, [cell], EXAMS, LIMITS)
    assert examination.outputs[0][0]["text"] in ("-1 1\n", "-1 97\n")  # EPERM, EAFNOSUPPORT


def test_what_everybody_needs_is_not(sandbox):
    cell = """
import resource
os.nice(1)
os.sched_setaffinity(0, os.sched_getaffinity(0))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
import multiprocessing, os, socket, subprocess, threading
import torch
threading.Thread(target=print).start()
left, right = socket.socketpair()
socket.create_server(("127.0.0.1", 0))
print(subprocess.run(["echo", "hello"], capture_output=True, text=True).stdout)
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(abs, [-1, -2]))
print(torch.ones(100, 100) @ torch.ones(100) == 100)
"""
    cell = "import os" + cell
    examination = examine(sandbox, [cell, RIGHT], EXAMS, Limits())
    assert examination.state == "graded", examination.outputs
    assert "hello" in str(examination.outputs)
    assert "[1, 2]" in str(examination.outputs)


def test_a_message_of_many_parts_does_not_fill_the_graders_memory(sandbox):
    forge = (
        IS_SOCKET
        + """
for part in (b"[],", b'{"":0},'):
    line.sendall(b'{"cell":0,"x":[' + part * (20_000_000 // len(part)) + b'0]}\\n')
time.sleep(60)
"""
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    examination = examine(sandbox, [forge, RIGHT], EXAMS, LIMITS, alone=True)
    assert examination.verdicts[0].points == 2
    assert "more parts than the limit" in str(examination.deaths)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_a_warm_parent_that_is_killed_before_it_is_ready_is_started_again(root):
    with Sandbox(root) as own:
        own._process.kill()
        for child in Path(f"/proc/{own._process.pid}/task").glob("*/children"):
            for pid in child.read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        assert examine(own, [RIGHT], EXAMS, Limits()).verdicts[0].points == 2


# A class.


@pytest.fixture
def course(tmp_path):
    release_assignment(tmp_path, "hw1")
    text = (tmp_path / "release" / "hw1" / "hw1.ipynb").read_text()
    for student in ("ada", "bob"):
        folder = tmp_path / "submitted" / student / "hw1"
        folder.mkdir(parents=True)
        marked = text.replace("set_num_threads(1)", f"set_num_threads(1) # By {student}")
        (folder / "hw1.ipynb").write_text(marked)
    return tmp_path


@pytest.mark.parametrize("accidents", [1, TRIES - 1, TRIES])
def test_a_submission_is_run_again_alone_before_it_is_filed(
    accidents, course, root, sandbox, monkeypatch
):
    alone = []

    def examine_bob(sandbox, cells, *args, **kwargs):
        if "By bob" in str(cells):
            alone.append(kwargs["alone"])
            if len(alone) <= accidents:
                raise Accident("met something")
        return examine(sandbox, [None] * len(cells), *args, **kwargs)

    monkeypatch.setattr(grading, "examine", examine_bob)
    records = {record.student: record for record in grade(Plan(root, course, "hw1"), sandbox)}
    assert alone == [False, *[True] * (TRIES - 1)][: accidents + 1]
    filed = [record.student for record in load_all(course, "hw1")]
    if accidents < TRIES:
        assert records["bob"].state == records["ada"].state
        assert filed == ["ada", "bob"]
    else:
        assert records["bob"].state == ACCIDENT
        assert "It met something, 3 times" in records["bob"].for_staff
        assert filed == ["ada"]
        assert not (course / "autograded" / "bob").exists()
        alone.clear()
        accidents = 0
        again = {record.student: record for record in grade(Plan(root, course, "hw1"), sandbox)}
        assert again["bob"].state == ACCIDENT or alone  # it is not taken for finished


def test_the_command_says_so_and_fails(course, monkeypatch):
    monkeypatch.setattr(cli, "keep_private", lambda folder: None)  # for this process alone

    def met(*_, **__):
        raise Accident("met something")

    monkeypatch.setattr(grading, "examine", met)
    result = CliRunner().invoke(cli.app, ["grade", "hw1", "--class", str(course)])
    assert result.exit_code == 1
    assert "not graded: accident. It met something, 3 times" in " ".join(result.output.split())
    assert "0/100" not in result.output


# What is made on the way.


def test_a_key_is_whole_or_not_there(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        course_secret(tmp_path)
    assert list((tmp_path / ".course").iterdir()) == []
    monkeypatch.undo()
    key = course_secret(tmp_path)
    assert key == course_secret(tmp_path)
    assert len(key) == 32
    for damaged in ("", "ab" * 31, "zz" * 32):
        (tmp_path / ".course" / "secret").write_text(damaged)
        with pytest.raises(ValueError, match="holds no key of 32 bytes"):
            course_secret(tmp_path)


def test_a_gradebook_is_whole_or_not_there(tmp_path, monkeypatch, root):
    def killed():
        raise KeyboardInterrupt

    config = settings(root)
    monkeypatch.setattr("nbgrader.api.get_alembic_version", killed)
    with pytest.raises(KeyboardInterrupt):
        books.open_gradebook(tmp_path, config)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    with books.open_gradebook(tmp_path, config) as gradebook:
        assert gradebook.students == []
    assert [path.name for path in tmp_path.iterdir()] == ["gradebook.db"]


def test_a_busy_gradebook_is_waited_for(course, root, sandbox, monkeypatch):
    """Another process holds it for longer than SQLite's own patience here, and lets it go."""
    monkeypatch.setattr(books, "LOCK_SECONDS", 30)
    monkeypatch.setattr(books, "patient_url", lambda c, s: books.gradebook_url(c, s) + "?timeout=1")
    hold = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "c.execute('begin exclusive'); print(1, flush=True); time.sleep(4)"
    )
    holders = []

    def lock(student, done, total):
        if not holders:
            path = course / "gradebook.db"
            holders.append(
                subprocess.Popen([sys.executable, "-c", hold, path], stdout=subprocess.PIPE)
            )
            holders[0].stdout.readline()

    monkeypatch.setattr(
        grading, "examine", lambda s, cells, *a, **k: examine(s, [None] * len(cells), *a, **k)
    )
    records = grade(Plan(root, course, "hw1"), sandbox, lock)
    holders[0].communicate()
    assert [record.state for record in records] == ["graded", "graded"]
    assert not any(record.notices for record in records)


def test_a_missing_driver_is_named(tmp_path, root):
    config = settings(root)
    config.CourseDirectory.root = str(tmp_path)
    config.CourseDirectory.db_url = "postgresql+asyncpg://nobody@localhost/none"
    with pytest.raises(OSError, match=r"needs the module asyncpg: install it"):
        books.open_gradebook(tmp_path, config)


# Where the class folder lies.


def test_no_class_folder_is_seen_from_inside(root, tmp_path):
    """In Python's environment, deep in it, in the system, in the repository, behind a link."""
    parts = ("lib", "share/a/b", "/usr/local", root / "build", "share/linked")
    folders = [Path(sys.prefix) / part / "class-of-a-test" for part in parts]
    shown = [*folders[:-1], tmp_path / "class"]
    search = (
        "import subprocess\nprint(subprocess.run('find / -name answers.txt -path "
        '"*class-of-a-test*"; echo searched\', shell=True, capture_output=True, text=True).stdout)'
    )
    made = []
    try:
        for folder in folders:
            with contextlib.suppress(PermissionError):  # below /usr, for whoever is not root
                (folder / "source").mkdir(parents=True)
                made.append(folder)
                (folder / "source" / "answers.txt").write_text("the answers")
        made[1].parent.chmod(0o700)  # where the user that notebooks run as does not come
        shown[-1].symlink_to(folders[-1])
        with Sandbox(root) as sandbox:  # the search does find what is not hidden
            seen = examine(sandbox, [search], EXAMS, Limits(cell_seconds=60)).outputs[0][0]["text"]
            assert "class-of-a-test/source/answers.txt" in seen
        with Sandbox(root, private=shown) as sandbox:
            seen = examine(sandbox, [search], EXAMS, Limits(cell_seconds=60)).outputs[0][0]["text"]
            assert seen.split() == ["searched"]
    finally:
        for folder in made:
            shutil.rmtree(folder)
        shutil.rmtree(Path(sys.prefix) / "share" / "a")
        (Path(sys.prefix) / "share" / "linked").rmdir()
