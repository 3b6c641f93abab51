"""A mark given by hand holds as long as the answer that it was given for."""

import copy

import nbformat
import pytest
from nbgrader.api import Gradebook

from autograder.grading import by_hand
from autograder.grading.by_hand import Given, Kept
from autograder.grading.gradebook import GradebookWriter
from autograder.grading.hand_log import keep_log, log_path
from autograder.grading.placing import Submission
from autograder.grading.submissions import repair
from autograder.handouts.assignments import release_assignment
from autograder.student.exam import Verdict
from autograder.student.notebook_file import grade_id_of

WORDS = "written_wrong_derivative"


def test_a_mark_stays_with_its_answer_is_set_aside_and_comes_back():
    given = Given(2.5, None, "good")
    kept, holds = Kept("a").file("a", "a", given)
    assert (holds, kept.earlier) == (given, None)
    kept, holds = kept.file("b", "a", given)
    assert (holds, kept.earlier, kept.had_score) == (Given(), given, True)
    kept, holds = kept.file("b", "b", Given())  # graded again: it still waits
    assert (holds, kept.earlier) == (Given(), given)
    kept, holds = kept.file("a", "b", Given())
    assert (holds, kept.earlier) == (given, None)


def test_the_same_number_for_another_answer_is_another_mark():
    first, second = Given(2.0, None, "on a"), Given(2.0, None, "on b")
    kept, _ = Kept("a").file("b", "a", first)
    kept, holds = kept.file("b", "b", second)
    assert holds == second
    assert kept.file("a", "b", second)[1] == first
    assert kept.file("c", "b", second)[0].earlier == second


def test_a_mark_that_was_taken_back_stays_away():
    kept, _ = Kept("a").file("a", "a", Given(2.0))
    assert kept.file("a", "a", Given())[1] == Given()


def test_a_comment_alone_does_not_hide_the_mark_of_an_earlier_answer():
    kept, _ = Kept("a").file("b", "a", Given(2.0))
    kept, holds = kept.file("b", "b", Given(None, None, "see me"))
    assert (holds.comment, kept.earlier) == ("see me", Given(2.0))


def test_what_is_kept_comes_back_from_its_file(tmp_path):
    kept = {"w": Kept("a", {"a": Given(1.0, 0.5, "x")}, Given(2.0))}
    by_hand.save(tmp_path, "hw1", "ada", kept)
    assert by_hand.load(tmp_path, "hw1", "ada") == kept
    by_hand.kept_path(tmp_path, "hw1", "ada").write_text("[]")
    with pytest.raises(OSError, match="put back a copy"):
        by_hand.load(tmp_path, "hw1", "ada")


@pytest.fixture(scope="module")
def released(tmp_path_factory, root):
    course = tmp_path_factory.mktemp("class")
    release_assignment(course, "hw1", root=root)
    return course


@pytest.fixture
def book(released, tmp_path, root):
    """A class with one student: file(words, code) puts a notebook into its gradebook."""
    import shutil

    course = tmp_path / "class"
    shutil.copytree(released, course)
    release = nbformat.read(course / "release/hw1/hw1.ipynb", as_version=4)
    submission = Submission("ada", "hw1", course / "submitted/ada/hw1")
    names = [n.removeprefix("answer_") for c in release.cells if (n := grade_id_of(c))]
    checks = sorted({n for n in names if f"answer_{n}" in map(grade_id_of, release.cells)})

    def file(words, code="def returns_to_go(): return 1"):
        notebook = copy.deepcopy(release)
        for cell in notebook.cells:
            if grade_id_of(cell) == WORDS:
                cell.source = words
            if grade_id_of(cell) == "answer_returns_to_go":
                cell.source = code
        repair(notebook, release)
        verdicts = {c: Verdict(c, c, 0, 2, "wrong", "", "No.", "") for c in checks}
        with GradebookWriter(root, course, release) as writer:
            writer.file(submission, notebook, verdicts)

    return course, file


def gradebook(course):
    return Gradebook(f"sqlite:///{course}/gradebook.db", "policy-gradient-course")


