"""Proofs of checks: kept while all that they came from is as it was, and made again otherwise."""

import json
from dataclasses import replace

import pytest

from autograder.handouts import public_exams
from autograder.handouts.freshness import digests, imported
from autograder.handouts.public_exams import PROVEN, PUBLIC, compile_public_exams
from autograder.questions import homeworks
from autograder.questions.proof import proven_exam

CHECKS = {check.name: check for checks in homeworks().values() for check in checks}
QUICK = ("returns_to_go", "performance_difference", "group_advantages")  # a second each


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CHECKS]
)
def test_what_is_kept_is_what_a_new_proof_gives(root, name):
    lines = (root / PUBLIC / f"{CHECKS[name].homework}.json").read_text().splitlines()
    line = json.dumps(public_exams.rounded(proven_exam(CHECKS[name]).to_json()))
    assert line in [each.removesuffix(",") for each in lines]


@pytest.fixture
def proven(monkeypatch):
    """Names of the checks that are proven, each in no time."""
    names = []

    def prove(check):
        names.append(check.name)
        return json.dumps({"check": check.name, "points": check.points})

    monkeypatch.setattr(public_exams, "_line", prove)
    monkeypatch.setattr(public_exams, "_lines", {})
    return names


@pytest.fixture
def built(tmp_path, proven, monkeypatch):
    """A folder with the exams of two checks, and how to build them again in a new process."""
    asked = {"hw9": (CHECKS["returns_to_go"], CHECKS["gae"])}
    monkeypatch.setattr(public_exams, "homeworks", lambda root: asked)

    def build():
        proven.clear()
        public_exams._lines.clear()
        for name, content in compile_public_exams(tmp_path).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        return list(proven)

    assert build() == ["returns_to_go", "gae"]
    return tmp_path, build, asked


def test_nothing_is_proven_twice(built):
    folder, build, _ = built
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    assert build() == []
    assert {path: path.read_bytes() for path in folder.rglob("*.json")} == before


def test_other_points_prove_one_check_anew(built):
    _, build, asked = built
    asked["hw9"] = (asked["hw9"][0], replace(asked["hw9"][1], points=99))
    assert build() == ["gae"]


def test_a_number_changed_by_hand_is_put_right(built):
    folder, build, _ = built
    path = folder / PUBLIC / "hw9.json"
    before = path.read_text()
    path.write_text(before.replace('"points": ', '"points": 1', 1))
    assert build() == ["returns_to_go"]
    assert path.read_text() == before


@pytest.mark.parametrize("content", ["", "{}", "<<<<<<< ours\n{}", "[1]"])
def test_proofs_that_cannot_be_read_are_made_anew(built, content):
    folder, build, _ = built
    (folder / PROVEN).write_text(content)
    assert build() == ["returns_to_go", "gae"]


def test_a_changed_file_below_proves_anew_what_stands_on_it(built, monkeypatch):
    def changed(files, root):
        return [
            f"{line} changed" if line.startswith("course_lib/reference/answers/gae.py") else line
            for line in digests(files, root)
        ]

    _, build, _ = built
    monkeypatch.setattr(public_exams, "digests", changed)
    assert build() == ["gae"]


def test_imports_are_followed_through_files_and_inside_functions(tmp_path):
    texts = {
        "course_lib/__init__.py": "",
        "course_lib/a.py": "import math\n\ndef f():\n    from course_lib.sub import b\n",
        "course_lib/sub/__init__.py": "",
        "course_lib/sub/b.py": "import course_lib.c as c\n",
        "course_lib/c.py": "from course_lib.a import f\n",
        "course_lib/other.py": "",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = imported([tmp_path / "course_lib/a.py"], tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in found}
    assert names == set(texts) - {"course_lib/other.py"}
