"""The script behind "find the bug" makes the mistakes that it names, and they can be told apart."""

from dataclasses import replace
from itertools import pairwise
from types import ModuleType

import torch

from course_lib.find_the_bug import (
    PANELS,
    SUSPECTS,
    healthy_curves,
    run_curves,
    run_numbers,
    steps_of_updates,
)
from course_lib.reference.agents.ppo import train_ppo
from course_lib.reference.answers.culprit import culprit

SCRIPT = "find_the_bug"
SMALL = {"envs": 16, "rollout_steps": 32, "epochs": 10, "total_steps": 1024}


def test_without_a_mistake_it_is_the_courses_agent(script: ModuleType) -> None:
    config = replace(script.UNCHANGED, **SMALL)
    seen = script.train(script.Kind(config), 0)
    generator = torch.Generator().manual_seed(0)
    _, history = train_ppo(script.ENVIRONMENT, config, generator=generator)
    wanted = [script.rounded(value) for value in script.mean_returns(history)]
    assert seen["return"] == wanted
    assert tuple(seen) == PANELS


def test_every_mistake_changes_the_curves(script: ModuleType) -> None:
    known = {
        name: script.train(replace(kind, config=replace(kind.config, **SMALL)), 0)
        for name, kind in script.kinds().items()
    }
    assert tuple(known) == SUSPECTS
    for name, seen in known.items():
        assert seen != known["nothing"] or name == "nothing", name


def test_fresh_log_probs_leave_no_distance(
    script: ModuleType,
) -> None:
    fresh = replace(script.kinds()["fresh log-probs"], config=replace(script.UNCHANGED, **SMALL))
    seen = script.train(fresh, 1)
    assert set(seen["kl"]) == set(seen["clip_share"]) == {0.0}


def test_past_the_end_the_next_value_counts(script: ModuleType) -> None:
    one, flag = torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool)
    inputs = (one, 2 * one, 4 * one, flag, ~flag, 0.5, 1.0)
    assert script.gae(*inputs).item() == -1  # 1 - 2
    assert script.past_the_end(*inputs).item() == 1  # 1 + 0.5 * 4 - 2


def test_the_recording_and_the_table_are_of_the_same_numbering(script: ModuleType) -> None:
    order = script.numbering(5)
    assert run_numbers() == list(range(1, len(order) + 1))
    assert [culprit(run) for run in run_numbers()] == [name for name, _ in order]
    assert len(steps_of_updates()) * 2048 == steps_of_updates()[-1] == script.UNCHANGED.total_steps
    seeds = [seed for _, seed in order]
    assert len(set(seeds)) == len(seeds)  # equal first points would tell who belongs together


def test_a_simple_reader_tells_the_runs_apart(script: ModuleType) -> None:
    runs = [*map(run_curves, run_numbers()), *healthy_curves()]
    labels = [*map(culprit, run_numbers()), *["nothing"] * len(healthy_curves())]
    pairs = list(zip(labels, script.told(runs, labels), strict=True))
    judged = [said == right for right, said in pairs if right not in script.WORKED]
    assert len(judged) >= 45
    assert sum(judged) >= script.TOLD_RIGHT * len(judged)


def test_neither_a_number_nor_its_neighbour_tells_the_mistake(script: ModuleType) -> None:
    labels = [name for name, _ in script.numbering(5) if name not in script.WORKED]
    alike = sum(one == other for one, other in pairwise(labels))
    assert alike <= 9  # 4 of 44 are to be expected of a fair shuffle
