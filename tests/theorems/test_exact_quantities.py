"""Identities of the exact quantities, each against an oracle that shares no code with it."""

import math

import pytest
import torch

from course_lib.mdp import (
    TabularMDP,
    aliased_corridor,
    aliased_twins,
    bandit,
    cancelling_rewards,
    cliff_walk,
    combination_lock,
    finite_difference_gradient,
    random_layered_mdp,
    random_mdp,
    three_state_chain,
    trajectories,
)
from course_lib.policies import softmax_policy

AGREE = {"rtol": 0, "atol": 1e-8}
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def make_generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_theta(mdp, seed=1):
    return torch.randn(
        (mdp.states, mdp.actions), dtype=torch.float64, generator=make_generator(seed)
    )


def uniform(mdp):
    return torch.full_like(mdp.rewards, 1 / mdp.actions)


ENDLESS = [random_mdp(s, a, g, make_generator(s)) for s, a, g in [(2, 2, 0.5), (5, 3, 0.9)]]
EPISODIC = [
    random_layered_mdp(layers, width, actions, gamma, make_generator(layers))
    for layers, width, actions, gamma in [(2, 3, 2, 1.0), (3, 2, 3, 0.8), (4, 1, 2, 0.0)]
]
CANCELLING = cancelling_rewards()
# Every episode ends within `horizon` steps, so that enumeration is exact.
ENUMERABLE = [
    *[(mdp, layers) for mdp, layers in zip(EPISODIC, [2, 3, 4], strict=True)],
    (bandit([10.0, 3.0, 0.0, -5.0, 8.0]), 1),
    (CANCELLING, 2),
    (aliased_twins()[0], 3),
]
NAMED = [three_state_chain(), cliff_walk(), combination_lock(4), *[m for m, _ in ENUMERABLE]]
ALL = [*ENDLESS, *NAMED, aliased_corridor()[0]]


def enumerated_return(mdp, policy, horizon):
    paths = trajectories(mdp, policy, horizon)
    discounts = mdp.gamma ** torch.arange(horizon, dtype=torch.float64)
    return (paths.probabilities * (paths.rewards * discounts).sum(1)).sum()


@pytest.mark.parametrize("mdp", ALL, ids=range(len(ALL)))
def test_gradient_by_linear_solve_autograd_and_finite_differences_agree(mdp):
    theta = random_theta(mdp)
    exact = mdp.policy_gradient(theta)
    assert (exact.abs().max() > 1e-3) == (mdp is not CANCELLING)
    leaf = theta.clone().requires_grad_()
    (auto,) = torch.autograd.grad(mdp.expected_return(softmax_policy(leaf)), leaf)
    torch.testing.assert_close(auto, exact, **AGREE)
    numeric = finite_difference_gradient(
        lambda t: mdp.expected_return(softmax_policy(t)), theta, step=1e-5
    )
    torch.testing.assert_close(numeric, exact, **AGREE)


@pytest.mark.parametrize(("mdp", "horizon"), ENUMERABLE, ids=range(len(ENUMERABLE)))
def test_enumeration_of_trajectories_agrees_with_the_solve(mdp, horizon):
    theta = random_theta(mdp).requires_grad_()
    policy = softmax_policy(theta)
    paths = trajectories(mdp, policy, horizon)
    torch.testing.assert_close(paths.probabilities.sum().item(), 1.0, **EXACT)
    enumerated = enumerated_return(mdp, policy, horizon)
    torch.testing.assert_close(enumerated, mdp.expected_return(policy), **EXACT)
    (through_paths,) = torch.autograd.grad(enumerated, theta, retain_graph=True)
    exact = mdp.policy_gradient(theta.detach())
    torch.testing.assert_close(through_paths, exact, **AGREE)
    # REINFORCE-1 in expectation, with the score written out rather than differentiated.
    discounts = mdp.gamma ** torch.arange(horizon, dtype=torch.float64)
    weights = paths.probabilities.detach() * (paths.rewards * discounts).sum(1)
    by_score = torch.zeros_like(exact)
    for step in range(horizon):
        states, actions = paths.states[:, step], paths.actions[:, step]
        score = torch.nn.functional.one_hot(actions, mdp.actions) - policy.detach()[states]
        by_score.index_add_(0, states, weights[:, None] * score)
    torch.testing.assert_close(by_score, exact, **AGREE)


@pytest.mark.parametrize("mdp", [*ENDLESS, three_state_chain()], ids=range(3))
def test_truncated_enumeration_misses_at_most_the_tail(mdp):
    policy = softmax_policy(random_theta(mdp))
    horizon = 4 if mdp.states > 2 else 6
    gap = abs(enumerated_return(mdp, policy, horizon) - mdp.expected_return(policy))
    tail = mdp.gamma**horizon * mdp.rewards.abs().max() / (1 - mdp.gamma)
    assert gap <= tail
    assert gap > 0


