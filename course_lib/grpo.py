"""GRPO: a language model learns from the rewards of groups of completions, without a critic.

The objective comes from outside, as `clipped_surrogate` of homework 2: it sees one number a token.
Axes: Q prompts, G completions of each, N = Q G texts, L tokens of a completion, B those that count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib import validate
from course_lib.language_model import LanguageModel, Words, complete, read_log_probs
from course_lib.optimiser import Adam
from course_lib.seeding import check_generator

Objective = Callable[[Tensor, Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class GRPOConfig:
    """Numbers of GRPO; the defaults teach a model of 5,000 parameters to close brackets."""

    questions: int = 16
    """Prompts in one update."""
    group: int = 16
    """Completions of each prompt."""
    length: int = 5
    """Tokens of a completion, at most; the end counts."""
    epochs: int = 1
    """Steps on one batch of completions; at the first one every ratio is 1."""
    epsilon: float = 0.2
    """Clip range of the ratio."""
    learning_rate: float = 4e-3
    """Adam's step size."""
    kl_weight: float = 0.0
    """Weight of the KL divergence from the model as it was at first."""
    max_grad_norm: float = 1.0
    """Length to which a longer gradient is cut."""
    updates: int = 120
    """Batches of completions."""

    def __post_init__(self) -> None:
        for name in ("questions", "length", "epochs", "updates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.group < 2:
            raise ValueError(
                f"group must be at least 2, got {self.group}: one completion has no others to be "
                "compared with"
            )
        validate.fractions(epsilon=self.epsilon)
        validate.positive(learning_rate=self.learning_rate, max_grad_norm=self.max_grad_norm)
        if not 0 <= self.kl_weight < float("inf"):
            raise ValueError(f"kl_weight must be finite and 0 or more, got {self.kl_weight}")


def relative_advantages(rewards: Tensor) -> Tensor:
    """A_i = (R_i - mean of the group) / spread of the group; 0 where all rewards are equal.

    rewards: (Q, G), a row for each prompt. The spread is the root of the mean squared deviation.
    Returns (Q, G). [Shao et al. 2024, DeepSeekMath, section 4.1.2]
    Raises ValueError if rewards is not (Q, G) or holds nan.
    """
    validate.shapes("Q G", rewards=rewards)
    centred = rewards - rewards.mean(1, keepdim=True)
    spread = centred.square().mean(1, keepdim=True).sqrt()
    return centred / torch.where(spread > 1e-12, spread, 1.0)


def kl_estimates(log_probs: Tensor, reference_log_probs: Tensor) -> Tensor:
    """ratio - 1 - log(ratio) with ratio = pi_reference / pi, of tokens drawn from pi.

    Its mean is KL(pi || pi_reference), and it is never negative. Any shape, the same for both.
    [Schulman 2020, Approximating KL divergence, estimator k3]
    """
    log_ratio = reference_log_probs - log_probs
    return log_ratio.expm1() - log_ratio


def grpo(
    model: LanguageModel,
    words: Words,
    prompts: Tensor,
    reward: Callable[[str], float],
    objective: Objective,
    config: GRPOConfig,
    *,
    generator: torch.Generator,
    advantages: Callable[[Tensor], Tensor] = relative_advantages,
) -> Iterator[dict[str, float]]:
    """Train the model, update by update; yields what was seen in each.

    prompts: (K, P) to draw from, on the model's and the generator's device.
    reward: of a whole text, once, at its end.
    objective: (log_probs (B,), old_log_probs (B,), advantages (B,), epsilon) -> scalar, to be made
    large; B are all tokens of the batch up to the ends, each with its completion's advantage.
    advantages: rewards (Q, G) -> (Q, G).
    Yields reward (mean over the batch), tokens (mean length of a completion) and kl (from the model
    as it was at first, mean over tokens, before the batch's last step).
    """
    device = prompts.device
    check_generator(generator, device)
    first = deepcopy(model).requires_grad_(False)
    optimiser = Adam([model], config.learning_rate)
    for _ in range(config.updates):
        size = (config.questions,)
        drawn = torch.randint(len(prompts), size, generator=generator, device=device)
        asked = prompts[drawn].repeat_interleave(config.group, 0)  # (N, P)
        texts = complete(model, asked, config.length, words.end, generator)
        paid = [reward(text) for text in words.decode(texts.tokens)]
        rewards = torch.tensor(paid, device=device)  # (N,)
        relative = advantages(rewards.view(-1, config.group)).view(-1, 1)  # (N, 1)
        valid = texts.valid  # (N, L)
        weights, old = relative.expand(valid.shape)[valid], texts.log_probs[valid]  # (B,)
        with torch.no_grad():
            reference = read_log_probs(first, texts.tokens, config.length)[valid]  # (B,)
        for _ in range(config.epochs):
            log_probs = read_log_probs(model, texts.tokens, config.length)[valid]  # (B,)
            kl = kl_estimates(log_probs, reference).mean()
            gain = objective(log_probs, old, weights, config.epsilon)
            optimiser.minimise(config.kl_weight * kl - gain, config.max_grad_norm)
        yield {
            "reward": rewards.mean().item(),
            "tokens": valid.sum(1).double().mean().item(),
            "kl": kl.item(),
        }
