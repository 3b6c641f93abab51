"""Lecture 6's figures draw on the axes they are given, name them, and show the numbers they got."""

from collections.abc import Callable

import matplotlib

matplotlib.use("Agg")
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from course_lib.figures import trpo as figures

OLD, NEW = torch.tensor([0.6, 0.4]), torch.tensor([0.3, 0.7])
STEPS = torch.tensor([0.1, 0.2, 0.4])
SQUARE = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [1.0, 1.0]])


def overlap(ax: Axes) -> Axes:
    return figures.plot_overlap(ax, OLD, NEW)


def tv_against_kl(ax: Axes) -> Axes:
    return figures.plot_tv_against_kl(ax, STEPS, 3 * STEPS**2)


def minorisers(ax: Axes) -> Axes:
    return figures.plot_minorisers(ax, STEPS, STEPS, [(0.2, STEPS - 1), (0.4, STEPS - 2)])


def progress(ax: Axes) -> Axes:
    return figures.plot_progress(ax, {"penalty": STEPS, "constraint": 2 * STEPS}, "return")


def powers(ax: Axes) -> Axes:
    return figures.plot_powers(ax, STEPS, {"linear": (STEPS**2, 2), "quadratic": (STEPS**3, 3)})


def residuals(ax: Axes) -> Axes:
    return figures.plot_residuals(ax, {"one": STEPS, "other": STEPS**2})


def trust_region(ax: Axes) -> Axes:
    axis = torch.linspace(-1, 1, 5)
    levels = axis[:, None] + axis[None, :]
    return figures.plot_trust_region(
        ax, SQUARE, 0.5 * SQUARE, (axis, axis, levels), {"gradient": torch.tensor([0.5, 0.25])}
    )


def line_search(ax: Axes) -> Axes:
    kl, gain = torch.tensor([0.9, 0.4, 0.1, 0.05]), torch.tensor([1.0, -1.0, 0.5, 0.2])
    return figures.plot_line_search(ax, kl, gain, delta=0.5)


ALL = [
    overlap,
    tv_against_kl,
    minorisers,
    progress,
    powers,
    residuals,
    trust_region,
    line_search,
]


@pytest.mark.parametrize("draw", ALL)
def test_figure_returns_its_labelled_axes_on_white(
    draw: Callable[[Axes], Axes], require_own_axes: Callable[..., None]
) -> None:
    require_own_axes(draw)


def test_the_shared_part_and_the_rests_make_up_both(ax: Axes) -> None:
    overlap(ax)
    shared, old_rest, new_rest = ([bar.get_height() for bar in bars] for bars in ax.containers)
    assert shared == pytest.approx([0.3, 0.4])
    assert np.add(shared, old_rest) == pytest.approx(OLD.numpy())
    assert np.add(shared, new_rest) == pytest.approx(NEW.numpy())


def test_pinsker_is_drawn_at_twice_the_slides_curve(ax: Axes) -> None:
    tv_against_kl(ax)
    curves = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert curves["2 TV^2 (Pinsker)"] == pytest.approx(2 * curves["TV^2 (the slide)"])


def test_each_bound_is_marked_where_it_touches(ax: Axes) -> None:
    minorisers(ax)
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([0.2, 0.4])
    assert [dot.get_ydata()[0] for dot in dots] == pytest.approx([0.2, 0.4])


def test_progress_counts_iterations_from_one_on_a_log_axis(ax: Axes) -> None:
    progress(ax)
    assert ax.get_xscale() == "log"
    assert list(ax.lines[0].get_xdata()) == [1, 2, 3]


def test_power_lines_have_the_powers(ax: Axes) -> None:
    powers(ax)
    for line, power in zip(ax.lines[1::2], (2, 3), strict=True):
        x, y = np.log(line.get_xdata()), np.log(line.get_ydata())
        assert np.diff(y) / np.diff(x) == pytest.approx(power)
    assert [text.get_text() for text in ax.texts] == ["slope 2", "slope 3"]


def test_residuals_are_on_a_log_axis(ax: Axes) -> None:
    residuals(ax)
    assert ax.get_yscale() == "log"
    assert ax.lines[1].get_ydata() == pytest.approx((STEPS**2).numpy())


def test_steps_start_at_the_old_policy(ax: Axes) -> None:
    trust_region(ax)
    ends = [line.get_xdata()[-1] for line in ax.lines if list(line.get_ydata()) == [0, 0.25]]
    assert ends == [0.5]


def test_only_safe_and_better_tries_would_do(ax: Axes) -> None:
    line_search(ax)
    tries = {line.get_label(): list(line.get_xdata()) for line in ax.lines}
    assert tries["would do"] == pytest.approx([0.1, 0.05])
    assert tries["rejected"] == pytest.approx([0.9, 0.4])


def test_what_does_not_fit_is_named(ax: Axes) -> None:
    with pytest.raises(ValueError, match="old and new must both be"):
        figures.plot_overlap(ax, OLD, STEPS)
    with pytest.raises(ValueError, match="kl must be"):
        figures.plot_tv_against_kl(ax, STEPS, OLD)
    with pytest.raises(ValueError, match="bound 0 must be"):
        figures.plot_minorisers(ax, STEPS, STEPS, [(0.2, OLD)])
    with pytest.raises(ValueError, match="values is empty"):
        figures.plot_progress(ax, {}, "return")
    with pytest.raises(ValueError, match="linear must be"):
        figures.plot_powers(ax, STEPS, {"linear": (STEPS - 1, 2)})
    with pytest.raises(ValueError, match="errors is empty"):
        figures.plot_residuals(ax, {})
    with pytest.raises(ValueError, match="gradient must have two coordinates"):
        figures.plot_trust_region(ax, SQUARE, SQUARE, (STEPS, STEPS, STEPS), {"gradient": STEPS})
    with pytest.raises(ValueError, match="gain must be"):
        figures.plot_line_search(ax, STEPS, OLD, 0.5)
