"""Pictures of more than one lecture: a policy's probabilities as bars, a map of a small world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from course_lib.figures.style import BLUE, GREEN, INK, ORANGE, RED, as_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, told apart with every common colour blindness.
COLOURS = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "#F0E442", "#000000")


def policy_bars(
    ax: Axes,
    policies: dict[str, Tensor],
    actions: Sequence[str] | None = None,
) -> Axes:
    """Probabilities of the actions in one state, one group of bars an action, one colour a policy.

    policies: name -> probabilities (A,). actions: names of the A actions.
    Raises ValueError if there is no policy, they differ in shape, or names are missing.
    """
    if not policies:
        raise ValueError('policies is empty: pass at least one, as {"before": probabilities}')
    shapes = {name: tuple(table.shape) for name, table in policies.items()}
    size = next(iter(shapes.values()))
    if len(size) != 1 or any(shape != size for shape in shapes.values()):
        raise ValueError(f"policies must all be (A,), the row of one state, got {shapes}")
    names = [str(action) for action in range(size[0])] if actions is None else list(actions)
    if len(names) != size[0]:
        raise ValueError(f"{size[0]} names of actions are needed, got {len(names)}: {names}")
    places = np.arange(size[0])
    width = 0.8 / len(policies)
    for index, (name, table) in enumerate(policies.items()):
        offset = (index - (len(policies) - 1) / 2) * width
        heights = as_array(table)
        ax.bar(places + offset, heights, width, label=name, color=COLOURS[index % len(COLOURS)])
    ax.set_xticks(places, labels=names)
    ax.set_xlabel("action")
    ax.set_ylabel("probability")
    ax.set_ylim(0, 1)
    ax.legend()
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
