"""A class folder that nobody but its owner reads, since answers, marks and names are in it."""

from __future__ import annotations

import os
from pathlib import Path

from autograder.handouts.assignments import settings
from autograder.project import ROOT

OPEN = ("submitted", "release")  # come from students and go to them


def close(course: Path, root: Path = ROOT) -> None:
    """Take from others what they may do with a class folder's files, and with those to come.

    With nbgrader's `c.CourseDirectory.groupshared = True` the group keeps what it may do. What
    belongs to somebody else stays as it is.
    """
    others = 0o007 if settings(root).CourseDirectory.get("groupshared") else 0o077
    os.umask(os.umask(0o777) | others)
    if not course.is_dir():
        return
    for entry in os.scandir(course):
        if entry.name not in OPEN:
            _close(Path(entry.path), others)


def _close(path: Path, others: int) -> None:
    """One entry and, the first time, all that is in it."""
    status = path.lstat()
    if path.is_symlink() or status.st_uid != os.getuid() or not status.st_mode & others:
        return
    if path.is_dir():
        for inner in sorted(path.rglob("*")):
            if not inner.is_symlink() and inner.lstat().st_uid == os.getuid():
                inner.chmod(inner.lstat().st_mode & ~others & 0o7777)
    path.chmod(status.st_mode & ~others & 0o7777)
