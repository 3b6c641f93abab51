"""Results that lectures show but cannot compute: recorded by a script, shipped as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data"


def recorded(name: str) -> Any:
    """What `python benchmarks/<name>.py` wrote down, as Python's own lists and dictionaries.

    Raises ValueError if there is no recording of that name.
    """
    names = sorted(path.stem for path in FOLDER.glob("*.json"))
    if name not in names:
        raise ValueError(f"there is no recording {name!r}: choose one of {names}")
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
