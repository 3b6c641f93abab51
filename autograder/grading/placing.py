"""Where a class's hand-ins lie: each student's notebook, whatever it is called and wherever it is.

nbgrader's place is submitted/<student>/<homework>/<homework>.ipynb. Taken as well, with a remark:
other names, another case, copies that a browser numbered, a notebook without its folder, one in a
zip. Of several the newest counts. The files themselves are never changed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import unicodedata
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.grading.beside import MAX_DEPTH, TIMESTAMP, few, files_in, own_files, plain
from autograder.grading.reading import Readers
from autograder.grading.record import Accident
from autograder.student.notebook_file import MAX_BYTES, read_notebook

NOTEBOOK = re.compile(r"\.ipynb(\.txt|\.json)?$", re.IGNORECASE)
HAND_IN = re.compile(r"\.(ipynb(\.txt|\.json)?|zip|pdf|html?|py|docx?)$", re.IGNORECASE)
MAX_ZIPPED = 2_000  # files in a zip


@dataclass(frozen=True)
class Submission:
    """What a student handed in to a homework.

    folder: where its notebook lies, with what belongs to it. notebook: its name there, "" for the
    homework's own. remarks: sentences on how it was found. others: folders in it that belong to
    other homeworks. stamp: the file with the time of its hand-in, if it lies elsewhere. also: other
    folders whose files may belong to it, such as the one with its zip.
    """

    student: str
    homework: str
    folder: Path
    notebook: str = ""
    remarks: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    stamp: Path | None = None
    also: tuple[Path, ...] = ()

    @property
    def timestamp(self) -> Path:
        """The file with the time of the hand-in, if there is one."""
        return self.stamp or self.folder / TIMESTAMP

    @property
    def name(self) -> str:
        """The notebook's name in its folder."""
        return self.notebook or f"{self.homework}.ipynb"


@dataclass(frozen=True)
class _Candidate:
    """A notebook that may be a student's hand-in. zipped: the zip that it came in."""

    path: Path
    zipped: Path | None = None

    @property
    def modified(self) -> float:
        return (self.zipped or self.path).lstat().st_mtime


@dataclass(frozen=True)
class Placed:
    """What a class handed in to a homework, by student. lost: what is nobody's, as paths."""

    submissions: tuple[Submission, ...] = ()
    lost: tuple[str, ...] = ()


def place(course: Path, homework: str, functions: Collection[str] = ()) -> Placed:
    """Find every student's submission to a homework in the submitted folder.

    functions: names that the homework asks for, by which a notebook of any name is known. Raises
    ValueError if there is no submitted folder at all, saying where notebooks are expected, or if a
    folder's name cannot be a student's: nbgrader would take "ada " for "ada"; OSError if the
    machine does not get a hand-in read.
    """
    submissions = []
    lost: list[str] = []
    with Readers() as readers:
        finder = _Finder(course, homework, functions, readers)
        for student, folders in _students(course, homework):
            if submission := finder.find(student, folders):
                submissions.append(submission)
            else:
                lost += [name for folder in folders for name in finder.nobodys(folder)]
    loose = (course / "submitted").iterdir()
    lost += [path.name for path in loose if path.is_file() and not path.name.startswith(".")]
    return Placed(tuple(submissions), tuple(sorted(lost)))


def _students(course: Path, homework: str) -> Iterator[tuple[str, list[Path]]]:
    """Each student with their folders: more than one if a name was written in two forms."""
    submitted = course / "submitted"
    if not submitted.is_dir():
        raise ValueError(
            f"There is no folder {submitted}: put notebooks at "
            f"submitted/<student>/{homework}/{homework}.ipynb, nbgrader's layout."
        )
    entries = [path for path in submitted.iterdir() if not path.name.startswith(".")]
    folders = [path for path in entries if path.is_symlink() or path.is_dir()]
    by_name: dict[str, list[Path]] = {}
    for path in sorted(folders):
        name = path.name
        if name != name.strip() or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
            raise ValueError(
                f"The folder {name!a} in {submitted} cannot be a student's: it has a space at an "
                "end, or a character that is none. Rename it; nothing was graded."
            )
        by_name.setdefault(unicodedata.normalize("NFC", name), []).append(path)
    yield from sorted(by_name.items())


