"""Homework answer: how much better a new policy is than an old one, exactly."""

from __future__ import annotations

from torch import Tensor

from course_lib import validate


def performance_difference(visitation: Tensor, policy: Tensor, advantages: Tensor) -> Tensor:
    """J(new) - J(old) = sum_s rho_new(s) sum_a pi_new(a | s) A_old(s, a), without sampling.

    visitation: (S,), rho_new(s) = sum_t gamma^t P(s_t = s) under the NEW policy; it is not
    normalised, so it sums to 1 / (1 - gamma) where nothing ends.
    policy: (S, A), probabilities of the NEW policy. advantages: (S, A), of the OLD policy.
    Returns a scalar. [slide 43, note Lemma 1]
    Raises ValueError if a shape is off, or a tensor is empty or holds nan.
    """
    validate.shapes("S, S A, S A", visitation=visitation, policy=policy, advantages=advantages)
    weighed = policy * advantages  # (S, A)
    expected = weighed.sum(dim=-1)  # (S,)
    terms = visitation * expected  # (S,)
    return terms.sum()
