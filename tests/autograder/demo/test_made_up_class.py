"""The made-up class is what it says: every kind differs from plain right answers in its own way."""

import ast
import copy
import json
import random
from pathlib import Path
from typing import Any

import nbformat
import pytest

from autograder.demo import made_up_class as demo
from autograder.demo.attacks import ATTACKS
from autograder.grading.record import STATES
from autograder.handouts.assignments import homework_path, release_notebook, settings
from autograder.handouts.sources import homework_notebook, notebook_bytes
from autograder.percent import HOMEWORK_KEYS, read_cells
from autograder.project import ROOT
from autograder.questions import homeworks
from autograder.questions.check import compile_exam, observe
from autograder.student.exam import judge

HOMEWORKS = homeworks()


def percent_source(homework: str) -> str:
    """A homework that asks every check and one question in words."""
    own = read_cells(homework_path(ROOT, homework), HOMEWORK_KEYS)
    imports = next(cell.source for cell in own if cell.kind == "code")
    cells = [f"# %%\n{imports}\n"]
    for check in HOMEWORKS[homework]:
        cells.append(f'# %% answer="{check.name}"\n')
        cells.append(f'# %% check="{check.name}"\n')
    words = "# Because.\n#\n# === BEGIN MARK SCHEME ===\n# - 1: why\n# === END MARK SCHEME ==="
    cells.append(f'# %% [markdown] written="why_{homework}" points=2\n{words}\n')
    return "\n".join(cells)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Release notebooks as nbgrader makes them."""
    folder, built = tmp_path_factory.mktemp("src"), {}
    for homework, checks in HOMEWORKS.items():
        path = folder / f"{homework}.py"
        path.write_text(percent_source(homework))
        source = notebook_bytes(homework_notebook(path, checks))
        built[homework] = release_notebook(homework, source, settings())
    return built


def put_releases(course: Path, releases: dict[str, bytes]) -> Path:
    for homework, content in releases.items():
        path = course / "release" / homework / f"{homework}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    return course


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory, releases: dict[str, bytes]
) -> tuple[Path, list[demo.Truth]]:
    course = put_releases(tmp_path_factory.mktemp("class"), releases)
    return course, demo.write_class(course, tuple(HOMEWORKS))


def make(
    kind: str, releases: dict[str, bytes], folder: Path, homework: str = "hw1"
) -> tuple[demo.Truth, Path]:
    other = json.loads(next(v for k, v in releases.items() if k != homework))
    draft = demo.make_draft(homework, "ada", json.loads(releases[homework]), ["bo"], other)
    truth = demo.make_submission(kind, draft, folder)
    (path,) = folder.iterdir()
    return truth, path


def cells_of(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_bytes().decode("utf-8-sig"))["cells"]
    return cells


def sources(path: Path) -> dict[str, str]:
    return {name: cell["source"] for name, cell in named(cells_of(path)).items()}


def named(cells: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        cell["metadata"]["nbgrader"]["grade_id"]: cell
        for cell in cells
        if "nbgrader" in cell["metadata"]
    }


def test_the_class_is_large_and_every_kind_is_in_it(
    written: tuple[Path, list[demo.Truth]],
) -> None:
    course, truths = written
    assert len(truths) >= 40
    assert {truth.kind for truth in truths} == set(demo.KINDS)
    handed_in = {(p.parent.parent.name, p.parent.name) for p in course.glob("submitted/*/*/*")}
    assert handed_in == {(truth.student, truth.homework) for truth in truths}
    assert len(handed_in) == len(truths)


def test_the_truth_speaks_of_every_check_in_known_words(
    written: tuple[Path, list[demo.Truth]],
) -> None:
    for truth in written[1]:
        checks = {check.name: check for check in HOMEWORKS[truth.homework]}
        assert set(truth.points) == set(truth.mistakes) == set(checks), truth
        assert set(truth.states) <= set(STATES), truth
        assert truth.states, truth
        assert truth.note, truth
        for name, points in truth.points.items():
            mistake = truth.mistakes[name]
            known = {m.name for m in checks[name].misconceptions}
            if mistake:
                assert mistake in known, truth
                assert 0 <= points < checks[name].points, truth
            else:
                assert points in (0, checks[name].points), truth


def test_names_say_nothing_about_the_kind(written: tuple[Path, list[demo.Truth]]) -> None:
    by_student: dict[str, set[str]] = {}
    for truth in written[1]:
        by_student.setdefault(truth.student, set()).add(truth.kind)
    assert set(by_student) <= set(demo.STUDENTS)
    assert sum(len(kinds) > 1 for kinds in by_student.values()) > 20
    (unicode_student,) = [t.student for t in written[1] if t.kind == "writes unicode"]
    assert not unicode_student.isascii()


def test_the_same_class_every_time(
    written: tuple[Path, list[demo.Truth]], releases: dict[str, bytes], tmp_path: Path
) -> None:
    first, truths = written
    second = put_releases(tmp_path, releases)
    stale = second / "submitted" / "stranger" / "hw1" / "hw1.ipynb"
    stale.parent.mkdir(parents=True)
    stale.touch()
    assert demo.write_class(second, tuple(HOMEWORKS)) == truths

    def content(course: Path) -> dict[str, bytes]:
        files = [path for path in course.glob("submitted/*/*/*") if not path.is_symlink()]
        return {str(path.relative_to(course)): path.read_bytes() for path in files}

    assert content(first) == content(second)


def test_most_submissions_are_notebooks_and_the_broken_ones_are_not(
    written: tuple[Path, list[demo.Truth]],
) -> None:
    course, truths = written
    for truth in truths:
        files = (course / "submitted" / truth.student / truth.homework).iterdir()
        (path,) = (file for file in files if file.suffix != ".npz")
        if truth.kind in ("is truncated", "is empty", "is a pdf"):
            with pytest.raises(ValueError, match=r"."):
                json.loads(path.read_bytes())
        elif not path.is_symlink():
            notebook = nbformat.reads(path.read_bytes().decode("utf-8-sig"), as_version=4)
            nbformat.validate(notebook)


@pytest.mark.parametrize("homework", HOMEWORKS)
def test_answers_taken_out_of_their_module_keep_their_verdict(homework: str) -> None:
    """One notebook's answers share a namespace: their helpers must not meet."""
    checks = [check for check in HOMEWORKS[homework] if not check.measure]  # theirs take long
    picks = random.Random(5)
    for _ in range(2):
        accepted: dict[str, Any] = {}
        mistaken: dict[str, Any] = {}
        wanted: dict[str, str] = {}
        for check in checks:
            exec(demo.standalone(picks.choice(check.accepted), check.name), accepted)
            mistake = picks.choice(check.misconceptions)
            wanted[check.name] = mistake.name
            exec(demo.standalone(mistake.function, check.name), mistaken)
        for check in checks:
            exam = compile_exam(check)
            right = judge(exam, observe(check, accepted[check.name], exam.cases))
            assert right.outcome == "right", (check.name, right.sentence)
            wrong = judge(exam, observe(check, mistaken[check.name], exam.cases))
            assert wrong.mistake == wanted[check.name]


