"""Checkpoints: a run written to a safetensors file, and put back so that it goes on bit for bit.

The file holds numbers and JSON, and reading it runs nothing.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.reference.agents.env_state import Unsaveable, env_state, put_env_state
from course_lib.reference.agents.scaling import RewardScaler
from course_lib.rollout import Cursor
from course_lib.training import Run

FORMAT = 1


def save_checkpoint(path: Path, run: Run, about: Mapping[str, Any]) -> str:
    """Write a run between two updates: parts, history, cursor. The file changes whole or not.

    about: what JSON can hold, to be read back by `read_about`.
    Returns "", or why the environments could not be saved: then all else is.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    problem = ""
    for name, part in run.parts.items():
        try:
            state = _state_of(part)
        except Unsaveable as error:
            problem = f"{error}, which no checkpoint can hold"
            continue
        tensors |= {f"parts.{name}.{key}": value for key, value in state.items()}
    if run.cursor is not None:
        tensors |= {f"cursor.{name}": value for name, value in vars(run.cursor).items()}
    history = run.history
    tensors["history.episode_returns"] = torch.tensor(history.episode_returns, dtype=torch.float64)
    tensors["history.episode_steps"] = torch.tensor(history.episode_steps, dtype=torch.int64)
    names = list(dict.fromkeys(name for update in history.updates for name in update))
    rows = [[update.get(name, math.nan) for name in names] for update in history.updates]
    tensors["history.updates"] = torch.tensor(rows, dtype=torch.float64)
    header = {
        "format": FORMAT,
        "torch": torch.__version__,
        "updates": names,
        "problem": problem,
        "device": _device_of(run),
        "about": dict(about),
    }
    # Copies: parameters are views into one vector, and policy and critic may share a scaler.
    copies = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    _replace(path, save(copies, {"course": json.dumps(header)}))
    return problem


def read_about(path: Path) -> dict[str, Any]:
    """What was said about a run when it was saved. Raises ValueError if this is no checkpoint."""
    about: dict[str, Any] = _read(path)[0]["about"]
    return about


def load_checkpoint(path: Path, run: Run) -> str:
    """Put a run made in the same way back to where it was saved, in place.

    Returns "", or why its episodes begin anew instead.
    Raises ValueError if the file is no checkpoint, or one of a run made otherwise, or elsewhere.
    """
    header, tensors = _read(path)
    device = _device_of(run)
    if header.get("device", device) != device:
        raise ValueError(
            f"{path} was saved on {header['device']}, this run is on {device}, where other numbers "
            f"are drawn: go on with it on {header['device']}"
        )
    problem: str = header["problem"]
    found = {name.split(".")[1] for name in tensors if name.startswith("parts.")}
    wanted = {name for name, part in run.parts.items() if part is not None}
    if found != wanted - ({"envs"} if problem else set()):
        raise ValueError(
            f"{path} holds {', '.join(sorted(found))}, this run has {', '.join(sorted(wanted))}: "
            "go on with the algorithm and the settings it was made with"
        )
    for name in sorted(found):
        try:
            _put_back(run.parts[name], _under(tensors, f"parts.{name}."))
        except (RuntimeError, KeyError, ValueError) as error:
            raise ValueError(
                f"{path} does not fit this run's {name} ({str(error).splitlines()[0]}): go on with "
                "the environment and the settings it was made with"
            ) from error
    history = run.history
    history.episode_returns[:] = tensors["history.episode_returns"].tolist()
    history.episode_steps[:] = tensors["history.episode_steps"].tolist()
    rows = tensors["history.updates"].tolist()
    # What an update did not report is NaN here. A mean return may be NaN; nothing else was let by.
    history.updates[:] = [
        {
            name: value
            for name, value in zip(header["updates"], row, strict=True)
            if name == "mean_return" or not math.isnan(value)
        }
        for row in rows
    ]
    cursor = _under(tensors, "cursor.")
    if problem:
        for part in run.parts.values():
            if isinstance(part, RewardScaler):
                part.returns.zero_()  # of episodes that are not gone on with
    elif cursor:
        run.cursor = Cursor(**cursor)  # on the CPU; the next rollout takes it where it acts
    return problem


def load_part(path: Path, name: str, part: Any) -> None:
    """Put one part back alone, such as the policy. Raises ValueError if it does not fit."""
    _, tensors = _read(path)
    try:
        _put_back(part, _under(tensors, f"parts.{name}."))
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"{path} holds no such {name}: {str(error).splitlines()[0]}") from error


def _device_of(run: Run) -> str:
    """Kind of device on which the run draws its numbers, "" where it draws none."""
    generator = run.parts.get("generator")
    return generator.device.type if generator is not None else ""


def _state_of(part: Any) -> dict[str, Tensor]:
    if part is None:
        return {}
    if hasattr(part, "state_dict"):
        return dict(part.state_dict())
    if isinstance(part, torch.Generator):
        return {"state": part.get_state()}
    tree, content = env_state(part)
    return {"tree": _bytes(json.dumps(tree).encode()), "content": _bytes(content)}


def _put_back(part: Any, state: dict[str, Tensor]) -> None:
    if hasattr(part, "load_state_dict"):
        part.load_state_dict(state)
    elif isinstance(part, torch.Generator):
        part.set_state(state["state"])
    else:
        tree = json.loads(state["tree"].numpy().tobytes())
        put_env_state(part, tree, state["content"].numpy().tobytes())


def _bytes(content: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(content, np.uint8).copy())


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("course", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ValueError(f"{path} is not there: a run leaves one when it is stopped") from error
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from error
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{path} is no checkpoint of format {FORMAT}: it was not written by this course"
        )
    return header, tensors


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)  # where Ctrl-C or a full disk came between
