"""Learning curves of several algorithms, each over several seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from statistics import fmean, stdev

import numpy as np
from matplotlib.axes import Axes

from course_lib.figures.style import INK, LINES, frameless

# 0.975 quantiles of Student's t for 1, 2, ... degrees of freedom; beyond them the normal's is near.
_T: tuple[float, ...] = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_T += (2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086)


def mean_and_half_width(numbers: Sequence[float]) -> tuple[float, float]:
    """Mean of independent numbers, one a seed, and half the width of its 95 % interval.

    The half width is t s / sqrt(n), s the standard deviation and t Student's 0.975 quantile with
    n - 1 degrees of freedom; NaN for a single number. Raises ValueError if there is none.
    """
    if not numbers:
        raise ValueError("numbers is empty: at least one seed is needed, and two for an interval")
    if len(numbers) == 1:
        return numbers[0], math.nan
    t = _T[len(numbers) - 2] if len(numbers) - 2 < len(_T) else 1.96
    return fmean(numbers), t * stdev(numbers) / math.sqrt(len(numbers))


def plot_learning_curves(
    ax: Axes,
    curves: Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]],
    marks: Mapping[str, float] | None = None,
) -> Axes:
    """Mean return over the seeds against environment steps, with the mean's 95 % interval.

    curves: algorithm -> (steps (K,) rising, returns (seeds, K)); NaN where a seed ended no episode.
    marks: name -> a return to compare with, a thin level line named in the legend.
    Raises ValueError if a seed's returns are not as long as the steps.
    """
    for (name, (steps, seeds)), (colour, style, _) in zip(curves.items(), cycle(LINES)):
        if not seeds or any(len(returns) != len(steps) for returns in seeds):
            raise ValueError(
                f"{name} must have returns (seeds, {len(steps)}), one for each of its steps, got "
                f"rows of {[len(returns) for returns in seeds]}"
            )
        table = np.array(seeds, dtype=float)  # (seeds, K)
        whole = ~np.isnan(table).any(0)  # where every seed has ended an episode
        middle, half = np.array([mean_and_half_width(c.tolist()) for c in table[:, whole].T]).T
        across = np.asarray(steps, dtype=float)[whole]
        ax.plot(
            across, middle, style, color=colour, linewidth=2, label=f"{name}, {len(seeds)} seeds"
        )
        ax.fill_between(across, middle - half, middle + half, color=colour, alpha=0.2, linewidth=0)
    for name, level in (marks or {}).items():
        ax.axhline(level, color=INK, linewidth=0.8, linestyle=(0, (1, 2)), label=name)
    ax.set_xlabel("environment steps")
    ax.set_ylabel("return of training episodes\n(band: 95 % interval of the mean over seeds)")
    ax.legend(framealpha=1, edgecolor="none")  # a mark may run behind it
    return frameless(ax)
