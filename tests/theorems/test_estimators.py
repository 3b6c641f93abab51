"""REINFORCE's estimators and their returns against enumeration over all trajectories."""

import pytest
import torch

from course_lib.mdp import finite_difference_gradient, random_layered_mdp, trajectories
from course_lib.policies import softmax_policy
from course_lib.reference.answers.baseline_loss import baseline_loss
from course_lib.reference.answers.reinforce import reinforce
from course_lib.reference.answers.reinforce_1 import reinforce_1
from course_lib.reference.answers.reinforce_2 import reinforce_2
from course_lib.reference.answers.returns_to_go import returns_to_go

STEPS = 3
GAMMAS = (0.0, 0.7, 1.0)


def world(gamma, seed):
    generator = torch.Generator().manual_seed(seed)
    mdp = random_layered_mdp(STEPS, 2, 2, gamma, generator)
    theta = torch.randn(mdp.states, mdp.actions, generator=generator, dtype=torch.float64)
    return mdp, theta


def every_episode(mdp, theta):
    """Probability, states, actions and rewards of each trajectory."""
    every = trajectories(mdp, softmax_policy(theta), STEPS)
    return zip(every.probabilities, every.states[:, :-1], every.actions, every.rewards, strict=True)


def expectation(mdp, theta, estimate):
    return sum(p * estimate(s, a, r) for p, s, a, r in every_episode(mdp, theta))


def close(left, right, atol=1e-12):
    torch.testing.assert_close(left, right, rtol=0, atol=atol)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("seed", range(2))
def test_both_estimators_have_the_exact_gradient_as_expectation(gamma, seed):
    mdp, theta = world(gamma, seed)
    exact = mdp.policy_gradient(theta)
    one = expectation(mdp, theta, lambda s, a, r: reinforce_1(theta, s, a, r, gamma))
    two = expectation(
        mdp, theta, lambda s, a, r: reinforce_2(theta, s, a, returns_to_go(r, gamma), gamma)
    )
    close(one, exact)
    close(two, exact)
    differences = finite_difference_gradient(
        lambda point: mdp.expected_return(softmax_policy(point)), theta
    )
    close(exact, differences, atol=1e-8)
    assert exact.abs().max() > 1e-3


def test_without_gamma_t_the_expectation_is_another():
    mdp, theta = world(0.7, 0)

    def dropped(s, a, r):
        returns = returns_to_go(r, 0.7)
        return reinforce_2(theta, s, a, returns, 1.0)

    biased = expectation(mdp, theta, dropped)
    assert (biased - mdp.policy_gradient(theta)).abs().max() > 1e-2


def test_the_expected_return_to_go_of_a_state_is_its_value():
    mdp, theta = world(0.7, 1)
    values = mdp.values(softmax_policy(theta))
    for t in range(STEPS):
        for state in range(2 * t, 2 * t + 2):
            weight, total = 0.0, 0.0
            for p, s, _, r in every_episode(mdp, theta):
                if s[t] == state:
                    weight += p
                    total += p * returns_to_go(r, 0.7)[t]
            close(total / weight, values[state])


@pytest.mark.parametrize("gamma", GAMMAS)
def test_first_return_to_go_is_the_return_of_the_trajectory(gamma):
    rewards = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    direct = sum(gamma**t * r for t, r in enumerate(rewards))
    close(returns_to_go(rewards, gamma)[0], torch.as_tensor(direct))
    close(returns_to_go(rewards, gamma)[2:], returns_to_go(rewards[2:], gamma))


def test_estimators_scale_with_the_rewards_and_leave_unvisited_states_alone():
    mdp, theta = world(0.7, 0)
    for _, s, a, r in list(every_episode(mdp, theta))[:5]:
        estimate = reinforce_1(theta, s, a, r, 0.7)
        close(reinforce_1(theta, s, a, -2 * r, 0.7), -2 * estimate)
        unvisited = [state for state in range(mdp.states) if state not in s.tolist()]
        assert not estimate[unvisited].any()
        close(estimate.sum(dim=1), torch.zeros(mdp.states, dtype=torch.float64))


def test_a_constant_baseline_leaves_the_expectation_as_it_is():
    mdp, theta = world(0.7, 1)
    for guess in (0.0, 5.0):

        def estimate(s, a, r, guess=guess):
            leaf = theta.clone().requires_grad_()
            log_probs = torch.log_softmax(leaf, -1)[s, a]
            values = torch.full((STEPS,), guess, dtype=torch.float64)
            loss = baseline_loss(log_probs, returns_to_go(r, 0.7), values, 0.7)
            return -torch.autograd.grad(loss, leaf)[0]

        close(expectation(mdp, theta, estimate), mdp.policy_gradient(theta))


def test_the_baseline_gets_no_gradient_and_does_not_change_that_of_log_probs():
    log_probs = torch.tensor([-0.3, -1.0], dtype=torch.float64, requires_grad=True)
    values = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    returns = torch.tensor([1.0, 3.0], dtype=torch.float64)
    loss = baseline_loss(log_probs, returns, values, 0.5)
    found = torch.autograd.grad(loss, [log_probs, values], allow_unused=True)
    close(found[0], torch.tensor([-0.5, -0.5], dtype=torch.float64))
    assert found[1] is None


def test_reinforce_with_exact_gradients_is_gradient_ascent_and_reaches_the_optimum():
    mdp, theta = world(0.7, 0)
    start = theta.clone()
    last = reinforce(
        theta, lambda point: [point], lambda _, point: mdp.policy_gradient(point), 5, 400
    )
    best = mdp.expected_return(mdp.optimal_policy())
    before, after = (mdp.expected_return(softmax_policy(point)) for point in (theta, last))
    assert best - after < 0.01 * (best - before)
    assert after <= best
    assert torch.equal(theta, start)
