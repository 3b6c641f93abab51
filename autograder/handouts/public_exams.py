"""Public exams: every check with its public cases as plain numbers, the data given to students.

To prove a check takes seconds, and all of them minutes. So PROVEN keeps, for each, one key of all
that its proof came from and of the line that came out: while both are as they were, it stands.
"""

from __future__ import annotations

import inspect
import json
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from autograder.handouts.freshness import digests, imported, key_of
from autograder.project import ROOT, HandoutError, Progress, unseen
from autograder.questions import PROVEN, TERM, checks_of, homeworks, proof, proofs
from autograder.questions.check import HANDED_IN, Check
from autograder.questions.proof import proven_exam
from course_lib.recorded import FOLDER

PUBLIC = "autograder/student/public/"
FEW = 4  # so many are proven sooner than other processes have imported what they need
DRAWS = 20  # of a term's cases, until one tells all mistakes apart
COUNTING = ("torch", "numpy", "gymnasium")  # whose versions numbers may lean on
_lines: dict[Check, str] = {}  # of exams, as they stand in their files


def compile_public_exams(root: Path = ROOT, progress: Progress = unseen) -> dict[str, bytes]:
    """The file of every homework, and PROVEN, by path from the root. Same checks, same bytes.

    Numbers have ten digits, far more than any tolerance and fewer than processors differ in.
    progress: called for each check that is proven; those that stand are not.
    Raises HandoutError if a check is not proven.
    """
    found = homeworks(root)
    common = [*(f"{name} {version(name)}" for name in COUNTING), *digests([ROOT / TERM], ROOT)]
    sources = {check: [*common, *_sources(check)] for checks in found.values() for check in checks}
    _lines.update(_standing(root, sources))
    proven = _prove([check for check in sources if check not in _lines], root, progress)
    files, kept = {}, {}
    for homework, checks in found.items():
        lines = []
        for check in checks:
            one = proven.get(check, check)
            lines.append(_lines[one])
            kept[one.name] = {"key": _key(one, sources[check], _lines[one]), "draw": one.draw}
        files[f"{PUBLIC}{homework}.json"] = ("[\n" + ",\n".join(lines) + "\n]\n").encode()
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in kept.items())
    files[PROVEN] = ("{\n" + rows + "\n}\n").encode()
    return files


def _sources(check: Check) -> list[str]:
    """What the proof of a check comes from: its file, the proof's, what they import, and data."""
    files = imported([Path(inspect.getfile(check.recipe)), Path(proof.__file__)], ROOT)
    data = [FOLDER] if ROOT / "course_lib" / "recorded.py" in files else []
    data += [HANDED_IN / name for name in check.files]
    return [check.homework, str(check.points), *digests([*files, *data], ROOT)]


def _key(check: Check, sources: Sequence[str], line: str) -> str:
    return key_of([*sources, str(check.draw), line])


def _standing(root: Path, sources: Mapping[Check, Sequence[str]]) -> dict[Check, str]:
    """The lines of the checks whose proof stands."""
    kept = proofs(root)
    there: dict[str, str] = {}
    for path in sorted((root / PUBLIC).glob("*.json")):
        for line in path.read_text(encoding="utf-8").splitlines()[1:-1]:
            there[line.partition('"check": "')[2].partition('"')[0]] = line.removesuffix(",")
    return {
        check: there[check.name]
        for check, parts in sources.items()
        if check.name in there
        and check.name in kept
        and kept[check.name]["key"] == _key(check, parts, there[check.name])
    }


def _prove(checks: Sequence[Check], root: Path, progress: Progress) -> dict[Check, Check]:
    """Work out the exams of these checks; each with the draw that could be proven.

    Where they are many, in several processes.
    """
    found: dict[Check, Check] = {}

    def keep(check: Check, draw: int, line: str) -> None:
        found[check] = replace(check, draw=draw)
        _lines[found[check]] = line

    if len(checks) <= FEW or os.cpu_count() == 1:
        for done, check in enumerate(checks):
            progress(f"proving {check.name}", done, len(checks))
            keep(check, *_proven(check))
        return found
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context) as pool:
        futures = [pool.submit(_proven_of, root, check.homework, check.name) for check in checks]
        try:
            for done, (check, future) in enumerate(zip(checks, futures, strict=True)):
                progress(f"proving {check.name}", done, len(checks))
                keep(check, *future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _proven_of(root: Path, homework: str, name: str) -> tuple[int, str]:
    return _proven(next(check for check in checks_of(homework, root) if check.name == name))


def _proven(check: Check) -> tuple[int, str]:
    """The line of a check, and the draw of a term's public cases that tells all mistakes apart."""
    torch.set_num_threads(1)  # tensors here are small: with more, a proof takes eight times as long
    for draw in range(DRAWS if check.term else 1):
        try:
            return draw, _line(replace(check, draw=draw))
        except HandoutError as error:
            refused = error
    raise refused


def _line(check: Check) -> str:
    return json.dumps(rounded(proven_exam(check).to_json()), allow_nan=True)


def rounded(data: Any) -> Any:
    """JSON data with every float at ten significant digits, and rounding errors of zero at zero."""
    if isinstance(data, dict):
        return {key: rounded(value) for key, value in data.items()}
    if isinstance(data, list):
        return [rounded(value) for value in data]
    if isinstance(data, float):
        return 0.0 if abs(data) < 1e-12 else float(f"{data:.10g}")
    return data
