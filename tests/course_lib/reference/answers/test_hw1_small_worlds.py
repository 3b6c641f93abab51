"""Homework 1 in small worlds and with a network: worked examples, other opinions, errors."""

import math

import numpy as np
import pytest
import torch

from course_lib.mdp import (
    finite_difference_gradient,
    random_layered_mdp,
    random_mdp,
    three_state_chain,
    trajectories,
)
from course_lib.policies import softmax_policy
from course_lib.reference.answers.baseline_loss import baseline_loss
from course_lib.reference.answers.estimator_variances import estimator_variances
from course_lib.reference.answers.exact_gradient import exact_gradient
from course_lib.reference.answers.reinforce_1 import reinforce_1
from course_lib.reference.answers.reinforce_2 import reinforce_2
from course_lib.reference.answers.reinforce_loss import reinforce_loss
from course_lib.reference.answers.trajectory_log_prob import trajectory_log_prob
from course_lib.reference.answers.values_and_advantages import values_and_advantages


def t(numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def close(left, right, **tolerance):
    torch.testing.assert_close(left, torch.as_tensor(right, dtype=torch.float64), **tolerance)


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def a_world(seed, states=3, actions=2, gamma=0.9):
    return random_mdp(states, actions, gamma, torch.Generator().manual_seed(seed))


def listed(mdp, theta, horizon):
    """What `estimator_variances` is given of a world."""
    paths = trajectories(mdp, softmax_policy(theta), horizon)
    return paths.states[:, :-1], paths.actions, paths.rewards, paths.probabilities


COIN = t([[0.0, 0.0]])
ONE_STATE = {"start": t([1.0]), "transitions": t([[[1.0], [1.0]]]), "rewards": t([[0.0, 1.0]])}
FOUR = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])


# The examples by hand that the homework prints.


def test_values_and_advantages_by_hand():
    moves = torch.eye(3, dtype=torch.float64)[torch.tensor([[0, 1], [0, 2], [2, 2]])]
    policy = t([[0, 1], [0.5, 0.5], [0.5, 0.5]])
    values, advantages = values_and_advantages(moves, t([[0, 0], [0, 1], [0, 0]]), policy, 0.5)
    close(values, [2 / 7, 4 / 7, 0])
    close(advantages, [[-1 / 7, 0], [-3 / 7, 3 / 7], [0, 0]])


def test_trajectory_log_prob_by_hand():
    theta = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    moves = t([[[0.6, 0.4], [0.2, 0.8]], [[0.5, 0.5], [0.3, 0.7]]])
    states, actions = torch.tensor([0, 1, 1]), torch.tensor([1, 0])
    log_prob = trajectory_log_prob(theta, states, actions, t([0.5, 0.5]), moves)
    close(log_prob.detach(), math.log(0.05))
    assert round(log_prob.item(), 4) == -2.9957
    close(torch.autograd.grad(log_prob, theta)[0], [[-0.5, 0.5], [0.5, -0.5]])


def test_exact_gradient_by_hand():
    close(exact_gradient(COIN, **ONE_STATE, gamma=0.5, horizon=2), [[-3 / 8, 3 / 8]])


def test_estimator_variances_by_hand():
    table = torch.zeros(4, 2, dtype=torch.int64), FOUR, FOUR.double(), t([0.25] * 4)
    close(estimator_variances(COIN, *table, 0.5), [27 / 32, 11 / 32])


def test_reinforce_loss_by_hand():
    mask = torch.tensor([[True, True], [True, False]])
    batch = drawn(2, 2, 1), torch.tensor([[0, 1], [1, 0]]), t([[3, 4], [1, 7]]), mask
    loss = reinforce_loss(lambda rows: torch.cat([rows, rows], dim=-1) * 0, *batch, 0.5)
    close(loss, 3 * math.log(2))
    assert round(loss.item(), 4) == 2.0794


# Other opinions.


@pytest.mark.parametrize("seed", range(5))
def test_values_and_advantages_are_those_of_the_world(seed):
    mdp = a_world(seed, states=4, actions=3)
    policy = softmax_policy(drawn(4, 3, seed=seed))
    found = values_and_advantages(mdp.transitions, mdp.rewards, policy, mdp.gamma)
    close(found[0], mdp.values(policy))
    close(found[1], mdp.advantages(policy))
    close((policy * found[1]).sum(1), torch.zeros(4))


def test_values_at_an_end_are_zero():
    chain = three_state_chain()
    values, advantages = values_and_advantages(
        chain.transitions, chain.rewards, softmax_policy(drawn(3, 2)), chain.gamma
    )
    assert values[2] == 0
    assert not advantages[2].any()


@pytest.mark.parametrize("seed", range(3))
def test_trajectory_log_probs_are_those_of_the_list_and_sum_to_one(seed):
    mdp, theta = a_world(seed), drawn(3, 2, seed=seed)
    paths = trajectories(mdp, softmax_policy(theta), 3)
    log_probs = torch.stack(
        [
            trajectory_log_prob(theta, states, actions, mdp.start, mdp.transitions)
            for states, actions in zip(paths.states, paths.actions, strict=True)
        ]
    )
    close(log_probs, paths.probabilities.log())
    close(log_probs.exp().sum(), 1.0)


