"""The rollout of homework 3, on gymnasium's own environments and against the course's collector."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

from course_lib import rollout
from course_lib.policies import policy_for
from course_lib.reference.answers.advantages_and_targets import advantages_and_targets
from course_lib.reference.answers.collect_steps import collect_steps
from course_lib.reference.answers.gae import gae
from course_lib.seeding import draw_seed

STEPS = 200
PER_STEP = {"observations", "actions", "log_probs", "rewards", "next_observations"}
FLAGS = {"terminated", "truncated", "valid"}


class Counting(gymnasium.Env):
    """Shows (episode, steps in it), pays 10 times the first plus the second, ends as told."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(3, start=5)

    def __init__(self, lengths, ends):
        self.lengths, self.ends, self.episode, self.received = lengths, ends, -1, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.at = self.episode + 1, 0
        return np.array([self.episode, self.at], np.float32), {}

    def step(self, action):
        self.received.append(int(action))
        self.at += 1
        k = self.episode % len(self.lengths)
        ended = self.at == self.lengths[k]
        shown = np.array([self.episode, self.at], np.float32)
        over, cut = ended and self.ends[k] == "over", ended and self.ends[k] == "cut"
        return shown, 10.0 * self.episode + self.at, over, cut, {}


def counting_envs(copy=True):
    scripts = [([3, 1], ["over", "cut"]), ([2, 4], ["cut", "over"])]
    return SyncVectorEnv([lambda s=script: Counting(*s) for script in scripts], copy=copy)


def count(observations):
    """Action: the steps so far, modulo 3; its log-probability tells the observation."""
    actions = observations[:, 1].long() % 3
    return actions, actions + 5, -observations @ torch.tensor([1.0, 0.01], dtype=torch.float64)


def start_of(envs):
    shown, _ = envs.reset(seed=0)
    return torch.tensor(shown, dtype=torch.float64), torch.zeros(envs.num_envs, dtype=torch.bool)


def oracle(lengths, ends):
    """Rows of one environment: (observation, reward, end, next observation), None for a reset."""
    rows, episode = [], 0
    while len(rows) < STEPS:
        k = episode % len(lengths)
        for at in range(lengths[k]):
            end = ends[k] if at + 1 == lengths[k] else ""
            rows.append(([episode, at], 10.0 * episode + at + 1, end, [episode, at + 1]))
        rows.append(None)
        episode += 1
    return rows[:STEPS]


@pytest.mark.parametrize("copy", [True, False])
def test_every_number_is_what_the_environments_did(copy):
    envs = counting_envs(copy)
    batch = collect_steps(envs, count, *start_of(envs), STEPS)
    for n, env in enumerate(envs.envs):
        sent = []
        for t, row in enumerate(oracle(env.lengths, env.ends)):
            assert batch["valid"][t, n] == (row is not None)
            if row is None:
                continue
            at, reward, end, led_to = row
            assert batch["observations"][t, n].tolist() == at
            assert batch["next_observations"][t, n].tolist() == led_to
            assert batch["rewards"][t, n] == reward
            assert batch["terminated"][t, n] == (end == "over")
            assert batch["truncated"][t, n] == (end == "cut")
            assert batch["actions"][t, n] == at[1] % 3
            assert batch["log_probs"][t, n] == pytest.approx(-at[0] - 0.01 * at[1])
            sent.append(at[1] % 3 + 5)
        assert env.received == sent


def test_two_calls_in_a_row_are_one_long_call():
    for first in range(1, 12):
        envs, again = counting_envs(), counting_envs()
        whole = collect_steps(envs, count, *start_of(envs), 12)
        parts, at = [], start_of(again)
        for steps in (first, 12 - first):
            if steps:
                parts.append(collect_steps(again, count, *at, steps))
                at = parts[-1]["last_observations"], parts[-1]["last_ended"]
        for name in PER_STEP | FLAGS:
            assert torch.equal(torch.cat([part[name] for part in parts]), whole[name]), name
        assert torch.equal(at[0], whole["last_observations"])
        assert torch.equal(at[1], whole["last_ended"])


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_it_agrees_with_the_courses_collector(env_id):
    """Which has been written by somebody else, and draws its actions by itself."""
    limit = {"max_episode_steps": 60} if env_id == "Pendulum-v1" else {}
    envs = rollout.make_envs(env_id, 3, **limit)
    policy = policy_for(envs, generator=torch.Generator().manual_seed(0))
    wanted, cursor = rollout.collect(envs, policy, STEPS, torch.Generator().manual_seed(1))

    tape = iter(wanted.actions)

    def act(observations):
        actions = next(tape)
        space = envs.single_action_space
        bounds = () if policy.discrete else (space.low.item(), space.high.item())
        sent = actions.clamp(*bounds) if bounds else actions
        return actions, sent, observations.sum(-1)

    again = rollout.make_envs(env_id, 3, **limit)
    shown, _ = again.reset(seed=draw_seed(torch.Generator().manual_seed(1)))
    start = torch.tensor(shown), torch.zeros(3, dtype=torch.bool)
    batch = collect_steps(again, act, *start, STEPS)
    for name in ("observations", "next_observations", "actions"):
        assert torch.equal(batch[name], getattr(wanted, name)), name
    assert torch.allclose(batch["rewards"], wanted.rewards)
    for name in FLAGS:
        assert torch.equal(batch[name], getattr(wanted, name)), name
    assert torch.equal(batch["last_observations"], cursor.observations)
    assert torch.equal(batch["last_ended"], cursor.ended)
    assert (~batch["valid"]).any()


