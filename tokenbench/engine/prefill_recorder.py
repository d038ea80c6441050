"""Records the decoder while a prompt runs: hidden states, keys and attention that stages asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from tokenbench.contract.stage import Attn, Stage
from tokenbench.engine.attention_tap import Attended, Listener
from tokenbench.engine.checkpoint import LayerCheckpoint
from tokenbench.engine.group import Recorded
from tokenbench.engine.layout import PromptColumns
from tokenbench.engine.segment import Segment, by_token
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
        self._all = range(len(prompt))
        self._hidden: dict[int, Recorded] = {}
        self._keys: dict[int, Recorded] = {}
        self._attention: dict[Attn, Recorded] = {}

    def record_hidden(self, depth: int, hidden: Tensor, segment: Segment) -> None:
        """Keep the hidden states [B, n, C] of this depth if a stage will read them."""
        if depth in self._requests.depths:
            self._hidden[depth] = Recorded(hidden, self._all, segment)

    def record_attention(self, request: Attn, rows: Sequence[int], weights: Tensor, segment: Segment) -> None:
        """Keep the attention weights [G, heads, queries, n] that rows asked for."""
        self._attention[request] = Recorded(weights, rows, segment)

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
                self._keys[layer] = Recorded(by_token(attended.key), self._all, segment)

        return listen

    def attention_listener(self, requests: Sequence[tuple[int, Attn]], segment: Segment) -> Listener:
        """What keeps the attention weights of these (row, request) on the tokens of `segment`."""
        asking: dict[Attn, list[int]] = {}
        for b, request in requests:
            asking.setdefault(request, []).append(b)

        def listen(attended: Attended) -> None:
            for request, rows in asking.items():
                numbers = self._prompt.numbers(rows, len(self._prompt))
                queries = self._queries(request, rows, numbers, segment.valid.shape[1])
                with self._timer():
                    valid = segment.valid if segment.padded else None
                    if valid is not None and numbers is not None:
                        valid = valid.index_select(0, numbers)
                    weights = attended.rows(numbers).weights(queries, valid)
                self.record_attention(request, rows, weights, segment)

        return listen

    def _queries(self, request: Attn, rows: Sequence[int], numbers: Tensor | None, width: int) -> slice | Tensor:
        """Where the queries of rows stand among `width` tokens, which end with the question.

        Questions of unlike lengths have the queries of the longest; those that a shorter one has too many come first.
        """
        questions = [self._prompt.questions[b] for b in rows]
        longest = max(questions)
        if request.queries == "null" and min(questions) < longest:
            ends = self._prompt.end if numbers is None else self._prompt.end.index_select(0, numbers)
            return (ends + (width - self._prompt.width)).unsqueeze(1)
        begin, end = {
            "last": (1, 0),
            "null": (longest, longest - 1),
            "question": (longest, 0),
            "question[:-1]": (longest, 1),
        }[request.queries]
        return slice(width - begin, width - end)

    def hidden(self, depth: int) -> Recorded:
        """Hidden states [B, n, C] of this depth."""
        return self._hidden[depth]

    def keys(self, layer: int) -> Recorded:
        """Keys [B, n, D] of this layer."""
        return self._keys[layer]

    def attention(self, request: Attn) -> Recorded:
        """Attention weights [A, heads, queries, n] of the rows that asked for it."""
        return self._attention[request]

    def load(self, checkpoint: LayerCheckpoint, whole: Segment) -> None:
        """Take over what another prefill recorded on the whole prompt."""
        rows, repeats = range(checkpoint.rows), checkpoint.rows
        self._hidden = {depth: Recorded(states, rows, whole, repeats) for depth, states in checkpoint.hidden.items()}
        self._keys = {layer: Recorded(keys, rows, whole, repeats) for layer, keys in checkpoint.keys.items()}
        self._attention = {
            request: Recorded(weights, own, whole, repeats) for request, (own, weights) in checkpoint.attention.items()
        }

    def save(self, requests: PrefillRequests, cache: list[tuple[Tensor, Tensor]]) -> LayerCheckpoint:
        """The checkpoint that other prefills go on from.

        Args:
            requests: What they will read.
            cache: Keys and values of the layers that they will not run.
        """
        asked = dict.fromkeys(request for _, request in requests.attention)
        attention = {request: self._attention[request] for request in asked}
        return LayerCheckpoint(
            rows=len(self._prompt),
            hidden={depth: self._hidden[depth].values for depth in requests.depths},
            keys={layer: self._keys[layer].values for layer in requests.keys},
            attention={request: (own.rows, own.values) for request, own in attention.items()},
            cache=cache,
        )
