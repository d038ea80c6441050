"""A second forward pass without the question: what the last token of the prompt attends to when nothing was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tokenbench.contract.stage import Attn
from tokenbench.engine.arguments import gather_mask
from tokenbench.engine.attention_tap import Attended, AttentionTap, Listener
from tokenbench.engine.cache import cache_name
from tokenbench.engine.layout import PromptColumns
from tokenbench.engine.prefill_recorder import PrefillRecorder
from tokenbench.engine.segment import Segment, causal_mask

__all__ = ["NoQuestionPass"]


class NoQuestionPass:
    """Runs beside a prefill, layer by layer, up to the last layer that was asked for. It never drops a token.

    The last token of the prompt stands in the first column after the visual tokens, at that column's position, and
    nothing follows it.

    Args:
        requests: (row, request), at least one.
        prompt: The batch.
        whole: The segment of the whole prompt.
        recorder: Where the attention goes.
    """

    def __init__(
        self, requests: Sequence[tuple[int, Attn]], prompt: PromptColumns, whole: Segment, recorder: PrefillRecorder
    ) -> None:
        self._requests, self._prompt, self._whole, self._recorder = requests, prompt, whole, recorder
        self.layers = max(request.extra_layers for _, request in requests)
        """How many decoder layers it runs."""
        self._after = prompt.end
        columns = torch.arange(prompt.width, device=prompt.valid.device)
        self._columns = columns.expand(len(prompt), -1)
        self._valid = prompt.valid & (columns <= self._after.unsqueeze(1))
        self._hidden: Tensor | None = None

    def run(
        self,
        i: int,
        attention: nn.Module | None,
        forward: Callable[..., Tensor],
        hidden: Tensor,
        arguments: dict[str, Any],
        tap: AttentionTap,
        added: Tensor | None,
    ) -> None:
        """Run decoder layer i.

        Args:
            i: The layer.
            attention: Its attention module; None for a recurrent layer.
            forward: Its stock forward.
            hidden: [B, S, C] the prompt's embeddings, read at layer 0.
            arguments: The stock keyword arguments of the layer.
            tap: What listens to the attention.
            added: [B, S, C] what the model adds after this layer.
        """
        if i == 0:
            self._hidden = self._without_question(hidden)
        assert self._hidden is not None
        valid = self._valid
        stock = arguments.get("attention_mask")
        mask: Tensor | None
        if attention is None:
            mask = valid
        elif stock is not None and stock.ndim == 4:
            mask = gather_mask(stock, self._columns, self._columns, valid)
        else:
            mask = causal_mask(valid, valid.shape[1], padded=True, attention=tap.attention, dtype=hidden.dtype)
        # Gemma 4 gives every layer an embedding of every token.
        own = {name: self._without_question(value) for name, value in arguments.items() if name == "per_layer_input"}
        changed = {**own, "attention_mask": mask, cache_name(arguments): None}
        if "position_ids" in arguments:
            changed["position_ids"] = None
        if attention is not None:
            tap.listen(attention, self._listener(i))
        self._hidden = forward(self._hidden.to(hidden.device), **{**arguments, **changed})
        if attention is not None:
            tap.listen(attention, None)
        if added is not None:
            self._hidden = self._hidden + added.to(hidden.device)

    def _without_question(self, tokens: Tensor) -> Tensor:
        """Tokens [B, S, C], of which the last one stands in the first column after the visual tokens, too."""
        moved = tokens.clone()
        moved[torch.arange(len(tokens)), self._after.to(tokens.device)] = tokens[:, -1]
        return moved

    def _listener(self, i: int) -> Listener:
        asking: dict[Attn, list[int]] = {}
        for b, request in self._requests:
            if request.layer == i:
                asking.setdefault(request, []).append(b)

        def listen(attended: Attended) -> None:
            for request, rows in asking.items():
                numbers = self._prompt.numbers(rows, len(self._prompt))
                after, valid = self._after, self._valid
                if numbers is not None:
                    after, valid = after.index_select(0, numbers), valid.index_select(0, numbers)
                weights = attended.rows(numbers).weights(after.unsqueeze(1), valid)
                self._recorder.record_attention(request, rows, weights, self._whole)

        return listen
