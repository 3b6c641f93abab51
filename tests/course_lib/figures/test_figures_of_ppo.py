"""Lecture 7's figures draw on the axes they are given, name them, and show the numbers they got."""

from collections.abc import Callable

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.axes import Axes

from course_lib.figures import ppo as figures
from course_lib.figures.style import two_panels

RATIOS = torch.tensor([0.5, 0.8, 1.0, 1.2, 1.5])
FLAT = torch.tensor([0.5, 0.8, 1.0, 1.2, 1.2])  # the objective of a good action
EDGES = (0.8, 1.2)
LANES = {
    "REINFORCE": [("collect", 0.0, 8.0), ("step", 8.0, 9.0)],
    "PPO": [("collect", 0.0, 8.0), ("step", 8.0, 9.0), ("step", 9.0, 10.0)],
}


def clip(ax: Axes) -> Axes:
    return figures.plot_clip(ax, RATIOS, RATIOS, FLAT, EDGES, at=(1.5, 1.2))


def timeline(ax: Axes) -> Axes:
    return figures.plot_timeline(ax, LANES)


def steps(ax: Axes) -> Axes:
    return figures.plot_steps(ax, {"vanilla": RATIOS, "clipped": FLAT}, "return")


def ratios(ax: Axes) -> Axes:
    table = torch.stack([RATIOS, 2 - RATIOS], -1)
    return figures.plot_ratios(ax, table, ["good", "bad"], EDGES)


def runs(ax: Axes) -> Axes:
    ax = figures.plot_runs(ax, [0, 1, 4], {"clipped": [[1, 2, 3], [3, 2, 7]]}, "return")
    ax.set_xlabel("passes")  # the caller's, since runs are looked at by pass or by step
    return ax


def variants(ax: Axes) -> Axes:
    return figures.plot_variants(ax, [300, 400], {"no clip": [100, 300], "K = 10": [450]})


ALL = [clip, timeline, steps, ratios, runs, variants]


@pytest.mark.parametrize("draw", ALL)
def test_figure_returns_its_labelled_axes_on_white(
    draw: Callable[[Axes], Axes], require_own_axes: Callable[..., None]
) -> None:
    require_own_axes(draw)


def test_two_panels_stand_side_by_side_on_white() -> None:
    figure, (left, right) = two_panels()
    figure.canvas.draw()
    assert left.get_position().x1 < right.get_position().x0
    assert figure.get_facecolor() == (1, 1, 1, 1)
    plt.close(figure)


def test_the_flat_part_alone_is_shaded(ax: Axes) -> None:
    clip(ax)
    [shade] = ax.patches
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == pytest.approx((1.2, 1.5))
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["clipped objective"].get_ydata() == pytest.approx(FLAT.numpy())
    assert lines["here"].get_xdata()[0] == 1.5


def test_without_a_flat_part_nothing_is_shaded(ax: Axes) -> None:
    figures.plot_clip(ax, RATIOS, RATIOS, RATIOS, EDGES)
    assert not ax.patches
    assert not ax.texts


def test_every_event_has_its_bar(ax: Axes) -> None:
    timeline(ax)
    bars = [bar for container in ax.containers for bar in container]
    spans = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
    assert spans == [event[1:] for lane in LANES.values() for event in lane]
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["collect a batch", "gradient step on it"]


def test_runs_are_all_drawn_and_the_labelled_one_is_their_median(ax: Axes) -> None:
    figures.plot_runs(ax, [0, 1], {"clipped": [[1, 2], [3, 2], [-9, 7]]}, "return")
    drawn = {tuple(line.get_ydata()): line.get_label() for line in ax.lines}
    assert {(1, 2), (3, 2), (-9, 7)} <= set(drawn)
    assert [y for y, label in drawn.items() if label == "clipped"] == [(1, 2)]
    assert len(ax.lines) == 4


def test_variants_show_each_seed_its_mean_and_the_baseline(ax: Axes) -> None:
    variants(ax)
    dots = [list(line.get_xdata()) for line in ax.lines if line.get_marker() == "o"]
    means = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "|"]
    assert dots == [[100, 300], [450]]
    assert means == [200, 450]
    [band] = ax.patches  # mean 350, standard error 50
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((250, 450))
    assert [text.get_text() for text in ax.get_yticklabels()] == ["no clip", "K = 10"]


def test_what_does_not_fit_is_named(ax: Axes) -> None:
    with pytest.raises(ValueError, match="clipped must be"):
        figures.plot_clip(ax, RATIOS, RATIOS, FLAT[:2], EDGES)
    with pytest.raises(ValueError, match="got 'rest' in PPO"):
        figures.plot_timeline(ax, {"PPO": [("rest", 0.0, 1.0)]})
    with pytest.raises(ValueError, match="curves is empty"):
        figures.plot_steps(ax, {}, "return")
    with pytest.raises(ValueError, match=r"ratios must be \(K \+ 1, 2\)"):
        figures.plot_ratios(ax, RATIOS, ["good", "bad"], EDGES)
    with pytest.raises(ValueError, match=r"clipped must be \(runs, 2\)"):
        figures.plot_runs(ax, [0, 1], {"clipped": [[1, 2, 3]]}, "return")
    with pytest.raises(ValueError, match="at least two seeds, got 1"):
        figures.plot_variants(ax, [300], {"no clip": [1]})
