"""The homework notebooks as students and graders run them: right answers, stubs, and texts."""

import json
import re
import shutil

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch

from autograder.demo.made_up_class import make_draft
from autograder.handouts import assignments
from autograder.handouts.sources import homework_notebook, notebook_bytes
from autograder.project import ROOT
from autograder.questions import homeworks
from autograder.questions.check import HANDED_IN
from autograder.student import probe
from autograder.student.command import examine_notebook
from autograder.student.notebook_file import left_out
from course_lib.episodes import sample_episodes

HOMEWORKS = homeworks()

by_homework = pytest.mark.parametrize("homework", HOMEWORKS)
SOURCES = {name: assignments.homework_path(ROOT, name).read_text() for name in HOMEWORKS}
with_a_picture = pytest.mark.parametrize(
    "homework", [name for name, source in SOURCES.items() if "No picture" in source]
)


@pytest.fixture(scope="session")
def built(root):
    """Source and release notebook of each homework, as bytes."""
    settings, made = assignments.settings(root), {}
    for homework, checks in HOMEWORKS.items():
        path = assignments.homework_path(root, homework)
        source = notebook_bytes(homework_notebook(path, checks))
        made[homework] = source, assignments.release_notebook(homework, source, settings)
    return made


@pytest.fixture(autouse=True)
def own_settings():
    """Notebooks compute in float64 by default; other tests keep their own."""
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)
    plt.close("all")


