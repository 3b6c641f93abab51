"""`course`: the one command of staff. Verbs; every one says what it wrote and where.

Exit status 0: done. 1: the work failed. 2: the call was wrong. 130: stopped with Ctrl-C.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.progress
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from autograder.grading.journal import read_journal
from autograder.grading.record import ACCIDENT, Record, by_import
from autograder.project import ROOT, Progress
from autograder.student import command as check_command
from autograder.student.limits import CELL_SECONDS
from course_lib.reference.agents import command as train_command

if TYPE_CHECKING:
    from autograder.grading.cluster import Cluster
    from autograder.grading.sandbox import Sandbox
    from autograder.handouts.build import Built
    from autograder.report.pages import Written
    from autograder.report.results import ClassResults, StudentResult

MAX_CHANGES = 40  # on the terminal; the file has all
DEMO_CELL_SECONDS = 4.0  # endless loops in the made-up class end sooner

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
    student: Annotated[
        list[str] | None, typer.Option(help="Only this student; may be given several times.")
    ] = None,
    no_sandbox: Annotated[
        bool,
        typer.Option("--no-sandbox", help="Run notebooks unconfined. Trust every one of them."),
    ] = False,
    new_cases: Annotated[
        bool, typer.Option("--new-cases", help="Draw other hidden cases for them, from now on.")
    ] = False,
    dask: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Run notebooks on this Dask cluster; judge here."),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(metavar="STUDENT", help="Grade nobody: show how this one was graded last."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Grade every submission of a homework; write marks, feedback and the class report."""
    from autograder.grading.sandbox import Sandbox
    from autograder.report.pages import write_all

    folder = class_folder(course)
    if explain is not None:
        print_journal(list(read_journal(folder, homework, explain)), as_json)
        return
    keep_private(folder)
    chosen = tuple(student or ())
    if dask is not None and no_sandbox:
        raise ValueError("--dask and --no-sandbox do not go together: workers have sandboxes.")
    sandboxed = Sandbox(ROOT, confined=not no_sandbox, private=[folder])
    with _cluster(dask) as cluster, sandboxed as sandbox:
        records = _grade(
            sandbox,
            folder,
            homework,
            workers,
            cell_seconds,
            again,
            chosen,
            bar=not as_json,
            new_cases=new_cases,
            cluster=cluster,
        )
    written = write_all(folder, homework)
    if as_json:
        print(json.dumps([asdict(record) for record in records], indent=1))
    else:
        print_records(homework, records, written.group)
        print_changes(written)
        print_paths(folder, homework, written.report)
    if any(record.state == ACCIDENT for record in records):
        raise typer.Exit(1)


