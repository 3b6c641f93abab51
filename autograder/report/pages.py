"""The pages people read after grading: the class report for staff, one feedback page a student.

Everything that comes from a submission is text to these pages: escaped, cut to length, and with
control characters and direction marks made visible. The pages load nothing and run nothing.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bleach
import jinja2
import mistune
import nbformat
from markupsafe import Markup
from nbformat import NotebookNode

from autograder.grading.by_hand import answer_cell
from autograder.grading.examiner import STOPPED
from autograder.grading.late import settle
from autograder.grading.pictures import pictures_of
from autograder.grading.placing import Submission
from autograder.project import Progress, replace, unseen
from autograder.report import results
from autograder.report.changes import Change, note
from autograder.report.leaderboard import Row, claims, leaderboard, public
from autograder.report.results import ClassResults, Mark, StudentResult, class_results, points
from autograder.student.modules import why_not
from autograder.student.notebook_file import grade_id_of, read_notebook

MAX_TEXT = 600
MAX_CODE = 20_000
MAX_COMMENT = 4_000
# What Markdown makes of a comment, and no more: nothing that loads, runs or looks like the page.
COMMENT_TAGS = set("a blockquote br code del em h1 h2 h3 hr li ol p pre strong ul".split())  # noqa: SIM905

# outcome -> (symbol, words, CSS class); the symbols are in the fonts that every system has.
OUTCOMES = {
    "right": ("\u2713", "right", "right"),
    "known mistake": ("\u2260", "known mistake", "known"),
    "wrong": ("\u2717", "wrong", "wrong"),
    "unwritten": ("\u25cb", "not written", "open"),
    "missing": ("?", "not found", "open"),
    "part unwritten": ("!", "called what is not written", "wrong"),
    "raised": ("!", "stopped with an error", "wrong"),
    "not numbers": ("!", "no usable answer", "wrong"),
    "timed out": ("!", "out of time", "wrong"),
    "ended": ("!", "ended the process", "wrong"),
    "unreadable": ("\u2013", "not read", "none"),
    "waiting": ("\u2026", "waits for a person", "waiting"),
    "marked": ("\u2022", "marked by a person", "marked"),
    "": ("\u2013", "nothing", "none"),
}
STATE_SYMBOLS = {
    "graded": "\u2713",
    results.NOT_GRADED: "\u2026",
    results.NOT_HANDED_IN: "\u2013",
}
BARS = (
    ("right", "right", ("right",)),
    ("known", "known mistake", ("known mistake",)),
    (
        "wrong",
        "wrong",
        ("wrong", "part unwritten", "raised", "not numbers", "timed out", "ended"),
    ),
    ("open", "not there", ("unwritten", "missing", "")),
)
FOR_STUDENT = {
    "graded": "",
    "cells failed": "Some cells stopped with an error; the rest was graded.",
    "unreadable": "The file could not be read as a notebook, so nothing in it could be graded.",
    "timed out": "The notebook ran past its time limit; what was there by then was graded.",
    "out of memory": "The notebook needed more memory than it may have.",
    "killed": "The notebook's process ended before it had run through.",
    results.NOT_GRADED: "Your submission is here and has not been graded yet.",
    results.NOT_HANDED_IN: "There is no submission of yours for this homework.",
}


def visible(text: object, limit: int = MAX_TEXT) -> str:
    """Text that hides nothing: control, format and direction characters shown as [U+202E], cut.

    Line ends and tabs stay. Escaping for HTML is left to the template.
    """
    raw = str(text).replace("\r\n", "\n")
    cut = f" [{len(raw) - limit} more characters]" if len(raw) > limit else ""
    return "".join(_visible_character(c) for c in raw[:limit]) + cut


def _visible_character(character: str) -> str:
    if character in "\n\t" or (character.isascii() and character.isprintable()):
        return character
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return f"[U+{ord(character):04X}]"
    return character


def code(text: str) -> Markup:
    """Python source as highlighted HTML: pygments escapes it, and adds only classes."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return Markup(highlight(visible(text, MAX_CODE), PythonLexer(), HtmlFormatter(nowrap=True)))


