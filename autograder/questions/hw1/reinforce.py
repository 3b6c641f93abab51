"""hw1: the loop of REINFORCE, on callables whose answers are exact."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.reinforce import reinforce


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    from types import SimpleNamespace

    from course_lib.mdp import three_state_chain

    learning_rate, iterations = float(case["learning_rate"]), int(case["iterations"])
    theta, places = torch.tensor(case["theta"]), torch.tensor(case["places"])

    # Not a policy gradient: any smooth map will do, and this one is exact. Each episode pulls
    # theta to a place of its own that depends on the theta it was sampled from.
    def sample_episodes(current: Any) -> list[Any]:
        now = torch.as_tensor(current).detach().clone().double()
        return [SimpleNamespace(place=place + 0.5 * torch.sin(2 * now)) for place in places]

    def estimate_gradient(current: Any, episode: Any) -> torch.Tensor:
        if isinstance(episode, (list, tuple)):
            raise TypeError("estimate_gradient was given a list of episodes: call it for each")
        if not isinstance(episode, SimpleNamespace):
            raise TypeError(
                "estimate_gradient was given no episode second, but a "
                f"{type(episode).__name__}: it takes theta and one episode"
            )
        now = torch.as_tensor(current).double()
        return episode.place - torch.tanh(now) - 0.3 * now

    inputs = theta, sample_episodes, estimate_gradient, learning_rate, iterations
    last = frozen(function(*inputs))
    seen = {
        "theta": last,
        "input_unchanged": untouched(theta, case["theta"]),
        "second_call_agrees": same_again(lambda: function(*inputs), last),
    }

    if "chain_theta" not in case:
        return seen

    # The chain, with its exact gradient split into episodes of different weight (1 in the mean).
    chain = three_state_chain()

    def split_gradient(current: Any) -> list[Any]:
        exact = chain.policy_gradient(torch.as_tensor(current).detach().double())
        return [SimpleNamespace(part=weight * exact) for weight in weights]

    start, weights = torch.tensor(case["chain_theta"]), torch.tensor(case["weights"])
    parts = function(start, split_gradient, lambda _, episode: episode.part, 0.3, 6)
    trained = torch.from_numpy(frozen(parts)).double()
    if trained.shape == start.shape:
        policy = torch.softmax(trained, dim=-1)
        if policy.isfinite().all():
            seen["return_on_the_chain"] = chain.expected_return(policy)
    return seen


def public_cases() -> list[Case]:
    return [
        {
            "theta": np.array([[0.5, -1.0], [0.2, 0.8]]),
            "places": np.array(
                [[[1.0, 0.0], [0.5, -0.5]], [[-0.4, 0.6], [1.2, 0.1]], [[0.3, 0.9], [-0.8, 0.4]]]
            ),
            "learning_rate": 0.5,
            "iterations": 1,
        },
        {
            "theta": np.array([[0.3, -0.7, 1.1]]),
            "places": np.array([[[0.2, 0.9, -1.0]], [[1.0, -0.3, 0.4]], [[-0.6, 0.5, 0.7]]]),
            "chain_theta": np.zeros((3, 2)),
            "weights": np.array([0.4, 1.6]),
            "learning_rate": 0.2,
            "iterations": 4,
        },
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for one, episodes in zip((False, False, True), rng.permutation(np.arange(2, 7)), strict=False):
        shape = tuple(int(n) for n in rng.integers(2, 5, size=2))
        cases.append(
            {
                "theta": rng.normal(size=shape),
                "places": rng.normal(size=(episodes + one, *shape)),
                "learning_rate": float(rng.uniform(0.1, 0.5)),
                "iterations": 1 if one else int(rng.integers(3, 8)),
            }
        )
    weights = rng.uniform(0.2, 2.0, size=3)
    cases[0]["chain_theta"] = 0.5 * rng.normal(size=(3, 2))
    cases[0]["weights"] = weights / weights.mean()
    return cases


# Right by other means.


def with_an_optimiser(*given: Any) -> Tensor:
    theta, sample_episodes, estimate_gradient, learning_rate, iterations = given
    parameter = torch.nn.Parameter(theta.clone())
    optimiser = torch.optim.SGD([parameter], lr=learning_rate, maximize=True)
    for _ in range(iterations):
        with torch.no_grad():
            gradients = [estimate_gradient(parameter, each) for each in sample_episodes(parameter)]
            parameter.grad = torch.stack(gradients).mean(dim=0)
        optimiser.step()
    return parameter


def summing_in_place(*given: Any) -> Any:
    theta, sample_episodes, estimate_gradient, learning_rate, iterations = given
    theta = theta.clone()
    for _ in range(iterations):
        episodes = sample_episodes(theta)
        total = torch.zeros_like(theta)
        for episode in episodes:
            total += estimate_gradient(theta, episode)
        theta += learning_rate * total / len(episodes)
    return theta


def in_single_precision(*given: Any) -> Any:
    theta, sample_episodes, estimate_gradient, learning_rate, iterations = given
    theta = theta.float()
    for _ in range(iterations):
        gradients = [estimate_gradient(theta, episode) for episode in sample_episodes(theta)]
        theta = (theta + learning_rate * torch.stack(gradients).mean(dim=0)).float()
    return theta


def sampling_twice(*given: Any) -> Tensor:
    theta, sample_episodes, estimate_gradient, learning_rate, iterations = given
    values = theta.numpy().copy()
    for _ in range(iterations):
        current = torch.tensor(values)
        assert sample_episodes(current)
        gradients = [estimate_gradient(current, each).numpy() for each in sample_episodes(current)]
        values = values + learning_rate * np.mean(gradients, axis=0)
    return torch.tensor(values)


# What students write instead.

slip = partial(slip_of, reinforce, see="04_reinforce#C24")

CHECK = Check(
    title="The REINFORCE loop",
    reference=reinforce,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "changes the caller's theta",
            "The steps are right, but they were written into the theta that came in, so the caller "
            "no longer has the policy to start from. Work on a copy.",
            theta_1="theta.detach()",
            theta_2="theta += learning_rate * gradient",
        ),
        slip(
            "descends",
            "theta moves against the gradient, so J falls. estimate_gradient already points "
            "uphill, it is no loss.",
            theta_2="theta - learning_rate * gradient",
        ),
        slip(
            "samples once",
            "The episodes of every iteration come from the first policy, sampled once or always "
            "with the theta that came in. The estimate is of the gradient only for the policy that "
            "acted.",
            see="04_reinforce#C28",
            before="episodes = sample_episodes(theta)",
            episodes="pass",
        ),
        slip(
            "stays with the first theta",
            "Sampling and estimating use the theta that came in, in every iteration, so all steps "
            "go the same way. Each iteration starts from where the last one arrived.",
            see="04_reinforce#C28",
            before="start = theta",
            episodes="sample_episodes(start)",
            gradients="[estimate_gradient(start, episode) for episode in episodes]",
        ),
        slip(
            "samples a step behind",
            "The episodes come from the theta before the last step: a batch of an older policy is "
            "used. When in an iteration should sampling happen?",
            see="04_reinforce#C28",
            before="behind = theta",
            episodes="""
                episodes = sample_episodes(behind)
                behind = theta
            """,
        ),
        slip(
            "sum instead of mean over episodes",
            "The estimates are added up over the episodes, so sampling twice as many doubles the "
            "step. An expectation is estimated by a mean.",
            see="02_policy_gradient#C17",
            gradient="torch.stack(gradients).sum(dim=0)",
        ),
        slip(
            "mean over the entries too",
            "The mean runs over the entries of the gradient as well, so all of theta moves by one "
            "number. The mean is over the episodes (look at its dim); the gradient keeps its "
            "shape.",
            see="02_policy_gradient#C17",
            gradient="torch.stack(gradients).mean()",
        ),
        slip(
            "estimates at the first theta",
            "estimate_gradient is given the theta that came in, in every iteration. The episodes "
            "were sampled with the current theta, and that is where the gradient is wanted.",
            see="04_reinforce#C28",
            before="start = theta",
            gradients="[estimate_gradient(start, episode) for episode in episodes]",
        ),
        slip(
            "one step an episode",
            "theta moves after each episode, so the later ones of a batch are scored with a policy "
            "that did not act in them. Asked for is one step an iteration, on their mean.",
            see="04_reinforce#C28",
            gradients="pass",
            gradient="pass",
            theta_2="""
                for episode in episodes:
                    theta = theta + learning_rate * estimate_gradient(theta, episode)
            """,
        ),
        slip(
            "first episode only",
            "Only the first episode of each iteration is used. The mean over all of them has the "
            "same expectation and less noise.",
            see="04_reinforce#C25",
            gradient="gradients[0]",
        ),
        slip(
            "last episode only",
            "Only the last episode of each iteration has an effect: is the estimate of the others "
            "overwritten in the loop?",
            see="04_reinforce#C25",
            gradient="gradients[-1]",
        ),
        slip(
            "returns where it started",
            "What comes back is the theta that came in. Is the result of the steps kept, and is it "
            "what is returned?",
            theta_2="theta",
        ),
        slip(
            "one iteration only",
            "This is theta after a single iteration: does the return stand inside the loop, or "
            "does each iteration start from the theta that came in?",
            _="range(1)",
        ),
        slip(
            "one iteration short",
            "One iteration is missing. Count them: how many steps does iterations = 1 make?",
            _="range(1, iterations)",
        ),
        slip(
            "gradients pile up",
            "Every step adds the gradients of all earlier iterations again. Is something carried "
            "over that should start at zero (a running sum, or a .grad that was not cleared)?",
            before="total = torch.zeros_like(theta)",
            theta_2="""
                total = total + gradient
                theta = theta + learning_rate * total
            """,
        ),
        slip(
            "no learning rate",
            "The gradient is added at full length. The learning rate scales each step.",
            theta_2="theta + gradient",
        ),
        slip(
            "learning rate divided by iterations",
            "Each step is divided by the number of iterations. The mean is over the episodes of an "
            "iteration, not over the iterations.",
            theta_2="theta + learning_rate / iterations * gradient",
        ),
        slip(
            "part of the step after each episode",
            "theta moves a little after each episode, so the later ones are scored with a policy "
            "that did not act in them. Work out the mean with the theta that they came from, then "
            "make one step.",
            see="04_reinforce#C28",
            gradients="pass",
            gradient="pass",
            theta_2="""
                for episode in episodes:
                    step = learning_rate * estimate_gradient(theta, episode)
                    theta = theta + step / len(episodes)
            """,
        ),
        slip(
            "last episode divided by their number",
            "Only the last episode of each iteration has an effect, and it is divided by their "
            "number: is the estimate of the others overwritten in the loop? Add them up.",
            see="04_reinforce#C25",
            gradient="gradients[-1] / len(gradients)",
        ),
        slip(
            "gradient scaled to length 1",
            "Every step has the length of the learning rate: the gradient was divided by its own "
            "length. Here that length is part of the step.",
            theta_2="theta + learning_rate * gradient / gradient.norm()",
        ),
        slip(
            "learning rate decays",
            "The learning rate gets smaller from iteration to iteration. Here it stays as it is.",
            theta_2="theta + learning_rate / (_ + 1) * gradient",
        ),
        slip(
            "learning rate decays to nothing",
            "The learning rate gets smaller from iteration to iteration, by equal parts. Here it "
            "stays as it is.",
            theta_2="theta + learning_rate * (1 - _ / iterations) * gradient",
        ),
        slip(
            "steps of Adam",
            "These are steps of Adam, which scales each entry by its own past. Asked for are plain "
            "steps: the learning rate times the gradient.",
            before="mean, square = 0.0, 0.0",
            theta_2="""
                mean = 0.9 * mean + 0.1 * gradient
                square = 0.999 * square + 0.001 * gradient**2
                spread = (square / (1 - 0.999 ** (_ + 1))).sqrt() + 1e-8
                theta = theta + learning_rate * mean / (1 - 0.9 ** (_ + 1)) / spread
            """,
        ),
        slip(
            "one iteration too many",
            "There is one iteration more than asked for: where does the count begin, and is the "
            "last number part of it?",
            _="range(iterations + 1)",
        ),
        slip(
            "mean of all iterations",
            "What comes back is the mean of theta over the iterations. Asked for is where the last "
            "one arrived.",
            before="visited = []",
            theta_2="""
                theta = theta + learning_rate * gradient
                visited.append(theta)
            """,
            answer="torch.stack(visited).mean(dim=0)",
        ),
    ),
    parts=(
        Property("one iteration", 3, cases=lambda case: case["iterations"] == 1),
        Property("several iterations", 4, cases=lambda case: case["iterations"] > 1),
    ),
    accepted=(with_an_optimiser, summing_in_place, in_single_precision, sampling_twice),
)
