"""Relations between what came and what was wanted: what is said of a mistake that nobody foresaw.

A relation is said as what was seen ("`returns` came out as minus what is right on all examples"),
never as a guess about the code. It holds for all that is off, on every case, and on at least two
cases it says something that the right answer does not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from autograder.student.wire import Array, Arrays

Agrees = Callable[[Array, Array], bool]  # (wanted, came) -> whether they are equal, as judged
Guess = Callable[[int, Array, Array], Array | None]  # (case, wanted, came) -> what should have come

ENOUGH = 2  # cases in which a relation says something
ROWS = 3  # a case with fewer rows says nothing about single rows, or about moving them
CLOSE = 1e-3  # what differs by less is close


@dataclass(frozen=True)
class Seen:
    """What is compared, one entry a case. off: the observations that differ on some case."""

    cases: Sequence[Arrays]
    wanted: Sequence[Arrays]
    came: Sequence[Arrays]
    agrees: Agrees
    off: tuple[str, ...]

    @property
    def right(self) -> list[str]:
        """The numbers that are right on all cases, and not zero on all of them."""
        return [
            name
            for name in dict.fromkeys(name for table in self.wanted for name in table)
            if name not in self.off
            and any(
                table[name].dtype.kind == "f" and table[name].any()
                for table in self.wanted
                if name in table
            )
        ]

    def pairs(self) -> Iterator[tuple[int, Array, Array]]:
        """Case, what was wanted and what came, for all that is off."""
        for index, (wanted, came) in enumerate(zip(self.wanted, self.came, strict=True)):
            for name in self.off:
                if name in wanted and name in came:
                    yield index, wanted[name], came[name]

    def holds(self, guess: Guess) -> bool:
        """Whether a guess is what came, on every case, and says enough.

        A case says something if the guess is neither what was wanted nor zero.
        """
        telling = set()
        for index, wanted, came in self.pairs():
            if not np.isfinite(came).all():
                return False
            made = guess(index, wanted, came)
            if made is None or not self.agrees(made, came):
                return False
            if not self.agrees(wanted, made) and made.any():
                telling.add(index)
        return len(telling) >= ENOUGH


def seen(
    cases: Sequence[Arrays], wanted: Sequence[Arrays], came: Sequence[Arrays], agrees: Agrees
) -> Seen | None:
    """What is off; None if it is more than numbers: a name is missing, or a flag is off."""
    off: list[str] = []
    for want, got in zip(wanted, came, strict=True):
        if want.keys() != got.keys():
            return None
        here = [name for name in want if not agrees(want[name], got[name])]
        if any(want[name].dtype.kind != "f" for name in here):
            return None
        off += [name for name in here if name not in off]
    return Seen(cases, wanted, came, agrees, tuple(off)) if off else None


def short_relation(what: Seen) -> str:
    """A relation of one word, as a sentence without a subject; "" if there is none."""
    return _first(what, _SHORT)


def long_relation(what: Seen) -> str:
    """A relation that takes more words, where known mistakes do not explain what came."""
    return _first(what, _LONG)


def _first(what: Seen, looks: Sequence[Callable[[Seen], str]]) -> str:
    return next((words for look in looks if (words := look(what))), "")


def _off(what: Seen) -> str:
    return " and ".join(f"`{name}`" for name in what.off)


def _came_out(what: Seen, words: str, after: str = ".") -> str:
    """ "`gradient` came out as ... on all examples", and what is right beside it."""
    right = " and ".join(f"`{name}`" for name in what.right)
    verb = "are" if len(what.right) > 1 else "is"
    first = f"{right} {verb} right, and " if right else ""
    return f"{first}{_off(what)} came out as {words} on all examples{after}"


# Short ones.


def zero(what: Seen) -> str:
    """Zero on every case, where something was wanted on at least two."""
    if any(came.any() or came.shape != wanted.shape for _, wanted, came in what.pairs()):
        return ""
    if len({index for index, wanted, _ in what.pairs() if wanted.any()}) < ENOUGH:
        return ""
    return _came_out(what, "zero")


def _should_be_zero(what: Seen) -> str:
    """All that is off is zero in the right answer, whatever the case."""
    if any(wanted.any() or came.shape != wanted.shape for _, wanted, came in what.pairs()):
        return ""
    if not what.right or len({index for index, _, came in what.pairs() if came.any()}) < ENOUGH:
        return ""
    right = " and ".join(f"`{name}`" for name in what.right)
    verb = "are" if len(what.right) > 1 else "is"
    return (
        f"{right} {verb} right, and {_off(what)} should be zero on all examples and came out "
        "otherwise."
    )


def _an_argument(what: Seen) -> str:
    if len(what.off) > 1:
        return ""
    for name in _arguments(what):
        for sign, words in ((1, "just as it came in"), (-1, "with its sign turned round")):
            if what.holds(lambda i, w, c, n=name, s=sign: _like(s * what.cases[i][n], w)):  # type: ignore[misc]
                return _came_out(what, f"`{name}`, {words},")
    return ""


def _simple_factor(what: Seen) -> str:
    for factor, words in ((-1.0, "minus"), (2.0, "twice"), (0.5, "half of")):
        if what.holds(lambda i, w, c, f=factor: f * w):  # type: ignore[misc]
            return _came_out(what, f"{words} what is right")
    return ""


def _moved(what: Seen) -> str:
    """The right numbers at other places."""
    if what.holds(lambda i, w, c: w.T if w.ndim == 2 else None):
        return _came_out(what, "what is right with rows and columns exchanged")
    if not _has_rows(what):
        return ""
    if what.holds(lambda i, w, c: w[::-1]):
        return _came_out(what, "what is right in reverse order")
    late = what.holds(lambda i, w, c: np.concatenate([c[:1], w[:-1]]) if len(w) >= ROWS else c)
    if late and _says_rows(what):
        return _came_out(what, "what is right, one step late,")
    early = what.holds(lambda i, w, c: np.concatenate([w[1:], c[-1:]]) if len(w) >= ROWS else c)
    if early and _says_rows(what):
        return _came_out(what, "what is right, one step early,")
    return ""


def _another_shape(what: Seen) -> str:
    if any(came.size != wanted.size for _, wanted, came in what.pairs()):
        return ""
    telling = [
        (wanted.shape, came.shape)
        for _, wanted, came in what.pairs()
        if wanted.shape != came.shape and wanted.any()
    ]
    equal = (what.agrees(wanted, came.reshape(wanted.shape)) for _, wanted, came in what.pairs())
    if len(telling) < ENOUGH or not all(equal):
        return ""
    wanted, came = telling[0]
    return (
        f"{_off(what)} holds the right numbers in another shape: {came} where {wanted} is wanted."
    )


def _one_row(what: Seen) -> str:
    """Right in all rows but the first, or the last."""
    if not _has_rows(what):
        return ""
    kind = "entry" if all(wanted.ndim == 1 for _, wanted, _ in what.pairs()) else "row"
    for place, words in ((-1, "last"), (0, "first")):

        def guess(i: int, wanted: Array, came: Array, place: int = place) -> Array:
            made = wanted.copy()
            made[place] = came[place]
            return made

        fits = (what.agrees(guess(i, wanted, came), came) for i, wanted, came in what.pairs())
        if _says_rows(what) and all(fits):
            zero = all(not came[place].any() for _, _, came in what.pairs())
            there = ", which came out as zero" if zero else ""
            return f"{_off(what)} is right but for the {words} {kind}{there}."
    return ""


def _whole_numbers(what: Seen) -> str:
    for cut, words in ((np.trunc, "cut to whole numbers"), (np.round, "rounded to whole numbers")):
        if what.holds(lambda i, w, c, f=cut: f(w)):  # type: ignore[misc]
            question = ": was it put into an integer tensor?"
            return _came_out(what, f"what is right {words}", question)
    return ""


# Longer ones.


def _without_sign(what: Seen) -> str:
    if what.holds(lambda i, w, c: np.abs(w)):
        return _came_out(what, "what is right without its sign")
    return ""


def _factor(what: Seen) -> str:
    """A constant times it, or times or divided by a length or a number of the case."""
    factors = _factors(what)
    if factors is None:
        return ""
    for words, numbers in _quantities(what):
        for minus, power in itertools.product((False, True), (1.0, -1.0)):
            made = [(-1.0 if minus else 1.0) * number**power for number in numbers]
            fits = all(f is None or _near(f, n) for f, n in zip(factors, made, strict=True))
            if fits and what.holds(lambda i, w, c, m=made: m[i] * w):  # type: ignore[misc]
                how = f"{'minus ' * minus}what is right {'times' if power > 0 else 'divided by'}"
                return _came_out(what, f"{how} {words}")
    known = [factor for factor in factors if factor is not None]
    constant = float(np.median(known))
    same = all(_near(factor, constant) for factor in known) and not _near(constant, 1.0)
    if same and what.holds(lambda i, w, c: constant * w):
        return _came_out(what, f"{constant:.4g} times what is right")
    return ""


def _sum(what: Seen) -> str:
    """A constant more or less, or an argument more or less."""
    if len(what.off) > 1:
        return ""
    for name in _arguments(what):
        for sign, words in ((1, "plus"), (-1, "less")):
            if what.holds(lambda i, w, c, n=name, s=sign: _add(w, s * what.cases[i][n])):  # type: ignore[misc]
                return _came_out(what, f"what is right {words} `{name}`")
    numbers = [(came - wanted) for _, wanted, came in what.pairs() if came.shape == wanted.shape]
    if not numbers or not all(n.size and np.isfinite(n).all() for n in numbers):
        return ""
    constant = float(np.median(np.concatenate([n.reshape(-1) for n in numbers])))
    if what.holds(lambda i, w, c: w + constant):
        words = "plus" if constant > 0 else "less"
        return _came_out(what, f"what is right {words} {abs(constant):.4g}")
    return ""


def _standardised(what: Seen) -> str:
    """Mean 0 where there is more than one number, and what is right but for shift and scale.

    What came of a single number is left aside: 0, nan or the number itself.
    """
    centred, scaled, telling = True, True, 0
    for _, wanted, came in what.pairs():
        if came.shape != wanted.shape or not wanted.ndim:
            return ""
        if wanted.size == 1:
            continue
        off, spread = wanted - wanted.mean(), wanted.std()
        if not np.isfinite(came).all() or not spread:
            return ""
        centred = centred and what.agrees(off, came)
        scale = came.std() / spread
        n = wanted.size
        unit = any(abs(came.std() - one) < CLOSE for one in (1.0, np.sqrt(1 - 1 / n)))
        line = np.abs(came - scale * off).max() < CLOSE
        scaled = scaled and unit and bool(line)
        telling += n >= ROWS
    if telling < ENOUGH:
        return ""
    if centred:
        return _came_out(what, "what is right less its mean")
    if scaled:
        return _came_out(what, "what is right shifted and scaled to mean 0 and spread 1")
    return ""


def _nan_for_one_step(what: Seen) -> str:
    """Right where there is more than one step, nan or inf where there is one."""
    telling = set()
    for index, wanted, came in what.pairs():
        if what.agrees(wanted, came):
            continue
        if not is_one_step(what.cases[index]) or np.isfinite(came).any():
            return ""
        telling.add(index)
    if not telling or len(telling) == len(what.cases):
        return ""
    return f"{_off(what)} is right but where there is a single step, which gives nan or inf."


def _close(what: Seen) -> str:
    """Right to three digits."""
    for _, wanted, came in what.pairs():
        if came.shape != wanted.shape or not np.isfinite(came).all():
            return ""
        if np.abs(came - wanted).max(initial=0) > CLOSE * np.abs(wanted).max(initial=0):
            return ""
    return (
        f"{_off(what)} is right to three digits and no more: is there an epsilon, a tolerance or "
        "a number of low precision in the way?"
    )


_SHORT = (
    zero,
    _should_be_zero,
    _an_argument,
    _simple_factor,
    _moved,
    _another_shape,
    _whole_numbers,
    _one_row,
    _nan_for_one_step,
)
_LONG = (_standardised, _factor, _without_sign, _sum, _close)


# What they are made of.


def is_one_step(case: Arrays) -> bool:
    """Whether an argument of a case has a single row."""
    return any(array.ndim and len(array) == 1 for array in case.values())


def scale(wanted: Sequence[Arrays], came: Sequence[Arrays], agrees: Agrees) -> list[float] | None:
    """By which number all that came is multiplied, one a case; None if it is something else.

    Names and flags must be the same. A case in which all that is wanted is zero gets the number of
    the others, if that is the same one everywhere.
    """
    found: list[float | None] = []
    for want, got in zip(wanted, came, strict=True):
        names = [name for name in want if want[name].dtype.kind == "f"]
        if want.keys() != got.keys() or any(want[n].shape != got[n].shape for n in names):
            return None
        factor = _fit([(want[name], got[name]) for name in names])
        times = {name: (factor or 0.0) * want[name] for name in names}
        if not all(agrees(times.get(name, want[name]), got[name]) for name in want):
            return None
        found.append(factor)
    known = [factor for factor in found if factor is not None]
    if len(known) < ENOUGH or not all(known):
        return None
    if len(known) < len(found) and not all(_near(factor, known[0]) for factor in known):
        return None
    return [known[0] if factor is None else factor for factor in found]


def _fit(pairs: Sequence[tuple[Array, Array]]) -> float | None:
    """The number that brings what was wanted nearest to what came; None if it was zero."""
    size = sum(float((want * want).sum()) for want, _ in pairs)
    if size < 1e-12:
        return None
    return sum(float((want * got).sum()) for want, got in pairs) / size


def _factors(what: Seen) -> list[float | None] | None:
    """For each case the number by which all that is off is multiplied, if it looks like one."""
    found: list[float | None] = []
    for index in range(len(what.cases)):
        pairs = [(want, got) for i, want, got in what.pairs() if i == index]
        if any(want.shape != got.shape or not np.isfinite(got).all() for want, got in pairs):
            return None
        found.append(_fit(pairs))
    return found if sum(factor is not None for factor in found) >= ENOUGH else None


def _quantities(what: Seen) -> Iterator[tuple[str, list[float]]]:
    """Lengths and single numbers of the cases: how they are said, and their values by case."""
    for name, array in what.cases[0].items():
        arrays = [case[name] for case in what.cases if name in case]
        if len(arrays) < len(what.cases) or len({a.ndim for a in arrays}) > 1:
            continue
        numbers: dict[str, list[float]] = {}
        if array.ndim == 0:
            numbers[f"`{name}`"] = [float(a) for a in arrays]
        elif array.ndim == 1:
            numbers[f"the length of `{name}`"] = [len(a) for a in arrays]
        elif array.ndim == 2:
            numbers[f"the number of rows of `{name}`"] = [len(a) for a in arrays]
            numbers[f"the number of columns of `{name}`"] = [a.shape[1] for a in arrays]
            numbers[f"the number of entries of `{name}`"] = [a.size for a in arrays]
        else:
            numbers[f"the length of `{name}`"] = [len(a) for a in arrays]
        for words, values in numbers.items():
            if all(values) and any(abs(value) != 1.0 for value in values):
                yield words, values


def _arguments(what: Seen) -> list[str]:
    """The arguments that are arrays, on every case."""
    names = (name for name, array in what.cases[0].items() if array.ndim and array.dtype != bool)
    return [name for name in names if all(name in case for case in what.cases)]


def _like(array: Array, wanted: Array) -> Array | None:
    return array.astype(float) if array.shape == wanted.shape else None


def _add(wanted: Array, more: Array) -> Array | None:
    return wanted + more if wanted.shape == more.shape else None


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= CLOSE * abs(other)


def _has_rows(what: Seen) -> bool:
    return all(wanted.ndim and wanted.shape == came.shape for _, wanted, came in what.pairs())


def _says_rows(what: Seen) -> bool:
    """Whether enough of the cases in which something is off have several rows."""
    telling = {
        index
        for index, wanted, came in what.pairs()
        if len(wanted) >= ROWS and not what.agrees(wanted, came)
    }
    return len(telling) >= ENOUGH
