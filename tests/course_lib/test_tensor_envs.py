"""Environments made of tensors: gymnasium's step for step, and acted in by the same loop."""

import math

import gymnasium
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from course_lib.evaluation import evaluate
from course_lib.mdp import combination_lock, random_mdp, three_state_chain
from course_lib.policies import policy_for, softmax_policy
from course_lib.reference.agents.checkpoint import load_checkpoint, save_checkpoint
from course_lib.reference.agents.ppo import train_ppo
from course_lib.reference.agents.reinforce import train_reinforce
from course_lib.reference.agents.trpo import train_trpo
from course_lib.rollout import collect, collect_episodes, make_envs
from course_lib.seeding import new_generator
from course_lib.tensor_envs import MDPS, CartPoles, Pendulums, TabularEnvs
from course_lib.training import PPOConfig, ReinforceConfig, TRPOConfig

IDS = ["CartPole-v1", "Pendulum-v1", *MDPS]
COLUMNS = ["path", "actions", "rewards", "terminated", "truncated", "valid"]
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]


def made(env_id, envs=5, device="cpu"):
    return make_envs(f"tensor/{env_id}", envs, device)


def rolled_out(env_id, steps, envs=5, seed=3, device="cpu"):
    envs = made(env_id, envs, device)
    generator = new_generator(seed, device)
    policy = policy_for(envs, generator=generator)
    return collect(envs, policy, steps, generator, device=device)[0]


# Dynamics, against gymnasium's own.


