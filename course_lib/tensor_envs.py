"""Environments as tensors on one device: CartPole, Pendulum and tabular MDPs, N side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.mdp import TabularMDP, cliff_walk, combination_lock, cumulative, three_state_chain
from course_lib.seeding import check_device

PREFIX = "tensor/"


class TensorEnvs:
    """N environments whose state, draws and steps never leave their device.

    Looks like a gymnasium vector environment with next-step autoreset, but that tensors go in and
    come out: the step after an episode's end ignores its action, pays 0 and shows the next
    episode's first observation. A step copies nothing to the host and waits for nothing, so a GPU
    is kept busy; for the same reason actions are not checked.
    time_limit: steps after which an episode is truncated.
    Raises ValueError if envs or time_limit is below 1, or the device is not there.
    """

    metadata = {"autoreset_mode": "NextStep"}  # noqa: RUF012
    spec = None

    def __init__(
        self,
        envs: int,
        time_limit: int,
        device: torch.device | str,
        observation_space: Any,
        action_space: Any,
    ) -> None:
        if envs < 1 or time_limit < 1:
            raise ValueError(f"envs and time_limit must be at least 1, got {envs} and {time_limit}")
        self.num_envs = envs
        self.time_limit = time_limit
        self.device = check_device(device)
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.generator = torch.Generator(self.device)
        self.states = self.start()
        self.ended = torch.zeros(envs, dtype=torch.bool, device=self.device)
        self.lengths = torch.zeros(envs, dtype=torch.long, device=self.device)

    def start(self) -> Tensor:
        """First states of N episodes (..., N), drawn from the generator."""
        raise NotImplementedError

    def advance(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step of the dynamics: next states (..., N), rewards (N,), terminated (N,)."""
        raise NotImplementedError

    def observe(self, states: Tensor) -> Tensor:
        """Observations (N, ...) of states."""
        raise NotImplementedError

    def reset(self, seed: int | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Begin all episodes anew; a seed starts the generator. Returns observations (N, ...)."""
        if seed is not None:
            self.generator.manual_seed(seed)
        self.states = self.start()
        self.ended.zero_()
        self.lengths.zero_()
        return self.observe(self.states), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Actions (N, ...) -> observations (N, ...), rewards, terminated, truncated (N,)."""
        states, rewards, terminated = self.advance(self.states, actions)
        resets = self.ended
        # All starts are drawn and few are used: to draw those few alone, one would have to wait
        # for their number.
        self.states = torch.where(resets, self.start(), states)
        self.lengths = (self.lengths + 1).masked_fill(resets, 0)
        terminated = terminated & ~resets
        truncated = self.lengths >= self.time_limit
        self.ended = terminated | truncated
        return self.observe(self.states), rewards.masked_fill(resets, 0), terminated, truncated, {}

    def close(self) -> None:
        """Nothing to close; gymnasium's environments have it."""

    def state_dict(self) -> dict[str, Tensor]:
        """All that changes: with it put back, the environments go on as if never left."""
        return {
            "states": self.states,
            "ended": self.ended,
            "lengths": self.lengths,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put `state_dict` back. Raises ValueError if it is of another number of environments."""
        if state["states"].shape != self.states.shape:
            raise ValueError(
                f"states must be {tuple(self.states.shape)}, got {tuple(state['states'].shape)}: "
                "go on with as many environments as there were"
            )
        self.states = state["states"].to(self.states)
        self.ended = state["ended"].to(self.ended)
        self.lengths = state["lengths"].to(self.lengths)
        self.generator.set_state(state["generator"])

    def uniform(self, *shape: int) -> Tensor:
        """Numbers from [0, 1), float64."""
        return torch.rand(shape, dtype=torch.float64, generator=self.generator, device=self.device)


class CartPoles(TensorEnvs):
    """CartPole-v1 with gymnasium's constants and float64 states: x, x', theta, theta', (4, N).

    Euler's step of 0.02 s of the equations of Barto, Sutton and Anderson 1983, corrected by
    Florian 2007; it ends where abs(x) > 2.4 m or abs(theta) > 12 degrees, and each step pays 1.
    """

    gravity, pole_mass, mass, length, force, tau = 9.8, 0.1, 1.1, 0.5, 10.0, 0.02
    x_limit, theta_limit = 2.4, 12 * 2 * math.pi / 360

    def __init__(self, envs: int, device: torch.device | str, time_limit: int = 500) -> None:
        from gymnasium.spaces import Box, Discrete

        high = np.array([2 * self.x_limit, math.inf, 2 * self.theta_limit, math.inf], np.float32)
        super().__init__(envs, time_limit, device, Box(-high, high), Discrete(2))

    def start(self) -> Tensor:
        """Each number uniform in [-0.05, 0.05)."""
        return 0.1 * self.uniform(4, self.num_envs) - 0.05

    def advance(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Push the cart left (0) or right (1). actions: (N,)."""
        x, x_dot, theta, theta_dot = states
        cos, sin = theta.cos(), theta.sin()
        pole = self.pole_mass * self.length
        push = (2 * actions - 1) * self.force
        temp = (push + pole * theta_dot.square() * sin) / self.mass
        theta_acc = (self.gravity * sin - cos * temp) / (
            self.length * (4.0 / 3.0 - self.pole_mass * cos.square() / self.mass)
        )
        x_acc = temp - pole * theta_acc * cos / self.mass
        x, x_dot = x + self.tau * x_dot, x_dot + self.tau * x_acc
        theta, theta_dot = theta + self.tau * theta_dot, theta_dot + self.tau * theta_acc
        terminated = (x.abs() > self.x_limit) | (theta.abs() > self.theta_limit)
        return torch.stack([x, x_dot, theta, theta_dot]), torch.ones_like(x), terminated

    def observe(self, states: Tensor) -> Tensor:
        """The state, (N, 4) float32."""
        return states.T.float()


class Pendulums(TensorEnvs):
    """Pendulum-v1 with gymnasium's constants and float64 states: theta (0 is up), theta', (2, N).

    A step of 0.05 s under a torque in [-2, 2], cut to it; theta' is cut to [-8, 8]. It pays
    -(theta^2 + 0.1 theta'^2 + 0.001 torque^2) with theta brought to [-pi, pi), and never ends.
    """

    gravity, dt, max_speed, max_torque = 10.0, 0.05, 8.0, 2.0

    def __init__(self, envs: int, device: torch.device | str, time_limit: int = 200) -> None:
        from gymnasium.spaces import Box

        high = np.array([1.0, 1.0, self.max_speed], np.float32)
        torque = Box(-self.max_torque, self.max_torque, (1,))
        super().__init__(envs, time_limit, device, Box(-high, high), torque)

    def start(self) -> Tensor:
        """Theta uniform in [-pi, pi), theta' in [-1, 1)."""
        theta, theta_dot = 2 * self.uniform(2, self.num_envs) - 1
        return torch.stack([math.pi * theta, theta_dot])

    def advance(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Turn by a torque. actions: (N, 1)."""
        theta, theta_dot = states
        torque = actions[:, 0].clamp(-self.max_torque, self.max_torque)
        angle = (theta + math.pi) % (2 * math.pi) - math.pi
        costs = angle**2 + 0.1 * theta_dot**2 + 0.001 * torque**2
        theta_dot = theta_dot + (1.5 * self.gravity * theta.sin() + 3.0 * torque) * self.dt
        theta_dot = theta_dot.clamp(-self.max_speed, self.max_speed)
        next_states = torch.stack([theta + theta_dot * self.dt, theta_dot])
        return next_states, -costs, torch.zeros_like(costs, dtype=torch.bool)

    def observe(self, states: Tensor) -> Tensor:
        """cos(theta), sin(theta), theta', (N, 3) float32."""
        theta, theta_dot = states
        return torch.stack([theta.cos(), theta.sin(), theta_dot], 1).float()


class TabularEnvs(TensorEnvs):
    """A tabular MDP acted in: states (N,) are what is observed, r(s, a) is what is paid.

    An episode ends on entering a terminal state; the MDP's gamma is not used here.
    """

    def __init__(
        self, mdp: TabularMDP, envs: int, device: torch.device | str, time_limit: int = 1000
    ) -> None:
        from gymnasium.spaces import Discrete

        self.mdp = mdp.to(check_device(device))
        self.start_cdf = cumulative(self.mdp.start)
        self.transition_cdf = cumulative(self.mdp.transitions)
        super().__init__(envs, time_limit, device, Discrete(mdp.states), Discrete(mdp.actions))

    def start(self) -> Tensor:
        """s_0 ~ start, (N,) long."""
        return (self.uniform(self.num_envs, 1) >= self.start_cdf).sum(1)

    def advance(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """s_{t+1} ~ p(. | s_t, a_t). actions: (N,) long."""
        successors = (self.uniform(self.num_envs, 1) >= self.transition_cdf[states, actions]).sum(1)
        return successors, self.mdp.rewards[states, actions], self.mdp.terminal[successors]

    def observe(self, states: Tensor) -> Tensor:
        """The state, (N,) long."""
        return states


MDPS: dict[str, Callable[..., TabularMDP]] = {
    function.__name__: function for function in (three_state_chain, combination_lock, cliff_walk)
}
CONTROL: dict[str, Callable[..., TensorEnvs]] = {"CartPole-v1": CartPoles, "Pendulum-v1": Pendulums}


def make_tensor_envs(
    env_id: str, envs: int, device: torch.device | str = "cpu", **options: Any
) -> TensorEnvs:
    """Environments by name: tensor/CartPole-v1, tensor/Pendulum-v1, or an MDP's function's name.

    options: time_limit of the first two; arguments of the function, such as combination_lock's.
    Raises ValueError if there is none of that name, or as TensorEnvs does.
    """
    name = env_id.removeprefix(PREFIX)
    if name in CONTROL:
        return CONTROL[name](envs, device, **options)
    if name in MDPS:
        return TabularEnvs(MDPS[name](**options), envs, device)
    known = ", ".join(PREFIX + name for name in (*CONTROL, *MDPS))
    raise ValueError(f"{env_id} is not among the environments made of tensors: choose from {known}")
