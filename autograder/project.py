"""What every room stands on: where the project lies, files written whole, and its own errors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LITTER = ("__pycache__", ".ipynb_checkpoints")  # folders that come to lie among sources


class HandoutError(ValueError):
    """A handout cannot be built from its source as it stands; the message says where and why."""


Progress = Callable[[str, int, int], None]  # progress(what, done, total), for work that takes long


def unseen(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""


def read(path: Path) -> bytes:
    """A file's content; nothing if there is none."""
    return path.read_bytes() if path.is_file() else b""


def replace(path: Path, content: bytes) -> bool:
    """Write a file whole or not at all, and only if it changes. Whether it did."""
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    short = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]  # a name may have 255 bytes
    draft = path.with_name(f".{short}.{os.getpid()}.tmp")
    draft.write_bytes(content)
    os.replace(draft, path)
    return True
