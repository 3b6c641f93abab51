"""The journal of a submission, `course grade --explain`, and hidden cases drawn anew."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from autograder import cli
from autograder.grading import grade as grading
from autograder.grading.examiner import examine, hidden_exams
from autograder.grading.grade import Plan, grade
from autograder.grading.journal import MAX_LINES, Journal, journal_path, read_journal
from autograder.grading.record import load, record_path
from autograder.handouts.assignments import release_assignment
from autograder.questions import homeworks

SECRET = b"x" * 32


def test_lines_come_back_in_order_and_the_last_grading_is_kept(tmp_path):
    for words in ("first", "second"):
        with Journal(tmp_path, "hw1", "ada") as journal:
            journal.tell("begin", words)
    with Journal(tmp_path, "hw1", "ada", again=True) as journal:
        journal.tell("end", "third \ud800\u2028\x1b[2J")
    lines = list(read_journal(tmp_path, "hw1", "ada"))
    assert [line["words"] for line in lines] == ["second", "third ?\u2028\x1b[2J"]
    assert all(line["when"].endswith("+00:00") for line in lines)


def test_a_line_is_there_as_soon_as_it_is_told_and_a_torn_one_is_left_out(tmp_path):
    with Journal(tmp_path, "hw1", "ada") as journal:
        journal.tell("begin", "now")
        assert len(list(read_journal(tmp_path, "hw1", "ada"))) == 1
    with journal.path.open("a") as file:
        file.write('{"when": "20')
    assert len(list(read_journal(tmp_path, "hw1", "ada"))) == 1


def test_nobody_fills_the_disk_with_it(tmp_path):
    with Journal(tmp_path, "hw1", "ada") as journal:
        for _ in range(MAX_LINES + 10):
            journal.tell("cell", "x" * 10_000)
    assert len(list(read_journal(tmp_path, "hw1", "ada"))) == MAX_LINES
    assert journal.path.stat().st_size < 3_000_000


def test_who_was_not_graded_has_none_and_is_told_what_to_do(tmp_path):
    result = CliRunner().invoke(
        cli.app, ["grade", "hw1", "--class", str(tmp_path), "--explain", "ada"]
    )
    assert isinstance(result.exception, ValueError)
    assert "run `course grade hw1 --student ada` first" in str(result.exception)


@pytest.fixture
def course(tmp_path):
    release_assignment(tmp_path, "hw1")
    folder = tmp_path / "submitted" / "ada" / "hw1"
    folder.mkdir(parents=True)
    text = (tmp_path / "release" / "hw1" / "hw1.ipynb").read_text()
    (folder / "hw1.ipynb").write_text(text.replace('"kernelspec"', '"kernel"'))
    return tmp_path


def test_what_happened_is_shown_in_order(course, root, sandbox):
    grade(Plan(root, course, "hw1"), sandbox)
    lines = list(read_journal(course, "hw1", "ada"))
    kinds = [line["what"] for line in lines]
    assert kinds[:2] == ["begin", "read"]
    assert kinds[-1] == "end"
    assert kinds.index("noticed") < kinds.index("run") < kinds.index("cell") < kinds.index("ask")
    checks = homeworks()["hw1"]
    assert kinds.count("verdict") == len(checks)
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)
    arguments = ["grade", "hw1", "--class", str(course), "--explain", "ada"]
    shown = CliRunner().invoke(cli.app, arguments)
    assert shown.exit_code == 0
    assert "kernel was set to" in " ".join(shown.output.split())
    told = json.loads(CliRunner().invoke(cli.app, [*arguments, "--json"]).stdout)
    assert told == lines


def test_new_cases_are_others_and_stay(course, root, sandbox, monkeypatch):
    asked = []

    def seen(sandbox, cells, exams, *args, **kwargs):
        asked.append(exams[0].cases)
        return examine(sandbox, [None] * len(cells), exams, *args, **kwargs)

    monkeypatch.setattr(grading, "examine", seen)
    plans = [
        Plan(root, course, "hw1"),
        Plan(root, course, "hw1", students=("ada",), new_cases=True),
        Plan(root, course, "hw1"),  # nothing is new
        Plan(root, course, "hw1", again=True),
    ]
    for plan in plans:
        grade(plan, sandbox)
    before, drawn, later = asked
    assert same(before[:1], drawn[:1])  # the notebook's own
    assert not same(before, drawn)
    assert same(drawn, later)
    assert load(record_path(course, "hw1", "ada")).made_from["hidden cases"] == "1"
    (course / ".course" / "sittings" / "hw1.json").write_text("[")
    with pytest.raises(ValueError, match="is damaged"):
        grade(Plan(root, course, "hw1"), sandbox)


def same(ones, others):
    return len(ones) == len(others) and all(
        one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)
        for one, other in zip(ones, others, strict=True)
    )


def test_what_students_were_told_stays_at_every_sitting():
    culprit = next(check for check in homeworks()["hw3"] if check.told)
    first, second = (hidden_exams([culprit], SECRET, "ada", sitting)[0] for sitting in (0, 1))
    assert same(first.cases, second.cases)


def test_a_journal_lies_with_what_is_private(tmp_path):
    assert journal_path(tmp_path, "hw1", "ada").is_relative_to(tmp_path / ".course")
