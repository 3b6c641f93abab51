"""The checks are tested themselves: every known mistake loses and is named, right ways win."""

import dataclasses
import functools
import json
import re

import numpy as np
import pytest
import torch

from autograder import questions
from autograder.questions import homeworks
from autograder.questions.check import compile_exam
from autograder.student import probe, wire
from autograder.student.exam import Close, Exam, KnownWrong, judge
from autograder.student.run import read_answers

HOMEWORKS = homeworks()

CHECKS = [check for homework in HOMEWORKS.values() for check in homework]
# The public cases alone, and with hidden ones after them; other hidden ones in the slow suite.
SEEDS = (pytest.param(None, marks=pytest.mark.slow), 0, pytest.param(1, marks=pytest.mark.slow))
# What agents earn takes minutes to tell; the made-up class hands in some in the quick suite, too.
by_check = pytest.mark.parametrize(
    "check",
    [pytest.param(c, id=c.name, marks=[pytest.mark.slow] if c.measure else []) for c in CHECKS],
)
by_seed = pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed {seed}")


@functools.cache
def exam_of(name, seed):
    check = next(check for check in CHECKS if check.name == name)
    exam = compile_exam(check, None if seed is None else np.random.default_rng(seed))
    return dataclasses.replace(exam, known_wrong=tuple(exam.known_wrong))


def sit(exam, function):
    """The verdict on a function, by way of all that crosses the line to a student's process."""
    cases = [wire.decode(json.loads(json.dumps(wire.encode(case)))) for case in exam.cases]
    answers = probe.answer(function, exam.check, exam.recipe, cases)
    return judge(exam, exam.measured(read_answers(json.loads(json.dumps(answers)))))


@by_seed
@by_check
def test_the_reference_and_right_answers_by_other_means_get_full_marks(check, seed):
    exam = exam_of(check.name, seed)
    for function in (check.reference, *check.accepted):
        verdict = sit(exam, function)
        assert verdict.outcome == "right", f"{function.__name__}: {verdict.sentence}"
        assert verdict.points == verdict.max_points == check.points


@by_seed
@by_check
def test_known_mistakes_lose_the_points_and_are_named(check, seed):
    exam = exam_of(check.name, seed)
    for mistake in check.misconceptions:
        verdict = sit(exam, mistake.function)
        assert (verdict.outcome, verdict.mistake) == ("known mistake", mistake.name)
        assert (verdict.sentence, verdict.see) == (mistake.hint, mistake.see)
        assert verdict.points <= check.points - 0.25  # which parts it loses: test_parts.py


@by_check
def test_no_two_known_mistakes_answer_alike(check):
    exam = exam_of(check.name, None)
    tables = [exam.expected, *(wrong.observations for wrong in exam.known_wrong)]
    for i, one in enumerate(tables):
        for other in tables[i + 1 :]:
            assert any(
                a.keys() != b.keys() or not all(exam.tolerance.agrees(a[k], b[k]) for k in a)
                for a, b in zip(one, other, strict=True)
            )


@by_check
def test_a_check_knows_mistakes_and_other_right_ways(check):
    names = [mistake.name for mistake in check.misconceptions]
    assert len(names) >= 2
    assert len(set(names)) == len(names)
    assert check.accepted
    assert check.points > 0
    for mistake in check.misconceptions:
        lecture, _, claim = mistake.see.partition("#")
        assert lecture[:2].isdigit()
        assert claim[0] in "CG"
        assert 1 <= len(re.findall(r"[.?](?=\s|\)|$)", mistake.hint)) <= 2, mistake.hint
        assert mistake.hint.endswith((".", "?")), mistake.hint


@by_check
def test_the_recipe_stands_alone_and_holds_no_secret(check):
    exam = exam_of(check.name, None)
    answers = read_answers(
        probe.answer(check.reference, check.name, check.recipe_source, exam.cases)
    )
    assert set(exam.measured(answers)[0]) == set(exam.expected[0])
    for word in ("reference", "autograder", "checks", "hidden", "mistake", "misconception"):
        assert word not in check.recipe_source


def test_what_a_mistake_answers_is_whole_again_after_json():
    """It travels as what differs from the right answer: other numbers, fewer or more of them."""
    exam = exam_of("gae", 0)
    tables = [dict(table) for table in exam.expected]
    name = next(iter(tables[0]))
    del tables[0][name]
    tables[1][name] = tables[1][name] + 1
    tables[2]["another"] = np.array([1.0, np.nan])
    wrong = KnownWrong("strange", "Why?", "00#C00", tuple(tables))
    data = json.loads(json.dumps(dataclasses.replace(exam, known_wrong=(wrong,)).to_json()))
    assert [len(table) for table in data["known_wrong"][0]["observations"][:3]] == [1, 1, 1]
    [again] = Exam.from_json(data).known_wrong
    for back, table in zip(again.observations, tables, strict=True):
        assert back.keys() == table.keys()
        assert all(np.array_equal(back[n], table[n], equal_nan=True) for n in table if n != name)
    assert np.array_equal(again.observations[1][name], tables[1][name])


@by_check
def test_exams_survive_json(check):
    exam = exam_of(check.name, 0)
    again = Exam.from_json(json.loads(json.dumps(exam.to_json())))
    assert json.dumps(again.to_json()) == json.dumps(exam.to_json())
    assert sit(again, check.reference).outcome == "right"
    wrong = check.misconceptions[-1]
    assert sit(again, wrong.function).mistake == wrong.name


