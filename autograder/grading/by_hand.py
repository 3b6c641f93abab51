"""Marks that people gave, each with the answer that it was given for.

A mark stays as long as its answer stays. When the answer changes, the mark is set aside: it is
shown as one from an earlier hand-in, and comes back if the answer does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nbformat import NotebookNode

from autograder.project import replace
from autograder.student.notebook_file import grade_id_of


@dataclass(frozen=True)
class Given:
    """What a person gave for an answer; None or "" where nothing was."""

    score: float | None = None
    extra_credit: float | None = None
    comment: str = ""

    def __bool__(self) -> bool:
        return self != Given()


@dataclass(frozen=True)
class Kept:
    """One question of one student. answer: the one filed last. given: what people gave, by answer.

    Answers are hashes of their texts and pictures.
    """

    answer: str = ""
    given: dict[str, Given] = field(default_factory=dict)
    earlier: Given | None = None

    @property
    def had_score(self) -> bool:
        """Whether a mark was given for an earlier answer, and none for this one."""
        return self.earlier is not None and self.earlier.score is not None

    def file(self, answer: str, marked: str, given: Given) -> tuple[Kept, Given]:
        """File an answer, and what holds for it of what people gave.

        marked: the answer for which `given`, which stands in the gradebook, was given.
        """
        every = self.given | ({marked: given} if given else {})
        if not given and marked == self.answer:  # whoever gave it took it back
            every.pop(marked, None)
        holds = every.get(answer, Given())
        earlier = given if given and marked != answer else self.earlier
        had_score = earlier is not None and earlier.score is not None
        if holds.score is not None or (holds and not had_score):
            earlier = None
        return Kept(answer, every, earlier), holds


def kept_path(course: Path, homework: str, student: str) -> Path:
    """Where it is kept in the class folder what people gave a student."""
    return course / ".course" / "by_hand" / homework / f"{student}.json"


def load(course: Path, homework: str, student: str) -> dict[str, Kept]:
    """What is kept of a student, by question. Raises OSError if the file cannot be read."""
    path = kept_path(course, homework, student)
    if not path.is_file():
        return {}
    try:
        return {
            question: Kept(
                one["answer"],
                {answer: Given(**given) for answer, given in one["given"].items()},
                Given(**one["earlier"]) if one["earlier"] else None,
            )
            for question, one in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OSError(
            f"{path} does not say which answers marks were given for ({error}): put back a copy of "
            "it, or delete it, and the marks in the gradebook count for what was graded last."
        ) from None


def save(course: Path, homework: str, student: str, kept: dict[str, Kept]) -> None:
    """Write it whole or not at all."""
    data = {question: asdict(one) for question, one in kept.items()}
    replace(kept_path(course, homework, student), json.dumps(data, indent=1).encode())


def answer_cell(
    cells: Sequence[NotebookNode], question: str, *, coded: bool
) -> NotebookNode | None:
    """The cell of an answer; for a function also one that defines it elsewhere."""
    wanted = f"answer_{question}" if coded else question
    defines = re.compile(rf"^def {re.escape(question)}\b", re.MULTILINE)
    own = next((cell for cell in cells if grade_id_of(cell) == wanted), None)
    if not coded or (own is not None and defines.search(own.source)):
        return own
    others = (c for c in cells if c.get("cell_type") == "code" and defines.search(str(c.source)))
    return next(others, own)


def answer_hash(cells: Sequence[NotebookNode], question: str, *, coded: bool) -> str:
    """A hash of an answer's text and pictures, "" if there is no such cell."""
    cell = answer_cell(cells, question, coded=coded)
    if cell is None:
        return ""
    pictures = json.dumps(cell.get("attachments", {}), sort_keys=True)
    return hashlib.sha256(f"{cell.source.strip()}\0{pictures}".encode()).hexdigest()[:32]
