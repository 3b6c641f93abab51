"""The questions of every homework, one file each. Private: it holds cases, answers and mistakes."""

from __future__ import annotations

from typing import NamedTuple

from autograder.questions.check import Check
from autograder.questions.hw1.baseline_loss import CHECK as BASELINE_LOSS
from autograder.questions.hw1.reinforce import CHECK as REINFORCE
from autograder.questions.hw1.reinforce_1 import CHECK as REINFORCE_1
from autograder.questions.hw1.reinforce_2 import CHECK as REINFORCE_2
from autograder.questions.hw1.returns_to_go import CHECK as RETURNS_TO_GO
from autograder.questions.hw2.clipped_surrogate import CHECK as CLIPPED_SURROGATE
from autograder.questions.hw2.conjugate_gradient import CHECK as CONJUGATE_GRADIENT
from autograder.questions.hw2.fisher_vector_product import CHECK as FISHER_VECTOR_PRODUCT
from autograder.questions.hw2.gae import CHECK as GAE
from autograder.questions.hw2.kl import CHECK as KL
from autograder.questions.hw2.line_search import CHECK as LINE_SEARCH
from autograder.questions.hw2.ppo_update import CHECK as PPO_UPDATE
from autograder.questions.hw2.surrogate import CHECK as SURROGATE

HOMEWORKS: dict[str, tuple[Check, ...]] = {
    "hw1": (RETURNS_TO_GO, REINFORCE_1, REINFORCE_2, BASELINE_LOSS, REINFORCE),
    "hw2": (
        SURROGATE,
        KL,
        FISHER_VECTOR_PRODUCT,
        CONJUGATE_GRADIENT,
        LINE_SEARCH,
        GAE,
        CLIPPED_SURROGATE,
        PPO_UPDATE,
    ),
}


class Row(NamedTuple):
    """A line of the table of checks."""

    homework: str
    check: str
    title: str
    points: int
    misconceptions: tuple[str, ...]


def checks_of(homework: str) -> tuple[Check, ...]:
    """The checks of a homework, in order. Raises ValueError naming what there is."""
    if homework not in HOMEWORKS:
        raise ValueError(f"there is no homework {homework!r}: there are {', '.join(HOMEWORKS)}")
    return HOMEWORKS[homework]


def find(homework: str, name: str) -> Check:
    """The check of that name. Raises ValueError naming what there is."""
    for check in checks_of(homework):
        if check.name == name:
            return check
    names = ", ".join(check.name for check in checks_of(homework))
    raise ValueError(f"{homework} has no check {name!r}: it has {names}")


def rows() -> list[Row]:
    """Every check of every homework, in order, for the table that `course checks` prints."""
    return [
        Row(homework, check.name, check.title, check.points, names)
        for homework, checks in HOMEWORKS.items()
        for check in checks
        for names in [tuple(mistake.name for mistake in check.misconceptions)]
    ]
