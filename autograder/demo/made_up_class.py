"""A made-up class: right answers, known mistakes, accidents and attacks, and the truth about each.

What a submission must get is known from how it was made, not from grading it, so that the
gradebook can be held against it. Private: it is made of the answers.
"""

from __future__ import annotations

import ast
import copy
import functools
import importlib
import inspect
import io
import json
import os
import random
import shutil
import sys
import textwrap
import tokenize
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import numpy as np

from autograder.demo.attacks import ATTACKS, FAILED, GRADED, TIMED_OUT
from autograder.questions import checks_of
from autograder.questions.check import (
    HANDED_IN,
    Check,
    Function,
    Misconception,
    compile_exam,
    observe,
)
from autograder.questions.edits import AT_HAND

UNREADABLE = "unreadable"
ANSWERS = "course_lib.reference.answers."
# The homework's own cells use the answers, and may well stop at a wrong or unusual one.
MAY_FAIL = (GRADED, FAILED)
UNICODE_STUDENT = "zo\u00eb_m\u00fcller"
_NAMES = """
aisha anna bao ben carla chiara david dmitri elif emre farid fatou goran grace hana hugo ivan jun
kofi lena mira nadia omar priya quentin rosa sven tomas uma vera wei xenia yusuf
"""
STUDENTS = (*_NAMES.split(), UNICODE_STUDENT)


@dataclass(frozen=True)
class Truth:
    """What a submission must come to.

    states: any of these may stand in its record. points: by check, exactly. mistakes: by check, the
    known mistake that must be named, "" if none may be, None if it does not matter. noticed: the
    staff must be told. note: what the submission is.
    """

    homework: str
    student: str
    kind: str
    states: tuple[str, ...]
    points: dict[str, float]
    mistakes: dict[str, str | None]
    noticed: bool
    note: str


@dataclass
class Draft:
    """A submission in the making, from the release on; what is done to it goes into the truth.

    payload: the file's bytes instead of the notebook. link: the file is a symbolic link to there.
    files: what lies beside the notebook, by name.
    """

    homework: str
    student: str
    notebook: dict[str, Any]
    checks: dict[str, Check]
    classmates: tuple[str, ...]
    foreign: dict[str, Any]
    random: random.Random
    states: tuple[str, ...] = (GRADED,)
    points: dict[str, float] = field(default_factory=dict)
    mistakes: dict[str, str | None] = field(default_factory=dict)
    noticed: bool = False
    note: str = ""
    filename: str = ""
    payload: bytes | None = None
    link: str = ""
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def cells(self) -> list[dict[str, Any]]:
        """The notebook's cells, to be changed in place."""
        cells: list[dict[str, Any]] = self.notebook["cells"]
        return cells

    def at(self, grade_id: str) -> int:
        """Where the cell with this grade id stands."""
        for index, cell in enumerate(self.cells):
            if cell["metadata"].get("nbgrader", {}).get("grade_id") == grade_id:
                return index
        raise ValueError(f"{self.homework} has no cell {grade_id!r}: build its release anew")

    def answer(self, name: str, source: str, points: float = 0, mistake: str | None = "") -> None:
        """Fill in the answer cell of a question, and say what it must come to."""
        self.cells[self.at(f"answer_{name}")]["source"] = source
        self.points[name], self.mistakes[name] = points, mistake

    def answer_right(self, name: str, style: int = -1) -> None:
        """Answer with the reference, or with the accepted alternative number `style`."""
        check = self.checks[name]
        function = check.accepted[style % len(check.accepted)] if style >= 0 else check.reference
        self.answer(name, standalone(function, name), check.points)

    def answer_mistaken(self, name: str, number: int) -> None:
        """Answer with one of the known mistakes."""
        known = self.checks[name].misconceptions
        mistake = known[number % len(known)]
        kept = points_kept(self.checks[name], mistake)
        self.answer(name, standalone(mistake.function, name), kept, mistake.name)

    def insert(self, source: str, early: bool = False, kind: str = "code") -> None:
        """Put in a cell of the student's own: before the first answer, or at the end."""
        first = min(self.at(f"answer_{name}") for name in self.checks)
        cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": source}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cell["id"] = f"own-{len(self.cells)}"
        self.cells.insert(first if early else len(self.cells), cell)

    def nothing_counts(self, states: tuple[str, ...] = (UNREADABLE,)) -> None:
        """No question can be graded."""
        self.states = states
        self.points = dict.fromkeys(self.checks, 0)
        self.mistakes = dict.fromkeys(self.checks, "")


