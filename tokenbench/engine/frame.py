"""What the vision encoder computed of one frame, or of several that look alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

from tokenbench.contract.backbone import Encoder, FrameLayout
from tokenbench.contract.stage import Signal
from tokenbench.engine.attention_tap import AttentionTap
from tokenbench.engine.encoder_rerun import Rerun
from tokenbench.engine.encoder_run import EncoderRun
from tokenbench.engine.packed_windows import PackedWindows
from tokenbench.engine.state import call_before
from tokenbench.errors import InfeasibleError, StrategyError

__all__ = ["Frame", "encode_alike", "read_signals", "rerun_alike"]


class Frame:
    """One image, tile or video frame: a stretch of the encoder's sequence that holds whole visual tokens.

    Args:
        run: The run of the encoder that computed it.
        start: Its first position in the encoder's sequence.
        layout: Where its tokens are among its positions.
    """

    def __init__(self, run: EncoderRun, start: int, layout: FrameLayout) -> None:
        self.run = run
        self.start = start
        self.layout = layout
        self.rerun_positions: list[int] = []
        """How many positions every layer computed when a method last ran the encoder on fewer; empty if none did."""

    @property
    def tokens(self) -> int:
        """Visual tokens."""
        return len(self.layout.tokens)

    @property
    def tiles(self) -> Tensor | None:
        """[n] the number of the tile that each token lies in, where several make one lattice."""
        return self.layout.tiles

    @cached_property
    def _at(self) -> Tensor:
        """[n, patches] positions of its tokens in the encoder's sequence."""
        assert self.run.output is not None
        return self.layout.tokens.to(self.run.output.device) + self.start

    def signal(self, request: Signal) -> Tensor:
        """[n] or [n, D], float32: what a stage asked for."""
        self._check_readable()
        blank = self.layout.blank
        return self.run.read(request, self._at, None if blank is None else blank.to(self._at.device))

    def project(self, features: Tensor) -> Tensor:
        """[m, C'] features through the projector: [m, C], in its dtype."""
        assert self.run.output is not None
        encoder = self.run.encoder
        states = features.unflatten(1, (self.layout.tokens.shape[1], -1)).to(self.run.output.dtype)
        with torch.no_grad():
            return encoder.project(states)

    def encode_resized(self, h: int, w: int) -> Tensor:
        """[num_prefix_tokens + h * w, C] projected tokens of the frame, encoded from a picture of h x w tokens."""
        return encode_alike([self], h, w)[0]

    def note_picture(self, count: int) -> None:
        """Write down that the encoder ran once more, on a picture of `count` tokens."""
        layout, encoder = self.layout, self.run.encoder
        patches, blank = layout.tokens.shape[1], 0 if layout.blank is None else int(layout.blank.sum())
        positions = layout.positions - (self.tokens - blank - count) * patches
        if layout.inputs > 1:  # one picture instead of several
            positions = int(encoder.cls) + count * patches
        self.rerun_positions = [positions] * len(encoder.layers)

    def computed_positions(self) -> list[tuple[int, list[int]]]:
        """Of each input, its positions and how many of them every layer computed when the encoder ran on fewer last.

        A frame that was not run again was not needed at all. Several inputs are run again as one picture.
        """
        none = [0] * len(self.run.encoder.layers)
        each = self.layout.positions // self.layout.inputs
        return [(each, self.rerun_positions or none), *[(each, none)] * (self.layout.inputs - 1)]

    def cls_features(self) -> Tensor:
        """[C'], float32: the frame's own [CLS], as the projector would read it."""
        assert self.run.output is not None
        return self.run.output[self.start + self._cls_position()].flatten().float()

    def rerun(self, share: float, cls: bool = False) -> Rerun:
        """The frame after that share of the encoder's layers, for running the rest again; its [CLS] may be a token."""
        self.check_rerun()
        tokens = self.layout.tokens
        if cls:
            tokens = torch.cat([self._cls_position().view(1, 1).to(tokens.device), tokens])
        return Rerun([self], self.run.encoder.after(share), tokens)

    def check_rerun(self) -> None:
        """Refuse frames whose later layers cannot run again."""
        self._check_readable()
        if self.layout.blank is not None or self.layout.tiles is not None:
            raise InfeasibleError(
                "it runs the vision encoder again, which cannot be done for tiles and newlines in one lattice"
            )

    def _check_readable(self) -> None:
        if self.layout.unreadable:
            raise InfeasibleError(f"it reads the vision encoder{self.layout.unreadable}")

    def _cls_position(self) -> Tensor:
        """[1] position of the [CLS], which is no visual token."""
        taken = self.layout.tokens
        if self.layout.inputs > 1:
            raise InfeasibleError("it reads the [CLS] of the vision encoder, which has one for each tile of a picture")
        if not self.run.encoder.cls or taken.shape[1] != 1 or bool((taken == 0).any()):
            raise InfeasibleError("it reads the [CLS] of the vision encoder, which has none besides its visual tokens")
        return taken.new_zeros(1)


