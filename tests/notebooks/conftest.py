from collections.abc import Iterator

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pytest
import torch

pytest.register_assert_rewrite("lecture_checks")
from lecture_checks import Run, run_lecture


@pytest.fixture(scope="class")
def restore_torch() -> Iterator[None]:
    """A lecture computes in float64 by default; the other tests keep their own."""
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)
    plt.close("all")


@pytest.fixture(scope="class")
def runs(request: pytest.FixtureRequest, restore_torch: None) -> list[Run]:
    """The cells of the lecture that the test class names, executed once."""
    return run_lecture(request.cls.stem)
