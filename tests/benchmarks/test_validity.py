"""What measures the grader: departures are of one place each, and the counts are of what was."""

import inspect
from dataclasses import replace

import numpy as np
import pytest

from autograder.questions import homeworks
from course_lib.reference.answers.surrogate import surrogate

SCRIPT = "validity"
BY_NAME = {check.name: check for checks in homeworks().values() for check in checks}
WHOLE = BY_NAME["surrogate"]
CHECK = replace(WHOLE, misconceptions=WHOLE.misconceptions[:6])
rng = np.random.default_rng


def test_each_mutant_departs_in_one_place(script):
    right = [line.strip() for line in inspect.getsource(surrogate).splitlines()]
    lines = [mutant.what for mutant in script.mutants(surrogate)]
    assert len(lines) == len(set(lines)) > 8
    assert not set(lines) & set(right)
    assert "return terms.sum()" in lines
    assert "old = old_log_probs" in lines
    assert "terms = ratio" in lines
    assert not [line for line in lines if line.startswith("validate.")]


def test_a_question_is_counted_as_it_is(script):
    row = script.measure(CHECK, seeds=2, mistake_seeds=1, pair_seeds=1)
    assert row["sittings"] == 2 * row["right"] == 8
    assert (row["lost"], row["passed"], row["misnamed"]) == (0, 0, 0)
    assert row["killed"] == sum(row["told"].values()) == row["mutants"] - len(row["alive"])
    assert row["alive"] == []
    assert row["with 1e-08"] == 2
    assert row["lost by 1e-08"] == 0
    kinds = ("passed", "both", "other", "words", "bare")
    assert row["pairs"] == sum(row[f"pairs {kind}"] for kind in kinds) == 12
    assert row["pairs passed"] == 0
    text = script.page({"surrogate": row}, 2, 1, 1)
    assert "lost their mark in **0 of 8** sittings (2 secrets each; where none is lost" in text
    assert "below 3 in 8 over all answers, with 95 % confidence)" in text


def test_what_is_left_out_as_right_is_there_to_be_left_out(script):
    for name, what in script.EQUIVALENT:
        assert what in {mutant.what for mutant in script.mutants(BY_NAME[name].reference)}


def test_a_grader_that_passes_everything_is_found_out(script, monkeypatch: pytest.MonkeyPatch):
    right = script.sit(script.exam_of(CHECK, 0), surrogate)
    monkeypatch.setattr(script, "sit", lambda exam, function: right)
    row = script.measure(CHECK, seeds=1, mistake_seeds=1, pair_seeds=1)
    assert row["passed"] == row["mistakes"]
    assert row["pairs passed"] == row["pairs"] > 0
    assert row["killed"] == 0


def test_a_guard_costs_nothing(script):
    for name, function in script.guarded(1e-8).items():
        for seed in range(20):
            verdict = script.sit(script.compile_exam(BY_NAME[name], rng(seed)), function)
            assert verdict.outcome == "right", (name, seed, verdict.sentence)
