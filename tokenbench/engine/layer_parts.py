"""A stock decoder layer, run in part: up to its attention, or for its last token alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from tokenbench.engine.attention_tap import Attended, AttentionTap, Listener
from tokenbench.engine.cache import cache_name

__all__ = ["Keys", "last_token", "read_keys", "run_to_attention"]


class Keys:
    """Stands in for a cache: it turns a call's own keys and values into those that the call attends to, and holds them.

    Args:
        extend: What turns the keys, and what turns the values; nothing leaves them as they are.
    """

    def __init__(self, *extend: Callable[[Tensor], Tensor]) -> None:
        self._extend = extend
        self.held: tuple[Tensor, Tensor] | None = None

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Return all keys [B, H, n, D] and values that the call attends to."""
        if self._extend:
            keys, values = self._extend[0](keys), self._extend[1](values)
        self.held = keys, values
        return self.held


class _Heard(Exception):  # noqa: N818 -- it is no error
    """Ends a layer's forward once its attention was heard."""


def run_to_attention(
    forward: Callable[..., Tensor],
    attention: nn.Module,
    hidden: Tensor,
    arguments: dict[str, Any],
    tap: AttentionTap,
    listener: Listener,
) -> None:
    """Run a layer until its attention was heard.

    Args:
        forward: The layer's stock forward.
        attention: Its attention module.
        hidden: [B, n, C] its input.
        arguments: Its keyword arguments.
        tap: What listens to the attention.
        listener: Who wants to know of the attention.
    """

    def listen(attended: Attended) -> None:
        listener(attended)
        raise _Heard

    with suppress(_Heard):
        tap.listen(attention, listen)
        forward(hidden, **arguments)


def read_keys(
    forward: Callable[..., Tensor], attention: nn.Module, hidden: Tensor, arguments: dict[str, Any], tap: AttentionTap
) -> tuple[Tensor, Tensor]:
    """The keys and values [B, H, n, D] that a layer would store; the arguments are those of `run_to_attention`."""
    keys = Keys()
    run_to_attention(forward, attention, hidden, {**arguments, cache_name(arguments): keys}, tap, lambda _: None)
    tap.listen(attention, None)
    assert keys.held is not None
    return keys.held


def last_token(arguments: dict[str, Any], keys: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """The keyword arguments with which a layer runs for its last token alone.

    Args:
        arguments: Those with which it would run for all.
        keys: The keys and values [B, H, n, D] of all tokens.
    """
    held, values = keys
    mask = arguments.get("attention_mask")
    return {
        **arguments,
        "attention_mask": mask[:, :, -1:] if mask is not None and mask.ndim == 4 else mask,
        "position_embeddings": tuple(part[..., -1:, :] for part in arguments["position_embeddings"]),
        "position_ids": None,
        cache_name(arguments): Keys(lambda _: held, lambda _: values),
    }
