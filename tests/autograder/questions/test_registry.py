"""Questions are found by their folder; what is missing or too much is said with file and remedy."""

import re
import shutil
import sys

import pytest

from autograder.project import HandoutError
from autograder.questions import checks_of, homeworks

ASKED = '# %% check="kl" points=4\n'


@pytest.fixture
def project(root, tmp_path):
    """The homeworks and the question files, without anything else."""
    for name in ("notebooks/src/homework", "autograder/questions"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_order_and_points_are_those_of_the_homework(project):
    source = project / "notebooks" / "src" / "homework" / "hw2.py"
    before = checks_of("hw2", project)
    asked = re.findall(r'check="(\w+)" points=(\d+)', source.read_text())
    assert [(check.name, str(check.points)) for check in before] == asked
    edit(source, ASKED, ASKED.replace("4", "7"))
    after = {check.name: check.points for check in checks_of("hw2", project)}
    assert after == {check.name: check.points for check in before} | {"kl": 7}


def test_every_question_has_one_name_in_its_three_places(root):
    for homework, checks in homeworks().items():
        files = {path.stem for path in (root / "autograder" / "questions" / homework).glob("*.py")}
        assert files - {"__init__"} == {check.name for check in checks}
        for check in checks:
            assert (root / f"course_lib/reference/answers/{check.name}.py").is_file()


def plant(project, name, text):
    (project / "autograder" / "questions" / "hw2" / f"{name}.py").write_text(text)


def not_asked(project):
    plant(project, "unheard_of", "")


def no_file(project):
    edit(project / "notebooks/src/homework/hw2.py", 'check="kl"', 'check="unheard_of"')


def no_points(project):
    edit(project / "notebooks/src/homework/hw2.py", ASKED, '# %% check="kl"\n')


def no_homework(project):
    (project / "notebooks/src/homework/hw2.py").unlink()


def twice(project):
    shutil.copy(project / "autograder/questions/hw2/kl.py", project / "autograder/questions/hw1")
    source = project / "notebooks/src/homework/hw1.py"
    source.write_text(source.read_text() + f"\n{ASKED}")


BROKEN = {
    r"questions/hw2/unheard_of\.py is not asked for in notebooks/src/homework/hw2\.py: add the "
    r'cells `# %% answer="unheard_of"` and `# %% check="unheard_of" points=3`': not_asked,
    r"hw2\.py, cell \d+ \(check='unheard_of', points=4\): there is no file autograder/questi"
    r"ons/hw2/"
    r"unheard_of\.py: write it, or take this cell out and call `course new question hw2 "
    r"unheard_of`": no_file,
    r"hw2\.py, cell \d+ .*points must be a whole number above 0, got None: add p": no_points,
    r"questions/hw2 has questions, and there is no homework notebooks/src/homew": no_homework,
    r"autograder/questions/hw1/kl\.py": twice,
}


@pytest.mark.parametrize("message", BROKEN)
def test_what_does_not_fit_together_is_said_with_file_and_remedy(project, message):
    BROKEN[message](project)
    with pytest.raises(HandoutError, match=message):
        homeworks(project)


MADE_UP = {
    "is_missing": (
        "from course_lib.reference.answers.is_missing import is_missing\n",
        r"hw2/is_missing\.py: there is no function is_missing in course_lib/reference/answers/"
        r"is_missing\.py: write the right answer there",
    ),
    "no_check": ("x = 1\n", r"hw2/no_check\.py: it makes no CHECK: end it with `CHECK = Check"),
    "other_name": (
        "from autograder.questions.hw2.kl import CHECK\n",
        r"hw2/other_name\.py: its reference is kl: a question's file, its answer's file and the",
    ),
    "bad_slip": (
        "from autograder.questions.slips import slip_of\n"
        "from course_lib.reference.answers.kl import kl\n\n"
        'slip_of(kl, "a slip", "A hint.", see="06_trpo#C54", decay="1")\n',
        r"hw2/bad_slip\.py: ValueError: kl, slip 'a slip': there is no `decay` to change",
    ),
    "no_python": ("def", r"hw2/no_python\.py: SyntaxError: "),
}


@pytest.mark.parametrize("name", MADE_UP)
def test_a_question_file_that_cannot_be_loaded_is_named(project, monkeypatch, name):
    text, message = MADE_UP[name]
    plant(project, name, text)
    source = project / "notebooks/src/homework/hw2.py"
    source.write_text(f'{source.read_text()}\n# %% check="{name}" points=2\n')
    package = sys.modules["autograder.questions.hw2"]
    folder = str(project / "autograder" / "questions" / "hw2")
    monkeypatch.setattr(package, "__path__", [*package.__path__, folder])
    with pytest.raises(HandoutError, match=message):
        checks_of("hw2", project)
