"""One batch of prompts on its way through the decoder: every layer runs on the tokens that are left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from tokenbench.contract.stage import Stage
from tokenbench.engine.arguments import SegmentArguments
from tokenbench.engine.attention_tap import AttentionTap, Listener
from tokenbench.engine.cache import cache_name
from tokenbench.engine.checkpoint import LayerCheckpoint
from tokenbench.engine.chooser import Chooser
from tokenbench.engine.layer_parts import last_token, read_keys, run_to_attention
from tokenbench.engine.layers import last_stage
from tokenbench.engine.layout import Layout, PromptColumns
from tokenbench.engine.no_question_pass import NoQuestionPass
from tokenbench.engine.plan import RowPlan
from tokenbench.engine.prefill_cache import PrefillCache
from tokenbench.engine.prefill_recorder import PrefillRecorder, PrefillRequests
from tokenbench.engine.replay import Unseen
from tokenbench.engine.schedule import Schedule
from tokenbench.engine.segment import Segment, take
from tokenbench.engine.selection import copy_for_merge
from tokenbench.engine.shared_prefix import SharedPrefix
from tokenbench.engine.timer import Timer
from tokenbench.engine.trace import RowTrace
from tokenbench.engine.view_builder import ViewBuilder
from tokenbench.errors import UsageError

__all__ = ["Prefill", "Sharing"]


@dataclass(frozen=True)
class Sharing:
    """What a prefill has in common with other prefills, and its rows with each other."""

    first_alike: Sequence[int] = ()
    """For each row, the first row with the same plan that shows the same images after the same words. Empty: nothing
    is shared."""
    checkpoint: LayerCheckpoint | None = None
    """The layers before the first stage of any row."""
    checkpoint_for: Sequence[RowPlan] = ()
    """Plans that will go on from this prefill."""
    next_token_only: bool = False
    """Whether nobody reads more of the prompt's output than its last token."""
    remember: bool = False
    """Whether the traces remember merged states, so that later questions can be asked of them."""


