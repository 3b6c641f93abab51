"""Recordings are read by name, are shipped to students, and each has the script that made it."""

import json
from pathlib import Path

import pytest

from autograder.handouts.bundle import is_allowed
from course_lib import recorded as module
from course_lib.recorded import recorded

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in module.FOLDER.glob("*.json"))


def test_a_recording_comes_back_as_it_was_written(tmp_path, monkeypatch):
    (tmp_path / "runs.json").write_text(json.dumps({"returns": [1.5, 2.0]}))
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    assert recorded("runs") == {"returns": [1.5, 2.0]}
    with pytest.raises(ValueError, match=r"no recording 'walks': choose one of \['runs'\]"):
        recorded("walks")


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_is_shipped_and_can_be_made_again(name):
    assert is_allowed(f"course_lib/data/{name}.json")
    assert (ROOT / "benchmarks" / "recordings" / f"{name}.py").exists()
    assert recorded(name)
