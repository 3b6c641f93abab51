"""The pieces of TRPO and PPO against closed forms, explicit matrices and arithmetic."""

import itertools

import pytest
import torch

from course_lib.mdp import finite_difference_gradient, random_mdp
from course_lib.policies import softmax_policy
from course_lib.reference.answers.clipped_surrogate import clipped_surrogate
from course_lib.reference.answers.conjugate_gradient import conjugate_gradient
from course_lib.reference.answers.fisher_vector_product import fisher_vector_product
from course_lib.reference.answers.gae import gae
from course_lib.reference.answers.kl import kl
from course_lib.reference.answers.line_search import line_search
from course_lib.reference.answers.ppo_update import ppo_update
from course_lib.reference.answers.returns_to_go import returns_to_go
from course_lib.reference.answers.surrogate import surrogate


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def close(left, right, atol=1e-12):
    torch.testing.assert_close(left, right, rtol=0, atol=atol)


def log_probs(theta, states, actions):
    return torch.log_softmax(theta, -1)[states, actions]


@pytest.fixture
def batch():
    """theta (3, 4), states, actions and advantages (40,)."""
    generator = torch.Generator().manual_seed(5)
    states = torch.randint(3, (40,), generator=generator)
    actions = torch.randint(4, (40,), generator=generator)
    return draw(3, 4), states, actions, draw(40, seed=1)


# Surrogates


@pytest.mark.parametrize(
    "objective", [surrogate, lambda n, o, a: clipped_surrogate(n, o, a, 0.2)], ids=["plain", "clip"]
)
def test_at_the_old_policy_surrogates_have_the_policy_gradient(objective, batch):
    theta, states, actions, advantages = batch
    leaf = theta.clone().requires_grad_()
    new = log_probs(leaf, states, actions)
    value = objective(new, new.detach(), advantages)
    (slope,) = torch.autograd.grad(value, leaf, retain_graph=True)
    (plain,) = torch.autograd.grad((new * advantages).mean(), leaf)
    close(slope, plain)
    close(value.detach(), advantages.mean())


def test_surrogate_over_all_pairs_is_the_exact_local_approximation():
    """With the old visitation as weights its gradient at the old policy is that of J."""
    generator = torch.Generator().manual_seed(3)
    mdp, theta = random_mdp(4, 3, 0.9, generator), draw(4, 3, seed=2)
    policy = softmax_policy(theta)
    states, actions = (
        grid.flatten() for grid in torch.meshgrid(*map(torch.arange, (4, 3)), indexing="ij")
    )
    weights = mdp.occupancy(policy)[states, actions] * len(states)
    leaf = theta.clone().requires_grad_()
    value = surrogate(
        log_probs(leaf, states, actions),
        log_probs(theta, states, actions),
        weights * mdp.advantages(policy)[states, actions],
    )
    close(torch.autograd.grad(value, leaf)[0], mdp.policy_gradient(theta))
    close(value.detach(), torch.zeros((), dtype=torch.float64))


# ratio, advantage, value and gradient with respect to the log-prob, epsilon = 0.2
SIX_CASES = {
    "good action, below the clip": (0.5, 2.0, 1.0, 1.0),
    "good action, inside": (1.1, 2.0, 2.2, 2.2),
    "good action, above": (1.5, 2.0, 2.4, 0.0),
    "bad action, below": (0.5, -2.0, -1.6, 0.0),
    "bad action, inside": (1.1, -2.0, -2.2, -2.2),
    "bad action, above": (1.5, -2.0, -3.0, -3.0),
}


@pytest.mark.parametrize("case", SIX_CASES)
def test_the_six_cases_of_the_clip(case):
    ratio, advantage, value, slope = SIX_CASES[case]
    new = torch.tensor([ratio], dtype=torch.float64).log().requires_grad_()
    old, advantages = torch.zeros(1, dtype=torch.float64), draw(1) * 0 + advantage
    found = clipped_surrogate(new, old, advantages, 0.2)
    assert found.item() == pytest.approx(value)
    assert torch.autograd.grad(found, new)[0].item() == pytest.approx(slope)


def test_the_clipped_surrogate_never_exceeds_the_plain_one():
    new, old, advantages = draw(500), draw(500, seed=1), draw(500, seed=2)
    for row in zip(new, old, advantages, strict=True):
        one = [x[None] for x in row]
        assert clipped_surrogate(*one, 0.2) <= surrogate(*one) + 1e-12
    close(
        clipped_surrogate(new * 1e-3, old * 1e-3, advantages, 0.2),
        surrogate(new * 1e-3, old * 1e-3, advantages),
    )


# KL and its curvature


def test_kl_is_positive_zero_at_equal_policies_and_blind_to_shifts():
    old, new = draw(50, 4), draw(50, 4, seed=1)
    each = torch.stack([kl(old[i : i + 1], new[i : i + 1]) for i in range(50)])
    assert (each > 0).all()
    close(each.mean(), kl(old, new))
    close(kl(old, old + 3.0), torch.zeros((), dtype=torch.float64))
    p, q = softmax_policy(old), softmax_policy(new)
    close(kl(old, new), (p * (p / q).log()).sum(-1).mean())
    assert abs(kl(old, new) - kl(new, old)) > 1e-3


def test_kl_is_at_least_twice_the_squared_total_variation():
    old, new = draw(1000, 3), draw(1000, 3, seed=1)
    distance = 0.5 * (softmax_policy(old) - softmax_policy(new)).abs().sum(-1)
    each = torch.stack([kl(old[i : i + 1], new[i : i + 1]) for i in range(1000)])
    assert (each >= 2 * distance**2).all()


def mean_kl_of(theta, states):
    return lambda flat: kl(theta[states], flat.view(theta.shape)[states])


def test_fisher_vector_product_equals_the_explicit_fisher_matrix(batch):
    """F = mean over states of E[score score^T], a formula that differentiates nothing."""
    theta, states, _, _ = batch
    policy = softmax_policy(theta)
    fisher = torch.zeros(12, 12, dtype=torch.float64)
    for state in states.tolist():
        for action in range(4):
            score = torch.zeros(3, 4, dtype=torch.float64)
            score[state] = -policy[state]
            score[state, action] += 1
            fisher += policy[state, action] * torch.outer(score.flatten(), score.flatten())
    fisher /= len(states)
    vector, mean_kl = draw(12, seed=4), mean_kl_of(theta, states)
    close(fisher_vector_product(mean_kl, theta.flatten(), vector, 0.0), fisher @ vector)
    damped = fisher_vector_product(mean_kl, theta.flatten(), vector, 0.3)
    close(damped, fisher @ vector + 0.3 * vector)
    assert torch.linalg.eigvalsh(fisher)[:3].abs().max() < 1e-12  # singular: one shift a state


def test_fisher_vector_product_is_the_difference_of_gradients_elsewhere():
    features, theta, vector = draw(5, 3), draw(3, seed=1), draw(3, seed=2)

    def function(point):
        return torch.exp(features @ point).mean()

    def slope_along(scale):
        return finite_difference_gradient(function, theta + scale * vector)

    h = 1e-4
    numeric = (slope_along(h) - slope_along(-h)) / (2 * h)
    close(fisher_vector_product(function, theta, vector, 0.0), numeric, atol=1e-4)


# Conjugate gradient and line search


@pytest.mark.parametrize("size", [1, 2, 5, 20])
def test_conjugate_gradient_solves_in_as_many_steps_as_there_are_equations(size):
    root = draw(size, size)
    matrix, b = root @ root.T + size * torch.eye(size, dtype=torch.float64), draw(size, seed=1)
    calls = []

    def multiply(vector):
        calls.append(1)
        return matrix @ vector

    x = conjugate_gradient(multiply, b, size, tolerance=1e-24)
    close(x, torch.linalg.solve(matrix, b), atol=1e-10)
    assert len(calls) <= size


def test_conjugate_gradient_comes_closer_with_every_step_and_stops_when_there():
    root = draw(8, 8)
    matrix, b = root @ root.T + torch.eye(8, dtype=torch.float64), draw(8, seed=1)
    solution = torch.linalg.solve(matrix, b)
    errors = []
    for steps in range(9):
        off = conjugate_gradient(lambda v: matrix @ v, b, steps) - solution
        errors.append((off @ matrix @ off).item())
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))
    assert not conjugate_gradient(lambda v: matrix @ v, b, 5, tolerance=1e6).any()
    assert not conjugate_gradient(lambda v: matrix @ v, 0 * b, 5).any()


def test_a_whole_trpo_step_keeps_the_kl_and_gains(batch):
    theta, states, actions, advantages = batch
    start, mean_kl = theta.flatten(), mean_kl_of(theta, states)
    old = log_probs(theta, states, actions)

    def gain(flat):
        return surrogate(log_probs(flat.view(3, 4), states, actions), old, advantages)

    leaf = start.clone().requires_grad_()
    (slope,) = torch.autograd.grad(gain(leaf), leaf)

    def multiply(vector):
        return fisher_vector_product(mean_kl, start, vector, 1e-6)

    direction = conjugate_gradient(multiply, slope, 50, tolerance=1e-24)
    ratios = []
    for delta in (1e-2, 1e-4, 1e-6):
        step = (2 * delta / (direction @ multiply(direction))).sqrt() * direction
        ratios.append(mean_kl(start + step).item() / delta)
        new = line_search(gain, mean_kl, start, 4 * step, delta)
        assert mean_kl(new) <= delta
        assert gain(new) > gain(start)
        assert not torch.equal(new, start)
    assert abs(ratios[2] - 1) < 1e-2, "the closed-form step uses up delta to second order"
    assert abs(ratios[2] - 1) < abs(ratios[0] - 1)
    assert torch.equal(line_search(gain, mean_kl, start, -direction, 1e-2), start)


