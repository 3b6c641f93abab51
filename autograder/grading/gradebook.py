"""Marks into nbgrader's gradebook, graded notebooks into its autograded folder.

Everything nbgrader knows of stays nbgrader's: its gradebook and its rules for written answers, late
submissions, limits on output and marks given by hand. The marks of the checks are the examiner's.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import LimitOutput
from nbgrader.utils import compute_checksum, determine_grade

from autograder.grading import by_hand
from autograder.grading.beside import TIMESTAMP
from autograder.grading.by_hand import Given, Kept, answer_hash
from autograder.grading.hand_log import keep_log
from autograder.grading.late import handed_in
from autograder.grading.placing import Submission
from autograder.handouts import books
from autograder.handouts.assignments import settings
from autograder.handouts.books import (
    database_trouble,
    is_busy,
    is_conflict,
    open_gradebook,
    why_not,
)
from autograder.student.exam import Verdict

HARMLESS = r"/?(?:br|hr|sub|sup)\s*/?>"
MARKERS = re.compile(r"^=== (?:BEGIN|END) MARK SCHEME ===\n?", re.MULTILINE)  # nbgrader's
NO_RESPONSE = "No response."
NOTHING = r"(?!)"  # matches nowhere


def inactive(text: str, pictures: Collection[str] = ()) -> str:
    """Markdown in which nothing acts on its reader: a space breaks what would.

    Where a text stands, in HTML, Markdown, code or a formula, is read differently by each of its
    readers, so no use is made of it. Comparisons, formulas and code stay legible, and so do links
    to the web. pictures: names of attachments that may be shown.
    """
    ours = "|".join(re.escape(f"](attachment:{name})") for name in pictures) or NOTHING
    patterns = (
        (rf"(?i)<(?=[A-Za-z/!?])(?!{HARMLESS})", "< "),  # a tag, a comment
        (rf"!\[(?!picture \d+(?:{ours}))", "! ["),  # a picture that a browser would fetch
        (rf"(?!{ours})\](?=\(\s*(?!https?://)|:\s*(?!https?://))", "] "),  # links but to the web
        (r"\\(?=href|style|class|cssId|require|unicode|url|data|html)", r"\\ "),  # MathJax
    )
    for pattern, instead in patterns:
        text = re.sub(pattern, instead, text)
    return text


def clean_markdown(notebook: NotebookNode, release: Collection[str]) -> None:
    """Take active web content out of what students wrote, before a person opens it. In place.

    The submitted file keeps it. Cells that stand in the release as they are pass untouched.
    """
    for cell in notebook.cells:
        if cell.cell_type in ("markdown", "raw") and cell.source not in release:
            cell.source = inactive(cell.source, cell.get("attachments", {}))


class GradebookWriter:
    """An open gradebook that graded notebooks are filed into, one commit each.

    Use as a context manager. nbgrader's Autograde opens the gradebook seven times and commits some
    thirty times a submission, which took longer than running it.
    """

    def __init__(self, root: Path, course: Path, release: NotebookNode) -> None:
        self.course = course
        self.config = settings(root)
        self.release = {cell.source for cell in release.cells}

    def __enter__(self) -> GradebookWriter:
        with _nbgrader_warnings_off():
            self.gradebook = open_gradebook(self.course, self.config)
        keep_log(self.course, "course grade")
        return self

    def __exit__(self, *_: object) -> None:
        self.gradebook.close()

    def file(
        self, submission: Submission, notebook: NotebookNode, verdicts: Mapping[str, Verdict]
    ) -> None:
        """Put one graded notebook into the autograded folder and the gradebook.

        Filing again replaces what was there; marks given by hand stay.
        """
        clean_markdown(notebook, self.release)
        with _nbgrader_warnings_off():
            self._patiently(lambda: self._show_mark_schemes(submission.homework, notebook))
        limited, _ = LimitOutput(config=self.config).preprocess(notebook, {})
        with _nbgrader_warnings_off():
            self._patiently(lambda: self._save(submission, limited, verdicts))
        folder = self._folder(submission)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        texts = {f"{submission.homework}.ipynb": nbformat.writes(limited) + "\n"}
        if handed_in(submission.timestamp).at is not None:
            texts[TIMESTAMP] = submission.timestamp.read_text()
        for name, text in texts.items():
            path = folder / name
            path.write_text(text, encoding="utf-8")
            path.chmod(path.stat().st_mode & 0o444)  # read-only, as nbgrader leaves them

    def _filed_before(self, submission: Submission) -> list[NotebookNode]:
        """The cells that people have seen in formgrader, none if nothing was filed yet."""
        path = self._folder(submission) / f"{submission.homework}.ipynb"
        try:
            return list(nbformat.read(path, as_version=4).cells)
        except Exception:  # no file yet, or one that somebody damaged
            return []

    def _folder(self, submission: Submission) -> Path:
        return self.course / "autograded" / submission.student / submission.homework

    def _show_mark_schemes(self, homework: str, notebook: NotebookNode) -> None:
        """Locked texts as they stand in the source: with the mark scheme, beside the answer."""
        sources = self.gradebook.find_notebook(homework, homework).source_cells
        texts = {cell.name: cell.source for cell in sources if cell.cell_type == "markdown"}
        for cell in notebook.cells:
            tag = cell.metadata.get("nbgrader", {})
            if tag.get("locked") and tag["grade_id"] in texts:
                cell.source = MARKERS.sub("", texts[tag["grade_id"]])

    def _patiently(self, work: Callable[[], None]) -> None:
        """Do it as soon as nobody else has the database. Raises OSError if that is in trouble."""
        until, conflicts = time.monotonic() + books.LOCK_SECONDS, 0
        while True:
            try:
                return work()
            except Exception as error:
                self.gradebook.db.rollback()
                trouble = database_trouble(error)
                conflicts += is_conflict(error)
                if trouble is None and not 0 < conflicts < books.TRIES:
                    raise
                if trouble and (not is_busy(trouble) or time.monotonic() > until):
                    raise OSError(why_not(trouble)) from error
            time.sleep(0.5)

    def _save(
        self,
        submission: Submission,
        notebook: NotebookNode,
        verdicts: Mapping[str, Verdict],
    ) -> None:
        homework, student = submission.homework, submission.student
        book = self.gradebook
        book.update_or_create_student(student)
        book.update_or_create_submission(homework, student)
        entry = book.find_submission_notebook(homework, homework, student)
        cells = {
            cell.metadata.nbgrader["grade_id"]: cell
            for cell in notebook.cells
            if "nbgrader" in cell.metadata
        }
        comments = {comment.name: comment for comment in entry.comments}
        before = self._filed_before(submission)
        kept = by_hand.load(self.course, homework, student)
        for mark in entry.grades:
            verdict = verdicts.get(mark.name)
            # A written answer goes by nbgrader's own rule: untouched is nothing, else by hand.
            mark.auto_score = verdict.points if verdict else determine_grade(cells[mark.name])[0]
            comment = comments[f"answer_{mark.name}" if verdict else mark.name]
            answer = answer_hash(notebook.cells, mark.name, coded=bool(verdict))
            filed = answer_hash(before, mark.name, coded=bool(verdict))
            known = kept.get(mark.name, Kept(filed))
            # nbgrader's autograde puts another answer under a mark, and asks for a look at it.
            marked = known.answer if mark.needs_manual_grade or not filed else filed
            given = Given(mark.manual_score, mark.extra_credit, comment.manual_comment or "")
            kept[mark.name], holds = known.file(answer, marked, given)
            mark.manual_score, mark.extra_credit = holds.score, holds.extra_credit
            comment.manual_comment = holds.comment or None
            waits = mark.auto_score is None or kept[mark.name].had_score
            mark.needs_manual_grade = waits and mark.manual_score is None
            if verdict:
                # nbgrader reads it as Markdown.
                said = verdict.sentence, verdict.played, verdict.credit
                words = inactive(" ".join(filter(None, said)))
                cell = cells[comment.name]
                untouched = cell.metadata.nbgrader.get("checksum") == compute_checksum(cell)
                comment.auto_comment = NO_RESPONSE if untouched else words or None
            else:
                comment.auto_comment = NO_RESPONSE if mark.auto_score is not None else None
        by_hand.save(self.course, homework, student, kept)
        book.db.commit()


@contextlib.contextmanager
def _nbgrader_warnings_off() -> Iterator[None]:
    """Without nbgrader's own words on sessions and errors, which say nothing to a TA."""
    log = logging.getLogger("tornado.application")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
