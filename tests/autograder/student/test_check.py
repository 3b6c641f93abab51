"""What students see: `check(f)` in a notebook, `course check` outside, the data behind both."""

import contextlib
import functools
import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from autograder.handouts.bundle import is_allowed
from autograder.handouts.public_exams import rounded
from autograder.questions import homeworks
from autograder.questions.check import HANDED_IN
from autograder.student import command
from autograder.student.check import CheckFailed, check, public_exams
from autograder.student.command import CannotCheck, examine_notebook
from autograder.student.exam import show
from autograder.student.limits import TimeLimit, time_limit

HOMEWORKS = homeworks()

runner = CliRunner()
RIGHT = {one.name: one.reference for checks in HOMEWORKS.values() for one in checks}


@pytest.fixture(autouse=True)
def files_beside(monkeypatch):
    """Recipes find the files that are handed in beside a notebook."""
    monkeypatch.chdir(HANDED_IN)


def named(name, function):
    def wrapper(*arguments):
        return function(*arguments)

    wrapper.__name__ = name
    return wrapper


def notebook(path, *sources, grade_ids=None):
    cells = []
    for index, source in enumerate(sources):
        cell = nbformat.v4.new_code_cell(source)
        if grade_ids:
            cell.metadata["nbgrader"] = {"grade_id": grade_ids[index]}
        cells.append(cell)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


POINTS = {one.name: one.points for one in HOMEWORKS["hw1"]}


def answers(homework, **changes):
    """Code for every question of a homework: the reference, or what `changes` say."""
    lines = ["import torch"]
    for one in HOMEWORKS[homework]:
        given = f"from course_lib.reference.answers.{one.name} import {one.name}"
        lines.append(changes.get(one.name, given))
    return "\n".join(lines)


@pytest.mark.parametrize("kind", ["markdown", "raw"])
@pytest.mark.parametrize("marked", [True, False])
def test_an_answer_in_a_cell_that_is_no_code_is_told_so(tmp_path, kind, marked):
    make = {"markdown": nbformat.v4.new_markdown_cell, "raw": nbformat.v4.new_raw_cell}[kind]
    turned = make("def returns_to_go(rewards, gamma):\n    return rewards")
    if marked:
        turned.source = "# mine"
        turned.metadata["nbgrader"] = {"grade_id": "answer_returns_to_go"}
    rest = nbformat.v4.new_code_cell("def reinforce_1(*given):\n    return given[0]")
    rest.metadata["nbgrader"] = {"grade_id": "answer_reinforce_1"}
    path = tmp_path / "hw1.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[turned, rest]), path)
    said = {verdict.check: verdict.sentence for verdict in examine_notebook(path).verdicts}
    assert said["returns_to_go"] == (
        f"The cell of returns_to_go is a {kind.title()} cell, which does not run: select it, press "
        "Esc and then Y, or choose Code in the list of cell types."
    )
    assert said["reinforce_2"].startswith("There is no function named reinforce_2")


# check(f)


def test_a_right_function_prints_one_line_and_nothing_else(capfd):
    check(RIGHT["returns_to_go"])
    out, err = capfd.readouterr()
    assert out == "returns_to_go: right on 5 examples\n"
    assert err == ""


@pytest.mark.parametrize("name", RIGHT)
def test_every_question_has_a_public_exam(name, capsys):
    check(RIGHT[name])
    assert capsys.readouterr().out.startswith(f"{name}: right on")


def found(function):
    """What `check` says of a wrong answer: raised, or printed where it has some points."""
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            assert check(function) > 0
    except CheckFailed as failed:
        assert not text.getvalue()
        return str(failed)
    return text.getvalue().removesuffix("\n")


@pytest.mark.parametrize(
    ("name", "credit"),
    {
        "ignores gamma": "\n3 of 6 points. Right: an episode of one step, gamma = 1, leaves "
        "nothing behind. Not yet: gamma = 0, gamma between.",
        "sums past rewards": "",
    }.items(),
)
def test_a_known_mistake_is_named_with_the_place_that_clears_it_up(name, credit):
    (mistake,) = (m for m in HOMEWORKS["hw1"][0].misconceptions if m.name == name)
    lecture, claim = mistake.see.split("#")
    said = found(named("returns_to_go", mistake.function))
    assert said == f"{mistake.hint}\nSee lecture {lecture}, section {claim}.{credit}"


