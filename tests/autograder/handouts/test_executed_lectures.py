"""Lectures are executed as students would, once, and a failure says where."""

import json
import re
import shutil

import nbformat
import pytest

from autograder.handouts.executed_lectures import executed_lectures
from autograder.project import HandoutError

FIRST = """\
# %% [markdown]
# # Values

# %% tags=["C01"]
from course_lib.tool import answer

print("the answer is", answer())

# %%
from IPython.display import HTML, display

display(HTML("<b>bold</b>"))
"""
SECOND = """\
# %%
import importlib, os, sys

try:
    importlib.import_module("course_lib.reference")
except ImportError:
    print("no answers here")
print(sys.version_info[:3], os.environ["OMP_NUM_THREADS"])

# %%
{"x": 2}
"""


@pytest.fixture
def project(root, tmp_path):
    """A small project with two lectures."""
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(root / name, tmp_path)
    files = {
        "course_lib/__init__.py": "",
        "course_lib/tool.py": "def answer():\n    return 42\n",
        "course_lib/reference/__init__.py": "secret = 1\n",
        "notebooks/src/lectures/01_first.py": FIRST,
        "notebooks/src/lectures/02_second.py": SECOND,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def edit(project, name, old, new):
    path = project / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def run(project):
    """The executed lectures, and which of them were run for it."""
    ran = set()
    return executed_lectures(project, lambda stem, done, total: ran.add(stem)), ran


def texts(notebook):
    """What a notebook's cells printed and returned."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [out.text if "text" in out else out["data"]["text/plain"] for out in outputs]


def test_only_what_changed_is_executed(project):
    lectures, ran = run(project)
    assert ran == {"01_first", "02_second"}
    assert texts(lectures["01_first"])[0] == "the answer is 42\n"
    [shown] = lectures["01_first"].cells[2].outputs
    assert shown.data["text/html"] == "<b>bold</b>"
    # As students have it: no answers, whatever is installed beside it.
    assert texts(lectures["02_second"])[0].startswith("no answers here\n")
    assert texts(lectures["02_second"])[1] == "{'x': 2}"
    written = json.dumps(lectures, sort_keys=True)
    assert not re.search(r"\d{4}-\d\d-\d\dT|/tmp/", written)
    kept = nbformat.read(project / "build" / "executed" / "01_first.ipynb", as_version=4)
    assert texts(kept) == texts(lectures["01_first"])

    again, ran = run(project)
    assert not ran
    assert json.dumps(again, sort_keys=True) == written

    # Words, and files that students do not get, leave outputs as they are.
    edit(project, "notebooks/src/lectures/01_first.py", "# Values", "# Values and more")
    edit(project, "course_lib/reference/__init__.py", "1", "2")
    again, ran = run(project)
    assert not ran
    assert again["01_first"].cells[0].source == "# Values and more"
    assert texts(again["01_first"]) == texts(lectures["01_first"])

    edit(project, "notebooks/src/lectures/02_second.py", '"x": 2', '"x": 3')
    again, ran = run(project)
    assert ran == {"02_second"}
    assert texts(again["02_second"])[1] == "{'x': 3}"

    edit(project, "course_lib/tool.py", "42", "43")
    again, ran = run(project)
    assert ran == {"01_first", "02_second"}
    assert texts(again["01_first"])[0] == "the answer is 43\n"
    assert again["01_first"].cells[2] == lectures["01_first"].cells[2]


def test_every_lecture_that_fails_is_named_and_the_others_are_kept(project, monkeypatch):
    monkeypatch.setattr("autograder.handouts.executed_lectures.CELL_SECONDS", 3)
    edit(project, "notebooks/src/lectures/01_first.py", "print(", "\n1 / 0  # at once\nprint(")
    edit(project, "notebooks/src/lectures/02_second.py", '{"x": 2}', "import os\nos._exit(3)")
    third = project / "notebooks" / "src" / "lectures" / "03_third.py"
    third.write_text("# %%\nassert 1 + 1 == 2\n")
    (third.parent / "04_endless.py").write_text("# %%\nwhile True:\n    pass\n")
    with pytest.raises(HandoutError) as caught:
        run(project)
    first, second, fourth = str(caught.value).splitlines()
    assert first == (
        "01_first.py, cell 2 (from course_lib.tool import answer): "
        "ZeroDivisionError: division by zero, at line 4: 1 / 0  # at once"
    )
    assert second == (
        "02_second.py, cell 2 (import os): its process died, perhaps for lack of memory"
    )
    assert fourth == (
        "04_endless.py, cell 1 (while True:): it ran longer than 3 s: make it quicker, "
        "or look for an endless loop"
    )
    (third.parent / "04_endless.py").unlink()
    third.write_text("# %%\nassert 1 + 1 == 2\n\n# %% [markdown]\n# More.\n")
    (project / "notebooks" / "src" / "lectures" / "01_first.py").write_text(FIRST)
    (project / "notebooks" / "src" / "lectures" / "02_second.py").unlink()
    lectures, ran = run(project)
    assert ran == {"01_first"}
    assert set(lectures) == {"01_first", "03_third"}
