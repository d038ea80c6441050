"""Who prunes a decoder, and what every thread does in it at the moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from tokenbench.errors import UsageError

if TYPE_CHECKING:
    from tokenbench.engine.layout import Layout
    from tokenbench.engine.prefill import Prefill

__all__ = ["Forward", "Running", "ThreadState", "call_before", "claim", "replace_method"]

_MARK = "_tokenbench_prunes"
_DOOR = threading.Lock()


@dataclass
class Forward:
    """The forward of the decoder that runs."""

    prefill: Prefill | None = None
    """The prefill, if it is that of a prompt."""
    positions: Tensor | None = None
    """Its position ids."""
    embeddings: Tensor | None = None
    """What the decoder was given, if it is that of a prompt."""
    by_kind: bool = False
    """Whether its position embeddings depend on the kind of layer."""
    masks: dict[tuple[Any, ...], Tensor | None] = field(default_factory=dict)
    """The masks made for it, by segment and stock mask."""
    layer_masks: dict[int, Tensor | None] = field(default_factory=dict)
    """The mask of every layer in a decode step, for layers that read its keys again."""
    ropes: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    """The position embeddings made for it, by segment and kind of layer."""


class ThreadState(threading.local):
    """What this thread does; others generate beside it."""

    def __init__(self) -> None:
        self.layout: Layout | None = None
        """The layout of its next prompt."""
        self.forward = Forward()
        """The forward that it runs."""
        self.shorter = False
        """Whether its last prompt lost tokens."""

    def __reduce__(self) -> tuple[type[ThreadState], tuple[()]]:  # models are copied with their hooks
        return ThreadState, ()


class Running:
    """Counts the forwards that run, so that hooks are not taken away under one of another thread."""

    def __init__(self) -> None:
        self._changed, self._count = threading.Condition(), 0

    def __reduce__(self) -> tuple[type[Running], tuple[()]]:
        return Running, ()

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until none runs."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0)


def claim(decoder: nn.Module) -> Callable[[], None]:
    """Claim the decoder for one pruner; returns what releases it.

    Raises:
        UsageError: If another pruner has claimed it, or if it is a copy that was made meanwhile, hooks and all.
    """
    with _DOOR:
        if getattr(decoder, _MARK, False):
            raise UsageError(
                "this model is already being pruned: another pruned() context is open on it, or on the model that it was copied from",
                "leave that context first; threads can share one context, or use separate models",
            )
        setattr(decoder, _MARK, True)
    return partial(delattr, decoder, _MARK)


def replace_method(owner: Any, name: str, new: Any) -> Callable[[], None]:
    """Put `new` over an object's method; returns what restores the present one, its own or one put there before."""
    undo = partial(setattr, owner, name, getattr(owner, name)) if name in vars(owner) else partial(delattr, owner, name)
    setattr(owner, name, new)
    return undo


def call_before(module: nn.Module, hook: Callable[[nn.Module, Any, dict[str, Any]], Any]) -> Callable[[], None]:
    """Call `hook` before every forward of the module. Returns what removes the hook."""
    return module.register_forward_pre_hook(partial(_call, hook), with_kwargs=True).remove


def _call(hook: Callable[..., Any], module: nn.Module, args: Any, kwargs: dict[str, Any] | None = None) -> Any:
    # Without keyword arguments where another thread takes the hook away at this moment.
    return None if kwargs is None else hook(module, args, kwargs)
