"""The website of a small course: two lectures and a homework, built once for this file."""

import base64
import functools
import html
import json
import re
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from autograder.handouts.formulas import complaint
from autograder.handouts.site import build_site, settings
from autograder.handouts.sources import METADATA
from autograder.project import HandoutError

FRONT = """\
# A small course

[First](lectures/01_first.ipynb), [second](lectures/02_second.ipynb), [homework](homework/hw1.ipynb)
"""
FIRST = """\
# First steps

It prepares homework 1: `walk`. More on walks in C02.

The word `walk` alone is code.

| | |
|---|---|
| **Covers** | one slide |

## A claim about walking (C01)

Let $x<1$, see lecture 2 and E3.

It goes on [there](02_second.ipynb#A-claim%2C-about-running-%28C02%29).

$$\\sum_t \\gamma^t$$
"""
SECOND = """\
# Second steps

## A claim, about running (C02)

> **Erratum E3 (slide 4), for $\\gamma$.**
>
> - **The lecture says:** so. But C01 says otherwise.
"""


EXTRAS = {"coverage": "# Coverage\n\nC01 is checked.\n", "pdfs": {"01_first": b"%PDF-1.7"}}


def notebook(*cells):
    made = new_notebook(cells=list(cells), metadata=METADATA)
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"
    return made


def course(second=SECOND):
    picture = new_output("display_data", {"text/html": '<div class="moves">a slider</div>'})
    words = new_output("stream", name="stdout", text="seven leagues\n")
    lectures = {
        "01_first": notebook(
            new_markdown_cell(FIRST),
            new_code_cell("import torch"),
            new_code_cell("print('seven leagues')", outputs=[words, picture], execution_count=2),
        ),
        "02_second": notebook(new_markdown_cell(second), new_code_cell("1 + 1")),
    }
    graded = {"nbgrader": {"grade": True, "grade_id": "walk"}}
    homeworks = {
        "hw1": notebook(
            new_markdown_cell("# Homework 1\n\n## 1. Walking\n\nLecture 1, section C01."),
            new_code_cell("check(walk)", metadata=graded),
        )
    }
    return lectures, homeworks


def make_root(folder, table=""):
    (folder / "notebooks" / "src" / "lectures").mkdir(parents=True)
    (folder / "notebooks" / "src" / "homework").mkdir()
    (folder / "notebooks" / "src" / "index.md").write_text(FRONT)
    (folder / "notebooks" / "src" / "lectures" / "01_first.py").write_text("# %%\nimport torch\n")
    (folder / "notebooks" / "src" / "homework" / "hw1.py").write_text("# the answer\n")
    (folder / "pyproject.toml").write_text(f"[tool.course]\n{table}")
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = make_root(tmp_path_factory.mktemp("course"))
    front = build_site(root, *course(), root / "build" / "site", **EXTRAS)
    assert front == root / "build" / "site" / "index.html"
    return root


@pytest.fixture(scope="module")
def site(small):
    return small / "build" / "site"


def page(site, name):
    return (site / f"{name}.html").read_text(encoding="utf-8")


def attributes(text, *names):
    found = re.findall(rf'\s(?:{"|".join(names)})="([^"]*)"', text)
    return [html.unescape(value) for value in found]


