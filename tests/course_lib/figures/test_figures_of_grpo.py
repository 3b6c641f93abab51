"""The pictures of GRPO show the numbers and texts they got, on the axes they are given."""

import numpy as np
import pytest
import torch

from course_lib.figures import grpo as figures

SHARES = torch.linspace(0, 1, 21)
RIGHT = torch.tensor([[True, False], [False, False]])


def test_factors_are_named_and_told_apart_without_colour(ax, require_own_axes):
    lines = {"divided": 1 + SHARES, "not divided": torch.ones(21)}
    require_own_axes(lambda ax: figures.plot_factors(ax, SHARES, lines))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(lines)
    for line, series in zip(ax.lines, lines.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), series)
    assert len({(line.get_linestyle(), line.get_marker()) for line in ax.lines}) == 2
    assert ax.get_ylim()[0] == 0


def test_factors_of_another_length_are_refused(ax):
    with pytest.raises(ValueError, match="like shares"):
        figures.plot_factors(ax, SHARES, {"divided": torch.ones(3)})


def test_estimates_are_drawn_over_the_ratio_and_told_apart_without_colour(ax, require_own_axes):
    lines = {"k1": -SHARES, "k3": SHARES**2}
    require_own_axes(lambda ax: figures.plot_estimates(ax, SHARES, lines))
    for line, series in zip(ax.lines, lines.values(), strict=False):
        np.testing.assert_allclose(line.get_ydata(), series)
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()
    with pytest.raises(ValueError, match="like ratios"):
        figures.plot_estimates(ax, SHARES, {"k1": torch.ones(3)})


def test_right_completions_have_a_mark_and_a_field_and_wrong_ones_none(ax):
    assert figures.plot_completions(ax, ["([", "(("], [["]).", ")."], [").", "."]], RIGHT) is ax
    assert [text.get_text() for text in ax.texts] == ["([", "]).", "\u2713", ").", "((", ").", "."]
    fields = [field.get_facecolor() for field in ax.patches]
    assert len(fields) == 4
    assert fields[0] not in fields[1:]
    assert len(set(fields[1:])) == 1
    assert [label.get_text() for label in ax.get_xticklabels()] == [
        "prompt",
        "answer 1",
        "answer 2",
    ]
    assert ax.yaxis_inverted()
    ax.figure.canvas.draw()
    assert (np.asarray(ax.figure.canvas.buffer_rgba())[0, 0] == 255).all()


@pytest.mark.parametrize("completions", [[["]).", ")."]], [["]).", ")."], ["."]], []])
def test_completions_and_marks_must_fit(ax, completions):
    with pytest.raises(ValueError, match="got 2 prompts with"):
        figures.plot_completions(ax, ["([", "(("], completions, RIGHT)
