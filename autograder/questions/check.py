"""A check: how a student's function is called, what is right, and what known mistakes answer.

Everything else follows from running one recipe on three kinds of function: the reference, each
known mistake, and the student's.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autograder.project import ROOT
from autograder.student import wire
from autograder.student.exam import (
    MEAN_RETURN,
    Close,
    Exam,
    Failure,
    KnownWrong,
    Part,
    measured,
)
from autograder.student.recipes import files_asked, load
from autograder.student.wire import Arrays
from course_lib.agents import Weights, load_agent
from course_lib.term import numbers_of_term

Function = Callable[..., Any]
Case = dict[str, Any]
Recipe = Callable[[Function, Arrays], dict[str, Any]]
Measure = Callable[[Arrays, Arrays], dict[str, Any]]
Edits = tuple[tuple[str, str], ...]
FLAGS_PART = "leaves nothing behind"  # in an argument, a graph or another call
HANDED_IN = ROOT / "course_lib" / "reference" / "handed_in"  # files, as right answers have them


@dataclass(frozen=True)
class Misconception:
    """A mistake students really make: a wrong function, often made from the right one by edits.

    name: a few words, unique within its check, shown in tables ("ignores gamma").
    function: does what the student would have written.
    hint: one or two sentences to the student: what was done, and what to think about.
    see: where it is cleared up, "<lecture stem>#<claim id>" such as "02_policy_gradient#C23".
    edits: of the reference (`slip_of`); none if the function was written whole.
    any_size: it adds something, and is the same mistake if it adds any positive multiple of that.
    """

    name: str
    function: Function
    hint: str
    see: str
    edits: Edits = ()
    any_size: bool = False

    @property
    def source(self) -> str:
        """The whole function as text, without the imports it needs."""
        return textwrap.dedent(inspect.getsource(self.function))


@dataclass(frozen=True)
class Property:
    """A part of a question that earns points of its own: it is there if all that shows it is right.

    name: a few words to the student, such as "A < 0". share: of the points, beside other shares.
    cases: whether a case shows it, by its arguments; if not given, each does. observations: what
    shows it there; if none are named, all numbers. beside: it counts only beside another one, since
    an answer that is wrong throughout may have it too.
    """

    name: str
    share: int = 1
    cases: Callable[[Arrays], Any] = lambda case: True
    observations: tuple[str, ...] = ()
    beside: bool = False


@dataclass(frozen=True)
class Check:
    """One question of a homework.

    title: a few words for tables.
    reference: the right function, from `course_lib.reference.answers`; its name is the check's.
    recipe: recipe(function, case) -> named observations. Runs in the student's process: it holds no
        secret, and its source stands alone (`torch`, `np`, `frozen`, `same_again`, `untouched` and
        its own imports). It calls the function once more at the end: nothing may be left behind.
        handed_in("name.npz") gives it the numbers in a file beside the notebook.
    measure: measure(case, observations) -> what of them counts, such as the return that the
        actions earn; worked out by whoever judges. Its source stands alone, too. What it calls
        "mean_return" is told and not judged.
    public_cases: fixed inputs, printed in the handout. hidden_cases: drawn anew for a submission.
    misconceptions: known mistakes, the most specific first. accepted: right answers by other means.
    elsewhere: known mistakes that only show on some hidden cases: public ones cannot tell them.
    beyond: what is said, after the function's name, where public cases are right and others are
        not; "" says that it leans on their length, sign or size.
    told: the argument of hidden cases that students are told beforehand (`course draw`), or "".
    parts: what points are given for; one more of share 1, FLAGS_PART, takes the flags if there are
        any. Without any parts, the points are all or nothing.
    homework, points: "hw1" and how many; they stand in the homework's source.
    term, draw: whose public cases these are, and which try at drawing them; "" for those of the
        file. A term's are the first of them, which the text works out by hand, and others drawn.
    """

    title: str
    reference: Function
    recipe: Recipe
    public_cases: Callable[[], list[Case]]
    hidden_cases: Callable[[np.random.Generator], list[Case]]
    misconceptions: tuple[Misconception, ...]
    accepted: tuple[Function, ...] = ()
    parts: tuple[Property, ...] = ()
    tolerance: Close = field(default_factory=Close)
    measure: Measure | None = None
    elsewhere: tuple[Misconception, ...] = ()
    beyond: str = ""
    told: str = ""
    homework: str = ""
    points: int = 0
    term: str = ""
    draw: int = 0

    @property
    def name(self) -> str:
        """The name of the function that is asked for."""
        return self.reference.__name__

    @functools.cached_property
    def recipe_source(self) -> str:
        """The recipe as text, the form in which it reaches a student's process."""
        return textwrap.dedent(inspect.getsource(self.recipe))

    @functools.cached_property
    def measure_source(self) -> str:
        """The measure as text, "" if there is none."""
        return textwrap.dedent(inspect.getsource(self.measure)) if self.measure else ""

    @functools.cached_property
    def files(self) -> tuple[str, ...]:
        """Names of the files that the recipe asks for, and that are handed in beside a notebook."""
        return tuple(files_asked(self.recipe_source))


def observe(check: Check, function: Function, cases: Sequence[Arrays]) -> tuple[Arrays, ...]:
    """Run the recipe on a trusted function, just as the probe does on a student's."""
    return _observe(check, _recipe(check.recipe_source), function, cases)


