"""Public exams: every check with its public cases as plain numbers, the data given to students."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autograder.questions import homeworks
from autograder.questions.check import compile_exam

FOLDER = Path(__file__).resolve().parents[1] / "student" / "public"


def write_public_exams(folder: Path = FOLDER) -> list[Path]:
    """Write <homework>.json for every homework and return the paths. Same checks, same bytes.

    Numbers have ten digits, far more than any tolerance and fewer than processors differ in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for homework, checks in homeworks().items():
        exams = [rounded(compile_exam(check).to_json()) for check in checks]
        path = folder / f"{homework}.json"
        lines = ",\n".join(json.dumps(exam, allow_nan=True) for exam in exams)
        path.write_text(f"[\n{lines}\n]\n", encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


def rounded(data: Any) -> Any:
    """JSON data with every float at ten significant digits, and rounding errors of zero at zero."""
    if isinstance(data, dict):
        return {key: rounded(value) for key, value in data.items()}
    if isinstance(data, list):
        return [rounded(value) for value in data]
    if isinstance(data, float):
        return 0.0 if abs(data) < 1e-12 else float(f"{data:.10g}")
    return data


if __name__ == "__main__":
    for written in write_public_exams():
        print(written)