def test_the_command_loads_torch_only_to_run_a_notebook():
    code = "import sys, autograder.student.command; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_other_mistakes_are_told_with_numbers():
    with pytest.raises(CheckFailed, match=r"example 1: `returns` should be \[1.5, 1, 2\] and came"):
        check(named("returns_to_go", lambda rewards, gamma: 3 * rewards))


def test_a_wrong_answer_comes_with_the_call_to_try():
    def returns_to_go(rewards, gamma):
        return rewards.flip(0).cumsum(0).flip(0) + (gamma == 0.9)

    said = found(returns_to_go)
    assert "\nExample 1 is this call:\n    returns_to_go(torch.tensor([" in said
    call = said.splitlines()[-1].strip()
    scope = {"torch": torch, "returns_to_go": RIGHT["returns_to_go"]}
    assert eval(call, scope).tolist() == [1.5, 1.0, 2.0]


def test_functions_that_the_check_brings_are_dots_in_the_call():
    def line_search(surrogate, kl, theta, step, delta, shrink=0.5, tries=10):
        raise ValueError("no")

    with pytest.raises(CheckFailed) as caught:
        check(line_search)
    assert "stopped with ValueError: no (line " in str(caught.value)
    assert "where ... stands for functions of the check:" in str(caught.value)
    assert "line_search(..., ..., torch.tensor([-5.0, 4.0]), " in str(caught.value)


def test_known_mistakes_and_unwritten_functions_need_no_call():
    def returns_to_go(rewards, gamma):
        return rewards

    with pytest.raises(CheckFailed, match="nothing that follows") as caught:
        check(returns_to_go)
    assert "torch.tensor" not in str(caught.value)


def test_numbers_that_look_alike_get_more_digits():
    def returns_to_go(rewards, gamma):
        more = {3: 4e-4, 5: 1.0}.get(len(rewards), 0.0)
        return RIGHT["returns_to_go"](rewards, gamma) + more

    assert "should be [1.5, 1, 2] and came out as [1.5004, 1.0004, 2.0004]" in found(returns_to_go)


def test_a_matrix_is_shown_row_by_row_and_a_small_example_is_chosen():
    def reinforce_1(theta, states, actions, rewards, gamma):
        return RIGHT["reinforce_1"](theta, states, actions, rewards, gamma) + theta.square()

    with pytest.raises(CheckFailed) as caught:
        check(reinforce_1)
    assert re.search(
        r"should be \[\[\S+, \S+, \S+\], \[\S+, .* and came out as \[\[", str(caught.value)
    )
    assert "reinforce_1(torch.tensor([[0.0, 0.0]," not in str(caught.value)
    assert show(np.arange(12.0).reshape(6, 2), limit=5) == "[[0, 1], [2, 3], ...]"
    assert show(np.arange(9.0), limit=4) == "[0, 1, 2, 3, ...]"
    assert show(np.array([[True], [False]])) == "[[True], [False]]"


def test_what_is_right_is_said_beside_what_is_off():
    def baseline_loss(log_probs, returns, values, gamma):
        loss = RIGHT["baseline_loss"](log_probs, returns, values, gamma)
        return loss + 0.3 * values.pow(4).sum()

    assert "Right on all examples: `gradient_of_log_probs`." in found(baseline_loss)


def test_an_error_about_graphs_comes_with_what_to_think_about():
    def kl(old_logits, logits):
        torch.zeros(2).sum().backward()

    with pytest.raises(CheckFailed, match=r"has no graph: was something detached.*create_graph"):
        check(kl)


def test_nan_and_wrong_shapes_name_the_example():
    def returns_to_go(rewards, gamma):
        return RIGHT["returns_to_go"](rewards, gamma) / (len(rewards) - 1)

    with pytest.raises(CheckFailed, match="differs on example 1"):
        check(returns_to_go)

    def baseline_loss(log_probs, returns, values, gamma):
        return log_probs

    with pytest.raises(CheckFailed, match=r"has shape \(2,\) on example 1, and \(\) was wanted"):
        check(baseline_loss)


def test_whole_numbers_and_changed_arguments_are_told_in_words():
    def returns_to_go(rewards, gamma):
        return RIGHT["returns_to_go"](rewards, gamma).long()

    with pytest.raises(
        CheckFailed, match=r"cut to whole numbers on all examples: was it put into an integer"
    ):
        check(returns_to_go)

    def baseline_loss(log_probs, returns, values, gamma):
        loss = RIGHT["baseline_loss"](log_probs, returns, values, gamma)
        returns += 1
        return loss

    assert "baseline_loss changes one of its arguments on example 1" in found(baseline_loss)


