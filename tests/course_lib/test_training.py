"""The loops hand the parts what the parts expect, and the three agents learn."""

from dataclasses import FrozenInstanceError, fields, replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

from course_lib.optimiser import Adam
from course_lib.policies import CategoricalPolicy, critic_for, policy_for
from course_lib.reference.agents.ppo import train_ppo
from course_lib.reference.agents.reinforce import padded_returns, policy_losses, train_reinforce
from course_lib.reference.agents.trpo import (
    distribution_at,
    fisher_products,
    train_trpo,
    trust_region_step,
)
from course_lib.reference.answers.baseline_loss import baseline_loss
from course_lib.reference.answers.clipped_surrogate import clipped_surrogate
from course_lib.reference.answers.conjugate_gradient import conjugate_gradient
from course_lib.reference.answers.fisher_vector_product import fisher_vector_product
from course_lib.reference.answers.gae import gae
from course_lib.reference.answers.kl import kl
from course_lib.reference.answers.returns_to_go import returns_to_go
from course_lib.rollout import EnvironmentFailed, collect, collect_episodes, make_envs
from course_lib.seeding import draw_seed, new_generator
from course_lib.training import (
    Batch,
    History,
    PPOConfig,
    ReinforceConfig,
    Run,
    TRPOConfig,
    decayed,
    make_batch,
    normalise,
    shuffled,
    train_on_episodes,
    train_on_steps,
)

AGENTS = [
    (train_reinforce, ReinforceConfig(envs=4, hidden=(8,), total_steps=400)),
    (train_ppo, PPOConfig(envs=4, hidden=(8,), total_steps=400)),
    (train_trpo, TRPOConfig(envs=4, hidden=(8,), total_steps=400)),
]
NAMES = ["reinforce", "ppo", "trpo"]


