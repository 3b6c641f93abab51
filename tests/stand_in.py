"""A device that stands in for a GPU: what lies on it says `cuda:0`, and refuses what CUDA refuses.

A tensor on it keeps its numbers in a CPU tensor inside; PyTorch itself takes it for one of its
device "meta", which has no numbers. Each operation is run on the tensors inside, after a look at
who is mixed with whom. Same seed, same numbers as on the CPU. It shows nothing of CUDA's own
kernels, rounding, memory, streams and speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

HERE = torch.device("cuda", 0)
META = torch.device("meta")
MARK = 2**62  # in the seeds of the device's generators, by which an operation knows them
COPIES = ("copy_", "_to_copy")
INDEXING = ("index", "index_put", "index_put_", "_unsafe_index", "_index_put_impl_")
WAITS = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "bincount", "_unique")


class OnDevice(Tensor):
    """A tensor on the device. inside: its numbers."""

    inside: Tensor
    device = property(lambda self: HERE)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inside: Tensor) -> OnDevice:
        made = Tensor._make_wrapper_subclass(
            cls,
            inside.shape,
            strides=inside.stride(),
            storage_offset=inside.storage_offset(),
            dtype=inside.dtype,
            device=META,
        )
        made.inside = inside
        return made

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        raise RuntimeError(f"{operation}: the device is no longer there")

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copy = self.detach().clone().requires_grad_(self.requires_grad)
        copy._is_param = getattr(self, "_is_param", False)
        return memo.setdefault(id(self), copy)

    def __repr__(self) -> str:
        return f"on the device: {self.inside}"


class Generator(torch.Generator):
    """What torch.Generator is while the device is there: one on it, or one of the CPU."""

    def __new__(cls, device: torch.device | str = "cpu") -> Generator:
        made = super().__new__(cls)
        made.place = torch.device(device)
        made.on_device = made.place.type == "cuda"
        return made.manual_seed(0)

    def __init__(self, device: torch.device | str = "cpu") -> None:
        pass

    @property
    def device(self) -> torch.device:
        return self.place  # without a number where none was given, as PyTorch's own

    def manual_seed(self, seed: int) -> Generator:
        super().manual_seed(seed + MARK * self.on_device)
        return self

    def get_state(self) -> Tensor:
        """On the CPU; of another length than a CPU generator's, as a GPU's is."""
        state = super().get_state()
        return torch.cat([state, state[:1]]) if self.on_device else state

    def set_state(self, state: Tensor) -> Generator:
        if isinstance(state, OnDevice):
            raise TypeError("RNG state must be a torch.ByteTensor")
        if len(state) != len(self.get_state()):
            raise RuntimeError("RNG state is wrong size")
        super().set_state(state[:-1].clone() if self.on_device else state)
        return self


class Calls(TorchFunctionMode):
    """What is called in Python: "cuda" becomes PyTorch's name for the device."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.device:
            return function(*args, **kwargs)
        args = [_renamed(part) for part in args]
        kwargs = {name: _renamed(part) for name, part in kwargs.items()}
        if function in (torch.tensor, torch.as_tensor) and kwargs.get("device") == META:
            return function(*args, **{**kwargs, "device": "cpu"}).to(META)
        if function is Tensor.cuda:
            return args[0].to(META)
        if args and isinstance(args[0], OnDevice):
            if function is Tensor.data_ptr:
                return args[0].inside.data_ptr()
            if function is Tensor.tolist:
                return args[0].cpu().tolist()
            if function == Tensor.data.__set__:
                args[0].inside = args[1].inside
        return function(*args, **kwargs)