def test_an_error_that_cannot_be_told_is_named_all_the_same():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    def returns_to_go(rewards, gamma):
        raise Mute

    with pytest.raises(CheckFailed, match="returns_to_go stopped with Mute"):
        check(returns_to_go)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (3.0, "given a float: give it the function itself"),
        (lambda x: x, r"cannot tell which question this lambda answers: give it that question's"),
        (functools.partial(max, 1), "cannot tell which question this partial answers"),
        (len, r"No question asks for a function named len. There are: returns_to_go"),
    ],
)
def test_what_is_no_homework_function_is_told_so(given, words):
    with pytest.raises(CheckFailed, match=words):
        check(given)


def test_what_has_no_name_of_its_own_is_known_by_the_name_it_is_given(capsys):
    right = RIGHT["returns_to_go"]
    scripted = torch.jit.CompilationUnit(
        "def f(rewards, gamma: float):\n"
        "    powers = gamma ** torch.arange(rewards.shape[0], dtype=rewards.dtype)\n"
        "    sums = (rewards * powers).flip(0).cumsum(0).flip(0)\n"
        "    return torch.where(powers > 0, sums / powers, rewards)\n"
    ).f
    for returns_to_go in (lambda *given: right(*given), functools.partial(right), scripted):
        check(returns_to_go)
        assert capsys.readouterr().out == "returns_to_go: right on 5 examples\n"


def test_a_name_that_was_given_wins_over_another_questions(capsys):
    baseline_loss = named("returns_to_go", RIGHT["baseline_loss"])
    check(baseline_loss)
    assert capsys.readouterr().out.startswith("baseline_loss: right on")
    returns_to_go = kl = lambda rewards, gamma: rewards
    with pytest.raises(CheckFailed, match="that question's name and no other"):
        check(returns_to_go or kl)


def test_an_endless_function_is_given_up_and_torch_is_left_as_it_was(monkeypatch):
    monkeypatch.setattr("autograder.student.check.ANSWER_SECONDS", 0.2)

    def returns_to_go(rewards, gamma):
        while torch.is_grad_enabled():
            pass

    with torch.no_grad():
        with pytest.raises(CheckFailed, match=r"the time limit of 0\.2 s was"):
            check(returns_to_go)
        assert not torch.is_grad_enabled()
    assert signal.getsignal(signal.SIGPROF) == signal.SIG_DFL


def loop(seconds, *inner):
    """Loop under a limit, after loops under limits inside it."""
    with time_limit(seconds, last_resort=False):
        for each in inner:
            with contextlib.suppress(TimeLimit):
                loop(each)
        while True:
            pass


def test_a_limit_inside_a_limit_takes_nothing_from_it():
    started = time.process_time()
    with pytest.raises(TimeLimit, match=r"limit of (0\.4 s|2 s by the clock) was reached"):
        loop(0.4, 0.1)
    assert time.process_time() - started < 2
    with pytest.raises(TimeLimit, match=r"limit of (0\.2 s|1 s by the clock) was reached"):
        loop(0.2, 9)
    assert time.process_time() - started < 4


def test_notebooks_show_the_sentence_without_a_traceback(capsys):
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    result = shell.run_cell(
        "from autograder.student.check import check\n"
        "def returns_to_go(rewards, gamma):\n    return rewards * 0 + 5\n"
        "check(returns_to_go)"
    )
    shown = "".join(capsys.readouterr())
    assert isinstance(result.error_in_exec, AssertionError)
    assert "returns_to_go differs on example 1" in shown
    assert "Traceback" not in shown
    assert "File" not in shown


# The data


def test_public_exams_hold_public_cases_only():
    for homework, exams in public_exams().items():
        assert [exam.check for exam in exams] == [one.name for one in HOMEWORKS[homework]]
        for exam, one in zip(exams, HOMEWORKS[homework], strict=True):
            assert len(exam.cases) == exam.public == len(one.public_cases())


def test_rounding_keeps_ten_digits_and_drops_rounding_errors_of_zero():
    assert rounded({"a": [1 / 3, 1e-17, 12345.678901234]}) == {"a": [0.3333333333, 0.0, 12345.6789]}


@pytest.mark.parametrize("homework", HOMEWORKS)
def test_shipped_numbers_name_every_known_mistake(homework):
    for one in HOMEWORKS[homework]:
        for mistake in one.misconceptions:
            assert found(named(one.name, mistake.function)).startswith(mistake.hint)


# course check


