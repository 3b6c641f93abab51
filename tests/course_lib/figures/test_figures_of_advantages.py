"""Lecture 8's figures draw on the axes they are given, name them, and show the numbers they got."""

from collections.abc import Callable, Iterator

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from course_lib.figures import advantages as figures
from course_lib.figures.style import blank_panel

LAMS = torch.tensor([0.0, 0.5, 1.0])
BIAS, VARIANCE = torch.tensor([4.0, 1.0, 0.0]), torch.tensor([1.0, 2.0, 5.0])


def variances(ax: Axes) -> Axes:
    return figures.plot_variances(ax, {"G": 2.0, "G - V": 0.5})


def critic(ax: Axes) -> Axes:
    days = torch.tensor([1, 1, 2])
    return figures.plot_critic(ax, days, BIAS, torch.tensor([2.5, 2.5, 0.0]))


def weights(ax: Axes) -> Axes:
    return figures.plot_weights(ax, {"lam = 0": 1 - LAMS, "lam = 1": LAMS})


def trade(ax: Axes) -> Axes:
    return figures.plot_trade(ax, LAMS, BIAS, VARIANCE)


@pytest.fixture
def ax() -> Iterator[Axes]:
    _, ax = blank_panel()
    yield ax
    plt.close("all")


@pytest.mark.parametrize("draw", [variances, critic, weights, trade])
def test_figure_returns_its_axes_named_and_white(draw: Callable[[Axes], Axes], ax: Axes) -> None:
    assert draw(ax) is ax
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert ax.get_facecolor() == (1, 1, 1, 1)


def test_variances_stand_from_the_top_down_with_their_numbers(ax: Axes) -> None:
    variances(ax)
    assert [bar.get_width() for bar in ax.patches] == [2.0, 0.5]
    assert [text.get_text().strip() for text in ax.texts] == ["2.00", "0.50"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["G", "G - V"]
    assert ax.yaxis_inverted()


def test_critic_stands_beside_the_true_values_of_its_days(ax: Axes) -> None:
    critic(ax)
    true, guess = ax.lines
    assert list(zip(true.get_xdata(), true.get_ydata(), strict=True)) == [(1, 4), (1, 1), (2, 0)]
    assert list(np.asarray(guess.get_ydata())) == [2.5, 2.5, 0.0]
    assert true.get_marker() != guess.get_marker()
    with pytest.raises(ValueError, match=r"as long as there are towns, got \(3,\), \(3,\) and \(2"):
        figures.plot_critic(ax, LAMS, BIAS, VARIANCE[:2])


def test_weights_have_a_mark_and_a_line_of_their_own(ax: Axes) -> None:
    weights(ax)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), LAMS)
    assert len({(line.get_linestyle(), line.get_marker()) for line in ax.lines}) == 2


def test_trade_marks_the_lowest_sum(ax: Axes) -> None:
    trade(ax)
    np.testing.assert_allclose(ax.lines[2].get_ydata(), BIAS + VARIANCE)
    assert [float(value[0]) for value in ax.lines[3].get_data()] == [0.5, 3.0]
    assert ax.texts[0].get_text() == "lam = 0.50"


def test_what_does_not_fit_is_refused(ax: Axes) -> None:
    with pytest.raises(ValueError, match="variances is empty"):
        figures.plot_variances(ax, {})
    with pytest.raises(ValueError, match=r"variance must be \(3,\)"):
        figures.plot_trade(ax, LAMS, BIAS, VARIANCE[:2])
