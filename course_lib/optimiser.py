"""Adam, on all parameters of some modules laid out as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from course_lib import validate


class Adam:
    """Adam (Kingma and Ba, 2015, Algorithm 1) on the parameters of modules, as one vector theta.

    m <- 0.9 m + 0.1 g, v <- 0.999 v + 0.001 g^2,
    theta <- theta - learning_rate * (m / (1 - 0.9^k)) / (sqrt(v / (1 - 0.999^k)) + epsilon)
    at step k, g the gradient, cut to max_norm in length where one is given.

    The parameters become views into theta (P,) and their gradients views into one vector too: a
    step is then a handful of operations, however many layers there are, and everything that a
    resumed run needs is theta, m, v and k. Afterwards the modules must not be moved or cast.

    Why not torch's: a step with torch.optim.Adam(fused=True), clip_grad_norm_ and the same check
    for NaN takes 1.6 times as long on the networks of REINFORCE and PPO for CartPole, and 1.15
    times on wide ones (`python benchmarks/optimiser.py`: loss and gradient included, one thread,
    torch 2.13). It leans on networks this small: a step is mostly calls, and torch's makes them
    for each tensor.

    Raises ValueError if there is no parameter, or they differ in type or device.
    """

    def __init__(
        self, modules: Sequence[nn.Module], learning_rate: float, epsilon: float = 1e-8
    ) -> None:
        validate.positive(learning_rate=learning_rate, epsilon=epsilon)
        self.parameters = [p for module in modules for p in module.parameters()]
        kinds = {(p.dtype, p.device) for p in self.parameters}
        if len(kinds) != 1:
            raise ValueError(
                f"parameters must be of one type on one device, got {sorted(map(str, kinds))}: "
                "cast and move the modules first"
            )
        self.learning_rate = learning_rate
        self.epsilon = epsilon
        self.steps = 0
        self.theta = torch.cat([p.detach().flatten() for p in self.parameters])
        self.gradient = torch.zeros_like(self.theta)
        self.m = torch.zeros_like(self.theta)
        self.v = torch.zeros_like(self.theta)
        start = 0
        for parameter in self.parameters:
            stop = start + parameter.numel()
            parameter.data = self.theta[start:stop].view_as(parameter)
            parameter.grad = self.gradient[start:stop].view_as(parameter)
            start = stop
        # One of each module's, and where its gradient lies: modules are moved and cast as a whole.
        lasts = [p for module in modules for p in [*module.parameters()][-1:]]
        self._witnesses = [(p, p.grad.detach()) for p in lasts if p.grad is not None]

    def state_dict(self) -> dict[str, Tensor]:
        """What a resumed run needs beside the parameters: m, v and k."""
        return {"m": self.m, "v": self.v, "steps": torch.tensor(self.steps)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` gave. The parameters are put back by their modules."""
        self.m.copy_(state["m"])
        self.v.copy_(state["v"])
        self.steps = int(state["steps"])

    def minimise(self, loss: Tensor | Iterable[Tensor], max_norm: float = math.inf) -> float:
        """One step down the gradient of loss. Returns the gradient's length before it was cut.

        loss: a scalar, or the terms of a sum, each of which is done with before the next is made.
        Raises FloatingPointError if the gradient is not finite, before anything is changed, and
        ValueError if a module was moved or cast since.
        """
        self.gradient.zero_()
        total: Tensor | float = 0.0
        for term in [loss] if isinstance(loss, Tensor) else loss:
            term.backward()
            total += term.detach()
        if any(p.grad is None or p.grad.data_ptr() != g.data_ptr() for p, g in self._witnesses):
            raise ValueError(
                "the parameters are no longer those the optimiser was made for: move and cast "
                "modules before making it"
            )
        norm = self.gradient.norm().item()
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"the loss is {float(total)} and its gradient has length {norm}: look for NaN in "
                "rewards and observations, or take a smaller learning rate"
            )
        if norm > max_norm:
            self.gradient.mul_(max_norm / norm)
        self.steps += 1
        # m / (1 - 0.9^k) and v / (1 - 0.999^k): both start from 0, and this takes the bias out.
        self.m.lerp_(self.gradient, 0.1)
        self.v.mul_(0.999).addcmul_(self.gradient, self.gradient, value=0.001)
        spread = self.v.div(1 - 0.999**self.steps).sqrt_().add_(self.epsilon)
        self.theta.addcdiv_(self.m, spread, value=-self.learning_rate / (1 - 0.9**self.steps))
        return norm
