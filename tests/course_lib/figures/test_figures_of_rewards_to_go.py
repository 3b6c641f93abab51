"""Lecture 3's figures draw on the axes they are given, name them, and show the numbers they got."""

from collections.abc import Callable

import matplotlib

matplotlib.use("Agg")
import pytest
import torch
from matplotlib.axes import Axes

from course_lib.figures import rewards_to_go as figures

X = torch.tensor([1.0, 2.0, 4.0])
PARTS = torch.tensor([[1.0, 0.0], [0.0, 0.5], [0.25, 0.25]])


def growth(ax: Axes) -> Axes:
    return figures.plot_growth(ax, X, {"listed": 4**X, "solved": 2 * X})


def visits_by_step(ax: Axes) -> Axes:
    return figures.plot_visits_by_step(ax, PARTS, ["here", "there"])


def progress(ax: Axes) -> Axes:
    return figures.plot_progress(ax, X / 7, {"whole": X - 3, "to go": X - 2}, 0.5)


def variance_ratios(ax: Axes) -> Axes:
    return figures.plot_variance_ratios(ax, {"one": X / 4, "other": X / 8})


DRAWN = [growth, visits_by_step, progress, variance_ratios]


@pytest.mark.parametrize("draw", DRAWN)
def test_figure_returns_its_labelled_opaque_axes(
    draw: Callable[[Axes], Axes], require_own_axes: Callable[..., None]
) -> None:
    require_own_axes(draw)


def test_growth_is_drawn_on_a_logarithmic_axis(ax: Axes) -> None:
    growth(ax)
    assert ax.get_yscale() == "log"
    curves = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert curves["listed"] == pytest.approx([4.0, 16.0, 256.0])


def test_visits_are_stacked_and_their_sum_is_printed(ax: Axes) -> None:
    visits_by_step(ax)
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(PARTS.flatten().tolist())
    assert ax.patches[4].get_y() == pytest.approx(1.0)  # step 2 stands on steps 0 and 1
    assert [text.get_text() for text in ax.texts] == ["1.25", "0.75"]


def test_progress_has_a_row_an_estimator_and_areas_as_probabilities(ax: Axes) -> None:
    progress(ax)
    whole, to_go = ax.collections
    assert whole.get_offsets()[:, 0].tolist() == pytest.approx([-2.0, -1.0, 1.0])
    assert to_go.get_offsets()[:, 1].tolist() == pytest.approx([1.0, 1.0, 1.0])
    areas = whole.get_sizes()
    assert areas / areas[0] == pytest.approx([1.0, 2.0, 4.0])
    assert "mean of each row: 0.50" in [text.get_text() for text in ax.texts]


def test_variance_ratios_mark_where_both_are_equal(ax: Axes) -> None:
    variance_ratios(ax)
    [line] = ax.lines
    assert list(line.get_xdata()) == [1, 1]
    assert ax.get_xscale() == "log"
    tops = [polygon.get_path().vertices[:, 1].max() for polygon in ax.patches]
    assert tops == pytest.approx([100 / 3, 100 / 3])  # in percent: each world a bin of its own


def test_what_does_not_fit_is_named(ax: Axes) -> None:
    with pytest.raises(ValueError, match=r"listed must be \(3,\) like horizons"):
        figures.plot_growth(ax, X, {"listed": X[:2]})
    with pytest.raises(ValueError, match=r"parts must be \(T, 3\)"):
        figures.plot_visits_by_step(ax, PARTS, ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"whole must be \(3,\) like probabilities"):
        figures.plot_progress(ax, X, {"whole": X[:2]}, 0.5)
    with pytest.raises(ValueError, match="ratios must be positive, got 0"):
        figures.plot_variance_ratios(ax, {"one": X - 1})


def test_shares_lie_where_they_were_counted_with_two_standard_errors(ax: Axes) -> None:
    predicted, counted = torch.tensor([0.5, 0.1]), torch.tensor([0.52, 0.09])
    assert figures.plot_shares(ax, predicted, counted, 100) is ax
    points = ax.lines[1]
    assert list(points.get_xdata()) == predicted.tolist()
    assert list(points.get_ydata()) == counted.tolist()
    first, _ = ax.collections[0].get_segments()  # type: ignore[attr-defined]
    assert first[1, 1] - first[0, 1] == pytest.approx(4 * 0.05)  # sqrt(0.5 * 0.5 / 100)
    assert "100 rides" in ax.get_ylabel()
    with pytest.raises(ValueError, match=r"counted must be \(2,\) like predicted"):
        figures.plot_shares(ax, predicted, counted[:1], 100)
