"""Known mistakes made together: which pairs there are, and what they answer."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, partial

from autograder.questions.check import Check, compile_exam, known_wrong, observe, observe_once
from autograder.questions.slips import compose
from autograder.student.diagnosis import times
from autograder.student.exam import Exam, KnownWrong
from autograder.student.pairs import Pair, is_bland, matching, pair_of
from autograder.student.relations import scale
from autograder.student.wire import Arrays

HUGE = 1e30  # numbers that grow beyond this leave every scale: how far is luck


def with_pairs(check: Check, exam: Exam, handed_out: Exam | None) -> Exam:
    """The exam, with the pairs that were handed out and a way to try one on all of its cases.

    Nothing is composed unless a fingerprint fits, and then at most `diagnosis.MAX_TRIALS` pairs for
    each factor that a known mistake makes (two or three a question): a second at the very worst.
    """
    names = [mistake.name for mistake in check.misconceptions]
    if handed_out is None or [wrong.name for wrong in handed_out.known_wrong] != names:
        return exam
    return replace(
        exam,
        pairs=handed_out.pairs,
        try_pair=partial(_together, check, exam.cases),
        likely=partial(_likely, check, exam.cases, handed_out),
    )


def _likely(
    check: Check, cases: Sequence[Arrays], handed_out: Exam, tables: Sequence[Arrays]
) -> Iterator[KnownWrong]:
    """The known mistakes that answer like this on the public cases, on all cases."""
    if len(tables) < handed_out.public:
        return
    for mistake, wrong in zip(check.misconceptions, handed_out.known_wrong, strict=True):
        if handed_out.alike(wrong.observations, tables[: handed_out.public]):
            observations = observe(check, mistake.function, cases)
            yield known_wrong(mistake, observations)


@cache
def pairs_of(check: Check) -> tuple[Pair, ...]:
    """The pairs that public cases tell from what is right, from one mistake and from each other.

    Left out: a mistake that only changes an argument on the way, which is said beside any other;
    pairs that answer alike and are told in other words, since neither is then the explanation (of
    those that are told in the same words, the first is enough); a pair of which one only
    multiplies what the other answers, since it is found without being listed; numbers beyond
    every scale. Each of the n (n - 1) / 2 pairs of n known mistakes is composed and run once.
    """
    exam = compile_exam(check)
    tolerance = exam.tolerance
    errors = tolerance.rtol, tolerance.atol
    known = check.misconceptions
    wrong = [exam.unchanged(mistake.observations) for mistake in exam.known_wrong]
    scales = [scale(exam.expected, one, tolerance.agrees) for one in wrong]
    alone = [exam.expected, *wrong]
    candidates: dict[Pair, list[Arrays]] = {}
    for first, second in itertools.combinations(range(len(check.misconceptions)), 2):
        one, other = wrong[first], wrong[second]
        if exam.alike(exam.expected, one) or exam.alike(exam.expected, other):
            continue
        made = _together(check, exam.cases, first, second)
        if made is None:
            continue
        calm = exam.unchanged(made)
        scaled = [times(a, by) for a, by in ((one, scales[second]), (other, scales[first])) if by]
        if is_bland(calm) or any(exam.alike(each, calm) for each in [*alone, *scaled]):
            continue
        pair = pair_of(first, second, calm)
        if max(abs(pair.one), abs(pair.other)) < HUGE:
            candidates[pair] = calm
    for each in alone:  # whose fingerprint a pair has by chance
        for pair in list(matching(candidates, each, *errors)):
            del candidates[pair]

    def told(pair: Pair) -> tuple[str, str]:
        return known[pair.first].hint, known[pair.second].hint

    found: list[Pair] = []
    alike: set[Pair] = set()
    for pair, calm in candidates.items():
        others = list(matching(found, calm, *errors))
        if any(told(other) != told(pair) for other in others):
            alike |= {pair, *others}
        if pair in alike or not others:
            found.append(pair)
    return tuple(pair for pair in found if pair not in alike)


def _together(
    check: Check, cases: Sequence[Arrays], first: int, second: int
) -> tuple[Arrays, ...] | None:
    """What two known mistakes answer together; None if they cannot be made at once, or stop.

    A second call is spared: whoever asks takes all flags as wanted (`Exam.unchanged`).
    """
    both = [check.misconceptions[first], check.misconceptions[second]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            mistake = compose(check.reference, both)
            return observe_once(check, mistake.function, cases) if mistake else None
        except Exception:  # what two edits make may stop with anything
            return None
