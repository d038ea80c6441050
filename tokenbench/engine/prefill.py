"""One batch of prompts on its way through the decoder: what was recorded, and what every stage decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tokenbench.contract.budget import count
from tokenbench.contract.lattice import Grid
from tokenbench.contract.strategy import Attn, Selection, Stage, View
from tokenbench.engine.cache import PrunedLayer
from tokenbench.engine.frame import Frame
from tokenbench.engine.plan import Plan
from tokenbench.engine.prefix import Prefix, Wanted
from tokenbench.engine.prior import Prior
from tokenbench.engine.probe import Attended, Listener, Probe
from tokenbench.engine.segment import Segment, causal_mask, pack, take
from tokenbench.engine.selection import selected, written_over, wrong_numbers
from tokenbench.engine.trace import RowTrace
from tokenbench.engine.twins import Twins
from tokenbench.errors import InfeasibleError, StrategyError, UsageError

__all__ = ["Layout", "Prefill"]


@dataclass(frozen=True)
class Layout:
    """Where the visual tokens of a batch are.

    visual: [B, S] True at the columns of visual tokens, in the order of the lattices' cells.
    grids: from the prompt's position ids ([..., B, S], or None where the model makes none) to the lattices of every row.
    frames: what the encoder saw of every row; called when a stage asks for it.
    again: the prompt ran before, in the same generation. A forward may be longer: what follows the prompt is not looked at.
    """

    visual: Tensor
    grids: Callable[[Tensor | None], Sequence[tuple[Grid, ...]]]
    frames: Callable[[], Sequence[Sequence[Frame]]]
    again: bool = False


class Prefill:
    """State of one prefill. Rows may differ in visual tokens, padding, budget and strategy.

    plans: one a row. valid: [B, S] attention mask. decoder: the stock decoder. attention: name of its attention implementation.
    added: [B, S, C] states that the model adds after its first layers, one a layer (Qwen3-VL's deepstack).
    others: plans that will go on from this prefill. prefix: of an earlier one, from which this one goes on: row b from row
    b modulo the prefix's rows.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        layout: Layout,
        valid: Tensor,
        decoder: Any,
        attention: str,
        added: Sequence[Tensor] = (),
        others: Sequence[Plan] = (),
        prefix: Prefix | None = None,
    ) -> None:
        self.plans = plans
        self.layout = layout
        self.prompt = valid
        self.attention = attention
        self._decoder = decoder
        self.grids: Sequence[tuple[Grid, ...]] = ()
        self._added = added
        self.ordinals = layout.visual.cumsum(1) - 1
        self.caches: list[PrunedLayer] | None = None
        self._stored: list[Segment] = []  # what every layer's cache holds
        self.rope: tuple[Tensor, Tensor] | None = None
        self._changed: dict[str, Any] = {}  # layer arguments that replace the stock ones in this segment
        self._hidden: dict[int, tuple[Tensor, Segment]] = {}
        self._rows: dict[tuple[int, Attn], tuple[Tensor, Segment]] = {}
        self._keys: dict[int, tuple[Tensor, Segment]] = {}
        self._prior: Prior | None = None
        self._prefix: Prefix | None = None
        self.twins: Twins | None = None
        self._encoded: Sequence[Sequence[Frame]] | None = None
        self._generators = [plan.generator() for plan in plans]
        self._memos: list[dict[str, Any]] = [{} for _ in plans]
        visual, lengths = torch.stack([layout.visual.sum(1), valid.sum(1)]).tolist()
        self.segment = Segment.whole(valid, lengths)
        self.rows = [
            RowTrace(visual=n, text=total - n, depth=len(decoder.layers), trim=plan.strategy.trim)
            for n, total, plan in zip(visual, lengths, plans, strict=True)
        ]
        self._stages = [self._planned(b, plan) for b, plan in enumerate(plans)]
        stages = [stage for stages in self._stages for stage in stages]
        self._wanted = Wanted.of(self._planned_of(others)) if others else Wanted()
        self._depths = {depth for stage in stages for depth in (*stage.hidden, *stage.text)} | self._wanted.depths
        self._key_layers = {layer for stage in stages for layer in stage.keys} | self._wanted.keys
        # The first layer to run: the stages before it are nobody's.
        self.start = 0
        if prefix is not None:
            self.start = min((stages[0].layer for stages in self._stages if stages), default=0)
            self._take_up(prefix)
        last = layout.visual.int() * torch.arange(valid.shape[1], device=valid.device)
        self._after = (last.argmax(1) + 1).tolist()  # first column after the visual tokens
        self._alike = list(range(len(plans)))  # of every row, the first that begins like it
        self._refuse_images_at_the_end()

    def _planned(self, b: int, plan: Plan) -> tuple[Stage, ...]:
        """The stages of row b; without visual tokens it has none. Errors say which row it is."""
        try:
            return plan.stages(self.rows[b].visual, self.rows[b].text) if self.rows[b].visual else ()
        except InfeasibleError as error:
            error.row = b
            raise

    def _refuse_images_at_the_end(self) -> None:
        """What is asked may not be dropped, and is what a question-guided choice looks from."""
        for b, (stages, after) in enumerate(zip(self._stages, self._after, strict=True)):
            if (stages or self._wanted.depths) and after == self.prompt.shape[1]:
                error = UsageError(
                    f"the prompt of row {b} ends with a visual token, so that there is nothing to answer from",
                    "put the question, or the marks that open the answer, after the image",
                )
                error.row = b
                raise error

    def _planned_of(self, others: Sequence[Plan]) -> list[list[tuple[Stage, ...]]]:
        """Of every row: the stages of the plans that go on from it."""
        found: list[list[tuple[Stage, ...]]] = []
        for b in range(len(self.rows)):
            found.append([])
            for plan in others:
                with suppress(InfeasibleError):  # said when the plan itself runs
                    if stages := self._planned(b, plan):
                        found[-1].append(stages)
        return found

    def _take_up(self, prefix: Prefix) -> None:
        """Go on from another prefill."""
        self._prefix = prefix
        self._hidden = {depth: (states, self.segment) for depth, states in prefix.hidden.items()}
        self._keys = {layer: (keys, self.segment) for layer, keys in prefix.keys.items()}
        for b in range(len(self.rows)):
            for request in {request for stage in self._stages[b] for request in stage.attention}:
                if (b % prefix.rows, request) in prefix.attention:
                    self._rows[b, request] = (prefix.attention[b % prefix.rows, request], self.segment)

    def skip(self, layer: int) -> Tensor:
        """Instead of decoder layer `layer`, which the prefix has: fill its cache, and return what the next layer reads."""
        prefix = self._prefix
        assert prefix is not None
        each = len(self.rows) // prefix.rows
        if self.caches is not None:
            keys, values = (part.repeat(each, 1, 1, 1) for part in prefix.cache[layer])
            self.caches[layer].update(keys, values)
        if layer + 1 == self.start:
            return prefix.hidden[self.start].repeat(each, 1, 1)
        return prefix.hidden[self.start][:1]  # nobody looks at it

    def prefix(self) -> Prefix:
        """What the others go on from, once the prompt ran."""
        last = max(self._wanted.depths, default=0)
        cache = self.caches[:last] if self.caches is not None else []
        return Prefix(
            rows=len(self.rows),
            hidden={depth: self._hidden[depth][0] for depth in self._wanted.depths},
            keys={layer: self._keys[layer][0] for layer in self._wanted.keys},
            attention={asked: self._rows[asked][0] for asked in self._wanted.attention},
            cache=[
                (layer.keys, layer.values) for layer in cache if layer.keys is not None and layer.values is not None
            ],
        )

    def share(self, same: Sequence[int]) -> None:
        """Let rows that begin alike share that, for as long as their stages do not look at what follows.

        same: of every row, the first that begins like it and has the same plan.
        """
        if all(row.visual for row in self.rows):
            begins = [(self._before(b), stages) for b, stages in enumerate(self._stages)]
            self._alike = [first if begins[first] == begins[b] else b for b, first in enumerate(same)]
        self._pair()

    def _pair(self) -> None:
        """Find the rows of this segment that share something."""
        questions = [self.prompt.shape[1] - after for after in self._after]
        valid = self.segment.valid
        self.twins = Twins.of(self._alike, self.segment.lengths, questions, valid.shape[1], valid.device)

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

    def wanted(self, layer: int) -> Listener | None:
        """The listener for the attention of decoder layer `layer`, or None if nobody asked."""
        requests = self._requests(lambda a: a.layer == layer and not a.peek and a.rows != "prior")
        requests += [(b, request) for b, request in self._wanted.attention if request.layer == layer]
        keys = layer if layer in self._key_layers else None
        return self._listener(requests, keys) if requests or keys is not None else None

    def peeked(self, layer: int) -> Listener | None:
        """The listener for a dry run of layer `layer` before its stage, or None if nobody asked."""
        requests = [(b, request) for b, stage, _ in self._due(layer) for request in stage.attention if request.peek]
        return self._listener(requests, None) if requests else None

    def run_prior(
        self,
        layer: int,
        attention: nn.Module,
        forward: Callable[..., Tensor],
        hidden: Tensor,
        stock: dict[str, Any],
        probe: Probe,
    ) -> None:
        """Run the second forward through decoder layer `layer`, if somebody asked for one."""
        if layer == 0 and (requests := self._requests(lambda a: a.rows == "prior")):
            self._prior = Prior(requests, self.prompt, self._after)
            for b, request in requests:
                row = self.rows[b]
                row.prior_layers = max(row.prior_layers, request.layer + 1)
                row.prior_tokens = self._before(b) + 1
        if self._prior is not None:
            added = self._added[layer] if layer < len(self._added) else None
            self._prior.run(layer, attention, forward, hidden, stock, probe, added)

    def reduce(self, layer: int, hidden: Tensor) -> Tensor:
        """Run the stages before decoder layer `layer`: hidden [B, n, C] -> [B, m, C], and a new segment."""
        candidates = self._candidates()
        chosen = self._chosen(layer, candidates, hidden.shape[-1])
        keep, lengths, merged = self.segment.valid.clone(), list(self.segment.lengths), None
        for b, (view, selection) in chosen.items():
            kept = candidates[b][selection.keep]
            keep[b, candidates[b]] = False
            keep[b, kept] = True
            lengths[b] -= view.n - len(kept)
            self.rows[b].stages.append((layer, view.alive[selection.keep]))
            if selection.values is not None:
                merged = written_over(hidden, self.plans[b].name) if merged is None else merged
                self.rows[b].merged = True
                merged[b, kept] = selection.values.to(hidden.dtype)
        hidden = hidden if merged is None else merged
        if lengths == self.segment.lengths:
            return hidden
        compact = [row.compact for row in self.rows]
        self.segment, packed = self.segment.narrow(keep, lengths, compact, self.prompt)
        self._changed = {}
        self._pair()
        return take(hidden, packed)

    def _chosen(self, layer: int, candidates: Sequence[Tensor], width: int) -> dict[int, tuple[View, Selection]]:
        """What the stages before decoder layer `layer` decide, by row. candidates: where [n] they stand in the segment."""
        chosen: dict[int, tuple[View, Selection]] = {}
        for b, stage, index in self._due(layer):
            first, strategy = self._alike[b], self.plans[b].strategy
            if first != b and stage.blind and not strategy.stochastic:
                chosen[b], self._memos[b] = chosen[first], dict(self._memos[first])
                self.rows[b].encoder_rows = self.rows[first].encoder_rows
                continue
            self._alike[b] = b
            view, row = self._view(b, stage, index, candidates[b]), self.rows[b]
            for frame in view.frames:
                frame.ran = []
            try:
                chosen[b] = view, selected(strategy, self.plans[b].name, view, width)
            except StrategyError as error:
                error.row = b
                raise
            row.peeked += [view.n + row.text] * any(request.peek for request in stage.attention)
            if any(frame.ran for frame in view.frames):
                # A frame that was not run again was not needed at all.
                row.encoder_rows = [(f.layout.rows, f.ran or [0] * len(f.call.encoder.layers)) for f in view.frames]
        self._refuse_wrong_numbers(layer, chosen)
        return chosen

    def _refuse_wrong_numbers(self, layer: int, chosen: dict[int, tuple[View, Selection]]) -> None:
        wrong = wrong_numbers(list(chosen.values()))
        if wrong is not None:
            row = list(chosen)[wrong[0]]
            error = StrategyError(f"strategy {self.plans[row].name}, stage before layer {layer}: {wrong[1]}")
            error.row = row
            raise error

    def add(self, layer: int, hidden: Tensor) -> Tensor:
        """Output [B, n, C] of a layer with what the model adds to the tokens that are left."""
        if layer >= len(self._added):
            return hidden
        return hidden + take(self._added[layer], self.segment.columns)

    def due(self, layer: int) -> bool:
        """Whether some row has a stage before decoder layer `layer`."""
        return any(stage.layer == layer for stages in self._stages for stage in stages)

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
            text = self.prompt.shape[1] - max(self._after)
            self.caches[layer].describe(self.segment, self.prompt.shape[1], text)
            self._stored.append(self.segment)

    def finish(self) -> None:
        """Trim the caches of the rows whose strategy says so; from here on, only the hooks know what the caches hold."""
        trim, last = [plan.strategy.trim for plan in self.plans], self.segment
        if self.caches is None or last.full:
            return
        for cache in self.caches:
            cache.pruned = True
        if not any(trim):
            return
        # Padding repeats columns that were dropped.
        alive = torch.zeros_like(self.prompt).scatter(1, last.columns, last.valid)
        whole = ~torch.tensor(trim, device=alive.device).unsqueeze(1)
        packed: dict[int, tuple[Tensor, Tensor, bool]] = {}
        for cache, segment in zip(self.caches, self._stored, strict=True):
            if segment is last:
                break
            if id(segment) not in packed:
                ends = zip(trim, last.lengths, segment.lengths, strict=True)
                lengths = [end if cut else own for cut, end, own in ends]
                keep = segment.valid & (alive.gather(1, segment.columns) | whole)
                packed[id(segment)] = *pack(keep, max(lengths)), min(lengths) < max(lengths)
            cache.trim(*packed[id(segment)])

    def _due(self, layer: int) -> list[tuple[int, Stage, int]]:
        """(row, stage, its number) of the stages before this layer."""
        return [
            (b, stage, index)
            for b, stages in enumerate(self._stages)
            for index, stage in enumerate(stages)
            if stage.layer == layer
        ]

    def _requests(self, wanted: Callable[[Attn], bool]) -> list[tuple[int, Attn]]:
        """(row, request), each once."""
        return list(
            dict.fromkeys(
                (b, request)
                for b, stages in enumerate(self._stages)
                for stage in stages
                for request in stage.attention
                if wanted(request)
            )
        )

    def _listener(self, requests: Sequence[tuple[int, Attn]], keys: int | None) -> Listener:
        """Keeps what was asked for; keys: the layer, if its keys are wanted."""
        segment = self.segment

        def listen(attended: Attended) -> None:
            for b, request in requests:
                queries = segment.find(b, self._queries(b, request.rows))
                self._rows[b, request] = (attended.rows(b, queries, segment.valid[b]), segment)
            if keys is not None:
                self._keys[keys] = (attended.key.transpose(1, 2).flatten(2), segment)

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

    def _candidates(self) -> list[Tensor]:
        """Of every row, where [n] its visual tokens stand in the segment."""
        segment = self.segment
        visual = segment.valid & self.layout.visual.gather(1, segment.columns)
        order = visual.byte().argsort(dim=1, descending=True, stable=True)
        counts = [length - row.text for length, row in zip(segment.lengths, self.rows, strict=True)]
        return [own[:count] for own, count in zip(order, counts, strict=True)]

    def _before(self, b: int) -> int:
        """Tokens of row b up to its last visual one."""
        question: int = self.prompt.shape[1] - self._after[b]
        return self.rows[b].visual + self.rows[b].text - question

    def _view(self, b: int, stage: Stage, index: int, at: Tensor) -> View:
        """What row b's stage sees; its candidates stand at [n] in the segment."""
        candidates = self.segment.columns[b][at]
        question = torch.arange(self._after[b], self.prompt.shape[1], device=at.device)
        n0, alive = self.rows[b].visual, self.ordinals[b][candidates]
        frames = self._frames(b) if stage.signals or stage.pixels or stage.rerun is not None else ()
        return View(
            n0=n0,
            alive=alive,
            grids=self.grids[b],
            stage=stage,
            index=index,
            k=len(at) if stage.keep is None else count(stage.keep, n0, len(at)),
            hidden={depth: self._states(self._hidden[depth], b, candidates) for depth in stage.hidden},
            text={depth: self._states(self._hidden[depth], b, question) for depth in stage.text},
            keys={layer: self._states(self._keys[layer], b, candidates) for layer in stage.keys},
            text_keys={layer: self._states(self._keys[layer], b, question) for layer in stage.keys},
            attention={request: self._attention(b, request, candidates) for request in stage.attention},
            signals={asked: torch.cat([f.signal(asked) for f in frames])[alive] for asked in stage.signals},
            frames=frames,
            norm=self._decoder.norm,
            generator=self._generators[b],
            memo=self._memos[b],
        )

    def _frames(self, b: int) -> Sequence[Frame]:
        """What the encoder saw of row b."""
        if self._encoded is None:
            self._encoded = self.layout.frames()
        return self._encoded[b]

    def _states(self, recorded: tuple[Tensor, Segment], b: int, columns: Tensor) -> Tensor:
        states, segment = recorded
        return states[b % len(states)][segment.find(b, columns).to(states.device)]

    def _attention(self, b: int, request: Attn, columns: Tensor) -> Tensor:
        if request.rows == "prior":
            assert self._prior is not None
            return self._prior.rows[b, request][..., columns]
        rows, segment = self._rows[b, request]
        return rows[..., segment.find(b, columns).to(rows.device)]
