"""Plain arrays and scalars as JSON: the only things that cross the line to a student's process.

No pickle, no objects: an array is its dtype, its shape and its numbers. Floats are written so that
they read back bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]

DTYPES = ("bool", "int64", "float32", "float64")
MAX_NUMBERS = 100_000
MAX_NAMES = 32


class WireError(ValueError):
    """What came over the wire is not plain arrays within the limits."""


def to_array(value: Any) -> Array:
    """One observation as an array; tensors are detached, other dtypes widened.

    Raises WireError if the value is not a number, an array or a tensor of numbers.
    """
    if value is None:
        raise WireError(
            "expected a tensor, got None: is a `return` missing, or is it the .grad of a tensor "
            "that was not differentiated?"
        )
    if hasattr(value, "detach"):  # a tensor, whatever its device and graph
        value = value.detach().cpu()
        value = value.numpy() if value.dtype.is_floating_point else np.asarray(value.tolist())
    try:
        array = np.asarray(value)
    except Exception as error:
        several = f" of {len(value)} things" if isinstance(value, list | tuple) else f": {error}"
        raise WireError(f"expected one tensor, got a {type(value).__name__}{several}") from None
    if array.dtype.kind == "b":
        array = array.astype(np.bool_)
    elif array.dtype.kind in "iu":
        array = array.astype(np.int64)
    elif array.dtype.kind == "f":
        array = array.astype(np.float32 if array.dtype.itemsize < 8 else np.float64)
    else:
        raise WireError(f"expected a tensor of numbers, got {type(value).__name__}")
    if array.size > MAX_NUMBERS:
        raise WireError(f"expected at most {MAX_NUMBERS} numbers, got shape {array.shape}")
    return array


def frozen(value: Any) -> Array:
    """The numbers of an observation as they are now, whatever happens to its memory later."""
    return to_array(value).copy()


def same_again(call: Callable[[], Any], first: Any) -> bool:
    """Whether a second call gives the numbers of the first; it does not if it raises."""
    try:
        before, after = frozen(first), frozen(call())
    except Exception:
        return False
    return before.shape == after.shape and np.allclose(
        before, after, rtol=1e-6, atol=1e-8, equal_nan=True
    )


def untouched(tensor: Any, numbers: Array, graph: bool = False) -> bool:
    """Whether an argument is as it came in: its numbers, its graph or none, and no .grad."""
    kept = np.array_equal(tensor.detach().numpy(), numbers) and tensor.requires_grad == graph
    return kept and (not tensor.is_leaf or tensor.grad is None)


def encode(values: Mapping[str, Any]) -> dict[str, Any]:
    """Named values as JSON-ready data: {name: {dtype, shape, data}}."""
    if len(values) > MAX_NAMES:
        raise WireError(f"expected at most {MAX_NAMES} names, got {len(values)}")
    encoded = {}
    for name, value in values.items():
        array = to_array(value)
        encoded[str(name)] = {
            "dtype": str(array.dtype),
            "shape": list(array.shape),
            "data": array.reshape(-1).tolist(),
        }
    return encoded


def decode(data: Any) -> Arrays:
    """The inverse of `encode`, trusting nothing. Raises WireError on anything else."""
    if not isinstance(data, dict) or len(data) > MAX_NAMES:
        raise WireError("expected named arrays")
    return {_name(name): _decode_array(item) for name, item in data.items()}


def _name(name: Any) -> str:
    if not isinstance(name, str) or len(name) > 64:
        raise WireError("expected short names")
    return name


def _decode_array(item: Any) -> Array:
    if not isinstance(item, dict) or set(item) != {"dtype", "shape", "data"}:
        raise WireError("expected an array as dtype, shape and data")
    dtype, shape, data = item["dtype"], item["shape"], item["data"]
    if dtype not in DTYPES:
        raise WireError(f"expected one of the dtypes {', '.join(DTYPES)}")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise WireError("expected a shape of whole numbers")
    if len(shape) > 8 or not isinstance(data, list) or len(data) > MAX_NUMBERS:
        raise WireError("expected a small array")
    if not all(type(number) in (bool, int, float) for number in data):
        raise WireError("expected numbers")
    try:
        return np.array(data, dtype=dtype).reshape(shape)
    except (ValueError, OverflowError, TypeError) as error:
        raise WireError(f"expected an array of shape {shape}: {error}") from None


def plain(text: str) -> str:
    """Text that can be stored anywhere: lone surrogates and NUL become U+FFFD."""
    text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    return text


def dumps(message: Any) -> bytes:
    """A message as one line of JSON (not-a-number and infinities allowed)."""
    return json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def loads(line: bytes) -> Any:
    """The message in one line. Raises WireError on anything that is not JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {type(error).__name__}") from None
