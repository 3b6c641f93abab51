"""The panels of a recorded training, beside those of healthy ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from course_lib.figures.style import INK, PALE, RED, frameless

TITLES = {
    "return": "return of episodes",
    "kl": "KL by the agent's own ratios (nats)",
    "clip_share": "share of ratios outside the clip",
    "entropy": "entropy of the policy (nats)",
    "value_error": "value error (mean square)",
}
FLOORS = {"kl": 1e-4, "value_error": 1e-4}  # below it an axis is straight, so that 0 has a place
TOPS = {"return": 520.0, "clip_share": 1.0, "entropy": 0.75}


def plot_run(
    axes: Sequence[Axes],
    run: Mapping[str, Sequence[float]],
    healthy: Sequence[Mapping[str, Sequence[float]]],
    steps: Sequence[float],
    label: str = "this run",
) -> Sequence[Axes]:
    """One run in red over healthy ones in grey, a panel for each of its curves.

    axes: one a curve. run, healthy: curves by name, each (K,). steps: (K,) environment steps.
    Raises ValueError if the axes are not as many as the curves, or a curve has another length.
    """
    if len(axes) != len(run):
        raise ValueError(f"there are {len(run)} curves and {len(axes)} axes: give one for each")
    for ax, (name, curve) in zip(axes, run.items(), strict=True):
        if len(curve) != len(steps):
            raise ValueError(f"{name} must be ({len(steps)},), as steps, got ({len(curve)},)")
        for number, other in enumerate(healthy):
            grey = "healthy runs" if number == 0 else None
            ax.plot(steps, other[name], color=PALE, linewidth=1.6, label=grey)
        ax.plot(steps, curve, color=RED, marker="o", markersize=2.5, linewidth=1.8, label=label)
        ax.set_title(TITLES.get(name, name), fontsize=9, color=INK)
        ax.set_xlabel("environment steps", fontsize=8)
        ax.tick_params(labelsize=8)
        if name in FLOORS:
            ax.set_yscale("symlog", linthresh=FLOORS[name], linscale=0.4)
            ax.yaxis.set_minor_locator(NullLocator())  # small ticks take longer than all curves
            ax.yaxis.set_major_formatter("{x:g}")  # and so do powers of ten
        ax.set_ylim(bottom=0.0, top=TOPS.get(name))
        ax.set_xticks(np.linspace(0, steps[-1], 3))
        frameless(ax)
    axes[0].legend(frameon=False, fontsize=8)
    return axes
