"""Homework answer: the step of TRPO that is taken."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from course_lib import validate


def line_search(
    surrogate: Callable[[Tensor], Tensor],
    kl: Callable[[Tensor], Tensor],
    theta: Tensor,
    step: Tensor,
    delta: float,
    shrink: float = 0.5,
    tries: int = 10,
) -> Tensor:
    """The first of theta + shrink^i * step, i = 0, ..., tries - 1, that is safe and better.

    Safe: kl(new) <= delta. Better: surrogate(new) > surrogate(theta). theta itself if none is.
    surrogate, kl: functions of a (P,) tensor; kl measures from the old policy.
    theta, step: (P,), left as they are. delta: the trust region's size, > 0.
    Returns (P,). [slide 58]
    Raises ValueError if a shape is off, a tensor is empty or holds nan, or delta is not positive.
    """
    validate.shapes("P, P", theta=theta, step=step)
    validate.positive(delta=delta)
    old_surrogate = surrogate(theta)
    for i in range(tries):
        candidate = theta + shrink**i * step
        safe = kl(candidate) <= delta
        good = safe and surrogate(candidate) > old_surrogate
        if good:
            return candidate
    return theta
