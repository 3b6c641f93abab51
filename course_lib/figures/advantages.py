"""Pictures of lecture 8: what a baseline saves, how lam looks ahead, and bias against variance."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from course_lib.figures.style import BLUE, INK, LINES, ORANGE, PALE, RED, as_array, frameless


def plot_variances(ax: Axes, variances: Mapping[str, float]) -> Axes:
    """Total variance of one trajectory's estimate, a bar for each weight of the score.

    variances: name -> number, drawn from the top down in this order. [slide 70]
    Raises ValueError if there is none.
    """
    if not variances:
        raise ValueError("variances is empty: give at least one weight and its variance")
    places, numbers = range(len(variances)), list(variances.values())
    ax.barh(places, numbers, 0.7, color=PALE, edgecolor=INK, linewidth=0.8)
    for place, number in zip(places, numbers, strict=True):
        ax.text(number, place, f" {number:.2f}", va="center", color=INK)
    ax.set_yticks(places, list(variances))
    ax.invert_yaxis()
    ax.set_xlim(0, 1.15 * max(numbers))
    ax.set_xlabel("total variance of one trajectory's estimate")
    ax.set_ylabel("weight of the score")
    return frameless(ax)


def plot_critic(ax: Axes, days: Tensor, values: Tensor, critic: Tensor) -> Axes:
    """True values as dots over the day they belong to, and a critic's as dashes.

    days, values, critic: (S,), a town each. [slide 70]
    Raises ValueError if the lengths differ.
    """
    if not days.shape == values.shape == critic.shape:
        raise ValueError(
            f"days, values and critic must be as long as there are towns, got "
            f"{tuple(days.shape)}, {tuple(values.shape)} and {tuple(critic.shape)}"
        )
    x, true, guess = as_array(days), as_array(values), as_array(critic)
    ax.vlines(x, np.minimum(true, guess), np.maximum(true, guess), color=PALE, linewidth=2)
    ax.plot(x, true, "o", color=BLUE, markersize=8, label="true value of a town")
    ax.plot(x, guess, "_", color=RED, markersize=26, markeredgewidth=3, label="the coarse critic")
    ax.set_xticks(np.unique(x))
    ax.set_xlabel("day")
    ax.set_ylabel("value")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return frameless(ax)


def plot_weights(ax: Axes, weights: Mapping[str, Tensor]) -> Axes:
    """How much the TD error of each later step counts, a line for each lam.

    weights: name -> (T,), of the TD errors 0, 1, ... steps ahead. [slide 70]
    """
    for (name, series), (colour, line, mark) in zip(weights.items(), cycle(LINES)):
        ax.plot(
            np.arange(len(series)), as_array(series), line, color=colour, marker=mark, label=name
        )
    ax.set_ylim(bottom=0)
    ax.set_xlabel("steps ahead")
    ax.set_ylabel("weight of that TD error")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_trade(ax: Axes, lams: Tensor, squared_bias: Tensor, variance: Tensor) -> Axes:
    """Squared bias and variance of a gradient estimate over lam, their sum, and its lowest point.

    lams, squared_bias, variance: (P,). [slide 70]
    Raises ValueError if the lengths differ.
    """
    for name, series in {"squared_bias": squared_bias, "variance": variance}.items():
        if series.shape != lams.shape:
            raise ValueError(
                f"{name} must be {tuple(lams.shape)} like lams, got {tuple(series.shape)}"
            )
    x, bias, spread = as_array(lams), as_array(squared_bias), as_array(variance)
    error = bias + spread
    lowest = int(error.argmin())
    ax.plot(x, bias, "--", color=RED, marker="s", markevery=4, label="squared bias")
    ax.plot(x, spread, "-.", color=BLUE, marker="o", markevery=4, label="variance")
    ax.plot(x, error, color=INK, linewidth=2, label="their sum: mean squared error")
    ax.plot(x[lowest], error[lowest], "*", color=ORANGE, markersize=16, markeredgecolor=INK)
    ax.annotate(
        f"lam = {x[lowest]:.2f}",
        (x[lowest], error[lowest]),
        (0, 12),
        ha="center",
        textcoords="offset points",
    )
    ax.set_ylim(0, 1.3 * float(error.max()))
    ax.set_xlabel("lam")
    ax.set_ylabel("error of the gradient, squared")
    ax.legend(frameon=False, loc="upper center", ncols=3, fontsize="small")
    return frameless(ax)
