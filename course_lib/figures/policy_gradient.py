"""The pictures of the lecture on the policy gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from course_lib.figures.style import BLUE, GREEN, INK, ORANGE, PALE, RED, as_array, frameless

_MARKS = (("o", BLUE), ("s", RED), ("^", GREEN), ("D", ORANGE))


def plot_convergence(
    ax: Axes, sample_sizes: Tensor, errors: Mapping[str, Tensor], predicted: Tensor
) -> Axes:
    """Error of sample means against the number of samples, both axes logarithmic.

    sample_sizes: (P,) numbers of trajectories. errors: name -> (P,) root-mean-square distances
    from the exact gradient. predicted: (P,) what theory expects of an unbiased estimator.
    Raises ValueError if a series has another length than sample_sizes. [slide 18]
    """
    named = {f"errors[{name!r}]": series for name, series in errors.items()}
    for name, series in {**named, "predicted": predicted}.items():
        if series.shape != sample_sizes.shape:
            raise ValueError(
                f"{name} must be {tuple(sample_sizes.shape)} like sample_sizes, "
                f"got {tuple(series.shape)}: give one error for each sample size"
            )
    ax.loglog(
        as_array(sample_sizes),
        as_array(predicted),
        color=INK,
        linewidth=1.2,
        label="predicted: slope -1/2",
    )
    for (name, series), (marker, colour) in zip(errors.items(), cycle(_MARKS)):
        ax.loglog(
            as_array(sample_sizes), as_array(series), marker, color=colour, markersize=7, label=name
        )
    ax.set_xlabel("trajectories in the mean, K")
    ax.set_ylabel("root-mean-square error\nof the gradient")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_gradient_estimates(
    ax: Axes,
    exact: Tensor,
    estimates: Mapping[str, tuple[Tensor, Tensor]],
    names: Sequence[str],
) -> Axes:
    """The exact gradient as bars, and estimates of it as points with two standard errors.

    exact: (P,) components. estimates: name -> (means (P,), standard errors (P,)).
    names: the P components, as the axis should call them.
    Raises ValueError if a series has another length than exact. [slides 15, 18, 19]
    """
    sizes = {"names": len(names)}
    for name, (means, standard_errors) in estimates.items():
        sizes |= {name: len(means), f"{name}, standard errors": len(standard_errors)}
    for name, size in sizes.items():
        if size != len(exact):
            raise ValueError(f"{name} must have {len(exact)} entries like exact, got {size}")
    places = np.arange(len(exact))
    ax.bar(
        places, as_array(exact), width=0.8, color=PALE, edgecolor=INK, linewidth=0.8, label="exact"
    )
    for k, ((name, (means, standard_errors)), (marker, colour)) in enumerate(
        zip(estimates.items(), cycle(_MARKS))
    ):
        ax.errorbar(
            places + 0.22 * (k - (len(estimates) - 1) / 2),
            as_array(means),
            yerr=2 * as_array(standard_errors),
            fmt=marker,
            color=colour,
            markersize=7,
            capsize=3,
            label=name,
        )
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.set_xticks(places, names)
    ax.set_xlabel("parameter")
    ax.set_ylabel("slope of J in that parameter")
    ax.legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return frameless(ax)


def plot_score(
    ax: Axes, score: Tensor, states: Sequence[str], actions: Sequence[str], title: str
) -> Axes:
    """A score as a table with a row for each state: blue goes up, red goes down.

    score: (S, A), between -1 and 1 for the colours. [slide 21]
    Raises ValueError if there is not a name for each row and column.
    """
    if tuple(score.shape) != (len(states), len(actions)):
        raise ValueError(f"score must be ({len(states)}, {len(actions)}), got {tuple(score.shape)}")
    table = as_array(score)
    ax.imshow(table, cmap="RdBu", vmin=-1.5, vmax=1.5, aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        text = "0" if abs(value) < 1e-12 else f"{value:+.2f}"
        ax.text(column, row, text, ha="center", va="center", color=INK, fontsize="small")
    ax.set_xticks(range(len(actions)), actions)
    ax.set_yticks(range(len(states)), states)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize="medium")
    return ax


def plot_credit(ax: Axes, sizes: Tensor) -> Axes:
    """How much each pair (action at t, reward at t') adds to the gradient, as a shaded table.

    sizes: (T, T), rows t, columns t'; the norm of E[grad log pi(a_t|s_t) gamma^t' r_t'].
    Raises ValueError if sizes is not square. [slides 26, 27]
    """
    if sizes.ndim != 2 or sizes.shape[0] != sizes.shape[1]:
        raise ValueError(f"sizes must be (T, T), got {tuple(sizes.shape)}: one row for each step")
    top = float(sizes.max()) or 1.0
    ax.imshow(as_array(sizes), cmap="Blues", vmin=0, vmax=1.4 * top)
    steps = range(len(sizes))
    for row in steps:
        for column in steps:
            size = float(sizes[row, column])
            text = "0" if size < 1e-10 else f"{size:.2f}"
            ax.text(column, row, text, ha="center", va="center", color=INK, fontsize="large")
    ax.set_xticks(steps)
    ax.set_yticks(steps)
    ax.set_xlabel("reward of step t'")
    ax.set_ylabel("action of step t")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_facecolor("white")
    return ax


def plot_variance_of_shifted_pay(
    ax: Axes, advances: Tensor, whole_return: Tensor, rewards_to_go: Tensor
) -> Axes:
    """Variance of two gradient estimators while pay moves between the first and the last step.

    advances: (P,) reward paid at the first step and taken back at the last (below 0: a deposit).
    whole_return, rewards_to_go: (P,) total variances of one trajectory's estimate.
    Raises ValueError if the three lengths differ. [slide 28]
    """
    for name, series in {"whole_return": whole_return, "rewards_to_go": rewards_to_go}.items():
        if series.shape != advances.shape:
            raise ValueError(
                f"{name} must be {tuple(advances.shape)} like advances, got {tuple(series.shape)}"
            )
    x, whole, to_go = as_array(advances), as_array(whole_return), as_array(rewards_to_go)
    ax.plot(x, whole, "--", color=RED, linewidth=2, label="whole return R(tau)")
    ax.plot(x, to_go, color=BLUE, linewidth=2, label="rewards-to-go")
    ax.fill_between(
        x,
        whole,
        to_go,
        where=(to_go > whole).tolist(),
        color=ORANGE,
        alpha=0.3,
        linewidth=0,
        label="rewards-to-go is the noisier one",
    )
    ax.axvline(0, color=INK, linewidth=0.8, linestyle=":")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("advance paid at step 0 and taken back at step 2  (below 0: a deposit)")
    ax.set_ylabel("total variance\nof one trajectory's estimate")
    ax.legend(frameon=False)
    return frameless(ax)
