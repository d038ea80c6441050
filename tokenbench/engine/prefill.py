"""One batch of prompts on its way through the decoder: what was recorded, and what every stage decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tokenbench.budget import count
from tokenbench.engine.cache import PrunedLayer
from tokenbench.engine.plan import Plan
from tokenbench.engine.probe import Rows
from tokenbench.engine.segment import Segment, causal_mask, take
from tokenbench.engine.trace import RowTrace
from tokenbench.errors import StrategyError
from tokenbench.strategy import Attn, Grid, Selection, Stage, View

__all__ = ["Layout", "Prefill"]


@dataclass(frozen=True)
class Layout:
    """Where the visual tokens of a batch are.

    visual: [B, S] True at the columns of visual tokens, in the order of the lattices' cells.
    grids: from the prompt's position ids ([..., B, S], or None where the model makes none) to the lattices of every row.
    """

    visual: Tensor
    grids: Callable[[Tensor | None], Sequence[tuple[Grid, ...]]]


class Prefill:
    """State of one prefill. Rows may differ in visual tokens, padding, budget and strategy.

    plans: one a row. valid: [B, S] attention mask. attention: name of the stock attention implementation.
    added: [B, S, C] states that the model adds after its first layers, one a layer (Qwen3-VL's deepstack).
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        layout: Layout,
        valid: Tensor,
        depth: int,
        attention: str,
        added: Sequence[Tensor] = (),
    ) -> None:
        self.plans = plans
        self.layout = layout
        self.prompt = valid
        self.attention = attention
        self.grids: Sequence[tuple[Grid, ...]] = ()
        self._added = added
        self.segment = Segment.whole(valid)
        self.ordinals = layout.visual.cumsum(1) - 1
        self.caches: list[PrunedLayer] | None = None
        self._stored: list[Segment] = []  # what every layer's cache holds
        self.rope: tuple[Tensor, Tensor] | None = None
        self._changed: dict[str, Any] = {}  # layer arguments that replace the stock ones in this segment
        self._hidden: dict[int, tuple[Tensor, Segment]] = {}
        self._rows: dict[tuple[int, Attn], tuple[Tensor, Segment]] = {}
        self._generators = [plan.generator() for plan in plans]
        self._memos: list[dict[str, Any]] = [{} for _ in plans]
        self._stages = [{stage.layer: j for j, stage in enumerate(plan.stages)} for plan in plans]
        self._depths = set().union(*(plan.hidden_depths() for plan in plans))
        visual = layout.visual.sum(1).tolist()
        length = valid.sum(1).tolist()
        self.rows = [
            RowTrace(visual=n, text=total - n, depth=depth, trim=plan.strategy.trim)
            for n, total, plan in zip(visual, length, plans, strict=True)
        ]
        last = layout.visual.int() * torch.arange(valid.shape[1], device=valid.device)
        self._after = (last.argmax(1) + 1).tolist()  # first column after the visual tokens

    def place(self, positions: Tensor | None) -> None:
        """Learn the prompt's position ids [B or 1, S], or [parts, B, S]."""
        self.grids = self.layout.grids(positions)
        # Positions of several parts (M-RoPE) are places in the image: there is no gap in them to close.
        flat = positions is None or positions.ndim == 2
        for row, grids, plan in zip(self.rows, self.grids, self.plans, strict=True):
            row.grids = grids
            row.compact = flat and plan.strategy.positions == "compact"

    def remember(self, depth: int, hidden: Tensor) -> None:
        """Keep the hidden states [B, n, C] of this depth if some stage will read them."""
        if depth in self._depths:
            self._hidden[depth] = (hidden, self.segment)

    def wanted(self, layer: int) -> Callable[[Rows], None] | None:
        """The listener for the attention of decoder layer `layer`, or None if nobody asked."""
        requests = [(b, request) for b, plan in enumerate(self.plans) for request in plan.requests(layer)]
        return self._listener(requests) if requests else None

    def peeked(self, layer: int) -> Callable[[Rows], None] | None:
        """The listener for a dry run of layer `layer` before its stage, or None if nobody asked."""
        requests = [(b, request) for b, stage, _ in self._due(layer) for request in stage.attention if request.peek]
        return self._listener(requests) if requests else None

    def reduce(self, layer: int, hidden: Tensor) -> Tensor:
        """Run the stages before decoder layer `layer`: hidden [B, n, C] -> [B, m, C], and a new segment."""
        keep = self.segment.valid.clone()
        merged = None
        for b, stage, index in self._due(layer):
            view, at = self._view(b, stage, index)
            selection = _checked(self.plans[b], stage, view, hidden)
            kept = at[selection.keep]
            keep[b, at] = False
            keep[b, kept] = True
            self.rows[b].stages.append((layer, view.alive[selection.keep]))
            if selection.values is not None:
                merged = hidden.clone() if merged is None else merged
                self.rows[b].merged = True
                merged[b, kept] = selection.values.to(hidden.dtype)
        hidden = hidden if merged is None else merged
        if bool((keep == self.segment.valid).all()):
            return hidden
        compact = torch.tensor([row.compact for row in self.rows], device=keep.device)
        self.segment, packed = self.segment.narrow(keep, compact, self.prompt)
        self._changed = {}
        return take(hidden, packed)

    def add(self, layer: int, hidden: Tensor) -> Tensor:
        """Output [B, n, C] of a layer with what the model adds to the tokens that are left."""
        if layer >= len(self._added):
            return hidden
        return hidden + take(self._added[layer], self.segment.columns)

    def due(self, layer: int) -> bool:
        """Whether some row has a stage before decoder layer `layer`."""
        return any(layer in stages for stages in self._stages)

    def arguments(self, stock: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
        """The keyword arguments of a decoder layer: the stock ones, with mask and positions of this segment."""
        if self.segment.full:
            return stock
        if not self._changed:
            assert self.rope is not None
            valid = self.segment.valid
            mask = causal_mask(valid, valid.shape[1], padded=self.segment.padded, attention=self.attention, dtype=dtype)
            rope = tuple(take(part, self.segment.positions) for part in self.rope)
            # Only flash attention reads position ids here, and would take the gaps for packed sequences.
            self._changed = {"attention_mask": mask, "position_embeddings": rope, "position_ids": None}
        return {**stock, **self._changed}

    def store(self, layer: int) -> None:
        """Tell the cache of decoder layer `layer` what it is about to store."""
        if self.caches is not None:
            self.caches[layer].describe(self.segment, self.prompt.shape[1])
            self._stored.append(self.segment)

    def finish(self) -> None:
        """Trim the caches of the rows whose strategy says so."""
        trim = torch.tensor([plan.strategy.trim for plan in self.plans], device=self.prompt.device)
        if self.caches is None or self.segment.full or not bool(trim.any()):
            return
        alive = torch.zeros_like(self.prompt)
        for b in range(len(alive)):
            alive[b, self.segment.columns[b][self.segment.valid[b]]] = True
        for cache, segment in zip(self.caches, self._stored, strict=True):
            cache.trim(alive.gather(1, segment.columns) | ~trim.unsqueeze(1))

    def _due(self, layer: int) -> list[tuple[int, Stage, int]]:
        """(row, stage, its number) of the stages before this layer; rows without visual tokens have none."""
        return [
            (b, self.plans[b].stages[stages[layer]], stages[layer])
            for b, stages in enumerate(self._stages)
            if layer in stages and self.rows[b].visual
        ]

    def _listener(self, requests: list[tuple[int, Attn]]) -> Callable[[Rows], None]:
        segment = self.segment

        def listen(rows: Rows) -> None:
            for b, request in requests:
                queries = segment.find(b, self._queries(b, request.rows))
                self._rows[b, request] = (rows(b, queries, segment.valid[b]), segment)

        return listen

    def _queries(self, b: int, rows: str) -> Tensor:
        """Columns of the prompt that a request means."""
        after, end = self._after[b], self.prompt.shape[1]
        spans = {
            "last": (end - 1, end),
            "null": (after, after + 1),
            "question": (after, end),
            "question[:-1]": (after, end - 1),
        }
        return torch.arange(*spans[rows], device=self.prompt.device)

    def _view(self, b: int, stage: Stage, index: int) -> tuple[View, Tensor]:
        """What row b's stage sees, and where [n] its candidates stand in the segment."""
        segment = self.segment
        columns = segment.columns[b]
        at = (segment.valid[b] & self.layout.visual[b][columns]).nonzero().flatten()
        candidates = columns[at]
        question = torch.arange(self._after[b], self.prompt.shape[1], device=columns.device)
        n0 = self.rows[b].visual
        view = View(
            n0=n0,
            alive=self.ordinals[b][candidates],
            grids=self.grids[b],
            stage=stage,
            index=index,
            k=len(at) if stage.keep is None else count(stage.keep, n0, len(at)),
            hidden={depth: self._states(b, depth, candidates) for depth in stage.hidden},
            text={depth: self._states(b, depth, question) for depth in stage.text},
            attention={request: self._attention(b, request, candidates) for request in stage.attention},
            generator=self._generators[b],
            memo=self._memos[b],
        )
        return view, at

    def _states(self, b: int, depth: int, columns: Tensor) -> Tensor:
        hidden, segment = self._hidden[depth]
        return hidden[b][segment.find(b, columns).to(hidden.device)]

    def _attention(self, b: int, request: Attn, columns: Tensor) -> Tensor:
        rows, segment = self._rows[b, request]
        return rows[..., segment.find(b, columns).to(rows.device)]


def _checked(plan: Plan, stage: Stage, view: View, hidden: Tensor) -> Selection:
    """The strategy's selection, or a StrategyError that says how it breaks the contract."""
    with torch.no_grad():
        selection = plan.strategy.select(view)
    keep = selection.keep
    problem = ""
    if keep.dtype != torch.long or keep.ndim != 1:
        problem = f"keep must be a 1-d tensor of indices, not {keep.dtype} {list(keep.shape)}"
    elif stage.keep is not None and len(keep) != view.k:
        problem = f"{len(keep)} tokens kept where {view.k} were to be kept"
    elif len(keep) == 0 or int(keep[0]) < 0 or int(keep[-1]) >= view.n or not bool((keep[1:] > keep[:-1]).all()):
        problem = f"keep must hold ascending indices below {view.n}, at least one"
    elif selection.values is not None and selection.values.shape != (len(keep), hidden.shape[-1]):
        problem = f"values must be {[len(keep), hidden.shape[-1]]}, not {list(selection.values.shape)}"
    if problem:
        raise StrategyError(f"strategy {type(plan.strategy).__name__}, stage before layer {stage.layer}: {problem}")
    return selection
