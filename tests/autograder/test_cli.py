"""`course` as its users call it: what it prints, and its exit status."""

import contextlib
import json
import os
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from autograder import cli
from autograder.grading.record import Record
from autograder.questions import homeworks
from autograder.report.results import ClassResults


@pytest.fixture
def course(monkeypatch, capsys):
    """Call `course ARGUMENTS`; returns (exit status, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["course", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        printed = capsys.readouterr()
        return stopped.value.code or 0, printed.out, printed.err

    umask = os.umask(0o022)
    yield call
    os.umask(umask)  # `course` closes what it writes to others; the tests after this one do not


def test_checks_as_json_lists_every_question_with_its_mistakes(course):
    status, out, _ = course("checks", "--json")
    rows = json.loads(out)
    assert status == 0
    assert {row["homework"] for row in rows} == set(homeworks())
    assert all(row["points"] > 0 and len(row["misconceptions"]) >= 3 for row in rows)


def test_checks_as_table_names_what_the_json_names(course):
    _, table, _ = course("checks")
    _, out, _ = course("checks", "--json")
    for row in json.loads(out):
        assert row["check"] in table


def test_an_unknown_homework_is_a_wrong_call(course, tmp_path):
    status, _, err = course("grade", "hw9", "--class", tmp_path)
    assert status == 2
    assert "hw1" in err


def test_a_class_without_submissions_is_a_wrong_call_that_says_where_they_go(course, tmp_path):
    status, _, err = course("grade", "hw1", "--class", tmp_path)
    assert status == 2
    assert "submitted/<student>/hw1/hw1.ipynb" in err


def test_a_report_on_a_homework_that_there_is_not_is_a_wrong_call(course, tmp_path):
    status, _, err = course("report", "hw11", "--class", tmp_path)
    assert status == 2
    assert "there is no homework 'hw11'" in err
    assert not list(tmp_path.iterdir())


def test_what_the_system_refuses_is_a_sentence(course, tmp_path):
    (tmp_path / "submitted" / "ada" / "hw1").mkdir(parents=True)
    (tmp_path / "report").write_text("in the way")
    status, _, err = course("report", "hw1", "--class", tmp_path)
    assert status == 1
    assert err.startswith("course: ")
    assert str(tmp_path / "report") in err.replace("\n", "")
    assert "Traceback" not in err


def test_due_dates_and_extensions_are_set_said_and_refused(course, tmp_path):
    at = ("--class", tmp_path)
    assert "whenever" in course("due", "hw1", *at)[1]
    status, out, _ = course("due", "hw1", "2026-10-02T23:59:00+02:00", *at)
    assert (status, "2026-10-02T21:59:00+00:00" in out) == (0, True)
    assert "2026-10-02T21:59:00+00:00" in course("due", "hw1", *at)[1]
    status, _, err = course("due", "hw1", "2026-10-02 23:59", *at)
    assert (status, "names no zone" in err) == (2, True)
    status, _, err = course("extend", "hw1", "ada", "--days", 2, *at)
    assert (status, "not in this class" in err) == (2, True)
    (tmp_path / "submitted" / "ada").mkdir(parents=True)
    status, out, _ = course("extend", "hw1", "ada", "--days", 2, *at)
    assert (status, "2026-10-04T21:59:00+00:00" in out) == (0, True)
    assert stat.S_IMODE((tmp_path / "gradebook.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "source/hw1/hw1.ipynb").stat().st_mode) == 0o600


def test_a_draw_writes_a_table_and_is_refused_where_there_is_none(course, tmp_path):
    (tmp_path / "submitted" / "ada").mkdir(parents=True)
    status, out, _ = course("draw", "hw3", "--class", tmp_path)
    path = tmp_path / "report" / "hw3-draw.csv"
    assert (status, f"wrote {path} (1 student)" in out) == (0, True)
    assert path.read_text().startswith("student,runs\nada,")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    status, _, err = course("draw", "hw1", "--class", tmp_path)
    assert (status, "no question that gives students numbers" in err) == (2, True)


def test_marking_before_grading_is_told_what_comes_first(course, tmp_path):
    status, _, err = course("mark", "hw1", "--class", tmp_path)
    assert (status, "run `course grade hw1`" in err) == (2, True)


def test_an_unknown_command_is_a_wrong_call(course):
    assert course("grad")[0] == 2


def test_demo_does_not_remove_a_folder_that_is_no_class(course, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="no class folder"):
        cli._remove(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_without_a_sandbox_grading_fails_with_a_sentence(course, tmp_path, monkeypatch):
    (tmp_path / "submitted" / "ada" / "hw1").mkdir(parents=True)
    monkeypatch.setattr("autograder.grading.sandbox.find_bubblewrap", lambda: "/bin/false")
    status, _, err = course("grade", "hw1", "--class", tmp_path)
    assert status == 1
    assert "--no-sandbox" in err
    assert "Traceback" not in err


def test_imports_that_stopped_many_are_told_below_the_class(capsys):
    missing = {"state": "cells failed", "stopped_at": ("import seaborn",)}
    group = ClassResults(Path(), "hw1", (), ())
    cli.print_records("hw1", [Record("hw1", name, **missing) for name in ("ada", "ben")], group)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("2 submissions stopped at `import seaborn` (no module that")
    cli.print_records("hw1", [Record("hw1", "ada", "graded")], group)
    assert "stopped at" not in capsys.readouterr().out


def test_a_gradebook_that_somebody_holds_is_a_sentence(course, tmp_path, monkeypatch):
    at = ("--class", tmp_path)
    assert course("due", "hw1", "2026-10-02T23:59:00+02:00", *at)[0] == 0
    monkeypatch.setattr("autograder.handouts.books.LOCK_SECONDS", 1)
    with contextlib.closing(sqlite3.connect(tmp_path / "gradebook.db")) as holder:
        holder.execute("begin exclusive")
        for words in (("due", "hw1"), ("report", "hw1"), ("draw", "hw3")):
            status, _, err = course(*words, *at)
            assert (status, "The gradebook cannot be used (database is locked)" in err) == (1, True)
    assert course("due", "hw1", *at)[0] == 0


def test_a_full_disk_is_told_with_what_to_do(course, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("autograder.report.pages.write_all", full)
    status, _, err = course("report", "hw1", "--class", tmp_path)
    assert status == 1
    assert "No space left on device. Make room: what is done stays" in " ".join(err.split())
