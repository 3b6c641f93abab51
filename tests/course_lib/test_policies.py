"""Policies against densities written out by hand, and which policy fits which environment."""

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from course_lib.policies import (
    CategoricalPolicy,
    GaussianPolicy,
    MultiCategoricalPolicy,
    Policy,
    TabularSoftmaxPolicy,
    TabularValues,
    ValueNetwork,
    check_fits,
    critic_for,
    policy_for,
    softmax_policy,
)
from course_lib.reference.answers.kl import kl
from course_lib.rollout import make_envs

VECTOR = Box(-1.0, 1.0, (3,), np.float32)


def new_generator(seed=0):
    return torch.Generator().manual_seed(seed)


def observations(count=50, size=3, seed=1):
    return torch.randn((count, size), generator=new_generator(seed))


def stirred(policy, seed=2):
    """The policy with parameters away from their start, where it is nearly uniform."""
    with torch.no_grad():
        for parameter in policy.parameters():
            noise = torch.randn(parameter.shape, generator=new_generator(seed))
            parameter += 0.5 * noise.to(parameter.dtype)
    return policy


class Spaces(gymnasium.Env):
    def __init__(self, observation_space, action_space):
        self.observation_space = observation_space
        self.action_space = action_space


def test_softmax_rows_are_distributions_with_the_right_log_odds():
    theta = torch.randn((4, 3), dtype=torch.float64, generator=new_generator())
    policy = softmax_policy(theta)
    torch.testing.assert_close(policy.sum(1), torch.ones(4, dtype=torch.float64))
    odds = policy.log()[:, :1] - policy.log()
    torch.testing.assert_close(odds, theta[:, :1] - theta)


def test_gaussian_log_prob_is_the_sum_over_action_dimensions_of_the_density():
    policy = stirred(GaussianPolicy(3, 2, generator=new_generator()))
    at = observations()
    actions = 3 * torch.randn((50, 2), generator=new_generator(3))
    means, stds = policy(at).mean, policy.log_std.exp()
    density = -((actions - means) ** 2) / (2 * stds**2) - stds.log() - math.log(2 * math.pi) / 2
    assert policy.log_prob(at, actions).shape == (50,)
    torch.testing.assert_close(policy.log_prob(at, actions), density[:, 0] + density[:, 1])


