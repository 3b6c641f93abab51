"""Pictures of agents at work, drawn from recorded states: a cart with a pole, a pendulum."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle

from course_lib.figures.style import BLUE, INK, ORANGE, PALE, RED

TRACK_END = 2.4  # metres: further out the episode is over
POLE = 1.0  # metres, as drawn and as simulated
SERIOUS_TILT = math.radians(12)  # beyond it the episode is over
STRONGEST = 2.0  # newton metres of the pendulum's motor


def plot_cartpole(ax: Axes, position: float, angle: float) -> Axes:
    """A cart on its track, seen from the side; the pole turns orange when the episode is over.

    position: of the cart, in metres from the middle. angle: of the pole, in radians from upright,
    clockwise.
    """
    over = abs(angle) > SERIOUS_TILT or abs(position) > TRACK_END
    ax.plot([-TRACK_END, TRACK_END], [0, 0], color=INK, linewidth=1)
    for end in (-TRACK_END, TRACK_END):
        ax.plot([end, end], [-0.08, 0.08], color=INK, linewidth=1)
    ax.add_patch(Rectangle((position - 0.25, 0.02), 0.5, 0.2, facecolor=PALE, edgecolor=INK))
    tip = position + POLE * math.sin(angle), 0.22 + POLE * math.cos(angle)
    ax.plot(
        [position, tip[0]],
        [0.22, tip[1]],
        color=RED if over else BLUE,
        linewidth=5,
        solid_capstyle="round",
    )
    ax.plot(position, 0.22, "o", color=INK, markersize=4)
    ax.set_xlim(-TRACK_END - 0.3, TRACK_END + 0.3)
    ax.set_ylim(-0.15, 1.45)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def plot_pendulum(ax: Axes, angle: float, torque: float) -> Axes:
    """A pendulum on its pivot, and the motor's torque as an arrow round it, the longer the more.

    angle: in radians from upright, counterclockwise. torque: in newton metres, counterclockwise.
    """
    tip = -math.sin(angle), math.cos(angle)
    ax.add_patch(Circle((0, 0), 1.0, facecolor="none", edgecolor=PALE, linestyle=":"))
    ax.plot([0, tip[0]], [0, tip[1]], color=BLUE, linewidth=7, solid_capstyle="round")
    ax.plot(0, 0, "o", color=INK, markersize=6)
    if abs(torque) > 0.05 * STRONGEST:
        turn = 2.4 * torque / STRONGEST  # radians of its arc, half of it on each side of the top
        arc = np.pi / 2 + np.linspace(-turn / 2, turn / 2, 30)
        x, y = 0.35 * np.cos(arc), 0.35 * np.sin(arc)
        ax.plot(x, y, color=ORANGE, linewidth=2.5)
        heading = math.degrees(arc[-1]) + (0 if torque > 0 else 180)
        ax.plot(x[-1], y[-1], marker=(3, 0, heading), color=ORANGE, markersize=10)
    ax.set_xlim(-1.15, 1.15)
    ax.set_ylim(-1.15, 1.15)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax
