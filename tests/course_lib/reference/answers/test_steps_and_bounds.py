"""Performance difference, bounds and TRPO's step, against solves, optima and true policies."""

import pytest
import torch

from course_lib.many_mdps import random_mdps, random_policies
from course_lib.mdp import TabularMDP, random_mdp
from course_lib.policies import softmax_policy
from course_lib.reference.answers.conjugate_gradient import conjugate_gradient
from course_lib.reference.answers.fisher_vector_product import fisher_vector_product
from course_lib.reference.answers.improvement_bounds import improvement_bounds
from course_lib.reference.answers.line_search import line_search
from course_lib.reference.answers.performance_difference import performance_difference
from course_lib.reference.answers.trpo_step import trpo_step

M, S, A = 60, 4, 3
ALPHAS = (0.02, 0.2, 0.6, 1.0)


@pytest.fixture(scope="module")
def worlds():
    generator = torch.Generator().manual_seed(3)
    many = random_mdps(M, S, A, generator)
    olds, targets = (random_policies(M, S, A, generator, spread=1.5) for _ in range(2))
    return many, olds, targets


def test_the_performance_difference_is_the_difference_of_two_solves(worlds):
    many, olds, news = worlds
    visits, advantages = many.visitation(news), many.advantages(olds)
    gains = many.expected_return(news) - many.expected_return(olds)
    for m in range(M):
        difference = performance_difference(visits[m], news[m], advantages[m])
        torch.testing.assert_close(difference, gains[m], rtol=0, atol=1e-10)
        own = performance_difference(visits[m], news[m], many.advantages(news)[m])
        assert abs(own) < 1e-10  # against itself no policy gains


def bounds_and_truth(worlds, alpha):
    many, olds, targets = worlds
    returns, visits = many.expected_return(olds), many.visitation(olds)
    advantages = many.advantages(olds)
    truth = many.expected_return((1 - alpha) * olds + alpha * targets)
    bounds = [
        improvement_bounds(
            float(returns[m]),
            visits[m],
            olds[m],
            targets[m],
            advantages[m],
            alpha,
            float(many.gammas[m]),
        )
        for m in range(M)
    ]
    return torch.stack(bounds), truth


@pytest.mark.parametrize("alpha", ALPHAS)
def test_no_bound_is_above_the_return(worlds, alpha):
    bounds, truth = bounds_and_truth(worlds, alpha)
    assert (bounds <= truth[:, None] + 1e-10).all()
    assert (bounds[:, 1] >= bounds[:, 2] - 1e-10).all()  # Pinsker


def test_no_penalty_is_left_without_a_step(worlds):
    bounds, truth = bounds_and_truth(worlds, 0.0)
    torch.testing.assert_close(bounds, truth[:, None].expand(M, 3), rtol=0, atol=1e-10)


def test_a_world_uses_the_penalties_up():
    """Something new pays 1 the first time, and costs 1 from then on: no constant may be smaller."""
    stay, go = torch.eye(2, dtype=torch.float64)
    trap = TabularMDP(
        torch.stack([torch.stack([stay, go]), torch.stack([go, go])]),
        torch.tensor([[0.0, 1.0], [0.0, -1.0]], dtype=torch.float64),
        0.9,
        stay,
        torch.zeros(2, dtype=torch.bool),
    )
    waits = torch.tensor([[1 - 1e-12, 1e-12]] * 2, dtype=torch.float64)
    tries, alpha = waits.flip(1), 1e-3
    new = (1 - alpha) * waits + alpha * tries
    visits, advantages = trap.visitation(waits), trap.advantages(waits)
    old_return = float(trap.expected_return(waits))
    promised = old_return + (visits[:, None] * new * advantages).sum()
    missing = promised - trap.expected_return(new)
    bounds = improvement_bounds(old_return, visits, waits, tries, advantages, alpha, 0.9)
    shares = missing / (promised - bounds)
    assert 0.98 < shares[0] <= 1
    assert 0.49 < shares[1] <= 0.5


def test_which_bound_is_higher_does_not_depend_on_alpha(worlds):
    higher = [bounds_and_truth(worlds, alpha)[0][:, :2].diff(dim=1)[:, 0] > 0 for alpha in ALPHAS]
    assert all(torch.equal(higher[0], each) for each in higher[1:])
    assert higher[0].any()
    assert not higher[0].all()  # both answers occur


def pieces_of(seed):
    """Surrogate and mean KL of a tabular policy in a random world, exact."""
    generator = torch.Generator().manual_seed(seed)
    world = random_mdp(4, 3, 0.8, generator)
    start = torch.randn(12, dtype=torch.float64, generator=generator)

    def policy(theta):
        return softmax_policy(theta.view(4, 3))

    old = policy(start)
    weights, advantages = 0.2 * world.visitation(old), world.advantages(old)

    def surrogate(theta):
        return weights @ (policy(theta) * advantages).sum(-1)

    def mean_kl(theta):
        return weights @ (old * (old / policy(theta)).log()).sum(-1)

    return start, surrogate, mean_kl


def step_of(start, surrogate, mean_kl, delta, damping=1e-8, search=line_search):
    tools = fisher_vector_product, conjugate_gradient, search
    return trpo_step(start, surrogate, mean_kl, *tools, delta, damping, 20)


def full(surrogate, kl, theta, step, delta):
    return theta + step


@pytest.mark.parametrize("seed", range(4))
def test_the_step_uses_the_region_up_as_it_gets_small(seed):
    start, surrogate, mean_kl = pieces_of(seed)
    shares = []
    for delta in (1e-2, 1e-4, 1e-6):
        new = step_of(start, surrogate, mean_kl, delta, search=full)
        shares.append(abs(mean_kl(new).item() / delta - 1))
    assert shares[2] < 2e-3
    assert shares[2] < shares[1] < shares[0]


@pytest.mark.parametrize("seed", range(4))
def test_no_other_direction_gains_more_at_the_same_kl(seed):
    start, surrogate, mean_kl = pieces_of(seed)
    delta = 1e-5
    new = step_of(start, surrogate, mean_kl, delta, search=full)
    best = surrogate(new) - surrogate(start)
    generator = torch.Generator().manual_seed(seed)
    hessian = torch.autograd.functional.hessian(mean_kl, start)
    for _ in range(200):
        other = torch.randn(12, dtype=torch.float64, generator=generator)
        other = other * torch.sqrt(2 * delta / (other @ hessian @ other))
        assert surrogate(start + other) - surrogate(start) < best * 1.02


@pytest.mark.parametrize("seed", range(4))
def test_with_its_line_search_the_step_is_safe_and_better(seed):
    start, surrogate, mean_kl = pieces_of(seed)
    before = start.clone()
    for delta in (0.5, 0.05):
        new = step_of(start, surrogate, mean_kl, delta, damping=1e-3)
        assert 0 < mean_kl(new) <= delta
        assert surrogate(new) > surrogate(start)
    assert torch.equal(start, before)
    assert not start.requires_grad
    assert new.grad_fn is None


def test_on_a_flat_surrogate_it_stays():
    start, _, mean_kl = pieces_of(0)
    new = step_of(start, lambda theta: 0.0 * theta.sum(), mean_kl, 0.1)
    assert torch.equal(new, start)