Kind = Callable[[Draft], None]


@functools.cache
def points_kept(check: Check, mistake: Misconception) -> float:
    """What a known mistake keeps on the public examples, and so on any others."""
    exam = compile_exam(check)
    earned = exam.earned(observe(check, mistake.function, exam.cases))
    return round(sum(part.points for part in earned), 2)


def standalone(function: Function, name: str) -> str:
    """A function of the course's as the text of one notebook cell, under another name.

    Takes along what it needs of its module: imports, constants and helpers, which get names of
    their own so that two answers in one notebook do not meet.
    """
    module = sys.modules[function.__module__]
    path = module.__file__
    assert path is not None
    text = Path(path).read_text(encoding="utf-8")
    top: dict[str, Any] = {}
    for node in [*ast.parse(AT_HAND).body, *ast.parse(text).body]:
        for defined in _defines(node):
            top[defined] = node
    own = textwrap.dedent(inspect.getsource(function)).rstrip()  # a slip's is not in the file
    (top[function.__name__],) = ast.parse(own).body
    needed: list[str] = []
    _collect(function.__name__, top, needed)
    new_names = {
        n: f"{name}_{n.strip('_')}" for n in needed if not _is_import(top[n]) or _is_answer(top[n])
    }
    new_names[function.__name__] = name
    imports: list[str] = []
    parts: list[str] = []
    for wanted in needed:
        node = top[wanted]
        if _is_answer(node):
            answer = getattr(importlib.import_module(node.module), wanted)
            parts.append(standalone(answer, new_names[wanted]))
            continue
        if _is_import(node):
            imports.append(_import_of(node, wanted))
            continue
        segment = own if wanted == function.__name__ else ast.get_source_segment(text, node)
        assert segment is not None
        parts.append(_renamed(segment, new_names))
    head = "\n".join(dict.fromkeys(imports))
    return "\n\n\n".join([head, *parts] if head else parts)


def _defines(node: ast.stmt) -> Iterable[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name).split(".")[0] for alias in node.names)


def _collect(name: str, top: dict[str, ast.stmt], needed: list[str]) -> None:
    """What `name` stands on, each before whoever needs it."""
    if name in needed:
        return
    for node in ast.walk(top[name]):
        if isinstance(node, ast.Name) and node.id in top and node.id != name:
            _collect(node.id, top, needed)
    if name not in needed:
        needed.append(name)


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_answer(node: Any) -> bool:
    """Whether a statement imports an answer, which a student has to write down."""
    return isinstance(node, ast.ImportFrom) and (node.module or "").startswith(ANSWERS)


def _import_of(node: ast.stmt, wanted: str) -> str:
    """The import of one name; what a student does not have is only ever named in annotations."""
    assert isinstance(node, ast.Import | ast.ImportFrom)
    alias = next(a for a in node.names if (a.asname or a.name).split(".")[0] == wanted)
    renamed = f" as {alias.asname}" if alias.asname else ""
    if isinstance(node, ast.Import):
        return f"import {alias.name}{renamed}"
    if (node.module or "").startswith("autograder"):
        return f"from typing import Any as {wanted}"
    return f"from {node.module} import {alias.name}{renamed}"


def _renamed(source: str, names: dict[str, str]) -> str:
    """The source with names exchanged, but for attributes and keyword arguments."""
    lines = source.split("\n")
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    depth = 0
    changes: list[tuple[tuple[int, int], str, str]] = []
    for index, token in enumerate(tokens):
        if token.string in ("(", "[", "{"):
            depth += 1
        elif token.string in (")", "]", "}"):
            depth -= 1
        if token.type != tokenize.NAME or token.string not in names:
            continue
        after_dot = index > 0 and tokens[index - 1].string == "."
        keyword = depth > 0 and tokens[index + 1].string == "="
        if not after_dot and not keyword:
            changes.append((token.start, token.string, names[token.string]))
    for (row, column), old, new in reversed(changes):
        line = lines[row - 1]
        lines[row - 1] = line[:column] + new + line[column + len(old) :]
    return "\n".join(lines)


# Answers in many shapes, and what happens to them by accident.


def right(draft: Draft) -> None:
    """Every answer is right, written as the course would."""
    for name in draft.checks:
        draft.answer_right(name)


