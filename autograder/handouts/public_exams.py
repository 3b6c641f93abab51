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
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autograder.handouts.freshness import digests, imported, key_of
from autograder.project import ROOT, Progress, read, unseen
from autograder.questions import checks_of, homeworks, proof
from autograder.questions.check import HANDED_IN, Check
from autograder.questions.proof import proven_exam

PUBLIC = "autograder/student/public/"
PROVEN = "autograder/questions/proven.json"
FEW = 4  # so many are proven sooner than other processes have imported what they need
COUNTING = ("torch", "numpy", "gymnasium")  # whose versions numbers may lean on
_lines: dict[Check, str] = {}  # of exams, as they stand in their files


def compile_public_exams(root: Path = ROOT, progress: Progress = unseen) -> dict[str, bytes]:
    """The file of every homework, and PROVEN, by path from the root. Same checks, same bytes.

    Numbers have ten digits, far more than any tolerance and fewer than processors differ in.
    progress: called for each check that is proven; those that stand are not.
    Raises HandoutError if a check is not proven.
    """
    found = homeworks(root)
    checks = [check for checks in found.values() for check in checks]
    common = [f"{name} {version(name)}" for name in COUNTING]
    common += digests([ROOT / "course_lib/data", HANDED_IN], ROOT)
    sources = {check: [*common, *_sources(check)] for check in checks}
    _lines.update(
        _standing(root, {check: sources[check] for check in checks if check not in _lines})
    )
    _prove([check for check in checks if check not in _lines], root, progress)
    files = {}
    for homework, asked in found.items():
        lines = ",\n".join(_lines[check] for check in asked)
        files[f"{PUBLIC}{homework}.json"] = f"[\n{lines}\n]\n".encode()
    keys = {check.name: key_of([*sources[check], _lines[check]]) for check in checks}
    files[PROVEN] = (json.dumps(keys, indent=1) + "\n").encode()
    return files


def _sources(check: Check) -> list[str]:
    """What the proof of a check comes from: its file and all that it imports, and the proof's."""
    files = imported([Path(inspect.getfile(check.recipe)), Path(proof.__file__)], ROOT)
    return [check.homework, str(check.points), *digests(files, ROOT)]


def _standing(root: Path, sources: Mapping[Check, Sequence[str]]) -> dict[Check, str]:
    """The lines of the checks whose proof stands."""
    try:
        kept = dict(json.loads(read(root / PROVEN)))
    except (ValueError, TypeError):  # none yet, or two of them merged
        return {}
    there: dict[str, str] = {}
    for path in sorted((root / PUBLIC).glob("*.json")):
        for line in path.read_text(encoding="utf-8").splitlines()[1:-1]:
            there[line.partition('"check": "')[2].partition('"')[0]] = line.removesuffix(",")
    return {
        check: there[check.name]
        for check, parts in sources.items()
        if check.name in there and kept.get(check.name) == key_of([*parts, there[check.name]])
    }


def _prove(checks: Sequence[Check], root: Path, progress: Progress) -> None:
    """Work out the exams of these checks: where they are many, in several processes."""
    if len(checks) <= FEW or os.cpu_count() == 1:
        for done, check in enumerate(checks):
            progress(f"proving {check.name}", done, len(checks))
            _lines[check] = _line(check)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context) as pool:
        futures = [pool.submit(_line_of, root, check.homework, check.name) for check in checks]
        try:
            for done, (check, future) in enumerate(zip(checks, futures, strict=True)):
                progress(f"proving {check.name}", done, len(checks))
                _lines[check] = future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _line_of(root: Path, homework: str, name: str) -> str:
    return _line(next(check for check in checks_of(homework, root) if check.name == name))


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
