"""Tabular MDPs in which every quantity of the lectures is exact, and a few chosen as examples.

A policy here is its table of probabilities, (S, A). Everything is float64 and differentiable in the
policy by autograd, so an estimate, a derivation or a student's function can be held against the
truth. Axes: S states, A actions, N trajectories, H steps of a horizon.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.policies import softmax_policy

SUM_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class TabularMDP:
    """A finite Markov decision process with known transitions and rewards.

    transitions: (S, A, S) float64, transitions[s, a, s2] = p(s2 | s, a).
    rewards: (S, A) float64, expected reward r(s, a).
    gamma: discount in [0, 1]; gamma = 1 needs a policy under which every episode ends.
    start: (S,) float64, distribution of s_0 [slide 9].
    terminal: (S,) bool; a terminal state leads to itself with reward 0, and an episode ends on it.
    Raises ValueError naming the field, what came, what was wanted and what to do.
    """

    transitions: Tensor
    rewards: Tensor
    gamma: float
    start: Tensor
    terminal: Tensor

    def __post_init__(self) -> None:
        _check_mdp(self)

    @property
    def states(self) -> int:
        """Number of states S."""
        return self.rewards.shape[0]

    @property
    def actions(self) -> int:
        """Number of actions A."""
        return self.rewards.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the tables lie."""
        return self.rewards.device

    def to(self, device: torch.device | str) -> TabularMDP:
        """Copy of the MDP with every table on device."""
        return TabularMDP(
            self.transitions.to(device),
            self.rewards.to(device),
            self.gamma,
            self.start.to(device),
            self.terminal.to(device),
        )

    def values(self, policy: Tensor) -> Tensor:
        """State values V(s) = sum_a pi(a|s) Q(s, a), by solving (I - gamma P_pi) V = r_pi.

        policy: (S, A) probabilities. Returns (S,); terminal states have value 0. [slide 5]
        Raises ValueError for a table that is no policy, and for gamma = 1 if an episode can go on
        for ever.
        """
        check_policy(self, policy)
        transitions = self._transitions_under(policy)
        self._check_episodes_end(transitions)
        # Columns of terminal states are cut, which changes nothing (their value is 0) but keeps the
        # system regular at gamma = 1.
        alive = (~self.terminal).to(transitions.dtype)
        system = self._identity() - self.gamma * transitions * alive
        return torch.linalg.solve(system, (policy * self.rewards).sum(1))

    def action_values(self, policy: Tensor) -> Tensor:
        """Action values Q(s, a) = r(s, a) + gamma sum_s2 p(s2|s, a) V(s2).

        policy: (S, A). Returns (S, A). [slide 5]
        """
        return self.rewards + self.gamma * self.transitions @ self.values(policy)

    def advantages(self, policy: Tensor) -> Tensor:
        """Advantages A(s, a) = Q(s, a) - V(s).

        policy: (S, A). Returns (S, A). [slide 5]
        """
        values = self.values(policy)
        return self.rewards + self.gamma * self.transitions @ values - values[:, None]

    def visitation(self, policy: Tensor) -> Tensor:
        """Discounted visitation rho(s) = sum_t gamma^t P(s_t = s), unnormalised.

        policy: (S, A). Returns (S,), which sums to 1 / (1 - gamma): time in a terminal state
        counts, for ever. That time is infinite at gamma = 1; there, terminal states get 0 and rho
        sums to the expected length of an episode. [slide 43, note (5)]
        """
        check_policy(self, policy)
        transitions = self._transitions_under(policy)
        self._check_episodes_end(transitions)
        if self.gamma == 1:
            transitions = transitions * (~self.terminal).to(transitions.dtype)
        return torch.linalg.solve((self._identity() - self.gamma * transitions).T, self.start)

    def occupancy(self, policy: Tensor) -> Tensor:
        """State-action occupancy d(s, a) = rho(s) pi(a|s), unnormalised.

        policy: (S, A). Returns (S, A). [note (5)]
        """
        return self.visitation(policy)[:, None] * policy

    def expected_return(self, policy: Tensor) -> Tensor:
        """Objective J(pi) = E[sum_t gamma^t r(s_t, a_t)] = sum_s start(s) V(s).

        policy: (S, A). Returns a scalar. [slide 9, note (1)]
        """
        return self.start @ self.values(policy)

    def policy_gradient(self, theta: Tensor) -> Tensor:
        """Exact gradient of J with respect to the logits of a tabular softmax policy.

        grad J [s, a] = rho(s) pi(a|s) A(s, a): the action-value form sum_s,a d(s, a) Q(s, a)
        grad log pi(a|s) with the softmax's score put in. theta: (S, A) logits. Returns (S, A).
        [note (4)]
        """
        policy = softmax_policy(theta)
        return self.occupancy(policy) * self.advantages(policy)

    def optimal_policy(self) -> Tensor:
        """Best policy, by policy iteration with exact evaluation; tied actions share equally.

        Returns (S, A). Sharing ties is what keeps gamma = 1 safe: an action that only ties by
        going round in circles never stands alone. [slide 39]
        Raises ValueError if gamma = 1 and some loop pays for ever.
        """
        policy = torch.full_like(self.rewards, 1 / self.actions)
        for _ in range(1000):
            action_values = self.action_values(policy)
            best = action_values.max(dim=1, keepdim=True).values
            slack = 1e-10 * max(1.0, float(action_values.abs().max()))
            ties = (action_values >= best - slack).to(policy.dtype)
            improved = ties / ties.sum(1, keepdim=True)
            if torch.equal(improved, policy):
                break
            policy = improved
        return policy

    def optimal_values(self) -> Tensor:
        """Values of the best policy, V*(s) = max_a Q*(s, a).

        Returns (S,).
        """
        return self.values(self.optimal_policy())

    def _identity(self) -> Tensor:
        return torch.eye(self.states, dtype=torch.float64, device=self.device)

    def _transitions_under(self, policy: Tensor) -> Tensor:
        return torch.einsum("sa,sat->st", policy, self.transitions)

    def _check_episodes_end(self, transitions: Tensor) -> None:
        if self.gamma < 1:
            return
        step = (transitions.detach() > 0).to(torch.float64)
        ends = self.terminal.clone()
        for _ in range(self.states):
            ends = ends | (step @ ends.to(torch.float64) > 0)
        if not bool(ends.all()):
            stuck = torch.nonzero(~ends).flatten().tolist()
            raise ValueError(
                f"gamma is 1 and from states {stuck} this policy never reaches a terminal state, "
                "so values there are sums without end: use gamma < 1, or a policy that gives some "
                "probability to a way out"
            )


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Every trajectory of non-zero probability up to a horizon of H steps, one a row.

    states: (N, H + 1) long, the last column is where the trajectory got to. actions: (N, H) long.
    rewards: (N, H). probabilities: (N,), which sum to 1.
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor
    probabilities: Tensor


