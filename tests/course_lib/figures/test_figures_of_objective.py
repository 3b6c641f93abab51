"""Lecture 1's figures draw on the axes they are given, name them, and show the numbers they got."""

from collections.abc import Callable

import matplotlib

matplotlib.use("Agg")
import pytest
import torch
from matplotlib.axes import Axes

from course_lib.figures import objective as figures

X = torch.tensor([0.25, 0.5, 0.75])
METHODS = {"old": (1960, 0, 0), "new": (2015, 1, 1)}
Q = torch.tensor([[1.0, 5.0], [2.0, 2.0]])
V = torch.tensor([3.0, 2.0])


def roadmap(ax: Axes) -> Axes:
    return figures.plot_roadmap(ax, METHODS, [("old", "new")], ["lower", "upper"])


def action_values(ax: Axes) -> Axes:
    return figures.plot_action_values(ax, Q, V, ["here", "there"], ["Left", "Right"])


def choice(ax: Axes) -> Axes:
    return figures.plot_choice(ax, X, {"switch": (X > 0.5).double(), "dial": X})


def blind_corridor(ax: Axes) -> Axes:
    return figures.plot_blind_corridor(ax, X, -1 / X, 0.5, -3.0)


def throws(ax: Axes) -> Axes:
    return figures.plot_throws(ax, X, X**2, {"policy": 2 * X})


def returns(ax: Axes) -> Axes:
    return figures.plot_returns(ax, X, 0.5)


def difference_errors(ax: Axes) -> Axes:
    return figures.plot_difference_errors(ax, X, {"one side": X, "both sides": X**2})


def ascent(ax: Axes) -> Axes:
    return figures.plot_ascent(ax, {"step 0.1": X}, 1.0)


def visitation(ax: Axes) -> Axes:
    return figures.plot_visitation(ax, {"before": V, "after": 2 * V}, ["here", "there"])


DRAWN = [
    roadmap,
    action_values,
    choice,
    blind_corridor,
    throws,
    returns,
    difference_errors,
    ascent,
    visitation,
]


@pytest.mark.parametrize("draw", DRAWN)
def test_figure_returns_its_labelled_opaque_axes(
    draw: Callable[[Axes], Axes], require_own_axes: Callable[..., None]
) -> None:
    require_own_axes(draw)


def test_roadmap_has_a_box_a_method_and_an_arrow_from_old_to_new(ax: Axes) -> None:
    roadmap(ax)
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["old\n1960", "new\n2015", ""]
    arrow = ax.texts[-1]
    assert (arrow.xyann, arrow.xy) == ((0, 0), (1, 1))


def test_action_values_print_the_advantages(ax: Axes) -> None:
    action_values(ax)
    printed = [text.get_text() for text in ax.texts]
    assert printed == ["A = -2.0", "A = +0.0", "A = +2.0", "A = +0.0"]
    marks = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert marks["Q(s, Left)"] == pytest.approx([1.0, 2.0])
    assert marks["Q(s, Right)"] == pytest.approx([5.0, 2.0])


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (choice, {"switch": [0, 0, 1], "dial": [0.25, 0.5, 0.75]}),
        (throws, {"policy": [0.5, 1.0, 1.5]}),
        (difference_errors, {"both sides": [0.0625, 0.25, 0.5625]}),
        (ascent, {"step 0.1": [0.25, 0.5, 0.75]}),
    ],
)
def test_curves_are_the_numbers_given(
    draw: Callable[[Axes], Axes], expected: dict[str, list[float]], ax: Axes
) -> None:
    draw(ax)
    curves = {line.get_label(): line.get_ydata() for line in ax.lines}
    for name, numbers in expected.items():
        assert curves[name] == pytest.approx(numbers)


def test_corridor_marks_the_best_probability(ax: Axes) -> None:
    blind_corridor(ax)
    [best] = [line for line in ax.lines if str(line.get_label()).startswith("best")]
    assert best.get_label() == "best: p = 0.500, J = -2.00"
    assert (best.get_xdata(), best.get_ydata()) == (pytest.approx([0.5]), pytest.approx([-2.0]))


def test_returns_are_shares_in_percent(ax: Axes) -> None:
    returns(ax)
    assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(100)


def test_visits_are_bars_with_a_hatching_of_their_own(ax: Axes) -> None:
    visitation(ax)
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([3, 2, 6, 4])
    assert ax.patches[0].get_hatch() != ax.patches[2].get_hatch()


def test_what_does_not_fit_is_named(ax: Axes) -> None:
    with pytest.raises(ValueError, match="'newer' has an arrow and no box"):
        figures.plot_roadmap(ax, METHODS, [("old", "newer")], ["lane"])
    with pytest.raises(ValueError, match=r"action_values must be \(1, 2\)"):
        figures.plot_action_values(ax, Q, V, ["here"], ["Left", "Right"])
    with pytest.raises(ValueError, match=r"dial must be \(3,\) like gaps, got \(2,\)"):
        figures.plot_choice(ax, X, {"dial": X[:2]})
    with pytest.raises(ValueError, match=r"returns must be \(3,\) like chances"):
        figures.plot_blind_corridor(ax, X, X[:2], 0.5, -3.0)
    with pytest.raises(ValueError, match=r"policy must be \(3,\) like actions"):
        figures.plot_throws(ax, X, X, {"policy": X[:1]})
    with pytest.raises(ValueError, match="returns are empty"):
        figures.plot_returns(ax, X[:0], 0.5)
    with pytest.raises(ValueError, match=r"one side must be \(3,\) like steps"):
        figures.plot_difference_errors(ax, X, {"one side": X[:2]})
    with pytest.raises(ValueError, match="slow is empty"):
        figures.plot_ascent(ax, {"slow": X[:0]}, 1.0)
    with pytest.raises(ValueError, match="before must have 1 entries, got 2"):
        figures.plot_visitation(ax, {"before": V}, ["here"])


def test_credited_bars_stand_on_each_other(ax: Axes) -> None:
    so_far, to_come = torch.tensor([1.0, 2.0, 2.5]), torch.tensor([2.0, 1.0, 0.5])
    assert figures.plot_credited(ax, so_far, to_come, 3.0) is ax
    tops = [bar.get_y() + bar.get_height() for bar in ax.patches]  # type: ignore[attr-defined]
    assert tops == pytest.approx([1, 2, 2.5, 3, 3, 3])
    assert ax.lines[0].get_ydata() == [3.0, 3.0]
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    with pytest.raises(ValueError, match=r"to_come must be \(3,\) like so_far, got \(2,\)"):
        figures.plot_credited(ax, so_far, to_come[:2], 3.0)
