"""Whether what lectures, homeworks and known mistakes refer to is there, and is written.

Links are not read here: Sphinx refuses dead ones when the website is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from autograder.handouts.claims_table import TAG, claims_in, errata_in
from autograder.percent import HOMEWORK_KEYS, LECTURE_KEYS, TO_WRITE, Cell, read_cells
from autograder.project import ROOT, HandoutError
from autograder.questions.check import Check

# Where a known mistake is cleared up: file of the question, its name, the mistake's name, and
# "<lecture>#<claim>".
See = tuple[str, str, str, str]

MENTION = re.compile(r"\b[CEG]\d+\b")
# What mentions nothing: code, mathematics and the addresses of links.
SILENT = re.compile(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\]\([^)]*\)", re.DOTALL)
# "Lecture 2, sections C15 to C18", "lecture on TRPO, section C56"
SECTIONS = re.compile(
    r"[Ll]ecture (?:(\d+)|on ([\w' -]+)), sections? ([CEG]\d+(?:(?:, |,? and |,? to )[CEG]\d+)*)"
)
ASSERTS = re.compile(r"^ *assert\b", re.MULTILINE)
TITLE = re.compile(r"^# (.*)", re.MULTILINE)


def sees_of(checks: Iterable[Check]) -> list[See]:
    """Where the known mistakes of checks are cleared up."""
    return [
        (
            f"autograder/questions/{check.homework}/{check.name}.py",
            check.name,
            wrong.name,
            wrong.see,
        )
        for check in checks
        for wrong in (*check.misconceptions, *check.elsewhere)
    ]


def require_live_references(root: Path = ROOT, sees: Iterable[See] = ()) -> None:
    """Read all sources under root; raise HandoutError with every reference that leads nowhere."""
    lectures = {
        path.stem: read_cells(path, LECTURE_KEYS)
        for path in sorted(root.glob("notebooks/src/lectures/*.py"))
    }
    homeworks = {
        path.stem: read_cells(path, HOMEWORK_KEYS)
        for path in sorted(root.glob("notebooks/src/homework/*.py"))
    }
    if dead := dead_references(lectures, homeworks, sees):
        raise HandoutError("\n".join(dead))


def dead_references(
    lectures: Mapping[str, Sequence[Cell]],
    homeworks: Mapping[str, Sequence[Cell]],
    sees: Iterable[See] = (),
) -> list[str]:
    """A sentence for each reference that leads nowhere: where it is, and what to do.

    lectures, homeworks: stem -> cells.
    """
    places = {stem: established(cells) for stem, cells in lectures.items()}
    titles = {stem: _title(cells) for stem, cells in lectures.items()}
    known = set().union(*places.values())
    dead = []
    for cell in (cell for cells in [*lectures.values(), *homeworks.values()] for cell in cells):
        text = SILENT.sub(" ", cell.source) if cell.kind == "markdown" else ""
        tags = filter(TAG.fullmatch, cell.metadata.get("tags", []))
        complaints = [
            *(
                f"{_dead(name)}; a word that names no claim is written as `code`"
                for name in _unknown(MENTION.findall(text), known)
            ),
            *(f"in its tags: {_dead(name)}" for name in _unknown(tags, known)),
            *_misplaced(text, places, titles),
            *([f"it still says {TO_WRITE}: put your own words there"] * (TO_WRITE in cell.source)),
        ]
        dead += [str(cell.error(complaint)) for complaint in complaints]
    for file, question, mistake, see in sees:
        if complaint := _lost(see, places):
            dead.append(f"{file}, {question}, mistake {mistake}: see={see!r}: {complaint}")
    return dead


def established(cells: Iterable[Cell]) -> set[str]:
    """The claims and errata of one lecture.

    A claim stands at the end of a heading, an erratum has a box. A claim that is shown under the
    heading of another stands behind that one in the tags of a cell that asserts.
    """
    cells = list(cells)
    texts = [cell.source for cell in cells if cell.kind == "markdown"]
    claims = {claim for text in texts for claim in claims_in(text)}
    found = claims | {erratum for text in texts for erratum, _ in errata_in(text)}
    for cell in cells:
        tags = [tag for tag in cell.metadata.get("tags", []) if TAG.fullmatch(tag)]
        if cell.kind == "code" and ASSERTS.search(cell.source) and claims & set(tags[:1]):
            found |= {tag for tag in tags if tag[0] != "E"}
    return found


def _unknown(names: Iterable[str], known: set[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name not in known]


def _dead(name: str) -> str:
    ends = "a box begins with" if name[0] == "E" else "a heading ends in"
    return (
        f"{name} is not established by any lecture: was it renamed? Write the name that {ends} now"
    )


def _title(cells: Iterable[Cell]) -> str:
    texts = (cell.source for cell in cells if cell.kind == "markdown")
    return next((match[1] for text in texts if (match := TITLE.search(text))), "")


def _misplaced(
    text: str, places: Mapping[str, set[str]], titles: Mapping[str, str]
) -> Iterator[str]:
    """Complaints about sections of a lecture that are sections of another, or of none there is."""
    for number, words, names in SECTIONS.findall(" ".join(text.split())):
        if number:
            said = f"lecture {number}"
            meant = [stem for stem in places if re.match(rf"0*{number}_", stem)]
        else:
            said = f"the lecture on {words}"
            word = re.compile(rf"\b{re.escape(words)}\b", re.IGNORECASE)
            meant = [stem for stem in places if word.search(titles[stem])]
        if not meant:
            yield f"there is no {said.removeprefix('the ')}: there are {', '.join(places)}"
            continue
        for name in TAG.findall(names):
            holders = [stem for stem, found in places.items() if name in found]
            if holders and not set(meant) & set(holders):
                yield f"{name} is not in {said}: write the one that has it, {' or '.join(holders)}"


def _lost(see: str, places: Mapping[str, set[str]]) -> str:
    """What is wrong with a mistake's `see`, "" if nothing is."""
    lecture, _, name = see.partition("#")
    if lecture not in places:
        return f"there is no lecture {lecture}: there are {', '.join(places)}"
    if name in places[lecture]:
        return ""
    if not TAG.fullmatch(name):
        return f"{name!r} is no claim: write it as in {lecture}#C14"
    holders = [f"{stem}#{name}" for stem, found in places.items() if name in found]
    return f"{name} is not in {lecture}: write {' or '.join(holders)}" if holders else _dead(name)