def trajectories(
    mdp: TabularMDP, policy: Tensor, horizon: int, limit: int = 1_000_000
) -> Trajectories:
    """All trajectories: P(tau) = start(s_0) prod_t pi(a_t|s_t) p(s_{t+1}|s_t, a_t).

    policy: (S, A). Probabilities are differentiable in it. A terminal state goes on for the rest of
    the horizon like any other (to itself, reward 0, every action), so formulas that sum over all H
    steps hold as they stand. [slide 10]
    Raises ValueError if horizon < 1 or there would be more than limit trajectories.
    """
    check_policy(mdp, policy)
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1, got {horizon}")
    states = torch.nonzero(mdp.start > 0)  # (N, 1)
    actions = states.new_zeros((len(states), 0))
    probabilities = mdp.start[states[:, 0]]
    support = (policy.detach()[:, :, None] > 0) & (mdp.transitions > 0)
    branches = support.sum((1, 2))
    for step in range(horizon):
        last = states[:, -1]
        count = int(branches[last].sum())
        if count > limit:
            raise ValueError(
                f"{count} trajectories after {step + 1} of {horizon} steps, more than the limit of "
                f"{limit}: shorten the horizon, take a smaller MDP, or raise limit"
            )
        parents, action, successor = torch.nonzero(support[last], as_tuple=True)
        probabilities = (
            probabilities[parents]
            * policy[last[parents], action]
            * mdp.transitions[last[parents], action, successor]
        )
        states = torch.cat([states[parents], successor[:, None]], dim=1)
        actions = torch.cat([actions[parents], action[:, None]], dim=1)
    return Trajectories(states, actions, mdp.rewards[states[:, :-1], actions], probabilities)


