"""hw1: the gradient estimate of the note's equation (3) from one episode."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Misconception
from autograder.questions.tolerance import TOLERANCE
from autograder.student.wire import Arrays
from course_lib.reference.answers.reinforce_1 import reinforce_1


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    theta = torch.tensor(case["theta"])
    states, actions = torch.tensor(case["states"]), torch.tensor(case["actions"])
    rewards = torch.tensor(case["rewards"])
    gradient = function(theta, states, actions, rewards, float(case["gamma"]))
    kept = all(
        np.array_equal(tensor.detach().numpy(), case[name])
        for name, tensor in (("theta", theta), ("rewards", rewards))
    )
    return {"gradient": gradient, "inputs_unchanged": kept}


def public_cases() -> list[Case]:
    return [
        {
            "theta": np.array([[0.0, 0.0], [0.0, 0.0]]),
            "states": np.array([0, 1]),
            "actions": np.array([1, 0]),
            "rewards": np.array([1.0, 2.0]),
            "gamma": 0.5,
        },
        {
            "theta": np.array([[0.4, -0.2, 0.1], [-1.0, 0.5, 0.3], [0.8, 0.0, -0.6]]),
            "states": np.array([0, 2, 0, 0, 1]),
            "actions": np.array([1, 0, 1, 2, 0]),
            "rewards": np.array([0.5, -1.0, 2.0, 0.3, 1.5]),
            "gamma": 0.9,
        },
        {
            "theta": np.array([[0.3, -0.3], [1.2, 0.4]]),
            "states": np.array([1, 1, 0]),
            "actions": np.array([1, 1, 1]),
            "rewards": np.array([-1.0, 0.5, -2.0]),
            "gamma": 1.0,
        },
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for length in (1, *rng.choice(np.arange(3, 13), size=3, replace=False)):
        states, actions = (int(n) for n in rng.integers(2, 6, size=2))
        cases.append(
            {
                "theta": rng.normal(size=(states, actions)),
                "states": rng.integers(states, size=length),
                "actions": rng.integers(actions, size=length),
                "rewards": rng.normal(size=length),
                "gamma": float(rng.uniform(0.6, 0.98)),
            }
        )
    return cases


# What students write instead.


def _estimate(theta: Tensor, scores: Tensor, weights: Tensor) -> Tensor:
    """Gradient of (weights * scores).sum(), scores (T,) depending on theta."""
    (gradient,) = torch.autograd.grad((weights * scores).sum(), theta)
    return gradient


def _leaf(theta: Tensor) -> Tensor:
    return theta.detach().clone().requires_grad_()


def _powers(gamma: float, length: int) -> Tensor:
    return gamma ** torch.arange(length, dtype=torch.float64)


def _whole(rewards: Tensor, gamma: float) -> Tensor:
    return (_powers(gamma, len(rewards)) * rewards).sum().expand(len(rewards))


def _log_probs(theta: Tensor, states: Tensor, actions: Tensor) -> Tensor:
    return torch.log_softmax(theta, dim=-1)[states, actions]


def wrong_sign(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    return -_estimate(theta, _log_probs(theta, states, actions), _whole(rewards, gamma))


def ignores_gamma(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    return _estimate(theta, _log_probs(theta, states, actions), _whole(rewards, 1.0))


def rewards_to_go(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    weights = (_powers(gamma, len(rewards)) * rewards).flip(0).cumsum(0).flip(0)
    return _estimate(theta, _log_probs(theta, states, actions), weights)


def immediate_reward(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    weights = _powers(gamma, len(rewards)) * rewards
    return _estimate(theta, _log_probs(theta, states, actions), weights)


def discounts_the_score_too(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    weights = _powers(gamma, len(rewards)) * _whole(rewards, gamma)
    return _estimate(theta, _log_probs(theta, states, actions), weights)


def probability_instead_of_log(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    probabilities = torch.softmax(theta, dim=-1)[states, actions]
    return _estimate(theta, probabilities, _whole(rewards, gamma))


def mean_over_steps(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    weights = _whole(rewards, gamma) / len(rewards)
    return _estimate(theta, _log_probs(theta, states, actions), weights)


def softmax_twice(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    scores = _log_probs(torch.softmax(theta, dim=-1), states, actions)
    return _estimate(theta, scores, _whole(rewards, gamma))


def softmax_over_states(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    scores = torch.log_softmax(theta, dim=0)[states, actions]
    return _estimate(theta, scores, _whole(rewards, gamma))


def no_normaliser(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    return _estimate(theta, theta[states, actions], _whole(rewards, gamma))


def scores_the_likeliest_action(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    scores = _log_probs(theta, states, theta.argmax(dim=-1)[states])
    return _estimate(theta, scores, _whole(rewards, gamma))


def repeated_visits_counted_once(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    gradient = torch.zeros_like(theta)
    gradient[states] += -torch.softmax(theta, dim=-1)[states]
    gradient[states, actions] += 1.0
    return gradient * _whole(rewards, gamma)[0]


def later_visits_overwrite(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    gradient, policy = torch.zeros_like(theta), torch.softmax(theta, dim=-1)
    for state, action in zip(states, actions, strict=True):
        gradient[state] = -policy[state]
        gradient[state, action] += 1.0
    return gradient * _whole(rewards, gamma)[0]


def rewards_to_go_without_gamma_t(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    theta, powers = _leaf(theta), _powers(gamma, len(rewards))
    returns = (powers * rewards).flip(0).cumsum(0).flip(0) / powers
    return _estimate(theta, _log_probs(theta, states, actions), returns)


def takes_the_step(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    start = theta
    theta = _leaf(theta)
    return start + _estimate(theta, _log_probs(theta, states, actions), _whole(rewards, gamma))


def only_the_entry_of_the_action(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    gradient = torch.zeros_like(theta)
    scores = 1 - torch.softmax(theta, dim=-1)[states, actions]
    return gradient.index_put((states, actions), _whole(rewards, gamma) * scores, accumulate=True)


# Right by other means.


def by_counting(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    policy = torch.softmax(theta, dim=-1)
    gradient = torch.zeros_like(theta)
    episode_return = sum(gamma**t * float(r) for t, r in enumerate(rewards))
    for s, a in zip(states.tolist(), actions.tolist(), strict=True):
        gradient[s] -= policy[s]
        gradient[s, a] += 1.0
    return episode_return * gradient


def by_backward(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Any:
    theta.requires_grad_()
    logits = theta[states]
    distribution = torch.distributions.Categorical(logits=logits)
    discounts = torch.tensor([gamma**t for t in range(len(rewards))])  # single precision
    loss = -(discounts * rewards).sum() * distribution.log_prob(actions).sum()
    loss.backward()
    assert theta.grad is not None
    return -theta.grad


def in_numpy(theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float) -> Any:
    logits, s, a = theta.numpy(), states.numpy(), actions.numpy()
    policy = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    gradient = np.zeros_like(logits)
    np.add.at(gradient, (s, a), 1.0)
    np.subtract.at(gradient, s, policy[s])
    return float(rewards.numpy() @ gamma ** np.arange(len(s))) * gradient


def in_single_precision(
    theta: Tensor, states: Tensor, actions: Tensor, rewards: Tensor, gamma: float
) -> Tensor:
    return reinforce_1(theta.float(), states, actions, rewards.float(), gamma)


CHECK = Check(
    title="Gradient from one episode (REINFORCE-1)",
    reference=reinforce_1,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        Misconception(
            "wrong sign",
            wrong_sign,
            "This is the negative of the gradient, the direction in which J falls. A loss that an "
            "optimiser makes small has a minus; the estimate that is asked for here points uphill.",
            "02_policy_gradient#C17",
        ),
        Misconception(
            "ignores gamma",
            ignores_gamma,
            "R(tau) is summed without discounting. In R(tau) the reward of step t weighs gamma^t.",
            "02_policy_gradient#C21",
        ),
        Misconception(
            "rewards-to-go instead of the whole return",
            rewards_to_go,
            "You weigh each step with the rewards from it on: that is REINFORCE-2, right in the "
            "mean and the next question. Equation (3) weighs every step with the same R(tau).",
            "02_policy_gradient#C21",
        ),
        Misconception(
            "immediate reward only",
            immediate_reward,
            "Each score is weighed with its own step's reward alone. Then no action is credited "
            "with what it leads to; which weight does every step share in (3)?",
            "02_policy_gradient#C21",
        ),
        Misconception(
            "gamma^t on the score as well",
            discounts_the_score_too,
            "The discount is applied twice: inside R(tau), where it belongs, and again in front of "
            "each step's score. Look at (3): nothing but R(tau) stands in front of the sum.",
            "02_policy_gradient#C20",
        ),
        Misconception(
            "pi instead of log pi",
            probability_instead_of_log,
            "You differentiate pi(a|s) itself. The episodes were already drawn with probability "
            "pi, so a sample mean needs the gradient of log pi: that is what the log-derivative "
            "trick is for.",
            "02_policy_gradient#C18",
        ),
        Misconception(
            "mean over steps instead of sum",
            mean_over_steps,
            "The scores are averaged over the steps, which divides the gradient by the episode's "
            "length. The log-probability of a trajectory is a sum over its steps.",
            "02_policy_gradient#C19",
        ),
        Misconception(
            "softmax applied twice",
            softmax_twice,
            "Probabilities went in where logits are expected, so the softmax was applied twice. "
            "theta already holds logits: one softmax turns them into the policy.",
            "02_policy_gradient#C19",
        ),
        Misconception(
            "softmax over the states",
            softmax_over_states,
            "The softmax runs down the columns, so that the probabilities of an action sum to 1 "
            "over the states. In which direction does a policy sum to 1?",
            "02_policy_gradient#C19",
        ),
        Misconception(
            "logit instead of log pi",
            no_normaliser,
            "You differentiate the logit theta[s, a] of the action. log pi(a|s) also holds the "
            "softmax's normaliser, which pushes the other actions down.",
            "02_policy_gradient#C16",
        ),
        Misconception(
            "scores another action than the one taken",
            scores_the_likeliest_action,
            "You score the action that the policy likes best, not the one that was taken in the "
            "episode. The return belongs to the actions that earned it.",
            "02_policy_gradient#C19",
        ),
        Misconception(
            "repeated visits counted once",
            repeated_visits_counted_once,
            "A state that the episode visits twice is counted once. Adding with a list of indices "
            "writes each place only once, even where an index comes up again.",
            "02_policy_gradient#C19",
        ),
        Misconception(
            "later visits overwrite earlier ones",
            later_visits_overwrite,
            "Where the episode comes back to a state, the later visit replaces the earlier one. "
            "Every step adds its own term.",
            "02_policy_gradient#C19",
        ),
        Misconception(
            "rewards-to-go without gamma^t",
            rewards_to_go_without_gamma_t,
            "You weigh each step with the rewards from it on, counted from that step: that is the "
            "next question, without its gamma^t. Equation (3) weighs every step with the same "
            "R(tau).",
            "02_policy_gradient#C21",
        ),
        Misconception(
            "returns theta after a step",
            takes_the_step,
            "This is theta plus the gradient, a step already taken. Asked for is the gradient "
            "alone; how far to go is decided by whoever holds the learning rate.",
            "02_policy_gradient#C17",
        ),
        Misconception(
            "only the entry of the action taken",
            only_the_entry_of_the_action,
            "The entry of the action that was taken is right and the others of its row are left at "
            "0. Raising one logit lowers the probability of all other actions: the score of "
            "theta[s, b] is -pi(b|s) for them.",
            "02_policy_gradient#C16",
        ),
    ),
    accepted=(by_counting, by_backward, in_numpy, in_single_precision),
    tolerance=TOLERANCE,
)
