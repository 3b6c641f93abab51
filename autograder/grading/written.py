"""Answers in words, wherever in a notebook they were put: beside their cell, in a copy, retyped.

Before a notebook is repaired `take_out` takes such texts out of it, and afterwards `put_in` puts
them into the cells of the questions that they answer, where a person reads and marks them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from nbformat import NotebookNode
from nbgrader.utils import compute_checksum

from autograder.student.notebook_file import grade_id_of

HEADING = re.compile(r"#{1,6}\s")
MOVED = "The answer to {name} stood outside its cell: it was put there, for a person to read."
LOOSE = (
    "Nothing stands at {name}, and text elsewhere may be its answer: it was put there, for a "
    "person to read."
)
LEFT = "Text elsewhere may belong to {name}, where something stands already: read it as well."


@dataclass
class Outside:
    """What stands outside the cell of one question in words.

    moved: cells of the student's under its heading, taken out of the notebook. quoted: texts that
    stay where they are (in the question itself, in code) and count if there is no other answer.
    loose: texts elsewhere that may be it, which count if there is nothing else at all.
    """

    moved: list[NotebookNode] = field(default_factory=list)
    quoted: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Question:
    name: str
    heading: str
    source: str


def is_written(cell: NotebookNode) -> bool:
    """Whether a cell of the release is the one for an answer in words."""
    tag = cell.metadata.get("nbgrader") or {}
    return cell.cell_type == "markdown" and bool(tag.get("grade") and tag.get("solution"))


def is_as_handed_out(cell: NotebookNode) -> bool:
    """Whether a cell's text and points are those that nbgrader's checksum in it was made of."""
    try:
        return bool(cell.metadata.nbgrader.get("checksum") == compute_checksum(cell))
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def take_out(notebook: NotebookNode, release: NotebookNode) -> dict[str, Outside]:
    """Take what students wrote outside the cells of questions in words, by question. In place.

    A text belongs to the question under whose heading it stands, up to the homework's next heading.
    """
    questions = list(_questions(release))
    outside = {question.name: Outside() for question in questions}
    if not questions:
        return outside
    home = _Home(release, questions)
    loose: list[NotebookNode] = []
    kept: list[NotebookNode] = []
    seen: set[str] = set()
    for place, cell in enumerate(notebook.cells):
        kept.append(cell)
        grade_id = grade_id_of(cell)
        copied = grade_id in seen
        if grade_id:
            seen.add(grade_id)
        name = home.enter(cell, None if copied else grade_id)
        if grade_id in home.graded and not copied:
            # Its locked cells: somebody may have typed there.
            if name and grade_id != name and not is_as_handed_out(cell):
                outside[name].quoted += home.added(cell)
        elif home.is_own(cell):
            if name:
                outside[name].quoted += home.added(cell)
        elif cell.cell_type == "code":
            if name and cell.source.strip():
                outside[name].quoted.append(f"```python\n{cell.source}\n```")
        elif not _is_filled(cell):
            continue
        elif name := name or home.ahead(notebook.cells[place + 1 :]):
            outside[name].moved.append(kept.pop())
        elif copied and grade_id in outside:
            outside[grade_id].moved.append(kept.pop())
        else:
            loose.append(cell)
    notebook.cells = kept
    last = max((i for i, cell in enumerate(kept) if home.knows(cell)), default=-1)
    at_the_end = [cell for cell in kept[last + 1 :] if any(cell is one for one in loose)]
    for question in questions:
        own = loose if question.name not in seen else at_the_end
        named = [cell for cell in loose if _speaks_of(cell.source, question.heading)]
        texts = named if named and question.name in seen else own
        outside[question.name].loose = [cell.source for cell in texts]
        if question.name not in seen:  # its cell may have been merged into another
            merged = [cell for cell in kept if home.holds(cell, question.heading)]
            outside[question.name].quoted += [text for c in merged for text in home.added(c)]
    return outside


def put_in(
    notebook: NotebookNode, release: NotebookNode, outside: dict[str, Outside]
) -> tuple[str, ...]:
    """Put what was taken out into the questions' cells, in place. A sentence for each question.

    The notebook is repaired: it has each question's cell once.
    """
    cells = {grade_id_of(cell): cell for cell in notebook.cells}
    said = []
    for question in _questions(release):
        cell, found = cells[question.name], outside[question.name]
        touched = _normal(cell.source) not in ("", _normal(question.source))
        own = [cell.source] if touched else []
        pictures = bool(cell.get("attachments"))
        for moved in found.moved:
            own.append(_with_attachments_of(cell, moved))
        if found.moved:
            said.append(MOVED.format(name=question.name))
        elif found.quoted and not (touched or pictures):
            own += found.quoted
            said.append(MOVED.format(name=question.name))
        elif found.loose and not (touched or pictures):
            own += found.loose
            said.append(LOOSE.format(name=question.name))
        elif found.loose:
            said.append(LEFT.format(name=question.name))
        cell.source = "\n\n".join(own) or ("" if pictures else question.source)
    return tuple(said)


def _questions(release: NotebookNode) -> Iterator[_Question]:
    heading = ""
    for cell in release.cells:
        heading = _heading(cell) or heading
        if is_written(cell):
            yield _Question(grade_id_of(cell), heading, cell.source)


class _Home:
    """Which cells are the homework's own, and under which question in words one stands."""

    def __init__(self, release: NotebookNode, questions: Sequence[_Question]) -> None:
        self.by_heading: dict[str, str] = {}
        for question in questions:
            self.by_heading.setdefault(question.heading, question.name)
        self.headings = {heading for cell in release.cells if (heading := _heading(cell))}
        self.texts_below = {
            heading: _lines(cell) for cell in release.cells if (heading := _heading(cell))
        }
        self.texts = {_normal(cell.source) for cell in release.cells}
        self.lines = {_line(line) for cell in release.cells for line in cell.source.split("\n")}
        self.graded: dict[str, str] = {}  # the heading above each graded cell
        heading = ""
        for cell in release.cells:
            heading = _heading(cell) or heading
            if grade_id := grade_id_of(cell):
                self.graded[grade_id] = heading
        self.names = {question.name for question in questions}
        self.here = ""

    def enter(self, cell: NotebookNode, grade_id: str | None) -> str:
        """The question in words that this cell stands at, "" if none."""
        heading = self.heading_of(cell)
        if grade_id in self.names:
            self.here = grade_id
        elif heading:
            self.here = self.by_heading.get(heading, "")
        elif grade_id in self.graded and self.graded[grade_id] != self.graded.get(self.here):
            self.here = self.by_heading.get(self.graded[grade_id], "")
        return self.here

    def ahead(self, cells: Sequence[NotebookNode]) -> str:
        """The question in words whose own cells come next, if its heading was written over."""
        for cell in cells:
            if self.heading_of(cell):
                return ""
            if (grade_id := grade_id_of(cell)) in self.graded:
                return self.by_heading.get(self.graded[grade_id], "")
        return ""

    def heading_of(self, cell: NotebookNode) -> str:
        """The homework's heading that a cell has, also where it was put in other words."""
        heading = _heading(cell)
        if heading in self.headings:
            return heading
        return next((known for known in self.texts_below if self.holds(cell, known)), "")

    def holds(self, cell: NotebookNode, heading: str) -> bool:
        """Whether half of what the homework says below a heading is in a cell of text."""
        wanted = self.texts_below.get(heading, set())
        if cell.cell_type != "markdown" or len(wanted) < 2:
            return False
        return 2 * len(_lines(cell) & wanted) >= len(wanted)

    def knows(self, cell: NotebookNode) -> bool:
        """Whether a cell is the homework's, as it was or changed."""
        return grade_id_of(cell) in self.graded or self.is_own(cell)

    def is_own(self, cell: NotebookNode) -> bool:
        """Whether the homework brought a cell: its text, its heading, or nothing but its lines."""
        if _normal(cell.source) in self.texts or self.heading_of(cell):
            return True
        bare = cell.cell_type != "code" and not cell.get("attachments")
        return bare and _is_filled(cell) and not self.added(cell)

    def added(self, cell: NotebookNode) -> list[str]:
        """What somebody typed into a cell that is the homework's; headings are not counted."""
        lines = [
            line
            for line in cell.source.split("\n")
            if _line(line) not in self.lines and not HEADING.match(line)
        ]
        return ["\n".join(lines).strip()] if any(line.strip() for line in lines) else []