def code_cells(notebook):
    cells = json.loads(notebook)["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def texts(notebook):
    return ["".join(c["source"]) for c in json.loads(notebook)["cells"] if "cell_type" in c]


def run(sources, train=False):
    """Outputs of each cell; of those that train only with `train`, and then the short ones."""
    shell = probe.make_shell()
    shell.reset(new_session=False)
    return [
        []
        if left_out(source) and "# Picture" not in source and not (train and "few s" in source)
        else probe.run_cell(shell, source, 60)
        for source in sources
    ]


def said_in(outputs):
    return "".join(output.get("text", "") for shown in outputs for output in shown)


@pytest.fixture(autouse=True)
def files_beside(tmp_path, monkeypatch):
    """The notebook runs where the files lie that are handed in with it."""
    shutil.copytree(HANDED_IN, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


@by_homework
def test_with_the_answers_in_place_every_cell_runs(homework, built):
    sources = code_cells(built[homework][0])
    outputs = run(sources, train=True)
    for source, shown in zip(sources, outputs, strict=True):
        assert not [o for o in shown if o["output_type"] == "error"], source
        assert not [o for o in shown if o.get("name") == "stderr"], source
        if source.startswith("check("):
            assert re.search(
                r": right on \d+ examples?(, mean return -?[\d.]+)?\n", shown[0]["text"]
            )
        else:
            assert not re.search("Not yet|No picture", "".join(o.get("text", "") for o in shown))


def in_other_ways(homework, release, number):
    """The homework, each question answered by an accepted answer of another kind."""
    notebook = nbformat.reads(release.decode(), as_version=4)
    draft = make_draft(homework, "ada", notebook)
    for name in draft.checks:
        draft.answer_right(name, style=number)
    return [cell["source"] for cell in draft.cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("number", range(4))
@by_homework
def test_pictures_take_whatever_the_checks_call_right(homework, number, built):
    sources = in_other_ways(homework, built[homework][1], number)
    outputs = run(sources, train=number == 0)
    for source, shown in zip(sources, outputs, strict=True):
        text = "".join(o.get("text", "") + o.get("evalue", "") for o in shown)
        assert not re.search("Error|Not yet|No picture|time limit", text), text
        assert ": right on" in text or not source.startswith("check("), text


@by_homework
def test_with_stubs_only_checks_fail_and_the_picture_waits(homework, built):
    sources = code_cells(built[homework][1])
    outputs = run(sources, train=True)
    for source, shown in zip(sources, outputs, strict=True):
        errors = [o for o in shown if o["output_type"] == "error"]
        if source.startswith("check("):
            name = source[len("check(") : -1]
            assert errors[0]["evalue"] == f"{name} is not written yet."
        elif (
            left_out(source) and "# Picture" not in source
        ):  # an agent for a file stops at the first stub, a picture waits
            assert {error["ename"] for error in errors} <= {"NotImplementedError"}
        else:
            assert not errors, source
    if "No picture" in SOURCES[homework]:
        said = said_in(outputs)
        assert re.search(r"Not yet: \w+: your code here\. The picture comes", said)


@with_a_picture
def test_wrong_answers_cost_the_pictures_and_no_traceback(homework, built):
    spoilt = re.compile(r"^def (returns_to_go|gae|rloo_advantages)\(", re.MULTILINE)
    sources = [
        spoilt.sub(r"def \1(*a): return None\n\n\ndef not_\1(", s)
        for s in code_cells(built[homework][0])
    ]
    outputs = run(sources, train=True)
    assert "No picture: " in said_in(outputs)
    for source, shown in zip(sources, outputs, strict=True):
        assert source.startswith("check(") or not [o for o in shown if o["output_type"] == "error"]


@pytest.mark.parametrize("homework", ["hw1", "hw2"])
def test_a_policy_that_gets_worse_takes_no_picture_near_the_limit_of_time(
    homework, built, monkeypatch
):
    """Its episodes never end by themselves. Steps are counted: seconds would be the machine's."""
    lengths = []

    def counted(*given, **named):
        episodes = sample_episodes(*given, **named)
        lengths.extend(map(len, episodes))
        return episodes

    monkeypatch.setattr("course_lib.episodes.sample_episodes", counted)
    wrong = {
        "reinforce_1": "-right(theta, *given)",
        "reinforce_2": "-right(theta, *given)",
        "ppo_update": "2 * theta - right(theta, *given)",
    }
    sources = code_cells(built[homework][0])
    for name, answer in wrong.items():
        spoilt = f"\n\n\ndef {name}(theta, *given, right={name}):\n    return {answer}\n"
        sources = [s + spoilt if s.startswith(f"def {name}(") else s for s in sources]
    outputs = run(sources, train=True)
    assert not re.search("Not yet|No picture", "".join(o.get("text", "") for o in outputs[-1]))
    assert max(lengths) == {"hw1": 100, "hw2": 60}[homework]
    assert sum(lengths) < 1_000_000  # some 5 s


@by_homework
def test_course_check_gives_all_points_to_the_source_and_none_to_the_release(
    homework, built, tmp_path
):
    for name, notebook in zip(("source", "release"), built[homework], strict=True):
        (tmp_path / f"{name}.ipynb").write_bytes(notebook)
    right = examine_notebook(tmp_path / "source.ipynb")
    assert right.points == right.max_points == sum(c.points for c in HOMEWORKS[homework])
    assert (right.homework, right.unwritten, right.failed_cells) == (homework, [], {})
    unwritten = examine_notebook(tmp_path / "release.ipynb")
    assert {verdict.outcome for verdict in unwritten.verdicts} == {"unwritten"}
    assert len(unwritten.unwritten) == SOURCES[homework].count("BEGIN MARK SCHEME")


@by_homework
def test_the_table_of_points_says_what_the_checks_give(homework, built):
    front = texts(built[homework][1])[0]
    for check in HOMEWORKS[homework]:
        assert re.search(rf"\d\. `{check.name}` \| {check.points} \|", front), check.name
    written = [
        cell["metadata"]["nbgrader"]["points"]
        for cell in json.loads(built[homework][0])["cells"]
        if cell["metadata"].get("nbgrader", {}).get("grade_id", "").startswith("written_")
    ]
    in_table = [int(points) for points in re.findall(r"\(in words\) \| (\d+) \|", front)]
    assert in_table == written


@by_homework
def test_every_question_shows_a_formula_an_example_by_hand_and_where_to_read(homework, built):
    cells = texts(built[homework][1])
    for check in HOMEWORKS[homework]:
        answer = next(i for i, text in enumerate(cells) if text.startswith(f"def {check.name}("))
        heading = max(i for i, text in enumerate(cells[:answer]) if text.startswith("## "))
        question = "\n".join(cells[heading:answer])
        assert "**By hand.**" in question
        assert "$" in question
        assert re.search(r"\*.*(Lecture|Slide|note).*\*", question)


@by_homework
def test_the_release_keeps_model_answers_and_mark_schemes_back(homework, built):
    source, release = (" ".join(texts(notebook)) for notebook in built[homework])
    assert "BEGIN MARK SCHEME" in source
    assert "MARK SCHEME" not in release
    assert "SOLUTION" not in release
    for phrase in ("**1 point**", "chain rule $", "Both policies meet the same world"):
        assert phrase not in release