def test_a_right_notebook_gets_all_points(tmp_path):
    path = notebook(tmp_path / "hw1.ipynb", answers("hw1"), "check(returns_to_go)", "x = 1")
    result = runner.invoke(command.app, ["check", str(path)])
    assert result.exit_code == 0, result.output
    total = sum(POINTS.values())
    assert f"{total} of {total} points" in result.stdout
    assert result.stderr == ""


def test_each_thing_is_found_and_costs_only_itself(tmp_path):
    path = notebook(
        tmp_path / "my hw1 (2).ipynb",
        answers(
            "hw1",
            returns_to_go="returns_to_go = lambda r, gamma: r.flip(0).cumsum(0).flip(0)",
            reinforce_1="def reinforce_1(*a):\n    import os\n    os._exit(3)",
            reinforce_2="def reinforce_2(*a):\n    raise NotImplementedError('reinforce_2: your "
            "code here')",
            reinforce="",
        ),
        "1 / 0",
        "y = baseline_loss",
    )
    result = runner.invoke(command.app, ["check", str(path), "--json"])
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)
    wanted = dict.fromkeys(POINTS, "right") | {
        "returns_to_go": "known mistake",
        "reinforce_1": "ended",
        "reinforce_2": "unwritten",
        "reinforce": "missing",
    }
    right = sum(points for name, points in POINTS.items() if wanted[name] == "right")
    assert (found["homework"], found["max_points"]) == ("hw1", sum(POINTS.values()))
    assert found["points"] == right + POINTS["returns_to_go"] / 2  # for gamma = 1
    assert {one["check"]: one["outcome"] for one in found["checks"]} == wanted
    assert found["checks"][0]["mistake"] == "ignores gamma"
    assert found["failed_cells"] == {"2": "ZeroDivisionError: division by zero"}
    shown = runner.invoke(command.app, ["check", str(path)])
    assert shown.exit_code == 1
    assert "Code cell 2 (1 / 0) stopped: ZeroDivisionError: division by zero" in shown.stdout


def test_a_cell_that_ends_the_process_or_never_stops_costs_only_itself(tmp_path):
    path = notebook(
        tmp_path / "hw1.ipynb",
        "import os\nos._exit(1)",
        answers("hw1"),
        "while True:\n    pass",
        "baseline_loss = None",
        "import signal\nfor s in (signal.SIGALRM, signal.SIGPROF):\n"
        "    signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
    )
    report = examine_notebook(path, cell_seconds=1)
    assert report.points == sum(POINTS.values()) - POINTS["baseline_loss"]
    assert report.failed_cells == {
        1: "it ended the whole process (exit status 1)",
        3: "TimeLimit: the time limit of 1 s was reached",
        5: "it did not stop at its time limit",
    }


def test_a_name_used_again_below_its_check_counts_as_it_stood_there(tmp_path):
    path = notebook(
        tmp_path / "hw1.ipynb",
        answers("hw1"),
        "check(returns_to_go)",
        "returns_to_go = returns_to_go(torch.tensor([1.0, 2.0]), 0.9)\nprint(returns_to_go)",
    )
    linux = sys.platform == "linux"  # elsewhere functions are asked at the end alone
    lost = 0 if linux else POINTS["returns_to_go"]
    assert examine_notebook(path).points == sum(POINTS.values()) - lost


