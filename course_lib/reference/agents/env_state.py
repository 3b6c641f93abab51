"""What a vector environment remembers, as plain data that can be saved and put back.

Gymnasium has no call for this. So the attributes of the environment, of its wrappers and of its
copies are read: numbers, strings, arrays, containers of these, NumPy's random generators, and the
arrays of MuJoCo's data. An attribute of any other kind (another engine's world) cannot be read, and
then nothing is saved: half a state put back would be another state. Spaces are taken for fixed: an
environment that draws from `action_space.sample()` does not come back as it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np

Tree = Any  # what JSON can hold
_PLAIN = (bool, int, float, str)
_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "deque": deque}


class Unsaveable(ValueError):
    """An environment holds something that is no plain data; says what and where."""


def env_state(envs: Any) -> tuple[Tree, bytes]:
    """Everything that envs remembers: a tree for JSON, and the bytes of the arrays in it.

    Raises Unsaveable naming the first attribute that is no plain data, or saying that two share
    memory, so that putting both back would part them.
    """
    writer = _Writer()
    tree = writer.encode(envs, type(envs).__name__)
    writer.check_memory()
    return tree, bytes(writer.content)


def put_env_state(envs: Any, tree: Tree, content: bytes) -> None:
    """Put what env_state gave into environments made in the same way.

    Raises ValueError if they were made otherwise.
    """
    _Reader(content).decode(tree, envs, type(envs).__name__)


def _remembers(value: Any) -> bool:
    """Whether value is an environment, a wrapper, or a vector of them."""
    from gymnasium import Env
    from gymnasium.vector import VectorEnv

    return isinstance(value, Env | VectorEnv)


def _fixed_name(value: Any) -> str | None:
    """Name of what belongs to how an environment is made, so that another copy has it too."""
    from gymnasium import Space
    from gymnasium.envs.registration import EnvSpec, WrapperSpec

    if callable(value):
        return f"{getattr(value, '__qualname__', type(value).__qualname__)}()"
    module = type(value).__module__
    made = module.startswith("gymnasium.envs.mujoco") or _is_mujoco(value, "MjModel")
    if made or isinstance(value, Space | EnvSpec | WrapperSpec | ModuleType):
        return type(value).__qualname__
    return None


def _is_mujoco(value: Any, name: str) -> bool:
    return type(value).__module__.startswith("mujoco.") and type(value).__name__ == name


def _world(data: Any) -> dict[str, Any]:
    """Time and arrays of MuJoCo's data. Those of contacts are made anew in each of its steps."""
    names = [name for name in dir(data) if not name.startswith("_")]
    found = {name: getattr(data, name) for name in names}
    return {"time": data.time} | {n: a for n, a in found.items() if isinstance(a, np.ndarray)}


