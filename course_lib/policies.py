"""Policies: tabular softmax, categorical and diagonal Gaussian, behind one interface.

Axes: S states, A actions (or action dimensions), B batch; a batch may have more axes than one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal, kl_divergence
from torch.nn import functional


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
        raise ValueError("theta holds NaN or infinite logits: the last step was too large")
    return theta.softmax(-1)


class Scaler(nn.Module):
    """What may stand before a network's first layer: a module that can do the same in NumPy."""

    def of_arrays(self) -> Callable[[np.ndarray], np.ndarray]:
        """`forward` of arrays (N, ...), for the numbers it holds now."""
        raise NotImplementedError


class OneHot(Scaler):
    """States as the unit vectors of `states` dimensions: what a network can read."""

    unit_vectors: Tensor

    def __init__(self, states: int) -> None:
        super().__init__()
        self.states = states
        self.register_buffer("unit_vectors", torch.eye(states), persistent=False)

    def forward(self, observations: Tensor) -> Tensor:
        """Whole numbers (B,) to (B, states)."""
        return self.unit_vectors[observations]

    def of_arrays(self) -> Callable[[np.ndarray], np.ndarray]:
        """`forward` of arrays (N,)."""
        return self.unit_vectors.numpy().__getitem__


Actor = Callable[[np.ndarray], np.ndarray]


