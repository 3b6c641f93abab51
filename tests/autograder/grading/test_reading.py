"""Reading a hand-in has limits, in a process of its own: no file takes the grader's memory or time.

What is read is small here, and so are the limits.
"""

import os
import signal
import threading
import time

import pytest

from autograder.grading.reading import Readers
from autograder.grading.record import Accident
from autograder.student.notebook_file import Unreadable, read_notebook


@pytest.fixture
def readers():
    with Readers() as found:
        yield found


def test_it_gives_what_the_function_gives_or_raises(readers, tmp_path):
    assert readers.read(divmod, 17, 5) == (3, 2)
    with pytest.raises(ZeroDivisionError):
        readers.read(divmod, 17, 0)
    path = tmp_path / "hw1.ipynb"
    path.write_text("")
    with pytest.raises(Unreadable) as found:
        readers.read(read_notebook, path)
    assert "empty" in found.value.for_student
    assert str(found.value) == found.value.for_staff != found.value.for_student


def test_one_process_serves_one_after_the_other(readers):
    assert readers.read(os.getpid) == readers.read(os.getpid) != os.getpid()


def test_too_much_memory_is_the_files_fault_and_the_next_is_read(readers):
    with pytest.raises(Unreadable, match="too much memory"):
        readers.read(bytes, 4 << 30)
    assert readers.read(abs, -1) == 1


def test_too_much_time_is_the_files_fault_and_the_next_is_read():
    with Readers(seconds=1) as readers:
        with pytest.raises(Unreadable, match="too much time"):
            readers.read(pow, 3, 10**9)
        assert readers.read(abs, -1) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_what_ends_it_from_outside_is_an_accident(readers, number):
    def kill_soon(pid):
        time.sleep(0.5)
        os.kill(pid, number)

    pid = readers.read(os.getpid)
    threading.Thread(target=kill_soon, args=(pid,)).start()
    with pytest.raises(Accident, match="status"):
        readers.read(time.sleep, 30)
    assert readers.read(abs, -1) == 1


def test_nothing_is_left_behind():
    with Readers() as readers:
        pid = readers.read(os.getpid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
