"""Pictures of lecture 5: advantages, policy iteration, a step along a line, what it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from course_lib.figures.style import BLUE, GREEN, INK, LINES, ORANGE, RED, as_array, frameless


def plot_advantages(
    ax: Axes, policy: Tensor, advantages: Tensor, names: Sequence[str] | None = None
) -> Axes:
    """One state's advantages as blocks: width pi(a|s), height A(s, a), so areas sum to zero.

    policy, advantages: (A,). names: of the A actions. [slide 42]
    Raises ValueError if the lengths differ.
    """
    names = [f"action {a}" for a in range(len(policy))] if names is None else list(names)
    if not len(policy) == len(advantages) == len(names):
        raise ValueError(
            f"policy, advantages and names must be as long as there are actions, got "
            f"{len(policy)}, {len(advantages)} and {len(names)}"
        )
    _blocks(ax, policy, advantages, names)
    ax.set_xlim(0, 1)
    ax.set_xlabel("probability of the action (width of its block)")
    ax.set_ylabel("advantage, A(s, a)")
    return frameless(ax)


def plot_contributions(ax: Axes, visits: Tensor, expected: Tensor, names: Sequence[str]) -> Axes:
    """What each state adds to a difference of returns, as blocks: width visits, height advantage.

    visits: (S,) discounted. expected: (S,) advantages over the old policy. names: of the S states.
    The areas add up to the sum over s of rho(s) A(s). [slides 43 and 45]
    Raises ValueError if the lengths differ.
    """
    if not len(visits) == len(expected) == len(names):
        raise ValueError(
            f"visits, expected and names must be as long as there are states, got "
            f"{len(visits)}, {len(expected)} and {len(names)}"
        )
    _blocks(ax, visits, expected, names)
    ax.set_xlim(0, float(visits.sum()))
    ax.set_xlabel("discounted visits (width of the block)")
    ax.set_ylabel("expected advantage")
    return frameless(ax)


def _blocks(ax: Axes, across: Tensor, up: Tensor, names: Sequence[str]) -> None:
    """Named blocks side by side on a line, blue above it and hatched below."""
    widths, heights = as_array(across), as_array(up)
    lefts = np.concatenate([[0.0], widths.cumsum()[:-1]])
    reach = max(abs(heights).max(), 1e-9)
    for left, width, height, name in zip(lefts, widths, heights, names, strict=True):
        ax.bar(
            left,
            height,
            width,
            align="edge",
            color=BLUE if height >= 0 else ORANGE,
            hatch="" if height >= 0 else "//",
            edgecolor="white",
            linewidth=1.5,
        )
        over = height >= 0
        ax.text(
            left + width / 2,
            height + (0.04 if over else -0.04) * reach,
            f"{name}\n{height:+.1f}",
            ha="center",
            va="bottom" if over else "top",
            color=INK,
        )
    ax.axhline(0, color=INK, linewidth=1.2)
    ax.set_ylim(min(heights.min(), 0) - 0.35 * reach, max(heights.max(), 0) + 0.35 * reach)


def plot_iterations(ax: Axes, values: Mapping[str, Tensor], quantity: str) -> Axes:
    """What each iteration reached, one line a method.

    values: name -> (K,), entry k after k iterations. quantity: what the vertical axis measures.
    Raises ValueError if there is none. [slides 39 and 54]
    """
    if not values:
        raise ValueError('values is empty: give at least one series, as {"exact": values}')
    for (name, series), (colour, line, mark) in zip(values.items(), cycle(LINES), strict=False):
        ax.plot(range(len(series)), as_array(series), line, color=colour, marker=mark, label=name)
    ax.set_xlabel("iteration")
    ax.set_ylabel(quantity)
    ax.legend(frameon=False)
    return frameless(ax)


def plot_line(
    ax: Axes,
    alphas: Tensor,
    true: Tensor,
    surrogate: Tensor,
    bound: Tensor | None = None,
    at: float | None = None,
) -> Axes:
    """True return and surrogate along a line of policies, and the guaranteed return if given.

    alphas: (P,) how far from the old policy (0) to the new one (1). true, surrogate, bound: (P,).
    at: a place on the line to mark, with what the curves say there. [slides 46 and 47]
    Raises ValueError if a curve has another length than alphas.
    """
    curves = [("surrogate L: old visits", surrogate, RED, "--"), ("true return", true, BLUE, "-")]
    if bound is not None:
        curves.append(("guaranteed: L minus penalty", bound, GREEN, "-."))
    for name, series, colour, line in curves:
        if series.shape != alphas.shape:
            raise ValueError(
                f"{name!r} must be {tuple(alphas.shape)} like alphas, got {tuple(series.shape)}"
            )
        ax.plot(as_array(alphas), as_array(series), line, color=colour, linewidth=2, label=name)
    ax.axhline(float(true[0]), color=INK, linewidth=0.8, linestyle=":")
    if at is not None:
        place = int((alphas - at).abs().argmin())
        ax.axvline(float(alphas[place]), color=INK, linewidth=0.8)
        for (_, series, colour, _), mark in zip(curves, "so^", strict=False):
            ax.plot(float(alphas[place]), float(series[place]), mark, color=colour, markersize=8)
        readings = ", ".join(
            f"{name.split(':')[0]} {float(c[place]):.3f}" for name, c, *_ in curves
        )
        ax.set_title(f"alpha = {float(alphas[place]):.4g}:  {readings}", fontsize="medium")
    ax.set_xlabel("step alpha, from the old policy (0) to the new one (1)")
    ax.set_ylabel("discounted return")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_gain_and_error(ax: Axes, alphas: Tensor, gain: Tensor, error: Tensor) -> Axes:
    """Promised gain and the surrogate's error against the step, both axes logarithmic.

    alphas, gain, error: (P,), all positive. [slide 47]
    Raises ValueError if a length differs or a number is not positive.
    """
    for name, series in {"gain": gain, "error": error}.items():
        if series.shape != alphas.shape or not bool((series > 0).all()):
            raise ValueError(
                f"{name} must be {tuple(alphas.shape)} like alphas and positive, got "
                f"{tuple(series.shape)} from {float(series.min()):.3g}: a log-log plot needs both"
            )
    ax.loglog(
        as_array(alphas), as_array(gain), "o", color=BLUE, label="promised gain, L(new) - L(old)"
    )
    ax.loglog(as_array(alphas), as_array(error), "s", color=RED, label="error, |true return - L|")
    for series, slope, colour, line in ((gain, 1, BLUE, "-"), (error, 2, RED, "--")):
        reference = as_array(series)[0] * (as_array(alphas) / float(alphas[0])) ** slope
        ax.loglog(
            as_array(alphas), reference, line, color=colour, linewidth=1, label=f"slope {slope}"
        )
    ax.set_xlabel("step alpha")
    ax.set_ylabel("discounted return")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_guarantee(ax: Axes, alphas: Tensor, gain: Tensor, penalty: Tensor, last: float) -> Axes:
    """The largest gain a step can promise against the penalty that the bound charges for it.

    alphas, gain, penalty: (P,). last: the step beyond which the penalty is the larger. [slide 48]
    Raises ValueError if the lengths differ.
    """
    if not alphas.shape == gain.shape == penalty.shape:
        raise ValueError(
            f"alphas, gain and penalty must have one shape, got {tuple(alphas.shape)}, "
            f"{tuple(gain.shape)} and {tuple(penalty.shape)}"
        )
    x, most, charged = as_array(alphas), as_array(gain), as_array(penalty)
    ax.plot(x, most, color=BLUE, linewidth=2, label="largest possible gain")
    ax.plot(x, charged, "--", color=RED, linewidth=2, label="penalty")
    worth = (most > charged).tolist()
    ax.fill_between(
        x, charged, most, where=worth, color=GREEN, alpha=0.35, linewidth=0, label="can guarantee"
    )
    ax.axvline(last, color=INK, linewidth=0.8, linestyle=":")
    ax.annotate(
        f"{last:.5f}",
        (last, 0),
        xytext=(6, 4),
        textcoords="offset points",
        color=INK,
    )
    ax.set_xlabel("step alpha")
    ax.set_ylabel("discounted return")
    ax.legend(frameon=False)
    return frameless(ax)
