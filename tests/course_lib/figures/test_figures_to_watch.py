"""Grids and agents are drawn where their numbers say, and wrong shapes are named."""

import math
from collections.abc import Iterator

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.quiver import Quiver

from course_lib.figures import agents, grid
from course_lib.figures.style import BLUE, RED, blank_panel, small_panels
from course_lib.mdp import cliff_walk

ENDS = {5: "goal", 4: "cliff"}
UP_OR_LEFT = torch.tensor([[0.75, 0.0, 0.0, 0.25]] * 6)
VISITS = torch.tensor([4.0, 3.0, 2.0, 1.0, 7.0, 8.0])


@pytest.fixture
def ax() -> Iterator[Axes]:
    _, ax = blank_panel()
    yield ax
    plt.close("all")


def test_arrows_point_where_actions_lead_and_are_as_long_as_they_are_likely(ax: Axes) -> None:
    assert grid.plot_policy_on_grid(ax, UP_OR_LEFT, VISITS, 3, ENDS) is ax
    up, right, down, left = (c for c in ax.collections if isinstance(c, Quiver))
    bottom, top = ax.get_ylim()
    assert bottom > top  # row 0 is above, so upwards is towards smaller numbers
    assert (up.V < 0).all()
    assert (left.U < 0).all()
    assert np.allclose(up.V, 3 * left.U)
    assert not right.U.any()
    assert not down.V.any()
    assert up.X.tolist() == [0, 1, 2, 0]  # states 0 to 3; nothing is decided at the ends
    assert up.Y.tolist() == [0, 0, 0, 1]


def test_places_are_as_dark_as_visited_but_for_the_ends(ax: Axes) -> None:
    grid.plot_policy_on_grid(ax, UP_OR_LEFT, VISITS, 3, ENDS)
    [image] = ax.images
    assert np.asarray(image.get_array()).tolist() == [[4, 3, 2], [1, 0, 0]]
    assert sorted(text.get_text() for text in ax.texts) == ["cliff", "goal"]


def test_wrong_shapes_are_named(ax: Axes) -> None:
    with pytest.raises(ValueError, match=r"policy must be \(6, 4\) .* got \(6, 2\)"):
        grid.plot_policy_on_grid(ax, UP_OR_LEFT[:, :2], VISITS, 3, ENDS)
    with pytest.raises(ValueError, match="in rows of 4"):
        grid.plot_policy_on_grid(ax, UP_OR_LEFT, VISITS, 4, ENDS)
    with pytest.raises(ValueError, match="at must be 0 to 2, got 3"):
        grid.plot_step_sizes(ax, torch.tensor([0.1, 0.2]), 3)


def test_bars_reach_the_step_sizes_and_one_stands_out(ax: Axes) -> None:
    grid.plot_step_sizes(ax, torch.tensor([0.1, 0.001, 0.0]), 2)
    tops = [bar.get_y() + bar.get_height() for bar in ax.patches]  # type: ignore[attr-defined]
    assert tops == pytest.approx([0.1, 0.001, 1e-5])
    assert [to_hex(bar.get_facecolor()) == RED.lower() for bar in ax.patches] == [
        False,
        True,
        False,
    ]
    assert ax.get_yscale() == "log"
    assert "nats" in ax.get_ylabel()
    assert ax.get_xlabel() == "update"


def test_pole_leans_as_told_and_turns_red_when_it_is_over(ax: Axes) -> None:
    agents.plot_cartpole(ax, 0.5, 0.1)
    pole = ax.lines[-2]
    (x0, x1), (y0, y1) = (np.asarray(d, dtype=float) for d in pole.get_data())
    assert x0 == 0.5
    assert math.atan2(x1 - x0, y1 - y0) == pytest.approx(0.1)  # from upright, to the right
    assert pole.get_color() == BLUE
    for position, angle in ((0.0, 0.3), (2.5, 0.0)):
        agents.plot_cartpole(ax, position, angle)
        assert ax.lines[-2].get_color() == RED