class _Finder:
    """Looks for one homework among what students handed in."""

    def __init__(
        self, course: Path, homework: str, functions: Collection[str], readers: Readers
    ) -> None:
        self.readers = readers
        self.course, self.homework = course, homework
        source = course / "source"
        released = [p.name for p in source.iterdir()] if source.is_dir() else []
        self.homeworks = {plain(name) for name in (*released, homework)}
        begins = rf"(?<![a-z0-9]){re.escape(plain(homework))}(?![a-z0-9])"
        self.by_name = re.compile(begins)
        names = "|".join(map(re.escape, functions)) or "(?!)"
        self.number = len(functions)
        self.stubs = re.compile(rf'NotImplementedError\("({names}): your code'.encode())
        self.by_content = re.compile(
            rf'"answer_(?:{names})"|def (?:{names})\(|check\((?:{names})\)'.encode()
        )

    def find(self, student: str, folders: Sequence[Path]) -> Submission | None:
        """The student's submission, None if there is none."""
        usual = [folder / self.homework for folder in folders]
        candidates: list[_Candidate] = []
        if not (len(folders) == 1 and self._is_usual(folders[0])):
            candidates = [one for folder in folders for one in self._candidates(student, folder)]
        if candidates:
            return self._submission(student, self._likeliest(candidates), candidates, folders)
        there = next((path for path in usual if os.path.lexists(path)), None)
        return None if there is None else Submission(student, self.homework, there)

    def nobodys(self, folder: Path) -> list[str]:
        """What somebody handed in of whom nothing was found, but for other homeworks."""
        return [
            f"{folder.name}/{name}"
            for name, _ in files_in(folder)
            if HAND_IN.search(name) and plain(name.split("/")[0]) not in self.homeworks
        ]

    def _is_usual(self, folder: Path) -> bool:
        """Whether a student's folder is as nbgrader wants it, or a link, which nobody follows."""
        own = folder / self.homework
        if folder.is_symlink() or own.is_symlink():
            return True
        if any(_is_hand_in(path) or self._is_misplaced(path) for path in folder.iterdir()):
            return False
        if not own.is_dir():
            return True
        return [path.name for path in own.iterdir() if _is_hand_in(path)] == [f"{own.name}.ipynb"]

    def _is_misplaced(self, path: Path) -> bool:
        """Whether a folder may hold this homework, and does not have its name or another's."""
        mine = plain(path.name) == plain(self.homework) and path.name != self.homework
        return path.is_dir() and (mine or plain(path.name) not in self.homeworks)

    def _candidates(self, student: str, folder: Path) -> Iterator[_Candidate]:
        """Notebooks in a student's folder that may be this homework, zipped ones too."""
        for name, path in files_in(folder):
            first = plain(name.split("/")[0])
            inside = "/" in name
            if inside and first in self.homeworks and first != plain(self.homework):
                continue
            belongs = inside and first == plain(self.homework)
            if NOTEBOOK.search(name):
                if belongs or self._is_ours(path):
                    yield _Candidate(path)
            elif name.lower().endswith(".zip"):
                for unzipped in self._unzipped(student, path):
                    if belongs or self._is_ours(unzipped, path.name):
                        yield _Candidate(unzipped, path)

    def _is_ours(self, path: Path, named: str = "") -> bool:
        """Whether a notebook is this homework's by what is in it, or else by its name."""
        try:
            if path.stat().st_size <= MAX_BYTES and self.by_content.search(
                path.read_bytes().replace(b"\0", b"").replace(b'\\"', b'"')
            ):
                return True
        except OSError:
            return False
        return any(self.by_name.search(plain(name)) for name in (path.name, named))

    def _likeliest(self, candidates: Sequence[_Candidate]) -> _Candidate:
        """The newest of those with most of the homework in them; its own name if dates agree."""
        if len(candidates) == 1:
            return candidates[0]
        weights = {one: self._weight(one.path) for one in candidates}
        most = max(weights.values())
        own = f"{self.homework}.ipynb"
        return max(
            (one for one in candidates if 2 * weights[one] >= most),
            key=lambda one: (round(one.modified), one.path.name == own, weights[one]),
        )

    def _weight(self, path: Path) -> int:
        """How much of the homework is in a notebook: 1 if no answer is, 0 if it is unreadable."""
        try:
            notebook = self.readers.read(read_notebook, path)
        except Accident as error:
            raise OSError(f"{path} {error}: run the same command again.") from error
        except Exception:  # whatever a file can hold: `take_in` says what is wrong with it
            return 0
        cells = "\n".join(f"{cell.metadata} {cell.source}" for cell in notebook.cells)
        text = cells.replace("'", '"').encode(errors="replace")
        stubs = set(self.stubs.findall(text))
        return 1 if len(stubs) == self.number else 1 + len(set(self.by_content.findall(text)))

    def _submission(
        self,
        student: str,
        best: _Candidate,
        candidates: Sequence[_Candidate],
        folders: Sequence[Path],
    ) -> Submission:
        others = [one for one in candidates if one is not best]
        own, folder = f"{self.homework}.ipynb", best.path.parent
        usual = [above / self.homework for above in folders]
        shown = best.zipped or best.path
        remarks = []
        if folder not in usual or best.path.name != own:
            place = shown.relative_to(self.course / "submitted").as_posix()
            inside = f", {best.path.name} in it," if best.zipped else ""
            remarks.append(f"The notebook was handed in as {place}{inside} and read as {own}.")
        if others:
            names = [
                (one.zipped or one.path).relative_to(self.course / "submitted").as_posix()
                for one in others
            ]
            remarks.append(f"Several were handed in, and one was read, not {few(names)}.")
        not_ours = [
            path.name
            for path in folder.iterdir()
            if path.is_dir() and plain(path.name) in self.homeworks
        ]
        around = dict.fromkeys((folder, shown.parent, *usual))
        stamps = [above / TIMESTAMP for above in around]
        return Submission(
            student,
            self.homework,
            folder,
            "" if best.path.name == own else best.path.name,
            tuple(remarks),
            tuple(not_ours),
            next((path for path in stamps if os.path.lexists(path)), None),
            tuple(above for above in around if above != folder),
        )

    def _unzipped(self, student: str, path: Path) -> list[Path]:
        """Notebooks of a zip, unpacked into the class folder's own corner."""
        status = path.stat()
        label = f"{path}\0{status.st_size}\0{status.st_mtime_ns}"
        key = hashlib.sha256(os.fsencode(label)).hexdigest()[:16]
        folder = self.course / ".course" / "unzipped" / self.homework / student / key
        if not folder.is_dir() and not _unzip(path, folder):
            return []
        return [file for name, file in files_in(folder) if NOTEBOOK.search(name)]


