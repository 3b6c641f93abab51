"""Whether what was built still stands: made of the same things, and not touched since."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Sequence
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
NOT_SOURCES = ("autograder/student/public/", "notebooks/src/planted/")


def sources_key(root: Path) -> str:
    """One key for all sources under root, the code that builds, and Python."""
    files: dict[Path, None] = {}
    for base in dict.fromkeys((root, ROOT)):
        for pattern in SOURCES:
            files |= dict.fromkeys(sorted(base.glob(pattern)))
    given = [
        path
        for path in files
        if path.is_file() and not any(folder in path.as_posix() for folder in NOT_SOURCES)
    ]
    return key_of([platform.python_version(), *_digests(given)])


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
    if kept["key"] != key or kept["digests"] != _digests(paths):
        return None
    return [path for path in paths if not path.is_dir()]


def remember(root: Path, name: str, key: str, paths: Sequence[Path], notes: str = NOTES) -> None:
    """Note what was built under this name, files and whole folders, and what it was made of.

    notes: the folder of such notes, from root.
    """
    note = {
        "key": key,
        "paths": [path.relative_to(root).as_posix() for path in paths],
        "digests": _digests(paths),
    }
    replace(root / notes / f"{name}.json", json.dumps(note).encode())


def _digests(paths: Iterable[Path]) -> list[str]:
    """Name and digest of every file, in folders too; one that is missing has no digest."""
    files: list[Path] = []
    for path in paths:
        files += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    files = [path for path in files if not set(LITTER) & set(path.parts)]
    return [
        f"{path.as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        if path.is_file()
        else f"{path.as_posix()} is missing"
        for path in files
    ]
