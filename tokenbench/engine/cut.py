"""A forward that goes on past its prompt, as two: the prompt, then what follows on the prompt's KV cache.

generate() runs such forwards without a cache, where every step shows the whole text again, and with drafted tokens
behind the prompt. Selection is made from the prompt; what follows it meets the tokens that are left, as it would with a
cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import Cache, DynamicCache

from tokenbench.engine.cache import cache_name
from tokenbench.errors import UsageError

__all__ = ["run_in_two", "width"]

BY_TOKEN = ("inputs_embeds", "per_layer_inputs")  # [B, S, ...]
ALONG = (*BY_TOKEN, "input_ids", "position_ids", "cache_position", "visual_pos_masks")  # what has columns
SHOWN = ("visual_pos_masks", "deepstack_visual_embeds")  # what only a prompt has


def width(kwargs: dict[str, Any]) -> int:
    """Columns of a decoder's forward."""
    embeds = kwargs.get("inputs_embeds")
    length: int = (kwargs["input_ids"] if embeds is None else embeds).shape[1]
    return length


def run_in_two(
    prompt: Callable[..., Any],
    later: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    end: int,
    make_cache: Callable[[], Cache] = DynamicCache,
) -> Any:
    """Run a decoder's forward in two parts and return its output for all columns that are left.

    Args:
        prompt: Runs the first `end` columns.
        later: Runs the rest.
        args: Arguments of the forward.
        kwargs: Keyword arguments of the forward.
        end: Columns of the prompt.
        make_cache: Makes an empty cache of the decoder's.

    Raises:
        UsageError: If attention weights are asked for, whose shapes differ between the parts.
    """
    if kwargs.get("output_attentions"):
        raise UsageError(
            "the attention weights of a pruned prompt and of the tokens after it do not fit into one tensor",
            "do not combine output_attentions with use_cache=False or drafts",
        )
    name = cache_name(kwargs)
    given = kwargs.get(name)
    whole = {**kwargs, name: make_cache() if given is None else given, "use_cache": True}
    first = {key: _columns(key, value, slice(None, end)) if key in ALONG else value for key, value in whole.items()}
    rest = {key: _columns(key, value, slice(end, None)) if key in ALONG else value for key, value in whole.items()}
    mask = kwargs.get("attention_mask")
    first |= {"attention_mask": _cut_mask(mask, slice(None, end), slice(None, end))}
    # The mask also says which columns of the cache are padding.
    rest |= {"attention_mask": _cut_mask(mask, slice(end, None), slice(None)), **dict.fromkeys(set(SHOWN) & set(rest))}
    begun = prompt(*args, **first)
    output = later(*args, **rest)
    return _join(begun, output, keep_cache=given is not None)


def _columns(name: str, value: Any, at: slice) -> Any:
    """Along the sequence: the second dimension of embeddings, the last one of everything else."""
    if not isinstance(value, torch.Tensor):
        return value
    return value[:, at] if name in BY_TOKEN else value[..., at]


def _cut_mask(mask: Any, queries: slice, keys: slice) -> Any:
    """A mask for these columns: [B, S], [B, 1, S, S], or several by kind of layer."""
    if isinstance(mask, dict):
        return {kind: _cut_mask(own, queries, keys) for kind, own in mask.items()}
    if mask is None:
        return None
    return mask[:, keys] if mask.ndim == 2 else mask[:, :, queries, keys]


def _join(begun: Any, output: Any, keep_cache: bool) -> Any:
    fields = dict(output)
    fields["last_hidden_state"] = torch.cat([begun.last_hidden_state, output.last_hidden_state], 1)
    if output.get("hidden_states") is not None:
        states = zip(begun.hidden_states, output.hidden_states, strict=True)
        fields["hidden_states"] = tuple(torch.cat(pair, 1) for pair in states)
    if not keep_cache:
        fields = {key: value for key, value in fields.items() if key not in ("cache", "past_key_values")}
    return type(output)(**fields)
