"""The decoding loop of a batch: greedy, and rows leave the batch once their answers are finished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tokenbench.engine import cache_name, selects_rows

__all__ = ["decode"]

LEAVING = 0.5
"""The share of the rows that must be finished before they leave: those that stay are copied."""


def decode(
    model: Any,
    input_ids: Tensor,
    *,
    limits: Sequence[int],
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    **kwargs: Any,
) -> list[list[int]]:
    """Decode greedily: the `custom_generate` of the stock `generate()`, which prepares the arguments.

    A row is finished when it has said its end token or reached its own limit, whatever the others do.

    Args:
        model: The stock model.
        input_ids: [B, S] the prompts.
        limits: The largest number of new tokens of each row.
        logits_processor: What the generation settings make of the logits.
        stopping_criteria: Not used; rows stop by themselves.
        generation_config: The generation settings, which name the end tokens.
        **kwargs: What else the model is called with.

    Returns:
        The new tokens of each row, the end token included.
    """
    ends = _end_tokens(generation_config)
    answers: list[list[int]] = [[] for _ in limits]
    running = list(range(len(limits)))
    inputs = model.prepare_inputs_for_generation(input_ids, is_first_iteration=True, **kwargs)
    while True:
        outputs = model(**inputs, return_dict=True)
        kwargs = model._update_model_kwargs_for_generation(outputs, kwargs)
        logits = outputs.logits[:, -1].to(copy=True, dtype=torch.float32, device=input_ids.device)
        del outputs, inputs  # the prompt's embeddings and logits are large
        tokens = logits_processor(input_ids, logits).argmax(-1)
        for row, token in zip(running, tokens.tolist(), strict=True):  # one look at all rows
            if _goes_on(answers[row], limits[row], ends):
                answers[row].append(token)
        open_at = [at for at, row in enumerate(running) if _goes_on(answers[row], limits[row], ends)]
        if not open_at:
            return answers
        input_ids = torch.cat([input_ids, tokens.unsqueeze(1)], 1)
        if len(open_at) <= (1 - LEAVING) * len(running) and selects_rows(kwargs.get(cache_name(kwargs))):
            index = torch.tensor(open_at, device=input_ids.device)
            kwargs = _select_rows(model, kwargs, index, len(running))
            input_ids, running = input_ids.index_select(0, index), [running[at] for at in open_at]
        inputs = model.prepare_inputs_for_generation(input_ids, next_sequence_length=1, **kwargs)


def _end_tokens(config: Any) -> set[int]:
    ends = config.eos_token_id
    return set() if ends is None else {ends} if isinstance(ends, int) else set(ends)


def _goes_on(answer: Sequence[int], limit: int, ends: set[int]) -> bool:
    return len(answer) < limit and not (answer and answer[-1] in ends)


def _select_rows(model: Any, kwargs: dict[str, Any], index: Tensor, rows: int) -> dict[str, Any]:
    """The model's arguments for some of its rows; its cache and what it remembers of positions change in place."""
    kwargs[cache_name(kwargs)].batch_select_indices(index)
    for owner in (model, getattr(model, "model", None)):
        deltas = getattr(owner, "rope_deltas", None)
        if isinstance(deltas, Tensor) and len(deltas) == rows:
            owner.rope_deltas = deltas.index_select(0, index.to(deltas.device))  # type: ignore[union-attr]
    return {name: _select(name, value, index, rows) for name, value in kwargs.items()}


def _select(name: str, value: Any, index: Tensor, rows: int) -> Any:
    if not isinstance(value, Tensor) or value.ndim < 2:
        return value
    dim = value.ndim - 2 if name == "position_ids" else 0  # [B, S], or [axes, B, S]
    return value.index_select(dim, index.to(value.device)) if value.shape[dim] == rows else value
