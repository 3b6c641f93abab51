"""The class's gradebook: where it is, and opening it so that others may be at work in it."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from nbgrader.api import Gradebook
from sqlalchemy import make_url
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from traitlets.config.loader import Config

LOCK_SECONDS = 60  # for somebody else to be done with it
TRIES = 5  # to open one that others make at the same time


def gradebook_url(course: Path, config: Config) -> str:
    """The class's gradebook: as in the settings, if they are for this folder, else SQLite in it."""
    configured, folder = config.CourseDirectory.get("db_url"), config.CourseDirectory.get("root")
    if configured and (not folder or Path(folder).resolve() == course.resolve()):
        return str(configured)
    return f"sqlite:///{course.resolve() / 'gradebook.db'}"


def shown(course: Path, config: Config) -> str:
    """Where the gradebook is, for people: a path, or an address without its password."""
    path = gradebook_path(course, config)
    return str(path) if path else repr(make_url(gradebook_url(course, config)))


def patient_url(course: Path, config: Config) -> str:
    """The same, with which SQLite waits for others; a server does so by itself."""
    url = make_url(gradebook_url(course, config))
    if url.get_backend_name() == "sqlite":
        url = url.update_query_dict({"timeout": str(LOCK_SECONDS)})
    return url.render_as_string(hide_password=False)


def gradebook_path(course: Path, config: Config) -> Path | None:
    """The file of a gradebook that is one."""
    url = make_url(gradebook_url(course, config))
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def has_gradebook(course: Path, config: Config) -> bool:
    """Whether there is one: opening it would make one."""
    path = gradebook_path(course, config)
    return path is None or path.exists()


def open_gradebook(course: Path, config: Config) -> Gradebook:
    """The gradebook, made if there is none: whole, or not at all.

    Raises OSError, with what to do, if it cannot be reached or written, or its driver is missing.
    """
    path, course_id = gradebook_path(course, config), config.CourseDirectory.course_id
    try:
        if path is not None and not path.exists():
            _make(path, course_id)
        for _ in range(TRIES):  # others may be making its tables on the server at this moment
            with contextlib.suppress(IntegrityError, ProgrammingError):
                return Gradebook(patient_url(course, config), course_id)
            time.sleep(1)
        return Gradebook(patient_url(course, config), course_id)
    except ModuleNotFoundError as error:
        raise OSError(
            f"The gradebook is {shown(course, config)}, which needs the module {error.name}: "
            "install it, for PostgreSQL by `pip install -c constraints.txt -e '.[postgres]'`."
        ) from error
    except DBAPIError as error:
        raise OSError(why_not(error)) from error


def _make(path: Path, course_id: str) -> None:
    """A new gradebook under its name at once: killed on the way, nbgrader leaves half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".gradebook-", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        Gradebook(f"sqlite:///{draft}", course_id).close()
        with contextlib.suppress(FileExistsError):  # somebody else's was there first
            os.link(draft, path)


def why_not(error: Exception) -> str:
    """What is said of a gradebook that cannot be read or written."""
    said = str(getattr(error, "orig", error)).strip().splitlines() or ["no reason given"]
    return (
        f"The gradebook cannot be used ({said[0]}): is it in use elsewhere, or the disk full? What "
        "is filed stays; the same command goes on from here."
    )


def database_trouble(error: BaseException | None) -> DBAPIError | None:
    """The database's own trouble behind an error of nbgrader's, which wraps it in others.

    Neither that it does not take what a notebook holds, nor that a row is there already.
    """
    for one in _chain(error):
        if isinstance(one, OperationalError | InterfaceError | InternalError):
            return one
    return None


def is_conflict(error: BaseException) -> bool:
    """Whether a row was there already, as when two made it at the same moment."""
    return any(isinstance(one, IntegrityError) for one in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_busy(error: DBAPIError) -> bool:
    """Whether somebody else has it: with a rollback and some patience it will go."""
    words = ("locked", "deadlock", "could not obtain lock", "could not serialize")
    return any(word in str(error.orig).lower() for word in words)
