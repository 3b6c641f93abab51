"""What the project promises about itself: pins, imports, words."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from autograder.handouts.bundle import bundle_files


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def direct(project):
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return [line for line in lines if not line.startswith(project["name"])]


def tracked(root):
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [root / name for name in names if (root / name).is_file()]


def test_conda_environment_installs_the_project_with_its_pins_and_all_extras(root, project):
    environment = yaml.safe_load((root / "environment.yml").read_text())
    (pip,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    assert pip == ["--constraint constraints.txt", "--editable .[dev,mujoco,bench]"]
    extras = project["optional-dependencies"]
    named = re.compile(rf"{project['name']}\[(\w+)\]")
    reached, todo = set(), ["dev", "mujoco", "bench"]
    while todo:
        extra = todo.pop()
        reached.add(extra)
        todo += [name for line in extras[extra] for name in named.findall(line)]
    assert reached == set(extras)


def test_every_direct_dependency_is_pinned_as_in_the_constraints(root, project):
    lines = (root / "constraints.txt").read_text().lower().split()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    for line in direct(project):
        pin, _, _ = line.partition(";")
        assert pin.strip() in lines, f"{pin} is not in constraints.txt"


def test_students_install_neither_nbgrader_nor_what_grading_needs(root):
    text = bundle_files(root)["pyproject.toml"].decode()
    assert not re.search(r"nbgrader|jupytext|dask|bubblewrap|pytest|ruff|mypy", text)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


# The rooms of autograder, from the ground up: each imports from those below it alone.
FLOORS = (
    {"project", "student"},
    {"percent"},
    {"questions"},
    {"handouts", "demo"},
    {"grading"},
    {"report"},
    {"cli"},
)
# What a student's process and folder may hold of the project.
STUDENT = ("course_lib", "autograder.student")


def test_imports_run_one_way(root):
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for path in (root / "course_lib").rglob("*.py"):
        private = "reference" in path.parts
        for name in imports(path):
            assert not name.startswith("autograder"), f"{path} imports {name}"
            assert private or not name.startswith("course_lib.reference"), f"{path}: {name}"
    seen = set()
    for path in (root / "autograder").rglob("*.py"):
        room = path.relative_to(root / "autograder").parts[0].removesuffix(".py")
        for name in [name for name in imports(path) if name.startswith("autograder.")]:
            other = name.split(".")[1]
            seen.add(room)
            assert other == room or floor[other] < floor[room], f"{path} imports {name}"
    assert seen <= set(floor)


def test_what_students_have_is_a_folder(root):
    for path in (root / "autograder" / "student").rglob("*.py"):
        ours = [
            name for name in imports(path) if name.split(".")[0] in ("autograder", "course_lib")
        ]
        assert not [name for name in ours if not name.startswith(STUDENT)], path
    for name in bundle_files(root):
        assert name.startswith(("course_lib/", "autograder/student/", "notebooks/")) or name in (
            "autograder/__init__.py", "pyproject.toml", "constraints.txt", "README.md"
        )  # fmt: skip
        assert not name.startswith("course_lib/reference/")


def test_importing_course_lib_does_nothing():
    code = (
        "import sys, course_lib; "
        "print([m for m in ('torch', 'gymnasium', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert done.stderr == ""


def test_no_file_holds_an_address_of_a_registry_or_a_path_of_a_machine(root):
    address = re.compile(r"https?://[^\s\"]*/(simple|packages|pool)/|(pypi|pythonhosted)\.org/")
    path = re.compile(r"(^|[^\w./~])/(work|farm|root|home/[a-z]+)/")
    for file in tracked(root):
        if file.suffix in (".png", ".zip", ".db") or file.name == "test_project.py":
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        assert not address.search(text), f"{file} holds {address.search(text)}"
        assert not path.search(text), f"{file} holds {path.search(text)}"
