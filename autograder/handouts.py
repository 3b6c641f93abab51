"""Everything that is handed out, built from its sources in one go."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from autograder import assignments
from autograder.bundle import BUILT, NAME, build_bundle
from autograder.files import ROOT, replace
from autograder.sources import homework_notebook, lecture_notebook, notebook_bytes

Progress = Callable[[str, int, int], None]


def build_handouts(root: Path = ROOT, progress: Progress | None = None) -> list[Path]:
    """Build public exams, lectures, homeworks and the student bundle; return their paths.

    progress: called as progress(what, done, total) before each step.
    Everything is built and the bundle searched for answers before the first file is replaced, so a
    failed build leaves the last good handouts. Building twice changes no byte. Handouts that have
    no source any more are removed.
    Raises HandoutError naming file and cell.
    """
    from autograder.checks import HOMEWORKS

    lectures = sorted(root.glob("notebooks/src/lectures/*.py"))
    total = len(lectures) + len(HOMEWORKS) + 2
    done = 0

    def step(what: str) -> None:
        nonlocal done
        if progress is not None:
            progress(what, done, total)
        done += 1

    step("public cases")
    built = {f"autograder/public/{name}": text for name, text in _public_exams().items()}
    for path in lectures:
        step(path.stem)
        built[f"notebooks/lectures/{path.stem}.ipynb"] = notebook_bytes(lecture_notebook(path))
    settings = assignments.settings(root)
    for homework, checks in HOMEWORKS.items():
        step(homework)
        notebook = homework_notebook(assignments.homework_path(root, homework), checks)
        release = assignments.release_notebook(homework, notebook_bytes(notebook), settings)
        built[f"notebooks/homework/{homework}.ipynb"] = release
    step("student bundle")
    bundle = build_bundle(root, root / "build" / f"{NAME}-students.zip", built)
    for name, content in built.items():
        replace(root / name, content)
    for folder in BUILT:
        for path in (root / folder).glob("*.*"):
            if f"{folder}{path.name}" not in built:
                path.unlink()
    if progress is not None:
        progress("handouts", total, total)
    return [*(root / name for name in built), bundle]


def _public_exams() -> dict[str, bytes]:
    from autograder.public_exams import write_public_exams

    with tempfile.TemporaryDirectory(prefix="course-exams-") as name:
        write_public_exams(Path(name))
        return {path.name: path.read_bytes() for path in sorted(Path(name).glob("*.json"))}
