"""What every lecture must do: run, be short cell by cell, and check its claims so that it can fail.

A test file makes a class Test... of LectureChecks and says which lecture, claims and errata, and
which wrong quantities to plant.
"""

import ast
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jupytext
import pytest

LECTURES = Path(__file__).parents[2] / "notebooks" / "src" / "lectures"


@dataclass
class Run:
    """A code cell: its source, its claims, the names it started from, how long it took."""

    source: str
    tags: list[str]
    before: dict[str, Any]
    seconds: float


def cells_of(stem: str, kind: str) -> list[Any]:
    """The lecture's cells that are `code` or `markdown`."""
    notebook = jupytext.read(LECTURES / f"{stem}.py")
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def run_lecture(stem: str) -> list[Run]:
    """Every code cell, executed in order."""
    names: dict[str, Any] = {"__name__": "lecture"}
    done = []
    for number, cell in enumerate(cells_of(stem, "code")):
        before, begin = dict(names), time.perf_counter()
        exec(compile(cell.source, f"<{stem}, code cell {number}>", "exec"), names)
        tags = cell.metadata.get("tags", [])
        done.append(Run(cell.source, tags, before, time.perf_counter() - begin))
    return done


def asserts(source: str) -> int:
    return sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source)))


class LectureChecks:
    """The tests that all lectures share.

    planted: name -> (text of the lecture, a wrong quantity in its place). A name begins with the
    tag of the cell that holds the text, and the text must name one such cell.
    """

    stem: ClassVar[str]
    claims: ClassVar[list[str]]
    errata: ClassVar[list[str]]
    planted: ClassVar[dict[str, tuple[str, str]]]
    seconds: ClassVar[float] = 40

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        values = {
            "claim": self.claims,
            "tag": [*self.claims, *self.errata],
            "wrong": list(self.planted),
        }
        for name in set(values) & set(metafunc.fixturenames):
            metafunc.parametrize(name, values[name])

    def test_every_cell_runs_and_none_is_slow(self, runs: list[Run]) -> None:
        assert len(runs) > 20
        assert max(run.seconds for run in runs) < 20
        assert sum(run.seconds for run in runs) < self.seconds

    def test_tag_stands_on_a_cell_that_asserts(self, runs: list[Run], tag: str) -> None:
        assert any(asserts(run.source) for run in runs if tag in run.tags)

    def test_claim_names_its_control_and_its_heading(self, runs: list[Run], claim: str) -> None:
        assert any("control:" in run.source for run in runs if claim in run.tags)
        headings = [
            line
            for cell in cells_of(self.stem, "markdown")
            for line in cell.source.splitlines()
            if line.startswith("## ")
        ]
        assert sum(f"({claim})" in heading for heading in headings) == 1

    def test_every_claim_has_a_planted_mistake(self) -> None:
        assert {name.split()[0] for name in self.planted} >= set(self.claims)

    def test_a_cell_has_at_most_fifteen_lines_of_code(self, runs: list[Run]) -> None:
        for run in runs:
            assert sum(bool(line.strip()) for line in run.source.splitlines()) <= 15, run.source

    def test_a_planted_wrong_quantity_fails_the_check(self, runs: list[Run], wrong: str) -> None:
        right, instead = self.planted[wrong]
        [run] = [run for run in runs if right in run.source and wrong.split()[0] in run.tags]
        exec(run.source, dict(run.before))  # from the same names the lecture's own text passes
        with pytest.raises(AssertionError):
            exec(run.source.replace(right, instead), dict(run.before))

    def test_the_lecture_needs_nothing_private(self) -> None:
        for cell in cells_of(self.stem, "code"):
            assert "reference" not in cell.source
            assert "autograder" not in cell.source
