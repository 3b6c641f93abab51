"""`course check NOTEBOOK`: a student's whole homework, run and asked in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

import typer
from nbformat import NotebookNode

from autograder.student import wire
from autograder.student.check import explain, public_exams
from autograder.student.exam import Verdict
from autograder.student.kept import asked_in
from autograder.student.limits import ANSWER_SECONDS, CELL_SECONDS, CELLS_SECONDS
from autograder.student.modules import hides_a_module, in_words, modules_not_there
from autograder.student.notebook_file import (
    Unreadable,
    check_cells,
    grade_id_of,
    left_out,
    not_run,
    read_notebook,
    term_named,
)
from autograder.student.recipes import files_asked
from autograder.student.run import (
    Answers,
    Crash,
    Over,
    Place,
    better,
    how_it_ended,
    places_of,
    read_message,
    run_once,
    run_past_crashes,
)
from course_lib.term import term_of

START_SECONDS = 120.0  # for a Python that has torch to import from a slow disk
SECONDS_TO_DIE = 2.0  # for processes that were killed
PICTURE = re.compile(r"!\[[^\]\n]*\]\(([^)\s]+)\)")


class CannotCheck(ValueError):
    """The notebook cannot be checked at all; the message says why and what to do."""


@dataclass
class Report:
    """What checking a notebook found.

    failed_cells: what stopped a code cell, by its number from 1. unwritten: names of written
    questions that still hold the handout's text. first_lines: of the code cells, in order.
    not_there: code cells by the module that they import and grading does not have, a helper
    file's counting as the cell's that imports it. hiding: names beside the notebook that would
    stand before the course's own modules; grading leaves them out. lacking: files that the
    questions ask for or the texts show, and that do not lie beside the notebook.
    """

    homework: str
    verdicts: list[Verdict] = field(default_factory=list)
    failed_cells: dict[int, str] = field(default_factory=dict)
    unwritten: list[str] = field(default_factory=list)
    first_lines: list[str] = field(default_factory=list)
    not_there: dict[str, list[int]] = field(default_factory=dict)
    hiding: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)

    @property
    def points(self) -> float:
        """Points of the checks."""
        return sum(verdict.points for verdict in self.verdicts)

    @property
    def max_points(self) -> float:
        """The most that the checks can give."""
        return sum(verdict.max_points for verdict in self.verdicts)


def examine_notebook(
    path: Path, cell_seconds: float = CELL_SECONDS, tell: Callable[[str], None] = lambda _: None
) -> Report:
    """Run a notebook's code cells in a process of its own and ask all public examples.

    As in grading, a function counts as it stood at its check or at the end, whichever is better.
    tell(words): called with what is being done.
    Raises CannotCheck if there is no such notebook, or it is not one of the homeworks.
    """
    cells = _read_cells(path)
    homework = _homework(path, cells)
    exams = public_exams()[homework]
    code = [cell for cell in cells if cell.cell_type == "code"]
    report = Report(homework, first_lines=[_first_line(cell.source) for cell in code])
    report.not_there = modules_not_there([cell.source for cell in code], path.resolve().parent)
    report.hiding = sorted(p.name for p in path.resolve().parent.iterdir() if _hides(p))
    for cell in cells:
        grade_id = grade_id_of(cell)
        if grade_id.startswith("written_") and "YOUR ANSWER HERE" in cell.source:
            report.unwritten.append(grade_id.removeprefix("written_"))
    report.lacking = _lacking(path.resolve().parent, cells, [exam.recipe for exam in exams])
    names = [exam.check for exam in exams]
    # The locked cells only ask what is asked anyway.
    todo = [
        None if asked_in(cell.source) in names or left_out(cell.source) else cell.source
        for cell in code
    ]
    places, answers = places_of(exams, check_cells(code, names)), Answers()

    def keep(cell: int, outputs: Sequence[dict[str, Any]]) -> None:
        for output in outputs:
            if output["output_type"] == "error":
                said = f"{output['ename']}: {output['evalue']}".removesuffix(": ")
                report.failed_cells.setdefault(cell + 1, said.strip().splitlines()[0])

    def see(where: int | Place) -> None:
        if isinstance(where, int):
            tell(f"Code cell {where + 1} of {len(code)}: {report.first_lines[where]}")
        else:
            tell(f"Asking {where.check}")

    def run(cells: Sequence[str | None], pending: Sequence[Place]) -> Crash | None:
        order = {
            "cells": list(cells),
            "cell_seconds": cell_seconds,
            "cells_seconds": max(cell_seconds, CELLS_SECONDS),
            "answer_seconds": ANSWER_SECONDS,
        }
        with contextlib.closing(_Line(path.resolve().parent)) as line:
            return run_once(line, order, exams, pending, keep, answers, START_SECONDS, see)

    tell("Starting Python")
    for crash in run_past_crashes(todo, places, answers, run):
        if isinstance(crash.where, int):
            report.failed_cells[crash.where + 1] = f"it {crash.words}"
    for exam in exams:
        verdict = better(exam, places, answers)[0]
        if verdict.outcome == "missing" and (words := not_run(cells, exam.check)):
            verdict = replace(verdict, sentence=words)
        report.verdicts.append(verdict)
    return report


class _Line:
    """The line to a Python of its own in a folder. Raises CannotCheck if it does not start."""

    def __init__(self, folder: Path) -> None:
        home = str(Path(__file__).resolve().parents[2])
        given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        search = os.pathsep.join([home, *(os.path.abspath(path) for path in given if path)])
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "autograder.student.probe"],  # -P: ours before the folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            # As in grading, no GPU: a fork could not use it.
            env={
                **os.environ,
                "PYTHONPATH": search,
                "MPLBACKEND": "Agg",
                "CUDA_VISIBLE_DEVICES": "",
            },
            start_new_session=True,
        )
        self.started = self.late = False

    def say(self, message: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(wire.dumps(message))
            self.process.stdin.flush()
        except OSError:
            raise self._over() from None

    def hear(self, patience: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        watch = threading.Timer(patience, self._give_up)
        watch.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watch.cancel()
        if not line:
            raise self._over()
        self.started = True
        return read_message(line)

    def close(self) -> None:
        self._kill()
        self.process.communicate()
        until = time.monotonic() + SECONDS_TO_DIE
        while self._is_something_left() and time.monotonic() < until:
            time.sleep(0.01)

    def _is_something_left(self) -> bool:
        """Whether the notebook's processes are still there: a signal takes a moment to end them."""
        signal_all = getattr(os, "killpg", None)
        if signal_all is None:
            return False
        try:
            signal_all(self.process.pid, 0)
        except OSError:
            return False
        return True

    def _kill(self) -> None:
        """With all that a notebook left running, where the system tells what that is."""
        if kill_all := getattr(os, "killpg", None):
            with contextlib.suppress(OSError):
                kill_all(self.process.pid, signal.SIGKILL)
        self.process.kill()

    def _give_up(self) -> None:
        self.late = True
        self._kill()

    def _over(self) -> Exception:
        if not self.started:
            return CannotCheck(
                "Python did not start: does `python -m autograder.student.probe` run?"
            )
        if self.late:
            return Over("timed out", "did not stop at its time limit")
        try:
            code = self.process.wait(2)
        except subprocess.TimeoutExpired:  # it closed its line and lives on
            return Over("killed", "ended without a word")
        return how_it_ended(code if code >= 0 else 128 - code)


