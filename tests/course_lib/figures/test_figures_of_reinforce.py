"""Lecture 4's figures draw on the axes they are given, name them, and show the numbers they got."""

from collections.abc import Callable, Iterator

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from course_lib.figures import reinforce as figures
from course_lib.figures.style import blank_panel

TABLE = torch.arange(12.0).view(4, 3)  # updates by learners
BEFORE, AFTER = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.6, 0.1, 0.3])
AXIS = torch.linspace(-1, 1, 5)
AT, TRUTH = torch.tensor([2.0, 2.0]), torch.tensor([-2.0, -2.0])
DOTS = torch.tensor([[1.0, 2.0], [3.0, 1.0]])


def spread(ax: Axes) -> Axes:
    return figures.plot_spread(ax, {"one": TABLE, "other": TABLE + 1}, 12.0, "return J")


def push(ax: Axes) -> Axes:
    return figures.plot_push(ax, [3.0, 0.0, -1.0], BEFORE, AFTER)


def bowl(ax: Axes) -> Axes:
    return figures.plot_bowl(ax, AT, TRUTH, {"on": (DOTS, DOTS), "off": (DOTS, -DOTS)})


def rates(ax: Axes) -> Axes:
    return figures.plot_rates(ax, torch.tensor([0.1, 1.0, 10.0, 100.0]), TABLE, 12.0, "return")


def runs(ax: Axes) -> Axes:
    return figures.plot_runs(ax, TABLE, "slow", "return")


def density(ax: Axes) -> Axes:
    table = torch.exp(-(AXIS[:, None] ** 2) - AXIS[:4] ** 2)
    return figures.plot_density(ax, AXIS[:4], AXIS, table, DOTS)


ALL = [spread, push, bowl, rates, runs, density]


@pytest.fixture
def ax() -> Iterator[Axes]:
    _, ax = blank_panel()
    yield ax
    plt.close("all")


@pytest.mark.parametrize("draw", ALL)
def test_figure_returns_its_axes_named_and_white(draw: Callable[[Axes], Axes], ax: Axes) -> None:
    assert draw(ax) is ax
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert ax.get_facecolor() == (1, 1, 1, 1)


def test_spread_is_the_median_and_eight_in_ten(ax: Axes) -> None:
    spread(ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), TABLE[:, 1])
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.2)
    assert band[:, 1].max() == pytest.approx(10.8)
    styles = {(line.get_linestyle(), line.get_marker()) for line in ax.lines[:2]}
    assert len(styles) == 2


def test_push_tells_up_from_down_without_colour(ax: Axes) -> None:
    push(ax)
    before, up, down = ax.containers
    assert [bar.get_height() for bar in before] == pytest.approx(BEFORE.tolist())
    assert [bar.get_height() for bar in up] == pytest.approx([0.6, 0.3])
    assert [bar.get_height() for bar in down] == pytest.approx([0.1])
    assert up[0].get_hatch() != down[0].get_hatch()
    assert [text.get_text() for text in ax.texts] == ["↑ +0.100", "↓ -0.200", "↑ +0.100"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["+3", "0", "-1"]


def test_bowl_has_an_arrow_for_each_estimate_and_a_thick_one_for_the_truth(ax: Axes) -> None:
    bowl(ax)
    tips = [arrow.xy for arrow in ax.texts]
    assert len(tips) == 5
    np.testing.assert_allclose(tips[0], AT + 0.5 * DOTS[0])
    np.testing.assert_allclose(tips[-1], AT + 0.5 * TRUTH)
    widths = [arrow.arrow_patch.get_linewidth() for arrow in ax.texts]
    assert widths[-1] > max(widths[:-1])


def test_rates_show_every_learner_and_the_median(ax: Axes) -> None:
    rates(ax)
    assert ax.get_xscale() == "log"
    dots = np.concatenate([line.get_ydata() for line in ax.lines[:4]])
    np.testing.assert_allclose(dots, TABLE.flatten())
    np.testing.assert_allclose(ax.lines[4].get_ydata(), TABLE.median(1).values)


def test_loop_has_an_arrow_from_each_station_to_the_next(ax: Axes) -> None:
    assert figures.plot_loop(ax, ["a", "b", "c"], "grows") is ax
    words = [text.get_text() for text in ax.texts if text.get_text()]
    assert words == ["a", "b", "c", "grows"]
    arrows = [text for text in ax.texts if getattr(text, "arrow_patch", None)]
    places = {tuple(np.round(text.get_position(), 6)) for text in ax.texts[:3]}
    assert {tuple(np.round(arrow.xy, 6)) for arrow in arrows} == places
    with pytest.raises(ValueError, match="at least two stations"):
        figures.plot_loop(ax, ["a"], "")


def test_runs_draw_each_run_and_the_median(ax: Axes) -> None:
    runs(ax)
    for line, run in zip(ax.lines, TABLE, strict=False):
        np.testing.assert_allclose(line.get_ydata(), run)
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), np.median(TABLE, axis=0))
    assert ax.lines[-1].get_linewidth() > 2 > ax.lines[0].get_linewidth()
    assert ax.get_title() == "slow"


def test_density_marks_the_actions_drawn(ax: Axes) -> None:
    density(ax)
    np.testing.assert_allclose(ax.lines[0].get_xydata(), DOTS)


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda ax: figures.plot_spread(ax, {"one": TABLE[0]}, 1.0, "J"), "one must be"),
        (lambda ax: figures.plot_push(ax, [1.0], BEFORE, AFTER), "of one length"),
        (lambda ax: figures.plot_bowl(ax, AT, BEFORE, {}), "truth must have two"),
        (lambda ax: figures.plot_rates(ax, AXIS, TABLE, 1.0, "J"), r"results must be \(5, L\)"),
        (lambda ax: figures.plot_runs(ax, TABLE[0], "", "J"), "runs must be"),
        (lambda ax: figures.plot_density(ax, AXIS, AXIS, TABLE, DOTS), "density must be"),
    ],
)
def test_what_does_not_fit_is_refused(draw: Callable[[Axes], Axes], words: str, ax: Axes) -> None:
    with pytest.raises(ValueError, match=words):
        draw(ax)