def a_mix(draft: Draft) -> None:
    """Most questions right in some way, some known mistakes (the first are the common ones)."""
    draft.states = MAY_FAIL
    skill = 0.5 + 0.5 * draft.random.random()
    for name in draft.checks:
        luck = draft.random.random()
        if luck < skill:
            draft.answer_right(name, draft.random.randrange(-1, 4))
        elif luck < 0.97:
            draft.answer_mistaken(name, min(draft.random.randrange(6) for _ in range(3)))


def right_by_other_means(draft: Draft) -> None:
    """Every answer is right: loops, matrices, numpy, other dtypes."""
    draft.states = MAY_FAIL
    for name in draft.checks:
        draft.answer_right(name, draft.random.randrange(100))


def moves_a_question(draft: Draft) -> None:
    """A mix; the first question has been moved behind the others."""
    a_mix(draft)
    first = next(iter(draft.checks))
    moved = [draft.cells.pop(draft.at(grade_id)) for grade_id in (f"answer_{first}", first)]
    draft.cells.extend(moved)


def runs_out_of_order(draft: Draft) -> None:
    """A mix; every test stands above its function, as when cells are run out of order."""
    a_mix(draft)
    for name in draft.checks:
        test = draft.cells.pop(draft.at(name))
        draft.cells.insert(draft.at(f"answer_{name}"), test)


def splits_a_cell(draft: Draft) -> None:
    """Right; each answer is split into a cell of its own and one that calls it."""
    right(draft)
    for name in draft.checks:
        own = standalone(draft.checks[name].reference, f"my_{name}")
        draft.insert(own, early=True)
        call = f"def {name}(*args, **kwargs):\n    return my_{name}(*args, **kwargs)\n"
        draft.answer(name, call, draft.checks[name].points)


def merges_cells(draft: Draft) -> None:
    """Right; all functions stand in the first answer cell, the other answer cells are empty."""
    sources = [standalone(check.reference, name) for name, check in draft.checks.items()]
    for name, check in draft.checks.items():
        draft.answer(name, "", check.points)
    draft.cells[draft.at(f"answer_{next(iter(draft.checks))}")]["source"] = "\n\n\n".join(sources)


def writes_unicode(draft: Draft) -> None:
    """A mix; names, comments and the student's own name are not ASCII."""
    a_mix(draft)
    draft.insert(
        "gr\u00f6\u00dfe = 1  # \u8fd9\u662f\u4e00\u4e2a\u6ce8\u91ca\nprint(gr\u00f6\u00dfe)"
    )


def warns(draft: Draft) -> None:
    """Right; everything warns and writes to standard error."""
    right(draft)
    for name, check in draft.checks.items():
        body = standalone(check.reference, f"{name}_quietly")
        loud = (
            f"{body}\n\n\ndef {name}(*args, **kwargs):\n"
            "    import sys, warnings\n"
            "    warnings.warn('this may be slow')\n"
            "    print('called', file=sys.stderr)\n"
            f"    return {name}_quietly(*args, **kwargs)\n"
        )
        draft.answer(name, loud, check.points)


def has_an_unrelated_error(draft: Draft) -> None:
    """A mix; a cell of the student's own stops with an error before all answers."""
    a_mix(draft)
    draft.insert("table = {}\ntable['results']", early=True)
    draft.states = (FAILED,)


def asks_for_input(draft: Draft) -> None:
    """A mix; a cell waits for somebody to type."""
    a_mix(draft)
    draft.insert("seed = int(input('seed? '))", early=True)
    draft.states = (FAILED,)


def trains_for_an_hour(draft: Draft) -> None:
    """A mix; a training cell would run for an hour."""
    a_mix(draft)
    source = "import time\nend = time.monotonic() + 3600\nwhile time.monotonic() < end:\n    pass\n"
    draft.insert(source, early=True)
    draft.states = (TIMED_OUT, FAILED)


def plots_and_times(draft: Draft) -> None:
    """A mix; magics, a plot window, and stale outputs in the test cells."""
    a_mix(draft)
    draft.insert("%matplotlib inline\n%timeit -n1 -r1 sum(range(10))\n!echo done", early=True)
    draft.insert("import matplotlib.pyplot as plt\nplt.plot([0, 1])\nplt.show()")
    stale = {"output_type": "error", "ename": "AssertionError", "evalue": "old", "traceback": []}
    for name in draft.checks:
        draft.cells[draft.at(name)] |= {"outputs": [copy.deepcopy(stale)], "execution_count": 99}


