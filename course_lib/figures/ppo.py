"""Pictures of lecture 7: the clip, the timeline of a batch, many steps on it, and what matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from course_lib.figures.style import BLUE, GREEN, INK, LINES, ORANGE, PALE, RED, as_array, frameless


def plot_clip(
    ax: Axes,
    ratios: Tensor,
    plain: Tensor,
    clipped: Tensor,
    edges: tuple[float, float],
    at: tuple[float, float] | None = None,
) -> Axes:
    """One sample's part of PPO's objective as a function of its ratio.

    ratios (P,) rising; plain, clipped: (P,) ratio * A and the objective there. Where the objective
    is flat the panel is shaded. edges: 1 - epsilon and 1 + epsilon. at: (ratio, objective) to mark.
    [slide 61; note, figure 1]
    Raises ValueError if a curve has another length than ratios.
    """
    _check_lengths(ratios, plain=plain, clipped=clipped)
    x, y = as_array(ratios), as_array(clipped)
    flat = np.flatnonzero(np.abs(np.diff(y)) < 1e-12)
    if len(flat):
        ax.axvspan(x[flat[0]], x[flat[-1] + 1], color=ORANGE, alpha=0.22, linewidth=0, zorder=0)
        middle = (x[flat[0]] + x[flat[-1] + 1]) / 2
        ax.text(middle, 0.03, "no gradient", ha="center", transform=ax.get_xaxis_transform())
    ax.plot(x, as_array(plain), "--", color=RED, linewidth=1.6, label="ratio x A")
    ax.plot(x, y, color=BLUE, linewidth=2.6, label="clipped objective")
    for edge in edges:
        ax.axvline(edge, color=INK, linewidth=0.8, linestyle=":")
    ax.plot(1, float(np.interp(1, x, y)), "o", color=INK, markersize=7, label="old policy")
    if at is not None:
        ax.plot(*at, "D", color=GREEN, markersize=10, markeredgecolor=INK, label="here")
    ax.set_xlabel("ratio of new to old probability")
    ax.set_ylabel("objective of this sample")
    return frameless(ax)


def plot_timeline(ax: Axes, lanes: Mapping[str, Sequence[tuple[str, float, float]]]) -> Axes:
    """What algorithms do with their time: a lane each, a bar for every collection and every step.

    lanes: name -> events (kind, begin, end), kind "collect" or "step". [slide 63]
    Raises ValueError for another kind.
    """
    looks = {"collect": (PALE, "", "collect a batch"), "step": (BLUE, "///", "gradient step on it")}
    named: set[str] = set()
    for row, (name, events) in enumerate(lanes.items()):
        for kind, begin, end in events:
            if kind not in looks:
                raise ValueError(f"an event is 'collect' or 'step', got {kind!r} in {name}")
            colour, hatch, label = looks[kind]
            ax.barh(
                row,
                end - begin,
                left=begin,
                height=0.5,
                color=colour,
                hatch=hatch,
                edgecolor="white" if kind == "step" else INK,
                linewidth=0.8,
                label=None if kind in named else label,
            )
            named.add(kind)
    ax.set_yticks(range(len(lanes)), list(lanes))
    ax.invert_yaxis()
    ax.set_xlabel("time (one batch takes 8 units to collect, a step 1)")
    ax.set_ylabel("algorithm")
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.28), ncol=2)
    ax.tick_params(axis="y", length=0)
    return frameless(ax)


def plot_steps(ax: Axes, curves: Mapping[str, Tensor], quantity: str) -> Axes:
    """A quantity after each step, one line a method; step 0 is the start.

    curves: name -> (K + 1,). quantity: what they measure. [slide 64]
    Raises ValueError if there is none.
    """
    if not curves:
        raise ValueError('curves is empty: give at least one, as {"clipped": returns}')
    for (name, curve), (colour, line, _) in zip(curves.items(), cycle(LINES), strict=False):
        ax.plot(range(len(curve)), as_array(curve), line, color=colour, linewidth=2.2, label=name)
    ax.set_xlabel("gradient steps")
    ax.set_ylabel(quantity)
    ax.legend(frameon=False)
    return frameless(ax)


def plot_ratios(ax: Axes, ratios: Tensor, names: Sequence[str], edges: tuple[float, float]) -> Axes:
    """Ratios after each step, with the clip range shaded.

    ratios: (K + 1, A). names: of the A actions. edges: 1 - epsilon and 1 + epsilon. [slide 61]
    Raises ValueError if there is not a name for each column.
    """
    if ratios.ndim != 2 or ratios.shape[1] != len(names):
        raise ValueError(f"ratios must be (K + 1, {len(names)}), got {tuple(ratios.shape)}")
    ax.axhspan(*edges, color=PALE, alpha=0.5, linewidth=0, label="clip range")
    columns = zip(ratios.T, names, LINES, strict=False)
    for column, name, (colour, line, _) in columns:
        ax.plot(range(len(column)), as_array(column), line, color=colour, linewidth=2.2, label=name)
    ax.set_xlabel("gradient steps on one batch")
    ax.set_ylabel("ratio of new to old probability")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_runs(
    ax: Axes, places: Sequence[float], runs: Mapping[str, Sequence[Sequence[float]]], quantity: str
) -> Axes:
    """Several runs a method: each as a thin line, their median as a bold one.

    A median, since runs that either succeed or fail have a mean where none of them is.
    places: (P,) where the runs were looked at. runs: name -> runs (R, P). [slide 64]
    Raises ValueError if a run has another length than places.
    """
    for (name, several), (colour, line, mark) in zip(runs.items(), cycle(LINES), strict=False):
        table = np.array([list(run) for run in several], dtype=float)
        if table.ndim != 2 or table.shape[1] != len(places):
            raise ValueError(f"{name} must be (runs, {len(places)}), got {table.shape}")
        ax.plot(places, table.T, line, color=colour, linewidth=0.9, alpha=0.55)
        ax.plot(
            places,
            np.median(table, axis=0),
            line,
            marker=mark,
            markersize=5,
            color=colour,
            linewidth=2.4,
            label=name,
        )
    ax.set_ylabel(quantity)
    ax.legend(frameon=False)
    return frameless(ax)


def plot_variants(
    ax: Axes, baseline: Sequence[float], variants: Mapping[str, Sequence[float]]
) -> Axes:
    """Returns of variants, a row each: a dot a seed and a bar at the mean, over the baseline.

    baseline: returns of the unchanged algorithm; its mean and two standard errors are the band.
    [slides 63, 65, 66]
    Raises ValueError if the baseline has fewer than two seeds.
    """
    if len(baseline) < 2:
        raise ValueError(f"the baseline needs at least two seeds, got {len(baseline)}")
    middle = float(np.mean(baseline))
    error = float(np.std(baseline, ddof=1) / len(baseline) ** 0.5)
    ax.axvspan(
        middle - 2 * error,
        middle + 2 * error,
        color=BLUE,
        alpha=0.18,
        linewidth=0,
        label="unchanged: mean, 2 standard errors",
    )
    ax.axvline(middle, color=BLUE, linewidth=1.2)
    for row, values in enumerate(variants.values()):
        first = row == 0
        ax.plot(
            values,
            [row] * len(values),
            "o",
            color=PALE,
            markeredgecolor=INK,
            markersize=6,
            label="one seed" if first else None,
        )
        ax.plot(
            np.mean(values),
            row,
            "|",
            color=RED,
            markersize=18,
            markeredgewidth=3,
            label="mean" if first else None,
        )
    ax.set_yticks(range(len(variants)), list(variants))
    ax.set_ylim(len(variants) - 0.4, -0.6)
    ax.set_xlim(0, 520)
    ax.grid(axis="y", color=PALE, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.set_xlabel("return of the final policy (64 fresh episodes, at most 500)")
    ax.set_ylabel("what is changed")
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.4, -0.16), ncol=3)
    return frameless(ax)


def _check_lengths(like: Tensor, **series: Tensor) -> None:
    for name, values in series.items():
        if values.shape != like.shape:
            raise ValueError(
                f"{name} must be {tuple(like.shape)} like ratios, got {tuple(values.shape)}"
            )
