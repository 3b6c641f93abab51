"""hw3: which mistake each of a student's own recorded runs carries.

Which runs are a student's is drawn as all hidden cases are; `course draw hw3` tells them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from autograder.questions.check import Case, Check, Function, Misconception, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays
from course_lib.find_the_bug import EXAMPLES, SUSPECTS, run_numbers
from course_lib.reference.answers.culprit import culprit

PLACES = ("first run", "second run", "third run", "fourth run")


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    from course_lib.find_the_bug import SUSPECTS, suspect

    named = suspect(function(int(case["run"])))
    return {name: int(name == named) for name in SUSPECTS}


def runs_of(name: str) -> list[int]:
    """The runs that suffer from it and are no examples."""
    return [run for run in run_numbers() if culprit(run) == name and run not in EXAMPLES]


DRAWN = tuple(name for name in SUSPECTS if runs_of(name))


def public_cases() -> list[Case]:
    return [{"run": run, "place": place} for place, run in enumerate(EXAMPLES)]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    names = rng.permutation(np.array(DRAWN))[: len(PLACES)]
    runs = [int(rng.choice(runs_of(str(name)))) for name in names]
    return [{"run": run, "place": place} for place, run in enumerate(runs)]


# Other right ways.

ANSWERS = {run: culprit(run) for run in run_numbers()}


def with_a_dictionary(run: int) -> str:
    return ANSWERS[run]


def with_a_list(run: int) -> str:
    return list(ANSWERS.values())[run - 1]


def in_capitals(run: int) -> str:
    return ANSWERS[run].title() + " "


def by_position(run: int) -> str:
    positions = [SUSPECTS.index(name) for name in ANSWERS.values()]
    return np.array(SUSPECTS)[positions][run - 1]  # type: ignore[no-any-return]


# What students answer instead.


def of_the_next(run: int) -> str:
    """What the next run suffers from that suffers from something else."""
    others = (culprit((run - 1 + k) % len(ANSWERS) + 1) for k in range(1, len(ANSWERS)))
    return next(name for name in others if name != culprit(run))


def of_the_one_before(run: int) -> str:
    others = (culprit((run - 1 - k) % len(ANSWERS) + 1) for k in range(1, len(ANSWERS)))
    return next(name for name in others if name != culprit(run))


def next_in_the_list(run: int) -> str:
    return SUSPECTS[(SUSPECTS.index(culprit(run)) + 1) % len(SUSPECTS)]


def before_in_the_list(run: int) -> str:
    return SUSPECTS[SUSPECTS.index(culprit(run)) - 1]


def takes_for(run: int, other: str, name: str) -> str:
    """Right, but that one culprit is taken for another."""
    right = culprit(run)
    return name if right == other and run not in EXAMPLES else right


def says_of_all(run: int, name: str) -> str:
    return culprit(run) if run in EXAMPLES else name


slip = partial(slip_of, culprit, see="07_ppo#C69")

# What a run must show to be called so: said where another was.
SHOWS = {
    "nothing": "Lay each of its panels beside the healthy runs, value error and KL first, and from "
    "the first update on: where does it leave them?",
    "no clip": "Where nothing holds the ratios, KL and clip share are many times the healthy ones "
    "from the first batch on, and stay so.",
    "fresh log-probs": "An agent that takes fresh log-probs for old ones finds every ratio to be "
    "exactly 1, whatever it does: what would its own KL and clip share then be?",
    "past the end": "Who counts a value after the fall learns that all states are worth the same: "
    "the value error shrinks to next to nothing, also where the return does not reach 500.",
    "idle critic": "A critic that is never trained is as wrong as it was, and more so as returns "
    "grow: its error never comes down.",
    "wrong targets": "A critic that is trained on the advantages chases what changes with it: its "
    "error drops at once and then stays where it is, above the healthy runs late in training.",
    "huge steps": "Too large a learning rate moves everything too far: KL, clip share and entropy, "
    "but with the clip at work the first batches do not run away.",
    "short sight": "A small discount makes small returns to predict: the value error is small from "
    "the very first update on.",
    "mixed-up rows": "With the advantages of other steps the policy has nothing to learn from, "
    "while the critic learns: return and entropy stay about where they began.",
}


def confusions() -> Iterator[Misconception]:
    """One culprit taken for another, and one named throughout.

    They are named for what was said, not for what is right, since students read it.
    """
    for name in DRAWN:
        for other in DRAWN:
            if other != name:
                yield slip(
                    f"says {name!r} where it is not",
                    f"One of your runs is not {name!r}, and all others are right. {SHOWS[name]}",
                    function=partial(takes_for, other=other, name=name),
                )
        yield slip(
            f"says {name!r} of all four",
            f"You said {name!r} of each of your four runs. They suffer from four different things, "
            "one of which may be nothing.",
            function=partial(says_of_all, name=name),
        )


CHECK = Check(
    title="Find the bug",
    reference=culprit,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    told="run",
    beyond="is right on the examples and wrong on some of your own runs. Compare them with the "
    "healthy ones panel by panel, and ask of each name what it would make of that panel.",
    misconceptions=(
        slip(
            "answers of the next run",
            "Each run has the answer that belongs to the next one with another. Do the names stand "
            "at the numbers that you were sent?",
            function=of_the_next,
        ),
        slip(
            "answers of the run before",
            "Each run has the answer that belongs to one before it. Do the names stand at the "
            "numbers that you were sent?",
            function=of_the_one_before,
        ),
        slip(
            "one name further in the list",
            "Each name is the one that follows the right one in the list. Are positions counted "
            "from 0, and did you count from 1?",
            function=next_in_the_list,
        ),
        slip(
            "one name back in the list",
            "Each name is the one ahead of the right one in the list. Did you count positions from "
            "1, where Python counts from 0?",
            function=before_in_the_list,
        ),
    ),
    elsewhere=tuple(confusions()),
    parts=tuple(
        Property(name, cases=lambda case, place=place: case["place"] == place)  # type: ignore[misc]
        for place, name in enumerate(PLACES)
    ),
    accepted=(with_a_dictionary, with_a_list, in_capitals, by_position),
)
