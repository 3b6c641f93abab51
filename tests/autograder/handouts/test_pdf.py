"""What is printed is what the notebook says: every equation set, every picture in, no date."""

import base64
import io
import re
import zlib

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import typst
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from autograder.handouts.pdf import build_pdfs, pdf_bytes, typst_source
from autograder.handouts.sources import lecture_notebook
from autograder.project import HandoutError

# One grey pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)


def notebook(*cells):
    return new_notebook(cells=[new_markdown_cell("# A title"), *cells])


def typeset(markdown):
    """A Markdown cell as typst's text."""
    source, _ = typst_source("01", notebook(new_markdown_cell(markdown)))
    return source.rpartition("<a-title>")[2].strip()


def code_cell(source, **data):
    return new_code_cell(source, outputs=[new_output("display_data", data=data)])


@pytest.mark.parametrize(
    ("tex", "typst"),
    [
        (r"x \;\ge\; y", r"$x thick gt.eq thick y$"),
        (r"\big[x\big]", r"$lr(\[, size: #1.2em) x lr(\], size: #1.2em)$"),
        (r"\Big(x\Big)", r"$lr(\(, size: #1.8em) x lr(\), size: #1.8em)$"),
        (r"|x|", r'$class("normal", bar.v) x class("normal", bar.v)$'),
        (r"\text{clip}(x)", r'$upright("clip")\( x \)$'),
        (r"\operatorname{Var}(x)", r'$"Var"\( x \)$'),
        (r"\sqrt{\operatorname{Cov}/K}", r'$sqrt("Cov"\/ K)$'),
        (r"\mathbb 1[a = b]", r"$bb(1) \[ a = b \]$"),
        (r"\underbrace{a}_{b}", r"$underbrace(a, b)$"),
        (r"\tfrac12 + \tfrac{a}{1-b}", r"$small(1, 2) + small(a, 1 - b)$"),
    ],
)
def test_equations_come_out_as_typst_sets_them_well(tex, typst):
    assert typeset(f"${tex}$") == typst


def test_a_table_without_a_header_has_none():
    assert "table.header" in typeset("| a | b |\n|---|---|\n| 1 | 2 |")
    text = typeset("| | |\n|---|---|\n| 1 | 2 |")
    assert "table.header" not in text
    assert "[1], [2]" in text


def test_links_lead_from_pdf_to_pdf():
    text = typeset("[a](07_ppo.ipynb), [b](../homework/hw2.ipynb#one), [c](https://x.org/n.ipynb2)")
    assert re.findall('link\\("(.*?)"\\)', text) == [
        "07_ppo.pdf",
        "hw2.pdf#one",
        "https://x.org/n.ipynb2",
    ]


def test_code_and_outputs_are_taken_as_they_are():
    words = 'print("#x $y$ \\n `z`")'
    cell = new_code_cell(words, outputs=[new_output("stream", text="\x1b[31m#red \\ \n")])
    source, _ = typst_source("01", notebook(cell))
    assert r'#code("print(\"#x $y$ \\n `z`\")", sticky: true)' in source
    assert r'#printed("#red \\ ")' in source


def test_the_same_notebook_gives_the_same_bytes_with_its_pictures_and_no_date(tmp_path):
    png = base64.b64encode(PIXEL).decode()
    wide = new_markdown_cell("$$" + "+".join(f"x_{{{i}}}" for i in range(200)) + "$$")
    book = notebook(wide, code_cell("draw()", **{"image/png": png, "text/html": "<b>x</b>"}))
    steps = []
    paths = build_pdfs(
        {"01": book}, {"hw1": notebook()}, tmp_path, lambda *step: steps.append(step)
    )
    assert [path.name for path in paths] == ["01.pdf", "hw1.pdf"]
    assert steps == [("01.pdf", 0, 2), ("hw1.pdf", 1, 2), ("PDFs", 2, 2)]
    with_picture, without = (path.read_bytes() for path in paths)
    assert pdf_bytes("01", book) == with_picture
    assert b"/Subtype/Image" in with_picture.replace(b" ", b"")
    assert b"/Subtype/Image" not in without.replace(b" ", b"")
    assert b"CreationDate" not in with_picture
    streams = re.findall(rb"stream\r?\n(.*?)endstream", without, flags=re.DOTALL)
    assert not any(b"CreateDate" in readable(stream) for stream in streams)