def _with_attachments_of(cell: NotebookNode, moved: NotebookNode) -> str:
    """A moved cell's text; its attachments go to `cell`, under another name if one is taken."""
    text = str(moved.source)
    there = dict(cell.get("attachments", {}))
    for name, content in (moved.get("attachments") or {}).items():
        new = name
        while new in there and there[new] != content:
            new = f"2-{new}"
        there[new] = content
        text = text.replace(f"attachment:{name}", f"attachment:{new}")
    if there:
        cell.attachments = there
    return text


def _lines(cell: NotebookNode) -> set[str]:
    """The lines of a cell below its first, as far as they say something."""
    return {plain for line in cell.source.split("\n")[1:] if (plain := _normal(line))}


def _is_filled(cell: NotebookNode) -> bool:
    return bool(cell.source.strip() or cell.get("attachments"))


def _heading(cell: NotebookNode) -> str:
    """The heading that a text cell begins with, in plain words, or ""."""
    if cell.cell_type != "markdown":
        return ""
    first = cell.source.strip().split("\n", 1)[0]
    return _normal(first) if HEADING.match(first) else ""


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()


def _line(text: str) -> str:
    """A line without its numbers: points and sections change, and it is the homework's still."""
    return re.sub(r"\d+", "0", _normal(text))


def _speaks_of(text: str, heading: str) -> bool:
    """Whether a text names a question: by its title, or by its number where a line begins."""
    parts = re.fullmatch(r"#+ (?:(\d+)\W+)?(.*)", heading)
    if parts is None:
        return False
    number, title = parts.groups()
    begins = r"^[^\w\n]*(?:(?:question|exercise|problem|task|part|q|answer(?: to)?)[^\w\n]*){0,3}"
    by_number = number and re.search(rf"{begins}{number}\b", text, re.IGNORECASE | re.MULTILINE)
    return bool(by_number) or (len(title) > 5 and title in _normal(text))
