"""Homework answer: log-probabilities of the tokens that a model wrote, and which they are."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate


def token_log_probs(
    logits: Tensor, tokens: Tensor, prompt_lengths: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """log pi(token | tokens before) of each token of the completions, from a model's logits.

    Row t of logits says what follows token t, so token t + 1 stands at place t of the answer:
    log_probs[b, t] = log softmax(logits[b, t])[tokens[b, t + 1]] where mask[b, t], else 0;
    mask[b, t] = (prompt_lengths[b] <= t + 1 < lengths[b]).
    logits: (B, T, V) with a graph. tokens: (B, T) whole numbers below V. prompt_lengths: (B,), the
    tokens of each prompt, at least 1. lengths: (B,), the tokens of prompt and completion together;
    what follows is padding, with any tokens.
    Returns (log_probs (B, T - 1) with a graph, mask (B, T - 1) bool).
    [slide 70; Shao et al. 2024, DeepSeekMath, section 4.1.1]
    Raises ValueError if a shape is off, or a tensor is empty or holds nan.
    """
    validate.shapes(
        "B T V, B T, B, B",
        logits=logits,
        tokens=tokens,
        prompt_lengths=prompt_lengths,
        lengths=lengths,
    )
    places = torch.arange(1, tokens.shape[1])  # (T - 1,), of the tokens that are scored
    rows = logits[:, :-1]  # (B, T - 1, V)
    said = tokens[:, 1:]  # (B, T - 1)
    after_prompt = places >= prompt_lengths[:, None]  # (B, T - 1)
    before_padding = places < lengths[:, None]  # (B, T - 1)
    mask = after_prompt & before_padding
    scores = torch.log_softmax(rows, dim=-1)  # (B, T - 1, V)
    log_probs = scores.gather(-1, said[..., None]).squeeze(-1)  # (B, T - 1)
    kept = torch.where(mask, log_probs, 0.0)
    return kept, mask
