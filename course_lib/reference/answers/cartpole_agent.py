"""Homework answer: how a trained agent acts in CartPole-v1, from the numbers in its file."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def cartpole_agent(weights: dict[str, Tensor], observations: Tensor) -> Tensor:
    """The action that the trained policy thinks best: argmax_a pi(a | s).

    weights: the named tensors of your file cartpole.npz, as `load_agent` gives them, left as they
    are. observations: (N, 4), any number of them. Returns (N,) of 0 and 1. No action is drawn: the
    same observations give the same actions. [slide 66]
    Raises ValueError if observations are not (N, O), are empty or hold nan.
    """
    validate.shapes("N O", observations=observations)
    first = torch.tanh(observations @ weights["net.0.weight"].T + weights["net.0.bias"])  # (N, H)
    second = torch.tanh(first @ weights["net.2.weight"].T + weights["net.2.bias"])  # (N, H)
    logits = second @ weights["net.4.weight"].T + weights["net.4.bias"]  # (N, 2)
    return logits.argmax(dim=-1)
