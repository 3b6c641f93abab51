"""What all tests of questions need."""

import pytest

from autograder.questions import homeworks
from autograder.questions.check import HANDED_IN, Check

# What is asked of every question takes minutes for all of them. The build proves each one, and the
# quick suite builds; here it asks for those of one homework, and the slow suite for all.
QUICK = "hw1"


@pytest.hookimpl(tryfirst=True)  # before marks are looked at
def pytest_collection_modifyitems(items):
    """Tests of a question that is not in the quick suite are slow ones."""
    of = {check.name: check.homework for checks in homeworks().values() for check in checks}
    for item in items:
        params = getattr(item, "callspec", None) and item.callspec.params
        if not params or "autograder/questions" not in item.nodeid:
            continue
        alone = set(params) in ({"check"}, {"name"}, {"check", "seed"}, {"check", "what"})
        question = params.get("check", params.get("name"))
        name = question.name if isinstance(question, Check) else question
        if alone and of.get(name, QUICK) != QUICK:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def files_beside(monkeypatch):
    """Recipes find the files that are handed in beside a notebook."""
    monkeypatch.chdir(HANDED_IN)