class Policy(nn.Module):
    """What every policy can do; a policy is called on observations and gives a distribution.

    observation_shape, action_shape: of one observation and one action; () is a whole number.
    """

    observation_shape: tuple[int, ...]
    action_shape: tuple[int, ...]

    @property
    def discrete(self) -> bool:
        """Whether actions are whole numbers."""
        return self.action_shape == ()

    def forward(self, observations: Tensor) -> Distribution:
        """Distribution over actions for each observation."""
        raise NotImplementedError

    def distribution(self, observations: Tensor) -> Distribution:
        """pi(. | s) for each of the observations (B, ...)."""
        _check_observations(self, observations)
        return self(observations)

    def log_prob(self, observations: Tensor, actions: Tensor) -> Tensor:
        """log pi(a | s): observations (B, ...), actions (B, ...). Returns (B,), with a graph.

        Raises ValueError if actions do not go with observations one to one.
        """
        distribution = self.distribution(observations)
        _check_actions(self, observations, actions)
        return distribution.log_prob(actions)

    def sample(self, observations: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Actions drawn from pi(. | s), not clipped, and their log-probs (B,), without a graph.

        Raises FloatingPointError if the policy gives NaN.
        """
        _check_observations(self, observations)
        with torch.no_grad():
            actions = self.draw(observations, generator)
            log_probs = self.log_prob(observations, actions)
        _check_finite("actions or log-probs", actions.sum() + log_probs.sum())
        return actions, log_probs

    def draw(self, observations: Tensor, generator: torch.Generator) -> Tensor:
        """The actions of `sample`, unchecked: nothing here waits for the device."""
        raise NotImplementedError

    def actor(self, generator: torch.Generator, steps: int, envs: int) -> Actor:
        """`draw` of arrays (envs, ...), for at most `steps` calls, until the parameters change.

        A few rows at a time torch spends its time on calling, not on arithmetic: on a CPU those
        who choose once a step, and Gaussians, act in NumPy.
        """
        device = next(self.parameters()).device

        @torch.no_grad()
        def act(observations: np.ndarray) -> np.ndarray:
            return self.draw(torch.from_numpy(observations).to(device), generator).cpu().numpy()

        return act

    def entropy(self, observations: Tensor) -> Tensor:
        """Entropy of pi(. | s) in nats. Returns (B,)."""
        return self.distribution(observations).entropy()

    def kl(self, old: Distribution, observations: Tensor) -> Tensor:
        """KL(old || pi(. | s)) in nats, old a distribution over the same batch. Returns (B,).

        The old policy comes first [slide 56]; take it as policy.distribution(observations) under
        torch.no_grad().
        """
        return kl_divergence(old, self.distribution(observations))


class _DiscretePolicy(Policy):
    """What the tabular softmax and the network have in common: a softmax over logits."""

    action_shape = ()
    actions: int

    def logits(self, observations: Tensor) -> Tensor:
        """Logits (B, A)."""
        raise NotImplementedError

    def forward(self, observations: Tensor) -> Categorical:
        """Softmax of the logits."""
        return Categorical(logits=self.logits(observations), validate_args=False)

    def log_prob(self, observations: Tensor, actions: Tensor) -> Tensor:
        """log pi(a | s) = z_a - log sum_b exp(z_b), z the logits; otherwise as for any policy."""
        _check_observations(self, observations)
        _check_actions(self, observations, actions)
        return _pick(self.logits(observations).log_softmax(-1), actions)

    def draw(self, observations: Tensor, generator: torch.Generator) -> Tensor:
        """Actions (B,) long.

        By the Gumbel-max trick: argmax_a (z_a + noise_a) is drawn from the softmax of z.
        """
        logits = self.logits(observations)  # (B, A)
        return (logits + _gumbel(logits.shape, logits.dtype, generator)).argmax(-1)

    def logits_of_arrays(self) -> Callable[[np.ndarray], np.ndarray]:
        """`logits` in NumPy, for the parameters as they are."""
        raise NotImplementedError

    def actor(self, generator: torch.Generator, steps: int, envs: int) -> Actor:
        """`draw` of arrays (envs, ...), at most `steps` times; in NumPy on a CPU."""
        if generator.device.type != "cpu":
            return super().actor(generator, steps, envs)
        logits_of = self.logits_of_arrays()
        kind = next(self.parameters()).dtype
        noise = _rows(steps, lambda rows: _gumbel((rows, envs, self.actions), kind, generator))
        return lambda observations: (logits_of(observations) + next(noise)).argmax(-1)


class TabularSoftmaxPolicy(_DiscretePolicy):
    """theta (S, A), one row of logits a state: pi(a|s) = softmax(theta[s])[a]. [slide 68]

    Starts uniform. Observations are whole numbers (B,) below `states`.
    """

    observation_shape = ()

    def __init__(self, states: int, actions: int) -> None:
        super().__init__()
        self.actions = actions
        self.theta = nn.Parameter(torch.zeros((states, actions), dtype=torch.float64))

    def logits(self, observations: Tensor) -> Tensor:
        """Rows of theta (B, A)."""
        return self.theta[observations]

    def logits_of_arrays(self) -> Callable[[np.ndarray], np.ndarray]:
        """`logits` in NumPy, for the parameters as they are."""
        return self.theta.detach().numpy().__getitem__


class CategoricalPolicy(_DiscretePolicy):
    """Network with a softmax over `actions` choices. Observations are (B, obs_dim). [slide 68]

    hidden: widths of the tanh layers. generator: draws the first weights, on its own device.
    """

    def __init__(
        self,
        obs_dim: int,
        actions: int,
        hidden: Sequence[int] = (64, 64),
        *,
        generator: torch.Generator,
        scaler: Scaler | None = None,
    ) -> None:
        super().__init__()
        self.observation_shape = () if isinstance(scaler, OneHot) else (obs_dim,)
        self.actions = actions
        self.net = _network([obs_dim, *hidden, actions], 0.01, generator, scaler)

    def logits(self, observations: Tensor) -> Tensor:
        """Output of the network (B, A)."""
        return self.net(observations)

    def logits_of_arrays(self) -> Callable[[np.ndarray], np.ndarray]:
        """`logits` in NumPy, for the parameters as they are."""
        return self.net.of_arrays()


class MultiCategoricalPolicy(Policy):
    """Network with a softmax for each of K choices, made independently: MultiDiscrete actions.

    log pi(a|s) = sum_k log pi_k(a_k|s). actions: how many there are of each choice, K numbers.
    Observations (B, obs_dim), actions (B, K) long.
    hidden: widths of the tanh layers. generator: draws the first weights, on its own device.
    """

    discrete = True
    real: Tensor

    def __init__(
        self,
        obs_dim: int,
        actions: Sequence[int],
        hidden: Sequence[int] = (64, 64),
        *,
        generator: torch.Generator,
        scaler: Scaler | None = None,
    ) -> None:
        super().__init__()
        self.observation_shape = () if isinstance(scaler, OneHot) else (obs_dim,)
        self.actions = tuple(actions)
        self.action_shape = (len(self.actions),)
        self.net = _network([obs_dim, *hidden, sum(self.actions)], 0.01, generator, scaler)
        counts = torch.tensor(self.actions, device=generator.device)
        real = torch.arange(max(self.actions), device=generator.device) < counts[:, None]  # (K, A)
        self.register_buffer("real", real, persistent=False)

    def forward(self, observations: Tensor) -> Independent:
        """Independent softmaxes, log-probs summed over the last axis."""
        scores = self.net(observations)  # (B, sum of actions)
        # Rows of one length A: what is not real gets a logit that no probability is left for.
        logits = scores.new_full((*scores.shape[:-1], *self.real.shape), -1e9)
        logits[..., self.real] = scores
        return Independent(Categorical(logits=logits, validate_args=False), 1, validate_args=False)

    def draw(self, observations: Tensor, generator: torch.Generator) -> Tensor:
        """Actions (B, K) long."""
        logits = self(observations).base_dist.logits  # (B, K, A)
        return (logits + _gumbel(logits.shape, logits.dtype, generator)).argmax(-1)


class GaussianPolicy(Policy):
    """Diagonal Gaussian: mean from a network, one learned log_std an action dimension. [slide 69]

    log pi(a|s) = sum_i log N(a_i; mean_i(s), exp(log_std_i)^2), of the action as it was drawn: who
    clips it to the environment's bounds does so after this, and the log-prob stays the unclipped
    action's. Observations (B, obs_dim), actions (B, action_dim).
    hidden: widths of the tanh layers. generator: draws the first weights, on its own device.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        hidden: Sequence[int] = (64, 64),
        *,
        generator: torch.Generator,
        scaler: Scaler | None = None,
    ) -> None:
        super().__init__()
        self.observation_shape = () if isinstance(scaler, OneHot) else (obs_dim,)
        self.action_shape = (action_dim,)
        self.net = _network([obs_dim, *hidden, action_dim], 0.01, generator, scaler)
        self.log_std = nn.Parameter(torch.zeros(action_dim, device=generator.device))

    def forward(self, observations: Tensor) -> Independent:
        """Independent normals, log-probs summed over the last axis."""
        means = self.net(observations)
        normal = Normal(means, self.log_std.exp().expand_as(means), validate_args=False)
        return Independent(normal, 1, validate_args=False)

    def draw(self, observations: Tensor, generator: torch.Generator) -> Tensor:
        """Actions (B, action_dim)."""
        means = self.net(observations)
        noise = torch.empty_like(means).normal_(generator=generator)
        return means + self.log_std.exp() * noise

    def actor(self, generator: torch.Generator, steps: int, envs: int) -> Actor:
        """`draw` of arrays (envs, ...), at most `steps` times; in NumPy on a CPU."""
        if generator.device.type != "cpu":
            return super().actor(generator, steps, envs)
        means_of, std = self.net.of_arrays(), np.exp(self.log_std.detach().numpy())
        shape, kind = (envs, *self.action_shape), self.log_std.dtype
        noise = _rows(
            steps, lambda rows: torch.randn((rows, *shape), dtype=kind, generator=generator)
        )

        def act(observations: np.ndarray) -> np.ndarray:
            actions = means_of(observations) + std * next(noise)
            _check_finite("actions", actions)  # an environment may crash on them
            return actions

        return act


