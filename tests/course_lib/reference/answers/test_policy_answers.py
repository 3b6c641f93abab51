"""Homework 3's policies against densities that integrate, sums over actions, counted draws."""

import math

import pytest
import torch
from torch.distributions import Categorical, MultivariateNormal

from course_lib.reference.answers.categorical_policy import categorical_policy
from course_lib.reference.answers.gaussian_actions import gaussian_actions
from course_lib.reference.answers.gaussian_policy import gaussian_policy
from course_lib.reference.answers.sample_actions import sample_actions


def t(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def close(left, right, **tolerance):
    torch.testing.assert_close(left, right, **tolerance)


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def all_actions(logits):
    """Each row of logits once with every action."""
    rows, actions = logits.shape
    return logits.repeat_interleave(actions, 0), torch.arange(actions).repeat(rows)


# The examples by hand that the homework prints.


def test_categorical_policy_by_hand():
    log_probs, entropies = categorical_policy(t(0, math.log(3))[None], torch.tensor([1]))
    assert [round(log_probs.item(), 4), round(entropies.item(), 4)] == [-0.2877, 0.5623]


def test_sample_actions_by_hand():
    logits = t(0.2, 0.5, 0.3).log().repeat(4, 1)
    assert sample_actions(logits, t(0.1, 0.35, 0.65, 0.8)).tolist() == [0, 1, 1, 2]


def test_gaussian_policy_by_hand():
    log_probs, entropies = gaussian_policy(t(0, 1)[None], t(2, 4).log(), t(1, 3)[None])
    assert [round(log_probs.item(), 4), round(entropies.item(), 4)] == [-4.1673, 4.9173]


def test_gaussian_actions_by_hand():
    given = gaussian_actions(t(1.5)[None], t(0), t(1.2)[None], t(-2), t(2))
    assert [round(each.item(), 4) for each in given] == [2.7, 2.0, -1.6389]
    clipped = gaussian_policy(t(1.5)[None], t(0), t(2)[None])[0]
    assert round(clipped.item(), 4) == -1.0439
    assert round(torch.exp(given[2] - clipped).item(), 2) == 0.55


# Discrete actions.


def test_probabilities_of_all_actions_sum_to_one():
    logits = drawn(5, 3)
    log_probs, _ = categorical_policy(*all_actions(logits))
    close(log_probs.exp().view(5, 3).sum(1), torch.ones(5).double())


def test_a_constant_on_the_logits_changes_nothing_and_a_factor_does():
    logits, actions = drawn(4, 3), torch.tensor([0, 2, 1, 0])
    for one, other in zip(
        categorical_policy(logits, actions), categorical_policy(logits + 300, actions), strict=True
    ):
        close(one, other)
    assert not torch.allclose(
        categorical_policy(logits, actions)[0], categorical_policy(2 * logits, actions)[0]
    )


def test_entropy_is_the_mean_of_minus_the_log_probability():
    logits = drawn(5, 4)
    log_probs, _ = categorical_policy(*all_actions(logits))
    _, entropies = categorical_policy(logits, torch.zeros(5).long())
    close(entropies, -(log_probs.exp() * log_probs).view(5, 4).sum(1))
    assert (entropies < math.log(4)).all()
    _, most = categorical_policy(torch.zeros(1, 4).double(), torch.tensor([2]))
    close(most, t(math.log(4)))


def test_categorical_gradients_are_those_of_torchs_distribution():
    logits, actions = drawn(6, 3).requires_grad_(), torch.tensor([0, 2, 1, 0, 2, 2])
    policy = Categorical(logits=logits)
    pairs = zip(
        categorical_policy(logits, actions),
        (policy.log_prob(actions), policy.entropy()),
        strict=True,
    )
    weights = drawn(6, seed=1)
    for ours, theirs in pairs:
        close(ours, theirs)
        slopes = [
            torch.autograd.grad(weights @ each, logits, retain_graph=True)[0]
            for each in (ours, theirs)
        ]
        close(*slopes)
        assert slopes[0].norm() > 0.1


def test_a_score_has_mean_zero_over_the_actions():
    logits = drawn(1, 4).requires_grad_()
    scores = []
    for action in range(4):
        log_probs, _ = categorical_policy(logits, torch.tensor([action]))
        scores.append(log_probs.exp().item() * torch.autograd.grad(log_probs, logits)[0])
    close(sum(scores), torch.zeros(1, 4).double())


def test_actions_come_as_often_as_the_policy_says():
    """On a fine grid of uniforms each action's share is its probability, to the grid's width."""
    logits, fine = drawn(3, 5), 20_000
    uniforms = (torch.arange(fine).double() + 0.5) / fine
    for row in logits:
        actions = sample_actions(row.repeat(fine, 1), uniforms)
        shares = torch.bincount(actions, minlength=5).double() / fine
        close(shares, row.softmax(0), rtol=0, atol=1 / fine)
        assert (actions.diff() >= 0).all()  # a larger u never leads back


def test_where_rounding_leaves_no_action_the_last_one_is_drawn():
    last_below_one = t(1 - 2.0**-53)
    for actions in (2, 6, 7, 10, 13, 14, 200):
        logits = torch.full((1, actions), -1.3).double()
        assert sample_actions(logits, last_below_one).item() == actions - 1
    sums = torch.full((1, 10), -1.3).double().softmax(1).cumsum(1)
    assert sums[0, -1] <= last_below_one  # without care, this would be an eleventh action


# Continuous actions.


def test_gaussian_policy_is_the_gaussian_with_a_diagonal_covariance():
    means, log_stds = drawn(5, 3).requires_grad_(), drawn(3, seed=1).requires_grad_()
    actions, weights = drawn(5, 3, seed=2), drawn(5, seed=3)
    policy = MultivariateNormal(means, torch.diag(torch.exp(2 * log_stds)))
    ours = gaussian_policy(means, log_stds, actions)
    for one, other in zip(ours, (policy.log_prob(actions), policy.entropy()), strict=True):
        assert one.shape == (5,)
        close(one, other)
        slopes = [
            torch.autograd.grad(
                weights @ each, [means, log_stds], retain_graph=True, allow_unused=True
            )
            for each in (one, other)
        ]
        close(slopes[0][1], slopes[1][1])
        if slopes[0][0] is not None:
            close(slopes[0][0], slopes[1][0])
    assert slopes[0][0] is None  # no mean in an entropy


def test_the_density_integrates_to_one_and_its_entropy_is_the_integral():
    means, log_stds = t(0.4, -0.3), t(0.2, -0.5)
    ruler = torch.linspace(-9, 9, 401, dtype=torch.float64)
    lines = [mean + std * ruler for mean, std in zip(means, log_stds.exp(), strict=True)]
    grid = torch.cartesian_prod(*lines)
    cell = math.prod((line[1] - line[0]).item() for line in lines)
    log_probs, entropies = gaussian_policy(means.expand(len(grid), -1), log_stds, grid)
    close(log_probs.exp().sum() * cell, t(1)[0], rtol=0, atol=1e-9)
    close(-(log_probs.exp() * log_probs).sum() * cell, entropies[0], rtol=0, atol=1e-7)


def test_what_is_drawn_has_the_density_that_is_reported():
    means, log_stds, noise = drawn(6, 2), drawn(2, seed=1), drawn(6, 2, seed=2)
    low, high = t(-0.3, -0.1), t(0.4, 0.2)
    actions, env_actions, log_probs = gaussian_actions(means, log_stds, noise, low, high)
    close(log_probs, gaussian_policy(means, log_stds, actions)[0])
    close((actions - means) / log_stds.exp(), noise)
    assert (env_actions != actions).any()
    for row, bounded in zip(actions.tolist(), env_actions.tolist(), strict=True):
        for a, b, lowest, highest in zip(row, bounded, low.tolist(), high.tolist(), strict=True):
            assert b == min(max(a, lowest), highest)


def test_what_is_drawn_hangs_on_no_graph():
    means, log_stds = drawn(4, 2).requires_grad_(), drawn(2, seed=1).requires_grad_()
    given = gaussian_actions(means, log_stds, drawn(4, 2, seed=2), t(-1, -1), t(1, 1))
    assert not any(each.requires_grad for each in given)


def test_the_score_of_the_clipped_action_has_a_mean_as_the_homework_says():
    """Mean at the upper bound, width 1: on average -0.40, and of the drawn action 0."""
    noise = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None]
    means = torch.full_like(noise, 2.0)
    actions, env_actions, log_probs = gaussian_actions(means, t(0), noise, t(-9), t(2))
    weights = log_probs.exp() * (noise[1] - noise[0])
    assert abs(weights @ (actions - means)[:, 0]) < 1e-9
    assert round((weights @ (env_actions - means)[:, 0]).item(), 2) == -0.40


