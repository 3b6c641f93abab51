"""Homework answer: a linear system solved by products alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib import validate


def conjugate_gradient(
    matrix_vector_product: Callable[[Tensor], Tensor],
    b: Tensor,
    iterations: int,
    tolerance: float = 1e-10,
) -> Tensor:
    """Solve A x = b for a symmetric positive definite A that is known only through A v.

    Starts from x = 0 and takes at most `iterations` steps; returns the x it has as soon as the
    squared length of the residual b - A x is <= tolerance (it may be so from the start).
    matrix_vector_product: v (P,) -> A v (P,). b: (P,), left as it is.
    Returns x (P,). [slide 58]
    Raises ValueError if b is not (P,), is empty or holds nan.
    """
    validate.shapes("P", b=b)
    x = torch.zeros_like(b)
    residual = b.clone()
    direction = b.clone()
    squared = residual @ residual
    for _ in range(iterations):
        converged = squared <= tolerance
        if converged:
            break
        product = matrix_vector_product(direction)
        step_size = squared / (direction @ product)
        x = x + step_size * direction
        residual = residual - step_size * product
        old_squared, squared = squared, residual @ residual
        factor = squared / old_squared
        direction = residual + factor * direction
    return x