class _Writer:
    """Turns values into a tree. What is met twice is written once, so that it stays one thing."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.arrays: list[np.ndarray] = []
        self.done = 0
        self.seen: dict[int, tuple[Any, int | None]] = {}  # None: not yet read to its end

    def encode(self, value: Any, where: str) -> Tree:
        if value is None or type(value) in _PLAIN:
            return value
        if isinstance(value, Enum):
            return {"enum": value.name}
        if isinstance(value, np.generic):
            return {"scalar": self._raw(np.asarray(value), where)}
        if id(value) in self.seen:
            number = self.seen[id(value)][1]
            if number is None and not _remembers(value):
                raise Unsaveable(f"{where} holds itself")
            return {"again": number}
        self.seen[id(value)] = (value, None)
        tree = self._encode_new(value, where)
        self.seen[id(value)] = (value, self.done)
        self.done += 1
        return tree

    def _encode_new(self, value: Any, where: str) -> Tree:
        if isinstance(value, np.ndarray):
            self.arrays.append(value)
            return {"array": self._raw(value, where)}
        if isinstance(value, np.random.Generator):
            return {"generator": self.encode(value.bit_generator.state, where)}
        for name, kind in _SEQUENCES.items():
            if type(value) is kind:
                entries = [self.encode(each, f"{where}[{i}]") for i, each in enumerate(value)]
                return {name: entries, "size": getattr(value, "maxlen", None)}
        if type(value) is dict:
            return {"dict": self._pairs(value, where, "{}[{!r}]")}
        if _remembers(value):
            return {"object": self._pairs(vars(value), where, "{}.{}")}
        if _is_mujoco(value, "MjData"):
            copies = {name: np.copy(array) for name, array in _world(value).items()}
            return {"world": self._pairs(copies, where, "{}.{}")}
        fixed = _fixed_name(value)
        if fixed is not None:
            return {"fixed": fixed}
        kind = type(value)
        raise Unsaveable(f"{where} is a {kind.__module__}.{kind.__qualname__}")

    def _pairs(self, values: Mapping[Any, Any], where: str, form: str) -> list[Tree]:
        pairs = []
        for key, value in values.items():
            place = form.format(where, key)
            pairs.append([self.encode(key, place), self.encode(value, place)])
        return pairs

    def _raw(self, array: np.ndarray, where: str) -> Tree:
        if array.dtype.hasobject or array.dtype.names:
            raise Unsaveable(f"{where} is an array of {array.dtype}")
        # A sum runs along memory: the order there is part of the state.
        by_columns = array.flags.f_contiguous and not array.flags.c_contiguous
        start = len(self.content)
        self.content += array.tobytes("F" if by_columns else "C")
        return [start, array.dtype.str, list(array.shape), "F" if by_columns else "C"]

    def check_memory(self) -> None:
        bounds = sorted(np.lib.array_utils.byte_bounds(array) for array in self.arrays)
        for (_, end), (start, _) in pairwise(bounds):
            if start < end:
                raise Unsaveable("two of its arrays are views of one")


class _Reader:
    """Turns a tree back into values; environments are filled where they stand."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.made: list[Any] = []  # in the order in which the writer finished them

    def decode(self, tree: Tree, current: Any, where: str) -> Any:
        if not isinstance(tree, dict):
            return tree
        kind, body = next(iter(tree.items()))
        if kind == "again":
            return current if body is None else self.made[body]
        if kind == "scalar":
            return self._raw(body)[()]
        if kind == "enum":
            if not isinstance(current, Enum):
                raise ValueError(f"{where} is not in these environments: make them as before")
            return type(current)[body]
        value = self._decode_new(kind, body, tree, current, where)
        self.made.append(value)
        return value

    def _decode_new(self, kind: str, body: Tree, tree: Tree, current: Any, where: str) -> Any:
        if kind == "array":
            return self._raw(body)
        if kind == "generator":
            state = self.decode(body, None, where)
            bits = getattr(np.random, state["bit_generator"])()
            bits.state = state
            return np.random.Generator(bits)
        if kind in _SEQUENCES:
            now = list(current) if isinstance(current, list | tuple | deque) else []
            now += [None] * (len(body) - len(now))
            entries = [self.decode(each, now[i], f"{where}[{i}]") for i, each in enumerate(body)]
            return deque(entries, tree["size"]) if kind == "deque" else _SEQUENCES[kind](entries)
        if kind == "dict":
            known = current if isinstance(current, dict) else {}
            decoded = {}
            for name, each in body:
                key = self.decode(name, None, where)
                decoded[key] = self.decode(each, known.get(key), f"{where}[{key!r}]")
            return decoded
        if kind == "object":
            if not _remembers(current):
                raise ValueError(f"{where} is not in these environments: make them as before")
            for name, each in body:
                now = vars(current).get(name)
                vars(current)[name] = self.decode(each, now, f"{where}.{name}")
            return current
        if kind == "world":
            if not _is_mujoco(current, "MjData"):
                raise ValueError(f"{where} is not in these environments: make them as before")
            arrays = _world(current)
            for name, each in body:
                array = self.decode(each, None, where)
                if name == "time":
                    current.time = float(array)
                elif np.shape(arrays[name]) == array.shape:
                    arrays[name][...] = array
            return current
        # Fixed: what is there stays. It may be missing where it is only remembered on demand.
        if current is not None and _fixed_name(current) != body:
            raise ValueError(f"{where} was {body} in other environments: make them as before")
        return current

    def _raw(self, place: Tree) -> np.ndarray:
        start, kind, shape, order = place
        flat = np.frombuffer(self.content, np.dtype(kind), int(np.prod(shape)), start)
        return flat.reshape(shape, order=order).copy(order=order)
