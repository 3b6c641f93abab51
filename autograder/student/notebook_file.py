"""A notebook file that may hold anything, read as cells: their kind, text and question."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.student import wire
from autograder.student.kept import asked_in

MAX_BYTES = 200_000_000  # of a file, outputs and all
MAX_KEPT = 50_000_000  # of what is kept of it: texts and attached pictures
MAX_CELLS = 2_000
MAX_TEXT = 5_000_000
INSTEAD = {  # how other files begin that come under a notebook's name
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip file",
    b"<": "a web page",
    b"\x1f\x8b": "a gzip file",
    b"Rar!": "a rar file",
    b"7z\xbc\xaf": "a 7z file",
    b"\xd0\xcf\x11\xe0": "a document of Word",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"version https://git-lfs": "a pointer of Git LFS, without the file that it points to",
}
MERGE = rb"^<{7} ", rb"^={7}\r?$", rb"^>{7} "  # lines that Git leaves where two versions meet
LEFT_OUT = re.compile(r"\s*#\s*(training\b|picture: grading does not run)", re.IGNORECASE)

TERM = re.compile(r"^\*Term ([\w.-]{1,20})\.\*$", re.MULTILINE)


class Unreadable(Exception):
    """There is no notebook to grade. for_student and for_staff say why and what to do."""

    def __init__(self, for_student: str, for_staff: str) -> None:
        super().__init__(for_student, for_staff)
        self.for_student, self.for_staff = for_student, for_staff

    def __str__(self) -> str:
        return self.for_staff


def read_notebook(path: Path) -> NotebookNode:
    """A notebook of any format version, in any common encoding, as nbformat 4 without outputs.

    Raises Unreadable, OSError, or what nbformat makes of a malformed one.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise Unreadable(
            f"Your notebook has {size / 1e6:.0f} MB; clear its outputs and hand it in again.",
            f"{size / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f} MB",
        )
    data = path.read_bytes()
    again = "Download it again from Jupyter (File > Download) and hand it in anew."
    if not data.strip():
        raise Unreadable(f"Your file is empty. {again}", "the file is empty")
    if all(re.search(mark, data, re.MULTILINE) for mark in MERGE):
        raise Unreadable(
            "Git left two versions in your notebook, between lines of <<<<<<< and >>>>>>>. Choose "
            "one of them (git checkout --ours or --theirs), look at it in Jupyter, and hand it in "
            "anew.",
            "it holds the marks of a merge in Git",
        )
    for magic, what in INSTEAD.items():
        if data.lstrip().startswith(magic):
            raise Unreadable(
                f"Your file is {what} with the name of a notebook. {again}", f"it is {what}"
            )
    text = _decode(data)
    try:
        parsed = json.loads(text)
    except RecursionError:
        raise Unreadable(f"Your file is not a notebook. {again}", "JSON nested too deep") from None
    except ValueError as error:
        if not text.lstrip().startswith("{"):
            raise Unreadable(
                f"Your file is not a notebook. {again}", f"not JSON: {error}"
            ) from None
        cut = not text.rstrip().endswith("}") and "Extra data" not in str(error)
        words = "ends in the middle" if cut else "is damaged"
        raise Unreadable(f"Your notebook file {words}. {again}", f"not JSON: {error}") from None
    if not isinstance(parsed, dict) or not ({"cells", "worksheets"} & parsed.keys()):
        raise Unreadable(f"Your file is not a notebook. {again}", "JSON, but no cells in it")
    if isinstance(parsed.get("cells"), list):
        _refuse_endless(parsed["cells"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        notebook = nbformat.reads(_readable(parsed), as_version=4)
        _, notebook = nbformat.validator.normalize(notebook)
    notebook.cells = [nbformat.from_dict(_bare(cell)) for cell in notebook.cells]
    _refuse_endless(notebook.cells)
    return notebook


def _refuse_endless(cells: list[Any]) -> None:
    """Outputs aside, a notebook is a text that people write."""
    length = sum(len(cell.get("source") or "") for cell in cells if isinstance(cell, dict))
    attached = sum(
        len(text)
        for cell in cells
        if isinstance(cell, dict)
        for content in _dict(cell.get("attachments")).values()
        for text in _dict(content).values()
        if isinstance(text, str)
    )
    if attached > MAX_KEPT:
        raise Unreadable(
            f"The pictures in your notebook have {attached / 1e6:.0f} MB: make them smaller and "
            "hand it in again.",
            f"pictures of {attached / 1e6:.0f} MB, more than {MAX_KEPT / 1e6:.0f} MB",
        )
    if len(cells) > MAX_CELLS or length > MAX_TEXT:
        raise Unreadable(
            f"Your notebook has {len(cells)} cells with {length / 1e6:.1f} MB of text: clear away "
            "what is not part of your answers and hand it in again.",
            f"{len(cells)} cells with {length / 1e6:.1f} MB of text",
        )


def _readable(parsed: dict[str, Any]) -> str:
    """The notebook's JSON with nothing in it but what is graded: all else can be malformed."""
    if not isinstance(parsed.get("cells"), list):  # an older format, for nbformat to upgrade
        return json.dumps(parsed)
    kernel = _dict(_dict(parsed.get("metadata")).get("kernelspec"))
    cells = [_bare(cell) for cell in parsed["cells"] if isinstance(cell, dict)]
    metadata = {"kernelspec": {"name": str(kernel.get("name")), "display_name": ""}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": metadata, "cells": cells})


def _bare(cell: dict[str, Any]) -> dict[str, Any]:
    """Of a cell: its kind, its text, pictures attached to it, which question it says it is."""
    source = cell.get("source")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    text = wire.plain(source if isinstance(source, str) else "")
    tag = _dict(cell.get("metadata")).get("nbgrader")
    kind = cell.get("cell_type")
    bare: dict[str, Any] = {
        "cell_type": kind if kind in ("code", "markdown") else "raw",
        "source": text.replace("\r\n", "\n").replace("\r", "\n"),
        "metadata": {} if tag is None else {"nbgrader": tag},
    }
    if kind == "code":
        return bare | {"outputs": [], "execution_count": None}
    attached = {
        name: kept
        for name, content in _dict(cell.get("attachments")).items()
        if (
            kept := {kind: text for kind, text in _dict(content).items() if _is_picture(kind, text)}
        )
    }
    return bare | ({"attachments": attached} if attached else {})


def _is_picture(kind: str, text: Any) -> bool:
    return kind.startswith("image/") and isinstance(text, str)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _decode(data: bytes) -> str:
    for encoding in ("utf-8-sig", "utf-16"):
        if encoding == "utf-16" and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            continue
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def grade_id_of(cell: NotebookNode) -> str:
    """Which question a cell says it is, or ""."""
    metadata = cell.metadata.get("nbgrader")
    name = metadata.get("grade_id") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def left_out(source: str) -> bool:
    """Whether a code cell says that checking and grading leave it out, in a comment on top.

    `# Training ...`: it takes minutes, and what it makes is handed in as files. `# Picture: grading
    does not run this cell.`: it draws what the student looks at, and no mark hangs on it.
    """
    return LEFT_OUT.match(source) is not None


def not_run(cells: Sequence[NotebookNode], name: str) -> str:
    """What is said if a function is missing since its cell does not run; "" if that is not it.

    It is the cell that the homework has for it, or one that holds its definition.
    """
    for cell in cells:
        defines = re.search(rf"^\s*def {re.escape(name)}\b", cell.source, re.MULTILINE)
        if cell.cell_type == "code":
            begins = re.match(r"\s*#\s*(\w+)", cell.source)
            if defines and begins and left_out(cell.source):
                return (
                    f"The cell of {name} begins with the comment `# {begins[1].capitalize()}`, "
                    "and such cells are not run here: put the function into a cell of its own."
                )
            continue
        if defines or grade_id_of(cell) == f"answer_{name}":
            kind = "Markdown" if cell.cell_type == "markdown" else "Raw"
            return (
                f"The cell of {name} is a {kind} cell, which does not run: select it, press Esc "
                "and then Y, or choose Code in the list of cell types."
            )
    return ""


def check_cells(cells: Sequence[NotebookNode], names: Collection[str]) -> dict[int, str]:
    """The cells at which functions of these names are checked: the homework's, by their grade ids.

    And the last of those that have just such a text, in case a homework's cell was lost or moved.
    """
    marked = {grade_id_of(cell): index for index, cell in enumerate(cells)}
    copied = {asked_in(cell.source): index for index, cell in enumerate(cells)}
    return {found[name]: name for found in (marked, copied) for name in names if name in found}


def name_term(notebook: NotebookNode, term: str) -> None:
    """Write down for which term a homework was built: for programs, and under its title."""
    notebook.metadata["course"] = {"term": term}
    title = next(cell for cell in notebook.cells if cell.cell_type == "markdown")
    title.source = f"{title.source}\n\n*Term {term}.*"


def term_named(notebook: NotebookNode) -> str:
    """The term that a homework names; "" if it names none. Some platforms keep texts alone."""
    course = notebook.get("metadata", {}).get("course")
    named = course.get("term") if isinstance(course, dict) else None
    if isinstance(named, str) and TERM.match(f"*Term {named}.*"):
        return named
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return next((found[1] for text in texts if (found := TERM.search(text))), "")
