"""A mark depends on the packages that a hand-in imports, and on no others."""

import copy
import platform
import shutil

import nbformat
import pytest

from autograder.demo.made_up_class import make_draft, make_submission
from autograder.grading import environment as environments
from autograder.grading import grade as grading
from autograder.grading.environment import environment, installed, programs_in
from autograder.grading.grade import Plan, grade
from autograder.grading.sandbox import Limits
from autograder.handouts.assignments import release_assignment


def test_it_lists_what_is_imported_and_installed_with_versions(monkeypatch):
    versions = {"Pack": "1.2", "other": "3"}
    monkeypatch.setattr("autograder.grading.environment.version", versions.__getitem__)
    packages = {"pack": ["Pack"], "other": ["other"], "math": ["other"]}
    python = f"Python {platform.python_version()}"
    assert environment(["import pack.sub as p, math"], packages) == [python, "Pack 1.2"]
    assert environment(["x = 'from other places'"], packages) == [python, "other 3"]
    assert environment(["import missing, course_lib"], packages) == [python]


def test_the_packages_of_the_project_are_known_by_their_modules():
    assert "pillow" in [name.lower() for name in installed()["PIL"]]


def test_programs_are_notebooks_and_modules_also_in_folders(tmp_path):
    folder = tmp_path / "ada" / "hw1"
    (folder / "tools").mkdir(parents=True)
    (folder / "hw1.ipynb").write_bytes("import a".encode("utf-16"))
    (folder / "tools" / "t.py").write_text("import b")
    (folder / "data.csv").write_text("import c")
    texts = " ".join(programs_in(folder))
    assert "import a" in texts
    assert "import b" in texts
    assert "import c" not in texts
    (tmp_path / "eve").symlink_to(tmp_path / "ada")
    assert list(programs_in(tmp_path / "eve" / "hw1")) == []


@pytest.fixture
def course(tmp_path):
    """Three hand-ins to hw1: one imports a package, one has a helper that does, one neither."""
    release_assignment(tmp_path, "hw1")
    release = nbformat.read(tmp_path / "release" / "hw1" / "hw1.ipynb", as_version=4)
    for student in ("imports", "helper", "neither"):
        draft = make_draft("hw1", student, copy.deepcopy(release))
        if student == "imports":
            draft.insert("import no_such_module", early=True)
        folder = tmp_path / "submitted" / student / "hw1"
        make_submission("untouched", draft, folder)
        if student == "helper":
            (folder / "tools").mkdir()
            (folder / "tools" / "plots.py").write_text("from no_such_module import plot\n")
    return tmp_path


def test_a_package_that_is_added_or_renewed_regrades_those_who_import_it(
    course, root, sandbox, monkeypatch
):
    have, versions = dict(installed()), {"no-such": "1.0"}
    original = grading.environment.__globals__["version"]
    monkeypatch.setattr(
        "autograder.grading.environment.version", lambda d: versions.get(d) or original(d)
    )
    monkeypatch.setattr("autograder.grading.grade.installed", lambda: have)

    def graded_anew():
        times = {p.stem: p.stat().st_mtime_ns for p in (course / ".course/records/hw1").iterdir()}
        grade(Plan(root, course, "hw1", limits=Limits(cell_seconds=2.0)), sandbox)
        after = {p.stem: p.stat().st_mtime_ns for p in (course / ".course/records/hw1").iterdir()}
        return {student for student in after if after[student] != times.get(student)}

    (course / ".course/records/hw1").mkdir(parents=True)
    assert graded_anew() == {"imports", "helper", "neither"}
    assert graded_anew() == set()
    have["other_module"] = ["no-such"]
    assert graded_anew() == set()
    have["no_such_module"] = ["no-such"]
    assert graded_anew() == {"imports", "helper"}
    versions["no-such"] = "1.1"
    assert graded_anew() == {"imports", "helper"}
    (course / "submitted/helper/hw1/tools/plots.py").write_text("import math\n")
    assert graded_anew() == {"helper"}
    shutil.rmtree(course / "submitted/helper/hw1/tools")
    assert graded_anew() == {"helper"}


def test_what_is_scanned_for_imports_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "MAX_FILE_BYTES", 100)
    monkeypatch.setattr(environments, "MAX_NOTEBOOK", 300)
    monkeypatch.setattr(environments, "MAX_SCANNED", 500)
    sizes = {"a.py": 100, "b.py": 101, "c.ipynb": 300, "d.ipynb": 301, "e.PY": 90, "f.py": 50}
    for name, size in sizes.items():
        (tmp_path / name).write_text("#" * size)
    assert [len(text) for text in programs_in(tmp_path)] == [100, 300, 90]  # no room for f.py