def a_batch(**others):
    """What collect_steps returns, with nonsense where nothing was played."""
    envs = counting_envs()
    batch = collect_steps(envs, count, *start_of(envs), 30)
    for name in PER_STEP:
        batch[name][~batch["valid"]] = 50
    return {**batch, **others}


def test_no_number_of_a_step_that_only_resets_has_an_effect():
    critic = torch.nn.Sequential(
        torch.nn.Linear(2, 4, dtype=torch.float64),
        torch.nn.Tanh(),
        torch.nn.Linear(4, 1, dtype=torch.float64),
    )
    batch = a_batch()
    wanted = advantages_and_targets(critic, gae, batch, 0.9, 0.7)
    for name in PER_STEP - {"actions", "log_probs"}:
        other = batch[name].clone()
        other[~batch["valid"]] = -7.0
        for one, again in zip(
            wanted,
            advantages_and_targets(critic, gae, {**batch, name: other}, 0.9, 0.7),
            strict=True,
        ):
            assert torch.equal(one, again)


def test_with_lam_one_the_target_is_the_return_of_the_episode():
    """Episode by episode, with the critic's value behind a truncated or unfinished one."""
    gamma, batch = 0.9, a_batch()
    critic = torch.nn.Linear(2, 1, dtype=torch.float64)
    _, targets = advantages_and_targets(critic, gae, batch, gamma, 1.0)
    wanted = torch.zeros_like(batch["rewards"])
    for n in range(2):
        for t in range(30):
            total, u = 0.0, t
            while batch["valid"][t, n]:
                total += gamma ** (u - t) * batch["rewards"][u, n].item()
                if batch["terminated"][u, n]:
                    break
                if batch["truncated"][u, n] or u == 29:
                    total += gamma ** (u - t + 1) * critic(batch["next_observations"][u, n]).item()
                    break
                u += 1
            wanted[t, n] = total
    assert torch.allclose(targets, wanted[batch["valid"]])


def test_advantages_and_targets_by_hand():
    def column(*numbers):
        return torch.tensor(numbers, dtype=torch.float64)[:, None]

    no = torch.zeros(4, 1, dtype=torch.bool)
    second = torch.tensor([[False], [True], [False], [False]])
    batch = {
        "observations": column(0.5, 1, 7, 1.5)[..., None],
        "rewards": column(1, 0, 9, 2),
        "next_observations": column(1, 1.5, 3, 2)[..., None],
        "terminated": no,
        "truncated": second,
        "valid": torch.tensor([[True], [True], [False], [True]]),
    }
    made = advantages_and_targets(lambda s: s, gae, batch, 0.9, 0.5)
    assert [x.tolist() for x in made] == [
        pytest.approx([1.5575, 0.35, 2.3]),
        pytest.approx([2.0575, 1.35, 3.8]),
    ]
    batch |= {"terminated": second, "truncated": no}
    made = advantages_and_targets(lambda s: s, gae, batch, 0.9, 0.5)
    assert [x.tolist() for x in made] == [
        pytest.approx([0.95, -1, 2.3]),
        pytest.approx([1.45, 0, 3.8]),
    ]


WRONG_CALLS = {
    "steps": (
        lambda: collect_steps(None, None, torch.ones(2, 3), torch.zeros(2) > 0, 0),
        "steps must be",
    ),
    "ended": (
        lambda: collect_steps(None, None, torch.ones(2, 3), torch.zeros(3) > 0, 1),
        r"ended must be \(N,\) with N = 2",
    ),
    "gamma": (
        lambda: advantages_and_targets(None, gae, a_batch(), 1.1, 0.5),
        r"gamma must lie in \[0, 1\]",
    ),
    "rewards": (
        lambda: advantages_and_targets(None, gae, a_batch(rewards=torch.ones(30, 3)), 0.9, 0.5),
        r"rewards must be \(T, N\) with N = 2",
    ),
}


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_wrong_calls_say_what_came_and_what_was_wanted(call):
    function, words = WRONG_CALLS[call]
    with pytest.raises(ValueError, match=words):
        function()