def _grade(
    sandbox: Sandbox,
    folder: Path,
    homework: str,
    workers: int,
    cell_seconds: float,
    again: bool,
    students: tuple[str, ...] = (),
    bar: bool = True,
    new_cases: bool = False,
    cluster: Cluster | None = None,
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
        students=students,
        new_cases=new_cases,
    )
    with _bar(disable=not bar) as progress:
        progress.columns = (*progress.columns, _AtWork(plan.now))
        task = progress.add_task(f"grading {homework}", total=None)

        def tick(student: str, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return grading.grade(plan, sandbox, tick, cluster)


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[Cluster | None]:
    """The cluster at an address, if one is given; says which of its workers may not grade."""
    if address is None:
        yield None
        return
    try:
        from autograder.grading.cluster import Cluster
    except ImportError:
        raise ValueError(
            "--dask needs Dask: pip install -c constraints.txt -e '.[cluster]', here and on each "
            "worker."
        ) from None
    with Cluster(address) as cluster:
        for worker, why in cluster.refused.items():
            complain.print(
                f"{worker} may not grade: {why}", markup=False, highlight=False, soft_wrap=True
            )
        yield cluster


def print_journal(lines: Sequence[dict[str, Any]], as_json: bool) -> None:
    """How a submission was graded: a row for each thing that happened, with the seconds it took."""
    from autograder.report.pages import visible

    if as_json:
        print(json.dumps(lines, indent=1))
        return
    table = Table()
    table.add_column("at", justify="right", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("what")
    ends = [*(line["seconds"] for line in lines[1:]), None]
    for line, end in zip(lines, ends, strict=True):
        took = "" if end is None or end < line["seconds"] else f"{end - line['seconds']:.2f} s"
        words = escape(visible(str(line["words"])))
        table.add_row(f"{line['seconds']:.2f} s", took, escape(visible(str(line["what"]))), words)
    console.print(table)


class _AtWork(rich.progress.ProgressColumn):
    """Who has been at work for longest, and how long."""

    def __init__(self, now: dict[str, float]) -> None:
        super().__init__()
        self.now = now

    def render(self, task: rich.progress.Task) -> Text:
        """A name and seconds."""
        from autograder.report.pages import visible

        if not (at_work := list(self.now.items())):
            return Text("")
        student, since = min(at_work, key=lambda one: one[1])
        return Text(f"{visible(student)[:24]} {time.monotonic() - since:.0f} s", style="dim")


def _bar(disable: bool = False) -> rich.progress.Progress:
    return rich.progress.Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=complain,
        disable=disable,
    )


def print_records(homework: str, records: Sequence[Record], group: ClassResults) -> None:
    """The class in a table: who, how many points, what was wrong in a few words.

    Below it, where the eye is once a long class has scrolled by, what takes points from many.
    """
    from autograder.report.pages import visible
    from autograder.report.results import points
    from autograder.student.modules import why_not

    noun = "submission" if len(records) == 1 else "submissions"
    table = Table(title=f"{homework}: {len(records)} {noun}", title_justify="left")
    table.add_column("student", no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True)
    now = {one.student: one for one in group.students}
    penalties = {one.student: one.penalty for one in group.students if one.penalty}
    if penalties:
        table.add_column("late", justify="right", no_wrap=True)
    table.add_column("what was found", ratio=1)
    for record in records:
        late = [f"-{points(penalties[record.student])}" if record.student in penalties else ""]
        mark = f"{points(_coded(record, now))}/{points(record.max_points)}"
        table.add_row(
            escape(visible(record.student)),
            "" if record.state == ACCIDENT else mark,
            *(late if penalties else []),
            escape(visible(in_short(record))),
        )
    console.print(table)
    if group.not_placed:
        shown = ", ".join(visible(name) for name in group.not_placed[:8])
        more = len(group.not_placed) - 8
        said = f"nobody's, and not graded, in submitted/: {shown}" + (
            f" and {more} more" if more > 0 else ""
        )
        console.print(f"[bold]{escape(said)}[/]", soft_wrap=True, highlight=False)
    for words, students in list(by_import(records).items())[:8]:
        noun = "submission" if len(students) == 1 else "submissions"
        why = f" ({why_not(words)})" if why_not(words) else ""
        said = f"{len(students)} {noun} stopped at `{visible(words)}`{why}"
        console.print(f"[bold]{escape(said)}[/]", soft_wrap=True, highlight=False)


def _coded(record: Record, now: dict[str, StudentResult]) -> float:
    """Points of the checks, with marks that people set."""
    return now[record.student].coded_points if record.student in now else record.points


def in_short(record: Record) -> str:
    """What was wrong with a submission, in a few words."""
    if record.state == "unreadable":
        return record.for_staff
    if record.state == ACCIDENT:
        return f"{ACCIDENT}. {record.for_staff}"
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


def print_changes(written: Written) -> None:
    """Whose mark is another since the last run, and why."""
    from autograder.report.changes import changes_path
    from autograder.report.pages import visible
    from autograder.report.results import points

    if not written.changes:
        return
    number = len(written.changes)
    title = f"{number} {'mark' if number == 1 else 'marks'} changed"
    table = Table(title=title, title_justify="left")
    for column in ("student", "question", "from", "to", "why"):
        table.add_column(column, no_wrap=column in ("student", "question"))
    for change in written.changes[:MAX_CHANGES]:
        words = (change.student, change.question, points(change.before), points(change.after))
        table.add_row(*(escape(visible(word)) for word in (*words, change.why)))
    console.print(table)
    path = changes_path(written.group.course, written.group.homework)
    console.print(f"changes    {path}", soft_wrap=True, highlight=False)


def print_paths(folder: Path, homework: str, report: Path) -> None:
    """Where everything lies."""
    from autograder.handouts.assignments import settings
    from autograder.handouts.books import shown

    console.print(f"gradebook  {shown(folder, settings())}", soft_wrap=True, highlight=False)
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
    keep_private(folder)
    written = write_all(folder, homework)
    print_changes(written)
    print_paths(folder, homework, written.report)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def mark(
    context: typer.Context,
    homework: Annotated[str, typer.Argument(help="hw1, hw2, ...")],
    course: ClassOption = None,
    port: Annotated[int, typer.Option(help="Where the browser finds it.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open it at once.")] = True,
) -> None:
    """Open nbgrader's formgrader at a homework, to mark what is answered in words.

    The class folder may lie anywhere. Ctrl-C ends it; then `course report` writes the pages anew.
    Other options, such as --ip, go to Jupyter.
    """
    import subprocess
    import sys

    from autograder.questions import checks_of

    checks_of(homework)
    folder = class_folder(course)
    if not (folder / "autograded").is_dir():
        raise ValueError(f"Nothing is graded in {folder} yet: run `course grade {homework}`.")
    keep_private(folder)
    command = [
        *(sys.executable, "-m", "jupyterlab"),
        f"--ServerApp.root_dir={folder}",
        f"--ServerApp.port={port}",
        f"--ServerApp.open_browser={browser}",
        f"--LabApp.default_url=/formgrader/gradebook/{homework}/{homework}",
        *context.args,
    ]
    environment = {**os.environ, "COURSE_CLASS": str(folder)}
    raise typer.Exit(subprocess.run(command, cwd=ROOT, env=environment).returncode)


@app.command()
def due(
    homework: Annotated[str, typer.Argument(help="hw1, hw2, ...")],
    until: Annotated[
        str | None, typer.Argument(help="Such as 2026-10-02T23:59:00+02:00, or never.")
    ] = None,
    course: ClassOption = None,
) -> None:
    """Say until when a homework may be handed in, or set it; `course report` then counts anew."""
    from autograder.grading import late
    from autograder.handouts.assignments import release_assignment

    folder = class_folder(course)
    keep_private(folder)
    end = None if until in (None, "never") else late.read_time(until)
    release_assignment(folder, homework)
    if until is not None:
        late.set_due(folder, homework, end)
    now = late.due_date(folder, homework)
    said = "whenever one likes" if now is None else f"until {now.isoformat()}"
    console.print(f"{homework} may be handed in {said}", highlight=False)


@app.command()
def extend(
    homework: Annotated[str, typer.Argument(help="hw1, hw2, ...")],
    student: Annotated[str, typer.Argument(help="The name of the student's folder.")],
    days: Annotated[float, typer.Option(min=0, max=366, help="From the due date on.")] = 0,
    hours: Annotated[float, typer.Option(min=0, max=999, help="And so many hours.")] = 0,
    course: ClassOption = None,
) -> None:
    """Give one student longer, in place of what was given before; nothing takes it back."""
    import datetime as dt

    from autograder.grading import late

    folder = class_folder(course)
    keep_private(folder)
    longer = dt.timedelta(days=days, hours=hours)
    late.extend(folder, homework, student, longer)
    end = late.due_date(folder, homework)
    until = f"until {(end + longer).isoformat()}" if end else "no due date is set yet"
    console.print(
        f"{student} has {days:g} days and {hours:g} hours longer for {homework}: {until}",
        highlight=False,
    )
    console.print(f"`course report {homework}` works out anew what is taken off", highlight=False)


@app.command()
def draw(
    homework: Annotated[str, typer.Argument(help="hw3, ...")],
    course: ClassOption = None,
    names: Annotated[
        Path | None,
        typer.Option(
            help="More students: a text file, a folder's name in submitted/ on each line."
        ),
    ] = None,
) -> None:
    """Write down which numbers each student is to work on, where a question gives each his own."""
    from autograder.grading import drawing
    from autograder.questions import checks_of

    checks = checks_of(homework)
    folder = class_folder(course)
    keep_private(folder)
    path, students = drawing.write_draw(folder, homework, checks, names)
    noun = "student" if students == 1 else "students"
    console.print(f"wrote {path} ({students} {noun})", soft_wrap=True, highlight=False)
    console.print(
        "send each student only their own numbers; they stay the same as long as this class folder "
        "keeps its secret and students keep their names in submitted/",
        highlight=False,
    )


def keep_private(folder: Path) -> None:
    """Nobody but their owner reads a class's files; nbgrader's `groupshared` lets the group."""
    from autograder.grading.private import close

    close(folder, ROOT)


@app.command()
def handouts(
    term: Annotated[
        str | None,
        typer.Option(
            help='Draw the public numbers for a term, such as "2027S"; they stay until another is '
            'named. "" goes back to the course\'s own.'
        ),
    ] = None,
) -> None:
    """Build lectures, homeworks, the student bundle, COVERAGE.md and the PDFs from their sources.

    Only what changed since the last time is executed and built anew.
    """
    from autograder.handouts.build import build_everything, in_term

    with in_term(ROOT, term):
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


@app.command()
def doctor(
    course: ClassOption = None,
    workers: Annotated[int, typer.Option(min=1, help="Submissions side by side.")] = os.cpu_count()
    or 1,
    as_json: JsonOption = False,
) -> None:
    """Say what protects grading on this machine, and try each protection from inside."""
    from autograder.grading.doctor import examine_machine

    folder = class_folder(course)
    with console.status("looking") as status:
        findings = list(
            examine_machine(ROOT, folder if folder.is_dir() else None, workers, status.update)
        )
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        table = Table()
        for column in ("", "protection", "here"):
            table.add_column(column)
        for one in findings:
            mark = "[green]yes[/]" if one.holds else "[bold red]no[/]"
            advice = f"\n{one.advice}" if one.advice else ""
            table.add_row(mark, one.name, escape(f"{one.said}{advice}"))
        console.print(table)
    if any(one.needed and not one.holds for one in findings):
        raise typer.Exit(1)


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
    keep_private(folder)
    graded, reports = 0, []
    with Sandbox(ROOT, private=[folder]) as sandbox:
        names = tuple(homeworks())
        for homework in names:
            release_assignment(folder, homework)
        write_class(folder, names)
        for homework in names:
            records = _grade(sandbox, folder, homework, workers, DEMO_CELL_SECONDS, again=False)
            written = write_all(folder, homework)
            reports.append((homework, written.report))
            print_records(homework, records, written.group)
            graded += len(records)
    for homework, path in reports:
        print_paths(folder, homework, path)
    console.print(
        f"by hand    .venv/bin/course mark {names[0]} --class {folder}",
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
        if error.errno == errno.ENOSPC:
            said += ". Make room: what is done stays, and the same command goes on from here."
        complain.print(f"course: {said}", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1) from None
    except Exception as error:
        if not type(error).__module__.startswith("sqlalchemy."):
            raise
        from autograder.handouts.books import why_not

        complain.print(f"course: {why_not(error)}", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1) from None
    except SystemExit as end:
        if end.code == train_command.STOPPED and not isinstance(end, train_command.Explained):
            complain.print(
                "course: stopped. What is done stays; the same command goes on from here."
            )
        raise


if __name__ == "__main__":
    main()
