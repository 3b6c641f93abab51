"""Homework answer: what a trained language model says next, from the numbers in its file."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib import validate
from course_lib.brackets import ANSWER, PROMPT, WORDS
from course_lib.language_model import LanguageModel


def bracket_model(weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Log-probabilities of the next word of each text, log pi(w | text so far).

    weights: the named tensors of your file brackets.npz, as `load_agent` gives them, left as they
    are. tokens: (N, T) whole numbers, N texts of T words so far, T from 3 to 7. Returns (N, V),
    V = len(WORDS), without a graph. [slide 60]
    Raises ValueError if tokens is not (N, T) or is empty.
    """
    validate.shapes("N T", tokens=tokens)
    model = LanguageModel(len(WORDS), PROMPT + ANSWER, generator=torch.Generator())
    model.load_state_dict(weights)
    logits = model(tokens)[:, -1]  # (N, V)
    log_probs = logits.log_softmax(dim=-1)
    return log_probs.detach()
