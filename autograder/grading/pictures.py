"""Pictures in answers: attachments, files beside the notebook, pictures pasted as data.

A picture is kept if its bytes begin as a PNG, JPEG, GIF or WebP do; nothing decodes it but the
browser of whoever reads. In a cell's text it is then `![picture 1](attachment:picture-1.png)`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from nbformat import NotebookNode

from autograder.grading.beside import TIMESTAMP, few, files_in

MAX_PICTURE = 20_000_000
MAX_SHOWN = 60_000_000  # of one notebook, each as often as it is shown
MAX_PICTURES = 20  # of one cell, or beside one notebook
KINDS = {
    "png": ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    "jpg": ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    "gif": ("image/gif", re.compile(rb"GIF8[79]a")),
    "webp": ("image/webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
}
NAMES = re.compile(r"\.(png|jpe?g|gif|webp|heic|heif|svg|tiff?|bmp|pdf)$", re.IGNORECASE)
TEXTS = re.compile(r"\.(docx?|odt|rtf|md|tex|html?)$", re.IGNORECASE)
# No part of these can be tried twice at the same place: texts are long and not always friendly.
SHOWS = re.compile(
    r"!\[[^\[\]\n]*\]\((?P<markdown>(?:[^()\n]|\([^()\n]*\))+)\)|<img\b(?P<html>[^<>]*)>",
    re.IGNORECASE,
)
SOURCE = re.compile(r"""\bsrc\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
TITLE = re.compile(r"""(?<=\s)(?:"[^"]*"|'[^']*')$""")


def show_pictures(
    cells: Sequence[NotebookNode],
    empty: Sequence[NotebookNode],
    folder: Path,
    without: Collection[str] = (),
) -> tuple[str, ...]:
    """Make the pictures that cells of text show attachments of theirs. In place.

    empty: those of the cells that hold no answer: pictures beside the notebook that no text shows
    may be it. without: folders in it that are not looked into. Returns sentences on what was put
    where and on what cannot be shown.
    """
    beside, others, texts = _look(folder, without)
    others += texts if empty else []
    used: set[str] = set()
    missing: list[str] = []
    room = MAX_SHOWN
    for cell in cells:
        used |= _settle(cell, beside, missing, room)
        room -= _size(cell)
    rest = {name: data for name, data in beside.items() if name not in used}
    said = []
    if missing:
        said.append(f"Shown in a text, and not handed in or no picture: {few(missing)}.")
    if rest and sum(map(len, rest.values())) * len(empty) > room:
        empty = []
    if rest and empty:
        for cell in empty:
            _put_below(cell, rest)
        said.append(
            f"Pictures beside the notebook were put where no answer stands: {few([*rest])}."
        )
    elif rest:
        said.append(f"Pictures beside the notebook that no text shows: {few([*rest])}.")
    if others:
        said.append(f"Beside the notebook, to be opened there: {few(others)}.")
    return tuple(said)


def pictures_of(cell: NotebookNode) -> list[str]:
    """A cell's pictures as addresses that hold them, for a page."""
    return [
        f"data:{KINDS[end][0]};base64,{base64.b64encode(data).decode()}"
        for _, data in _attached(cell)
        if (end := _ending(data))
    ]


def _ending(data: bytes) -> str:
    """What a picture's name ends with, by how its bytes begin, or ""."""
    return next((end for end, (_, begins) in KINDS.items() if begins.match(data)), "")


def _look(folder: Path, without: Collection[str]) -> tuple[dict[str, bytes], list[str], list[str]]:
    """Pictures beside a notebook, what looks like some and cannot be shown, and texts."""
    found: dict[str, bytes] = {}
    others, texts = [], []
    for name, path in files_in(folder):
        if name == TIMESTAMP or name.split("/")[0] in without:
            continue
        if TEXTS.search(name):
            texts.append(name)
        if not NAMES.search(name):
            continue
        data = path.read_bytes() if path.stat().st_size <= MAX_PICTURE else b""
        if _ending(data) and len(found) < MAX_PICTURES:
            found[name] = data
        else:
            others.append(name)
    return found, others, texts


def _size(cell: NotebookNode) -> int:
    return sum(len(data) for _, data in _attached(cell))


def _settle(
    cell: NotebookNode, beside: dict[str, bytes], missing: list[str], room: int
) -> set[str]:
    """One cell's pictures, under plain names. Returns which of those beside it shows."""
    attached = dict(_attached(cell))
    used: set[str] = set()
    names: dict[bytes, str] = {}

    def name_for(data: bytes) -> str:
        if data not in names:
            if len(names) >= MAX_PICTURES or sum(map(len, names)) + len(data) > room:
                return ""
            names[data] = f"picture-{len(names) + 1}.{_ending(data)}"
        return names[data]

    def show(found: re.Match[str]) -> str:
        target = unquote(_target(found))
        name = target.removeprefix("attachment:")
        data = None
        if target.lower().startswith("data:"):
            data, name = _decoded(target.partition(",")[2]), "pasted data"
        elif target != name:
            data = attached.get(name)
        elif path := _beside(name, beside):
            data = beside[path]
            used.add(path)
        if data and _ending(data) and (new := name_for(data)):
            return _markdown(new)
        if not re.match(r"(?i)https?:", target):
            missing.append(name[:60])
        return found[0]

    cell.source = SHOWS.sub(show, cell.source)
    hidden = [data for data in attached.values() if _ending(data) and data not in names]
    below = [_markdown(new) for data in hidden if (new := name_for(data))]
    cell.source = "\n\n".join([cell.source, *below]).strip() if below else cell.source
    cell.pop("attachments", None)
    if names:
        cell.attachments = {new: _attachment(data) for data, new in names.items()}
    return used


def _target(found: re.Match[str]) -> str:
    """The address of a picture in a text, "" if it has none."""
    if found["markdown"] is not None:
        return TITLE.sub("", found["markdown"].strip()).strip().strip("<>").strip()
    source = SOURCE.search(found["html"])
    return next((group for group in source.groups() if group), "").strip() if source else ""


def _put_below(cell: NotebookNode, pictures: dict[str, bytes]) -> None:
    there = dict(cell.get("attachments", {}))
    for name, data in pictures.items():
        new = f"picture-{len(there) + 1}.{_ending(data)}"
        there[new] = _attachment(data)
        shown = name.encode(errors="replace").decode()
        cell.source = f"{cell.source}\n\n{shown}:\n\n{_markdown(new)}"
    cell.attachments = there


def _markdown(name: str) -> str:
    number = name.partition(".")[0].removeprefix("picture-")
    return f"![picture {number}](attachment:{name})"


def _attachment(data: bytes) -> dict[str, str]:
    return {KINDS[_ending(data)][0]: base64.b64encode(data).decode()}


def _attached(cell: NotebookNode) -> Iterator[tuple[str, bytes]]:
    for name, content in (cell.get("attachments") or {}).items():
        for text in content.values():
            if data := _decoded(text):
                yield name, data
                break


def _decoded(text: str) -> bytes | None:
    try:
        data = base64.b64decode(text)
    except (ValueError, binascii.Error):
        return None
    return data if len(data) <= MAX_PICTURE else None


def _beside(name: str, beside: dict[str, bytes]) -> str:
    """The file that a text means: by its path, or else any of that name."""
    wanted = name.removeprefix("./").replace("\\", "/").casefold()
    last = wanted.rpartition("/")[2]
    paths = {path.casefold(): path for path in reversed(beside)}
    named = {path.rpartition("/")[2]: paths[path] for path in paths}
    return paths.get(wanted) or named.get(last, "")
