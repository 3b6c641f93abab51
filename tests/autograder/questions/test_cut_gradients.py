"""ppo_epochs: its cases have the short and long gradients that its parts speak of."""

import numpy as np
import torch

from autograder.questions.check import observe_once
from autograder.questions.hw3.ppo_epochs import CHECK, NEVER, hidden_cases, public_cases
from autograder.student import wire


def lengths_of(case):
    """The lengths of the gradients on the way, as the right answer goes it."""
    seen = []

    def watched(loss_on, optimiser, orders, size, max_norm):
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        for rows in (rows for order in orders for rows in order.split(size)):
            optimiser.zero_grad()
            loss_on(rows).backward()
            seen.append(torch.nn.utils.clip_grad_norm_(parameters, max_norm).item())
            optimiser.step()
        return 0.0

    observe_once(CHECK, watched, [wire.decode(wire.encode(case))])
    return np.array(seen)


def everywhere():
    drawn = (hidden_cases(np.random.default_rng(seed)) for seed in range(10))
    return [case for cases in (public_cases(), *drawn) for case in cases]


def test_a_short_gradient_is_never_cut_and_a_long_one_is():
    for case in everywhere():
        lengths = lengths_of(case)
        if case["max_norm"] == NEVER:
            assert (lengths**2).max() < NEVER  # not even where the root is forgotten
        else:
            assert lengths.max() > 1.5 * case["max_norm"]
