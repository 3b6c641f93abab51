"""Sources to handouts: the machinery on a made-up homework, then the real content."""

import json
import os
import re
import shutil
import sqlite3
from dataclasses import replace

import nbformat
import pytest
import torch
from nbgrader.api import Gradebook
from nbgrader.nbgraderformat import MetadataValidator
from torch import Tensor

from autograder.handouts import assignments, build
from autograder.handouts.sources import (
    HandoutError,
    homework_notebook,
    lecture_notebook,
    notebook_bytes,
    solution_source,
)
from autograder.questions import homeworks
from autograder.questions.check import Check
from course_lib import validate

HOMEWORKS = homeworks()


def total(rewards: Tensor) -> Tensor:
    """Sum of rewards: sum_t r_t.

    rewards: (T,). Returns a scalar.
    """
    validate.shapes("T", rewards=rewards)
    running = torch.zeros(())
    for reward in rewards:  # one at a time
        running = running + reward
    return running


def twice(x: float) -> float:
    """Two x."""
    return 2 * x


def falls_off(x: float) -> float:
    """May reach its end."""
    if x > 0:
        return x


def without_docstring(x):
    return x


def make_check(reference, points=2):
    return Check(
        homework="hw1",
        title="made up",
        points=points,
        reference=reference,
        recipe=lambda function, case: {},
        public_cases=list,
        hidden_cases=lambda rng: [],
        misconceptions=(),
    )


SOURCE = """\
# %% [markdown]
# # Made up

# %%
import torch
from torch import Tensor

from autograder.student.check import check
from course_lib import validate

# %% [markdown] tags=["intro"]
# Add them up.

# %% answer="total"

# %% check="total"

# %% [markdown]
# Why?

# %% [markdown] written="why" points=3
# Because a sum is what the model answer says.
#
# === BEGIN MARK SCHEME ===
# One point for every word that the scheme wants to see.
# === END MARK SCHEME ===
"""
CHECKS = (make_check(total),)


