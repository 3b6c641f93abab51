"""Homework answers: the four pieces of a TRPO step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib import validate


def kl(old_logits: Tensor, logits: Tensor) -> Tensor:
    """Mean over states of KL(pi_old || pi) = sum_a pi_old(a | s) log(pi_old(a | s) / pi(a | s)).

    old_logits, logits: (B, A), one row a visited state; pi = softmax(logits) along each row.
    Returns a scalar >= 0. [slide 56]
    Raises ValueError if a shape is off, or a tensor is empty or holds nan.
    """
    validate.shapes("B A, B A", old_logits=old_logits, logits=logits)
    old_log_probs = torch.log_softmax(old_logits, dim=-1)  # (B, A)
    log_probs = torch.log_softmax(logits, dim=-1)  # (B, A)
    return (old_log_probs.exp() * (old_log_probs - log_probs)).sum(dim=-1).mean()


def fisher_vector_product(
    mean_kl: Callable[[Tensor], Tensor], theta: Tensor, vector: Tensor, damping: float
) -> Tensor:
    """(F + damping * I) v, where F is the Hessian of mean_kl at theta, without forming F.

    Two gradients do it: F v is the gradient of (grad mean_kl(theta) . v) with v held fixed.
    mean_kl: a smooth function of a (P,) tensor that returns a scalar tensor.
    theta, vector: (P,), left as they are. damping: a number >= 0.
    Returns (P,), without a graph. [slide 58]
    Raises ValueError if a shape is off, or a tensor is empty or holds nan.
    """
    validate.shapes("P, P", theta=theta, vector=vector)
    theta = theta.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(mean_kl(theta), theta, create_graph=True)
    (product,) = torch.autograd.grad(gradient @ vector, theta)
    return product + damping * vector


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
        if squared <= tolerance:
            break
        product = matrix_vector_product(direction)
        step_size = squared / (direction @ product)
        x = x + step_size * direction
        residual = residual - step_size * product
        old_squared, squared = squared, residual @ residual
        direction = residual + squared / old_squared * direction
    return x


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
        if kl(candidate) <= delta and surrogate(candidate) > old_surrogate:
            return candidate
    return theta
