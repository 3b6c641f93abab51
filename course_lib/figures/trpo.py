"""Pictures of lecture 6: distances between policies, lower bounds, trust regions, line searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from course_lib.figures.style import BLUE, GREEN, INK, LINES, ORANGE, PALE, RED, as_array, frameless


def plot_overlap(ax: Axes, old: Tensor, new: Tensor) -> Axes:
    """Two distributions over actions, and the part they share: its size is 1 - TV.

    old, new: (A,) probabilities. [slides 50 and 51]
    Raises ValueError if the lengths differ.
    """
    if old.ndim != 1 or old.shape != new.shape:
        raise ValueError(
            f"old and new must both be (A,), got {tuple(old.shape)} and {tuple(new.shape)}"
        )
    p, q = as_array(old), as_array(new)
    places, shared = np.arange(len(p)), np.minimum(p, q)
    ax.bar(places, shared, 0.8, color=PALE, edgecolor=INK, linewidth=0.8, label="shared")
    for mine, colour, hatch, name in ((p, BLUE, "", "old only"), (q, ORANGE, "//", "new only")):
        ax.bar(
            places,
            mine - shared,
            0.8,
            bottom=shared,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.8,
            label=name,
        )
    ax.set_xticks(places)
    ax.set_xlabel("action")
    ax.set_ylabel("probability")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_tv_against_kl(ax: Axes, tv: Tensor, kl: Tensor) -> Axes:
    """Pairs of distributions as dots, over the two curves that KL cannot fall below.

    tv, kl: (P,) of the same pairs. [slide 52]
    Raises ValueError if the lengths differ.
    """
    if tv.shape != kl.shape:
        raise ValueError(f"kl must be {tuple(tv.shape)} like tv, got {tuple(kl.shape)}")
    ax.plot(
        as_array(tv), as_array(kl), ".", color=BLUE, markersize=3, alpha=0.4, label="random pairs"
    )
    x = np.linspace(0, 1, 101)
    ax.plot(x, 2 * x**2, color=INK, linewidth=2, label="2 TV^2 (Pinsker)")
    ax.plot(x, x**2, "--", color=RED, linewidth=2, label="TV^2 (the slide)")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 3)
    ax.set_xlabel("total variation, TV")
    ax.set_ylabel("KL divergence (nats)")
    ax.legend(framealpha=0.95, edgecolor="white")  # over dots
    return frameless(ax)


def plot_minorisers(
    ax: Axes, places: Tensor, true: Tensor, bounds: Sequence[tuple[float, Tensor]]
) -> Axes:
    """The true return along one parameter, and lower bounds that each touch it at one place.

    places, true: (P,). bounds: (where it touches, (P,) values), in the order of the iterations.
    [slide 54]
    Raises ValueError if a curve has another length than places.
    """
    ax.plot(as_array(places), as_array(true), color=BLUE, linewidth=2.5, label="true return")
    top, bottom = float(true.max()), float(true.min())
    for number, (touches, bound) in enumerate(bounds):
        if bound.shape != places.shape:
            raise ValueError(
                f"bound {number} must be {tuple(places.shape)} like places, got "
                f"{tuple(bound.shape)}"
            )
        name = "lower bounds M_i" if number == 0 else None
        ax.plot(as_array(places), as_array(bound), "--", color=RED, linewidth=1.3, label=name)
        at = int((places - touches).abs().argmin())
        ax.plot(float(places[at]), float(true[at]), "o", color=INK, markersize=6)
    ax.set_ylim(bottom - 0.15 * (top - bottom), top + 0.05 * (top - bottom))
    ax.set_xlabel("probability of driving fast, x")
    ax.set_ylabel("discounted return")
    ax.legend(frameon=False, loc="upper left")
    return frameless(ax)


def plot_progress(ax: Axes, values: Mapping[str, Tensor], quantity: str) -> Axes:
    """What long runs reached, against the iteration on a logarithmic axis (the first is 1).

    values: name -> (K,). quantity: what the vertical axis measures. [slide 55]
    Raises ValueError if there is none.
    """
    if not values:
        raise ValueError('values is empty: give at least one series, as {"penalty": values}')
    for (name, series), (colour, line, _) in zip(values.items(), cycle(LINES), strict=False):
        across = range(1, len(series) + 1)
        ax.plot(across, as_array(series), line, color=colour, linewidth=2, label=name)
    ax.set_xscale("log")
    ax.set_xlabel("iteration")
    ax.set_ylabel(quantity)
    ax.legend(frameon=False)
    return frameless(ax)


def plot_powers(ax: Axes, steps: Tensor, errors: Mapping[str, tuple[Tensor, int]]) -> Axes:
    """Errors of local models against the step, with the powers they should follow.

    steps: (P,). errors: name -> ((P,) positive, power). [slide 58]
    Raises ValueError if a length differs or an error is not positive.
    """
    for (name, (series, power)), (colour, line, mark) in zip(
        errors.items(), cycle(LINES), strict=False
    ):
        if series.shape != steps.shape or not bool((series > 0).all()):
            raise ValueError(
                f"{name} must be {tuple(steps.shape)} like steps and positive, got "
                f"{tuple(series.shape)} from {float(series.min()):.3g}"
            )
        x, y = as_array(steps), as_array(series)
        ax.loglog(x, y, mark, color=colour, label=name)
        ax.loglog(x, y[-1] * (x / x[-1]) ** power, line, color=colour, linewidth=1)
        ax.annotate(
            f"slope {power}",
            (x[0], y[0]),
            xytext=(12, -10),
            textcoords="offset points",
            color=colour,
        )
    ax.set_xlabel("length of the step h")
    ax.set_ylabel("error of the model")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_residuals(ax: Axes, errors: Mapping[str, Tensor]) -> Axes:
    """How far a solver is from the solution after each matrix-vector product, logarithmic.

    errors: name -> (K,) positive, entry 0 before the first product. [slide 58]
    Raises ValueError if there is none.
    """
    if not errors:
        raise ValueError('errors is empty: give at least one series, as {"method": errors}')
    for (name, series), (colour, line, mark) in zip(errors.items(), cycle(LINES), strict=False):
        ax.semilogy(
            range(len(series)), as_array(series), line, color=colour, marker=mark, label=name
        )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("matrix-vector products")
    ax.set_ylabel("relative distance from the solution")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_trust_region(
    ax: Axes,
    edge: Tensor,
    ellipse: Tensor,
    surrogate: tuple[Tensor, Tensor, Tensor],
    steps: Mapping[str, Tensor],
) -> Axes:
    """A trust region in the plane of two parameters, and steps that stay inside it.

    edge, ellipse: (P, 2) closed curves around the old parameters at 0: where the mean KL is delta,
    and where its quadratic model is. surrogate: (x (X,), y (Y,), values (Y, X)), drawn as levels.
    steps: name -> (2,). [slide 58, note (7)]
    Raises ValueError if a curve or step has not two coordinates.
    """
    for name, points in {"edge": edge, "ellipse": ellipse, **steps}.items():
        if points.shape[-1] != 2:
            raise ValueError(f"{name} must have two coordinates, got {tuple(points.shape)}")
    x, y, values = map(as_array, surrogate)
    ax.contour(x, y, values, levels=14, colors=PALE, linewidths=0.9)
    ax.fill(*as_array(edge).T, facecolor=GREEN, alpha=0.15, edgecolor="none")
    ax.plot(*as_array(edge).T, color=GREEN, linewidth=2, label="mean KL = delta")
    ax.plot(*as_array(ellipse).T, "--", color=INK, linewidth=1.2, label="quadratic model = delta")
    looks = zip(steps.items(), ((RED, "s"), (BLUE, "o"), (ORANGE, "D")), strict=False)
    for (name, step), (colour, mark) in looks:
        across, up = as_array(step)
        ax.plot([0, across], [0, up], color=colour, linewidth=2)
        ax.plot(across, up, mark, color=colour, markersize=8, label=name)
    ax.plot(0, 0, "+", color=INK, markersize=10)
    ax.set_xlabel("change of the log-odds of fast, dry road")
    ax.set_ylabel("change of the log-odds of fast, ice")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return frameless(ax)


def plot_line_search(ax: Axes, kl: Tensor, gain: Tensor, delta: float) -> Axes:
    """Every try of a line search in the plane of KL and gain; the good ones lie in the green.

    kl, gain: (K,) after theta + shrink^i * step, i = 0, 1, ... [slide 58]
    Raises ValueError if the lengths differ.
    """
    if kl.shape != gain.shape:
        raise ValueError(f"gain must be {tuple(kl.shape)} like kl, got {tuple(gain.shape)}")
    x, y = as_array(kl), as_array(gain)
    ax.fill_between([0, delta], 0, 1e3, color=GREEN, alpha=0.15, linewidth=0)
    ax.axvline(delta, color=INK, linewidth=1, linestyle="--")
    ax.axhline(0, color=INK, linewidth=1, linestyle="--")
    good = (x <= delta) & (y > 0)
    ax.plot(x[~good], y[~good], "s", color=RED, markersize=8, label="rejected")
    ax.plot(x[good], y[good], "o", color=BLUE, markersize=8, label="would do")
    for number in range(min(len(x), 3)):
        ax.annotate(
            f"try {number}",
            (x[number], y[number]),
            xytext=(7, -4),
            textcoords="offset points",
            color=INK,
        )
    reach = max(abs(y).max(), 1e-9)
    ax.set_xlim(-0.03 * max(x.max(), delta), 1.2 * max(x.max(), delta))
    ax.set_ylim(min(y.min(), 0) - 0.15 * reach, max(y.max(), 0) + 0.2 * reach)
    ax.set_xlabel("true mean KL of the try (nats)")
    ax.set_ylabel("gain of the surrogate")
    ax.legend(frameon=False)
    return frameless(ax)
