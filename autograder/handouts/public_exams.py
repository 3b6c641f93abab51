"""Public exams: every check with its public cases as plain numbers, the data given to students."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from autograder.project import ROOT
from autograder.questions import checks_of, homeworks
from autograder.questions.check import Check
from autograder.questions.proof import proven_exam

PUBLIC = "autograder/student/public/"
FEW = 4  # so many are proven sooner than other processes have imported what they need
_lines: dict[Check, str] = {}  # of exams, as they stand in their files


def compile_public_exams(root: Path = ROOT) -> dict[str, bytes]:
    """The file of every homework by its path from the root. Same checks, same bytes.

    Numbers have ten digits, far more than any tolerance and fewer than processors differ in.
    Raises HandoutError if a check is not proven.
    """
    found = homeworks(root)
    _prove([check for checks in found.values() for check in checks if check not in _lines], root)
    files = {}
    for homework, checks in found.items():
        lines = ",\n".join(_lines[check] for check in checks)
        files[f"{PUBLIC}{homework}.json"] = f"[\n{lines}\n]\n".encode()
    return files


def _prove(checks: Iterable[Check], root: Path) -> None:
    """Work out the exams of these checks: where they are many, in several processes."""
    checks = list(checks)
    if len(checks) <= FEW or os.cpu_count() == 1:
        _lines.update({check: _line(check) for check in checks})
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context) as pool:
        futures = [pool.submit(_line_of, root, check.homework, check.name) for check in checks]
        try:
            lines = [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    _lines.update(dict(zip(checks, lines, strict=True)))


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