def _is_hand_in(path: Path) -> bool:
    return bool(NOTEBOOK.search(path.name)) or path.suffix.lower() == ".zip"


def _unzip(path: Path, folder: Path) -> bool:
    """Unpack a zip; nothing of it if it is too large, damaged or locked. Whether it was."""
    draft = folder.with_name(f".{folder.name}")
    if path.stat().st_size > MAX_BYTES:
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                one
                for one in archive.infolist()
                if not one.is_dir() and not one.filename.startswith("__MACOSX/")
            ]
            members = [one for one in members if one.filename.count("/") <= MAX_DEPTH]
            if len(members) > MAX_ZIPPED or sum(one.file_size for one in members) > MAX_BYTES:
                return False
            for one in members:
                archive.extract(one, draft)
        draft.rename(folder)
    except Exception:  # damaged, locked, packed in some other way: it is listed as not placed
        return False
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return True


def fingerprint(submission: Submission) -> str:
    """A hash of the submitted files, to know whether there is anything new to grade.

    Reads what grading would read, and never through a link: there may be a device behind it. When
    it was handed in is not part of it: no mark of a check depends on that.
    """
    digest = hashlib.sha256(os.fsencode(submission.name) + b"\0")
    folder = submission.folder
    linked = [path for path in (folder.parent, folder) if path.is_symlink()]
    named = [(path.name, path) for path in linked or sorted(folder.glob("*"))]
    if not linked:
        named += [(name, path) for name, path in files_in(folder) if "/" in name]
        named += [(path.name, path) for above in submission.also for path in own_files(above)]
    for name, path in named:
        if name == TIMESTAMP or name.split("/")[0] in submission.others:
            continue
        digest.update(os.fsencode(name) + b"\0")
        try:
            if path.is_symlink():
                digest.update(os.fsencode(os.readlink(path)))
            elif path.is_file() and path.stat().st_size > MAX_BYTES:
                digest.update(f"{path.stat().st_size} {path.stat().st_mtime_ns}".encode())
            elif path.is_file():
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            digest.update(type(error).__name__.encode())
    return digest.hexdigest()
