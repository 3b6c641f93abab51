"""Which modules homework may use: one list, and everything that speaks of it."""

import importlib.metadata
import json
import re

import nbformat
import pytest

from autograder.handouts.bundle import bundle_files
from autograder.student import modules
from autograder.student.modules import (
    MODULES,
    hides_a_module,
    imported,
    in_words,
    is_available,
    mentioned,
    modules_not_there,
    stopped_at,
    why_not,
)


@pytest.fixture(scope="module")
def files(root):
    return bundle_files(root)


def test_every_module_on_the_list_comes_with_a_pinned_package(root):
    pins = re.findall(r"^([\w.-]+)==", (root / "constraints.txt").read_text().lower(), re.M)
    brings = importlib.metadata.packages_distributions()
    for name in MODULES:
        assert brings[name][0].lower() in pins, f"pin what brings {name}"


@pytest.mark.parametrize("homework", ["hw1", "hw2", "hw3"])
def test_homeworks_and_the_students_readme_hold_the_list(files, homework):
    text = files[f"notebooks/homework/{homework}.ipynb"].decode()
    words = "\n".join(
        cell.source
        for cell in nbformat.reads(text, as_version=4).cells
        if cell.cell_type == "markdown"
    )
    assert in_words() in words, "run `course handouts`"
    assert in_words() in files["README.md"].decode()


def test_homeworks_import_only_what_is_on_the_list(files):
    for name, content in files.items():
        if name.startswith("notebooks/homework/"):
            for cell in nbformat.reads(content.decode(), as_version=4).cells:
                if cell.cell_type == "code":
                    assert [m for m in imported(cell.source) if not is_available(m)] == []


def test_a_module_on_the_list_that_is_not_installed_is_told_before_anything(monkeypatch):
    modules.require_installed()
    monkeypatch.setattr(modules, "MODULES", ("torch", "no_such_module"))
    with pytest.raises(ValueError, match=r"import `no_such_module` .*not installed here: run"):
        modules.require_installed()


def test_imports_are_found_wherever_they_stand():
    program = "import a.b as c, d\ndef f():\n    from e.f import g\n    from . import h\n"
    assert imported(program) == {"a", "d", "e"}
    assert imported("import (") == set()
    raw = '"import a.b as c, d\\n",\n"from e.f import g\\n", "x = import_module(\\"h\\")"'
    assert {"a", "d", "e", "h"} <= set(mentioned(raw))
    one_line = json.dumps({"source": "import a\nimport b.c\r\n\tfrom d import e\nx = 'import'"})
    assert {"a", "b", "d"} <= set(mentioned(one_line)) <= {"a", "b", "d", "e"}


@pytest.mark.parametrize(
    ("name", "hides"),
    [
        ("torch.py", True),
        ("torch/__init__.py", True),
        ("course_lib/mdp.py", True),
        ("numpy.cpython-311-x86_64-linux-gnu.so", True),
        ("torch.csv", False),
        ("torch_helpers.py", False),
        ("helpers/torch.py", False),
        ("utils/__init__.py", False),
    ],
)
def test_what_stands_before_a_module_of_the_course(name, hides):
    assert hides_a_module(name) == hides


@pytest.mark.parametrize(
    ("name", "message", "words"),
    [
        ("ModuleNotFoundError", "No module named 'seaborn'", "import seaborn"),
        ("ModuleNotFoundError", "No module named 'a.b'; 'a' is not a package", "import a.b"),
        ("ImportError", "cannot import name 'x' from 'a.b' (/a/b.py)", "from a.b import x"),
        (
            "ImportError",
            "cannot import name 'x' from partially initialized module 'a' (most likely ...)",
            "from a import x",
        ),
        ("ImportError", "libfoo.so: cannot open", ""),
        ("NameError", "No module named 'seaborn'", ""),
        ("ModuleNotFoundError", "No module named '<b>x</b>'", ""),
    ],
)
def test_errors_are_read_as_the_import_that_they_speak_of(name, message, words):
    assert stopped_at(name, message) == words


def test_what_there_is_to_say_of_an_import():
    assert "has no more" in why_not("import autograder.local")
    assert "has no more" in why_not("from course_lib.mdp import x")
    assert "no module that homework may use" in why_not("import seaborn")
    assert why_not("from torch import x") == ""


def test_modules_that_grading_lacks_are_found_through_the_students_own_files(tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "plots.py").write_text("import seaborn\nimport tools.more\n")
    (tmp_path / "helper.py").write_text("import helper, math")
    cells = ["%matplotlib inline\nimport scipy.stats", "import torch", "import helper, tools"]
    assert modules_not_there(cells, tmp_path) == {"scipy": [1], "seaborn": [3]}
