"""What all tests of questions need."""

import pytest

from autograder.questions.check import HANDED_IN


@pytest.fixture(autouse=True)
def files_beside(monkeypatch):
    """Recipes find the files that are handed in beside a notebook."""
    monkeypatch.chdir(HANDED_IN)
