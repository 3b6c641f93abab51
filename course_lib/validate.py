"""Shapes and ranges checked where data enters, before broadcasting hides a mistake."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor


def shapes(pattern: str, **tensors: Tensor) -> None:
    """Check that tensors have the shapes of `pattern`, hold something, and hold no nan.

    pattern: one entry a tensor, in order, such as "S A, T, T 1": the same letter is the same
    length, and a digit is that length.
    Raises ValueError naming the tensor, what came and what was wanted.
    """
    sizes: dict[str, tuple[int, str]] = {}
    for entry, (name, tensor) in zip(pattern.split(","), tensors.items(), strict=True):
        letters = entry.split()
        wanted = f"({', '.join(letters)}{',' if len(letters) == 1 else ''})"
        if not isinstance(tensor, Tensor):
            raise ValueError(
                f"{name} must be a tensor {wanted}, got {type(tensor).__name__}: "
                "call torch.as_tensor"
            )
        got = tuple(tensor.shape)
        if len(got) != len(letters):
            columns = len(got) == len(letters) + 1 and got[-1] == 1
            advice = "call .squeeze(-1)" if columns else "check what it is made from"
            raise ValueError(f"{name} must be {wanted}, got {got}: {advice}")
        for letter, size in zip(letters, got, strict=True):
            if letter.isdigit():
                if size != int(letter):
                    raise ValueError(
                        f"{name} must be {wanted}, got {got}: check what it is made from"
                    )
                continue
            first_size, first_name = sizes.setdefault(letter, (size, name))
            if size != first_size:
                raise ValueError(
                    f"{name} must be {wanted} with {letter} = {first_size} as in {first_name}, "
                    f"got {got}: both must come from the same steps"
                )
        if tensor.numel() == 0:
            raise ValueError(f"{name} is empty {got}: at least one entry is needed")
        if math.isnan(tensor.max().item()):  # of numbers with nan among them, nan is the largest
            raise ValueError(f"{name} holds nan: look at the step that made it")


def at_least(least: int, **tensors: Tensor) -> None:
    """Check that tensors hold so many numbers. Raises ValueError if one holds fewer."""
    for name, tensor in tensors.items():
        if tensor.numel() < least:
            raise ValueError(
                f"{name} must hold at least {least} numbers, got {tensor.numel()}: take more steps"
            )


def fractions(**numbers: float) -> None:
    """Check that numbers such as gamma and lam lie in [0, 1]. Raises ValueError if one does not."""
    for name, number in numbers.items():
        if not 0.0 <= number <= 1.0:
            raise ValueError(f"{name} must lie in [0, 1], got {number}")


def positive(**numbers: float) -> None:
    """Check that numbers such as delta are > 0 and finite as float32. Raises ValueError if not."""
    for name, number in numbers.items():
        if not 0.0 < number <= torch.finfo(torch.float32).max:
            raise ValueError(f"{name} must be a finite number above 0, got {number}")


def indices(size: int, **tensors: Tensor) -> None:
    """Check that tensors hold whole numbers from 0 to size - 1, such as actions.

    Raises ValueError naming the tensor, what came and what was wanted.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() or tensor.dtype == torch.bool:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ValueError(f"{name} must hold whole numbers, got {kind}: call .long()")
        for number in (tensor.min().item(), tensor.max().item()):
            if not 0 <= number < size:
                raise ValueError(f"{name} must lie in 0 to {size - 1}, got {number}")


def uniforms(**tensors: Tensor) -> None:
    """Check that the numbers of tensors lie in [0, 1), as torch.rand draws them.

    Raises ValueError naming the tensor and the first number that does not.
    """
    for name, tensor in tensors.items():
        outside = tensor[(tensor < 0) | (tensor >= 1)]
        if outside.numel():
            raise ValueError(
                f"{name} must lie in [0, 1), got {outside[0].item():g}: draw them with torch.rand"
            )


def ordered(**tensors: Tensor) -> None:
    """Check that no entry of a tensor is above the same entry of the next, such as low and high.

    Raises ValueError naming both and the first two that are not in order.
    """
    for (name, tensor), (other_name, other) in itertools.pairwise(tensors.items()):
        above = tensor > other
        if above.any():
            raise ValueError(
                f"{name} must not be above {other_name}, got {tensor[above][0].item():g} and "
                f"{other[above][0].item():g}"
            )
