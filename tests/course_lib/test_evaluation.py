"""A policy's worth is that of whole episodes."""

import gymnasium
import numpy as np
import pytest
import torch

from course_lib.evaluation import Greedy, evaluate
from course_lib.policies import policy_for
from course_lib.rollout import make_envs
from course_lib.seeding import new_generator


class Pays(gymnasium.Env):
    """Four steps, each of which pays the action."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 4
        return np.ones(2, np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.ones(2, np.float32), float(action), self.left == 0, False, {}


@pytest.fixture
def pays():
    gymnasium.register("Pays-v0", Pays)
    yield "Pays-v0"
    del gymnasium.registry["Pays-v0"]


def likes_one(env_id, probability):
    """A policy that takes action 1 with this probability, whatever it sees."""
    policy = policy_for(make_envs(env_id, 1), (), generator=new_generator(0)).double()
    policy.net[-1].weight.data.zero_()
    policy.net[-1].bias.data[:] = torch.tensor([0.0, np.log(probability / (1 - probability))])
    return policy


def test_evaluation_is_the_mean_over_whole_episodes_drawn_or_greedy(pays):
    policy = likes_one(pays, 0.7)
    assert evaluate(policy, pays, 5, new_generator(0), greedy=True) == 4.0
    drawn = evaluate(policy, pays, 400, new_generator(0))
    error = (4 * 0.7 * 0.3 / 400) ** 0.5
    assert abs(drawn - 2.8) < 4 * error
    assert drawn == evaluate(policy, pays, 400, new_generator(0))
    assert drawn != evaluate(policy, pays, 400, new_generator(1))
    with pytest.raises(ValueError, match="episodes must be at least 1"):
        evaluate(policy, pays, 0, new_generator(0))


def test_greedy_takes_the_mean_of_a_gaussian():
    policy = policy_for(make_envs("Pendulum-v1", 1), (3,), generator=new_generator(0))
    at = torch.randn((6, 3), generator=new_generator(1))
    actions, log_probs = Greedy(policy).sample(at, new_generator(2))
    assert torch.equal(actions, policy.net(at))
    torch.testing.assert_close(log_probs, policy.log_prob(at, actions))
    drawn = evaluate(policy, "Pendulum-v1", 3, new_generator(3))
    # Its time limit is 200 steps; an action near 0 leaves it hanging, at about -5 to -10 a step.
    assert -2000 < drawn < -500


def test_an_unknown_environment_is_a_sentence():
    with pytest.raises(ValueError, match=r"environment NoSuch-v0 cannot be made: .*NoSuch"):
        make_envs("NoSuch-v0", 1)
    gymnasium.register("NewerByATest-v2", "gymnasium.envs.classic_control:CartPoleEnv")
    with pytest.raises(ValueError, match=r"NewerByATest-v1 cannot be made: .*NewerByATest-v2"):
        make_envs("NewerByATest-v1", 1)
    with pytest.raises(ValueError, match=r"environment no_such_module:X-v0 cannot be made"):
        make_envs("no_such_module:X-v0", 1)
