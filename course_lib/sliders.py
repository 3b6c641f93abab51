"""A picture with a slider over it that needs no kernel, and stands still in print."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape
from io import BytesIO

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

# All pictures are in the page; the slider shows one of them. No ids: pages may hold many sliders.
_FOLLOW = (
    "const all = this.closest('.course-slider');"
    "all.querySelectorAll('img').forEach("
    "(one, i) => one.style.display = i == this.value ? '' : 'none');"
    "all.querySelector('output').value = this.dataset.values.split(' ')[this.value]"
)


class Slider:
    """What a cell ends with to show draw(value) for each value that the reader slides to.

    Works in a notebook and on a static page alike, since every picture is drawn beforehand: a dozen
    values are plenty. Print shows the first picture, that of `start`.
    draw: value -> Figure. values: where the slider stops, in order. label: of the slider.
    Raises ValueError if start is not among the values.
    """

    def __init__(
        self,
        draw: Callable[[float], Figure],
        values: Sequence[float],
        start: float,
        label: str,
    ) -> None:
        if start not in values:
            raise ValueError(f"start must be one of the values {list(values)}, got {start}")
        self.values, self.start, self.label = list(values), start, label
        self.pictures = [_png(draw(value)) for value in values]

    def _repr_html_(self) -> str:
        first = self.values.index(self.start)
        names = [f"{value:.4g}" for value in self.values]
        images = "".join(
            f'<img alt="{escape(self.label)} = {name}" '
            f'style="max-width: 100%{"" if place == first else "; display: none"}" '
            f'src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
            for place, (name, picture) in enumerate(zip(names, self.pictures, strict=True))
        )
        return (
            '<div class="course-slider"><label>'
            f"{escape(self.label)} "
            f'<input type="range" min="0" max="{len(names) - 1}" step="1" value="{first}" '
            f'data-values="{" ".join(names)}" oninput="{escape(_FOLLOW)}" '
            'style="width: 18em; vertical-align: middle"> '
            f"<output>{names[first]}</output></label><br>{images}</div>"
        )

    def _repr_png_(self) -> bytes:
        return self.pictures[self.values.index(self.start)]

    def __repr__(self) -> str:
        return f"Slider over {self.label}: {', '.join(f'{value:.4g}' for value in self.values)}"


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100, facecolor=figure.get_facecolor())
    plt.close(figure)  # or the notebook shows it a second time
    return buffer.getvalue()