def give(course, question, score, comment=None):
    with gradebook(course) as books:
        grade = books.find_grade(question, "hw1", "hw1", "ada")
        grade.manual_score, grade.needs_manual_grade = score, False
        if comment:
            books.find_comment(question, "hw1", "hw1", "ada").manual_comment = comment
        books.db.commit()


def stands(course, question):
    """(mark by hand, points in the gradebook, whether a person is asked)."""
    with gradebook(course) as books:
        grade = books.find_grade(question, "hw1", "hw1", "ada")
        return grade.manual_score, grade.score, grade.needs_manual_grade


def test_grading_again_asks_nobody_to_confirm_a_mark(book):
    course, file = book
    file("My answer.")
    assert stands(course, WORDS) == (None, 0, True)
    give(course, WORDS, 2.5, "good")
    give(course, "returns_to_go", 1.5)
    file("My answer.")
    assert stands(course, WORDS) == (2.5, 2.5, False)
    assert stands(course, "returns_to_go") == (1.5, 1.5, False)


def test_another_answer_waits_and_the_old_one_brings_its_mark_and_comment_back(book):
    course, file = book
    file("My answer.")
    give(course, WORDS, 2.5, "good")
    file("Another answer.")
    assert stands(course, WORDS) == (None, 0, True)
    assert by_hand.load(course, "hw1", "ada")[WORDS].earlier == Given(2.5, None, "good")
    file("My answer.")
    assert stands(course, WORDS) == (2.5, 2.5, False)
    with gradebook(course) as books:
        assert books.find_comment(WORDS, "hw1", "hw1", "ada").comment == "good"


def test_a_mark_outlives_the_autograded_notebook(book):
    import shutil

    course, file = book
    file("My answer.")
    give(course, WORDS, 2.5)
    shutil.rmtree(course / "autograded")
    file("My answer.")
    assert stands(course, WORDS) == (2.5, 2.5, False)


def test_a_mark_by_hand_for_a_function_goes_by_the_functions_text(book):
    course, file = book
    file("x")
    give(course, "returns_to_go", 1.5)
    file("y")
    assert stands(course, "returns_to_go") == (1.5, 1.5, False)
    file("y", "def returns_to_go(): return 2")
    assert stands(course, "returns_to_go") == (None, 0, True)


def test_a_mark_that_nbgraders_own_autograde_asks_about_again_counts_for_the_old_answer(book):
    course, file = book
    file("My answer.")
    give(course, WORDS, 2.5)
    path = course / "autograded/ada/hw1/hw1.ipynb"
    notebook = nbformat.read(path, as_version=4)
    next(c for c in notebook.cells if grade_id_of(c) == WORDS).source = "Another answer."
    path.chmod(0o644)
    nbformat.write(notebook, path)
    with gradebook(course) as books:
        books.find_grade(WORDS, "hw1", "hw1", "ada").needs_manual_grade = True
        books.db.commit()
    file("Another answer.")
    assert stands(course, WORDS) == (None, 0, True)


def test_whoever_marks_reads_the_mark_scheme_beside_the_answer(book):
    course, file = book
    file("My answer.")
    notebook = nbformat.read(course / "autograded/ada/hw1/hw1.ipynb", as_version=4)
    texts = {grade_id_of(cell): cell.source for cell in notebook.cells}
    assert "1 point" in texts["rubric_wrong_derivative"]
    assert "MARK SCHEME" not in texts["rubric_wrong_derivative"]
    released = (course / "release/hw1/hw1.ipynb").read_text()
    assert "1 point" not in released


def test_who_gave_which_mark_is_written_down(book, monkeypatch):
    course, file = book
    file("My answer.")
    monkeypatch.setenv("JUPYTERHUB_USER", "grace")
    keep_log(course)
    give(course, WORDS, 2.5, "good")
    file("Another answer.")
    import json

    lines = [json.loads(line) for line in log_path(course).read_text().splitlines()]
    assert len(lines) == 4  # what is written at once has no order
    assert {(x["who"], x["student"], x["what"], x["before"], x["after"]) for x in lines} == {
        ("grace", "ada", "score", None, 2.5),
        ("grace", "ada", "comment", None, "good"),
        ("course grade", "ada", "score", 2.5, None),
        ("course grade", "ada", "comment", "good", None),
    }
    assert all(x["question"] == WORDS for x in lines)
