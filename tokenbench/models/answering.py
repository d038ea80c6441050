"""Greedy decoding of a batch, or of several batches together: rows leave once their answers are finished."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tokenbench.engine import CannotSplitError, JoinedCache, cache_name, can_join, selects_rows

__all__ = ["Answering", "decode", "prefill"]

LEAVING = 0.5
"""The share of the rows that must be finished before they leave: those that stay are copied."""


@dataclass
class Answering:
    """Rows that are being answered."""

    input_ids: Tensor
    """[B, S] their prompts, with what was answered so far."""
    answers: list[list[int]]
    """The new tokens of each row, the end token included."""
    limits: Sequence[int]
    """The largest number of new tokens of each row."""
    ends: set[int]
    """The tokens that end an answer."""
    logits_processor: Any
    """What the generation settings make of the logits."""
    kwargs: dict[str, Any]
    """What else the model is called with, the cache included."""
    deltas: Sequence[Tensor] = ()
    """[B, 1] what the model remembers of positions (M-RoPE), by where it does."""

    @property
    def cache(self) -> Any:
        """The KV cache."""
        return self.kwargs.get(cache_name(self.kwargs))

    @property
    def unfinished(self) -> list[int]:
        """The rows whose answers are not finished, whatever the others do."""
        pairs = enumerate(zip(self.answers, self.limits, strict=True))
        return [at for at, (answer, limit) in pairs if _goes_on(answer, limit, self.ends)]

    def step(self, model: Any, **options: Any) -> None:
        """Run the model, and add a token to each answer that goes on."""
        inputs = model.prepare_inputs_for_generation(self.input_ids, **options, **self.kwargs)
        outputs = model(**inputs, return_dict=True)
        self.kwargs = model._update_model_kwargs_for_generation(outputs, self.kwargs)
        logits = outputs.logits[:, -1].to(copy=True, dtype=torch.float32, device=self.input_ids.device)
        del outputs, inputs  # the prompt's embeddings and logits are large
        tokens = self.logits_processor(self.input_ids, logits).argmax(-1)
        for answer, limit, token in zip(self.answers, self.limits, tokens.tolist(), strict=True):  # one look at all
            if _goes_on(answer, limit, self.ends):
                answer.append(token)
        self.input_ids = torch.cat([self.input_ids, tokens.unsqueeze(1)], 1)


def prefill(
    model: Any,
    input_ids: Tensor,
    *,
    limits: Sequence[int],
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    **kwargs: Any,
) -> Answering:
    """Run prompts and answer with one token: the `custom_generate` of the stock `generate()`, which prepares the arguments.

    Args:
        model: The stock model.
        input_ids: [B, S] the prompts.
        limits: The largest number of new tokens of each row.
        logits_processor: What the generation settings make of the logits.
        stopping_criteria: Not used; rows stop by themselves.
        generation_config: The generation settings, which name the end tokens.
        **kwargs: What else the model is called with.
    """
    ends = _end_tokens(generation_config)
    rows = Answering(input_ids, [[] for _ in limits], limits, ends, logits_processor, kwargs)
    rows.step(model, is_first_iteration=True)
    rows.kwargs.pop("mm_encoder_outputs", None)  # the images are in the cache by now
    rows.deltas = [owner.rope_deltas for owner in _find_deltas(model)]
    return rows


def decode(model: Any, batches: Sequence[Answering]) -> list[list[list[int]]]:
    """Finish answers: those of all batches together, if their caches can be joined.

    Args:
        model: The stock model.
        batches: The same prompts after one `prefill` or several. They cannot go on afterwards.

    Returns:
        The new tokens of each row of each batch.
    """
    answers = [batch.answers for batch in batches]
    going_on = [batch for batch in batches if batch.unfinished]
    if len(going_on) > 1 and all(can_join(batch.cache) for batch in going_on):
        cache = JoinedCache([batch.cache for batch in going_on])
        try:
            joined = _gather(going_on, [range(len(batch.answers)) for batch in going_on], cache)
            _step(model, joined)  # all rows are there if it turns out that this cannot be
        except CannotSplitError:  # in the first layer that attends
            cache.forget_latest()
        else:
            going_on = [joined]
    for batch in going_on:
        _finish(model, batch)
    return answers


def _finish(model: Any, batch: Answering) -> None:
    while at := batch.unfinished:
        if len(at) <= (1 - LEAVING) * len(batch.answers) and selects_rows(batch.cache):
            batch.cache.batch_select_indices(torch.tensor(at, device="cpu"))  # layers may stand on several
            batch = _gather([batch], [at], batch.cache)
        _step(model, batch)


def _step(model: Any, batch: Answering) -> None:
    for owner, deltas in zip(_find_deltas(model), batch.deltas, strict=True):
        owner.rope_deltas = deltas
    batch.step(model, next_sequence_length=1)


def _gather(batches: Sequence[Answering], rows: Sequence[Sequence[int]], cache: Any) -> Answering:
    """Some rows of several batches as one batch, whose cache is at hand."""
    first = batches[0]
    chosen = [(batch, at) for batch, own in zip(batches, rows, strict=True) for at in own]

    def gather(values: Sequence[Any], dim: int = 0) -> Any:
        """Values of the rows. What has no rows is the same for all."""
        one = values[0]
        if not isinstance(one, Tensor) or one.ndim < 2 or one.shape[dim] != len(first.answers):
            return one
        numbers = [torch.tensor(own, device=one.device) for own in rows]
        return torch.cat([value.index_select(dim, own) for value, own in zip(values, numbers, strict=True)], dim)

    kwargs = {
        name: gather([batch.kwargs[name] for batch in batches], -2 if name == "position_ids" else 0)
        for name in first.kwargs
    }
    return Answering(
        gather([batch.input_ids for batch in batches]),
        [batch.answers[at] for batch, at in chosen],
        [batch.limits[at] for batch, at in chosen],
        first.ends,
        first.logits_processor,
        {**kwargs, cache_name(kwargs): cache},
        [gather(of_owner) for of_owner in zip(*(batch.deltas for batch in batches), strict=True)],
    )


def _find_deltas(model: Any) -> Iterator[Any]:
    """What remembers how far M-RoPE moves the positions of each row's answer."""
    for owner in (model, getattr(model, "model", None)):
        if isinstance(getattr(owner, "rope_deltas", None), Tensor):
            yield owner


def _end_tokens(config: Any) -> set[int]:
    ends = config.eos_token_id
    return set() if ends is None else {ends} if isinstance(ends, int) else set(ends)


def _goes_on(answer: Sequence[int], limit: int, ends: set[int]) -> bool:
    return len(answer) < limit and not (answer and answer[-1] in ends)
