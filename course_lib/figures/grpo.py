"""Pictures of lecture 8 on GRPO: what the spread does, two estimates, texts with a mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from course_lib.figures.style import GREEN, INK, LINES, PALE, as_array, frameless


def plot_factors(ax: Axes, shares: Tensor, factors: Mapping[str, Tensor]) -> Axes:
    """How strongly a prompt counts in the update, over the share of right answers to it.

    shares: (P,) in [0, 1]. factors: name -> (P,), a line each.
    Raises ValueError if a length differs.
    """
    for (name, series), (colour, line, mark) in zip(factors.items(), cycle(LINES)):
        if series.shape != shares.shape:
            raise ValueError(
                f"{name} must be {tuple(shares.shape)} like shares, got {tuple(series.shape)}"
            )
        every = max(1, len(shares) // 10)
        ax.plot(
            as_array(shares),
            as_array(series),
            line,
            color=colour,
            marker=mark,
            markevery=every,
            label=name,
        )
    ax.set_ylim(bottom=0)
    ax.set_xlabel("share of right answers to this prompt")
    ax.set_ylabel("factor before the prompt's gradient")
    ax.legend(frameon=False, fontsize="small")
    return frameless(ax)


def plot_estimates(ax: Axes, ratios: Tensor, estimates: Mapping[str, Tensor]) -> Axes:
    """What estimates of a KL say of one token, over the ratio of the two models' probabilities.

    ratios: (P,), reference over model. estimates: name -> (P,) in nats, a line each.
    Raises ValueError if a length differs.
    """
    for (name, series), (colour, line, _) in zip(estimates.items(), cycle(LINES)):
        if series.shape != ratios.shape:
            raise ValueError(
                f"{name} must be {tuple(ratios.shape)} like ratios, got {tuple(series.shape)}"
            )
        ax.plot(as_array(ratios), as_array(series), line, color=colour, linewidth=2, label=name)
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.axvline(1, color=PALE, linewidth=0.8, zorder=0)
    ax.set_xlabel("ratio, reference to model")
    ax.set_ylabel("estimate (nats)")
    ax.legend(frameon=False)
    return frameless(ax)


def plot_completions(
    ax: Axes, prompts: Sequence[str], completions: Sequence[Sequence[str]], right: Tensor
) -> Axes:
    """Completions as a table: a row for each prompt, a mark and a pale field where one is right.

    completions: of each prompt the same number. right: bool, (prompts, completions of each).
    Raises ValueError if the numbers do not fit.
    """
    lengths = [len(texts) for texts in completions]
    shape = tuple(right.shape)
    if len(shape) != 2 or len(prompts) != shape[0] or lengths != [shape[1]] * shape[0]:
        raise ValueError(
            f"right is {shape}, so there must be that many prompts, each with that many "
            f"completions, got {len(prompts)} prompts with {lengths} completions"
        )
    for row, (prompt, texts) in enumerate(zip(prompts, completions, strict=True)):
        ax.text(0.0, row, prompt, family="monospace", fontsize=12, va="center", color=INK)
        for column, text in enumerate(texts):
            good = bool(right[row, column])
            field = Rectangle((column + 0.95, row - 0.34), 0.9, 0.68)
            field.set(facecolor="#E3F4EE" if good else "white", edgecolor=GREEN if good else PALE)
            ax.add_patch(field)
            ax.text(column + 1.02, row, text, family="monospace", fontsize=12, va="center")
            if good:
                ax.text(column + 1.77, row, "\u2713", color=GREEN, ha="center", va="center")
    ax.set_xlim(-0.1, shape[1] + 0.9)
    ax.set_ylim(shape[0] - 0.4, -0.6)
    ax.set_xticks([0.1, *[column + 1.3 for column in range(shape[1])]])
    ax.set_xticklabels(["prompt", *[f"answer {column + 1}" for column in range(shape[1])]])
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_facecolor("white")
    return ax