@pytest.fixture
def project(tmp_path, root):
    """A root with one made-up homework."""
    folder = tmp_path / "project" / "notebooks" / "src" / "homework"
    folder.mkdir(parents=True)
    (folder / "hw1.py").write_text(SOURCE)
    shutil.copy(root / "nbgrader_config.py", tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def source(project):
    return project / "notebooks" / "src" / "homework" / "hw1.py"


def notebook_of(path, checks=CHECKS):
    return homework_notebook(path, checks)


def release(path, checks=CHECKS, root=None):
    source = notebook_bytes(notebook_of(path, checks))
    config = assignments.settings(root or path.parents[3])
    return nbformat.reads(
        assignments.release_notebook("hw1", source, config).decode(), as_version=4
    )


def by_grade_id(notebook):
    return {
        cell.metadata.nbgrader.grade_id: cell
        for cell in notebook.cells
        if "nbgrader" in cell.metadata
    }


# Solutions.


def test_a_solution_runs_and_its_given_part_stands_before_the_marks():
    text = solution_source(total)
    given, _, rest = text.partition("    ### BEGIN SOLUTION\n")
    assert given.endswith('    validate.shapes("T", rewards=rewards)\n')
    assert '"""Sum of rewards' in given
    assert "running" not in given
    assert rest.endswith('    raise NotImplementedError("total: your code here")')
    names = {"Tensor": Tensor, "torch": torch, "validate": validate}
    exec(text, names)
    assert names["total"](torch.tensor([1.0, 2.0])) == 3.0


@pytest.mark.parametrize(
    ("function", "words"),
    [(falls_off, "finish it with a return"), (without_docstring, "docstring")],
)
def test_a_reference_that_would_make_a_bad_stub_is_refused(function, words):
    with pytest.raises(HandoutError, match=words):
        solution_source(function)


# Source and release.


def test_source_notebook_is_valid_for_nbgrader_and_holds_answers(source):
    notebook = notebook_of(source)
    MetadataValidator().validate_nb(notebook)
    cells = by_grade_id(notebook)
    assert list(cells) == ["answer_total", "total", "rubric_why", "written_why"]
    assert "running + reward" in cells["answer_total"].source
    assert cells["total"].source == "check(total)"
    tags = cells["total"].metadata.nbgrader
    assert (tags.points, tags.grade, tags.locked, tags.solution) == (2, True, True, False)
    manual = cells["written_why"].metadata.nbgrader
    assert (manual.points, manual.grade, manual.locked, manual.solution) == (3, True, False, True)
    assert "the scheme wants" in cells["rubric_why"].source
    assert "the scheme wants" not in cells["written_why"].source


def test_release_is_the_source_without_answers(source):
    cells = by_grade_id(release(source))
    stub = cells["answer_total"].source
    names = {"Tensor": Tensor, "torch": torch, "validate": validate}
    exec(stub, names)
    with pytest.raises(NotImplementedError, match=r"^total: your code here$"):
        names["total"](torch.ones(2))
    with pytest.raises(ValueError, match="rewards"):  # the given shape check still stands
        names["total"](torch.ones(2, 2))
    assert "running" not in stub
    assert cells["written_why"].source == "YOUR ANSWER HERE"
    assert cells["rubric_why"].source.strip() == "*Marked by hand, 3 points.*"
    assert cells["total"].metadata.editable is False


def test_building_twice_gives_the_same_bytes_and_ids_follow_the_text(source):
    first = notebook_bytes(notebook_of(source))
    assert notebook_bytes(notebook_of(source)) == first
    before = {cell.id for cell in notebook_of(source).cells}
    source.write_text(SOURCE.replace("Why?", "Why so?"))
    after = {cell.id for cell in notebook_of(source).cells}
    assert len(before - after) == len(after - before) == 1
    source.write_text(SOURCE + "\n# %% [markdown]\n# Why?\n\n# %% [markdown]\n# Why?\n")
    ids = [cell.id for cell in notebook_of(source).cells]
    assert len(ids) == len(set(ids))
    assert before <= set(ids)


def test_the_table_of_questions_follows_the_checks_points(source):
    text = SOURCE.replace("# Add them up.", "# {questions}")
    source.write_text(text)
    for points in (2, 7):
        notebook = homework_notebook(source, (replace(make_check(total), points=points),))
        table = notebook.cells[2].source
        assert f"| 1. `total` | {points} |" in table
        assert "| 2. Why (in words) | 3 |" in table
        assert f"| together | {points + 3} |" in table


def test_metadata_is_fixed(source):
    notebook = notebook_of(source)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert "version" not in notebook.metadata.language_info
    assert notebook.cells[2].metadata == {"tags": ["intro"]}
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)


# Mistakes in a source are answered with file, cell and what to do.

