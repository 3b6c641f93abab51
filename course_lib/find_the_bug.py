"""Recorded trainings of PPO on CartPole, some of them with something wrong: whose fault is it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from course_lib.recorded import recorded
from course_lib.term import numbers_of_term, term_of

Curves = Mapping[str, Sequence[float]]

SUSPECTS = (
    "nothing",
    "no clip",
    "fresh log-probs",
    "past the end",
    "wrong sign",
    "idle critic",
    "wrong targets",
    "huge steps",
    "too much entropy",
    "short sight",
    "mixed-up rows",
)
"""What a run may suffer from; the homework says what each of them means."""
EXAMPLES = (5, 15, 12, 41)
"""Runs that the homework works out, and some to practise on: they keep their numbers."""
PANELS = ("return", "kl", "clip_share", "entropy", "value_error")
"""What was written down after each update; `run_curves` says what each of them means."""


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = recorded("find_the_bug")
    return data


@cache
def _recordings() -> dict[int, int]:
    """Which recording each run is: a term has numbers of its own."""
    runs = sorted(map(int, _data()["runs"]))
    loose = [run for run in runs if run not in EXAMPLES]
    term = term_of()
    order = numbers_of_term(term, "find_the_bug").permutation(loose) if term else loose
    return {run: run for run in EXAMPLES} | dict(zip(loose, map(int, order), strict=True))


def recording_of(run: int) -> int:
    """Which recording a run is. Raises ValueError if there is no run of that number."""
    if run not in _recordings():
        raise ValueError(
            f"there is no run {run!r}: they are numbered from 1 to {len(_recordings())}"
        )
    return _recordings()[run]


def run_curves(run: int) -> Curves:
    """The curves of a run by its number, each a number for every update.

    return: mean over the episodes that ended since the update before. kl, clip_share: in the last
    pass over the batch, as the agent works them out from its ratios: mean of ratio - 1 - log ratio,
    and share of ratios outside the clip range. entropy: of the policy before the update, in nats,
    mean over the batch. value_error: mean square of target minus value before the update.
    Raises ValueError if there is no run of that number.
    """
    curves: Curves = _data()["runs"][str(recording_of(run))]
    return curves


def run_numbers() -> list[int]:
    """The numbers of all runs."""
    return sorted(_recordings())


def healthy_curves() -> list[Curves]:
    """The curves of a few runs in which nothing is wrong."""
    return list(_data()["healthy"])


def steps_of_updates() -> list[int]:
    """Environment steps that were taken by the end of each update."""
    return list(_data()["steps"])


def suspect(name: object) -> str:
    """The suspect that is meant. Raises ValueError with all names if it is none of them."""
    if isinstance(name, str):
        spelled = {_plain(one): one for one in SUSPECTS}
        if _plain(name) in spelled:
            return spelled[_plain(name)]
    said = f"something of type {type(name).__name__}"
    if name is None:
        said = "None (is a return missing?)"
    elif isinstance(name, str) and len(name) < 40:
        said = repr(name)
    raise ValueError(f"{said} is no suspect; the names are {', '.join(map(repr, SUSPECTS))}")


def _plain(name: str) -> str:
    """A name without capitals and hyphens, which nobody has to get right."""
    return " ".join(name.casefold().replace("-", " ").replace("_", " ").split())
