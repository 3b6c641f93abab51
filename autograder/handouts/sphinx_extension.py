"""What a page of the website has beyond its notebook: a Sphinx extension.

Errata become boxes; claims, errata and homework questions become places one can link to, and the
words that name them ("C23", "lecture 2", "hw1") become links; mathematics is left to KaTeX; the
head of the page offers downloads.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import NoUri
from sphinx.util.logging import getLogger
from sphinx.writers.html5 import HTML5Translator

from autograder.handouts.formulas import complaint

ERRATUM = re.compile(r"(?:Erratum )?(E\d+)\b")  # how an erratum's bold first words begin
CLAIMED = re.compile(r"\(((?:[CEG]\d+(?:, )?)+)\)$")  # how a heading ends: (C14)
NAMED = re.compile(r"\b(?:([CEG]\d+)|[Ll]ecture (\d+)|hw(\d+)|[Hh]omework (\d+))\b")
HOMEWORK = re.compile(r"\bhw\d|[Hh]omework \d")
# No link is put inside these: they are links, code or mathematics, or they name the place itself.
SILENT = (
    nodes.reference,
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.title,
    nodes.raw,
)


def read_formulas(app: Sphinx, document: nodes.document) -> None:
    """Warn of every formula that KaTeX could not show."""
    for node in document.findall(lambda node: isinstance(node, nodes.math | nodes.math_block)):
        if trouble := complaint(node.astext()):
            said = " ".join(node.astext().split())
            getLogger(__name__).warning("KaTeX cannot read %s: %s", said, trouble, location=node)


def notebook_anchor(heading: str) -> str:
    """What JupyterLab wants behind # in a link to a heading: What-we-have for "What we have"."""
    return heading.replace(" ", "-")


def mark_places(app: Sphinx, document: nodes.document) -> None:
    """Give claims, errata and questions an id of their own name, and errata a box."""
    places = {}

    def mark(name: str, node: nodes.Element) -> None:
        if name not in places:
            places[name] = (app.env.current_document.docname, name)
            node["ids"].insert(0, name)

    for section in document.findall(nodes.section):
        match = CLAIMED.search(section[0].astext())
        for name in match[1].split(", ") if match else ():
            mark(name, section)
    for quoted in list(document.findall(nodes.block_quote)):
        box = _erratum(quoted)
        if box is not None:
            quoted.replace_self(box)
            match = ERRATUM.match(box[0].astext())
            mark(match[1] if match else "", box)
    for cell in document.findall(lambda node: "cell_metadata" in getattr(node, "attributes", {})):
        graded = cell["cell_metadata"].get("nbgrader", {})
        if graded.get("grade"):
            mark(graded["grade_id"], _above(cell, nodes.section) or cell)
    for table in document.findall(nodes.table):
        for head in list(table.findall(nodes.thead)):
            if not head.astext().strip():  # percent sources cannot write a table without a head
                head.parent.remove(head)
    _places(app.env)[app.env.current_document.docname] = places


def _erratum(quoted: nodes.block_quote) -> nodes.admonition | None:
    """The box for a quotation that begins with bold words such as "Erratum E2 (slide 60)."."""
    first = quoted[0] if len(quoted) else None
    if not isinstance(first, nodes.paragraph):
        return None
    words = [node for node in first.children if node.astext()]
    if not (isinstance(words[0], nodes.strong) and ERRATUM.match(words[0].astext())):
        return None
    title = nodes.title("", "", *words[0].children)
    last = title[-1]
    if isinstance(last, nodes.Text):
        title.replace(last, nodes.Text(last.rstrip(".")))
    rest = words[1:]
    if rest and isinstance(rest[0], nodes.Text):
        rest[0] = nodes.Text(rest[0].lstrip())
    body = [nodes.paragraph("", "", *rest)] if any(node.astext() for node in rest) else []
    return nodes.admonition("", title, *body, *quoted.children[1:], classes=["erratum"])


def _above(node: nodes.Node, *kinds: type[nodes.Node]) -> Any:
    """The nearest node around this one that is of one of the kinds, or None."""
    while node is not None and not isinstance(node, kinds):
        node = node.parent
    return node


