"""Homework answer: one step of TRPO, made of its pieces."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib import validate


def trpo_step(
    theta: Tensor,
    surrogate: Callable[[Tensor], Tensor],
    mean_kl: Callable[[Tensor], Tensor],
    fisher_vector_product: Callable[[Callable[[Tensor], Tensor], Tensor, Tensor, float], Tensor],
    conjugate_gradient: Callable[[Callable[[Tensor], Tensor], Tensor, int], Tensor],
    line_search: Callable[..., Tensor],
    delta: float,
    damping: float,
    iterations: int,
) -> Tensor:
    """The new theta: a line search along sqrt(2 delta / (x . H x)) x, where x solves H x = g.

    g: the gradient of the surrogate at theta. H = F + damping * I: the matrix in the products that
    fisher_vector_product gives, for the solver and for the length alike.
    theta: (P,), left as it is. surrogate, mean_kl: functions of a (P,) tensor that return a scalar
    tensor. The other three are called as
    fisher_vector_product(mean_kl, theta, vector, damping) -> (P,),
    conjugate_gradient(product, g, iterations) -> x (P,), with product(vector) -> (P,),
    line_search(surrogate, mean_kl, theta, step, delta) -> the new theta (P,).
    delta: the trust region's size, > 0. damping: >= 0. iterations: of the solver.
    Returns (P,), without a graph; theta itself if x . H x is not above 0, as when g = 0. [slide 58]
    Raises ValueError if theta is not (P,), is empty or holds nan, or delta is not positive.
    """
    validate.shapes("P", theta=theta)
    validate.positive(delta=delta)

    def product(vector: Tensor) -> Tensor:
        return fisher_vector_product(mean_kl, theta, vector, damping)

    leaf = theta.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(surrogate(leaf), leaf)  # (P,)
    direction = conjugate_gradient(product, gradient, iterations)  # (P,)
    curvature = direction @ product(direction)
    if curvature <= 0:
        return theta.detach().clone()
    length = torch.sqrt(2 * delta / curvature)
    step = length * direction  # (P,)
    new = line_search(surrogate, mean_kl, theta, step, delta)
    return new.detach()