@by_check
def test_hidden_cases_come_from_the_seed_and_differ(check):
    def drawn(seed):
        exam = exam_of(check.name, seed)
        return [wire.encode(case) for case in exam.cases[exam.public :]]

    again = compile_exam(check, np.random.default_rng(0))
    assert [wire.encode(case) for case in again.cases[again.public :]] == drawn(0)
    assert len(drawn(0)) >= (1 if check.measure else 2)
    assert drawn(0) != drawn(1)
    shapes = {tuple(tuple(a["shape"]) for a in case.values()) for case in drawn(0) + drawn(1)}
    single = all(not shape for case in shapes for shape in case)  # numbers alone have no size
    assert len(shapes) > 1 or single, "hidden cases should vary in size"


@by_check
def test_public_answers_by_heart_fail_on_hidden_cases(check):
    """Whoever knows the public answers by heart gets them right, and nothing else."""
    public, full = exam_of(check.name, None), exam_of(check.name, 0)
    known = read_answers(
        probe.answer(check.reference, check.name, check.recipe_source, public.cases)
    )
    assert judge(public, public.measured(known)).outcome == "right"
    by_heart = known + [known[0]] * (len(full.cases) - public.public)
    verdict = judge(full, full.measured(by_heart))
    assert verdict.outcome in ("wrong", "not numbers")
    assert verdict.points == 0


def _zeros(*arguments):
    tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
    return torch.zeros_like(tensors[0])


GENERIC = {
    "zeros": _zeros,
    "a scalar zero": lambda *a: torch.zeros((), dtype=torch.float64),
    "none": lambda *a: None,
    "a list": lambda *a: [1.0, 2.0],
    "a ragged list": lambda *a: [[1.0], [1.0, 2.0]],
    "a string": lambda *a: "1.5",
    "an object": lambda *a: object(),
    "its first tensor": lambda *a: next(x for x in a if isinstance(x, torch.Tensor)),
    "wrong shape": lambda *a: torch.ones(3, 1, 2, dtype=torch.float64),
    "nan": lambda *a: _zeros(*a) + float("nan"),
    "inf": lambda *a: _zeros(*a) + float("inf"),
    "complex": lambda *a: _zeros(*a) + 1j,
    "an integer": lambda *a: 3,
    "a tuple of tensors": lambda *a: (_zeros(*a), _zeros(*a)),
    "far too much": lambda *a: torch.zeros(200_000),
    "raises": lambda *a: 1 / 0,
    "exits": lambda *a: exit(),
    "too few arguments": lambda x: x,
}


@pytest.mark.parametrize("what", GENERIC)
@by_check
def test_answers_of_no_kind_lose_with_a_sentence(check, what):
    verdict = sit(exam_of(check.name, None), GENERIC[what])
    assert verdict.points == 0
    assert verdict.outcome in ("wrong", "known mistake", "raised", "not numbers")
    assert verdict.sentence.rstrip().endswith((".", "?", ")"))
    assert len(verdict.sentence) < 500


@by_check
def test_an_unwritten_stub_is_told_apart(check):
    def stub(*arguments):
        raise NotImplementedError(f"{check.name}: your code here")

    verdict = sit(exam_of(check.name, 0), stub)
    assert (verdict.outcome, verdict.points) == ("unwritten", 0)
    assert sit(exam_of(check.name, 0), None).outcome == "missing"


def _spoilt(answer):
    if isinstance(answer, dict):
        return {name: _spoilt(each) for name, each in answer.items()}
    return tuple(map(_spoilt, answer)) if isinstance(answer, tuple) else answer + float("nan")


@by_check
def test_a_reference_that_answers_nan_does_not_compile(check):
    if check.name == "culprit":
        pytest.skip("its answers are words, which are never nan")
    broken = dataclasses.replace(check, reference=lambda *a: _spoilt(check.reference(*a)))
    with pytest.raises(ValueError, match="nan"):
        compile_exam(broken)


EDGES = (0.0, -1.0, 1.0, 1.00019, 1.00021, 2e-5, 2.1e-5, np.nan, np.inf, -np.inf, 1e300, 1.0011)


@pytest.mark.parametrize("single", [False, True])
def test_numbers_agree_where_numpy_says_that_they_are_close(single):
    close = Close()
    dtype = np.float32 if single else np.float64
    with np.errstate(over="ignore"):
        came = [np.array(number).astype(dtype) for number in EDGES]
    tolerance = {"rtol": close.single_rtol if single else close.rtol, "atol": close.atol}
    for want in map(np.array, EDGES):
        for got in came:
            alone = bool(np.allclose(got, want, **tolerance, equal_nan=True))
            assert close.agrees(want, got) is alone
            assert close.agrees(np.array([1.0, want]), np.array([1, got], dtype)) is alone
    assert close.agrees(np.zeros(0), np.zeros(0, dtype))


def test_an_unknown_homework_is_refused_naming_what_there_is():
    with pytest.raises(ValueError, match=r"hw9.*hw1, hw2"):
        questions.checks_of("hw9")


def test_checks_know_their_homework_and_names_are_unique_over_all():
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    for homework, members in HOMEWORKS.items():
        assert all(check.homework == homework for check in members)
        assert all(check.points > 0 for check in members)