# Errors

NAN = float("nan")
PAIR = torch.zeros(2, 3).double()
ONES = torch.ones(3).double()
WRONG_CALLS = {
    "logits": (lambda: categorical_policy(ONES, torch.tensor([1])), r"logits must be \(B, A\)"),
    "actions": (
        lambda: categorical_policy(PAIR, torch.tensor([[1], [0]])),
        r"actions must be \(B,\), got \(2, 1\): call .squeeze",
    ),
    "no whole numbers": (
        lambda: categorical_policy(PAIR, t(1, 0)),
        r"actions must hold whole numbers, got float64: call .long\(\)",
    ),
    "no bools": (
        lambda: categorical_policy(PAIR, torch.tensor([True, False])),
        "actions must hold whole numbers, got bool",
    ),
    "no such action": (
        lambda: categorical_policy(PAIR, torch.tensor([1, 3])),
        "actions must lie in 0 to 2, got 3",
    ),
    "action below 0": (
        lambda: categorical_policy(PAIR, torch.tensor([-1, 2])),
        "actions must lie in 0 to 2, got -1",
    ),
    "logits nan": (lambda: sample_actions(PAIR + NAN, t(0.5, 0.5)), "logits holds nan"),
    "uniforms": (lambda: sample_actions(PAIR, t(0.5)), "uniforms must be .* B = 2 as in logits"),
    "u is 1": (lambda: sample_actions(PAIR, t(0, 1)), r"uniforms must lie in \[0, 1\), got 1: "),
    "u below 0": (lambda: sample_actions(PAIR, t(0, -0.2)), r"uniforms must lie in .*got -0.2"),
    "log_stds": (
        lambda: gaussian_policy(PAIR, t(0, 0), PAIR),
        r"log_stds must be \(D,\) with D = 3 as in means, got \(2,\)",
    ),
    "log_stds in rows": (lambda: gaussian_policy(PAIR, PAIR, PAIR), r"log_stds must be \(D,\)"),
    "one dimension": (lambda: gaussian_policy(ONES, ONES, ONES), r"means must be \(B, D\)"),
    "noise": (
        lambda: gaussian_actions(PAIR, ONES, PAIR[:1], -ONES, ONES),
        r"noise must be \(B, D\) with B = 2",
    ),
    "low": (
        lambda: gaussian_actions(PAIR, ONES, PAIR, -1.0, ONES),
        r"low must be a tensor \(D,\), got float: call torch.as_tensor",
    ),
    "low above high": (
        lambda: gaussian_actions(PAIR, ONES, PAIR, t(-1, 2, 0), ONES),
        "low must not be above high, got 2 and 1",
    ),
}


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_wrong_calls_of_policies_say_what_came_and_what_was_wanted(call):
    function, words = WRONG_CALLS[call]
    with pytest.raises(ValueError, match=words):
        function()


def test_bounds_may_be_infinite():
    infinite = torch.full((3,), math.inf).double()
    actions, env_actions, _ = gaussian_actions(PAIR, ONES, drawn(2, 3), -infinite, infinite)
    close(actions, env_actions)
