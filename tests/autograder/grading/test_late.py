"""What is taken off for being late follows from three times and a rule, and from nothing else."""

import datetime as dt
import stat

import pytest
from nbgrader.api import Gradebook

from autograder.grading import late, private
from autograder.grading.late import PercentPerDay, handed_in
from autograder.grading.placing import Submission
from autograder.handouts.assignments import settings

DAY = 86_400


@pytest.mark.parametrize(
    "text",
    [
        "2026-10-02 21:59:00 UTC",
        "2026-10-02 21:59:00.000000 UTC",
        "2026-10-02T21:59:00Z",
        "2026-10-02T23:59:00+02:00",
        "2026-10-02 23:59:00 +0200",
        "2026-10-02 23:59 Europe/Berlin",
        "  2026-10-02T17:59:00,000-04:00\n",
    ],
)
def test_a_time_with_a_zone_is_read(tmp_path, text):
    (tmp_path / "timestamp.txt").write_text(text)
    found = handed_in(tmp_path / "timestamp.txt")
    assert (found.at, found.remark) == (dt.datetime(2026, 10, 2, 21, 59, tzinfo=dt.UTC), "")


def test_a_time_without_a_zone_is_read_as_utc_and_said(tmp_path):
    (tmp_path / "timestamp.txt").write_text("2026-10-02 21:59:00")
    found = handed_in(tmp_path / "timestamp.txt")
    assert found.at == dt.datetime(2026, 10, 2, 21, 59, tzinfo=dt.UTC)
    assert "no zone" in found.remark


@pytest.mark.parametrize(
    "text",
    [
        "03/02/2026",
        "soon after lunch",
        "",
        "2026-13-01 00:00 UTC",
        "2026-10-02 21:59 XYZ",
        "2026-10-02 21:59 Europe",
    ],
)
def test_what_is_no_time_is_never_on_time_in_silence(tmp_path, text):
    (tmp_path / "timestamp.txt").write_text(text)
    found = handed_in(tmp_path / "timestamp.txt")
    assert found.at is None
    assert "not known" in found.remark


@pytest.mark.parametrize(
    ("seconds", "taken"),
    [(1, 2), (DAY, 2), (DAY + 1, 4), (10 * DAY, 20), (100 * DAY, 20)],
)
def test_a_percentage_of_what_was_earned_for_each_day_begun(seconds, taken):
    assert PercentPerDay(percent=10).late_submission_penalty("ada", 20, seconds) == taken


def test_grace_comes_before_the_first_day_and_zero_stays_nbgraders():
    rule = PercentPerDay(percent=10, grace_minutes=60)
    assert rule.late_submission_penalty("ada", 20, 3600) == 0
    assert rule.late_submission_penalty("ada", 20, 3601) == 2
    assert rule.late_submission_penalty("ada", 20, DAY + 3600) == 2
    nothing = PercentPerDay(penalty_method="zero")
    assert nothing.late_submission_penalty("ada", 20, 1) == 20
    assert PercentPerDay().late_submission_penalty("ada", 20, DAY) == 0


@pytest.fixture
def course(tmp_path, root):
    """A class with 10 points for Ada, handed in 36 hours after the first day of 2026."""
    settings(root)  # which puts alembic on the path
    text = (root / "nbgrader_config.py").read_text()
    course, own = tmp_path / "class", tmp_path / "root"
    (course / "submitted" / "ada" / "hw1").mkdir(parents=True)
    own.mkdir()
    (own / "nbgrader_config.py").write_text(f"{text}\nc.PercentPerDay.percent = 10\n")
    (course / "submitted/ada/hw1/timestamp.txt").write_text("2026-01-02T12:00:00Z")
    with Gradebook(f"sqlite:///{course}/gradebook.db", "policy-gradient-course") as books:
        books.add_assignment("hw1")
        books.add_notebook("hw1", "hw1")
        books.add_grade_cell("f", "hw1", "hw1", max_score=10, cell_type="code")
        books.add_student("ada")
        books.add_submission("hw1", "ada")
        grade = books.find_grade("f", "hw1", "hw1", "ada")
        grade.auto_score, grade.needs_manual_grade = 10, False
        books.db.commit()
    return course, own


