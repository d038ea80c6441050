"""A way to run the later layers of the vision encoder again, on fewer tokens of one frame, or of several that look alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tokenbench.engine.attention_tap import Attended, AttentionTap
from tokenbench.engine.encoder_run import average_products
from tokenbench.engine.packed_windows import PackedWindows
from tokenbench.engine.segment import take
from tokenbench.errors import UsageError

if TYPE_CHECKING:
    from tokenbench.engine.frame import Frame

__all__ = ["Rerun"]


class Rerun:
    """Frames on their way through the later layers of the encoder once more, with ever fewer tokens.

    What a strategy sees and gives has the frames in front, [F, ...]; if it is about one frame alone, it does not.

    Args:
        frames: The F frames, of one run and one layout, whose windows of attention are alike.
        layer: The encoder layer that runs next.
        tokens: [n, patches] positions of the patches of every token.
        alone: Whether it is about one frame alone.
    """

    def __init__(self, frames: Sequence[Frame], layer: int, tokens: Tensor, alone: bool = True) -> None:
        first = frames[0]
        self._frames, self._alone, self.layer = frames, alone, layer
        self._encoder_run, positions = first.run, first.layout.positions
        for frame in frames:
            frame.rerun_positions = [positions] * len(self._encoder_run.encoder.layers)
        whole = self._encoder_run.states[layer]
        inputs = torch.stack([whole[frame.start : frame.start + positions] for frame in frames])
        self._tokens = tokens.to(inputs.device)
        self._starts = torch.tensor([[frame.start] for frame in frames], device=inputs.device)
        self._alive = torch.arange(len(tokens), device=inputs.device).expand(len(frames), -1)
        self._states = inputs[:, self._tokens]  # [F, m, patches, C]
        # An encoder's [CLS] that is no visual token.
        marks = self._tokens.new_zeros(positions).index_fill(0, self._tokens.flatten(), 1)
        self._other_positions = marks.argsort(stable=True)[: positions - tokens.numel()]
        self._others = inputs[:, self._other_positions]

    @property
    def alive(self) -> Tensor:
        """[m] ordinals of the tokens that are left, within the frame."""
        return self._alive[0] if self._alone else self._alive

    @property
    def states(self) -> Tensor:
        """[m, patches, C] their hidden states."""
        return self._states[0] if self._alone else self._states

    @property
    def remaining(self) -> int:
        """Layers left to run before the projector."""
        return self._encoder_run.encoder.depth - self.layer

    def step(self) -> Tensor:
        """Run the next layer and return the products [1 + m, m] of its queries and keys, before the softmax.

        They are the mean over heads and over a token's patches, float32: first of the frame's [CLS] (without one, the
        mean of all tokens), then of every token; -inf between tokens that share no window.
        """
        count = self._others.shape[1]
        states = self._states.flatten(1, 2)
        states = torch.cat([self._others, states], 1) if count else states
        for frame in self._frames:
            frame.rerun_positions[self.layer :] = [states.shape[1]] * len(frame.rerun_positions[self.layer :])
        output, products = self._run_layer(states)
        self._others, self._states = output[:, :count], output[:, count:].reshape(self._states.shape)
        self.layer += 1
        pooled = self._pool_patches(products, count)
        return pooled[0] if self._alone else pooled

    def keep(self, keep: Tensor, states: Tensor) -> None:
        """Go on with the tokens keep [k], in this order, as states [k, patches, C]."""
        if self._alone:
            keep, states = keep[None], states[None]
        self._alive, self._states = self._alive.gather(1, keep), states.to(self._states.dtype)

    def features(self) -> Tensor:
        """[m, C'] of the tokens that are left, as the projector reads them, float32."""
        return self.states.flatten(-2).float()

    def _run_layer(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """One layer on states [F, p, C], the others first: its output in the same order, and the products [F, p, p]."""
        first, (frames, count) = self._frames[0], states.shape[:2]
        edges = first.run.edges(self.layer, first.start, first.layout.positions)
        if len(edges) == 2:  # every position of a frame attends to every other one, in whatever order they are
            windows = None if first.run.encoder.batched else PackedWindows.alike(frames, count, states.device)
            output, attended = self._call(states, None, windows)
            return output, average_products(attended)
        positions, order = self._positions().sort(1)  # windows are stretches of the sequence
        windows, back = PackedWindows.left_of(edges, positions), order.argsort(1)
        output, attended = self._call(take(states, order), positions, windows)
        return take(output, back), windows.join_products(average_products(attended), back)

    def _call(self, states: Tensor, positions: Tensor | None, windows: PackedWindows | None) -> tuple[Tensor, Attended]:
        """The stock layer's output [F, p, C], and what its attention worked on, frame by frame or window by window."""
        run, layer = self._encoder_run, self.layer
        encoder, attention = run.encoder, run.encoder.attentions[layer]
        assert run.output is not None

        @cache
        def find() -> Tensor:  # some layers take nothing by position
            at = (self._positions() if positions is None else positions) + self._starts
            return at if encoder.batched else at.flatten()

        fit = partial(_cut_argument, find=find, total=len(run.output))
        args, kwargs = run.arguments[layer]
        arguments = {name: fit(value, name=name) for name, value in kwargs.items()}
        heard: list[Attended] = []
        with AttentionTap(encoder.tower, encoder.attentions) as tap, torch.no_grad():
            tap.listen(attention, heard.append)
            if windows is not None:
                arguments = tap.split(attention, windows, arguments)
            # Not called as a module: whoever listens to the encoder is not meant.
            output = encoder.layers[layer].forward(
                states if encoder.batched else states.flatten(0, 1), *(fit(value) for value in args), **arguments
            )
        (attended,) = heard
        return output.reshape(states.shape), attended

    def _positions(self) -> Tensor:
        """[F, p] the positions that are left, within their frames, the others first."""
        at = self._tokens[self._alive].flatten(1)
        return torch.cat([self._other_positions.expand(len(at), -1), at], 1)

    def _pool_patches(self, products: Tensor, others: int) -> Tensor:
        """[F, others + m * patches] squared, the [CLS] first -> [F, 1 + m, m]."""
        m, patches = self._states.shape[1:3]
        if patches > 1:
            to_tokens = products[..., others:].reshape(len(products), -1, m, patches).mean(3)
            tokens = to_tokens[:, others:].reshape(len(products), m, patches, m).mean(2)
        else:
            to_tokens = products[..., others:]
            tokens = to_tokens[:, others:]
        if others:
            first = to_tokens[:, :1]
        elif self._encoder_run.encoder.cls:  # the [CLS] is itself a token
            first = tokens[:, :1]
        else:
            finite = tokens.isfinite()
            first = (tokens.masked_fill(~finite, 0).sum(1, keepdim=True)) / finite.sum(1, keepdim=True)
        return torch.cat([first, tokens], 1)


def _cut_argument(value: Any, find: Callable[[], Tensor], total: int, name: str = "") -> Any:
    """A layer's argument for some of the sequence's `total` positions, which `find` finds: [F, p] or, packed, [F * p]."""
    if value is None or name in ("cu_seqlens", "max_seqlen"):  # those of the windows that are left take their place
        return None
    if isinstance(value, tuple):
        return tuple(_cut_argument(part, find, total) for part in value)
    if not isinstance(value, Tensor):
        return value
    if value.ndim == 4 and value.shape[-2:] == (total, total):
        return None  # a mask that keeps packed frames apart, which here are side by side
    if value.shape[:2] == (1, total):  # one packed sequence
        return _cut_argument(value[0], find, total, name)
    if len(value) != total:
        raise UsageError(f"the encoder's layers take an argument '{name}' that cannot be reduced to fewer tokens")
    return value[find().to(value.device)]
