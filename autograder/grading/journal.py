"""How one submission was graded, in order: a line of JSON each, in the class folder.

Written as it happens, so that a run that is stuck can be looked at; the last grading is kept.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

MAX_LINES = 5_000  # of one submission, whatever it does
MAX_WORDS = 300


def journal_path(course: Path, homework: str, student: str) -> Path:
    """Where the journal of one submission lies in the class folder."""
    return course / ".course" / "journal" / homework / f"{student}.jsonl"


class Journal:
    """A journal that is being written. Use as a context manager; `tell` adds a line.

    again: whether it goes on with the last one, as when a run met an accident.
    """

    def __init__(self, course: Path, homework: str, student: str, again: bool = False) -> None:
        self.path = journal_path(course, homework, student)
        self.again = again
        self.lines = 0
        self.started = time.monotonic()

    def __enter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file: TextIO = self.path.open("a" if self.again else "w", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def tell(self, what: str, words: str) -> None:
        """Add a line. what: a word for programs; words: for people."""
        self.lines += 1
        if self.lines > MAX_LINES:
            return
        line = {
            "when": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            "seconds": round(time.monotonic() - self.started, 3),
            "what": what,
            "words": words[:MAX_WORDS],
        }
        self.file.write(json.dumps(line, ensure_ascii=False).encode(errors="replace").decode())
        self.file.write("\n")
        self.file.flush()


def read_journal(course: Path, homework: str, student: str) -> Iterator[dict[str, Any]]:
    """The lines of the last grading. Raises ValueError, with what to do, if there is none."""
    path = journal_path(course, homework, student)
    if not path.is_file():
        raise ValueError(
            f"There is no journal of {student} in {homework}: run `course grade {homework} "
            f"--student {student}` first."
        )
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            found = json.loads(line)
        except ValueError:  # the last one of a run that was killed
            continue
        if isinstance(found, dict):
            yield {"when": "", "seconds": 0.0, "what": "", "words": "", **found}
