from pathlib import Path

import pytest
import torch

from autograder.grading.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def root():
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def sandbox():
    """A running sandbox, as `course grade` uses it."""
    with Sandbox(ROOT) as running:
        yield running