class StandIn(TorchDispatchMode):
    """Runs every operation. waits: those that made the host wait for the device, in order."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # which would take seconds to import

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.waiting_is_wrong = False

    def set_sync_debug_mode(self, mode: str) -> None:
        """As torch.cuda's: "error" makes each wait one."""
        self.waiting_is_wrong = mode == "error"

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        leaves = list(_leaves((args, list(kwargs.values()))))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        ours = [tensor for tensor in tensors if isinstance(tensor, OnDevice)]
        gives_ours = bool(ours)
        if kwargs.get("device") is not None:
            gives_ours = kwargs["device"].type != "cpu"
            kwargs["device"] = torch.device("cpu")
        if 0 < len(ours) < len(tensors):
            _check_mixed(operation, args, tensors)
        for leaf in leaves:
            drawn_from = isinstance(leaf, torch._C.Generator)
            if drawn_from and gives_ours != (leaf.initial_seed() >= MARK):
                raise RuntimeError(f"{operation}: the generator is on another device")
        if (ours or gives_ours) and _waits(operation, args, gives_ours):
            if self.waiting_is_wrong:
                raise RuntimeError(f"{operation}: called a synchronizing CUDA operation")
            self.waits.append(str(operation))
        inside = {name: _map(_inside, part) for name, part in kwargs.items()}
        result = operation(*_map(_inside, args), **inside)
        if not gives_ours:
            return result
        result = _map(lambda part: OnDevice(part) if isinstance(part, Tensor) else part, result)
        return return_and_correct_aliasing(operation, args, kwargs, result)


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Inside, device "cuda" is there."""
    device = StandIn()
    cuda = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "synchronize": lambda: None,
        "set_sync_debug_mode": device.set_sync_debug_mode,
        "get_device_name": lambda: "a stand-in",
    }
    with (
        mock.patch.multiple(torch.cuda, **cuda),
        mock.patch.object(torch, "Generator", Generator),
        Calls(),
        device,
    ):
        yield device


def _check_mixed(operation: Any, args: tuple[Any, ...], tensors: list[Tensor]) -> None:
    """Raise RuntimeError where CUDA would: beside a tensor on the device stands one of the CPU's.

    Copies go across; a tensor on the device may be indexed by the CPU's; and a single number of the
    CPU's may be read in arithmetic number by number.
    """
    name = operation.overloadpacket.__name__
    if name in COPIES:
        return
    first = operation._schema.arguments[0].alias_info
    writes_elsewhere = first and first.is_write and not isinstance(args[0], OnDevice)
    numbers = torch.Tag.pointwise in operation.tags and not writes_elsewhere
    indices = args[1] if name in INDEXING and isinstance(args[0], OnDevice) else []
    for tensor in tensors:
        if isinstance(tensor, OnDevice) or any(tensor is index for index in indices):
            continue
        if tensor.ndim > 0 or not numbers:
            raise RuntimeError(
                f"{operation}: expected all tensors to be on the same device, got one of shape "
                f"{tuple(tensor.shape)} on the CPU"
            )


def _waits(operation: Any, args: tuple[Any, ...], gives_ours: bool) -> bool:
    """Whether the host waits: it reads a number or a shape, or copies from one to the other."""
    name = operation.overloadpacket.__name__
    if name == "_to_copy":
        return isinstance(args[0], OnDevice) != gives_ours
    if name == "copy_":
        return isinstance(args[0], OnDevice) != isinstance(args[1], OnDevice)
    if name in INDEXING:
        indices = [index for index in args[1] if index is not None]
        return any(i.dtype == torch.bool or not isinstance(i, OnDevice) for i in indices)
    return name.startswith(WAITS)


def _renamed(part: Any) -> Any:
    """A CUDA device as PyTorch's name for ours; all else as it is."""
    return META if isinstance(part, str | torch.device) and str(part).startswith("cuda") else part


def _inside(part: Any) -> Any:
    return part.inside if isinstance(part, OnDevice) else part


def _map(function: Callable[[Any], Any], part: Any) -> Any:
    """Part, or each part of a list or tuple of parts, as function gives it."""
    if isinstance(part, list | tuple):
        return type(part)([_map(function, each) for each in part])
    return function(part)


def _leaves(part: Any) -> Iterator[Any]:
    if isinstance(part, list | tuple):
        for each in part:
            yield from _leaves(each)
    else:
        yield part