EXTRA = '\n# %% answer="twice"\n\n# %% check="twice"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            SOURCE.replace('answer="total"', 'answer="totl"'),
            r"hw1\.py, cell 4 .*: there is no check 'totl' in this homework: use total",
        ),
        (
            SOURCE.replace('# %% answer="total"\n', ""),
            r'cell 4 .*: there is no cell answer="total" above it: add one',
        ),
        (
            SOURCE.replace('# %% check="total"\n', ""),
            r'cell 4 .*: there is no cell check="total" after it: add one',
        ),
        (
            SOURCE + '\n# %% check="total"\n# again\n',
            r"cell 8 \(# again\): the grade id total is taken by cell 5: rename one",
        ),
        (
            SOURCE.replace('answer="total"', "answer=total"),
            r"cell 4 .*does not parse: answer=total",
        ),
        (SOURCE.replace('["intro"]', '["intro"'), r"cell 3 \(Add them up\.\): .*does not parse"),
        (SOURCE.replace('answer="total"', 'anwser="total"'), r"cell 4 .*`anwser` is not known"),
        (SOURCE.replace(" points=3", ""), r"cell 7 .*points must be a number above 0, got None"),
        (SOURCE.replace("points=3", "points=0"), r"cell 7 .*points must be a number above 0"),
        (SOURCE.replace("BEGIN MARK", "BEGN MARK"), r"cell 7 .*needs one mark scheme"),
        (
            SOURCE.replace("# Because a sum is what the model answer says.\n", ""),
            r"cell 7 .*no model answer",
        ),
        (SOURCE.replace("# Add them", "# ### BEGIN SOLUTION\n# Add"), r"cell 3 .*solution marks"),
        (SOURCE.replace('answer="total"\n', 'answer="total"\nx = 1\n'), r"leave it empty"),
        (
            SOURCE.replace("import torch\n", "import torch as\n"),
            r"cell 2 .*line 1 does not compile",
        ),
        (SOURCE.replace("import torch\n", ""), r"cell 4 .*total uses torch, which no cell above"),
        (SOURCE.replace("import check\n", "import chek\n"), r"cell 5 .*is missing"),
        ("", r"hw1\.py is empty"),
    ],
)
def test_a_mistake_in_a_homework_is_located(source, text, message):
    source.write_text(text)
    with pytest.raises(HandoutError, match=message):
        notebook_of(source)


def test_every_check_must_be_asked(source):
    with pytest.raises(HandoutError, match="does not ask for twice"):
        notebook_of(source, (*CHECKS, make_check(twice)))
    source.write_text(SOURCE + EXTRA)
    notebook_of(source, (*CHECKS, make_check(twice)))


def test_a_lecture_that_does_not_compile_is_located(tmp_path):
    path = tmp_path / "01_x.py"
    path.write_text("# %%\n# %matplotlib inline\nx = 1\n\n# %%\nfor x in:\n    pass\n")
    with pytest.raises(HandoutError, match=r"01_x\.py, cell 2 \(for x in:\): line 1 does not"):
        lecture_notebook(path)
    path.write_text("# %%\n# %matplotlib inline\nx = 1\n")
    assert lecture_notebook(path).cells[0].source == "%matplotlib inline\nx = 1"


# The class folder.


def contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*.ipynb"))}


@pytest.fixture
def known_schema(monkeypatch):
    """Spare a test the seconds in which nbgrader asks alembic for the schema's version."""
    monkeypatch.setattr("nbgrader.api.get_alembic_version", lambda: "724cde206c17")


def test_release_makes_a_gradebook_without_an_activated_environment(project, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.defpath)
    assignments.release_assignment(tmp_path / "class", "hw1", CHECKS, project)
    with sqlite3.connect(tmp_path / "class" / "gradebook.db") as gradebook:
        assert gradebook.execute("select name from assignment").fetchall() == [("hw1",)]


@pytest.mark.usefixtures("known_schema")
def test_release_assignment_registers_and_is_a_no_op_the_second_time(project, tmp_path):
    course = tmp_path / "class"
    written = assignments.release_assignment(course, "hw1", CHECKS, project)
    assert [p.relative_to(course).as_posix() for p in written] == [
        "source/hw1/hw1.ipynb",
        "release/hw1/hw1.ipynb",
    ]
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        notebook = gradebook.find_notebook("hw1", "hw1")
        assert {c.name: c.max_score for c in notebook.grade_cells} == {"total": 2, "written_why": 3}
        rubric = gradebook.find_source_cell("rubric_why", "hw1", "hw1")
        assert "the scheme wants" in rubric.source
    before = contents(course)
    assert assignments.release_assignment(course, "hw1", CHECKS, project) == []
    assert contents(course) == before
    (course / "release" / "hw1" / "hw1.ipynb").unlink()
    assert len(assignments.release_assignment(course, "hw1", CHECKS, project)) == 2
    assert contents(course) == before
    (course / "gradebook.db").unlink()
    assert len(assignments.release_assignment(course, "hw1", CHECKS, project)) == 2


