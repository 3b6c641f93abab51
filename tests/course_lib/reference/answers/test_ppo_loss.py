"""The loss of PPO against its three terms, finite differences and what must not change it."""

import math

import pytest
import torch

from course_lib.reference.answers.clipped_surrogate import clipped_surrogate
from course_lib.reference.answers.ppo_loss import ppo_loss

FLAT = ("log_probs", "old_log_probs", "advantages", "targets", "entropies")


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    made = {
        name: torch.randn(7, generator=generator, dtype=torch.float64) for name in (*FLAT, "values")
    }
    made["values"] = made["values"][:, None]
    made["advantages"] = 3 * made["advantages"] + 2
    return made


def smooth(log_probs, old_log_probs, advantages):
    return (advantages * torch.sin(log_probs - old_log_probs) + advantages**2 * log_probs).mean()


def loss_of(batch, objective=smooth, value_weight=0.7, entropy_weight=0.2):
    names = ("log_probs", "old_log_probs", "advantages", "values", "targets", "entropies")
    return ppo_loss(*(batch[name] for name in names), objective, value_weight, entropy_weight)


def with_graph(batch):
    return {name: x.clone().requires_grad_() for name, x in batch.items()}


def t(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def test_the_example_by_hand():
    seen = []

    def objective(log_probs, old_log_probs, advantages):
        seen.append(advantages)
        return t(0.3).sum()

    same = t(-1, -1)
    columns = t(1, 2)[:, None], t(2, 4)
    loss = ppo_loss(same, same, t(3, 1), *columns, t(0.6, 0.4), objective, 0.5, 0.1)
    torch.testing.assert_close(loss, t(0.9).squeeze())
    torch.testing.assert_close(seen[0], t(math.sqrt(0.5), -math.sqrt(0.5)))


def test_gradients_are_those_of_finite_differences(batch):
    learned = with_graph(batch)
    loss_of(learned).backward()
    for name in ("log_probs", "values", "entropies"):
        for place in range(7):
            up, down = batch[name].clone(), batch[name].clone()
            up[place] += 1e-6
            down[place] -= 1e-6
            slope = (loss_of({**batch, name: up}) - loss_of({**batch, name: down})) / 2e-6
            assert learned[name].grad[place].item() == pytest.approx(slope.item(), abs=1e-8)


def test_no_gradient_flows_into_what_was_fixed_with_the_batch(batch):
    learned = with_graph(batch)
    loss_of(learned).backward()
    for name in ("old_log_probs", "advantages", "targets"):
        assert learned[name].grad is None


def test_shift_and_scale_of_the_advantages_change_nothing(batch):
    moved = {**batch, "advantages": 10 * batch["advantages"] - 4}
    torch.testing.assert_close(loss_of(moved), loss_of(batch), rtol=1e-7, atol=0)
    assert loss_of({**batch, "advantages": -batch["advantages"]}) != loss_of(batch)


def test_the_objective_gets_advantages_of_mean_0_and_unbiased_variance_1(batch):
    def objective(log_probs, old_log_probs, advantages):
        assert abs(advantages.sum()) < 1e-12
        assert advantages.square().sum().item() == pytest.approx(6, rel=1e-7)
        assert not advantages.requires_grad
        return advantages.sum()

    loss_of(with_graph(batch), objective)


def test_the_order_of_the_steps_changes_nothing(batch):
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    torch.testing.assert_close(
        loss_of({name: x[order] for name, x in batch.items()}), loss_of(batch)
    )


def test_without_weights_it_is_minus_the_objective(batch):
    off = batch["advantages"] - batch["advantages"].mean()
    scores = off / (off.square().sum() / 6).sqrt()

    def clipped(log_probs, old_log_probs, advantages):
        return clipped_surrogate(log_probs, old_log_probs, advantages, 0.2)

    wanted = -clipped(batch["log_probs"], batch["old_log_probs"], scores)
    torch.testing.assert_close(loss_of(batch, clipped, 0.0, 0.0), wanted, rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": torch.ones(7)}, r"values must be \(M, 1\), got \(7,\)"),
        ({"values": torch.ones(7, 2)}, r"values must be \(M, 1\), got \(7, 2\)"),
        ({"targets": torch.ones(6)}, r"targets must be \(M,\) with M = 7"),
        ({"entropies": torch.ones(7, 1)}, r"entropies must be .* call .squeeze\(-1\)"),
        ({"advantages": torch.full((7,), float("nan"))}, "advantages holds nan"),
    ],
)
def test_what_is_off_is_said(batch, change, words):
    with pytest.raises(ValueError, match=words):
        loss_of({**batch, **change})


def test_one_step_has_no_spread(batch):
    with pytest.raises(ValueError, match="advantages must hold at least 2 numbers, got 1"):
        loss_of({name: x[:1] for name, x in batch.items()})