def drawing(width, height):
    """A picture of that many pixels: a grey frame with nothing in it."""
    grey = np.ones((height, width))
    grey[[0, -1]] = grey[:, [0, -1]] = 0.5
    file = io.BytesIO()
    plt.imsave(file, grey, cmap="gray", vmin=0, vmax=1)
    return base64.b64encode(file.getvalue()).decode()


def feet(pdf, folder):
    """Share of the height of the text that is empty below it, page by page."""
    (folder / "in.pdf").write_bytes(pdf)
    pages = len(re.findall(rb"/Type ?/Page\b", pdf))
    shown = "#set page(width: 595pt, height: 842pt, margin: 0pt)\n"
    shown += "\n".join(f'#image("in.pdf", page: {n})' for n in range(1, pages + 1))
    (folder / "in.typ").write_text(shown)
    pngs = typst.compile(str(folder / "in.typ"), format="png", ppi=24)
    empty = []
    for png in pngs if isinstance(pngs, list) else [pngs]:
        grey = plt.imread(io.BytesIO(png))[..., :3].min(2)
        text = grey[round(len(grey) * 2 / 29.7) : round(len(grey) * 27.5 / 29.7)]
        inked = np.flatnonzero((text < 0.98).any(1))
        empty.append(1 - (inked[-1] + 1) / len(text))
    return empty


@pytest.mark.parametrize("height", [250, 400, 640])
def test_no_page_is_left_half_empty_for_a_picture_or_a_cell(tmp_path, height):
    code = "\n".join(f"x_{n} = {n}" for n in range(30))
    cells = []
    for n in range(12):
        cells.append(new_markdown_cell(f"## Section {n}\n\n" + "Some words. " * (20 + 7 * n)))
        cells.append(code_cell(code, **{"text/plain": "12"}))
        cells.append(code_cell("draw()", **{"image/png": drawing(700, height)}))
        cells.append(new_markdown_cell("**What to notice.** " + "More words. " * 20))
    cells.append(new_markdown_cell("Last words. " * 300))
    *feet_of_pages, _ = feet(pdf_bytes("01", notebook(*cells)), tmp_path)
    assert len(feet_of_pages) >= 4
    assert max(feet_of_pages) < 0.2


def test_a_last_page_of_a_few_lines_is_saved(tmp_path):
    for paragraphs in (19, 20, 21):
        cells = [new_markdown_cell("Some words. " * 40) for _ in range(paragraphs)]
        *others, last = feet(pdf_bytes("01", notebook(*cells)), tmp_path)
        assert len(others) in (1, 2)
        assert last < 0.85, paragraphs


def readable(stream):
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return stream


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (
            new_markdown_cell(r"# Two" + "\n\n" + r"$\nosuchsign x$"),
            r"01, cell 2 \(# Two\): pandoc",
        ),
        (new_markdown_cell(r"$\binom{n}{k}$"), r"01, cell 2 \(.*\): pandoc"),
        (
            code_cell("show()", **{"text/html": "<b>", "text/plain": "<IPython.display.HTML>"}),
            r"01, cell 2 \(show\(\)\): its output is for the screen only",
        ),
    ],
)
def test_what_cannot_be_printed_is_located(cell, message):
    with pytest.raises(HandoutError, match=message):
        pdf_bytes("01", notebook(cell))


def test_every_word_and_equation_of_the_course_can_be_set(root):
    books = [lecture_notebook(p) for p in sorted(root.glob("notebooks/src/lectures/*.py"))]
    books += [nbformat.read(p, 4) for p in sorted(root.glob("notebooks/homework/*.ipynb"))]
    assert len(books) >= 10
    cells = [cell for book in books for cell in book.cells if cell.cell_type == "markdown"]
    everything = notebook(*cells)
    assert pdf_bytes("all", everything).startswith(b"%PDF")  # it stops at the first warning
    source, _ = typst_source("all", everything)
    prose = re.sub(r"```.*?```|`[^`]*`", "", source, flags=re.DOTALL)
    assert prose.count("$") > 1000
    assert not re.findall(r"\\[a-zA-Z]+|#h\(0|#scale|HerePart", prose)
