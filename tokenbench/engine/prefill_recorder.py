"""Records the decoder while a prompt runs: hidden states, keys and attention that stages asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from tokenbench.contract.stage import Attn, Stage
from tokenbench.engine.attention_tap import Attended, Listener
from tokenbench.engine.checkpoint import LayerCheckpoint
from tokenbench.engine.layout import PromptColumns
from tokenbench.engine.segment import Segment
from tokenbench.engine.timer import Timer

__all__ = ["PrefillRecorder", "PrefillRequests"]


@dataclass(frozen=True)
class PrefillRequests:
    """What is to be recorded while the decoder runs a prompt."""

    depths: frozenset[int] = frozenset()
    """Depths of hidden states (depth l = input of decoder layer l)."""
    keys: frozenset[int] = frozenset()
    """Layers whose keys are kept."""
    attention: tuple[tuple[int, Attn], ...] = ()
    """(row, request), each once."""

    @classmethod
    def of(cls, rows: Iterable[Sequence[Stage]]) -> PrefillRequests:
        """What the stages of every row read."""
        rows = list(rows)
        stages = [stage for own in rows for stage in own]
        return cls(
            frozenset(depth for stage in stages for depth in (*stage.hidden, *stage.text)),
            frozenset(layer for stage in stages for layer in stage.keys),
            tuple(
                dict.fromkeys(
                    (b, a) for b, own in enumerate(rows) for stage in own for a in stage.attention if a.in_prefill
                )
            ),
        )

    @classmethod
    def for_checkpoint(cls, rows: Iterable[Sequence[Sequence[Stage]]]) -> PrefillRequests:
        """What schedules that go on from a checkpoint, by row, read of the layers before their first stages."""
        depths: set[int] = set()
        keys: set[int] = set()
        attention: dict[tuple[int, Attn], None] = {}
        for b, schedules in enumerate(rows):
            for stages in schedules:
                first = stages[0].layer
                depths.add(first)
                for stage in stages:
                    depths.update(depth for depth in (*stage.hidden, *stage.text) if depth <= first)
                    keys.update(layer for layer in stage.keys if layer < first)
                    known = (a for a in stage.attention if a.in_prefill and a.layer < first)
                    attention.update(dict.fromkeys((b, request) for request in known))
        return cls(frozenset(depths), frozenset(keys), tuple(attention))

    def __or__(self, other: PrefillRequests) -> PrefillRequests:
        attention = tuple(dict.fromkeys((*self.attention, *other.attention)))
        return PrefillRequests(self.depths | other.depths, self.keys | other.keys, attention)


class PrefillRecorder:
    """Keeps what was asked for, each with the segment it was computed on.

    Args:
        requests: What is to be recorded.
        prompt: The batch that runs.
        timer: Entered wherever attention weights are computed.
    """

    def __init__(self, requests: PrefillRequests, prompt: PromptColumns, timer: Timer) -> None:
        self._requests, self._prompt, self._timer = requests, prompt, timer
        self._hidden: dict[int, tuple[Tensor, Segment]] = {}
        self._keys: dict[int, tuple[Tensor, Segment]] = {}
        self._attention: dict[tuple[int, Attn], tuple[Tensor, Segment]] = {}

    def record_hidden(self, depth: int, hidden: Tensor, segment: Segment) -> None:
        """Keep the hidden states [B, n, C] of this depth if a stage will read them."""
        if depth in self._requests.depths:
            self._hidden[depth] = (hidden, segment)

    def record_attention(self, b: int, request: Attn, weights: Tensor, segment: Segment) -> None:
        """Keep the attention weights [heads, queries, n] that row b asked for."""
        self._attention[b, request] = (weights, segment)

    def listener(self, layer: int, segment: Segment) -> Listener | None:
        """What listens to the attention of decoder layer `layer` on the tokens of `segment`; None if nobody asked."""
        requests = [(b, request) for b, request in self._requests.attention if request.layer == layer]
        record_keys = layer in self._requests.keys
        if not requests and not record_keys:
            return None
        record = self.attention_listener(requests, segment)

        def listen(attended: Attended) -> None:
            record(attended)
            if record_keys:
                self._keys[layer] = (attended.key.transpose(1, 2).flatten(2), segment)

        return listen

    def attention_listener(self, requests: Sequence[tuple[int, Attn]], segment: Segment) -> Listener:
        """What keeps the attention weights of these (row, request) on the tokens of `segment`."""

        def listen(attended: Attended) -> None:
            for b, request in requests:
                queries = segment.find(b, self._prompt.queries(b, request.queries))
                with self._timer():
                    weights = attended.weights(b, queries, segment.valid[b])
                self.record_attention(b, request, weights, segment)

        return listen

    def hidden(self, b: int, depth: int, columns: Tensor) -> Tensor:
        """[m, C] hidden states of row b at the prompt's columns [m]."""
        return _take_columns(*self._hidden[depth], b, columns)

    def keys(self, b: int, layer: int, columns: Tensor) -> Tensor:
        """[m, D] keys of row b at the prompt's columns [m]."""
        return _take_columns(*self._keys[layer], b, columns)

    def attention(self, b: int, request: Attn, columns: Tensor) -> Tensor:
        """[heads, queries, m] attention weights of row b to the prompt's columns [m]."""
        weights, segment = self._attention[b, request]
        return weights[..., segment.find(b, columns).to(weights.device)]

    def load(self, checkpoint: LayerCheckpoint, whole: Segment) -> None:
        """Take over what another prefill recorded on the whole prompt."""
        self._hidden = {depth: (states, whole) for depth, states in checkpoint.hidden.items()}
        self._keys = {layer: (keys, whole) for layer, keys in checkpoint.keys.items()}
        for b, request in self._requests.attention:
            row = b % checkpoint.rows
            if (row, request) in checkpoint.attention:
                self._attention[b, request] = (checkpoint.attention[row, request], whole)

    def save(self, requests: PrefillRequests, cache: list[tuple[Tensor, Tensor]]) -> LayerCheckpoint:
        """The checkpoint that other prefills go on from.

        Args:
            requests: What they will read.
            cache: Keys and values of the layers that they will not run.
        """
        return LayerCheckpoint(
            rows=len(self._prompt),
            hidden={depth: self._hidden[depth][0] for depth in requests.depths},
            keys={layer: self._keys[layer][0] for layer in requests.keys},
            attention={asked: self._attention[asked][0] for asked in requests.attention},
            cache=cache,
        )


def _take_columns(states: Tensor, segment: Segment, b: int, columns: Tensor) -> Tensor:
    # A checkpoint has fewer rows than go on from it.
    return states[b % len(states)][segment.find(b, columns).to(states.device)]
