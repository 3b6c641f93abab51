"""Learning curves show the mean over the seeds and Student's interval around it."""

import math

import numpy as np
import pytest

from course_lib.reference.agents.learning_curves import mean_and_half_width, plot_learning_curves

STEPS = [10.0, 20.0, 30.0]
CURVES = {"PPO": (STEPS, [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [5.0, 6.0, 13.0]])}


def test_the_picture_is_drawn_on_the_axes_given(require_own_axes):
    require_own_axes(lambda ax: plot_learning_curves(ax, CURVES, {"others": 4.0}))


def test_line_and_band_are_the_mean_and_its_interval(ax):
    plot_learning_curves(ax, CURVES)
    np.testing.assert_allclose(ax.lines[0].get_xdata(), STEPS)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [3.0, 4.0, 7.0])
    (band,) = ax.collections
    lower = band.get_paths()[0].vertices[:, 1].min()
    # The last column's standard deviation is sqrt(28), and t is 4.303 for three seeds.
    assert lower == pytest.approx(7.0 - 4.303 * math.sqrt(28 / 3))


def test_a_span_in_which_a_seed_ended_no_episode_is_left_out(ax):
    curves = {"PPO": (STEPS, [[math.nan, 2.0, 3.0], [3.0, 4.0, 5.0]])}
    plot_learning_curves(ax, curves)
    np.testing.assert_allclose(ax.lines[0].get_xdata(), STEPS[1:])


def test_seeds_of_another_length_are_refused(ax):
    with pytest.raises(ValueError, match=r"PPO must have returns \(seeds, 3\)"):
        plot_learning_curves(ax, {"PPO": (STEPS, [[1.0, 2.0]])})


@pytest.mark.parametrize("seeds", [2, 5, 10, 21])
def test_the_interval_holds_the_truth_95_times_in_100(seeds):
    rng = np.random.default_rng(seeds)
    trials = 4000
    hits = 0
    for numbers in rng.normal(7.0, 3.0, (trials, seeds)):
        mean, half = mean_and_half_width(numbers.tolist())
        hits += abs(mean - 7.0) <= half
    error = math.sqrt(0.95 * 0.05 / trials)
    assert abs(hits / trials - 0.95) < 3 * error


def test_one_number_has_no_interval_and_none_is_refused():
    mean, half = mean_and_half_width([3.0])
    assert mean == 3.0
    assert math.isnan(half)
    with pytest.raises(ValueError, match="empty"):
        mean_and_half_width([])
