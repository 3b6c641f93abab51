"""Lecture 2 runs, shows every claim it makes, and each of its checks can fail."""

import ast
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pytest
import torch

SOURCE = Path(__file__).parents[2] / "notebooks" / "src" / "lectures" / "02_policy_gradient.py"
CLAIMS = [f"C{number}" for number in range(14, 24)]
ERRATA = ["E7", "E8", "E16"]

# claim -> (text of the lecture, a wrong quantity in its place). The text names one cell.
PLANTED = {
    "C14": (
        "softmax_policy(theta), T).rewards @ discounts",
        "softmax_policy(theta), T).probabilities",
    ),
    "C15": ('"n,nsa->sa", returns, slopes', '"n,nsa->sa", returns.square(), slopes'),
    "C16": ("probabilities[:, None, None] * scores)", "scores / probabilities[:, None, None])"),
    "C17": (
        "mean, error = mean_and_error(score_form)",
        "mean, error = mean_and_error(-score_form)",
    ),
    "C18": ("naive = returns[:, None, None] * slopes", "naive = returns[:, None, None] * scores"),
    "C19": ("step_scores.sum(1), scores)", "step_scores.mean(1), scores)"),
    "C20": ("step_scores.sum(1)),", "step_scores[:, :1].sum(1)),"),
    "C21": (
        "probabilities, step_scores, discounted)  # (T, T",
        "probabilities, step_scores, paths.rewards)  # (T, T",
    ),
    "C22": ("tril(-1).bool()", "triu(1).bool()"),
    "C23": ("later = torch.ones(T, T).triu()", "later = torch.ones(T, T).tril()"),
}
# The same for checks that stand in a second cell of their claim.
PLANTED_TOO = {
    "C15 E16": ("x = torch.logspace(-14, 0, 200_001)", "x = torch.linspace(0.1, 1, 200_001)"),
    "C17 rate": ("errors = errors_of(score_form)", "errors = errors_of(score_form + 0.1)"),
    "C22 E7": ("torch.full((6, 2), 0.5), T)", "softmax_policy(theta), T)"),
    "C23 variance": ("/ total_variance(whole_form)", "/ total_variance(to_go_form)"),
    "C23 E7": ("variances_with(-4.0)", "variances_with(+1.0)"),
    "C23 E8": ("afresh = later * discounts / discounts[:, None]", "afresh = later * discounts"),
}


@dataclass
class Run:
    """A code cell: its source, its claims, the names it started from, how long it took."""

    source: str
    tags: list[str]
    before: dict[str, Any]
    seconds: float


@pytest.fixture(scope="module", autouse=True)
def restore_torch() -> Iterator[None]:
    """The lecture computes in float64 by default; the other tests keep their own."""
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)
    plt.close("all")


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    names: dict[str, Any] = {"__name__": "lecture"}
    done = []
    for number, cell in enumerate(jupytext.read(SOURCE).cells):
        if cell.cell_type == "code":
            before, begin = dict(names), time.perf_counter()
            exec(compile(cell.source, f"<cell {number}>", "exec"), names)
            tags = cell.metadata.get("tags", [])
            done.append(Run(cell.source, tags, before, time.perf_counter() - begin))
    return done


def asserts(source: str) -> int:
    return sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source)))


def test_every_cell_runs_and_none_is_slow(runs: list[Run]) -> None:
    assert len(runs) > 20
    assert max(run.seconds for run in runs) < 20
    assert sum(run.seconds for run in runs) < 30


@pytest.mark.parametrize("claim", CLAIMS + ERRATA)
def test_claim_has_a_tagged_cell_that_asserts(runs: list[Run], claim: str) -> None:
    assert any(asserts(run.source) for run in runs if claim in run.tags)


@pytest.mark.parametrize("claim", CLAIMS)
def test_claim_names_its_control_and_its_heading(runs: list[Run], claim: str) -> None:
    assert any("control:" in run.source for run in runs if claim in run.tags)
    headings = [
        line
        for cell in jupytext.read(SOURCE).cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    assert sum(f"({claim})" in heading for heading in headings) == 1


def test_a_cell_has_at_most_fifteen_lines_of_code(runs: list[Run]) -> None:
    for run in runs:
        assert sum(bool(line.strip()) for line in run.source.splitlines()) <= 15, run.source


@pytest.mark.parametrize("name", [*PLANTED, *PLANTED_TOO])
def test_a_planted_wrong_quantity_fails_the_check(runs: list[Run], name: str) -> None:
    right, wrong = (PLANTED | PLANTED_TOO)[name]
    [run] = [run for run in runs if right in run.source and name.split()[0] in run.tags]
    exec(run.source, dict(run.before))  # from the same names the lecture's own text passes
    with pytest.raises(AssertionError):
        exec(run.source.replace(right, wrong), dict(run.before))


def test_the_lecture_needs_nothing_private() -> None:
    for cell in jupytext.read(SOURCE).cells:
        if cell.cell_type == "code":
            assert "reference" not in cell.source
            assert "autograder" not in cell.source
