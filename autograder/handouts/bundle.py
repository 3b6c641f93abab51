"""The student bundle: a zip of what students may have, by allowlist, the same bytes every time."""

from __future__ import annotations

import io
import json
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autograder.project import LITTER, ROOT, replace
from autograder.student.modules import in_words

NAME = "policy-gradient-course"
ZIP = f"{NAME}-students.zip"
# What students may have, by folder: the trust boundary.
STUDENT = ("course_lib/", "autograder/student/", "notebooks/lectures/", "notebooks/homework/")
PRIVATE = "course_lib/reference/"
SUFFIXES = (".py", ".json", ".ipynb")
ALONE = ("autograder/__init__.py", "pyproject.toml", "constraints.txt", "README.md")
# Folders whose files are built: what `built` brings stands for all of them.
BUILT = ("autograder/student/public/", "notebooks/lectures/", "notebooks/homework/")

README = """\
# Policy gradients: lectures and homework

You need Python {python} and about 2 GB of disk. In this folder:

| | Linux, macOS | Windows |
|---|---|---|
| 1 | `python3 -m venv .venv` | `py -m venv .venv` |
| 2 | `.venv/bin/pip install -c constraints.txt -e .` | \
`.venv\\Scripts\\pip install -c constraints.txt -e .` |

On Linux, step 2 may take a torch with CUDA, which is several GB more. The one for the CPU is
enough: <https://pytorch.org/get-started> has the command (Linux, Pip, CPU). Run it between the two
steps, with `.venv/bin/pip` for `pip3` and `torch=={torch}` for `torch torchvision`.

Then open the lectures and the homework:

| Linux, macOS | Windows |
|---|---|
| `.venv/bin/jupyter lab notebooks` | `.venv\\Scripts\\jupyter lab notebooks` |

In VS Code, open this folder and choose `.venv` as the kernel. In **Colab**, upload the notebook
and, behind the folder icon on the left, the zip that this file came in. Then make this the first
cell; it keeps Colab's own torch and NumPy, and does nothing elsewhere, so it may stay when you hand
the notebook in:

```python
import sys, zipfile
if "google.colab" in sys.modules:
    zipfile.ZipFile("{zip}").extractall()
    sys.path.insert(0, "/content/{folder}")
    %pip install --quiet gymnasium=={gymnasium}
```

What you train is written beside the notebook, in Colab into `/content`: download it from there.

Homework: write your code where `YOUR CODE HERE` stands and run the cell under it. It says whether
the answer is right and, for many mistakes, which one it is. To check a whole notebook before you
hand it in:

| Linux, macOS | Windows |
|---|---|
| `.venv/bin/course check notebooks/homework/{first}` | \
`.venv\\Scripts\\course check notebooks\\homework\\{first}` |

Beside Python's own modules and the course's, homework may use {modules}: those are there when it is
graded, others are not. A module or data of your own may lie beside the notebook, also in a folder,
if you hand it in too.

Hand in the notebook with its name unchanged. Leave the locked cells as they are: they are put back
before grading, and your answers are tried on other numbers than the ones you see here.
"""


def is_allowed(name: str) -> bool:
    """Whether a file of this name, relative to the root, may be in the bundle."""
    if name.startswith(PRIVATE) or {"..", *LITTER} & {*name.split("/")}:
        return False
    return name in ALONE or (name.startswith(STUDENT) and name.endswith(SUFFIXES))


def bundle_files(root: Path = ROOT, built: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """The bundle's files by name. `built` stands for the built ones on disk, if given."""
    paths = [root / ALONE[0], *(path for folder in STUDENT for path in root.glob(f"{folder}**/*"))]
    found = {path.relative_to(root).as_posix(): path for path in paths if path.is_file()}
    skipped = BUILT if built is not None else ()
    files = {
        name: path.read_bytes()
        for name, path in found.items()
        if is_allowed(name) and not name.startswith(skipped)
    }
    files |= {name: text for name, text in (built or {}).items() if name.startswith(BUILT)}
    files["constraints.txt"] = (root / "constraints.txt").read_bytes()
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    files["pyproject.toml"] = student_project(project).encode()
    homeworks = sorted(n.rpartition("/")[2] for n in files if n.startswith("notebooks/homework/"))
    python = project["requires-python"].removeprefix(">=") + " or later"
    pins = dict(line.split("==", 1) for line in project["dependencies"] if "==" in line)
    files["README.md"] = README.format(
        python=python,
        first=[*homeworks, "hw1.ipynb"][0],
        modules=in_words(),
        folder=NAME,
        zip=ZIP,
        torch=pins.get("torch", ""),
        gymnasium=pins.get("gymnasium", ""),
    ).encode()
    return {name: files[name].replace(b"\r\n", b"\n") for name in sorted(files) if is_allowed(name)}


def copy_packages(root: Path, target: Path) -> None:
    """Put the bundle's two packages into a folder: what students have is what they are graded with.

    Nothing is built and nothing is searched; this is for the sandbox.
    """
    for name, content in bundle_files(root).items():
        if name.startswith(("course_lib/", "autograder/")):
            replace(target / name, content)


def build_bundle(root: Path, target: Path, built: Mapping[str, bytes] | None = None) -> Path:
    """Write the bundle. Raises HandoutError, and writes nothing, if an answer is in it."""
    from autograder.handouts.leaks import require_no_leaks, secrets
    from autograder.questions import homeworks

    files = bundle_files(root, built)
    all_checks = [check for checks in homeworks(root).values() for check in checks]
    require_no_leaks(files, secrets(root, all_checks))
    replace(target, zip_bytes(files))
    return target


def zip_bytes(files: Mapping[str, bytes]) -> bytes:
    """A zip with one folder in it: sorted, of one date, readable by all."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{NAME}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def student_project(project: Mapping[str, Any]) -> str:
    """A pyproject.toml with what a student needs, pinned as in the project's own."""
    wanted: Iterable[str] = [*project["dependencies"], *project["optional-dependencies"]["student"]]
    dependencies = "".join(f"    {json.dumps(line)},\n" for line in wanted)
    return f"""\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{NAME}"
version = {json.dumps(project["version"])}
description = "Lectures, homework and local checks of the course."
requires-python = {json.dumps(project["requires-python"])}
dependencies = [
{dependencies}]

[project.scripts]
course = "autograder.student.command:main"

[tool.setuptools.packages.find]
include = ["course_lib*", "autograder*"]

[tool.setuptools.package-data]
"autograder.student" = ["public/*.json"]
course_lib = ["data/*.json"]
"""
