"""Everything that is handed out, built from its sources in one go, and only if it changed."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autograder.handouts.bundle import BUILT, ZIP, build_bundle
from autograder.handouts.freshness import fresh_files, key_of, remember, sources_key
from autograder.project import LITTER, ROOT, Progress, read, replace, unseen
from autograder.questions import TERM

BUNDLE = f"build/{ZIP}"
COVERAGE = "notebooks/COVERAGE.md"
PRINTS = "build/pdf/"
SITE = "build/site/"
FRONT = f"{SITE}index.html"
TERM_NAME = re.compile(r"[\w.-]{1,20}")


@dataclass
class Draft:
    """What is built and not yet in its place.

    name, key: under which it will be known to stand. files: content by path from the root.
    folders: which hold these files and no others. parts: name -> key and files of what can stand
    by itself.
    """

    name: str
    key: str
    files: dict[str, bytes]
    folders: tuple[str, ...]
    parts: dict[str, tuple[str, list[str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """What a build came to. files: all that stands. changed: those that it wrote anew.

    Of the website that is its front page.
    """

    files: list[Path]
    changed: list[Path]


@contextlib.contextmanager
def in_term(root: Path, term: str | None) -> Iterator[None]:
    """Build for this term, or for the one that stands if it is None; as before if that fails.

    Raises ValueError if it is no name of a term.
    """
    path = root / TERM
    before = read(path)
    if term and not TERM_NAME.fullmatch(term):
        raise ValueError(
            f"a term is named by up to 20 letters, digits, hyphens or dots, got {term!r}: "
            "call it 2027S, for example"
        )
    if term is not None:
        replace(path, (json.dumps({"term": term}) + "\n").encode())
    try:
        yield
    except BaseException:
        replace(path, before)
        raise


def build_handouts(root: Path = ROOT, progress: Progress = unseen) -> Built:
    """Build public exams, lectures, homeworks and the student bundle.

    progress: called before each step; never, if what was built still stands.
    Everything is built and the bundle searched for answers before the first file is replaced, so a
    failed build leaves the last good handouts. Building twice changes no byte. Handouts that have
    no source any more are removed.
    Raises HandoutError naming file and cell.
    """
    key = sources_key(root)
    files = fresh_files(root, "handouts", key)
    if files is not None:
        return Built(files, [])
    return _put(root, _draft_handouts(root, key, progress))


def build_everything(root: Path = ROOT, progress: Progress = unseen) -> Built:
    """Build the handouts and what is read: COVERAGE.md, the PDFs, the website.

    Lectures are executed for it, two at a time; only what changed is executed and built anew.
    progress: as for build_handouts, with a total of its own for each kind of thing.
    Nothing is replaced before all is built. Raises HandoutError naming file, cell and error.
    """
    key = sources_key(root)
    handouts, pages = fresh_files(root, "handouts", key), fresh_files(root, "pages", key)
    drafts = []
    if handouts is None:
        drafts.append(_draft_handouts(root, key, progress))
    if pages is None:
        contents = drafts[0].files if drafts else _contents(handouts or [], root)
        drafts.append(_draft_pages(root, key, contents, progress))
    built = {draft.name: _put(root, draft) for draft in drafts}
    first = built.get("handouts", Built(handouts or [], []))
    second = built.get("pages", Built(pages or [], []))
    return Built(first.files + second.files, first.changed + second.changed)


def _put(root: Path, draft: Draft) -> Built:
    """Put a draft in its place."""
    paths = [root / name for name in draft.files]
    changed = {name for name, text in draft.files.items() if replace(root / name, text)}
    for folder in draft.folders:
        for path in (root / folder).rglob("*"):
            if path.is_file() and path not in paths and not set(LITTER) & set(path.parts):
                path.unlink()
    for name, (key, part) in draft.parts.items():
        remember(root, name, key, [root / file for file in part])
    told = [name for name in draft.files if name == FRONT or not name.startswith(SITE)]
    files = [root / name for name in told]
    remember(root, draft.name, draft.key, [*files, *(root / folder for folder in draft.folders)])
    if any(name.startswith(SITE) for name in changed):
        changed.add(FRONT)
    return Built(files, [root / name for name in told if name in changed])


def _draft_handouts(root: Path, key: str, progress: Progress) -> Draft:
    from autograder.handouts import assignments
    from autograder.handouts.public_exams import compile_public_exams
    from autograder.handouts.references import require_live_references, sees_of
    from autograder.handouts.sources import (
        homework_notebook,
        lecture_notebook,
        notebook_bytes,
    )
    from autograder.questions import homeworks

    lectures = sorted(root.glob("notebooks/src/lectures/*.py"))
    asked = homeworks(root)
    total = len(lectures) + len(asked) + 3
    done = 0

    def step(what: str) -> None:
        nonlocal done
        progress(what, done, total)
        done += 1

    step("references")
    require_live_references(root, sees_of(check for checks in asked.values() for check in checks))
    step("public cases")
    built = compile_public_exams(root, progress)
    for path in lectures:
        step(path.stem)
        built[f"notebooks/lectures/{path.stem}.ipynb"] = notebook_bytes(lecture_notebook(path))
    settings = assignments.settings(root)
    for homework, checks in asked.items():
        step(homework)
        notebook = homework_notebook(assignments.homework_path(root, homework), checks)
        release = assignments.release_notebook(homework, notebook_bytes(notebook), settings)
        built[f"notebooks/homework/{homework}.ipynb"] = release
    step("student bundle")
    with tempfile.TemporaryDirectory(prefix="course-bundle-") as name:
        bundle = build_bundle(root, Path(name) / "bundle.zip", built).read_bytes()
    progress("handouts", total, total)
    return Draft("handouts", key, {**built, BUNDLE: bundle}, BUILT)


def _draft_pages(root: Path, key: str, handouts: Mapping[str, bytes], progress: Progress) -> Draft:
    """What is read, made of handouts by path from the root."""
    import nbformat

    from autograder.handouts import pdf
    from autograder.handouts.claims_table import coverage_table
    from autograder.handouts.executed_lectures import executed_lectures
    from autograder.handouts.site import build_site
    from autograder.handouts.sources import notebook_bytes

    lectures = executed_lectures(root, progress)
    homeworks = {
        Path(name).stem: nbformat.reads(content.decode(), as_version=4)
        for name, content in handouts.items()
        if name.startswith("notebooks/homework/")
    }
    coverage = coverage_table(lectures)
    files = {COVERAGE: coverage.encode()}

    setting = [read(path).decode() for path in (Path(pdf.__file__), pdf.TEMPLATE)]
    setting.append(read(root / "constraints.txt").decode())
    parts, stale = {}, {}
    for stem, notebook in {**lectures, **homeworks}.items():
        part, file = f"pdf-{stem}", f"{PRINTS}{stem}.pdf"
        parts[part] = (key_of([*setting, notebook_bytes(notebook).decode()]), [file])
        if fresh_files(root, part, parts[part][0]) is None:
            stale[stem] = notebook
        files[file] = read(root / file)
    with tempfile.TemporaryDirectory(prefix="course-pages-") as name:
        for path in pdf.build_pdfs(stale, {}, Path(name), progress):
            files[f"{PRINTS}{path.name}"] = path.read_bytes()
        pdfs = {Path(file).stem: files[file] for _, [file] in parts.values()}
        site = Path(name) / "site"
        build_site(root, lectures, homeworks, site, progress, coverage, pdfs)
        for path in sorted(path for path in site.rglob("*") if path.is_file()):
            files[SITE + path.relative_to(site).as_posix()] = path.read_bytes()
    return Draft("pages", key, files, (PRINTS, SITE), parts)


def _contents(paths: list[Path], root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): read(path) for path in paths}
