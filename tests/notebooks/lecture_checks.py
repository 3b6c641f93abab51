"""What every lecture must do: run, be short cell by cell, and check its claims so that it can fail.

All that is asked of a lecture is read from the lecture itself, but for the wrong quantities, which
stand in notebooks/src/planted.
"""

import ast
import contextlib
import io
import math
import re
import statistics
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jupytext
import matplotlib.pyplot as plt
import pytest
from nbformat.v4 import new_output

from autograder.handouts.claims_table import (
    TAG,
    claims_in,
    coverage_rows,
    errata_in,
    markdown_row,
)
from autograder.handouts.sources import lecture_notebook

YARDSTICK_SECONDS = 0.055  # of the core whose seconds the limits are in
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
LECTURES = NOTEBOOKS / "src" / "lectures"
PLANTED = NOTEBOOKS / "src" / "planted"
STEMS = sorted(path.stem for path in LECTURES.glob("*.py"))


@dataclass
class Run:
    """A code cell: its source and claims, the names it started from, and how it went.

    asserted: the lines of the assertions that were reached. printed: what it printed.
    seconds: of a core that draws the yardstick in YARDSTICK_SECONDS. Cores of a shared machine
    differ by half from hour to hour, and a lecture is not to blame for that.
    """

    source: str
    tags: list[str]
    before: dict[str, Any]
    seconds: float
    asserted: set[int]
    printed: str


def cells_of(stem: str, kind: str) -> list[Any]:
    """The lecture's cells that are `code` or `markdown`."""
    notebook = jupytext.read(LECTURES / f"{stem}.py")
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def claims_of(stem: str) -> list[str]:
    """The claims that the lecture's headings end in, one entry a heading."""
    return [tag for cell in cells_of(stem, "markdown") for tag in claims_in(cell.source)]


def errata_of(stem: str) -> list[str]:
    """The errata that have a box in the lecture."""
    boxes = (errata_in(cell.source) for cell in cells_of(stem, "markdown"))
    return list(dict.fromkeys(tag for box in boxes for tag, _ in box))


def planted_in(stem: str) -> dict[str, dict[str, str]]:
    """Name -> text of the lecture ("right") and a wrong quantity in its place ("wrong").

    A name begins with the tag of the cell that holds the text. Nothing if there is no file.
    """
    path = PLANTED / f"{stem}.toml"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


class Watched(ast.NodeTransformer):
    """Has every assertion of a cell note itself in `__reached__` when it is reached."""

    def __init__(self, cell: int) -> None:
        self.cell = cell

    def visit_Assert(self, node: ast.Assert) -> list[ast.stmt]:
        return [*ast.parse(f"__reached__.add(({self.cell}, {node.lineno}))").body, node]


