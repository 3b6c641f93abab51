"""The picture of a run shows its episodes and the mean of the last hundred of them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_lib.reference.agents.run_figure import plot_run
from course_lib.training import History


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def test_dots_are_the_episodes_and_the_line_is_their_moving_mean(ax):
    returns = np.random.default_rng(0).normal(size=130).tolist()
    history = History(returns, list(range(0, 1300, 10)))
    plot_run(ax, history)
    dots, line = ax.lines
    assert dots.get_ydata().tolist() == returns
    assert dots.get_xdata().tolist() == history.episode_steps
    wanted = [np.mean(returns[end - 100 : end]) for end in range(100, 131)]
    np.testing.assert_allclose(line.get_ydata(), wanted)
    assert line.get_xdata().tolist() == history.episode_steps[99:]
    assert "steps" in ax.get_xlabel()
    assert "return" in ax.get_ylabel()


def test_few_episodes_have_no_mean_and_none_has_a_sentence(ax):
    plot_run(ax, History([1.0, 2.0], [5, 6]))
    assert len(ax.lines) == 1
    ax.clear()
    plot_run(ax, History())
    assert ax.texts[0].get_text() == "no episode has ended"
