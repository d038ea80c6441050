"""A second forward without the question: what the last prompt token looks at when nothing was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tokenbench.contract.strategy import Attn
from tokenbench.engine.cache import cache_name
from tokenbench.engine.probe import Attended, Probe
from tokenbench.engine.segment import causal_mask

__all__ = ["Prior"]


class Prior:
    """Runs beside a prefill, layer by layer, as far as somebody asks for its attention. No token is ever dropped from it.

    requests: (row, request). valid: [B, S] attention mask of the prompt. after: of every row, the first column after its
    visual tokens: there the last prompt token stands, at that column's position, and nothing follows.
    """

    def __init__(self, requests: Sequence[tuple[int, Attn]], valid: Tensor, after: Sequence[int]) -> None:
        self.rows: dict[tuple[int, Attn], Tensor] = {}
        self._requests = requests
        self._last = max(request.layer for _, request in requests)
        self._after = torch.tensor(after, device=valid.device)
        self._valid = valid & (torch.arange(valid.shape[1], device=valid.device) <= self._after.unsqueeze(1))
        self._hidden: Tensor | None = None

    def run(
        self,
        i: int,
        attention: nn.Module,
        forward: Callable[..., Tensor],
        hidden: Tensor,
        arguments: dict[str, Any],
        probe: Probe,
        added: Tensor | None,
    ) -> None:
        """Run decoder layer i.

        attention, forward: the layer's. hidden: [B, S, C] the prompt's embeddings, read at layer 0. arguments: the stock ones.
        added: [B, S, C] what the model adds after this layer.
        """
        if i > self._last:
            return
        if i == 0:
            self._hidden = hidden.clone()
            self._hidden[torch.arange(len(hidden)), self._after.to(hidden.device)] = hidden[:, -1]
        assert self._hidden is not None
        valid = self._valid
        mask = causal_mask(valid, valid.shape[1], padded=True, attention=probe.attention, dtype=hidden.dtype)
        changed = {"attention_mask": mask, cache_name(arguments): None, "position_ids": None}
        probe.listen(attention, self._heard(i))
        self._hidden = forward(self._hidden.to(hidden.device), **{**arguments, **changed})
        probe.listen(attention, None)
        if added is not None:
            self._hidden = self._hidden + added.to(hidden.device)

    def _heard(self, i: int) -> Any:
        def listen(attended: Attended) -> None:
            for b, request in self._requests:
                if request.layer == i:
                    self.rows[b, request] = attended.rows(b, self._after[b : b + 1], self._valid[b])

        return listen
