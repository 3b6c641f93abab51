"""What comes along of the files and folders beside a notebook."""

import base64
import os

import pytest

from autograder.grading import beside
from autograder.grading.beside import files_in, take_along
from autograder.grading.examiner import examine
from autograder.grading.sandbox import Limits
from autograder.questions.check import Check, compile_exam
from autograder.student.command import examine_notebook


def put(folder, name, content="x = 1\n"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_folders_come_along_with_their_names_from_the_notebook(tmp_path):
    put(tmp_path, "helper.py")
    put(tmp_path, "tools/deep/er.py", "y = 2\n")
    put(tmp_path, "data/a.csv")
    files, said = take_along(tmp_path)
    assert sorted(files) == ["data/a.csv", "helper.py", "tools/deep/er.py"]
    assert base64.b64decode(files["tools/deep/er.py"]) == b"y = 2\n"
    assert said == ()


@pytest.mark.parametrize(
    "name",
    [
        "hw1.ipynb",
        "tools/old.ipynb",
        "timestamp.txt",
        ".secret",
        ".git/config",
        "__pycache__/helper.pyc",
        "tools/.ipynb_checkpoints/x.py",
        "a/b/c/d/e/f.py",
    ],
)
def test_other_notebooks_hidden_files_litter_and_depths_stay_without_a_word(tmp_path, name):
    put(tmp_path, name)
    assert take_along(tmp_path) == ({}, ())


def test_no_link_is_followed_and_no_name_leads_out(tmp_path):
    outside = put(tmp_path, "outside/secret.txt").parent
    folder = tmp_path / "hw1"
    put(folder, "tools/own.py")
    (folder / "link").symlink_to(outside)
    (folder / "tools" / "up").symlink_to("..")
    (folder / "tools" / "secret.txt").symlink_to(outside / "secret.txt")
    os.mkfifo(folder / "pipe")
    files, _ = take_along(folder)
    assert list(files) == ["tools/own.py"]
    assert not any(name.startswith("/") or ".." in name.split("/") for name in files)


def test_what_would_stand_before_the_courses_own_modules_is_left_out_and_named(tmp_path):
    for name in ("torch.py", "course_lib/mdp.py", "helper.py", "numbers/torch.py"):
        put(tmp_path, name)
    files, said = take_along(tmp_path)
    assert sorted(files) == ["helper.py", "numbers/torch.py"]
    assert len(said) == 1
    assert "course_lib/mdp.py" in said[0]
    assert "torch.py" in said[0]


def test_number_and_size_are_bounded_and_what_is_left_out_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(beside, "MAX_FILES", 3)
    monkeypatch.setattr(beside, "MAX_BYTES", 50)
    monkeypatch.setattr(beside, "MAX_FILE_BYTES", 30)
    put(tmp_path, "a", "." * 31)
    put(tmp_path, "b", "." * 30)
    put(tmp_path, "c", "." * 30)
    for name in "defghijk":
        put(tmp_path, name, ".")
    files, (said,) = take_along(tmp_path)
    assert list(files) == ["b", "d", "e"]
    assert "a, c, f, g, h and 3 more" in said


def test_of_an_endless_tree_only_the_beginning_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(beside, "MAX_LOOKED_AT", 10)
    for number in range(30):
        put(tmp_path, f"{number:02}.txt")
    assert [name for name, _ in files_in(tmp_path)] == [f"{n:02}.txt" for n in range(10)]


def double(numbers):
    """Twice the numbers."""
    return 2 * numbers


def test_a_package_beside_the_notebook_is_imported_where_it_runs(tmp_path, sandbox):
    import numpy as np

    put(tmp_path, "tools/__init__.py", "")
    put(tmp_path, "tools/parts/twice.py", "from tools import scale\ndef f(x): return scale.by * x")
    put(tmp_path, "tools/scale.py", "by = 2\n")
    check = Check(
        homework="hw0",
        title="double",
        points=2,
        reference=double,
        recipe=recipe,
        public_cases=lambda: [{"numbers": np.array([1.0, 2.0])}],
        hidden_cases=lambda rng: [{"numbers": rng.normal(size=3)}],
        misconceptions=(),
    )
    files, _ = take_along(tmp_path)
    exams = [compile_exam(check, np.random.default_rng(0))]
    cells = ["from tools.parts.twice import f as double\nopen('tools/scale.py').read()"]
    examination = examine(sandbox, cells, exams, Limits(), files)
    assert (examination.state, examination.verdicts[0].outcome) == ("graded", "right")


def recipe(function, case):
    return {"doubled": function(torch.tensor(case["numbers"]))}  # noqa: F821


def test_in_course_check_too_nothing_beside_stands_before_the_course(tmp_path):
    import nbformat

    put(tmp_path, "torch.py", "raise RuntimeError('not the torch you look for')")
    put(tmp_path, "course_lib/__init__.py", "raise RuntimeError('nor this')")
    put(tmp_path, "autograder/__init__.py", "raise RuntimeError('nor that')")
    put(tmp_path, "tools/own.py")
    cells = ["import torch\nfrom course_lib import validate\nfrom tools import own\nkl = 1"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nbformat.write(notebook, tmp_path / "hw2.ipynb")
    report = examine_notebook(tmp_path / "hw2.ipynb")
    assert report.failed_cells == {}
    assert report.hiding == ["autograder", "course_lib", "torch.py"]


@pytest.mark.parametrize(
    "name",
    [
        "cartpole (1).npz",
        "cartpole-2.npz",
        "CartPole.NPZ",
        "agents/cartpole.npz",
        "lovelace_1815_cartpole.npz",
        "Copy of cartpole.npz",
        "cartpole.npz.npz",
    ],
)
def test_a_file_that_is_asked_for_is_found_under_the_name_that_others_gave_it(tmp_path, name):
    put(tmp_path, name, "weights")
    files, said = take_along(tmp_path, asked=["cartpole.npz"])
    assert base64.b64decode(files["cartpole.npz"]) == b"weights"
    assert said == (f"cartpole.npz was handed in as {name}.",)


@pytest.mark.parametrize("name", ["mycartpole.npz", "cartpole.npy", "cartpoles.npz", "pole.npz"])
def test_another_file_is_not_taken_for_it(tmp_path, name):
    put(tmp_path, name)
    files, said = take_along(tmp_path, asked=["cartpole.npz"])
    assert (list(files), said) == ([name], ())


def test_its_own_name_counts_before_any_other_and_of_others_the_newest(tmp_path):
    for age, name in enumerate(["cartpole-1.npz", "cartpole-2.npz", "old/cartpole.npz"]):
        os.utime(put(tmp_path, name, name), (10_000 - age, 10_000 - age))
    os.utime(tmp_path / "cartpole-2.npz", (20_000, 20_000))
    files, _ = take_along(tmp_path, asked=["cartpole.npz"])
    # Its name differs by nothing, only its folder does.
    assert base64.b64decode(files["cartpole.npz"]) == b"old/cartpole.npz"
    put(tmp_path, "cartpole.npz", "own")
    files, said = take_along(tmp_path, asked=["cartpole.npz"])
    assert base64.b64decode(files["cartpole.npz"]) == b"own"
    assert said == ()


def test_a_file_beside_the_zip_with_the_notebook_is_found_too(tmp_path):
    folder, around = tmp_path / "unzipped", tmp_path / "handed in"
    put(folder, "notes.txt")
    put(around, "cartpole-1.npz", "weights")
    put(around, "hw2/cartpole.npz", "another homework's")
    files, said = take_along(folder, asked=["cartpole.npz"], also=[around])
    assert base64.b64decode(files["cartpole.npz"]) == b"weights"
    assert sorted(files) == ["cartpole.npz", "notes.txt"]
    assert said == ("cartpole.npz was handed in as cartpole-1.npz.",)