def renames_the_file(draft: Draft) -> None:
    """A mix; the browser gave the file another name."""
    a_mix(draft)
    draft.filename = f"{draft.homework} (1).ipynb"


def has_windows_line_ends(draft: Draft) -> None:
    """A mix; byte order mark and Windows line ends, in the file and in the cells."""
    a_mix(draft)
    for cell in draft.cells:
        cell["source"] = cell["source"].replace("\n", "\r\n")
    text = json.dumps(draft.notebook, indent=1).replace("\n", "\r\n")
    draft.payload = b"\xef\xbb\xbf" + text.encode()


def has_the_old_format(draft: Draft) -> None:
    """A mix; saved in notebook format 3."""
    a_mix(draft)
    old = nbformat.convert(nbformat.from_dict(draft.notebook), 3)
    draft.payload = json.dumps(old, indent=1).encode()


def has_another_kernel(draft: Draft) -> None:
    """A mix; the notebook names a kernel that only the student has."""
    a_mix(draft)
    kernel = {"display_name": "rl", "language": "python", "name": "conda-env-rl-py"}
    draft.notebook["metadata"]["kernelspec"] = kernel


def pastes_cells_twice(draft: Draft) -> None:
    """A mix; an answer cell and a test cell are there twice, grade ids and all."""
    a_mix(draft)
    last = list(draft.checks)[-1]
    for grade_id in (f"answer_{last}", last):
        place = draft.at(grade_id)
        twin = copy.deepcopy(draft.cells[place]) | {"id": f"twin-{place}"}
        draft.cells.insert(place + 1, twin)


# Partly right.


def mixed(draft: Draft) -> None:
    """Some right, some known mistakes, perhaps one left open: most of a class."""
    a_mix(draft)


def mistaken(draft: Draft) -> None:
    """Known mistakes only."""
    draft.states = MAY_FAIL
    for name in draft.checks:
        draft.answer_mistaken(name, draft.random.randrange(100))


def unfinished(draft: Draft) -> None:
    """The first two questions are right, the others are still stubs."""
    for name in list(draft.checks)[:2]:
        draft.answer_right(name)


def untouched(draft: Draft) -> None:
    """Handed in as it was given out."""


def deletes_cells(draft: Draft) -> None:
    """Right but for one answer cell that is gone; another question's test cell is gone too."""
    right(draft)
    first, second, *_ = draft.checks
    draft.answer(first, "")
    del draft.cells[draft.at(f"answer_{first}")]
    del draft.cells[draft.at(second)]
    draft.states = MAY_FAIL


def has_a_syntax_error(draft: Draft) -> None:
    """Right but for one answer that does not compile."""
    right(draft)
    second = list(draft.checks)[1]
    draft.answer(second, f"def {second}(theta:\n    return theta\n")
    draft.states = (FAILED,)


def remembers_the_numbers(draft: Draft) -> None:
    """One right; the first question returns the numbers that the public examples expect."""
    first, second, *_ = draft.checks
    exam = compile_exam(draft.checks[first])
    key = next(iter(exam.expected[0]))
    numbers = [table[key].tolist() for table in exam.expected]
    source = (
        f"import itertools, torch\n\nremembered = itertools.cycle({numbers!r})\n\n\n"
        f"def {first}(*args, **kwargs):\n"
        "    return torch.tensor(next(remembered), dtype=torch.float64)\n"
    )
    draft.answer(first, source, 0, None)
    draft.answer_right(second)
    draft.states = MAY_FAIL


# Files that are no submission.


def hands_in_no_files(draft: Draft) -> None:
    """Right, but what was trained was left at home."""
    right(draft)
    draft.files = {}
    for name in _with_files(draft):
        draft.points[name] = 0


def hands_in_other_files(draft: Draft) -> None:
    """Right, but in place of what was trained lies something else: a pickle, a text, too much."""
    right(draft)
    pickled = io.BytesIO()
    np.savez(pickled, weights=np.array([print], dtype=object))
    for name, other in zip(draft.files, (pickled.getvalue(), b"weights"), strict=False):
        draft.files[name] = other
    for name in _with_files(draft):
        draft.points[name] = 0


def hands_in_what_did_not_learn(draft: Draft) -> None:
    """Right, but the files hold weights from before the training, of the right shapes."""
    right(draft)
    generator = np.random.default_rng(0)
    for name, content in draft.files.items():
        with np.load(io.BytesIO(content)) as agent:
            weights = {n: 0.01 * generator.standard_normal(agent[n].shape) for n in agent.files}
        file = io.BytesIO()
        np.savez(file, **weights)  # type: ignore[arg-type]
        draft.files[name] = file.getvalue()
    for name in _with_files(draft):
        check = draft.checks[name]
        hardly = check.misconceptions[0]
        draft.points[name], draft.mistakes[name] = points_kept(check, hardly), hardly.name


