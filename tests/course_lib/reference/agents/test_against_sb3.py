"""The same numbers as Stable-Baselines3 and sb3-contrib on the same batches.

Both sides get one batch of an older policy: ratios away from 1, advantages of both signs, episode
ends and time limits. The peers' numbers are taken from their own `train`, not from a copy of it.
"""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from course_lib.policies import CategoricalPolicy, critic_for, policy_for
from course_lib.reference.agents.ppo import distance, ppo_loss
from course_lib.reference.agents.trpo import distribution_at
from course_lib.reference.answers.conjugate_gradient import conjugate_gradient
from course_lib.reference.answers.fisher_vector_product import fisher_vector_product
from course_lib.reference.answers.gae import gae
from course_lib.reference.answers.kl import kl
from course_lib.reference.answers.surrogate import surrogate
from course_lib.seeding import new_generator
from course_lib.training import Batch, PPOConfig, normalise

reason = "needs the bench extra: pip install -c constraints.txt -e '.[bench]'"
sb3 = pytest.importorskip("stable_baselines3", reason=reason)
contrib = pytest.importorskip("sb3_contrib", reason=reason)

STEPS, ENVS = 48, 4
TYPES = [torch.float64, torch.float32]
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-5}
ENV_IDS = ["CartPole-v1", "Pendulum-v1"]


def close(ours, theirs):
    ours, theirs = (torch.as_tensor(x).detach() for x in (ours, theirs))
    tolerance = TOLERANCE[ours.dtype]
    torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=tolerance, atol=tolerance)


class Peer:
    """A model of Stable-Baselines3, our modules with its weights, and one batch for both."""

    def __init__(self, model_class, env_id, dtype, monkeypatch, **options):
        # It casts observations to float32, whatever its policy computes in.
        monkeypatch.setattr(
            "stable_baselines3.common.policies.preprocess_obs", lambda obs, *rest, **more: obs
        )
        envs = sb3.common.env_util.make_vec_env(env_id, n_envs=ENVS, seed=0)
        self.model = model_class(
            "MlpPolicy",
            envs,
            n_steps=STEPS,
            batch_size=STEPS * ENVS,
            policy_kwargs={"net_arch": [16, 16]},
            seed=0,
            device="cpu",
            **options,
        )
        self.model.set_logger(sb3.common.logger.Logger(folder=None, output_formats=[]))
        self.model.policy.to(dtype)
        self.generator = new_generator(1)
        env = gymnasium.make(env_id)
        self.policy = policy_for(env, (16, 16), generator=self.generator).to(dtype)
        self.critic = critic_for(env, (16, 16), generator=self.generator).to(dtype)
        # Away from the start, where the policy is nearly uniform and the values nearly 0.
        with torch.no_grad():
            for parameter in [*self.policy.parameters(), *self.critic.parameters()]:
                parameter += 0.3 * self.draw(*parameter.shape, dtype=dtype)
        self.pairs = self.pair_parameters()
        for mine, theirs in self.pairs:
            theirs.data.copy_(mine.data)
        self.batch = self.make_batch(dtype)

    def draw(self, *shape, dtype):
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(dtype)

    def pair_parameters(self):
        peer, extractor = self.model.policy, self.model.policy.mlp_extractor
        pairs = []
        for net, hidden, last in (
            (self.policy.net, extractor.policy_net, peer.action_net),
            (self.critic.net, extractor.value_net, peer.value_net),
        ):
            for mine, theirs in zip(net.linear, (hidden[0], hidden[2], last), strict=True):
                pairs += [(mine.weight, theirs.weight), (mine.bias, theirs.bias)]
        if hasattr(self.policy, "log_std"):
            pairs.append((self.policy.log_std, peer.log_std))
        return pairs

    def make_batch(self, dtype):
        """Steps of a policy some way off, put into the peer's buffer as well, time first."""
        observations = self.draw(STEPS, ENVS, *self.policy.observation_shape, dtype=dtype)
        actions, log_probs = self.policy.sample(observations, self.generator)
        if actions.is_floating_point():
            actions = actions.float().to(dtype)  # it rounds them on the way out of its buffer
        log_probs = self.policy.log_prob(observations, actions)
        log_probs = (log_probs + 0.3 * self.draw(STEPS, ENVS, dtype=dtype)).detach()
        advantages = 2 * self.draw(STEPS, ENVS, dtype=dtype) + 0.5
        returns = 3 * self.draw(STEPS, ENVS, dtype=dtype)
        buffer = self.model.rollout_buffer
        buffer.reset()
        columns = {
            "observations": observations,
            "actions": actions.reshape(STEPS, ENVS, -1),
            "log_probs": log_probs,
            "advantages": advantages,
            "returns": returns,
            "values": torch.zeros_like(returns),
        }
        for name, column in columns.items():
            setattr(buffer, name, column.numpy())
        buffer.full = True
        columns = (observations, actions, log_probs, advantages, returns)
        return Batch(*(column.flatten(0, 1) for column in columns))


