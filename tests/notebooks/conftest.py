from collections.abc import Iterator
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

matplotlib.use("Agg")
pytest.register_assert_rewrite("lecture_checks")


@pytest.fixture(scope="class")
def runs(request: pytest.FixtureRequest) -> Iterator[list[Any]]:
    """The cells of the lecture that the test class names, executed once.

    A lecture computes in float64 by default; the other tests keep their own.
    """
    from lecture_checks import run_lecture

    dtype = torch.get_default_dtype()
    try:
        yield run_lecture(request.cls.stem)
    finally:
        torch.set_default_dtype(dtype)
        plt.close("all")
