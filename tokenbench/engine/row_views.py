"""What a stage of several rows sees: one view, whose tensors have the rows in front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tokenbench.contract.stage import Signal
from tokenbench.contract.view import EncoderRerun, View
from tokenbench.engine.frame import Frame, encode_alike, rerun_alike
from tokenbench.errors import StrategyError

__all__ = ["AnyFrame", "FrameStack", "RowViews"]

TENSORS = ("alive", "hidden", "text", "keys", "text_keys", "attention", "signals", "positions", "text_positions")
"""Fields of a view that hold tensors in any case."""
MAYBE = ("words", "phrases", "phrase_words")
"""Those that hold a tensor or None."""

_OWN = "a frame of several rows has no signals and pictures of its own"


@dataclass(frozen=True)
class RowViews:
    """The views of G rows."""

    stacked: View
    """One view for all, whose tensors are [G, ...]. Its frames are `AnyFrame`s, and its memo is empty."""
    frames: Sequence[Sequence[Frame]]
    """[G] those of every row, if the stage asked for any."""
    generators: Sequence[torch.Generator]
    """[G] every row's random numbers."""
    memos: Sequence[dict[str, Any]]
    """[G] what every row's strategy carries from stage to stage."""
    words: Sequence[int]
    """[G] tokens of text of every row. The rest of the text is padding, which comes first."""
    phrases: Sequence[int] = ()
    """[G] tokens of the phrases of every row, likewise; nothing if there are none."""

    def __len__(self) -> int:
        return len(self.memos)

    def row(self, i: int) -> View:
        """The view of one row, without padding."""
        own = self.replace(lambda tensor: tensor[i])
        if own.words is not None:
            own = _cut_padding(own, len(own.words) - self.words[i])
        if own.phrases is not None:
            own = replace(own, phrases=own.phrases[len(own.phrases) - self.phrases[i] :], phrase_words=None)
        frames = self.frames[i] if self.frames else ()
        return replace(own, frames=frames, generator=self.generators[i], memo=self.memos[i])

    def replace(self, change: Callable[[Tensor], Tensor]) -> View:
        """The stacked view with other tensors."""
        return replace(self.stacked, **{name: _change(value, change) for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, Any]:
        """{field: a tensor, or tensors by request} of the stacked view."""
        tensors = {name: getattr(self.stacked, name) for name in TENSORS}
        return tensors | {name: part for name in MAYBE if (part := getattr(self.stacked, name)) is not None}

    def join_memos(self) -> dict[str, Any] | None:
        """One memo, whose tensors are [G, ...]; None if the rows remember unlike things."""
        first, *others = self.memos
        if any(memo.keys() != first.keys() for memo in others):
            return None
        joined: dict[str, Any] = {}
        for key, value in first.items():
            own = [memo[key] for memo in self.memos]
            if isinstance(value, Tensor):
                if any(not isinstance(one, Tensor) or one.shape != value.shape for one in own):
                    return None
                joined[key] = torch.stack(own)
            elif isinstance(value, str | int | float | None) and all(one == value for one in own):
                joined[key] = value
            else:
                return None
        return joined

    def split_memo(self, memo: dict[str, Any]) -> None:
        """Give every row its part of a memo, whose tensors are [G, ...]."""
        for i, own in enumerate(self.memos):
            own.clear()
            own.update({key: value[i] if isinstance(value, Tensor) else value for key, value in memo.items()})


class AnyFrame:
    """What frames of several rows have in common. Whatever else a strategy asks of a frame, it must ask of its own.

    Args:
        frame: One of them.
    """

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    @classmethod
    def of(cls, frames: Sequence[Sequence[Frame]]) -> Sequence[AnyFrame]:
        """What the frames of rows with like lattices have in common."""
        return [cls(frame) for frame in frames[0]] if frames else []

    @property
    def tokens(self) -> int:
        """Visual tokens."""
        return self._frame.tokens

    @property
    def tiles(self) -> Tensor | None:
        """[n] the number of the tile that each token lies in: alike in rows with like lattices."""
        return self._frame.tiles

    def project(self, features: Tensor) -> Tensor:
        """[m, C'] features through the projector: [m, C]."""
        return self._frame.project(features)

    def signal(self, request: Signal) -> Tensor:
        """Refuse."""
        raise StrategyError(_OWN)

    def cls_features(self) -> Tensor:
        """Refuse."""
        raise StrategyError(_OWN)

    def encode_resized(self, h: int, w: int) -> Tensor:
        """Refuse."""
        raise StrategyError(_OWN)

    def rerun(self, share: float, cls: bool = False) -> EncoderRerun:
        """Refuse."""
        raise StrategyError(_OWN)


class FrameStack(AnyFrame):
    """Like frames of several rows, whose tokens have the rows in front: [G, m, ...].

    Args:
        frames: [G] those of the rows.
    """

    def __init__(self, frames: Sequence[Frame]) -> None:
        super().__init__(frames[0])
        self._frames = frames

    @classmethod
    def of(cls, frames: Sequence[Sequence[Frame]]) -> Sequence[AnyFrame]:
        """The stacks of the first, second and further frames of all rows."""
        return [cls(alike) for alike in zip(*frames, strict=True)]

    def project(self, features: Tensor) -> Tensor:
        """[G, m, C'] features through the projector: [G, m, C]."""
        projected = self._frame.project(features.flatten(0, -2))
        return projected.view(*features.shape[:-1], -1)

    def encode_resized(self, h: int, w: int) -> Tensor:
        """[G, num_prefix_tokens + h * w, C] projected tokens of the frames, encoded from pictures of h x w tokens."""
        return encode_alike(self._frames, h, w)

    def rerun(self, share: float, cls: bool = False) -> EncoderRerun:
        """The frames after that share of the encoder's layers, for running the rest again."""
        if cls:
            raise StrategyError(_OWN)
        return rerun_alike(self._frames, share)


def _cut_padding(view: View, padding: int) -> View:
    """A view without the first so many tokens of its text."""
    return replace(
        view,
        text={depth: states[padding:] for depth, states in view.text.items()},
        text_keys={layer: keys[padding:] for layer, keys in view.text_keys.items()},
        text_positions=view.text_positions[:, padding:],
        attention={
            request: weights[:, padding:] if request.queries.startswith("question") else weights
            for request, weights in view.attention.items()
        },
        words=None,
    )


def _change(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return {key: change(part) for key, part in value.items()} if isinstance(value, dict) else change(value)
