"""An exam is a question as a table of numbers; judging it is comparing tables.

The same exam and the same judge serve the student's notebook (public cases, shipped as JSON) and
the examiner (hidden cases, made for one submission and never leaving the grader).
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from autograder.student import diagnosis, relations, wire
from autograder.student.pairs import Pair, packed, unpacked
from autograder.student.recipes import load
from autograder.student.wire import Arrays

# Parts of what PyTorch says when a graph is not there, and what to think about.
ERRORS = {
    "does not require grad": "What it differentiates has no graph: was something detached, worked "
    "out under no_grad or made anew from numbers, does nothing in it ask for a gradient "
    "(theta.detach().clone().requires_grad_()), or is create_graph=True missing?",
    "backward through the graph a second time": "Does the graph hold something that stays "
    "fixed, such as the old policy's log-probabilities? Detach it. What depends on theta is worked "
    "out anew before each gradient.",
    "leaf Variable that requires grad": "Change a copy, or what lies outside the graph (no_grad).",
    "modified by an inplace operation": "Something that the graph needs was changed in place: "
    "write the result to a tensor of its own.",
    "on Tensor that requires grad": "Detach it first.",
    "with a bool tensor": "A tensor of True and False has no minus: ~x turns it round, x.float() "
    "makes it 1 and 0.",
    "to satisfy the constraint Simplex": "Categorical takes probabilities unless told otherwise: "
    "give it logits=...",
    "to satisfy the constraint GreaterThan(lower_bound=0.0)": "A standard deviation is above 0: "
    "was its logarithm given in its place?",
    "KeyError: ": "There is no such name in the dictionary: print the names in it, list(...).",
    "at non-singleton dimension": "Two shapes do not go together: print them. x[:, None] makes a "
    "column (B, 1) of (B,), and that goes with every column of (B, A).",
}
# The same for what the course's own functions say, where their words cannot be shown.
OWN_ERRORS = {
    "there is no file": "Its file is not there: hand it in with the notebook (one of more than "
    "400,000 bytes is not taken).",
    "and an agent's file may have": "Its file is too large: two layers of 64 are plenty.",
    "cannot be read as an npz file": "Its file cannot be read: write it with save_agent.",
    "holds something other than arrays": "Its file holds more than numbers: write it with "
    "save_agent.",
    "is no suspect": "A name that it gives is none of those in SUSPECTS.",
}
MEAN_RETURN = "mean_return"  # what a measure calls what is told of an agent and not judged
NOT_IN_IT = "on numbers that are not in the notebook"
# What is said if a flag (an observation whose name ends like this) is off: alone, and besides.
FLAGS = {
    "_unchanged": (
        "changes one of its arguments{where} (its numbers, its requires_grad or its .grad): work "
        "on a copy of it.",
        "It also changes one of its arguments: work on a copy of it.",
    ),
    "second_call_agrees": (
        "gives something else when it is called again with the same arguments{where}: what stays "
        "behind, in an argument, a .grad or a name outside it?",
        "Called again with the same arguments, it gives something else.",
    ),
    "without_a_graph": (
        "is right, but its answer still hangs on a graph{where}: detach it.",
        "What comes back also hangs on a graph: detach it.",
    ),
}


@dataclass(frozen=True)
class Close:
    """Two arrays agree: same shape and |observed - expected| <= atol + rtol |expected|.

    The defaults are wide enough for other algebra and for the usual guards (1e-8 below a fraction
    or in a logarithm), and below any mistake. Observations in single precision get `single_rtol`
    and an `atol` to match. nan equals nan, so that a known mistake may lead to it; what is right
    never does.
    """

    rtol: float = 2e-4
    atol: float = 2e-5
    single_rtol: float = 1e-3

    def agrees(self, expected: wire.Array, observed: wire.Array) -> bool:
        """Whether the observed array equals the expected one within the tolerance."""
        if expected.shape != observed.shape:
            return False
        if expected.dtype == bool or observed.dtype == bool:
            return expected.dtype == observed.dtype and bool(np.array_equal(expected, observed))
        rtol, atol = self.rtol, self.atol
        if observed.dtype == np.float32:
            rtol, atol = max(rtol, self.single_rtol), max(atol, 1e-2 * self.single_rtol)
        if expected.dtype.kind != "f" or observed.dtype.kind != "f":
            return bool(np.allclose(observed, expected, rtol=rtol, atol=atol, equal_nan=True))
        return _close(expected, observed, rtol, atol)


def _close(expected: wire.Array, observed: wire.Array, rtol: float, atol: float) -> bool:
    """np.allclose for floats, and quicker on the few numbers of a case.

    Most of what is compared differs in its first number already.
    """
    if expected.dtype == observed.dtype == np.float64 and expected.size:
        want, got = expected.item(0), observed.item(0)
        if abs(got - want) > atol + rtol * abs(want):
            return False
    with np.errstate(invalid="ignore"):
        near = np.abs(observed - expected) <= atol + rtol * np.abs(expected)
    near = (near & np.isfinite(expected)) | (observed == expected)
    if near.all():
        return True
    return bool((near | (np.isnan(expected) & np.isnan(observed))).all())


@dataclass(frozen=True)
class KnownWrong:
    """A known mistake, as the observations that it leads to.

    any_size: it adds something, of which any positive multiple is the same mistake.
    """

    name: str
    hint: str
    see: str
    observations: tuple[Arrays, ...]
    any_size: bool = False


@dataclass(frozen=True)
class Part:
    """A property of an answer, with points of its own: it is there if all that shows it is right.

    name: a few words, such as "A < 0". points: of the question's. beside: it counts only beside
    another part, since an answer that is wrong throughout may have it too (it changes no argument).
    looks_at: for each case, the names of the observations that show it.
    """

    name: str
    points: float
    beside: bool
    looks_at: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Earned:
    """A part of a question: its name, the points it earned, and those it has."""

    name: str
    points: float
    max_points: float


@dataclass(frozen=True)
class Failure:
    """Instead of observations: why a case has none (`kind`), and the words that go with it.

    kind: "missing" (no such function), "unwritten" (still the stub), "part unwritten" (it came to
    the stub of another, `message`), "raised", "not numbers", "timed out", "ended" (the process
    died; what the function did, as in "gae ..."), "unreadable" (no notebook to look at). line: in
    the student's cell, if known.
    """

    kind: str
    message: str = ""
    line: int | None = None


Answer = Arrays | Failure


@dataclass(frozen=True)
class Exam:
    """One question in numbers: what is asked, what is right, and what known mistakes answer.

    check: the name of the check, and of the function that is asked for.
    recipe: source text of `recipe(function, case)`, which runs in the student's process.
    measure: source text of `measure(case, observations)`, which tells what of the observations
        counts; it runs with whoever judges. "" if they count as they are.
    cases, expected: one entry a case; the first `public` of them stand in the handout.
    parts: whose points make up the question's; none means all or nothing.
    pairs: what two known mistakes answer together on the public cases, as fingerprints.
    try_pair: what the pair answers on all cases, where the mistakes are at hand; else a
    fingerprint has to do.
    likely: the known mistakes that answer the public cases like this, where it is costly to have
    all of them answer the hidden ones.
    elsewhere: known mistakes that public cases do not show.
    beyond: what is said, after the name, where public cases are right and others are not.
    """

    check: str
    title: str
    points: int
    recipe: str
    cases: tuple[Arrays, ...]
    expected: tuple[Arrays, ...]
    known_wrong: Iterable[KnownWrong]
    tolerance: Close
    public: int
    parts: tuple[Part, ...] = ()
    pairs: Iterable[Pair] = ()
    try_pair: Callable[[int, int], tuple[Arrays, ...] | None] | None = None
    likely: Callable[[Sequence[Arrays]], Iterable[KnownWrong]] | None = None
    measure: str = ""
    elsewhere: Iterable[KnownWrong] = ()
    beyond: str = ""

    def measured(self, answers: Sequence[Answer]) -> list[Answer]:
        """What of these answers counts."""
        if not self.measure:
            return list(answers)
        return [
            answer if isinstance(answer, Failure) else measured(self.measure, case, answer)
            for case, answer in zip(self.cases, answers, strict=False)
        ]

    def alike(self, wanted: Sequence[Arrays], came: Sequence[Arrays]) -> bool:
        """Whether the observations of all cases are those that were wanted."""
        return all(agree(self, want, got) for want, got in zip(wanted, came, strict=True))

    def unchanged(self, tables: Sequence[Arrays]) -> list[Arrays]:
        """What came, as if no argument had been changed on the way: all flags as wanted."""
        flags = {n for want in self.expected for n, array in want.items() if array.dtype == bool}
        return [
            {name: want.get(name, array) if name in flags else array for name, array in got.items()}
            for want, got in zip(self.expected, tables, strict=True)
        ]

    def earned(self, answers: Sequence[Answer]) -> tuple[Earned, ...]:
        """What each part earns.

        A case without an answer has no right numbers, and left nothing behind.
        """
        right: list[set[str]] = []
        for index, want in enumerate(self.expected):
            got = answers[index] if index < len(answers) <= len(self.cases) else None
            if got is None or isinstance(got, Failure):
                right.append({name for name, array in want.items() if array.dtype == bool})
            elif _goes_beyond(want, got):
                right.append(set())
            else:
                right.append({n for n in got if self.tolerance.agrees(want[n], got[n])})
        there = [all(map(set.issuperset, right, part.looks_at)) for part in self.parts]
        alone = any(held and not part.beside for held, part in zip(there, self.parts, strict=True))
        counts = [
            held and (alone or not part.beside)
            for held, part in zip(there, self.parts, strict=True)
        ]
        return tuple(
            Earned(part.name, part.points if count else 0, part.points)
            for count, part in zip(counts, self.parts, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for the handout."""
        return {
            "check": self.check,
            "title": self.title,
            "points": self.points,
            "recipe": self.recipe,
            **({"measure": self.measure} if self.measure else {}),
            "cases": [wire.encode(case) for case in self.cases],
            "expected": [wire.encode(table) for table in self.expected],
            "known_wrong": [
                {
                    "name": wrong.name,
                    "hint": wrong.hint,
                    "see": wrong.see,
                    "observations": _besides(wrong.observations, self.expected),
                    "any_size": wrong.any_size,
                }
                for wrong in self.known_wrong
            ],
            "pairs": packed(self.pairs),
            "tolerance": asdict(self.tolerance),
            "public": self.public,
            "parts": [asdict(part) for part in self.parts],
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> Exam:
        """The inverse of `to_json`."""
        expected = _tables(data["expected"])
        return Exam(
            check=data["check"],
            title=data["title"],
            points=data["points"],
            recipe=data["recipe"],
            cases=_tables(data["cases"]),
            expected=expected,
            known_wrong=tuple(
                KnownWrong(**{**w, "observations": _whole(w["observations"], expected)})
                for w in data["known_wrong"]
            ),
            tolerance=Close(**data["tolerance"]),
            public=data["public"],
            parts=tuple(_part(part) for part in data.get("parts", [])),
            pairs=unpacked(data.get("pairs", "")),
            measure=data.get("measure", ""),
        )


def measured(source: str, case: Arrays, observations: Arrays) -> Answer:
    """What counts of the observations of a case, by the source text of a measure."""
    try:
        counts = load(source, "measure")(case, observations)
    except Exception as error:
        return Failure("not numbers", str(error)[:300])
    return wire.decode(wire.encode(counts))


def _besides(tables: Sequence[Arrays], expected: Sequence[Arrays]) -> list[dict[str, Any]]:
    """Tables as plain data, without what is as expected, which most of it is; None: not there."""
    found = []
    for table, want in zip(tables, expected, strict=True):
        mine, right = wire.encode(table), wire.encode(want)
        other = {name: array for name, array in mine.items() if right.get(name) != array}
        found.append(other | {name: None for name in right if name not in mine})
    return found


def _whole(items: Sequence[Any], expected: Sequence[Arrays]) -> tuple[Arrays, ...]:
    """The inverse of `_besides`."""
    tables = []
    for item, want in zip(items, expected, strict=True):
        other = wire.decode({name: array for name, array in item.items() if array is not None})
        same = {name: array for name, array in want.items() if name not in item}
        tables.append(same | other)
    return tuple(tables)


def _tables(items: Sequence[Any]) -> tuple[Arrays, ...]:
    return tuple(wire.decode(item) for item in items)


def _part(data: dict[str, Any]) -> Part:
    return Part(**{**data, "looks_at": tuple(map(tuple, data["looks_at"]))})


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    outcome: "right", "known mistake", "wrong", or a `Failure` kind. mistake: the name of the known
    mistake, else "". sentence: for the student. see: where in the lectures it is cleared up. parts:
    what the points are made of, where they are not all or nothing. mean_return: what an agent that
    was handed in earned, where one is played.
    """

    check: str
    title: str
    points: float
    max_points: float
    outcome: str
    mistake: str
    sentence: str
    see: str
    parts: tuple[Earned, ...] = ()
    mean_return: float | None = None

    @staticmethod
    def from_json(data: dict[str, Any]) -> Verdict:
        """The inverse of `dataclasses.asdict`."""
        parts = tuple(Earned(**part) for part in data.get("parts", ()))
        return Verdict(**{**data, "parts": parts})

    @property
    def played(self) -> str:
        """What an agent that was handed in earned here, in a sentence; "" if none was played."""
        return "" if self.mean_return is None else f"Its mean return here: {self.mean_return:.1f}."

    @property
    def credit(self) -> str:
        """Which parts were earned and which were not, in a sentence; "" if it is all or nothing."""
        if not 0 < self.points < self.max_points:
            return ""
        there = ", ".join(part.name for part in self.parts if part.points)
        missing = ", ".join(part.name for part in self.parts if not part.points)
        points = f"{self.points:g} of {self.max_points:g} points"
        return f"{points}. Right: {there}. Not yet: {missing}."


def judge(exam: Exam, answers: Sequence[Answer]) -> Verdict:
    """Compare answers with the exam's tables.

    answers: one a case, some of them failures, or fewer if it was given up. All right is all
    points; else there are those of the parts that are right on every case that shows them.
    """
    answers, mean_return = _apart(exam, answers)
    parts = exam.earned(answers)

    def verdict(outcome: str, sentence: str, mistake: str = "", see: str = "") -> Verdict:
        right = outcome == "right"
        points = exam.points if right else round(sum(part.points for part in parts), 2)
        head = exam.check, exam.title, points, exam.points
        return Verdict(*head, outcome, mistake, sentence, see, parts, mean_return)

    failed = {i: one for i, one in enumerate(answers) if isinstance(one, Failure)}
    if failed:
        first, failure = next(iter(failed.items()))
        where = f"on example {first + 1}" if first < exam.public else NOT_IN_IT
        only = where if len(failed) < len(answers) else ""
        hidden = first >= exam.public
        return verdict(failure.kind, _failure_sentence(exam.check, failure, only, hidden))
    tables: list[Arrays] = [answer for answer in answers if not isinstance(answer, Failure)]
    if len(tables) != len(exam.cases) or any(map(_goes_beyond, exam.expected, tables)):
        return verdict("ended", f"{exam.check} gave no answer to what was asked.")
    agreed = [agree(exam, want, got) for want, got in zip(exam.expected, tables, strict=True)]
    if all(agreed):
        return verdict("right", f"{exam.check} is right.")
    likely = list(exam.likely(tables)) if exam.likely else []
    for wrong in likely:
        if exam.alike(wrong.observations, tables):
            return verdict("known mistake", wrong.hint, mistake=wrong.name, see=wrong.see)
    known = []
    for wrong in exam.known_wrong:
        known.append(wrong)
        if exam.alike(wrong.observations, tables):
            return verdict("known mistake", wrong.hint, mistake=wrong.name, see=wrong.see)
    for wrong in exam.elsewhere:
        if exam.alike(wrong.observations, tables):
            return verdict("known mistake", wrong.hint, mistake=wrong.name, see=wrong.see)
    calm = exam.unchanged(tables)
    flags = _flags_off(exam, tables)
    if flags and exam.alike(exam.expected, calm):
        flag, *others = flags
        index = telling_case(exam, tables) or 0
        where = f" on example {index + 1}" if index < exam.public else ""
        sentence = f"{exam.check} {FLAGS[flag][0].format(where=where)}"
        return verdict("wrong", " ".join([sentence, *(FLAGS[other][1] for other in others)]))
    besides = "".join(f" {FLAGS[flag][1]}" for flag in flags)
    if found := diagnosis.mistakes(exam, known, calm):
        names = " + ".join(wrong.name for wrong in found)
        return verdict("known mistake", diagnosis.hints(found) + besides, names, found[0].see)
    if relation := diagnosis.relation(exam, calm):
        return verdict("wrong", f"{exam.check}: {relation}{besides}")
    if len(likely) == 1:  # what the notebook said: nearly that, or rounding grew on long cases
        [wrong] = likely
        return verdict("known mistake", wrong.hint + besides, mistake=wrong.name, see=wrong.see)
    shown = calm if flags else tables
    sentence = _difference_sentence(exam, shown, telling_case(exam, shown) or 0)
    return verdict("wrong", sentence + besides)


def _apart(exam: Exam, answers: Sequence[Answer]) -> tuple[Sequence[Answer], float | None]:
    """What is judged, and the mean return of the last case, which is told and not judged."""
    if not exam.measure:
        return answers, None
    judged: list[Answer] = []
    mean_return = None
    for answer in answers:
        if not isinstance(answer, Failure):
            answer = dict(answer)
            earned = answer.pop(MEAN_RETURN, None)
            mean_return = None if earned is None else float(earned)
        judged.append(answer)
    return judged, mean_return


def _goes_beyond(want: Arrays, got: Arrays) -> bool:
    """Whether something came that no recipe gives."""
    return not got.keys() <= want.keys()


def _flags_off(exam: Exam, tables: Sequence[Arrays]) -> list[str]:
    """The flags that are off on any case, in the order of FLAGS.

    A second call that finds another argument gives something else: that is not said twice.
    """
    off = [
        flag
        for flag in FLAGS
        if any(
            name.endswith(flag) and name in got and not exam.tolerance.agrees(array, got[name])
            for want, got in zip(exam.expected, tables, strict=True)
            for name, array in want.items()
        )
    ]
    if "_unchanged" in off and "second_call_agrees" in off:
        off.remove("second_call_agrees")
    return off


def telling_case(exam: Exam, answers: Sequence[Answer]) -> int | None:
    """The case to show: the one without an answer, or a small one that differs; None if all agree.

    Public cases come before hidden ones, and those of several steps, with no argument that is all
    zeros, before others.
    """
    differ = []
    answers, _ = _apart(exam, answers)
    for index, (want, answer) in enumerate(zip(exam.expected, answers, strict=False)):
        if isinstance(answer, Failure):
            return index
        if not agree(exam, want, answer):
            arrays = [array for array in exam.cases[index].values() if array.ndim]
            plain = any(not a.any() for a in arrays) or relations.is_one_step(exam.cases[index])
            size = sum(array.size for array in arrays)
            differ.append((index >= exam.public, plain, size, index))
    return min(differ)[-1] if differ else None


def agree(exam: Exam, want: Arrays, got: Arrays) -> bool:
    """Whether the observations of one case are those that were wanted."""
    return want.keys() == got.keys() and all(
        exam.tolerance.agrees(want[name], got[name]) for name in want
    )


def _without_hidden(failure: Failure) -> Failure:
    """A failure on hidden numbers in words of ours alone: any other word could hold one of them."""
    if failure.kind == "ended":  # what is said of it comes from outside
        return failure
    error = failure.message.partition(":")[0]
    words = {
        "raised": error if isinstance(getattr(builtins, error, None), type) else "an error",
        "part unwritten": "another function",
        "timed out": "it came to its time limit",
    }
    return replace(failure, message=words.get(failure.kind, ""))


def _clause(message: str) -> str:
    """A message to go on after; one that was cut ends in its last whole word."""
    if message.endswith("..."):
        return message.removesuffix("...").rpartition(" ")[0] + " ..."
    return message.removesuffix(".")


def _failure_sentence(name: str, failure: Failure, only: str, hidden: bool) -> str:
    """Why there is no answer; `only`: on which case, where others have one."""
    hints = {**OWN_ERRORS, **ERRORS} if hidden else ERRORS
    more = next((f" {words}" for part, words in hints.items() if part in failure.message), "")
    if hidden:
        failure = _without_hidden(failure)
    at = f" {only}" if only else ""
    where = f"{at} (line {failure.line} of its cell)" if failure.line else at
    if failure.kind == "missing":
        return (
            f"There is no function named {name}: was it renamed, was its cell deleted, or did the "
            "cell stop before it?"
        )
    if failure.kind == "unreadable":
        return f"{name} could not be looked at, since the notebook could not be read."
    if failure.kind == "unwritten":
        return (
            f"{name} came to a branch that is not written yet{at}."
            if at
            else (f"{name} is not written yet.")
        )
    if failure.kind == "part unwritten":
        return f"{name} called {failure.message}, which is not written yet{at}."
    if failure.kind == "raised":
        return f"{name} stopped with {_clause(failure.message)}{where}.{more}"
    if failure.kind == "not numbers":
        why = f": {failure.message}" if failure.message else ""
        end = "" if failure.message.endswith((".", "?")) else "."
        return f"{name} was called and gave no usable answer{at}{why}{end}"
    if failure.kind == "timed out":
        return f"{name} did not come back{at}: {failure.message}."
    return f"{name} {failure.message}."


def _difference_sentence(exam: Exam, tables: Sequence[Arrays], index: int) -> str:
    """Say what is off without giving hidden numbers away."""
    name, want, got = exam.check, exam.expected[index], tables[index]
    where = f" on example {index + 1}" if index < exam.public else ""
    for key in want:
        if key in got and want[key].shape != got[key].shape:
            if index >= exam.public:
                return f"{name}: `{key}` has another shape than was wanted, {NOT_IN_IT}."
            return (
                f"{name}: `{key}` has shape {got[key].shape}{where}, and {want[key].shape} was "
                "wanted."
            )
        if key in got and got[key].dtype.kind == "f" and not np.isfinite(got[key]).all():
            return f"{name}: `{key}` holds nan or inf{where}."
    keys = [key for key in want if key not in got or not exam.tolerance.agrees(want[key], got[key])]
    for key in keys:
        if key in got and (want[key].dtype.kind, got[key].dtype.kind) == ("f", "i"):
            return (
                f"{name}: `{key}` holds whole numbers{where}: was it put into an integer tensor, "
                "which cuts fractions off?"
            )
    if exam.measure and keys and keys[0] in got:
        return f"{name}: not yet: {', '.join(key.replace('_', ' ') for key in keys)}."
    off = ", ".join(f"`{key}`" for key in keys)
    if index >= exam.public and exam.beyond:
        return f"{name} {exam.beyond}"
    if index >= exam.public:
        return (
            f"{name} is right on the notebook's examples and wrong on others ({off}): "
            "does it lean on their length, sign or size?"
        )
    key = keys[0]
    if key not in got:
        return f"{name}: {off} is missing from the answer."
    others = off.removeprefix(f"`{key}`").removeprefix(", ")
    # As many digits as it takes to see the difference.
    pairs = ((show(want[key], digits), show(got[key], digits)) for digits in (4, 8, 17))
    wanted, came = next((p for p in pairs if p[0] != p[1]), (show(want[key]), show(got[key])))
    right = ", ".join(f"`{key}`" for key in want if _is_right(exam, tables, key))
    return (
        f"{name} differs on example {index + 1}: `{key}` should be {wanted} "
        f"and came out as {came}"
        + (f" (also off: {others})." if others else ".")
        + (f" Right on all examples: {right}." if right else "")
    )


def _is_right(exam: Exam, tables: Sequence[Arrays], key: str) -> bool:
    """Whether numbers that are not always zero are right on all cases."""
    pairs = [(want.get(key), got.get(key)) for want, got in zip(exam.expected, tables, strict=True)]
    return any(w is not None and w.dtype.kind == "f" and w.any() for w, _ in pairs) and all(
        w is None or (g is not None and exam.tolerance.agrees(w, g)) for w, g in pairs
    )


def show(array: wire.Array, digits: int = 4, limit: int = 12) -> str:
    """An array in a few characters, for a sentence: a row in brackets, a matrix row by row."""
    if array.ndim == 0:
        x = array.item()
        return str(x) if array.dtype.kind in "bi" else f"{x + 0.0:.{digits}g}"  # + 0.0: no -0
    left = limit
    shown: list[str] = []
    for part in array:
        if left < min(part.size, 1) or (shown and part.ndim and left < part.size):
            return f"[{', '.join([*shown, '...'])}]"
        shown.append(show(part, digits, left))
        left -= part.size
    return f"[{', '.join(shown)}]"