def finite_difference_gradient(
    function: Callable[[Tensor], Tensor], theta: Tensor, step: float = 1e-6
) -> Tensor:
    """Gradient by perturbing each parameter: (f(theta + h e_i) - f(theta - h e_i)) / (2 h).

    function: of a tensor shaped like theta, returns a scalar. theta: any shape, float64.
    Returns theta's shape. [note (1), with the unit vectors e_i that it leaves out]
    Raises ValueError if theta is not float64: in float32 the difference drowns in rounding.
    """
    if theta.dtype != torch.float64:
        raise ValueError(f"theta must be float64, got {theta.dtype}: call theta.double()")
    gradient = torch.empty_like(theta).flatten()
    with torch.no_grad():
        for index in range(theta.numel()):
            offset = torch.zeros_like(theta).flatten()
            offset[index] = step
            offset = offset.reshape(theta.shape)
            gradient[index] = (function(theta + offset) - function(theta - offset)) / (2 * step)
    return gradient.reshape(theta.shape)


# Examples. Each docstring says what the MDP is good for.


def three_state_chain() -> TabularMDP:
    """The slides' chain: s_1 (far), s_2 (near), s_3 (goal, terminal); actions Left 0, Right 1.

    Left leads to s_1 (a wall at s_1), Right one to the right; gamma = 0.9, start at s_1.
    The slide prints Q = (1.2, 4.8; 3.1, 7.5; 0, 0) and V = (3.0, 5.3, 0) without rewards, and in
    the next table a policy (0.1, 0.9; 0.2, 0.8; 0.5, 0.5) that would weigh that Q to
    V = (4.44, 6.62, 0): the two tables do not belong together (erratum E1). The printed V is the
    uniform policy's, so the rewards here, r = Q - gamma V(next), make both printed tables exactly
    those of the uniform policy: (-1.5, 0.03; 0.4, 7.5; 0, 0). The printed policy has other values
    in this MDP (they satisfy its own Bellman equation, not the printed table). [slides 5 and 6]
    Good for: V, Q and A by hand; any gradient check, small enough for every trajectory.
    """
    uniform_action_values = torch.tensor([[1.2, 4.8], [3.1, 7.5], [0.0, 0.0]], dtype=torch.float64)
    uniform_values = uniform_action_values.mean(1)
    gamma = 0.9
    transitions = _deterministic([[0, 1], [0, 2], [2, 2]])
    rewards = uniform_action_values - gamma * transitions @ uniform_values
    return TabularMDP(transitions, rewards, gamma, _start_in(0, 3), _terminal([2], 3))


def bandit(rewards: Sequence[float]) -> TabularMDP:
    """One decision: state 0 pays rewards[a] for action a, and the episode is over.

    Good for: which probabilities a gradient step raises. With the slide's (10, 3, 0, -5, 8) from
    uniform only +10 and +8 rise, since the mean is 3.2 (erratum E9). [slide 32]
    """
    table = torch.zeros((2, len(rewards)), dtype=torch.float64)
    table[0] = torch.tensor(list(rewards), dtype=torch.float64)
    transitions = _deterministic([[1] * len(rewards)] * 2)
    return TabularMDP(transitions, table, 1.0, _start_in(0, 2), _terminal([1], 2))


def aliased_corridor() -> tuple[TabularMDP, Tensor]:
    """Corridor of three states that look alike, the middle one with its actions swapped.

    States 0, 1, 2 and the terminal 3; actions Left 0, Right 1; reward -1 a step, gamma = 1; Left in
    state 0 bumps into the wall; in state 1 Left goes right and Right goes left. [Sutton and Barto,
    Reinforcement Learning, 2nd edition, example 13.1]
    Returns the MDP and observations (S,): a policy of what can be seen is table[observations] with
    table (2, A), row 0 for the corridor.
    With p the probability of Right, J(p) = (2 p - 4) / (p (1 - p)): best is p = 2 - sqrt(2), about
    0.586, with J = -6 - 4 sqrt(2), about -11.66, while either pure policy never arrives.
    Good for: a best policy that is stochastic [slide 7]; any method that ends with an argmax fails.
    """
    transitions = _deterministic([[0, 1], [2, 0], [1, 3], [3, 3]])
    rewards = torch.tensor([[-1.0, -1.0]] * 3 + [[0.0, 0.0]], dtype=torch.float64)
    mdp = TabularMDP(transitions, rewards, 1.0, _start_in(0, 4), _terminal([3], 4))
    return mdp, torch.tensor([0, 0, 0, 1])