def test_pendulum_turns_counterclockwise_and_small_torque_has_no_arrow(ax: Axes) -> None:
    agents.plot_pendulum(ax, 0.5, 0.01)
    (_, x), (_, y) = (np.asarray(d, dtype=float) for d in ax.lines[0].get_data())
    assert math.atan2(-x, y) == pytest.approx(0.5)
    assert len(ax.lines) == 2  # the rod and its pivot
    agents.plot_pendulum(ax, 0.5, 2.0)
    arcs = [line for line in ax.lines if len(np.asarray(line.get_xdata())) > 2]
    across, up = (np.asarray(d, dtype=float) for d in arcs[0].get_data())
    assert (np.diff(np.arctan2(up, across)) > 0).all()  # it goes round counterclockwise
    agents.plot_pendulum(ax, 0.5, -1.0)
    weaker = [line for line in ax.lines if len(np.asarray(line.get_xdata())) > 2][1]
    across, up = (np.asarray(d, dtype=float) for d in weaker.get_data())
    assert (np.diff(np.arctan2(up, across)) < 0).all()


CLIFF = cliff_walk(slip=0.1, rows=2, columns=3)  # start, cliff and goal below three places
TWO_MOMENTS = torch.tensor([[[0.25] * 4] * 6, [[0.7, 0.1, 0.1, 0.1]] * 6], dtype=torch.float64)


def arrows_up(ax: Axes) -> float:
    """How likely Up is where it is likeliest, as drawn."""
    up = next(c for c in ax.collections if isinstance(c, Quiver))
    return float(-up.V.min() / 0.46)


def test_a_frame_shows_each_learner_at_its_update_over_its_steps() -> None:
    still = {"one": TWO_MOMENTS, "other": TWO_MOMENTS.flip(0)}
    figure = grid.film_frame(CLIFF, 3, still, 1)
    one, other, steps, _ = figure.axes
    assert (arrows_up(one), arrows_up(other)) == pytest.approx((0.7, 0.25))
    assert one.get_title() == f"one: J = {CLIFF.expected_return(TWO_MOMENTS[1]):.2f}"
    assert sorted(text.get_text() for text in one.texts) == ["cliff", "goal"]
    assert [to_hex(bar.get_facecolor()) for bar in steps.patches] == [RED.lower()]
    plt.close("all")


def test_a_strip_shows_the_same_moments_side_by_side_with_their_numbers() -> None:
    strip = grid.film_strip(CLIFF, 3, {"one": TWO_MOMENTS, "other": TWO_MOMENTS.flip(0)}, (0, 1))
    before, after, steps, other_before, other_after, _ = strip.axes
    assert [ax.get_title() for ax in (before, after)] == ["before learning", "update 1"]
    ups = [arrows_up(ax) for ax in (before, after, other_before, other_after)]
    assert ups == pytest.approx([0.25, 0.7, 0.7, 0.25])
    assert after.get_xlabel() == f"J = {CLIFF.expected_return(TWO_MOMENTS[1]):.2f}"
    assert [ax.get_ylabel() for ax in (before, other_before)] == ["one", "other"]
    assert len(steps.patches) == 1
    assert "nats" in steps.get_title()
    with pytest.raises(ValueError, match="update must be 0 to 1, got 2"):
        grid.film_strip(CLIFF, 3, {"one": TWO_MOMENTS}, (0, 2))
    plt.close("all")


def test_step_size_is_the_mean_kl_over_the_places_the_first_policy_visits() -> None:
    [size] = grid.step_sizes(CLIFF, TWO_MOMENTS)
    # The same in every place, so visits do not matter: sum of old * log(old / new).
    expected = 0.25 * math.log(0.25 / 0.7) + 0.75 * math.log(0.25 / 0.1)
    assert float(size) == pytest.approx(expected, rel=1e-12)
    uneven = TWO_MOMENTS.clone()
    uneven[1, :3] = 0.25  # changed at the start alone, the one place below that is no end
    visits = CLIFF.visitation(uneven[0])
    share = visits[3] / visits[:4].sum()
    [size] = grid.step_sizes(CLIFF, uneven)
    assert float(size) == pytest.approx(float(share) * expected, rel=1e-12)


def test_panels_of_a_slider_stay_where_they_are() -> None:
    learners = {"one": TWO_MOMENTS, "other": TWO_MOMENTS}
    for make in (lambda: small_panels(3)[0], lambda: grid.film_frame(CLIFF, 3, learners, 0)):
        one, other = make(), make()
        other.axes[0].set_title("a title")
        other.axes[0].set_ylabel("a label")
        other.canvas.draw()
        assert [ax.get_position().bounds for ax in one.axes] == [
            ax.get_position().bounds for ax in other.axes
        ]
        assert to_hex(one.get_facecolor()) == "#ffffff"
    plt.close("all")
