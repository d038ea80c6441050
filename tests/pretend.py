"""A GPU to pretend with: tensors are computed on the CPU, and remember on which device they would be.

It shows what a machine without a GPU otherwise hides: tensors made on the wrong device, mixed with others, or read as if they were
on the CPU. It says nothing about a GPU's kernels, numbers or speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

__all__ = ["PretendGPU"]

CPU = torch.device("cpu")
INDEXING = (Tensor.__getitem__, Tensor.__setitem__)
"""What takes indices from the CPU, on a GPU as well."""
COPYING = (Tensor.copy_, Tensor.data.__set__, torch._has_compatible_shallow_copy_type, Tensor.__deepcopy__)  # type: ignore[attr-defined]
READING = (Tensor.numpy, Tensor.__array__)


class PretendGPU(TorchFunctionMode):
    """Inside, `cuda:0`, `cuda:1`, ... are devices."""

    _places: ClassVar[dict[int, tuple[StorageWeakRef, torch.device]]] = {}
    """Where memory would be, by its address: of all contexts, since caches live longer than one. Once it is freed, another tensor
    may have the address."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return self._place(args[0])
        if func == Tensor.is_cuda.__get__:  # type: ignore[attr-defined]
            return self._place(args[0]).type == "cuda"
        if func == Tensor.is_cpu.__get__:  # type: ignore[attr-defined]
            return self._place(args[0]).type == "cpu"
        if func in READING and self._place(args[0]) != CPU:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if func in (Tensor.to, Tensor.cuda, Tensor.cpu):
            return self._move(func, args, kwargs)
        asked = kwargs.pop("device", None)
        place = self._common(func, args, kwargs) if asked is None else _device(asked)
        if kwargs.get("generator") is not None and place.type == "cuda":
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        # Before the call, since deepcopy puts its copies into an argument.
        given = {self._key(t) for t in _tensors((args, kwargs))} - {0}
        output = func(*args, **kwargs)
        if func == Tensor.data.__set__:  # type: ignore[attr-defined]
            return output
        for made in _tensors(output):
            if asked is not None or self._key(made) not in given:  # what is changed in place stays where it is
                self._label(made, place)
        return output

    def _move(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
        tensor, others = args[0], list(args[1:])
        place = target = self._place(tensor)
        if func is not Tensor.to:
            named = kwargs.get("device", others[0] if others else "cuda")
            moved, target = tensor, CPU if func is Tensor.cpu else _device(named)
        elif others and isinstance(others[0], Tensor):
            moved, target = tensor.to(others[0].dtype), self._place(others[0])
        else:
            copy = bool(kwargs.pop("copy", False))
            asked, dtype, _, layout = torch._C._nn._parse_to(*others, **kwargs)
            more = {} if layout is None else {"memory_format": layout}
            moved = tensor.to(dtype or tensor.dtype, copy=copy, **more)
            target = place if asked is None else _device(asked)
        if moved is tensor and target != place:
            moved = tensor.clone()
        self._label(moved, target)
        return moved

    def _common(self, func: Any, args: Any, kwargs: dict[str, Any]) -> torch.device:
        """The one device of all tensors. A number that stands on the CPU goes with any."""
        if func in COPYING or func in INDEXING:
            return self._place(args[0])
        tensors = list(_tensors((args, kwargs)))
        places = {self._place(t) for t in tensors if t.ndim} or {self._place(t) for t in tensors}
        places |= {place for t in tensors if (place := self._place(t)) != CPU}
        if len(places) > 1:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {sorted(map(str, places))} "
                f"({getattr(func, '__name__', func)})"
            )
        return next(iter(places), CPU)

    def _place(self, tensor: Tensor) -> torch.device:
        if tensor.device.type != "cpu":
            return tensor.device
        key = self._key(tensor)
        if not key:
            return getattr(tensor, "pretended", CPU)
        memory, place = self._places.get(key, (None, CPU))
        return CPU if memory is None or memory.expired() else place

    def _label(self, tensor: Tensor, place: torch.device) -> None:
        if key := self._key(tensor):
            self._places[key] = StorageWeakRef(tensor.untyped_storage()), place
        else:
            tensor.pretended = place  # type: ignore[attr-defined]

    def _key(self, tensor: Tensor) -> int:
        """What tells memory apart; 0 for a tensor without any."""
        return tensor.untyped_storage().data_ptr() if tensor.device.type == "cpu" else 0


def _device(asked: Any) -> torch.device:
    """A device with its number, as tensors say it."""
    found = torch.device(asked)
    return torch.device(found.type, 0) if found.type == "cuda" and found.index is None else found


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