PPO_WEIGHTS = {"value_weight": 0.7, "entropy_weight": 0.03}


@pytest.fixture(params=[(e, t) for e in ENV_IDS for t in TYPES], ids=lambda p: f"{p[0]}-{p[1]}")
def ppo_peer(request, monkeypatch):
    env_id, dtype = request.param
    return Peer(
        sb3.PPO,
        env_id,
        dtype,
        monkeypatch,
        n_epochs=1,
        clip_range=0.2,
        vf_coef=PPO_WEIGHTS["value_weight"],
        ent_coef=PPO_WEIGHTS["entropy_weight"],
        max_grad_norm=1e9,
    )


def test_ppos_loss_its_parts_and_its_gradient(ppo_peer):
    peer, batch = ppo_peer, ppo_peer.batch
    config = PPOConfig(epsilon=0.2, **PPO_WEIGHTS)
    loss, parts = ppo_loss(peer.policy, peer.critic, batch, config)
    parts |= distance(peer.policy, batch, config.epsilon)
    entropy = peer.policy.entropy(batch.observations).mean()
    gradients = torch.autograd.grad(loss, [mine for mine, _ in peer.pairs])
    peer.model.train()
    seen = peer.model.logger.name_to_value
    close(-parts["objective"], seen["train/policy_gradient_loss"])
    close(parts["value_loss"], seen["train/value_loss"])
    close(-entropy, seen["train/entropy_loss"])
    close(parts["kl"], float(seen["train/approx_kl"]))
    close(parts["share_outside_clip"], seen["train/clip_fraction"])
    close(loss, seen["train/loss"])
    assert 0.1 < parts["share_outside_clip"] < 0.9
    for gradient, (_, theirs) in zip(gradients, peer.pairs, strict=True):
        assert theirs.grad.abs().max() > 1e-4
        close(gradient, theirs.grad)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda b: replace(b, log_probs=b.log_probs.roll(1)),
        lambda b: replace(b, advantages=-b.advantages),
        lambda b: replace(b, returns=b.advantages),
    ],
    ids=["log-probs of other steps", "sign", "critic's target is the advantage"],
)
def test_the_batch_tells_the_usual_mistakes_apart(ppo_peer, wrong):
    config = PPOConfig(epsilon=0.2, **PPO_WEIGHTS)
    loss, _ = ppo_loss(ppo_peer.policy, ppo_peer.critic, wrong(ppo_peer.batch), config)
    ppo_peer.model.train()
    assert abs(loss.item() - ppo_peer.model.logger.name_to_value["train/loss"]) > 1e-3


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (0.9, 0.0), (1.0, 1.0), (0.97, 1.0)])
def test_generalised_advantages(dtype, gamma, lam):
    generator = new_generator(3)
    rewards, values, last = (
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        for shape in ((STEPS, ENVS), (STEPS, ENVS), (STEPS, ENVS))
    )
    ends = torch.randint(12, (STEPS, ENVS), generator=generator)
    terminated, truncated = ends == 0, ends == 1
    assert terminated.sum() > 3
    assert truncated.sum() > 3
    # Inside an episode the next value is the next row's; at its end, that of the true last state.
    next_values = torch.where(terminated | truncated, last, values.roll(-1, 0))
    next_values[-1] = last[-1]
    space = gymnasium.spaces.Box(-1, 1, (1,))
    buffer = sb3.common.buffers.RolloutBuffer(
        STEPS, space, space, gae_lambda=lam, gamma=gamma, n_envs=ENVS
    )
    # Its rollouts add the value of the last state to the reward where a time limit cut in.
    buffer.rewards = (rewards + gamma * next_values * truncated).numpy()
    buffer.values = values.numpy()
    buffer.advantages = np.zeros((STEPS, ENVS), buffer.values.dtype)
    ended = (terminated | truncated).numpy()
    buffer.episode_starts = np.concatenate([np.zeros((1, ENVS), bool), ended[:-1]]).astype(float)
    buffer.compute_returns_and_advantage(next_values[-1], ended[-1])
    advantages = gae(rewards, values, next_values, terminated, truncated, gamma, lam)
    close(advantages, buffer.advantages)
    close(advantages + values, buffer.returns)
    ended_twice = gae(rewards, values, next_values, terminated | truncated, truncated, gamma, lam)
    assert (ended_twice - torch.as_tensor(buffer.advantages)).abs().max() > 0.1


@pytest.fixture(params=[(e, t) for e in ENV_IDS for t in TYPES], ids=lambda p: f"{p[0]}-{p[1]}")
def trpo_peer(request, monkeypatch):
    env_id, dtype = request.param
    return Peer(contrib.TRPO, env_id, dtype, monkeypatch, cg_damping=0.1, normalize_advantage=True)


