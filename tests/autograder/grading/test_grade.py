"""A whole class, graded as a TA would, held against what is known of each submission."""

import contextlib
import copy
import shutil
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace

import nbformat
import pytest
from nbgrader.api import Gradebook

from autograder.demo.made_up_class import make_draft, make_submission, write_class
from autograder.grading import grade as grading
from autograder.grading.examiner import hidden_exams
from autograder.grading.grade import Plan, grade
from autograder.grading.late import settle
from autograder.grading.placing import place
from autograder.grading.record import Record, load, load_all, record_path, save
from autograder.grading.sandbox import Limits
from autograder.handouts import books
from autograder.handouts.assignments import release_assignment
from autograder.questions import homeworks

HOMEWORKS = homeworks()

# So that what never ends is soon stopped. On a busy machine it may stop a slow picture as well: the
# same work takes up to twice the processor time there.
LIMITS = Limits(cell_seconds=4.0)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A class folder with both homeworks released and nobody in it."""
    course = tmp_path_factory.mktemp("released")
    for homework in HOMEWORKS:
        release_assignment(course, homework)
    return course


@pytest.fixture(scope="module")
def demo(released, tmp_path_factory, root, sandbox):
    """The made-up class, graded: (class folder, truths, records by homework and student)."""
    course = tmp_path_factory.mktemp("class") / "class"
    shutil.copytree(released, course)
    truths = write_class(course, tuple(HOMEWORKS))
    before = snapshot(course / "submitted")
    records = {
        (homework, record.student): record
        for homework in HOMEWORKS
        for record in grade(Plan(root, course, homework, limits=LIMITS), sandbox)
    }
    assert snapshot(course / "submitted") == before
    return course, truths, records


def snapshot(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def url(course):
    return f"sqlite:///{course / 'gradebook.db'}"


def marks(course, homework):
    """What matters of the gradebook, in an order of its own."""
    found = {}
    with Gradebook(url(course)) as gradebook:
        for submission in gradebook.assignment_submissions(homework):
            for notebook in submission.notebooks:
                for score in notebook.grades:
                    found[submission.student.id, score.name] = (
                        score.auto_score,
                        score.manual_score,
                        score.needs_manual_grade,
                    )
                for comment in notebook.comments:
                    found[submission.student.id, "comment", comment.name] = comment.comment
    return found


def test_the_class_is_large_and_everyone_has_a_record(demo):
    _, truths, records = demo
    assert len(truths) >= 40
    assert {(t.homework, t.student) for t in truths} == set(records)


def test_every_submission_comes_to_what_is_known_of_it(demo):
    _, truths, records = demo
    wrong = []
    for truth in truths:
        record = records[truth.homework, truth.student]
        verdicts = {verdict.check: verdict for verdict in record.verdicts}
        points = {name: verdict.points for name, verdict in verdicts.items()}
        if record.state not in truth.states:
            wrong.append((truth.kind, record.state, record.for_staff))
        if points != truth.points:
            wrong.append((truth.kind, points, truth.points))
        wrong += [
            (truth.kind, name, verdicts[name].mistake, mistake)
            for name, mistake in truth.mistakes.items()
            if mistake is not None and verdicts[name].mistake != mistake
        ]
        if truth.noticed and not record.notices and record.state != "unreadable":
            wrong.append((truth.kind, "nothing was noticed"))
    assert wrong == []


def test_the_gradebook_holds_what_is_known_of_each_submission(demo):
    course, truths, _ = demo
    for homework in HOMEWORKS:
        found = marks(course, homework)
        for truth in truths:
            if truth.homework == homework:
                for name, points in truth.points.items():
                    assert found[truth.student, name][0] == points, (truth.kind, name)


def test_every_verdict_that_is_not_right_has_a_sentence(demo):
    for record in demo[2].values():
        for verdict in record.verdicts:
            assert verdict.sentence
            assert (verdict.points == verdict.max_points) == (verdict.outcome == "right")
        if record.state != "graded":
            assert record.for_student
            assert record.for_staff


def test_the_gradebook_knows_nobody_who_did_not_hand_in(demo):
    course, truths, _ = demo
    with Gradebook(url(course)) as gradebook:
        assert {s.id for s in gradebook.students} == {truth.student for truth in truths}


def test_every_submission_has_an_autograded_notebook_without_active_content(demo):
    course, truths, _ = demo
    for truth in truths:
        path = course / "autograded" / truth.student / truth.homework / f"{truth.homework}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                assert "<script" not in cell.source.lower()
                assert "onerror=" not in cell.source.lower()
            for output in cell.get("outputs", []):
                assert set(output.get("data", {})) <= {"text/plain", "image/png"}


def test_grading_again_changes_nothing(demo, root, sandbox):
    course, _, records = demo
    before = marks(course, "hw1")
    again = grade(Plan(root, course, "hw1", limits=LIMITS), sandbox)
    assert {("hw1", r.student): r for r in again} == {
        key: record for key, record in records.items() if key[0] == "hw1"
    }
    assert marks(course, "hw1") == before


@pytest.fixture
def small(released, tmp_path):
    """Six submissions to hw1: (class folder, truths)."""
    course = tmp_path / "class"
    shutil.copytree(released, course)
    release = nbformat.read(course / "release" / "hw1" / "hw1.ipynb", as_version=4)
    truths = []
    for number, kind in enumerate(("right", "mixed", "mistaken", "is empty", "exits", "right")):
        student = f"student{number}"
        draft = make_draft("hw1", student, copy.deepcopy(release), [], None)
        truths.append(make_submission(kind, draft, course / "submitted" / student / "hw1"))
    return course, truths


def test_an_interrupted_run_goes_on_and_ends_in_the_same_gradebook(small, tmp_path, root, sandbox):
    course, _ = small
    limits = Limits()  # six times what the slowest cell here takes, and nothing never ends
    twin = tmp_path / "twin"
    shutil.copytree(course, twin)
    (twin / ".course").mkdir(exist_ok=True)
    (course / ".course" / "secret").write_text("ab" * 32)
    (twin / ".course" / "secret").write_text("ab" * 32)
    grade(Plan(root, twin, "hw1", limits=limits), sandbox)

    def stop(record, done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grade(Plan(root, course, "hw1", limits=limits), sandbox, stop)
    assert len(list(load_all(course, "hw1"))) == 3
    record_path(course, "hw1", "student1").write_text('{"half": ')  # a torn record is graded anew
    grade(Plan(root, course, "hw1", workers=1, limits=limits), sandbox)
    assert marks(course, "hw1") == marks(twin, "hw1")
    strip = [replace(r, seconds=0, made_from={}) for r in load_all(course, "hw1")]
    assert strip == [replace(r, seconds=0, made_from={}) for r in load_all(twin, "hw1")]


def test_marks_given_by_hand_survive_grading_again(small, root, sandbox):
    course, _ = small
    grade(Plan(root, course, "hw1", limits=LIMITS), sandbox)
    with Gradebook(url(course)) as gradebook:
        score = gradebook.find_grade("returns_to_go", "hw1", "hw1", "student2")
        score.manual_score = 1.5
        gradebook.db.commit()
    grade(Plan(root, course, "hw1", limits=LIMITS, again=True), sandbox)
    with Gradebook(url(course)) as gradebook:
        score = gradebook.find_grade("returns_to_go", "hw1", "hw1", "student2")
        assert score.manual_score == 1.5
        assert score.auto_score == 0


def test_a_new_file_is_graded_anew_and_the_others_are_not(small, root, sandbox):
    course, _ = small
    grade(Plan(root, course, "hw1", limits=LIMITS), sandbox)
    ours, theirs = (course / "submitted" / f"student{n}" / "hw1" / "hw1.ipynb" for n in (2, 0))
    shutil.copy(theirs, ours)
    times = {p.name: p.stat().st_mtime_ns for p in (course / ".course/records/hw1").iterdir()}
    records = {r.student: r for r in grade(Plan(root, course, "hw1", limits=LIMITS), sandbox)}
    assert records["student2"].points == records["student2"].max_points
    after = {p.name: p.stat().st_mtime_ns for p in (course / ".course/records/hw1").iterdir()}
    assert {name for name in times if times[name] != after[name]} == {"student2.json"}


def test_only_the_check_that_changed_is_asked_again(small, root, sandbox, monkeypatch):
    course, _ = small
    plan = Plan(root, course, "hw1", limits=LIMITS)
    before = {r.student: r for r in grade(plan, sandbox)}
    asked = {}

    def note(checks, secret, student, sitting=0):
        asked[student] = [check.name for check in checks]
        return hidden_exams(checks, secret, student, sitting)

    monkeypatch.setattr("autograder.grading.grade.hidden_exams", note)
    source = grading._check_source
    monkeypatch.setattr(
        grading, "_check_source", lambda c: source(c) + "#" * (c.name == "reinforce_2")
    )
    after = {r.student: r for r in grade(plan, sandbox)}
    plain = {s for s, r in before.items() if r.state == "graded" and not r.notices}
    assert {s: names for s, names in asked.items() if s in plain} == {
        s: ["reinforce_2"] for s in plain
    }
    assert len(plain) >= 2
    assert {s: r.verdicts for s, r in after.items()} == {s: r.verdicts for s, r in before.items()}


def test_one_student_is_graded_alone_and_a_wrong_name_is_told(small, root, sandbox):
    course, _ = small
    (record,) = grade(Plan(root, course, "hw1", limits=LIMITS, students=("student0",)), sandbox)
    assert record.student == "student0"
    assert [r.student for r in load_all(course, "hw1")] == ["student0"]
    with pytest.raises(ValueError, match=r"studnt0 did not hand in hw1\. Is student0"):
        grade(Plan(root, course, "hw1", students=("studnt0",)), sandbox)


def test_two_runs_on_one_class_are_kept_apart(small, root, sandbox):
    course, _ = small
    held = "import sys, filelock as f; a = f.FileLock(sys.argv[1]).acquire(); print(1); input()"
    lock = course / ".course" / "grading.lock"
    lock.parent.mkdir(exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-uc", held, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(ValueError, match="Another `course grade` is at work"):
            grade(Plan(root, course, "hw1"), sandbox)
    assert not list(load_all(course, "hw1"))


def test_a_gradebook_that_cannot_be_written_is_told_and_the_next_run_goes_on(
    small, root, sandbox, monkeypatch
):
    course, _ = small
    monkeypatch.setattr(books, "LOCK_SECONDS", 1)

    def lock(record, done, total):
        if done == 2:
            holder.execute("begin exclusive")

    with (
        contextlib.closing(sqlite3.connect(course / "gradebook.db")) as holder,
        pytest.raises(OSError, match=r"cannot be used .*locked"),
    ):
        grade(Plan(root, course, "hw1", limits=LIMITS), sandbox, lock)
    assert len(list(load_all(course, "hw1"))) == 2
    assert len(grade(Plan(root, course, "hw1", limits=LIMITS), sandbox)) == 6


def test_late_submissions_are_known_as_such(small, root, sandbox):
    course, _ = small
    with Gradebook(url(course)) as gradebook:
        gradebook.update_or_create_assignment("hw1", duedate="2026-01-01 00:00:00 UTC")
    folder = course / "submitted" / "student0" / "hw1"
    (folder / "timestamp.txt").write_text("2026-01-01 01:00:00 UTC")
    (course / "submitted" / "student1" / "hw1" / "timestamp.txt").write_text("soon after lunch")
    grade(Plan(root, course, "hw1", limits=LIMITS), sandbox)
    settle(course, "hw1", place(course, "hw1").submissions, root)
    with Gradebook(url(course)) as gradebook:
        assert gradebook.find_submission("hw1", "student0").total_seconds_late == 3600
        assert gradebook.find_submission("hw1", "student1").total_seconds_late == 0


def test_unread_submissions_get_a_row_with_zero_and_their_file_is_kept(small, root, sandbox):
    course, truths = small
    empty = next(t for t in truths if t.kind == "is empty")
    record = next(
        r
        for r in grade(Plan(root, course, "hw1", limits=LIMITS), sandbox)
        if r.student == empty.student
    )
    assert record.state == "unreadable"
    assert "empty" in record.for_student
    with Gradebook(url(course)) as gradebook:
        assert gradebook.find_submission("hw1", empty.student).score == 0
    assert (course / "submitted" / empty.student / "hw1" / "hw1.ipynb").read_bytes() == b""


def test_autograded_files_are_read_only_as_nbgraders_are(small, root, sandbox):
    course, _ = small
    grade(Plan(root, course, "hw1", limits=LIMITS), sandbox)
    path = course / "autograded" / "student0" / "hw1" / "hw1.ipynb"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_a_record_of_the_longest_name_is_kept_whole(tmp_path):
    record = Record("hw1", "\u00eb" * 125, "killed", failed_cells=(3,))
    path = save(tmp_path, record)
    assert load(path) == record
    assert list(path.parent.iterdir()) == [path]


def test_the_gradebook_is_sound(demo):
    with sqlite3.connect(demo[0] / "gradebook.db") as database:
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
