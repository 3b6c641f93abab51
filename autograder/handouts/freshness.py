"""Whether what was built still stands: made of the same things, and not touched since."""

from __future__ import annotations

import ast
import hashlib
import json
import platform
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from autograder.project import LITTER, ROOT, read, replace

# What a handout may be made of, and what comes to lie among it without being part of it.
SOURCES = (
    "autograder/**/*",
    "course_lib/**/*",
    "docs/**/*",
    "notebooks/src/**/*",
    "pyproject.toml",
    "constraints.txt",
    "nbgrader_config.py",
    "README.md",
)
NOTES = "build/notes"
# Built from the others, or read by tests only.
NOT_SOURCES = (
    "autograder/student/public/",
    "autograder/questions/proven.json",
    "notebooks/src/planted/",
)


def sources_key(root: Path) -> str:
    """One key for all sources under root, the code that builds, and Python."""
    files: dict[Path, None] = {}
    for base in dict.fromkeys((root, ROOT)):
        for pattern in SOURCES:
            files |= dict.fromkeys(sorted(base.glob(pattern)))
    given = [
        path
        for path in files
        if path.is_file() and not any(name in path.as_posix() for name in NOT_SOURCES)
    ]
    return key_of([platform.python_version(), *digests(given)])


def key_of(parts: Iterable[str]) -> str:
    """One key for many texts, in order."""
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()


def fresh_files(root: Path, name: str, key: str, notes: str = NOTES) -> list[Path] | None:
    """The files last built under this name, if of this key and untouched; otherwise None."""
    try:
        kept = json.loads(read(root / notes / f"{name}.json"))
    except ValueError:
        return None
    paths = [root / path for path in kept["paths"]]
    if kept["key"] != key or kept["digests"] != digests(paths):
        return None
    return [path for path in paths if not path.is_dir()]


def remember(root: Path, name: str, key: str, paths: Sequence[Path], notes: str = NOTES) -> None:
    """Note what was built under this name, files and whole folders, and what it was made of.

    notes: the folder of such notes, from root.
    """
    note = {
        "key": key,
        "paths": [path.relative_to(root).as_posix() for path in paths],
        "digests": digests(paths),
    }
    replace(root / notes / f"{name}.json", json.dumps(note).encode())


def imported(paths: Iterable[Path], root: Path) -> list[Path]:
    """Files of the project, these and all that they import, in order of their names."""
    found: set[Path] = set()
    left = list(paths)
    while left:
        path = left.pop()
        if path in found:
            continue
        found.add(path)
        for name in _imports(path):
            parts = name.split(".")
            for upto in range(1, len(parts) + 1):
                place = root.joinpath(*parts[:upto])
                left += [
                    p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()
                ]
    return sorted(found)


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Names of what a file imports anywhere in it: modules, and what is taken from them."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{each.name}" for each in node.names]
    return tuple(name for name in names if name.startswith(("autograder.", "course_lib.")))


def digests(paths: Iterable[Path], root: Path | None = None) -> list[str]:
    """Name and digest of every file, in folders too; one that is missing has no digest.

    root: from which names are told; without it they are told whole.
    """
    files: list[Path] = []
    for path in paths:
        files += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    files = [path for path in files if not set(LITTER) & set(path.parts)]
    return [
        f"{_named(path, root)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        if path.is_file()
        else f"{_named(path, root)} is missing"
        for path in files
    ]


def _named(path: Path, root: Path | None) -> str:
    return (path.relative_to(root) if root else path).as_posix()