class TabularValues(nn.Module):
    """A value for each of `states` states, from 0. Observations are whole numbers (B,)."""

    def __init__(self, states: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(states, dtype=torch.float64))

    def forward(self, observations: Tensor) -> Tensor:
        """V(s), (B,)."""
        return self.table[observations]


class ValueNetwork(nn.Module):
    """V(s) from a network with tanh layers of widths `hidden`. Observations are (B, obs_dim).

    The answer is (B,), not (B, 1): against targets (B,) that would broadcast to (B, B).
    """

    def __init__(
        self,
        obs_dim: int,
        hidden: Sequence[int] = (64, 64),
        *,
        generator: torch.Generator,
        scaler: Scaler | None = None,
    ) -> None:
        super().__init__()
        self.net = _network([obs_dim, *hidden, 1], 1.0, generator, scaler)

    def forward(self, observations: Tensor) -> Tensor:
        """V(s), (B,)."""
        return self.net(observations).squeeze(-1)


def policy_for(
    env: Any,
    hidden: Sequence[int] = (64, 64),
    *,
    generator: torch.Generator,
    scaler: Scaler | None = None,
) -> TabularSoftmaxPolicy | CategoricalPolicy | MultiCategoricalPolicy | GaussianPolicy:
    """Policy that fits a gymnasium environment or vector environment, on the generator's device.

    Discrete observations and actions: TabularSoftmaxPolicy. Otherwise a network: a
    CategoricalPolicy for Discrete actions, a MultiCategoricalPolicy for MultiDiscrete ones, a
    GaussianPolicy for Box actions (action_dim,); it reads Box observations (obs_dim,) as they are,
    or through scaler, and Discrete ones as unit vectors. Give the critic the same scaler.
    Raises ValueError naming the space that fits none of these, and what to do.
    """
    observation_space, action_space = _spaces(env)
    states = _discrete_size("observation", observation_space)
    actions = _action_counts(action_space)
    if states is not None:
        if isinstance(actions, int):
            return TabularSoftmaxPolicy(states, actions).to(generator.device)
        inputs, scaler = states, OneHot(states).to(generator.device)
    else:
        inputs = _vector_size("observation", observation_space)
    if isinstance(actions, int):
        return CategoricalPolicy(inputs, actions, hidden, generator=generator, scaler=scaler)
    if actions is not None:
        return MultiCategoricalPolicy(inputs, actions, hidden, generator=generator, scaler=scaler)
    action_dim = _vector_size("action", action_space)
    return GaussianPolicy(inputs, action_dim, hidden, generator=generator, scaler=scaler)


