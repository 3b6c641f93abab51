"""After each report a list says whose mark is another, from what to what, and why."""

import json

import pytest

from autograder.grading.by_hand import Given
from autograder.grading.record import Record
from autograder.report.changes import Change, changes_path, note
from autograder.report.results import ClassResults, Mark, Question, StudentResult

CODED, WRITTEN = Question("f", "F", "coded", 3), Question("w", "W", "written", 2)
MADE_FROM = {"hand-in": "a", "packages": "b", "check f": "c", "check g": "d"}


def group(course, made_from=None, penalty=0.0, times=None, f=3.0, state="graded", **written):
    record = Record("hw1", "ada", state, made_from=made_from or MADE_FROM)
    marks = (Mark(CODED, f), Mark(WRITTEN, **{"score": None, "waiting": True} | written))
    times = {"the due date": "1", "the extension": ""} | (times or {})
    student = StudentResult("ada", "", state, marks, record, penalty, times=times)
    return ClassResults(course, "hw1", (CODED, WRITTEN), (student,))


@pytest.mark.parametrize(
    ("now", "change"),
    [
        ({"f": 1.0, "made_from": MADE_FROM | {"hand-in": "A"}}, ("f", 3, 1, "the hand-in changed")),
        (
            {"f": 1.0, "made_from": MADE_FROM | {"check f": "C", "check g": "D"}},
            ("f", 3, 1, "the check f changed"),
        ),
        (
            {"f": 1.0, "made_from": MADE_FROM | {"hand-in": "A", "packages": "B"}},
            ("f", 3, 1, "the hand-in and the packages changed"),
        ),
        ({"f": 0.0, "state": "unreadable"}, ("f", 3, 0, "the file cannot be read")),
        ({"f": 1.0}, ("f", 3, 1, "something outside `course grade` changed")),
        ({"score": 1.5, "by_hand": True, "waiting": False}, ("w", None, 1.5, "marked by hand")),
        ({"penalty": 2.0, "times": {"the due date": "0"}}, ("late", 0, -2, "the due date changed")),
        ({"penalty": 2.0}, ("late", 0, -2, "the points it is taken from changed")),
    ],
)
def test_a_mark_that_is_another_is_listed_with_its_reason(tmp_path, now, change):
    assert note(group(tmp_path)) == []
    assert note(group(tmp_path, **now)) == [Change("ada", *change)]
    assert note(group(tmp_path, **now)) == []
    (line,) = changes_path(tmp_path, "hw1").read_text().splitlines()
    assert json.loads(line)["why"] == change[3]


def test_a_mark_by_hand_that_falls_away_and_comes_back_is_told_as_that(tmp_path):
    marked = {"score": 1.5, "by_hand": True, "waiting": False}
    note(group(tmp_path, **marked))
    (gone,) = note(group(tmp_path, earlier=Given(1.5)))
    assert (gone.before, gone.after, gone.why) == (
        1.5,
        None,
        "its mark by hand was for another answer",
    )
    (back,) = note(group(tmp_path, **marked))
    assert back.why == "its mark by hand is back"


def test_a_damaged_list_of_marks_is_begun_anew(tmp_path):
    note(group(tmp_path))
    (tmp_path / ".course" / "marks" / "hw1.json").write_text("{")
    assert note(group(tmp_path, f=1.0)) == []
    assert note(group(tmp_path, f=2.0))[0].before == 1.0