def observe_once(check: Check, function: Function, cases: Sequence[Arrays]) -> tuple[Arrays, ...]:
    """As `observe`, in half the time where nobody asks whether a second call gives the same."""
    return _observe(check, _recipe_once(check.recipe_source), function, cases)


def _observe(
    check: Check, recipe: Recipe, function: Function, cases: Sequence[Arrays]
) -> tuple[Arrays, ...]:
    tables = []
    for case in cases:
        table = wire.decode(wire.encode(recipe(function, {k: v.copy() for k, v in case.items()})))
        if check.measure:
            counts = measured(check.measure_source, case, table)
            if isinstance(counts, Failure):
                raise ValueError(counts.message)
            table = {name: count for name, count in counts.items() if name != MEAN_RETURN}
        tables.append(table)
    return tuple(tables)


@functools.cache
def _recipe(source: str) -> Recipe:
    """The recipe, given the course's own files where it asks for those handed in."""
    recipe = load(source, "recipe")
    recipe.__globals__["handed_in"] = _handed_in
    return recipe


@functools.cache
def _recipe_once(source: str) -> Recipe:
    """The same, made to believe that a second call gives the same."""
    recipe = load(source, "recipe")
    recipe.__globals__["handed_in"] = _handed_in
    recipe.__globals__["same_again"] = lambda call, first: True
    return recipe


def _handed_in(name: str) -> Weights:
    return load_agent(HANDED_IN / name)


def known_wrong(mistake: Misconception, observations: tuple[Arrays, ...]) -> KnownWrong:
    """A known mistake as what it answers."""
    return KnownWrong(mistake.name, mistake.hint, mistake.see, observations, mistake.any_size)


@dataclass(frozen=True)
class _KnownWrong:
    """What the known mistakes answer, worked out only if somebody looks: most answers are right."""

    check: Check
    cases: tuple[Arrays, ...]
    hidden: bool

    def __iter__(self) -> Iterator[KnownWrong]:
        for mistake in self.check.elsewhere if self.hidden else self.check.misconceptions:
            observations = observe(self.check, mistake.function, self.cases)
            yield known_wrong(mistake, observations)


def compile_exam(check: Check, rng: np.random.Generator | None = None) -> Exam:
    """The check in numbers: its public cases, and with `rng` hidden ones after them.

    Where something is measured, what is right is the same on all cases, as the proof makes sure.
    It takes long to work out, so there the hidden cases stand alone.
    """
    cases, expected = _public(check)
    public = len(cases)
    if rng is not None:
        hidden = _through_the_wire(check.hidden_cases(rng))
        if check.measure:
            cases, expected, public = hidden, expected[:1] * len(hidden), 0
        else:
            cases, expected = cases + hidden, expected + observe(check, check.reference, hidden)
    for number, table in enumerate(expected, start=1):
        if not all(np.isfinite(array).all() for array in table.values()):
            raise ValueError(
                f"the reference of {check.name} answers nan or inf in case {number}: change it"
            )
    return Exam(
        check=check.name,
        title=check.title,
        points=check.points,
        recipe=check.recipe_source,
        cases=cases,
        expected=expected,
        known_wrong=_KnownWrong(check, cases, hidden=False),
        tolerance=check.tolerance,
        public=public,
        parts=tuple(_parts(check, cases, expected)),
        measure=check.measure_source,
        elsewhere=_KnownWrong(check, cases, hidden=True) if rng is not None else (),
        beyond=check.beyond,
    )


def _parts(check: Check, cases: Sequence[Arrays], expected: Sequence[Arrays]) -> Iterator[Part]:
    """The parts of a check, with all that shows them on these cases."""
    if not check.parts:
        return
    flags = [tuple(n for n, array in table.items() if array.dtype == bool) for table in expected]
    shares = [*(part.share for part in check.parts), *([1] if any(flags) else [])]
    upto = [round(check.points * sum(shares[:n]) / sum(shares), 2) for n in range(len(shares) + 1)]
    points = [round(after - before, 2) for before, after in itertools.pairwise(upto)]
    for part, worth in zip(check.parts, points, strict=False):
        looks_at = []
        for case, table, off in zip(cases, expected, flags, strict=True):
            names = part.observations or tuple(name for name in table if name not in off)
            here = [name for name in names if name in table] if part.cases(case) else []
            looks_at.append(tuple(here))
        yield Part(part.name, worth, part.beside, tuple(looks_at))
    if any(flags):
        yield Part(FLAGS_PART, points[-1], True, tuple(flags))


@functools.cache
def _public(check: Check) -> tuple[tuple[Arrays, ...], tuple[Arrays, ...]]:
    """The public cases and what is right on them, which are the same for a whole class."""
    own = check.public_cases()
    if check.term and not check.told:
        drawn = numbers_of_term(check.term, check.homework, check.name, str(check.draw))
        own = [*own[:1], *check.hidden_cases(drawn)]
    cases = _through_the_wire(own)
    return cases, observe(check, check.reference, cases)


def _through_the_wire(cases: Sequence[Case]) -> tuple[Arrays, ...]:
    return tuple(wire.decode(wire.encode(case)) for case in cases)
