"""A cell that stops at an import goes on below it; the imports cell has the homework's own too."""

import subprocess
import sys

import pytest

from autograder.student.salvage import statements_after

RUN = """
import json, sys
from autograder.student.probe import make_shell, run_cell
source, instead = json.loads(sys.argv[1])
outputs = run_cell(make_shell(), source, 1.0, "", instead)
names = [n for n in "abcdef" if n in make_shell().user_ns]
print(json.dumps([names, [o.get("ename", o["output_type"]) for o in outputs],
                  [o["evalue"] for o in outputs if "evalue" in o]]))
"""


def run(source, instead=None):
    """Names of one letter that a cell leaves behind, and kinds and words of what it shows."""
    import json

    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([source, instead])],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_what_stands_below_an_import_that_failed_is_there():
    source = "a = 1\nimport no_such_module as n\nb = 2\nn.f()\ndef c():\n    return n\nprint(b)"
    names, kinds, _ = run(source)
    assert names == ["a", "b", "c"]
    assert kinds == ["stream", "ModuleNotFoundError"]  # that n is missing goes without saying


def test_every_import_that_failed_is_told_once():
    _, _, words = run("import no_such_module\nimport nor_such\nfrom math import nothing\nx = 1")
    assert [word.split(" (")[0] for word in words] == [
        "No module named 'no_such_module'",
        "No module named 'nor_such'",
        "cannot import name 'nothing' from 'math'",
    ]


def test_other_errors_stop_a_cell_as_they_do_in_jupyter():
    assert run("a = 1\n1 / 0\nb = 2")[:2] == [["a"], ["ZeroDivisionError"]]


def test_the_imports_cell_has_the_homeworks_own_whatever_stopped_it():
    names, kinds, _ = run("a = 1\n1 / 0\nb = 2", "c = 3\nd = 4")
    assert names == ["a", "b", "c", "d"]
    assert kinds == ["ZeroDivisionError"]
    assert run("a = 1\nb = (", "c = 3")[:2] == [["c"], ["SyntaxError"]]
    assert run("while True: pass", "c = 3")[:2] == [["c"], ["TimeLimit"]]
    assert run("a = 1", "c = 3")[:2] == [["a"], []]  # and is not needed where nothing stopped


def test_the_students_own_statements_come_after_the_homeworks():
    assert run("import no_such_module\nprint(a)", "a = 1")[1] == ["stream", "ModuleNotFoundError"]


def test_going_on_is_within_the_time_of_the_cell():
    names, kinds, _ = run("import no_such_module\na = 1\nwhile True: pass\nb = 2")
    assert names == ["a"]
    assert kinds == ["ModuleNotFoundError", "TimeLimit"]


@pytest.mark.parametrize(
    ("source", "line", "left"),
    [
        ("a\nb\nc", 2, ["\n\nc"]),
        ("a; b; c", 1, ["b", "c"]),
        ("if a:\n    b\n    c\nd", 2, ["\n\n\nd"]),
        ("a\n@f\ndef g():\n    pass\n", 1, ["\n@f\ndef g():\n    pass"]),
        ("a\nb = (1,\n     2); c = '\u00eb'; d", 2, ["\n\nc = '\u00eb'", "\n\nd"]),
        ("a\nb", 0, ["a", "\nb"]),
        ("a = (", 1, []),
        ("a\n" * 3, 3, []),
    ],
)
def test_statements_keep_their_lines(source, line, left):
    assert statements_after(source, line) == left