def test_gaussian_entropy_and_kl_have_their_closed_forms():
    old = stirred(GaussianPolicy(3, 2, generator=new_generator()))
    new = stirred(GaussianPolicy(3, 2, generator=new_generator(8)), seed=9)
    at = observations()
    entropy = (old.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum()
    torch.testing.assert_close(old.entropy(at), entropy.expand(50))
    a, b = old.log_std.exp(), new.log_std.exp()
    gap = old(at).mean - new(at).mean
    wanted = ((b / a).log() + (a**2 + gap**2) / (2 * b**2) - 0.5).sum(-1)
    torch.testing.assert_close(new.kl(old.distribution(at), at), wanted)


def test_categorical_entropy_and_kl_have_their_closed_forms():
    old = stirred(CategoricalPolicy(3, 4, generator=new_generator()))
    new = stirred(CategoricalPolicy(3, 4, generator=new_generator(8)), seed=9)
    at = observations()
    p, q = old.logits(at).softmax(-1), new.logits(at).softmax(-1)
    torch.testing.assert_close(old.entropy(at), -(p * p.log()).sum(-1))
    divergence = new.kl(old.distribution(at), at)
    torch.testing.assert_close(divergence, (p * (p / q).log()).sum(-1))
    assert (divergence - old.kl(new.distribution(at), at)).abs().max() > 1e-3
    torch.testing.assert_close(divergence.mean(), kl(old.logits(at), new.logits(at)))


def test_tabular_policy_is_the_softmax_of_its_table():
    policy = stirred(TabularSoftmaxPolicy(3, 4))
    states, actions = torch.tensor([0, 2, 2, 1]), torch.tensor([3, 0, 1, 2])
    wanted = softmax_policy(policy.theta)[states, actions].log()
    torch.testing.assert_close(policy.log_prob(states, actions), wanted)


@pytest.mark.parametrize("kind", ["tabular", "network"])
def test_discrete_samples_have_the_policys_frequencies_and_log_probs(kind):
    count = 40_000
    if kind == "tabular":
        policy = stirred(TabularSoftmaxPolicy(2, 3))
        at = torch.ones(count, dtype=torch.long)
    else:
        policy = stirred(CategoricalPolicy(3, 3, generator=new_generator()))
        at = observations(1).expand(count, 3)
    actions, log_probs = policy.sample(at, new_generator())
    torch.testing.assert_close(log_probs, policy.log_prob(at, actions).detach())
    wanted = policy.distribution(at[:1]).probs[0].detach().double()
    assert wanted.max() - wanted.min() > 0.05
    error = (wanted * (1 - wanted) / count).sqrt()
    frequencies = torch.bincount(actions, minlength=3) / count
    assert ((frequencies - wanted).abs() < 4 * error).all()


def test_gaussian_samples_have_the_policys_mean_and_spread():
    policy = stirred(GaussianPolicy(3, 2, generator=new_generator()))
    at = observations(1).expand(40_000, 3)
    actions, log_probs = policy.sample(at, new_generator())
    torch.testing.assert_close(log_probs, policy.log_prob(at, actions).detach())
    stds = policy.log_std.exp().detach()
    error = (actions.mean(0) - policy(at[:1]).mean[0].detach()).abs()
    assert (error < 4 * stds / 200).all()
    assert ((actions.std(0) / stds - 1).abs() < 4 / math.sqrt(80_000)).all()


def everything(policy_type):
    if policy_type is TabularSoftmaxPolicy:
        return stirred(TabularSoftmaxPolicy(4, 3)), np.arange(40) % 4
    return stirred(policy_type(3, 3, generator=new_generator())), observations(40).numpy()


# No hidden layer, and layers that grow and shrink: the sums over the batch differ with the shape.
@pytest.mark.parametrize("hidden", [(), (5,), (2, 5), (5, 1), (3, 4, 2)])
@pytest.mark.parametrize("batch", [(), (1,), (2, 3)])
def test_a_networks_first_and_second_derivatives_are_those_of_its_values(hidden, batch):
    network = stirred(ValueNetwork(3, hidden, generator=new_generator()).double())
    at = torch.randn((*batch, 3), dtype=torch.float64, generator=new_generator(1))
    names, theta = zip(*network.named_parameters(), strict=True)

    def values(at, *theta):
        return torch.func.functional_call(network, dict(zip(names, theta, strict=True)), (at,))

    hidden = at
    for layer in network.net.linear[:-1]:
        hidden = (hidden @ layer.weight.T + layer.bias).tanh()
    last = network.net.linear[-1]
    torch.testing.assert_close(network(at), (hidden @ last.weight.T + last.bias).squeeze(-1))
    inputs = (at.requires_grad_(), *theta)
    assert torch.autograd.gradcheck(values, inputs)
    assert torch.autograd.gradgradcheck(values, inputs)


@pytest.mark.parametrize("policy_type", [TabularSoftmaxPolicy, CategoricalPolicy, GaussianPolicy])
def test_actor_draws_from_the_policy(policy_type):
    policy, at = everything(policy_type)
    before = at.copy()
    act = policy.actor(new_generator(), 3000, len(at))
    actions = torch.from_numpy(np.stack([act(at) for _ in range(3000)]))  # (3000, 40, ...)
    assert np.array_equal(at, before)
    distribution = policy(torch.from_numpy(at))
    if policy_type is GaussianPolicy:
        means, stds = distribution.mean.detach(), policy.log_std.exp().detach()
        assert ((actions.mean(0) - means).abs() < 5 * stds / 3000**0.5).all()
        assert ((actions.std(0) / stds - 1).abs() < 5 / 6000**0.5).all()
    else:
        probs = distribution.probs.detach()
        frequencies = torch.nn.functional.one_hot(actions, 3).double().mean(0)
        error = (probs * (1 - probs) / 3000).sqrt() + 1 / 3000  # rare actions come or do not
        assert ((frequencies - probs).abs() < 5 * error).all()


@pytest.mark.parametrize("policy_type", [TabularSoftmaxPolicy, CategoricalPolicy, GaussianPolicy])
def test_actor_on_tensors_is_the_one_for_other_devices(policy_type):
    policy, at = everything(policy_type)
    actions = Policy.actor(policy, new_generator(), 5, len(at))(at)
    wanted, _ = policy.sample(torch.from_numpy(at), new_generator())
    assert np.array_equal(actions, wanted.numpy())


def test_an_action_of_probability_zero_is_never_drawn():
    policy = TabularSoftmaxPolicy(1, 4)
    with torch.no_grad():
        policy.theta[0] = torch.tensor([-np.inf, 0.0, -np.inf, 1.0])
    at = torch.zeros(20_000, dtype=torch.long)
    for actions in (
        policy.sample(at, new_generator())[0],
        torch.from_numpy(policy.actor(new_generator(), 1, len(at))(at.numpy())),
    ):
        counts = torch.bincount(actions, minlength=4).tolist()
        assert counts[0] == counts[2] == 0
        assert counts[1] > 4000


def test_an_actor_that_diverged_says_so():
    policy, at = everything(GaussianPolicy)
    with pytest.raises(FloatingPointError, match="hold NaN or infinite"):
        policy.actor(new_generator(), 1, len(at))(at * np.nan)


def test_nothing_is_learned_from_no_steps():
    network = ValueNetwork(3, (4,), generator=new_generator())
    network(torch.zeros((0, 3))).sum().backward()
    assert all(torch.equal(each.grad, torch.zeros_like(each)) for each in network.parameters())


def test_batches_may_have_two_axes():
    policy = stirred(CategoricalPolicy(3, 4, generator=new_generator()))
    at = observations(12).reshape(4, 3, 3)
    actions, log_probs = policy.sample(at, new_generator())
    assert actions.shape == log_probs.shape == (4, 3)
    flat = policy.log_prob(at.reshape(12, 3), actions.flatten())
    torch.testing.assert_close(policy.log_prob(at, actions).flatten(), flat)
    assert ValueNetwork(3, generator=new_generator())(at).shape == (4, 3)


def test_making_and_sampling_touch_no_global_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = GaussianPolicy(3, 2, generator=new_generator(4))
    first.sample(observations(), new_generator())
    CategoricalPolicy(3, 2, generator=new_generator(4)).sample(observations(), new_generator())
    ValueNetwork(3, generator=new_generator())
    assert torch.equal(before, torch.get_rng_state())
    second = GaussianPolicy(3, 2, generator=new_generator(4))
    other = GaussianPolicy(3, 2, generator=new_generator(5))
    weights = [policy.net[0].weight for policy in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("module", "last_gain"),
    [
        (CategoricalPolicy(3, 2, (6, 4), generator=new_generator()), 0.01),
        (GaussianPolicy(3, 2, (6, 4), generator=new_generator()), 0.01),
        (ValueNetwork(3, (6, 4), generator=new_generator()), 1.0),
    ],
)
def test_networks_start_orthogonal_and_policies_nearly_alike_in_all_states(module, last_gain):
    """Weights times their transpose are gain^2 on the diagonal; in hidden layers gain^2 = 2."""
    squares = [2.0, 2.0, last_gain**2]
    for layer, square in zip(module.net.linear, squares, strict=True):
        weight = layer.weight if layer.weight.shape[0] <= layer.weight.shape[1] else layer.weight.T
        wanted = square * torch.eye(len(weight))
        torch.testing.assert_close(weight @ weight.T, wanted, rtol=1e-5, atol=1e-6 * square)
        assert not layer.bias.any()


@pytest.mark.parametrize(
    ("env_id", "policy_type", "critic_type"),
    [
        ("CartPole-v1", CategoricalPolicy, ValueNetwork),
        ("Pendulum-v1", GaussianPolicy, ValueNetwork),
        ("FrozenLake-v1", TabularSoftmaxPolicy, TabularValues),
    ],
)
def test_policy_and_critic_fit_an_environment_and_its_vector(env_id, policy_type, critic_type):
    for env in (gymnasium.make(env_id), make_envs(env_id, 2)):
        policy = policy_for(env, generator=new_generator())
        assert type(policy) is policy_type
        assert type(critic_for(env, generator=new_generator())) is critic_type
        check_fits(policy, env)


@pytest.mark.parametrize(
    ("observation_space", "action_space", "words"),
    [
        (
            VECTOR,
            MultiDiscrete([[2, 2]]),
            r"action space MultiDiscrete.* one axis and count from 0",
        ),
        (VECTOR, MultiDiscrete([2, 2], start=[0, 1]), "count from 0.*TransformAction"),
        (VECTOR, MultiBinary(3), r"space MultiBinary\(3\) is not supported: actions must be Discr"),
        (VECTOR, Box(-1, 1, (2, 2), np.float32), "action space Box.*floating Box of one axis"),
        (VECTOR, Box(0, 5, (2,), np.int64), "int64.*floating Box of one axis"),
        (VECTOR, Discrete(3, start=1), "counts from 1.*wrap"),
        (Box(0, 255, (8, 8, 3), np.uint8), Discrete(2), "FlattenObservation"),
        (Dict({"a": VECTOR}), Discrete(2), "observation space Dict.*FlattenObservation"),
        (
            Tuple([VECTOR, VECTOR]),
            Discrete(2),
            "observations must be Discrete or a Box of one axis",
        ),
    ],
)
def test_spaces_without_a_policy_are_refused(observation_space, action_space, words):
    with pytest.raises(ValueError, match=words):
        policy_for(Spaces(observation_space, action_space), generator=new_generator())


def test_a_policy_for_another_environment_does_not_fit():
    policy = CategoricalPolicy(3, 2, generator=new_generator())
    check_fits(policy, Spaces(VECTOR, Discrete(2)))
    with pytest.raises(ValueError, match="does not fit action space Discrete"):
        check_fits(policy, Spaces(VECTOR, Discrete(3)))
    with pytest.raises(ValueError, match="does not fit action space Box"):
        check_fits(policy, Spaces(VECTOR, Box(-1, 1, (2,), np.float32)))
    with pytest.raises(ValueError, match=r"takes observations of shape \(3,\)"):
        check_fits(policy, Spaces(Box(-1, 1, (4,), np.float32), Discrete(2)))
    gaussian = GaussianPolicy(3, 2, generator=new_generator())
    with pytest.raises(ValueError, match="does not fit action space Box"):
        check_fits(gaussian, Spaces(VECTOR, Box(-1, 1, (1,), np.float32)))


def test_batches_that_would_broadcast_are_refused():
    policy = CategoricalPolicy(3, 2, generator=new_generator())
    at = observations(5)
    with pytest.raises(ValueError, match=r"actions must be \(5,\).*got \(5, 1\).*squeeze"):
        policy.log_prob(at, torch.zeros((5, 1), dtype=torch.long))
    with pytest.raises(ValueError, match="actions must be whole numbers"):
        policy.log_prob(at, torch.zeros(5))
    with pytest.raises(ValueError, match=r"observations must be \(B, 3\), got \(3,\)"):
        policy.sample(at[0], new_generator())
    with pytest.raises(ValueError, match="observations are empty"):
        policy.entropy(at[:0])
    gaussian = GaussianPolicy(3, 2, generator=new_generator())
    with pytest.raises(ValueError, match=r"actions must be \(5, 2\).*got \(5,\)"):
        gaussian.log_prob(at, torch.zeros(5))
    with pytest.raises(ValueError, match="whole numbers"):
        TabularSoftmaxPolicy(3, 2).sample(at[:, 0], new_generator())


def test_a_policy_that_diverged_says_so():
    for policy in (
        CategoricalPolicy(3, 2, generator=new_generator()),
        GaussianPolicy(3, 2, generator=new_generator()),
    ):
        with pytest.raises(FloatingPointError, match="hold NaN or infinite"):
            policy.sample(observations() * float("nan"), new_generator())


def test_several_choices_are_independent_softmaxes():
    """Against each choice's own softmax over its own part of the network's output."""
    counts = (3, 2, 4)
    policy = MultiCategoricalPolicy(3, counts, (5,), generator=new_generator()).double()
    old = MultiCategoricalPolicy(3, counts, (5,), generator=new_generator(8)).double()
    stirred(policy), stirred(old, seed=9)
    at = observations().double()
    actions, log_probs = policy.sample(at, new_generator(3))
    assert actions.shape == (50, 3)
    tables = [p.net(at).split(counts, -1) for p in (policy, old)]
    mine, others = ([part.log_softmax(-1) for part in parts] for parts in tables)
    each = [part.gather(1, actions[:, k : k + 1])[:, 0] for k, part in enumerate(mine)]
    torch.testing.assert_close(policy.log_prob(at, actions), sum(each))
    torch.testing.assert_close(log_probs, sum(each))
    entropy = -sum((part.exp() * part).sum(-1) for part in mine)
    torch.testing.assert_close(policy.entropy(at), entropy)
    pairs = zip(others, mine, strict=True)
    divergence = sum((theirs.exp() * (theirs - ours)).sum(-1) for theirs, ours in pairs)
    torch.testing.assert_close(policy.kl(old(at), at), divergence)
    parameters = list(policy.parameters())
    got = torch.autograd.grad(policy.kl(old(at), at).sum(), parameters)
    for gradient, wanted in zip(
        got, torch.autograd.grad(divergence.sum(), parameters), strict=True
    ):
        assert wanted.abs().max() > 1e-3
        torch.testing.assert_close(gradient, wanted)


def test_choices_are_drawn_with_their_probabilities():
    policy = stirred(MultiCategoricalPolicy(3, (3, 2), (5,), generator=new_generator()))
    at = observations(1).expand(40_000, 3)
    actions, _ = policy.sample(at, new_generator(4))
    probabilities = policy(at[:1]).base_dist.probs[0].detach()
    for k, count in enumerate((3, 2)):
        seen = torch.bincount(actions[:, k], minlength=count)
        assert len(seen) == count
        share = probabilities[k, :count]
        error = (share * (1 - share) / 40_000).sqrt()
        assert ((seen / 40_000 - share).abs() < 4.5 * error).all()


@pytest.mark.parametrize(
    ("action_space", "kind"),
    [
        (MultiDiscrete([3, 2]), MultiCategoricalPolicy),
        (Box(-1, 1, (2,), np.float32), GaussianPolicy),
    ],
)
def test_states_reach_a_network_as_unit_vectors(action_space, kind):
    env = Spaces(Discrete(5), action_space)
    policy = stirred(policy_for(env, (4,), generator=new_generator()))
    critic = stirred(critic_for(env, (4,), generator=new_generator()))
    assert type(policy) is kind
    assert type(critic) is ValueNetwork
    check_fits(policy, env)
    states = torch.tensor([3, 0, 3, 4])
    first, last = critic.net.linear
    hidden = torch.tanh(first.weight[:, states].T + first.bias)  # a column for each state
    wanted = (hidden @ last.weight.T + last.bias)[:, 0]
    torch.testing.assert_close(critic(states), wanted)
    actions, log_probs = policy.sample(states, new_generator(1))
    torch.testing.assert_close(policy.log_prob(states, actions), log_probs)
    arrays = policy.actor(new_generator(1), 1, 4)(states.numpy())
    assert arrays.shape == actions.shape
