"""hw2: the damped Hessian of the KL times a vector, without the matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Misconception
from autograder.questions.tolerance import TOLERANCE
from autograder.student.wire import Arrays
from course_lib.reference.answers.fisher_vector_product import fisher_vector_product


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    features = torch.tensor(case["features"])
    theta, vector = torch.tensor(case["theta"]), torch.tensor(case["vector"])

    # A smooth function that is no KL: its gradient is not zero, so that shortcuts show.
    def smooth(point: torch.Tensor) -> torch.Tensor:
        point = point.double()
        return torch.logaddexp(features @ point, torch.zeros(len(features))).mean() + (
            0.05 * (point**4).sum()
        )

    product = function(smooth, theta, vector, float(case["damping"]))
    kept = np.array_equal(theta.detach(), case["theta"])
    kept = kept and np.array_equal(vector.detach(), case["vector"])
    return {"product": product, "inputs_unchanged": kept}


def public_cases() -> list[Case]:
    features = np.array([[1.0, -2.0, 0.5], [0.3, 1.5, -1.0], [-1.2, 0.4, 2.0], [0.8, 0.8, 0.1]])
    theta, vector = np.array([0.5, -0.4, 0.9]), np.array([1.0, -1.0, 2.0])
    return [
        {"features": features, "theta": theta, "vector": vector, "damping": 0.0},
        {"features": features, "theta": theta, "vector": vector, "damping": 0.3},
        {
            "features": features,
            "theta": -theta,
            "vector": np.array([0.2, 0.7, 0.0]),
            "damping": 0.1,
        },
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for size in rng.choice(np.arange(1, 9), size=3, replace=False):
        cases.append(
            {
                "features": rng.normal(size=(int(rng.integers(2, 9)), size)),
                "theta": rng.normal(size=size),
                "vector": rng.normal(size=size),
                "damping": float(rng.uniform(0.05, 0.5)),
            }
        )
    return cases


# What students write instead.

Smooth = Callable[[Tensor], Tensor]


def _gradient(mean_kl: Smooth, theta: Tensor) -> Tensor:
    theta = theta.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mean_kl(theta), theta)
    return gradient


def _hessian(mean_kl: Smooth, theta: Tensor) -> Tensor:
    theta = theta.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mean_kl(theta), theta, create_graph=True)
    rows = [torch.autograd.grad(entry, theta, retain_graph=True)[0] for entry in gradient]
    return torch.stack(rows)


def no_damping(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Tensor:
    return _hessian(mean_kl, theta) @ vector


def damping_times_product(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Tensor:
    return (1 + damping) * (_hessian(mean_kl, theta) @ vector)


def damping_without_vector(
    mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float
) -> Tensor:
    return _hessian(mean_kl, theta) @ vector + damping


def damping_everywhere(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Tensor:
    return (_hessian(mean_kl, theta) + damping) @ vector


def damping_subtracted(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Tensor:
    return _hessian(mean_kl, theta) @ vector - damping * vector


def gradient_outer_product(
    mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float
) -> Tensor:
    gradient = _gradient(mean_kl, theta)
    return gradient * (gradient @ vector) + damping * vector


def gradient_only(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Tensor:
    return _gradient(mean_kl, theta) * vector + damping * vector


def gradient_left_in_grad(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Tensor:
    return _gradient(mean_kl, theta) + _hessian(mean_kl, theta) @ vector + damping * vector


def diagonal_only(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Tensor:
    return (_hessian(mean_kl, theta).diagonal() + damping) * vector


def row_sums(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Tensor:
    return _hessian(mean_kl, theta).sum(dim=0) * vector + damping * vector


def solves(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Tensor:
    damped = _hessian(mean_kl, theta) + damping * torch.eye(len(theta), dtype=theta.dtype)
    return torch.linalg.solve(damped, vector)


def quadratic_form(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Tensor:
    return vector * (vector @ (_hessian(mean_kl, theta) @ vector)) + damping * vector


def at_the_origin(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Tensor:
    return _hessian(mean_kl, torch.zeros_like(theta)) @ vector + damping * vector


# Right by other means.


def with_the_whole_matrix(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Tensor:
    return _hessian(mean_kl, theta) @ vector + damping * vector


def by_backward(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Any:
    theta = theta.clone().requires_grad_()
    gradient = torch.autograd.grad(mean_kl(theta), theta, create_graph=True)[0]
    (gradient * vector).sum().backward()
    assert theta.grad is not None
    return theta.grad.numpy() + damping * vector.numpy()


def by_central_differences(
    mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float
) -> Tensor:
    h = 1e-5
    ahead, behind = _gradient(mean_kl, theta + h * vector), _gradient(mean_kl, theta - h * vector)
    return (ahead - behind) / (2 * h) + damping * vector


def forward_over_reverse(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Tensor:
    product = torch.func.jvp(torch.func.grad(mean_kl), (theta,), (vector,))[1]
    return product.float() + damping * vector.float()


CHECK = Check(
    title="Fisher-vector product",
    reference=fisher_vector_product,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        Misconception(
            "no damping",
            no_damping,
            "This is F v; the damping is missing. The Fisher matrix of a tabular softmax policy is "
            "singular (adding a constant to a state's logits changes nothing), and conjugate "
            "gradient needs one that is not.",
            "06_trpo#C60",
        ),
        Misconception(
            "damping scales the product",
            damping_times_product,
            "The damping multiplies F v. It is meant as an addition to the diagonal of F: what "
            "does damping times the identity do to v?",
            "06_trpo#C60",
        ),
        Misconception(
            "damping without the vector",
            damping_without_vector,
            "The bare number damping is added to every entry of F v. The matrix damping * I is "
            "multiplied with v as well.",
            "06_trpo#C60",
        ),
        Misconception(
            "damping added to every entry of F",
            damping_everywhere,
            "The damping was added to all entries of the matrix, not to its diagonal alone. Only "
            "the identity leaves the eigenvectors of F as they are.",
            "06_trpo#C60",
        ),
        Misconception(
            "damping subtracted",
            damping_subtracted,
            "The damping has the wrong sign: it makes small eigenvalues of F smaller, even "
            "negative, where it should lift them off zero.",
            "06_trpo#C60",
        ),
        Misconception(
            "outer product of the gradient",
            gradient_outer_product,
            "This multiplies with g g^T, where g is the gradient of mean_kl. For a KL that "
            "gradient is zero at the old policy, so nothing would be left; asked for is the second "
            "derivative.",
            "06_trpo#C58",
        ),
        Misconception(
            "only one derivative",
            gradient_only,
            "The gradient is multiplied with v entry by entry, and there it stops. F holds second "
            "derivatives: something has to be differentiated once more.",
            "06_trpo#C58",
        ),
        Misconception(
            "first gradient added in",
            gradient_left_in_grad,
            "The result is too large by the gradient of mean_kl itself. Two backward() calls add "
            "up in .grad: clear it in between, or use torch.autograd.grad.",
            "06_trpo#C58",
        ),
        Misconception(
            "diagonal only",
            diagonal_only,
            "Only the diagonal of F is used. The parameters of a softmax are coupled, so its other "
            "entries matter.",
            "06_trpo#C58",
        ),
        Misconception(
            "v multiplied after the second derivative",
            row_sums,
            "The gradient was summed, differentiated again and then multiplied with v. That takes "
            "the column sums of F; v has to come in before the second derivative.",
            "06_trpo#C58",
        ),
        Misconception(
            "solves instead of multiplying",
            solves,
            "This is the inverse of the damped matrix times v. Solving is conjugate gradient's "
            "work, the next question; it needs the product itself.",
            "06_trpo#C60",
        ),
        Misconception(
            "v^T F v times v",
            quadratic_form,
            "The number v^T F v was formed and multiplied with v. The product F v is a vector with "
            "a direction of its own.",
            "06_trpo#C58",
        ),
        Misconception(
            "derivatives at another point",
            at_the_origin,
            "The derivatives are taken at zero, not at theta. The quadratic model is of the KL "
            "around the policy that is held now.",
            "06_trpo#C57",
        ),
    ),
    accepted=(with_the_whole_matrix, by_backward, by_central_differences, forward_over_reverse),
    tolerance=TOLERANCE,
)
