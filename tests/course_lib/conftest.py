from collections.abc import Callable, Iterator
from contextlib import nullcontext

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from stand_in import stand_in

from course_lib.figures.style import blank_panel


@pytest.fixture
def ax() -> Iterator[Axes]:
    """An empty panel, closed afterwards."""
    figure, ax = blank_panel()
    yield ax
    plt.close(figure)


@pytest.fixture
def require_own_axes(ax: Axes) -> Callable[[Callable[[Axes], Axes]], None]:
    """A figure function must return the labelled, opaque axes that it was given."""

    def require(draw: Callable[[Axes], Axes]) -> None:
        open_figures = plt.get_fignums()
        assert draw(ax) is ax
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        assert plt.get_fignums() == open_figures  # no figure of its own
        ax.figure.canvas.draw()
        corner = np.asarray(ax.figure.canvas.buffer_rgba())[0, 0]
        assert corner.tolist() == [255, 255, 255, 255]

    return require


@pytest.fixture
def cuda() -> Iterator[None]:
    """Device "cuda" is there: the machine's own, or else the one that stands in for it."""
    with nullcontext() if torch.cuda.is_available() else stand_in():
        yield
