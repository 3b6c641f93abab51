"""What explains an answer that is wrong in no way that was listed.

In this order: a known mistake with a guard around it, a relation of one word, two or three known
mistakes at once, a longer relation.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autograder.student import relations
from autograder.student.pairs import Pair, is_bland, matching
from autograder.student.wire import Arrays

if TYPE_CHECKING:
    from autograder.student.exam import Exam, KnownWrong

MAX_TRIALS = 8  # of pairs whose fingerprint fits; each costs as much as a known mistake does


def mistakes(exam: Exam, known: Sequence[KnownWrong], tables: Sequence[Arrays]) -> list[KnownWrong]:
    """The known mistakes that explain what came: one, or two or three together; else none.

    One explains it also where it would stop at 0/0, or has a single step, and what came is right,
    zero or nan there: that is how people guard a mistake. Relations of one word come before two
    mistakes; what is the same number throughout is explained by nothing. Three are found where all
    but two only multiply what comes out, as a sign or a sum for a mean does.
    """
    if is_bland(tables):
        return []
    for wrong in known:
        if exam.alike(wrong.observations, tables) or _guarded(exam, wrong, tables):
            return [wrong]
    for wrong in known:
        if wrong.any_size and _of_another_size(exam, wrong, tables):
            return [wrong]
    what = relations.seen(exam.cases, exam.expected, tables, exam.tolerance.agrees)
    if what is None or relations.short_relation(what):
        return []
    scales = [
        (wrong, scale)
        for wrong in known
        if (scale := relations.scale(exam.expected, wrong.observations, exam.tolerance.agrees))
    ]
    # What one or two mistakes only multiply, another one made.
    for scaling in itertools.chain(((one,) for one in scales), itertools.combinations(scales, 2)):
        factor = [math.prod(factors) for factors in zip(*(by for _, by in scaling), strict=True)]
        apart = [wrong for wrong, _ in scaling]
        for wrong in known:
            if wrong not in apart and exam.alike(times(wrong.observations, factor), tables):
                return sorted((wrong, *apart), key=known.index)
    for scaled in [None, *scales]:
        factor = scaled[1] if scaled else [1.0] * len(tables)
        for pair in _pairs(exam, tables, factor):
            both = [known[pair.first], known[pair.second]]
            if scaled and scaled[0] not in both:
                return sorted((*both, scaled[0]), key=known.index)
            if not scaled:
                return both
    return []


def hints(found: Sequence[KnownWrong]) -> str:
    """The hints of what was found, as one text."""
    if len(found) == 1:
        return found[0].hint
    several, without = {2: ("Two", "other"), 3: ("Three", "others")}[len(found)]
    each = " ".join(f"({n}) {_beside(wrong.hint)}" for n, wrong in enumerate(found, start=1))
    return f"{several} mistakes at once, each told as it would be without the {without}. {each}"


def _beside(hint: str) -> str:
    """A hint without what it says to be right: beside another mistake it is not."""
    cut = re.sub(r"^[^.:]* (is|are) right, but |, and all others are right", "", hint)
    return cut[0].upper() + cut[1:]


def relation(exam: Exam, tables: Sequence[Arrays]) -> str:
    """What relates what came to what is right, in words; "" if nothing does."""
    what = relations.seen(exam.cases, exam.expected, tables, exam.tolerance.agrees)
    if what is None:
        return ""
    if is_bland(tables):
        return relations.zero(what)
    return relations.short_relation(what) or relations.long_relation(what)


def _pairs(exam: Exam, tables: Sequence[Arrays], scale: Sequence[float]) -> Iterator[Pair]:
    """The pairs that answer what came, divided by a number for each case.

    Where a pair can be tried, at most MAX_TRIALS are.
    """
    single = any(array.dtype == np.float32 for table in tables for array in table.values())
    rtol = max(exam.tolerance.rtol, exam.tolerance.single_rtol if single else 0.0)
    undone = times(tables, [1 / factor for factor in scale])[: exam.public]
    fitting = matching(exam.pairs, undone, rtol, exam.tolerance.atol)
    for pair in itertools.islice(fitting, MAX_TRIALS):
        if exam.try_pair is None:
            yield pair
            continue
        made = exam.try_pair(pair.first, pair.second)
        if made is not None and exam.alike(times(exam.unchanged(made), scale), tables):
            yield pair


def times(tables: Sequence[Arrays], scale: Sequence[float]) -> list[Arrays]:
    """All numbers, but no flags, multiplied by a number for each case."""
    return [
        {name: a if a.dtype == bool else a * factor for name, a in table.items()}
        for table, factor in zip(tables, scale, strict=True)
    ]


def _of_another_size(exam: Exam, wrong: KnownWrong, tables: Sequence[Arrays]) -> bool:
    """Whether what a mistake adds was added, times one positive number for all cases."""
    telling = dotted = squared = 0.0
    for want, mistaken, got in zip(exam.expected, wrong.observations, tables, strict=True):
        for name, array in want.items():
            if not all(name in t and t[name].shape == array.shape for t in (mistaken, got)):
                return False
            if array.dtype != bool:
                added = mistaken[name] - array
                dotted += float((added * (got[name] - array)).sum())
                squared += float((added * added).sum())
        telling += not exam.alike([want], [got])
    if telling < relations.ENOUGH or not (squared > 0 and dotted > 0 and math.isfinite(dotted)):
        return False
    factor = dotted / squared
    made = [
        {n: a if a.dtype == bool else a + factor * (mistaken[n] - a) for n, a in want.items()}
        for want, mistaken in zip(exam.expected, wrong.observations, strict=True)
    ]
    return exam.alike(made, tables)


def _guarded(exam: Exam, wrong: KnownWrong, tables: Sequence[Arrays]) -> bool:
    """Whether a mistake explains what came but where there is a guard against 0/0."""
    telling = 0
    for case, want, mistaken, got in zip(
        exam.cases, exam.expected, wrong.observations, tables, strict=True
    ):
        if exam.alike([mistaken], [got]):
            telling += not exam.alike([want], [mistaken])
            continue
        stops = any(not np.isfinite(array).all() for array in mistaken.values())
        if want.keys() != got.keys() or not (stops or relations.is_one_step(case)):
            return False
        for name, array in want.items():
            given = got[name]
            if given.shape != array.shape:
                return False
            nothing = given.dtype.kind == "f" and not (np.isfinite(given) & (given != 0)).any()
            if not (nothing or exam.tolerance.agrees(array, given)):
                return False
    return telling >= relations.ENOUGH
