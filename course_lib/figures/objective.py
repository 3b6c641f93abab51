"""The pictures of lecture 1, values, policies and the objective, each drawn on the axes it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from course_lib.figures.style import BLUE, GREEN, INK, ORANGE, PALE, RED, as_array, frameless

_LINES = (("-", BLUE), ("--", RED), (":", GREEN), ("-.", ORANGE))
_HATCHES = (("", PALE), ("///", BLUE), ("...", ORANGE))


def plot_roadmap(
    ax: Axes,
    methods: Mapping[str, tuple[int, int, int]],
    leads_to: Sequence[tuple[str, str]],
    lanes: Sequence[str],
) -> Axes:
    """Boxes for methods, arrows from what came first to what grew out of it.

    methods: name -> (year, column, lane). leads_to: pairs of names. lanes: name of each lane, the
    lowest first. Raises ValueError if an arrow names a method that is not there. [slide 3]
    """
    for name in {name for arrow in leads_to for name in arrow} - set(methods):
        raise ValueError(f"{name!r} has an arrow and no box: methods are {sorted(methods)}")
    boxes = {}
    for name, (year, column, lane) in methods.items():
        boxes[name] = ax.text(
            column,
            lane,
            f"{name}\n{year}",
            ha="center",
            va="center",
            color=INK,
            fontsize=9,
            bbox={"boxstyle": "round,pad=0.45", "facecolor": "#E8F1F8", "edgecolor": BLUE},
        )
    for tail, head in leads_to:
        ax.annotate(
            "",
            xy=methods[head][1:],
            xytext=methods[tail][1:],
            arrowprops={
                "arrowstyle": "-|>",
                "color": INK,
                "linewidth": 1.2,
                "patchA": boxes[tail].get_bbox_patch(),
                "patchB": boxes[head].get_bbox_patch(),
                "shrinkA": 1,
                "shrinkB": 1,
            },
        )
    columns = [column for _, column, _ in methods.values()]
    ax.set_xlim(min(columns) - 0.6, max(columns) + 0.6)
    ax.set_ylim(-0.6, len(lanes) - 0.4)
    ax.set_yticks(range(len(lanes)), lanes)
    ax.set_xticks([])
    ax.set_xlabel("time, in order and not to scale")
    ax.set_ylabel("the idea it follows")
    return frameless(ax)


def plot_action_values(
    ax: Axes,
    action_values: Tensor,
    values: Tensor,
    states: Sequence[str],
    actions: Sequence[str],
) -> Axes:
    """Q of every action as marks, V as a bar across, the advantage as what lies between.

    action_values: (S, A). values: (S,). states, actions: their names.
    Raises ValueError if the shapes do not go together. [slide 5]
    """
    wanted = (len(states), len(actions))
    if tuple(action_values.shape) != wanted or len(values) != wanted[0]:
        raise ValueError(
            f"action_values must be {wanted} and values ({wanted[0]},) to go with the names, got "
            f"{tuple(action_values.shape)} and {tuple(values.shape)}"
        )
    middle = as_array(values)
    places = np.arange(len(states))
    ax.hlines(middle, places - 0.38, places + 0.38, color=INK, linewidth=2.5, label="V(s)")
    for index, (name, (marker, colour)) in enumerate(
        zip(actions, cycle((("o", BLUE), ("s", RED), ("^", GREEN))))
    ):
        across = places + 0.44 * (index - (len(actions) - 1) / 2)
        heights = as_array(action_values[:, index])
        ax.vlines(across, middle, heights, color=colour, linewidth=1.5)
        ax.plot(across, heights, marker, color=colour, markersize=9, label=f"Q(s, {name})")
        for x, low, high in zip(across, middle, heights, strict=True):
            ax.annotate(
                f"A = {high - low:+.1f}",
                (x, high),
                xytext=(0, 9 if high >= low else -9),
                textcoords="offset points",
                ha="center",
                va="bottom" if high >= low else "top",
                fontsize=9,
                color=INK,
            )
    ax.margins(x=0.1, y=0.18)
    ax.set_xticks(places, states)
    ax.set_xlabel("state")
    ax.set_ylabel("expected discounted return")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_choice(ax: Axes, gaps: Tensor, chances: Mapping[str, Tensor]) -> Axes:
    """Probability of Right against what speaks for it.

    gaps: (P,) the number for Right minus the number for Left. chances: name -> (P,).
    Raises ValueError if a series has another length than gaps. [slide 6]
    """
    _check_lengths(gaps, "gaps", chances)
    for (name, series), (style, colour) in zip(chances.items(), cycle(_LINES)):
        ax.plot(as_array(gaps), as_array(series), style, color=colour, linewidth=2, label=name)
    ax.set_xlabel("number for Right minus number for Left")
    ax.set_ylabel("probability of Right")
    ax.set_ylim(-0.05, 1.05)
    ax.legend(frameon=False)
    return frameless(ax)


def plot_blind_corridor(
    ax: Axes, chances: Tensor, returns: Tensor, best: float, seeing: float
) -> Axes:
    """Return of the policy that goes Right with one probability in three look-alike states.

    chances: (P,) probabilities of Right. returns: (P,). best: the best of these probabilities.
    seeing: return of the best policy that is told the state.
    Raises ValueError if the lengths differ. [slide 7]
    """
    _check_lengths(chances, "chances", {"returns": returns})
    x, y = as_array(chances), as_array(returns)
    ax.plot(x, y, color=BLUE, linewidth=2, label="sees no difference between the states")
    top = float(np.interp(best, x, y))
    ax.plot(best, top, "o", color=RED, markersize=9, label=f"best: p = {best:.3f}, J = {top:.2f}")
    ax.axhline(
        seeing, color=GREEN, linestyle="--", linewidth=2, label=f"told the state: J = {seeing:.0f}"
    )
    ax.set_ylim(-80, 4)
    ax.set_xlabel("probability p of Right")
    ax.set_ylabel("expected return J\n(reward -1 a step)")
    ax.legend(frameon=False, loc="lower center")
    return frameless(ax)


def plot_throws(
    ax: Axes, actions: Tensor, rewards: Tensor, densities: Mapping[str, Tensor]
) -> Axes:
    """Reward of a continuous action, and the densities of policies over it.

    actions: (P,) in metres. rewards: (P,). densities: name -> (P,) per metre.
    Raises ValueError if a series has another length than actions. [slide 7]
    """
    _check_lengths(actions, "actions", {"rewards": rewards, **densities})
    x = as_array(actions)
    ax.fill_between(x, as_array(rewards), color=PALE, alpha=0.8, linewidth=0, label="reward r(a)")
    for (name, series), (style, colour) in zip(densities.items(), cycle(_LINES)):
        ax.plot(x, as_array(series), style, color=colour, linewidth=2, label=name)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("action a: how far to throw, in metres")
    ax.set_ylabel("reward, and density per metre")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_returns(ax: Axes, returns: Tensor, expected: float) -> Axes:
    """Histogram of the returns of single episodes, and the objective, which is their mean.

    returns: (N,) discounted. expected: the exact J.
    Raises ValueError if there is no episode. [slides 9 and 11]
    """
    if len(returns) == 0:
        raise ValueError("returns are empty: sample at least one episode")
    shares = np.full(len(returns), 100 / len(returns))
    ax.hist(as_array(returns), bins=40, weights=shares, color=PALE, edgecolor=INK, linewidth=0.5)
    ax.axvline(expected, color=RED, linewidth=2, label=f"exact J = {expected:.2f}")
    ax.set_xlabel("discounted return R of one episode")
    ax.set_ylabel("share of episodes in %")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_credited(ax: Axes, so_far: Tensor, to_come: Tensor, expected: float) -> Axes:
    """What the first steps pay on average, and on top what is still to come; a line at their sum.

    so_far, to_come: (P,) after 1, 2, ... P steps. expected: J. [slide 11]
    Raises ValueError if the lengths differ.
    """
    if so_far.shape != to_come.shape:
        raise ValueError(
            f"to_come must be {tuple(so_far.shape)} like so_far, got {tuple(to_come.shape)}"
        )
    steps, below = np.arange(1, len(so_far) + 1), as_array(so_far)
    edge: dict[str, Any] = {"edgecolor": INK, "linewidth": 0.8}
    ax.bar(steps, below, 0.7, color=BLUE, label="paid in the listed steps", **edge)
    ax.bar(
        steps, as_array(to_come), 0.7, bottom=below, color=PALE, hatch="//", label="to come", **edge
    )
    ax.axhline(expected, color=RED, linewidth=2, label=f"J = {expected:.2f}")
    ax.set_xticks(steps)
    ax.set_ylim(0, 1.45 * expected)
    ax.set_xlabel("steps that are listed")
    ax.set_ylabel("expected discounted return")
    ax.legend(frameon=False, loc="upper left", ncol=3)
    return frameless(ax)


def plot_difference_errors(ax: Axes, steps: Tensor, errors: Mapping[str, Tensor]) -> Axes:
    """Error of difference quotients against the size of the nudge, both axes logarithmic.

    steps: (P,) nudges. errors: name -> (P,) distances from the exact gradient.
    Raises ValueError if a series has another length than steps. [note (1)]
    """
    _check_lengths(steps, "steps", errors)
    for (name, series), (marker, colour) in zip(errors.items(), cycle((("o", RED), ("s", BLUE)))):
        ax.loglog(
            as_array(steps), as_array(series), marker=marker, markersize=6, color=colour, label=name
        )
    ax.set_xlabel("size h of the nudge to one parameter")
    ax.set_ylabel("error of the gradient")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_ascent(ax: Axes, returns: Mapping[str, Tensor], best: float) -> Axes:
    """J after each step of gradient ascent, and the best there is.

    returns: name -> (steps + 1,), the first before any step. Raises ValueError if a series is
    empty. [slide 13]
    """
    for (name, series), (style, colour) in zip(returns.items(), cycle(_LINES)):
        if len(series) == 0:
            raise ValueError(f"{name} is empty: give J at least before the first step")
        ax.plot(as_array(series), style, color=colour, linewidth=2, label=name)
    ax.axhline(best, color=INK, linewidth=1, linestyle=(0, (1, 3)), label="best policy")
    ax.set_xlabel("steps of gradient ascent")
    ax.set_ylabel("objective J")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_visitation(ax: Axes, visitation: Mapping[str, Tensor], states: Sequence[str]) -> Axes:
    """Discounted visits to every state, one group of bars a state, one hatching a policy.

    visitation: name -> (S,). states: their names.
    Raises ValueError if a series does not have one entry a state. [slides 14 and 43]
    """
    places, width = np.arange(len(states)), 0.8 / max(1, len(visitation))
    for index, ((name, series), (hatch, colour)) in enumerate(
        zip(visitation.items(), cycle(_HATCHES))
    ):
        if len(series) != len(states):
            raise ValueError(f"{name} must have {len(states)} entries, got {len(series)}")
        bars = ax.bar(
            places + width * (index - (len(visitation) - 1) / 2),
            as_array(series),
            width,
            color=colour,
            hatch=hatch,
            edgecolor=INK,
            linewidth=0.8,
            label=name,
        )
        ax.bar_label(bars, fmt="%.2f", padding=2, fontsize=9)
    ax.set_xticks(places, states)
    ax.set_xlabel("state")
    ax.set_ylabel("discounted visits")
    ax.legend(frameon=False)
    return frameless(ax)


def _check_lengths(axis: Tensor, what: str, series: Mapping[str, Tensor]) -> None:
    for name, numbers in series.items():
        if numbers.shape != axis.shape:
            raise ValueError(
                f"{name} must be {tuple(axis.shape)} like {what}, got {tuple(numbers.shape)}"
            )
