"""Homework 4 against all texts of a tiny language: what its estimates are in the mean."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from course_lib.reference.answers.clipped_surrogate import clipped_surrogate
from course_lib.reference.answers.clipped_token_loss import clipped_token_loss
from course_lib.reference.answers.group_advantages import group_advantages
from course_lib.reference.answers.kl_k3 import kl_k3
from course_lib.reference.answers.rewards_with_kl import rewards_with_kl
from course_lib.reference.answers.rloo_advantages import rloo_advantages
from course_lib.reference.answers.sequence_level_loss import sequence_level_loss
from course_lib.reference.answers.token_log_probs import token_log_probs

WORDS, END, ROOM = 3, 2, 3  # a text: the prompt 0, then at most ROOM words, of which 2 is the last


@pytest.fixture(autouse=True)
def float64():
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(dtype)


def t(*numbers) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def close(left, right, atol=1e-10):
    torch.testing.assert_close(left, torch.as_tensor(right).to(left.dtype), rtol=0, atol=atol)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# The examples by hand that the homework prints.


def test_token_log_probs_by_hand():
    logits = torch.tensor([[[0.0, 0.5], [0.0, math.log(3)], [0.2, 0.2], [1.0, 0.0]]])
    tokens = torch.tensor([[0, 1, 0, 1]])
    found, mask = token_log_probs(logits, tokens, torch.tensor([2]), torch.tensor([4]))
    close(found, [[0.0, math.log(1 / 4), math.log(1 / 2)]])
    assert mask.tolist() == [[False, True, True]]


def test_group_advantages_by_hand():
    close(group_advantages(t(0, 0, 3, 3)[None]), [[-0.866, -0.866, 0.866, 0.866]], 5e-4)


def test_rloo_advantages_by_hand():
    close(rloo_advantages(t(1, 0, 4), torch.tensor([7, 7, 7])), [-1.0, -2.5, 3.5])


def test_both_losses_by_hand():
    kept = torch.ones(1, 2, dtype=torch.bool)
    old = torch.full((1, 2), -2.0)
    loss = clipped_token_loss(old + t(1.5, 0.7).log(), old, t(1), kept, 0.2, 0.3)
    close(loss, -1.0)
    ratios = torch.tensor([[1.8, 1.25], [0.5, 0.98]])
    two = kept.expand(2, 2)
    close(sequence_level_loss(ratios.log(), 0 * ratios, t(1, 1), two, 0.2, 0.3), -1.0)


def test_kl_k3_by_hand():
    log_probs, base = t(0.5, 0.2).log()[None], t(0.25, 0.4).log()[None]
    kept = torch.ones(1, 2, dtype=torch.bool)
    leaf = log_probs.clone().requires_grad_()
    value = kl_k3(leaf, log_probs, base, kept)
    close(value.detach(), 0.25)
    (gradient,) = torch.autograd.grad(value, leaf)
    close(gradient, [[0.347, -0.347]], 5e-4)
    assert round(kl_k3(log_probs, base, base, kept).item(), 2) == 0.27


def test_rewards_with_kl_by_hand():
    kept = torch.ones(1, 2, dtype=torch.bool)
    found = rewards_with_kl(t(1), t(0.6, 0.4).log()[None], t(0.3, 0.1).log()[None], kept, 0.1)
    assert round(found.item(), 3) == 0.792


# All texts of a tiny language, the model a table of logits by the word before.


def all_texts() -> tuple[Tensor, Tensor]:
    texts = {}
    for words in itertools.product(range(WORDS), repeat=ROOM):
        said = words[: words.index(END) + 1] if END in words else words
        texts[said] = [0, *said, *[END] * (ROOM - len(said))]
    return torch.tensor(list(texts.values())), torch.tensor([1 + len(said) for said in texts])


TEXTS, LENGTHS = all_texts()


def read(table: Tensor) -> tuple[Tensor, Tensor]:
    return token_log_probs(table[TEXTS], TEXTS, torch.ones_like(LENGTHS), LENGTHS)


def probability(table: Tensor, text: list[int], length: int) -> float:
    """Word by word, without logarithms."""
    chance = 1.0
    for before, word in itertools.pairwise(text[:length]):
        weights = [math.exp(z) for z in table[before].tolist()]
        chance *= weights[word] / sum(weights)
    return chance


def slope(quantity: Tensor, theta: Tensor) -> Tensor:
    return torch.autograd.grad(quantity, theta, retain_graph=True)[0]


def tables(count: int, seed: int = 3) -> list[Tensor]:
    return list(torch.randn(count, WORDS, WORDS, generator=generator(seed)))


def test_the_log_probs_of_a_text_add_up_to_that_of_the_text():
    (table,) = tables(1)
    log_probs, mask = read(table)
    chances = log_probs.sum(1).exp()
    pairs = zip(TEXTS.tolist(), LENGTHS.tolist(), strict=True)
    close(chances, [probability(table, *pair) for pair in pairs])
    close(chances.sum(), 1.0)
    assert torch.equal(mask.sum(1), LENGTHS - 1)


def test_prompt_and_padding_change_nothing():
    (table,) = tables(1)
    logits, prompts = table[TEXTS], torch.ones_like(LENGTHS)
    found, mask = token_log_probs(logits, TEXTS, prompts, LENGTHS)
    filled = torch.where(torch.arange(TEXTS.shape[1]) < LENGTHS[:, None], TEXTS, 1)
    again, _ = token_log_probs(logits, filled, prompts, LENGTHS)
    close(again, found)
    later, fewer = token_log_probs(logits, TEXTS, prompts + 1, LENGTHS)
    close(later, torch.cat([0 * found[:, :1], found[:, 1:]], 1))
    assert (fewer == mask & (torch.arange(ROOM) > 0)).all()


def over_groups(advantages, paid: Tensor, theta: Tensor, size: int) -> Tensor:
    """Mean over all groups of texts of the estimate, group by group."""
    whole = read(theta)[0].sum(1)
    chances = whole.detach().exp()
    total = torch.zeros(())
    for group in itertools.product(range(len(TEXTS)), repeat=size):
        rows = list(group)
        total = total + chances[rows].prod() * (advantages(paid[rows]) @ whole[rows]) / size
    return slope(total, theta)


@pytest.mark.parametrize("size", [2, 3])
def test_leave_one_out_has_the_mean_of_the_policy_gradient(size: int):
    theta = tables(1)[0].requires_grad_()
    paid = torch.randn(len(TEXTS), generator=generator(1))
    exact = slope(read(theta)[0].sum(1).exp() @ paid, theta)

    def others(rewards: Tensor) -> Tensor:
        return rloo_advantages(rewards, torch.zeros(size))

    def group(rewards: Tensor) -> Tensor:
        return rewards - rewards.mean()

    close(over_groups(others, paid, theta, size), exact)
    assert not torch.allclose(over_groups(group, paid, theta, size), exact, atol=1e-3)


def test_dividing_by_the_spread_keeps_the_direction_for_rewards_of_0_and_1():
    theta = tables(1)[0].requires_grad_()
    paid = ((TEXTS == 1).sum(1) == 1).double()
    p = read(theta)[0].sum(1).exp() @ paid
    found = over_groups(lambda r: group_advantages(r[None])[0], paid, theta, 3)
    # k right of 3: spread sqrt(k (3 - k) / 6), 1 / sqrt(3) for both 1 and 2.
    mixed = 3 * (p * (1 - p) ** 2 + p**2 * (1 - p)).item()
    factor = mixed * (2 / 3) * math.sqrt(1 / 3) / (p * (1 - p)).item()
    close(found, factor * slope(p, theta), 1e-5)  # 1e-6 stands beside the spread


def test_leave_one_out_does_not_mind_order_or_names_of_prompts():
    rewards, prompts = torch.randn(9, generator=generator()), t(3, 8, 3, 1, 8, 3, 3, 1, 5)
    found = rloo_advantages(rewards, prompts)
    for i in range(9):
        others = [rewards[j] for j in range(9) if j != i and prompts[j] == prompts[i]]
        close(found[i], rewards[i] - sum(others) / len(others) if others else 0.0)
    order = torch.randperm(9, generator=generator(2))
    close(rloo_advantages(rewards[order], 10 - prompts[order]), found[order])
    close(rloo_advantages(rewards + 5, prompts), found)


@pytest.mark.parametrize("rewards", [[0.1, 0.1, 0.1], [-7.0, -7.0], [1e6, 1e6, 1e6]])
def test_a_group_of_equals_teaches_nothing(rewards):
    close(group_advantages(t(*rewards)[None]), [[0.0] * len(rewards)], 1e-8)


def test_groups_have_mean_0_and_spread_1():
    found = group_advantages(torch.randn(5, 7, generator=generator()))
    close(found.mean(1), torch.zeros(5))
    close(found.std(1), torch.ones(5), 1e-4)


# Losses.


def ragged(seed: int, steps: int = 5, batch: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dice = generator(seed)
    new, old = 0.5 * torch.randn(2, batch, steps, generator=dice) - 2
    lengths = torch.randint(1, steps + 1, (batch, 1), generator=dice)
    return new, old, torch.randn(batch, generator=dice), torch.arange(steps) < lengths


@pytest.mark.parametrize("seed", range(5))
def test_the_token_loss_is_the_clipped_surrogate_of_the_kept_tokens(seed: int):
    new, old, advantages, mask = ragged(seed)
    weights = advantages[:, None].expand_as(new)
    wanted = -clipped_surrogate(new[mask], old[mask], weights[mask], 0.2)
    close(clipped_token_loss(new, old, advantages, mask, 0.2, 0.2), wanted)


@pytest.mark.parametrize("seed", range(5))
def test_the_sequence_loss_is_the_clipped_surrogate_of_mean_log_probs(seed: int):
    new, old, advantages, mask = ragged(seed)
    means = [torch.stack([x[m].mean() for x, m in zip(y, mask, strict=True)]) for y in (new, old)]
    wanted = -clipped_surrogate(*means, advantages, 0.2)
    close(sequence_level_loss(new, old, advantages, mask, 0.2, 0.2), wanted)


@pytest.mark.parametrize("loss", [clipped_token_loss, sequence_level_loss])
@pytest.mark.parametrize("seed", range(3))
def test_slopes_are_finite_differences_and_end_at_the_mask(loss, seed: int):
    new, old, advantages, mask = ragged(seed)
    leaf = new.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(leaf, old, advantages, mask, 0.15, 0.3), leaf)
    assert not found[~mask].any()
    for place in itertools.product(*map(range, new.shape)):
        step = torch.zeros_like(new)
        step[place] = 1e-6
        ahead, behind = (
            loss(x, old, advantages, mask, 0.15, 0.3) for x in (new + step, new - step)
        )
        close(found[place], (ahead - behind) / 2e-6, 1e-7)


def test_the_first_step_of_the_token_loss_is_the_policy_gradient():
    theta = tables(1)[0].requires_grad_()
    log_probs, mask = read(theta)
    advantages = torch.randn(len(TEXTS), generator=generator(1))
    loss = clipped_token_loss(log_probs, log_probs.detach(), advantages, mask, 0.2, 0.3)
    wanted = -(advantages @ log_probs.sum(1)) / mask.sum()
    close(slope(loss, theta), slope(wanted, theta))


# The KL.


def kl_by_place(theta: Tensor, base: Tensor) -> Tensor:
    """KL(pi || pi_base) of the next word at each place of each text, summed over the words."""
    pi, log_pi, log_base = theta.softmax(1), theta.log_softmax(1), base.log_softmax(1)
    return (pi * (log_pi - log_base)).sum(1)[TEXTS[:, :-1]]


def test_the_ratio_gives_k3_value_and_slope_of_the_kl_whoever_drew_the_texts():
    theta, old_table, base_table = tables(3)
    theta.requires_grad_()
    (log_probs, mask), (old, _), (base, _) = map(read, (theta, old_table, base_table))
    drawn = old.sum(1).exp()
    rows = range(len(TEXTS))
    # kl_k3 is a mean over a text's tokens: times their number it is the sum, which has the mean.
    each = [kl_k3(log_probs[[n]], old[[n]], base[[n]], mask[[n]]) * mask[n].sum() for n in rows]
    found = drawn @ torch.stack(each)
    exact = drawn @ (kl_by_place(theta, base_table) * mask).sum(1)
    close(found.detach(), exact.detach())
    close(slope(found, theta), slope(exact, theta))


def test_without_the_ratio_the_slope_is_that_of_the_other_divergence():
    theta, _, base_table = tables(3)
    theta.requires_grad_()
    (log_probs, mask), (base, _) = map(read, (theta, base_table))
    chances = log_probs.sum(1).exp().detach()
    d = base - log_probs
    plain = chances @ (mask * (d.exp() - d - 1)).sum(1)
    this = chances @ (kl_by_place(theta, base_table) * mask).sum(1)
    p, log_p, log_theta = base_table.softmax(1), base_table.log_softmax(1), theta.log_softmax(1)
    other = chances @ ((p * (log_p - log_theta)).sum(1)[TEXTS[:, :-1]] * mask).sum(1)
    close(plain.detach(), this.detach())
    close(slope(plain, theta), slope(other, theta))
    assert not torch.allclose(slope(plain, theta), slope(this, theta), atol=1e-2)


def test_kl_k3_is_never_negative_and_0_where_models_agree():
    new, old, _, mask = ragged(1)
    assert kl_k3(new, old, old, mask) > 0
    close(kl_k3(new, old, new, mask), 0.0)


def test_the_kl_in_the_reward_has_the_slope_of_the_kl_of_whole_texts():
    theta, _, base_table = tables(3)
    theta.requires_grad_()
    (log_probs, mask), (base, _) = map(read, (theta, base_table))
    whole, paid = log_probs.sum(1), torch.randn(len(TEXTS), generator=generator(1))
    chances = whole.exp()
    rewards = rewards_with_kl(paid, log_probs, base, mask, 0.3)
    assert not rewards.requires_grad
    distance = chances @ (whole - base.sum(1))
    close(chances.detach() @ rewards, (chances @ paid - 0.3 * distance).detach())
    close(
        slope((chances.detach() * rewards) @ whole, theta),
        slope(chances @ paid - 0.3 * distance, theta),
    )
    # In the loss, and only differentiated, the same quantity holds nothing back.
    in_loss = chances.detach() @ (whole - base.sum(1))
    close(slope(in_loss, theta), torch.zeros(WORDS, WORDS))


# Errors.

ROW, KEPT = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
NOTHING = torch.zeros(2, 3, dtype=torch.bool)
ONE = torch.tensor([[True, False, False], [False, False, False]])
WRONG_CALLS = {
    "tokens": (
        lambda: token_log_probs(torch.zeros(2, 3, 4), torch.zeros(2, 4), t(1, 1), t(2, 2)),
        r"tokens must be \(B, T\) with T = 3",
    ),
    "one completion": (lambda: group_advantages(torch.zeros(3, 1)), "other_completions must be"),
    "flat": (lambda: group_advantages(t(1, 2)), r"rewards must be \(G, K\), got \(2,\)"),
    "prompts": (lambda: rloo_advantages(t(1, 2), t(1)), r"prompts must be \(N,\) with N = 2"),
    "no token": (
        lambda: clipped_token_loss(ROW, ROW, t(1, 1), NOTHING, 0.2, 0.2),
        "kept_tokens must be a finite number above 0",
    ),
    "an advantage a token": (
        lambda: clipped_token_loss(ROW, ROW, ROW, KEPT, 0.2, 0.2),
        r"advantages must be \(B,\), got \(2, 3\)",
    ),
    "an empty row": (
        lambda: sequence_level_loss(ROW, ROW, t(1, 1), ONE, 0.2, 0.2),
        "kept_tokens_of_a_row must be",
    ),
    "epsilon": (
        lambda: sequence_level_loss(ROW, ROW, t(1, 1), KEPT, 0.2, 1.2),
        r"epsilon_high must lie in \[0, 1\]",
    ),
    "base": (lambda: kl_k3(ROW, ROW, ROW[:1], KEPT), r"base_log_probs must be \(B, T\)"),
    "beta": (lambda: rewards_with_kl(t(1, 1), ROW, ROW, KEPT, -1.0), r"beta must lie in \[0, 1\]"),
}


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_wrong_calls_say_what_came_and_what_was_wanted(call):
    function, words = WRONG_CALLS[call]
    with pytest.raises(ValueError, match=words):
        function()
