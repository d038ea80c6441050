"""How a model's processor is used: it processes every image once, however many questions show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tokenbench.contract.suite import Video

if TYPE_CHECKING:
    from PIL.Image import Image

    Shown = Image | Video

__all__ = [
    "KINDS",
    "Remembering",
    "alike",
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


def of_kind(items: Sequence[Shown], kind: str) -> list[Any]:
    """Return the items of one kind."""
    return [item for item in items if kind_of(item) == kind]


def processor_arguments(kind: str, items: Sequence[Any]) -> dict[str, Any]:
    """Return the arguments that pass images or clips to a processor. All frames of a clip are used."""
    if kind == "image":
        return {"images": list(items)}
    return {
        "videos": [[np.asarray(frame) for frame in video.frames] for video in items],
        "video_metadata": [
            {"fps": v.fps, "total_num_frames": len(v.frames), "frames_indices": list(range(len(v.frames)))}
            for v in items
        ],
        "do_sample_frames": False,
    }


def process(
    processor: Any, prompts: Sequence[str], rows: Sequence[Sequence[Shown]], clusters: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, dict[str, Any]]]]:
    """Run a processor on prompts one by one, each with all that it shows, so that no prompt's images are padded for another's.

    Args:
        processor: The model's processor.
        prompts: The texts.
        rows: The images and clips of each prompt.
        clusters: The cluster of each prompt. What a cluster shows is processed once.

    Returns:
        The inputs of each prompt; and what the vision encoder reads, by kind and cluster.
    """
    media: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
    inputs = []
    with _remembering(processor) as inside:
        for prompt, row, cluster in zip(prompts, rows, clusters, strict=True):
            for stand_in in inside.values():
                stand_in.begin(cluster)
            arguments: dict[str, Any] = {}
            for kind in KINDS:
                if items := of_kind(row, kind):
                    arguments |= processor_arguments(kind, items)
            made = dict(processor(text=[prompt], **arguments, return_tensors="pt"))
            inputs.append(made)
            words = made["input_ids"].shape
            shown = {name: value for name, value in made.items() if getattr(value, "shape", None) != words}
            for kind in {kind_of(item) for item in row}:
                media[kind][cluster] = {**shown, **inside[kind].made(cluster)}
    return inputs, media


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
        if name.startswith("pixel"):
            continue
        own = [(row["input_ids"].shape, _tensors(row)[name]) for row in rows if name in _tensors(row)]
        if all(value.shape == shape for shape, value in own):
            fill = pad if name == "input_ids" else 0
            batch[name] = torch.cat(
                [torch.nn.functional.pad(value, (width - value.shape[1], 0), value=fill) for _, value in own]
            )
        elif len({value.shape[1:] for _, value in own}) == 1 and not own[0][1].is_floating_point():
            batch[name] = torch.cat([value for _, value in own])
    return batch


class Remembering:
    """A stand-in for an image or video processor, which processes what a cluster shows once, however many prompts show it.

    Args:
        processor: The processor.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._made: dict[tuple[str, int], Any] = {}
        self._cluster, self._calls = "", 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def begin(self, cluster: str) -> None:
        """Announce a prompt that shows the images of a cluster."""
        self._cluster, self._calls = cluster, 0

    def made(self, cluster: str) -> dict[str, Any]:
        """Return what was made of the images of a cluster."""
        return {name: value for (own, _), made in self._made.items() if own == cluster for name, value in made.items()}

    def __call__(self, *images: Any, **options: Any) -> Any:
        """Return the processor's output for these images."""
        key = self._cluster, self._calls
        self._calls += 1
        if key not in self._made:
            self._made[key] = self._processor(*images, **options)
        return copy(self._made[key])  # processors take names out of it


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
