"""References to claims, errata and lectures: dead ones of made-up lectures, and none in ours."""

from dataclasses import replace

import pytest

from autograder.handouts.references import (
    dead_references,
    established,
    require_live_references,
    sees_of,
)
from autograder.percent import LECTURE_KEYS, read_cells
from autograder.project import HandoutError
from autograder.questions import homeworks

FIRST = """\
# %% [markdown]
# # Walks: the beginning
#
# It goes on in C03 and `C99`, where $C_{98} = C97$ and [there](02_runs.ipynb#Runs-(C96)).
#
# ## One and two (C01, C02)
#
# > **Erratum E1 (slide 4).**
# >
# > - **The lecture says:** so.

# %% tags=["C01", "E1"]
assert 1 < 2
# %% tags=["C02", "C79"]
assert 2 < 3
"""
SECOND = """\
# %% [markdown]
# # Runs
#
# ## Three, and what E1 does to it (C03)

# %% tags=["C03"]
x = [1]
assert x
"""
HOMEWORK = """\
# %% [markdown]
# *Lecture 1, sections C01 to C79. Lecture on walks, section C02. Lecture on runs, sections C03.*
"""


@pytest.fixture
def course(tmp_path):
    """A root with two lectures and a homework, and a function that edits one of its files."""
    files = {
        "lectures/01_walks.py": FIRST,
        "lectures/02_runs.py": SECOND,
        "homework/hw1.py": HOMEWORK,
    }
    for name, text in files.items():
        path = tmp_path / "notebooks" / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def edit(name, old, new):
        path = tmp_path / "notebooks" / "src" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return tmp_path, edit


def findings(root, sees=()):
    """The findings, one a line."""
    try:
        require_live_references(root, sees)
    except HandoutError as error:
        return str(error).splitlines()
    return []


def test_nothing_is_said_of_what_is_there(course):
    root, _ = course
    sees = [
        ("walk.py", "walk", "too short", f"{place}") for place in ("01_walks#C79", "02_runs#C03")
    ]
    assert findings(root, sees) == []


def test_a_lecture_establishes_headings_boxes_and_what_asserting_cells_show_besides(course):
    root, edit = course
    path = root / "notebooks" / "src" / "lectures" / "01_walks.py"
    assert established(read_cells(path, LECTURE_KEYS)) == {"C01", "C02", "C79", "E1"}
    edit("lectures/01_walks.py", "assert 2", "print(2)")
    assert established(read_cells(path, LECTURE_KEYS)) == {"C01", "C02", "E1"}


@pytest.mark.parametrize(
    ("name", "old", "new", "dead"),
    [
        # a heading is renamed: what mentions it, in words, and what is tagged with it
        (
            "lectures/02_runs.py",
            "(C03)",
            "(C04)",
            [
                "01_walks.py, cell 1 (# Walks: the beginning): C03 is not established",
                "02_runs.py, cell 2 (x = [1]): in its tags: C03 is not established",
                "hw1.py, cell 1 (*Lecture 1, sections C01 to C79.",
            ],
        ),
        (
            "lectures/01_walks.py",
            "> **Erratum E1",
            "> **Erratum E2",
            [
                "01_walks.py, cell 2 (assert 1 < 2): in its tags: E1 is not established",
                "02_runs.py, cell 1 (# Runs): E1 is not established by any lecture: was it "
                "renamed? Write the name that a box begins with now",
            ],
        ),
        # a claim in tags alone goes with the claim under whose heading it stands
        (
            "lectures/01_walks.py",
            "(C01, C02)",
            "(C01)",
            [
                "01_walks.py, cell 3 (assert 2 < 3): in its tags: C02 is",
                "01_walks.py, cell 3 (assert 2 < 3): in its tags: C79 is",
                "hw1.py, cell 1 (",
                "hw1.py, cell 1 (",
            ],
        ),
        (
            "lectures/01_walks.py",
            "`C99`",
            "C99",
            ["01_walks.py, cell 1 (# Walks: the beginning): C99 is not established by any lecture"],
        ),
        (
            "lectures/02_runs.py",
            '["C03"]',
            '["plot", "G7"]',
            ["02_runs.py, cell 2 (x = [1]): in its tags: G7 is not established by any lecture"],
        ),
    ],
)
def test_a_mention_of_what_no_lecture_establishes_is_found(course, name, old, new, dead):
    root, edit = course
    edit(name, old, new)
    found = findings(root)
    assert len(found) == len(dead)
    for sentence, begin in zip(found, dead, strict=True):
        assert sentence.startswith(begin)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Lecture 1, sections", "Lecture 2, sections C03,", "C01 is not in lecture 2: write the"),
        (
            "C01 to C79",
            "C01, C02 and C03",
            "C03 is not in lecture 1: write the one that has it, 02",
        ),
        (
            "on walks, section C02",
            "on walks, section C03",
            "C03 is not in the lecture on walks: wri",
        ),
        ("Lecture 1", "Lecture 7", "there is no lecture 7: there are 01_walks, 02_runs"),
        ("on runs", "on hops", "there is no lecture on hops: there are 01_walks, 02_runs"),
    ],
)
def test_a_section_of_another_lecture_than_the_named_one_is_found(course, old, new, words):
    root, edit = course
    edit("homework/hw1.py", old, new)
    found = findings(root)
    assert found[0].partition("): ")[2].startswith(words)
    assert len(found) == (2 if words.startswith("C01") else 1)  # C01 and C79


@pytest.mark.parametrize(
    ("see", "words"),
    [
        ("03_jumps#C03", "there is no lecture 03_jumps: there are 01_walks, 02_runs"),
        ("01_walks#C03", "C03 is not in 01_walks: write 02_runs#C03"),
        ("01_walks#C44", "C44 is not established by any lecture: was it renamed?"),
        ("01_walks", "'' is no claim: write it as in 01_walks#C14"),
    ],
)
def test_a_known_mistake_that_leads_nowhere_is_found(course, see, words):
    root, _ = course
    [found] = findings(root, [("walk.py", "walk", "too short", see)])
    assert found.startswith(f"walk.py, walk, mistake too short: see={see!r}: {words}")


# The real content.


@pytest.fixture(scope="module")
def sees():
    return sees_of(check for checks in homeworks().values() for check in checks)


def test_no_reference_of_the_course_is_dead(root, sees):
    assert len(sees) > 100
    require_live_references(root, sees)


def test_a_claim_renamed_in_its_heading_is_missed_wherever_it_is_named(root, sees):
    paths = sorted(root.glob("notebooks/src/lectures/*.py"))
    lectures = {path.stem: read_cells(path, LECTURE_KEYS) for path in paths}
    assert dead_references(lectures, {}, sees) == []
    lectures["02_policy_gradient"] = [
        replace(cell, source=cell.source.replace("(C23)", "(C99)"))
        for cell in lectures["02_policy_gradient"]
    ]
    found = dead_references(lectures, {}, sees)
    assert any("in its tags: C23 " in sentence for sentence in found)
    assert {see[:3] for see in sees if see[3].endswith("#C23")} <= {
        tuple(sentence.partition(": see=")[0].replace("mistake ", "").split(", "))
        for sentence in found
    }
    assert all("C23 is not established" in sentence for sentence in found)
