"""Figures draw the numbers they are given, name their axes and leave global state alone."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from course_lib.figures.basic import (
    COLOURS,
    policy_bars,
    world_map,
)


@pytest.fixture
def ax():
    return Figure().subplots()


def test_bars_have_the_policies_heights(ax):
    before, after = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.1, 0.6, 0.3])
    assert policy_bars(ax, {"before": before, "after": after}, ["a", "b", "c"]) is ax
    heights = [round(bar.get_height(), 6) for bar in ax.patches]
    assert heights == [0.5, 0.3, 0.2, 0.1, 0.6, 0.3]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["before", "after"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("action", "probability")


def test_colours_are_different_in_brightness_too():
    rgb = np.array([matplotlib.colors.to_rgb(colour) for colour in COLOURS])
    assert len({tuple(row) for row in rgb}) == len(COLOURS)
    first_two = rgb[:2] @ [0.2126, 0.7152, 0.0722]
    assert abs(first_two[0] - first_two[1]) > 0.2


def test_figures_change_no_setting(ax):
    before = dict(matplotlib.rcParams)
    policy_bars(ax, {"a": torch.ones(2)})
    assert dict(matplotlib.rcParams) == before


def test_bad_input_is_answered_in_words(ax):
    with pytest.raises(ValueError, match="policies is empty"):
        policy_bars(ax, {})
    with pytest.raises(ValueError, match="must all be"):
        policy_bars(ax, {"a": torch.ones(2), "b": torch.ones(3)})
    with pytest.raises(ValueError, match="2 names of actions are needed, got 1"):
        policy_bars(ax, {"a": torch.ones(2)}, ["Left"])


def test_world_map_has_every_place_and_an_arrow_for_every_road(ax):
    places = {"depot": (0.0, 0.0), "street": (1.0, 0.0), "home": (2.0, 1.0)}
    assert world_map(ax, places, [("depot", "street"), ("street", "home")]) is ax
    boxes = [text for text in ax.texts if text.get_text()]
    arrows = [text for text in ax.texts if not text.get_text()]
    assert {box.get_text(): box.get_position() for box in boxes} == places
    assert [(a.xyann, a.xy) for a in arrows] == [
        ((0.0, 0.0), (1.0, 0.0)),
        ((1.0, 0.0), (2.0, 1.0)),
    ]
    with pytest.raises(ValueError, match=r"from place to place, got \('home', 'moon'\)"):
        world_map(ax, places, [("home", "moon")])
