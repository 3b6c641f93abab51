"""A function counts as it stood at its check or at the end, whichever is better."""

import math
import os
import time

import pytest
from test_examiner import EXAMS, LIMITS, RIGHT, RIGHT_DOUBLE, _running

from autograder.grading.examiner import examine
from autograder.grading.sandbox import Sandbox
from autograder.student.kept import only_adds
from autograder.student.run import Crash, run_past_crashes

CHECK = "pass  # where check(running_sum) stands"
FAILED_CHECK = "1 / 0  # where it stands and says that something is wrong"
SUMS = """
import torch

def helper(numbers):
    return numbers.cumsum(0)

def running_sum(numbers):
    weights = torch.ones(len(numbers), requires_grad=True)
    (weights * helper(numbers)).sum().backward()
    return weights.grad
"""
RECURSIVE = "import os\ndef running_sum(numbers):\n    {}\n    return numbers.cumsum(0)"


def asked(sandbox, *cells):
    """Examine a notebook in which running_sum is checked by one of the cells above."""
    checks = {i: "running_sum" for i, cell in enumerate(cells) if cell in (CHECK, FAILED_CHECK)}
    return examine(sandbox, [*cells, RIGHT_DOUBLE], EXAMS, LIMITS, checks=checks, alone=True)


def outcomes(examination):
    return [verdict.outcome for verdict in examination.verdicts]


def printed(examination, cell):
    return "".join(output.get("text", "") for output in examination.outputs[cell])


BELOW = {
    "its name used again": "running_sum = running_sum(torch.ones(3))",
    "its name deleted": "del running_sum",
    "a second try left broken": "def running_sum(numbers):\n    return numbers.nope",
    "a helper overwritten": "def helper(numbers):\n    return numbers",
    "torch overwritten": "torch = None",
    "another default type": "torch.set_default_dtype(torch.bfloat16)",
}


@pytest.mark.parametrize("name", BELOW)
def test_what_a_cell_below_the_check_spoils_costs_nothing_and_is_remarked(sandbox, name):
    examination = asked(sandbox, SUMS, CHECK, BELOW[name])
    assert outcomes(examination) == ["right", "right"]
    (remark,) = examination.remarks
    told = "running_sum counts as it stood at its check, code cell 2. As it stood at the end: "
    assert remark.startswith(told)
    assert remark != told


@pytest.mark.parametrize("cell", ["while True: pass", "import os; os._exit(1)", "1 / 0"])
def test_a_cell_below_the_check_that_fails_costs_only_itself(sandbox, cell):
    spoils = "running_sum = None"
    examination = asked(sandbox, SUMS, CHECK, cell, spoils)
    assert outcomes(examination) == ["right", "right"]
    assert len(examination.remarks) == 1


@pytest.mark.parametrize(
    "setting",
    [
        "set_grad_enabled(False)",
        "inference_mode().__enter__()",
        "set_default_device('meta')",
        "use_deterministic_algorithms(True)",
        "autograd.set_detect_anomaly(True)",
    ],
)
def test_torch_is_asked_in_its_usual_settings(sandbox, setting):
    examination = asked(sandbox, SUMS, f"torch.{setting}", CHECK)
    assert outcomes(examination) == ["right", "right"]
    assert examination.remarks == []


def test_a_function_mended_below_its_check_counts_and_is_remarked(sandbox):
    wrong = "def running_sum(numbers):\n    return numbers.cumsum(0) - numbers"
    examination = asked(sandbox, wrong, FAILED_CHECK, RIGHT)
    assert outcomes(examination) == ["right", "right"]
    assert examination.remarks == [
        "running_sum counts as it stood at the end. As it stood at its check, code cell 2: "
        "You left x_t out."
    ]


def test_a_function_below_its_check_or_without_one_counts_as_at_the_end(sandbox):
    stub = "def running_sum(x):\n    raise NotImplementedError('running_sum: your code here')"
    for cells in ((FAILED_CHECK, SUMS), (stub, FAILED_CHECK, SUMS), (SUMS,)):
        examination = asked(sandbox, *cells)
        assert outcomes(examination) == ["right", "right"]
        assert examination.remarks == []


def test_of_two_wrong_answers_the_one_at_the_check_has_the_word(sandbox):
    wrong = "def running_sum(numbers):\n    return numbers.cumsum(0) - numbers"
    examination = asked(sandbox, wrong, CHECK, "running_sum = None")
    assert outcomes(examination) == ["known mistake", "right"]
    assert examination.remarks == []


def test_asking_at_the_check_leaves_nothing_for_the_cells_below(sandbox):
    counts = """
import mmap, os
shared, calls, pipe = mmap.mmap(-1, 100), [], os.pipe()
def running_sum(numbers):
    shared.write(str(numbers.tolist()).encode()[:10])
    open("seen", "a").write(str(numbers))
    os.write(pipe[1], str(numbers).encode())
    calls.append(numbers)
    return numbers.cumsum(0)
"""
    looks = """
os.set_blocking(pipe[0], False)
try:
    print("pipe", os.read(pipe[0], 1000))
except BlockingIOError:
    print(calls, os.path.exists("seen"), shared.read(10) == bytes(10))
"""
    examination = asked(sandbox, counts, FAILED_CHECK, looks)
    assert outcomes(examination) == ["right", "right"]
    assert printed(examination, 2) == "[] False True\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("os._exit(3)", "ended the whole process (exit status 3)"),
        ("import ctypes; ctypes.string_at(0)", "crashed the Python interpreter"),
        ("while True: pass", "did not come back: the time limit of 1 s was reached"),
        ("os.closerange(0, 256)", ""),
        ("__import__('sys').exit()", "stopped with SystemExit"),
    ],
)
def test_a_function_that_goes_down_at_its_check_costs_itself_alone(sandbox, line, words):
    cells = [RECURSIVE.format(line), FAILED_CHECK, "print('went on')", RIGHT]
    examination = asked(sandbox, *cells)
    assert outcomes(examination) == ["right", "right"]
    assert examination.deaths == []
    assert printed(examination, 2) == "went on\n"
    assert words in examination.remarks[0]


