"""Episodes of tabular MDPs, drawn step by step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.mdp import TabularMDP, check_policy, cumulative
from course_lib.seeding import check_generator


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode of T steps: states (T,) long, actions (T,) long, rewards (T,) float64.

    The terminal state in which it ended is not among the states: nothing is decided there.
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor

    def __len__(self) -> int:
        return len(self.rewards)


def sample_episodes(
    mdp: TabularMDP,
    policy: Tensor,
    episodes: int,
    generator: torch.Generator,
    max_steps: int = 1000,
) -> list[Episode]:
    """Episodes drawn from P(tau), all at once.

    s_0 ~ start, a_t ~ pi(.|s_t), s_{t+1} ~ p(.|s_t, a_t) until the end.
    policy: (S, A) probabilities; no gradient flows through what is drawn. An episode ends on a
    terminal state or after max_steps. What comes out depends on the arguments and the generator's
    state alone. [slides 9 and 10]
    Raises ValueError if episodes or max_steps is below 1, or the generator is on another device.
    """
    if episodes < 1 or max_steps < 1:
        raise ValueError(
            f"episodes and max_steps must be at least 1, got {episodes} and {max_steps}"
        )
    check_policy(mdp, policy)
    check_generator(generator, mdp.device)
    start_cdf = cumulative(mdp.start)
    policy_cdf = cumulative(policy.detach())
    transition_cdf = cumulative(mdp.transitions)

    def uniform(count: int) -> Tensor:
        return torch.rand(count, 1, dtype=torch.float64, generator=generator, device=mdp.device)

    state = (uniform(episodes) >= start_cdf).sum(1)  # (N,)
    who = torch.arange(episodes, device=mdp.device)  # the episodes that still go on
    steps: list[tuple[Tensor, Tensor, Tensor]] = []
    while len(who) > 0 and len(steps) < max_steps:
        action = (uniform(len(who)) >= policy_cdf[state]).sum(1)
        successor = (uniform(len(who)) >= transition_cdf[state, action]).sum(1)
        steps.append((who, state, action))
        going = ~mdp.terminal[successor]
        who, state = who[going], successor[going]

    owners = torch.cat([owner for owner, _, _ in steps])
    order = torch.sort(owners, stable=True).indices  # by episode, and within it by time
    states = torch.cat([state for _, state, _ in steps])[order]
    actions = torch.cat([action for _, _, action in steps])[order]
    rewards = mdp.rewards[states, actions]
    lengths = torch.bincount(owners, minlength=episodes).tolist()
    parts = zip(states.split(lengths), actions.split(lengths), rewards.split(lengths), strict=True)
    return [Episode(*part) for part in parts]
