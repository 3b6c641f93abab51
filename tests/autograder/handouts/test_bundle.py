"""The student bundle: what is in it, that no answer is, and that it works with nothing else."""

import ast
import inspect
import io
import json
import subprocess
import sys
import sysconfig
import textwrap
import tomllib
import zipfile

import nbformat
import pytest

from autograder.handouts import bundle
from autograder.handouts.leaks import find_leaks, is_stub, normalised, secrets
from autograder.questions import homeworks

HOMEWORKS = homeworks()

CHECKS = [check for checks in HOMEWORKS.values() for check in checks]
ANSWERS = [check.name for check in CHECKS]


@pytest.fixture(scope="module")
def private(root):
    return secrets(root, CHECKS)


@pytest.fixture(scope="module")
def files(root):
    return bundle.bundle_files(root)


@pytest.fixture(scope="module")
def unpacked(root, tmp_path_factory):
    """The bundle as a student has it."""
    folder = tmp_path_factory.mktemp("student")
    path = bundle.build_bundle(root, folder / "bundle.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder / bundle.NAME


# What is in it.


def test_bundle_holds_what_a_student_needs(files):
    assert {
        "pyproject.toml",
        "constraints.txt",
        "README.md",
        "autograder/student/command.py",
    } <= set(files)
    for homework in HOMEWORKS:
        assert f"notebooks/homework/{homework}.ipynb" in files
        assert f"autograder/student/public/{homework}.json" in files
    assert any(name.startswith("notebooks/lectures/") for name in files)


@pytest.mark.parametrize(
    "name",
    [
        "course_lib/reference/answers/returns_to_go.py",
        "course_lib/reference/__init__.py",
        "autograder/questions/hw2/kl.py",
        "autograder/questions/check.py",
        "autograder/grading/grade.py",
        "autograder/handouts/sources.py",
        "notebooks/src/homework/hw1.py",
        "notebooks/src/lectures/02_policy_gradient.py",
        "tests/conftest.py",
        "autograder/student/public/secret.key",
        "class/.course/secret",
        "nbgrader_config.py",
        "course_lib/../autograder/questions/hw2/kl.py",
    ],
)
def test_private_files_are_not_allowed(name):
    assert not bundle.is_allowed(name)


def test_bundle_is_the_same_bytes_each_time(files):
    first = bundle.zip_bytes(files)
    assert first == bundle.zip_bytes(dict(reversed(files.items())))
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert [e.filename for e in archive.infolist()] == sorted(archive.namelist())
        assert {e.date_time for e in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {e.external_attr >> 16 for e in archive.infolist()} == {0o100644}


def test_windows_line_ends_in_a_checkout_change_nothing(root, files, tmp_path):
    for name in [*files, "pyproject.toml"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (root / name).read_bytes() if (root / name).exists() else files[name]
        path.write_bytes(text.replace(b"\n", b"\r\n"))
    assert bundle.bundle_files(tmp_path) == files


def test_student_project_has_the_same_pins_and_no_staff_extras(root, files):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    student = tomllib.loads(files["pyproject.toml"].decode())["project"]
    extras = project["optional-dependencies"]
    assert student["dependencies"] == project["dependencies"] + extras["student"]
    assert student["requires-python"] == project["requires-python"]
    assert student["scripts"] == {"course": "autograder.student.command:main"}
    assert "optional-dependencies" not in student


# No answer is in it.


def test_no_answer_is_in_the_bundle(files, private):
    assert private.names >= set(ANSWERS)
    assert len(private.code) > 50
    assert private.texts
    assert find_leaks(files, private) == []


def test_every_homework_cell_for_an_answer_is_a_stub(files):
    for homework, checks in HOMEWORKS.items():
        text = files[f"notebooks/homework/{homework}.ipynb"].decode()
        cells = [
            cell
            for cell in nbformat.reads(text, as_version=4).cells
            if cell.metadata.get("nbgrader", {}).get("solution")
        ]
        code = [ast.parse(cell.source).body for cell in cells if cell.cell_type == "code"]
        names = [check.name for check in checks]  # beside them programs, which no check asks for
        assert [body[0].name for body in code if body[0].name in names] == names
        assert all(len(body) == 1 and is_stub(body[0]) for body in code)
        words = [cell.source for cell in cells if cell.cell_type == "markdown"]
        assert words
        assert set(words) == {"YOUR ANSWER HERE"}


def with_cell(files, source, name="notebooks/homework/hw1.ipynb"):
    """That notebook alone, with one cell more."""
    notebook = nbformat.reads(files[name].decode(), as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(source))
    return {name: nbformat.writes(notebook).encode()}


RENAMED = '''
from torch import zeros_like, stack

def helper(r: "Tensor", g: float = 0.9):
    """Something else altogether."""
    if g > 1:
        raise ValueError("no")
    parts: list = []
    acc = torch.zeros_like(r[0])
    for x in r.flip(0):
        acc = x + g * acc
        parts.append(acc)
    return torch.stack(parts).flip(0)
'''
INLINE = """
import torch
a, b, c = torch.ones(3, 4)
print("before")
q = torch.exp(a - b.detach())
weighted = q * c.detach()
objective = weighted.mean()
print(objective)
"""


def test_a_renamed_answer_is_found(files, private):
    for planted in (
        {"course_lib/helpers.py": b"import torch\n" + RENAMED.encode()},
        with_cell(files, RENAMED),
        with_cell(files, "if True:\n" + textwrap.indent(RENAMED, "    ")),
    ):
        found = find_leaks(planted, private)
        assert any("holds returns_to_go of course_lib/reference" in leak for leak in found)


def test_an_answer_inside_a_longer_cell_is_found(files, private):
    found = find_leaks(with_cell(files, INLINE), private)
    assert any("holds surrogate of course_lib/reference" in leak for leak in found)


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_would_be_found(root, private, name):
    """Each reference function, moved into the library under another name."""
    for path in root.glob("course_lib/reference/answers/*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                node.name = "innocent"
                planted = {"course_lib/innocent.py": ast.unparse(node).encode()}
                found = find_leaks(planted, private)
                assert any(leak.startswith("course_lib/innocent.py holds ") for leak in found)
                return
    pytest.fail(f"{name} is not in course_lib/reference/answers")


def test_the_table_of_an_answer_is_found_alone(root, private):
    tree = ast.parse((root / "course_lib/reference/answers/culprit.py").read_text())
    [table] = (node for node in ast.walk(tree) if isinstance(node, ast.Dict))
    planted = {"course_lib/innocent.py": f"SOLVED = {ast.unparse(table)}".encode()}
    assert any(
        "holds a table of course_lib/reference" in one for one in find_leaks(planted, private)
    )


@pytest.mark.parametrize(
    "body",
    [
        "return (torch.exp(new - old.detach()) * gains.detach()).mean()",
        "q = torch.exp(new - old.detach())\n    r = (q * gains.detach()).mean()\n    return r",
    ],
)
def test_an_answer_with_other_steps_named_is_found(private, body):
    text = f"def innocent(new, old, gains):\n    {body}\n"
    found = find_leaks({"course_lib/a.py": text.encode()}, private)
    assert any("holds surrogate of course_lib" in leak for leak in found)


def test_mistakes_and_hidden_cases_are_found(private):
    check = HOMEWORKS["hw1"][0]
    known = {mistake.name: mistake.source for mistake in check.misconceptions}
    for text, where in (
        (known["sums past rewards"], "holds returns_to_go of the mistake 'sums past rewards'"),
        (inspect.getsource(check.hidden_cases), "hidden_cases of autograder"),
    ):
        planted = {"course_lib/more.py": text.encode()}
        assert any(where in leak for leak in find_leaks(planted, private))


def test_an_answer_under_its_own_name_is_found_and_a_stub_is_not(private):
    def found(body):
        text = f'def gae(rewards):\n    """Doc."""\n    {body}\n'
        return find_leaks({"course_lib/a.py": text.encode()}, private)

    assert found('raise NotImplementedError("gae: your code here")') == []
    leak = "course_lib/a.py defines gae, which students are to write or not to see"
    assert found("return 1") == [leak]
    assert found('raise NotImplementedError("it is a sum over delta")') == [leak]


def test_other_leaks_are_found(files, private):
    line = max(private.texts, key=len)
    lecture = next(name for name in files if name.startswith("notebooks/lectures/"))
    ran = json.loads(files[lecture])
    cell = next(cell for cell in ran["cells"] if cell["cell_type"] == "code")
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "42"}]
    plants = {
        "solution or mark-scheme marks": ("course_lib/a.py", b"# ### BEGIN SOLUTION\n"),
        private.texts[line]: ("course_lib/a.py", f"# {line.replace(' ', '  ', 1)}\n".encode()),
        "imports course_lib.reference": ("course_lib/a.py", b"from course_lib import reference\n"),
        "imports autograder.questions": (
            "autograder/student/command.py",
            b"import autograder.questions.hw2.kl\n",
        ),
        "imports autograder.questions.check (": (
            "autograder/student/command.py",
            b"import autograder.questions.check\n",
        ),
        "names 'course_lib.reference'": ("course_lib/a.py", b"x = 'course_lib.reference'\n"),
        "imports fcntl": ("autograder/student/probe.py", b"import fcntl\n"),
        "uses os.fork": ("autograder/student/probe.py", b"import os\nos.fork()\n"),
        "cannot be read as Python": ("course_lib/a.py", b"def f(:\n"),
        "has outputs": (lecture, json.dumps(ran).encode()),
    }
    for words, (name, content) in plants.items():
        assert any(words in leak for leak in find_leaks({name: content}, private)), words


def test_an_unfinished_release_is_found(files, private):
    name = "notebooks/homework/hw1.ipynb"
    for kind, words in (("markdown", "has an answer in cell"), ("code", "has no stub in cell")):
        notebook = nbformat.reads(files[name].decode(), as_version=4)
        cell = next(
            cell
            for cell in notebook.cells
            if cell.metadata.get("nbgrader", {}).get("solution") and cell.cell_type == kind
        )
        cell.source = cell.source.replace("raise NotImplementedError", "return 1  #") + " 7"
        planted = {name: nbformat.writes(notebook).encode()}
        assert any(words in leak for leak in find_leaks(planted, private))


def test_normal_form_forgets_names_and_keeps_what_is_done():
    def form(text):
        return normalised(ast.parse(text).body)

    assert form("a = x + y\nb = a.sum()") == form("'doc'\nassert x\nq: int = u + v\nq.sum()")
    assert form("a = x + y\nb = a.sum()") != form("a = x + y\nb = x.sum()")
    assert form("a = x + y\nb = a.sum()") != form("a = x - y\nb = a.sum()")
    assert form("a = x + y\nb = a.sum()") != form("a = x + y\nb = a.mean()")


def test_a_leaking_bundle_is_not_written(root, files, tmp_path):
    planted = files | with_cell(files, RENAMED)
    built = {name: text for name, text in planted.items() if name.startswith(bundle.BUILT)}
    target = tmp_path / "bundle.zip"
    target.write_bytes(b"the last good one")
    with pytest.raises(ValueError, match="give something away:\n  notebooks/homework/hw1"):
        bundle.build_bundle(root, target, built)
    assert target.read_bytes() == b"the last good one"


# It works with nothing else.


def alone(unpacked, program):
    """Run a program that sees the bundle and the installed packages, and not the repository."""
    start = (
        f"import sys\nsys.path.insert(0, {str(unpacked)!r})\n"
        f"sys.path.append({sysconfig.get_path('purelib')!r})\n"
    )
    # Without `site`, the editable install's hook to the repository is not read.
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + program],
        cwd=unpacked,
        env={"PATH": "", "MPLBACKEND": "agg", "HOME": str(unpacked), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_bundle_imports_and_has_nothing_private(unpacked):
    done = alone(
        unpacked,
        """
import importlib, pkgutil
import autograder, course_lib
for package in (autograder, course_lib):
    assert package.__path__[0].startswith(sys.path[0]), package
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
        print(module.name)
for name in ("course_lib.reference", "autograder.questions", "autograder.questions.check"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        print("no", name)
""",
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")
    assert "autograder.student.command" in lines
    assert "course_lib.mdp" in lines
    assert [line for line in lines if line.startswith("no ")] == [
        "no course_lib.reference",
        "no autograder.questions",
        "no autograder.questions.check",
    ]


RUN = """
import json
from pathlib import Path
from autograder.student import probe
probe.seed_everything()
shell = probe.make_shell()
errors = []
for number, cell in enumerate(json.loads(Path(sys.argv[1]).read_text())["cells"], 1):
    if cell["cell_type"] == "code":
        outputs = probe.run_cell(shell, "".join(cell["source"]), 0)
        errors += [(number, o["evalue"]) for o in outputs if o["output_type"] == "error"]
print(json.dumps(errors), file=sys.__stdout__)
"""


def errors_of(unpacked, notebook):
    program = RUN.replace("sys.argv[1]", repr(str(notebook)))
    done = alone(unpacked, program)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().split("\n")[-1])


@pytest.mark.slow  # tests/notebooks runs them with the answers out of reach
def test_lectures_run_top_to_bottom_in_the_bundle(unpacked):
    lectures = sorted((unpacked / "notebooks" / "lectures").glob("*.ipynb"))
    assert lectures
    for lecture in lectures:
        assert errors_of(unpacked, lecture) == []


@pytest.mark.parametrize("homework", list(HOMEWORKS))
def test_an_untouched_homework_says_what_is_not_written(unpacked, homework):
    """Only cells that use an answer fail, and each says which one is missing."""
    path = unpacked / "notebooks" / "homework" / f"{homework}.ipynb"
    errors = errors_of(unpacked, path)
    names = [check.name for check in HOMEWORKS[homework]]
    assert len(errors) >= len(names)
    for number, message in errors:
        assert any(name in message for name in (*names, "train: your")), (number, message)
