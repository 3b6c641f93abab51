"""The website: executed lectures and homeworks as pages that need no network."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from nbformat.notebooknode import NotebookNode

from autograder.handouts.formulas import KATEX
from autograder.handouts.sources import notebook_bytes
from autograder.project import ROOT, HandoutError, Progress, replace, unseen

WEBSITE = Path(__file__).with_name("website")
# What Sphinx and the theme leave behind for others than readers.
UNSEEN = (".*", "objects.inv", "_sources", "locales", "*.map", "*webpack-macros.html")
# What an instructor may say in [tool.course] of pyproject.toml, and what holds if nothing is said.
SETTINGS = {
    "title": "Policy gradients",
    "repository": "",
    "branch": "main",
    "provider": "",
    "binder": "",
    "jupyterhub": "",
    "colab": "",
}

PROVIDERS = ("github", "gitlab", "bitbucket")


def build_site(
    root: Path,
    lectures: Mapping[str, NotebookNode],
    homeworks: Mapping[str, NotebookNode],
    target: Path,
    progress: Progress = unseen,
    coverage: str = "",
    pdfs: Mapping[str, bytes] | None = None,
) -> Path:
    """Build the website into target, in place of what is there; return its front page.

    lectures: stem -> notebook with outputs. homeworks: stem -> release notebook.
    coverage: the table of claims, which gets a page. pdfs: stem -> PDF, for the download buttons.
    The front page is notebooks/src/index.md. progress: called as progress(what, done, total) before
    each page. What Sphinx has read stays in build/site-work, so that only pages that changed are
    made anew. No page asks the network for anything.
    Raises HandoutError with Sphinx's sentence for anything it warns about.
    """
    work = root / "build" / "site-work"
    try:
        downloads = _write_sources(root, work / "source", lectures, homeworks, coverage, pdfs or {})
        _run_sphinx(work, _configuration(settings(root), downloads), progress)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)  # or the page at fault would pass as read
        raise
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(work / "html", draft, ignore=shutil.ignore_patterns(*UNSEEN))
    for names in downloads.values():
        for name in names:
            if name.endswith(".pdf"):
                (draft / "downloads").mkdir(exist_ok=True)
                shutil.copy(work / "source" / "downloads" / name, draft / "downloads" / name)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
    return target / "index.html"


def settings(root: Path = ROOT) -> dict[str, str]:
    """[tool.course] of pyproject.toml: the title, and where launch buttons lead.

    Raises HandoutError for a setting that is none, and for a launch button without repository.
    """
    table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    given = table.get("tool", {}).get("course", {})
    for name, value in given.items():
        if name not in SETTINGS or not isinstance(value, str):
            raise HandoutError(
                f"pyproject.toml, [tool.course]: {name} = {value!r} is no setting; "
                f"texts are wanted for {', '.join(SETTINGS)}"
            )
    found = SETTINGS | given
    launched = [name for name in ("binder", "jupyterhub", "colab") if found[name]]
    if launched and not found["repository"]:
        raise HandoutError(
            f"pyproject.toml, [tool.course]: {launched[0]} needs the repository's address too"
        )
    repository = urlsplit(found["repository"])
    if found["repository"]:
        if repository.scheme != "https" or len(repository.path.strip("/").split("/")) < 2:
            raise HandoutError(
                "pyproject.toml, [tool.course]: repository must be https://HOST/OWNER/NAME, "
                f"got {found['repository']!r}"
            )
        if not found["provider"]:
            found["provider"] = repository.netloc.rpartition(".")[0].rpartition(".")[2]
        if found["provider"] not in PROVIDERS:
            raise HandoutError(
                f"pyproject.toml, [tool.course]: provider must say what {repository.netloc} runs, "
                f"one of {', '.join(PROVIDERS)}"
            )
    return found


def _write_sources(
    root: Path,
    source: Path,
    lectures: Mapping[str, NotebookNode],
    homeworks: Mapping[str, NotebookNode],
    coverage: str,
    pdfs: Mapping[str, bytes],
) -> dict[str, list[str]]:
    """What Sphinx reads, rewritten only where it changed. Page -> names of its downloads."""
    files: dict[str, bytes] = {}
    downloads: dict[str, list[str]] = {}
    for folder, notebooks in (("lectures", lectures), ("homework", homeworks)):
        for stem, notebook in notebooks.items():
            files[f"{folder}/{stem}.ipynb"] = notebook_bytes(_for_the_page(notebook))
            files[f"downloads/{stem}.ipynb"] = notebook_bytes(_without_outputs(notebook))
            names = [f"{stem}.ipynb"]
            if stem in pdfs:
                files[f"downloads/{stem}.pdf"] = pdfs[stem]
                names.append(f"{stem}.pdf")
            script = root / "notebooks" / "src" / folder / f"{stem}.py"
            if folder == "lectures" and script.is_file():  # those of homeworks hold the answers
                files[f"downloads/{stem}.py"] = script.read_bytes()
                names.append(f"{stem}.py")
            downloads[f"{folder}/{stem}"] = names
    if coverage:
        files["coverage.md"] = _plain_fragments(coverage).encode()
    files["index.md"] = _front_page(root, lectures, homeworks, bool(coverage)).encode()
    for name, content in files.items():
        replace(source / name, content)
    for path in source.rglob("*"):
        if path.is_file() and path.relative_to(source).as_posix() not in files:
            path.unlink()
    return downloads


def _front_page(
    root: Path,
    lectures: Mapping[str, NotebookNode],
    homeworks: Mapping[str, NotebookNode],
    coverage: bool,
) -> str:
    path = root / "notebooks" / "src" / "index.md"
    text = path.read_text(encoding="utf-8")
    groups = {
        "Lectures": [f"lectures/{stem}" for stem in lectures],
        "Homework": [f"homework/{stem}" for stem in homeworks],
    }
    for page in (page for group in groups.values() for page in group):
        if f"({page}.ipynb)" not in text:
            raise HandoutError(f"{path.relative_to(root)} does not link to {page}.ipynb")
    if coverage:
        text += (
            "\n## What is checked\n\nThe [table of claims](coverage.md) says for each claim where"
            " it is derived, and by which check.\n"
        )
        groups["Reference"] = ["coverage"]
    for caption, pages in groups.items():
        listed = "\n".join(pages)
        numbered = ":numbered: 1\n" if caption == "Lectures" else ""
        text += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n{numbered}\n{listed}\n```\n"
    return text


def _for_the_page(notebook: NotebookNode) -> NotebookNode:
    """As shown: the first code cell, of imports and helpers, is folded."""
    shown = deepcopy(notebook)
    for cell in shown.cells:
        if cell.cell_type == "markdown":
            cell.source = _plain_fragments(cell.source)
    shown.metadata.pop("widgets", None)
    first = next((cell for cell in shown.cells if cell.cell_type == "code"), None)
    if first is not None:
        first.metadata["tags"] = [*first.metadata.get("tags", []), "hide-input"]
    return shown


def _plain_fragments(text: str) -> str:
    """Links into notebooks with letters for percent codes: MyST reads only some of the codes."""
    return re.sub(
        r"(?<=\.ipynb#)[^)\s]+",
        lambda match: quote(unquote(match[0]), safe="!\"#$%&'*+,/:;=?@[]^`{|}"),
        text,
    )


def _without_outputs(notebook: NotebookNode) -> NotebookNode:
    clean = deepcopy(notebook)
    for cell in clean.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.metadata.pop("execution", None)
    return clean


def _configuration(course: Mapping[str, str], downloads: dict[str, list[str]]) -> dict[str, Any]:
    launch = {
        "notebook_interface": "jupyterlab",
        **{f"{name}_url": course[name] for name in ("jupyterhub", "colab") if course[name]},
        **({"binderhub_url": course["binder"]} if course["binder"] else {}),
    }
    code = [Path(__file__).with_name(name) for name in ("sphinx_extension.py", "formulas.py")]
    code += [KATEX, *sorted((WEBSITE / "templates").iterdir())]
    version = hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()
    return {
        "project": course["title"],
        "html_title": course["title"],
        "author": "",
        "copyright": "",
        "extensions": ["myst_nb", "autograder.handouts.sphinx_extension"],
        "root_doc": "index",
        "exclude_patterns": ["downloads"],
        "templates_path": [str(WEBSITE / "templates")],
        "nb_execution_mode": "off",
        "nb_merge_streams": True,
        "nb_ipywidgets_js": {},
        "nb_code_prompt_show": "Show imports and helpers",
        "nb_code_prompt_hide": "Hide imports and helpers",
        "myst_enable_extensions": ["dollarmath", "amsmath"],
        "myst_heading_anchors": 4,
        "myst_heading_slug_func": "autograder.handouts.sphinx_extension.notebook_anchor",
        "myst_heading_anchors_html_ids": False,
        "html_math_renderer": "katex",
        "html_theme": "sphinx_book_theme",
        "html_static_path": [str(WEBSITE / "static")],
        "html_css_files": ["katex/katex.min.css", "course.css"],
        "html_js_files": [
            ("katex/katex.min.js", {"defer": "defer"}),
            ("course.js", {"defer": "defer"}),
        ],
        "html_favicon": str(WEBSITE / "static" / "favicon.svg"),
        "html_copy_source": False,
        "html_show_sourcelink": False,
        "html_show_copyright": False,
        "html_use_index": False,
        "html_context": {"default_mode": "auto"},
        "html_theme_options": {
            "logo": {"text": course["title"]},
            "home_page_in_toc": True,
            "show_toc_level": 2,
            "search_bar_text": "Search the course",
            "article_header_end": ["course-download", "article-header-buttons"],
            "footer_content_items": [],
            "use_download_button": False,
            "use_fullscreen_button": False,
            "use_repository_button": bool(course["repository"]),
            "repository_url": course["repository"],
            "repository_branch": course["branch"],
            "repository_provider": course["provider"],
            "path_to_docs": "notebooks",
            "launch_buttons": launch,
            "pygments_light_style": "a11y-light",
            "pygments_dark_style": "a11y-dark",
        },
        "course_downloads": downloads,
        "course_version": version,
    }


def _run_sphinx(work: Path, configuration: dict[str, Any], progress: Progress) -> None:
    from sphinx.application import Sphinx
    from sphinx.errors import SphinxError
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    warnings = io.StringIO()
    done, total = 0, 2 * (len(configuration["course_downloads"]) + 1)

    def step(name: str) -> None:
        nonlocal done
        progress(f"website: {name}", min(done, total), total)
        done += 1

    with patch_docutils(), docutils_namespace():
        try:
            app = Sphinx(
                srcdir=work / "source",
                confdir=None,
                outdir=work / "html",
                doctreedir=work / "doctrees",
                buildername="html",
                confoverrides=configuration,
                status=None,
                warning=warnings,
            )
            app.connect("source-read", lambda app, page, text: step(page))
            app.connect("doctree-resolved", lambda app, tree, page: step(page))
            app.build()
        except SphinxError as error:
            raise HandoutError(f"website: {_plainly(str(error), work)}") from error
    complaints = [line for line in warnings.getvalue().splitlines() if line.strip()]
    if complaints:
        raise HandoutError(f"website: {_plainly(complaints[0], work)}")
    progress("website", total, total)


def _plainly(complaint: str, work: Path) -> str:
    """Sphinx's sentence with the file as the instructor knows it, and the cell for the line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", complaint).replace(f"{work / 'source'}/", "notebooks/")
    # myst-nb counts lines as 10000 * cell + line
    return re.sub(
        r"\.ipynb:(\d+)(\d{4}):",
        lambda match: f".ipynb, cell {int(match[1])}, line {int(match[2])}:",
        text,
    )
