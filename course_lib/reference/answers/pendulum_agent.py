"""Homework answer: how a trained agent acts in Pendulum-v1, from the numbers in its file."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def pendulum_agent(weights: dict[str, Tensor], observations: Tensor) -> Tensor:
    """The mean of the trained Gaussian policy, the torque it thinks best.

    weights: the named tensors of your file pendulum.npz, as `load_agent` gives them, left as they
    are. observations: (N, 3), any number of them. Returns (N, 1). No noise is drawn: the same
    observations give the same torques. The environment cuts them to [-2, 2]. [slide 67]
    Raises ValueError if observations are not (N, O), are empty or hold nan.
    """
    validate.shapes("N O", observations=observations)
    first = torch.tanh(observations @ weights["net.0.weight"].T + weights["net.0.bias"])  # (N, H)
    second = torch.tanh(first @ weights["net.2.weight"].T + weights["net.2.bias"])  # (N, H)
    torques = second @ weights["net.4.weight"].T + weights["net.4.bias"]  # (N, 1)
    return torques
