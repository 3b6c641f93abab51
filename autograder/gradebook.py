"""Marks into nbgrader's gradebook, through nbgrader's own autograde converter.

Everything nbgrader does after running a notebook is nbgrader's (late penalties, limits on output,
the autograded folder, manual marks kept); only running it and the marks of the checks are ours.
"""

from __future__ import annotations

import logging
import shutil
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.preprocessors.sanitize import SanitizeHTML
from nbformat import NotebookNode
from nbgrader.converters import Autograde
from nbgrader.converters.base import BaseConverter
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    LimitOutput,
    NbGraderPreprocessor,
    SaveAutoGrades,
)
from nbgrader.utils import is_grade, parse_utc
from traitlets import List
from traitlets.config import Config

from autograder.assignments import settings
from autograder.exam import Verdict
from autograder.submissions import Submission

INTAKE = ".course/intake"
Resources = dict[str, Any]


def course_config(root: Path, course: Path) -> Config:
    """The repository's nbgrader settings, for one class folder."""
    config = settings(root)
    config.CourseDirectory.root = str(course)
    return config


class SaveMarks(SaveAutoGrades):
    """SaveAutoGrades, with the examiner's verdicts instead of a look at the outputs."""

    def _add_score(self, cell: NotebookNode, resources: Resources) -> None:
        verdict = self._verdict(cell.metadata.nbgrader["grade_id"], resources)
        if verdict is None:
            super()._add_score(cell, resources)  # a written answer: nbgrader's own rule
            return
        grade = self.gradebook.find_grade(
            verdict.check, self.notebook_id, self.assignment_id, self.student_id
        )
        grade.auto_score = verdict.points
        grade.needs_manual_grade = grade.manual_score is not None
        self.gradebook.db.commit()

    def _add_comment(self, cell: NotebookNode, resources: Resources) -> None:
        name = cell.metadata.nbgrader["grade_id"].removeprefix("answer_")
        verdict = self._verdict(name, resources)
        if verdict is None or is_grade(cell):
            super()._add_comment(cell, resources)
            return
        comment = self.gradebook.find_comment(
            cell.metadata.nbgrader["grade_id"],
            self.notebook_id,
            self.assignment_id,
            self.student_id,
        )
        comment.auto_comment = verdict.sentence
        self.gradebook.db.commit()

    @staticmethod
    def _verdict(name: str, resources: Resources) -> Verdict | None:
        verdicts: Mapping[str, Verdict] = resources["verdicts"]
        return verdicts.get(name)


class CleanMarkdown(NbGraderPreprocessor):
    """Takes active web content out of what students wrote, before a person opens it.

    The submitted file keeps it. Cells that stand in the release as they are pass untouched.
    """

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        """Clean every Markdown and raw cell that is not the release's own."""
        cleaner = SanitizeHTML()
        for cell in nb.cells:
            if cell.cell_type in ("markdown", "raw") and cell.source not in resources["release"]:
                cleaner.preprocess_cell(cell, resources, 0)
        return nb, resources


class GradebookWriter(Autograde):
    """Files graded notebooks: autograded/<student>/<homework>/ and the gradebook's rows."""

    preprocessors = List(
        [CleanMarkdown, LimitOutput, SaveMarks, AssignLatePenalties, CheckCellMetadata]
    )

    def __init__(self, root: Path, course: Path, release: NotebookNode) -> None:
        config = course_config(root, course)
        coursedir = CourseDirectory(config=config)
        super().__init__(coursedir=coursedir, config=config)
        self.force = True
        self.course = course
        self.release = {cell.source for cell in release.cells}
        self.log = coursedir.log = logging.getLogger("course.nbgrader")
        self.log.propagate = False  # its words are for its own command line
        self.log.addHandler(logging.NullHandler())

    @property
    def _input_directory(self) -> str:
        return INTAKE

    def _init_preprocessors(self) -> None:
        """One pass: what Autograde does in two is done before the notebook comes here."""

    def convert_single_notebook(self, notebook_filename: str) -> None:
        """Convert without running anything: the outputs are in the notebook already."""
        BaseConverter.convert_single_notebook(self, notebook_filename)

    def init_single_notebook_resources(self, notebook_filename: str) -> Resources:
        """nbgrader's resources, and the verdicts beside them."""
        resources = super().init_single_notebook_resources(notebook_filename)
        return resources | {"verdicts": self.verdicts, "release": self.release}

    def file(
        self, submission: Submission, notebook: NotebookNode, verdicts: Mapping[str, Verdict]
    ) -> None:
        """Put one graded notebook into the autograded folder and the gradebook.

        Filing again replaces what was there; marks given by hand stay.
        """
        self.verdicts = verdicts
        self.coursedir.assignment_id = submission.homework
        self.coursedir.student_id = submission.student
        folder = self.course / INTAKE / submission.student / submission.homework
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / f"{submission.homework}.ipynb")
        if stamp := read_timestamp(submission.folder):
            (folder / "timestamp.txt").write_text(stamp)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # nbgrader's own, about SQLAlchemy sessions
                self.start()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def start(self) -> None:
        """nbgrader's start, with errors raised as they come."""
        autograded = self.course / "autograded"
        for path in autograded.glob(
            f"{self.coursedir.student_id}/{self.coursedir.assignment_id}/*"
        ):
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
        super().start()


def read_timestamp(folder: Path) -> str:
    """The submission's timestamp.txt, or nothing if there is none or it is not a time."""
    path = folder / "timestamp.txt"
    if path.is_symlink() or not path.is_file() or path.stat().st_size > 200:
        return ""
    text = path.read_text(errors="replace").strip()
    try:
        parse_utc(text)
    except (ValueError, OverflowError, TypeError):
        return ""
    return text
