"""Reading what students hand in, whatever state it is in, and putting it back into order.

The submitted file itself is never changed. What comes out is a notebook that has every graded cell
of the release exactly once, with the release's metadata, or a reason why there is none.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from autograder.grading.beside import take_along
from autograder.grading.imports import find_imports
from autograder.grading.pictures import show_pictures
from autograder.grading.placing import Submission
from autograder.grading.written import is_as_handed_out, is_written, put_in, take_out
from autograder.student.notebook_file import (
    Unreadable,
    grade_id_of,
    read_notebook,
    term_named,
)

MAX_SENTENCES = 20


@dataclass(frozen=True)
class Intake:
    """A submission that can be graded.

    notebook: repaired, nbformat 4, outputs cleared. repairs: sentences on what was put back.
    notices: sentences for staff on what looks like tampering. files: what lay beside it, base64, by
    name from the folder. suspicions: sentences on what in it looks like an attack. imports: which
    of its code cells imports what the homework uses.
    """

    notebook: NotebookNode
    repairs: tuple[str, ...]
    notices: tuple[str, ...]
    files: dict[str, str]
    suspicions: tuple[str, ...] = ()
    imports: int | None = None


def take_in(
    submission: Submission,
    release: NotebookNode,
    functions: Sequence[str],
    asked: Sequence[str] = (),
) -> Intake:
    """Read and repair one submission.

    functions: the names that the homework asks for; asked: those of files beside it. Raises
    Unreadable whatever the folder holds, and OSError or MemoryError if the machine cannot read it.
    """
    try:
        notebook = read_notebook(_find_notebook(submission))
        _refuse_other_homework(notebook, release, functions, submission.homework)
        nameless = _refuse_other_term(notebook, release, submission.homework)
        outside = take_out(notebook, release)
        repairs, notices = repair(notebook, release)
        moved = put_in(notebook, release, outside)
        shown = _show_pictures(notebook, release, submission)
        imports, put_back = find_imports(notebook, release)
        files, left_out = take_along(submission.folder, submission.others, asked, submission.also)
        repairs = (*submission.remarks, *nameless, *put_back, *repairs, *moved, *shown, *left_out)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        return Intake(
            notebook,
            repairs,
            notices,
            files,
            tuple(suspicions(notebook)),
            next((k for k, cell in enumerate(code) if cell is imports), None),
        )
    except (Unreadable, OSError, MemoryError):
        raise
    except Exception as error:  # whatever else a file can hold: a row with a reason, never a stop
        raise Unreadable(
            "Your file could not be read as a notebook. Download it again from Jupyter "
            "(File > Download) and hand it in anew.",
            f"reading it failed with {type(error).__name__}: {str(error)[:200]}",
        ) from error


def _find_notebook(submission: Submission) -> Path:
    """The notebook of a submission."""
    folder = submission.folder
    if folder.is_symlink() or folder.parent.is_symlink():
        raise Unreadable(
            "Your submission is a link, not a folder.", "the folder is a symbolic link"
        )
    if not folder.is_dir():
        raise Unreadable("Your submission holds no notebook.", "it is not a folder")
    path = folder / submission.name
    if not os.path.lexists(path):
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "nothing"
        raise Unreadable(
            f"No notebook was found: {path.name} was expected, and the folder holds {found}.",
            f"no .ipynb file; the folder holds {found}",
        )
    _refuse_link(path)
    return path


def _refuse_link(path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        raise Unreadable(
            "Your notebook is a link or a special file: hand in the notebook itself.",
            f"{path.name} is a symbolic link or not a regular file",
        )


def _ids(notebook: NotebookNode) -> set[str]:
    return {name for cell in notebook.cells if (name := grade_id_of(cell))}


def _refuse_other_homework(
    notebook: NotebookNode, release: NotebookNode, functions: Sequence[str], homework: str
) -> None:
    """A notebook that has no question of the homework and defines none of its functions."""
    asked = {*functions, *(f"answer_{name}" for name in functions)}
    if _ids(notebook) & _ids(release) & asked:
        return
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    if any(re.search(rf"\bdef {name}\b|^{name} =", code, re.M) for name in functions):
        return
    raise Unreadable(
        f"This is not {homework}: none of its questions is in the notebook. "
        "Did you hand in another one?",
        f"no cell of {homework} in it: probably another notebook",
    )


def _refuse_other_term(
    notebook: NotebookNode, release: NotebookNode, homework: str
) -> tuple[str, ...]:
    """Another term's homework has other numbers. A remark, if it names no term and should."""
    ours, its = term_named(release), term_named(notebook)
    if its == ours:
        return ()
    if not its:
        return (f"It names no term: is it the {homework} of {ours}?",)
    now = f"that of {ours}" if ours else "another one"
    raise Unreadable(
        f"This is the {homework} of term {its}, and {now} is graded now: its numbers are others. "
        "Put your answers into the notebook that was handed out, and hand that in.",
        f"it is of term {its}, and the course is built for {ours or 'no term'}",
    )


