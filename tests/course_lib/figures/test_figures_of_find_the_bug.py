"""A recorded run is drawn over healthy ones, panel by panel, with a place for 0."""

from collections.abc import Iterator, Sequence

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pytest
from matplotlib.axes import Axes

from course_lib.figures.find_the_bug import plot_run
from course_lib.figures.style import PALE, RED
from course_lib.find_the_bug import PANELS, healthy_curves, run_curves, steps_of_updates


@pytest.fixture
def axes() -> Iterator[Sequence[Axes]]:
    yield list(plt.subplots(1, len(PANELS))[1])
    plt.close("all")


def test_each_panel_has_its_curve_over_the_healthy_ones(axes: Sequence[Axes]) -> None:
    run, healthy = run_curves(1), healthy_curves()
    assert plot_run(axes, run, healthy, steps_of_updates()) is axes
    for ax, name in zip(axes, PANELS, strict=True):
        *grey, own = ax.lines
        assert [line.get_color() for line in grey] == [PALE] * len(healthy)
        assert own.get_color() == RED
        assert list(map(float, own.get_ydata())) == list(run[name])  # type: ignore[arg-type]
        assert ax.get_title()
        assert ax.get_xlabel() == "environment steps"
        bottom, top = ax.get_ylim()
        assert bottom == 0
        assert all(0 <= value <= top for value in run[name])
    assert "nats" in axes[1].get_title()
    assert axes[1].get_yscale() == axes[4].get_yscale() == "symlog"


def test_too_few_axes_and_curves_of_another_length_are_named(axes: Sequence[Axes]) -> None:
    with pytest.raises(ValueError, match="5 curves and 2 axes"):
        plot_run(axes[:2], run_curves(1), [], steps_of_updates())
    with pytest.raises(ValueError, match=r"return must be \(3,\)"):
        plot_run(axes, run_curves(1), [], [1, 2, 3])
