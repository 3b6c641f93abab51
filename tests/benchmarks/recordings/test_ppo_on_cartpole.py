"""The script behind lecture 7's recording changes what it says, and the recording is all of it."""

from dataclasses import replace
from types import ModuleType

import torch

from course_lib.recorded import recorded
from course_lib.reference.agents.ppo import train_ppo
from course_lib.reference.answers.clipped_surrogate import clipped_surrogate
from course_lib.training import PPOConfig

SCRIPT = "ppo_on_cartpole"
SMALL = PPOConfig(
    envs=8,
    rollout_steps=16,
    hidden=(8,),
    scale_rewards=False,
    decay_to=1.0,
    total_steps=300,
)


def weights(policy: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in policy.parameters()])


def test_unchanged_it_is_the_courses_agent(script: ModuleType) -> None:
    policy, _, history = script.train_variant(script.Variant(SMALL), 0)
    wanted, seen = train_ppo("CartPole-v1", SMALL, generator=torch.Generator().manual_seed(0))
    assert history.episode_returns == seen.episode_returns
    assert torch.equal(weights(policy), weights(wanted))


def test_every_variant_changes_something(script: ModuleType) -> None:
    groups = script.variants()
    plain = groups.pop("baseline")["as it is"]
    small = {"envs": 8, "rollout_steps": 16, "hidden": (8,), "total_steps": 300}
    start = weights(script.train_variant(replace(plain, config=SMALL), 0)[0])
    for members in groups.values():
        for name, variant in members.items():
            assert variant != plain, name
            if variant.config == plain.config and name != "time limit as an end":
                changed = replace(variant, config=replace(variant.config, **small))
                assert not torch.equal(weights(script.train_variant(changed, 0)[0]), start), name


def test_the_time_limit_is_an_end_in_that_variant_alone(script: ModuleType) -> None:
    one, flag = torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool)
    inputs = (one, 2 * one, 4 * one, ~flag, flag, 0.5, 1.0)  # cut off, and worth 4 from there
    assert script.gae(*inputs).item() == 1  # 1 + 0.5 * 4 - 2
    assert script.gae_to_the_limit(*inputs).item() == -1  # 1 - 2


def test_a_sample_pushes_where_the_objective_has_a_gradient(script: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    ratio = 0.5 + torch.rand(200, generator=generator)
    advantages = torch.randn(200, generator=generator)
    log_probs = ratio.log().requires_grad_()
    clipped_surrogate(log_probs, torch.zeros(200), advantages, 0.2).backward()
    assert torch.equal(script.pushes(ratio, advantages, 0.2), log_probs.grad != 0)
    assert (log_probs.grad == 0).any()


def test_clipped_values_count_the_worse_of_two_errors(script: ModuleType) -> None:
    values, old, returns = torch.tensor([3.0]), torch.tensor([1.0]), torch.tensor([3.0])
    assert script.value_loss(values, old, returns, None) == 0
    assert script.value_loss(values, old, returns, 0.5) == 1.5**2


def test_the_recording_holds_every_variant(script: ModuleType) -> None:
    data = recorded("ppo_on_cartpole")
    assert (data["steps"], data["environment"]) == (script.STEPS, script.ENVIRONMENT)
    for group, members in script.variants().items():
        assert list(data[group]) == list(members)
        for name, finals in data[group].items():
            assert len(finals) == (20 if group == "baseline" else 10), name
            assert all(8 <= final <= 500 for final in finals)
    assert len(data["curves"]) == 20
    assert len(data["one_batch"]) == 10
    for batch in data["one_batch"]:
        for measured in batch.values():
            assert len(measured["zero_gradient"]) == script.PASSES + 1
            assert len(measured["return"]) == len(script.LOOKS)
            assert measured["zero_gradient"][0] == 0
            assert measured["largest"][0] == 1
