"""Homeworks as nbgrader assignments: source and release, made by nbgrader's own converter."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
import nbgrader
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import GenerateAssignment
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from traitlets.config.loader import Config, PyFileConfigLoader

from autograder.handouts.books import gradebook_url, open_gradebook, patient_url
from autograder.handouts.freshness import fresh_files, key_of, remember
from autograder.handouts.sources import homework_notebook, notebook_bytes
from autograder.project import ROOT, HandoutError, replace
from autograder.questions.check import Check

SETTINGS = "nbgrader_config.py"
RELEASES = ".course/releases"  # of a class folder: what was released, made of what


def settings(root: Path = ROOT) -> Config:
    """The settings that `nbgrader` itself would use from here."""
    return PyFileConfigLoader(SETTINGS, path=str(root)).load_config()


def homework_path(root: Path, homework: str) -> Path:
    """Where the source of a homework lies."""
    return root / "notebooks" / "src" / "homework" / f"{homework}.py"


def release_notebook(homework: str, source: bytes, config: Config) -> bytes:
    """What students get of a source notebook. Touches no class folder and no gradebook."""
    return _generate(homework, source, config, None)


def release_assignment(
    course: Path, homework: str, checks: Sequence[Check] | None = None, root: Path = ROOT
) -> list[Path]:
    """Put a homework into the class folder and register it in the class's gradebook.

    Writes source/, release/ and the gradebook, and returns the files written: none if nothing has
    changed since the last call. The old ones stay if anything goes wrong. Texts, points and answers
    may change after students were graded, the set of questions may not.
    Raises HandoutError if it would, or if the source has a mistake.
    """
    if checks is None:
        from autograder.questions import checks_of

        checks = checks_of(homework, root)
    config = settings(root)
    database = gradebook_url(course, config)
    notebook = homework_notebook(homework_path(root, homework), checks)
    source = notebook_bytes(notebook)
    source_path = course / "source" / homework / f"{homework}.ipynb"
    release_path = course / "release" / homework / f"{homework}.ipynb"
    made_from = [source.decode(), (root / SETTINGS).read_text(), nbgrader.__version__, database]
    key = key_of(made_from)

    course.mkdir(parents=True, exist_ok=True)
    with open_gradebook(course, config) as gradebook:
        registered = _require_same_questions(gradebook, homework, notebook)
    if registered and fresh_files(course, homework, key, RELEASES) is not None:
        return []
    release = _generate(homework, source, config, patient_url(course, config))
    replace(source_path, source)
    replace(release_path, release)
    remember(course, homework, key, [source_path, release_path], RELEASES)
    return [source_path, release_path]


def _require_same_questions(gradebook: Gradebook, homework: str, notebook: NotebookNode) -> bool:
    """Whether the homework is registered; HandoutError if graded and its questions differ now."""
    try:
        old = gradebook.find_notebook(homework, homework)
    except MissingEntry:
        return False
    graded = len(old.submissions)
    if not graded:
        return True
    tags = [cell.metadata.nbgrader for cell in notebook.cells if "nbgrader" in cell.metadata]
    new_names = {tag.grade_id for tag in tags}
    old_names = {cell.name for cell in old.source_cells}
    changes = [f"{name} added" for name in sorted(new_names - old_names)]
    changes += [f"{name} removed" for name in sorted(old_names - new_names)]
    for flag, cells in (("grade", old.grade_cells), ("solution", old.solution_cells)):
        before = {cell.name for cell in cells}
        changes += [
            f"{tag.grade_id} changed its kind"
            for tag in tags
            if tag.grade_id in old_names and tag[flag] != (tag.grade_id in before)
        ]
    if changes:
        raise HandoutError(
            f"{homework} has {graded} graded submissions, so its questions are fixed and only "
            f"their texts, answers and points can change ({', '.join(changes)}): put new questions "
            "into another homework, or start a new class folder"
        )
    return True


def _generate(homework: str, source: bytes, config: Config, database: str | None) -> bytes:
    """Run nbgrader's converter in a folder of its own, on the given gradebook or on none."""
    with tempfile.TemporaryDirectory(prefix="course-release-") as name:
        folder = Path(name).resolve()
        replace(folder / "source" / homework / f"{homework}.ipynb", source)
        own = Config()
        own.merge(config)
        own.CourseDirectory.root = str(folder)
        own.CourseDirectory.assignment_id = homework
        if database is None:
            own.GenerateAssignment.no_database = True
            own.SaveCells.enabled = False
        else:
            own.CourseDirectory.db_url = database
        converter = GenerateAssignment(coursedir=CourseDirectory(config=own), config=own)
        with _captured(converter.log) as log:
            try:
                converter.start()
            except NbGraderException:
                raise HandoutError(
                    f"nbgrader could not convert {homework}:\n{log.getvalue().strip()}"
                ) from None
        release = (folder / "release" / homework / f"{homework}.ipynb").read_bytes()
    nbformat.validate(nbformat.reads(release.decode(), as_version=4))
    return release


@contextlib.contextmanager
def _captured(log: logging.Logger) -> Iterator[io.StringIO]:
    """Keep nbgrader's log to ourselves: it is shown when something went wrong."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handlers, propagate, level = log.handlers, log.propagate, log.level
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.WARNING)
    try:
        yield text
    finally:
        log.handlers, log.propagate = handlers, propagate
        log.setLevel(level)