def test_gradient_of_a_trajectory_log_prob_is_the_finite_difference():
    mdp, theta = a_world(1), drawn(3, 2, seed=4)
    walk = torch.tensor([0, 2, 2, 1, 0]), torch.tensor([1, 0, 0, 1])

    def log_prob(theta):
        return trajectory_log_prob(theta, *walk, mdp.start, mdp.transitions)

    leaf = theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(log_prob(leaf), leaf)
    close(gradient, finite_difference_gradient(log_prob, theta), rtol=0, atol=1e-8)


@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_exact_gradient_is_that_of_worlds_that_last_so_long(horizon):
    mdp = random_layered_mdp(horizon, 2, 2, 0.8, torch.Generator().manual_seed(horizon))
    theta = drawn(mdp.states, 2, seed=horizon)
    found = exact_gradient(theta, mdp.start, mdp.transitions, mdp.rewards, 0.8, horizon)
    close(found, mdp.policy_gradient(theta))


def test_exact_gradient_is_the_finite_difference_of_the_sum_over_trajectories():
    mdp, theta = a_world(2), drawn(3, 2, seed=2)

    def expected_return(theta):
        paths = trajectories(mdp, softmax_policy(theta), 4)
        return paths.probabilities @ (paths.rewards @ t([1, 0.7, 0.49, 0.343]))

    found = exact_gradient(theta, mdp.start, mdp.transitions, mdp.rewards, 0.7, 4)
    close(found, finite_difference_gradient(expected_return, theta), rtol=0, atol=1e-8)


@pytest.mark.parametrize("gamma", [0.6, 1.0])
def test_estimator_variances_are_traces_of_the_covariance_of_the_estimates(gamma):
    mdp, theta = a_world(3), drawn(3, 2, seed=3)
    table = listed(mdp, theta, 3)
    later = torch.ones(3, 3, dtype=torch.float64).triu()
    powers = gamma ** torch.arange(3, dtype=torch.float64)
    returns = (table[2] * powers) @ later.T / powers
    estimates = {reinforce_1: table[2], reinforce_2: returns}
    wanted = []
    for estimate, paid in estimates.items():
        rows = [
            estimate(theta, *row, gamma).flatten().numpy()
            for row in zip(*table[:2], paid, strict=True)
        ]
        weights = table[3].numpy()
        wanted.append(np.trace(np.cov(np.array(rows).T, aweights=weights, ddof=0)))
    close(estimator_variances(theta, *table, gamma), wanted)
    assert wanted[0] > wanted[1] > 0


def test_estimators_of_one_step_are_the_same():
    theta = drawn(3, 2)
    first, second = estimator_variances(theta, *listed(a_world(0), theta, 1), 0.5)
    close(first, second)


def test_reinforce_loss_is_the_mean_of_the_losses_of_the_episodes_without_their_padding():
    network = torch.nn.Linear(3, 4, dtype=torch.float64)
    lengths, gamma = [4, 1, 3], 0.8
    seen, returns = drawn(3, 4, 3), drawn(3, 4, seed=1)
    actions = torch.randint(4, (3, 4), generator=torch.Generator().manual_seed(2))
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    log_probs = torch.log_softmax(network(seen), dim=-1)
    chosen = log_probs.gather(-1, actions[..., None]).squeeze(-1)
    each = [
        baseline_loss(chosen[b, :n], returns[b, :n], 0 * returns[b, :n], gamma)
        for b, n in enumerate(lengths)
    ]
    loss = reinforce_loss(network, seen, actions, returns, mask, gamma)
    close(loss, torch.stack(each).mean())
    assert loss.requires_grad


# Errors

WRONG_CALLS = {
    "policy": (
        lambda: values_and_advantages(torch.ones(2, 2, 2), torch.ones(2, 2), torch.ones(2), 0.5),
        r"policy must be \(S, A\)",
    ),
    "gamma": (
        lambda: values_and_advantages(torch.ones(1, 1, 1), torch.ones(1, 1), torch.ones(1, 1), 1.0),
        "one_minus_gamma must be a finite number above 0",
    ),
    "states": (
        lambda: trajectory_log_prob(COIN, FOUR[0], FOUR[0], t([1]), t([[[1], [1]]])),
        r"all_states_but_the_last must be \(T,\) with T = 2 as in actions, got \(1,\)",
    ),
    "horizon": (lambda: exact_gradient(COIN, **ONE_STATE, gamma=1, horizon=0), "horizon must be"),
    "start": (
        lambda: exact_gradient(COIN, **ONE_STATE | {"start": t([[1.0]])}, gamma=1, horizon=1),
        r"start must be \(S,\), got \(1, 1\)",
    ),
    "probabilities": (
        lambda: estimator_variances(COIN, FOUR * 0, FOUR, FOUR.double(), t([0.5, 0.5]), 1.0),
        r"probabilities must be \(N,\) with N = 4",
    ),
    "mask": (
        lambda: reinforce_loss(torch.sum, drawn(2, 2, 1), FOUR[:2], drawn(2, 2), FOUR[0] > 0, 1.0),
        r"mask must be \(B, T\)",
    ),
}


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_wrong_calls_of_the_small_worlds_say_what_was_wanted(call):
    function, words = WRONG_CALLS[call]
    with pytest.raises(ValueError, match=words):
        function()
