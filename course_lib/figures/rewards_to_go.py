"""The pictures of lecture 3, rewards-to-go, occupancy and variance, drawn on the axes they get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from course_lib.figures.style import BLUE, GREEN, INK, ORANGE, PALE, RED, as_array, frameless

_FILLS = ((PALE, ""), (BLUE, "///"), (ORANGE, "..."), (GREEN, "xxx"))
_MARKS = (("o", RED), ("s", BLUE), ("^", GREEN), ("D", ORANGE))


def plot_shares(ax: Axes, predicted: Tensor, counted: Tensor, count: int) -> Axes:
    """Shares that were counted against probabilities, with two standard errors; a line where equal.

    predicted, counted: (P,) of the same things. count: how many were counted in all. [note, 2.1]
    Raises ValueError if the lengths differ.
    """
    if predicted.shape != counted.shape:
        raise ValueError(
            f"counted must be {tuple(predicted.shape)} like predicted, got {tuple(counted.shape)}"
        )
    p, share = as_array(predicted), as_array(counted)
    error = 2 * np.sqrt(p * (1 - p) / count)
    ends = np.array([0.8 * p.min(), 1.2 * p.max()])
    ax.plot(ends, ends, color=INK, linewidth=1, label="equal")
    ax.errorbar(
        p, share, error, fmt="o", color=BLUE, markersize=5, capsize=2, label="two standard errors"
    )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("probability of the ride")
    ax.set_ylabel(f"share of {count:,} rides")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_growth(ax: Axes, horizons: Tensor, sizes: Mapping[str, Tensor]) -> Axes:
    """How the work of a method grows with the length of an episode, on a logarithmic axis.

    horizons: (P,) steps of an episode. sizes: name -> (P,) numbers of things to handle.
    Raises ValueError if a series has another length than horizons. [note (2)]
    """
    for (name, series), (marker, colour) in zip(sizes.items(), cycle(_MARKS)):
        if series.shape != horizons.shape:
            raise ValueError(
                f"{name} must be {tuple(horizons.shape)} like horizons, got {tuple(series.shape)}"
            )
        ax.semilogy(
            as_array(horizons),
            as_array(series),
            marker=marker,
            color=colour,
            markersize=7,
            label=name,
        )
    ax.set_xlabel("steps H of an episode")
    ax.set_ylabel("how many")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_visits_by_step(ax: Axes, parts: Tensor, states: Sequence[str]) -> Axes:
    """Discounted visits to every state, stacked from the steps at which they happen.

    parts: (T, S), gamma^t P(s_t = s). states: names of the S states. [slide 43]
    Raises ValueError if parts does not have a column a state.
    """
    if parts.ndim != 2 or parts.shape[1] != len(states):
        raise ValueError(
            f"parts must be (T, {len(states)}), a column a state, got {tuple(parts.shape)}"
        )
    places, below = np.arange(len(states)), np.zeros(len(states))
    for step, (part, (colour, hatch)) in enumerate(zip(parts, cycle(_FILLS))):
        heights = as_array(part)
        ax.bar(
            places,
            heights,
            0.7,
            below,
            color=colour,
            hatch=hatch,
            edgecolor=INK,
            linewidth=0.8,
            label=f"at step {step}",
        )
        below = below + heights
    for place, top in zip(places, below, strict=True):
        ax.annotate(
            f"{top:.2f}",
            (place, top),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=INK,
        )
    ax.set_xticks(places, states)
    ax.set_xlabel("place")
    ax.set_ylabel("discounted visits")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_progress(
    ax: Axes, probabilities: Tensor, progress: Mapping[str, Tensor], expected: float
) -> Axes:
    """What each single trajectory says about the way uphill, one row of marks an estimator.

    probabilities: (N,) of the trajectories; a mark's area is proportional to it. progress:
    name -> (N,), the estimate's component along the gradient. expected: their common mean.
    Raises ValueError if a series has another length than probabilities. [note, section 2.2]
    """
    areas = 1200 * as_array(probabilities)
    rows = range(len(progress))
    for row, ((name, series), (marker, colour)) in enumerate(zip(progress.items(), cycle(_MARKS))):
        if series.shape != probabilities.shape:
            raise ValueError(
                f"{name} must be {tuple(probabilities.shape)} like probabilities, got "
                f"{tuple(series.shape)}"
            )
        ax.scatter(
            as_array(series),
            np.full(len(areas), row),
            areas,
            marker=marker,
            facecolor=colour,
            edgecolor=INK,
            alpha=0.5,
        )
    ax.axvline(0, color=INK, linewidth=1)
    ax.axvline(expected, color=INK, linewidth=1.5, linestyle="--")
    ax.annotate(
        f"mean of each row: {expected:.2f}",
        (expected, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(6, -4),
        textcoords="offset points",
        va="top",
        fontsize=9,
        color=INK,
    )
    ax.annotate(
        "wrong way",
        (0, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-6, -4),
        textcoords="offset points",
        va="top",
        ha="right",
        fontsize=9,
        color=INK,
    )
    ax.margins(x=0.12)
    ax.set_yticks(rows, list(progress))
    ax.set_ylim(len(progress) - 0.4, -0.9)
    ax.set_xlabel("component of one trajectory's estimate along the gradient")
    ax.set_ylabel("weight of the score")
    return frameless(ax)


def plot_variance_ratios(ax: Axes, ratios: Mapping[str, Tensor]) -> Axes:
    """Histograms of variance with rewards-to-go over variance with the whole return.

    ratios: name -> (M,), positive, one an MDP; the axis is logarithmic and 1 is marked.
    Raises ValueError if a ratio is not positive. [note, section 2.2]
    """
    everything = np.concatenate([as_array(series) for series in ratios.values()])
    if not (everything > 0).all():
        raise ValueError(f"ratios must be positive, got {everything.min():.3g}: divide variances")
    bins = np.geomspace(everything.min(), everything.max(), 41).tolist()
    for (name, series), (colour, hatch) in zip(ratios.items(), cycle(_FILLS[1:])):
        numbers = as_array(series)
        ax.hist(
            numbers,
            bins,
            weights=np.full(len(numbers), 100 / len(numbers)),
            histtype="stepfilled",
            facecolor=colour,
            edgecolor=INK,
            hatch=hatch,
            alpha=0.45,
            label=name,
        )
    ax.axvline(1, color=RED, linewidth=2, label="equal")
    ax.set_xscale("log")
    ax.set_xticks([0.25, 0.5, 1, 2], ["1/4", "1/2", "1", "2"])
    ax.minorticks_off()
    ax.set_xlabel("variance with rewards-to-go / variance with the whole return")
    ax.set_ylabel("share of random worlds in %")
    ax.legend(frameon=False)
    return frameless(ax)
