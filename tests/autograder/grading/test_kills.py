"""Killed at random moments, again and again, `course grade` ends in the same gradebook.

What is killed: the command, the warm parent, a keeper or a student's process, what reads hand-ins.
"""

import contextlib
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from autograder.demo.made_up_class import make_draft, make_submission
from autograder.grading.record import load_all
from autograder.handouts.assignments import release_assignment

KINDS = ("right", "mixed", "mistaken", "exits", "right", "right by other means")
KILLS = 12
COMMAND = [str(Path(sys.executable).with_name("course")), "grade", "hw1", "--class"]


def processes():
    """Each process of this machine: (number, parent's, words of its command)."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            words = Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace")
            yield int(entry), parent, words


def below(root):
    """Processes that a process has started, with their commands."""
    parents = {pid: (parent, words) for pid, parent, words in processes()}
    found = {}
    for pid, (_, words) in parents.items():
        above = pid
        while above in parents and above != root:
            above = parents[above][0]
        if above == root and pid != root:
            found[pid] = words
    return found


def state(course):
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        marks = {
            (grade.student.id, grade.name): (grade.auto_score, grade.manual_score, grade.score)
            for submission in book.assignment_submissions("hw1")
            for notebook in submission.notebooks
            for grade in notebook.grades
        }
    records = [replace(one, seconds=0.0, made_from={}) for one in load_all(course, "hw1")]
    return marks, records


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(tmp_path):
    course, twin = tmp_path / "class", tmp_path / "twin"
    release_assignment(course, "hw1")
    release = nbformat.read(course / "release" / "hw1" / "hw1.ipynb", as_version=4)
    for number, kind in enumerate(KINDS):
        draft = make_draft("hw1", f"student{number}", copy.deepcopy(release), [], None)
        make_submission(kind, draft, course / "submitted" / f"student{number}" / "hw1")
    (course / ".course").mkdir(exist_ok=True)
    (course / ".course" / "secret").write_text("ab" * 32)
    shutil.copytree(course, twin)
    subprocess.run([*COMMAND, twin], check=True, capture_output=True)
    draw = random.Random(7)
    for kill in range(KILLS):
        # What was done is done again, or nothing would be at work for long.
        with subprocess.Popen(
            [*COMMAND, course, "--again"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as run:
            time.sleep(draw.uniform(2, 14))
            inside = [pid for pid, words in below(run.pid).items() if "bwrap" not in words[:40]]
            target = draw.choice([run.pid, *inside]) if kill % 2 else run.pid
            with contextlib.suppress(ProcessLookupError):
                os.kill(target, signal.SIGKILL)
            said = run.communicate(timeout=240)[0].decode()
        if target != run.pid:
            assert run.returncode in (0, 1), said
            assert "Traceback" not in said, said
    subprocess.run([*COMMAND, course], check=True, capture_output=True)
    assert state(course) == state(twin)
    deadline = time.monotonic() + 10
    while left := [words for _, _, words in processes() if "warm_parent" in words]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    assert not list(Path(tempfile.gettempdir()).glob("course-grading-*"))
    assert not [path for path in course.rglob("*") if path.name.endswith(".tmp")]
