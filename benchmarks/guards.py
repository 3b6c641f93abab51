"""Right answers with the usual guard: a small number below a fraction, or in a logarithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Any]


def guarded(guard: float) -> dict[str, Function]:
    """A right answer with this guard, for each question in which one is usual."""

    def score(theta: Tensor, states: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
        leaf = theta.clone().requires_grad_()
        log_probs = torch.log(torch.softmax(leaf, -1)[states, actions] + guard)
        return torch.autograd.grad((weights * log_probs).sum(), leaf)[0]

    def powers(gamma: float, steps: int) -> Tensor:
        return torch.tensor([gamma**t for t in range(steps)])

    def reinforce_1(
        theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
    ) -> Tensor:
        return score(theta, states, actions, (powers(gamma, len(rewards)) * rewards).sum())

    def reinforce_2(
        theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
    ) -> Tensor:
        return score(theta, states, actions, powers(gamma, len(returns)) * returns)

    def surrogate(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
        ratio = log_probs.exp() / (old_log_probs.detach().exp() + guard)
        return (ratio * advantages.detach()).mean()

    def clipped_surrogate(
        log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, epsilon: float
    ) -> Tensor:
        ratio = log_probs.exp() / (old_log_probs.exp() + guard)
        clipped = ratio.clamp(1 - epsilon, 1 + epsilon)
        return torch.minimum(ratio * advantages, clipped * advantages).mean()

    def kl(old_logits: Tensor, logits: Tensor) -> Tensor:
        old, new = torch.softmax(old_logits, -1), torch.softmax(logits, -1)
        return (old * (torch.log(old + guard) - torch.log(new + guard))).sum(-1).mean()

    def conjugate_gradient(
        multiply: Function, b: Tensor, iterations: int, tolerance: float = 1e-10
    ) -> Tensor:
        x, r, p = torch.zeros_like(b), b.clone(), b.clone()
        for _ in range(iterations):
            squared = r @ r
            if squared <= tolerance:
                break
            product = multiply(p)
            step = squared / (p @ product + guard)
            x, r = x + step * p, r - step * product
            p = r + (r @ r) / (squared + guard) * p
        return x

    def fisher_vector_product(
        mean_kl: Function, theta: Tensor, vector: Tensor, damping: float
    ) -> Tensor:
        def gradient(point: Tensor) -> Tensor:
            point = point.clone().requires_grad_()
            return torch.autograd.grad(mean_kl(point), point)[0]

        h = 1e-4 / (vector.norm() + guard)
        ahead, behind = gradient(theta + h * vector), gradient(theta - h * vector)
        return (ahead - behind) / (2 * h) + damping * vector

    made = (reinforce_1, reinforce_2, surrogate, clipped_surrogate, kl, conjugate_gradient)
    return {function.__name__: function for function in (*made, fisher_vector_product)}
