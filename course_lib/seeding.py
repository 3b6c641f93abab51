"""Seeds. Randomness is passed in everywhere, so nothing here or elsewhere touches a global seed."""

from __future__ import annotations

import re

import torch


def new_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Generator on device, started from seed: the same seed draws the same numbers there.

    Raises ValueError if seed is negative, or as check_device does.
    """
    if seed < 0:
        raise ValueError(f"seed must be 0 or larger, got {seed}")
    return torch.Generator(check_device(device)).manual_seed(seed)


def draw_seed(generator: torch.Generator) -> int:
    """Seed for something that has a random state of its own (an environment), drawn from ours."""
    return int(torch.randint(2**31 - 1, (), generator=generator, device=generator.device))


def check_device(device: torch.device | str) -> torch.device:
    """Device as tensors name it: the CPU, or a CUDA device by number, the current one without.

    Raises ValueError if it is another one, or not there.
    """
    if not re.fullmatch(r"(cpu|cuda)(:\d+)?", str(device)):
        raise ValueError(f"device must be 'cpu' or 'cuda', got {str(device)!r}")
    wanted = torch.device(device)
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {device} is wanted and torch sees {torch.cuda.device_count()} CUDA devices: "
            "use device='cpu'"
        )
    if wanted.type == "cuda" and wanted.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return wanted if wanted.type == "cuda" else torch.device("cpu")


def check_generator(generator: torch.Generator, device: torch.device | str) -> None:
    """Raise ValueError unless the generator draws its numbers on device, which must be there."""
    if check_device(generator.device) != check_device(device):  # one made on "cuda" has no number
        raise ValueError(
            f"generator is on {generator.device} and the numbers are wanted on {device}: make it "
            f"with new_generator(seed, {str(device)!r})"
        )
