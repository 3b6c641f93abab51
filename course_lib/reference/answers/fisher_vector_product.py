"""Homework answer: the Fisher matrix times a vector, without the matrix."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib import validate


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