def test_nothing_is_asked_of_the_network(site):
    for path in site.rglob("*"):
        if path.suffix == ".html":
            text = path.read_text(encoding="utf-8")
            loaded = re.findall(r"<(?:script|link|img|iframe|source|video)\b[^>]*>", text)
            for address in (a for tag in loaded for a in attributes(tag, "src", "href")):
                assert urlsplit(address).scheme in ("", "data"), f"{path}: {address}"
        elif path.suffix == ".css":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(?:url\(|@import)[\s\"']*(?:https?:)?//", text), path


def test_every_link_leads_to_a_place_that_is_there(site):
    ids = {
        path: set(attributes(path.read_text(encoding="utf-8"), "id"))
        for path in site.rglob("*.html")
    }
    seen = 0
    for path in ids:
        for address in attributes(path.read_text(encoding="utf-8"), "href", "src"):
            parts = urlsplit(address)
            if parts.scheme in ("data", "http", "https"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path.name}: {address}"
            assert not parts.fragment or parts.fragment in ids[target], f"{path.name}: {address}"
            seen += 1
    assert seen > 50
    for path in site.rglob("*.css"):
        for address in re.findall(r"url\([\"']?(?!data:)([^)\"']+)", path.read_text("utf-8")):
            assert (path.parent / urlsplit(address).path).is_file(), f"{path.name}: {address}"


def test_search_knows_the_words_of_lectures_and_homework(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    known = json.loads(index[len("Search.setIndex(") : index.rindex(")")])
    assert known["docnames"] == [
        "coverage",
        "homework/hw1",
        "index",
        "lectures/01_first",
        "lectures/02_second",
    ]
    assert "run" in known["titleterms"]  # the stem of "running"


def test_no_page_tells_where_it_was_built(small, site):
    for path in site.rglob("*"):
        if path.suffix in (".html", ".js", ".css"):
            assert str(small) not in path.read_text(encoding="utf-8"), path
    assert str(Path(__file__).parents[3]) not in page(site, "lectures/01_first")


def test_names_of_claims_lectures_and_questions_are_links(site):
    first, second = page(site, "lectures/01_first"), page(site, "lectures/02_second")
    assert '<section id="C01">' in first
    assert re.search(r'href="02_second.html#C02"[^>]*>C02<', first)
    assert re.search(r'href="02_second.html"[^>]*>lecture 2<', first)
    assert re.search(r'href="02_second.html#E3"[^>]*>E3<', first)
    assert re.search(
        r'href="02_second.html#(C02|a-claim-about-running-c02)"[^>]*><span[^>]*>there', first
    )
    assert len(re.findall(r'href="../homework/hw1.html#walk"', first)) == 1
    homework = page(site, "homework/hw1")
    assert re.search(r'<section id="walk">\s*(<span[^>]*></span>)?<h2>1. Walking', homework)
    assert re.search(r'href="../lectures/01_first.html#C01"[^>]*>C01<', homework)
    assert re.search(r'href="01_first.html#C01"[^>]*>C01<', second)


def test_an_erratum_is_a_box_with_its_words_as_title(site):
    (box,) = re.findall(
        r'<div class="erratum admonition"[^>]*>.*?</div>', page(site, "lectures/02_second"), re.S
    )
    assert 'id="E3"' in box
    title = '>Erratum E3 (slide 4), for <span class="math">\\gamma</span></p>'
    assert f'<p class="admonition-title"{title}' in box
    assert "<blockquote" not in page(site, "lectures/02_second")


def test_formulas_stand_as_they_were_written(site):
    text = page(site, "lectures/01_first")
    assert '<span class="math">x&lt;1</span>' in text
    assert '<div class="math">\\sum_t \\gamma^t</div>' in text


def test_downloads_work_from_disk_and_hold_neither_outputs_nor_answers(site):
    text = page(site, "lectures/01_first")
    saved = re.findall(r'href="data:[^,]*,([^"]*)" download="([^"]*)"', text)
    files = {name: base64.b64decode(content).decode() for content, name in saved}
    assert sorted(files) == ["01_first.ipynb", "01_first.py"]
    cells = json.loads(files["01_first.ipynb"])["cells"]
    assert [cell["source"] for cell in cells][1:] == [["import torch"], ["print('seven leagues')"]]
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in cells)
    assert 'href="../downloads/01_first.pdf"' in text
    assert (site / "downloads" / "01_first.pdf").read_bytes() == b"%PDF-1.7"
    homework = page(site, "homework/hw1")
    assert re.findall(r'download="([^"]*)"', homework) == ["hw1.ipynb"]
    assert not [path for path in site.rglob("*.py")]


def test_outputs_are_shown_and_imports_folded(site):
    text = page(site, "lectures/01_first")
    assert "seven leagues" in re.findall(r'class="cell_output.*?</pre>', text, re.S)[0]
    assert '<div class="moves">a slider</div>' in text
    folded = re.findall(r"<details.*?</details>", text, re.S)
    assert [("torch" in part, "leagues" in part) for part in folded] == [(True, False)]


def test_launch_buttons_come_with_a_repository_only(site, tmp_path):
    assert "launch-buttons" not in page(site, "lectures/01_first")
    table = 'repository = "https://code.some.edu/someone/course"\nprovider = "gitlab"\n'
    root = make_root(tmp_path / "course", table + 'jupyterhub = "https://hub.some.edu"\n')
    lectures, homeworks = course()
    build_site(root, lectures, homeworks, root / "site")
    text = html.unescape(page(root / "site", "lectures/01_first"))
    (address,) = re.findall(r'href="(https://hub.some.edu/[^"]*)"', text)
    asked = dict(parse_qsl(urlsplit(address).query))
    assert asked["repo"] == "https://code.some.edu/someone/course"
    assert asked["branch"] == "main"
    assert asked["urlpath"] == "lab/tree/course/notebooks/lectures/01_first.ipynb"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('binder = "https://mybinder.org"', "repository's address"),
        ('reposit = "x"', "no setting"),
        ("branch = 3", "no setting"),
        ('repository = "github.com/someone/course"', "https://HOST/OWNER/NAME"),
        ('repository = "https://code.some.edu/someone/course"', "what code.some.edu runs"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(tmp_path, table, words):
    with pytest.raises(HandoutError, match=words):
        settings(make_root(tmp_path / "course", table))


def test_only_what_changed_is_read_again_and_a_warning_leaves_the_last_site(small, site):
    before = page(site, "lectures/02_second")
    read = []

    def note(what, done, total):
        assert 0 <= done <= total
        read.append(what)

    lectures, homeworks = course(SECOND + "\nA new sentence.\n")
    build_site(small, lectures, homeworks, site, progress=note, **EXTRAS)
    assert "A new sentence." in page(site, "lectures/02_second")
    # the front page lists the others and goes with each of them
    assert set(read) == {"website: lectures/02_second", "website: index", "website"}
    dead = ["01_first.ipynb#Nowhere", "09_nowhere.ipynb"]
    for link in [*dead, dead[-1]]:  # the second time too, though Sphinx has read the page by then
        lectures, homeworks = course(SECOND + f"\n[there]({link})\n")
        with pytest.raises(HandoutError, match=r"lectures/02_second.ipynb, cell 1.*[Nn]owhere"):
            build_site(small, lectures, homeworks, site, **EXTRAS)
    assert "A new sentence." in page(site, "lectures/02_second")
    assert "A new sentence." not in before


def test_a_formula_that_katex_cannot_read_is_named_with_its_cell(small, site):
    lectures, homeworks = course(SECOND + "\nIndicators are\n$\\mathds{1}$.\n")
    words = (
        r"lectures/02_second.ipynb, cell 1, line \d+: .*KaTeX cannot read \\mathds\{1\}: it does"
    )
    with pytest.raises(HandoutError, match=words):
        build_site(small, lectures, homeworks, site, **EXTRAS)


def test_a_lecture_that_the_front_page_forgets_is_an_error(tmp_path):
    root = make_root(tmp_path / "course")
    lectures, homeworks = course()
    lectures["03_third"] = lectures["02_second"]
    with pytest.raises(HandoutError, match=r"index.md does not link to lectures/03_third"):
        build_site(root, lectures, homeworks, root / "site")


def seen_in_a_browser(address, folder):
    """The page after its scripts have run, with the network off."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"]
    flags.append("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    command = ["chromium", *flags, f"--user-data-dir={folder}", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


in_a_browser = pytest.mark.skipif(not shutil.which("chromium"), reason="needs Debian's chromium")


@pytest.mark.slow
@in_a_browser
def test_a_page_opened_from_disk_shows_its_formulas(site, tmp_path):
    shown = seen_in_a_browser((site / "lectures" / "01_first.html").as_uri(), tmp_path)
    assert shown.count('class="katex-html"') == 2
    assert 'class="katex-error"' not in shown


@pytest.mark.slow
@in_a_browser
def test_search_shows_the_text_around_a_word_and_no_menus(site, tmp_path):
    handler = functools.partial(SimpleHTTPRequestHandler, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/search.html?q=steps"
        shown = seen_in_a_browser(address, tmp_path)
        server.shutdown()
    (first, second) = re.findall(r'<p class="context">(.*?)</p>', shown, re.S)
    plain = re.sub(r"<[^>]*>", "", first + second)
    assert "It prepares homework 1" in plain
    assert "Contents" not in plain
    assert "Light" not in plain


def formulas(root):
    """Every formula of the lectures and homeworks."""
    for path in sorted(root.glob("notebooks/[lh]*/*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "markdown":
                text = re.sub(r"```.*?```|`[^`\n]*`", "", "".join(cell["source"]), flags=re.S)
                for display, inline in re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$", text, re.S):
                    yield display or inline


REFUSED = {
    "\\nonsense{x}": "does not know \\nonsense",
    "\\mathds{1}": "does not know \\mathds",  # pandoc and MathJax would read these three
    "\\mbox{a}": "does not know \\mbox",
    "\\begin{eqnarray} a &=& b \\end{eqnarray}": "does not know \\begin{eqnarray}",
    "\\frac{a}{b": "braces do not close",
    "a}": "a brace too many",
    "a} + {b": "a brace too many",
    "\\text{50% more}": "comment",
    "\\left( a": "\\left and \\right",
}
READ = (
    "50\\%",
    "\\{a\\}",
    "\\left( a \\right]",
    "\\leftarrow a",
    "a\\\\ b",
    "\\begin{pmatrix}a\\end{pmatrix}",
)


@pytest.mark.parametrize("formula", REFUSED)
def test_what_katex_cannot_read_is_told(formula):
    assert REFUSED[formula] in complaint(formula)


def test_formulas_of_the_course_are_not_complained_of(root):
    found = [*formulas(root), *READ]
    assert len(found) > 900
    assert [formula for formula in found if complaint(formula)] == []


@pytest.mark.slow
@in_a_browser
def test_katex_reads_every_formula_of_the_course_and_none_of_the_refused(root, tmp_path):
    found = [*formulas(root), *READ, *REFUSED]
    katex = (root / "autograder/website/static/katex/katex.min.js").as_uri()
    (tmp_path / "all.html").write_text(
        f'<!doctype html><meta charset="utf-8"><script src="{katex}"></script><script>\n'
        "function refuses(one) { try { katex.renderToString(one) } catch { return true } }\n"
        f"const refused = {json.dumps(found)}.map((one, k) => refuses(one) ? k : -1)\n"
        "document.write('refused: ' + refused.filter(k => k >= 0))</script>"
    )
    shown = seen_in_a_browser((tmp_path / "all.html").as_uri(), tmp_path / "browser")
    (numbers,) = re.findall(r"refused: ([\d,]*)<", shown)
    assert [found[int(number)] for number in numbers.split(",")] == list(REFUSED)
