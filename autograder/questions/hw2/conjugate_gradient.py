"""hw2: conjugate gradient."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.conjugate_gradient import conjugate_gradient


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    matrix, b = torch.tensor(case["matrix"]), torch.tensor(case["b"])

    def multiply(vector: Any) -> torch.Tensor:
        return matrix @ torch.as_tensor(vector).double()

    inputs = multiply, b, int(case["iterations"]), float(case["tolerance"])
    x = frozen(function(*inputs))
    kept = untouched(b, case["b"])
    again = same_again(lambda: function(*inputs), x)
    return {"x": x, "b_unchanged": kept, "second_call_agrees": again}


def public_cases() -> list[Case]:
    plain = np.array([[2.0, 0.0], [0.0, 1.0]])
    full = np.array(
        [
            [2.5, 0.3, -0.4, 0.1],
            [0.3, 1.5, 0.2, -0.3],
            [-0.4, 0.2, 3.0, 0.5],
            [0.1, -0.3, 0.5, 1.0],
        ]
    )
    b = np.array([1.0, -2.0, 0.5, 1.5])
    return [
        {"matrix": plain, "b": np.array([2.0, 1.0]), "iterations": 2, "tolerance": 1e-8},
        {"matrix": plain, "b": np.array([2.0, 1.0]), "iterations": 1, "tolerance": 1e-8},
        {"matrix": full, "b": b, "iterations": 2, "tolerance": 1e-8},
        {"matrix": full, "b": b, "iterations": 3, "tolerance": 1e-8},
        {"matrix": full, "b": b, "iterations": 4, "tolerance": 1e-8},
        {"matrix": full, "b": b, "iterations": 6, "tolerance": 1e-8},
        {"matrix": full, "b": np.zeros(4), "iterations": 3, "tolerance": 1e-8},
        {"matrix": full, "b": 0.1 * b, "iterations": 4, "tolerance": 0.1},  # |b| is above it
        {"matrix": full, "b": b, "iterations": 4, "tolerance": 0.3},
        {"matrix": full, "b": b, "iterations": 4, "tolerance": 0.1},
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for few, size in zip((2, 3), rng.choice(np.arange(4, 8), size=2, replace=False), strict=True):
        squares = [0.0]
        while squares[-1] < 1e-4:  # until the last step matters
            rotation, _ = np.linalg.qr(rng.normal(size=(size, size)))
            matrix = rotation @ np.diag(rng.uniform(0.5, 3.0, size=size)) @ rotation.T
            matrix = (matrix + matrix.T) / 2
            b = rng.uniform(1, 3, size=size) * rng.choice([-1, 1], size=size)
            squares = _squares(matrix, b)
        case = {"matrix": matrix, "b": b, "tolerance": 1e-8}
        # Few steps, all that it takes, and more: noise is never divided by noise.
        for iterations in (few, int(size), int(size) + 2):
            cases.append({**case, "iterations": iterations})
        # It stops where r.r falls, and there |r| is above the tolerance.
        falls = [after / before for before, after in itertools.pairwise(squares)]
        k = int(np.argmax([fall if fall < 0.7 else 0 for fall in falls]))
        tolerance = rng.uniform(0.05, 0.15)
        scale = np.sqrt(tolerance / np.sqrt(squares[k] * squares[k + 1]))
        cases.append({**case, "b": b * scale, "iterations": int(size), "tolerance": tolerance})
    cases.append({**case, "b": np.zeros(size), "iterations": 3})
    return cases


def _squares(matrix: Any, b: Any) -> list[float]:
    """r.r at the start and after each step but the last."""
    product = torch.tensor(matrix)
    steps = range(len(b))
    xs = [conjugate_gradient(lambda v: product @ v, torch.tensor(b), k, 0.0) for k in steps]
    return [float(((b - matrix @ x.numpy()) ** 2).sum()) for x in xs]


def _shows(case: Arrays) -> str:
    """What a case is for."""
    if case["tolerance"] > 1e-6 or not case["b"].any() or case["iterations"] > len(case["b"]):
        return "stop"
    return "solution" if case["iterations"] == len(case["b"]) else "first steps"


# Right by other means.

Product = Callable[[Tensor], Tensor]


def in_place_on_copies(
    multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    x = torch.zeros(b.shape, dtype=b.dtype)
    r, p = b.clone(), b.clone()
    for _ in range(iterations):
        if r.norm() ** 2 <= tolerance:
            return x
        q = multiply(p)
        alpha = torch.dot(r, r) / torch.dot(p, q)
        r_new = r - alpha * q
        x += alpha * p
        p = r_new + torch.dot(r_new, r_new) / torch.dot(r, r) * p
        r = r_new
    return x


def in_numpy(multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10) -> Any:
    r = b.numpy().copy()
    x, p = np.zeros_like(r), r.copy()
    for _ in range(iterations):
        if r @ r < tolerance:
            break
        q = multiply(torch.from_numpy(p)).numpy()
        alpha = (p @ r) / (p @ q)
        x = x + alpha * p
        r = r - alpha * q
        p = r - (r @ q) / (p @ q) * p  # conjugate by projection
    return x


def over_krylov_space(
    multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    """The best x in span(b, A b, ..., A^{k-1} b) in the norm of A, which is what CG's k-th is."""
    basis: list[Tensor] = []
    images: list[Tensor] = []
    x, vector = torch.zeros_like(b), b.clone()
    for _ in range(iterations):
        residual = b - multiply(x)
        if residual @ residual <= tolerance:
            break
        for known in basis + basis:  # twice, so that rounding does not tilt it
            vector = vector - (known @ vector) * known
        basis.append(vector / vector.norm())
        images.append(multiply(basis[-1]))
        q = torch.stack(basis, dim=1)
        x = q @ torch.linalg.solve(q.T @ torch.stack(images, dim=1), q.T @ b)
        vector = images[-1]
    return x


