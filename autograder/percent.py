"""Percent sources, the only text of lectures and homeworks that anyone edits, read cell by cell."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jupytext

from autograder.project import HandoutError

TO_WRITE = "TO WRITE"  # what `course new` leaves to be written
# What may stand in the line that begins a cell.
LECTURE_KEYS = frozenset({"id", "tags"})
HOMEWORK_KEYS = LECTURE_KEYS | {"answer", "check", "program", "written", "points"}
# What jupytext notes for the way back, which is never gone here.
JUPYTEXT_NOTES = {"lines_to_next_cell", "lines_to_end_of_cell_marker", "cell_marker", "title"}


@dataclass(frozen=True)
class Cell:
    """A cell of a percent source. number: from 1, in order. kind: "code", "markdown" or "raw"."""

    file: str
    number: int
    kind: str
    source: str
    metadata: dict[str, Any] = field(default_factory=dict)

    def error(self, message: str) -> HandoutError:
        """An error that says which cell it is about."""
        tags = ", ".join(f"{key}={value!r}" for key, value in self.metadata.items()) or "empty"
        first = next((line for line in self.source.splitlines() if line.strip()), tags)
        return HandoutError(f"{self.file}, cell {self.number} ({first.strip()[:60]}): {message}")


def read_cells(path: Path, allowed: Collection[str]) -> list[Cell]:
    """The cells of a percent source, with metadata keys from `allowed` only.

    Raises HandoutError if the file cannot be read or metadata does not parse.
    """
    try:
        notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    except (OSError, UnicodeDecodeError) as error:
        raise HandoutError(f"{path.name} cannot be read as UTF-8 text: {error}") from None
    cells = []
    for number, node in enumerate(notebook.cells, start=1):
        metadata = dict(node.metadata)
        cell = Cell(path.name, number, node.cell_type, node.source.strip("\n"))
        broken = metadata.get("incorrectly_encoded_metadata")
        if broken is None and re.search("[={]", metadata.get("title", "")):
            broken = metadata["title"]
        if broken is not None:
            raise cell.error(
                f"its metadata does not parse: {broken}. Write key=value with values as in JSON, "
                'such as answer="returns_to_go" points=3 tags=["C14"]'
            )
        metadata = {key: value for key, value in metadata.items() if key not in JUPYTEXT_NOTES}
        for key in metadata:
            if key not in allowed:
                raise cell.error(f"`{key}` is not known here: use {', '.join(sorted(allowed))}")
        cells.append(Cell(cell.file, number, cell.kind, cell.source, metadata))
    if not cells:
        raise HandoutError(f"{path.name} is empty: a cell begins with a line `# %%`")
    return cells
