"""Thousands of small MDPs solved at once: what a theorem must survive before a lecture shows it.

The same quantities as TabularMDP, with a first axis over MDPs. Axes: M MDPs, S states, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ManyMDPs:
    """M MDPs of one size that never end, each with its own discount.

    transitions: (M, S, A, S) float64, p(s2 | s, a). rewards: (M, S, A). gammas: (M,) in [0, 1).
    start: (M, S), distribution of s_0.
    Raises ValueError if a shape does not fit, probabilities do not sum to 1, or a gamma is 1.
    """

    transitions: Tensor
    rewards: Tensor
    gammas: Tensor
    start: Tensor

    def __post_init__(self) -> None:
        if self.rewards.ndim != 3:
            raise ValueError(f"rewards must be (M, S, A), got {tuple(self.rewards.shape)}")
        mdps, states, actions = self.rewards.shape
        wanted = {
            "transitions": (mdps, states, actions, states),
            "gammas": (mdps,),
            "start": (mdps, states),
        }
        for name, shape in wanted.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(
                    f"{name} must be {shape} to go with rewards {(mdps, states, actions)}, got "
                    f"{tuple(getattr(self, name).shape)}"
                )
        for name in ("transitions", "start"):
            table = getattr(self, name)
            # Written so that NaN fails it.
            if not bool((table >= 0).all() & ((table.sum(-1) - 1).abs() < 1e-9).all()):
                raise ValueError(
                    f"{name} must hold probabilities that sum to 1 over the last axis: divide by "
                    ".sum(-1, keepdim=True)"
                )
        if not bool(((self.gammas >= 0) & (self.gammas < 1)).all()):
            raise ValueError("gammas must lie in [0, 1): these MDPs never end")

    def values(self, policies: Tensor) -> Tensor:
        """State values, by solving (I - gamma P_pi) V = r_pi. policies: (M, S, A). Returns (M, S).

        [slide 5]
        """
        reward = (policies * self.rewards).sum(-1)
        return torch.linalg.solve(self._system(policies), reward)

    def advantages(self, policies: Tensor) -> Tensor:
        """A(s, a) = r(s, a) + gamma sum_s2 p(s2|s, a) V(s2) - V(s). Returns (M, S, A). [slide 5]"""
        values = self.values(policies)
        successors = torch.einsum("msat,mt->msa", self.transitions, values)
        return self.rewards + self.gammas[:, None, None] * successors - values[:, :, None]

    def visitation(self, policies: Tensor) -> Tensor:
        """Discounted visitation rho(s) = sum_t gamma^t P(s_t = s), unnormalised. Returns (M, S).

        [slide 43]
        """
        return torch.linalg.solve(self._system(policies).mT, self.start)

    def expected_return(self, policies: Tensor) -> Tensor:
        """eta(pi) = sum_s start(s) V(s). Returns (M,). [slide 40]"""
        return (self.start * self.values(policies)).sum(-1)

    def _system(self, policies: Tensor) -> Tensor:
        if policies.shape != self.rewards.shape:
            raise ValueError(
                f"policies must be (M, S, A) = {tuple(self.rewards.shape)}, got "
                f"{tuple(policies.shape)}: one table for each MDP"
            )
        transitions = torch.einsum("msa,msat->mst", policies, self.transitions)
        identity = torch.eye(policies.shape[1], dtype=policies.dtype, device=policies.device)
        return identity - self.gammas[:, None, None] * transitions


def random_mdps(
    count: int,
    states: int,
    actions: int,
    generator: torch.Generator,
    gammas: tuple[float, float] = (0.5, 0.95),
) -> ManyMDPs:
    """Random MDPs, from nearly deterministic to well mixed; rewards uniform in [-1, 1].

    gammas: range from which each MDP's discount is drawn.
    Raises ValueError if a number is below 1 or the range leaves [0, 1).
    """
    if min(count, states, actions) < 1:
        raise ValueError(
            f"count, states and actions must be at least 1, got {count}, {states} and {actions}"
        )
    low, high = gammas
    if not 0 <= low <= high < 1:
        raise ValueError(f"gammas must be a range inside [0, 1), got {gammas}")

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, dtype=torch.float64, generator=generator, device=generator.device)

    # A high power of a uniform number is mostly near 0: such a row has few ways on.
    weights = uniform(count, states, actions, states) ** (10 * uniform(count, 1, 1, 1)) + 1e-9
    start = uniform(count, states) + 0.1
    return ManyMDPs(
        weights / weights.sum(-1, keepdim=True),
        2 * uniform(count, states, actions) - 1,
        low + (high - low) * uniform(count),
        start / start.sum(-1, keepdim=True),
    )


def random_policies(
    count: int, states: int, actions: int, generator: torch.Generator, spread: float = 1.0
) -> Tensor:
    """Softmax of normal logits with standard deviation `spread`, (M, S, A): 0 is uniform."""
    shape = (count, states, actions)
    logits = torch.randn(shape, dtype=torch.float64, generator=generator, device=generator.device)
    return (spread * logits).softmax(-1)
