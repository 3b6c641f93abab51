"""hw2: conjugate gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Misconception
from autograder.questions.tolerance import TOLERANCE
from autograder.student.wire import Arrays
from course_lib.reference.answers.conjugate_gradient import conjugate_gradient


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    matrix, b = torch.tensor(case["matrix"]), torch.tensor(case["b"])
    x = function(
        lambda vector: matrix @ vector.double(),
        b,
        int(case["iterations"]),
        float(case["tolerance"]),
    )
    return {"x": x, "b_unchanged": np.array_equal(b.detach(), case["b"])}


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
        {"matrix": plain, "b": np.array([2.0, 1.0]), "iterations": 2, "tolerance": 1e-20},
        {"matrix": plain, "b": np.array([2.0, 1.0]), "iterations": 1, "tolerance": 1e-20},
        {"matrix": full, "b": b, "iterations": 2, "tolerance": 1e-20},
        {"matrix": full, "b": b, "iterations": 6, "tolerance": 1e-20},
        {"matrix": full, "b": np.zeros(4), "iterations": 3, "tolerance": 1e-20},
        {"matrix": full, "b": 1e-2 * b, "iterations": 4, "tolerance": 0.1},
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for size in rng.choice(np.arange(3, 9), size=3, replace=False):
        rotation, _ = np.linalg.qr(rng.normal(size=(size, size)))
        matrix = rotation @ np.diag(rng.uniform(0.5, 3.0, size=size)) @ rotation.T
        matrix = (matrix + matrix.T) / 2
        b = rng.normal(size=size)
        for iterations in (int(rng.integers(2, size)), int(size) + 2):
            cases.append({"matrix": matrix, "b": b, "iterations": iterations, "tolerance": 1e-20})
    return cases


# What students write instead.

Product = Callable[[Tensor], Tensor]


def _run(
    multiply: Product,
    b: Tensor,
    iterations: int,
    tolerance: float,
    mix: Callable[[Tensor, Tensor], Tensor] = lambda new, old: new / old,
    sign: float = -1.0,
    direction_for_step: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Conjugate gradient with one thing changed: returns x, the residual and the direction."""
    x, residual, direction = torch.zeros_like(b), b.clone(), b.clone()
    squared = residual @ residual
    for _ in range(iterations):
        if squared <= tolerance:
            break
        product = multiply(direction)
        if direction_for_step:
            step_size = squared / (direction @ product)
        else:
            step_size = squared / (residual @ multiply(residual))
        x = x + step_size * direction
        residual = residual + sign * step_size * product
        old, squared = squared, residual @ residual
        direction = residual + mix(squared, old) * direction
    return x, residual, direction


