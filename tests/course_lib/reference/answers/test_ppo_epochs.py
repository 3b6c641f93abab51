"""Epochs of minibatch steps against a recursion by hand and the course's own Adam."""

import itertools
import math

import pytest
import torch
from torch import nn

from course_lib.optimiser import Adam
from course_lib.reference.answers.ppo_epochs import ppo_epochs

ORDERS = torch.tensor([[3, 0, 4, 1, 2], [2, 4, 1, 0, 3]])
GOALS = torch.tensor([1.0, 3.0, -2.0, 0.5, 4.0], dtype=torch.float64)


def point(*numbers):
    return torch.tensor(numbers, dtype=torch.float64, requires_grad=True)


def distance_of(x):
    return lambda rows: (x - GOALS[rows]).square().mean()


def test_the_example_by_hand():
    x = point(0.0)
    optimiser = torch.optim.SGD([x], lr=0.5)
    goals = torch.tensor([1.0, 3.0], dtype=torch.float64)
    orders = torch.tensor([[0, 1]])
    mean = ppo_epochs(lambda rows: (x - goals[rows]).square().mean(), optimiser, orders, 1, 1.0)
    assert (x.item(), mean) == (1.0, 3.625)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("max_norm", [0.5, 3.0, 1e6])
def test_plain_steps_follow_the_recursion(size, max_norm):
    x, rate = point(0.2), 0.1
    mean = ppo_epochs(distance_of(x), torch.optim.SGD([x], lr=rate), ORDERS, size, max_norm)
    here, losses = 0.2, []
    for order in ORDERS.tolist():
        for start in range(0, 5, size):
            goals = [GOALS[row].item() for row in order[start : start + size]]
            losses.append(sum((here - goal) ** 2 for goal in goals) / len(goals))
            slope = 2 * sum(here - goal for goal in goals) / len(goals)
            here -= rate * math.copysign(min(abs(slope), max_norm), slope)
    assert x.item() == pytest.approx(here, abs=1e-12)
    assert mean == pytest.approx(sum(losses) / len(losses), abs=1e-12)
    assert isinstance(mean, float)


def network():
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    inputs = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    return net, lambda rows: (net(inputs[rows]).squeeze(-1) - GOALS[rows]).square().mean()


@pytest.mark.parametrize("max_norm", [0.3, 4.0, 1e6])
@pytest.mark.parametrize("groups", [1, 2])
def test_with_adam_it_is_the_courses_own_adam(max_norm, groups):
    net, loss_on = network()
    parts = [net] if groups == 1 else [net[0], net[2]]
    optimiser = torch.optim.Adam([{"params": part.parameters()} for part in parts], lr=0.03)
    ppo_epochs(loss_on, optimiser, ORDERS, 2, max_norm)
    other, other_loss = network()
    adam = Adam([other], 0.03)
    for order in ORDERS:
        for rows in (order[:2], order[2:4], order[4:]):
            adam.minimise(other_loss(rows), max_norm)
    for mine, its in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-10, atol=1e-12)


def test_no_step_is_longer_than_the_rate_times_max_norm():
    net, loss_on = network()
    places = []

    def watched(rows):
        places.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
        return loss_on(rows)

    ppo_epochs(watched, torch.optim.SGD(net.parameters(), lr=0.1), ORDERS, 2, 0.8)
    watched(ORDERS[0])
    lengths = torch.stack([(b - a).norm() for a, b in itertools.pairwise(places)])
    assert (lengths <= 0.08 + 1e-12).all()
    assert (lengths > 0.08 - 1e-12).sum() >= 4  # most gradients here are longer


def test_what_was_left_in_grad_has_no_effect():
    ends = []
    for left in (None, 100.0):
        net, loss_on = network()
        for parameter in net.parameters():
            parameter.grad = None if left is None else torch.full_like(parameter, left)
        ppo_epochs(loss_on, torch.optim.SGD(net.parameters(), lr=0.1), ORDERS, 2, 1.0)
        ends.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert torch.equal(*ends)


def test_a_gradient_of_zero_is_no_division_by_zero():
    x = point(1.0, 2.0)
    mean = ppo_epochs(lambda rows: (0 * x).sum(), torch.optim.SGD([x], lr=1.0), ORDERS, 5, 1.0)
    assert mean == 0
    assert x.tolist() == [1.0, 2.0]


def test_every_row_is_asked_for_once_an_epoch_in_its_order():
    x, asked = point(0.0), []

    def watched(rows):
        asked.append(rows.tolist())
        return distance_of(x)(rows)

    ppo_epochs(watched, torch.optim.SGD([x], lr=0.1), ORDERS, 2, 1.0)
    assert asked == [[3, 0], [4, 1], [2], [2, 4], [1, 0], [3]]


@pytest.mark.parametrize(
    ("orders", "size", "max_norm", "words"),
    [
        (ORDERS[0], 2, 1.0, r"orders must be \(E, M\), got \(5,\)"),
        (ORDERS[:, :0], 2, 1.0, "orders is empty"),
        (ORDERS, 0, 1.0, "size must be a finite number above 0"),
        (ORDERS, 2, -1.0, "max_norm must be a finite number above 0"),
    ],
)
def test_what_is_off_is_said(orders, size, max_norm, words):
    x = point(0.0)
    with pytest.raises(ValueError, match=words):
        ppo_epochs(distance_of(x), torch.optim.SGD([x], lr=0.1), orders, size, max_norm)