def _with_files(draft: Draft) -> list[str]:
    return [name for name, check in draft.checks.items() if check.files]


def is_truncated(draft: Draft) -> None:
    """The download stopped halfway."""
    right(draft)
    text = json.dumps(draft.notebook, indent=1).encode()
    draft.payload = text[: len(text) // 2]
    draft.nothing_counts()


def is_empty(draft: Draft) -> None:
    """A file without a byte."""
    draft.payload = b""
    draft.nothing_counts()


def is_a_pdf(draft: Draft) -> None:
    """A PDF with the name of a notebook."""
    draft.payload = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"
    draft.nothing_counts()


def is_another_homework(draft: Draft) -> None:
    """The notebook of another homework."""
    draft.payload = json.dumps(draft.foreign, indent=1).encode()
    draft.nothing_counts()


# Hostile ones that are more than a cell.


def flips_the_metadata(draft: Draft) -> None:
    """A mix; points a hundredfold, tests emptied, unlocked, graded flags turned round."""
    a_mix(draft)
    for name in draft.checks:
        test = draft.cells[draft.at(name)]
        test["source"] = "100"
        nbgrader = test["metadata"]["nbgrader"]
        nbgrader |= {"points": 100 * nbgrader["points"], "locked": False, "solution": True}
        answer = draft.cells[draft.at(f"answer_{name}")]["metadata"]["nbgrader"]
        answer |= {"grade": True, "points": 100}
    draft.noticed = True


def links_to_a_classmate(draft: Draft) -> None:
    """The file is a symbolic link to a classmate's notebook."""
    other = next(name for name in draft.classmates if name != draft.student)
    draft.link = f"../../{other}/{draft.homework}/{draft.homework}.ipynb"
    draft.nothing_counts()


def _hostile(attack_name: str) -> Kind:
    attack = ATTACKS[attack_name]

    def kind(draft: Draft) -> None:
        half = len(draft.checks) // 2
        honest = [] if attack.self_harming else list(draft.checks)[:half]
        for name in draft.checks:
            if name in honest:
                draft.answer_right(name)
            elif attack.answer:
                draft.answer(name, attack.answer.replace("NAME", name), 0, None)
            elif draft.random.random() < 0.5:
                draft.answer_mistaken(name, min(draft.random.randrange(6) for _ in range(3)))
        draft.insert(attack.source, early=attack.early)
        if attack_name == "shows active content":
            for markup in ("<script>alert(7)</script>", "<svg onload='alert(8)'></svg>"):
                draft.insert(f"# Notes\n\n{markup}\n\n[me](javascript:alert(9))", kind="markdown")
        draft.states = tuple(dict.fromkeys((*attack.states, FAILED)))
        draft.noticed = attack.noticed
        draft.note = f"{len(honest)} honestly right; wants: {attack.wants}."

    return kind


KINDS: dict[str, Kind] = {
    kind.__name__.replace("_", " "): kind
    for kind in (
        right,
        right_by_other_means,
        moves_a_question,
        runs_out_of_order,
        splits_a_cell,
        merges_cells,
        writes_unicode,
        warns,
        has_an_unrelated_error,
        asks_for_input,
        trains_for_an_hour,
        plots_and_times,
        renames_the_file,
        has_windows_line_ends,
        has_the_old_format,
        has_another_kernel,
        pastes_cells_twice,
        mixed,
        mistaken,
        unfinished,
        untouched,
        deletes_cells,
        has_a_syntax_error,
        hands_in_no_files,
        hands_in_other_files,
        hands_in_what_did_not_learn,
        remembers_the_numbers,
        is_truncated,
        is_empty,
        is_a_pdf,
        is_another_homework,
        flips_the_metadata,
        links_to_a_classmate,
    )
} | {name: _hostile(name) for name in ATTACKS}

# Which kinds a homework gets: the first one most of the accidents, the second most of the attacks,
# the others a few, and those with files.
_OFTEN = {"mixed": 5}
_WITH_FILES = ("hands in no files", "hands in other files", "hands in what did not learn")
_FOR_THE_SECOND = ("remembers the numbers", "flips the metadata", "links to a classmate", *ATTACKS)
PROGRAMS: tuple[tuple[str, ...], ...] = (
    tuple(
        name
        for name in KINDS
        if name not in (*_FOR_THE_SECOND, *_WITH_FILES)
        for _ in range(_OFTEN.get(name, 1))
    ),
    ("right", "right by other means", "mixed", "mixed", "mistaken", *_FOR_THE_SECOND),
    ("right", "right by other means", "mixed", "mixed", "mistaken", *_WITH_FILES),
)


def make_draft(
    homework: str,
    student: str,
    release: dict[str, Any],
    classmates: Sequence[str] = (),
    foreign: dict[str, Any] | None = None,
) -> Draft:
    """A submission that is still the release, nothing answered."""
    checks = {check.name: check for check in checks_of(homework)}
    notebook = copy.deepcopy(release)
    for cell in notebook["cells"]:
        if isinstance(cell["source"], list):
            cell["source"] = "".join(cell["source"])
    return Draft(
        homework=homework,
        student=student,
        notebook=notebook,
        checks=checks,
        classmates=tuple(classmates),
        foreign=foreign or {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5},
        random=random.Random(f"{homework}/{student}"),
        points=dict.fromkeys(checks, 0),
        mistakes=dict.fromkeys(checks, ""),
        files={
            name: (HANDED_IN / name).read_bytes() for one in checks.values() for name in one.files
        },
    )


def make_submission(kind: str, draft: Draft, folder: Path) -> Truth:
    """Make a draft one of KINDS, write it into `folder`, and say what it must come to."""
    _write_words(draft)
    KINDS[kind](draft)
    folder.mkdir(parents=True)
    for name, content in draft.files.items():
        (folder / name).write_bytes(content)
    path = folder / (draft.filename or f"{draft.homework}.ipynb")
    if draft.link:
        os.symlink(draft.link, path)
    elif draft.payload is not None:
        path.write_bytes(draft.payload)
    else:
        path.write_text(json.dumps(draft.notebook, indent=1) + "\n", encoding="utf-8")
    return Truth(
        homework=draft.homework,
        student=draft.student,
        kind=kind,
        states=draft.states,
        points=draft.points,
        mistakes=draft.mistakes,
        noticed=draft.noticed,
        note=draft.note or (KINDS[kind].__doc__ or "").strip(),
    )


def _write_words(draft: Draft) -> None:
    """Something in the written answers, for a person to grade."""
    openings = ("The idea is that", "Since probabilities sum to one,", "I think that", "")
    for cell in draft.cells:
        grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
        if grade_id.startswith("written_") and (opening := draft.random.choice(openings)):
            topic = grade_id.removeprefix("written_").replace("_", " ")
            cell["source"] = f"{opening} the {topic} follows from what we had in the lecture."


def write_class(course: Path, homeworks: Sequence[str]) -> list[Truth]:
    """Write a class in nbgrader's layout from the release notebooks of `homeworks`.

    Replaces <course>/submitted. The same class every time; who is what is told by the truth alone.
    Raises ValueError if a release notebook is missing.
    """
    releases = {homework: _release(course, homework) for homework in homeworks}
    shutil.rmtree(course / "submitted", ignore_errors=True)
    truths = []
    for number, homework in enumerate(homeworks):
        kinds = list(PROGRAMS[min(number, len(PROGRAMS) - 1)])
        if not any(check.files for check in checks_of(homework)):
            kinds = [kind for kind in kinds if kind not in _WITH_FILES]
        students = list(STUDENTS)
        order = random.Random(f"class of {homework}")
        order.shuffle(students)
        order.shuffle(kinds)
        if "writes unicode" in kinds:
            here, there = students.index(UNICODE_STUDENT), kinds.index("writes unicode")
            students[here], students[there] = students[there], students[here]
        pairs = sorted(zip(students, kinds, strict=False))
        classmates = [student for student, kind in pairs if kind in ("right", "mixed")]
        foreign = next((releases[other] for other in homeworks if other != homework), None)
        for student, kind in pairs:
            draft = make_draft(homework, student, releases[homework], classmates, foreign)
            folder = course / "submitted" / student / homework
            truths.append(make_submission(kind, draft, folder))
    return truths


def _release(course: Path, homework: str) -> dict[str, Any]:
    checks_of(homework)
    path = course / "release" / homework / f"{homework}.ipynb"
    if not path.is_file():
        raise ValueError(f"{path} is missing: build the handouts first")
    release: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return release
