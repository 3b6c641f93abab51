"""The leaderboard holds who gave themselves a name, in the order of what their agents earned."""

from dataclasses import replace
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from autograder.grading.record import Record, save
from autograder.report import pages
from autograder.report.leaderboard import claims, leaderboard, public
from autograder.report.results import class_results
from autograder.student.exam import Verdict

CART = Verdict("cartpole_agent", "Your agent in CartPole", 8, 8, "right", "", "Right.", "")


def says(text):
    return new_code_cell(f"LEADERBOARD = {text}")


def named(name, **cost):
    return {"name": name, "cartpole_agent": cost}


@pytest.fixture
def group(tmp_path):
    """Five who handed in agents, and one without."""
    returns = {"ada": 480.0, "ben": 500.0, "cem": 500.02, "dee": 12.0, "eve": None, "fay": 500.0}
    for student, mean in returns.items():
        verdict = replace(CART, mean_return=mean)
        save(tmp_path, Record("hw3", student, "graded", verdicts=(verdict,)))
    return class_results(tmp_path, "hw3")


def test_the_best_return_is_first_and_then_the_fewest_steps(group):
    said = {
        "ada": named("Ace", steps=1, seconds=1),
        "ben": named("Bee", steps=50_000, seconds=30),
        "cem": named("Cat", steps=90_000, seconds=20),
        "dee": named("", steps=5),
        "eve": named("Eel", steps=5),
        "fay": named("Fox"),
    }
    [(title, rows)] = leaderboard(group, said)
    assert title == "Your agent in CartPole"
    assert [(r.name, r.steps, r.seconds) for r in rows] == [
        ("Bee", 50_000, 30),
        ("Cat", 90_000, 20),  # 0.02 more is no better agent
        ("Fox", None, None),
        ("Ace", 1, 1),
    ]
    assert {row.student for _, rows in public([(title, rows)]) for row in rows} == {""}


def test_an_agent_that_earns_no_point_is_not_on_it(tmp_path):
    verdict = replace(CART, mean_return=500.0, points=0)  # does not use its file, for one
    save(tmp_path, Record("hw3", "ada", "graded", verdicts=(verdict,)))
    assert leaderboard(class_results(tmp_path, "hw3"), {"ada": named("Ace")}) == []


def test_nobody_is_on_it_without_a_name_and_one_name_is_not_two_people(group):
    assert leaderboard(group, {}) == []
    said = {"ada": named(" Ada  Lovelace "), "ben": named("ada lovelace"), "cem": named("x" * 99)}
    [(_, rows)] = leaderboard(group, said)
    assert {row.student: row.name for row in rows} == {
        "ada": "Ada Lovelace",
        "ben": "ada lovelace (2)",
        "cem": "x" * 30,
    }


@pytest.mark.parametrize("steps", [-1, 0, "5", None, True, float("nan"), 1e30, [1], 10**400])
def test_a_cost_that_is_no_number_is_not_shown(group, steps):
    [(_, [row])] = leaderboard(group, {"ada": named("Ace", steps=steps)})
    assert row.steps is None


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        ([says("{'name': 'a'}"), says("{'name': 'b'}")], "b"),
        ([says("{'name': 'a'}"), new_code_cell("LEADERBOARD = {")], "a"),
        ([says("{'name': 'a'}"), says("dict(name=open('x').read())")], "a"),
        ([says("{'name': 'a'}"), new_markdown_cell("LEADERBOARD = {'name': 'b'}")], "a"),
        ([says("['name']")], None),
        ([says("{[]: 1}")], None),
        ([new_code_cell("x = LEADERBOARD")], None),
        ([], None),
    ],
)
def test_what_is_said_is_read_and_never_run(cells, name):
    assert claims(cells).get("name") == name


def test_the_page_for_the_class_does_not_say_who_is_who(group, monkeypatch):
    said = {"ada": named("<b>Ace</b>", steps=40_000), "ben": named("Bee")}
    monkeypatch.setattr(pages, "_cells_of", lambda group, student: [says(said.get(student, {}))])
    report = pages.write_all(group.course, "hw3").report
    page = Path(report.parent / "hw3-leaderboard.html").read_text()
    assert "&lt;b&gt;Ace&lt;/b&gt;" in page
    assert "40,000" in page
    assert "ada" not in page.replace("leaderboard", "")
    assert "(ada)" in report.read_text()
    said.clear()
    pages.write_all(group.course, "hw3")
    assert not (report.parent / "hw3-leaderboard.html").exists()
