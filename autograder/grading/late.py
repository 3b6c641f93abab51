"""Being late: when something was handed in, until when it might be, and what is taken off.

Due dates and extensions stand in nbgrader's gradebook, what is taken off in `nbgrader_config.py`.
No notebook is run for any of it: `settle` works it out anew on every `grade` and `report`.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nbgrader.api import Assignment, Gradebook, MissingEntry
from nbgrader.plugins import BasePlugin, LateSubmissionPlugin
from nbgrader.preprocessors import AssignLatePenalties
from traitlets import Float
from traitlets.config.loader import Config

from autograder.grading.beside import TIMESTAMP
from autograder.grading.placing import Submission
from autograder.handouts.assignments import settings
from autograder.handouts.books import has_gradebook, open_gradebook
from autograder.project import ROOT, replace

DAY = dt.timedelta(days=1)
LONGEST = 366 * DAY  # that anybody is given
WRITTEN = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[T ](?P<clock>\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)\s*(?P<zone>\S*)"
)
TIME, DUE, EXTENSION = "when it was handed in", "the due date", "the extension"
WANTED = "wanted is a time such as 2026-10-02T23:59:00+02:00"


class PercentPerDay(LateSubmissionPlugin):  # type: ignore[misc]
    """Takes off a percentage of what was earned for each day begun after the due date.

    penalty = score * min(1, percent / 100 * ceil((late - grace) / 1 day)); nbgrader's own
    `penalty_method = "zero"` takes everything after the grace.
    """

    percent = Float(0.0, min=0.0, max=100.0, help="Taken off for each day begun.").tag(config=True)
    grace_minutes = Float(0.0, min=0.0, help="Later by this much is on time.").tag(config=True)

    def late_submission_penalty(
        self, student_id: str, score: float, total_seconds_late: float
    ) -> float:
        """What is taken off, in points."""
        late = total_seconds_late - 60 * self.grace_minutes
        if late <= 0:
            return 0.0
        if self.penalty_method == "zero":
            return score
        days = math.ceil(late / DAY.total_seconds())
        return score * min(1.0, self.percent / 100 * days)


@dataclass(frozen=True)
class HandedIn:
    """When something was handed in, in UTC; None if not known. remark: "" if all is well."""

    at: dt.datetime | None = None
    remark: str = ""


def handed_in(path: Path) -> HandedIn:
    """What the timestamp.txt of a submission says."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > 200:
        lies = path.exists() or path.is_symlink()
        return HandedIn(None, unread("is no short text file") if lies else "")
    text = path.read_text(errors="replace").strip()
    found = WRITTEN.fullmatch(text)
    try:
        if found is None:
            raise ValueError(text)
        zone = _zone(found["zone"])
        clock = found["clock"].replace(",", ".")
        at = dt.datetime.fromisoformat(f"{found['date']}T{clock}").replace(tzinfo=zone or dt.UTC)
        at = at.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return HandedIn(None, unread(f"says {text[:60]!r}"))
    if zone is None:
        return HandedIn(at, f"{TIMESTAMP} says {text!r} and names no zone: it was read as UTC.")
    return HandedIn(at)


def unread(what: str) -> str:
    """That nobody knows when something was handed in, and why."""
    return (
        f"Whether it was late is not known, and nothing was taken off: {TIMESTAMP} {what}; "
        f"{WANTED}."
    )


def _zone(text: str) -> dt.tzinfo | None:
    """The zone that a time names, None if none. Raises ValueError if it is unknown."""
    if not text:
        return None
    if text.upper() in ("Z", "UTC", "GMT"):
        return dt.UTC
    if found := re.fullmatch(r"([+-])(\d\d):?(\d\d)", text):
        sign, hours, minutes = found.groups()
        shift = dt.timedelta(hours=int(hours), minutes=int(minutes))
        return dt.timezone(-shift if sign == "-" else shift)
    if text not in zoneinfo.available_timezones():  # or a folder of them would be opened
        raise ValueError(text)
    return zoneinfo.ZoneInfo(text)


def read_time(text: str) -> dt.datetime:
    """A time that somebody wrote, in UTC. Raises ValueError if it is none or names no zone."""
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time: {WANTED}.") from None
    if at.tzinfo is None:
        raise ValueError(f"{text!r} names no zone: {WANTED}.")
    return at.astimezone(dt.UTC)


