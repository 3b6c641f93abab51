"""Attacks on the machinery around a notebook: its process's keepers, its neighbours, its files."""

import json
import pkgutil
import re
import threading
import time
from dataclasses import asdict

import pytest
from nbconvert.filters import markdown2html
from test_examiner import EXAMS, RIGHT, RIGHT_DOUBLE, _running, outcomes

from autograder.cli import main, print_records
from autograder.grading.examiner import MAX_OUTPUTS, examine
from autograder.grading.grade import Plan, grade
from autograder.grading.gradebook import inactive
from autograder.grading.record import ACCIDENT, Record
from autograder.grading.sandbox import Limits
from autograder.handouts.assignments import release_assignment
from autograder.report.results import ClassResults

SHORT = Limits(cell_seconds=1.0, answer_seconds=1.0, submission_seconds=3.0)


def printed(examination, cell=0):
    return "".join(output.get("text", "") for output in examination.outputs[cell])


def test_the_student_can_neither_trace_init_nor_use_what_it_holds(sandbox):
    code = """
import ctypes, os
print(ctypes.CDLL(None).ptrace(16, 1, 0, 0))
for name in ("fd", "maps", "root", "environ"):
    try:
        print(os.stat(f"/proc/1/{name}/.") if name == "root" else open(f"/proc/1/{name}"))
    except IsADirectoryError:
        print(os.listdir(f"/proc/1/{name}"))
    except PermissionError:
        print("closed")
"""
    examination, _ = outcomes(sandbox, code)
    assert printed(examination).split() == ["-1", "closed", "closed", "closed", "closed"]


def test_nothing_that_a_job_writes_keeps_it_alive(sandbox):
    cell = """
import os, signal
for name in (signal.SIGALRM, signal.SIGPROF, signal.SIGXCPU):
    signal.signal(name, signal.SIG_IGN)
for descriptor in range(3, 16):
    try:
        os.write(os.open(f"/proc/1/fd/{descriptor}", os.O_WRONLY), b"x")
    except OSError:
        pass
os.execvp("sleep", ["sleep", "87654"])
"""
    examine(sandbox, [cell], EXAMS, SHORT, alone=True)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _running("87654"):
        time.sleep(0.05)
    assert not _running("87654")