@pytest.mark.filterwarnings("ignore:Object of type <Submitted")
@pytest.mark.usefixtures("known_schema")
def test_text_and_points_may_change_after_grading_and_questions_may_not(project, source, tmp_path):
    course = tmp_path / "class"
    assignments.release_assignment(course, "hw1", CHECKS, project)
    url = f"sqlite:///{course / 'gradebook.db'}"
    with Gradebook(url) as gradebook:
        gradebook.add_student("ada")
        gradebook.add_submission("hw1", "ada")
    source.write_text(SOURCE.replace("Add them up.", "Sum them.").replace("points=3", "points=4"))
    heavier = (make_check(total, points=5),)
    assert len(assignments.release_assignment(course, "hw1", heavier, project)) == 2
    assert "Sum them." in (course / "release" / "hw1" / "hw1.ipynb").read_text()
    with Gradebook(url) as gradebook:
        assert gradebook.find_assignment("hw1").max_score == 9
    before = contents(course)
    source.write_text(SOURCE + EXTRA)
    message = (
        r"hw1 has 1 graded submissions, so its questions are fixed .* "
        r"\(answer_twice added, twice added\): put new questions into another homework"
    )
    with pytest.raises(HandoutError, match=message):
        assignments.release_assignment(course, "hw1", (*CHECKS, make_check(twice)), project)
    assert contents(course) == before


def test_the_log_of_nbgrader_is_shown_only_when_it_fails(project, source, tmp_path, capfd):
    config = assignments.settings(project)
    text = notebook_bytes(notebook_of(source))
    assignments.release_notebook("hw1", text, config)
    broken = text.replace(b"### END SOLUTION", b"### THE END")
    capfd.readouterr()
    with pytest.raises(HandoutError, match=r"(?s)could not convert hw1:.*no end solution"):
        assignments.release_notebook("hw1", broken, config)
    out, err = capfd.readouterr()
    assert out == err == ""


def test_an_unknown_homework_is_named(tmp_path):
    with pytest.raises(ValueError, match="no homework 'hw9': there are hw1, hw2"):
        assignments.release_assignment(tmp_path, "hw9")


# The real content.


@pytest.fixture(scope="module")
def copy(root, tmp_path_factory):
    """The project's sources with no notebook built, then built there.

    Public exams come along, since they are proven anew only if something below them changed.
    """
    target = tmp_path_factory.mktemp("project")
    ignore = shutil.ignore_patterns("__pycache__", "*.ipynb")
    for name in ("course_lib", "autograder", "notebooks"):
        shutil.copytree(root / name, target / name, ignore=ignore)
    for name in ("pyproject.toml", "constraints.txt", "nbgrader_config.py"):
        shutil.copy(root / name, target)
    steps = []
    built = build.build_handouts(target, lambda what, done, total: steps.append((done, total)))
    written = built.files
    kept = {path for path in written if path.suffix == ".json"}
    assert set(built.changed) | kept == set(written)
    return target, written, steps


def test_committed_handouts_are_those_of_a_fresh_build(root, copy):
    target, written, _ = copy
    names = [p.relative_to(target) for p in written if "build" not in p.relative_to(target).parts]
    exams = {f"autograder/student/public/{homework}.json" for homework in HOMEWORKS}
    assert exams < {name.as_posix() for name in names}
    stale = [n.as_posix() for n in names if not same_file(root / n, target / n)]
    assert not stale, "run `course handouts` and commit what it wrote"
    for folder in ("notebooks/lectures", "notebooks/homework"):
        committed = {p.name for p in (root / folder).glob("*.ipynb")}
        assert committed == {n.name for n in names if n.parent.as_posix() == folder}


def same_file(left, right):
    return left.is_file() and left.read_bytes() == right.read_bytes()


def test_building_again_changes_no_byte_and_removes_what_has_no_source(copy):
    target, written, _ = copy
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in written}
    left_over = target / "notebooks" / "lectures" / "99_gone.ipynb"
    left_over.write_text("{}")
    assert build.build_handouts(target) == build.Built(written, [])
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in written} == before
    assert not left_over.exists()