@contextlib.contextmanager
def without_answers() -> Iterator[None]:
    """As students are: importing an answer fails."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.startswith("course_lib.reference.")]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "course_lib.reference", None)
        yield


def yardstick() -> float:
    """Seconds of a core for a small picture, which is what lectures spend theirs on."""
    begin = time.process_time()
    figure, ax = plt.subplots(figsize=(6, 4))
    ax.plot(range(100))
    ax.set_title("yardstick")
    figure.canvas.draw()
    plt.close(figure)
    return time.process_time() - begin


@without_answers()
def run_lecture(stem: str) -> list[Run]:
    """Every code cell, executed in order, where no answer can be imported."""
    reached: set[tuple[int, int]] = set()  # also by a function that a later cell calls
    names: dict[str, Any] = {"__name__": "lecture", "__reached__": reached}
    done, measured = [], [yardstick()]
    for number, cell in enumerate(cells_of(stem, "code")):
        measured.append(yardstick())  # in between, since a machine changes within a minute
        before, begin = dict(names), time.process_time()
        watched = ast.fix_missing_locations(Watched(number).visit(ast.parse(cell.source)))
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(watched, f"<{stem}, code cell {number}>", "exec"), names)
        seconds = time.process_time() - begin
        tags = cell.metadata.get("tags", [])
        done.append(Run(cell.source, tags, before, seconds, set(), printed.getvalue()))
    slowness = max(1.0, statistics.mean(measured[1:]) / YARDSTICK_SECONDS)  # the first warms up
    for run in done:
        run.seconds /= slowness
    for number, line in reached:
        done[number].asserted.add(line)
    return done


def assertions(source: str) -> list[ast.Assert]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]


EQUAL = ("same", "allclose", "isclose", "equal")


def cannot_fail(test: ast.expr) -> bool:
    """Whether an assertion is one in name only: of constants, or of a thing against itself."""
    if not any(isinstance(node, ast.Name) for node in ast.walk(test)):
        return True
    for node in ast.walk(test):
        sides: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in EQUAL:
            sides = node.args
        texts = [ast.unparse(side) for side in sides if not isinstance(side, ast.Constant)]
        if len(set(texts)) < len(texts):
            return True
    return False


def unreal_controls(source: str) -> list[str]:
    """The lines marked `control:` that neither assert anything nor make what is asserted."""
    body = ast.parse(source).body
    unreal = []
    for number, line in enumerate(source.splitlines(), start=1):
        if "control:" not in line:
            continue
        if line.startswith("#"):  # it speaks of the next line
            number += 1
        marked = next((node for node in body if node.lineno <= number <= node.end_lineno), None)
        if marked is None:
            unreal.append(line)
            continue
        made = {
            node.id if isinstance(node, ast.Name) else node.name
            for node in ast.walk(marked)
            if isinstance(node, ast.FunctionDef)
            or (isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load))
        }
        made |= {  # lists that it adds to
            node.value.id
            for node in ast.walk(marked)
            if isinstance(node, ast.Attribute)
            and node.attr == "append"
            and isinstance(node.value, ast.Name)
        }
        used = {
            node.id
            for check in assertions(source)
            if check.lineno > number
            for node in ast.walk(check)
            if isinstance(node, ast.Name)
        }
        if not any(isinstance(node, ast.Assert) for node in ast.walk(marked)) and not made & used:
            unreal.append(line)
    return unreal


def alike(left: str, right: str) -> bool:
    """Whether two lines differ in nothing but the last digits of numbers."""
    number = re.compile(r"([-+]?\d+\.?\d*(?:e[-+]?\d+)?)")
    if number.sub("", left) != number.sub("", right):
        return False
    pairs = zip(number.findall(left), number.findall(right), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=0.01, abs_tol=1e-9) for a, b in pairs)


class LectureChecks:
    """The tests that all lectures share."""

    stem: ClassVar[str]
    claims: ClassVar[list[str]]
    errata: ClassVar[list[str]]
    planted: ClassVar[dict[str, dict[str, str]]]

    def __init_subclass__(cls) -> None:
        """Read what the lecture `stem` claims."""
        cls.claims, cls.errata = claims_of(cls.stem), errata_of(cls.stem)
        cls.planted = planted_in(cls.stem)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        claims = list(dict.fromkeys(self.claims))
        values = {"claim": claims, "tag": [*claims, *self.errata], "wrong": list(self.planted)}
        for name in set(values) & set(metafunc.fixturenames):
            metafunc.parametrize(name, values[name])

    def test_every_cell_runs(self, runs: list[Run]) -> None:
        assert len(runs) > len(self.claims) > 0

    def test_no_cell_is_slow(self, runs: list[Run]) -> None:
        assert max(run.seconds for run in runs) < 20
        assert sum(run.seconds for run in runs) < 40

    def test_tag_stands_on_a_cell_that_asserts(self, runs: list[Run], tag: str) -> None:
        assert any(run.asserted for run in runs if tag in run.tags)

    def test_every_assertion_is_come_by_and_can_fail(self, runs: list[Run]) -> None:
        for run in runs:
            written = assertions(run.source)
            assert run.asserted == {node.lineno for node in written}, run.source
            assert not [ast.unparse(node) for node in written if cannot_fail(node.test)]

    def test_every_control_is_part_of_a_check(self, runs: list[Run]) -> None:
        for run in runs:
            assert not unreal_controls(run.source)

    def test_coverage_table_says_what_came_out(self, runs: list[Run]) -> None:
        notebook = lecture_notebook(LECTURES / f"{self.stem}.py")
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for cell, run in zip(code, runs, strict=True):
            if run.printed:
                cell.outputs = [new_output("stream", text=run.printed)]
        table = (NOTEBOOKS / "COVERAGE.md").read_text(encoding="utf-8")
        committed = [line for line in table.splitlines() if f"lectures/{self.stem}." in line]
        fresh = [markdown_row(row) for row in coverage_rows(self.stem, notebook)]
        assert len(fresh) >= len(self.claims) + len(self.errata)
        stale = "run `course handouts` and commit notebooks/COVERAGE.md"
        assert len(committed) == len(fresh), stale
        for line, wanted in zip(sorted(committed), sorted(fresh), strict=True):
            assert alike(line, wanted), f"{line}\n{wanted}\n{stale}"

    def test_claim_names_its_control_and_its_heading(self, runs: list[Run], claim: str) -> None:
        assert any("control:" in run.source for run in runs if claim in run.tags)
        assert self.claims.count(claim) == 1

    def test_every_claim_has_a_planted_mistake(self) -> None:
        file = f"in notebooks/src/planted/{self.stem}.toml"
        first = {name.split()[0] for name in self.planted}
        missing = set(self.claims) - first
        assert not missing, f"plant a mistake in {sorted(missing)} {file}"
        named = {word for name in self.planted for word in name.split() if TAG.fullmatch(word)}
        missing = set(self.errata) - named
        assert not missing, f"plant a mistake in {sorted(missing)} {file}"
        unknown = named - {*self.claims, *self.errata}
        assert not unknown, f"{sorted(unknown)} {file} is neither claim nor erratum of the lecture"
        for name, texts in self.planted.items():
            assert sorted(texts) == ["right", "wrong"], f"{name} {file}"

    def test_a_cell_has_at_most_fifteen_lines_of_code(self, runs: list[Run]) -> None:
        for run in runs:
            assert sum(bool(line.strip()) for line in run.source.splitlines()) <= 15, run.source

    def test_a_planted_wrong_quantity_fails_the_check(self, runs: list[Run], wrong: str) -> None:
        right, instead = self.planted[wrong]["right"], self.planted[wrong]["wrong"]
        found = [run for run in runs if right in run.source and wrong.split()[0] in run.tags]
        assert len(found) == 1, f"{right!r} stands in {len(found)} such cells, it must in one"
        [run] = found
        exec(run.source, dict(run.before))  # from the same names the lecture's own text passes
        with pytest.raises(AssertionError):
            exec(run.source.replace(right, instead), dict(run.before))

    def test_the_lecture_needs_nothing_private(self) -> None:
        for cell in cells_of(self.stem, "code"):
            assert "reference" not in cell.source
            assert "autograder" not in cell.source