class Countdown(gymnasium.Env):
    """Shows how many steps are left of `length`, each of which pays that number."""

    observation_space = gymnasium.spaces.Box(0, 10, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = self.length
        return np.array([self.left], np.float32), {}

    def step(self, action):
        reward, self.left = float(self.left), self.left - 1
        return np.array([self.left], np.float32), reward, self.left == 0, False, {}


def countdown_envs():
    return SyncVectorEnv([lambda n=n: Countdown(n) for n in (2, 4, 1)])


def loop(train, config, **parts):
    envs = countdown_envs()
    generator = new_generator(0)
    policy = policy_for(envs, generator=generator)
    critic = critic_for(envs, generator=generator)
    return policy, train(envs, policy, critic, config, generator=generator, **parts)


def test_episode_loop_calls_returns_and_loss_on_one_whole_episode_at_a_time():
    seen = []

    def returns(rewards, gamma):
        seen.append((rewards.tolist(), gamma))
        return returns_to_go(rewards, gamma)

    losses = []

    def loss(log_probs, targets, values, gamma):
        assert log_probs.shape == targets.shape == values.shape
        losses.append(baseline_loss(log_probs, targets, values, gamma))
        return losses[-1]

    def update(mean_loss, observations, targets):
        torch.testing.assert_close(mean_loss, torch.stack(losses[-3:]).mean())
        assert observations[:, 0].tolist() == [2, 1, 4, 3, 2, 1, 1]
        assert targets.tolist() == [2.5, 1, 6.125, 4.25, 2.5, 1, 1]
        return {}

    config = ReinforceConfig(envs=3, gamma=0.5, total_steps=12)
    _, history = loop(train_on_episodes, config, returns=returns, loss=loss, update=update)
    assert seen == [([2, 1], 0.5), ([4, 3, 2, 1], 0.5), ([1], 0.5)]
    assert history.episode_returns == [1.0, 3.0, 10.0]
    assert history.episode_steps == [3, 6, 12]
    assert history.steps == 12


def test_step_loop_hands_over_valid_steps_only_and_goes_on_where_it_stopped():
    batches = []

    def update(batch):
        batches.append(batch)
        return {"size": float(len(batch))}

    config = PPOConfig(envs=3, rollout_steps=3, total_steps=18)
    _, history = loop(train_on_steps, config, advantages=gae, update=update)
    # Environments of 2, 4 and 1 steps, each followed by a reset step, marked - here:
    # rows 0-2:  2 1 -   4 3 2   1 - 1      rows 3-5:  2 1 -   1 - 4   - 1 -
    assert [sorted(batch.observations[:, 0].tolist()) for batch in batches] == [
        [1, 1, 1, 2, 2, 3, 4],
        [1, 1, 1, 2, 4],
    ]
    assert [numbers["size"] for numbers in history.updates] == [7, 5]
    assert history.episode_returns == [1.0, 3.0, 1.0, 10.0, 3.0, 1.0]
    assert history.steps == 18


def test_parts_that_answer_in_a_wrong_shape_are_named():
    def column(*arguments):
        return gae(*arguments)[..., None]

    def holes(*arguments):
        return gae(*arguments) * float("nan")

    config = PPOConfig(envs=3, rollout_steps=3)
    with pytest.raises(ValueError, match=r"advantages must give .* \(3, 3\), got \(3, 3, 1\)"):
        loop(train_on_steps, config, advantages=column, update=lambda batch: {})
    with pytest.raises(FloatingPointError, match="advantages gave NaN"):
        loop(train_on_steps, config, advantages=holes, update=lambda batch: {})
    parts = {"loss": baseline_loss, "update": lambda *arguments: {}}
    with pytest.raises(ValueError, match=r"returns must give .* \(2,\), got \(\)"):
        loop(train_on_episodes, ReinforceConfig(), returns=lambda r, g: r.sum(), **parts)
    with pytest.raises(ValueError, match="got NoneType"):
        loop(train_on_episodes, ReinforceConfig(), returns=lambda r, g: None, **parts)


def test_minibatches_pass_over_every_step_once_with_columns_together():
    steps = torch.arange(10.0)
    batch = Batch(steps[:, None], steps.long(), steps + 1, steps + 2, steps + 3)
    parts = list(batch.minibatches(3, new_generator(0)))
    assert [len(part) for part in parts] == [4, 3, 3]
    order = torch.cat([part.actions for part in parts])
    assert sorted(order.tolist()) == list(range(10))
    assert order.tolist() != list(range(10))
    for part in parts:
        at = part.actions.float()
        assert torch.equal(part.observations[:, 0], at)
        assert torch.equal(part.log_probs, at + 1)
        assert torch.equal(part.advantages, at + 2)
        assert torch.equal(part.returns, at + 3)
    with pytest.raises(ValueError, match=r"11 minibatches of 10 steps.*choose 1 to 10"):
        next(batch.minibatches(11, new_generator(0)))


def test_shuffled_numbers_come_once_each_in_parts_of_nearly_one_size():
    parts = shuffled(10, 4, new_generator(0))
    assert [len(part) for part in parts] == [4, 3, 3]
    order = torch.cat(list(parts)).tolist()
    assert sorted(order) == list(range(10)) != order
    assert len(shuffled(8, 4, new_generator(0))) == 2


def test_normalised_advantages_have_mean_zero_and_spread_one():
    advantages = torch.tensor([3.0, -1.0, 8.0, 0.5], dtype=torch.float64)
    got = normalise(advantages)
    assert got.mean().item() == pytest.approx(0, abs=1e-12)
    assert got.std().item() == pytest.approx(1, rel=1e-7)
    assert torch.equal(got.argsort(), advantages.argsort())
    with pytest.raises(ValueError, match=r"\(B,\) with B at least 2, got \(1,\)"):
        normalise(advantages[:1])


def test_mean_return_waits_for_enough_episodes():
    history = History([1.0, 2.0, 3.0])
    assert np.isnan(history.mean_return(4))
    assert history.mean_return(2) == 2.5


def test_a_curve_is_the_mean_of_the_episodes_that_ended_in_each_span():
    history = History([1.0, 2.0, 6.0, 5.0, 9.0], [1, 50, 50, 51, 201])
    curve = history.curve(200, 4)
    assert curve[:2] == [3.0, 5.0]
    assert np.isnan(curve[2:]).all()


@pytest.mark.parametrize("config", [ReinforceConfig(), PPOConfig(), TRPOConfig()])
def test_configs_are_frozen_and_every_bad_field_is_named(config):
    with pytest.raises(FrozenInstanceError):
        config.gamma = 0.5
    wrong = {"hidden": [(0,)], "stop_return": [float("nan"), float("inf")]}
    for field in fields(config):
        large = [1e39] if field.name.endswith("learning_rate") else []  # not finite as float32
        for bad in wrong.get(field.name, [-1, float("nan"), *large]):
            with pytest.raises(ValueError, match=f"{field.name} must"):
                replace(config, **{field.name: bad})


def test_generators_and_devices_are_checked():
    with pytest.raises(ValueError, match="seed must be 0 or larger"):
        new_generator(-1)
    for device in ("tpu", "cuda:first", "meta"):
        with pytest.raises(ValueError, match=f"device must be 'cpu' or 'cuda', got '{device}'"):
            new_generator(0, device)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device cuda is wanted and torch sees 0"):
            new_generator(0, "cuda")
        for train, config in AGENTS:
            with pytest.raises(ValueError, match="device cuda is wanted"):
                train("CartPole-v1", config, generator=new_generator(0), device="cuda")
    seeds = [draw_seed(new_generator(seed)) for seed in (1, 1, 2)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_distribution_at_the_policys_own_parameters_is_its_own_and_carries_a_graph():
    policy = CategoricalPolicy(3, 4, hidden=(5,), generator=new_generator(0))
    theta = torch.nn.utils.parameters_to_vector(policy.parameters()).detach()
    at = torch.randn((6, 3), generator=new_generator(1))
    torch.testing.assert_close(
        distribution_at(policy, theta, at).logits, policy.distribution(at).logits
    )
    other = theta + 0.3 * torch.randn(theta.shape, generator=new_generator(2))
    leaf = other.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(distribution_at(policy, leaf, at).entropy().sum(), leaf)
    torch.nn.utils.vector_to_parameters(other, policy.parameters())
    wanted = torch.autograd.grad(policy.entropy(at).sum(), list(policy.parameters()))
    torch.testing.assert_close(gradient, torch.cat([piece.flatten() for piece in wanted]))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_trust_region_step_gains_and_stays_inside_while_it_uses_what_it_may(env_id):
    envs = make_envs(env_id, 2)
    policy = policy_for(envs, (8,), generator=new_generator(0)).double()
    generator = new_generator(1)
    at = torch.randn((200, *policy.observation_shape), generator=generator, dtype=torch.float64)
    actions, log_probs = policy.sample(at, generator)
    advantages = torch.randn(200, generator=generator, dtype=torch.float64)
    batch = Batch(at, actions, log_probs, advantages, advantages)
    old = policy.distribution(at)
    config = TRPOConfig(delta=1e-4, damping=1e-6, cg_iterations=50, fisher_every=1)
    statistics = trust_region_step(policy, batch, config)
    with torch.no_grad():
        moved = policy.kl(old, at).mean().item()
        ratio = (policy.log_prob(at, actions) - log_probs).exp()
    assert moved == pytest.approx(statistics["kl"], rel=1e-9)
    # The step uses up delta to second order; the line search may have halved it once: KL / 4.
    assert 0.2 * config.delta < moved <= config.delta
    gain = (ratio * normalise(advantages)).mean() - normalise(advantages).mean()
    assert gain.item() == pytest.approx(statistics["gain"], rel=1e-6)
    assert gain > 0


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_fisher_products_with_one_graph_are_the_fisher_vector_product(env_id):
    envs = make_envs(env_id, 2)
    policy = policy_for(envs, (8,), generator=new_generator(0)).double()
    at = torch.randn(
        (50, *policy.observation_shape), generator=new_generator(1), dtype=torch.float64
    )
    theta = torch.nn.utils.parameters_to_vector(policy.parameters()).detach()
    old = distribution_at(policy, theta + 0.1, at)  # where the gradient is not 0 either

    def mean_kl(candidate):
        return torch.distributions.kl_divergence(old, distribution_at(policy, candidate, at)).mean()

    multiply = fisher_products(mean_kl, theta, 0.1)
    for seed in range(3):
        vector = torch.randn(theta.shape, generator=new_generator(seed), dtype=torch.float64)
        wanted = fisher_vector_product(mean_kl, theta, vector, 0.1)
        assert (wanted - 0.1 * vector).abs().max() > 1e-3
        torch.testing.assert_close(multiply(vector), wanted)


def test_trust_region_direction_is_the_dense_solve():
    """On a softmax over logits theta the mean KL's Hessian is known: diag(p) - p p^T."""
    theta = torch.randn(4, dtype=torch.float64, generator=new_generator(0))
    p = theta.softmax(0)
    fisher = torch.diag(p) - torch.outer(p, p) + 0.1 * torch.eye(4, dtype=torch.float64)
    old = theta[None]
    hessian = torch.autograd.functional.hessian(lambda t: kl(old, t[None]), theta)
    torch.testing.assert_close(hessian + 0.1 * torch.eye(4, dtype=torch.float64), fisher)
    b = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    direction = conjugate_gradient(lambda v: fisher @ v, b, 10, tolerance=1e-20)
    torch.testing.assert_close(direction, torch.linalg.solve(fisher, b))


def test_trust_region_step_without_a_gradient_stays():
    policy = CategoricalPolicy(3, 2, hidden=(4,), generator=new_generator(0))
    at = torch.randn((5, 3), generator=new_generator(1))
    actions, log_probs = policy.sample(at, new_generator(2))
    before = torch.nn.utils.parameters_to_vector(policy.parameters()).detach().clone()
    flat = torch.ones(5)
    statistics = trust_region_step(policy, Batch(at, actions, log_probs, flat, flat), TRPOConfig())
    assert statistics == {"kl": 0.0, "gain": 0.0}
    assert torch.equal(before, torch.nn.utils.parameters_to_vector(policy.parameters()))


def test_ppo_keeps_the_acting_policys_log_probs_through_all_epochs():
    calls = []

    def spy(log_probs, old_log_probs, advantages, epsilon):
        calls.append((log_probs.detach().clone(), old_log_probs.clone()))
        assert advantages.mean().abs() < 1e-5
        assert epsilon == 0.3
        return clipped_surrogate(log_probs, old_log_probs, advantages, epsilon)

    config = PPOConfig(
        envs=4, rollout_steps=20, epochs=3, minibatches=2, epsilon=0.3, total_steps=80
    )
    train_ppo("CartPole-v1", config, generator=new_generator(0), objective=spy)
    assert len(calls) == 6  # epochs * minibatches of one update
    torch.testing.assert_close(calls[0][0], calls[0][1])
    epochs = [torch.cat([old for _, old in calls[i : i + 2]]).sort().values for i in (0, 2, 4)]
    assert torch.equal(epochs[0], epochs[1])
    assert torch.equal(epochs[0], epochs[2])
    assert all((new - old).abs().max() > 1e-4 for new, old in calls[1:])


def test_reinforce_fits_its_critic_for_as_many_epochs_as_it_is_told():
    errors = []
    for epochs in (1, 2, 40):
        config = ReinforceConfig(envs=4, critic_epochs=epochs, total_steps=1)
        _, history = train_reinforce("CartPole-v1", config, generator=new_generator(0))
        errors.append(history.updates[0]["value_loss"])
    assert errors[0] > errors[1] > 2 * errors[2]


@pytest.mark.parametrize(("train", "config"), AGENTS, ids=NAMES)
@pytest.mark.parametrize("env_id", ["CartPole-v1", "FrozenLake-v1"])
def test_same_seed_same_training_bit_for_bit_and_another_seed_another(train, config, env_id):
    def once(seed):
        torch.manual_seed(seed + 100)  # the global generator must not matter
        policy, history = train(env_id, config, generator=new_generator(seed))
        return torch.nn.utils.parameters_to_vector(policy.parameters()), history

    (first, seen), (second, seen_again), (other, _) = once(0), once(0), once(1)
    assert torch.equal(first, second)
    assert seen.episode_returns == seen_again.episode_returns
    assert repr(seen.updates) == repr(seen_again.updates)
    if env_id == "CartPole-v1":  # on the lake no reward may come at all, and then nothing moves
        assert not torch.equal(first, other)


@pytest.mark.parametrize(("train", "config"), AGENTS, ids=NAMES)
def test_agents_train_with_continuous_actions(train, config):
    policy, history = train("Pendulum-v1", config, generator=new_generator(0))
    assert history.steps >= 400
    assert all(torch.isfinite(parameter).all() for parameter in policy.parameters())
    assert policy.log_std.abs().max() > 0


class Lock(gymnasium.Env):
    """Shows one of three states; pays 1 a dial that is set to it (or, for Box, is near it)."""

    def __init__(self, actions, vector):
        self.action_space = actions
        self.vector = vector
        one, many = gymnasium.spaces.Discrete(3), gymnasium.spaces.Box(0, 1, (3,), np.float32)
        self.observation_space = many if vector else one

    def look(self):
        self.state = int(self.np_random.integers(3))
        return np.eye(3, dtype=np.float32)[self.state] if self.vector else self.state

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.look(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        paid = float((np.abs(action - self.state) < 0.5).sum())
        self.steps += 1
        return self.look(), paid, self.steps == 10, False, {}


@pytest.mark.parametrize(("train", "config"), AGENTS, ids=NAMES)
@pytest.mark.parametrize(
    ("actions", "vector"),
    [
        (gymnasium.spaces.MultiDiscrete([3, 4]), True),
        (gymnasium.spaces.MultiDiscrete([3, 4]), False),
        (gymnasium.spaces.Box(0, 2, (2,), np.float32), False),
    ],
    ids=["several", "several from states", "continuous from states"],
)
def test_agents_learn_with_several_choices_and_from_states(actions, vector, train, config):
    gymnasium.register("Lock-v0", lambda: Lock(actions, vector))
    config = replace(config, envs=8, hidden=(16,), total_steps=2500)
    if train is not train_trpo:
        config = replace(config, learning_rate=0.02)
    try:
        policy, history = train("Lock-v0", config, generator=new_generator(0))
    finally:
        del gymnasium.registry["Lock-v0"]
    assert policy.action_shape == (2,)
    first, last = history.episode_returns[:50], history.episode_returns[-50:]
    assert np.mean(last) > np.mean(first) + (1.5 if policy.discrete else 0.5)


@pytest.mark.parametrize(("train", "config"), AGENTS, ids=NAMES)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_agents_train_on_cuda(train, config):
    generator = new_generator(0, "cuda")
    policy, history = train("CartPole-v1", config, generator=generator, device="cuda")
    assert next(policy.parameters()).device.type == "cuda"
    assert history.steps >= 400


@pytest.mark.parametrize(
    ("train", "config"),
    [(train_reinforce, ReinforceConfig(stop_return=475)), (train_ppo, PPOConfig(stop_return=475))],
    ids=NAMES[:2],
)
def test_agent_solves_cartpole(train, config):
    _, history = train("CartPole-v1", config, generator=new_generator(5))
    assert history.mean_return(100) >= 475
    assert len(history.episode_returns) > 100
    assert history.steps < config.total_steps


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("train", "config"),
    [
        (train_reinforce, ReinforceConfig(stop_return=475)),
        (train_ppo, PPOConfig(stop_return=475)),
        (train_trpo, TRPOConfig(stop_return=475)),
    ],
    ids=NAMES,
)
def test_agent_solves_cartpole_from_several_seeds(train, config, seed):
    _, history = train("CartPole-v1", config, generator=new_generator(seed))
    assert history.mean_return(100) >= 475


def test_nothing_is_learned_from_the_batch_that_reaches_the_goal():
    sizes = []

    def update(batch):
        sizes.append(len(batch))
        return {"size": float(len(batch))}

    # The episodes of the environments of 2, 4 and 1 steps return 3, 10 and 1.
    config = PPOConfig(envs=3, rollout_steps=30, total_steps=900, stop_return=3.0)
    _, history = loop(train_on_steps, config, advantages=gae, update=update)
    assert history.mean_return() >= 3.0
    assert len(history.episode_returns) >= 100
    assert 0 < len(sizes) == len(history.updates) - 1
    assert "size" not in history.updates[-1]
    assert history.steps == 90 * len(history.updates) < 900


def test_reinforces_batched_loss_is_the_mean_of_the_episodes_baseline_losses():
    """The agent's padded returns and loss are the homework's functions, episode by episode."""
    envs = make_envs("CartPole-v1", 150)
    generator = new_generator(3)
    policy = policy_for(envs, (8,), generator=generator).double()
    critic = critic_for(envs, (8,), generator=generator).double()
    rollout = collect_episodes(envs, policy, generator, max_steps=25)
    lengths = rollout.valid.sum(0).tolist()
    assert min(lengths) < max(lengths) == 25
    returns = padded_returns(rollout, 0.9)
    advantages = rollout.in_one_row(returns - critic(rollout.observations).detach())
    terms = list(policy_losses(policy, rollout, advantages, 0.9))
    assert len(terms) > 1
    loss = sum(terms)
    each = []
    for n, length in enumerate(lengths):
        wanted = returns_to_go(rollout.rewards[:length, n], 0.9)
        torch.testing.assert_close(returns[:length, n], wanted)
        at, actions = rollout.observations[:length, n], rollout.actions[:length, n]
        each.append(baseline_loss(policy.log_prob(at, actions), wanted, critic(at), 0.9))
    wanted = torch.stack(each).mean()
    torch.testing.assert_close(loss, wanted)
    parameters = list(policy.parameters())
    for mine, other in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(wanted, parameters), strict=True
    ):
        assert other.abs().max() > 1e-4
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("train", [train_reinforce, train_ppo, train_trpo], ids=NAMES)
def test_no_agent_calls_its_policy_for_each_episode(train, monkeypatch):
    config = dict(AGENTS)[train]
    few = replace(config, envs=4, total_steps=1)
    many = replace(config, envs=40, total_steps=1)
    counts = []
    logits = CategoricalPolicy.logits

    def spy(self, observations):
        counts[-1] += torch.is_grad_enabled()
        return logits(self, observations)

    monkeypatch.setattr(CategoricalPolicy, "logits", spy)
    for each in (few, many):
        counts.append(0)
        train("CartPole-v1", each, generator=new_generator(0))
    assert 0 < counts[1] <= counts[0] + 5


class Breaks(Countdown):
    """Gives something that is no number when 2 steps are left."""

    def __init__(self, what):
        super().__init__(5)
        self.what = what

    def step(self, action):
        observation, reward, *rest = super().step(action)
        if self.left == 2:
            broken = {"reward": np.inf, "observation": np.nan}[self.what]
            reward = broken if self.what == "reward" else reward
            observation = observation * broken if self.what == "observation" else observation
        return observation, reward, *rest


@pytest.mark.parametrize("what", ["reward", "observation"])
def test_a_number_that_is_none_stops_training_and_says_where(what):
    envs = SyncVectorEnv([lambda: Countdown(5), lambda: Breaks(what)])
    policy = policy_for(envs, generator=new_generator(0))
    critic = critic_for(envs, generator=new_generator(0))
    learned = []
    with pytest.raises(FloatingPointError, match=f"the {what} of environment 1 at step 6 is"):
        train_on_steps(
            envs,
            policy,
            critic,
            # Three rows, so that nobody acts on what is broken before it is found.
            PPOConfig(envs=2, rollout_steps=3),
            advantages=gae,
            update=learned.append,
            generator=new_generator(0),
        )
    assert learned == []


def test_an_observation_that_is_none_is_named_even_when_the_policy_has_to_act_on_it():
    envs = SyncVectorEnv([lambda: Countdown(5), lambda: Breaks("observation")])
    policy, critic = (make(envs, generator=new_generator(0)) for make in (policy_for, critic_for))
    with pytest.raises(
        FloatingPointError,
        match=r"rollout after step 0: the observation of environment 1 is \[nan\], 3 rows on",
    ):
        train_on_steps(
            envs,
            policy,
            critic,
            PPOConfig(envs=2, rollout_steps=8),
            advantages=gae,
            update=lambda batch: {},
            generator=new_generator(0),
        )


@pytest.mark.parametrize(("what", "broken"), [("critic", "the critic's values"), ("kl", "kl is")])
def test_a_critic_or_a_reported_number_that_is_none_stops_training(what, broken):
    def update(batch):
        if what == "critic":
            critic.net[-1].bias.data.fill_(float("nan"))
        return {"kl": float("inf") if what == "kl" else 0.0}

    envs = countdown_envs()
    policy, critic = (make(envs, generator=new_generator(0)) for make in (policy_for, critic_for))
    config = PPOConfig(envs=3, rollout_steps=3)
    after = 9 if what == "critic" else 0
    with pytest.raises(FloatingPointError, match=f"update after step {after}: {broken}"):
        train_on_steps(
            envs,
            policy,
            critic,
            config,
            advantages=gae,
            update=update,
            generator=new_generator(0),
        )


class Fails(Countdown):
    """Raises in the step after 2 are left; shows NaN before it, if it is told to."""

    def __init__(self, shown):
        super().__init__(5)
        self.shown = shown

    def step(self, action):
        if self.left == 2:
            raise ValueError("the motor burned")
        observation, *rest = super().step(action)
        return observation * (self.shown if self.left == 2 else 1.0), *rest


@pytest.mark.parametrize(
    ("shown", "error", "words"),
    [
        (1.0, EnvironmentFailed, r"after 3 rows the environment raised ValueError: the motor burn"),
        (np.nan, FloatingPointError, r"the observation of environment 1 is \[nan\], 3 rows on"),
    ],
)
def test_an_environment_that_raises_is_told_from_a_wrong_call(shown, error, words):
    envs = SyncVectorEnv([lambda: Countdown(5), lambda: Fails(shown)])
    policy, critic = (make(envs, generator=new_generator(0)) for make in (policy_for, critic_for))
    config = PPOConfig(envs=2, rollout_steps=8)
    with pytest.raises(error, match=f"rollout after step 0: {words}") as caught:
        train_on_steps(
            envs,
            policy,
            critic,
            config,
            advantages=gae,
            update=lambda batch: {},
            generator=new_generator(0),
        )
    if error is EnvironmentFailed:
        assert __file__ in str(caught.value)  # and the line


def test_a_policy_that_overflows_stops_before_anything_is_learned_from_it(rollout_of_two):
    policy, critic, rollout = rollout_of_two
    with torch.no_grad():
        policy.net.linear[-2].bias.fill_(10)
        policy.net.linear[-1].weight.fill_(1e38)  # finite, and their sum over 64 is not
    with pytest.raises(FloatingPointError, match="the policy's log-probs hold NaN"):
        make_batch(rollout, policy, critic, gae, PPOConfig(envs=2))


def test_what_was_paid_after_an_episodes_end_is_no_part_of_its_return(rollout_of_two):
    rollout = rollout_of_two[-1]
    valid = torch.arange(len(rollout.rewards))[:, None] < torch.tensor([2, 4])
    rewards = torch.where(valid, 1.0, float("nan"))
    returns = padded_returns(replace(rollout, rewards=rewards, valid=valid), 0.5)
    assert returns[:4].T.tolist() == [[1.5, 1.0, 0.0, 0.0], [1.875, 1.75, 1.5, 1.0]]


@pytest.fixture
def rollout_of_two():
    envs = make_envs("CartPole-v1", 2)
    policy, critic = (make(envs, generator=new_generator(0)) for make in (policy_for, critic_for))
    rollout, _ = collect(envs, policy, 8, new_generator(1))
    return policy, critic, rollout


def test_a_watcher_sees_the_run_before_the_first_update_and_after_each_and_may_stop_it():
    seen = []

    def watch(run):
        seen.append((run.history.steps, run.cursor is None, run.parts["name"]))
        if run.history.steps == 18:
            raise KeyboardInterrupt

    config = PPOConfig(envs=3, rollout_steps=3)
    with pytest.raises(KeyboardInterrupt):
        loop(
            train_on_steps,
            config,
            advantages=gae,
            update=lambda batch: {},
            run=Run({"name": "part"}, watch),
        )
    assert seen == [(0, True, "part"), (9, False, "part"), (18, False, "part")]


def test_learning_rate_falls_linearly_to_the_share_that_is_asked_for():
    config = PPOConfig(decay_to=0.2, total_steps=1000)
    for steps, wanted in [(0, 3.0), (500, 1.8), (1000, 0.6)]:
        history = History(updates=[{"steps": float(steps)}])
        assert decayed(3.0, config, history) == pytest.approx(wanted)
    assert decayed(3.0, PPOConfig(decay_to=1.0), History(updates=[{"steps": 1e5}])) == 3.0


@pytest.mark.parametrize(("train", "config"), AGENTS, ids=NAMES)
def test_agents_let_their_learning_rates_fall(train, config):
    rates = []

    def watch(run):
        optimisers = [part for part in run.parts.values() if isinstance(part, Adam)]
        rates.append([optimiser.learning_rate for optimiser in optimisers])

    config = replace(config, decay_to=0.0, total_steps=1200)
    _, history = train("CartPole-v1", config, generator=new_generator(0), watch=watch)
    assert len(rates) >= 3
    steps = [0, 0, *(update["steps"] for update in history.updates)]
    for step, now in zip(steps, rates, strict=False):  # a rate is set as an update begins
        wanted = [first * (1 - step / 1200) for first in rates[0]]
        assert now == pytest.approx(wanted)


def test_a_loss_that_is_no_number_stops_training_and_says_after_which_step():
    calls = []

    def breaks(*arguments):
        calls.append(1)
        return clipped_surrogate(*arguments) * (float("nan") if len(calls) > 20 else 1.0)

    config = PPOConfig(envs=4, rollout_steps=16, epochs=2, minibatches=8, hidden=(8,))
    with pytest.raises(FloatingPointError, match="update after step 64: the loss is nan"):
        train_ppo("CartPole-v1", config, generator=new_generator(0), objective=breaks)
