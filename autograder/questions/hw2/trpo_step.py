"""hw2: the whole step of TRPO, from pieces that the check brings."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.questions.check import Case, Check, Function, Property
from autograder.questions.slips import slip_of
from autograder.student.wire import Arrays, frozen, same_again, untouched
from course_lib.reference.answers.trpo_step import trpo_step


def recipe(function: Function, case: Arrays) -> dict[str, Any]:
    start, slope, matrix = (torch.tensor(case[name]) for name in ("theta", "slope", "matrix"))
    theta = start.clone()
    asked: list[Any] = []
    steps: list[Any] = []

    def point_of(given: Any) -> torch.Tensor:
        return torch.as_tensor(given).double()

    # The pieces are none of TRPO's: each tells what it was given, so that shortcuts show.
    def gain(point: Any) -> torch.Tensor:
        return 1.5 + slope @ torch.sin(point_of(point))

    def divergence(point: Any) -> torch.Tensor:
        moved = point_of(point) - start
        return 0.5 * moved @ matrix @ moved + 0.1 * (moved**4).sum()

    def fisher_product_of_the_check(
        mean_kl: Any, theta: Any, vector: Any, damping: Any
    ) -> torch.Tensor:
        stiffness = 1 + 0.1 * mean_kl(point_of(theta) + 1)
        return stiffness * (matrix @ point_of(vector)) + damping * point_of(vector)

    # It stops far from the solution, and where x . H x is not x . b.
    def solver_of_the_check(
        matrix_vector_product: Any, b: Any, iterations: Any, *_: Any, **__: Any
    ) -> Any:
        asked.append(frozen(b))
        x = torch.zeros_like(point_of(b))
        if point_of(b) @ point_of(b) <= 1e-10:
            return x
        for _k in range(iterations):
            x = x + 0.2 * (point_of(b) - point_of(matrix_vector_product(x)))
        return x

    def search_of_the_check(
        surrogate: Any, kl: Any, theta: Any, step: Any, delta: Any, *_: Any, **__: Any
    ) -> torch.Tensor:
        if point_of(step).shape != start.shape:
            raise TypeError(
                f"line_search was given a step of shape {tuple(point_of(step).shape)}, and theta "
                f"is {tuple(start.shape)}"
            )
        steps.append(frozen(step))
        there = point_of(theta) + point_of(step)
        share = torch.sigmoid(surrogate(there) - surrogate(theta)) / (1 + kl(there) / delta)
        return point_of(theta) + share * point_of(step)

    numbers = float(case["delta"]), float(case["damping"]), int(case["iterations"])
    inputs = (
        theta,
        gain,
        divergence,
        fisher_product_of_the_check,
        solver_of_the_check,
        search_of_the_check,
        *numbers,
    )
    new = function(*inputs)
    graph = isinstance(new, torch.Tensor) and new.grad_fn is not None
    new = frozen(new)
    # Without a search the step is what theta moved by.
    moved = new - case["theta"] if new.shape == start.shape else np.zeros(start.shape)
    step = np.asarray(steps[-1] if steps else moved, dtype=float)
    with np.errstate(invalid="ignore", over="ignore"):
        length = np.sqrt((step**2).sum())
        direction = step / length if length > 0 else step
        # Of the gradient what is the same with either sign and at any length.
        slopes = np.asarray(asked[0] if asked else step, dtype=float).reshape(-1)
        square = (slopes**2).sum()
        slopes = slopes / np.sqrt(square) if square > 1e-9 else 0 * slopes
    bend = fisher_product_of_the_check(divergence, start, torch.tensor(step), numbers[1]).numpy()
    kept = untouched(theta, case["theta"])
    again = same_again(lambda: function(*inputs), new)
    return {
        "slope_of_the_solver": np.outer(slopes, slopes),
        "direction": direction,
        "kl_in_the_model": 0.5 * (step * bend).sum(),
        "theta": new,
        "without_a_graph": not graph,
        "inputs_unchanged": kept,
        "second_call_agrees": again,
    }


def public_cases() -> list[Case]:
    three: Case = {
        "theta": np.array([0.4, -0.7, 0.9]),
        "slope": np.array([1.0, -0.6, 1.5]),
        "matrix": np.array([[1.4, 0.3, -0.2], [0.3, 0.7, 0.1], [-0.2, 0.1, 1.1]]),
        "delta": 0.3,
        "damping": 0.2,
        "iterations": 3,
    }
    two: Case = {
        "theta": np.array([-0.5, 0.8]),
        "slope": np.array([0.9, 1.3]),
        "matrix": np.array([[1.2, -0.4], [-0.4, 0.6]]),
        "delta": 0.05,
        "damping": 0.3,
        "iterations": 5,
    }
    return [
        three,
        two,
        {
            "theta": np.array([0.3]),
            "slope": np.array([-1.2]),
            "matrix": np.array([[0.8]]),
            "delta": 0.1,
            "damping": 0.25,
            "iterations": 2,
        },
        {**two, "slope": np.zeros(2)},  # nowhere to go
        {**two, "slope": 1e-6 * two["slope"]},  # so little that the solver stops at once
    ]


def hidden_cases(rng: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    sizes = rng.permutation(np.arange(2, 6))[:3]
    for size in (*(int(size) for size in sizes), 1):
        rotation, _ = np.linalg.qr(rng.normal(size=(size, size)))
        matrix = rotation @ np.diag(rng.uniform(0.4, 1.6, size=size)) @ rotation.T
        cases.append(
            {
                "theta": rng.uniform(0.3, 1.0, size=size) * rng.choice([-1, 1], size=size),
                "slope": rng.uniform(0.6, 1.5, size=size) * rng.choice([-1, 1], size=size),
                "matrix": (matrix + matrix.T) / 2,
                "delta": float(rng.uniform(0.05, 0.4)),
                "damping": float(rng.uniform(0.15, 0.4)),
                "iterations": int(rng.integers(2, 6)),
            }
        )
    cases += [{**cases[0], "slope": share * cases[0]["slope"]} for share in (0.0, 1e-6)]
    return cases


def _climbs(case: Arrays) -> bool:
    """Whether there is a slope to climb."""
    return bool(np.abs(case["slope"]).max() > 1e-3)


# Right by other means.


def with_backward(*given: Any) -> Tensor:
    theta, surrogate, mean_kl, fvp, solve, search, delta, damping, iterations = given
    parameter = torch.nn.Parameter(theta.clone())
    surrogate(parameter).backward()
    assert parameter.grad is not None
    g = parameter.grad.clone()

    def times(v: Tensor) -> Tensor:
        return fvp(mean_kl, theta, v, damping)

    x = solve(times, g, iterations)
    if x.norm() < 1e-12:
        return theta.clone()
    unit = x / x.norm()
    return search(
        surrogate, mean_kl, theta, (2 * delta / unit.dot(times(unit))) ** 0.5 * unit, delta
    )


def down_a_loss(*given: Any) -> Tensor:
    theta, surrogate, mean_kl, fvp, solve, search, delta, damping, iterations = given
    point = theta.clone().requires_grad_(True)
    loss = -surrogate(point)
    slope = torch.autograd.grad(loss, point)[0]
    x = solve(lambda v: fvp(mean_kl, theta, v, damping), slope, iterations)
    half = 0.5 * (x * fvp(mean_kl, theta, x, damping)).sum()
    if half == 0:
        return theta.clone()
    multiplier = torch.sqrt(half / delta)
    return search(surrogate=surrogate, kl=mean_kl, theta=theta, step=-x / multiplier, delta=delta)


def in_numpy(*given: Any) -> Any:
    theta, surrogate, mean_kl, fvp, solve, search, delta, damping, iterations = given
    point = theta.clone().requires_grad_()
    g = torch.autograd.grad(surrogate(point), point)[0]
    x = np.asarray(solve(lambda v: fvp(mean_kl, theta, v, damping), g, iterations))
    bend = x @ np.asarray(fvp(mean_kl, theta, torch.tensor(x), damping))
    step = np.sqrt(2 * delta / (bend + 1e-8)) * x
    return np.asarray(search(surrogate, mean_kl, theta, torch.tensor(step), delta))


def in_single_precision(*given: Any) -> Tensor:
    theta, surrogate, mean_kl, fvp, solve, search, delta, damping, iterations = given
    with torch.enable_grad():
        point = theta.detach().clone().requires_grad_(True)
        g = torch.autograd.grad(surrogate(point), point)[0].float()
    with torch.no_grad():
        x = solve(lambda v: fvp(mean_kl, theta, v, damping).float(), g, iterations).float()
        bend = torch.clamp(torch.dot(x, fvp(mean_kl, theta, x, damping).float()), min=1e-12)
        step = x * (2.0 * delta) ** 0.5 / bend.sqrt()
        return search(surrogate, mean_kl, theta, step, delta).float()


# What students write instead.

slip = partial(slip_of, trpo_step, see="06_trpo#C59")

CHECK = Check(
    title="The step of TRPO",
    reference=trpo_step,
    recipe=recipe,
    public_cases=public_cases,
    hidden_cases=hidden_cases,
    misconceptions=(
        slip(
            "changes the caller's theta",
            "The new parameters are right, but they were written into the theta that came in. The "
            "caller needs the old policy: return a tensor of your own.",
            new="""
                new = line_search(surrogate, mean_kl, theta, step, delta).clone()
                theta.copy_(new)
            """,
        ),
        slip(
            "theta that came in wants gradients",
            "The numbers are right, but the caller's theta was turned into a leaf that wants "
            "gradients. Differentiate at a copy of your own.",
            leaf="theta.requires_grad_()",
        ),
        slip(
            "keeps its graph",
            "The numbers are right, but the new theta hangs on the graph of this step, which would "
            "grow with every further one. Where does the line search start from?",
            new="line_search(surrogate, mean_kl, leaf, step, delta)",
            answer_3="new",
        ),
        slip(
            "factor 2 missing",
            "The step is too short by the root of 2: half of the allowance is left unused. Put a "
            "step of length c along x into the quadratic model of the KL, with its 1/2, and ask "
            "for which c it is delta.",
            length="torch.sqrt(delta / curvature)",
        ),
        slip(
            "the 2 below the fraction",
            "The step is half as long as it should be. Put a step of length c along x into the "
            "quadratic model of the KL, with its 1/2, and ask for which c it is delta.",
            length="torch.sqrt(delta / (2 * curvature))",
        ),
        slip(
            "no root",
            "The root is missing. The KL grows with the square of a step's length: twice the "
            "delta, twice the length?",
            length="2 * delta / curvature",
        ),
        slip(
            "root of a product",
            "The length was multiplied by the root of x @ H x. Where the KL bends more, should the "
            "step be longer, or shorter?",
            length="torch.sqrt(2 * delta * curvature)",
        ),
        slip(
            "x @ g for x @ H x",
            "Below the root stands x @ g. That is x @ H x if H x = g, or if x comes from conjugate "
            "gradient; this solver stops early in another way, and what the KL bends by along x is "
            "x @ H x.",
            curvature="direction @ gradient",
        ),
        slip(
            "square of g",
            "Below the root stands g @ g. How much the KL bends along x has to do with H and x.",
            curvature="gradient @ gradient",
        ),
        slip(
            "square of x",
            "Below the root stands x @ x, so every step has the same length in parameters. It "
            "should have the same KL: measure x with H.",
            curvature="direction @ direction",
        ),
        slip(
            "curvature along g",
            "Below the root stands g @ H g. The step goes along x: how much does the KL bend "
            "there?",
            curvature="gradient @ product(gradient)",
        ),
        slip(
            "direction not scaled",
            "The line search was given x as it is, whose length has nothing to do with delta. "
            "Scale it until the quadratic model of the KL is delta.",
            step="direction",
        ),
        slip(
            "delta as a learning rate",
            "x was multiplied by delta. delta is a KL and no length: which multiple of x uses it "
            "up?",
            step="delta * direction",
        ),
        slip(
            "x scaled to length 1",
            "x was divided by its own length, but not x @ H x below the root. Either scale both, "
            "or neither.",
            step="length * direction / direction.norm()",
        ),
        slip(
            "gradient for the direction",
            "The step goes along g, with the length that was worked out for x. What did the solver "
            "find x for?",
            step="length * gradient",
        ),
        slip(
            "no solver",
            "The step goes along the plain gradient, scaled to a KL of delta. The natural gradient "
            "holds back where the policy is quick to change: H x = g.",
            see="06_trpo#C86",
            direction="gradient",
        ),
        slip(
            "wrong sign",
            "The step goes downhill. The surrogate is to be made large, and x points where g does, "
            "uphill.",
            step="-length * direction",
        ),
        slip(
            "line search skipped",
            "The full step is taken without a line search. It meets the constraint in the model "
            "only: who looks at the true KL, and at whether the surrogate rises?",
            see="06_trpo#C61",
            new="theta + step",
        ),
        slip(
            "no limit on the KL",
            "The line search was given no limit, so it accepts any KL. The constraint is delta, "
            "for the true KL too.",
            see="06_trpo#C61",
            new="line_search(surrogate, mean_kl, theta, step, float('inf'))",
        ),
        slip(
            "half as much again in the line search",
            "The line search was given 1.5 delta, as some programs have it. Here the limit is "
            "delta itself.",
            see="06_trpo#C61",
            new="line_search(surrogate, mean_kl, theta, step, 1.5 * delta)",
        ),
        slip(
            "surrogate and KL exchanged",
            "The line search was given the KL as what should rise and the surrogate as what is "
            "limited. Look at the order of its arguments.",
            see="06_trpo#C61",
            new="line_search(mean_kl, surrogate, theta, step, delta)",
        ),
        slip(
            "line search on a loss",
            "The line search was given minus the surrogate. It looks for a larger value, as its "
            "question says, and no step would please it.",
            see="06_trpo#C61",
            new="line_search(lambda point: -surrogate(point), mean_kl, theta, step, delta)",
        ),
        slip(
            "line search from the far end",
            "The line search was started at theta + step. It adds the step itself, so it starts "
            "from theta.",
            see="06_trpo#C61",
            new="line_search(surrogate, mean_kl, theta + step, step, delta)",
        ),
        slip(
            "result of the line search added to theta",
            "What the line search gives was added to theta. It gives new parameters, no step.",
            see="06_trpo#C61",
            answer_3="theta + answer",
        ),
        slip(
            "returns the change",
            "What comes back is the change of theta. Asked for is the new theta.",
            answer_3="answer - theta",
        ),
        slip(
            "no damping in the length",
            "The solver was given the damped products, the length an undamped one. Here H, with "
            "its damping, is meant in both.",
            see="06_trpo#C58",
            curvature="direction @ fisher_vector_product(mean_kl, theta, direction, 0.0)",
        ),
        slip(
            "no damping in the solver",
            "The length was given the damped product, the solver undamped ones. F may be singular, "
            "so it is the solver that cannot do without.",
            see="06_trpo#C58",
            direction="conjugate_gradient("
            "lambda v: fisher_vector_product(mean_kl, theta, v, 0.0), gradient, iterations)",
        ),
        slip(
            "no damping",
            "The damping is 0 whatever was passed in. F may be singular: H = F + damping times "
            "the identity, in the solver and in the length.",
            see="06_trpo#C58",
            answer_1="fisher_vector_product(mean_kl, theta, vector, 0.0)",
        ),
        slip(
            "damping added again in the length",
            "In the length the damping counts twice: the product that came back has it in it "
            "already.",
            see="06_trpo#C58",
            curvature="direction @ product(direction) + damping * direction @ direction",
        ),
        slip(
            "damping added again",
            "The damping counts twice: fisher_vector_product adds it already.",
            see="06_trpo#C58",
            answer_1="answer + damping * vector",
        ),
        slip(
            "curvature of the surrogate",
            "The products are those of the surrogate's second derivative. H measures how fast the "
            "policy changes: it comes from the mean KL.",
            see="06_trpo#C58",
            answer_1="fisher_vector_product(surrogate, theta, vector, damping)",
        ),
        slip(
            "curvature at another place",
            "The products are taken at zero. Both models, of the surrogate and of the KL, are "
            "around the theta that is held now.",
            see="06_trpo#C57",
            answer_1="fisher_vector_product(mean_kl, torch.zeros_like(theta), vector, damping)",
        ),
        slip(
            "gradient at another place",
            "The gradient is taken at zero. Both models, of the surrogate and of the KL, are "
            "around the theta that is held now.",
            see="06_trpo#C57",
            leaf="torch.zeros_like(theta).requires_grad_()",
        ),
        slip(
            "gradient of the KL",
            "The gradient is that of the mean KL. At the old policy the KL is at its least, so "
            "there is nothing to climb: the surrogate is.",
            see="06_trpo#C57",
            gradient="torch.autograd.grad(mean_kl(leaf), leaf)[0]",
        ),
        slip(
            "always ten iterations",
            "The solver makes ten iterations whatever was passed in. Is the argument used?",
            see="06_trpo#C60",
            direction="conjugate_gradient(product, gradient, 10)",
        ),
        slip(
            "one iteration too few",
            "The solver makes one iteration less than was asked for. Hand the number on as it is.",
            see="06_trpo#C60",
            direction="conjugate_gradient(product, gradient, iterations - 1)",
        ),
        slip(
            "as many iterations as parameters",
            "The solver makes as many iterations as theta has numbers. A network has thousands: "
            "hand on the number that came in.",
            see="06_trpo#C60",
            direction="conjugate_gradient(product, gradient, len(theta))",
        ),
        slip(
            "0/0 where nothing is to be climbed",
            "Where the gradient is zero the length is 0/0, and nan gets into theta. Then there is "
            "nowhere to go: return theta.",
            answer_2="line_search(surrogate, mean_kl, theta, "
            "torch.sqrt(2 * delta / curvature) * direction, delta)",
        ),
        slip(
            "looks at g instead of x",
            "A gradient of zero is looked after, but a solver may well answer zero where the "
            "gradient is only small, and then the length is 0/0 all the same. Look at x @ H x, by "
            "which you divide.",
            answer_2="answer if gradient.norm() == 0 else line_search(surrogate, mean_kl, theta, "
            "torch.sqrt(2 * delta / curvature) * direction, delta)",
        ),
        slip(
            "solves with the step",
            "The solver was run a second time, on what it had found. One solution of H x = g is "
            "enough.",
            see="06_trpo#C60",
            direction="conjugate_gradient(product, "
            "conjugate_gradient(product, gradient, iterations), iterations)",
        ),
        slip(
            "multiplies instead of solving",
            "The direction is H g. The natural gradient is the solution of H x = g, which goes "
            "the other way about: far where the KL bends little.",
            see="06_trpo#C86",
            direction="product(gradient)",
        ),
    ),
    parts=(
        Property("the gradient", 2, cases=_climbs, observations=("slope_of_the_solver",)),
        Property("the direction of the step", 3, cases=_climbs, observations=("direction",)),
        Property("its length", 3, cases=_climbs, observations=("kl_in_the_model",)),
        Property("the new parameters", 3, cases=_climbs, observations=("theta",)),
        Property(
            "theta where there is nothing to climb",
            1,
            cases=lambda case: not _climbs(case),
            beside=True,
        ),
    ),
    accepted=(with_backward, down_a_loss, in_numpy, in_single_precision),
)
