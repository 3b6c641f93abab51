"""A slider shows the picture of the value it stands on, with no kernel behind it."""

import re

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

from course_lib.figures.style import blank_panel
from course_lib.sliders import Slider


def draw(value: float) -> Figure:
    figure, ax = blank_panel(2, 1)
    ax.set_title(str(value))
    return figure


def test_one_picture_shows_at_first_and_it_is_the_start() -> None:
    slider = Slider(draw, [0.1, 0.2, 0.3], start=0.2, label="epsilon")
    images = re.findall("<img [^>]*>", slider._repr_html_())
    assert ["display: none" in image for image in images] == [True, False, True]
    assert 'alt="epsilon = 0.2"' in images[1]
    assert len({re.search('src="([^"]*)"', image).group(1) for image in images}) == 3  # type: ignore[union-attr]


def test_print_shows_the_start() -> None:
    slider = Slider(draw, [0.1, 0.2], start=0.2, label="epsilon")
    assert slider._repr_png_() == slider.pictures[1]
    assert slider._repr_png_().startswith(b"\x89PNG")


def test_no_figure_is_left_open() -> None:
    before = plt.get_fignums()
    Slider(draw, [0.1], start=0.1, label="epsilon")
    assert plt.get_fignums() == before


def test_labels_are_text_and_not_markup() -> None:
    assert "<b>" not in Slider(draw, [1.0], start=1.0, label="<b>x</b>")._repr_html_()


def test_a_start_that_is_no_value_is_named() -> None:
    with pytest.raises(ValueError, match=r"one of the values \[0.1\], got 0.3"):
        Slider(draw, [0.1], start=0.3, label="epsilon")
