"""Base figures: each draws on the ax it is given and returns it; nothing is shown or set globally.

Axes: S states, A actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from course_lib.figures.style import BLUE, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, told apart with every common colour blindness.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")


def learning_curve(
    ax: Axes,
    episode_returns: Sequence[float],
    episode_steps: Sequence[int] | None = None,
    window: int = 100,
    label: str | None = None,
    colour: str = COLOURS[0],
) -> Axes:
    """Mean return of the last `window` episodes, with a band of one standard deviation of them.

    episode_returns: one a training episode. episode_steps: environment steps when each ended; left
    out, the axis counts episodes. Early points average as many episodes as there are.
    Raises ValueError if there is no episode or the two lengths differ.
    """
    returns = np.asarray(episode_returns, dtype=float)
    if returns.ndim != 1 or len(returns) == 0:
        raise ValueError(
            f"episode_returns must be (episodes,) with at least one, got {returns.shape}: train "
            "until an episode ends"
        )
    if episode_steps is not None and len(episode_steps) != len(returns):
        raise ValueError(
            f"episode_steps must have one entry for each of {len(returns)} episodes, got "
            f"{len(episode_steps)}: take both from the same history"
        )
    recent = [returns[max(0, i + 1 - window) : i + 1] for i in range(len(returns))]
    means = np.array([part.mean() for part in recent])
    spreads = np.array([part.std() for part in recent])
    across = np.arange(1, len(returns) + 1) if episode_steps is None else np.asarray(episode_steps)
    ax.plot(across, means, color=colour, label=label)
    ax.fill_between(across, means - spreads, means + spreads, color=colour, alpha=0.2, linewidth=0)
    ax.set_xlabel("episodes" if episode_steps is None else "environment steps")
    ax.set_ylabel(f"return, mean of {window} episodes (band: 1 standard deviation)")
    if label is not None:
        ax.legend()
    return ax


def policy_bars(
    ax: Axes,
    policies: dict[str, Tensor],
    actions: Sequence[str] | None = None,
) -> Axes:
    """Probabilities of the actions in one state, one group of bars an action, one colour a policy.

    policies: name -> probabilities (A,). actions: names of the A actions.
    Raises ValueError if there is no policy, or they differ in shape.
    """
    if not policies:
        raise ValueError('policies is empty: pass at least one, as {"before": probabilities}')
    shapes = {name: tuple(table.shape) for name, table in policies.items()}
    size = next(iter(shapes.values()))
    if len(size) != 1 or any(shape != size for shape in shapes.values()):
        raise ValueError(f"policies must all be (A,), the row of one state, got {shapes}")
    places = np.arange(size[0])
    width = 0.8 / len(policies)
    for index, (name, table) in enumerate(policies.items()):
        offset = (index - (len(policies) - 1) / 2) * width
        heights = table.detach().cpu().numpy()
        ax.bar(places + offset, heights, width, label=name, color=COLOURS[index % len(COLOURS)])
    ax.set_xticks(places, labels=_names("action", actions, size[0]))
    ax.set_xlabel("action")
    ax.set_ylabel("probability")
    ax.set_ylim(0, 1)
    ax.legend()
    return ax


def policy_heat_map(
    ax: Axes,
    policy: Tensor,
    states: Sequence[str] | None = None,
    actions: Sequence[str] | None = None,
) -> Axes:
    """A tabular policy (S, A) as a table: darker is more probable, every number is printed.

    Raises ValueError if policy is not (S, A) or names are missing.
    """
    if policy.ndim != 2:
        raise ValueError(f"policy must be (S, A), got {tuple(policy.shape)}: a row a state")
    table = policy.detach().cpu().numpy()
    ax.imshow(table, cmap="cividis_r", vmin=0, vmax=1, aspect="auto")
    for state, row in enumerate(table):
        for action, probability in enumerate(row):
            shade = "white" if probability > 0.5 else "black"
            ax.text(action, state, f"{probability:.2f}", ha="center", va="center", color=shade)
    ax.set_xticks(range(table.shape[1]), labels=_names("action", actions, table.shape[1]))
    ax.set_yticks(range(table.shape[0]), labels=_names("state", states, table.shape[0]))
    ax.set_xlabel("action")
    ax.set_ylabel("state")
    return ax


def world_map(
    ax: Axes, places: Mapping[str, tuple[float, float]], roads: Sequence[tuple[str, str]]
) -> Axes:
    """Places of a small world as boxes, and an arrow for every move that is possible.

    places: name -> (across, up). roads: (from, to). Raises ValueError if a road ends nowhere.
    """
    for road in roads:
        if not set(road) <= set(places):
            raise ValueError(f"a road must lead from place to place, got {road}")
    look = {"boxstyle": "round,pad=0.4", "facecolor": "#E8F1F8", "edgecolor": BLUE}
    boxes = {
        name: ax.text(*at, name, ha="center", va="center", color=INK, bbox=look)
        for name, at in places.items()
    }
    for tail, head in roads:
        ends = {"patchA": boxes[tail].get_bbox_patch(), "patchB": boxes[head].get_bbox_patch()}
        arrow = {"arrowstyle": "-|>", "color": INK, "shrinkA": 2, "shrinkB": 2, **ends}
        ax.annotate("", places[head], places[tail], arrowprops=arrow)
    across, up = zip(*places.values(), strict=True)
    ax.set_xlim(min(across) - 0.5, max(across) + 0.5)
    ax.set_ylim(min(up) - 0.4, max(up) + 0.4)
    ax.set_axis_off()
    return ax


def state_visitation(
    ax: Axes,
    visitations: dict[str, Tensor],
    states: Sequence[str] | None = None,
) -> Axes:
    """Discounted visitation of each state, one colour a policy; bars sum to 1 / (1 - gamma).

    visitations: name -> (S,), as TabularMDP.visitation gives it.
    Raises ValueError if there is none, or they differ in shape.
    """
    if not visitations:
        raise ValueError('visitations is empty: pass at least one, as {"before": visitation}')
    shapes = {name: tuple(table.shape) for name, table in visitations.items()}
    size = next(iter(shapes.values()))
    if len(size) != 1 or any(shape != size for shape in shapes.values()):
        raise ValueError(f"visitations must all be (S,), got {shapes}")
    places = np.arange(size[0])
    width = 0.8 / len(visitations)
    for index, (name, table) in enumerate(visitations.items()):
        offset = (index - (len(visitations) - 1) / 2) * width
        heights = table.detach().cpu().numpy()
        ax.bar(places + offset, heights, width, label=name, color=COLOURS[index % len(COLOURS)])
    ax.set_xticks(places, labels=_names("state", states, size[0]))
    ax.set_xlabel("state")
    ax.set_ylabel("discounted visits in an episode")
    ax.legend()
    return ax


def _names(kind: str, names: Sequence[str] | None, count: int) -> list[str]:
    if names is None:
        return [str(index) for index in range(count)]
    if len(names) != count:
        raise ValueError(f"{count} names of {kind}s are needed, got {len(names)}: {list(names)}")
    return list(names)
