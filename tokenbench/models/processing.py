"""How a model's processor is used: it processes every image and clip of a batch once, however many questions show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tokenbench.contract.suite import Video
from tokenbench.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

    Shown = Image | Video

__all__ = [
    "KINDS",
    "Remembering",
    "alike",
    "check_kinds",
    "concatenate",
    "kind_of",
    "limits",
    "of_kind",
    "pad_rows",
    "process",
]

KINDS = ("image", "video")


def limits(processor: Any, config: Any) -> tuple[tuple[str, ...], int | None]:
    """Return the limits of a prompt.

    Returns:
        The texts that stand for an image or a clip, which a question must not contain; and the largest number of tokens that the
        decoder was made for, None if its configuration does not say.
    """
    signs = (getattr(processor, f"{kind}_token", None) for kind in KINDS)
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    return tuple(str(sign) for sign in signs if sign), longest


def kind_of(item: Shown) -> str:
    """Return the kind of an image or clip by the name that processors use, `image` or `video`."""
    return "video" if isinstance(item, Video) else "image"


def check_kinds(name: str, processor: Any, kinds: Sequence[str]) -> None:
    """Raise UsageError if a model, which has this name and processor, does not accept images or clips of these kinds."""
    for kind in set(kinds):
        if getattr(processor, f"{kind}_processor", None) is None:
            example = ", such as toy-video-llava" if kind == "video" else ""
            mend = f"use a model that does{example}, or another suite"
            raise UsageError(f"model '{name}' does not accept {kind}s", mend)


def of_kind(items: Sequence[Shown], kind: str) -> list[Any]:
    """Return the items of one kind."""
    return [item for item in items if kind_of(item) == kind]


def processor_arguments(kind: str, items: Sequence[Any], pixels: Sequence[Any]) -> dict[str, Any]:
    """Return the arguments that pass images or clips to a processor. All frames of a clip are used.

    Args:
        kind: `image` or `video`.
        items: The images or clips.
        pixels: What `pixels_of` makes of each of them.
    """
    if kind == "image":
        return {"images": list(pixels)}
    return {
        "videos": list(pixels),
        "video_metadata": [
            {"fps": clip.fps, "total_num_frames": len(frames), "frames_indices": _places(clip, len(frames))}
            for clip, frames in zip(items, pixels, strict=True)
        ],
        "do_sample_frames": False,
    }


def pixels_of(item: Shown, least: int) -> Any:
    """Return an image, or the frames of a clip as arrays [H, W, 3]; the last is repeated up to the least number."""
    if not isinstance(item, Video):
        return item
    frames = [np.asarray(frame) for frame in item.frames]
    return frames + frames[-1:] * (least - len(frames))


def _places(clip: Video, count: int) -> list[float]:
    """Return when each of so many frames is seen, in frames since the beginning of the clip."""
    last = len(clip.frames) - 1
    return [clip.start * clip.fps + min(k, last) for k in range(count)]


def process(
    processor: Any, prompts: Sequence[str], shown: Sequence[Shown]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Run a processor on prompts that all show the same, one by one, so that none is padded for another.

    Args:
        processor: The model's processor.
        prompts: The texts.
        shown: The images and clips of each of them, which are processed once.

    Returns:
        The output for each prompt, without pixels; and what the vision encoder reads, by kind.
    """
    items = {kind: of_kind(shown, kind) for kind in dict.fromkeys(map(kind_of, shown))}
    least = (
        getattr(getattr(processor, "video_processor", None), "temporal_patch_size", None) or 1
    )  # Qwen3-VL takes no less
    pixels = {kind: [pixels_of(item, least) for item in own] for kind, own in items.items()}
    outputs: list[dict[str, Any]] = []
    with _remembering(processor) as inside:
        for prompt in prompts:
            for stand_in in inside.values():
                stand_in.begin()
            arguments: dict[str, Any] = {}
            for kind in sorted(items):
                arguments |= processor_arguments(kind, items[kind], pixels[kind])
            outputs.append(dict(processor(text=[prompt], **arguments, return_tensors="pt")))
        words = outputs[-1]["input_ids"].shape
        rest = {name: value for name, value in outputs[-1].items() if getattr(value, "shape", None) != words}
        media = {kind: {**rest, **inside[kind].made()} for kind in items}
        return [{name: value for name, value in made.items() if not _is_pixels(name)} for made in outputs], media


def alike(media: dict[str, Any]) -> tuple[Any, ...]:
    """Return what two outputs of a processor must have in common so that they can be concatenated."""
    return tuple((name, tuple(value.shape[1:])) for name, value in sorted(_tensors(media).items()))


def concatenate(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Concatenate outputs of a processor that are alike into the output for all that they show."""
    return {name: torch.cat([_tensors(part)[name] for part in parts]) for name in _tensors(parts[0])}


def _tensors(media: dict[str, Any]) -> dict[str, Tensor]:
    """Return the parts of a processor's output that are numbers, as tensors."""
    found: dict[str, Tensor] = {}
    for name, value in media.items():
        try:
            found[name] = torch.as_tensor(np.asarray(value) if isinstance(value, list) else value)
        except (TypeError, ValueError):  # words, or lists of unlike lengths
            continue
    return found


def pad_rows(rows: Sequence[dict[str, Any]], pad: int) -> dict[str, Tensor]:
    """Put a processor's outputs for single prompts together, without what the vision encoder reads.

    What has a column for every token is padded on the left. Of the rest, what is alike in all rows is concatenated, such
    as the lattices that positions follow from.

    Args:
        rows: The outputs, each for one prompt.
        pad: The id of the padding token.
    """
    width = max(row["input_ids"].shape[1] for row in rows)
    batch: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        own = [(row["input_ids"].shape, _tensors(row)[name]) for row in rows if name in _tensors(row)]
        if all(value.shape == shape for shape, value in own):
            fill = pad if name == "input_ids" else 0
            batch[name] = torch.cat(
                [torch.nn.functional.pad(value, (width - value.shape[1], 0), value=fill) for _, value in own]
            )
        elif len({value.shape[1:] for _, value in own}) == 1 and not own[0][1].is_floating_point():
            batch[name] = torch.cat([value for _, value in own])
    return batch


def _is_pixels(name: str) -> bool:
    return name.startswith("pixel")


class Remembering:
    """A stand-in for an image or video processor, which processes what several prompts show once.

    Args:
        processor: The processor.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._made: list[Any] = []
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def begin(self) -> None:
        """Announce a prompt."""
        self._calls = 0

    def made(self) -> dict[str, Any]:
        """Return what was made of all that the prompts show."""
        return {name: value for made in self._made for name, value in made.items()}

    def __call__(self, *images: Any, **options: Any) -> Any:
        """Return the processor's output for these images, which is the same for every prompt."""
        if self._calls == len(self._made):
            self._made.append(self._processor(*images, **options))
        self._calls += 1
        return copy(self._made[self._calls - 1])  # processors take names out of it


@contextmanager
def _remembering(processor: Any) -> Iterator[dict[str, Remembering]]:
    """Make a processor's image and video processors remember, for as long as the context lasts.

    Yields:
        The stand-ins, by kind. A kind that the processor does not take is missing.
    """
    own = {kind: found for kind in KINDS if (found := getattr(processor, f"{kind}_processor", None)) is not None}
    inside = {kind: Remembering(found) for kind, found in own.items()}
    try:
        for kind, stand_in in inside.items():
            setattr(processor, f"{kind}_processor", stand_in)
        yield inside
    finally:
        for kind, found in own.items():
            setattr(processor, f"{kind}_processor", found)
