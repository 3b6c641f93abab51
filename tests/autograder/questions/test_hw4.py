"""What wrong answers to homework 4 earn that nobody had listed, and what is said of them."""

import pytest
import torch

from autograder.questions.proof import proven_exam
from tests.autograder.questions.test_checks import CHECKS, exam_of, sit

BY_NAME = {check.name: check for check in CHECKS}


def tokens_by_flat_cross_entropy(logits, tokens, prompts, lengths):
    places = torch.arange(1, tokens.shape[1])
    mask = (places >= prompts[:, None]) & (places < lengths[:, None])
    rows, said = logits[:, :-1].reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1)
    losses = torch.nn.functional.cross_entropy(rows, said, reduction="none")
    return -losses * mask.reshape(-1), mask


def only_log_probs(logits, tokens, prompts, lengths):
    return torch.log_softmax(logits[:, :-1], dim=-1).gather(-1, tokens[:, 1:, None])[..., 0]


def forgot_keepdim(rewards):
    return (rewards - rewards.mean(1)) / (rewards.std(1) + 1e-6)


def groups_of_one_size(rewards, prompts):
    groups = rewards.view(-1, int((prompts == prompts[0]).sum()))
    others = (groups.sum(1, keepdim=True) - groups) / (groups.shape[1] - 1)
    return (groups - others).flatten()


def two_slips_with_counts(rewards, prompts):
    counts, sums = torch.bincount(prompts)[prompts], torch.bincount(prompts, rewards)[prompts]
    return rewards - (sums - rewards) / counts


def zeros_where_masked(new, old, advantages, mask, low, high):
    ratio = (new * mask - old * mask).exp()
    terms = torch.minimum(
        ratio * advantages[:, None], ratio.clamp(1 - low, 1 + high) * advantages[:, None]
    )
    return -(terms.sum(1) / mask.sum(1).clamp(min=1)).mean()


def minimum_of_losses(new, old, advantages, mask, low, high):
    ratio, loss = (new - old).exp(), -advantages[:, None]
    return torch.minimum(ratio * loss, ratio.clamp(1 - low, 1 + high) * loss)[mask].mean()


def quotient_of_products(new, old, advantages, mask, low, high):
    ratio = (new * mask).sum(1).exp() / (old * mask).sum(1).exp()
    return -torch.min(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages).mean()


def plain_k3(new, old, base, mask):
    return ((base - new).exp() - (base - new) - 1)[mask].mean()


def constants_throughout(new, old, base, mask):
    d = base - new
    return ((new - old).exp() * (d.exp() - d - 1))[mask].mean().item()


def in_the_graph(rewards, new, base, mask, beta):
    return rewards - beta * ((new - base) * mask).sum(1)


def into_the_rewards(rewards, new, base, mask, beta):
    rewards -= beta * ((new - base) * mask).sum(1).detach()
    return rewards


EARNS = {
    ("token_log_probs", tokens_by_flat_cross_entropy): (3, "in another shape"),
    ("token_log_probs", only_log_probs): (0, "`return log_probs, mask`"),
    ("group_advantages", forgot_keepdim): (2, "must match the size"),
    ("rloo_advantages", groups_of_one_size): (2, "is invalid for input of size"),
    ("rloo_advantages", two_slips_with_counts): (0, "Two mistakes at once"),
    ("clipped_token_loss", zeros_where_masked): (2, "averaged over its own tokens"),
    ("clipped_token_loss", minimum_of_losses): (3, "The larger of the two terms"),
    ("sequence_level_loss", quotient_of_products): (0, "The log ratios of a completion are added"),
    ("kl_k3", plain_k3): (2, "without the ratio to the policy that drew"),
    ("kl_k3", constants_throughout): (4, "no gradient reaches"),
    ("rewards_with_kl", in_the_graph): (3, "still hangs on the graph"),
    ("rewards_with_kl", into_the_rewards): (3, "changes one of its arguments"),
}


by_answer = pytest.mark.parametrize(
    ("name", "function"), EARNS, ids=lambda each: getattr(each, "__name__", each)
)


@by_answer
def test_half_of_an_answer_is_told_what_is_wrong(name, function):
    points, words = EARNS[name, function]
    verdict = sit(proven_exam(BY_NAME[name]), function)
    assert verdict.points == points
    assert words in verdict.sentence


@by_answer
def test_half_of_an_answer_earns_the_same_on_other_numbers(name, function):
    for seed in range(3):
        assert sit(exam_of(name, seed), function).points == EARNS[name, function][0]