def penalty(course, root):
    late.settle(course, "hw1", [Submission("ada", "hw1", course / "submitted/ada/hw1")], root)
    with Gradebook(f"sqlite:///{course}/gradebook.db", "policy-gradient-course") as books:
        return books.find_submission("hw1", "ada").late_submission_penalty


def test_a_due_date_an_extension_and_the_policy_count_at_once_and_can_be_taken_back(course):
    folder, root = course
    assert penalty(folder, root) == 0  # there is no due date
    late.set_due(folder, "hw1", late.read_time("2026-01-01T00:00:00Z"), root)
    assert penalty(folder, root) == 2
    late.extend(folder, "hw1", "ada", dt.timedelta(days=1), root)
    assert penalty(folder, root) == 1
    late.extend(folder, "hw1", "ada", dt.timedelta(days=2), root)
    assert penalty(folder, root) == 0
    late.extend(folder, "hw1", "ada", dt.timedelta(), root)
    assert penalty(folder, root) == 2
    own = root / "nbgrader_config.py"
    own.write_text(own.read_text() + "c.PercentPerDay.percent = 30\n")
    assert penalty(folder, root) == 6
    with Gradebook(f"sqlite:///{folder}/gradebook.db", "policy-gradient-course") as books:
        books.find_grade("f", "hw1", "hw1", "ada").manual_score = 5
        books.db.commit()
    assert penalty(folder, root) == 3  # of what counts now
    late.set_due(folder, "hw1", None, root)
    assert penalty(folder, root) == 0


def test_an_extension_without_a_due_date_stops_nothing_and_counts_once_there_is_one(course):
    folder, root = course
    late.extend(folder, "hw1", "ada", dt.timedelta(days=1), root)
    assert penalty(folder, root) == 0
    with Gradebook(f"sqlite:///{folder}/gradebook.db", "policy-gradient-course") as books:
        assert books.find_submission("hw1", "ada").total_seconds_late == 0
    late.set_due(folder, "hw1", late.read_time("2026-01-01T00:00:00Z"), root)
    assert penalty(folder, root) == 1


def test_a_time_that_cannot_be_read_replaces_the_one_before(course):
    folder, root = course
    late.set_due(folder, "hw1", late.read_time("2026-01-01T00:00:00Z"), root)
    assert penalty(folder, root) == 2
    (folder / "submitted/ada/hw1/timestamp.txt").write_text("yesterday")
    assert penalty(folder, root) == 0
    with Gradebook(f"sqlite:///{folder}/gradebook.db", "policy-gradient-course") as books:
        assert books.find_submission("hw1", "ada").timestamp is None


def test_wrong_calls_are_told_what_is_wanted(course):
    folder, root = course
    with pytest.raises(ValueError, match="names no zone"):
        late.read_time("2026-01-01 00:00")
    with pytest.raises(ValueError, match="wanted is a time such as"):
        late.read_time("tomorrow")
    with pytest.raises(ValueError, match="zoe is not in this class"):
        late.extend(folder, "hw1", "zoe", dt.timedelta(days=1), root)
    with pytest.raises(ValueError, match="more than a year"):
        late.extend(folder, "hw1", "ada", dt.timedelta(days=10**6), root)
    with pytest.raises(ValueError, match="knows no hw9"):
        late.set_due(folder, "hw9", None, root)
    with pytest.raises(ValueError, match="no gradebook"):
        late.due_date(folder / "nowhere", "hw1", root)


def test_a_class_folder_is_closed_to_others_and_what_students_handed_in_is_left(tmp_path, root):
    before = private.os.umask(0o022)
    try:
        for name in ("source/hw1/hw1.ipynb", "submitted/ada/hw1/hw1.ipynb", "gradebook.db"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        private.close(tmp_path, root)
        (tmp_path / "new").write_text("x")
        modes = {
            name: stat.S_IMODE((tmp_path / name).stat().st_mode)
            for name in ("source", "source/hw1/hw1.ipynb", "gradebook.db", "new")
        }
        assert modes == {
            "source": 0o700,
            "source/hw1/hw1.ipynb": 0o600,
            "gradebook.db": 0o600,
            "new": 0o600,
        }
        assert stat.S_IMODE((tmp_path / "submitted/ada/hw1/hw1.ipynb").stat().st_mode) == 0o644
    finally:
        private.os.umask(before)
