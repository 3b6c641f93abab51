"""Pictures with sliders over them that need no kernel, and stand still in print.

Every picture is drawn beforehand and is in the page; a slider only shows another one. So the same
output moves in Jupyter, on a page without kernel or network, and on a phone. A continuous control
with a kernel behind it would save weight and lose all of these.
"""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

SHOWN, STORED = 100, 150  # pixels an inch: on the page, and in the file for screens with finer ones
COLOURS = 128  # of a picture: lines and areas lose nothing, the rarest shade too, and weigh half
HEAVIEST = 1_500_000  # bytes of all pictures of one page element
SECONDS_TO_PLAY = 6

# No ids and no scripts: a page may hold many of these, each a piece of HTML that stands alone.
_FOLLOW = """
const box = this.closest('.course-slider');
const place = [...box.querySelectorAll('input')].reduce(
  (sum, one) => sum + one.value * one.dataset.stride, 0);
box.querySelectorAll('.course-frames img').forEach(
  (one, i) => one.style.visibility = i == place ? 'visible' : 'hidden');
const name = this.dataset.names.split(' ')[this.value];
this.closest('.course-control').querySelector('output').value = name;
this.setAttribute('aria-valuetext', name);
"""
_PLAY = """
const button = this, input = this.closest('.course-control').querySelector('input');
const stop = () => {
  clearInterval(button.clock);
  button.clock = null;
  button.textContent = '\\u25B6';
  button.setAttribute('aria-label', 'play ' + input.dataset.label);
};
const to = (value) => {
  input.value = value;
  input.dispatchEvent(new Event('input'));
};
if (button.clock) {
  stop();
} else {
  if (input.value == input.max) to(0);
  button.textContent = '\\u2016';
  button.setAttribute('aria-label', 'pause ' + input.dataset.label);
  input.addEventListener('pointerdown', stop, {once: true});
  input.addEventListener('keydown', stop, {once: true});
  button.clock = setInterval(() => {
    if (!button.isConnected || input.value == input.max) stop();
    else to(+input.value + 1);
  }, button.dataset.pace);
}
"""
# Pictures lie on top of each other in one grid cell, so that nothing moves when another one shows.
_STYLE = (
    ".course-control {display: flex; flex-wrap: wrap; align-items: center; gap: 0.3em 0.7em;"
    " margin: 0.3em 0}"
    ".course-control button {width: 2.4em; height: 2em; padding: 0; cursor: pointer; flex: none}"
    ".course-control label {display: contents}"
    ".course-control label span {min-width: 4.5em}"
    ".course-control input {flex: 1 1 8em; max-width: 22em; min-width: 6em; margin: 0}"
    ".course-control output {min-width: 4em; font-variant-numeric: tabular-nums}"
    ".course-frames {display: grid}"
    ".course-frames img {grid-area: 1 / 1; max-width: 100%; height: auto; margin: 0}"
    ".course-still {display: none; max-width: 100%; height: auto}"
    "@media print, (scripting: none) {"
    ".course-slider button, .course-slider input {display: none}"
    ".course-slider.with-still > :not(.course-still) {display: none}"
    ".course-slider.with-still .course-still {display: block}}"
)


