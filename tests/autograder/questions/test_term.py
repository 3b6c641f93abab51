"""A term has its own public numbers, the same for whoever draws them, and names itself."""

import copy
import json
from dataclasses import replace

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_notebook

from autograder import questions
from autograder.grading.placing import Submission
from autograder.grading.submissions import Unreadable, take_in
from autograder.handouts.build import in_term
from autograder.handouts.public_exams import compile_public_exams
from autograder.handouts.sources import homework_notebook
from autograder.project import ROOT
from autograder.questions import TERM, homeworks
from autograder.questions.check import compile_exam
from autograder.questions.proof import proven_exam
from autograder.student.notebook_file import name_term, term_named
from course_lib import find_the_bug

CHECKS = {check.name: check for checks in homeworks().values() for check in checks}


def public(name, term, draw=0):
    return compile_exam(replace(CHECKS[name], term=term, draw=draw)).cases


def same(left, right):
    return len(left) == len(right) and all(
        a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
        for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("name", ["returns_to_go", "gae", "gaussian_policy"])
def test_a_term_keeps_what_is_worked_by_hand_and_draws_the_rest(name):
    own, spring, autumn = (public(name, term) for term in ("", "2027S", "2027F"))
    assert same(own[:1], spring[:1])
    assert same(own[:1], autumn[:1])
    assert not same(spring[1:], autumn[1:])
    assert same(spring, public(name, "2027S"))
    assert not same(spring, public(name, "2027S", draw=1))


def test_runs_that_students_are_sent_stay_whole_numbers_of_runs():
    assert same(public("culprit", "2027S"), public("culprit", ""))


@pytest.mark.slow
@pytest.mark.parametrize("term", ["2027S", "2027F"])
def test_a_term_can_be_proven(term, tmp_path, root):
    (tmp_path / TERM).parent.mkdir(parents=True)
    (tmp_path / TERM).write_text(json.dumps({"term": term}))
    (tmp_path / questions.SOURCES).mkdir(parents=True)
    for source in (root / questions.SOURCES).glob("*.py"):
        (tmp_path / questions.SOURCES / source.name).write_text(source.read_text())
    for homework, checks in homeworks().items():
        for check in checks:
            path = tmp_path / questions.FOLDER / homework / f"{check.name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    built = compile_public_exams(tmp_path)
    for name, content in built.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert compile_public_exams(tmp_path) == built


def test_what_a_term_draws_tells_all_mistakes_apart():
    exam = proven_exam(replace(CHECKS["returns_to_go"], term="2027S"))
    assert len(exam.cases) == exam.public > 3


def test_a_term_is_named_in_data_and_under_the_title():
    (checks,) = (checks for homework, checks in homeworks().items() if homework == "hw1")
    source = ROOT / questions.SOURCES / "hw1.py"
    notebook = homework_notebook(source, [replace(check, term="2027S") for check in checks])
    assert term_named(notebook) == "2027S"
    assert notebook.cells[0].source.endswith("*Term 2027S.*")
    notebook.metadata.pop("course")  # some platforms keep texts alone
    assert term_named(notebook) == "2027S"
    assert term_named(homework_notebook(source, checks)) == ""


@pytest.mark.parametrize("course", [3, {"term": 3}, {"term": "<b>"}, {"term": "x" * 99}, None, []])
def test_what_is_no_name_is_no_term(course):
    assert term_named(new_notebook(metadata={"course": course})) == ""


@pytest.fixture
def release():
    notebook = homework_notebook(ROOT / questions.SOURCES / "hw1.py", homeworks()["hw1"])
    return nbformat.reads(nbformat.writes(notebook), as_version=4)


def handed_in(tmp_path, notebook, term):
    folder = tmp_path / "submitted" / "ada" / "hw1"
    folder.mkdir(parents=True)
    if term:
        name_term(notebook, term)
    nbformat.write(notebook, folder / "hw1.ipynb")
    return Submission("ada", "hw1", folder)


@pytest.mark.parametrize(
    ("ours", "its", "said"),
    [
        ("2027S", "2026F", "This is the hw1 of term 2026F, and that of 2027S is graded now"),
        ("", "2026F", "This is the hw1 of term 2026F, and another one is graded now"),
    ],
)
def test_another_terms_homework_is_refused_by_name(tmp_path, release, ours, its, said):
    functions = [check.name for check in homeworks()["hw1"]]
    submission = handed_in(tmp_path, copy.deepcopy(release), its)
    if ours:
        name_term(release, ours)
    with pytest.raises(Unreadable, match="it is of term 2026F") as refused:
        take_in(submission, release, functions)
    assert refused.value.for_student.startswith(said)


def test_a_homework_that_names_no_term_is_graded_and_told(tmp_path, release):
    functions = [check.name for check in homeworks()["hw1"]]
    submission = handed_in(tmp_path, copy.deepcopy(release), "")
    name_term(release, "2027S")
    intake = take_in(submission, release, functions)
    assert "It names no term: is it the hw1 of 2027S?" in intake.repairs


@pytest.mark.parametrize("term", ["2027 S", "a/b", "x" * 21, '"'])
def test_a_name_that_is_none_is_refused_and_nothing_changes(tmp_path, term):
    with pytest.raises(ValueError, match="call it 2027S"), in_term(tmp_path, term):
        pass
    assert not (tmp_path / TERM).exists()


def test_a_build_that_fails_leaves_the_term_that_was(tmp_path):
    (tmp_path / TERM).parent.mkdir()
    with in_term(tmp_path, "2027S"):
        pass
    with in_term(tmp_path, None):
        assert json.loads((tmp_path / TERM).read_text()) == {"term": "2027S"}
    with pytest.raises(KeyboardInterrupt), in_term(tmp_path, "2027F"):
        raise KeyboardInterrupt
    assert json.loads((tmp_path / TERM).read_text()) == {"term": "2027S"}


def test_runs_have_other_numbers_in_another_term_and_examples_keep_theirs(monkeypatch):
    def numbering(term):
        find_the_bug._recordings.cache_clear()
        monkeypatch.setattr(find_the_bug, "term_of", lambda: term)
        return {run: find_the_bug.recording_of(run) for run in find_the_bug.run_numbers()}

    try:
        own, spring, autumn = map(numbering, ("", "2027S", "2027F"))
    finally:
        find_the_bug._recordings.cache_clear()
    assert own == {run: run for run in own}
    assert sorted(spring.values()) == sorted(autumn.values()) == sorted(own)
    assert len({*spring.items()} & {*autumn.items()}) < len(own) / 3
    assert all(spring[run] == autumn[run] == run for run in find_the_bug.EXAMPLES)
