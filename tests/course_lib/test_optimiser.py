"""Adam on one flat vector is torch's Adam on a list of tensors."""

import math

import pytest
import torch
from torch import nn

from course_lib.optimiser import Adam
from course_lib.policies import CategoricalPolicy, ValueNetwork
from course_lib.seeding import new_generator


def modules(seed=0):
    generator = new_generator(seed)
    return [
        CategoricalPolicy(3, 2, (5, 4), generator=generator).double(),
        ValueNetwork(3, (6,), generator=generator).double(),
    ]


def loss_of(pair, seed):
    policy, critic = pair
    at = torch.randn((20, 3), generator=new_generator(seed), dtype=torch.float64)
    actions = torch.arange(20) % 2
    return policy.log_prob(at, actions).mean() + ((critic(at) - at.sum(-1)) ** 2).mean()


@pytest.mark.parametrize("max_norm", [math.inf, 0.1, 3.0])
def test_every_step_is_torchs(max_norm):
    ours, theirs = modules(), modules()
    flat = Adam(ours, 0.01)
    parameters = [p for module in theirs for p in module.parameters()]
    reference = torch.optim.Adam(parameters, lr=0.01)
    for step in range(30):
        norm = flat.minimise(loss_of(ours, step), max_norm)
        reference.zero_grad()
        loss_of(theirs, step).backward()
        wanted = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        reference.step()
        # torch divides by the length + 1e-6 where it cuts.
        assert norm == pytest.approx(wanted.item(), rel=1e-4)
        for mine, other in zip([p for m in ours for p in m.parameters()], parameters, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)
    assert (flat.theta - Adam(modules(), 0.01).theta).abs().max() > 0.05


def test_terms_of_a_loss_make_one_step_down_their_sum():
    ours, theirs = modules(), modules()
    at_once, in_turn = Adam(ours, 0.01), Adam(theirs, 0.01)
    norm = at_once.minimise(loss_of(ours, 0) + 2 * loss_of(ours, 1))
    terms = (weight * loss_of(theirs, step) for weight, step in ((1, 0), (2, 1)))
    assert in_turn.minimise(terms) == pytest.approx(norm, rel=1e-6)
    torch.testing.assert_close(at_once.theta, in_turn.theta)
    assert in_turn.steps == 1


def test_a_loss_that_is_not_a_number_changes_nothing_and_says_so():
    pair = modules()
    optimiser = Adam(pair, 0.01)
    optimiser.minimise(loss_of(pair, 0))
    before = [part.clone() for part in (optimiser.theta, optimiser.m, optimiser.v)]
    with pytest.raises(FloatingPointError, match="loss is nan and its gradient has length nan"):
        optimiser.minimise(loss_of(pair, 1) * float("nan"))
    after = (optimiser.theta, optimiser.m, optimiser.v)
    assert all(torch.equal(*columns) for columns in zip(before, after, strict=True))
    assert optimiser.steps == 1


@pytest.mark.parametrize("moved", [(0, 1), (0,), (1,)])
def test_modules_that_were_cast_are_refused_be_it_one_of_them(moved):
    pair = modules()
    optimiser = Adam(pair, 0.01)
    for which in moved:
        pair[which].float()
    policy_at, critic_at = (torch.ones(4, 3, dtype=next(m.parameters()).dtype) for m in pair)
    loss = pair[0].entropy(policy_at).mean() + pair[1](critic_at).mean()
    with pytest.raises(ValueError, match="no longer those the optimiser was made for"):
        optimiser.minimise(loss)


def test_modules_that_differ_or_hold_nothing_are_refused():
    with pytest.raises(ValueError, match="of one type on one device"):
        Adam([modules()[0], ValueNetwork(3, generator=new_generator(0))], 0.01)
    with pytest.raises(ValueError, match="of one type on one device, got \\[\\]"):
        Adam([nn.Identity()], 0.01)
    with pytest.raises(ValueError, match="learning_rate must be"):
        Adam(modules(), 0.0)