class Sliders:
    """What a cell ends with to show draw(value, ...) for the values that the reader slides to.

    draw: a value for each slider -> Figure, all of one size. values: label -> where that slider
    stops, in order; a picture is drawn for every combination, so a few dozen are plenty.
    start: label -> the value it stands on at first. still: what shows on paper and where no script
    runs, such as a few moments side by side; the picture at the start if left out. Each slider can
    be played, dragged, and moved by the arrow keys.
    Raises ValueError if start is not among the values, or pictures differ in size (the page would
    jump) or weigh more than HEAVIEST.
    """

    def __init__(
        self,
        draw: Callable[..., Figure],
        values: Mapping[str, Sequence[float]],
        start: Mapping[str, float],
        still: Figure | None = None,
    ) -> None:
        for label, stops in values.items():
            if start.get(label) not in stops:
                raise ValueError(
                    f"{label} must start at one of the values {list(stops)}, got {start.get(label)}"
                )
        self.values = {label: list(stops) for label, stops in values.items()}
        self.start = {label: self.values[label].index(start[label]) for label in self.values}
        combinations = itertools.product(*self.values.values())
        self.pictures = [_png(draw(*combination)) for combination in combinations]
        self.still = None if still is None else _png(still)
        sizes = {_size(picture) for picture in self.pictures}
        if len(sizes) > 1:
            raise ValueError(f"all pictures must be of one size, got {sorted(sizes)}")
        weight = sum(map(len, self.pictures))
        if weight > HEAVIEST:
            raise ValueError(
                f"the {len(self.pictures)} pictures weigh {weight / 1e6:.1f} MB, at most "
                f"{HEAVIEST / 1e6:.1f} are wanted: draw fewer or smaller ones"
            )

    def _repr_html_(self) -> str:
        first = self._first()
        names = {label: [f"{value:.4g}" for value in row] for label, row in self.values.items()}
        controls, stride = "", len(self.pictures)
        for label, row in names.items():
            stride //= len(row)
            controls += _control(label, row, self.start[label], stride)
        images = ""
        for at, place in enumerate(itertools.product(*names.values())):
            alt = ", ".join(f"{label} = {name}" for label, name in zip(names, place, strict=True))
            hidden = "" if at == first else 'style="visibility: hidden"'
            images += _image(self.pictures[at], alt, hidden)
        still = ""
        if self.still is not None:
            still = _image(self.still, ", ".join(names), 'class="course-still"')
        return (
            f'<div class="course-slider{" with-still" * bool(still)}" role="group" '
            f'aria-label="{escape("picture with sliders for " + ", ".join(names))}">'
            f"<style>{_STYLE}</style>"
            f'{controls}<div class="course-frames">{images}</div>{still}</div>'
        )

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """What paper shows, and how large it is meant to be, in pixels of the page."""
        picture = self.still or self.pictures[self._first()]
        width, height = _shown_size(picture)
        return picture, {"width": width, "height": height}

    def __repr__(self) -> str:
        rows = (
            f"{label}: {', '.join(f'{value:.4g}' for value in row)}"
            for label, row in self.values.items()
        )
        return f"Sliders over {'; '.join(rows)}"

    def _first(self) -> int:
        place = 0
        for label, row in self.values.items():
            place = place * len(row) + self.start[label]
        return place


class Slider(Sliders):
    """What a cell ends with to show draw(value) for each value that the reader slides to.

    values: where the slider stops, in order. label: of the slider. The rest as for Sliders.
    """

    def __init__(
        self,
        draw: Callable[[float], Figure],
        values: Sequence[float],
        start: float,
        label: str,
        still: Figure | None = None,
    ) -> None:
        super().__init__(draw, {label: values}, {label: start}, still)


# JupyterLab takes keys for its own before the page sees them, unless the very element that has the
# focus says not to: the one around it is too late.
_OWN_KEYS = 'data-lm-suppress-shortcuts="true"'


def _control(label: str, names: Sequence[str], first: int, stride: int) -> str:
    pace = min(700, max(80, SECONDS_TO_PLAY * 1000 // len(names)))
    label = escape(label)
    return (
        f'<div class="course-control"><button type="button" aria-label="play {label}" '
        f'data-pace="{pace}" {_OWN_KEYS} onclick="{_in_attribute(_PLAY)}">\u25b6</button>'
        f"<label><span>{label}</span> "
        f'<input type="range" min="0" max="{len(names) - 1}" step="1" value="{first}" '
        f'data-label="{label}" data-names="{" ".join(names)}" data-stride="{stride}" '
        f'aria-valuetext="{names[first]}" autocomplete="off" {_OWN_KEYS} '
        f'oninput="{_in_attribute(_FOLLOW)}"></label>'
        f'<output aria-live="off">{names[first]}</output></div>'
    )


def _in_attribute(script: str) -> str:
    return escape(" ".join(script.split()))


def _image(picture: bytes, alt: str, attributes: str) -> str:
    width, height = _shown_size(picture)
    source = base64.b64encode(picture).decode()
    return (
        f'<img {attributes} alt="{escape(alt)}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{source}">'
    )


def _shown_size(picture: bytes) -> tuple[int, int]:
    width, height = (math.ceil(side * SHOWN / STORED) for side in _size(picture))
    return width, height


def _size(picture: bytes) -> tuple[int, int]:
    with Image.open(BytesIO(picture)) as image:
        return image.size


def _png(figure: Figure) -> bytes:
    """The figure as PNG of a few colours."""
    figure.set_dpi(STORED)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # savefig would lay the figure out twice, and pack what is unpacked at once
    plt.close(figure)  # or the notebook shows it a second time
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    few = drawn.quantize(COLOURS, dither=Image.Dither.NONE)
    small = BytesIO()
    # Print asks the file how large it is, and gets the size that the figure was drawn for.
    few.save(small, "PNG", optimize=True, dpi=(STORED, STORED))
    return small.getvalue()