# What students write instead.

slip = partial(slip_of, conjugate_gradient, see="06_trpo#C60")

CHECK = Check(
    title="Conjugate gradient",
    reference=conjugate_gradient,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "changes b",
            "The solution is right, but b was overwritten on the way: the residual starts as b, "
            "and needs memory of its own. In TRPO b is the gradient, which is used again.",
            residual_1="b",
            residual_2="residual.sub_(step_size * product)",
        ),
        slip(
            "ignores the tolerance",
            "The iteration goes on although the residual is already below the tolerance that was "
            "passed in. Each further step costs a product with the matrix.",
            converged="squared <= 1e-20",
        ),
        slip(
            "never stops early",
            "The iteration goes on when nothing is left to do: the residual becomes exactly zero, "
            "and 0/0 is nan. Look at its squared length before each step.",
            converged="False",
        ),
        slip(
            "steepest descent",
            "Each new direction is the residual alone: this is steepest descent, which zigzags. "
            "The new direction keeps part of the old one, so that it does not undo it.",
            direction_2="residual",
        ),
        slip(
            "factor of the old direction upside down",
            "The factor of the old direction is the old squared length over the new one. As the "
            "residual shrinks, should the past weigh more, or less?",
            _="range(min(iterations, 6))",  # beyond that the numbers leave every scale
            factor="old_squared / squared",
        ),
        slip(
            "lengths instead of squared lengths",
            "The factor of the old direction is a quotient of lengths. Conjugacy needs the "
            "quotient of the squared lengths.",
            factor="(squared / old_squared).sqrt()",
        ),
        slip(
            "old direction at full weight",
            "The old direction is kept at full weight, as if the residual had not shrunk: is its "
            "squared length overwritten before the quotient is formed?",
            factor="squared / squared",
        ),
        slip(
            "step size from the residual",
            "The step size is computed with A times the residual, but the step goes along the "
            "direction. The two agree in the first iteration only.",
            step_size="squared / (residual @ matrix_vector_product(residual))",
        ),
        slip(
            "residual has the wrong sign",
            "The residual is updated with the wrong sign. It is b - A x: when x gains a step along "
            "the direction, what does A x gain?",
            residual_2="residual + step_size * product",
        ),
        slip(
            "returns the residual",
            "What comes back is the residual, b - A x, which goes to zero. Asked for is x.",
            answer="residual",
        ),
        slip(
            "returns the direction",
            "What comes back is the last search direction. Asked for is x, the sum of all steps.",
            answer="direction",
        ),
        slip(
            "one step short",
            "One iteration is missing. Count them: how many steps does iterations = 1 make?",
            _="range(iterations - 1)",
        ),
        slip(
            "starts from b",
            "x starts as b while the residual is that of x = 0, so the answer is off by b. Start "
            "from zero, where the residual is b itself.",
            x_1="b",
        ),
        slip(
            "returns b",
            "What comes back is b, as if the matrix were the identity. Is x ever updated and "
            "returned?",
            answer="b",
        ),
        slip(
            "looks at the residual only after a step",
            "The first step is made without looking: where b is zero or small enough already, it "
            "is 0/0 or one too many. The squared length is looked at before each step, the first "
            "one too.",
            converged="_ > 0 and squared <= tolerance",
        ),
        slip(
            "step size from the next residual",
            "Above the line of the step size stands the squared length of the residual after the "
            "step. It is the one before the step: move x first.",
            x_2="pass",
            residual_2="""
                residual = residual - step_size * product
                x = x + residual @ residual / (direction @ product) * direction
            """,
        ),
        slip(
            "factor of the iteration before",
            "The new direction is made with the factor of the iteration before. The quotient of "
            "squared lengths is formed first, after the step, and then used at once.",
            before="last_factor = 0.0",
            direction_2="""
                direction = residual + last_factor * direction
                last_factor = factor
            """,
        ),
        slip(
            "direction and residual share memory",
            "In the first step direction and residual are one tensor, so changing the residual in "
            "place changes the direction with it. Start from a copy (clone).",
            direction_1="residual",
            residual_2="residual.sub_(step_size * product)",
        ),
        slip(
            "direction and residual are one tensor",
            "Direction and residual are one tensor throughout, so each change in place is made to "
            "both. Start from a copy (clone).",
            direction_1="residual",
            residual_2="residual.sub_(step_size * product)",
            direction_2="direction.mul_(factor).add_(residual)",
        ),
        slip(
            "direction and residual are one tensor and measured anew",
            "Direction and residual are one tensor throughout, so each change in place is made to "
            "both. Start from a copy (clone).",
            direction_1="residual",
            residual_2="residual.sub_(step_size * product)",
            converged="""
                squared = residual @ residual
                converged = squared <= tolerance
            """,
            direction_2="direction.mul_(factor).add_(residual)",
        ),
        slip(
            "length against the tolerance",
            "The length of the residual is held against the tolerance. It is the squared length, "
            "r @ r, that is to be <= tolerance.",
            converged="squared.sqrt() <= tolerance",
        ),
        slip(
            "length against the tolerance, after a step",
            "The residual is looked at only after a step, and its length is held against the "
            "tolerance. The squared length, r @ r, is looked at before each step, the first one "
            "too.",
            converged="_ > 0 and squared.sqrt() <= tolerance",
        ),
        slip(
            "mean of squares against the tolerance",
            "The mean of the squares of the residual is held against the tolerance. It is their "
            "sum, r @ r, that is to be <= tolerance.",
            converged="squared / len(b) <= tolerance",
        ),
        slip(
            "as many iterations as numbers",
            "As many steps are made as b has numbers, whatever `iterations` says. Is it used?",
            _="range(len(b))",
        ),
        slip(
            "one iteration too many",
            "One iteration too many is made. Count them: how many steps does iterations = 1 make?",
            _="range(iterations + 1)",
        ),
        slip(
            "residual without the matrix",
            "The direction itself is taken off the residual. The residual is b - A x: when x gains "
            "a step along the direction, what does A x gain?",
            residual_2="residual - step_size * direction",
        ),
        slip(
            "x moves along the residual",
            "x moves along the residual, but the step size is that of the direction. The two agree "
            "in the first iteration only.",
            x_2="x + step_size * residual",
        ),
        slip(
            "new direction from the old residual",
            "The new direction is built from the residual before the step. Is it updated first?",
            before="previous = b",
            residual_2="""
                previous = residual
                residual = residual - step_size * product
            """,
            direction_2="previous + factor * direction",
        ),
        slip(
            "last step thrown away",
            "The step that reaches the tolerance is not added to x. Look at the residual after x "
            "was moved.",
            x_2="""
                left = residual - step_size * product
                if left @ left <= tolerance:
                    break
                x = x + step_size * direction
            """,
        ),
    ),
    parts=(
        Property("the first steps", 3, cases=lambda case: _shows(case) == "first steps"),
        Property("the solution", 2, cases=lambda case: _shows(case) == "solution"),
        Property("stops in time", 2, cases=lambda case: _shows(case) == "stop"),
    ),
    accepted=(in_place_on_copies, in_numpy, over_krylov_space),
)
