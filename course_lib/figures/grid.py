"""Pictures of learners on a grid: where they go, what they would do, how far each update went."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.figures.style import BLUE, INK, ORANGE, RED, as_array, frameless

MOST_VISITS = 8.0  # the darkest blue
_UP_RIGHT_DOWN_LEFT = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])


def learner_panels(count: int) -> tuple[Figure, list[Axes], list[Axes]]:
    """An opaque white panel with a grid over a flat pair of axes for each of `count` learners.

    Their places are fixed, so that the pictures of a slider do not jump.
    """
    figure, axes = plt.subplots(
        2, count, figsize=(9.6, 4.4), facecolor="white", height_ratios=[3, 2], squeeze=False
    )
    figure.subplots_adjust(0.09, 0.12, 0.99, 0.93, 0.08, 0.15)
    return figure, list(axes[0]), list(axes[1])


def plot_policy_on_grid(
    ax: Axes, policy: Tensor, visits: Tensor, columns: int, ends: Mapping[int, str]
) -> Axes:
    """A policy as arrows, as long as its actions are likely, over the visits it leads to.

    policy: (S, 4), for Up, Right, Down, Left; state s lies in row s // columns from the top.
    visits: (S,) discounted visits, the darker the more. ends: terminal state -> what stands there;
    visits are not shown there, since time after the end is no visit.
    Raises ValueError if policy and visits do not fill rows of that many columns.
    """
    states = len(visits)
    if tuple(policy.shape) != (states, 4) or states % columns:
        raise ValueError(
            f"policy must be ({states}, 4) for visits ({states},) in rows of {columns}, got "
            f"{tuple(policy.shape)}"
        )
    shown = np.where(np.isin(np.arange(states), list(ends)), 0, as_array(visits))
    table = shown.reshape(-1, columns)
    rows = len(table)
    # Square roots: a few visits should be told from none.
    ax.imshow(table, cmap="Blues", norm=PowerNorm(0.5, 0, MOST_VISITS), zorder=0)
    for state, name in ends.items():
        row, column = divmod(state, columns)
        colour = ORANGE if name == "goal" else "#5A5A5A"
        ax.fill_between(
            [column - 0.5, column + 0.5], row - 0.5, row + 0.5, color=colour, linewidth=0
        )
        ink = INK if name == "goal" else "white"
        ax.text(column, row, name, ha="center", va="center", color=ink, fontsize="x-small")
    inside = np.setdiff1d(np.arange(states), list(ends))
    across, down = inside % columns, inside // columns
    for action, way in enumerate(_UP_RIGHT_DOWN_LEFT):
        length = 0.46 * as_array(policy)[inside, action]
        ax.quiver(
            across,
            down,
            length * way[0],
            -length * way[1],  # rows count downwards
            angles="xy",
            scale_units="xy",
            scale=1,
            color=RED,
            width=0.012,
            headwidth=3.5,
            headlength=3.5,
            headaxislength=3,
            minlength=0.5,
        )
    ax.vlines(np.arange(0.5, columns - 1), -0.5, rows - 0.5, color="white", linewidth=1)
    ax.hlines(np.arange(0.5, rows - 1), -0.5, columns - 0.5, color="white", linewidth=1)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(rows - 0.5, -0.5)
    return ax


def plot_step_sizes(ax: Axes, kl: Tensor, at: int, lowest: float = 1e-5) -> Axes:
    """How far each update moved the policy, as bars on a logarithmic axis; one stands out.

    kl: (U,) mean KL of the update, in nats; what is below lowest is drawn as lowest.
    at: the update that stands out, from 1 on; 0 for none.
    Raises ValueError if there is no such update.
    """
    if not 0 <= at <= len(kl):
        raise ValueError(f"at must be 0 to {len(kl)}, got {at}")
    heights = np.maximum(as_array(kl), lowest)
    updates = np.arange(1, len(heights) + 1)
    colours = [RED if update == at else BLUE for update in updates]
    ax.bar(updates, heights - lowest / 2, bottom=lowest / 2, width=0.8, color=colours)
    ax.set_yscale("log")
    ax.set_yticks([1e-4, 1e-2, 1], ["0.0001", "0.01", "1"])
    ax.set_yticks([], minor=True)
    ax.set_ylim(lowest / 2, 1)
    ax.set_xlim(0, len(heights) + 1)
    ax.set_xlabel("update")
    ax.set_ylabel("KL of the step (nats)")
    return frameless(ax)