def test_what_a_function_writes_to_the_grader_changes_its_own_answers_alone(sandbox):
    floods = RECURSIVE.format(
        "for fd in range(3, 256):\n"
        "        try: os.write(fd, b'{\"answers\": 3}\\n[[[\\n')\n"
        "        except OSError: pass"
    )
    assert outcomes(asked(sandbox, floods, FAILED_CHECK, RIGHT)) == ["right", "right"]
    assert outcomes(asked(sandbox, floods, FAILED_CHECK, "1")) == ["ended", "right"]


@pytest.mark.parametrize("stays", ["pass", "import time; time.sleep(60)"])
def test_a_fork_that_a_function_leaves_running_has_no_say(sandbox, stays):
    forks = RECURSIVE.format(f"if os.fork() == 0:\n        {stays}\n        numbers = -numbers")
    started = time.monotonic()
    examination = asked(sandbox, forks, FAILED_CHECK, "1")
    assert outcomes(examination) == ["right", "right"]
    assert (examination.deaths, examination.remarks) == ([], [])
    assert time.monotonic() - started < 10


def test_one_fork_answers_for_all_functions_above_and_survives_each(sandbox):
    cells = [RECURSIVE.format("os._exit(3)"), FAILED_CHECK, RIGHT_DOUBLE, "double = None"]
    checks = {1: "running_sum", 3: "double"}
    examination = examine(sandbox, cells, EXAMS, LIMITS, checks=checks, alone=True)
    assert outcomes(examination) == ["ended", "right"]


@pytest.mark.parametrize(
    ("cell", "adds"),
    [
        ("import math\nfrom os import path as p\ndef new(x: int = 1) -> int:\n    return x", True),
        ("check(kl)", True),
        ("'words'", True),
        ("def old():\n    pass", False),
        ("import math as old", False),
        ("from math import *", False),
        ("def sum(x):\n    return x", False),
        ("def new(x=print()):\n    pass", False),
        ("@print\ndef new():\n    pass", False),
        ("new = 1", False),
        ("print(1)", False),
        ("%matplotlib inline", False),
        ("import math\nfrom os import path\nimport os.path", True),  # once more
        ("from posixpath import sep as math", False),
        ("import os as math", False),
        ("from os import *", False),
    ],
)
def test_a_fork_is_made_unless_a_cell_can_change_nothing_above(cell, adds):
    assert only_adds(cell, {"old": 1, "math": math, "path": os.path, "os": os}) is adds


def test_without_namespaces_nothing_is_left_behind(root):
    leaves = RECURSIVE.format("if os.fork() == 0:\n        os.execvp('sleep', ['sleep', '76543'])")
    with Sandbox(root, confined=False) as own:
        assert outcomes(asked(own, leaves, CHECK, "running_sum = None")) == ["right", "right"]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _running("76543"):
        time.sleep(0.05)
    assert not _running("76543")


def test_a_notebook_that_kills_what_was_kept_counts_as_at_the_end(sandbox):
    kills = "import os, signal\nos.kill(-1, signal.SIGKILL)"
    examination = asked(sandbox, SUMS, FAILED_CHECK, kills)
    assert outcomes(examination) == ["right", "right"]
    assert "running_sum was killed" in examination.remarks[0]


def test_where_there_is_no_process_left_it_counts_as_at_the_end(sandbox):
    hoards = """
import os, time
for _ in range(300):
    try:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    except OSError:
        break
"""
    examination = asked(sandbox, SUMS, hoards, CHECK)
    assert outcomes(examination) == ["right", "right"]


def test_where_no_file_can_be_opened_it_counts_as_at_the_end(sandbox):
    hoards = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))"
    examination = asked(sandbox, SUMS, hoards, CHECK)
    assert outcomes(examination) == ["right", "right"]
    assert examination.deaths == []


@pytest.mark.parametrize("name", ["len", "isinstance", "print", "getattr", "dict"])
def test_what_a_cell_puts_in_place_of_a_builtin_stops_no_other_cell(sandbox, name):
    examination = asked(sandbox, f"import builtins\nbuiltins.{name} = lambda *_: 0", SUMS, CHECK)
    assert outcomes(examination) == ["right", "right"]


def test_what_goes_down_between_two_cells_is_run_again_before_a_cell_is_blamed():
    runs = []

    def run(cells, places):
        runs.append(list(cells))
        return Crash(None, "killed", "was killed", after=1) if len(runs) == 1 else None

    assert list(run_past_crashes(["a", "b"], [], {}, run)) == []
    assert runs == [["a", "b"]] * 2

    def breaks(cells, places):
        return Crash(None, "killed", "was killed", after=1) if cells[1] else None

    [crash] = run_past_crashes(["a", "b"], [], {}, breaks)
    assert crash.where == 1


def test_a_function_that_calls_an_unwritten_one_is_told_which(sandbox):
    cells = [
        "def double(x):\n    raise NotImplementedError('double: your code here')",
        "def running_sum(x):\n    return double(x)",
    ]
    examination = examine(sandbox, cells, EXAMS, LIMITS, alone=True)
    assert outcomes(examination) == ["part unwritten", "unwritten"]
    assert [verdict.sentence for verdict in examination.verdicts] == [
        "running_sum called double, which is not written yet.",
        "double is not written yet.",
    ]
