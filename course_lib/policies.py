"""Policies: tabular softmax, categorical and diagonal Gaussian, behind one interface."""

from __future__ import annotations

from torch import Tensor


def softmax_policy(theta: Tensor) -> Tensor:
    """Tabular softmax policy pi(a|s) = exp(theta[s, a]) / sum_b exp(theta[s, b]).

    theta: (S, A) logits, floating. Returns (S, A), differentiable in theta. [slide 68]
    Raises ValueError if theta is not a finite floating (S, A).
    """
    if not isinstance(theta, Tensor) or theta.ndim != 2 or not theta.is_floating_point():
        got = f"{tuple(theta.shape)} {theta.dtype}" if isinstance(theta, Tensor) else repr(theta)
        raise ValueError(
            f"theta must be a floating (S, A) tensor of logits, got {got}: one row a state, one "
            "column an action"
        )
    if not bool(theta.detach().isfinite().all()):
        raise ValueError(
            "theta holds NaN or infinite logits: the step before this one was too large"
        )
    return theta.softmax(-1)
