"""notebooks/COVERAGE.md holds every claim and erratum; each lecture's tests read its own rows."""

import ast
import re
from collections import Counter
from urllib.parse import unquote

import nbformat
import pytest
from lecture_checks import (
    LECTURES,
    NOTEBOOKS,
    STEMS,
    alike,
    cannot_fail,
    cells_of,
    claims_of,
    planted_in,
    unreal_controls,
)
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from autograder.handouts.claims_table import coverage_rows, coverage_table, markdown_row
from autograder.handouts.references import established
from autograder.handouts.sources import LECTURE_KEYS, read_cells

# What the course promises to hold. More is welcome, and is held to the same.
CLAIMS = [f"C{number:02}" for number in range(1, 88)]  # of the slides and the note
ERRATA = [f"E{number}" for number in range(1, 20)]
GRPO = [f"G{number}" for number in range(1, 9)]  # lecture 8 goes on past slides and note
PROMISED = {*CLAIMS, *ERRATA, *GRPO}
# The note's exercises, asked in homework: their identities are claims of the lectures.
EXERCISES = "C79"


@pytest.fixture(scope="module")
def table():
    """The cells of each row of the committed table, by its first."""
    text = (NOTEBOOKS / "COVERAGE.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| [CEG]\d", line)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in rows]


@pytest.fixture(scope="module")
def places():
    """The lectures in which a claim or an erratum is established, by its tag."""
    found = {}
    for stem in STEMS:
        for tag in established(read_cells(LECTURES / f"{stem}.py", LECTURE_KEYS)):
            found.setdefault(tag, []).append(stem)
    return found


def test_the_lectures_together_establish_all_that_is_promised(places):
    assert not PROMISED - set(places)


def test_no_claim_is_made_in_two_lectures():
    claimed = Counter(claim for stem in STEMS for claim in claims_of(stem))
    assert not [claim for claim, times in claimed.items() if times > 1]


def test_the_exercises_are_identities_in_which_a_mistake_is_planted():
    found = set()
    for stem in STEMS:
        for cell in cells_of(stem, "code"):
            tags = cell.metadata.get("tags", [])
            if EXERCISES in tags:
                found.add(tags[0])
                planted = planted_in(stem)[tags[0]]
                assert planted["right"] in cell.source
    # log-derivative, dynamics cancel, importance sampling
    assert found >= {"C16", "C19", "C85"}


def test_the_table_holds_every_claim_and_erratum_with_check_and_control(table, places):
    tags = [row[0] for row in table]
    assert tags == sorted(tags, key=lambda tag: (tag[0], int(tag[1:])))
    assert set(tags) == set(places), "run `course handouts` and commit notebooks/COVERAGE.md"
    for tag, what, where, check, control, result in table:
        assert what
        assert where
        assert check.startswith("`")
        assert control or tag[0] == "E"
        assert result


def test_the_table_counts_what_is_there():
    paths = sorted(NOTEBOOKS.glob("lectures/*.ipynb"))
    fresh = coverage_table({path.stem: nbformat.read(path, 4) for path in paths})
    committed = (NOTEBOOKS / "COVERAGE.md").read_text(encoding="utf-8")
    assert committed.partition("## Claims")[0] == fresh.partition("## Claims")[0]


def test_every_link_of_the_table_leads_to_a_heading(table):
    for row in table:
        links = re.findall(r"\[lecture \d+\]\((lectures/\w+\.ipynb)#(\S+?)\)", row[2])
        assert links
        for file, place in links:
            cells = nbformat.read(NOTEBOOKS / file, 4).cells
            lines = [line for cell in cells for line in cell.source.splitlines()]
            headings = [re.sub("^###? ", "", line) for line in lines if re.match("###? ", line)]
            assert unquote(place).replace("-", " ") in [
                heading.replace("-", " ") for heading in headings
            ]


# The reading of a lecture, and what the checks of lectures refuse.


def lecture(*cells):
    return new_notebook(cells=[new_markdown_cell(text) if isinstance(text, str) else text
                               for text in cells])  # fmt: skip


def code(source, *tags, printed=""):
    outputs = [new_output("stream", text=printed)] if printed else []
    return new_code_cell(source, metadata={"tags": list(tags)}, outputs=outputs)


def test_a_row_tells_claim_check_control_and_result():
    notebook = lecture(
        "## One and one (C14)\n\nText.",
        code(
            "x = 1 + 1\nassert x == 2\nassert x < 3 | 1\nassert not x == 11  # control: glued\n"
            "print(x)",
            "C14",
            printed="x is\n2\n",
        ),
    )
    [row] = coverage_rows("02_sums", notebook)
    assert markdown_row(row) == (
        "| C14 | One and one | [lecture 2](lectures/02_sums.ipynb#One-and-one-%28C14%29) "
        "| `x == 2` and 1 more | glued | `x is; 2` |"
    )
    text = coverage_table({"02_sums": notebook})
    assert "1 claims (C) and 0 errata (E) of the slides" in text
    assert "by 3 assertions" in text


def test_an_erratum_has_a_row_for_each_place():
    notebook = lecture(
        "## First (C01)\n\n> **Erratum E7, first half (slide 2).**\n>\n"
        "> - **The lecture says:** a.\n"
        "> - **Right is:** it is $a. b$, **always**. More.",
        code("assert a", "C01", "E7"),
        "## Second (C02)",
        code("assert b", "C02", "E7"),
        "> **E7 again (slide 3).** Words. More words.",
        "## Third (C03)",
        code("assert c", "E7"),
    )
    rows = [(row.tag, row.what, row.checks) for row in coverage_rows("01_x", notebook)]
    assert rows == [
        ("C01", "First", ("a",)),
        ("E7", "first half (slide 2): it is $a. b$, always", ("a",)),
        ("C02", "Second", ("b",)),
        ("E7", "again (slide 3): Words", ("b", "c")),
    ]


@pytest.mark.parametrize(
    ("assertion", "empty"),
    [
        ("assert True", True),
        ("assert 1 + 1 == 2", True),
        ("assert same(x, x)", True),
        ("assert x == x", True),
        ("assert y and abs(x - 1) <= abs(x - 1)", True),
        ("assert torch.allclose(x, x, atol=1)", True),
        ("assert same(x, y)", False),
        ("assert same(step(x, x), y)", False),
        ("assert x == 1 == 1", False),
        ("assert f(0, 0) == x", False),
        ("assert x", False),
    ],
)
def test_an_assertion_in_name_only_is_seen(assertion, empty):
    [node] = ast.parse(assertion).body
    assert cannot_fail(node.test) == empty


@pytest.mark.parametrize(
    ("source", "unreal"),
    [
        ("assert x  # control: a", 0),
        ("y = 1  # control: a\nassert x < y", 0),
        ("for z in x:  # control: a\n    found.append(z)\nassert found", 0),
        ("y = 1  # control: a\nassert x", 1),
        ("assert y\ny = 1  # control: a", 1),
        ("# control: a\nassert x", 0),
        ("# control: a\nprint(x)\nassert x", 1),
        ("assert x\n# control: a", 1),
        ("print(x)  # control: a\nassert x", 1),
    ],
)
def test_a_control_in_name_only_is_seen(source, unreal):
    assert len(unreal_controls(source)) == unreal


def test_tables_are_compared_but_for_the_last_digits():
    assert alike("off by 2.1e-16, gain 0.4142", "off by -7.3e-17, gain 0.4143")
    assert not alike("gain 0.4142", "gain 0.43")
    assert not alike("gain 0.4142", "loss 0.4142")
    assert not alike("gain 0.4, 1", "gain 0.4")