def test_progress_counts_every_step(copy):
    _, _, steps = copy
    total = steps[0][1]
    assert steps == [(done, total) for done in range(total + 1)]


def test_a_failed_build_leaves_the_last_handouts(copy):
    target, written, _ = copy
    before = {p: p.read_bytes() for p in written}
    lecture = next((target / "notebooks" / "src" / "lectures").glob("*.py"))
    homework = target / "notebooks" / "src" / "homework" / "hw2.py"
    texts = lecture.read_text(), homework.read_text()
    try:
        lecture.write_text(texts[0] + "\n# %% [markdown]\n# A new sentence.\n")
        homework.write_text(texts[1] + "\n# %%\nthis is no Python\n")
        with pytest.raises(HandoutError, match=r"hw2\.py, cell \d+ \(this is no Python\)"):
            build.build_handouts(target)
        assert {p: p.read_bytes() for p in written} == before
    finally:
        lecture.write_text(texts[0])
        homework.write_text(texts[1])


# Only what changed is built, and all of it or nothing is put in its place.


@pytest.fixture
def quick(project, monkeypatch):
    """The project with one made-up handout in place of the real ones; what was built for it."""
    built = []
    content = b"one"

    def draft(root, key, progress):
        built.append("handouts")
        files = {"notebooks/lectures/01_x.ipynb": content, "notebooks/homework/hw1.ipynb": RELEASE}
        return build.Draft("handouts", key, files, ("notebooks/lectures/",))

    monkeypatch.setattr(build, "_draft_handouts", draft)
    return project, built


RELEASE = notebook_bytes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# HW")]))


def test_what_stands_is_not_built_again_unless_it_or_its_source_is_touched(quick):
    project, built = quick
    [lecture, homework] = build.build_handouts(project).files
    assert (lecture.read_bytes(), len(built)) == (b"one", 1)
    assert build.build_handouts(project) == build.Built([lecture, homework], [])
    assert len(built) == 1
    touches = [
        lambda: lecture.write_bytes(b"edited by hand"),
        lecture.unlink,
        lambda: lecture.with_name("02_left_over.ipynb").write_bytes(b"{}"),
        lambda: (project / "notebooks" / "src" / "homework" / "new.py").write_text("# %%\n"),
        lambda: (project / "build" / "notes" / "handouts.json").write_text("{"),
    ]
    for number, touch in enumerate(touches, start=2):
        touch()
        assert build.build_handouts(project).files == [lecture, homework]
        assert len(built) == number
        assert [path.name for path in lecture.parent.iterdir()] == ["01_x.ipynb"]
        assert lecture.read_bytes() == b"one"
    kept = lecture.parent / ".ipynb_checkpoints" / "01_x.ipynb"
    kept.parent.mkdir()
    kept.write_bytes(b"by Jupyter")
    assert build.build_handouts(project)
    planted = project / "notebooks" / "src" / "planted" / "01_x.toml"
    planted.parent.mkdir()
    planted.write_text("")  # read by tests, part of no handout
    assert build.build_handouts(project)
    assert len(built) == number
    assert kept.exists()


def lectures_of(texts):
    """Executed lectures, made up: stem -> what it says."""
    cell = nbformat.v4.new_markdown_cell
    new = nbformat.v4.new_notebook
    return {stem: new(cells=[cell(f"# {text}", id=stem)]) for stem, text in texts.items()}