def steepest_descent(
    multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    return _run(multiply, b, iterations, tolerance, lambda new, old: 0 * new)[0]


def factor_upside_down(
    multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    x, residual, direction = torch.zeros_like(b), b.clone(), b.clone()
    squared = residual @ residual
    for _ in range(min(iterations, 6)):  # beyond that the numbers leave every scale
        if squared <= tolerance:
            break
        product = multiply(direction)
        step_size = squared / (direction @ product)
        x = x + step_size * direction
        residual = residual - step_size * product
        old, squared = squared, residual @ residual
        direction = residual + old / squared * direction
    return x


def factor_of_lengths(
    multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    return _run(multiply, b, iterations, tolerance, lambda new, old: (new / old).sqrt())[0]


def factor_one(multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10) -> Tensor:
    return _run(multiply, b, iterations, tolerance, lambda new, old: new / new)[0]


def step_by_residual(
    multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    return _run(multiply, b, iterations, tolerance, direction_for_step=False)[0]


def residual_grows(
    multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    return _run(multiply, b, iterations, tolerance, sign=1.0)[0]


def returns_the_residual(
    multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    return _run(multiply, b, iterations, tolerance)[1]


def returns_the_direction(
    multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    return _run(multiply, b, iterations, tolerance)[2]


def never_stops(multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10) -> Tensor:
    return _run(multiply, b, iterations, -1.0)[0]


def one_step_short(
    multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    return _run(multiply, b, iterations - 1, tolerance)[0]


def starts_from_b(
    multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    return b + _run(multiply, b, iterations, tolerance)[0]


def changes_b(multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10) -> Tensor:
    x = _run(multiply, b, iterations, tolerance)[0]
    b -= multiply(x)
    return x


def never_multiplies(
    multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    return b.clone()


def ignores_tolerance(
    multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    return _run(multiply, b, iterations, 1e-20)[0]


def looks_only_after_a_step(
    multiply: Product, b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    x, residual, direction = torch.zeros_like(b), b.clone(), b.clone()
    squared = residual @ residual
    for _ in range(iterations):
        product = multiply(direction)
        step_size = squared / (direction @ product)
        x = x + step_size * direction
        residual = residual - step_size * product
        old, squared = squared, residual @ residual
        if squared <= tolerance:
            break
        direction = residual + squared / old * direction
    return x


# Right by other means.


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


CHECK = Check(
    title="Conjugate gradient",
    reference=conjugate_gradient,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        Misconception(
            "changes b",
            changes_b,
            "The solution is right, but b was overwritten on the way: the residual starts as b, "
            "and needs memory of its own. In TRPO b is the gradient, which is used again.",
            "06_trpo#C60",
        ),
        Misconception(
            "ignores the tolerance",
            ignores_tolerance,
            "The iteration goes on although the residual is already below the tolerance that was "
            "passed in. Each further step costs a product with the matrix.",
            "06_trpo#C60",
        ),
        Misconception(
            "never stops early",
            never_stops,
            "The iteration goes on when nothing is left to do: the residual becomes exactly zero, "
            "and 0/0 is nan. Look at its squared length before each step.",
            "06_trpo#C60",
        ),
        Misconception(
            "steepest descent",
            steepest_descent,
            "Each new direction is the residual alone: this is steepest descent, which zigzags. "
            "The new direction keeps part of the old one, so that it does not undo it.",
            "06_trpo#C60",
        ),
        Misconception(
            "factor of the old direction upside down",
            factor_upside_down,
            "The factor of the old direction is the old squared length over the new one. As the "
            "residual shrinks, should the past weigh more, or less?",
            "06_trpo#C60",
        ),
        Misconception(
            "lengths instead of squared lengths",
            factor_of_lengths,
            "The factor of the old direction is a quotient of lengths. Conjugacy needs the "
            "quotient of the squared lengths.",
            "06_trpo#C60",
        ),
        Misconception(
            "old direction at full weight",
            factor_one,
            "The old direction is kept at full weight, as if the residual had not shrunk: is its "
            "squared length overwritten before the quotient is formed?",
            "06_trpo#C60",
        ),
        Misconception(
            "step size from the residual",
            step_by_residual,
            "The step size is computed with A times the residual, but the step goes along the "
            "direction. The two agree in the first iteration only.",
            "06_trpo#C60",
        ),
        Misconception(
            "residual has the wrong sign",
            residual_grows,
            "The residual is updated with the wrong sign. It is b - A x: when x gains a step along "
            "the direction, what does A x gain?",
            "06_trpo#C60",
        ),
        Misconception(
            "returns the residual",
            returns_the_residual,
            "What comes back is the residual, b - A x, which goes to zero. Asked for is x.",
            "06_trpo#C60",
        ),
        Misconception(
            "returns the direction",
            returns_the_direction,
            "What comes back is the last search direction. Asked for is x, the sum of all steps.",
            "06_trpo#C60",
        ),
        Misconception(
            "one step short",
            one_step_short,
            "One iteration is missing. Count them: how many steps does iterations = 1 make?",
            "06_trpo#C60",
        ),
        Misconception(
            "starts from b",
            starts_from_b,
            "x starts as b while the residual is that of x = 0, so the answer is off by b. Start "
            "from zero, where the residual is b itself.",
            "06_trpo#C60",
        ),
        Misconception(
            "returns b",
            never_multiplies,
            "What comes back is b, as if the matrix were the identity. Is x ever updated and "
            "returned?",
            "06_trpo#C60",
        ),
        Misconception(
            "looks at the residual only after a step",
            looks_only_after_a_step,
            "The first step is made without looking: where b is zero or small enough already, it "
            "is 0/0 or one too many. The squared length is looked at before each step, the first "
            "one too.",
            "06_trpo#C60",
        ),
    ),
    accepted=(in_place_on_copies, in_numpy, over_krylov_space),
    tolerance=TOLERANCE,
)
