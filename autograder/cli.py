"""`course`: the one command of staff. Verbs; every one says what it wrote and where.

Exit status 0: done. 1: the work failed. 2: the call was wrong. 130: stopped with Ctrl-C.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import rich.progress
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from autograder.grading.record import Record, by_import
from autograder.project import ROOT, Progress
from autograder.student import command as check_command
from autograder.student.limits import CELL_SECONDS
from course_lib.reference.agents import command as train_command

if TYPE_CHECKING:
    from autograder.grading.sandbox import Sandbox
    from autograder.handouts.build import Built

DEMO_CELL_SECONDS = 2.0  # endless loops in the made-up class end sooner

app = typer.Typer(
    help="Build handouts, grade homework, and report what was found.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
new = typer.Typer(help="Begin a question or a homework, or a lecture.", no_args_is_help=True)
app.add_typer(new, name="new")
app.command("check")(check_command.check_notebook)
app.command("train")(train_command.train_agent)
console = Console()
complain = Console(stderr=True)

ClassOption = Annotated[
    Path | None,
    typer.Option(
        "--class", help="The class folder [default: $COURSE_CLASS, or class/ in the repository]."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def class_folder(given: Path | None) -> Path:
    """The class folder that is meant."""
    return (given or Path(os.environ.get("COURSE_CLASS") or ROOT / "class")).resolve()


@app.command()
def grade(
    homework: Annotated[str, typer.Argument(help="hw1, hw2, ...")],
    course: ClassOption = None,
    workers: Annotated[int, typer.Option(min=1, help="Submissions side by side.")] = os.cpu_count()
    or 1,
    cell_seconds: Annotated[
        float, typer.Option(min=0.1, help="Processor time of one cell.")
    ] = CELL_SECONDS,
    again: Annotated[bool, typer.Option(help="Also what is graded and unchanged.")] = False,
    no_sandbox: Annotated[
        bool,
        typer.Option("--no-sandbox", help="Run notebooks unconfined. Trust every one of them."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Grade every submission of a homework; write marks, feedback and the class report."""
    from autograder.grading.sandbox import Sandbox
    from autograder.report.pages import write_all

    folder = class_folder(course)
    with Sandbox(ROOT, confined=not no_sandbox) as sandbox:
        records = _grade(sandbox, folder, homework, workers, cell_seconds, again, bar=not as_json)
    written = write_all(folder, homework)
    if as_json:
        print(json.dumps([asdict(record) for record in records], indent=1))
        return
    print_records(homework, records)
    print_paths(folder, homework, written)


def _grade(
    sandbox: Sandbox,
    folder: Path,
    homework: str,
    workers: int,
    cell_seconds: float,
    again: bool,
    bar: bool = True,
) -> list[Record]:
    from autograder.grading import grade as grading
    from autograder.grading.sandbox import Limits

    plan = grading.Plan(
        root=ROOT,
        course=folder,
        homework=homework,
        workers=workers,
        limits=Limits(cell_seconds=cell_seconds),
        again=again,
    )
    with _bar(disable=not bar) as progress:
        task = progress.add_task(f"grading {homework}", total=None)

        def tick(student: str, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return grading.grade(plan, sandbox, tick)


def _bar(disable: bool = False) -> rich.progress.Progress:
    return rich.progress.Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=complain,
        disable=disable,
    )


def print_records(homework: str, records: Sequence[Record]) -> None:
    """The class in a table: who, how many points, what was wrong in a few words.

    Below it, where the eye is once a long class has scrolled by, what takes points from many.
    """
    from autograder.report.pages import visible
    from autograder.student.modules import why_not

    table = Table(title=f"{homework}: {len(records)} submissions", title_justify="left")
    table.add_column("student", no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True)
    table.add_column("what was found", ratio=1)
    for record in records:
        table.add_row(
            escape(visible(record.student)),
            f"{record.points:g}/{record.max_points:g}",
            escape(visible(in_short(record))),
        )
    console.print(table)
    for words, students in list(by_import(records).items())[:8]:
        noun = "submission" if len(students) == 1 else "submissions"
        why = f" ({why_not(words)})" if why_not(words) else ""
        said = f"{len(students)} {noun} stopped at `{visible(words)}`{why}"
        console.print(f"[bold]{escape(said)}[/]", soft_wrap=True, highlight=False)


def in_short(record: Record) -> str:
    """What was wrong with a submission, in a few words."""
    if record.state == "unreadable":
        return record.for_staff
    parts = [
        f"{verdict.check}: {verdict.mistake or verdict.outcome}"
        for verdict in record.verdicts
        if verdict.outcome != "right"
    ]
    if record.state not in ("graded", "cells failed"):
        parts.insert(0, record.state)
    if record.notices:
        noun = "notice" if len(record.notices) == 1 else "notices"
        parts.append(f"look: {len(record.notices)} {noun}")
    return "; ".join(parts) or "all right"


def print_paths(folder: Path, homework: str, report: Path) -> None:
    """Where everything lies."""
    console.print(f"gradebook  {folder / 'gradebook.db'}", soft_wrap=True, highlight=False)
    console.print(
        f"feedback   {folder / 'feedback'}/<student>/{homework}/{homework}.html",
        soft_wrap=True,
        highlight=False,
    )
    console.print(f"report     {report}", soft_wrap=True, highlight=False)


