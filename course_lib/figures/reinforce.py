"""Pictures of lecture 4: learners and their spread, pushes on bars, a bowl, and a collapse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from course_lib.figures.style import BLUE, INK, LINES, PALE, RED, as_array, frameless


def plot_spread(
    ax: Axes, results: Mapping[str, Tensor], best: float, quantity: str, start: int = 0
) -> Axes:
    """Median of many learners after each update, with a band that holds eight in ten of them.

    results: name -> (U, L), update by learner. best: height of the line at the optimum.
    start: number of the first update. Raises ValueError if a series is not (U, L). [slide 30]
    """
    for (name, table), (colour, line, mark) in zip(results.items(), cycle(LINES)):
        if table.ndim != 2:
            raise ValueError(f"{name} must be (U, L), updates by learners, got {table.shape}")
        low, middle, high = np.quantile(as_array(table), [0.1, 0.5, 0.9], axis=1)
        updates = np.arange(start, start + len(middle))
        every = max(1, len(updates) // 10)
        ax.fill_between(updates, low, high, color=colour, alpha=0.18, linewidth=0)
        ax.plot(updates, middle, line, color=colour, marker=mark, markevery=every, label=name)
    ax.axhline(best, color=INK, linewidth=1, linestyle=":")
    ax.annotate("best", (1, best), (4, 0), ("axes fraction", "data"), "offset points", va="center")
    ax.set_xlabel("update")
    ax.set_ylabel(f"{quantity}\n(median; band: 8 learners in 10)")
    ax.legend(frameon=False, loc="lower right")
    return frameless(ax)


def plot_push(ax: Axes, returns: Sequence[float], before: Tensor, after: Tensor) -> Axes:
    """Probabilities of actions before and after a step, each with an arrow the way it went.

    returns: of the A actions, their names on the axis. before, after: (A,). [slide 32]
    Raises ValueError if the lengths differ.
    """
    if not len(returns) == len(before) == len(after):
        raise ValueError(
            f"returns, before and after must be of one length, got {len(returns)}, {len(before)} "
            f"and {len(after)}"
        )
    places, old, new = np.arange(len(returns)), as_array(before), as_array(after)
    edge: dict[str, Any] = {"edgecolor": INK, "linewidth": 0.8}
    ax.bar(places - 0.2, old, 0.4, color=PALE, label="before", **edge)
    for up, colour, hatch, name in (
        (True, BLUE, "", "after: up"),
        (False, RED, "//", "after: down"),
    ):
        rows = (new > old) == up
        ax.bar(places[rows] + 0.2, new[rows], 0.4, color=colour, hatch=hatch, label=name, **edge)
    for place, value, way in zip(places, np.maximum(old, new), new - old, strict=True):
        sign = "\u2191" if way > 0 else "\u2193"
        ax.annotate(
            f"{sign} {way:+.3f}", (place, value), (0, 4), textcoords="offset points", ha="center"
        )
    ax.set_xticks(places, [f"{paid:+g}" if paid else "0" for paid in returns])
    ax.set_xlabel("return of the action")
    ax.set_ylabel("probability")
    ax.set_ylim(0, max(1.2 * float(np.maximum(old, new).max()), 0.3))
    ax.legend(frameon=False)
    return frameless(ax)


def plot_bowl(
    ax: Axes, at: Tensor, truth: Tensor, clouds: Mapping[str, tuple[Tensor, Tensor]]
) -> Axes:
    """Seen from above: a bowl upside down, its top at 0; samples, and the arrows they suggest.

    at: (2,), where the gradient is wanted. truth: (2,), the gradient there. clouds: name ->
    (samples (K, 2), estimates (M, 2) of the gradient at `at`, each from its own samples).
    An arrow is half as long as its gradient. [slide 34]
    Raises ValueError if a table has not two columns.
    """
    tables = {"at": at, "truth": truth}
    for name, (samples, estimates) in clouds.items():
        tables |= {name: samples, f"{name}, estimates": estimates}
    for name, table in tables.items():
        if table.shape[-1] != 2:
            raise ValueError(f"{name} must have two coordinates, got {tuple(table.shape)}")
    grid = np.linspace(-7, 7, 141)
    height = -0.5 * (grid[:, None] ** 2 + grid[None, :] ** 2)
    ax.contour(grid, grid, height, levels=10, colors=PALE, linewidths=0.8, linestyles="solid")
    ax.plot(0, 0, "*", color=INK, markersize=12, label="best parameter")
    start, scale = as_array(at), 0.5
    for (name, (samples, estimates)), (colour, _, mark) in zip(clouds.items(), cycle(LINES)):
        dots, tips = as_array(samples), start + scale * as_array(estimates)
        ax.plot(dots[:, 0], dots[:, 1], mark, color=colour, markersize=3, alpha=0.5, label=name)
        for tip in tips:
            _arrow(ax, start, tip, colour, 1.0)
    _arrow(ax, start, start + scale * as_array(truth), INK, 2.6)
    ax.plot(*start, "P", color=INK, markersize=9, label="theta (thick arrow: the gradient)")
    ax.set_xlim(-4, 6)
    ax.set_ylim(-4, 6)
    ax.set_aspect("equal")
    ax.set_xlabel("first coordinate")
    ax.set_ylabel("second coordinate")
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return frameless(ax)


def plot_rates(ax: Axes, rates: Tensor, results: Tensor, best: float, quantity: str) -> Axes:
    """Where learners end, against the learning rate: each a dot, the median a line.

    rates: (P,). results: (P, L), of L learners at each rate. best: height of the optimum's line.
    Raises ValueError if the lengths differ. [slide 37]
    """
    if results.ndim != 2 or len(rates) != len(results):
        raise ValueError(f"results must be ({len(rates)}, L), got {tuple(results.shape)}")
    across, table = as_array(rates), as_array(results)
    # Side by side about each rate, so that one sees how many there are.
    offsets = np.geomspace(0.85, 1 / 0.85, table.shape[1])
    for rate, ends in zip(across, table, strict=True):
        ax.plot(rate * offsets, ends, ".", color=BLUE, markersize=3, alpha=0.5)
    ax.plot(across, np.median(table, axis=1), "--s", color=RED, label="median")
    ax.plot([], [], ".", color=BLUE, label="a learner")
    ax.axhline(best, color=INK, linewidth=1, linestyle=":", label="best")
    ax.set_xscale("log")
    ax.set_xlabel("learning rate")
    ax.set_ylabel(quantity)
    ax.legend(frameon=False, loc="lower left")
    return frameless(ax)


def plot_loop(ax: Axes, stations: Sequence[str], middle: str) -> Axes:
    """Stations on a circle, each with an arrow to the next: a feedback loop. [slide 38]

    stations: their texts, clockwise from the top. middle: what the loop does.
    Raises ValueError if there are fewer than two.
    """
    if len(stations) < 2:
        raise ValueError(f"a loop needs at least two stations, got {len(stations)}")
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(stations)) / len(stations)
    points = np.stack([1.9 * np.cos(angles), np.sin(angles)], axis=1)
    boxes = [
        ax.text(
            float(point[0]),
            float(point[1]),
            text,
            ha="center",
            va="center",
            color=INK,
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "#E8F1F8", "edgecolor": BLUE},
        )
        for point, text in zip(points, stations, strict=True)
    ]
    for k, point in enumerate(points):
        target = (k + 1) % len(points)
        ax.annotate(
            "",
            points[target],
            point,
            arrowprops={
                "arrowstyle": "-|>",
                "color": RED,
                "linewidth": 2,
                "connectionstyle": "arc3,rad=-0.25",
                "patchA": boxes[k].get_bbox_patch(),
                "patchB": boxes[target].get_bbox_patch(),
            },
        )
    ax.text(0, 0, middle, ha="center", va="center", color=RED, style="italic")
    ax.set_xlim(-2.9, 2.9)
    ax.set_ylim(-1.4, 1.4)
    ax.set_axis_off()
    return ax


def plot_runs(ax: Axes, runs: Tensor, title: str, quantity: str) -> Axes:
    """Every run as a thin line, and their median after each update as a thick one.

    runs: (L, U), a run a row. Raises ValueError if it is not. [slide 38]
    """
    if runs.ndim != 2:
        raise ValueError(f"runs must be (L, U), a run a row, got {tuple(runs.shape)}")
    rows = as_array(runs)
    updates = np.arange(1, rows.shape[1] + 1)
    ax.plot(updates, rows.T, color=BLUE, linewidth=0.8, alpha=0.6)
    ax.plot(updates, np.median(rows, axis=0), color=RED, linewidth=2.4)
    ax.set_title(title, fontsize="medium")
    ax.set_xlabel("update")
    ax.set_ylabel(quantity)
    return frameless(ax)


def plot_density(ax: Axes, across: Tensor, up: Tensor, density: Tensor, draws: Tensor) -> Axes:
    """Level lines of a density over two action dimensions, and actions drawn from it.

    across (P,), up (Q,): the grid. density: (Q, P). draws: (K, 2). [slide 69]
    Raises ValueError if density does not fit the grid.
    """
    if density.shape != (len(up), len(across)):
        raise ValueError(
            f"density must be {(len(up), len(across))} like the grid, got {tuple(density.shape)}"
        )
    dots = as_array(draws)
    ax.plot(dots[:, 0], dots[:, 1], ".", color=BLUE, markersize=4, alpha=0.5, label="actions drawn")
    levels = ax.contour(as_array(across), as_array(up), as_array(density), levels=5, colors=RED)
    ax.clabel(levels, fontsize=8)
    ax.plot([], [], color=RED, label="density")
    ax.set_xlabel("action, dimension 0")
    ax.set_ylabel("action, dimension 1")
    ax.legend(frameon=False, loc="upper right")
    return frameless(ax)


def _arrow(ax: Axes, tail: Any, tip: Any, colour: str, width: float) -> None:
    ax.annotate(
        "", tip, tail, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": width}
    )
