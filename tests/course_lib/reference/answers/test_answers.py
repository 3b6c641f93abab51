"""The homework answers as a set: their names, their worked examples, their errors."""

import ast
import importlib
import inspect
import pkgutil
import re

import pytest
import torch

from course_lib.reference import answers
from course_lib.reference.answers.baseline_loss import baseline_loss
from course_lib.reference.answers.clipped_surrogate import clipped_surrogate
from course_lib.reference.answers.conjugate_gradient import conjugate_gradient
from course_lib.reference.answers.fisher_vector_product import fisher_vector_product
from course_lib.reference.answers.gae import gae
from course_lib.reference.answers.improvement_bounds import improvement_bounds
from course_lib.reference.answers.kl import kl
from course_lib.reference.answers.line_search import line_search
from course_lib.reference.answers.performance_difference import performance_difference
from course_lib.reference.answers.ppo_update import ppo_update
from course_lib.reference.answers.reinforce import reinforce
from course_lib.reference.answers.reinforce_1 import reinforce_1
from course_lib.reference.answers.reinforce_2 import reinforce_2
from course_lib.reference.answers.returns_to_go import returns_to_go
from course_lib.reference.answers.surrogate import surrogate
from course_lib.reference.answers.trpo_step import trpo_step

ANSWERS = {
    module.name: getattr(importlib.import_module(f"{answers.__name__}.{module.name}"), module.name)
    for module in pkgutil.iter_modules(answers.__path__)
}


