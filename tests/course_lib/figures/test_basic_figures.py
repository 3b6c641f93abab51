"""Figures draw the numbers they are given, name their axes and leave global state alone."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from course_lib.figures.basic import (
    COLOURS,
    learning_curve,
    policy_bars,
    policy_heat_map,
    state_visitation,
    world_map,
)


@pytest.fixture
def ax():
    return Figure().subplots()


def test_learning_curve_is_the_running_mean_with_a_band_of_one_deviation(ax):
    returns = [1.0, 3.0, 5.0, 11.0]
    assert learning_curve(ax, returns, [10, 20, 30, 40], window=2, label="run") is ax
    line = ax.lines[0]
    assert line.get_xdata().tolist() == [10, 20, 30, 40]
    assert line.get_ydata().tolist() == [1, 2, 4, 8]
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == 11
    assert band.min() == 1
    assert ax.get_xlabel() == "environment steps"
    assert "mean of 2 episodes" in ax.get_ylabel()
    assert "standard deviation" in ax.get_ylabel()


def test_bars_have_the_policies_heights(ax):
    before, after = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.1, 0.6, 0.3])
    assert policy_bars(ax, {"before": before, "after": after}, ["a", "b", "c"]) is ax
    heights = [round(bar.get_height(), 6) for bar in ax.patches]
    assert heights == [0.5, 0.3, 0.2, 0.1, 0.6, 0.3]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["before", "after"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("action", "probability")


def test_heat_map_prints_every_probability(ax):
    policy = torch.tensor([[0.9, 0.1], [0.25, 0.75]])
    assert policy_heat_map(ax, policy, ["s1", "s2"], ["Left", "Right"]) is ax
    assert [text.get_text() for text in ax.texts] == ["0.90", "0.10", "0.25", "0.75"]
    np.testing.assert_allclose(ax.images[0].get_array(), policy)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("action", "state")


def test_visitation_has_the_states_heights(ax):
    assert state_visitation(ax, {"uniform": torch.tensor([3.0, 7.0])}) is ax
    assert [bar.get_height() for bar in ax.patches] == [3, 7]
    assert ax.get_xlabel() == "state"
    assert "discounted" in ax.get_ylabel()


def test_colours_are_different_in_brightness_too():
    rgb = np.array([matplotlib.colors.to_rgb(colour) for colour in COLOURS])
    assert len({tuple(row) for row in rgb}) == len(COLOURS)
    first_two = rgb[:2] @ [0.2126, 0.7152, 0.0722]
    assert abs(first_two[0] - first_two[1]) > 0.2


def test_figures_change_no_setting(ax):
    before = dict(matplotlib.rcParams)
    learning_curve(ax, [1.0, 2.0])
    policy_heat_map(ax, torch.eye(2))
    assert dict(matplotlib.rcParams) == before


def test_bad_input_is_answered_in_words(ax):
    with pytest.raises(ValueError, match="with at least one, got"):
        learning_curve(ax, [])
    with pytest.raises(ValueError, match="one entry for each of 2 episodes, got 1"):
        learning_curve(ax, [1.0, 2.0], [1])
    with pytest.raises(ValueError, match="policies is empty"):
        policy_bars(ax, {})
    with pytest.raises(ValueError, match="must all be"):
        policy_bars(ax, {"a": torch.ones(2), "b": torch.ones(3)})
    with pytest.raises(ValueError, match="must all be"):
        state_visitation(ax, {"a": torch.eye(2)})
    with pytest.raises(ValueError, match=r"policy must be \(S, A\)"):
        policy_heat_map(ax, torch.ones(2))
    with pytest.raises(ValueError, match="2 names of actions are needed, got 1"):
        policy_heat_map(ax, torch.eye(2), actions=["Left"])


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
