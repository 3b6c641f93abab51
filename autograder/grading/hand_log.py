"""Who gave which mark by hand, and when: a line for each, whatever program the mark is given in.

`nbgrader_config.py` switches it on, so formgrader, `nbgrader` and `course` keep the same log.
"""

from __future__ import annotations

import datetime as dt
import getpass
import json
import os
from pathlib import Path
from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session

BY_HAND = ("manual_score", "extra_credit", "manual_comment")
_logs: dict[Path, str] = {}  # with who is at work


def log_path(course: Path) -> Path:
    """Where a class's log lies: JSON, a line each."""
    return course / ".course" / "marked-by-hand.jsonl"


def keep_log(course: str | Path, who: str = "") -> None:
    """From now on write down every mark by hand that this process gives or takes back.

    who: whose work it is; "" for whoever is logged in.
    """
    _logs.clear()
    _logs[log_path(Path(course))] = who
    if not event.contains(Session, "before_flush", _write_down):
        event.listen(Session, "before_flush", _write_down)


def _write_down(session: Session, *_: Any) -> None:
    with session.no_autoflush:
        lines = [line for changed in session.dirty for line in _lines(changed)]
    for path, who in _logs.items() if lines else ():
        who = who or os.environ.get("JUPYTERHUB_USER") or getpass.getuser()
        if path.parent.parent.is_dir():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                for line in lines:
                    file.write(json.dumps({"who": who, **line}, ensure_ascii=False) + "\n")


def _lines(changed: Any) -> list[dict[str, Any]]:
    state = inspect(changed)
    lines = []
    for what in BY_HAND:
        history = state.attrs[what].history if what in state.attrs else None
        if history is None or not history.has_changes():
            continue
        (before,), (after,) = history.deleted or (None,), history.added or (None,)
        if (before or None) == (after or None) and what != "manual_score":
            continue
        lines.append(
            {
                "when": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                "homework": changed.assignment.name,
                "student": changed.student.id,
                "question": changed.name.removeprefix("answer_"),
                "what": what.removeprefix("manual_").replace("_", " "),
                "before": before,
                "after": after,
            }
        )
    return lines
