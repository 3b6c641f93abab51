"""Picture of one training run."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from course_lib.figures.style import BLUE, INK, frameless
from course_lib.training import History


def plot_run(ax: Axes, history: History, window: int = 100) -> Axes:
    """Return of each training episode as a dot, and the mean of the last `window` as a line."""
    steps = np.array(history.episode_steps, dtype=float)
    returns = np.array(history.episode_returns, dtype=float)
    ax.plot(steps, returns, ".", color=INK, alpha=0.3, markersize=3, label="one episode")
    if len(returns) >= window:
        sums = np.cumsum(np.concatenate([[0.0], returns]))
        means = (sums[window:] - sums[:-window]) / window
        label = f"mean of the last {window}"
        ax.plot(steps[window - 1 :], means, color=BLUE, linewidth=2.2, label=label)
    if len(returns) == 0:
        ax.text(0.5, 0.5, "no episode has ended", transform=ax.transAxes, ha="center", color=INK)
    else:
        ax.legend(frameon=False, loc="best")
    ax.set_xlabel("environment steps, resets included")
    ax.set_ylabel("undiscounted return of a training episode")
    return frameless(ax)
