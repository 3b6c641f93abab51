"""Lecture figures draw on the axes they are given, name them, and show the numbers they got."""

from collections.abc import Callable, Iterator

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from course_lib.figures import policy_gradient as figures
from course_lib.figures.style import blank_panel

SIZES = torch.tensor([16, 64, 256])
ERRORS = torch.tensor([0.4, 0.2, 0.1])
EXACT = torch.tensor([1.0, -2.0])


def convergence(ax: Axes) -> Axes:
    return figures.plot_convergence(ax, SIZES, {"estimate": ERRORS}, ERRORS)


def gradients(ax: Axes) -> Axes:
    estimate = (EXACT + 0.1, torch.tensor([0.2, 0.3]))
    return figures.plot_gradient_estimates(ax, EXACT, {"estimate": estimate}, ["a", "b"])


def credit(ax: Axes) -> Axes:
    return figures.plot_credit(ax, torch.tensor([[0.5, 0.25], [0.0, 1.0]]))


def shifted_pay(ax: Axes) -> Axes:
    x = torch.tensor([-1.0, 0.0, 1.0])
    return figures.plot_variance_of_shifted_pay(ax, x, torch.full((3,), 2.0), x**2 * 3)


@pytest.fixture
def ax() -> Iterator[Axes]:
    figure, ax = blank_panel()
    yield ax
    plt.close(figure)


@pytest.mark.parametrize("draw", [convergence, gradients, credit, shifted_pay])
def test_figure_returns_its_labelled_axes(draw: Callable[[Axes], Axes], ax: Axes) -> None:
    open_figures = plt.get_fignums()
    assert draw(ax) is ax
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert plt.get_fignums() == open_figures  # no figure of its own


@pytest.mark.parametrize("draw", [convergence, gradients, credit, shifted_pay])
def test_figure_is_opaque_white(draw: Callable[[Axes], Axes], ax: Axes) -> None:
    draw(ax)
    ax.figure.canvas.draw()
    corner = np.asarray(ax.figure.canvas.buffer_rgba())[0, 0]
    assert corner.tolist() == [255, 255, 255, 255]


def test_convergence_shows_the_errors_on_two_logarithmic_axes(ax: Axes) -> None:
    convergence(ax)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.lines[1].get_ydata() == pytest.approx(ERRORS.numpy())


def test_gradient_bars_are_the_exact_gradient(ax: Axes) -> None:
    gradients(ax)
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(EXACT.tolist())
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]


def test_credit_prints_every_block(ax: Axes) -> None:
    credit(ax)
    assert [text.get_text() for text in ax.texts] == ["0.50", "0.25", "0", "1.00"]


def test_shifted_pay_tells_which_curve_is_which(ax: Axes) -> None:
    shifted_pay(ax)
    curves = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert curves["rewards-to-go"] == pytest.approx([3.0, 0.0, 3.0])
    assert curves["whole return R(tau)"] == pytest.approx([2.0, 2.0, 2.0])


def test_lengths_that_do_not_fit_are_named(ax: Axes) -> None:
    with pytest.raises(ValueError, match=r"errors\['estimate'\] must be \(3,\)"):
        figures.plot_convergence(ax, SIZES, {"estimate": ERRORS[:2]}, ERRORS)
    with pytest.raises(ValueError, match="predicted must be"):
        figures.plot_convergence(ax, SIZES, {"estimate": ERRORS}, ERRORS[:2])
    with pytest.raises(ValueError, match="names must have 2 entries like exact, got 1"):
        figures.plot_gradient_estimates(ax, EXACT, {}, ["a"])
    with pytest.raises(ValueError, match=r"sizes must be \(T, T\), got \(2, 3\)"):
        figures.plot_credit(ax, torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"rewards_to_go must be \(3,\)"):
        figures.plot_variance_of_shifted_pay(ax, ERRORS, ERRORS, ERRORS[:2])


def test_score_is_a_table_of_its_numbers(ax: Axes) -> None:
    score = torch.tensor([[-0.62, 0.62], [0.0, 0.0]])
    assert figures.plot_score(ax, score, ["depot", "park"], ["steady", "hasty"], "t = 0") is ax
    assert [text.get_text() for text in ax.texts] == ["-0.62", "+0.62", "0", "0"]
    red, blue = (ax.images[0].cmap(ax.images[0].norm(value)) for value in (-1.0, 1.0))
    assert blue[2] > blue[0]
    assert red[0] > red[2]
    assert ax.get_title() == "t = 0"
    with pytest.raises(ValueError, match=r"score must be \(1, 2\), got \(2, 2\)"):
        figures.plot_score(ax, score, ["depot"], ["steady", "hasty"], "")