def link_names(app: Sphinx, document: nodes.document, page: str) -> None:
    """Turn names of claims, errata, lectures, homeworks and their questions into links."""
    places = {name: at for marked in _places(app.env).values() for name, at in marked.items()}
    places |= _places(app.env).get(page, {})  # an erratum that stands here too
    pages = {}
    for name in app.env.found_docs:
        if match := re.fullmatch(r"lectures/0*(\d+)_.*|homework/(hw\d+)", name):
            pages[match[1] or match[2]] = (name, "")

    def reference(name: str, words: nodes.Node) -> nodes.Node | None:
        target, place = places.get(name) or pages.get(name) or (page, "")
        section = _above(words, nodes.section, nodes.admonition)
        if (target == page and not place) or (section is not None and place in section["ids"]):
            return None
        try:
            address = app.builder.get_relative_uri(page, target) if target != page else ""
        except NoUri:
            return None
        address += f"#{place}" if place else ""
        return nodes.reference("", "", words.deepcopy(), refuri=address, classes=["named"])

    for text in list(document.findall(nodes.Text)):
        if _above(text, *SILENT) is None:
            parent, parts = text.parent, list(_linked(text, reference))
            if len(parts) > 1 or parts[0] is not text:
                parent.replace(text, parts)
    if not page.startswith("homework/"):
        for code in list(document.findall(nodes.literal)):
            block = _above(code, nodes.row, nodes.list_item, nodes.paragraph)
            if (
                _above(code.parent, *SILENT) is None
                and block is not None
                and HOMEWORK.search(block.astext())
                and places.get(code.astext(), ("",))[0].startswith("homework/")
            ):
                link = reference(code.astext(), code)
                if link is not None:
                    code.replace_self(link)


def _linked(text: nodes.Text, reference: Any) -> Iterator[nodes.Node]:
    done = 0
    for match in NAMED.finditer(text):
        name = match[1] or match[2] or f"hw{match[3] or match[4]}"
        words = nodes.Text(match[0])
        words.parent = text.parent
        link = reference(name, words)
        if link is not None:
            if match.start() > done:
                yield nodes.Text(text[done : match.start()])
            yield link
            done = match.end()
    if done == 0:
        yield text
    elif done < len(text):
        yield nodes.Text(text[done:])


def _places(env: BuildEnvironment) -> dict[str, dict[str, tuple[str, str]]]:
    """Page -> name -> (page, id), kept with the environment from build to build."""
    if not hasattr(env, "course_places"):
        env.course_places = {}  # type: ignore[attr-defined]
    return env.course_places  # type: ignore[attr-defined]


def forget_places(app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """Forget the places of a page that is read anew or gone."""
    _places(env).pop(page, None)


def pages_to_write(app: Sphinx, env: BuildEnvironment) -> Iterable[str]:
    """Every page, if titles or places have changed: all of them show titles and link to places."""
    seen = (
        {page: title.astext() for page, title in env.titles.items()},
        {page: dict(places) for page, places in _places(env).items()},
    )
    if getattr(env, "course_seen", None) == seen:
        return []
    env.course_seen = seen  # type: ignore[attr-defined]
    return sorted(env.found_docs)


def offer_downloads(
    app: Sphinx, page: str, template: str, context: dict[str, Any], document: nodes.document | None
) -> None:
    """The page's files, for its head. Text is in the link itself: browsers save that from disk."""
    context["course_downloads"] = []
    for name in app.config.course_downloads.get(page, ()):
        path = Path(app.srcdir) / "downloads" / name
        if path.suffix == ".pdf":
            address = context["pathto"](f"downloads/{name}", 1)
        else:
            content = base64.b64encode(path.read_bytes()).decode()
            address = f"data:application/octet-stream;base64,{content}"
        context["course_downloads"].append((path.suffix, name, address))


def _inline_math(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(f'<span class="math">{writer.encode(node.astext())}</span>')
    raise nodes.SkipNode


def _display_math(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="math">{writer.encode(node.astext())}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_config_value("course_downloads", {}, "html")  # page -> names of files
    app.add_config_value("course_version", "", "env")  # of this extension
    app.add_html_math_renderer("katex", (_inline_math, None), (_display_math, None))
    app.connect("env-purge-doc", forget_places)
    app.connect("doctree-read", read_formulas)
    app.connect("doctree-read", mark_places, priority=400)  # before the table of contents is made
    app.connect("env-updated", pages_to_write)
    app.connect("doctree-resolved", link_names)
    app.connect("html-page-context", offer_downloads)
    return {"parallel_read_safe": False, "parallel_write_safe": False}