def test_notebooks_side_by_side_cannot_meet(sandbox):
    server = """
import ctypes, socket
key = ctypes.CDLL(None).syscall(248, b"user", b"marker", b"answers", 7, -3)
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0meet")
listener.listen()
tcp = socket.create_server(("127.0.0.1", 43210))
listener.settimeout(1.5)
listener.accept()
"""
    client = """
import ctypes, os, socket, time
time.sleep(0.5)
for address in ("\\0meet", ("127.0.0.1", 43210)):
    kind = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    try:
        socket.socket(kind).connect(address)
        print("met at", address)
    except OSError:
        pass
if ctypes.CDLL(None).syscall(250, 10, -3, b"user", b"marker", 0) > 0:
    print("found its key")
print(os.listdir("/dev/pts"), os.getsid(0))
"""
    results = {}

    def run(name, cell):
        results[name] = examine(sandbox, [cell], EXAMS, SHORT, alone=True)

    threads = [
        threading.Thread(target=run, args=("server", server)),
        threading.Thread(target=run, args=("client", client)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results["server"].outputs[0][-1]["ename"] in ("TimeoutError", "timeout")
    assert printed(results["client"]) == "['ptmx'] 1\n"


def test_many_slow_cells_cost_none_of_the_answers(sandbox):
    slow = "import time\nwhile time.process_time() < {}: pass\nprint('done')"
    limits = Limits(cell_seconds=3.0, cells_seconds=2.0, answer_seconds=1.0)
    cells = [slow.format(1.2), slow.format(9), slow.format(9), RIGHT, RIGHT_DOUBLE]
    examination = examine(sandbox, cells, EXAMS, limits, alone=True)
    assert [verdict.outcome for verdict in examination.verdicts] == ["right", "right"]
    assert printed(examination) == "done\n"
    assert examination.failed == [1, 2]
    assert "all cells together get 2 s" in examination.outputs[2][-1]["evalue"]


def test_text_that_cannot_be_stored_is_made_plain(sandbox):
    cells = [
        r"print('\ud800\0')",
        r"raise ValueError('\ud800')",
        r"def running_sum(x): raise ValueError('\ud800\0')",
        RIGHT_DOUBLE,
    ]
    examination = examine(sandbox, cells, EXAMS, SHORT, alone=True)
    assert printed(examination) == "\ufffd\ufffd\n"
    everything = [examination.outputs, [asdict(verdict) for verdict in examination.verdicts]]
    assert b"\\u0000" not in json.dumps(everything, ensure_ascii=False).encode()
    assert [verdict.outcome for verdict in examination.verdicts] == ["raised", "right"]


def test_forged_outputs_do_not_fill_the_graders_memory(sandbox):
    forge = """
import os
picture = "iVBORw0KGgo" + "A" * 900_000
shown = ('{"output_type":"display_data","data":{"image/png":"%s"}},' % picture) * 10
for cell in range(6):
    data = b'{"cell":%d,"outputs":[%s{"output_type":"stream"}]}\\n' % (cell, shown.encode())
    for descriptor in range(3, 16):
        try:
            while data:
                data = data[os.write(descriptor, data):]
        except OSError:
            pass
"""
    examination = examine(sandbox, ["1"] * 5 + [forge], EXAMS, SHORT, alone=True)
    assert len(json.dumps(examination.outputs)) < 1.2 * MAX_OUTPUTS


@pytest.mark.parametrize(
    "line", [b'{"cell":0}', b'{"cell":0,"outputs":[]}', b"[" * 100_000, b'{"x":' * 50_000]
)
def test_a_flood_of_messages_ends_the_process(sandbox, line):
    flood = f"""
import os
data = {line!r} + b"\\n"
while True:
    for descriptor in range(3, 16):
        try:
            os.write(descriptor, data * 100)
        except OSError:
            pass
"""
    started = time.monotonic()
    examination = examine(sandbox, [RIGHT, flood], EXAMS, SHORT, alone=True)
    assert time.monotonic() - started < 30
    assert examination.state == "killed"


ACTIVE = [
    "<script>alert(1)</script>",
    "\\<img src=x onerror=alert(1)>",
    '`<a title="`<img src=x onerror=alert(1)>">',
    "~~~\n<a title='\n~~~\n<svg onload=alert(1)>'>",
    "<b onclick=alert(1)>x</b><br onclick=alert(1)><style>body {display: none}</style>",
    "[x](javascript:alert(1)) [x]( java&#115;cript:alert(1)) [x](<data:text/html,x>)",
    "[x][1] [y]\n\n[1]: javascript:alert(1)\n[y]:\n vbscript:alert(1)",
    "![x](https://example.org/seen.png) [![x](https://example.org/seen.png)](https://x)",
    r"$\href{javascript:alert(1)}{x}$ $\style{position: fixed}{x}$ \\\href{javascript:alert(1)}{x}",
]


@pytest.mark.parametrize("text", ACTIVE)
def test_nothing_that_students_write_acts_on_who_reads_it(text):
    tags = re.findall(r"<[^>]*>", markdown2html(inactive(text)))
    allowed = r"</?(p|pre|code|br|em|strong)( /)?>|</a>|<a href=\"https://[^\"]*\">"
    assert [tag for tag in tags if not re.fullmatch(allowed, tag)] == []
    assert not re.search(r"\\(href|style)", inactive(text))


def test_what_students_write_honestly_stays_legible():
    for text in (
        "H<sub>2</sub>O<br>and $x < 1$, $x<1$, `if x <= y:`, **bold**, a & b, [1], x[0](1 + 2)!",
        "[paper](https://arxiv.org/abs/1707.06347)\n\n$$\\frac{a}{b} \\text{ if } c > d$$",
    ):
        assert inactive(text).replace("] (", "](") == text
    assert "$a&lt; b$" in markdown2html(inactive("$a<b$"))


@pytest.mark.parametrize("piece", ["<", "![", "](", "](  ", "]", "]: ", "<br ", "\\"])
def test_long_texts_are_made_inactive_in_no_time(piece):
    started = time.monotonic()
    inactive(piece * 300_000)
    assert time.monotonic() - started < 20  # a square of the length would take hours


def test_names_cannot_write_to_the_terminal(capsys, tmp_path):
    record = Record("hw1", "eve\x1b[2J", "unreadable", for_staff="holds \x1b]0;x\x07.txt")
    print_records("hw1", [record], ClassResults(tmp_path, "hw1", (), ()))
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("where", ["examine", "GradebookWriter.file"])
def test_what_nobody_foresaw_costs_one_submission_and_not_the_batch(
    where, tmp_path, root, sandbox, monkeypatch
):
    release_assignment(tmp_path, "hw1")
    released = tmp_path / "release" / "hw1" / "hw1.ipynb"
    for student in ("ada", "bob", "eve"):
        folder = tmp_path / "submitted" / student / "hw1"
        folder.mkdir(parents=True)
        text = released.read_text()
        (folder / "hw1.ipynb").write_text(
            text.replace("set_num_threads(1)", f"set_num_threads(1) # By {student}")
        )
    real = pkgutil.resolve_name(f"autograder.grading.grade:{where}")

    def fails_for_bob(*args, **kwargs):
        if "By bob" in str(args):
            raise RecursionError("too deep")
        return real(*args, **kwargs)

    monkeypatch.setattr(f"autograder.grading.grade.{where}", fails_for_bob)
    records = {r.student: r for r in grade(Plan(root, tmp_path, "hw1"), sandbox)}
    assert set(records) == {"ada", "bob", "eve"}
    assert "RecursionError: too deep" in str(records["bob"])
    assert "RecursionError" not in str([records["ada"], records["eve"]])
    assert records["ada"].state == records["eve"].state
    assert (records["bob"].state == ACCIDENT) == (where == "examine")
    for student, record in records.items():
        filed = (tmp_path / "autograded" / student / "hw1" / "hw1.ipynb").is_file()
        assert filed == (record.state != ACCIDENT)


def test_a_stopped_run_says_that_the_same_command_goes_on(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("autograder.cli.class_folder", stop)
    monkeypatch.setattr("sys.argv", ["course", "grade", "hw1"])
    with pytest.raises(SystemExit):
        main()
    assert "goes on from here" in capsys.readouterr().err.replace("\n", " ")