@pytest.mark.parametrize("homework", HOMEWORKS)
def test_no_answer_needs_what_students_lack(homework: str) -> None:
    for check in HOMEWORKS[homework]:
        functions = [check.reference, *check.accepted, *(m.function for m in check.misconceptions)]
        for function in functions:
            source = demo.standalone(function, check.name)
            assert "autograder" not in source, function
            assert "reference" not in {
                alias.name
                for node in ast.walk(ast.parse(source))
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }, function
            last = ast.parse(source).body[-1]
            assert isinstance(last, ast.FunctionDef)
            assert last.name == check.name


def test_right_answers_fill_every_cell(releases: dict[str, bytes], tmp_path: Path) -> None:
    truth, path = make("right", releases, tmp_path / "x")
    assert truth.points == {check.name: check.points for check in HOMEWORKS["hw1"]}
    assert truth.states == ("graded",)
    for name, source in sources(path).items():
        if name.startswith("answer_"):
            assert "your code here" not in source
            assert f"def {name.removeprefix('answer_')}(" in source


def test_untouched_is_the_release(releases: dict[str, bytes], tmp_path: Path) -> None:
    truth, path = make("untouched", releases, tmp_path / "x")
    assert set(truth.points.values()) == {0}
    answers = {k: v for k, v in sources(path).items() if k.startswith("answer_")}
    assert all("your code here" in source for source in answers.values())


def test_unfinished_has_two_answers(releases: dict[str, bytes], tmp_path: Path) -> None:
    truth, path = make("unfinished", releases, tmp_path / "x")
    stubs = [n for n, source in sources(path).items() if "your code here" in source]
    assert len(stubs) == len(HOMEWORKS["hw1"]) - 2
    assert sum(points > 0 for points in truth.points.values()) == 2