def _read_cells(path: Path) -> list[NotebookNode]:
    if not path.exists():
        raise CannotCheck(f"There is no file {path}: give the path of your notebook.")
    try:
        notebook = read_notebook(path)
    except Unreadable as error:
        raise CannotCheck(f"{path} cannot be checked. {error.for_student}") from None
    except Exception:  # whatever a file can hold
        raise CannotCheck(
            f"{path} is not a Jupyter notebook: save it from Jupyter as .ipynb and try again."
        ) from None
    if (its := term_named(notebook)) not in ("", term_of()):
        raise CannotCheck(
            f"{path} is of term {its}, and this copy of the course for {term_of() or 'no term'}: "
            "its numbers are others. Put your answers into the notebook that came with it."
        )
    return list(notebook.cells)


def _hides(path: Path) -> bool:
    if path.parent == Path(__file__).resolve().parents[2]:  # the course itself
        return False
    if path.is_dir():
        return (path / "__init__.py").exists() and hides_a_module(f"{path.name}/__init__.py")
    return hides_a_module(path.name)


def _lacking(folder: Path, cells: Sequence[NotebookNode], recipes: Sequence[str]) -> list[str]:
    """Files that recipes ask for, and pictures that texts show, that are not in the folder."""
    names = {name for recipe in recipes for name in files_asked(recipe)}
    for cell in cells:
        if cell.cell_type == "markdown":
            names |= {name for name in PICTURE.findall(cell.source) if ":" not in name}
    return sorted(name for name in names if not (folder / unquote(name)).exists())


