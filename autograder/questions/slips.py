"""Known mistakes as edits of the right answer (slips), one at a time or several together."""

from __future__ import annotations

import builtins
import dis
from collections.abc import Sequence
from dataclasses import replace
from types import CodeType

from autograder.questions.check import Function, Misconception
from autograder.questions.edits import clash, edited, parsed


def slip_of(
    reference: Function,
    name: str,
    hint: str,
    *,
    see: str,
    function: Function | None = None,
    any_size: bool = False,
    **edits: str,
) -> Misconception:
    """A known mistake: the reference, with other code where it makes the quantities named.

    A file of questions has `slip = partial(slip_of, reference.gae, see="08_advantages#C72")`, and a
    mistake is `slip("lam ignored", "lam has no effect ...", decays="gamma * same_episode")`.
    An edit's name is one that the reference assigns; x_1, x_2 where it assigns x twice; a loop's
    variable, for what it runs over; `answer`, for what is returned (answer_2: by the second
    return), which its code may use under this name; `before`, for lines ahead of the body.
    An edit's code is an expression, or statements to stand there instead of the whole statement
    (with `answer`: after `answer = ...` and before `return answer`).
    function: the mistake as a whole function, instead of edits. any_size: as in `Misconception`.
    Raises ValueError if there is no such name, or the code does not parse or uses unknown names.
    """
    if function is not None and not edits:
        return Misconception(name, function, hint, see, any_size=any_size)
    mistake = Misconception(name, reference, hint, see, tuple(edits.items()), any_size)
    try:
        if function is not None or not edits:
            raise ValueError("it needs edits or a whole function, not both")
        made = edited(reference, name, parsed(reference, mistake.edits))
        there = {*made.__globals__, *dir(builtins)} - {reference.__name__}
        if unknown := sorted(_globals(made.__code__) - there):
            raise ValueError(f"it uses `{'` and `'.join(unknown)}`, and there is no such name")
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"{reference.__name__}, slip {name!r}: {error}") from error
    return replace(mistake, function=made)


def compose(reference: Function, mistakes: Sequence[Misconception]) -> Misconception | None:
    """Several slips of a reference as one mistake.

    Those that go on from what is returned (`answer="-answer"`) follow one that returns something
    else, and each other in the order given. None if two change the same place otherwise, one is
    there twice, or one is a whole function.
    """
    edits = tuple(edit for mistake in mistakes for edit in mistake.edits)
    each = [edit for mistake in mistakes for edit in parsed(reference, mistake.edits)]
    twice = len({mistake.edits for mistake in mistakes}) < len(mistakes) or clash(each)
    if twice or not all(mistake.edits for mistake in mistakes):
        return None
    name = " + ".join(mistake.name for mistake in mistakes)
    hint = " ".join(mistake.hint for mistake in mistakes)
    return Misconception(name, edited(reference, name, each), hint, mistakes[0].see, edits)


def _globals(code: CodeType) -> set[str]:
    """Names that a function, and the functions inside it, look up outside."""
    found = {each.argval for each in dis.get_instructions(code) if each.opname == "LOAD_GLOBAL"}
    inside = (const for const in code.co_consts if isinstance(const, CodeType))
    return found.union(*map(_globals, inside))