def encode_alike(frames: Sequence[Frame], h: int, w: int) -> Tensor:
    """[F, num_prefix_tokens + h * w, C] projected tokens of F like frames, encoded from pictures of h x w tokens each."""
    first, encoder, pictures = frames[0], frames[0].run.encoder, [frame.layout.pixels for frame in frames]
    plain = all(isinstance(picture, Tensor) for picture in pictures) and first.layout.inputs == 1
    together = len(frames) > 1 and plain and len({picture.shape for picture in pictures}) == 1
    with torch.no_grad(), _windows_at_once(encoder):
        found = encoder.encode_resized(torch.cat(pictures), h, w) if together else None
        each = h * w + int(encoder.cls and bool((first.layout.tokens == 0).any()))
        if found is None or len(found) != len(frames) * each:  # an adapter may be written for one picture
            found = torch.cat([encoder.encode_resized(picture, h, w) for picture in pictures])
    tokens = found.reshape(len(frames), -1, found.shape[-1])
    for frame in frames:
        frame.note_picture(tokens.shape[1])
    return tokens


@contextmanager
def _windows_at_once(encoder: Encoder) -> Iterator[None]:
    """The layers of an encoder that packs its frames compute all windows at once, in this thread."""
    if encoder.batched:
        yield
        return
    known: dict[int, tuple[Tensor, PackedWindows]] = {}
    thread = get_ident()

    def split(tap: AttentionTap, attention: nn.Module, layer: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        bounds = kwargs.get("cu_seqlens")
        if bounds is None or get_ident() != thread:
            return None
        if id(bounds) not in known:
            known[id(bounds)] = bounds, PackedWindows.of(bounds)
        return args, tap.split(attention, known[id(bounds)][1], kwargs)

    with ExitStack() as undo:
        tap = undo.enter_context(AttentionTap(encoder.tower, encoder.attentions))
        for layer, attention in zip(encoder.layers, encoder.attentions, strict=True):
            undo.callback(call_before(layer, partial(split, tap, attention)))
        yield


def rerun_alike(frames: Sequence[Frame], share: float) -> Rerun:
    """Frames of several rows after that share of the encoder's layers, for running the rest again.

    Raises:
        StrategyError: If the encoder cannot run them side by side.
    """
    first, run, layer = frames[0], frames[0].run, frames[0].run.encoder.after(share)
    first.check_rerun()

    def form(frame: Frame) -> tuple[Any, ...]:
        count = frame.layout.positions
        return count, *(run.edges(i, frame.start, count) for i in range(layer, run.encoder.depth))

    if any(frame.run is not run or form(frame) != form(first) for frame in frames):
        raise StrategyError("the encoder runs these frames one by one")
    return Rerun(frames, layer, first.layout.tokens, alone=False)


def read_signals(frames: Sequence[Sequence[Frame]], requests: Sequence[Signal]) -> dict[Signal, Tensor]:
    """What stages asked for of several rows of frames, which have n tokens each.

    Args:
        frames: [G] the frames of every row.
        requests: What is read of them.

    Returns:
        {request: [G, n] or [G, n, D]}, float32.
    """
    first = frames[0][0].run
    if any(frame.run is not first or frame.layout.unreadable for own in frames for frame in own):  # images and videos
        return {
            request: torch.stack([torch.cat([frame.signal(request) for frame in own]) for own in frames])
            for request in requests
        }
    assert first.output is not None
    shown = [frame for own in frames for frame in own]
    tokens = torch.cat([frame.layout.tokens for frame in shown])
    starts = torch.tensor([frame.start for frame in shown])
    starts = starts.repeat_interleave(torch.tensor([frame.tokens for frame in shown]))
    device, shape = first.output.device, (len(frames), -1)
    positions = (tokens + starts.unsqueeze(1)).to(device).unflatten(0, shape)
    blank = None
    if any(frame.layout.blank is not None for frame in shown):
        blank = torch.cat([_blank(frame.layout) for frame in shown]).to(device).unflatten(0, shape)
    return {request: first.read(request, positions, blank) for request in requests}


def _blank(layout: FrameLayout) -> Tensor:
    return torch.zeros(len(layout.tokens), dtype=torch.bool) if layout.blank is None else layout.blank