def peers_pieces(peer):
    """The parts of sb3-contrib's TRPO up to its Fisher matrix, from its own methods."""
    batch, policy = peer.batch, peer.model.policy
    old = policy.get_distribution(batch.observations)
    old = type(old)(old.action_dim).proba_distribution(
        *(
            [old.distribution.logits.detach()]
            if isinstance(peer.policy, CategoricalPolicy)
            else [old.distribution.mean.detach(), policy.log_std.detach()]
        )
    )
    new = policy.get_distribution(batch.observations)
    ratio = torch.exp(new.log_prob(batch.actions) - batch.log_probs)
    objective = (normalise(batch.advantages) * ratio).mean()
    divergence = sb3.common.distributions.kl_divergence(new, old)
    if divergence.ndim > 1:  # one entry an action dimension
        divergence = divergence.sum(-1)
    return peer.model._compute_actor_grad(divergence.mean(), objective)


def ours_in_their_order(peer, theta, parameters):
    """A vector in our order of parameters, laid out in the peer's."""
    pieces, start = {}, 0
    for parameter in peer.policy.parameters():
        pieces[id(parameter)] = theta[start : start + parameter.numel()]
        start += parameter.numel()
    theirs = {id(their): mine for mine, their in peer.pairs}
    return torch.cat([pieces[id(theirs[id(parameter)])] for parameter in parameters])


def test_trpos_gradient_fisher_vector_product_and_direction(trpo_peer, monkeypatch):
    peer, batch = trpo_peer, trpo_peer.batch
    theta = parameters_to_vector(peer.policy.parameters()).detach()
    old = distribution_at(peer.policy, theta, batch.observations)

    def mean_kl(point):
        now = distribution_at(peer.policy, point, batch.observations)
        return torch.distributions.kl_divergence(old, now).mean()

    leaf = theta.clone().requires_grad_()
    new = distribution_at(peer.policy, leaf, batch.observations).log_prob(batch.actions)
    gain = surrogate(new, batch.log_probs, normalise(batch.advantages))
    (gradient,) = torch.autograd.grad(gain, leaf)

    parameters, their_gradient, kl_gradient, _ = peers_pieces(peer)
    close(ours_in_their_order(peer, gradient, parameters), their_gradient)

    def multiply(vector):
        return fisher_vector_product(mean_kl, theta, vector, 0.1)

    def their_product(vector):
        return peer.model.hessian_vector_product(parameters, kl_gradient, vector)

    for seed in range(3):
        vector = torch.randn(theta.shape, generator=new_generator(seed), dtype=torch.float64)
        vector = vector.to(theta.dtype)
        product = multiply(vector)
        assert (product - 0.1 * vector).abs().max() > 1e-2
        close(
            ours_in_their_order(peer, product, parameters),
            their_product(ours_in_their_order(peer, vector, parameters)),
        )
    if theta.dtype == torch.float32:
        return  # ten steps on a matrix of this condition amplify rounding; the pieces are equal
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)  # ours starts from 0
    solve = contrib.common.utils.conjugate_gradient_solver
    direction = conjugate_gradient(multiply, gradient, 10)
    assert direction.abs().max() > 0.01
    close(
        ours_in_their_order(peer, direction, parameters), solve(their_product, their_gradient, 10)
    )


@pytest.mark.parametrize("dtype", TYPES)
def test_conjugate_gradient_on_the_same_matrix_is_the_peers(dtype, monkeypatch):
    generator = new_generator(5)
    root = torch.randn((12, 12), generator=generator, dtype=torch.float64)
    matrix = (root @ root.T / 12 + torch.eye(12, dtype=torch.float64)).to(dtype)
    b = torch.randn(12, generator=generator, dtype=torch.float64).to(dtype)
    # It starts from noise; from 0, as ours does, every iterate must be the same.
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    solve = contrib.common.utils.conjugate_gradient_solver
    for iterations in (1, 2, 5, 10):
        close(
            conjugate_gradient(lambda v: matrix @ v, b, iterations),
            solve(lambda v: matrix @ v, b, iterations),
        )
    assert conjugate_gradient(lambda v: matrix @ v, b, 2).abs().max() > 0.1


@pytest.mark.parametrize("dtype", TYPES)
def test_kl_and_entropy_of_logits(dtype):
    generator = new_generator(2)
    old, new = (
        2 * torch.randn((64, 5), generator=generator, dtype=torch.float64).to(dtype)
        for _ in range(2)
    )
    make = sb3.common.distributions.CategoricalDistribution
    mine, theirs = (make(5).proba_distribution(logits) for logits in (old, new))
    close(kl(old, new), sb3.common.distributions.kl_divergence(mine, theirs).mean())
    assert abs(kl(old, new) - kl(new, old)) > 1e-2
