"""The stock model inside what people wrap around it: PEFT, Accelerate, torch.compile, a class of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from tokenbench.errors import UsageError

__all__ = ["stock_in", "uncompiled"]


def stock_in(model: Any, is_served: Callable[[str], bool]) -> Any:
    """Find the stock model in a wrapper: the outermost transformers model of a type that is served.

    It may be a module inside a module, or an attribute of an object. An object that holds none is returned as it is.

    Raises:
        UsageError: If the object holds several such models, or copies its model to several GPUs.
    """
    if isinstance(model, nn.DataParallel):
        raise UsageError(
            "DataParallel runs several copies of the model, which cannot be pruned",
            "pass the wrapped model, model.module",
        )
    parts = [model] if isinstance(model, nn.Module) else [v for v in _attributes(model) if isinstance(v, nn.Module)]
    found: list[nn.Module] = []
    for part in parts:
        for module in part.modules():  # from the outside to the inside
            served = isinstance(module, PreTrainedModel) and is_served(module.config.model_type)
            if served and not any(module is inner for outer in found for inner in outer.modules()):
                found.append(module)
    if len(found) > 1:
        raise UsageError(
            f"{type(model).__name__} holds {len(found)} models that could be pruned", "pass the one to prune"
        )
    return found[0] if found else model


def _attributes(model: Any) -> list[Any]:
    return list(getattr(model, "__dict__", {}).values())


class _Stance:
    """The stance of torch.compile, shared by all contexts: the first one sets it, the last one restores it."""

    def __init__(self) -> None:
        self._door, self._inside, self._undo = threading.Lock(), 0, ExitStack()

    @contextmanager
    def eager(self) -> Iterator[None]:
        with self._door:
            if self._inside == 0:
                self._undo.enter_context(torch.compiler.set_stance("force_eager"))
            self._inside += 1
        try:
            yield
        finally:
            with self._door:
                self._inside -= 1
                if self._inside == 0:
                    self._undo.close()


uncompiled = _Stance().eager
"""A context in which compiled models run uncompiled: hooks that change what a layer gets cannot be traced."""