def repair(
    notebook: NotebookNode, release: NotebookNode
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Put the release's graded cells back, in place. Returns (repairs, notices).

    Each grade id of the release ends up on exactly one cell, with the release's metadata; locked
    cells get the release's text; what is missing is put back after its predecessor. A missing
    answer cell comes back empty, so that a function moved to another cell is not overwritten.
    """
    repairs: list[str] = []
    notices: list[str] = []
    originals = {grade_id: cell for cell in release.cells if (grade_id := grade_id_of(cell))}
    seen: dict[str, NotebookNode] = {}
    for cell in notebook.cells:
        grade_id = grade_id_of(cell)
        if grade_id not in originals or grade_id in seen:
            if grade_id in seen:
                repairs.append(f"A copy of the cell {grade_id} was treated as an ordinary cell.")
            elif "nbgrader" in cell.metadata and grade_id:
                repairs.append(f"The cell {grade_id[:60]!r} is not part of this homework.")
            cell.metadata.pop("nbgrader", None)
            continue
        seen[grade_id] = cell
        notices += _restore(cell, originals[grade_id], grade_id)
    previous: NotebookNode | None = None
    for grade_id, original in originals.items():
        if grade_id not in seen:
            cell = copy.deepcopy(original)
            if _is_answer(original):
                cell.source = "# This answer cell was missing from the submission."
            where = 0
            if previous is not None:
                where = 1 + next(i for i, c in enumerate(notebook.cells) if c is previous)
            notebook.cells.insert(where, cell)
            seen[grade_id] = cell
            repairs.append(f"The cell {grade_id} was missing and was put back.")
        previous = seen[grade_id]
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index}"
    kernel = release.metadata.get("kernelspec", {})
    if notebook.metadata.get("kernelspec", {}).get("name") != kernel.get("name"):
        repairs.append(f"The notebook's kernel was set to {kernel.get('name')}.")
    notebook.metadata = NotebookNode(copy.deepcopy(release.metadata))
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return _first(repairs), _first(notices)


def _show_pictures(
    notebook: NotebookNode, release: NotebookNode, submission: Submission
) -> tuple[str, ...]:
    """Pictures in cells of text, and beside the notebook where no answer in words stands."""
    empty = {grade_id_of(cell): cell.source for cell in release.cells if is_written(cell)}
    texts = [cell for cell in notebook.cells if cell.cell_type != "code"]
    unanswered = [
        cell
        for cell in texts
        if empty.get(grade_id_of(cell)) == cell.source and not cell.get("attachments")
    ]
    return show_pictures(texts, unanswered, submission.folder, submission.others)


def _first(sentences: list[str]) -> tuple[str, ...]:
    """As many as a person reads."""
    more = len(sentences) - MAX_SENTENCES
    return (*sentences[:MAX_SENTENCES], *([f"And {more} more like these."] if more > 0 else []))


def _is_answer(cell: NotebookNode) -> bool:
    metadata = cell.metadata.nbgrader
    return bool(cell.cell_type == "code" and metadata.get("solution"))


def _restore(cell: NotebookNode, original: NotebookNode, grade_id: str) -> list[str]:
    """Give a cell the release's type and metadata, and its text if it is locked."""
    notices = []
    before, after = cell.metadata.nbgrader, original.metadata.nbgrader
    if after.get("locked") and is_as_handed_out(cell):  # if it differs, the homework changed since
        cell.source, cell.metadata = original.source, copy.deepcopy(original.metadata)
    for key in ("points", "grade", "solution", "locked"):
        if key == "points" and after.get("solution"):  # people mark it, by what it gives now
            continue
        if cell.metadata.nbgrader.get(key) != after.get(key):
            notices.append(
                f"The metadata of the cell {grade_id} was changed: {key} said "
                f"{str(before.get(key))[:40]}, the homework says {after.get(key)}."
            )
    if cell.cell_type != original.cell_type:
        notices.append(f"The cell {grade_id} was turned into a {cell.cell_type} cell.")
        cell.cell_type = original.cell_type
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        else:
            cell.pop("outputs", None)
            cell.pop("execution_count", None)
    if after.get("locked") and cell.source.strip() != original.source.strip():
        notices.append(f"The locked cell {grade_id} was edited; the original was put back.")
    if after.get("locked"):
        cell.source = original.source
    cell.metadata = copy.deepcopy(original.metadata)
    return notices


SUSPICIOUS = (
    (r"\bNodeTransformer\b|\bast_transformers\b", "rewrites code before it runs"),
    (r"\b_exit\b|\babort\s*\(|\bkill(pg)?\s*\(", "ends or signals processes"),
    (r"\bprlimit\b|\bsetpriority\b|\bsched_set\w+", "governs processes"),
    (r"\bfork\s*\(|\bPopen\b|\bsubprocess\b|\bos\.system\b|\bdaemon", "starts processes"),
    (r"\bctypes\b|\bcffi\b", "calls into C"),
    (r"\bsocket\b|\burllib\b|\brequests\b|\bhttp\.", "uses the network"),
    (r"/proc/|\bptrace\b|_getframe|\bget_objects\b|\bsettrace\b", "looks into processes"),
    (r"gradebook|sqlite3|\bnbgrader\b", "touches the gradebook"),
    (r"course_lib[./]reference|autograder[./](questions|grading)|\.\./", "looks for answers"),
    (
        r"\brun_(cell|code)\b|displayhook|\b(torch|np|numpy)\.(allclose|testing)[\w.]{0,40}\s*=[^=]",
        "replaces what a test would use",
    ),
    (r"def\s+__(eq|ne|array__|torch_function)__", "defines what equality means"),
    (
        r"autograder\.student\.[\w.]{0,80}\s{0,9}=[^=]|\bos\.(write|dup2?)\s*\(",
        "writes to the grader",
    ),
    (r"sitecustomize|usercustomize|\.ipython|startup/|\.jupyter", "writes start-up files"),
    (
        r"(?i)<\s*(script|iframe|svg|object|embed)|javascript:|onerror\s*=",
        "carries active web content",
    ),
)


def suspicions(notebook: NotebookNode) -> list[str]:
    """What in the text of a notebook a person should look at, a sentence each.

    A pointer for the reader, not a verdict: no mark depends on it.
    """
    found = []
    for index, cell in enumerate(notebook.cells):
        if (cell.metadata.get("nbgrader") or {}).get("locked"):
            continue
        for pattern, what in SUSPICIOUS:
            if match := re.search(pattern, cell.source):
                line = cell.source[: match.start()].count("\n") + 1
                found.append(f"Cell {index + 1}, line {line} {what}: {match.group(0)[:40]!r}.")
    return found[:20]