def test_a_lecture_that_changed_brings_its_own_pdf_only(quick, monkeypatch):
    project, built = quick
    texts = {"01_x": "One", "02_y": "Two"}
    sites = []

    def site(root, lectures, homeworks, target, progress, coverage, pdfs):
        sites.append((sorted(lectures), sorted(homeworks), sorted(pdfs), coverage[:6]))
        target.mkdir()
        (target / "index.html").write_text(" ".join(texts.values()))
        (target / f"{len(sites)}.html").write_text("a page")

    def run(root, progress):
        if "boom" in texts.values():
            raise HandoutError("01_x.py, cell 3 (x): boom")
        return lectures_of(texts)

    monkeypatch.setattr("autograder.handouts.executed_lectures.executed_lectures", run)
    monkeypatch.setattr("autograder.handouts.site.build_site", site)
    written = build.build_everything(project).changed
    assert [path.relative_to(project).as_posix() for path in written] == [
        "notebooks/lectures/01_x.ipynb",
        "notebooks/homework/hw1.ipynb",
        "notebooks/COVERAGE.md",
        "build/pdf/01_x.pdf",
        "build/pdf/02_y.pdf",
        "build/pdf/hw1.pdf",
        "build/site/index.html",
    ]
    assert sites == [(["01_x", "02_y"], ["hw1"], ["01_x", "02_y", "hw1"], "# What")]
    assert build.build_everything(project) == build.Built(written, [])
    assert len(built) == len(sites) == 1

    printed = []
    monkeypatch.setattr(
        "autograder.handouts.pdf.pdf_bytes",
        lambda stem, _: printed.append(stem) or b"%PDF anew",
    )
    source = project / "notebooks" / "src" / "lectures" / "01_x.py"
    source.parent.mkdir(exist_ok=True)
    source.write_text("# edited")
    texts["01_x"] = "One and more"
    changed = build.build_everything(project).changed
    assert printed == ["01_x"]
    assert [path.name for path in changed] == ["01_x.pdf", "index.html"]
    assert (project / "build" / "pdf" / "01_x.pdf").read_bytes() == b"%PDF anew"
    pages = {path.name for path in (project / "build" / "site").iterdir()}
    assert pages == {"index.html", "2.html"}

    (project / "build" / "pdf" / "02_y.pdf").write_bytes(b"edited by hand")
    del texts["01_x"]
    build.build_everything(project)
    assert printed == ["01_x", "02_y"]
    assert {p.name for p in (project / "build" / "pdf").iterdir()} == {"02_y.pdf", "hw1.pdf"}

    # A lecture that fails leaves everything as it was, the quick handouts too.
    before = {p: p.read_bytes() for p in project.rglob("*") if p.is_file()}
    source.write_text("# edited again")
    texts["02_y"] = "boom"
    monkeypatch.setattr(
        build,
        "_draft_handouts",
        lambda root, key, progress: build.Draft("handouts", key, {"new.ipynb": b""}, ()),
    )
    with pytest.raises(HandoutError, match="cell 3"):
        build.build_everything(project)
    assert before | {source: b"# edited again"} == {
        p: p.read_bytes() for p in project.rglob("*") if p.is_file()
    }


@pytest.mark.parametrize("homework", list(HOMEWORKS))
def test_real_homework_asks_every_check_once_and_something_in_words(root, homework):
    notebook = homework_notebook(assignments.homework_path(root, homework), HOMEWORKS[homework])
    points = {
        name: cell.metadata.nbgrader.points
        for name, cell in by_grade_id(notebook).items()
        if cell.metadata.nbgrader.grade
    }
    coded = {check.name: check.points for check in HOMEWORKS[homework]}
    assert {n: p for n, p in points.items() if not n.startswith("written_")} == coded
    assert len(coded) >= 5
    assert any(name.startswith("written_") for name in points)


def test_no_committed_notebook_has_outputs_or_names_a_machine(root):
    paths = [*root.glob("notebooks/lectures/*.ipynb"), *root.glob("notebooks/homework/*.ipynb")]
    assert paths
    for path in paths:
        text = path.read_text(encoding="utf-8")
        for cell in json.loads(text)["cells"]:
            assert not cell.get("outputs")
            assert cell.get("execution_count") is None
        assert not re.search(r"/(home|root|Users|tmp)/", text)
