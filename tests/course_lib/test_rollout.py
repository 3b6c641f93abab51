"""Rollouts of environments in which every number is known."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from course_lib.policies import GaussianPolicy, policy_for
from course_lib.reference.answers.gae import gae
from course_lib.rollout import collect, collect_episodes, make_envs
from course_lib.training import PPOConfig, make_batch

# Episodes of each environment: (length, how it ends). They repeat from the start when used up.
SCRIPTS = [
    [(3, "terminated"), (2, "truncated"), (4, "terminated")],
    [(5, "truncated"), (1, "terminated"), (2, "truncated")],
]
STEPS = 12


class Scripted(gymnasium.Env):
    """Episode k shows 100 k + j after j steps, and step j (from 1) pays 10 k + j."""

    def __init__(self, script, action_space=None):
        self.script = script
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.action_space = action_space or gymnasium.spaces.Discrete(2)
        self.episode = -1
        self.received = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        # A seed means a fresh start, as it does for any other environment.
        self.episode = 0 if seed is not None else self.episode + 1
        self.step_count = 0
        return np.array([100 * self.episode], np.float32), {}

    def step(self, action):
        self.received.append(np.array(action))
        self.step_count += 1
        length, end = self.script[self.episode % len(self.script)]
        ended = self.step_count == length
        observation = np.array([100 * self.episode + self.step_count], np.float32)
        reward = 10.0 * self.episode + self.step_count
        return observation, reward, ended and end == "terminated", ended and end == "truncated", {}


def scripted_envs(mode=AutoresetMode.NEXT_STEP, action_space=None):
    makers = [lambda s=script: Scripted(s, action_space) for script in SCRIPTS]
    return SyncVectorEnv(makers, autoreset_mode=mode)


def new_generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Fives(torch.nn.Module):
    """V(s) = 5 + s / 2: any wrong state gives a wrong number."""

    def forward(self, observations):
        return 5 + observations.squeeze(-1) / 2


def expected_steps():
    """What the scripts say, row by row: None where the environment resets."""
    columns = []
    for script in SCRIPTS:
        rows, episode = [], 0
        while len(rows) < STEPS:
            length, end = script[episode % len(script)]
            for j in range(1, length + 1):
                at = 100.0 * episode + j - 1
                rows.append((at, 10.0 * episode + j, end if j == length else "", at + 1))
            rows.append(None)
            episode += 1
        columns.append(rows[:STEPS])
    return columns


def expected_advantages(gamma, lam):
    """Generalised advantages episode by episode, one scalar at a time, None on resets."""
    answer = []
    for rows in expected_steps():
        column = [None] * STEPS
        following = 0.0
        for t in range(STEPS - 1, -1, -1):
            if rows[t] is None:
                following = 0.0
                continue
            at, reward, end, successor = rows[t]
            if end:
                following = 0.0
            bootstrap = 0.0 if end == "terminated" else gamma * (5 + successor / 2)
            column[t] = reward + bootstrap - (5 + at / 2) + gamma * lam * following
            following = column[t]
        answer.append(column)
    return answer


@pytest.fixture
def policy():
    return policy_for(scripted_envs(), generator=new_generator())


@pytest.fixture
def rollout(policy):
    return collect(scripted_envs(), policy, STEPS, new_generator())[0]


def test_every_number_of_a_rollout_is_the_scripts(rollout):
    for n, rows in enumerate(expected_steps()):
        for t, row in enumerate(rows):
            assert rollout.valid[t, n] == (row is not None)
            if row is None:
                assert rollout.rewards[t, n] == 0
                assert not rollout.terminated[t, n]
                assert not rollout.truncated[t, n]
                continue
            at, reward, end, successor = row
            assert rollout.observations[t, n].item() == at
            assert rollout.rewards[t, n].item() == reward
            assert rollout.terminated[t, n] == (end == "terminated")
            assert rollout.truncated[t, n] == (end == "truncated")
            assert rollout.next_observations[t, n].item() == successor


def test_the_successor_at_truncation_is_the_last_state_and_not_the_next_episodes_first(rollout):
    truncated = torch.nonzero(rollout.truncated).tolist()
    assert len(truncated) >= 2
    for t, n in truncated:
        assert rollout.next_observations[t, n] == rollout.observations[t, n] + 1


def test_batch_holds_each_valid_step_once_with_its_advantage(rollout, policy):
    config = PPOConfig(gamma=0.9, lam=0.7)
    batch = make_batch(rollout, policy, Fives(), gae, config)
    wanted = expected_advantages(0.9, 0.7)
    flat = [wanted[n][t] for t in range(STEPS) for n in range(2) if wanted[n][t] is not None]
    assert len(batch) == len(flat) < 2 * STEPS
    torch.testing.assert_close(batch.advantages, torch.tensor(flat), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(batch.returns, batch.advantages + Fives()(batch.observations))


def as_if_truncation_were_termination(rewards, values, next_values, terminated, truncated, *rest):
    return gae(rewards, values, next_values, terminated | truncated, truncated, *rest)


def as_if_termination_were_truncation(rewards, values, next_values, terminated, truncated, *rest):
    return gae(rewards, values, next_values, terminated & False, truncated | terminated, *rest)


def as_if_episodes_ran_on(rewards, values, next_values, terminated, truncated, *rest):
    return gae(rewards, values, next_values, terminated, truncated & False, *rest)


@pytest.mark.parametrize(
    "wrong",
    [
        as_if_truncation_were_termination,
        as_if_termination_were_truncation,
        as_if_episodes_ran_on,
    ],
)
def test_the_scripts_tell_the_usual_wrong_ways_apart(rollout, policy, wrong):
    config = PPOConfig(gamma=0.9, lam=0.7)
    right = make_batch(rollout, policy, Fives(), gae, config).advantages
    assert (make_batch(rollout, policy, Fives(), wrong, config).advantages - right).abs().max() > 1


def test_actions_on_reset_steps_reach_no_environment_and_are_marked():
    envs = scripted_envs()
    policy = policy_for(envs, generator=new_generator())
    rollout, _ = collect(envs, policy, STEPS, new_generator())
    for n, env in enumerate(envs.envs):
        received = [int(action) for action in env.received]
        assert received == rollout.actions[:, n][rollout.valid[:, n]].tolist()
        assert len(received) < STEPS


def test_two_halves_are_one_whole():
    policy = policy_for(scripted_envs(), generator=new_generator())
    whole, _ = collect(scripted_envs(), policy, STEPS, new_generator(3))
    envs, generator = scripted_envs(), new_generator(3)
    first, cursor = collect(envs, policy, 5, generator)
    second, _ = collect(envs, policy, STEPS - 5, generator, cursor)
    for name in ("observations", "actions", "rewards", "valid", "next_observations"):
        halves = torch.cat([getattr(first, name), getattr(second, name)])
        assert torch.equal(halves, getattr(whole, name))
    assert first.episode_returns + second.episode_returns == whole.episode_returns


def test_a_rollout_of_one_environment_goes_on_through_its_resets():
    envs = SyncVectorEnv([lambda: Scripted([(2, "terminated")])])
    policy = policy_for(envs, generator=new_generator())
    rollout, cursor = collect(envs, policy, 8, new_generator())
    assert rollout.valid[:, 0].tolist() == [True, True, False] * 2 + [True, True]
    assert rollout.episode_ends == [1, 4, 7]
    assert cursor.ended.tolist() == [True]


def test_an_environment_that_reuses_its_arrays_changes_no_earlier_step(rollout):
    envs = SyncVectorEnv([lambda s=script: Scripted(s) for script in SCRIPTS], copy=False)
    policy = policy_for(envs, generator=new_generator())
    got, _ = collect(envs, policy, STEPS, new_generator())
    assert torch.equal(got.observations, rollout.observations)
    assert torch.equal(got.next_observations, rollout.next_observations)


def test_episode_returns_and_lengths_are_counted_without_resets(rollout):
    # Environment 0 ends at rows 2, 5, 10; environment 1 at rows 4, 6, 9.
    assert rollout.episode_ends == [2, 4, 5, 6, 9, 10]
    assert rollout.episode_lengths == [3, 5, 2, 1, 2, 4]
    assert rollout.episode_returns == [6.0, 15.0, 23.0, 11.0, 43.0, 90.0]


def test_collected_episodes_are_one_whole_episode_each():
    envs = scripted_envs()
    policy = policy_for(envs, generator=new_generator())
    rollout = collect_episodes(envs, policy, new_generator())
    assert rollout.rewards.shape == (5, 2)
    assert rollout.valid.sum(0).tolist() == [3, 5]
    assert rollout.rewards[:3, 0].tolist() == [1, 2, 3]
    assert rollout.episode_returns == [6.0, 15.0]


def test_each_batch_of_episodes_has_starts_of_its_own():
    envs, generator = make_envs("CartPole-v1", 3), new_generator()
    policy = policy_for(envs, generator=generator)
    first, second = (collect_episodes(envs, policy, generator, 2).path[0] for _ in range(2))
    assert len(torch.cat([first, second]).unique(dim=0)) == 6


def test_collected_episodes_are_cut_at_the_limit_and_marked_truncated():
    envs = scripted_envs()
    policy = policy_for(envs, generator=new_generator())
    rollout = collect_episodes(envs, policy, new_generator(), max_steps=4)
    assert rollout.valid.sum(0).tolist() == [3, 4]
    assert rollout.truncated[3, 1]
    assert not rollout.terminated[3, 1]
    assert rollout.episode_returns == [6.0, 10.0]
    assert rollout.episode_lengths == [3, 4]


def test_environment_gets_clipped_actions_and_the_rollout_keeps_the_drawn_ones():
    box = gymnasium.spaces.Box(-0.1, 0.1, (2,), np.float32)
    envs = scripted_envs(action_space=box)
    policy = policy_for(envs, generator=new_generator())
    assert isinstance(policy, GaussianPolicy)
    rollout, _ = collect(envs, policy, STEPS, new_generator())
    assert rollout.actions.abs().max() > 0.5
    for n, env in enumerate(envs.envs):
        drawn = rollout.actions[:, n][rollout.valid[:, n]]
        received = torch.from_numpy(np.stack(env.received))
        torch.testing.assert_close(received, drawn.clamp(-0.1, 0.1), rtol=0, atol=0)
    density = -0.5 * (rollout.actions - policy(rollout.observations).mean) ** 2
    density = (density - 0.5 * np.log(2 * np.pi)).sum(-1)[rollout.valid].detach()
    batch = make_batch(rollout, policy, Fives(), gae, PPOConfig(envs=2))
    torch.testing.assert_close(batch.log_probs, density, rtol=1e-4, atol=1e-5)
    assert not batch.log_probs.requires_grad


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
def test_same_generator_same_rollout_bit_for_bit(env_id):
    def once():
        envs = make_envs(env_id, 3)
        generator = new_generator(7)
        policy = policy_for(envs, generator=generator)
        return collect(envs, policy, 40, generator)[0]

    first, second = once(), once()
    for name in ("observations", "actions", "rewards", "next_observations", "valid"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert not torch.equal(first.actions[0], first.actions[1])


def test_cartpole_shows_its_true_last_state():
    envs = make_envs("CartPole-v1", 8)
    generator = new_generator()
    policy = policy_for(envs, generator=generator)
    rollout, _ = collect(envs, policy, 100, generator)
    last = rollout.next_observations[rollout.terminated]
    assert len(last) > 5
    fallen = (last[:, 2].abs() > 12 * 2 * np.pi / 360) | (last[:, 0].abs() > 2.4)
    assert fallen.all()


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_other_ways_to_reset_are_refused(mode):
    envs = scripted_envs(mode)
    policy = policy_for(envs, generator=new_generator())
    with pytest.raises(ValueError, match=r"next-step autoreset.*make_envs"):
        collect(envs, policy, 3, new_generator())
    with pytest.raises(ValueError, match="next-step autoreset"):
        collect_episodes(envs, policy, new_generator())


def test_bad_calls_are_answered_in_words():
    envs = scripted_envs()
    policy = policy_for(envs, generator=new_generator())
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        collect(envs, policy, 0, new_generator())
    with pytest.raises(ValueError, match="max_steps must be at least 1"):
        collect_episodes(envs, policy, new_generator(), max_steps=0)
    with pytest.raises(ValueError, match="does not fit action space"):
        collect(make_envs("Acrobot-v1", 2), policy, 3, new_generator())
    with pytest.raises(ValueError, match="next-step autoreset"):
        collect(Scripted(SCRIPTS[0]), policy, 3, new_generator())
    with pytest.raises(ValueError, match="envs must be at least 1"):
        make_envs("CartPole-v1", 0)
