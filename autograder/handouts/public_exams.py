"""Public exams: every check with its public cases as plain numbers, the data given to students."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autograder.project import ROOT
from autograder.questions import homeworks
from autograder.questions.proof import proven_exam

PUBLIC = "autograder/student/public/"


def compile_public_exams(root: Path = ROOT) -> dict[str, bytes]:
    """The file of every homework by its path from the root. Same checks, same bytes.

    Numbers have ten digits, far more than any tolerance and fewer than processors differ in.
    Raises HandoutError if a check is not proven.
    """
    files = {}
    for homework, checks in homeworks(root).items():
        exams = [rounded(proven_exam(check).to_json()) for check in checks]
        lines = ",\n".join(json.dumps(exam, allow_nan=True) for exam in exams)
        files[f"{PUBLIC}{homework}.json"] = f"[\n{lines}\n]\n".encode()
    return files


def rounded(data: Any) -> Any:
    """JSON data with every float at ten significant digits, and rounding errors of zero at zero."""
    if isinstance(data, dict):
        return {key: rounded(value) for key, value in data.items()}
    if isinstance(data, list):
        return [rounded(value) for value in data]
    if isinstance(data, float):
        return 0.0 if abs(data) < 1e-12 else float(f"{data:.10g}")
    return data
