"""Listens to the vision encoder while it runs: what strategies asked for is kept, frame by frame."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from tokenbench.contract.backbone import Encoder, FrameLayout, runs
from tokenbench.contract.strategy import Stage
from tokenbench.engine.frame import Call, Frame, windows
from tokenbench.engine.probe import Attended, Probe
from tokenbench.engine.state import before
from tokenbench.errors import UsageError

__all__ = ["Watch", "Wish", "dealt"]


@dataclass(frozen=True)
class Wish:
    """What the strategies of a run want to know of the encoder.

    attention: layers (negative ones count from the last) whose queries and keys are kept. reruns: shares of the layers after
    which the rest may run again. anything: whether frames are wanted at all.
    """

    attention: frozenset[int] = frozenset()
    reruns: frozenset[float] = frozenset()
    anything: bool = False

    @classmethod
    def of(cls, stages: Iterable[Stage]) -> Wish:
        """All that these stages ask for."""
        wanted = list(stages)
        return cls(
            frozenset(s.layer for stage in wanted for s in stage.signals if s.kind != "features"),
            frozenset(stage.rerun for stage in wanted if stage.rerun is not None),
            any(stage.signals or stage.pixels or stage.rerun is not None for stage in wanted),
        )


class _Now(threading.local):
    """What this thread's encoder does: the run at the moment, with its layouts and what was heard, and the runs before."""

    def __init__(self) -> None:
        self.calls: list[list[Frame]] = []
        self.call: Call | None = None
        self.layouts: list[FrameLayout] = []
        self.heard: dict[int, list[Attended]] = {}

    def __reduce__(self) -> tuple[type[_Now], tuple[()]]:  # models are copied with their hooks
        return _Now, ()


class Watch:
    """Records every run of the encoders inside the context.

    Every thread's own are kept apart.
    """

    def __init__(self, encoders: Sequence[Encoder], wish: Wish) -> None:
        self._encoders, self._wish = encoders, wish
        self._now = _Now()
        self._undo = ExitStack()

    @property
    def calls(self) -> list[list[Frame]]:
        """The frames of every run in this thread since they were last taken away."""
        return self._now.calls

    def __enter__(self) -> Watch:
        if not self._wish.anything:
            return self
        with ExitStack() as undo:
            for encoder in self._encoders:
                self._listen(encoder, undo)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def rows(self, ids: Tensor, visual: Tensor, image: int) -> list[list[Frame]]:
        """The frames of every row of a prompt [B, S], in its order; takes the last calls away. visual: [B, S] where its visual
        tokens are. image: the id of an image's; all images are encoded in one call, then all clips."""
        ids, visual = ids.cpu(), visual.cpu()
        kinds = sorted(set(ids[visual].tolist()), key=lambda token: token != image)
        calls, self._now.calls = self._now.calls[-len(kinds) :], []
        if len(calls) < len(kinds):
            raise UsageError(
                "the strategy looks into the vision encoder, which did not run inside the context for this prompt",
                "pass the pixels, not what the encoder made of them",
            )
        each = int(visual.sum()) // sum(frame.tokens for call in calls for frame in call)  # beams repeat rows
        stretches = [
            [(int(row[at]), n) for at, n in runs(row, mask)]
            for row, mask in zip(ids[::each], visual[::each], strict=True)
        ]
        hands = {
            kind: iter(dealt(call, [n for row in stretches for token, n in row if token == kind]))
            for kind, call in zip(kinds, calls, strict=True)
        }
        found = [[frame for token, _ in row for frame in next(hands[token])] for row in stretches]
        return [row for row in found for _ in range(each)]

    def _listen(self, encoder: Encoder, undo: ExitStack) -> None:
        count = len(encoder.layers)
        asked = {range(count)[layer] for layer in self._wish.attention}
        starts = {encoder.after(share) for share in self._wish.reruns}
        probe = undo.enter_context(Probe(encoder.tower, encoder.attentions))
        undo.callback(before(encoder.tower, partial(self._begin, encoder, probe, asked)))
        undo.callback(encoder.tower.register_forward_hook(partial(self._finish, encoder, probe, asked)).remove)
        for i, layer in enumerate(encoder.layers):
            if i in asked or (starts and i >= min(starts)):
                undo.callback(before(layer, partial(self._before, i, i in starts)))
        undo.callback(encoder.layers[encoder.depth - 1].register_forward_hook(self._output).remove)

    def _begin(
        self, encoder: Encoder, probe: Probe, asked: set[int], tower: nn.Module, args: Any, kwargs: dict[str, Any]
    ) -> None:
        now = self._now
        now.call, now.layouts = Call(encoder, {}, {}, {}), encoder.layouts(*args, **kwargs)
        now.heard = {layer: [] for layer in asked}
        for layer, heard in now.heard.items():
            probe.listen(encoder.attentions[layer], heard.append)

    def _before(
        self, i: int, remember: bool, layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]
    ) -> None:
        call = self._now.call
        if call is None:
            return
        arguments = dict(kwargs)
        states = args[0] if args else arguments.pop("hidden_states")
        call.arguments[i] = args[1:], arguments
        if remember:
            call.states[i] = _rows(states)

    def _output(self, layer: nn.Module, args: Any, output: Tensor) -> None:
        if self._now.call is not None:
            self._now.call.output = _rows(output)

    def _finish(
        self, encoder: Encoder, probe: Probe, asked: set[int], tower: nn.Module, args: Any, output: Any
    ) -> None:
        now, start, frames = self._now, 0, []
        call, now.call = now.call, None
        if call is None:  # another thread entered the context while this one encoded
            return
        for layer in asked:
            probe.listen(encoder.attentions[layer], None)
            call.windows[layer] = windows(now.heard[layer], call.arguments[layer][1].get("cu_seqlens"))
        for layout in now.layouts:
            frames.append(Frame(call, start, layout))
            start += layout.rows
        now.calls.append(frames)


def dealt(frames: Iterable[Frame], counts: Iterable[int]) -> list[list[Frame]]:
    """Frames in order, handed out to images, clips or rows of so many visual tokens each."""
    left = iter(frames)
    hands: list[list[Frame]] = []
    for count in counts:
        hand: list[Frame] = []
        while sum(frame.tokens for frame in hand) < count:
            hand.append(next(left))
        hands.append(hand)
    return hands


def _rows(states: Tensor) -> Tensor:
    """[R, C], whether the encoder batches its frames or packs them."""
    return states.flatten(0, 1) if states.ndim == 3 else states
