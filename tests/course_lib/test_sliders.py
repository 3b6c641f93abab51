"""A slider shows the picture of the values it stands on, with no kernel behind it."""

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from course_lib import sliders
from course_lib.figures.style import blank_panel
from course_lib.sliders import Slider, Sliders


def draw(*values: float) -> Figure:
    figure, ax = blank_panel(2, 1)
    ax.set_title(" ".join(map(str, values)))
    return figure


class Elements(HTMLParser):
    """All elements of a page: (name, attributes)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, {name: value or "" for name, value in attrs}))

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.all if name == tag]


def picture_of(image: dict[str, str]) -> bytes:
    return base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))


def test_one_picture_shows_at_first_and_it_is_the_start() -> None:
    slider = Slider(draw, [0.1, 0.2, 0.3], start=0.2, label="epsilon")
    images = Elements(slider._repr_html_()).named("img")
    assert ["hidden" in image.get("style", "") for image in images] == [True, False, True]
    assert images[1]["alt"] == "epsilon = 0.2"
    assert [picture_of(image) for image in images] == slider.pictures
    assert len(set(slider.pictures)) == 3


def test_two_sliders_reach_every_combination_and_start_where_told() -> None:
    stops = {"ratio": [0.5, 1.0, 1.5], "epsilon": [0.1, 0.2]}
    slider = Sliders(draw, stops, {"ratio": 1.0, "epsilon": 0.2})
    page = Elements(slider._repr_html_())
    images, inputs = page.named("img"), page.named("input")
    # What the page's script adds up: value times stride, over the inputs.
    places = {}
    for i, ratio in enumerate(stops["ratio"]):
        for j, epsilon in enumerate(stops["epsilon"]):
            place = i * int(inputs[0]["data-stride"]) + j * int(inputs[1]["data-stride"])
            places[place] = f"ratio = {ratio:g}, epsilon = {epsilon:g}"
    assert [places[at] for at in range(6)] == [image["alt"] for image in images]
    shown = [image["alt"] for image in images if "hidden" not in image.get("style", "")]
    assert shown == ["ratio = 1, epsilon = 0.2"]
    assert [one["value"] for one in inputs] == ["1", "1"]
    assert slider._repr_png_()[0] == slider.pictures[3]


def test_print_shows_the_start_or_what_was_given_for_it() -> None:
    slider = Slider(draw, [0.1, 0.2], start=0.2, label="epsilon")
    picture, size = slider._repr_png_()
    assert picture == slider.pictures[1]
    assert picture.startswith(b"\x89PNG")
    assert size == {"width": 200, "height": 100}  # 2 by 1 inches; stored finer
    wide, _ = blank_panel(4, 1)
    film = Slider(draw, [0.1, 0.2], start=0.2, label="epsilon", still=wide)
    with Image.open(BytesIO(film._repr_png_()[0])) as image:
        assert image.size == (4 * sliders.STORED, sliders.STORED)
    kinds = [image.get("class") for image in Elements(film._repr_html_()).named("img")]
    assert kinds == [None, None, "course-still"]


def test_what_is_for_paper_shows_where_no_script_runs_too() -> None:
    html = Slider(draw, [0.1, 0.2], start=0.2, label="epsilon", still=draw(1.0))._repr_html_()
    [rules] = re.findall(r"@media print, \(scripting: none\) \{(.*?)\}\}", html)
    assert ".course-slider.with-still .course-still {display: block" in rules
    assert ".course-slider input {display: none}" in rules  # it would do nothing


def test_space_on_the_page_is_known_before_pictures_load() -> None:
    slider = Slider(draw, [0.1, 0.2], start=0.2, label="epsilon")
    for image in Elements(slider._repr_html_()).named("img"):
        assert (image["width"], image["height"]) == ("200", "100")  # 2 by 1 inches
    assert ".course-frames img {grid-area: 1 / 1" in slider._repr_html_()  # all in one place


def test_every_control_says_what_it_is_and_keeps_its_keys() -> None:
    page = Elements(Sliders(draw, {"a": [1.0], "b": [2.0]}, {"a": 1.0, "b": 2.0})._repr_html_())
    assert [one["aria-label"] for one in page.named("button")] == ["play a", "play b"]
    assert [one["aria-valuetext"] for one in page.named("input")] == ["1", "2"]
    assert len(page.named("label")) == 2
    # JupyterLab asks the element that has the focus, and no other, before it takes the arrow keys.
    for control in (*page.named("button"), *page.named("input")):
        assert control["data-lm-suppress-shortcuts"] == "true"


def test_page_needs_no_network_no_script_element_and_no_id() -> None:
    html = Slider(draw, [0.1, 0.2], start=0.2, label="epsilon")._repr_html_()
    assert not re.search(r"<script| id=|https?:|url\(", html)


def test_pictures_of_few_colours_still_look_the_same() -> None:
    figure, ax = plt.subplots(figsize=(3, 2))  # a layout that is computed may move between draws
    ax.plot([0, 1], [0, 1], color="#D55E00", label="a line")
    ax.fill_between([0, 1], [0, 1], color="#0072B2", alpha=0.2)
    ax.legend()
    drawn = BytesIO()
    figure.savefig(drawn, dpi=sliders.STORED)
    small = sliders._png(figure)
    assert len(small) < 0.6 * len(drawn.getvalue())
    before, after = (
        np.asarray(Image.open(BytesIO(data)).convert("RGB"), dtype=float)
        for data in (drawn.getvalue(), small)
    )
    assert np.abs(before - after).mean() < 1.0  # of 255
    assert np.abs(before - after).max() < 64


def test_no_figure_is_left_open() -> None:
    before = plt.get_fignums()
    Slider(draw, [0.1], start=0.1, label="epsilon", still=draw(1.0))
    assert plt.get_fignums() == before


def test_labels_are_text_and_not_markup() -> None:
    assert "<b>" not in Slider(draw, [1.0], start=1.0, label="<b>x</b>")._repr_html_()


def test_a_start_that_is_no_value_is_named() -> None:
    with pytest.raises(ValueError, match=r"epsilon must start at one of .* \[0.1\], got 0.3"):
        Slider(draw, [0.1], start=0.3, label="epsilon")
    with pytest.raises(ValueError, match="b must start at one of"):
        Sliders(draw, {"a": [1.0], "b": [1.0]}, {"a": 1.0})


def test_pictures_that_would_make_the_page_jump_are_refused() -> None:
    with pytest.raises(ValueError, match="of one size, got"):
        Slider(lambda value: blank_panel(value, 1)[0], [2, 3], start=2, label="width")


def test_pictures_that_would_make_the_page_heavy_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sliders, "HEAVIEST", 1000)
    with pytest.raises(ValueError, match=r"2 pictures weigh .* draw fewer or smaller ones"):
        Slider(draw, [0.1, 0.2], start=0.1, label="epsilon")


def test_a_rare_shade_among_many_keeps_its_colour() -> None:
    figure, ax = blank_panel(4, 2)
    shades = np.linspace(0, 1, 60)[None]
    ax.imshow(np.vstack([shades, shades]), cmap="Oranges", aspect="auto")
    ax.add_patch(plt.Rectangle((0, 0), 0.4, 0.4, color="#08306B"))  # the most visited place
    ax.set_title("ink and its edges take shades, too")
    with Image.open(BytesIO(sliders._png(figure))) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors() or []}
    wanted = np.array([8, 48, 107])
    assert min(np.abs(np.array(colour) - wanted).max() for colour in colours) < 8