def comment(text: str) -> Markup:
    """A grader's comment as HTML: Markdown, in which HTML is text and links lead to the web."""
    html = str(mistune.create_markdown(escape=True)(visible(text, MAX_COMMENT)))
    return Markup(bleach.clean(html, COMMENT_TAGS, {"a": ["href"]}, {"http", "https", "mailto"}))


def where(see: str) -> tuple[str, str]:
    """A pointer such as "02_policy_gradient#C23" as (notebook, place)."""
    lecture, _, place = see.partition("#")
    return (f"{lecture}.ipynb" if lecture else "", place)


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autograder.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": visible,
        "points": points,
        "code": code,
        "comment": comment,
        "where": where,
        "why_not": why_not,
    }
    environment.globals |= {"OUTCOMES": OUTCOMES, "STATE_SYMBOLS": STATE_SYMBOLS, "BARS": BARS}
    return environment


@dataclass(frozen=True)
class Written:
    """What came out. group: the class as it stands. report: the page. changes: since the last."""

    group: ClassResults
    report: Path
    changes: list[Change]


def write_all(course: Path, homework: str, progress: Progress = unseen) -> Written:
    """Feedback for everyone who handed in, then the report; what is late is worked out anew."""
    placed = results.handed_in(course, homework)
    settle(course, homework, placed.submissions)
    group = class_results(course, homework, placed)
    total = len(group.submissions)
    found = {submission.student: submission for submission in placed.submissions}
    for done, one in enumerate(group.submissions, start=1):
        if results.is_folder_name(one.student):
            page = _write_feedback(group, one)
            if one.student in found:
                _put_receipts_beside(page, found[one.student])
        progress(one.student, done, total)
    changes = note(group)
    boards = _boards(group)
    _write_leaderboard(group, boards)
    return Written(group, _write_report(group, changes, boards), changes)