def test_one_step_of_cartpole_is_gymnasiums_from_any_state():
    peer = gymnasium.make("CartPole-v1").unwrapped
    peer.reset(seed=0)
    envs = CartPoles(300, "cpu")
    scale = torch.tensor([[2.4], [3.0], [0.21], [3.0]], dtype=torch.float64)
    states = scale * torch.randn((4, 300), dtype=torch.float64, generator=new_generator(0))
    actions = torch.randint(2, (300,), generator=new_generator(1))
    after, rewards, terminated = envs.advance(states, actions)
    observations = envs.observe(after)
    assert 50 < terminated.sum() < 250
    for n in range(300):
        peer.state, peer.steps_beyond_terminated = states[:, n].numpy(), None
        shown, paid, over, _, _ = peer.step(int(actions[n]))
        np.testing.assert_allclose(after[:, n].numpy(), peer.state, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(observations[n].numpy(), shown, rtol=1e-6)
        assert (rewards[n].item(), terminated[n].item()) == (paid, over)


def test_one_step_of_pendulum_is_gymnasiums_from_any_state():
    peer = gymnasium.make("Pendulum-v1").unwrapped
    peer.reset(seed=0)
    envs = Pendulums(300, "cpu")
    scale = torch.tensor([[6.0], [5.0]], dtype=torch.float64)
    states = scale * torch.randn((2, 300), dtype=torch.float64, generator=new_generator(0))
    states[1].clamp_(-8, 8)
    actions = 2 * torch.randn((300, 1), generator=new_generator(1))
    assert (actions.abs() > 2).any()
    after, rewards, terminated = envs.advance(states, actions)
    observations = envs.observe(after)
    assert (after[1].abs() == 8).any()
    assert not terminated.any()
    for n in range(300):
        peer.state = states[:, n].numpy()
        shown, paid, _, _, _ = peer.step(actions[n].numpy())
        np.testing.assert_allclose(after[:, n].numpy(), peer.state, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(rewards[n].item(), paid, rtol=1e-12)
        np.testing.assert_allclose(observations[n].numpy(), shown, rtol=1e-6)


def chosen_action(env_id, n, observations, noise):
    """Environment 0 is balanced up to its time limit, the others stumble."""
    if env_id == "Pendulum-v1":
        return 3 * noise[:, None]
    x, x_dot, theta, theta_dot = observations.T
    balanced = theta + 0.4 * theta_dot + 0.05 * x + 0.1 * x_dot > 0
    return torch.where(n == 0, balanced, noise > 0).long()


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_whole_episodes_are_gymnasiums_with_time_limits_and_resets(env_id):
    envs = made(env_id, 3)
    peers = [gymnasium.make(env_id) for _ in range(3)]
    observations, _ = envs.reset(seed=5)
    for n, peer in enumerate(peers):
        peer.reset(seed=0)
        peer.unwrapped.state = envs.states[:, n].numpy().copy()
    ended = [False] * 3
    ends = {"terminated": 0, "truncated": 0}
    generator = new_generator(6)
    for _ in range(520):
        noise = torch.randn(3, generator=generator)
        actions = chosen_action(env_id, torch.arange(3), observations, noise)
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        for n, peer in enumerate(peers):
            if ended[n]:
                peer.reset(seed=0)
                peer.unwrapped.state = envs.states[:, n].numpy().copy()
                assert (rewards[n].item(), terminated[n].item()) == (0, False)
                assert not truncated[n]
                ended[n] = False
                continue
            action = actions[n].numpy() if env_id == "Pendulum-v1" else int(actions[n])
            shown, paid, over, cut, _ = peer.step(action)
            # Rounding differs in the last place, and a falling pole lets it grow.
            np.testing.assert_allclose(envs.states[:, n], peer.unwrapped.state, rtol=0, atol=1e-9)
            np.testing.assert_allclose(observations[n], shown, rtol=1e-6, atol=1e-6)
            assert rewards[n].item() == pytest.approx(float(paid), rel=1e-9)
            assert (terminated[n].item(), truncated[n].item()) == (over, cut)
            ends["terminated"] += over
            ends["truncated"] += cut
            ended[n] = over or cut
    assert ends["truncated"] >= (1 if env_id == "CartPole-v1" else 6)
    assert env_id == "Pendulum-v1" or ends["terminated"] > 20


@pytest.mark.parametrize(("env_id", "highs"), [("CartPole-v1", [0.05] * 4), ("Pendulum-v1", None)])
@pytest.mark.parametrize("after_reset", [True, False])
def test_episodes_start_as_gymnasiums_do(env_id, highs, after_reset):
    """Kolmogorov-Smirnov distance to the uniform distribution, at a false alarm of 1 in 10,000."""
    count = 4000
    envs = made(env_id, count)
    envs.reset(seed=1)
    if not after_reset:  # the starts that a step makes, after episodes that all end at once
        envs.ended.fill_(True)
        envs.step(torch.zeros((count, *envs.single_action_space.shape), dtype=torch.long))
    highs = torch.tensor(highs or [math.pi, 1.0], dtype=torch.float64)
    drawn = ((envs.states / highs[:, None] + 1) / 2).sort(1).values  # (D, N), uniform in [0, 1)
    steps = torch.arange(1, count + 1) / count
    distance = torch.maximum((steps - drawn).abs(), (steps - 1 / count - drawn).abs()).amax(1)
    assert (distance < 2.23 / count**0.5).all()
    if len(highs) > 1:
        assert torch.corrcoef(envs.states).triu(1).abs().max() < 4 / count**0.5


# Tabular MDPs, against their exact quantities.


def stirred_policy(envs, seed):
    policy = policy_for(envs, generator=new_generator(0))
    with torch.no_grad():
        policy.theta.normal_(generator=new_generator(seed))
    return policy, softmax_policy(policy.theta.detach())


def lock():
    return combination_lock(3, gamma=0.8)


@pytest.mark.parametrize(
    "mdp", [three_state_chain(), lock(), random_mdp(4, 3, 0.8, new_generator(2))]
)
def test_visitation_and_return_of_collected_episodes_are_the_exact_ones(mdp):
    count, horizon = 3000, 80
    envs = TabularEnvs(mdp, count, "cpu")
    policy, table = stirred_policy(envs, 4)
    rollout = collect_episodes(envs, policy, new_generator(1), max_steps=horizon)
    discounts = mdp.gamma ** torch.arange(len(rollout.rewards), dtype=torch.float64)[:, None]
    weights = discounts * rollout.valid  # (T, N)
    states = torch.nn.functional.one_hot(rollout.observations, mdp.states)  # (T, N, S)
    visits = (weights[:, :, None] * states).sum(0)  # (N, S)
    error = visits.std(0) / count**0.5
    alive = ~mdp.terminal
    assert (error[alive] > 0).sum() >= 2
    gap = (visits.mean(0) - mdp.visitation(table)).abs()
    assert (gap[alive] <= 4 * error[alive] + 1e-6).all()
    returns = (weights * rollout.rewards).sum(0)
    error = returns.std() / count**0.5
    assert error > 0
    assert (returns.mean() - mdp.expected_return(table)).abs() < 4 * error


@pytest.mark.parametrize("device", DEVICES)
def test_steps_through_resets_visit_as_episodes_do(device):
    """Renewal: the share of valid steps in (s, a) is that of one whole undiscounted episode."""
    mdp = combination_lock(3, gamma=1.0).to(device)
    envs = TabularEnvs(mdp, 2000, device)
    generator = new_generator(1, device)
    policy = policy_for(envs, generator=generator)
    with torch.no_grad():
        policy.theta.copy_(torch.tensor([[0.0, 1.0], [0.3, 0.0], [0.0, 0.5], [0.0, 0.0]]))
    table = softmax_policy(policy.theta.detach())
    rollout, _ = collect(envs, policy, 200, generator, device=device)
    assert 0.05 < (~rollout.valid).double().mean() < 0.5
    # Each environment is one independent sample, its second half past the common start.
    states = torch.nn.functional.one_hot(rollout.observations[100:], 4)
    actions = torch.nn.functional.one_hot(rollout.actions[100:], 2)
    pairs = states[..., :, None] * actions[..., None, :] * rollout.valid[100:, :, None, None]
    share = pairs.double().mean(0) / rollout.valid[100:].double().mean()  # (N, S, A)
    error = share.std(0) / 2000**0.5
    wanted = mdp.occupancy(table) / mdp.occupancy(table).sum()
    assert ((share.mean(0) - wanted).abs() <= 4 * error + 1e-9).all()
    successors = mdp.transitions[rollout.observations, rollout.actions].argmax(-1)
    assert torch.equal(rollout.next_observations[rollout.valid], successors[rollout.valid])
    assert (rollout.next_observations[~rollout.valid] == 0).all()


def test_time_limit_and_autoreset_row_by_row():
    envs = TabularEnvs(combination_lock(3), 2, "cpu", time_limit=4)
    policy = policy_for(envs, generator=new_generator(0))
    with torch.no_grad():
        policy.theta[:, 1] = 100.0  # always Right
    rollout, _ = collect(envs, policy, 8, new_generator(0))
    assert rollout.path[:, 0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert rollout.terminated[:, 0].tolist() == [False, False, True, False] * 2
    assert rollout.valid[:, 0].tolist() == [True, True, True, False] * 2
    assert rollout.rewards[:, 0].tolist() == [0, 0, 1, 0] * 2
    assert rollout.episode_returns == [1.0] * 4
    assert rollout.episode_lengths == [3] * 4
    assert rollout.episode_ends == [2, 2, 6, 6]
    with torch.no_grad():
        policy.theta[:, 1] = -100.0  # always Left: only the limit ends it
    rollout, _ = collect(envs, policy, 6, new_generator(0))
    assert rollout.truncated[:, 1].tolist() == [False, False, False, True, False, False]
    assert not rollout.terminated.any()
    assert rollout.valid[:, 1].tolist() == [True] * 4 + [False, True]
    assert rollout.episode_lengths == [4, 4]


# The same loop.


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("env_id", IDS)
def test_same_generator_same_rollout_and_another_another(env_id, device):
    first, second = (rolled_out(env_id, 50, device=device) for _ in range(2))
    other = rolled_out(env_id, 50, seed=4, device=device)
    for name in COLUMNS:
        column = getattr(first, name)
        assert column.device.type == device
        assert torch.equal(column, getattr(second, name)), name
    assert first.episode_returns == second.episode_returns
    assert not torch.equal(first.actions, other.actions)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_rollouts_of_tensors_and_of_arrays_have_the_same_shapes_and_types(env_id):
    ours = rolled_out(env_id, 7)
    envs = make_envs(env_id, 5)
    policy = policy_for(envs, generator=new_generator(0))
    theirs, _ = collect(envs, policy, 7, new_generator(0))
    for name in COLUMNS:
        one, other = getattr(ours, name), getattr(theirs, name)
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
    for name in ("observation", "action"):
        space = f"single_{name}_space"
        assert getattr(made(env_id), space) == getattr(envs, space)


@pytest.mark.parametrize("env_id", IDS)
def test_a_run_put_back_goes_on_as_if_never_left(env_id):
    envs, generator = made(env_id), new_generator(3)
    policy = policy_for(envs, generator=generator)
    _, cursor = collect(envs, policy, 30, generator)
    saved = {name: tensor.clone() for name, tensor in envs.state_dict().items()}
    state = generator.get_state()
    wanted, _ = collect(envs, policy, 30, generator, cursor)
    again = made(env_id)
    again.load_state_dict(saved)
    generator.set_state(state)
    got, _ = collect(again, policy, 30, generator, cursor)
    for name in COLUMNS:
        assert torch.equal(getattr(got, name), getattr(wanted, name)), name
    assert got.episode_returns == wanted.episode_returns
    with pytest.raises(ValueError, match="go on with as many environments as there were"):
        made(env_id, 4).load_state_dict(saved)


def test_collected_episodes_are_one_whole_episode_each_however_late_one_looks():
    envs = made("CartPole-v1", 40)
    policy = policy_for(envs, generator=new_generator(0))
    rollout = collect_episodes(envs, policy, new_generator(1))
    lengths = rollout.valid.sum(0)
    assert len(rollout.rewards) == lengths.max() > lengths.min()
    assert len(rollout.rewards) % 32 != 0  # rows past the end were there and are cut off
    assert sorted(rollout.episode_lengths) == sorted(lengths.tolist())
    assert rollout.episode_returns == [float(length) for length in rollout.episode_lengths]
    last = rollout.next_observations[lengths - 1, torch.arange(40)]
    assert (last[:, 2].abs() > 12 * 2 * math.pi / 360).all()
    cut = collect_episodes(envs, policy, new_generator(1), max_steps=9)
    assert cut.truncated[8, cut.valid[8]].logical_or(cut.terminated[8, cut.valid[8]]).all()
    assert cut.truncated[8].any()


class Looks(TorchDispatchMode):
    """Counts what makes the host wait for a device: a number read, a shape that hangs on data."""

    waits = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kinds = [a.dtype for a in args[1] if a is not None] if "index" in str(function) else []
        self.count += any(wait in str(function) for wait in self.waits) or torch.bool in kinds
        return function(*args, **(kwargs or {}))


def looks(envs, policy, steps, whole=False):
    with Looks() as seen:
        if whole:
            collect_episodes(envs, policy, new_generator(0), max_steps=steps)
        else:
            collect(envs, policy, steps, new_generator(0))
    return seen.count


@pytest.mark.parametrize("env_id", IDS)
def test_the_host_looks_at_a_rollout_and_not_at_its_steps(env_id):
    envs = made(env_id)
    policy = policy_for(envs, generator=new_generator(0))
    assert looks(envs, policy, 3) == looks(envs, policy, 60) > 0
    assert looks(envs, policy, 64, whole=True) <= looks(envs, policy, 32, whole=True) + 1


@pytest.mark.parametrize("env_id", IDS)
def test_a_step_on_cuda_never_waits(env_id, cuda):
    envs = made(env_id, device="cuda")
    generator = new_generator(0, "cuda")
    policy = policy_for(envs, generator=generator)
    observations, _ = envs.reset(seed=0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.no_grad():
            for _ in range(3):
                actions = policy.draw(observations, generator)
                observations = envs.step(actions)[0]
    finally:
        torch.cuda.set_sync_debug_mode("default")


# The agents.

SMALL = {"envs": 4, "hidden": (8,), "total_steps": 300}
AGENTS = [
    (train_reinforce, ReinforceConfig(max_steps=60, **SMALL)),
    (train_ppo, PPOConfig(**SMALL)),
    (train_trpo, TRPOConfig(**SMALL)),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize(("train", "config"), AGENTS, ids=["reinforce", "ppo", "trpo"])
def test_every_agent_trains_in_every_environment(train, config, env_id, device):
    generator = new_generator(0, device)
    policy, history = train(f"tensor/{env_id}", config, generator=generator, device=device)
    assert history.steps >= config.total_steps
    assert all(parameter.device.type == device for parameter in policy.parameters())
    assert all(bool(parameter.isfinite().all()) for parameter in policy.parameters())


@pytest.mark.parametrize("device", DEVICES)
def test_ppo_learns_cartpole_made_of_tensors(device):
    config = PPOConfig(stop_return=150, total_steps=60_000)
    generator = new_generator(1, device)
    _, history = train_ppo("tensor/CartPole-v1", config, generator=generator, device=device)
    assert history.mean_return(100) >= 150
    assert np.mean(history.episode_returns[:20]) < 50


# Errors.


def test_bad_calls_are_answered_in_words():
    with pytest.raises(ValueError, match=r"tensor/Nothing is not among .*tensor/CartPole-v1"):
        made("Nothing")
    with pytest.raises(ValueError, match="envs must be at least 1, got 0"):
        made("CartPole-v1", 0)
    with pytest.raises(ValueError, match="time_limit must be at least 1, got 2 and 0"):
        make_envs("tensor/CartPole-v1", 2, time_limit=0)
    with pytest.raises(ValueError, match="length must be at least 1"):
        make_envs("tensor/combination_lock", 2, length=0)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device cuda is wanted and torch sees 0"):
            made("CartPole-v1", device="cuda")
    assert make_envs("tensor/combination_lock", 2, length=9).single_observation_space.n == 10


def test_environments_on_another_device_than_the_rollout_are_refused():
    envs = made("CartPole-v1")
    policy = policy_for(envs, generator=new_generator(0))
    envs.device = torch.device("meta")
    with pytest.raises(ValueError, match="are on meta and the rollout is wanted on cpu: make them"):
        collect(envs, policy, 3, new_generator(0))


def test_nan_is_found_after_the_rollout_and_the_environment_named():
    envs = made("CartPole-v1")
    policy = policy_for(envs, generator=new_generator(0))
    _, cursor = collect(envs, policy, 3, new_generator(0))
    envs.states[1, 2] = math.nan
    with pytest.raises(FloatingPointError, match=r"observation of environment 2 is .*nan.* 1 rows"):
        collect(envs, policy, 5, new_generator(0), cursor)
    for env_id in ("CartPole-v1", "Pendulum-v1"):
        envs = made(env_id)
        policy = policy_for(envs, generator=new_generator(0))
        with torch.no_grad():
            policy.net[0].weight.fill_(math.nan)
        with pytest.raises(FloatingPointError, match="the policy's parameters hold NaN"):
            collect(envs, policy, 5, new_generator(0))


def test_evaluation_plays_whole_episodes():
    policy = policy_for(made("combination_lock"), generator=new_generator(0))
    with torch.no_grad():
        policy.theta[:, 1] = 1.0
    assert evaluate(policy, "tensor/combination_lock", 7, new_generator(0), greedy=True) == 1.0


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "combination_lock"])
def test_a_training_resumed_from_a_checkpoint_equals_one_that_was_not(tmp_path, env_id):
    file = tmp_path / "run.safetensors"
    config = PPOConfig(envs=4, hidden=(8,), rollout_steps=16, total_steps=500)

    def trained(seed, watch):
        generator = new_generator(seed)
        policy, history = train_ppo(f"tensor/{env_id}", config, generator=generator, watch=watch)
        return torch.nn.utils.parameters_to_vector(policy.parameters()), history

    def save(run):
        if 100 < run.history.steps <= 300:
            assert save_checkpoint(file, run, {}) == ""

    def load(run):
        if run.history.steps == 0:
            assert load_checkpoint(file, run) == ""

    whole, seen = trained(0, save)
    resumed, seen_again = trained(1, load)
    assert torch.equal(whole, resumed)
    assert seen.updates[-1]["steps"] == seen_again.updates[-1]["steps"] > 500
    assert seen.episode_returns == seen_again.episode_returns
