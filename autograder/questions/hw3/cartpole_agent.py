"""hw3: a trained agent handed in as a file, and what it earns in CartPole-v1.

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
from course_lib.reference.answers.cartpole_agent import cartpole_agent

ENV = "CartPole-v1"


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    from course_lib.agents import play

    weights = handed_in("cartpole.npz")
    given = {name: tensor.clone() for name, tensor in weights.items()}
    played = play("CartPole-v1", lambda seen: function(given, seen), torch.tensor(case["starts"]))
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
    mean = replay("CartPole-v1", torch.tensor(case["starts"]), actions).mean()
    acted, other = actions[:20].flatten(), observations["by_other_weights"].reshape(-1)
    counts: dict[str, Any] = {
        f"mean_of_{level}": int(mean >= level - 5) for level in (100, 250, 400, 475)
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
        nn.Linear(4, sizes[0]),
        nn.Tanh(),
        nn.Linear(sizes[0], sizes[1]),
        nn.Tanh(),
        nn.Linear(sizes[1], 2),
    )
    layers = {name: each for name, each in weights.items() if name.startswith("net.")}
    net.load_state_dict({name.removeprefix("net."): each for name, each in layers.items()})
    return net


def with_a_module(weights: Weights, observations: Tensor) -> Tensor:
    net = network(weights).to(observations.dtype)
    return torch.distributions.Categorical(logits=net(observations)).probs.argmax(1)


def with_a_loop_over_layers(weights: Weights, observations: Tensor) -> Tensor:
    x = observations
    for k in (0, 2, 4):
        x = nn.functional.linear(x, weights[f"net.{k}.weight"], weights[f"net.{k}.bias"])
        if k < 4:
            x = x.tanh()
    return (x[:, 1] > x[:, 0]).float()


def with_einsum(weights: Weights, observations: Tensor) -> Tensor:
    x = observations
    for k in (0, 2, 4):
        x = torch.einsum("ni,oi->no", x, weights[f"net.{k}.weight"]) + weights[f"net.{k}.bias"]
        x = torch.tanh(x) if k < 4 else x
    return x.max(dim=1).indices


def with_arrays(weights: Weights, observations: Tensor) -> Tensor:
    x = observations.numpy()
    for k in (0, 2, 4):
        x = x @ weights[f"net.{k}.weight"].numpy().T + weights[f"net.{k}.bias"].numpy()
        x = np.tanh(x) if k < 4 else x
    return torch.from_numpy(x.argmax(1))


# What students hand in instead.


def worse(actions: Tensor, share: float) -> Tensor:
    """The right actions, but for a share of the first states, where it falls over at once."""
    falls = torch.arange(len(actions)) % 50 < 50 * share
    return torch.where(falls, 1 - actions, actions)


def hardly_learned(weights: Weights, observations: Tensor) -> Tensor:
    return worse(cartpole_agent(weights, observations), 0.9)


def learned_a_little(weights: Weights, observations: Tensor) -> Tensor:
    return worse(cartpole_agent(weights, observations), 0.64)


def learned_half(weights: Weights, observations: Tensor) -> Tensor:
    return worse(cartpole_agent(weights, observations), 0.34)


def nearly_learned(weights: Weights, observations: Tensor) -> Tensor:
    return worse(cartpole_agent(weights, observations), 0.12)


def without_the_file(weights: Weights, observations: Tensor) -> Tensor:
    x, x_dot, angle, angle_dot = observations.T
    return (0.1 * x + 0.3 * x_dot + 3.0 * angle + angle_dot > 0).long()


def always_left(weights: Weights, observations: Tensor) -> Tensor:
    return torch.zeros(len(observations), dtype=torch.long)


slip = partial(slip_of, cartpole_agent, see="04_reinforce#C70")
HARDLY = (
    "Its mean return is below 100, hardly better than chance: are these the weights after "
    "training, and is the likeliest action taken?"
)

CHECK = Check(
    title="Your agent in CartPole",
    reference=cartpole_agent,
    recipe=recipe,
    measure=measure,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip("mean return below 100", HARDLY, function=hardly_learned),
        slip(
            "mean return of 100 to 250",
            "It has learned something: its mean return is between 100 and 250. Train it longer, or "
            "look at the curve of the training for the place where it stops rising.",
            function=learned_a_little,
        ),
        slip(
            "mean return of 250 to 400",
            "Its mean return is between 250 and 400. Train it longer, and keep the weights of a "
            "time when the curve was high.",
            function=learned_half,
        ),
        slip(
            "mean return of 400 to 475",
            "Its mean return is between 400 and 475: from some first states the pole still falls. "
            "Train it a little longer, with a learning rate that falls towards the end.",
            function=nearly_learned,
        ),
        slip(
            "the file is not used",
            "It acts the same whatever numbers stand in the file. The actions are to come from the "
            "weights that were trained.",
            function=without_the_file,
        ),
        slip(
            "one action always",
            "It does the same whatever it observes and whatever the weights are. The actions are "
            "to come from the observations and the weights that were trained.",
            function=always_left,
        ),
        slip(
            "draws its actions",
            "It plays well, but the same observations get other actions when it is asked again: it "
            "draws them. A trained agent is judged by its likeliest action.",
            answer="(logits + 0.1 * torch.randn_like(logits)).argmax(dim=-1)",
        ),
        slip(
            "changes the weights",
            "It plays well, but it writes into the weights that it was given. Work on a copy of "
            "them.",
            before='weights["net.4.bias"].add_(1.0)',
        ),
        slip(
            "changes the observations",
            "It plays well, but it writes into the observations that it was given. Work on a copy "
            "of them.",
            before="observations.add_(1e-3)",
        ),
    ),
    parts=(
        Property("a mean return of 100", 1, observations=("mean_of_100", "file_is_used")),
        Property("a mean return of 250", 1, observations=("mean_of_250", "file_is_used")),
        Property("a mean return of 400", 2, observations=("mean_of_400", "file_is_used")),
        Property("a mean return of 475", 3, observations=("mean_of_475", "file_is_used")),
    ),
    accepted=(with_a_module, with_a_loop_over_layers, with_arrays, with_einsum),
)