class Prefill:
    """State of one prefill. Rows may differ in visual tokens, padding, budget and strategy.

    Args:
        plans: One for every row.
        layout: Where the visual tokens are.
        valid: [B, S] attention mask.
        decoder: The stock decoder.
        tap: What listens to its attention.
        added: [B, S, C] states that the model adds after its first layers, one for each layer (Qwen3-VL's deepstack).
        sharing: What need not be computed again.
        timer: Entered wherever the engine works for selection alone.

    Raises:
        InfeasibleError: If a plan has no stages for its row.
        UsageError: If a prompt ends with padding, or one that is to be pruned with a visual token.
    """

    def __init__(
        self,
        plans: Sequence[RowPlan],
        layout: Layout,
        valid: Tensor,
        decoder: Any,
        tap: AttentionTap,
        added: Sequence[Tensor],
        sharing: Sharing,
        timer: Timer,
    ) -> None:
        self._plans, self._layout, self._tap, self._added, self._timer = plans, layout, tap, added, timer
        self._prompt = prompt = PromptColumns(layout.visual, valid)
        self._depth = len(decoder.layers)
        self.segment = Segment.whole(valid, prompt.lengths)
        self.traces = [
            RowTrace(visual=n, text=prompt.text_count(b), depth=self._depth, trim=plans[b].trim)
            for b, n in enumerate(prompt.visual_counts)
        ]
        self._attends = [getattr(layer, "self_attn", None) for layer in decoder.layers]
        attends = [attention is not None for attention in self._attends]
        self._schedule = Schedule(plans, prompt, attends, last_stage(decoder))
        self._saved = PrefillRequests.for_checkpoint(self._schedule.alternatives(sharing.checkpoint_for))
        self._recorder = PrefillRecorder(PrefillRequests.of(self._schedule.rows) | self._saved, prompt, timer)
        self._views = ViewBuilder(plans, layout, prompt, self._recorder, decoder)
        self._chooser = Chooser(plans, prompt, self._views, self.traces)
        self._no_question = self._plan_no_question_pass()
        self._unseen = Unseen.of(plans, prompt, tap.attention)
        self._remember = sharing.remember
        self._cache: PrefillCache
        self._arguments: SegmentArguments  # of the layers that run on this segment
        self._listener: Listener | None = None
        self._checkpoint = sharing.checkpoint
        self._start = 0  # the first layer that runs; no stage comes before it
        if self._checkpoint is not None:
            self._start = self._schedule.first_layer
            self._recorder.load(self._checkpoint, self.segment)
        self._ends = sharing.next_token_only and "flash" not in tap.attention
        self._shared: SharedPrefix | None = None
        # Flash attention takes no mask with holes.
        self._shares = bool(sharing.first_alike) and "flash" not in tap.attention and all(prompt.visual_counts)
        if self._shares:
            self._share_prefixes(sharing.first_alike)
        self._refuse_images_at_the_end()

    def place(self, positions: Tensor | None, embeddings: Tensor | None) -> None:
        """Learn the prompt's position ids [B or 1, S], or [parts, B, S], and its embeddings [B, S, C]."""
        self._views.grids = self._layout.grids(positions, embeddings)
        self._views.positions = positions
        if positions is not None and positions.shape[-2] == 1 and self.segment.padded:
            self._shares, self._shared = False, None  # padding counts, so that prefixes stand at unlike positions
        # Positions of several parts (M-RoPE) are places in the image: there is no gap in them to close.
        flat = positions is None or positions.ndim == 2
        for trace, grids, plan in zip(self.traces, self._views.grids, self._plans, strict=True):
            trace.grids = grids
            trace.compact = flat and plan.strategy.positions == "compact"

    def before_layer(
        self, i: int, layer: Any, forward: Callable[..., Tensor], hidden: Tensor, arguments: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """Record what was asked for, run the stages before decoder layer i, and prepare the layer for what they keep.

        Args:
            i: The layer's number.
            layer: The stock layer.
            forward: Its stock forward.
            hidden: [B, n, C] its input.
            arguments: Its stock keyword arguments.

        Returns:
            Its input [B, m, C] and its keyword arguments.
        """
        if i == 0:
            cache: Cache | None = arguments.get(cache_name(arguments))
            self._cache = PrefillCache(cache, self._depth, self._prompt)
            self._arguments = self._make_arguments()
            if not self._views.grids:  # a decoder without rotary embeddings
                self.place(arguments.get("position_ids"), hidden)
        attention = self._attends[i]
        if self._no_question is not None and i < self._no_question.layers:
            added = self._added[i] if i < len(self._added) else None
            with self._timer(), torch.no_grad():
                self._no_question.run(i, attention, forward, hidden, arguments, self._tap, added)
        if i < self._start:
            self._cache.describe(i, self.segment)
            return hidden, arguments
        self._recorder.record_hidden(i, hidden, self.segment)
        if due := self._schedule.at(i):
            self._repeat_attention(i, due, forward, hidden, arguments)
            with self._timer():
                hidden = self._run_stages(due, hidden)
        self._cache.describe(i, self.segment)
        self._listener = self._recorder.listener(i, self.segment)
        if attention is not None:
            self._tap.listen(attention, self._listener)
        return hidden, self._change_arguments(i, arguments, hidden.dtype)

    def run_layer(
        self, i: int, layer: Any, forward: Callable[..., Tensor], hidden: Tensor, arguments: dict[str, Any]
    ) -> Tensor:
        """Run decoder layer i, as far as nobody has. Takes the arguments of `before_layer`, returns [B, n, C]."""
        if i < self._start:
            assert self._checkpoint is not None
            return self._checkpoint.skip_layer(i, self._start, len(self._prompt), self._cache.layer(i))
        attention, cache = self._attends[i], self._cache.layer(i)
        if attention is None:
            return forward(hidden, **arguments)
        ends = self._is_last(i, arguments)
        if self._shared is not None:
            unseen = None if self._unseen is None else self._unseen.keys(self.segment)
            if ends and cache is not None:
                return self._shared.run_last(forward, attention, hidden, arguments, self._tap, cache, unseen)
            return self._shared.run(forward, attention, hidden, arguments, self._tap, self._listener, cache, unseen)
        if ends and cache is not None:
            keys = cache.update(*read_keys(forward, attention, hidden, arguments, self._tap))
            return forward(hidden[:, -1:], **last_token(arguments, keys))
        return forward(hidden, **arguments)

    def after_layer(self, i: int, hidden: Tensor) -> Tensor:
        """Output [B, n, C] of decoder layer i, with what the model adds to the tokens that are left, or to the last n."""
        if i < self._start or i >= len(self._added):
            return hidden
        columns = self.segment.columns
        return hidden + take(self._added[i], columns[:, columns.shape[1] - hidden.shape[1] :])

    def finish(self) -> LayerCheckpoint | None:
        """Close the KV cache, and return what the plans of `checkpoint_for` go on from, if there are any."""
        self._chooser.doubts.settle()
        self._cache.finish(self.segment, [plan.trim for plan in self._plans])
        if not self._saved.depths:
            return None
        return self._recorder.save(self._saved, self._cache.keys_and_values(max(self._saved.depths)))

    def _is_last(self, i: int, arguments: dict[str, Any]) -> bool:
        """Whether nobody reads what decoder layer i makes of any token but the last. No stage reads its attention."""
        known = {"attention_mask", "position_embeddings", "position_ids", "use_cache", cache_name(arguments)}
        others = {name for name, value in arguments.items() if value is not None} - known
        rope = isinstance(arguments.get("position_embeddings"), tuple)
        return self._ends and i == self._depth - 1 and rope and not others

    def _run_stages(self, due: Sequence[tuple[int, Stage, int]], hidden: Tensor) -> Tensor:
        """Hidden states [B, n, C] -> [B, m, C] of the tokens that the stages keep, and a new segment."""
        keep = self.segment.valid.clone(memory_format=torch.contiguous_format)
        lengths, merged, rank = list(self.segment.lengths), None, None
        flat = keep.view(-1)
        for choice in self._chooser.choose(due, self.segment, hidden.shape[-1]):
            group, values = choice.group, choice.values
            kept = choice.take(group.places)
            flat.index_fill_(0, group.places.flatten(), False).index_fill_(0, kept, True)
            ordinals = torch.split(choice.take(choice.alive), choice.counts)
            own_values = [None] * len(ordinals) if values is None else torch.split(values, choice.counts)
            for b, own, merged_ones in zip(group.rows, ordinals, own_values, strict=True):
                lengths[b] -= group.at.shape[1] - len(own)
                self.traces[b].stages.append((choice.stage.layer, own))
                self.traces[b].ways.append(choice.way)
                if self._remember:
                    self.traces[b].values.append(None if merged_ones is None else merged_ones.cpu())
                self.traces[b].merged |= values is not None
            if not choice.ascending:  # the strategy's order is that of the sequence
                rank = torch.arange(keep.shape[1], device=keep.device).repeat(len(keep), 1) if rank is None else rank
                rank.view(-1).index_copy_(0, kept, choice.take(group.places, ascending=True) % keep.shape[1])
            if values is not None:
                merged = copy_for_merge(hidden, self._plans[group.rows[0]].name) if merged is None else merged
                merged.flatten(0, 1).index_copy_(0, kept.to(hidden.device), values.to(hidden))
        hidden = hidden if merged is None else merged
        if lengths == self.segment.lengths:
            return hidden
        compact = [trace.compact for trace in self.traces]
        self.segment, index = self.segment.narrow(keep, lengths, compact, self._prompt.valid, rank)
        self._arguments = self._make_arguments()
        self._shared = self._find_shared_prefix() if self._shares else None
        return take(hidden, index)

    def _repeat_attention(
        self,
        i: int,
        due: Sequence[tuple[int, Stage, int]],
        forward: Callable[..., Tensor],
        hidden: Tensor,
        arguments: dict[str, Any],
    ) -> None:
        """Run layer i on the candidates of its stages up to its attention, for what they ask of that alone."""
        requests = [(b, request) for b, stage, _ in due for request in stage.attention if request.repeats_attention]
        attention = self._attends[i]
        if not requests or attention is None:
            return
        record = self._recorder.attention_listener(requests, self.segment)
        changed = {**self._change_arguments(i, arguments, hidden.dtype), cache_name(arguments): None}
        with self._timer(), torch.no_grad():
            run_to_attention(forward, attention, hidden, changed, self._tap, record)

    def _make_arguments(self) -> SegmentArguments:
        return SegmentArguments(self.segment, self._prompt.width, self._tap.attention, self._unseen)

    def _change_arguments(self, i: int, stock: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
        """The keyword arguments of decoder layer i: the stock ones, cut down to this segment."""
        if self.segment.full and self._unseen is None:
            return stock
        return self._arguments.cut(stock, dtype, self._attends[i] is not None)

    def _plan_no_question_pass(self) -> NoQuestionPass | None:
        requests = self._schedule.attention(lambda request: request.extra_layers > 0)
        return NoQuestionPass(requests, self._prompt, self.segment, self._recorder) if requests else None

    def _share_prefixes(self, first_alike: Sequence[int]) -> None:
        """Let rows that begin alike share that, for as long as their stages do not look at what follows."""
        prompt, stages = self._prompt, self._schedule.rows
        begin = [(prompt.prefix_length(b), stages[b]) for b in range(len(prompt))]
        alike = [first if begin[first] == begin[b] else b for b, first in enumerate(first_alike)]
        self._chooser.first_alike = alike
        self._shared = self._find_shared_prefix()

    def _find_shared_prefix(self) -> SharedPrefix | None:
        """What the rows of this segment share."""
        valid, lengths = self.segment.valid, self.segment.lengths
        return SharedPrefix.of(self._chooser.first_alike, lengths, self._prompt.questions, valid.shape[1], valid.device)

    def _refuse_images_at_the_end(self) -> None:
        """The tokens of the question may not be dropped, and a question-guided choice needs them."""
        for b, (stages, questions) in enumerate(zip(self._schedule.rows, self._prompt.questions, strict=True)):
            if (stages or self._saved.depths) and questions == 0:
                error = UsageError(
                    f"the prompt of row {b} ends with a visual token, so that no text token is left to answer from",
                    "put the question, or the tokens that start the answer, after the image",
                )
                error.row = b
                raise error
