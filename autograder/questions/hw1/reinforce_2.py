"""hw1: the gradient estimate of the note's equation (6) from one episode."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Misconception
from autograder.questions.tolerance import TOLERANCE
from autograder.student.wire import Arrays
from course_lib.reference.answers.reinforce_2 import reinforce_2


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    theta = torch.tensor(case["theta"])
    states, actions = torch.tensor(case["states"]), torch.tensor(case["actions"])
    returns = torch.tensor(case["returns"])
    gradient = function(theta, states, actions, returns, float(case["gamma"]))
    kept = all(
        np.array_equal(tensor.detach().numpy(), case[name])
        for name, tensor in (("theta", theta), ("returns", returns))
    )
    return {"gradient": gradient, "inputs_unchanged": kept}


def public_cases() -> list[Case]:
    return [
        {
            "theta": np.array([[0.0, 0.0], [0.0, 0.0]]),
            "states": np.array([0, 1]),
            "actions": np.array([1, 0]),
            "returns": np.array([3.0, 4.0]),
            "gamma": 0.5,
        },
        {
            "theta": np.array([[0.4, -0.2, 0.1], [-1.0, 0.5, 0.3], [0.8, 0.0, -0.6]]),
            "states": np.array([0, 2, 0, 0, 1]),
            "actions": np.array([1, 0, 1, 2, 0]),
            "returns": np.array([2.0, -1.5, 0.7, 3.0, 1.2]),
            "gamma": 0.9,
        },
        {
            "theta": np.array([[0.3, -0.3], [1.2, 0.4]]),
            "states": np.array([1, 1, 0]),
            "actions": np.array([1, 1, 1]),
            "returns": np.array([-1.0, 0.5, -2.0]),
            "gamma": 0.7,
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
                "returns": 2 * rng.normal(size=length),
                "gamma": float(rng.uniform(0.6, 0.98)),
            }
        )
    return cases


# What students write instead.


def _estimate(theta: Tensor, scores: Tensor, weights: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad((weights * scores).sum(), theta)
    return gradient


def _leaf(theta: Tensor) -> Tensor:
    return theta.detach().clone().requires_grad_()


def _powers(gamma: float, length: int) -> Tensor:
    return gamma ** torch.arange(length, dtype=torch.float64)


def _log_probs(theta: Tensor, states: Tensor, actions: Tensor) -> Tensor:
    return torch.log_softmax(theta, dim=-1)[states, actions]


def drops_gamma_t(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    return _estimate(theta, _log_probs(theta, states, actions), returns)


def wrong_sign(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    weights = -_powers(gamma, len(returns)) * returns
    return _estimate(theta, _log_probs(theta, states, actions), weights)


def first_return_everywhere(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    weights = returns[0].expand(len(returns))
    return _estimate(theta, _log_probs(theta, states, actions), weights)


def counts_from_one(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    weights = gamma * _powers(gamma, len(returns)) * returns
    return _estimate(theta, _log_probs(theta, states, actions), weights)


def discounts_back_to_front(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    weights = _powers(gamma, len(returns)).flip(0) * returns
    return _estimate(theta, _log_probs(theta, states, actions), weights)


def discounts_once_only(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    return _estimate(theta, _log_probs(theta, states, actions), gamma * returns)


def sums_returns_again(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    weights = (_powers(gamma, len(returns)) * returns).flip(0).cumsum(0).flip(0)
    return _estimate(theta, _log_probs(theta, states, actions), weights)


def off_by_one(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    later = torch.cat([returns[1:], torch.zeros(1, dtype=returns.dtype)])
    weights = _powers(gamma, len(returns)) * later
    return _estimate(theta, _log_probs(theta, states, actions), weights)


def mean_over_steps(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    weights = _powers(gamma, len(returns)) * returns / len(returns)
    return _estimate(theta, _log_probs(theta, states, actions), weights)


def probability_instead_of_log(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    probabilities = torch.softmax(theta, dim=-1)[states, actions]
    return _estimate(theta, probabilities, _powers(gamma, len(returns)) * returns)


def softmax_twice(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    scores = _log_probs(torch.softmax(theta, dim=-1), states, actions)
    return _estimate(theta, scores, _powers(gamma, len(returns)) * returns)


def scores_the_likeliest_action(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    scores = _log_probs(theta, states, theta.argmax(dim=-1)[states])
    return _estimate(theta, scores, _powers(gamma, len(returns)) * returns)


def repeated_visits_overwrite(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    gradient = torch.zeros_like(theta)
    policy = torch.softmax(theta, dim=-1)
    for t in range(len(returns)):
        score = -policy[states[t]]
        score[actions[t]] += 1.0
        gradient[states[t]] = gamma**t * returns[t] * score
    return gradient


def outer_product(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    weights = _powers(gamma, len(returns)) * returns
    scores = _log_probs(theta, states, actions)
    (gradient,) = torch.autograd.grad((scores[:, None] * weights[None, :]).sum(), theta)
    return gradient


def only_the_entry_of_the_action(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    gradient = torch.zeros_like(theta)
    scores = 1 - torch.softmax(theta, dim=-1)[states, actions]
    return gradient.index_put(
        (states, actions), _powers(gamma, len(returns)) * returns * scores, accumulate=True
    )


def softmax_over_states(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    scores = torch.log_softmax(theta, dim=0)[states, actions]
    return _estimate(theta, scores, _powers(gamma, len(returns)) * returns)


def normalises(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    theta = _leaf(theta)
    off = returns - returns.mean()
    spread = (off.square().sum() / (len(off) - 1)).sqrt()  # torch's std, less its warning
    weights = _powers(gamma, len(returns)) * off / (spread + 1e-8)
    return _estimate(theta, _log_probs(theta, states, actions), weights)


def changes_returns(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    returns *= _powers(gamma, len(returns))
    theta = _leaf(theta)
    return _estimate(theta, _log_probs(theta, states, actions), returns)


# Right by other means.


def step_by_step(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Tensor:
    total = torch.zeros_like(theta)
    for t in range(len(returns)):
        leaf = theta.clone().requires_grad_()
        torch.log(torch.softmax(leaf[states[t]], dim=0)[actions[t]]).backward()
        assert leaf.grad is not None
        total += gamma**t * returns[t] * leaf.grad
    return total


def in_numpy(theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float) -> Any:
    logits, s, a = theta.numpy(), states.numpy(), actions.numpy()
    weights = gamma ** np.arange(len(s)) * returns.numpy()
    policy = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    one_hot = np.eye(logits.shape[1])[a]
    gradient = np.zeros_like(logits)
    np.add.at(gradient, s, weights[:, None] * (one_hot - policy[s]))
    return gradient


def with_cross_entropy(
    theta: Tensor, states: Tensor, actions: Tensor, returns: Tensor, gamma: float
) -> Any:
    theta = theta.requires_grad_()
    discounts = gamma ** torch.arange(len(returns))  # single precision
    loss = torch.nn.functional.cross_entropy(theta[states], actions, reduction="none")
    (loss * discounts * returns).sum().backward()
    assert theta.grad is not None
    return -theta.grad


CHECK = Check(
    title="Gradient with rewards-to-go (REINFORCE-2)",
    reference=reinforce_2,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        Misconception(
            "drops gamma^t",
            drops_gamma_t,
            "The discount gamma^t in front of the score is missing. Much code leaves it out, but "
            "then late steps count too much, and the sum is no longer the gradient of the "
            "discounted J: this course keeps it.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "wrong sign",
            wrong_sign,
            "This is the negative of the gradient, the direction in which J falls. A loss that an "
            "optimiser makes small has a minus; the estimate that is asked for here points uphill.",
            "02_policy_gradient#C17",
        ),
        Misconception(
            "return of step 0 on every step",
            first_return_everywhere,
            "Every step is weighed with returns[0], the return of the whole episode: that is "
            "REINFORCE-1 again. Here each step is weighed with what comes from it on.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "discount counted from 1",
            counts_from_one,
            "The whole gradient is one factor of gamma too small: time starts at t = 0, so the "
            "first step is not discounted.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "discount runs backwards",
            discounts_back_to_front,
            "The last step has weight 1 and the first the highest power of gamma. Which step of "
            "the episode lies farthest from the start, where J is measured?",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "one gamma for every step",
            discounts_once_only,
            "Each step is multiplied by gamma itself, the same for all. The weight of step t is a "
            "power of gamma that grows with t.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "sums the returns again",
            sums_returns_again,
            "The returns-to-go that came in were treated as rewards and summed once more. "
            "returns[t] already holds everything from step t on.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "off by one step",
            off_by_one,
            "Step t is weighed with the return of step t + 1, so the reward of the action itself "
            "is lost. Try an episode of one step: what should come out?",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "mean over steps instead of sum",
            mean_over_steps,
            "The terms are averaged over the steps, which divides the gradient by the episode's "
            "length: long episodes would count less. Equation (6) has a sum over time.",
            "02_policy_gradient#C21",
        ),
        Misconception(
            "pi instead of log pi",
            probability_instead_of_log,
            "You differentiate pi(a|s) itself. The episodes were already drawn with probability "
            "pi, so a sample mean needs the gradient of log pi.",
            "02_policy_gradient#C18",
        ),
        Misconception(
            "softmax applied twice",
            softmax_twice,
            "Probabilities went in where logits are expected, so the softmax was applied twice. "
            "theta already holds logits: one softmax turns them into the policy.",
            "02_policy_gradient#C19",
        ),
        Misconception(
            "scores another action than the one taken",
            scores_the_likeliest_action,
            "You score the action that the policy likes best, not the one that was taken in the "
            "episode. The return belongs to the actions that earned it.",
            "02_policy_gradient#C19",
        ),
        Misconception(
            "later visits overwrite earlier ones",
            repeated_visits_overwrite,
            "Where the episode comes back to a state, the later visit replaces the earlier one. "
            "Every step adds its own term.",
            "02_policy_gradient#C21",
        ),
        Misconception(
            "every score with every return",
            outer_product,
            "Each score is multiplied with every step's return, (T, T) products in all. Check the "
            "shapes: step t's score goes with step t's return only.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "only the entry of the action taken",
            only_the_entry_of_the_action,
            "The entry of the action that was taken is right and the others of its row are left at "
            "0. Raising one logit lowers the probability of all other actions: the score of "
            "theta[s, b] is -pi(b|s) for them.",
            "02_policy_gradient#C16",
        ),
        Misconception(
            "softmax over the states",
            softmax_over_states,
            "The softmax runs down the columns, so that the probabilities of an action sum to 1 "
            "over the states. In which direction does a policy sum to 1?",
            "02_policy_gradient#C19",
        ),
        Misconception(
            "normalises the returns",
            normalises,
            "The returns were shifted and scaled to mean 0 and spread 1 (a single step even gives "
            "nan). That is a later trick, and it changes the gradient; equation (6) takes them as "
            "they are.",
            "02_policy_gradient#C23",
        ),
        Misconception(
            "changes the caller's returns",
            changes_returns,
            "The gradient is right, but the discount was multiplied into the caller's returns: "
            "whoever uses them next gets other numbers. Write the product to a tensor of its own.",
            "02_policy_gradient#C23",
        ),
    ),
    accepted=(step_by_step, in_numpy, with_cross_entropy),
    tolerance=TOLERANCE,
)
