"""Details of the algorithms, each taken out by its name, to see what it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from course_lib.reference.agents.settings import configure
from course_lib.reference.answers.gae import gae
from course_lib.reference.answers.surrogate import surrogate
from course_lib.training import Config


@dataclass(frozen=True)
class Ablation:
    """What is put in a detail's place: other settings, or other parts of the agent.

    says: what the algorithm does without the detail. settings: names and values of the config.
    parts: keyword arguments of the agent.
    """

    says: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)


def unclipped(log_probs: Tensor, old: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
    """The importance-sampled surrogate, in the clipped one's place; epsilon is not used."""
    return surrogate(log_probs, old, advantages)


def as_they_are(advantages: Tensor) -> Tensor:
    """Advantages that are not normalised."""
    return advantages


def gae_to_the_limit(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Advantages that take a time limit for an end, as if nothing could be earned after it."""
    return gae(rewards, values, next_values, terminated | truncated, truncated, gamma, lam)


_ADVANTAGES = {
    "advantage-normalisation": Ablation(
        "advantages enter with the mean and spread they have", parts={"prepare": as_they_are}
    ),
    "gae": Ablation("advantages are whole returns minus values, lam = 1", {"lam": 1.0}),
    "bootstrapping": Ablation(
        "an episode cut at its time limit counts as ended there",
        parts={"advantages": gae_to_the_limit},
    ),
    "decay": Ablation("the learning rate stays", {"decay_to": 1.0}),
}
ABLATIONS: dict[str, dict[str, Ablation]] = {
    "ppo": {
        "clip": Ablation("the ratio is not clipped", parts={"objective": unclipped}),
        "epochs": Ablation("each batch is passed over once", {"epochs": 1}),
        **_ADVANTAGES,
        "entropy": Ablation("nothing pays for entropy", {"entropy_weight": 0.0}),
    },
    "trpo": _ADVANTAGES,
    "reinforce": {"decay": _ADVANTAGES["decay"]},
}


def without(
    algorithm: str, details: Sequence[str], config: Config
) -> tuple[Config, dict[str, Any]]:
    """The config, and the agent's keyword arguments, that leave these details out.

    Raises ValueError if the algorithm has no such detail, or the config does not use it.
    """
    parts: dict[str, Any] = {}
    for name in details:
        if name not in ABLATIONS[algorithm]:
            raise ValueError(
                f"{algorithm} has no detail {name!r} to leave out: choose from "
                f"{', '.join(ABLATIONS[algorithm])}"
            )
        ablation = ABLATIONS[algorithm][name]
        if not ablation.parts and all(
            getattr(config, key) == value for key, value in ablation.settings.items()
        ):
            there = ", ".join(f"{key} = {value}" for key, value in ablation.settings.items())
            raise ValueError(
                f"these settings are without {name} already ({there}): set another value first, or "
                "leave out something else"
            )
        config = configure(algorithm, ablation.settings, config)
        parts |= ablation.parts
    return config, parts
