"""What all pictures of the lectures share: colours, panels, and numbers that matplotlib draws.

Colours are Okabe and Ito's, told apart by the colour-blind, and every series has a mark or a line
style of its own besides, so that a grey print still reads. Panels are white and opaque: on a dark
page the ink stays dark on light.
"""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
INK, PALE = "#222222", "#C9C9C9"
LINES = ((BLUE, "-", "o"), (RED, "--", "s"), (GREEN, "-.", "^"), (ORANGE, ":", "D"))
"""Colour, line and mark of the first series of a picture, the second, and so on."""


def blank_panel(width: float = 7.0, height: float = 4.0) -> tuple[Figure, Axes]:
    """An opaque white panel with one pair of axes; width and height in inches."""
    figure, ax = plt.subplots(figsize=(width, height), facecolor="white", layout="constrained")
    return figure, frameless(ax)


def two_panels(width: float = 8.4, height: float = 3.6) -> tuple[Figure, tuple[Axes, Axes]]:
    """An opaque white panel with two pairs of axes side by side; width and height in inches."""
    figure, pair = plt.subplots(
        1, 2, figsize=(width, height), facecolor="white", layout="constrained"
    )
    return figure, (frameless(pair[0]), frameless(pair[1]))


def small_panels(count: int, width: float = 8.4, height: float = 2.4) -> tuple[Figure, list[Axes]]:
    """An opaque white panel with `count` pairs of axes in a row, under titles; inches.

    Their places are fixed, so that the pictures of a slider do not jump.
    """
    figure, row = plt.subplots(1, count, figsize=(width, height), facecolor="white", squeeze=False)
    figure.subplots_adjust(0.01, 0.02, 0.99, 1 - 0.3 / height, 0.04)
    return figure, list(row[0])


def as_array(series: Tensor) -> np.ndarray[Any, Any]:
    """What matplotlib draws: numbers, off the graph and off the device."""
    return series.detach().cpu().numpy()


def frameless(ax: Axes) -> Axes:
    """White behind, no frame at the top and right."""
    ax.set_facecolor("white")
    ax.spines[["top", "right"]].set_visible(False)
    return ax