def critic_for(
    env: Any,
    hidden: Sequence[int] = (64, 64),
    *,
    generator: torch.Generator,
    scaler: Scaler | None = None,
) -> TabularValues | ValueNetwork:
    """Value function for an environment's observations, on the generator's device.

    TabularValues where the policy is tabular, a ValueNetwork where it is a network.
    Raises ValueError if observations are neither Discrete nor a Box vector.
    """
    observation_space, action_space = _spaces(env)
    states = _discrete_size("observation", observation_space)
    if states is not None:
        if isinstance(_action_counts(action_space), int):
            return TabularValues(states).to(generator.device)
        one_hot = OneHot(states).to(generator.device)
        return ValueNetwork(states, hidden, generator=generator, scaler=one_hot)
    obs_dim = _vector_size("observation", observation_space)
    return ValueNetwork(obs_dim, hidden, generator=generator, scaler=scaler)


def check_fits(policy: Policy, env: Any) -> None:
    """Raise ValueError unless the policy takes the env's observations and gives its actions."""
    observation_space, action_space = _spaces(env)
    actions = _action_counts(action_space)
    if actions is None:
        shape: tuple[int, ...] = (_vector_size("action", action_space),)
    else:
        shape = () if isinstance(actions, int) else (len(actions),)
    if policy.action_shape != shape or getattr(policy, "actions", None) != actions:
        raise ValueError(
            f"{type(policy).__name__} does not fit action space {action_space}: make the policy "
            "with policy_for(env)"
        )
    states = _discrete_size("observation", observation_space)
    shape = () if states is not None else (_vector_size("observation", observation_space),)
    if policy.observation_shape != shape:
        raise ValueError(
            f"{type(policy).__name__} takes observations of shape {policy.observation_shape}, the "
            f"environment gives {observation_space}: make the policy with policy_for(env)"
        )


def _spaces(env: Any) -> tuple[Any, Any]:
    if hasattr(env, "single_action_space"):
        return env.single_observation_space, env.single_action_space
    return env.observation_space, env.action_space


def _discrete_size(kind: str, space: Any) -> int | None:
    """Number of values of a Discrete space, None for any other."""
    from gymnasium.spaces import Discrete

    if not isinstance(space, Discrete):
        return None
    if space.start != 0:
        raise ValueError(
            f"{kind} space {space} counts from {space.start}, policies here count from 0: wrap the "
            "environment so that it does too"
        )
    return int(space.n)


def _action_counts(space: Any) -> int | tuple[int, ...] | None:
    """Number of actions of a Discrete space, numbers of a MultiDiscrete one, None for any other."""
    from gymnasium.spaces import MultiDiscrete

    if not isinstance(space, MultiDiscrete):
        return _discrete_size("action", space)
    if space.nvec.ndim != 1 or (space.start != 0).any():
        raise ValueError(
            f"action space {space} is not supported: its choices must stand in one axis and count "
            "from 0, wrap the environment in gymnasium.wrappers.TransformAction"
        )
    return tuple(space.nvec.tolist())


