"""Agents as files: the numbers of a trained policy, and what it earns from given first states."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.tensor_envs import CONTROL, PREFIX, make_tensor_envs

MAX_BYTES = 400_000  # of a file
MAX_NUMBERS = 100_000
MAX_ARRAYS = 100

Weights = dict[str, Tensor]


def save_agent(path: str | Path, weights: nn.Module | Mapping[str, Tensor]) -> None:
    """Write the numbers of an agent into an npz file: a module's parameters and buffers, or named
    tensors.

    Raises ValueError if the file's name does not end in .npz, or there is nothing to write, too
    much, or a number that is not finite.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"an agent's file ends in .npz, got {path.name}: call it {path.stem}.npz")
    named = weights.state_dict() if isinstance(weights, nn.Module) else weights
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in named.items()}
    _check(path.name, arrays)
    with open(path, "wb") as file:  # as it is: NumPy would add an ending to a name
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load_agent(path: str | Path) -> Weights:
    """The named tensors of an agent's file, as `save_agent` writes it.

    Nothing but arrays of numbers is read; floating ones come in the default dtype.
    Raises ValueError, with what came and what to do, if there is no such file, it is too large, or
    it holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(
            f"there is no file {path.name} beside the notebook: write it with save_agent, and hand "
            f"it in with the notebook (one of more than {MAX_BYTES:,} bytes is not taken)"
        )
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(
            f"{path.name} has {size:,} bytes, and an agent's file may have {MAX_BYTES:,}: two "
            "layers of 64 are plenty here"
        )
    try:
        with zipfile.ZipFile(path) as packed:
            unpacked = sum(entry.file_size for entry in packed.infolist())
        if unpacked > 8 * MAX_NUMBERS + 1000 * MAX_ARRAYS:
            raise ValueError(f"{path.name} unpacks to {unpacked:,} bytes, which is too much")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asanyarray(file[name]) for name in file.files}
    except (OSError, zipfile.BadZipFile, EOFError, KeyError, zipfile.LargeZipFile) as error:
        raise ValueError(
            f"{path.name} cannot be read as an npz file ({error}): write it with save_agent"
        ) from error
    except (TypeError, NotImplementedError, RuntimeError, ValueError) as error:
        if str(error).startswith(path.name):
            raise
        raise ValueError(
            f"{path.name} holds something other than arrays of numbers ({error}): write it with "
            "save_agent"
        ) from error
    _check(path.name, arrays)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    dtype = torch.get_default_dtype()
    return {name: x.to(dtype) if x.is_floating_point() else x for name, x in tensors.items()}


def _check(name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError if these are not an agent's numbers."""
    if not arrays:
        raise ValueError(f"{name} holds no numbers: hand in the weights of a policy")
    total = sum(array.size for array in arrays.values())
    if len(arrays) > MAX_ARRAYS or total > MAX_NUMBERS:
        raise ValueError(
            f"{name} holds {total:,} numbers in {len(arrays)} arrays, and an agent may have "
            f"{MAX_NUMBERS:,} in {MAX_ARRAYS}: make its layers smaller"
        )
    for key, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name}: {key} holds no numbers but {array.dtype}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: {key} holds nan or inf: the training went astray before")


@dataclass(frozen=True, eq=False)
class Played:
    """Episodes side by side, each from a given first state to its end.

    observations (T, N, ...) and actions (T, N, ...) of T steps, where T is the longest episode; of
    an episode that has ended the last observation stays. returns (N,): undiscounted.
    """

    observations: Tensor
    actions: Tensor
    returns: Tensor


def finished_returns(rewards: Tensor, ended: Tensor, so_far: Tensor) -> list[float]:
    """Undiscounted returns of the episodes that end in a rollout, in the order in which they do.

    rewards, ended: (T, N). so_far: (N,), what each environment has earned in its present episode;
    it is changed, so that the next rollout goes on from it.
    """
    returns: list[float] = []
    for row, over in zip(rewards, ended, strict=True):
        so_far += row
        returns += so_far[over].tolist()
        so_far[over] = 0.0
    return returns


def first_states(env_id: str, count: int, generator: np.random.Generator) -> np.ndarray:
    """First states (N, D) as CartPole-v1 or Pendulum-v1 draws them.

    CartPole: position, velocity, angle, angular velocity, each uniform in [-0.05, 0.05). Pendulum:
    angle uniform in [-pi, pi), angular velocity in [-1, 1).
    """
    if _known(env_id) == "CartPole-v1":
        return generator.uniform(-0.05, 0.05, (count, 4))
    return generator.uniform([-math.pi, -1.0], [math.pi, 1.0], (count, 2))


@torch.no_grad()
def play(env_id: str, act: Callable[[Tensor], Tensor], starts: Tensor) -> Played:
    """Act in CartPole-v1 or Pendulum-v1 from given first states, until all episodes have ended.

    act: observations (N, ...) in the default dtype -> actions, (N,) of 0 and 1 for CartPole, (N, 1)
    torques for Pendulum. starts: (N, D) as `first_states` gives them. Both worlds draw nothing
    after their first state, so the same starts and actions always earn the same.
    Raises ValueError if the environment is another one, or an action is not one of its actions.
    """
    envs = make_tensor_envs(PREFIX + _known(env_id), len(starts))
    states = starts.detach().to(torch.float64).T  # (D, N)
    alive = torch.ones(len(starts), dtype=torch.bool)
    returns = torch.zeros(len(starts), dtype=torch.float64)
    seen, done = [], []
    for _ in range(envs.time_limit):
        observations = envs.observe(states).to(torch.get_default_dtype())
        actions = _actions(env_id, act(observations.clone()), len(starts))
        new, rewards, terminated = envs.advance(states, actions)
        returns += torch.where(alive, rewards, 0.0)
        alive = alive & ~terminated
        states = torch.where(alive, new, states)
        seen.append(observations)
        done.append(actions)
        if not bool(alive.any()):
            break
    return Played(torch.stack(seen), torch.stack(done), returns)


def replay(env_id: str, starts: Tensor, actions: Tensor) -> Tensor:
    """Returns (N,) that the actions (T, N, ...) of `play` earn from these first states.

    Raises ValueError if the actions end before the episodes do, or as `play` does.
    """
    rows: Iterator[Tensor] = iter(actions)

    def act(observations: Tensor) -> Tensor:
        following = next(rows, None)
        if following is None:
            raise ValueError(f"episodes go on after the {len(actions)} steps that have actions")
        return following

    return play(env_id, act, starts).returns


def _known(env_id: str) -> str:
    if env_id not in CONTROL:
        raise ValueError(f"{env_id} cannot be played here: choose from {', '.join(CONTROL)}")
    return env_id


def _actions(env_id: str, actions: Tensor, count: int) -> Tensor:
    """The actions of one step. Raises ValueError if they are none."""
    if not isinstance(actions, Tensor):
        raise ValueError(f"the policy must give a tensor of actions, got {type(actions).__name__}")
    actions = actions.detach()
    discrete = env_id == "CartPole-v1"
    shape = (count,) if discrete else (count, 1)
    if actions.shape != shape:
        raise ValueError(
            f"the policy must give actions {shape} for {count} observations of {env_id}, got "
            f"{tuple(actions.shape)}"
        )
    if discrete and not bool(((actions == 0) | (actions == 1)).all()):
        raise ValueError(f"actions of {env_id} are 0 and 1, got {actions[:5].tolist()}")
    if not bool(actions.isfinite().all()):
        raise ValueError("an action is nan or inf: are the observations scaled as in training?")
    return actions.to(torch.float64)
