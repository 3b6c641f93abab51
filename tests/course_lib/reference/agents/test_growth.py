"""Training takes memory in proportion to environments times steps."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from course_lib.reference.agents.ppo import train_ppo
from course_lib.reference.agents.reinforce import train_reinforce
from course_lib.reference.agents.trpo import train_trpo
from course_lib.seeding import new_generator
from course_lib.training import PPOConfig, ReinforceConfig, TRPOConfig

AGENTS = [
    (train_reinforce, ReinforceConfig(), "max_steps"),
    (train_ppo, PPOConfig(), "rollout_steps"),
    (train_trpo, TRPOConfig(fisher_every=1), "rollout_steps"),
]


class Bytes(TorchDispatchMode):
    """Bytes of all that torch computes, and of the largest piece of it."""

    def __init__(self):
        super().__init__()
        self.total = self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        for result in tree_leaves(results):
            if isinstance(result, torch.Tensor):
                self.total += result.nbytes
                self.largest = max(self.largest, result.nbytes)
        return results


def cost(train, config, steps_name, envs, steps):
    # Episodes that nothing ends but their limit: twice as many steps are twice the size.
    sized = replace(config, envs=envs, hidden=(8,), total_steps=1, **{steps_name: steps})
    with Bytes() as seen:
        _, history = train("tensor/Pendulum-v1", sized, generator=new_generator(0))
    assert history.steps == envs * steps
    return seen


@pytest.mark.parametrize(
    ("train", "config", "steps_name"), AGENTS, ids=["reinforce", "ppo", "trpo"]
)
def test_twice_the_environments_or_steps_take_twice_the_memory(train, config, steps_name):
    sizes = [(64, 16), (128, 16), (64, 32)]
    small, *larger = (cost(train, config, steps_name, *size) for size in sizes)
    assert small.largest >= 64 * 16 * 8 * 4  # a hidden layer of the batch is among what was seen
    for large in larger:
        assert large.largest <= 2.05 * small.largest
        assert 1.9 * small.total < large.total < 2.05 * small.total
