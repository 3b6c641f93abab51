"""`course new`: the files of a new question or lecture, each a small example that runs."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Any

import jinja2

from autograder.handouts.claims_table import TAG
from autograder.project import ROOT, replace
from autograder.questions import ANSWERS, FOLDER, SOURCES, homeworks

LECTURES = Path("notebooks") / "src" / "lectures"
PLANTED = Path("notebooks") / "src" / "planted"
FRONT_PAGE = Path("notebooks") / "src" / "index.md"


def new_question(homework: str, name: str, root: Path = ROOT) -> list[Path]:
    """Write the answer and the question file of a function, and ask for it in the homework.

    A homework that there is not yet is begun. Returns the paths written.
    Raises ValueError if the name is no function's, or is taken.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise ValueError(f"{name!r} is no name for a function: write it as in entropy_bonus")
    if not re.fullmatch(r"[a-z]\w*", homework):
        raise ValueError(f"{homework!r} is no name for a homework: write it as in hw3")
    taken = {check.name: check.homework for checks in homeworks(root).values() for check in checks}
    if name in taken:
        raise ValueError(f"{taken[name]} asks for {name} already: choose another name")
    source, package = root / SOURCES / f"{homework}.py", root / FOLDER / homework / "__init__.py"
    begun = source.exists()
    text = source.read_text(encoding="utf-8") if begun else _of("homework.py", homework)
    cells = _of("question_cells.py", homework, name=name, number=_marked(text) + 1)
    new = {
        root / ANSWERS / f"{name}.py": _of("answer.py", homework, name=name),
        root / FOLDER / homework / f"{name}.py": _of("question.py", homework, name=name),
    }
    edited = {source: _after_the_last_question(text, cells)}
    if not begun:
        new[package] = f'"""The questions of {homework}, one file each."""\n'
        there = len(list((root / SOURCES).glob("*.py")))
        entry = f"{there + 1}. [Its title](homework/{homework}.ipynb)\n\n   What it asks for.\n\n"
        edited[root / FRONT_PAGE] = _with_entry(root, entry, "## Run it yourself\n")
    return _write(new, edited)


def new_lecture(stem: str, root: Path = ROOT) -> list[Path]:
    """Write a lecture with one claim and its planted mistake, and link it on the front page.

    stem: such as 09_language_models. Returns the paths written.
    Raises ValueError if the stem is no lecture's, or its number is taken.
    """
    match = re.fullmatch(r"(\d\d)_([a-z0-9_]+)", stem)
    if not match:
        raise ValueError(f"{stem!r} is no lecture's name: write it as in 09_language_models")
    there = sorted((root / LECTURES).glob("*.py"))
    if same := [path.name for path in there if path.name.startswith(match[1])]:
        raise ValueError(
            f"lecture {int(match[1])} is there already, {same[0]}: take another number"
        )
    texts = [path.read_text(encoding="utf-8") for path in there]
    tags = {tag for text in texts for tag in TAG.findall(text)}
    number = next(n for n in range(1, len(tags) + 2) if f"G{n}" not in tags)
    title = match[2].replace("_", " ").capitalize()
    about: dict[str, Any] = {
        "stem": stem,
        "claim": f"G{number}",
        "number": int(match[1]),
        "title": title,
    }
    new = {
        root / LECTURES / f"{stem}.py": _of("lecture.py", **about),
        root / PLANTED / f"{stem}.toml": _of("planted.toml", **about),
    }
    entry = f"{len(there) + 1}. [{title}](lectures/{stem}.ipynb)\n\n   What it shows.\n\n"
    return _write(new, {root / FRONT_PAGE: _with_entry(root, entry, "## Homework\n")})


def _write(new: dict[Path, str], edited: dict[Path, str]) -> list[Path]:
    """Write files, of which the new ones must not be there."""
    for path in new:
        if path.exists():
            raise ValueError(f"{path} is there already: remove it, or choose another name")
    for path, text in {**new, **edited}.items():
        replace(path, text.encode())
    return [*new, *edited]


def _with_entry(root: Path, entry: str, before: str) -> str:
    """The front page of the website with a line more, ahead of a heading."""
    text = (root / FRONT_PAGE).read_text(encoding="utf-8")
    if before not in text:
        raise ValueError(f"{FRONT_PAGE.as_posix()} has no heading {before.strip()!r}: put it back")
    return text.replace(before, entry + before, 1)


def _of(template: str, homework: str = "", **words: Any) -> str:
    loader = jinja2.PackageLoader("autograder.handouts", "skeletons")
    environment = jinja2.Environment(
        loader=loader, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(f"{template}.j2").render(homework=homework, **words)


def _marked(text: str) -> int:
    """How many questions a homework has."""
    return len(re.findall(r"^# %% (check=|\[markdown\] written=)", text, re.MULTILINE))


def _after_the_last_question(text: str, cells: str) -> str:
    """A homework with more cells behind its last check, or else behind its first code cell."""
    starts = [match.start() for match in re.finditer(r"^# %%", text, re.MULTILINE)]
    asked = [start for start in starts if text.startswith("# %% check=", start)]
    first_code = [start for start in starts if text.startswith("# %%\n", start)]
    last = asked[-1] if asked else first_code[0]
    behind = next((start for start in starts if start > last), len(text))
    return text[:behind] + cells + text[behind:]
