"""hw3: epochs of minibatch steps with any of torch's optimisers, and a gradient that is cut."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.ppo_epochs import ppo_epochs


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    inputs, targets = torch.tensor(case["inputs"]), torch.tensor(case["targets"])
    orders, size, max_norm = torch.tensor(case["orders"]), int(case["size"]), case["max_norm"]
    rate, momentum = float(case["learning_rate"]), float(case["momentum"])

    def learn() -> dict[str, Any]:
        """A small network with an optimiser of its own, trained from the start."""
        inner = torch.tensor(case["inner"], requires_grad=True)
        outer = torch.tensor(case["outer"], requires_grad=True)
        if case["left"].any():  # gradients of before, still in .grad
            inner.grad, outer.grad = torch.tensor(case["left"][:-1]), torch.tensor(case["left"][-1])
        groups: list[dict[str, Any]] = [{"params": [inner, outer]}]
        if case["two_groups"]:
            groups = [{"params": [inner]}, {"params": [outer], "lr": 0.5 * rate}]
        optimiser: torch.optim.Optimizer = torch.optim.SGD(groups, lr=rate, momentum=momentum)
        if case["adam"]:
            optimiser = torch.optim.Adam(groups, lr=rate)
        rates = [group["lr"] for group in optimiser.param_groups]
        asked: list[dict[str, Any]] = []  # the minibatches, in their order

        def loss_on(rows: Any) -> torch.Tensor:
            rows = torch.as_tensor(rows)
            if rows.ndim != 1 or rows.dtype.is_floating_point or rows.dtype == torch.bool:
                raise TypeError(
                    f"loss_on was given {rows.dtype} of shape {tuple(rows.shape)}: it takes the "
                    "rows of one minibatch, (n,) whole numbers"
                )
            guesses = torch.tanh(inputs[rows] @ inner) @ outer
            loss = ((guesses - targets[rows]) ** 2).mean()
            made = {"loss": loss.item(), "rows": rows.tolist(), "used": False}
            asked.append(made)
            if loss.requires_grad:
                loss.register_hook(lambda _: made.update(used=True))
            return loss

        mean = function(loss_on, optimiser, orders, size, float(max_norm))
        graph = isinstance(mean, torch.Tensor) and mean.grad_fn is not None
        mean = frozen(float("nan") if mean is None else mean)
        kept = untouched(orders, case["orders"])
        used = [made for made in asked if made["used"]]  # a look at a loss alone moves nothing
        losses = sum(made["loss"] for made in used) / len(used) if used else float("nan")
        return {
            "parameters": frozen(torch.cat([inner.flatten(), outer])),
            "rows": np.array([row for made in used for row in made["rows"]], dtype=float),
            "sizes": np.array([len(made["rows"]) for made in used], dtype=float),
            "returned_less_mean_loss": mean - losses,
            "without_a_graph": not graph,
            "inputs_unchanged": kept and rates == [g["lr"] for g in optimiser.param_groups],
        }

    seen = learn()
    again = same_again(lambda: learn()["parameters"], seen["parameters"])
    return {**seen, "second_call_agrees": again}


NEVER = 500.0  # more than the length of any gradient here, and than its square


def public_cases() -> list[Case]:
    orders = [
        [[2, 0, 3, 1]],
        [[3, 0, 1, 2], [1, 2, 3, 0]],
        [[2, 0, 1], [1, 2, 0]],
        [[1, 4, 0, 3, 2], [3, 2, 4, 1, 0]],
        [[5, 1, 2, 0, 4, 3], [0, 2, 3, 5, 1, 4]],
        [[1, 4, 3, 0, 5, 2], [5, 2, 4, 3, 1, 0]],
    ]
    inputs = [[0.9, -0.4], [-1.2, 0.8], [0.3, 1.5], [-0.7, -1.1], [1.6, 0.2], [0.5, -1.7]]
    targets = [2.5, -1.8, 3.2, -2.9, 1.4, -0.6]
    return [
        {
            "inputs": np.array(inputs[: len(order[0])]),
            "targets": np.array(targets[: len(order[0])]),
            "inner": np.array([[0.6, -0.3, 0.2], [0.4, 0.5, -0.7]]),
            "outer": np.array([0.5, -0.8, 0.3]),
            "orders": np.array(order),
            "size": size,
            "max_norm": max_norm,
            "adam": adam,
            "momentum": momentum,
            "learning_rate": 0.05,
            "two_groups": two_groups,
            "left": np.full((3, 3), left),
        }
        for order, size, max_norm, adam, momentum, two_groups, left in zip(
            orders,
            (4, 2, 2, 3, 3, 3),
            (NEVER, NEVER, NEVER, 0.7, 3.0, NEVER),
            (False, False, True, True, False, False),
            (0.0, 0.9, 0.0, 0.0, 0.5, 0.0),
            (False, True, False, False, True, False),
            (0.0, 0.0, 0.0, 0.0, 0.0, 0.8),
            strict=True,
        )
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    # One minibatch; several, with SGD and with Adam; a gradient that is cut; one left from before.
    for kind, (adam, two_groups, longest) in enumerate(
        [
            (False, False, NEVER),
            (False, True, NEVER),
            (True, False, NEVER),
            (True, False, rng.uniform(0.3, 0.6)),
            (False, True, rng.uniform(1.0, 1.5)),
            (False, False, NEVER),
        ]
    ):
        size, features, hidden = (int(n) for n in rng.integers([2, 2, 2], [4, 4, 5]))
        steps, epochs = 6 + int(rng.integers(1, size)), 2  # not `size` of them
        if kind == 0:
            size, epochs = steps, 1
        if kind in (1, 5):
            steps -= steps % size
        inputs = rng.uniform(0.6, 1.4, size=(steps, features)) * rng.choice([-1, 1], size=features)
        cases.append(
            {
                "inputs": inputs,
                "targets": rng.uniform(2.2, 3.2, size=steps) * rng.choice([-1, 1]),
                "inner": rng.uniform(0.2, 0.8, size=(features, hidden))
                * np.sign(inputs[0])[:, None],
                "outer": rng.uniform(0.3, 0.7, size=hidden) * rng.choice([-1, 1], size=hidden),
                "orders": np.array([rng.permutation(steps) for _ in range(epochs)]),
                "size": size,
                "max_norm": float(longest),
                "adam": adam,
                "momentum": 0.0 if adam or kind in (0, 5) else float(rng.uniform(0.4, 0.8)),
                "learning_rate": float(rng.uniform(0.02, 0.04)),
                "two_groups": two_groups,
                "left": rng.uniform(0.5, 1.0, size=(features + 1, hidden)) * (kind == 5),
            }
        )
    return cases


# Right by other means.


def as_programs_have_it(
    loss_on: Any, optimiser: torch.optim.Optimizer, orders: Any, size: int, max_norm: float
) -> float:
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    losses = []
    for epoch in range(len(orders)):
        for start in range(0, orders.shape[1], size):
            loss = loss_on(orders[epoch, start : start + size])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, max_norm)
            optimiser.step()
            losses.append(loss.item())
    return float(np.mean(losses))


def group_by_group(loss_on: Any, optimiser: Any, orders: Any, size: int, max_norm: float) -> Any:
    total, count = torch.zeros(()), 0
    for rows in [rows for order in orders for rows in torch.split(order, size)]:
        optimiser.zero_grad(set_to_none=False)
        loss = loss_on(rows)
        loss.backward()
        squares = 0.0
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                squares += parameter.grad.pow(2).sum().item()
        if squares**0.5 > max_norm:
            for group in optimiser.param_groups:
                for parameter in group["params"]:
                    parameter.grad *= max_norm / squares**0.5
        optimiser.step()
        total, count = total + loss.detach(), count + 1
    return total / count


def with_lists_and_a_sampler(*given: Any) -> Any:
    loss_on, optimiser, orders, size, max_norm = given
    parameters: list[torch.Tensor] = []
    for group in optimiser.param_groups:
        parameters.extend(group["params"])
    means = []
    for order in orders.tolist():
        kept: list[float] = []
        for rows in BatchSampler(order, size, drop_last=False):
            for parameter in parameters:
                parameter.grad = None
            loss = loss_on(rows)
            loss.backward()
            gradients: Any = [parameter.grad for parameter in parameters]
            norms = torch.stack([gradient.norm() for gradient in gradients])
            coefficient = (max_norm / (norms.norm() + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(coefficient)
            optimiser.step()
            kept.append(loss.item())
        means.append(sum(kept) / len(kept))
    return np.array(means).mean()


def with_the_loss_asked_for_twice(*given: Any) -> Any:
    loss_on, optimiser, orders, size, max_norm = given
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    seen = []
    for order in orders.numpy():
        for rows in np.split(order, range(size, len(order), size)):
            with torch.no_grad():
                seen.append(loss_on(rows))
            optimiser.zero_grad()
            loss_on(rows).backward()
            torch.nn.utils.clip_grad_norm_(parameters, max_norm, foreach=False)
            optimiser.step()
    return torch.stack(seen).mean()


# What students write instead.


slip = partial(slip_of, ppo_epochs, see="07_ppo#C65")

CHECK = Check(
    title="Epochs and minibatches",
    reference=ppo_epochs,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "gradients pile up",
            "Every step adds the gradients of all earlier minibatches again: .grad is never "
            "cleared. Each step needs the gradient of its own minibatch alone.",
            gradients="""
                gradients = [
                    gradient if parameter.grad is None else gradient + parameter.grad
                    for parameter, gradient in zip(
                        parameters, torch.autograd.grad(loss, parameters), strict=True
                    )
                ]
            """,
        ),
        slip(
            "gradients pile up within an epoch",
            "The gradients are cleared once an epoch, so each step adds those of the minibatches "
            "before it. Clear them for each minibatch.",
            before="begun = None",
            gradients="""
                gradients = torch.autograd.grad(loss, parameters)
                if begun is order:
                    pairs = zip(parameters, gradients, strict=True)
                    gradients = [parameter.grad + gradient for parameter, gradient in pairs]
                begun = order
            """,
        ),
        slip(
            "cleared only after a step",
            "The gradients are cleared after each step, and not before the first one: what was "
            "left in .grad before the call is added to the first minibatch's. When must they be "
            "zero?",
            gradients="""
                gradients = torch.autograd.grad(loss, parameters)
                if not losses and parameters[0].grad is not None:
                    pairs = zip(parameters, gradients, strict=True)
                    gradients = [parameter.grad + gradient for parameter, gradient in pairs]
            """,
        ),
        slip(
            "nothing moves",
            "The parameters never move. Is `step` called, and are the gradients still there when "
            "it is (not cleared between backward and step)?",
            cut="None",
        ),
        slip(
            "climbs",
            "The steps make the loss large. torch's optimisers descend on what was "
            "differentiated: leave its sign alone.",
            gradients="torch.autograd.grad(-loss, parameters)",
        ),
        slip(
            "never cut",
            "A long gradient is not cut. Is it cut after `backward` has filled .grad and before "
            "`step` uses it?",
            see="07_ppo#C69",
            factor="1.0",
        ),
        slip(
            "each number cut by itself",
            "Each number of the gradient is cut to at most max_norm in size, which changes its "
            "direction. Cut its length: multiply all numbers by the same factor.",
            see="07_ppo#C69",
            cut="gradient.clamp(-max_norm, max_norm)",
        ),
        slip(
            "each tensor cut by itself",
            "The gradient of each tensor is cut by itself. The length is that of all parameters "
            "together, and all are multiplied by one factor.",
            see="07_ppo#C69",
            cut="torch.clamp(max_norm / gradient.norm(), max=1.0) * gradient",
        ),
        slip(
            "each group cut by itself",
            "The gradient of each param_group is cut by itself. The length is that of all "
            "parameters of all groups together.",
            see="07_ppo#C69",
            parameter="""
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
                for group in optimiser.param_groups:
                    torch.nn.utils.clip_grad_norm_(group["params"], max_norm)
            """,
        ),
        slip(
            "only the first group cut",
            "Only the parameters of the first param_group are cut. There may be more groups: the "
            "length is that of all parameters together.",
            see="07_ppo#C69",
            parameter="""
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
                torch.nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], max_norm)
            """,
        ),
        slip(
            "always scaled to max_norm",
            "Every gradient gets the length max_norm, short ones too, so that steps never become "
            "small near a minimum. Only what is longer is cut.",
            see="07_ppo#C69",
            factor="max_norm / length",
        ),
        slip(
            "cut to length 1",
            "A gradient longer than max_norm is divided by its length, and then has length 1. It "
            "should keep the length max_norm.",
            see="07_ppo#C69",
            factor="1.0 if length <= max_norm else 1.0 / length",
        ),
        slip(
            "always cut at 0.5",
            "The gradient is cut at length 0.5, as many programs do, and max_norm has no effect.",
            see="07_ppo#C69",
            factor="torch.clamp(0.5 / length, max=1.0)",
        ),
        slip(
            "length without the root",
            "The sum of squares is taken for the length of the gradient. The length is its square "
            "root.",
            see="07_ppo#C69",
            length="torch.cat([gradient.flatten() for gradient in gradients]).square().sum()",
        ),
        slip(
            "lengths added up",
            "The lengths of the tensors are added up. The length of all together is the root of "
            "the sum of all squares.",
            see="07_ppo#C69",
            length="sum(gradient.norm() for gradient in gradients)",
        ),
        slip(
            "two steps for each minibatch",
            "The optimiser makes two steps with each gradient. One minibatch, one step.",
            parameter="""
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = factor * gradient
                optimiser.step()
            """,
        ),
        slip(
            "plain steps by hand",
            "The parameters move by learning rate times gradient, and the optimiser's own step is "
            "not made. It may have a momentum, or be Adam: call its `step`.",
            parameter="""
                rates = [group["lr"] for group in optimiser.param_groups for _ in group["params"]]
                with torch.no_grad():
                    for parameter, gradient, rate in zip(parameters, gradients, rates, strict=True):
                        parameter -= rate * factor * gradient
                optimiser.zero_grad()
            """,
        ),
        slip(
            "one step an epoch",
            "The gradients of all minibatches of an epoch are added up for a single step. Each "
            "minibatch gets a step of its own, from where the last one arrived.",
            before="done, added = 0, None",
            gradients="""
                gradients = torch.autograd.grad(loss, parameters)
                if done:
                    gradients = [one + other for one, other in zip(added, gradients, strict=True)]
                done, added = (done + len(rows)) % len(order), gradients
            """,
            cut="None if done else factor * gradient",  # without .grad a step moves nothing
        ),
        slip(
            "one step an epoch on the mean",
            "There is a single step an epoch, on the mean over its minibatches. Each minibatch "
            "gets a step of its own, from where the last one arrived.",
            before="done, added = 0, None",
            gradients="""
                gradients = torch.autograd.grad(loss / len(order.split(size)), parameters)
                if done:
                    gradients = [one + other for one, other in zip(added, gradients, strict=True)]
                done, added = (done + len(rows)) % len(order), gradients
            """,
            cut="None if done else factor * gradient",
        ),
        slip(
            "one step an epoch with the last minibatch",
            "There is one step an epoch, with the gradient of its last minibatch. Does `step` "
            "stand in the inner loop?",
            before="done = 0",
            loss="""
                loss = loss_on(rows)
                done = (done + len(rows)) % len(order)
            """,
            cut="None if done else factor * gradient",
        ),
        slip(
            "first epoch only",
            "Only the first epoch has an effect: does the return stand inside the loop?",
            order="orders[:1]",
        ),
        slip(
            "every epoch in the first order",
            "All epochs go through the batch in the order of the first. Row e of orders belongs to "
            "epoch e.",
            order="orders[:1].expand_as(orders)",
        ),
        slip(
            "rows in the order they lie in",
            "The minibatches are slices of the batch as it lies, and orders has no effect. Its "
            "numbers say which steps a minibatch is made of.",
            order="torch.arange(orders.shape[1]).expand_as(orders)",
        ),
        slip(
            "columns as epochs",
            "The columns of orders are used. Row e is the order of epoch e.",
            order="orders.T",
        ),
        slip(
            "minibatches across epochs",
            "A minibatch begins in one epoch and ends in the next. Each epoch is cut by itself, so "
            "that its last minibatch may be smaller.",
            order="[orders.flatten()]",
        ),
        slip(
            "last smaller minibatch dropped",
            "The rows left over at the end of an epoch are not used. They make a minibatch too, a "
            "smaller one.",
            rows="order[: len(order) // size * size].split(size)",
        ),
        slip(
            "size taken for how many",
            "An epoch is cut into `size` minibatches. size is the number of rows of each.",
            rows="order.tensor_split(size)",
        ),
        slip(
            "whole batch on every step",
            "Each epoch makes one step on all rows, and size has no effect. It is the number of "
            "rows of a minibatch.",
            rows="[order]",
        ),
        slip(
            "single rows",
            "Each step uses a single row. size is the number of rows of a minibatch.",
            rows="order.split(1)",
        ),
        slip(
            "keeps the graphs",
            "The mean is right, but it still hangs on the graphs of all minibatches, which then "
            "stay in memory. Keep numbers, not tensors (item, float).",
            before="kept = []",
            loss="""
                loss = loss_on(rows)
                kept.append(loss)
            """,
            answer="torch.stack(kept).mean()",
        ),
        slip(
            "sum of the losses",
            "The sum of the losses comes back. Asked for is their mean.",
            answer="sum(losses)",
        ),
        slip(
            "last loss",
            "The last loss alone comes back. Asked for is the mean over all minibatches.",
            answer="losses[-1]",
        ),
        slip(
            "mean of the last epoch",
            "The mean of the last epoch alone comes back. Asked for is the mean over all epochs: "
            "is the list begun anew in each?",
            answer="sum(losses[-len(losses) // len(orders) :]) / (len(losses) // len(orders))",
        ),
        slip(
            "mean over epochs of sums",
            "The sum of the losses is divided by the number of epochs. Divide by the number of "
            "minibatches.",
            answer="sum(losses) / len(orders)",
        ),
        slip(
            "losses weighed by their rows",
            "Each loss counts as often as its minibatch has rows. Asked for is the plain mean over "
            "minibatches.",
            before="weighed = 0.0",
            loss="""
                loss = loss_on(rows)
                weighed += len(rows) * loss.item()
            """,
            answer="weighed / orders.numel()",
        ),
        slip(
            "losses after the steps",
            "The losses are those after the steps. Each is the one that its step was computed "
            "from, before it.",
            parameter="""
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = factor * gradient
                optimiser.step()
                optimiser.zero_grad()
                loss = loss_on(rows)
            """,
        ),
        slip(
            "list of the losses",
            "All losses come back. Asked for is one number, their mean.",
            answer="losses",
        ),
        slip(
            "nothing returned",
            "The steps are right, but nothing comes back. Return the mean of the losses.",
            answer="None",
        ),
    ),
    parts=(
        Property("the rows of each minibatch", observations=("rows", "sizes")),
        Property(
            "steps with a short gradient",
            2,
            cases=lambda case: case["max_norm"] == NEVER and not case["left"].any(),
            observations=("parameters",),
        ),
        Property(
            "steps with a long gradient",
            cases=lambda case: case["max_norm"] < NEVER,
            observations=("parameters",),
        ),
        Property(
            "gradients left from before",
            cases=lambda case: case["left"].any(),
            observations=("parameters",),
        ),
        Property("the mean of the losses", observations=("returned_less_mean_loss",), beside=True),
    ),
    accepted=(
        as_programs_have_it,
        group_by_group,
        with_lists_and_a_sampler,
        with_the_loss_asked_for_twice,
    ),
)
