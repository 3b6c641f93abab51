"""The questions of every homework, a file each, found by its folder. Private: cases, mistakes.

What is asked, in which order and for how many points stands in the homework's source; how it is
judged stands in `autograder/questions/<homework>/<name>.py`, and what is right in
`course_lib/reference/answers/<name>.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from autograder.percent import HOMEWORK_KEYS, Cell, read_cells
from autograder.project import ROOT, HandoutError
from autograder.questions.check import Check
from course_lib.term import term_of

FOLDER = Path("autograder") / "questions"
SOURCES = Path("notebooks") / "src" / "homework"
ANSWERS = "course_lib/reference/answers"
PROVEN = "autograder/questions/proven.json"
TERM = Path("course_lib") / "term.json"


def homeworks(root: Path = ROOT) -> dict[str, tuple[Check, ...]]:
    """The checks of every homework, in the order in which its source asks for them.

    Raises HandoutError, with file and what to do, if a question file is not asked for or cannot be
    loaded, if a question has no file, answer or points, or if two questions have one name.
    """
    found = {path.stem: _checks(root, path) for path in sorted((root / SOURCES).glob("*.py"))}
    first: dict[str, str] = {}
    for homework, checks in found.items():
        for check in checks:
            if check.name in first:
                raise HandoutError(
                    f"{first[check.name]} and {homework} both ask for {check.name}: functions are "
                    "known by their names, so rename one"
                )
            first[check.name] = homework
    for folder in sorted(path for path in (root / FOLDER).glob("*") if path.is_dir()):
        if folder.name not in found and any(_question_files(folder)):
            raise HandoutError(
                f"{FOLDER.as_posix()}/{folder.name} has questions, and there is no homework "
                f"{SOURCES.as_posix()}/{folder.name}.py: write it, or remove the folder"
            )
    return found


def checks_of(homework: str, root: Path = ROOT) -> tuple[Check, ...]:
    """The checks of a homework, in order. Raises ValueError naming what there is."""
    found = homeworks(root)
    if homework not in found:
        raise ValueError(f"there is no homework {homework!r}: there are {', '.join(found)}")
    return found[homework]


def _checks(root: Path, source: Path) -> tuple[Check, ...]:
    """The checks that a homework's source asks for."""
    homework, checks = source.stem, []
    term, proven = term_of(root / TERM), proofs(root)
    for cell in read_cells(source, HOMEWORK_KEYS):
        if name := cell.metadata.get("check"):
            if not (root / _file(homework, name)).is_file():
                raise cell.error(
                    f"there is no file {_file(homework, name)}: write it, or take this cell out "
                    f"and call `course new question {homework} {name}`, which writes both"
                )
            check = _load(homework, name)
            draw = int(proven[name]["draw"]) if term and name in proven else 0
            found = replace(check, homework=homework, points=_points(cell), term=term, draw=draw)
            checks.append(found)
    asked = {check.name for check in checks}
    for name in _question_files(root / FOLDER / homework):
        if name not in asked:
            raise HandoutError(
                f"{_file(homework, name)} is not asked for in {SOURCES.as_posix()}/{source.name}: "
                f'add the cells `# %% answer="{name}"` and `# %% check="{name}" points=3` there, '
                "or remove the file"
            )
    return tuple(checks)


def proofs(root: Path = ROOT) -> dict[str, dict[str, Any]]:
    """What is kept of each proven check: key, and which draw of a term's cases was proven."""
    try:
        kept = json.loads((root / PROVEN).read_text(encoding="utf-8"))
        return {name: {"key": one["key"], "draw": int(one["draw"])} for name, one in kept.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # none yet, or a merge
        return {}


def _file(homework: str, name: str) -> str:
    return f"{FOLDER.as_posix()}/{homework}/{name}.py"


def _question_files(folder: Path) -> Iterator[str]:
    files = sorted(folder.glob("*.py"))
    return (path.stem for path in files if not path.stem.startswith("_"))


@cache
def _load(homework: str, name: str) -> Check:
    """The check of a question's file."""
    file = _file(homework, name)
    try:
        module = import_module(f"autograder.questions.{homework}.{name}")
    except Exception as error:
        if isinstance(error, ImportError) and error.name == f"course_lib.reference.answers.{name}":
            raise HandoutError(
                f"{file}: there is no function {name} in {ANSWERS}/{name}.py: write the right "
                "answer there"
            ) from error
        raise HandoutError(f"{file}: {type(error).__name__}: {error}") from error
    check = getattr(module, "CHECK", None)
    if not isinstance(check, Check):
        raise HandoutError(f"{file}: it makes no CHECK: end it with `CHECK = Check(...)`")
    if check.name != name:
        raise HandoutError(
            f"{file}: its reference is {check.name}: a question's file, its answer's file and the "
            "function have one name"
        )
    return check


def _points(cell: Cell) -> int:
    points = cell.metadata.get("points")
    if type(points) is not int or points <= 0:
        raise cell.error(f"points must be a whole number above 0, got {points!r}: add points=3")
    return points
