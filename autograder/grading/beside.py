"""Files and folders beside a notebook (helper modules, data): which of them come along, and how."""

from __future__ import annotations

import base64
import os
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from autograder.project import LITTER
from autograder.student.modules import hides_a_module

TIMESTAMP = "timestamp.txt"  # nbgrader's: when it was handed in
MAX_FILES = 50
MAX_FILE_BYTES = 1_000_000
MAX_BYTES = 8_000_000  # of all of them
MAX_DEPTH = 5
MAX_LOOKED_AT = 2_000  # entries of a folder that somebody zipped whole
MAX_NAMES = 5  # that a sentence lists


def files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Regular files in a folder and the folders in it, with their names from there, in order.

    Never through a link, not into hidden folders, and of a large tree only the beginning.
    """
    todo, looked_at = [("", folder)], 0
    while todo:
        above, here = todo.pop()
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name, reverse=True)
        except OSError:
            continue
        inner = []
        for entry in reversed(entries):
            looked_at += 1
            if looked_at > MAX_LOOKED_AT:
                return
            name = f"{above}{entry.name}"
            if entry.is_symlink() or entry.name in LITTER or entry.name.startswith("."):
                continue
            if entry.is_file(follow_symlinks=False):
                yield name, Path(entry.path)
            elif entry.is_dir(follow_symlinks=False) and name.count("/") + 1 < MAX_DEPTH:
                inner.append((f"{name}/", Path(entry.path)))
        todo += reversed(inner)


def take_along(
    folder: Path,
    others: Collection[str] = (),
    asked: Collection[str] = (),
    also: Collection[Path] = (),
) -> tuple[dict[str, str], tuple[str, ...]]:
    """What comes along: (content in base64 by name from the folder, sentences on how and what not).

    No other notebooks, nothing that would stand before a module of the course, nothing large, and
    nothing in the folders that are called `others`. asked: names of files that the homework asks
    for; they are found under names that a browser or a platform makes of them, in folders below,
    and in the folders `also`.
    """
    files: dict[str, str] = {}
    hiding, large = [], []
    size = 0
    there = {
        name: path
        for name, path in files_in(folder)
        if not name.lower().endswith(".ipynb") and name != TIMESTAMP
        if name.split("/")[0] not in others
    }
    loose = {path.name: path for place in also for path in own_files(place)}
    found = {name: near for name in asked if (near := _nearest(name, there, loose))}
    there = {**{name: path for name, (_, path) in found.items()}, **there}
    for name, path in there.items():
        bytes_ = path.stat().st_size
        if hides_a_module(name):
            hiding.append(name)
        elif bytes_ > MAX_FILE_BYTES or size + bytes_ > MAX_BYTES or len(files) >= MAX_FILES:
            large.append(name)
        else:
            files[name] = base64.b64encode(path.read_bytes()).decode()
            size += bytes_
    said = [f"{name} was handed in as {few([where])}." for name, (where, _) in found.items()]
    if hiding:
        said.append(f"Left out, since they would stand before the course's own: {few(hiding)}.")
    if large:
        said.append(
            f"Left out, since files beside a notebook were too many or large: {few(large)}."
        )
    return files, tuple(said)


def own_files(folder: Path) -> list[Path]:
    """Regular files that lie in a folder itself, in order."""
    paths = sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def _nearest(
    asked: str, there: Mapping[str, Path], loose: Mapping[str, Path]
) -> tuple[str, Path] | None:
    """What was handed in for a file that is not there by its own name: its name then, and where.

    The one that differs by case alone, else the newest whose name holds this one's.
    """
    if asked in there:
        return None
    stem, ending = (re.escape(part) for part in os.path.splitext(plain(asked)))
    alike = re.compile(rf"(?<![^\W_]){stem}(?![^\W_]).*{ending}$")
    near = [
        (name, path)
        for name, path in [*there.items(), *loose.items()]
        if alike.search(plain(name.rpartition("/")[2]))
    ]
    return max(
        near,
        key=lambda one: (
            plain(one[0].rpartition("/")[2]) == plain(asked),
            one[1].stat().st_mtime,
        ),
        default=None,
    )


def plain(name: str) -> str:
    """A name without case, in one form of its letters."""
    return unicodedata.normalize("NFC", name).casefold()


def few(names: list[str]) -> str:
    """The first few of these, and how many more."""
    more = len(names) - MAX_NAMES
    names = [name.encode(errors="replace").decode() for name in names]
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
