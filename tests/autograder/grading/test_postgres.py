"""A PostgreSQL server as the gradebook: several graders and markers at once, from an empty one.

The server is Debian's, in a folder of its own, run by an ordinary user and reached by a socket.
"""

import copy
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from autograder.demo.made_up_class import make_draft, make_submission
from autograder.grading import grade as grading
from autograder.grading.examiner import examine
from autograder.grading.grade import Plan, grade
from autograder.grading.record import load_all
from autograder.handouts import books
from autograder.handouts.assignments import release_assignment, settings
from autograder.report.results import class_results

pytest.importorskip("psycopg")


def program(name):
    found = [shutil.which(name), *sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))[-1:]]
    return next((str(one) for one in found if one), None)


@pytest.fixture(scope="module")
def server():
    """The address of an empty database of a server that is gone afterwards."""
    if not program("initdb"):
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="course-postgres-", dir="/tmp"))
    as_user = {}
    if os.getuid() == 0:  # it refuses to run as root
        user = pwd.getpwnam("nobody")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data = folder / "data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **as_user}
    make = [program("initdb"), "-D", data, "-U", "ta", "-A", "trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(make, check=True, **quiet)
    run = [program("postgres"), "-D", data, "-k", folder, "-c", "listen_addresses=", "-F"]
    with subprocess.Popen(run, **quiet) as running:
        try:
            ready = [program("pg_isready"), "-h", folder, "-U", "ta"]
            deadline = time.monotonic() + 30
            while subprocess.run(ready, **quiet, check=False).returncode:
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.1)
            yield f"postgresql://ta@/postgres?host={folder}"
        finally:
            running.terminate()
            running.wait()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty(server):
    """The address of a database with nothing in it."""
    from sqlalchemy import create_engine, text

    name = f"class_{time.monotonic_ns()}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"create database {name}"))
    engine.dispose()
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def course(empty, tmp_path, monkeypatch):
    """A class folder whose gradebook is on the server."""
    monkeypatch.setenv("COURSE_GRADEBOOK", empty)
    monkeypatch.setenv("COURSE_CLASS", str(tmp_path))
    return tmp_path


def test_the_settings_are_for_their_own_folder_alone(course, root, empty):
    config = settings(root)
    assert books.gradebook_url(course, config) == empty
    assert books.gradebook_url(course / "another", config).startswith("sqlite:///")
    assert books.gradebook_path(course, config) is None


def test_a_password_is_not_shown(root, tmp_path):
    config = settings(root)
    config.CourseDirectory.root = str(tmp_path)
    config.CourseDirectory.db_url = "postgresql://ta:secret@db/course"
    assert books.shown(tmp_path, config) == "postgresql://ta:***@db/course"
    assert "secret" in books.patient_url(tmp_path, config)


def test_three_open_an_empty_database_at_once(empty, root):
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from autograder.handouts.assignments import settings\n"
        "from autograder.handouts.books import open_gradebook\n"
        "config = settings()\nconfig.CourseDirectory.db_url = sys.argv[1]\n"
        "config.CourseDirectory.root = ''\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "with open_gradebook(Path('/nowhere'), config) as book:\n"
        "    book.update_or_create_assignment('hw1')\n"
    )
    three = [
        subprocess.Popen(
            [sys.executable, "-c", program, empty],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for one in three:
        one.stdout.readline()
    for one in three:
        one.stdin.write("\n")
        one.stdin.flush()
    ends = [(one.communicate()[1], one.returncode) for one in three]
    with Gradebook(empty, "policy-gradient-course") as book:
        assert [assignment.name for assignment in book.assignments] == ["hw1"]
        from sqlalchemy import text

        assert len(list(book.db.execute(text("select * from alembic_version")))) == 1
    # One of them may find that another made the homework; nobody may fail over tables.
    assert all(code == 0 or "assignment" in said for said, code in ends), ends


def test_a_class_is_graded_marked_by_hand_and_graded_again(course, root, sandbox):
    release_assignment(course, "hw1")
    release = nbformat.read(course / "release" / "hw1" / "hw1.ipynb", as_version=4)
    for student, kind in (("ada", "right"), ("bob", "mistaken"), ("Zoë ☃", "right")):
        draft = make_draft("hw1", student, copy.deepcopy(release), [], None)
        make_submission(kind, draft, course / "submitted" / student / "hw1")
    grade(Plan(root, course, "hw1"), sandbox)
    assert not (course / "gradebook.db").exists()
    with books.open_gradebook(course, settings(root)) as book:
        mark = book.find_grade("returns_to_go", "hw1", "hw1", "bob")
        mark.manual_score = 1.5
        book.db.commit()
    grade(Plan(root, course, "hw1", again=True), sandbox)
    results = {one.student: one for one in class_results(course, "hw1").students}
    assert set(results) == {"ada", "bob", "Zoë ☃"}
    marks = {mark.question.name: mark for mark in results["bob"].marks}
    assert (marks["returns_to_go"].score, marks["returns_to_go"].by_hand) == (1.5, True)
    assert results["ada"].coded_points == results["Zoë ☃"].coded_points > 0


def test_who_marks_while_another_grades_loses_nothing(course, root, sandbox, monkeypatch):
    """A row that a marker holds is waited for, and both changes are there afterwards."""
    release_assignment(course, "hw1")
    released = course / "release" / "hw1" / "hw1.ipynb"
    for student in ("ada", "bob"):
        folder = course / "submitted" / student / "hw1"
        folder.mkdir(parents=True)
        shutil.copy(released, folder)
    monkeypatch.setattr(
        grading, "examine", lambda s, cells, *a, **k: examine(s, [None] * len(cells), *a, **k)
    )
    grade(Plan(root, course, "hw1"), sandbox)
    hold = (
        "import sys, time\nfrom nbgrader.api import Gradebook\n"
        "book = Gradebook(sys.argv[1], 'policy-gradient-course')\n"
        "mark = book.find_grade('returns_to_go', 'hw1', 'hw1', 'bob')\n"
        "mark.manual_score = 2.5\nbook.db.flush()\nprint('held', flush=True)\n"
        "time.sleep(3)\nbook.db.commit()\n"
    )
    url = os.environ["COURSE_GRADEBOOK"]
    with subprocess.Popen(
        [sys.executable, "-c", hold, url], stdout=subprocess.PIPE, text=True
    ) as marker:
        marker.stdout.readline()
        grade(Plan(root, course, "hw1", again=True), sandbox)
    assert [record.state for record in load_all(course, "hw1")] == ["graded", "graded"]
    with books.open_gradebook(course, settings(root)) as book:
        assert book.find_grade("returns_to_go", "hw1", "hw1", "bob").manual_score == 2.5


def test_a_server_that_is_not_there_is_told_in_a_sentence(root, tmp_path):
    config = settings(root)
    config.CourseDirectory.root = str(tmp_path)
    config.CourseDirectory.db_url = f"postgresql://ta@/course?host={tmp_path}"
    with pytest.raises(OSError, match=r"The gradebook cannot be used \(.*\): is it in use"):
        books.open_gradebook(tmp_path, config)
