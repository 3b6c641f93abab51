"""GRPO against enumeration, and the loop against steps taken one by one."""

import copy
import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from course_lib.grpo import GRPOConfig, grpo, kl_estimates, relative_advantages
from course_lib.language_model import LanguageModel, Words, complete, read_log_probs
from course_lib.optimiser import Adam
from course_lib.reference.answers.clipped_surrogate import clipped_surrogate

WORDS = Words("ab.")
SMALL = GRPOConfig(questions=2, group=4, length=3, learning_rate=1e-2, updates=3)


@pytest.fixture(autouse=True)
def float64():
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(dtype)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model() -> LanguageModel:
    return LanguageModel(3, 4, 8, 2, 1, generator=generator())


def pay(text: str) -> float:
    return float(text.count("a") == 2)


def plain(log_probs: Tensor, old: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
    return (log_probs * advantages).mean()


def weights(model: LanguageModel) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def run(objective, config=SMALL, **changed):
    mine = model()
    prompts = torch.tensor([[0], [1]])
    seen = list(
        grpo(mine, WORDS, prompts, pay, objective, config, generator=generator(1), **changed)
    )
    return weights(mine), seen


def test_advantages_have_mean_zero_and_spread_one_in_each_group():
    rewards = torch.rand(5, 7, generator=generator())
    found = relative_advantages(rewards)
    torch.testing.assert_close(found.mean(1), torch.zeros(5), rtol=0, atol=1e-14)
    torch.testing.assert_close(found.square().mean(1), torch.ones(5))
    one = relative_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
    torch.testing.assert_close(one, torch.tensor([[3.0, -1.0, -1.0, -1.0]]) / math.sqrt(3))


def test_a_group_of_equals_teaches_nothing():
    assert relative_advantages(torch.full((2, 3), 0.1)).abs().max() < 1e-15


@pytest.mark.parametrize("rewards", [torch.ones(4), torch.tensor([[1.0, math.nan]])])
def test_rewards_of_another_shape_and_nan_are_refused(rewards: Tensor):
    with pytest.raises(ValueError, match="rewards"):
        relative_advantages(rewards)


def test_kl_estimates_average_to_the_divergence_and_are_never_negative():
    log_p, log_r = torch.randn(2, 50, 6, generator=generator()).log_softmax(-1)
    found = kl_estimates(log_p, log_r)
    assert (found >= 0).all()
    wanted = torch.nn.functional.kl_div(log_r, log_p, reduction="none", log_target=True).sum(-1)
    torch.testing.assert_close((log_p.exp() * found).sum(-1), wanted)
    assert not torch.allclose((log_p.exp() * kl_estimates(log_r, log_p)).sum(-1), wanted)


def test_kl_estimates_near_the_reference_lose_no_digits():
    step = torch.tensor(1e-9)
    assert math.isclose(kl_estimates(torch.zeros(()), step), 0.5e-18, rel_tol=0.3)


def test_one_epoch_clipped_is_the_plain_policy_gradient():
    torch.testing.assert_close(run(clipped_surrogate)[0], run(plain)[0], rtol=0, atol=1e-9)
    twice = replace(SMALL, epochs=2)
    assert not torch.allclose(run(clipped_surrogate, twice)[0], run(plain, twice)[0], atol=1e-4)


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_loop_is_the_algorithm_written_out(epochs: int):
    mine, first, draws = model(), model(), generator(1)
    optimiser = Adam([mine], SMALL.learning_rate)
    rewards = []
    for _ in range(SMALL.updates):
        prompts = torch.tensor([[0], [1]])[torch.randint(2, (2,), generator=draws)]
        texts = complete(mine, prompts.repeat_interleave(4, 0), 3, WORDS.end, draws)
        paid = torch.tensor([pay(text) for text in WORDS.decode(texts.tokens)])
        rewards.append(paid.mean().item())
        for _ in range(epochs):
            now, start = (read_log_probs(m, texts.tokens, 3) for m in (mine, first))
            total, count = torch.zeros(()), 0
            for i, t in itertools.product(range(8), range(3)):
                if not texts.valid[i, t]:
                    continue
                group = paid[i // 4 * 4 : i // 4 * 4 + 4]
                spread = group.std(correction=0)
                gain = (paid[i] - group.mean()) / (spread if spread > 0 else 1)
                ratio = (now[i, t] - texts.log_probs[i, t]).exp()
                back = (start[i, t] - now[i, t]).detach().exp()
                # The slope of the penalty: 1 - pi_reference / pi, times the score.
                total = total + torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain)
                total = total - 0.3 * (1 - back) * now[i, t]
                count += 1
            optimiser.minimise(-total / count, 1.0)
    found, seen = run(clipped_surrogate, replace(SMALL, epochs=epochs, kl_weight=0.3))
    torch.testing.assert_close(found, weights(mine), rtol=0, atol=1e-9)
    assert [update["reward"] for update in seen] == rewards


def test_the_expected_update_is_the_gradient_shortened_by_the_group():
    """All groups of two completions of one prompt, by enumeration."""
    mine = model()
    texts = torch.tensor([[0, *text] for text in itertools.product(range(3), repeat=2)])
    keep = (texts[:, 1] != WORDS.end) | (texts[:, 2] == WORDS.end)  # one row for each text
    texts = texts[keep]
    ended = texts[:, 1] == WORDS.end
    log_probs = read_log_probs(mine, texts, 2)
    valid = torch.stack([torch.ones_like(ended), ~ended], 1)
    whole = (log_probs * valid).sum(1)
    p, paid = whole.exp(), torch.tensor([pay(text) for text in WORDS.decode(texts)])
    assert math.isclose(p.sum().item(), 1)
    assert 0.01 < p @ paid < 0.99

    def gradient(scalar: Tensor) -> Tensor:
        parts = torch.autograd.grad(scalar, list(mine.parameters()), retain_graph=True)
        return torch.cat([part.flatten() for part in parts])

    total = torch.zeros(())
    for i, j in itertools.product(range(len(texts)), repeat=2):
        pair = paid[[i, j]]
        centred = pair - pair.mean()
        chance = (p[i] * p[j]).detach()
        total = total + chance * (centred * whole[[i, j]]).mean()
    torch.testing.assert_close(gradient(total), gradient(p @ paid) / 2)


def test_a_token_after_the_end_changes_nothing():
    mine = model()
    seen: list[int] = []

    def counts(log_probs: Tensor, old: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
        seen.append(len(log_probs))
        torch.testing.assert_close(log_probs.detach(), old, rtol=0, atol=1e-12)
        assert abs(advantages.abs().sum()) > 0 or (advantages == 0).all()
        return plain(log_probs, old, advantages, epsilon)

    asked = copy.deepcopy(mine)
    list(
        grpo(
            mine,
            WORDS,
            torch.tensor([[0]]),
            pay,
            counts,
            replace(SMALL, updates=1),
            generator=generator(2),
        )
    )
    draws = generator(2)
    torch.randint(1, (2,), generator=draws)
    texts = complete(asked, torch.zeros(8, 1, dtype=torch.long), 3, WORDS.end, draws)
    assert seen == [int(texts.valid.sum())]
    assert seen[0] < texts.valid.numel()


def test_a_penalty_keeps_the_model_near():
    config = GRPOConfig(questions=2, group=8, length=3, learning_rate=3e-2, updates=30)
    _, free = run(plain, config)
    _, held = run(plain, replace(config, kl_weight=1.0))
    assert held[-1]["kl"] < 0.5 * free[-1]["kl"]
    assert free[-1]["reward"] > held[-1]["reward"]


def test_what_an_update_reports():
    _, seen = run(plain)
    assert set(seen[0]) == {"reward", "tokens", "kl"}
    assert seen[0]["kl"] == 0
    assert 1 <= seen[0]["tokens"] <= 3
    assert seen[-1]["kl"] > 0


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ({"group": 1}, "no others"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epsilon": 1.5}, "epsilon"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"kl_weight": -1.0}, "kl_weight"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(number, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **number)