def _vector_size(kind: str, space: Any) -> int:
    """Length of a Box vector, floating if it is of actions."""
    from gymnasium.spaces import Box

    supported, wrapper = {
        "observation": ("Discrete or a Box of one axis", "FlattenObservation"),
        "action": ("Discrete, MultiDiscrete or a floating Box of one axis", "TransformAction"),
    }[kind]
    fits = isinstance(space, Box) and len(space.shape) == 1 and space.shape[0] > 0
    if not fits or (kind == "action" and space.dtype.kind != "f"):
        raise ValueError(
            f"{kind} space {space} is not supported: {kind}s must be {supported}, wrap the "
            f"environment in gymnasium.wrappers.{wrapper}"
        )
    return int(space.shape[0])


def _batch_shape(policy: Policy, observations: Tensor) -> tuple[int, ...]:
    return tuple(observations.shape[: observations.ndim - len(policy.observation_shape)])


def _check_observations(policy: Policy, observations: Tensor) -> None:
    shape = policy.observation_shape
    if observations.numel() == 0:
        raise ValueError(f"observations are empty, {tuple(observations.shape)}: act at least once")
    if shape == ():
        if observations.is_floating_point():
            raise ValueError(
                f"observations must be whole numbers (B,), got {observations.dtype}: a tabular "
                "policy needs states, call .long()"
            )
    elif tuple(observations.shape[-1:]) != shape or observations.ndim < 2:
        raise ValueError(
            f"observations must be (B, {shape[0]}), got {tuple(observations.shape)}: add the batch "
            "axis with observation[None] where there is only one"
        )


def _check_actions(policy: Policy, observations: Tensor, actions: Tensor) -> None:
    wanted = (*_batch_shape(policy, observations), *policy.action_shape)
    if tuple(actions.shape) != wanted:
        raise ValueError(
            f"actions must be {wanted}, one for each observation, got {tuple(actions.shape)}: "
            "call .squeeze(-1) on (B, 1), or look where the batches part"
        )
    if policy.discrete and actions.is_floating_point():
        raise ValueError(
            f"actions must be whole numbers, got {actions.dtype}: call .long(), and look where "
            "they became floating"
        )


def _gumbel(shape: Sequence[int], kind: torch.dtype, generator: torch.Generator) -> Tensor:
    """Independent noise -log E, E ~ Exp(1), on the generator's device."""
    noise = torch.empty(tuple(shape), dtype=kind, device=generator.device)
    return noise.exponential_(generator=generator).log_().neg_()


def _rows(steps: int, noise: Callable[[int], Tensor]) -> Iterator[np.ndarray]:
    """`steps` rows, 64 at a time: a call of torch costs as much as hundreds of its numbers."""
    for start in range(0, steps, 64):
        yield from noise(min(64, steps - start)).numpy()


def _pick(rows: Tensor, columns: Tensor) -> Tensor:
    """rows[..., columns]: one entry of each row. rows (B, A), columns (B,). Returns (B,)."""
    return rows.gather(-1, columns.unsqueeze(-1)).squeeze(-1)


def _check_finite(what: str, tensor: Tensor | np.ndarray) -> None:
    """Raise FloatingPointError if the policy's tensor holds NaN or infinite numbers."""
    # The sum of finite numbers of this size is finite, and is one operation instead of four.
    if not math.isfinite(tensor.sum().item()):
        raise FloatingPointError(
            f"the policy's {what} hold NaN or infinite numbers: look for NaN in the observations, "
            "or a last update that was too large"
        )


class _Network(nn.Sequential):
    """Linear layers with tanh between them, on observations that a scaler may bring to size."""

    def __init__(self, layers: list[nn.Module], scaler: Scaler | None) -> None:
        super().__init__(*layers)
        self.linear = tuple(layer for layer in layers if isinstance(layer, nn.Linear))
        self.scaler = scaler

    def forward(self, inputs: Tensor) -> Tensor:
        if self.scaler is not None:
            inputs = self.scaler(inputs)
        # Straight to the weights: calling nn.Linear costs a few environments as much as its sums.
        theta = [part for layer in self.linear for part in (layer.weight, layer.bias)]
        return _TanhNetwork.apply(inputs, *theta)[0]

    def of_arrays(self) -> Callable[[np.ndarray], np.ndarray]:
        """The same function in NumPy, for the parameters as they are now."""
        *hidden, last = [
            (np.ascontiguousarray(layer.weight.detach().numpy().T), layer.bias.detach().numpy())
            for layer in self.linear
        ]
        scale = self.scaler.of_arrays() if self.scaler is not None else None

        def forward(inputs: np.ndarray) -> np.ndarray:
            if scale is not None:
                inputs = scale(inputs)
            for weight, bias in hidden:
                inputs = inputs @ weight
                inputs += bias
                np.tanh(inputs, out=inputs)
            return inputs @ last[0] + last[1]

        return forward