def set_due(course: Path, homework: str, due: dt.datetime | None, root: Path = ROOT) -> None:
    """Set until when a homework may be handed in, None for no end."""
    with _gradebook(course, root) as gradebook:
        _assignment(gradebook, homework).duedate = None if due is None else due.replace(tzinfo=None)
        gradebook.db.commit()


def due_date(course: Path, homework: str, root: Path = ROOT) -> dt.datetime | None:
    """Until when a homework may be handed in, in UTC; None if it never ends."""
    with _gradebook(course, root) as gradebook:
        due = _assignment(gradebook, homework).duedate
    return None if due is None else due.replace(tzinfo=dt.UTC)


def extend(
    course: Path, homework: str, student: str, longer: dt.timedelta, root: Path = ROOT
) -> None:
    """Give one student longer; nothing longer takes it back.

    Raises ValueError if nobody of that name is in the class, or for more than a year.
    """
    if longer > LONGEST:
        raise ValueError(f"{longer.days} days longer are more than a year: set another due date.")
    with _gradebook(course, root) as gradebook:
        _assignment(gradebook, homework)
        known = {one.id for one in gradebook.students}
    if student not in known and not (course / "submitted" / student).is_dir():
        raise ValueError(
            f"{student} is not in this class: neither in its gradebook nor in {course}/submitted."
        )
    path = _extensions_path(course, homework)
    granted = {**extensions(course, homework), student: longer.total_seconds()}
    replace(path, json.dumps(granted, indent=1, sort_keys=True).encode())


def extensions(course: Path, homework: str) -> dict[str, float]:
    """Who was given how many seconds longer, by `extend`."""
    path = _extensions_path(course, homework)
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _extensions_path(course: Path, homework: str) -> Path:
    return course / ".course" / "extensions" / f"{homework}.json"


def policy(config: Config) -> str:
    """What is taken off, in words that change when it does."""
    given = {name: dict(config[name]) for name in sorted(config) if "Late" in name or "Day" in name}
    return json.dumps(given, default=str, sort_keys=True)


def settle(
    course: Path, homework: str, submissions: Sequence[Submission], root: Path = ROOT
) -> None:
    """Work out anew what is taken off for being late, from what holds now."""
    config = settings(root)
    if not has_gradebook(course, config):
        return
    times = {one.student: handed_in(one.timestamp) for one in submissions}
    plugin = _plugin(config)
    granted = extensions(course, homework)
    with _gradebook(course, root) as gradebook:
        try:
            assignment = gradebook.find_assignment(homework)
        except MissingEntry:
            return
        for submitted in assignment.submissions:
            student = submitted.student_id
            found = times.get(student, HandedIn())
            if found.at is not None:
                submitted.timestamp = found.at.replace(tzinfo=None)
            elif found.remark:
                submitted.timestamp = None
            if student in granted:
                submitted.extension = dt.timedelta(seconds=granted[student]) or None
            if assignment.duedate is None:  # nbgrader cannot add an extension to nothing
                submitted.extension = None
            late = submitted.total_seconds_late if assignment.duedate else 0.0
            for notebook in submitted.notebooks:
                score = notebook.score
                taken = plugin.late_submission_penalty(student, score, late) if late > 0 else 0.0
                notebook.late_submission_penalty = (
                    round(max(0.0, min(taken or 0.0, score)), 6) or None
                )
        gradebook.db.commit()


def _plugin(config: Config) -> BasePlugin:
    """nbgrader's plugin for what is taken off, as the settings name it."""
    own = Config()
    own.merge(config)
    own.NbGraderPreprocessor.log_level = "ERROR"
    preprocessor = AssignLatePenalties(config=own)
    preprocessor.init_plugin()
    return preprocessor.plugin_inst


def _gradebook(course: Path, root: Path) -> Gradebook:
    config = settings(root)
    if not has_gradebook(course, config):
        raise ValueError(
            f"There is no gradebook in {course} yet: run `course grade` or name --class."
        )
    return open_gradebook(course, config)


def _assignment(gradebook: Gradebook, homework: str) -> Assignment:
    try:
        return gradebook.find_assignment(homework)
    except MissingEntry:
        raise ValueError(
            f"The gradebook knows no {homework}: run `course grade {homework}`."
        ) from None