def test_what_is_being_done_is_told(tmp_path):
    path = notebook(tmp_path / "hw1.ipynb", "import torch", "\n# Mine\nx = 1", "check(reinforce)")
    told = []
    examine_notebook(path, tell=told.append)
    assert told[:3] == [
        "Starting Python",
        "Code cell 1 of 3: import torch",
        "Code cell 2 of 3: # Mine",
    ]
    assert told[-1] == f"Asking {[*POINTS][-1]}"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nothing_that_a_notebook_starts_is_left_behind(tmp_path):
    leaves = "def reinforce(*a):\n    import os\n    os.fork() or os.execvp('sleep', {!r})"
    path = notebook(
        tmp_path / "hw1.ipynb",
        answers("hw1", reinforce=leaves.format(["sleep", "65432"])),
        "check(reinforce)",
    )
    assert examine_notebook(path).points > 0
    lines = [entry.read_bytes() for entry in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [line for line in lines if line == b"sleep\00065432\0"]


def test_the_course_itself_hides_no_module_of_the_course(tmp_path, root):
    assert not command._hides(root / "autograder")
    (tmp_path / "autograder").mkdir()
    (tmp_path / "autograder" / "__init__.py").touch()
    assert command._hides(tmp_path / "autograder")


def test_the_homework_is_told_by_its_cells_before_its_name(tmp_path):
    path = notebook(tmp_path / "hw1.ipynb", "kl = 1", "x = 1", grade_ids=["answer_kl", "kl"])
    assert examine_notebook(path).homework == "hw2"


def test_unwritten_words_are_mentioned(tmp_path):
    cell = nbformat.v4.new_markdown_cell("YOUR ANSWER HERE")
    cell.metadata["nbgrader"] = {"grade_id": "written_wrong_derivative"}
    path = tmp_path / "hw1.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    assert examine_notebook(path).unwritten == ["wrong_derivative"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.ipynb", None, "There is no file"),
        (
            "essay.ipynb",
            "not a notebook",
            "cannot be checked. Your file is not a notebook",
        ),
        ("list.ipynb", "[1, 2]", "cannot be checked. Your file is not a notebook"),
        ("odd.ipynb", '{"cells": [{"source": 5}]}', "is not a Jupyter notebook"),
        ("binary.ipynb", b"%PDF-1.7", "cannot be checked. Your file is a PDF"),
        ("empty.ipynb", '{"cells": []}', "holds no question of hw1 or "),
    ],
)
def test_a_wrong_call_is_told_in_a_sentence(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = runner.invoke(command.app, ["check", str(path)])
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    with pytest.raises(CannotCheck):
        examine_notebook(path)


def test_modules_that_grading_does_not_have_are_told_and_cost_nothing_by_themselves(tmp_path):
    (tmp_path / "no_such_module.py").write_text("import yet_another\n")
    path = notebook(tmp_path / "hw1.ipynb", "import no_such_module, nor_such\n" + answers("hw1"))
    found = runner.invoke(command.app, ["check", str(path)])
    assert found.exit_code == 0, found.output
    shown = " ".join(found.stdout.split())
    assert "Code cell 1 (import no_such_module, nor_such) stopped: ModuleNotFoundError" in shown
    for name in ("nor_such", "yet_another"):
        assert f"Grading does not have {name}, which code cell 1 imports: what needs" in shown
    data = json.loads(runner.invoke(command.app, ["check", str(path), "--json"]).stdout)
    assert data["not_there"] == {"nor_such": [1], "yet_another": [1]}
    assert data["hiding"] == []


def test_pictures_that_a_text_shows_and_that_do_not_lie_there_are_told(tmp_path):
    (tmp_path / "there.png").write_bytes(b"")
    path = notebook(tmp_path / "hw1.ipynb", answers("hw1"))
    whole = json.loads(path.read_text())
    elsewhere = "![c](https://example.org/c.png) ![d](attachment:d.png)"
    text = f"![a](there.png) ![b](not%20there.png) {elsewhere}"
    whole["cells"].append({"cell_type": "markdown", "metadata": {}, "source": text})
    path.write_text(json.dumps(whole))
    found = runner.invoke(command.app, ["check", str(path)])
    shown = " ".join(found.stdout.split())
    assert "not%20there.png is to be handed in with the notebook, and does not lie" in shown
    data = json.loads(runner.invoke(command.app, ["check", str(path), "--json"]).stdout)
    assert data["lacking"] == ["not%20there.png"]


def test_cells_that_train_are_not_run_and_a_function_in_one_is_told_so(tmp_path):
    training = "# Training: takes hours\nraise SystemExit\n"
    path = notebook(tmp_path / "hw1.ipynb", answers("hw1"), training)
    report = examine_notebook(path)
    assert report.points == report.max_points
    assert report.failed_cells == {}
    functions = [f"def {one.name}(*given): return 0\n" for one in HOMEWORKS["hw1"]]
    path = notebook(tmp_path / "hw1.ipynb", training + "".join(functions))
    verdicts = examine_notebook(path).verdicts
    assert all("begins with the comment `# Training`" in v.sentence for v in verdicts)


def test_a_folder_is_no_notebook(tmp_path):
    result = runner.invoke(command.app, ["check", str(tmp_path)])
    assert result.exit_code == 2
    assert "is not a Jupyter notebook" in result.stderr


def test_the_student_side_imports_only_what_students_have():
    code = (
        "import sys, autograder.student.command\n"
        "print(*(m for m in sys.modules if m.startswith(('autograder.', 'course_lib'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = done.stdout.split()
    assert "autograder.student.probe" in found
    assert not [
        m
        for m in found
        if m not in ("autograder.student", "course_lib")
        and not is_allowed(m.replace(".", "/") + ".py")
    ]