def t(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def close(left, right):
    torch.testing.assert_close(left, torch.as_tensor(right, dtype=torch.float64))


ZERO = torch.zeros(2, 2, dtype=torch.float64)
STATES, ACTIONS = torch.tensor([0, 1]), torch.tensor([1, 0])


# The examples by hand that the homework prints.


def test_returns_to_go_by_hand():
    close(returns_to_go(t(1, 0, 2), 0.5), [1.5, 1, 2])


def test_reinforce_1_by_hand():
    close(reinforce_1(ZERO, STATES, ACTIONS, t(1, 2), 0.5), [[-1, 1], [1, -1]])


def test_reinforce_2_by_hand():
    close(reinforce_2(ZERO, STATES, ACTIONS, t(3, 4), 0.5), [[-1.5, 1.5], [1, -1]])


def test_baseline_loss_by_hand():
    close(baseline_loss(t(-0.5, -1), t(3, 4), t(1, 2), 0.5), 2.0)


def test_reinforce_by_hand():
    theta = torch.zeros(1, 1, dtype=torch.float64)
    last = reinforce(theta, lambda _: [1.0, 3.0], lambda theta, e: theta * 0 + e, 0.5, 1)
    close(last, [[1.0]])


def test_performance_difference_by_hand():
    policy, advantages = (
        torch.stack([t(0.25, 0.75), t(0.5, 0.5)]),
        torch.stack([t(-1, 1), t(2, -3)]),
    )
    close(performance_difference(t(4, 1), policy, advantages), 1.5)


def by_hand_towards_nine_tenths(alpha):
    old, target = t(0.5, 0.5).repeat(2, 1), t(0.9, 0.1).repeat(2, 1)
    advantages = torch.stack([t(1, -1), t(-2, 2)])
    return improvement_bounds(1.0, t(1.5, 0.5), old, target, advantages, alpha, 0.5)


def test_improvement_bounds_by_hand():
    bounds = by_hand_towards_nine_tenths(0.5)
    assert [round(bound, 4) for bound in bounds.tolist()] == [-0.4, 0.56, 0.5026]


def test_what_bounds_say_has_the_ranges_of_its_model_answer():
    for place, edge in ((0, 1 / 16), (1, 5 / 32)):
        below, above = (by_hand_towards_nine_tenths(edge + by)[place] for by in (-1e-6, 1e-6))
        assert below > 1 > above


def test_all_the_ratios_has_the_numbers_of_its_model_answer():
    square = 0.5 * (1.6**2 + 0.4**2)
    assert round(square, 10) == 1.36
    assert square**22 - 1 < 1000 < square**23 - 1  # 23 ratios: t = 22


def test_surrogate_by_hand():
    close(surrogate(t(0.7, 0.25).log(), t(0.5, 0.5).log(), t(1, -2)), 0.2)


def test_kl_by_hand():
    assert round(kl(t(0.5, 0.5).log()[None], t(0.8, 0.2).log()[None]).item(), 4) == 0.2231


def test_fisher_vector_product_by_hand():
    def bowl(p):
        return p[0] ** 2 + p[0] * p[1] + p[1] ** 2

    close(fisher_vector_product(bowl, t(3, -1), t(1, 0), 0.1), [2.1, 1])


def test_conjugate_gradient_by_hand():
    def multiply(v):
        return t(2, 1) * v

    close(conjugate_gradient(multiply, t(2, 1), 1), [10 / 9, 5 / 9])
    close(conjugate_gradient(multiply, t(2, 1), 2), [1, 1])


def test_line_search_by_hand():
    new = line_search(lambda p: p.sum(), lambda p: 0.5 * (p @ p), t(0), t(1), 0.1)
    close(new, [0.25])


def test_trpo_step_by_hand():
    bend = t(2, 1)

    def search(surrogate, kl, theta, step, delta):
        assert round(kl(theta + step).item(), 10) == delta == 0.06
        return theta + step

    new = trpo_step(
        t(0, 0),
        lambda p: 2 * p[0] + p[1],
        lambda p: 0.5 * (bend * p) @ p,
        lambda kl, theta, vector, damping: bend * vector,
        lambda product, b, iterations: b / bend,
        search,
        0.06,
        0.0,
        2,
    )
    close(new, [0.2, 0.2])


@pytest.mark.parametrize(
    ("terminated", "truncated", "wanted"),
    [
        (False, False, [2.02325, 1.385, 2.3]),
        (True, False, [0.95, -1, 2.3]),
        (False, True, [1.5575, 0.35, 2.3]),
    ],
)
def test_gae_by_hand(terminated, truncated, wanted):
    flags = torch.tensor([[False], [True], [False]])
    columns = [t(1, 0, 2), t(0.5, 1, 1.5), t(1, 1.5, 2)]
    ends = flags & terminated, flags & truncated
    close(gae(*(c[:, None] for c in columns), *ends, 0.9, 0.5)[:, 0], wanted)


def test_clipped_surrogate_by_hand():
    close(clipped_surrogate(t(1.5, 0.7).log(), t(0, 0), t(1, 1), 0.2), 0.95)


def test_ppo_update_by_hand():
    theta, seen = torch.zeros(1, 2, dtype=torch.float64), []

    def objective(log_probs, old_log_probs, advantages):
        ratio = torch.exp(log_probs - old_log_probs)
        seen.append(ratio.item())
        return (ratio * advantages).mean()

    batch = torch.tensor([0]), torch.tensor([1]), t(2)
    close(ppo_update(theta, *batch, torch.tensor([[0]]), objective, 0.5), [[-0.5, 0.5]])
    ppo_update(theta, *batch, torch.tensor([[0], [0]]), objective, 0.5)
    assert round(seen[-1], 3) == 1.462


# Names and docstrings


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_says_its_equation_shapes_errors_and_source(name):
    text = inspect.getdoc(ANSWERS[name])
    for part in ("Returns", "Raises ValueError", "("):
        assert part in text, f"{name} lacks {part}"
    assert "[slide " in text or "[note " in text, f"{name} names no source"


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "train"])  # of all the rest
def test_a_body_uses_nothing_but_the_notebooks_imports(root, name):
    names = inspect.getclosurevars(ANSWERS[name])
    texts = [path.read_text() for path in root.glob("notebooks/src/homework/*.py")]
    asking = [text for text in texts if re.search(f'(answer|program)="{name}"', text)]
    assert asking
    for homework in asking:
        cell = re.search(r"^# %%\n(.*?)^# %%", homework, re.DOTALL | re.MULTILINE)[1]
        imports = [node for node in ast.parse(cell).body if isinstance(node, ast.ImportFrom)]
        imported = {alias.name for node in imports for alias in node.names} | {"torch"}
        assert set(names.globals) <= imported


