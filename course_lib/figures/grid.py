"""Pictures of learners on a grid: where they go, what they would do, how far each update went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.figures.style import BLUE, INK, ORANGE, RED, as_array, frameless
from course_lib.mdp import TabularMDP

MOST_VISITS = 8.0  # the darkest blue
_UP_RIGHT_DOWN_LEFT = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])


def film_frame(
    world: TabularMDP, columns: int, learners: Mapping[str, Tensor], update: int
) -> Figure:
    """One moment of a film: for each learner its policy and visits on the grid, over its steps.

    world: a grid in rows of `columns`, its last state the goal, other ends cliff, such as
    `cliff_walk`. learners: name -> (U + 1, S, 4), the policy before the first update and after each
    of U. The step that led to the policy shown stands out. Places are fixed, so that a slider's
    pictures do not jump.
    Raises ValueError if there is no such update.
    """
    width = 0.5 + 3.05 * len(learners)
    figure, axes = plt.subplots(
        2,
        len(learners),
        figsize=(width, 4.4),
        facecolor="white",
        height_ratios=[3, 2],
        squeeze=False,
    )
    figure.subplots_adjust(0.85 / width, 0.12, 1 - 0.1 / width, 0.93, 0.08, 0.15)
    for (name, policies), grid_ax, kl_ax in zip(learners.items(), *axes, strict=True):
        _place(grid_ax, world, columns, policies, update)
        value = world.expected_return(policies[update])
        grid_ax.set_title(f"{name}: J = {value:.2f}")
        plot_step_sizes(kl_ax, step_sizes(world, policies), update)
        kl_ax.label_outer()
    return figure


def film_strip(
    world: TabularMDP, columns: int, learners: Mapping[str, Tensor], updates: Sequence[int]
) -> Figure:
    """The film on paper: a row for each learner, some of its moments, and the sizes of all steps.

    updates: which moments, 0 for the policy before the first. The rest as for film_frame.
    Raises ValueError if there is no such update.
    """
    rows, shown = len(learners), len(updates)
    height = 0.85 + 1.25 * rows
    figure, axes = plt.subplots(
        rows,
        shown + 1,
        figsize=(0.9 + 1.6 * (shown + 1), height),
        facecolor="white",
        width_ratios=[1.0] * shown + [1.3],
        squeeze=False,
    )
    figure.subplots_adjust(0.04, 0.5 / height, 0.99, 1 - 0.3 / height, 0.06, 0.32)
    for (name, policies), row in zip(learners.items(), axes, strict=True):
        for ax, update in zip(row, updates, strict=False):
            _place(ax, world, columns, policies, update)
            ax.set_xlabel(f"J = {world.expected_return(policies[update]):.2f}", labelpad=2)
        row[0].set_ylabel(name, fontweight="bold")
        plot_step_sizes(row[-1], step_sizes(world, policies), 0).set_ylabel("")
        box = row[-1].get_position()
        row[-1].set_position((box.x0 + 0.06, box.y0, box.width - 0.06, box.height))
        row[-1].tick_params(labelsize="small")
    for ax in axes[:-1, -1]:
        ax.set_xlabel("")
        ax.set_xticklabels([])
    for ax, update in zip(axes[0], updates, strict=False):
        ax.set_title("before learning" if update == 0 else f"update {update}", fontsize="medium")
    axes[0, -1].set_title("KL of the step (nats)", fontsize="medium")
    return figure


def step_sizes(world: TabularMDP, policies: Tensor) -> Tensor:
    """Mean KL of each policy to the next, over the visits of the first, ends left out.

    policies: (U + 1, S, A), no probability 0. Returns (U,), in nats. [slide 56]
    """
    old, new = policies[:-1], policies[1:]
    visits = torch.stack([world.visitation(policy) for policy in old]) * ~world.terminal  # (U, S)
    kl = (old * (old / new).log()).sum(2)  # (U, S)
    return (visits * kl).sum(1) / visits.sum(1)


def _place(ax: Axes, world: TabularMDP, columns: int, policies: Tensor, update: int) -> None:
    if not 0 <= update < len(policies):
        raise ValueError(f"update must be 0 to {len(policies) - 1}, got {update}")
    policy = policies[update]
    ends = {int(s): "cliff" for s in world.terminal.nonzero()} | {world.states - 1: "goal"}
    plot_policy_on_grid(ax, policy, world.visitation(policy), columns, ends)


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