@pytest.mark.parametrize("mdp", ENDLESS, ids=range(len(ENDLESS)))
def test_values_and_visitation_are_the_limits_of_their_sums(mdp):
    policy = softmax_policy(random_theta(mdp))
    step = torch.einsum("sa,sat->st", policy, mdp.transitions)
    rewards = (policy * mdp.rewards).sum(1)
    values, visits, at = torch.zeros(mdp.states).double(), torch.zeros_like(mdp.start), mdp.start
    for t in range(400):
        values = rewards + mdp.gamma * step @ values
        visits = visits + mdp.gamma**t * at
        at = at @ step
    torch.testing.assert_close(mdp.values(policy), values, **EXACT)
    torch.testing.assert_close(mdp.visitation(policy), visits, **EXACT)


@pytest.mark.parametrize("mdp", ALL, ids=range(len(ALL)))
def test_value_is_the_policys_mean_of_action_values_and_advantages_average_zero(mdp):
    policy = softmax_policy(random_theta(mdp))
    values, action_values = mdp.values(policy), mdp.action_values(policy)
    torch.testing.assert_close((policy * action_values).sum(1), values, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(mdp.advantages(policy), action_values - values[:, None], **EXACT)
    zero = torch.zeros(mdp.states, dtype=torch.float64)
    torch.testing.assert_close((policy * mdp.advantages(policy)).sum(1), zero, **AGREE)


@pytest.mark.parametrize("mdp", [m for m in ALL if m.gamma < 1])
def test_occupancy_sums_to_one_over_one_minus_gamma_and_weighs_rewards_to_the_return(mdp):
    policy = softmax_policy(random_theta(mdp))
    occupancy = mdp.occupancy(policy)
    torch.testing.assert_close(occupancy.sum().item(), 1 / (1 - mdp.gamma), rtol=1e-10, atol=0)
    torch.testing.assert_close(
        (occupancy * mdp.rewards).sum(), mdp.expected_return(policy), **AGREE
    )


def test_visitation_at_gamma_one_sums_to_the_length_of_an_episode():
    layered = random_layered_mdp(5, 2, 2, 1.0, make_generator())
    torch.testing.assert_close(layered.visitation(uniform(layered)).sum().item(), 5.0, **EXACT)


@pytest.mark.parametrize("seed", range(20))
def test_performance_difference_identity(seed):
    mdp = random_mdp(4, 3, 0.9, make_generator(seed))
    old, new = softmax_policy(random_theta(mdp, seed)), softmax_policy(random_theta(mdp, seed + 99))
    gain = mdp.expected_return(new) - mdp.expected_return(old)
    assert abs(gain) > 1e-4
    predicted = (mdp.occupancy(new) * mdp.advantages(old)).sum()
    torch.testing.assert_close(predicted, gain, rtol=0, atol=1e-10)


def test_score_has_zero_mean_in_every_state():
    theta = random_theta(three_state_chain()).requires_grad_()
    policy = softmax_policy(theta)
    for state in range(3):
        mean = (policy[state].detach() * policy[state].log()).sum()
        (gradient,) = torch.autograd.grad(mean, theta, retain_graph=True)
        torch.testing.assert_close(gradient, torch.zeros_like(theta), **EXACT)


@pytest.mark.parametrize("mdp", ALL, ids=range(len(ALL)))
def test_optimal_values_solve_bellmans_optimality_equation_and_no_policy_beats_them(mdp):
    best = mdp.optimal_values()
    backup = (mdp.rewards + mdp.gamma * mdp.transitions @ best).max(1).values
    torch.testing.assert_close(backup, best, **AGREE)
    for seed in range(5):
        assert (mdp.values(softmax_policy(random_theta(mdp, seed))) <= best + 1e-9).all()


# The examples do what their docstrings say.


def test_chain_has_the_printed_table_under_the_uniform_policy_and_not_under_the_printed_one():
    chain = three_state_chain()
    printed_values = torch.tensor([3.0, 5.3, 0.0], dtype=torch.float64)
    printed = torch.tensor([[1.2, 4.8], [3.1, 7.5], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(chain.values(uniform(chain)), printed_values, **EXACT)
    torch.testing.assert_close(chain.action_values(uniform(chain)), printed, **EXACT)
    policy = torch.tensor([[0.1, 0.9], [0.2, 0.8], [0.5, 0.5]], dtype=torch.float64)
    weighed = (policy * printed).sum(1)
    torch.testing.assert_close(
        weighed, torch.tensor([4.44, 6.62, 0.0], dtype=torch.float64), **EXACT
    )
    assert (chain.values(policy) - weighed).abs().max() > 0.1
    wanted = torch.tensor([[-1.5, 0.03], [0.4, 7.5], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(chain.rewards, wanted, **EXACT)


def test_bandit_raises_only_what_is_above_the_mean():
    slide = bandit([10.0, 3.0, 0.0, -5.0, 8.0])
    gradient = slide.policy_gradient(torch.zeros((2, 5), dtype=torch.float64))
    torch.testing.assert_close(slide.expected_return(uniform(slide)).item(), 3.2, **EXACT)
    assert torch.equal(gradient[0] > 0, torch.tensor([True, False, False, False, True]))


def test_corridor_is_best_walked_at_random():
    mdp, seen = aliased_corridor()

    def objective(right):
        table = torch.tensor([[1 - right, right], [0.5, 0.5]], dtype=torch.float64)
        return mdp.expected_return(table[seen]).item()

    for right in (0.1, 0.5, 0.9):
        assert objective(right) == pytest.approx((2 * right - 4) / (right * (1 - right)), rel=1e-10)
    best = 2 - math.sqrt(2)
    assert objective(best) == pytest.approx(-6 - 4 * math.sqrt(2), rel=1e-10)
    assert objective(best) > max(objective(best - 0.01), objective(best + 0.01))
    with pytest.raises(ValueError, match="never reaches a terminal state"):
        objective(1.0)


def test_without_gamma_to_the_t_the_twins_are_led_away_from_the_optimum():
    mdp, seen = aliased_twins()
    table = torch.zeros((3, 2), dtype=torch.float64, requires_grad=True)
    objective = mdp.expected_return(softmax_policy(table)[seen])
    torch.testing.assert_close(objective.item(), 0.75, **EXACT)  # 0.5 + 0.5 p
    (true,) = torch.autograd.grad(objective, table)
    policy = softmax_policy(table.detach())[seen]
    paths = trajectories(mdp, policy, 3)
    gamma_t = mdp.gamma ** torch.arange(3, dtype=torch.float64)
    for weights, rises in ((gamma_t, True), (torch.ones(3, dtype=torch.float64), False)):
        estimate = torch.zeros((3, 2), dtype=torch.float64)
        for t in range(3):
            returns = (paths.rewards[:, t:] * gamma_t[: 3 - t]).sum(1)
            states = paths.states[:, t]
            score = torch.nn.functional.one_hot(paths.actions[:, t], 2) - policy[states]
            weight = paths.probabilities * weights[t] * returns
            estimate.index_add_(0, seen[states], weight[:, None] * score)
        assert (estimate[0, 1] > 0) == rises
        assert torch.allclose(estimate, true, **AGREE) == rises


def test_cancelling_rewards_make_rewards_to_go_the_noisier_estimate():
    mdp = cancelling_rewards()
    policy = uniform(mdp)
    paths = trajectories(mdp, policy, 2)
    assert torch.equal(paths.rewards.sum(1), torch.zeros(len(paths.rewards)).double())
    to_go = paths.rewards.flip(1).cumsum(1).flip(1)
    score = torch.nn.functional.one_hot(paths.actions[:, 1], 2) - policy[1]
    estimates = to_go[:, 1:] * score
    mean = (paths.probabilities[:, None] * estimates).sum(0)
    variance = (paths.probabilities[:, None] * (estimates - mean) ** 2).sum()
    torch.testing.assert_close(mean, torch.zeros(2).double(), **EXACT)
    torch.testing.assert_close(variance.item(), 0.5, **EXACT)  # the whole return's is 0


@pytest.mark.parametrize("length", [1, 3, 6])
@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_combination_lock_has_its_closed_forms(length, gamma):
    lock = combination_lock(length, gamma)
    assert lock.optimal_values()[0].item() == pytest.approx(gamma ** (length - 1), rel=1e-12)
    for right in (0.3, 0.8):
        policy = torch.tensor([[1 - right, right]] * (length + 1), dtype=torch.float64)
        q = right * gamma
        wanted = right * q ** (length - 1) / (1 - gamma * (1 - right) * (1 - q**length) / (1 - q))
        assert lock.expected_return(policy).item() == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize(("slip", "edge"), [(0.0, True), (0.1, True), (0.15, False), (0.3, False)])
def test_cliff_is_walked_along_the_edge_only_while_the_wind_is_weak(slip, edge):
    policy = cliff_walk(slip).optimal_policy()
    assert policy[8].argmax() == 0
    assert policy[4].argmax() == (1 if edge else 0)


def test_at_gamma_one_a_best_policy_that_ties_with_a_loop_still_arrives():
    lock = combination_lock(3, 1.0)  # going back costs nothing, so every policy that ends is best
    values = lock.optimal_values()
    torch.testing.assert_close(values[:3], torch.ones(3, dtype=torch.float64), **AGREE)


def test_second_derivatives_go_through_the_solve():
    mdp = random_mdp(3, 2, 0.8, make_generator(5))
    theta = random_theta(mdp)
    hessian = torch.autograd.functional.hessian(
        lambda t: mdp.expected_return(softmax_policy(t)), theta
    )
    for s in range(3):
        for a in range(2):
            numeric = finite_difference_gradient(
                lambda t, s=s, a=a: mdp.policy_gradient(t)[s, a], theta, step=1e-5
            )
            torch.testing.assert_close(hessian[s, a], numeric, **AGREE)


def test_tables_can_be_moved_and_keep_their_values():
    chain = three_state_chain()
    moved = chain.to("cpu")
    assert isinstance(moved, TabularMDP)
    assert torch.equal(moved.values(uniform(chain)), chain.values(uniform(chain)))
