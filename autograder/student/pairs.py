"""Two known mistakes at once, told by a fingerprint of what they answer on the public cases.

A fingerprint is two random projections of all numbers that were observed: a dozen bytes where the
numbers themselves would be thousands.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from autograder.student import wire
from autograder.student.wire import Arrays

DIGITS = 6  # of a projection: more than any tolerance needs, fewer than processors differ in
NAN, INF = 0.618, 1.618  # what nan and inf count as
PACKED = np.dtype("u1, u1, <u2, <f4, <f4")  # a pair's five numbers in twelve bytes


@dataclass(frozen=True)
class Pair:
    """Two known mistakes, by their places in the list, and the fingerprint of both together.

    length: how many numbers were observed. one, other: the projections.
    """

    first: int
    second: int
    length: int
    one: float
    other: float


def packed(pairs: Iterable[Pair]) -> str:
    """Pairs as the text in which they are handed out: sixteen characters each."""
    return base64.b64encode(np.array([*map(astuple, pairs)], PACKED).tobytes()).decode()


def unpacked(text: str) -> tuple[Pair, ...]:
    """The inverse of `packed`, to seven digits."""
    return tuple(Pair(*row) for row in np.frombuffer(base64.b64decode(text), PACKED).tolist())


def pair_of(first: int, second: int, tables: Sequence[Arrays]) -> Pair:
    """Two mistakes with the fingerprint of what they answer together."""
    numbers = _numbers(tables)
    one, other = (float(f"{mark:.{DIGITS}g}") for mark in _weights(numbers.size) @ numbers)
    return Pair(first, second, numbers.size, one, other)


def matching(
    pairs: Iterable[Pair], tables: Sequence[Arrays], rtol: float, atol: float
) -> Iterator[Pair]:
    """The pairs with the fingerprint of what came, as far as numbers within a tolerance may differ.

    The allowed error of a projection is that of a sum of independent errors, each of the size that
    the tolerance allows. None match what holds no more than one number over and over.
    """
    if is_bland(tables):
        return
    numbers = _numbers(tables)
    weights = _weights(numbers.size)
    marks = weights @ numbers
    allowed = np.sqrt(weights**2 @ (atol + rtol * np.abs(numbers)) ** 2)
    allowed = allowed + 10.0 ** (1 - DIGITS) * np.abs(marks)
    (one, other), (near, near_other) = marks.tolist(), allowed.tolist()
    for pair in pairs:
        if pair.length != numbers.size:
            continue
        if abs(one - pair.one) <= near and abs(other - pair.other) <= near_other:
            yield pair


def is_bland(tables: Sequence[Arrays]) -> bool:
    """Whether what was asked for (the first observation) is one number over and over, as 0 or nan.

    Such an answer tells nothing about how it was made.
    """
    first = [array.reshape(-1) for table in tables for array in list(table.values())[:1]]
    numbers = np.concatenate(first) if first else np.zeros(0)
    return numbers.size == 0 or bool((numbers == numbers[0]).all()) or bool(np.isnan(numbers).all())


def _numbers(tables: Sequence[Arrays]) -> wire.Array:
    """All that was observed in a row: shapes differ where lengths do, or where their marks do."""
    parts: list[wire.Array] = []
    for table in tables:
        for array in table.values():
            parts += [np.array(array.shape, float), array.reshape(-1).astype(float)]
    return np.nan_to_num(np.concatenate(parts), nan=NAN, posinf=INF, neginf=-INF)


def _weights(size: int) -> wire.Array:
    """(2, size) numbers from -1/2 to 1/2, always the same ones."""
    noise = hashlib.shake_256(b"two projections").digest(8 * size)
    return (np.frombuffer(noise, "<u4").reshape(size, 2).T / 2.0**32) - 0.5
