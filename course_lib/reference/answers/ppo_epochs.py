"""Homework answer: the passes that PPO makes over one batch, minibatch by minibatch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib import validate


def ppo_epochs(
    loss_on: Callable[[Tensor], Tensor],
    optimiser: torch.optim.Optimizer,
    orders: Tensor,
    size: int,
    max_norm: float,
) -> float:
    """Steps of an optimiser on a batch of M steps: E epochs, each cut into minibatches.

    For each minibatch a step on its gradient g, cut to g * min(1, max_norm / |g|): |g| is the
    length of the gradient of all parameters together, as if they were one vector. Nothing of an
    earlier gradient is added to g, whatever is left in .grad.
    loss_on: rows (n,) -> scalar, to be made small; it depends on all parameters of the optimiser
    and is asked once for each minibatch.
    optimiser: with one param_group or several. orders: (E, M) whole numbers; row e is the order in
    which epoch e goes through the batch. size: rows of a minibatch; the last one of an epoch is
    smaller if M is no multiple of it. max_norm: > 0.
    Returns the mean of the losses of all minibatches, each before its step, as a float.
    [slide 63, note Algorithm 2; the cut: Pascanu et al. 2013]
    Raises ValueError if orders is not (E, M) or is empty, or size or max_norm is not positive.
    """
    validate.shapes("E M", orders=orders)
    validate.positive(size=size, max_norm=max_norm)
    parameters = [each for group in optimiser.param_groups for each in group["params"]]
    losses = []
    for order in orders:  # (M,)
        for rows in order.split(size):
            loss = loss_on(rows)
            gradients = torch.autograd.grad(loss, parameters)  # new: nothing is left to clear
            length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
            factor = torch.clamp(max_norm / length, max=1.0)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                cut = factor * gradient
                parameter.grad = cut
            optimiser.step()
            losses.append(loss.item())
    return sum(losses) / len(losses)
