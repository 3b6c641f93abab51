"""Lecture 5's figures draw on the axes they are given, name them, and show the numbers they got."""

from collections.abc import Callable

import matplotlib

matplotlib.use("Agg")
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from course_lib.figures import performance_difference as figures

ALPHAS = torch.tensor([0.1, 0.2, 0.4])
WEIGHTS = torch.tensor([0.25, 0.75])


def advantages(ax: Axes) -> Axes:
    return figures.plot_advantages(ax, WEIGHTS, torch.tensor([3.0, -1.0]), ["go", "wait"])


def contributions(ax: Axes) -> Axes:
    return figures.plot_contributions(
        ax, torch.tensor([9.0, 1.0]), torch.tensor([0.5, -2.0]), ["dry", "ice"]
    )


def iterations(ax: Axes) -> Axes:
    return figures.plot_iterations(ax, {"exact": ALPHAS, "noisy": -ALPHAS}, "return")


def line(ax: Axes) -> Axes:
    return figures.plot_line(ax, ALPHAS, -ALPHAS, ALPHAS, ALPHAS - 1, at=0.21)


def gain_and_error(ax: Axes) -> Axes:
    return figures.plot_gain_and_error(ax, ALPHAS, 2 * ALPHAS, ALPHAS**2)


def guarantee(ax: Axes) -> Axes:
    return figures.plot_guarantee(ax, ALPHAS, ALPHAS, 5 * ALPHAS**2, 0.2)


ALL = [advantages, contributions, iterations, line, gain_and_error, guarantee]


@pytest.mark.parametrize("draw", ALL)
def test_figure_returns_its_labelled_axes_on_white(
    draw: Callable[[Axes], Axes], require_own_axes: Callable[..., None]
) -> None:
    require_own_axes(draw)


def test_areas_of_the_advantages_cancel(ax: Axes) -> None:
    advantages(ax)
    assert [block.get_width() for block in ax.patches] == pytest.approx([0.25, 0.75])
    assert sum(b.get_width() * b.get_height() for b in ax.patches) == pytest.approx(0)
    assert [text.get_text() for text in ax.texts] == ["go\n+3.0", "wait\n-1.0"]


def test_blocks_of_the_states_have_the_contributions_as_areas(ax: Axes) -> None:
    contributions(ax)
    assert [b.get_width() * b.get_height() for b in ax.patches] == pytest.approx([4.5, -2.0])
    assert [block.get_x() for block in ax.patches] == pytest.approx([0, 9])
    assert ax.get_xlim() == (0, 10)


def test_line_says_what_the_curves_are_at_the_mark(ax: Axes) -> None:
    line(ax)
    assert (
        ax.get_title() == "alpha = 0.2:  surrogate L 0.200, true return -0.200, guaranteed -0.800"
    )


def test_series_have_marks_or_lines_of_their_own(ax: Axes) -> None:
    iterations(ax)
    looks = {(drawn.get_linestyle(), drawn.get_marker()) for drawn in ax.lines}
    assert len(looks) == 2


def test_reference_lines_have_slopes_one_and_two(ax: Axes) -> None:
    gain_and_error(ax)
    slopes = [
        float(np.diff(np.log(drawn.get_ydata()))[0] / np.diff(np.log(drawn.get_xdata()))[0])
        for drawn in ax.lines[2:]
    ]
    assert slopes == pytest.approx([1, 2])


def test_what_does_not_fit_is_named(ax: Axes) -> None:
    with pytest.raises(ValueError, match="got 2, 3 and 2"):
        figures.plot_advantages(ax, WEIGHTS, ALPHAS)
    with pytest.raises(ValueError, match="as long as there are states, got 2, 2 and 1"):
        figures.plot_contributions(ax, WEIGHTS, WEIGHTS, ["dry"])
    with pytest.raises(ValueError, match="values is empty"):
        figures.plot_iterations(ax, {}, "return")
    with pytest.raises(ValueError, match="'true return' must be"):
        figures.plot_line(ax, ALPHAS, WEIGHTS, ALPHAS)
    with pytest.raises(ValueError, match="error must be"):
        figures.plot_gain_and_error(ax, ALPHAS, ALPHAS, 0 * ALPHAS)
    with pytest.raises(ValueError, match="one shape"):
        figures.plot_guarantee(ax, ALPHAS, ALPHAS, WEIGHTS, 0.2)