def _put_receipts_beside(page: Path, submission: Submission) -> None:
    """What `nbgrader collect` left with a hand-in, where `release_feedback` looks for it."""
    stamp = submission.timestamp
    if stamp.parent.is_symlink() or stamp.parent.parent.is_symlink():  # another student's
        return
    for path in (stamp, stamp.with_name("submission_secret.txt")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1000:
            replace(page.with_name(path.name), path.read_bytes())


def feedback_path(course: Path, homework: str, student: str) -> Path:
    """Where a feedback page lies. Raises ValueError for a name that is no folder's."""
    if not results.is_folder_name(student):
        raise ValueError(f"a student is one folder name, got {student!r}")
    return course / "feedback" / student / homework / f"{homework}.html"


def _write(path: Path, text: str) -> Path:
    replace(path, text.encode())
    return path


def _boards(group: ClassResults) -> list[tuple[str, list[Row]]]:
    """The leaderboard of a homework; empty where no agents are played."""
    verdicts = (mark.verdict for one in group.students for mark in one.marks)
    if all(verdict is None or verdict.mean_return is None for verdict in verdicts):
        return []
    said = {one.student: claims(_cells_of(group, one.student)) for one in group.students}
    return leaderboard(group, said)


def _write_leaderboard(group: ClassResults, boards: Sequence[tuple[str, list[Row]]]) -> None:
    """The page that the class may see; none if nobody is on it."""
    path = group.course / "report" / f"{group.homework}-leaderboard.html"
    if boards:
        page = _templates().get_template("leaderboard.html.j2")
        _write(path, page.render(group=group, boards=public(boards)))
    else:
        path.unlink(missing_ok=True)


def _write_report(
    group: ClassResults, changes: Sequence[Change], boards: Sequence[tuple[str, list[Row]]]
) -> Path:
    folder = group.course / "report"
    _write(folder / f"{group.homework}.json", json.dumps(facts(group), indent=1) + "\n")
    _write(folder / f"{group.homework}.csv", table(group))
    looks = sorted((one for one in group.students if one.needs_a_look), key=_gravity)
    page = _templates().get_template("report.html.j2")
    text = page.render(
        group=group,
        changes=changes,
        looks=[one for one in looks if not one.only_cells_failed],
        slips=[one for one in looks if one.only_cells_failed],
        links={one.student: _links(group, one) for one in group.students},
        bars={question.name: _bar(group, question) for question in group.coded},
        waiting=sum(one.waiting for one in group.students),
        tiles=_tiles(group),
        boards=boards,
    )
    return _write(folder / f"{group.homework}.html", text)


def _gravity(one: StudentResult) -> tuple[bool, bool, str]:
    """Order for those who need a look: notices, then runs that did not end well, then the rest."""
    noticed = bool(one.record and one.record.notices)
    return not noticed, one.state in ("graded", "cells failed"), one.student


def _tiles(group: ClassResults) -> list[tuple[str, str, str]]:
    """The figures of the first screen: (number, what it is, a word more)."""
    whole = f"of {points(group.max_coded)}, coded questions"
    tiles = [
        (str(len(group.submissions)), "submissions", f"{len(group.run)} could be run"),
        (_one_decimal(group.mean), "mean mark", whole),
        (_one_decimal(group.median), "median mark", whole),
    ]
    looks = sum(one.needs_a_look and not one.only_cells_failed for one in group.students)
    slips = sum(one.only_cells_failed for one in group.students)
    tiles.append((str(looks), "need a look", f"and {slips} with a failed cell only"))
    if group.written:
        waiting = sum(one.waiting for one in group.students)
        tiles.append((str(waiting), "written answers to grade", f"by course mark {group.homework}"))
    return tiles


def _one_decimal(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.1f}"


def _bar(group: ClassResults, question: results.Question) -> list[tuple[str, str, int, float]]:
    """One question as parts of a bar: (CSS class, words, how many, per cent)."""
    counts, total = group.outcomes(question), len(group.run)
    parts = []
    for css, words, outcomes in BARS:
        number = sum(counts[outcome] for outcome in outcomes)
        if number:
            parts.append((css, words, number, 100 * number / total))
    return parts


def _links(group: ClassResults, one: StudentResult) -> dict[str, str]:
    """Relative addresses from the report to what is there of one student."""
    if not results.is_folder_name(one.student):
        return {}
    tail = f"{quote(one.student)}/{quote(group.homework)}/{quote(group.homework)}"
    links = {}
    if feedback_path(group.course, group.homework, one.student).is_file():
        links["feedback"] = f"../feedback/{tail}.html"
    for step in ("submitted", "autograded"):
        if results.notebook_path(group.course, step, one.student, group.homework):
            links[step] = f"../{step}/{tail}.ipynb"
        elif step == "submitted" and one.state != results.NOT_HANDED_IN:
            links[step] = f"../{step}/{quote(one.student)}/{quote(group.homework)}/"
    return links


def facts(group: ClassResults) -> dict[str, Any]:
    """The report as plain data."""
    return {
        "homework": group.homework,
        "submissions": len(group.submissions),
        "states": group.states,
        "coded": {
            "max": group.max_coded,
            "ran": len(group.run),
            "mean": group.mean,
            "median": group.median,
            "histogram": [{"points": label, "students": n} for label, n in group.histogram()],
        },
        "questions": [
            {"name": q.name, "title": q.title, "kind": q.kind, "max_points": q.max_points}
            for q in group.questions
        ],
        "stopped_imports": group.stopped_imports(),
        "mistakes": [
            {
                "check": m.check,
                "mistake": m.name,
                "count": len(m.students),
                "students": list(m.students),
                "hint": m.hint,
                "see": m.see,
            }
            for m in group.mistakes()
        ],
        "students": [_student_facts(group, one) for one in group.students],
    }


def _student_facts(group: ClassResults, one: StudentResult) -> dict[str, Any]:
    record = one.record
    return {
        "student": one.student,
        "name": one.full_name,
        "state": one.state,
        "score": one.score,
        "max_score": group.max_score,
        "coded": one.coded_points,
        "penalty": one.penalty,
        "waiting": one.waiting,
        "marks": {m.question.name: _mark_facts(m) for m in one.marks},
        "notices": list(record.notices) if record else [],
        "repairs": list(record.repairs) if record else [],
        "failed_cells": list(record.failed_cells) if record else [],
        "stopped_at": list(record.stopped_at) if record else [],
        "seconds": record.seconds if record else None,
        "remarks": list(one.remarks),
    }


def _mark_facts(mark: Mark) -> dict[str, Any]:
    return {
        "score": mark.score,
        "max_points": mark.question.max_points,
        "outcome": mark.outcome,
        "mistake": mark.verdict.mistake if mark.verdict else "",
        "sentence": mark.verdict.sentence if mark.verdict else "",
        "by_hand": mark.by_hand,
        "comment": mark.comment,
    }


def table(group: ClassResults) -> str:
    """The same as CSV, a row a student; no text starts as a spreadsheet's formula does."""
    head = ["student", "name", "state", "score", "max_score", "coded", "penalty", "waiting"]
    for question in group.questions:
        head += [question.name, f"{question.name}: outcome", f"{question.name}: mistake"]
    head += ["marked by hand", "remarks"]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    for one in group.students:
        row: list[Any] = [_cell(one.student), _cell(one.full_name), one.state]
        row += [one.score, group.max_score, one.coded_points, one.penalty, one.waiting]
        for mark in one.marks:
            mistake = mark.verdict.mistake if mark.verdict else ""
            row += ["" if mark.score is None else mark.score, mark.outcome, _cell(mistake)]
        by_hand = ", ".join(mark.question.name for mark in one.marks if mark.by_hand)
        writer.writerow([*row, by_hand, _cell(" / ".join(one.remarks))])
    return text.getvalue()


def _cell(text: str) -> str:
    shown = re.sub(r"[\n\t]+", " ", visible(text, 5 * MAX_TEXT))
    return f"'{shown}" if shown.lstrip()[:1] in ("=", "+", "-", "@") else shown


def _write_feedback(group: ClassResults, one: StudentResult) -> Path:
    path = feedback_path(group.course, group.homework, one.student)
    # What stands in the place of a file that could not be read is not the student's.
    cells = [] if one.state == "unreadable" else _cells_of(group, one.student)
    page = _templates().get_template("feedback.html.j2")
    text = page.render(
        group=group,
        one=one,
        said=(one.record.for_student if one.record else "") or FOR_STUDENT[one.state],
        sources={mark.question.name: _own_source(cells, mark) for mark in one.marks},
        pictures={mark.question.name: _own_pictures(cells, mark) for mark in one.marks},
        errors=_errors(cells, one),
        failed_cells=results.failed_cells,
    )
    return _write(path, text)


def _cells_of(group: ClassResults, student: str) -> list[NotebookNode]:
    """The graded cells with their outputs; those handed in, without, if none could be graded."""
    graded, submitted = (
        results.notebook_path(group.course, step, student, group.homework)
        for step in ("autograded", "submitted")
    )
    try:
        if graded is not None:
            return list(nbformat.read(graded, as_version=4).cells)
        return list(read_notebook(submitted).cells) if submitted is not None else []
    except Exception:  # whatever a file can hold
        return []


def _own_source(cells: list[NotebookNode], mark: Mark) -> str:
    """What the student wrote for a question."""
    cell = answer_cell(cells, mark.question.name, coded=mark.question.kind == "coded")
    return "" if cell is None else str(cell.source)


def _own_pictures(cells: list[NotebookNode], mark: Mark) -> list[str]:
    """Addresses that hold the pictures of an answer in words."""
    found = [cell for cell in cells if grade_id_of(cell) == mark.question.name]
    return [picture for cell in found for picture in pictures_of(cell)]


def _errors(cells: list[NotebookNode], one: StudentResult) -> list[tuple[int, str]]:
    """(number of the code cell, what it stopped with) for the first few failed cells."""
    if one.record is None:
        return []
    coded = [cell for cell in cells if cell.get("cell_type") == "code"]
    found = []
    for number in one.record.failed_cells[:8]:
        outputs = coded[number - 1].get("outputs") if 0 < number <= len(coded) else None
        for output in outputs if isinstance(outputs, list) else []:
            if isinstance(output, dict) and output.get("output_type") == "error":
                if output.get("ename") == STOPPED:  # the record says it
                    break
                words = f"{output.get('ename', '')}: {output.get('evalue', '')}"
                found.append((number, visible(words, 200)))
                break
    return found
