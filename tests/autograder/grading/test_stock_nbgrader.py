"""nbgrader's own commands in the same folder, on the same gradebook, with the same marks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from autograder.demo.made_up_class import make_draft, make_submission
from autograder.grading.grade import Plan, grade
from autograder.handouts.assignments import release_assignment
from autograder.questions import checks_of

KINDS = {"right": "right", "mixed": "mixed", "mistaken": "mistaken", "untouched": "untouched"}


@pytest.fixture(scope="module")
def twins(tmp_path_factory, root, sandbox):
    """One class graded by `course grade`, its twin by `nbgrader autograde`."""
    ours = tmp_path_factory.mktemp("ours") / "class"
    release_assignment(ours, "hw1")
    release = nbformat.read(ours / "release" / "hw1" / "hw1.ipynb", as_version=4)
    for student, kind in KINDS.items():
        draft = make_draft("hw1", student, release)
        make_submission(kind, draft, ours / "submitted" / student / "hw1")
    theirs = ours.parent / "twin"
    shutil.copytree(ours, theirs)
    grade(Plan(root, ours, "hw1"), sandbox)
    nbgrader(root, theirs, "autograde", "hw1", "--create")
    return ours, theirs


def nbgrader(root, course, *arguments):
    done = subprocess.run(
        [str(Path(sys.executable).parent / "nbgrader"), *arguments],
        cwd=root,
        env={**os.environ, "COURSE_CLASS": str(course)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def marks(course):
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        return {
            (submission.student.id, mark.name): (mark.auto_score, mark.needs_manual_grade)
            for submission in book.assignment_submissions("hw1")
            for notebook in submission.notebooks
            for mark in notebook.grades
        }


def test_honest_submissions_get_the_same_marks_either_way(twins):
    ours, theirs = twins
    assert marks(ours) == marks(theirs)
    questions = len(checks_of("hw1")) + 2  # two of them in words
    assert len(marks(ours)) == questions * len(KINDS)
    assert {mark % 1 for mark, _ in marks(ours).values() if mark} > {0}, "parts of a question"


def test_feedback_and_export_of_nbgrader_work_on_what_we_graded(twins, root):
    ours, _ = twins
    nbgrader(root, ours, "generate_feedback", "hw1", "--student=mistaken")
    page = ours / "feedback" / "mistaken" / "hw1" / "hw1.html"
    with Gradebook(f"sqlite:///{ours / 'gradebook.db'}") as book:
        notebook = book.find_submission_notebook("hw1", "hw1", "mistaken")
        (hint,) = {c.comment for c in notebook.comments if c.name == "answer_returns_to_go"}
    assert hint.split(".")[0] in page.read_text(encoding="utf-8")
    nbgrader(root, ours, "export")
    lines = (ours / "grades.csv").read_text().splitlines()
    assert len(lines) == 1 + len(KINDS)


def test_nbgrader_can_grade_again_what_we_graded(twins, root):
    ours, _ = twins
    before = marks(ours)
    nbgrader(root, ours, "autograde", "hw1", "--student=mixed", "--force")
    assert marks(ours) == before


def test_validate_says_what_is_wrong_with_a_mistaken_notebook(twins, root):
    ours, _ = twins
    path = ours / "submitted" / "mistaken" / "hw1" / "hw1.ipynb"
    done = subprocess.run(
        [str(Path(sys.executable).parent / "nbgrader"), "validate", str(path)],
        cwd=root,
        env={**os.environ, "COURSE_CLASS": str(ours)},
        capture_output=True,
        text=True,
    )
    assert "VALIDATION FAILED" in (done.stdout + done.stderr).upper()
