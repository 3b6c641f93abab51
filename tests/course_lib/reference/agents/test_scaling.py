"""Observations and rewards are scaled by the right numbers at the right time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.policies import CategoricalPolicy, critic_for, policy_for
from course_lib.reference.agents import ppo as ppo_agent
from course_lib.reference.agents import trpo as trpo_agent
from course_lib.reference.agents.ppo import distance, train_ppo
from course_lib.reference.agents.scaling import Moments, ObservationScaler, RewardScaler, scaler_for
from course_lib.reference.agents.trpo import train_trpo
from course_lib.reference.answers.gae import gae
from course_lib.rollout import collect, collect_episodes, make_envs
from course_lib.seeding import new_generator
from course_lib.training import PPOConfig, TRPOConfig, make_batch, normalise


def rows(count, shape=(3,), seed=0):
    generator = new_generator(seed)
    return 5 + 3 * torch.randn((count, *shape), generator=generator, dtype=torch.float64)


def measured(scaler, seed=0):
    """The scaler after it has seen something, so that scaling is not the identity."""
    scaler.moments.update(rows(50, scaler.moments.mean.shape, seed))
    return scaler


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_moments_joined_batch_by_batch_are_those_of_everything(shape):
    moments = Moments(shape)
    parts = [rows(size, shape, seed=size) * size for size in (1, 7, 2, 40)]
    for part in parts:
        moments.update(part)
    everything = torch.cat(parts)
    torch.testing.assert_close(moments.mean, everything.mean(0))
    torch.testing.assert_close(moments.variance, everything.var(0, correction=0))
    assert moments.count == 50


def test_moments_keep_their_digits_far_from_zero():
    moments = Moments()
    for seed in range(20):
        moments.update(1e8 + rows(100, (), seed))
    assert moments.variance.sqrt().item() == pytest.approx(3, rel=0.05)


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"rows must be \(B, 3\).*got \(5, 2\)"):
        Moments((3,)).update(torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r"at least one, got \(0, 3\)"):
        Moments((3,)).update(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="rows hold NaN"):
        Moments((1,)).update(torch.tensor([[float("nan")]]))


def test_scaled_observations_have_mean_zero_and_spread_one_and_are_cut():
    scaler = ObservationScaler(3)
    everything = rows(500)
    torch.testing.assert_close(scaler(everything).double(), everything.clamp(-10, 10))
    scaler.moments.update(everything)
    scaled = scaler(everything)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(3, dtype=torch.float64))
    assert scaler(everything * 1e6).abs().max() == 10
    some = torch.cat([everything, everything * 1e6]).float()
    arrays = scaler.of_arrays()(some.numpy())
    assert arrays.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(arrays), scaler(some))


@pytest.fixture(params=["CartPole-v1", "Pendulum-v1"])
def world(request):
    """Environments, and a policy and a critic behind one scaler."""
    envs = make_envs(request.param, 3)
    generator = new_generator(1)
    scaler = measured(scaler_for(envs))
    policy = policy_for(envs, (8,), generator=generator, scaler=scaler)
    critic = critic_for(envs, (8,), generator=generator, scaler=scaler)
    return envs, policy, critic, scaler


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(before, after):
    return all(torch.equal(before[name], after[name]) for name in before)


def test_acting_evaluating_and_scoring_leave_the_statistics_alone(world):
    envs, policy, critic, scaler = world
    before = state_of(scaler)
    rollout, _ = collect(envs, policy, 20, new_generator(0))
    collect_episodes(envs, policy, new_generator(0), max_steps=20)
    make_batch(rollout, policy, critic, gae, PPOConfig())
    policy.sample(rollout.observations, new_generator(0))
    policy.log_prob(rollout.observations, rollout.actions)
    assert same(before, state_of(scaler))
    scaler.moments.update(rollout.observations.flatten(0, 1))
    assert not same(before, state_of(scaler))


def test_the_acting_policys_log_probs_are_scored_by_the_same_statistics(world):
    """The ratio is 1 on the first pass; statistics moved in between make it something else."""
    envs, policy, critic, scaler = world
    rollout, _ = collect(envs, policy, 40, new_generator(0))
    batch = make_batch(rollout, policy, critic, gae, PPOConfig())
    assert distance(policy, batch, 0.2)["kl"].abs() < 1e-6
    measured(scaler, seed=3)
    scaler.moments.update(10 * rollout.observations.flatten(0, 1))
    with torch.no_grad():
        policy.net.linear[-1].weight.mul_(100)  # from nearly uniform to something that can differ
    rollout, _ = collect(envs, policy, 40, new_generator(0))
    batch = make_batch(rollout, policy, critic, gae, PPOConfig())
    scaler.moments.update(rows(500, scaler.moments.mean.shape))
    assert distance(policy, batch, 0.2)["kl"].abs() > 1e-4


def test_the_last_observation_is_valued_by_the_same_statistics_as_all_others(world):
    envs, policy, critic, scaler = world
    rollout = collect_episodes(envs, policy, new_generator(0), max_steps=15)
    assert rollout.truncated.any()
    seen = {}

    def spy(rewards, values, next_values, *rest):
        seen["values"], seen["next_values"] = values, next_values
        return gae(rewards, values, next_values, *rest)

    make_batch(rollout, policy, critic, spy, PPOConfig())
    mean, std = scaler.moments.mean, scaler.moments.variance.sqrt()
    plain = critic_for(envs, (8,), generator=new_generator(0))
    plain.load_state_dict({k: v for k, v in critic.state_dict().items() if "scaler" not in k})

    def valued(observations):
        return plain(((observations - mean) / std).clamp(-10, 10).float())

    torch.testing.assert_close(seen["values"], valued(rollout.observations).detach())
    wanted = valued(rollout.next_observations).detach()
    torch.testing.assert_close(seen["next_values"], wanted)
    torch.testing.assert_close(seen["values"][1:], seen["next_values"][:-1])
    # Unscaled, as where only the environment's wrapper scales and the last one is its raw info:
    assert (plain(rollout.next_observations) - wanted).abs().max() > 0.05


@pytest.mark.parametrize(
    ("module", "train", "config"),
    [(ppo_agent, train_ppo, PPOConfig), (trpo_agent, train_trpo, TRPOConfig)],
)
def test_agents_measure_what_they_saw_after_learning_from_it(module, train, config, monkeypatch):
    made, counts, learned, while_learning = [], [], [], []

    def remember(*arguments):
        made.append(scaler_for(*arguments))
        return made[-1]

    def spy(rewards, *rest):
        counts.append(made[-1].moments.count.item())
        learned.append(rewards.clone())
        return gae(rewards, *rest)

    def prepare(advantages):
        while_learning.append(made[-1].moments.count.item())
        return normalise(advantages)

    monkeypatch.setattr(module, "scaler_for", remember)
    settings = {"envs": 4, "rollout_steps": 16, "total_steps": 4 * 16 * 3, "hidden": (8,)}
    policy, _ = train(
        "Pendulum-v1",
        config(**settings, scale_observations=True, scale_rewards=True),
        generator=new_generator(0),
        advantages=spy,
        prepare=prepare,
    )
    assert counts == sorted(set(while_learning)) == [0, 64, 128]
    assert policy.net.scaler is made[0]
    assert made[0].moments.count == 192
    # Rewards of Pendulum are near -6, their discounted returns in the tens to hundreds.
    assert -1 < torch.stack(learned).mean() < 0


def fake_rollout(rewards, terminated=None, valid=None):
    """A rollout in which only what a reward scaler reads is filled in."""
    envs = make_envs("CartPole-v1", rewards.shape[1])
    policy = CategoricalPolicy(4, 2, (4,), generator=new_generator(0))
    rollout, _ = collect(envs, policy, len(rewards), new_generator(0))
    nothing = torch.zeros(rewards.shape, dtype=torch.bool)
    return replace(
        rollout,
        rewards=rewards,
        terminated=nothing if terminated is None else terminated,
        truncated=nothing,
        valid=~nothing if valid is None else valid,
    )


def discounted(rewards, gamma):
    """R_t = gamma R_{t-1} + r_t along one environment, by hand."""
    total, answer = 0.0, []
    for reward in rewards:
        total = gamma * total + reward
        answer.append(total)
    return answer


def test_rewards_are_divided_by_the_spread_of_discounted_returns_across_rollouts():
    rewards = rows(30, (2,))
    scaler = RewardScaler(2, 0.9)
    first = scaler.scaled(fake_rollout(rewards[:12])).rewards
    second = scaler.scaled(fake_rollout(rewards[12:])).rewards
    returns = np.array([discounted(column.tolist(), 0.9) for column in rewards.T])
    torch.testing.assert_close(first, rewards[:12] / returns[:, :12].std())
    torch.testing.assert_close(second, rewards[12:] / returns.std())
    immediate = rewards / rewards.std()
    assert (second - immediate[12:]).abs().max() > 0.1


def test_a_reward_for_every_step_stays_a_reward_for_every_step():
    """Where a mean is subtracted, staying alive pays nothing and dying at once is as good."""
    scaler = RewardScaler(2, 0.99)
    for _ in range(3):
        scaled = scaler.scaled(fake_rollout(torch.ones(20, 2))).rewards
    assert (scaled > 0).all()
    assert torch.equal(scaled, scaled[0, 0].expand(20, 2))


def test_returns_begin_anew_in_each_episode_and_resets_count_for_nothing():
    rewards = torch.tensor([[1.0], [2.0], [0.0], [4.0], [8.0]], dtype=torch.float64)
    terminated = torch.tensor([[False], [True], [False], [False], [False]])
    valid = torch.tensor([[True], [True], [False], [True], [True]])
    scaler = RewardScaler(1, 0.5)
    scaled = scaler.scaled(fake_rollout(rewards, terminated, valid)).rewards
    returns = np.array([1.0, 2.5, 4.0, 10.0])  # 1, 2 + 1/2; then 4, 8 + 4/2
    torch.testing.assert_close(scaled, rewards / returns.std())
    assert scaler.moments.count == 4
    assert scaler.returns.item() == 10


def test_history_keeps_the_returns_that_were_paid():
    config = PPOConfig(envs=4, rollout_steps=16, total_steps=800, hidden=(8,), scale_rewards=True)
    _, history = train_ppo("CartPole-v1", config, generator=new_generator(0))
    assert all(value == int(value) >= 8 for value in history.episode_returns)


def test_a_scaler_for_states_that_are_numbers_of_rows_is_refused():
    with pytest.raises(ValueError, match="is no vector and cannot be scaled"):
        train_ppo("FrozenLake-v1", PPOConfig(scale_observations=True), generator=new_generator(0))