# Advantages


def rollout(seed=0, steps=9, envs=3):
    rewards, values, next_values = (draw(steps, envs, seed=seed + i) for i in range(3))
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(6, (steps, envs), generator=generator)
    return rewards, values, next_values, ends == 0, ends == 1


def test_gae_with_lam_one_is_return_minus_value():
    rewards, values, next_values, terminated, truncated = rollout()
    found = gae(rewards, values, next_values, terminated, truncated, 0.9, 1.0)
    for n in range(3):
        start = 0
        for t in range(9):
            last = t == 8 or terminated[t, n] or truncated[t, n]
            if not last:
                continue
            paid = rewards[start : t + 1, n].clone()
            if not terminated[t, n]:
                paid[-1] += 0.9 * next_values[t, n]
            # Inside an episode lam = 1 telescopes only if each next value is the next row's value.
            inner = next_values[start:t, n] - values[start + 1 : t + 1, n]
            paid[:-1] += 0.9 * inner
            close(found[start : t + 1, n], returns_to_go(paid, 0.9) - values[start : t + 1, n])
            start = t + 1


def test_gae_with_lam_zero_is_the_td_error():
    rewards, values, next_values, terminated, truncated = rollout(seed=7)
    found = gae(rewards, values, next_values, terminated, truncated, 0.9, 0.0)
    wanted = rewards + 0.9 * torch.where(terminated, 0 * values, next_values) - values
    close(found, wanted)


def test_environments_and_episodes_do_not_touch_each_other():
    columns = rollout(seed=3)
    whole = gae(*columns, 0.9, 0.8)
    for n in range(3):
        close(whole[:, n : n + 1], gae(*(c[:, n : n + 1] for c in columns), 0.9, 0.8))
    columns = [c.clone() for c in columns]
    columns[4][4] = True  # every environment is cut after step 4
    whole = gae(*columns, 0.9, 0.8)
    close(whole[:5], gae(*(c[:5] for c in columns), 0.9, 0.8))
    close(whole[5:], gae(*(c[5:] for c in columns), 0.9, 0.8))


def test_expected_gae_of_the_true_values_is_the_advantage():
    """One step, every successor weighed by its probability: E[delta] = A."""
    generator = torch.Generator().manual_seed(2)
    mdp = random_mdp(3, 2, 0.8, generator)
    policy = softmax_policy(draw(3, 2))
    values = mdp.values(policy)
    for state in range(3):
        for action in range(2):
            shape = (1, 3)  # one step, one column a successor
            nothing = torch.zeros(shape, dtype=torch.bool)
            found = gae(
                mdp.rewards[state, action].expand(shape),
                values[state].expand(shape),
                values[None],
                nothing,
                nothing,
                0.8,
                0.95,
            )
            mean = found[0] @ mdp.transitions[state, action]
            close(mean, mdp.advantages(policy)[state, action])


# PPO's update


def test_ppo_update_on_the_whole_batch_is_gradient_ascent_on_the_surrogate(batch):
    theta, states, actions, advantages = batch
    old = log_probs(theta, states, actions)
    everything = torch.arange(40)[None]
    wanted = theta
    for steps in (1, 2, 3):
        ascent = finite_difference_gradient(
            lambda point: surrogate(log_probs(point, states, actions), old, advantages), wanted
        )
        wanted = wanted + 0.5 * ascent
        rows = everything.repeat(steps, 1)
        found = ppo_update(theta, states, actions, advantages, rows, surrogate, 0.5)
        close(found, wanted, atol=1e-8)


def test_ppo_update_with_a_clip_moves_less_and_keeps_the_callers_theta(batch):
    theta, states, actions, advantages = batch
    start = theta.clone()
    rows = torch.arange(40).view(4, 10).repeat(30, 1)

    def clipped(new, old, weights):
        return clipped_surrogate(new, old, weights, 0.2)

    def moved(objective):
        last = ppo_update(theta, states, actions, advantages, rows, objective, 1.0)
        return kl(theta, last)

    assert moved(clipped) < 0.5 * moved(surrogate)
    assert moved(clipped) > 0
    assert torch.equal(theta, start)
