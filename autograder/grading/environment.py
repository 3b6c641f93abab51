"""The installed packages that a mark depends on: those that the hand-in or the homework imports."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import packages_distributions, version
from pathlib import Path

from autograder.grading.beside import MAX_FILE_BYTES, files_in
from autograder.student.modules import OURS, mentioned

MAX_NOTEBOOK = 20_000_000
MAX_SCANNED = 40_000_000  # of one hand-in


def installed() -> Mapping[str, list[str]]:
    """What is installed here: distributions by the module that they bring."""
    return packages_distributions()


def environment(texts: Iterable[str], packages: Mapping[str, list[str]]) -> list[str]:
    """Python and each installed package that one of the texts imports, with versions.

    What is not installed is not listed: so it changes the list when it comes to be.
    """
    names = {name for text in texts for name in mentioned(text)}
    wanted = {
        distribution
        for name in names - sys.stdlib_module_names - set(OURS)
        for distribution in packages.get(name, ())
    }
    return [f"Python {platform.python_version()}", *(f"{d} {version(d)}" for d in sorted(wanted))]


def programs_in(folder: Path) -> Iterable[str]:
    """The text of the notebooks and Python files of a submission, as it lies in the file.

    Only of such a size as travels, or as a notebook has that somebody wrote, and not without end.
    """
    room = MAX_SCANNED
    if folder.is_symlink() or folder.parent.is_symlink():
        return
    for _, path in files_in(folder):
        try:
            most = {".py": MAX_FILE_BYTES, ".ipynb": MAX_NOTEBOOK}.get(path.suffix.lower(), 0)
            size = path.stat().st_size
            if size <= min(most, room):
                room -= size
                # An imported name is ASCII: of UTF-16 it is every other byte.
                yield path.read_bytes().replace(b"\0", b"").decode("latin-1")
        except OSError:
            continue
