"""Lectures and homeworks as PDFs: Markdown by pandoc, pages by typst, the same bytes every time."""

from __future__ import annotations

import base64
import json
import re
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path

from nbformat.notebooknode import NotebookNode

from autograder.percent import Cell
from autograder.project import HandoutError, Progress, replace, unseen

TEMPLATE = Path(__file__).with_name("pdf.typ")
# Markdown as notebooks read it; tables as wide as they need.
MARKDOWN = "gfm+smart"
PANDOC = ["--columns=10000", "--fail-if-warnings"]
POINTS_A_PIXEL = 0.55
# Points at a page's foot that may stay empty, points around a picture, how far one may shrink.
EMPTY, AROUND, SMALLEST = 80, 20, 0.8
FEW = 0.15  # of the last page
# What pandoc writes that typst sets badly, and what it must be. TeX's wide space comes out as none,
# big brackets as letters of the text, a bar as a sign between two things, names of functions with a
# space behind them; tables are centred, with a line under a header that is empty. TeX's small
# fraction comes out as large as any, so it goes in as a binomial, which nothing here needs.
SMALL_FRACTION, BINOMIAL = r"\tfrac", r"\binom"
MENDED = [
    (re.compile(r"#h\(0em\)"), "thick"),
    (re.compile(r"#scale\(x: 120%, y: 120%\)\[(\\.)\]"), r"lr(\1, size: #1.2em)"),
    (re.compile(r"#scale\(x: 180%, y: 180%\)\[(\\.)\]"), r"lr(\1, size: #1.8em)"),
    (re.compile(r"\\\|"), 'class("normal", bar.v)'),
    (re.compile(r"\bbinom\("), "small("),
    (re.compile(r"(\"\)?) (?=\\[(),/])"), r"\1"),
    (re.compile(r"(\"\)) \. \$"), r"\1\. $"),
    (re.compile(r"align\(center\)\[#table\("), "align(left)[#table("),
    (re.compile(r"^ *table\.header\((?:\[\], ?)+\),\n *table\.hline\(\),\n", re.MULTILINE), ""),
]
MARK = "HerePartNumber{}Comes"  # stands in Markdown for what is typst's own already


def build_pdfs(
    lectures: Mapping[str, NotebookNode],
    homeworks: Mapping[str, NotebookNode],
    target: Path,
    progress: Progress = unseen,
) -> list[Path]:
    """Write <stem>.pdf into `target` for each notebook, with the outputs it has; return the paths.

    progress: called as progress(what, done, total) before each.
    Raises HandoutError naming file and cell where Markdown or an equation is not understood.
    """
    notebooks = {**lectures, **homeworks}
    written = []
    for done, (stem, notebook) in enumerate(notebooks.items()):
        progress(f"{stem}.pdf", done, len(notebooks))
        path = target / f"{stem}.pdf"
        replace(path, pdf_bytes(stem, notebook))
        written.append(path)
    progress("PDFs", len(notebooks), len(notebooks))
    return written


def pdf_bytes(stem: str, notebook: NotebookNode) -> bytes:
    """A notebook as a PDF. No date, no font of this machine: same notebook, same bytes."""
    import typst

    source, pictures = typst_source(stem, notebook)
    with tempfile.TemporaryDirectory(prefix="course-pdf-") as name:
        folder = Path(name)
        (folder / "pdf.typ").write_bytes(TEMPLATE.read_bytes())
        for picture, content in pictures.items():
            (folder / picture).write_bytes(content)
        main = folder / "main.typ"
        main.write_text(source, encoding="utf-8", newline="\n")
        try:
            return _pages(stem, main)
        except typst.TypstError as error:
            raise HandoutError(f"{stem}: typst cannot set it: {error.diagnostic}") from None


def _pages(stem: str, main: Path) -> bytes:
    """The pages of a document; closer set where that saves a last page with a few lines on it."""
    pages, count, filled = _fitted(stem, main, closer=0)
    if count > 1 and filled < FEW:
        for closer in (1, 2):
            fewer, shorter, _ = _fitted(stem, main, closer)
            if shorter < count:
                return fewer
    return pages


