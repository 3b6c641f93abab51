"""Bad MDPs and policies are answered in words; trajectories and differences keep their word."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from course_lib.mdp import (
    TabularMDP,
    cliff_walk,
    combination_lock,
    finite_difference_gradient,
    random_layered_mdp,
    random_mdp,
    three_state_chain,
    trajectories,
)
from course_lib.policies import softmax_policy

CHAIN = three_state_chain()
UNIFORM = torch.full((3, 2), 0.5, dtype=torch.float64)


def with_entry(table, index, value):
    table = table.clone()
    table[index] = value
    return table


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gamma": 1.5}, r"gamma must be a number in \[0, 1\], got 1.5"),
        ({"gamma": -0.1}, "gamma must be a number"),
        ({"gamma": float("nan")}, "gamma must be a number"),
        ({"gamma": "0.9"}, "gamma must be a number"),
        ({"rewards": [[0.0]]}, "rewards must be a torch tensor, got list"),
        ({"rewards": CHAIN.rewards.float()}, r"float64, got torch.float32: call .double\(\)"),
        ({"rewards": CHAIN.rewards[0]}, r"rewards must be \(S, A\)"),
        ({"rewards": CHAIN.rewards[:2]}, r"transitions must be \(2, 2, 2\).*got \(3, 2, 3\)"),
        ({"rewards": with_entry(CHAIN.rewards, (0, 0), float("nan"))}, "rewards holds NaN"),
        ({"rewards": with_entry(CHAIN.rewards, (2, 0), 1.0)}, "terminal states .2. must lead to"),
        ({"transitions": CHAIN.transitions * 0.5}, "transitions must hold probabilities"),
        ({"transitions": CHAIN.transitions[:, :1]}, r"transitions must be \(3, 2, 3\)"),
        ({"start": torch.tensor([1.0, 1.0, -1.0]).double()}, "start must hold probabilities"),
        (
            {"start": torch.tensor([0.0, 0.0, 1.0]).double()},
            "start gives probability to a terminal",
        ),
        ({"start": CHAIN.start[:, None]}, r"start must be \(3,\)"),
        ({"terminal": CHAIN.terminal.long()}, "terminal must be bool"),
        ({"terminal": torch.tensor([False, True, True])}, "must lead to themselves"),
        ({"terminal": torch.zeros(3, dtype=torch.bool), "gamma": 1.0}, "no state is terminal"),
    ],
)
def test_a_bad_mdp_is_refused_with_what_came_and_what_was_wanted(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(CHAIN, **changes)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ([[0.5, 0.5]], "policy must be a .* tensor of probabilities, got list"),
        (UNIFORM[0], r"policy must be \(S, A\) = \(3, 2\), a row a state, got \(2,\)"),
        (UNIFORM.float(), "policy must be float64, got torch.float32"),
        (UNIFORM * 1.01, "rows sum to 1, got entries from 0.505"),
        (torch.tensor([[1.5, -0.5]] * 3).double(), "rows sum to 1"),
        (UNIFORM * float("nan"), "rows sum to 1"),
        (torch.zeros((3, 2)).double(), "for logits call softmax_policy"),
    ],
)
def test_a_table_that_is_no_policy_is_refused_everywhere(policy, words):
    for call in (CHAIN.values, CHAIN.visitation, CHAIN.expected_return, CHAIN.advantages):
        with pytest.raises(ValueError, match=words):
            call(policy)
    with pytest.raises(ValueError, match=words):
        trajectories(CHAIN, policy, 2)


@pytest.mark.parametrize(
    "theta",
    [
        torch.zeros(3),
        torch.zeros((3, 2), dtype=torch.long),
        torch.full((3, 2), float("nan")),
        [[0.0, 0.0]],
    ],
)
def test_logits_that_are_none_are_refused(theta):
    with pytest.raises(ValueError, match="theta"):
        softmax_policy(theta)


def test_an_mdp_is_frozen():
    with pytest.raises(FrozenInstanceError):
        CHAIN.gamma = 0.5


def test_trajectories_are_all_different_and_possible():
    paths = trajectories(CHAIN, UNIFORM, 4)
    rows = torch.cat([paths.states[:, :-1], paths.actions, paths.states[:, -1:]], dim=1)
    assert len(torch.unique(rows, dim=0)) == len(rows) == 16
    assert torch.equal(paths.probabilities, torch.full((16,), 1 / 16, dtype=torch.float64))
    assert torch.equal(paths.rewards, CHAIN.rewards[paths.states[:, :-1], paths.actions])


def test_impossible_trajectories_are_left_out():
    right = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    paths = trajectories(CHAIN, right, 3)
    assert paths.states.tolist() == [[0, 1, 2, 2]]
    assert paths.actions.tolist() == [[1, 1, 0]]


def test_too_many_trajectories_are_refused_before_they_are_made():
    with pytest.raises(ValueError, match="1024 trajectories after 10 of 60 steps, more than"):
        trajectories(CHAIN, UNIFORM, 60, limit=1000)
    with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
        trajectories(CHAIN, UNIFORM, 0)


def test_finite_differences_of_a_known_function():
    theta = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
    got = finite_difference_gradient(lambda t: (t**3).sum(), theta)
    torch.testing.assert_close(got, 3 * theta**2, rtol=1e-8, atol=1e-8)
    with pytest.raises(ValueError, match="theta must be float64"):
        finite_difference_gradient(lambda t: t.sum(), theta.float())


def test_examples_refuse_sizes_that_mean_nothing():
    generator = torch.Generator()
    with pytest.raises(ValueError, match="slip must be a probability"):
        cliff_walk(1.2)
    with pytest.raises(ValueError, match="length must be at least 1"):
        combination_lock(0)
    with pytest.raises(ValueError, match="states must be at least 1"):
        random_mdp(0, 2, 0.9, generator)
    with pytest.raises(ValueError, match="no state is terminal"):
        random_mdp(2, 2, 1.0, generator)
    with pytest.raises(ValueError, match="width must be at least 1"):
        random_layered_mdp(2, 0, 2, 0.9, generator)


def test_random_mdps_depend_on_the_generator_alone():
    first, second, other = (
        random_mdp(3, 2, 0.9, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert isinstance(first, TabularMDP)
    assert torch.equal(first.transitions, second.transitions)
    assert torch.equal(first.rewards, second.rewards)
    assert not torch.equal(first.rewards, other.rewards)


def test_exact_quantities_are_the_same_on_cuda(cuda):
    mdp = cliff_walk()
    theta = torch.randn((12, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    there = mdp.to("cuda").policy_gradient(theta.cuda())
    torch.testing.assert_close(there.cpu(), mdp.policy_gradient(theta), rtol=1e-10, atol=1e-12)
