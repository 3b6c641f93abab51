"""hw3: the loss of a minibatch of PPO, with any smooth objective: its value and all gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, same_again, untouched
from course_lib.reference.answers.ppo_loss import ppo_loss


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    names = ("log_probs", "old_log_probs", "advantages", "values", "targets", "entropies")
    leaves = {name: torch.tensor(case[name], requires_grad=True) for name in names}
    # One operation away from the leaves, so that changing an input in place shows as a change.
    inputs = {name: leaf * 1.0 for name, leaf in leaves.items()}

    # Not PPO's objective: any smooth one will do, and this one tells apart what goes in.
    def objective(*given: Any) -> torch.Tensor:
        wanted = inputs["log_probs"].shape
        shapes = [tuple(torch.as_tensor(each).shape) for each in given]
        if shapes != [tuple(wanted)] * 3:
            raise TypeError(
                f"objective was given shapes {', '.join(map(str, shapes))}: it takes log_probs, "
                f"old_log_probs and advantages, each {tuple(wanted)}"
            )
        log_probs, old_log_probs, advantages = given
        moved = log_probs - old_log_probs
        terms = advantages * torch.sin(moved) - 0.4 * moved**2 + 0.2 * old_log_probs * log_probs
        return terms.mean()

    weights = float(case["value_weight"]), float(case["entropy_weight"])
    loss = function(*inputs.values(), objective, *weights)
    gradients = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    if isinstance(loss, torch.Tensor) and loss.requires_grad and loss.numel() == 1:
        found = torch.autograd.grad(loss.sum(), list(leaves.values()), allow_unused=True)
        for name, gradient in zip(names, found, strict=True):
            gradients[name] = gradients[name] if gradient is None else gradient
    constants = [gradients[name] for name in ("old_log_probs", "advantages", "targets")]
    kept = all(untouched(x, case[name], graph=True) for name, x in inputs.items())
    again = same_again(lambda: function(*inputs.values(), objective, *weights), loss)
    return {
        "loss": loss,
        "gradient_of_log_probs": gradients["log_probs"],
        "gradient_of_values": gradients["values"],
        "gradient_of_entropies": gradients["entropies"],
        "gradient_of_constants": torch.stack(constants),
        "inputs_unchanged": kept,
        "second_call_agrees": again,
    }


NAMES = ("log_probs", "old_log_probs", "advantages", "targets", "entropies")


def public_cases() -> list[Case]:
    rows: list[tuple[list[float], ...]] = [
        ([-0.5, -1.0], [-0.8, -0.9], [3.0, 1.0], [2.0, 4.0], [0.6, 0.4]),
        (
            [-0.2, -1.7, -0.9, -2.5, -0.6],
            [-0.5, -1.1, -1.0, -1.6, -1.3],
            [2.0, -1.0, 4.5, 3.0, 0.5],
            [1.8, -0.4, 2.6, 0.9, 3.1],
            [0.9, 0.3, 0.65, 0.5, 1.05],
        ),
        (
            [-1.4, -0.3, -0.8],
            [-0.6, -0.9, -1.5],
            [-2.2, -0.7, -0.4],
            [-1.0, 0.2, 2.5],
            [0.7, 0.2, 0.45],
        ),
    ]
    columns = [[1.0, 2.0], [0.7, 1.2, -0.5, 0.6, 1.9], [0.4, 0.9, -0.3]]
    weights = [(0.5, 0.1), (0.8, 0.25), (1.5, 0.0)]
    return [
        {
            **{name: np.array(numbers) for name, numbers in zip(NAMES, row, strict=True)},
            "values": np.array(column)[:, None],
            "value_weight": value_weight,
            "entropy_weight": entropy_weight,
        }
        for row, column, (value_weight, entropy_weight) in zip(rows, columns, weights, strict=True)
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for size in rng.choice(np.arange(3, 13), size=4, replace=False):
        old = -rng.uniform(0.3, 2.5, size=size)
        # Far enough from mean 0 and spread 1 to see which of the two was made so.
        scores = rng.normal(size=size)
        scores = (scores - scores.mean()) / scores.std()
        middle, spread = rng.uniform(0.5, 1.5) * rng.choice([-1, 1]), rng.uniform(1.6, 3.0)
        cases.append(
            {
                "log_probs": np.minimum(old + rng.uniform(-0.8, 0.8, size=size), -0.02),
                "old_log_probs": old,
                "advantages": middle + spread * scores,
                "values": rng.normal(size=(size, 1)),
                "targets": rng.uniform(0.5, 1.0) + 1.5 * rng.normal(size=size),
                "entropies": rng.uniform(0.2, 1.1, size=size),
                "value_weight": float(rng.uniform(0.6, 0.9)),
                "entropy_weight": float(rng.uniform(0.1, 0.4)),
            }
        )
    cases[-1]["entropy_weight"] = 0.0
    return cases


# Right by other means.


def as_programs_have_it(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    values: Tensor,
    targets: Tensor,
    entropies: Tensor,
    objective: Any,
    vf_coef: float,
    ent_coef: float,
) -> Tensor:
    with torch.no_grad():
        advantages = (advantages - advantages.mean()) / (advantages.std(unbiased=True) + 1e-8)
    pg_loss = -objective(log_probs, old_log_probs.detach(), advantages)
    v_loss = ((values.view(-1) - targets.detach()) ** 2).mean()
    return pg_loss - ent_coef * entropies.mean() + v_loss * vf_coef


def with_torch_losses(*given: Any) -> Tensor:
    new, old, advantages, values, targets, entropies, objective, critic, bonus = given
    old, advantages, targets = (x.detach() for x in (old, advantages, targets))
    variance, mean = torch.var_mean(advantages)
    loss = critic * functional.mse_loss(values, targets.unsqueeze(-1))
    loss = loss - objective(new, old, (advantages - mean) * variance.rsqrt())
    if bonus > 0:
        loss = loss - bonus * entropies.mean()
    return loss


def one_by_one(*given: Any) -> Any:
    new, old, advantages, values, targets, entropies, objective, critic, bonus = given
    size = len(advantages)
    numbers = [x.item() for x in advantages]
    mean = sum(numbers) / size
    spread = (sum((x - mean) ** 2 for x in numbers) / (size - 1)) ** 0.5
    loss = -objective(new, old.detach(), torch.tensor([(x - mean) / spread for x in numbers]))
    for i in range(size):
        loss = loss + critic * (values[i, 0] - targets[i].item()) ** 2 / size
        loss = loss - bonus * entropies[i] / size
    return loss


def with_numpy(*given: Any) -> Tensor:
    new, old, advantages, values, targets, entropies, objective, critic, bonus = given
    scores = advantages.detach().numpy()
    scores = torch.from_numpy((scores - np.mean(scores)) / (np.std(scores, ddof=1) + 1e-5))
    off = values.flatten() - torch.from_numpy(targets.detach().numpy().copy())
    ones = torch.ones_like(off) / off.numel()
    both = critic * torch.dot(off, off) / off.numel() - bonus * (ones @ entropies)
    return torch.neg(objective(new, old.data, scores)) + both


def in_single_precision(*given: Any) -> Tensor:
    new, old, advantages, values, targets, entropies, objective, critic, bonus = given
    scores = advantages.detach().float()
    scores = (scores - scores.mean()) / (scores.std() + 1e-8)
    error = functional.mse_loss(values[:, 0].float(), targets.detach().float())
    gain = objective(new.float(), old.detach().float(), scores)
    return -gain + critic * error - bonus * entropies.float().mean()


# What students write instead.

slip = partial(slip_of, ppo_loss, see="07_ppo#C87")

CHECK = Check(
    title="The loss of PPO",
    reference=ppo_loss,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "changes the caller's advantages",
            "The loss is right, but the advantages of the caller were overwritten on the way. The "
            "same steps come again in the next epoch: write to memory of your own.",
            before="advantages.sub_(advantages.mean())",
        ),
        slip(
            "values broadcast against targets",
            "The values are (M, 1) and the targets (M,), so their difference is (M, M): every "
            "value is compared with every target. Bring both to one shape first.",
            see="08_advantages#C72",
            errors="values - goals",
        ),
        slip(
            "objective with the wrong sign",
            "The objective is added to the loss, so descent makes it small. It is to be made "
            "large.",
            gain="-objective(log_probs, old, normalised)",
        ),
        slip(
            "error of the values with the wrong sign",
            "The squared error of the values is subtracted, so descent drives the critic away from "
            "its targets. Should that error become small or large?",
            see="08_advantages#C72",
            value_loss="-errors.square().mean()",
        ),
        slip(
            "entropy with the wrong sign",
            "The entropy is added to the loss, so descent makes the policy sure of itself as fast "
            "as it can. The term is there to keep it exploring.",
            bonus="-entropies.mean()",
        ),
        slip(
            "all signs turned round",
            "All three terms have the wrong sign: this is what one would climb. Asked for is what "
            "an optimiser makes small.",
            answer="-answer",
        ),
        slip(
            "advantages not normalised",
            "The objective gets the advantages as they come. Here they are first shifted to mean 0 "
            "and scaled to standard deviation 1, those of this minibatch.",
            see="07_ppo#C69",
            normalised="fixed",
        ),
        slip(
            "standard deviation with M",
            "The advantages are divided by a standard deviation that has M below the sum (as "
            "NumPy's std does, or correction=0). Asked for is the one with M - 1.",
            normalised="(fixed - fixed.mean()) / (fixed.std(correction=0) + 1e-8)",
        ),
        slip(
            "advantages only shifted",
            "The mean of the advantages is subtracted, but they keep their scale. Divide by their "
            "standard deviation as well.",
            normalised="fixed - fixed.mean()",
        ),
        slip(
            "advantages only scaled",
            "The advantages are divided by their standard deviation, but they keep their mean. "
            "Subtract it first.",
            normalised="fixed / (fixed.std() + 1e-8)",
        ),
        slip(
            "divided by the variance",
            "The advantages are divided by their variance. What makes the spread 1 is its square "
            "root, the standard deviation.",
            normalised="(fixed - fixed.mean()) / (fixed.var() + 1e-8)",
        ),
        slip(
            "the mean subtracted after the division",
            "The advantages are divided by their standard deviation before the mean is "
            "subtracted, and the mean is still that of before. Are there brackets missing?",
            normalised="fixed - fixed.mean() / (fixed.std() + 1e-8)",
        ),
        slip(
            "scaled by the largest",
            "The advantages are shifted and then divided by the largest of them in size. The "
            "standard deviation belongs there.",
            normalised="(fixed - fixed.mean()) / ((fixed - fixed.mean()).abs().max() + 1e-8)",
        ),
        slip(
            "from 0 to 1",
            "The smallest advantage becomes 0 and the largest 1, so nothing is ever discouraged. "
            "Subtract the mean and divide by the standard deviation.",
            normalised="(fixed - fixed.min()) / (fixed.max() - fixed.min() + 1e-8)",
        ),
        slip(
            "divided by their length",
            "The advantages are divided by their length as a vector (normalize), which neither "
            "makes their mean 0 nor their standard deviation 1.",
            normalised="fixed / fixed.norm()",
        ),
        slip(
            "advantages worked out anew",
            "The objective gets targets minus values in the place of the advantages. The values "
            "move with every step; the advantages were fixed with the batch, and are given.",
            see="08_advantages#C72",
            fixed="targets.detach() - values.detach().squeeze(-1)",
        ),
        slip(
            "mean and spread of the targets",
            "The advantages are shifted and scaled by mean and standard deviation of the targets. "
            "Take those of the advantages themselves.",
            normalised="(fixed - targets.detach().mean()) / (targets.detach().std() + 1e-8)",
        ),
        slip(
            "targets normalised as well",
            "The targets were shifted and scaled as the advantages are. The critic is to say what "
            "a state is worth, in the units of the reward: take the targets as they come.",
            see="08_advantages#C72",
            goals="""
                goals = targets.detach()
                goals = (goals - goals.mean()) / (goals.std() + 1e-8)
            """,
        ),
        slip(
            "half the squares",
            "The error of the values has a factor of one half in front. Here it is the plain mean "
            "of the squares: value_weight is there to weigh it.",
            value_loss="0.5 * errors.square().mean()",
        ),
        slip(
            "squares summed",
            "The squared errors of the values are summed over the minibatch. A mean does not grow "
            "with its size.",
            value_loss="errors.square().sum()",
        ),
        slip(
            "entropies summed",
            "The entropies are summed over the minibatch. A mean does not grow with its size.",
            bonus="entropies.sum()",
        ),
        slip(
            "root of the mean square",
            "The error of the values has a square root around it. Asked for is the mean of the "
            "squares itself.",
            value_loss="errors.square().mean().sqrt()",
        ),
        slip(
            "square of the mean error",
            "The errors of the values are averaged before they are squared, so that too high and "
            "too low cancel. Square first, then take the mean.",
            see="08_advantages#C72",
            value_loss="errors.mean().square()",
        ),
        slip(
            "absolute errors",
            "The errors of the values count with their size. Asked for are their squares.",
            value_loss="errors.abs().mean()",
        ),
        slip(
            "Huber's loss",
            "The error of the values is Huber's (smooth_l1), which is straight beyond 1. Asked for "
            "is the mean of the squares.",
            value_loss="torch.nn.functional.smooth_l1_loss(errors, torch.zeros_like(errors))",
        ),
        slip(
            "weights swapped",
            "value_weight multiplies the entropy, and entropy_weight the error of the values. "
            "Which is which?",
            answer="-gain + entropy_weight * value_loss - value_weight * bonus",
        ),
        slip(
            "value_weight on the objective too",
            "value_weight multiplies the objective as well. It weighs the error of the values "
            "alone.",
            answer="value_weight * (value_loss - gain) - entropy_weight * bonus",
        ),
        slip(
            "value_weight on all of it",
            "value_weight multiplies the entropy as well. It weighs the error of the values alone: "
            "is a bracket in the wrong place?",
            answer="-gain + value_weight * (value_loss - entropy_weight * bonus)",
        ),
        slip(
            "value_weight ignored",
            "value_weight has no effect. It says how much the critic's error counts beside the "
            "objective.",
            value_loss="errors.square().mean() / value_weight",
        ),
        slip(
            "entropy_weight ignored",
            "entropy_weight has no effect, and the entropy counts in full. It is meant to be a "
            "small nudge.",
            answer="-gain + value_weight * value_loss - bonus",
        ),
        slip(
            "no error of the values",
            "The error of the values is missing, so the critic learns nothing.",
            see="08_advantages#C72",
            value_loss="0.0 * errors.square().mean()",
        ),
        slip(
            "no entropy",
            "The entropy is missing from the loss. Nothing then keeps the policy exploring.",
            bonus="0.0 * entropies.mean()",
        ),
        slip(
            "values against advantages",
            "The values are compared with the advantages. A critic learns what a state is worth, "
            "which is what `targets` holds.",
            see="08_advantages#C72",
            goals="fixed",
        ),
        slip(
            "values against normalised advantages",
            "The values are compared with the normalised advantages. A critic learns what a state "
            "is worth, which is what `targets` holds.",
            see="08_advantages#C72",
            goals="normalised",
        ),
        slip(
            "values against targets plus advantages",
            "The advantages are added to the targets. The targets are advantages plus old values "
            "already: take them as they come.",
            see="08_advantages#C72",
            goals="targets.detach() + fixed",
        ),
        slip(
            "values detached",
            "The number is right, but no gradient reaches the values, so the critic never learns. "
            "What is held fixed in its error are the targets.",
            see="08_advantages#C72",
            errors="values.detach().squeeze(-1) - goals",
        ),
        slip(
            "values detached instead of targets",
            "The number is right, but the gradient flows into the targets and none into the "
            "values. The critic moves towards its targets, not the other way round.",
            see="08_advantages#C72",
            goals="targets",
            errors="values.detach().squeeze(-1) - goals",
        ),
        slip(
            "entropies detached",
            "The number is right, but no gradient reaches the entropies, so the bonus moves "
            "nothing (look for detach, item, no_grad or a float made from a tensor).",
            bonus="entropies.detach().mean()",
        ),
        slip(
            "log_probs detached",
            "The number is right, but no gradient reaches log_probs, so the policy never learns "
            "(look for detach, item or no_grad). Only what was fixed with the batch is constant.",
            gain="objective(log_probs.detach(), old, normalised)",
        ),
        slip(
            "no gradient",
            "The number is right, but it has lost its graph, so no optimiser can learn from it "
            "(look for no_grad, detach, item or a new tensor made from old numbers).",
            answer="answer.detach()",
        ),
        slip(
            "nothing is held constant",
            "The loss is right, but gradients flow into what was fixed with the batch: "
            "old_log_probs, advantages and targets. Detach them.",
            see="07_ppo#C65",
            fixed="advantages",
            old="old_log_probs",
            goals="targets",
        ),
        slip(
            "old_log_probs not held constant",
            "The loss is right, but a gradient flows into old_log_probs. They are those of the "
            "policy that collected the batch: fixed numbers.",
            see="07_ppo#C65",
            old="old_log_probs",
        ),
        slip(
            "advantages not held constant",
            "The loss is right, but a gradient flows into the advantages. Where they come with a "
            "graph, it would push the critic to praise whatever was done: detach them.",
            see="08_advantages#C72",
            fixed="advantages",
        ),
        slip(
            "targets not held constant",
            "The loss is right, but a gradient flows into the targets, and would move them towards "
            "the values. They were fixed with the batch: detach them.",
            see="08_advantages#C72",
            goals="targets",
        ),
        slip(
            "old and new swapped",
            "The objective gets the old log-probabilities in the place of the new ones. Its first "
            "argument is the policy that moves.",
            see="07_ppo#C62",
            gain="objective(old, log_probs, normalised)",
        ),
        slip(
            "probabilities instead of logarithms",
            "The objective gets probabilities. It asks for log-probabilities, old and new.",
            see="07_ppo#C62",
            gain="objective(log_probs.exp(), old.exp(), normalised)",
        ),
        slip(
            "current policy as the old one",
            "The objective gets the current log-probabilities as the old ones too, so every ratio "
            "is 1. The old ones are those of the policy that collected the batch.",
            see="07_ppo#C65",
            old="log_probs.detach()",
        ),
        slip(
            "own objective instead of the given one",
            "The objective that came in has no effect: this is the mean of ratio times advantage. "
            "Call `objective` with the three arguments it asks for.",
            gain="(torch.exp(log_probs - old) * normalised).mean()",
        ),
        slip(
            "own clipped objective instead of the given one",
            "The objective that came in has no effect: this is the clipped one with epsilon = 0.2. "
            "Call `objective` with the three arguments it asks for.",
            gain="""
                ratio = torch.exp(log_probs - old)
                clipped = ratio.clamp(0.8, 1.2)
                gain = torch.minimum(ratio * normalised, clipped * normalised).mean()
            """,
        ),
        slip(
            "log-probability instead of the given objective",
            "The objective that came in has no effect: this is the mean of log pi times advantage. "
            "Call `objective` with the three arguments it asks for.",
            gain="(log_probs * normalised).mean()",
        ),
        slip(
            "entropy from the actions taken",
            "The bonus is the mean of -log pi of the actions that were taken, and `entropies` has "
            "no effect. That is a noisy stand-in: the true entropies are given.",
            bonus="-log_probs.mean()",
        ),
    ),
    parts=(
        Property("the gradient of the objective", 2, observations=("gradient_of_log_probs",)),
        Property("the gradient of the values' error", 2, observations=("gradient_of_values",)),
        Property("the gradient of the entropy", observations=("gradient_of_entropies",)),
        Property("the loss", observations=("loss",)),
        Property(
            "no gradient into what is fixed",
            observations=("gradient_of_constants",),
            beside=True,
        ),
    ),
    accepted=(
        as_programs_have_it,
        with_torch_losses,
        one_by_one,
        with_numpy,
        in_single_precision,
    ),
)