def aliased_twins() -> tuple[TabularMDP, Tensor]:
    """Two decisions that look alike, two steps apart, and want opposite actions.

    States 0 (first twin), 1 (a step between), 2 (second twin), 3 (terminal); both actions lead on.
    Right pays 1 in state 0, Left pays 2 in state 2; gamma = 0.5. Returns the MDP and observations
    (S,), as aliased_corridor does; table (3, A), row 0 for the twins.
    With p the probability of Right, J = p + gamma^2 2 (1 - p) = 0.5 + 0.5 p, so Right is best.
    Without gamma^t in front of the score term the update weighs the second twin by 2 in place of
    0.5 and follows p + 2 (1 - p): it goes Left, away from the optimum.
    Good for: showing that dropping gamma^t is a bias, not a matter of scale (erratum E8).
    """
    transitions = _deterministic([[1, 1], [2, 2], [3, 3], [3, 3]])
    rewards = torch.zeros((4, 2), dtype=torch.float64)
    rewards[0, 1] = 1.0
    rewards[2, 0] = 2.0
    mdp = TabularMDP(transitions, rewards, 0.5, _start_in(0, 4), _terminal([3], 4))
    return mdp, torch.tensor([0, 1, 0, 2])


def cancelling_rewards() -> TabularMDP:
    """Two steps that pay +1 and then -1 whatever one does; gamma = 1.

    States 0, 1 and the terminal 2. Every return R(tau) is 0, so REINFORCE-1 is exactly 0 on every
    episode, while rewards-to-go are 0 and -1: REINFORCE-2 has the same mean (zero) and more
    variance. Good for: "dropping past rewards lowers the variance" is not a theorem (erratum E7).
    """
    transitions = _deterministic([[1, 1], [2, 2], [2, 2]])
    rewards = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [0.0, 0.0]], dtype=torch.float64)
    return TabularMDP(transitions, rewards, 1.0, _start_in(0, 3), _terminal([2], 3))


