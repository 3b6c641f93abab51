"""hw1: the loop of REINFORCE, on callables whose answers are exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Misconception
from autograder.questions.tolerance import TOLERANCE
from autograder.student.wire import Arrays
from course_lib.reference.answers.reinforce import reinforce


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    from types import SimpleNamespace

    from course_lib.mdp import three_state_chain

    learning_rate, iterations = float(case["learning_rate"]), int(case["iterations"])
    theta, places = torch.tensor(case["theta"]), torch.tensor(case["places"])

    # Not a policy gradient: any smooth map will do, and this one is exact. Each episode pulls
    # theta to a place of its own that depends on the theta it was sampled from.
    def sample_episodes(current: torch.Tensor) -> list[Any]:
        now = current.detach().clone().double()
        return [SimpleNamespace(place=place + 0.5 * torch.sin(2 * now)) for place in places]

    def estimate_gradient(current: torch.Tensor, episode: Any) -> torch.Tensor:
        return episode.place - torch.tanh(current.double()) - 0.3 * current.double()

    last = function(theta, sample_episodes, estimate_gradient, learning_rate, iterations)
    seen = {"theta": last, "input_unchanged": np.array_equal(theta.detach(), case["theta"])}

    if "chain_theta" not in case:
        return seen

    # The chain, with its exact gradient split into episodes of different weight (1 in the mean).
    chain = three_state_chain()

    def split_gradient(current: torch.Tensor) -> list[Any]:
        exact = chain.policy_gradient(current.detach().double())
        return [SimpleNamespace(part=weight * exact) for weight in weights]

    start, weights = torch.tensor(case["chain_theta"]), torch.tensor(case["weights"])
    trained = function(start, split_gradient, lambda _, episode: episode.part, 0.3, 6)
    if isinstance(trained, torch.Tensor) and trained.shape == start.shape:
        policy = torch.softmax(trained.detach().double(), dim=-1)
        if policy.isfinite().all():
            seen["return_on_the_chain"] = chain.expected_return(policy)
    return seen


def public_cases() -> list[Case]:
    return [
        {
            "theta": np.array([[0.5, -1.0], [0.2, 0.8]]),
            "places": np.array([[[1.0, 0.0], [0.5, -0.5]], [[-0.4, 0.6], [1.2, 0.1]]]),
            "chain_theta": np.zeros((3, 2)),
            "weights": np.array([0.4, 1.6]),
            "learning_rate": 0.5,
            "iterations": 1,
        },
        {
            "theta": np.array([[0.3, -0.7, 1.1]]),
            "places": np.array([[[0.2, 0.9, -1.0]], [[1.0, -0.3, 0.4]], [[-0.6, 0.5, 0.7]]]),
            "learning_rate": 0.2,
            "iterations": 4,
        },
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for episodes in rng.choice(np.arange(2, 7), size=2, replace=False):
        shape = tuple(int(n) for n in rng.integers(2, 5, size=2))
        cases.append(
            {
                "theta": rng.normal(size=shape),
                "places": rng.normal(size=(episodes, *shape)),
                "learning_rate": float(rng.uniform(0.1, 0.5)),
                "iterations": int(rng.integers(3, 8)),
            }
        )
    weights = rng.uniform(0.2, 2.0, size=3)
    cases[0]["chain_theta"] = 0.5 * rng.normal(size=(3, 2))
    cases[0]["weights"] = weights / weights.mean()
    return cases


# What students write instead.

Sample = Callable[[Tensor], list[Any]]
Estimate = Callable[[Tensor, Any], Tensor]


def _mean(theta: Tensor, episodes: list[Any], estimate: Estimate) -> Tensor:
    return torch.stack([estimate(theta, episode) for episode in episodes]).mean(dim=0)


def descends(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    for _ in range(iterations):
        theta = theta - learning_rate * _mean(theta, sample(theta), estimate)
    return theta


def samples_once(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    episodes = sample(theta)
    for _ in range(iterations):
        theta = theta + learning_rate * _mean(theta, episodes, estimate)
    return theta


def samples_from_the_first_policy(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    start = theta
    for _ in range(iterations):
        theta = theta + learning_rate * _mean(start, sample(start), estimate)
    return theta


def samples_a_step_behind(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    episodes = sample(theta)
    for _ in range(iterations):
        old = theta
        theta = theta + learning_rate * _mean(theta, episodes, estimate)
        episodes = sample(old)
    return theta


def sum_instead_of_mean(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    for _ in range(iterations):
        episodes = sample(theta)
        theta = theta + learning_rate * len(episodes) * _mean(theta, episodes, estimate)
    return theta


def mean_over_everything(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    for _ in range(iterations):
        theta = theta + learning_rate * _mean(theta, sample(theta), estimate).mean()
    return theta


def estimates_at_the_first_theta(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    start = theta
    for _ in range(iterations):
        theta = theta + learning_rate * _mean(start, sample(theta), estimate)
    return theta


def one_step_an_episode(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    for _ in range(iterations):
        for episode in sample(theta):
            theta = theta + learning_rate * estimate(theta, episode)
    return theta


def first_episode_only(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    for _ in range(iterations):
        theta = theta + learning_rate * estimate(theta, sample(theta)[0])
    return theta


def last_episode_only(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    for _ in range(iterations):
        theta = theta + learning_rate * estimate(theta, sample(theta)[-1])
    return theta


def changes_theta(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    for _ in range(iterations):
        theta += learning_rate * _mean(theta, sample(theta), estimate)
    return theta


def returns_where_it_started(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    samples_from_the_first_policy(theta, sample, estimate, learning_rate, iterations)
    return theta


def one_iteration_only(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    for _ in range(iterations):
        theta = theta + learning_rate * _mean(theta, sample(theta), estimate)
        return theta
    return theta


def one_iteration_short(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    for _ in range(1, iterations):
        theta = theta + learning_rate * _mean(theta, sample(theta), estimate)
    return theta


def gradients_pile_up(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    total = torch.zeros_like(theta)
    for _ in range(iterations):
        total = total + _mean(theta, sample(theta), estimate)
        theta = theta + learning_rate * total
    return theta


def no_learning_rate(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    for _ in range(iterations):
        theta = theta + _mean(theta, sample(theta), estimate)
    return theta


def learning_rate_over_iterations(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    for _ in range(iterations):
        theta = theta + learning_rate / iterations * _mean(theta, sample(theta), estimate)
    return theta


def part_of_a_step_an_episode(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    for _ in range(iterations):
        episodes = sample(theta)
        for episode in episodes:
            theta = theta + learning_rate * estimate(theta, episode) / len(episodes)
    return theta


# Right by other means.


def with_an_optimiser(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    parameter = torch.nn.Parameter(theta.clone())
    optimiser = torch.optim.SGD([parameter], lr=learning_rate, maximize=True)
    for _ in range(iterations):
        with torch.no_grad():
            parameter.grad = _mean(parameter, sample(parameter), estimate)
        optimiser.step()
    return parameter


def summing_in_place(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    theta = theta.clone()
    for _ in range(iterations):
        episodes = sample(theta)
        total = torch.zeros_like(theta)
        for episode in episodes:
            total += estimate(theta, episode)
        theta += learning_rate * total / len(episodes)
    return theta


def in_single_precision(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Tensor:
    theta = theta.float()
    for _ in range(iterations):
        theta = (theta + learning_rate * _mean(theta, sample(theta), estimate)).float()
    return theta


def sampling_twice(
    theta: Tensor, sample: Sample, estimate: Estimate, learning_rate: float, iterations: int
) -> Any:
    values = theta.numpy().copy()
    for _ in range(iterations):
        current = torch.tensor(values)
        assert sample(current)
        gradients = [estimate(current, episode).numpy() for episode in sample(current)]
        values = values + learning_rate * np.mean(gradients, axis=0)
    return torch.tensor(values)


CHECK = Check(
    title="The REINFORCE loop",
    reference=reinforce,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        Misconception(
            "changes the caller's theta",
            changes_theta,
            "The steps are right, but they were written into the theta that came in, so the caller "
            "no longer has the policy to start from. Work on a copy.",
            "04_reinforce#C24",
        ),
        Misconception(
            "descends",
            descends,
            "theta moves against the gradient, so J falls. estimate_gradient already points "
            "uphill, it is no loss.",
            "04_reinforce#C24",
        ),
        Misconception(
            "samples once",
            samples_once,
            "The episodes of every iteration come from the first policy, sampled once or always "
            "with the theta that came in. The estimate is of the gradient only for the policy that "
            "acted.",
            "04_reinforce#C28",
        ),
        Misconception(
            "stays with the first theta",
            samples_from_the_first_policy,
            "Sampling and estimating use the theta that came in, in every iteration, so all steps "
            "go the same way. Each iteration starts from where the last one arrived.",
            "04_reinforce#C28",
        ),
        Misconception(
            "samples a step behind",
            samples_a_step_behind,
            "The episodes come from the theta before the last step: a batch of an older policy is "
            "used. When in an iteration should sampling happen?",
            "04_reinforce#C28",
        ),
        Misconception(
            "sum instead of mean over episodes",
            sum_instead_of_mean,
            "The estimates are added up over the episodes, so sampling twice as many doubles the "
            "step. An expectation is estimated by a mean.",
            "02_policy_gradient#C17",
        ),
        Misconception(
            "mean over the entries too",
            mean_over_everything,
            "The mean runs over the entries of the gradient as well, so all of theta moves by one "
            "number. The mean is over the episodes (look at its dim); the gradient keeps its "
            "shape.",
            "02_policy_gradient#C17",
        ),
        Misconception(
            "estimates at the first theta",
            estimates_at_the_first_theta,
            "estimate_gradient is given the theta that came in, in every iteration. The episodes "
            "were sampled with the current theta, and that is where the gradient is wanted.",
            "04_reinforce#C28",
        ),
        Misconception(
            "one step an episode",
            one_step_an_episode,
            "theta moves after each episode, so the later ones of a batch are scored with a policy "
            "that did not act in them. Asked for is one step an iteration, on their mean.",
            "04_reinforce#C28",
        ),
        Misconception(
            "first episode only",
            first_episode_only,
            "Only the first episode of each iteration is used. The mean over all of them has the "
            "same expectation and less noise.",
            "04_reinforce#C25",
        ),
        Misconception(
            "last episode only",
            last_episode_only,
            "Only the last episode of each iteration has an effect: is the estimate of the others "
            "overwritten in the loop?",
            "04_reinforce#C25",
        ),
        Misconception(
            "returns where it started",
            returns_where_it_started,
            "What comes back is the theta that came in. Is the result of the steps kept, and is it "
            "what is returned?",
            "04_reinforce#C24",
        ),
        Misconception(
            "one iteration only",
            one_iteration_only,
            "Only one iteration is made: does the return stand inside the loop?",
            "04_reinforce#C24",
        ),
        Misconception(
            "one iteration short",
            one_iteration_short,
            "One iteration is missing. Count them: how many steps does iterations = 1 make?",
            "04_reinforce#C24",
        ),
        Misconception(
            "gradients pile up",
            gradients_pile_up,
            "Every step adds the gradients of all earlier iterations again. Is something carried "
            "over that should start at zero (a running sum, or a .grad that was not cleared)?",
            "04_reinforce#C24",
        ),
        Misconception(
            "no learning rate",
            no_learning_rate,
            "The gradient is added at full length. The learning rate scales each step.",
            "04_reinforce#C24",
        ),
        Misconception(
            "learning rate divided by iterations",
            learning_rate_over_iterations,
            "Each step is divided by the number of iterations. The mean is over the episodes of an "
            "iteration, not over the iterations.",
            "04_reinforce#C24",
        ),
        Misconception(
            "part of the step after each episode",
            part_of_a_step_an_episode,
            "theta moves a little after each episode, so the later ones are scored with a policy "
            "that did not act in them. Work out the mean with the theta that they came from, then "
            "make one step.",
            "04_reinforce#C28",
        ),
    ),
    accepted=(with_an_optimiser, summing_in_place, in_single_precision, sampling_twice),
    tolerance=TOLERANCE,
)
