"""notebooks/COVERAGE.md: every claim and erratum, where it is checked, and what came out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from nbformat.notebooknode import NotebookNode

TAG = re.compile(r"[CEG]\d+")
HEADING = re.compile(r"^###? (.*?)(?: \(((?:[CEG]\d+(?:, )?)+)\))?$", re.MULTILINE)
ERRATUM = re.compile(r"^> \*\*(?:Erratum )?(E\d+)\b(.*?)\*\*(.*)", re.MULTILINE)
RIGHT = re.compile(r"\*\*Right is:\*\* (.*)")
KINDS = {"C": "Claims", "E": "Errata", "G": "On to GRPO"}
CHECK, CONTROL, RESULT = 72, 72, 72  # signs at most

HEAD = """\
# What the lectures claim, and the check of each

Built by `course handouts` from the executed lectures: {C} claims (C) and {E} errata (E) of the \
slides and the note, and {G} claims of our own that go on to GRPO (G), by {assertions} assertions. \
Every one held; a lecture in which one does not hold cannot be built.

- **check**: the first assertion of the cells that carry the tag, and how many more there are.
- **control**: a wrong quantity that the same cells show to be noticed.
- **result**: what they print; *holds* if they print nothing.

The tests run every one of these cells once more with its quantity deliberately wrong, and it must \
fail.
"""


@dataclass(frozen=True)
class Row:
    """A claim or a place of an erratum.

    what: it says, in a few words. sections: headings under which its cells stand. checks,
    controls: as texts. result: printed by its cells, "" if nothing is.
    """

    tag: str
    what: str
    stem: str
    sections: tuple[str, ...]
    checks: tuple[str, ...]
    controls: tuple[str, ...]
    result: str


def coverage_table(lectures: Mapping[str, NotebookNode]) -> str:
    """The table as Markdown, from lectures with outputs."""
    rows = [row for stem, notebook in lectures.items() for row in coverage_rows(stem, notebook)]
    rows.sort(key=lambda row: (row.tag[0], int(row.tag[1:])))
    cells = [cell for notebook in lectures.values() for cell in notebook.cells]
    counts = {kind: len({row.tag for row in rows if row.tag[0] == kind}) for kind in KINDS} | {
        "assertions": sum(
            len(_assertions(cell.source)) for cell in cells if cell.cell_type == "code"
        ),
    }
    parts = [HEAD.format(**counts)]
    for kind, title in KINDS.items():
        parts.append(f"## {title}\n\n| | what | where | check | control | result |")
        parts[-1] += "\n|---|---|---|---|---|---|\n"
        parts[-1] += "\n".join(markdown_row(row) for row in rows if row.tag[0] == kind) + "\n"
    return "\n".join(parts)


def markdown_row(row: Row) -> str:
    """A row of the table."""
    more = f" and {len(row.checks) - 1} more" if len(row.checks) > 1 else ""
    name = f"lecture {int(row.stem[:2])}"
    links = [f"[{name}](lectures/{row.stem}.ipynb#{anchor(section)})" for section in row.sections]
    columns = [
        row.tag,
        row.what,
        ", ".join(links),
        _code(row.checks[0], CHECK) + more if row.checks else "",
        _shortened("; ".join(row.controls), CONTROL),
        _code(row.result, RESULT) if row.result else "*holds*",
    ]
    return f"| {' | '.join(column.replace('|', chr(92) + '|') for column in columns)} |"


def coverage_rows(stem: str, notebook: NotebookNode) -> list[Row]:
    """The rows of one lecture: one for each claim, one for each place of an erratum.

    A cell with an erratum's tag belongs to the erratum's words in the same section, above it if
    there are any; otherwise to the last ones above it.
    """
    claims: dict[str, str] = {}
    errata: dict[str, list[tuple[str, str]]] = {}  # section and words of each place
    tagged: list[tuple[str, str, NotebookNode, int]] = []  # ..., how many places were above it
    section = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for heading, words, tags in headings_in(cell.source):
                section = heading
                claims |= dict.fromkeys(tags, words)
            for tag, words in errata_in(cell.source):
                errata.setdefault(tag, []).append((section, words))
        for tag in filter(TAG.fullmatch, cell.metadata.get("tags", [])):
            tagged.append((tag, section, cell, len(errata.get(tag, []))))
    found: dict[tuple[str, str], list[tuple[str, NotebookNode]]] = {}
    for tag, here, cell, above in tagged:
        places = errata.get(tag, [])
        nearest = [words for there, words in [*places[above:], *places[:above]] if there == here]
        nearest = nearest or [words for _, words in places[:above]] or [claims.get(tag, "")]
        found.setdefault((tag, nearest[-1]), []).append((here, cell))
    return [_row(tag, what, stem, cells) for (tag, what), cells in found.items()]


def headings_in(markdown: str) -> Iterator[tuple[str, str, list[str]]]:
    """The headings in a cell: whole, without the tags they end in, and these tags."""
    for match in HEADING.finditer(markdown):
        yield match[0].lstrip("#").strip(), match[1], TAG.findall(match[2] or "")


def claims_in(markdown: str) -> list[str]:
    """The claims that headings in a cell end in; an erratum there only says what it is about."""
    return [tag for _, _, tags in headings_in(markdown) for tag in tags if tag[0] != "E"]


def errata_in(markdown: str) -> Iterator[tuple[str, str]]:
    """The errata in a cell, and what is right in a sentence, with where the lecture has it."""
    matches = list(ERRATUM.finditer(markdown))
    ends = [*(match.start() for match in matches[1:]), len(markdown)]
    for match, end in zip(matches, ends, strict=False):
        right = RIGHT.search(markdown, match.start(), end)
        title = re.sub(r"^\((.*)\)$", r"\1", match[2].strip(" ,:."))
        words = _sentence((right[1] if right else match[3]).strip())
        yield match[1], f"{title}: {words}" if words else title


def _row(tag: str, what: str, stem: str, cells: Sequence[tuple[str, NotebookNode]]) -> Row:
    asserted = [_asserted(cell) for _, cell in cells]
    sections = tuple(dict.fromkeys(section for section, _ in cells))
    return Row(
        tag,
        what or "; ".join(HEADING.sub(r"\1", f"## {section}") for section in sections),
        stem,
        sections,
        tuple(check for checks, _ in asserted for check in checks),
        tuple(control for _, controls in asserted for control in controls),
        next(filter(None, (_printed(cell) for _, cell in cells)), ""),
    )


def _sentence(text: str) -> str:
    """The first sentence, without emphasis; a full stop inside mathematics does not end it."""
    first = re.match(r"(?:\$[^$]*\$|[^$])*?(?=[.:](?:\s|$)|$)", text)
    return (first[0] if first else text).replace("**", "")


def _asserted(cell: NotebookNode) -> tuple[list[str], list[str]]:
    """The checks of a code cell as code, and its controls in words."""
    lines = cell.source.splitlines()
    checks = []
    for node in _assertions(cell.source):
        text = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        test = ast.unparse(node.test)
        if "control:" not in text and not test.startswith("not "):
            checks.append(test)
    return checks, re.findall(r"# control: (.*)", cell.source)


def _assertions(source: str) -> list[ast.Assert]:
    lines = ["" if line.startswith(("%", "!")) else line for line in source.splitlines()]
    return [node for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.Assert)]


def _printed(cell: NotebookNode) -> str:
    """What a cell printed, in one line."""
    texts = [out.text for out in cell.get("outputs", []) if out.output_type == "stream"]
    lines = [" ".join(line.split()) for line in "".join(texts).splitlines() if line.strip()]
    return re.sub(r"([,:]);", r"\1", "; ".join(lines))


def anchor(heading: str) -> str:
    """Where a notebook's heading can be linked to, in JupyterLab."""
    return quote(heading.replace(" ", "-"), safe="")


def _shortened(text: str, signs: int) -> str:
    return text if len(text) <= signs else f"{text[: signs - 3].rstrip()}..."


def _code(text: str, signs: int) -> str:
    return f"`{_shortened(' '.join(text.split()), signs).replace('`', chr(39))}`"
