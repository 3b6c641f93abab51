"""The answers to the homework, and only those. Never handed out.

The body of each function is what a student has to write; everything above it, the `validate` lines
included, stands in the handout.
"""

from course_lib.reference.advantages import gae
from course_lib.reference.estimators import baseline_loss, reinforce_1, reinforce_2
from course_lib.reference.returns import returns_to_go
from course_lib.reference.surrogates import clipped_surrogate, surrogate
from course_lib.reference.trust_region import (
    conjugate_gradient,
    fisher_vector_product,
    kl,
    line_search,
)
from course_lib.reference.updates import ppo_update, reinforce

__all__ = [
    "baseline_loss",
    "clipped_surrogate",
    "conjugate_gradient",
    "fisher_vector_product",
    "gae",
    "kl",
    "line_search",
    "ppo_update",
    "reinforce",
    "reinforce_1",
    "reinforce_2",
    "returns_to_go",
    "surrogate",
]
