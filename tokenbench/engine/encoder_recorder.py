"""Records the vision encoder while it runs: what strategies asked for is kept, frame by frame."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial, wraps
from inspect import signature
from itertools import groupby
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from tokenbench.contract.backbone import Encoder, FrameLayout
from tokenbench.contract.stage import Signal, Stage
from tokenbench.engine.attention_tap import Attended, AttentionTap
from tokenbench.engine.encoder_run import EncoderRun, sort_windows
from tokenbench.engine.frame import Frame
from tokenbench.engine.state import call_before, replace_method
from tokenbench.errors import UsageError

__all__ = ["EncoderRecorder", "EncoderRequests", "split_frames"]


@dataclass(frozen=True)
class EncoderRequests:
    """What the strategies of a run ask of the vision encoder."""

    attention: frozenset[int | float] = frozenset()
    """Layers, as `Signal.layer` names them, whose queries and keys are kept."""
    reruns: frozenset[float] = frozenset()
    """Shares of the layers after which the rest may run again."""
    frames: bool = False
    """Whether frames are needed at all."""

    @classmethod
    def of(cls, stages: Iterable[Stage]) -> EncoderRequests:
        """All that these stages ask for."""
        stages = list(stages)
        return cls(
            frozenset(s.layer for stage in stages for s in stage.signals if s.kind != "features"),
            frozenset(stage.rerun for stage in stages if stage.rerun is not None),
            any(stage.reads_encoder for stage in stages),
        )


class _ThreadState(threading.local):
    """The run of the encoder in this thread, with its layouts, what was heard and whose call it is; the frames of earlier runs."""

    def __init__(self) -> None:
        self.runs: list[list[Frame]] = []
        self.run: EncoderRun | None = None
        self.layouts: list[FrameLayout] = []
        self.heard: dict[int, list[Attended]] = {}
        self.call: dict[str, Any] = {}

    def __reduce__(self) -> tuple[type[_ThreadState], tuple[()]]:  # models are copied with their hooks
        return _ThreadState, ()


class EncoderRecorder:
    """Records every run of the encoders inside the context, apart for every thread.

    Args:
        encoders: The model's vision encoders.
        requests: What is to be recorded of them.
    """

    def __init__(self, encoders: Sequence[Encoder], requests: EncoderRequests) -> None:
        self._encoders, self._requests = encoders, requests
        self._thread = _ThreadState()
        self._undo = ExitStack()

    @property
    def runs(self) -> list[list[Frame]]:
        """The frames of every run in this thread since `take_frames` last took them away."""
        return self._thread.runs

    def __enter__(self) -> EncoderRecorder:
        if not self._requests.frames:
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

    def take_frames(self, ids: Tensor, visual: Tensor, image: int) -> list[list[Frame]]:
        """Take away the frames of the last runs, by row of a prompt and in its order.

        Args:
            ids: [B, S] of the prompt.
            visual: [B, S] where its visual tokens are.
            image: The id of an image's visual tokens; all images are encoded in one run, then all videos.

        Raises:
            UsageError: If the encoder did not run for this prompt.
        """
        columns = torch.where(visual, ids, -1).tolist()  # one look at all rows
        # Text may stand between two images, and between two rows of one.
        shown = [
            [(token, len(list(same))) for token, same in groupby(token for token in row if token >= 0)]
            for row in columns
        ]
        kinds = sorted({token for row in shown for token, _ in row}, key=lambda token: token != image)
        last, self._thread.runs = self._thread.runs[-len(kinds) :], []
        if len(last) < len(kinds):
            raise UsageError(
                "the strategy reads the vision encoder, which did not run inside the context for this prompt",
                "pass pixel values instead of precomputed image features",
            )
        count = sum(n for row in shown for _, n in row)
        each = count // sum(frame.tokens for frames in last for frame in frames)  # beams repeat rows
        stretches = shown[::each]
        items = {
            kind: iter(split_frames(frames, [n for row in stretches for token, n in row if token == kind]))
            for kind, frames in zip(kinds, last, strict=True)
        }
        by_row = [[frame for token, _ in row for frame in next(items[token])] for row in stretches]
        return [row for row in by_row for _ in range(each)]

    def _listen(self, encoder: Encoder, undo: ExitStack) -> None:
        count = len(encoder.layers)
        layers = {Signal("keys", layer).layer_of(count) for layer in self._requests.attention}
        starts = {encoder.after(share) for share in self._requests.reruns}
        tap = undo.enter_context(AttentionTap(encoder.tower, encoder.attentions))
        for owner, name in encoder.callers:
            stock = getattr(owner, name)
            undo.callback(replace_method(owner, name, wraps(stock)(partial(self._note_call, stock))))
        undo.callback(call_before(encoder.tower, partial(self._begin, encoder, tap, layers)))
        undo.callback(encoder.tower.register_forward_hook(partial(self._finish, encoder, tap, layers)).remove)
        for i, layer in enumerate(encoder.layers):
            if i in layers or (starts and i >= min(starts)):
                undo.callback(call_before(layer, partial(self._record_input, i, i in starts)))
        undo.callback(encoder.layers[encoder.depth - 1].register_forward_hook(self._record_output).remove)

    def _begin(
        self, encoder: Encoder, tap: AttentionTap, layers: set[int], tower: nn.Module, args: Any, kwargs: dict[str, Any]
    ) -> None:
        state = self._thread
        given = {**kwargs, "call": state.call} if encoder.callers else kwargs
        state.run, state.layouts = EncoderRun(encoder, {}, {}, {}), encoder.layouts(*args, **given)
        state.heard = {layer: [] for layer in layers}
        for layer, heard in state.heard.items():
            tap.listen(encoder.attentions[layer], heard.append)

    def _note_call(self, stock: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        before, self._thread.call = self._thread.call, dict(signature(stock).bind(*args, **kwargs).arguments)
        try:
            return stock(*args, **kwargs)
        finally:
            self._thread.call = before

    def _record_input(
        self, i: int, keep_states: bool, layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]
    ) -> None:
        run = self._thread.run
        if run is None:
            return
        arguments = dict(kwargs)
        states = args[0] if args else arguments.pop("hidden_states")
        run.arguments[i] = args[1:], arguments
        if keep_states:
            run.states[i] = _by_position(states)

    def _record_output(self, layer: nn.Module, args: Any, output: Tensor) -> None:
        if self._thread.run is not None:
            self._thread.run.output = _by_position(output)

    def _finish(
        self, encoder: Encoder, tap: AttentionTap, layers: set[int], tower: nn.Module, args: Any, output: Any
    ) -> None:
        state, start, frames = self._thread, 0, []
        run, state.run = state.run, None
        if run is None:  # another thread entered the context while this one encoded
            return
        for layer in layers:
            tap.listen(encoder.attentions[layer], None)
            bounds = run.arguments[layer][1].get("cu_seqlens")
            if bounds is None and len(state.layouts) > 1 and len(state.heard[layer][0].query) == 1:
                # Packed into one sequence, with a mask between them.
                bounds = torch.tensor([0, *(layout.positions for layout in state.layouts)]).cumsum(0)
            run.windows[layer] = sort_windows(state.heard[layer], bounds)
        for layout in state.layouts:
            frames.append(Frame(run, start, layout))
            start += layout.positions
        state.runs.append(frames)


def split_frames(frames: Iterable[Frame], counts: Iterable[int]) -> list[list[Frame]]:
    """Split frames, in order, among images, videos or rows of so many visual tokens each."""
    left = iter(frames)
    split: list[list[Frame]] = []
    for count in counts:
        own: list[Frame] = []
        while sum(frame.tokens for frame in own) < count:
            own.append(next(left))
        split.append(own)
    return split


def _by_position(states: Tensor) -> Tensor:
    """[P, C], whether the encoder batches its frames or packs them."""
    return states.flatten(0, 1) if states.ndim == 3 else states