def _fitted(stem: str, main: Path, closer: int) -> tuple[bytes, int, float]:
    """Pages, how many, how far the last is filled; no foot is left empty by the next picture.

    A picture that would be pushed to the next page is made a little smaller if it then fits, or
    else floats to the head of that page. That moves all that comes after, so it is done picture by
    picture.
    """
    import typst

    fits: dict[str, float] = {}
    while True:
        compiler = typst.Compiler(
            str(main),
            root=str(main.parent),
            ignore_system_fonts=True,
            sys_inputs={"fits": json.dumps(fits), "closer": json.dumps(closer)},
        )
        pages, warnings = compiler.compile_with_warnings(format="pdf")
        if warnings:
            raise HandoutError(f"{stem}: typst warns: {warnings[0].diagnostic}")
        for place in json.loads(compiler.query("<place>", field="value")):
            if place["pushed"] and place["left"] > EMPTY and place["path"] not in fits:
                smaller = (place["left"] - AROUND) / place["height"]
                fits[place["path"]] = round(smaller, 3) if smaller > SMALLEST else 0
                break
        else:
            [last] = json.loads(compiler.query("<last>", field="value"))
            assert isinstance(pages, bytes)
            return pages, last["page"], last["filled"]


def typst_source(stem: str, notebook: NotebookNode) -> tuple[str, dict[str, bytes]]:
    """A notebook as typst's text, and the pictures in it by name."""
    pictures: dict[str, bytes] = {}
    own: list[str] = []
    markdown = []
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "code":
            own.append(_code(Cell(stem, number, "code", cell.source), cell, pictures))
            markdown.append(MARK.format(len(own)))
            continue
        # Links lead from PDF to PDF.
        markdown.append(re.sub(r"\]\((?:\.\./\w+/)?(\w+)\.ipynb", r"](\1.pdf", cell.source))
    body = _pandoc("\n\n".join(markdown))
    if body is None:
        raise _culprit(stem, notebook)
    for number, text in enumerate(own, start=1):
        body = body.replace(MARK.format(number), text)
    head = f'#import "pdf.typ": *\n#show: notebook.with(title: {_string(_title(notebook))})\n\n'
    return head + body, pictures


def _title(notebook: NotebookNode) -> str:
    lines = [line for cell in notebook.cells for line in cell.source.splitlines()]
    return next((line.removeprefix("# ") for line in lines if line.startswith("# ")), "")


def _code(place: Cell, cell: NotebookNode, pictures: dict[str, bytes]) -> str:
    """A code cell and its outputs as one call of each of the template's functions."""
    outputs = cell.get("outputs", [])
    prints = bool(outputs) and "image/png" not in outputs[0].get("data", {})
    source = re.sub(r"\n{3,}", "\n\n", cell.source)
    calls = [f"#code({_string(source)}, sticky: {'true' if prints else 'false'})"]
    for output in outputs:
        data = output.get("data", {})
        if output.output_type == "stream":
            calls.append(f"#printed({_string(output.text)})")
        elif "image/png" in data:
            name = f"picture-{len(pictures)}.png"
            content = base64.b64decode(data["image/png"])
            width = output.metadata.get("image/png", {}).get("width") or _pixels(content)
            pictures[name] = content
            note = "The notebook and the website move this picture." if "text/html" in data else ""
            points = f"{width * POINTS_A_PIXEL:.2f}pt"
            calls.append(f"#picture({_string(name)}, {points}, {_string(note)})")
        elif "text/html" in data and data.get("text/plain", "<").startswith("<"):
            raise place.error("its output is for the screen only: give it a picture for print")
        elif "text/plain" in data:
            calls.append(f"#printed({_string(data['text/plain'])})")
    return "\n".join(calls)


def _string(text: str) -> str:
    """A string of typst's. Colours of a terminal are left out."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).rstrip("\n")
    plain = "".join(sign for sign in plain if sign >= " " or sign in "\n\t")
    return json.dumps(plain, ensure_ascii=False)


def _pixels(png: bytes) -> int:
    """Width of a PNG, from its header."""
    width: int = struct.unpack(">I", png[16:20])[0]
    return width


def _pandoc(markdown: str) -> str | None:
    """Markdown as typst; None if there is something that pandoc does not understand."""
    import pypandoc

    if BINOMIAL in markdown:
        return None
    try:
        text: str = pypandoc.convert_text(
            markdown.replace(SMALL_FRACTION, BINOMIAL),
            "typst",
            format=MARKDOWN,
            extra_args=PANDOC,
            verify_format=False,
        )
    except RuntimeError:
        return None
    for pattern, right in MENDED:
        text = pattern.sub(right, text)
    return text


def _culprit(stem: str, notebook: NotebookNode) -> HandoutError:
    """The cell that pandoc does not understand, found by asking for each."""
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "markdown" and _pandoc(cell.source) is None:
            place = Cell(stem, number, "markdown", cell.source)
            return place.error("pandoc does not understand an equation in it")
    return HandoutError(f"{stem}: pandoc does not understand it")