# Errors

NAN = float("nan")
WRONG_CALLS = {
    "column": (lambda: returns_to_go(torch.ones(4, 1), 0.9), r"rewards .*\(T,\), got \(4, 1\)"),
    "empty": (lambda: returns_to_go(torch.ones(0), 0.9), "rewards is empty"),
    "nan": (lambda: returns_to_go(t(1, NAN), 0.9), "rewards holds nan"),
    "list": (lambda: returns_to_go([1.0], 0.9), "rewards must be a tensor .*, got list"),
    "gamma": (lambda: returns_to_go(t(1), 1.5), r"gamma must lie in \[0, 1\], got 1.5"),
    "gamma nan": (lambda: returns_to_go(t(1), NAN), "gamma must lie in"),
    "lengths": (lambda: reinforce_1(ZERO, STATES, ACTIONS[:1], t(1, 2), 1), r"T = 2 as in states"),
    "theta": (lambda: reinforce_2(ZERO[0], STATES, ACTIONS, t(1, 2), 1), r"theta must be \(S, A\)"),
    "values": (lambda: baseline_loss(t(1, 2), t(1, 2), t(1, 2)[:, None], 1), "squeeze"),
    "batch": (lambda: surrogate(t(1, 2), t(1), t(1, 2)), "old_log_probs must be"),
    "epsilon": (lambda: clipped_surrogate(t(1), t(1), t(1), -0.1), "epsilon must lie in"),
    "logits": (lambda: kl(ZERO, ZERO[:1]), r"logits must be \(B, A\) with B = 2"),
    "vector": (lambda: fisher_vector_product(torch.sum, t(1, 2), t(1), 0.0), "vector must be"),
    "b": (lambda: conjugate_gradient(lambda v: v, ZERO, 3), r"b must be \(P,\)"),
    "delta": (lambda: line_search(torch.sum, torch.sum, t(1), t(1), 0.0), "delta must be"),
    "visits": (lambda: performance_difference(t(1), ZERO, ZERO), "S = 1 as in visitation"),
    "target": (
        lambda: improvement_bounds(0.0, t(1, 1), ZERO, ZERO[:1], ZERO, 0.5, 0.5),
        r"target_policy must be \(S, A\)",
    ),
    "gamma 1": (
        lambda: improvement_bounds(0.0, t(1, 1), ZERO, ZERO, ZERO, 0.5, 1.0),
        "one_minus_gamma must be",
    ),
    "flat": (
        lambda: trpo_step(ZERO, torch.sum, torch.sum, list, list, list, 0.1, 0.1, 3),
        r"theta must be \(P,\)",
    ),
    "no region": (
        lambda: trpo_step(t(1), torch.sum, torch.sum, list, list, list, 0.0, 0.1, 3),
        "delta must be",
    ),
    "lam": (lambda: gae(*[ZERO] * 3, ZERO > 0, ZERO > 0, 0.9, 1.1), "lam must lie in"),
    "times": (lambda: gae(ZERO, ZERO[:1], ZERO, ZERO > 0, ZERO > 0, 0.9, 1), "values must be"),
    "ppo": (
        lambda: ppo_update(ZERO, STATES, ACTIONS, t(1, 2), STATES, torch.sum, 0.1),
        r"minibatches must be \(K, M\)",
    ),
    "reinforce": (lambda: reinforce(t(1), list, list, 0.1, 1), r"theta must be \(S, A\)"),
}


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_wrong_calls_say_what_came_and_what_was_wanted(call):
    function, words = WRONG_CALLS[call]
    with pytest.raises(ValueError, match=words):
        function()
