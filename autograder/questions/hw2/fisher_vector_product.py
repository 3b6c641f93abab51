"""hw2: the damped Hessian of the KL times a vector, without the matrix."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.fisher_vector_product import fisher_vector_product


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    features = torch.tensor(case["features"])
    theta, vector = torch.tensor(case["theta"]), torch.tensor(case["vector"])

    # A smooth function that is no KL: its gradient is not zero, so that shortcuts show.
    def smooth(point: torch.Tensor) -> torch.Tensor:
        point = torch.as_tensor(point).double()
        return torch.logaddexp(features @ point, torch.zeros(len(features))).mean() + (
            0.05 * (point**4).sum()
        )

    inputs = smooth, theta, vector, float(case["damping"])
    product = function(*inputs)
    graph = isinstance(product, torch.Tensor) and product.grad_fn is not None
    product = frozen(product)
    kept = untouched(theta, case["theta"])
    kept = kept and untouched(vector, case["vector"])
    again = same_again(lambda: function(*inputs), product)
    return {
        "product": product,
        "without_a_graph": not graph,
        "inputs_unchanged": kept,
        "second_call_agrees": again,
    }


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
        {
            "features": np.array([[0.7], [-1.3]]),
            "theta": np.array([0.6]),
            "vector": np.array([-1.5]),
            "damping": 0.2,
        },
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for index, size in enumerate([*rng.choice(np.arange(2, 9), size=3, replace=False), 1]):
        cases.append(
            {
                "features": rng.normal(size=(int(rng.integers(2, 9)), size)),
                "theta": rng.normal(size=size),
                "vector": rng.normal(size=size),
                "damping": float(rng.uniform(0.05, 0.5)) if index else 0.0,
            }
        )
    return cases


# Right by other means.

Smooth = Callable[[Tensor], Tensor]


def _gradient(mean_kl: Smooth, theta: Tensor) -> Tensor:
    theta = theta.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mean_kl(theta), theta)
    return gradient


def with_the_whole_matrix(mean_kl: Smooth, theta: Tensor, vector: Tensor, damping: float) -> Tensor:
    theta = theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mean_kl(theta), theta, create_graph=True)
    rows = [torch.autograd.grad(entry, theta, retain_graph=True)[0] for entry in gradient]
    return torch.stack(rows) @ vector + damping * vector


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


# What students write instead.

slip = partial(slip_of, fisher_vector_product, see="06_trpo#C58")

CHECK = Check(
    title="Fisher-vector product",
    reference=fisher_vector_product,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "no damping",
            "This is F v; the damping is missing. The Fisher matrix of a tabular softmax policy is "
            "singular (adding a constant to a state's logits changes nothing), and conjugate "
            "gradient needs one that is not.",
            see="06_trpo#C60",
            answer="product",
        ),
        slip(
            "damping scales the product",
            "The damping multiplies F v. It is meant as an addition to the diagonal of F: what "
            "does damping times the identity do to v?",
            see="06_trpo#C60",
            answer="(1 + damping) * product",
        ),
        slip(
            "damping without the vector",
            "The bare number damping is added to every entry of F v. The matrix damping * I is "
            "multiplied with v as well.",
            see="06_trpo#C60",
            answer="product + damping",
        ),
        slip(
            "damping added to every entry of F",
            "The damping was added to all entries of the matrix, not to its diagonal alone. Only "
            "the identity leaves the eigenvectors of F as they are.",
            see="06_trpo#C60",
            answer="product + damping * vector.sum()",
        ),
        slip(
            "damping subtracted",
            "The damping has the wrong sign: it makes small eigenvalues of F smaller, even "
            "negative, where it should lift them off zero.",
            see="06_trpo#C60",
            answer="product - damping * vector",
        ),
        slip(
            "outer product of the gradient",
            "This multiplies with g g^T, where g is the gradient of mean_kl. For a KL that "
            "gradient is zero at the old policy, so nothing would be left; asked for is the second "
            "derivative.",
            gradient="torch.autograd.grad(mean_kl(theta), theta)[0]",
            product="gradient * (gradient @ vector)",
        ),
        slip(
            "only one derivative",
            "The gradient is multiplied with v entry by entry, and there it stops. F holds second "
            "derivatives: something has to be differentiated once more.",
            gradient="torch.autograd.grad(mean_kl(theta), theta)[0]",
            product="gradient * vector",
        ),
        slip(
            "first gradient added in",
            "The result is too large by the gradient of mean_kl itself. Two backward() calls add "
            "up in .grad: clear it in between, or use torch.autograd.grad.",
            answer="gradient.detach() + answer",
        ),
        slip(
            "diagonal only",
            "Only the diagonal of F is used. The parameters of a softmax are coupled, so its other "
            "entries matter.",
            product="torch.autograd.functional.hessian(mean_kl, theta).diagonal() * vector",
        ),
        slip(
            "v multiplied after the second derivative",
            "The gradient was summed, differentiated again and then multiplied with v. That takes "
            "the column sums of F; v has to come in before the second derivative.",
            product="torch.autograd.grad(gradient.sum(), theta)[0] * vector",
        ),
        slip(
            "solves instead of multiplying",
            "This is the inverse of the damped matrix times v. Solving is conjugate gradient's "
            "work, the next question; it needs the product itself.",
            see="06_trpo#C60",
            product="""
                damped = torch.autograd.functional.hessian(mean_kl, theta)
                damped.diagonal().add_(damping)
            """,
            answer="torch.linalg.solve(damped, vector)",
        ),
        slip(
            "v^T F v times v",
            "The number v^T F v was formed and multiplied with v. The product F v is a vector with "
            "a direction of its own.",
            answer="vector * (vector @ product) + damping * vector",
        ),
        slip(
            "derivatives at another point",
            "The derivatives are taken at zero, not at theta. The quadratic model is of the KL "
            "around the policy that is held now.",
            see="06_trpo#C57",
            theta="torch.zeros_like(theta).requires_grad_()",
        ),
        slip(
            "keeps its graph",
            "The numbers are right, but the answer still hangs on a graph. The second derivative "
            "is the last one: only the first needs create_graph.",
            product="torch.autograd.grad(gradient @ vector, theta, create_graph=True)[0]",
        ),
        slip(
            "squares of the gradient",
            "v is multiplied with the squared entries of the gradient. For a KL that gradient is "
            "zero at the old policy; asked for are second derivatives, so differentiate twice.",
            gradient="torch.autograd.grad(mean_kl(theta), theta)[0]",
            product="gradient**2 * vector",
        ),
        slip(
            "gradient times v, a single number",
            "The scalar product of gradient and v comes back. It is to be differentiated once "
            "more, which makes a vector of it.",
            answer="(gradient @ vector).detach() + damping",
        ),
        slip(
            "damping squared",
            "The damping was squared on the way. Its plain value times v is added.",
            see="06_trpo#C60",
            answer="product + damping**2 * vector",
        ),
        slip(
            "damping always 0.1",
            "The damping is 0.1 whatever was passed in. Is the argument used?",
            see="06_trpo#C60",
            answer="product + 0.1 * vector",
        ),
        slip(
            "damping times theta",
            "The damping multiplies theta. The matrix is F plus damping times the identity, and it "
            "is multiplied with v.",
            see="06_trpo#C60",
            answer="product + damping * theta.detach()",
        ),
        slip(
            "v scaled to length 1",
            "The result is divided by the length of v: v was scaled first. The product is linear: "
            "twice the v gives twice the result.",
            before="vector = vector / vector.norm()",
        ),
        slip(
            "derivatives at theta + v",
            "The derivatives are taken at theta + v. The quadratic model is of the KL around "
            "theta; v is only what its matrix is multiplied with.",
            see="06_trpo#C57",
            theta="(theta.detach() + vector).requires_grad_()",
        ),
        slip(
            "half of F",
            "F v is half as large as it should be. The KL starts with half the quadratic form, and "
            "its Hessian is the whole of F.",
            product="0.5 * torch.autograd.grad(gradient @ vector, theta)[0]",
        ),
        slip(
            "coarse difference of gradients",
            "F v was taken from the difference of two gradients that are 0.1 v apart. "
            "Gradients are not straight lines: differentiate twice, or take a far smaller step.",
            product="""
                def slope(point):
                    point = point.detach().requires_grad_()
                    return torch.autograd.grad(mean_kl(point), point)[0]

                product = (slope(theta + 0.1 * vector) - slope(theta)) / 0.1
            """,
        ),
        slip(
            "coarse difference to both sides",
            "F v was taken from the difference of two gradients 0.1 v to either side. "
            "Gradients are not straight lines: differentiate twice, or take a far smaller step.",
            product="""
                def slope(point):
                    point = point.detach().requires_grad_()
                    return torch.autograd.grad(mean_kl(point), point)[0]

                product = (slope(theta + 0.1 * vector) - slope(theta - 0.1 * vector)) / 0.2
            """,
        ),
        slip(
            "difference of gradients by a hundredth",
            "F v was taken from the difference of two gradients that are 0.01 v apart. "
            "Gradients are not straight lines: differentiate twice, or take a far smaller step.",
            product="""
                def slope(point):
                    point = point.detach().requires_grad_()
                    return torch.autograd.grad(mean_kl(point), point)[0]

                product = (slope(theta + 0.01 * vector) - slope(theta)) / 0.01
            """,
        ),
        slip(
            "difference of gradients by a thousandth",
            "F v was taken from the difference of two gradients that are 0.001 v apart. "
            "Gradients are not straight lines: differentiate twice, or take a far smaller step.",
            product="""
                def slope(point):
                    point = point.detach().requires_grad_()
                    return torch.autograd.grad(mean_kl(point), point)[0]

                product = (slope(theta + 0.001 * vector) - slope(theta)) / 0.001
            """,
        ),
        slip(
            "difference of gradients by a whole v",
            "F v was taken from the difference of two gradients that are v apart. "
            "Gradients are not straight lines: differentiate twice, or take a far smaller step.",
            product="""
                def slope(point):
                    point = point.detach().requires_grad_()
                    return torch.autograd.grad(mean_kl(point), point)[0]

                product = slope(theta + vector) - slope(theta)
            """,
        ),
        slip(
            "damping mixes F and the identity",
            "F has the weight 1 - damping. It keeps its full weight, and damping times v is added.",
            answer="(1 - damping) * product + damping * vector",
        ),
    ),
    parts=(
        Property("without damping", 2, cases=lambda case: case["damping"] == 0),
        Property("with damping", 3, cases=lambda case: case["damping"] > 0),
    ),
    accepted=(with_the_whole_matrix, by_backward, by_central_differences, forward_over_reverse),
)
