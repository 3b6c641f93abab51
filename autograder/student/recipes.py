"""Recipes and measures: their text made a function, and what it has at hand.

Recipes travel as text, since whoever hands one out holds the check's other half, what is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from autograder.student import wire


def load(source: str, name: str) -> Callable[[Any, wire.Arrays], dict[str, Any]]:
    """The function `name`, recipe or measure, from its source text, with what it may use at hand.

    `handed_in(name)` gives the numbers in a file beside the notebook.
    """
    import numpy as np
    import torch

    namespace: dict[str, Any] = {"torch": torch, "np": np}
    at_hand = wire.frozen, wire.same_again, wire.untouched, handed_in
    namespace |= {function.__name__: function for function in at_hand}
    exec(compile(source, f"<{name}>", "exec"), namespace)
    function: Callable[[Any, wire.Arrays], dict[str, Any]] = namespace[name]
    return function


def files_asked(recipe_source: str) -> list[str]:
    """Names of the files beside the notebook that a recipe asks for."""
    return re.findall(r"""\bhanded_in\(["']([^"']+)["']\)""", recipe_source)


def handed_in(name: str) -> dict[str, Any]:
    """The named tensors of an agent's file beside the notebook, as `load_agent` reads it."""
    from course_lib.agents import load_agent  # only some homeworks need it

    return load_agent(name)
