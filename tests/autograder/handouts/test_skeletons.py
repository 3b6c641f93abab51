"""`course new` writes examples that load, prove themselves and run; it overwrites nothing."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import torch

from autograder.handouts.references import require_live_references
from autograder.handouts.skeletons import new_lecture, new_question
from autograder.handouts.sources import lecture_notebook
from autograder.project import HandoutError


@pytest.fixture
def project(root, tmp_path):
    """The sources, without what is built from them."""
    ignore = shutil.ignore_patterns("__pycache__", "*.ipynb", "website")
    for name in ("course_lib", "autograder", "notebooks"):
        shutil.copytree(root / name, tmp_path / name, ignore=ignore)
    return tmp_path


PROVE = """
import dataclasses
from autograder.project import ROOT, HandoutError
from autograder.questions import homeworks
from autograder.questions.proof import proven_exam
for homework, checks in homeworks().items():
    check = checks[-1]
    if check.name == "largest":
        try:
            proven_exam(check)
        except HandoutError as error:
            print(error)
        exam = proven_exam(dataclasses.replace(check, title="The largest"))
        print(ROOT, homework, check.points, len(exam.known_wrong))
"""


@pytest.mark.parametrize(("homework", "written"), [("hw2", 3), ("hw7", 5)])
def test_a_new_question_is_asked_for_proven_and_wants_a_title(project, homework, written):
    paths = new_question(homework, "largest", project)
    assert len(paths) == written
    for path in paths:
        if path.suffix == ".py" and "notebooks" not in path.parts:
            ast.parse(path.read_text())
            assert max(map(len, path.read_text().splitlines())) <= 100
    done = subprocess.run(
        [sys.executable, "-c", PROVE], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    wants, proven = done.stdout.splitlines()
    assert f"questions/{homework}/largest.py: it has no title: write a few words" in wants
    assert proven == f"{project} {homework} 3 2"
    with pytest.raises(HandoutError, match=rf"{homework}\.py, cell \d+ .*it still says TO WRITE"):
        require_live_references(project)
    text = (project / "notebooks" / "src" / "homework" / f"{homework}.py").read_text()
    assert text.index('check="largest"') > text.index("import torch")
    assert text.rindex("# %% check=") < text.index("## See" if homework == "hw2" else "Before you")
    numbers = [int(n) for n in re.findall(r"^# ## (\d+)\.", text, re.MULTILINE)]
    assert numbers[-1] == max(numbers)


def test_a_new_lecture_has_the_next_claim_its_planted_mistake_and_a_link(project):
    lecture, planted, front = new_lecture("09_language_models", project)
    notebook = lecture_notebook(lecture)
    [cell] = [cell for cell in notebook.cells if cell.metadata.get("tags")]
    [(claim, words)] = tomllib.loads(planted.read_text()).items()
    assert cell.metadata["tags"] == [claim] == ["G9"]
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # as the lecture does
    try:
        exec(cell.source, {"torch": torch})
        with pytest.raises(AssertionError):
            exec(cell.source.replace(words["right"], words["wrong"]), {"torch": torch})
    finally:
        torch.set_default_dtype(dtype)
    assert "9. [Language models](lectures/09_language_models.ipynb)" in front.read_text()
    with pytest.raises(
        HandoutError, match=r"09_language_models\.py, cell 1 .*it still says TO WRIT"
    ):
        require_live_references(project)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: new_question("hw2", "gae", root), "hw2 asks for gae already"),
        (lambda root: new_question("hw2", "Entropy-Bonus", root), "is no name for a function"),
        (lambda root: new_question("hw2", "lambda", root), "is no name for a function"),
        (lambda root: new_question("../hw2", "x", root), "is no name for a homework"),
        (lambda root: new_lecture("language_models", root), "write it as in 09_language_models"),
        (lambda root: new_lecture("04_again", root), r"lecture 4 is there already, 04_reinforce"),
    ],
)
def test_what_is_taken_or_no_name_is_refused_and_nothing_written(project, make, message):
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=message):
        make(project)
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_a_file_that_is_there_is_not_overwritten(project):
    path = project / "course_lib" / "reference" / "answers" / "largest.py"
    path.write_text("mine")
    with pytest.raises(ValueError, match=r"largest\.py is there already"):
        new_question("hw2", "largest", project)
    assert path.read_text() == "mine"
    assert not (project / "autograder" / "questions" / "hw2" / "largest.py").exists()