@app.command()
def report(
    homework: Annotated[str, typer.Argument(help="hw1, hw2, ...")], course: ClassOption = None
) -> None:
    """Write the class report and the feedback pages anew, with marks given by hand since."""
    from autograder.questions import checks_of
    from autograder.report.pages import write_all

    checks_of(homework)  # or a slip of the pen would make a page of nothing
    folder = class_folder(course)
    print_paths(folder, homework, write_all(folder, homework))


@app.command()
def handouts() -> None:
    """Build lectures, homeworks, the student bundle, COVERAGE.md and the PDFs from their sources.

    Only what changed since the last time is executed and built anew.
    """
    from autograder.handouts.build import build_everything

    _build(build_everything)


def _build(build: Callable[[Path, Progress], Built]) -> None:
    """Build something with a progress bar, and say where it is."""
    steps = 0

    with _bar() as progress:
        task = progress.add_task("looking for changes", total=None)

        def tick(what: str, done: int, total: int) -> None:
            nonlocal steps
            steps += 1
            progress.update(task, description=what, completed=done, total=total)

        built = build(ROOT, tick)
        progress.update(task, visible=steps > 0)
    _say_written(built.changed)
    if not built.changed:
        console.print(f"nothing changed: all {len(built.files)} files stand", highlight=False)


@app.command()
def checks(as_json: JsonOption = False) -> None:
    """List every check, its points, and the known mistakes it names."""
    from autograder.questions import homeworks

    asked = [check for each in homeworks().values() for check in each]
    named = {check.name: [mistake.name for mistake in check.misconceptions] for check in asked}
    if as_json:
        rows = [
            {
                "homework": check.homework,
                "check": check.name,
                "title": check.title,
                "points": check.points,
                "misconceptions": named[check.name],
            }
            for check in asked
        ]
        print(json.dumps(rows, indent=1))
        return
    table = Table()
    for column in ("homework", "check", "points", "mistakes it names"):
        table.add_column(column)
    for check in asked:
        table.add_row(check.homework, check.name, str(check.points), "\n".join(named[check.name]))
        table.add_section()
    console.print(table)


@new.command("question")
def new_question(
    homework: Annotated[str, typer.Argument(help="hw1, hw2, ..., or a new one.")],
    name: Annotated[str, typer.Argument(help="The function that students write.")],
) -> None:
    """Write the skeleton of a question: its answer, its check, its cells in the homework.

    A homework that is not there yet is begun with it.
    """
    from autograder.handouts import skeletons

    _say_written(skeletons.new_question(homework, name))


@new.command("lecture")
def new_lecture(
    stem: Annotated[str, typer.Argument(help="Such as 09_language_models.")],
) -> None:
    """Write the skeleton of a lecture: a claim, its check, a picture, a planted mistake."""
    from autograder.handouts import skeletons

    _say_written(skeletons.new_lecture(stem))


def _say_written(paths: Sequence[Path]) -> None:
    for path in paths:
        console.print(f"wrote {path.relative_to(ROOT)}", soft_wrap=True, highlight=False)


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Option(help="Where the made-up class goes; replaced if it exists.")
    ] = ROOT / "build" / "demo",
    workers: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
) -> None:
    """Build everything, make up a class, grade it, and show what came out."""
    from autograder.demo.made_up_class import write_class
    from autograder.grading.sandbox import Sandbox
    from autograder.handouts.assignments import release_assignment
    from autograder.handouts.build import build_handouts
    from autograder.questions import homeworks
    from autograder.report.pages import write_all

    started = time.monotonic()
    _build(build_handouts)
    _remove(folder)
    graded, reports = 0, []
    with Sandbox(ROOT) as sandbox:
        names = tuple(homeworks())
        for homework in names:
            release_assignment(folder, homework)
        write_class(folder, names)
        for homework in names:
            records = _grade(sandbox, folder, homework, workers, DEMO_CELL_SECONDS, again=False)
            reports.append((homework, write_all(folder, homework)))
            print_records(homework, records)
            graded += len(records)
    for homework, path in reports:
        print_paths(folder, homework, path)
    console.print(
        f"by hand    COURSE_CLASS={folder} .venv/bin/jupyter lab, menu Nbgrader > Formgrader",
        soft_wrap=True,
        highlight=False,
    )
    console.print(f"took {time.monotonic() - started:.1f} s", highlight=False)
    console.print(f"graded {graded} submissions", highlight=False)


def _remove(folder: Path) -> None:
    """Remove an earlier made-up class, and only such a one."""
    import shutil

    if not folder.exists():
        return
    if not (folder / ".course").is_dir():
        raise ValueError(f"{folder} exists and is no class folder: name another with --folder.")
    shutil.rmtree(folder)


def main() -> None:
    """Run the command; a mistake is a sentence, never a traceback."""
    from autograder.grading.sandbox import SandboxError
    from autograder.project import HandoutError

    try:
        app()
    except (SandboxError, HandoutError) as error:
        complain.print(f"course: {error}", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1) from None
    except ValueError as error:
        complain.print(f"course: {error}", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(2) from None
    except OSError as error:  # a full disk, a folder of somebody else's
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        complain.print(f"course: {said}", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1) from None
    except SystemExit as end:
        if end.code == train_command.STOPPED and not isinstance(end, train_command.Explained):
            complain.print(
                "course: stopped. What is done stays; the same command goes on from here."
            )
        raise


if __name__ == "__main__":
    main()