class _TanhNetwork(torch.autograd.Function):
    """y = W_K h_{K-1} + b_K, h_k = tanh(W_k h_{k-1} + b_k), h_0 the inputs (..., D), in one piece.

    theta: W_1, b_1 to W_K, b_K. Gives y and h_1 to h_{K-1}: nobody asks for the hidden layers, but
    as outputs they let second derivatives through, which Fisher-vector products need.
    With g_K the gradient with respect to y and g_k = (1 - h_k^2) (W_{k+1}^T g_{k+1}), those with
    respect to W_k and b_k are the sums over the batch of g_k h_{k-1}^T and of g_k.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, *theta: Tensor) -> tuple[Tensor, ...]:
        *hidden, last = zip(theta[::2], theta[1::2], strict=True)
        layers = [inputs]
        for weight, bias in hidden:
            layers.append(functional.linear(layers[-1], weight, bias))
            if inputs.device.type == "cpu":  # NumPy's tanh takes an eighth of the time of torch's
                array = layers[-1].numpy()
                np.tanh(array, out=array)
            else:
                layers[-1].tanh_()
        ctx.save_for_backward(*layers, *theta[::2])
        ctx.set_materialize_grads(False)
        return functional.linear(layers[-1], *last), *layers[1:]

    @staticmethod
    def backward(
        ctx: Any, gradient: Tensor | None, *for_hidden: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        depth = len(ctx.saved_tensors) // 2
        layers, weights = ctx.saved_tensors[:depth], ctx.saved_tensors[depth:]
        if gradient is None:  # of second derivatives: y itself does not matter
            gradient = layers[-1].new_zeros(*layers[-1].shape[:-1], len(weights[-1]))
        for_theta: list[Tensor] = []
        for k in reversed(range(depth)):
            rows, columns = _as_rows(gradient), _as_rows(layers[k])
            # A thin matrix is transposed six times as fast on the left as on the right.
            thin = rows.shape[1] < columns.shape[1]
            for_weight = rows.T @ columns if thin else (columns.T @ rows).T
            for_theta += rows.sum(0), for_weight
            if k > 0:
                gradient = gradient @ weights[k]
                also = for_hidden[k - 1]
                gradient = gradient if also is None else gradient + also
                gradient = torch.ops.aten.tanh_backward(gradient, layers[k])
        for_inputs = gradient @ weights[0] if ctx.needs_input_grad[0] else None
        return for_inputs, *reversed(for_theta)


def _as_rows(tensor: Tensor) -> Tensor:
    """(..., D) as (B, D)."""
    return tensor.reshape(-1, tensor.shape[-1])


def tanh_network(
    sizes: Sequence[int], last_gain: float, generator: torch.Generator
) -> nn.Sequential:
    """Linear layers of these sizes, inputs first, with tanh between them.

    Weights are orthogonal, of gain sqrt(2) and in the last layer last_gain; biases are 0. A small
    last_gain gives a policy that prefers no action before it has learned.
    """
    return nn.Sequential(*_layers(sizes, last_gain, generator))


def _network(
    sizes: list[int], last_gain: float, generator: torch.Generator, scaler: Scaler | None
) -> _Network:
    return _Network(_layers(sizes, last_gain, generator), scaler)


def _layers(sizes: Sequence[int], last_gain: float, generator: torch.Generator) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        last = index == len(sizes) - 2
        # skip_init: the constructor of nn.Linear would draw from the global generator.
        layer = nn.utils.skip_init(nn.Linear, inputs, outputs, device=generator.device)
        gain = last_gain if last else math.sqrt(2)
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer] if last else [layer, nn.Tanh()]
    return layers