def combination_lock(length: int = 5, gamma: float = 0.9) -> TabularMDP:
    """Right `length` times in a row opens the lock and pays 1; Left goes back to the start.

    States 0 .. length - 1 and the terminal `length`; actions Left 0, Right 1.
    Best return: J* = gamma^(length - 1). With probability p of Right in every state and
    q = p gamma, J = p q^(length-1) / (1 - gamma (1 - p) (1 - q^length) / (1 - q)).
    Good for: a known optimum in closed form, and gradients that shrink with every digit.
    Raises ValueError if length < 1.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    successors = [[0, state + 1] for state in range(length)] + [[length, length]]
    rewards = torch.zeros((length + 1, 2), dtype=torch.float64)
    rewards[length - 1, 1] = 1.0
    start, terminal = _start_in(0, length + 1), _terminal([length], length + 1)
    return TabularMDP(_deterministic(successors), rewards, gamma, start, terminal)


def cliff_walk(
    slip: float = 0.1, rows: int = 3, columns: int = 4, step_reward: float = -1.0
) -> TabularMDP:
    """Grid with a cliff between start and goal, and wind towards it.

    State = columns * row + column, rows from the top; start at the bottom left, goal at the bottom
    right, cliff between them, all but the start terminal. Actions Up 0, Right 1, Down 2, Left 3;
    with probability slip the wind blows one Down instead. A step pays step_reward, falling -10,
    arriving +10; gamma = 0.95.
    In 3 rows and 4 columns, at -1 a step, the best way runs along the edge (state 5) without wind,
    and by the top row from slip = 0.15 on.
    Good for: risk; steps too large, after which the policy no longer visits the goal.
    Raises ValueError if slip is outside [0, 1], rows below 2 or columns below 3.
    """
    if not 0 <= slip <= 1:
        raise ValueError(f"slip must be a probability in [0, 1], got {slip}")
    if rows < 2 or columns < 3:
        raise ValueError(f"a cliff needs 2 rows and 3 columns at least, got {rows} and {columns}")
    goal = rows * columns - 1
    start_at = goal - columns + 1
    cliff = range(start_at + 1, goal)
    moves = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    pay = torch.full((rows * columns,), step_reward, dtype=torch.float64)
    pay[goal] = 10.0
    pay[list(cliff)] = -10.0
    transitions = torch.zeros((rows * columns, 4, rows * columns), dtype=torch.float64)
    rewards = torch.zeros((rows * columns, 4), dtype=torch.float64)
    for state in range(rows * columns):
        if state == goal or state in cliff:
            transitions[state, :, state] = 1.0
            continue
        for action, move in enumerate(moves):
            for (down, right), chance in ((move, 1 - slip), ((1, 0), slip)):
                row = min(max(state // columns + down, 0), rows - 1)
                column = min(max(state % columns + right, 0), columns - 1)
                transitions[state, action, row * columns + column] += chance
        rewards[state] = transitions[state] @ pay
    start = _start_in(start_at, rows * columns)
    terminal = _terminal([goal, *cliff], rows * columns)
    return TabularMDP(transitions, rewards, 0.95, start, terminal)


def random_mdp(states: int, actions: int, gamma: float, generator: torch.Generator) -> TabularMDP:
    """Random MDP that never ends: every transition possible, rewards uniform in [-1, 1].

    Good for: theorems, which must hold on all of them; no symmetry hides a mistake.
    Raises ValueError if gamma is 1 (nothing ends) or a size is below 1.
    """
    _check_sizes(states=states, actions=actions)
    weights = _uniform((states, actions, states), generator).clamp_min(1e-12).log().neg()
    start = _uniform((states,), generator) + 0.1
    terminal = torch.zeros(states, dtype=torch.bool, device=generator.device)
    return TabularMDP(
        weights / weights.sum(-1, keepdim=True),
        2 * _uniform((states, actions), generator) - 1,
        gamma,
        start / start.sum(),
        terminal,
    )


def random_layered_mdp(
    layers: int, width: int, actions: int, gamma: float, generator: torch.Generator
) -> TabularMDP:
    """Random MDP whose every episode lasts exactly `layers` steps: the note's finite horizon.

    layers * width states, a layer after the other, then one terminal state; gamma may be 1.
    Good for: enumeration, which is exact with horizon = layers.
    Raises ValueError if a size is below 1.
    """
    _check_sizes(layers=layers, width=width, actions=actions)
    states = layers * width + 1
    transitions = torch.zeros((states, actions, states), dtype=torch.float64)
    transitions = transitions.to(generator.device)
    rewards = torch.zeros((states, actions), dtype=torch.float64, device=generator.device)
    for layer in range(layers):
        here = slice(layer * width, (layer + 1) * width)
        there = slice((layer + 1) * width, min((layer + 2) * width, states))
        size = there.stop - there.start
        weights = _uniform((width, actions, size), generator) + 0.05
        transitions[here, :, there] = weights / weights.sum(-1, keepdim=True)
        rewards[here] = 2 * _uniform((width, actions), generator) - 1
    transitions[-1, :, -1] = 1.0
    start = torch.zeros(states, dtype=torch.float64, device=generator.device)
    first = _uniform((width,), generator) + 0.1
    start[:width] = first / first.sum()
    terminal = _terminal([states - 1], states).to(generator.device)
    return TabularMDP(transitions, rewards, gamma, start, terminal)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=generator, device=generator.device)


def _deterministic(successors: list[list[int]]) -> Tensor:
    table = torch.tensor(successors)
    return torch.nn.functional.one_hot(table, len(successors)).to(torch.float64)


def _start_in(state: int, states: int) -> Tensor:
    start = torch.zeros(states, dtype=torch.float64)
    start[state] = 1.0
    return start


def _terminal(which: list[int], states: int) -> Tensor:
    terminal = torch.zeros(states, dtype=torch.bool)
    terminal[which] = True
    return terminal


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def _check_mdp(mdp: TabularMDP) -> None:
    for name in ("transitions", "rewards", "start", "terminal"):
        table = getattr(mdp, name)
        if not isinstance(table, Tensor):
            raise ValueError(
                f"{name} must be a torch tensor, got {type(table).__name__}: call torch.tensor"
            )
        if name == "terminal":
            if table.dtype != torch.bool:
                raise ValueError(f"terminal must be bool, got {table.dtype}: call .bool()")
        elif table.dtype != torch.float64:
            raise ValueError(f"{name} must be float64, got {table.dtype}: call .double()")
        elif not bool(table.isfinite().all()):
            raise ValueError(f"{name} holds NaN or infinite numbers: look for a division by zero")
        if table.device != mdp.transitions.device:
            raise ValueError(
                f"{name} is on {table.device} and transitions on {mdp.transitions.device}: "
                "put all tables on one device"
            )
    if mdp.rewards.ndim != 2 or 0 in mdp.rewards.shape:
        raise ValueError(
            f"rewards must be (S, A) with S and A at least 1, got {tuple(mdp.rewards.shape)}"
        )
    states, actions = mdp.rewards.shape
    wanted = {
        "transitions": (states, actions, states),
        "start": (states,),
        "terminal": (states,),
    }
    for name, shape in wanted.items():
        got = tuple(getattr(mdp, name).shape)
        if got != shape:
            raise ValueError(
                f"{name} must be {shape} to go with rewards {(states, actions)}, got {got}"
            )
    check_discount(mdp.gamma)
    for name in ("transitions", "start"):
        table = getattr(mdp, name)
        sums = table.sum(-1)
        if bool((table < 0).any()) or bool(((sums - 1).abs() > SUM_TOLERANCE).any()):
            raise ValueError(
                f"{name} must hold probabilities that sum to 1 over the last axis, got entries "
                f"from {float(table.min()):.6g} and sums from {float(sums.min()):.6g} to "
                f"{float(sums.max()):.6g}: divide by .sum(-1, keepdim=True)"
            )
    loops = mdp.transitions.diagonal(dim1=0, dim2=2).T  # (S, A): p(s | s, a)
    if bool((loops[mdp.terminal] != 1).any()) or bool((mdp.rewards[mdp.terminal] != 0).any()):
        raise ValueError(
            f"terminal states {torch.nonzero(mdp.terminal).flatten().tolist()} must lead to "
            "themselves with probability 1 and reward 0: pay on the step that enters them"
        )
    if bool((mdp.start[mdp.terminal] > 0).any()):
        raise ValueError(
            "start gives probability to a terminal state, an episode of no steps: start elsewhere"
        )
    if mdp.gamma == 1 and not bool(mdp.terminal.any()):
        raise ValueError(
            "gamma is 1 and no state is terminal, so returns are sums without end: use gamma < 1, "
            "or mark where episodes end in terminal"
        )


def cumulative(probabilities: Tensor) -> Tensor:
    """Distribution function over the last axis: a draw u in [0, 1) has outcome (u >= cdf).sum()."""
    cdf = probabilities.cumsum(-1)
    # Exactly 1 from the last possible outcome on: no draw passes it.
    return cdf / cdf[..., -1:]


def check_discount(gamma: float) -> None:
    """Raise ValueError unless gamma is a number in [0, 1]."""
    number = isinstance(gamma, (int, float)) and not isinstance(gamma, bool)
    if not number or not math.isfinite(gamma) or not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be a number in [0, 1], got {gamma!r}: a usual choice is 0.99")


def check_policy(mdp: TabularMDP, policy: Tensor) -> None:
    """Raise ValueError unless policy is a float64 (S, A) table whose rows are distributions."""
    wanted = (mdp.states, mdp.actions)
    if not isinstance(policy, Tensor):
        raise ValueError(
            f"policy must be a {wanted} tensor of probabilities, got {type(policy).__name__}: call "
            "torch.tensor on it, or softmax_policy(theta) on logits"
        )
    if tuple(policy.shape) != wanted:
        raise ValueError(
            f"policy must be (S, A) = {wanted}, a row a state, got {tuple(policy.shape)}: for what "
            "can only be observed, index the rows, table[observations]"
        )
    if policy.dtype != torch.float64:
        raise ValueError(f"policy must be float64, got {policy.dtype}: call .double()")
    table = policy.detach()
    sums = table.sum(1)
    # Written so that NaN fails it.
    if not bool((table >= 0).all() & ((sums - 1).abs() <= SUM_TOLERANCE).all()):
        raise ValueError(
            "policy must hold probabilities whose rows sum to 1, got entries from "
            f"{float(table.min()):.6g} and row sums from {float(sums.min()):.6g} to "
            f"{float(sums.max()):.6g}: for logits call softmax_policy(theta) first"
        )
