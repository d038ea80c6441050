"""How a model's processor is used: it processes every image once, however many questions show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tokenbench.contract.suite import Video

if TYPE_CHECKING:
    from PIL.Image import Image

    Shown = Image | Video

__all__ = ["KINDS", "SeenImages", "concatenate", "kind_of", "limits", "of_kind", "processor_arguments"]

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


def concatenate(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Concatenate a processor's outputs for single images into its output for all of them."""
    return {
        name: torch.cat([torch.as_tensor(part[name]) for part in parts])
        if isinstance(value, Tensor | np.ndarray | list)
        else value
        for name, value in parts[0].items()
    }


class SeenImages:
    """A stand-in for the image processor inside a processor, which returns its earlier output for each image.

    Args:
        processor: The image processor.
        made: Its output for each image, by the `id` of the image.
    """

    def __init__(self, processor: Any, made: dict[int, dict[str, Any]]) -> None:
        self._processor, self._made = processor, made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def __call__(self, images: Any, **options: Any) -> Any:
        """Return the inputs of these images, which were computed before if the processor did not copy the images."""
        from transformers.image_utils import make_flat_list_of_images

        flat: list[Any] = list(make_flat_list_of_images(images))  # type: ignore[arg-type]
        parts = [self._made.get(id(image)) for image in flat]
        seen = [part for part in parts if part is not None]
        if len(seen) < len(parts):  # a processor that copies its images
            return self._processor(images, **options)
        from transformers import BatchFeature

        return BatchFeature(concatenate(seen))
