"""Recorded runs for the homework are read by number, and tell nothing but their curves."""

import re

import pytest

from course_lib.find_the_bug import (
    PANELS,
    SUSPECTS,
    healthy_curves,
    run_curves,
    run_numbers,
    steps_of_updates,
    suspect,
)
from course_lib.recorded import FOLDER

TEXT = (FOLDER / "find_the_bug.json").read_text(encoding="utf-8")


def test_every_run_has_a_number_for_each_panel_and_update() -> None:
    steps = steps_of_updates()
    assert 20 <= len(steps) <= 60
    assert run_numbers() == list(range(1, len(run_numbers()) + 1))
    assert len(healthy_curves()) >= 2
    for curves in [*map(run_curves, run_numbers()), *healthy_curves()]:
        assert tuple(curves) == PANELS
        assert all(len(curve) == len(steps) for curve in curves.values())


def test_the_file_is_small_and_names_no_suspect_and_no_seed() -> None:
    assert len(TEXT) < 150_000
    for word in (*SUSPECTS, "seed"):
        assert word not in TEXT


def test_an_unknown_run_is_refused_saying_which_there_are() -> None:
    with pytest.raises(ValueError, match=rf"no run 0: .* from 1 to {len(run_numbers())}"):
        run_curves(0)


def test_a_suspect_is_known_however_it_is_spelled() -> None:
    for name in SUSPECTS:
        for spelled in (name, name.upper(), f" {name} ", name.replace(" ", "_")):
            assert suspect(spelled) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no clap", "'no clap'"),
        (None, "None (is a return missing?)"),
        (3, "something of type int"),
        ("x" * 500, "something of type str"),
    ],
)
def test_what_is_no_suspect_is_refused_with_all_names(name: object, said: str) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"{said} is no suspect; the names are 'nothing'")
    ) as told:
        suspect(name)
    assert all(repr(each) in str(told.value) for each in SUSPECTS)
    assert len(str(told.value)) < 280  # what a check shows of an error
