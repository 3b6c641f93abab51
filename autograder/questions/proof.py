"""What a check must show before it is handed out: right is right, and mistakes are told apart."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from autograder.project import HandoutError
from autograder.questions.check import Check, compile_exam, observe
from autograder.questions.together import pairs_of
from autograder.student import wire
from autograder.student.exam import FLAGS, Exam
from autograder.student.wire import Arrays

SEEDS = (0, 1)  # of the hidden cases that are tried


@cache
def proven_exam(check: Check) -> Exam:
    """The public exam of a check, with all its numbers worked out.

    Raises HandoutError with file, question and what to do: if the right answer, or another that is
    accepted, is not right; if a flag has no words; if the public cases do not tell a known mistake
    from what is right or from another mistake; if a hidden case is the same for everybody; if a
    part has no case or no mistake that loses it; if something belongs to no part; or if a mistake
    loses other parts on other numbers.
    """
    if not check.title:
        raise _refusal(check, 'it has no title: write a few words for tables, as title="The ratio"')
    if not check.misconceptions:
        raise _refusal(
            check, "it knows no mistake, and what nothing fails proves nothing: add some"
        )
    with _naming(check, "the reference or a case"):
        drawn = [compile_exam(check, np.random.default_rng(seed)) for seed in SEEDS]
        exam = compile_exam(check)
    if check.measure and any(
        not each.alike(exam.expected[:1] * len(each.cases), answer)
        for each, answer in ((e, observe(check, check.reference, e.cases)) for e in (exam, *drawn))
    ):
        raise _refusal(check, "its measure counts otherwise on other cases: let it count levels")
    for function in check.accepted:
        what = f"the accepted answer {function.__name__}"
        for each in drawn:
            with _naming(check, what):
                observed = observe(check, function, each.cases)
            if not each.alike(each.expected, observed):
                raise _refusal(check, f"{what} is not right by this check: mend the one or other")
    first, second = ([_text(case) for case in each.cases[each.public :]] for each in drawn)
    for number, case in enumerate(first, start=1):
        if case in second:
            raise _refusal(
                check, f"nothing is drawn in hidden case {number}: draw its numbers from rng"
            )
    with _naming(check, "a known mistake"):
        exam = replace(exam, known_wrong=tuple(exam.known_wrong))
    told_apart = [("the right answer", exam.expected)]
    for wrong in exam.known_wrong:
        for name, observations in told_apart:
            if exam.alike(observations, wrong.observations):
                raise _refusal(
                    check,
                    f"no public case tells the mistake {wrong.name!r} from {name}: add a case in "
                    "which they differ, or take the mistake out",
                )
        told_apart.append((f"the mistake {wrong.name!r}", wrong.observations))
    for name in {name for table in exam.expected for name, a in table.items() if a.dtype == bool}:
        if not name.endswith(tuple(FLAGS)):
            raise _refusal(
                check,
                f"the recipe says True or False of {name!r}, and there are no words for it: let "
                f"its name end in {', '.join(FLAGS)}, or give numbers",
            )
    if exam.parts:
        _prove_parts(check, exam, drawn)
    return replace(exam, pairs=pairs_of(check))


def _prove_parts(check: Check, exam: Exam, drawn: Sequence[Exam]) -> None:
    """Each part is shown, and lost, and a mistake loses the same parts on any numbers."""
    for each in (exam, *drawn):
        shown = zip(*(part.looks_at for part in each.parts), strict=True)
        for number, (table, looks) in enumerate(zip(each.expected, shown, strict=True), start=1):
            if left := set(table) - set().union(*looks):
                raise _refusal(check, f"{min(left)} of case {number} belongs to no part: add one")
        for part in each.parts:
            if each is exam and not any(part.looks_at):
                raise _refusal(check, f"no public case shows the part {part.name!r}: add one")
            if each is not exam and not any(part.looks_at[each.public :]):
                raise _refusal(check, f"no hidden case shows the part {part.name!r}: add one")
    lost: set[str] = set()
    for mistake, wrong in zip(check.misconceptions, exam.known_wrong, strict=True):
        here = [part.name for part in exam.earned(wrong.observations) if not part.points]
        lost |= set(here)
        for each in drawn:
            there = each.earned(observe(check, mistake.function, each.cases))
            if here != [part.name for part in there if not part.points]:
                raise _refusal(
                    check,
                    f"the mistake {mistake.name!r} loses other parts on hidden cases than on "
                    "public ones: let the cases of each part show it in both, or in neither",
                )
    for part in exam.parts:
        if part.name not in lost:
            raise _refusal(check, f"no known mistake loses the part {part.name!r}: add one")


def _refusal(check: Check, what: str) -> HandoutError:
    return HandoutError(f"autograder/questions/{check.homework}/{check.name}.py: {what}")


@contextlib.contextmanager
def _naming(check: Check, what: str) -> Iterator[None]:
    """Say whose function stopped."""
    try:
        yield
    except Exception as error:
        raise _refusal(check, f"{what} stops with {type(error).__name__}: {error}") from error


def _text(case: Arrays) -> bytes:
    return wire.dumps(wire.encode(case))