def _first_line(source: str, limit: int = 40) -> str:
    """By which a reader finds a cell again."""
    line = next((line.strip() for line in source.splitlines() if line.strip()), "")
    return line if len(line) <= limit else line[: limit - 3] + "..."


def _homework(path: Path, cells: Sequence[NotebookNode]) -> str:
    """The homework whose questions the notebook holds most of, or whose name its file has."""
    found = {grade_id_of(cell).removeprefix("answer_") for cell in cells}
    counts = {
        homework: sum(exam.check in found for exam in exams)
        for homework, exams in public_exams().items()
    }
    best = max(counts, key=lambda homework: counts[homework])
    if counts[best]:
        return best
    for homework in counts:
        if homework in path.stem.lower():
            return homework
    raise CannotCheck(
        f"{path} holds no question of {' or '.join(counts)}: is it the notebook that was handed "
        "out?"
    )


def check_notebook(
    notebook: Annotated[Path, typer.Argument(help="Your homework, such as hw1.ipynb.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    cell_seconds: Annotated[
        float, typer.Option(min=0.1, help="Processor time of one cell.")
    ] = CELL_SECONDS,
) -> None:
    """Run a notebook from the top and check every answer on the public examples.

    Exit status 0: all right. 1: something is wrong. 2: there is nothing to check.
    """
    from rich.console import Console
    from rich.markup import escape

    try:
        with Console(stderr=True).status("") as status:  # seen on a terminal alone
            report = examine_notebook(
                notebook, cell_seconds, lambda words: status.update(escape(words))
            )
    except CannotCheck as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if as_json:
        summary = {
            "homework": report.homework,
            "points": report.points,
            "max_points": report.max_points,
            "checks": [asdict(verdict) for verdict in report.verdicts],
            "failed_cells": {str(number): said for number, said in report.failed_cells.items()},
            "unwritten": report.unwritten,
            "not_there": report.not_there,
            "hiding": report.hiding,
            "lacking": report.lacking,
        }
        typer.echo(json.dumps(summary, indent=1))
    else:
        _print(notebook, report)
    if report.points < report.max_points:
        raise typer.Exit(1)


def _print(notebook: Path, report: Report) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(title=f"{notebook.name}: {report.homework}", title_justify="left")
    table.add_column("Question", no_wrap=True)
    table.add_column("Points", justify="right", no_wrap=True)
    table.add_column("What was found")
    for verdict in report.verdicts:
        right = verdict.outcome == "right"
        table.add_row(
            verdict.check,
            f"{verdict.points:g} of {verdict.max_points:g}",
            "[green]right on the public examples[/]" if right else escape(explain(verdict)),
        )
    console.print(table)
    console.print(
        f"{report.points:g} of {report.max_points:g} points on the public examples. "
        "Answers in words are marked by hand."
    )
    for number, said in sorted(report.failed_cells.items()):
        line = report.first_lines[number - 1]
        console.print(f"Code cell {number} ({escape(line)}) stopped: {escape(said)}")
    for module, cells in report.not_there.items():
        noun = "code cell" if len(cells) == 1 else "code cells"
        where = ", ".join(map(str, cells))
        console.print(
            f"[bold]Grading does not have {escape(module)}[/], which {noun} {where} import"
            f"{'s' if len(cells) == 1 else ''}: what needs it is lost there. Use {in_words()}, "
            "Python's own modules, or a file that you hand in too."
        )
    for name in report.hiding:
        console.print(
            f"[bold]{escape(name)}[/] beside your notebook has the name of a module of the course: "
            "grading leaves it out. Give it another name."
        )
    for name in report.lacking:
        console.print(
            f"[bold]{escape(name)}[/] is to be handed in with the notebook, and does not lie "
            "beside it."
        )
    if report.unwritten:
        console.print(f"Still to be answered in words: {', '.join(report.unwritten)}")


app = typer.Typer(
    help="Check your homework before you hand it in.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("check")(check_notebook)


@app.callback()
def _commands() -> None:
    """Check your homework before you hand it in."""


def main() -> None:
    """The console script of the student bundle."""
    app()


if __name__ == "__main__":
    main()
