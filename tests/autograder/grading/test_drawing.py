"""Students are told the runs that their submission will be asked about, and nobody else's."""

import csv
import unicodedata
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from autograder.grading import drawing
from autograder.grading.examiner import course_secret, hidden_exams
from autograder.questions import checks_of
from autograder.questions.hw3.culprit import EXAMPLES

CULPRIT = next(check for check in checks_of("hw3") if check.name == "culprit")


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_what_is_told_is_what_grading_asks(tmp_path: Path) -> None:
    (tmp_path / "submitted" / "ada").mkdir(parents=True)
    path, students = drawing.write_draw(tmp_path, "hw3", [CULPRIT])
    assert students == 1
    head, (name, numbers) = rows(path)
    assert (head, name) == (["student", "runs"], "ada")
    [exam] = hidden_exams([CULPRIT], course_secret(tmp_path), "ada")
    asked = [int(case["run"]) for case in exam.cases[exam.public :]]
    assert list(map(int, numbers.split())) == asked
    assert rows(drawing.write_draw(tmp_path, "hw3", [CULPRIT])[0])[1] == [name, numbers]


def test_each_student_has_four_runs_of_four_kinds_and_no_example() -> None:
    drawn = {student: drawing.told(CULPRIT, b"secret", student) for student in "abcdefghijklmnop"}
    for runs in drawn.values():
        assert len({CULPRIT.reference(run) for run in runs}) == len(runs) == 4
        assert not set(runs) & set(EXAMPLES)
    assert len(set(map(tuple, drawn.values()))) == len(drawn)
    assert drawing.told(CULPRIT, b"another", "a") != drawn["a"]


def test_students_come_from_gradebook_folders_and_a_file(tmp_path: Path) -> None:
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        gradebook.add_student("grace")
    for name in ("ada", ".hidden", unicodedata.normalize("NFD", "zo\u00eb")):
        (tmp_path / "submitted" / name).mkdir(parents=True)
    (tmp_path / "submitted" / "loose.ipynb").touch()
    names = tmp_path / "names.txt"
    names.write_text("\ufeffkurt\n\n ada \n", encoding="utf-8")
    path, students = drawing.write_draw(tmp_path, "hw3", [CULPRIT], names)
    found = [row[0] for row in rows(path)[1:]]
    assert found == ["ada", "grace", "kurt", "zo\u00eb"]
    assert students == len(found)


def test_nobody_and_nothing_to_tell_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--names FILE"):
        drawing.write_draw(tmp_path, "hw3", [CULPRIT])
    with pytest.raises(ValueError, match="hw1 has no question that gives"):
        drawing.write_draw(tmp_path, "hw1", checks_of("hw1"))
    assert not list(tmp_path.iterdir())
