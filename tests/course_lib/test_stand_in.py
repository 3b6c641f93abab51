"""All that takes device="cuda", tried without a GPU on the device of stand_in.py.

Same seed, same numbers there as on the CPU: so each thing done on it must come out as it does here.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from stand_in import OnDevice, stand_in

from course_lib import policies
from course_lib.episodes import sample_episodes
from course_lib.evaluation import evaluate
from course_lib.grpo import GRPOConfig, grpo
from course_lib.language_model import LanguageModel, Words, imitate
from course_lib.mdp import cliff_walk, random_layered_mdp, random_mdp, trajectories
from course_lib.policies import critic_for, policy_for, softmax_policy
from course_lib.reference.agents import launch
from course_lib.reference.agents.checkpoint import load_checkpoint, load_part, save_checkpoint
from course_lib.reference.agents.launch import resume_agent, train_agent
from course_lib.reference.agents.ppo import train_ppo
from course_lib.reference.agents.reinforce import train_reinforce
from course_lib.reference.agents.run_folder import Stopped, load_policy
from course_lib.reference.agents.scaling import RewardScaler, scaler_for
from course_lib.reference.agents.trpo import distribution_at, fisher_products, train_trpo
from course_lib.reference.answers.baseline_loss import baseline_loss
from course_lib.reference.answers.clipped_surrogate import clipped_surrogate
from course_lib.reference.answers.gae import gae
from course_lib.reference.answers.returns_to_go import returns_to_go
from course_lib.rollout import collect, collect_episodes, make_envs
from course_lib.seeding import check_device, check_generator, new_generator
from course_lib.tensor_envs import CartPoles
from course_lib.training import (
    PPOConfig,
    ReinforceConfig,
    TRPOConfig,
    train_on_episodes,
    train_on_steps,
)


@pytest.fixture
def there():
    """The stand-in; while it is there, networks are in float64."""
    kind = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with stand_in() as device:
            yield device
    finally:
        torch.set_default_dtype(kind)


def weights(module):
    return torch.cat([p.detach().cpu().flatten() for p in module.parameters()])


def close(ours, theirs):
    torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-8, atol=1e-9)


# The stand-in is as strict as CUDA, and no stricter.

THERE = {"device": "cuda"}
REFUSED = {
    "a CPU tensor mixed in": lambda x: x + torch.ones(3),
    "and on the left": lambda x: torch.ones(3) * x,
    "into a CPU tensor": lambda x: torch.ones(3).add_(x),
    "a number into a number": lambda x: torch.tensor(1.0).add_(x[0]),
    "a mask of the CPU": lambda x: torch.where(torch.tensor([True, False, True]), x, x),
    "a stack of both": lambda x: torch.stack([x, torch.ones(3)]),
    "a product of both": lambda x: x @ torch.ones(3),
    "a number of the CPU's in a product": lambda x: torch.dot(x, torch.tensor(1.0).expand(3)),
    "rows chosen by the CPU": lambda x: x.index_select(0, torch.tensor([0])),
    "the CPU's indexed": lambda x: torch.ones(3)[x.long()],
    "the CPU's put in at indices": lambda x: x.index_put_((x.long(),), torch.ones(3)),
    ".numpy() of it": lambda x: x.numpy(),
    "as an array": np.asarray,
    "a generator of the CPU's": lambda x: torch.rand(3, generator=new_generator(0), **THERE),
    "filled by one": lambda x: x.normal_(generator=new_generator(0)),
    "its generator here": lambda x: torch.rand(3, generator=new_generator(0, "cuda")),
    "a state on it": lambda x: new_generator(0, "cuda").set_state(
        new_generator(0, "cuda").get_state().to("cuda")
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_cuda_refuses_is_refused(mistake, there):
    x = torch.zeros(3, device="cuda")
    with pytest.raises((RuntimeError, TypeError)) as refused:
        REFUSED[mistake](x)
    words = ("same device", "another device", "not supported for tensor subclasses", "ByteTensor")
    assert any(each in str(refused.value) for each in words)


def test_what_cuda_allows_is_allowed_and_gives_the_numbers(there):
    x = torch.tensor([1.0, 2.0, 3.0], device="cuda")
    assert (x.device, x.is_cuda, type(x)) == (torch.device("cuda:0"), True, OnDevice)
    assert x.to("cuda") is x
    rows = torch.from_numpy(np.eye(3)).to("cuda")
    rows[1] = torch.full((3,), 5.0)  # a copy
    rows[x == 3.0] += x
    assert (rows @ x).tolist() == [1.0, 30.0, 17.0]
    assert (x + torch.tensor(2.0)).tolist() == [3.0, 4.0, 5.0]
    assert x[torch.tensor([2, 0])].tolist() == [3.0, 1.0]
    assert type(torch.ones(3).copy_(x)) is torch.Tensor
    assert x.cpu().numpy().sum() == float(x.sum()) == 6.0
    theta = x.clone().requires_grad_()
    (theta**3).sum().backward()
    assert theta.grad.tolist() == [3.0, 12.0, 27.0]
    draws = [
        torch.rand(4, generator=new_generator(1, name), device=name) for name in ("cuda", "cpu")
    ]
    assert draws[0].tolist() == draws[1].tolist()


def test_waits_are_counted(there):
    x = torch.ones(3, device="cuda")
    y = torch.where(x > 0, x.exp(), 0.0).cumsum(0).masked_fill(x > 2, 1.0)
    y[0] = y[1] + x.argmax()
    assert there.waits == []
    for wait in (
        lambda: y.sum().item(),
        lambda: bool(y.any()),
        lambda: y[y > 0],
        lambda: torch.nonzero(y),
        lambda: y.cpu(),
        lambda: torch.ones(2).to("cuda"),
        lambda: torch.tensor([1.0], device="cuda"),
        lambda: y.copy_(torch.ones(3)),
    ):
        before = len(there.waits)
        wait()
        assert len(there.waits) == before + 1


# Training.

SMALL = {"envs": 16, "hidden": (5,), "total_steps": 16 * 8 * 2}
SCALED = {"scale_observations": True, "scale_rewards": True}
AGENTS = {
    "reinforce": (train_reinforce, ReinforceConfig(max_steps=8, critic_batch=40, **SMALL)),
    "ppo": (train_ppo, PPOConfig(rollout_steps=8, minibatches=2, entropy_weight=0.01, **SMALL)),
    "trpo": (train_trpo, TRPOConfig(rollout_steps=8, **SMALL)),
}
IDS = ["tensor/CartPole-v1", "tensor/Pendulum-v1", "tensor/combination_lock", "Acrobot-v1"]


def config_for(name, env_id):
    train, config = AGENTS[name]
    if "Pendulum" in env_id and name != "reinforce":
        config = type(config)(**{**vars(config), **SCALED})
    return train, config


@pytest.mark.parametrize("env_id", [*IDS, "Pendulum-v1"])
@pytest.mark.parametrize("name", AGENTS)
def test_training_there_is_training_here(name, env_id, there):
    train, config = config_for(name, env_id)
    policies, histories = zip(
        *(
            train(env_id, config, generator=new_generator(3, device), device=device)
            for device in ("cuda", "cpu")
        ),
        strict=True,
    )
    assert all(type(parameter) is OnDevice for parameter in policies[0].parameters())
    assert all(type(parameter) is not OnDevice for parameter in policies[1].parameters())
    close(weights(policies[0]), weights(policies[1]))
    ours, theirs = ([list(update.values()) for update in h.updates] for h in histories)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)
    assert len(ours) == 2
    assert histories[0].episode_steps == histories[1].episode_steps


@pytest.mark.parametrize("loop", [train_on_episodes, train_on_steps])
def test_the_loops_take_policy_and_critic_with_them(loop, there):
    envs = make_envs("tensor/CartPole-v1", 4, "cuda")
    generator = new_generator(0, "cuda")
    policy, critic = (
        make(envs, (5,), generator=new_generator(0)) for make in (policy_for, critic_for)
    )
    config = ReinforceConfig if loop is train_on_episodes else PPOConfig
    parts = {
        train_on_episodes: {"returns": returns_to_go, "loss": baseline_loss},
        train_on_steps: {"advantages": gae},
    }
    history = loop(
        envs,
        policy,
        critic,
        config(envs=4, total_steps=20),
        **parts[loop],
        update=lambda *columns: {"length": float(len(columns[-1]))},
        generator=generator,
        device="cuda",
    )
    assert history.steps >= 20
    for module in (policy, critic):
        assert all(type(parameter) is OnDevice for parameter in module.parameters())


def stays(self, device):
    return self


def noise_of_the_cpu(shape, kind, generator):
    return torch.empty(tuple(shape), dtype=kind).exponential_(generator=generator).log_().neg_()


def acts_on_what_came(self, generator, steps, envs):
    return lambda seen: self.draw(torch.from_numpy(seen), generator).cpu().numpy()


def keeps_actions_there(self, generator, steps, envs):
    return lambda seen: self.draw(torch.from_numpy(seen).to("cuda"), generator).numpy()


PLANTED = {
    "a module not moved": (RewardScaler, "to", stays, "tensor/CartPole-v1"),
    "noise drawn here": (policies, "_gumbel", noise_of_the_cpu, "tensor/CartPole-v1"),
    "observations not sent": (policies.Policy, "actor", acts_on_what_came, "Acrobot-v1"),
    "actions not fetched": (policies.Policy, "actor", keeps_actions_there, "Acrobot-v1"),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_mistake_planted_in_training_is_noticed(mistake, there, monkeypatch):
    owner, name, wrong, env_id = PLANTED[mistake]
    monkeypatch.setattr(owner, name, wrong)
    with pytest.raises(RuntimeError, match=r"device|not supported for tensor subclasses"):
        train_ppo(env_id, AGENTS["ppo"][1], generator=new_generator(3, "cuda"), device="cuda")


def waits(there, env_id, steps, whole=False):
    envs = make_envs(env_id, 6, "cuda")
    generator = new_generator(0, "cuda")
    policy = policy_for(envs, generator=generator)
    before = len(there.waits)
    (collect_episodes if whole else collect)(
        envs, policy, *((generator, steps) if whole else (steps, generator)), device="cuda"
    )
    return len(there.waits) - before


@pytest.mark.parametrize("env_id", [each for each in IDS if each.startswith("tensor/")])
def test_the_host_waits_for_a_rollout_and_not_for_its_steps(env_id, there):
    assert waits(there, env_id, 3) == waits(there, env_id, 12) > 0
    assert waits(there, env_id, 64, whole=True) <= waits(there, env_id, 32, whole=True) + 1


def test_a_wait_planted_in_a_step_is_noticed(there, monkeypatch):
    advance = CartPoles.advance

    def looks(self, states, actions):
        if self.ended.any():
            states = states.clone()
        return advance(self, states, actions)

    monkeypatch.setattr(CartPoles, "advance", looks)
    assert waits(there, "tensor/CartPole-v1", 12) == waits(there, "tensor/CartPole-v1", 3) + 9


# Policies, evaluation, exact quantities, the language model.

STATES, VECTORS = Discrete(3), Box(-1, 1, (3,))
SPACES = {
    "tabular": (STATES, Discrete(2)),
    "categorical": (VECTORS, Discrete(2)),
    "several choices": (VECTORS, MultiDiscrete([2, 4])),
    "gaussian": (VECTORS, Box(-1, 1, (2,))),
    "unit vectors": (STATES, Box(-1, 1, (2,))),
}


@pytest.mark.parametrize("name", SPACES)
def test_policies_there_are_policies_here(name, there):
    observation_space, action_space = SPACES[name]
    env = SimpleNamespace(observation_space=observation_space, action_space=action_space)
    at = torch.randn((4, 3), generator=new_generator(1))
    at = at.argmax(1) if observation_space is STATES else at
    found = []
    for device in ("cuda", "cpu"):
        generator = new_generator(0, device)
        policy = policy_for(env, (4,), generator=generator)
        observations = at.to(device)
        scaler = None if observation_space is STATES else scaler_for(env, device)
        critic = critic_for(env, (4,), generator=generator, scaler=scaler)
        values = critic(observations)
        actions, log_probs = policy.sample(observations, generator)
        with torch.no_grad():
            old = policy.distribution(observations)
            for parameter in policy.parameters():
                parameter.add_(0.1 * torch.ones_like(parameter).cumsum(-1))
        theta = torch.nn.utils.parameters_to_vector(policy.parameters()).detach()

        def mean_kl(theta, policy=policy, observations=observations, old=old):
            new = distribution_at(policy, theta, observations)
            return torch.distributions.kl_divergence(old, new).mean()

        found.append(
            [
                *(values, actions, log_probs, policy.log_prob(observations, actions)),
                *(policy.entropy(observations), policy.kl(old, observations)),
                fisher_products(mean_kl, theta, 0.1)(theta + 1),
            ]
        )
    for ours, theirs in zip(*found, strict=True):
        assert type(ours.detach()) is OnDevice
        close(ours, theirs)


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("env_id", ["tensor/CartPole-v1", "CartPole-v1"])
def test_evaluation_there_is_evaluation_here(env_id, greedy, there):
    returns = []
    for device in ("cuda", "cpu"):
        policy = policy_for(make_envs(env_id, 1), (5,), generator=new_generator(5, device))
        returns.append(evaluate(policy, env_id, 4, new_generator(6, device), greedy=greedy))
    assert returns[0] == returns[1] > 5


def test_exact_quantities_and_episodes_there_are_those_here(there):
    theta = torch.randn((12, 4), generator=new_generator(0))
    mdp = cliff_walk()
    moved, table = mdp.to("cuda"), softmax_policy(theta.to("cuda"))
    close(moved.policy_gradient(theta.to("cuda")), mdp.policy_gradient(theta))
    close(moved.optimal_policy(), mdp.optimal_policy())
    for make in (lambda g: random_mdp(3, 2, 0.9, g), lambda g: random_layered_mdp(2, 2, 2, 1.0, g)):
        ours, theirs = make(new_generator(1, "cuda")), make(new_generator(1))
        close(ours.transitions, theirs.transitions)
        policy = torch.full_like(theirs.rewards, 0.5)
        ours_too = trajectories(ours, policy.to("cuda"), 2)
        close(ours_too.probabilities, trajectories(theirs, policy, 2).probabilities)
    ours = sample_episodes(moved, table, 5, new_generator(2, "cuda"))
    theirs = sample_episodes(mdp, softmax_policy(theta), 5, new_generator(2))
    assert [e.actions.tolist() for e in ours] == [e.actions.tolist() for e in theirs]


def test_a_language_model_learns_there_as_here(there):
    def paid(text):
        return text.count("a") - 0.5

    words = Words("ab.")
    texts = words.encode(["aab.", "ab..", "bb.."])
    config = GRPOConfig(questions=3, group=4, length=3, updates=2, epochs=2, kl_weight=0.1)
    found = []
    for device in ("cuda", "cpu"):
        generator = new_generator(0, device)
        model = LanguageModel(3, 4, 8, generator=generator)
        losses = imitate(model, texts.to(device), words.end, 2, batch=4, generator=generator)
        prompts = texts[:, :1].to(device)
        learn = grpo(model, words, prompts, paid, clipped_surrogate, config, generator=generator)
        numbers = [list(update.values()) for update in learn]
        found.append((weights(model), torch.tensor(losses), torch.tensor(numbers)))
    for ours, theirs in zip(*found, strict=True):
        close(ours, theirs)


# Checkpoints.


@pytest.mark.parametrize(
    ("name", "env_id"), [("ppo", "tensor/Pendulum-v1"), ("trpo", "Acrobot-v1")]
)
def test_a_run_resumed_there_is_the_one_that_was_not_stopped(name, env_id, tmp_path, there):
    file = tmp_path / "run.safetensors"
    train, config = config_for(name, env_id)
    config = type(config)(**{**vars(config), "total_steps": 16 * 8 * 3})

    def save(run):
        if len(run.history.updates) == 1:
            assert save_checkpoint(file, run, {}) == ""

    def load(run):
        if run.history.steps == 0:
            assert load_checkpoint(file, run) == ""

    def trained(seed, watch):
        generator = new_generator(seed, "cuda")
        return train(env_id, config, generator=generator, device="cuda", watch=watch)

    whole, seen = trained(0, save)
    resumed, seen_again = trained(1, load)
    assert torch.equal(weights(whole), weights(resumed))
    assert repr(seen) == repr(seen_again)


@pytest.mark.parametrize("devices", [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_policy_saved_on_one_device_is_the_same_on_the_other(devices, tmp_path, there):
    file = tmp_path / "run.safetensors"
    train, config = config_for("ppo", "tensor/Pendulum-v1")
    first, second = devices

    def watch(run):
        save_checkpoint(file, run, {})

    def trained(seed, device, watch=None):
        generator = new_generator(seed, device)
        return train("tensor/Pendulum-v1", config, generator=generator, device=device, watch=watch)

    saved, _ = trained(0, first, watch)
    other, _ = trained(1, second)
    assert not torch.equal(weights(saved), weights(other))
    load_part(file, "policy", other)
    at = torch.randn((5, 3), generator=new_generator(0))
    close(other.distribution(at.to(second)).mean.cpu(), saved.distribution(at.to(first)).mean.cpu())
    assert {p.device.type for p in other.parameters()} == {second}
    with pytest.raises(ValueError, match=f"saved on {first}, this run is on {second}.* on {first}"):
        trained(2, second, lambda run: load_checkpoint(file, run))


def test_a_folders_run_goes_on_where_it_was_and_its_policy_acts_here(tmp_path, there, monkeypatch):
    folder = tmp_path / "run"
    config = AGENTS["ppo"][1]

    def stop(*arguments, watch, **keywords):
        def and_then(run):
            watch(run)
            if run.history.steps > 0:
                raise KeyboardInterrupt

        return train_ppo(*arguments, watch=and_then, **keywords)

    monkeypatch.setitem(launch.AGENTS, "ppo", stop)
    with pytest.raises(Stopped, match=f"course train --resume {folder} --device cuda$"):
        train_agent("ppo", IDS[0], config, folder=folder, bar=False, device="cuda")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"this run is on cpu, .*go on with it on cuda"):
        resume_agent(folder, bar=False)
    trained = resume_agent(folder, bar=False, device="cuda")
    assert trained.history.steps == config.total_steps
    here = load_policy(folder)
    assert {p.device.type for p in here.parameters()} == {"cpu"}
    close(weights(trained.policy), weights(here))


# Devices and generators.


def test_a_generator_must_be_on_the_very_device(there, monkeypatch):
    assert check_device("cuda") == check_device("cuda:0") == torch.device("cuda:0")
    assert check_device("cpu:0") == torch.device("cpu")
    generator = new_generator(0, "cuda")
    for on_it in (generator, torch.Generator("cuda")):
        check_generator(on_it, "cuda")
    check_generator(new_generator(0), "cpu:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device in ("cpu", "cuda:1"):
        with pytest.raises(
            ValueError, match=f"is on cuda:0 and the numbers are wanted on {device}"
        ):
            check_generator(generator, device)


def test_the_stand_in_leaves_nothing_behind():
    names = ("is_available", "device_count", "synchronize", "set_sync_debug_mode")
    before = [torch.Generator, *(getattr(torch.cuda, name) for name in names)]
    with stand_in():
        x = torch.ones(2, device="cuda")
    assert [torch.Generator, *(getattr(torch.cuda, name) for name in names)] == before
    with pytest.raises(RuntimeError, match="no longer there"):
        x + 1
