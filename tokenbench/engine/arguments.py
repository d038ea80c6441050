"""The stock arguments of a decoder layer, cut down to the tokens that are left.

The decoder makes masks, position embeddings and whatever else its layers take for the whole prompt, perhaps others for
another layer. What the stock decoder made is never made again: it is gathered at the columns that are left.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tokenbench.engine.cache import cache_name
from tokenbench.engine.replay import Unseen, hide
from tokenbench.engine.segment import Segment, causal_mask, flatten, take_flat

__all__ = ["SegmentArguments", "gather_mask", "read_padding"]


class SegmentArguments:
    """Cuts the arguments of the layers that run on one segment. What layers share is cut once.

    Args:
        segment: The tokens.
        width: Columns of the whole prompt.
        attention: The name of the decoder's attention implementation.
        unseen: What is hidden from the questions; None if nothing is.
    """

    def __init__(self, segment: Segment, width: int, attention: str, unseen: Unseen | None = None) -> None:
        self._segment, self._width, self._attention, self._unseen = segment, width, attention, unseen
        self._made: dict[tuple[str, int, bool], tuple[Any, Any]] = {}

    def cut(self, stock: dict[str, Any], dtype: torch.dtype, attends: bool) -> dict[str, Any]:
        """The keyword arguments of a layer.

        Args:
            stock: Those that the decoder gives it.
            dtype: Of the hidden states.
            attends: Whether it is a layer of attention, and not a recurrent one.
        """
        ways: dict[str, Callable[[Any], Any]] = {
            "attention_mask": lambda mask: self._cut_mask(mask, dtype, attends),
            "position_embeddings": self._cut_rope,
            # Only flash attention reads them here, and would take the gaps for packed sequences.
            "position_ids": lambda _: None,
            cache_name(stock): lambda cache: cache,
        }
        given = {"attention_mask": None, **stock}
        return {
            name: self._once(name, value, attends, ways.get(name, self._cut_tokens)) for name, value in given.items()
        }

    def _once(self, name: str, stock: Any, attends: bool, cut: Callable[[Any], Any]) -> Any:
        key = (name, id(stock), attends)
        if key not in self._made:
            self._made[key] = stock, cut(stock)  # the stock value is held, so that its id stays its own
        return self._made[key][1]

    def _cut_mask(self, stock: Tensor | None, dtype: torch.dtype, attends: bool) -> Tensor | None:
        segment = self._segment
        if not attends:
            return segment.valid if segment.padded else None
        valid, padded = segment.valid, segment.padded or self._unseen is not None
        if stock is not None and stock.ndim == 4:
            places = segment.places
            mask: Tensor | None = gather_mask(stock, places, places, valid)
        else:
            mask = causal_mask(valid, valid.shape[1], padded=padded, attention=self._attention, dtype=dtype)
        if mask is not None and self._unseen is not None:
            mask = hide(mask, self._unseen.pairs(segment))
        if self._attention == "sdpa" and mask is not None and mask.dtype == torch.bool:
            # As scaled_dot_product_attention would do it in every layer, with three launches each.
            mask = torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -torch.inf)
        return mask

    def _cut_rope(self, stock: Any) -> Any:
        if isinstance(stock, Tensor):
            return self._take_rope(stock)
        return stock if stock is None else tuple(self._take_rope(part) for part in stock)

    def _take_rope(self, stock: Tensor) -> Tensor:
        """Position embeddings [B or 1, S, ...] of the tokens."""
        return _take(stock, self._segment.positions if len(stock) == 1 else self._rope_places)

    @cached_property
    def _rope_places(self) -> Tensor:
        """[B, m] where the tokens' position embeddings stand, if every row has its own and they are laid end to end."""
        return flatten(self._segment.positions, self._width)

    def _cut_tokens(self, stock: Any) -> Any:
        """Whatever has a column for every token of the prompt."""
        rows, columns = self._segment.columns.shape[0], self._segment.columns
        by_token = isinstance(stock, Tensor) and stock.ndim > 1 and stock.shape[1] == self._width
        if not by_token or stock.shape[0] not in (1, rows):
            return stock
        return _take(stock, columns if len(stock) == 1 else flatten(columns, self._width))


def gather_mask(mask: Tensor, rows: Tensor | None, columns: Tensor, valid: Tensor) -> Tensor:
    """The part of a stock mask that holds for some queries and keys.

    Args:
        mask: [B or 1, 1 or H, q, S], boolean or with numbers that are added.
        rows: [B, m] the queries; None for all of them, in their order.
        columns: [B, n] the keys.
        valid: [B, n] which of these are no padding. A padding query sees itself, so that its softmax stays finite.
    """
    columns, valid = columns.to(mask.device), valid.to(mask.device)
    batch, n = columns.shape
    part = mask.expand(batch, -1, -1, -1)
    if rows is not None:
        at = rows.to(mask.device)[:, None, :, None].expand(-1, part.shape[1], -1, part.shape[3])
        part = part.gather(2, at)
    part = part.gather(3, columns[:, None, None].expand(-1, part.shape[1], part.shape[2], -1))
    own = torch.eye(n, dtype=torch.bool, device=mask.device)[-part.shape[2] :] if rows is not None else None
    seen = valid[:, None, None]
    if part.dtype == torch.bool:
        part = part & seen
        return part if own is None else part | own
    part = part.masked_fill(~seen, torch.finfo(part.dtype).min)
    return part if own is None else part.masked_fill(own, 0)


def read_padding(mask: Tensor | dict[str, Tensor] | None) -> Tensor | None:
    """[B, S] which tokens are no padding, from any mask that a model takes; None if it does not say.

    Args:
        mask: [B, S], [B or 1, 1 or H, q, S] (the last query sees every token), or several of these by kind of layer.
    """
    if isinstance(mask, dict):
        mask = mask.get("full_attention", next(iter(mask.values()), None))
    if mask is None:
        return None
    if mask.ndim == 4:
        mask = mask[:, 0, -1]
    if mask.is_floating_point() and bool((mask < 0).any()):  # what is added to the products
        return mask > torch.finfo(mask.dtype).min / 2
    return mask.bool() if not mask.is_floating_point() else mask == mask.max()


def _take(states: Tensor, places: Tensor) -> Tensor:
    """The tokens at places [B, m], as `flatten` has them, of states [B, n, ...]: [B, m, ...]."""
    rest = states.shape[2:]
    return take_flat(states.flatten(2) if rest else states.unsqueeze(-1), places).view(*places.shape, *rest)
