"""Whatever a student wrote between a question and the next heading waits for a person."""

import copy

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
from nbgrader.utils import compute_checksum

from autograder.grading.submissions import repair
from autograder.grading.written import put_in, take_out
from autograder.student.notebook_file import grade_id_of

EMPTY = "YOUR ANSWER HERE"


def tagged(grade_id, **flags):
    tag = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
    return {"nbgrader": tag | {"grade_id": grade_id} | flags}


@pytest.fixture
def release():
    words = {"grade": True, "solution": True, "points": 2}
    return new_notebook(
        cells=[
            new_markdown_cell("# Homework 1\n\nRead this."),
            new_markdown_cell("## 1. Why a baseline\n\nSay why."),
            new_markdown_cell("*Marked by hand.*", metadata=tagged("rubric_why", locked=True)),
            new_markdown_cell(EMPTY, metadata=tagged("why", **words)),
            new_markdown_cell("## 2. The function\n\nWrite it."),
            new_code_cell("def f(x): ...", metadata=tagged("answer_f", solution=True)),
            new_code_cell("check(f)", metadata=tagged("f", grade=True, locked=True, points=3)),
            new_markdown_cell("## 3. What is lost\n\nSay it."),
            new_markdown_cell(EMPTY, metadata=tagged("lost", **words)),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )


def answers(notebook, release):
    """The answers in words once a notebook is taken in, and what is said of them."""
    outside = take_out(notebook, release)
    repair(notebook, release)
    said = put_in(notebook, release, outside)
    cells = {grade_id_of(cell): cell.source for cell in notebook.cells}
    return {"why": cells["why"], "lost": cells["lost"]}, said


def place(notebook, grade_id):
    return next(i for i, cell in enumerate(notebook.cells) if grade_id_of(cell) == grade_id)


def test_an_untouched_notebook_has_no_answer_and_nothing_is_said(release):
    assert answers(copy.deepcopy(release), release) == ({"why": EMPTY, "lost": EMPTY}, ())


def test_an_answer_in_its_cell_is_left_alone(release):
    notebook = copy.deepcopy(release)
    notebook.cells[3].source = "It lowers the variance."
    found, said = answers(notebook, release)
    assert found == {"why": "It lowers the variance.", "lost": EMPTY}
    assert said == ()


@pytest.mark.parametrize("cell", [new_markdown_cell("Mine."), new_raw_cell("Mine.")])
@pytest.mark.parametrize("where", ["above", "below", "in the last line"])
def test_a_cell_of_ones_own_under_the_heading_is_the_answer(release, cell, where):
    notebook = copy.deepcopy(release)
    at = {"above": 2, "below": 4, "in the last line": 9}[where]
    notebook.cells.insert(at, copy.deepcopy(cell))
    found, said = answers(notebook, release)
    name = "lost" if where == "in the last line" else "why"
    assert found == {"why": EMPTY, "lost": EMPTY} | {name: "Mine."}
    assert [name in sentence for sentence in said] == [True]


def test_what_stands_in_the_cell_and_below_it_are_both_read(release):
    notebook = copy.deepcopy(release)
    notebook.cells[3].source = "First half."
    notebook.cells.insert(4, new_markdown_cell("Second half."))
    assert answers(notebook, release)[0]["why"] == "First half.\n\nSecond half."


def test_a_copied_cell_is_read_and_an_empty_original_is_no_answer(release):
    notebook = copy.deepcopy(release)
    copied = copy.deepcopy(notebook.cells[3])
    copied.source = "In the copy."
    notebook.cells.insert(4, copied)
    assert answers(notebook, release)[0]["why"] == "In the copy."


def test_a_deleted_cell_typed_anew_is_read(release):
    notebook = copy.deepcopy(release)
    del notebook.cells[place(notebook, "lost")]
    notebook.cells.append(new_markdown_cell("Typed anew."))
    assert answers(notebook, release)[0] == {"why": EMPTY, "lost": "Typed anew."}


def test_without_any_metadata_answers_are_known_by_their_headings(release):
    notebook = copy.deepcopy(release)
    notebook.cells[3].source, notebook.cells[8].source = "On why.", "On loss."
    for cell in notebook.cells:
        cell.metadata.clear()
    assert answers(notebook, release)[0] == {"why": "On why.", "lost": "On loss."}


def test_text_typed_into_the_question_or_into_code_below_it_waits_for_a_person(release):
    notebook = copy.deepcopy(release)
    notebook.cells[1].source += "\n\nBecause of the variance."
    notebook.cells.append(new_code_cell("# the sign is lost"))
    found, said = answers(notebook, release)
    assert found["why"] == "Because of the variance."
    assert "# the sign is lost" in found["lost"]
    assert len(said) == 2


def test_notes_at_a_question_of_code_answer_nothing_in_words(release):
    notebook = copy.deepcopy(release)
    notebook.cells.insert(6, new_markdown_cell("Here I tried something."))
    assert answers(notebook, release) == ({"why": EMPTY, "lost": EMPTY}, ())


def test_spaces_are_no_answer(release):
    notebook = copy.deepcopy(release)
    notebook.cells[3].source = " \n\t"
    assert answers(notebook, release) == ({"why": EMPTY, "lost": EMPTY}, ())


@pytest.mark.parametrize(
    "heading", ["## 3. What is lost (done)", "## 3. Was verloren geht", "### What is lost"]
)
def test_a_heading_in_other_words_is_still_the_questions(release, heading):
    for cell in release.cells:
        cell.source = cell.source.replace("Say it.", "Say it.\n\nIn a sentence or two.")
    notebook = copy.deepcopy(release)
    text = notebook.cells[7].source.split("\n", 1)[1]
    notebook.cells[7].source = f"{heading}\n{text}"
    assert answers(copy.deepcopy(notebook), release)[0] == {"why": EMPTY, "lost": EMPTY}
    notebook.cells.insert(8, new_markdown_cell("The sign."))
    assert answers(notebook, release)[0] == {"why": EMPTY, "lost": "The sign."}


def test_an_answer_written_over_the_question_is_read(release):
    notebook = copy.deepcopy(release)
    notebook.cells[1].source = "It lowers the variance."
    assert answers(notebook, release)[0] == {"why": "It lowers the variance.", "lost": EMPTY}


@pytest.mark.parametrize("label", ["My answers", "Aufgabe 1", "Answer to question 1:", "II."])
def test_answers_at_the_end_of_the_notebook_are_never_a_silent_zero(release, label):
    notebook = copy.deepcopy(release)
    notebook.cells[8].source = "It is lost."
    notebook.cells += [new_code_cell("f(1)"), new_markdown_cell("## Appendix\n\nof mine")]
    notebook.cells[-1].source = f"{label}\n\nIt lowers the variance."
    found, said = answers(notebook, release)
    assert "It lowers the variance." in found["why"] + found["lost"]
    assert said


def test_a_question_split_in_two_is_no_answer(release):
    notebook = copy.deepcopy(release)
    notebook.cells[1].source = "## 1. Why a baseline"
    notebook.cells.insert(2, new_markdown_cell("Say why."))
    assert answers(notebook, release) == ({"why": EMPTY, "lost": EMPTY}, ())


def test_a_number_that_changed_in_the_homework_is_no_answer(release):
    handed_out = copy.deepcopy(release)
    handed_out.cells[2].source = "*Marked by hand, 2 points.*"
    release.cells[2].source = "*Marked by hand, 4 points.*"
    assert answers(handed_out, release) == ({"why": EMPTY, "lost": EMPTY}, ())


def test_a_locked_text_of_an_earlier_release_is_no_answer(release):
    handed_out = copy.deepcopy(release)
    handed_out.cells[2].source = "Other words than today."
    handed_out.cells[2].metadata.nbgrader.checksum = compute_checksum(handed_out.cells[2])
    assert answers(handed_out, release)[0] == {"why": EMPTY, "lost": EMPTY}


def test_a_cell_merged_into_another_questions_is_read_there(release):
    for cell in release.cells:
        cell.source = cell.source.replace("Say it.", "Say it.\n\nIn a sentence or two.")
    notebook = copy.deepcopy(release)
    first, *rest = notebook.cells[3], notebook.cells[7]
    first.source = f"On why.\n\n{rest[0].source}\n\nOn loss."
    del notebook.cells[7:]
    found, said = answers(notebook, release)
    assert "On loss." in found["lost"]
    assert said


def test_text_elsewhere_is_told_where_a_cell_was_touched(release):
    notebook = copy.deepcopy(release)
    notebook.cells[3].source = "TODO"
    notebook.cells += [new_code_cell("f(1)"), new_markdown_cell("Question 1: the variance.")]
    notebook.cells[8].source = "Nothing."
    notebook.cells.insert(7, new_markdown_cell("Question 1: the variance."))
    found, said = answers(notebook, release)
    assert found["why"] == "TODO"
    assert any("why" in sentence for sentence in said)
