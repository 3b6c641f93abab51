"""hw3: a trained agent handed in as a file, and what it earns in Pendulum-v1.

The actions come out of the student's process; what they earn is worked out outside it, by doing
them again from the same first states.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.recipes import handed_in
from autograder.student.wire import Arrays, frozen, same_again
from course_lib.agents import Weights, first_states
from course_lib.reference.answers.pendulum_agent import pendulum_agent

ENV = "Pendulum-v1"


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    from course_lib.agents import play

    weights = handed_in("pendulum.npz")
    given = {name: tensor.clone() for name, tensor in weights.items()}
    played = play("Pendulum-v1", lambda seen: function(given, seen), torch.tensor(case["starts"]))
    seen = played.observations[:20].flatten(0, 1).clone()
    first = frozen(function(given, seen))
    again = same_again(lambda: function(given, seen), first)
    # Numbers of another agent: the same ones in another order.
    other = {name: t.flatten().flip(0).view_as(t) for name, t in weights.items()}
    return {
        "actions": played.actions,
        "by_other_weights": frozen(function(other, seen.clone())),
        "weights_unchanged": all(torch.equal(given[name], weights[name]) for name in weights),
        "observations_unchanged": torch.equal(seen, played.observations[:20].flatten(0, 1)),
        "second_call_agrees": again,
    }


def measure(case: Arrays, observations: Arrays) -> dict[str, Any]:
    from course_lib.agents import replay

    actions = torch.tensor(observations["actions"])
    mean = replay("Pendulum-v1", torch.tensor(case["starts"]), actions).mean()
    acted, other = actions[:20].flatten(), observations["by_other_weights"].reshape(-1)
    counts: dict[str, Any] = {
        f"mean_of_{-level}": int(mean >= level - 15) for level in (-1000, -600, -350, -200)
    }
    counts["mean_return"] = float(mean)
    counts["file_is_used"] = int(not np.array_equal(acted.numpy(), other))
    return counts | {name: kept for name, kept in observations.items() if kept.dtype == bool}


# First states.


def public_cases() -> list[Case]:
    return [{"starts": first_states(ENV, 100, np.random.default_rng(3))}]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    return [{"starts": first_states(ENV, int(rng.integers(100, 120)), rng)}]


# Other right ways.


def network(weights: Weights) -> nn.Sequential:
    sizes = [len(weights["net.0.weight"]), len(weights["net.2.weight"])]
    net = nn.Sequential(
        nn.Linear(3, sizes[0]),
        nn.Tanh(),
        nn.Linear(sizes[0], sizes[1]),
        nn.Tanh(),
        nn.Linear(sizes[1], 1),
    )
    layers = {name: each for name, each in weights.items() if name.startswith("net.")}
    net.load_state_dict({name.removeprefix("net."): each for name, each in layers.items()})
    return net


def with_a_module(weights: Weights, observations: Tensor) -> Tensor:
    net = network(weights).to(observations.dtype)
    return torch.distributions.Normal(net(observations), weights["log_std"].exp()).mean


def cut_by_itself(weights: Weights, observations: Tensor) -> Tensor:
    x = observations
    for k in (0, 2, 4):
        x = nn.functional.linear(x, weights[f"net.{k}.weight"], weights[f"net.{k}.bias"])
        if k < 4:
            x = x.tanh()
    return x.clamp(-2.0, 2.0)


def with_einsum(weights: Weights, observations: Tensor) -> Tensor:
    x = observations
    for k in (0, 2, 4):
        x = torch.einsum("ni,oi->no", x, weights[f"net.{k}.weight"]) + weights[f"net.{k}.bias"]
        x = torch.tanh(x) if k < 4 else x
    return x.mean(dim=1, keepdim=True)


def with_arrays(weights: Weights, observations: Tensor) -> Tensor:
    x = observations.numpy()
    for k in (0, 2, 4):
        x = x @ weights[f"net.{k}.weight"].numpy().T + weights[f"net.{k}.bias"].numpy()
        x = np.tanh(x) if k < 4 else x
    return torch.from_numpy(x)


# What students hand in instead.


def worse(torques: Tensor, share: float) -> Tensor:
    """The right torques, but for a share of the first states, where it pushes the other way."""
    wrong = torch.arange(len(torques)) % 50 < 50 * share
    return torch.where(wrong[:, None], -2.0 * torch.sign(torques), torques)


def hardly_learned(weights: Weights, observations: Tensor) -> Tensor:
    return worse(pendulum_agent(weights, observations), 0.8)


def learned_a_little(weights: Weights, observations: Tensor) -> Tensor:
    return worse(pendulum_agent(weights, observations), 0.4)


def learned_half(weights: Weights, observations: Tensor) -> Tensor:
    return worse(pendulum_agent(weights, observations), 0.18)


def nearly_learned(weights: Weights, observations: Tensor) -> Tensor:
    return worse(pendulum_agent(weights, observations), 0.05)


def without_the_file(weights: Weights, observations: Tensor) -> Tensor:
    """Pumps energy in, and balances near the top."""
    cos, sin, speed = observations.T
    angle = torch.atan2(sin, cos)
    pump = 2.0 * torch.sign(speed + 1e-9) * torch.sign(10.0 - (0.5 * speed**2 / 3 * 2 + 10 * cos))
    return torch.where(cos > 0.9, -12.0 * angle - 3.0 * speed, pump)[:, None]


def no_torque(weights: Weights, observations: Tensor) -> Tensor:
    return torch.zeros(len(observations), 1, dtype=observations.dtype)


slip = partial(slip_of, pendulum_agent, see="04_reinforce#C71")

CHECK = Check(
    title="Your agent in Pendulum",
    reference=pendulum_agent,
    recipe=recipe,
    measure=measure,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "mean return below -1000",
            "Its mean return is below -1000, no better than without a policy: are these the "
            "weights after training, and are the observations treated as they were there?",
            function=hardly_learned,
        ),
        slip(
            "mean return of -1000 to -600",
            "It has learned something: its mean return is between -1000 and -600. Train it longer, "
            "and look at the critic's error: on this task the returns are large, so scale them.",
            function=learned_a_little,
        ),
        slip(
            "mean return of -600 to -350",
            "Its mean return is between -600 and -350: it swings up, but not always. Train it "
            "longer, with a learning rate that falls towards the end.",
            function=learned_half,
        ),
        slip(
            "mean return of -350 to -200",
            "Its mean return is between -350 and -200: from some first states it does not come to "
            "rest on top. Train it a little longer, with a learning rate that falls.",
            function=nearly_learned,
        ),
        slip(
            "the file is not used",
            "It acts the same whatever numbers stand in the file. The actions are to come from the "
            "weights that were trained.",
            function=without_the_file,
        ),
        slip(
            "no torque",
            "It does the same whatever it observes and whatever the weights are. The torques are "
            "to come from the observations and the weights that were trained.",
            function=no_torque,
        ),
        slip(
            "draws its actions",
            "It plays well, but the same observations get other torques when it is asked again: it "
            "draws them. A trained agent is judged by the mean of its policy.",
            answer="torques + 0.01 * torch.randn_like(torques)",
        ),
        slip(
            "changes the weights",
            "It plays well, but it writes into the weights that it was given. Work on a copy of "
            "them.",
            before='weights["log_std"].add_(1.0)',
        ),
        slip(
            "changes the observations",
            "It plays well, but it writes into the observations that it was given. Work on a copy "
            "of them.",
            before="observations.add_(1e-3)",
        ),
    ),
    parts=(
        Property("a mean return of -1000", 1, observations=("mean_of_1000", "file_is_used")),
        Property("a mean return of -600", 1, observations=("mean_of_600", "file_is_used")),
        Property("a mean return of -350", 2, observations=("mean_of_350", "file_is_used")),
        Property("a mean return of -200", 3, observations=("mean_of_200", "file_is_used")),
    ),
    accepted=(with_a_module, cut_by_itself, with_arrays, with_einsum),
)
