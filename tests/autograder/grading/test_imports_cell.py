"""The imports cell of a hand-in: found, put back, made good; and what a class stopped at."""

import copy

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.demo.made_up_class import make_draft, make_submission
from autograder.grading.grade import Plan, grade
from autograder.grading.imports import find_imports, imports_of, names_brought
from autograder.grading.record import Record, by_import
from autograder.grading.sandbox import Limits
from autograder.handouts.assignments import release_assignment

OWN = "from math import sqrt, pi\nimport torch\nimport numpy as np"


def notebook(*sources):
    return new_notebook(cells=[new_code_cell(source) for source in sources])


def graded(source):
    return new_code_cell(source, metadata={"nbgrader": {"grade_id": "answer_f"}})


RELEASE = new_notebook(cells=[new_markdown_cell("# Title"), new_code_cell(OWN), graded("f = 1")])


def test_names_are_those_that_imports_bring():
    assert names_brought("import a.b, c as d\nfrom e import f as g, h\nx = 1") == set("adgh")
    assert names_brought("%matplotlib inline\nimport a") == {"a"}
    assert names_brought("import a\nfrom b import c\nimport (") == set("ac")


def test_a_homework_without_imports_has_no_imports_cell():
    assert imports_of(RELEASE).source == OWN
    for first in (graded("import torch"), new_code_cell("x = 1")):
        release = new_notebook(cells=[first])
        assert imports_of(release) is None
        assert find_imports(notebook("1"), release) == (None, ())


@pytest.mark.parametrize(
    "cell",
    [
        OWN,
        "import seaborn\n" + OWN,
        "from old.place import sqrt\nfrom cmath import pi\nimport torch",
        "import torch, math\nfrom math import *\nimport numpy as np\nfrom math import pi",
    ],
)
def test_it_is_the_cell_that_brings_its_names_from_wherever(cell):
    hand_in = notebook("import torch  # first of all", cell, "def f(): pass")
    assert find_imports(hand_in, RELEASE) == (hand_in.cells[1], ())
    assert len(hand_in.cells) == 3


@pytest.mark.parametrize("cells", [["def f(): pass"], ["import torch\nimport scipy"], [], ["(("]])
def test_where_it_is_gone_it_is_put_on_top(cells):
    hand_in = notebook(*cells)
    cell, said = find_imports(hand_in, RELEASE)
    assert hand_in.cells[0] is cell
    assert cell.source == OWN
    assert len(said) == 1
    assert "was missing" in said[0]
    nbformat.validate(hand_in)


def test_a_class_is_counted_by_what_it_stopped_at():
    records = [
        Record("hw1", "ada", "cells failed", stopped_at=("import b", "import a")),
        Record("hw1", "ben", "cells failed", stopped_at=("import a",)),
        Record("hw1", "cem", "graded"),
    ]
    assert list(by_import(records).items()) == [("import a", ["ada", "ben"]), ("import b", ["ada"])]


# A class of them, graded.


def imports_cell(draft):
    return next(cell for cell in draft.cells if cell["cell_type"] == "code")


def as_handed_out(draft):
    pass


def needs_a_module(draft):
    cell = imports_cell(draft)
    cell["source"] = "import no_such_module\n" + cell["source"] + "\nimport nor_such\nmine = 1"
    draft.insert("assert mine == 1")


def of_an_older_release(draft):
    cell = imports_cell(draft)
    cell["source"] = cell["source"].replace("autograder.student.check", "autograder.local")


def stops_otherwise(draft):
    imports_cell(draft)["source"] = "1 / 0\n" + imports_cell(draft)["source"]


def does_not_compile(draft):
    imports_cell(draft)["source"] += "\nimport ("


def goes_down(draft):
    imports_cell(draft)["source"] += "\nimport os\nos._exit(1)"


def deleted(draft):
    draft.cells.remove(imports_cell(draft))


def in_an_answer(draft):
    name = next(iter(draft.checks))
    cell = draft.cells[draft.at(f"answer_{name}")]
    cell["source"] = "import no_such_module\n" + cell["source"]


KINDS = (
    as_handed_out,
    needs_a_module,
    of_an_older_release,
    stops_otherwise,
    does_not_compile,
    goes_down,
    deleted,
    in_an_answer,
)


@pytest.fixture(scope="module")
def records(tmp_path_factory, root, sandbox):
    """Right answers to hw1 whose imports are in one of KINDS: records by kind."""
    import json

    course = tmp_path_factory.mktemp("class")
    release_assignment(course, "hw1")
    release = nbformat.read(course / "release" / "hw1" / "hw1.ipynb", as_version=4)
    for kind in KINDS:
        draft = make_draft("hw1", kind.__name__, copy.deepcopy(release))
        folder = course / "submitted" / kind.__name__ / "hw1"
        make_submission("right", draft, folder)
        plain = [c for c in draft.cells if c["cell_type"] == "code" and not c["metadata"]]
        for cell in plain[1:]:  # what shows off the answers takes seconds
            draft.cells.remove(cell)
        for cell in draft.cells:  # the names that answers need come from the imports cell
            if cell["metadata"].get("nbgrader", {}).get("solution"):
                cell["source"] = "\n".join(
                    line
                    for line in cell["source"].split("\n")
                    if not line.startswith(("import ", "from "))
                )
        kind(draft)
        (folder / "hw1.ipynb").write_text(json.dumps(draft.notebook))
    limits = Limits(cell_seconds=5.0)
    return {r.student: r for r in grade(Plan(root, course, "hw1", limits=limits), sandbox)}


@pytest.mark.parametrize("kind", [kind.__name__ for kind in KINDS])
def test_imports_that_stop_or_are_missing_cost_no_point(records, kind):
    record = records[kind]
    wrong = [verdict for verdict in record.verdicts if verdict.outcome != "right"]
    assert wrong == []
    assert record.points == record.max_points


def test_staff_are_told_what_happened_to_the_imports(records):
    said = {kind: " ".join(record.repairs) for kind, record in records.items()}
    assert said["as_handed_out"] == said["in_an_answer"] == ""
    assert "was missing" in said["deleted"]
    assert "stopped (import no_such_module)" in said["needs_a_module"]
    assert "stopped (import autograder.local)" in said["of_an_older_release"]
    assert "stopped (ZeroDivisionError: division by zero)" in said["stops_otherwise"]
    assert "stopped (SyntaxError" in said["does_not_compile"]
    assert "This cell ended the whole process" in said["goes_down"]


def test_only_what_stopped_counts_as_failed(records):
    failed = {kind: len(record.failed_cells) for kind, record in records.items()}
    assert failed == {kind.__name__: 1 for kind in KINDS} | {"as_handed_out": 0, "deleted": 0}


def test_the_imports_that_were_missing_are_kept(records):
    assert by_import(records.values()) == {
        "import no_such_module": ["in_an_answer", "needs_a_module"],
        "import autograder.local": ["of_an_older_release"],
        "import nor_such": ["needs_a_module"],
    }