def test_accidents_are_what_they_say(releases: dict[str, bytes], tmp_path: Path) -> None:
    names = [check.name for check in HOMEWORKS["hw1"]]

    def of(kind: str) -> tuple[demo.Truth, Path]:
        return make(kind, releases, tmp_path / kind)

    _, path = of("moves a question")
    assert list(sources(path))[-2:] == [f"answer_{names[0]}", names[0]]
    _, path = of("runs out of order")
    order = list(sources(path))
    assert all(order.index(n) < order.index(f"answer_{n}") for n in names)
    _, path = of("splits a cell")
    assert f"return my_{names[0]}(" in sources(path)[f"answer_{names[0]}"]
    assert sum(cell["source"].count(f"def my_{names[0]}(") for cell in cells_of(path)) == 1
    _, path = of("merges cells")
    assert [bool(sources(path)[f"answer_{n}"]) for n in names] == [True] + [False] * (
        len(names) - 1
    )
    _, path = of("has windows line ends")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert b"\r\n" in path.read_bytes()
    assert any("\r\n" in source for source in sources(path).values())
    _, path = of("has the old format")
    assert json.loads(path.read_text())["nbformat"] == 3
    _, path = of("has another kernel")
    assert json.loads(path.read_text())["metadata"]["kernelspec"]["name"] == "conda-env-rl-py"
    _, path = of("renames the file")
    assert path.name == "hw1 (1).ipynb"
    _, path = of("pastes cells twice")
    ids = [c["metadata"]["nbgrader"]["grade_id"] for c in cells_of(path) if c["metadata"]]
    assert len(ids) == len(set(ids)) + 2
    truth, path = of("deletes cells")
    assert {f"answer_{names[0]}", names[1]}.isdisjoint(sources(path))
    assert [bool(truth.points[n]) for n in names] == [False] + [True] * (len(names) - 1)
    truth, path = of("has a syntax error")
    with pytest.raises(SyntaxError):
        ast.parse(sources(path)[f"answer_{names[1]}"])
    assert truth.points[names[1]] == 0
    _, path = of("is truncated")
    assert path.read_bytes().startswith(b"{")
    _, path = of("is empty")
    assert path.read_bytes() == b""
    _, path = of("is a pdf")
    assert path.read_bytes().startswith(b"%PDF")
    _, path = of("is another homework")
    assert set(sources(path)).isdisjoint({f"answer_{n}" for n in names})


def test_hostile_files_are_what_they_say(releases: dict[str, bytes], tmp_path: Path) -> None:
    truth, path = make("flips the metadata", releases, tmp_path / "flip")
    for check in HOMEWORKS["hw1"]:
        tag = named(cells_of(path))[check.name]["metadata"]["nbgrader"]
        assert (tag["points"], tag["locked"]) == (100 * check.points, False)
    assert truth.noticed
    assert max(truth.points.values()) <= max(check.points for check in HOMEWORKS["hw1"])
    truth, path = make("links to a classmate", releases, tmp_path / "link")
    assert path.is_symlink()
    assert str(path.readlink()) == "../../bo/hw1/hw1.ipynb"
    assert truth.states == ("unreadable",)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_in_its_notebook_and_earns_its_honest_part(
    name: str, releases: dict[str, bytes], tmp_path: Path
) -> None:
    truth, path = make(name, releases, tmp_path / "x", "hw2")
    own = [c["source"] for c in cells_of(path) if c["source"] == ATTACKS[name].source]
    assert len(own) == 1
    compile(own[0], name, "exec")
    honest = [] if ATTACKS[name].self_harming else HOMEWORKS["hw2"][: len(HOMEWORKS["hw2"]) // 2]
    for check in HOMEWORKS["hw2"]:
        known = {m.name: m for m in check.misconceptions}
        mistake = known.get(truth.mistakes[check.name] or "")
        kept = demo.points_kept(check, mistake) if mistake else 0
        assert truth.points[check.name] == (check.points if check in honest else kept)
    assert set(truth.states) == {*ATTACKS[name].states, "cells failed"}


def test_remembered_numbers_are_those_of_the_examples(
    releases: dict[str, bytes], tmp_path: Path
) -> None:
    truth, path = make("remembers the numbers", releases, tmp_path / "x")
    namespace: dict[str, Any] = {}
    exec(sources(path)["answer_returns_to_go"], namespace)
    exam = compile_exam(HOMEWORKS["hw1"][0])
    for table in exam.expected:
        assert namespace["returns_to_go"]().tolist() == table["returns"].tolist()
    assert truth.points["returns_to_go"] == 0


def test_a_missing_release_is_a_sentence(tmp_path: Path, releases: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="build the handouts first"):
        demo.write_class(tmp_path, ("hw1",))
    with pytest.raises(ValueError, match="there is no homework 'hw9'"):
        demo.write_class(tmp_path, ("hw9",))
    stripped = json.loads(releases["hw1"])
    stripped["cells"] = stripped["cells"][:1]
    with pytest.raises(ValueError, match="has no cell"):
        demo.make_submission(
            "right", demo.make_draft("hw1", "ada", copy.deepcopy(stripped)), tmp_path
        )
