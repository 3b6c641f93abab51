"""The term that this copy of the course was built for: its numbers are drawn from the name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("term.json")


def term_of(file: Path = FILE) -> str:
    """The name of the term, such as "2027S"; "" for the course's own numbers."""
    if not file.is_file():
        return ""
    return str(json.loads(file.read_text(encoding="utf-8"))["term"])


def numbers_of_term(term: str, *what: str) -> np.random.Generator:
    """What is drawn for one thing in a term: the same for whoever draws it."""
    digest = hashlib.sha256("\0".join(("term", term, *what)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
